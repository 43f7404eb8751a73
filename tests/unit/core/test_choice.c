#include "core/choice.h"

#include "core_test.h"

#define NOW 1000
#define N_MAX 6

static void choice_follows_the_rules(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		struct candidate in[4]; /* up to the first without an entry */
		size_t chosen;
		enum choice_verdict verdicts[4];
		int64_t look_again; /* ms; 0: never */
	} rows[] = {
		{ "an empty list",
		  { { .entry = NULL } }, CHOICE_NONE, { 0 }, 0 },
		{ "6. the preferred server is taken when it can be",
		  { { .entry = "a" }, { .entry = "b" }, { .entry = "c" } },
		  0, { CHOICE_CHOSEN, CHOICE_SPARE, CHOICE_SPARE }, 0 },
		{ "1. what is no address is passed over",
		  { { .entry = " a", .unusable = true }, { .entry = "b" } },
		  1, { CHOICE_UNUSABLE, CHOICE_CHOSEN }, 0 },
		{ "1. and nothing is chosen when nothing is an address",
		  { { .entry = "", .unusable = true, .avoided = true, .backoff = { .retry_at = { 5000000 } } } },
		  CHOICE_NONE, { CHOICE_UNUSABLE }, 0 },
		{ "2. where the agent is it doesn't go again",
		  { { .entry = "a", .connected = true }, { .entry = "b" }, { .entry = "c" } },
		  1, { CHOICE_CONNECTED, CHOICE_CHOSEN, CHOICE_SPARE }, 0 },
		{ "2. nor where it is going",
		  { { .entry = "a", .dialing = true }, { .entry = "b", .dialing = true }, { .entry = "c" } },
		  2, { CHOICE_DIALING, CHOICE_DIALING, CHOICE_CHOSEN }, 0 },
		{ "2. on its way to everybody it chooses nobody",
		  { { .entry = "a", .dialing = true }, { .entry = "b", .connected = true } },
		  CHOICE_NONE, { CHOICE_DIALING, CHOICE_CONNECTED }, 0 },
		{ "3. a server that failed lately waits",
		  { { .entry = "a", .backoff = { .failures = 1, .retry_at = { 1500000 } } }, { .entry = "b" } },
		  1, { CHOICE_BACKING_OFF, CHOICE_CHOSEN }, 1500 },
		{ "3. until its time has come, to the microsecond",
		  { { .entry = "a", .backoff = { .failures = 1, .retry_at = { 1000000 } } }, { .entry = "b" } },
		  0, { CHOICE_CHOSEN, CHOICE_SPARE }, 0 },
		{ "3. nothing is chosen while all wait; the first to be ready says when to look again",
		  { { .entry = "a", .backoff = { .retry_at = { 3000000 } } }, { .entry = "b", .backoff = { .retry_at = { 2000000 } } },
		    { .entry = "c", .avoided = true, .backoff = { .retry_at = { 2500000 } } } },
		  CHOICE_NONE, { CHOICE_BACKING_OFF, CHOICE_BACKING_OFF, CHOICE_BACKING_OFF }, 2000 },
		{ "3. an attempt under way counts before its back-off",
		  { { .entry = "a", .dialing = true, .backoff = { .retry_at = { 3000000 } } } },
		  CHOICE_NONE, { CHOICE_DIALING }, 0 },
		{ "4. an avoided server is not taken while another can be, even if it is preferred",
		  { { .entry = "a", .avoided = true }, { .entry = "b" }, { .entry = "c" } },
		  1, { CHOICE_AVOIDED, CHOICE_CHOSEN, CHOICE_SPARE }, 0 },
		{ "5. who has failed in this search comes after who has not been tried, whatever the list says",
		  { { .entry = "a", .has_failed = true }, { .entry = "b", .dialing = true }, { .entry = "c" } },
		  2, { CHOICE_TRIED, CHOICE_DIALING, CHOICE_CHOSEN }, 0 },
		{ "6. when all have failed the order of the list decides again",
		  { { .entry = "a", .has_failed = true }, { .entry = "b", .has_failed = true } },
		  0, { CHOICE_CHOSEN, CHOICE_TRIED }, 0 },
		{ "5. and before an avoided one",
		  { { .entry = "a", .has_failed = true }, { .entry = "b", .avoided = true } },
		  0, { CHOICE_CHOSEN, CHOICE_AVOIDED }, 0 },
		{ "7. it is taken when nothing else is left",
		  { { .entry = "a", .avoided = true }, { .entry = "b", .avoided = true } },
		  0, { CHOICE_CHOSEN, CHOICE_AVOIDED }, 0 },
		{ "7. also while the others wait out a back-off: what the agent was told may be old",
		  { { .entry = "a", .backoff = { .retry_at = { 2000000 } } }, { .entry = "b", .avoided = true } },
		  1, { CHOICE_BACKING_OFF, CHOICE_CHOSEN }, 2000 },
		{ "7. but not while a server that isn't avoided is being dialled",
		  { { .entry = "a", .dialing = true }, { .entry = "b", .avoided = true } },
		  CHOICE_NONE, { CHOICE_DIALING, CHOICE_AVOIDED }, 0 },
		{ "7. an attempt at another avoided one doesn't hold it up",
		  { { .entry = "a", .dialing = true, .avoided = true }, { .entry = "b", .avoided = true } },
		  1, { CHOICE_DIALING, CHOICE_CHOSEN }, 0 },
		{ "7. nor does the server that the agent wants to leave",
		  { { .entry = "a", .connected = true }, { .entry = "b", .avoided = true } },
		  1, { CHOICE_CONNECTED, CHOICE_CHOSEN }, 0 },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct candidate c[4];
		struct mono look_again = at_ms(77);
		size_t n = 0;

		memcpy(c, rows[i].in, sizeof(c));
		while (n < ARRAY_SIZE(c) && c[n].entry)
			n++;
		check_row(&rows[i], choice_make(c, n, at_ms(NOW), &look_again) == rows[i].chosen);
		for (size_t j = 0; j < n; j++)
			check_row(&rows[i], c[j].verdict == rows[i].verdicts[j]);
		if (rows[i].look_again)
			check_row(&rows[i], look_again.us == at_ms(rows[i].look_again).us);
		else
			check_row(&rows[i], mono_is_never(look_again));
	}
}

static void every_verdict_can_be_told(void **state)
{
	for (enum choice_verdict v = 0; v < CHOICE_N_VERDICTS; v++) {
		assert_true(strlen(choice_verdict_name(v)) > 0);
		assert_true(strlen(choice_verdict_text(v)) > strlen(choice_verdict_name(v)));
		for (enum choice_verdict w = 0; w < v; w++)
			assert_string_not_equal(choice_verdict_name(v), choice_verdict_name(w));
	}
	assert_string_equal(choice_verdict_name(CHOICE_BACKING_OFF), "backing off");
}

static bool can_be_dialled(const struct candidate *c, struct mono now)
{
	return !c->unusable && !c->connected && !c->dialing && c->backoff.retry_at.us <= now.us;
}

/* Holds for every answer, whatever the rules' order. */
static void check_answer(const struct candidate *c, size_t n, size_t chosen, struct mono now, struct mono look_again)
{
	size_t n_chosen = 0, n_other = 0, n_avoided = 0, n_other_dialing = 0;

	for (size_t i = 0; i < n; i++) {
		n_chosen += c[i].verdict == CHOICE_CHOSEN;
		n_other += can_be_dialled(&c[i], now) && !c[i].avoided;
		n_avoided += can_be_dialled(&c[i], now) && c[i].avoided;
		n_other_dialing += c[i].dialing && !c[i].unusable && !c[i].connected && !c[i].avoided;
		if (c[i].verdict == CHOICE_BACKING_OFF)
			assert_true(look_again.us <= c[i].backoff.retry_at.us);
	}
	assert_true(look_again.us > now.us);
	assert_int_equal(n_chosen, chosen != CHOICE_NONE);
	assert_int_equal(chosen != CHOICE_NONE, n_other || (n_avoided && !n_other_dialing));
	if (chosen == CHOICE_NONE)
		return;
	assert_int_equal(c[chosen].verdict, CHOICE_CHOSEN);
	assert_true(can_be_dialled(&c[chosen], now));
	assert_int_equal(c[chosen].avoided, n_other == 0);
	for (size_t i = 0; i < chosen; i++)
		assert_true(!can_be_dialled(&c[i], now) || c[i].avoided != c[chosen].avoided);
}

static void any_state_gets_a_sound_answer(void **state)
{
	struct rng rng = test_rng(__func__);

	for (int round = 0; round < 20000; round++) {
		struct candidate c[N_MAX] = {{0}};
		size_t n = (size_t)rng_below(&rng, N_MAX + 1);
		struct mono look_again;
		size_t chosen;

		for (size_t i = 0; i < n; i++) {
			c[i].entry = "x";
			c[i].unusable = rng_below(&rng, 6) == 0;
			c[i].avoided = rng_below(&rng, 3) == 0;
			c[i].connected = rng_below(&rng, 6) == 0;
			c[i].dialing = rng_below(&rng, 6) == 0;
			c[i].backoff.retry_at = at_ms(rng_between(&rng, NOW - 2, NOW + 2));
		}
		chosen = choice_make(c, n, at_ms(NOW), &look_again);
		check_answer(c, n, chosen, at_ms(NOW), look_again);
	}
}

/* Every attempt fails, and the agent only acts when it is told to: it must come round to each usable entry. */
static void no_server_is_forgotten(void **state)
{
	static const struct backoff_rule rule = {.floor_ms = 10, .base_ms = 50, .cap_ms = 1000};
	struct rng rng = test_rng(__func__);

	for (int round = 0; round < 200; round++) {
		struct candidate c[N_MAX] = {{0}};
		size_t n = 1 + (size_t)rng_below(&rng, N_MAX), tried[N_MAX] = {0};
		struct mono now = at_ms(NOW), look_again;
		bool has_usable = false;

		for (size_t i = 0; i < n; i++) {
			c[i].entry = "x";
			c[i].unusable = rng_below(&rng, 4) == 0;
			c[i].avoided = rng_below(&rng, 2);
			has_usable |= !c[i].unusable;
		}
		for (int step = 0; has_usable && step < 600; step++) {
			size_t chosen = choice_make(c, n, now, &look_again);

			if (chosen == CHOICE_NONE) {
				assert_false(mono_is_never(look_again));
				now = look_again;
				continue;
			}
			tried[chosen]++;
			backoff_failed(&c[chosen].backoff, &rule, now, &rng);
		}
		for (size_t i = 0; i < n; i++)
			assert_int_equal(tried[i] > 0, !c[i].unusable);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(choice_follows_the_rules),
		cmocka_unit_test(every_verdict_can_be_told),
		cmocka_unit_test(any_state_gets_a_sound_answer),
		cmocka_unit_test(no_server_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
