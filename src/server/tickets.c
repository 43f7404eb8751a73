/*
 * Ticket keys: what session tickets are sealed with, the same on all servers of the cluster (decisions 6 and 10).
 *
 * The store has one secret with the newest key and the one before it, sealed under the cluster key. Whoever sees that
 * the newest has reached its age writes the next; when several see it at once, the first one's stays, because each
 * writes only over what it had read. Everybody, the writer too, takes the keys over from what the change table names.
 * A server without the cluster key can't read them: it gives no tickets, takes none, and is well.
 */
#include "server/internal.h"
#include "server/key_change.h"

#include <string.h>

#define SECRET_NAME "tls.sealed_ticket_keys"
#define CONTEXT SEALED_TICKET_KEYS
#define FORMAT 1
#define TRY_AGAIN_MS 10000
#define SETTING "agent.ssl.ticket.key.lifetime"

/* ---- the secret's content: format, when the newest was made, how many, the keys ---- */

static enum err keys_seal(char **out, const struct tls_ticket_keys *keys, int64_t made_s, const uint8_t *cluster_key,
			  const uint8_t nonce[12])
{
	CLEAN(buf_deinit) struct buf sealed = {0};
	struct buf plain = {0};
	enum err e = buf_reserve(&plain, 16 + sizeof(keys->keys)); /* once, so that no copy is left behind */

	if (!e)
		e = buf_put_u8(&plain, FORMAT);
	if (!e)
		e = buf_put_u64(&plain, (uint64_t)made_s);
	if (!e)
		e = buf_put_u8(&plain, (uint8_t)keys->n);
	for (unsigned i = 0; i < keys->n && !e; i++)
		e = buf_put(&plain, keys->keys[i], sizeof(keys->keys[i]));
	if (!e)
		e = seal_bytes(&sealed, cluster_key, nonce, plain.data, plain.len, CONTEXT);
	buf_wipe(&plain);
	if (e)
		return e;
	*out = base64url_encode(sealed.data, sealed.len);
	return *out ? ERR_OK : ERR_NOMEM;
}

static enum err keys_get(struct tls_ticket_keys *keys, int64_t *made_s, struct bytes in)
{
	struct bytes key;
	uint64_t made;
	uint8_t format, n;

	if (!bytes_get_u8(&in, &format))
		return ERR_DAMAGED;
	if (format > FORMAT)
		return ERR_NEWER;
	if (!bytes_get_u64(&in, &made) || !bytes_get_u8(&in, &n) || n > TLS_TICKET_KEYS)
		return ERR_DAMAGED;
	for (keys->n = 0; keys->n < n; keys->n++) {
		if (!bytes_get(&in, TLS_TICKET_KEY_SIZE, &key))
			return ERR_DAMAGED;
		memcpy(keys->keys[keys->n], key.data, key.len);
	}
	*made_s = (int64_t)made;
	return in.len == 0 ? ERR_OK : ERR_DAMAGED;
}

static enum err keys_open(struct tls_ticket_keys *keys, int64_t *made_s, const char *text, const uint8_t *cluster_key)
{
	CLEAN(buf_deinit) struct buf sealed = {0};
	struct buf plain = {0};
	enum err e = buf_reserve(&sealed, strlen(text) + 1);

	if (e)
		return e;
	if (!base64url_decode(text, &sealed))
		return ERR_DAMAGED;
	e = open_bytes(&plain, cluster_key, sealed.data, sealed.len, CONTEXT);
	if (!e)
		e = keys_get(keys, made_s, (struct bytes){.data = plain.data, .len = plain.len});
	buf_wipe(&plain);
	if (e)
		mem_wipe(keys, sizeof(*keys));
	return e;
}

/* ---- taking them over ---- */

static void use(struct server *s, const char *what)
{
	struct why why = WHY_NONE;
	enum err e = authority_renew_creds(s, &why);

	if (e)
		log_error(s->log, "the ticket keys can't be used", KV_S("error", why_text(&why, e)));
	else
		log_info(s->log, "session tickets", KV_S("keys", what));
}

static void forget(struct server *s, const char *what)
{
	bool had = s->tickets.keys.n > 0;

	mem_wipe(&s->tickets.keys, sizeof(s->tickets.keys));
	if (had)
		use(s, what);
}

static int64_t lifetime_s(const struct server *s)
{
	return config_number(s, SETTING, 0);
}

static void take(struct server *s, char *take_text)
{
	enum err e;

	if (s->tickets.text && str_equal(s->tickets.text, take_text)) {
		mem_free(take_text);
		return;
	}
	mem_free(s->tickets.text);
	s->tickets.text = take_text;
	mem_wipe(&s->tickets.keys, sizeof(s->tickets.keys));
	e = keys_open(&s->tickets.keys, &s->tickets.made_s, s->tickets.text, s->p.cluster_key);
	/* Servers of a newer program can read them: they are not ours to replace. */
	s->tickets.newer = e == ERR_NEWER;
	if (e) {
		s->tickets.made_s = INT64_MIN; /* due at once */
		log_warn(s->log, "the ticket keys in the store can't be read", KV_S("error", err_text(e)));
	}
	if (lifetime_s(s) == 0) {
		/* The credentials in use may hold the keys from before: without new ones they go on giving tickets. */
		mem_wipe(&s->tickets.keys, sizeof(s->tickets.keys));
		use(s, "none: they are switched off");
		return;
	}
	s->tickets.off = false;
	use(s, s->tickets.keys.n == 0 ? "none" : s->tickets.keys.n == 1 ? "a new one" : "a new one, and the last");
}

struct reading {
	struct entry entry;
	char *text;
};

static enum err reading_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct reading *r = container_of(entry, struct reading, entry);

	r->text = mem_free(r->text);
	return store_secret_get(tx, SECRET_NAME, &r->text);
}

static void reading_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct reading *r = container_of(entry, struct reading, entry);

	s->tickets.reading = false;
	if (result && result != ERR_NOT_FOUND)
		s->tickets.stale = true; /* it may be already: they have changed while this was on its way */
	else
		s->tickets.known = true;
	/* Without the key they can't be opened (any more, if it was changed meanwhile): those that we have go on. */
	if (!result && !s->freed && !s->stopping && s->p.cluster_key)
		take(s, STEAL(r->text));
	mem_free(r->text);
	mem_free(r);
	/* The first key of a cluster is made before its first agents come, if that can be; what failed waits a second.
	 */
	if (!s->tickets.stale)
		tickets_tick(s);
}

void tickets_reload(struct server *s)
{
	struct reading *r;

	if (!s->p.cluster_key)
		return;
	s->tickets.stale = true;
	if (s->tickets.reading || !(r = mem_zalloc(sizeof(*r))))
		return; /* a tick asks again */
	s->tickets.stale = false;
	s->tickets.reading = true;
	r->entry.run = reading_run;
	r->entry.done = reading_done;
	r->entry.read_only = true;
	ledger_add(s, &r->entry);
}

/* ---- replacing them ---- */

struct replacing {
	struct entry entry;
	char *before; /* what we had read; NULL: there was none */
	char *after;
	char key_id[CLUSTER_KEY_ID_TEXT]; /* of the cluster key that it is sealed under */
	bool written;
};

static enum err replacing_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct replacing *r = container_of(entry, struct replacing, entry);
	CLEAN(mem_freep) char *there = NULL;
	enum err e = store_secret_get(tx, SECRET_NAME, &there);

	r->written = false;
	if (e && e != ERR_NOT_FOUND)
		return e;
	if ((e = key_record_check(tx, r->key_id, why)))
		return e;
	/* Another server was first: its keys are as good as ours. */
	if (!!there != !!r->before || (there && !str_equal(there, r->before)))
		return ERR_OK;
	e = store_secret_set(tx, SECRET_NAME, r->after);
	r->written = !e;
	return e;
}

static void replacing_free(struct replacing *r)
{
	mem_free(r->before);
	mem_free(r->after);
	mem_free(r);
}

static void replacing_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct replacing *r = container_of(entry, struct replacing, entry);

	s->tickets.replacing = false;
	if (result && result != ERR_STOPPED)
		log_warn(s->log, "a new ticket key could not be stored, trying again", KV_S("error", sentence));
	else if (!result && !s->freed && !s->stopping) {
		log_debug(s->log,
			  r->written ? "a new ticket key was made" : "another server has made a new ticket key");
		tickets_reload(s);
		follow_now(s);
	}
	replacing_free(r);
}

static enum err make_next(struct server *s, struct replacing *r, int64_t now_s)
{
	struct tls_ticket_keys next = {.n = 1};
	uint8_t nonce[12];
	enum err e;

	world_entropy(s->world, next.keys[0], sizeof(next.keys[0]));
	world_entropy(s->world, nonce, sizeof(nonce));
	/* The last one opens for one more period; not if the cluster was away for so long that it should be dead. */
	if (s->tickets.keys.n > 0 && s->tickets.made_s != INT64_MIN && now_s - s->tickets.made_s < 2 * lifetime_s(s)) {
		memcpy(next.keys[1], s->tickets.keys.keys[0], sizeof(next.keys[1]));
		next.n = 2;
	}
	cluster_key_id(r->key_id, s->p.cluster_key);
	e = keys_seal(&r->after, &next, now_s, s->p.cluster_key, nonce);
	mem_wipe(&next, sizeof(next));
	if (!e && s->tickets.text && !(r->before = mem_strdup(s->tickets.text)))
		e = ERR_NOMEM;
	return e;
}

static void replace(struct server *s, int64_t now_s)
{
	struct replacing *r = mem_zalloc(sizeof(*r));

	s->tickets.tried = world_now(s->world);
	if (!r || make_next(s, r, now_s)) {
		if (r)
			replacing_free(r);
		return;
	}
	r->entry.run = replacing_run;
	r->entry.done = replacing_done;
	s->tickets.replacing = true;
	ledger_add(s, &r->entry);
}

/* A key from the future, by more than clocks differ, would never be replaced. */
static bool is_due(const struct server *s, int64_t now_s)
{
	int64_t life = lifetime_s(s);

	if (s->tickets.newer)
		return false;
	return s->tickets.made_s == INT64_MIN || !s->tickets.text || now_s - s->tickets.made_s >= life ||
	       s->tickets.made_s - now_s > life;
}

void tickets_tick(struct server *s)
{
	int64_t now_s = world_wall_ms(s->world) / 1000;

	if (!s->p.cluster_key || !s->running || s->stopping)
		return;
	if (s->tickets.stale)
		tickets_reload(s);
	if (s->tickets.reading || s->tickets.replacing || !s->tickets.known)
		return;
	if (lifetime_s(s) == 0) {
		forget(s, "none: they are switched off");
		s->tickets.off = true;
		return;
	}
	if (s->tickets.off) {
		/* Switched on again: not with keys from before. */
		s->tickets.off = false;
		s->tickets.made_s = INT64_MIN;
	}
	if (is_due(s, now_s) &&
	    (!s->tickets.tried.us || mono_ms_between(s->tickets.tried, world_now(s->world)) >= TRY_AGAIN_MS))
		replace(s, now_s);
}

void tickets_forget_text(struct server *s)
{
	s->tickets.text = mem_free(s->tickets.text);
}

void tickets_deinit(struct server *s)
{
	s->tickets.text = mem_free(s->tickets.text);
	mem_wipe(&s->tickets.keys, sizeof(s->tickets.keys));
}
