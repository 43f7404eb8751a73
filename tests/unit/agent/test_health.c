#include "agent/health.h"

#include "agent_help.h"

#include <signal.h>
#include <time.h>

#include "net/world_uv.h"

struct asked {
	struct health_waiter waiter;
	struct world *world;
	enum health_result result;
	struct why sentence;
	unsigned n;
};

static void heard(struct health_waiter *w, enum health_result result, const char *sentence)
{
	struct asked *a = container_of(w, struct asked, waiter);

	a->result = result;
	why_set(&a->sentence, "%s", sentence);
	a->n++;
	world_uv_stop(a->world);
}

static struct asked asked_of(struct world *w)
{
	struct asked a = {.waiter.done = heard, .world = w};

	return a;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct health *health_make(struct world *w, const char *dir, const char *script, int64_t limit_s)
{
	CLEAN(mem_freep) char *path = path_join(dir, "script");
	struct health *h;

	if (script)
		folder_put(dir, "script", script, 0700);
	assert_int_equal(health_new(&h, w, NULL, path, limit_s), ERR_OK);
	return h;
}

static void exit_codes_have_a_meaning(void **state)
{
	static const struct {
		const char *what, *script; /* NULL: none */
		enum health_result result;
		const char *sentence;
	} rows[] = {
		{"0 is good", "#!/bin/sh\nexit 0\n", HEALTH_GOOD, "says yes"},
		{"1 is bad", "#!/bin/sh\nexit 1\n", HEALTH_BAD, "says no"},
		{"others say nothing", "#!/bin/sh\nexit 3\n", HEALTH_UNKNOWN, "exit code 3"},
		{"nor does a signal", "#!/bin/sh\nkill -9 $$\n", HEALTH_UNKNOWN, "signal 9"},
		{"nor does what it prints, or not reading", "#!/bin/sh\nread x\nseq 100000\necho bad >&2\n",
		 HEALTH_GOOD, "yes"},
		{"nor what it would do with our environment", "#!/bin/sh\n[ -z \"$HOME$MUSTER_TOKEN\" ]\n", HEALTH_GOOD,
		 "yes"},
		{"no program", "no program", HEALTH_UNKNOWN, "can't be started"},
		{"not there", NULL, HEALTH_UNKNOWN, "can't be started"},
	};

	setenv("MUSTER_TOKEN", "x", 1);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(folder_freep) char *dir = folder_new();
		struct asked a;
		struct world *w;
		struct health *h;

		assert_int_equal(world_uv_new(&w, NULL), ERR_OK);
		h = health_make(w, dir, rows[i].script, 60);
		assert_int_equal(health_last(h), HEALTH_UNKNOWN);
		a = asked_of(w);
		health_ask(h, &a.waiter);
		world_uv_run(w);
		check_row(&rows[i], a.n == 1 && a.result == rows[i].result);
		check_row(&rows[i], strstr(a.sentence.text, rows[i].sentence));
		check_row(&rows[i], health_last(h) == rows[i].result);
		health_free(h);
		world_uv_free(w);
	}
}

/* Is the process that the script has noted still there? */
static bool child_lives(const char *dir)
{
	CLEAN(mem_freep) char *text = folder_get(dir, "child");
	int pid = text ? atoi(text) : 0;

	assert_true(pid > 1);
	/* A killed one whose parent is gone stays a zombie until somebody waits for it. */
	for (int i = 0; i < 1000 && kill(pid, 0) == 0; i++) {
		CLEAN(mem_freep) char *path = mem_printf("/proc/%d/stat", pid);
		CLEAN(buf_deinit) struct buf b = {0};

		if (file_read(&fs_posix, path, 4096, &b, NULL) || strstr(buf_str(&b), ") Z"))
			return false;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	return kill(pid, 0) == 0;
}

#define FOREVER "#!/bin/sh\ncd $(dirname $0)\nsleep 1000 &\necho $! >child.part\nmv child.part child\nwait\n"

static void what_takes_too_long_is_killed_with_its_children(void **state)
{
	CLEAN(folder_freep) char *dir = folder_new();
	struct asked a;
	struct world *w;
	struct health *h;

	assert_int_equal(world_uv_new(&w, NULL), ERR_OK);
	h = health_make(w, dir, FOREVER, 1);
	a = asked_of(w);
	health_ask(h, &a.waiter);
	world_uv_run(w);
	assert_int_equal(a.result, HEALTH_UNKNOWN);
	assert_non_null(strstr(a.sentence.text, "longer than 1 s"));
	assert_false(child_lives(dir));
	health_free(h);
	world_uv_free(w);
}

static void wait_for_child(const char *dir)
{
	char *text = NULL;

	while (!(text = folder_get(dir, "child")))
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	mem_free(text);
}

static void stopping_does_not_wait_for_it(void **state)
{
	CLEAN(folder_freep) char *dir = folder_new();
	int64_t began = now_ms();
	struct asked a;
	struct world *w;
	struct health *h;

	assert_int_equal(world_uv_new(&w, NULL), ERR_OK);
	h = health_make(w, dir, FOREVER, 3600);
	a = asked_of(w);
	health_ask(h, &a.waiter);
	wait_for_child(dir);
	assert_null(health_free(h));
	assert_int_equal(a.n, 1);
	assert_non_null(strstr(a.sentence.text, "stopped"));
	world_uv_free(w);
	assert_false(child_lives(dir));
	assert_true(now_ms() - began < 60000);
}

static void who_asks_meanwhile_gets_the_same_result(void **state)
{
	CLEAN(folder_freep) char *dir = folder_new();
	CLEAN(mem_freep) char *count = NULL;
	struct asked a, b;
	struct world *w;
	struct health *h;

	assert_int_equal(world_uv_new(&w, NULL), ERR_OK);
	h = health_make(w, dir, "#!/bin/sh\necho run >>$(dirname $0)/count\nexit 1\n", 60);
	a = asked_of(w);
	b = asked_of(w);
	health_ask(h, NULL);
	health_ask(h, &a.waiter);
	health_ask(h, &b.waiter);
	while (!b.n)
		world_uv_run(w);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.result, HEALTH_BAD);
	assert_int_equal(b.result, HEALTH_BAD);
	count = folder_get(dir, "count");
	assert_string_equal(count, "run\n");
	health_free(h);
	world_uv_free(w);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(exit_codes_have_a_meaning),
		cmocka_unit_test(what_takes_too_long_is_killed_with_its_children),
		cmocka_unit_test(stopping_does_not_wait_for_it),
		cmocka_unit_test(who_asks_meanwhile_gets_the_same_result),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
