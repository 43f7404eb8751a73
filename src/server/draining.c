/*
 * Draining: this server is emptied, for maintenance or because it stops.
 *
 *   our row becomes PreparingForMaintenance        server_leave()
 *          |                                              |
 *    what was asked is read from the store       ShuttingDown is written
 *          |                                              |
 *    everybody is told whom to avoid (2 s at most)        |
 *          |                                              |
 *          +--------> agents are asked, core/drain says whom and when <--------+
 *          |                                              |
 *    all gone, jobs done: Maintenance            all gone, or time is over, or nobody else accepts:
 *    time is over: Maintenance if forced,        server_stop()
 *    else Up again
 *
 * While our row says that this server is emptied, is empty or stops, startups are put off by name while another server
 * is there: nobody enters a draining server (decision 30). Where none is, they are let in, and the drain pauses. What
 * only waits for its jobs (PreparingForShutDown, ReadyToShutDown) keeps its agents, and takes them.
 *
 * Everything that must not be lost is in the store: the state, what was asked. A server that dies here is in
 * Maintenance at its next start, and a store that fails in the middle only delays the step that needs it.
 */
#include "server/draining.h"

#include <stdio.h>

#define TELL_MS 2000 /* for the avoid lists, before the first agent is asked */
#define TELL_LOOK_MS 50
#define ASK_A_TURN 64
#define STOP_WINDOW 256
#define STOP_RATE_MIN 100
#define ANSWER_FIRST_MS 250 /* who has asked this server to stop hears that it does */
#define AGAIN_MIN_MS 2000   /* who is refused by name and finds the named server gone comes back after so long */
#define AGAIN_MAX_MS 4000

static const struct member_server *own_of(const struct server *s)
{
	return roster_server(s, s->msid);
}

static enum server_state own_state(const struct server *s)
{
	const struct member_server *own = own_of(s);

	return own ? own->row.state : SERVER_UP;
}

static bool is_for_maintenance(enum server_state state)
{
	return state == SERVER_PREPARING_FOR_MAINTENANCE || state == SERVER_MAINTENANCE;
}

/* ---- our row ---- */

struct state_change {
	struct entry entry;
	enum server_event event;
	int64_t asked_ms; /* of the drain that it ends */
	char *report;     /* the last one of that; NULL: none */
};

static bool is_end(enum server_event event)
{
	return event == SERVER_EVENT_ENTER_MAINTENANCE || event == SERVER_EVENT_CANCEL_MAINTENANCE;
}

enum err draining_is_same(struct store_tx *tx, int64_t msid, int64_t asked_ms, bool *is)
{
	struct drain_row row = {0};
	enum err e = store_drain_get(tx, msid, &row);

	if (e == ERR_NOT_FOUND)
		e = ERR_OK; /* set to this state by other means than the API */
	*is = !e && row.asked_ms == asked_ms;
	drain_row_deinit(&row);
	return e;
}

static enum err state_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct state_change *c = container_of(entry, struct state_change, entry);
	enum server_state to;
	bool is_same = true;
	enum err e = is_end(c->event) ? draining_is_same(tx, entry->server->msid, c->asked_ms, &is_same) : ERR_OK;

	/* Cancelled, and asked again with other words, which count from now on. */
	if (!e && !is_same)
		e = ERR_STATE;
	if (!e)
		e = store_server_event(tx, entry->server->msid, c->event, &to);
	if (!e && c->report)
		e = store_drain_report(tx, entry->server->msid, c->report);
	return e == ERR_NOT_FOUND && c->report ? ERR_OK : e;
}

static void state_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct state_change *c = container_of(entry, struct state_change, entry);
	struct draining *d = is_end(c->event) ? s->draining : NULL;

	s->state_under_way = false;
	if (d) {
		d->ending = false;
		d->ended = !result;
		d->was_forced &= !result;
	}
	/* ERR_STATE: somebody has changed it meanwhile, which we are about to read. The next tick tries again. */
	if (result && result != ERR_STATE)
		log_warn(s->log, "the state of this server could not be stored, trying again", KV_S("error", sentence));
	if (!result && !s->freed)
		api_committed(s);
	mem_free(c->report);
	mem_free(c);
}

static void state_change(struct server *s, enum server_event event, char *take_report)
{
	struct state_change *c = s->state_under_way ? NULL : mem_zalloc(sizeof(*c));

	if (!c) {
		mem_free(take_report);
		return; /* the next tick tries again */
	}
	c->entry.run = state_run;
	c->entry.done = state_done;
	c->event = event;
	c->report = take_report;
	s->state_under_way = true;
	if (s->draining && is_end(event)) {
		c->asked_ms = s->draining->asked.asked_ms;
		s->draining->ending = true;
	}
	ledger_add(s, &c->entry);
}

/* ---- who is here ---- */

/* Agents of hosts in maintenance refuse to move (agent-protocol 4.4.5); whether they are waited for can be set. */
static bool counts(const struct server *s, const struct host *h)
{
	switch (h->row.resource_state) {
	case RESOURCE_PREPARE_FOR_MAINTENANCE:
	case RESOURCE_ERROR_IN_PREPARE_FOR_MAINTENANCE:
	case RESOURCE_MAINTENANCE:
	case RESOURCE_ERROR_IN_MAINTENANCE:
		return !config_bool(s, "management.server.maintenance.ignore.maintenance.hosts");
	default:
		return true;
	}
}

void draining_host(struct server *s, struct host *h)
{
	struct draining *d = s->draining;
	uint64_t id = (uint64_t)h->row.id;

	if (!d || !d->drain)
		return;
	if (h->session && h->session->state == SESSION_READY) {
		if (counts(s, h) && drain_add(d->drain, id))
			log_error(s->log, "out of memory: an agent is asked to move later", KV_I("host", h->row.id));
	} else if (!h->session && h->row.owner && h->row.owner != s->msid && h->row.status == HOST_UP) {
		drain_moved(d->drain, id, world_now(s->world));
	} else if (!h->session) {
		drain_vanished(d->drain, id, world_now(s->world));
	}
	draining_soon(s);
}

void draining_forget(struct server *s, int64_t host_id)
{
	if (s->draining && s->draining->drain)
		drain_forget(s->draining->drain, (uint64_t)host_id);
}

static void add_all(struct draining *d)
{
	list_for (x, &d->server->sessions, struct session, in_sessions)
		if (x->host && x->host->session == x)
			draining_host(d->server, x->host);
}

/* Startups that were let in before it began become agents in a moment. */
static bool somebody_is_coming(const struct server *s)
{
	list_for (x, (struct list *)(uintptr_t)&s->sessions, struct session, in_sessions)
		if (x->state == SESSION_STARTED || x->state == SESSION_ATTACHED)
			return true;
	return false;
}

static bool all_are_told(const struct server *s)
{
	list_for (x, (struct list *)(uintptr_t)&s->sessions, struct session, in_sessions)
		if (x->state == SESSION_READY && x->host && x->host->row.is_muster && x->avoid_told != s->avoid_version)
			return false;
	return true;
}

/* ---- the end ---- */

static struct draining *draining_free(struct draining *d)
{
	if (!d)
		return NULL;
	timer_stop(d->server->world, &d->timer);
	drain_row_deinit(&d->asked);
	mem_free(d->report);
	drain_free(d->drain);
	return mem_free(d);
}

void draining_deinit(struct server *s)
{
	s->draining = draining_free(s->draining);
	timer_stop(s->world, &s->told_to_stop);
}

/* Time was over, and it was to be emptied whatever it takes. */
static void close_the_rest(struct server *s)
{
	size_t n = 0;

	list_for (x, &s->sessions, struct session, in_sessions) {
		if (x->state != SESSION_READY && x->state != SESSION_ATTACHED && x->state != SESSION_STARTED)
			continue;
		session_end(x, ERR_STOPPED, "this management server is in maintenance", EVENT_N);
		n++;
	}
	if (n)
		log_warn(s->log, "links of agents that have not moved are closed", KV_U("links", n));
}

/* Our row says how it has ended: by us, or by an operator. */
static void maintenance_ends(struct draining *d, enum server_state state)
{
	struct server *s = d->server;
	struct drain_report r = {0};
	char left[300] = "";

	if (!d->drain) {
		s->draining = draining_free(d);
		return;
	}
	drain_report(d->drain, world_now(s->world), &r);
	draining_remaining_text(d, left, sizeof(left));
	if (state == SERVER_MAINTENANCE) {
		event_add(s, "MS.MAINTENANCE", left[0] ? "WARN" : "INFO", 0,
			  "management server %s is in maintenance, agents that have moved: %zu of %zu%s%s", s->p.name,
			  r.n_by_fate[DRAIN_MOVED], r.n_total, left[0] ? "; not moved: " : "", left);
	} else if (d->ended) {
		event_add(s, "MS.MAINTENANCE.CANCEL", "WARN", 0, "management server %s is Up again, because %s%s",
			  s->p.name,
			  left[0] ? "its agents did not all move in time: "
				  : "jobs still ran there when the time was over",
			  left);
	} else {
		log_info(s->log, "the drain of this server was cancelled", KV_U("moved", r.n_by_fate[DRAIN_MOVED]));
	}
	if (!d->ended)
		draining_report_last(d, state == SERVER_MAINTENANCE ? "done" : "cancelled");
	if (state == SERVER_MAINTENANCE && d->was_forced)
		close_the_rest(s);
	s->draining = draining_free(d);
}

static void maintenance_judge(struct draining *d)
{
	struct server *s = d->server;
	struct drain_report r;

	if (d->ending || d->ended || s->state_under_way)
		return;
	drain_report(d->drain, world_now(s->world), &r);
	/* Jobs finish first, and the time-out is for them too. */
	if (r.state == DRAIN_DONE && !api_jobs_running(s) && !somebody_is_coming(s)) {
		state_change(s, SERVER_EVENT_ENTER_MAINTENANCE, draining_report_text(d, "done"));
	} else if (mono_reached(world_now(s->world), r.deadline) &&
		   (r.state == DRAIN_DONE || r.state == DRAIN_TIMED_OUT)) {
		log_warn(s->log, "the drain of this server has taken too long", KV_U("left", r.n_left),
			 KV_S("next", d->asked.forced ? "Maintenance, as it was forced" : "Up again"));
		d->was_forced = d->asked.forced;
		state_change(s, d->was_forced ? SERVER_EVENT_ENTER_MAINTENANCE : SERVER_EVENT_CANCEL_MAINTENANCE,
			     draining_report_text(d, "timed out"));
	}
}

/* true: it has stopped. */
static bool stop_judge(struct draining *d)
{
	struct server *s = d->server;
	struct drain_report r;

	drain_report(d->drain, world_now(s->world), &r);
	if (r.state == DRAIN_RUNNING || (r.state == DRAIN_DONE && (api_jobs_running(s) || somebody_is_coming(s)))) {
		if (!mono_reached(world_now(s->world), r.deadline))
			return false;
	}
	if (r.n_left) {
		char left[300];

		draining_remaining_text(d, left, sizeof(left));
		log_warn(s->log, "stopping with agents that have not moved", KV_U("agents", r.n_left),
			 KV_S("why",
			      r.state == DRAIN_PAUSED ? "no other management server takes agents" : "time is over"),
			 KV_S("not_moved", left));
	}
	if (api_jobs_running(s))
		log_warn(s->log, "stopping with jobs that have not ended", KV_U("jobs", api_jobs_running(s)));
	server_stop(s, s->gone, s->gone_user);
	return true;
}

void draining_again(struct server *s)
{
	log_info(s->log, "the drain of this server was asked for again, with other words");
	s->draining = draining_free(s->draining);
	draining_look(s);
}

/* ---- going on ---- */

static void ask_now(struct draining *d)
{
	struct server *s = d->server;
	uint64_t hosts[ASK_A_TURN];
	/* A stop can't wait until a storm elsewhere is over. */
	bool accept = d->why == DRAINING_TO_STOP ? draining_others_are_there(s) : draining_others_accept(s);
	size_t n;

	do {
		n = drain_step(d->drain, accept, world_now(s->world), hosts, ASK_A_TURN);
		for (size_t i = 0; i < n; i++)
			draining_ask(d, hosts[i]);
	} while (n == ASK_A_TURN);
}

static bool all_have_gone(const struct draining *d)
{
	struct drain_report r;

	drain_report(d->drain, world_now(d->server->world), &r);
	return r.state == DRAIN_DONE;
}

static void on_timer(struct timer *t)
{
	struct draining *d = container_of(t, struct draining, timer);
	struct server *s = d->server;
	struct mono now = world_now(s->world), next;

	if (!d->drain)
		return;
	if (!d->asking)
		d->asking = mono_reached(now, d->asks_from) || all_are_told(s);
	if (d->asking)
		ask_now(d);
	if (d->why == DRAINING_TO_STOP) {
		if (stop_judge(d))
			return;
	} else if (d->why == DRAINING_STRAGGLERS) {
		if (all_have_gone(d)) {
			s->draining = draining_free(d);
			return;
		}
	} else {
		maintenance_judge(d);
		draining_report_write(d);
	}
	next = d->asking ? drain_next_due(d->drain, now) : mono_add_ms(now, TELL_LOOK_MS);
	if (!mono_is_never(next))
		timer_set(s->world, &d->timer, next);
}

void draining_soon(struct server *s)
{
	if (s->draining && s->draining->drain)
		timer_set_in(s->world, &s->draining->timer, 0);
}

/* ---- the beginning ---- */

static struct draining *draining_new(struct server *s, enum draining_why why)
{
	struct draining *d = mem_zalloc(sizeof(*d));

	if (!d)
		return NULL;
	d->server = s;
	d->why = why;
	d->began = world_now(s->world);
	timer_init(&d->timer, on_timer);
	return d;
}

struct asked_read {
	struct entry entry;
	struct drain_row row;
};

static enum err asked_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct asked_read *a = container_of(entry, struct asked_read, entry);
	enum err e;

	drain_row_deinit(&a->row);
	a->row = (struct drain_row){0};
	e = store_drain_get(tx, entry->server->msid, &a->row);
	return e == ERR_NOT_FOUND ? ERR_OK : e; /* every default */
}

static void drain_begins(struct draining *d, struct drain_row *take_row)
{
	struct server *s = d->server;
	const struct drain_rule rule = {
		.per_s = take_row->per_s,
		.timeout_ms = take_row->timeout_ms
				      ? take_row->timeout_ms
				      : config_number(s, "management.server.maintenance.timeout", 0) * 60000,
	};

	d->drain = drain_new(&rule, world_now(s->world));
	if (!d->drain) {
		drain_row_deinit(take_row);
		return; /* read again with the next tick */
	}
	d->asked = *take_row;
	*take_row = (struct drain_row){0};
	d->has_algorithm = d->asked.algorithm && algorithm_from_text(d->asked.algorithm, &d->algorithm) &&
			   d->algorithm != lists_algorithm(s);
	d->asks_from = mono_add_ms(world_now(s->world), TELL_MS);
	add_all(d);
	log_info(s->log, "this server is drained", KV_S("asked_by", d->asked.asked_by ? d->asked.asked_by : "?"));
	draining_soon(s);
}

static void asked_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct asked_read *a = container_of(entry, struct asked_read, entry);
	struct draining *d = s->draining;

	if (d)
		d->reading = false;
	if (result)
		log_debug(s->log, "what was asked of the drain could not be read", KV_S("error", sentence));
	else if (d && d->why == DRAINING_FOR_MAINTENANCE && !d->drain && !s->freed)
		drain_begins(d, &a->row);
	drain_row_deinit(&a->row);
	mem_free(a);
}

static void read_what_was_asked(struct draining *d)
{
	struct asked_read *a = d->reading ? NULL : mem_zalloc(sizeof(*a));

	if (!a)
		return;
	a->entry.run = asked_run;
	a->entry.done = asked_done;
	a->entry.read_only = true;
	d->reading = true;
	ledger_add(d->server, &a->entry);
}

/*
 * In maintenance, with agents: they came while no other server took them. They are asked to go on when there is one
 * again; nobody waits for that.
 */
static void look_for_stragglers(struct server *s)
{
	struct draining *d;
	bool has_one = false;

	list_for (x, &s->sessions, struct session, in_sessions)
		has_one |= x->state == SESSION_READY && x->host && counts(s, x->host);
	if (!has_one || !draining_others_accept(s))
		return;
	d = draining_new(s, DRAINING_STRAGGLERS);
	if (d)
		d->drain = drain_new(&(struct drain_rule){0}, world_now(s->world));
	if (!d || !d->drain) {
		draining_free(d);
		return;
	}
	s->draining = d;
	d->asks_from = mono_add_ms(world_now(s->world), TELL_MS);
	log_info(s->log, "agents that came during the maintenance are asked to move");
	add_all(d);
}

static void on_told_to_stop(struct timer *t)
{
	struct server *s = container_of(t, struct server, told_to_stop);

	s->p.stop_asked(s->p.user);
}

void draining_look(struct server *s)
{
	enum server_state state = own_state(s);
	struct draining *d = s->draining;

	if (!s->running || s->stopping)
		return;
	if (d && d->why == DRAINING_FOR_MAINTENANCE && state != SERVER_PREPARING_FOR_MAINTENANCE) {
		maintenance_ends(d, state);
	} else if (!d && state == SERVER_PREPARING_FOR_MAINTENANCE) {
		d = s->draining = draining_new(s, DRAINING_FOR_MAINTENANCE);
		if (d)
			read_what_was_asked(d);
	} else if (d && d->why == DRAINING_FOR_MAINTENANCE && !d->drain) {
		read_what_was_asked(d);
	} else if (d && d->why == DRAINING_STRAGGLERS && state != SERVER_MAINTENANCE) {
		s->draining = draining_free(d);
	} else if (!d && state == SERVER_MAINTENANCE) {
		look_for_stragglers(s);
	}
	/* What could not be written when it was told to stop. */
	if (s->leaving && state == SERVER_UP)
		state_change(s, SERVER_EVENT_TRIGGER_SHUTDOWN, NULL);
	if (state == SERVER_PREPARING_FOR_SHUTDOWN && !api_jobs_running(s))
		state_change(s, SERVER_EVENT_JOBS_DONE, NULL);
	/* triggerShutdown, on whatever server it was asked. */
	if (state == SERVER_SHUTTING_DOWN && !s->leaving && s->p.stop_asked && !s->was_told_to_stop) {
		s->was_told_to_stop = true;
		timer_init(&s->told_to_stop, on_told_to_stop);
		timer_set_in(s->world, &s->told_to_stop, ANSWER_FIRST_MS);
	}
	draining_soon(s);
}

void server_leave(struct server *s, int64_t within_ms, void (*gone)(void *user), void *user)
{
	struct drain_rule rule = {.window = STOP_WINDOW, .timeout_ms = within_ms};
	struct draining *d;
	size_t n = 0;

	if (s->stopping)
		return;
	if (s->draining && s->draining->why == DRAINING_FOR_MAINTENANCE && s->draining->drain)
		draining_report_last(s->draining, "stopped");
	list_for (x, &s->sessions, struct session, in_sessions)
		n += x->host && x->host->session == x;
	/* A second word, nobody to move, or nowhere to move to: at once. */
	if (s->leaving || !s->running || within_ms <= 0 || !draining_others_are_there(s) ||
	    (!n && !api_jobs_running(s) && !somebody_is_coming(s))) {
		server_stop(s, gone, user);
		return;
	}
	d = draining_new(s, DRAINING_TO_STOP);
	/* Never slower than a drain that has time. */
	rule.per_s = drain_rate_within(n, within_ms);
	if (rule.per_s < STOP_RATE_MIN)
		rule.per_s = STOP_RATE_MIN;
	if (d)
		d->drain = drain_new(&rule, world_now(s->world));
	if (!d || !d->drain) {
		draining_free(d);
		server_stop(s, gone, user);
		return;
	}
	log_info(s->log, "agents are asked to move before this server stops", KV_U("agents", n),
		 KV_I("within_ms", within_ms));
	draining_free(s->draining); /* for maintenance: its state stays, the hurry is greater */
	s->draining = d;
	s->leaving = true;
	s->gone = gone;
	s->gone_user = user;
	d->asking = true;
	peer_status_changed(s);
	/* So that others put it in avoid lists. What prepares for maintenance or is in it stays that. */
	if (!is_for_maintenance(own_state(s)))
		state_change(s, SERVER_EVENT_TRIGGER_SHUTDOWN, NULL);
	add_all(d);
	draining_soon(s);
}

bool server_is_leaving(const struct server *s)
{
	return s->leaving && !s->stopping;
}

/* ---- the door ---- */

/* prepareForShutdown only stops jobs, nobody moves for it. */
static bool takes_nobody(const struct server *s)
{
	switch (own_state(s)) {
	case SERVER_PREPARING_FOR_MAINTENANCE:
	case SERVER_MAINTENANCE:
	case SERVER_SHUTTING_DOWN:
		return true;
	default:
		return s->leaving;
	}
}

/* The list that the agent has, by its own word; the one that it should have is sent only after its startup. */
static enum err list_of(struct server *s, const struct msg_startup_common *m, const struct host *known,
			struct str_list *out)
{
	CLEAN(mem_freep) char *algorithm = NULL;
	enum err e = m->msHostList ? server_list_parse_reported(out, &algorithm, m->msHostList) : ERR_OK;

	if (e || out->n)
		return e;
	return known ? lists_for_host(s, &known->row, out) : str_list_copy(out, lists_servers(s));
}

bool draining_puts_off(struct session *x, const struct header *h, const struct msg_startup_common *m,
		       const struct host *known)
{
	struct server *s = x->server;
	const struct host_row nobody = {.is_muster = link_is_muster(x->link)};
	struct str_list list = {0};
	const char *entry;
	char sentence[240];
	enum err e;

	/* An agent that comes back to its link because its move has failed has never left (docs/failover.md, "Drain"
	 * 8). */
	if (x->state == SESSION_SUPERSEDED || !takes_nobody(s) || !draining_others_are_there(s))
		return false;
	e = list_of(s, m, known, &list);
	entry = e ? NULL : draining_entry_for(s, known ? &known->row : &nobody, &list);
	/* One that its list does not have is no other server for this agent: it would be lost. */
	x->only_here = !entry;
	if (!entry) {
		str_list_deinit(&list);
		return false;
	}
	snprintf(sentence, sizeof(sentence), "management server %.60s is %s and takes no agents, %.100s does",
		 s->p.name,
		 server_state_name(s->leaving && !is_for_maintenance(own_state(s)) ? SERVER_SHUTTING_DOWN
										   : own_state(s)),
		 entry);
	startup_put_off(x, h, rng_between(&s->world->rng, AGAIN_MIN_MS, AGAIN_MAX_MS), entry, sentence);
	str_list_deinit(&list);
	return true;
}
