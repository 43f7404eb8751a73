#include "core/heartbeat.h"

#include "core_test.h"

static void the_interval_grows_with_the_links(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		struct heartbeat_rule rule;
		int64_t now_ms;
		size_t n_links;
		int64_t interval_ms;
	} rows[] = {
		{ "1. nobody: as short as can be", { 10, 5 }, 0, 0, 1000 },
		{ "1. as many as 5 % of a core are enough for in a second", { 10, 5 }, 0, 5000, 1000 },
		{ "1. one more: the next step", { 10, 5 }, 0, 5001, 2000 },
		{ "1. ten thousand", { 10, 5 }, 0, 10000, 2000 },
		{ "1. as many as a process can have here", { 10, 5 }, 0, 18000, 5000 },
		{ "1. all of 15 s", { 10, 5 }, 0, 75000, 15000 },
		{ "1. a dearer heartbeat: fewer of them", { 20, 5 }, 0, 5000, 2000 },
		{ "1. a larger part of the core: more of them", { 10, 10 }, 0, 10000, 1000 },
		{ "1. what costs nothing is never too much", { 0, 5 }, 0, SIZE_MAX, 1000 },
		{ "2. beyond that detection counts for more", { 10, 5 }, 0, 100000, 15000 },
		{ "2. whatever somebody says", { 10, 5 }, 0, SIZE_MAX, 15000 },
		{ "3. longer at once", { 10, 5 }, 1000, 5001, 2000 },
		{ "3. several steps at once", { 10, 5 }, 1000, 20000, 5000 },
		{ "3. not shorter because one agent left", { 10, 5 }, 2000, 5000, 2000 },
		{ "3. nor with one too many", { 10, 5 }, 2000, 4001, 2000 },
		{ "3. shorter where there is room", { 10, 5 }, 2000, 4000, 1000 },
		{ "3. shorter by as many steps as there is room for", { 10, 5 }, 15000, 9000, 3000 },
		{ "3. all the way when everybody left", { 10, 5 }, 15000, 0, 1000 },
		{ "3. the longest stays the longest", { 10, 5 }, 15000, 40001, 15000 },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_row(&rows[i],
			  heartbeat_interval_ms(&rows[i].rule, rows[i].now_ms, rows[i].n_links) == rows[i].interval_ms);
	assert_int_equal(heartbeat_interval_ms(&heartbeat_rule_default, 0, 3333), 1000);
	assert_int_equal(heartbeat_interval_ms(&heartbeat_rule_default, 0, 10000), 3000);
	assert_int_equal(heartbeat_interval_ms(&heartbeat_rule_default, 0, 50000), 15000);
}

/* 1. Within the bound of 2 the part of the core is never more than was allowed. */
static void all_heartbeats_cost_no_more_than_allowed(void **state)
{
	const struct heartbeat_rule *rule = &heartbeat_rule_default;
	int64_t now = 0, changes = 0;

	for (size_t n = 0; n <= 50000; n += 7) {
		int64_t next = heartbeat_interval_ms(rule, now, n);

		changes += next != now;
		now = next;
		assert_true((int64_t)n * rule->cost_us * 100 <= now * 1000 * rule->core_percent);
	}
	assert_int_equal(changes, 7);
	/* 3. A walk around a bound changes it once. */
	changes = 0;
	now = 1000;
	for (size_t i = 0; i < 1000; i++) {
		int64_t next = heartbeat_interval_ms(rule, now, 3333 - i % 400 + i % 2 * 400);

		changes += next != now;
		now = next;
	}
	assert_in_range(changes, 0, 1);
}

static void silence_by_the_interval(void **state)
{
	static const struct {
		const char *what;
		int64_t interval_ms, suspect_ms, dead_ms;
	} rows[] = {
		{"4., 5. a second: 10 s at least", 1000, 2500, 10000},
		{"5. as long as 4 intervals are shorter", 2500, 6250, 10000},
		{"5. beyond that 4 intervals", 3000, 7500, 12000},
		{"4., 5. the longest", 15000, 37500, 60000},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_row(&rows[i], heartbeat_suspect_ms(rows[i].interval_ms) == rows[i].suspect_ms &&
					    heartbeat_dead_ms(rows[i].interval_ms) == rows[i].dead_ms);
}

static void a_new_interval_counts_when_it_can_have_been_heard(void **state)
{
	static const struct {
		const char *what;
		int64_t interval_ms, before_ms, from_ms;
	} rows[] = {
		{"7. the first counts at once", 1000, 0, 0},
		{"7. so does a longer one: more silence is allowed", 5000, 1000, 0},
		{"7. and the same", 5000, 5000, 0},
		{"7. a shorter one after one of the old", 1000, 5000, 105000},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_row(&rows[i], heartbeat_counts_from(rows[i].interval_ms, rows[i].before_ms,
							  mono_add_ms((struct mono){0}, 100000))
						    .us == rows[i].from_ms * 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_interval_grows_with_the_links),
		cmocka_unit_test(all_heartbeats_cost_no_more_than_allowed),
		cmocka_unit_test(silence_by_the_interval),
		cmocka_unit_test(a_new_interval_counts_when_it_can_have_been_heard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
