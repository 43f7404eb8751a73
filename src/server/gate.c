/*
 * Gate 1 (docs/failover.md, "Admission" 1 to 6): before TLS, how many handshakes are in progress.
 *
 * A link whose hello is there is held by net/link until it is admitted here. While there is no room it waits in the
 * queue of its address, and the addresses take turns, so that one that sends a thousand hellos has one of them dealt
 * with for each of another's. Is the queue long, the listener rests: more connections wait in the kernel's backlog.
 *
 * The loop's delay is measured while a handshake is in progress, by a timer that says how late it came: a turn that
 * took long delays it as it delays everybody's messages. In the simulation it is never late, and the bound only grows.
 *
 *   (no hello yet) --hello--> WAITING --room--> COUNTED --500 ms of silence--> STALLED
 *                                                  ^                              |
 *                                                  +-------its next flight--------+
 *
 * Who has stalled takes no place and is one of those whom a newcomer may replace (crowd.c).
 */
#include "server/internal.h"

#define TICK_MS 5
#define WAITING_MAX 512
#define WAITING_AGAIN (WAITING_MAX * 3 / 4)

void gate_init(struct server *s)
{
	struct gate *g = &s->gate;

	admission_init(&g->bound, &admission_rule_default);
	list_init(&g->counted);
	list_init(&g->turns);
	timer_init(&g->tick, NULL);
}

void gate_deinit(struct server *s)
{
	timer_stop(s->world, &s->gate.tick);
}

/* ---- who is in progress ---- */

static void on_tick(struct timer *t);

static void tick_later(struct server *s)
{
	struct gate *g = &s->gate;

	if (timer_is_set(&g->tick))
		return;
	timer_init(&g->tick, on_tick);
	g->tick_due = mono_add_ms(world_now(s->world), TICK_MS);
	timer_set(s->world, &g->tick, g->tick_due);
}

static void count(struct session *x)
{
	struct gate *g = &x->server->gate;

	x->at_gate = GATE_COUNTED;
	list_append(&g->counted, &x->in_gate);
	g->n_counted++;
	crowd_idle(x, false);
	tick_later(x->server);
}

/* 6. What stops in the middle takes no place. */
static void stall(struct session *x)
{
	list_remove(&x->in_gate);
	x->server->gate.n_counted--;
	x->at_gate = GATE_STALLED;
	crowd_idle(x, true);
}

static void recount(struct server *s, struct mono now)
{
	list_for (x, &s->gate.counted, struct session, in_gate) {
		struct link_turn t = link_turn(x->link);

		if (!admission_counts(&s->gate.bound, t.has_hello, t.is_ours, t.since, now))
			stall(x);
	}
}

/* ---- who is next ---- */

static void rest_or_not(struct server *s)
{
	struct gate *g = &s->gate;
	bool rests = g->n_waiting >= (g->rests ? WAITING_AGAIN : WAITING_MAX);

	if (rests == g->rests || !s->running || !s->listener)
		return;
	g->rests = rests;
	listener_pause(s->listener, rests);
}

static void leave_queue(struct session *x)
{
	list_remove(&x->in_gate);
	x->server->gate.n_waiting--;
	if (list_is_empty(&x->address->waiting))
		list_remove(&x->address->in_turns);
}

/* The next address has its turn, and stands behind the others then. NULL: nobody waits. */
static struct session *next_in_turn(struct gate *g)
{
	struct address *a = list_first(&g->turns, struct address, in_turns);
	struct session *x = a ? list_first(&a->waiting, struct session, in_gate) : NULL;

	if (!x)
		return NULL;
	list_remove(&a->in_turns);
	list_append(&g->turns, &a->in_turns);
	return x;
}

static void fill(struct server *s)
{
	struct gate *g = &s->gate;

	while (!s->stopping && admission_room(&g->bound, g->n_counted)) {
		struct session *x = next_in_turn(g);

		if (!x)
			break;
		leave_queue(x);
		count(x);
		link_admit(x->link);
	}
	rest_or_not(s);
}

static void queue(struct session *x)
{
	struct gate *g = &x->server->gate;

	x->at_gate = GATE_WAITING;
	crowd_idle(x, false);
	if (list_is_empty(&x->address->waiting))
		list_append(&g->turns, &x->address->in_turns);
	list_append(&x->address->waiting, &x->in_gate);
	g->n_waiting++;
	fill(x->server);
}

/* ---- events ---- */

void gate_turn(struct session *x)
{
	struct link_turn t = link_turn(x->link);

	if (!x->address)
		return;
	if (t.is_held && x->at_gate == GATE_OUT)
		queue(x);
	else if (t.is_ours && x->at_gate == GATE_STALLED)
		count(x);
}

void gate_leave(struct session *x)
{
	switch (x->at_gate) {
	case GATE_WAITING:
		leave_queue(x);
		break;
	case GATE_COUNTED:
		list_remove(&x->in_gate);
		x->server->gate.n_counted--;
		break;
	default:
		break;
	}
	x->at_gate = GATE_OUT;
	fill(x->server);
}

static void say_cut(struct server *s, int64_t delay_us)
{
	s->gate.n_cuts++;
	if (pace_passes(s, &s->gate.said))
		log_info(s->log, "the loop was late, fewer handshakes at a time", KV_I("late_ms", delay_us / 1000),
			 KV_U("allowed", s->gate.bound.allowed), KV_U("waiting", s->gate.n_waiting),
			 KV_U("cuts", s->gate.n_cuts));
}

static void on_tick(struct timer *t)
{
	struct gate *g = container_of(t, struct gate, tick);
	struct server *s = container_of(g, struct server, gate);
	struct mono now = world_now(s->world);
	int64_t delay_us = now.us - g->tick_due.us;
	unsigned allowed = g->bound.allowed;

	recount(s, now);
	if (g->n_counted && delay_us > g->worst_us)
		g->worst_us = delay_us;
	admission_sample(&g->bound, delay_us, g->n_counted, now);
	if (g->bound.allowed < allowed)
		say_cut(s, delay_us);
	fill(s);
	if (g->n_counted || g->n_waiting)
		tick_later(s);
}
