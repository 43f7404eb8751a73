/* What is refused is counted by its reason, and who does what he may not loses his link, or is told no. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "engine_bench.h"

#define ROW(boot_, identity_)                                                                                          \
	{                                                                                                              \
		.guid = "h1", .ip = "10.1.0.1", .identity = identity_, .is_muster = true, .boot = boot_                \
	}

/* How often, as operators see it. */
static int64_t counted(struct engine_bench *e, const char *reason)
{
	const struct api_param params[] = {{"command", "getMusterStatus"}};
	char part[128];
	int status;
	char *text = engine_ask(e, &e->a, params, 1, &status);
	const char *at;
	long long n = 0;

	assert_int_equal(status, 200);
	assert_non_null(strstr(text, "\"refusals\":["));
	snprintf(part, sizeof(part), "{\"reason\":\"%s\",\"count\":", reason);
	at = strstr(text, part);
	if (at)
		assert_int_equal(sscanf(at + strlen(part), "%lld", &n), 1);
	mem_free(text);
	return n;
}

static void say_hello(struct script *a)
{
	script_send(a, MSG_PEER_HELLO, NULL);
}

static void ask_to_join(struct script *a)
{
	script_send(a, MSG_JOIN, NULL);
}

static void give_an_order(struct script *a)
{
	script_send(a, MSG_CHANGE_AGENT, NULL);
}

static void who_may_not_is_refused_and_counted(void **state)
{
	static const struct {
		const char *what;
		enum identity identity;
		void (*act)(struct script *a); /* once the link is up; NULL: nothing */
		int64_t wait_ms;
		const char *reason;
	} rows[] = {
		{"an agent's certificate and a server's hello", ID_URI, say_hello, 500, "certificate for another role"},
		{"an agent's link and a join request", ID_URI, ask_to_join, 500, "refused by policy"},
		{"a server's certificate and an agent's startup", ID_SERVER, script_startup, 500,
		 "certificate for another role"},
		{"a server that gives orders before its hello", ID_SERVER, give_an_order, 500, "refused by policy"},
		{"a server that says nothing", ID_SERVER, NULL, 11000, "took too long"},
		{"an agent that says nothing", ID_URI, NULL, 31000, "took too long"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct agent_script as = ROW("b1", rows[i].identity);
		struct engine_bench e;
		struct script *a;

		engine_up(&e);
		a = script_new(&e, &as);
		a->no_startup = true;
		script_dial(a, &e.a);
		engine_run(&e, 500);
		assert_int_equal(counted(&e, rows[i].reason), 0);
		if (rows[i].act)
			rows[i].act(a);
		engine_run(&e, rows[i].wait_ms);
		if (script_is_open(a) || counted(&e, rows[i].reason) != 1)
			fail_msg("%s: open %d, counted %lld", rows[i].what, script_is_open(a),
				 (long long)counted(&e, rows[i].reason));
		engine_down(&e);
	}
}

static void who_comes_and_goes_is_not(void **state)
{
	static const struct agent_script as = ROW("b1", ID_URI);
	const struct api_param params[] = {{"command", "getMusterStatus"}};
	struct engine_bench e;
	struct script *a;
	char *text;
	int status;

	engine_up(&e);
	a = script_new(&e, &as);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	script_hang_up(a);
	engine_run(&e, 500);
	text = engine_ask(&e, &e.a, params, 1, &status);
	assert_non_null(strstr(text, "\"refusals\":[]"));
	mem_free(text);
	engine_down(&e);
}

static void a_server_s_command_from_an_agent(void **state)
{
	static const enum msg_type types[] = {MSG_SETUP_CERTIFICATE, MSG_SETUP_KEYSTORE, MSG_SETUP_MS_LIST,
					      MSG_PEER_STATUS};
	static const struct agent_script as = ROW("b1", ID_URI);
	struct engine_bench e;
	struct script *a;

	engine_up(&e);
	a = script_new(&e, &as);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		const struct fake_message *m;

		script_forget(a);
		script_send(a, types[i], NULL);
		engine_run(&e, 200);
		m = script_got(a, MSG_ANSWER, 0);
		assert_non_null(m);
		assert_false(element_result(&m->batch.elements[0]));
		assert_string_equal(element_details(&m->batch.elements[0]), "only servers give this command");
		assert_int_equal(counted(&e, "command that only servers give"), (int64_t)i + 1);
	}
	assert_true(script_is_open(a));
	engine_down(&e);
}

static void a_link_that_is_revoked(void **state)
{
	static const struct agent_script as = ROW("b1", ID_URI);
	struct engine_bench e;
	struct script *a;
	char *serial;

	engine_up(&e);
	a = script_new(&e, &as);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	serial = mem_strdup(host_of(&e.a, "h1")->row.cert_serial);
	engine_revoke(&e, serial);
	engine_run(&e, 1000);
	assert_false(script_is_open(a));
	assert_int_equal(counted(&e, "revoked"), 1);

	script_dial(a, &e.a);
	engine_run(&e, 1000);
	assert_false(script_is_open(a));
	assert_int_equal(counted(&e, "revoked") + counted(&e, "certificate revoked"), 2);
	mem_free(serial);
	engine_down(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_may_not_is_refused_and_counted),
		cmocka_unit_test(who_comes_and_goes_is_not),
		cmocka_unit_test(a_server_s_command_from_an_agent),
		cmocka_unit_test(a_link_that_is_revoked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
