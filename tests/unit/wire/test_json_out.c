/* The JSON writer: Gson's escapes and Java's doubles. */
#include "check.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "wire/json_out.h"

static void texts_are_escaped_as_gson_does(void **state)
{
	static const struct {
		const char *what;
		const char *in;
		size_t n;
		const char *out;
	} rows[] = {
		{"plain text stays", "kvm1.example.org/~a b", 21, "\"kvm1.example.org/~a b\""},
		{"an empty text", "", 0, "\"\""},
		{"quotes and backslashes", "\"\\", 2, "\"\\\"\\\\\""},
		{"the five short escapes", "\t\b\n\r\f", 5, "\"\\t\\b\\n\\r\\f\""},
		{"other control characters in hex", "\x01\x1f", 2, "\"\\u0001\\u001f\""},
		{"NUL too", "a\0b", 3, "\"a\\u0000b\""},
		{"DEL stays, as in Gson", "\x7f", 1, "\"\x7f\""},
		{"what is special in HTML", "<a>&='", 6, "\"\\u003ca\\u003e\\u0026\\u003d\\u0027\""},
		{"line separators of JavaScript", "\xe2\x80\xa8\xe2\x80\xa9", 6, "\"\\u2028\\u2029\""},
		{"two bytes of UTF-8", "\xc3\xa9", 2, "\"\\u00e9\""},
		{"three bytes", "\xe4\xb8\xad", 3, "\"\\u4e2d\""},
		{"four bytes are a surrogate pair", "\xf0\x9f\x98\x80", 4, "\"\\ud83d\\ude00\""},
		{"the last code point", "\xf4\x8f\xbf\xbf", 4, "\"\\udbff\\udfff\""},
		{"a stray byte is replaced",
		 "a\xff"
		 "b",
		 3, "\"a\\ufffdb\""},
		{"a sequence cut short is replaced byte by byte", "\xe4\xb8", 2, "\"\\ufffd\\ufffd\""},
		{"an overlong form is replaced", "\xc0\x80", 2, "\"\\ufffd\\ufffd\""},
		{"a surrogate in UTF-8 is replaced", "\xed\xa0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\""},
		{"beyond Unicode is replaced", "\xf4\x90\x80\x80", 4, "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf out = {0};
		struct json_out o = {.to = &out};

		json_out_text(&o, rows[i].in, rows[i].n);
		check_row(&rows[i], !o.err);
		if (strcmp(buf_str(&out), rows[i].out))
			fail_msg("%s: %s is not %s", rows[i].what, buf_str(&out), rows[i].out);
	}
}

static void doubles_are_written_as_java_does(void **state)
{
	static const struct {
		const char *what;
		double in;
		const char *out;
	} rows[] = {
		{"zero has a fraction", 0.0, "0.0"},
		{"minus zero is kept", -0.0, "-0.0"},
		{"whole numbers have a fraction", 3, "3.0"},
		{"tens", 2000, "2000.0"},
		{"a fraction", 12.5, "12.5"},
		{"a negative one", -12.5, "-12.5"},
		{"below one", 0.42, "0.42"},
		{"small and exact", 0.0078125, "0.0078125"},
		{"0.001 is the last one without exponent", 0.001, "0.001"},
		{"below it an exponent", 0.000999, "9.99E-4"},
		{"the last whole number without exponent", 9999999, "9999999.0"},
		{"ten millions have one", 1e7, "1.0E7"},
		{"528 millions", 528000000, "5.28E8"},
		{"memory in KiB", 527909296, "5.27909296E8"},
		{"a fraction in millions", 1234567.875, "1234567.875"},
		{"the shortest text that is read back", 0.1, "0.1"},
		{"all digits where they are needed", 0.1 + 0.2, "0.30000000000000004"},
		{"one third", 1.0 / 3, "0.3333333333333333"},
		{"2^63", 0x1p63, "9.223372036854776E18"},
		{"the largest", 0x1.fffffffffffffp1023, "1.7976931348623157E308"},
		{"the smallest", 0x1p-1074, "4.9E-324"},
		{"10^23, which is no double", 1e23, "1.0E23"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf out = {0};
		struct json_out o = {.to = &out};

		json_out_real(&o, rows[i].in);
		check_row(&rows[i], !o.err);
		if (strcmp(buf_str(&out), rows[i].out))
			fail_msg("%s: %s is not %s", rows[i].what, buf_str(&out), rows[i].out);
	}
}

static void what_json_cant_say_is_refused(void **state)
{
	static const double rows[] = {NAN, INFINITY, -INFINITY};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf out = {0};
		struct json_out o = {.to = &out};

		json_out_real(&o, rows[i]);
		assert_int_equal(o.err, ERR_INVALID);
		json_out_i64(&o, 1);
		assert_int_equal(out.len, 0); /* nothing is written after an error */
	}
}

static void values_keep_their_order(void **state)
{
	static const struct {
		const char *what;
		const char *in; /* and out, if `out` is NULL */
		const char *out;
	} rows[] = {
		{"an empty object", "{}", NULL},
		{"an empty array", "[]", NULL},
		{"members stay where they were", "{\"z\":1,\"a\":2,\"m\":{\"y\":[1,2.5,\"x\"],\"b\":{}}}", NULL},
		{"all simple kinds", "[true,false,null,-9223372036854775808,9223372036854775807,\"\"]", NULL},
		{"reals stay reals", "[5.0,1e8,1.50]", "[5.0,1.0E8,1.5]"},
		{"names are escaped like texts", "{\"a=b\":1}", "{\"a\\u003db\":1}"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf out = {0};
		struct json_out o = {.to = &out};
		json_t *v = json_loads(rows[i].in, 0, NULL);

		check_row(&rows[i], v);
		json_out_value(&o, v);
		json_decref(v);
		check_row(&rows[i], !o.err);
		if (strcmp(buf_str(&out), rows[i].out ? rows[i].out : rows[i].in))
			fail_msg("%s: %s", rows[i].what, buf_str(&out));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_are_escaped_as_gson_does),
		cmocka_unit_test(doubles_are_written_as_java_does),
		cmocka_unit_test(what_json_cant_say_is_refused),
		cmocka_unit_test(values_keep_their_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
