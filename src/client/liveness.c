/*
 * Is the other side still there? Between muster peers each side sends a tiny heartbeat when it has sent nothing else
 * (decision 26). After 2.5 silent intervals the link is suspect: a candidate is opened elsewhere while the link is
 * kept; whichever of the two shows life first is used. After 10 s or 4 intervals, whichever is longer, it is dead.
 * Towards CloudStack there are no heartbeats: the kernel's timers and unanswered pings have to do.
 */
#include <inttypes.h>
#include <stdio.h>

#include "client/engine.h"

#define DEAD_AT_LEAST_MS 10000
#define OWN_STALL_MS 1000

static int64_t suspect_ms(const struct session *s)
{
	return s->heartbeat_ms * 5 / 2;
}

static int64_t dead_ms(const struct session *s)
{
	int64_t ms = s->heartbeat_ms * 4;

	return ms > DEAD_AT_LEAST_MS ? ms : DEAD_AT_LEAST_MS;
}

static struct mono heard(const struct session *s)
{
	struct mono at = link_heard(s->link);

	return mono_before(at, s->excused) ? s->excused : at;
}

bool liveness_is_silent(const struct session *s)
{
	return s->heartbeat_ms && mono_reached(world_now(s->agent->world), mono_add_ms(heard(s), suspect_ms(s)));
}

static void look_again_at(struct session *s, struct mono at)
{
	s->look_at = at;
	timer_set(s->agent->world, &s->liveness_timer, at);
}

void liveness_start(struct session *s)
{
	if (s->heartbeat_ms)
		look_again_at(s, mono_add_ms(heard(s), suspect_ms(s)));
	else
		timer_stop(s->agent->world, &s->liveness_timer);
}

static void speaks_again(struct session *s)
{
	struct agent *a = s->agent;

	if (!s->is_suspect)
		return;
	s->is_suspect = false;
	log_info(a->log, "the server is heard again", KV_S("server", s->entry));
	if (s == a->current && a->hunt.purpose == HUNT_SUSPECT)
		move_abandon(a, "the link in use is alive after all");
}

static void becomes_suspect(struct session *s)
{
	if (s->is_suspect)
		return;
	s->is_suspect = true;
	log_warn(s->agent->log, "the server is silent, looking for another one", KV_S("server", s->entry),
		 KV_I("heartbeat_ms", s->heartbeat_ms));
}

static void give_up(struct session *s, int64_t silent_ms)
{
	char sentence[64];

	snprintf(sentence, sizeof(sentence), "nothing was heard for %" PRId64 " ms", silent_ms);
	move_session_lost(s, ERR_TIMEOUT, sentence);
}

void liveness_look(struct timer *t)
{
	struct session *s = container_of(t, struct session, liveness_timer);
	struct mono now = world_now(s->agent->world);
	struct mono dead_at;

	/* A silence that we slept through is no fault of the server's. */
	if (mono_ms_between(s->look_at, now) > OWN_STALL_MS)
		s->excused = now;
	dead_at = mono_add_ms(heard(s), dead_ms(s));
	if (!liveness_is_silent(s)) {
		speaks_again(s);
		look_again_at(s, mono_add_ms(heard(s), suspect_ms(s)));
	} else if (mono_reached(now, dead_at)) {
		give_up(s, mono_ms_between(heard(s), now));
	} else {
		becomes_suspect(s);
		look_again_at(s, mono_min(dead_at, mono_add_ms(now, s->heartbeat_ms)));
		if (s == s->agent->current)
			move_begin(s->agent, HUNT_SUSPECT);
	}
}
