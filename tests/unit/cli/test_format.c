#include "check.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "cli/format.h"

static void durations_read_as_people_say_them(void **state)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} rows[] = {
		{0, "0 s"},           {1, "1 s"},
		{59, "59 s"},         {60, "1 min"},
		{90, "1 min 30 s"},   {3600, "1 h"},
		{3605, "1 h"},        {7500, "2 h 5 min"},
		{86400, "1 day"},     {273600, "3 days 4 h"},
		{-90, "-1 min 30 s"}, {INT64_MIN, "-106751991167300 days 15 h"},
	};
	char out[FORMAT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_string_equal(format_seconds(out, rows[i].seconds), rows[i].text);
}

static void counts_have_a_plural(void **state)
{
	char out[FORMAT_MAX];

	assert_string_equal(format_count(out, 0, "agent"), "0 agents");
	assert_string_equal(format_count(out, 1, "agent"), "1 agent");
	assert_string_equal(format_count(out, 12, "agent"), "12 agents");
}

static void dates_are_shown_in_local_time(void **state)
{
	char out[FORMAT_MAX];
	int64_t seconds;

	setenv("TZ", "UTC-2", 1); /* two hours east */
	tzset();
	assert_string_equal(format_date(out, "2026-01-15T08:00:02+0000"), "2026-01-15 10:00:02");
	assert_string_equal(format_date(out, "2026-01-15T08:00:02+0100"), "2026-01-15 09:00:02");
	assert_string_equal(format_date(out, "never"), "never");
	assert_string_equal(format_date(out, "\033[2Jx"), "?[2Jx");
	assert_string_equal(format_date(out, NULL), "");
	assert_true(date_to_seconds("1970-01-01T01:00:10+0100", &seconds));
	assert_int_equal(seconds, 10);
	assert_false(date_to_seconds("2026-01-15", &seconds));
	assert_false(date_to_seconds("2026-01-15T08:00:02+0000x", &seconds));
	assert_false(date_to_seconds(NULL, &seconds));
}

static void sizes_have_units(void **state)
{
	char out[FORMAT_MAX];

	assert_string_equal(format_bytes(out, 0), "0 B");
	assert_string_equal(format_bytes(out, 1023), "1023 B");
	assert_string_equal(format_bytes(out, 1536), "1.5 KiB");
	assert_string_equal(format_bytes(out, 8.0 * 1024 * 1024 * 1024), "8.0 GiB");
}

static void nothing_paints_the_terminal(void **state)
{
	char text[] = "a\033[31mb\nc\x9b"
		      "d\xc3\xa9";

	assert_string_equal(format_printable(text), "a?[31mb?c?d\xc3\xa9");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_read_as_people_say_them), cmocka_unit_test(counts_have_a_plural),
		cmocka_unit_test(dates_are_shown_in_local_time),     cmocka_unit_test(sizes_have_units),
		cmocka_unit_test(nothing_paints_the_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
