#include "server/key_change.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

#define HEARTBEAT_FRESH_MS 15000
#define JOB_BEGINS "{\"sealed\":\""
#define JOB_ENDS "\"}"
#define CONTEXT_MAX (UUID_TEXT + 16)

/* Every secret of the store that is sealed. One that is not here was made by a newer program. */
static const struct {
	const char *name, *context;
	bool may_be_lost; /* servers make another one */
} sealed[] = {
	{"ca.sealed_key", SEALED_CA_KEY, false},
	{"ca.other.sealed_key", SEALED_CA_KEY, false},
	{"ca.next.sealed_key", SEALED_CA_KEY, false},
	{"tls.sealed_ticket_keys", SEALED_TICKET_KEYS, true},
};

/* ---- what the store says ---- */

enum err key_record_get(struct store_tx *tx, struct cluster_key_record *out)
{
	CLEAN(mem_freep) char *text = NULL;
	enum err e = store_secret_get(tx, CLUSTER_KEY_RECORD, &text);

	if (e && e != ERR_NOT_FOUND)
		return e;
	cluster_key_record_read(out, text);
	return ERR_OK;
}

enum err key_record_check(struct store_tx *tx, const char *id, struct why *why)
{
	struct cluster_key_record r;
	enum err e = key_record_get(tx, &r);

	if (e || !r.id[0] || str_equal(r.id, id))
		return e;
	why_set(why, "the cluster key has been changed, and this server has not read the new one yet");
	return ERR_CONFLICT;
}

/* ---- the files ---- */

static char *next_path(const struct fs *fs, const char *path, struct why *why)
{
	CLEAN(mem_freep) char *real = NULL;

	/* Beside the file itself, not beside a link to it: there it can be written. */
	return fs->real_path(fs, path, &real, why) ? NULL : mem_printf("%s" CLUSTER_KEY_NEXT, real);
}

static void line_of(char out[64], const uint8_t key[CLUSTER_KEY_SIZE], enum err *e)
{
	char *text = base64url_encode(key, CLUSTER_KEY_SIZE);

	*e = text ? ERR_OK : ERR_NOMEM;
	snprintf(out, 64, "%s\n", text ? text : "");
	if (text)
		mem_wipe(text, strlen(text));
	mem_free(text);
}

static enum err sync_folder(const struct fs *fs, const char *path, struct why *why)
{
	CLEAN(mem_freep) char *dir = path_dir(path);

	return dir ? fs->sync_dir(fs, dir, why) : ERR_NOMEM;
}

/* Its owner and mode are those of the file that it will replace, so that the same ones can read it after a crash. */
static enum err write_next(const struct key_change *k, const char *next, struct why *why)
{
	char line[64];
	enum err e;

	line_of(line, k->to, &e);
	if (!e)
		e = k->fs->write_synced(k->fs, next, k->path, 0600, line, strlen(line), why);
	mem_wipe(line, sizeof(line));
	return e ? e : sync_folder(k->fs, next, why);
}

static enum err replace(const struct fs *fs, const char *path, const uint8_t key[CLUSTER_KEY_SIZE], const char *next,
			struct why *why)
{
	char line[64];
	enum err e;

	line_of(line, key, &e);
	if (!e)
		e = file_replace(fs, path, 0600, line, strlen(line), why);
	mem_wipe(line, sizeof(line));
	if (!e)
		e = fs->remove(fs, next, why);
	return e;
}

enum err key_change_settle(enum key_settled *out, const struct fs *fs, const char *path, const char *id,
			   struct why *why)
{
	CLEAN(mem_freep) char *next = next_path(fs, path, why);
	uint8_t key[CLUSTER_KEY_SIZE] = {0};
	char its_id[CLUSTER_KEY_ID_TEXT] = "";
	enum err e;

	*out = KEY_SETTLED_NOTHING;
	if (!next || !fs->exists(fs, next))
		return ERR_OK; /* without a real path there is no file either: said by who reads it */
	e = cluster_key_read(key, fs, next, why);
	if (!e)
		cluster_key_id(its_id, key);
	/* It is written whole before the store names it: half of one is of a change that was not made. */
	if (e == ERR_MALFORMED || e == ERR_TOO_BIG)
		e = ERR_OK;
	if (!e && its_id[0] && str_equal(its_id, id)) {
		e = replace(fs, path, key, next, why);
		*out = KEY_SETTLED_FINISHED;
	} else if (!e) {
		e = fs->remove(fs, next, why);
		*out = KEY_SETTLED_UNDONE;
	}
	mem_wipe(key, sizeof(key));
	if (e) {
		*out = KEY_SETTLED_NOTHING;
		why_add(why, "a change of the cluster key broke off, and can't be %s",
			str_equal(its_id, id) && its_id[0] ? "finished" : "tidied up");
	}
	return e;
}

/* ---- the transaction ---- */

/* One that doesn't know that keys change would write what it seals under the old one over what is there. */
static enum err check_servers(struct store_tx *tx, int64_t now_ms, struct why *why)
{
	struct server_row *rows = NULL;
	size_t n = 0;
	enum err e = store_server_list(tx, &rows, &n);

	for (size_t i = 0; i < n; i++) {
		bool runs = rows[i].state != SERVER_DOWN && now_ms - rows[i].last_update_ms < HEARTBEAT_FRESH_MS;

		if (!e && runs && !rows[i].key_id) {
			why_set(why,
				"the server %s runs (its last heartbeat is %lld s old) and has not said which key it has: it is of an "
				"older program, or has only just started. Wait, or stop it",
				rows[i].name, (long long)((now_ms - rows[i].last_update_ms) / 1000));
			e = ERR_REFUSED;
		}
		server_row_deinit(&rows[i]);
	}
	mem_free(rows);
	return e;
}

static bool is_known(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(sealed); i++)
		if (str_equal(name, sealed[i].name))
			return true;
	return false;
}

static enum err check_names(struct store_tx *tx, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list names = {0};
	enum err e = store_secret_names(tx, &names);

	for (size_t i = 0; !e && i < names.n; i++) {
		if (!strstr(names.items[i], "sealed") || is_known(names.items[i]))
			continue;
		why_set(why, "the store has a sealed value that this program does not know (%s): use the newest one",
			names.items[i]);
		e = ERR_NEWER;
	}
	return e;
}

static enum err again(const struct key_change *k, char **out, const char *value, const char *context, struct why *why)
{
	uint8_t nonce[12];

	world_entropy(k->world, nonce, sizeof(nonce));
	return sealed_again(out, value, context, k->from, k->to, nonce, why);
}

static bool cannot_be_opened(enum err e)
{
	return e == ERR_UNTRUSTED || e == ERR_DAMAGED;
}

static enum err secrets_again(struct store_tx *tx, struct key_change *k, struct why *why)
{
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < ARRAY_SIZE(sealed); i++) {
		CLEAN(mem_freep) char *value = NULL, *after = NULL;

		e = store_secret_get(tx, sealed[i].name, &value);
		if (e == ERR_NOT_FOUND || (!e && !value[0])) {
			e = ERR_OK;
			continue;
		}
		if (!e)
			e = again(k, &after, value, sealed[i].context, why);
		if (cannot_be_opened(e) && sealed[i].may_be_lost) {
			e = store_secret_remove(tx, sealed[i].name);
			k->n_lost++;
		} else if (!e) {
			e = store_secret_set(tx, sealed[i].name, after);
			k->n_again++;
		}
	}
	return e;
}

/* Private keys that wait to be fetched. One that can't be opened could not be shown to anybody before either. */
static enum err job_again(struct store_tx *tx, struct key_change *k, const struct job_row *job, struct why *why)
{
	size_t begins = strlen(JOB_BEGINS), ends = strlen(JOB_ENDS), n = strlen(job->result);
	CLEAN(mem_freep) char *code = NULL, *after = NULL, *result = NULL;
	char context[CONTEXT_MAX];
	enum err e;

	if (n < begins + ends || !str_ends(job->result, JOB_ENDS))
		return ERR_OK;
	code = mem_strndup(job->result + begins, n - begins - ends);
	if (!code)
		return ERR_NOMEM;
	snprintf(context, sizeof(context), SEALED_JOB, job->uuid);
	e = again(k, &after, code, context, why);
	if (cannot_be_opened(e)) {
		k->n_lost++;
		return ERR_OK;
	}
	if (e)
		return e;
	k->n_again++;
	result = mem_printf(JOB_BEGINS "%s" JOB_ENDS, after);
	return result ? store_job_result_set(tx, job->id, result) : ERR_NOMEM;
}

static enum err jobs_again(struct store_tx *tx, struct key_change *k, struct why *why)
{
	struct job_row *jobs = NULL;
	size_t n = 0;
	enum err e = store_job_results(tx, JOB_BEGINS, &jobs, &n);

	for (size_t i = 0; i < n; i++) {
		if (!e)
			e = job_again(tx, k, &jobs[i], why);
		job_row_deinit(&jobs[i]);
	}
	mem_free(jobs);
	return e;
}

static enum err put_record(struct store_tx *tx, const struct key_change *k, int64_t now_ms)
{
	struct cluster_key_record r = {.since_ms = now_ms};
	CLEAN(mem_freep) char *text = NULL;

	cluster_key_id(r.id, k->to);
	text = cluster_key_record_text(&r);
	return text ? store_secret_set(tx, CLUSTER_KEY_RECORD, text) : ERR_NOMEM;
}

static enum err put_event(struct store_tx *tx, const struct key_change *k, int64_t now_ms)
{
	struct event_row row = {.type = mem_strdup("CLUSTER.KEY.CHANGE"),
				.level = mem_strdup("WARN"),
				.account = mem_strdup("system"),
				.description =
					mem_strdup("The cluster key was changed; every server needs the new key file"),
				.created_ms = now_ms};
	enum err e = ERR_NOMEM;

	memcpy(row.uuid, k->uuid, sizeof(row.uuid));
	if (row.type && row.level && row.account && row.description)
		e = store_event_add(tx, &row);
	event_row_deinit(&row);
	return e;
}

static enum err change_run(struct store_tx *tx, void *arg, struct why *why)
{
	struct key_change *k = arg;
	int64_t now_ms = world_wall_ms(k->world);
	char id[CLUSTER_KEY_ID_TEXT];
	struct cluster_key_record r;
	enum err e;

	k->n_again = k->n_lost = 0;
	cluster_key_id(id, k->from);
	if ((e = check_servers(tx, now_ms, why)) || (e = check_names(tx, why)) || (e = key_record_get(tx, &r)))
		return e;
	if (r.id[0] && !str_equal(r.id, id)) {
		why_set(why, "the key in %s is not the cluster's any more: it has been changed already", k->path);
		return ERR_UNTRUSTED;
	}
	if ((e = secrets_again(tx, k, why)) || (e = jobs_again(tx, k, why)))
		return e;
	/* Under an external CA nothing else tells that it is another cluster's. */
	if (k->n_lost && !k->n_again && !r.id[0]) {
		why_set(why, "the key in %s opens nothing that is sealed in the store: it is not this cluster's",
			k->path);
		return ERR_UNTRUSTED;
	}
	if ((e = put_record(tx, k, now_ms)))
		return e;
	return put_event(tx, k, now_ms);
}

static enum err commit(struct key_change *k, struct why *why)
{
	struct store_call call = {.run = change_run, .arg = k};
	struct store_call *calls[] = {&call};
	enum err e = store_run(k->store, calls, 1, why);

	if (!e && call.result) {
		*why = call.why;
		e = call.result;
	}
	return e;
}

enum err key_change(struct key_change *k, struct why *why)
{
	CLEAN(mem_freep) char *next = next_path(k->fs, k->path, why);
	struct why ignored = WHY_NONE;
	enum err e;

	if (!next)
		return ERR_IO;
	if (memcmp(k->from, k->to, CLUSTER_KEY_SIZE) == 0) {
		why_set(why, "the new key is the one that there is");
		return ERR_REFUSED;
	}
	world_uuid(k->world, k->uuid);
	e = write_next(k, next, why);
	if (e) {
		(void)k->fs->remove(k->fs, next, &ignored);
		return e;
	}
	e = commit(k, why);
	/* A failed commit may have reached the disk all the same: only what the functions themselves said is sure. */
	if (e == ERR_REFUSED || e == ERR_UNTRUSTED || e == ERR_NEWER || e == ERR_DAMAGED)
		(void)k->fs->remove(k->fs, next, &ignored);
	return e ? e : replace(k->fs, k->path, k->to, next, why);
}
