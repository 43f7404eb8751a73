#include "sim/sim.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/private.h"

#define START_US                                                                                                       \
	1000000000LL                  /* a monotonic clock starts anywhere but at 0, which means                       \
					 "never" here and there */
#define WALL_START_MS 1767225600000LL /* 2026-01-01 */
#define DEFAULT_COST_US 100
#define REPORT_US 20 /* from a lane back to the loop */

/* ---- the hash, chance, notes ---- */

void sim_hash_number(struct sim *s, uint64_t n)
{
	s->hash = (s->hash ^ n) * 0x9e3779b97f4a7c15u;
	s->hash ^= s->hash >> 29;
}

bool sim_draw(struct sim *s, uint32_t ppm)
{
	return ppm && rng_below(&s->rng, 1000000) < ppm;
}

int64_t sim_now_us(const struct sim *s)
{
	return s->now_us - START_US;
}

struct rng *sim_rng(struct sim *s)
{
	return &s->rng;
}

uint64_t sim_hash(const struct sim *s)
{
	return s->hash;
}

uint64_t sim_events(const struct sim *s)
{
	return s->n_events;
}

void sim_trace_ends(struct sim *s)
{
	s->p.print = NULL;
}

bool sim_is_tracing(const struct sim *s)
{
	return s->p.print != NULL;
}

static void print(struct sim *s, const struct sim_node *n, const char *text)
{
	CLEAN(mem_freep) char *line = NULL;
	int64_t us = sim_now_us(s);

	line = mem_printf("%6lld.%06lld  %-10s %s", (long long)(us / 1000000), (long long)(us % 1000000),
			  n ? n->name : "", text);
	if (line)
		s->p.print(s->p.user, line);
}

void sim_note(struct sim *s, const struct sim_node *n, const char *format, ...)
{
	char text[1024];
	va_list args;

	if (!s->p.print)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	print(s, n, text);
}

void sim_fail(struct sim *s, const char *format, ...)
{
	char text[1024];
	va_list args;

	if (s->failure)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	s->failure = mem_printf("at %lld.%06lld: %s", (long long)(sim_now_us(s) / 1000000),
				(long long)(sim_now_us(s) % 1000000), text);
	sim_note(s, NULL, "FAILED %s", text);
}

const char *sim_failure(const struct sim *s)
{
	return s->failure;
}

static void log_write(void *user, enum log_level level, const char *line)
{
	struct sim_node *n = user;
	char text[1024];

	if (!n->sim->p.print)
		return;
	snprintf(text, sizeof(text), "%s: %s", log_level_name(level), line);
	print(n->sim, n, text);
}

/* ---- events ---- */

void sim_event_init(struct sim_event *e, struct sim_node *owner, uint8_t kind, void (*fire)(struct sim_event *e))
{
	heap_node_init(&e->node);
	list_init(&e->put_off);
	e->owner = owner;
	e->kind = kind;
	e->fire = fire;
}

void sim_event_set(struct sim *s, struct sim_event *e, int64_t at_us)
{
	if (at_us < s->now_us)
		at_us = s->now_us;
	list_remove(&e->put_off);
	if (heap_set(&s->events, &e->node, (struct mono){.us = at_us}) != ERR_OK)
		abort();
}

void sim_event_stop(struct sim *s, struct sim_event *e)
{
	list_remove(&e->put_off);
	heap_remove(&s->events, &e->node);
}

bool sim_event_is_set(const struct sim_event *e)
{
	return e->node.index != HEAP_NOT_IN || !list_is_empty(&e->put_off);
}

static void run_laters(struct sim_node *n)
{
	struct list due;

	if (list_is_empty(&n->laters))
		return;
	/* What is asked for from here on belongs to the next turn. */
	list_init(&due);
	list_for (l, &n->laters, struct later, queued) {
		list_remove(&l->queued);
		list_append(&due, &l->queued);
	}
	while (!list_is_empty(&due)) {
		struct later *l = list_first(&due, struct later, queued);

		list_remove(&l->queued);
		l->call(l);
	}
}

void sim_enter(struct sim_node *n)
{
	assert(!n->inside);
	n->inside = true;
	n->sim->current = n;
}

void sim_leave(struct sim_node *n)
{
	if (!n->doomed)
		run_laters(n);
	n->inside = false;
	n->sim->current = NULL;
	if (!list_is_empty(&n->laters) && !n->doomed)
		sim_event_set(n->sim, &n->turn, n->sim->now_us + 1);
}

static void fire(struct sim *s, struct sim_event *e)
{
	struct sim_node *n = e->owner;

	s->n_events++;
	sim_hash_number(s, (uint64_t)s->now_us);
	sim_hash_number(s, (uint64_t)e->kind << 32 | (n ? n->id : 0));
	if (!n) {
		e->fire(e);
		return;
	}
	sim_enter(n);
	e->fire(e);
	sim_leave(n);
}

bool sim_step(struct sim *s, int64_t until_us)
{
	struct heap_node *first = heap_first(&s->events);
	struct sim_event *e;

	until_us += START_US;
	if (!first || first->at.us > until_us) {
		if (s->now_us < until_us)
			s->now_us = until_us;
		return false;
	}
	e = container_of(first, struct sim_event, node);
	heap_remove(&s->events, first);
	s->now_us = first->at.us;
	if (e->owner && e->owner->frozen)
		list_append(&e->owner->put_off, &e->put_off);
	else if (!e->owner || (e->owner->alive && !e->owner->doomed))
		fire(s, e);
	return true;
}

void sim_run(struct sim *s, int64_t until_us)
{
	while (!s->failure && sim_step(s, until_us))
		;
}

/* ---- the world of one process: time and timers ---- */

static struct mono op_now(struct world *w)
{
	return (struct mono){.us = node_of(w)->sim->now_us};
}

static int64_t op_wall_ms(struct world *w)
{
	struct sim_node *n = node_of(w);

	return WALL_START_MS + sim_now_us(n->sim) / 1000 + n->wall_offset_ms;
}

static void op_entropy(struct world *w, void *out, size_t n)
{
	struct sim *s = node_of(w)->sim;
	uint8_t *p = out;

	while (n > 0) {
		uint64_t v = rng_u64(&s->rng);
		size_t part = n < sizeof(v) ? n : sizeof(v);

		memcpy(p, &v, part);
		p += part;
		n -= part;
	}
}

static void op_wake_at(struct world *w, struct mono at)
{
	struct sim_node *n = node_of(w);

	if (!n->firing && !node_is_mute(n))
		sim_event_set(n->sim, &n->wake, at.us);
}

static void fire_timers(struct sim_event *e)
{
	struct sim_node *n = container_of(e, struct sim_node, wake);
	struct mono next;

	n->firing = true;
	next = world_run_timers(&n->world, op_now(&n->world));
	n->firing = false;
	if (mono_is_never(next) || n->doomed)
		return;
	/* A timer that always sets itself again must not stop the clock. */
	sim_event_set(n->sim, e, next.us > n->sim->now_us ? next.us : n->sim->now_us + 1);
}

static void op_later(struct world *w, struct later *l)
{
	struct sim_node *n = node_of(w);

	list_append(&n->laters, &l->queued);
	if (!n->inside && !node_is_mute(n))
		sim_event_set(n->sim, &n->turn, n->sim->now_us);
}

static void fire_turn(struct sim_event *e)
{ /* sim_leave() does it. */
}

/* ---- lanes ---- */

struct job {
	struct sim_event event;
	struct list in_jobs;
	struct list in_lane;
	struct work *work;
	enum work_lane lane;
	int64_t cost_us;
	bool has_run;
};

static void lane_next(struct sim_node *n, enum work_lane lane);

static void job_done(struct sim_event *e)
{
	struct job *j = container_of(e, struct job, event);
	struct sim_node *n = e->owner;
	struct work *work = j->work;
	enum work_lane lane = j->lane;

	n->lanes[lane].running--;
	list_remove(&j->in_jobs);
	mem_free(j);
	lane_next(n, lane);
	work->done(work);
}

/* What a lane does is done before anybody hears of it: a crash in between
 * leaves a change that nobody was told. */
static void job_run(struct sim_event *e)
{
	struct job *j = container_of(e, struct job, event);
	struct sim_node *n = e->owner;

	j->has_run = true;
	j->work->run(j->work);
	e->kind = EV_WORK_DONE;
	e->fire = job_done;
	sim_event_set(n->sim, e, n->sim->now_us + REPORT_US + (j->lane == WORK_STORE ? j->cost_us / 2 : 0));
}

static void lane_next(struct sim_node *n, enum work_lane lane)
{
	struct lane *l = &n->lanes[lane];

	while (!l->stalled && l->running < l->max && !list_is_empty(&l->queue)) {
		struct job *j = list_first(&l->queue, struct job, in_lane);

		list_remove(&j->in_lane);
		l->running++;
		sim_event_set(n->sim, &j->event,
			      n->sim->now_us + (lane == WORK_STORE ? j->cost_us - j->cost_us / 2 : j->cost_us));
	}
}

static void op_work(struct world *w, enum work_lane lane, struct work *work)
{
	struct sim_node *n = node_of(w);
	struct job *j = mem_zalloc(sizeof(*j));

	if (!j)
		abort();
	work->world = w;
	list_init(&work->queued);
	sim_event_init(&j->event, n, EV_WORK_RUN, job_run);
	j->work = work;
	j->lane = lane;
	j->cost_us = work->cost_us ? work->cost_us : DEFAULT_COST_US;
	if (n->lanes[lane].slowness)
		j->cost_us *= n->lanes[lane].slowness;
	/* A disk's flush: a millisecond, now and then ten. */
	if (lane == WORK_STORE)
		j->cost_us += rng_between(&n->sim->rng, 300, 1500) * (sim_draw(n->sim, 20000) ? 10 : 1);
	list_init(&j->in_lane);
	list_append(&n->jobs, &j->in_jobs);
	list_append(&n->lanes[lane].queue, &j->in_lane);
	if (!node_is_mute(n))
		lane_next(n, lane);
}

void sim_lane_stall(struct sim_node *n, enum work_lane lane, bool stalled)
{
	n->lanes[lane].stalled = stalled;
	if (n->alive)
		lane_next(n, lane);
}

bool sim_lane_is_stalled(const struct sim_node *n, enum work_lane lane)
{
	return n->lanes[lane].stalled;
}

void sim_lane_slow(struct sim_node *n, enum work_lane lane, unsigned times)
{
	n->lanes[lane].slowness = times;
}

bool sim_lane_is_slow(const struct sim_node *n, enum work_lane lane)
{
	return n->lanes[lane].slowness > 1;
}

/* Work that owns itself (it has dropped()) outlives the engine; the rest
 * belongs to the engine, which frees it. */
static void jobs_cut(struct sim_node *n)
{
	list_for (j, &n->jobs, struct job, in_jobs) {
		sim_event_stop(n->sim, &j->event);
		list_remove(&j->in_lane);
		if (!j->work->dropped) {
			list_remove(&j->in_jobs);
			mem_free(j);
		}
	}
}

static void jobs_drop(struct sim_node *n)
{
	list_for (j, &n->jobs, struct job, in_jobs) {
		if (j->work->dropped)
			j->work->dropped(j->work);
		list_remove(&j->in_jobs);
		mem_free(j);
	}
}

/* ---- processes ---- */

static const struct world_ops ops = {
	.now = op_now,
	.wall_ms = op_wall_ms,
	.entropy = op_entropy,
	.wake_at = op_wake_at,
	.later = op_later,
	.connect = net_connect,
	.listen = net_listen,
	.listener_pause = net_listener_pause,
	.listener_port = net_listener_port,
	.listener_free = net_listener_free,
	.stream_write = net_stream_write,
	.stream_queued = net_stream_queued,
	.stream_pause = net_stream_pause,
	.stream_close = net_stream_close,
	.resolve = net_resolve,
	.resolve_cancel = net_resolve_cancel,
	.work = op_work,
	.creds_new = sim_creds_new,
};

static void fire_death(struct sim_event *e)
{
	struct sim_node *n = container_of(e, struct sim_node, death);

	sim_node_kill(n, n->doom);
}

enum err sim_node_new(struct sim *s, struct sim_node **out, const struct sim_node_params *p)
{
	struct sim_node *n = mem_zalloc(sizeof(*n));
	enum err e;

	if (!n || !(n->disk = disk_new())) {
		mem_free(n);
		return ERR_NOMEM;
	}
	n->sim = s;
	n->p = *p;
	n->id = ++s->n_nodes;
	n->powered = true;
	str_copy(n->name, sizeof(n->name), p->name);
	str_copy(n->ip, sizeof(n->ip), p->ip);
	list_init(&n->laters);
	list_init(&n->jobs);
	list_init(&n->streams);
	list_init(&n->listeners);
	list_init(&n->resolves);
	list_init(&n->put_off);
	for (int i = 0; i < WORK_N_LANES; i++)
		list_init(&n->lanes[i].queue);
	sim_event_init(&n->wake, n, EV_TIMERS, fire_timers);
	sim_event_init(&n->turn, n, EV_TURN, fire_turn);
	sim_event_init(&n->death, NULL, EV_DEATH, fire_death);
	n->log = (struct log){.level = s->p.level, .write = log_write, .user = n};
	n->fs = sim_fs;
	n->fs.user = n;
	list_append(&s->nodes, &n->in_nodes);
	e = map_put(&s->by_ip, n->ip, n);
	if (!e)
		e = sim_name(s, n->name, n);
	if (!e)
		*out = n;
	return e;
}

struct world *sim_node_start(struct sim_node *n)
{
	struct sim *s = n->sim;

	assert(!n->alive);
	if (!n->powered) {
		n->boots++;
		n->powered = true;
		net_machine_started(n);
	}
	n->alive = true;
	n->frozen = false;
	n->doomed = false;
	n->next_port = (uint16_t)(32768 + rng_below(&s->rng, 16384));
	n->world = (struct world){.ops = &ops, .fs = &n->fs};
	rng_init(&n->world.rng, rng_u64(&s->rng));
	for (int i = 0; i < WORK_N_LANES; i++) {
		n->lanes[i].running = 0;
		n->lanes[i].stalled = false;
		n->lanes[i].slowness = 1;
		n->lanes[i].max = i == WORK_CRYPTO && n->p.crypto_threads ? n->p.crypto_threads : 1;
	}
	sim_note(s, n, "--- starts");
	return &n->world;
}

struct world *sim_node_world(struct sim_node *n)
{
	return n->alive ? &n->world : NULL;
}

static void sweep(struct sim_node *n)
{
	for (int i = 0; i < 100 && !list_is_empty(&n->laters); i++)
		run_laters(n);
	assert(list_is_empty(&n->laters));
	jobs_drop(n);
	net_process_swept(n);
	heap_deinit(&n->world.timers);
}

void sim_node_kill(struct sim_node *n, enum sim_death how)
{
	struct sim *s = n->sim;

	assert(!n->inside);
	if (how == SIM_POWER_LOST && n->powered && !n->alive) {
		n->powered = false;
		net_process_died(n, how);
		disk_power_lost(n);
		return;
	}
	if (!n->alive)
		return;
	sim_note(s, n, "--- %s", how == SIM_POWER_LOST ? "loses power" : "is killed");
	n->alive = false;
	n->sweeping = true;
	n->frozen = false;
	n->powered = how != SIM_POWER_LOST;
	sim_event_stop(s, &n->wake);
	sim_event_stop(s, &n->turn);
	sim_event_stop(s, &n->death);
	list_for (e, &n->put_off, struct sim_event, put_off)
		list_remove(&e->put_off);
	jobs_cut(n);
	net_process_died(n, how);
	if (n->p.died)
		n->p.died(n->p.user, how);
	sweep(n);
	if (how == SIM_POWER_LOST)
		disk_power_lost(n);
	n->sweeping = false;
	n->doomed = false;
	sim_disk_dies_at(n, -1, SIM_KILLED);
}

void sim_node_kill_soon(struct sim_node *n, enum sim_death how)
{
	if (n->doomed || !n->alive)
		return;
	n->doomed = true;
	n->doom = how;
	sim_event_set(n->sim, &n->death, n->sim->now_us);
}

bool sim_node_is_alive(const struct sim_node *n)
{
	return n->alive && !n->doomed;
}

void sim_node_freeze(struct sim_node *n, bool frozen)
{
	if (!n->alive || n->frozen == frozen)
		return;
	n->frozen = frozen;
	sim_note(n->sim, n, "--- %s", frozen ? "is stopped" : "goes on");
	if (frozen)
		return;
	/* In the order in which they would have come. */
	list_for (e, &n->put_off, struct sim_event, put_off)
		sim_event_set(n->sim, e, n->sim->now_us);
}

bool sim_node_is_frozen(const struct sim_node *n)
{
	return n->frozen;
}

const char *sim_node_name(const struct sim_node *n)
{
	return n->name;
}

const char *sim_node_ip(const struct sim_node *n)
{
	return n->ip;
}

const struct log *sim_node_log(const struct sim_node *n)
{
	return n->sim->p.print ? &n->log : NULL;
}

void sim_node_jump(struct sim_node *n, int64_t ms)
{
	n->wall_offset_ms += ms;
	sim_note(n->sim, n, "--- the wall clock jumps by %lld ms", (long long)ms);
}

size_t sim_node_streams(const struct sim_node *n)
{
	return n->n_streams;
}

/* ---- the whole ---- */

enum err sim_new(struct sim **out, const struct sim_params *p)
{
	struct sim *s = mem_zalloc(sizeof(*s));

	if (!s || !(s->texts = texts_new())) {
		mem_free(s);
		return ERR_NOMEM;
	}
	s->p = *p;
	s->now_us = START_US;
	s->hash = 0xcbf29ce484222325u;
	rng_init(&s->rng, p->seed);
	list_init(&s->nodes);
	net_init(s);
	*out = s;
	return ERR_OK;
}

struct sim *sim_free(struct sim *s)
{
	if (!s)
		return NULL;
	list_for (n, &s->nodes, struct sim_node, in_nodes) {
		assert(!n->alive);
		list_remove(&n->in_nodes);
		disk_free(n->disk);
		mem_free(n);
	}
	net_deinit(s);
	heap_deinit(&s->events);
	texts_free(s->texts);
	mem_free(s->failure);
	return mem_free(s);
}
