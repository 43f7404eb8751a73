/*
 * Admission: the rules of docs/failover.md ("Admission").
 *
 * Gate 1 is a slow increase and a quick decrease, as TCP's, and for the same reason: how much the machine can take is
 * not known, changes (other programs, key sizes, resumption) and shows only as delay. Such a bound needs no model of
 * it, gets below a bad level within one step and creeps up to a good one; a controller that computes the bound from the
 * delay would have to know the relation between the two, which is flat for long and then steep. TCP adds a constant, so
 * that flows that share a line become equal; here there is one, and an eighth at a time it is back within a second or
 * two after a cut that had another cause, however large the machine. It starts with doubling, because the first guess
 * may be far too low and a storm comes without notice.
 *
 * "p99 below the target" is counted, not estimated: of a window of 100 delays at most one may be longer. So no
 * histogram is kept, and the second late one cuts at once instead of at the end of the window.
 */
#include "core/admission.h"

#include "base/mem.h"

#define MEAN_OF 64       /* startups that the mean of what one costs is of */
#define MOST_DOUBLINGS 3 /* of the patience: nobody waits here for so long that its startup times out */

const struct admission_rule admission_rule_default = {
	.delay_us = 20000,
	.samples = 100,
	.start = 16,
	.least = 2,
	.most = 1024,
	.settle_ms = 100,
	.peer_ms = 500,
};

const struct admission_queue_rule admission_queue_rule_default = {
	.patience_ms = 2000,
	.patience_move_ms = 200,
	.least_ms = 100,
	.most_ms = 60000,
	.assumed_per_s = 200,
};

/* ---- gate 1 ---- */

static unsigned between(unsigned v, unsigned low, unsigned high)
{
	return v < low ? low : v > high ? high : v;
}

static void allowed_set(struct admission *a, unsigned allowed)
{
	a->allowed = between(allowed, a->rule.least, a->rule.most);
	a->n_samples = 0;
	a->n_late = 0;
	a->was_full = false;
}

void admission_init(struct admission *a, const struct admission_rule *rule)
{
	*a = (struct admission){.rule = *rule};
	/* 1. At least one, or nobody would ever come in to show that more can be taken. */
	a->rule.least = rule->least ? rule->least : 1;
	a->rule.most = rule->most > a->rule.least ? rule->most : a->rule.least;
	allowed_set(a, rule->start);
}

static unsigned allowed_grown(const struct admission *a)
{
	unsigned more = a->was_cut ? a->allowed / 8 : a->allowed;

	more = more ? more : 1;

	return more < a->rule.most - a->allowed ? a->allowed + more : a->rule.most;
}

void admission_sample(struct admission *a, int64_t delay_us, size_t n_in_progress, struct mono now)
{
	/* 2. Without a handshake in progress a delay has another cause, and a bound that isn't reached shows nothing.
	 */
	if (!n_in_progress)
		return;
	/* 3. One cut for one cause: what was under way before it must end first. */
	if (n_in_progress > a->allowed || !mono_reached(now, a->settled_at))
		return;
	a->n_samples++;
	a->n_late += delay_us > a->rule.delay_us;
	a->was_full |= n_in_progress == a->allowed;
	/* 4. More than one in a hundred late: half as many. */
	if ((uint64_t)a->n_late * 100 > a->rule.samples) {
		a->was_cut = true;
		a->settled_at = mono_add_ms(now, a->rule.settle_ms);
		allowed_set(a, a->allowed / 2);
		return;
	}
	if (a->n_samples < a->rule.samples)
		return;
	/* 5. A good window in which all places were taken: an eighth more; twice as many until the first cut. */
	allowed_set(a, a->was_full ? allowed_grown(a) : a->allowed);
}

size_t admission_room(const struct admission *a, size_t n_in_progress)
{
	return n_in_progress < a->allowed ? a->allowed - n_in_progress : 0;
}

bool admission_counts(const struct admission *a, bool has_hello, bool is_our_turn, struct mono turn_since,
		      struct mono now)
{
	/*
	 * 6. What costs time counts, not what is open: ten thousand connections that say nothing, or stop half-way,
	 * must not take the places of those that go on. They are bounded by the limits by address and by the deadline.
	 */
	if (!has_hello)
		return false;
	return is_our_turn || !mono_reached(now, mono_add_ms(turn_since, a->rule.peer_ms));
}

/* ---- gate 2 ---- */

static const char *const verdict_names[] = {
	[ADMISSION_WELCOME] = "welcome",
	[ADMISSION_LATER] = "later",
	[ADMISSION_ELSEWHERE] = "elsewhere",
};
_Static_assert(ARRAY_SIZE(verdict_names) == ADMISSION_N_VERDICTS, "each verdict has a name");

const char *admission_verdict_name(enum admission_verdict v)
{
	return verdict_names[v];
}

void admission_served(struct admission_queue *q, uint64_t n_served, uint64_t n_left, struct mono now)
{
	if (n_served == 0)
		return;
	/*
	 * 7. The pace is measured while somebody waits: the time between two startups then is what one costs. In quiet
	 * times it is how rarely agents come. The store writes them in groups: each of a group took its share.
	 */
	if (q->was_busy && !mono_before(now, q->served_at)) {
		int64_t group_us = now.us - q->served_at.us, gap_us = group_us / (int64_t)n_served;

		/* A suspended machine isn't a slow one. */
		gap_us = gap_us < 1000000 ? gap_us : 1000000;
		if (!q->gap_us_64)
			q->gap_us_64 = gap_us * MEAN_OF;
		for (uint64_t i = 0; i < n_served && i < MEAN_OF; i++)
			q->gap_us_64 += gap_us - q->gap_us_64 / MEAN_OF;
		q->gap_us_64 = q->gap_us_64 > 0 ? q->gap_us_64 : 1;
	}
	q->served_at = now;
	q->was_busy = n_left > 0;
}

static int64_t wait_us(const struct admission_queue *q, const struct admission_queue_rule *rule, uint64_t n)
{
	int64_t gap_64 =
		q->gap_us_64 ? q->gap_us_64 : MEAN_OF * 1000000 / (rule->assumed_per_s > 0 ? rule->assumed_per_s : 1);
	int64_t us;

	return __builtin_mul_overflow(n, gap_64, &us) ? INT64_MAX / MEAN_OF : us / MEAN_OF;
}

int64_t admission_wait_ms(const struct admission_queue *q, const struct admission_queue_rule *rule, uint64_t n)
{
	return wait_us(q, rule, n) / 1000;
}

uint64_t admission_backlog(const struct admission_queue *q, const struct admission_queue_rule *rule, uint64_t n_waiting,
			   struct mono now)
{
	int64_t gap_us = wait_us(q, rule, 1);
	uint64_t n;

	if (!mono_before(now, q->slot_at))
		return n_waiting;
	n = (uint64_t)((q->slot_at.us - now.us) / (gap_us > 0 ? gap_us : 1));
	return n > n_waiting ? n : n_waiting;
}

/* The wait that is bearable for this one. */
static int64_t patience_ms(const struct admission_queue_rule *rule, const struct admission_question *question)
{
	int64_t ms = question->has_link ? rule->patience_move_ms : rule->patience_ms;

	unsigned times = question->n_put_off < MOST_DOUBLINGS ? question->n_put_off : MOST_DOUBLINGS;

	/* 9. Who has come back goes before who is new: each time it may wait twice as long here. */
	return ms * (1 << times);
}

static uint64_t load_of(const struct admission_server *s)
{
	return s->backlog + s->n_sent;
}

/* 11. The shortest backlog, then the fewest agents, then the agent's own order; and only one shorter than ours. */
static size_t least_loaded(const struct admission_server *s, size_t n, uint64_t backlog)
{
	size_t best = ADMISSION_NO_SERVER;

	for (size_t i = 0; i < n; i++) {
		if (!s[i].is_usable || load_of(&s[i]) >= backlog)
			continue;
		if (best == ADMISSION_NO_SERVER || load_of(&s[i]) < load_of(&s[best]) ||
		    (load_of(&s[i]) == load_of(&s[best]) &&
		     s[i].n_agents + s[i].n_sent < s[best].n_agents + s[best].n_sent))
			best = i;
	}
	return best;
}

/* 10. The next free slot: behind the queue and behind all who were given one, a startup's time apart. */
static int64_t slot_ms(struct admission_queue *q, const struct admission_queue_rule *rule, uint64_t n_waiting,
		       bool is_kept, struct mono now, struct rng *rng)
{
	int64_t gap_us = wait_us(q, rule, 1);
	struct mono slot = mono_add_ms(now, admission_wait_ms(q, rule, n_waiting));
	struct mono last = mono_add_ms(now, rule->most_ms);
	int64_t ms;

	if (mono_before(slot, q->slot_at))
		slot = q->slot_at;
	slot = mono_min(slot, last);
	slot.us += gap_us;
	if (is_kept)
		q->slot_at = mono_min(slot, last);
	/* Beyond what is bearable the slots are used up: who has to come again comes spread, and is known then (9). */
	if (!mono_before(slot, last))
		return rng_between(rng, rule->most_ms / 2, rule->most_ms);
	ms = mono_ms_between(now, slot);
	return ms > rule->least_ms ? ms : rng_between(rng, 0, rule->least_ms) + rule->least_ms;
}

struct admission_answer admission_ask(struct admission_queue *q, const struct admission_queue_rule *rule,
				      const struct admission_question *question, struct admission_server *servers,
				      size_t n_servers, struct mono now, struct rng *rng)
{
	struct admission_answer answer = {.verdict = ADMISSION_WELCOME, .server = ADMISSION_NO_SERVER};

	/*
	 * 8. Only muster agents are asked, and only when the queue is longer than they should have to bear. A
	 * CloudStack agent would exit: it waits, or is closed before it has said anything.
	 */
	if (!question->is_muster || admission_wait_ms(q, rule, question->n_waiting) <= patience_ms(rule, question))
		return answer;
	/*
	 * Who has a link is served where it is: it comes later, and nobody else is troubled. And who was sent here
	 * stays: servers that know each other's queues a second late would pass it round.
	 */
	if (!question->has_link && !question->was_sent)
		answer.server = least_loaded(servers, n_servers, admission_backlog(q, rule, question->n_waiting, now));
	answer.verdict = answer.server == ADMISSION_NO_SERVER ? ADMISSION_LATER : ADMISSION_ELSEWHERE;
	/* 12. What we send counts at once: until its next word a server would get everybody. */
	if (answer.server != ADMISSION_NO_SERVER)
		servers[answer.server].n_sent++;
	answer.retry_ms = slot_ms(q, rule, question->n_waiting, answer.verdict == ADMISSION_LATER, now, rng);
	return answer;
}
