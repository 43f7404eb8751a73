#include "core/algorithm.h"

#include "core_test.h"

static void algorithms_have_exact_names(void **state)
{
	/* clang-format off */
	static const struct { const char *what; bool is_known; enum algorithm a; } rows[] = {
		{ "static", true, ALGORITHM_STATIC },
		{ "roundrobin", true, ALGORITHM_ROUNDROBIN },
		{ "shuffle", true, ALGORITHM_SHUFFLE },
		{ "balanced", true, ALGORITHM_BALANCED },
		{ "Static", false, 0 }, { "round robin", false, 0 }, { " static", false, 0 }, { "", false, 0 },
		{ "balance", false, 0 },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		enum algorithm a = ALGORITHM_SHUFFLE;

		check_row(&rows[i], algorithm_from_text(rows[i].what, &a) == rows[i].is_known);
		check_row(&rows[i], a == (rows[i].is_known ? rows[i].a : ALGORITHM_SHUFFLE));
		if (rows[i].is_known) {
			check_row(&rows[i], str_equal(algorithm_name(a), rows[i].what));
			check_row(&rows[i], strstr(algorithm_choices(), rows[i].what));
		}
	}
	assert_false(algorithm_from_text(NULL, &(enum algorithm){ALGORITHM_STATIC}));
}

static void lists_are_ordered(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		enum algorithm a;
		const char *servers;
		uint64_t slot;
		const char *list;
	} rows[] = {
		{ "the example: H1 in slot 0", ALGORITHM_ROUNDROBIN, "M1,M2,M3", 0, "M1,M2,M3" },
		{ "the example: H2 in slot 1", ALGORITHM_ROUNDROBIN, "M1,M2,M3", 1, "M2,M3,M1" },
		{ "the example: H3 in slot 2", ALGORITHM_ROUNDROBIN, "M1,M2,M3", 2, "M3,M1,M2" },
		{ "the example: H4 in slot 3", ALGORITHM_ROUNDROBIN, "M1,M2,M3", 3, "M1,M2,M3" },
		{ "the example with static: H1", ALGORITHM_STATIC, "M1,M2,M3", 0, "M1,M2,M3" },
		{ "the example with static: H2", ALGORITHM_STATIC, "M1,M2,M3", 1, "M1,M2,M3" },
		{ "the example with static: H3", ALGORITHM_STATIC, "M1,M2,M3", 2, "M1,M2,M3" },
		{ "the example with static: H4", ALGORITHM_STATIC, "M1,M2,M3", 3, "M1,M2,M3" },
		{ "Algorithms 1: one server, static", ALGORITHM_STATIC, "M1", 5, "M1" },
		{ "Algorithms 1: one server, roundrobin", ALGORITHM_ROUNDROBIN, "M1", 5, "M1" },
		{ "Algorithms 1: one server, shuffle, for which no chance is needed", ALGORITHM_SHUFFLE, "M1", 5, "M1" },
		{ "no servers, static", ALGORITHM_STATIC, "", 5, "" },
		{ "no servers, roundrobin", ALGORITHM_ROUNDROBIN, "", 5, "" },
		{ "no servers, shuffle", ALGORITHM_SHUFFLE, "", 5, "" },
		{ "Algorithms 3: the highest slot there is (2^64-1 is a multiple of 3)", ALGORITHM_ROUNDROBIN, "M1,M2,M3", UINT64_MAX,
		  "M1,M2,M3" },
		{ "Algorithms 3: and the one before", ALGORITHM_ROUNDROBIN, "M1,M2,M3", UINT64_MAX - 1, "M3,M1,M2" },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct str_list servers = test_list(rows[i].servers);
		struct str_list out = test_list("what,was,there");

		check_row(&rows[i], algorithm_order(&out, rows[i].a, &servers, rows[i].slot, NULL) == ERR_OK);
		check_row(&rows[i], out.n == servers.n);
		assert_list(&out, rows[i].list);
		assert_list(&servers, rows[i].servers);
		str_list_deinit(&servers);
		str_list_deinit(&out);
	}
}

static void shuffle_gives_every_order_and_the_same_for_the_same_seed(void **state)
{
	static const char *const orders[] = {"A,B,C", "A,C,B", "B,A,C", "B,C,A", "C,A,B", "C,B,A"};
	struct rng rng = test_rng(__func__), again = rng;
	struct str_list servers = test_list("A,B,C");
	size_t seen[ARRAY_SIZE(orders)] = {0};
	size_t n_known = 0;

	for (int i = 0; i < 6000; i++) {
		struct str_list out = {0}, replayed = {0};
		char *text;

		assert_int_equal(algorithm_order(&out, ALGORITHM_SHUFFLE, &servers, 0, &rng), ERR_OK);
		assert_int_equal(algorithm_order(&replayed, ALGORITHM_SHUFFLE, &servers, 7, &again), ERR_OK);
		assert_true(str_list_equal(&out, &replayed));
		text = str_list_join(&out, ",");
		for (size_t j = 0; j < ARRAY_SIZE(orders); j++) {
			seen[j] += str_equal(text, orders[j]);
			n_known += str_equal(text, orders[j]);
		}
		mem_free(text);
		str_list_deinit(&out);
		str_list_deinit(&replayed);
	}
	assert_int_equal(n_known, 6000);
	/* 1000 each; a share this far off happens once in more than 10^15 runs. */
	for (size_t j = 0; j < ARRAY_SIZE(orders); j++)
		assert_in_range(seen[j], 760, 1240);
	str_list_deinit(&servers);
}

static void reported_lists_are_compared(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		enum algorithm a;
		uint64_t slot;
		const char *reported;
		bool is_current;
	} rows[] = {
		{ "Current 1: no list", ALGORITHM_STATIC, 0, NULL, false },
		{ "Current 1: an empty list", ALGORITHM_STATIC, 0, "", false },
		{ "Current 1: an algorithm alone", ALGORITHM_STATIC, 0, "@static", false },
		{ "Current 2: the algorithm is missing, as after a set-up by hand", ALGORITHM_STATIC, 0, "A,B,C", false },
		{ "Current 2: another algorithm", ALGORITHM_STATIC, 0, "A,B,C@roundrobin", false },
		{ "Current 2: a longer name", ALGORITHM_STATIC, 0, "A,B,C@static2", false },
		{ "Current 2: a shorter name", ALGORITHM_STATIC, 0, "A,B,C@stati", false },
		{ "Current 2: names have a case", ALGORITHM_STATIC, 0, "A,B,C@Static", false },
		{ "Current 2: what follows a second separator is ignored", ALGORITHM_STATIC, 0, "A,B,C@static@x", true },
		{ "Current 3: the list as it is", ALGORITHM_STATIC, 2, "A,B,C@static", true },
		{ "Current 3: empty entries at the end don't count", ALGORITHM_STATIC, 0, "A,B,C,,@static", true },
		{ "Current 3: another order", ALGORITHM_STATIC, 0, "B,A,C@static", false },
		{ "Current 3: too few", ALGORITHM_STATIC, 0, "A,B@static", false },
		{ "Current 3: too many", ALGORITHM_STATIC, 0, "A,B,C,D@static", false },
		{ "Current 3: a blank is another text", ALGORITHM_STATIC, 0, "A, B,C@static", false },
		{ "Current 3: entries are texts, also where they mean the same", ALGORITHM_STATIC, 0, "A,B,C:8250@static", false },
		{ "Current 3: a longer name", ALGORITHM_STATIC, 0, "A,B,CC@static", false },
		{ "Current 3: an empty entry inside", ALGORITHM_STATIC, 0, "A,,C@static", false },
		{ "Current 3: roundrobin, this slot's list", ALGORITHM_ROUNDROBIN, 4, "B,C,A@roundrobin", true },
		{ "Current 3: roundrobin, another slot's list", ALGORITHM_ROUNDROBIN, 5, "B,C,A@roundrobin", false },
		{ "Current 3: balanced, the host's own list", ALGORITHM_BALANCED, 7, "A,B,C@balanced", true },
		{ "Current 3: balanced, another order", ALGORITHM_BALANCED, 0, "A,C,B@balanced", false },
		{ "Current 2: balanced, the list of another algorithm", ALGORITHM_BALANCED, 0, "A,B,C@static", false },
		{ "Current 4: shuffle, the set in any order", ALGORITHM_SHUFFLE, 0, "C,A,B@shuffle", true },
		{ "Current 4: shuffle, the slot has no part in it", ALGORITHM_SHUFFLE, 9, "C,A,B@shuffle", true },
		{ "Current 4: shuffle, one is missing", ALGORITHM_SHUFFLE, 0, "C,A@shuffle", false },
		{ "Current 4: shuffle, one too many", ALGORITHM_SHUFFLE, 0, "C,A,B,D@shuffle", false },
		{ "Current 4: shuffle, one instead of another", ALGORITHM_SHUFFLE, 0, "C,A,D@shuffle", false },
		{ "Current 4: shuffle, one twice instead of another", ALGORITHM_SHUFFLE, 0, "C,A,A@shuffle", false },
		{ "Current 4: shuffle, one twice in addition", ALGORITHM_SHUFFLE, 0, "C,A,B,B@shuffle", false },
		{ "Current 4: shuffle, the right set of another algorithm", ALGORITHM_SHUFFLE, 0, "A,B,C@static", false },
	};
	/* clang-format on */
	struct str_list servers = test_list("A,B,C"), none = {0};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool is_current = algorithm_is_current(rows[i].a, &servers, rows[i].slot, rows[i].reported);

		check_row(&rows[i], is_current == rows[i].is_current);
	}
	for (enum algorithm a = ALGORITHM_STATIC; a <= ALGORITHM_SHUFFLE; a++) {
		assert_false(algorithm_is_current(a, &none, 0, NULL));
		assert_false(algorithm_is_current(a, &none, 0, "A@static"));
	}
	str_list_deinit(&servers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(algorithms_have_exact_names),
		cmocka_unit_test(lists_are_ordered),
		cmocka_unit_test(shuffle_gives_every_order_and_the_same_for_the_same_seed),
		cmocka_unit_test(reported_lists_are_compared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
