/* explainHost on two servers: the agent is asked wherever it is, and what it says is a peer's word. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "engine_bench.h"
#include "server/api.h"

static const struct agent_script muster_agent = {.guid = "h1",
						 .ip = "10.1.0.1",
						 .identity = ID_URI,
						 .is_muster = true,
						 .boot = "b1",
						 .list = A_IP "," B_IP "@static"};
static const struct agent_script java = {
	.guid = "h1", .ip = "10.1.0.9", .identity = ID_SAN, .list = A_IP "," B_IP "@static"};

/* ---- asking ---- */

struct asked {
	unsigned n;
	int status;
	char *text;
};

static void on_answer(void *user, int status, json_t *body)
{
	struct asked *a = user;

	a->n++;
	a->status = status;
	free(a->text);
	a->text = json_dumps(body, JSON_COMPACT);
}

static void ask(struct node *n, const char *host, struct asked *a)
{
	const struct api_caller caller = {.is_local = true};
	const struct api_param params[] = {{"command", "explainHost"}, {"id", host}};

	server_api(n->server, &caller, params, ARRAY_SIZE(params), on_answer, a);
}

static void asked_deinit(struct asked *a)
{
	free(a->text);
	*a = (struct asked){0};
}

/* Its own word is put together with that of the servers. */
#define SAID                                                                                                             \
	"{\"name\":\"h1\",\"state\":\"up\",\"failback\":{\"verdict\":\"damped\",\"why\":\"it waits\",\"again_in_s\":70," \
	"\"uptime_needed_s\":4},\"candidates\":[{\"server\":\"" A_IP                                                     \
	":8250\",\"verdict\":\"backing off\",\"why\":\"it failed\",\"failures\":2,\"last_error\":\"not reachable\","     \
	"\"retry_in_s\":7}],\"check_interval_s\":60,\"next_check_in_s\":31}"

struct row {
	const char *what;
	const struct agent_script *as;
	bool ask_at_other; /* it is on B: ask A */
	bool hangs_up;
	const char *explained; /* JSON; NULL: it says nothing at all */
	bool is_older;         /* it doesn't know the question */
	int64_t within_ms;     /* the answer is there */
	bool is_asked;
	const char *texts[3]; /* that the answer has */
};

static const struct row rows[] = {
	{"its own word",
	 &muster_agent,
	 false,
	 false,
	 SAID,
	 false,
	 500,
	 true,
	 {"because it lost " A_IP
	  ", which it prefers, right after its last return there; it returns at the earliest in 70 s.",
	  "\"nextlook\":\"In 31 s, then every 60 s (indirect.agent.lb.check.interval).\"",
	  "\"agent\":{\"name\":\"h1\""}},
	{"through the server that has it",
	 &muster_agent,
	 true,
	 false,
	 SAID,
	 false,
	 500,
	 true,
	 {"right after its last return there", "\"nextlook\":\"In 31 s", "\"verdict\":\"damped\""}},
	{"an older agent",
	 &muster_agent,
	 true,
	 false,
	 NULL,
	 true,
	 500,
	 true,
	 {"Its agent does not know the question, it is older: this is what the servers see.",
	  "\"verdict\":\"connected\"", NULL}},
	{"it hangs",
	 &muster_agent,
	 false,
	 false,
	 NULL,
	 false,
	 3500,
	 true,
	 {"Its agent did not answer within 3 s: this is what the servers see.", "\"onpreferred\":false", NULL}},
	{"it hangs, behind another server",
	 &muster_agent,
	 true,
	 false,
	 NULL,
	 false,
	 3500,
	 true,
	 {"Its agent did not answer within 3 s", NULL, NULL}},
	{"it says anything",
	 &muster_agent,
	 false,
	 false,
	 "[1,2]",
	 false,
	 500,
	 true,
	 {"Its agent could not tell (no reason given): this is what the servers see.", NULL, NULL}},
	{"it says everything in the wrong types",
	 &muster_agent,
	 false,
	 false,
	 "{\"failback\":[],\"candidates\":{\"server\":1},\"next_check_in_s\":\"soon\",\"check_interval_s\":-5,\"move\":7}",
	 false,
	 500,
	 true,
	 {"\"onpreferred\":false", "\"agent\":{", NULL}},
	{"it has no link",
	 &muster_agent,
	 false,
	 true,
	 NULL,
	 false,
	 500,
	 false,
	 {"Its agent has no link and can't be asked: this is what the servers see.",
	  "lost its link to " B_IP " a moment ago and may come back anywhere.", NULL}},
	{"CloudStack's",
	 &java,
	 false,
	 false,
	 NULL,
	 false,
	 500,
	 false,
	 {"Its agent is CloudStack's and can't be asked: this is what the servers see.", "\"verdict\":\"connected\"",
	  NULL}},
};

static void check_explained(const struct row *row)
{
	CLEAN(asked_deinit) struct asked a = {0};
	struct engine_bench e;
	struct script *agent;

	print_message("  %s\n", row->what);
	engine_up(&e);
	node_add(&e, &e.b, B_IP);
	engine_config(&e, "indirect.agent.lb.check.interval", "60");
	engine_run(&e, 1500);
	agent = script_new(&e, row->as);
	agent->explained = row->explained;
	agent->explains_nothing = row->is_older;
	script_dial(agent, &e.b);
	engine_run(&e, 1000);
	if (row->hangs_up)
		script_hang_up(agent);
	engine_run(&e, 50);
	ask(row->ask_at_other ? &e.a : &e.b, "h1", &a);
	engine_run(&e, row->within_ms < 3000 ? row->within_ms : 2500);
	check_row(row, a.n == (row->within_ms < 3000));
	engine_run(&e, row->within_ms);
	check_row(row, a.n == 1 && a.status == 200);
	check_row(row, script_count(agent, MSG_EXPLAIN) == row->is_asked);
	for (size_t i = 0; i < ARRAY_SIZE(row->texts); i++)
		if (row->texts[i] && !strstr(a.text, row->texts[i]))
			fail_msg("%s: no %s in %s", row->what, row->texts[i], a.text);
	engine_down(&e);
}

static void the_agent_is_asked(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_explained(&rows[i]);
}

/* Who waits to come home to another server, that one has told. */
static void the_pace_is_told(void **state)
{
	static const char *const texts[] = {
		"\"pace\":{\"persecond\":1,\"burst\":1,\"waiting\":3}",
		"Its turn: 3 agents wait to come home to " A_IP ", which takes 1 a second (agent.failback.rate).",
	};
	CLEAN(asked_deinit) struct asked a = {0};
	struct engine_bench e;
	struct script *agent;
	char guid[16];

	engine_up(&e);
	node_add(&e, &e.b, B_IP);
	engine_config(&e, "agent.failback.rate", "1");
	engine_config(&e, "agent.failback.burst", "1");
	engine_config(&e, "indirect.agent.lb.check.interval", "2");
	agent = script_new(&e, &muster_agent);
	agent->explains_nothing = true;
	script_dial(agent, &e.b);
	engine_run(&e, 40000);
	for (size_t i = 0; i < 4; i++) {
		snprintf(guid, sizeof(guid), "g%zu", i);
		arrivals_wait_ms(e.a.server, guid);
	}
	engine_run(&e, 1500);
	ask(&e.b, "h1", &a);
	engine_run(&e, 500);
	assert_int_equal(a.n, 1);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (!strstr(a.text, texts[i]))
			fail_msg("no %s in %s", texts[i], a.text);
	engine_down(&e);
}

/* More than anybody wants to read: the servers' view alone. */
static void a_long_answer_is_not_read(void **state)
{
	CLEAN(asked_deinit) struct asked a = {0};
	char *padding = mem_zalloc(300001);
	struct engine_bench e;
	struct script *agent;
	char *text;

	memset(padding, 'x', 300000);
	text = mem_printf("{\"name\":\"%s\"}", padding);
	engine_up(&e);
	agent = script_new(&e, &muster_agent);
	agent->explained = text;
	script_dial(agent, &e.a);
	engine_run(&e, 1000);
	ask(&e.a, "h1", &a);
	engine_run(&e, 500);
	assert_int_equal(a.n, 1);
	assert_non_null(strstr(a.text, "Its agent's answer is too long to be read"));
	assert_true(strlen(a.text) < 10000);
	mem_free(text);
	mem_free(padding);
	engine_down(&e);
}

/* Its host is deleted, or the server ends, while the agent is asked. */
static void nothing_is_left_behind(void **state)
{
	CLEAN(asked_deinit) struct asked deleted = {0}, stopped = {0};
	struct engine_bench e;
	struct script *agent;

	engine_up(&e);
	agent = script_new(&e, &muster_agent);
	script_dial(agent, &e.a);
	engine_run(&e, 1000);
	ask(&e.a, "h1", &deleted);
	engine_run(&e, 100);
	assert_int_equal(deleted.n, 0);
	engine_delete_host(&e, host_of(&e.a, "h1")->row.id);
	engine_run(&e, 500);
	assert_int_equal(deleted.n, 1);

	script_free(agent);
	agent = script_new(&e, &muster_agent);
	script_dial(agent, &e.a);
	engine_run(&e, 1000);
	ask(&e.a, "h1", &stopped);
	engine_run(&e, 100);
	assert_int_equal(stopped.n, 0);
	fake_works_cut(e.f);
	node_kill(&e.a);
	assert_int_equal(stopped.n, 1);
	assert_int_equal(stopped.status, 503);
	engine_down(&e);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_agent_is_asked),
		cmocka_unit_test(the_pace_is_told),
		cmocka_unit_test(a_long_answer_is_not_read),
		cmocka_unit_test(nothing_is_left_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
