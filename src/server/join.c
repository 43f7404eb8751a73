/*
 * Joining, the server's side (decisions 5 and 8): one request on a muster-join/1 link, one answer.
 *
 *   1. the request is looked at (ca/join_request.c); an address whose joins keep failing gets no further;
 *   2. the token is judged, without using it up: nobody makes us verify or sign anything for a wrong secret;
 *   3. the certificate request is verified and the certificate signed, off the loop;
 *   4. in one transaction: the token is judged again and used, the host found or made, what a host that joins again had
 *      before is revoked, the certificate recorded;
 *   5. the answer carries certificate, CA, and the host's own list: its first startup finds it current.
 *
 * A crash before 4 has used nothing up; after 4 the certificate exists and `muster host rejoin` gives a new token.
 * Two servers that get the last use of one token at once both come as far as 4, and the store lets one of them through.
 */
#include "server/rotation.h"

#include <string.h>

#define PORT_DEFAULT 8250
#define STRAYS_MAX 4096 /* addresses remembered */
#define FAILURES_AT_ONCE 10
#define FAILURE_MS 6000 /* then one in this time: ten a minute */

struct joining {
	struct entry entry;
	struct work work;
	struct list in_joinings; /* s->joinings */
	struct session *session; /* NULL: the link has ended */
	struct server *server;
	struct header header;
	char ip[IP_TEXT];
	struct join_request q;
	/* on the way */
	bool use;               /* false: step 2, true: step 4 */
	char id[GUID_MAX];      /* guid of the agent, uuid of the server */
	struct ca_provider *ca; /* owned with others */
	struct ca_request request;
	struct ca_issued issued;
	char *signer;  /* the CA that signs, owned; NULL: an external one */
	char *trusted; /* the CA certificates that it will trust; owned */
	char trusted_hash[FINGERPRINT_TEXT];
	struct cert_row cert;
	struct host_row host;
	bool made;        /* the host is new */
	char *bound_zone; /* of the token; owned, NULL: none */
	size_t n_revoked;
	char uuid[UUID_TEXT], place_uuids[3][UUID_TEXT];
	enum join_refusal refusal;
	enum err result;
	struct why why;
};

static void joining_free(struct joining *j)
{
	list_remove(&j->in_joinings);
	if (j->session)
		j->session->joining = NULL;
	join_request_deinit(&j->q);
	ca_provider_free(j->ca);
	ca_issued_deinit(&j->issued);
	mem_free(j->signer);
	mem_free(j->trusted);
	cert_row_deinit(&j->cert);
	host_row_deinit(&j->host);
	mem_free(j->bound_zone);
	mem_free(j);
}

void join_abandon(struct session *x)
{
	if (x->joining)
		x->joining->session = NULL;
	x->joining = NULL;
}

void join_init(struct server *s)
{
	list_init(&s->joinings);
	/* Its key is as good as one of its own. */
	strays_init(&s->join_strays, s->addresses.key, STRAYS_MAX, FAILURES_AT_ONCE, FAILURE_MS);
}

/* What a stopped world still holds on WORK_CRYPTO; what waits in the ledger has ended before. */
void join_deinit(struct server *s)
{
	list_for (j, &s->joinings, struct joining, in_joinings)
		joining_free(j);
	strays_deinit(&s->join_strays);
}

/* ---- the answer ---- */

static enum err send_answer(struct session *x, const struct header *h, struct batch *b)
{
	struct header answer = header_answer(h);

	answer.mgmt_id = x->server->msid;
	answer.via = -1;
	return x->link ? link_send_batch(x->link, &answer, b) : ERR_CLOSED;
}

/* In the counters, held against the address, and in the events. */
static void count(struct server *s, const char *ip, const char *name, enum join_refusal refusal, const char *sentence)
{
	s->n_joins_refused[refusal]++;
	/* Who has to wait has failed often enough; it must come to an end. */
	if (join_refusal_is_theirs(refusal) && refusal != JOIN_TOO_MANY)
		strays_failed(&s->join_strays, ip, world_now(s->world));
	event_refused(s, "JOIN.REFUSED", ip, "join of %s from %s refused, %s: %s", name ? name : "?", ip,
		      join_refusal_name(refusal), sentence);
}

static void refuse(struct joining *j, enum join_refusal refusal, enum err why, const char *sentence)
{
	struct session *x = j->session;
	struct batch b = {0};
	struct msg_join_answer *a = batch_add(&b, MSG_JOIN_ANSWER);

	count(j->server, j->ip, j->q.name, refusal, sentence);
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

void join_malformed(struct session *x, const char *sentence)
{
	count(x->server, link_peer_ip(x->link), NULL, JOIN_MALFORMED, sentence);
	session_end(x, ERR_MALFORMED, sentence, EVENT_N);
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

static const char *place_name(const struct server *s, enum place_kind kind, int64_t id)
{
	for (size_t i = 0; i < s->n_places; i++)
		if (s->places[i].kind == kind && s->places[i].id == id)
			return s->places[i].name;
	return NULL;
}

/* Where it belongs: its startups have to say the same. Of a new host we may not have read the store again yet. */
static enum err put_place(struct joining *j, struct msg_join_answer *a)
{
	const struct server *s = j->server;
	const struct {
		msg_text *to;
		const char *name;
	} rows[] = {
		{&a->zone, j->made && j->bound_zone ? j->bound_zone
			   : j->made                ? j->q.zone
						    : place_name(s, PLACE_ZONE, j->host.zone_id)},
		{&a->pod, j->made ? j->q.pod : place_name(s, PLACE_POD, j->host.pod_id)},
		{&a->cluster, j->made ? j->q.cluster : place_name(s, PLACE_CLUSTER, j->host.cluster_id)},
	};
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < ARRAY_SIZE(rows); i++)
		e = msg_set_text(rows[i].to, rows[i].name);
	return e;
}

static enum err put_answer(struct joining *j, struct msg_join_answer *a)
{
	enum err e = msg_set_text(&a->certificate, j->issued.certificate);

	if (!e)
		e = msg_set_text(&a->caCertificates, j->trusted);
	if (!e)
		e = msg_set_text(&a->guid, j->id);
	msg_set_i64(&a->port, j->server->p.port ? j->server->p.port : PORT_DEFAULT);
	if (!e && j->q.role == CERT_ROLE_AGENT) {
		msg_set_i64(&a->hostId, j->host.id);
		e = msg_set_text(&a->hostUuid, j->host.uuid);
		if (!e)
			e = put_place(j, a);
		if (!e)
			e = put_lists(j, a);
	}
	if (!e && j->q.role == CERT_ROLE_SERVER)
		e = put_cluster_key(j, a);
	return e;
}

static void tell_of_it(struct joining *j)
{
	struct server *s = j->server;

	s->n_joined++;
	s->n_issued[j->q.role == CERT_ROLE_SERVER ? ISSUED_SERVER_JOIN : ISSUED_AGENT_JOIN]++;
	if (j->q.role == CERT_ROLE_SERVER)
		event_add(s, "MS.JOIN", "INFO", 0, "%s joined from %s with token %s and got certificate %s", j->q.name,
			  j->ip, j->q.token_id, j->cert.serial);
	else if (j->made)
		event_add(s, "HOST.JOIN", "INFO", j->host.id, "%s joined from %s with token %s and got certificate %s",
			  j->q.name, j->ip, j->q.token_id, j->cert.serial);
	else
		event_add(s, "HOST.JOIN", "INFO", j->host.id,
			  "%s joined from %s as %s with token %s and got certificate %s; certificates revoked: %zu",
			  j->q.name, j->ip, j->host.name, j->q.token_id, j->cert.serial, j->n_revoked);
}

static void accept_join(struct joining *j)
{
	struct session *x = j->session;
	struct batch b = {0};
	struct msg_join_answer *a = batch_add(&b, MSG_JOIN_ANSWER);
	enum err e = a ? put_answer(j, a) : ERR_NOMEM;

	tell_of_it(j);
	if (x) {
		if (!e)
			e = send_answer(x, &j->header, &b);
		session_end(x, ERR_CLOSED, e ? "the join answer could not be sent" : "joined", EVENT_N);
	}
	if (a && a->clusterKey)
		mem_wipe(a->clusterKey, strlen(a->clusterKey));
	batch_deinit(&b);
	joining_free(j);
}

/* ---- 2 and 4: the token, in the store ---- */

static enum err find_places(struct store_tx *tx, struct joining *j)
{
	const char *zone = j->bound_zone ? j->bound_zone : j->q.zone;
	enum err e = store_place_find_or_make(tx, PLACE_ZONE, 0, zone, j->place_uuids[0], &j->host.zone_id);

	if (!e)
		e = store_place_find_or_make(tx, PLACE_POD, j->host.zone_id, j->q.pod, j->place_uuids[1],
					     &j->host.pod_id);
	if (!e)
		e = store_place_find_or_make(tx, PLACE_CLUSTER, j->host.pod_id, j->q.cluster, j->place_uuids[2],
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
	row->name = mem_strdup(j->q.name);
	row->type = mem_strdup("Routing");
	row->resource_name = mem_strdup(j->q.resource_name);
	row->hypervisor = mem_strdup("KVM");
	row->version = mem_strdup("");
	row->arch = mem_strdup("");
	row->private_ip = mem_strdup("");
	row->capabilities = mem_strdup("");
	row->bound_key = mem_strdup("uri");
	row->bound_zone = j->bound_zone ? row->zone_id : 0;
	row->is_muster = true;
	row->ms_interval = -1;
	row->status = HOST_CREATING;
	row->resource_state = RESOURCE_ENABLED;
	if (!row->guid || !row->name || !row->type || !row->resource_name || !row->hypervisor || !row->version ||
	    !row->arch || !row->private_ip || !row->capabilities || !row->bound_key)
		return ERR_NOMEM;
	j->made = true;
	return store_host_create(tx, row);
}

/* The machine was lost or installed again: whoever has its old key is not that host any more. */
static enum err revoke_old(struct store_tx *tx, struct joining *j, const struct token_row *t)
{
	size_t others = 0;
	enum err e = t->keeps_certificates ? ERR_OK : store_cert_revoke_subject(tx, "agent", j->id, &j->n_revoked);

	/* Those of CloudStack's kind, too. */
	if (!e && !t->keeps_certificates)
		e = store_cert_revoke_subject(tx, "other", j->id, &others);
	j->n_revoked += others;
	/* The one it came with last may be from before our records: a CloudStack agent's, say. */
	if (!e && !t->keeps_certificates && j->host.cert_serial)
		e = store_cert_revoke_by(tx, j->host.cert_serial, j->host.name, t->id, "joined again");
	return e;
}

/* The host of an agent: the one that the token is for, or a new one. */
static enum err host_for_join(struct store_tx *tx, struct joining *j, const struct token_row *t, struct why *why)
{
	enum err e = store_host_by_guid(tx, j->id, &j->host);

	if (e == ERR_NOT_FOUND && t->bound_guid) {
		j->refusal = JOIN_HOST_GONE;
		why_set(why, "the host that the token is for was removed");
		return join_refusal_err(j->refusal);
	}
	if (e == ERR_NOT_FOUND)
		return j->use ? make_host(tx, j) : ERR_OK;
	if (e)
		return e;
	if (t->bound_guid)
		return j->use ? revoke_old(tx, j, t) : ERR_OK;
	j->refusal = JOIN_GUID_EXISTS;
	why_set(why, "there is a host with guid %s already (%s): `muster host rejoin %s` gives a token for it", j->id,
		j->host.name, j->host.name);
	return join_refusal_err(j->refusal);
}

/* Nobody becomes a server that there is. */
static enum err server_for_join(struct store_tx *tx, struct joining *j, struct why *why)
{
	struct server_row *rows = NULL;
	size_t n = 0;
	enum err e = store_server_list(tx, &rows, &n);

	for (size_t i = 0; i < n; i++) {
		if (!e && str_equal(rows[i].uuid, j->id)) {
			j->refusal = JOIN_GUID_EXISTS;
			why_set(why, "there is a management server with the uuid %s already", j->id);
			e = join_refusal_err(j->refusal);
		}
		server_row_deinit(&rows[i]);
	}
	mem_free(rows);
	return e;
}

/* `t` gets what the store has of it. */
static enum err judge_token(struct store_tx *tx, struct joining *j, struct token_row *t, int64_t wall_s,
			    struct why *why)
{
	enum err e = store_token_get(tx, j->q.token_id, t);
	struct token_record record = {
		.expires_s = t->expires_ms / 1000,
		.uses_left = t->uses_left,
		.revoked = t->revoked,
		.role = str_equal(t->role, "server") ? CERT_ROLE_SERVER : CERT_ROLE_AGENT,
		.bound_name = t->bound_name,
		.bound_guid = t->bound_guid,
		.bound_zone = t->bound_zone,
	};

	if (e && e != ERR_NOT_FOUND)
		return e;
	str_copy(record.hash, sizeof(record.hash), t->hash ? t->hash : "");
	j->refusal = token_check(e ? NULL : &record, &j->q, wall_s, why);
	return join_refusal_err(j->refusal);
}

static enum err take_token(struct joining *j, const struct token_row *t)
{
	if (t->bound_guid && !str_copy(j->id, sizeof(j->id), t->bound_guid))
		return ERR_INVALID;
	mem_free(j->bound_zone);
	j->bound_zone = mem_strdup(t->bound_zone);
	return t->bound_zone && !j->bound_zone ? ERR_NOMEM : ERR_OK;
}

/* Nobody has seen it with its certificate yet, but it has it: a rotation has to wait for it accordingly. */
static enum err record(struct store_tx *tx, struct joining *j, struct why *why)
{
	enum err e = rotation_still_signs(tx, j->signer, why);

	if (!e)
		e = store_cert_add(tx, &j->cert);
	if (e || j->q.role != CERT_ROLE_AGENT)
		return e;
	e = store_host_ca_known(tx, j->host.id, j->trusted_hash);
	return e ? e : store_host_cert_issuer(tx, j->host.id, j->cert.issuer);
}

/* May run again after an undone group. */
static enum err token_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct joining *j = container_of(entry, struct joining, entry);
	int64_t wall_s = world_wall_ms(entry->server->world) / 1000;
	struct token_row t = {0};
	enum err e;

	host_row_deinit(&j->host);
	j->host = (struct host_row){0};
	j->made = false;
	j->n_revoked = 0;
	e = judge_token(tx, j, &t, wall_s, why);
	if (!e)
		e = take_token(j, &t);
	if (!e)
		e = j->q.role == CERT_ROLE_AGENT ? host_for_join(tx, j, &t, why) : server_for_join(tx, j, why);
	if (!e && j->use)
		e = store_token_use(tx, j->q.token_id);
	if (!e && j->use)
		e = record(tx, j, why);
	token_row_deinit(&t);
	return e;
}

static void issue_run(struct work *work)
{
	struct joining *j = container_of(work, struct joining, work);

	j->refusal = join_request_check_csr(&j->q, &j->why);
	j->result = join_refusal_err(j->refusal);
	if (j->refusal)
		return;
	j->result = ca_issue(j->ca, &j->issued, &j->request, &j->why);
	if (!j->result)
		j->result = authority_cert_row(j->issued.certificate, &j->cert);
	j->refusal = j->result ? JOIN_CANNOT_ISSUE : JOIN_YES;
}

static void issue_done(struct work *work)
{
	struct joining *j = container_of(work, struct joining, work);
	struct server *s = j->server;

	if (j->refusal) {
		refuse(j, j->refusal, j->result, why_text(&j->why, j->result));
	} else if (!j->session) {
		/* Nobody would get the certificate: the token is not used up for it. */
		log_info(s->log, "a machine that wanted to join has gone", KV_S("peer", j->ip),
			 KV_S("name", j->q.name));
		joining_free(j);
	} else {
		j->use = true;
		ledger_add(s, &j->entry);
		return;
	}
	server_gone_if_idle(s);
}

static void issue(struct joining *j)
{
	struct server *s = j->server;

	j->request = (struct ca_request){
		.csr_pem = j->q.csr,
		.common_name = j->q.name,
		.role = j->q.role,
		.id = j->id,
		/* A machine without identity had to make up a guid before it heard of the token's. */
		.csr_id = j->q.guid_is_fixed ? NULL : j->q.guid,
		.ips = &j->q.ips,
		.dns = &j->q.dns,
		.validity_s = config_number(s, "ca.framework.cert.validity.period", 0) * 24 * 3600,
		.wall_s = world_wall_ms(s->world) / 1000,
	};
	world_entropy(s->world, j->request.serial, sizeof(j->request.serial));
	/* The CA of this moment, and what is trusted now: a rotation may go on meanwhile. */
	j->ca = ca_provider_ref(s->ca);
	j->trusted = mem_strdup(s->ca_chain);
	j->signer = mem_strdup(s->rotation.issuing_cert);
	if (!j->trusted || (s->rotation.issuing_cert && !j->signer)) {
		refuse(j, JOIN_FAILED, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	sha256_hex(j->trusted_hash, j->trusted, strlen(j->trusted));
	j->work = (struct work){.run = issue_run, .done = issue_done, .cost_us = 800};
	world_work(s->world, authority_lane(s), &j->work);
}

static void token_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct joining *j = container_of(entry, struct joining, entry);

	/* When the whole group failed, what was found out in it doesn't count. */
	if (result == ERR_CONFLICT && j->use)
		result = ERR_BUSY; /* who joins asks again, here or elsewhere */
	if (result) {
		refuse(j, j->refusal && result == join_refusal_err(j->refusal) ? j->refusal : JOIN_FAILED, result,
		       sentence);
	} else if (j->use) {
		follow_now(s);
		accept_join(j);
	} else {
		issue(j);
	}
}

/* ---- 1: the request ---- */

static enum join_refusal can_issue(const struct joining *j, struct why *why)
{
	struct server *s = j->server;

	if (!s->ca->ops->can_issue(s->ca)) {
		why_set(why, "this server cannot issue certificates, ask another one: %s", s->ca->ops->cannot);
		return JOIN_CANNOT_ISSUE;
	}
	if (j->q.role == CERT_ROLE_SERVER && !s->p.cluster_key) {
		why_set(why, "this server has no cluster key to hand on, ask another one");
		return JOIN_CANNOT_ISSUE;
	}
	return JOIN_YES;
}

struct join_said join_said_of(const struct msg_join *m, const char *peer_ip)
{
	return (struct join_said){
		.token_id = m->tokenId,
		.token_secret = m->tokenSecret,
		.role = m->role,
		.csr = m->csr,
		.guid = m->guid,
		.name = m->name,
		.resource_name = m->resourceName,
		.zone = m->zone,
		.pod = m->pod,
		.cluster = m->cluster,
		.addresses = m->addresses.has ? &m->addresses.list : NULL,
		.guid_is_fixed = m->guidIsFixed.has && m->guidIsFixed.value,
		.rejoins = m->rejoins.has && m->rejoins.value,
		.peer_ip = peer_ip,
	};
}

static enum join_refusal take_request(struct joining *j, const struct msg_join *m, struct why *why)
{
	const struct join_said said = join_said_of(m, j->ip);
	enum join_refusal r;

	if (strays_is_over(&j->server->join_strays, j->ip, world_now(j->server->world))) {
		why_set(why, "too many failed joins from this address: wait a minute");
		return JOIN_TOO_MANY;
	}
	r = join_request_take(&j->q, &said, why);
	if (r)
		return r;
	str_copy(j->id, sizeof(j->id), j->q.guid);
	return can_issue(j, why);
}

static struct joining *joining_new(struct session *x, const struct header *h)
{
	struct server *s = x->server;
	struct joining *j = mem_zalloc(sizeof(*j));

	if (!j)
		return NULL;
	j->server = s;
	j->session = x;
	j->header = *h;
	str_copy(j->ip, sizeof(j->ip), link_peer_ip(x->link));
	j->entry.run = token_run;
	j->entry.done = token_done;
	x->joining = j;
	list_append(&s->joinings, &j->in_joinings);
	world_uuid(s->world, j->uuid);
	for (size_t i = 0; i < ARRAY_SIZE(j->place_uuids); i++)
		world_uuid(s->world, j->place_uuids[i]);
	return j;
}

void join_message(struct session *x, const struct header *h, struct batch *b)
{
	/* The batch is ours to change. */
	struct msg_join *m = (struct msg_join *)(uintptr_t)batch_find(b, MSG_JOIN);
	struct why why = WHY_NONE;
	enum join_refusal r;
	struct joining *j;

	if (!m || x->joining || !(h->flags & FLAG_REQUEST)) {
		join_malformed(x, "not a join request");
		return;
	}
	j = joining_new(x, h);
	if (!j) {
		session_end(x, ERR_NOMEM, "out of memory", EVENT_N);
		return;
	}
	r = take_request(j, m, &why);
	if (m->tokenSecret)
		mem_wipe(m->tokenSecret, strlen(m->tokenSecret));
	if (r)
		refuse(j, r, join_refusal_err(r), why_text(&why, join_refusal_err(r)));
	else
		ledger_add(x->server, &j->entry);
}
