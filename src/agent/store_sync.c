/*
 * Keeps cloud.jks in step: in a folder that was CloudStack's agent's, that agent can be started again after a renewal.
 *
 * Only a store that is there already is written, only one that keystore.passphrase opens (others are somebody else's),
 * and only when it holds another certificate or other CAs. Opening takes up to a second: off the loop.
 */
#include "agent/daemon.h"

#include <string.h>

#include "agent/identity.h"
#include "base/mem.h"
#include "pki/pkcs12.h"

#define STORE "cloud.jks"
#define STORE_MODE 0600
#define KEY_PASSPHRASE "keystore.passphrase"

struct sync {
	struct work work;
	struct daemon *daemon;
	const struct fs *fs;
	char *path, *passphrase; /* owned */
	struct identity identity;
	/* out */
	bool is_written;
	enum err result;
	struct why why;
};

static void sync_free(struct sync *s)
{
	identity_deinit(&s->identity);
	mem_free(s->path);
	key_free(s->passphrase);
	mem_free(s);
}

static enum err put_fingerprints(struct str_list *out, const char *pem)
{
	CLEAN(str_list_deinit) struct str_list certs = {0};
	enum err e = cert_split(&certs, pem, NULL);

	for (size_t i = 0; !e && i < certs.n; i++) {
		struct cert_info info = {0};

		e = cert_info_parse(&info, certs.items[i], NULL);
		if (!e && !str_list_has(out, info.fingerprint))
			e = str_list_add(out, info.fingerprint);
		cert_info_deinit(&info);
	}
	return e;
}

/* All of them, whichever is the chain's and whichever a CA: a store doesn't tell the two apart. */
static bool has_the_same(const struct pkcs12 *p, const struct identity *i)
{
	CLEAN(str_list_deinit) struct str_list left = {0};
	CLEAN(str_list_deinit) struct str_list right = {0};
	bool same = !put_fingerprints(&left, p->cert) && !put_fingerprints(&left, p->ca) &&
		    !put_fingerprints(&right, i->cert) && !put_fingerprints(&right, i->ca) && left.n == right.n;

	/* The key's own is the first of both. */
	same = same && left.n && str_equal(left.items[0], right.items[0]);
	for (size_t k = 0; same && k < left.n; k++)
		same = str_list_has(&right, left.items[k]);
	return same;
}

/* Does it hold the identity already? */
static enum err look(const struct sync *s, bool *is_same, struct why *why)
{
	CLEAN(buf_deinit) struct buf content = {0};
	struct pkcs12 p = {0};
	enum err e = file_read(s->fs, s->path, PKCS12_SIZE_MAX, &content, why);

	if (!e)
		e = pkcs12_open(&p, content.data, content.len, s->passphrase, PKCS12_ALIAS, why);
	*is_same = !e && has_the_same(&p, &s->identity);
	pkcs12_deinit(&p);
	return e;
}

static void sync_run(struct work *w)
{
	struct sync *s = container_of(w, struct sync, work);
	const struct pkcs12 p = {.key = s->identity.key, .cert = s->identity.cert, .ca = s->identity.ca};
	CLEAN(buf_deinit) struct buf made = {0};
	bool is_same;
	enum err e = look(s, &is_same, &s->why);

	if (!e && !is_same) {
		e = pkcs12_make(&made, &p, s->passphrase, &s->why);
		if (!e)
			e = file_replace(s->fs, s->path, STORE_MODE, made.data, made.len, &s->why);
		s->is_written = !e;
	}
	s->result = e;
}

static void sync_done(struct work *w)
{
	struct sync *s = container_of(w, struct sync, work);
	const struct log *log = &s->daemon->log;

	if (s->result)
		log_warn(log, STORE " is not kept in step: CloudStack's agent would use an old certificate",
			 KV_S("reason", why_text(&s->why, s->result)));
	else if (s->is_written)
		log_info(log, STORE " has the new certificate too", KV_S("file", s->path));
	sync_free(s);
}

static void sync_dropped(struct work *w)
{
	sync_free(container_of(w, struct sync, work));
}

void store_sync(struct daemon *d)
{
	const char *passphrase = d->file ? agent_file_get(d->file, KEY_PASSPHRASE) : NULL;
	CLEAN(mem_freep) char *path = path_join(d->dir, STORE);
	struct why why = WHY_NONE;
	struct sync *s;
	enum err e;

	/* Without one of our own nobody but CloudStack's scripts knows it. */
	if (!path || !d->fs->exists(d->fs, path) || str_is_blank(passphrase))
		return;
	s = mem_zalloc(sizeof(*s));
	if (!s)
		return;
	s->daemon = d;
	s->fs = d->fs;
	s->path = STEAL(path);
	s->passphrase = mem_strdup(passphrase);
	e = s->passphrase ? identity_load(&s->identity, d->fs, d->dir, &why) : ERR_NOMEM;
	if (e || !s->identity.key) {
		sync_free(s);
		return;
	}
	s->work = (struct work){.run = sync_run, .done = sync_done, .dropped = sync_dropped, .cost_us = 200000};
	world_work(d->world, WORK_FILE, &s->work);
}
