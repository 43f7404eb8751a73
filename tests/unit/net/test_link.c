/*
 * Links against each other: in memory, where time and the size of every read are ours, and over loopback.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "memory_world.h"
#include "net/link.h"
#include "net/world_uv.h"
#include "party.h"
#include "wire/frame.h"

static struct party root, server_party, agent_party;

static int make_parties(void **state)
{
	root = party_root("the root");
	server_party = party_new(&root, KEY_EC_P256, CERT_ROLE_SERVER, "ms-1");
	agent_party = party_new(&root, KEY_EC_P256, CERT_ROLE_AGENT, "host-7");
	return 0;
}

static int free_parties(void **state)
{
	party_deinit(&root);
	party_deinit(&server_party);
	party_deinit(&agent_party);
	return 0;
}

/* ---- two ends ---- */

struct end {
	struct table *table;
	struct link *link; /* NULL: gone */
	int connected, up, messages, closed, held;
	struct header header;
	struct buf body; /* of the last message */
	enum err error;
	struct why why;
	/* What the end does inside its events: */
	bool close_when_up, close_on_message, echo;
	size_t message_limit;
};

/* One world, a server and a client. */
struct table {
	struct world *world;
	bool real;
	struct listener *listener;
	struct tls_creds *server_creds, *client_creds;
	struct link_params accept;
	struct link_params dial;
	struct end server, client;
	struct timer give_up;
	bool gave_up;
};

static void on_connected(struct link *l, void *user)
{
	struct end *e = user;

	e->connected++;
}

static void on_turn(struct link *l, void *user)
{
	struct end *e = user;

	e->held += link_turn(l).is_held;
}

static void on_up(struct link *l, void *user)
{
	struct end *e = user;

	e->up++;
	if (e->message_limit)
		link_set_message_limit(l, e->message_limit);
	if (e->close_when_up)
		e->link = link_close(l);
}

static void on_message(struct link *l, void *user, const struct header *h, const char *body, size_t n)
{
	struct end *e = user;

	e->messages++;
	e->header = *h;
	buf_clear(&e->body);
	assert_int_equal(buf_put(&e->body, body, n), ERR_OK);
	if (e->echo && link_send_raw(l, h, body, n) != ERR_OK)
		e->echo = false; /* the other has gone */
	if (e->close_on_message)
		e->link = link_close(l);
}

static void on_closed(struct link *l, void *user, enum err why, const char *sentence)
{
	struct end *e = user;

	assert_ptr_equal(l, e->link);
	assert_non_null(sentence);
	e->closed++;
	e->error = why;
	why_set(&e->why, "%s", sentence);
	e->link = NULL;
}

static const struct link_events events = {
	.connected = on_connected, .turn = on_turn, .up = on_up, .message = on_message, .closed = on_closed};

static void on_accepted(void *user, struct stream *s)
{
	struct table *t = user;

	t->accept.events = &events;
	t->accept.user = &t->server;
	assert_int_equal(link_accept(&t->server.link, &t->accept, s), ERR_OK);
}

static struct tls_creds *creds_of(struct table *t, const struct party *p)
{
	struct tls_creds *c = NULL;

	assert_int_equal(tls_creds_new(t->world, &c,
				       &(struct tls_material){.chain = p->cert, .key = p->key, .ca = root.cert}, NULL),
			 ERR_OK);
	return c;
}

static void on_give_up(struct timer *timer)
{
	container_of(timer, struct table, give_up)->gave_up = true;
}

static void table_init(struct table *t, bool real, enum tls_profile profile)
{
	*t = (struct table){.real = real};
	if (real)
		assert_int_equal(world_uv_new(&t->world, NULL), ERR_OK);
	else
		t->world = memory_world_new();
	t->server_creds = creds_of(t, &server_party);
	t->client_creds = creds_of(t, &agent_party);
	t->accept = (struct link_params){
		.world = t->world,
		.tls = {.profile = TLS_SERVER, .creds = t->server_creds, .require_cert = true, .wall_s = TEST_WALL_S}};
	t->dial = (struct link_params){.world = t->world,
				       .tls = {.profile = profile, .creds = t->client_creds, .wall_s = TEST_WALL_S},
				       .events = &events,
				       .user = &t->client};
	t->server.table = t;
	t->client.table = t;
	assert_int_equal(world_listen(t->world, &t->listener,
				      &(struct listen_params){.ip = "127.0.0.1", .accepted = on_accepted, .user = t},
				      NULL),
			 ERR_OK);
	timer_init(&t->give_up, on_give_up);
}

static void table_deinit(struct table *t)
{
	t->server.link = link_close(t->server.link);
	t->client.link = link_close(t->client.link);
	t->listener = listener_free(t->listener);
	timer_stop(t->world, &t->give_up);
	tls_creds_unref(t->server_creds);
	tls_creds_unref(t->client_creds);
	t->world = t->real ? world_uv_free(t->world) : memory_world_free(t->world);
	buf_deinit(&t->server.body);
	buf_deinit(&t->client.body);
}

/* Turns until the counter is there. Generous, because the machine may be busy; a real turn waits for something. */
static void wait_for(struct table *t, const int *counter, int at_least)
{
	t->gave_up = false;
	if (t->real) {
		timer_set_in(t->world, &t->give_up, 60000);
		while (*counter < at_least && !t->gave_up)
			world_uv_turn(t->world);
		timer_stop(t->world, &t->give_up);
	} else {
		for (int i = 0; i < 200000 && *counter < at_least; i++)
			memory_turn(t->world);
	}
	if (*counter < at_least)
		fail_msg("%d of %d; server: %s, client: %s", *counter, at_least, t->server.why.text,
			 t->client.why.text);
}

static void table_dial(struct table *t)
{
	uint16_t port = t->real ? listener_port(t->listener) : 8250;

	assert_int_equal(link_dial(&t->client.link, &t->dial, "127.0.0.1", port, NULL, NULL), ERR_OK);
	/* Nothing is called back from inside. */
	assert_int_equal(t->client.connected + t->client.closed, 0);
}

static void table_up(struct table *t)
{
	table_dial(t);
	wait_for(t, &t->client.up, 1);
	wait_for(t, &t->server.up, 1);
}

static char *text_of(size_t n, bool compressible)
{
	char *text = malloc(n + 1);
	uint32_t x = 1;

	assert_non_null(text);
	for (size_t i = 0; i < n; i++) {
		x = x * 1664525u + 1013904223u;
		text[i] = compressible ? 'x' : (char)(' ' + (x >> 24) % 90);
	}
	text[n] = '\0';
	return text;
}

static void send_and_check(struct table *t, struct end *from, struct end *to, size_t n, bool compressible)
{
	char *text = text_of(n, compressible);
	struct header h = {.flags = FLAG_REQUEST, .seq = (int64_t)n, .mgmt_id = 7, .agent_id = 8, .via = 9};
	int before = to->messages;

	assert_int_equal(link_send(from->link, &h, text, n), ERR_OK);
	assert_int_equal(!!(h.flags & FLAG_COMPRESSED), n >= COMPRESS_FROM);
	wait_for(t, &to->messages, before + 1);
	assert_int_equal(to->header.seq, n);
	assert_int_equal(to->header.via, 9);
	assert_int_equal(to->body.len, n);
	assert_memory_equal(to->body.data, text, n);
	free(text);
}

/* ---- messages ---- */

static const size_t sizes[] = {0, 1, 100, 8191, 8192, 16343, 16344, 16345, 16383, 16384, 16385, 32768, 100000, 100040};

static void messages_of_every_size_arrive(void **state)
{
	static const struct {
		bool real, offload;
		enum tls_profile profile;
		size_t pieces;
	} rows[] = {
		{.real = false, .profile = TLS_CLIENT_MUSTER},
		{.real = false, .profile = TLS_CLIENT_COMPAT},
		{.real = false, .profile = TLS_CLIENT_UNKNOWN, .offload = true},
		{.real = false, .profile = TLS_CLIENT_MUSTER, .pieces = 1, .offload = true},
		{.real = false, .profile = TLS_CLIENT_COMPAT, .pieces = 1},
		{.real = false, .profile = TLS_CLIENT_COMPAT, .pieces = 1499},
		{.real = true, .profile = TLS_CLIENT_MUSTER},
		{.real = true, .profile = TLS_CLIENT_MUSTER, .offload = true},
		{.real = true, .profile = TLS_CLIENT_COMPAT, .offload = true},
	};

	for (size_t r = 0; r < ARRAY_SIZE(rows); r++) {
		struct table t;

		table_init(&t, rows[r].real, rows[r].profile);
		t.accept.offload = rows[r].offload;
		t.dial.offload = rows[r].offload;
		if (!rows[r].real)
			memory_pieces(t.world, rows[r].pieces);
		table_up(&t);
		assert_int_equal(t.client.connected, 1);
		assert_int_equal(link_is_muster(t.server.link), rows[r].profile != TLS_CLIENT_COMPAT);
		assert_string_equal(link_peer(t.server.link)->cert.id, "host-7");
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			if (rows[r].pieces == 1 && sizes[i] > 40000)
				break; /* byte by byte it only takes long */
			send_and_check(&t, &t.client, &t.server, sizes[i], false);
			send_and_check(&t, &t.server, &t.client, sizes[i], i % 2);
		}
		table_deinit(&t);
	}
}

static void a_message_can_be_passed_on(void **state)
{
	char *text = text_of(20000, false);
	struct header h = {.flags = FLAG_REQUEST, .seq = 5};
	struct table t;

	table_init(&t, false, TLS_CLIENT_MUSTER);
	table_up(&t);
	t.server.echo = true;
	assert_int_equal(link_send(t.client.link, &h, text, 20000), ERR_OK);
	wait_for(&t, &t.client.messages, 1);
	assert_int_equal(t.client.header.seq, 5);
	assert_int_equal(t.client.header.flags, h.flags);
	assert_int_equal(t.client.body.len, 20000);
	assert_memory_equal(t.client.body.data, text, 20000);
	free(text);
	table_deinit(&t);
}

static void many_messages_take_turns(void **state)
{
	struct table t;
	int seen_after[8];

	table_init(&t, false, TLS_CLIENT_MUSTER);
	table_up(&t);
	for (int i = 0; i < 100; i++) {
		struct header h = {.seq = i};

		assert_int_equal(link_send(t.client.link, &h, "[]", 2), ERR_OK);
	}
	/* All of them have arrived; each turn handles 25. */
	for (size_t i = 0; i < ARRAY_SIZE(seen_after); i++) {
		memory_turn(t.world);
		seen_after[i] = t.server.messages;
	}
	assert_true(seen_after[0] <= 50);
	for (size_t i = 1; i < ARRAY_SIZE(seen_after); i++)
		assert_true(seen_after[i] - seen_after[i - 1] <= 25);
	wait_for(&t, &t.server.messages, 100);
	assert_int_equal(t.server.header.seq, 99);
	/* And it still reads. */
	send_and_check(&t, &t.client, &t.server, 10, false);
	table_deinit(&t);
}

/* ---- peers that are none ---- */

struct rude {
	struct stream *stream;
	struct buf in;
	int connected, ended;
};

static void rude_connected(void *user)
{
	((struct rude *)user)->connected++;
}

static void rude_data(void *user, const uint8_t *p, size_t n)
{
	assert_int_equal(buf_put(&((struct rude *)user)->in, p, n), ERR_OK);
}

static void rude_ended(void *user, enum err why, const char *sentence)
{
	struct rude *r = user;

	r->ended++;
	r->stream = NULL;
}

static const struct stream_events rude_events = {.connected = rude_connected, .data = rude_data, .ended = rude_ended};

static void rude_connect(struct rude *r, struct table *t)
{
	*r = (struct rude){0};
	assert_int_equal(stream_connect(t->world, &r->stream, "127.0.0.1", t->real ? listener_port(t->listener) : 1,
					NULL, &rude_events, r, NULL),
			 ERR_OK);
	wait_for(t, &r->connected, 1);
}

static void rude_deinit(struct rude *r)
{
	stream_close(r->stream);
	buf_deinit(&r->in);
}

static void garbage_closes_the_link(void **state)
{
	struct table t;
	struct rude r;

	for (int real = 0; real < 2; real++) {
		table_init(&t, real, TLS_CLIENT_MUSTER);
		rude_connect(&r, &t);
		assert_int_equal(stream_write(r.stream, "GET / HTTP/1.1\r\n\r\n", 18), ERR_OK);
		wait_for(&t, &t.server.closed, 1);
		assert_int_equal(t.server.error, ERR_TLS);
		wait_for(&t, &r.ended, 1);
		/* We say nothing, not even an alert. */
		assert_int_equal(r.in.len, 0);
		rude_deinit(&r);
		table_deinit(&t);
	}
}

static void a_silent_client_times_out(void **state)
{
	struct table t;
	struct rude r;

	table_init(&t, false, TLS_CLIENT_MUSTER);
	t.accept.handshake_ms = 3000;
	rude_connect(&r, &t);
	memory_advance(t.world, 2999);
	memory_turns(t.world, 3);
	assert_int_equal(t.server.closed, 0);
	memory_advance(t.world, 1);
	wait_for(&t, &t.server.closed, 1);
	assert_int_equal(t.server.error, ERR_TIMEOUT);
	assert_string_equal(t.server.why.text, "the TLS handshake took longer than 3000 ms");
	wait_for(&t, &r.ended, 1);
	rude_deinit(&r);
	table_deinit(&t);
}

static void a_probe_that_says_nothing_is_tolerated(void **state)
{
	struct table t;
	struct rude r;

	for (int real = 0; real < 2; real++) {
		table_init(&t, real, TLS_CLIENT_MUSTER);
		rude_connect(&r, &t);
		stream_close(r.stream);
		r.stream = NULL;
		wait_for(&t, &t.server.closed, 1);
		assert_int_equal(t.server.error, ERR_CLOSED);
		rude_deinit(&r);
		table_deinit(&t);
	}
}

/* ---- a server that lets a handshake wait ---- */

static void a_handshake_waits_until_it_is_admitted(void **state)
{
	struct table t;

	for (int real = 0; real < 2; real++) {
		table_init(&t, real, TLS_CLIENT_MUSTER);
		t.accept.offload = real;
		t.accept.held_ms = 30000;
		table_dial(&t);
		wait_for(&t, &t.server.held, 1);
		assert_true(link_turn(t.server.link).has_hello);
		assert_true(link_turn(t.server.link).is_held);
		assert_false(link_turn(t.server.link).is_ours);
		assert_int_equal(t.client.up + t.server.up, 0);
		link_admit(t.server.link);
		assert_true(link_turn(t.server.link).is_ours);
		assert_false(link_turn(t.server.link).is_held);
		link_admit(t.server.link); /* once is enough */
		wait_for(&t, &t.server.up, 1);
		wait_for(&t, &t.client.up, 1);
		link_admit(t.server.link);
		table_deinit(&t);
	}
}

static void waiting_is_not_the_clients_fault(void **state)
{
	struct table t;

	table_init(&t, false, TLS_CLIENT_MUSTER);
	t.accept.handshake_ms = 3000;
	t.accept.held_ms = 30000;
	t.dial.handshake_ms = 60000;
	table_dial(&t);
	wait_for(&t, &t.server.held, 1);
	memory_advance(t.world, 29999);
	memory_turns(t.world, 3);
	assert_int_equal(t.server.closed, 0);
	link_admit(t.server.link);
	wait_for(&t, &t.server.up, 1);
	table_deinit(&t);

	/* But it has an end. */
	table_init(&t, false, TLS_CLIENT_MUSTER);
	t.accept.held_ms = 30000;
	t.dial.handshake_ms = 60000;
	table_dial(&t);
	wait_for(&t, &t.server.held, 1);
	memory_advance(t.world, 30000);
	wait_for(&t, &t.server.closed, 1);
	assert_int_equal(t.server.error, ERR_TIMEOUT);
	assert_string_equal(t.server.why.text, "waiting for its turn took longer than 30000 ms");
	table_deinit(&t);
}

static void who_waits_and_goes_is_noticed(void **state)
{
	struct table t;

	for (int real = 0; real < 2; real++) {
		table_init(&t, real, TLS_CLIENT_MUSTER);
		t.accept.held_ms = 30000;
		table_dial(&t);
		wait_for(&t, &t.server.held, 1);
		t.client.link = link_close(t.client.link);
		wait_for(&t, &t.server.closed, 1);
		assert_int_equal(t.server.error, ERR_CLOSED);
		table_deinit(&t);
	}
}

static void who_waits_may_send_no_more_than_a_hello(void **state)
{
	static const uint8_t hello[] = "\x16\x03\x01\x00\x06\x01\x00\x00\x02xy";
	uint8_t more[1024] = {0};
	struct table t;
	struct rude r;

	table_init(&t, false, TLS_CLIENT_MUSTER);
	t.accept.held_ms = 30000;
	rude_connect(&r, &t);
	assert_int_equal(stream_write(r.stream, hello, sizeof(hello) - 1), ERR_OK);
	wait_for(&t, &t.server.held, 1);
	for (int i = 0; i < 17 && !t.server.closed; i++) {
		if (r.stream)
			assert_int_equal(stream_write(r.stream, more, sizeof(more)), ERR_OK);
		memory_turns(t.world, 3);
	}
	wait_for(&t, &t.server.closed, 1);
	assert_int_equal(t.server.error, ERR_TOO_BIG);
	rude_deinit(&r);
	table_deinit(&t);
}

static void a_handshake_in_crumbs_costs_no_steps(void **state)
{
	static const uint8_t record[] = {0x16, 3, 3, 0, 1, 0};
	struct table t;
	struct rude r;

	/* Half a hello, byte by byte, then the rest of the time nothing: no session is made for it. */
	table_init(&t, false, TLS_CLIENT_MUSTER);
	rude_connect(&r, &t);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(stream_write(r.stream, &record[i], 1), ERR_OK);
		memory_turns(t.world, 2);
	}
	assert_int_equal(t.server.closed, 0);
	assert_false(link_turn(t.server.link).has_hello);
	memory_advance(t.world, 10000);
	wait_for(&t, &t.server.closed, 1);
	assert_int_equal(t.server.error, ERR_TIMEOUT);
	rude_deinit(&r);
	table_deinit(&t);
}

/* ---- a peer that has TLS but breaks the framing: a session of ours driven by hand ---- */

struct hand {
	struct rude rude;
	struct tls *tls;
};

static void hand_up(struct hand *h, struct table *t)
{
	struct tls_params p = t->dial.tls;
	enum tls_outcome outcome = TLS_WANT;
	enum err error;

	rude_connect(&h->rude, t);
	assert_int_equal(tls_new(&h->tls, &p, NULL), ERR_OK);
	while (outcome == TLS_WANT) {
		struct buf out = {0};

		outcome = tls_handshake(h->tls, &h->rude.in, &out, &error, NULL);
		assert_int_not_equal(outcome, TLS_FAILED);
		assert_int_equal(stream_write(h->rude.stream, out.data, out.len), ERR_OK);
		buf_deinit(&out);
		memory_turns(t->world, 3);
	}
	wait_for(t, &t->server.up, 1);
}

static void hand_deinit(struct hand *h)
{
	tls_free(h->tls);
	rude_deinit(&h->rude);
}

static void hand_packet(struct hand *h, struct buf *out, const void *plain, size_t n, bool follows)
{
	struct buf sealed = {0};
	uint8_t header[FRAME_HEADER];

	if (n > 0)
		assert_int_equal(tls_seal(h->tls, plain, n, &sealed), ERR_OK);
	frame_put_header(header, sealed.len, follows);
	assert_int_equal(buf_put(out, header, sizeof(header)), ERR_OK);
	assert_int_equal(buf_put(out, sealed.data, sealed.len), ERR_OK);
	buf_deinit(&sealed);
}

enum breach {
	RAW_TOO_LONG,
	RAW_NEGATIVE,
	RAW_ALERT,
	SPLIT_RECORD,
	TAMPERED,
	HALF_HEADER,
	TOO_MUCH,
	TOO_MUCH_INFLATED,
	BAD_GZIP,
	CRUMBS,
};

static void commit(struct hand *h, enum breach breach)
{
	struct buf out = {0};
	uint8_t header[HEADER_SIZE];
	char *text;

	switch (breach) {
	case RAW_TOO_LONG:
		assert_int_equal(buf_put(&out, "\0\0\x46\x51", 4), ERR_OK);
		break;
	case RAW_NEGATIVE:
		assert_int_equal(buf_put(&out, "\0\0\x80\x00", 4), ERR_OK);
		break;
	case RAW_ALERT:
		assert_int_equal(buf_put(&out, "\0\0\0\7\x15\3\3\0\2\1\0", 11), ERR_OK);
		break;
	case SPLIT_RECORD:
		hand_packet(h, &out, "hello", 5, true);
		out.data[3]--;
		break;
	case TAMPERED:
		hand_packet(h, &out, "hello", 5, true);
		out.data[out.len - 1] ^= 1;
		break;
	case HALF_HEADER:
		hand_packet(h, &out, "too short", 9, false);
		break;
	case TOO_MUCH:
		text = text_of(16384, false);
		for (int i = 0; i < 17; i++)
			hand_packet(h, &out, text, 16384, true);
		free(text);
		break;
	case TOO_MUCH_INFLATED:
		header_put(header, &(struct header){.flags = FLAG_COMPRESSED, .length = 257 * 1024});
		hand_packet(h, &out, header, sizeof(header), false);
		break;
	case BAD_GZIP:
		header_put(header, &(struct header){.flags = FLAG_COMPRESSED, .length = 10});
		hand_packet(h, &out, header, sizeof(header), false);
		break;
	case CRUMBS:
		assert_int_equal(buf_put(&out, "\0\0\0\0", FRAME_HEADER), ERR_OK);
		for (int i = 0; i < 65; i++)
			assert_int_equal(tls_seal(h->tls, "x", 1, &out), ERR_OK);
		frame_put_header(out.data, out.len - FRAME_HEADER, true);
		break;
	}
	assert_int_equal(stream_write(h->rude.stream, out.data, out.len), ERR_OK);
	buf_deinit(&out);
}

static void breaches_close_the_link_with_a_sentence(void **state)
{
	static const struct {
		const char *what;
		enum breach breach;
		enum err error;
		const char *says;
	} rows[] = {
		{"a packet of 18001 bytes", RAW_TOO_LONG, ERR_MALFORMED, "18001"},
		{"a negative size", RAW_NEGATIVE, ERR_MALFORMED, "negative"},
		{"an alert in a packet", RAW_ALERT, ERR_TLS, "an alert"},
		{"a record split over two packets", SPLIT_RECORD, ERR_TLS, "cut off"},
		{"a record that was changed", TAMPERED, ERR_TLS, "TLS record"},
		{"a message shorter than its header", HALF_HEADER, ERR_MALFORMED, "header"},
		{"more than an unknown peer may send", TOO_MUCH, ERR_TOO_BIG, "over the limit"},
		{"more than that after inflation", TOO_MUCH_INFLATED, ERR_TOO_BIG, "the most"},
		{"a compressed body that is none", BAD_GZIP, ERR_MALFORMED, ""},
		{"a packet of 65 records", CRUMBS, ERR_TLS, "more than 64"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct table t;
		struct hand h;

		print_message("  %s\n", rows[i].what);
		table_init(&t, false, TLS_CLIENT_COMPAT);
		hand_up(&h, &t);
		commit(&h, rows[i].breach);
		wait_for(&t, &t.server.closed, 1);
		assert_int_equal(t.server.error, rows[i].error);
		if (!strstr(t.server.why.text, rows[i].says))
			fail_msg("\"%s\" in: %s", rows[i].says, t.server.why.text);
		assert_int_equal(t.server.messages, 0);
		hand_deinit(&h);
		table_deinit(&t);
	}
}

static void odd_packets_that_are_allowed_do_no_harm(void **state)
{
	uint8_t header[HEADER_SIZE];
	struct buf out = {0};
	struct table t;
	struct hand h;

	table_init(&t, false, TLS_CLIENT_COMPAT);
	hand_up(&h, &t);
	/* Empty packets, with and without "more follow". */
	assert_int_equal(buf_put(&out, "\0\0\0\0\0\1\0\0", 8), ERR_OK);
	/* A message in three packets, cut inside the header, its ignored bits set. */
	header_put(header, &(struct header){.seq = 77});
	hand_packet(&h, &out, header, 3, true);
	out.data[8] = 0xff;
	out.data[9] = 0xff;
	hand_packet(&h, &out, header + 3, HEADER_SIZE - 3, true);
	hand_packet(&h, &out, "[]", 2, false);
	assert_int_equal(stream_write(h.rude.stream, out.data, out.len), ERR_OK);
	wait_for(&t, &t.server.messages, 1);
	assert_int_equal(t.server.header.seq, 77);
	assert_int_equal(t.server.body.len, 2);
	assert_int_equal(t.server.closed, 0);
	buf_deinit(&out);
	hand_deinit(&h);
	table_deinit(&t);
}

/* Half a packet, and then nothing: what we hold is bounded, and the end of the link is noticed. */
static void half_a_packet_and_gone(void **state)
{
	struct buf out = {0};
	struct table t;
	struct hand h;

	table_init(&t, false, TLS_CLIENT_COMPAT);
	hand_up(&h, &t);
	hand_packet(&h, &out, "hello", 5, false);
	assert_int_equal(stream_write(h.rude.stream, out.data, out.len - 3), ERR_OK);
	memory_turns(t.world, 5);
	assert_int_equal(t.server.closed, 0);
	stream_close(h.rude.stream);
	h.rude.stream = NULL;
	wait_for(&t, &t.server.closed, 1);
	assert_int_equal(t.server.error, ERR_CLOSED);
	buf_deinit(&out);
	hand_deinit(&h);
	table_deinit(&t);
}

/* The client's last handshake message and its first packets in one read. */
static void packets_behind_the_handshake_are_read(void **state)
{
	struct tls_params p;
	struct buf out = {0};
	struct table t;
	struct hand h;
	uint8_t plain[HEADER_SIZE + 2];
	enum tls_outcome outcome = TLS_WANT;
	enum err error;

	table_init(&t, false, TLS_CLIENT_MUSTER);
	p = t.dial.tls;
	rude_connect(&h.rude, &t);
	assert_int_equal(tls_new(&h.tls, &p, NULL), ERR_OK);
	while (outcome == TLS_WANT) {
		buf_clear(&out);
		outcome = tls_handshake(h.tls, &h.rude.in, &out, &error, NULL);
		if (outcome == TLS_WANT)
			assert_int_equal(stream_write(h.rude.stream, out.data, out.len), ERR_OK);
		memory_turns(t.world, 3);
	}
	assert_int_equal(outcome, TLS_DONE);
	header_put(plain, &(struct header){.seq = 3});
	memcpy(plain + HEADER_SIZE, "[]", 2);
	for (int i = 0; i < 30; i++)
		hand_packet(&h, &out, plain, sizeof(plain), false);
	assert_int_equal(stream_write(h.rude.stream, out.data, out.len), ERR_OK);
	wait_for(&t, &t.server.messages, 30);
	assert_int_equal(t.server.up, 1);
	buf_deinit(&out);
	hand_deinit(&h);
	table_deinit(&t);
}

/* ---- limits ---- */

static void an_authenticated_peer_may_send_more(void **state)
{
	struct table t;

	table_init(&t, false, TLS_CLIENT_MUSTER);
	t.server.message_limit = LINK_MESSAGE_LIMIT;
	table_up(&t);
	send_and_check(&t, &t.client, &t.server, 3 * 1024 * 1024, false);
	table_deinit(&t);
}

static void who_does_not_read_is_closed_alone(void **state)
{
	char *text = text_of(8000, false);
	struct header h = {.seq = 1};
	struct table t;
	struct hand deaf;
	struct end other_server;
	enum err e = ERR_OK;
	int sent = 0;

	table_init(&t, false, TLS_CLIENT_COMPAT);
	t.accept.queue_limit = 100000;
	hand_up(&deaf, &t);
	other_server = t.server;
	t.server = (struct end){.table = &t};
	link_set_events(other_server.link, &events, &other_server);
	table_up(&t);

	memory_deaf(deaf.rude.stream, true);
	for (; e == ERR_OK && sent < 1000; sent++)
		e = link_send(other_server.link, &h, text, 8000);
	assert_int_equal(e, ERR_FULL);
	assert_true(sent > 10 && sent < 14);
	/* Not from inside link_send(): */
	assert_int_equal(other_server.closed, 0);
	assert_int_equal(link_send(other_server.link, &h, text, 1), ERR_CLOSED);
	wait_for(&t, &other_server.closed, 1);
	assert_int_equal(other_server.error, ERR_FULL);
	assert_string_equal(other_server.why.text, "the other side does not read");

	send_and_check(&t, &t.server, &t.client, 8000, false);
	buf_deinit(&other_server.body);
	free(text);
	hand_deinit(&deaf);
	table_deinit(&t);
}

/* ---- closing ---- */

static void a_link_may_be_closed_in_any_of_its_events(void **state)
{
	static const struct {
		bool client_up, server_up, client_message, server_message;
	} rows[] = {{.client_up = true}, {.server_up = true}, {.client_message = true}, {.server_message = true}};

	for (int real = 0; real < 2; real++) {
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			struct header h = {.seq = 1};
			struct table t;

			table_init(&t, real, TLS_CLIENT_MUSTER);
			t.client.close_when_up = rows[i].client_up;
			t.server.close_when_up = rows[i].server_up;
			t.client.close_on_message = rows[i].client_message;
			t.server.close_on_message = rows[i].server_message;
			t.server.echo = true;
			table_dial(&t);
			wait_for(&t, &t.client.up, 1);
			if (t.client.link && !rows[i].server_up) {
				wait_for(&t, &t.server.up, 1);
				for (int n = 0; n < 60; n++)
					assert_int_equal(link_send(t.client.link, &h, "[]", 2), ERR_OK);
			}
			/* One has closed and hears nothing more, the other is told. */
			if (rows[i].client_up || rows[i].client_message)
				wait_for(&t, &t.server.closed, 1);
			else
				wait_for(&t, &t.client.closed, 1);
			assert_int_equal(t.server.closed + t.client.closed, 1);
			assert_true(t.server.messages <= 60);
			if (rows[i].server_message)
				assert_int_equal(t.server.messages, 1);
			if (rows[i].client_message)
				assert_int_equal(t.client.messages, 1);
			table_deinit(&t);
		}
	}
}

static void a_link_may_be_closed_while_its_handshake_is_on_a_thread(void **state)
{
	for (int real = 0; real < 2; real++) {
		struct table t;

		table_init(&t, real, TLS_CLIENT_MUSTER);
		t.dial.offload = true;
		table_dial(&t);
		wait_for(&t, &t.client.connected, 1);
		t.client.link = link_close(t.client.link);
		wait_for(&t, &t.server.closed, 1);
		table_deinit(&t);

		/* And when the world ends in the middle of it. */
		table_init(&t, real, TLS_CLIENT_MUSTER);
		t.dial.offload = true;
		table_dial(&t);
		wait_for(&t, &t.client.connected, 1);
		table_deinit(&t);
	}
}

static void what_was_queued_leaves_before_the_link_closes(void **state)
{
	char *text = text_of(8000, false);
	struct header h = {.seq = 1};
	struct table t;

	for (int real = 0; real < 2; real++) {
		table_init(&t, real, TLS_CLIENT_MUSTER);
		t.client.message_limit = LINK_MESSAGE_LIMIT;
		table_up(&t);
		for (int i = 0; i < 2000; i++)
			assert_int_equal(link_send(t.server.link, &h, text, 8000), ERR_OK);
		t.server.link = link_close_after_flush(t.server.link, 60000);
		wait_for(&t, &t.client.closed, 1);
		assert_int_equal(t.client.messages, 2000);
		assert_int_equal(t.client.error, ERR_CLOSED);
		assert_int_equal(t.server.closed, 0);
		table_deinit(&t);
	}
	free(text);
}

static void flushing_has_an_end(void **state)
{
	struct header h = {.seq = 1};
	struct table t;
	struct hand deaf;

	table_init(&t, false, TLS_CLIENT_COMPAT);
	hand_up(&deaf, &t);
	memory_deaf(deaf.rude.stream, true);
	assert_int_equal(link_send(t.server.link, &h, "[]", 2), ERR_OK);
	assert_true(link_queued(t.server.link) > 0);
	t.server.link = link_close_after_flush(t.server.link, 500);
	memory_turns(t.world, 3);
	memory_advance(t.world, 500);
	memory_turns(t.world, 2);
	memory_deaf(deaf.rude.stream, false);
	wait_for(&t, &deaf.rude.ended, 1);
	assert_int_equal(t.server.closed, 0);
	hand_deinit(&deaf);
	table_deinit(&t);
}

/* ---- heartbeats ---- */

static void heartbeats_are_sent_when_nothing_else_is(void **state)
{
	struct header h = {.seq = 1};
	struct mono heard;
	struct table t;

	table_init(&t, false, TLS_CLIENT_MUSTER);
	table_up(&t);
	link_set_heartbeat(t.client.link, 1000);
	heard = link_heard(t.server.link);
	memory_advance(t.world, 999);
	memory_turns(t.world, 3);
	assert_int_equal(link_heard(t.server.link).us, heard.us);
	memory_advance(t.world, 1);
	memory_turns(t.world, 3);
	assert_true(mono_before(heard, link_heard(t.server.link)));

	/* What was sent puts it off. */
	memory_advance(t.world, 600);
	assert_int_equal(link_send(t.client.link, &h, "[]", 2), ERR_OK);
	memory_turns(t.world, 3);
	heard = link_heard(t.server.link);
	memory_advance(t.world, 999);
	memory_turns(t.world, 3);
	assert_int_equal(link_heard(t.server.link).us, heard.us);
	memory_advance(t.world, 1);
	memory_turns(t.world, 3);
	assert_true(mono_before(heard, link_heard(t.server.link)));

	/* Off. */
	link_set_heartbeat(t.client.link, 0);
	heard = link_heard(t.server.link);
	memory_advance(t.world, 60000);
	memory_turns(t.world, 3);
	assert_int_equal(link_heard(t.server.link).us, heard.us);

	/* None was delivered. */
	assert_int_equal(t.server.messages, 1);
	table_deinit(&t);
}

static void cloudstack_agents_get_no_heartbeats(void **state)
{
	struct mono heard;
	struct table t;

	table_init(&t, false, TLS_CLIENT_COMPAT);
	table_up(&t);
	link_set_heartbeat(t.server.link, 1000);
	heard = link_heard(t.client.link);
	memory_advance(t.world, 60000);
	memory_turns(t.world, 3);
	assert_int_equal(link_heard(t.client.link).us, heard.us);
	table_deinit(&t);
}

/* ---- dialling ---- */

static void dialling_fails_with_a_reason(void **state)
{
	uint16_t port;
	struct table t;

	table_init(&t, true, TLS_CLIENT_MUSTER);
	port = listener_port(t.listener);
	t.listener = listener_free(t.listener);
	assert_int_equal(link_dial(&t.client.link, &t.dial, "127.0.0.1", port, NULL, NULL), ERR_OK);
	wait_for(&t, &t.client.closed, 1);
	assert_int_equal(t.client.error, ERR_UNREACHABLE);
	assert_string_equal(t.client.why.text, "connection refused");

	assert_int_equal(link_dial(&t.client.link, &t.dial, "no.such.name.invalid", port, NULL, NULL), ERR_OK);
	wait_for(&t, &t.client.closed, 2);
	assert_int_equal(t.client.error, ERR_NO_NAME);
	assert_string_equal(t.client.why.text, "no.such.name.invalid does not resolve");

	/* An address to come from that is not ours. */
	assert_int_equal(link_dial(&t.client.link, &t.dial, "127.0.0.1", port, "192.0.2.1", NULL), ERR_OK);
	assert_int_equal(t.client.closed, 2);
	wait_for(&t, &t.client.closed, 3);
	assert_int_equal(t.client.error, ERR_UNREACHABLE);

	/* Given up before anything came of it. */
	assert_int_equal(link_dial(&t.client.link, &t.dial, "no.such.name.invalid", port, NULL, NULL), ERR_OK);
	t.client.link = link_close(t.client.link);
	assert_int_equal(link_dial(&t.client.link, &t.dial, "127.0.0.1", port, NULL, NULL), ERR_OK);
	t.client.link = link_close(t.client.link);
	world_uv_turn(t.world);
	assert_int_equal(t.client.closed, 3);
	table_deinit(&t);
}

static void a_name_is_dialled_address_by_address(void **state)
{
	struct table t;

	/* We listen on 127.0.0.1; "localhost" may be ::1 first. */
	table_init(&t, true, TLS_CLIENT_MUSTER);
	assert_int_equal(link_dial(&t.client.link, &t.dial, "localhost", listener_port(t.listener), "127.0.0.1", NULL),
			 ERR_OK);
	wait_for(&t, &t.client.up, 1);
	assert_string_equal(link_peer_ip(t.client.link), "127.0.0.1");
	assert_int_equal(link_peer_port(t.client.link), listener_port(t.listener));
	assert_string_equal(link_local_ip(t.client.link), "127.0.0.1");
	table_deinit(&t);
}

static void connecting_takes_no_longer_than_allowed(void **state)
{
	struct table t;

	table_init(&t, false, TLS_CLIENT_MUSTER);
	memory_blackhole(t.world, true);
	t.dial.connect_ms = 700;
	table_dial(&t);
	memory_advance(t.world, 699);
	memory_turns(t.world, 3);
	assert_int_equal(t.client.closed, 0);
	memory_advance(t.world, 1);
	wait_for(&t, &t.client.closed, 1);
	assert_int_equal(t.client.error, ERR_TIMEOUT);
	assert_string_equal(t.client.why.text, "connecting took longer than 700 ms");
	table_deinit(&t);
}

static void nobody_sends_on_a_link_that_is_not_up(void **state)
{
	struct header h = {.seq = 1};
	struct table t;

	table_init(&t, false, TLS_CLIENT_MUSTER);
	table_dial(&t);
	assert_int_equal(link_send(t.client.link, &h, "[]", 2), ERR_STATE);
	assert_null(link_peer(t.client.link));
	assert_int_equal(link_state(t.client.link), LINK_CONNECTING);
	wait_for(&t, &t.client.up, 1);
	assert_int_equal(link_state(t.client.link), LINK_UP);
	table_deinit(&t);
}

static void a_server_of_another_ca_is_refused_by_name(void **state)
{
	struct party other = party_root("another root");
	struct tls_creds *c = NULL;
	struct table t;

	table_init(&t, true, TLS_CLIENT_MUSTER);
	assert_int_equal(tls_creds_new(t.world, &c,
				       &(struct tls_material){
					       .chain = agent_party.cert, .key = agent_party.key, .ca = other.cert},
				       NULL),
			 ERR_OK);
	t.dial.tls.creds = c;
	t.dial.offload = true;
	table_dial(&t);
	tls_creds_unref(c); /* the link has its own reference */
	wait_for(&t, &t.client.closed, 1);
	assert_int_equal(t.client.error, ERR_UNTRUSTED);
	assert_string_equal(t.client.why.text, "the certificate is not signed by a trusted CA");
	wait_for(&t, &t.server.closed, 1);
	party_deinit(&other);
	table_deinit(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_of_every_size_arrive),
		cmocka_unit_test(a_message_can_be_passed_on),
		cmocka_unit_test(many_messages_take_turns),
		cmocka_unit_test(garbage_closes_the_link),
		cmocka_unit_test(a_silent_client_times_out),
		cmocka_unit_test(a_probe_that_says_nothing_is_tolerated),
		cmocka_unit_test(a_handshake_waits_until_it_is_admitted),
		cmocka_unit_test(waiting_is_not_the_clients_fault),
		cmocka_unit_test(who_waits_and_goes_is_noticed),
		cmocka_unit_test(who_waits_may_send_no_more_than_a_hello),
		cmocka_unit_test(a_handshake_in_crumbs_costs_no_steps),
		cmocka_unit_test(breaches_close_the_link_with_a_sentence),
		cmocka_unit_test(odd_packets_that_are_allowed_do_no_harm),
		cmocka_unit_test(half_a_packet_and_gone),
		cmocka_unit_test(packets_behind_the_handshake_are_read),
		cmocka_unit_test(an_authenticated_peer_may_send_more),
		cmocka_unit_test(who_does_not_read_is_closed_alone),
		cmocka_unit_test(a_link_may_be_closed_in_any_of_its_events),
		cmocka_unit_test(a_link_may_be_closed_while_its_handshake_is_on_a_thread),
		cmocka_unit_test(what_was_queued_leaves_before_the_link_closes),
		cmocka_unit_test(flushing_has_an_end),
		cmocka_unit_test(heartbeats_are_sent_when_nothing_else_is),
		cmocka_unit_test(cloudstack_agents_get_no_heartbeats),
		cmocka_unit_test(dialling_fails_with_a_reason),
		cmocka_unit_test(a_name_is_dialled_address_by_address),
		cmocka_unit_test(connecting_takes_no_longer_than_allowed),
		cmocka_unit_test(nobody_sends_on_a_link_that_is_not_up),
		cmocka_unit_test(a_server_of_another_ca_is_refused_by_name),
	};

	return cmocka_run_group_tests(tests, make_parties, free_parties);
}
