/*
 * One server and its agents: who is let in, what they are told, how sessions follow each other, what happens when the
 * store does not work. Two servers: test_engine_cluster.c.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "engine_bench.h"

static const struct agent_script h1 = {
	.guid = "h1", .ip = "10.1.0.1", .identity = ID_URI, .is_muster = true, .boot = "b1"};
static const struct agent_script java = {.guid = "java", .ip = "10.1.0.9", .identity = ID_SAN};

static enum session_state state_at(struct node *n, const char *guid)
{
	struct host *h = host_of(n, guid);

	return h && h->session ? h->session->state : SESSION_CLOSED;
}

/* ---- startup ---- */

static void who_is_let_in(void **state)
{
	static const struct {
		const char *what;
		struct agent_script as;
		const char *strict;
		bool is_up;
		bool is_secured;
	} rows[] = {
		{"an agent with its own certificate",
		 {.guid = "x", .ip = "10.1.0.1", .identity = ID_URI, .is_muster = true, .boot = "b"},
		 "true",
		 true,
		 true},
		{"a CloudStack agent whose certificate names its address",
		 {.guid = "x", .ip = "10.1.0.1", .identity = ID_SAN},
		 "true",
		 true,
		 true},
		{"nobody without a certificate",
		 {.guid = "x", .ip = "10.1.0.1", .identity = ID_NONE},
		 "true",
		 false,
		 false},
		{"but unsecured where strictness is off",
		 {.guid = "x", .ip = "10.1.0.1", .identity = ID_NONE},
		 "false",
		 true,
		 false},
		{"a server's certificate is no agent's",
		 {.guid = "x", .ip = "10.1.0.1", .identity = ID_SERVER},
		 "true",
		 false,
		 false},
		{"a guid that can't be kept",
		 {.guid = "a/b", .ip = "10.1.0.1", .identity = ID_NONE},
		 "false",
		 false,
		 false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;
		struct script *a;
		struct host *h;

		print_message("%s\n", rows[i].what);
		engine_up(&e);
		engine_config(&e, "ca.plugin.root.auth.strictness", rows[i].strict);
		engine_run(&e, 300);
		a = script_new(&e, &rows[i].as);
		script_dial(a, &e.a);
		engine_run(&e, 500);
		h = host_of(&e.a, "x");
		assert_int_equal(state_at(&e.a, "x"), rows[i].is_up ? SESSION_READY : SESSION_CLOSED);
		assert_int_equal(script_is_open(a), rows[i].is_up);
		assert_int_equal(h != NULL, rows[i].is_up);
		if (h) {
			assert_int_equal(h->row.secured, rows[i].is_secured);
			assert_int_equal(status_in_store(&e, h->row.id), HOST_UP);
		}
		engine_down(&e);
	}
}

static void a_host_bound_to_a_certificate_is_not_given_to_less(void **state)
{
	struct engine_bench e;
	struct agent_script weak = {.guid = "h1", .ip = "10.1.0.1", .identity = ID_NONE};
	struct script *a, *thief;

	engine_up(&e);
	engine_config(&e, "ca.plugin.root.auth.strictness", "false");
	engine_run(&e, 300);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	script_hang_up(a);
	engine_run(&e, 300);
	thief = script_new(&e, &weak);
	script_dial(thief, &e.a);
	engine_run(&e, 300);
	assert_false(script_is_open(thief));
	assert_int_equal(state_at(&e.a, "h1"), SESSION_CLOSED);
	engine_down(&e);
}

static void a_copy_is_refused_while_the_first_answers(void **state)
{
	struct engine_bench e;
	struct agent_script copy = h1;
	struct script *a, *b;

	copy.boot = "b2";
	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	b = script_new(&e, &copy);
	script_dial(b, &e.a);
	engine_run(&e, 300);
	assert_true(script_is_open(b)); /* held back: the older link may be about to end */
	engine_run(&e, 3000);
	assert_true(script_is_open(a));
	assert_false(script_is_open(b));
	assert_int_equal(state_at(&e.a, "h1"), SESSION_READY);
	engine_down(&e);
}

static void a_restarted_agent_is_no_copy_of_itself(void **state)
{
	struct engine_bench e;
	struct agent_script again = h1;
	struct script *a, *b;

	again.boot = "b2";
	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	/* The machine has gone without a word: its old link is open here and silent. */
	link_set_heartbeat(a->link, 0);
	b = script_new(&e, &again);
	script_dial(b, &e.a);
	engine_run(&e, 3000);
	assert_true(script_is_open(b));
	assert_int_equal(state_at(&e.a, "h1"), SESSION_READY);
	engine_down(&e);
}

/* A hold has an end of its own, whatever is set for startups, and nothing else ends it. */
static void a_held_startup_waits_for_its_whole_time(void **state)
{
	static const struct {
		const char *what;
		const char *timeout_s;
		bool first_answers, says_it_twice;
		bool second_gets_in;
	} rows[] = {
		{"a restart where startups have one second", "1", false, false, true},
		{"a copy there", "1", true, false, false},
		{"a copy that says it twice", "30", true, true, false},
		{"a restarted one that says it twice", "30", false, true, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct agent_script again = h1;
		struct engine_bench e;
		struct script *a, *b;

		again.boot = "b2";
		engine_up(&e);
		engine_config(&e, "agent.startup.timeout", rows[i].timeout_s);
		a = script_new(&e, &h1);
		script_dial(a, &e.a);
		engine_run(&e, 3000);
		if (!rows[i].first_answers)
			link_set_heartbeat(a->link, 0);
		b = script_new(&e, &again);
		script_dial(b, &e.a);
		engine_run(&e, 10);
		if (rows[i].says_it_twice)
			script_startup(b);
		engine_run(&e, 2000);
		check_row(&rows[i], script_is_open(b) && script_count(b, MSG_STARTUP_ANSWER) == 0);
		check_row(&rows[i], e.a.server->n_held == 1);
		engine_run(&e, 2000);
		check_row(&rows[i], script_is_open(b) == rows[i].second_gets_in);
		check_row(&rows[i],
			  str_equal(host_of(&e.a, "h1")->session->boot, rows[i].second_gets_in ? "b2" : "b1"));
		check_row(&rows[i], e.a.server->n_held == 0);
		engine_down(&e);
	}
}

static void only_so_many_startups_are_held(void **state)
{
	struct agent_script copy = h1;
	struct engine_bench e;
	struct script *a, *b;
	const struct msg_startup_answer *answer;

	copy.boot = "b2";
	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	e.a.server->n_held += 256;
	b = script_new(&e, &copy);
	script_dial(b, &e.a);
	engine_run(&e, 300);
	assert_false(script_is_open(b));
	assert_int_equal(script_count(b, MSG_STARTUP_ANSWER), 1);
	answer = script_got(b, MSG_STARTUP_ANSWER, 0)->batch.elements[0].fields;
	assert_int_equal(answer->musterRetryMs.value, 3000);
	e.a.server->n_held -= 256;
	assert_int_equal(e.a.server->n_held, 0);
	engine_down(&e);
}

/* By the count of its starts: a startup of an earlier one was long on its way, unless it is a copy's. */
static void an_earlier_start_of_an_agent_is_late(void **state)
{
	static const struct {
		const char *what;
		int64_t first, second;
		bool first_answers;
		bool first_stays, second_gets_in;
	} rows[] = {
		{"a restart: later, and the first is silent", 4, 5, false, false, true},
		{"a copy that was started more often", 4, 5, true, true, false},
		{"an earlier start of one that is silent now", 5, 4, false, true, false},
		{"a copy that was started less often", 5, 4, true, true, false},
		{"the same count: as if there were none", 4, 4, false, false, true},
		{"no count", 4, 0, false, false, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;
		struct agent_script one = h1, two = h1;
		struct script *a, *b;

		one.boot_number = rows[i].first;
		two.boot_number = rows[i].second;
		two.boot = "b2";
		engine_up(&e);
		a = script_new(&e, &one);
		script_dial(a, &e.a);
		engine_run(&e, 300);
		if (!rows[i].first_answers)
			link_set_heartbeat(a->link, 0);
		b = script_new(&e, &two);
		script_dial(b, &e.a);
		engine_run(&e, 3000);
		check_row(&rows[i], script_is_open(b) == rows[i].second_gets_in);
		check_row(&rows[i], str_equal(host_of(&e.a, "h1")->session->boot, rows[i].first_stays ? "b1" : "b2"));
		engine_down(&e);
	}
}

/* What an earlier start sent on an earlier link is no copy's: nobody is held back and no alarm is raised. */
static void a_startup_of_a_dead_process_is_late_at_once(void **state)
{
	struct agent_script one = h1, two = h1;
	struct engine_bench e;
	struct script *a, *b;

	one.boot_number = 4;
	two.boot_number = 5;
	two.boot = "b2";
	engine_up(&e);
	a = script_new(&e, &one);
	a->no_startup = true;
	script_dial(a, &e.a);
	engine_run(&e, 300);
	b = script_new(&e, &two);
	script_dial(b, &e.a);
	engine_run(&e, 300);
	script_startup(a);
	engine_run(&e, 100);
	assert_false(script_is_open(a));
	assert_int_equal(script_count(a, MSG_STARTUP_ANSWER), 0); /* a copy is told that it is refused */
	assert_int_equal(state_at(&e.a, "h1"), SESSION_READY);
	/* If it lives after all it is heard of. */
	a->no_startup = false;
	script_dial(a, &e.a);
	engine_run(&e, 3500);
	assert_false(script_is_open(a));
	assert_int_equal(script_count(a, MSG_STARTUP_ANSWER), 1);
	engine_down(&e);
}

/* A machine that was restored from a backup has an older count and nothing else. */
static void a_count_that_went_back_shuts_nobody_out(void **state)
{
	struct engine_bench e;
	struct agent_script one = h1, restored = h1;
	struct script *a, *b;

	one.boot_number = 9;
	restored.boot_number = 2;
	restored.boot = "b2";
	engine_up(&e);
	a = script_new(&e, &one);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	script_hang_up(a);
	engine_run(&e, 1000);
	b = script_new(&e, &restored);
	script_dial(b, &e.a);
	engine_run(&e, 1000);
	assert_false(script_is_open(b)); /* the other may be about to come back */
	engine_run(&e, 16000);
	script_dial(b, &e.a);
	engine_run(&e, 1000);
	assert_true(script_is_open(b));
	assert_int_equal(state_at(&e.a, "h1"), SESSION_READY);
	engine_down(&e);
}

/* ---- the pace of those who come home ---- */

static const struct msg_startup_answer *answer_of(const struct script *a)
{
	size_t n = script_count(a, MSG_STARTUP_ANSWER);
	const struct fake_message *m = n ? script_got(a, MSG_STARTUP_ANSWER, n - 1) : NULL;

	return m ? m->batch.elements[0].fields : NULL;
}

static int64_t comes_for(struct engine_bench *e, struct script *a, const char *purpose)
{
	const struct msg_startup_answer *answer;

	a->purpose = purpose;
	script_dial(a, &e->a);
	engine_run(e, 20);
	answer = answer_of(a);
	assert_non_null(answer);
	if (answer->result.value)
		return 0;
	assert_true(answer->musterRetryMs.has);
	assert_non_null(answer->details);
	a->put_off++;
	return answer->musterRetryMs.value;
}

/* Rate 10, burst 2: four agents come at once. */
static void agents_come_home_at_a_pace(void **state)
{
	static const char *const guids[] = {"p0", "p1", "p2", "p3", "p4", "p5"};
	struct engine_bench e;
	struct script *a[6];
	int64_t wait_ms[6];

	engine_up(&e);
	engine_config(&e, "agent.failback.rate", "10");
	engine_config(&e, "agent.failback.burst", "2");
	engine_run(&e, 500);
	for (size_t i = 0; i < 6; i++) {
		struct agent_script as = h1;

		as.guid = guids[i];
		a[i] = script_new(&e, &as);
	}
	for (size_t i = 0; i < 4; i++)
		wait_ms[i] = comes_for(&e, a[i], "preferred");
	assert_int_equal(wait_ms[0], 0);
	assert_int_equal(wait_ms[1], 0);
	assert_in_range(wait_ms[2], 100, 105);
	assert_in_range(wait_ms[3], 130, 145); /* a tenth of a second behind it */
	assert_false(script_is_open(a[2]));
	assert_int_equal(state_at(&e.a, "p2"), SESSION_CLOSED);
	/* Any other reason takes no token and needs none. */
	assert_int_equal(comes_for(&e, a[4], "seek"), 0);
	assert_int_equal(comes_for(&e, a[5], NULL), 0);
	/* Too early: its token isn't there yet, and it isn't charged twice. */
	wait_ms[3] = comes_for(&e, a[3], "preferred");
	assert_in_range(wait_ms[3], 100, 110);
	engine_run(&e, 140);
	assert_int_equal(comes_for(&e, a[2], "preferred"), 0);
	assert_int_equal(comes_for(&e, a[3], "preferred"), 0);
	assert_int_equal(e.a.server->n_promises, 0);
	/* Who comes later pays for himself. */
	engine_run(&e, 1000);
	assert_int_equal(token_bucket_there(&e.a.server->arrivals, world_now(e.world)), 2);
	engine_down(&e);
}

static void a_pause_lets_nobody_come_home(void **state)
{
	struct engine_bench e;
	struct script *a;

	engine_up(&e);
	engine_config(&e, "agent.failback.rate", "0");
	engine_run(&e, 500);
	a = script_new(&e, &h1);
	/* Also what has been saved up isn't used: it is a pause. */
	assert_in_range(comes_for(&e, a, "preferred"), 30000, 60000);
	assert_int_equal(e.a.server->n_promises, 0);
	assert_non_null(strstr(answer_of(a)->details, "agent.failback.rate is 0"));
	/* It has no link any more, and may come. */
	assert_int_equal(comes_for(&e, a, "seek"), 0);
	engine_down(&e);
}

/* Somebody who is promised a token and never comes is forgotten; promises have an end too. */
static void promises_are_bounded(void **state)
{
	struct engine_bench e;
	char guid[16];
	int64_t wait_ms = 0;

	engine_up(&e);
	engine_config(&e, "agent.failback.rate", "100");
	engine_config(&e, "agent.failback.burst", "1");
	engine_run(&e, 500);
	for (size_t i = 0; i < 7000; i++) {
		snprintf(guid, sizeof(guid), "g%zu", i);
		wait_ms = arrivals_wait_ms(e.a.server, guid);
		assert_in_range(wait_ms, i ? 1 : 0, 60000);
	}
	/* At 100 a second a minute has room for 6000. */
	assert_in_range(e.a.server->n_promises, 5990, 6001);
	engine_run(&e, 95000);
	assert_int_equal(arrivals_wait_ms(e.a.server, "g10"), 0);
	assert_int_equal(e.a.server->n_promises, 0);
	engine_down(&e);
}

/* A link that was superseded here and that the agent comes back to is in use: it must not be closed for the pace. */
static void coming_back_to_a_link_is_no_arrival(void **state)
{
	struct engine_bench e;
	struct script *a;

	engine_up(&e);
	a = script_new(&e, &h1);
	assert_int_equal(comes_for(&e, a, "preferred"), 0);
	engine_config(&e, "agent.failback.rate", "0");
	engine_run(&e, 500);
	a->purpose = "suspect";
	script_dial(a, &e.a);
	engine_run(&e, 200);
	script_hang_up(a);
	script_back_to_oldest(a);
	a->purpose = "preferred"; /* what this link was made for */
	script_startup(a);
	engine_run(&e, 500);
	assert_true(script_is_open(a));
	assert_int_equal(state_at(&e.a, "h1"), SESSION_READY);
	engine_down(&e);
}

/* ---- Ready and lists ---- */

static void ready_brings_the_list_when_it_is_outdated(void **state)
{
	struct engine_bench e;
	struct agent_script current = h1;
	struct script *a;
	const struct fake_message *m;
	const struct msg_ready *ready;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	m = script_got(a, MSG_READY, 0);
	assert_non_null(m);
	ready = m->batch.elements[0].fields;
	assert_true(ready->msHostList.has);
	assert_string_equal(ready->msHostList.list.items[0], A_IP);
	assert_string_equal(ready->lbAlgorithm, "static");
	assert_true(ready->avoidMsHostList.has && ready->lbCheckInterval.has);
	assert_null(ready->_details);
	assert_string_equal(host_of(&e.a, "h1")->session->reported, A_IP "@static");

	current.list = A_IP "@static";
	script_free(a);
	engine_run(&e, 300);
	a = script_new(&e, &current);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	m = script_got(a, MSG_READY, 0);
	ready = m->batch.elements[0].fields;
	assert_false(ready->msHostList.has);
	engine_down(&e);
}

static void an_agent_that_can_not_keep_its_list_stays_up_and_is_told_again(void **state)
{
	struct engine_bench e;
	struct script *a;
	struct server_view v;

	engine_up(&e);
	a = script_new(&e, &h1);
	a->refuses_lists = true;
	script_dial(a, &e.a);
	engine_run(&e, 300);
	assert_int_equal(state_at(&e.a, "h1"), SESSION_READY);
	server_look(e.a.server, &v);
	assert_int_equal(v.outdated, 1);
	engine_run(&e, 5000);
	assert_true(script_count(a, MSG_SETUP_MS_LIST) >= 2);
	a->refuses_lists = false;
	engine_run(&e, 130000);
	server_look(e.a.server, &v);
	assert_int_equal(v.outdated, 0);
	engine_down(&e);
}

static void a_change_reaches_exactly_those_whose_list_changes(void **state)
{
	struct engine_bench e;
	struct script *agents[6];
	char guids[6][8];
	struct server_view v;

	engine_up(&e);
	engine_config(&e, "host", "m1,m2");
	engine_config(&e, "indirect.agent.lb.algorithm", "roundrobin");
	engine_run(&e, 300);
	for (size_t i = 0; i < ARRAY_SIZE(agents); i++) {
		struct agent_script as = h1;

		snprintf(guids[i], sizeof(guids[i]), "g%zu", i);
		as.guid = guids[i];
		agents[i] = script_new(&e, &as);
		script_dial(agents[i], &e.a);
		engine_run(&e, 50);
	}
	engine_run(&e, 300);
	/* Slots 0, 2 and 4 begin with m1 already; static is another algorithm, so all are told. */
	engine_config(&e, "indirect.agent.lb.algorithm", "static");
	engine_run(&e, 300);
	for (size_t i = 0; i < ARRAY_SIZE(agents); i++)
		assert_int_equal(script_count(agents[i], MSG_SETUP_MS_LIST), 1);
	/* The same value in other words changes nothing. */
	engine_config(&e, "host", " m1, m2");
	engine_run(&e, 300);
	for (size_t i = 0; i < ARRAY_SIZE(agents); i++)
		assert_int_equal(script_count(agents[i], MSG_SETUP_MS_LIST), 1);
	server_look(e.a.server, &v);
	assert_int_equal(v.outdated, 0);
	engine_down(&e);
}

static void agents_are_told_a_window_at_a_time(void **state)
{
	struct engine_bench e;
	struct script *agents[90];
	char guids[90][8];
	size_t told = 0;
	struct server_view v;

	engine_up(&e);
	for (size_t i = 0; i < ARRAY_SIZE(agents); i++) {
		struct agent_script as = h1;

		snprintf(guids[i], sizeof(guids[i]), "g%zu", i);
		as.guid = guids[i];
		agents[i] = script_new(&e, &as);
		script_dial(agents[i], &e.a);
	}
	engine_run(&e, 500);
	for (size_t i = 0; i < ARRAY_SIZE(agents); i++)
		agents[i]->silent = true;
	engine_config(&e, "host", "m1,m2");
	engine_run(&e, 500);
	for (size_t i = 0; i < ARRAY_SIZE(agents); i++)
		told += script_count(agents[i], MSG_SETUP_MS_LIST);
	assert_int_equal(told, 64);
	server_look(e.a.server, &v);
	assert_int_equal(v.outdated, ARRAY_SIZE(agents));
	for (size_t i = 0; i < ARRAY_SIZE(agents); i++)
		agents[i]->silent = false;
	engine_run(&e, 130000);
	server_look(e.a.server, &v);
	assert_int_equal(v.outdated, 0);
	engine_down(&e);
}

static void a_link_lost_while_it_is_told_is_told_by_its_next_ready(void **state)
{
	struct engine_bench e;
	struct script *a;
	const struct msg_ready *ready;
	struct server_view v;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	a->silent = true;
	engine_config(&e, "host", "m1,m2");
	engine_run(&e, 300);
	assert_int_equal(script_count(a, MSG_SETUP_MS_LIST), 1);
	script_hang_up(a);
	script_forget(a);
	a->silent = false;
	script_dial(a, &e.a);
	engine_run(&e, 300);
	assert_int_equal(script_count(a, MSG_READY), 1);
	ready = script_got(a, MSG_READY, 0)->batch.elements[0].fields;
	assert_int_equal(ready->msHostList.list.n, 2);
	assert_int_equal(script_count(a, MSG_SETUP_MS_LIST), 0);
	server_look(e.a.server, &v);
	assert_int_equal(v.outdated, 0);
	engine_down(&e);
}

static void a_change_while_ready_is_under_way_is_told_after_it(void **state)
{
	struct engine_bench e;
	struct script *a;
	const struct msg_setup_ms_list *list;

	engine_up(&e);
	a = script_new(&e, &h1);
	a->silent_ready = true;
	script_dial(a, &e.a);
	engine_run(&e, 300);
	engine_config(&e, "host", "m1,m2");
	engine_run(&e, 300);
	assert_int_equal(script_count(a, MSG_SETUP_MS_LIST), 0);
	script_answer(a, script_got(a, MSG_READY, 0), MSG_READY_ANSWER, true);
	engine_run(&e, 300);
	assert_int_equal(script_count(a, MSG_SETUP_MS_LIST), 1);
	list = script_got(a, MSG_SETUP_MS_LIST, 0)->batch.elements[0].fields;
	assert_int_equal(list->msList.list.n, 2);
	engine_down(&e);
}

static void a_ping_is_echoed_and_tells_whom_to_avoid(void **state)
{
	struct engine_bench e;
	struct script *a;
	const struct msg_ping_answer *answer;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	script_send(a, MSG_PING_ROUTING, NULL);
	engine_run(&e, 100);
	assert_int_equal(script_count(a, MSG_PING_ANSWER), 1);
	answer = script_got(a, MSG_PING_ANSWER, 0)->batch.elements[0].fields;
	assert_non_null(answer->_command);
	assert_true(json_is_array(json_object_get(answer->_command, "commandInfos")));
	assert_true(answer->avoidMsList.has);
	assert_int_equal(answer->avoidMsList.list.n, 0);
	engine_down(&e);
}

/* ---- removal ---- */

static void an_attached_host_that_is_removed_is_told_so(void **state)
{
	struct engine_bench e;
	struct script *a;
	int64_t id;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	id = host_of(&e.a, "h1")->row.id;
	engine_delete_host(&e, id);
	engine_run(&e, 300);
	assert_null(roster_host(e.a.server, id));
	assert_false(script_is_open(a));
	assert_int_equal(script_count(a, MSG_SHUTDOWN), 1);
	engine_down(&e);
}

static void a_host_removed_while_it_gets_ready(void **state)
{
	struct engine_bench e;
	struct script *a;

	engine_up(&e);
	a = script_new(&e, &h1);
	a->silent_ready = true;
	script_dial(a, &e.a);
	engine_run(&e, 300);
	assert_int_equal(state_at(&e.a, "h1"), SESSION_ATTACHED);
	engine_delete_host(&e, host_of(&e.a, "h1")->row.id);
	engine_run(&e, 300);
	assert_int_equal(roster_n_hosts(e.a.server), 0);
	assert_false(script_is_open(a));
	/* Ready is still unanswered, in sequence; the goodbye does not stand behind it. */
	assert_int_equal(script_count(a, MSG_SHUTDOWN), 1);
	engine_down(&e);
}

static void a_removal_that_was_not_heard_of_is_found_when_everything_is_read(void **state)
{
	struct engine_bench e;
	struct script *a;
	int64_t id;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	id = host_of(&e.a, "h1")->row.id;
	engine_delete_host(&e, id);
	/* As if an older copy of the store had been restored: the numbers of its changes are behind ours. */
	e.a.server->change_seq = INT64_C(1) << 40;
	engine_run(&e, 300);
	assert_null(roster_host(e.a.server, id));
	assert_false(script_is_open(a));
	engine_down(&e);
}

static void a_revocation_cuts_the_link_also_when_its_reading_failed(void **state)
{
	struct engine_bench e;
	struct script *a;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	e.a.store_fails = true;
	engine_revoke(&e, "5e1ah1");
	authority_reload(e.a.server);
	fake_world_settle(e.f);
	/* The change itself was seen; only the list of serials could not be read. */
	e.a.server->change_seq++;
	assert_true(script_is_open(a));
	e.a.store_fails = false;
	engine_run(&e, 1500);
	assert_false(script_is_open(a));
	engine_down(&e);
}

/* ---- grace ---- */

static void a_lost_link_is_an_event_only_after_the_grace(void **state)
{
	struct engine_bench e;
	struct script *a;
	int64_t id;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	id = host_of(&e.a, "h1")->row.id;
	script_hang_up(a);
	engine_run(&e, 14000);
	assert_int_equal(status_in_store(&e, id), HOST_UP);
	script_dial(a, &e.a);
	engine_run(&e, 20000);
	assert_int_equal(status_in_store(&e, id), HOST_UP);
	script_hang_up(a);
	engine_run(&e, 16000);
	assert_int_equal(status_in_store(&e, id), HOST_ALERT);
	engine_down(&e);
}

static void a_link_lost_while_it_is_claimed_gets_the_grace_too(void **state)
{
	struct engine_bench e;
	struct script *a;
	int64_t id;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	id = host_of(&e.a, "h1")->row.id;
	script_hang_up(a);
	engine_run(&e, 1000);
	script_dial(a, &e.a);
	e.a.drops_claims = true;
	engine_run(&e, 100);
	assert_false(script_is_open(a));
	e.a.drops_claims = false;
	engine_run(&e, 5000);
	assert_int_equal(status_in_store(&e, id), HOST_CONNECTING);
	engine_run(&e, 15000);
	assert_int_equal(status_in_store(&e, id), HOST_ALERT);
	engine_down(&e);
}

/* ---- links that replace each other ---- */

static void a_newer_link_takes_over_and_the_agent_may_come_back(void **state)
{
	struct engine_bench e;
	struct script *a;
	struct session *first;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	first = host_of(&e.a, "h1")->session;
	script_dial(a, &e.a);
	engine_run(&e, 300);
	assert_ptr_not_equal(host_of(&e.a, "h1")->session, first);
	assert_int_equal(first->state, SESSION_SUPERSEDED);
	/* The newer one is lost; the agent says on the first that it is still here. */
	script_hang_up(a);
	script_back_to_oldest(a);
	script_startup(a);
	engine_run(&e, 500);
	assert_ptr_equal(host_of(&e.a, "h1")->session, first);
	assert_int_equal(first->state, SESSION_READY);
	assert_int_equal(status_in_store(&e, host_of(&e.a, "h1")->row.id), HOST_UP);
	engine_down(&e);
}

/* One agent's certificate is good for three links, however often it comes. */
static void two_superseded_links_of_a_host_are_kept(void **state)
{
	struct header h = {.flags = FLAG_REQUEST, .seq = 77, .mgmt_id = -1, .agent_id = -1, .via = -1};
	char *much = mem_zalloc(2 * 1024 * 1024 + 1);
	struct engine_bench e;
	struct script *a;

	memset(much, ' ', 2 * 1024 * 1024);
	engine_up(&e);
	a = script_new(&e, &h1);
	for (size_t i = 0; i < 6; i++) {
		script_dial(a, &e.a);
		engine_run(&e, 200);
		assert_int_equal(e.a.server->n_in_state[SESSION_SUPERSEDED], i < 2 ? i : 2);
		assert_int_equal(state_at(&e.a, "h1"), SESSION_READY);
	}
	assert_int_equal(a->n_closed, 3);
	/* And the others are for answers, not for big messages. */
	script_hang_up(a);
	engine_run(&e, 100);
	for (size_t i = 0; i < 4; i++) {
		script_back_to_oldest(a);
		if (script_is_open(a))
			break;
		script_hang_up(a);
	}
	assert_int_equal(link_send(a->link, &h, much, 2 * 1024 * 1024), ERR_OK);
	engine_run(&e, 500);
	assert_int_equal(e.a.server->n_in_state[SESSION_SUPERSEDED], 1);
	mem_free(much);
	engine_down(&e);
}

/* The host is gone from memory before its older links are. */
static void superseded_links_outlive_their_host(void **state)
{
	struct engine_bench e;
	struct script *a;

	engine_up(&e);
	a = script_new(&e, &h1);
	for (size_t i = 0; i < 3; i++) {
		script_dial(a, &e.a);
		engine_run(&e, 200);
	}
	engine_delete_host(&e, host_of(&e.a, "h1")->row.id);
	engine_run(&e, 1000);
	assert_null(host_of(&e.a, "h1"));
	assert_int_equal(e.a.server->n_in_state[SESSION_SUPERSEDED], 2);
	engine_run(&e, 31000);
	assert_int_equal(e.a.server->n_in_state[SESSION_SUPERSEDED], 0);
	engine_down(&e);
}

/* ---- requests ---- */

struct heard {
	int n;
	enum err result;
};

static void heard(void *user, enum err result, const char *sentence, const struct batch *answers)
{
	struct heard *h = user;

	h->n++;
	h->result = result;
}

static void ask(struct node *n, const char *guid, enum msg_type type, int64_t wait_ms, struct heard *h)
{
	struct batch b = {0};
	struct request_params p = {.wait_ms = wait_ms, .done = heard, .user = h};

	*h = (struct heard){0};
	assert_non_null(batch_add(&b, type));
	assert_int_equal(request_to_host(n->server, host_of(n, guid), &b, &p), ERR_OK);
}

static void in_sequence_commands_wait_for_each_other(void **state)
{
	struct engine_bench e;
	struct script *a;
	struct heard one, two, three;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	ask(&e.a, "h1", MSG_MAINTAIN, 60000, &one);
	ask(&e.a, "h1", MSG_MAINTAIN, 60000, &two);
	ask(&e.a, "h1", MSG_GET_HOST_STATS, 60000, &three);
	engine_run(&e, 100);
	assert_int_equal(script_count(a, MSG_MAINTAIN), 1);
	assert_int_equal(script_count(a, MSG_GET_HOST_STATS), 1);
	script_answer(a, script_got(a, MSG_MAINTAIN, 0), MSG_ANSWER, true);
	engine_run(&e, 100);
	assert_int_equal(one.n, 1);
	assert_int_equal(script_count(a, MSG_MAINTAIN), 2);
	assert_int_equal(two.n, 0);
	engine_down(&e);
	assert_int_equal(two.n, 1); /* told once, that the server ended */
	assert_int_equal(three.n, 1);
}

static void one_that_is_given_up_makes_room_for_the_next(void **state)
{
	struct engine_bench e;
	struct script *a;
	struct heard one, two, three;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	ask(&e.a, "h1", MSG_MAINTAIN, 5000, &one);
	ask(&e.a, "h1", MSG_MAINTAIN, 2000, &two);
	ask(&e.a, "h1", MSG_CHECK_NETWORK, 60000, &three);
	engine_run(&e, 6000);
	assert_int_equal(one.result, ERR_TIMEOUT);
	assert_int_equal(two.result, ERR_TIMEOUT);
	/* The second was given up before its turn: it is not sent any more. */
	assert_int_equal(script_count(a, MSG_MAINTAIN), 1);
	assert_int_equal(script_count(a, MSG_CHECK_NETWORK), 1);
	engine_down(&e);
}

static void requests_of_a_muster_agent_outlive_its_link(void **state)
{
	static const bool waits[] = {false, true}; /* the old link lives on for a while, or is lost first */

	for (size_t i = 0; i < ARRAY_SIZE(waits); i++) {
		struct engine_bench e;
		struct script *a;
		struct heard one, two;

		engine_up(&e);
		a = script_new(&e, &h1);
		script_dial(a, &e.a);
		engine_run(&e, 300);
		ask(&e.a, "h1", MSG_MAINTAIN, 60000, &one);
		ask(&e.a, "h1", MSG_MAINTAIN, 60000, &two);
		engine_run(&e, 100);
		if (!waits[i])
			script_hang_up(a);
		script_forget(a);
		script_dial(a, &e.a);
		engine_run(&e, 500);
		assert_int_equal(one.n + two.n, 0);
		/* Sent again; the second, which waited for its turn on the old link, in its turn. */
		assert_int_equal(script_count(a, MSG_MAINTAIN), 1);
		script_answer(a, script_got(a, MSG_MAINTAIN, 0), MSG_ANSWER, true);
		engine_run(&e, 100);
		assert_int_equal(one.n, 1);
		assert_int_equal(script_count(a, MSG_MAINTAIN), 2);
		script_answer(a, script_got(a, MSG_MAINTAIN, 1), MSG_ANSWER, true);
		engine_run(&e, 100);
		assert_int_equal(two.n, 1);
		assert_int_equal(one.result + two.result, ERR_OK);
		engine_down(&e);
	}
}

static void requests_of_a_cloudstack_agent_end_with_its_link(void **state)
{
	struct engine_bench e;
	struct script *a;
	struct heard one;

	engine_up(&e);
	a = script_new(&e, &java);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	assert_int_equal(state_at(&e.a, "java"), SESSION_READY);
	ask(&e.a, "java", MSG_MAINTAIN, 60000, &one);
	engine_run(&e, 100);
	/* Its new link comes before the old one is known to be dead. */
	script_dial(a, &e.a);
	engine_run(&e, 300);
	assert_int_equal(one.n, 1);
	assert_int_equal(one.result, ERR_CLOSED);
	engine_down(&e);
}

static void an_agent_answers_only_for_itself(void **state)
{
	struct engine_bench e;
	struct agent_script other = {
		.guid = "h2", .ip = "10.1.0.2", .identity = ID_URI, .is_muster = true, .boot = "b2"};
	struct script *a, *liar;
	struct heard one;
	struct fake_message forged;

	engine_up(&e);
	a = script_new(&e, &h1);
	liar = script_new(&e, &other);
	script_dial(a, &e.a);
	script_dial(liar, &e.a);
	engine_run(&e, 300);
	ask(&e.a, "h1", MSG_MAINTAIN, 60000, &one);
	engine_run(&e, 100);
	forged = *script_got(a, MSG_MAINTAIN, 0);
	script_answer(liar, &forged, MSG_ANSWER, true);
	forged.header.agent_id = host_of(&e.a, "h2")->row.id;
	script_answer(liar, &forged, MSG_ANSWER, true);
	engine_run(&e, 100);
	assert_int_equal(one.n, 0);
	script_answer(a, script_got(a, MSG_MAINTAIN, 0), MSG_ANSWER, true);
	engine_run(&e, 100);
	assert_int_equal(one.n, 1);
	engine_down(&e);
}

/* ---- the store fails ---- */

static void a_known_host_is_served_without_the_store(void **state)
{
	struct engine_bench e;
	struct agent_script unknown = {
		.guid = "new", .ip = "10.1.0.3", .identity = ID_URI, .is_muster = true, .boot = "n"};
	struct script *a, *b;
	struct session *x;
	int64_t id;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	id = host_of(&e.a, "h1")->row.id;
	e.a.store_fails = true;
	script_hang_up(a);
	script_dial(a, &e.a);
	b = script_new(&e, &unknown);
	script_dial(b, &e.a);
	engine_run(&e, 500);
	x = host_of(&e.a, "h1")->session;
	assert_non_null(x);
	assert_true(x->provisional);
	assert_int_equal(x->state, SESSION_READY);
	assert_false(script_is_open(b));
	e.a.store_fails = false;
	engine_run(&e, 3000);
	assert_false(x->provisional);
	assert_int_equal(x->epoch, host_of(&e.a, "h1")->row.epoch);
	assert_int_equal(status_in_store(&e, id), HOST_UP);
	engine_down(&e);
}

static void ready_may_be_answered_after_the_claim_was_made_good(void **state)
{
	struct engine_bench e;
	struct script *a;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	e.a.store_fails = true;
	a->silent_ready = true;
	script_forget(a);
	script_hang_up(a);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	e.a.store_fails = false;
	engine_run(&e, 3000);
	script_answer(a, script_got(a, MSG_READY, 0), MSG_READY_ANSWER, true);
	engine_run(&e, 500);
	assert_int_equal(state_at(&e.a, "h1"), SESSION_READY);
	assert_int_equal(status_in_store(&e, host_of(&e.a, "h1")->row.id), HOST_UP);
	engine_down(&e);
}

static void an_agent_without_heartbeats_is_gone_within_seconds(void **state)
{
	struct engine_bench e;
	struct script *a;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	assert_int_equal(state_at(&e.a, "h1"), SESSION_READY);
	link_set_heartbeat(a->link, 0);
	engine_run(&e, 8000);
	assert_int_equal(state_at(&e.a, "h1"), SESSION_READY);
	engine_run(&e, 4000);
	assert_null(host_of(&e.a, "h1")->session);
	/* The grace period of a lost link runs from there. */
	assert_int_equal(host_of(&e.a, "h1")->row.status, HOST_UP);
	engine_run(&e, 16000);
	assert_int_equal(host_of(&e.a, "h1")->row.status, HOST_ALERT);
	engine_down(&e);
}

static void the_silence_of_an_older_link_does_not_end_a_provisional_one(void **state)
{
	struct engine_bench e;
	struct script *a;

	engine_up(&e);
	a = script_new(&e, &h1);
	a->silent_ready = true;
	script_dial(a, &e.a);
	engine_run(&e, 300);
	e.a.store_fails = true;
	a->silent_ready = false;
	script_dial(a, &e.a);
	engine_run(&e, 80000);
	assert_true(script_is_open(a));
	assert_int_equal(state_at(&e.a, "h1"), SESSION_READY);
	engine_down(&e);
}

static void a_startup_again_while_the_claim_waits_for_the_store(void **state)
{
	struct engine_bench e;
	struct script *a;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	e.a.store_fails = true;
	script_hang_up(a);
	script_dial(a, &e.a);
	engine_run(&e, 700);
	for (int i = 0; i < 5; i++) {
		script_startup(a);
		engine_run(&e, 350);
	}
	script_hang_up(a);
	engine_run(&e, 5000); /* no timer of the session is left behind */
	e.a.store_fails = false;
	engine_down(&e);
}

static void a_status_that_the_store_did_not_take_is_told_again(void **state)
{
	struct engine_bench e;
	struct script *a;
	int64_t id;

	engine_up(&e);
	a = script_new(&e, &h1);
	a->silent_ready = true;
	script_dial(a, &e.a);
	engine_run(&e, 300);
	id = host_of(&e.a, "h1")->row.id;
	e.a.store_fails = true;
	script_answer(a, script_got(a, MSG_READY, 0), MSG_READY_ANSWER, true);
	engine_run(&e, 3000);
	assert_int_equal(status_in_store(&e, id), HOST_CONNECTING);
	e.a.store_fails = false;
	engine_run(&e, 3000);
	assert_int_equal(status_in_store(&e, id), HOST_UP);
	engine_down(&e);
}

static void a_goodbye_without_the_store_is_not_forgotten(void **state)
{
	struct engine_bench e;
	struct script *a;
	int64_t id;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	id = host_of(&e.a, "h1")->row.id;
	e.a.store_fails = true;
	script_hang_up(a);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	session_end(host_of(&e.a, "h1")->session, ERR_CLOSED, "agent stopped", EVENT_SHUTDOWN_REQUESTED);
	e.a.store_fails = false;
	engine_run(&e, 3000);
	assert_int_equal(status_in_store(&e, id), HOST_DISCONNECTED);
	engine_down(&e);
}

static void a_change_whose_reading_failed_is_read_later(void **state)
{
	struct engine_bench e;

	engine_up(&e);
	e.a.store_fails = true;
	engine_config(&e, "host", "m7");
	engine_run(&e, 500);
	e.a.store_fails = false;
	engine_run(&e, 300);
	assert_string_equal(lists_servers(e.a.server)->items[0], "m7");
	engine_down(&e);
}

static void stop_a(struct engine_bench *e)
{
	server_stop(e->a.server, NULL, NULL);
}

static void kill_a(struct engine_bench *e)
{
	fake_works_cut(e->f);
	node_kill(&e->a);
}

static void store_fails_for_a(struct engine_bench *e)
{
	e->a.store_fails = true;
}

struct heard_answer {
	unsigned n;
	int status;
	char *text;
};

static void hear_answer(void *user, int status, json_t *body)
{
	struct heard_answer *h = user;

	h->n++;
	h->status = status;
	h->text = json_dumps(body, JSON_COMPACT);
}

/*
 * The store is slow: while the change is written a poll queues up behind it. It sees nothing, since others have
 * committed nothing, and what is to be read comes after it.
 */
static void an_answer_shows_its_own_change(void **state)
{
	static const struct {
		const char *what;
		void (*meanwhile)(struct engine_bench *e);
		int status;
		const char *with;
	} rows[] = {
		{"nothing else happens", NULL, 200, "\"value\":\"roundrobin\""},
		{"the server stops", stop_a, 200, "\"name\":\"indirect.agent.lb.algorithm\""},
		{"the server is freed", kill_a, 503, "has stopped"},
		{"the change can't be read", store_fails_for_a, 200, "\"name\":\"indirect.agent.lb.algorithm\""},
	};
	const struct api_caller caller = {.is_local = true, .address = "local"};
	const struct api_param params[] = {
		{"command", "updateConfiguration"},
		{"name", "indirect.agent.lb.algorithm"},
		{"value", "roundrobin"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;
		struct heard_answer h = {0};

		engine_up(&e);
		fake_works_hold(e.f, true);
		server_api(e.a.server, &caller, params, ARRAY_SIZE(params), hear_answer, &h);
		engine_run(&e, 150);
		assert_int_equal(h.n, 0);
		if (rows[i].meanwhile)
			rows[i].meanwhile(&e);
		fake_works_hold(e.f, false);
		engine_run(&e, 300);
		if (h.n != 1 || h.status != rows[i].status || !strstr(h.text, rows[i].with))
			fail_msg("%s: %u answers, %d: %s", rows[i].what, h.n, h.status, h.text);
		mem_free(h.text);
		engine_down(&e);
	}
}

/* ---- the end ---- */

static void a_server_can_be_freed_at_any_moment(void **state)
{
	for (int steps = 0; steps < 120; steps += test_rounds(1 + (steps > 60), 1)) {
		struct engine_bench e;
		struct script *a;
		struct heard one;
		int left = steps;

		engine_world(&e);
		node_make(&e, &e.a, A_IP);
		if (steps)
			node_start(&e.a);
		while (left > 0 && fake_world_step(e.f))
			left--;
		if (left > 0 && steps > 60) {
			engine_run(&e, 100);
			a = script_new(&e, &h1);
			script_dial(a, &e.a);
			a = script_new(&e, &java);
			script_dial(a, &e.a);
			engine_run(&e, steps - 60);
			if (host_of(&e.a, "h1") && host_of(&e.a, "h1")->session)
				ask(&e.a, "h1", MSG_MAINTAIN, 1000, &one);
		}
		fake_works_cut(e.f);
		node_kill(&e.a);
		engine_down(&e);
	}
}

static void gone(void *user)
{
	struct node *n = user;

	n->was_gone = true;
}

static void a_server_can_be_stopped_at_any_moment(void **state)
{
	for (int steps = 0; steps < 60; steps++) {
		struct engine_bench e;

		engine_world(&e);
		node_make(&e, &e.a, A_IP);
		node_start(&e.a);
		for (int left = steps; left > 0 && fake_world_step(e.f); left--)
			;
		server_stop(e.a.server, gone, &e.a);
		engine_run(&e, 5000);
		assert_true(e.a.was_gone);
		assert_false(e.a.server->running);
		list_for (m, &e.a.server->servers, struct member_server, in_servers)
			assert_int_not_equal(m->row.state == SERVER_UP && e.a.server->listener, 1);
		engine_down(&e);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_let_in),
		cmocka_unit_test(a_host_bound_to_a_certificate_is_not_given_to_less),
		cmocka_unit_test(a_copy_is_refused_while_the_first_answers),
		cmocka_unit_test(a_restarted_agent_is_no_copy_of_itself),
		cmocka_unit_test(a_held_startup_waits_for_its_whole_time),
		cmocka_unit_test(only_so_many_startups_are_held),
		cmocka_unit_test(an_earlier_start_of_an_agent_is_late),
		cmocka_unit_test(a_startup_of_a_dead_process_is_late_at_once),
		cmocka_unit_test(a_count_that_went_back_shuts_nobody_out),
		cmocka_unit_test(agents_come_home_at_a_pace),
		cmocka_unit_test(a_pause_lets_nobody_come_home),
		cmocka_unit_test(promises_are_bounded),
		cmocka_unit_test(coming_back_to_a_link_is_no_arrival),
		cmocka_unit_test(ready_brings_the_list_when_it_is_outdated),
		cmocka_unit_test(an_agent_that_can_not_keep_its_list_stays_up_and_is_told_again),
		cmocka_unit_test(a_change_reaches_exactly_those_whose_list_changes),
		cmocka_unit_test(agents_are_told_a_window_at_a_time),
		cmocka_unit_test(a_link_lost_while_it_is_told_is_told_by_its_next_ready),
		cmocka_unit_test(a_change_while_ready_is_under_way_is_told_after_it),
		cmocka_unit_test(a_ping_is_echoed_and_tells_whom_to_avoid),
		cmocka_unit_test(an_attached_host_that_is_removed_is_told_so),
		cmocka_unit_test(a_host_removed_while_it_gets_ready),
		cmocka_unit_test(a_removal_that_was_not_heard_of_is_found_when_everything_is_read),
		cmocka_unit_test(a_revocation_cuts_the_link_also_when_its_reading_failed),
		cmocka_unit_test(a_lost_link_is_an_event_only_after_the_grace),
		cmocka_unit_test(a_link_lost_while_it_is_claimed_gets_the_grace_too),
		cmocka_unit_test(a_newer_link_takes_over_and_the_agent_may_come_back),
		cmocka_unit_test(two_superseded_links_of_a_host_are_kept),
		cmocka_unit_test(superseded_links_outlive_their_host),
		cmocka_unit_test(in_sequence_commands_wait_for_each_other),
		cmocka_unit_test(one_that_is_given_up_makes_room_for_the_next),
		cmocka_unit_test(requests_of_a_muster_agent_outlive_its_link),
		cmocka_unit_test(requests_of_a_cloudstack_agent_end_with_its_link),
		cmocka_unit_test(an_agent_answers_only_for_itself),
		cmocka_unit_test(a_known_host_is_served_without_the_store),
		cmocka_unit_test(ready_may_be_answered_after_the_claim_was_made_good),
		cmocka_unit_test(an_agent_without_heartbeats_is_gone_within_seconds),
		cmocka_unit_test(the_silence_of_an_older_link_does_not_end_a_provisional_one),
		cmocka_unit_test(a_startup_again_while_the_claim_waits_for_the_store),
		cmocka_unit_test(a_status_that_the_store_did_not_take_is_told_again),
		cmocka_unit_test(a_goodbye_without_the_store_is_not_forgotten),
		cmocka_unit_test(a_change_whose_reading_failed_is_read_later),
		cmocka_unit_test(an_answer_shows_its_own_change),
		cmocka_unit_test(a_server_can_be_freed_at_any_moment),
		cmocka_unit_test(a_server_can_be_stopped_at_any_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
