/*
 * Revocations: the serials that nobody is let in with, on every server.
 *
 * The store numbers them; each server keeps all serials in memory and reads the new ones when the change table says so
 * (on a hint from the server that wrote them, within 100 ms without one). What is live with one of them is cut then.
 * Whoever connects afterwards is judged by this list after every handshake, full or resumed, and a host's startup once
 * more by the store, in the transaction that makes it ours.
 *
 * The list is not part of the TLS credentials: docs/certificates.md, "Revocation", says why.
 */
#include "server/internal.h"

#define TOGETHER_MAX 1000 /* more new ones than this become a new map, made on the store lane */

struct revoked_read {
	struct entry entry;
	int64_t after, known; /* what we have */
	uint64_t map_key;
	/* out */
	struct str_list serials; /* the new ones, unless: */
	bool is_whole;
	struct map all;
	int64_t last, total;
};

static enum err read_all(struct store_tx *tx, struct revoked_read *r)
{
	enum err e = store_revoked_since(tx, 0, &r->serials, &r->last, &r->total);

	map_deinit(&r->all);
	map_init_text(&r->all, r->map_key);
	for (size_t i = 0; !e && i < r->serials.n; i++)
		e = map_put(&r->all, r->serials.items[i], &r->all);
	str_list_deinit(&r->serials);
	r->is_whole = !e;
	return e;
}

static enum err revoked_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct revoked_read *r = container_of(entry, struct revoked_read, entry);
	enum err e;

	r->is_whole = false;
	if (r->after == 0)
		return read_all(tx, r);
	e = store_revoked_since(tx, r->after, &r->serials, &r->last, &r->total);
	if (e)
		return e;
	/* Another count than ours: an older copy of the store was put back, and numbers mean something else in it. */
	if (r->total != r->known + (int64_t)r->serials.n || r->serials.n > TOGETHER_MAX)
		return read_all(tx, r);
	return ERR_OK;
}

void links_cut(struct server *s, bool (*is_bad)(const struct server *s, const struct cert_info *cert), enum err why,
	       const char *sentence)
{
	list_for (x, &s->sessions, struct session, in_sessions) {
		const struct tls_peer *peer = x->link && x->state != SESSION_TLS ? link_peer(x->link) : NULL;

		if (!peer || !peer->has_cert || !is_bad(s, &peer->cert))
			continue;
		s->n_cut[why == ERR_REVOKED ? CUT_REVOKED : CUT_CA_GONE]++;
		session_end(x, why, sentence, EVENT_SHUTDOWN_REQUESTED);
	}
	peer_cut(s, is_bad, sentence);
}

static bool is_revoked(const struct server *s, const struct cert_info *cert)
{
	return authority_is_revoked(s, cert->serial);
}

/* Not replaced while we run: whoever revoked it wants us cut off, and may want to look at us first. */
static void look_at_own(struct server *s)
{
	const char *pem = s->own[OWN_CERT_EC].cert;
	struct cert_info c;

	if (!pem || s->own_revoked_said || cert_info_parse(&c, pem, NULL))
		return;
	if (authority_is_revoked(s, c.serial)) {
		s->own_revoked_said = true;
		log_error(
			s->log,
			"this server's own certificate is revoked: the other servers have no links with it any more; at "
			"its next start it makes a new one, if it can issue",
			KV_S("serial", c.serial));
	}
	cert_info_deinit(&c);
}

static enum err take(struct server *s, struct revoked_read *r)
{
	enum err e = ERR_OK;

	if (r->is_whole) {
		map_deinit(&s->revoked);
		s->revoked = r->all;
		map_init_text(&r->all, 0);
	}
	for (size_t i = 0; !e && i < r->serials.n; i++)
		e = map_put(&s->revoked, r->serials.items[i], s);
	if (!e) {
		s->revoked_last = r->last;
		s->revoked_total = r->total;
	}
	return e;
}

static void says_stale(struct server *s, const char *sentence)
{
	s->revoked_stale = true;
	if (pace_passes(s, &s->revoked_said))
		log_error(s->log,
			  "revocations can't be read: who was revoked since is not known here, and the last list holds",
			  KV_S("error", sentence), KV_I("revoked", s->revoked_total));
}

static void revoked_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct revoked_read *r = container_of(entry, struct revoked_read, entry);
	bool news = r->is_whole || r->serials.n > 0;

	s->revoked_reading = false;
	if (!result) {
		result = take(s, r);
		sentence = err_text(result);
	}
	if (result && !s->freed)
		says_stale(s, sentence);
	else if (!result && s->revoked_said.us && !s->revoked_again) {
		log_info(s->log, "revocations are read again", KV_I("revoked", s->revoked_total));
		s->revoked_said = (struct mono){0};
	}
	if (!result && news && !s->freed) {
		links_cut(s, is_revoked, ERR_REVOKED, "certificate revoked");
		look_at_own(s);
	}
	str_list_deinit(&r->serials);
	map_deinit(&r->all);
	mem_free(r);
	if (s->revoked_again && !s->freed) {
		s->revoked_again = false;
		revocation_reload(s);
	}
}

void revocation_reload(struct server *s)
{
	struct revoked_read *r;

	/* One at a time, or what was read first could be taken over last. */
	if (s->revoked_reading) {
		s->revoked_again = true;
		return;
	}
	r = mem_zalloc(sizeof(*r));
	s->revoked_stale = !r;
	if (!r)
		return;
	r->entry.run = revoked_run;
	r->entry.done = revoked_done;
	r->entry.read_only = true;
	r->after = s->revoked_last;
	r->known = s->revoked_total;
	r->map_key = rng_u64(&s->world->rng);
	map_init_text(&r->all, r->map_key);
	s->revoked_reading = true;
	ledger_add(s, &r->entry);
}

bool authority_is_revoked(const struct server *s, const char *serial)
{
	return map_get(&s->revoked, serial) != NULL;
}
