/*
 * What every metric is: one function a group of metrics.def, in the same order. Nothing here walks hosts; what is a
 * property of hosts has been counted (metrics.c).
 *
 * Values that are known beforehand are there from the start, as 0: a counter that appears with its first event has no
 * increase that an alert could see.
 */
#include "server/metrics.h"

#include "server/draining.h"
#include "server/provision.h"
#include "server/rotation.h"

#define VALUES(...) ((const char *const[]){__VA_ARGS__})

static void begin(struct metric_writer *w, enum metric_id id)
{
	metric_begin(w, &metrics_all[id]);
}

static void put(struct metric_writer *w, const char *const *values, uint64_t n)
{
	metric_sample(w, values, n > INT64_MAX ? INT64_MAX : (int64_t)n, 0);
}

/* Metrics without labels. */
static void one(struct metric_writer *w, enum metric_id id, uint64_t n)
{
	begin(w, id);
	put(w, NULL, n);
}

static void one_ms(struct metric_writer *w, enum metric_id id, int64_t ms)
{
	begin(w, id);
	metric_sample(w, NULL, ms, 3);
}

static void one_us(struct metric_writer *w, enum metric_id id, int64_t us)
{
	begin(w, id);
	metric_sample(w, NULL, us, 6);
}

/* Absent where it is not known. */
static void one_known(struct metric_writer *w, enum metric_id id, bool is_known, int64_t n)
{
	begin(w, id);
	if (is_known)
		metric_sample(w, NULL, n, 0);
}

/* ---- The process ---- */

static void put_process(struct metric_writer *w, struct server *s)
{
	struct process_facts p = {0};

	if (s->p.process)
		s->p.process(s->p.user, &p);
	begin(w, M_BUILD_INFO);
	put(w, VALUES(s->p.version), 1);
	begin(w, M_PROCESS_START);
	if (p.started_ms)
		metric_sample(w, NULL, p.started_ms, 3);
	begin(w, M_PROCESS_CPU);
	if (p.cpu_us)
		metric_sample(w, NULL, p.cpu_us, 6);
	one_known(w, M_PROCESS_MEMORY, p.memory_bytes != 0, p.memory_bytes);
}

/* ---- This server ---- */

static void put_state(struct metric_writer *w, const struct server *s)
{
	const struct member_server *own = roster_server(s, s->msid);

	begin(w, M_SERVER_STATE);
	for (int i = 0; i < SERVER_N_STATES; i++)
		put(w, VALUES(server_state_name((enum server_state)i)), own && own->row.state == (enum server_state)i);
}

static void put_drain(struct metric_writer *w, const struct server *s)
{
	struct drain_report r = {0};

	if (s->draining && s->draining->drain)
		drain_report(s->draining->drain, world_now(s->world), &r);
	one(w, M_DRAINING, s->draining != NULL || server_is_leaving(s));
	one(w, M_DRAIN_LEFT, r.n_left);
}

static void put_store(struct metric_writer *w, const struct server *s)
{
	struct mono since;
	bool fails = ledger_is_failing(s, &since);

	one(w, M_STORE_FAILING, fails);
	one_ms(w, M_STORE_FAILING_FOR, fails ? mono_ms_between(since, world_now(s->world)) : 0);
	one(w, M_STORE_WAITING, ledger_waiting(s));
}

static void put_server(struct metric_writer *w, const struct server *s)
{
	put_state(w, s);
	one(w, M_ACCEPTING, server_is_accepting(s));
	put_drain(w, s);
	put_store(w, s);
	one(w, M_LOOP_LATE, s->gate.n_cuts);
	one_us(w, M_LOOP_DELAY, s->gate.worst_us);
	one(w, M_COMMANDS, s->requests.n);
}

/* ---- The CA ---- */

/* Of the CA that signs. */
static void put_crl(struct metric_writer *w, const struct server *s)
{
	struct server_crl crl;
	bool is_there = server_crl(s, &crl) && crl.parts[0].signs;
	const struct server_crl_part *list = &crl.parts[0];

	one_known(w, M_CRL_NUMBER, is_there, (int64_t)list->number);
	one_known(w, M_CRL_THIS, is_there, list->this_s);
	one_known(w, M_CRL_NEXT, is_there, list->next_s);
	one_known(w, M_CRL_ENTRIES, is_there, list->entries);
}

static void put_ca(struct metric_writer *w, struct server *s, const struct fleet *f)
{
	size_t n;
	const struct trusted_ca *ca = metrics_trusted_cas(s, &n);

	begin(w, M_CA_NOT_AFTER);
	for (size_t i = 0; i < n; i++)
		metric_sample(w, VALUES(ca[i].fingerprint, ca[i].issues ? "issuing" : "trusted"), ca[i].not_after_s, 0);
	one(w, M_CA_CAN_ISSUE, s->ca && s->ca->ops->can_issue(s->ca));
	begin(w, M_CA_ROTATION);
	for (int i = 0; i < ROTATION_N; i++)
		put(w, VALUES(rotation_phase_name((enum rotation_phase)i)),
		    s->rotation.phase == (enum rotation_phase)i);
	one(w, M_CA_ROTATION_HOSTS, f->n_rotation_behind);
	one(w, M_REVOKED, (uint64_t)s->revoked_total);
	one(w, M_REVOKED_STALE, s->revoked_stale);
	put_crl(w, s);
}

/* ---- Certificates ---- */

static void put_own(struct metric_writer *w, struct server *s)
{
	static const char *const kinds[] = {[OWN_CERT_EC] = "ec", [OWN_CERT_RSA] = "rsa"};

	begin(w, M_OWN_NOT_AFTER);
	for (int i = 0; i < OWN_CERT_KINDS; i++) {
		int64_t end_s = metrics_own_end_s(s, (enum own_cert_kind)i);

		if (end_s)
			metric_sample(w, VALUES(kinds[i]), end_s, 0);
	}
}

static void put_renewals(struct metric_writer *w, struct server *s, const struct fleet *f)
{
	begin(w, M_RENEWALS);
	put(w, VALUES("done"), s->n_renewed);
	put(w, VALUES("failed"), s->n_renewals_failed);
	one(w, M_RENEWALS_NOW, provisions_under_way(s));
	one(w, M_RENEWALS_WAITING, f->n_renewals_waiting);
}

static void put_issued(struct metric_writer *w, const struct server *s)
{
	static const char *const kinds[] = {
		[ISSUED_AGENT_JOIN] = "agent_join",
		[ISSUED_SERVER_JOIN] = "server_join",
		[ISSUED_RENEWAL] = "renewal",
		[ISSUED_REQUEST] = "request",
		[ISSUED_OWN] = "own",
	};

	begin(w, M_ISSUED);
	for (int i = 0; i < ISSUED_N; i++)
		put(w, VALUES(kinds[i]), s->n_issued[i]);
}

static void put_joins(struct metric_writer *w, const struct server *s)
{
	one(w, M_JOINS, s->n_joined);
	begin(w, M_JOINS_REFUSED);
	for (int i = JOIN_YES + 1; i < JOIN_REFUSAL_N; i++)
		put(w, VALUES(join_refusal_name((enum join_refusal)i)), s->n_joins_refused[i]);
}

static void put_refusals(struct metric_writer *w, const struct server *s)
{
	static const char *const cuts[] = {
		[CUT_REVOKED] = "revoked",
		[CUT_CA_GONE] = "ca_gone",
		[CUT_UNSECURED] = "unsecured",
	};
	struct refusal_count r;

	begin(w, M_REFUSALS);
	for (size_t i = 0; refusal_at(s, i, &r); i++)
		put(w, VALUES(r.at, r.reason), r.n);
	put(w, VALUES("room", "no room"), s->n_no_room);
	begin(w, M_LINKS_CUT);
	for (int i = 0; i < CUT_N; i++)
		put(w, VALUES(cuts[i]), s->n_cut[i]);
}

static void put_certificates(struct metric_writer *w, struct server *s, const struct fleet *f)
{
	put_own(w, s);
	begin(w, M_AGENT_CERTS);
	for (int i = 0; i < AGENT_CERT_N; i++)
		put(w, VALUES(agent_cert_name((enum agent_cert)i)), f->by_cert[i]);
	one_known(w, M_AGENT_FIRST_END, f->first_end_s != 0, f->first_end_s);
	one(w, M_CERTS_REQUIRED, config_bool(s, "ca.plugin.root.auth.strictness"));
	put_renewals(w, s, f);
	put_issued(w, s);
	put_joins(w, s);
	put_refusals(w, s);
}

/* ---- Links ---- */

static void put_links(struct metric_writer *w, const struct server *s)
{
	begin(w, M_LINKS);
	for (int i = 0; i < SESSION_CLOSED; i++)
		put(w, VALUES(session_state_name((enum session_state)i)), s->n_in_state[i]);
	one(w, M_LINKS_MOST, s->p.max_links);
	begin(w, M_HANDSHAKES);
	put(w, VALUES("full"), s->n_full);
	put(w, VALUES("resumed"), s->n_resumed);
	put(w, VALUES("failed"), s->n_handshakes_failed);
	one(w, M_HANDSHAKES_NOW, s->gate.n_counted);
	one(w, M_HANDSHAKES_MOST, s->gate.bound.allowed);
	one(w, M_HANDSHAKES_WAITING, s->gate.n_waiting);
	one(w, M_STARTUPS, s->n_starting);
	one_ms(w, M_STARTUP_WAIT, admission_expected_ms(s));
	one(w, M_PUT_OFF, s->n_put_off);
	one(w, M_MADE_ROOM, s->n_made_room);
	one(w, M_TICKETS, s->tickets.keys.n > 0);
	one_ms(w, M_HEARTBEAT, s->heartbeat_ms);
}

/* ---- Agents of this server ---- */

static void put_agents(struct metric_writer *w, const struct fleet *f)
{
	begin(w, M_AGENTS);
	put(w, VALUES("muster"), f->n_muster);
	put(w, VALUES("cloudstack"), f->n_cloudstack);
	one(w, M_AGENTS_AWAY, f->n_away);
	one(w, M_AGENTS_SUSPECT, f->n_suspect);
	one(w, M_AGENTS_OUTDATED, f->n_outdated);
	one(w, M_AGENTS_PROVISIONAL, f->n_provisional);
	one(w, M_AGENTS_RECONNECTING, f->n_reconnecting);
}

/* ---- The cluster ---- */

static void put_views(struct metric_writer *w, struct server *s)
{
	size_t n[MEMBER_DOWN + 1] = {0};

	list_for (m, &s->servers, struct member_server, in_servers)
		if (m->row.msid != s->msid)
			n[m->member.view]++;
	begin(w, M_SERVERS);
	for (int i = 0; i <= MEMBER_DOWN; i++)
		put(w, VALUES(member_view_name((enum member_view)i)), n[i]);
}

/* Ourselves included, in order of registration. Names need not be different, ids are. */
static void put_each_server(struct metric_writer *w, struct server *s, enum metric_id id,
			    uint64_t (*value)(const struct server *s, const struct member_server *m,
					      const struct fleet *f),
			    const struct fleet *f)
{
	size_t n = 0;

	begin(w, id);
	list_for (m, &s->servers, struct member_server, in_servers)
		if (n++ < FLEET_SERVERS_MOST)
			put(w, VALUES(m->row.name, m->row.uuid), value(s, m, f));
}

static uint64_t is_up(const struct server *s, const struct member_server *m, const struct fleet *f)
{
	return m->row.msid == s->msid || (m->row.state != SERVER_DOWN && m->member.view != MEMBER_DOWN);
}

static uint64_t is_accepting(const struct server *s, const struct member_server *m, const struct fleet *f)
{
	return m->row.msid == s->msid ? server_is_accepting(s) : is_up(s, m, f) && m->word.accepting;
}

static uint64_t n_hosts(const struct server *s, const struct member_server *m, const struct fleet *f)
{
	for (size_t i = 0; i < f->n_owners; i++)
		if (f->owners[i].msid == m->row.msid)
			return f->owners[i].n;
	return 0;
}

static void put_cluster(struct metric_writer *w, struct server *s, const struct fleet *f)
{
	begin(w, M_HOSTS);
	for (int i = 0; i < HOST_N_STATUSES; i++)
		if (i != HOST_REMOVED)
			put(w, VALUES(host_status_name((enum host_status)i)), f->by_status[i]);
	put_views(w, s);
	put_each_server(w, s, M_SERVER_UP, is_up, f);
	put_each_server(w, s, M_SERVER_ACCEPTING, is_accepting, f);
	put_each_server(w, s, M_SERVER_HOSTS, n_hosts, f);
	one(w, M_FROZEN, freeze_is_on(s));
	one(w, M_ROLLING, s->rolling != NULL);
}

void metrics_write(struct metric_writer *w, struct server *s, const struct fleet *f)
{
	put_process(w, s);
	put_server(w, s);
	put_ca(w, s, f);
	put_certificates(w, s, f);
	put_links(w, s);
	put_agents(w, f);
	put_cluster(w, s, f);
}
