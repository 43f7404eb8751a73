/*
 * Is the other side still there? Between muster peers each side sends a tiny heartbeat when it has sent nothing else
 * (decision 26). After 2.5 silent intervals the link is suspect: a candidate is opened elsewhere while the link is
 * kept; whichever of the two shows life first is used. After 10 s or 4 intervals, whichever is longer, it is dead.
 *
 * Until it is Ready a link has short heartbeats, so a server that hangs in the middle of a startup is suspect too, and
 * so is one that goes on beating but never gets done with us: its store hangs.
 *
 * Towards CloudStack there are no heartbeats. A ping that isn't answered in time makes the link suspect; it is dead
 * when so many in a row were not answered, or when the kernel's timers say so.
 */
#include <inttypes.h>
#include <stdio.h>

#include "client/engine.h"
#include "core/heartbeat.h"

#define OWN_STALL_MS 1000
#define STARTING_AT_LEAST_MS 2000
#define STARTUP_SLOW_MS 10000 /* a server that is alive and has not made us Ready by then */
#define ASKED_AGAIN_MS 1000

static bool is_starting(const struct session *s)
{
	return s->state == SESSION_STARTING || s->state == SESSION_ANSWERED;
}

static int64_t suspect_ms(const struct session *s)
{
	int64_t ms = heartbeat_suspect_ms(s->heartbeat_ms);

	return is_starting(s) && ms < STARTING_AT_LEAST_MS ? STARTING_AT_LEAST_MS : ms;
}

/* Silence before we were listening again doesn't count. */
static struct mono not_excused(const struct session *s, struct mono at)
{
	return mono_before(at, s->excused) ? s->excused : at;
}

static struct mono heard(const struct session *s)
{
	return not_excused(s, link_heard(s->link));
}

/* When a ping is overdue; MONO_NEVER: none is. Any bytes that have come since are a sign of life too. */
static struct mono overdue_at(const struct session *s)
{
	if (!s->asked_at.us || s->agent->p.ping_deadline_ms <= 0 || mono_before(s->asked_at, link_heard(s->link)))
		return MONO_NEVER;
	return mono_add_ms(not_excused(s, s->asked_at), s->agent->p.ping_deadline_ms);
}

static struct mono slow_at(const struct session *s)
{
	if (!s->is_muster || !is_starting(s))
		return MONO_NEVER;
	return mono_add_ms(not_excused(s, s->started_at), STARTUP_SLOW_MS);
}

/* When it becomes suspect if nothing happens. */
static struct mono suspect_at(const struct session *s)
{
	struct mono at = s->heartbeat_ms ? mono_add_ms(heard(s), suspect_ms(s)) : overdue_at(s);

	return mono_min(at, slow_at(s));
}

bool liveness_is_suspect(const struct session *s)
{
	return s->link && mono_reached(world_now(s->agent->world), suspect_at(s));
}

static void look_again_at(struct session *s, struct mono at)
{
	s->look_at = at;
	timer_set(s->agent->world, &s->liveness_timer, at);
}

void liveness_start(struct session *s)
{
	struct mono at = suspect_at(s);

	if (mono_is_never(at))
		timer_stop(s->agent->world, &s->liveness_timer);
	else
		look_again_at(s, at);
}

void liveness_asked(struct session *s)
{
	if (s->heartbeat_ms || s->agent->p.ping_deadline_ms <= 0)
		return;
	if (s->asked_at.us && !mono_before(s->asked_at, link_heard(s->link)))
		return;
	s->asked_at = world_now(s->agent->world);
	liveness_start(s);
}

static void speaks_again(struct session *s)
{
	struct agent *a = s->agent;

	if (!s->is_suspect)
		return;
	s->is_suspect = false;
	log_info(a->log, "the server is heard again", KV_S("server", s->entry));
	if (s != a->current)
		return;
	if (s->state == SESSION_READY)
		move_not_needed(a);
	else if (a->hunt.purpose == HUNT_SUSPECT)
		move_abandon(a, "the link in use is alive after all");
}

static void becomes_suspect(struct session *s)
{
	if (s->is_suspect)
		return;
	s->is_suspect = true;
	log_warn(s->agent->log, "the server is silent, looking for another one", KV_S("server", s->entry),
		 KV_I("heartbeat_ms", s->heartbeat_ms),
		 KV_S("reason", s->heartbeat_ms  ? "no heartbeat"
				: is_starting(s) ? "the startup is not answered"
						 : "a ping is not answered"));
	/* Perhaps it was that one ping. */
	if (!s->heartbeat_ms && s->state == SESSION_READY)
		session_ping(s, true);
}

void liveness_answered(struct session *s)
{
	s->asked_at = (struct mono){0};
	if (s->heartbeat_ms)
		return;
	speaks_again(s);
	if (session_is_alive(s))
		liveness_start(s);
}

static void give_up(struct session *s, int64_t silent_ms)
{
	char sentence[64];

	snprintf(sentence, sizeof(sentence), "nothing was heard for %" PRId64 " ms", silent_ms);
	move_session_lost(s, ERR_TIMEOUT, sentence);
}

/*
 * The second link of a move hangs in its startup. While the first works that costs nothing, and it may come yet; but
 * when the first is in doubt itself, the next server has to have its turn.
 */
static bool next_is_given_up(struct session *s)
{
	struct agent *a = s->agent;

	if (s != a->next || !a->current || !liveness_is_suspect(a->current) || !hunt_has_other(a))
		return false;
	move_session_lost(s, ERR_TIMEOUT, "the server is silent in the middle of the startup");
	return true;
}

static struct mono dead_at(const struct session *s)
{
	return s->heartbeat_ms ? mono_add_ms(heard(s), heartbeat_dead_ms(s->heartbeat_ms)) : MONO_NEVER;
}

void liveness_look(struct timer *t)
{
	struct session *s = container_of(t, struct session, liveness_timer);
	struct mono now = world_now(s->agent->world);

	/* A silence that we slept through is no fault of the server's. */
	if (mono_ms_between(s->look_at, now) > OWN_STALL_MS)
		s->excused = now;
	if (!liveness_is_suspect(s)) {
		speaks_again(s);
		liveness_start(s);
	} else if (mono_reached(now, dead_at(s))) {
		give_up(s, mono_ms_between(heard(s), now));
	} else {
		becomes_suspect(s);
		if (next_is_given_up(s))
			return;
		look_again_at(
			s, mono_min(dead_at(s), mono_add_ms(now, s->heartbeat_ms ? s->heartbeat_ms : ASKED_AGAIN_MS)));
		if (s == s->agent->current)
			move_begin(s->agent, HUNT_SUSPECT);
	}
}
