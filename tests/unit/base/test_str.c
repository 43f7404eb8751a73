#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"
#include "failing_alloc.h"

static void lists_grow_and_are_compared(void **state)
{
	CLEAN(str_list_deinit) struct str_list a = {0};
	CLEAN(str_list_deinit) struct str_list b = {0};

	assert_true(str_list_equal(&a, &b));
	for (int i = 0; i < 20; i++) {
		char text[16];

		snprintf(text, sizeof(text), "item %d", i);
		assert_int_equal(str_list_add(&a, text), ERR_OK);
	}
	assert_int_equal(a.n, 20);
	assert_string_equal(a.items[19], "item 19");
	assert_false(str_list_equal(&a, &b));
	assert_int_equal(str_list_add(&b, "goes away"), ERR_OK);
	assert_int_equal(str_list_copy(&b, &a), ERR_OK);
	assert_true(str_list_equal(&a, &b));
	assert_int_equal(str_list_copy(&b, &b), ERR_OK);
	assert_true(str_list_equal(&a, &b));
	assert_true(str_list_has(&a, "item 7"));
	assert_false(str_list_has(&a, "item 70"));
	assert_int_equal(str_list_find(&a, "item 7"), 7);
	assert_true(str_list_find(&a, "") == SIZE_MAX);

	str_list_move(&b, &a);
	assert_int_equal(a.n, 0);
	assert_null(a.items);
	assert_int_equal(b.n, 20);
	str_list_move(&b, &b);
	assert_int_equal(b.n, 20);

	assert_int_equal(str_list_add_n(&a, "abcdef", 3), ERR_OK);
	assert_string_equal(a.items[0], "abc");
	assert_int_equal(str_list_add(&a, "x"), ERR_OK);
	assert_int_equal(str_list_copy(&b, &a), ERR_OK);
	mem_free(b.items[1]);
	b.items[1] = mem_strdup("y");
	assert_false(str_list_equal(&a, &b));
}

static void texts_are_split_and_joined(void **state)
{
	static const struct {
		const char *what;
		const char *text;
		size_t n;
		const char *parts[4];
	} rows[] = {
		{"an empty text has no part", "", 0, {NULL}},
		{"one part", "a", 1, {"a"}},
		{"several parts", "a,bc,d", 3, {"a", "bc", "d"}},
		{"empty parts stay", ",a,,", 4, {"", "a", "", ""}},
		{"a mere separator stands between two empty parts", ",", 2, {"", ""}},
		{"blanks are kept", "a, b", 2, {"a", " b"}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(str_list_deinit) struct str_list parts = {0};
		CLEAN(mem_freep) char *joined = NULL;

		assert_int_equal(str_list_add(&parts, "replaced"), ERR_OK);
		assert_int_equal(str_list_split(&parts, rows[i].text, ','), ERR_OK);
		check_row(&rows[i], parts.n == rows[i].n);
		for (size_t k = 0; k < parts.n; k++)
			check_row(&rows[i], strcmp(parts.items[k], rows[i].parts[k]) == 0);
		joined = str_list_join(&parts, ",");
		check_row(&rows[i], joined && strcmp(joined, rows[i].text) == 0);
	}
}

static enum err use_lists(void *user)
{
	CLEAN(str_list_deinit) struct str_list a = {0};
	CLEAN(str_list_deinit) struct str_list b = {0};
	CLEAN(mem_freep) char *joined = NULL;
	enum err e = str_list_split(&a, "a,b,c,d,e,f", ',');

	if (!e)
		e = str_list_copy(&b, &a);
	if (!e)
		e = str_list_add(&b, "g");
	if (e)
		return e;
	joined = str_list_join(&b, ", ");
	return joined ? ERR_OK : ERR_NOMEM;
}

static void every_allocation_may_fail(void **state)
{
	assert_true(failing_alloc_each(use_lists, NULL) > 12);
}

static void a_failed_split_keeps_the_list(void **state)
{
	CLEAN(str_list_deinit) struct str_list l = {0};

	assert_int_equal(str_list_add(&l, "old"), ERR_OK);
	failing_alloc_arm(2);
	assert_int_equal(str_list_split(&l, "a,b", ','), ERR_NOMEM);
	assert_true(failing_alloc_disarm());
	assert_int_equal(l.n, 1);
	assert_string_equal(l.items[0], "old");
}

static void texts_are_compared(void **state)
{
	assert_true(str_is_blank(NULL));
	assert_true(str_is_blank(""));
	assert_true(str_is_blank(" \t\r\n\f\v"));
	assert_false(str_is_blank(" x "));
	assert_false(str_is_blank("\xc2\xa0"));
	assert_true(str_equal("a", "a"));
	assert_false(str_equal("a", "A"));
	assert_true(str_equal(NULL, NULL));
	assert_false(str_equal(NULL, ""));
	assert_false(str_equal("", NULL));
	assert_true(str_equal_nocase("TrUe", "tRuE"));
	assert_false(str_equal_nocase("true", "truer"));
	assert_false(str_equal_nocase("truer", "true"));
	assert_false(str_equal_nocase("@", "`"));
	assert_false(str_equal_nocase("[", "{"));
	assert_true(str_equal_nocase(NULL, NULL));
	assert_false(str_equal_nocase(NULL, "a"));
	assert_true(str_starts("host.lb", "host."));
	assert_true(str_starts("x", ""));
	assert_false(str_starts("hos", "host"));
	assert_true(str_ends("a.pem", ".pem"));
	assert_true(str_ends("a.pem", ""));
	assert_false(str_ends("pem", ".pem"));
	assert_false(str_ends("a.pem.old", ".pem"));
}

static void copies_are_cut_to_fit(void **state)
{
	char out[4] = "...";

	assert_true(str_copy(out, sizeof(out), "abc"));
	assert_string_equal(out, "abc");
	assert_false(str_copy(out, sizeof(out), "defg"));
	assert_string_equal(out, "def");
	assert_true(str_copy(out, 1, ""));
	assert_string_equal(out, "");
	assert_false(str_copy(out, 1, "x"));
	assert_string_equal(out, "");
	assert_false(str_copy(out, 0, ""));
}

static void blanks_are_trimmed(void **state)
{
	static const struct {
		const char *what;
		const char *text, *expected;
	} rows[] = {
		{"both ends", " \t a b\t ", "a b"},          {"nothing to trim", "a", "a"}, {"only blanks", " \t ", ""},
		{"line ends are not blanks", "a\n ", "a\n"}, {"nothing", "", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[32];

		assert_true(str_copy(text, sizeof(text), rows[i].text));
		check_row(&rows[i], strcmp(str_trim(text), rows[i].expected) == 0);
	}
}

static void numbers_are_strict(void **state)
{
	static const struct {
		const char *what;
		const char *text;
		bool is_signed, is_unsigned;
		int64_t i64;
		uint64_t u64;
	} rows[] = {
		{"zero", "0", true, true, 0, 0},
		{"leading zeros", "007", true, true, 7, 7},
		{"negative", "-12", true, false, -12, 0},
		{"the largest signed", "9223372036854775807", true, true, INT64_MAX, INT64_MAX},
		{"one more is only unsigned", "9223372036854775808", false, true, 0, UINT64_C(9223372036854775808)},
		{"the smallest signed", "-9223372036854775808", true, false, INT64_MIN, 0},
		{"one less", "-9223372036854775809", false, false, 0, 0},
		{"the largest unsigned", "18446744073709551615", false, true, 0, UINT64_MAX},
		{"one more", "18446744073709551616", false, false, 0, 0},
		{"far more", "99999999999999999999999", false, false, 0, 0},
		{"nothing", "", false, false, 0, 0},
		{"only a sign", "-", false, false, 0, 0},
		{"two signs", "--1", false, false, 0, 0},
		{"a plus sign", "+1", false, false, 0, 0},
		{"a blank before", " 1", false, false, 0, 0},
		{"a blank after", "1 ", false, false, 0, 0},
		{"hexadecimal", "0x10", false, false, 0, 0},
		{"a unit", "10s", false, false, 0, 0},
		{"a fraction", "1.5", false, false, 0, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t i64 = 77;
		uint64_t u64 = 77;

		check_row(&rows[i], str_to_i64(rows[i].text, &i64) == rows[i].is_signed);
		check_row(&rows[i], i64 == (rows[i].is_signed ? rows[i].i64 : 77));
		check_row(&rows[i], str_to_u64(rows[i].text, &u64) == rows[i].is_unsigned);
		check_row(&rows[i], u64 == (rows[i].is_unsigned ? rows[i].u64 : 77));
	}
}

static void durations_have_units(void **state)
{
	static const struct {
		const char *what;
		const char *text;
		bool is_valid;
		int64_t seconds;
	} rows[] = {
		{"without a unit it is seconds", "90", true, 90},
		{"seconds", "90s", true, 90},
		{"minutes", "15m", true, 900},
		{"hours", "2h", true, 7200},
		{"days", "7d", true, 604800},
		{"zero", "0", true, 0},
		{"as many days as fit", "106751991167300d", true, INT64_C(106751991167300) * 86400},
		{"one day more", "106751991167301d", false, 0},
		{"nothing", "", false, 0},
		{"only a unit", "s", false, 0},
		{"two units", "1hm", false, 0},
		{"a unit in upper case", "1H", false, 0},
		{"an unknown unit", "1w", false, 0},
		{"negative", "-1s", false, 0},
		{"negative zero", "-0", false, 0},
		{"a blank", "1 h", false, 0},
		{"more digits than any number has", "00000000000000000000000000000001s", false, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t seconds = 77;

		check_row(&rows[i], str_to_seconds(rows[i].text, &seconds) == rows[i].is_valid);
		check_row(&rows[i], seconds == (rows[i].is_valid ? rows[i].seconds : 77));
	}
}

static void utf8_is_strict(void **state)
{
	static const struct {
		const char *what;
		const char *text;
		size_t n;
		bool is_valid;
	} rows[] = {
		{"nothing", "", 0, true},
		{"ASCII", "abc\x7f", 4, true},
		{"two bytes", "\xc2\x80\xdf\xbf", 4, true},
		{"three bytes", "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf", 12, true},
		{"four bytes", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8, true},
		{"NUL", "a\0b", 3, false},
		{"NUL in two bytes", "\xc0\x80", 2, false},
		{"a slash in two bytes", "\xc0\xaf", 2, false},
		{"the last one that fits in one byte, in two", "\xc1\xbf", 2, false},
		{"too long a form in three", "\xe0\x9f\xbf", 3, false},
		{"too long a form in four", "\xf0\x8f\xbf\xbf", 4, false},
		{"half of a surrogate pair", "\xed\xa0\x80", 3, false},
		{"the other half", "\xed\xbf\xbf", 3, false},
		{"beyond Unicode", "\xf4\x90\x80\x80", 4, false},
		{"far beyond", "\xf7\xbf\xbf\xbf", 4, false},
		{"five bytes", "\xf8\x88\x80\x80\x80", 5, false},
		{"a byte that never starts anything", "\xff", 1, false},
		{"a continuation without a start", "\x80", 1, false},
		{"cut after one of two", "\xc3", 1, false},
		{"cut after two of three", "\xe2\x82", 2, false},
		{"cut after three of four", "\xf0\x9f\x98", 3, false},
		{"ASCII where a continuation should be", "\xc3(", 2, false},
		{"good before bad", "ok\xff", 3, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		/* Of exactly that size: reading beyond is found. */
		char *exact = malloc(rows[i].n ? rows[i].n : 1);

		memcpy(exact, rows[i].text, rows[i].n);
		check_row(&rows[i], str_is_utf8(exact, rows[i].n) == rows[i].is_valid);
		free(exact);
	}
}

static void characters_are_read_one_by_one(void **state)
{
	const char *text = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";
	static const uint32_t expected[] = {'a', 0xe9, 0x20ac, 0x1f600};
	size_t n = strlen(text);
	uint32_t c = 77;

	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		size_t len = str_utf8_get(text, n, &c);

		assert_int_equal(len, i + 1);
		assert_int_equal(c, expected[i]);
		text += len;
		n -= len;
	}
	assert_int_equal(str_utf8_get(text, n, &c), 0);
	assert_int_equal(str_utf8_get("\xff", 1, &c), 0);
	assert_int_equal(c, 0x1f600);
}

static void what_a_peer_sent_paints_no_terminal(void **state)
{
	static const struct {
		const char *what;
		const char *text, *expected;
	} rows[] = {
		{"letters of all kinds stay", "a\xc3\xa9\xf0\x9f\x98\x80 ~", "a\xc3\xa9\xf0\x9f\x98\x80 ~"},
		{"escape sequences", "\x1b[31mred\x7f", "?[31mred?"},
		{"line ends and tabs", "a\r\n\tb", "a???b"},
		{"the upper control characters",
		 "\xc2\x9b"
		 "31m",
		 "??31m"},
		{"stray bytes",
		 "a\x9b\xff"
		 "b",
		 "a??b"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[64];

		assert_true(str_copy(text, sizeof(text), rows[i].text));
		str_make_printable(text);
		check_row(&rows[i], strcmp(text, rows[i].expected) == 0);
	}
}

static void uuids_have_their_usual_form(void **state)
{
	static const uint8_t zeros[16], ones[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
						    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	char text[UUID_TEXT];

	uuid_from_bytes(text, zeros);
	assert_string_equal(text, "00000000-0000-4000-8000-000000000000");
	assert_true(uuid_is_valid(text));
	uuid_from_bytes(text, ones);
	assert_string_equal(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
	assert_true(uuid_is_valid(text));
	assert_true(uuid_is_valid("0A1b2C3d-4e5F-6789-abcd-EF0123456789"));
	assert_false(uuid_is_valid(""));
	assert_false(uuid_is_valid("0a1b2c3d-4e5f-6789-abcd-ef012345678"));
	assert_false(uuid_is_valid("0a1b2c3d-4e5f-6789-abcd-ef01234567890"));
	assert_false(uuid_is_valid("0a1b2c3d-4e5f-6789-abcd-ef012345678g"));
	assert_false(uuid_is_valid("0a1b2c3d04e5f-6789-abcd-ef0123456789"));
	assert_false(uuid_is_valid("0a1b2c3d-4e5f-6789-abcd-ef0123-56789"));
	assert_false(uuid_is_valid("{a1b2c3d-4e5f-6789-abcd-ef012345678}"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_grow_and_are_compared),
		cmocka_unit_test(texts_are_split_and_joined),
		cmocka_unit_test(every_allocation_may_fail),
		cmocka_unit_test(a_failed_split_keeps_the_list),
		cmocka_unit_test(texts_are_compared),
		cmocka_unit_test(copies_are_cut_to_fit),
		cmocka_unit_test(blanks_are_trimmed),
		cmocka_unit_test(numbers_are_strict),
		cmocka_unit_test(durations_have_units),
		cmocka_unit_test(utf8_is_strict),
		cmocka_unit_test(characters_are_read_one_by_one),
		cmocka_unit_test(what_a_peer_sent_paints_no_terminal),
		cmocka_unit_test(uuids_have_their_usual_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
