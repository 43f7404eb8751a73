/*
 * Authority: the cluster's CA, and who has been revoked.
 *
 *   1. the CA is read from the store; the first server of a cluster makes it, and when two are first at once the
 *      store decides whose it is; an external CA is a command and a file of this server's;
 *   2. our own certificate is found or made (own_cert.c);
 *   3. both become TLS credentials, an immutable object that every new link takes.
 *
 * Keys are made and signatures done on WORK_CRYPTO.
 */
#include "server/keyring.h"
#include "server/rotation.h"

#include <stdio.h>
#include <string.h>

struct start {
	struct entry entry;
	struct work work;
	struct server *server;
	struct ca_records records;
	struct ca_root_record made; /* by us, offered to the store */
	uint8_t entropy[64];
	char dn[256];
	enum err result;
	struct why why;
	void (*done)(struct server *s, enum err result, const char *sentence);
};

static void start_free(struct start *t)
{
	t->server->starting = NULL;
	ca_records_deinit(&t->records);
	ca_root_record_deinit(&t->made);
	mem_wipe(t->entropy, sizeof(t->entropy));
	mem_free(t);
}

static void start_ends(struct start *t, enum err result, const char *sentence)
{
	struct server *s = t->server;

	t->done(s, result, sentence);
	start_free(t);
}

static void fail(struct start *t)
{
	start_ends(t, t->result, why_text(&t->why, t->result));
}

/* ---- 3. credentials ---- */

/* What we show: a certificate of ours and its CAs, ordered. Of an external CA's, which may be many, only those above
 * it. */
static char *own_chain(struct server *s, const char *cert)
{
	/* Its own CA first: of one that was renewed with its key both certificates would do, and tokens name one. */
	CLEAN(mem_freep)
	char *all = mem_printf("%s%s%s", cert,
			       s->ca && rotation_trusts_both(s->rotation.phase) ? s->ca->ops->chain(s->ca) : "",
			       s->ca_chain);
	char *path = NULL;

	/* Where the root isn't known, the intermediate is what everybody trusts, and all there is to show. */
	if (all && s->ca && (s->ca->ops->is_slow || rotation_trusts_both(s->rotation.phase)) &&
	    cert_chain_complete(&path, all, world_wall_ms(s->world) / 1000, NULL) == ERR_OK)
		return path;
	return STEAL(all);
}

static enum err make_creds(struct server *s, struct why *why)
{
	const struct own_pair *first = &s->own[OWN_CERT_EC], *rsa = &s->own[OWN_CERT_RSA];
	CLEAN(mem_freep) char *chain = own_chain(s, first->cert);
	CLEAN(mem_freep) char *rsa_chain = rsa->cert && rsa->key ? own_chain(s, rsa->cert) : NULL;
	struct tls_material m = {
		.chain = chain,
		.key = first->key,
		.rsa_chain = rsa_chain,
		.rsa_key = rsa->key,
		.ca = s->ca_chain,
		.tickets = &s->tickets.keys,
	};
	struct tls_creds *creds = NULL;
	enum err e;

	if (!chain)
		return ERR_NOMEM;
	e = tls_creds_new(s->world, &creds, &m, why);
	if (e)
		return e;
	s->creds = tls_creds_unref(s->creds);
	s->creds = creds;
	return ERR_OK;
}

enum err authority_renew_creds(struct server *s, struct why *why)
{
	const struct own_pair *first = &s->own[OWN_CERT_EC];

	return first->cert && first->key && s->ca_chain ? make_creds(s, why) : ERR_OK;
}

/* ---- 1. the CA ---- */

static bool is_external(struct server *s)
{
	return str_equal(config_text(s, "ca.framework.provider.plugin", 0), "exec");
}

/* A command may take its time: the threads of the handshakes don't wait for it, and one runs at a time. */
enum work_lane authority_lane(const struct server *s)
{
	return s->ca->ops->is_slow ? WORK_FILE : WORK_CRYPTO;
}

static enum err open_external(struct server *s, struct why *why)
{
	const struct ca_exec_params exec = {
		.command = s->p.exec_command, .trusted_pem = s->p.exec_trusted, .limit_ms = s->p.exec_limit_ms};
	struct ca_provider *ca = NULL;
	char *chain;
	enum err e = ca_exec_open(&ca, &exec, why);

	if (e)
		return e;
	chain = mem_strdup(ca->ops->chain(ca));
	if (!chain) {
		ca_provider_free(ca);
		return ERR_NOMEM;
	}
	ca_provider_free(s->ca);
	s->ca = ca;
	mem_free(s->ca_chain);
	s->ca_chain = chain;
	return ERR_OK;
}

static void own_cert_known(struct server *s, enum err result, const char *sentence)
{
	start_ends(s->starting, result, sentence);
}

static void ca_known(struct start *t)
{
	struct server *s = t->server;

	t->result = is_external(s) ? open_external(s, &t->why) : rotation_take(s, &t->records, &t->why);
	if (t->result) {
		fail(t);
		return;
	}
	if (!s->ca->ops->can_issue(s->ca))
		log_warn(s->log, "this server cannot issue certificates", KV_S("reason", s->ca->ops->cannot));
	own_cert_start(s, own_cert_known);
}

static enum err ca_store_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct start *t = container_of(entry, struct start, entry);
	enum err e;

	ca_records_deinit(&t->records);
	e = ca_records_read(tx, &t->records);
	if (e != ERR_NOT_FOUND || !t->made.certificate)
		return e;
	/* Still none: ours it is. Another server's would have been found above, in this same transaction. */
	e = store_secret_set(tx, CA_SECRET_CERT, t->made.certificate);
	if (!e)
		e = store_secret_set(tx, CA_SECRET_KEY, t->made.sealed_key);
	if (!e) {
		t->records.issuing = t->made;
		t->made = (struct ca_root_record){0};
	}
	return e;
}

static void make_ca(struct work *work)
{
	struct start *t = container_of(work, struct start, work);
	struct server *s = t->server;

	t->result =
		ca_root_create(&t->made, t->dn, s->p.cluster_key, t->entropy, world_wall_ms(s->world) / 1000, &t->why);
}

static void ca_made(struct work *work)
{
	struct start *t = container_of(work, struct start, work);
	struct server *s = t->server;

	if (t->result) {
		fail(t);
		server_gone_if_idle(s);
		return;
	}
	log_info(t->server->log, "a certificate authority was made for this cluster");
	ledger_add(t->server, &t->entry);
}

static void ca_store_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct start *t = container_of(entry, struct start, entry);

	if (!result) {
		ca_known(t);
	} else if (result == ERR_NOT_FOUND && s->p.cluster_key) {
		const char *dn = config_text(s, "ca.plugin.root.issuer.dn", 0);

		str_copy(t->dn, sizeof(t->dn), str_starts(dn, "CN=") ? dn + 3 : dn);
		world_entropy(s->world, t->entropy, sizeof(t->entropy));
		t->work = (struct work){.run = make_ca, .done = ca_made, .cost_us = 2000};
		world_work(s->world, WORK_CRYPTO, &t->work);
	} else if (result == ERR_NOT_FOUND) {
		start_ends(
			t, ERR_REFUSED,
			"the cluster has no certificate authority yet and this server has no cluster key to make one");
	} else {
		start_ends(t, result, sentence);
	}
}

void authority_start(struct server *s, void (*done)(struct server *s, enum err result, const char *sentence))
{
	struct start *t = mem_zalloc(sizeof(*t));

	if (!t) {
		done(s, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	s->starting = t;
	t->server = s;
	t->done = done;
	/* An external CA is known from our own file, not from the store. */
	if (is_external(s)) {
		ca_known(t);
		return;
	}
	t->entry.run = ca_store_run;
	t->entry.done = ca_store_done;
	ledger_add(s, &t->entry);
}

enum err authority_cert_row(const char *pem, struct cert_row *row)
{
	struct cert_info c = {0};
	struct why why = WHY_NONE;
	enum err e = cert_info_parse(&c, pem, &why);

	if (!e) {
		row->serial = mem_strdup(c.serial);
		row->common_name = mem_strdup(c.common_name);
		row->role = mem_strdup(c.role == CERT_ROLE_SERVER  ? "server"
				       : c.role == CERT_ROLE_AGENT ? "agent"
								   : "other");
		row->subject_id = mem_strdup(c.id);
		row->pem = mem_strdup(pem);
		row->issuer = mem_strdup(c.authority_key_id);
		row->not_before_s = c.not_before_s;
		row->not_after_s = c.not_after_s;
		if (!row->serial || !row->common_name || !row->role || !row->subject_id || !row->pem || !row->issuer)
			e = ERR_NOMEM;
	}
	cert_info_deinit(&c);
	return e;
}

/* ---- changes ---- */

void authority_reload(struct server *s)
{
	keyring_reload(s); /* before all that is sealed */
	tickets_reload(s);
	rotation_reload(s);
	revocation_reload(s);
	crl_reload(s);
}

void authority_deinit(struct server *s)
{
	own_cert_deinit(s);
	keyring_deinit(s);
	rotation_deinit(s);
	if (s->starting)
		start_free(s->starting);
	s->creds = tls_creds_unref(s->creds);
	s->ca = ca_provider_free(s->ca);
	s->ca_chain = mem_free(s->ca_chain);
	map_deinit(&s->revoked);
	crl_deinit(s);
	tickets_deinit(s);
}
