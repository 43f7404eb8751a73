/*
 * An agent's folder, as muster-agent has it: cloud.key, cloud.crt, cloud.ca.crt and agent.properties. So any agent of
 * the fleet can also be started alone, and what joined once joins never again. Nothing is synced: who loses such a
 * folder joins anew.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/props.h"
#include "bench/bench.h"
#include "core/server_list.h"

#define KEY "cloud.key"
#define CERT "cloud.crt"
#define CA "cloud.ca.crt"
#define PROPERTIES "agent.properties"
#define FILE_LIMIT (256 * 1024)

CLEAN_DEFINE(struct props, props_free)

enum err folder_init(struct folder *f, const char *dir, const char *name)
{
	*f = (struct folder){.dir = path_join(dir, name)};
	return f->dir ? ERR_OK : ERR_NOMEM;
}

void folder_deinit(struct folder *f)
{
	mem_free(f->dir);
	key_free(f->key);
	mem_free(f->cert);
	mem_free(f->ca);
	*f = (struct folder){0};
}

char *folder_properties(const struct folder *f)
{
	return path_join(f->dir, PROPERTIES);
}

static enum err load(char **out, const struct folder *f, const char *name, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(f->dir, name);
	CLEAN(buf_deinit) struct buf text = {0};
	enum err e = path ? file_read(&fs_posix, path, FILE_LIMIT, &text, why) : ERR_NOMEM;

	if (e)
		return e;
	*out = mem_strndup(text.data ? (const char *)text.data : "", text.len);
	if (text.data)
		mem_wipe(text.data, text.len);
	return *out ? ERR_OK : ERR_NOMEM;
}

enum err folder_load(struct folder *f, struct why *why)
{
	enum err e = load(&f->cert, f, CERT, why);

	if (!e)
		e = load(&f->key, f, KEY, why);
	return e ? e : load(&f->ca, f, CA, why);
}

/* ---- after a join ---- */

static enum err put_number(struct props *p, const char *key, int64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, number);
	return props_set(p, key, text, NULL);
}

static enum err put_interval(struct props *p, const struct msg_join_answer *a)
{
	enum err e;

	if (!a->lbCheckInterval.has || a->lbCheckInterval.value <= 0)
		return ERR_OK;
	e = put_number(p, KEY_CHECK_INTERVAL, a->lbCheckInterval.value);
	return e ? e : put_number(p, KEY_CHECK_INTERVAL_RECEIVED, a->lbCheckInterval.value);
}

static enum err put_servers(struct props *p, const struct msg_join_answer *a, const struct str_list *asked)
{
	bool has_list = a->msHostList.has && a->msHostList.list.n;
	CLEAN(mem_freep)
	char *list =
		has_list ? server_list_format(&a->msHostList.list, a->lbAlgorithm) : server_list_format(asked, NULL);
	CLEAN(mem_freep) char *known = str_list_join(asked, ",");
	enum err e = list && known ? props_set(p, KEY_HOST, list, NULL) : ERR_NOMEM;

	if (!e)
		e = props_set(p, KEY_HOST_BOOTSTRAP, known, NULL);
	return e ? e : props_set(p, KEY_KNOWN_MUSTER, known, NULL);
}

static enum err fill(struct props *p, const struct msg_join_answer *a, const struct str_list *asked)
{
	enum err e = props_set(p, "guid", a->guid, NULL);

	if (!e)
		e = put_number(p, "port", a->port.has ? a->port.value : SERVER_LIST_PORT);
	if (!e)
		e = put_servers(p, a, asked);
	if (!e)
		e = put_interval(p, a);
	if (!e && a->hostId.has && a->hostId.value > 0)
		e = put_number(p, RESOURCE ".id", a->hostId.value);
	return e;
}

static enum err save(const struct folder *f, const char *name, const void *data, size_t n, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(f->dir, name);

	return path ? file_put(path, data, n, why) : ERR_NOMEM;
}

enum err folder_write(struct folder *f, const struct msg_join_answer *a, const struct str_list *asked, struct why *why)
{
	CLEAN(props_freep) struct props *p = props_new();
	CLEAN(buf_deinit) struct buf text = {0};
	enum err e = p ? fill(p, a, asked) : ERR_NOMEM;

	if (!e)
		e = props_write(p, &text);
	if (!e)
		e = fs_posix.make_dir(&fs_posix, f->dir, 0700, why);
	if (!e)
		e = save(f, PROPERTIES, text.data, text.len, why);
	if (!e)
		e = save(f, KEY, f->key, strlen(f->key), why);
	if (!e)
		e = save(f, CA, a->caCertificates, strlen(a->caCertificates), why);
	/* Last: it says that the others are there. */
	return e ? e : save(f, CERT, a->certificate, strlen(a->certificate), why);
}
