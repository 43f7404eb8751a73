/* An agent can be freed at any moment, also by the host program from its own calls; nothing leaks, nothing calls back.
 */
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"

#define HEALTH "[{\"com.cloud.agent.api.CheckHealthCommand\":{\"contextMap\":{}}}]"
#define CRON "[{\"com.cloud.agent.api.CleanupNetworkRulesCmd\":{\"interval\":2,\"contextMap\":{}}}]"

static void drop(struct bench *b)
{
	b->agent = agent_free(b->agent);
	b->n_changed = b->n_given = b->n_startups = 0;
	bench_run(b, 120000);
	assert_int_equal(b->n_changed + b->n_given + b->n_startups + b->n_stopped, 0);
	bench_teardown(b);
}

/* From making it to being up: at every millisecond, with each kind of server. */
static void while_it_comes_up(void **state)
{
	static const enum fake_kind kinds[] = {FAKE_MUSTER, FAKE_CLOUDSTACK, FAKE_MUTE, FAKE_AGENT};

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		for (int64_t ms = 0; ms < 20; ms++) {
			struct bench b;

			bench_setup(&b, "m1," M2, NULL);
			fake_name(b.f, "m1", M1);
			b.m1 = fake_server_new(b.f, M1, kinds[k]);
			if (ms)
				bench_start(&b);
			bench_run(&b, ms);
			drop(&b);
		}
	}
}

static void while_it_moves(void **state)
{
	for (int64_t ms = 0; ms < 20; ms++) {
		struct bench b;

		bench_up(&b, M1, NULL);
		b.m2->sends_ready = ms % 2;
		bench_send_list(b.m1,
				&(struct list_fill){.servers = M2 "," M1, .algorithm = "static", .trigger = true});
		bench_run(&b, ms);
		drop(&b);
	}
}

static void while_commands_are_open(void **state)
{
	struct bench b;

	bench_up(&b, M1 "," M2, NULL);
	fake_server_ask_text(b.m1, 0, HEALTH);
	fake_server_ask_text(b.m1, 0, CRON);
	bench_run(&b, 5000);
	assert_int_equal(b.n_given, 2);
	fake_server_ask_text(b.m1, 0, HEALTH);
	fake_server_hang_up(b.m1); /* a cron whose link is gone, a finished answer that waits */
	bench_run(&b, 1);
	bench_answer(&b, true);
	drop(&b);
}

static void while_it_is_suspect(void **state)
{
	struct bench b;

	bench_setup(&b, M1 "," M2, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.m1->heartbeat_ms = 1000;
	bench_start(&b);
	bench_run(&b, 100);
	fake_cut(b.f, M1, true);
	fake_cut(b.f, M2, true);
	bench_run(&b, 4000);
	assert_true(bench_look(&b).moving);
	drop(&b);
}

static void on_gone(void *user)
{
	fail_msg("it was freed");
}

static void while_it_stops(void **state)
{
	struct bench b;

	bench_up(&b, M1, NULL);
	agent_stop(b.agent, on_gone, &b);
	drop(&b);
}

static void when_it_has_stopped_itself(void **state)
{
	struct bench b;

	bench_up(&b, M1, NULL);
	fake_server_ask_text(b.m1, 0, "[{\"com.cloud.agent.api.ReadyCommand\":{\"_details\":\"no\"}}]");
	bench_run(&b, 1);
	assert_int_equal(b.n_stopped, 1);
	b.n_stopped = 0;
	drop(&b);
}

static void from_its_own_command(void **state)
{
	struct bench b;

	bench_up(&b, M1, NULL);
	b.frees_agent = true;
	fake_server_ask_text(b.m1, 0, HEALTH);
	fake_server_ask_text(b.m1, 0, HEALTH);
	bench_run(&b, 100);
	assert_null(b.agent);
	assert_int_equal(b.n_given, 1);
	drop(&b);
}

static void from_its_own_cron(void **state)
{
	struct bench b;

	bench_up(&b, M1, NULL);
	b.frees_agent = true;
	fake_server_ask_text(b.m1, 0, CRON);
	bench_run(&b, 2100);
	assert_null(b.agent);
	drop(&b);
}

static void from_a_change(void **state)
{
	struct bench b;

	bench_setup(&b, M1, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
	b.frees_on_change = true;
	bench_start(&b);
	bench_run(&b, 100);
	assert_null(b.agent);
	drop(&b);
}

/* Anything at any time: servers go and come back, are cut off, lists and commands come in. */
static void after_a_random_walk(void **state)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct fake_server *servers[3];
		unsigned n_open;
		struct rng rng;
		struct bench b;

		rng_init(&rng, seed);
		bench_setup(&b, M1 "," M2 "," M3 "@roundrobin", NULL);
		servers[0] = b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
		servers[1] = b.m2 = fake_server_new(b.f, M2, seed % 3 ? FAKE_MUSTER : FAKE_CLOUDSTACK);
		servers[2] = b.m3 = fake_server_new(b.f, M3, FAKE_MUSTER);
		for (size_t i = 0; i < 3; i++)
			servers[i]->heartbeat_ms = servers[i]->kind == FAKE_MUSTER ? 1000 : 0;
		b.answers = seed % 2;
		bench_start(&b);
		for (int step = 0; step < 150; step++) {
			struct fake_server *s = servers[rng_below(&rng, 3)];

			switch (rng_below(&rng, 10)) {
			case 0:
				fake_server_stop(s);
				break;
			case 1:
			case 2:
				fake_server_start(s);
				fake_cut(b.f, s->ip, false);
				break;
			case 3:
				fake_cut(b.f, s->ip, true);
				break;
			case 4:
				fake_server_hang_up(s);
				break;
			case 5:
				if (s->link && link_state(s->link) == LINK_UP)
					bench_send_list(s, &(struct list_fill){.servers = M3 "," M1 "," M2,
									       .algorithm = "roundrobin",
									       .interval = (int64_t)rng_below(&rng, 9),
									       .trigger = rng_below(&rng, 2)});
				break;
			case 6:
				if (s->link && link_state(s->link) == LINK_UP)
					bench_migrate(s, s->ip);
				break;
			case 7:
				if (s->link && link_state(s->link) == LINK_UP)
					fake_server_ask_text(s, 0, rng_below(&rng, 2) ? HEALTH : CRON);
				break;
			case 8:
				if (b.n_commands)
					bench_answer(&b, rng_below(&rng, 2));
				break;
			default:
				agent_check_preferred(b.agent);
				break;
			}
			bench_run(&b, (int64_t)rng_below(&rng, 2000));
		}
		for (size_t i = 0; i < 3; i++) {
			fake_server_start(servers[i]);
			fake_cut(b.f, servers[i]->ip, false);
		}
		bench_run(&b, 60000);
		if (bench_look(&b).state != AGENT_UP)
			fail_msg("seed %u: not up once the world is calm", (unsigned)seed);
		bench_run(&b, 10000);
		n_open = b.m1->n_open + b.m2->n_open + b.m3->n_open;
		/* A visit for a session ticket is no link of its own. */
		if (n_open < 1 || n_open > 1U + bench_look(&b).fetching_ticket)
			fail_msg("seed %u: more than one link once the world is calm", (unsigned)seed);
		while (b.n_commands)
			bench_answer(&b, true);
		bench_run(&b, 100);
		assert_true(bench_look(&b).commands <= b.n_commands);
		b.agent = agent_free(b.agent);
		bench_teardown(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(while_it_comes_up),       cmocka_unit_test(while_it_moves),
		cmocka_unit_test(while_commands_are_open), cmocka_unit_test(while_it_is_suspect),
		cmocka_unit_test(while_it_stops),          cmocka_unit_test(when_it_has_stopped_itself),
		cmocka_unit_test(from_its_own_command),    cmocka_unit_test(from_its_own_cron),
		cmocka_unit_test(from_a_change),           cmocka_unit_test(after_a_random_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
