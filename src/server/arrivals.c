/*
 * Arrivals: the pace at which agents that come home are taken (docs/failover.md, "Pace").
 *
 * A server that is back would get all of its agents within one check interval of theirs, each with a startup, a claim
 * and a list. An agent whose startup says that it comes to its preferred server has a link elsewhere and loses nothing
 * by waiting: it takes a token (core/token_bucket), or is told when its own comes, and comes back then. All other
 * startups pass: who has no link, flees from a silent server or was sent here must not wait.
 *
 * A token that was promised is remembered by guid, so that it is paid for once; for a while beyond its time, and not
 * for more agents than fit. Who has been forgotten takes a new one.
 */
#include "server/internal.h"

#include <string.h>

#define RETRY_LEAST_MS 100
#define RETRY_MOST_MS 60000
#define RETRY_FAR_MS 30000 /* nothing can be promised: somewhere between this and the most */
#define KEEP_MS 30000      /* beyond its time: a handshake that takes long, a look that comes late */
#define EARLY_MS 10        /* timers are rounded */
#define PROMISES_MOST 10000

struct promise {
	struct list in_promises; /* s->promises */
	struct mono at;
	char guid[];
};

static void promise_drop(struct server *s, struct promise *p)
{
	map_remove(&s->promise_by_guid, p->guid);
	list_remove(&p->in_promises);
	mem_free(p);
	s->n_promises--;
}

static void promise_make(struct server *s, const char *guid, struct mono at, struct promise *take_p)
{
	memcpy(take_p->guid, guid, strlen(guid) + 1);
	take_p->at = at;
	list_append(&s->promises, &take_p->in_promises);
	s->n_promises++;
}

/* In the order in which they were made, which is about that of their times. */
static void promises_expire(struct server *s, struct mono now)
{
	while (!list_is_empty(&s->promises)) {
		struct promise *p = list_first(&s->promises, struct promise, in_promises);

		if (!mono_reached(now, mono_add_ms(p->at, KEEP_MS)))
			return;
		promise_drop(s, p);
	}
}

void arrivals_deinit(struct server *s)
{
	list_for (p, &s->promises, struct promise, in_promises)
		promise_drop(s, p);
	map_deinit(&s->promise_by_guid);
}

static void pace_update(struct server *s, struct mono now)
{
	int64_t per_s = config_number(s, "agent.failback.rate", 0), burst = config_number(s, "agent.failback.burst", 0);

	if (!s->arrivals.burst)
		token_bucket_init(&s->arrivals, per_s, burst, now);
	else if (s->arrivals.per_s != per_s || s->arrivals.burst != burst)
		token_bucket_set(&s->arrivals, per_s, burst, now);
}

static int64_t retry_in(struct mono now, struct mono at)
{
	int64_t ms = (at.us - now.us + 999) / 1000;

	return ms < RETRY_LEAST_MS ? RETRY_LEAST_MS : ms;
}

static int64_t somewhen(struct server *s)
{
	return rng_between(&s->world->rng, RETRY_FAR_MS, RETRY_MOST_MS);
}

/* 0: it may come in. Otherwise when it shall come back. */
static int64_t wait_for_token(struct server *s, const char *guid, struct mono now)
{
	struct mono at = token_bucket_when(&s->arrivals, 1, now);
	size_t size = strlen(guid) + 1;
	struct promise *p;

	if (!s->arrivals.per_s)
		return somewhen(s); /* a pause: what has been saved up isn't used either */
	if (mono_reached(now, at)) {
		token_bucket_take(&s->arrivals, 1, now);
		return 0;
	}
	/* Further away than anybody should plan: no promise, and not all of them at once. */
	if (mono_reached(at, mono_add_ms(now, RETRY_MOST_MS)) || s->n_promises >= PROMISES_MOST)
		return somewhen(s);
	p = mem_zalloc(sizeof(*p) + size);
	if (!p || map_put(&s->promise_by_guid, guid, p)) {
		mem_free(p);
		return somewhen(s);
	}
	promise_make(s, guid, token_bucket_take(&s->arrivals, 1, now), p);
	return retry_in(now, at);
}

size_t arrivals_waiting(struct server *s)
{
	promises_expire(s, world_now(s->world));
	return s->n_promises;
}

int64_t arrivals_wait_ms(struct server *s, const char *guid)
{
	struct mono now = world_now(s->world);
	struct promise *p;

	pace_update(s, now);
	promises_expire(s, now);
	if (freeze_is_on(s))
		return somewhen(s); /* who hasn't heard it yet; what was promised stands */
	p = map_get(&s->promise_by_guid, guid);
	if (!p)
		return wait_for_token(s, guid, now);
	if (!mono_reached(mono_add_ms(now, EARLY_MS), p->at))
		return retry_in(now, p->at);
	promise_drop(s, p);
	return 0;
}
