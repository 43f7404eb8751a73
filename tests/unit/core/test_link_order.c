#include "core/link_order.h"

#include "core_test.h"

static void which_link_is_older(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		struct link_stamp a, than;
		bool is_older;
	} rows[] = {
		{ "an older link of the same boot", { "b", 3, 1 }, { "b", 3, 2 }, true },
		{ "a newer one", { "b", 3, 2 }, { "b", 3, 1 }, false },
		{ "the same", { "b", 3, 2 }, { "b", 3, 2 }, false },
		{ "without boot numbers links count all the same", { "b", 0, 1 }, { "b", 0, 2 }, true },
		{ "an older boot, however many links it had", { "b", 3, 9 }, { "c", 4, 1 }, true },
		{ "a newer boot", { "c", 4, 1 }, { "b", 3, 9 }, false },
		{ "two boots with one number: a copy, or a count that was not kept", { "b", 3, 1 }, { "c", 3, 2 }, false },
		{ "who has no number is never late", { "b", 0, 1 }, { "c", 4, 2 }, false },
		{ "nor is anybody late behind it", { "b", 3, 1 }, { "c", 0, 2 }, false },
		{ "agents that number nothing", { NULL, 0, 0 }, { NULL, 0, 0 }, false },
		{ "a CloudStack agent after a muster agent", { NULL, 0, 0 }, { "b", 3, 1 }, false },
		{ "and the other way round", { "b", 3, 1 }, { NULL, 0, 0 }, false },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_row(&rows[i], link_is_older(&rows[i].a, &rows[i].than) == rows[i].is_older);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(which_link_is_older),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
