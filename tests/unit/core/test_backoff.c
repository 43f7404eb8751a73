#include "core/backoff.h"

#include <limits.h>

#include "core_test.h"

static void waits_lie_between_floor_and_ceiling(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		struct backoff_rule rule;
		unsigned failures; /* before this one */
		int64_t low, high;
	} rows[] = {
		{ "the first failure: up to twice the base", { 0, 100, 10000 }, 0, 0, 200 },
		{ "the second: twice that", { 0, 100, 10000 }, 1, 0, 400 },
		{ "the sixth", { 0, 100, 10000 }, 5, 0, 6400 },
		{ "then the cap", { 0, 100, 10000 }, 6, 0, 10000 },
		{ "and for ever", { 0, 100, 10000 }, 1000000, 0, 10000 },
		{ "the count stops at its end", { 0, 100, 10000 }, UINT_MAX, 0, 10000 },
		{ "never less than the floor", { 150, 100, 10000 }, 0, 150, 200 },
		{ "the floor holds where the ceiling is lower", { 500, 100, 10000 }, 0, 500, 500 },
		{ "the floor holds against the cap", { 500, 100, 300 }, 9, 500, 500 },
		{ "no base: the floor", { 20, 0, 10000 }, 9, 20, 20 },
		{ "nothing at all: at once", { 0, 0, 0 }, 9, 0, 0 },
		{ "numbers that would overflow", { 0, INT64_MAX / 4000, INT64_MAX / 1000 - 1 }, 62, 0, INT64_MAX / 1000 - 1 },
		{ "a negative floor is none", { -5, 100, 10000 }, 0, 0, 200 },
	};
	/* clang-format on */
	struct rng rng = test_rng(__func__);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t least = INT64_MAX, most = INT64_MIN, range = rows[i].high - rows[i].low;

		for (int j = 0; j < 2000; j++) {
			struct backoff b = {.failures = rows[i].failures};
			int64_t wait;

			backoff_failed(&b, &rows[i].rule, at_ms(5), &rng);
			wait = mono_ms_between(at_ms(5), b.retry_at);
			check_row(&rows[i], wait >= rows[i].low && wait <= rows[i].high);
			check_row(&rows[i], b.failures - (rows[i].failures < UINT_MAX) == rows[i].failures);
			least = wait < least ? wait : least;
			most = wait > most ? wait : most;
		}
		/* Full jitter: the whole range is used, both of its outer fifths too. */
		check_row(&rows[i], least <= rows[i].low + range / 5 && most >= rows[i].high - range / 5);
	}
}

static void success_forgets_the_failures(void **state)
{
	static const struct backoff_rule rule = {.floor_ms = 1, .base_ms = 100, .cap_ms = 10000};
	struct rng rng = test_rng(__func__);
	struct backoff b = {0};

	for (unsigned i = 1; i <= 5; i++) {
		backoff_failed(&b, &rule, at_ms(1000), &rng);
		assert_int_equal(b.failures, i);
		assert_true(mono_before(at_ms(1000), b.retry_at));
	}
	backoff_worked(&b);
	assert_int_equal(b.failures, 0);
	assert_true(mono_reached(at_ms(0), b.retry_at));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waits_lie_between_floor_and_ceiling),
		cmocka_unit_test(success_forgets_the_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
