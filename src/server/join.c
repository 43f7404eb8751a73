/*
 * Joining, the server's side (decisions 5 and 8): one request on a muster-join/1 link, one answer.
 *
 *   1. the request is looked at (CSR well formed and self-signed, names harmless), off the loop;
 *   2. the token is judged, without using it up: nobody makes us sign for a wrong secret;
 *   3. the certificate is signed, off the loop;
 *   4. in one transaction: the token is judged again and used, the host found or made, the certificate recorded;
 *   5. the answer carries certificate, CA, and the host's own list: its first startup finds it current.
 *
 * A crash before 4 has used nothing up; after 4 the certificate exists and `muster host rejoin` gives a new token.
 */
#include "server/internal.h"

#include <string.h>

#define PORT_DEFAULT 8250

struct joining {
	struct entry entry;
	struct work work;
	struct list in_joinings; /* s->joinings */
	struct session *session; /* NULL: the link has ended */
	struct server *server;
	struct header header;
	/* what was asked for; owned */
	char *token_id, *token_secret, *csr, *guid, *name, *resource_name, *zone, *pod, *cluster;
	enum cert_role role;
	struct str_list ips, dns;
	/* on the way */
	bool use;               /* false: step 2, true: step 4 */
	char id[GUID_MAX];      /* guid of the agent, uuid of the server */
	struct ca_provider *ca; /* owned with others */
	struct ca_request request;
	struct ca_issued issued;
	char *trusted; /* the CA certificates that it will trust; owned */
	char trusted_hash[FINGERPRINT_TEXT];
	struct cert_row cert;
	struct host_row host;
	char uuid[UUID_TEXT], place_uuids[3][UUID_TEXT];
	enum err result;
	struct why why;
};

static void joining_free(struct joining *j)
{
	list_remove(&j->in_joinings);
	if (j->session)
		j->session->joining = NULL;
	mem_free(j->token_id);
	if (j->token_secret)
		mem_wipe(j->token_secret, strlen(j->token_secret));
	mem_free(j->token_secret);
	mem_free(j->csr);
	mem_free(j->guid);
	mem_free(j->name);
	mem_free(j->resource_name);
	mem_free(j->zone);
	mem_free(j->pod);
	mem_free(j->cluster);
	str_list_deinit(&j->ips);
	str_list_deinit(&j->dns);
	ca_provider_free(j->ca);
	ca_issued_deinit(&j->issued);
	mem_free(j->trusted);
	cert_row_deinit(&j->cert);
	host_row_deinit(&j->host);
	mem_free(j);
}

void join_abandon(struct session *x)
{
	if (x->joining)
		x->joining->session = NULL;
	x->joining = NULL;
}

/* What a stopped world still holds on WORK_CRYPTO; what waits in the ledger has ended before. */
void join_deinit(struct server *s)
{
	list_for (j, &s->joinings, struct joining, in_joinings)
		joining_free(j);
}

/* ---- the answer ---- */

static enum err send_answer(struct session *x, const struct header *h, struct batch *b)
{
	struct header answer = header_answer(h);

	answer.mgmt_id = x->server->msid;
	answer.via = -1;
	return x->link ? link_send_batch(x->link, &answer, b) : ERR_CLOSED;
}

static void refuse(struct joining *j, enum err why, const char *sentence)
{
	struct session *x = j->session;
	struct batch b = {0};
	struct msg_join_answer *a = batch_add(&b, MSG_JOIN_ANSWER);

	event_add_refusal(j->server, "JOIN.REFUSED", "join of %s refused: %s", j->name ? j->name : "?", sentence);
	if (x) {
		if (a && msg_set_text(&a->error, err_name(why)) == ERR_OK &&
		    msg_set_text(&a->details, sentence) == ERR_OK) {
			msg_set_bool(&a->result, false);
			if (send_answer(x, &j->header, &b))
				log_debug(j->server->log, "a refusal could not be sent");
		}
		session_end(x, ERR_REFUSED, sentence, EVENT_N);
	}
	batch_deinit(&b);
	joining_free(j);
}

static enum err put_lists(struct joining *j, struct msg_join_answer *a)
{
	struct server *s = j->server;
	struct str_list list = {0};
	enum err e = lists_for_host(s, &j->host, &list);

	if (!e)
		e = msg_set_texts(&a->msHostList, &list);
	if (!e)
		e = msg_set_text(&a->lbAlgorithm, algorithm_name(lists_algorithm(s)));
	msg_set_i64(&a->lbCheckInterval, lists_interval(s, j->host.cluster_id));
	str_list_deinit(&list);
	return e;
}

static enum err put_cluster_key(struct joining *j, struct msg_join_answer *a)
{
	if (!j->server->p.cluster_key)
		return ERR_OK;
	a->clusterKey = base64url_encode(j->server->p.cluster_key, CLUSTER_KEY_SIZE);
	return a->clusterKey ? ERR_OK : ERR_NOMEM;
}

static enum err put_answer(struct joining *j, struct msg_join_answer *a)
{
	enum err e = msg_set_text(&a->certificate, j->issued.certificate);

	if (!e)
		e = msg_set_text(&a->caCertificates, j->trusted);
	if (!e)
		e = msg_set_text(&a->guid, j->id);
	msg_set_i64(&a->port, j->server->p.port ? j->server->p.port : PORT_DEFAULT);
	if (!e && j->role == CERT_ROLE_AGENT) {
		msg_set_i64(&a->hostId, j->host.id);
		e = msg_set_text(&a->hostUuid, j->host.uuid);
		if (!e)
			e = put_lists(j, a);
	}
	if (!e && j->role == CERT_ROLE_SERVER)
		e = put_cluster_key(j, a);
	return e;
}

static void accept_join(struct joining *j)
{
	struct session *x = j->session;
	struct batch b = {0};
	struct msg_join_answer *a = batch_add(&b, MSG_JOIN_ANSWER);
	enum err e = a ? put_answer(j, a) : ERR_NOMEM;

	event_add(j->server, j->role == CERT_ROLE_SERVER ? "MS.JOIN" : "HOST.JOIN", "INFO", j->host.id,
		  "%s joined with token %s and got certificate %s", j->name, j->token_id, j->cert.serial);
	if (x) {
		if (!e)
			e = send_answer(x, &j->header, &b);
		session_end(x, ERR_CLOSED, e ? "the join answer could not be sent" : "joined", EVENT_N);
	}
	batch_deinit(&b);
	joining_free(j);
}

/* ---- 2 and 4: the token, in the store ---- */

static enum err find_places(struct store_tx *tx, struct joining *j)
{
	enum err e = store_place_find_or_make(tx, PLACE_ZONE, 0, j->zone, j->place_uuids[0], &j->host.zone_id);

	if (!e)
		e = store_place_find_or_make(tx, PLACE_POD, j->host.zone_id, j->pod, j->place_uuids[1],
					     &j->host.pod_id);
	if (!e)
		e = store_place_find_or_make(tx, PLACE_CLUSTER, j->host.pod_id, j->cluster, j->place_uuids[2],
					     &j->host.cluster_id);
	return e;
}

static enum err make_host(struct store_tx *tx, struct joining *j)
{
	struct host_row *row = &j->host;
	enum err e = find_places(tx, j);

	if (e)
		return e;
	memcpy(row->uuid, j->uuid, sizeof(j->uuid));
	row->guid = mem_strdup(j->id);
	row->name = mem_strdup(j->name);
	row->type = mem_strdup("Routing");
	row->resource_name = mem_strdup(j->resource_name);
	row->hypervisor = mem_strdup("KVM");
	row->version = mem_strdup("");
	row->arch = mem_strdup("");
	row->private_ip = mem_strdup("");
	row->capabilities = mem_strdup("");
	row->bound_key = mem_strdup("uri");
	row->is_muster = true;
	row->ms_interval = -1;
	row->status = HOST_CREATING;
	row->resource_state = RESOURCE_ENABLED;
	if (!row->guid || !row->name || !row->type || !row->resource_name || !row->hypervisor || !row->version ||
	    !row->arch || !row->private_ip || !row->capabilities || !row->bound_key)
		return ERR_NOMEM;
	return store_host_create(tx, row);
}

/* The host of an agent: reserved by the token, known and free to take, or new. */
static enum err host_for_join(struct store_tx *tx, struct joining *j, const struct token_row *t, struct why *why)
{
	enum err e = store_host_by_guid(tx, j->id, &j->host);

	if (e == ERR_NOT_FOUND)
		return j->use ? make_host(tx, j) : ERR_OK;
	if (e)
		return e;
	if (t->bound_guid || !j->host.bound_key)
		return ERR_OK;
	why_set(why, "a host with guid %s has a certificate already; `muster host rejoin %s` gives a token for it",
		j->id, j->host.name);
	return ERR_EXISTS;
}

static enum err token_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct joining *j = container_of(entry, struct joining, entry);
	struct token_row t = {0};
	struct token_record record = {0};
	enum err e;

	host_row_deinit(&j->host);
	j->host = (struct host_row){0};
	e = store_token_get(tx, j->token_id, &t);
	if (e == ERR_NOT_FOUND) {
		why_set(why, "no such token: it was never made here, or has been cleared away");
		e = ERR_REFUSED;
	}
	if (!e) {
		record.expires_s = t.expires_ms / 1000;
		record.uses_left = t.uses_left;
		record.revoked = t.revoked;
		record.role = str_equal(t.role, "server") ? CERT_ROLE_SERVER : CERT_ROLE_AGENT;
		record.bound_name = t.bound_name;
		record.bound_guid = NULL; /* the token decides the guid, below */
		str_copy(record.hash, sizeof(record.hash), t.hash);
		e = token_check(&record, j->token_id, j->token_secret, j->role, j->name, j->guid,
				world_wall_ms(entry->server->world) / 1000, why);
	}
	if (!e && j->role == CERT_ROLE_AGENT) {
		if (t.bound_guid && !str_copy(j->id, sizeof(j->id), t.bound_guid))
			e = ERR_INVALID;
		if (!e)
			e = host_for_join(tx, j, &t, why);
	}
	if (!e && j->use)
		e = store_token_use(tx, j->token_id);
	if (!e && j->use)
		e = store_cert_add(tx, &j->cert);
	if (!e && j->use && j->role == CERT_ROLE_AGENT)
		e = store_host_ca_known(tx, j->host.id, j->trusted_hash);
	token_row_deinit(&t);
	return e;
}

static void issue_run(struct work *work)
{
	struct joining *j = container_of(work, struct joining, work);

	j->result = ca_issue(j->ca, &j->issued, &j->request, &j->why);
	if (!j->result)
		j->result = authority_cert_row(j->issued.certificate, &j->cert);
}

static void issue_done(struct work *work)
{
	struct joining *j = container_of(work, struct joining, work);
	struct server *s = j->server;

	if (j->result) {
		refuse(j, j->result, why_text(&j->why, j->result));
		server_gone_if_idle(s);
		return;
	}
	j->use = true;
	ledger_add(j->server, &j->entry);
}

static void token_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct joining *j = container_of(entry, struct joining, entry);

	if (result) {
		refuse(j, result, sentence);
		return;
	}
	if (j->use) {
		follow_now(s);
		accept_join(j);
		return;
	}
	j->request = (struct ca_request){
		.csr_pem = j->csr,
		.common_name = j->name,
		.role = j->role,
		.id = j->id,
		.ips = &j->ips,
		.dns = &j->dns,
		.validity_s = config_number(s, "ca.framework.cert.validity.period", 0) * 24 * 3600,
		.wall_s = world_wall_ms(s->world) / 1000,
	};
	world_entropy(s->world, j->request.serial, sizeof(j->request.serial));
	j->ca = ca_provider_ref(s->ca);
	j->trusted = mem_strdup(s->ca_chain);
	if (!j->trusted) {
		refuse(j, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	sha256_hex(j->trusted_hash, j->trusted, strlen(j->trusted));
	j->work = (struct work){.run = issue_run, .done = issue_done, .cost_us = 600};
	world_work(s->world, authority_lane(s), &j->work);
}

/* ---- 1: the request ---- */

static void csr_run(struct work *work)
{
	struct joining *j = container_of(work, struct joining, work);
	struct csr_info info = {0};

	j->result = csr_info_parse(&info, j->csr, &j->why);
	if (!j->result && info.wants_ca) {
		why_set(&j->why, "the request asks for a CA certificate");
		j->result = ERR_REFUSED;
	}
	csr_info_deinit(&info);
}

static void csr_done(struct work *work)
{
	struct joining *j = container_of(work, struct joining, work);
	struct server *s = j->server;

	if (j->result)
		refuse(j, j->result, why_text(&j->why, j->result));
	else
		ledger_add(s, &j->entry);
	server_gone_if_idle(s);
}

static bool is_name(const char *s, size_t most)
{
	size_t n = s ? strlen(s) : 0;

	if (n == 0 || n > most)
		return false;
	for (const char *c = s; *c; c++)
		if ((unsigned char)*c <= 0x20 || *c == 0x7f || *c == '/' || *c == '\\' || *c == ',')
			return false;
	return true;
}

static enum err take(char **field, const char *value, const char *fallback)
{
	*field = mem_strdup(str_is_blank(value) ? fallback : value);
	return *field || !fallback ? ERR_OK : ERR_NOMEM;
}

/* Addresses that the joiner says are its own, and the one that we see. */
static enum err take_addresses(struct joining *j, struct session *x, const struct msg_join *m)
{
	enum err e = str_list_add(&j->ips, link_peer_ip(x->link));

	for (size_t i = 0; !e && i < m->addresses.list.n && i < 64; i++) {
		struct server_address a;
		const char *text = m->addresses.list.items[i];

		if (server_address_parse(&a, text, NULL) || a.port)
			continue;
		if (strchr(a.host, ':') || strspn(a.host, "0123456789.") == strlen(a.host)) {
			if (!str_list_has(&j->ips, a.host))
				e = str_list_add(&j->ips, a.host);
		} else if (!str_list_has(&j->dns, a.host)) {
			e = str_list_add(&j->dns, a.host);
		}
	}
	if (!e && is_name(j->name, 253) && !str_list_has(&j->dns, j->name))
		e = str_list_add(&j->dns, j->name);
	return e;
}

static enum err take_request(struct joining *j, struct session *x, const struct msg_join *m, struct why *why)
{
	enum err e = ERR_OK;

	if (str_is_blank(m->tokenId) || str_is_blank(m->tokenSecret) || str_is_blank(m->csr)) {
		why_set(why, "a join request without token or certificate request");
		return ERR_MALFORMED;
	}
	if (!is_name(m->name, 253)) {
		why_set(why, "the name of the joining machine can't be used");
		return ERR_INVALID;
	}
	if (!is_name(m->guid, GUID_MAX - 1)) {
		why_set(why, "the guid of the joining machine can't be used");
		return ERR_INVALID;
	}
	j->role = str_equal(m->role, "server") ? CERT_ROLE_SERVER : CERT_ROLE_AGENT;
	if (take(&j->token_id, m->tokenId, "") || take(&j->token_secret, m->tokenSecret, "") ||
	    take(&j->csr, m->csr, "") || take(&j->guid, m->guid, "") || take(&j->name, m->name, "") ||
	    take(&j->resource_name, m->resourceName, "LibvirtComputingResource") ||
	    take(&j->zone, m->zone, "default") || take(&j->pod, m->pod, "default") ||
	    take(&j->cluster, m->cluster, "default"))
		return ERR_NOMEM;
	str_copy(j->id, sizeof(j->id), m->guid);
	e = take_addresses(j, x, m);
	if (!e && !j->server->ca->ops->can_issue(j->server->ca)) {
		why_set(why, "this server cannot issue certificates, ask another one: %s", j->server->ca->ops->cannot);
		e = ERR_REFUSED;
	}
	return e;
}

void join_message(struct session *x, const struct header *h, struct batch *b)
{
	struct server *s = x->server;
	const struct msg_join *m = batch_find(b, MSG_JOIN);
	struct joining *j;
	struct why why = WHY_NONE;
	enum err e;

	if (!m || x->joining || !(h->flags & FLAG_REQUEST)) {
		session_end(x, ERR_MALFORMED, "not a join request", EVENT_N);
		return;
	}
	j = mem_zalloc(sizeof(*j));
	if (!j) {
		session_end(x, ERR_NOMEM, "out of memory", EVENT_N);
		return;
	}
	j->server = s;
	j->session = x;
	j->header = *h;
	j->entry.run = token_run;
	j->entry.done = token_done;
	x->joining = j;
	list_append(&s->joinings, &j->in_joinings);
	world_uuid(s->world, j->uuid);
	for (size_t i = 0; i < ARRAY_SIZE(j->place_uuids); i++)
		world_uuid(s->world, j->place_uuids[i]);
	e = take_request(j, x, m, &why);
	if (e) {
		refuse(j, e, why_text(&why, e));
		return;
	}
	j->work = (struct work){.run = csr_run, .done = csr_done, .cost_us = 200};
	world_work(s->world, WORK_CRYPTO, &j->work);
}
