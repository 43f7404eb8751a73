/*
 * The real world: timers, the end of a turn, work lanes, names, streams and listeners on loopback, signals.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/world_uv.h"

#define DEADLINE_MS 60000

struct test {
	struct world *world;
	struct timer give_up;
	bool gave_up;
};

static void on_give_up(struct timer *t)
{
	container_of(t, struct test, give_up)->gave_up = true;
}

static int begin(void **state)
{
	struct test *t = mem_zalloc(sizeof(*t));

	assert_int_equal(world_uv_new(&t->world, NULL), ERR_OK);
	timer_init(&t->give_up, on_give_up);
	*state = t;
	return 0;
}

static int finish(void **state)
{
	struct test *t = *state;

	t->world = world_uv_free(t->world);
	mem_free(t);
	return 0;
}

static void wait_for(struct test *t, const int *counter, int at_least)
{
	t->gave_up = false;
	timer_set_in(t->world, &t->give_up, DEADLINE_MS);
	while (*counter < at_least && !t->gave_up)
		world_uv_turn(t->world);
	timer_stop(t->world, &t->give_up);
	if (*counter < at_least)
		fail_msg("%d of %d", *counter, at_least);
}

/* ---- timers ---- */

struct ring {
	struct timer timer;
	struct test *test;
	int id;
	int *log;
	int *n;
	struct mono due;
	int again; /* sets itself again so often, at once */
};

static void on_ring(struct timer *timer)
{
	struct ring *r = container_of(timer, struct ring, timer);

	assert_true(mono_reached(world_now(r->test->world), r->due));
	assert_false(timer_is_set(timer));
	r->log[(*r->n)++] = r->id;
	if (r->again-- > 0)
		timer_set(r->test->world, timer, world_now(r->test->world));
}

static void timers_fire_in_order_and_not_early(void **state)
{
	static const int64_t in_ms[] = {30, 10, 20, 10, 0, -5, 15};
	static const int expected[] = {5, 4, 1, 3, 2, 0};
	struct test *t = *state;
	struct ring rings[7];
	int log[16], n = 0;

	for (int i = 0; i < 7; i++) {
		rings[i] = (struct ring){.test = t, .id = i, .log = log, .n = &n};
		timer_init(&rings[i].timer, on_ring);
		assert_false(timer_is_set(&rings[i].timer));
		rings[i].due = mono_add_ms(world_now(t->world), in_ms[i]);
		timer_set(t->world, &rings[i].timer, rings[i].due);
		assert_true(timer_is_set(&rings[i].timer));
	}
	timer_stop(t->world, &rings[6].timer);
	timer_stop(t->world, &rings[6].timer);
	assert_int_equal(n, 0);
	wait_for(t, &n, 6);
	assert_memory_equal(log, expected, sizeof(expected));
}

static void a_timer_that_is_always_due_does_not_stop_the_loop(void **state)
{
	struct test *t = *state;
	int log[200], other[2], n = 0, m = 0;
	struct ring greedy = {.test = t, .log = log, .n = &n, .again = 100};
	struct ring patient = {.test = t, .log = other, .n = &m};

	timer_init(&greedy.timer, on_ring);
	timer_init(&patient.timer, on_ring);
	timer_set_in(t->world, &greedy.timer, 0);
	timer_set_in(t->world, &patient.timer, 3);
	wait_for(t, &m, 1);
	assert_true(n < 100);
	timer_stop(t->world, &greedy.timer);
}

static void never_is_never(void **state)
{
	struct test *t = *state;
	int log[1], n = 0;
	struct ring r = {.test = t, .log = log, .n = &n};

	timer_init(&r.timer, on_ring);
	timer_set_in(t->world, &r.timer, 5);
	timer_set(t->world, &r.timer, MONO_NEVER);
	assert_false(timer_is_set(&r.timer));
}

/* ---- the end of a turn ---- */

struct note {
	struct later later;
	struct test *test;
	int calls;
	int again;
	struct note *cancels;
};

static void on_note(struct later *later)
{
	struct note *n = container_of(later, struct note, later);

	n->calls++;
	if (n->again-- > 0)
		world_later(n->test->world, &n->later);
	if (n->cancels)
		world_later_cancel(&n->cancels->later);
}

static void later_comes_once_a_turn_and_never_at_once(void **state)
{
	struct test *t = *state;
	struct note a = {.test = t, .again = 3}, b = {.test = t}, c = {.test = t};

	a.cancels = &c;
	list_init(&a.later.queued);
	list_init(&b.later.queued);
	list_init(&c.later.queued);
	a.later.call = b.later.call = c.later.call = on_note;
	world_later(t->world, &a.later);
	world_later(t->world, &b.later);
	world_later(t->world, &b.later); /* twice is once */
	world_later(t->world, &c.later);
	assert_int_equal(a.calls + b.calls + c.calls, 0);
	world_uv_turn(t->world);
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.calls, 1);
	wait_for(t, &a.calls, 4);
	assert_int_equal(b.calls, 1);
	assert_int_equal(c.calls, 0);
}

/* ---- work ---- */

struct job {
	struct work work;
	pthread_t ran_on;
	int order;
	int *next_order;
	int *done;
	int *dropped;
	pthread_barrier_t *meet;
};

static void job_run(struct work *w)
{
	struct job *j = container_of(w, struct job, work);

	j->ran_on = pthread_self();
	if (j->next_order)
		j->order = (*j->next_order)++;
	if (j->meet)
		pthread_barrier_wait(j->meet);
}

static void job_done(struct work *w)
{
	(*container_of(w, struct job, work)->done)++;
}

static void job_dropped(struct work *w)
{
	(*container_of(w, struct job, work)->dropped)++;
}

static void work_runs_elsewhere_and_reports_here(void **state)
{
	enum { N = 200 };
	struct test *t = *state;

	for (int lane = 0; lane < WORK_N_LANES; lane++) {
		struct job *jobs = mem_zalloc_array(N, sizeof(*jobs));
		int done = 0, order = 0;

		for (int i = 0; i < N; i++) {
			jobs[i].work.run = job_run;
			jobs[i].work.done = job_done;
			jobs[i].done = &done;
			/* Lanes of one thread keep the order, and need no lock for it. */
			jobs[i].next_order = lane == WORK_CRYPTO ? NULL : &order;
			world_work(t->world, lane, &jobs[i].work);
			assert_int_equal(done, 0);
		}
		wait_for(t, &done, N);
		for (int i = 0; i < N; i++) {
			assert_false(pthread_equal(jobs[i].ran_on, pthread_self()));
			if (lane != WORK_CRYPTO) {
				assert_int_equal(jobs[i].order, i);
				assert_true(pthread_equal(jobs[i].ran_on, jobs[0].ran_on));
			}
		}
		mem_free(jobs);
	}
}

static void lanes_do_not_wait_for_each_other(void **state)
{
	struct test *t = *state;
	pthread_barrier_t meet;
	struct job jobs[WORK_N_LANES];
	int done = 0;

	/* Each waits for all the others to run. */
	pthread_barrier_init(&meet, NULL, WORK_N_LANES);
	for (int lane = 0; lane < WORK_N_LANES; lane++) {
		jobs[lane] = (struct job){.work = {.run = job_run, .done = job_done}, .done = &done, .meet = &meet};
		world_work(t->world, lane, &jobs[lane].work);
	}
	wait_for(t, &done, WORK_N_LANES);
	pthread_barrier_destroy(&meet);
}

static void crypto_uses_the_cores(void **state)
{
	struct test *t = *state;
	pthread_barrier_t meet;
	struct job jobs[2];
	int done = 0;

	if (uv_available_parallelism() < 2)
		skip();
	pthread_barrier_init(&meet, NULL, 2);
	for (int i = 0; i < 2; i++) {
		jobs[i] = (struct job){.work = {.run = job_run, .done = job_done}, .done = &done, .meet = &meet};
		world_work(t->world, WORK_CRYPTO, &jobs[i].work);
	}
	wait_for(t, &done, 2);
	pthread_barrier_destroy(&meet);
}

static void work_left_at_the_end_is_dropped(void **state)
{
	enum { N = 100 };
	struct world *w = NULL;
	struct job *jobs = mem_zalloc_array(N, sizeof(*jobs));
	int done = 0, dropped = 0;

	assert_int_equal(world_uv_new(&w, NULL), ERR_OK);
	for (int i = 0; i < N; i++) {
		jobs[i].work = (struct work){.run = job_run, .done = job_done, .dropped = job_dropped};
		jobs[i].done = &done;
		jobs[i].dropped = &dropped;
		world_work(w, i % WORK_N_LANES, &jobs[i].work);
	}
	world_uv_free(w);
	assert_int_equal(done, 0);
	assert_int_equal(dropped, N);
	mem_free(jobs);
}

/* ---- names ---- */

struct question {
	struct resolve resolve;
	int done;
};

static void on_answer(struct resolve *r)
{
	container_of(r, struct question, resolve)->done++;
}

static void ask(struct test *t, struct question *q, const char *name)
{
	*q = (struct question){.resolve = {.name = name, .done = on_answer}};
	assert_int_equal(world_resolve(t->world, &q->resolve), ERR_OK);
	assert_int_equal(q->done, 0);
}

static void names_become_addresses(void **state)
{
	struct test *t = *state;
	struct question literal, six, local, missing;

	ask(t, &literal, "192.0.2.7");
	ask(t, &six, "2001:db8::7");
	ask(t, &local, "localhost");
	ask(t, &missing, "no.such.name.invalid");
	wait_for(t, &literal.done, 1);
	wait_for(t, &six.done, 1);
	wait_for(t, &local.done, 1);
	wait_for(t, &missing.done, 1);
	assert_int_equal(literal.resolve.result, ERR_OK);
	assert_string_equal(literal.resolve.addresses.items[0], "192.0.2.7");
	assert_string_equal(six.resolve.addresses.items[0], "2001:db8::7");
	assert_int_equal(local.resolve.result, ERR_OK);
	assert_true(str_list_has(&local.resolve.addresses, "127.0.0.1") ||
		    str_list_has(&local.resolve.addresses, "::1"));
	assert_int_equal(missing.resolve.result, ERR_NO_NAME);
	assert_int_equal(missing.resolve.addresses.n, 0);
	str_list_deinit(&literal.resolve.addresses);
	str_list_deinit(&six.resolve.addresses);
	str_list_deinit(&local.resolve.addresses);
}

static void a_cancelled_question_is_not_answered(void **state)
{
	struct test *t = *state;
	struct question cancelled, other;

	ask(t, &cancelled, "192.0.2.7");
	world_resolve_cancel(t->world, &cancelled.resolve);
	world_resolve_cancel(t->world, &cancelled.resolve);
	ask(t, &other, "192.0.2.8");
	wait_for(t, &other.done, 1);
	assert_int_equal(cancelled.done, 0);
	assert_int_equal(cancelled.resolve.addresses.n, 0);
	str_list_deinit(&other.resolve.addresses);
	/* And one that is being asked when the world ends. */
	ask(t, &cancelled, "no.such.name.invalid");
}

/* ---- streams ---- */

struct peer {
	struct test *test;
	struct stream *stream;
	struct buf in;
	int connected, chunks, drained, ended, received;
	enum err error;
	bool close_on_data, echo;
};

static void on_connected(void *user)
{
	((struct peer *)user)->connected++;
}

static void on_data(void *user, const uint8_t *p, size_t n)
{
	struct peer *e = user;

	e->chunks++;
	e->received += (int)n;
	assert_int_equal(buf_put(&e->in, p, n), ERR_OK);
	if (e->echo)
		assert_int_equal(stream_write(e->stream, p, n), ERR_OK);
	if (e->close_on_data) {
		stream_close(e->stream);
		e->stream = NULL;
	}
}

static void on_drained(void *user)
{
	((struct peer *)user)->drained++;
}

static void on_ended(void *user, enum err why, const char *sentence)
{
	struct peer *e = user;

	assert_true(sentence[0] != '\0');
	e->ended++;
	e->error = why;
	stream_close(e->stream); /* allowed, and of no effect */
	e->stream = NULL;
}

static const struct stream_events events = {
	.connected = on_connected, .data = on_data, .drained = on_drained, .ended = on_ended};

struct hall {
	struct test *test;
	struct listener *listener;
	struct peer *guests[64];
	size_t room;
	int accepted;
	bool refuse;       /* closes what it accepts */
	bool forget;       /* doesn't take what it accepts */
	bool pause_itself; /* after the first */
};

static void on_accepted(void *user, struct stream *s)
{
	struct hall *h = user;
	int i = h->accepted++;

	if (h->pause_itself)
		listener_pause(h->listener, true);
	if (h->forget)
		return;
	if (h->refuse || (size_t)i >= h->room) {
		stream_close(s);
		return;
	}
	h->guests[i]->stream = s;
	stream_take(s, &events, h->guests[i]);
}

static void hall_open(struct hall *h, struct test *t, const char *ip)
{
	struct why why = WHY_NONE;

	h->test = t;
	if (world_listen(t->world, &h->listener,
			 &(struct listen_params){.ip = ip, .backlog = 100, .accepted = on_accepted, .user = h},
			 &why) != ERR_OK)
		fail_msg("%s", why.text);
	assert_true(listener_port(h->listener) > 0);
}

static void peer_connect(struct peer *p, struct hall *h, const char *source_ip)
{
	struct why why = WHY_NONE;

	if (stream_connect(h->test->world, &p->stream, "127.0.0.1", listener_port(h->listener), source_ip, &events, p,
			   &why) != ERR_OK)
		fail_msg("%s", why.text);
	assert_int_equal(p->connected, 0);
}

static void peer_deinit(struct peer *p)
{
	stream_close(p->stream);
	p->stream = NULL;
	buf_deinit(&p->in);
}

static void streams_carry_bytes_both_ways(void **state)
{
	struct test *t = *state;
	struct peer client = {0}, server = {.echo = true};
	struct hall h = {.guests = {&server}, .room = 1};

	hall_open(&h, t, "");
	peer_connect(&client, &h, "127.0.3.4");
	wait_for(t, &client.connected, 1);
	wait_for(t, &h.accepted, 1);
	assert_string_equal(client.stream->peer_ip, "127.0.0.1");
	assert_int_equal(client.stream->peer_port, listener_port(h.listener));
	assert_string_equal(client.stream->local_ip, "127.0.3.4");
	/* IPv4 on a socket for both is written as IPv4. */
	assert_string_equal(server.stream->peer_ip, "127.0.3.4");
	assert_string_equal(server.stream->local_ip, "127.0.0.1");
	assert_int_equal(server.stream->peer_port, client.stream->local_port);

	assert_int_equal(stream_write(client.stream, "hello", 5), ERR_OK);
	wait_for(t, &client.received, 5);
	assert_memory_equal(client.in.data, "hello", 5);

	stream_close(client.stream);
	client.stream = NULL;
	wait_for(t, &server.ended, 1);
	assert_int_equal(server.error, ERR_CLOSED);
	assert_int_equal(client.ended, 0);
	peer_deinit(&client);
	peer_deinit(&server);
	h.listener = listener_free(h.listener);
}

/* ---- the kernel's timers ---- */

struct socket_look {
	const struct tcp_timers *expected;
	int n;
};

static int option_of(int fd, int level, int name)
{
	int value = -1;
	socklen_t n = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &n), 0);
	return value;
}

static void look_at_socket(uv_handle_t *h, void *arg)
{
	struct socket_look *l = arg;
	const struct tcp_timers *t = l->expected;
	uv_os_fd_t fd;
	struct sockaddr_storage peer;
	socklen_t n = sizeof(peer);

	if (h->type != UV_TCP || uv_fileno(h, &fd) || getpeername(fd, (struct sockaddr *)&peer, &n))
		return; /* no connection: the listener */
	l->n++;
	assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), t->idle_s > 0);
	if (t->idle_s > 0) {
		assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), t->idle_s);
		assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), t->interval_s);
		assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), t->count);
	}
	assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), t->user_timeout_s * 1000);
}

static void connections_get_the_timers_that_are_set(void **state)
{
	static const struct {
		const char *what;
		bool set;
		struct tcp_timers timers;
	} rows[] = {
		{"nobody sets any: the defaults", false, {1, 1, 3, 5}},
		{"others", true, {20, 7, 9, 61}},
		{"the largest that settings allow", true, {32767, 32767, 127, 86400}},
		{"no probes, the system's own patience", true, {0, 1, 3, 0}},
	};
	struct test *t = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct peer client = {0}, server = {0};
		struct hall h = {.guests = {&server}, .room = 1};
		struct socket_look look = {.expected = &rows[i].timers};

		if (rows[i].set)
			world_uv_set_tcp(t->world, &rows[i].timers);
		hall_open(&h, t, "127.0.0.1");
		peer_connect(&client, &h, NULL);
		wait_for(t, &client.connected, 1);
		wait_for(t, &h.accepted, 1);
		uv_walk(world_uv_loop(t->world), look_at_socket, &look);
		if (look.n != 2)
			fail_msg("%s: %d connections seen", rows[i].what, look.n);
		peer_deinit(&client);
		peer_deinit(&server);
		h.listener = listener_free(h.listener);
		/* Gone before the next row looks. */
		world_uv_turn(t->world);
	}
}

static uint8_t *pattern(size_t n)
{
	uint8_t *p = malloc(n);

	assert_non_null(p);
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(i * 31 + i / 251);
	return p;
}

static void what_the_system_does_not_take_waits(void **state)
{
	enum { N = 24 * 1024 * 1024 };
	struct test *t = *state;
	struct peer client = {0}, server = {0};
	struct hall h = {.guests = {&server}, .room = 1};
	uint8_t *bytes = pattern(N);

	hall_open(&h, t, "127.0.0.1");
	peer_connect(&client, &h, NULL);
	wait_for(t, &client.connected, 1);
	wait_for(t, &h.accepted, 1);
	stream_pause(server.stream, true);
	for (int i = 0; i < 3; i++)
		assert_int_equal(stream_write(client.stream, bytes + i * (N / 3), N / 3), ERR_OK);
	assert_true(stream_queued(client.stream) > 0);
	assert_int_equal(server.received, 0);
	stream_pause(server.stream, false);
	wait_for(t, &server.received, N);
	wait_for(t, &client.drained, 1);
	assert_int_equal(stream_queued(client.stream), 0);
	assert_memory_equal(server.in.data, bytes, N);
	free(bytes);
	peer_deinit(&client);
	peer_deinit(&server);
	h.listener = listener_free(h.listener);
}

/* Closing with bytes queued: nothing hangs, nothing is called, and what arrives is in order. */
static void closing_offers_what_is_queued(void **state)
{
	enum { N = 24 * 1024 * 1024 };
	struct test *t = *state;
	struct peer client = {0}, server = {0};
	struct hall h = {.guests = {&server}, .room = 1};
	uint8_t *bytes = pattern(N);

	hall_open(&h, t, "127.0.0.1");
	peer_connect(&client, &h, NULL);
	wait_for(t, &client.connected, 1);
	wait_for(t, &h.accepted, 1);
	for (int i = 0; i < 24; i++)
		assert_int_equal(stream_write(client.stream, bytes + i * (N / 24), N / 24), ERR_OK);
	wait_for(t, &server.chunks, 5);
	stream_close(client.stream);
	client.stream = NULL;
	wait_for(t, &server.ended, 1);
	assert_int_equal(client.ended + client.drained, 0);
	assert_memory_equal(server.in.data, bytes, server.in.len);
	free(bytes);
	peer_deinit(&client);
	peer_deinit(&server);
	h.listener = listener_free(h.listener);
}

/* What we say last is not overtaken by a reset, though we have not read what the other said. */
static void last_words_arrive(void **state)
{
	struct test *t = *state;
	struct peer client = {0}, server = {0};
	struct hall h = {.guests = {&server}, .room = 1};

	hall_open(&h, t, "127.0.0.1");
	peer_connect(&client, &h, NULL);
	wait_for(t, &client.connected, 1);
	wait_for(t, &h.accepted, 1);
	stream_pause(server.stream, true);
	assert_int_equal(stream_write(client.stream, "chatter", 7), ERR_OK);
	assert_int_equal(stream_write(server.stream, "goodbye", 7), ERR_OK);
	stream_close(server.stream);
	server.stream = NULL;
	wait_for(t, &client.ended, 1);
	assert_int_equal(client.received, 7);
	assert_int_equal(client.error, ERR_CLOSED);
	peer_deinit(&client);
	peer_deinit(&server);
	h.listener = listener_free(h.listener);
}

static void a_stream_may_be_closed_in_its_event(void **state)
{
	struct test *t = *state;
	struct peer client = {0}, server = {.close_on_data = true};
	struct hall h = {.guests = {&server}, .room = 1};

	hall_open(&h, t, "127.0.0.1");
	peer_connect(&client, &h, NULL);
	wait_for(t, &client.connected, 1);
	assert_int_equal(stream_write(client.stream, "x", 1), ERR_OK);
	wait_for(t, &client.ended, 1);
	assert_int_equal(server.chunks, 1);
	assert_int_equal(server.ended, 0);
	peer_deinit(&client);
	peer_deinit(&server);
	h.listener = listener_free(h.listener);
}

/* Writing to one that is gone: an error at once or soon, the event always later. */
static void writing_to_who_is_gone_ends_the_stream(void **state)
{
	struct test *t = *state;
	struct peer client = {0};
	struct hall h = {.refuse = true};
	enum err e = ERR_OK;

	hall_open(&h, t, "127.0.0.1");
	peer_connect(&client, &h, NULL);
	wait_for(t, &client.connected, 1);
	wait_for(t, &h.accepted, 1);
	stream_pause(client.stream, true); /* so that only writing can tell */
	for (int i = 0; i < 100000 && e == ERR_OK; i++)
		e = stream_write(client.stream, "x", 1);
	assert_int_equal(e, ERR_CLOSED);
	assert_int_equal(client.ended, 0);
	assert_int_equal(stream_write(client.stream, "x", 1), ERR_CLOSED);
	wait_for(t, &client.ended, 1);
	assert_int_equal(client.error, ERR_CLOSED);
	peer_deinit(&client);
	h.listener = listener_free(h.listener);
}

static void nobody_listens(void **state)
{
	struct test *t = *state;
	struct peer client = {0};
	struct hall h = {0};
	struct why why = WHY_NONE;
	uint16_t port;
	enum err e;

	hall_open(&h, t, "127.0.0.1");
	port = listener_port(h.listener);
	h.listener = listener_free(h.listener);
	e = stream_connect(t->world, &client.stream, "127.0.0.1", port, NULL, &events, &client, &why);
	assert_int_equal(e, ERR_OK);
	assert_int_equal(client.ended, 0);
	wait_for(t, &client.ended, 1);
	assert_int_equal(client.error, ERR_UNREACHABLE);

	e = stream_connect(t->world, &client.stream, "not-an-address", port, NULL, &events, &client, &why);
	assert_int_equal(e, ERR_INVALID);
	e = stream_connect(t->world, &client.stream, "127.0.0.1", port, "192.0.2.1", &events, &client, &why);
	assert_int_equal(e, ERR_UNREACHABLE);
	assert_true(why.text[0] != '\0');

	/* Closed before it is connected: nothing comes. */
	client = (struct peer){0};
	assert_int_equal(stream_connect(t->world, &client.stream, "127.0.0.1", port, NULL, &events, &client, &why),
			 ERR_OK);
	peer_deinit(&client);
	world_uv_turn(t->world);
	assert_int_equal(client.connected + client.ended, 0);
}

/* ---- listeners ---- */

static void a_port_is_taken_once(void **state)
{
	struct test *t = *state;
	struct hall h = {0};
	struct listener *second = NULL;
	struct why why = WHY_NONE;
	struct listen_params p;

	hall_open(&h, t, "127.0.0.1");
	p = (struct listen_params){.ip = "127.0.0.1", .port = listener_port(h.listener), .accepted = on_accepted};
	assert_int_equal(world_listen(t->world, &second, &p, &why), ERR_EXISTS);
	assert_true(strstr(why.text, "in use") != NULL);
	/* And is free at once. */
	h.listener = listener_free(h.listener);
	assert_int_equal(world_listen(t->world, &second, &p, &why), ERR_OK);
	second = listener_free(second);
}

static void a_paused_listener_leaves_them_waiting(void **state)
{
	struct test *t = *state;
	struct peer clients[3] = {{0}}, servers[3] = {{0}};
	struct hall h = {.guests = {&servers[0], &servers[1], &servers[2]}, .room = 3, .pause_itself = true};

	hall_open(&h, t, "127.0.0.1");
	for (int i = 0; i < 3; i++)
		peer_connect(&clients[i], &h, NULL);
	/* The kernel connects all of them; one is accepted, and pauses the listener. */
	for (int i = 0; i < 3; i++)
		wait_for(t, &clients[i].connected, 1);
	wait_for(t, &h.accepted, 1);
	/* A round trip later it is still the only one. */
	clients[0].echo = clients[1].echo = clients[2].echo = true;
	assert_int_equal(stream_write(servers[0].stream, "x", 1), ERR_OK);
	wait_for(t, &servers[0].received, 1);
	assert_int_equal(h.accepted, 1);
	listener_pause(h.listener, false);
	wait_for(t, &h.accepted, 2);
	assert_int_equal(h.accepted, 2);
	h.pause_itself = false;
	listener_pause(h.listener, false);
	wait_for(t, &h.accepted, 3);
	for (int i = 0; i < 3; i++) {
		peer_deinit(&clients[i]);
		peer_deinit(&servers[i]);
	}
	h.listener = listener_free(h.listener);
}

static void a_stream_that_nobody_takes_is_closed(void **state)
{
	struct test *t = *state;
	struct peer client = {0};
	struct hall h = {.forget = true};

	hall_open(&h, t, "127.0.0.1");
	peer_connect(&client, &h, NULL);
	wait_for(t, &client.ended, 1);
	assert_int_equal(client.error, ERR_CLOSED);
	peer_deinit(&client);
	h.listener = listener_free(h.listener);
}

/* Without a descriptor left, connections wait until there is one again. */
static void no_descriptors_is_not_the_end(void **state)
{
	struct test *t = *state;
	struct peer client = {0}, server = {0};
	struct hall h = {.guests = {&server}, .room = 1};
	struct rlimit old, none;
	int log[1], n = 0;
	struct ring r = {.test = t, .log = log, .n = &n};
	int fd;

	hall_open(&h, t, "127.0.0.1");
	peer_connect(&client, &h, NULL);
	fd = dup(0);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){.rlim_cur = (rlim_t)fd, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	timer_init(&r.timer, on_ring);
	timer_set_in(t->world, &r.timer, 150);
	wait_for(t, &n, 1);
	wait_for(t, &client.connected, 1);
	assert_int_equal(h.accepted, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	wait_for(t, &h.accepted, 1);
	peer_deinit(&client);
	peer_deinit(&server);
	h.listener = listener_free(h.listener);
}

/* ---- the rest ---- */

static void a_world_may_end_with_everything_open(void **state)
{
	struct test *t = *state;
	struct peer client = {0}, server = {0};
	struct hall h = {.guests = {&server}, .room = 1};
	uint8_t *bytes = pattern(16 * 1024 * 1024);

	hall_open(&h, t, "127.0.0.1");
	peer_connect(&client, &h, NULL);
	wait_for(t, &client.connected, 1);
	wait_for(t, &h.accepted, 1);
	stream_pause(server.stream, true);
	assert_int_equal(stream_write(client.stream, bytes, 16 * 1024 * 1024), ERR_OK);
	free(bytes);
	t->world = world_uv_free(t->world);
	assert_int_equal(client.ended + server.ended, 0);
	buf_deinit(&client.in);
	buf_deinit(&server.in);
}

static void a_world_may_end_before_it_runs(void **state)
{
	struct test *t = *state;
	struct hall h = {0};

	hall_open(&h, t, "");
	world_uv_stop(t->world);
	t->world = world_uv_free(t->world);
}

static void on_signal(void *user, int signo)
{
	struct test *t = user;

	assert_int_equal(signo, SIGUSR1);
	world_uv_stop(t->world);
}

static void a_signal_stops_the_world(void **state)
{
	struct test *t = *state;

	assert_int_equal(world_uv_on_signal(t->world, SIGUSR1, on_signal, t), ERR_OK);
	kill(getpid(), SIGUSR1);
	world_uv_run(t->world);
	/* And it can go on. */
	kill(getpid(), SIGUSR1);
	world_uv_run(t->world);
}

static void time_and_chance(void **state)
{
	struct test *t = *state;
	char a[UUID_TEXT], b[UUID_TEXT];
	struct mono before = world_now(t->world);

	world_uuid(t->world, a);
	world_uuid(t->world, b);
	assert_true(uuid_is_valid(a));
	assert_string_not_equal(a, b);
	assert_true(world_wall_ms(t->world) > INT64_C(1600000000000));
	/* Within one turn it is one time. */
	assert_int_equal(world_now(t->world).us, before.us);
	assert_true(rng_u64(&t->world->rng) != rng_u64(&t->world->rng));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(timers_fire_in_order_and_not_early),
		TEST(a_timer_that_is_always_due_does_not_stop_the_loop),
		TEST(never_is_never),
		TEST(later_comes_once_a_turn_and_never_at_once),
		TEST(work_runs_elsewhere_and_reports_here),
		TEST(lanes_do_not_wait_for_each_other),
		TEST(crypto_uses_the_cores),
		TEST(work_left_at_the_end_is_dropped),
		TEST(names_become_addresses),
		TEST(a_cancelled_question_is_not_answered),
		TEST(streams_carry_bytes_both_ways),
		TEST(connections_get_the_timers_that_are_set),
		TEST(what_the_system_does_not_take_waits),
		TEST(closing_offers_what_is_queued),
		TEST(last_words_arrive),
		TEST(a_stream_may_be_closed_in_its_event),
		TEST(writing_to_who_is_gone_ends_the_stream),
		TEST(nobody_listens),
		TEST(a_port_is_taken_once),
		TEST(a_paused_listener_leaves_them_waiting),
		TEST(a_stream_that_nobody_takes_is_closed),
		TEST(no_descriptors_is_not_the_end),
		TEST(a_world_may_end_with_everything_open),
		TEST(a_world_may_end_before_it_runs),
		TEST(a_signal_stops_the_world),
		TEST(time_and_chance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
