/* Rolling restarts over the API: what is remembered, who may go on, and everything that stops it. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "engine_bench.h"
#include "server/api.h"

#define N_HOSTS 4

/* ---- asking ---- */

/* "name=value name=value"; the answer has to have the part (NULL: any). */
static void asked(struct engine_bench *e, struct node *on, const char *command, const char *words, int status,
		  const char *part)
{
	struct api_param params[8] = {{"command", command}};
	struct str_list list = {0};
	size_t n = 1;
	char *text;
	int got;

	assert_int_equal(str_list_split(&list, words, ' '), ERR_OK);
	for (size_t i = 0; i < list.n && list.items[i][0]; i++) {
		char *equals = strchr(list.items[i], '=');

		*equals = '\0';
		params[n++] = (struct api_param){list.items[i], equals + 1};
	}
	text = engine_ask(e, on, params, n, &got);
	if (got != status || (part && !strstr(text, part)))
		fail_msg("%s %s: %d %s, expected %d %s", command, words, got, text, status, part ? part : "");
	mem_free(text);
	str_list_deinit(&list);
}

static const struct agent_script agents[N_HOSTS] = {
	{.guid = "h1", .ip = "10.1.0.1", .identity = ID_URI, .is_muster = true, .boot = "b1"},
	{.guid = "h2", .ip = "10.1.0.2", .identity = ID_URI, .is_muster = true, .boot = "b2"},
	{.guid = "h3", .ip = "10.1.0.3", .identity = ID_URI, .is_muster = true, .boot = "b3"},
	{.guid = "h4", .ip = "10.1.0.4", .identity = ID_URI, .is_muster = true, .boot = "b4"},
};

static void cluster_up(struct engine_bench *e, const char *algorithm)
{
	engine_up(e);
	node_add(e, &e->b, B_IP);
	engine_config(e, "host", A_IP "," B_IP);
	engine_config(e, "indirect.agent.lb.algorithm", algorithm);
	engine_run(e, 1500);
	for (size_t i = 0; i < N_HOSTS; i++)
		script_dial(script_new(e, &agents[i]), &e->a);
	engine_run(e, 1500);
}

static const char *uuid_of(struct engine_bench *e, struct node *n)
{
	list_for (m, &e->a.server->servers, struct member_server, in_servers)
		if (m->row.msid == n->server->msid)
			return m->row.uuid;
	fail_msg("no such server");
	return "";
}

static void begin(struct engine_bench *e, int status, const char *part)
{
	char words[200];

	snprintf(words, sizeof(words), "driver=d1 servers=%s,%s", uuid_of(e, &e->a), uuid_of(e, &e->b));
	asked(e, &e->a, "beginRollingRestart", words, status, part);
}

static void restarted(struct engine_bench *e, struct node *n, const char *ip)
{
	node_kill(n);
	node_make(e, n, ip);
	node_start(n);
	engine_run(e, 3000);
}

static size_t preferring(struct engine_bench *e, const char *entry)
{
	struct host *h;
	size_t cursor = 0, n = 0;

	while ((h = roster_next(e->a.server, &cursor))) {
		const struct list_server_row *first = placement_entry_by_id(e->a.server, h->row.placed_first);

		n += first && str_equal(first->entry, entry);
	}
	return n;
}

/* ---- from the beginning to the end ---- */

static void each_has_its_turn(void **state)
{
	struct engine_bench e;

	cluster_up(&e, "balanced");
	assert_int_equal(preferring(&e, A_IP), 2);
	asked(&e, &e.b, "getMusterStatus", "", 200, "\"rolling\":{\"active\":false}");
	begin(&e, 200, "\"ownfreeze\":true,\"step\":0,\"steps\":2");
	assert_true(freeze_is_on(e.b.server));
	assert_string_equal(e.b.server->freeze.reason, "rolling restart");
	asked(&e, &e.b, "stepRollingRestart", "driver=d1 step=1", 200,
	      "\"turn\":\"now\",\"state\":\"Up\",\"restarted\":false");
	assert_int_equal(preferring(&e, A_IP), 0);
	asked(&e, &e.b, "stepRollingRestart", "driver=d1 step=2", 530, "has not been restarted yet");
	restarted(&e, &e.a, A_IP);
	asked(&e, &e.b, "getMusterStatus", "", 200, "\"turn\":\"now\",\"state\":\"Up\",\"restarted\":true");
	asked(&e, &e.b, "endRollingRestart", "driver=d1", 530, "it can only be aborted");
	/* All of the second one's are handed on. */
	asked(&e, &e.b, "stepRollingRestart", "driver=d1 step=2", 200, "\"moves\":4");
	assert_int_equal(preferring(&e, B_IP), 0);
	asked(&e, &e.a, "endRollingRestart", "driver=d1", 530, "has not been restarted yet");
	restarted(&e, &e.b, B_IP);
	asked(&e, &e.a, "endRollingRestart", "driver=d1", 200, "\"active\":false,\"moves\":2");
	assert_int_equal(preferring(&e, A_IP), 2);
	assert_false(freeze_is_on(e.a.server));
	asked(&e, &e.b, "getMusterStatus", "", 200, "\"rolling\":{\"active\":false}");
	asked(&e, &e.a, "listEvents", "", 200, "all 2 management servers have been restarted");
	engine_down(&e);
}

/* ---- what stops it ---- */

static void it_is_no_setting(void **state)
{
	struct engine_bench e;

	cluster_up(&e, "balanced");
	begin(&e, 200, NULL);
	asked(&e, &e.a, "listConfigurations", "name=rolling", 200, "{\"listconfigurationsresponse\":{}}");
	asked(&e, &e.a, "resetConfiguration", "name=" ROLLING_ROW, 431, "There is no setting");
	engine_down(&e);
}

static void steps_come_one_after_the_other(void **state)
{
	static const struct {
		const char *command, *words, *part;
	} rows[] = {
		{"stepRollingRestart", "driver=d1 step=2", "It is at step 0 of 2: step 2 can't be next"},
		{"stepRollingRestart", "driver=d1 step=0", "can't be next"},
		{"stepRollingRestart", "driver=d1 step=-1", "can't be next"},
		{"stepRollingRestart", "driver=d2 step=1", "Somebody else has taken the rolling restart over (local)"},
		{"endRollingRestart", "driver=d2", "Somebody else has taken"},
		{"endRollingRestart", "", "Somebody else has taken"},
		{"endRollingRestart", "driver=d1", "It is at step 0 of 2: it can only be aborted"},
	};
	struct engine_bench e;

	cluster_up(&e, "balanced");
	asked(&e, &e.a, "stepRollingRestart", "driver=d1 step=1", 530, "No rolling restart is under way");
	asked(&e, &e.a, "takeRollingRestart", "driver=d1", 530, "No rolling restart is under way");
	asked(&e, &e.a, "endRollingRestart", "abort=true", 530, "No rolling restart is under way");
	begin(&e, 200, NULL);
	begin(&e, 530, "is under way already, begun by local");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		asked(&e, &e.a, rows[i].command, rows[i].words, 530, rows[i].part);
	/* Whoever takes it over has it. */
	asked(&e, &e.b, "takeRollingRestart", "driver=d2", 200, "\"driver\":\"d2\",\"takenby\":\"local\"");
	asked(&e, &e.a, "stepRollingRestart", "driver=d1 step=1", 530, "Somebody else");
	asked(&e, &e.a, "stepRollingRestart", "driver=d2 step=1", 200, NULL);
	asked(&e, &e.a, "stepRollingRestart", "driver=d2 step=1", 530, "It is at step 1 of 2");
	engine_down(&e);
}

static void orders_that_make_no_sense_are_refused(void **state)
{
	struct engine_bench e;
	char words[200];

	cluster_up(&e, "balanced");
	asked(&e, &e.a, "beginRollingRestart", "driver=d1 servers=nobody,noone", 530,
	      "There is no management server nobody");
	snprintf(words, sizeof(words), "driver=d1 servers=%s", uuid_of(&e, &e.a));
	asked(&e, &e.a, "beginRollingRestart", words, 530, "There is no other server");
	snprintf(words, sizeof(words), "driver=d1 servers=%s,%s", uuid_of(&e, &e.a), uuid_of(&e, &e.a));
	asked(&e, &e.a, "beginRollingRestart", words, 530, "is there twice");
	engine_config(&e, "host", A_IP);
	engine_run(&e, 300);
	begin(&e, 530, "No entry of the list leads to management server");
	engine_config(&e, "host", A_IP "," B_IP ",10.0.0.3");
	engine_run(&e, 300);
	begin(&e, 530, "The list has 3 servers and the order has 2");
	assert_null(e.a.server->rolling);
	assert_false(freeze_is_on(e.a.server));
	engine_down(&e);
}

static void a_server_that_is_not_up_stops_it(void **state)
{
	struct engine_bench e;

	cluster_up(&e, "balanced");
	engine_server_event(&e, &e.b, SERVER_EVENT_PREPARE_SHUTDOWN);
	engine_run(&e, 300);
	begin(&e, 530, "ShutDown: all but the one");
	engine_server_event(&e, &e.b, SERVER_EVENT_CANCEL_SHUTDOWN);
	engine_run(&e, 300);
	begin(&e, 200, NULL);
	engine_server_event(&e, &e.b, SERVER_EVENT_PREPARE_SHUTDOWN);
	engine_run(&e, 300);
	asked(&e, &e.a, "stepRollingRestart", "driver=d1 step=1", 530, "ShutDown: all but the one");
	engine_down(&e);
}

static void what_changes_meanwhile_stops_it(void **state)
{
	static const struct {
		const char *name, *value, *part;
	} rows[] = {
		{"host", B_IP "," A_IP,
		 "The list of servers was " A_IP "," B_IP " when it began, and now is " B_IP "," A_IP},
		{"indirect.agent.lb.algorithm", "static",
		 "The algorithm was balanced when it began, and now is static"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;

		cluster_up(&e, "balanced");
		begin(&e, 200, NULL);
		engine_config(&e, rows[i].name, rows[i].value);
		engine_run(&e, 300);
		asked(&e, &e.b, "stepRollingRestart", "driver=d1 step=1", 530, rows[i].part);
		asked(&e, &e.b, "getMusterStatus", "", 200, rows[i].part);
		asked(&e, &e.b, "endRollingRestart", "abort=true", 200, "\"active\":false");
		engine_down(&e);
	}
}

static void a_thaw_stops_it(void **state)
{
	struct engine_bench e;

	cluster_up(&e, "balanced");
	begin(&e, 200, NULL);
	asked(&e, &e.b, "thawHosts", "", 200, NULL);
	asked(&e, &e.b, "stepRollingRestart", "driver=d1 step=1", 530, "Somebody has thawed moves");
	asked(&e, &e.b, "getMusterStatus", "", 200, "Somebody has thawed moves");
	/* Whoever goes on freezes them again, and thaws them at the end. */
	asked(&e, &e.b, "takeRollingRestart", "driver=d2", 200, "\"frozenagain\":true");
	asked(&e, &e.b, "stepRollingRestart", "driver=d2 step=1", 200, NULL);
	asked(&e, &e.b, "endRollingRestart", "abort=true", 200, NULL);
	assert_false(freeze_is_on(e.a.server));
	engine_down(&e);
}

static void a_freeze_of_somebody_else_stays(void **state)
{
	struct engine_bench e;

	cluster_up(&e, "balanced");
	asked(&e, &e.b, "freezeHosts", "reason=fire", 200, NULL);
	begin(&e, 200, "\"ownfreeze\":false");
	asked(&e, &e.b, "stepRollingRestart", "driver=d1 step=1", 200, NULL);
	asked(&e, &e.b, "endRollingRestart", "abort=true", 200, NULL);
	assert_true(freeze_is_on(e.a.server));
	assert_string_equal(e.a.server->freeze.reason, "fire");
	engine_down(&e);
}

static void other_algorithms_need_agents_to_return(void **state)
{
	struct engine_bench e;

	cluster_up(&e, "roundrobin");
	asked(&e, &e.b, "freezeHosts", "reason=fire", 200, NULL);
	begin(&e, 530, "Moves are frozen: with roundrobin the agents of each server have to return");
	asked(&e, &e.b, "thawHosts", "", 200, NULL);
	begin(&e, 200, "\"handsover\":false,\"ownfreeze\":false");
	assert_false(freeze_is_on(e.a.server));
	asked(&e, &e.b, "freezeHosts", "reason=fire", 200, NULL);
	asked(&e, &e.b, "stepRollingRestart", "driver=d1 step=1", 530, "Somebody has frozen moves");
	asked(&e, &e.b, "thawHosts", "", 200, NULL);
	asked(&e, &e.b, "stepRollingRestart", "driver=d1 step=1", 200, "\"moves\":0");
	engine_down(&e);
}

/* Its server is emptied, then nobody wants that any more. */
static void an_abort_undoes_all(void **state)
{
	struct engine_bench e;

	cluster_up(&e, "balanced");
	begin(&e, 200, NULL);
	asked(&e, &e.b, "stepRollingRestart", "driver=d1 step=1", 200, NULL);
	engine_ask_drain(&e, &e.a, &(struct drain_row){0});
	engine_run(&e, 300);
	assert_int_not_equal(roster_server(e.b.server, e.a.server->msid)->row.state, SERVER_UP);
	asked(&e, &e.b, "endRollingRestart", "abort=true", 200, "\"active\":false,\"moves\":2");
	assert_int_equal(roster_server(e.b.server, e.a.server->msid)->row.state, SERVER_UP);
	assert_int_equal(preferring(&e, A_IP), 2);
	assert_false(freeze_is_on(e.a.server));
	asked(&e, &e.a, "listEvents", "", 200, "local ends the rolling restart at step 1 of 2");
	engine_down(&e);
}

static void a_row_that_is_not_understood_can_be_ended(void **state)
{
	static const char *const values[] = {"", "true", "{}",
					     "{\"step\":3,\"algorithm\":\"balanced\",\"host\":\"a\",\"servers\":[]}",
					     "{\"step\":0,\"algorithm\":\"balanced\",\"host\":\"a\",\"servers\":[7]}"};

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		struct engine_bench e;

		cluster_up(&e, "balanced");
		engine_config(&e, ROLLING_ROW, values[i]);
		engine_run(&e, 300);
		begin(&e, 530, "is under way already");
		asked(&e, &e.a, "takeRollingRestart", "driver=d1", 530, "can't be read; it can only be ended");
		asked(&e, &e.a, "endRollingRestart", "abort=true", 200, NULL);
		begin(&e, 200, NULL);
		engine_down(&e);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_has_its_turn),
		cmocka_unit_test(it_is_no_setting),
		cmocka_unit_test(steps_come_one_after_the_other),
		cmocka_unit_test(orders_that_make_no_sense_are_refused),
		cmocka_unit_test(a_server_that_is_not_up_stops_it),
		cmocka_unit_test(what_changes_meanwhile_stops_it),
		cmocka_unit_test(a_thaw_stops_it),
		cmocka_unit_test(a_freeze_of_somebody_else_stays),
		cmocka_unit_test(other_algorithms_need_agents_to_return),
		cmocka_unit_test(an_abort_undoes_all),
		cmocka_unit_test(a_row_that_is_not_understood_can_be_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
