/*
 * What a server thinks of the bytes of a handshake before it does any work for them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/tls_look.h"

#define BYTES(text) text, sizeof(text) - 1

struct row {
	const char *what;
	const char *in;
	size_t n;
	enum tls_look look;
	const char *sentence; /* part of it */
};

static void check(const struct row *rows, size_t n, enum tls_look (*look)(struct bytes in, struct why *why))
{
	for (size_t i = 0; i < n; i++) {
		struct bytes in = {.data = (const uint8_t *)rows[i].in, .len = rows[i].n};
		struct why why = WHY_NONE;
		enum tls_look is = look(in, &why);

		if (is != rows[i].look || (rows[i].sentence && !strstr(why.text, rows[i].sentence)))
			fail_msg("%s: %d \"%s\"", rows[i].what, (int)is, why.text);
	}
}

static void a_hello_is_looked_at_before_it_is_answered(void **state)
{
	static const struct row rows[] = {
		{"nothing", BYTES(""), TLS_LOOK_PART, NULL},
		{"the first byte", BYTES("\x16"), TLS_LOOK_PART, NULL},
		{"a request of HTTP, at its first byte", BYTES("G"), TLS_LOOK_BAD, "is it TLS at all?"},
		{"a packet of ours", BYTES("\x00"), TLS_LOOK_BAD, "is it TLS at all?"},
		{"an SSL 2 hello", BYTES("\x80\x2e"), TLS_LOOK_BAD, "is it TLS at all?"},
		{"another version", BYTES("\x16\x04"), TLS_LOOK_BAD, "is it TLS at all?"},
		{"an alert", BYTES("\x15\x03\x01\x00\x02\x02\x28"), TLS_LOOK_BAD, "does not begin with a hello"},
		{"data", BYTES("\x17\x03\x03\x00\x01x"), TLS_LOOK_BAD, "does not begin with a hello"},
		{"an empty record", BYTES("\x16\x03\x01\x00\x00"), TLS_LOOK_BAD, "an empty record"},
		{"a record of 64 KiB", BYTES("\x16\x03\x01\xff\xff"), TLS_LOOK_BAD, "over the limit"},
		{"a message that is no hello", BYTES("\x16\x03\x01\x00\x04\x02"), TLS_LOOK_BAD, "does not begin"},
		{"half a hello", BYTES("\x16\x03\x01\x00\x06\x01\x00\x00\x02x"), TLS_LOOK_PART, NULL},
		{"a whole hello", BYTES("\x16\x03\x01\x00\x06\x01\x00\x00\x02xy"), TLS_LOOK_WHOLE, NULL},
		{"a hello in two records, half there", BYTES("\x16\x03\x01\x00\x03\x01\x00\x00"), TLS_LOOK_PART, NULL},
		{"a hello in two records", BYTES("\x16\x03\x01\x00\x03\x01\x00\x00\x16\x03\x01\x00\x03\x02xy"),
		 TLS_LOOK_WHOLE, NULL},
		{"the second record is another thing", BYTES("\x16\x03\x01\x00\x01\x01\x14\x03\x01\x00\x01\x01"),
		 TLS_LOOK_BAD, "does not begin"},
		{"a hello of 64 KiB", BYTES("\x16\x03\x01\x00\x04\x01\x01\x00\x00"), TLS_LOOK_BAD, "over the limit"},
	};

	check(rows, ARRAY_SIZE(rows), tls_look_hello);
}

static void later_a_record_must_be_whole(void **state)
{
	static const struct row rows[] = {
		{"nothing", BYTES(""), TLS_LOOK_PART, NULL},
		{"half a header", BYTES("\x16\x03\x03"), TLS_LOOK_PART, NULL},
		{"half a record", BYTES("\x17\x03\x03\x00\x05xx"), TLS_LOOK_PART, NULL},
		{"a record", BYTES("\x14\x03\x03\x00\x01\x01"), TLS_LOOK_WHOLE, NULL},
		{"a record and half", BYTES("\x14\x03\x03\x00\x01\x01\x16\x03"), TLS_LOOK_WHOLE, NULL},
		{"an alert", BYTES("\x15\x03\x03\x00\x02\x02\x28"), TLS_LOOK_WHOLE, NULL},
		{"no record", BYTES("hello"), TLS_LOOK_BAD, "is it TLS at all?"},
	};

	check(rows, ARRAY_SIZE(rows), tls_look_flight);
}

static void a_hello_in_crumbs_has_a_limit(void **state)
{
	uint8_t crumbs[6 * 1000];
	struct bytes in = {.data = crumbs};
	struct why why = WHY_NONE;
	enum tls_look look = TLS_LOOK_PART;

	for (size_t i = 0; i < sizeof(crumbs); i += 6)
		memcpy(crumbs + i, i ? "\x16\x03\x01\x00\x01\x00" : "\x16\x03\x01\x00\x01\x01", 6);
	memcpy(crumbs + 12, "\x16\x03\x01\x00\x01\x01", 6); /* of 256 bytes */
	while (look == TLS_LOOK_PART && in.len < sizeof(crumbs)) {
		in.len++;
		look = tls_look_hello(in, &why);
	}
	assert_int_equal(look, TLS_LOOK_BAD);
	assert_non_null(strstr(why.text, "too many records"));
	assert_int_equal(in.len, 6 * 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hello_is_looked_at_before_it_is_answered),
		cmocka_unit_test(later_a_record_must_be_whole),
		cmocka_unit_test(a_hello_in_crumbs_has_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
