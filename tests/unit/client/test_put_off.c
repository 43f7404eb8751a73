/*
 * Startups that come to nothing: asked to come back later, refused, hung. And what a startup says of itself.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"

#define FULL "too many agents come at once"

static const struct msg_startup_common *startup_of(const struct fake_server *s, size_t n)
{
	const struct fake_message *m = fake_server_got(s, MSG_STARTUP_ROUTING, n);

	check_there(m);
	return &((const struct msg_startup_routing *)m->batch.elements[0].fields)->startup;
}

static const struct candidate *candidate_of(struct bench *b, const char *entry)
{
	const struct candidate *c;
	size_t n = agent_explain(b->agent, &c);

	for (size_t i = 0; i < n; i++) {
		if (!strcmp(c[i].entry, entry))
			return &c[i];
	}
	fail_msg("%s is no candidate", entry);
	abort();
}

static void full(struct fake_server *s, int64_t retry_ms, const char *sends_to)
{
	s->retry_ms = retry_ms;
	s->sends_to = sends_to;
	s->says = FULL;
}

/* ---- asked to come back ---- */

static void it_comes_back_at_exactly_that_time(void **state)
{
	static const struct {
		const char *what;
		int64_t retry_ms;
		int64_t comes_ms;
	} rows[] = {
		{"as asked", 3000, 3000},
		{"the least", 1, 1},
		{"nonsense is the least", -5, 1},
		{"a year is ten minutes", INT64_MAX, 600000},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;
		int64_t first, second;

		bench_setup(&b, M1, NULL);
		b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
		full(b.m1, rows[i].retry_ms, NULL);
		bench_start(&b);
		bench_run(&b, 7);
		first = fake_server_got(b.m1, MSG_STARTUP_ROUTING, 0)->at_ms;
		check_row(&rows[i], bench_look(&b).state != AGENT_UP);
		b.m1->retry_ms = 0;
		bench_run(&b, rows[i].comes_ms + 100);
		check_row(&rows[i], bench_look(&b).state == AGENT_UP);
		second = fake_server_got(b.m1, MSG_STARTUP_ROUTING, fake_server_count(b.m1, MSG_STARTUP_ROUTING) - 1)
				 ->at_ms;
		/* And the way there and back, and TLS. */
		check_row(&rows[i], second - first >= rows[i].comes_ms && second - first <= rows[i].comes_ms + 12);
		bench_teardown(&b);
	}
}

static void it_says_how_often_and_until_when(void **state)
{
	const struct candidate *c;
	struct bench b;

	bench_setup(&b, M1, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	full(b.m1, 1000, NULL);
	bench_start(&b);
	bench_run(&b, 2500);
	assert_int_equal(fake_server_count(b.m1, MSG_STARTUP_ROUTING), 3);
	assert_false(startup_of(b.m1, 0)->musterPutOff.has);
	assert_int_equal(startup_of(b.m1, 1)->musterPutOff.value, 1);
	assert_int_equal(startup_of(b.m1, 2)->musterPutOff.value, 2);
	c = candidate_of(&b, M1);
	assert_int_equal(c->verdict, CHOICE_BACKING_OFF);
	assert_true(c->is_put_off);
	assert_int_equal(c->last_error, ERR_BUSY);
	assert_string_equal(c->sentence, FULL);
	assert_int_equal(c->backoff.failures, 0);
	/* Ready is the end of the count. */
	b.m1->retry_ms = 0;
	bench_run(&b, 1000);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	assert_int_equal(startup_of(b.m1, 3)->musterPutOff.value, 3);
	fake_server_hang_up(b.m1);
	bench_run(&b, 3000);
	assert_false(startup_of(b.m1, 4)->musterPutOff.has);
	assert_int_equal(b.n_stopped, 0);
	bench_teardown(&b);
}

static void another_server_that_is_named_is_tried_at_once(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "," M2 "," M3, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m2 = fake_server_new(b.f, M2, FAKE_MUSTER);
	b.m3 = fake_server_new(b.f, M3, FAKE_MUSTER);
	full(b.m1, 60000, M3 ":8250");
	bench_start(&b);
	bench_run(&b, 20);
	assert_string_equal(bench_connected(&b), M3);
	assert_true(startup_of(b.m3, 0)->musterSent.value);
	assert_false(startup_of(b.m1, 0)->musterSent.has);
	assert_int_equal(b.m2->n_links, 0);
	/* That was for once. */
	fake_server_hang_up(b.m3);
	bench_run(&b, 20);
	assert_string_equal(bench_connected(&b), M2);
	assert_false(startup_of(b.m2, 0)->musterSent.has);
	bench_teardown(&b);
}

static void whom_a_server_may_name(void **state)
{
	static const struct {
		const char *what, *name, *avoid;
		const char *first; /* whom it is on afterwards */
		bool is_sent;
	} rows[] = {
		{"one of the list", M3, NULL, M3, true},     {"a stranger is passed over", "10.9.9.9", NULL, M2, false},
		{"itself is no other", M1, NULL, M2, false}, {"nobody", NULL, NULL, M2, false},
		{"nonsense", "[::", NULL, M2, false},        {"one that is to be avoided", M3, M3, M2, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;

		bench_up(&b, M1 "," M2 "," M3, NULL);
		if (rows[i].avoid)
			bench_send_list(b.m1, &(struct list_fill){.avoid = rows[i].avoid});
		bench_run(&b, 12000); /* its link has proven itself: no back-off at M1 */
		full(b.m1, 60000, rows[i].name);
		fake_server_hang_up(b.m1);
		bench_run(&b, 50);
		check_row(&rows[i], str_equal(bench_connected(&b), rows[i].first));
		check_row(&rows[i], startup_of(rows[i].is_sent ? b.m3 : b.m2, 0)->musterSent.has == rows[i].is_sent);
		bench_teardown(&b);
	}
}

static void full_servers_do_not_play_ball(void **state)
{
	struct bench b;
	int hours;

	bench_setup(&b, M1 "," M2, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m2 = fake_server_new(b.f, M2, FAKE_MUSTER);
	full(b.m1, 10000, M2);
	full(b.m2, 10000, M1);
	bench_start(&b);
	bench_run(&b, 9000);
	assert_int_equal(fake_server_count(b.m1, MSG_STARTUP_ROUTING), 1);
	assert_int_equal(fake_server_count(b.m2, MSG_STARTUP_ROUTING), 1);
	/* For hours, days, weeks. It never gives up. */
	hours = test_rounds(3, 24);
	bench_run(&b, hours * 3600000);
	assert_int_equal(b.n_stopped, 0);
	assert_in_range(fake_server_count(b.m1, MSG_STARTUP_ROUTING), hours * 334, hours * 376);
	b.m2->retry_ms = 0;
	bench_run(&b, 10100);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

/* The named server is dead: what was asked first still holds. */
static void the_time_is_kept_when_the_named_server_fails(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "," M2, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	full(b.m1, 300, M2);
	bench_start(&b);
	bench_run(&b, 20);
	assert_string_equal(fake_dials(b.f)->items[1], M2 ":8250@7");
	b.m1->retry_ms = 0;
	bench_run(&b, 300);
	assert_string_equal(bench_connected(&b), M1);
	bench_teardown(&b);
}

/* It has failed in this search, and so has another one before it; but somebody knows better by now. */
static void a_named_server_that_has_failed_before_is_tried(void **state)
{
	static const char answer[] =
		"[{\"com.cloud.agent.api.StartupAnswer\":{\"hostId\":0,\"pingInterval\":60,\"result\":false,"
		"\"musterRetryMs\":60000,\"musterServer\":\"" M2 "\"}}]";
	struct header h = {.agent_id = -1, .via = -1};
	struct bench b;

	bench_setup(&b, M1 "," M2 "," M3, NULL);
	b.m3 = fake_server_new(b.f, M3, FAKE_MUSTER);
	b.m3->answers_startup = false;
	bench_start(&b);
	bench_run(&b, 5000);
	assert_int_equal(fake_server_count(b.m3, MSG_STARTUP_ROUTING), 1);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m2 = fake_server_new(b.f, M2, FAKE_MUSTER);
	h.seq = fake_server_got(b.m3, MSG_STARTUP_ROUTING, 0)->header.seq;
	fake_server_send(b.m3, &h, answer);
	bench_run(&b, 50);
	assert_string_equal(bench_connected(&b), M2);
	assert_true(startup_of(b.m2, 0)->musterSent.value);
	assert_int_equal(b.m1->n_links, 0);
	bench_teardown(&b);
}

/* A server that asks to come back answers: the older lists are for when nobody does. */
static void servers_that_put_off_answer(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "@static", "muster.host.lastgood=" M2 "@static\n");
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m2 = fake_server_new(b.f, M2, FAKE_MUSTER);
	full(b.m1, 10000, NULL);
	bench_start(&b);
	bench_run(&b, 300000);
	assert_int_equal(b.m2->n_links, 0);
	assert_false(bench_look(&b).on_fallback);
	fake_server_stop(b.m1);
	bench_run(&b, 45000);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

static void a_move_that_is_put_off_costs_nothing(void **state)
{
	static const struct {
		const char *what;
		bool is_migration;
	} rows[] = {{"a return", false}, {"a migration", true}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;

		bench_up(&b, M1 "," M2, NULL);
		full(b.m2, 5000, M1);
		if (rows[i].is_migration)
			bench_migrate(b.m1, M1);
		else
			bench_send_list(b.m1, &(struct list_fill){
						      .servers = M2 "," M1, .algorithm = "static", .trigger = true});
		bench_run(&b, 2000);
		check_row(&rows[i], fake_server_count(b.m2, MSG_STARTUP_ROUTING) == 1);
		check_row(&rows[i], str_equal(bench_connected(&b), M1) && bench_look(&b).state == AGENT_UP);
		check_row(&rows[i], b.m1->n_links == 1);
		check_row(&rows[i], rows[i].is_migration || bench_look(&b).failback == FAILBACK_PUT_OFF);
		bench_run(&b, 2500);
		check_row(&rows[i], fake_server_count(b.m2, MSG_STARTUP_ROUTING) == 1);
		b.m2->retry_ms = 0;
		bench_run(&b, 2100 + 1700);
		check_row(&rows[i], str_equal(bench_connected(&b), M2));
		check_row(&rows[i], startup_of(b.m2, 1)->musterPutOff.value == 1);
		bench_teardown(&b);
	}
}

/* Without a time it is meant for good. */
static void a_refusal_is_a_refusal(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "," M2, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m1->refuses = true;
	b.m1->says = "unknown zone";
	bench_start(&b);
	bench_run(&b, 100);
	assert_int_equal(b.stop_error, ERR_REFUSED);
	assert_string_equal(b.stop_sentence, "unknown zone");
	bench_teardown(&b);
}

static void cloudstack_asks_nobody_to_come_back(void **state)
{
	struct bench b;

	bench_setup(&b, M1, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_CLOUDSTACK);
	full(b.m1, 1000, NULL);
	bench_start(&b);
	bench_run(&b, 100);
	assert_int_equal(bench_look(&b).state, AGENT_STOPPED);
	bench_teardown(&b);
}

/* ---- what a startup says ---- */

static void startups_say_what_they_are_for(void **state)
{
	struct tls_creds *fresh;
	struct bench b;

	bench_setup(&b, M1 "," M2 "," M3, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m2 = fake_server_new(b.f, M2, FAKE_MUSTER);
	b.m3 = fake_server_new(b.f, M3, FAKE_MUSTER);
	b.m1->heartbeat_ms = b.m2->heartbeat_ms = b.m3->heartbeat_ms = 1000;
	bench_start(&b);
	bench_run(&b, 100);
	assert_string_equal(startup_of(b.m1, 0)->musterPurpose, "seek");
	bench_migrate(b.m1, M1 "," M2);
	bench_run(&b, 3000);
	assert_string_equal(startup_of(b.m3, 0)->musterPurpose, "migrate");
	bench_send_list(b.m3, &(struct list_fill){.avoid = NULL});
	bench_run(&b, 10);
	agent_check_preferred(b.agent);
	bench_run(&b, 5000);
	assert_string_equal(startup_of(b.m1, 1)->musterPurpose, "preferred");
	fresh = fake_creds(b.f);
	assert_int_equal(agent_set_creds(b.agent, fresh, false), ERR_OK);
	bench_run(&b, 5000);
	assert_string_equal(startup_of(b.m1, 2)->musterPurpose, "renew");
	fake_cut(b.f, M1, true);
	bench_run(&b, 5000);
	assert_string_equal(startup_of(b.m2, 0)->musterPurpose, "suspect");
	tls_creds_unref(fresh);
	bench_teardown(&b);
}

static void each_start_has_a_number(void **state)
{
	struct bench b;
	size_t writes;

	bench_up(&b, M1, NULL);
	assert_int_equal(startup_of(b.m1, 0)->musterBootNumber.value, 1);
	assert_string_equal(bench_get(&b, KEY_BOOT), "1");
	bench_remake(&b);
	writes = fake_file_writes(b.f);
	bench_start(&b);
	assert_int_equal(fake_file_writes(b.f), writes + 1); /* before anything is sent */
	bench_run(&b, 3000);
	assert_int_equal(startup_of(b.m1, 1)->musterBootNumber.value, 2);
	/* Of the process, not of its links. Nothing else was written. */
	fake_server_hang_up(b.m1);
	bench_run(&b, 3000);
	assert_int_equal(startup_of(b.m1, 2)->musterBootNumber.value, 2);
	assert_int_equal(fake_file_writes(b.f), writes + 1);
	bench_teardown(&b);
}

static void a_number_that_can_not_be_kept_is_not_sent(void **state)
{
	struct bench b;

	bench_setup(&b, M1, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	fake_fs_kill_at(b.f, 0);
	bench_start(&b);
	fake_fs_revive(b.f);
	bench_run(&b, 100);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	assert_false(startup_of(b.m1, 0)->musterBootNumber.has);
	assert_int_equal(bench_look(&b).boot_number, 0);
	bench_teardown(&b);
}

/* ---- hung in the middle ---- */

static void a_hung_server_does_not_hold_up_the_others(void **state)
{
	static const struct {
		const char *what;
		bool beats;
		enum fake_kind second;
		bool second_hangs;
		int64_t within_ms; /* M3 has it */
		int64_t not_before_ms;
	} rows[] = {
		{"silent: 2 s, and the next is there", false, FAKE_MUSTER, false, 2050, 2000},
		{"the second takes TCP only: a second more", false, FAKE_MUTE, false, 3050, 3000},
		{"the second hangs in its startup too: 2 s more", false, FAKE_MUSTER, true, 4600, 4000},
		{"alive, and never done: 10 s", true, FAKE_MUSTER, false, 10050, 10000},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool is_second = rows[i].second == FAKE_MUSTER && !rows[i].second_hangs;
		struct bench b;

		bench_setup(&b, M1 "," M2 "," M3, NULL);
		b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
		b.m2 = fake_server_new(b.f, M2, rows[i].second);
		b.m3 = fake_server_new(b.f, M3, FAKE_MUSTER);
		b.m1->answers_startup = false;
		b.m1->proving_ms = rows[i].beats ? 500 : 0;
		b.m2->answers_startup = !rows[i].second_hangs;
		b.m2->proving_ms = rows[i].second_hangs ? 0 : 500;
		bench_start(&b);
		bench_run(&b, rows[i].not_before_ms);
		check_row(&rows[i], bench_look(&b).state == AGENT_STARTING);
		bench_run(&b, rows[i].within_ms - rows[i].not_before_ms);
		check_row(&rows[i], str_equal(bench_connected(&b), is_second ? M2 : M3));
		check_row(&rows[i], bench_look(&b).state == AGENT_UP);
		check_row(&rows[i], b.m1->n_open == 0 && !bench_look(&b).moving);
		/* A failure like any other. */
		check_row(&rows[i], candidate_of(&b, M1)->last_error == ERR_TIMEOUT);
		check_row(&rows[i], candidate_of(&b, M1)->backoff.failures == 1);
		bench_teardown(&b);
	}
}

static void the_first_that_is_ready_wins(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "," M2, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m2 = fake_server_new(b.f, M2, FAKE_MUSTER);
	b.m1->answers_startup = b.m2->answers_startup = false;
	b.m1->proving_ms = 0;
	bench_start(&b);
	bench_run(&b, 2100);
	assert_int_equal(fake_server_count(b.m2, MSG_STARTUP_ROUTING), 1);
	b.m1->answers_startup = true;
	fake_server_ask_text(b.m1, 0, "[{\"com.cloud.agent.api.ReadyCommand\":{\"hostId\":7}}]");
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	assert_int_equal(b.m2->n_open, 0);
	/* M2 may have become the owner: M1 hears a newer link number. */
	assert_int_equal(startup_of(b.m1, 1)->musterLink.value, 3);
	bench_teardown(&b);
}

static void alone_it_is_waited_for(void **state)
{
	struct bench b;

	bench_setup(&b, M1, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m1->answers_startup = false;
	b.m1->proving_ms = 0;
	bench_start(&b);
	bench_run(&b, 9900);
	assert_int_equal(b.m1->n_links, 1);
	assert_int_equal(b.m1->n_open, 1);
	bench_run(&b, 1000000);
	/* Each time it is a failure, and the back-off grows. */
	assert_int_equal(bench_look(&b).state == AGENT_UP, 0);
	assert_true(candidate_of(&b, M1)->backoff.failures > 5);
	bench_teardown(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_comes_back_at_exactly_that_time),
		cmocka_unit_test(it_says_how_often_and_until_when),
		cmocka_unit_test(another_server_that_is_named_is_tried_at_once),
		cmocka_unit_test(whom_a_server_may_name),
		cmocka_unit_test(full_servers_do_not_play_ball),
		cmocka_unit_test(the_time_is_kept_when_the_named_server_fails),
		cmocka_unit_test(a_move_that_is_put_off_costs_nothing),
		cmocka_unit_test(a_refusal_is_a_refusal),
		cmocka_unit_test(cloudstack_asks_nobody_to_come_back),
		cmocka_unit_test(startups_say_what_they_are_for),
		cmocka_unit_test(each_start_has_a_number),
		cmocka_unit_test(a_number_that_can_not_be_kept_is_not_sent),
		cmocka_unit_test(a_hung_server_does_not_hold_up_the_others),
		cmocka_unit_test(the_first_that_is_ready_wins),
		cmocka_unit_test(alone_it_is_waited_for),
		cmocka_unit_test(a_named_server_that_has_failed_before_is_tried),
		cmocka_unit_test(servers_that_put_off_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
