/*
 * One host's agent gets a new certificate over its link (docs/certificates.md, "Renewal" 10 to 15).
 *
 *   1. what the store has of the host is read: its names and addresses are what the certificate will say;
 *   2. the agent makes a new key and asks for a certificate (SetupKeyStore); for a system VM we make the key;
 *   3. the request is judged and the certificate signed, off the loop;
 *   4. it is recorded, if the host is still there and, unless somebody asked, still ours;
 *   5. it is sent with the CA certificates in force (SetupCertificate);
 *   6. the agent says that it took it: that it has these CA certificates is remembered.
 *
 * A crash or a lost link at any step leaves the agent with its old certificate, which stays good until it expires or is
 * revoked: nobody can know from here whether an agent that doesn't answer has taken the new one. What was signed for
 * nothing stays in the record, its key is nobody's.
 */
#include "server/provision.h"

#include <string.h>

#include "server/rotation.h"

#define PROVISIONS_MOST 256
#define AGENT_WAIT_S 60 /* as in the reference: its scripts run keytool */
#define PASSPHRASE_LENGTH 16

struct provision {
	struct list in_provisions; /* s->provisions */
	struct server *server;
	int64_t host_id;
	enum renewal_reason reason;
	int64_t owner, epoch; /* who must still have the host, by this claim; epoch 0: whoever has it */
	bool at_work;         /* on a work lane */
	struct entry entry;
	struct work work;
	bool shows_cert; /* it is connected here, with this: */
	struct shown_cert shown;
	bool doubts;         /* the old CA's key was stolen: who shows what was not issued here has to be asked for */
	char *peer_ip;       /* as we see it; NULL: it is not connected here */
	struct host_row row; /* as the store has it */
	char *csr;           /* from the agent */
	bool makes_key;      /* ours is the key */
	enum key_kind kind;
	char *key;
	struct ca_provider *ca;    /* owned with others: the cluster's may be changed meanwhile */
	struct ca_request request; /* borrows from here */
	struct str_list ips, dns;
	struct ca_issued issued;
	struct cert_row cert;
	char *signer;  /* the CA that signs, owned; NULL: an external one */
	char *trusted; /* the CA certificates as they are sent */
	char trusted_hash[FINGERPRINT_TEXT];
	enum err result;
	struct why why;
	void (*done)(void *user, int64_t host_id, enum err result, const char *sentence);
	void *user;
};

static void provision_free(struct provision *p)
{
	struct host *h = roster_host(p->server, p->host_id);

	if (h && h->provision == p)
		h->provision = NULL;
	list_remove(&p->in_provisions);
	mem_free(p->peer_ip);
	host_row_deinit(&p->row);
	mem_free(p->csr);
	key_free(p->key);
	str_list_deinit(&p->ips);
	str_list_deinit(&p->dns);
	ca_provider_free(p->ca);
	ca_issued_deinit(&p->issued);
	cert_row_deinit(&p->cert);
	mem_free(p->signer);
	mem_free(p->trusted);
	mem_free(p);
}

/* After requests and the ledger have ended: what a stopped world still holds. */
void provision_deinit(struct server *s)
{
	list_for (p, &s->provisions, struct provision, in_provisions)
		provision_free(p);
}

bool provision_is_under_way(const struct host *h)
{
	return h->provision != NULL;
}

size_t provisions_under_way(const struct server *s)
{
	size_t n = 0;

	list_for (p, (struct list *)(uintptr_t)&s->provisions, struct provision, in_provisions)
		n++;
	return n;
}

bool provision_is_at_work(const struct server *s)
{
	list_for (p, (struct list *)(uintptr_t)&s->provisions, struct provision, in_provisions)
		if (p->at_work)
			return true;
	return false;
}

static void say(struct provision *p, enum err result, const char *sentence)
{
	struct server *s = p->server;
	const char *name = p->row.name ? p->row.name : "?";

	s->n_renewed += result == ERR_OK;
	s->n_renewals_failed += result != ERR_OK;
	if (result)
		event_add(s, "CA.CERTIFICATE.PROVISION", "WARN", p->host_id, "host %s has no new certificate (%s): %s",
			  name, renewal_reason_name(p->reason), sentence);
	else
		event_add(s, "CA.CERTIFICATE.PROVISION", "INFO", p->host_id, "host %s has taken certificate %s (%s)",
			  name, p->cert.serial, renewal_reason_name(p->reason));
}

static void end(struct provision *p, enum err result, const char *sentence)
{
	void (*done)(void *user, int64_t host_id, enum err result, const char *sentence) = p->done;
	void *user = p->user;
	int64_t host_id = p->host_id;
	struct why kept = WHY_NONE;

	why_set(&kept, "%s", sentence); /* it may be one of ours */
	if (result != ERR_STOPPED)
		say(p, result, kept.text);
	provision_free(p);
	if (done)
		done(user, host_id, result, kept.text);
}

static void fail(struct provision *p)
{
	end(p, p->result, why_text(&p->why, p->result));
}

static void ask(struct provision *p, struct batch *take_b, bool has_key,
		void (*done)(void *, enum err, const char *, const struct batch *))
{
	const struct request_params r = {.wait_ms = AGENT_WAIT_S * 1000, .is_secret = has_key, .done = done, .user = p};
	struct host *h = roster_host(p->server, p->host_id);
	enum err e = h ? request_to_host(p->server, h, take_b, &r) : ERR_NOT_FOUND;

	batch_deinit(take_b);
	if (e)
		end(p, e, e == ERR_UNREACHABLE ? "its agent is not connected" : err_text(e));
}

/* Has the agent said yes? Otherwise the end. */
static bool said_yes(struct provision *p, enum err result, const char *sentence, const struct batch *answers)
{
	const char *details;

	if (result) {
		end(p, result, sentence);
		return false;
	}
	if (answers->n && element_result(&answers->elements[0]))
		return true;
	details = answers->n ? element_details(&answers->elements[0]) : NULL;
	p->result = ERR_REFUSED;
	why_set(&p->why, "its agent refuses: %s", str_is_blank(details) ? "no reason given" : details);
	fail(p);
	return false;
}

/* ---- 6. taken ---- */

static enum err taken_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct provision *p = container_of(entry, struct provision, entry);

	return store_host_ca_known(tx, p->host_id, p->trusted_hash);
}

static void taken_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct provision *p = container_of(entry, struct provision, entry);

	/* It has its certificate. Where this matters, while the CA is changed, it is asked once more. */
	if (result && result != ERR_STOPPED)
		log_warn(s->log, "which CA certificates an agent has could not be remembered", KV_I("host", p->host_id),
			 KV_S("error", sentence));
	else if (!result)
		renewal_host_trusts(s, p->host_id, p->trusted_hash);
	end(p, ERR_OK, "");
}

static void certificate_taken(void *user, enum err result, const char *sentence, const struct batch *answers)
{
	struct provision *p = user;

	if (!said_yes(p, result, sentence, answers))
		return;
	/* A muster agent has both on trial, and may go back to what it had: it is seen with the new ones or it isn't
	 * (renewal.c). */
	if (p->row.is_muster) {
		end(p, ERR_OK, "");
		return;
	}
	p->entry = (struct entry){.run = taken_run, .done = taken_done};
	ledger_add(p->server, &p->entry);
}

/* ---- 5. sent ---- */

static void send_certificate(struct provision *p)
{
	struct host *h = roster_host(p->server, p->host_id);
	struct batch b = {0};
	struct msg_setup_certificate *m = batch_add(&b, MSG_SETUP_CERTIFICATE);

	if (!m || msg_set_text(&m->certificate, p->issued.certificate) ||
	    msg_set_text(&m->privateKey, p->key ? p->key : "") || msg_set_text(&m->caCertificates, p->trusted) ||
	    !(m->accessDetails = json_object())) {
		if (m)
			m->privateKey = key_free(m->privateKey);
		batch_deinit(&b);
		end(p, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	/* The agent itself, system VMs included: they have a link of their own. */
	msg_set_bool(&m->handleByAgent, true);
	msg_set_i64(&m->wait, AGENT_WAIT_S);
	/* Before the answer: a muster agent may be back with it sooner, and an answer may be lost. */
	if (h)
		renewal_host_sent(h, p->cert.serial, p->trusted_hash);
	ask(p, &b, p->key != NULL, certificate_taken);
}

/* ---- 4. recorded ---- */

static enum err record_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct provision *p = container_of(entry, struct provision, entry);
	struct host_row now = {0};
	bool is_revoked = false;
	enum err e = store_host_get(tx, p->host_id, &now);

	if (!e && now.removed_ms)
		e = ERR_NOT_FOUND;
	if (!e && p->epoch && (now.owner != p->owner || now.epoch != p->epoch)) {
		why_set(why, "its agent has moved meanwhile: whoever has it now renews it");
		e = ERR_CONFLICT;
	}
	/* Revoked a moment ago: whoever has it isn't given another one on the link that is about to be cut. */
	if (!e && now.cert_serial)
		e = store_is_revoked(tx, now.cert_serial, &is_revoked);
	if (!e && is_revoked) {
		why_set(why, "its certificate was revoked meanwhile");
		e = ERR_REVOKED;
	}
	if (!e)
		e = rotation_still_signs(tx, p->signer, why);
	if (!e)
		e = store_cert_add(tx, &p->cert);
	host_row_deinit(&now);
	return e;
}

static void record_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct provision *p = container_of(entry, struct provision, entry);

	s->n_issued[ISSUED_RENEWAL] += result == ERR_OK;
	if (result)
		end(p, result, sentence);
	else if (s->stopping)
		end(p, ERR_STOPPED, err_text(ERR_STOPPED));
	else if (p->ca != s->ca)
		/* It may be of a CA that nobody trusts any more, or bring less than is to be trusted. */
		end(p, ERR_CONFLICT, "the CA was changed meanwhile: it is asked again");
	else
		send_certificate(p);
}

/* ---- 3. signed ---- */

/* A key for who doesn't make one; asked for in its name as anybody else would. */
static enum err make_key(struct provision *p)
{
	const struct csr_params c = {.common_name = p->request.common_name};
	struct csr_params with_key = c;
	enum err e = key_new(&p->key, p->kind, &p->why);

	with_key.key_pem = p->key;
	return e ? e : csr_new(&p->csr, &with_key, &p->why);
}

static void sign_run(struct work *work)
{
	struct provision *p = container_of(work, struct provision, work);

	p->result = p->makes_key ? make_key(p) : ERR_OK;
	p->request.csr_pem = p->csr;
	if (!p->result)
		p->result = ca_issue(p->ca, &p->issued, &p->request, &p->why);
	if (!p->result)
		p->result = authority_cert_row(p->issued.certificate, &p->cert);
	sha256_hex(p->trusted_hash, p->trusted, strlen(p->trusted));
}

/* Of a certificate that names nobody the record says whose it is: who deletes the host finds it. */
static enum err name_owner(struct provision *p)
{
	if (p->request.role != CERT_ROLE_NONE)
		return ERR_OK;
	mem_free(p->cert.subject_id);
	p->cert.subject_id = mem_strdup(p->row.guid);
	return p->cert.subject_id ? ERR_OK : ERR_NOMEM;
}

static void sign_done(struct work *work)
{
	struct provision *p = container_of(work, struct provision, work);
	struct server *s = p->server;

	p->at_work = false;
	if (!p->result)
		p->result = s->stopping ? ERR_STOPPED : name_owner(p);
	if (p->result) {
		fail(p);
	} else {
		p->entry = (struct entry){.run = record_run, .done = record_done};
		ledger_add(s, &p->entry);
	}
	server_gone_if_idle(s);
}

static void sign(struct provision *p)
{
	struct server *s = p->server;

	p->trusted = mem_strdup(s->ca_chain);
	p->signer = mem_strdup(s->rotation.issuing_cert);
	if (!p->trusted || (s->rotation.issuing_cert && !p->signer)) {
		end(p, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	p->request.validity_s = config_number(s, "ca.framework.cert.validity.period", 0) * 24 * 3600;
	p->request.wall_s = world_wall_ms(s->world) / 1000;
	world_entropy(s->world, p->request.serial, sizeof(p->request.serial));
	p->work = (struct work){.run = sign_run, .done = sign_done, .cost_us = p->makes_key ? 100000 : 800};
	p->at_work = true;
	p->ca = ca_provider_ref(s->ca);
	world_work(s->world, authority_lane(s), &p->work);
}

/* ---- 2. the agent's key and request ---- */

static void request_came(void *user, enum err result, const char *sentence, const struct batch *answers)
{
	struct provision *p = user;
	const struct msg_setup_keystore_answer *a;

	if (!said_yes(p, result, sentence, answers))
		return;
	a = batch_find(answers, MSG_SETUP_KEYSTORE_ANSWER);
	if (!a || str_is_blank(a->csr)) {
		end(p, ERR_MALFORMED, "its agent's answer has no certificate request");
		return;
	}
	p->csr = mem_strdup(a->csr);
	if (p->csr)
		sign(p);
	else
		end(p, ERR_NOMEM, err_text(ERR_NOMEM));
}

static void make_passphrase(struct server *s, char out[PASSPHRASE_LENGTH + 1])
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	uint8_t random[PASSPHRASE_LENGTH];

	for (size_t i = 0; i < PASSPHRASE_LENGTH; i++) {
		do /* only letters and digits: it goes through the shell of the agent's scripts */
			world_entropy(s->world, &random[i], 1);
		while ((random[i] & 63) >= 62);
		out[i] = letters[random[i] & 63];
	}
	out[PASSPHRASE_LENGTH] = '\0';
	mem_wipe(random, sizeof(random));
}

static void ask_for_request(struct provision *p)
{
	struct server *s = p->server;
	struct batch b = {0};
	struct msg_setup_keystore *m = batch_add(&b, MSG_SETUP_KEYSTORE);
	char passphrase[PASSPHRASE_LENGTH + 1];
	enum err e = m ? ERR_OK : ERR_NOMEM;

	make_passphrase(s, passphrase);
	if (!e)
		e = msg_set_text(&m->keystorePassword, passphrase);
	mem_wipe(passphrase, sizeof(passphrase));
	if (!e && !(m->accessDetails = json_object()))
		e = ERR_NOMEM;
	if (e) {
		batch_deinit(&b);
		end(p, e, err_text(e));
		return;
	}
	msg_set_i64(&m->validityDays, config_number(s, "ca.framework.cert.validity.period", 0));
	msg_set_bool(&m->handleByAgent, true);
	msg_set_i64(&m->wait, AGENT_WAIT_S);
	ask(p, &b, false, request_came);
}

/* ---- 1. whose it is ---- */

static bool is_system_vm(const char *type)
{
	return str_equal(type, "ConsoleProxy") || str_starts(type, "SecondaryStorage");
}

/* `ip` in its normal form, as hosts' own addresses are kept (startup.c) and as those are told that we see. */
static bool is_another_hosts(const struct provision *p, const char *ip)
{
	const struct host *h;
	size_t cursor = 0;

	while ((h = roster_next(p->server, &cursor)))
		if (h->row.id != p->host_id &&
		    (str_equal(h->row.private_ip, ip) ||
		     (h->session && h->session->link && str_equal(link_peer_ip(h->session->link), ip))))
			return true;
	return false;
}

/*
 * An address that the host says it has. Where addresses are the identity, not one that another host has shown, which
 * would let it pass for that one; but where we see it, it is.
 */
static enum err add_address(struct provision *p, const char *ip)
{
	char normal[ADDRESS_TEXT];

	if (!address_normal(normal, ip) || str_list_has(&p->ips, normal))
		return ERR_OK;
	if (p->request.role == CERT_ROLE_NONE && !str_equal(normal, p->peer_ip) && is_another_hosts(p, normal))
		return ERR_OK;
	return str_list_add(&p->ips, normal);
}

/*
 * A name that is an address counts as one where a certificate is looked at (ca/policy.h): so it has to be among the
 * addresses already.
 */
static enum err add_name(struct provision *p, const char *name)
{
	struct server_address a;
	char normal[ADDRESS_TEXT];

	if (address_normal(normal, name))
		return str_list_has(&p->ips, normal) && !str_list_has(&p->dns, normal) ? str_list_add(&p->dns, normal)
										       : ERR_OK;
	if (str_is_blank(name) || server_address_parse(&a, name, NULL) || a.port || str_list_has(&p->dns, a.host))
		return ERR_OK;
	return str_list_add(&p->dns, a.host);
}

/* As the reference: host name and private address as names; private, public and storage address (agent-protocol 7.5).
 * The address that we see it at is what it is known by. */
static enum err put_names(struct provision *p)
{
	json_t *details = p->row.details ? json_loads(p->row.details, 0, NULL) : NULL;
	const char *seen = json_string_value(json_object_get(details, "peerIpAddress"));
	bool is_uri = p->request.role == CERT_ROLE_AGENT;
	enum err e = ERR_OK;

	if (!p->peer_ip && seen && !(p->peer_ip = mem_strdup(seen)))
		e = ERR_NOMEM;
	if (!e)
		e = add_address(p, p->row.private_ip);
	if (!e)
		e = add_address(p, json_string_value(json_object_get(details, "publicIpAddress")));
	if (!e)
		e = add_address(p, json_string_value(json_object_get(details, "storageIpAddress")));
	if (!e)
		e = add_address(p, p->peer_ip);
	if (!e)
		e = add_name(p, p->row.name);
	if (!e && !is_uri)
		e = add_name(p, p->row.private_ip);
	json_decref(details);
	return e;
}

/* What identity it gets: the one that it has, or the stronger one that a muster agent can have. */
static enum err fill_request(struct provision *p)
{
	bool is_uri = p->row.is_muster || str_equal(p->row.bound_key, "uri");

	p->request = (struct ca_request){
		.common_name = p->row.name,
		.role = is_uri ? CERT_ROLE_AGENT : CERT_ROLE_NONE,
		.id = is_uri ? p->row.guid : NULL,
		.ips = &p->ips,
		.dns = &p->dns,
	};
	p->makes_key = !p->row.is_muster && is_system_vm(p->row.type);
	return put_names(p);
}

/* Nobody makes a new certificate out of one that he has made himself. */
static enum err judge_origin(struct store_tx *tx, struct provision *p, struct why *why)
{
	enum cert_origin origin = CERT_ISSUED_HERE;
	enum err e = p->shows_cert ? origin_of(tx, &p->shown, &origin) : ERR_OK;

	if (e || admit_origin(origin, p->shown.serial, p->shown.is_suspect, why) != ADMIT_YES)
		return e ? e : ERR_REFUSED;
	if (!p->doubts || !p->shown.is_old || origin == CERT_ISSUED_HERE)
		return ERR_OK;
	why_set(why,
		"its certificate %s was not issued here, and the key of its CA was stolen: if you know the host, `muster "
		"cert renew %s`",
		p->shown.serial, p->row.name);
	return ERR_REFUSED;
}

static enum err read_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct provision *p = container_of(entry, struct provision, entry);
	enum err e;

	host_row_deinit(&p->row);
	p->row = (struct host_row){0};
	e = store_host_get(tx, p->host_id, &p->row);
	if (!e && p->row.removed_ms)
		e = ERR_NOT_FOUND;
	return e ? e : judge_origin(tx, p, why);
}

static void read_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct provision *p = container_of(entry, struct provision, entry);

	p->result = result;
	if (result)
		why_set(&p->why, "%s", sentence);
	else if (s->stopping)
		p->result = ERR_STOPPED;
	else
		p->result = fill_request(p);
	if (p->result)
		fail(p);
	else if (p->makes_key)
		sign(p);
	else
		ask_for_request(p);
}

/* ---- the beginning ---- */

static enum err may_begin(struct server *s, const struct host *h, struct why *why)
{
	if (!s->running || s->stopping) {
		why_set(why, "this server stops");
		return ERR_STOPPED;
	}
	if (h->provision) {
		why_set(why, "a new certificate is on its way to it already");
		return ERR_BUSY;
	}
	if (provisions_under_way(s) >= PROVISIONS_MOST) {
		why_set(why, "%d other hosts are given certificates at this moment", PROVISIONS_MOST);
		return ERR_FULL;
	}
	if (!s->ca->ops->can_issue(s->ca)) {
		why_set(why, "this server cannot issue certificates, ask another one: %s", s->ca->ops->cannot);
		return ERR_REFUSED;
	}
	if (!h->session && !h->row.owner) {
		why_set(why, "its agent is not connected");
		return ERR_UNREACHABLE;
	}
	return ERR_OK;
}

static enum key_kind kind_of_key(const struct server *s)
{
	int64_t bits = config_number(s, "ca.framework.cert.keysize", 0);

	return bits <= 2048 ? KEY_RSA_2048 : bits <= 3072 ? KEY_RSA_3072 : KEY_RSA_4096;
}

/* As its link here shows it, or as its row has it. */
static void put_shown(struct provision *p, const struct host *h)
{
	const struct tls_peer *peer = h->session && h->session->link ? link_peer(h->session->link) : NULL;
	struct cert_info of_row = {0};

	p->doubts = p->reason != RENEWAL_ASKED && rotation_is_compromised(p->server);
	p->shows_cert = h->row.secured && (peer ? peer->has_cert : h->row.cert_serial != NULL);
	if (!p->shows_cert)
		return;
	if (!peer) {
		str_copy(of_row.serial, sizeof(of_row.serial), h->row.cert_serial);
		str_copy(of_row.authority_key_id, sizeof(of_row.authority_key_id),
			 h->row.cert_issuer ? h->row.cert_issuer : "");
	}
	origin_shown(p->server, peer ? &peer->cert : &of_row, &p->shown);
}

enum err provision_host(struct server *s, struct host *h, enum renewal_reason reason,
			void (*done)(void *user, int64_t host_id, enum err result, const char *sentence), void *user,
			struct why *why)
{
	struct provision *p;
	enum err e = may_begin(s, h, why);

	if (e)
		return e;
	p = mem_zalloc(sizeof(*p));
	if (p && h->session && h->session->link && !(p->peer_ip = mem_strdup(link_peer_ip(h->session->link)))) {
		mem_free(p);
		p = NULL;
	}
	if (!p) {
		why_set(why, "%s", err_text(ERR_NOMEM));
		return ERR_NOMEM;
	}
	p->server = s;
	p->host_id = h->row.id;
	p->reason = reason;
	put_shown(p, h);
	p->epoch = reason == RENEWAL_ASKED ? 0 : h->row.epoch;
	p->owner = h->row.owner;
	p->kind = kind_of_key(s);
	p->done = done;
	p->user = user;
	p->entry = (struct entry){.run = read_run, .done = read_done, .read_only = true};
	list_append(&s->provisions, &p->in_provisions);
	h->provision = p;
	ledger_add(s, &p->entry);
	return ERR_OK;
}
