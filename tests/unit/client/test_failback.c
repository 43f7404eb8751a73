/* The failback gate in the agent (docs/failover.md): each rule's row, from a look to the link that takes over. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"

#define PROVEN_MS 1700 /* three heartbeats at 500 ms, TLS and the startup */
#define INTERVAL_S 100 /* so long that no regular look comes in between */

/* ---- news ---- */

struct news {
	const char *preferred; /* NULL: no word */
	const char *state;
	bool refuses;
	int64_t uptime_ms;
	int64_t agents;
	int64_t heartbeat_ms; /* 0: absent */
	enum { FREEZE_ABSENT, FREEZE, THAW } freeze;
};

static void fill_news(void *fields, void *user)
{
	const struct news *n = user;
	struct msg_news *m = fields;

	if (n->heartbeat_ms)
		msg_set_i64(&m->heartbeatMs, n->heartbeat_ms);
	if (n->agents)
		msg_set_i64(&m->agents, n->agents);
	if (n->freeze)
		msg_set_bool(&m->frozen, n->freeze == FREEZE);
	if (!n->preferred)
		return;
	assert_int_equal(msg_set_text(&m->preferred, n->preferred), ERR_OK);
	assert_int_equal(msg_set_text(&m->preferredState, n->state ? n->state : "Up"), ERR_OK);
	msg_set_bool(&m->preferredAccepting, !n->refuses);
	msg_set_i64(&m->preferredUptimeMs, n->uptime_ms);
}

static int64_t tell(struct fake_server *s, const struct news *n)
{
	return fake_server_ask(s, MSG_NEWS, fill_news, (void *)(uintptr_t)n);
}

static const char *purpose_of(const struct fake_server *s, size_t n)
{
	const struct fake_message *m = fake_server_got(s, MSG_STARTUP_ROUTING, n);

	check_there(m);
	return ((const struct msg_startup_routing *)m->batch.elements[0].fields)->startup.musterPurpose;
}

/* On M1 since a while, with M2 the preferred one of an old list: a return would be the agent's own idea. */
static void away(struct bench *b, int64_t interval)
{
	bench_setup(b, M2 "," M1 "@static", NULL);
	b->m1 = fake_server_new(b->f, M1, FAKE_MUSTER);
	b->m1->interval = interval;
	b->m1->heartbeat_ms = 1000;
	bench_start(b);
	bench_run(b, 100);
	assert_string_equal(bench_connected(b), M1);
	b->m2 = fake_server_new(b->f, M2, FAKE_MUSTER);
	b->m2->interval = interval;
	b->m2->heartbeat_ms = 1000;
}

/* ---- rules 4 to 7, before a link is opened ---- */

static void what_the_server_says_decides(void **state)
{
	static const struct {
		const char *what;
		struct news news;
		const char *avoid;
		enum failback_verdict verdict;
		bool returns;
		bool returns_when_told;
	} rows[] = {
		{"up for long enough", {.preferred = M2, .uptime_ms = 30000}, NULL, FAILBACK_HOME, true, true},
		{"4. avoided", {.preferred = M2, .uptime_ms = 30000}, M2, FAILBACK_AVOIDED, false, false},
		{"6. down", {.preferred = M2, .state = "Down"}, NULL, FAILBACK_NOT_UP, false, false},
		{"6. in maintenance", {.preferred = M2, .state = "Maintenance"}, NULL, FAILBACK_NOT_UP, false, false},
		{"6. up, and takes nobody",
		 {.preferred = M2, .refuses = true, .uptime_ms = 30000},
		 NULL,
		 FAILBACK_NOT_ACCEPTING,
		 false,
		 false},
		{"7. too young; who is told doesn't mind",
		 {.preferred = M2, .uptime_ms = -100000},
		 NULL,
		 FAILBACK_TOO_YOUNG,
		 false,
		 true},
		{"5. a word about another server is none, and after 3 s the link decides",
		 {.preferred = M3, .state = "Down"},
		 NULL,
		 FAILBACK_HOME,
		 true,
		 true},
		{"5. so is one without a state", {.preferred = M2, .state = " "}, NULL, FAILBACK_HOME, true, true},
		{"another spelling of the entry is the entry",
		 {.preferred = M2 ":8250", .state = "Down"},
		 NULL,
		 FAILBACK_NOT_UP,
		 false,
		 false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;

		away(&b, 20);
		if (rows[i].avoid)
			assert_int_equal(str_list_add(&b.m1->avoid, rows[i].avoid), ERR_OK);
		bench_run(&b, 11000);
		bench_send_list(b.m1, &(struct list_fill){.avoid = rows[i].avoid, .interval = 20});
		tell(b.m1, &rows[i].news);
		bench_run(&b, 9000 + PROVEN_MS);
		check_row(&rows[i], str_equal(bench_connected(&b), rows[i].returns ? M2 : M1));
		check_row(&rows[i], bench_look(&b).failback == rows[i].verdict);
		check_row(&rows[i], rows[i].returns || b.m2->n_links == 0);
		agent_check_preferred(b.agent);
		bench_run(&b, PROVEN_MS);
		check_row(&rows[i], str_equal(bench_connected(&b), rows[i].returns_when_told ? M2 : M1));
		bench_teardown(&b);
	}
}

/* 7., 11. A young server is returned to when it is old enough, at a random time within an interval. */
static void a_young_server_is_waited_for(void **state)
{
	struct bench b;

	away(&b, 5);
	tell(b.m1, &(struct news){.preferred = M2, .uptime_ms = 1000});
	bench_run(&b, 8500);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(b.m2->n_links, 0);
	assert_int_equal(bench_look(&b).failback, FAILBACK_TOO_YOUNG);
	assert_int_equal(bench_look(&b).uptime_needed_ms, 10000); /* two intervals */
	bench_run(&b, 500 + 5000 + PROVEN_MS);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

/* 10. Thousands of looks: never later than an interval. */
static void a_look_is_never_later_than_the_interval(void **state)
{
	struct bench b;

	away(&b, 10);
	tell(b.m1, &(struct news){.preferred = M2, .state = "Down"});
	for (int i = 0; i < 2000; i++) {
		struct mono next = bench_look(&b).next_check;
		int64_t ms;

		assert_false(mono_is_never(next));
		ms = mono_ms_between(world_now(b.world), next);
		assert_true(ms <= 10000);
		bench_run(&b, ms > 0 ? ms : 1);
	}
	bench_teardown(&b);
}

/* 5. */
static void nothing_is_said_for_three_seconds_at_most(void **state)
{
	struct bench b;

	away(&b, 2);
	bench_run(&b, 2000);
	assert_int_equal(b.m2->n_links, 0);
	assert_int_equal(bench_look(&b).failback, FAILBACK_UNKNOWN);
	bench_run(&b, 3100 + PROVEN_MS);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

/* ---- rule 9: the link proves itself ---- */

static void three_heartbeats_come_before_the_startup(void **state)
{
	struct bench b;

	away(&b, 0);
	agent_check_preferred(b.agent);
	bench_run(&b, 1400);
	assert_int_equal(b.m2->n_open, 1);
	assert_int_equal(fake_server_count(b.m2, MSG_STARTUP_ROUTING), 0);
	assert_int_equal(bench_look(&b).failback, FAILBACK_PROVING);
	assert_string_equal(bench_look(&b).move, "preferred server");
	assert_string_equal(bench_look(&b).move_to, M2);
	assert_int_equal(bench_look(&b).heartbeats, 2);
	assert_true(bench_look(&b).moving);
	bench_run(&b, 300);
	assert_string_equal(bench_connected(&b), M2);
	/* It is that same link. */
	assert_int_equal(b.m2->n_links, 1);
	bench_teardown(&b);
}

static void a_server_without_a_heartbeat_is_unproven(void **state)
{
	struct bench b;
	int64_t n;

	away(&b, 0);
	b.m2->proving_ms = 0;
	agent_check_preferred(b.agent);
	bench_run(&b, 5900);
	assert_int_equal(b.m2->n_open, 1);
	bench_run(&b, 200);
	assert_int_equal(b.m2->n_open, 0);
	assert_string_equal(bench_connected(&b), M1);
	/* 3. A failed attempt has a back-off, and then it is tried again, because it was told. */
	assert_int_equal(bench_look(&b).failback, FAILBACK_PUT_OFF);
	b.m2->proving_ms = 500;
	bench_run(&b, 1000 + PROVEN_MS);
	assert_string_equal(bench_connected(&b), M2);
	/* The link in use was never touched. */
	assert_int_equal(b.m1->n_links, 1);
	n = (int64_t)fake_server_count(b.m1, MSG_STARTUP_ROUTING);
	assert_int_equal(n, 1);
	bench_teardown(&b);
}

/* What changes while the link proves itself counts. */
static void the_question_is_asked_again_while_it_proves_itself(void **state)
{
	static const struct {
		const char *what;
		struct news news;
		const char *avoid, *list;
		enum failback_verdict verdict;
	} rows[] = {
		{"avoided now", {0}, M2, NULL, FAILBACK_AVOIDED},
		{"down now", {.preferred = M2, .state = "Down"}, NULL, NULL, FAILBACK_NOT_UP},
		{"full now", {.preferred = M2, .refuses = true}, NULL, NULL, FAILBACK_NOT_ACCEPTING},
		{"frozen now", {.preferred = M2, .uptime_ms = 30000, .freeze = FREEZE}, NULL, NULL, FAILBACK_FROZEN},
		{"not the preferred one any more", {0}, NULL, M1 "," M2, FAILBACK_HOME},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;

		away(&b, INTERVAL_S);
		agent_check_preferred(b.agent);
		bench_run(&b, 700);
		check_row(&rows[i], b.m2->n_open == 1);
		if (rows[i].news.preferred)
			tell(b.m1, &rows[i].news);
		else
			bench_send_list(b.m1, &(struct list_fill){.avoid = rows[i].avoid,
								  .servers = rows[i].list,
								  .algorithm = rows[i].list ? "static" : NULL,
								  .interval = INTERVAL_S});
		bench_run(&b, 3000);
		check_row(&rows[i], b.m2->n_open == 0);
		check_row(&rows[i], bench_look(&b).failback == rows[i].verdict);
		check_row(&rows[i], str_equal(bench_connected(&b), M1));
		check_row(&rows[i], fake_server_count(b.m2, MSG_STARTUP_ROUTING) == 0);
		/* Nobody else became our owner: nothing to claim back. */
		check_row(&rows[i], fake_server_count(b.m1, MSG_STARTUP_ROUTING) == 1);
		bench_teardown(&b);
	}
}

static void it_says_nothing_before_we_introduce_ourselves(void **state)
{
	struct bench b;

	away(&b, 0);
	agent_check_preferred(b.agent);
	bench_run(&b, 700);
	fake_server_ask_text(b.m2, 0, "[{\"com.cloud.agent.api.ReadyCommand\":{\"hostId\":7}}]");
	fake_server_ask_text(b.m2, 0, "[{\"com.cloud.agent.api.ReadyCommand\":{\"_details\":\"no\"}}]");
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	bench_run(&b, PROVEN_MS);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

static void the_link_in_use_may_die_meanwhile(void **state)
{
	struct bench b;

	away(&b, 0);
	agent_check_preferred(b.agent);
	bench_run(&b, 700);
	fake_server_stop(b.m1);
	bench_run(&b, 20);
	/* There is nothing to prove any more: that link is taken as it is. */
	assert_string_equal(bench_connected(&b), M2);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	assert_int_equal(b.m2->n_links, 1);
	/* It isn't one who could wait any more. */
	assert_string_equal(purpose_of(b.m2, 0), "seek");
	bench_teardown(&b);
}

static void a_silent_link_takes_what_proves_itself(void **state)
{
	struct bench b;

	away(&b, 0);
	bench_run(&b, 5000);
	fake_cut(b.f, M1, true);
	bench_run(&b, 1400);
	b.m2->proving_ms = 5000;
	agent_check_preferred(b.agent);
	bench_run(&b, 2000);
	assert_string_equal(bench_connected(&b), M2);
	assert_int_equal(b.m2->n_links, 1);
	bench_teardown(&b);
}

static void being_asked_to_go_has_precedence(void **state)
{
	struct bench b;
	int64_t seq;

	away(&b, 0);
	b.m3 = fake_server_new(b.f, M3, FAKE_MUSTER);
	bench_send_list(b.m1, &(struct list_fill){.servers = M2 "," M1 "," M3, .algorithm = "static"});
	bench_run(&b, 10);
	agent_check_preferred(b.agent);
	bench_run(&b, 700);
	assert_int_equal(b.m2->n_open, 1);
	seq = bench_migrate(b.m1, M1 "," M2);
	bench_run(&b, 100);
	assert_true(bench_answer_result(b.m1, seq));
	assert_string_equal(bench_connected(&b), M3);
	assert_int_equal(b.m2->n_open, 0);
	bench_teardown(&b);
}

static void towards_cloudstack_tls_is_the_proof(void **state)
{
	struct bench b;

	bench_setup(&b, M2 "," M1 "@static", "host.lb.check.interval=5\n");
	b.m1 = fake_server_new(b.f, M1, FAKE_CLOUDSTACK);
	bench_start(&b);
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), M1);
	b.m2 = fake_server_new(b.f, M2, FAKE_CLOUDSTACK);
	bench_run(&b, 5100);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

/* ---- rule 3 ---- */

static void a_dead_preferred_server_is_not_hammered(void **state)
{
	struct bench b;
	size_t n;

	away(&b, 60);
	fake_server_stop(b.m2);
	fake_dials_clear(b.f);
	bench_run(&b, 3600000);
	n = fake_dials(b.f)->n;
	assert_in_range(n, 60, 400); /* an hour: at least the regular looks, and not one each second */
	assert_string_equal(bench_connected(&b), M1);
	bench_teardown(&b);
}

/* Not told any more that it failed, nor in a back-off. */
static void wait_for_the_end_of_its_back_off(struct bench *b)
{
	const struct candidate *c;
	size_t n;

	do {
		bench_run(b, 10);
		n = agent_explain(b->agent, &c);
		assert_true(n > 0 && str_equal(c[0].entry, M2));
	} while (bench_look(b).moving || c[0].verdict == CHOICE_BACKING_OFF);
}

/* A return that failed says nothing about a server that is needed. */
static void a_failed_return_does_not_count_in_a_later_search(void **state)
{
	static const struct {
		const char *what;
		bool is_down, is_silent, is_lost;
	} rows[] = {
		{"it takes no connection", true, false, false},
		{"it sends no heartbeat", false, true, false},
		{"it dies in the middle of the startup", false, false, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;

		away(&b, 0);
		b.m3 = fake_server_new(b.f, M3, FAKE_MUSTER);
		bench_send_list(b.m1, &(struct list_fill){.servers = M2 "," M1 "," M3, .algorithm = "static"});
		bench_run(&b, 12000);
		b.m2->proving_ms = rows[i].is_silent ? 0 : 500;
		b.m2->answers_startup = !rows[i].is_lost;
		if (rows[i].is_down)
			fake_server_stop(b.m2);
		agent_check_preferred(b.agent);
		bench_run(&b, 6100);
		if (rows[i].is_lost || rows[i].is_down)
			fake_server_stop(b.m2);
		wait_for_the_end_of_its_back_off(&b);
		check_row(&rows[i], b.m3->n_links == 0 && str_equal(bench_connected(&b), M1));
		b.m2->answers_startup = true;
		if (rows[i].is_lost || rows[i].is_down)
			fake_server_start(b.m2);
		fake_server_stop(b.m1);
		bench_run(&b, 50);
		check_row(&rows[i], str_equal(bench_connected(&b), M2));
		check_row(&rows[i], b.m3->n_links == 0);
		bench_teardown(&b);
	}
}

/* The second link of a search is lost: the third server is dialled at once, without another wait. */
static void a_search_off_a_silent_link_goes_on(void **state)
{
	static const struct {
		const char *what;
		int64_t retry_ms;
	} rows[] = {{"the second is lost", 0}, {"the second has no room now", 60000}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;

		bench_setup(&b, M1 "," M2 "," M3, NULL);
		b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
		b.m2 = fake_server_new(b.f, M2, FAKE_MUSTER);
		b.m3 = fake_server_new(b.f, M3, FAKE_MUSTER);
		b.m1->heartbeat_ms = 1000;
		bench_start(&b);
		bench_run(&b, 100);
		tell(b.m1, &(struct news){.agents = 10000});
		bench_run(&b, 10000);
		check_row(&rows[i], b.m2->n_links == 0);
		b.m2->answers_startup = rows[i].retry_ms > 0;
		b.m2->retry_ms = rows[i].retry_ms;
		fake_cut(b.f, M1, true);
		while (!fake_server_count(b.m2, MSG_STARTUP_ROUTING))
			bench_run(&b, 1);
		if (!rows[i].retry_ms)
			fake_server_stop(b.m2);
		bench_run(&b, 20);
		check_row(&rows[i], str_equal(bench_connected(&b), M3));
		check_row(&rows[i], str_equal(purpose_of(b.m3, 0), "suspect"));
		bench_teardown(&b);
	}
}

/* When it was dialled first; fails when it wasn't. */
static int64_t dialled_ms(const struct bench *b, const char *ip)
{
	const struct str_list *dials = fake_dials(b->f);

	for (size_t i = 0; i < dials->n; i++) {
		if (strstr(dials->items[i], ip))
			return atoll(strchr(dials->items[i], '@') + 1);
	}
	fail_msg("%s was not dialled", ip);
	abort();
}

/* Many agents lose their server: nobody dials a second one because the first is slow. (First dial, 7 to 9.) */
static void who_is_one_of_many_is_patient(void **state)
{
	static const struct {
		const char *what;
		int64_t agents;
		int64_t patience_ms;
		bool is_move;
	} rows[] = {
		{"a few", 100, 1000, false},
		{"many", 2000, 2000, false},
		{"very many", 10000, 3000, false},
		{"9. a move is planned", 100, 3000, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t second_ms, third_ms;
		struct bench b;

		bench_setup(&b, M1 "," M2 "," M3, NULL);
		b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
		b.m2 = fake_server_new(b.f, M2, FAKE_MUTE);
		bench_start(&b);
		bench_run(&b, 100);
		tell(b.m1, &(struct news){.agents = rows[i].agents});
		bench_run(&b, 1000);
		fake_dials_clear(b.f);
		if (rows[i].is_move)
			bench_migrate(b.m1, M1);
		else
			fake_server_stop(b.m1);
		bench_run(&b, 6000);
		second_ms = dialled_ms(&b, M2);
		third_ms = dialled_ms(&b, M3);
		check_row(&rows[i], third_ms >= second_ms + rows[i].patience_ms);
		check_row(&rows[i], third_ms <= second_ms + rows[i].patience_ms + 5);
		bench_teardown(&b);
	}
}

/* Told with no interval, and the dial gives way to a search that turns out to be needless: it is tried again. */
static void what_it_was_told_outlives_a_short_silence(void **state)
{
	struct bench b;

	away(&b, 0);
	bench_run(&b, 5000);
	b.m2->kind = FAKE_MUTE;
	fake_cut(b.f, M1, true);
	bench_run(&b, 1000);
	agent_check_preferred(b.agent);
	bench_run(&b, 2500);
	assert_true(bench_look(&b).moving);
	fake_cut(b.f, M1, false);
	b.m2->kind = FAKE_MUSTER;
	bench_run(&b, 5000 + PROVEN_MS);
	assert_string_equal(bench_connected(&b), M2);
	assert_string_equal(purpose_of(b.m2, 0), "preferred");
	bench_teardown(&b);
}

static void an_uptime_from_a_peer_is_bounded(void **state)
{
	struct bench b;

	away(&b, 0);
	tell(b.m1, &(struct news){.preferred = M2, .uptime_ms = INT64_MAX});
	bench_run(&b, 100);
	assert_true(bench_look(&b).word.is_known);
	assert_true(bench_look(&b).word.uptime_ms <= INT64_C(100) * 366 * 86400 * 1000);
	bench_teardown(&b);
}

/* ---- rule 8: the flap damper ---- */

static void goes_home(struct bench *b)
{
	bench_run(b, 10000 + 3000 + PROVEN_MS);
	assert_string_equal(bench_connected(b), M2);
}

static void a_return_that_is_lost_soon_is_damped(void **state)
{
	static const struct {
		const char *what;
		int64_t stays_ms;
		bool is_told;     /* the first return */
		bool is_told_now; /* the second */
		bool has_new_list;
		bool is_damped;
	} rows[] = {
		{"lost at once", 1000, false, false, false, true},
		{"lost within 5 minutes", 280000, false, false, false, true},
		{"lost after more than that", 305000, false, false, false, false},
		{"whoever was told hasn't spent it", 1000, true, false, false, false},
		{"whoever is told doesn't wait for it", 1000, false, true, false, false},
		{"a new list ends it", 1000, false, false, true, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;

		away(&b, 10);
		if (rows[i].is_told)
			agent_check_preferred(b.agent);
		goes_home(&b);
		bench_run(&b, rows[i].stays_ms);
		fake_server_stop(b.m2);
		bench_run(&b, 2000);
		check_row(&rows[i], str_equal(bench_connected(&b), M1));
		fake_server_start(b.m2);
		if (rows[i].is_told_now)
			agent_check_preferred(b.agent);
		if (rows[i].has_new_list)
			bench_send_list(b.m1, &(struct list_fill){.servers = M2 "," M1 "," M3,
								  .algorithm = "static",
								  .interval = 10});
		bench_run(&b, 13000 + PROVEN_MS);
		check_row(&rows[i], str_equal(bench_connected(&b), rows[i].is_damped ? M1 : M2));
		check_row(&rows[i], bench_look(&b).failback == (rows[i].is_damped ? FAILBACK_DAMPED : FAILBACK_HOME));
		check_row(&rows[i],
			  !rows[i].is_damped || !mono_reached(world_now(b.world), bench_look(&b).damped_until));
		/* 5 minutes after the loss, and one interval for all to spread over. */
		bench_run(&b, 300000);
		check_row(&rows[i], str_equal(bench_connected(&b), M2));
		bench_teardown(&b);
	}
}

/* A new certificate neither spends the damper nor waits for it. */
static void a_renewal_is_no_move(void **state)
{
	struct tls_creds *fresh;
	struct bench b;

	away(&b, 10);
	goes_home(&b);
	fresh = fake_creds(b.f);
	assert_int_equal(agent_set_creds(b.agent, fresh, false), ERR_OK);
	bench_run(&b, 3000);
	assert_int_equal(b.m2->n_links, 2);
	fake_server_stop(b.m2);
	bench_run(&b, 1000);
	fake_server_start(b.m2);
	bench_run(&b, 20000);
	assert_int_equal(bench_look(&b).failback, FAILBACK_DAMPED);
	tls_creds_unref(fresh);
	bench_teardown(&b);
}

/* ---- told ---- */

static void who_was_told_tries_on_without_an_interval(void **state)
{
	struct bench b;

	away(&b, 0);
	fake_server_stop(b.m2);
	agent_check_preferred(b.agent);
	bench_run(&b, 60000);
	assert_string_equal(bench_connected(&b), M1);
	fake_server_start(b.m2);
	bench_run(&b, 30000 + PROVEN_MS);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

static void but_not_for_ever(void **state)
{
	struct bench b;

	away(&b, 0);
	fake_server_stop(b.m2);
	agent_check_preferred(b.agent);
	bench_run(&b, 340000);
	fake_server_start(b.m2);
	bench_run(&b, 600000);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(bench_look(&b).failback, FAILBACK_OFF);
	bench_teardown(&b);
}

static void who_was_told_goes_when_the_server_is_up(void **state)
{
	struct bench b;

	away(&b, 0);
	tell(b.m1, &(struct news){.preferred = M2, .state = "Down"});
	bench_run(&b, 10);
	agent_check_preferred(b.agent);
	bench_run(&b, 10000);
	assert_int_equal(b.m2->n_links, 0);
	tell(b.m1, &(struct news){.preferred = M2});
	bench_run(&b, 10000 + PROVEN_MS);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

/* ---- freeze ---- */

static void while_moves_are_frozen_nobody_goes(void **state)
{
	static const struct {
		const char *what;
		int64_t interval;
		bool in_ready, is_told, has_new_list;
	} rows[] = {
		{"a regular look", 5, false, false, false}, {"known with Ready", 5, true, false, false},
		{"told to look", 5, false, true, false},    {"told, without an interval", 0, false, true, false},
		{"a new list", 5, false, false, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;

		bench_setup(&b, M2 "," M1 "@static", NULL);
		b.m1 = fake_server_new(b.f, M1, FAKE_MUSTER);
		b.m1->interval = rows[i].interval;
		b.m1->heartbeat_ms = 1000;
		b.m1->is_frozen = rows[i].in_ready;
		bench_start(&b);
		bench_run(&b, 100);
		b.m2 = fake_server_new(b.f, M2, FAKE_MUSTER);
		b.m2->heartbeat_ms = 1000;
		tell(b.m1, &(struct news){.preferred = M2,
					  .uptime_ms = 60000,
					  .freeze = rows[i].in_ready ? FREEZE_ABSENT : FREEZE});
		bench_run(&b, 10);
		check_row(&rows[i], bench_look(&b).failback == FAILBACK_FROZEN);
		if (rows[i].is_told)
			agent_check_preferred(b.agent);
		if (rows[i].has_new_list)
			bench_send_list(b.m1, &(struct list_fill){.servers = M2 "," M1 "," M3,
								  .algorithm = "roundrobin",
								  .interval = rows[i].interval});
		bench_run(&b, 30000);
		check_row(&rows[i], str_equal(bench_connected(&b), M1));
		check_row(&rows[i], b.m2->n_links == 0);
		tell(b.m1, &(struct news){.preferred = M2, .uptime_ms = 90000, .freeze = THAW});
		bench_run(&b, 5000 + PROVEN_MS);
		/* An order from before the thaw is over; the interval goes on. */
		check_row(&rows[i], str_equal(bench_connected(&b), rows[i].interval ? M2 : M1));
		bench_run(&b, 20000);
		check_row(&rows[i], str_equal(bench_connected(&b), rows[i].interval ? M2 : M1));
		bench_teardown(&b);
	}
}

/* What is dialled is given up at once, an order to go is forgotten, and what must be goes on. */
static void a_freeze_ends_what_is_under_way(void **state)
{
	struct bench b;

	away(&b, 0);
	fake_server_stop(b.m2);
	agent_check_preferred(b.agent);
	bench_run(&b, 1000);
	tell(b.m1, &(struct news){.freeze = FREEZE});
	bench_run(&b, 10);
	fake_server_start(b.m2);
	bench_run(&b, 60000);
	assert_int_equal(b.m2->n_open, 0);
	assert_int_equal(bench_look(&b).failback, FAILBACK_FROZEN);
	tell(b.m1, &(struct news){.freeze = THAW});
	bench_run(&b, 60000);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(bench_look(&b).failback, FAILBACK_OFF);
	/* The server asks it to leave: that is no matter of taste. */
	tell(b.m1, &(struct news){.freeze = FREEZE});
	bench_migrate(b.m1, M1);
	bench_run(&b, 2000);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

static void who_loses_its_link_goes_wherever_it_can(void **state)
{
	struct bench b;

	away(&b, 5);
	tell(b.m1, &(struct news){.preferred = M2, .uptime_ms = 60000, .freeze = FREEZE});
	bench_run(&b, 20000);
	assert_string_equal(bench_connected(&b), M1);
	fake_server_stop(b.m1);
	bench_run(&b, 5000);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

/* The one look that shuffle has is not spent by a freeze. */
static void shuffle_looks_after_the_thaw(void **state)
{
	struct bench b;

	away(&b, 5);
	tell(b.m1, &(struct news){.freeze = FREEZE});
	bench_send_list(b.m1, &(struct list_fill){.servers = M2 "," M1, .algorithm = "shuffle", .interval = 5});
	bench_run(&b, 400000);
	assert_string_equal(bench_connected(&b), M1);
	tell(b.m1, &(struct news){.freeze = THAW});
	bench_run(&b, 5000 + PROVEN_MS);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

/* All hear of the thaw in one moment: they look at random times within an interval. */
static void looks_after_a_thaw_are_spread(void **state)
{
	int64_t least = INT64_MAX, most = 0;

	for (int i = 0; i < 40; i++) {
		struct bench b;
		int64_t in_ms;

		away(&b, INTERVAL_S);
		for (int k = 0; k < i; k++)
			rng_u64(&b.world->rng);
		tell(b.m1, &(struct news){.freeze = FREEZE});
		bench_run(&b, 10);
		tell(b.m1, &(struct news){.freeze = THAW});
		bench_run(&b, 10);
		in_ms = mono_ms_between(world_now(b.world), bench_look(&b).next_check);
		least = in_ms < least ? in_ms : least;
		most = in_ms > most ? in_ms : most;
		bench_teardown(&b);
	}
	assert_in_range(most, INTERVAL_S * 1000 / 2, INTERVAL_S * 1000);
	assert_in_range(least, 0, INTERVAL_S * 1000 / 4);
}

/* ---- other news ---- */

static void news_is_never_answered(void **state)
{
	struct bench b;
	int64_t seq;

	away(&b, 0);
	seq = tell(b.m1, &(struct news){.agents = 5, .heartbeat_ms = 2000});
	bench_run(&b, 100);
	assert_null(fake_server_answer(b.m1, seq));
	assert_int_equal(bench_look(&b).server_agents, 5);
	assert_int_equal(bench_look(&b).heartbeat_ms, 2000);
	bench_teardown(&b);
}

static void values_that_make_no_sense_are_bounded_or_passed_over(void **state)
{
	static const struct {
		const char *what;
		struct news news;
		int64_t heartbeat_ms;
		uint64_t agents;
	} rows[] = {
		{"a short interval", {.heartbeat_ms = 1}, 100, 0},
		{"a long one", {.heartbeat_ms = INT64_MAX}, 60000, 0},
		{"a negative one", {.heartbeat_ms = -1}, 1000, 0},
		{"a negative number of agents", {.agents = -1}, 1000, 0},
		{"many agents", {.agents = INT64_MAX}, 1000, INT64_MAX},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;

		away(&b, 0);
		tell(b.m1, &rows[i].news);
		bench_run(&b, 50);
		check_row(&rows[i], bench_look(&b).heartbeat_ms == rows[i].heartbeat_ms);
		check_row(&rows[i], bench_look(&b).server_agents == rows[i].agents);
		bench_teardown(&b);
	}
}

static void silence_is_judged_by_the_new_interval(void **state)
{
	struct bench b;

	away(&b, 0);
	tell(b.m1, &(struct news){.heartbeat_ms = 4000});
	bench_run(&b, 10);
	fake_cut(b.f, M1, true);
	bench_run(&b, 9500);
	assert_int_equal(b.m2->n_links, 0);
	bench_run(&b, 1000);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

static void a_cloudstack_server_has_no_news(void **state)
{
	struct bench b;
	int64_t seq;

	bench_setup(&b, M1, NULL);
	b.m1 = fake_server_new(b.f, M1, FAKE_CLOUDSTACK);
	bench_start(&b);
	bench_run(&b, 100);
	seq = tell(b.m1, &(struct news){.agents = 5, .heartbeat_ms = 2000});
	bench_run(&b, 100);
	assert_non_null(strstr(bench_answer_details(b.m1, seq), "Unsupported"));
	assert_int_equal(bench_look(&b).server_agents, 0);
	assert_int_equal(bench_look(&b).heartbeat_ms, 0);
	bench_teardown(&b);
}

static void a_server_that_was_left_has_no_news(void **state)
{
	struct bench b;

	away(&b, 0);
	agent_check_preferred(b.agent);
	bench_run(&b, PROVEN_MS);
	assert_string_equal(bench_connected(&b), M2);
	tell(b.m1, &(struct news){.agents = 5, .heartbeat_ms = 2000});
	bench_run(&b, 10);
	assert_int_equal(bench_look(&b).server_agents, 0);
	assert_int_equal(bench_look(&b).heartbeat_ms, 1000);
	bench_teardown(&b);
}

/* ---- the first dial ---- */

static void many_agents_wait_before_the_first_dial(void **state)
{
	static const struct {
		const char *what;
		int64_t agents;
		bool is_silent; /* cut off instead of killed */
		bool waits;
	} rows[] = {
		{"nobody has said how many", 0, false, false},
		{"a hundred", 100, false, false},
		{"ten thousand", 10000, false, true},
		{"ten thousand, of a server that fell silent", 10000, true, true},
		{"a hundred, of a server that fell silent", 100, true, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;
		struct agent_view v;

		bench_up(&b, M1 "," M2, NULL);
		fake_server_ask_text(b.m1, 0, "[{\"com.cloud.agent.api.ReadyCommand\":{\"musterHeartbeatMs\":1000}}]");
		if (rows[i].agents)
			tell(b.m1, &(struct news){.agents = rows[i].agents});
		bench_run(&b, 100);
		if (rows[i].is_silent)
			fake_cut(b.f, M1, true), bench_run(&b, 2550);
		else
			fake_server_stop(b.m1), bench_run(&b, 5);
		v = bench_look(&b);
		check_row(&rows[i], (v.first_dial_at.us != 0) == rows[i].waits);
		check_row(&rows[i], (b.m2->n_links == 0) == rows[i].waits || rows[i].is_silent);
		if (rows[i].waits) {
			check_row(&rows[i], v.first_dial_most_ms == 1980 && v.first_dial_agents == 10000);
			check_row(&rows[i], v.first_dial_wait_ms > 0 && v.first_dial_wait_ms <= 1980);
			bench_run(&b, mono_ms_between(world_now(b.world), v.first_dial_at) - 5);
			check_row(&rows[i], b.m2->n_links == 0);
		}
		bench_run(&b, 100);
		check_row(&rows[i], str_equal(bench_connected(&b), M2));
		check_row(&rows[i], bench_look(&b).first_dial_at.us == 0);
		bench_teardown(&b);
	}
}

/* 3 and "planned moves don't wait". */
static void moves_and_later_dials_do_not_wait(void **state)
{
	struct bench b;

	bench_up(&b, M1 "," M2 "," M3, NULL);
	tell(b.m1, &(struct news){.agents = 1000000});
	bench_run(&b, 10);
	bench_migrate(b.m1, M1);
	bench_run(&b, 100);
	assert_string_equal(bench_connected(&b), M2);
	tell(b.m2, &(struct news){.agents = 1000000});
	bench_run(&b, 10);
	fake_server_stop(b.m1);
	fake_server_stop(b.m2);
	bench_run(&b, 5100);
	/* M1 was refused, and M3 came in the same moment. */
	assert_string_equal(bench_connected(&b), M3);
	bench_teardown(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failed_return_does_not_count_in_a_later_search),
		cmocka_unit_test(a_search_off_a_silent_link_goes_on),
		cmocka_unit_test(what_it_was_told_outlives_a_short_silence),
		cmocka_unit_test(who_is_one_of_many_is_patient),
		cmocka_unit_test(an_uptime_from_a_peer_is_bounded),
		cmocka_unit_test(what_the_server_says_decides),
		cmocka_unit_test(a_young_server_is_waited_for),
		cmocka_unit_test(a_look_is_never_later_than_the_interval),
		cmocka_unit_test(nothing_is_said_for_three_seconds_at_most),
		cmocka_unit_test(three_heartbeats_come_before_the_startup),
		cmocka_unit_test(a_server_without_a_heartbeat_is_unproven),
		cmocka_unit_test(the_question_is_asked_again_while_it_proves_itself),
		cmocka_unit_test(it_says_nothing_before_we_introduce_ourselves),
		cmocka_unit_test(the_link_in_use_may_die_meanwhile),
		cmocka_unit_test(a_silent_link_takes_what_proves_itself),
		cmocka_unit_test(being_asked_to_go_has_precedence),
		cmocka_unit_test(towards_cloudstack_tls_is_the_proof),
		cmocka_unit_test(a_dead_preferred_server_is_not_hammered),
		cmocka_unit_test(a_return_that_is_lost_soon_is_damped),
		cmocka_unit_test(a_renewal_is_no_move),
		cmocka_unit_test(who_was_told_tries_on_without_an_interval),
		cmocka_unit_test(but_not_for_ever),
		cmocka_unit_test(who_was_told_goes_when_the_server_is_up),
		cmocka_unit_test(while_moves_are_frozen_nobody_goes),
		cmocka_unit_test(a_freeze_ends_what_is_under_way),
		cmocka_unit_test(who_loses_its_link_goes_wherever_it_can),
		cmocka_unit_test(shuffle_looks_after_the_thaw),
		cmocka_unit_test(looks_after_a_thaw_are_spread),
		cmocka_unit_test(news_is_never_answered),
		cmocka_unit_test(values_that_make_no_sense_are_bounded_or_passed_over),
		cmocka_unit_test(silence_is_judged_by_the_new_interval),
		cmocka_unit_test(a_cloudstack_server_has_no_news),
		cmocka_unit_test(a_server_that_was_left_has_no_news),
		cmocka_unit_test(many_agents_wait_before_the_first_dial),
		cmocka_unit_test(moves_and_later_dials_do_not_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
