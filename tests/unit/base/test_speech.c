#include "base/speech.h"

#include "base/mem.h"
#include "check.h"
#include "failing_alloc.h"

static enum err tell(void *arg)
{
	CLEAN(buf_deinit) struct buf text = {0};
	struct speech s = {.out = &text};

	say(&s, "%s is %d", "one", 1);
	say(&s, ", %01000d", 2);
	say(&s, ".");
	if (s.err)
		return s.err;
	assert_int_equal(text.len, 8 + 1002 + 1);
	assert_memory_equal(text.data, "one is 1, 0", 11);
	return ERR_OK;
}

static void sentences_follow_each_other(void **state)
{
	assert_int_equal(tell(NULL), ERR_OK);
}

static void the_first_error_stays(void **state)
{
	CLEAN(buf_deinit) struct buf text = {0};
	struct speech s = {.out = &text, .err = ERR_CLOSED};

	say(&s, "more");
	assert_int_equal(s.err, ERR_CLOSED);
	assert_int_equal(text.len, 0);
	assert_true(failing_alloc_each(tell, NULL) >= 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sentences_follow_each_other),
		cmocka_unit_test(the_first_error_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
