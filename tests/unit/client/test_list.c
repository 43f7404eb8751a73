/* Received lists: kept before they are answered, and what is of no use changes nothing. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"

static void a_list_is_kept_before_it_is_answered(void **state)
{
	struct bench b;
	int64_t seq;

	bench_up(&b, M1 "@static", NULL);
	seq = bench_send_list(b.m1, &(struct list_fill){.servers = M2 "," M1, .algorithm = "static", .interval = 60});
	bench_run(&b, 10);
	assert_int_equal(fake_server_answer(b.m1, seq)->batch.elements[0].type, MSG_SETUP_MS_LIST_ANSWER);
	assert_true(bench_answer_result(b.m1, seq));
	assert_string_equal(bench_get(&b, "host"), M2 "," M1 "@static");
	assert_string_equal(bench_get(&b, KEY_HOST_LASTGOOD), M1 "@static");
	assert_string_equal(bench_get(&b, KEY_CHECK_INTERVAL), "60");
	assert_string_equal(bench_connected(&b), M1); /* it stays where it is */
	assert_int_equal(b.m1->n_links, 1);
	bench_teardown(&b);
}

static void the_same_list_again_writes_nothing(void **state)
{
	const struct list_fill list = {.servers = M1 "," M2, .algorithm = "static", .interval = 60};
	struct bench b;
	int64_t seq;
	size_t n;

	bench_up(&b, M1, NULL);
	bench_send_list(b.m1, &list);
	bench_run(&b, 20000);
	n = fake_file_writes(b.f);
	seq = bench_send_list(b.m1, &list);
	bench_run(&b, 10);
	assert_true(bench_answer_result(b.m1, seq));
	b.m1->interval = 60;
	fake_server_hang_up(b.m1);
	bench_run(&b, 2000);
	assert_int_equal(b.m1->n_links, 2);
	assert_int_equal(fake_file_writes(b.f), n);
	bench_teardown(&b);
}

static void unusable_lists_keep_the_last_good_one(void **state)
{
	static char long_list[300 * 12];
	static const struct {
		const char *what;
		const char *servers;
		const char *algorithm;
		const char *reason;
	} rows[] = {
		{"no entry is an address", "[::1,a b", "static", "no usable server"},
		{"an entry would be read back as two parts", "a@b," M1, "static", "can't be stored"},
		{"an algorithm would be read back as two parts", M1, "sta@tic", "can't be stored"},
		{"too many", long_list, "static", "longer than 256"},
	};

	for (size_t i = 0, at = 0; i < 300; i++)
		at += (size_t)snprintf(long_list + at, sizeof(long_list) - at, "%s10.1.%zu.%zu", i ? "," : "", i / 100,
				       i % 100);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;
		int64_t seq;

		bench_up(&b, M1 "," M2 "@static", NULL);
		seq = bench_send_list(b.m1,
				      &(struct list_fill){.servers = rows[i].servers, .algorithm = rows[i].algorithm});
		bench_run(&b, 10);
		check_row(&rows[i], !bench_answer_result(b.m1, seq));
		check_row(&rows[i], strstr(bench_answer_details(b.m1, seq), rows[i].reason));
		check_row(&rows[i], !strcmp(bench_get(&b, "host"), M1 "," M2 "@static"));
		check_row(&rows[i], bench_look(&b).list->n == 2);
		check_row(&rows[i], bench_look(&b).state == AGENT_UP);
		bench_teardown(&b);
	}
}

static void an_empty_list_or_no_algorithm_keeps_the_list(void **state)
{
	struct bench b;
	int64_t seq;

	bench_up(&b, M1 "@static", NULL);
	seq = bench_send_list(b.m1, &(struct list_fill){.servers = M2});
	bench_run(&b, 10);
	assert_true(bench_answer_result(b.m1, seq));
	assert_string_equal(bench_get(&b, "host"), M1 "@static");
	bench_teardown(&b);
}

static void a_full_disk_is_answered_and_costs_no_link(void **state)
{
	struct bench b;
	int64_t seq;

	bench_up(&b, M1 "@static", NULL);
	fake_fs_kill_at(b.f, 0);
	seq = bench_send_list(b.m1, &(struct list_fill){.servers = M2 "," M1, .algorithm = "static"});
	bench_run(&b, 10);
	assert_false(bench_answer_result(b.m1, seq));
	assert_non_null(strstr(bench_answer_details(b.m1, seq), "no space"));
	assert_string_equal(bench_look(&b).preferred, M1);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	/* A new process, another host id, an interval: all in memory then. */
	b.m1->host_id = 9;
	b.m1->interval = 30;
	bench_remake(&b);
	bench_start(&b);
	bench_run(&b, 100);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	assert_int_equal(bench_look(&b).host_id, 9);
	assert_int_equal(bench_look(&b).interval_s, 30);
	fake_fs_revive(b.f);
	seq = bench_send_list(b.m1, &(struct list_fill){.servers = M2 "," M1, .algorithm = "static"});
	bench_run(&b, 10);
	assert_true(bench_answer_result(b.m1, seq));
	assert_string_equal(bench_get(&b, "host"), M2 "," M1 "@static");
	bench_teardown(&b);
}

static void a_ready_brings_a_list_too(void **state)
{
	struct bench b;

	bench_setup(&b, M1, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	bench_list(b.m1, M1 "," M2 "," M3, "roundrobin");
	b.m1->interval = 20;
	bench_start(&b);
	bench_run(&b, 100);
	assert_string_equal(bench_get(&b, "host"), M1 "," M2 "," M3 "@roundrobin");
	assert_int_equal(bench_look(&b).interval_s, 20);
	assert_string_equal(bench_look(&b).algorithm, "roundrobin");
	bench_teardown(&b);
}

static void absent_avoid_lists_clear(void **state)
{
	struct bench b;

	bench_up(&b, M1, NULL);
	bench_send_list(b.m1, &(struct list_fill){.avoid = M2 "," M3});
	bench_run(&b, 10);
	assert_int_equal(bench_look(&b).avoid->n, 2);
	fake_server_ask_text(b.m1, FLAG_STOP_ON_ERROR,
			     "[{\"org.apache.cloudstack.agent.lb.SetupMSListCommand\":{\"contextMap\":{}}}]");
	bench_run(&b, 10);
	assert_int_equal(bench_look(&b).avoid->n, 0);
	bench_teardown(&b);
}

/* Killed at any operation while a list comes in: what starts again is on the old or the new list. */
static void a_kill_while_a_list_comes_in(void **state)
{
	bool was_killed = true;

	for (size_t n = 0; was_killed; n++) {
		struct bench b;
		const char *host;

		bench_up(&b, M1 "@static", NULL);
		fake_fs_kill_at(b.f, n);
		bench_send_list(b.m1,
				&(struct list_fill){.servers = M2 "," M1, .algorithm = "roundrobin", .interval = 60});
		bench_run(&b, 10);
		was_killed = fake_fs_revive(b.f);
		bench_remake(&b);
		host = bench_get(&b, "host");
		assert_true(!strcmp(host, M1 "@static") || !strcmp(host, M2 "," M1 "@roundrobin"));
		bench_start(&b);
		bench_run(&b, 100);
		assert_int_equal(bench_look(&b).state, AGENT_UP);
		bench_teardown(&b);
	}
}

/* Each candidate is compared with each of them: hundreds of thousands would hold the agent up. */
static void endless_avoid_lists_are_not_used(void **state)
{
	static char long_list[300 * 12];
	struct bench b;
	int64_t seq;

	for (size_t i = 0, at = 0; i < 300; i++)
		at += (size_t)snprintf(long_list + at, sizeof(long_list) - at, "%s10.1.%zu.%zu", i ? "," : "", i / 100,
				       i % 100);
	bench_up(&b, M1, NULL);
	bench_send_list(b.m1, &(struct list_fill){.avoid = M2});
	seq = bench_send_list(b.m1, &(struct list_fill){.avoid = long_list});
	bench_run(&b, 10);
	assert_true(bench_answer_result(b.m1, seq));
	assert_int_equal(bench_look(&b).avoid->n, 1);
	assert_string_equal(bench_look(&b).avoid->items[0], M2);
	bench_teardown(&b);
}

/* Seed 20198: a list that had been held up by the network came on the link that was being left, over a newer one. */
static void a_server_that_is_being_left_changes_no_list(void **state)
{
	struct bench b;
	int64_t seq;

	bench_up(&b, M1 "," M2 "@static", NULL);
	bench_migrate(b.m1, M1);
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), M2);
	assert_int_equal(b.m1->n_open, 1);
	seq = bench_send_list(b.m1, &(struct list_fill){.servers = M3, .avoid = M2, .algorithm = "static"});
	bench_run(&b, 100);
	assert_false(bench_answer_result(b.m1, seq));
	assert_string_equal(bench_answer_details(b.m1, seq), "this agent is on another server");
	assert_string_equal(bench_get(&b, "host"), M1 "," M2 "@static");
	/* Of two requests to go the second is done already. */
	seq = bench_migrate(b.m1, M1 "," M2);
	bench_run(&b, 100);
	assert_true(bench_answer_result(b.m1, seq));
	assert_int_equal(bench_look(&b).avoid->n, 0);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_that_is_being_left_changes_no_list),
		cmocka_unit_test(a_list_is_kept_before_it_is_answered),
		cmocka_unit_test(the_same_list_again_writes_nothing),
		cmocka_unit_test(unusable_lists_keep_the_last_good_one),
		cmocka_unit_test(an_empty_list_or_no_algorithm_keeps_the_list),
		cmocka_unit_test(a_full_disk_is_answered_and_costs_no_link),
		cmocka_unit_test(a_ready_brings_a_list_too),
		cmocka_unit_test(absent_avoid_lists_clear),
		cmocka_unit_test(a_kill_while_a_list_comes_in),
		cmocka_unit_test(endless_avoid_lists_are_not_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
