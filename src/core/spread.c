/*
 * Spread: a queue of agents to tell, a window of agents being told, and pauses after failures.
 *
 *   added --> READY --step--> TOLD --acked--> forgotten
 *               ^              |  |
 *               |  no answer,  |  | failed
 *               +- or added ---+  v
 *               |  meanwhile     PAUSING
 *               +--- time ---------+
 *
 * READY agents stand in a queue, first come first told. Every agent also has one place in the heap of due times for
 * as long as it is known, at "never" while it waits in the queue: so only spread_add() ever asks for memory, and an
 * agent that was taken can't be lost for want of it.
 *
 * What an agent is told is the caller's business: at the moment of telling it takes the newest list. Hence one bit is
 * enough to know whether a confirmation means the newest: has it been told since it was last added?
 */
#include "core/spread.h"

#include <assert.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "core/backoff.h"

#define WINDOW_DEFAULT 64

enum agent_state { AGENT_READY, AGENT_TOLD, AGENT_PAUSING };

struct spread_agent {
	uint64_t host;
	enum agent_state state;
	struct list in_queue; /* while READY */
	struct heap_node due; /* TOLD: when the answer is overdue; PAUSING: when it is told again */
	struct backoff backoff;
	bool is_newest_told; /* told since it was last added */
};

struct spread {
	struct spread_rule rule;
	struct backoff_rule backoff_rule;
	struct map agents; /* host id to struct spread_agent, owned */
	struct list ready; /* of in_queue */
	struct heap due;   /* of due; every agent is in it */
	size_t n_told;
};

#define TO(state) (1u << AGENT_##state)
/* clang-format off */
static const unsigned next_states[] = {
	[AGENT_READY]   = TO(TOLD),
	[AGENT_TOLD]    = TO(READY) | TO(PAUSING),
	[AGENT_PAUSING] = TO(READY),
};
/* clang-format on */
#undef TO

/* Never fails for an agent that has its place in the heap. */
static void due_set(struct spread *s, struct spread_agent *a, struct mono at)
{
	enum err e = heap_set(&s->due, &a->due, at);

	assert(!e);
	(void)e;
}

/* The only place where a known agent changes state. `due` is when time moves it on. */
static void agent_move(struct spread *s, struct spread_agent *a, enum agent_state to, struct mono due)
{
	assert(next_states[a->state] & (1u << to));

	list_remove(&a->in_queue);
	s->n_told -= a->state == AGENT_TOLD;
	a->state = to;
	s->n_told += a->state == AGENT_TOLD;
	if (a->state == AGENT_READY)
		list_append(&s->ready, &a->in_queue);
	due_set(s, a, due);
}

static void *agent_free(struct spread *s, struct spread_agent *a)
{
	list_remove(&a->in_queue);
	heap_remove(&s->due, &a->due);
	s->n_told -= a->state == AGENT_TOLD;
	return mem_free(a);
}

struct spread *spread_new(const struct spread_rule *rule)
{
	struct spread *s = mem_zalloc(sizeof(*s));

	if (!s)
		return NULL;
	if (rule)
		s->rule = *rule;
	if (!s->rule.window)
		s->rule.window = WINDOW_DEFAULT;
	if (s->rule.answer_ms <= 0)
		s->rule.answer_ms = 60000;
	if (s->rule.retry_min_ms <= 0)
		s->rule.retry_min_ms = 1000;
	if (s->rule.retry_max_ms <= 0)
		s->rule.retry_max_ms = 60000;
	s->backoff_rule = (struct backoff_rule){
		.floor_ms = s->rule.retry_min_ms,
		.base_ms = s->rule.retry_min_ms,
		.cap_ms = s->rule.retry_max_ms,
	};
	map_init_number(&s->agents, 0); /* host ids are ours, nobody can choose them to collide */
	list_init(&s->ready);
	return s;
}

void spread_set_window(struct spread *s, size_t window)
{
	s->rule.window = window ? window : WINDOW_DEFAULT;
}

struct spread *spread_free(struct spread *s)
{
	struct spread_agent *a;
	size_t cursor = 0;

	if (!s)
		return NULL;
	while ((a = map_next(&s->agents, &cursor)))
		agent_free(s, a);
	map_deinit(&s->agents);
	heap_deinit(&s->due);
	return mem_free(s);
}

enum err spread_add(struct spread *s, uint64_t host, struct mono now)
{
	struct spread_agent *a = map_get_u64(&s->agents, host);
	enum err e;

	if (a) {
		/* Where it stands it stays: in the queue, in the window or in its pause. It will be told once more. */
		a->is_newest_told = false;
		return ERR_OK;
	}
	if (!(a = mem_zalloc(sizeof(*a))))
		return ERR_NOMEM;
	a->host = host;
	a->state = AGENT_READY;
	list_init(&a->in_queue);
	heap_node_init(&a->due);
	if ((e = heap_set(&s->due, &a->due, MONO_NEVER)) || (e = map_put_u64(&s->agents, host, a))) {
		agent_free(s, a);
		return e;
	}
	list_append(&s->ready, &a->in_queue);
	return ERR_OK;
}

static struct spread_agent *first_overdue(const struct spread *s, struct mono now)
{
	struct heap_node *first = heap_first(&s->due);

	if (!first || mono_is_never(first->at) || !mono_reached(now, first->at))
		return NULL;
	return container_of(first, struct spread_agent, due);
}

size_t spread_step(struct spread *s, struct mono now, uint64_t *hosts, size_t room)
{
	struct spread_agent *a;
	size_t n = 0;

	/* Pauses that are over, and answers that never came: to the end of the queue, behind those who wait. */
	while ((a = first_overdue(s, now)))
		agent_move(s, a, AGENT_READY, MONO_NEVER);
	while (n < room && s->n_told < s->rule.window && (a = list_first(&s->ready, struct spread_agent, in_queue))) {
		agent_move(s, a, AGENT_TOLD, mono_add_ms(now, s->rule.answer_ms));
		a->is_newest_told = true;
		hosts[n++] = a->host;
	}
	return n;
}

void spread_acked(struct spread *s, uint64_t host)
{
	struct spread_agent *a = map_get_u64(&s->agents, host);

	if (!a)
		return;
	/* Also when it comes late, after the time-out: what it confirms is the newest all the same. */
	if (a->is_newest_told) {
		map_remove_u64(&s->agents, host);
		agent_free(s, a);
		return;
	}
	a->backoff = (struct backoff){0};
	if (a->state == AGENT_TOLD)
		agent_move(s, a, AGENT_READY, MONO_NEVER);
}

void spread_failed(struct spread *s, uint64_t host, struct mono now, struct rng *rng)
{
	struct spread_agent *a = map_get_u64(&s->agents, host);

	/* Late failures are normal after a time-out: it is going to be told again anyway. */
	if (!a || a->state != AGENT_TOLD)
		return;
	backoff_failed(&a->backoff, &s->backoff_rule, now, rng);
	agent_move(s, a, AGENT_PAUSING, a->backoff.retry_at);
}

void spread_gone(struct spread *s, uint64_t host)
{
	struct spread_agent *a = map_remove_u64(&s->agents, host);

	if (a)
		agent_free(s, a);
}

struct mono spread_next_due(const struct spread *s)
{
	struct heap_node *first = heap_first(&s->due);

	if (!list_is_empty(&s->ready) && s->n_told < s->rule.window)
		return (struct mono){0};
	return first ? first->at : MONO_NEVER;
}

size_t spread_waiting(const struct spread *s)
{
	return s->agents.n;
}

bool spread_has(const struct spread *s, uint64_t host)
{
	return map_get_u64(&s->agents, host) != NULL;
}
