#include "base/settings.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "check.h"
#include "failing_alloc.h"

CLEAN_DEFINE(struct props, props_free)

struct block {
	char *name;
	char *note;
	int64_t port;
	int64_t offset;
	bool strict;
	char *algorithm;
};

static const struct setting rows_of_server[] = {
	{.name = "name",
	 .offset = offsetof(struct block, name),
	 .required = true,
	 .help = "What this server is called."},
	{.name = "note", .offset = offsetof(struct block, note), .help = "Anything.\n- Seen by *nobody*."},
	{.name = "port",
	 .type = SETTING_NUMBER,
	 .offset = offsetof(struct block, port),
	 .fallback = "8250",
	 .min = 1,
	 .max = 65535,
	 .help = "Port that agents connect to."},
	{.name = "offset", .type = SETTING_NUMBER, .offset = offsetof(struct block, offset), .help = "Any number."},
	{.name = "strict", .type = SETTING_BOOL, .offset = offsetof(struct block, strict), .help = "Be strict."},
	{.name = "lb_algorithm",
	 .type = SETTING_CHOICE,
	 .offset = offsetof(struct block, algorithm),
	 .fallback = "static",
	 .choices = "static,roundrobin,shuffle",
	 .help = "Order of lists."},
};

static const char *const foreign[] = {"java.", "guid", NULL};

static const struct settings_table server = {
	.rows = rows_of_server,
	.n = ARRAY_SIZE(rows_of_server),
	.foreign = foreign,
	.unknown_is_error = true,
	.own_prefix = "java.muster.",
};

/* What was said, one sentence a line. */
static void hear(void *user, const char *sentence)
{
	assert_int_equal(buf_printf(user, "%s\n", sentence), ERR_OK);
}

static enum err load(const struct settings_table *table, struct block *block, const char *text, struct buf *said)
{
	CLEAN(props_freep) struct props *p = NULL;
	enum err e = props_parse(&p, text, strlen(text), NULL);

	if (e)
		return e;
	return settings_load(table, block, p, "server.properties", said ? hear : NULL, said);
}

static void values_and_defaults_are_filled_in(void **state)
{
	struct block b = {0};

	assert_int_equal(load(&server, &b, "name=a\n", NULL), ERR_OK);
	assert_string_equal(b.name, "a");
	assert_null(b.note);
	assert_int_equal(b.port, 8250);
	assert_int_equal(b.offset, 0);
	assert_false(b.strict);
	assert_string_equal(b.algorithm, "static");
	settings_deinit(&server, &b);
	assert_null(b.name);
	settings_deinit(&server, &b);

	b = (struct block){0};
	assert_int_equal(load(&server, &b,
			      "name= a b \nnote=\nport= 1 \noffset=-9\nstrict=TRUE \nlb_algorithm=shuffle\t\n", NULL),
			 ERR_OK);
	/* Blanks of a text are the operator's business, those around other values mean nothing. */
	assert_string_equal(b.name, "a b ");
	assert_string_equal(b.note, "");
	assert_int_equal(b.port, 1);
	assert_int_equal(b.offset, -9);
	assert_true(b.strict);
	assert_string_equal(b.algorithm, "shuffle");
	settings_deinit(&server, &b);
}

static void every_mistake_is_named_with_its_place(void **state)
{
	static const struct {
		const char *what;
		const char *text, *said;
	} rows[] = {
		{"a number out of range", "name=a\n\nport=99999\n",
		 "server.properties:3: port: 99999 is not between 1 and 65535\n"},
		{"below the range", "name=a\nport=0\n", "server.properties:2: port: 0 is not between 1 and 65535\n"},
		{"no number", "name=a\nport=http\n", "server.properties:2: port: \"http\" is not a whole number\n"},
		{"an empty number", "name=a\nport=\n", "server.properties:2: port: \"\" is not a whole number\n"},
		{"more than a number can be", "name=a\noffset=9223372036854775808\n",
		 "server.properties:2: offset: \"9223372036854775808\" is not a whole number\n"},
		{"neither true nor false", "name=a\nstrict=yes\n",
		 "server.properties:2: strict: \"yes\" is neither true nor false\n"},
		{"no choice", "name=a\nlb_algorithm=Static\n",
		 "server.properties:2: lb_algorithm: \"Static\" is not one of static,roundrobin,shuffle\n"},
		{"a part of the choices is no choice", "name=a\nlb_algorithm=static,shuffle\n",
		 "server.properties:2: lb_algorithm: \"static,shuffle\" is not one of static,roundrobin,shuffle\n"},
		{"what is required is missing", "port=1\n", "server.properties: name: must be set\n"},
		{"what is required is empty", "name=\n", "server.properties:1: name: must not be empty\n"},
		{"what is required is blank", "name=\\ \\t\n", "server.properties:1: name: must not be empty\n"},
		{"an unknown setting", "name=a\nprot=1\n", "server.properties:2: prot: no such setting\n"},
		{"foreign keys are left alone", "name=a\njava.home=x\nguid=y\n", ""},
		{"a foreign key is the whole key", "name=a\nguid.x=y\n",
		 "server.properties:2: guid.x: no such setting\n"},
		{"ours is an error even among foreign ones", "name=a\njava.muster.x=1\n",
		 "server.properties:2: java.muster.x: no such setting\n"},
		{"the line that counts is named", "name=a\nport=x\nport=1\nport=y\n",
		 "server.properties:4: port: \"y\" is not a whole number\n"},
		{"all of them are said, not only the first", "port=x\nstrict=2\nwhat=3\n",
		 "server.properties: name: must be set\nserver.properties:1: port: \"x\" is not a whole number\n"
		 "server.properties:2: strict: \"2\" is neither true nor false\n"
		 "server.properties:3: what: no such setting\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf said = {0};
		struct block b = {0};
		enum err expected = *rows[i].said ? ERR_INVALID : ERR_OK;

		check_row(&rows[i], load(&server, &b, rows[i].text, &said) == expected);
		check_row(&rows[i], strcmp(buf_str(&said), rows[i].said) == 0);
		/* After mistakes there is nothing to free. */
		check_row(&rows[i], !expected || (!b.name && !b.algorithm));
		settings_deinit(&server, &b);
		check_row(&rows[i], load(&server, &b, rows[i].text, NULL) == expected);
		settings_deinit(&server, &b);
	}
}

static void unknown_keys_may_be_kept(void **state)
{
	struct settings_table table = server;
	CLEAN(buf_deinit) struct buf said = {0};
	struct block b = {0};

	table.unknown_is_error = false;
	table.foreign = NULL;
	assert_int_equal(load(&table, &b, "name=a\nsomething=else\n", &said), ERR_OK);
	settings_deinit(&table, &b);
	assert_int_equal(load(&table, &b, "name=a\njava.muster.x=1\n", &said), ERR_INVALID);
	assert_string_equal(buf_str(&said), "server.properties:2: java.muster.x: no such setting\n");
	table.own_prefix = NULL;
	assert_int_equal(load(&table, &b, "name=a\njava.muster.x=1\n", &said), ERR_OK);
	settings_deinit(&table, &b);
}

static void hear_key(void *user, const char *key, unsigned line)
{
	assert_int_equal(buf_printf(user, "%s:%u\n", key, line), ERR_OK);
}

static void unknown_keys_are_listed(void **state)
{
	CLEAN(props_freep) struct props *p = NULL;
	CLEAN(buf_deinit) struct buf said = {0};
	const char *text = "name=a\nwhat=1\njava.home=x\n\nwhere=2\nwhat=3\n";

	assert_int_equal(props_parse(&p, text, strlen(text), NULL), ERR_OK);
	settings_unknown(&server, p, hear_key, &said);
	assert_string_equal(buf_str(&said), "where:5\nwhat:6\n");
}

static void one_is_set_from_a_command_line(void **state)
{
	struct block b = {0};
	struct why why = WHY_NONE;

	assert_int_equal(settings_set(&server, &b, "port", "99", &why), ERR_OK);
	assert_int_equal(b.port, 99);
	assert_int_equal(settings_set(&server, &b, "port", "99999", &why), ERR_INVALID);
	assert_string_equal(why.text, "port: 99999 is not between 1 and 65535");
	assert_int_equal(b.port, 99);
	assert_int_equal(settings_set(&server, &b, "name", "a", &why), ERR_OK);
	assert_int_equal(settings_set(&server, &b, "name", "b", &why), ERR_OK);
	assert_string_equal(b.name, "b");
	assert_int_equal(settings_set(&server, &b, "name", "", &why), ERR_INVALID);
	assert_string_equal(why.text, "name: must not be empty");
	assert_string_equal(b.name, "b");
	assert_int_equal(settings_set(&server, &b, "lb_algorithm", "none", NULL), ERR_INVALID);
	assert_null(b.algorithm);
	assert_int_equal(settings_set(&server, &b, "prot", "1", &why), ERR_NOT_FOUND);
	assert_string_equal(why.text, "prot: no such setting");
	settings_deinit(&server, &b);
}

static void a_dump_is_a_file_that_gives_the_same(void **state)
{
	CLEAN(buf_deinit) struct buf first = {0};
	CLEAN(buf_deinit) struct buf second = {0};
	struct block b = {0}, again = {0};

	assert_int_equal(load(&server, &b, "name=a\\u00E9 \nport=1\n", NULL), ERR_OK);
	assert_int_equal(settings_dump(&server, &b, &first), ERR_OK);
	assert_string_equal(buf_str(&first), "# What this server is called.\n"
					     "# text; required\n"
					     "name=a\\u00E9 \n"
					     "\n"
					     "# Anything.\n"
					     "# - Seen by *nobody*.\n"
					     "# text; default: not set\n"
					     "#note=\n"
					     "\n"
					     "# Port that agents connect to.\n"
					     "# number, 1 to 65535; default: 8250\n"
					     "port=1\n"
					     "\n"
					     "# Any number.\n"
					     "# number; default: 0\n"
					     "offset=0\n"
					     "\n"
					     "# Be strict.\n"
					     "# true or false; default: false\n"
					     "strict=false\n"
					     "\n"
					     "# Order of lists.\n"
					     "# one of static,roundrobin,shuffle; default: static\n"
					     "lb_algorithm=static\n");
	assert_int_equal(load(&server, &again, buf_str(&first), NULL), ERR_OK);
	assert_int_equal(settings_dump(&server, &again, &second), ERR_OK);
	assert_string_equal(buf_str(&second), buf_str(&first));
	settings_deinit(&server, &b);
	settings_deinit(&server, &again);
}

static void help_comes_from_the_same_rows(void **state)
{
	CLEAN(buf_deinit) struct buf plain = {0};
	CLEAN(buf_deinit) struct buf manual = {0};
	struct settings_table table = server;

	assert_int_equal(settings_help(&server, false, &plain), ERR_OK);
	assert_string_equal(buf_str(&plain), "  name (text; required)\n"
					     "      What this server is called.\n"
					     "  note (text; default: not set)\n"
					     "      Anything.\n"
					     "      - Seen by *nobody*.\n"
					     "  port (number, 1 to 65535; default: 8250)\n"
					     "      Port that agents connect to.\n"
					     "  offset (number; default: 0)\n"
					     "      Any number.\n"
					     "  strict (true or false; default: false)\n"
					     "      Be strict.\n"
					     "  lb_algorithm (one of static,roundrobin,shuffle; default: static)\n"
					     "      Order of lists.\n");
	/* What scdoc would take for markup is escaped. */
	table.rows = &rows_of_server[1];
	table.n = 1;
	assert_int_equal(settings_help(&table, true, &manual), ERR_OK);
	table.rows = &rows_of_server[5];
	assert_int_equal(settings_help(&table, true, &manual), ERR_OK);
	assert_string_equal(buf_str(&manual), "*note* (text; default: not set)\n"
					      "\tAnything.\n"
					      "\t\\- Seen by \\*nobody\\*.\n"
					      "*lb\\_algorithm* (one of static,roundrobin,shuffle; default: static)\n"
					      "\tOrder of lists.\n");
	buf_clear(&manual);
	table.rows = &rows_of_server[3];
	table.n = 2;
	assert_int_equal(settings_help(&table, true, &manual), ERR_OK);
	assert_string_equal(buf_str(&manual), "*offset* (number; default: 0)\n"
					      "\tAny number.\n"
					      "\n"
					      "*strict* (true or false; default: false)\n"
					      "\tBe strict.\n");
}

static enum err load_step(void *user)
{
	struct block b = {0};
	enum err e = settings_load(&server, &b, user, "f", NULL, NULL);

	settings_deinit(&server, &b);
	return e;
}

static enum err set_step(void *user)
{
	struct block b = {0};
	enum err e = settings_set(&server, &b, "lb_algorithm", "shuffle", NULL);

	settings_deinit(&server, &b);
	return e;
}

static enum err dump_step(void *user)
{
	CLEAN(buf_deinit) struct buf out = {0};
	enum err e = settings_dump(&server, user, &out);

	assert_true(!e || out.len == 0);
	return e;
}

static enum err help_step(void *user)
{
	CLEAN(buf_deinit) struct buf out = {0};
	enum err e = settings_help(&server, user != NULL, &out);

	assert_true(!e || out.len == 0);
	return e;
}

static void every_allocation_may_fail(void **state)
{
	CLEAN(props_freep) struct props *p = props_new();
	struct block b = {0};

	assert_int_equal(props_set(p, "name", "a", NULL), ERR_OK);
	assert_int_equal(settings_load(&server, &b, p, "f", NULL, NULL), ERR_OK);
	assert_true(failing_alloc_each(load_step, p) > 5);
	assert_true(failing_alloc_each(set_step, NULL) > 3);
	assert_true(failing_alloc_each(dump_step, &b) > 10);
	assert_true(failing_alloc_each(help_step, NULL) > 10);
	assert_true(failing_alloc_each(help_step, p) > 10);
	settings_deinit(&server, &b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_and_defaults_are_filled_in),
		cmocka_unit_test(every_mistake_is_named_with_its_place),
		cmocka_unit_test(unknown_keys_may_be_kept),
		cmocka_unit_test(unknown_keys_are_listed),
		cmocka_unit_test(one_is_set_from_a_command_line),
		cmocka_unit_test(a_dump_is_a_file_that_gives_the_same),
		cmocka_unit_test(help_comes_from_the_same_rows),
		cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
