/* A server that is emptied: whom it asks with which words, who counts as gone, who may still come in, how it ends. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "engine_bench.h"

static const struct agent_script muster_1 = {
	.guid = "h1", .ip = "10.1.0.1", .identity = ID_URI, .is_muster = true, .boot = "b1"};
static const struct agent_script muster_2 = {
	.guid = "h2", .ip = "10.1.0.2", .identity = ID_URI, .is_muster = true, .boot = "b2"};
static const struct agent_script cloudstack = {.guid = "h3", .ip = "10.1.0.3", .identity = ID_SAN};

static void cluster_up(struct engine_bench *e)
{
	engine_up(e);
	node_add(e, &e->b, B_IP);
	engine_run(e, 1500);
}

static enum server_state state_of(struct node *at, struct node *of)
{
	return roster_server(at->server, server_msid(of->server))->row.state;
}

static void gone(void *user)
{
	((struct node *)user)->was_gone = true;
}

static struct script *on_a(struct engine_bench *e, const struct agent_script *as)
{
	struct script *a = script_new(e, as);

	script_dial(a, &e->a);
	engine_run(e, 500);
	assert_true(host_of(&e->a, as->guid) && host_of(&e->a, as->guid)->session);
	return a;
}

static const struct msg_migrate *migrate_of(const struct script *a, size_t n)
{
	const struct fake_message *m = script_got(a, MSG_MIGRATE, n);

	assert_non_null(m);
	return m->batch.elements[0].fields;
}

static void agrees(struct script *a)
{
	script_answer(a, script_got(a, MSG_MIGRATE, script_count(a, MSG_MIGRATE) - 1), MSG_ANSWER, true);
}

static struct drain_row report_of(struct engine_bench *e, struct node *n)
{
	return engine_drain(e, server_msid(n->server));
}

#define report_has(e, n, part)                                                                                         \
	do {                                                                                                           \
		struct drain_row row_ = report_of(e, n);                                                               \
		assert_non_null(row_.report);                                                                          \
		if (!strstr(row_.report, part))                                                                        \
			fail_msg("%s is not in %s", part, row_.report);                                                \
		drain_row_deinit(&row_);                                                                               \
	} while (0)

static void agents_move_before_the_server_is_in_maintenance(void **state)
{
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	a = on_a(&e, &muster_1);
	engine_ask_drain(&e, &e.a, &(struct drain_row){0});
	engine_run(&e, 500);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_PREPARING_FOR_MAINTENANCE);
	/* It has heard whom to avoid before it was asked to move. */
	assert_non_null(script_got(a, MSG_SETUP_MS_LIST, 0));
	assert_int_equal(script_count(a, MSG_MIGRATE), 1);
	assert_true(script_got(a, MSG_SETUP_MS_LIST, 0)->at_ms <= script_got(a, MSG_MIGRATE, 0)->at_ms);
	assert_int_equal(migrate_of(a, 0)->avoidMsList.list.n, 1);
	assert_string_equal(migrate_of(a, 0)->avoidMsList.list.items[0], A_IP);
	assert_false(migrate_of(a, 0)->msList.has);
	agrees(a);
	engine_run(&e, 1500);
	/* Gone is who is up elsewhere, not who has agreed. */
	assert_int_equal(state_of(&e.b, &e.a), SERVER_PREPARING_FOR_MAINTENANCE);
	report_has(&e, &e.a, "\"asked\":1");
	script_dial(a, &e.b);
	engine_run(&e, 1000);
	assert_int_equal(state_of(&e.a, &e.a), SERVER_MAINTENANCE);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_MAINTENANCE);
	assert_int_equal(status_in_store(&e, host_of(&e.b, "h1")->row.id), HOST_UP);
	report_has(&e, &e.a, "\"state\":\"done\"");
	report_has(&e, &e.a, "\"moved\":1");
	engine_down(&e);
}

static void an_empty_server_is_in_maintenance_at_once(void **state)
{
	struct engine_bench e;

	cluster_up(&e);
	engine_ask_drain(&e, &e.a, &(struct drain_row){0});
	engine_run(&e, 1000);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_MAINTENANCE);
	engine_down(&e);
}

static void nobody_enters_while_another_takes_agents(void **state)
{
	struct engine_bench e;
	struct script *a, *c, *late;
	const struct msg_startup_answer *answer;

	cluster_up(&e);
	a = on_a(&e, &muster_1);
	engine_ask_drain(&e, &e.a, &(struct drain_row){0});
	engine_run(&e, 500);
	/* A muster agent is told when to come back, and who takes it. */
	late = script_new(&e, &muster_2);
	script_dial(late, &e.a);
	engine_run(&e, 300);
	assert_int_equal(script_count(late, MSG_STARTUP_ANSWER), 1);
	answer = script_got(late, MSG_STARTUP_ANSWER, 0)->batch.elements[0].fields;
	assert_false(answer->result.value);
	assert_true(answer->musterRetryMs.has);
	assert_string_equal(answer->musterServer, B_IP);
	assert_non_null(strstr(answer->details, "PreparingForMaintenance"));
	assert_false(script_is_open(late));
	/* A CloudStack agent hears nothing: it would exit. */
	c = script_new(&e, &cloudstack);
	script_dial(c, &e.a);
	engine_run(&e, 300);
	assert_int_equal(script_count(c, MSG_STARTUP_ANSWER), 0);
	assert_false(script_is_open(c));
	/* Who is here and dials again keeps what it has. */
	script_dial(a, &e.a);
	engine_run(&e, 300);
	assert_non_null(host_of(&e.a, "h1")->session);
	/* When the other one has died, the door is open and the drain pauses. */
	fake_works_cut(e.f);
	node_kill(&e.b);
	engine_run(&e, 8000);
	assert_int_equal(state_of(&e.a, &e.a), SERVER_PREPARING_FOR_MAINTENANCE);
	script_dial(late, &e.a);
	engine_run(&e, 500);
	assert_true(script_is_open(late));
	assert_non_null(host_of(&e.a, "h2")->session);
	engine_run(&e, 1500);
	report_has(&e, &e.a, "\"state\":\"paused\"");
	engine_down(&e);
}

static void an_agent_without_another_server_in_its_list_is_let_in(void **state)
{
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	engine_config(&e, "host", A_IP);
	engine_run(&e, 300);
	engine_ask_drain(&e, &e.a, &(struct drain_row){0});
	engine_run(&e, 1500);
	a = script_new(&e, &muster_1);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	assert_true(script_is_open(a));
	assert_non_null(host_of(&e.a, "h1")->session);
	engine_down(&e);
}

/* What counts is the list that the agent has, not the one that it should have. */
static void the_door_goes_by_the_list_of_the_agent(void **state)
{
	static const struct {
		const char *what;
		const char *host, *list;
		bool is_let_in;
	} rows[] = {
		{"it knows no other", "10.0.0.1,10.0.0.2", "10.0.0.1@static", true},
		{"it knows one that is no server", "10.0.0.1,10.0.0.2", "10.0.0.1,10.9.9.9@static", true},
		{"it knows one that the setting has lost", "10.0.0.1", "10.0.0.1,10.0.0.2@static", false},
		{"it has said nothing", "10.0.0.1,10.0.0.2", NULL, false},
		{"it has said nothing that names one", "10.0.0.1,10.0.0.2", "", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;
		struct agent_script as = muster_1;
		struct script *a;

		print_message("%s\n", rows[i].what);
		cluster_up(&e);
		engine_config(&e, "host", rows[i].host);
		engine_run(&e, 300);
		engine_ask_drain(&e, &e.a, &(struct drain_row){0});
		engine_run(&e, 1500);
		as.list = rows[i].list;
		a = script_new(&e, &as);
		script_dial(a, &e.a);
		engine_run(&e, 500);
		assert_int_equal(script_is_open(a), rows[i].is_let_in);
		engine_down(&e);
	}
}

static void overrun(struct engine_bench *e, struct node *n, bool is)
{
	n->server->is_overrun = is;
	peer_status_changed(n->server);
	engine_run(e, 300);
}

static void a_drain_waits_for_a_server_that_is_overrun(void **state)
{
	struct engine_bench e;
	struct script *a, *late;

	cluster_up(&e);
	overrun(&e, &e.b, true);
	a = on_a(&e, &muster_1);
	engine_ask_drain(&e, &e.a, &(struct drain_row){0});
	engine_run(&e, 3500);
	assert_int_equal(script_count(a, MSG_MIGRATE), 0);
	report_has(&e, &e.a, "\"state\":\"paused\"");
	/* Nobody comes in here for that. */
	late = script_new(&e, &muster_2);
	script_dial(late, &e.a);
	engine_run(&e, 300);
	assert_false(script_is_open(late));
	overrun(&e, &e.b, false);
	engine_run(&e, 1500);
	assert_int_equal(script_count(a, MSG_MIGRATE), 1);
	engine_down(&e);
}

static void a_stop_does_not_wait_for_a_server_that_is_overrun(void **state)
{
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	overrun(&e, &e.b, true);
	a = on_a(&e, &muster_1);
	server_leave(e.a.server, 10000, gone, &e.a);
	engine_run(&e, 300);
	assert_false(e.a.was_gone);
	assert_int_equal(script_count(a, MSG_MIGRATE), 1);
	engine_down(&e);
}

static void a_cancelled_drain_opens_the_door(void **state)
{
	struct engine_bench e;
	struct script *late;

	cluster_up(&e);
	on_a(&e, &muster_1);
	engine_ask_drain(&e, &e.a, &(struct drain_row){0});
	engine_run(&e, 700);
	engine_server_event(&e, &e.a, SERVER_EVENT_CANCEL_MAINTENANCE);
	engine_run(&e, 500);
	assert_null(e.a.server->draining);
	late = script_new(&e, &muster_2);
	script_dial(late, &e.a);
	engine_run(&e, 500);
	assert_non_null(host_of(&e.a, "h2")->session);
	report_has(&e, &e.a, "\"state\":\"cancelled\"");
	engine_down(&e);
}

/* Both before this server reads its row again. */
static void a_drain_that_is_asked_for_again_goes_by_the_new_words(void **state)
{
	static const struct {
		const char *what;
		int64_t first_ms, then_ms;
		enum server_state at_7_s;
	} rows[] = {
		{"it has more time", 5000, 60000, SERVER_PREPARING_FOR_MAINTENANCE},
		{"it has less time", 60000, 5000, SERVER_MAINTENANCE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;
		struct drain_row row;

		print_message("%s\n", rows[i].what);
		cluster_up(&e);
		on_a(&e, &muster_1);
		engine_ask_drain(&e, &e.a, &(struct drain_row){.timeout_ms = rows[i].first_ms});
		engine_run(&e, 500);
		engine_server_event(&e, &e.a, SERVER_EVENT_CANCEL_MAINTENANCE);
		engine_ask_drain(&e, &e.a, &(struct drain_row){.timeout_ms = rows[i].then_ms, .forced = true});
		engine_run(&e, 7500);
		assert_int_equal(state_of(&e.b, &e.a), rows[i].at_7_s);
		row = report_of(&e, &e.a);
		assert_non_null(row.report);
		drain_row_deinit(&row);
		engine_down(&e);
	}
}

static void the_report_says_that_the_server_has_stopped(void **state)
{
	struct engine_bench e;

	cluster_up(&e);
	on_a(&e, &muster_1);
	engine_ask_drain(&e, &e.a, &(struct drain_row){0});
	engine_run(&e, 2500);
	report_has(&e, &e.a, "\"state\":\"running\"");
	server_leave(e.a.server, 1000, gone, &e.a);
	engine_run(&e, 1500);
	assert_true(e.a.was_gone);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_MAINTENANCE);
	report_has(&e, &e.a, "\"state\":\"stopped\"");
	engine_down(&e);
}

static void a_cloudstack_agent_is_left_one_candidate(void **state)
{
	struct engine_bench e;
	struct agent_script as = cloudstack;
	struct script *a;

	cluster_up(&e);
	/* A server that is not there stands between: it must not be what the agent tries. */
	engine_config(&e, "host", "10.0.0.1,10.9.9.9,10.0.0.2");
	engine_run(&e, 500);
	as.list = "10.0.0.1,10.9.9.9,10.0.0.2@static";
	a = on_a(&e, &as);
	engine_ask_drain(&e, &e.a, &(struct drain_row){0});
	engine_run(&e, 2500);
	assert_int_equal(script_count(a, MSG_MIGRATE), 1);
	assert_int_equal(migrate_of(a, 0)->avoidMsList.list.n, 2);
	assert_string_equal(migrate_of(a, 0)->avoidMsList.list.items[0], "10.0.0.1");
	assert_string_equal(migrate_of(a, 0)->avoidMsList.list.items[1], "10.9.9.9");
	agrees(a);
	/* It closes first, and is awaited. */
	script_hang_up(a);
	engine_run(&e, 1500);
	assert_int_equal(state_of(&e.a, &e.a), SERVER_PREPARING_FOR_MAINTENANCE);
	report_has(&e, &e.a, "\"left\":1");
	script_dial(a, &e.b);
	engine_run(&e, 1500);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_MAINTENANCE);
	engine_down(&e);
}

static void a_list_without_a_server_to_go_to_is_a_reason(void **state)
{
	struct engine_bench e;
	struct agent_script as = cloudstack;
	struct script *a;

	cluster_up(&e);
	engine_config(&e, "host", "10.0.0.1,10.9.9.9");
	engine_run(&e, 500);
	as.list = "10.0.0.1,10.9.9.9@static";
	a = on_a(&e, &as);
	engine_ask_drain(&e, &e.a, &(struct drain_row){0});
	engine_run(&e, 3000);
	assert_int_equal(script_count(a, MSG_MIGRATE), 0);
	report_has(&e, &e.a, "no server of its list takes agents now");
	engine_down(&e);
}

static void who_refuses_is_asked_again_and_listed(void **state)
{
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	a = on_a(&e, &muster_1);
	engine_ask_drain(&e, &e.a, &(struct drain_row){.timeout_ms = 60000});
	engine_run(&e, 500);
	script_answer(a, script_got(a, MSG_MIGRATE, 0), MSG_ANSWER, false);
	engine_run(&e, 1500);
	/* Refused, or asked once more already: that is for the back-off's draw. */
	report_has(&e, &e.a, "it refused to move and gave no reason");
	engine_run(&e, 20000);
	assert_true(script_count(a, MSG_MIGRATE) >= 2);
	/* Time is over: everything is as it was, and it is said who has not moved. */
	engine_run(&e, 45000);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_UP);
	assert_true(script_is_open(a));
	assert_non_null(host_of(&e.a, "h1")->session);
	assert_null(e.a.server->draining);
	report_has(&e, &e.a, "\"state\":\"timed out\"");
	engine_down(&e);
}

static void a_forced_drain_closes_who_is_left(void **state)
{
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	a = on_a(&e, &muster_1);
	engine_ask_drain(&e, &e.a, &(struct drain_row){.timeout_ms = 5000, .forced = true});
	engine_run(&e, 500);
	script_answer(a, script_got(a, MSG_MIGRATE, 0), MSG_ANSWER, false);
	engine_run(&e, 4000);
	assert_true(script_is_open(a));
	engine_run(&e, 1500);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_MAINTENANCE);
	assert_false(script_is_open(a));
	report_has(&e, &e.a, "\"state\":\"timed out\"");
	engine_down(&e);
}

static void who_vanishes_is_listed_and_not_waited_for(void **state)
{
	struct engine_bench e;
	struct script *a, *b;

	cluster_up(&e);
	a = on_a(&e, &muster_1);
	b = on_a(&e, &muster_2);
	engine_ask_drain(&e, &e.a, &(struct drain_row){.per_s = 1});
	engine_run(&e, 400);
	/* One is asked; the other, which was not, loses its link. */
	script_hang_up(script_count(a, MSG_MIGRATE) ? b : a);
	engine_run(&e, 300);
	script_dial(script_count(a, MSG_MIGRATE) ? a : b, &e.b);
	engine_run(&e, 1000);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_MAINTENANCE);
	report_has(&e, &e.a, "\"vanished\":1");
	report_has(&e, &e.a, "its link was lost and no other server has it");
	engine_down(&e);
}

static void a_store_that_fails_only_delays(void **state)
{
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	a = on_a(&e, &muster_1);
	engine_ask_drain(&e, &e.a, &(struct drain_row){0});
	engine_run(&e, 300);
	assert_int_equal(script_count(a, MSG_MIGRATE), 1);
	e.a.store_fails = true;
	agrees(a);
	script_dial(a, &e.b);
	engine_run(&e, 4000);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_PREPARING_FOR_MAINTENANCE);
	e.a.store_fails = false;
	engine_run(&e, 3000);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_MAINTENANCE);
	engine_down(&e);
}

static void a_server_that_dies_while_it_is_drained_is_in_maintenance(void **state)
{
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	a = on_a(&e, &muster_1);
	engine_ask_drain(&e, &e.a, &(struct drain_row){0});
	engine_run(&e, 500);
	fake_works_cut(e.f);
	node_kill(&e.a);
	engine_run(&e, 200);
	node_add(&e, &e.a, A_IP);
	engine_run(&e, 1500);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_MAINTENANCE);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	assert_false(script_is_open(a));
	script_dial(a, &e.b);
	engine_run(&e, 500);
	assert_true(script_is_open(a));
	/* And it comes out of it. */
	engine_server_event(&e, &e.a, SERVER_EVENT_CANCEL_MAINTENANCE);
	engine_run(&e, 500);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	assert_non_null(host_of(&e.a, "h1")->session);
	engine_down(&e);
}

static void who_came_for_want_of_another_is_sent_on(void **state)
{
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	engine_ask_drain(&e, &e.a, &(struct drain_row){0});
	engine_run(&e, 1500);
	fake_works_cut(e.f);
	node_kill(&e.b);
	engine_run(&e, 8000);
	a = on_a(&e, &muster_1);
	engine_run(&e, 5000);
	assert_int_equal(script_count(a, MSG_MIGRATE), 0);
	node_add(&e, &e.b, B_IP);
	engine_run(&e, 5000);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_MAINTENANCE);
	assert_int_equal(script_count(a, MSG_MIGRATE), 1);
	agrees(a);
	script_dial(a, &e.b);
	engine_run(&e, 1000);
	assert_null(e.a.server->draining);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_MAINTENANCE);
	engine_down(&e);
}

static void hosts_in_maintenance_can_be_left_out(void **state)
{
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	engine_config(&e, "management.server.maintenance.ignore.maintenance.hosts", "true");
	a = on_a(&e, &muster_1);
	engine_resource_state(&e, host_of(&e.a, "h1")->row.id, RESOURCE_EVENT_INTERNAL_ENTER_MAINTENANCE);
	engine_run(&e, 500);
	engine_ask_drain(&e, &e.a, &(struct drain_row){0});
	engine_run(&e, 1500);
	assert_int_equal(script_count(a, MSG_MIGRATE), 0);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_MAINTENANCE);
	assert_true(script_is_open(a));
	engine_down(&e);
}

static void a_list_of_another_algorithm_is_sent_along(void **state)
{
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	a = on_a(&e, &muster_1);
	engine_ask_drain(&e, &e.a, &(struct drain_row){.algorithm = (char[]){"roundrobin"}});
	engine_run(&e, 500);
	assert_string_equal(migrate_of(a, 0)->lbAlgorithm, "roundrobin");
	assert_int_equal(migrate_of(a, 0)->msList.list.n, 2);
	engine_down(&e);
}

/* ---- stopping ---- */

static void a_stop_moves_agents_first(void **state)
{
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	a = on_a(&e, &muster_1);
	server_leave(e.a.server, 10000, gone, &e.a);
	engine_run(&e, 300);
	assert_false(e.a.was_gone);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_SHUTTING_DOWN);
	assert_int_equal(script_count(a, MSG_MIGRATE), 1);
	assert_string_equal(migrate_of(a, 0)->avoidMsList.list.items[0], A_IP);
	agrees(a);
	script_dial(a, &e.b);
	engine_run(&e, 500);
	assert_true(e.a.was_gone);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_DOWN);
	assert_int_equal(status_in_store(&e, host_of(&e.b, "h1")->row.id), HOST_UP);
	engine_down(&e);
}

static void a_stop_does_not_wait_longer_than_it_may(void **state)
{
	struct engine_bench e;

	cluster_up(&e);
	on_a(&e, &muster_1);
	server_leave(e.a.server, 3000, gone, &e.a);
	engine_run(&e, 2800);
	assert_false(e.a.was_gone);
	engine_run(&e, 400);
	assert_true(e.a.was_gone);
	engine_down(&e);
}

static void a_server_that_dies_on_its_way_out_is_down(void **state)
{
	struct engine_bench e;
	int64_t msid;

	cluster_up(&e);
	on_a(&e, &muster_1);
	server_leave(e.a.server, 60000, gone, &e.a);
	engine_run(&e, 500);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_SHUTTING_DOWN);
	msid = server_msid(e.a.server);
	fake_works_cut(e.f);
	node_kill(&e.a);
	engine_run(&e, 8000);
	assert_int_equal(roster_server(e.b.server, msid)->row.state, SERVER_DOWN);
	engine_down(&e);
}

/* Its heartbeat says so, and it goes on leaving. */
static void who_was_taken_for_dead_goes_on_leaving(void **state)
{
	struct engine_bench e;

	cluster_up(&e);
	on_a(&e, &muster_1);
	server_leave(e.a.server, 60000, gone, &e.a);
	engine_run(&e, 500);
	engine_server_event(&e, &e.a, SERVER_EVENT_LOST);
	engine_run(&e, 200);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_DOWN);
	engine_run(&e, 2500);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_SHUTTING_DOWN);
	assert_false(e.a.was_gone);
	engine_down(&e);
}

static void a_stop_is_at_once_where_waiting_helps_nobody(void **state)
{
	static const struct {
		const char *what;
		bool has_other, has_agent, twice;
		int64_t within_ms;
	} rows[] = {
		{"no other server", false, true, false, 10000},
		{"no agent", true, false, false, 10000},
		{"no time", true, true, false, 0},
		{"told twice", true, true, true, 10000},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;

		print_message("%s\n", rows[i].what);
		engine_up(&e);
		if (rows[i].has_other)
			node_add(&e, &e.b, B_IP);
		engine_run(&e, 1500);
		if (rows[i].has_agent)
			on_a(&e, &muster_1);
		server_leave(e.a.server, rows[i].within_ms, gone, &e.a);
		engine_run(&e, 100);
		if (rows[i].twice) {
			assert_false(e.a.was_gone);
			server_leave(e.a.server, rows[i].within_ms, gone, &e.a);
			engine_run(&e, 100);
		}
		assert_true(e.a.was_gone);
		engine_down(&e);
	}
}

static void a_stop_ends_when_the_others_stop_too(void **state)
{
	struct engine_bench e;

	cluster_up(&e);
	on_a(&e, &muster_1);
	server_leave(e.a.server, 10000, gone, &e.a);
	server_leave(e.b.server, 10000, gone, &e.b);
	engine_run(&e, 700);
	assert_true(e.a.was_gone);
	assert_true(e.b.was_gone);
	engine_down(&e);
}

static void a_server_in_maintenance_stays_in_it_when_it_stops(void **state)
{
	struct engine_bench e;

	cluster_up(&e);
	engine_ask_drain(&e, &e.a, &(struct drain_row){0});
	engine_run(&e, 1000);
	server_leave(e.a.server, 10000, gone, &e.a);
	engine_run(&e, 300);
	assert_true(e.a.was_gone);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_MAINTENANCE);
	engine_down(&e);
}

static void jobs_done_is_ready_to_shut_down(void **state)
{
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	a = on_a(&e, &muster_1);
	engine_server_event(&e, &e.a, SERVER_EVENT_PREPARE_SHUTDOWN);
	engine_run(&e, 1500);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_READY_TO_SHUTDOWN);
	/* Agents are not moved by that, and come in as ever: nobody empties this server. */
	assert_int_equal(script_count(a, MSG_MIGRATE), 0);
	assert_true(script_is_open(a));
	on_a(&e, &muster_2);
	engine_server_event(&e, &e.a, SERVER_EVENT_CANCEL_SHUTDOWN);
	engine_run(&e, 500);
	assert_int_equal(state_of(&e.b, &e.a), SERVER_UP);
	engine_down(&e);
}

static void a_triggered_shutdown_asks_the_process_to_stop(void **state)
{
	struct engine_bench e;

	cluster_up(&e);
	engine_server_event(&e, &e.a, SERVER_EVENT_TRIGGER_SHUTDOWN);
	engine_run(&e, 3000);
	assert_int_equal(e.a.n_stop_asked, 1);
	engine_down(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agents_move_before_the_server_is_in_maintenance),
		cmocka_unit_test(an_empty_server_is_in_maintenance_at_once),
		cmocka_unit_test(nobody_enters_while_another_takes_agents),
		cmocka_unit_test(an_agent_without_another_server_in_its_list_is_let_in),
		cmocka_unit_test(the_door_goes_by_the_list_of_the_agent),
		cmocka_unit_test(a_drain_waits_for_a_server_that_is_overrun),
		cmocka_unit_test(a_stop_does_not_wait_for_a_server_that_is_overrun),
		cmocka_unit_test(a_cancelled_drain_opens_the_door),
		cmocka_unit_test(a_drain_that_is_asked_for_again_goes_by_the_new_words),
		cmocka_unit_test(the_report_says_that_the_server_has_stopped),
		cmocka_unit_test(a_cloudstack_agent_is_left_one_candidate),
		cmocka_unit_test(a_list_without_a_server_to_go_to_is_a_reason),
		cmocka_unit_test(who_refuses_is_asked_again_and_listed),
		cmocka_unit_test(a_forced_drain_closes_who_is_left),
		cmocka_unit_test(who_vanishes_is_listed_and_not_waited_for),
		cmocka_unit_test(a_store_that_fails_only_delays),
		cmocka_unit_test(a_server_that_dies_while_it_is_drained_is_in_maintenance),
		cmocka_unit_test(who_came_for_want_of_another_is_sent_on),
		cmocka_unit_test(hosts_in_maintenance_can_be_left_out),
		cmocka_unit_test(a_list_of_another_algorithm_is_sent_along),
		cmocka_unit_test(a_stop_moves_agents_first),
		cmocka_unit_test(a_stop_does_not_wait_longer_than_it_may),
		cmocka_unit_test(a_server_that_dies_on_its_way_out_is_down),
		cmocka_unit_test(who_was_taken_for_dead_goes_on_leaving),
		cmocka_unit_test(a_stop_is_at_once_where_waiting_helps_nobody),
		cmocka_unit_test(a_stop_ends_when_the_others_stop_too),
		cmocka_unit_test(a_server_in_maintenance_stays_in_it_when_it_stops),
		cmocka_unit_test(jobs_done_is_ready_to_shut_down),
		cmocka_unit_test(a_triggered_shutdown_asks_the_process_to_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
