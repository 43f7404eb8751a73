/* Storms and strangers: what the gates and limits of docs/failover.md ("Admission") do in a server. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "engine_bench.h"

static struct server_view look(struct node *n)
{
	struct server_view v;

	server_look(n->server, &v);
	return v;
}

/* ---- those that say little ---- */

struct stranger {
	struct engine_bench *bench;
	struct stream *stream; /* NULL: gone */
	bool connected;
};

static void stranger_connected(void *user)
{
	((struct stranger *)user)->connected = true;
}

static void stranger_data(void *user, const uint8_t *p, size_t n)
{
}

static void stranger_ended(void *user, enum err why, const char *sentence)
{
	((struct stranger *)user)->stream = NULL;
}

static const struct stream_events stranger_events = {
	.connected = stranger_connected, .data = stranger_data, .ended = stranger_ended};

static void stranger_come(struct stranger *s, struct engine_bench *e, const char *ip)
{
	*s = (struct stranger){.bench = e};
	assert_int_equal(stream_connect(e->world, &s->stream, A_IP, FAKE_PORT, ip, &stranger_events, s, NULL), ERR_OK);
	engine_run(e, 5);
	assert_true(s->connected);
}

/* In the fake TLS any byte is a whole hello, and one byte is not enough to go on. */
static void stranger_hello(struct stranger *s)
{
	assert_int_equal(stream_write(s->stream, "h", 1), ERR_OK);
	engine_run(s->bench, 5);
}

static void strangers_go(struct stranger *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		stream_close(s[i].stream);
		s[i].stream = NULL;
	}
}

static struct script *agent_new(struct engine_bench *e, char *guid, size_t size, size_t number, const char *ip)
{
	struct agent_script as = {.guid = guid,
				  .ip = ip,
				  .identity = ID_URI,
				  .is_muster = true,
				  .boot = "b1",
				  .list = "10.0.0.1,10.0.0.2"};

	snprintf(guid, size, "g%zu", number);
	return script_new(e, &as);
}

/* ---- gate 1 ---- */

static void only_so_many_handshakes_at_a_time(struct server *s, unsigned n)
{
	struct admission_rule rule = admission_rule_default;

	rule.start = rule.least = rule.most = n;
	admission_init(&s->gate.bound, &rule);
}

static void handshakes_wait_and_addresses_take_turns(void **state)
{
	struct engine_bench e;
	struct stranger blocker;
	struct script *crowd[6], *other;
	char guids[7][8];
	int place = 0, others_place = -1;
	size_t ready = 0;

	engine_up(&e);
	only_so_many_handshakes_at_a_time(e.a.server, 1);
	/* The one place is taken for half a second. */
	stranger_come(&blocker, &e, "10.9.0.1");
	stranger_hello(&blocker);
	assert_int_equal(look(&e.a).handshakes, 1);
	for (size_t i = 0; i < ARRAY_SIZE(crowd); i++) {
		crowd[i] = agent_new(&e, guids[i], sizeof(guids[i]), i, "10.1.0.1");
		script_dial(crowd[i], &e.a);
		engine_run(&e, 5);
	}
	other = agent_new(&e, guids[6], sizeof(guids[6]), 6, "10.1.0.2");
	script_dial(other, &e.a);
	engine_run(&e, 50);
	assert_int_equal(look(&e.a).handshakes_waiting, 7);
	assert_int_equal(look(&e.a).sessions, 0);

	for (int ms = 0; ms < 1000 && ready < 7; ms++) {
		size_t is = look(&e.a).sessions;

		engine_run(&e, 1);
		if (is == ready)
			continue;
		ready = is;
		place++;
		if (others_place < 0 && host_of(&e.a, "g6"))
			others_place = place;
	}
	engine_run(&e, 300);
	assert_int_equal(look(&e.a).up, 7);
	assert_in_range(others_place, 1, 3); /* behind the first of the others, not behind all of them */
	assert_int_equal(look(&e.a).handshakes_waiting, 0);
	assert_int_equal(look(&e.a).handshakes, 0);
	strangers_go(&blocker, 1);
	engine_down(&e);
}

static void who_stops_in_the_middle_takes_no_place(void **state)
{
	struct engine_bench e;
	struct stranger slow[5];
	struct script *a;
	char guid[8];

	engine_up(&e);
	only_so_many_handshakes_at_a_time(e.a.server, 1);
	for (size_t i = 0; i < ARRAY_SIZE(slow); i++) {
		stranger_come(&slow[i], &e, "10.9.0.1");
		stranger_hello(&slow[i]);
	}
	a = agent_new(&e, guid, sizeof(guid), 0, "10.1.0.1");
	script_dial(a, &e.a);
	/* One of the slow ones goes before it, as it stands at the back. */
	engine_run(&e, 1300);
	assert_int_equal(look(&e.a).up, 1);
	/* They have their ten seconds and are gone. */
	engine_run(&e, 15000);
	assert_int_equal(look(&e.a).anonymous, 0);
	for (size_t i = 0; i < ARRAY_SIZE(slow); i++)
		assert_null(slow[i].stream);
	assert_int_equal(look(&e.a).handshakes + look(&e.a).handshakes_waiting, 0);
	engine_down(&e);
}

static void who_waits_too_long_is_closed(void **state)
{
	struct engine_bench e;
	struct stranger waiting;

	engine_up(&e);
	only_so_many_handshakes_at_a_time(e.a.server, 1);
	e.a.server->gate.n_counted++; /* a place that is never given back */
	stranger_come(&waiting, &e, "10.9.0.1");
	stranger_hello(&waiting);
	engine_run(&e, 29000);
	assert_non_null(waiting.stream);
	assert_int_equal(look(&e.a).handshakes_waiting, 1);
	engine_run(&e, 2000);
	assert_null(waiting.stream);
	assert_int_equal(look(&e.a).handshakes_waiting, 0);
	e.a.server->gate.n_counted--;
	engine_down(&e);
}

static void a_long_queue_lets_the_listener_rest(void **state)
{
	enum { N = 600 };
	static struct stranger s[N];
	struct engine_bench e;
	char ip[32];

	engine_up(&e);
	only_so_many_handshakes_at_a_time(e.a.server, 1);
	e.a.server->gate.n_counted++;
	for (size_t i = 0; i < N; i++) {
		snprintf(ip, sizeof(ip), "10.9.%zu.1", i / 100);
		s[i] = (struct stranger){.bench = &e};
		assert_int_equal(
			stream_connect(e.world, &s[i].stream, A_IP, FAKE_PORT, ip, &stranger_events, &s[i], NULL),
			ERR_OK);
		engine_run(&e, 2);
		if (s[i].stream && s[i].connected)
			assert_int_equal(stream_write(s[i].stream, "h", 1), ERR_OK);
		engine_run(&e, 2);
	}
	/* The rest is in the backlog. */
	assert_int_equal(look(&e.a).handshakes_waiting, 512);
	assert_true(e.a.server->gate.rests);
	e.a.server->gate.n_counted--;
	strangers_go(s, N);
	engine_run(&e, 100);
	assert_false(e.a.server->gate.rests);
	assert_int_equal(look(&e.a).handshakes_waiting, 0);
	engine_run(&e, 100);
	assert_int_equal(look(&e.a).anonymous, 0);
	engine_down(&e);
}

static void a_late_loop_allows_fewer_at_a_time(void **state)
{
	struct engine_bench e;
	struct stranger s;

	engine_up(&e);
	assert_int_equal(look(&e.a).handshakes_allowed, 16);
	stranger_come(&s, &e, "10.9.0.1");
	stranger_hello(&s);
	fake_world_sleep(e.f, 40);
	engine_run(&e, 1);
	assert_int_equal(look(&e.a).handshakes_allowed, 16);
	fake_world_sleep(e.f, 40);
	engine_run(&e, 1);
	assert_int_equal(look(&e.a).handshakes_allowed, 8);
	assert_int_equal(look(&e.a).cuts, 1);
	assert_in_range(look(&e.a).delay_us, 30000, 41000);
	strangers_go(&s, 1);
	engine_run(&e, 10);
	/* With nothing in progress a delay has another cause. */
	fake_world_sleep(e.f, 1000);
	engine_run(&e, 1000);
	fake_world_sleep(e.f, 1000);
	engine_run(&e, 1000);
	assert_int_equal(look(&e.a).handshakes_allowed, 8);
	engine_down(&e);
}

/* ---- limits ---- */

static void the_longest_idle_of_the_largest_crowd_makes_room(void **state)
{
	struct engine_bench e;
	struct stranger s[17];
	struct script *a;
	char guid[8];

	engine_up(&e);
	e.a.server->p.max_anonymous = 16;
	for (size_t i = 0; i < 16; i++)
		stranger_come(&s[i], &e, i % 2 ? "10.9.0.1" : i % 4 ? "10.9.0.2" : "10.9.0.3");
	assert_int_equal(look(&e.a).strangers, 16);
	stranger_come(&s[16], &e, "10.9.0.3");
	/* 8, 4 and 4: the first of the eight. */
	for (size_t i = 0; i < 16; i++)
		assert_int_equal(s[i].stream == NULL, i == 1);
	a = agent_new(&e, guid, sizeof(guid), 0, "10.1.0.1");
	script_dial(a, &e.a);
	engine_run(&e, 300);
	assert_int_equal(look(&e.a).up, 1);
	assert_null(s[3].stream);
	assert_int_equal(look(&e.a).made_room, 2);
	assert_int_equal(look(&e.a).no_room, 0);
	assert_int_equal(look(&e.a).strangers, 15);
	strangers_go(s, ARRAY_SIZE(s));
	engine_down(&e);
}

static void an_address_makes_room_for_its_own(void **state)
{
	struct engine_bench e;
	struct stranger s[5];

	engine_up(&e);
	e.a.server->p.max_anonymous_per_ip = 4;
	for (size_t i = 0; i < 5; i++)
		stranger_come(&s[i], &e, "10.9.0.1");
	engine_run(&e, 10);
	assert_null(s[0].stream);
	assert_int_equal(look(&e.a).anonymous, 4);
	strangers_go(s, ARRAY_SIZE(s));
	engine_down(&e);
}

static void nobody_is_dropped_for_a_newcomer_who_is_turned_away(void **state)
{
	struct engine_bench e;
	struct stranger s[5];

	engine_up(&e);
	for (size_t i = 0; i < 4; i++)
		stranger_come(&s[i], &e, "10.9.0.1");
	/* Its address could make room, but there are two too many. */
	e.a.server->p.max_anonymous_per_ip = 4;
	e.a.server->p.max_links = e.a.server->n_sessions - 2;
	stranger_come(&s[4], &e, "10.9.0.1");
	engine_run(&e, 10);
	assert_null(s[4].stream);
	for (size_t i = 0; i < 4; i++)
		assert_non_null(s[i].stream);
	assert_int_equal(look(&e.a).made_room, 0);
	assert_int_equal(look(&e.a).no_room, 1);
	strangers_go(s, ARRAY_SIZE(s));
	engine_down(&e);
}

static void who_has_work_under_way_is_not_dropped(void **state)
{
	struct engine_bench e;
	struct stranger s[5];

	engine_up(&e);
	only_so_many_handshakes_at_a_time(e.a.server, 1);
	e.a.server->p.max_anonymous = 4;
	for (size_t i = 0; i < 4; i++) {
		stranger_come(&s[i], &e, "10.9.0.1");
		stranger_hello(&s[i]); /* one is at work, the others wait for their turn */
	}
	stranger_come(&s[4], &e, "10.9.0.2");
	engine_run(&e, 10);
	assert_null(s[4].stream);
	for (size_t i = 0; i < 4; i++)
		assert_non_null(s[i].stream);
	assert_int_equal(look(&e.a).no_room, 1);
	/* When it stalls it is as idle as any other. */
	engine_run(&e, 550);
	stranger_come(&s[4], &e, "10.9.0.2");
	engine_run(&e, 10);
	assert_non_null(s[4].stream);
	assert_null(s[0].stream);
	strangers_go(s, ARRAY_SIZE(s));
	engine_down(&e);
}

static void who_has_a_certificate_is_no_stranger(void **state)
{
	struct engine_bench e;
	struct script *agents[20];
	struct stranger s;
	char guids[20][8];

	engine_up(&e);
	e.a.server->p.max_anonymous = 16;
	for (size_t i = 0; i < ARRAY_SIZE(agents); i++) {
		agents[i] = agent_new(&e, guids[i], sizeof(guids[i]), i, "10.1.0.1");
		agents[i]->no_startup = true;
		script_dial(agents[i], &e.a);
		engine_run(&e, 10);
	}
	/* They prove their links before they move here, and nobody else makes them leave. */
	assert_int_equal(look(&e.a).anonymous, 20);
	assert_int_equal(look(&e.a).strangers, 0);
	stranger_come(&s, &e, "10.9.0.1");
	assert_int_equal(look(&e.a).strangers, 1);
	assert_int_equal(look(&e.a).made_room, 0);
	strangers_go(&s, 1);
	engine_down(&e);
}

/* ---- gate 2 ---- */

static const struct msg_startup_answer *answer_of(struct script *a)
{
	const struct fake_message *m = script_got(a, MSG_STARTUP_ANSWER, 0);

	return m ? m->batch.elements[0].fields : NULL;
}

static void a_long_queue_puts_muster_agents_off(void **state)
{
	/* 200 a second are assumed: 5 ms each. */
	static const struct {
		const char *what;
		struct agent_script as;
		size_t n_starting;
		bool is_in;
		bool is_answered;
		const char *server;
		const char *purpose; /* NULL: seek */
		int64_t put_off;
	} rows[] = {
		{"a short queue", {.is_muster = true}, 100, true, true, NULL},
		{"a long one, and no other server in its list", {.is_muster = true}, 1000, false, true, NULL},
		{"another server, as its list spells it",
		 {.is_muster = true, .list = "10.0.0.1,10.0.0.2:8250@static"},
		 1000,
		 false,
		 true,
		 "10.0.0.2:8250"},
		{"only servers that we don't know",
		 {.is_muster = true, .list = "10.0.0.1,far.away"},
		 1000,
		 false,
		 true,
		 NULL},
		{"it was sent here: not sent on",
		 {.is_muster = true, .list = "10.0.0.1,10.0.0.2", .was_sent = true},
		 1000,
		 false,
		 true,
		 NULL},
		{"it has a link: it can wait where it is",
		 {.is_muster = true, .list = "10.0.0.1,10.0.0.2"},
		 100,
		 false,
		 true,
		 NULL,
		 "preferred"},
		{"the same for a new certificate",
		 {.is_muster = true, .list = "10.0.0.1,10.0.0.2"},
		 100,
		 false,
		 true,
		 NULL,
		 "renew"},
		{"its link is silent: as if it had none", {.is_muster = true}, 100, true, true, NULL, "suspect"},
		{"and it may be sent elsewhere",
		 {.is_muster = true, .list = "10.0.0.1,10.0.0.2"},
		 1000,
		 false,
		 true,
		 "10.0.0.2",
		 "suspect"},
		{"a purpose that we don't know", {.is_muster = true}, 100, true, true, NULL, "holiday"},
		{"it has none", {.is_muster = true}, 100, true, true, NULL, "seek"},
		{"it has come before", {.is_muster = true}, 1000, true, true, NULL, "seek", 2},
		{"a negative count", {.is_muster = true}, 1000, false, true, NULL, "seek", -5},
		{"a CloudStack agent waits", {.is_muster = false}, 100000, true, true, NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct agent_script as = rows[i].as;
		const struct msg_startup_answer *answer;
		struct engine_bench e;
		struct script *a;

		print_message("  %s\n", rows[i].what);
		engine_up(&e);
		node_add(&e, &e.b, B_IP);
		engine_run(&e, 2000);
		e.a.server->n_starting += rows[i].n_starting;
		as.guid = "h1";
		as.ip = "10.1.0.1";
		as.identity = as.is_muster ? ID_URI : ID_SAN;
		as.boot = as.is_muster ? "b1" : NULL;
		a = script_new(&e, &as);
		a->purpose = rows[i].purpose;
		a->put_off = rows[i].put_off;
		script_dial(a, &e.a);
		engine_run(&e, 300);
		answer = answer_of(a);
		assert_non_null(answer);
		assert_int_equal(answer->result.value, rows[i].is_in);
		assert_int_equal(script_is_open(a), rows[i].is_in);
		assert_int_equal(look(&e.a).up, rows[i].is_in);
		assert_int_equal(answer->musterRetryMs.has, !rows[i].is_in);
		if (!rows[i].is_in)
			assert_in_range(answer->musterRetryMs.value, 100, 60000);
		assert_int_equal(look(&e.a).put_off, !rows[i].is_in);
		if (rows[i].server)
			assert_string_equal(answer->musterServer, rows[i].server);
		else
			assert_null(answer->musterServer);
		e.a.server->n_starting -= rows[i].n_starting;
		engine_down(&e);
	}
}

static void a_server_that_is_down_is_nobodys_other_choice(void **state)
{
	struct engine_bench e;
	struct script *a;
	char guid[8];

	engine_up(&e);
	node_add(&e, &e.b, B_IP);
	engine_run(&e, 2000);
	node_kill(&e.b);
	engine_run(&e, 20000);
	e.a.server->n_starting += 1000;
	a = agent_new(&e, guid, sizeof(guid), 0, "10.1.0.1");
	script_dial(a, &e.a);
	engine_run(&e, 300);
	assert_false(answer_of(a)->result.value);
	assert_null(answer_of(a)->musterServer);
	e.a.server->n_starting -= 1000;
	engine_down(&e);
}

static void who_was_put_off_comes_back_and_is_served(void **state)
{
	struct engine_bench e;
	struct script *a;
	char guid[8];

	engine_up(&e);
	e.a.server->n_starting += 1000;
	a = agent_new(&e, guid, sizeof(guid), 0, "10.1.0.1");
	script_dial(a, &e.a);
	engine_run(&e, 300);
	assert_false(script_is_open(a));
	assert_int_equal(look(&e.a).anonymous, 0);
	e.a.server->n_starting -= 1000;
	engine_run(&e, answer_of(a)->musterRetryMs.value);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	assert_int_equal(look(&e.a).up, 1);
	assert_int_equal(look(&e.a).starting, 0);
	engine_down(&e);
}

static void nobody_waits_for_a_store_that_does_not_work(void **state)
{
	struct engine_bench e;
	struct script *a;
	char guid[8];

	engine_up(&e);
	a = agent_new(&e, guid, sizeof(guid), 0, "10.1.0.1");
	script_dial(a, &e.a);
	engine_run(&e, 300);
	script_hang_up(a);
	e.a.store_fails = true;
	engine_run(&e, 3000);
	e.a.server->n_starting += 1000;
	script_forget(a);
	script_dial(a, &e.a);
	engine_run(&e, 300);
	assert_true(answer_of(a)->result.value);
	assert_int_equal(look(&e.a).up, 1);
	e.a.server->n_starting -= 1000;
	e.a.store_fails = false;
	engine_run(&e, 3000);
	assert_int_equal(look(&e.a).starting, 0);
	engine_down(&e);
}

static void overrun_is_a_queue_of_five_seconds(void **state)
{
	struct engine_bench e;

	engine_up(&e);
	assert_true(look(&e.a).accepting);
	for (int i = 0; i < 1000; i++)
		admission_claim_begins(e.a.server);
	assert_int_equal(server_backlog(e.a.server), 1000);
	assert_true(look(&e.a).accepting);
	admission_claim_begins(e.a.server);
	assert_false(look(&e.a).accepting);
	/* Until it is half as long. */
	for (int i = 0; i < 500; i++)
		admission_claim_ends(e.a.server);
	engine_run(&e, 1);
	assert_false(look(&e.a).accepting);
	admission_claim_ends(e.a.server);
	engine_run(&e, 1);
	assert_true(look(&e.a).accepting);
	for (int i = 0; i < 500; i++)
		admission_claim_ends(e.a.server);
	engine_run(&e, 1);
	assert_int_equal(server_backlog(e.a.server), 0);
	engine_down(&e);
}

static void what_another_server_says_of_itself_counts(void **state)
{
	struct engine_bench e;
	struct member_server *b;
	struct script *a;
	char guid[8];

	engine_up(&e);
	node_add(&e, &e.b, B_IP);
	engine_run(&e, 2500);
	/* It has as much to do as we have, and says so every second. */
	e.a.server->n_starting += 1000;
	for (int i = 0; i < 1000; i++)
		admission_claim_begins(e.b.server);
	engine_run(&e, 1500);
	b = roster_server(e.a.server, e.b.server->msid);
	assert_int_equal(b->status.backlog, 1000);
	a = agent_new(&e, guid, sizeof(guid), 0, "10.1.0.1");
	script_dial(a, &e.a);
	engine_run(&e, 50);
	assert_false(answer_of(a)->result.value);
	assert_null(answer_of(a)->musterServer);
	/* One less: the next is sent there, and counts there until its next word. */
	e.a.server->n_starting += 10;
	script_forget(a);
	script_dial(a, &e.a);
	engine_run(&e, 50);
	assert_string_equal(answer_of(a)->musterServer, "10.0.0.2");
	assert_int_equal(b->n_sent, 1);
	engine_run(&e, 1500);
	assert_int_equal(b->n_sent, 0);
	/* Overrun: nobody is sent there. */
	admission_claim_begins(e.b.server);
	engine_run(&e, 50);
	assert_false(b->status.accepting);
	script_forget(a);
	script_dial(a, &e.a);
	engine_run(&e, 50);
	assert_null(answer_of(a)->musterServer);
	e.a.server->n_starting -= 1010;
	for (int i = 0; i < 1001; i++)
		admission_claim_ends(e.b.server);
	engine_down(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handshakes_wait_and_addresses_take_turns),
		cmocka_unit_test(who_stops_in_the_middle_takes_no_place),
		cmocka_unit_test(who_waits_too_long_is_closed),
		cmocka_unit_test(a_long_queue_lets_the_listener_rest),
		cmocka_unit_test(a_late_loop_allows_fewer_at_a_time),
		cmocka_unit_test(the_longest_idle_of_the_largest_crowd_makes_room),
		cmocka_unit_test(an_address_makes_room_for_its_own),
		cmocka_unit_test(nobody_is_dropped_for_a_newcomer_who_is_turned_away),
		cmocka_unit_test(who_has_work_under_way_is_not_dropped),
		cmocka_unit_test(who_has_a_certificate_is_no_stranger),
		cmocka_unit_test(a_long_queue_puts_muster_agents_off),
		cmocka_unit_test(a_server_that_is_down_is_nobodys_other_choice),
		cmocka_unit_test(who_was_put_off_comes_back_and_is_served),
		cmocka_unit_test(nobody_waits_for_a_store_that_does_not_work),
		cmocka_unit_test(overrun_is_a_queue_of_five_seconds),
		cmocka_unit_test(what_another_server_says_of_itself_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
