/* From the first dial to UP, and what a session does then: startup, Ready, pings, refusals. */
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"

static const struct msg_startup_routing *startup_of(const struct fake_server *s, size_t n)
{
	const struct fake_message *m = fake_server_got(s, MSG_STARTUP_ROUTING, n);

	assert_non_null(m);
	return m->batch.elements[0].fields;
}

static void it_introduces_itself(void **state)
{
	const struct msg_startup_routing *m;
	const struct fake_message *first;
	struct bench b;

	bench_up(&b, M1 "," M2 "@static", NULL);
	m = startup_of(b.m1, 0);
	assert_string_equal(m->startup.guid, "g-1-LibvirtComputingResource");
	assert_string_equal(m->startup.msHostList, M1 "," M2 "@static");
	assert_string_equal(m->startup.type, "Routing");
	assert_string_equal(m->startup.arch, "x86_64");
	assert_string_equal(m->startup.dataCenter, "1");
	assert_false(m->startup.id.has);
	assert_true(m->startup.connectionTransferred.has && !m->startup.connectionTransferred.value);
	assert_int_equal(strlen(m->startup.musterBoot), 36);
	assert_int_equal(m->startup.musterLink.value, 1);
	first = fake_server_got(b.m1, MSG_STARTUP_ROUTING, 0);
	assert_int_equal(first->header.flags, FLAG_REQUEST);
	assert_int_equal(first->header.seq, 0);
	assert_int_equal(first->header.mgmt_id, -1);
	assert_int_equal(first->header.agent_id, -1);
	assert_int_equal(first->header.via, -1);
	bench_teardown(&b);
}

static void ready_makes_it_up_and_is_answered(void **state)
{
	struct bench b;
	const struct fake_message *answer;

	bench_up(&b, M1, NULL);
	assert_int_equal(bench_look(&b).host_id, 7);
	assert_string_equal(bench_get(&b, "LibvirtComputingResource.id"), "7");
	assert_string_equal(bench_get(&b, "LibvirtComputingResource.name"), "host");
	answer = fake_server_got(b.m1, MSG_READY_ANSWER, 0);
	assert_non_null(answer);
	assert_int_equal(answer->header.flags, FLAG_STOP_ON_ERROR | FLAG_IN_SEQUENCE);
	assert_int_equal(answer->header.mgmt_id, b.m1->mgmt_id);
	assert_int_equal(answer->header.agent_id, 7);
	assert_int_equal(answer->header.via, 7);
	assert_string_equal(bench_connected(&b), M1);
	assert_string_equal(bench_get(&b, KEY_KNOWN_MUSTER), M1);
	assert_true(b.n_changed > 0);
	bench_teardown(&b);
}

/* As CloudStack does it: a bare one first, the list with the second. */
static void two_ready_commands_are_fine(void **state)
{
	struct bench b;
	int64_t seq;

	bench_setup(&b, M1, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_CLOUDSTACK);
	b.m1->interval = -1;
	bench_start(&b);
	bench_run(&b, 100);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	assert_false(bench_look(&b).is_muster);
	assert_null(startup_of(b.m1, 0)->startup.musterBoot);
	assert_false(startup_of(b.m1, 0)->startup.musterLink.has);
	assert_null(bench_get(&b, KEY_KNOWN_MUSTER));
	seq = fake_server_ask_text(
		b.m1, FLAG_STOP_ON_ERROR | FLAG_IN_SEQUENCE,
		"[{\"com.cloud.agent.api.ReadyCommand\":{\"dcId\":1,\"hostId\":5,\"hostUuid\":\"u\",\"hostName\":\"n\","
		"\"msHostList\":[\"10.0.0.2\",\"10.0.0.1\"],\"avoidMsHostList\":[\"10.0.0.3\"],\"lbAlgorithm\":"
		"\"roundrobin\",\"lbCheckInterval\":60,\"contextMap\":{},\"wait\":0,\"bypassHostMaintenance\":false}}]");
	bench_run(&b, 10);
	assert_true(bench_answer_result(b.m1, seq));
	assert_string_equal(bench_get(&b, "host"), "10.0.0.2,10.0.0.1@roundrobin");
	assert_string_equal(bench_get(&b, KEY_CHECK_INTERVAL), "60");
	assert_string_equal(bench_get(&b, KEY_HOST_LASTGOOD), M1);
	assert_int_equal(bench_look(&b).host_id, 5);
	assert_int_equal(bench_look(&b).avoid->n, 1);
	assert_int_equal(bench_look(&b).interval_s, 60);
	assert_string_equal(bench_look(&b).preferred, M2);
	bench_teardown(&b);
}

static void the_host_id_is_sent_again_after_a_restart(void **state)
{
	struct bench b;

	bench_up(&b, M1, NULL);
	bench_remake(&b);
	bench_start(&b);
	bench_run(&b, 100);
	assert_int_equal(startup_of(b.m1, 1)->startup.id.value, 7);
	assert_int_equal(fake_server_got(b.m1, MSG_STARTUP_ROUTING, 1)->header.agent_id, 7);
	assert_int_equal(startup_of(b.m1, 1)->startup.musterLink.value, 1);
	assert_string_not_equal(startup_of(b.m1, 1)->startup.musterBoot, startup_of(b.m1, 0)->startup.musterBoot);
	bench_teardown(&b);
}

static void it_pings_at_the_interval_it_was_told(void **state)
{
	const struct msg_ping *m;
	const struct fake_message *ping;
	struct bench b;

	bench_setup(&b, M1, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m1->ping_s = 10;
	bench_start(&b);
	bench_run(&b, 9900);
	assert_int_equal(fake_server_count(b.m1, MSG_PING), 0);
	bench_run(&b, 200);
	assert_int_equal(fake_server_count(b.m1, MSG_PING), 1);
	ping = fake_server_got(b.m1, MSG_PING, 0);
	m = ping->batch.elements[0].fields;
	assert_int_equal(ping->header.flags, FLAG_REQUEST | FLAG_STOP_ON_ERROR);
	assert_int_equal(m->hostId.value, 7);
	assert_string_equal(m->hostType, "Routing");
	assert_int_equal(json_array_size(m->commandInfos), 0);
	assert_false(m->outOfBand.value);
	bench_run(&b, 50000);
	assert_int_equal(fake_server_count(b.m1, MSG_PING), 6);
	agent_ping_now(b.agent);
	bench_run(&b, 10);
	m = fake_server_got(b.m1, MSG_PING, 6)->batch.elements[0].fields;
	assert_true(m->outOfBand.value);
	bench_teardown(&b);
}

static void unanswered_pings_end_the_link_as_a_last_resort(void **state)
{
	struct bench b;

	/* There is nowhere else to go meanwhile. */
	bench_up(&b, M1, NULL);
	b.m1->answers_pings = false;
	bench_run(&b, 60000 * 5 + 100);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(b.m1->n_links, 1);
	bench_run(&b, 61100);
	assert_int_equal(b.m1->n_links, 2);
	bench_teardown(&b);
}

static void a_ping_answer_asks_for_the_startup_again(void **state)
{
	struct bench b;
	struct header h;

	bench_up(&b, M1, NULL);
	agent_ping_now(b.agent);
	bench_run(&b, 10);
	h = header_answer(&fake_server_got(b.m1, MSG_PING, 0)->header);
	fake_server_send(b.m1, &h,
			 "[{\"com.cloud.agent.api.PingAnswer\":{\"_command\":{},\"sendStartup\":true,\"avoidMsList\":["
			 "\"10.0.0.3\"],\"result\":true}}]");
	bench_run(&b, 10);
	assert_int_equal(fake_server_count(b.m1, MSG_STARTUP_ROUTING), 2);
	assert_int_equal(startup_of(b.m1, 1)->startup.musterLink.value, 2);
	assert_int_equal(b.m1->n_links, 1);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	/* The Ready that followed the second startup cleared it again. */
	assert_int_equal(bench_look(&b).avoid->n, 0);
	bench_teardown(&b);
}

static void a_server_that_does_not_answer_the_startup_is_left(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "," M2, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m2 = fake_server_new(b.f, M2, FAKE_MUSTER);
	b.m1->answers_startup = false;
	bench_start(&b);
	/* It is alive, so it gets a while; then others are asked beside it. */
	bench_run(&b, 9900);
	assert_int_equal(bench_look(&b).state, AGENT_STARTING);
	assert_int_equal(b.m2->n_links, 0);
	bench_run(&b, 200);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

static void a_ready_with_details_stops_it(void **state)
{
	struct bench b;

	bench_setup(&b, M1, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m1->sends_ready = false;
	bench_start(&b);
	bench_run(&b, 100);
	fake_server_ask_text(b.m1, FLAG_STOP_ON_ERROR | FLAG_IN_SEQUENCE,
			     "[{\"com.cloud.agent.api.ReadyCommand\":{\"_details\":\"unknown zone\"}}]");
	bench_run(&b, 60000);
	assert_int_equal(bench_look(&b).state, AGENT_STOPPED);
	assert_int_equal(b.n_stopped, 1);
	assert_int_equal(b.stop_error, ERR_REFUSED);
	assert_string_equal(b.stop_sentence, "unknown zone");
	assert_int_equal(b.m1->n_links, 1);
	assert_int_equal(fake_server_count(b.m1, MSG_READY_ANSWER), 0);
	assert_int_equal(agent_start(b.agent), ERR_STATE);
	bench_teardown(&b);
}

static void a_refused_startup_stops_it(void **state)
{
	struct header h;
	struct bench b;

	bench_setup(&b, M1, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m1->answers_startup = false;
	bench_start(&b);
	bench_run(&b, 100);
	h = header_answer(&fake_server_got(b.m1, MSG_STARTUP_ROUTING, 0)->header);
	fake_server_send(b.m1, &h,
			 "[{\"com.cloud.agent.api.StartupAnswer\":{\"result\":false,\"details\":\"duplicate guid\"}}]");
	bench_run(&b, 100);
	assert_int_equal(b.stop_error, ERR_REFUSED);
	assert_string_equal(b.stop_sentence, "duplicate guid");
	bench_teardown(&b);
}

static void a_deleted_host_stays_until_the_server_closes(void **state)
{
	struct bench b;
	int64_t seq;

	bench_up(&b, M1 "," M2, "zone=z\npod=p\ncluster=c\n");
	seq = fake_server_ask_text(
		b.m1, FLAG_STOP_ON_ERROR | FLAG_IN_SEQUENCE,
		"[{\"com.cloud.agent.api.ShutdownCommand\":{\"reason\":\"deleteHost\",\"removeHost\":true}}]");
	bench_run(&b, 5000);
	assert_true(bench_answer_result(b.m1, seq));
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	assert_string_equal(bench_get(&b, "zone"), "");
	assert_string_equal(bench_get(&b, "cluster"), "");
	assert_string_equal(bench_get(&b, "pod"), "");
	fake_server_hang_up(b.m1);
	bench_run(&b, 60000);
	assert_int_equal(bench_look(&b).state, AGENT_STOPPED);
	assert_int_equal(b.stop_error, ERR_STOPPED);
	assert_int_equal(b.m2->n_links, 0);
	bench_teardown(&b);
}

static void on_gone(void *user)
{
	struct bench *b = user;

	b->n_gone++;
	b->agent = agent_free(b->agent);
}

static void it_says_farewell(void **state)
{
	const struct fake_message *m;
	struct bench b;
	size_t n_changed;

	bench_up(&b, M1 "," M2, NULL);
	n_changed = b.n_changed;
	agent_stop(b.agent, on_gone, &b);
	assert_int_equal(b.n_gone, 0);
	bench_run(&b, 1100);
	assert_int_equal(b.n_gone, 1);
	assert_int_equal(b.n_changed, n_changed);
	m = fake_server_got(b.m1, MSG_SHUTDOWN, 0);
	assert_non_null(m);
	assert_int_equal(m->header.seq, -1);
	assert_int_equal(m->header.flags, FLAG_REQUEST | FLAG_STOP_ON_ERROR | FLAG_IN_SEQUENCE);
	assert_string_equal(((const struct msg_shutdown *)m->batch.elements[0].fields)->reason, "sig.kill");
	assert_int_equal(b.m2->n_links, 0);
	bench_teardown(&b);
}

static void stopping_without_a_link_is_quick(void **state)
{
	struct bench b;

	bench_setup(&b, M1, NULL);
	bench_start(&b);
	bench_run(&b, 5000);
	agent_stop(b.agent, on_gone, &b);
	fake_world_settle(b.f);
	assert_int_equal(b.n_gone, 1);
	bench_teardown(&b);
}

static void it_is_not_made_without_what_it_needs(void **state)
{
	struct agent *a;
	struct why why;
	struct bench b;

	bench_setup(&b, M1, NULL);
	b.params.guid = "";
	assert_int_equal(agent_new(&a, &b.params, &why), ERR_INVALID);
	b.params.guid = "g";
	agent_free(b.agent);
	agent_file_free(b.file);
	fake_file_put(b.f, BENCH_FILE, "host=,,@static\n");
	assert_int_equal(agent_file_open(&b.file, b.world->fs, BENCH_FILE, &why), ERR_OK);
	b.params.file = b.file;
	assert_int_equal(agent_new(&b.agent, &b.params, &why), ERR_INVALID);
	assert_non_null(strstr(why.text, BENCH_FILE));
	b.agent = NULL;
	bench_teardown(&b);
}

static void a_startup_is_not_repeated_before_its_answer(void **state)
{
	struct header h;
	struct bench b;

	bench_up(&b, M1, NULL);
	agent_ping_now(b.agent);
	bench_run(&b, 10);
	h = header_answer(&fake_server_got(b.m1, MSG_PING, 0)->header);
	fake_server_send(b.m1, &h,
			 "[{\"com.cloud.agent.api.PingAnswer\":{\"sendStartup\":true,\"result\":true}},"
			 "{\"com.cloud.agent.api.PingAnswer\":{\"sendStartup\":true,\"result\":true}}]");
	bench_run(&b, 10);
	assert_int_equal(fake_server_count(b.m1, MSG_STARTUP_ROUTING), 2);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	bench_teardown(&b);
}

static void it_pings_also_when_ready_came_first(void **state)
{
	struct header h;
	struct bench b;

	bench_setup(&b, M1, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m1->answers_startup = false;
	b.m1->sends_ready = false;
	bench_start(&b);
	bench_run(&b, 100);
	fake_server_ask_text(b.m1, FLAG_STOP_ON_ERROR | FLAG_IN_SEQUENCE,
			     "[{\"com.cloud.agent.api.ReadyCommand\":{\"hostId\":7}}]");
	h = header_answer(&fake_server_got(b.m1, MSG_STARTUP_ROUTING, 0)->header);
	fake_server_send(b.m1, &h, "[{\"com.cloud.agent.api.StartupAnswer\":{\"pingInterval\":10,\"result\":true}}]");
	bench_run(&b, 100);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	bench_run(&b, 20000);
	assert_int_equal(fake_server_count(b.m1, MSG_PING), 2);
	bench_teardown(&b);
}

/* A muster server that answers twice and is never done is left like one that has answered once. */
static void a_second_answer_does_not_end_the_wait_for_ready(void **state)
{
	struct bench b;
	struct header h = {.agent_id = -1, .via = -1};

	bench_setup(&b, M1, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m1->sends_ready = false;
	bench_start(&b);
	bench_run(&b, 1000);
	h.seq = fake_server_got(b.m1, MSG_STARTUP_ROUTING, 0)->header.seq;
	fake_server_send(
		b.m1, &h,
		"[{\"com.cloud.agent.api.StartupAnswer\":{\"hostId\":0,\"pingInterval\":60,\"result\":true}}]");
	bench_run(&b, 36000);
	assert_int_equal(b.m1->n_links, 2);
	bench_teardown(&b);
}

static void parameters_that_can_not_work_are_refused(void **state)
{
	struct agent *a = NULL;
	struct why why = WHY_NONE;
	struct agent_params p;
	struct bench b;

	bench_setup(&b, M1, NULL);
	p = b.params;
	p.failback.prove_ms = 0;
	assert_int_equal(agent_new(&a, &p, &why), ERR_INVALID);
	assert_non_null(strstr(why.text, "prove"));
	bench_teardown(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_introduces_itself),
		cmocka_unit_test(ready_makes_it_up_and_is_answered),
		cmocka_unit_test(two_ready_commands_are_fine),
		cmocka_unit_test(the_host_id_is_sent_again_after_a_restart),
		cmocka_unit_test(it_pings_at_the_interval_it_was_told),
		cmocka_unit_test(unanswered_pings_end_the_link_as_a_last_resort),
		cmocka_unit_test(a_ping_answer_asks_for_the_startup_again),
		cmocka_unit_test(a_server_that_does_not_answer_the_startup_is_left),
		cmocka_unit_test(a_ready_with_details_stops_it),
		cmocka_unit_test(a_refused_startup_stops_it),
		cmocka_unit_test(a_deleted_host_stays_until_the_server_closes),
		cmocka_unit_test(it_says_farewell),
		cmocka_unit_test(stopping_without_a_link_is_quick),
		cmocka_unit_test(it_is_not_made_without_what_it_needs),
		cmocka_unit_test(a_startup_is_not_repeated_before_its_answer),
		cmocka_unit_test(it_pings_also_when_ready_came_first),
		cmocka_unit_test(a_second_answer_does_not_end_the_wait_for_ready),
		cmocka_unit_test(parameters_that_can_not_work_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
