/* Which server is dialled when (decisions 9, 23, 27). */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"

static void check_dials(struct bench *b, const char *expected)
{
	char *joined = str_list_join(fake_dials(b->f), " ");

	assert_string_equal(joined, expected);
	mem_free(joined);
}

static enum choice_verdict verdict_of(struct bench *b, const char *entry)
{
	const struct candidate *c;
	size_t n = agent_explain(b->agent, &c);

	for (size_t i = 0; i < n; i++) {
		if (!strcmp(c[i].entry, entry))
			return c[i].verdict;
	}
	fail_msg("%s is no candidate", entry);
	return CHOICE_UNUSABLE;
}

static void the_first_of_the_list_is_taken(void **state)
{
	struct bench b;

	bench_up(&b, M2 "," M1, NULL);
	assert_string_equal(bench_connected(&b), M2);
	check_dials(&b, M2 ":8250@0");
	assert_int_equal(verdict_of(&b, M2), CHOICE_CONNECTED);
	bench_teardown(&b);
}

static void a_refused_port_costs_no_time(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "," M2 "," M3, NULL);
	b.m3 = fake_server_new(b.f, M3, FAKE_MUSTER);
	bench_start(&b);
	bench_run(&b, 50);
	assert_string_equal(bench_connected(&b), M3);
	check_dials(&b, M1 ":8250@0 " M2 ":8250@1 " M3 ":8250@2");
	bench_teardown(&b);
}

static void a_silent_address_costs_a_quarter_of_a_second(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "," M2, NULL);
	b.m2 = fake_server_new(b.f, M2, FAKE_MUSTER);
	fake_cut(b.f, M1, true);
	bench_start(&b);
	bench_run(&b, 300);
	assert_string_equal(bench_connected(&b), M2);
	check_dials(&b, M1 ":8250@0 " M2 ":8250@250");
	bench_teardown(&b);
}

static void at_most_three_are_dialled_at_a_time(void **state)
{
	struct bench b;

	bench_setup(&b, "10.0.1.1,10.0.1.2,10.0.1.3,10.0.1.4,10.0.1.5", NULL);
	for (int i = 1; i <= 5; i++) {
		char ip[16] = "10.0.1.0";

		ip[7] = (char)('0' + i);
		fake_cut(b.f, ip, true);
	}
	bench_start(&b);
	bench_run(&b, 4900);
	check_dials(&b, "10.0.1.1:8250@0 10.0.1.2:8250@250 10.0.1.3:8250@500");
	bench_run(&b, 200);
	assert_int_equal(fake_dials(b.f)->n, 4); /* the first has given up after connect_ms */
	assert_string_equal(fake_dials(b.f)->items[3], "10.0.1.4:8250@5000");
	assert_int_equal(verdict_of(&b, "10.0.1.1"), CHOICE_BACKING_OFF);
	bench_teardown(&b);
}

static void one_that_has_tcp_gets_a_second(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "," M2, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUTE);
	b.m2 = fake_server_new(b.f, M2, FAKE_MUSTER);
	bench_start(&b);
	bench_run(&b, 1100);
	assert_string_equal(bench_connected(&b), M2);
	check_dials(&b, M1 ":8250@0 " M2 ":8250@1001");
	bench_teardown(&b);
}

/* Each has a verdict of its own, in words, and a time when it is tried again. */
static void why_a_server_is_not_reached_is_said(void **state)
{
	static const struct {
		const char *what;
		const char *entry;
		int kind; /* -1: nobody listens */
		enum err error;
		int64_t after_ms;
	} rows[] = {
		{"a name that doesn't resolve", "nowhere", -1, ERR_NO_NAME, 100},
		{"a refused port", M2, -1, ERR_UNREACHABLE, 100},
		{"TCP and no TLS", M2, FAKE_MUTE, ERR_TIMEOUT, 10100},
		{"no server's certificate", M2, FAKE_AGENT, ERR_UNTRUSTED, 100},
		{"another CA's certificate", M2, FAKE_STRANGER, ERR_UNTRUSTED, 100},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct candidate *c;
		struct bench b;

		bench_setup(&b, rows[i].entry, NULL);
		if (rows[i].kind >= 0)
			b.m2 = fake_server_new(b.f, M2, (enum fake_kind)rows[i].kind);
		bench_start(&b);
		bench_run(&b, rows[i].after_ms);
		check_row(&rows[i], agent_explain(b.agent, &c) == 1);
		check_row(&rows[i], c->verdict == CHOICE_BACKING_OFF);
		check_row(&rows[i], c->last_error == rows[i].error);
		check_row(&rows[i], c->sentence && c->sentence[0]);
		check_row(&rows[i], c->backoff.failures >= 1 && !c->is_put_off);
		check_row(&rows[i], mono_before(world_now(b.world), c->backoff.retry_at));
		bench_teardown(&b);
	}
}

static void losers_never_send_a_startup(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "," M2, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m2 = fake_server_new(b.f, M2, FAKE_MUSTER);
	fake_cut(b.f, M1, true);
	bench_start(&b);
	bench_run(&b, 260);
	fake_cut(b.f, M1, false);
	bench_run(&b, 10000);
	assert_string_equal(bench_connected(&b), M2);
	assert_int_equal(fake_server_count(b.m1, MSG_STARTUP_ROUTING), 0);
	assert_int_equal(b.m1->n_open, 0);
	assert_int_equal(fake_server_count(b.m2, MSG_STARTUP_ROUTING), 1);
	bench_teardown(&b);
}

static void a_killed_server_is_left_at_once(void **state)
{
	struct bench b;

	bench_up(&b, M1 "," M2 "," M3, NULL);
	bench_run(&b, 20000);
	fake_server_stop(b.m1);
	bench_run(&b, 20);
	assert_string_equal(bench_connected(&b), M2);
	bench_run(&b, 20000);
	fake_server_stop(b.m2);
	bench_run(&b, 20);
	assert_string_equal(bench_connected(&b), M3);
	bench_teardown(&b);
}

static void all_gone_is_waited_out_with_back_off(void **state)
{
	struct bench b;
	size_t n;

	bench_up(&b, M1 "," M2, NULL);
	bench_run(&b, 20000);
	fake_server_stop(b.m1);
	fake_server_stop(b.m2);
	fake_dials_clear(b.f);
	bench_run(&b, 600000);
	n = fake_dials(b.f)->n;
	/* The cap is 30 s, on average 15 s for each of two servers: not a storm, and not asleep either. */
	assert_in_range(n, 40, 160);
	assert_int_equal(bench_look(&b).state, AGENT_SEEKING);
	fake_server_start(b.m2);
	bench_run(&b, 30100);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

static void a_server_that_drops_every_link_is_not_hammered(void **state)
{
	struct bench b;

	bench_up(&b, M1, NULL);
	fake_dials_clear(b.f);
	for (int i = 0; i < 600; i++) {
		fake_server_hang_up(b.m1);
		bench_run(&b, 100);
	}
	assert_in_range(fake_dials(b.f)->n, 4, 40);
	bench_teardown(&b);
}

static void an_avoided_server_is_tried_last_but_tried(void **state)
{
	struct bench b;

	bench_up(&b, M1 "," M2 "," M3, NULL);
	bench_run(&b, 20000);
	bench_send_list(b.m1, &(struct list_fill){.avoid = M1 "," M2});
	bench_run(&b, 10);
	assert_int_equal(verdict_of(&b, M2), CHOICE_AVOIDED);
	fake_server_stop(b.m1);
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), M3);
	assert_int_equal(b.m2->n_links, 0);
	bench_send_list(b.m3, &(struct list_fill){.avoid = M1 "," M2});
	bench_run(&b, 20000);
	fake_server_stop(b.m3);
	bench_run(&b, 1000);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

static void avoid_lists_of_addresses_match_names(void **state)
{
	struct bench b;

	bench_setup(&b, "m1,m2", NULL);
	fake_name(b.f, "m1", M1);
	fake_name(b.f, "m2", M2);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m2 = fake_server_new(b.f, M2, FAKE_MUSTER);
	bench_start(&b);
	bench_run(&b, 20000);
	bench_send_list(b.m1, &(struct list_fill){.avoid = M1});
	bench_run(&b, 10);
	fake_server_hang_up(b.m1);
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), "m2");
	bench_teardown(&b);
}

static void older_lists_are_tried_when_nothing_answers(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "@static", "muster.host.lastgood=" M1 "," M2 "@static\nmuster.host.bootstrap=" M3 "\n");
	b.m3 = fake_server_new(b.f, M3, FAKE_MUSTER);
	bench_start(&b);
	bench_run(&b, 29900);
	for (size_t i = 0; i < fake_dials(b.f)->n; i++)
		assert_true(str_starts(fake_dials(b.f)->items[i], M1));
	bench_run(&b, 30000);
	assert_true(bench_look(&b).on_fallback);
	assert_string_equal(bench_connected(&b), "");
	bench_run(&b, 200);
	assert_string_equal(bench_connected(&b), M3);
	assert_true(bench_look(&b).on_fallback);
	assert_string_equal(bench_look(&b).preferred, M1);
	/* Nothing of this is written. */
	assert_string_equal(bench_get(&b, "host"), M1 "@static");
	assert_string_equal(bench_get(&b, KEY_HOST_LASTGOOD), M1 "," M2 "@static");
	assert_string_equal(((const struct msg_startup_routing *)fake_server_got(b.m3, MSG_STARTUP_ROUTING, 0)
				     ->batch.elements[0]
				     .fields)
				    ->startup.msHostList,
			    M1 "@static");
	/* The server there says where to go. */
	bench_send_list(b.m3, &(struct list_fill){.servers = M3 "," M1, .algorithm = "static"});
	bench_run(&b, 10);
	assert_false(bench_look(&b).on_fallback);
	/* The list that never answered isn't what is worth remembering. */
	assert_string_equal(bench_get(&b, KEY_HOST_LASTGOOD), M1 "," M2 "@static");
	bench_teardown(&b);
}

static void a_name_that_does_not_resolve_leads_where_it_led_before(void **state)
{
	struct bench b;

	bench_setup(&b, "m1,10.0.0.2:8250", NULL);
	fake_name(b.f, "m1", M1);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	bench_start(&b);
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), "m1");
	assert_string_equal(bench_get(&b, KEY_ADDRESSES), "m1=" M1);
	fake_name(b.f, "m1", NULL);
	bench_remake(&b);
	bench_start(&b);
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), "m1");
	assert_string_equal(bench_look(&b).connected_ip, M1);
	bench_teardown(&b);
}

static void cloudstack_is_met_with_the_compatible_profile(void **state)
{
	struct bench b;

	bench_setup(&b, M1, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_CLOUDSTACK);
	bench_start(&b);
	bench_run(&b, 50);
	assert_string_equal(bench_connected(&b), M1);
	check_dials(&b, M1 ":8250@0 " M1 ":8250@3"); /* again at once, no back-off for asking the wrong way */
	bench_teardown(&b);
}

static void a_known_muster_server_is_never_asked_the_weaker_way(void **state)
{
	struct bench b;

	bench_setup(&b, M1, KEY_KNOWN_MUSTER "=" M1 "\n");
	b.m1 = fake_server_new(b.f, M1, FAKE_CLOUDSTACK);
	bench_start(&b);
	bench_run(&b, 120000);
	assert_string_equal(bench_connected(&b), "");
	assert_int_equal(b.m1->n_messages, 0);
	bench_teardown(&b);
}

static void only_servers_are_servers(void **state)
{
	static const struct {
		const char *what;
		enum fake_kind kind;
		bool has_creds;
		bool connects;
	} rows[] = {
		{"a server's certificate", FAKE_MUSTER, true, true},
		{"an agent's certificate does not make a server", FAKE_AGENT, true, false},
		{"another CA's certificate", FAKE_STRANGER, true, false},
		{"another CA's certificate, when there is no CA to ask", FAKE_STRANGER, false, true},
		{"CloudStack's CA itself", FAKE_CLOUDSTACK, true, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;

		bench_setup(&b, M1, NULL);
		if (!rows[i].has_creds) {
			b.params.creds = NULL;
			bench_remake(&b);
		}
		b.m1 = fake_server_new(b.f, M1, rows[i].kind);
		bench_start(&b);
		bench_run(&b, 3000);
		check_row(&rows[i], (bench_look(&b).state == AGENT_UP) == rows[i].connects);
		check_row(&rows[i], rows[i].connects || b.m1->n_messages == 0);
		bench_teardown(&b);
	}
}

static void entries_that_are_no_addresses_are_passed_over(void **state)
{
	struct bench b;

	bench_setup(&b, "m 1,,[::1,10.0.0.1", NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	bench_start(&b);
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(verdict_of(&b, "[::1"), CHOICE_UNUSABLE);
	bench_teardown(&b);
}

/* With and without the port it is the same server. */
static void another_spelling_is_no_other_candidate(void **state)
{
	const struct candidate *c;
	struct bench b;

	bench_setup(&b, M1 "@static", "muster.host.lastgood=" M1 ":8250," M2 "@static\n");
	bench_start(&b);
	bench_run(&b, 31000);
	assert_true(bench_look(&b).on_fallback);
	assert_int_equal(agent_explain(b.agent, &c), 2);
	assert_string_equal(c[0].entry, M1);
	assert_string_equal(c[1].entry, M2);
	/* And it is the one we are on when a list spells it so. */
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	bench_run(&b, 40000);
	assert_string_equal(bench_connected(&b), M1);
	bench_send_list(b.m1, &(struct list_fill){.servers = M1 ":8250," M2, .algorithm = "static"});
	bench_run(&b, 100);
	assert_int_equal(agent_explain(b.agent, &c), 2);
	assert_int_equal(c[0].verdict, CHOICE_CONNECTED);
	bench_teardown(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_of_the_list_is_taken),
		cmocka_unit_test(a_refused_port_costs_no_time),
		cmocka_unit_test(a_silent_address_costs_a_quarter_of_a_second),
		cmocka_unit_test(at_most_three_are_dialled_at_a_time),
		cmocka_unit_test(one_that_has_tcp_gets_a_second),
		cmocka_unit_test(why_a_server_is_not_reached_is_said),
		cmocka_unit_test(losers_never_send_a_startup),
		cmocka_unit_test(a_killed_server_is_left_at_once),
		cmocka_unit_test(all_gone_is_waited_out_with_back_off),
		cmocka_unit_test(a_server_that_drops_every_link_is_not_hammered),
		cmocka_unit_test(an_avoided_server_is_tried_last_but_tried),
		cmocka_unit_test(avoid_lists_of_addresses_match_names),
		cmocka_unit_test(older_lists_are_tried_when_nothing_answers),
		cmocka_unit_test(a_name_that_does_not_resolve_leads_where_it_led_before),
		cmocka_unit_test(cloudstack_is_met_with_the_compatible_profile),
		cmocka_unit_test(a_known_muster_server_is_never_asked_the_weaker_way),
		cmocka_unit_test(only_servers_are_servers),
		cmocka_unit_test(entries_that_are_no_addresses_are_passed_over),
		cmocka_unit_test(another_spelling_is_no_other_candidate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
