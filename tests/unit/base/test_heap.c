#include "base/heap.h"

#include <stdbool.h>

#include "base/mem.h"
#include "base/rng.h"
#include "check.h"
#include "failing_alloc.h"

static struct mono at(int64_t us)
{
	return (struct mono){.us = us};
}

/* What must hold after every change. */
static void must_be_sound(const struct heap *h)
{
	for (size_t i = 0; i < h->n; i++) {
		assert_int_equal(h->nodes[i]->index, i);
		if (i)
			assert_true(h->nodes[(i - 1) / 2]->at.us <= h->nodes[i]->at.us);
	}
}

static void the_earliest_comes_first(void **state)
{
	struct heap h = {0};
	struct heap_node a, b, c;

	heap_node_init(&a);
	heap_node_init(&b);
	heap_node_init(&c);
	assert_null(heap_first(&h));
	assert_int_equal(heap_set(&h, &a, at(30)), ERR_OK);
	assert_int_equal(heap_set(&h, &b, at(10)), ERR_OK);
	assert_int_equal(heap_set(&h, &c, at(20)), ERR_OK);
	assert_ptr_equal(heap_first(&h), &b);

	/* Setting a node that is in moves it, both ways. */
	assert_int_equal(heap_set(&h, &b, at(40)), ERR_OK);
	assert_ptr_equal(heap_first(&h), &c);
	assert_int_equal(heap_set(&h, &a, at(-5)), ERR_OK);
	assert_ptr_equal(heap_first(&h), &a);
	assert_int_equal(h.n, 3);

	heap_remove(&h, &a);
	assert_int_equal(a.index, HEAP_NOT_IN);
	heap_remove(&h, &a);
	assert_ptr_equal(heap_first(&h), &c);
	heap_remove(&h, &c);
	heap_remove(&h, &b);
	assert_null(heap_first(&h));
	heap_deinit(&h);
}

static void equal_times_leave_in_order(void **state)
{
	struct heap h = {0};
	struct heap_node nodes[100];

	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		heap_node_init(&nodes[i]);
		assert_int_equal(heap_set(&h, &nodes[i], at(7)), ERR_OK);
	}
	/* Set again, the first one has to stand in line again. */
	assert_int_equal(heap_set(&h, &nodes[0], at(7)), ERR_OK);
	for (size_t i = 1; i <= ARRAY_SIZE(nodes); i++) {
		assert_ptr_equal(heap_first(&h), &nodes[i % ARRAY_SIZE(nodes)]);
		heap_remove(&h, heap_first(&h));
	}
	heap_deinit(&h);
}

static void forgotten_nodes_know_it(void **state)
{
	struct heap h = {0};
	struct heap_node n;

	heap_node_init(&n);
	assert_int_equal(heap_set(&h, &n, at(1)), ERR_OK);
	heap_deinit(&h);
	assert_int_equal(n.index, HEAP_NOT_IN);
	/* Usable again. */
	assert_int_equal(heap_set(&h, &n, MONO_NEVER), ERR_OK);
	assert_ptr_equal(heap_first(&h), &n);
	heap_deinit(&h);
}

/* The heap against a search through all nodes. */
static void a_random_walk_stays_sound(void **state)
{
	struct heap h = {0};
	struct heap_node nodes[64];
	struct rng rng;

	rng_init(&rng, 11);
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		heap_node_init(&nodes[i]);
	for (int step = 0; step < 20000; step++) {
		struct heap_node *n = &nodes[rng_below(&rng, ARRAY_SIZE(nodes))];
		const struct heap_node *first = NULL;

		if (rng_below(&rng, 3))
			assert_int_equal(heap_set(&h, n, at(rng_between(&rng, -20, 20))), ERR_OK);
		else
			heap_remove(&h, n);
		must_be_sound(&h);
		for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
			const struct heap_node *c = &nodes[i];

			if (c->index == HEAP_NOT_IN)
				continue;
			if (!first || c->at.us < first->at.us || (c->at.us == first->at.us && c->order < first->order))
				first = c;
		}
		assert_ptr_equal(heap_first(&h), first);
	}
	heap_deinit(&h);
}

static void a_failed_set_changes_nothing(void **state)
{
	struct heap h = {0};
	struct heap_node nodes[100];
	bool has_failed = false;

	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		enum err e;

		heap_node_init(&nodes[i]);
		failing_alloc_arm(0);
		e = heap_set(&h, &nodes[i], at((int64_t)i));
		if (failing_alloc_disarm()) {
			has_failed = true;
			assert_int_equal(e, ERR_NOMEM);
			assert_int_equal(nodes[i].index, HEAP_NOT_IN);
			assert_int_equal(h.n, i);
			e = heap_set(&h, &nodes[i], at((int64_t)i));
		}
		assert_int_equal(e, ERR_OK);
		must_be_sound(&h);
	}
	assert_true(has_failed);

	/* Moving what is in needs no memory. */
	failing_alloc_arm(0);
	assert_int_equal(heap_set(&h, &nodes[99], at(-1)), ERR_OK);
	assert_false(failing_alloc_disarm());
	heap_deinit(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_earliest_comes_first),     cmocka_unit_test(equal_times_leave_in_order),
		cmocka_unit_test(forgotten_nodes_know_it),      cmocka_unit_test(a_random_walk_stays_sound),
		cmocka_unit_test(a_failed_set_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
