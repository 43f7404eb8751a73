#include "core/spread.h"

#include "core_test.h"

CLEAN_DEFINE(struct spread, spread_free)

static const struct spread_rule rule = {.window = 2, .answer_ms = 1000, .retry_min_ms = 100, .retry_max_ms = 400};

static void add(struct spread *s, uint64_t host, int64_t now_ms)
{
	assert_int_equal(spread_add(s, host, at_ms(now_ms)), ERR_OK);
}

/* Steps and compares whom to tell: up to four hosts, 0 ends. */
static void assert_step(struct spread *s, int64_t now_ms, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	uint64_t expected[] = {a, b, c, d, 0}, hosts[8] = {0};
	size_t n = spread_step(s, at_ms(now_ms), hosts, ARRAY_SIZE(hosts));

	for (size_t i = 0; i <= n; i++)
		assert_int_equal(hosts[i], expected[i]);
}

static void a_window_at_a_time_first_come_first_told(void **state)
{
	CLEAN(spread_freep) struct spread *s = spread_new(&rule);

	assert_true(mono_is_never(spread_next_due(s)));
	assert_step(s, 0, 0, 0, 0, 0);
	for (uint64_t host = 1; host <= 4; host++)
		add(s, host, 0);
	assert_int_equal(spread_waiting(s), 4);
	assert_true(mono_reached(at_ms(0), spread_next_due(s)));

	assert_step(s, 0, 1, 2, 0, 0);
	assert_step(s, 0, 0, 0, 0, 0);
	assert_int_equal(spread_next_due(s).us, at_ms(1000).us);
	spread_acked(s, 2);
	assert_false(spread_has(s, 2));
	assert_true(spread_has(s, 1));
	assert_step(s, 10, 3, 0, 0, 0);
	spread_acked(s, 1);
	spread_acked(s, 3);
	assert_step(s, 20, 4, 0, 0, 0);
	spread_acked(s, 4);
	assert_int_equal(spread_waiting(s), 0);
	assert_true(mono_is_never(spread_next_due(s)));
}

static void room_is_a_limit_too(void **state)
{
	CLEAN(spread_freep) struct spread *s = spread_new(&rule);
	uint64_t host = 0;

	add(s, 1, 0);
	add(s, 2, 0);
	assert_int_equal(spread_step(s, at_ms(0), &host, 0), 0);
	assert_int_equal(spread_step(s, at_ms(0), &host, 1), 1);
	assert_int_equal(host, 1);
	assert_true(mono_reached(at_ms(0), spread_next_due(s)));
	assert_int_equal(spread_step(s, at_ms(0), &host, 1), 1);
	assert_int_equal(host, 2);
}

static void added_again_before_it_is_told_it_is_told_once(void **state)
{
	CLEAN(spread_freep) struct spread *s = spread_new(&rule);

	add(s, 1, 0);
	add(s, 1, 5);
	assert_int_equal(spread_waiting(s), 1);
	assert_step(s, 10, 1, 0, 0, 0);
	spread_acked(s, 1);
	assert_step(s, 10, 0, 0, 0, 0);
	assert_int_equal(spread_waiting(s), 0);
}

static void added_again_while_it_is_told_it_is_told_once_more(void **state)
{
	CLEAN(spread_freep) struct spread *s = spread_new(&rule);

	add(s, 1, 0);
	assert_step(s, 0, 1, 0, 0, 0);
	add(s, 1, 5);
	add(s, 1, 6);
	assert_step(s, 10, 0, 0, 0, 0);
	spread_acked(s, 1);
	assert_true(spread_has(s, 1));
	assert_step(s, 20, 1, 0, 0, 0);
	spread_acked(s, 1);
	assert_false(spread_has(s, 1));
}

static void failures_are_retried_after_a_pause_for_ever(void **state)
{
	CLEAN(spread_freep) struct spread *s = spread_new(&rule);
	struct rng rng = test_rng(__func__);
	int64_t now = 0;

	add(s, 1, now);
	for (int i = 0; i < 50; i++) {
		int64_t wait;

		assert_step(s, now, 1, 0, 0, 0);
		spread_failed(s, 1, at_ms(now), &rng);
		wait = mono_ms_between(at_ms(now), spread_next_due(s));
		assert_in_range(wait, rule.retry_min_ms, i == 0 ? 2 * rule.retry_min_ms : rule.retry_max_ms);
		assert_step(s, now + wait - 1, 0, 0, 0, 0);
		now += wait;
	}
	assert_step(s, now, 1, 0, 0, 0);
	spread_acked(s, 1);
	assert_int_equal(spread_waiting(s), 0);
}

static void a_failure_frees_its_place_in_the_window(void **state)
{
	CLEAN(spread_freep) struct spread *s = spread_new(&rule);
	struct rng rng = test_rng(__func__);

	for (uint64_t host = 1; host <= 3; host++)
		add(s, host, 0);
	assert_step(s, 0, 1, 2, 0, 0);
	spread_failed(s, 1, at_ms(0), &rng);
	assert_step(s, 0, 3, 0, 0, 0);
	/* Added again during its pause it still waits: a busy administrator must not undo the back-off. */
	add(s, 1, 10);
	spread_acked(s, 2);
	assert_step(s, 20, 0, 0, 0, 0);
	assert_step(s, 400, 1, 0, 0, 0);
	spread_acked(s, 1);
	assert_false(spread_has(s, 1));
}

static void silence_is_told_again_behind_those_who_wait(void **state)
{
	CLEAN(spread_freep) struct spread *s = spread_new(&rule);

	for (uint64_t host = 1; host <= 4; host++)
		add(s, host, 0);
	assert_step(s, 0, 1, 2, 0, 0);
	assert_step(s, 999, 0, 0, 0, 0);
	assert_step(s, 1000, 3, 4, 0, 0);
	/* A late answer counts, as long as nothing newer has come up. */
	spread_acked(s, 2);
	assert_false(spread_has(s, 2));
	spread_acked(s, 3);
	assert_step(s, 1001, 1, 0, 0, 0);
	spread_acked(s, 1);
	spread_acked(s, 4);
	assert_int_equal(spread_waiting(s), 0);
}

static void a_late_answer_to_an_old_list_does_not_count(void **state)
{
	CLEAN(spread_freep) struct spread *s = spread_new(&rule);

	add(s, 1, 0);
	assert_step(s, 0, 1, 0, 0, 0);
	add(s, 1, 500);
	add(s, 2, 500);
	add(s, 3, 500);
	assert_step(s, 500, 2, 0, 0, 0);
	assert_step(s, 1000, 3, 0, 0, 0); /* the place of the silent first goes on */
	spread_acked(s, 1);
	assert_true(spread_has(s, 1));
	spread_acked(s, 2);
	assert_step(s, 1001, 1, 0, 0, 0);
}

static void reports_about_strangers_are_ignored(void **state)
{
	CLEAN(spread_freep) struct spread *s = spread_new(&rule);
	struct rng rng = test_rng(__func__);

	spread_acked(s, 9);
	spread_failed(s, 9, at_ms(0), &rng);
	spread_gone(s, 9);
	add(s, 1, 0);
	/* Nor does anybody get through without having been told. */
	spread_acked(s, 1);
	spread_failed(s, 1, at_ms(0), &rng);
	assert_step(s, 0, 1, 0, 0, 0);
	spread_failed(s, 1, at_ms(0), &rng);
	spread_failed(s, 1, at_ms(0), &rng);
	assert_step(s, 200, 1, 0, 0, 0);
}

static void who_is_gone_is_forgotten_wherever_it_stood(void **state)
{
	CLEAN(spread_freep) struct spread *s = spread_new(&rule);
	struct rng rng = test_rng(__func__);

	for (uint64_t host = 1; host <= 4; host++)
		add(s, host, 0);
	assert_step(s, 0, 1, 2, 0, 0);
	spread_failed(s, 1, at_ms(0), &rng);
	spread_gone(s, 1); /* pausing */
	spread_gone(s, 2); /* told */
	spread_gone(s, 3); /* in the queue */
	assert_int_equal(spread_waiting(s), 1);
	assert_step(s, 0, 4, 0, 0, 0);
	spread_gone(s, 4);
	assert_true(mono_is_never(spread_next_due(s)));
	/* When it comes back it is a new one. */
	add(s, 2, 10);
	assert_step(s, 10, 2, 0, 0, 0);
}

static void defaults_stand_in_for_zeros(void **state)
{
	CLEAN(spread_freep) struct spread *s = spread_new(&(struct spread_rule){0});
	CLEAN(spread_freep) struct spread *without = spread_new(NULL);
	uint64_t hosts[100];

	for (uint64_t host = 1; host <= 100; host++) {
		add(s, host, 0);
		add(without, host, 0);
	}
	assert_int_equal(spread_step(s, at_ms(0), hosts, 100), 64);
	assert_int_equal(spread_step(without, at_ms(0), hosts, 100), 64);
	assert_int_equal(spread_next_due(s).us, at_ms(60000).us);
	assert_null(spread_free(NULL));
}

/* The walk's own idea of the world: versions of a list that an agent should have, was told and confirmed. */
#define N_AGENTS 24

struct model {
	struct {
		unsigned wanted, told, confirmed;
		bool is_told;
		int64_t overdue_ms;
	} agents[N_AGENTS];
	struct spread *s;
	struct rng rng;
	struct spread_rule rule;
	int64_t now_ms;
};

static void model_check(struct model *m)
{
	size_t n_told = 0, n_waiting = 0;

	for (size_t i = 0; i < N_AGENTS; i++) {
		assert_int_equal(spread_has(m->s, i), m->agents[i].confirmed < m->agents[i].wanted);
		n_waiting += m->agents[i].confirmed < m->agents[i].wanted;
		n_told += m->agents[i].is_told;
	}
	assert_true(n_told <= m->rule.window);
	assert_int_equal(spread_waiting(m->s), n_waiting);
}

static void model_step(struct model *m)
{
	uint64_t hosts[N_AGENTS];
	size_t room = (size_t)rng_below(&m->rng, N_AGENTS + 1);
	size_t n = spread_step(m->s, at_ms(m->now_ms), hosts, room);

	for (size_t i = 0; i < N_AGENTS; i++)
		m->agents[i].is_told &= m->now_ms < m->agents[i].overdue_ms;
	assert_true(n <= room);
	for (size_t i = 0; i < n; i++) {
		assert_true(hosts[i] < N_AGENTS);
		assert_false(m->agents[hosts[i]].is_told);
		assert_true(m->agents[hosts[i]].confirmed < m->agents[hosts[i]].wanted);
		m->agents[hosts[i]].is_told = true;
		m->agents[hosts[i]].told = m->agents[hosts[i]].wanted;
		m->agents[hosts[i]].overdue_ms = m->now_ms + m->rule.answer_ms;
	}
	/* With room to spare nothing is left to do now. */
	if (n < room)
		assert_true(mono_before(at_ms(m->now_ms), spread_next_due(m->s)));
}

static void model_ack(struct model *m, size_t i)
{
	spread_acked(m->s, i);
	if (m->agents[i].told == m->agents[i].wanted && m->agents[i].told)
		m->agents[i].confirmed = m->agents[i].told;
	m->agents[i].is_told = false;
}

static void model_disturb(struct model *m)
{
	size_t i = (size_t)rng_below(&m->rng, N_AGENTS);
	bool is_told = m->agents[i].is_told;

	switch (rng_below(&m->rng, 8)) {
	case 0:
	case 1:
		assert_int_equal(spread_add(m->s, i, at_ms(m->now_ms)), ERR_OK);
		m->agents[i].wanted++;
		break;
	case 2:
	case 3:
		if (is_told)
			model_ack(m, i);
		break;
	case 4:
		if (is_told) {
			spread_failed(m->s, i, at_ms(m->now_ms), &m->rng);
			m->agents[i].is_told = false;
		}
		break;
	case 5:
		if (rng_below(&m->rng, 4) == 0) {
			spread_gone(m->s, i);
			m->agents[i].wanted = m->agents[i].told = m->agents[i].confirmed = 0;
			m->agents[i].is_told = false;
		}
		break;
	default:
		m->now_ms += rng_between(&m->rng, 0, 300);
		model_step(m);
	}
}

/* From here on everybody answers: how long until all have the newest? */
static void model_settle(struct model *m)
{
	for (int turn = 0; spread_waiting(m->s); turn++) {
		struct mono due = spread_next_due(m->s);

		assert_true(turn < 1000);
		assert_false(mono_is_never(due));
		if (due.us > at_ms(m->now_ms).us)
			m->now_ms = due.us / 1000;
		model_step(m);
		model_check(m);
		for (size_t i = 0; i < N_AGENTS; i++) {
			if (m->agents[i].is_told)
				model_ack(m, i);
		}
		model_check(m);
	}
	for (size_t i = 0; i < N_AGENTS; i++)
		assert_int_equal(m->agents[i].confirmed, m->agents[i].wanted);
}

static void everyone_ends_on_the_newest_list(void **state)
{
	struct rng rng = test_rng(__func__);

	for (int round = 0; round < 100; round++) {
		struct model m = {.rng = rng, .rule = rule};

		m.rule.window = 1 + (size_t)rng_below(&rng, 6);
		m.s = spread_new(&m.rule);
		for (int step = 0; step < 600; step++) {
			model_disturb(&m);
			model_check(&m);
		}
		model_settle(&m);
		rng = m.rng;
		spread_free(m.s);
	}
}

static void a_hundred_thousand_agents_are_no_problem(void **state)
{
	CLEAN(spread_freep) struct spread *s = spread_new(NULL);
	struct rng rng = test_rng(__func__);
	int64_t now = 0;
	size_t n_acked = 0;

	for (uint64_t host = 0; host < 100000; host++)
		add(s, host, now);
	for (; spread_waiting(s); now += 10) {
		uint64_t hosts[64];
		size_t n = spread_step(s, at_ms(now), hosts, 64);

		for (size_t i = 0; i < n; i++) {
			if (rng_below(&rng, 10) == 0) {
				spread_failed(s, hosts[i], at_ms(now), &rng);
				continue;
			}
			spread_acked(s, hosts[i]);
			n_acked++;
		}
	}
	assert_int_equal(n_acked, 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_window_at_a_time_first_come_first_told),
		cmocka_unit_test(room_is_a_limit_too),
		cmocka_unit_test(added_again_before_it_is_told_it_is_told_once),
		cmocka_unit_test(added_again_while_it_is_told_it_is_told_once_more),
		cmocka_unit_test(failures_are_retried_after_a_pause_for_ever),
		cmocka_unit_test(a_failure_frees_its_place_in_the_window),
		cmocka_unit_test(silence_is_told_again_behind_those_who_wait),
		cmocka_unit_test(a_late_answer_to_an_old_list_does_not_count),
		cmocka_unit_test(reports_about_strangers_are_ignored),
		cmocka_unit_test(who_is_gone_is_forgotten_wherever_it_stood),
		cmocka_unit_test(defaults_stand_in_for_zeros),
		cmocka_unit_test(everyone_ends_on_the_newest_list),
		cmocka_unit_test(a_hundred_thousand_agents_are_no_problem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
