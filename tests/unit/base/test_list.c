#include "base/list.h"

#include "check.h"

struct item {
	int number;
	struct list link;
};

static void must_be(struct list *head, const int *numbers, size_t n)
{
	size_t i = 0;

	list_for (it, head, struct item, link) {
		assert_true(i < n);
		assert_int_equal(it->number, numbers[i++]);
	}
	assert_int_equal(i, n);
}

static void order_is_kept(void **state)
{
	struct list head;
	struct item a = {.number = 1}, b = {.number = 2}, c = {.number = 3};

	list_init(&head);
	assert_true(list_is_empty(&head));
	assert_null(list_first(&head, struct item, link));
	must_be(&head, NULL, 0);
	list_append(&head, &b.link);
	list_append(&head, &c.link);
	list_prepend(&head, &a.link);
	assert_false(list_is_empty(&head));
	assert_ptr_equal(list_first(&head, struct item, link), &a);
	must_be(&head, (int[]){1, 2, 3}, 3);

	list_remove(&b.link);
	must_be(&head, (int[]){1, 3}, 2);
	/* In no list now: removing again is fine. */
	assert_true(list_is_empty(&b.link));
	list_remove(&b.link);
	must_be(&head, (int[]){1, 3}, 2);
	list_append(&head, &b.link);
	must_be(&head, (int[]){1, 3, 2}, 3);
}

static void the_current_one_may_go_during_a_walk(void **state)
{
	struct list head;
	struct item items[5];
	int seen = 0;

	list_init(&head);
	for (int i = 0; i < 5; i++) {
		items[i].number = i;
		list_append(&head, &items[i].link);
	}
	list_for (it, &head, struct item, link) {
		seen++;
		if (it->number % 2 == 0)
			list_remove(&it->link);
	}
	assert_int_equal(seen, 5);
	must_be(&head, (int[]){1, 3}, 2);
	list_for (it, &head, struct item, link)
		list_remove(&it->link);
	assert_true(list_is_empty(&head));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_is_kept),
		cmocka_unit_test(the_current_one_may_go_during_a_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
