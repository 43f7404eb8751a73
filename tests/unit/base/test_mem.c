#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "failing_alloc.h"

static void sizes_are_checked(void **state)
{
	CLEAN(mem_freep) char *none = mem_zalloc(0);
	CLEAN(mem_freep) uint32_t *some = mem_zalloc_array(3, sizeof(*some));
	uint32_t *more;

	assert_non_null(none);
	assert_non_null(some);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(some[i], 0);
	assert_null(mem_zalloc_array(SIZE_MAX / 2, 3));
	assert_null(mem_zalloc(SIZE_MAX));
	assert_null(mem_grow_array(NULL, SIZE_MAX, 1));

	/* The old block stays valid when the new size is impossible. */
	some[2] = 7;
	assert_null(mem_grow_array(some, SIZE_MAX / 2, sizeof(*some)));
	assert_int_equal(some[2], 7);
	more = mem_grow_array(some, 100, sizeof(*some));
	assert_non_null(more);
	some = more;
	assert_int_equal(some[2], 7);
	/* Growing to nothing is no free(). */
	more = mem_grow_array(some, 0, sizeof(*some));
	assert_non_null(more);
	some = more;
}

static void strings_are_copied(void **state)
{
	CLEAN(mem_freep) char *whole = mem_strdup("host-7");
	CLEAN(mem_freep) char *part = mem_strndup("host-7", 4);
	CLEAN(mem_freep) char *longer = mem_strndup("abc", 100);
	CLEAN(mem_freep) char *printed = mem_printf("%s-%d", "host", 7);
	CLEAN(mem_freep) char *empty = mem_printf("%s", "");

	assert_string_equal(whole, "host-7");
	assert_string_equal(part, "host");
	assert_string_equal(longer, "abc");
	assert_string_equal(printed, "host-7");
	assert_string_equal(empty, "");
	assert_null(mem_strdup(NULL));
	assert_null(mem_strndup(NULL, 3));
}

static void a_part_without_nul_is_not_read_beyond(void **state)
{
	char *bytes = malloc(3);
	CLEAN(mem_freep) char *copy = NULL;

	memcpy(bytes, "abc", 3);
	copy = mem_strndup(bytes, 3);
	assert_string_equal(copy, "abc");
	free(bytes);
}

static void every_allocation_may_fail(void **state)
{
	failing_alloc_arm_from(0);
	assert_null(mem_zalloc(1));
	assert_null(mem_zalloc_array(1, 1));
	assert_null(mem_grow_array(NULL, 1, 1));
	assert_null(mem_strdup("a"));
	assert_null(mem_strndup("a", 1));
	assert_null(mem_printf("%d", 1));
	assert_true(failing_alloc_disarm());
}

static void free_gives_null(void **state)
{
	char *p = mem_zalloc(1);

	p = mem_free(p);
	assert_null(p);
	assert_null(mem_free(NULL));
}

static void steal_leaves_null(void **state)
{
	CLEAN(mem_freep) char *p = mem_strdup("mine");
	CLEAN(mem_freep) char *q = NULL;

	q = STEAL(p);
	assert_null(p);
	assert_string_equal(q, "mine");
}

static void secrets_are_wiped(void **state)
{
	char secret[] = "secret";

	mem_wipe(secret, sizeof(secret));
	for (size_t i = 0; i < sizeof(secret); i++)
		assert_int_equal(secret[i], 0);
	mem_wipe(NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_checked),
		cmocka_unit_test(strings_are_copied),
		cmocka_unit_test(a_part_without_nul_is_not_read_beyond),
		cmocka_unit_test(every_allocation_may_fail),
		cmocka_unit_test(free_gives_null),
		cmocka_unit_test(steal_leaves_null),
		cmocka_unit_test(secrets_are_wiped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
