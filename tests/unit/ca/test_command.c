#include "ca/command.h"

#include "../pki/pki_help.h"

#include <sys/stat.h>
#include <time.h>

static void splitting(void **state)
{
	static const struct {
		const char *what, *line, *words; /* joined by '|'; NULL: refused */
		const char *why;
	} rows[] = {
		{"one word", "/bin/true", "/bin/true", NULL},
		{"blanks and tabs separate, however many", "  /bin/x \t a  b ", "/bin/x|a|b", NULL},
		{"quotes keep blanks", "/bin/x \"a b\" c", "/bin/x|a b|c", NULL},
		{"quotes make an empty word", "/bin/x \"\"", "/bin/x|", NULL},
		{"a quoted quote and backslash", "\"a\\\"b\\\\c\"", "a\"b\\c", NULL},
		{"another backslash is itself", "a\\b \"c\\d\"", "a\\b|c\\d", NULL},
		{"nothing of a shell means anything", "/x $HOME `id` *;|>y 'a b'", "/x|$HOME|`id`|*;|>y|'a|b'", NULL},
		{"an open quote", "/x \"a", NULL, "not closed"},
		{"a quote in the middle", "/x a\"b\"", NULL, "middle of a word"},
		{"something after a quote", "/x \"a\"b", NULL, "middle of a word"},
		{"nothing", " ", NULL, "no command"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(str_list_deinit) struct str_list words = {0};
		CLEAN(mem_freep) char *joined = NULL;
		struct why why = WHY_NONE;
		enum err e = command_split(&words, rows[i].line, &why);

		joined = str_list_join(&words, "|");
		if (!e != !!rows[i].words || (rows[i].words && !str_equal(joined, rows[i].words)) ||
		    (rows[i].why && !strstr(why.text, rows[i].why)))
			fail_msg("%s: %s, %s", rows[i].what, joined, why.text);
	}
}

static void which_programs(void **state)
{
	CLEAN(folder_freep) char *dir = openssl_folder();
	CLEAN(mem_freep) char *file = path_join(dir, "x");
	static const struct {
		const char *what;
		unsigned mode;
		const char *why; /* NULL: fine */
	} rows[] = {
		{"ours", 0700, NULL},
		{"everybody may read and run it", 0755, NULL},
		{"the group may change it", 0770, "chmod go-w"},
		{"everybody may change it", 0707, "chmod go-w"},
	};
	struct why why = WHY_NONE;

	(void)state;
	put_file(dir, "x", "#!/bin/sh\n");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(chmod(file, rows[i].mode), 0);
		check_row(&rows[i], (command_check(file, &why) == ERR_OK) == !rows[i].why);
		if (rows[i].why)
			check_row(&rows[i], strstr(why.text, rows[i].why) != NULL);
	}
	assert_int_equal(command_check("bin/true", &why), ERR_INVALID);
	assert_non_null(strstr(why.text, "slash"));
	assert_int_equal(command_check(dir, &why), ERR_INVALID);
	assert_non_null(strstr(why.text, "not a file"));
	assert_int_equal(command_check("/nowhere/x", &why), ERR_INVALID);
}

static void running(void **state)
{
	static const struct {
		const char *what, *script;
		int64_t limit_ms;
		enum err e;
		const char *output; /* NULL: whatever */
		const char *why;
	} rows[] = {
		{"input comes on standard input", "cat", 60000, ERR_OK, "the input", NULL},
		{"and can be opened by name", "cat /dev/stdin", 60000, ERR_OK, "the input", NULL},
		{"it need not be read", "echo x", 60000, ERR_OK, "x\n", NULL},
		{"the environment is what was given", "echo $MUSTER_ID-${HOME-none}-${MARK-none}", 60000, ERR_OK,
		 "7-none-none\n", NULL},
		{"words are arguments", "echo \"$1\"", 60000, ERR_OK, "an argument\n", NULL},
		{"an exit code, with its last word", "echo first >&2; printf 'no such\\trole\\n\\n' >&2; exit 3", 60000,
		 ERR_REFUSED, NULL, "exit code 3: no such?role"},
		{"an exit code without a word", "exit 1", 60000, ERR_REFUSED, NULL, "exit code 1"},
		{"a signal", "kill -9 $$", 60000, ERR_REFUSED, NULL, "signal 9"},
		{"an endless sleep", "sleep 1000", 200, ERR_TIMEOUT, NULL, "did not end within 1 s"},
		{"a sleep of a child", "sleep 1000 & wait", 200, ERR_TIMEOUT, NULL, "did not end"},
		{"it ignores SIGTERM", "trap '' TERM INT HUP; while :; do :; done", 200, ERR_TIMEOUT, NULL, "killed"},
		{"it closes its output and stays", "exec >&- 2>&-; sleep 1000", 200, ERR_TIMEOUT, NULL, "did not end"},
		{"it talks for ever", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", 60000,
		 ERR_TOO_BIG, NULL, "more than 131072 bytes"},
		{"it complains for ever", "while :; do echo xxxxxxxxxxxxxxxxxxxxx >&2; done", 200, ERR_TIMEOUT, NULL,
		 "did not end"},
		{"it leaves something behind that holds its output", "echo good; sleep 1000 & exit 0", 60000, ERR_OK,
		 "good\n", NULL},
	};
	CLEAN(folder_freep) char *dir = openssl_folder();
	CLEAN(mem_freep) char *file = path_join(dir, "x");
	CLEAN(str_list_deinit) struct str_list words = LIST_OF(file, "an argument");
	CLEAN(str_list_deinit) struct str_list env = LIST_OF("MUSTER_ID=7");

	(void)state;
	assert_int_equal(setenv("MARK", "inherited", 1), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(mem_freep) char *script = mem_printf("#!/bin/sh\n%s\n", rows[i].script);
		CLEAN(buf_deinit) struct buf out = {0};
		struct command c = {.words = &words, .env = &env, .input = "the input", .limit_ms = rows[i].limit_ms};
		struct why why = WHY_NONE;
		enum err e;

		put_file(dir, "x", script);
		assert_int_equal(chmod(file, 0700), 0);
		e = command_run(&out, &c, &why);
		if (e != rows[i].e || (rows[i].output && !str_equal(buf_str(&out), rows[i].output)) ||
		    (rows[i].why && !strstr(why.text, rows[i].why)))
			fail_msg("%s: %s: %s: %s", rows[i].what, err_name(e), why.text, buf_str(&out));
		check_row(&rows[i], out.len <= COMMAND_OUTPUT_MAX);
	}
}

/* What the command started is gone with it, also when it was killed. */
static void nothing_is_left(void **state)
{
	CLEAN(folder_freep) char *dir = openssl_folder();
	CLEAN(mem_freep) char *file = path_join(dir, "x");
	CLEAN(mem_freep) char *pid_file = path_join(dir, "pid");
	CLEAN(mem_freep) char *script = mem_printf("#!/bin/sh\nsleep 1000 &\necho $! >%s\nwait\n", pid_file);
	CLEAN(str_list_deinit) struct str_list words = LIST_OF(file);
	CLEAN(buf_deinit) struct buf out = {0}, text = {0};
	struct str_list env = {0};
	struct command c = {.words = &words, .env = &env, .input = "", .limit_ms = 3000};
	CLEAN(mem_freep) char *stat_path = NULL;
	const struct timespec moment = {.tv_nsec = 10000000};
	bool gone = false;

	(void)state;
	put_file(dir, "x", script);
	assert_int_equal(chmod(file, 0700), 0);
	assert_int_equal(command_run(&out, &c, NULL), ERR_TIMEOUT);
	assert_int_equal(file_read(&fs_posix, pid_file, 100, &text, NULL), ERR_OK);
	stat_path = mem_printf("/proc/%d/stat", atoi(buf_str(&text)));
	/* Somebody else waits for it: gone, or a zombie. */
	for (int i = 0; i < 3000 && !gone; i++) {
		CLEAN(buf_deinit) struct buf line = {0};

		gone = file_read(&fs_posix, stat_path, 4096, &line, NULL) != ERR_OK || strstr(buf_str(&line), ") Z ");
		if (!gone)
			nanosleep(&moment, NULL);
	}
	assert_true(gone);
}

static void a_program_that_is_gone(void **state)
{
	CLEAN(str_list_deinit) struct str_list words = LIST_OF("/nowhere/x");
	struct str_list env = {0};
	struct command c = {.words = &words, .env = &env, .input = "", .limit_ms = 1000};
	struct buf out = {0};
	struct why why = WHY_NONE;

	(void)state;
	assert_int_equal(command_run(&out, &c, &why), ERR_IO);
	assert_non_null(strstr(why.text, "/nowhere/x can't be started"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(splitting),       cmocka_unit_test(which_programs),         cmocka_unit_test(running),
		cmocka_unit_test(nothing_is_left), cmocka_unit_test(a_program_that_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
