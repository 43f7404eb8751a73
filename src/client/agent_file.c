#include "client/agent_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "core/server_list.h"

#define FILE_LIMIT (1024 * 1024)
#define FILE_MODE 0600
#define NUMBER_TEXT 24
#define KEY_HOSTS "hosts" /* an older spelling, read only */

struct agent_file {
	const struct fs *fs;
	char *path;          /* owned */
	struct props *props; /* owned; what the file held when it was last read or written */
};

CLEAN_DEFINE(struct agent_file, agent_file_free)
CLEAN_DEFINE(struct props, props_free)

static enum err props_from_file(struct props **out, const struct fs *fs, const char *path, struct why *why)
{
	CLEAN(buf_deinit) struct buf text = {0};
	enum err e;

	e = file_read(fs, path, FILE_LIMIT, &text, why);
	if (e)
		return e;
	e = props_parse(out, text.data, text.len, why);
	if (e)
		why_add(why, "%s", path);
	return e;
}

enum err agent_file_open(struct agent_file **out, const struct fs *fs, const char *path, struct why *why)
{
	CLEAN(agent_file_freep) struct agent_file *f = mem_zalloc(sizeof(*f));
	enum err e;

	if (!f || !(f->path = mem_strdup(path)))
		return ERR_NOMEM;
	f->fs = fs;
	e = props_from_file(&f->props, fs, path, why);
	if (e)
		return e;

	*out = STEAL(f);
	return ERR_OK;
}

struct agent_file *agent_file_free(struct agent_file *f)
{
	if (!f)
		return NULL;
	props_free(f->props);
	mem_free(f->path);
	return mem_free(f);
}

const struct props *agent_file_props(const struct agent_file *f)
{
	return f->props;
}

const char *agent_file_path(const struct agent_file *f)
{
	return f->path;
}

const char *agent_file_get(const struct agent_file *f, const char *key)
{
	const char *value = props_get(f->props, key);

	return str_is_blank(value) ? NULL : value;
}

const char *agent_file_host(const struct agent_file *f)
{
	const char *host = agent_file_get(f, KEY_HOST);

	return host ? host : agent_file_get(f, KEY_HOSTS);
}

/* ---- changing ---- */

static enum err change_apply(struct props *p, const struct agent_change *c, bool *changed)
{
	if (c->value)
		return props_set(p, c->key, c->value, changed);
	props_remove(p, c->key, changed);
	return ERR_OK;
}

static enum err changes_apply(struct props *p, const struct agent_change *changes, size_t n, bool *changed)
{
	*changed = false;
	for (size_t i = 0; i < n; i++) {
		bool one = false;
		enum err e = change_apply(p, &changes[i], &one);

		if (e)
			return e;
		*changed |= one;
	}
	return ERR_OK;
}

static bool changes_are_there(const struct props *p, const struct agent_change *changes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!str_equal(props_get(p, changes[i].key), changes[i].value))
			return false;
	}
	return true;
}

enum err agent_file_change(struct agent_file *f, const struct agent_change *changes, size_t n, struct why *why)
{
	CLEAN(props_freep) struct props *fresh = NULL;
	CLEAN(buf_deinit) struct buf text = {0};
	bool changed;
	enum err e;

	if (changes_are_there(f->props, changes, n))
		return ERR_OK;
	/* A file that has become unreadable is for its operator to look at, not for us to write over. */
	e = props_from_file(&fresh, f->fs, f->path, why);
	if (!e)
		e = changes_apply(fresh, changes, n, &changed);
	if (!e && changed)
		e = props_write(fresh, &text);
	/* What could not be read again would keep the agent from starting. */
	if (!e && changed && text.len > FILE_LIMIT) {
		why_set(why, "%s would become larger than %d bytes", f->path, FILE_LIMIT);
		e = ERR_TOO_BIG;
	}
	if (!e && changed)
		e = file_replace(f->fs, f->path, FILE_MODE, text.data, text.len, why);
	if (e)
		return e;

	props_free(f->props);
	f->props = STEAL(fresh);
	return ERR_OK;
}

/* ---- list and interval ---- */

/* A number without the blanks that Java keeps at the end of a value. */
static bool number_of(const char *value, int64_t *out)
{
	char text[NUMBER_TEXT];

	return value && str_copy(text, sizeof(text), value) && str_to_i64(str_trim(text), out);
}

/* Set, and not by us: the received line is missing or says something else (decision 22). */
static bool interval_is_own(const struct agent_file *f)
{
	const char *value = agent_file_get(f, KEY_CHECK_INTERVAL);
	const char *received = agent_file_get(f, KEY_CHECK_INTERVAL_RECEIVED);
	int64_t a, b;

	if (!value)
		return false;
	return !number_of(value, &a) || !number_of(received, &b) || a != b;
}

int64_t agent_file_interval(const struct agent_file *f, int64_t received, bool *is_own)
{
	int64_t interval = received;
	bool own = interval_is_own(f);

	if (own && !number_of(agent_file_get(f, KEY_CHECK_INTERVAL), &interval))
		interval = 0;
	if (is_own)
		*is_own = own;
	return interval > 0 ? interval : 0;
}

int64_t agent_file_received_interval(const struct agent_file *f)
{
	int64_t received;

	return number_of(agent_file_get(f, KEY_CHECK_INTERVAL_RECEIVED), &received) && received > 0 ? received : 0;
}

/* What a replacement is put together from; the texts live as long as it does. */
struct replacement {
	struct agent_change changes[4];
	size_t n;
	char *host; /* owned */
	char number[NUMBER_TEXT];
};

static void replacement_deinit(struct replacement *r)
{
	mem_free(r->host);
}

static void replacement_add(struct replacement *r, const char *key, const char *value)
{
	r->changes[r->n++] = (struct agent_change){.key = key, .value = value};
}

static enum err replacement_list(struct replacement *r, const struct agent_file *f, const struct str_list *list,
				 const char *algorithm, bool old_worked)
{
	const char *old = agent_file_host(f);

	r->host = server_list_format(list, algorithm);
	if (!r->host)
		return ERR_NOMEM;
	if (str_equal(r->host, agent_file_get(f, KEY_HOST)))
		return ERR_OK;
	if (old && old_worked)
		replacement_add(r, KEY_HOST_LASTGOOD, old);
	replacement_add(r, KEY_HOST, r->host);
	return ERR_OK;
}

static void replacement_interval(struct replacement *r, const struct agent_file *f, int64_t interval)
{
	if (interval_is_own(f))
		return;
	if (interval > 0)
		snprintf(r->number, sizeof(r->number), "%" PRId64, interval);
	replacement_add(r, KEY_CHECK_INTERVAL, interval > 0 ? r->number : NULL);
	replacement_add(r, KEY_CHECK_INTERVAL_RECEIVED, interval > 0 ? r->number : NULL);
}

enum err agent_file_save_list(struct agent_file *f, const struct str_list *list, const char *algorithm, bool old_worked,
			      struct why *why)
{
	CLEAN(replacement_deinit) struct replacement r = {0};
	enum err e = replacement_list(&r, f, list, algorithm, old_worked);

	return e ? e : agent_file_change(f, r.changes, r.n, why);
}

enum err agent_file_save_interval(struct agent_file *f, int64_t interval, struct why *why)
{
	CLEAN(replacement_deinit) struct replacement r = {0};

	replacement_interval(&r, f, interval);
	return agent_file_change(f, r.changes, r.n, why);
}

enum err agent_file_save_list_and_interval(struct agent_file *f, const struct str_list *list, const char *algorithm,
					   bool old_worked, int64_t interval, struct why *why)
{
	CLEAN(replacement_deinit) struct replacement r = {0};
	enum err e = replacement_list(&r, f, list, algorithm, old_worked);

	if (e)
		return e;
	replacement_interval(&r, f, interval);
	return agent_file_change(f, r.changes, r.n, why);
}

/* ---- identity ---- */

enum err agent_file_save_identity(struct agent_file *f, const char *resource_name, int64_t id, const char *uuid,
				  const char *name, struct why *why)
{
	CLEAN(mem_freep) char *id_key = mem_printf("%s.id", resource_name);
	CLEAN(mem_freep) char *uuid_key = mem_printf("%s.uuid", resource_name);
	CLEAN(mem_freep) char *name_key = mem_printf("%s.name", resource_name);
	struct agent_change changes[3];
	char number[NUMBER_TEXT];
	size_t n = 0;

	if (!id_key || !uuid_key || !name_key)
		return ERR_NOMEM;
	snprintf(number, sizeof(number), "%" PRId64, id);
	changes[n++] = (struct agent_change){.key = id_key, .value = number};
	if (uuid)
		changes[n++] = (struct agent_change){.key = uuid_key, .value = uuid};
	if (name)
		changes[n++] = (struct agent_change){.key = name_key, .value = name};
	return agent_file_change(f, changes, n, why);
}

enum err agent_file_next_boot(struct agent_file *f, int64_t *out, struct why *why)
{
	const char *value = agent_file_get(f, KEY_BOOT);
	char number[NUMBER_TEXT];
	int64_t last = 0;
	enum err e;

	*out = 0;
	/* Starting again from 1 would make this process look older than those before it. */
	if (value && (!number_of(value, &last) || last < 0 || last == INT64_MAX)) {
		why_set(why, "%s: %s: \"%s\" is not a number that can be counted on from", f->path, KEY_BOOT, value);
		return ERR_INVALID;
	}
	snprintf(number, sizeof(number), "%" PRId64, last + 1);
	e = agent_file_change(f, &(struct agent_change){KEY_BOOT, number}, 1, why);
	if (!e)
		*out = last + 1;
	return e;
}

int64_t agent_file_host_id(const struct agent_file *f, const char *resource_name)
{
	CLEAN(mem_freep) char *key = mem_printf("%s.id", resource_name);
	int64_t id;

	/* The reference stores the 0 of a first StartupAnswer for a moment: no id either. */
	return key && number_of(agent_file_get(f, key), &id) && id > 0 ? id : -1;
}
