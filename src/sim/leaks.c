/*
 * What is counted, counted again, at every look: a number that the engines keep beside what it counts drifts when one
 * way out forgets it, and a limit that stands on such a number closes the door for ever.
 */
#include "sim/invariants.h"

#include "sim/private.h"

/* Far more than anybody sets in use; less than what one for each link that ever was comes to. */
#define TIMERS_PER_LINK 8
#define TIMERS_ELSE 64
#define AGENT_TIMERS_CALM 12
#define AGENT_TIMERS_MOST 64
#define AGENT_STREAMS_MOST 24 /* in use, next, 3 dials, a ticket's, and links that finish their answers */

static void count_is(struct cluster *c, const struct sim_server *m, const char *what, size_t kept, size_t counted)
{
	if (kept != counted)
		sim_fail(c->sim, "leak: server %s says that it has %zu %s, and has %zu", m->name, kept, what, counted);
}

struct census {
	size_t n, in_state[SESSION_CLOSED + 1];
	size_t anonymous, strangers, idle, counted, waiting, claims;
};

static void take_census(struct server *s, struct census *n)
{
	list_for (x, &s->sessions, struct session, in_sessions) {
		n->n++;
		n->in_state[x->state]++;
		n->anonymous += x->address != NULL;
		n->strangers += x->is_stranger;
		n->idle += !list_is_empty(&x->in_idle);
		n->counted += x->at_gate == GATE_COUNTED;
		n->waiting += x->at_gate == GATE_WAITING;
		n->claims += x->claim != NULL;
	}
}

static void look_at_sessions(struct cluster *c, struct sim_server *m, const struct census *n)
{
	struct server *s = m->server;

	for (int st = 0; st < SESSION_CLOSED; st++)
		count_is(c, m, session_state_name((enum session_state)st), s->n_in_state[st], n->in_state[st]);
	count_is(c, m, "closed sessions", s->n_in_state[SESSION_CLOSED], 0);
	count_is(c, m, "sessions", s->n_sessions, n->n);
}

static void look_at_crowd(struct cluster *c, struct sim_server *m, const struct census *n)
{
	size_t cursor = 0, at_addresses = 0, idle = 0;
	struct address *a;

	while ((a = map_next(&m->server->addresses, &cursor))) {
		at_addresses += a->n;
		idle += a->n_idle;
		if (!a->n)
			sim_fail(c->sim, "leak: server %s keeps the address %s, from which nobody is there", m->name,
				 a->ip);
	}
	count_is(c, m, "links without a startup", m->server->n_anonymous, n->anonymous);
	count_is(c, m, "links without a startup, by address,", at_addresses, n->anonymous);
	count_is(c, m, "strangers", m->server->n_strangers, n->strangers);
	count_is(c, m, "idle strangers", idle, n->idle);
}

static void look_at_gate(struct cluster *c, struct sim_server *m, const struct census *n)
{
	const struct gate *g = &m->server->gate;

	count_is(c, m, "handshakes in progress", g->n_counted, n->counted);
	count_is(c, m, "handshakes that wait", g->n_waiting, n->waiting);
	if (!n->in_state[SESSION_TLS] && g->n_counted + g->n_waiting)
		sim_fail(c->sim, "leak: at server %s %zu places are taken, and nobody shakes hands", m->name,
			 g->n_counted + g->n_waiting);
}

static void look_at_promises(struct cluster *c, struct sim_server *m)
{
	struct server *s = m->server;
	size_t n = 0;

	for (const struct list *l = s->promises.next; l != &s->promises; l = l->next)
		n++;
	count_is(c, m, "promised tokens", s->n_promises, n);
	count_is(c, m, "promised tokens by guid", s->promise_by_guid.n, n);
	if (n > c->n_agents)
		sim_fail(c->sim, "leak: server %s has promised %zu tokens to %zu agents", m->name, n, c->n_agents);
}

/* Each request stands in the map and with its host. */
static void look_at_requests(struct cluster *c, struct sim_server *m)
{
	size_t cursor = 0, n = 0;
	struct host *h;

	while ((h = roster_next(m->server, &cursor)))
		for (const struct list *l = h->requests.next; l != &h->requests; l = l->next)
			n++;
	count_is(c, m, "requests", m->server->requests.n, n);
}

static void look_at_timers(struct cluster *c, struct sim_server *m, const struct census *n)
{
	size_t timers = m->server->world->timers.n;
	size_t most = TIMERS_PER_LINK * n->n + roster_n_hosts(m->server) + 2 * m->server->requests.n + TIMERS_ELSE;

	if (timers > most)
		sim_fail(c->sim, "leak: server %s has %zu timers for %zu links and %zu requests", m->name, timers, n->n,
			 m->server->requests.n);
}

static void look_at_agent(struct cluster *c, const struct sim_agent *a)
{
	struct world *w = sim_node_world(a->node);

	if (!w)
		return;
	if (w->timers.n > AGENT_TIMERS_MOST)
		sim_fail(c->sim, "leak: agent %s has %zu timers", a->name, w->timers.n);
	if (sim_node_streams(a->node) > AGENT_STREAMS_MOST)
		sim_fail(c->sim, "leak: agent %s has %zu streams", a->name, sim_node_streams(a->node));
}

void leaks_look(struct cluster *c)
{
	for (size_t i = 0; i < c->n_servers; i++) {
		struct sim_server *m = c->servers[i];
		struct census n = {0};

		if (!m->server || !sim_node_is_alive(m->node))
			continue;
		take_census(m->server, &n);
		look_at_sessions(c, m, &n);
		look_at_crowd(c, m, &n);
		look_at_gate(c, m, &n);
		look_at_promises(c, m);
		look_at_requests(c, m);
		look_at_timers(c, m, &n);
	}
	list_for (a, &c->agents, struct sim_agent, in_agents)
		look_at_agent(c, a);
}

bool leaks_agent_is_clean(const struct sim_agent *a, const struct agent_view *v, struct why *why)
{
	struct world *w = sim_node_world(a->node);

	if (w && w->timers.n > AGENT_TIMERS_CALM) {
		why_set(why, "left over at agent %s: %zu timers", a->name, w->timers.n);
		return false;
	}
	if (v->commands) {
		why_set(why, "left over at agent %s: %zu commands", a->name, v->commands);
		return false;
	}
	return true;
}

bool leaks_server_is_clean(const struct sim_server *m, struct why *why)
{
	struct server *s = m->server;
	struct census n = {0};
	size_t held = 0;

	take_census(s, &n);
	list_for (x, &s->sessions, struct session, in_sessions)
		held += x->held != NULL;
	if (!n.claims && !held && !s->n_starting && !s->n_questions)
		return true;
	why_set(why,
		"left over at server %s: %zu claims, %zu held startups, %zu counted as starting, %zu questions to "
		"others",
		m->name, n.claims, held, s->n_starting, s->n_questions);
	return false;
}
