/*
 * Our own certificates: read from server.crt and server.key, and made anew when they are missing, near their end, not
 * of this CA or not for our address.
 *
 * There is a second one with an RSA key, server.rsa.crt and server.rsa.key, for peers that take no ECDSA
 * (net/tls_policy.h 5). Nobody waits for it: its key takes up to a second, so it is made when the first one is there
 * and the server goes on meanwhile, and from then on it is looked at now and then. Whoever needs it before is told so
 * by TLS.
 *
 * Keys are made and signatures done on WORK_CRYPTO. What was signed is recorded in the store before it is written to
 * the folder or shown to anybody: while the store is away the old one stays in use.
 */
#include "server/internal.h"

#include <string.h>

#define FILE_CA "server.ca.crt"
#define FILE_LIMIT (256 * 1024)
#define RENEW_BEFORE_S (30LL * 24 * 3600)
#define SERVER_VALIDITY_S (3650LL * 24 * 3600)
#define LOOK_AGAIN_MS (3600LL * 1000)
#define TRY_AGAIN_MS (600LL * 1000)
#define FOLLOW_AGAIN_MS 2000
#define DAY_MS (24 * 3600 * 1000LL)
#define HOUR_MS (3600 * 1000LL)
#define CLOSE_S (10LL * 24 * 3600)

static const struct {
	const char *cert, *key;
} files[] = {
	[OWN_CERT_EC] = {"server.crt", "server.key"},
	[OWN_CERT_RSA] = {"server.rsa.crt", "server.rsa.key"},
};

struct own_cert {
	struct work work;
	struct server *server;
	enum own_cert_kind kind;
	enum key_kind key_kind;
	enum err result;
	struct why why;
	struct ca_issued issued;
	char *key;
	struct entry entry;
	struct cert_row row;
	struct ca_provider *ca;    /* owned with others */
	struct ca_request request; /* borrows the lists below */
	struct str_list ips, dns;
	void (*done)(struct server *s, enum err result, const char *sentence); /* of the first one; NULL: none */
};

static void own_cert_free(struct own_cert *o)
{
	o->server->making_cert[o->kind] = NULL;
	ca_provider_free(o->ca);
	ca_issued_deinit(&o->issued);
	cert_row_deinit(&o->row);
	key_free(o->key);
	str_list_deinit(&o->ips);
	str_list_deinit(&o->dns);
	mem_free(o);
}

static void rsa_ends(struct server *s, enum err result, const char *sentence)
{
	/* Once: a server that can't issue will not be able to in ten minutes either. */
	if (result && !s->stopping)
		log_at(s->log, s->rsa_failed ? LOG_DEBUG : LOG_WARN,
		       s->own[OWN_CERT_RSA].cert ? "the RSA certificate could not be renewed"
						 : "there is no RSA certificate: peers that take no ECDSA are refused",
		       KV_S("error", sentence), KV_I("again_in_ms", TRY_AGAIN_MS));
	s->rsa_failed = result != ERR_OK;
	/* Nothing is begun while the store is away: so this is soon after. */
	s->rsa_look_at = mono_add_ms(world_now(s->world), !result                      ? LOOK_AGAIN_MS
							  : ledger_is_failing(s, NULL) ? FOLLOW_AGAIN_MS
										       : TRY_AGAIN_MS);
}

static void ends(struct own_cert *o, enum err result, const char *sentence)
{
	struct server *s = o->server;

	if (o->kind == OWN_CERT_RSA) {
		rsa_ends(s, result, sentence);
		/* The CA was changed while it was made. */
		if (o->ca && o->ca != s->ca)
			s->rsa_look_at = world_now(s->world);
	} else {
		/* A new first one may be of a new CA. */
		s->rsa_look_at = world_now(s->world);
		s->own_failed = result != ERR_OK;
		o->done(s, result, sentence);
	}
	own_cert_free(o);
}

static void fail(struct own_cert *o)
{
	ends(o, o->result, why_text(&o->why, o->result));
}

static void own_pair_deinit(struct own_pair *p)
{
	p->cert = mem_free(p->cert);
	p->key = key_free(p->key);
}

static enum err read_file(struct server *s, const char *name, char **out, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(s->p.dir, name);
	struct buf b = {0};
	enum err e = path ? file_read(s->world->fs, path, FILE_LIMIT, &b, why) : ERR_NOMEM;

	if (!e) {
		*out = buf_take_str(&b);
		e = *out ? ERR_OK : ERR_NOMEM;
	}
	buf_deinit(&b);
	return e;
}

static enum err write_file(struct server *s, const char *name, unsigned mode, const char *text, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(s->p.dir, name);

	return path ? file_replace(s->world->fs, path, mode, text, strlen(text), why) : ERR_NOMEM;
}

static bool covers(const struct cert_info *c, const char *host)
{
	return str_list_has(&c->ips, host) || str_list_has(&c->dns, host);
}

static unsigned rsa_bits(const struct server *s)
{
	return (unsigned)config_number(s, "ca.framework.cert.keysize", 0);
}

/* Is what lies in the folder usable? A sentence says why not. */
static bool is_good(struct server *s, enum own_cert_kind kind, const struct own_pair *pair,
		    const struct server_address *address, struct why *why)
{
	int64_t now_s = world_wall_ms(s->world) / 1000;
	struct cert_info c = {0};
	bool good = false;

	if (cert_info_parse(&c, pair->cert, why) || cert_verify(pair->cert, s->ca_chain, now_s, why) ||
	    key_matches_cert(pair->key, pair->cert, why)) {
		cert_info_deinit(&c);
		return false;
	}
	if (c.role != CERT_ROLE_SERVER || !str_equal(c.id, s->uuid))
		why_set(why, "it is for another server (%s)", c.id);
	else if (c.not_after_s - now_s < RENEW_BEFORE_S)
		why_set(why, "it expires soon");
	else if (!covers(&c, address->host))
		why_set(why, "it is not for the address %s", address->host);
	else if (map_get(&s->revoked, c.serial))
		why_set(why, "it is revoked");
	else if (s->rotation.issuing_id[0] && c.authority_key_id[0] && s->ca->ops->can_issue(s->ca) &&
		 !str_equal(c.authority_key_id, s->rotation.issuing_id))
		why_set(why, "it is not of the CA that signs now");
	else if (kind == OWN_CERT_RSA && (!c.is_rsa || c.key_bits < rsa_bits(s)))
		why_set(why, "its key has fewer bits than ca.framework.cert.keysize");
	else
		good = true;
	cert_info_deinit(&c);
	return good;
}

/* The pair that was made takes the place of the old one, also for who connects from now on. */
static enum err install(struct own_cert *o)
{
	struct server *s = o->server;
	struct own_pair *pair = &s->own[o->kind];
	enum err e = write_file(s, files[o->kind].key, 0600, o->key, &o->why);

	if (!e)
		e = write_file(s, files[o->kind].cert, 0600, o->issued.certificate, &o->why);
	if (!e)
		e = write_file(s, FILE_CA, 0644, s->ca_chain, &o->why);
	if (e)
		return e;
	own_pair_deinit(pair);
	pair->cert = STEAL(o->issued.certificate);
	pair->key = STEAL(o->key);
	s->own_changes++;
	return authority_renew_creds(s, &o->why);
}

static enum err record_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	return store_cert_add(tx, &container_of(entry, struct own_cert, entry)->row);
}

/* Whoever sees it from now on finds it among those that were issued. */
static void record_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct own_cert *o = container_of(entry, struct own_cert, entry);

	if (s->freed) {
		own_cert_free(o);
		return;
	}
	o->result = result;
	s->n_issued[ISSUED_OWN] += result == ERR_OK;
	if (result)
		why_set(&o->why, "it could not be recorded, so it is not used: %s", sentence);
	/* The store may have taken long: nobody would believe one of a CA that is gone. */
	else if (o->ca != s->ca &&
		 (o->result = cert_verify(o->issued.certificate, s->ca_chain, world_wall_ms(s->world) / 1000, NULL)))
		why_set(&o->why, "the CA was changed meanwhile");
	else
		o->result = install(o);
	if (o->result)
		fail(o);
	else
		ends(o, ERR_OK, "");
}

static void own_cert_made(struct work *work)
{
	struct own_cert *o = container_of(work, struct own_cert, work);
	struct server *s = o->server;

	if (!o->result)
		o->result = s->stopping ? ERR_STOPPED : authority_cert_row(o->issued.certificate, &o->row);
	if (o->result) {
		fail(o);
	} else {
		o->entry = (struct entry){.run = record_run, .done = record_done};
		ledger_add(s, &o->entry);
	}
	server_gone_if_idle(s);
}

static void make_own_cert(struct work *work)
{
	struct own_cert *o = container_of(work, struct own_cert, work);
	struct csr_params p = {0};
	CLEAN(mem_freep) char *csr = NULL;

	o->result = key_new(&o->key, o->key_kind, &o->why);
	if (o->result)
		return;
	p.key_pem = o->key;
	p.common_name = o->request.common_name;
	o->result = csr_new(&csr, &p, &o->why);
	if (o->result)
		return;
	o->request.csr_pem = csr;
	o->result = ca_issue(o->ca, &o->issued, &o->request, &o->why);
	o->request.csr_pem = NULL;
}

static void make(struct own_cert *o, const struct server_address *address)
{
	struct server *s = o->server;

	if (!s->ca->ops->can_issue(s->ca)) {
		o->result = ERR_REFUSED;
		why_set(&o->why, "this server has no certificate that can be used, and can't make one: %s%s",
			s->ca->ops->cannot, o->kind == OWN_CERT_EC ? "; or use muster-server join" : "");
		fail(o);
		return;
	}
	o->result = str_list_add(server_host_is_address(address->host) ? &o->ips : &o->dns, address->host);
	if (!o->result && !server_host_is_address(s->p.name) && !str_list_has(&o->dns, s->p.name))
		o->result = str_list_add(&o->dns, s->p.name);
	if (o->result) {
		fail(o);
		return;
	}
	o->request = (struct ca_request){
		.common_name = s->p.name,
		.role = CERT_ROLE_SERVER,
		.id = s->uuid,
		.ips = &o->ips,
		.dns = &o->dns,
		.validity_s = SERVER_VALIDITY_S,
		.wall_s = world_wall_ms(s->world) / 1000,
	};
	world_entropy(s->world, o->request.serial, sizeof(o->request.serial));
	o->ca = ca_provider_ref(s->ca);
	o->work = (struct work){.run = make_own_cert, .done = own_cert_made, .cost_us = 2000};
	world_work(s->world, authority_lane(s), &o->work);
}

static struct own_cert *own_cert_new(struct server *s, enum own_cert_kind kind)
{
	struct own_cert *o = mem_zalloc(sizeof(*o));

	if (!o)
		return NULL;
	o->server = s;
	o->kind = kind;
	o->key_kind = kind == OWN_CERT_RSA ? key_rsa_kind(rsa_bits(s)) : KEY_EC_P256;
	s->making_cert[kind] = o;
	return o;
}

/* ---- one that lies there and that the store doesn't know ---- */

struct noting {
	struct entry entry;
	struct cert_row row;
};

static enum err noting_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct noting *n = container_of(entry, struct noting, entry);
	struct cert_row there = {0};
	enum err e = store_cert_get(tx, n->row.serial, &there);

	cert_row_deinit(&there);
	return e == ERR_NOT_FOUND ? store_cert_add(tx, &n->row) : e;
}

static void noting_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct noting *n = container_of(entry, struct noting, entry);

	if (result && result != ERR_STOPPED)
		log_warn(s->log, "an own certificate that the store doesn't know could not be recorded",
			 KV_S("error", sentence));
	cert_row_deinit(&n->row);
	mem_free(n);
}

/* Made before that was a rule, or while the store was another one. */
static void note_if_unknown(struct server *s, const char *pem)
{
	struct noting *n = mem_zalloc(sizeof(*n));

	if (!n)
		return;
	n->entry = (struct entry){.run = noting_run, .done = noting_done};
	if (authority_cert_row(pem, &n->row)) {
		cert_row_deinit(&n->row);
		mem_free(n);
		return;
	}
	ledger_add(s, &n->entry);
}

/* What is there is read and used, or another one is made. */
static void find_or_make(struct own_cert *o)
{
	struct server *s = o->server;
	struct own_pair there = {0};
	struct server_address address;
	struct why why = WHY_NONE;
	bool is_there;

	o->result = server_address_parse(&address, s->p.address, &o->why);
	if (o->result) {
		fail(o);
		return;
	}
	is_there = read_file(s, files[o->kind].cert, &there.cert, &why) == ERR_OK &&
		   read_file(s, files[o->kind].key, &there.key, &why) == ERR_OK;
	if (is_there && is_good(s, o->kind, &there, &address, &why)) {
		own_pair_deinit(&s->own[o->kind]);
		s->own[o->kind] = there;
		s->own_changes++;
		note_if_unknown(s, there.cert);
		o->result = authority_renew_creds(s, &o->why);
		if (o->result)
			fail(o);
		else
			ends(o, ERR_OK, "");
		return;
	}
	if (is_there)
		log_info(s->log, "own certificate is made anew", KV_S("file", files[o->kind].cert),
			 KV_S("reason", why.text));
	own_pair_deinit(&there);
	make(o, &address);
}

void own_cert_start(struct server *s, void (*done)(struct server *s, enum err result, const char *sentence))
{
	struct own_cert *o = own_cert_new(s, OWN_CERT_EC);

	if (!o) {
		done(s, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	o->done = done;
	find_or_make(o);
}

/* The RSA pair in memory may still be good: then nothing is read either. */
static bool rsa_is_good(struct server *s)
{
	struct server_address address;
	struct why why = WHY_NONE;

	return s->own[OWN_CERT_RSA].cert && server_address_parse(&address, s->p.address, &why) == ERR_OK &&
	       is_good(s, OWN_CERT_RSA, &s->own[OWN_CERT_RSA], &address, &why);
}

/* Is the CA that signs now another one than the one of what we show? As far as is known and can be changed. */
static bool follows(const struct server *s)
{
	return s->rotation.own_issuer[0] && s->rotation.issuing_id[0] &&
	       !str_equal(s->rotation.own_issuer, s->rotation.issuing_id) && s->ca->ops->can_issue(s->ca);
}

void own_cert_tick(struct server *s)
{
	struct own_cert *o;

	/* What can't be recorded isn't made. */
	if (ledger_is_failing(s, NULL))
		return;
	if (s->running && follows(s))
		own_cert_look(s);
	if (!s->p.with_rsa || !s->own[OWN_CERT_EC].cert || s->making_cert[OWN_CERT_EC] ||
	    s->making_cert[OWN_CERT_RSA] || !mono_reached(world_now(s->world), s->rsa_look_at))
		return;
	if (rsa_is_good(s)) {
		rsa_ends(s, ERR_OK, "");
		return;
	}
	o = own_cert_new(s, OWN_CERT_RSA);
	if (o)
		find_or_make(o);
}

/* ---- the first one, while we run ---- */

/* In its last 30 days, or the last third of a shorter life; if a new one would last longer than this one. */
static bool is_old(const struct server *s, const char *pem, int64_t *left_s)
{
	struct cert_info own = {0}, ca = {0};
	int64_t third_s;
	bool old = false;

	if (cert_info_parse(&own, pem, NULL) == ERR_OK &&
	    cert_info_parse(&ca, s->ca->ops->chain(s->ca), NULL) == ERR_OK) {
		*left_s = own.not_after_s - world_wall_ms(s->world) / 1000;
		third_s = (own.not_after_s - own.not_before_s) / 3;
		old = *left_s < (third_s < RENEW_BEFORE_S ? third_s : RENEW_BEFORE_S) &&
		      own.not_after_s < ca.not_after_s;
	}
	cert_info_deinit(&own);
	cert_info_deinit(&ca);
	return old;
}

static void renewed(struct server *s, enum err result, const char *sentence)
{
	if (!result)
		event_add(s, "CA.CERTIFICATE.PROVISION", "INFO", 0,
			  "management server %s has renewed its own certificate", s->p.name);
	else if (!s->stopping && ledger_is_failing(s, NULL)) {
		log_warn(s->log, "the own certificate can't be renewed while the store is away: the old one is used",
			 KV_S("error", sentence));
		s->own_failed = false;
		s->own_tried = (struct mono){0};
	} else if (!s->stopping)
		event_add(s, "ALERT.CA.CERT", "ERROR", 0, "management server %s can't renew its own certificate: %s",
			  s->p.name, sentence);
}

void own_cert_look(struct server *s)
{
	struct mono now = world_now(s->world);
	struct server_address address;
	struct own_cert *o;
	int64_t left_s = 0, pace_ms = s->own_failed ? TRY_AGAIN_MS : FOLLOW_AGAIN_MS;

	if (s->making_cert[OWN_CERT_EC] || !s->own[OWN_CERT_EC].cert || ledger_is_failing(s, NULL))
		return;
	if (!follows(s)) {
		if (!is_old(s, s->own[OWN_CERT_EC].cert, &left_s))
			return;
		pace_ms = left_s > CLOSE_S ? DAY_MS : HOUR_MS;
	}
	if (s->own_tried.us && mono_ms_between(s->own_tried, now) < pace_ms)
		return;
	s->own_tried = now;
	o = own_cert_new(s, OWN_CERT_EC);
	if (!o)
		return;
	o->done = renewed;
	o->result = server_address_parse(&address, s->p.address, &o->why);
	if (o->result)
		fail(o);
	else
		make(o, &address);
}

void own_cert_deinit(struct server *s)
{
	for (int i = 0; i < OWN_CERT_KINDS; i++) {
		if (s->making_cert[i])
			own_cert_free(s->making_cert[i]);
		own_pair_deinit(&s->own[i]);
	}
}
