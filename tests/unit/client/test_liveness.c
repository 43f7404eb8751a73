/* A silent link: suspect, a candidate elsewhere, then committed or given up (decision 26). */
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"

static void up_with_heartbeats(struct bench *b)
{
	bench_setup(b, M1 "," M2 "," M3, NULL);
	b->m1 = fake_server_new(b->f, M1, FAKE_MUSTER);
	b->m2 = fake_server_new(b->f, M2, FAKE_MUSTER);
	b->m1->heartbeat_ms = b->m2->heartbeat_ms = 1000;
	bench_start(b);
	bench_run(b, 100);
	assert_string_equal(bench_connected(b), M1);
}

static void a_quiet_link_stays(void **state)
{
	struct bench b;

	up_with_heartbeats(&b);
	bench_run(&b, 3600000);
	assert_int_equal(fake_server_count(b.m1, MSG_STARTUP_ROUTING), 1);
	assert_int_equal(b.m2->n_links, 0);
	assert_string_equal(bench_connected(&b), M1);
	bench_teardown(&b);
}

static void a_black_hole_is_noticed_within_six_seconds(void **state)
{
	struct bench b;

	up_with_heartbeats(&b);
	bench_run(&b, 10000);
	fake_cut(b.f, M1, true);
	bench_run(&b, 1400);
	assert_int_equal(b.m2->n_links, 0);
	bench_run(&b, 2600);
	assert_string_equal(bench_connected(&b), M2);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	bench_teardown(&b);
}

static void one_that_speaks_again_is_kept(void **state)
{
	struct bench b;

	up_with_heartbeats(&b);
	b.m2->kind = FAKE_MUTE;
	bench_run(&b, 10000);
	fake_cut(b.f, M1, true);
	bench_run(&b, 4000);
	assert_true(bench_look(&b).moving);
	assert_string_equal(bench_connected(&b), M1);
	fake_cut(b.f, M1, false);
	bench_run(&b, 5000);
	assert_false(bench_look(&b).moving);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(b.m1->n_links, 1);
	bench_teardown(&b);
}

/* The candidate completes TLS in the very moment in which the old link is heard again. */
static void a_candidate_is_dropped_when_the_link_is_back_before_it(void **state)
{
	struct bench b;

	up_with_heartbeats(&b);
	bench_run(&b, 10000);
	fake_cut(b.f, M1, true);
	fake_cut(b.f, M2, true);
	bench_run(&b, 3600); /* suspect, M2 is being dialled */
	assert_true(bench_look(&b).moving);
	fake_cut(b.f, M1, false);
	bench_run(&b, 1);
	fake_cut(b.f, M2, false);
	bench_run(&b, 5000);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(fake_server_count(b.m2, MSG_STARTUP_ROUTING), 0);
	bench_teardown(&b);
}

/* The candidate has sent its startup already and hangs. */
static void a_link_that_is_back_is_kept_beside_one_that_starts(void **state)
{
	const struct candidate *c;
	struct bench b;

	up_with_heartbeats(&b);
	b.m2->answers_startup = false;
	bench_run(&b, 10000);
	fake_cut(b.f, M1, true);
	bench_run(&b, 4000);
	assert_int_equal(fake_server_count(b.m2, MSG_STARTUP_ROUTING), 1);
	fake_cut(b.f, M1, false);
	bench_run(&b, 2000);
	assert_false(bench_look(&b).moving);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(b.m2->n_open, 0);
	/* M2 may have become the owner. */
	assert_int_equal(fake_server_count(b.m1, MSG_STARTUP_ROUTING), 2);
	agent_explain(b.agent, &c);
	assert_int_equal(c[0].last_error, ERR_OK);
	bench_teardown(&b);
}

/* Silence that the agent slept through is nobody's, in the middle of a startup too. */
static void a_startup_that_was_slept_through_is_not_slow(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "," M2, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m2 = fake_server_new(b.f, M2, FAKE_MUSTER);
	b.m1->answers_startup = false;
	bench_start(&b);
	bench_run(&b, 1000);
	fake_world_sleep(b.f, 20000);
	bench_run(&b, 5000);
	assert_int_equal(b.m2->n_links, 0);
	bench_run(&b, 6000);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

static void with_nowhere_to_go_it_is_dead_after_ten_seconds(void **state)
{
	struct bench b;

	up_with_heartbeats(&b);
	fake_server_stop(b.m2);
	bench_run(&b, 10000);
	fake_cut(b.f, M1, true);
	bench_run(&b, 8800);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	bench_run(&b, 1500);
	assert_int_not_equal(bench_look(&b).state, AGENT_UP);
	fake_cut(b.f, M1, false);
	bench_run(&b, 35000);
	assert_string_equal(bench_connected(&b), M1);
	bench_teardown(&b);
}

static void a_suspended_agent_gives_the_server_a_chance(void **state)
{
	struct bench b;

	up_with_heartbeats(&b);
	bench_run(&b, 10000);
	fake_world_sleep(b.f, 3600000);
	bench_run(&b, 10000);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(fake_server_count(b.m1, MSG_STARTUP_ROUTING), 1);
	bench_teardown(&b);
}

static void cloudstack_servers_are_not_judged_by_silence(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "," M2, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_CLOUDSTACK);
	b.m1->heartbeat_ms = 0;
	bench_start(&b);
	bench_run(&b, 100);
	fake_server_ask_text(b.m1, 0,
			     "[{\"com.cloud.agent.api.ReadyCommand\":{\"hostId\":7,\"musterHeartbeatMs\":1000}}]");
	bench_run(&b, 59000);
	assert_string_equal(bench_connected(&b), M1);
	assert_false(bench_look(&b).moving);
	bench_teardown(&b);
}

/* ---- without heartbeats: the ping deadline ---- */

static void up_at_cloudstack(struct bench *b)
{
	bench_setup(b, M1 "," M2, NULL);
	b->m1 = fake_server_new(b->f, M1, FAKE_CLOUDSTACK);
	b->m2 = fake_server_new(b->f, M2, FAKE_CLOUDSTACK);
	b->m1->ping_s = b->m2->ping_s = 60;
	bench_start(b);
	bench_run(b, 100);
	assert_string_equal(bench_connected(b), M1);
}

/* A process that is stopped: its kernel still takes everything. */
static void a_hung_cloudstack_server_is_left_after_the_deadline(void **state)
{
	struct bench b;

	up_at_cloudstack(&b);
	b.m1->answers_pings = false;
	bench_run(&b, 69800);
	assert_int_equal(b.m2->n_links, 0);
	assert_int_equal(fake_server_count(b.m1, MSG_PING), 1);
	bench_run(&b, 500);
	/* Asked once more, and the candidate has TLS: the reference's order, one link of a host at a time. */
	assert_int_equal(fake_server_count(b.m1, MSG_PING), 2);
	assert_string_equal(bench_connected(&b), M2);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	assert_int_equal(b.m1->n_open, 0);
	bench_teardown(&b);
}

static void one_that_answers_late_is_kept(void **state)
{
	struct bench b;

	up_at_cloudstack(&b);
	b.m1->answers_pings = false;
	b.m2->kind = FAKE_MUTE; /* the candidate takes its time */
	bench_run(&b, 71000);
	assert_true(bench_look(&b).moving);
	assert_int_equal(b.m1->n_open, 1);
	b.m1->answers_pings = true;
	agent_ping_now(b.agent);
	bench_run(&b, 1100);
	assert_false(bench_look(&b).moving);
	assert_string_equal(bench_connected(&b), M1);
	bench_run(&b, 600000);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(b.m1->n_links, 1);
	bench_teardown(&b);
}

/* It is busy, not hung: anything that comes from it shows that. */
static void a_command_is_a_sign_of_life(void **state)
{
	struct bench b;

	up_at_cloudstack(&b);
	b.m1->answers_pings = false;
	bench_run(&b, 65000);
	fake_server_ask_text(b.m1, 0, "[{\"com.cloud.agent.api.CheckHealthCommand\":{}}]");
	bench_run(&b, 30000);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(b.m2->n_links, 0);
	/* And the next ping has its own deadline. */
	bench_run(&b, 36000);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

static void the_deadline_can_be_switched_off(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "," M2, NULL);
	b.params.ping_deadline_ms = 0;
	bench_remake(&b);
	b.m1 = fake_server_new(b.f, M1, FAKE_CLOUDSTACK);
	b.m2 = fake_server_new(b.f, M2, FAKE_CLOUDSTACK);
	bench_start(&b);
	bench_run(&b, 100);
	b.m1->answers_pings = false;
	bench_run(&b, 300000);
	assert_string_equal(bench_connected(&b), M1);
	bench_teardown(&b);
}

static void a_suspended_agent_gives_cloudstack_a_chance_too(void **state)
{
	struct bench b;

	up_at_cloudstack(&b);
	bench_run(&b, 59900);
	fake_world_sleep(b.f, 101);
	fake_world_sleep(b.f, 3600000); /* the ping is on its way */
	bench_run(&b, 20000);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(b.m2->n_links, 0);
	bench_teardown(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_quiet_link_stays),
		cmocka_unit_test(a_black_hole_is_noticed_within_six_seconds),
		cmocka_unit_test(one_that_speaks_again_is_kept),
		cmocka_unit_test(a_candidate_is_dropped_when_the_link_is_back_before_it),
		cmocka_unit_test(with_nowhere_to_go_it_is_dead_after_ten_seconds),
		cmocka_unit_test(a_suspended_agent_gives_the_server_a_chance),
		cmocka_unit_test(cloudstack_servers_are_not_judged_by_silence),
		cmocka_unit_test(a_hung_cloudstack_server_is_left_after_the_deadline),
		cmocka_unit_test(one_that_answers_late_is_kept),
		cmocka_unit_test(a_command_is_a_sign_of_life),
		cmocka_unit_test(the_deadline_can_be_switched_off),
		cmocka_unit_test(a_suspended_agent_gives_cloudstack_a_chance_too),
		cmocka_unit_test(a_link_that_is_back_is_kept_beside_one_that_starts),
		cmocka_unit_test(a_startup_that_was_slept_through_is_not_slow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
