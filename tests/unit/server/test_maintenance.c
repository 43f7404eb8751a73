/* The six commands of maintenance and shutdown: who may be asked, what is refused with which words, what is answered.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "engine_bench.h"
#include "server/api.h"

static const struct agent_script h1 = {
	.guid = "h1", .ip = "10.1.0.1", .identity = ID_URI, .is_muster = true, .boot = "b1"};

struct answer {
	int status;
	char *text;
};

/* "command=x&name=value" of a server of the bench; {ID} is replaced by the uuid of `target`. */
static struct answer ask(struct engine_bench *e, struct node *on, struct node *target, const char *question)
{
	struct api_param params[8];
	char text[400], uuid[UUID_TEXT];
	struct answer a = {0};
	size_t n = 0;
	char *rest = NULL;

	str_copy(uuid, sizeof(uuid), roster_server(on->server, server_msid(target->server))->row.uuid);
	str_copy(text, sizeof(text), question);
	for (char *w = strtok_r(text, "&", &rest); w; w = strtok_r(NULL, "&", &rest)) {
		char *equals = strchr(w, '=');

		*equals = 0;
		params[n++] = (struct api_param){w, str_equal(equals + 1, "{ID}") ? uuid : equals + 1};
	}
	a.text = engine_ask(e, on, params, n, &a.status);
	return a;
}

static void asked(struct engine_bench *e, struct node *on, struct node *target, const char *question, int status,
		  const char *part)
{
	struct answer a = ask(e, on, target, question);

	if (a.status != status || !strstr(a.text, part))
		fail_msg("%s: %d %s, expected %d %s", question, a.status, a.text, status, part);
	mem_free(a.text);
}

#define ID "managementserverid={ID}"

static void cluster_up(struct engine_bench *e)
{
	engine_up(e);
	node_add(e, &e->b, B_IP);
	engine_run(e, 1500);
}

static void what_the_state_does_not_allow_is_refused(void **state)
{
	static const struct {
		const char *what;
		enum server_event before[2]; /* SERVER_EVENT_START: nothing */
		const char *question;
		const char *part;
	} rows[] = {
		{"maintenance twice",
		 {SERVER_EVENT_PREPARE_MAINTENANCE},
		 "command=prepareForMaintenance&" ID,
		 "is Maintenance: it has to be Up to prepare for maintenance"},
		{"maintenance of what is about to stop",
		 {SERVER_EVENT_PREPARE_SHUTDOWN},
		 "command=prepareForMaintenance&" ID,
		 "is ReadyToShutDown: it has to be Up"},
		{"an end of no maintenance",
		 {0},
		 "command=cancelMaintenance&" ID,
		 "is Up: there is no maintenance to cancel"},
		{"shutdown prepared from maintenance",
		 {SERVER_EVENT_PREPARE_MAINTENANCE},
		 "command=prepareForShutdown&" ID,
		 "it has to be Up to prepare for its shutdown"},
		{"an end of no shutdown", {0}, "command=cancelShutdown&" ID, "there is no shutdown to cancel"},
		{"shutdown twice",
		 {SERVER_EVENT_TRIGGER_SHUTDOWN},
		 "command=triggerShutdown&" ID,
		 "is ShuttingDown: it has to be Up, Maintenance, PreparingForShutDown or ReadyToShutDown"},
		{"an unknown algorithm",
		 {0},
		 "command=prepareForMaintenance&algorithm=best&" ID,
		 "There is no algorithm best: static, roundrobin, shuffle"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;
		char part[300];

		print_message("%s\n", rows[i].what);
		cluster_up(&e);
		for (size_t k = 0; k < 2 && rows[i].before[k] != SERVER_EVENT_START; k++) {
			if (rows[i].before[k] == SERVER_EVENT_PREPARE_MAINTENANCE)
				engine_ask_drain(&e, &e.a, &(struct drain_row){0});
			else
				engine_server_event(&e, &e.a, rows[i].before[k]);
			engine_run(&e, 1500);
		}
		snprintf(part, sizeof(part), "%s", rows[i].part);
		asked(&e, &e.b, &e.a, rows[i].question, 530, part);
		asked(&e, &e.b, &e.a, rows[i].question, 530, "\"cserrorcode\":4250");
		engine_down(&e);
	}
}

static void the_last_server_is_not_emptied_without_force(void **state)
{
	struct engine_bench e;

	engine_up(&e);
	engine_run(&e, 1500);
	asked(&e, &e.a, &e.a, "command=prepareForMaintenance&" ID, 530, "is the last one that is Up");
	asked(&e, &e.a, &e.a, "command=prepareForMaintenance&force=true&" ID, 200, "\"maintenanceinitiated\":true");
	engine_down(&e);
}

static void only_one_prepares_at_a_time(void **state)
{
	struct engine_bench e;

	cluster_up(&e);
	script_dial(script_new(&e, &h1), &e.a);
	engine_run(&e, 500);
	asked(&e, &e.b, &e.a, "command=prepareForMaintenance&" ID, 200, "\"state\":\"PreparingForMaintenance\"");
	asked(&e, &e.a, &e.b, "command=prepareForMaintenance&force=true&" ID, 530,
	      "Management server " A_IP " is PreparingForMaintenance: one at a time");
	asked(&e, &e.a, &e.b, "command=triggerShutdown&" ID, 530, "one at a time");
	asked(&e, &e.b, &e.a, "command=cancelMaintenance&" ID, 200, "\"state\":\"Up\"");
	asked(&e, &e.a, &e.b, "command=prepareForMaintenance&" ID, 200, "\"maintenanceinitiated\":true");
	engine_down(&e);
}

static void agents_need_an_entry_that_leads_away(void **state)
{
	struct engine_bench e;

	cluster_up(&e);
	engine_config(&e, "host", A_IP);
	engine_run(&e, 500);
	/* Without hosts nobody has to go anywhere. */
	asked(&e, &e.b, &e.a, "command=prepareForMaintenance&" ID, 200, "true");
	asked(&e, &e.b, &e.a, "command=cancelMaintenance&" ID, 200, "\"state\":\"Up\"");
	script_dial(script_new(&e, &h1), &e.a);
	engine_run(&e, 500);
	asked(&e, &e.b, &e.a, "command=prepareForMaintenance&" ID, 530, "The setting host names no other");
	engine_down(&e);
}

static void a_dead_server_does_nothing_but_can_be_let_off(void **state)
{
	struct engine_bench e;
	struct server_row row = {0};
	char question[200];

	cluster_up(&e);
	script_dial(script_new(&e, &h1), &e.a);
	engine_run(&e, 500);
	str_copy(row.uuid, sizeof(row.uuid), e.a.server->uuid);
	engine_ask_drain(&e, &e.a, &(struct drain_row){0});
	engine_run(&e, 300);
	fake_works_cut(e.f);
	node_kill(&e.a);
	engine_run(&e, 8000);
	snprintf(question, sizeof(question), "command=listManagementServers&id=%s", row.uuid);
	asked(&e, &e.b, &e.b, question, 200, "\"musterheard\":false");
	/* It would block the others for ever. */
	snprintf(question, sizeof(question), "command=cancelMaintenance&managementserverid=%s", row.uuid);
	asked(&e, &e.b, &e.b, question, 200, "\"managementserverid\"");
	engine_run(&e, 3000);
	snprintf(question, sizeof(question), "command=prepareForMaintenance&force=true&managementserverid=%s",
		 row.uuid);
	asked(&e, &e.b, &e.b, question, 530, "is Down: it has to be Up");
	snprintf(question, sizeof(question), "command=readyForShutdown&managementserverid=%s", row.uuid);
	asked(&e, &e.b, &e.b, question, 200, "\"readyforshutdown\":true");
	engine_down(&e);
}

static void an_unknown_server_is_a_bad_parameter(void **state)
{
	static const char *const commands[] = {"prepareForMaintenance", "cancelMaintenance", "prepareForShutdown",
					       "triggerShutdown",       "cancelShutdown",    "readyForShutdown"};
	struct engine_bench e;
	char question[200];

	engine_up(&e);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		snprintf(question, sizeof(question),
			 "command=%s&managementserverid=6b1a2f0e-0000-4000-8000-000000000001", commands[i]);
		asked(&e, &e.a, &e.a, question, 431, "\"errorcode\":431");
	}
	engine_down(&e);
}

static void the_answer_has_the_shape_of_the_reference(void **state)
{
	struct engine_bench e;
	struct answer a;

	cluster_up(&e);
	script_dial(script_new(&e, &h1), &e.a);
	engine_run(&e, 500);
	a = ask(&e, &e.b, &e.a, "command=prepareForMaintenance&rate=5&timeout=600&" ID);
	assert_int_equal(a.status, 200);
	assert_non_null(strstr(a.text, "{\"prepareformaintenanceresponse\":{\"prepareformaintenance\":{"));
	assert_non_null(strstr(a.text, "\"maintenanceinitiated\":true"));
	assert_non_null(strstr(a.text, "\"shutdowntriggered\":false"));
	assert_non_null(strstr(a.text, "\"readyforshutdown\":true"));
	assert_non_null(strstr(a.text, "\"pendingjobscount\":0"));
	assert_non_null(strstr(a.text, "\"agentscount\":1"));
	assert_non_null(strstr(a.text, host_of(&e.a, "h1")->row.uuid));
	mem_free(a.text);
	engine_run(&e, 1500);
	asked(&e, &e.b, &e.a, "command=listManagementServers&id={ID}", 200, "\"musterdrain\":{\"state\":\"running\"");
	asked(&e, &e.b, &e.a, "command=listManagementServers&id={ID}", 200, "\"askedby\":\"local\"");
	asked(&e, &e.b, &e.a, "command=getMusterStatus", 200, "\"musterdrain\"");
	/* Who only watches is not sent thousands of names. */
	a = ask(&e, &e.b, &e.a, "command=listManagementServers&agents=false&id={ID}");
	assert_null(strstr(a.text, "agents\":["));
	assert_non_null(strstr(a.text, "\"agentscount\":1"));
	assert_non_null(strstr(a.text, "\"musterheard\":true"));
	mem_free(a.text);
	asked(&e, &e.b, &e.a, "command=listManagementServers&id={ID}", 200, "\"agents\":[\"");
	/* Jobs would not survive it. */
	asked(&e, &e.a, &e.a, "command=reconnectHost&id=h1", 503, "takes no jobs");
	engine_down(&e);
}

/* Who died, or was overtaken, has left the word for what it was doing. */
static void a_drain_that_nobody_ended_was_interrupted(void **state)
{
	static const struct {
		const char *report, *word;
		enum server_state state;
	} rows[] = {
		{"{\"state\":\"running\"}", "running", SERVER_PREPARING_FOR_MAINTENANCE},
		{"{\"state\":\"running\"}", "interrupted", SERVER_MAINTENANCE},
		{"{\"state\":\"waiting for jobs\"}", "interrupted", SERVER_UP},
		{"{\"state\":\"done\"}", "done", SERVER_MAINTENANCE},
		{"{\"state\":\"timed out\"}", "timed out", SERVER_UP},
		{"{\"state\":\"cancelled\"}", "cancelled", SERVER_UP},
		{"{\"state\":\"stopped\"}", "stopped", SERVER_DOWN},
		{NULL, "asked", SERVER_PREPARING_FOR_MAINTENANCE},
		{NULL, "interrupted", SERVER_MAINTENANCE},
		{"[]", "interrupted", SERVER_MAINTENANCE},
		{"{\"state\":7}", "interrupted", SERVER_MAINTENANCE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *o = api_drain_object(&(struct drain_row){.report = (char *)(uintptr_t)rows[i].report},
					     rows[i].state);

		assert_string_equal(json_string_value(json_object_get(o, "state")), rows[i].word);
		json_decref(o);
	}
}

static void servers_are_listed_while_the_store_hangs(void **state)
{
	struct engine_bench e;

	cluster_up(&e);
	fake_works_hold(e.f, true);
	engine_run(&e, 2500);
	asked(&e, &e.b, &e.a, "command=listManagementServers&id={ID}", 200, "\"state\":\"Up\"");
	fake_works_hold(e.f, false);
	engine_run(&e, 1000);
	engine_down(&e);
}

static void numbers_out_of_range_are_refused(void **state)
{
	static const char *const questions[] = {
		"command=prepareForMaintenance&rate=0&" ID,
		"command=prepareForMaintenance&rate=100001&" ID,
		"command=prepareForMaintenance&timeout=0&" ID,
		"command=prepareForMaintenance&timeout=31536001&" ID,
	};
	struct engine_bench e;

	cluster_up(&e);
	for (size_t i = 0; i < ARRAY_SIZE(questions); i++)
		asked(&e, &e.b, &e.a, questions[i], 431, "\"cserrorcode\":4350");
	engine_down(&e);
}

static void agents_are_sent_home_after_maintenance(void **state)
{
	static const struct {
		const char *question;
		bool looks;
	} rows[] = {
		{"command=cancelMaintenance&" ID, true},
		{"command=cancelMaintenance&rebalance=true&" ID, true},
		{"command=cancelMaintenance&rebalance=false&" ID, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;
		struct script *a;
		const struct msg_setup_ms_list *last;
		size_t n;

		cluster_up(&e);
		engine_ask_drain(&e, &e.a, &(struct drain_row){0});
		engine_run(&e, 1500);
		a = script_new(&e, &h1);
		script_dial(a, &e.b);
		engine_run(&e, 500);
		script_forget(a);
		asked(&e, &e.a, &e.a, rows[i].question, 200, "\"state\":\"Up\"");
		engine_run(&e, 700);
		/* The last that it hears: nobody is avoided any more, and it is to look now. */
		n = script_count(a, MSG_SETUP_MS_LIST);
		assert_true(n > 0);
		last = script_got(a, MSG_SETUP_MS_LIST, n - 1)->batch.elements[0].fields;
		assert_int_equal(last->avoidMsList.list.n, 0);
		assert_int_equal(last->triggerHostLb.value, rows[i].looks);
		engine_down(&e);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_state_does_not_allow_is_refused),
		cmocka_unit_test(the_last_server_is_not_emptied_without_force),
		cmocka_unit_test(only_one_prepares_at_a_time),
		cmocka_unit_test(agents_need_an_entry_that_leads_away),
		cmocka_unit_test(a_dead_server_does_nothing_but_can_be_let_off),
		cmocka_unit_test(an_unknown_server_is_a_bad_parameter),
		cmocka_unit_test(the_answer_has_the_shape_of_the_reference),
		cmocka_unit_test(a_drain_that_nobody_ended_was_interrupted),
		cmocka_unit_test(servers_are_listed_while_the_store_hangs),
		cmocka_unit_test(numbers_out_of_range_are_refused),
		cmocka_unit_test(agents_are_sent_home_after_maintenance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
