#include "server/rotation.h"

#include <string.h>

#include <jansson.h>

#include "server/provision.h"

#define TRY_AGAIN_MS 10000

/* ---- what the store has ---- */

void ca_records_deinit(struct ca_records *r)
{
	ca_root_record_deinit(&r->issuing);
	r->other_cert = mem_free(r->other_cert);
	r->next_cert = mem_free(r->next_cert);
	r->other_key = mem_free(r->other_key);
	r->rotation = mem_free(r->rotation);
}

static enum err read_if_there(struct store_tx *tx, const char *name, char **out)
{
	enum err e = store_secret_get(tx, name, out);

	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

enum err ca_records_read(struct store_tx *tx, struct ca_records *out)
{
	enum err e = store_secret_get(tx, CA_SECRET_CERT, &out->issuing.certificate);

	if (!e && (e = store_secret_get(tx, CA_SECRET_KEY, &out->issuing.sealed_key)) == ERR_NOT_FOUND)
		e = ERR_DAMAGED; /* a new one must not be made in its place */
	if (!e)
		e = read_if_there(tx, CA_SECRET_OTHER_CERT, &out->other_cert);
	if (!e)
		e = read_if_there(tx, CA_SECRET_NEXT_CERT, &out->next_cert);
	if (!e)
		e = read_if_there(tx, CA_SECRET_OTHER_KEY, &out->other_key);
	if (!e)
		e = read_if_there(tx, CA_SECRET_ROTATION, &out->rotation);
	return e;
}

void rotation_row_read(struct rotation_row *out, const char *text)
{
	json_t *o = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
	const char *by = json_string_value(json_object_get(o, "by"));

	*out = (struct rotation_row){.since_ms = json_integer_value(json_object_get(o, "since"))};
	if (!rotation_phase_from_text(json_string_value(json_object_get(o, "phase")), &out->phase))
		out->phase = ROTATION_NONE;
	str_copy(out->by, sizeof(out->by), by ? by : "");
	out->prepared = json_is_true(json_object_get(o, "prepared"));
	out->compromised = json_is_true(json_object_get(o, "compromised"));
	json_decref(o);
}

char *rotation_row_text(const struct rotation_row *r)
{
	json_t *o = json_pack("{s:s,s:I,s:s}", "phase", rotation_phase_name(r->phase), "since", (json_int_t)r->since_ms,
			      "by", r->by);
	bool whole = o && (!r->prepared || json_object_set_new(o, "prepared", json_true()) == 0) &&
		     (!r->compromised || json_object_set_new(o, "compromised", json_true()) == 0);
	char *text = whole ? json_dumps(o, JSON_COMPACT) : NULL;
	char *copy = text ? mem_strdup(text) : NULL;

	free(text);
	json_decref(o);
	return copy;
}

/* ---- taking it over ---- */

/* What isn't there yet: two CAs may have a root in common. */
static enum err add_missing(struct buf *to, const char *pem, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list certs = {0};
	enum err e = cert_split(&certs, pem, why);

	for (size_t i = 0; !e && i < certs.n; i++) {
		const char *there = buf_str(to);

		if (!there)
			e = ERR_NOMEM;
		else if (!strstr(there, certs.items[i]))
			e = buf_put_str(to, certs.items[i]);
	}
	return e;
}

static enum err trusted_of_both(char **out, const char *first, const char *second, struct why *why)
{
	CLEAN(buf_deinit) struct buf all = {0};
	enum err e = add_missing(&all, first, why);

	if (!e)
		e = add_missing(&all, second, why);
	if (e)
		return e;
	*out = buf_take_str(&all);
	return *out ? ERR_OK : ERR_NOMEM;
}

/*
 * All trusted CA certificates, in an order that doesn't depend on which of them signs: it is the same text, and the
 * same hash, on both sides of a step that only changes that.
 */
static enum err trusted_text(char **out, const char *issuing, const char *other, struct why *why)
{
	struct cert_info a = {0}, b = {0};
	enum err e = ERR_OK;
	bool swap = false;

	if (other) {
		e = cert_info_parse(&a, issuing, why);
		if (!e)
			e = cert_info_parse(&b, other, why);
		swap = !e && strcmp(a.fingerprint, b.fingerprint) > 0;
		cert_info_deinit(&a);
		cert_info_deinit(&b);
	}
	if (e)
		return e;
	if (other)
		return trusted_of_both(out, swap ? other : issuing, swap ? issuing : other, why);
	*out = mem_strdup(issuing);
	return *out ? ERR_OK : ERR_NOMEM;
}

static enum err key_id_of(char out[FINGERPRINT_TEXT], const char *pem, struct why *why)
{
	struct cert_info c;
	enum err e;

	out[0] = '\0';
	if (!pem)
		return ERR_OK;
	e = cert_info_parse(&c, pem, why);
	if (e)
		return e;
	str_copy(out, FINGERPRINT_TEXT, c.subject_key_id);
	cert_info_deinit(&c);
	return ERR_OK;
}

const char *rotation_newer_ca(const struct server *s)
{
	return s->rotation.phase == ROTATION_TRUST   ? s->rotation.other_id
	       : s->rotation.phase == ROTATION_ISSUE ? s->rotation.issuing_id
						     : NULL;
}

bool rotation_is_compromised(const struct server *s)
{
	return s->rotation.compromised && rotation_trusts_both(s->rotation.phase);
}

struct rotation_want rotation_want_of(const struct server *s)
{
	return (struct rotation_want){
		.phase = s->rotation.phase,
		.issuing = s->rotation.issuing_id,
		.other = s->rotation.other_id[0] ? s->rotation.other_id : NULL,
		.trusted = s->rotation.trusted_hash,
	};
}

/*
 * An agent that was let in without a certificate trusts nobody, and one that can't come back is lost already: its
 * certificate expired long ago, or all that it has is revoked (the store forgets what it trusts then). Who has joined,
 * or joined again, and was not here since, has a certificate all the same; nothing else is known of it.
 */
bool rotation_concerns(const struct server *s, const struct host_row *row)
{
	if (!row->cert_serial || authority_is_revoked(s, row->cert_serial))
		return row->ca_known != NULL;
	return row->cert_not_after_s + ADMIT_EXPIRED_LIMIT_S > world_wall_ms(s->world) / 1000;
}

bool rotation_is_behind(const struct server *s, const struct host *h)
{
	const struct rotation_party p = {.cert_issuer = h->row.cert_issuer, .ca_known = h->row.ca_known};
	struct rotation_want w;

	if (s->rotation.phase == ROTATION_NONE || !rotation_concerns(s, &h->row))
		return false;
	w = rotation_want_of(s);
	return rotation_lag_of(&w, ROTATION_NEXT, &p) != ROTATION_READY;
}

/* Who has another certificate or trusts other CAs is given a new one; only in clusters whose CA was ever changed. */
static void tell_renewal(struct server *s)
{
	bool wanted = s->rotation.text && s->ca->ops->can_issue(s->ca);

	renewal_want(s, wanted && s->rotation.issuing_id[0] ? s->rotation.issuing_id : NULL,
		     wanted ? s->rotation.trusted_hash : NULL);
}

/* The other one, for its revocation list, while it is trusted. Without its key nothing else is missed. */
static struct ca_provider *open_other(struct server *s, struct ca_records *r, const char *trusted_other)
{
	struct ca_root_record other = {.certificate = r->other_cert, .sealed_key = r->other_key};
	struct ca_provider *ca = NULL;
	struct why why = WHY_NONE;
	enum err e = trusted_other ? ca_root_open(&ca, &other, r->other_key ? s->p.cluster_key : NULL, &why) : ERR_OK;

	if (e)
		log_warn(s->log,
			 "the key of the CA that doesn't sign can't be used: nobody makes its revocation list here",
			 KV_S("error", why_text(&why, e)));
	return ca;
}

enum err rotation_take(struct server *s, struct ca_records *r, struct why *why)
{
	CLEAN(mem_freep) char *trusted = NULL;
	char issuing_id[FINGERPRINT_TEXT] = "", other_id[FINGERPRINT_TEXT] = "";
	struct ca_provider *ca = NULL;
	struct rotation_row row;
	const char *other;
	enum err e;

	rotation_row_read(&row, r->rotation);
	other = rotation_trusts_both(row.phase) ? r->other_cert : NULL;
	e = trusted_text(&trusted, r->issuing.certificate, other, why);
	if (!e)
		e = key_id_of(issuing_id, r->issuing.certificate, why);
	if (!e)
		e = key_id_of(other_id, r->other_cert, why);
	if (!e)
		e = ca_root_open(&ca, &r->issuing, s->p.cluster_key, why);
	if (e)
		return e;
	ca_provider_free(s->ca);
	s->ca = ca;
	ca_provider_free(s->rotation.other_ca);
	s->rotation.other_ca = open_other(s, r, other);
	mem_free(s->ca_chain);
	s->ca_chain = STEAL(trusted);
	mem_free(s->rotation.issuing_cert);
	s->rotation.issuing_cert = STEAL(r->issuing.certificate);
	mem_free(s->rotation.text);
	s->rotation.text = STEAL(r->rotation);
	mem_free(s->rotation.other_cert);
	s->rotation.other_cert = STEAL(r->other_cert);
	mem_free(s->rotation.next_cert);
	s->rotation.next_cert = STEAL(r->next_cert);
	s->rotation.prepared = row.prepared;
	s->rotation.phase = row.phase;
	s->rotation.since_ms = row.since_ms;
	s->rotation.compromised = row.compromised;
	str_copy(s->rotation.by, sizeof(s->rotation.by), row.by);
	str_copy(s->rotation.issuing_id, sizeof(s->rotation.issuing_id), issuing_id);
	str_copy(s->rotation.other_id, sizeof(s->rotation.other_id), other_id);
	sha256_hex(s->rotation.trusted_hash, s->ca_chain, strlen(s->ca_chain));
	s->rotation.own_seen = UINT64_MAX; /* judged anew by what is wanted now */
	return ERR_OK;
}

/* ---- what has changed ---- */

struct ca_reading {
	struct entry entry;
	struct ca_records records;
};

static enum err reading_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct ca_reading *r = container_of(entry, struct ca_reading, entry);

	ca_records_deinit(&r->records);
	return ca_records_read(tx, &r->records);
}

static bool is_news(const struct server *s, const struct ca_records *r)
{
	return s->rotation.unused || !str_equal(s->rotation.issuing_cert, r->issuing.certificate) ||
	       !str_equal(s->rotation.text, r->rotation) || !str_equal(s->rotation.other_cert, r->other_cert);
}

/* Nothing is done with it yet, but that it can be shown. */
static void take_next(struct server *s, struct ca_records *r)
{
	struct cert_info c = {0};

	if (str_equal(s->rotation.next_cert, r->next_cert))
		return;
	mem_free(s->rotation.next_cert);
	s->rotation.next_cert = STEAL(r->next_cert);
	if (s->rotation.next_cert && cert_info_parse(&c, s->rotation.next_cert, NULL) == ERR_OK)
		log_info(s->log, "a CA is prepared for the next rotation", KV_S("name", c.common_name),
			 KV_S("fingerprint", c.fingerprint));
	else
		log_info(s->log, "no CA is prepared for the next rotation any more");
	cert_info_deinit(&c);
}

static bool is_of_gone_ca(const struct server *s, const struct cert_info *cert)
{
	return s->rotation.issuing_id[0] && cert->authority_key_id[0] &&
	       !str_equal(cert->authority_key_id, s->rotation.issuing_id);
}

static void take_news(struct server *s, struct ca_records *r)
{
	struct why why = WHY_NONE;
	bool was_dropped = s->rotation.phase == ROTATION_DROP;
	enum err e = rotation_take(s, r, &why);

	if (!e)
		e = authority_renew_creds(s, &why);
	s->rotation.unused = e != ERR_OK;
	if (e) {
		/* Until then nobody is told that we trust it: others would step on, and we would refuse their agents.
		 */
		s->rotation.stale = true;
		s->rotation.told_at = world_now(s->world);
		log_error(s->log, "the changed CA can't be taken over, the last one holds",
			  KV_S("error", why_text(&why, e)), KV_I("again_in_ms", TRY_AGAIN_MS));
		return;
	}
	log_info(s->log, "the CA has changed", KV_S("phase", rotation_phase_name(s->rotation.phase)),
		 KV_S("signs", s->ca->ops->fingerprint(s->ca)));
	/* The certificate that we show may be of the other one. */
	own_cert_look(s);
	tell_renewal(s);
	rotation_tick(s);
	/* Who stole the old key may be connected, with what he has made himself. */
	if (rotation_is_compromised(s))
		origin_look_at_all(s);
	/* Whoever still lives by the old CA may have made himself a certificate of it: that ends with it. */
	if (was_dropped && s->rotation.phase == ROTATION_NONE)
		links_cut(s, is_of_gone_ca, ERR_UNTRUSTED, "the CA of its certificate is gone");
}

static void reading_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct ca_reading *r = container_of(entry, struct ca_reading, entry);

	s->rotation.reading = false;
	if (result) {
		s->rotation.stale = true; /* a tick asks again */
		if (!s->freed)
			log_error(s->log, "the CA can't be read from the store, the last one holds",
				  KV_S("error", sentence));
	} else if (!s->freed && !s->stopping && s->ca) {
		if (is_news(s, &r->records))
			take_news(s, &r->records);
		else
			take_next(s, &r->records);
	}
	ca_records_deinit(&r->records);
	mem_free(r);
}

void rotation_reload(struct server *s)
{
	struct ca_reading *r;

	/* An external CA isn't in the store; while we start, it is read anyway. */
	if (!s->ca || s->ca->ops->is_slow || s->starting)
		return;
	s->rotation.stale = true;
	if (s->rotation.reading || !(r = mem_zalloc(sizeof(*r))))
		return;
	s->rotation.stale = false;
	s->rotation.reading = true;
	r->entry = (struct entry){.run = reading_run, .done = reading_done, .read_only = true};
	ledger_add(s, &r->entry);
}

/* ---- saying how far we are ---- */

struct ca_telling {
	struct entry entry;
	int64_t msid;
	char trusted[FINGERPRINT_TEXT], issuer[FINGERPRINT_TEXT];
};

static enum err telling_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct ca_telling *t = container_of(entry, struct ca_telling, entry);

	return store_server_ca(tx, t->msid, t->trusted, t->issuer[0] ? t->issuer : NULL);
}

static void telling_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct ca_telling *t = container_of(entry, struct ca_telling, entry);

	s->rotation.telling = false;
	if (result) {
		s->rotation.told_at = world_now(s->world);
	} else {
		str_copy(s->rotation.told_trusted, sizeof(s->rotation.told_trusted), t->trusted);
		str_copy(s->rotation.told_issuer, sizeof(s->rotation.told_issuer), t->issuer);
		s->rotation.told_at = (struct mono){0};
		if (!s->freed && !s->stopping)
			api_committed(s);
	}
	mem_free(t);
}

/* Of a certificate in the credentials, not of one that is still being made. */
static void issuer_of(const struct own_pair *own, char out[FINGERPRINT_TEXT])
{
	struct cert_info c;

	out[0] = '\0';
	if (!own->cert || cert_info_parse(&c, own->cert, NULL))
		return;
	str_copy(out, FINGERPRINT_TEXT, c.authority_key_id);
	cert_info_deinit(&c);
}

/* If one of the two is not of the CA that signs, it is the one that counts: some peers are shown no other. */
static void look_at_own(struct server *s)
{
	char rsa[FINGERPRINT_TEXT];

	issuer_of(&s->own[OWN_CERT_EC], s->rotation.own_issuer);
	issuer_of(&s->own[OWN_CERT_RSA], rsa);
	str_copy(s->rotation.shown_issuer, sizeof(s->rotation.shown_issuer),
		 rsa[0] && str_equal(s->rotation.own_issuer, s->rotation.issuing_id) ? rsa : s->rotation.own_issuer);
}

void rotation_tick(struct server *s)
{
	struct mono now = world_now(s->world);
	struct ca_telling *t;

	if (!s->running || s->stopping || !s->ca || s->ca->ops->is_slow)
		return;
	if (s->rotation.told_at.us && mono_ms_between(s->rotation.told_at, now) < TRY_AGAIN_MS)
		return;
	s->rotation.told_at = (struct mono){0};
	if (s->rotation.stale)
		rotation_reload(s);
	if (s->rotation.telling || s->rotation.unused)
		return;
	if (s->rotation.own_seen != s->own_changes) {
		look_at_own(s);
		s->rotation.own_seen = s->own_changes;
		tell_renewal(s); /* at the start, too */
	}
	if (str_equal(s->rotation.told_trusted, s->rotation.trusted_hash) &&
	    str_equal(s->rotation.told_issuer, s->rotation.shown_issuer))
		return;
	t = mem_zalloc(sizeof(*t));
	if (!t)
		return; /* the next time */
	t->entry = (struct entry){.run = telling_run, .done = telling_done};
	t->msid = s->msid;
	str_copy(t->trusted, sizeof(t->trusted), s->rotation.trusted_hash);
	str_copy(t->issuer, sizeof(t->issuer), s->rotation.shown_issuer);
	s->rotation.telling = true;
	ledger_add(s, &t->entry);
}

/* ---- who comes too late ---- */

enum err rotation_still_signs(struct store_tx *tx, const char *signer, struct why *why)
{
	CLEAN(mem_freep) char *now = NULL;
	enum err e = signer ? store_secret_get(tx, CA_SECRET_CERT, &now) : ERR_OK;

	if (e || !signer || str_equal(now, signer))
		return e;
	why_set(why, "another CA signs by now: ask again");
	return ERR_CONFLICT;
}

static bool is_trusted(const struct server *s, const char *key_id)
{
	return str_equal(key_id, s->rotation.issuing_id) ||
	       (rotation_trusts_both(s->rotation.phase) && str_equal(key_id, s->rotation.other_id));
}

void rotation_refused(struct session *x, const struct cert_info *shown)
{
	struct server *s = x->server;
	const struct host *h;

	if (!s->rotation.text || !shown || shown->role != CERT_ROLE_AGENT || !shown->authority_key_id[0] ||
	    is_trusted(s, shown->authority_key_id))
		return;
	/* Whoever it is: nothing of it was verified, so it is only what it shows that can be told. */
	h = roster_by_guid(s, shown->id);
	if (h)
		event_refused(s, "HOST.REFUSED", link_peer_ip(x->link),
			      "%s shows a certificate for host %s of a CA that is not trusted any more; if it is "
			      "that host, `muster host rejoin %s` gives a token for it",
			      link_peer_ip(x->link), h->row.name, h->row.name);
}

void rotation_deinit(struct server *s)
{
	s->rotation.text = mem_free(s->rotation.text);
	s->rotation.issuing_cert = mem_free(s->rotation.issuing_cert);
	s->rotation.other_cert = mem_free(s->rotation.other_cert);
	s->rotation.next_cert = mem_free(s->rotation.next_cert);
	s->rotation.other_ca = ca_provider_free(s->rotation.other_ca);
}
