/* Batches, answers, second copies, answers across links, cron (agent-protocol 2.5, 3.8; decision 17). */
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "bench.h"
#include "check.h"

#define HEALTH "{\"com.cloud.agent.api.CheckHealthCommand\":{\"wait\":50,\"contextMap\":{}}}"
#define PING_TEST "{\"com.cloud.agent.api.PingTestCommand\":{\"_computingHostIp\":\"1.2.3.4\",\"contextMap\":{}}}"
#define MAINTAIN "{\"com.cloud.agent.api.MaintainCommand\":{\"contextMap\":{}}}"
#define CRON "{\"com.cloud.agent.api.CleanupNetworkRulesCmd\":{\"interval\":%d,\"contextMap\":{}}}"
#define UNSUPPORTED "Unsupported command issued: %s.  Are you sure you got the right type of server?"

static void a_command_goes_to_the_host_and_back(void **state)
{
	const struct fake_message *m;
	struct bench b;
	int64_t seq;

	bench_up(&b, M1, NULL);
	seq = fake_server_ask_text(b.m1, FLAG_STOP_ON_ERROR | FLAG_IN_SEQUENCE, "[" HEALTH "]");
	bench_run(&b, 10);
	assert_int_equal(b.n_commands, 1);
	assert_int_equal(b.last_type, MSG_CHECK_HEALTH);
	assert_int_equal(b.commands[0]->seq, seq);
	assert_int_equal(bench_look(&b).commands, 1);
	assert_null(fake_server_answer(b.m1, seq));
	bench_answer(&b, true);
	bench_run(&b, 10);
	m = fake_server_answer(b.m1, seq);
	assert_non_null(m);
	assert_int_equal(m->header.flags, FLAG_STOP_ON_ERROR | FLAG_IN_SEQUENCE);
	assert_int_equal(m->header.mgmt_id, b.m1->mgmt_id);
	assert_int_equal(m->header.agent_id, 7);
	assert_int_equal(m->header.via, 7);
	assert_int_equal(bench_look(&b).commands, 0);
	bench_teardown(&b);
}

static void a_batch_runs_in_order(void **state)
{
	const struct fake_message *m;
	struct bench b;
	int64_t seq;

	bench_up(&b, M1, NULL);
	seq = fake_server_ask_text(b.m1, 0, "[" HEALTH "," MAINTAIN "," PING_TEST "," HEALTH "]");
	bench_run(&b, 10);
	assert_int_equal(b.n_given, 1);
	bench_answer(&b, true);
	bench_run(&b, 10);
	assert_int_equal(b.n_given, 2);
	assert_int_equal(b.last_type, MSG_PING_TEST);
	bench_answer(&b, false);
	bench_run(&b, 10);
	assert_int_equal(b.n_given, 3); /* nothing says that it has to stop */
	bench_answer(&b, true);
	bench_run(&b, 10);
	m = fake_server_answer(b.m1, seq);
	assert_int_equal(m->batch.n, 4);
	assert_true(element_result(&m->batch.elements[0]));
	assert_int_equal(m->batch.elements[1].type, MSG_MAINTAIN_ANSWER);
	assert_true(((const struct msg_maintain_answer *)m->batch.elements[1].fields)->willMigrate.value);
	assert_false(element_result(&m->batch.elements[2]));
	assert_true(element_result(&m->batch.elements[3]));
	bench_teardown(&b);
}

static void stop_on_error_stops(void **state)
{
	const struct fake_message *m;
	struct bench b;
	int64_t seq;

	bench_up(&b, M1, NULL);
	seq = fake_server_ask_text(b.m1, FLAG_STOP_ON_ERROR, "[" HEALTH "," PING_TEST "," MAINTAIN "]");
	bench_run(&b, 10);
	bench_answer(&b, false);
	bench_run(&b, 10);
	assert_int_equal(b.n_given, 1);
	m = fake_server_answer(b.m1, seq);
	assert_int_equal(m->batch.n, 3);
	assert_int_equal(m->batch.elements[1].type, MSG_ANSWER);
	assert_false(element_result(&m->batch.elements[1]));
	assert_string_equal(element_details(&m->batch.elements[2]), "Stopped by previous failure");
	bench_teardown(&b);
}

static void batches_run_beside_each_other(void **state)
{
	struct bench b;
	int64_t first, second;

	bench_up(&b, M1, NULL);
	first = fake_server_ask_text(b.m1, 0, "[" HEALTH "]");
	second = fake_server_ask_text(b.m1, 0, "[" PING_TEST "]");
	bench_run(&b, 10);
	assert_int_equal(b.n_commands, 2);
	agent_answer_plain(b.commands[1], true, NULL);
	b.n_commands = 1;
	bench_run(&b, 10);
	assert_non_null(fake_server_answer(b.m1, second));
	assert_null(fake_server_answer(b.m1, first));
	bench_teardown(&b);
}

static void what_nobody_knows_is_said_so(void **state)
{
	static const struct {
		const char *what;
		const char *body;
		const char *class_name;
	} rows[] = {
		{"an unknown class", "[{\"com.example.NoCommand\":{}}]", "com.example.NoCommand"},
		{"a value of the wrong type", "[{\"com.cloud.agent.api.ReadyCommand\":{\"hostId\":[]}}]",
		 "com.cloud.agent.api.BadCommand"},
		{"no array", "{}", "com.cloud.agent.api.BadCommand"},
		{"no JSON", "hello", "com.cloud.agent.api.BadCommand"},
		{"an answer as a command", "[{\"com.cloud.agent.api.Answer\":{}}]", "com.cloud.agent.api.Answer"},
		{"a startup as a command", "[{\"com.cloud.agent.api.StartupRoutingCommand\":{}}]",
		 "com.cloud.agent.api.StartupRoutingCommand"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char expected[256];
		struct bench b;
		int64_t seq;

		snprintf(expected, sizeof(expected), UNSUPPORTED, rows[i].class_name);
		bench_up(&b, M1, NULL);
		seq = fake_server_ask_text(b.m1, FLAG_STOP_ON_ERROR, rows[i].body);
		bench_run(&b, 10);
		check_row(&rows[i], fake_server_answer(b.m1, seq));
		check_row(&rows[i], !bench_answer_result(b.m1, seq));
		check_row(&rows[i], fake_server_answer(b.m1, seq)->batch.elements[0].type == MSG_UNSUPPORTED_ANSWER);
		check_row(&rows[i], !strcmp(bench_answer_details(b.m1, seq), expected));
		check_row(&rows[i], b.n_given == 0);
		bench_teardown(&b);
	}
}

static void the_host_can_say_that_it_does_not_know(void **state)
{
	char expected[256];
	struct bench b;
	int64_t seq;

	snprintf(expected, sizeof(expected), UNSUPPORTED, "com.cloud.agent.api.CheckHealthCommand");
	bench_up(&b, M1, NULL);
	seq = fake_server_ask_text(b.m1, 0, "[" HEALTH "]");
	bench_run(&b, 10);
	agent_answer_unsupported(b.commands[0]);
	b.n_commands = 0;
	bench_run(&b, 10);
	assert_string_equal(bench_answer_details(b.m1, seq), expected);
	bench_teardown(&b);
}

static void own_answers_have_their_classes(void **state)
{
	struct bench b;
	int64_t maintain, control;

	bench_up(&b, M1, NULL);
	maintain = fake_server_ask(b.m1, MSG_MAINTAIN, NULL, NULL);
	control = fake_server_ask(b.m1, MSG_AGENT_CONTROL, NULL, NULL);
	bench_run(&b, 10);
	assert_int_equal(fake_server_answer(b.m1, maintain)->batch.elements[0].type, MSG_MAINTAIN_ANSWER);
	assert_int_equal(fake_server_answer(b.m1, control)->batch.elements[0].type, MSG_AGENT_CONTROL_ANSWER);
	assert_true(bench_answer_result(b.m1, control));
	bench_teardown(&b);
}

static void only_so_many_run_at_a_time(void **state)
{
	struct bench b;
	int64_t own, late = 0;

	bench_setup(&b, M1, NULL);
	b.params.commands_max = 3;
	bench_remake(&b);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	bench_start(&b);
	bench_run(&b, 100);
	for (int i = 0; i < 13; i++)
		late = fake_server_ask_text(b.m1, 0, "[" HEALTH "]");
	own = fake_server_ask(b.m1, MSG_MAINTAIN, NULL, NULL);
	bench_run(&b, 100);
	assert_int_equal(b.n_given, 3);
	assert_int_equal(bench_look(&b).commands, 3);
	assert_true(bench_answer_result(b.m1, own));
	assert_false(bench_answer_result(b.m1, late)); /* 4 times as many wait, then it is said */
	assert_string_equal(bench_answer_details(b.m1, late), "too many commands are in progress");
	b.answers = true;
	bench_answer(&b, true);
	bench_answer(&b, true);
	bench_answer(&b, true);
	bench_run(&b, 100);
	assert_int_equal(b.n_given, 12);
	assert_int_equal(fake_server_count(b.m1, MSG_ANSWER), 13);
	bench_teardown(&b);
}

/* ---- second copies ---- */

static struct header copy_header(const struct fake_server *s)
{
	return (struct header){
		.flags = FLAG_REQUEST | FLAG_FROM_SERVER,
		.seq = 4711,
		.mgmt_id = s->mgmt_id,
		.agent_id = 7,
		.via = 7,
	};
}

static size_t count_answers(const struct fake_server *s, int64_t seq)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_messages; i++)
		n += !(s->messages[i].header.flags & FLAG_REQUEST) && s->messages[i].header.seq == seq;
	return n;
}

static void a_second_copy_is_not_run_again(void **state)
{
	struct header h;
	struct bench b;

	bench_up(&b, M1 "," M2, NULL);
	h = copy_header(b.m1);
	fake_server_send(b.m1, &h, "[" HEALTH "]");
	fake_server_send(b.m1, &h, "[" HEALTH "]");
	bench_run(&b, 10);
	assert_int_equal(b.n_given, 1);
	bench_answer(&b, true);
	bench_run(&b, 10);
	assert_int_equal(count_answers(b.m1, 4711), 1);
	fake_server_send(b.m1, &h, "[" HEALTH "]");
	bench_run(&b, 10);
	assert_int_equal(b.n_given, 1);
	assert_int_equal(count_answers(b.m1, 4711), 2);
	/* Another server's number is another number, and so is another command. */
	h.mgmt_id++;
	fake_server_send(b.m1, &h, "[" HEALTH "]");
	h.mgmt_id--;
	fake_server_send(b.m1, &h, "[" PING_TEST "]");
	bench_run(&b, 10);
	assert_int_equal(b.n_given, 3);
	/* After a while it is forgotten. */
	bench_run(&b, 301000);
	fake_server_send(b.m1, &h, "[" HEALTH "]");
	bench_run(&b, 10);
	assert_int_equal(b.n_given, 4);
	bench_teardown(&b);
}

static void a_copy_over_another_link_is_answered_there(void **state)
{
	struct header h;
	struct bench b;

	bench_up(&b, M1 "," M2, NULL);
	bench_run(&b, 20000);
	h = copy_header(b.m1);
	fake_server_send(b.m1, &h, "[" HEALTH "]");
	bench_run(&b, 10);
	fake_server_stop(b.m1);
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), M2);
	fake_server_send(b.m2, &h, "[" HEALTH "]");
	bench_run(&b, 10);
	assert_int_equal(b.n_given, 1);
	bench_answer(&b, true);
	bench_run(&b, 10);
	assert_int_equal(count_answers(b.m2, 4711), 1);
	bench_teardown(&b);
}

/* ---- across links ---- */

static void an_answer_finds_the_new_link(void **state)
{
	struct bench b;
	int64_t seq;

	bench_up(&b, M1 "," M2, NULL);
	bench_run(&b, 20000);
	seq = fake_server_ask_text(b.m1, FLAG_STOP_ON_ERROR, "[" HEALTH "," PING_TEST "]");
	bench_run(&b, 10);
	fake_server_stop(b.m1);
	bench_run(&b, 100);
	bench_answer(&b, true);
	bench_run(&b, 10);
	bench_answer(&b, true); /* the batch went on */
	bench_run(&b, 10);
	assert_non_null(fake_server_answer(b.m2, seq));
	assert_int_equal(fake_server_answer(b.m2, seq)->header.mgmt_id, b.m1->mgmt_id);
	bench_teardown(&b);
}

static void an_answer_waits_for_a_link(void **state)
{
	struct bench b;
	int64_t kept, dropped;

	bench_up(&b, M1, NULL);
	bench_run(&b, 20000);
	dropped = fake_server_ask_text(b.m1, 0, "[" HEALTH "]");
	kept = fake_server_ask_text(b.m1, 0, "[" PING_TEST "]");
	bench_run(&b, 10);
	fake_server_stop(b.m1);
	bench_run(&b, 100);
	bench_answer(&b, true);
	bench_run(&b, 200000);
	bench_answer(&b, true);
	bench_run(&b, 150000);
	fake_server_start(b.m1);
	bench_run(&b, 31000);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	assert_non_null(fake_server_answer(b.m1, kept));
	assert_null(fake_server_answer(b.m1, dropped)); /* older than answer_hold_ms */
	assert_true(fake_server_answer(b.m1, kept)->at_ms >= fake_server_got(b.m1, MSG_READY_ANSWER, 1)->at_ms);
	bench_teardown(&b);
}

static void an_answer_lost_with_its_link_is_sent_again(void **state)
{
	struct bench b;
	int64_t seq;

	bench_setup(&b, M1 "," M2, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m2 = fake_server_new(b.f, M2, FAKE_MUSTER);
	b.m1->heartbeat_ms = b.m2->heartbeat_ms = 1000;
	bench_start(&b);
	bench_run(&b, 20000);
	seq = fake_server_ask_text(b.m1, 0, "[" HEALTH "]");
	bench_run(&b, 10);
	fake_cut(b.f, M1, true);
	bench_answer(&b, true); /* into a link that is dead already */
	bench_run(&b, 15000);
	assert_string_equal(bench_connected(&b), M2);
	assert_non_null(fake_server_answer(b.m2, seq));
	bench_teardown(&b);
}

static void towards_cloudstack_an_answer_is_dropped_with_its_link(void **state)
{
	struct bench b;
	int64_t seq;

	bench_setup(&b, M1 "," M2, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_CLOUDSTACK);
	b.m2 = fake_server_new(b.f, M2, FAKE_CLOUDSTACK);
	bench_start(&b);
	bench_run(&b, 20000);
	seq = fake_server_ask_text(b.m1, 0, "[" HEALTH "," PING_TEST "]");
	bench_run(&b, 10);
	fake_server_stop(b.m1);
	bench_run(&b, 2000);
	assert_string_equal(bench_connected(&b), M2);
	bench_answer(&b, true);
	bench_run(&b, 2000);
	assert_int_equal(b.n_given, 1);
	assert_null(fake_server_answer(b.m2, seq));
	assert_int_equal(bench_look(&b).commands, 0);
	bench_teardown(&b);
}

static void commands_on_a_link_that_is_being_left_are_done(void **state)
{
	struct bench b;
	int64_t seq;

	bench_up(&b, M1, NULL);
	bench_send_list(b.m1, &(struct list_fill){.servers = M2 "," M1, .algorithm = "static", .trigger = true});
	bench_run(&b, 1700); /* M2 has proven itself */
	assert_string_equal(bench_connected(&b), M2);
	seq = fake_server_ask_text(b.m1, 0, "[" HEALTH "]");
	bench_run(&b, 10);
	assert_int_equal(b.n_commands, 1);
	bench_run(&b, 5000);
	bench_answer(&b, true);
	bench_run(&b, 10);
	assert_non_null(fake_server_answer(b.m2, seq)); /* its own link is gone by now */
	bench_teardown(&b);
}

/* ---- cron ---- */

static void a_repeated_command_is_repeated(void **state)
{
	char body[200];
	struct bench b;
	int64_t seq;

	bench_up(&b, M1, NULL);
	b.answers = true;
	snprintf(body, sizeof(body), "[" CRON "]", 10);
	seq = fake_server_ask_text(b.m1, FLAG_STOP_ON_ERROR, body);
	bench_run(&b, 9900);
	assert_int_equal(b.n_given, 0);
	assert_int_equal(count_answers(b.m1, seq), 1); /* at once, and it says nothing yet */
	bench_run(&b, 20200);
	assert_int_equal(b.n_given, 3);
	assert_int_equal(count_answers(b.m1, seq), 4);
	/* The next one of its kind replaces it. */
	snprintf(body, sizeof(body), "[" CRON "]", 100);
	fake_server_ask_text(b.m1, FLAG_STOP_ON_ERROR, body);
	bench_run(&b, 99000);
	assert_int_equal(b.n_given, 3);
	bench_run(&b, 2000);
	assert_int_equal(b.n_given, 4);
	bench_teardown(&b);
}

static void a_slow_repetition_is_not_run_beside_itself(void **state)
{
	char body[200];
	struct bench b;

	bench_up(&b, M1, NULL);
	snprintf(body, sizeof(body), "[" CRON "]", 10);
	fake_server_ask_text(b.m1, 0, body);
	bench_run(&b, 45000);
	assert_int_equal(b.n_given, 1);
	bench_answer(&b, true);
	bench_run(&b, 10000);
	assert_int_equal(b.n_given, 2);
	bench_teardown(&b);
}

static void repetitions_end_with_the_link(void **state)
{
	char body[200];
	struct bench b;

	bench_up(&b, M1, NULL);
	snprintf(body, sizeof(body), "[" CRON "]", 10);
	fake_server_ask_text(b.m1, 0, body);
	bench_run(&b, 11000);
	assert_int_equal(b.n_given, 1); /* not answered: the host program still has it */
	fake_server_hang_up(b.m1);
	bench_run(&b, 60000);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	assert_int_equal(b.n_given, 1);
	bench_answer(&b, true);
	bench_run(&b, 60000);
	assert_int_equal(b.n_given, 1);
	assert_int_equal(bench_look(&b).commands, 0);
	bench_teardown(&b);
}

/* ---- golden ---- */

/* Each command that the reference's servers send is answered with its number, and never with silence. */
static void golden_commands_are_answered(void **state)
{
	static const char *const names[] = {
		"check_health",
		"get_host_stats",
		"maintain",
		"multi_command",
		"multi_continue_on_error",
		"in_sequence_multi",
		"setup_ms_list_static",
		"setup_ms_list_roundrobin",
		"migrate_agent_connection",
		"ready_plain",
		"ready_ms_list",
		"setup_keystore",
		"setup_certificate",
		"shutdown_delete_host",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		CLEAN(mem_freep) char *path = mem_printf("%s/%s.hex", GOLDEN, names[i]);
		CLEAN(buf_deinit) struct buf hex = {0}, raw = {0}, body = {0};
		struct header h;
		struct bench b;
		char *text;
		size_t n = 0;

		assert_int_equal(file_read(&fs_posix, path, 1 << 20, &hex, NULL), ERR_OK);
		text = buf_take_str(&hex);
		for (size_t j = 0; text[j]; j++) {
			if (text[j] > ' ')
				text[n++] = text[j];
		}
		text[n] = '\0';
		assert_true(hex_decode(text, &raw));
		mem_free(text);
		assert_int_equal(message_unpack(&h, &body, raw.data, raw.len, 1 << 20, NULL), ERR_OK);
		bench_up(&b, M1, NULL);
		b.answers = true;
		fake_server_send(b.m1, &h, buf_str(&body));
		bench_run(&b, 100);
		if (!fake_server_answer(b.m1, h.seq) || fake_server_answer(b.m1, h.seq)->header.agent_id != h.agent_id)
			fail_msg("%s is not answered", names[i]);
		bench_teardown(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_goes_to_the_host_and_back),
		cmocka_unit_test(a_batch_runs_in_order),
		cmocka_unit_test(stop_on_error_stops),
		cmocka_unit_test(batches_run_beside_each_other),
		cmocka_unit_test(what_nobody_knows_is_said_so),
		cmocka_unit_test(the_host_can_say_that_it_does_not_know),
		cmocka_unit_test(own_answers_have_their_classes),
		cmocka_unit_test(only_so_many_run_at_a_time),
		cmocka_unit_test(a_second_copy_is_not_run_again),
		cmocka_unit_test(a_copy_over_another_link_is_answered_there),
		cmocka_unit_test(an_answer_finds_the_new_link),
		cmocka_unit_test(an_answer_waits_for_a_link),
		cmocka_unit_test(an_answer_lost_with_its_link_is_sent_again),
		cmocka_unit_test(towards_cloudstack_an_answer_is_dropped_with_its_link),
		cmocka_unit_test(commands_on_a_link_that_is_being_left_are_done),
		cmocka_unit_test(a_repeated_command_is_repeated),
		cmocka_unit_test(a_slow_repetition_is_not_run_beside_itself),
		cmocka_unit_test(repetitions_end_with_the_link),
		cmocka_unit_test(golden_commands_are_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
