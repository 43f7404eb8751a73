/* The preferred server, migration and other planned moves: make before break, and CloudStack's order. */
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"

#define PROVEN_MS 1700 /* three heartbeats at 500 ms, TLS and the startup */

/* On M1, with M2 the preferred one. */
static void up_beside_preferred(struct bench *b, int64_t interval, const char *algorithm)
{
	bench_up(b, M1, NULL);
	bench_send_list(b->m1,
			&(struct list_fill){.servers = M2 "," M1 "," M3, .algorithm = algorithm, .interval = interval});
	bench_run(b, 10);
	assert_string_equal(bench_connected(b), M1);
}

static void the_interval_brings_it_home(void **state)
{
	struct bench b;

	up_beside_preferred(&b, 20, "static");
	bench_run(&b, 15900);
	assert_string_equal(bench_connected(&b), M1);
	bench_run(&b, 4000 + PROVEN_MS); /* 20 s at most: jitter of 20 % only shortens them */
	assert_string_equal(bench_connected(&b), M2);
	assert_int_equal(fake_server_count(b.m2, MSG_STARTUP_ROUTING), 1);
	bench_teardown(&b);
}

static void no_interval_never_looks(void **state)
{
	struct bench b;

	up_beside_preferred(&b, 0, "static");
	assert_true(mono_is_never(bench_look(&b).next_check));
	bench_run(&b, 3600000);
	assert_string_equal(bench_connected(&b), M1);
	bench_teardown(&b);
}

static void an_operators_own_interval_is_used(void **state)
{
	struct bench b;

	bench_setup(&b, M2 "," M1, "host.lb.check.interval=5\n");
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m1->interval = 3600;
	bench_start(&b);
	bench_run(&b, 100);
	b.m2 = fake_server_new(b.f, M2, FAKE_MUSTER);
	assert_true(bench_look(&b).interval_is_own);
	bench_run(&b, 5000 + PROVEN_MS);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

static void shuffle_looks_once_after_each_new_list(void **state)
{
	struct bench b;

	up_beside_preferred(&b, 20, "shuffle");
	fake_server_stop(b.m2);
	bench_run(&b, 23000);
	fake_server_start(b.m2);
	bench_run(&b, 600000);
	assert_string_equal(bench_connected(&b), M1);
	assert_true(bench_look(&b).looks_once);
	assert_true(mono_is_never(bench_look(&b).next_check));
	bench_send_list(b.m1, &(struct list_fill){.servers = M3 "," M1, .algorithm = "shuffle", .interval = 20});
	bench_run(&b, 23000);
	assert_string_equal(bench_connected(&b), M3);
	bench_teardown(&b);
}

/* The look that took it home is over: another one would be a return that nobody asked for. */
static void shuffle_has_no_look_left_at_home(void **state)
{
	struct bench b;

	up_beside_preferred(&b, 20, "shuffle");
	bench_run(&b, 20000 + PROVEN_MS);
	assert_string_equal(bench_connected(&b), M2);
	assert_null(bench_look(&b).told);
	bench_migrate(b.m2, M2);
	bench_run(&b, 600000);
	assert_string_equal(bench_connected(&b), M1);
	bench_teardown(&b);
}

static void a_trigger_looks_at_once(void **state)
{
	struct bench b;

	bench_up(&b, M1, NULL);
	bench_send_list(b.m1, &(struct list_fill){.servers = M2 "," M1, .algorithm = "static", .trigger = true});
	bench_run(&b, PROVEN_MS);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

static void a_preferred_server_that_is_avoided_is_left_alone(void **state)
{
	struct bench b;

	up_beside_preferred(&b, 20, "static");
	bench_send_list(b.m1, &(struct list_fill){.avoid = M2, .interval = 20});
	assert_int_equal(str_list_add(&b.m1->avoid, M2), ERR_OK); /* in its answers to pings too */
	bench_run(&b, 100000);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(b.m2->n_links, 0);
	bench_teardown(&b);
}

/* However long it was away: home within the interval after it is back, and the time of three heartbeats. */
static void a_server_that_was_long_away_is_returned_to_in_time(void **state)
{
	struct bench b;

	up_beside_preferred(&b, 2, "static");
	fake_server_stop(b.m2);
	bench_run(&b, 600000);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(fake_server_count(b.m1, MSG_STARTUP_ROUTING), 1);
	fake_server_start(b.m2);
	bench_run(&b, 2000 + PROVEN_MS);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

static void the_new_link_is_ready_before_the_old_one_closes(void **state)
{
	struct bench b;

	up_beside_preferred(&b, 0, "static");
	b.m2->sends_ready = false;
	agent_check_preferred(b.agent);
	bench_run(&b, 20000);
	assert_true(bench_look(&b).moving);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(b.m1->n_open, 1);
	assert_int_equal(fake_server_count(b.m2, MSG_STARTUP_ROUTING), 1);
	fake_server_ask_text(b.m2, FLAG_STOP_ON_ERROR | FLAG_IN_SEQUENCE,
			     "[{\"com.cloud.agent.api.ReadyCommand\":{\"hostId\":7,\"lbCheckInterval\":0}}]");
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), M2);
	assert_false(bench_look(&b).moving);
	assert_int_equal(b.m1->n_open, 1); /* for what is still coming on it */
	bench_run(&b, 3000);
	assert_int_equal(b.m1->n_open, 0);
	assert_int_equal(b.n_stopped, 0);
	bench_teardown(&b);
}

static const struct msg_startup_common *startup_of(const struct fake_server *s, size_t n)
{
	const struct fake_message *m = fake_server_got(s, MSG_STARTUP_ROUTING, n);

	assert_non_null(m);
	return &((const struct msg_startup_routing *)m->batch.elements[0].fields)->startup;
}

static void the_link_number_grows(void **state)
{
	struct bench b;

	up_beside_preferred(&b, 0, "static");
	agent_check_preferred(b.agent);
	bench_run(&b, PROVEN_MS);
	assert_int_equal(startup_of(b.m2, 0)->musterLink.value, 2);
	assert_string_equal(startup_of(b.m2, 0)->musterBoot, startup_of(b.m1, 0)->musterBoot);
	assert_int_equal(bench_look(&b).links, 2);
	bench_teardown(&b);
}

static void a_move_that_fails_costs_nothing(void **state)
{
	static const enum fake_kind kinds[] = {FAKE_MUTE, FAKE_AGENT, FAKE_STRANGER};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct bench b;

		up_beside_preferred(&b, 0, "static");
		b.m2->kind = kinds[i];
		agent_check_preferred(b.agent);
		bench_run(&b, 60000);
		assert_string_equal(bench_connected(&b), M1);
		assert_int_equal(b.m1->n_links, 1);
		assert_int_equal(fake_server_count(b.m1, MSG_STARTUP_ROUTING), 1);
		assert_false(bench_look(&b).moving);
		bench_teardown(&b);
	}
}

static void a_target_that_dies_after_the_startup_is_claimed_back_from(void **state)
{
	struct bench b;

	up_beside_preferred(&b, 0, "static");
	b.m2->sends_ready = false;
	agent_check_preferred(b.agent);
	bench_run(&b, PROVEN_MS);
	fake_server_stop(b.m2);
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	assert_int_equal(b.m1->n_links, 1);
	/* M2 may have become the owner: M1 hears a newer link number on the link it has. */
	assert_int_equal(fake_server_count(b.m1, MSG_STARTUP_ROUTING), 2);
	assert_int_equal(startup_of(b.m1, 1)->musterLink.value, 3);
	bench_teardown(&b);
}

static void a_target_that_refuses_is_not_the_end(void **state)
{
	struct bench b;

	up_beside_preferred(&b, 0, "static");
	b.m2->sends_ready = false;
	agent_check_preferred(b.agent);
	bench_run(&b, PROVEN_MS);
	fake_server_ask_text(b.m2, FLAG_STOP_ON_ERROR | FLAG_IN_SEQUENCE,
			     "[{\"com.cloud.agent.api.ReadyCommand\":{\"_details\":\"full\"}}]");
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(b.n_stopped, 0);
	assert_int_equal(b.m2->n_open, 0);
	bench_teardown(&b);
}

static void the_old_server_dying_during_a_move_is_no_loss(void **state)
{
	struct bench b;

	up_beside_preferred(&b, 0, "static");
	b.m2->sends_ready = false;
	agent_check_preferred(b.agent);
	bench_run(&b, PROVEN_MS);
	fake_server_stop(b.m1);
	bench_run(&b, 100);
	assert_int_equal(bench_look(&b).state, AGENT_STARTING);
	fake_server_ask_text(b.m2, FLAG_STOP_ON_ERROR | FLAG_IN_SEQUENCE,
			     "[{\"com.cloud.agent.api.ReadyCommand\":{\"hostId\":7}}]");
	bench_run(&b, 100);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	assert_string_equal(bench_connected(&b), M2);
	assert_int_equal(b.m3->n_links, 0);
	bench_teardown(&b);
}

static void a_dial_for_a_move_serves_when_the_link_is_lost(void **state)
{
	struct bench b;

	up_beside_preferred(&b, 0, "static");
	fake_cut(b.f, M2, true);
	agent_check_preferred(b.agent);
	bench_run(&b, 100);
	fake_server_stop(b.m1);
	fake_cut(b.f, M2, false);
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

/* ---- migration ---- */

static void migration_goes_at_once_between_muster_servers(void **state)
{
	struct bench b;
	int64_t seq;

	bench_up(&b, M1 "," M2 "," M3, NULL);
	seq = bench_migrate(b.m1, M1 "," M2);
	bench_run(&b, 100);
	assert_true(bench_answer_result(b.m1, seq));
	assert_string_equal(bench_connected(&b), M3);
	assert_int_equal(b.m2->n_links, 0);
	assert_true(startup_of(b.m3, 0)->connectionTransferred.value);
	fake_server_hang_up(b.m3);
	bench_run(&b, 5000);
	/* Only that one startup says so. */
	assert_false(startup_of(b.m1, 0)->connectionTransferred.value);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	bench_teardown(&b);
}

static void migration_takes_the_next_when_the_first_is_dead(void **state)
{
	struct bench b;

	bench_up(&b, M1 "," M2 "," M3, NULL);
	fake_server_stop(b.m2);
	bench_migrate(b.m1, M1);
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), M3);
	bench_teardown(&b);
}

/* Each kind of failure, before the startup and after it: the next one has its turn. */
static void migration_tries_all_one_after_the_other(void **state)
{
	static const struct {
		const char *what;
		enum fake_kind kind;
		bool refuses;
		int64_t retry_ms;
		bool dies;
	} rows[] = {
		{"takes TCP only", FAKE_MUTE, false, 0, false},
		{"is no server", FAKE_AGENT, false, 0, false},
		{"refuses for good", FAKE_MUSTER, true, 0, false},
		{"has no room now", FAKE_MUSTER, false, 60000, false},
		{"dies in the middle of the startup", FAKE_MUSTER, false, 0, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;

		bench_up(&b, M1 "," M2 "," M3, NULL);
		b.m2->kind = rows[i].kind;
		b.m2->refuses = rows[i].refuses;
		b.m2->retry_ms = rows[i].retry_ms;
		b.m2->answers_startup = !rows[i].dies;
		bench_migrate(b.m1, M1);
		bench_run(&b, 100);
		if (rows[i].dies)
			fake_server_stop(b.m2);
		bench_run(&b, 4000); /* a planned move is patient: First dial, 9 */
		check_row(&rows[i], str_equal(bench_connected(&b), M3));
		check_row(&rows[i], b.n_stopped == 0 && !bench_look(&b).moving);
		bench_teardown(&b);
	}
}

static void migration_that_finds_nobody_stays_and_can_be_repeated(void **state)
{
	struct bench b;
	int64_t seq;

	bench_up(&b, M1 "," M2 "," M3, NULL);
	b.m2->refuses = true;
	fake_server_stop(b.m3);
	seq = bench_migrate(b.m1, M1);
	bench_run(&b, 1000);
	assert_true(bench_answer_result(b.m1, seq));
	assert_string_equal(bench_connected(&b), M1);
	assert_false(bench_look(&b).moving);
	assert_int_equal(b.m1->n_links, 1);
	fake_server_start(b.m3);
	seq = bench_migrate(b.m1, M1);
	bench_run(&b, 1000);
	assert_true(bench_answer_result(b.m1, seq));
	assert_string_equal(bench_connected(&b), M3);
	bench_teardown(&b);
}

static void migration_to_nowhere_is_answered_false(void **state)
{
	struct bench b;
	int64_t seq;

	bench_up(&b, M1 "," M2, NULL);
	seq = bench_migrate(b.m1, M1 "," M2);
	bench_run(&b, 10000);
	assert_false(bench_answer_result(b.m1, seq));
	assert_non_null(strstr(bench_answer_details(b.m1, seq), "no server"));
	assert_string_equal(bench_connected(&b), M1);
	bench_teardown(&b);
}

static void migration_to_where_it_is_moves_nothing(void **state)
{
	struct bench b;
	int64_t seq;

	bench_up(&b, M1 "," M2, NULL);
	seq = bench_migrate(b.m1, "");
	bench_run(&b, 10000);
	assert_true(bench_answer_result(b.m1, seq));
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(b.m1->n_links, 1);
	assert_int_equal(b.m2->n_links, 0);
	bench_teardown(&b);
}

/* ---- CloudStack's order ---- */

static void cloudstack_up(struct bench *b)
{
	bench_setup(b, M1 "," M2, NULL);
	b->m1 = fake_server_new(b->f, M1, FAKE_CLOUDSTACK);
	b->m2 = fake_server_new(b->f, M2, FAKE_CLOUDSTACK);
	bench_start(b);
	bench_run(b, 100);
	assert_string_equal(bench_connected(b), M1);
}

static void towards_cloudstack_the_old_link_closes_first(void **state)
{
	struct bench b;
	int64_t seq;

	cloudstack_up(&b);
	b.m2->answers_startup = false;
	seq = bench_migrate(b.m1, M1);
	bench_run(&b, 2900);
	assert_true(bench_answer_result(b.m1, seq));
	assert_int_equal(b.m1->n_open, 1);
	assert_int_equal(b.m2->n_links, 0); /* 3 s after its answer, as the reference */
	bench_run(&b, 200);
	assert_int_equal(b.m1->n_open, 0);
	assert_int_equal(fake_server_count(b.m2, MSG_STARTUP_ROUTING), 1);
	assert_true(startup_of(b.m2, 0)->connectionTransferred.value);
	assert_int_equal(bench_look(&b).state, AGENT_STARTING);
	bench_teardown(&b);
}

/* Seed: a CloudStack server pings every 2 s; its answer cleared the avoid list before the 3 s were over. */
static void a_ping_in_between_does_not_undo_a_migration(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "," M2, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_CLOUDSTACK);
	b.m2 = fake_server_new(b.f, M2, FAKE_CLOUDSTACK);
	b.m1->ping_s = 1;
	bench_start(&b);
	bench_run(&b, 100);
	bench_migrate(b.m1, M1);
	bench_run(&b, 3200);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

static void a_port_that_never_completes_tls_costs_no_link(void **state)
{
	struct bench b;
	unsigned n_links;

	cloudstack_up(&b);
	n_links = b.m1->n_links;
	b.m2->kind = FAKE_MUTE;
	bench_send_list(b.m1, &(struct list_fill){.servers = M2 "," M1, .algorithm = "static", .trigger = true});
	bench_run(&b, 60000);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(b.m1->n_links, n_links);
	assert_int_equal(b.m1->n_open, 1);
	bench_teardown(&b);
}

/* ---- certificates ---- */

static void a_new_certificate_moves_to_a_new_link_of_the_same_server(void **state)
{
	struct tls_creds *fresh;
	struct bench b;

	bench_up(&b, M1 "," M2, NULL);
	fresh = fake_creds(b.f);
	assert_int_equal(agent_set_creds(b.agent, fresh, true), ERR_OK);
	bench_run(&b, 5000);
	assert_int_equal(b.m1->n_links, 1);
	assert_int_equal(agent_set_creds(b.agent, fresh, false), ERR_OK);
	bench_run(&b, 100);
	assert_int_equal(b.m1->n_links, 2);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	bench_run(&b, 5000);
	assert_int_equal(b.m1->n_open, 1);
	assert_int_equal(b.m2->n_links, 0);
	tls_creds_unref(fresh);
	bench_teardown(&b);
}

/* A dial under way was begun with the old one. */
static void a_new_certificate_that_comes_during_a_dial_is_used_next(void **state)
{
	struct tls_creds *fresh;
	struct bench b;

	bench_setup(&b, M1, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	fake_cut(b.f, M1, true);
	bench_start(&b);
	bench_run(&b, 100);
	fresh = fake_creds(b.f);
	assert_int_equal(agent_set_creds(b.agent, fresh, false), ERR_OK);
	fake_cut(b.f, M1, false);
	bench_run(&b, 1000);
	assert_int_equal(b.m1->n_links, 2);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	tls_creds_unref(fresh);
	bench_teardown(&b);
}

/* ---- moves that give way ---- */

static void a_migration_outlives_a_short_silence(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "," M2, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m2 = fake_server_new(b.f, M2, FAKE_MUTE);
	b.m1->heartbeat_ms = b.m2->heartbeat_ms = 1000;
	bench_start(&b);
	bench_run(&b, 5000);
	bench_migrate(b.m1, M1);
	assert_int_equal(str_list_add(&b.m1->avoid, M1), ERR_OK);
	bench_run(&b, 100);
	fake_cut(b.f, M1, true);
	bench_run(&b, 3500); /* looking for a way off the silent link */
	assert_int_equal(fake_dials(b.f)->n, 3);
	b.m2->kind = FAKE_MUSTER;
	fake_cut(b.f, M1, false);
	bench_run(&b, 2000);
	assert_string_equal(bench_connected(&b), M2);
	assert_string_equal(startup_of(b.m2, 0)->musterPurpose, "migrate");
	bench_teardown(&b);
}

static void a_renewal_outlives_what_it_gives_way_to(void **state)
{
	static const struct {
		const char *what;
		bool migrates;
		int64_t retry_ms;
	} rows[] = {{"a migration that finds nobody", true, 0}, {"being put off", false, 3000}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct tls_creds *fresh;
		struct bench b;
		unsigned n;

		bench_up(&b, M1 "," M2, NULL);
		fresh = fake_creds(b.f);
		fake_server_stop(b.m2);
		b.m1->retry_ms = rows[i].retry_ms;
		if (rows[i].migrates)
			b.m1->kind = FAKE_MUTE;
		assert_int_equal(agent_set_creds(b.agent, fresh, false), ERR_OK);
		bench_run(&b, 100);
		b.m1->kind = FAKE_MUSTER;
		b.m1->retry_ms = 0;
		n = b.m1->n_links;
		if (rows[i].migrates)
			bench_migrate(b.m1, M1);
		bench_run(&b, 6000);
		check_row(&rows[i], b.m1->n_links == n + 1);
		check_row(&rows[i], str_equal(startup_of(b.m1, n)->musterPurpose, "renew"));
		check_row(&rows[i], bench_look(&b).state == AGENT_UP && b.m1->n_open == 1);
		tls_creds_unref(fresh);
		bench_teardown(&b);
	}
}

/* A server may name ten minutes: the way home isn't closed for so long. */
static void a_renewal_that_waits_does_not_keep_it_from_home(void **state)
{
	struct tls_creds *fresh;
	struct bench b;

	up_beside_preferred(&b, 0, "static");
	fresh = fake_creds(b.f);
	b.m1->retry_ms = 600000;
	assert_int_equal(agent_set_creds(b.agent, fresh, false), ERR_OK);
	bench_run(&b, 100);
	assert_int_equal(b.m1->n_links, 2);
	agent_check_preferred(b.agent);
	bench_run(&b, PROVEN_MS);
	assert_string_equal(bench_connected(&b), M2);
	/* And there is nothing to renew any more. */
	bench_run(&b, 700000);
	assert_int_equal(b.m1->n_links, 2);
	assert_int_equal(fake_server_count(b.m2, MSG_STARTUP_ROUTING), 1);
	tls_creds_unref(fresh);
	bench_teardown(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_interval_brings_it_home),
		cmocka_unit_test(no_interval_never_looks),
		cmocka_unit_test(an_operators_own_interval_is_used),
		cmocka_unit_test(shuffle_looks_once_after_each_new_list),
		cmocka_unit_test(shuffle_has_no_look_left_at_home),
		cmocka_unit_test(a_trigger_looks_at_once),
		cmocka_unit_test(a_preferred_server_that_is_avoided_is_left_alone),
		cmocka_unit_test(a_server_that_was_long_away_is_returned_to_in_time),
		cmocka_unit_test(the_new_link_is_ready_before_the_old_one_closes),
		cmocka_unit_test(the_link_number_grows),
		cmocka_unit_test(a_move_that_fails_costs_nothing),
		cmocka_unit_test(a_target_that_dies_after_the_startup_is_claimed_back_from),
		cmocka_unit_test(a_target_that_refuses_is_not_the_end),
		cmocka_unit_test(the_old_server_dying_during_a_move_is_no_loss),
		cmocka_unit_test(a_dial_for_a_move_serves_when_the_link_is_lost),
		cmocka_unit_test(migration_goes_at_once_between_muster_servers),
		cmocka_unit_test(migration_takes_the_next_when_the_first_is_dead),
		cmocka_unit_test(migration_tries_all_one_after_the_other),
		cmocka_unit_test(migration_that_finds_nobody_stays_and_can_be_repeated),
		cmocka_unit_test(migration_to_nowhere_is_answered_false),
		cmocka_unit_test(migration_to_where_it_is_moves_nothing),
		cmocka_unit_test(towards_cloudstack_the_old_link_closes_first),
		cmocka_unit_test(a_ping_in_between_does_not_undo_a_migration),
		cmocka_unit_test(a_port_that_never_completes_tls_costs_no_link),
		cmocka_unit_test(a_new_certificate_moves_to_a_new_link_of_the_same_server),
		cmocka_unit_test(a_new_certificate_that_comes_during_a_dial_is_used_next),
		cmocka_unit_test(a_migration_outlives_a_short_silence),
		cmocka_unit_test(a_renewal_outlives_what_it_gives_way_to),
		cmocka_unit_test(a_renewal_that_waits_does_not_keep_it_from_home),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
