#include "core/strays.h"

#include <stdio.h>

#include "core_test.h"

static struct mono at(int64_t ms)
{
	return mono_add_ms((struct mono){.us = 1000000000}, ms);
}

static void networks_are_told_apart(void **state)
{
	static const struct {
		const char *what, *address, *network;
	} rows[] = {
		{"an address is itself", "10.0.0.1", "10.0.0.1"},
		{"of IPv6 it is the network", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
		{"an IPv4 address in IPv6's clothes is that address", "::ffff:10.0.0.1", "10.0.0.1"},
		{"what is no address stands for itself", "local", "local"},
		{"nothing is something, too", "", ""},
	};
	char network[STRAY_NETWORK_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		stray_network(network, rows[i].address);
		check_row(&rows[i], str_equal(network, rows[i].network));
	}
}

static void who_fails_too_often_waits(void **state)
{
	static const struct {
		const char *what;
		const char *address;
		int64_t ms;
		bool fails, over; /* over: before it fails */
	} rows[] = {
		{"nothing is known of anybody", "a", 0, true, false},
		{"one failure is none", "a", 0, true, false},
		{"two neither", "a", 10, true, false},
		{"three at once are enough", "a", 20, false, true},
		{"another address has nothing to do with it", "b", 30, false, false},
		{"a period later there is room for one", "a", 1001, true, false},
		{"and for no other", "a", 1002, false, true},
		{"nor half a period later", "a", 1500, false, true},
		{"but for the next one after the next period", "a", 2002, false, false},
	};
	struct strays s;

	strays_init(&s, 7, 10, 3, 1000);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		check_row(&rows[i], strays_is_over(&s, rows[i].address, at(rows[i].ms)) == rows[i].over);
		if (rows[i].fails)
			strays_failed(&s, rows[i].address, at(rows[i].ms));
	}
	strays_deinit(&s);
}

static void it_is_forgotten_at_last(void **state)
{
	struct strays s;
	char address[20];

	strays_init(&s, 7, 100, 3, 1000);
	for (int i = 0; i < 50; i++)
		strays_failed(&s, "a", at(0));
	assert_true(strays_is_over(&s, "a", at(47500)));
	assert_false(strays_is_over(&s, "a", at(48001)));
	assert_false(strays_is_over(&s, "a", at(1000000)));
	/* The table fills up with others; those whose time is over make room. */
	for (int i = 0; i < 99; i++) {
		snprintf(address, sizeof(address), "10.0.0.%d", i);
		strays_failed(&s, address, at(51000));
	}
	assert_int_equal(s.by_network.n, 100);
	strays_failed(&s, "new", at(51000));
	assert_int_equal(s.by_network.n, 100);
	strays_deinit(&s);
}

static void memory_is_bounded(void **state)
{
	struct strays s;
	char address[40];

	strays_init(&s, 7, 64, 3, 1000);
	for (int i = 0; i < 10000; i++) {
		snprintf(address, sizeof(address), "2001:db8:%x:%x::1", i / 100, i % 100);
		for (int k = 0; k < 4; k++)
			strays_failed(&s, address, at(i / 100));
		assert_true(s.by_network.n <= 64);
	}
	/* Those that were known before stay known. */
	assert_true(strays_is_over(&s, "2001:db8:0:1::77", at(100)));
	assert_false(strays_is_over(&s, "2001:db8:50:1::", at(100)));
	strays_deinit(&s);
}

/* Whoever is loud is held back, and nobody else is. */
static void what_is_told_is_paced_by_address(void **state)
{
	struct strays s;
	uint64_t held = 99;
	size_t n = 0;

	strays_init(&s, 7, 10, 5, 10000);
	for (int i = 0; i < 1000; i++)
		n += strays_may_tell(&s, "loud", at(i), &held);
	assert_int_equal(n, 5);
	assert_int_equal(held, 0);
	assert_true(strays_may_tell(&s, "quiet", at(1000), &held));
	assert_int_equal(held, 0);
	/* What was held back is not lost: it is counted. */
	assert_true(strays_may_tell(&s, "loud", at(10005), &held));
	assert_int_equal(held, 995);
	assert_false(strays_may_tell(&s, "loud", at(10006), &held));
	assert_true(strays_may_tell(&s, "loud", at(20010), &held));
	assert_int_equal(held, 1);
	strays_deinit(&s);
}

static void who_finds_no_room_shares_one_place(void **state)
{
	struct strays s;
	char address[20];
	uint64_t held = 0;
	size_t n = 0;

	strays_init(&s, 7, 4, 5, 10000);
	for (int i = 0; i < 500; i++) {
		snprintf(address, sizeof(address), "10.0.%d.%d", i / 250, i % 250);
		n += strays_may_tell(&s, address, at(i / 100), &held);
	}
	assert_int_equal(n, 4 + 5);
	strays_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(networks_are_told_apart),
		cmocka_unit_test(who_fails_too_often_waits),
		cmocka_unit_test(it_is_forgotten_at_last),
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(what_is_told_is_paced_by_address),
		cmocka_unit_test(who_finds_no_room_shares_one_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
