/*
 * Origin: is a certificate that our CA is said to have signed one that was issued here?
 *
 * All that were issued are in the store before anybody else has them. So one with a number of ours that isn't the one
 * in the store is a forgery: somebody has the CA's key. One whose number the store doesn't know is a stranger's: issued
 * elsewhere by the operator's own CA, or taken over from CloudStack, and as good as the others; unless a rotation is
 * under way because the CA's key was stolen (ca/policy.h, admit_origin()).
 *
 * A host's is judged in the transaction that makes it ours (startup.c); a server's, and what is connected when a
 * rotation takes a step, from here.
 */
#include "server/rotation.h"

#include <string.h>

#define TOGETHER_MAX 200

void origin_shown(const struct server *s, const struct cert_info *c, struct shown_cert *out)
{
	const char *newer = rotation_newer_ca(s);

	*out = (struct shown_cert){0};
	str_copy(out->serial, sizeof(out->serial), c->serial);
	str_copy(out->fingerprint, sizeof(out->fingerprint), c->fingerprint);
	str_copy(out->issuer, sizeof(out->issuer), c->authority_key_id);
	/* One that doesn't say who signed it is not of the new one, which always does. */
	out->is_old = newer && !str_equal(out->issuer, newer);
	out->is_suspect = out->is_old && rotation_is_compromised(s) && s->rotation.phase == ROTATION_ISSUE;
}

static bool is_same(const struct cert_row *row, const struct shown_cert *c)
{
	CLEAN(buf_deinit) struct buf der = {0};
	char hash[FINGERPRINT_TEXT];

	/* What can't be compared says nothing. */
	if (!c->fingerprint[0] || !row->pem || !pem_bytes(&der, "CERTIFICATE", row->pem))
		return true;
	sha256_hex(hash, der.data, der.len);
	return str_equal(hash, c->fingerprint);
}

enum err origin_of(struct store_tx *tx, const struct shown_cert *c, enum cert_origin *out)
{
	struct cert_row row = {0};
	enum err e = store_cert_get(tx, c->serial, &row);

	*out = CERT_STRANGER;
	if (e)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	/* Two CAs may use the same number. */
	if (!str_is_blank(row.issuer) && c->issuer[0] && !str_equal(row.issuer, c->issuer))
		*out = CERT_STRANGER;
	else
		*out = is_same(&row, c) ? CERT_ISSUED_HERE : CERT_FORGED;
	cert_row_deinit(&row);
	return ERR_OK;
}

void origin_say(struct server *s, enum admit a, const char *address, const char *who, const char *sentence)
{
	if (a == ADMIT_FORGED)
		event_alarm(s, "ALERT.CA.FORGED", address,
			    "%s at %s shows a forged certificate: who made it has the key of the CA; %s", who, address,
			    sentence);
	else
		event_refused(s, "HOST.REFUSED", address, "%s from %s: %s", who, address, sentence);
}

/* ---- those that are connected ---- */

struct origin_look {
	struct entry entry;
	size_t n;
	struct shown_cert certs[TOGETHER_MAX];
	enum cert_origin origins[TOGETHER_MAX];
};

static enum err look_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct origin_look *l = container_of(entry, struct origin_look, entry);
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < l->n; i++)
		e = origin_of(tx, &l->certs[i], &l->origins[i]);
	return e;
}

static bool is_bad(const struct server *s, const struct cert_info *cert)
{
	return s->bad_cert && str_equal(cert->fingerprint, s->bad_cert->fingerprint);
}

static void cut(struct server *s, const struct shown_cert *c, enum admit a, const char *sentence)
{
	s->bad_cert = c;
	list_for (x, &s->sessions, struct session, in_sessions) {
		const struct tls_peer *peer = x->link && x->state != SESSION_TLS ? link_peer(x->link) : NULL;

		if (!peer || !peer->has_cert || !is_bad(s, &peer->cert))
			continue;
		x->refused_as = a;
		origin_say(s, a, link_peer_ip(x->link),
			   x->guid                    ? x->guid
			   : x->state == SESSION_PEER ? "a management server"
						      : "somebody",
			   sentence);
		session_end(x, ERR_UNTRUSTED, sentence, EVENT_SHUTDOWN_REQUESTED);
	}
	peer_cut(s, is_bad, sentence);
	s->bad_cert = NULL;
}

static void look_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct origin_look *l = container_of(entry, struct origin_look, entry);

	for (size_t i = 0; !result && !s->freed && !s->stopping && i < l->n; i++) {
		struct why why = WHY_NONE;
		enum admit a = admit_origin(l->origins[i], l->certs[i].serial, l->certs[i].is_suspect, &why);

		if (a != ADMIT_YES)
			cut(s, &l->certs[i], a, why.text);
	}
	if (result && result != ERR_STOPPED && !s->freed) {
		log_warn(s->log, "where certificates come from can't be looked up: asked again",
			 KV_S("error", sentence));
		s->origin_stale = true;
	}
	mem_free(l);
}

static void flush(struct server *s, struct origin_look **l)
{
	if (*l)
		ledger_add(s, &(*l)->entry);
	*l = NULL;
}

static void look_at(struct server *s, struct origin_look **l, const struct cert_info *c)
{
	if (!*l && !(*l = mem_zalloc(sizeof(**l)))) {
		s->origin_stale = true;
		return;
	}
	(*l)->entry = (struct entry){.run = look_run, .done = look_done, .read_only = true};
	origin_shown(s, c, &(*l)->certs[(*l)->n++]);
	if ((*l)->n == TOGETHER_MAX)
		flush(s, l);
}

void origin_look_at_server(struct server *s, const struct cert_info *cert)
{
	struct origin_look *l = NULL;

	look_at(s, &l, cert);
	flush(s, &l);
}

void origin_look_at_all(struct server *s)
{
	struct origin_look *l = NULL;

	s->origin_stale = false;
	list_for (x, &s->sessions, struct session, in_sessions) {
		const struct tls_peer *peer = x->link && x->state != SESSION_TLS ? link_peer(x->link) : NULL;

		if (peer && peer->has_cert && peer->chain_ok)
			look_at(s, &l, &peer->cert);
	}
	list_for (m, &s->servers, struct member_server, in_servers) {
		const struct tls_peer *peer = m->peer ? peer_shows(m->peer) : NULL;

		if (peer)
			look_at(s, &l, &peer->cert);
	}
	flush(s, &l);
}

void origin_tick(struct server *s)
{
	if (s->running && !s->stopping && s->origin_stale && !ledger_is_failing(s, NULL))
		origin_look_at_all(s);
}
