/*
 * Failback: the rules of docs/failover.md ("Failback gate"), in their order.
 *
 *   look --open--> candidate link --heartbeats--> promote: home
 *    ^  |               |
 *    |  | anything else | anything else, or no heartbeats in time: close it
 *    +--+---------------+
 *
 * The bound to keep: on a calm cluster an agent is home within interval + 10 s. A look comes within one interval at the
 * latest, the rest has to fit into the 10 s: unknown_ms where nothing is said, prove_ms for the heartbeats. What may
 * make it longer is named in the rules: the preferred server is young, flaps, is full.
 */
#include "core/failback.h"

#include "base/mem.h"

#define SPREAD_TOLD_MS 10000 /* how far looks are spread when there is no interval: after being told */

const struct failback_rule failback_rule_default = {
	.uptime_ms = 30000,
	.uptime_intervals = 2,
	.heartbeats = 3,
	.prove_ms = 6000,
	.unknown_ms = 3000,
	.flap_ms = 300000,
	.damper_ms = 300000,
	.jitter_percent = 20,
};

/* clang-format off */
static const struct {
	const char *name;
	const char *text;
	const char *other; /* about another entry; NULL: the same */
} verdicts[] = {
	[FAILBACK_HOME]          = { "home",          "the agent is on its preferred server",
	  "the agent is on a better server" },
	[FAILBACK_FROZEN]        = { "frozen",        "moves are frozen (muster freeze): the agent stays where it is until they are thawed" },
	[FAILBACK_OFF]           = { "off",           "the check interval is 0: the agent stays where it is until it is told to move" },
	[FAILBACK_PUT_OFF]       = { "put off",       "the last attempt failed or the preferred server named a time, it is tried again then",
	  "the last attempt failed or the server named a time, it is tried again then" },
	[FAILBACK_AVOIDED]       = { "avoided",       "the servers say that the preferred server should not be used now",
	  "the servers say that it should not be used now" },
	[FAILBACK_UNKNOWN]       = { "unknown",       "the agent's server has not said yet how the preferred server is",
	  "the agent's server has not said how it is" },
	[FAILBACK_NOT_UP]        = { "not up",        "the preferred server's state is not Up",
	  "its state is not Up" },
	[FAILBACK_NOT_ACCEPTING] = { "not accepting", "the preferred server is Up and takes no agents now",
	  "it is Up and takes no agents now" },
	[FAILBACK_TOO_YOUNG]     = { "too young",     "the preferred server has not been up for long enough",
	  "it has not been up for long enough" },
	[FAILBACK_DAMPED]        = { "damped",        "the last return was followed by losing the preferred server, the agent waits before the next",
	  "the last move there was followed by losing it, the agent waits before the next" },
	[FAILBACK_OPEN]          = { "open",          "the agent may return, a link to the preferred server is opened",
	  "it stands before the server in use and is up: the agent goes there with its next look" },
	[FAILBACK_PROVING]       = { "proving",       "a link to the preferred server is open and has to see heartbeats before it is used",
	  "a link to it is open and has to see heartbeats before it is used" },
	[FAILBACK_UNPROVEN]      = { "unproven",      "the link to the preferred server saw too few heartbeats in time and is closed",
	  "the link to it saw too few heartbeats in time and was closed" },
	[FAILBACK_PROMOTE]       = { "promote",       "the link to the preferred server has proven itself and takes over",
	  "the link to it has proven itself and takes over" },
};
/* clang-format on */
_Static_assert(ARRAY_SIZE(verdicts) == FAILBACK_N_VERDICTS, "each verdict has a name and a sentence");

const char *failback_verdict_name(enum failback_verdict v)
{
	return verdicts[v].name;
}

const char *failback_verdict_text(enum failback_verdict v)
{
	return verdicts[v].text;
}

const char *failback_verdict_other(enum failback_verdict v)
{
	return verdicts[v].other ? verdicts[v].other : verdicts[v].text;
}

int64_t failback_uptime_needed_ms(const struct failback_rule *rule, int64_t interval_ms)
{
	int64_t by_interval;

	if (interval_ms < 0)
		interval_ms = 0;
	if (__builtin_mul_overflow(interval_ms, (int64_t)rule->uptime_intervals, &by_interval))
		return rule->uptime_ms;
	return by_interval < rule->uptime_ms ? by_interval : rule->uptime_ms;
}

/* What the current server says; FAILBACK_OPEN: nothing against it. */
static enum failback_verdict judge_word(const struct failback_rule *rule, const struct failback_question *q,
					struct mono now, struct mono *look_again)
{
	struct mono patience_over = mono_add_ms(q->ready_since, rule->unknown_ms);
	int64_t missing_ms;

	/*
	 * 5. Nothing was said: a moment's patience, then the candidate link is the only witness. Without that end an
	 * agent whose server can't know (CloudStack's, or one cut off from the preferred one) would never go home. Any
	 * other entry is only better if somebody says so (Even after failures 2).
	 */
	if (!q->word.is_known && q->needs_word)
		return FAILBACK_UNKNOWN;
	if (!q->word.is_known) {
		if (q->is_told || mono_reached(now, patience_over))
			return FAILBACK_OPEN;
		*look_again = patience_over;
		return FAILBACK_UNKNOWN;
	}
	/* 6. Up, and taking agents. */
	if (!q->word.is_up)
		return FAILBACK_NOT_UP;
	if (!q->word.is_accepting)
		return FAILBACK_NOT_ACCEPTING;
	/* 7. For a while, or a server that dies again and again at its start would be visited each time. */
	missing_ms = failback_uptime_needed_ms(rule, q->interval_ms);
	missing_ms -= q->word.uptime_ms > 0 ? q->word.uptime_ms : 0; /* it comes from a peer */
	if (!q->is_told && missing_ms > 0 && !mono_reached(now, mono_add_ms(q->word.said_at, missing_ms))) {
		*look_again = mono_add_ms(q->word.said_at, missing_ms);
		return FAILBACK_TOO_YOUNG;
	}
	return FAILBACK_OPEN;
}

/* What the candidate link shows. */
static enum failback_verdict judge_candidate(const struct failback_rule *rule, const struct failback_question *q,
					     struct mono now, struct mono *look_again)
{
	struct mono too_late = mono_add_ms(q->candidate_since, rule->prove_ms);

	if (!q->has_candidate)
		return FAILBACK_OPEN;
	/* 9. Three heartbeats on the very link that is going to be used; TLS alone from a server that has none. */
	if (!q->has_heartbeats || q->heartbeats >= rule->heartbeats)
		return FAILBACK_PROMOTE;
	if (rule->prove_ms <= 0)
		return FAILBACK_PROVING;
	if (mono_reached(now, too_late))
		return FAILBACK_UNPROVEN;
	*look_again = too_late;
	return FAILBACK_PROVING;
}

enum failback_verdict failback_judge(const struct failback *f, const struct failback_rule *rule,
				     const struct failback_question *q, struct mono now, struct mono *look_again)
{
	enum failback_verdict v;

	*look_again = MONO_NEVER;
	/* 1. Nothing to do. */
	if (q->is_home)
		return FAILBACK_HOME;
	/* 2. Frozen: whoever told it to go, somebody has said since that nobody is to move. */
	if (q->is_frozen)
		return FAILBACK_FROZEN;
	/* Interval 0: never on its own initiative. Whoever is told goes all the same. */
	if (q->interval_ms <= 0 && !q->is_told)
		return FAILBACK_OFF;
	/* 3. An attempt that failed, or a time that the preferred server named, is waited for by everybody. */
	if (!q->has_candidate && !mono_reached(now, q->retry_at)) {
		*look_again = q->retry_at;
		return FAILBACK_PUT_OFF;
	}
	/* 4. A server that is being emptied is left alone. */
	if (q->is_avoided)
		return FAILBACK_AVOIDED;
	v = judge_word(rule, q, now, look_again);
	if (v != FAILBACK_OPEN)
		return v;
	/* 8. The flap damper. What the agent is told to do doesn't wait for it. */
	if (!q->is_told && !mono_reached(now, f->damped_until)) {
		*look_again = f->damped_until;
		return FAILBACK_DAMPED;
	}
	return judge_candidate(rule, q, now, look_again);
}

bool failback_passes_over(const struct failback_question *q, enum failback_verdict v)
{
	switch (v) {
	/* Who has no room says when it has: going elsewhere meanwhile would be two moves instead of one. Its word is
	 * over when it is gone. */
	case FAILBACK_PUT_OFF:
		return !q->has_named_time || q->is_avoided || (q->word.is_known && !q->word.is_up);
	case FAILBACK_UNKNOWN:
		return q->needs_word;
	case FAILBACK_AVOIDED:
	case FAILBACK_NOT_UP:
	case FAILBACK_NOT_ACCEPTING:
	case FAILBACK_DAMPED:
		return true;
	/* One that is too young is alive and will be old enough in a moment: as with a time that was named. */
	default:
		return false;
	}
}

static bool has_candidate_behind(const struct failback_entry *entries, size_t n, size_t i)
{
	while (++i < n)
		if (entries[i].q.has_candidate)
			return true;
	return false;
}

size_t failback_choose(struct failback_entry *entries, size_t n, const struct failback_rule *rule, struct mono now,
		       size_t *n_judged)
{
	for (size_t i = 0; i < n; i++) {
		struct failback_entry *e = &entries[i];

		e->verdict = failback_judge(e->past, rule, &e->q, now, &e->look_again);
		*n_judged = i + 1;
		/* The back-off of what failed is often shorter than the proof of the next one, which would never be
		 * completed. It is tried again from there. */
		if (e->verdict == FAILBACK_OPEN && e->q.has_failed && has_candidate_behind(entries, n, i))
			continue;
		if (!failback_passes_over(&e->q, e->verdict))
			return i;
	}
	return 0;
}

struct mono failback_next_look(const struct failback_rule *rule, const struct failback_question *q,
			       enum failback_verdict v, struct mono look_again, struct mono now, struct rng *rng)
{
	unsigned percent = rule->jitter_percent < 100 ? rule->jitter_percent : 100;
	int64_t jitter_ms = q->interval_ms / 100 * percent + q->interval_ms % 100 * percent / 100;
	struct mono regular = MONO_NEVER;

	/* 10. Jitter only shortens: with a longer interval the bound would be broken. */
	if (q->interval_ms > 0)
		regular = mono_add_ms(now, q->interval_ms - rng_between(rng, 0, jitter_ms));
	/* 11. A back-off and a time that was named are spread already, and a candidate link waits for its own only. */
	if (v == FAILBACK_PUT_OFF || v == FAILBACK_PROVING || mono_is_never(look_again))
		return mono_min(regular, look_again);
	/*
	 * But the preferred server becomes old enough for all its agents in the same moment. Spread over one interval
	 * they come as evenly as they would have come by themselves.
	 */
	return mono_min(
		regular,
		mono_add_ms(look_again, rng_between(rng, 0, q->interval_ms > 0 ? q->interval_ms : SPREAD_TOLD_MS)));
}

void failback_returned(struct failback *f, struct mono now)
{
	f->has_returned = true;
	f->returned_at = now;
}

void failback_moved(struct failback *f)
{
	f->has_returned = false;
}

void failback_lost(struct failback *f, const struct failback_rule *rule, struct mono now)
{
	/*
	 * 8. Only a return on its own initiative that ends in losing that same server, soon, starts its damper. A
	 * server that is restarted once a day is no flap, and every return from it is as quick as the first.
	 */
	if (f->has_returned && rule->damper_ms > 0 && !mono_reached(now, mono_add_ms(f->returned_at, rule->flap_ms)))
		f->damped_until = mono_add_ms(now, rule->damper_ms);
	f->has_returned = false;
}

void failback_new_list(struct failback *f)
{
	*f = (struct failback){0};
}
