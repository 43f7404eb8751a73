#include "core/first_dial.h"

#include "core_test.h"

static void the_window_grows_with_the_agents(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		struct first_dial_rule rule;
		uint64_t n_agents;
		int64_t window_ms;
	} rows[] = {
		{ "1. who doesn't know how many they were doesn't wait", { 100, 200, 5000 }, 0, 0 },
		{ "1. one agent alone doesn't", { 100, 200, 5000 }, 1, 0 },
		{ "1. a few don't", { 100, 200, 5000 }, 100, 0 },
		{ "2. there is no step where many begin", { 100, 200, 5000 }, 105, 1 },
		{ "2. a thousand", { 100, 200, 5000 }, 1000, 180 },
		{ "2. ten thousand: in proportion", { 100, 200, 5000 }, 10000, 1980 },
		{ "3. as many as make the bound", { 100, 200, 5000 }, 25100, 5000 },
		{ "3. and never more", { 100, 200, 5000 }, 100000, 5000 },
		{ "3. whatever somebody says", { 100, 200, 5000 }, UINT64_MAX, 5000 },
		{ "no time for an agent: nobody waits", { 100, 0, 5000 }, 100000, 0 },
		{ "no bound above nothing: nobody waits", { 100, 200, 0 }, 100000, 0 },
		{ "negative numbers are none", { 100, -1, -1 }, 100000, 0 },
		{ "nobody is few: everybody waits", { 0, 1000, 5000 }, 7, 7 },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_row(&rows[i], first_dial_window_ms(&rows[i].rule, rows[i].n_agents) == rows[i].window_ms);
	assert_int_equal(first_dial_window_ms(&first_dial_rule_default, 10000), 1980);
}

static void a_server_that_takes_many_is_waited_for(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		int64_t handshake_ms;
		uint64_t n_agents;
		int64_t patience_ms;
		bool keeps_link;
	} rows[] = {
		{ "6. a second where nothing is known", 0, 0, 1000 },
		{ "6. a second for a quick server", 10, 0, 1000 },
		{ "6. four times the last handshake", 400, 0, 1600 },
		{ "8. three seconds: it may have been held up for once", 9000, 0, 3000 },
		{ "8. whatever was measured", INT64_MAX, 0, 3000 },
		{ "a clock that went back is not known", -5000, 0, 1000 },
		{ "a clock that went back far isn't either", INT64_MIN, 0, 1000 },
		{ "7. few agents change nothing", 10, 1000, 1000 },
		{ "7. a millisecond for each agent", 10, 2500, 2500 },
		{ "7. the longer of the two", 700, 2500, 2800 },
		{ "8. never more", 10, 3334, 3000 },
		{ "8. whatever somebody says", 0, UINT64_MAX, 3000 },
		{ "9. a planned move has time", 10, 0, 3000, true },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_row(&rows[i], first_dial_patience_ms(rows[i].handshake_ms, rows[i].n_agents,
							   rows[i].keeps_link) == rows[i].patience_ms);
}

/* 4. Ten thousand agents, in tenths of the window: no tenth has many more than another. */
static void all_of_the_window_is_used(void **state)
{
	struct rng rng = test_rng(__func__);
	size_t count[10] = {0};

	for (int i = 0; i < 10000; i++) {
		int64_t ms = first_dial_delay_ms(&first_dial_rule_default, 10000, &rng);

		assert_true(ms >= 0 && ms <= 1980);
		count[ms * 10 / 1981]++;
		assert_int_equal(first_dial_delay_ms(&first_dial_rule_default, 100, &rng), 0);
	}
	for (size_t i = 0; i < 10; i++)
		assert_in_range(count[i], 800, 1200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_window_grows_with_the_agents),
		cmocka_unit_test(all_of_the_window_is_used),
		cmocka_unit_test(a_server_that_takes_many_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
