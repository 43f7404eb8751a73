#include "core/failback.h"

#include "core_test.h"

#define NOW 1000000
#define SEEN(ms)                                                                                                       \
	{                                                                                                              \
		(int64_t)(ms) * 1000                                                                                   \
	}

/* An agent that may go: looks every minute, the preferred server is up for a minute, its own link is old. */
#define READY .interval_ms = 60000, .ready_since = SEEN(NOW - 50000)
#define WORD(up, accepting, uptime) .word = {true, up, accepting, uptime, SEEN(NOW)}
#define GOOD WORD(true, true, 60000)
#define CANDIDATE(n, age)                                                                                              \
	.has_candidate = true, .has_heartbeats = true, .heartbeats = n, .candidate_since = SEEN(NOW - (age))

static void the_gate_follows_the_rules(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		struct failback_question q;
		int64_t damped_until; /* ms; 0: not damped */
		enum failback_verdict verdict;
		int64_t look_again; /* ms; 0: never */
	} rows[] = {
		{ "an agent that nothing keeps opens a link", { READY, GOOD }, 0, FAILBACK_OPEN, 0 },
		{ "1. at home there is nothing to do", { READY, GOOD, .is_home = true }, 0, FAILBACK_HOME, 0 },
		{ "1. also when it is told to go there", { READY, GOOD, .is_home = true, .is_told = true }, 0, FAILBACK_HOME, 0 },
		{ "2. while moves are frozen nobody goes", { READY, GOOD, .is_frozen = true }, 0, FAILBACK_FROZEN, 0 },
		{ "2. also when it is told to", { READY, GOOD, .is_frozen = true, .is_told = true }, 0, FAILBACK_FROZEN, 0 },
		{ "2. it is the reason, whatever else is there", { READY, GOOD, .is_frozen = true, .retry_at = SEEN(NOW + 500) },
		  NOW + 60000, FAILBACK_FROZEN, 0 },
		{ "2. also half-way: the link is not promoted", { READY, GOOD, .is_frozen = true, CANDIDATE(3, 100) }, 0, FAILBACK_FROZEN, 0 },
		{ "1. who is at home is at home all the same", { READY, GOOD, .is_frozen = true, .is_home = true }, 0, FAILBACK_HOME, 0 },
		{ "2. interval 0: never", { .interval_ms = 0, .ready_since = SEEN(1), GOOD }, 0, FAILBACK_OFF, 0 },
		{ "2. a negative one too", { .interval_ms = -1, .ready_since = SEEN(1), GOOD }, 0, FAILBACK_OFF, 0 },
		{ "2. but whoever is told goes", { .interval_ms = 0, .ready_since = SEEN(1), .is_told = true, GOOD }, 0, FAILBACK_OPEN, 0 },
		{ "3. a back-off is waited for", { READY, GOOD, .retry_at = SEEN(NOW + 500) }, 0, FAILBACK_PUT_OFF, NOW + 500 },
		{ "3. to the end and not longer", { READY, GOOD, .retry_at = SEEN(NOW) }, 0, FAILBACK_OPEN, 0 },
		{ "3. by those who are told as well", { READY, GOOD, .is_told = true, .retry_at = SEEN(NOW + 500) }, 0, FAILBACK_PUT_OFF, NOW + 500 },
		{ "3. once there is a link the time that was named is over", { READY, GOOD, CANDIDATE(0, 100), .retry_at = SEEN(NOW + 500) },
		  0, FAILBACK_PROVING, NOW + 5900 },
		{ "4. an avoided server is left alone", { READY, GOOD, .is_avoided = true }, 0, FAILBACK_AVOIDED, 0 },
		{ "4. also by those who are told", { READY, GOOD, .is_avoided = true, .is_told = true }, 0, FAILBACK_AVOIDED, 0 },
		{ "4. also half-way: the link is not promoted", { READY, GOOD, .is_avoided = true, CANDIDATE(3, 100) }, 0, FAILBACK_AVOIDED, 0 },
		{ "5. nothing was said yet: a moment's patience", { .interval_ms = 60000, .ready_since = SEEN(NOW - 1000) },
		  0, FAILBACK_UNKNOWN, NOW + 2000 },
		{ "5. then the candidate link decides", { .interval_ms = 60000, .ready_since = SEEN(NOW - 3000) }, 0, FAILBACK_OPEN, 0 },
		{ "5. who is told doesn't wait for word", { .interval_ms = 60000, .ready_since = SEEN(NOW - 1000), .is_told = true },
		  0, FAILBACK_OPEN, 0 },
		{ "5. without word nothing is known of its age", { READY, .word = { .is_known = false, .uptime_ms = 1, .said_at = SEEN(NOW) } },
		  0, FAILBACK_OPEN, 0 },
		{ "6. a server that isn't Up is left alone", { READY, WORD(false, true, 60000) }, 0, FAILBACK_NOT_UP, 0 },
		{ "6. also by those who are told", { READY, WORD(false, true, 60000), .is_told = true }, 0, FAILBACK_NOT_UP, 0 },
		{ "6. also half-way", { READY, WORD(false, true, 60000), CANDIDATE(3, 100) }, 0, FAILBACK_NOT_UP, 0 },
		{ "6. so is one that takes nobody", { READY, WORD(true, false, 60000) }, 0, FAILBACK_NOT_ACCEPTING, 0 },
		{ "7. up for 30 s is enough", { READY, WORD(true, true, 30000) }, 0, FAILBACK_OPEN, 0 },
		{ "7. less is not; the rest is waited for", { READY, WORD(true, true, 29999) }, 0, FAILBACK_TOO_YOUNG, NOW + 1 },
		{ "7. what was said ages", { READY, .word = { true, true, true, 20000, SEEN(NOW - 10000) } }, 0, FAILBACK_OPEN, 0 },
		{ "7. two intervals are enough where they are less", { .interval_ms = 5000, .ready_since = SEEN(1), WORD(true, true, 10000) },
		  0, FAILBACK_OPEN, 0 },
		{ "7. and needed", { .interval_ms = 5000, .ready_since = SEEN(1), WORD(true, true, 9000) }, 0, FAILBACK_TOO_YOUNG, NOW + 1000 },
		{ "7. who is told doesn't wait for it", { READY, WORD(true, true, 0), .is_told = true }, 0, FAILBACK_OPEN, 0 },
		{ "7. an age of nonsense is none", { READY, WORD(true, true, INT64_MIN) }, 0, FAILBACK_TOO_YOUNG, NOW + 30000 },
		{ "7. or enough", { READY, WORD(true, true, INT64_MAX) }, 0, FAILBACK_OPEN, 0 },
		{ "8. after a flap it waits", { READY, GOOD }, NOW + 60000, FAILBACK_DAMPED, NOW + 60000 },
		{ "8. until the damper's end", { READY, GOOD }, NOW, FAILBACK_OPEN, 0 },
		{ "8. who is told doesn't", { READY, GOOD, .is_told = true }, NOW + 60000, FAILBACK_OPEN, 0 },
		{ "8. what the servers say comes first: it is the better reason", { READY, WORD(false, true, 0) }, NOW + 60000, FAILBACK_NOT_UP, 0 },
		{ "9. a new link has to see heartbeats", { READY, GOOD, CANDIDATE(0, 0) }, 0, FAILBACK_PROVING, NOW + 6000 },
		{ "9. two are not three", { READY, GOOD, CANDIDATE(2, 2500) }, 0, FAILBACK_PROVING, NOW + 3500 },
		{ "9. three are", { READY, GOOD, CANDIDATE(3, 3000) }, 0, FAILBACK_PROMOTE, 0 },
		{ "9. also in the last moment", { READY, GOOD, CANDIDATE(3, 6000) }, 0, FAILBACK_PROMOTE, 0 },
		{ "9. too few in time: it is closed", { READY, GOOD, CANDIDATE(2, 6000) }, 0, FAILBACK_UNPROVEN, 0 },
		{ "9. told or not", { READY, GOOD, CANDIDATE(2, 1000), .is_told = true }, 0, FAILBACK_PROVING, NOW + 5000 },
		{ "9. a server without heartbeats has proven itself by TLS", { READY, GOOD, .has_candidate = true, .candidate_since = SEEN(NOW) },
		  0, FAILBACK_PROMOTE, 0 },
		{ "9. it may have become too young meanwhile: it was restarted", { READY, WORD(true, true, 100), CANDIDATE(3, 100) },
		  0, FAILBACK_TOO_YOUNG, NOW + 29900 },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct failback f = {.damped_until = at_ms(rows[i].damped_until)};
		struct mono look_again = at_ms(77);
		enum failback_verdict v =
			failback_judge(&f, &failback_rule_default, &rows[i].q, at_ms(NOW), &look_again);

		if (v != rows[i].verdict)
			fail_msg("%s: %s, not %s", rows[i].what, failback_verdict_name(v),
				 failback_verdict_name(rows[i].verdict));
		if (rows[i].look_again)
			check_row(&rows[i], look_again.us == at_ms(rows[i].look_again).us);
		else
			check_row(&rows[i], mono_is_never(look_again));
	}
}

/* ---- the best live entry ---- */

/* An entry that stands before the one in use; the rest of it is as with the preferred server. */
#define LATER READY, .needs_word = true
#define DOWN WORD(false, true, 0)
#define FULL WORD(true, false, 60000)
#define YOUNG WORD(true, true, 10000)
#define FAILED .retry_at = SEEN(NOW + 500)
#define NAMED .retry_at = SEEN(NOW + 500), .has_named_time = true

static void the_best_live_entry_is_gone_to(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		struct failback_question q[3];
		bool damped[3];
		size_t n, chosen, n_judged;
		enum failback_verdict verdict; /* on the chosen one */
	} rows[] = {
		{ "1. the first is good: the others aren't asked about", {{ READY, GOOD }, { LATER, GOOD }}, {0}, 2, 0, 1, FAILBACK_OPEN },
		{ "1. the first is down: the next that is up", {{ READY, DOWN }, { LATER, GOOD }, { LATER, GOOD }}, {0}, 3, 1, 2, FAILBACK_OPEN },
		{ "1. two are down: the third", {{ READY, DOWN }, { LATER, DOWN }, { LATER, GOOD }}, {0}, 3, 2, 3, FAILBACK_OPEN },
		{ "1. all are down: nowhere, because of the first", {{ READY, DOWN }, { LATER, DOWN }}, {0}, 2, 0, 2, FAILBACK_NOT_UP },
		{ "1. at home there is nothing better", {{ READY, GOOD, .is_home = true }}, {0}, 1, 0, 1, FAILBACK_HOME },
		{ "2. nothing was said of the second", {{ READY, DOWN }, { LATER }}, {0}, 2, 0, 2, FAILBACK_NOT_UP },
		{ "2. nor is it tried by who is told", {{ READY, DOWN }, { LATER, .is_told = true }}, {0}, 2, 0, 2, FAILBACK_NOT_UP },
		{ "2. nothing was said of any: only the first is tried", {{ READY }, { LATER }}, {0}, 2, 0, 1, FAILBACK_OPEN },
		{ "2. not yet of the first: a moment's patience for it", {{ .interval_ms = 60000, .ready_since = SEEN(NOW - 1000) }, { LATER, GOOD }},
		  {0}, 2, 0, 1, FAILBACK_UNKNOWN },
		{ "3. avoided", {{ READY, GOOD, .is_avoided = true }, { LATER, GOOD }}, {0}, 2, 1, 2, FAILBACK_OPEN },
		{ "3. full", {{ READY, FULL }, { LATER, GOOD }}, {0}, 2, 1, 2, FAILBACK_OPEN },
		{ "3. the last attempt failed", {{ READY, GOOD, FAILED }, { LATER, GOOD }}, {0}, 2, 1, 2, FAILBACK_OPEN },
		{ "3. it flaps: its own damper", {{ READY, GOOD }, { LATER, GOOD }}, { true }, 2, 1, 2, FAILBACK_OPEN },
		{ "3. the second one's damper is not the third one's", {{ READY, DOWN }, { LATER, GOOD }, { LATER, GOOD }}, { false, true }, 3, 2, 3,
		  FAILBACK_OPEN },
		{ "3. nor the first one's", {{ READY, GOOD }, { LATER, GOOD }}, { false, true }, 2, 0, 1, FAILBACK_OPEN },
		{ "3. all are passed over: what keeps it from the first", {{ READY, GOOD }, { LATER, FULL }}, { true }, 2, 0, 2, FAILBACK_DAMPED },
		{ "4. one that is too young is waited for", {{ READY, YOUNG }, { LATER, GOOD }}, {0}, 2, 0, 1, FAILBACK_TOO_YOUNG },
		{ "4. each has its own age", {{ READY, DOWN }, { LATER, YOUNG }, { LATER, GOOD }}, {0}, 3, 1, 2, FAILBACK_TOO_YOUNG },
		{ "4. so is one that named a time", {{ READY, GOOD, NAMED }, { LATER, GOOD }}, {0}, 2, 0, 1, FAILBACK_PUT_OFF },
		{ "4. wherever it stands", {{ READY, DOWN }, { LATER, GOOD, NAMED }, { LATER, GOOD }}, {0}, 3, 1, 2, FAILBACK_PUT_OFF },
		{ "4. but not one that has died since", {{ READY, DOWN }, { LATER, DOWN, NAMED }, { LATER, GOOD }}, {0}, 3, 2, 3, FAILBACK_OPEN },
		{ "4. or is avoided", {{ READY, DOWN }, { LATER, GOOD, NAMED, .is_avoided = true }, { LATER, GOOD }}, {0}, 3, 2, 3, FAILBACK_OPEN },
		{ "4. and one whose link proves itself", {{ READY, DOWN }, { LATER, GOOD, CANDIDATE(1, 100) }, { LATER, GOOD }}, {0}, 3, 1, 2,
		  FAILBACK_PROVING },
		{ "4. or has failed to", {{ READY, DOWN }, { LATER, GOOD, CANDIDATE(1, 6000) }, { LATER, GOOD }}, {0}, 3, 1, 2, FAILBACK_UNPROVEN },
		{ "5. while the link to the second proves itself the first has come back", {{ READY, GOOD }, { LATER, GOOD, CANDIDATE(3, 100) }}, {0},
		  2, 0, 1, FAILBACK_OPEN },
		{ "5. which is no better when its last attempt failed: that would end each proof",
		  {{ READY, GOOD, .has_failed = true }, { LATER, GOOD, CANDIDATE(3, 100) }}, {0}, 2, 1, 2, FAILBACK_PROMOTE },
		{ "5. before there is a link it is its turn", {{ READY, GOOD, .has_failed = true }, { LATER, GOOD }}, {0}, 2, 0, 1, FAILBACK_OPEN },
		{ "6. frozen is frozen", {{ READY, DOWN, .is_frozen = true }, { LATER, GOOD, .is_frozen = true }}, {0}, 2, 0, 1, FAILBACK_FROZEN },
		{ "6. interval 0: nobody moves by itself", {{ .interval_ms = 0, DOWN }, { .interval_ms = 0, GOOD, .needs_word = true }}, {0}, 2, 0, 1,
		  FAILBACK_OFF },
		{ "6. who is told does, and waits for no age",
		  {{ .interval_ms = 0, DOWN, .is_told = true }, { .interval_ms = 0, YOUNG, .needs_word = true, .is_told = true }}, {0}, 2, 1, 2,
		  FAILBACK_OPEN },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct failback pasts[3];
		struct failback_entry entries[3];
		size_t n_judged = 0, chosen;

		for (size_t j = 0; j < rows[i].n; j++) {
			pasts[j] = (struct failback){.damped_until = at_ms(rows[i].damped[j] ? NOW + 1000 : 0)};
			entries[j] = (struct failback_entry){.past = &pasts[j], .q = rows[i].q[j]};
		}
		chosen = failback_choose(entries, rows[i].n, &failback_rule_default, at_ms(NOW), &n_judged);
		if (chosen != rows[i].chosen || entries[chosen].verdict != rows[i].verdict)
			fail_msg("%s: entry %zu, %s", rows[i].what, chosen,
				 failback_verdict_name(entries[chosen].verdict));
		check_row(&rows[i], n_judged == rows[i].n_judged);
	}
}

static struct failback_question any_question(struct rng *rng);
static bool may_go(const struct failback *f, const struct failback_question *q, int64_t now_ms);

/* Whatever the world is like: nobody goes past a server that it may go to, nor to one that it may not. */
static void nobody_goes_past_a_better_one(void **state)
{
	struct rng rng = test_rng(__func__);
	size_t n_later = 0;

	for (int round = 0; round < 30000; round++) {
		struct failback_entry entries[5];
		struct failback pasts[5];
		size_t n = 1 + rng_below(&rng, 5), n_judged, chosen;
		struct failback_question common = any_question(&rng);

		for (size_t i = 0; i < n; i++) {
			pasts[i].damped_until = at_ms(rng_below(&rng, 2) ? 0 : rng_between(&rng, NOW - 3, NOW + 3));
			entries[i] = (struct failback_entry){.past = &pasts[i], .q = any_question(&rng)};
			entries[i].q.interval_ms = common.interval_ms;
			entries[i].q.is_told = common.is_told;
			entries[i].q.is_home = common.is_home && n == 1;
			entries[i].q.needs_word = i > 0;
			entries[i].q.has_named_time = rng_below(&rng, 2);
		}
		chosen = failback_choose(entries, n, &failback_rule_default, at_ms(NOW), &n_judged);
		assert_true(chosen < n && n_judged > chosen && n_judged <= n);
		for (size_t i = 0; i < n_judged; i++) {
			bool may = may_go(&pasts[i], &entries[i].q, NOW) && (i == 0 || entries[i].q.word.is_known);

			assert_int_equal(may, entries[i].verdict >= FAILBACK_OPEN);
			assert_true(i == chosen || !may);
		}
		n_later += chosen > 0 && entries[chosen].verdict >= FAILBACK_OPEN;
	}
	assert_true(n_later > 1000);
}

static void each_condition_can_be_switched_off(void **state)
{
	static const struct failback_question young = {READY, WORD(true, true, 0)};
	static const struct failback_question unsaid = {.interval_ms = 60000, .ready_since = SEEN(NOW)};
	static const struct failback_question silent = {READY, GOOD, CANDIDATE(0, 0)};
	static const struct failback_question patient = {READY, GOOD, CANDIDATE(0, 1000000)};
	struct failback_rule rule = failback_rule_default;
	struct failback f = {0};
	struct mono look_again;

	rule.uptime_ms = 0;
	assert_int_equal(failback_judge(&f, &rule, &young, at_ms(NOW), &look_again), FAILBACK_OPEN);
	rule.uptime_ms = 30000;
	rule.uptime_intervals = 0;
	assert_int_equal(failback_judge(&f, &rule, &young, at_ms(NOW), &look_again), FAILBACK_OPEN);
	rule.unknown_ms = 0;
	assert_int_equal(failback_judge(&f, &rule, &unsaid, at_ms(NOW), &look_again), FAILBACK_OPEN);
	rule.prove_ms = 0;
	assert_int_equal(failback_judge(&f, &rule, &patient, at_ms(NOW), &look_again), FAILBACK_PROVING);
	rule.heartbeats = 0;
	assert_int_equal(failback_judge(&f, &rule, &silent, at_ms(NOW), &look_again), FAILBACK_PROMOTE);
	rule.damper_ms = 0;
	failback_returned(&f, at_ms(NOW));
	failback_lost(&f, &rule, at_ms(NOW + 1));
	assert_int_equal(f.damped_until.us, 0);
}

static void the_uptime_needed_is_the_lesser(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		int64_t interval_ms, needed_ms;
	} rows[] = {
		{ "a minute between looks: 30 s", 60000, 30000 },
		{ "15 s: both are the same", 15000, 30000 },
		{ "2 s: two intervals", 2000, 4000 },
		{ "never looks by itself: none", 0, 0 },
		{ "nonsense: none", -5, 0 },
		{ "more than can be counted: 30 s", INT64_MAX, 30000 },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_row(&rows[i],
			  failback_uptime_needed_ms(&failback_rule_default, rows[i].interval_ms) == rows[i].needed_ms);
}

/* 'r' returned on its own initiative, 'm' moved otherwise, 'l' lost the link, 'n' a new list. */
static void only_a_flap_starts_the_damper(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		struct { int64_t at_ms; char what; } steps[6]; /* up to what 0 */
		int64_t damped_until; /* ms; 0: not damped */
	} rows[] = {
		{ "a return and the loss of that server", {{ 1000, 'r' }, { 5000, 'l' }}, 305000 },
		{ "just within 5 minutes", {{ 1000, 'r' }, { 300999, 'l' }}, 600999 },
		{ "a day later it is no flap: every return is as quick as the first", {{ 1000, 'r' }, { 86400000, 'l' }}, 0 },
		{ "after exactly 5 minutes it isn't either", {{ 1000, 'r' }, { 301000, 'l' }}, 0 },
		{ "a loss without a return", {{ 5000, 'l' }}, 0 },
		{ "the loss of the server that it failed over to", {{ 1000, 'm' }, { 5000, 'l' }}, 0 },
		{ "told to return (list, rebalance, triggerHostLb), then lost", {{ 1000, 'm' }, { 5000, 'l' }, { 6000, 'm' }, { 7000, 'l' }}, 0 },
		{ "returned, then drained away, then lost", {{ 1000, 'r' }, { 2000, 'm' }, { 5000, 'l' }}, 0 },
		{ "returned, renewed on the same server, then lost: still that server", {{ 1000, 'r' }, { 5000, 'l' }}, 305000 },
		{ "two losses of one return", {{ 1000, 'r' }, { 5000, 'l' }, { 9000, 'l' }}, 305000 },
		{ "each flap starts it anew", {{ 1000, 'r' }, { 5000, 'l' }, { 305000, 'r' }, { 306000, 'l' }}, 606000 },
		{ "told to return in between it neither waits nor spends", {{ 1000, 'r' }, { 5000, 'l' }, { 6000, 'm' }, { 7000, 'l' }}, 305000 },
		{ "a new list forgets the damper", {{ 1000, 'r' }, { 5000, 'l' }, { 6000, 'n' }}, 0 },
		{ "and the return: the loss is of another preferred server", {{ 1000, 'r' }, { 2000, 'n' }, { 5000, 'l' }}, 0 },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct failback f = {0};

		for (size_t j = 0; j < ARRAY_SIZE(rows[i].steps) && rows[i].steps[j].what; j++) {
			struct mono now = at_ms(rows[i].steps[j].at_ms);

			switch (rows[i].steps[j].what) {
			case 'r':
				failback_returned(&f, now);
				break;
			case 'm':
				failback_moved(&f);
				break;
			case 'l':
				failback_lost(&f, &failback_rule_default, now);
				break;
			default:
				failback_new_list(&f);
			}
		}
		check_row(&rows[i], f.damped_until.us == at_ms(rows[i].damped_until).us);
	}
}

static void the_next_look_comes_in_time(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		int64_t interval_ms;
		enum failback_verdict v;
		int64_t look_again; /* ms from now; 0: never */
		int64_t low, high;  /* ms from now; -1: never */
	} rows[] = {
		{ "10. jitter shortens, so that the bound holds", 60000, FAILBACK_NOT_UP, 0, 48000, 60000 },
		{ "10. without an interval there is no look", 0, FAILBACK_OFF, 0, -1, -1 },
		{ "11. who may go sooner looks sooner, spread over an interval", 60000, FAILBACK_TOO_YOUNG, 10000, 10000, 60000 },
		{ "11. but never later than by the interval", 5000, FAILBACK_TOO_YOUNG, 100000, 4000, 5000 },
		{ "11. told without an interval: spread over 10 s", 0, FAILBACK_UNKNOWN, 2000, 2000, 12000 },
		{ "11. a time that was named is kept", 60000, FAILBACK_PUT_OFF, 7000, 7000, 7000 },
		{ "11. so is the candidate link's", 60000, FAILBACK_PROVING, 6000, 6000, 6000 },
		{ "11. without an interval as well", 0, FAILBACK_PUT_OFF, 7000, 7000, 7000 },
	};
	/* clang-format on */
	struct rng rng = test_rng(__func__);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct failback_question q = {.interval_ms = rows[i].interval_ms};
		struct mono again = rows[i].look_again ? at_ms(NOW + rows[i].look_again) : MONO_NEVER;
		int64_t least = INT64_MAX, most = 0;

		for (int j = 0; j < 2000; j++) {
			struct mono next =
				failback_next_look(&failback_rule_default, &q, rows[i].v, again, at_ms(NOW), &rng);
			int64_t ms = mono_ms_between(at_ms(NOW), next);

			check_row(&rows[i], mono_is_never(next) == (rows[i].high < 0));
			least = ms < least ? ms : least;
			most = ms > most ? ms : most;
		}
		if (rows[i].high < 0)
			continue;
		check_row(&rows[i], least >= rows[i].low && least <= rows[i].low + (rows[i].high - rows[i].low) / 5);
		check_row(&rows[i], most <= rows[i].high && most >= rows[i].high - (rows[i].high - rows[i].low) / 5);
	}
}

static void every_verdict_can_be_told(void **state)
{
	for (enum failback_verdict v = 0; v < FAILBACK_N_VERDICTS; v++) {
		assert_true(strlen(failback_verdict_name(v)) > 0);
		assert_true(strlen(failback_verdict_text(v)) > strlen(failback_verdict_name(v)));
		for (enum failback_verdict w = 0; w < v; w++)
			assert_string_not_equal(failback_verdict_name(v), failback_verdict_name(w));
	}
	assert_string_equal(failback_verdict_name(FAILBACK_TOO_YOUNG), "too young");
}

static struct failback_question any_question(struct rng *rng)
{
	struct failback_question q = {
		.interval_ms = rng_below(rng, 6) ? rng_between(rng, 1, 40000) : 0,
		.is_told = rng_below(rng, 4) == 0,
		.is_home = rng_below(rng, 12) == 0,
		.is_avoided = rng_below(rng, 8) == 0,
		.retry_at = at_ms(rng_below(rng, 2) ? 0 : rng_between(rng, NOW - 3, NOW + 3)),
		.ready_since = at_ms(NOW - rng_between(rng, 2990, 3010)),
		.has_candidate = rng_below(rng, 2),
		.has_heartbeats = rng_below(rng, 3) > 0,
		.heartbeats = (unsigned)rng_below(rng, 6),
		.candidate_since = at_ms(NOW - rng_between(rng, 5990, 6010)),
	};

	q.word.is_known = rng_below(rng, 4) > 0;
	q.word.is_up = rng_below(rng, 8) > 0;
	q.word.is_accepting = rng_below(rng, 8) > 0;
	q.word.uptime_ms = failback_uptime_needed_ms(&failback_rule_default, q.interval_ms) - rng_between(rng, 0, 20);
	q.word.said_at = at_ms(NOW - rng_between(rng, 0, 20));
	return q;
}

/* The gate without an order of rules: may it go at all? */
static bool may_go(const struct failback *f, const struct failback_question *q, int64_t now_ms)
{
	int64_t needed = 2 * q->interval_ms < 30000 ? 2 * q->interval_ms : 30000;
	int64_t age = (q->word.uptime_ms > 0 ? q->word.uptime_ms : 0) + now_ms - q->word.said_at.us / 1000;
	bool said_nothing = now_ms - q->ready_since.us / 1000 >= 3000;

	if (q->is_home || q->is_avoided || (!q->has_candidate && q->retry_at.us > now_ms * 1000))
		return false;
	if (q->word.is_known && !(q->word.is_up && q->word.is_accepting))
		return false;
	if (q->is_told)
		return true;
	return q->interval_ms > 0 && f->damped_until.us <= now_ms * 1000 &&
	       (q->word.is_known ? age >= needed : said_nothing);
}

static void any_question_gets_a_sound_answer(void **state)
{
	struct rng rng = test_rng(__func__);

	for (int round = 0; round < 30000; round++) {
		struct failback_question q = any_question(&rng);
		struct failback f = {.damped_until =
					     at_ms(rng_below(&rng, 2) ? 0 : rng_between(&rng, NOW - 3, NOW + 3))};
		struct mono look_again, unused;
		enum failback_verdict v = failback_judge(&f, &failback_rule_default, &q, at_ms(NOW), &look_again);
		bool has_proof = !q.has_heartbeats || q.heartbeats >= 3;

		assert_int_equal(may_go(&f, &q, NOW), v >= FAILBACK_OPEN);
		assert_int_equal(v == FAILBACK_OPEN, may_go(&f, &q, NOW) && !q.has_candidate);
		assert_int_equal(v == FAILBACK_PROMOTE, may_go(&f, &q, NOW) && q.has_candidate && has_proof);
		assert_true(look_again.us > at_ms(NOW).us);
		/* Until then time changes nothing, and then it does. Without a time it never does. */
		if (mono_is_never(look_again)) {
			assert_int_equal(failback_judge(&f, &failback_rule_default, &q, at_ms(NOW + 10000000), &unused),
					 v);
			continue;
		}
		for (int64_t us = at_ms(NOW).us; us < look_again.us; us += 1 + (look_again.us - us) / 3)
			assert_int_equal(failback_judge(&f, &failback_rule_default, &q, (struct mono){us}, &unused), v);
		assert_int_not_equal(failback_judge(&f, &failback_rule_default, &q, look_again, &unused), v);
	}
}

/*
 * The promise: on a calm cluster an agent is home within interval + 10 s. A little engine that does what it is told,
 * against a server that is up; the world becomes calm at 0, when the server has been up for long enough.
 */
static int64_t home_after(struct rng *rng, int64_t interval_ms, bool has_word, bool has_heartbeats,
			  int64_t up_before_ms, size_t *n_early)
{
	int64_t start = -rng_between(rng, 0, 2 * interval_ms), heartbeat_ms = rng_between(rng, 200, 1000);
	int64_t dial_ms = rng_between(rng, 1, 1000), base = NOW;
	struct failback f = {0};
	struct failback_question q = {
		.interval_ms = interval_ms,
		.ready_since = at_ms(base + start),
		.has_heartbeats = has_heartbeats,
	};
	struct mono now = q.ready_since, again;

	q.word.is_known = has_word;
	q.word.is_up = q.word.is_accepting = true;
	now = failback_next_look(&failback_rule_default, &q, FAILBACK_NOT_UP, MONO_NEVER, now, rng);
	for (;;) {
		enum failback_verdict v;

		q.word.uptime_ms = now.us / 1000 - base + up_before_ms;
		q.word.said_at = now;
		if (q.word.uptime_ms < 0)
			q.word.is_up = false;
		else
			q.word.is_up = true;
		v = failback_judge(&f, &failback_rule_default, &q, now, &again);
		if (v == FAILBACK_PROMOTE)
			return now.us / 1000 - base;
		if (v == FAILBACK_OPEN) {
			*n_early += has_word && now.us / 1000 < base;
			q.has_candidate = true;
			q.candidate_since = now = mono_add_ms(now, dial_ms);
		} else if (v == FAILBACK_PROVING) {
			q.heartbeats++;
			now = mono_add_ms(now, heartbeat_ms);
		} else {
			now = failback_next_look(&failback_rule_default, &q, v, again, now, rng);
		}
	}
}

static void home_within_the_interval_and_ten_seconds(void **state)
{
	struct rng rng = test_rng(__func__);
	size_t n_early = 0;

	for (int round = 0; round < 20000; round++) {
		int64_t interval_ms =
			rng_below(&rng, 2) ? rng_between(&rng, 1, 100) * 1000 : rng_between(&rng, 1, 7200) * 1000;
		int64_t needed = failback_uptime_needed_ms(&failback_rule_default, interval_ms);
		int64_t ms =
			home_after(&rng, interval_ms, rng_below(&rng, 4) > 0, rng_below(&rng, 4) > 0, needed, &n_early);

		if (ms > interval_ms + 10000)
			fail_msg("interval %lld ms: home after %lld ms", (long long)interval_ms, (long long)ms);
	}
	assert_int_equal(n_early, 0);
}

/* All agents of a server wait for the same moment: how many are told to open their link in one tenth of the interval?
 */
static void they_do_not_come_all_at_once(void **state)
{
	static const int64_t intervals[] = {2000, 10000, 60000, 600000};
	struct rng rng = test_rng(__func__);

	for (size_t i = 0; i < ARRAY_SIZE(intervals); i++) {
		size_t count[20] = {0}, n_early = 0;

		for (int agent = 0; agent < 4000; agent++) {
			int64_t needed = failback_uptime_needed_ms(&failback_rule_default, intervals[i]);
			int64_t ms = home_after(&rng, intervals[i], true, false, needed, &n_early);

			assert_true(ms >= 0 && ms * 10 / intervals[i] < 20);
			count[ms * 10 / intervals[i]]++;
		}
		for (size_t j = 0; j < ARRAY_SIZE(count); j++)
			assert_true(count[j] < 4000 / 10 * 25 / 10);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_gate_follows_the_rules),
		cmocka_unit_test(the_best_live_entry_is_gone_to),
		cmocka_unit_test(nobody_goes_past_a_better_one),
		cmocka_unit_test(each_condition_can_be_switched_off),
		cmocka_unit_test(the_uptime_needed_is_the_lesser),
		cmocka_unit_test(only_a_flap_starts_the_damper),
		cmocka_unit_test(the_next_look_comes_in_time),
		cmocka_unit_test(every_verdict_can_be_told),
		cmocka_unit_test(any_question_gets_a_sound_answer),
		cmocka_unit_test(home_within_the_interval_and_ten_seconds),
		cmocka_unit_test(they_do_not_come_all_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
