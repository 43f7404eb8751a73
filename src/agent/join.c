#include "agent/join.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/settings.h"
#include "base/mem.h"
#include "client/agent_file.h"
#include "core/server_list.h"

#define FILE_LIMIT (1024 * 1024)
#define TOKEN_LIMIT 8192
#define PORT_DEFAULT 8250

CLEAN_DEFINE(struct props, props_free)

/* ---- the token ---- */

static enum err read_stream(char **out, FILE *f, const char *name, struct why *why)
{
	char text[TOKEN_LIMIT];
	size_t n = fread(text, 1, sizeof(text) - 1, f);

	if (ferror(f)) {
		why_set(why, "can't read the token from %s", name);
		return ERR_IO;
	}
	text[n] = '\0';
	*out = mem_strdup(text);
	mem_wipe(text, sizeof(text));
	return *out ? ERR_OK : ERR_NOMEM;
}

static enum err read_token_file(char **out, const char *path, struct why *why)
{
	CLEAN(buf_deinit) struct buf text = {0};
	enum err e = file_read_any(path, TOKEN_LIMIT, &text, why);

	if (e)
		return e;
	*out = mem_strndup(text.data ? (const char *)text.data : "", text.len);
	if (text.data)
		mem_wipe(text.data, text.len);
	return *out ? ERR_OK : ERR_NOMEM;
}

enum err join_token_text(char **out, const char *from, struct why *why)
{
	if (from && strcmp(from, "-") == 0)
		return read_stream(out, stdin, "standard input", why);
	if (from && from[0] == '@')
		return read_token_file(out, from + 1, why);
	if (!from)
		from = getenv(JOIN_TOKEN_VARIABLE);
	if (!from) {
		why_set(why,
			"there is no token: give it as an argument, as @FILE, with - on standard input, or in " JOIN_TOKEN_VARIABLE
			"; `muster token create` makes one");
		return ERR_NOT_FOUND;
	}
	*out = mem_strdup(from);
	return *out ? ERR_OK : ERR_NOMEM;
}

/* ---- what is written ---- */

enum err join_open_props(struct props **out, const struct fs *fs, const char *path, struct why *why)
{
	static const char fresh[] =
		"# muster-agent: what this host knows of its servers. `muster-agent --settings` explains each line;\n"
		"# the agent changes single lines and leaves yours alone.\n";
	CLEAN(buf_deinit) struct buf text = {0};
	enum err e = file_read(fs, path, FILE_LIMIT, &text, why);

	if (e == ERR_NOT_FOUND)
		return props_parse(out, fresh, sizeof(fresh) - 1, why);
	if (!e)
		e = props_parse(out, text.data, text.len, why);
	if (e)
		why_add(why, "%s", path);
	return e;
}

static enum err add_server(struct str_list *to, const char *entry, uint16_t port)
{
	for (size_t i = 0; i < to->n; i++) {
		if (server_entry_same(to->items[i], entry, port))
			return ERR_OK;
	}
	return str_list_add(to, entry);
}

/* Whom to ask when nobody of the list answers: who let us in, and the first list. */
static enum err put_bootstrap(struct props *p, const struct msg_join_answer *a, const struct str_list *asked,
			      uint16_t port)
{
	CLEAN(str_list_deinit) struct str_list all = {0};
	CLEAN(mem_freep) char *text = NULL;
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < asked->n; i++)
		e = add_server(&all, asked->items[i], port);
	for (size_t i = 0; !e && a->msHostList.has && i < a->msHostList.list.n; i++)
		e = add_server(&all, a->msHostList.list.items[i], port);
	if (e)
		return e;
	text = server_list_format(&all, NULL);
	return text ? props_set(p, KEY_HOST_BOOTSTRAP, text, NULL) : ERR_NOMEM;
}

/* Only those that the token names are known to be muster's, in both spellings that the agent will meet. */
static enum err put_known(struct props *p, const struct msg_join_answer *a, const struct str_list *asked, uint16_t port)
{
	CLEAN(str_list_deinit) struct str_list known = {0};
	CLEAN(mem_freep) char *text = NULL;
	enum err e = str_list_copy(&known, asked);

	for (size_t i = 0; !e && a->msHostList.has && i < a->msHostList.list.n; i++) {
		const char *entry = a->msHostList.list.items[i];

		for (size_t k = 0; !e && k < asked->n; k++) {
			if (server_entry_same(entry, asked->items[k], port) && !str_list_has(&known, entry))
				e = str_list_add(&known, entry);
		}
	}
	if (e)
		return e;
	text = str_list_join(&known, ",");
	return text ? props_set(p, KEY_KNOWN_MUSTER, text, NULL) : ERR_NOMEM;
}

static enum err put_number(struct props *p, const char *key, int64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, number);
	return props_set(p, key, text, NULL);
}

/* A received interval, unless an operator has put one there beforehand (decision 22). */
static enum err put_interval(struct props *p, const struct msg_join_answer *a)
{
	const char *old = props_get(p, KEY_CHECK_INTERVAL), *received = props_get(p, KEY_CHECK_INTERVAL_RECEIVED);
	bool is_own = !str_is_blank(old) && !str_equal(old, received);
	enum err e;

	if (is_own || !a->lbCheckInterval.has)
		return ERR_OK;
	if (a->lbCheckInterval.value <= 0) {
		props_remove(p, KEY_CHECK_INTERVAL, NULL);
		props_remove(p, KEY_CHECK_INTERVAL_RECEIVED, NULL);
		return ERR_OK;
	}
	e = put_number(p, KEY_CHECK_INTERVAL, a->lbCheckInterval.value);
	return e ? e : put_number(p, KEY_CHECK_INTERVAL_RECEIVED, a->lbCheckInterval.value);
}

static enum err put_list(struct props *p, const struct msg_join_answer *a, const struct str_list *asked)
{
	CLEAN(mem_freep) char *text = NULL;

	/* A server with nothing to say about lists: those that we know will do until the first connection. */
	if (a->msHostList.has && a->msHostList.list.n)
		text = server_list_format(&a->msHostList.list, a->lbAlgorithm);
	else
		text = server_list_format(asked, NULL);
	return text ? props_set(p, KEY_HOST, text, NULL) : ERR_NOMEM;
}

/* The host id and uuid, where the engine looks for them. */
static enum err put_host(struct props *p, const struct msg_join_answer *a, const struct agent_settings *s)
{
	CLEAN(mem_freep) char *id = NULL;
	CLEAN(mem_freep) char *uuid = NULL;
	char resource[128];
	enum err e = ERR_OK;

	if (!agent_settings_resource_name(resource, sizeof(resource), s))
		return ERR_INVALID;
	id = mem_printf("%s.id", resource);
	uuid = mem_printf("%s.uuid", resource);
	if (!id || !uuid)
		return ERR_NOMEM;
	/* Those of another identity don't hold any more. */
	props_remove(p, id, NULL);
	props_remove(p, uuid, NULL);
	if (a->hostId.has && a->hostId.value > 0)
		e = put_number(p, id, a->hostId.value);
	if (!e && !str_is_blank(a->hostUuid))
		e = props_set(p, uuid, a->hostUuid, NULL);
	return e;
}

/* Where the server has put the host, so that each startup says the same; the default needs no line. */
static enum err put_place(struct props *p, const struct msg_join_answer *a, const struct agent_settings *s)
{
	const struct {
		const char *key, *old, *value;
	} rows[] = {{"zone", s->zone, a->zone}, {"pod", s->pod, a->pod}, {"cluster", s->cluster, a->cluster}};
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < ARRAY_SIZE(rows); i++) {
		if (!str_is_blank(rows[i].value) && !str_equal(rows[i].old, rows[i].value))
			e = props_set(p, rows[i].key, rows[i].value, NULL);
	}
	return e;
}

static enum err put_options(struct props *p, const struct join_options *o)
{
	const struct {
		const char *key, *value;
	} rows[] = {
		{"muster.name", o->name}, {"muster.source.ip", o->source_ip}, {"zone", o->zone}, {"pod", o->pod},
		{"cluster", o->cluster},
	};
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < ARRAY_SIZE(rows); i++) {
		if (rows[i].value)
			e = props_set(p, rows[i].key, rows[i].value, NULL);
	}
	return e;
}

static enum err fill_props(struct props *p, const struct join_options *o, const struct msg_join_answer *a,
			   const struct str_list *asked, const char *file, struct why *why)
{
	const struct settings_voice silent = {0};
	struct agent_settings s = {0};
	uint16_t port = a->port.has && a->port.value > 0 && a->port.value <= UINT16_MAX ? (uint16_t)a->port.value
											: PORT_DEFAULT;
	enum err e = agent_settings_load(&s, p, file, &silent);

	if (e) {
		why_set(why, "%s has mistakes: muster-agent --check --dir %s lists them", file, o->dir);
		return e;
	}
	e = props_set(p, "guid", a->guid, NULL);
	if (!e)
		e = put_place(p, a, &s);
	if (!e)
		e = put_options(p, o);
	if (!e)
		e = put_number(p, "port", port);
	if (!e)
		e = put_list(p, a, asked);
	if (!e)
		e = put_interval(p, a);
	if (!e)
		e = put_bootstrap(p, a, asked, port);
	if (!e)
		e = put_known(p, a, asked, port);
	if (!e)
		e = put_host(p, a, &s);
	agent_settings_deinit(&s);
	return e;
}

/* ---- one that is cut off ---- */

/* Whose it is, and what agent.properties was when it was made; a hash or "-" each. */
#define PENDING_LINE "# join %s %s\n"
#define PENDING_LINE_MAX 192

static void text_hash(char out[FINGERPRINT_TEXT], const struct buf *text)
{
	sha256_hex(out, text->data ? (const char *)text->data : "", text->len);
}

/* "-": there is none. */
static enum err hash_of_file(char out[FINGERPRINT_TEXT], const struct fs *fs, const char *path, struct why *why)
{
	CLEAN(buf_deinit) struct buf text = {0};
	enum err e = file_read(fs, path, FILE_LIMIT, &text, why);

	if (e == ERR_NOT_FOUND) {
		str_copy(out, FINGERPRINT_TEXT, "-");
		return ERR_OK;
	}
	text_hash(out, &text);
	return e;
}

static enum err write_pending(const struct fs *fs, const char *path, const char *pending, const struct identity *i,
			      const struct buf *text, struct why *why)
{
	CLEAN(buf_deinit) struct buf all = {0};
	char digest[FINGERPRINT_TEXT], before[FINGERPRINT_TEXT];
	enum err e = hash_of_file(before, fs, path, why);

	identity_digest(digest, i);
	if (!e)
		e = buf_printf(&all, PENDING_LINE, digest, before);
	if (!e)
		e = buf_put(&all, text->data, text->len);
	return e ? e : file_replace(fs, pending, 0600, all.data, all.len, why);
}

struct pending {
	char digest[FINGERPRINT_TEXT], before[FINGERPRINT_TEXT];
	struct bytes text; /* in the buffer that it was read from */
};

static bool pending_read(struct pending *out, const struct buf *all)
{
	const uint8_t *end = all->data ? memchr(all->data, '\n', all->len) : NULL;
	size_t n = end ? (size_t)(end - all->data) + 1 : 0;
	char line[PENDING_LINE_MAX];

	if (!n || n >= sizeof(line))
		return false;
	memcpy(line, all->data, n);
	line[n] = '\0';
	out->text = (struct bytes){.data = all->data + n, .len = all->len - n};
	return sscanf(line, "# join %64s %64s", out->digest, out->before) == 2;
}

static enum err finish_with(bool *done, const struct fs *fs, const char *dir, const struct pending *p, const char *path,
			    struct why *why)
{
	struct identity i = {0};
	char digest[FINGERPRINT_TEXT], now[FINGERPRINT_TEXT];
	enum err e;

	/* An identity that isn't good is not that of the join either. */
	if (identity_load(&i, fs, dir, NULL) == ERR_NOMEM)
		return ERR_NOMEM;
	identity_digest(digest, &i);
	identity_deinit(&i);
	if (strcmp(digest, p->digest) != 0)
		return ERR_OK;
	e = hash_of_file(now, fs, path, why);
	if (!e && strcmp(now, p->before) != 0) {
		sha256_hex(digest, p->text.data, p->text.len);
		*done = strcmp(now, digest) == 0;
		if (*done)
			return ERR_OK;
		why_set(why,
			"a join was cut off, and %s was changed since: what it would have become is in " JOIN_PENDING
			" beside it; take from it what you need (guid first of all) and remove it",
			path);
		return ERR_CONFLICT;
	}
	if (!e)
		e = file_replace(fs, path, 0600, p->text.data, p->text.len, why);
	*done = !e;
	return e;
}

bool join_is_cut_off(const struct fs *fs, const char *dir)
{
	CLEAN(mem_freep) char *pending = path_join(dir, JOIN_PENDING);

	return pending && fs->exists(fs, pending);
}

enum err join_finish(bool *done, const struct fs *fs, const char *dir, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(dir, JOIN_FILE);
	CLEAN(mem_freep) char *pending = path_join(dir, JOIN_PENDING);
	CLEAN(buf_deinit) struct buf all = {0};
	struct pending p;
	enum err e = ERR_OK;

	*done = false;
	if (!path || !pending)
		return ERR_NOMEM;
	if (!fs->exists(fs, pending))
		return ERR_OK;
	e = file_read(fs, pending, FILE_LIMIT + PENDING_LINE_MAX, &all, why);
	if (!e && pending_read(&p, &all))
		e = finish_with(done, fs, dir, &p, path, why);
	return e ? e : fs->remove(fs, pending, why);
}

/* ---- all of it ---- */

enum err join_write(const struct fs *fs, const struct join_options *o, const struct identity *i,
		    const struct msg_join_answer *a, const struct str_list *entries, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(o->dir, JOIN_FILE);
	CLEAN(mem_freep) char *pending = path_join(o->dir, JOIN_PENDING);
	CLEAN(props_freep) struct props *p = NULL;
	CLEAN(buf_deinit) struct buf text = {0};
	enum err e = path && pending ? join_open_props(&p, fs, path, why) : ERR_NOMEM;

	/* Everything that can go wrong without the disk goes wrong before it is touched. */
	if (!e)
		e = fill_props(p, o, a, entries, path, why);
	if (!e)
		e = props_write(p, &text);
	if (!e && text.len > FILE_LIMIT) {
		why_set(why, "%s would become larger than %d bytes", path, FILE_LIMIT);
		e = ERR_TOO_BIG;
	}
	if (!e)
		e = write_pending(fs, path, pending, i, &text, why);
	if (!e)
		e = identity_install(fs, o->dir, i, why);
	if (!e)
		e = file_replace(fs, path, 0600, text.data, text.len, why);
	return e ? e : fs->remove(fs, pending, why);
}
