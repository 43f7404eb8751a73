/*
 * One request on a muster-join/1 link; then five files, the cluster key last: a server that finds it starts.
 */
#include "server/enrol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "ca/root.h"
#include "client/join.h"
#include "core/server_list.h"
#include "net/world_uv.h"
#include "pki/token.h"
#include "server/cluster_key.h"

#define TOKEN_LIMIT 8192

struct enrolment {
	const struct enrol_params *p;
	struct world *world;
	struct token token;
	char *key, *csr;
	char uuid[UUID_TEXT];
	enum err result;
	struct why *why;
};

static const char *address_of(const struct server_settings *s)
{
	return str_is_blank(s->address) ? s->listen : s->address;
}

static enum err read_token(char **out, const char *from, struct why *why)
{
	CLEAN(buf_deinit) struct buf text = {0};
	char line[TOKEN_LIMIT];
	size_t n;
	enum err e;

	if (from[0] == '@') {
		e = file_read_any(from + 1, TOKEN_LIMIT, &text, why);
		*out = e ? NULL : buf_take_str(&text);
		return e || *out ? e : ERR_NOMEM;
	}
	if (strcmp(from, "-") != 0) {
		*out = mem_strdup(from);
		return *out ? ERR_OK : ERR_NOMEM;
	}
	n = fread(line, 1, sizeof(line) - 1, stdin);
	line[n] = 0;
	*out = mem_strdup(line);
	mem_wipe(line, sizeof(line));
	return *out ? ERR_OK : ERR_NOMEM;
}

static enum err write_file(const char *dir, const char *name, unsigned mode, const char *text, struct why *why)
{
	CLEAN(mem_freep) char *path = name[0] == '/' ? mem_strdup(name) : path_join(dir, name);

	return path ? file_replace(&fs_posix, path, mode, text, strlen(text), why) : ERR_NOMEM;
}

/* The answer becomes files. Who we are comes first: a crash in between leaves no server that starts as somebody else.
 */
static enum err keep(struct enrolment *e, const struct msg_join_answer *a)
{
	const struct enrol_params *p = e->p;
	CLEAN(mem_freep) char *id = NULL;
	CLEAN(mem_freep) char *cluster_key = NULL;
	uint64_t random;
	enum err err;

	if (str_is_blank(a->certificate) || str_is_blank(a->caCertificates) || str_is_blank(a->clusterKey)) {
		why_set(e->why, "the answer has no certificate or no cluster key: is the other server able to issue?");
		return ERR_MALFORMED;
	}
	world_entropy(e->world, &random, sizeof(random));
	id = mem_printf("# who this management server is; made once\nmsid=%lld\nuuid=%s\n",
			(long long)(random & 0x7fffffffffffULL) | 1, e->uuid);
	cluster_key = mem_printf("%s\n", a->clusterKey);
	if (!id || !cluster_key)
		return ERR_NOMEM;
	err = write_file(p->dir, "server.id", 0644, id, e->why);
	if (!err)
		err = write_file(p->dir, "server.key", 0600, e->key, e->why);
	if (!err)
		err = write_file(p->dir, "server.crt", 0600, a->certificate, e->why);
	if (!err)
		err = write_file(p->dir, "server.ca.crt", 0644, a->caCertificates, e->why);
	if (!err)
		err = write_file(p->dir, p->settings->cluster_key, 0600, cluster_key, e->why);
	mem_wipe(cluster_key, strlen(cluster_key));
	return err;
}

static void on_joined(void *user, enum err result, const char *sentence, const struct msg_join_answer *answer)
{
	struct enrolment *e = user;

	e->result = result;
	if (result)
		why_set(e->why, "%s", sentence);
	else
		e->result = keep(e, answer);
	world_uv_stop(e->world);
}

static enum err make_request(struct enrolment *e)
{
	CLEAN(str_list_deinit) struct str_list ips = {0}, dns = {0};
	const char *address = address_of(e->p->settings);
	struct server_address a;
	struct csr_params p = {.role = CERT_ROLE_SERVER, .id = e->uuid, .ips = &ips, .dns = &dns};
	enum err err = server_address_parse(&a, address, e->why);
	bool is_ip = !err && server_host_is_address(a.host);

	if (!err)
		err = str_list_add(is_ip ? &ips : &dns, a.host);
	if (!err)
		err = key_new(&e->key, KEY_EC_P256, e->why);
	p.key_pem = e->key;
	p.common_name = e->p->settings->name;
	return err ? err : csr_new(&e->csr, &p, e->why);
}

static enum err ask(struct enrolment *e, const struct log *log)
{
	CLEAN(mem_freep) char *servers = str_list_join(&e->token.servers, ",");
	struct batch b = {0};
	struct msg_join *m = batch_add(&b, MSG_JOIN);
	struct join_params p = {.world = e->world, .log = log, .servers = servers, .fingerprint = e->token.fingerprint};
	struct str_list addresses = {0};
	struct join *join = NULL;
	enum err err = servers && m ? ERR_OK : ERR_NOMEM;

	if (!err)
		err = str_list_add(&addresses, address_of(e->p->settings));
	if (!err &&
	    (msg_set_text(&m->tokenId, e->token.id) || msg_set_text(&m->tokenSecret, e->token.secret) ||
	     msg_set_text(&m->role, "server") || msg_set_text(&m->csr, e->csr) || msg_set_text(&m->guid, e->uuid) ||
	     msg_set_text(&m->name, e->p->settings->name) || msg_set_texts(&m->addresses, &addresses)))
		err = ERR_NOMEM;
	if (!err)
		err = join_start(&join, &p, m, on_joined, e, e->why);
	str_list_deinit(&addresses);
	batch_deinit(&b);
	if (err)
		return err;
	world_uv_run(e->world);
	join_free(join);
	return e->result;
}

/* The key comes with the answer: it must have a place, and take nobody else's. */
static enum err check_cluster_key(const struct enrol_params *p, struct why *why)
{
	CLEAN(cluster_key_place_deinit) struct cluster_key_place place = {0};
	enum err e = cluster_key_find(&place, p->dir, p->settings->cluster_key, getenv(CREDENTIALS_VARIABLE), why);

	if (e || place.is_credential) {
		why_set(why,
			"cluster.key.file is a credential, and joining writes the key into a file: name that one for "
			"now, and make a credential of it afterwards");
		return ERR_INVALID;
	}
	if (!fs_posix.exists(&fs_posix, place.path))
		return ERR_OK;
	why_set(why,
		"%s exists: a server that has the key of its cluster needs no token and is only started; if the key is of "
		"another cluster, name another file",
		place.path);
	return ERR_EXISTS;
}

static enum err check_folder(const struct enrol_params *p, struct why *why)
{
	static const char *const files[] = {"server.id", "server.crt", "server.key"};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		CLEAN(mem_freep) char *path = path_join(p->dir, files[i]);

		if (!path)
			return ERR_NOMEM;
		if (fs_posix.exists(&fs_posix, path)) {
			why_set(why,
				"%s exists: this folder belongs to a server already; join from a folder of its own",
				path);
			return ERR_EXISTS;
		}
	}
	return check_cluster_key(p, why);
}

enum err enrol(const struct enrol_params *p, struct why *why)
{
	struct enrolment e = {.p = p, .why = why};
	CLEAN(mem_freep) char *text = NULL;
	struct log log;
	enum err err = check_folder(p, why);

	log_init_stderr(&log, LOG_WARN, false);
	if (!err)
		err = read_token(&text, p->token, why);
	if (!err)
		err = token_parse(&e.token, text, why);
	if (text)
		mem_wipe(text, strlen(text));
	if (!err && e.token.role != CERT_ROLE_SERVER) {
		why_set(why, "this token is for an agent; `muster server token` makes one for a server");
		err = ERR_REFUSED;
	}
	if (!err)
		err = world_uv_new(&e.world, why);
	if (!err) {
		world_uuid(e.world, e.uuid);
		err = make_request(&e);
	}
	if (!err)
		err = ask(&e, &log);
	token_deinit(&e.token);
	key_free(e.key);
	mem_free(e.csr);
	if (e.world)
		world_uv_free(e.world);
	return err;
}
