/* The session ticket: to whom it is offered, what happens when it is of no use, and that it doesn't get too old. */
#include <string.h>

#include "bench.h"
#include "check.h"

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define M1_IS_KNOWN "muster.servers.known=" M1

/* On M1, which is known as muster and has given a ticket; the others are there too. */
static void up_with_ticket(struct bench *b, enum fake_tickets others)
{
	bench_setup(b, M1 "," M2 "," M3, M1_IS_KNOWN);
	b->m1 = fake_server_new(b->f, M1, FAKE_MUSTER);
	b->m2 = fake_server_new(b->f, M2, FAKE_MUSTER);
	b->m3 = fake_server_new(b->f, M3, FAKE_MUSTER);
	b->m1->tickets = FAKE_GIVES_TICKETS;
	b->m2->tickets = b->m3->tickets = others;
	bench_start(b);
	bench_run(b, 100);
	assert_string_equal(bench_connected(b), M1);
	assert_int_equal(b->m1->n_offered, 0);
}

static void a_ticket_is_offered_to_the_next_server(void **state)
{
	struct bench b;

	up_with_ticket(&b, FAKE_GIVES_TICKETS);
	fake_server_stop(b.m1);
	bench_run(&b, 100);
	/* Never met before. */
	assert_string_equal(bench_connected(&b), M2);
	assert_int_equal(b.m2->n_resumed, 1);
	/* And what M2 has given, to M3. */
	fake_server_stop(b.m2);
	bench_run(&b, 2000);
	assert_string_equal(bench_connected(&b), M3);
	assert_int_equal(b.m3->n_resumed, 1);
	bench_teardown(&b);
}

static void a_ticket_that_is_of_no_use_costs_a_dial_and_no_time(void **state)
{
	struct bench b;

	up_with_ticket(&b, FAKE_BREAKS_TICKETS);
	fake_dials_clear(b.f);
	fake_server_stop(b.m1);
	bench_run(&b, 50);
	assert_string_equal(bench_connected(&b), M2);
	assert_int_equal(b.m2->n_offered, 1);
	assert_int_equal(b.m2->n_resumed, 0);
	assert_int_equal(b.m3->n_links, 0);
	bench_teardown(&b);
}

/* A known server says that the ticket is bad: it is not offered to the next one. */
static void it_is_dropped_then(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "," M2 "," M3, M1_IS_KNOWN "," M2);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m2 = fake_server_new(b.f, M2, FAKE_MUSTER);
	b.m3 = fake_server_new(b.f, M3, FAKE_MUSTER);
	b.m1->tickets = b.m3->tickets = FAKE_GIVES_TICKETS;
	b.m2->tickets = FAKE_BREAKS_TICKETS;
	bench_start(&b);
	bench_run(&b, 100);
	fake_server_stop(b.m1);
	bench_run(&b, 50);
	assert_string_equal(bench_connected(&b), M2);
	assert_int_equal(b.m2->n_offered, 1);
	fake_server_stop(b.m2);
	bench_run(&b, 50);
	assert_string_equal(bench_connected(&b), M3);
	assert_int_equal(b.m3->n_offered, 0);
	bench_teardown(&b);
}

/* It was not the ticket's fault: without one the server doesn't work either. */
static void a_server_that_fails_either_way_does_not_cost_the_ticket(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "," M2 "," M3, M1_IS_KNOWN "," M2);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m2 = fake_server_new(b.f, M2, FAKE_STRANGER);
	b.m3 = fake_server_new(b.f, M3, FAKE_MUSTER);
	b.m1->tickets = b.m3->tickets = FAKE_GIVES_TICKETS;
	b.m2->tickets = FAKE_BREAKS_TICKETS;
	bench_start(&b);
	bench_run(&b, 100);
	fake_server_stop(b.m1);
	bench_run(&b, 100);
	assert_int_equal(b.m2->n_offered, 1);
	assert_string_equal(bench_connected(&b), M3);
	assert_int_equal(b.m3->n_resumed, 1);
	/* The next search asks it with a ticket again. */
	b.m2->kind = FAKE_MUSTER;
	b.m2->tickets = FAKE_GIVES_TICKETS;
	bench_run(&b, 12000);
	fake_server_stop(b.m3);
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), M2);
	assert_int_equal(b.m2->n_resumed, 1);
	bench_teardown(&b);
}

/* It may just hang: the others aren't kept from the ticket, and it itself is asked without one next time. */
static void silence_is_not_taken_for_the_tickets_fault(void **state)
{
	struct bench b;

	up_with_ticket(&b, FAKE_GIVES_TICKETS);
	b.m1->tickets = FAKE_HANGS_TICKETS;
	fake_server_stop(b.m2);
	fake_server_stop(b.m3);
	fake_server_hang_up(b.m1);
	bench_run(&b, 60000);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(b.m1->n_offered, 1);
	fake_server_start(b.m2);
	fake_server_stop(b.m1);
	bench_run(&b, 40000);
	assert_string_equal(bench_connected(&b), M2);
	assert_int_equal(b.m2->n_resumed, 1);
	bench_teardown(&b);
}

static void a_server_that_is_not_muster_is_reached_all_the_same(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "," M2, M1_IS_KNOWN);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m2 = fake_server_new(b.f, M2, FAKE_CLOUDSTACK);
	b.m1->tickets = FAKE_GIVES_TICKETS;
	bench_start(&b);
	bench_run(&b, 100);
	fake_server_stop(b.m1);
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), M2);
	/* That was no fault of the ticket's. */
	fake_server_start(b.m1);
	fake_server_stop(b.m2);
	bench_run(&b, 2000);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(b.m1->n_resumed, 1);
	bench_teardown(&b);
}

static void an_unknown_server_is_offered_none_without_one(void **state)
{
	struct bench b;

	bench_up(&b, M1 "," M2, NULL);
	assert_int_equal(b.m1->n_offered, 0);
	fake_server_stop(b.m1);
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), M2);
	assert_int_equal(b.m2->n_offered, 0);
	bench_teardown(&b);
}

static void a_new_certificate_ends_the_ticket(void **state)
{
	struct bench b;

	up_with_ticket(&b, FAKE_GIVES_TICKETS);
	assert_int_equal(agent_set_creds(b.agent, b.creds, true), ERR_OK);
	fake_server_stop(b.m1);
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), M2);
	assert_int_equal(b.m2->n_offered, 0);
	bench_teardown(&b);
}

/* Links last longer than tickets. */
static void a_new_ticket_is_fetched_in_time(void **state)
{
	struct bench b;
	unsigned links;

	up_with_ticket(&b, FAKE_GIVES_TICKETS);
	links = b.m1->n_links;
	bench_run(&b, 4 * HOUR_MS);
	assert_int_equal(b.m1->n_links, links);
	bench_run(&b, 2 * HOUR_MS + MINUTE_MS);
	assert_int_equal(b.m1->n_links, links + 1);
	/* A full handshake, no startup, and gone again. */
	assert_int_equal(b.m1->n_offered, 0);
	assert_int_equal(fake_server_count(b.m1, MSG_STARTUP_ROUTING), 1);
	assert_int_equal(b.m1->n_open, 1);
	assert_string_equal(bench_connected(&b), M1);
	bench_run(&b, 24 * HOUR_MS);
	assert_in_range(b.m1->n_links, links + 5, links + 6);
	bench_teardown(&b);
}

/* The first link was made as to an unknown server, over TLS 1.2. */
static void the_first_ticket_is_fetched_soon(void **state)
{
	struct bench b;

	bench_setup(&b, M1, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m1->tickets = FAKE_GIVES_TICKETS;
	bench_start(&b);
	bench_run(&b, 50000);
	assert_int_equal(b.m1->n_links, 1);
	bench_run(&b, 10 * MINUTE_MS);
	assert_int_equal(b.m1->n_links, 2);
	fake_server_hang_up(b.m1);
	bench_run(&b, 100);
	assert_int_equal(b.m1->n_resumed, 1);
	bench_teardown(&b);
}

static void servers_without_tickets_are_not_pestered(void **state)
{
	struct bench b;

	bench_setup(&b, M1, M1_IS_KNOWN);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	bench_start(&b);
	bench_run(&b, 11 * MINUTE_MS);
	assert_int_equal(b.m1->n_links, 2); /* a look after a ticket, once */
	assert_int_equal(b.m1->n_open, 1);
	fake_server_hang_up(b.m1);
	bench_run(&b, 4 * HOUR_MS);
	assert_int_equal(b.m1->n_links, 3);
	bench_teardown(&b);
}

/* It doesn't show that there are none. */
static void a_visit_that_never_got_through_is_made_again(void **state)
{
	struct bench b;

	bench_setup(&b, M1, M1_IS_KNOWN);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	bench_start(&b);
	bench_run(&b, 100);
	b.m1->kind = FAKE_MUTE;
	bench_run(&b, 11 * MINUTE_MS);
	assert_int_equal(b.m1->n_links, 1);
	b.m1->kind = FAKE_MUSTER;
	b.m1->tickets = FAKE_GIVES_TICKETS;
	bench_run(&b, 31 * MINUTE_MS);
	assert_int_equal(b.m1->n_links, 2);
	bench_teardown(&b);
}

static void the_end_may_come_during_a_visit(void **state)
{
	struct bench b;

	bench_setup(&b, M1, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	bench_start(&b);
	for (int i = 0; i < 11 * 60 && b.m1->n_links < 2; i++)
		bench_run(&b, 1000);
	assert_int_equal(b.m1->n_links, 2);
	assert_int_equal(b.m1->n_open, 2);
	bench_teardown(&b); /* checks that nothing is left */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ticket_is_offered_to_the_next_server),
		cmocka_unit_test(a_ticket_that_is_of_no_use_costs_a_dial_and_no_time),
		cmocka_unit_test(it_is_dropped_then),
		cmocka_unit_test(silence_is_not_taken_for_the_tickets_fault),
		cmocka_unit_test(a_server_that_is_not_muster_is_reached_all_the_same),
		cmocka_unit_test(an_unknown_server_is_offered_none_without_one),
		cmocka_unit_test(a_new_certificate_ends_the_ticket),
		cmocka_unit_test(a_new_ticket_is_fetched_in_time),
		cmocka_unit_test(the_first_ticket_is_fetched_soon),
		cmocka_unit_test(servers_without_tickets_are_not_pestered),
		cmocka_unit_test(the_end_may_come_during_a_visit),
		cmocka_unit_test(a_server_that_fails_either_way_does_not_cost_the_ticket),
		cmocka_unit_test(a_visit_that_never_got_through_is_made_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
