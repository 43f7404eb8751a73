#include "core/server_list.h"

#include "core_test.h"

static void entries_are_taken_apart(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		const char *entry;
		const char *host;
		uint16_t port;
		const char *formatted; /* NULL: like the entry */
	} rows[] = {
		{ "a name", "M1", "M1", 0, NULL },
		{ "a full name", "ms1.lab.example", "ms1.lab.example", 0, NULL },
		{ "a full name with its closing dot", "ms1.lab.example.", "ms1.lab.example.", 0, NULL },
		{ "names with digits, dashes and underscores", "ms-1_a.9lab", "ms-1_a.9lab", 0, NULL },
		{ "a name with a port", "M1:8250", "M1", 8250, NULL },
		{ "the lowest port", "M1:1", "M1", 1, NULL },
		{ "the highest port", "M1:65535", "M1", 65535, NULL },
		{ "zeros before a port", "M1:00443", "M1", 443, "M1:443" },
		{ "IPv4", "10.0.0.1", "10.0.0.1", 0, NULL },
		{ "IPv4 with a port", "10.0.0.1:8250", "10.0.0.1", 8250, NULL },
		{ "bare IPv6 has no port", "fe80::1", "fe80::1", 0, NULL },
		{ "bare IPv6 that ends like a port", "fe80::1:8250", "fe80::1:8250", 0, NULL },
		{ "IPv6 in brackets", "[2001:db8::1]", "2001:db8::1", 0, "2001:db8::1" },
		{ "IPv6 in brackets with a port", "[2001:db8::1]:8250", "2001:db8::1", 8250, NULL },
		{ "IPv6 with an interface", "fe80::1%eth0.5", "fe80::1%eth0.5", 0, NULL },
		{ "IPv6 with an interface and a port", "[fe80::1%eth0]:8250", "fe80::1%eth0", 8250, NULL },
		{ "IPv4 written as IPv6", "::ffff:10.0.0.1", "::ffff:10.0.0.1", 0, NULL },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct server_address a = {.port = 1};
		struct why why = WHY_NONE;
		char out[SERVER_HOST_MAX + 9];

		check_row(&rows[i], server_address_parse(&a, rows[i].entry, &why) == ERR_OK);
		check_row(&rows[i], str_equal(a.host, rows[i].host) && a.port == rows[i].port);
		server_address_format(out, sizeof(out), &a);
		check_row(&rows[i], str_equal(out, rows[i].formatted ? rows[i].formatted : rows[i].entry));
	}
}

#define LABEL_63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define NAME_253 LABEL_63 "." LABEL_63 "." LABEL_63 ".aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void bad_entries_are_refused_with_a_reason(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		const char *entry;
		const char *why; /* a part of it */
	} rows[] = {
		{ "nothing at all", NULL, "blank" },
		{ "nothing", "", "blank" },
		{ "only blanks", " \t", "blank" },
		{ "a blank before", " M1", "letters" },
		{ "a blank inside", "M 1", "letters" },
		{ "the separator of the algorithm", "M1@static", "letters" },
		{ "the separator of lists", "M1,M2", "letters" },
		{ "not ASCII", "m\xc3\xbcster", "letters" },
		{ "a control character", "M1\x1b[31m", "letters" },
		{ "only a dot", ".", "part of a name" },
		{ "a dot first", ".M1", "part of a name" },
		{ "two dots", "M1..example", "part of a name" },
		{ "two dots at the end", "M1..", "part of a name" },
		{ "a dash first", "-M1", "part of a name" },
		{ "a dash at the end of a part", "M1-.example", "part of a name" },
		{ "a part of 64 characters", "a" LABEL_63 ".example", "part of a name" },
		{ "254 characters", "a" NAME_253, "longer than 253" },
		{ "a port without a name", ":8250", "no name" },
		{ "a colon without a port", "M1:", "between 1 and 65535" },
		{ "port 0", "M1:0", "between 1 and 65535" },
		{ "port too high", "M1:65536", "between 1 and 65535" },
		{ "port far too high", "M1:99999999999999999999999999", "between 1 and 65535" },
		{ "port with a sign", "M1:+80", "between 1 and 65535" },
		{ "port with letters", "M1:80a", "between 1 and 65535" },
		{ "a port that would colour a terminal", "M1:\x1b[31m", "\"?[31m\"" },
		{ "IPv4 out of range", "10.0.0.256", "no IPv4 address" },
		{ "IPv4 with three numbers, which resolvers would take", "10.0.1", "no IPv4 address" },
		{ "IPv4 with five numbers", "1.2.3.4.5", "no IPv4 address" },
		{ "a number", "12345", "no IPv4 address" },
		{ "IPv6 with a wrong digit", "fe80::g", "no IPv6 address" },
		{ "IPv6 with two gaps", "1::2::3", "no IPv6 address" },
		{ "IPv6 with an empty interface", "fe80::1%", "no IPv6 address" },
		{ "IPv6 with a bad interface", "fe80::1%e/0", "no IPv6 address" },
		{ "IPv6 too long", "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb", "no IPv6 address" },
		{ "brackets that don't close", "[fe80::1", "brackets" },
		{ "something after the bracket", "[fe80::1]8250", "brackets" },
		{ "brackets around a name", "[M1]:8250", "brackets" },
		{ "empty brackets", "[]", "brackets" },
		{ "brackets without a port after the colon", "[fe80::1]:", "between 1 and 65535" },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct server_address a = {.host = "untouched", .port = 7};
		struct why why = WHY_NONE;

		check_row(&rows[i], server_address_parse(&a, rows[i].entry, &why) == ERR_INVALID);
		if (!strstr(why.text, rows[i].why))
			fail_msg("%s: \"%s\" does not say \"%s\"", rows[i].what, why.text, rows[i].why);
		check_row(&rows[i], str_equal(a.host, "untouched") && a.port == 7);
		check_row(&rows[i], server_address_parse(&a, rows[i].entry, NULL) == ERR_INVALID);
	}
	assert_int_equal(strlen(NAME_253), 253);
	assert_int_equal(server_address_parse(&(struct server_address){.port = 0}, NAME_253, NULL), ERR_OK);
	assert_int_equal(server_address_parse(&(struct server_address){.port = 0}, NAME_253 ":65535", NULL), ERR_OK);
}

static void loopback_is_recognised(void **state)
{
	/* clang-format off */
	static const struct { const char *what; bool is_loopback; } rows[] = {
		{ "localhost", true }, { "LocalHost.", true }, { "127.0.0.1", true }, { "127.9.9.9:8250", true },
		{ "::1", true }, { "[::1]:8250", true }, { "0:0:0:0:0:0:0:1", true }, { "::ffff:127.0.0.1", true },
		{ "localhost.example", false }, { "M1", false }, { "128.0.0.1", false }, { "::2", false },
		{ "::ffff:10.0.0.1", false }, { "fe80::1%eth0", false },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct server_address a;

		assert_int_equal(server_address_parse(&a, rows[i].what, NULL), ERR_OK);
		check_row(&rows[i], server_address_is_loopback(&a) == rows[i].is_loopback);
	}
}

static void entries_are_compared_by_meaning(void **state)
{
	/* clang-format off */
	static const struct { const char *what, *a, *b; bool is_same; } rows[] = {
		{ "equal", "M1", "M1", true },
		{ "names without case", "M1.Lab", "m1.lab", true },
		{ "with and without the closing dot", "m1.lab.", "m1.lab", true },
		{ "the port that is meant anyway", "M1", "M1:8250", true },
		{ "another port", "M1", "M1:8251", false },
		{ "two ports", "M1:1", "M1:2", false },
		{ "two names", "M1", "M11", false },
		{ "IPv6 spelled in two ways", "2001:db8::1", "[2001:DB8:0::0:1]:8250", true },
		{ "IPv6 on two interfaces", "fe80::1%a", "fe80::1%b", false },
		{ "a name and an address are different texts", "localhost", "127.0.0.1", false },
		{ "what is no address is compared as text", "M 1", "M 1", true },
		{ "and not by anything else", "M 1", "m 1", false },
		{ "one of them is no address", "M1", "M1 ", false },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		check_row(&rows[i], server_entry_same(rows[i].a, rows[i].b, 8250) == rows[i].is_same);
		check_row(&rows[i], server_entry_same(rows[i].b, rows[i].a, 8250) == rows[i].is_same);
	}
}

static void settings_are_read_or_refused(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		const char *value;
		const char *list; /* NULL: refused */
		const char *why;
	} rows[] = {
		{ "the usual", "M1,M2,M3", "M1,M2,M3", NULL },
		{ "one server", "M1", "M1", NULL },
		{ "Lists 1: blanks around entries are dropped", " M1, M2 ,\tM3\n", "M1,M2,M3", NULL },
		{ "Lists 1: a blank inside an entry is a forgotten comma", "M1 M2,M3", NULL, "entry 1, \"M1 M2\"" },
		{ "Lists 2: all kinds of entries, spelled as they were", "ms.Example:1,10.0.0.1,[fe80::1]:8250,fe80::2",
		  "ms.Example:1,10.0.0.1,[fe80::1]:8250,fe80::2", NULL },
		{ "Lists 2: a bad entry is named", "M1,M2:99999,M3", NULL,
		  "entry 2, \"M2:99999\": port \"99999\" is not between 1 and 65535" },
		{ "Lists 2: an empty entry is a mistake", "M1,,M3", NULL, "entry 2, \"\": an entry is blank" },
		{ "Lists 2: also at the end", "M1,", NULL, "entry 2, \"\": an entry is blank" },
		{ "Lists 2: only a comma", ",", NULL, "entry 1, \"\": an entry is blank" },
		{ "Lists 2: an algorithm has its own setting", "M1,M2@static", NULL, "entry 2, \"M2@static\": a name" },
		{ "Lists 2: what would paint a terminal is shown without its colours", "M1,\x1b[31m", NULL, "entry 2, \"?[31m\"" },
		{ "Lists 3: nobody twice", "M1,M2,M1", NULL, "entry 3, \"M1\": the same server as entry 1, \"M1\"" },
		{ "Lists 3: nor in another spelling", "M1,m1:8250", NULL, "entry 2, \"m1:8250\": the same server as entry 1, \"M1\"" },
		{ "Lists 3: two ports of one machine are two servers", "M1:8250,M1:8251", "M1:8250,M1:8251", NULL },
		{ "Lists 4: none", "", NULL, "the list of servers is empty" },
		{ "Lists 4: only blanks", "  ", NULL, "the list of servers is empty" },
		{ "Lists 4: not set", NULL, NULL, "the list of servers is empty" },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct str_list l = test_list("before");
		struct why why = WHY_NONE;
		enum err e = server_list_parse_setting(&l, rows[i].value, &why);

		check_row(&rows[i], e == (rows[i].list ? ERR_OK : ERR_INVALID));
		if (rows[i].why && !str_starts(why.text, rows[i].why))
			fail_msg("%s: \"%s\" is not \"%s\"", rows[i].what, why.text, rows[i].why);
		assert_list(&l, rows[i].list ? rows[i].list : "before");
		str_list_deinit(&l);
	}
}

static void a_list_has_at_most_256_entries(void **state)
{
	char text[2048];
	size_t n = 0;
	struct str_list l = {0};
	struct why why = WHY_NONE;

	for (int i = 0; i < SERVER_LIST_MAX; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, i ? ",M%d" : "M%d", i);
	assert_int_equal(server_list_parse_setting(&l, text, &why), ERR_OK);
	assert_int_equal(l.n, SERVER_LIST_MAX);

	snprintf(text + n, sizeof(text) - n, ",M256");
	assert_int_equal(server_list_parse_setting(&l, text, &why), ERR_INVALID);
	assert_string_equal(why.text, "entry 257, \"M256\": a list has at most 256 entries");
	str_list_deinit(&l);
}

static void reported_lists_are_never_refused(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		const char *value;
		const char *list;
		size_t n;
		const char *algorithm;
		const char *formatted;
	} rows[] = {
		{ "Lists 6: the usual", "M1,M2,M3@static", "M1,M2,M3", 3, "static", "M1,M2,M3@static" },
		{ "Lists 6: without an algorithm", "M1,M2", "M1,M2", 2, "", "M1,M2" },
		{ "Lists 7: an empty algorithm is none", "M1@", "M1", 1, "", "M1" },
		{ "Lists 7: up to the second separator", "M1@static@more", "M1", 1, "static", "M1@static" },
		{ "Lists 7: blanks stay, they are part of the text that is compared", "M1, M2@ static", "M1, M2", 2, " static",
		  "M1, M2@ static" },
		{ "Lists 7: empty entries at the end don't count", "M1,M2,,@static", "M1,M2", 2, "static", "M1,M2@static" },
		{ "Lists 7: others do", ",M1,,M2", ",M1,,M2", 4, "", ",M1,,M2" },
		{ "Lists 7: only empty entries are none", ",,,", "", 0, "", "" },
		{ "Lists 7: an algorithm without servers", "@static", "", 0, "static", "@static" },
		{ "Lists 7: nothing", "", "", 0, "", "" },
		{ "Lists 7: no value", NULL, "", 0, "", "" },
		{ "Lists 7: garbage is for the comparison to find", "M1;M2\x01@STATIC", "M1;M2\x01", 1, "STATIC", "M1;M2\x01@STATIC" },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct str_list l = test_list("before");
		struct server_list_walk w;
		char *algorithm = NULL, *formatted;
		size_t n = 0;

		check_row(&rows[i], server_list_parse_reported(&l, &algorithm, rows[i].value) == ERR_OK);
		check_row(&rows[i], l.n == rows[i].n && str_equal(algorithm, rows[i].algorithm));
		assert_list(&l, rows[i].list);

		server_list_walk_init(&w, rows[i].value);
		for (; server_list_walk_next(&w); n++) {
			check_row(&rows[i], n < l.n && strlen(l.items[n]) == w.entry_len);
			check_row(&rows[i], memcmp(l.items[n], w.entry, w.entry_len) == 0);
		}
		check_row(&rows[i], n == l.n && w.algorithm_len == strlen(algorithm));

		formatted = server_list_format(&l, algorithm);
		assert_string_equal(formatted, rows[i].formatted);
		mem_free(formatted);
		mem_free(algorithm);
		str_list_deinit(&l);
	}
}

static void lists_are_written_with_or_without_the_algorithm(void **state)
{
	struct str_list l = test_list("M1,M2");
	char *with = server_list_format(&l, "shuffle");
	char *empty = server_list_format(&l, "");
	char *without = server_list_format(&l, NULL);

	assert_string_equal(with, "M1,M2@shuffle");
	assert_string_equal(empty, "M1,M2");
	assert_string_equal(without, "M1,M2");
	mem_free(with);
	mem_free(empty);
	mem_free(without);
	str_list_deinit(&l);
}

static void hosts_that_look_like_addresses(void **state)
{
	static const struct {
		const char *what;
		bool is;
	} rows[] = {{"10.0.0.1", true}, {"10.1", true},  {"fe80::1%eth0", true}, {"::", true},
		    {"m1", false},      {"10.a", false}, {".", false},           {"", false}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_row(&rows[i], server_host_is_address(rows[i].what) == rows[i].is);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts_that_look_like_addresses),
		cmocka_unit_test(entries_are_taken_apart),
		cmocka_unit_test(bad_entries_are_refused_with_a_reason),
		cmocka_unit_test(loopback_is_recognised),
		cmocka_unit_test(entries_are_compared_by_meaning),
		cmocka_unit_test(settings_are_read_or_refused),
		cmocka_unit_test(a_list_has_at_most_256_entries),
		cmocka_unit_test(reported_lists_are_never_refused),
		cmocka_unit_test(lists_are_written_with_or_without_the_algorithm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
