#include "core/admission.h"

#include "core_test.h"

/* ---- gate 1 ---- */

/* So many samples of that delay, each 1 ms after the last. */
struct burst {
	unsigned n;
	int64_t delay_ms;
	size_t n_in_progress;
	unsigned allowed; /* afterwards */
};

#define N_BURSTS 7

static void the_bound_follows_the_delay(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		unsigned start, least, most;
		struct burst bursts[N_BURSTS]; /* up to n 0 */
	} rows[] = {
		{ "1. at least one may always come in", 0, 0, 0, {{ 1, 0, 1, 1 }} },
		{ "1. the first guess lies between the bounds", 100, 2, 50, {{ 1, 0, 1, 50 }} },
		{ "2. without a handshake in progress a delay says nothing", 16, 2, 100, {{ 1000, 90, 0, 16 }, { 1000, 1, 0, 16 }} },
		{ "2. nor does a good window in which the bound was never reached", 16, 2, 100, {{ 1000, 1, 15, 16 }} },
		{ "5. a good window at the bound: twice as many", 16, 2, 100, {{ 99, 1, 16, 16 }, { 1, 1, 16, 32 }, { 100, 1, 32, 64 }} },
		{ "5. reached once is enough", 16, 2, 100, {{ 1, 1, 16, 16 }, { 98, 1, 3, 16 }, { 1, 1, 3, 32 }} },
		{ "5. and at most the most", 16, 2, 40, {{ 100, 1, 16, 32 }, { 100, 1, 32, 40 }, { 100, 1, 40, 40 }} },
		{ "4. one late in a hundred is allowed", 16, 2, 100, {{ 1, 21, 16, 16 }, { 98, 1, 16, 16 }, { 1, 1, 16, 32 }} },
		{ "4. exactly the target isn't late", 16, 2, 100, {{ 100, 20, 16, 32 }} },
		{ "4. the second one halves it at once", 16, 2, 100, {{ 1, 21, 16, 16 }, { 50, 1, 16, 16 }, { 1, 21, 16, 8 }} },
		{ "4. windows don't add up", 16, 2, 100, {{ 99, 1, 9, 16 }, { 1, 21, 9, 16 }, { 1, 21, 9, 16 }, { 1, 21, 9, 8 }} },
		{ "3. one cut for one cause: what was under way still causes delays", 16, 2, 100,
		  {{ 2, 50, 16, 8 }, { 500, 50, 16, 8 }, { 500, 50, 9, 8 }, { 2, 50, 8, 4 }} },
		{ "3. also right after the cut", 16, 2, 100, {{ 2, 50, 16, 8 }, { 99, 50, 8, 8 }, { 2, 50, 8, 4 }} },
		{ "4. never below the least", 4, 3, 100, {{ 2, 50, 4, 3 }, { 99, 1, 1, 3 }, { 2, 50, 3, 3 }} },
		{ "5. after a cut it grows by an eighth a window, by one at least", 16, 2, 100,
		  {{ 2, 50, 16, 8 }, { 99, 1, 8, 8 }, { 100, 1, 8, 9 }, { 100, 1, 9, 10 }, { 50, 1, 10, 10 }} },
		{ "5. by more where there is more", 200, 2, 1000, {{ 2, 50, 200, 100 }, { 99, 1, 100, 100 }, { 100, 1, 100, 112 }, { 100, 1, 112, 126 }} },
		{ "5. up to the most", 8, 2, 4, {{ 2, 50, 4, 2 }, { 99, 1, 2, 2 }, { 100, 1, 2, 3 }, { 100, 1, 3, 4 }, { 100, 1, 4, 4 }} },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct admission_rule rule = admission_rule_default;
		struct admission a;
		int64_t now = 1000;

		rule.start = rows[i].start;
		rule.least = rows[i].least;
		rule.most = rows[i].most;
		admission_init(&a, &rule);
		for (size_t j = 0; j < N_BURSTS && rows[i].bursts[j].n; j++) {
			const struct burst *b = &rows[i].bursts[j];

			for (unsigned k = 0; k < b->n; k++)
				admission_sample(&a, b->delay_ms * 1000, b->n_in_progress, at_ms(now++));
			if (a.allowed != b->allowed)
				fail_msg("%s: burst %zu: %u, not %u", rows[i].what, j, a.allowed, b->allowed);
		}
	}
}

static void room_is_what_is_left(void **state)
{
	struct admission a;

	admission_init(&a, &admission_rule_default);
	assert_int_equal(admission_room(&a, 0), 16);
	assert_int_equal(admission_room(&a, 15), 1);
	assert_int_equal(admission_room(&a, 16), 0);
	assert_int_equal(admission_room(&a, 1000), 0);
}

static void what_costs_time_counts(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		bool has_hello, is_our_turn;
		int64_t turn_since_ms;
		bool counts;
	} rows[] = {
		{ "6. a connection that has said nothing", false, false, 1000, false },
		{ "6. or half a sentence", false, true, 1000, false },
		{ "6. a hello that waits for our work", true, true, 0, true },
		{ "6. a peer that is about to answer", true, false, 501, true },
		{ "6. one that has stopped half-way", true, false, 500, false },
	};
	/* clang-format on */
	struct admission a;

	admission_init(&a, &admission_rule_default);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_row(&rows[i], admission_counts(&a, rows[i].has_hello, rows[i].is_our_turn,
						     at_ms(rows[i].turn_since_ms), at_ms(1000)) == rows[i].counts);
}

/*
 * A machine whose loop is delayed by each handshake in progress, in a storm that never ends: places are taken as soon
 * as they are free. Returns the share of late delays; *mean is how many handshakes were in progress.
 */
static double storm(struct admission *a, struct rng *rng, double us_per_handshake, int turns, int64_t *now_us,
		    double *mean)
{
	size_t n_in_progress = 0, n_late = 0;
	double sum = 0;

	for (int i = 0; i < turns; i++) {
		int64_t delay_us =
			500 + (int64_t)((double)n_in_progress * us_per_handshake * (0.8 + 0.4 * rng_unit(rng)));

		/* Every thousandth turn something else takes 30 ms. */
		if (rng_below(rng, 1000) == 0)
			delay_us += 30000;
		*now_us += 1000 + delay_us;
		admission_sample(a, delay_us, n_in_progress, (struct mono){*now_us});
		n_late += delay_us > a->rule.delay_us;
		sum += (double)n_in_progress;
		n_in_progress -= n_in_progress ? (size_t)rng_below(rng, 1 + (n_in_progress + 3) / 4) : 0;
		n_in_progress += admission_room(a, n_in_progress);
	}
	*mean = sum / turns;
	return (double)n_late / turns;
}

static void the_loop_stays_quick_and_the_machine_busy(void **state)
{
	static const double costs_us[] = {40, 200, 1000, 4000};
	struct rng rng = test_rng(__func__);

	for (size_t i = 0; i < ARRAY_SIZE(costs_us); i++) {
		/* As many as this could be in progress with every delay just in time. */
		double most = 19500 / (costs_us[i] * 1.2), mean, late;
		struct admission a;
		int64_t now_us = 1000000;

		admission_init(&a, &admission_rule_default);
		/* From the guess to the level: a few thousand turns for a bound that may be fifty times as high. */
		storm(&a, &rng, costs_us[i], 5000, &now_us, &mean);
		late = storm(&a, &rng, costs_us[i], 100000, &now_us, &mean);
		if (late > 0.01 || mean < most * 0.4)
			fail_msg("%g us: %.2f %% late, %.1f of %.1f in progress", costs_us[i], late * 100, mean, most);

		/* The machine becomes four times as slow: fewer are taken, and the delay is right again. */
		storm(&a, &rng, costs_us[i] * 4, 300, &now_us, &mean);
		late = storm(&a, &rng, costs_us[i] * 4, 100000, &now_us, &mean);
		if (late > 0.011 && a.allowed > a.rule.least)
			fail_msg("%g us: %.2f %% late after the change", costs_us[i], late * 100);
	}
}

/* ---- gate 2 ---- */

static void the_pace_is_measured_while_somebody_waits(void **state)
{
	struct admission_queue q = {0};
	const struct admission_queue_rule *rule = &admission_queue_rule_default;
	int64_t now = 0;

	assert_int_equal(admission_wait_ms(&q, rule, 100), 500); /* 200 per second are assumed */
	/* Agents that come one at a time, minutes apart, say nothing about how quick we are. */
	for (int i = 0; i < 10; i++)
		admission_served(&q, 1, 0, at_ms(now += 60000));
	assert_int_equal(q.gap_us_64, 0);
	admission_served(&q, 1, 5, at_ms(now));
	admission_served(&q, 1, 4, at_ms(now += 2));
	assert_int_equal(admission_wait_ms(&q, rule, 100), 200);
	for (int i = 0; i < 1000; i++)
		admission_served(&q, 1, 9, at_ms(now += 10));
	assert_in_range(admission_wait_ms(&q, rule, 100), 980, 1001);
	/* The store's groups come at once: each of a group took its share of the time. */
	for (int i = 0; i < 20; i++)
		admission_served(&q, 500, 9, at_ms(now += 1000));
	assert_in_range(admission_wait_ms(&q, rule, 100), 195, 200);
	admission_served(&q, 0, 9, at_ms(now += 5000)); /* nobody was served */
	assert_in_range(admission_wait_ms(&q, rule, 100), 195, 200);
	admission_served(&q, 1, 9, at_ms(now));
	/* Groups that are committed together count as what they are on average. */
	for (int i = 0; i < 2000; i++)
		admission_served(&q, 1, 9, at_ms(now += i % 10 ? 0 : 40));
	assert_in_range(admission_wait_ms(&q, rule, 100), 300, 500);
	/* A suspended machine isn't a slow one: an hour counts as a second. */
	admission_served(&q, 1, 9, at_ms(now += 3600000));
	assert_in_range(admission_wait_ms(&q, rule, 100), 1000, 2100);
	/* A queue of any length is no overflow. */
	assert_true(admission_wait_ms(&q, rule, UINT64_MAX) > 0);
}

/* At 100 a second; two servers beside us. */
static void who_may_come_in_and_who_comes_back(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		struct admission_question q;
		struct admission_server servers[3];
		enum admission_verdict verdict;
		int64_t low, high; /* of retry_ms */
		size_t server;
	} rows[] = {
		{ "8. a short queue: everybody is welcome", { .is_muster = true, .n_waiting = 200 }, { { 0 } },
		  ADMISSION_WELCOME, 0, 0, ADMISSION_NO_SERVER },
		{ "8. a longer one: behind it", { .is_muster = true, .n_waiting = 201 }, { { 0 } },
		  ADMISSION_LATER, 2020, 2020, ADMISSION_NO_SERVER },
		{ "8. others can't be asked", { .is_muster = false, .n_waiting = 100000 }, { { .is_usable = true } },
		  ADMISSION_WELCOME, 0, 0, ADMISSION_NO_SERVER },
		{ "8. who has a link waits where it is, and sooner", { .is_muster = true, .has_link = true, .n_waiting = 21 },
		  { { .is_usable = true } }, ADMISSION_LATER, 220, 220, ADMISSION_NO_SERVER },
		{ "8. but not for nothing", { .is_muster = true, .has_link = true, .n_waiting = 20 }, { { 0 } },
		  ADMISSION_WELCOME, 0, 0, ADMISSION_NO_SERVER },
		{ "9. who was asked before is welcome sooner", { .is_muster = true, .n_put_off = 1, .n_waiting = 400 }, { { 0 } },
		  ADMISSION_WELCOME, 0, 0, ADMISSION_NO_SERVER },
		{ "9. but not always", { .is_muster = true, .n_put_off = 1, .n_waiting = 401 }, { { 0 } },
		  ADMISSION_LATER, 4020, 4020, ADMISSION_NO_SERVER },
		{ "9. and not in a queue of any length", { .is_muster = true, .n_put_off = 4000000000, .n_waiting = 1601 }, { { 0 } },
		  ADMISSION_LATER, 16020, 16020, ADMISSION_NO_SERVER },
		{ "10. beyond a minute it comes spread", { .is_muster = true, .n_waiting = 100000 }, { { 0 } },
		  ADMISSION_LATER, 30000, 60000, ADMISSION_NO_SERVER },
		{ "11. the shortest backlog", { .is_muster = true, .n_waiting = 300 },
		  { { .is_usable = true, .backlog = 20 }, { .is_usable = true, .backlog = 10, .n_agents = 9000 } }, ADMISSION_ELSEWHERE, 3010, 3010, 1 },
		{ "11. then the fewest agents", { .is_muster = true, .n_waiting = 300 },
		  { { .is_usable = true, .n_agents = 20 }, { .is_usable = true, .n_agents = 10 } }, ADMISSION_ELSEWHERE, 3010, 3010, 1 },
		{ "11. then the agent's own order", { .is_muster = true, .n_waiting = 300 },
		  { { .is_usable = true }, { .is_usable = true } }, ADMISSION_ELSEWHERE, 3010, 3010, 0 },
		{ "11. none that can't be used", { .is_muster = true, .n_waiting = 300 },
		  { { .is_usable = false }, { .is_usable = true, .backlog = 299 } }, ADMISSION_ELSEWHERE, 3010, 3010, 1 },
		{ "11. none whose backlog isn't shorter than ours", { .is_muster = true, .n_waiting = 300 },
		  { { .is_usable = true, .backlog = 300 }, { .is_usable = true, .backlog = 299, .n_sent = 1 } },
		  ADMISSION_LATER, 3010, 3010, ADMISSION_NO_SERVER },
		{ "11. who was sent here isn't passed on", { .is_muster = true, .was_sent = true, .n_waiting = 300 },
		  { { .is_usable = true } }, ADMISSION_LATER, 3010, 3010, ADMISSION_NO_SERVER },
		{ "12. who was sent there already counts", { .is_muster = true, .n_waiting = 300 },
		  { { .is_usable = true, .n_sent = 5 }, { .is_usable = true, .n_sent = 4 } }, ADMISSION_ELSEWHERE, 3010, 3010, 1 },
	};
	/* clang-format on */
	struct rng rng = test_rng(__func__);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct admission_queue q = {.gap_us_64 = 10000 * 64};
		struct admission_server servers[3];
		struct admission_answer a;

		memcpy(servers, rows[i].servers, sizeof(servers));
		a = admission_ask(&q, &admission_queue_rule_default, &rows[i].q, servers, 3, at_ms(5000), &rng);
		check_row(&rows[i], a.verdict == rows[i].verdict);
		check_row(&rows[i], a.retry_ms >= rows[i].low && a.retry_ms <= rows[i].high);
		check_row(&rows[i], a.server == rows[i].server);
		for (size_t j = 0; j < 3; j++)
			check_row(&rows[i], servers[j].n_sent == rows[i].servers[j].n_sent + (j == a.server));
	}
}

static void slots_are_as_far_apart_as_startups(void **state)
{
	static const struct admission_question q = {.is_muster = true, .n_waiting = 500};
	const struct admission_queue_rule *rule = &admission_queue_rule_default;
	struct admission_queue queue = {.gap_us_64 = 10000 * 64};
	struct admission_server other = {.is_usable = true, .backlog = 999};
	struct rng rng = test_rng(__func__);

	assert_int_equal(admission_backlog(&queue, rule, 500, at_ms(5000)), 500);
	for (int i = 1; i <= 1000; i++) {
		struct admission_answer a = admission_ask(&queue, rule, &q, NULL, 0, at_ms(5000), &rng);

		assert_int_equal(a.verdict, ADMISSION_LATER);
		assert_int_equal(a.retry_ms, 5000 + 10 * i);
	}
	/* Slots that were given away are as good as a queue; time takes them off. */
	assert_int_equal(admission_backlog(&queue, rule, 500, at_ms(5000)), 1500);
	assert_int_equal(admission_backlog(&queue, rule, 500, at_ms(10000)), 1000);
	assert_int_equal(admission_backlog(&queue, rule, 500, at_ms(20000)), 500);
	/* Whoever is sent elsewhere takes no slot, and whoever comes a second later gets the next one. */
	assert_int_equal(admission_ask(&queue, rule, &q, &other, 1, at_ms(5000), &rng).server, 0);
	assert_int_equal(admission_ask(&queue, rule, &q, NULL, 0, at_ms(6000), &rng).retry_ms, 14010);
}

static void nobody_comes_back_at_once(void **state)
{
	static const struct admission_question q = {.is_muster = true, .has_link = true, .n_waiting = 100};
	struct admission_queue queue = {.gap_us_64 = 10 * 64};
	struct admission_queue_rule rule = admission_queue_rule_default;
	struct rng rng = test_rng(__func__);

	rule.patience_move_ms = 0;
	for (int i = 0; i < 1000; i++) {
		struct admission_answer a = admission_ask(&queue, &rule, &q, NULL, 0, at_ms(5000), &rng);

		assert_in_range(a.retry_ms, 100, 200);
	}
}

static void verdicts_have_names(void **state)
{
	assert_string_equal(admission_verdict_name(ADMISSION_WELCOME), "welcome");
	assert_string_equal(admission_verdict_name(ADMISSION_LATER), "later");
	assert_string_equal(admission_verdict_name(ADMISSION_ELSEWHERE), "elsewhere");
}

/* ---- a mass return: n agents lose their server and all come to the first of n_servers ---- */

#define N_SERVERS_MOST 3
#define TICK_MS 5 /* one startup is served each tick */

struct comer {
	int64_t at_ms; /* when it comes; -1: it is in a queue or served */
	size_t server;
	unsigned n_put_off;
	bool was_sent;
};

struct storm {
	struct admission_queue queues[N_SERVERS_MOST];
	uint64_t n_waiting[N_SERVERS_MOST];
	uint64_t n_served[N_SERVERS_MOST];
	uint64_t n_sent[N_SERVERS_MOST][N_SERVERS_MOST];
	uint64_t told[N_SERVERS_MOST]; /* what the others were told of its backlog */
	uint64_t longest;
	unsigned most_put_off;
};

static void comer_arrives(struct storm *s, struct comer *c, size_t n_servers, int64_t now_ms, struct rng *rng)
{
	struct admission_server servers[N_SERVERS_MOST] = {{0}};
	struct admission_question q = {.is_muster = true,
				       .was_sent = c->was_sent,
				       .n_put_off = c->n_put_off,
				       .n_waiting = s->n_waiting[c->server]};
	struct admission_answer a;

	for (size_t i = 0; i < n_servers; i++) {
		/* The others' last word is up to a second old. What we have sent since is ours to count. */
		servers[i].is_usable = i != c->server;
		servers[i].backlog = s->told[i];
		servers[i].n_sent = s->n_sent[c->server][i];
	}
	a = admission_ask(&s->queues[c->server], &admission_queue_rule_default, &q, servers, n_servers, at_ms(now_ms),
			  rng);
	if (a.verdict == ADMISSION_WELCOME) {
		s->n_waiting[c->server]++;
		s->longest = s->n_waiting[c->server] > s->longest ? s->n_waiting[c->server] : s->longest;
		c->at_ms = -1;
		return;
	}
	c->was_sent = a.verdict == ADMISSION_ELSEWHERE;
	c->n_put_off++;
	s->most_put_off = c->n_put_off > s->most_put_off ? c->n_put_off : s->most_put_off;
	if (a.verdict == ADMISSION_ELSEWHERE) {
		s->n_sent[c->server][a.server]++;
		c->server = a.server;
		c->at_ms = now_ms + 20;
	} else {
		c->at_ms = now_ms + a.retry_ms;
	}
}

/* Returns when the last one was served. */
static int64_t storm_run(struct storm *s, size_t n, size_t n_servers, struct rng *rng)
{
	struct comer *comers = mem_zalloc_array(n, sizeof(*comers));
	size_t n_done = 0;
	int64_t now = 0;

	assert_non_null(comers);
	for (size_t i = 0; i < n; i++)
		comers[i].at_ms = rng_between(rng, 0, 200);
	for (; n_done < n && now < 3600000; now += TICK_MS) {
		for (size_t i = 0; i < n; i++) {
			if (comers[i].at_ms >= 0 && comers[i].at_ms <= now)
				comer_arrives(s, &comers[i], n_servers, now, rng);
		}
		for (size_t i = 0; i < n_servers; i++) {
			if (!s->n_waiting[i])
				continue;
			s->n_waiting[i]--;
			s->n_served[i]++;
			n_done++;
			admission_served(&s->queues[i], 1, s->n_waiting[i], at_ms(now));
		}
		if (now % 1000)
			continue;
		memset(s->n_sent, 0, sizeof(s->n_sent));
		for (size_t i = 0; i < n_servers; i++)
			s->told[i] = admission_backlog(&s->queues[i], &admission_queue_rule_default, s->n_waiting[i],
						       at_ms(now));
	}
	assert_int_equal(n_done, n);
	mem_free(comers);
	return now;
}

static void a_mass_return_takes_as_long_as_it_has_to(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		size_t n, n_servers;
		int64_t most_percent; /* of the time in which the servers could serve them without a pause */
		unsigned most_put_off;
	} rows[] = {
		{ "few are simply queued", 300, 1, 120, 0 },
		{ "two thousand at one server", 2000, 1, 110, 3 },
		{ "twenty thousand at one server: over its minute", 20000, 1, 125, 8 },
		{ "with two others that are idle they share the load", 6000, 3, 150, 4 },
	};
	/* clang-format on */
	struct rng rng = test_rng(__func__);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct storm s = {0};
		int64_t ms = storm_run(&s, rows[i].n, rows[i].n_servers, &rng);
		int64_t least_ms = (int64_t)(rows[i].n / rows[i].n_servers) * TICK_MS;

		if (ms > least_ms * rows[i].most_percent / 100 + 500 || s.most_put_off > rows[i].most_put_off)
			fail_msg("%s: %lld ms of %lld, put off %u times", rows[i].what, (long long)ms,
				 (long long)least_ms, s.most_put_off);
		/* The queue is never longer than what the most patient bears: 8 x 2 s. */
		check_row(&rows[i], s.longest <= 8 * 2000 / TICK_MS + 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_bound_follows_the_delay),
		cmocka_unit_test(room_is_what_is_left),
		cmocka_unit_test(what_costs_time_counts),
		cmocka_unit_test(the_loop_stays_quick_and_the_machine_busy),
		cmocka_unit_test(the_pace_is_measured_while_somebody_waits),
		cmocka_unit_test(who_may_come_in_and_who_comes_back),
		cmocka_unit_test(slots_are_as_far_apart_as_startups),
		cmocka_unit_test(nobody_comes_back_at_once),
		cmocka_unit_test(verdicts_have_names),
		cmocka_unit_test(a_mass_return_takes_as_long_as_it_has_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
