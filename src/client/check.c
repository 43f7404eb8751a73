/*
 * Am I on my preferred server, and if not, may I go there now? core/failback has the rules (docs/failover.md, "Failback
 * gate"); here the question is put together, what the verdict says is done, and the next look is planned.
 *
 *   look --open--> dialled, TLS --> proving --promote--> the link takes over (move.c)
 *    ^                                |
 *    +------ anything else -----------+
 *
 * `shuffle` looks once after each new list, as in CloudStack: it has one attempt, unless the server itself names a time
 * for another.
 */
#include "client/engine.h"

#define INTERVAL_MOST_S (366 * 86400)
#define ALGORITHM_ONCE "shuffle"
#define TOLD_MS 300000       /* for so long who was told tries on; then it is on its own initiative again */
#define TOLD_SPREAD_MS 10000 /* who waits for word hears it together with many others */
#define BUSY_MS 1000         /* another move is under way */

bool check_is_on_preferred(const struct agent *a)
{
	return a->current && a->list.n && server_entry_same(a->current->entry, a->list.items[0], a->p.port);
}

/* ---- the question ---- */

static int64_t interval_ms(const struct agent *a)
{
	return (a->check_interval < INTERVAL_MOST_S ? a->check_interval : INTERVAL_MOST_S) * 1000;
}

static bool is_told(const struct agent *a)
{
	struct mono until = mono_add_ms(a->told_at, TOLD_MS);

	if (a->told == TOLD_NOT || (a->told_at.us && mono_reached(world_now(a->world), until)))
		return false;
	/* A new list is no order to go where nobody looks. */
	return a->told == TOLD_TO_LOOK || a->check_interval > 0;
}

/* Back-off of its own attempts, or the time that the server named, at whatever occasion. */
static struct mono retry_at(const struct agent *a, size_t preferred)
{
	const struct candidate *c = &a->candidates[preferred];
	struct mono at = a->home_backoff.retry_at;

	return c->is_put_off && mono_before(at, c->backoff.retry_at) ? c->backoff.retry_at : at;
}

static struct failback_question question(const struct agent *a, size_t preferred, const struct session *candidate)
{
	struct failback_question q = {
		.interval_ms = interval_ms(a),
		.is_told = is_told(a),
		.is_home = check_is_on_preferred(a),
		.is_frozen = a->current->is_frozen,
		.is_avoided = list_avoids(a, &a->places[preferred]),
		.retry_at = retry_at(a, preferred),
		.ready_since = a->current->ready_at,
		.word = a->current->word,
	};

	if (candidate) {
		q.has_candidate = true;
		q.has_heartbeats = candidate->is_muster;
		q.heartbeats = candidate->heartbeats;
		q.candidate_since = link_since(candidate->link);
	}
	return q;
}

/* CHOICE_NONE: there is none that could be gone to. */
static size_t preferred_of(const struct agent *a)
{
	size_t i = a->list.n ? candidates_find(a, a->list.items[0]) : CHOICE_NONE;

	return i == CHOICE_NONE || a->candidates[i].unusable ? CHOICE_NONE : i;
}

static bool is_ready(const struct agent *a)
{
	return a->state == AGENT_UP && a->current && a->current->ready_at.us;
}

static void verdict_keep(struct agent *a, enum failback_verdict v, struct mono look_again)
{
	if (v != a->failback_verdict)
		log_info(a->log, "return to the preferred server", KV_S("verdict", failback_verdict_name(v)),
			 KV_S("server", a->list.n ? a->list.items[0] : "-"));
	a->failback_verdict = v;
	a->failback_again = look_again;
}

static enum failback_verdict judge(struct agent *a, const struct failback_question *q, struct mono *look_again)
{
	enum failback_verdict v = failback_judge(&a->failback, &a->p.failback, q, world_now(a->world), look_again);

	verdict_keep(a, v, *look_again);
	return v;
}

/* ---- when to look ---- */

static void look_at(struct agent *a, struct mono at)
{
	if (mono_is_never(at) || a->no_reconnect)
		timer_stop(a->world, &a->check_timer);
	else
		timer_set(a->world, &a->check_timer, at);
}

static void look_sooner(struct agent *a, struct mono at)
{
	if (!a->no_reconnect && (!timer_is_set(&a->check_timer) || mono_before(at, a->check_timer.node.at)))
		look_at(a, at);
}

static struct mono next_look(struct agent *a, struct failback_question q, enum failback_verdict v,
			     struct mono look_again)
{
	/* Its one look is over. */
	if (a->check_is_once && a->told != TOLD_TO_LOOK)
		q.interval_ms = 0;
	return failback_next_look(&a->p.failback, &q, v, look_again, world_now(a->world), &a->world->rng);
}

/* The regular one: 10. */
static struct mono regular_look(struct agent *a)
{
	const struct failback_question q = {.interval_ms = interval_ms(a)};

	return failback_next_look(&a->p.failback, &q, FAILBACK_HOME, MONO_NEVER, world_now(a->world), &a->world->rng);
}

/* ---- looks ---- */

static bool is_returning(const struct agent *a)
{
	return a->hunt.purpose == HUNT_PREFERRED || (a->next && a->next->purpose == HUNT_PREFERRED);
}

static void told_over(struct agent *a)
{
	a->told = TOLD_NOT;
	a->told_at = (struct mono){0};
}

/* The look that shuffle has is spent, unless the agent only waits for a moment that is known. */
static void look_is_spent(struct agent *a, enum failback_verdict v)
{
	/*
	 * A freeze ends orders to go: it may last for hours, and whoever thaws doesn't think of them any more. The look
	 * of a new list is only put off, shuffle has no other.
	 */
	if (v == FAILBACK_FROZEN) {
		if (a->told == TOLD_TO_LOOK)
			told_over(a);
		a->told_at = (struct mono){0};
		return;
	}
	if (a->check_is_once && a->told == TOLD_BY_LIST && v != FAILBACK_OPEN && v != FAILBACK_PUT_OFF)
		told_over(a);
}

static void look(struct agent *a)
{
	struct mono now = world_now(a->world), look_again;
	size_t preferred = preferred_of(a);
	struct failback_question q;
	enum failback_verdict v;

	/* Nothing is spent while there is no link to look from. */
	if (!is_ready(a) || preferred == CHOICE_NONE) {
		look_at(a, regular_look(a));
		return;
	}
	if (a->told != TOLD_NOT && !a->told_at.us)
		a->told_at = now;
	q = question(a, preferred, NULL);
	if (is_returning(a)) {
		look_at(a, next_look(a, q, FAILBACK_OPEN, MONO_NEVER));
		return;
	}
	v = judge(a, &q, &look_again);
	look_is_spent(a, v);
	if (v == FAILBACK_HOME)
		told_over(a);
	look_at(a, next_look(a, q, v, look_again));
	if (v == FAILBACK_OPEN && !move_begin(a, HUNT_PREFERRED))
		look_sooner(a, mono_add_ms(now, BUSY_MS));
	agent_changed(a);
}

void check_fired(struct timer *t)
{
	look(container_of(t, struct agent, check_timer));
}

void check_told(struct agent *a)
{
	/* Before it is up it doesn't know where it will be; then it looks as soon as it is. */
	a->told = TOLD_TO_LOOK;
	a->told_at = (struct mono){0};
	if (is_ready(a))
		look(a);
}

void check_plan(struct agent *a, bool has_new_list)
{
	int64_t interval = agent_file_interval(a->file, a->received_interval, NULL);
	bool once = str_equal_nocase(a->algorithm, ALGORITHM_ONCE);
	bool is_same = timer_is_set(&a->check_timer) && a->check_interval == interval && a->check_is_once == once;

	if (has_new_list) {
		failback_new_list(&a->failback);
		backoff_worked(&a->home_backoff);
		if (a->current)
			a->current->word = (struct failback_word){0};
		a->told = is_ready(a) && check_is_on_preferred(a) ? TOLD_NOT : TOLD_BY_LIST;
		a->told_at = (struct mono){0};
	}
	/* Lists that come more often than the interval must not put the look off for ever. */
	if (is_same && !(once && has_new_list))
		return;
	timer_stop(a->world, &a->check_timer);
	a->check_interval = interval;
	a->check_is_once = once;
	if (interval && (!once || has_new_list))
		look_at(a, regular_look(a));
	agent_changed(a);
}

/* ---- the link that proves itself ---- */

static bool is_the_preferred(const struct agent *a, const struct session *s)
{
	return a->list.n && server_entry_same(s->entry, a->list.items[0], a->p.port);
}

void check_prove(struct session *s)
{
	struct agent *a = s->agent;
	size_t preferred = preferred_of(a);
	struct failback_question q;
	struct mono look_again;
	enum failback_verdict v;

	if (!is_ready(a) || preferred == CHOICE_NONE || !is_the_preferred(a, s)) {
		move_unproven(s, "it is not the preferred server any more");
		return;
	}
	q = question(a, preferred, s);
	v = judge(a, &q, &look_again);
	if (v == FAILBACK_PROMOTE) {
		s->is_told = q.is_told;
		move_proven(s);
	} else if (v == FAILBACK_PROVING) {
		if (!mono_is_never(look_again))
			timer_set(a->world, &s->prove_timer, look_again);
	} else {
		if (v == FAILBACK_UNPROVEN) {
			candidate_move_failed(a, s->entry, ERR_TIMEOUT, failback_verdict_text(v));
			check_failed(a);
		} else {
			look_sooner(a, next_look(a, q, v, look_again));
		}
		look_is_spent(a, v);
		move_unproven(s, failback_verdict_text(v));
	}
}

/* ---- what became of it ---- */

/* The verdict as it is now, without doing anything about it. */
static enum failback_verdict look_quietly(struct agent *a)
{
	size_t preferred = preferred_of(a);
	struct failback_question q;
	struct mono look_again;

	if (!is_ready(a) || preferred == CHOICE_NONE)
		return FAILBACK_HOME;
	q = question(a, preferred, NULL);
	return judge(a, &q, &look_again);
}

void check_changed(struct agent *a)
{
	if (a->next && a->next->state == SESSION_PROVING)
		check_prove(a->next);
	if (!is_ready(a) || is_returning(a))
		return;
	/* Who was told to go and could not, has no regular look, perhaps: now it may. */
	if (look_quietly(a) == FAILBACK_OPEN && is_told(a) && a->told == TOLD_TO_LOOK)
		look_sooner(a, mono_add_ms(world_now(a->world), rng_between(&a->world->rng, 0, TOLD_SPREAD_MS)));
}

/* Freeze 2: what is under way is given up, up to where its startup has been sent: that is the server's to answer. */
static void freeze(struct agent *a)
{
	look_is_spent(a, FAILBACK_FROZEN);
	if (a->hunt.purpose == HUNT_PREFERRED)
		move_abandon(a, failback_verdict_text(FAILBACK_FROZEN));
	check_changed(a);
}

/* Freeze 5: all agents hear it in one moment, and look within an interval. */
static void thaw(struct agent *a)
{
	bool looks = a->check_interval && (!a->check_is_once || a->told == TOLD_BY_LIST);

	check_changed(a);
	if (is_ready(a) && looks && !check_is_on_preferred(a))
		look_at(a, mono_add_ms(world_now(a->world), rng_between(&a->world->rng, 0, interval_ms(a))));
}

void check_freeze(struct session *s, bool is_frozen)
{
	struct agent *a = s->agent;

	if (s->is_frozen == is_frozen)
		return;
	s->is_frozen = is_frozen;
	if (s != a->current)
		return;
	log_info(a->log, is_frozen ? "moves are frozen" : "moves are thawed", KV_S("server", s->entry));
	if (is_frozen)
		freeze(a);
	else
		thaw(a);
	agent_changed(a);
}

void check_resume(struct agent *a)
{
	if (!is_ready(a) || !is_told(a) || check_is_on_preferred(a))
		return;
	if (a->told == TOLD_TO_LOOK || !timer_is_set(&a->check_timer))
		look_sooner(a, mono_add_ms(world_now(a->world), BUSY_MS));
}

void check_failed(struct agent *a)
{
	struct backoff_rule rule = a->p.backoff;

	/* Never longer than until the next look: that one comes at the latest after an interval. */
	if (interval_ms(a) > 0 && interval_ms(a) < rule.cap_ms)
		rule.cap_ms = interval_ms(a);
	backoff_failed(&a->home_backoff, &rule, world_now(a->world), &a->world->rng);
	if (a->check_is_once && a->told == TOLD_BY_LIST) {
		told_over(a);
		return;
	}
	if (is_ready(a))
		look_quietly(a);
	if (a->check_interval || is_told(a))
		look_sooner(a, a->home_backoff.retry_at);
}

void check_put_off(struct agent *a, struct mono until)
{
	if (is_ready(a))
		look_quietly(a);
	if (a->check_interval || is_told(a))
		look_sooner(a, until);
}

void check_moved(struct agent *a, const struct session *s)
{
	if (s->purpose == HUNT_SUSPECT)
		failback_lost(&a->failback, &a->p.failback, world_now(a->world));
	if (s->purpose == HUNT_PREFERRED && !s->is_told)
		failback_returned(&a->failback, world_now(a->world));
	else if (s->purpose != HUNT_RENEW)
		failback_moved(&a->failback);
}

void check_arrived(struct agent *a, const struct session *s)
{
	check_moved(a, s);
	if (!is_the_preferred(a, s))
		return;
	told_over(a);
	backoff_worked(&a->home_backoff);
}

void check_ready(struct agent *a)
{
	look_quietly(a);
	/* Told while there was no link, or the server says by its Ready that it is time. */
	if (a->told == TOLD_TO_LOOK && !a->told_at.us && !check_is_on_preferred(a))
		look(a);
	else
		check_resume(a);
}

void check_lost(struct agent *a)
{
	failback_lost(&a->failback, &a->p.failback, world_now(a->world));
}

void check_view(const struct agent *a, struct agent_view *out)
{
	const struct session *s = a->next && a->next->purpose == HUNT_PREFERRED ? a->next : NULL;

	out->failback = a->failback_verdict;
	out->failback_again = a->failback_again;
	out->damped_until = a->failback.damped_until;
	out->told = !is_told(a) ? NULL : a->told == TOLD_BY_LIST ? "a new list" : "the servers";
	out->looks_once = a->check_is_once;
	out->uptime_needed_ms = failback_uptime_needed_ms(&a->p.failback, interval_ms(a));
	out->word = a->current ? a->current->word : (struct failback_word){0};
	out->heartbeats = s ? s->heartbeats : 0;
	out->heartbeats_needed = a->p.failback.heartbeats;
}
