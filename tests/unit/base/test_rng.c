#include "base/rng.h"

#include <stdbool.h>

#include "base/mem.h"
#include "check.h"

/* The numbers of the authors' own programs: a recorded run must be replayable with any later version. */
static void the_sequence_belongs_to_the_seed(void **state)
{
	struct rng rng = {.s = {1, 2, 3, 4}};
	static const uint64_t xoshiro[] = {11520u, 0u, 1509978240u, 1215971899390074240u};
	static const uint64_t splitmix_of_0[] = {0xe220a8397b1dcdafu, 0x6e789e6aa1b965f4u, 0x06c45d188009454fu,
						 0xf88bb8a8724c81ecu};

	for (size_t i = 0; i < ARRAY_SIZE(xoshiro); i++)
		assert_true(rng_u64(&rng) == xoshiro[i]);
	rng_init(&rng, 0);
	for (size_t i = 0; i < 4; i++)
		assert_true(rng.s[i] == splitmix_of_0[i]);
}

static void the_same_seed_decides_the_same(void **state)
{
	struct rng a, b, c;
	bool is_different = false;

	rng_init(&a, 42);
	rng_init(&b, 42);
	rng_init(&c, 43);
	for (int i = 0; i < 100; i++) {
		uint64_t v = rng_u64(&a);

		assert_true(v == rng_u64(&b));
		is_different |= v != rng_u64(&c);
	}
	assert_true(is_different);
}

static void below_is_uniform(void **state)
{
	struct rng rng;
	size_t counts[7] = {0};

	rng_init(&rng, 1);
	assert_true(rng_below(&rng, 0) == 0);
	for (int i = 0; i < 100; i++)
		assert_true(rng_below(&rng, 1) == 0);
	for (int i = 0; i < 70000; i++)
		counts[rng_below(&rng, 7)]++;
	/* 10000 each; the spread is below 100, ten times that would be a fault. */
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		assert_in_range(counts[i], 9000, 11000);
}

/*
 * Of 3/4 of 2^64, a mere modulo draws the first third twice as often. Without bias each third gets 1/3.
 */
static void below_has_no_bias_for_large_ranges(void **state)
{
	const uint64_t n = 3u * (UINT64_C(1) << 62);
	struct rng rng;
	size_t low = 0;

	rng_init(&rng, 2);
	for (int i = 0; i < 30000; i++) {
		uint64_t v = rng_below(&rng, n);

		assert_true(v < n);
		low += v < n / 3;
	}
	assert_in_range(low, 9500, 10500);
}

static void between_includes_both_ends(void **state)
{
	static const struct {
		const char *what;
		int64_t low, high;
	} rows[] = {
		{"a small range", -1, 1},
		{"one value", 5, 5},
		{"the lowest", INT64_MIN, INT64_MIN + 1},
		{"the highest", INT64_MAX - 1, INT64_MAX},
	};
	struct rng rng;

	rng_init(&rng, 3);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool has_low = false, has_high = false;

		for (int n = 0; n < 200; n++) {
			int64_t v = rng_between(&rng, rows[i].low, rows[i].high);

			check_row(&rows[i], v >= rows[i].low && v <= rows[i].high);
			has_low |= v == rows[i].low;
			has_high |= v == rows[i].high;
		}
		check_row(&rows[i], has_low && has_high);
	}
}

static void between_can_take_every_number(void **state)
{
	struct rng rng;
	bool has_negative = false, has_positive = false;

	rng_init(&rng, 4);
	for (int i = 0; i < 100; i++) {
		int64_t v = rng_between(&rng, INT64_MIN, INT64_MAX);

		has_negative |= v < 0;
		has_positive |= v > 0;
	}
	assert_true(has_negative && has_positive);
}

static void unit_stays_below_one(void **state)
{
	struct rng rng;
	double sum = 0;

	rng_init(&rng, 5);
	for (int i = 0; i < 10000; i++) {
		double v = rng_unit(&rng);

		assert_true(v >= 0 && v < 1);
		sum += v;
	}
	assert_true(sum > 4800 && sum < 5200);
}

static void jitter_stays_in_its_bounds(void **state)
{
	static const struct {
		const char *what;
		int64_t value;
		unsigned percent;
		int64_t low, high;
	} rows[] = {
		{"no percent moves nothing", 1000, 0, 1000, 1000},
		{"a tenth", 1000, 10, 900, 1100},
		{"small values stay as they are", 5, 10, 5, 5},
		{"percents of what is no multiple of 100", 150, 50, 75, 225},
		{"everything", 10, 100, 0, 20},
		{"more than everything is everything", 10, 1000, 0, 20},
		{"nothing", 0, 50, 0, 0},
		{"negative values", -1000, 10, -1100, -900},
		{"at the upper end", INT64_MAX, 100, 0, INT64_MAX},
		{"at the lower end", INT64_MIN, 100, INT64_MIN, -1},
	};
	struct rng rng;

	rng_init(&rng, 6);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t least = INT64_MAX, most = INT64_MIN;

		for (int n = 0; n < 2000; n++) {
			int64_t v = rng_jitter(&rng, rows[i].value, rows[i].percent);

			check_row(&rows[i], v >= rows[i].low && v <= rows[i].high);
			least = v < least ? v : least;
			most = v > most ? v : most;
		}
		/* Both directions are used. */
		check_row(&rows[i], least < rows[i].value || rows[i].low >= rows[i].value);
		check_row(&rows[i], most > rows[i].value || rows[i].high <= rows[i].value);
	}
}

static void shuffle_gives_each_order_equally_often(void **state)
{
	struct rng rng;
	size_t counts[64] = {0};
	int numbers[3] = {0, 1, 2};
	size_t n_orders = 0;

	rng_init(&rng, 7);
	rng_shuffle(&rng, NULL, 0);
	for (int i = 0; i < 60000; i++) {
		void *items[3] = {&numbers[0], &numbers[1], &numbers[2]};
		size_t order = 0;

		rng_shuffle(&rng, items, 3);
		for (size_t k = 0; k < 3; k++)
			order = order << 2 | (size_t) * (int *)items[k];
		counts[order]++;
	}
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		if (!counts[i])
			continue;
		n_orders++;
		assert_in_range(counts[i], 9500, 10500);
	}
	assert_int_equal(n_orders, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_sequence_belongs_to_the_seed),
		cmocka_unit_test(the_same_seed_decides_the_same),
		cmocka_unit_test(below_is_uniform),
		cmocka_unit_test(below_has_no_bias_for_large_ranges),
		cmocka_unit_test(between_includes_both_ends),
		cmocka_unit_test(between_can_take_every_number),
		cmocka_unit_test(unit_stays_below_one),
		cmocka_unit_test(jitter_stays_in_its_bounds),
		cmocka_unit_test(shuffle_gives_each_order_equally_often),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
