/*
 * What every world shares: timers on a heap, and the thin door to the table of operations.
 */
#include "net/world.h"

#include <assert.h>
#include <stdlib.h>

struct mono world_now(struct world *w)
{
	return w->ops->now(w);
}

int64_t world_wall_ms(struct world *w)
{
	return w->ops->wall_ms(w);
}

void world_entropy(struct world *w, void *out, size_t n)
{
	w->ops->entropy(w, out, n);
}

void world_uuid(struct world *w, char out[UUID_TEXT])
{
	uint8_t random[16];

	world_entropy(w, random, sizeof(random));
	uuid_from_bytes(out, random);
}

/* ---- timers ---- */

void timer_init(struct timer *t, void (*fire)(struct timer *t))
{
	heap_node_init(&t->node);
	t->fire = fire;
}

void timer_set(struct world *w, struct timer *t, struct mono at)
{
	if (mono_is_never(at)) {
		timer_stop(w, t);
		return;
	}
	/*
	 * A timer that silently never fires is a link that never times out or a host that is never judged: worse than
	 * stopping. Nobody could handle the error either, so this is the one place below main that gives up.
	 */
	if (heap_set(&w->timers, &t->node, at) != ERR_OK)
		abort();
	if (heap_first(&w->timers) == &t->node)
		w->ops->wake_at(w, at);
}

void timer_set_in(struct world *w, struct timer *t, int64_t ms)
{
	timer_set(w, t, mono_add_ms(world_now(w), ms));
}

void timer_stop(struct world *w, struct timer *t)
{
	/* Waking up for nothing is cheaper than telling the world about every timer that was stopped. */
	heap_remove(&w->timers, &t->node);
}

bool timer_is_set(const struct timer *t)
{
	return t->node.index != HEAP_NOT_IN;
}

struct mono world_run_timers(struct world *w, struct mono now)
{
	/*
	 * Timers set from here on wait for the next round, even those that are due at once: one that always sets
	 * itself again must not keep the loop from its sockets.
	 */
	uint64_t round = w->timers.next_order;

	for (;;) {
		struct heap_node *first = heap_first(&w->timers);
		struct timer *t;

		if (!first)
			return MONO_NEVER;
		if (!mono_reached(now, first->at) || first->order >= round)
			return first->at;
		heap_remove(&w->timers, first);
		t = container_of(first, struct timer, node);
		t->fire(t);
	}
}

/* ---- later ---- */

void world_later(struct world *w, struct later *l)
{
	if (list_is_empty(&l->queued))
		w->ops->later(w, l);
}

void world_later_cancel(struct later *l)
{
	list_remove(&l->queued);
}

/* ---- streams ---- */

enum err stream_connect(struct world *w, struct stream **out, const char *ip, uint16_t port, const char *source_ip,
			const struct stream_events *events, void *user, struct why *why)
{
	return w->ops->connect(w, out, ip, port, source_ip, events, user, why);
}

void stream_take(struct stream *s, const struct stream_events *events, void *user)
{
	s->events = events;
	s->user = user;
}

enum err stream_write(struct stream *s, const void *data, size_t n)
{
	return s->world->ops->stream_write(s, data, n);
}

size_t stream_queued(const struct stream *s)
{
	return s->world->ops->stream_queued(s);
}

void stream_pause(struct stream *s, bool paused)
{
	s->world->ops->stream_pause(s, paused);
}

void stream_close(struct stream *s)
{
	if (s)
		s->world->ops->stream_close(s);
}

enum err world_listen(struct world *w, struct listener **out, const struct listen_params *p, struct why *why)
{
	assert(p->accepted);
	return w->ops->listen(w, out, p, why);
}

void listener_pause(struct listener *l, bool paused)
{
	l->world->ops->listener_pause(l, paused);
}

uint16_t listener_port(const struct listener *l)
{
	return l->world->ops->listener_port(l);
}

struct listener *listener_free(struct listener *l)
{
	return l ? l->world->ops->listener_free(l) : NULL;
}

/* ---- names and work ---- */

enum err world_resolve(struct world *w, struct resolve *r)
{
	return w->ops->resolve(w, r);
}

void world_resolve_cancel(struct world *w, struct resolve *r)
{
	w->ops->resolve_cancel(w, r);
}

void world_work(struct world *w, enum work_lane lane, struct work *work)
{
	assert(work->run && work->done);
	w->ops->work(w, lane, work);
}
