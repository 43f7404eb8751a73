/*
 * issueCertificate and revokeCertificate (query-api 2.14), both as jobs.
 *
 * A certificate issued here is the reference's kind: an RSA key, names and addresses, no role. It is good for what
 * CloudStack is good for with it, and never for a muster agent or server: those join with tokens. Where the reference
 * signs whatever it is given, a request must be signed by its own key and ask for nothing but names.
 */
#include "server/api.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#define DAY_S 86400
#define DAYS_MAX 10950 /* 30 years; its CA ends it sooner */
#define CSR_MAX 65535
#define TEXT_MAX 4096
#define NAMES_MAX 100
#define REASON_MAX 200

/* true: it was refused. */
static bool is_other_provider(struct api_call *c)
{
	const struct ca_provider_ops *ops = c->server->ca->ops;
	const char *provider = api_text(c, "provider");

	if (!provider || strcasecmp(provider, ops->name) == 0)
		return false;
	api_fail(c, API_FAILED, CS_VALUE, "%.64s is not the CA provider of this cluster, %s is", provider, ops->name);
	return true;
}

/* ---- issueCertificate ---- */

struct issuing {
	struct api_job *job;
	struct work work;
	struct entry entry;
	struct ca_provider *ca; /* the server's */
	char *csr;              /* as given; NULL: we make the key */
	enum key_kind kind;
	struct str_list dns, ips;
	struct ca_request request; /* borrows the lists */
	char common_name[128];
	char *key; /* secret; made here */
	struct ca_issued issued;
	struct cert_row row;
	enum err result;
	struct why why;
};

static void issuing_free(void *state)
{
	struct issuing *i = state;

	if (!i)
		return;
	ca_provider_free(i->ca);
	mem_free(i->csr);
	key_free(i->key);
	str_list_deinit(&i->dns);
	str_list_deinit(&i->ips);
	ca_issued_deinit(&i->issued);
	cert_row_deinit(&i->row);
	mem_free(i);
}

static bool is_address(const char *text)
{
	unsigned char raw[16];

	return inet_pton(AF_INET, text, raw) == 1 || inet_pton(AF_INET6, text, raw) == 1;
}

/* Letters, digits and ".-_:", as pki allows it; no wildcard, which would be good for more than was meant. */
static enum err check_name(const char *name, struct why *why)
{
	if (*name && strlen(name) <= 253 &&
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:") == strlen(name))
		return ERR_OK;
	why_set(why,
		strchr(name, '*') ? "a name with a wildcard is not certified here: \"%.64s\""
				  : "\"%.64s\" is not a name for a certificate",
		name);
	str_make_printable(why->text);
	return ERR_INVALID;
}

static enum err check_address(const char *text, struct why *why)
{
	if (is_address(text))
		return ERR_OK;
	why_set(why, "\"%.64s\" is not an IP address", text);
	str_make_printable(why->text);
	return ERR_INVALID;
}

static enum err add_once(struct str_list *to, const char *item, struct why *why)
{
	if (str_list_has(to, item))
		return ERR_OK;
	if (to->n >= NAMES_MAX) {
		why_set(why, "more than %d names or addresses", NAMES_MAX);
		return ERR_TOO_BIG;
	}
	return str_list_add(to, item);
}

static enum err add_all(struct str_list *to, const struct str_list *from,
			enum err (*check)(const char *item, struct why *why), struct why *why)
{
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < from->n; i++) {
		e = check(from->items[i], why);
		if (!e)
			e = add_once(to, from->items[i], why);
	}
	return e;
}

/* "a, b" */
static enum err add_text(struct str_list *to, const char *text, enum err (*check)(const char *item, struct why *why),
			 struct why *why)
{
	CLEAN(str_list_deinit) struct str_list parts = {0};
	CLEAN(str_list_deinit) struct str_list trimmed = {0};
	enum err e = text ? str_list_split(&parts, text, ',') : ERR_OK;

	for (size_t i = 0; !e && i < parts.n; i++) {
		const char *part = str_trim(parts.items[i]);

		if (*part)
			e = str_list_add(&trimmed, part);
	}
	return e ? e : add_all(to, &trimmed, check, why);
}

/* What the request wishes for: names are taken, everything else is refused. */
static enum err take_csr(struct issuing *i, struct why *why)
{
	struct csr_info csr;
	enum err e = csr_info_parse(&csr, i->csr, why);

	if (e)
		return e;
	if (csr.wants_ca) {
		why_set(why, "the certificate request asks for a CA certificate");
		e = ERR_REFUSED;
	} else if (csr.role != CERT_ROLE_NONE) {
		why_set(why,
			"the certificate request is for muster %s %s: those get their certificates by joining (muster token create)",
			csr.role == CERT_ROLE_SERVER ? "server" : "agent", csr.id);
		e = ERR_REFUSED;
	} else if (strchr(csr.common_name, '*')) {
		e = check_name("*", why);
	} else {
		str_copy(i->common_name, sizeof(i->common_name), csr.common_name);
		e = add_all(&i->dns, &csr.dns, check_name, why);
		if (!e)
			e = add_all(&i->ips, &csr.ips, check_address, why);
	}
	csr_info_deinit(&csr);
	return e;
}

static enum err make_key_and_request(struct issuing *i, char **csr)
{
	struct csr_params p = {0};
	char name[CA_COMMON_NAME_MAX + 1];
	enum err e = key_new(&i->key, i->kind, &i->why);

	if (e)
		return e;
	ca_common_name(name, i->common_name);
	p.key_pem = i->key;
	p.common_name = name;
	p.ips = &i->ips;
	p.dns = &i->dns;
	return csr_new(csr, &p, &i->why);
}

static enum err issue(struct issuing *i)
{
	CLEAN(mem_freep) char *made = NULL;
	enum err e = i->csr ? take_csr(i, &i->why) : ERR_OK;

	if (e)
		return e;
	if (!i->common_name[0])
		str_copy(i->common_name, sizeof(i->common_name),
			 i->dns.n   ? i->dns.items[0]
			 : i->ips.n ? i->ips.items[0]
				    : "");
	if (!i->common_name[0]) {
		why_set(&i->why, "the certificate request has no name, and none was given");
		return ERR_INVALID;
	}
	if (!i->csr && (e = make_key_and_request(i, &made)))
		return e;
	i->request.csr_pem = made ? made : i->csr;
	e = ca_issue(i->ca, &i->issued, &i->request, &i->why);
	i->request.csr_pem = NULL;
	return e ? e : authority_cert_row(i->issued.certificate, &i->row);
}

static void issue_run(struct work *work)
{
	struct issuing *i = container_of(work, struct issuing, work);

	i->result = issue(i);
}

static json_t *issued_object(const struct issuing *i)
{
	json_t *all = json_object(), *o = json_object();

	api_put_text(o, "certificate", i->issued.certificate);
	api_put_text(o, "privatekey", i->key);
	api_put_text(o, "cacertificates", i->job->server->ca_chain); /* both, while the CA is changed */
	api_put_text(o, "musterserial", i->row.serial);
	api_put_date(o, "musternotafter", i->row.not_after_s * 1000);
	json_object_set_new(all, "certificates", o);
	return all;
}

static enum err record_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	return store_cert_add(tx, &container_of(entry, struct issuing, entry)->row);
}

/* What is not on record can't be revoked by whoever looks for it, so it is not handed out either. */
static void record_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct issuing *i = container_of(entry, struct issuing, entry);
	struct api_job *j = i->job;

	if (result) {
		api_job_fail(j, API_FAILED, "The certificate could not be recorded: %s", sentence);
		return;
	}
	s->n_issued[ISSUED_REQUEST]++;
	event_add(s, "CA.CERTIFICATE.ISSUE", "INFO", 0, "%s issued certificate %s for %s%s", j->row.account,
		  i->row.serial, i->row.common_name, i->key ? ", with a new key" : "");
	if (i->key)
		api_job_succeed_secret(j, issued_object(i));
	else
		api_job_succeed(j, issued_object(i));
}

static void issue_done(struct work *work)
{
	struct issuing *i = container_of(work, struct issuing, work);
	struct server *s = i->job->server;

	s->n_api_works--;
	if (i->result) {
		api_job_fail(i->job, i->result == ERR_NOMEM || i->result == ERR_STATE ? API_FAILED : API_BAD_PARAM,
			     "No certificate: %s", why_text(&i->why, i->result));
	} else {
		i->entry = (struct entry){.run = record_run, .done = record_done};
		ledger_add(s, &i->entry);
	}
	server_gone_if_idle(s);
}

static const char *object_text(const struct api_job *j, const char *name)
{
	const char *text = json_string_value(json_object_get(j->object, name));

	return str_is_blank(text) ? NULL : text;
}

/* false: the job has failed. */
static bool issue_take(struct api_job *j, struct issuing *i)
{
	struct server *s = j->server;
	const char *csr = object_text(j, "csr"), *domain = object_text(j, "domain");
	int64_t days = json_integer_value(json_object_get(j->object, "duration"));
	enum err e;

	if (!csr && !domain) {
		api_job_fail(j, API_BAD_PARAM, "Give a csr, or a domain to make a key pair for");
		return false;
	}
	if (days < 1 || days > DAYS_MAX) {
		api_job_fail(j, API_BAD_PARAM, "duration: %lld is not between 1 and %d days", (long long)days,
			     DAYS_MAX);
		return false;
	}
	if (!s->ca->ops->can_issue(s->ca)) {
		api_job_fail(j, API_FAILED, "%s cannot issue certificates: %s", s->p.name, s->ca->ops->cannot);
		return false;
	}
	/* Until it is fetched the key lies in the store, like everything that a job ends with. */
	if (!csr && !s->p.cluster_key) {
		api_job_fail(j, API_FAILED,
			     "%s has no cluster key to keep a private key under: send a csr, or ask another server",
			     s->p.name);
		return false;
	}
	e = add_text(&i->dns, domain, check_name, &i->why);
	if (!e)
		e = add_text(&i->ips, object_text(j, "ipaddress"), check_address, &i->why);
	if (!e && csr && !(i->csr = mem_strdup(csr)))
		e = ERR_NOMEM;
	if (!e && !csr && i->dns.n == 0) {
		why_set(&i->why, "domain: there is no name in it");
		e = ERR_INVALID;
	}
	if (e) {
		api_job_fail(j, e == ERR_NOMEM ? API_FAILED : API_BAD_PARAM, "No certificate: %s",
			     why_text(&i->why, e));
		return false;
	}
	i->request.validity_s = days * DAY_S;
	return true;
}

static void issue_work(struct api_job *j)
{
	struct server *s = j->server;
	struct issuing *i = mem_zalloc(sizeof(*i));

	j->state = i;
	j->state_free = issuing_free;
	if (!i) {
		api_job_fail(j, API_FAILED, "out of memory");
		return;
	}
	i->job = j;
	i->ca = ca_provider_ref(s->ca); /* the cluster's may be changed meanwhile */
	i->kind = key_rsa_kind((unsigned)config_number(s, "ca.framework.cert.keysize", 0));
	if (!issue_take(j, i))
		return;
	i->request.common_name = i->common_name;
	i->request.role = CERT_ROLE_NONE;
	i->request.dns = &i->dns;
	i->request.ips = &i->ips;
	i->request.wall_s = world_wall_ms(s->world) / 1000;
	world_entropy(s->world, i->request.serial, sizeof(i->request.serial));
	i->work = (struct work){.run = issue_run, .done = issue_done, .cost_us = 100000};
	s->n_api_works++;
	/* Making an RSA key takes as long as hundreds of handshakes: not on their threads. */
	world_work(s->world, i->csr ? authority_lane(s) : WORK_FILE, &i->work);
}

static void issue_certificate(struct api_call *c)
{
	static const char *const texts[] = {"csr", "domain", "ipaddress"};
	json_t *asked;

	if (is_other_provider(c))
		return;
	asked = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		api_put_text(asked, texts[i], api_text(c, texts[i]));
	api_put_number(asked, "duration",
		       api_number(c, "duration", config_number(c->server, "ca.framework.cert.validity.period", 0)));
	api_job_begin(c, NULL, asked, issue_work);
}

/* ---- revokeCertificate ---- */

struct revoking {
	struct api_job *job;
	struct entry entry;
	char serial[SERIAL_TEXT];
	const char *cn, *reason; /* of the job's object */
	bool forced;
	/* out */
	char *name, *role; /* owned; of the certificate, if it is known */
	int64_t host_id;
	bool was_revoked;
};

static void revoking_clear(struct revoking *r)
{
	r->name = mem_free(r->name);
	r->role = mem_free(r->role);
	r->host_id = 0;
	r->was_revoked = false;
}

static void revoking_free(void *state)
{
	struct revoking *r = state;

	if (!r)
		return;
	revoking_clear(r);
	mem_free(r);
}

/* A server that is cut off from the others loses its agents to them, and its work: not by mistake. */
static enum err spare_servers(struct store_tx *tx, const struct cert_view *v, struct why *why)
{
	struct server_row *rows = NULL;
	size_t n = 0;
	enum err e;

	if (!str_equal(v->role, "server") || !v->subject_id)
		return ERR_OK;
	e = store_server_list(tx, &rows, &n);
	for (size_t i = 0; i < n; i++) {
		if (!e && str_equal(rows[i].uuid, v->subject_id) && rows[i].state != SERVER_DOWN) {
			why_set(why,
				"certificate %s is management server %s's, which is %s: the others would cut it off. forced=true does it all the same",
				v->serial, rows[i].name, server_state_name(rows[i].state));
			e = ERR_REFUSED;
		}
		server_row_deinit(&rows[i]);
	}
	mem_free(rows);
	return e;
}

static enum err learn(struct store_tx *tx, struct revoking *r, struct why *why)
{
	struct cert_question q = {.serial = r->serial, .states = (1u << CERT_STATES) - 1, .room = 1};
	struct cert_view *views = NULL;
	size_t n = 0, count;
	enum err e = store_cert_views(tx, &q, &views, &n, &count);

	if (!e && n) {
		r->was_revoked = views[0].revoked_ms != 0;
		r->name = STEAL(views[0].common_name);
		r->role = STEAL(views[0].role);
		r->host_id = views[0].host_id;
		if (!r->was_revoked && !r->forced) {
			views[0].role = r->role; /* borrowed */
			e = spare_servers(tx, &views[0], why);
			views[0].role = NULL;
		}
	}
	for (size_t i = 0; i < n; i++)
		cert_view_deinit(&views[i]);
	mem_free(views);
	return e;
}

static enum err revoke_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct revoking *r = container_of(entry, struct revoking, entry);
	enum err e;

	revoking_clear(r);
	e = learn(tx, r, why);
	return e || r->was_revoked
		       ? e
		       : store_cert_revoke_by(tx, r->serial, r->cn ? r->cn : r->name, r->job->row.account, r->reason);
}

static void revoke_ends(struct revoking *r)
{
	json_t *o = json_object();

	api_put_flag(o, "success", true);
	if (r->was_revoked)
		api_put_text(o, "displaytext", "It was revoked before");
	api_job_succeed(r->job, o);
}

static void revoke_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct revoking *r = container_of(entry, struct revoking, entry);
	const char *name = r->cn ? r->cn : r->name;

	if (result) {
		api_job_fail(r->job, API_FAILED, "Not revoked: %s", sentence);
		return;
	}
	if (!r->was_revoked) {
		event_add(s, "CA.CERTIFICATE.REVOKE", "WARN", r->host_id, "%s revoked certificate %s%s%s%s%s",
			  r->job->row.account, r->serial, name && *name ? " of " : "", name ? name : "",
			  r->reason ? ": " : "", r->reason ? r->reason : "");
		api_committed(s);
	}
	revoke_ends(r);
}

static void revoke_work(struct api_job *j)
{
	const char *serial = object_text(j, "serial"), *reason = object_text(j, "reason");
	struct revoking *r = mem_zalloc(sizeof(*r));

	j->state = r;
	j->state_free = revoking_free;
	if (!r) {
		api_job_fail(j, API_FAILED, "out of memory");
		return;
	}
	if (!serial || !cert_serial_normal(r->serial, serial)) {
		api_job_fail(j, API_FAILED, "serial: \"%.64s\" is not a number in hex", serial ? serial : "");
		return;
	}
	if (reason && strlen(reason) > REASON_MAX) {
		api_job_fail(j, API_BAD_PARAM, "reason: more than %d bytes", REASON_MAX);
		return;
	}
	r->job = j;
	r->cn = object_text(j, "cn");
	r->reason = reason;
	r->forced = json_is_true(json_object_get(j->object, "forced"));
	r->entry = (struct entry){.run = revoke_run, .done = revoke_done};
	ledger_add(j->server, &r->entry);
}

/* Shown to people and kept for good. */
static void put_printable(json_t *o, const char *name, const char *text)
{
	CLEAN(mem_freep) char *copy = mem_strdup(text);

	if (copy)
		str_make_printable(copy);
	api_put_text(o, name, copy);
}

static void revoke_certificate(struct api_call *c)
{
	json_t *asked;

	if (is_other_provider(c))
		return;
	asked = json_object();
	put_printable(asked, "serial", api_text(c, "serial"));
	put_printable(asked, "cn", api_text(c, "cn"));
	put_printable(asked, "reason", api_text(c, "reason"));
	api_put_flag(asked, "forced", api_flag(c, "forced"));
	api_job_begin(c, NULL, asked, revoke_work);
}

/* ---- the tables ---- */

/* clang-format off */
static const struct api_param_spec issue_params[] = {
	{"csr", API_STRING, false, "Certificate request, PEM; without one a key is made", ENTITY_NONE, CSR_MAX, false},
	{"domain", API_STRING, false, "Names, with commas; the first becomes the common name", ENTITY_NONE, TEXT_MAX, false},
	{"ipaddress", API_STRING, false, "Addresses, with commas", ENTITY_NONE, TEXT_MAX, false},
	{"duration", API_INTEGER, false, "Days that it is valid; default: ca.framework.cert.validity.period", ENTITY_NONE, 0, false},
	{"provider", API_STRING, false, "Name of the provider, the one in use", ENTITY_NONE, 0, false},
	API_ASYNC_PARAMS,
};
static const struct api_param_spec revoke_params[] = {
	{"serial", API_STRING, true, "Its number, hex; also with colons, leading zeros or 0x", ENTITY_NONE, 0, false},
	{"cn", API_STRING, false, "Its common name, for the record", ENTITY_NONE, 0, false},
	{"reason", API_STRING, false, "Why, for the record", ENTITY_NONE, 0, false},
	{"forced", API_BOOLEAN, false, "Also the one of a management server that is not down", ENTITY_NONE, 0, false},
	{"provider", API_STRING, false, "Name of the provider, the one in use", ENTITY_NONE, 0, false},
	API_ASYNC_PARAMS,
};
static const struct api_field issue_fields[] = {
	{"certificate", "string", "The certificate, PEM"},
	{"privatekey", "string", "Its key, PEM; only where none came with a csr"},
	{"cacertificates", "string", "The CA certificates, PEM"},
	{"musterserial", "string", "Its number, hex"},
	{"musternotafter", "date", "Until when it is valid"},
};
static const struct api_field success_fields[] = {
	{"success", "boolean", "true"},
	{"displaytext", "string", "More about it"},
};
static const struct api_route routes[] = {
	{.name = "issueCertificate", .handle = issue_certificate, .right = RIGHT_ADMIN, .is_async = true,
	 .description = "Issues a certificate of CloudStack's kind, for names and addresses", ROUTE_PARAMS(issue_params), ROUTE_FIELDS(issue_fields)},
	{.name = "revokeCertificate", .handle = revoke_certificate, .right = RIGHT_ADMIN, .is_async = true,
	 .description = "Revokes a certificate: links with it are cut on every server, and nobody is let in with it", ROUTE_PARAMS(revoke_params), ROUTE_FIELDS(success_fields)},
};
/* clang-format on */
const struct api_routes api_cert_change_routes = {routes, ARRAY_SIZE(routes)};
