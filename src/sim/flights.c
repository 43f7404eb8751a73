/*
 * Commands to agents while everything moves: sent to hosts through servers, both drawn.
 *
 *   - a command has one end: an answer, or a reason why there is none, in its time
 *   - an agent runs it once, however often it was sent
 *   - it fails only if something has befallen a machine since shortly before it was sent: moves lose none
 */
#include "sim/invariants.h"

#include "sim/private.h"

#define WAIT_MS 30000
#define LATE_US (10 * SECOND_US)
#define BEFORE_US (20 * SECOND_US) /* what befell a machine before that has no consequences any more */
#define ANSWER_US (4 * SECOND_US)  /* the longest that an agent takes */

struct flight {
	struct list in_flights;
	struct cluster *cluster;
	struct sim_server *on;
	struct sim_agent *to;
	int64_t run_us; /* the server's run */
	int64_t at_us;
	bool is_over;
};

/* ---- the server's side ---- */

/* Has nothing befallen anybody whom it could concern? */
static bool was_quiet(const struct flight *f)
{
	struct cluster *c = f->cluster;
	const struct sim_network *n = sim_network(c->sim);
	int64_t since = f->at_us - BEFORE_US;

	if (c->troubled_us > since || n->loss_ppm || n->tls_bad_ppm || f->to->troubled_us > since ||
	    f->to->removal != STAYS || f->to->stopping || !sim_node_is_alive(f->to->node) ||
	    sim_node_is_frozen(f->to->node))
		return false;
	for (size_t i = 0; i < c->n_servers; i++) {
		const struct sim_server *s = c->servers[i];

		if (s->troubled_us > since || s->state != PROGRAM_UP || !server_is_well(s) ||
		    sim_lane_is_slow(s->node, WORK_STORE) || !sim_can_talk(c->sim, f->to->node, s->node) ||
		    !sim_can_talk(c->sim, f->on->node, s->node))
			return false;
	}
	return true;
}

static void flight_done(void *user, enum err result, const char *sentence, const struct batch *answers)
{
	struct flight *f = user;
	struct cluster *c = f->cluster;

	if (f->is_over)
		sim_fail(c->sim, "commands: one to %s through %s has ended twice", f->to->name, f->on->name);
	f->is_over = true;
	c->flights_answered += !result;
	if (result && f->on->server && (c->steady || was_quiet(f)))
		sim_fail(c->sim, "commands: one to %s through %s, sent %lld ms ago, is lost: %s", f->to->name,
			 f->on->name, (long long)(sim_now_us(c->sim) - f->at_us) / 1000, sentence);
	if (!result && (!answers || answers->n != 1 || !element_result(&answers->elements[0])))
		sim_fail(c->sim, "commands: the answer of %s through %s is not the one that it gave", f->to->name,
			 f->on->name);
}

static bool flight_send(struct flight *f, struct host *h)
{
	struct request_params p = {.wait_ms = WAIT_MS, .done = flight_done, .user = f};
	struct batch b = {0};
	enum err e = ERR_NOMEM;

	sim_enter(f->on->node);
	if (batch_add(&b, MSG_PING_TEST))
		e = request_to_host(f->on->server, h, &b, &p);
	sim_leave(f->on->node);
	return !e;
}

bool cluster_command(struct cluster *c)
{
	struct sim_server *on = cluster_any_server(c, (size_t)rng_below(sim_rng(c->sim), c->n_servers));
	size_t skip = (size_t)rng_below(sim_rng(c->sim), c->n_agents ? c->n_agents : 1);
	struct sim_agent *to = NULL;
	struct flight *f;
	struct host *h;

	list_for (a, &c->agents, struct sim_agent, in_agents)
		if (!skip--)
			to = a;
	h = on && on->server && to ? roster_by_guid(on->server, to->guid) : NULL;
	if (!h)
		return false;
	f = mem_zalloc(sizeof(*f));
	if (!f)
		abort();
	f->cluster = c;
	f->on = on;
	f->to = to;
	f->run_us = on->up_since_us;
	f->at_us = sim_now_us(c->sim);
	list_append(&c->flights, &f->in_flights);
	if (flight_send(f, h))
		return true;
	list_remove(&f->in_flights);
	mem_free(f);
	return false;
}

/* A server that is gone answers nobody. Those that are over are kept: they might end once more. */
void flights_look(struct cluster *c)
{
	int64_t now = sim_now_us(c->sim);

	list_for (f, &c->flights, struct flight, in_flights) {
		bool is_there = f->on->state == PROGRAM_UP && f->on->up_since_us == f->run_us &&
				!sim_node_is_frozen(f->on->node);

		if (f->is_over || now - f->at_us < WAIT_MS * 1000 + LATE_US)
			continue;
		if (is_there && now - f->on->troubled_us > LATE_US)
			sim_fail(c->sim, "commands: one to %s through %s has had no end for %lld s", f->to->name,
				 f->on->name, (long long)((now - f->at_us) / SECOND_US));
	}
}

void flights_free(struct cluster *c)
{
	list_for (f, &c->flights, struct flight, in_flights) {
		list_remove(&f->in_flights);
		mem_free(f);
	}
}

/* ---- the agent's side ---- */

struct errand {
	struct sim_event event;
	struct list in_errands;
	struct agent_command *command;
};

static void errand_done(struct sim_event *e)
{
	struct errand *r = container_of(e, struct errand, event);
	struct agent_command *command = r->command;

	list_remove(&r->in_errands);
	mem_free(r);
	agent_answer_plain(command, true, NULL);
}

void flights_begin(struct sim_agent *a)
{
	list_init(&a->errands);
	map_init_number(&a->ran, 1);
}

/* Servers number what they ask by themselves, and begin anywhere: two may give the same number. */
static uint64_t command_key(const struct agent_command *command)
{
	return (uint64_t)command->seq ^ (uint64_t)command->mgmt_id * 0x9e3779b97f4a7c15u;
}

void flights_run(struct sim_agent *a, struct agent_command *command)
{
	struct sim *s = a->cluster->sim;
	struct errand *r;

	if (command->element->type != MSG_PING_TEST) {
		agent_answer_unsupported(command);
		return;
	}
	if (map_get_u64(&a->ran, command_key(command)))
		sim_fail(s, "commands: %s runs number %lld a second time", a->name, (long long)command->seq);
	r = mem_zalloc(sizeof(*r));
	if (!r || map_put_u64(&a->ran, command_key(command), a))
		abort();
	r->command = command;
	list_append(&a->errands, &r->in_errands);
	sim_event_init(&r->event, a->node, EV_OUTSIDE, errand_done);
	sim_event_set(s, &r->event, s->now_us + (int64_t)rng_below(&s->rng, ANSWER_US));
}

void flights_end(struct sim_agent *a)
{
	list_for (r, &a->errands, struct errand, in_errands) {
		sim_event_stop(a->cluster->sim, &r->event);
		list_remove(&r->in_errands);
		list_remove(&r->event.put_off);
		mem_free(r);
	}
	map_deinit(&a->ran);
	flights_begin(a);
}
