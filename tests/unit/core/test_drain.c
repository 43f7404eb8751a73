#include "core/drain.h"

#include "core_test.h"

CLEAN_DEFINE(struct drain, drain_free)

/* Ten per second, so that a token comes every 100 ms and only one can be saved up; three at one time. */
static const struct drain_rule rule = {
	.per_s = 10,
	.window = 3,
	.move_ms = 5000,
	.retry_min_ms = 1000,
	.retry_max_ms = 4000,
	.left_ms = 2000,
};

static struct drain *drain_of(const struct drain_rule *r, uint64_t n)
{
	struct drain *d = drain_new(r, at_ms(0));

	assert_non_null(d);
	for (uint64_t host = 1; host <= n; host++)
		assert_int_equal(drain_add(d, host), ERR_OK);
	return d;
}

/* Steps and compares whom to ask: up to three hosts, 0 ends. */
static void assert_step(struct drain *d, int64_t now_ms, uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t expected[] = {a, b, c, 0}, hosts[8] = {0};
	size_t n = drain_step(d, true, at_ms(now_ms), hosts, ARRAY_SIZE(hosts));

	for (size_t i = 0; i <= n; i++)
		assert_int_equal(hosts[i], expected[i]);
}

static struct drain_report report_at(const struct drain *d, int64_t now_ms)
{
	struct drain_report r;

	drain_report(d, at_ms(now_ms), &r);
	return r;
}

static void assert_fate(const struct drain *d, uint64_t host, enum drain_fate fate, const char *sentence)
{
	struct drain_remaining r;
	size_t cursor = 0;

	while (drain_next_remaining(d, &cursor, &r)) {
		if (r.host != host)
			continue;
		if (r.fate != fate || strcmp(r.sentence, sentence) != 0)
			fail_msg("host %d is %s: %s", (int)host, drain_fate_name(r.fate), r.sentence);
		return;
	}
	fail_msg("host %d is not in the report", (int)host);
}

static void nobody_there_is_done(void **state)
{
	CLEAN(drain_freep) struct drain *d = drain_of(&rule, 0);
	struct drain_report r = report_at(d, 0);
	struct drain_remaining left;
	size_t cursor = 0;

	assert_int_equal(r.state, DRAIN_DONE);
	assert_int_equal(r.n_total, 0);
	assert_int_equal(r.remaining_ms, 0);
	assert_true(mono_is_never(r.deadline));
	assert_true(mono_is_never(drain_next_due(d, at_ms(0))));
	assert_false(drain_next_remaining(d, &cursor, &left));
	assert_step(d, 0, 0, 0, 0);
}

static void they_are_asked_at_the_rate_in_the_order_of_adding(void **state)
{
	CLEAN(drain_freep) struct drain *d = drain_of(&rule, 4);

	assert_int_equal(drain_next_due(d, at_ms(0)).us, 0);
	assert_step(d, 0, 1, 0, 0);
	assert_int_equal(drain_next_due(d, at_ms(0)).us, at_ms(100).us);
	assert_step(d, 99, 0, 0, 0);
	assert_step(d, 100, 2, 0, 0);
	/* Late ticks don't make it up: a burst is what the others shall not see. */
	assert_step(d, 900, 3, 0, 0);
	drain_moved(d, 1, at_ms(950));
	assert_step(d, 1000, 4, 0, 0);
	assert_int_equal(report_at(d, 1000).n_by_fate[DRAIN_ASKED], 3);
	for (uint64_t host = 2; host <= 4; host++)
		drain_moved(d, host, at_ms(1100));
	assert_int_equal(report_at(d, 1100).state, DRAIN_DONE);
	assert_int_equal(report_at(d, 1100).n_by_fate[DRAIN_MOVED], 4);
}

static void a_slow_cluster_slows_the_drain_down(void **state)
{
	CLEAN(drain_freep) struct drain *d = drain_of(&rule, 5);

	assert_step(d, 0, 1, 0, 0);
	assert_step(d, 100, 2, 0, 0);
	assert_step(d, 200, 3, 0, 0);
	assert_step(d, 300, 0, 0, 0);
	/* The window is full: time alone brings only the end of the first one's patience. */
	assert_int_equal(drain_next_due(d, at_ms(300)).us, at_ms(5000).us);
	drain_moved(d, 2, at_ms(400));
	assert_int_equal(drain_next_due(d, at_ms(400)).us, 0);
	assert_step(d, 400, 4, 0, 0);
}

static void room_is_a_limit_too(void **state)
{
	CLEAN(drain_freep) struct drain *d = drain_of(NULL, 20);
	uint64_t hosts[20];

	assert_int_equal(drain_step(d, true, at_ms(0), hosts, 0), 0);
	assert_int_equal(drain_step(d, true, at_ms(0), hosts, 3), 3);
	assert_int_equal(hosts[2], 3);
	assert_int_equal(drain_n_asked(d, 3), 1);
	assert_int_equal(drain_n_asked(d, 4), 0);
	assert_int_equal(drain_n_asked(d, 77), 0);
	assert_int_equal(drain_step(d, true, at_ms(0), hosts, 20), 7); /* by default the rate allows ten at once */
}

static void a_pause_asks_nobody_and_loses_nobody(void **state)
{
	CLEAN(drain_freep) struct drain *d = drain_of(&rule, 3);
	uint64_t hosts[8];

	assert_step(d, 0, 1, 0, 0);
	assert_int_equal(drain_step(d, false, at_ms(100), hosts, 8), 0);
	assert_int_equal(report_at(d, 100).state, DRAIN_PAUSED);
	assert_int_equal(report_at(d, 100).remaining_ms, -1);
	assert_int_equal(drain_next_due(d, at_ms(100)).us, at_ms(5000).us);
	/* Who was asked already may still arrive. */
	drain_moved(d, 1, at_ms(200));
	assert_int_equal(drain_step(d, false, at_ms(60000), hosts, 8), 0);
	assert_step(d, 60001, 2, 0, 0);
	assert_int_equal(report_at(d, 60001).state, DRAIN_RUNNING);
	/* The pause isn't part of the pace: one move in 100 ms, two to go. */
	assert_int_equal(report_at(d, 60001).remaining_ms, 200);
}

static void a_refusal_is_listed_and_asked_again(void **state)
{
	CLEAN(drain_freep) struct drain *d = drain_of(&rule, 2);
	struct rng rng = test_rng(__func__);
	struct mono due;

	assert_fate(d, 1, DRAIN_WAITING, "not asked yet");
	assert_step(d, 0, 1, 0, 0);
	assert_fate(d, 1, DRAIN_ASKED, "asked, and still here");
	drain_refused(d, 1, ERR_NOT_FOUND, "no server of the list is left to go to", at_ms(10), &rng);
	assert_fate(d, 1, DRAIN_REFUSED, "no server of the list is left to go to");
	assert_step(d, 100, 2, 0, 0);
	due = drain_next_due(d, at_ms(100));
	assert_in_range(due.us / 1000, 1010, 2010);
	assert_step(d, due.us / 1000 - 1, 0, 0, 0);
	assert_step(d, due.us / 1000, 1, 0, 0);
	/* What it said last stays the reason while it is here. */
	assert_fate(d, 1, DRAIN_ASKED, "no server of the list is left to go to");
	drain_refused(d, 1, ERR_BUSY, NULL, due, &rng);
	assert_fate(d, 1, DRAIN_REFUSED, err_text(ERR_BUSY));
	/* A late refusal changes nothing. */
	drain_refused(d, 1, ERR_IO, "late", due, &rng);
	assert_fate(d, 1, DRAIN_REFUSED, err_text(ERR_BUSY));
	/* It may go by itself meanwhile. */
	drain_moved(d, 1, due);
	assert_int_equal(report_at(d, due.us / 1000).n_by_fate[DRAIN_MOVED], 1);
}

static void a_long_sentence_is_cut(void **state)
{
	CLEAN(drain_freep) struct drain *d = drain_of(&rule, 1);
	struct rng rng = test_rng(__func__);
	struct drain_remaining r;
	char text[2000];
	size_t cursor = 0;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_step(d, 0, 1, 0, 0);
	drain_refused(d, 1, ERR_BUSY, text, at_ms(0), &rng);
	assert_true(drain_next_remaining(d, &cursor, &r));
	assert_int_equal(strlen(r.sentence), 200);
	assert_int_equal(r.n_asked, 1);
	assert_int_equal(r.error, ERR_BUSY);
}

static void who_does_nothing_is_asked_again_behind_the_others(void **state)
{
	CLEAN(drain_freep) struct drain *d = drain_of(&rule, 5);

	assert_step(d, 0, 1, 0, 0);
	assert_step(d, 100, 2, 0, 0);
	assert_step(d, 200, 3, 0, 0);
	assert_step(d, 5000, 4, 0, 0);
	assert_step(d, 5100, 5, 0, 0);
	assert_step(d, 5200, 1, 0, 0);
	drain_moved(d, 1, at_ms(5250));
	assert_int_equal(report_at(d, 5250).n_by_fate[DRAIN_MOVED], 1);
}

static void gone_is_who_is_up_elsewhere(void **state)
{
	CLEAN(drain_freep) struct drain *d = drain_of(&rule, 2);

	assert_step(d, 0, 1, 0, 0);
	/* It has left, as CloudStack's agents do before they arrive: it is waited for. */
	drain_vanished(d, 1, at_ms(50));
	assert_fate(d, 1, DRAIN_LEFT, "it has left and no other server has reported it yet");
	assert_int_equal(report_at(d, 50).n_left, 2);
	assert_int_equal(report_at(d, 50).state, DRAIN_RUNNING);
	/* One that wasn't asked has another trouble: listed, and not waited for. */
	drain_vanished(d, 2, at_ms(60));
	assert_fate(d, 2, DRAIN_VANISHED, "its link was lost and no other server has it");
	assert_int_equal(report_at(d, 60).n_left, 1);
	drain_moved(d, 1, at_ms(500));
	assert_int_equal(report_at(d, 500).state, DRAIN_DONE);
	assert_int_equal(report_at(d, 500).n_by_fate[DRAIN_VANISHED], 1);
	/* It turns up after all. */
	drain_moved(d, 2, at_ms(9000));
	assert_int_equal(report_at(d, 9000).n_by_fate[DRAIN_VANISHED], 0);
	assert_int_equal(report_at(d, 9000).n_by_fate[DRAIN_MOVED], 2);
}

static void who_left_and_never_arrived_is_not_waited_for_for_ever(void **state)
{
	CLEAN(drain_freep) struct drain *d = drain_of(&rule, 1);

	assert_step(d, 0, 1, 0, 0);
	drain_vanished(d, 1, at_ms(1000));
	drain_vanished(d, 1, at_ms(2000)); /* said twice: it has left once */
	assert_int_equal(drain_next_due(d, at_ms(2000)).us, at_ms(3000).us);
	assert_step(d, 2999, 0, 0, 0);
	assert_int_equal(report_at(d, 2999).state, DRAIN_RUNNING);
	assert_step(d, 3000, 0, 0, 0);
	assert_int_equal(report_at(d, 3000).state, DRAIN_DONE);
	assert_fate(d, 1, DRAIN_VANISHED, "its link was lost and no other server has it");
}

static void who_comes_back_counts_again(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		const char *before; /* a asked, r refused, v vanished, m moved, t time */
		bool is_asked_again;
	} rows[] = {
		{ "while it waits nothing changes", "", true },
		{ "while it is asked neither", "a", false },
		{ "nor during its pause", "ar", false },
		{ "after it had left", "av", true },
		{ "after it was given up", "avt", true },
		{ "after it had vanished unasked", "v", true },
		{ "after it had moved: it was thrown back", "am", true },
		{ "after it had gone by itself", "m", true },
	};
	/* clang-format on */
	struct rng rng = test_rng(__func__);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(drain_freep) struct drain *d = drain_of(&rule, 1);
		uint64_t hosts[4];
		int64_t now = 0;

		for (const char *c = rows[i].before; *c; c++) {
			now += *c == 't' ? 2000 : 100;
			if (*c == 'a' || *c == 't')
				drain_step(d, true, at_ms(now), hosts, 4);
			else if (*c == 'r')
				drain_refused(d, 1, ERR_BUSY, "busy", at_ms(now), &rng);
			else if (*c == 'v')
				drain_vanished(d, 1, at_ms(now));
			else
				drain_moved(d, 1, at_ms(now));
		}
		assert_int_equal(drain_add(d, 1), ERR_OK);
		check_row(&rows[i], report_at(d, now).n_total == 1);
		check_row(&rows[i], report_at(d, now).n_left == 1);
		check_row(&rows[i], drain_step(d, true, at_ms(now + 200), hosts, 4) == rows[i].is_asked_again);
	}
}

static void at_the_deadline_nobody_is_asked_any_more(void **state)
{
	struct drain_rule r = rule;
	CLEAN(drain_freep) struct drain *d = NULL;

	r.timeout_ms = 1000;
	d = drain_of(&r, 3);
	assert_int_equal(report_at(d, 0).deadline.us, at_ms(1000).us);
	assert_step(d, 0, 1, 0, 0);
	assert_step(d, 100, 2, 0, 0);
	drain_moved(d, 1, at_ms(200));
	assert_int_equal(drain_next_due(d, at_ms(150)).us, at_ms(200).us);
	assert_step(d, 1000, 0, 0, 0);
	assert_int_equal(report_at(d, 1000).state, DRAIN_TIMED_OUT);
	assert_int_equal(report_at(d, 1000).n_left, 2);
	assert_int_equal(report_at(d, 1000).remaining_ms, -1);
	assert_true(mono_is_never(drain_next_due(d, at_ms(1000))));
	assert_fate(d, 2, DRAIN_ASKED, "asked, and still here");
	assert_fate(d, 3, DRAIN_WAITING, "not asked yet");
	/* Late arrivals still count. */
	drain_moved(d, 2, at_ms(1100));
	drain_moved(d, 3, at_ms(1200));
	assert_int_equal(report_at(d, 1200).state, DRAIN_DONE);
}

static void the_deadline_comes_during_a_pause_too(void **state)
{
	struct drain_rule r = rule;
	CLEAN(drain_freep) struct drain *d = NULL;
	uint64_t hosts[4];

	r.timeout_ms = 1000;
	d = drain_of(&r, 1);
	assert_int_equal(drain_step(d, false, at_ms(0), hosts, 4), 0);
	assert_int_equal(drain_next_due(d, at_ms(0)).us, at_ms(1000).us);
	assert_int_equal(report_at(d, 999).state, DRAIN_PAUSED);
	assert_int_equal(report_at(d, 1000).state, DRAIN_TIMED_OUT);
}

static void strangers_and_the_deleted_are_ignored(void **state)
{
	CLEAN(drain_freep) struct drain *d = drain_of(&rule, 2);
	struct rng rng = test_rng(__func__);

	drain_moved(d, 9, at_ms(0));
	drain_refused(d, 9, ERR_BUSY, NULL, at_ms(0), &rng);
	drain_vanished(d, 9, at_ms(0));
	drain_forget(d, 9);
	/* Nobody refuses what it wasn't asked. */
	drain_refused(d, 1, ERR_BUSY, NULL, at_ms(0), &rng);
	assert_step(d, 0, 1, 0, 0);
	drain_forget(d, 1);
	drain_forget(d, 2);
	assert_int_equal(report_at(d, 0).n_total, 0);
	assert_int_equal(report_at(d, 0).state, DRAIN_DONE);
	assert_null(drain_free(NULL));
}

static void the_estimate_follows_the_last_moves(void **state)
{
	struct drain_rule r = rule;
	CLEAN(drain_freep) struct drain *d = NULL;
	int64_t now = 0;

	r.window = 100;
	d = drain_of(&r, 200);
	/* Before the first move: by the rate, which is also the best that can be hoped for. */
	assert_int_equal(report_at(d, 0).remaining_ms, 20000);
	for (uint64_t host = 1; host <= 60; host++) {
		assert_step(d, now, host, 0, 0);
		drain_moved(d, host, at_ms(now));
		now += 100;
	}
	assert_in_range(report_at(d, now).remaining_ms, 14000, 14600);
	/* Twice as slow from here on: the estimate follows within 32 moves. */
	for (uint64_t host = 61; host <= 100; host++) {
		now += 200;
		assert_step(d, now, host, 0, 0);
		drain_moved(d, host, at_ms(now));
	}
	assert_in_range(report_at(d, now).remaining_ms, 19900, 20100);
	/* When nothing moves it grows. */
	assert_true(report_at(d, now + 10000).remaining_ms > 40000);
}

static void a_server_that_stops_soon_asks_faster(void **state)
{
	assert_int_equal(drain_rate_within(10000, 10000), 2001);
	assert_int_equal(drain_rate_within(3, 10000), 1);
	assert_int_equal(drain_rate_within(0, 10000), 1);
	assert_int_equal(drain_rate_within(100, 0), 100001);
	assert_int_equal(drain_rate_within(SIZE_MAX, 10000), INT64_MAX);
}

static void everything_has_a_name(void **state)
{
	assert_string_equal(drain_state_name(DRAIN_RUNNING), "running");
	assert_string_equal(drain_state_name(DRAIN_PAUSED), "paused");
	assert_string_equal(drain_state_name(DRAIN_DONE), "done");
	assert_string_equal(drain_state_name(DRAIN_TIMED_OUT), "timed out");
	assert_string_equal(drain_fate_name(DRAIN_VANISHED), "vanished");
	for (enum drain_fate f = 0; f < DRAIN_N_FATES; f++)
		assert_true(strlen(drain_fate_name(f)) > 0);
}

/* ---- a walk against a model that keeps a plain table and looks at all of it ---- */

#define N_AGENTS 20

struct model_agent {
	bool is_known, is_here, is_asked, is_elsewhere, has_left;
	int64_t asked_until, left_until, pause_least, pause_most;
};

struct model {
	struct model_agent agents[N_AGENTS];
	struct drain_rule rule;
	struct drain *d;
	struct rng rng;
	int64_t now_ms;
	int64_t asked_at[2000]; /* all of them, for the rate */
	size_t n_asked;
};

/* What time does to an agent. */
static void model_age(struct model *m)
{
	for (size_t i = 0; i < N_AGENTS; i++) {
		struct model_agent *a = &m->agents[i];

		if (a->is_asked && m->now_ms >= a->asked_until)
			a->is_asked = false;
		if (a->has_left && m->now_ms >= a->left_until)
			a->has_left = false;
	}
}

static void model_check(struct model *m)
{
	struct drain_report r = report_at(m->d, m->now_ms);
	size_t n_known = 0, n_left = 0, n_moved = 0, n_asked = 0, n_listed = 0, cursor = 0;
	struct drain_remaining left;

	for (size_t i = 0; i < N_AGENTS; i++) {
		const struct model_agent *a = &m->agents[i];

		n_known += a->is_known;
		n_moved += a->is_known && a->is_elsewhere;
		n_asked += a->is_asked;
		n_left += a->is_known && (a->is_here || a->has_left);
	}
	assert_int_equal(r.n_total, n_known);
	assert_int_equal(r.n_left, n_left);
	assert_int_equal(r.n_by_fate[DRAIN_MOVED], n_moved);
	assert_int_equal(r.n_by_fate[DRAIN_ASKED], n_asked);
	assert_int_equal(r.n_by_fate[DRAIN_VANISHED], n_known - n_left - n_moved);
	assert_int_equal(r.state == DRAIN_DONE, n_left == 0);
	while (drain_next_remaining(m->d, &cursor, &left)) {
		assert_true(left.host < N_AGENTS && m->agents[left.host].is_known &&
			    !m->agents[left.host].is_elsewhere);
		assert_true(strlen(left.sentence) > 0);
		n_listed++;
	}
	assert_int_equal(n_listed, n_known - n_moved);
}

static void model_step(struct model *m, bool others_accept)
{
	size_t room = (size_t)rng_below(&m->rng, 6), n, n_busy = 0;
	uint64_t hosts[6];

	n = drain_step(m->d, others_accept, at_ms(m->now_ms), hosts, room);
	model_age(m);
	assert_true(n <= room && (others_accept || n == 0));
	for (size_t i = 0; i < n; i++) {
		struct model_agent *a = &m->agents[hosts[i]];

		assert_true(hosts[i] < N_AGENTS && a->is_known && a->is_here && !a->is_asked);
		assert_true(m->now_ms >= a->pause_least);
		a->is_asked = true;
		a->asked_until = m->now_ms + m->rule.move_ms;
		a->pause_least = a->pause_most = 0;
		if (m->n_asked < ARRAY_SIZE(m->asked_at))
			m->asked_at[m->n_asked++] = m->now_ms;
	}
	for (size_t i = 0; i < N_AGENTS; i++)
		n_busy += m->agents[i].is_asked || m->agents[i].has_left;
	/* Who leaves without having been asked doesn't come through here, and who was asked takes its place with it. */
	assert_true(n_busy <= m->rule.window);
}

static void model_disturb(struct model *m)
{
	size_t i = (size_t)rng_below(&m->rng, N_AGENTS);
	struct model_agent *a = &m->agents[i];

	switch (rng_below(&m->rng, 9)) {
	case 0: /* it comes (back) to this server */
		assert_int_equal(drain_add(m->d, i), ERR_OK);
		if (!a->is_here)
			*a = (struct model_agent){.is_known = true, .is_here = true};
		break;
	case 1: /* its link here is gone */
		drain_vanished(m->d, i, at_ms(m->now_ms));
		if (a->is_here) {
			a->has_left = a->is_asked;
			a->left_until = m->now_ms + m->rule.left_ms;
			a->is_here = a->is_asked = false;
		}
		break;
	case 2:
	case 3: /* another server reports it */
		drain_moved(m->d, i, at_ms(m->now_ms));
		if (a->is_known)
			*a = (struct model_agent){.is_known = true, .is_elsewhere = true};
		break;
	case 4:
		drain_refused(m->d, i, ERR_BUSY, i % 2 ? "busy" : NULL, at_ms(m->now_ms), &m->rng);
		if (a->is_asked) {
			a->is_asked = false;
			a->pause_least = m->now_ms + m->rule.retry_min_ms;
			a->pause_most = m->now_ms + m->rule.retry_max_ms;
		}
		break;
	case 5:
		if (rng_below(&m->rng, 5) == 0) {
			drain_forget(m->d, i);
			*a = (struct model_agent){0};
		}
		break;
	default:
		m->now_ms += rng_between(&m->rng, 0, 400);
		model_step(m, rng_below(&m->rng, 8) > 0);
	}
}

/* From here on others accept and everybody who is asked goes: until when is the server empty? */
static void model_settle(struct model *m)
{
	for (int turn = 0; report_at(m->d, m->now_ms).state != DRAIN_DONE; turn++) {
		struct mono due = drain_next_due(m->d, at_ms(m->now_ms));

		assert_true(turn < 2000);
		/* A pause ends with the next step. */
		if (report_at(m->d, m->now_ms).state != DRAIN_PAUSED) {
			assert_false(mono_is_never(due));
			m->now_ms = due.us ? (due.us + 999) / 1000 : m->now_ms;
		}
		model_step(m, true);
		model_check(m);
		for (size_t i = 0; i < N_AGENTS; i++) {
			if (!m->agents[i].is_asked)
				continue;
			drain_moved(m->d, i, at_ms(m->now_ms));
			m->agents[i] = (struct model_agent){.is_known = true, .is_elsewhere = true};
		}
	}
	for (size_t i = 0; i < N_AGENTS; i++)
		assert_false(m->agents[i].is_here);
}

static void the_rate_was_kept(const struct model *m)
{
	/* It saves up a tenth of a second's worth, one at least. */
	int64_t burst = m->rule.per_s / 10 > 1 ? m->rule.per_s / 10 : 1;

	for (size_t j = 0; j < m->n_asked; j++) {
		for (size_t i = j + (size_t)burst; i < m->n_asked; i++)
			assert_true((int64_t)(i - j + 1 - (size_t)burst) * 1000 <=
				    (m->asked_at[i] - m->asked_at[j] + 1) * m->rule.per_s);
	}
}

static void everyone_is_accounted_for(void **state)
{
	struct rng rng = test_rng(__func__);

	for (int round = 0; round < 100; round++) {
		struct model m = {.rng = rng, .rule = rule};

		m.rule.window = 1 + (size_t)rng_below(&rng, 6);
		m.rule.per_s = rng_between(&rng, 1, 60);
		m.rng = rng;
		m.d = drain_new(&m.rule, at_ms(0));
		assert_non_null(m.d);
		for (int step = 0; step < 600; step++) {
			model_disturb(&m);
			model_step(&m, rng_below(&m.rng, 4) > 0);
			model_check(&m);
		}
		model_settle(&m);
		the_rate_was_kept(&m);
		rng = m.rng;
		drain_free(m.d);
	}
}

static void a_hundred_thousand_agents_are_no_problem(void **state)
{
	static const struct drain_rule fast = {.per_s = 5000, .window = 1000};
	CLEAN(drain_freep) struct drain *d = drain_of(&fast, 100000);
	int64_t now = 0;

	while (report_at(d, now).state != DRAIN_DONE) {
		uint64_t hosts[256];
		size_t n = drain_step(d, true, at_ms(now), hosts, ARRAY_SIZE(hosts));

		for (size_t i = 0; i < n; i++)
			drain_moved(d, hosts[i], at_ms(now));
		now += 10;
	}
	assert_in_range(now, 19800, 20200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_there_is_done),
		cmocka_unit_test(they_are_asked_at_the_rate_in_the_order_of_adding),
		cmocka_unit_test(a_slow_cluster_slows_the_drain_down),
		cmocka_unit_test(room_is_a_limit_too),
		cmocka_unit_test(a_pause_asks_nobody_and_loses_nobody),
		cmocka_unit_test(a_refusal_is_listed_and_asked_again),
		cmocka_unit_test(a_long_sentence_is_cut),
		cmocka_unit_test(who_does_nothing_is_asked_again_behind_the_others),
		cmocka_unit_test(gone_is_who_is_up_elsewhere),
		cmocka_unit_test(who_left_and_never_arrived_is_not_waited_for_for_ever),
		cmocka_unit_test(who_comes_back_counts_again),
		cmocka_unit_test(at_the_deadline_nobody_is_asked_any_more),
		cmocka_unit_test(the_deadline_comes_during_a_pause_too),
		cmocka_unit_test(strangers_and_the_deleted_are_ignored),
		cmocka_unit_test(the_estimate_follows_the_last_moves),
		cmocka_unit_test(a_server_that_stops_soon_asks_faster),
		cmocka_unit_test(everything_has_a_name),
		cmocka_unit_test(everyone_is_accounted_for),
		cmocka_unit_test(a_hundred_thousand_agents_are_no_problem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
