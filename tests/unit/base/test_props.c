#include "base/props.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "check.h"
#include "failing_alloc.h"

CLEAN_DEFINE(struct props, props_free)

static struct props *parse(const char *text, size_t n)
{
	struct props *p = NULL;
	struct why why = WHY_NONE;

	if (props_parse(&p, text, n, &why))
		fail_msg("%s", why.text);
	return p;
}

static struct props *parse_text(const char *text)
{
	return parse(text, strlen(text));
}

static void must_write(const struct props *p, const char *expected)
{
	CLEAN(buf_deinit) struct buf out = {0};

	assert_int_equal(props_write(p, &out), ERR_OK);
	assert_string_equal(buf_str(&out), expected);
}

struct pair {
	const char *key, *value;
};

/* Every row was compared with what java.util.Properties (JDK 17) reads from the same bytes. */
static void reading_is_javas(void **state)
{
	static const struct {
		const char *what;
		const char *text;
		struct pair pairs[4];
	} rows[] = {
		{"nothing", "", {{NULL}}},
		{"an equals sign", "a=b", {{"a", "b"}}},
		{"a colon", "guid:abc\n", {{"guid", "abc"}}},
		{"a blank", "zone default\n", {{"zone", "default"}}},
		{"a tab and a form feed", "a\tb\nc\fd\n", {{"a", "b"}, {"c", "d"}}},
		{"blanks around the sign", "host \t=\f x\n", {{"host", "x"}}},
		{"a second sign belongs to the value",
		 "a==b\nc=:d\ne : = f\n",
		 {{"a", "=b"}, {"c", ":d"}, {"e", "= f"}}},
		{"only a key", "key\n", {{"key", ""}}},
		{"a key and blanks", "key   \n", {{"key", ""}}},
		{"an empty value", "a=\nb:\n", {{"a", ""}, {"b", ""}}},
		{"an empty key", "=v\n", {{"", "v"}}},
		{"blanks before the key", " \t\f a=b\n", {{"a", "b"}}},
		{"blanks after the value belong to it", "a=b \t \n", {{"a", "b \t "}}},
		{"comments", "#a=b\n!c=d\n  # e=f\n", {{NULL}}},
		{"a number sign inside is no comment", "a=b#c\nd#e=f!\n", {{"a", "b#c"}, {"d#e", "f!"}}},
		{"blank lines", "\n  \n\t\f\n", {{NULL}}},
		{"LF, CR and CRLF", "a=1\nb=2\rc=3\r\nd=4", {{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}}},
		{"a line is continued", "a=b\\\nc\n", {{"a", "bc"}}},
		{"leading blanks of the next line are dropped", "a=b\\\n \t\f c\n", {{"a", "bc"}}},
		{"continued over CRLF and CR", "a=b\\\r\n  c\\\rd\n", {{"a", "bcd"}}},
		{"a key may be continued", "a\\\n b = c\n", {{"ab", "c"}}},
		{"continued by a blank line", "a=b\\\n   \nc=d\n", {{"a", "b"}, {"c", "d"}}},
		{"continued by an empty line", "a=b\\\n\nc=d\n", {{"a", "b"}, {"c", "d"}}},
		{"what continues is no comment", "a=b\\\n#c\n", {{"a", "b#c"}}},
		{"an even number of backslashes ends the line", "a=b\\\\\nc=d\n", {{"a", "b\\"}, {"c", "d"}}},
		{"an odd number continues", "a=b\\\\\\\nc=d\n", {{"a", "b\\c=d"}}},
		{"a comment is not continued", "#a\\\nb=c\n", {{"b", "c"}}},
		{"only a backslash joins the next line", "\\\na=b\n", {{"a", "b"}}},
		{"even when that is a comment", "\\\n# a=b\nc=d\n", {{"c", "d"}}},
		{"only a backslash and a blank line are nothing", "\\\n\na=b\n", {{"a", "b"}}},
		{"a backslash at the end of the file is dropped", "a=b\\", {{"a", "b"}}},
		{"and one before the last line end", "a=b\\\n", {{"a", "b"}}},
		{"a file that is only a backslash has an empty key", "\\", {{"", ""}}},
		{"and with a line end too", "\\\n", {{"", ""}}},
		{"and with CR", "\\\r", {{"", ""}}},
		{"but not with CRLF", "\\\r\n", {{NULL}}},
		{"and not with a blank line behind", "\\\n  ", {{NULL}}},
		{"escapes", "a=\\t\\n\\r\\f\\\\\n", {{"a", "\t\n\r\f\\"}}},
		{"a backslash before anything else is dropped", "a=\\q\\:\\=\\ \\#\\b\n", {{"a", "q:= #b"}}},
		{"escaped signs in a key", "a\\=b\\:c\\ d=e\n", {{"a=b:c d", "e"}}},
		{"an escaped backslash does not escape the sign", "a\\\\=b\n", {{"a\\", "b"}}},
		{"a sign escaped at the start of the value", "a \\=b\n", {{"a", "=b"}}},
		{"a blank escaped at the start of the value", "a=\\  b\n", {{"a", "  b"}}},
		{"an escaped number sign starts a key", "\\#a=b\n", {{"#a", "b"}}},
		{"Unicode escapes in both cases",
		 "a=\\u00e4\\u20AC\\u0041\n",
		 {{"a", "\xc3\xa4\xe2\x82\xac"
			"A"}}},
		{"an escaped sign does not end the key", "a\\u003db=c\n", {{"a=b", "c"}}},
		{"a Unicode escape over a continuation", "a=\\u00\\\n  e4\n", {{"a", "\xc3\xa4"}}},
		{"a surrogate pair", "a=\\uD83D\\uDE00\n", {{"a", "\xf0\x9f\x98\x80"}}},
		{"upper-case U is no Unicode escape", "a=\\U0041\n", {{"a", "U0041"}}},
		{"bytes are ISO-8859-1", "a=\xe4\x80\xff\n", {{"a", "\xc3\xa4\xc2\x80\xc3\xbf"}}},
		{"UTF-8 is read byte by byte, as Java does", "a=\xc3\xa4\n", {{"a", "\xc3\x83\xc2\xa4"}}},
		{"other control characters are like letters", "a=\v\x01\n", {{"a", "\v\x01"}}},
		{"the last of duplicates wins", "a=1\nb=2\na=3\n", {{"b", "2"}, {"a", "3"}}},
		{"differently written keys are the same", "a b=1\n\\u0061=2\n", {{"a", "2"}}},
		{"a list as Java writes it",
		 "host=2001\\:db8\\:\\:1,2001\\:db8\\:\\:2@roundrobin\n",
		 {{"host", "2001:db8::1,2001:db8::2@roundrobin"}}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(props_freep) struct props *p = parse_text(rows[i].text);
		CLEAN(buf_deinit) struct buf out = {0};
		size_t n = 0;

		for (; n < ARRAY_SIZE(rows[i].pairs) && rows[i].pairs[n].key; n++) {
			const struct pair *expected = &rows[i].pairs[n];

			check_row(&rows[i], str_equal(props_key_at(p, n), expected->key));
			check_row(&rows[i], str_equal(props_get(p, expected->key), expected->value));
		}
		check_row(&rows[i], props_count(p) == n);
		check_row(&rows[i], !props_key_at(p, n));
		/* And untouched it is the same bytes again. */
		assert_int_equal(props_write(p, &out), ERR_OK);
		check_row(&rows[i], strcmp(buf_str(&out), rows[i].text) == 0);
	}
}

#define BYTES(s) .text = (s), .n = sizeof(s) - 1

static void what_can_not_be_held_is_refused_with_its_line(void **state)
{
	static const struct {
		const char *what;
		const char *text;
		size_t n;
		const char *why;
	} rows[] = {
		{"no hex digit", BYTES("a=1\nb=\\u12g4\n"), "line 2: \\u is not followed by four hex digits"},
		{"too few digits", BYTES("a=\\u123"), "line 1: \\u is not followed by four hex digits"},
		{"the line ends", BYTES("a=\\u\nb=1"), "line 1: \\u is not followed by four hex digits"},
		{"in a key", BYTES("\r\n#\r\r\\uzzzz=1"), "line 4: \\u is not followed by four hex digits"},
		{"the key ends within", BYTES("\\u12=34"), "line 1: \\u is not followed by four hex digits"},
		{"the line where it starts counts", BYTES("a=1\nb=2\\\n 3\\\n \\u0"),
		 "line 2: \\u is not followed by four hex digits"},
		{"half of a pair", BYTES("a=\\ud83d"), "line 1: \\uD83D is half of a surrogate pair"},
		{"half of a pair before a letter", BYTES("a=\\uD83Dx"), "line 1: \\uD83D is half of a surrogate pair"},
		{"twice the first half", BYTES("a=\\uD83D\\uD83D"), "line 1: \\uD83D is half of a surrogate pair"},
		{"the second half first", BYTES("a=\\uDE00\\uD83D"), "line 1: \\uDE00 is half of a surrogate pair"},
		{"half a pair and a broken escape", BYTES("a=\\uD83D\\uDE0"),
		 "line 1: \\uD83D is half of a surrogate pair"},
		{"an escaped NUL", BYTES("a=\\u0000"), "line 1: the character NUL is not possible"},
		{"an escaped NUL in a key", BYTES("a\\u0000=1"), "line 1: the character NUL is not possible"},
		{"a NUL byte", BYTES("a=\0"), "line 1: the character NUL is not possible"},
		{"a NUL behind a backslash", BYTES("a=\\\0"), "line 1: the character NUL is not possible"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct why why = WHY_NONE;
		struct props *p = NULL;

		check_row(&rows[i], props_parse(&p, rows[i].text, rows[i].n, &why) == ERR_MALFORMED);
		check_row(&rows[i], !p);
		check_row(&rows[i], strcmp(why.text, rows[i].why) == 0);
		check_row(&rows[i], props_parse(&p, rows[i].text, rows[i].n, NULL) == ERR_MALFORMED);
	}
}

static void a_nul_in_a_comment_does_no_harm(void **state)
{
	static const char text[] = "# a\0b\na=1\n";
	CLEAN(props_freep) struct props *p = parse(text, sizeof(text) - 1);
	CLEAN(buf_deinit) struct buf out = {0};

	assert_int_equal(props_write(p, &out), ERR_OK);
	assert_int_equal(out.len, sizeof(text) - 1);
	assert_memory_equal(out.data, text, out.len);
	assert_string_equal(props_get(p, "a"), "1");
}

static void lines_are_counted(void **state)
{
	CLEAN(props_freep) struct props *p = parse_text("# 1\r\n\r\na=1\rb=2\\\n\\\r\n  3\n\nc=4\na=5");

	assert_int_equal(props_line(p, "b"), 4);
	assert_int_equal(props_line(p, "c"), 8);
	assert_int_equal(props_line(p, "a"), 9);
	assert_int_equal(props_line(p, "d"), 0);
	props_remove(p, "b", NULL);
	assert_int_equal(props_line(p, "c"), 5);
}

/* Sets key to value in `before` and expects `after`. */
static void changing_one_value_changes_one_line(void **state)
{
	static const struct {
		const char *what;
		const char *before, *key, *value, *after;
		bool changed;
	} rows[] = {
		{"the line is replaced in its place", "# x\n a : 1 \n\nb=2\n", "a", "3", "# x\na=3\n\nb=2\n", true},
		{"the same value changes nothing", " a : 1\n", "a", "1", " a : 1\n", false},
		{"the same value, spelled differently", "a=\\u0031\\\n  2\n", "a", "12", "a=\\u0031\\\n  2\n", false},
		{"the same value keeps duplicates too", "a=0\na=1\n", "a", "1", "a=0\na=1\n", false},
		{"trailing blanks are part of the value", "a=1 \n", "a", "1", "a=1\n", true},
		{"of duplicates only the winning line stays", "a=0\nb=1\na=2\nc=3\n", "a", "9", "b=1\na=9\nc=3\n",
		 true},
		{"continuations go with their line", "a=1\\\n  2\\\n  3\nb=2\n", "a", "x", "a=x\nb=2\n", true},
		{"a new key comes last", "a=1\n# end\n", "b", "2", "a=1\n# end\nb=2\n", true},
		{"a new key in an empty document", "", "b", "2", "b=2\n", true},
		{"a new key behind a line without an end", "a=1", "b", "2", "a=1\nb=2\n", true},
		{"a new key behind a comment without an end", "# x", "b", "2", "# x\nb=2\n", true},
		{"a new key behind blanks", "a=1\n  ", "b", "2", "a=1\n  \nb=2\n", true},
		{"a new key behind a dangling continuation", "a=1\\", "b", "2", "a=1\nb=2\n", true},
		{"and behind one with a line end", "a=1\\\n", "b", "2", "a=1\nb=2\n", true},
		{"and behind CR, where LF would make it CRLF", "x=1\na=1\\\r", "b", "2", "x=1\na=1\nb=2\n", true},
		{"and behind a lone backslash", "\\\r\n", "b", "2", "\r\nb=2\r\n", true},
		{"a dangling line that is set itself", "x=1\na=1\\\n", "a", "2", "x=1\na=2\n", true},
		{"CRLF stays in the changed line", "a=1\r\nb=2\r\n", "a", "x", "a=x\r\nb=2\r\n", true},
		{"a new line ends as the first one does", "a=1\r\nb=2\n", "c", "3", "a=1\r\nb=2\nc=3\r\n", true},
		{"CR is a line end too", "a=1\r", "c", "3", "a=1\rc=3\r", true},
		{"the last line stays without an end", "a=1", "a", "2", "a=2", true},
		{"a value may become empty", "a=1\n", "a", "", "a=\n", true},
		{"other spellings of the key", "\\u0061 1\n", "a", "2", "a=2\n", true},
		{"a key that only starts the same is another", "host.lb=1\n", "host", "2", "host.lb=1\nhost=2\n", true},
		{"a comment with the key is a comment", "#a=1\n", "a", "2", "#a=1\na=2\n", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(props_freep) struct props *p = parse_text(rows[i].before);
		CLEAN(props_freep) struct props *again = NULL;
		CLEAN(buf_deinit) struct buf out = {0};
		bool changed = !rows[i].changed;

		check_row(&rows[i], props_set(p, rows[i].key, rows[i].value, &changed) == ERR_OK);
		check_row(&rows[i], changed == rows[i].changed);
		check_row(&rows[i], strcmp(props_get(p, rows[i].key), rows[i].value) == 0);
		check_row(&rows[i], props_write(p, &out) == ERR_OK);
		check_row(&rows[i], strcmp(buf_str(&out), rows[i].after) == 0);
		again = parse_text(buf_str(&out));
		check_row(&rows[i], props_count(again) == props_count(p));
		check_row(&rows[i], strcmp(props_get(again, rows[i].key), rows[i].value) == 0);
	}
}

static void keys_are_removed_with_all_their_lines(void **state)
{
	CLEAN(props_freep) struct props *p = parse_text("a=1\n# kept\nb=2\\\n  2\na=3\nc=4");
	bool changed = false;

	props_remove(p, "a", &changed);
	assert_true(changed);
	must_write(p, "# kept\nb=2\\\n  2\nc=4");
	assert_null(props_get(p, "a"));
	assert_int_equal(props_count(p), 2);
	props_remove(p, "a", &changed);
	assert_false(changed);
	/* The key may be the document's own. */
	props_remove(p, props_key_at(p, 0), &changed);
	assert_true(changed);
	must_write(p, "# kept\nc=4");
	props_remove(p, "c", NULL);
	must_write(p, "# kept\n");
	assert_int_equal(props_count(p), 0);
	assert_int_equal(props_set(p, "a", "again", NULL), ERR_OK);
	must_write(p, "# kept\na=again\n");
}

static void a_document_may_start_empty(void **state)
{
	CLEAN(props_freep) struct props *p = props_new();
	bool changed = false;

	assert_null(props_get(p, "a"));
	assert_null(props_key_at(p, 0));
	must_write(p, "");
	assert_int_equal(props_set(p, "a", "1", &changed), ERR_OK);
	assert_true(changed);
	assert_int_equal(props_set(p, "b", "2", NULL), ERR_OK);
	assert_int_equal(props_set(p, "a", "3", NULL), ERR_OK);
	must_write(p, "a=3\nb=2\n");
	assert_null(props_free(NULL));
}

static void writing_is_javas(void **state)
{
	static const struct {
		const char *what;
		const char *key, *value, *expected;
	} rows[] = {
		{"plain", "port", "8250", "port=8250\n"},
		{"signs", "a:b=c#d!e", "a:b=c#d!e", "a\\:b\\=c\\#d\\!e=a\\:b\\=c\\#d\\!e\n"},
		{"every blank of a key, the leading one of a value", " a b ", "  a b ", "\\ a\\ b\\ =\\  a b \n"},
		{"backslashes and control characters", "\\", "\t\n\r\f\\\x01\x7f",
		 "\\\\=\\t\\n\\r\\f\\\\\\u0001\\u007F\n"},
		{"beyond ASCII", "\xc3\xa9", "\xe2\x82\xac\xc2\x80", "\\u00E9=\\u20AC\\u0080\n"},
		{"surrogate pairs", "a", "\xf0\x90\x80\x80\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf",
		 "a=\\uD800\\uDC00\\uD83D\\uDE00\\uDBFF\\uDFFF\n"},
		{"commas and at signs are left alone", "host", "a,b@shuffle", "host=a,b@shuffle\n"},
		{"nothing", "", "", "=\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf out = {0};
		CLEAN(props_freep) struct props *p = NULL;

		check_row(&rows[i], props_put_pair(&out, rows[i].key, rows[i].value) == ERR_OK);
		check_row(&rows[i], strcmp(buf_str(&out), rows[i].expected) == 0);
		p = parse_text(buf_str(&out));
		check_row(&rows[i], str_equal(props_get(p, rows[i].key), rows[i].value));
	}
}

static void what_is_not_utf8_is_refused(void **state)
{
	CLEAN(props_freep) struct props *p = parse_text("a=1\nb=2\\");
	CLEAN(buf_deinit) struct buf out = {0};
	bool changed = true;

	assert_int_equal(props_set(p, "a", "\xff", &changed), ERR_INVALID);
	assert_false(changed);
	assert_int_equal(props_set(p, "c\xed\xa0\x80", "1", &changed), ERR_INVALID);
	assert_int_equal(props_set(p, "c", "\xc3", &changed), ERR_INVALID);
	must_write(p, "a=1\nb=2\\");
	assert_int_equal(props_put_pair(&out, "good", "\xff"), ERR_INVALID);
	assert_int_equal(out.len, 0);
}

static enum err parse_and_free(void *user)
{
	CLEAN(props_freep) struct props *p = NULL;
	const char *text = "# x\na=1\nb=a long value, so that memory grows while it is read: 0123456789\nb=3\n";

	return props_parse(&p, text, strlen(text), NULL);
}

static void every_allocation_of_parsing_may_fail(void **state)
{
	assert_true(failing_alloc_each(parse_and_free, NULL) > 10);
}

/* Each of the changes fails at each allocation; the document must then be what it was. */
static void a_change_that_fails_changes_nothing(void **state)
{
	static const struct {
		const char *what;
		const char *before, *key;
	} rows[] = {
		{"a value is replaced", "a=0\na=1\nb=2\n", "a"},
		{"a key is added", "a=1\n", "new"},
		{"a key is added behind a line without an end", "a=1", "new"},
		{"a key is added behind a dangling line", "a=1\\\n", "new"},
		{"a key is added behind a lone backslash", "b=2\r\n\\\r\n", "new"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool has_failed = true;

		for (size_t n = 0; has_failed; n++) {
			CLEAN(props_freep) struct props *p = parse_text(rows[i].before);
			CLEAN(buf_deinit) struct buf out = {0};
			bool changed = true;
			enum err e;

			failing_alloc_arm(n);
			e = props_set(p, rows[i].key, "x", &changed);
			has_failed = failing_alloc_disarm();
			check_row(&rows[i], e == (has_failed ? ERR_NOMEM : ERR_OK));
			check_row(&rows[i], changed == !has_failed);
			check_row(&rows[i], n > 0 || has_failed);
			if (!has_failed)
				continue;
			check_row(&rows[i], props_write(p, &out) == ERR_OK);
			check_row(&rows[i], strcmp(buf_str(&out), rows[i].before) == 0);
			check_row(&rows[i], !props_get(p, "new"));
			/* And it can be done now. */
			check_row(&rows[i], props_set(p, rows[i].key, "x", &changed) == ERR_OK && changed);
		}
	}
}

static enum err make_and_write(void *user)
{
	CLEAN(props_freep) struct props *p = props_new();
	CLEAN(buf_deinit) struct buf out = {0};
	enum err e;

	if (!p)
		return ERR_NOMEM;
	e = props_set(p, "key", "value", NULL);
	if (!e)
		e = props_write(p, &out);
	if (!e)
		e = props_put_pair(&out, "one that makes the memory grow", "once more, and once more, and once more");
	return e;
}

static void every_allocation_of_writing_may_fail(void **state)
{
	assert_true(failing_alloc_each(make_and_write, NULL) > 5);
}

/* A hostile or merely large file is read in reasonable time. */
static void many_keys_are_no_trouble(void **state)
{
	CLEAN(buf_deinit) struct buf text = {0};
	CLEAN(props_freep) struct props *p = NULL;

	for (int i = 0; i < 20000; i++)
		assert_int_equal(buf_printf(&text, "key.%d=%d\n", i % 10000, i), ERR_OK);
	p = parse(buf_str(&text), text.len);
	assert_int_equal(props_count(p), 10000);
	assert_string_equal(props_get(p, "key.77"), "10077");
	assert_string_equal(props_key_at(p, 9999), "key.9999");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reading_is_javas),
		cmocka_unit_test(what_can_not_be_held_is_refused_with_its_line),
		cmocka_unit_test(a_nul_in_a_comment_does_no_harm),
		cmocka_unit_test(lines_are_counted),
		cmocka_unit_test(changing_one_value_changes_one_line),
		cmocka_unit_test(keys_are_removed_with_all_their_lines),
		cmocka_unit_test(a_document_may_start_empty),
		cmocka_unit_test(writing_is_javas),
		cmocka_unit_test(what_is_not_utf8_is_refused),
		cmocka_unit_test(every_allocation_of_parsing_may_fail),
		cmocka_unit_test(a_change_that_fails_changes_nothing),
		cmocka_unit_test(every_allocation_of_writing_may_fail),
		cmocka_unit_test(many_keys_are_no_trouble),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
