#include "memory_world.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "net/tls_gnutls.h"

struct memory_stream {
	struct stream stream;
	struct list listed;
	struct memory_stream *other; /* NULL: it has gone */
	struct buf in;               /* under way to us */
	bool paused;
	bool deaf;
	bool closed;
	bool dialled;    /* connected() is due */
	bool accepted;   /* accepted() is due */
	bool was_queued; /* what we sent waits: drained() is due */
};

struct memory_world {
	struct world world;
	struct mono now;
	struct list laters;
	struct list work;
	struct list streams;
	struct list gone;
	size_t piece;
	bool blackhole;
	struct listen_params listen; /* accepted NULL: there is no listener */
	struct listener listener;
};

static struct memory_world *memory_of(struct world *w)
{
	return container_of(w, struct memory_world, world);
}

static struct memory_stream *stream_of(const struct stream *s)
{
	return container_of((struct stream *)(uintptr_t)s, struct memory_stream, stream);
}

static struct mono op_now(struct world *w)
{
	return memory_of(w)->now;
}

static int64_t op_wall_ms(struct world *w)
{
	return 1800000000000 + memory_of(w)->now.us / 1000;
}

static void op_entropy(struct world *w, void *out, size_t n)
{
	for (uint8_t *p = out; n--; p++)
		*p = (uint8_t)rng_u64(&w->rng);
}

static void op_wake_at(struct world *w, struct mono at)
{
}

static void op_later(struct world *w, struct later *l)
{
	list_append(&memory_of(w)->laters, &l->queued);
}

static void op_work(struct world *w, enum work_lane lane, struct work *work)
{
	list_append(&memory_of(w)->work, &work->queued);
}

static struct memory_stream *stream_new(struct memory_world *w, const char *ip)
{
	struct memory_stream *s = mem_zalloc(sizeof(*s));

	assert(s);
	s->stream.world = &w->world;
	str_copy(s->stream.peer_ip, sizeof(s->stream.peer_ip), ip);
	list_append(&w->streams, &s->listed);
	return s;
}

static enum err op_connect(struct world *world, struct stream **out, const char *ip, uint16_t port,
			   const char *source_ip, const struct stream_events *events, void *user, struct why *why)
{
	struct memory_world *w = memory_of(world);
	struct memory_stream *from, *to;

	if (!w->listen.accepted) {
		why_set(why, "connection refused");
		return ERR_UNREACHABLE;
	}
	from = stream_new(w, ip);
	to = stream_new(w, "10.0.0.9");
	from->other = to;
	to->other = from;
	from->dialled = !w->blackhole;
	to->accepted = !w->blackhole;
	stream_take(&from->stream, events, user);
	*out = &from->stream;
	return ERR_OK;
}

static enum err op_listen(struct world *world, struct listener **out, const struct listen_params *p, struct why *why)
{
	struct memory_world *w = memory_of(world);

	w->listen = *p;
	w->listener.world = world;
	*out = &w->listener;
	return ERR_OK;
}

static struct listener *op_listener_free(struct listener *l)
{
	memory_of(l->world)->listen.accepted = NULL;
	return NULL;
}

static enum err op_stream_write(struct stream *stream, const void *data, size_t n)
{
	struct memory_stream *s = stream_of(stream);

	if (s->closed || !s->other)
		return ERR_CLOSED;
	s->was_queued = true;
	return buf_put(&s->other->in, data, n);
}

static size_t op_stream_queued(const struct stream *stream)
{
	struct memory_stream *s = stream_of(stream);

	return s->other && s->other->deaf ? s->other->in.len : 0;
}

static void op_stream_pause(struct stream *s, bool paused)
{
	stream_of(s)->paused = paused;
}

static void op_stream_close(struct stream *stream)
{
	struct memory_stream *s = stream_of(stream);

	if (s->closed)
		return;
	s->closed = true;
	if (s->other)
		s->other->other = NULL;
	list_remove(&s->listed);
	list_append(&memory_of(s->stream.world)->gone, &s->listed);
}

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
	.connect = op_connect,
	.listen = op_listen,
	.listener_free = op_listener_free,
	.stream_write = op_stream_write,
	.stream_queued = op_stream_queued,
	.stream_pause = op_stream_pause,
	.stream_close = op_stream_close,
	.work = op_work,
	.creds_new = op_creds_new,
};

struct world *memory_world_new(void)
{
	struct memory_world *w = mem_zalloc(sizeof(*w));

	assert(w);
	w->world.ops = &ops;
	w->now.us = 1000000;
	rng_init(&w->world.rng, 1);
	list_init(&w->laters);
	list_init(&w->work);
	list_init(&w->streams);
	list_init(&w->gone);
	return &w->world;
}

static void free_gone(struct memory_world *w)
{
	list_for (s, &w->gone, struct memory_stream, listed) {
		list_remove(&s->listed);
		buf_deinit(&s->in);
		mem_free(s);
	}
}

static void meet(struct memory_world *w, struct memory_stream *s)
{
	if (s->accepted) {
		s->accepted = false;
		w->listen.accepted(w->listen.user, &s->stream);
	}
	if (s->dialled && !s->closed) {
		s->dialled = false;
		s->stream.events->connected(s->stream.user);
	}
}

static void deliver(struct memory_world *w, struct memory_stream *s)
{
	size_t n = s->in.len;
	struct buf piece = {0};

	if (!s->stream.events && !s->other)
		op_stream_close(&s->stream); /* dialled into the black hole, and given up */
	if (s->closed || s->paused || s->deaf || !s->stream.events)
		return;
	if (w->piece && n > w->piece)
		n = w->piece;
	if (n > 0) {
		if (buf_put(&piece, s->in.data, n) != ERR_OK)
			assert(false);
		buf_consume(&s->in, n);
		s->stream.events->data(s->stream.user, piece.data, piece.len);
		buf_deinit(&piece);
	} else if (!s->other) {
		s->stream.events->ended(s->stream.user, ERR_CLOSED, "the other side closed the connection");
		op_stream_close(&s->stream);
	}
}

static void drain(struct memory_stream *s)
{
	if (s->closed || !s->was_queued || !s->other || s->other->in.len > 0)
		return;
	s->was_queued = false;
	if (s->stream.events->drained)
		s->stream.events->drained(s->stream.user);
}

static void run_work(struct memory_world *w)
{
	struct list due;

	list_init(&due);
	list_for (work, &w->work, struct work, queued) {
		list_remove(&work->queued);
		list_append(&due, &work->queued);
	}
	while (!list_is_empty(&due)) {
		struct work *work = list_first(&due, struct work, queued);

		list_remove(&work->queued);
		work->run(work);
		work->done(work);
	}
}

static void run_laters(struct memory_world *w)
{
	struct list due;

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
}

void memory_turn(struct world *world)
{
	struct memory_world *w = memory_of(world);
	struct memory_stream *all[16];
	size_t n = 0;

	list_for (s, &w->streams, struct memory_stream, listed) {
		assert(n < ARRAY_SIZE(all));
		all[n++] = s;
	}
	/* Streams that close meanwhile stay in memory until the end of the turn. */
	for (size_t i = 0; i < n; i++)
		meet(w, all[i]);
	for (size_t i = 0; i < n; i++)
		deliver(w, all[i]);
	for (size_t i = 0; i < n; i++)
		drain(all[i]);
	run_work(w);
	world_run_timers(world, w->now);
	run_laters(w);
	free_gone(w);
}

void memory_turns(struct world *w, int n)
{
	while (n--)
		memory_turn(w);
}

void memory_advance(struct world *w, int64_t ms)
{
	memory_of(w)->now = mono_add_ms(memory_of(w)->now, ms);
}

struct world *memory_world_free(struct world *world)
{
	struct memory_world *w = memory_of(world);

	memory_turns(world, 5);
	list_for (s, &w->streams, struct memory_stream, listed)
		op_stream_close(&s->stream);
	free_gone(w);
	heap_deinit(&w->world.timers);
	return mem_free(w);
}

void memory_pieces(struct world *w, size_t n)
{
	memory_of(w)->piece = n;
}

void memory_deaf(struct stream *s, bool deaf)
{
	stream_of(s)->deaf = deaf;
}

void memory_blackhole(struct world *w, bool on)
{
	memory_of(w)->blackhole = on;
}
