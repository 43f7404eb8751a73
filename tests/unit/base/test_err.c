#include "base/err.h"

#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "check.h"

static void numbers_have_names_and_sentences(void **state)
{
	static const struct {
		enum err e;
		int number;
		const char *identifier;
		const char *text;
	} rows[] = {
#define X(name, number, text) {name, number, #name, text},
		ERR_LIST(X)
#undef X
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char name[64];

		/* Numbers travel: they are the place in the list and never change. */
		assert_int_equal(rows[i].number, i);
		assert_true(str_copy(name, sizeof(name), rows[i].identifier + strlen("ERR_")));
		for (char *c = name; *c; c++)
			*c = (char)tolower((unsigned char)*c);
		assert_string_equal(err_name(rows[i].e), name);
		assert_string_equal(err_text(rows[i].e), rows[i].text);
	}
}

static void a_number_of_a_newer_peer_has_a_name_too(void **state)
{
	assert_string_equal(err_name((enum err)31), "unknown");
	assert_string_equal(err_text((enum err)31), "unknown error");
}

static void sentences_are_wrapped_on_the_way_up(void **state)
{
	struct why why = WHY_NONE;

	assert_string_equal(why_text(&why, ERR_REFUSED), "refused by policy");
	why_set(&why, "certificate is for %s", "host-8");
	why_add(&why, "enrol %s", "host-7");
	assert_string_equal(why.text, "enrol host-7: certificate is for host-8");
	assert_string_equal(why_text(&why, ERR_REFUSED), "enrol host-7: certificate is for host-8");
	why_set(&why, "again");
	assert_string_equal(why.text, "again");
}

static void adding_to_nothing_sets(void **state)
{
	struct why why = WHY_NONE;

	why_add(&why, "line %d", 3);
	assert_string_equal(why.text, "line 3");
}

static void the_arguments_may_be_the_old_sentence(void **state)
{
	struct why why = WHY_NONE;

	why_set(&why, "inner");
	why_set(&why, "<%s>", why.text);
	assert_string_equal(why.text, "<inner>");
	why_add(&why, "%s", why.text);
	assert_string_equal(why.text, "<inner>: <inner>");
}

static void nobody_has_to_listen(void **state)
{
	why_set(NULL, "%d", 1);
	why_add(NULL, "%d", 1);
	assert_string_equal(why_text(NULL, ERR_IO), "input or output failed");
}

static void too_long_text_is_cut_between_characters(void **state)
{
	/* With 0 to 4 bytes before, the cut falls on each byte of a character once. */
	static const char *const characters[] = {"x", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};

	for (size_t c = 0; c < ARRAY_SIZE(characters); c++) {
		for (size_t before = 0; before < 5; before++) {
			char text[1024] = "....";
			size_t size = strlen(characters[c]);
			struct why why = WHY_NONE;
			size_t len;

			text[before] = '\0';
			while (strlen(text) < 900)
				strcat(text, characters[c]);
			why_set(&why, "%s", text);
			len = strlen(why.text);
			assert_true(str_is_utf8(why.text, len));
			assert_true(len > sizeof(why.text) - 1 - size && len < sizeof(why.text));
			assert_memory_equal(why.text, text, len);

			why_add(&why, "outer");
			len = strlen(why.text);
			assert_true(str_is_utf8(why.text, len));
			assert_true(str_starts(why.text, "outer: "));
			assert_true(len > sizeof(why.text) - 1 - size);

			/* The addition alone may be too long already. */
			why_add(&why, "%s", text);
			len = strlen(why.text);
			assert_true(str_is_utf8(why.text, len));
			assert_memory_equal(why.text, text, sizeof(why.text) - 8);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_have_names_and_sentences),
		cmocka_unit_test(a_number_of_a_newer_peer_has_a_name_too),
		cmocka_unit_test(sentences_are_wrapped_on_the_way_up),
		cmocka_unit_test(adding_to_nothing_sets),
		cmocka_unit_test(the_arguments_may_be_the_old_sentence),
		cmocka_unit_test(nobody_has_to_listen),
		cmocka_unit_test(too_long_text_is_cut_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
