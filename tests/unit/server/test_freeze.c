/* freezeHosts and thawHosts: what is answered, who hears of it when, who is let in, what CloudStack agents are told. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "engine_bench.h"
#include "server/api.h"

#define INTERVAL 60

static const struct agent_script h1 = {.guid = "h1",
				       .ip = "10.1.0.1",
				       .identity = ID_URI,
				       .is_muster = true,
				       .boot = "b1",
				       .list = B_IP "," A_IP "@static"};
static const struct agent_script java = {
	.guid = "java", .ip = "10.1.0.9", .identity = ID_SAN, .list = B_IP "," A_IP "@static"};

/* ---- asking ---- */

/* One command with at most one parameter; the answer has to have the part (NULL: any). */
static void asked(struct engine_bench *e, struct node *on, const char *command, const char *name, const char *value,
		  int status, const char *part)
{
	const struct api_param params[] = {{"command", command}, {name, value}};
	int got;
	char *text = engine_ask(e, on, params, name ? 2 : 1, &got);

	if (got != status || (part && !strstr(text, part)))
		fail_msg("%s: %d %s, expected %d %s", command, got, text, status, part ? part : "");
	mem_free(text);
}

static void freeze(struct engine_bench *e, struct node *on)
{
	asked(e, on, "freezeHosts", "reason", "switch 3 burns", 200, "\"frozen\":true");
}

static void thaw(struct engine_bench *e, struct node *on)
{
	asked(e, on, "thawHosts", NULL, NULL, 200, "\"frozen\":false");
}

static void cluster_up(struct engine_bench *e)
{
	engine_up(e);
	node_add(e, &e->b, B_IP);
	engine_config(e, "host", B_IP "," A_IP);
	engine_config(e, "indirect.agent.lb.check.interval", "60");
	engine_run(e, 1500);
}

static struct script *on_a(struct engine_bench *e, const struct agent_script *as)
{
	struct script *a = script_new(e, as);

	script_dial(a, &e->a);
	engine_run(e, 500);
	assert_int_equal(host_of(&e->a, as->guid)->session->state, SESSION_READY);
	return a;
}

static const void *fields_of(const struct script *a, enum msg_type type, size_t n)
{
	const struct fake_message *m = script_got(a, type, n);

	return m ? m->batch.elements[0].fields : NULL;
}

/* What it was told last of a freeze: -1 nothing. */
static int news_of_freeze(const struct script *a)
{
	int last = -1;

	for (size_t i = 0; i < script_count(a, MSG_NEWS); i++) {
		const struct msg_news *m = fields_of(a, MSG_NEWS, i);

		if (m->frozen.has)
			last = m->frozen.value;
	}
	return last;
}

static const struct msg_setup_ms_list *list_of(const struct script *a)
{
	size_t n = script_count(a, MSG_SETUP_MS_LIST);

	return n ? fields_of(a, MSG_SETUP_MS_LIST, n - 1) : NULL;
}

/* ---- the commands ---- */

static void what_is_asked_twice_is_answered_clearly(void **state)
{
	struct engine_bench e;

	cluster_up(&e);
	asked(&e, &e.a, "thawHosts", NULL, NULL, 530, "Moves are not frozen: there is nothing to thaw");
	asked(&e, &e.a, "getMusterStatus", NULL, NULL, 200, "\"freeze\":{\"frozen\":false}");
	freeze(&e, &e.a);
	/* On the other server too, with who and why. */
	asked(&e, &e.b, "freezeHosts", "reason", "me too", 530, "by local: switch 3 burns");
	asked(&e, &e.b, "getMusterStatus", NULL, NULL, 200, "\"by\":\"local\",\"reason\":\"switch 3 burns\"");
	asked(&e, &e.b, "listManagementServers", NULL, NULL, 200, "\"musterfrozen\":true");
	asked(&e, &e.b, "listEvents", NULL, NULL, 200,
	      "local has frozen all moves that are not needed: switch 3 burns");
	thaw(&e, &e.b);
	asked(&e, &e.a, "thawHosts", NULL, NULL, 530, "nothing to thaw");
	asked(&e, &e.a, "listEvents", NULL, NULL, 200, "\"type\":\"THAW\"");
	asked(&e, &e.a, "listManagementServers", NULL, NULL, 200, "\"musterfrozen\":false");
	/* Without a reason. */
	asked(&e, &e.a, "freezeHosts", NULL, NULL, 200, "\"by\":\"local\",\"kept\":0");
	engine_down(&e);
}

/* It is no setting: nobody sets it by the way, and nobody resets it. */
static void it_is_no_setting(void **state)
{
	struct engine_bench e;

	cluster_up(&e);
	freeze(&e, &e.a);
	asked(&e, &e.a, "listConfigurations", "name", "freeze", 200, "{\"listconfigurationsresponse\":{}}");
	asked(&e, &e.a, "resetConfiguration", "name", FREEZE_ROW, 431, "There is no setting");
	assert_true(freeze_is_on(e.a.server));
	engine_down(&e);
}

static void a_reason_is_bounded_and_printable(void **state)
{
	struct engine_bench e;
	char text[FREEZE_REASON_MAX + 2];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	cluster_up(&e);
	asked(&e, &e.a, "freezeHosts", "reason", text, 431, "longer than");
	assert_false(freeze_is_on(e.a.server));
	asked(&e, &e.a, "freezeHosts", "reason", "red \033[31m", 431, "control characters");
	assert_false(freeze_is_on(e.a.server));
	/* What came into the store in another way. */
	engine_config(&e, FREEZE_ROW, "{\"since\":1,\"by\":\"x\",\"reason\":\"red \\u001b[31m\"}");
	engine_run(&e, 300);
	assert_string_equal(e.a.server->freeze.reason, "red ?[31m");
	engine_down(&e);
}

static void it_outlives_the_server(void **state)
{
	struct engine_bench e;
	struct script *a;
	const struct msg_ready *ready;

	cluster_up(&e);
	freeze(&e, &e.a);
	node_kill(&e.a);
	node_make(&e, &e.a, A_IP);
	node_start(&e.a);
	engine_run(&e, 3000);
	assert_true(freeze_is_on(e.a.server));
	assert_string_equal(e.a.server->freeze.reason, "switch 3 burns");
	/* Who comes now hears it at once. */
	a = on_a(&e, &h1);
	ready = fields_of(a, MSG_READY, 0);
	assert_true(ready->musterFrozen.has && ready->musterFrozen.value);
	assert_int_equal(news_of_freeze(a), -1);
	engine_down(&e);
}

/* Whatever stands in the row: somebody wanted it. */
static void a_row_that_is_not_understood_freezes_too(void **state)
{
	static const char *const values[] = {"", "true", "[]", "{\"since\":\"x\",\"by\":7}"};

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		struct engine_bench e;

		cluster_up(&e);
		engine_config(&e, FREEZE_ROW, values[i]);
		engine_run(&e, 300);
		assert_true(freeze_is_on(e.a.server));
		asked(&e, &e.a, "getMusterStatus", NULL, NULL, 200, "\"frozen\":true");
		asked(&e, &e.a, "freezeHosts", NULL, NULL, 530, "by ?");
		thaw(&e, &e.a);
		engine_down(&e);
	}
}

/* ---- muster agents ---- */

static void agents_hear_it_within_a_second_everywhere(void **state)
{
	struct engine_bench e;
	struct script *a;
	const struct msg_ready *ready;

	cluster_up(&e);
	a = on_a(&e, &h1);
	ready = fields_of(a, MSG_READY, 0);
	assert_false(ready->musterFrozen.has);
	freeze(&e, &e.b);
	assert_int_equal(news_of_freeze(a), true);
	script_forget(a);
	engine_run(&e, 5000);
	assert_int_equal(news_of_freeze(a), -1); /* once */
	thaw(&e, &e.b);
	assert_int_equal(news_of_freeze(a), false);
	/* Again and again, faster than news are told otherwise. */
	freeze(&e, &e.a);
	assert_int_equal(news_of_freeze(a), true);
	thaw(&e, &e.a);
	assert_int_equal(news_of_freeze(a), false);
	/* Its interval is none of this. */
	assert_int_equal(host_of(&e.a, "h1")->session->interval_told, INTERVAL);
	engine_down(&e);
}

static void who_has_not_heard_it_is_put_off_at_the_door(void **state)
{
	/* clang-format off */
	static const struct {
		const char *purpose;
		bool comes_in;
	} rows[] = {
		{ "preferred", false },
		{ "seek", true },
		{ "suspect", true },
		{ "migrate", true },
		{ "renew", true },
		{ NULL, true },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct msg_startup_answer *answer;
		struct engine_bench e;
		struct script *a;

		cluster_up(&e);
		freeze(&e, &e.a);
		a = script_new(&e, &h1);
		a->purpose = rows[i].purpose;
		script_dial(a, &e.b);
		engine_run(&e, 500);
		answer = fields_of(a, MSG_STARTUP_ANSWER, 0);
		assert_non_null(answer);
		if (answer->result.value != rows[i].comes_in || script_is_open(a) != rows[i].comes_in)
			fail_msg("%s: %d", rows[i].purpose ? rows[i].purpose : "-", answer->result.value);
		if (!rows[i].comes_in) {
			assert_in_range(answer->musterRetryMs.value, 30000, 60000);
			assert_non_null(strstr(answer->details, "moves are frozen"));
			thaw(&e, &e.a);
			script_dial(a, &e.b);
			engine_run(&e, 500);
			assert_true(script_is_open(a));
		}
		engine_down(&e);
	}
}

static void the_kept_are_counted(void **state)
{
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	a = on_a(&e, &h1);
	asked(&e, &e.b, "getMusterStatus", NULL, NULL, 200, "\"freeze\":{\"frozen\":false}");
	freeze(&e, &e.a);
	asked(&e, &e.b, "getMusterStatus", NULL, NULL, 200, "\"kept\":1");
	asked(&e, &e.b, "listHosts", NULL, NULL, 200, "\"musterfrozen\":true");
	a->explains_nothing = true;
	asked(&e, &e.a, "explainHost", "id", "1", 200, "switch 3 burns. It stays until `muster thaw`.");
	/* Where nobody looks the freeze keeps nobody. */
	engine_config(&e, "indirect.agent.lb.check.interval", "0");
	engine_run(&e, 300);
	asked(&e, &e.b, "getMusterStatus", NULL, NULL, 200, "\"kept\":0");
	engine_config(&e, "indirect.agent.lb.check.interval", "60");
	/* Nor where the preferred server is none that could be gone to. */
	engine_server_event(&e, &e.b, SERVER_EVENT_PREPARE_SHUTDOWN);
	engine_run(&e, 1500);
	asked(&e, &e.a, "getMusterStatus", NULL, NULL, 200, "\"kept\":0");
	assert_true(script_is_open(a));
	engine_down(&e);
}

/* ---- what is refused and what is not ---- */

static void nobody_is_told_to_look(void **state)
{
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	a = on_a(&e, &h1);
	freeze(&e, &e.a);
	asked(&e, &e.b, "rebalanceHosts", NULL, NULL, 530, "Nobody is told to move until they are thawed");
	asked(&e, &e.b, "rebalanceHosts", "rerank", "true", 530, "switch 3 burns");
	/* Both said in the same moment. */
	spreading_trigger_all(e.a.server);
	engine_run(&e, 500);
	assert_int_equal(script_count(a, MSG_SETUP_MS_LIST), 0);
	/* A list is told all the same. */
	engine_config(&e, "indirect.agent.lb.algorithm", "roundrobin");
	engine_run(&e, 500);
	assert_int_equal(script_count(a, MSG_SETUP_MS_LIST), 1);
	assert_false(list_of(a)->triggerHostLb.value);
	assert_int_equal(list_of(a)->lbCheckInterval.value, INTERVAL);
	/* Nothing of it is left for later. */
	thaw(&e, &e.a);
	engine_run(&e, 5000);
	assert_int_equal(script_count(a, MSG_SETUP_MS_LIST), 1);
	asked(&e, &e.b, "rebalanceHosts", NULL, NULL, 200, "\"success\":true");
	engine_run(&e, 500);
	assert_true(list_of(a)->triggerHostLb.value);
	engine_down(&e);
}

/* Who was to be told and has not heard it yet. */
static void a_word_that_waits_is_dropped(void **state)
{
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	a = on_a(&e, &h1);
	host_of(&e.a, "h1")->session->trigger = true;
	freeze(&e, &e.a);
	assert_false(host_of(&e.a, "h1")->session->trigger);
	assert_true(script_is_open(a));
	engine_down(&e);
}

static void a_drain_goes_on_and_nobody_returns(void **state)
{
	struct engine_bench e;
	struct script *a;
	char uuid[UUID_TEXT];

	cluster_up(&e);
	a = on_a(&e, &h1);
	freeze(&e, &e.a);
	str_copy(uuid, sizeof(uuid), roster_server(e.a.server, server_msid(e.a.server))->row.uuid);
	asked(&e, &e.b, "prepareForMaintenance", "managementserverid", uuid, 200, "\"musterfrozen\":true");
	engine_run(&e, 3000);
	assert_int_equal(script_count(a, MSG_MIGRATE), 1);
	script_forget(a);
	asked(&e, &e.b, "cancelMaintenance", "managementserverid", uuid, 200, "\"musterfrozen\":true");
	engine_run(&e, 1000);
	for (size_t i = 0; i < script_count(a, MSG_SETUP_MS_LIST); i++) {
		const struct msg_setup_ms_list *m = fields_of(a, MSG_SETUP_MS_LIST, i);

		assert_false(m->triggerHostLb.value);
	}
	engine_down(&e);
}

/* ---- CloudStack agents ---- */

/* They hear no news; what makes them look is the interval that they were told last. */
static void cloudstack_agents_are_told_not_to_look(void **state)
{
	struct engine_bench e;
	struct script *j, *late;
	const struct msg_ready *ready;
	struct agent_script other = java;
	int64_t waited_ms = 0;

	cluster_up(&e);
	j = on_a(&e, &java);
	ready = fields_of(j, MSG_READY, 0);
	assert_int_equal(ready->lbCheckInterval.value, INTERVAL);
	script_forget(j);
	freeze(&e, &e.b);
	engine_run(&e, 700);
	assert_int_equal(script_count(j, MSG_SETUP_MS_LIST), 1);
	assert_int_equal(list_of(j)->lbCheckInterval.value, 0);
	assert_false(list_of(j)->triggerHostLb.value);
	assert_int_equal(list_of(j)->avoidMsList.list.n, 0);
	assert_string_equal(list_of(j)->msList.list.items[0], B_IP);
	assert_int_equal(script_count(j, MSG_NEWS), 0);
	/* It has what it should have. */
	assert_int_equal(spreading_outdated(e.a.server), 0);
	asked(&e, &e.b, "getMusterStatus", NULL, NULL, 200, "\"outdated\":0");
	/* One that comes meanwhile. */
	other.guid = "java2";
	other.ip = "10.1.0.8";
	late = on_a(&e, &other);
	ready = fields_of(late, MSG_READY, 0);
	assert_int_equal(ready->lbCheckInterval.value, 0);
	assert_false(ready->musterFrozen.has);
	script_forget(j);
	script_forget(late);
	thaw(&e, &e.b);
	/* Each gets it back within the interval, at a time of its own. */
	while (waited_ms < (INTERVAL + 2) * 1000 && !(list_of(j) && list_of(late))) {
		engine_run(&e, 500);
		waited_ms += 500;
	}
	assert_non_null(list_of(j));
	assert_non_null(list_of(late));
	assert_int_equal(list_of(j)->lbCheckInterval.value, INTERVAL);
	assert_int_equal(list_of(late)->lbCheckInterval.value, INTERVAL);
	assert_int_equal(script_count(j, MSG_SETUP_MS_LIST), 1);
	assert_int_equal(spreading_outdated(e.a.server), 0);
	engine_run(&e, 310000);
	assert_int_equal(e.a.server->freeze.thawed_at.us, 0);
	engine_down(&e);
}

/* An interval of the agent's own can't be overruled, and a refusal would cost it its only link. */
static void a_cloudstack_agent_that_comes_home_is_let_in(void **state)
{
	struct engine_bench e;
	struct script *j;

	cluster_up(&e);
	freeze(&e, &e.a);
	j = script_new(&e, &java);
	script_dial(j, &e.b);
	engine_run(&e, 500);
	assert_true(script_is_open(j));
	engine_down(&e);
}

static void the_interval_comes_back_at_times_of_their_own(void **state)
{
	struct engine_bench e;
	struct host_row row = {0};
	size_t n_stopped = 0, n_before;

	cluster_up(&e);
	freeze(&e, &e.a);
	thaw(&e, &e.a);
	for (int64_t id = 1; id <= 1000; id++) {
		row.id = id;
		n_stopped += freeze_stops_looks(e.a.server, &row, INTERVAL);
	}
	assert_in_range(n_stopped, 900, 1000);
	n_before = n_stopped;
	for (int quarter = 0; quarter < 4; quarter++) {
		engine_run(&e, INTERVAL * 250);
		n_stopped = 0;
		for (int64_t id = 1; id <= 1000; id++) {
			row.id = id;
			n_stopped += freeze_stops_looks(e.a.server, &row, INTERVAL);
		}
		assert_in_range(n_before - n_stopped, 150, 350);
		n_before = n_stopped;
	}
	assert_int_equal(n_stopped, 0);
	/* Five minutes are enough for everybody, however long the interval is. */
	row.id = 1;
	engine_run(&e, 240000);
	assert_false(freeze_stops_looks(e.a.server, &row, 86400));
	engine_down(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_asked_twice_is_answered_clearly),
		cmocka_unit_test(it_is_no_setting),
		cmocka_unit_test(a_reason_is_bounded_and_printable),
		cmocka_unit_test(it_outlives_the_server),
		cmocka_unit_test(a_row_that_is_not_understood_freezes_too),
		cmocka_unit_test(agents_hear_it_within_a_second_everywhere),
		cmocka_unit_test(who_has_not_heard_it_is_put_off_at_the_door),
		cmocka_unit_test(the_kept_are_counted),
		cmocka_unit_test(nobody_is_told_to_look),
		cmocka_unit_test(a_word_that_waits_is_dropped),
		cmocka_unit_test(a_drain_goes_on_and_nobody_returns),
		cmocka_unit_test(cloudstack_agents_are_told_not_to_look),
		cmocka_unit_test(a_cloudstack_agent_that_comes_home_is_let_in),
		cmocka_unit_test(the_interval_comes_back_at_times_of_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
