/*
 * While its preferred server is away: an agent that stands further behind in its list than it has to moves to the best
 * entry that is alive (docs/failover.md, "Even after failures").
 */
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"

#define LIST M2 "," M3 "," M1
#define PROVEN_MS 1700 /* three heartbeats at 500 ms, TLS and the startup */
#define INTERVAL_S 20
#define OLD_MS 30000
#define UNANSWERED_MS 6000 /* a dial that nobody answers, and a little more */

/* ---- news ---- */

struct word {
	const char *entry; /* NULL: none */
	const char *state; /* NULL: Up */
	int64_t uptime_ms;
	bool refuses;
};

static void fill_word(void *fields, void *user)
{
	const struct word *w = user;
	struct msg_news *m = fields;

	assert_int_equal(msg_set_text(&m->preferred, w->entry), ERR_OK);
	assert_int_equal(msg_set_text(&m->preferredState, w->state ? w->state : "Up"), ERR_OK);
	msg_set_bool(&m->preferredAccepting, !w->refuses);
	msg_set_i64(&m->preferredUptimeMs, w->uptime_ms);
}

static void tell(struct fake_server *s, const struct word *w)
{
	if (w->entry)
		fake_server_ask(s, MSG_NEWS, fill_word, (void *)(uintptr_t)w);
}

#define M2_IS_DOWN                                                                                                     \
	{                                                                                                              \
		M2, "Down", 0, false                                                                                   \
	}
#define M3_IS_UP                                                                                                       \
	{                                                                                                              \
		M3, NULL, OLD_MS, false                                                                                \
	}
static const struct word m2_is_down = M2_IS_DOWN;
static const struct word m3_is_up = M3_IS_UP;

static struct fake_server *server_at(struct bench *b, const char *entry)
{
	struct fake_server *s = fake_server_new(b->f, entry, FAKE_MUSTER);

	s->interval = INTERVAL_S;
	s->heartbeat_ms = 1000;
	return s;
}

/* On M1, the last of its list: M3 was too slow to be taken and is there now, M2 is dead. */
static void on_the_last(struct bench *b, int64_t interval, const char *algorithm)
{
	char host[128];

	snprintf(host, sizeof(host), LIST "@%s", algorithm);
	bench_setup(b, host, NULL);
	b->m1 = server_at(b, M1);
	b->m1->interval = interval;
	bench_start(b);
	bench_run(b, 1000);
	assert_string_equal(bench_connected(b), M1);
	b->m3 = server_at(b, M3);
	b->m3->interval = interval;
}

static const struct msg_startup_routing *startup_of(const struct fake_server *s, size_t n)
{
	const struct fake_message *m = fake_server_got(s, MSG_STARTUP_ROUTING, n);

	check_there(m);
	return m->batch.elements[0].fields;
}

/* ---- where it goes ---- */

static void what_the_server_says_decides(void **state)
{
	static const struct {
		const char *what;
		int64_t interval;
		struct word words[2];
		const char *avoid;
		const char *goes_to;      /* by itself within an interval */
		const char *told_goes_to; /* when it is told to */
	} rows[] = {
		{"the second is up", INTERVAL_S, {M2_IS_DOWN, M3_IS_UP}, NULL, M3, M3},
		{"both are said to be down", INTERVAL_S, {M2_IS_DOWN, {M3, "Down", 0, false}}, NULL, M1, M1},
		{"the second is in maintenance", INTERVAL_S, {M2_IS_DOWN, {M3, "Maintenance", 0, false}}, NULL, M1, M1},
		{"it takes nobody", INTERVAL_S, {M2_IS_DOWN, {M3, NULL, OLD_MS, true}}, NULL, M1, M1},
		{"it is avoided", INTERVAL_S, {M2_IS_DOWN, M3_IS_UP}, M3, M1, M1},
		{"it is too young, unless told", INTERVAL_S, {M2_IS_DOWN, {M3, NULL, -100000, false}}, NULL, M1, M3},
		{"2. nothing was said of it", INTERVAL_S, {M2_IS_DOWN, {0}}, NULL, M1, M1},
		{"3. the server doesn't know the first: that one is tried, and then the second",
		 INTERVAL_S,
		 {{0}, M3_IS_UP},
		 NULL,
		 M3,
		 M3},
		{"3. nor does it know that the first can't be reached from here",
		 INTERVAL_S,
		 {{M2, NULL, OLD_MS, false}, M3_IS_UP},
		 NULL,
		 M3,
		 M3},
		{"4. the first is too young: it is waited for",
		 INTERVAL_S,
		 {{M2, NULL, -100000, false}, M3_IS_UP},
		 NULL,
		 M1,
		 M3},
		{"without an interval only who is told", 0, {M2_IS_DOWN, M3_IS_UP}, NULL, M1, M3},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;

		on_the_last(&b, rows[i].interval, "static");
		if (rows[i].avoid)
			assert_int_equal(str_list_add(&b.m1->avoid, rows[i].avoid), ERR_OK);
		bench_send_list(b.m1, &(struct list_fill){.avoid = rows[i].avoid, .interval = rows[i].interval});
		tell(b.m1, &rows[i].words[0]);
		tell(b.m1, &rows[i].words[1]);
		/* Time for a dial of the first that nobody answers; not so long that what is too young grows old. */
		bench_run(&b, INTERVAL_S * 1000 + UNANSWERED_MS + PROVEN_MS);
		check_row(&rows[i], str_equal(bench_connected(&b), rows[i].goes_to));
		check_row(&rows[i], str_equal(rows[i].goes_to, M3) || b.m3->n_links == 0);
		agent_check_preferred(b.agent);
		bench_run(&b, UNANSWERED_MS + PROVEN_MS);
		check_row(&rows[i], str_equal(bench_connected(&b), rows[i].told_goes_to));
		bench_teardown(&b);
	}
}

/* Make before break, on that same link, after three heartbeats, at the pace of those that come home. */
static void it_goes_as_it_goes_home(void **state)
{
	struct bench b;

	on_the_last(&b, 0, "static");
	tell(b.m1, &m2_is_down);
	tell(b.m1, &m3_is_up);
	bench_run(&b, 100);
	assert_int_equal(bench_look(&b).failback, FAILBACK_OFF);
	agent_check_preferred(b.agent);
	bench_run(&b, 1400);
	assert_int_equal(b.m3->n_open, 1);
	assert_int_equal(fake_server_count(b.m3, MSG_STARTUP_ROUTING), 0);
	assert_int_equal(bench_look(&b).failback, FAILBACK_NOT_UP); /* of the preferred server */
	assert_string_equal(bench_look(&b).better, M3);
	assert_int_equal(bench_look(&b).n_gates, 2);
	assert_int_equal(bench_look(&b).gates[1], FAILBACK_PROVING);
	assert_string_equal(bench_look(&b).move, "better server");
	assert_string_equal(bench_look(&b).move_to, M3);
	bench_run(&b, 300);
	assert_string_equal(bench_connected(&b), M3);
	assert_string_equal(startup_of(b.m3, 0)->startup.musterPurpose, "preferred");
	assert_int_equal(b.m3->n_links, 1);
	assert_null(bench_look(&b).better);
	bench_teardown(&b);
}

/* 5. Only ever forward: from there it goes home, and nowhere else. */
static void it_never_goes_back(void **state)
{
	struct bench b;

	on_the_last(&b, INTERVAL_S, "static");
	tell(b.m1, &m2_is_down);
	tell(b.m1, &m3_is_up);
	bench_run(&b, INTERVAL_S * 1000 + PROVEN_MS);
	assert_string_equal(bench_connected(&b), M3);
	/* M1 is up and behind. Whatever is said of it. */
	tell(b.m3, &m2_is_down);
	tell(b.m3, &(struct word){M1, NULL, OLD_MS, false});
	agent_check_preferred(b.agent);
	bench_run(&b, 600000);
	assert_string_equal(bench_connected(&b), M3);
	assert_int_equal(fake_server_count(b.m1, MSG_STARTUP_ROUTING), 1);
	b.m2 = server_at(&b, M2);
	tell(b.m3, &(struct word){M2, NULL, OLD_MS, false});
	bench_run(&b, INTERVAL_S * 1000 + PROVEN_MS);
	assert_string_equal(bench_connected(&b), M2);
	assert_int_equal(fake_server_count(b.m3, MSG_STARTUP_ROUTING), 1);
	assert_int_equal(bench_look(&b).failback, FAILBACK_HOME);
	assert_int_equal(bench_look(&b).n_gates, 0);
	bench_teardown(&b);
}

/* 3., 4. Who has no room says when; one that fails has a back-off, and both are left alone until then. */
static void who_is_full_or_fails_is_not_tried_at_once(void **state)
{
	static const struct {
		const char *what;
		int64_t retry_ms;
		bool is_silent;
		int64_t most_links; /* in the first interval after the first attempt */
	} rows[] = {
		{"it has no room for a while", 15000, false, 1},
		{"it sends no heartbeat", 0, true, 3},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;

		on_the_last(&b, INTERVAL_S, "static");
		tell(b.m1, &m2_is_down);
		tell(b.m1, &m3_is_up);
		b.m3->retry_ms = rows[i].retry_ms;
		b.m3->proving_ms = rows[i].is_silent ? 0 : 500;
		while (!b.m3->n_links)
			bench_run(&b, 10);
		bench_run(&b, 10000);
		check_row(&rows[i], b.m3->n_links >= 1 && (int64_t)b.m3->n_links <= rows[i].most_links);
		check_row(&rows[i], str_equal(bench_connected(&b), M1));
		check_row(&rows[i], b.m1->n_links == 1);
		b.m3->retry_ms = 0;
		b.m3->proving_ms = 500;
		bench_run(&b, INTERVAL_S * 1000 + 6000 + PROVEN_MS);
		check_row(&rows[i], str_equal(bench_connected(&b), M3));
		bench_teardown(&b);
	}
}

/* 3. Each server has a damper of its own. */
static void the_damper_is_that_servers(void **state)
{
	struct bench b;

	on_the_last(&b, INTERVAL_S, "static");
	tell(b.m1, &m2_is_down);
	tell(b.m1, &m3_is_up);
	bench_run(&b, INTERVAL_S * 1000 + PROVEN_MS);
	assert_string_equal(bench_connected(&b), M3);
	fake_server_stop(b.m3);
	bench_run(&b, 3000);
	assert_string_equal(bench_connected(&b), M1);
	fake_server_start(b.m3);
	tell(b.m1, &m2_is_down);
	tell(b.m1, &m3_is_up);
	bench_run(&b, 200000);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(bench_look(&b).gates[1], FAILBACK_DAMPED);
	/* The way home is not damped by that. */
	b.m2 = server_at(&b, M2);
	tell(b.m1, &(struct word){M2, NULL, OLD_MS, false});
	bench_run(&b, INTERVAL_S * 1000 + PROVEN_MS);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

/* 5. The preferred server is back while the link to the second one proves itself: one move, not two. */
static void a_better_one_comes_while_it_proves_itself(void **state)
{
	struct bench b;

	on_the_last(&b, INTERVAL_S, "static");
	tell(b.m1, &m2_is_down);
	tell(b.m1, &m3_is_up);
	while (!b.m3->n_open)
		bench_run(&b, 10);
	bench_run(&b, 600);
	b.m2 = server_at(&b, M2);
	tell(b.m1, &(struct word){M2, NULL, OLD_MS, false});
	bench_run(&b, 100);
	assert_int_equal(b.m3->n_open, 0);
	assert_int_equal(fake_server_count(b.m3, MSG_STARTUP_ROUTING), 0);
	bench_run(&b, INTERVAL_S * 1000 + PROVEN_MS);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

static void shuffle_has_one_look(void **state)
{
	struct bench b;

	on_the_last(&b, INTERVAL_S, "shuffle");
	tell(b.m1, &m2_is_down);
	tell(b.m1, &m3_is_up);
	bench_run(&b, 5 * INTERVAL_S * 1000);
	assert_string_equal(bench_connected(&b), M1);
	bench_send_list(
		b.m1, &(struct list_fill){.servers = M3 "," M2 "," M1, .algorithm = "shuffle", .interval = INTERVAL_S});
	bench_send_list(b.m1, &(struct list_fill){.servers = LIST, .algorithm = "shuffle", .interval = INTERVAL_S});
	tell(b.m1, &m2_is_down);
	tell(b.m1, &m3_is_up);
	bench_run(&b, INTERVAL_S * 1000 + PROVEN_MS);
	assert_string_equal(bench_connected(&b), M3);
	/* That was it: the preferred server comes back, and nobody looks. */
	b.m2 = server_at(&b, M2);
	tell(b.m3, &(struct word){M2, NULL, OLD_MS, false});
	bench_run(&b, 5 * INTERVAL_S * 1000);
	assert_string_equal(bench_connected(&b), M3);
	assert_int_equal(b.m2->n_links, 0);
	bench_teardown(&b);
}

/* 5., 6. The preferred server comes back while the one look's link proves itself: the look is not over. */
static void shuffle_follows_its_look_to_the_end(void **state)
{
	struct bench b;

	on_the_last(&b, INTERVAL_S, "shuffle");
	bench_send_list(
		b.m1, &(struct list_fill){.servers = M3 "," M2 "," M1, .algorithm = "shuffle", .interval = INTERVAL_S});
	bench_send_list(b.m1, &(struct list_fill){.servers = LIST, .algorithm = "shuffle", .interval = INTERVAL_S});
	tell(b.m1, &m2_is_down);
	tell(b.m1, &m3_is_up);
	for (int i = 0; i < 3000 && !b.m3->n_open; i++)
		bench_run(&b, 10);
	assert_true(b.m3->n_open > 0);
	bench_run(&b, 600);
	b.m2 = server_at(&b, M2);
	tell(b.m1, &(struct word){M2, NULL, OLD_MS, false});
	bench_run(&b, 3 * INTERVAL_S * 1000);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

static void a_freeze_stops_it(void **state)
{
	struct bench b;

	on_the_last(&b, INTERVAL_S, "static");
	fake_server_stop(b.m1);
	fake_server_stop(b.m3);
	b.m1->is_frozen = true;
	bench_run(&b, 1000);
	fake_server_start(b.m1);
	while (!str_equal(bench_connected(&b), M1))
		bench_run(&b, 10);
	fake_server_start(b.m3);
	bench_run(&b, 100);
	tell(b.m1, &m2_is_down);
	tell(b.m1, &m3_is_up);
	agent_check_preferred(b.agent);
	bench_run(&b, 5 * INTERVAL_S * 1000);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(bench_look(&b).failback, FAILBACK_FROZEN);
	bench_teardown(&b);
}

/* 2. CloudStack's servers say nothing: as in the reference only the first entry is thought of. */
static void towards_cloudstack_only_the_first_counts(void **state)
{
	struct bench b;

	bench_setup(&b, LIST "@static", "host.lb.check.interval=5\n");
	b.m1 = fake_server_new(b.f, M1, FAKE_CLOUDSTACK);
	bench_start(&b);
	bench_run(&b, 1000);
	assert_string_equal(bench_connected(&b), M1);
	b.m3 = fake_server_new(b.f, M3, FAKE_CLOUDSTACK);
	bench_run(&b, 60000);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(b.m3->n_links, 0);
	b.m2 = fake_server_new(b.f, M2, FAKE_CLOUDSTACK);
	bench_run(&b, 40000);
	assert_string_equal(bench_connected(&b), M2);
	bench_teardown(&b);
}

/* An older server tells of the preferred one only. */
static void an_older_server_leaves_it_where_it_is(void **state)
{
	struct bench b;

	on_the_last(&b, 5, "static");
	tell(b.m1, &m2_is_down);
	bench_run(&b, 60000);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(b.m3->n_links, 0);
	bench_teardown(&b);
}

static void a_new_list_makes_old_words_worthless(void **state)
{
	struct bench b;

	on_the_last(&b, INTERVAL_S, "static");
	tell(b.m1, &m2_is_down);
	tell(b.m1, &m3_is_up);
	bench_send_list(b.m1, &(struct list_fill){
				      .servers = "10.0.0.9," M3 "," M1, .algorithm = "static", .interval = INTERVAL_S});
	bench_run(&b, 3 * INTERVAL_S * 1000);
	assert_string_equal(bench_connected(&b), M1);
	assert_int_equal(b.m3->n_links, 0);
	tell(b.m1, &m3_is_up);
	bench_run(&b, INTERVAL_S * 1000 + UNANSWERED_MS + PROVEN_MS);
	assert_string_equal(bench_connected(&b), M3);
	bench_teardown(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_server_says_decides),
		cmocka_unit_test(it_goes_as_it_goes_home),
		cmocka_unit_test(it_never_goes_back),
		cmocka_unit_test(who_is_full_or_fails_is_not_tried_at_once),
		cmocka_unit_test(the_damper_is_that_servers),
		cmocka_unit_test(a_better_one_comes_while_it_proves_itself),
		cmocka_unit_test(shuffle_has_one_look),
		cmocka_unit_test(shuffle_follows_its_look_to_the_end),
		cmocka_unit_test(a_freeze_stops_it),
		cmocka_unit_test(towards_cloudstack_only_the_first_counts),
		cmocka_unit_test(an_older_server_leaves_it_where_it_is),
		cmocka_unit_test(a_new_list_makes_old_words_worthless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
