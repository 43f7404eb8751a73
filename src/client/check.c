/*
 * Am I on my preferred server, and if not, may I go there now? core/failback has the rules (docs/failover.md, "Failback
 * gate"); here the question is put together, what the verdict says is done, and the next look is planned. While the
 * preferred server is away the same is asked of the others that stand before the one in use ("Even after failures"):
 * where a look leads is the goal.
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

static bool has_named_time(const struct agent *a, size_t candidate)
{
	return a->candidates[candidate].is_put_off &&
	       mono_before(a->places[candidate].return_backoff.retry_at, a->candidates[candidate].backoff.retry_at);
}

/* About the entry of the list, which is that candidate; `link`: to it, if it proves itself. */
static struct failback_question question(const struct agent *a, size_t entry, size_t candidate,
					 const struct session *link)
{
	bool has_named = has_named_time(a, candidate);
	struct failback_question q = {
		.interval_ms = interval_ms(a),
		.is_told = is_told(a),
		.is_home = check_is_on_preferred(a),
		.is_frozen = a->current->is_frozen,
		.is_avoided = list_avoids(a, &a->places[candidate]),
		/* Back-off of its own attempts, or the time that the server named, at whatever occasion. */
		.retry_at = has_named ? a->candidates[candidate].backoff.retry_at
				      : a->places[candidate].return_backoff.retry_at,
		.has_named_time = has_named,
		.has_failed = a->places[candidate].return_backoff.failures > 0,
		.needs_word = entry > 0,
		.ready_since = a->current->ready_at,
		.word = news_word(a->current, entry),
	};

	if (link) {
		q.has_candidate = true;
		q.has_heartbeats = link->is_muster;
		q.heartbeats = link->heartbeats;
		q.candidate_since = link_since(link->link);
	}
	return q;
}

/* ---- the entries that are better ---- */

struct looking {
	struct failback_entry entries[FAILBACK_ENTRIES_MOST];
	size_t at[FAILBACK_ENTRIES_MOST]; /* in the list */
	size_t n;
	size_t n_judged;
	size_t chosen; /* valid while n */
};

/* How many entries stand before the server in use; at least one, so that being home is a verdict too. */
static size_t n_before(const struct agent *a)
{
	size_t most = a->list.n < FAILBACK_ENTRIES_MOST ? a->list.n : FAILBACK_ENTRIES_MOST, i = 0;

	while (i < most && !server_entry_same(a->current->entry, a->list.items[i], a->p.port))
		i++;
	return i ? i : most > 0;
}

static void looking_init(struct looking *l, const struct agent *a, const struct session *link)
{
	l->n = 0;
	for (size_t i = 0; i < n_before(a); i++) {
		size_t candidate = candidates_find(a, a->list.items[i]);
		bool is_linked = link && server_entry_same(link->entry, a->list.items[i], a->p.port);

		if (candidate == CHOICE_NONE || a->candidates[candidate].unusable)
			continue;
		l->at[l->n] = i;
		l->entries[l->n].past = &a->places[candidate].past;
		l->entries[l->n++].q = question(a, i, candidate, is_linked ? link : NULL);
	}
}

const char *check_goal(const struct agent *a)
{
	return a->goal < a->list.n ? a->list.items[a->goal] : NULL;
}

const char *check_hunt_name(const struct agent *a, enum hunt h)
{
	return h == HUNT_PREFERRED && a->goal > 0 ? "better server" : hunt_name(h);
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

static void better_keep(struct agent *a, size_t entry, const struct failback_entry *e)
{
	if (a->better != entry || a->gates[entry] != e->verdict)
		log_info(a->log, "move to a better server than this",
			 KV_S("verdict", failback_verdict_name(e->verdict)), KV_S("server", a->list.items[entry]));
	a->better = entry;
	a->better_again = e->look_again;
}

static void verdicts_keep(struct agent *a, const struct looking *l)
{
	if (l->at[0] == 0)
		verdict_keep(a, l->entries[0].verdict, l->entries[0].look_again);
	if (l->chosen) {
		better_keep(a, l->at[l->chosen], &l->entries[l->chosen]);
	} else {
		a->better = 0;
		a->better_again = MONO_NEVER;
	}
	a->n_gates = 0;
	for (size_t i = 0; i < l->n_judged && !l->entries[i].q.is_home; i++) {
		while (a->n_gates < l->at[i])
			a->gates[a->n_gates++] = FAILBACK_UNKNOWN; /* no address */
		a->gates[a->n_gates++] = l->entries[i].verdict;
	}
}

/* false: there is nowhere to go. Otherwise all is judged up to where it goes or what it waits for. */
static bool judge(struct looking *l, struct agent *a, const struct session *link)
{
	l->n_judged = 0;
	l->chosen = 0;
	if (is_ready(a))
		looking_init(l, a, link);
	else
		l->n = 0;
	if (!l->n)
		return false;
	l->chosen = failback_choose(l->entries, l->n, &a->p.failback, world_now(a->world), &l->n_judged);
	verdicts_keep(a, l);
	return true;
}

static enum failback_verdict verdict_of(const struct looking *l)
{
	return l->entries[l->chosen].verdict;
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

static struct mono next_look_for(struct agent *a, struct failback_question q, enum failback_verdict v,
				 struct mono look_again)
{
	/* Its one look is over. */
	if (a->check_is_once && a->told != TOLD_TO_LOOK)
		q.interval_ms = 0;
	return failback_next_look(&a->p.failback, &q, v, look_again, world_now(a->world), &a->world->rng);
}

/* The earliest: what is waited for, and what was passed over and may change by itself. */
static struct mono next_look(struct agent *a, const struct looking *l)
{
	struct mono at = next_look_for(a, l->entries[0].q, l->entries[0].verdict, l->entries[0].look_again);

	for (size_t i = 1; i < l->n_judged; i++) {
		const struct failback_entry *e = &l->entries[i];

		if (!mono_is_never(e->look_again))
			at = mono_min(at, next_look_for(a, e->q, e->verdict, e->look_again));
	}
	return at;
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
	struct mono now = world_now(a->world);
	struct looking l;
	enum failback_verdict v;

	/* Nothing is spent while there is no link to look from. */
	if (!is_ready(a)) {
		look_at(a, regular_look(a));
		return;
	}
	if (a->told != TOLD_NOT && !a->told_at.us)
		a->told_at = now;
	if (is_returning(a)) {
		look_at(a, next_look_for(a, (struct failback_question){.interval_ms = interval_ms(a)}, FAILBACK_OPEN,
					 MONO_NEVER));
		return;
	}
	if (!judge(&l, a, NULL)) {
		look_at(a, regular_look(a));
		return;
	}
	v = verdict_of(&l);
	look_is_spent(a, v);
	if (v == FAILBACK_HOME)
		told_over(a);
	look_at(a, next_look(a, &l));
	if (v == FAILBACK_OPEN) {
		a->goal = l.at[l.chosen];
		if (!move_begin(a, HUNT_PREFERRED))
			look_sooner(a, mono_add_ms(now, BUSY_MS));
	}
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
		for (size_t i = 0; i < a->n_candidates; i++) {
			failback_new_list(&a->places[i].past);
			backoff_worked(&a->places[i].return_backoff);
		}
		a->goal = a->better = a->n_gates = 0;
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

/* What is wanted now is another one, or none. */
static bool is_the_goal(const struct looking *l, const struct session *s)
{
	return server_entry_same(s->entry, s->agent->list.items[l->at[l->chosen]], s->agent->p.port);
}

static void unproven(struct session *s, const struct looking *l)
{
	struct agent *a = s->agent;
	enum failback_verdict v = verdict_of(l);
	bool is_goal = is_the_goal(l, s);

	if (is_goal && v == FAILBACK_UNPROVEN) {
		candidate_move_failed(a, s->entry, ERR_TIMEOUT, failback_verdict_text(v));
		check_failed(a, s->entry);
	} else if (v == FAILBACK_OPEN) {
		/* Another one can be gone to now: a single look is not spent on what was given up for it. */
		look_sooner(a, mono_add_ms(world_now(a->world), BUSY_MS));
	} else {
		look_sooner(a, next_look(a, l));
	}
	look_is_spent(a, v);
	move_unproven(s, is_goal || !l->chosen ? failback_verdict_text(v) : "another server is better now");
}

void check_prove(struct session *s)
{
	struct agent *a = s->agent;
	struct looking l;

	if (!judge(&l, a, s) || l.entries[0].q.is_home) {
		move_unproven(s, "there is no better server any more than the one in use");
		return;
	}
	if (is_the_goal(&l, s) && verdict_of(&l) == FAILBACK_PROMOTE) {
		s->is_told = l.entries[l.chosen].q.is_told;
		move_proven(s);
	} else if (is_the_goal(&l, s) && verdict_of(&l) == FAILBACK_PROVING) {
		if (!mono_is_never(l.entries[l.chosen].look_again))
			timer_set(a->world, &s->prove_timer, l.entries[l.chosen].look_again);
	} else {
		unproven(s, &l);
	}
}

/* ---- what became of it ---- */

/* The verdict as it is now, without doing anything about it. */
static enum failback_verdict look_quietly(struct agent *a)
{
	struct looking l;

	return judge(&l, a, NULL) ? verdict_of(&l) : FAILBACK_HOME;
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

void check_failed(struct agent *a, const char *entry)
{
	struct backoff_rule rule = a->p.backoff;
	struct mono now = world_now(a->world);
	size_t i = entry ? candidates_find(a, entry) : CHOICE_NONE;
	bool has_other;

	if (i == CHOICE_NONE)
		return;
	/* Never longer than until the next look: that one comes at the latest after an interval. */
	if (interval_ms(a) > 0 && interval_ms(a) < rule.cap_ms)
		rule.cap_ms = interval_ms(a);
	backoff_failed(&a->places[i].return_backoff, &rule, now, &a->world->rng);
	if (a->check_is_once && a->told == TOLD_BY_LIST) {
		told_over(a);
		return;
	}
	/* The next best, before the back-off is over and this one's turn again. */
	has_other = is_ready(a) && look_quietly(a) == FAILBACK_OPEN;
	if (a->check_interval || is_told(a))
		look_sooner(a, has_other ? now : a->places[i].return_backoff.retry_at);
}

void check_put_off(struct agent *a, struct mono until)
{
	if (is_ready(a))
		look_quietly(a);
	if (a->check_interval || is_told(a))
		look_sooner(a, until);
}

/* What becomes of the link in use says something about the server that it was a return to, if it was one. */
static void pasts_lost(struct agent *a)
{
	for (size_t i = 0; i < a->n_candidates; i++)
		failback_lost(&a->places[i].past, &a->p.failback, world_now(a->world));
}

void check_moved(struct agent *a, const struct session *s)
{
	size_t here = candidates_find(a, s->entry);

	if (s->purpose == HUNT_SUSPECT)
		pasts_lost(a);
	if (s->purpose == HUNT_RENEW)
		return;
	for (size_t i = 0; i < a->n_candidates; i++)
		failback_moved(&a->places[i].past);
	if (s->purpose == HUNT_PREFERRED && !s->is_told && here != CHOICE_NONE)
		failback_returned(&a->places[here].past, world_now(a->world));
}

void check_arrived(struct agent *a, const struct session *s)
{
	size_t here = candidates_find(a, s->entry);

	check_moved(a, s);
	if (here != CHOICE_NONE)
		backoff_worked(&a->places[here].return_backoff);
	/* Also where it led to the second best: shuffle has one look. */
	if (is_the_preferred(a, s) || (s->purpose == HUNT_PREFERRED && a->check_is_once && a->told == TOLD_BY_LIST))
		told_over(a);
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
	pasts_lost(a);
}

void check_view(const struct agent *a, struct agent_view *out)
{
	const struct session *s = a->next && a->next->purpose == HUNT_PREFERRED ? a->next : NULL;
	size_t preferred = a->list.n ? candidates_find(a, a->list.items[0]) : CHOICE_NONE;

	out->failback = a->failback_verdict;
	out->failback_again = a->failback_again;
	out->gates = a->gates;
	out->n_gates = a->n_gates;
	out->better = a->better && a->better < a->list.n ? a->list.items[a->better] : NULL;
	out->better_again = a->better_again;
	if (preferred != CHOICE_NONE)
		out->damped_until = a->places[preferred].past.damped_until;
	out->told = !is_told(a) ? NULL : a->told == TOLD_BY_LIST ? "a new list" : "the servers";
	out->looks_once = a->check_is_once;
	out->uptime_needed_ms = failback_uptime_needed_ms(&a->p.failback, interval_ms(a));
	out->word = a->current ? news_word(a->current, 0) : (struct failback_word){0};
	out->heartbeats = s ? s->heartbeats : 0;
	out->heartbeats_needed = a->p.failback.heartbeats;
}
