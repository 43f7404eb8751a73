/*
 * Drain: the rules of docs/failover.md ("Drain").
 *
 *   added --> WAITING --step--> ASKED --refused--> REFUSED
 *               ^ ^               | |                 |
 *               | +-- move_ms ----+ |                 |
 *               +------ time -------|-----------------+
 *                                   | link gone
 *                                   v
 *                                 LEFT --left_ms--> VANISHED
 *
 * From everywhere: up elsewhere leads to MOVED; a link that is gone leads from WAITING and REFUSED to VANISHED at once;
 * an agent that is added again (it came back) to WAITING. Who is WAITING stands in a queue, first come first asked.
 *
 * Every agent has one place in the heap of due times for as long as the drain lasts, at "never" where time changes
 * nothing: so only drain_add() ever asks for memory, and no agent is lost to the count for want of it.
 */
#include "core/drain.h"

#include <assert.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "core/backoff.h"
#include "core/token_bucket.h"

#define SENTENCE_MOST 200 /* it comes from an agent */
#define PACE_MOVES 32     /* moves that the estimate looks back at */
#define BURST_MS 100      /* the rate is kept over this time, so that ticks needn't be exact */

struct drain_agent {
	uint64_t host;
	enum drain_fate fate;
	struct list in_queue; /* while WAITING */
	struct heap_node due; /* ASKED: asked again; REFUSED: the pause is over; LEFT: given up */
	struct backoff backoff;
	unsigned n_asked;
	enum err error;
	char *sentence; /* owned; NULL: none, or no memory for it */
};

struct drain {
	struct drain_rule rule;
	struct backoff_rule backoff_rule;
	struct token_bucket bucket;
	struct map agents;   /* host id to struct drain_agent, owned */
	struct list waiting; /* of in_queue */
	struct heap due;     /* of due; every agent is in it */
	size_t n[DRAIN_N_FATES];
	struct mono deadline;
	bool is_paused;
	/* The estimate: time without pauses, and when the last moves were on that clock. */
	int64_t active_us;
	struct mono stepped; /* active_us is up to here */
	int64_t moved_us[PACE_MOVES];
	size_t n_moves; /* ever; the ring's end is n_moves % PACE_MOVES */
};

#define TO(fate) (1u << DRAIN_##fate)
/* clang-format off */
static const struct {
	const char *name;
	const char *text; /* why it has not moved, where no agent has said so */
	unsigned next;    /* fates that may follow */
} fates[] = {
	[DRAIN_WAITING]  = { "waiting",  "not asked yet",
			     TO(ASKED) | TO(VANISHED) | TO(MOVED) },
	[DRAIN_ASKED]    = { "asked",    "asked, and still here",
			     TO(WAITING) | TO(REFUSED) | TO(LEFT) | TO(MOVED) },
	[DRAIN_REFUSED]  = { "refused",  "it refused to move",
			     TO(WAITING) | TO(VANISHED) | TO(MOVED) },
	[DRAIN_LEFT]     = { "left",     "it has left and no other server has reported it yet",
			     TO(WAITING) | TO(VANISHED) | TO(MOVED) },
	[DRAIN_VANISHED] = { "vanished", "its link was lost and no other server has it",
			     TO(WAITING) | TO(MOVED) },
	[DRAIN_MOVED]    = { "moved",    "it is on another server",
			     TO(WAITING) },
};
/* clang-format on */
#undef TO
_Static_assert(ARRAY_SIZE(fates) == DRAIN_N_FATES, "each fate has a name");

static const char *const state_names[] = {
	[DRAIN_RUNNING] = "running",
	[DRAIN_PAUSED] = "paused",
	[DRAIN_DONE] = "done",
	[DRAIN_TIMED_OUT] = "timed out",
};
_Static_assert(ARRAY_SIZE(state_names) == DRAIN_N_STATES, "each state has a name");

const char *drain_state_name(enum drain_state s)
{
	return state_names[s];
}

const char *drain_fate_name(enum drain_fate f)
{
	return fates[f].name;
}

int64_t drain_rate_within(size_t n, int64_t ms)
{
	int64_t half_ms = ms / 2 > 0 ? ms / 2 : 1;
	int64_t rate;

	if (__builtin_mul_overflow(n, (int64_t)1000, &rate))
		return INT64_MAX;
	return rate / half_ms + 1;
}

/* ---- the agents ---- */

/* Never fails for an agent that has its place in the heap. */
static void due_set(struct drain *d, struct drain_agent *a, struct mono at)
{
	enum err e = heap_set(&d->due, &a->due, at);

	assert(!e);
	(void)e;
}

/* The only place where a known agent's fate changes. `due` is when time changes it again. */
static void agent_move(struct drain *d, struct drain_agent *a, enum drain_fate to, struct mono due)
{
	assert(fates[a->fate].next & (1u << to));

	list_remove(&a->in_queue);
	d->n[a->fate]--;
	a->fate = to;
	d->n[a->fate]++;
	if (a->fate == DRAIN_WAITING)
		list_append(&d->waiting, &a->in_queue);
	due_set(d, a, due);
}

static void agent_free(struct drain *d, struct drain_agent *a)
{
	list_remove(&a->in_queue);
	heap_remove(&d->due, &a->due);
	mem_free(a->sentence);
	mem_free(a);
}

struct drain *drain_new(const struct drain_rule *rule, struct mono now)
{
	struct drain *d = mem_zalloc(sizeof(*d));
	struct drain_rule *r;

	if (!d)
		return NULL;
	r = &d->rule;
	if (rule)
		*r = *rule;
	r->per_s = r->per_s > 0 ? r->per_s : 100;
	r->window = r->window ? r->window : 64;
	r->move_ms = r->move_ms > 0 ? r->move_ms : 30000;
	r->retry_min_ms = r->retry_min_ms > 0 ? r->retry_min_ms : 1000;
	r->retry_max_ms = r->retry_max_ms > 0 ? r->retry_max_ms : 30000;
	r->left_ms = r->left_ms > 0 ? r->left_ms : 15000;
	d->backoff_rule = (struct backoff_rule){
		.floor_ms = r->retry_min_ms,
		.base_ms = r->retry_min_ms,
		.cap_ms = r->retry_max_ms,
	};
	token_bucket_init(&d->bucket, r->per_s, r->per_s / (1000 / BURST_MS), now);
	map_init_number(&d->agents, 0); /* host ids are ours, nobody can choose them to collide */
	list_init(&d->waiting);
	d->deadline = r->timeout_ms > 0 ? mono_add_ms(now, r->timeout_ms) : MONO_NEVER;
	d->stepped = now;
	return d;
}

struct drain *drain_free(struct drain *d)
{
	struct drain_agent *a;
	size_t cursor = 0;

	if (!d)
		return NULL;
	while ((a = map_next(&d->agents, &cursor)))
		agent_free(d, a);
	map_deinit(&d->agents);
	heap_deinit(&d->due);
	return mem_free(d);
}

static bool is_here(const struct drain_agent *a)
{
	return a->fate == DRAIN_WAITING || a->fate == DRAIN_ASKED || a->fate == DRAIN_REFUSED;
}

enum err drain_add(struct drain *d, uint64_t host)
{
	struct drain_agent *a = map_get_u64(&d->agents, host);
	enum err e;

	if (a) {
		/* 8. Back again: it counts again, and waits for its turn like everybody. */
		if (!is_here(a))
			agent_move(d, a, DRAIN_WAITING, MONO_NEVER);
		return ERR_OK;
	}
	if (!(a = mem_zalloc(sizeof(*a))))
		return ERR_NOMEM;
	a->host = host;
	a->fate = DRAIN_WAITING;
	list_init(&a->in_queue);
	heap_node_init(&a->due);
	if ((e = heap_set(&d->due, &a->due, MONO_NEVER)) || (e = map_put_u64(&d->agents, host, a))) {
		agent_free(d, a);
		return e;
	}
	list_append(&d->waiting, &a->in_queue);
	d->n[DRAIN_WAITING]++;
	return ERR_OK;
}

/* ---- time ---- */

static size_t n_to_wait_for(const struct drain *d)
{
	return d->n[DRAIN_WAITING] + d->n[DRAIN_ASKED] + d->n[DRAIN_REFUSED] + d->n[DRAIN_LEFT];
}

static enum drain_state state_at(const struct drain *d, struct mono now)
{
	/* 1. Done is done, also after the deadline. */
	if (!n_to_wait_for(d))
		return DRAIN_DONE;
	/* 2. The deadline is the operator's patience: it comes during a pause too. */
	if (mono_reached(now, d->deadline))
		return DRAIN_TIMED_OUT;
	return d->is_paused ? DRAIN_PAUSED : DRAIN_RUNNING;
}

/* What a pause, a wait or a departure comes to when nobody reports anything. */
static void agent_overdue(struct drain *d, struct drain_agent *a)
{
	/* 6. Who was asked to go and left is expected elsewhere for a while; then it is listed and no longer waited
	 * for. */
	if (a->fate == DRAIN_LEFT)
		agent_move(d, a, DRAIN_VANISHED, MONO_NEVER);
	/* 5. Who refused or did nothing is asked again, behind those who wait for their first turn. */
	else
		agent_move(d, a, DRAIN_WAITING, MONO_NEVER);
}

static void time_pass(struct drain *d, struct mono now)
{
	struct heap_node *first;

	if (mono_before(d->stepped, now)) {
		d->active_us += d->is_paused ? 0 : now.us - d->stepped.us;
		d->stepped = now;
	}
	while ((first = heap_first(&d->due)) && !mono_is_never(first->at) && mono_reached(now, first->at))
		agent_overdue(d, container_of(first, struct drain_agent, due));
}

size_t drain_step(struct drain *d, bool others_accept, struct mono now, uint64_t *hosts, size_t room)
{
	struct drain_agent *a;
	size_t n = 0;

	time_pass(d, now);
	/* 3. Nobody is asked to go where nobody would take it. Who was asked already may still arrive. */
	d->is_paused = !others_accept;
	if (state_at(d, now) != DRAIN_RUNNING)
		return 0;
	/* 4. At a rate, so that the others aren't overrun; a window, so that a slow cluster slows the drain down. */
	while (n < room && d->n[DRAIN_ASKED] + d->n[DRAIN_LEFT] < d->rule.window &&
	       (a = list_first(&d->waiting, struct drain_agent, in_queue)) && token_bucket_try(&d->bucket, 1, now)) {
		agent_move(d, a, DRAIN_ASKED, mono_add_ms(now, d->rule.move_ms));
		a->n_asked++;
		hosts[n++] = a->host;
	}
	return n;
}

unsigned drain_n_asked(const struct drain *d, uint64_t host)
{
	const struct drain_agent *a = map_get_u64(&d->agents, host);

	return a ? a->n_asked : 0;
}

struct mono drain_next_due(const struct drain *d, struct mono now)
{
	struct heap_node *first = heap_first(&d->due);
	struct mono due = first ? first->at : MONO_NEVER;
	enum drain_state state = state_at(d, now);

	if (state == DRAIN_DONE || state == DRAIN_TIMED_OUT)
		return MONO_NEVER;
	due = mono_min(due, d->deadline);
	if (state == DRAIN_RUNNING && !list_is_empty(&d->waiting) &&
	    d->n[DRAIN_ASKED] + d->n[DRAIN_LEFT] < d->rule.window)
		due = mono_min(due, token_bucket_when(&d->bucket, 1, now));
	if (mono_reached(now, due))
		due.us = 0;
	return due;
}

/* ---- what became of them ---- */

void drain_moved(struct drain *d, uint64_t host, struct mono now)
{
	struct drain_agent *a = map_get_u64(&d->agents, host);

	if (!a || a->fate == DRAIN_MOVED)
		return;
	time_pass(d, now);
	/* 7. Gone is who is up elsewhere, whether it was asked or not, and whatever was believed of it. */
	agent_move(d, a, DRAIN_MOVED, MONO_NEVER);
	a->backoff = (struct backoff){0};
	d->moved_us[d->n_moves++ % PACE_MOVES] = d->active_us;
}

void drain_refused(struct drain *d, uint64_t host, enum err why, const char *sentence, struct mono now, struct rng *rng)
{
	struct drain_agent *a = map_get_u64(&d->agents, host);

	/* Late refusals are normal: it is going to be asked again anyway. */
	if (!a || a->fate != DRAIN_ASKED)
		return;
	backoff_failed(&a->backoff, &d->backoff_rule, now, rng);
	mem_free(a->sentence);
	a->sentence = sentence ? mem_strndup(sentence, SENTENCE_MOST) : NULL;
	a->error = why;
	agent_move(d, a, DRAIN_REFUSED, a->backoff.retry_at);
}

void drain_vanished(struct drain *d, uint64_t host, struct mono now)
{
	struct drain_agent *a = map_get_u64(&d->agents, host);

	if (!a || !is_here(a))
		return;
	/*
	 * 6. Who was asked is on its way: towards CloudStack an agent leaves before it arrives. Between the two it may
	 * come back, and a server that stops too early would cut it off. Who wasn't asked has another trouble.
	 */
	if (a->fate == DRAIN_ASKED)
		agent_move(d, a, DRAIN_LEFT, mono_add_ms(now, d->rule.left_ms));
	else
		agent_move(d, a, DRAIN_VANISHED, MONO_NEVER);
}

void drain_forget(struct drain *d, uint64_t host)
{
	struct drain_agent *a = map_remove_u64(&d->agents, host);

	if (!a)
		return;
	d->n[a->fate]--;
	agent_free(d, a);
}

/* ---- the report ---- */

/* 9. What is left, at the pace of the last moves up to now, so that it grows when nothing happens. */
static int64_t remaining_ms(const struct drain *d, struct mono now)
{
	size_t n_seen = d->n_moves < PACE_MOVES ? d->n_moves : PACE_MOVES;
	/* The ring holds one move less than the gaps between them once it is full: the oldest one is where it begins.
	 */
	int64_t from_us = d->n_moves > PACE_MOVES ? d->moved_us[d->n_moves % PACE_MOVES] : 0;
	int64_t active_us = d->active_us + (mono_before(d->stepped, now) ? now.us - d->stepped.us : 0);
	double per_agent_us = 1e6 / (double)d->rule.per_s;

	if (d->n_moves > PACE_MOVES)
		n_seen--;
	if (n_seen && (double)(active_us - from_us) / (double)n_seen > per_agent_us)
		per_agent_us = (double)(active_us - from_us) / (double)n_seen;
	return (int64_t)((double)n_to_wait_for(d) * per_agent_us / 1000);
}

void drain_report(const struct drain *d, struct mono now, struct drain_report *out)
{
	*out = (struct drain_report){
		.state = state_at(d, now),
		.n_total = d->agents.n,
		.n_left = n_to_wait_for(d),
		.deadline = d->deadline,
		.remaining_ms = -1,
	};
	for (size_t i = 0; i < DRAIN_N_FATES; i++)
		out->n_by_fate[i] = d->n[i];
	if (out->state == DRAIN_DONE)
		out->remaining_ms = 0;
	else if (out->state == DRAIN_RUNNING)
		out->remaining_ms = remaining_ms(d, now);
}

bool drain_next_remaining(const struct drain *d, size_t *cursor, struct drain_remaining *out)
{
	struct drain_agent *a;

	while ((a = map_next(&d->agents, cursor))) {
		if (a->fate == DRAIN_MOVED)
			continue;
		*out = (struct drain_remaining){
			.host = a->host,
			.fate = a->fate,
			.n_asked = a->n_asked,
			.error = a->error,
			.sentence = fates[a->fate].text,
		};
		/* 10. What it said itself is the best reason, as long as it is still here. */
		if (is_here(a) && a->error)
			out->sentence = a->sentence ? a->sentence : err_text(a->error);
		return true;
	}
	return false;
}
