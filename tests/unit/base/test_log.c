#include "base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "check.h"
#include "failing_alloc.h"

struct heard {
	size_t n;
	enum log_level level;
	char line[8192];
};

static void hear(void *user, enum log_level level, const char *line)
{
	struct heard *heard = user;

	heard->n++;
	heard->level = level;
	assert_true(str_copy(heard->line, sizeof(heard->line), line));
}

static void a_line_is_a_sentence_and_pairs(void **state)
{
	struct heard heard = {0};
	struct log log = {.level = LOG_DEBUG, .write = hear, .user = &heard};

	log_info(&log, "link moved", KV_S("peer", "host-7"), KV_S("from", "handshake"), KV_S("to", "up"),
		 KV_S("reason", "hello accepted"));
	assert_string_equal(heard.line, "link moved peer=host-7 from=handshake to=up reason=\"hello accepted\"");
	assert_int_equal(heard.level, LOG_INFO);
	log_error(&log, "numbers", KV_I("low", INT64_MIN), KV_U("high", UINT64_MAX), KV_B("yes", true),
		  KV_B("no", false));
	assert_string_equal(heard.line, "numbers low=-9223372036854775808 high=18446744073709551615 yes=true no=false");
	assert_int_equal(heard.level, LOG_ERROR);
	log_debug(&log, "nothing to add");
	assert_string_equal(heard.line, "nothing to add");
	log_line(&log, LOG_WARN, "no pairs at all", NULL);
	assert_string_equal(heard.line, "no pairs at all");
	assert_int_equal(heard.level, LOG_WARN);
	log.name = "server-a";
	log_warn(&log, "stopping");
	assert_string_equal(heard.line, "server-a: stopping");
	assert_int_equal(heard.n, 5);
}

static void values_are_quoted_when_they_need_it(void **state)
{
	static const struct {
		const char *what;
		const char *value, *expected;
	} rows[] = {
		{"a plain value", "10.0.0.2:8250", "10.0.0.2:8250"},
		{"an empty value", "", "\"\""},
		{"no value", NULL, "-"},
		{"a value that looks like no value", "-", "\"-\""},
		{"a blank", "a b", "\"a b\""},
		{"what looks like another pair", "a=b", "\"a=b\""},
		{"quotes and backslashes", "say \"\\\"", "\"say \\\"\\\\\\\"\""},
		{"a line end can't start a new line", "a\nerror: fire", "\"a\\nerror: fire\""},
		{"tab and return", "\t\r", "\"\\t\\r\""},
		{"an escape sequence", "\x1b[2J", "\"\\x1b[2J\""},
		{"delete", "\x7f", "\"\\x7f\""},
		{"an upper control character", "\xc2\x9b", "\"\\x9b\""},
		{"letters of UTF-8 stay", "\xc3\xa9\xf0\x9f\x98\x80", "\"\xc3\xa9\xf0\x9f\x98\x80\""},
		{"stray bytes", "a\xff\xc3", "\"a\\xff\\xc3\""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct heard heard = {0};
		struct log log = {.level = LOG_INFO, .write = hear, .user = &heard};
		char expected[64];

		log_info(&log, "x", KV_S("v", rows[i].value));
		snprintf(expected, sizeof(expected), "x v=%s", rows[i].expected);
		check_row(&rows[i], strcmp(heard.line, expected) == 0);
	}
}

static void a_sentence_stays_on_its_line(void **state)
{
	struct heard heard = {0};
	struct log log = {.level = LOG_INFO, .name = "a\nb", .write = hear, .user = &heard};

	log_info(&log, "one\ntwo \"three\"");
	assert_string_equal(heard.line, "a\\nb: one\\ntwo \"three\"");
}

static void only_what_was_asked_for_is_said(void **state)
{
	struct heard heard = {0};
	struct log log = {.level = LOG_WARN, .write = hear, .user = &heard};

	log_info(&log, "not heard");
	log_debug(&log, "not heard");
	assert_int_equal(heard.n, 0);
	log_warn(&log, "heard");
	log_error(&log, "heard");
	assert_int_equal(heard.n, 2);
	log_info(NULL, "nobody there", KV_I("n", 1));
	log = (struct log){.level = LOG_DEBUG};
	log_info(&log, "nobody there");
}

static void a_long_line_is_cut_and_says_so(void **state)
{
	struct heard heard = {0};
	struct log log = {.level = LOG_INFO, .write = hear, .user = &heard};
	CLEAN(mem_freep) char *text = mem_zalloc(20001);

	for (size_t i = 0; i < 20000; i += 2)
		memcpy(text + i, "\xc3\xa9", 2);
	log_info(&log, "long", KV_S("text", text), KV_S("after", "lost"));
	assert_true(str_starts(heard.line, "long text=\"\xc3\xa9"));
	assert_true(str_ends(heard.line, "\xc3\xa9..."));
	assert_true(str_is_utf8(heard.line, strlen(heard.line)));
	assert_in_range(strlen(heard.line), 3900, 4000);
}

static void out_of_memory_can_be_said(void **state)
{
	struct heard heard = {0};
	struct log log = {.level = LOG_INFO, .write = hear, .user = &heard};

	failing_alloc_arm_from(0);
	log_error(&log, "out of memory", KV_S("what", "a b"));
	assert_false(failing_alloc_disarm());
	assert_string_equal(heard.line, "out of memory what=\"a b\"");
}

static void levels_have_names(void **state)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	enum log_level level = LOG_DEBUG;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_string_equal(log_level_name((enum log_level)i), names[i]);
		assert_true(log_level_from_text(names[i], &level));
		assert_int_equal(level, i);
	}
	assert_true(log_level_from_text("WARN", &level));
	assert_int_equal(level, LOG_WARN);
	assert_false(log_level_from_text("loud", &level));
	assert_false(log_level_from_text("", &level));
	assert_int_equal(level, LOG_WARN);
	assert_string_equal(log_level_name((enum log_level)9), "unknown");
}

/* What `say` puts on stderr. */
static void catch_stderr(struct buf *out, void (*say)(void))
{
	char path[] = "/tmp/muster-test-log-XXXXXX";
	int fd = mkstemp(path);
	int saved = dup(STDERR_FILENO);
	char piece[4096];
	ssize_t n;

	assert_true(fd >= 0 && saved >= 0);
	unlink(path);
	/* Appending, as to a log: else two writers of one file would overwrite each other. */
	assert_return_code(fcntl(fd, F_SETFL, O_APPEND), 0);
	dup2(fd, STDERR_FILENO);
	say();
	dup2(saved, STDERR_FILENO);
	close(saved);
	lseek(fd, 0, SEEK_SET);
	while ((n = read(fd, piece, sizeof(piece))) > 0)
		assert_int_equal(buf_put(out, piece, (size_t)n), ERR_OK);
	close(fd);
}

static void say_plainly(void)
{
	struct log log;

	log_init_stderr(&log, LOG_INFO, false);
	log_warn(&log, "server not reachable", KV_S("server", "10.0.0.2"));
	log_debug(&log, "not said");
}

static void say_with_time(void)
{
	struct log log;

	log_init_stderr(&log, LOG_DEBUG, true);
	log_debug(&log, "ping");
}

static void stderr_gets_level_and_time(void **state)
{
	CLEAN(buf_deinit) struct buf plain = {0};
	CLEAN(buf_deinit) struct buf timed = {0};
	unsigned year, month, day, hour, minute, second, ms;
	int used = 0;

	catch_stderr(&plain, say_plainly);
	assert_string_equal(buf_str(&plain), "warn: server not reachable server=10.0.0.2\n");
	catch_stderr(&timed, say_with_time);
	assert_int_equal(sscanf(buf_str(&timed), "%4u-%2u-%2uT%2u:%2u:%2u.%3uZ %n", &year, &month, &day, &hour, &minute,
				&second, &ms, &used),
			 7);
	assert_string_equal(buf_str(&timed) + used, "debug: ping\n");
}

#define N_THREADS 4
#define N_LINES 300

static void *chatter(void *user)
{
	struct log log;
	char text[200];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_init_stderr(&log, LOG_INFO, false);
	for (int i = 0; i < N_LINES; i++)
		log_info(&log, "thread speaks", KV_S("text", text));
	return NULL;
}

static void say_all_at_once(void)
{
	pthread_t threads[N_THREADS];

	for (size_t i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, chatter, NULL), 0);
	for (size_t i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void lines_of_threads_do_not_mix(void **state)
{
	CLEAN(buf_deinit) struct buf out = {0};
	CLEAN(str_list_deinit) struct str_list lines = {0};

	catch_stderr(&out, say_all_at_once);
	assert_int_equal(str_list_split(&lines, buf_str(&out), '\n'), ERR_OK);
	assert_int_equal(lines.n, N_THREADS * N_LINES + 1);
	for (size_t i = 0; i < N_THREADS * N_LINES; i++)
		assert_string_equal(lines.items[i], lines.items[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_is_a_sentence_and_pairs),
		cmocka_unit_test(values_are_quoted_when_they_need_it),
		cmocka_unit_test(a_sentence_stays_on_its_line),
		cmocka_unit_test(only_what_was_asked_for_is_said),
		cmocka_unit_test(a_long_line_is_cut_and_says_so),
		cmocka_unit_test(out_of_memory_can_be_said),
		cmocka_unit_test(levels_have_names),
		cmocka_unit_test(stderr_gets_level_and_time),
		cmocka_unit_test(lines_of_threads_do_not_mix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
