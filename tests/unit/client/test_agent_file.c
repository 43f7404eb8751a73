/* The agent's file: what is written when, what stays, and what a kill leaves (decisions 18, 22, 23). */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"
#include "client/agent_file.h"
#include "fake_world.h"

#define PATH "/etc/a.properties"

struct fixture {
	struct fake_world *f;
	struct agent_file *file;
};

static void begin(struct fixture *x, const char *text)
{
	x->f = fake_world_new(1);
	fake_file_put(x->f, PATH, text);
	assert_int_equal(agent_file_open(&x->file, fake_world_of(x->f)->fs, PATH, NULL), ERR_OK);
}

static void end(struct fixture *x)
{
	agent_file_free(x->file);
	fake_world_free(x->f);
}

static void make_list(struct str_list *l, const char *text)
{
	assert_int_equal(str_list_split(l, text, ','), ERR_OK);
}

static void interval_rows(void **state)
{
	static const struct {
		const char *what;
		const char *before;
		int64_t received;
		const char *after;
		int64_t in_force;
		bool is_own;
		size_t writes;
	} rows[] = {
		{"a received interval is written with its mark", "a=1\n", 60,
		 "a=1\nhost.lb.check.interval=60\nmuster.lb.check.interval.received=60\n", 60, false, 1},
		{"the same again writes nothing", "host.lb.check.interval=60\nmuster.lb.check.interval.received=60\n",
		 60, "host.lb.check.interval=60\nmuster.lb.check.interval.received=60\n", 60, false, 0},
		{"another one replaces it", "host.lb.check.interval=60\nmuster.lb.check.interval.received=60\n", 30,
		 "host.lb.check.interval=30\nmuster.lb.check.interval.received=30\n", 30, false, 1},
		{"0 removes both", "host.lb.check.interval=60\na=1\nmuster.lb.check.interval.received=60\n", 0, "a=1\n",
		 0, false, 1},
		{"0 where nothing is writes nothing", "a=1\n", 0, "a=1\n", 0, false, 0},
		{"a negative one is 0", "a=1\n", -5, "a=1\n", 0, false, 0},
		{"an operator's own stays", "host.lb.check.interval=15\n", 60, "host.lb.check.interval=15\n", 15, true,
		 0},
		{"an operator's own stays when 0 comes", "host.lb.check.interval=15\n", 0,
		 "host.lb.check.interval=15\n", 15, true, 0},
		{"changed by an operator after it was received",
		 "host.lb.check.interval=15\n"
		 "muster.lb.check.interval.received=60\n",
		 60, "host.lb.check.interval=15\nmuster.lb.check.interval.received=60\n", 15, true, 0},
		{"an operator's 0 turns it off", "host.lb.check.interval=0\n", 60, "host.lb.check.interval=0\n", 0,
		 true, 0},
		{"garbage is 0 and the operator's own", "host.lb.check.interval=often\n", 60,
		 "host.lb.check.interval=often\n", 0, true, 0},
		{"a negative own one is 0", "host.lb.check.interval=-1\n", 60, "host.lb.check.interval=-1\n", 0, true,
		 0},
		{"a blank one is unset", "host.lb.check.interval=\n", 60,
		 "host.lb.check.interval=60\nmuster.lb.check.interval.received=60\n", 60, false, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fixture x;
		bool is_own;

		begin(&x, rows[i].before);
		check_row(&rows[i], agent_file_save_interval(x.file, rows[i].received, NULL) == ERR_OK);
		check_row(&rows[i], !strcmp(fake_file_get(x.f, PATH), rows[i].after));
		check_row(&rows[i], agent_file_interval(x.file, rows[i].received, &is_own) == rows[i].in_force);
		check_row(&rows[i], is_own == rows[i].is_own);
		check_row(&rows[i], fake_file_writes(x.f) == rows[i].writes);
		end(&x);
	}
}

static void list_rows(void **state)
{
	static const struct {
		const char *what;
		const char *before;
		const char *list;
		const char *algorithm;
		bool old_worked;
		const char *after;
		size_t writes;
	} rows[] = {
		{"a new list replaces the old one in its place", "# hello\nhost=a,b@static\nguid=x\n", "b,a",
		 "roundrobin", false, "# hello\nhost=b,a@roundrobin\nguid=x\n", 1},
		{"the old one is remembered when it worked", "host=a,b@static\n", "b,a", "static", true,
		 "host=b,a@static\nmuster.host.lastgood=a,b@static\n", 1},
		{"the same list writes nothing", "host=a,b@static\n", "a,b", "static", true, "host=a,b@static\n", 0},
		{"another algorithm is another value", "host=a,b@static\n", "a,b", "shuffle", false,
		 "host=a,b@shuffle\n", 1},
		{"IPv6 is escaped as Java does", "host=a\n", "2001:db8::1,b", "static", false,
		 "host=2001\\:db8\\:\\:1,b@static\n", 1},
		{"hosts is what was there where host is absent", "hosts=a\n", "b", "static", true,
		 "hosts=a\nmuster.host.lastgood=a\nhost=b@static\n", 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct str_list list = {0};
		struct fixture x;

		begin(&x, rows[i].before);
		make_list(&list, rows[i].list);
		check_row(&rows[i],
			  agent_file_save_list(x.file, &list, rows[i].algorithm, rows[i].old_worked, NULL) == ERR_OK);
		check_row(&rows[i], !strcmp(fake_file_get(x.f, PATH), rows[i].after));
		check_row(&rows[i], fake_file_writes(x.f) == rows[i].writes);
		str_list_deinit(&list);
		end(&x);
	}
}

static void list_and_interval_are_one_replacement(void **state)
{
	struct str_list list = {0};
	struct fixture x;

	begin(&x, "host=a@static\n");
	make_list(&list, "b,a");
	assert_int_equal(agent_file_save_list_and_interval(x.file, &list, "static", true, 20, NULL), ERR_OK);
	assert_string_equal(fake_file_get(x.f, PATH),
			    "host=b,a@static\nmuster.host.lastgood=a@static\nhost.lb.check.interval=20\n"
			    "muster.lb.check.interval.received=20\n");
	assert_int_equal(fake_file_writes(x.f), 1);
	str_list_deinit(&list);
	end(&x);
}

static void identity_is_kept(void **state)
{
	struct fixture x;

	begin(&x, "guid=x\n");
	assert_int_equal(agent_file_host_id(x.file, "R"), -1);
	assert_int_equal(agent_file_save_identity(x.file, "R", 5, "u", "n", NULL), ERR_OK);
	assert_string_equal(fake_file_get(x.f, PATH), "guid=x\nR.id=5\nR.uuid=u\nR.name=n\n");
	assert_int_equal(agent_file_host_id(x.file, "R"), 5);
	assert_int_equal(agent_file_save_identity(x.file, "R", 5, "u", NULL, NULL), ERR_OK);
	assert_int_equal(fake_file_writes(x.f), 1);
	end(&x);
}

static void an_operators_edit_meanwhile_stays(void **state)
{
	const struct agent_change change = {"b", "2"};
	struct fixture x;

	begin(&x, "a=1\n");
	fake_file_put(x.f, PATH, "# edited\na=7\n");
	assert_int_equal(agent_file_change(x.file, &change, 1, NULL), ERR_OK);
	assert_string_equal(fake_file_get(x.f, PATH), "# edited\na=7\nb=2\n");
	assert_string_equal(agent_file_get(x.file, "a"), "7");
	end(&x);
}

static void a_damaged_file_is_reported_and_left_alone(void **state)
{
	const struct agent_change change = {"b", "2"};
	struct agent_file *file;
	struct why why = WHY_NONE;
	struct fixture x;

	begin(&x, "a=1\n");
	fake_file_put(x.f, PATH, "x=1\na=\\u12\n");
	assert_int_equal(agent_file_change(x.file, &change, 1, &why), ERR_MALFORMED);
	assert_non_null(strstr(why.text, PATH));
	assert_string_equal(fake_file_get(x.f, PATH), "x=1\na=\\u12\n");
	assert_null(agent_file_get(x.file, "b"));
	assert_int_equal(agent_file_open(&file, fake_world_of(x.f)->fs, PATH, &why), ERR_MALFORMED);
	assert_int_equal(agent_file_open(&file, fake_world_of(x.f)->fs, "/none", &why), ERR_NOT_FOUND);
	end(&x);
}

/* At whatever operation the process dies or the disk is full: the old or the new file, never another one. */
static void a_kill_leaves_the_old_or_the_new_file(void **state)
{
	static const char before[] = "host=a@static\n";
	static const char after[] = "host=b@static\n";
	bool was_killed = true;

	for (size_t n = 0; was_killed; n++) {
		struct str_list list = {0};
		struct fixture x;
		const char *text;
		enum err e;

		begin(&x, before);
		make_list(&list, "b");
		fake_fs_kill_at(x.f, n);
		e = agent_file_save_list(x.file, &list, "static", false, NULL);
		was_killed = fake_fs_revive(x.f);
		text = fake_file_get(x.f, PATH);
		assert_true(!strcmp(text, before) || !strcmp(text, after));
		if (!was_killed) {
			assert_int_equal(e, ERR_OK);
			assert_true(n >= 3);
		}
		if (e) /* in memory nothing has changed either */
			assert_string_equal(agent_file_get(x.file, "host"), "a@static");
		str_list_deinit(&list);
		end(&x);
	}
}

/* What is longer than the agent reads would keep it from starting again. */
static void what_could_not_be_read_again_is_not_written(void **state)
{
	const size_t n = 1024 * 1024;
	CLEAN(mem_freep) char *text = mem_zalloc(n + 1);
	struct why why = WHY_NONE;
	struct fixture x;

	assert_non_null(text);
	memset(text, 'a', n);
	begin(&x, "a=1\n");
	assert_int_equal(agent_file_save_identity(x.file, "R", 5, "u", text, &why), ERR_TOO_BIG);
	assert_non_null(strstr(why.text, PATH));
	assert_string_equal(fake_file_get(x.f, PATH), "a=1\n");
	assert_null(agent_file_get(x.file, "R.name"));
	end(&x);
}

static void starts_are_counted(void **state)
{
	static const struct {
		const char *what;
		const char *before;
		enum err err;
		int64_t number;
		const char *after;
	} rows[] = {
		{"the first", "a=1\n", ERR_OK, 1, "a=1\nmuster.boot=1\n"},
		{"the next", "muster.boot=41\na=1\n", ERR_OK, 42, "muster.boot=42\na=1\n"},
		{"blanks at the end", "muster.boot=41  \n", ERR_OK, 42, "muster.boot=42\n"},
		{"blank is none", "muster.boot=\n", ERR_OK, 1, "muster.boot=1\n"},
		{"what is no number is left alone", "muster.boot=4x\n", ERR_INVALID, 0, "muster.boot=4x\n"},
		{"a negative one too", "muster.boot=-4\n", ERR_INVALID, 0, "muster.boot=-4\n"},
		{"at the end of the numbers", "muster.boot=9223372036854775807\n", ERR_INVALID, 0,
		 "muster.boot=9223372036854775807\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct why why = WHY_NONE;
		struct fixture x;
		int64_t number = -1;

		begin(&x, rows[i].before);
		check_row(&rows[i], agent_file_next_boot(x.file, &number, &why) == rows[i].err);
		check_row(&rows[i], number == rows[i].number);
		check_row(&rows[i], str_equal(fake_file_get(x.f, PATH), rows[i].after));
		check_row(&rows[i], !rows[i].err || strstr(why.text, KEY_BOOT));
		end(&x);
	}
}

/* Dying at any operation, and starting again: no number is given twice. */
static void no_number_is_given_twice(void **state)
{
	bool was_killed = true;

	for (size_t n = 0; was_killed; n++) {
		struct agent_file *again;
		int64_t number, next;
		struct fixture x;

		begin(&x, "muster.boot=7\n");
		fake_fs_kill_at(x.f, n);
		(void)!agent_file_next_boot(x.file, &number, NULL);
		was_killed = fake_fs_revive(x.f);
		assert_int_equal(agent_file_open(&again, fake_world_of(x.f)->fs, PATH, NULL), ERR_OK);
		assert_int_equal(agent_file_next_boot(again, &next, NULL), ERR_OK);
		assert_true(next > number && next >= 8);
		agent_file_free(again);
		end(&x);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(interval_rows),
		cmocka_unit_test(list_rows),
		cmocka_unit_test(list_and_interval_are_one_replacement),
		cmocka_unit_test(identity_is_kept),
		cmocka_unit_test(an_operators_edit_meanwhile_stays),
		cmocka_unit_test(a_damaged_file_is_reported_and_left_alone),
		cmocka_unit_test(a_kill_leaves_the_old_or_the_new_file),
		cmocka_unit_test(what_could_not_be_read_again_is_not_written),
		cmocka_unit_test(starts_are_counted),
		cmocka_unit_test(no_number_is_given_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
