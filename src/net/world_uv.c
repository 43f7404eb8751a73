#include "net/world_uv.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "base/mem.h"
#include "net/tls_gnutls.h"
#include "net/uv_private.h"

#define NAME_THREADS 4

struct uv_signal {
	uv_signal_t handle;
	struct list listed; /* in uv_world.signals */
	void (*call)(void *user, int signo);
	void *user;
};

/* ---- time ---- */

/* libuv looks at its clock once before timers and once after waiting; whenever it did, so do we, in microseconds. */
static struct mono now_of(struct uv_world *w)
{
	uint64_t ms = uv_now(&w->loop);

	if (ms != w->now_read_ms) {
		w->now_read_ms = ms;
		w->now.us = (int64_t)(uv_hrtime() / 1000);
	}
	return w->now;
}

static struct mono op_now(struct world *w)
{
	return now_of(uv_world_of(w));
}

static int64_t op_wall_ms(struct world *w)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void op_entropy(struct world *w, void *out, size_t n)
{
	uint8_t *p = out;

	while (n > 0) {
		ssize_t got = getrandom(p, n, 0);

		if (got < 0) {
			/* The kernel can't fail otherwise; keys made from nothing would be worse than no process. */
			if (errno != EINTR)
				abort();
			continue;
		}
		p += got;
		n -= (size_t)got;
	}
}

static void fire_timers(uv_timer_t *t);

static void wake_at(struct uv_world *w, struct mono at, int64_t at_least_ms)
{
	int64_t us, ms;

	if (mono_is_never(at)) {
		uv_timer_stop(&w->timer);
		return;
	}
	us = at.us - now_of(w).us;
	ms = us <= 0 ? 0 : us / 1000 + (us % 1000 != 0);
	if (ms < at_least_ms)
		ms = at_least_ms;
	uv_timer_start(&w->timer, fire_timers, (uint64_t)ms, 0);
}

static void fire_timers(uv_timer_t *t)
{
	struct uv_world *w = container_of(t, struct uv_world, timer);
	struct mono next;

	w->firing = true;
	next = world_run_timers(&w->world, now_of(w));
	w->firing = false;
	/* Not 0 here: libuv would fire it again before it looks at a socket. */
	wake_at(w, next, 1);
}

static void op_wake_at(struct world *world, struct mono at)
{
	struct uv_world *w = uv_world_of(world);

	if (!w->firing)
		wake_at(w, at, 0);
}

/* ---- the end of a turn ---- */

static void run_laters(struct uv_world *w)
{
	struct list due;

	/* What is asked for from here on belongs to the next turn. */
	list_init(&due);
	list_for (l, &w->laters, struct later, queued) {
		list_remove(&l->queued);
		list_append(&due, &l->queued);
	}
	while (!list_is_empty(&due)) {
		struct later *l = list_first(&due, struct later, queued);

		list_remove(&l->queued);
		l->call(l);
	}
	if (list_is_empty(&w->laters))
		uv_idle_stop(&w->idle);
}

static void on_check(uv_check_t *c)
{
	run_laters(container_of(c, struct uv_world, check));
}

static void on_idle(uv_idle_t *i)
{
}

static void op_later(struct world *world, struct later *l)
{
	struct uv_world *w = uv_world_of(world);

	list_append(&w->laters, &l->queued);
	uv_idle_start(&w->idle, on_idle);
}

static void on_async(uv_async_t *a)
{
	work_report(container_of(a, struct uv_world, async));
}

/* ---- errors ---- */

enum err uv_err(int status, const char **sentence)
{
	/* clang-format off */
	static const struct {
		int status;
		enum err e;
		const char *sentence;
	} rows[] = {
		{ UV_EOF,           ERR_CLOSED,      "the other side closed the connection" },
		{ UV_ECONNRESET,    ERR_CLOSED,      "the other side reset the connection" },
		{ UV_EPIPE,         ERR_CLOSED,      "the other side closed the connection" },
		{ UV_ECONNABORTED,  ERR_CLOSED,      "the connection was aborted" },
		{ UV_ETIMEDOUT,     ERR_TIMEOUT,     "the other side does not answer" },
		{ UV_ECONNREFUSED,  ERR_UNREACHABLE, "connection refused" },
		{ UV_EHOSTUNREACH,  ERR_UNREACHABLE, "no route to the host" },
		{ UV_ENETUNREACH,   ERR_UNREACHABLE, "network is unreachable" },
		{ UV_EADDRNOTAVAIL, ERR_UNREACHABLE, "address is not available" },
		{ UV_EAFNOSUPPORT,  ERR_UNREACHABLE, "no network for this kind of address" },
		{ UV_EADDRINUSE,    ERR_EXISTS,      "address is in use" },
		{ UV_EACCES,        ERR_REFUSED,     "not allowed" },
		{ UV_EPERM,         ERR_REFUSED,     "not allowed" },
		{ UV_EMFILE,        ERR_FULL,        "too many open files" },
		{ UV_ENFILE,        ERR_FULL,        "too many open files in the system" },
		{ UV_ENOMEM,        ERR_NOMEM,       "out of memory" },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].status == status) {
			*sentence = rows[i].sentence;
			return rows[i].e;
		}
	}
	*sentence = uv_strerror(status);
	return ERR_IO;
}

/* ---- the table ---- */

static enum err op_creds_new(struct world *w, struct tls_creds **out, const struct tls_material *m, struct why *why)
{
	return tls_gnutls_creds_new(out, m, why);
}

static const struct world_ops ops = {
	.now = op_now,
	.wall_ms = op_wall_ms,
	.entropy = op_entropy,
	.wake_at = op_wake_at,
	.later = op_later,
	.connect = uv_stream_connect,
	.listen = uv_listener_new,
	.listener_pause = uv_listener_pause,
	.listener_port = uv_listener_port,
	.listener_free = uv_listener_free,
	.stream_write = uv_stream_write,
	.stream_queued = uv_stream_queued,
	.stream_pause = uv_stream_pause,
	.stream_close = uv_stream_close,
	.resolve = uv_resolve,
	.resolve_cancel = uv_resolve_cancel,
	.work = uv_work,
	.creds_new = op_creds_new,
};

static bool lanes_new(struct uv_world *w)
{
	static const struct {
		bool single;
		bool join;
		bool nice;
	} rows[N_LANES] = {
		[WORK_CRYPTO] = {.single = false, .join = true, .nice = true},
		[WORK_STORE] = {.single = true, .join = true},
		[WORK_FILE] = {.single = true, .join = true},
		[LANE_NAMES] = {.single = false, .join = false},
	};

	for (int i = 0; i < N_LANES; i++) {
		unsigned n = i == LANE_NAMES ? NAME_THREADS : uv_available_parallelism();

		w->lanes[i] = lane_new(w, rows[i].single ? 1 : n, rows[i].join, rows[i].nice);
		if (!w->lanes[i])
			return false;
	}
	return true;
}

/* These handles can fail only by misuse, the loop and its wake-up only by lack of descriptors or memory. */
static int handles_new(struct uv_world *w)
{
	int status = uv_loop_init(&w->loop);

	if (status)
		return status;
	status = uv_async_init(&w->loop, &w->async, on_async);
	if (status) {
		uv_loop_close(&w->loop);
		return status;
	}
	uv_timer_init(&w->loop, &w->timer);
	uv_idle_init(&w->loop, &w->idle);
	uv_check_init(&w->loop, &w->check);
	uv_check_start(&w->check, on_check);
	return 0;
}

enum err world_uv_new(struct world **out, struct why *why)
{
	struct uv_world *w = mem_zalloc(sizeof(*w));
	uint64_t seed;
	int status;

	if (!w)
		return ERR_NOMEM;
	w->world.ops = &ops;
	w->world.fs = &fs_posix;
	w->tcp = TCP_TIMERS_DEFAULT;
	list_init(&w->laters);
	list_init(&w->signals);
	list_init(&w->finished);
	op_entropy(&w->world, &seed, sizeof(seed));
	rng_init(&w->world.rng, seed);

	if (uv_mutex_init(&w->finished_lock)) {
		mem_free(w);
		return ERR_NOMEM;
	}
	status = handles_new(w);
	if (status) {
		why_set(why, "event loop: %s", uv_strerror(status));
		uv_mutex_destroy(&w->finished_lock);
		mem_free(w);
		return ERR_IO;
	}
	w->now_read_ms = uv_now(&w->loop);
	w->now.us = (int64_t)(uv_hrtime() / 1000);
	if (!lanes_new(w)) {
		world_uv_free(&w->world);
		return ERR_NOMEM;
	}
	/* A peer that went away is an error of write(), not the end of the process. */
	signal(SIGPIPE, SIG_IGN);
	*out = &w->world;
	return ERR_OK;
}

void world_uv_set_tcp(struct world *w, const struct tcp_timers *t)
{
	uv_world_of(w)->tcp = *t;
}

void world_uv_run(struct world *w)
{
	uv_run(&uv_world_of(w)->loop, UV_RUN_DEFAULT);
}

void world_uv_turn(struct world *w)
{
	uv_run(&uv_world_of(w)->loop, UV_RUN_ONCE);
}

void world_uv_stop(struct world *w)
{
	uv_stop(&uv_world_of(w)->loop);
}

uv_loop_t *world_uv_loop(struct world *w)
{
	return &uv_world_of(w)->loop;
}

/* ---- signals ---- */

static void on_signal(uv_signal_t *handle, int signo)
{
	struct uv_signal *s = container_of(handle, struct uv_signal, handle);

	s->call(s->user, signo);
}

static void free_signal(uv_handle_t *h)
{
	mem_free(container_of((uv_signal_t *)h, struct uv_signal, handle));
}

enum err world_uv_on_signal(struct world *world, int signo, void (*call)(void *user, int signo), void *user)
{
	struct uv_world *w = uv_world_of(world);
	struct uv_signal *s = mem_zalloc(sizeof(*s));

	if (!s)
		return ERR_NOMEM;
	s->call = call;
	s->user = user;
	list_init(&s->listed);
	if (uv_signal_init(&w->loop, &s->handle)) {
		mem_free(s);
		return ERR_IO;
	}
	list_append(&w->signals, &s->listed);
	if (uv_signal_start(&s->handle, on_signal, signo)) {
		list_remove(&s->listed);
		uv_close((uv_handle_t *)&s->handle, free_signal);
		return ERR_IO;
	}
	return ERR_OK;
}

/* ---- the end ---- */

static void abandon(uv_handle_t *h, void *arg)
{
	if (uv_is_closing(h))
		return;
	if (uv_stream_owns(h))
		uv_stream_abandon(h);
	else if (uv_listener_owns(h))
		uv_listener_abandon(h);
	else if (h->type == UV_SIGNAL)
		uv_close(h, free_signal);
	else
		uv_close(h, NULL);
}

void world_uv_stop_work(struct world *world)
{
	struct uv_world *w = uv_world_of(world);

	for (int i = 0; i < N_LANES; i++) {
		lane_stop(w->lanes[i]);
		w->lanes[i] = NULL;
	}
}

struct world *world_uv_free(struct world *world)
{
	struct uv_world *w;

	if (!world)
		return NULL;
	w = uv_world_of(world);
	world_uv_stop_work(world);
	/* A link that was closed just now is still to be freed; that may ask for another round, not for ever. */
	for (int i = 0; i < 100 && !list_is_empty(&w->laters); i++)
		run_laters(w);
	while (!list_is_empty(&w->finished)) {
		struct work *work = list_first(&w->finished, struct work, queued);

		list_remove(&work->queued);
		work_drop(work);
	}

	uv_walk(&w->loop, abandon, NULL);
	/* More than once if somebody had asked it to stop: then the first run returns at once. */
	while (uv_loop_close(&w->loop) == UV_EBUSY)
		uv_run(&w->loop, UV_RUN_DEFAULT);
	uv_mutex_destroy(&w->finished_lock);
	heap_deinit(&w->world.timers);
	mem_free(w);
	return NULL;
}
