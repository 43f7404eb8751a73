#include "base/map.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/rng.h"
#include "check.h"
#include "failing_alloc.h"

static void texts_lead_to_values(void **state)
{
	struct map m;
	int a, b;
	char key[] = "host-1";

	map_init_text(&m, 1);
	assert_null(map_get(&m, "host-1"));
	assert_null(map_remove(&m, "host-1"));
	assert_int_equal(map_put(&m, key, &a), ERR_OK);
	/* The map has a copy of its own. */
	key[5] = '2';
	assert_ptr_equal(map_get(&m, "host-1"), &a);
	assert_null(map_get(&m, "host-2"));
	assert_int_equal(map_put(&m, "host-1", &b), ERR_OK);
	assert_ptr_equal(map_get(&m, "host-1"), &b);
	assert_int_equal(m.n, 1);
	assert_int_equal(map_put(&m, "", &a), ERR_OK);
	assert_ptr_equal(map_get(&m, ""), &a);
	assert_ptr_equal(map_remove(&m, "host-1"), &b);
	assert_null(map_get(&m, "host-1"));
	assert_null(map_remove(&m, "host-1"));
	assert_int_equal(m.n, 1);
	map_deinit(&m);
	/* Usable again. */
	assert_null(map_get(&m, ""));
	assert_int_equal(map_put(&m, "x", &a), ERR_OK);
	map_deinit(&m);
}

static void numbers_lead_to_values(void **state)
{
	struct map m;
	int a, b;

	map_init_number(&m, 1);
	assert_null(map_get_u64(&m, 0));
	assert_int_equal(map_put_u64(&m, 0, &a), ERR_OK);
	assert_int_equal(map_put_u64(&m, UINT64_MAX, &b), ERR_OK);
	assert_ptr_equal(map_get_u64(&m, 0), &a);
	assert_ptr_equal(map_get_u64(&m, UINT64_MAX), &b);
	assert_int_equal(map_put_u64(&m, 0, &b), ERR_OK);
	assert_int_equal(m.n, 2);
	assert_ptr_equal(map_remove_u64(&m, 0), &b);
	assert_null(map_remove_u64(&m, 0));
	map_deinit(&m);
}

/* Against an array, with enough removals to leave many graves. */
static void a_random_walk_forgets_nothing(void **state)
{
	struct map m;
	struct rng rng;
	static int values[300];
	bool is_in[ARRAY_SIZE(values)] = {false};
	size_t n = 0;

	map_init_text(&m, 99);
	rng_init(&rng, 12);
	for (int step = 0; step < 30000; step++) {
		/* Long times of mostly putting and of mostly removing. */
		bool puts = rng_below(&rng, 100) < ((step / 3000) % 2 ? 20u : 80u);
		size_t i = (size_t)rng_below(&rng, ARRAY_SIZE(values));
		char key[64];

		snprintf(key, sizeof(key), "a key of more than eight bytes %zu", i);
		if (puts) {
			assert_int_equal(map_put(&m, key, &values[i]), ERR_OK);
			n += !is_in[i];
			is_in[i] = true;
		} else {
			assert_ptr_equal(map_remove(&m, key), is_in[i] ? &values[i] : NULL);
			n -= is_in[i];
			is_in[i] = false;
		}
		assert_int_equal(m.n, n);
		assert_true(m.used < m.cap || !m.cap);
		i = (size_t)rng_below(&rng, ARRAY_SIZE(values));
		snprintf(key, sizeof(key), "a key of more than eight bytes %zu", i);
		assert_ptr_equal(map_get(&m, key), is_in[i] ? &values[i] : NULL);
	}
	map_deinit(&m);
}

static void graves_do_not_pile_up(void **state)
{
	struct map m;
	int value;

	map_init_number(&m, 5);
	for (uint64_t i = 0; i < 100000; i++) {
		assert_int_equal(map_put_u64(&m, i, &value), ERR_OK);
		assert_ptr_equal(map_remove_u64(&m, i), &value);
	}
	assert_int_equal(m.n, 0);
	assert_in_range(m.cap, 1, 16);
	map_deinit(&m);
}

static void a_map_that_was_large_gets_small(void **state)
{
	struct map m;
	int value;
	size_t largest;

	map_init_number(&m, 5);
	for (uint64_t i = 0; i < 10000; i++)
		assert_int_equal(map_put_u64(&m, i, &value), ERR_OK);
	largest = m.cap;
	for (uint64_t i = 10; i < 10000; i++)
		assert_ptr_equal(map_remove_u64(&m, i), &value);
	assert_int_equal(map_put_u64(&m, 10, &value), ERR_OK);
	assert_true(m.cap < largest / 16);
	for (uint64_t i = 0; i <= 10; i++)
		assert_ptr_equal(map_get_u64(&m, i), &value);

	/* Without memory for the smaller table it stays as large as it is. */
	for (uint64_t i = 0; i < 10000; i++)
		assert_int_equal(map_put_u64(&m, i, &value), ERR_OK);
	for (uint64_t i = 10; i < 10000; i++)
		assert_ptr_equal(map_remove_u64(&m, i), &value);
	failing_alloc_arm_from(0);
	assert_int_equal(map_put_u64(&m, 10, &value), ERR_OK);
	assert_true(failing_alloc_disarm());
	assert_int_equal(m.cap, largest);
	map_deinit(&m);
}

static void a_walk_sees_each_value_once(void **state)
{
	struct map m;
	int values[100];
	int seen[ARRAY_SIZE(values)] = {0};
	size_t cursor = 0;
	int *value;

	map_init_number(&m, 7);
	assert_null(map_next(&m, &cursor));
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		values[i] = (int)i;
		assert_int_equal(map_put_u64(&m, i, &values[i]), ERR_OK);
	}
	/* Removing the current one during the walk is fine. */
	cursor = 0;
	while ((value = map_next(&m, &cursor))) {
		seen[*value]++;
		if (*value % 3)
			assert_ptr_equal(map_remove_u64(&m, (uint64_t)*value), value);
	}
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		assert_int_equal(seen[i], 1);
	assert_int_equal(m.n, 34);
	cursor = 0;
	for (size_t i = 0; i < 34; i++)
		assert_int_equal(*(int *)map_next(&m, &cursor) % 3, 0);
	assert_null(map_next(&m, &cursor));
	assert_null(map_next(&m, &cursor));
	map_deinit(&m);
}

/* Where entries land depends on the key: who doesn't know it can't aim. */
static void the_order_depends_on_the_hash_key(void **state)
{
	struct map a, b;
	int values[64];
	size_t n_same = 0, cursor_a = 0, cursor_b = 0;

	map_init_number(&a, 1);
	map_init_number(&b, 2);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		assert_int_equal(map_put_u64(&a, i, &values[i]), ERR_OK);
		assert_int_equal(map_put_u64(&b, i, &values[i]), ERR_OK);
	}
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		n_same += map_next(&a, &cursor_a) == map_next(&b, &cursor_b);
	assert_true(n_same < 16);
	map_deinit(&a);
	map_deinit(&b);
}

static void texts_of_every_length_are_told_apart(void **state)
{
	struct map m;
	char keys[40][41];

	map_init_text(&m, 3);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		for (size_t k = 0; k < i; k++)
			keys[i][k] = 'a';
		keys[i][i] = '\0';
		assert_int_equal(map_put(&m, keys[i], keys[i]), ERR_OK);
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		assert_ptr_equal(map_get(&m, keys[i]), keys[i]);
	map_deinit(&m);
}

static enum err fill(void *user)
{
	CLEAN(map_deinit) struct map m;
	int value;
	enum err e = ERR_OK;

	map_init_text(&m, 8);
	for (int i = 0; !e && i < 40; i++) {
		char key[16];

		snprintf(key, sizeof(key), "%d", i);
		e = map_put(&m, key, &value);
		/* A refused put leaves the map as it was. */
		assert_int_equal(m.n, i + !e);
		assert_ptr_equal(map_get(&m, key), e ? NULL : &value);
	}
	return e;
}

static enum err fill_numbers(void *user)
{
	CLEAN(map_deinit) struct map m;
	int value;
	enum err e = ERR_OK;

	map_init_number(&m, 8);
	for (uint64_t i = 0; !e && i < 40; i++)
		e = map_put_u64(&m, i, &value);
	return e;
}

static void every_allocation_may_fail(void **state)
{
	assert_true(failing_alloc_each(fill, NULL) > 40);
	assert_true(failing_alloc_each(fill_numbers, NULL) > 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_lead_to_values),
		cmocka_unit_test(numbers_lead_to_values),
		cmocka_unit_test(a_random_walk_forgets_nothing),
		cmocka_unit_test(graves_do_not_pile_up),
		cmocka_unit_test(a_map_that_was_large_gets_small),
		cmocka_unit_test(a_walk_sees_each_value_once),
		cmocka_unit_test(the_order_depends_on_the_hash_key),
		cmocka_unit_test(texts_of_every_length_are_told_apart),
		cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
