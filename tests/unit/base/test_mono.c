#include "base/mono.h"

#include "base/mem.h"
#include "check.h"

static void times_that_can_not_be_are_never(void **state)
{
	static const struct {
		const char *what;
		int64_t start_us;
		int64_t s;
		int64_t expected_us;
	} rows[] = {
		{"seconds are added", 5, 2, 2000005},
		{"seconds are taken away", 5000000, -2, 3000000},
		{"too many seconds are never", 0, INT64_MAX / 1000, INT64_MAX},
		{"far too many seconds are never", 0, INT64_MAX, INT64_MAX},
		{"a negative flood doesn't come round", 0, INT64_MIN, INT64_MAX},
		{"never stays never", INT64_MAX, 1, INT64_MAX},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct mono t = mono_add_s((struct mono){.us = rows[i].start_us}, rows[i].s);

		check_row(&rows[i], t.us == rows[i].expected_us);
		check_row(&rows[i], mono_is_never(t) == (rows[i].expected_us == INT64_MAX));
	}
	assert_int_equal(mono_add_ms((struct mono){.us = 1}, 3).us, 3001);
	assert_true(mono_is_never(mono_add_ms((struct mono){.us = 1}, INT64_MAX)));
}

static void times_are_compared(void **state)
{
	struct mono early = {.us = 1000}, late = {.us = 3500};

	assert_int_equal(mono_ms_between(early, late), 2);
	assert_int_equal(mono_ms_between(late, early), -2);
	assert_true(mono_reached(late, early));
	assert_true(mono_reached(late, late));
	assert_false(mono_reached(early, late));
	assert_true(mono_before(early, late));
	assert_false(mono_before(late, late));
	assert_int_equal(mono_min(early, late).us, early.us);
	assert_int_equal(mono_min(MONO_NEVER, late).us, late.us);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_that_can_not_be_are_never),
		cmocka_unit_test(times_are_compared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
