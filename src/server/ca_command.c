/*
 * Changes the CA in the store, in one transaction: no server runs, no agent would be left behind unknowingly. Or only
 * prepares the next one: servers run, and notice (ca_next.h).
 */
#include "server/ca_command.h"

#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "ca/root.h"
#include "server/ca_next.h"
#include "server/rotation.h"

#define FILE_LIMIT (256 * 1024)
#define HEARTBEAT_FRESH_MS 15000
#define SETTING "ca.framework.provider.plugin"

struct ca_change {
	struct ca_command *command;
	struct ca_root_record record; /* import */
	const char *provider;         /* from now on */
	int64_t now_ms;
	size_t n_hosts;
	struct ca_next_wish next; /* with --next */
	char uuid[UUID_TEXT];     /* of its event */
};

int ca_command_words(struct ca_command *c, int argc, char **argv)
{
	if (argc < 2)
		return 1;
	c->verb = argv[1];
	if (strcmp(c->verb, "use") != 0 || argc < 3)
		return 2;
	c->provider = argv[2];
	return 3;
}

static bool is_wrong(const char *sentence)
{
	fprintf(stderr, "muster-server: %s\n", sentence);
	return false;
}

bool ca_command_is_whole(const struct ca_command *c)
{
	bool has_files = c->certificate || c->key || c->chain;

	if (!c->verb)
		return !has_files && !c->force && !c->next
			       ? true
			       : is_wrong("--certificate, --key, --chain, --next and --force belong to `ca`");
	if (strcmp(c->verb, "import") == 0)
		return c->certificate && c->key ? true : is_wrong("ca import needs --certificate FILE and --key FILE");
	if (strcmp(c->verb, "use") != 0)
		return is_wrong("ca: it is either import or use; `muster ca show` shows what there is");
	if (has_files || c->next)
		return is_wrong("--certificate, --key, --chain and --next belong to `ca import`");
	if (!c->provider || (strcmp(c->provider, "root") != 0 && strcmp(c->provider, "exec") != 0))
		return is_wrong("ca use needs a provider: root, the cluster's own CA, or exec, an external one");
	return true;
}

/* ---- what speaks against it ---- */

static enum err no_server_runs(struct store_tx *tx, int64_t now_ms, struct why *why)
{
	struct server_row *rows = NULL;
	size_t n = 0;
	enum err e = store_server_list(tx, &rows, &n);

	for (size_t i = 0; i < n; i++) {
		bool runs = rows[i].state != SERVER_DOWN && now_ms - rows[i].last_update_ms < HEARTBEAT_FRESH_MS;

		if (!e && runs) {
			why_set(why,
				"the server %s runs (its last heartbeat is %lld s old); stop all servers first: they read "
				"the CA when they start",
				rows[i].name, (long long)((now_ms - rows[i].last_update_ms) / 1000));
			e = ERR_REFUSED;
		}
		server_row_deinit(&rows[i]);
	}
	mem_free(rows);
	return e;
}

/* Two CAs are half of a change already; what they are for would be lost. */
static enum err no_rotation(struct store_tx *tx, struct why *why)
{
	CLEAN(mem_freep) char *text = NULL;
	struct rotation_row row;
	enum err e = store_secret_get(tx, CA_SECRET_ROTATION, &text);

	if (e)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	rotation_row_read(&row, text);
	if (row.phase == ROTATION_NONE)
		return ERR_OK;
	why_set(why, "a rotation of the CA is under way (%s): finish it, or take it back, with `muster ca rotate`",
		rotation_phase_name(row.phase));
	return ERR_REFUSED;
}

/* Those without a certificate know no CA that could change. */
static enum err count_host(void *user, const struct host_row *row)
{
	struct ca_change *g = user;

	g->n_hosts += !str_is_blank(row->cert_serial);
	return ERR_OK;
}

static enum err check_hosts(struct store_tx *tx, struct ca_change *g, struct why *why)
{
	enum err e = store_host_list(tx, count_host, g);

	if (e || !g->n_hosts || g->command->force)
		return e;
	why_set(why,
		"%zu host%s certificates of the present CA and would not believe a server of another one; with --force they "
		"have to join again (muster host rejoin)",
		g->n_hosts, g->n_hosts == 1 ? " has" : "s have");
	return ERR_REFUSED;
}

/* ---- the change ---- */

static enum err change_run(struct store_tx *tx, void *arg, struct why *why)
{
	struct ca_change *g = arg;
	bool changed;
	enum err e;

	g->n_hosts = 0;
	if ((e = no_server_runs(tx, g->now_ms, why)) || (e = no_rotation(tx, why)) || (e = check_hosts(tx, g, why)))
		return e;
	if (g->record.certificate && ((e = store_secret_set(tx, CA_SECRET_CERT, g->record.certificate)) ||
				      (e = store_secret_set(tx, CA_SECRET_KEY, g->record.sealed_key))))
		return e;
	return store_config_set(tx, SETTING, CONFIG_GLOBAL, 0, g->provider, &changed);
}

static enum err put_event(struct store_tx *tx, struct ca_change *g)
{
	struct event_row row = {.type = mem_strdup("CA.PREPARE"),
				.level = mem_strdup("WARN"),
				.account = mem_strdup("system"),
				.created_ms = g->now_ms};
	struct cert_info c = {0};
	enum err e = cert_info_parse(&c, g->record.certificate, NULL);

	memcpy(row.uuid, g->uuid, sizeof(row.uuid));
	if (!e) {
		str_make_printable(c.common_name);
		row.description = mem_printf("The CA %s (%s) was prepared for the next rotation%s", c.common_name,
					     c.fingerprint, g->next.replaced ? ", in place of another one" : "");
	}
	if (!e)
		e = row.type && row.level && row.account && row.description ? store_event_add(tx, &row) : ERR_NOMEM;
	cert_info_deinit(&c);
	event_row_deinit(&row);
	return e;
}

static enum err prepare_run(struct store_tx *tx, void *arg, struct why *why)
{
	struct ca_change *g = arg;
	enum err e = ca_next_prepare(tx, &g->next, why);

	return e ? e : put_event(tx, g);
}

static enum err change_store(struct ca_change *g, struct why *why)
{
	struct store_call call = {.run = g->command->next ? prepare_run : change_run, .arg = g};
	struct store_call *calls[] = {&call};
	enum err e = store_run(g->command->store, calls, 1, why);

	if (!e && call.result) {
		*why = call.why;
		e = call.result;
	}
	return e;
}

/* Room for all of it first: growing would leave copies of a key behind. */
static enum err read_text(struct buf *out, const char *path, const char **text, struct why *why)
{
	enum err e = buf_reserve(out, FILE_LIMIT + 1);

	if (!e)
		e = file_read(&fs_posix, path, FILE_LIMIT, out, why);
	*text = e ? NULL : buf_str(out);
	return e || *text ? e : ERR_NOMEM;
}

static enum err read_record(struct ca_change *g, struct why *why)
{
	struct ca_command *c = g->command;
	CLEAN(buf_wipe) struct buf certificate = {0}, key = {0}, chain = {0};
	uint8_t entropy[64];
	struct ca_import m = {
		.cluster_key = c->cluster_key, .entropy = entropy, .wall_s = world_wall_ms(c->world) / 1000};
	enum err e;

	if (!c->cluster_key) {
		why_set(why, "the cluster's key file is not here, and the CA's key has to be sealed with it");
		return ERR_REFUSED;
	}
	if ((e = read_text(&certificate, c->certificate, &m.certificate, why)) ||
	    (e = read_text(&key, c->key, &m.key, why)) ||
	    (c->chain && (e = read_text(&chain, c->chain, &m.chain, why))))
		return e;
	world_entropy(c->world, entropy, sizeof(entropy));
	e = ca_root_import(&g->record, &m, why);
	mem_wipe(entropy, sizeof(entropy));
	return e;
}

static enum err report_next(const struct ca_change *g, struct why *why)
{
	struct cert_info c;
	enum err e = cert_info_parse(&c, g->record.certificate, why);

	if (e)
		return e;
	str_make_printable(c.common_name);
	printf("The CA %s is prepared%s; the present one goes on signing.\n"
	       "  issuer    %s\n"
	       "  SHA-256   %s\n"
	       "  valid for %lld days\n"
	       "`muster ca rotate` begins with it, `muster ca rotate --discard` drops it. The key's file is not needed any "
	       "more: remove it.\n",
	       c.common_name, g->next.replaced ? " in place of another one" : "", c.issuer, c.fingerprint,
	       (long long)((c.not_after_s - g->now_ms / 1000) / 86400));
	cert_info_deinit(&c);
	return ERR_OK;
}

static enum err report(const struct ca_change *g, struct why *why)
{
	struct cert_info c;
	enum err e;

	if (g->record.certificate) {
		if ((e = cert_info_parse(&c, g->record.certificate, why)))
			return e;
		printf("The CA %s signs for this cluster from now on.\n"
		       "  SHA-256   %s\n"
		       "  valid for %lld days\n",
		       c.common_name, c.fingerprint, (long long)((c.not_after_s - g->now_ms / 1000) / 86400));
		cert_info_deinit(&c);
	} else {
		printf("The CA provider is %s from now on.\n", g->provider);
	}
	if (g->n_hosts)
		printf("%zu host%s to join again: muster host rejoin HOST\n", g->n_hosts,
		       g->n_hosts == 1 ? " has" : "s have");
	printf("Start the servers; each makes itself a new certificate. Join tokens made before are void.\n");
	return ERR_OK;
}

enum err ca_command(struct ca_command *c, struct why *why)
{
	struct ca_change g = {.command = c, .now_ms = world_wall_ms(c->world)};
	enum err e = ERR_OK;

	if (str_equal(c->verb, "import"))
		e = read_record(&g, why);
	g.next = (struct ca_next_wish){
		.record = &g.record, .cluster_key = c->cluster_key, .wall_s = g.now_ms / 1000, .replace = c->force};
	world_uuid(c->world, g.uuid);
	g.provider = g.record.certificate ? "root" : c->provider;
	if (!e)
		e = change_store(&g, why);
	if (!e)
		e = c->next ? report_next(&g, why) : report(&g, why);
	ca_root_record_deinit(&g.record);
	return e;
}
