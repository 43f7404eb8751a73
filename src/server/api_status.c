/*
 * muster's own questions: getMusterStatus (the cluster at a glance) and rebalanceHosts.
 *
 * Any server answers for all. What agents of other servers have confirmed is not told from server to server, so hosts
 * that look outdated in memory and are elsewhere are read again from the store before they are counted.
 */
#include "server/api.h"
#include "server/keyring.h"

#include <stdlib.h>
#include <string.h>

#include "server/provision.h"

#define CHUNK 500

/* ---- getMusterStatus ---- */

struct counts {
	const struct member_server *of;
	size_t agents, outdated, off_preferred, behind;
};

struct status {
	int64_t *suspects; /* hosts elsewhere that look outdated */
	size_t n, at;
	struct host_row rows[CHUNK];
	size_t n_rows;
	struct peer_view *views;
	size_t n_views;
	struct drain_rows drains;
};

static void rows_clear(struct status *st)
{
	for (size_t i = 0; i < st->n_rows; i++)
		host_row_deinit(&st->rows[i]);
	memset(st->rows, 0, sizeof(st->rows));
	st->n_rows = 0;
}

static void views_clear(struct status *st)
{
	for (size_t i = 0; i < st->n_views; i++)
		peer_view_deinit(&st->views[i]);
	st->views = mem_free(st->views);
	st->n_views = 0;
}

static void status_free(void *state)
{
	struct status *st = state;

	rows_clear(st);
	views_clear(st);
	drain_rows_deinit(&st->drains);
	mem_free(st->suspects);
	mem_free(st);
}

static struct counts *counts_of(struct counts *counts, size_t n, int64_t msid)
{
	for (size_t i = 0; i < n; i++)
		if (counts[i].of->row.msid == msid)
			return &counts[i];
	return NULL;
}

static const char *view_from(const struct status *st, struct server *s, const struct member_server *by,
			     const struct member_server *of)
{
	/* What we see is known here; of the others the last that they wrote down. */
	if (by->row.msid == s->msid)
		return member_view_name(of->member.view);
	for (size_t i = 0; i < st->n_views; i++)
		if (st->views[i].owner == by->row.msid && st->views[i].peer == of->row.msid)
			return st->views[i].view;
	return member_view_name(MEMBER_UNKNOWN);
}

static json_t *views_of(const struct status *st, struct server *s, const struct member_server *by)
{
	json_t *views = json_array();

	if (by->row.state == SERVER_DOWN)
		return views; /* it sees nothing any more */
	list_for (m, &s->servers, struct member_server, in_servers) {
		json_t *o;

		if (m == by)
			continue;
		o = json_object();
		api_put_text(o, "of", m->row.name);
		api_put_text(o, "address", m->row.address);
		api_put_text(o, "view", view_from(st, s, by, m));
		json_array_append_new(views, o);
	}
	return views;
}

static json_t *server_object(const struct status *st, struct server *s, const struct counts *n)
{
	const struct server_row *row = &n->of->row;
	json_t *o = json_object();

	api_put_text(o, "id", row->uuid);
	api_put_text(o, "name", row->name);
	api_put_text(o, "address", row->address);
	api_put_number(o, "port", row->port);
	api_put_text(o, "state", server_state_name(row->state));
	api_put_flag(o, "accepting", row->msid == s->msid ? server_is_accepting(s) : n->of->word.accepting);
	api_put_text(o, "version", row->version);
	api_put_text(o, "clusterkey", key_state_name(keyring_state_of(s, row->key_id)));
	if (row->state != SERVER_DOWN && renewal_issuing_of(s, n->of) != ISSUING_UNKNOWN)
		api_put_flag(o, "canissue", renewal_issuing_of(s, n->of) == ISSUING_CAN);
	api_put_number(o, "agents", (int64_t)n->agents);
	api_put_number(o, "outdated", (int64_t)n->outdated);
	api_put_number(o, "offpreferred", (int64_t)n->off_preferred);
	api_put_number(o, "behind", (int64_t)n->behind);
	api_put_date(o, "lastupdate", row->last_update_ms);
	json_object_set_new(o, "views", views_of(st, s, n->of));
	if (row->state == SERVER_PREPARING_FOR_MAINTENANCE && drain_rows_find(&st->drains, row->msid))
		json_object_set_new(o, "musterdrain",
				    api_drain_object(drain_rows_find(&st->drains, row->msid), row->state));
	/* Counted in memory, so each server knows its own. */
	if (row->msid == s->msid) {
		api_put_number(o, "fullhandshakes", (int64_t)s->n_full);
		api_put_number(o, "resumedhandshakes", (int64_t)s->n_resumed);
		api_put_flag(o, "tickets", s->tickets.keys.n > 0);
	}
	return o;
}

struct host_counts {
	int64_t ends_s; /* the certificate of one that is Up, the first to end; 0: none is known */
	const struct host *ends;
	size_t total, up, disconnected, alert, other, unsecured, outdated, off_preferred, behind, suspect, reconnecting;
};

static void count_host(struct server *s, const struct host *h, struct counts *counts, size_t n, struct host_counts *all)
{
	struct counts *of = h->row.owner ? counts_of(counts, n, h->row.owner) : NULL;
	struct host_view v;

	host_view_make(&v, s, &h->row);
	all->total++;
	all->up += h->row.status == HOST_UP;
	all->disconnected += h->row.status == HOST_DISCONNECTED;
	all->alert += h->row.status == HOST_ALERT;
	all->other += h->row.status != HOST_UP && h->row.status != HOST_DISCONNECTED && h->row.status != HOST_ALERT;
	all->unsecured += v.is_up && !h->row.secured;
	all->outdated += v.is_outdated;
	all->off_preferred += v.is_off_preferred;
	all->behind += v.better != NULL;
	if (v.is_up && h->row.cert_not_after_s && (!all->ends_s || h->row.cert_not_after_s < all->ends_s)) {
		all->ends_s = h->row.cert_not_after_s;
		all->ends = h;
	}
	all->suspect += v.suspect;
	all->reconnecting += v.reconnecting;
	if (of) {
		of->agents++;
		of->outdated += v.is_outdated;
		of->off_preferred += v.is_off_preferred;
		of->behind += v.better != NULL;
	}
}

static json_t *hosts_object(const struct host_counts *n)
{
	json_t *o = json_object();

	api_put_number(o, "total", (int64_t)n->total);
	api_put_number(o, "up", (int64_t)n->up);
	api_put_number(o, "disconnected", (int64_t)n->disconnected);
	api_put_number(o, "alert", (int64_t)n->alert);
	api_put_number(o, "other", (int64_t)n->other);
	api_put_number(o, "suspect", (int64_t)n->suspect);
	api_put_number(o, "reconnecting", (int64_t)n->reconnecting);
	return o;
}

static json_t *certificates_object(const struct server *s, const struct host_counts *n)
{
	json_t *o = json_object();

	api_put_number(o, "revoked", s->revoked_total);
	api_put_flag(o, "revocationsknown", !s->revoked_stale);
	api_put_text(o, "revocationlistproblem", server_crl_problem(s));
	if (n->ends) {
		api_put_date(o, "nextends", n->ends_s * 1000);
		api_put_number(o, "nextdaysleft", (n->ends_s - world_wall_ms(s->world) / 1000) / 86400);
		api_put_text(o, "nexthost", n->ends->row.name);
	}
	return o;
}

static json_t *store_object(struct server *s)
{
	struct mono since;
	bool failing = ledger_is_failing(s, &since);
	json_t *o = json_object();

	api_put_flag(o, "ok", !failing);
	api_put_number(o, "failingseconds", failing ? mono_ms_between(since, world_now(s->world)) / 1000 : 0);
	api_put_number(o, "waiting", (int64_t)ledger_waiting(s));
	return o;
}

/* Of the server that answers: who comes in and who waits (docs/failover.md, "Admission"). */
static json_t *admission_object(const struct server *s)
{
	json_t *o = json_object();

	api_put_number(o, "strangers", (int64_t)s->n_strangers);
	api_put_number(o, "handshakes", (int64_t)s->gate.n_counted);
	api_put_number(o, "handshakesallowed", (int64_t)s->gate.bound.allowed);
	api_put_number(o, "handshakeswaiting", (int64_t)s->gate.n_waiting);
	api_put_number(o, "starting", (int64_t)s->n_starting);
	api_put_number(o, "startupwaitms", admission_expected_ms(s));
	api_put_number(o, "putoff", (int64_t)s->n_put_off);
	api_put_number(o, "refused", (int64_t)s->n_refused);
	api_put_number(o, "maderoom", (int64_t)s->n_made_room);
	api_put_number(o, "noroom", (int64_t)s->n_no_room);
	api_put_number(o, "cuts", (int64_t)s->gate.n_cuts);
	json_object_set_new(o, "refusals", refusal_reasons(s));
	api_put_number(o, "longestdelayms", s->gate.worst_us / 1000);
	return o;
}

/* Of the server that answers, since it runs: who joined, and who did not and why. */
static json_t *joins_object(const struct server *s)
{
	json_t *o = json_object(), *reasons = json_object();
	uint64_t n = 0;

	for (int r = JOIN_YES + 1; r < JOIN_REFUSAL_N; r++) {
		n += s->n_joins_refused[r];
		if (s->n_joins_refused[r])
			api_put_number(reasons, join_refusal_name((enum join_refusal)r),
				       (int64_t)s->n_joins_refused[r]);
	}
	api_put_number(o, "joined", (int64_t)s->n_joined);
	api_put_number(o, "refused", (int64_t)n);
	json_object_set_new(o, "reasons", reasons);
	return o;
}

static void put_settings(json_t *o, struct server *s)
{
	api_put_text(o, "algorithm", algorithm_name(lists_algorithm(s)));
	api_put_texts(o, "host", lists_servers(s));
	api_put_flag(o, "hostset", config_text(s, "host", 0) != NULL);
	api_put_number(o, "interval", lists_interval(s, 0));
	api_put_number(o, "configversion", s->config_version);
	json_object_set_new(o, "store", store_object(s));
	json_object_set_new(o, "admission", admission_object(s));
	json_object_set_new(o, "joins", joins_object(s));
	api_put_text(o, "answeredby", s->p.name);
	api_put_flag(o, "strictness", config_bool(s, "ca.plugin.root.auth.strictness"));
}

static void status_answer(struct api_call *c)
{
	struct server *s = c->server;
	struct host_counts all = {0};
	struct counts *counts;
	size_t n = 0, cursor = 0;
	json_t *o, *servers;
	struct host *h;

	list_for (m, &s->servers, struct member_server, in_servers)
		n++;
	counts = mem_zalloc_array(n + 1, sizeof(*counts));
	if (!counts) {
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	n = 0;
	list_for (m, &s->servers, struct member_server, in_servers)
		counts[n++].of = m;
	while ((h = roster_next(s, &cursor)))
		count_host(s, h, counts, n, &all);

	o = json_object();
	servers = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(servers, server_object(c->state, s, &counts[i]));
	mem_free(counts);
	json_object_set_new(o, "servers", servers);
	json_object_set_new(o, "hosts", hosts_object(&all));
	json_object_set_new(o, "certificates", certificates_object(s, &all));
	api_put_number(o, "outdated", (int64_t)all.outdated);
	api_put_number(o, "offpreferred", (int64_t)all.off_preferred);
	api_put_number(o, "behind", (int64_t)all.behind);
	put_settings(o, s);
	json_object_set_new(o, "freeze", api_freeze_object(s));
	json_object_set_new(o, "rolling", api_rolling_object(s));
	api_put_number(o, "unsecured", (int64_t)all.unsecured);
	api_answer_object(c, "musterstatus", o);
}

static size_t chunk_end(const struct status *st)
{
	return st->n - st->at > CHUNK ? st->at + CHUNK : st->n;
}

static enum err status_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct status *st = c->state;
	enum err e = ERR_OK;

	rows_clear(st);
	for (size_t i = st->at; i < chunk_end(st); i++) {
		e = store_host_get(tx, st->suspects[i], &st->rows[st->n_rows++]);
		if (e && e != ERR_NOT_FOUND)
			return e;
	}
	views_clear(st);
	e = drain_rows_read(&st->drains, tx);
	return e ? e : store_peer_view_list(tx, &st->views, &st->n_views);
}

static void status_then(struct api_call *c, enum err result, const char *sentence)
{
	struct status *st = c->state;

	if (result) {
		log_debug(c->server->log, "the status is told from memory", KV_S("error", sentence));
		status_answer(c);
		return;
	}
	for (size_t i = 0; i < st->n_rows; i++)
		if (st->rows[i].id && !st->rows[i].removed_ms)
			host_learn(c->server, &st->rows[i]);
	st->at = chunk_end(st);
	if (st->at < st->n)
		api_read(c, status_run, status_then);
	else
		status_answer(c);
}

static enum err find_suspects(struct status *st, struct server *s)
{
	struct host *h;
	size_t cursor = 0;

	st->suspects = mem_zalloc_array(roster_n_hosts(s) + 1, sizeof(*st->suspects));
	if (!st->suspects)
		return ERR_NOMEM;
	while ((h = roster_next(s, &cursor))) {
		struct host_view v;

		if (h->session || h->row.status != HOST_UP)
			continue;
		host_view_make(&v, s, &h->row);
		if (v.is_outdated)
			st->suspects[st->n++] = h->row.id;
	}
	return ERR_OK;
}

static void get_muster_status(struct api_call *c)
{
	struct status *st = mem_zalloc(sizeof(*st));

	c->state = st;
	c->state_free = status_free;
	if (!st || find_suspects(st, c->server))
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
	else if (ledger_is_failing(c->server, NULL))
		status_answer(c); /* the one question that must be answered then */
	else
		api_read(c, status_run, status_then);
}

/* ---- rebalanceHosts ---- */

struct rebalancing {
	bool is_balanced; /* the algorithm in force; otherwise slots are counted anew, which only roundrobin heeds */
	size_t moved;     /* slots, or hosts with another preferred server */
};

static void rebalancing_free(void *state)
{
	mem_free(state);
}

static enum err rebalance_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct rebalancing *r = c->state;

	return r->is_balanced ? store_placement_redesign(tx, &r->moved) : store_slots_rerank(tx, &r->moved);
}

static void rebalance_then(struct api_call *c, enum err result, const char *sentence)
{
	struct server *s = c->server;
	struct rebalancing *r = c->state;

	if (result) {
		api_fail_err(c, result, sentence);
		return;
	}
	event_add(s, "HOST.REBALANCE", "INFO", 0, "%s told all agents to look for their preferred server; %s: %zu",
		  c->account, r && r->is_balanced ? "hosts placed anew" : "slots changed", r ? r->moved : 0);
	api_rebalance_all(s);
	api_answer_success(c);
}

static void rebalance_hosts(struct api_call *c)
{
	struct why why = WHY_NONE;
	struct rebalancing *r;

	if (freeze_is_on(c->server)) {
		api_freeze_sentence(&why, &c->server->freeze);
		api_fail(c, API_FAILED, CS_RUNTIME, "%s. Nobody is told to move until they are thawed", why.text);
		return;
	}
	if (!api_flag(c, "rerank")) {
		rebalance_then(c, ERR_OK, "");
		return;
	}
	r = mem_zalloc(sizeof(*r));
	c->state = r;
	c->state_free = rebalancing_free;
	if (!r) {
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	r->is_balanced = lists_algorithm(c->server) == ALGORITHM_BALANCED;
	api_write(c, rebalance_run, rebalance_then);
}

/* ---- the tables ---- */

/* clang-format off */
static const struct api_param_spec no_params[] = {
	{"keyword", API_STRING, false, "Not used", ENTITY_NONE, 0, true},
};
static const struct api_param_spec rebalance_params[] = {
	{"rerank", API_BOOLEAN, false, "First give the slots of roundrobin anew, in order of host id: this may move everybody. Under balanced: design the placement anew, which makes even what changes of single hosts have left and keeps all entries that it can", ENTITY_NONE, 0, false},
};
static const struct api_field status_fields[] = {
	{"servers", "list", "Each management server: state, agents, and how it sees the others"},
	{"hosts", "map", "How many hosts are in which status"},
	{"certificates", "map", "How many are revoked, and which host's ends first"},
	{"outdated", "integer", "Connected agents with a list or an interval that they should not have any more"},
	{"offpreferred", "integer", "Agents that are not on the first server of their list"},
	{"behind", "integer", "Of those the agents whose preferred server takes nobody now, and that are not on the first of their list that does"},
	{"algorithm", "string", "indirect.agent.lb.algorithm"},
	{"host", "list", "The servers that lists are made from"},
	{"hostset", "boolean", "They come from the setting `host`"},
	{"interval", "integer", "indirect.agent.lb.check.interval"},
	{"configversion", "integer", "Grows with each change of a setting"},
	{"store", "map", "Does the store work?"},
	{"answeredby", "string", "The server that tells this"},
	{"strictness", "boolean", "Agents must present a certificate"},
	{"freeze", "map", "Whether moves are frozen; since when, by whom, why, and how many agents that keeps away"},
	{"unsecured", "integer", "Agents connected without a verified certificate"},
};
static const struct api_field success_fields[] = {
	{"success", "boolean", "true"},
	{"displaytext", "string", "More about it"},
};
static const struct api_route routes[] = {
	{.name = "getMusterStatus", .handle = get_muster_status, .right = RIGHT_ADMIN, .is_read = true,
	 .description = "Tells how the cluster stands", ROUTE_PARAMS(no_params), ROUTE_FIELDS(status_fields)},
	{.name = "rebalanceHosts", .handle = rebalance_hosts, .right = RIGHT_ADMIN,
	 .description = "Makes every agent look for its preferred server now", ROUTE_PARAMS(rebalance_params), ROUTE_FIELDS(success_fields)},
};
/* clang-format on */
const struct api_routes api_status_routes = {routes, ARRAY_SIZE(routes)};
