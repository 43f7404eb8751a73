/*
 * The network of the simulated world: TCP as programs see it.
 *
 * A connection has two halves, one in each kernel. What a program writes
 * travels as segments that arrive in order; a lost one only comes later. While
 * the way is cut, segments are sent again with growing pauses, and when nothing
 * gets there and back for about as long as keepalive and user time-out allow on
 * the real ones (net/stream_uv.c), both kernels give up, each by itself. A
 * kernel that does not know a connection - its machine was without power, or it
 * has given up - answers with a reset.
 *
 * A half outlives its program: what was handed to the kernel is still delivered
 * after close() and after a kill.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

#include "sim/private.h"

#define WINDOW (256u * 1024) /* sent and not read by the program on the other side */
#define PART_MAX (64u * 1024)
#define ACCEPTS_PER_TURN 32
#define RTO_US 200000
#define RTO_MAX_US 5000000
#define SILENT_US 4000000 /* keepalive; the user time-out is a second more */
#define KEEPALIVE_US 1000000
#define NO_ROUTE_US 3000000
#define SYN_TRIES 6
#define NAME_US 500
#define NAME_STALL_US 5000000

struct segment {
	struct list in_flight;
	int64_t arrives_at;
	enum { SEG_DATA, SEG_FIN, SEG_RST } kind;
	size_t n;
	uint8_t data[];
};

struct conn;

struct half {
	struct conn *conn;
	struct sim_node *node;
	uint32_t boots;          /* of the machine when the connection was made */
	struct sim_stream *user; /* NULL: not accepted yet, or the program has closed it */
	bool in_kernel;          /* the handshake is complete on this side */
	bool closed;             /* the program has closed it */
	bool gone;               /* the kernel doesn't know it any more */
	struct list in_backlog;
	/* from here to the other half */
	struct list flight; /* struct segment */
	size_t unread;      /* bytes sent and not read yet */
	struct buf queue;   /* waits for room */
	bool was_queued;
	int64_t last_arrival;
	int64_t rto_us;
	struct sim_event out; /* the first segment arrives, or is sent again */
	struct sim_event drained;
	/* to here */
	struct buf received;
	bool fin_received;
	enum err failure;
	const char *failure_text;
	struct sim_event readable;
	struct sim_event silent; /* the other side does not answer */
};

struct conn {
	struct sim *sim;
	struct list in_conns;
	struct half halves[2]; /* the one that dialled first */
	uint16_t from_port, port;
	struct sim_event arrive; /* the last packet of the handshake reaches the listener */
	unsigned refs;           /* somebody is inside a callback */
};

struct sim_stream {
	struct stream stream;
	struct list in_streams;
	struct half *half; /* NULL: not connected yet, or a shell of a dead process */
	bool paused;
	bool ending;
	/* while dialling */
	struct sim_event dial;
	unsigned tries;
	struct sim_node *target;
	enum err dial_error;
	const char *dial_text;
};

struct sim_listener {
	struct listener listener;
	struct list in_listeners;
	struct sim_node *node;
	uint16_t port;
	size_t room;
	size_t n_backlog;
	struct list backlog; /* struct half */
	struct sim_event accept;
	bool paused;
	void (*accepted)(void *user, struct stream *s);
	void *user;
};

struct resolving {
	struct sim_event event;
	struct list in_resolves;
	struct resolve *r;
	bool fails;
};

static struct sim_stream *stream_of(const struct stream *s)
{
	return container_of((struct stream *)(uintptr_t)s, struct sim_stream, stream);
}

static struct half *other(struct half *h)
{
	return &h->conn->halves[h == &h->conn->halves[0]];
}

/* ---- ways ---- */

static uint64_t pair(const struct sim_node *from, const struct sim_node *to)
{
	return (uint64_t)from->id << 32 | to->id;
}

static bool gets_there(const struct sim *s, const struct sim_node *from, const struct sim_node *to)
{
	return from->powered && to->powered && !map_get_u64(&s->cuts, pair(from, to));
}

bool sim_can_talk(const struct sim *s, const struct sim_node *a, const struct sim_node *b)
{
	return gets_there(s, a, b) && gets_there(s, b, a);
}

static int64_t latency(struct sim *s)
{
	const struct sim_network *n = &s->network;
	int64_t us = n->latency_us + (int64_t)rng_below(&s->rng, (uint64_t)n->jitter_us + 1);

	for (int64_t rto = RTO_US; sim_draw(s, n->loss_ppm) && rto < RTO_MAX_US; rto *= 2)
		us += rto;
	return us;
}

/* ---- the end of halves and connections ---- */

static void flight_drop(struct half *h)
{
	list_for (g, &h->flight, struct segment, in_flight) {
		list_remove(&g->in_flight);
		mem_free(g);
	}
	sim_event_stop(h->conn->sim, &h->out);
}

static void conn_free_if_over(struct conn *c)
{
	struct sim *s = c->sim;

	if (c->refs)
		return;
	for (int i = 0; i < 2; i++)
		if (!c->halves[i].gone || c->halves[i].user || !list_is_empty(&c->halves[i].in_backlog))
			return;
	for (int i = 0; i < 2; i++) {
		struct half *h = &c->halves[i];

		flight_drop(h);
		sim_event_stop(s, &h->drained);
		sim_event_stop(s, &h->readable);
		sim_event_stop(s, &h->silent);
		buf_deinit(&h->queue);
		buf_deinit(&h->received);
	}
	sim_event_stop(s, &c->arrive);
	list_remove(&c->in_conns);
	s->n_conns--;
	mem_free(c);
}

static void conn_unref(struct conn *c)
{
	c->refs--;
	conn_free_if_over(c);
}

static void half_gone(struct half *h)
{
	h->gone = true;
	flight_drop(h);
	sim_event_stop(h->conn->sim, &h->silent);
	conn_free_if_over(h->conn);
}

/* The kernel ends it. A program that still has it hears of it when it reads. */
static void half_fail(struct half *h, enum err why, const char *text)
{
	struct sim *s = h->conn->sim;

	if (h->gone)
		return;
	if (h->user && !h->failure) {
		h->failure = why;
		h->failure_text = text;
		if (!h->user->paused)
			sim_event_set(s, &h->readable, s->now_us);
	} else if (!h->closed && !h->user) { /* in the backlog */
		h->failure = why;
		h->failure_text = text;
	}
	half_gone(h);
}

/* ---- segments ---- */

static void segment_send(struct half *h, int kind, const void *data, size_t n)
{
	struct sim *s = h->conn->sim;
	struct segment *g = malloc(sizeof(*g) + n);

	if (!g)
		abort();
	g->kind = kind;
	g->n = n;
	if (n)
		memcpy(g->data, data, n);
	g->arrives_at = s->now_us + latency(s);
	if (g->arrives_at < h->last_arrival)
		g->arrives_at = h->last_arrival;
	h->last_arrival = g->arrives_at;
	h->unread += n;
	if (list_is_empty(&h->flight))
		sim_event_set(s, &h->out, g->arrives_at);
	list_append(&h->flight, &g->in_flight);
}

/* What waits goes on its way as far as there is room. */
static void pump(struct half *h)
{
	struct sim *s = h->conn->sim;

	if (h->gone || h->closed)
		return;
	while (h->queue.len > 0 && h->unread < WINDOW) {
		size_t n = h->queue.len < PART_MAX ? h->queue.len : PART_MAX;

		segment_send(h, SEG_DATA, h->queue.data, n);
		buf_consume(&h->queue, n);
	}
	if (h->was_queued && h->queue.len == 0) {
		h->was_queued = false;
		buf_deinit(&h->queue);
		sim_event_set(s, &h->drained, s->now_us);
	}
}

static void on_drained(struct sim_event *e)
{
	struct half *h = container_of(e, struct half, drained);
	struct conn *c = h->conn;

	if (!h->user || h->queue.len > 0 || !h->user->stream.events->drained)
		return;
	c->refs++;
	h->user->stream.events->drained(h->user->stream.user);
	conn_unref(c);
}

static void stream_detach(struct sim_stream *st)
{
	sim_event_stop(node_of(st->stream.world)->sim, &st->dial);
	if (st->half)
		st->half->user = NULL;
	st->half = NULL;
}

static void stream_free(struct sim_stream *st)
{
	stream_detach(st);
	list_remove(&st->in_streams);
	node_of(st->stream.world)->n_streams--;
	mem_free(st);
}

static void stream_end(struct sim_stream *st, enum err why, const char *text)
{
	st->ending = true;
	stream_detach(st);
	st->stream.events->ended(st->stream.user, why, text);
	stream_free(st);
}

static void half_reads(struct half *h, const uint8_t *data, size_t n)
{
	struct conn *c = h->conn;

	sim_hash_number(c->sim, h->node->id);
	other(h)->unread -= n;
	c->refs++;
	h->user->stream.events->data(h->user->stream.user, data, n);
	pump(other(h));
	conn_unref(c);
}

static void on_readable(struct sim_event *e)
{
	struct half *h = container_of(e, struct half, readable);
	struct conn *c = h->conn;
	struct sim *s = c->sim;

	if (!h->user || h->user->paused)
		return;
	c->refs++;
	if (h->received.len > 0) {
		struct buf now = {0};

		buf_move(&now, &h->received);
		half_reads(h, now.data, now.len);
		buf_deinit(&now);
		if (h->user && !h->user->paused && (h->received.len > 0 || h->fin_received || h->failure))
			sim_event_set(s, &h->readable, s->now_us);
	} else if (h->fin_received) {
		struct sim_stream *st = h->user;

		/* libuv's stream is closed by us when the other side has closed it: our own
		 * end follows. */
		h->closed = true;
		st->half = NULL;
		h->user = NULL;
		if (!h->gone)
			segment_send(h, SEG_FIN, NULL, 0);
		stream_end(st, ERR_CLOSED, "the other side closed the connection");
	} else if (h->failure) {
		stream_end(h->user, h->failure, h->failure_text);
	}
	conn_unref(c);
}

static void keep_received(struct half *h, const uint8_t *data, size_t n, int64_t after_us)
{
	struct sim *s = h->conn->sim;

	if (buf_put(&h->received, data, n) != ERR_OK)
		abort();
	if (h->user && !h->user->paused && !sim_event_is_set(&h->readable))
		sim_event_set(s, &h->readable, s->now_us + after_us);
}

static void data_arrives(struct half *h, const uint8_t *data, size_t n)
{
	struct sim *s = h->conn->sim;
	size_t first = n;

	if (!h->user || h->user->paused || h->received.len > 0 || h->node->frozen || h->node->doomed) {
		keep_received(h, data, n, 0);
		return;
	}
	if (n > 1 && sim_draw(s, s->network.split_ppm))
		first = 1 + (size_t)rng_below(&s->rng, n - 1);
	if (first < n)
		keep_received(h, data + first, n - first, 50);
	sim_enter(h->node);
	half_reads(h, data, first);
	sim_leave(h->node);
}

static void segment_arrives(struct half *to, struct segment *g)
{
	struct sim *s = to->conn->sim;

	if (g->kind == SEG_RST) {
		half_fail(to, ERR_CLOSED, "the other side reset the connection");
		return;
	}
	if (g->kind == SEG_DATA) {
		data_arrives(to, g->data, g->n);
		return;
	}
	to->fin_received = true;
	if (to->user && !to->user->paused && to->received.len == 0)
		sim_event_set(s, &to->readable, s->now_us);
}

/* Nobody is there any more who knows of this connection. */
static bool is_unknown(const struct half *h)
{
	return h->gone || h->closed || h->boots != h->node->boots;
}

static void try_again(struct half *h)
{
	struct sim *s = h->conn->sim;

	h->rto_us = h->rto_us ? h->rto_us * 2 : RTO_US;
	if (h->rto_us > RTO_MAX_US)
		h->rto_us = RTO_MAX_US;
	sim_event_set(s, &h->out, s->now_us + h->rto_us);
}

static void on_out(struct sim_event *e)
{
	struct half *h = container_of(e, struct half, out), *to = other(h);
	struct conn *c = h->conn;
	struct sim *s = c->sim;

	if (!gets_there(s, h->node, to->node) || (!to->in_kernel && !to->gone)) {
		try_again(h);
		return;
	}
	c->refs++;
	h->rto_us = 0;
	while (!list_is_empty(&h->flight)) {
		struct segment *g = list_first(&h->flight, struct segment, in_flight);

		if (g->arrives_at > s->now_us) {
			sim_event_set(s, &h->out, g->arrives_at);
			break;
		}
		if (is_unknown(to)) {
			/* To a last word there is no answer; to everything else a reset. */
			if (g->kind != SEG_DATA)
				half_gone(h);
			else if (gets_there(s, to->node, h->node))
				half_fail(h, ERR_CLOSED, "the other side reset the connection");
			else
				try_again(h);
			break;
		}
		list_remove(&g->in_flight);
		segment_arrives(to, g);
		mem_free(g);
	}
	if (h->closed && !h->gone && list_is_empty(&h->flight))
		half_gone(h);
	conn_unref(c);
}

static void on_silent(struct sim_event *e)
{
	struct half *h = container_of(e, struct half, silent);
	struct sim *s = h->conn->sim;

	if (!sim_can_talk(s, h->node, other(h)->node))
		half_fail(h, ERR_TIMEOUT, "the other side does not answer");
	else if (is_unknown(other(h)))
		half_fail(h, ERR_CLOSED, "the other side reset the connection");
}

/* Ways have opened or closed: whose keepalive will notice? */
static void look_at_ways(struct sim *s)
{
	list_for (c, &s->conns, struct conn, in_conns) {
		bool talk = sim_can_talk(s, c->halves[0].node, c->halves[1].node);

		for (int i = 0; i < 2; i++) {
			struct half *h = &c->halves[i];

			if (h->gone)
				continue;
			if (!talk && !sim_event_is_set(&h->silent)) {
				sim_event_set(s, &h->silent,
					      s->now_us + SILENT_US + (int64_t)rng_below(&s->rng, 1500000));
			} else if (talk) {
				sim_event_stop(s, &h->silent);
				if (is_unknown(other(h)))
					sim_event_set(s, &h->silent,
						      s->now_us + (int64_t)rng_below(&s->rng, KEEPALIVE_US));
			}
		}
	}
}

/* The program lets go; what it has written still leaves. */
static void half_close(struct half *h, bool flush, bool reset)
{
	h->closed = true;
	h->user = NULL;
	sim_event_stop(h->conn->sim, &h->readable);
	sim_event_stop(h->conn->sim, &h->drained);
	if (h->gone) {
		conn_free_if_over(h->conn);
		return;
	}
	if (flush && h->queue.len > 0)
		segment_send(h, SEG_DATA, h->queue.data, h->queue.len);
	buf_deinit(&h->queue);
	buf_deinit(&h->received);
	segment_send(h, reset ? SEG_RST : SEG_FIN, NULL, 0);
}

/* ---- what programs call ---- */

enum err net_stream_write(struct stream *stream, const void *data, size_t n)
{
	struct sim_stream *st = stream_of(stream);
	struct half *h = st->half;
	struct sim *s = node_of(stream->world)->sim;
	const uint8_t *p = data;

	if (node_is_mute(node_of(stream->world)) || n == 0)
		return ERR_OK;
	if (!h)
		return ERR_CLOSED;
	if (h->failure) {
		if (!st->paused)
			sim_event_set(s, &h->readable, s->now_us);
		return ERR_CLOSED;
	}
	sim_hash_number(s, 77);
	while (n > 0 && h->queue.len == 0 && h->unread < WINDOW) {
		size_t part = n < PART_MAX ? n : PART_MAX;

		segment_send(h, SEG_DATA, p, part);
		p += part;
		n -= part;
	}
	if (n > 0) {
		h->was_queued = true;
		return buf_put(&h->queue, p, n);
	}
	return ERR_OK;
}

size_t net_stream_queued(const struct stream *stream)
{
	const struct sim_stream *st = stream_of(stream);

	return st->half ? st->half->queue.len : 0;
}

void net_stream_pause(struct stream *stream, bool paused)
{
	struct sim_stream *st = stream_of(stream);
	struct half *h = st->half;
	struct sim *s = node_of(stream->world)->sim;

	st->paused = paused;
	if (!h || paused || node_is_mute(node_of(stream->world)))
		return;
	if (h->received.len > 0 || h->fin_received || h->failure)
		sim_event_set(s, &h->readable, s->now_us);
}

void net_stream_close(struct stream *stream)
{
	struct sim_stream *st = stream_of(stream);
	struct half *h = st->half;

	if (st->ending)
		return;
	st->half = NULL;
	if (h)
		half_close(h, true, false);
	stream_free(st);
}

static struct sim_stream *stream_new(struct sim_node *n)
{
	struct sim_stream *st = mem_zalloc(sizeof(*st));

	if (!st)
		abort();
	st->stream.world = &n->world;
	list_append(&n->streams, &st->in_streams);
	n->n_streams++;
	return st;
}

static uint16_t next_port(struct sim_node *n)
{
	if (++n->next_port < 32768)
		n->next_port = 32768;
	return n->next_port;
}

/* ---- connecting ---- */

static struct sim_listener *listener_at(struct sim_node *n, uint16_t port)
{
	list_for (l, &n->listeners, struct sim_listener, in_listeners)
		if (l->port == port)
			return l;
	return NULL;
}

static void half_init(struct conn *c, int i, struct sim_node *n)
{
	struct half *h = &c->halves[i];

	h->conn = c;
	h->node = n;
	h->boots = n->boots;
	list_init(&h->in_backlog);
	list_init(&h->flight);
	sim_event_init(&h->out, NULL, EV_SEGMENT, on_out);
	sim_event_init(&h->drained, n, EV_DRAINED, on_drained);
	sim_event_init(&h->readable, n, EV_READABLE, on_readable);
	sim_event_init(&h->silent, NULL, EV_DEAD_PEER, on_silent);
}

/* The handshake is complete at the listener too: the connection waits to be
 * accepted. */
static void on_arrive(struct sim_event *e)
{
	struct conn *c = container_of(e, struct conn, arrive);
	struct half *h = &c->halves[1];
	struct sim *s = c->sim;
	struct sim_listener *l;

	if (!gets_there(s, c->halves[0].node, h->node)) {
		sim_event_set(s, e, s->now_us + KEEPALIVE_US);
		return;
	}
	l = h->boots == h->node->boots ? listener_at(h->node, c->port) : NULL;
	if (!l) {
		half_gone(h); /* what comes is answered with a reset */
		if (!c->halves[0].gone)
			half_fail(&c->halves[0], ERR_CLOSED, "the other side reset the connection");
		return;
	}
	h->in_kernel = true;
	list_append(&l->backlog, &h->in_backlog);
	l->n_backlog++;
	if (!l->paused)
		sim_event_set(s, &l->accept, s->now_us);
}

static void dial_again(struct sim_stream *st)
{
	struct sim *s = node_of(st->stream.world)->sim;

	if (++st->tries > SYN_TRIES) {
		st->dial_error = ERR_TIMEOUT;
		st->dial_text = "the other side does not answer";
		st->dial.owner = node_of(st->stream.world);
		sim_event_set(s, &st->dial, s->now_us);
		return;
	}
	sim_event_set(s, &st->dial, s->now_us + (500000LL << st->tries));
}

static void on_established(struct sim_event *e)
{
	struct sim_stream *st = container_of(e, struct sim_stream, dial);
	struct sim_node *n = node_of(st->stream.world);
	struct sim *s = n->sim;
	struct conn *c;

	if (st->dial_error) {
		stream_end(st, st->dial_error, st->dial_text);
		return;
	}
	c = mem_zalloc(sizeof(*c));
	if (!c)
		abort();
	c->sim = s;
	c->from_port = st->stream.local_port;
	c->port = st->stream.peer_port;
	half_init(c, 0, n);
	half_init(c, 1, st->target);
	c->halves[0].user = st;
	c->halves[0].in_kernel = true;
	st->half = &c->halves[0];
	list_append(&s->conns, &c->in_conns);
	s->n_conns++;
	sim_event_init(&c->arrive, NULL, EV_SYN, on_arrive);
	c->halves[0].last_arrival = s->now_us + latency(s);
	sim_event_set(s, &c->arrive, c->halves[0].last_arrival);
	if (!sim_can_talk(s, n, st->target))
		look_at_ways(s);
	st->stream.events->connected(st->stream.user);
}

static void on_syn(struct sim_event *e)
{
	struct sim_stream *st = container_of(e, struct sim_stream, dial);
	struct sim_node *n = node_of(st->stream.world);
	struct sim *s = n->sim;
	struct sim_listener *l;

	if (!st->target) {
		st->dial_error = ERR_UNREACHABLE;
		st->dial_text = "no route to the host";
		e->owner = n;
		e->fire = on_established;
		sim_event_set(s, e, s->now_us + NO_ROUTE_US);
		return;
	}
	if (!sim_can_talk(s, n, st->target) || sim_draw(s, s->network.loss_ppm)) {
		dial_again(st);
		return;
	}
	l = listener_at(st->target, st->stream.peer_port);
	if (l && l->n_backlog >= l->room) {
		dial_again(st); /* a full backlog is silent */
		return;
	}
	if (!l) {
		st->dial_error = ERR_UNREACHABLE;
		st->dial_text = "connection refused";
	}
	e->owner = n;
	e->fire = on_established;
	sim_event_set(s, e, s->now_us + latency(s));
}

static bool is_literal(const char *ip)
{
	struct in6_addr six;
	struct in_addr four;

	return inet_pton(AF_INET, ip, &four) == 1 || inet_pton(AF_INET6, ip, &six) == 1;
}

enum err net_connect(struct world *w, struct stream **out, const char *ip, uint16_t port, const char *source_ip,
		     const struct stream_events *events, void *user, struct why *why)
{
	struct sim_node *n = node_of(w);
	struct sim_stream *st;

	if (!is_literal(ip)) {
		why_set(why, "%s is no address", ip);
		return ERR_INVALID;
	}
	st = stream_new(n);
	st->stream.events = events;
	st->stream.user = user;
	str_copy(st->stream.peer_ip, sizeof(st->stream.peer_ip), ip);
	st->stream.peer_port = port;
	str_copy(st->stream.local_ip, sizeof(st->stream.local_ip), source_ip ? source_ip : n->ip);
	st->stream.local_port = next_port(n);
	st->target = map_get(&n->sim->by_ip, ip);
	sim_event_init(&st->dial, NULL, EV_SYN, on_syn);
	if (!node_is_mute(n))
		sim_event_set(n->sim, &st->dial, n->sim->now_us + latency(n->sim));
	*out = &st->stream;
	return ERR_OK;
}

/* ---- listening ---- */

static void accept_one(struct sim_listener *l)
{
	struct half *h = list_first(&l->backlog, struct half, in_backlog);
	struct sim_node *n = l->node;
	struct sim_stream *st = stream_new(n);
	struct sim *s = n->sim;

	list_remove(&h->in_backlog);
	l->n_backlog--;
	sim_event_init(&st->dial, NULL, EV_SYN, on_syn);
	str_copy(st->stream.peer_ip, sizeof(st->stream.peer_ip), h->conn->halves[0].node->ip);
	st->stream.peer_port = h->conn->from_port;
	str_copy(st->stream.local_ip, sizeof(st->stream.local_ip), n->ip);
	st->stream.local_port = l->port;
	st->half = h;
	h->user = st;
	h->conn->refs++;
	l->accepted(l->user, &st->stream);
	if (h->user && !h->user->stream.events)
		net_stream_close(&h->user->stream);
	else if (h->user && !h->user->paused && (h->received.len > 0 || h->fin_received || h->failure))
		sim_event_set(s, &h->readable, s->now_us);
	conn_unref(h->conn);
}

static void on_accept(struct sim_event *e)
{
	struct sim_listener *l = container_of(e, struct sim_listener, accept);

	/* A listener may be freed by whoever takes a connection: not while it is in
	 * its own callback. */
	for (int i = 0; i < ACCEPTS_PER_TURN && !l->paused && !list_is_empty(&l->backlog); i++)
		accept_one(l);
	if (!l->paused && !list_is_empty(&l->backlog))
		sim_event_set(l->node->sim, e, l->node->sim->now_us + 1);
}

enum err net_listen(struct world *w, struct listener **out, const struct listen_params *p, struct why *why)
{
	struct sim_node *n = node_of(w);
	bool all = str_is_blank(p->ip) || str_equal(p->ip, "::") || str_equal(p->ip, "0.0.0.0");
	uint16_t port = p->port ? p->port : next_port(n);
	struct sim_listener *l;

	if (!all && !str_equal(p->ip, n->ip)) {
		why_set(why, "listen on %s port %u: address is not available", p->ip, port);
		return ERR_UNREACHABLE;
	}
	if (listener_at(n, port)) {
		why_set(why, "listen on %s port %u: address is in use", p->ip, port);
		return ERR_EXISTS;
	}
	l = mem_zalloc(sizeof(*l));
	if (!l)
		return ERR_NOMEM;
	l->listener.world = w;
	l->node = n;
	l->port = port;
	l->room = p->backlog > 0 ? (size_t)p->backlog : 4096;
	l->accepted = p->accepted;
	l->user = p->user;
	list_init(&l->backlog);
	sim_event_init(&l->accept, n, EV_ACCEPT, on_accept);
	list_append(&n->listeners, &l->in_listeners);
	*out = &l->listener;
	return ERR_OK;
}

void net_listener_pause(struct listener *listener, bool paused)
{
	struct sim_listener *l = container_of(listener, struct sim_listener, listener);

	l->paused = paused;
	if (!paused && !list_is_empty(&l->backlog) && !node_is_mute(l->node))
		sim_event_set(l->node->sim, &l->accept, l->node->sim->now_us);
}

uint16_t net_listener_port(const struct listener *l)
{
	return container_of((struct listener *)(uintptr_t)l, struct sim_listener, listener)->port;
}

/* Not accepted ones are reset; without power even that is not said. */
static void listener_close(struct sim_listener *l, bool silent)
{
	sim_event_stop(l->node->sim, &l->accept);
	list_remove(&l->in_listeners);
	list_for (h, &l->backlog, struct half, in_backlog) {
		list_remove(&h->in_backlog);
		if (silent)
			half_gone(h);
		else
			half_close(h, false, true);
	}
	l->n_backlog = 0;
}

struct listener *net_listener_free(struct listener *listener)
{
	struct sim_listener *l = container_of(listener, struct sim_listener, listener);

	listener_close(l, false);
	mem_free(l);
	return NULL;
}

/* ---- names ---- */

enum err sim_name(struct sim *s, const char *name, struct sim_node *n)
{
	return map_put(&s->by_name, name, n);
}

struct sim_node *sim_node_at(const struct sim *s, const char *ip_or_name)
{
	struct sim_node *n = map_get(&s->by_ip, ip_or_name);

	return n ? n : map_get(&s->by_name, ip_or_name);
}

static void on_resolve(struct sim_event *e)
{
	struct resolving *v = container_of(e, struct resolving, event);
	struct resolve *r = v->r;
	struct sim_node *n = e->owner, *found = map_get(&n->sim->by_name, r->name);

	r->impl = NULL;
	r->result = v->fails || !found ? ERR_NO_NAME : str_list_add(&r->addresses, found->ip);
	list_remove(&v->in_resolves);
	mem_free(v);
	r->done(r);
}

enum err net_resolve(struct world *w, struct resolve *r)
{
	struct sim_node *n = node_of(w);
	struct resolving *v = mem_zalloc(sizeof(*v));

	if (!v)
		return ERR_NOMEM;
	v->r = r;
	v->fails = n->sim->network.names_down;
	sim_event_init(&v->event, n, EV_RESOLVE, on_resolve);
	list_append(&n->resolves, &v->in_resolves);
	if (!node_is_mute(n))
		sim_event_set(n->sim, &v->event, n->sim->now_us + (v->fails ? NAME_STALL_US : NAME_US));
	r->impl = v;
	return ERR_OK;
}

void net_resolve_cancel(struct world *w, struct resolve *r)
{
	struct resolving *v = r->impl;

	if (!v)
		return;
	r->impl = NULL;
	sim_event_stop(node_of(w)->sim, &v->event);
	list_remove(&v->in_resolves);
	mem_free(v);
}

/* ---- cuts ---- */

void sim_cut(struct sim *s, struct sim_node *from, struct sim_node *to, bool cut)
{
	if (!cut)
		map_remove_u64(&s->cuts, pair(from, to));
	else if (map_put_u64(&s->cuts, pair(from, to), s))
		abort();
	look_at_ways(s);
}

void sim_heal(struct sim *s)
{
	map_deinit(&s->cuts);
	map_init_number(&s->cuts, 1);
	look_at_ways(s);
}

struct sim_network *sim_network(struct sim *s)
{
	return &s->network;
}

size_t sim_connections(const struct sim *s)
{
	return s->n_conns;
}

/* ---- processes ---- */

static void stream_cut(struct sim_stream *st, bool silent)
{
	struct half *h = st->half;

	sim_event_stop(node_of(st->stream.world)->sim, &st->dial);
	st->half = NULL;
	if (!h)
		return;
	if (!silent) {
		/* Unread bytes make the kernel say that nobody will read them. */
		half_close(h, false, h->received.len > 0);
		return;
	}
	h->user = NULL;
	h->closed = true;
	sim_event_stop(h->conn->sim, &h->readable);
	sim_event_stop(h->conn->sim, &h->drained);
	half_gone(h);
}

void net_process_died(struct sim_node *n, enum sim_death how)
{
	bool silent = how == SIM_POWER_LOST;
	struct sim *s = n->sim;

	list_for (l, &n->listeners, struct sim_listener, in_listeners)
		listener_close(l, silent);
	list_for (st, &n->streams, struct sim_stream, in_streams)
		stream_cut(st, silent);
	list_for (v, &n->resolves, struct resolving, in_resolves)
		sim_event_stop(s, &v->event);
	if (!silent)
		return;
	/* What programs had closed before is forgotten too. */
	list_for (c, &s->conns, struct conn, in_conns) {
		c->refs++;
		for (int i = 0; i < 2; i++)
			if (c->halves[i].node == n && !c->halves[i].gone)
				half_gone(&c->halves[i]);
		conn_unref(c);
	}
	look_at_ways(s);
}

void net_process_swept(struct sim_node *n)
{
	list_for (st, &n->streams, struct sim_stream, in_streams)
		stream_free(st);
	list_for (v, &n->resolves, struct resolving, in_resolves) {
		list_remove(&v->in_resolves);
		mem_free(v);
	}
	n->n_streams = 0;
}

/* A machine that was without power is there again. */
void net_machine_started(struct sim_node *n)
{
	look_at_ways(n->sim);
}

void net_init(struct sim *s)
{
	s->network = (struct sim_network){.latency_us = 200, .jitter_us = 200, .split_ppm = 20000};
	list_init(&s->conns);
	map_init_text(&s->by_ip, 1);
	map_init_text(&s->by_name, 1);
	map_init_number(&s->cuts, 1);
}

void net_deinit(struct sim *s)
{
	list_for (c, &s->conns, struct conn, in_conns) {
		c->refs = 0;
		for (int i = 0; i < 2; i++) {
			c->halves[i].gone = true;
			c->halves[i].user = NULL;
			list_init(&c->halves[i].in_backlog);
		}
		conn_free_if_over(c);
	}
	map_deinit(&s->by_ip);
	map_deinit(&s->by_name);
	map_deinit(&s->cuts);
}
