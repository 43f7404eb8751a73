/*
 * A new certificate on trial: what an agent does with the old one beside it.
 */
#include "bench.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"
#include "client/agent_file.h"

static struct tls_creds *creds_of(struct bench *b, const char *name, enum cert_role role)
{
	struct cert_info info = {.role = role};

	str_copy(info.common_name, sizeof(info.common_name), name);
	return fake_creds_with(b->f, &info);
}

static struct tls_creds *creds_named(struct bench *b, const char *name)
{
	return creds_of(b, name, CERT_ROLE_AGENT);
}

/* Up on M1 with the certificate "old"; the list is M1, M2. With one of muster's only muster's servers are taken. */
static struct tls_creds *up_on(struct bench *b, enum fake_kind kind)
{
	enum cert_role role = kind == FAKE_MUSTER ? CERT_ROLE_AGENT : CERT_ROLE_NONE;

	bench_setup(b, M1 "," M2, NULL);
	tls_creds_unref(b->creds);
	b->creds = creds_of(b, "old", role);
	b->params.creds = b->creds;
	bench_remake(b);
	b->m1 = fake_server_new(b->f, M1, kind);
	b->m2 = fake_server_new(b->f, M2, kind);
	bench_start(b);
	bench_run(b, 100);
	assert_int_equal(bench_look(b).state, AGENT_UP);
	return creds_of(b, "new", role);
}

static struct tls_creds *up_with_old(struct bench *b)
{
	return up_on(b, FAKE_MUSTER);
}

static const char *shown(const struct fake_server *s)
{
	return s->link ? link_peer(s->link)->cert.common_name : "";
}

static void dislike(struct bench *b, const char *name, enum fake_dislike how)
{
	b->m1->dislikes = b->m2->dislikes = name;
	b->m1->how = b->m2->how = how;
}

/* A restart with both on disk: the new one is tried, by itself, as before. */
static void restart_with_both(struct bench *b, struct tls_creds *fresh)
{
	b->params.creds = fresh;
	b->params.old_creds = b->creds;
	fake_server_hang_up(b->m1);
	bench_remake(b);
	b->n_judged = 0;
	assert_int_equal(bench_look(b).trial, CERT_TRIAL_NEW);
	bench_start(b);
}

/* ---- with a link ---- */

static void a_certificate_that_is_taken_ends_the_trial(void **state)
{
	struct bench b;
	struct tls_creds *fresh = up_with_old(&b);

	assert_int_equal(agent_try_creds(b.agent, fresh), ERR_OK);
	assert_int_equal(bench_look(&b).trial, CERT_TRIAL_NEW);
	bench_run(&b, 5000);
	assert_int_equal(b.n_judged, 1);
	assert_true(b.new_stays);
	assert_int_equal(bench_look(&b).trial, CERT_TRIAL_NONE);
	assert_int_equal(b.m1->n_links, 2);
	assert_int_equal(b.m1->n_open, 1);
	assert_string_equal(shown(b.m1), "new");
	tls_creds_unref(fresh);
	bench_teardown(&b);
}

static void a_certificate_that_is_not_taken_costs_no_link(void **state)
{
	static const struct {
		const char *what;
		enum fake_dislike how;
		int64_t within_ms;
		unsigned tries;
	} rows[] = {
		{"refused by name: at once", FAKE_REFUSES, 100, 1},
		{"broken off in the handshake: the third time", FAKE_BREAKS, 120000, 3},
		{"dropped after it: the third time", FAKE_DROPS, 120000, 3},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;
		struct tls_creds *fresh = up_with_old(&b);
		size_t before;

		dislike(&b, "new", rows[i].how);
		fake_dials_clear(b.f);
		assert_int_equal(agent_try_creds(b.agent, fresh), ERR_OK);
		bench_run(&b, rows[i].within_ms);
		check_row(&rows[i], b.n_judged == 1 && !b.new_stays && b.judged_sentence[0]);
		check_row(&rows[i], fake_dials(b.f)->n == rows[i].tries);
		check_row(&rows[i], bench_look(&b).state == AGENT_UP);
		check_row(&rows[i], b.m1->n_open == 1 && str_equal(shown(b.m1), "old"));
		/* And nothing of it is tried again by itself; what comes next uses the old one. */
		before = fake_server_count(b.m1, MSG_STARTUP_ROUTING);
		bench_run(&b, 3600000);
		check_row(&rows[i], fake_server_count(b.m1, MSG_STARTUP_ROUTING) == before && b.n_judged == 1);
		fake_server_hang_up(b.m1);
		bench_run(&b, 5000);
		check_row(&rows[i], bench_look(&b).state == AGENT_UP && b.n_stopped == 0);
		/* The next renewal is tried as if nothing had been. */
		dislike(&b, NULL, FAKE_REFUSES);
		assert_int_equal(agent_try_creds(b.agent, fresh), ERR_OK);
		bench_run(&b, 20000);
		check_row(&rows[i], b.n_judged == 2 && b.new_stays);
		tls_creds_unref(fresh);
		bench_teardown(&b);
	}
}

/*
 * Overrun servers, proxies and restarts close connections before anybody has seen the new certificate: nothing of that
 * is held against it, however often.
 */
static void what_closes_before_it_was_shown_says_nothing(void **state)
{
	static const struct {
		const char *what;
		enum fake_kind kind;
		bool has_link;
	} rows[] = {
		{"beside a link", FAKE_MUSTER, true},
		{"beside a link, to CloudStack's servers", FAKE_CLOUDSTACK, true},
		{"without a link", FAKE_MUSTER, false},
		{"without a link, from CloudStack's servers", FAKE_CLOUDSTACK, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;
		struct tls_creds *fresh = up_on(&b, rows[i].kind);

		b.m1->kind = b.m2->kind = FAKE_CLOSES;
		fake_dials_clear(b.f);
		if (rows[i].has_link)
			assert_int_equal(agent_try_creds(b.agent, fresh), ERR_OK);
		else
			restart_with_both(&b, fresh);
		bench_run(&b, 86400000);
		check_row(&rows[i], fake_dials(b.f)->n > 10);
		check_row(&rows[i], b.n_judged == 0 && bench_look(&b).trial == CERT_TRIAL_NEW);
		check_row(&rows[i], (bench_look(&b).state == AGENT_UP) == rows[i].has_link);
		b.m1->kind = b.m2->kind = rows[i].kind;
		bench_run(&b, 3600000);
		check_row(&rows[i], b.n_judged == 1 && b.new_stays);
		check_row(&rows[i], str_equal(shown(b.m1->link ? b.m1 : b.m2), "new"));
		tls_creds_unref(fresh);
		bench_teardown(&b);
	}
}

/* CloudStack's servers judge it inside the handshake, and close; that counts, and only what came after it was shown. */
static void a_close_inside_the_handshake_counts_once_it_was_shown(void **state)
{
	struct bench b;
	struct tls_creds *fresh = up_on(&b, FAKE_CLOUDSTACK);

	b.m1->kind = b.m2->kind = FAKE_CLOSES;
	dislike(&b, "new", FAKE_BREAKS);
	restart_with_both(&b, fresh);
	bench_run(&b, 600000);
	assert_int_equal(b.n_judged, 0);
	assert_int_equal(bench_look(&b).trial, CERT_TRIAL_NEW);
	b.m1->kind = b.m2->kind = FAKE_CLOUDSTACK;
	bench_run(&b, 300000);
	assert_int_equal(b.n_judged, 1);
	assert_false(b.new_stays);
	assert_string_equal(shown(b.m1->link ? b.m1 : b.m2), "old");
	tls_creds_unref(fresh);
	bench_teardown(&b);
}

/* A server that can't be reached now says nothing: the link stays, the way to the new one is tried until it works. */
static void a_renewal_without_a_way_is_tried_again(void **state)
{
	struct bench b;
	struct tls_creds *fresh = up_with_old(&b);

	b.m1->kind = FAKE_MUTE;
	assert_int_equal(agent_try_creds(b.agent, fresh), ERR_OK);
	bench_run(&b, 600000);
	assert_int_equal(b.n_judged, 0);
	assert_int_equal(bench_look(&b).trial, CERT_TRIAL_NEW);
	assert_string_equal(bench_connected(&b), M1);
	b.m1->kind = FAKE_MUSTER;
	bench_run(&b, 900000);
	assert_int_equal(b.n_judged, 1);
	assert_true(b.new_stays);
	assert_string_equal(shown(b.m1), "new");
	tls_creds_unref(fresh);
	bench_teardown(&b);
}

/* A second one comes before the first was used: what is gone back to is the one that has worked. */
static void another_one_takes_the_place_of_one_on_trial(void **state)
{
	struct bench b;
	struct tls_creds *first = up_with_old(&b);
	struct tls_creds *second = creds_named(&b, "second");

	b.m1->kind = FAKE_MUTE;
	assert_int_equal(agent_try_creds(b.agent, first), ERR_OK);
	bench_run(&b, 1000);
	assert_int_equal(agent_try_creds(b.agent, second), ERR_OK);
	b.m1->kind = FAKE_MUSTER;
	dislike(&b, "second", FAKE_REFUSES);
	bench_run(&b, 60000);
	assert_int_equal(b.n_judged, 1);
	assert_false(b.new_stays);
	fake_server_hang_up(b.m1);
	bench_run(&b, 5000);
	assert_string_equal(bench_connected(&b), M1);
	assert_string_equal(shown(b.m1), "old");
	tls_creds_unref(first);
	tls_creds_unref(second);
	bench_teardown(&b);
}

/* A drain asks the agent to go while the renewal is under way: it goes, and the link there proves the new one. */
static void a_move_meanwhile_uses_the_new_one(void **state)
{
	static const struct {
		const char *what;
		bool is_taken;
	} rows[] = {{"it is taken there", true}, {"it is refused there: the agent goes with the old one", false}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;
		struct tls_creds *fresh = up_with_old(&b);

		b.m1->kind = FAKE_MUTE;
		if (!rows[i].is_taken)
			dislike(&b, "new", FAKE_REFUSES);
		assert_int_equal(agent_try_creds(b.agent, fresh), ERR_OK);
		bench_run(&b, 100);
		b.m1->kind = FAKE_MUSTER;
		bench_migrate(b.m1, M1);
		bench_run(&b, 30000);
		check_row(&rows[i], str_equal(bench_connected(&b), M2) || !rows[i].is_taken);
		check_row(&rows[i], b.n_judged == 1 && b.new_stays == rows[i].is_taken);
		check_row(&rows[i], bench_look(&b).state == AGENT_UP && b.n_stopped == 0);
		tls_creds_unref(fresh);
		bench_teardown(&b);
	}
}

/* ---- without a link ---- */

static void a_restarted_agent_tries_the_new_one_first(void **state)
{
	static const struct {
		const char *what;
		const char *dislikes;
		enum fake_dislike how;
		bool new_stays;
	} rows[] = {
		{"it is taken", NULL, FAKE_REFUSES, true},
		{"it is refused by name", "new", FAKE_REFUSES, false},
		{"it is broken off", "new", FAKE_BREAKS, false},
		{"it is dropped", "new", FAKE_DROPS, false},
		{"the old one would be refused, which nobody asks", "old", FAKE_REFUSES, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;
		struct tls_creds *fresh = up_with_old(&b);

		dislike(&b, rows[i].dislikes, rows[i].how);
		restart_with_both(&b, fresh);
		bench_run(&b, 10000);
		check_row(&rows[i], b.n_judged == 1 && b.new_stays == rows[i].new_stays && b.n_stopped == 0);
		check_row(&rows[i], bench_look(&b).state == AGENT_UP);
		check_row(&rows[i], str_equal(shown(b.m1->link ? b.m1 : b.m2), rows[i].new_stays ? "new" : "old"));
		tls_creds_unref(fresh);
		bench_teardown(&b);
	}
}

static void servers_that_are_away_say_nothing(void **state)
{
	struct bench b;
	struct tls_creds *fresh = up_with_old(&b);

	fake_server_stop(b.m1);
	fake_server_stop(b.m2);
	restart_with_both(&b, fresh);
	bench_run(&b, 600000);
	assert_int_equal(bench_look(&b).trial, CERT_TRIAL_NEW);
	assert_int_equal(b.n_judged, 0);
	/* One is there and breaks off, the other is away: that is a round. */
	dislike(&b, "new", FAKE_BREAKS);
	fake_server_start(b.m2);
	bench_run(&b, 120000);
	assert_int_equal(b.n_judged, 1);
	assert_false(b.new_stays);
	assert_string_equal(bench_connected(&b), M2);
	tls_creds_unref(fresh);
	bench_teardown(&b);
}

static void both_refused_is_the_end(void **state)
{
	struct bench b;
	struct tls_creds *fresh = up_with_old(&b);

	b.m1->refuses = b.m2->refuses = true;
	b.m1->says = b.m2->says = "the host is for another certificate";
	restart_with_both(&b, fresh);
	bench_run(&b, 20000);
	assert_int_equal(b.n_stopped, 1);
	assert_int_equal(b.stop_error, ERR_REFUSED);
	assert_string_equal(b.stop_sentence, "the host is for another certificate");
	assert_int_equal(b.n_judged, 0);
	tls_creds_unref(fresh);
	bench_teardown(&b);
}

/* Servers that break everybody off for a day: few changes, no hail of dials, and the first that works settles it. */
static void there_is_no_flapping(void **state)
{
	struct bench b;
	struct tls_creds *fresh = up_with_old(&b);
	size_t dials;

	b.m1->kind = b.m2->kind = FAKE_STRANGER;
	restart_with_both(&b, fresh);
	fake_dials_clear(b.f);
	bench_run(&b, 86400000);
	dials = fake_dials(b.f)->n;
	/* Two servers, each every 15 s on average of its back-off, as muster and often as CloudStack, and a few turns.
	 */
	assert_in_range(dials, 100, 2 * 2 * 86400 / 15);
	assert_int_equal(b.n_judged, 0);
	b.m1->kind = b.m2->kind = FAKE_MUSTER;
	bench_run(&b, 120000);
	assert_int_equal(b.n_judged, 1);
	assert_int_equal(bench_look(&b).state, AGENT_UP);
	tls_creds_unref(fresh);
	bench_teardown(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_certificate_that_is_taken_ends_the_trial),
		cmocka_unit_test(a_certificate_that_is_not_taken_costs_no_link),
		cmocka_unit_test(what_closes_before_it_was_shown_says_nothing),
		cmocka_unit_test(a_close_inside_the_handshake_counts_once_it_was_shown),
		cmocka_unit_test(a_renewal_without_a_way_is_tried_again),
		cmocka_unit_test(another_one_takes_the_place_of_one_on_trial),
		cmocka_unit_test(a_move_meanwhile_uses_the_new_one),
		cmocka_unit_test(a_restarted_agent_tries_the_new_one_first),
		cmocka_unit_test(servers_that_are_away_say_nothing),
		cmocka_unit_test(both_refused_is_the_end),
		cmocka_unit_test(there_is_no_flapping),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
