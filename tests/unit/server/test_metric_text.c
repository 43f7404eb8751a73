/* Metrics as text: whatever the values of labels are, a scraper reads them. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "check.h"
#include "metric_parse.h"
#include "server/metric_text.h"

static char *text_of(struct metric_writer *w)
{
	assert_int_equal(w->error, ERR_OK);
	return buf_take_str(&w->out);
}

static void values_of_labels(void **state)
{
	static const struct {
		const char *what, *value, *written;
	} rows[] = {
		{"a plain one", "m1", "m1"},
		{"none", NULL, ""},
		{"an empty one", "", ""},
		{"what would end it", "a\"} 1\nevil 2", "a\\\"} 1\\nevil 2"},
		{"a backslash at the end", "a\\", "a\\\\"},
		{"what looks like an escape", "\\n", "\\\\n"},
		{"braces, commas, blanks and the sign of a comment", "# {a=\"b\", c}", "# {a=\\\"b\\\", c}"},
		{"UTF-8", "sch\xc3\xb6n \xe2\x82\xac", "sch\xc3\xb6n \xe2\x82\xac"},
		{"bytes that are not", "a\xff\xc3z", "a\xef\xbf\xbd\xef\xbf\xbdz"},
		{"an overlong slash", "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
		{"half of a surrogate", "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
		{"what would paint a terminal", "\x1b[2J\r\x07", "\xef\xbf\xbd[2J\xef\xbf\xbd\xef\xbf\xbd"},
		{"a control character of two bytes",
		 "a\xc2\x9b"
		 "1m",
		 "a\xef\xbf\xbd"
		 "1m"},
		{"a tabulator", "a\tb",
		 "a\xef\xbf\xbd"
		 "b"},
	};
	static const struct metric m = {"x_hosts", METRIC_GAUGE, "name", "Hosts"};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct metric_writer w = {.error = ERR_OK};
		struct parsed p;
		char expected[512], *text;

		metric_begin(&w, &m);
		metric_sample(&w, (const char *const[]){rows[i].value}, 7, 0);
		text = text_of(&w);
		snprintf(expected, sizeof(expected),
			 "# HELP x_hosts Hosts\n# TYPE x_hosts gauge\nx_hosts{name=\"%s\"} 7\n", rows[i].written);
		if (strcmp(text, expected) != 0)
			fail_msg("%s: %s", rows[i].what, text);
		metric_parse(&p, text, strlen(text));
		check_row(&rows[i], p.n == 1);
		mem_free(text);
	}
}

/* Cut at the limit, and never in the middle of a character. */
static void long_values(void **state)
{
	static const struct {
		const char *what, *unit;
		size_t n, written;
	} rows[] = {
		{"as long as it may be", "a", METRIC_VALUE_MAX, METRIC_VALUE_MAX},
		{"one more", "a", METRIC_VALUE_MAX + 1, METRIC_VALUE_MAX},
		{"a thousand", "a", 1000, METRIC_VALUE_MAX},
		{"characters of three bytes", "\xe2\x82\xac", 100, METRIC_VALUE_MAX / 3},
		{"characters that grow", "\"", 1000, METRIC_VALUE_MAX},
	};
	static const struct metric m = {"x", METRIC_GAUGE, "a,b", "X"};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct metric_writer w = {.error = ERR_OK};
		char value[4096] = "", series[512] = "x{a=\"", *text;
		struct parsed p;

		for (size_t k = 0; k < rows[i].n; k++)
			strcat(value, rows[i].unit);
		for (size_t k = 0; k < rows[i].written; k++)
			strcat(series, rows[i].unit);
		strcat(series, "\",b=\"2\"}");
		metric_begin(&w, &m);
		metric_sample(&w, (const char *const[]){value, "2"}, 1, 0);
		text = text_of(&w);
		metric_parse(&p, text, strlen(text));
		check_row(&rows[i], metric_value(&p, series) != NULL);
		mem_free(text);
	}
}

static void numbers(void **state)
{
	static const struct {
		int64_t value;
		unsigned decimals;
		const char *written;
	} rows[] = {
		{0, 0, "0"},
		{1, 0, "1"},
		{-1, 0, "-1"},
		{INT64_MAX, 0, "9223372036854775807"},
		{INT64_MIN, 0, "-9223372036854775808"},
		{0, 3, "0.000"},
		{7, 3, "0.007"},
		{1234, 3, "1.234"},
		{-1234, 3, "-1.234"},
		{-7, 3, "-0.007"},
		{1900000000123, 3, "1900000000.123"},
		{1, 6, "0.000001"},
		{INT64_MIN, 6, "-9223372036854.775808"},
	};
	static const struct metric m = {"x_seconds", METRIC_GAUGE, "", "X"};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct metric_writer w = {.error = ERR_OK};
		struct parsed p;
		char *text;

		metric_begin(&w, &m);
		metric_sample(&w, NULL, rows[i].value, rows[i].decimals);
		text = text_of(&w);
		metric_parse(&p, text, strlen(text));
		assert_string_equal(metric_value(&p, "x_seconds"), rows[i].written);
		mem_free(text);
	}
}

static void several_metrics(void **state)
{
	static const struct metric all[] = {
		{"x_total", METRIC_COUNTER, "reason,at", "Two lines\nand a \\ in its \"help\""},
		{"y", METRIC_GAUGE, "", "It has no value"},
		{"z:rate_1", METRIC_GAUGE, "", "Z"},
	};
	struct metric_writer w = {.error = ERR_OK};
	struct parsed p;
	char *text;

	metric_begin(&w, &all[0]);
	metric_sample(&w, (const char *const[]){"no room", "link"}, 3, 0);
	metric_sample(&w, (const char *const[]){"late", "link"}, 0, 0);
	metric_begin(&w, &all[1]);
	metric_begin(&w, &all[2]);
	metric_sample(&w, NULL, 5, 1);
	text = text_of(&w);
	assert_string_equal(text, "# HELP x_total Two lines\\nand a \\\\ in its \"help\"\n"
				  "# TYPE x_total counter\n"
				  "x_total{reason=\"no room\",at=\"link\"} 3\n"
				  "x_total{reason=\"late\",at=\"link\"} 0\n"
				  "# HELP y It has no value\n"
				  "# TYPE y gauge\n"
				  "# HELP z:rate_1 Z\n"
				  "# TYPE z:rate_1 gauge\n"
				  "z:rate_1 0.5\n");
	metric_parse(&p, text, strlen(text));
	assert_int_equal(p.n_names, 3);
	assert_int_equal(p.n, 3);
	mem_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_of_labels),
		cmocka_unit_test(long_values),
		cmocka_unit_test(numbers),
		cmocka_unit_test(several_metrics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
