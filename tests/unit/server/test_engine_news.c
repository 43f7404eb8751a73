/*
 * What agents are told without asking (heartbeats, how many they are, how their preferred server is), what servers tell
 * each other, and whose silence is noticed when.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "engine_bench.h"
#include "server/api.h"

static const struct agent_script h1 = {
	.guid = "h1", .ip = "10.1.0.1", .identity = ID_URI, .is_muster = true, .boot = "b1"};
static const struct agent_script java = {.guid = "java", .ip = "10.1.0.9", .identity = ID_SAN};

static struct session *session_at(struct node *n, const char *guid)
{
	struct host *h = host_of(n, guid);

	return h ? h->session : NULL;
}

static const struct msg_news *news_of(const struct script *a, size_t n)
{
	const struct fake_message *m = script_got(a, MSG_NEWS, n);

	return m ? m->batch.elements[0].fields : NULL;
}

/* The newest news that say something of the preferred server. */
static const struct msg_news *word_of(const struct script *a)
{
	const struct msg_news *word = NULL;

	for (size_t i = 0; i < script_count(a, MSG_NEWS); i++)
		if (news_of(a, i)->preferred)
			word = news_of(a, i);
	return word;
}

static void cluster_up(struct engine_bench *e)
{
	engine_up(e);
	node_add(e, &e->b, B_IP);
	engine_config(e, "host", A_IP "," B_IP);
	engine_run(e, 1500);
}

/* ---- the interval of heartbeats ---- */

static void more_links_make_longer_intervals(void **state)
{
	struct engine_bench e;
	struct script *a, *j;
	const struct msg_ready *ready;

	engine_up(&e);
	assert_int_equal(e.a.server->heartbeat_ms, 1000);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	j = script_new(&e, &java);
	script_dial(j, &e.a);
	engine_run(&e, 500);
	ready = script_got(a, MSG_READY, 0)->batch.elements[0].fields;
	assert_int_equal(ready->musterHeartbeatMs.value, 1000);
	assert_int_equal(script_count(a, MSG_NEWS), 0); /* there is nothing that it doesn't know */

	/* As if there were more; each tick counts them. */
	e.a.server->n_sessions += 8000;
	engine_run(&e, 1100);
	e.a.server->n_sessions -= 8000;
	assert_int_equal(script_count(a, MSG_NEWS), 1);
	assert_int_equal(news_of(a, 0)->heartbeatMs.value, 3000);
	assert_false(news_of(a, 0)->agents.has);
	assert_null(news_of(a, 0)->preferred);
	assert_true(script_got(a, MSG_NEWS, 0)->header.flags == (FLAG_REQUEST | FLAG_FROM_SERVER));
	assert_int_equal(session_at(&e.a, "h1")->heartbeat_ms, 3000);
	/* Back again, and told again. */
	engine_run(&e, 1100);
	assert_int_equal(script_count(a, MSG_NEWS), 2);
	assert_int_equal(news_of(a, 1)->heartbeatMs.value, 1000);
	/* CloudStack's agents know no such class. */
	assert_int_equal(script_count(j, MSG_NEWS), 0);
	engine_down(&e);
}

/* Who sends at the old pace until it hears of the new one is not silent meanwhile. */
static void nobody_is_suspected_for_a_change_of_the_interval(void **state)
{
	struct engine_bench e;
	struct script *a;
	struct mono last;
	int64_t longest = 0;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	e.a.server->n_sessions += 20000;
	engine_run(&e, 1100);
	assert_int_equal(session_at(&e.a, "h1")->heartbeat_ms, 7500);
	link_set_heartbeat(a->link, 7500);
	engine_run(&e, 20000);
	/* Shorter again: the server sends at the new pace at once, the agent does so only when it pleases to. */
	e.a.server->n_sessions -= 20000;
	last = link_heard(a->link);
	for (int i = 0; i < 7000; i += 100) {
		engine_run(&e, 100);
		assert_false(session_at(&e.a, "h1")->is_suspect);
		if (mono_before(last, link_heard(a->link))) {
			if (i > 2000 && mono_ms_between(last, link_heard(a->link)) > longest)
				longest = mono_ms_between(last, link_heard(a->link));
			last = link_heard(a->link);
		}
	}
	assert_int_equal(session_at(&e.a, "h1")->heartbeat_ms, 1000);
	assert_in_range(longest, 1, 1100);
	link_set_heartbeat(a->link, 1000);
	engine_run(&e, 10000);
	assert_false(session_at(&e.a, "h1")->is_suspect);
	engine_down(&e);
}

/* ---- how many agents there are ---- */

static void how_many_there_are_is_told_when_it_matters(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		int64_t more;
		int64_t seconds;
		size_t n_news; /* in this step */
		int64_t agents; /* in the last of them */
	} steps[] = {
		{ "a hundred are few: nobody waits for them", 99, 12, 0, 0 },
		{ "more than a hundred", 149, 12, 1, 150 },
		{ "a fifth more is not worth telling", 179, 12, 0, 0 },
		{ "more than that is", 180, 12, 1, 181 },
		{ "fewer too", 139, 12, 1, 140 },
		{ "down to what is few: told, or they would wait for nothing", 99, 12, 1, 100 },
		{ "a crowd", 999, 2, 1, 1000 },
		{ "nothing is told twice in 10 s", 4999, 7, 0, 0 },
		{ "but then", 4999, 4, 1, 5000 },
	};
	/* clang-format on */
	struct engine_bench e;
	struct script *a;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		script_forget(a);
		e.a.server->n_in_state[SESSION_READY] += (size_t)steps[i].more;
		engine_run(&e, steps[i].seconds * 1000);
		e.a.server->n_in_state[SESSION_READY] -= (size_t)steps[i].more;
		check_row(&steps[i], script_count(a, MSG_NEWS) == steps[i].n_news &&
					     (!steps[i].n_news ||
					      news_of(a, steps[i].n_news - 1)->agents.value == steps[i].agents));
	}
	engine_down(&e);
}

static void who_comes_later_is_told_what_the_others_know(void **state)
{
	struct engine_bench e;
	struct script *a;

	engine_up(&e);
	e.a.server->n_in_state[SESSION_READY] += 500;
	engine_run(&e, 1100);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	assert_int_equal(script_count(a, MSG_NEWS), 1);
	assert_int_equal(news_of(a, 0)->agents.value, 500);
	e.a.server->n_in_state[SESSION_READY] -= 500;
	engine_down(&e);
}

/* ---- the word on the preferred server ---- */

static void the_preferred_server_is_spoken_of_where_it_is_another_one(void **state)
{
	static const struct {
		const char *what, *host, *preferred;
	} rows[] = {
		{"another server", B_IP "," A_IP, B_IP},
		{"in the spelling of the list", B_IP ":8250," A_IP, B_IP ":8250"},
		{"this server itself: it would be on it", A_IP "," B_IP, NULL},
		{"nobody knows that one", "10.0.0.77," A_IP, NULL},
	};
	struct engine_bench e;
	struct script *a;
	const struct msg_news *word;

	cluster_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		script_forget(a);
		engine_config(&e, "host", rows[i].host);
		engine_run(&e, 1000);
		word = word_of(a);
		check_row(&rows[i],
			  rows[i].preferred ? word && str_equal(word->preferred, rows[i].preferred) : word == NULL);
		if (word) {
			assert_string_equal(word->preferredState, "Up");
			assert_true(word->preferredAccepting.value);
		}
	}
	engine_down(&e);
}

/* For agents that are further behind: a message for each server that stands before this one in the list. */
static void all_before_this_one_are_spoken_of(void **state)
{
	static const struct {
		const char *what, *host;
		const char *words[2]; /* entries, in their order; NULL: none */
	} rows[] = {
		{"two before it", B_IP "," C_IP "," A_IP, {B_IP, C_IP}},
		{"one before, one behind", C_IP "," A_IP "," B_IP, {C_IP, NULL}},
		{"one that nobody knows between them", B_IP ",10.0.0.77," C_IP "," A_IP, {B_IP, C_IP}},
		{"it is the first", A_IP "," B_IP "," C_IP, {NULL, NULL}},
		{"it is not in the list", B_IP "," C_IP, {B_IP, C_IP}},
	};
	struct engine_bench e;
	struct node c;
	struct script *a;

	cluster_up(&e);
	node_add(&e, &c, C_IP);
	engine_run(&e, 5000);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		size_t n_words = 0;

		script_forget(a);
		engine_config(&e, "host", rows[i].host);
		engine_run(&e, 1000);
		for (size_t j = 0; j < script_count(a, MSG_NEWS); j++) {
			if (!news_of(a, j)->preferred)
				continue;
			check_row(&rows[i], n_words < 2 && str_equal(news_of(a, j)->preferred, rows[i].words[n_words]));
			n_words++;
		}
		check_row(&rows[i], n_words == 2 || !rows[i].words[n_words]);
	}
	/* The second one ceases to take agents: told at once, and nothing again while nothing changes. */
	script_forget(a);
	c.server->running = false;
	peer_status_changed(c.server);
	engine_run(&e, 1100);
	assert_string_equal(word_of(a)->preferred, C_IP);
	assert_false(word_of(a)->preferredAccepting.value);
	c.server->running = true;
	engine_run(&e, 2000);
	assert_true(word_of(a)->preferredAccepting.value);
	script_forget(a);
	engine_run(&e, 20000);
	assert_int_equal(script_count(a, MSG_NEWS), 0);
	node_kill(&c);
	engine_down(&e);
}

static void the_word_comes_with_ready_and_whenever_it_changes(void **state)
{
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	engine_config(&e, "host", B_IP "," A_IP);
	engine_run(&e, 20000);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	assert_non_null(word_of(a));
	/* Since it takes agents, by its own word: about 22 s. */
	assert_in_range(word_of(a)->preferredUptimeMs.value, 21000, 23000);

	/* Its uptime grows by itself: no news. */
	script_forget(a);
	engine_run(&e, 30000);
	assert_int_equal(script_count(a, MSG_NEWS), 0);

	/* It ceases to take agents, and says so at once. */
	e.b.server->running = false;
	peer_status_changed(e.b.server);
	engine_run(&e, 100);
	assert_non_null(word_of(a));
	assert_false(word_of(a)->preferredAccepting.value);
	assert_string_equal(word_of(a)->preferredState, "Up");
	e.b.server->running = true;
	engine_run(&e, 2000);
	assert_true(word_of(a)->preferredAccepting.value);

	/* It dies. */
	script_forget(a);
	node_kill(&e.b);
	engine_run(&e, 8000);
	assert_non_null(word_of(a));
	assert_string_equal(word_of(a)->preferredState, "Down");
	assert_false(word_of(a)->preferredAccepting.value);

	/* It is back, and young. */
	script_forget(a);
	node_add(&e, &e.b, B_IP);
	engine_run(&e, 3000);
	assert_string_equal(word_of(a)->preferredState, "Up");
	assert_true(word_of(a)->preferredAccepting.value);
	assert_in_range(word_of(a)->preferredUptimeMs.value, 0, 3200);
	engine_down(&e);
}

/* A restart that is over before anybody has missed it. */
static void a_quick_restart_makes_it_young_again(void **state)
{
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	engine_config(&e, "host", B_IP "," A_IP);
	engine_run(&e, 20000);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	assert_in_range(word_of(a)->preferredUptimeMs.value, 20000, 24000);
	script_forget(a);
	node_kill(&e.b);
	engine_run(&e, 300);
	node_add(&e, &e.b, B_IP);
	engine_run(&e, 3000);
	assert_non_null(word_of(a));
	assert_in_range(word_of(a)->preferredUptimeMs.value, 0, 3500);
	engine_down(&e);
}

/* Without a link between the servers the store has to do: the state, and since when we have known it. */
static void without_a_peers_own_word_the_store_has_to_do(void **state)
{
	struct engine_bench e;
	struct member_server *b;
	struct script *a;

	cluster_up(&e);
	engine_config(&e, "host", B_IP "," A_IP);
	engine_run(&e, 10000);
	b = roster_server(e.a.server, server_msid(e.b.server));
	assert_true(b->status.is_known);
	assert_int_equal(b->status.agents, 0);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	e.b.server->running = false; /* from here on it says that it takes nobody */
	engine_run(&e, 1500);
	assert_false(word_of(a)->preferredAccepting.value);
	/* What it has said is too old to be believed. */
	peer_stop(e.b.server);
	b->peer = peer_free(b->peer);
	engine_run(&e, 2000);
	assert_true(word_of(a)->preferredAccepting.value);
	assert_in_range(word_of(a)->preferredUptimeMs.value, 9000, 16000);
	e.b.server->running = true;
	engine_down(&e);
}

#define N_CROWD 150

static size_t n_told_of(const struct node *n, int64_t heartbeat_ms)
{
	size_t told = 0;

	list_for (x, &n->server->sessions, struct session, in_sessions)
		told += x->heartbeat_ms == heartbeat_ms;
	return told;
}

static void everybody_is_told_a_slice_a_turn(void **state)
{
	struct engine_bench e;
	struct script *agents[N_CROWD];
	static char guids[N_CROWD][8];
	size_t n_told = 0, most_a_turn = 0, before;

	engine_up(&e);
	for (size_t i = 0; i < ARRAY_SIZE(agents); i++) {
		struct agent_script as = h1;

		snprintf(guids[i], sizeof(guids[i]), "g%zu", i);
		as.guid = guids[i];
		agents[i] = script_new(&e, &as);
		script_dial(agents[i], &e.a);
		engine_run(&e, 20);
	}
	engine_run(&e, 12000);
	e.a.server->n_sessions += 8000;
	news_tick(e.a.server);
	while (n_told < ARRAY_SIZE(agents)) {
		if (!fake_world_step(e.f))
			engine_run(&e, 1);
		before = n_told;
		n_told = n_told_of(&e.a, 3000);
		if (n_told - before > most_a_turn)
			most_a_turn = n_told - before;
	}
	assert_in_range(most_a_turn, 1, 100);
	e.a.server->n_sessions -= 8000;
	engine_down(&e);
}

/* Who does not read is passed over and looked at again for himself; the others are not walked for him. */
static void who_does_not_read_is_told_later_and_costs_the_others_nothing(void **state)
{
	struct agent_script other = h1;
	struct engine_bench e;
	struct script *a, *b;
	struct session *x;
	struct mono began;
	struct rng rng;
	size_t n = 600000;
	char *much = mem_zalloc(n + 1);

	/* An empty batch that can't be packed small. */
	rng_init(&rng, 1);
	for (size_t i = 0; i < n; i++)
		much[i] = " \t\n\r"[rng_below(&rng, 4)];
	much[0] = '[';
	much[n - 1] = ']';
	other.guid = "h2";
	other.ip = "10.1.0.2";
	engine_up(&e);
	a = script_new(&e, &h1);
	b = script_new(&e, &other);
	script_dial(a, &e.a);
	script_dial(b, &e.a);
	engine_run(&e, 2000);
	x = host_of(&e.a, "h1")->session;
	fake_cut(e.f, h1.ip, true);
	assert_int_equal(link_send(x->link, &(struct header){.flags = FLAG_REQUEST | FLAG_FROM_SERVER}, much, n),
			 ERR_OK);
	assert_true(link_queued(x->link) > 65536);
	mem_free(much);
	e.a.server->n_sessions += 8000;
	engine_run(&e, 1500);
	assert_int_equal(script_count(a, MSG_NEWS), 0);
	assert_int_equal(script_count(b, MSG_NEWS), 1);
	began = e.a.server->news_began;
	engine_run(&e, 2500);
	assert_int_equal(mono_ms_between(began, e.a.server->news_began), 0);
	fake_cut(e.f, h1.ip, false);
	engine_run(&e, 1500);
	assert_int_equal(script_count(a, MSG_NEWS), 1);
	assert_int_equal(script_count(b, MSG_NEWS), 1);
	assert_false(x->news_missed);
	e.a.server->n_sessions -= 8000;
	engine_down(&e);
}

/* ---- silence ---- */

static const char *link_shown(struct node *n, const char *guid)
{
	struct host_view v;

	host_view_make(&v, n->server, &host_of(n, guid)->row);
	return v.link;
}

static void a_silent_agent_is_suspect_before_it_is_gone(void **state)
{
	struct engine_bench e;
	struct server_view v;
	struct script *a, *j;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	j = script_new(&e, &java);
	script_dial(j, &e.a);
	engine_run(&e, 3000);
	/* From one moment to the next nothing comes through any more: noticed within 3 to 6 s. */
	fake_cut(e.f, h1.ip, true);
	engine_run(&e, 1400);
	assert_false(session_at(&e.a, "h1")->is_suspect);
	assert_string_equal(link_shown(&e.a, "h1"), "up");
	engine_run(&e, 2200);
	assert_true(session_at(&e.a, "h1")->is_suspect);
	assert_false(session_at(&e.a, "java")->is_suspect); /* it sends no heartbeats */
	server_look(e.a.server, &v);
	assert_int_equal(v.suspect, 1);
	assert_string_equal(link_shown(&e.a, "h1"), "suspect");
	assert_int_equal(v.up, 2);
	/* It was the network, for a moment. */
	fake_cut(e.f, h1.ip, false);
	engine_run(&e, 1500);
	assert_false(session_at(&e.a, "h1")->is_suspect);
	/* For good. */
	fake_cut(e.f, h1.ip, true);
	engine_run(&e, 8500);
	assert_true(session_at(&e.a, "h1")->is_suspect);
	engine_run(&e, 3500);
	assert_null(session_at(&e.a, "h1"));
	assert_string_equal(link_shown(&e.a, "h1"), "reconnecting");
	engine_run(&e, 20000);
	assert_null(link_shown(&e.a, "h1"));
	fake_cut(e.f, h1.ip, false);
	engine_down(&e);
}

static void our_own_pause_makes_nobody_suspect(void **state)
{
	static const struct {
		const char *what;
		int64_t ms;
	} rows[] = {
		{"too short to be seen", 1200},
		{"two heartbeats were missed", 2300},
		{"longer than anybody may be silent", 4500},
		{"as long as a suspended machine", 60000},
	};
	struct engine_bench e;
	struct script *a;

	engine_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 3000);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		fake_world_sleep(e.f, rows[i].ms);
		for (int k = 0; k < 40; k++) {
			engine_run(&e, 100);
			check_row(&rows[i], session_at(&e.a, "h1") && !session_at(&e.a, "h1")->is_suspect);
		}
	}
	/* But who is silent from then on is. */
	fake_cut(e.f, h1.ip, true);
	fake_world_sleep(e.f, 2300);
	engine_run(&e, 4000);
	assert_true(session_at(&e.a, "h1")->is_suspect);
	fake_cut(e.f, h1.ip, false);
	engine_down(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(more_links_make_longer_intervals),
		cmocka_unit_test(nobody_is_suspected_for_a_change_of_the_interval),
		cmocka_unit_test(how_many_there_are_is_told_when_it_matters),
		cmocka_unit_test(who_comes_later_is_told_what_the_others_know),
		cmocka_unit_test(the_preferred_server_is_spoken_of_where_it_is_another_one),
		cmocka_unit_test(all_before_this_one_are_spoken_of),
		cmocka_unit_test(the_word_comes_with_ready_and_whenever_it_changes),
		cmocka_unit_test(a_quick_restart_makes_it_young_again),
		cmocka_unit_test(without_a_peers_own_word_the_store_has_to_do),
		cmocka_unit_test(everybody_is_told_a_slice_a_turn),
		cmocka_unit_test(who_does_not_read_is_told_later_and_costs_the_others_nothing),
		cmocka_unit_test(a_silent_agent_is_suspect_before_it_is_gone),
		cmocka_unit_test(our_own_pause_makes_nobody_suspect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
