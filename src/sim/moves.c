/*
 * Who moves when (docs/failover.md):
 *
 *   planned moves   an agent that was Up is without a link only for a named reason: its server or itself died, was
 *                   stopped, frozen, cut off or without its store, the network lost packets; never because it was on
 *                   its way home, was asked to leave, or told to look
 *   the pace        those that come home to a server are never more than its burst and its rate times any time
 *   freeze          while moves are frozen nobody is on the way home, and nobody is let in who comes home
 *   home            on its preferred server within a check interval and 10 s, from when nothing is in its way
 *   even            while that one is away the same holds for the first of its list that is up
 *
 * What a machine suffers is remembered for a while: its consequences come later.
 */
#include "sim/invariants.h"

#define AFTERMATH_US (20 * SECOND_US) /* a link that is silent is given up after 10 s, a startup that hangs too */
#define HOME_US (10 * SECOND_US)
/* A promise is good for 30 s beyond its time, which is 60 s away at most. */
#define PROMISED_US (95 * SECOND_US)
/* From the word in the store until every agent has heard it; and until who was let in before that is Ready. */
#define FREEZE_US (SECOND_US + SECOND_US / 4)
#define FREEZE_LET_IN_US (2 * SECOND_US)
/* From when one is let in until it is Ready: those that were let in evenly come unevenly. */
#define UNEVEN_US SECOND_US

static bool is_long_ago(struct cluster *c, int64_t us)
{
	return !us || sim_now_us(c->sim) - us > AFTERMATH_US;
}

bool network_is_quiet(struct cluster *c)
{
	const struct sim_network *n = sim_network(c->sim);

	return is_long_ago(c, c->troubled_us) && !n->loss_ppm && !n->tls_bad_ppm && !n->names_down;
}

bool server_is_quiet(const struct sim_server *s)
{
	return s->state == PROGRAM_UP && server_is_well(s) && !sim_lane_is_slow(s->node, WORK_STORE) &&
	       is_long_ago(s->cluster, s->troubled_us);
}

bool agent_is_quiet(const struct sim_agent *a)
{
	return sim_node_is_alive(a->node) && !sim_node_is_frozen(a->node) && !a->stopping && a->removal == STAYS &&
	       !a->is_banned && !cert_rules_is_lost(a) && is_long_ago(a->cluster, a->troubled_us);
}

static bool can_talk(struct cluster *c, const struct sim_node *x, const struct sim_node *y)
{
	return sim_can_talk(c->sim, x, y) && sim_can_talk(c->sim, y, x);
}

/* ---- planned moves ---- */

/* A drain that was forced closes what is left when its time is over; then it is in Maintenance, or stops. */
static bool may_have_sent_away(const struct sim_server *s)
{
	enum server_state st = cluster_state_of(s->cluster, s);

	return st != SERVER_UP && st != SERVER_PREPARING_FOR_MAINTENANCE;
}

static void look_at_loss(struct sim_agent *a, const struct agent_view *v)
{
	struct cluster *c = a->cluster;
	struct sim_server *s = a->was_on;

	if (!s || !a->was_muster || !agent_is_quiet(a) || !server_is_quiet(s) || !network_is_quiet(c) ||
	    !can_talk(c, a->node, s->node) || may_have_sent_away(s))
		return;
	sim_fail(c->sim, "planned moves: agent %s was Up on server %s, is %s, and nothing has befallen either", a->name,
		 s->name, agent_state_name(v->state));
}

/* ---- the pace ---- */

/* Settings that change, and a server that starts, begin a new account. */
static void account_update(struct sim_server *s)
{
	int64_t now = sim_now_us(s->cluster->sim);
	int64_t rate = config_number(s->server, "agent.failback.rate", 0);
	int64_t burst = config_number(s->server, "agent.failback.burst", 0);
	bool is_new_run = s->arrived.run_us != s->up_since_us;

	if (is_new_run || rate != s->arrived.rate || burst != s->arrived.burst) {
		s->arrived.level = 0;
		s->arrived.from_us = s->server->n_promises ? now + PROMISED_US : now;
	}
	s->arrived.rate = rate;
	s->arrived.burst = burst;
	s->arrived.run_us = s->up_since_us;
	s->arrived.level -= (double)rate * (double)(now - s->arrived.at_us) / (double)SECOND_US;
	if (s->arrived.level < 0)
		s->arrived.level = 0;
	s->arrived.at_us = now;
}

static void look_at_arrival(struct sim_agent *a, const struct agent_view *v, struct sim_server *s)
{
	struct cluster *c = a->cluster;
	double most;

	if (!s->server || s->state != PROGRAM_UP)
		return;
	account_update(s);
	/* What is late for another reason may come all at once. */
	if (!str_equal(v->purpose, "preferred") || !server_is_well(s) || sim_lane_is_slow(s->node, WORK_STORE) ||
	    !agent_is_quiet(a) || !network_is_quiet(c))
		return;
	s->arrived.level += 1;
	most = (double)s->arrived.burst + (double)s->arrived.rate * (double)UNEVEN_US / (double)SECOND_US +
	       (double)s->server->n_promises + 1;
	if (sim_now_us(c->sim) >= s->arrived.from_us && s->arrived.level > most)
		sim_fail(c->sim, "the pace: %.0f agents more than its rate of %lld have come home to server %s at once",
			 s->arrived.level, (long long)s->arrived.rate, s->name);
}

/* ---- freeze ---- */

static void freeze_update(struct cluster *c, const struct truth *t)
{
	if (!t->is_frozen)
		c->frozen_us = 0;
	else if (!c->frozen_us)
		c->frozen_us = sim_now_us(c->sim) + 1;
}

static bool is_frozen_for(const struct cluster *c, int64_t us)
{
	return c->frozen_us && sim_now_us(c->sim) - c->frozen_us > us;
}

/* Its server has told it by now. (A second link may be on its way through its startup since before that.) */
static void look_at_verdict(struct cluster *c, struct sim_agent *a)
{
	struct sim_server *on;
	struct agent_view v;

	if (!a->agent || !is_frozen_for(c, FREEZE_US) || !agent_is_quiet(a) || !network_is_quiet(c))
		return;
	agent_look(a->agent, &v);
	on = v.state == AGENT_UP ? server_at(c, v.connected) : NULL;
	if (!on || !v.is_muster || v.moving || !server_is_quiet(on) || !can_talk(c, a->node, on->node))
		return;
	if (v.failback != FAILBACK_FROZEN && v.failback != FAILBACK_HOME)
		sim_fail(c->sim, "freeze: moves are frozen, and agent %s on server %s thinks of going home (%s)",
			 a->name, on->name, failback_verdict_name(v.failback));
}

static void look_at_frozen_arrival(struct sim_agent *a, const struct agent_view *v, struct sim_server *s)
{
	struct cluster *c = a->cluster;

	if (is_frozen_for(c, FREEZE_LET_IN_US) && v->is_muster && str_equal(v->purpose, "preferred") &&
	    agent_is_quiet(a) && network_is_quiet(c) && server_is_quiet(s))
		sim_fail(c->sim, "freeze: moves are frozen, and agent %s has come home to server %s", a->name, s->name);
}

void moves_changed(struct sim_agent *a)
{
	struct sim_server *on = NULL;
	struct agent_view v;

	if (!a->agent || !sim_node_is_alive(a->node))
		return;
	agent_look(a->agent, &v);
	if (v.state == AGENT_UP)
		on = server_at(a->cluster, v.connected);
	else
		look_at_loss(a, &v);
	if (on && a->was_on && on != a->was_on) {
		a->cluster->n_moves++;
		look_at_arrival(a, &v, on);
		look_at_frozen_arrival(a, &v, on);
	}
	a->was_on = on;
	a->was_muster = v.is_muster;
}

/* ---- home ---- */

static bool is_avoided(struct cluster *c, const struct agent_view *v, const struct sim_server *s)
{
	for (size_t i = 0; i < v->avoid->n; i++)
		if (server_at(c, v->avoid->items[i]) == s)
			return true;
	return false;
}

/* Up for as long as the gate wants, and a while more: so long it takes until the others have heard of it. */
static bool is_old_enough(const struct sim_server *s, const struct agent_view *v)
{
	return sim_now_us(s->cluster->sim) - s->up_since_us > v->uptime_needed_ms * 1000;
}

/* What the agent made of that entry when it looked last; FAILBACK_HOME: it did not ask. */
static enum failback_verdict verdict_on(const struct agent_view *v, size_t entry)
{
	return entry < v->n_gates ? v->gates[entry] : entry == 0 ? v->failback : FAILBACK_HOME;
}

/* Nothing is in its way: the "calm" of the failback gate's bound. `on` is where it is. */
static bool could_be_on(struct cluster *c, const struct truth *t, struct sim_agent *a, const struct agent_view *v,
			struct sim_server *on, struct sim_server *home)
{
	return server_is_quiet(home) && is_old_enough(home, v) && server_is_up_in(t, home) &&
	       server_is_accepting(home->server) && !is_avoided(c, v, home) && can_talk(c, a->node, home->node) &&
	       can_talk(c, on->node, home->node);
}

/* Nobody waits for it: it is dead, or being emptied, and everybody knows. */
static bool is_out(struct cluster *c, const struct truth *t, const struct sim_server *s)
{
	return is_long_ago(c, s->troubled_us) && !server_is_up_in(t, s);
}

/* The first of its list that it could be on, if it knows of all before that one that it could not. *entry is its place.
 */
static struct sim_server *best_live(struct cluster *c, const struct truth *t, struct sim_agent *a,
				    const struct agent_view *v, size_t *entry)
{
	struct sim_server *on = server_at(c, v->connected);

	if (c->frozen_us || !on || v->state != AGENT_UP || v->interval_s <= 0 || str_equal(v->algorithm, "shuffle") ||
	    !network_is_quiet(c) || !agent_is_quiet(a) || !server_is_quiet(on) || !can_talk(c, a->node, on->node))
		return NULL;
	for (size_t i = 0; i < v->list->n; i++) {
		struct sim_server *s = server_at(c, v->list->items[i]);

		if (!s || s == on || (i > 0 && !v->is_muster))
			return NULL;
		*entry = i;
		if (verdict_on(v, i) == FAILBACK_DAMPED)
			continue;
		if (could_be_on(c, t, a, v, on, s))
			return s;
		if (!is_out(c, t, s))
			return NULL;
	}
	return NULL;
}

static void look_for_home(struct cluster *c, const struct truth *t, struct sim_agent *a)
{
	int64_t now = sim_now_us(c->sim), passed = now - a->home_looked_us;
	struct sim_server *home;
	struct agent_view v;
	size_t entry = 0;

	a->home_looked_us = now;
	if (!a->agent) {
		a->home = NULL;
		return;
	}
	agent_look(a->agent, &v);
	home = best_live(c, t, a, &v, &entry);
	if (!home) {
		a->home = NULL;
		return;
	}
	if (a->home != home || a->home_interval_s != v.interval_s) {
		a->home = home;
		a->home_interval_s = v.interval_s;
		a->home_us = 0;
		return;
	}
	/* The pace has told it a time: until then its own time stands. */
	if (verdict_on(&v, entry) != FAILBACK_PUT_OFF)
		a->home_us += passed;
	if (a->home_us > v.interval_s * SECOND_US + HOME_US)
		sim_fail(c->sim, "%s: for %lld s nothing has kept agent %s from going from %s to server %s (%s)",
			 entry ? "even" : "home", (long long)(a->home_us / SECOND_US), a->name, v.connected, home->name,
			 failback_verdict_name(verdict_on(&v, entry)));
}

void moves_look(struct cluster *c, const struct truth *t)
{
	for (size_t i = 0; i < c->n_servers; i++)
		if (c->servers[i]->server && c->servers[i]->state == PROGRAM_UP)
			account_update(c->servers[i]);
	freeze_update(c, t);
	list_for (a, &c->agents, struct sim_agent, in_agents) {
		look_at_verdict(c, a);
		look_for_home(c, t, a);
	}
}

/* ---- for expectations ---- */

size_t moves_behind(struct cluster *c)
{
	size_t n = 0;

	list_for (a, &c->agents, struct sim_agent, in_agents) {
		struct sim_server *s = NULL;
		struct agent_view v;

		if (!a->agent)
			continue;
		agent_look(a->agent, &v);
		for (size_t i = 0; i < v.list->n && (!s || s->state != PROGRAM_UP); i++)
			s = server_at(c, v.list->items[i]);
		n += v.state != AGENT_UP || server_at(c, v.connected) != s;
	}
	return n;
}

size_t moves_spread(struct cluster *c)
{
	size_t least = SIZE_MAX, most = 0;

	for (size_t i = 0; i < c->n_servers; i++) {
		size_t n = sim_server_ready(c->servers[i]);

		if (c->servers[i]->state != PROGRAM_UP)
			continue;
		least = n < least ? n : least;
		most = n > most ? n : most;
	}
	return most > least ? most - least : 0;
}
