/*
 * Maintenance and shutdown of management servers over the API (query-api 2.3).
 *
 * Any server answers for all: what changes is the row of the target in the store, which it follows (draining.c). The
 * preconditions are judged in that same transaction, so that two operators can't both be the one who may. Only what
 * can't be in the store is known here: whether the target, and the others that count as Up, are heard.
 */
#include "server/api.h"

#include <stdio.h>
#include <string.h>

#define RATE_MOST 100000
#define TIMEOUT_MOST_S (365LL * 86400)

struct maintenance {
	/* in; the function in the transaction touches nothing of the server */
	enum server_event event;
	struct drain_row drain;
	bool force;
	int64_t *silent; /* msids of servers that nobody hears */
	size_t n_silent;
	struct str_list servers; /* that lists are made from, without those that mean the target */
	bool has_hosts;
	/* out */
	size_t n_jobs;
};

static void maintenance_free(void *state)
{
	struct maintenance *t = state;

	drain_row_deinit(&t->drain);
	str_list_deinit(&t->servers);
	mem_free(t->silent);
	mem_free(t);
}

static bool is_silent(const struct maintenance *t, int64_t msid)
{
	for (size_t i = 0; i < t->n_silent; i++)
		if (t->silent[i] == msid)
			return true;
	return false;
}

static bool is_preparing(enum server_state s)
{
	return s == SERVER_PREPARING_FOR_MAINTENANCE || s == SERVER_PREPARING_FOR_SHUTDOWN;
}

/* ---- may it? In the transaction ---- */

static enum err nobody_else_prepares(const struct server_row *rows, size_t n, int64_t target, struct why *why)
{
	for (size_t i = 0; i < n; i++) {
		if (rows[i].msid == target || !is_preparing(rows[i].state))
			continue;
		why_set(why, "Management server %.60s is %s: one at a time; cancel that first, or wait for it",
			rows[i].name, server_state_name(rows[i].state));
		return ERR_STATE;
	}
	return ERR_OK;
}

static enum err somebody_takes_the_agents(const struct maintenance *t, const struct server_row *rows, size_t n,
					  const struct server_row *target, struct why *why)
{
	size_t n_others = 0;

	if (t->force)
		return ERR_OK;
	for (size_t i = 0; i < n; i++)
		n_others += rows[i].msid != target->msid && rows[i].state == SERVER_UP && !is_silent(t, rows[i].msid);
	if (!n_others) {
		why_set(why,
			"Management server %.60s is the last one that is Up: its agents would have nowhere to go. With "
			"force=true it is emptied all the same, as far as that goes",
			target->name);
		return ERR_STATE;
	}
	if (t->has_hosts && !t->servers.n) {
		why_set(why,
			"The setting host names no other management server that is Up: the agents of %.60s would have "
			"nowhere to go",
			target->name);
		return ERR_STATE;
	}
	return ERR_OK;
}

static enum err judge(const struct maintenance *t, const struct server_row *rows, size_t n,
		      const struct server_row *target, struct why *why)
{
	enum server_state to;
	enum err e = ERR_OK;

	if (!server_state_move(target->state, t->event, &to)) {
		static const char *const wanted[SERVER_N_EVENTS] = {
			[SERVER_EVENT_PREPARE_MAINTENANCE] = "it has to be Up to prepare for maintenance",
			[SERVER_EVENT_CANCEL_MAINTENANCE] =
				"there is no maintenance to cancel, it would have to be in Maintenance or PreparingForMaintenance",
			[SERVER_EVENT_PREPARE_SHUTDOWN] = "it has to be Up to prepare for its shutdown",
			[SERVER_EVENT_TRIGGER_SHUTDOWN] =
				"it has to be Up, Maintenance, PreparingForShutDown or ReadyToShutDown to be shut down",
			[SERVER_EVENT_CANCEL_SHUTDOWN] =
				"there is no shutdown to cancel, it would have to be PreparingForShutDown or ReadyToShutDown",
		};

		why_set(why, "Management server %.60s is %s: %s", target->name, server_state_name(target->state),
			wanted[t->event]);
		return ERR_STATE;
	}
	/* Undoing is always possible, also for a server that died while it prepared: it would block all others. */
	if (t->event == SERVER_EVENT_CANCEL_MAINTENANCE || t->event == SERVER_EVENT_CANCEL_SHUTDOWN)
		return ERR_OK;
	if (is_silent(t, target->msid)) {
		why_set(why, "Management server %.60s can't be reached: it would not do what it is told", target->name);
		return ERR_UNREACHABLE;
	}
	if (target->state == SERVER_UP)
		e = nobody_else_prepares(rows, n, target->msid, why);
	if (!e && t->event == SERVER_EVENT_PREPARE_MAINTENANCE)
		e = somebody_takes_the_agents(t, rows, n, target, why);
	return e;
}

static const struct server_row *row_of(const struct server_row *rows, size_t n, int64_t msid)
{
	for (size_t i = 0; i < n; i++)
		if (rows[i].msid == msid)
			return &rows[i];
	return NULL;
}

static enum err maintenance_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct maintenance *t = c->state;
	int64_t msid = api_number(c, "managementserverid", 0);
	const struct server_row *target;
	struct server_row *rows = NULL;
	enum server_state to;
	size_t n = 0;
	enum err e = store_server_list(tx, &rows, &n);

	target = e ? NULL : row_of(rows, n, msid);
	if (!e && !target) {
		why_set(why, "The management server is gone");
		e = ERR_NOT_FOUND;
	}
	if (!e)
		e = judge(t, rows, n, target, why);
	if (!e)
		e = store_server_event(tx, msid, t->event, &to);
	if (!e && t->event == SERVER_EVENT_PREPARE_MAINTENANCE)
		e = store_drain_ask(tx, &t->drain);
	if (!e)
		e = store_jobs_running(tx, msid, &t->n_jobs);
	for (size_t i = 0; i < n; i++)
		server_row_deinit(&rows[i]);
	mem_free(rows);
	return e;
}

/* ---- how far it is ---- */

/* Who is killed, or is overtaken by an operator, leaves the word for what it was doing. */
static bool is_final(const char *word)
{
	static const char *const words[] = {"done", "timed out", "cancelled", "stopped"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (str_equal(word, words[i]))
			return true;
	return false;
}

json_t *api_drain_object(const struct drain_row *row, enum server_state state)
{
	json_t *o = row->report ? json_loads(row->report, 0, NULL) : NULL;

	if (!json_is_object(o)) {
		json_decref(o);
		o = json_object();
		api_put_text(o, "state", "asked");
	}
	if (state != SERVER_PREPARING_FOR_MAINTENANCE && !is_final(json_string_value(json_object_get(o, "state"))))
		api_put_text(o, "state", "interrupted");
	api_put_text(o, "askedby", row->asked_by);
	api_put_date(o, "asked", row->asked_ms);
	api_put_date(o, "reported", row->reported_ms);
	api_put_text(o, "algorithm", row->algorithm);
	api_put_flag(o, "forced", row->forced);
	return o;
}

enum err drain_rows_read(struct drain_rows *d, struct store_tx *tx)
{
	drain_rows_deinit(d);
	return store_drain_list(tx, &d->rows, &d->n);
}

void drain_rows_deinit(struct drain_rows *d)
{
	for (size_t i = 0; i < d->n; i++)
		drain_row_deinit(&d->rows[i]);
	d->rows = mem_free(d->rows);
	d->n = 0;
}

const struct drain_row *drain_rows_find(const struct drain_rows *d, int64_t msid)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->rows[i].msid == msid)
			return &d->rows[i];
	return NULL;
}

/* ---- the answer ---- */

static void answer(struct api_call *c)
{
	struct server *s = c->server;
	const struct maintenance *t = c->state;
	const struct member_server *m = roster_server(s, api_number(c, "managementserverid", 0));
	json_t *o = json_object(), *agents = json_array();
	struct host *h;
	size_t cursor = 0;
	char key[64];

	if (!m) {
		json_decref(o);
		json_decref(agents);
		api_fail(c, API_FAILED, CS_RUNTIME, "The management server is gone");
		return;
	}
	while ((h = roster_next(s, &cursor)))
		if (h->row.owner == m->row.msid)
			json_array_append_new(agents, json_string(h->row.uuid));
	api_put_text(o, "managementserverid", m->row.uuid);
	api_put_text(o, "state", server_state_name(m->row.state));
	api_put_flag(o, "maintenanceinitiated",
		     m->row.state == SERVER_PREPARING_FOR_MAINTENANCE || m->row.state == SERVER_MAINTENANCE);
	api_put_flag(o, "shutdowntriggered",
		     m->row.state == SERVER_PREPARING_FOR_SHUTDOWN || m->row.state == SERVER_READY_TO_SHUTDOWN ||
			     m->row.state == SERVER_SHUTTING_DOWN);
	api_put_flag(o, "readyforshutdown", !t->n_jobs);
	api_put_number(o, "pendingjobscount", (int64_t)t->n_jobs);
	api_put_number(o, "agentscount", (int64_t)json_array_size(agents));
	api_put_flag(o, "musterfrozen", freeze_is_on(s));
	json_object_set_new(o, "agents", agents);
	str_copy(key, sizeof(key), c->route->name);
	for (char *p = key; *p; p++)
		*p = *p >= 'A' && *p <= 'Z' ? (char)(*p + ('a' - 'A')) : *p;
	api_answer_object(c, key, o);
}

/* Refused for what it is: 530 and 4250, whatever the error is called inside (query-api 2.3). */
static void refuse(struct api_call *c, enum err result, const char *sentence)
{
	if (result == ERR_STATE || result == ERR_UNREACHABLE || result == ERR_NOT_FOUND)
		api_fail(c, API_FAILED, CS_RUNTIME, "%s", sentence);
	else
		api_fail_err(c, result, sentence);
}

static void say(struct api_call *c, const char *what)
{
	static const struct {
		enum server_event event;
		const char *type;
	} types[] = {
		{SERVER_EVENT_PREPARE_MAINTENANCE, "MS.MAINTENANCE.PREPARE"},
		{SERVER_EVENT_CANCEL_MAINTENANCE, "MS.MAINTENANCE.CANCEL"},
		{SERVER_EVENT_PREPARE_SHUTDOWN, "MS.SHUTDOWN.PREPARE"},
		{SERVER_EVENT_TRIGGER_SHUTDOWN, "MS.SHUTDOWN"},
		{SERVER_EVENT_CANCEL_SHUTDOWN, "MS.SHUTDOWN.CANCEL"},
	};
	const struct maintenance *t = c->state;
	const struct member_server *m = roster_server(c->server, api_number(c, "managementserverid", 0));

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].event == t->event)
			event_add(c->server, types[i].type, "INFO", 0, "%s %s %s", c->account, what,
				  m ? m->row.name : "?");
}

void api_rebalance_all(struct server *s)
{
	spreading_trigger_all_fresh(s);
	list_for (m, &s->servers, struct member_server, in_servers)
		if (m->row.msid != s->msid && m->row.state == SERVER_UP &&
		    peer_change_agent(s, m->row.msid, 0, EVENT_START_AGENT_REBALANCE, NULL))
			log_warn(s->log, "a server can't be told to rebalance its agents", KV_S("server", m->row.name));
}

static void prepared(struct api_call *c, enum err result, const char *sentence)
{
	if (result) {
		refuse(c, result, sentence);
		return;
	}
	say(c, "has the agents moved away, for maintenance, from management server");
	answer(c);
}

static void cancelled(struct api_call *c, enum err result, const char *sentence)
{
	if (result) {
		refuse(c, result, sentence);
		return;
	}
	say(c, "ends the maintenance of management server");
	if (!freeze_is_on(c->server) && (!api_has(c, "rebalance") || api_flag(c, "rebalance")))
		api_rebalance_all(c->server);
	answer(c);
}

static void shutdown_prepared(struct api_call *c, enum err result, const char *sentence)
{
	if (result) {
		refuse(c, result, sentence);
		return;
	}
	say(c, "wants no new jobs, before it is shut down, on management server");
	answer(c);
}

static void shutdown_triggered(struct api_call *c, enum err result, const char *sentence)
{
	if (result) {
		refuse(c, result, sentence);
		return;
	}
	say(c, "shuts down management server");
	answer(c);
}

static void shutdown_cancelled(struct api_call *c, enum err result, const char *sentence)
{
	if (result) {
		refuse(c, result, sentence);
		return;
	}
	say(c, "cancels the shutdown of management server");
	answer(c);
}

/* ---- the questions ---- */

static enum err find_silent(struct maintenance *t, struct server *s)
{
	size_t n = 0;

	list_for (m, &s->servers, struct member_server, in_servers)
		n++;
	t->silent = mem_zalloc_array(n + 1, sizeof(*t->silent));
	if (!t->silent)
		return ERR_NOMEM;
	list_for (m, &s->servers, struct member_server, in_servers)
		if (m->row.msid != s->msid && (m->row.state == SERVER_DOWN || m->member.view == MEMBER_DOWN))
			t->silent[t->n_silent++] = m->row.msid;
	return ERR_OK;
}

/* Entries of the list that lead neither to the target nor to a server that isn't Up. Unknown ones may. */
static enum err find_others(struct maintenance *t, struct server *s, int64_t target)
{
	const struct str_list *servers = lists_servers(s);
	enum err e = ERR_OK;

	for (size_t i = 0; i < servers->n && !e; i++) {
		bool leads_away = true;

		list_for (m, &s->servers, struct member_server, in_servers)
			if (lists_entry_is(s, servers->items[i], &m->row))
				leads_away = m->row.msid != target && m->row.state == SERVER_UP;
		if (leads_away)
			e = str_list_add(&t->servers, servers->items[i]);
	}
	return e;
}

static void change_state(struct api_call *c, enum server_event event, api_then_fn *then)
{
	struct maintenance *t = c->state ? c->state : mem_zalloc(sizeof(*t));
	int64_t target = api_number(c, "managementserverid", 0);

	c->state = t;
	c->state_free = maintenance_free;
	if (!t || find_silent(t, c->server) || find_others(t, c->server, target)) {
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	t->event = event;
	t->has_hosts = roster_n_hosts(c->server) > 0;
	api_write(c, maintenance_run, then);
}

static bool in_range(struct api_call *c, const char *name, int64_t most)
{
	int64_t n = api_number(c, name, 1);

	if (n >= 1 && n <= most)
		return true;
	api_fail(c, API_BAD_PARAM, CS_VALUE, "Parameter %s: from 1 to %lld", name, (long long)most);
	return false;
}

static void prepare_for_maintenance(struct api_call *c)
{
	const char *name = api_text(c, "algorithm");
	struct maintenance *t;
	enum algorithm algorithm;

	if (name && !algorithm_from_text(name, &algorithm)) {
		api_fail(c, API_FAILED, CS_RUNTIME, "There is no algorithm %s: %s", name, algorithm_choices());
		return;
	}
	if (!in_range(c, "rate", RATE_MOST) || !in_range(c, "timeout", TIMEOUT_MOST_S))
		return;
	t = mem_zalloc(sizeof(*t));
	c->state = t;
	c->state_free = maintenance_free;
	if (!t || (name && !(t->drain.algorithm = mem_strdup(name))) || !(t->drain.asked_by = mem_strdup(c->account))) {
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	t->drain.msid = api_number(c, "managementserverid", 0);
	t->drain.per_s = api_number(c, "rate", 0);
	t->drain.timeout_ms = api_number(c, "timeout", 0) * 1000;
	t->drain.forced = api_flag(c, "forced");
	t->force = api_flag(c, "force");
	change_state(c, SERVER_EVENT_PREPARE_MAINTENANCE, prepared);
}

static void cancel_maintenance(struct api_call *c)
{
	change_state(c, SERVER_EVENT_CANCEL_MAINTENANCE, cancelled);
}

static void prepare_for_shutdown(struct api_call *c)
{
	change_state(c, SERVER_EVENT_PREPARE_SHUTDOWN, shutdown_prepared);
}

static void trigger_shutdown(struct api_call *c)
{
	change_state(c, SERVER_EVENT_TRIGGER_SHUTDOWN, shutdown_triggered);
}

static void cancel_shutdown(struct api_call *c)
{
	change_state(c, SERVER_EVENT_CANCEL_SHUTDOWN, shutdown_cancelled);
}

static enum err ready_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct maintenance *t = c->state;

	return store_jobs_running(tx, api_number(c, "managementserverid", 0), &t->n_jobs);
}

static void ready_then(struct api_call *c, enum err result, const char *sentence)
{
	if (result)
		refuse(c, result, sentence);
	else
		answer(c);
}

static void ready_for_shutdown(struct api_call *c)
{
	c->state = mem_zalloc(sizeof(struct maintenance));
	c->state_free = maintenance_free;
	if (!c->state)
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
	else
		api_read(c, ready_run, ready_then);
}

/* ---- the tables ---- */

/* clang-format off */
#define TARGET {"managementserverid", API_UUID, true, "The management server", ENTITY_SERVER, 0, false}
static const struct api_param_spec id_params[] = { TARGET };
static const struct api_param_spec prepare_params[] = {
	TARGET,
	{"algorithm", API_STRING, false, "Order of the list that agents are sent away with: static, roundrobin or shuffle; default: the one in force", ENTITY_NONE, 0, false},
	{"forced", API_BOOLEAN, false, "In maintenance when the time is over, whoever is still there; default false: Up again", ENTITY_NONE, 0, false},
	{"rate", API_INTEGER, false, "Agents asked to move per second; default 100", ENTITY_NONE, 0, false},
	{"timeout", API_LONG, false, "Seconds that it may take; default: the setting management.server.maintenance.timeout", ENTITY_NONE, 0, false},
	{"force", API_BOOLEAN, false, "Also the last management server that is Up", ENTITY_NONE, 0, false},
};
static const struct api_param_spec cancel_params[] = {
	TARGET,
	{"rebalance", API_BOOLEAN, false, "Afterwards all agents look for their preferred server, unless moves are frozen; default true", ENTITY_NONE, 0, false},
};
static const struct api_field fields[] = {
	{"managementserverid", "string", "Id of the management server"},
	{"state", "string", "Its state now"},
	{"maintenanceinitiated", "boolean", "It prepares for maintenance, or is in it"},
	{"shutdowntriggered", "boolean", "It prepares for its shutdown, or shuts down"},
	{"readyforshutdown", "boolean", "No job runs there"},
	{"pendingjobscount", "integer", "Jobs that run there"},
	{"agentscount", "integer", "How many hosts are there"},
	{"agents", "list", "Hosts that are there"},
	{"musterfrozen", "boolean", "Moves are frozen: agents are moved away from a server all the same, and none returns to it"},
};
static const struct api_route routes[] = {
	{.name = "prepareForMaintenance", .handle = prepare_for_maintenance, .right = RIGHT_ADMIN,
	 .description = "Moves all agents away from a management server, then it is in maintenance", ROUTE_PARAMS(prepare_params), ROUTE_FIELDS(fields)},
	{.name = "cancelMaintenance", .handle = cancel_maintenance, .right = RIGHT_ADMIN,
	 .description = "Ends the maintenance of a management server, or its preparation", ROUTE_PARAMS(cancel_params), ROUTE_FIELDS(fields)},
	{.name = "prepareForShutdown", .handle = prepare_for_shutdown, .right = RIGHT_ADMIN,
	 .description = "Has a management server take no new jobs", ROUTE_PARAMS(id_params), ROUTE_FIELDS(fields)},
	{.name = "triggerShutdown", .handle = trigger_shutdown, .right = RIGHT_ADMIN,
	 .description = "Stops a management server, its agents move away first", ROUTE_PARAMS(id_params), ROUTE_FIELDS(fields)},
	{.name = "cancelShutdown", .handle = cancel_shutdown, .right = RIGHT_ADMIN,
	 .description = "Has a management server that prepares for its shutdown take jobs again", ROUTE_PARAMS(id_params), ROUTE_FIELDS(fields)},
	{.name = "readyForShutdown", .handle = ready_for_shutdown, .right = RIGHT_ANY, .is_read = true,
	 .description = "Tells whether jobs run on a management server", ROUTE_PARAMS(id_params), ROUTE_FIELDS(fields)},
};
/* clang-format on */
const struct api_routes api_maintenance_routes = {routes, ARRAY_SIZE(routes)};
