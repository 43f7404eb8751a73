/*
 * One agent's life: made, started, stopped, freed; its states, and what the program that embeds it is told.
 */
#include "client/agent.h"

#include <assert.h>
#include <inttypes.h>

#include "base/mem.h"
#include "client/engine.h"

#define STOP_MOST_MS 1000
#define STOP_LOOK_MS 50

CLEAN_DEFINE(struct agent, agent_free)

void agent_params_init(struct agent_params *p)
{
	*p = (struct agent_params){
		.port = SERVER_LIST_PORT,
		.ping_retries = 5,
		.connect_ms = 5000,
		.handshake_ms = 10000,
		.startup_ms = 30000,
		.next_dial_ms = 250,
		.max_dials = 3,
		.fallback_ms = 30000,
		.answer_hold_ms = 300000,
		.commands_max = 256,
		.backoff = {.floor_ms = 500, .base_ms = 500, .cap_ms = 30000},
		.ping_deadline_ms = 10000,
		.failback = failback_rule_default,
		.first_dial = first_dial_rule_default,
	};
}

/* ---- states ---- */

/*
 *            dial candidates           TLS up, startup sent        Ready received
 *   SEEKING ----------------> DIALING ---------------------> STARTING -----------> UP
 *      ^                         |                               |                 | link lost
 *      +-------------------------+-------------------------------+-----------------+
 *
 * From UP it goes back to STARTING when a move had to close the old link first (towards CloudStack), and when a dead
 * link is given up for one whose startup has been sent already. STOPPED is entered from everywhere and never left.
 */
#define TO(state) (1u << AGENT_##state)
/* clang-format off */
static const struct {
	const char *name;
	unsigned next; /* states that may follow */
} states[] = {
	[AGENT_SEEKING]  = { "seeking",  TO(DIALING) | TO(STARTING) | TO(STOPPED) },
	[AGENT_DIALING]  = { "dialing",  TO(SEEKING) | TO(STARTING) | TO(STOPPED) },
	[AGENT_STARTING] = { "starting", TO(SEEKING) | TO(UP)       | TO(STOPPED) },
	[AGENT_UP]       = { "up",       TO(SEEKING) | TO(STARTING) | TO(STOPPED) },
	[AGENT_STOPPED]  = { "stopped",  0 },
};
/* clang-format on */
#undef TO

const char *agent_state_name(enum agent_state s)
{
	return states[s].name;
}

/* The only place where an agent changes state, and the only one that logs it. */
void agent_move(struct agent *a, enum agent_state to, const char *reason)
{
	if (a->state == to)
		return;
	assert(states[a->state].next & (1u << to));

	log_info(a->log, "agent moved", KV_S("from", states[a->state].name), KV_S("to", states[to].name),
		 KV_S("server", a->current ? a->current->entry : "-"), KV_S("reason", reason));
	/* How long it has been without a server counts from here, through all attempts. */
	if (a->state == AGENT_UP)
		a->hunt.seeking_since = world_now(a->world);
	a->state = to;
	a->since = world_now(a->world);
	agent_changed(a);
}

bool agent_is_stopped(const struct agent *a)
{
	return a->state == AGENT_STOPPED;
}

/* ---- what the host program is told ---- */

void agent_changed(struct agent *a)
{
	if (!a->p.host->changed || a->gone)
		return;
	a->has_changed = true;
	world_later(a->world, &a->notify);
}

void agent_creds_judged(struct agent *a, bool new_stays, const char *sentence)
{
	a->has_verdict = true;
	a->new_stays = new_stays;
	why_set(&a->verdict_sentence, "%s", sentence);
	world_later(a->world, &a->notify);
}

static void notify_run(struct later *l)
{
	struct agent *a = container_of(l, struct agent, notify);
	bool is_gone = false;

	a->is_gone = &is_gone;
	if (a->has_changed && !a->gone) {
		a->has_changed = false;
		a->p.host->changed(a->p.host_user);
		if (is_gone)
			return;
	}
	if (a->has_verdict && !a->gone) {
		a->has_verdict = false;
		if (a->p.host->creds_judged)
			a->p.host->creds_judged(a->p.host_user, a->new_stays, a->verdict_sentence.text);
		if (is_gone)
			return;
	}
	if (a->has_stopped && !a->gone) {
		a->has_stopped = false;
		a->p.host->stopped(a->p.host_user, a->stop_error, why_text(&a->stop_sentence, a->stop_error));
		if (is_gone)
			return;
	}
	a->is_gone = NULL;
}

static void sweep_run(struct later *l)
{
	sessions_free_ended(container_of(l, struct agent, sweep));
}

void agent_sweep(struct agent *a)
{
	world_later(a->world, &a->sweep);
}

/* ---- made and freed ---- */

static enum err params_check(const struct agent_params *p, struct why *why)
{
	const char *problem = NULL;

	if (str_is_blank(p->guid))
		problem = "there is no guid";
	else if (str_is_blank(p->resource_name))
		problem = "there is no resource name";
	else if (!p->max_dials || !p->commands_max)
		problem = "at least one dial and one command must be possible";
	else if (p->failback.prove_ms <= 0)
		problem = "a link to the preferred server must have some time to prove itself";
	if (!problem)
		return ERR_OK;
	why_set(why, "%s", problem);
	return ERR_INVALID;
}

static bool texts_copy(struct agent *a)
{
	const struct {
		char **to;
		const char **from;
	} texts[] = {
		{&a->guid, &a->p.guid},
		{&a->resource_name, &a->p.resource_name},
		{&a->name, &a->p.name},
		{&a->zone, &a->p.zone},
		{&a->pod, &a->p.pod},
		{&a->cluster, &a->p.cluster},
		{&a->source_ip, &a->p.source_ip},
		{&a->version, &a->p.version},
	};
	bool ok = true;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		*texts[i].to = mem_strdup(*texts[i].from);
		ok &= *texts[i].to || !*texts[i].from;
		*texts[i].from = *texts[i].to;
	}
	return ok;
}

static bool has_usable_candidate(const struct agent *a)
{
	for (size_t i = 0; i < a->n_candidates; i++) {
		if (!a->candidates[i].unusable)
			return true;
	}
	return false;
}

static enum err candidates_load(struct agent *a, struct why *why)
{
	enum err e = list_load(a, why);

	if (!e)
		e = candidates_rebuild(a);
	if (e || has_usable_candidate(a))
		return e;
	/* An agent whose own list is of no use may still have one that worked before. */
	a->hunt.fallback = 2;
	e = candidates_rebuild(a);
	if (!e && !has_usable_candidate(a)) {
		why_set(why, "%s: %s has no usable server", agent_file_path(a->file), KEY_HOST);
		e = ERR_INVALID;
	}
	return e;
}

static void stop_look(struct timer *t);

enum err agent_new(struct agent **out, const struct agent_params *p, struct why *why)
{
	CLEAN(agent_freep) struct agent *a = NULL;
	enum err e;

	assert(p->world && p->file && p->host && p->host->startup && p->host->command && p->host->stopped);

	e = params_check(p, why);
	if (e)
		return e;
	a = mem_zalloc(sizeof(*a));
	if (!a)
		return ERR_NOMEM;
	a->p = *p;
	a->world = p->world;
	a->log = p->log;
	a->file = p->file;
	list_init(&a->hunt.attempts);
	list_init(&a->sessions);
	list_init(&a->ended);
	list_init(&a->sweep.queued);
	list_init(&a->notify.queued);
	a->sweep.call = sweep_run;
	a->notify.call = notify_run;
	timer_init(&a->hunt.timer, hunt_fired);
	timer_init(&a->migrate_timer, move_migrate_fired);
	timer_init(&a->check_timer, check_fired);
	timer_init(&a->stop_timer, stop_look);
	timer_init(&a->renew_timer, creds_renew_fired);
	tickets_init(a);
	requests_init(a);
	a->failback_again = MONO_NEVER;
	a->better_again = MONO_NEVER;
	a->since = world_now(a->world);
	world_uuid(a->world, a->boot);

	if (!texts_copy(a))
		return ERR_NOMEM;
	e = creds_init(a, why);
	if (!e)
		e = candidates_load(a, why);
	if (e)
		return e;
	a->host_id = agent_file_host_id(a->file, a->resource_name);

	*out = STEAL(a);
	return ERR_OK;
}

static void texts_free(struct agent *a)
{
	mem_free(a->guid);
	mem_free(a->resource_name);
	mem_free(a->name);
	mem_free(a->zone);
	mem_free(a->pod);
	mem_free(a->cluster);
	mem_free(a->source_ip);
	mem_free(a->version);
	mem_free(a->host_uuid);
	mem_free(a->algorithm);
	str_list_deinit(&a->list);
	str_list_deinit(&a->avoid);
	str_list_deinit(&a->migrate_avoid.list);
	str_list_deinit(&a->known_muster);
}

/* Nothing is under way any more: no dials, no links, no timers but those of answers. */
static void agent_halt(struct agent *a)
{
	hunt_stop(a);
	timer_stop(a->world, &a->migrate_timer);
	timer_stop(a->world, &a->check_timer);
	timer_stop(a->world, &a->renew_timer);
	tickets_stop(a);
	list_for (s, &a->sessions, struct session, in)
		session_close(s);
	a->current = NULL;
	a->next = NULL;
}

struct agent *agent_free(struct agent *a)
{
	if (!a)
		return NULL;
	if (a->is_gone)
		*a->is_gone = true;
	agent_halt(a);
	timer_stop(a->world, &a->stop_timer);
	requests_deinit(a);
	sessions_free_ended(a);
	world_later_cancel(&a->sweep);
	world_later_cancel(&a->notify);
	candidates_deinit(a);
	texts_free(a);
	creds_deinit(a);
	return mem_free(a);
}

/* ---- started and stopped ---- */

/* Before the first startup says it. What can't be counted is left out: servers then order boots by what they see. */
static void boot_count(struct agent *a)
{
	struct why why = WHY_NONE;
	enum err e = agent_file_next_boot(a->file, &a->boot_number, &why);

	if (e)
		log_warn(a->log, "this start has no number", KV_S("reason", why_text(&why, e)));
}

enum err agent_start(struct agent *a)
{
	if (a->is_started || agent_is_stopped(a))
		return ERR_STATE;
	a->is_started = true;
	a->hunt.seeking_since = world_now(a->world);
	boot_count(a);
	check_plan(a, false);
	hunt_start(a, HUNT_SEEK);
	return ERR_OK;
}

void agent_give_up(struct agent *a, enum err why, const char *sentence)
{
	if (agent_is_stopped(a))
		return;
	agent_halt(a);
	agent_move(a, AGENT_STOPPED, sentence);
	a->stop_error = why;
	why_set(&a->stop_sentence, "%s", sentence);
	a->has_stopped = true;
	world_later(a->world, &a->notify);
}

static void stop_finish(struct agent *a)
{
	void (*gone)(void *user) = a->gone;
	void *user = a->gone_user;

	agent_halt(a);
	if (!agent_is_stopped(a))
		agent_move(a, AGENT_STOPPED, "stopped");
	gone(user); /* the agent may be freed now */
}

static void stop_look(struct timer *t)
{
	struct agent *a = container_of(t, struct agent, stop_timer);
	struct mono now = world_now(a->world);

	/*
	 * The server closes the link when it has read our farewell, and then the session is gone. Closing first is
	 * for when it doesn't: bytes of its own that we never read would make the system throw ours away.
	 */
	if (!a->current || mono_reached(now, a->stop_by))
		stop_finish(a);
	else
		timer_set_in(a->world, t, STOP_LOOK_MS);
}

static enum err send_farewell(struct session *s)
{
	CLEAN(batch_deinit) struct batch b = {0};
	struct msg_shutdown *m = batch_add(&b, MSG_SHUTDOWN);
	struct agent *a = s->agent;
	struct header h = {
		.flags = FLAG_REQUEST | FLAG_STOP_ON_ERROR | FLAG_IN_SEQUENCE,
		.seq = -1,
		.mgmt_id = -1,
		.agent_id = a->host_id,
		.via = a->host_id,
	};

	if (!m || msg_set_text(&m->reason, "sig.kill"))
		return ERR_NOMEM;
	msg_set_bool(&m->removeHost, false);
	return session_send(s, &h, &b);
}

void agent_stop(struct agent *a, void (*gone)(void *user), void *user)
{
	assert(gone && !a->gone);

	a->gone = gone;
	a->gone_user = user;
	move_forbid(a);
	if (a->current)
		session_stop_tasks(a->current);
	a->stop_by = mono_add_ms(world_now(a->world), STOP_MOST_MS);
	/* What can't be said is no reason to stay: the server sees the link close. */
	if (a->current && send_farewell(a->current) != ERR_OK)
		a->stop_by = world_now(a->world);
	timer_set(a->world, &a->stop_timer, world_now(a->world));
}

/* ---- asked by the host program ---- */

void agent_check_preferred(struct agent *a)
{
	check_told(a);
}

void agent_ping_now(struct agent *a)
{
	if (a->current && a->current->ping_ms)
		session_ping(a->current, true);
}

/* ---- looking at it ---- */

void agent_look(const struct agent *a, struct agent_view *out)
{
	bool is_own;
	int64_t interval = agent_file_interval(a->file, a->received_interval, &is_own);

	*out = (struct agent_view){
		.state = a->state,
		.host_id = a->host_id,
		.host_uuid = a->host_uuid,
		.connected = a->current ? a->current->entry : NULL,
		.connected_ip = a->current ? link_peer_ip(a->current->link) : NULL,
		.preferred = a->list.n ? a->list.items[0] : NULL,
		.list = &a->list,
		.algorithm = a->algorithm,
		.avoid = &a->avoid,
		.interval_s = interval,
		.interval_is_own = is_own,
		.on_fallback = a->hunt.fallback > 0,
		.purpose = a->current ? hunt_purpose(a->current->purpose) : NULL,
		.moving = a->next || (a->current && a->hunt.purpose != HUNT_NONE),
		.fetching_ticket = a->tickets.visit,
		.move = a->next                                      ? check_hunt_name(a, a->next->purpose)
			: a->current && a->hunt.purpose != HUNT_NONE ? check_hunt_name(a, a->hunt.purpose)
								     : NULL,
		.move_to = a->next ? a->next->entry : NULL,
		.is_muster = a->current && a->current->is_muster,
		.commands = a->requests.n_running,
		.links = a->links,
		.next_check = timer_is_set(&a->check_timer) ? a->check_timer.node.at : MONO_NEVER,
		.since = a->since,
		.first_dial_at = a->hunt.first_dial_at,
		.first_dial_wait_ms = a->hunt.first_dial_wait_ms,
		.first_dial_most_ms = first_dial_window_ms(&a->p.first_dial, a->hunt.first_dial_agents),
		.first_dial_agents = a->hunt.first_dial_agents,
		.server_agents = a->current ? a->current->n_agents : 0,
		.heartbeat_ms = a->current ? a->current->heartbeat_ms : 0,
		.boot_number = a->boot_number,
		.trial = a->trial.rule.use,
		.trial_said = a->trial.said[0] ? a->trial.said : NULL,
	};
	check_view(a, out);
}

size_t agent_explain(struct agent *a, const struct candidate **candidates)
{
	struct mono look_again;

	candidates_refresh(a);
	choice_make(a->candidates, a->n_candidates, world_now(a->world), &look_again);
	*candidates = a->candidates;
	return a->n_candidates;
}
