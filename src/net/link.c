/*
 * Links: see net/link.h.
 *
 * Bytes come from the stream, either into the TLS handshake (raw) or, after it, packet by packet through TLS into the
 * message being assembled. What can be handled where it lies is not copied, so that an idle link holds no buffer:
 * `in` has only what waits for more bytes or for its turn, `message` only what is not whole yet.
 *
 * A link that fails while somebody is calling us says so at the end of the turn (`pending`), never from inside the
 * caller's function. Every event may close the link, so after each one the state is looked at again.
 */
#include "net/link.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "net/dial.h"
#include "wire/frame.h"

#define CONNECT_MS 10000
#define HANDSHAKE_MS 10000
#define QUEUE_LIMIT (32u * 1024 * 1024)
#define FRAMES_PER_TURN 25
#define WRITE_CHUNK (256u * 1024) /* packets of a message are gathered up to here */
#define HEARTBEAT 0xff
/*
 * A client has two or three flights, and each may come in a few pieces. Who sends one record at a time would have us
 * wake a thread for each.
 */
#define STEPS_MAX 64

/*
 * A link's states.
 *
 *   CONNECTING --TCP--> HANDSHAKE --TLS--> UP
 *       |                   |              |
 *       +-------------------+--> CLOSED <--+
 */
#define TO(state) (1u << LINK_##state)
/* clang-format off */
static const struct {
	const char *name;
	unsigned next; /* states that may follow */
} states[] = {
	[LINK_CONNECTING] = { "connecting", TO(HANDSHAKE) | TO(CLOSED) },
	[LINK_HANDSHAKE]  = { "handshake",  TO(UP)        | TO(CLOSED) },
	[LINK_UP]         = { "up",         TO(CLOSED) },
	[LINK_CLOSED]     = { "closed",     0 },
};
/* clang-format on */
#undef TO

/* A handshake step on a work thread. It owns the session and the buffers, and outlives the link if need be. */
struct step {
	struct work work;
	struct link *link; /* NULL: closed meanwhile */
	bool is_moot;      /* the same for the work thread; atomic */
	struct tls *tls;
	struct buf in, out;
	struct buf ticket; /* sealed, to be framed */
	enum tls_outcome outcome;
	enum err error;
	struct why why;
};

struct link {
	struct world *world;
	const struct log *log;
	const struct link_events *events; /* NULL: flushing, nobody listens */
	void *user;
	enum link_state state;
	struct mono since;
	struct mono heard;
	struct mono sent;
	struct stream *stream;        /* owned; NULL before and after TCP */
	struct tls *tls;              /* owned; NULL until the handshake begins and while a step has it */
	struct tls_params tls_params; /* `creds` referenced, until the session is there */
	struct dial *dial;            /* owned; until TCP is there */
	struct step *step;            /* owned by the work while it is away */
	struct timer deadline;        /* of the state; after link_close_after_flush(): of that */
	struct timer beat;
	struct later later;
	struct buf in;      /* bytes that wait */
	struct buf message; /* plaintext of the message that is being assembled */
	size_t message_limit;
	size_t queue_limit;
	int64_t handshake_ms;
	int64_t took_ms;
	int64_t heartbeat_ms; /* 0: off */
	/* Accepted links, in the handshake: */
	enum tls_look (*look)(struct bytes in, bool is_hello, struct why *why); /* the credentials'; may be NULL */
	int64_t held_ms;                                                        /* 0: it isn't held */
	struct mono hello_at, turn_since;
	unsigned n_steps;
	bool has_hello;
	bool admitted;
	bool is_client;
	bool cert_in_question; /* has left, and the last step has not said otherwise */
	bool offload;
	bool muster;
	bool was_up;
	bool flushing; /* link_close_after_flush() */
	/* For the end of the turn: */
	bool pending_read; /* packets wait in `in` */
	bool pending_step; /* it was admitted */
	bool pending_free;
	enum err failure;   /* ERR_OK: none */
	char *failure_text; /* owned; NULL: the general text */
};

/* The only place where a link changes state, and the only one that logs it. */
static void link_move(struct link *l, enum link_state to, const char *reason)
{
	/* Probes and refused dials come and go: what never was up is for those who look closely. */
	enum log_level level = to == LINK_UP || l->state == LINK_UP ? LOG_INFO : LOG_DEBUG;

	assert(states[l->state].next & (1u << to));
	log_at(l->log, level, "link moved", KV_S("peer", link_peer_ip(l)), KV_U("port", link_peer_port(l)),
	       KV_S("from", states[l->state].name), KV_S("to", states[to].name), KV_S("reason", reason));
	l->state = to;
	l->since = world_now(l->world);
}

/* ---- the end of a link ---- */

static void step_free(struct step *s)
{
	tls_free(s->tls);
	buf_deinit(&s->in);
	buf_deinit(&s->out);
	buf_deinit(&s->ticket);
	mem_free(s);
}

static void link_free(struct link *l)
{
	assert(l->state == LINK_CLOSED && !l->stream && !l->step);
	tls_free(l->tls);
	if (l->tls_params.creds)
		tls_creds_unref(l->tls_params.creds);
	buf_deinit(&l->in);
	buf_deinit(&l->message);
	mem_free(l->failure_text);
	mem_free(l);
}

/* Lets go of everything outside; the rest is freed at the end of the turn, because we may be inside our own event. */
static void let_go(struct link *l)
{
	timer_stop(l->world, &l->deadline);
	timer_stop(l->world, &l->beat);
	l->dial = dial_free(l->dial);
	if (l->step) {
		l->step->link = NULL;
		__atomic_store_n(&l->step->is_moot, true, __ATOMIC_RELAXED);
	}
	l->step = NULL;
	stream_close(l->stream);
	l->stream = NULL;
	l->pending_free = true;
	world_later(l->world, &l->later);
}

/* Not from inside a function that somebody else called: closed() is called here. */
static void link_fail(struct link *l, enum err why, const char *sentence)
{
	if (l->state == LINK_CLOSED)
		return;
	link_move(l, LINK_CLOSED, sentence);
	if (l->events)
		l->events->closed(l, l->user, why, sentence);
	let_go(l);
}

static void link_fail_why(struct link *l, enum err e, const struct why *why)
{
	link_fail(l, e, why_text(why, e));
}

/* From inside somebody's call: closed() follows at the end of the turn. */
static void link_fail_later(struct link *l, enum err e, const char *sentence)
{
	if (l->state == LINK_CLOSED || l->failure)
		return;
	l->failure = e;
	l->failure_text = mem_strdup(sentence); /* if even that fails, the general text says enough */
	if (l->stream)
		stream_pause(l->stream, true);
	world_later(l->world, &l->later);
}

struct link *link_close(struct link *l)
{
	if (!l || l->state == LINK_CLOSED)
		return NULL;
	link_move(l, LINK_CLOSED, "closed here");
	let_go(l);
	return NULL;
}

static bool is_idle(const struct link *l)
{
	return l->state == LINK_CLOSED || l->failure != ERR_OK;
}

/* ---- sending ---- */

static enum err put_packet(struct link *l, struct buf *wire, const uint8_t *plain, size_t n, bool follows)
{
	const uint8_t room[FRAME_HEADER] = {0};
	size_t at = wire->len, sealed;
	enum err e = buf_put(wire, room, sizeof(room));

	if (e == ERR_OK)
		e = tls_seal(l->tls, plain, n, wire);
	if (e != ERR_OK)
		return e;
	sealed = wire->len - at - FRAME_HEADER;
	if (sealed > FRAME_MAX)
		return ERR_TLS; /* the peer asked for records so small that a packet can't hold them */
	frame_put_header(wire->data + at, sealed, follows);
	return ERR_OK;
}

/* Packets leave whole, several in one write where they belong to one message. */
static enum err send_plain(struct link *l, const uint8_t *plain, size_t n)
{
	struct buf wire = {0};
	enum err e = ERR_OK;

	while (n > 0 && e == ERR_OK) {
		size_t part = n < FRAME_PLAIN_MAX ? n : FRAME_PLAIN_MAX;

		e = put_packet(l, &wire, plain, part, part < n);
		plain += part;
		n -= part;
		if (e == ERR_OK && (n == 0 || wire.len >= WRITE_CHUNK)) {
			e = stream_write(l->stream, wire.data, wire.len);
			buf_clear(&wire);
		}
	}
	buf_deinit(&wire);
	if (e == ERR_OK)
		l->sent = world_now(l->world);
	else /* half a message may have left, and a TLS record can't be taken back */
		link_fail_later(l, e, e == ERR_TLS ? "sealing failed" : err_text(e));
	return e;
}

static enum err send_message(struct link *l, struct header *h, const char *body, size_t n)
{
	struct buf plain = {0};
	size_t queued;
	enum err e;

	if (l->state != LINK_UP || l->flushing)
		return ERR_STATE;
	if (l->failure)
		return ERR_CLOSED;
	e = message_pack(&plain, h, body, n);
	if (e == ERR_OK) {
		queued = stream_queued(l->stream);
		if (queued > 0 && queued + plain.len > l->queue_limit) {
			link_fail_later(l, ERR_FULL, "the other side does not read");
			e = ERR_FULL;
		} else {
			e = send_plain(l, plain.data, plain.len);
		}
	}
	buf_deinit(&plain);
	return e;
}

enum err link_send(struct link *l, struct header *h, const char *body, size_t n)
{
	return send_message(l, h, body, n);
}

enum err link_send_raw(struct link *l, const struct header *h, const char *body, size_t n)
{
	struct header copy = *h;

	return send_message(l, &copy, body, n);
}

/* ---- heartbeats ---- */

static void set_beat(struct link *l)
{
	if (l->state == LINK_UP && l->muster && l->heartbeat_ms > 0 && !l->flushing)
		timer_set(l->world, &l->beat, mono_add_ms(l->sent, l->heartbeat_ms));
	else
		timer_stop(l->world, &l->beat);
}

static void on_beat(struct timer *t)
{
	struct link *l = container_of(t, struct link, beat);
	const uint8_t beat = HEARTBEAT;

	if (is_idle(l))
		return;
	/* What was sent since is as good as a heartbeat. Where nothing leaves, one more of them would not either. */
	if (mono_ms_between(l->sent, world_now(l->world)) >= l->heartbeat_ms) {
		if (stream_queued(l->stream) > 0)
			l->sent = world_now(l->world);
		else if (send_plain(l, &beat, sizeof(beat)) != ERR_OK)
			return;
	}
	set_beat(l);
}

void link_set_heartbeat(struct link *l, int64_t ms)
{
	l->heartbeat_ms = ms;
	if (!is_idle(l))
		set_beat(l);
}

static bool is_heartbeat(const struct link *l)
{
	return l->muster && l->message.len == 1 && l->message.data[0] == HEARTBEAT;
}

/* ---- receiving ---- */

static void deliver(struct link *l)
{
	struct buf plain = {0}, body = {0};
	struct why why = WHY_NONE;
	struct header h;
	enum err e;

	/* The reference survives an empty message too. */
	if (l->message.len == 0) {
		buf_deinit(&l->message);
		return;
	}
	if (is_heartbeat(l)) {
		buf_deinit(&l->message);
		if (l->events && l->events->heartbeat)
			l->events->heartbeat(l, l->user);
		return;
	}
	buf_move(&plain, &l->message);
	e = message_unpack(&h, &body, plain.data, plain.len, l->message_limit, &why);
	buf_deinit(&plain);
	if (e != ERR_OK) {
		link_fail_why(l, e, &why);
	} else if (l->events && l->events->message) {
		const char *text = buf_str(&body); /* with a NUL behind it, for readers that like one */

		if (text)
			l->events->message(l, l->user, &h, text, body.len);
		else
			link_fail(l, ERR_NOMEM, err_text(ERR_NOMEM));
	}
	buf_deinit(&body);
}

static void take_ticket(struct link *l)
{
	struct buf ticket = {0};

	if (tls_ticket_take(l->tls, &ticket) && l->events && l->events->ticket)
		l->events->ticket(l, l->user, ticket.data, ticket.len);
	if (ticket.data)
		mem_wipe(ticket.data, ticket.cap);
	buf_deinit(&ticket);
}

static void take_packet(struct link *l, const struct frame *f)
{
	struct why why = WHY_NONE;
	enum err e = tls_open(l->tls, f->payload, &l->message, &why);

	if (e != ERR_OK) {
		link_fail_why(l, e, &why);
		return;
	}
	take_ticket(l);
	if (is_idle(l))
		return;
	if (l->message.len > l->message_limit + HEADER_SIZE) {
		why_set(&why, "a message is over the limit of %zu bytes", l->message_limit);
		link_fail_why(l, ERR_TOO_BIG, &why);
		return;
	}
	if (!f->follows)
		deliver(l);
}

/* Handles what is whole at the front of `in`, at most a turn's share. */
static enum frame_outcome take_packets(struct link *l, struct bytes *in)
{
	struct why why = WHY_NONE;

	for (int n = 0; n < FRAMES_PER_TURN; n++) {
		struct frame f;
		enum frame_outcome o = frame_get(in, &f, &why);

		if (o == FRAME_BAD)
			link_fail_why(l, ERR_MALFORMED, &why);
		if (o != FRAME_READY)
			return o;
		take_packet(l, &f);
		if (is_idle(l))
			return FRAME_BAD;
	}
	return FRAME_READY;
}

/* Keeps what is left of a view: a copy, or what remains of `in` itself. */
static bool keep_rest(struct link *l, struct bytes rest, bool is_in)
{
	if (is_in)
		buf_consume(&l->in, l->in.len - rest.len);
	else if (buf_put(&l->in, rest.data, rest.len) != ERR_OK)
		return false;
	if (l->in.len == 0)
		buf_deinit(&l->in);
	return true;
}

static void read_framed(struct link *l, struct bytes in, bool is_in)
{
	enum frame_outcome o = take_packets(l, &in);

	if (is_idle(l))
		return;
	if (!keep_rest(l, in, is_in)) {
		link_fail(l, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	/* Its share of this turn is used up: the others come first, and nothing more is read meanwhile. */
	l->pending_read = o == FRAME_READY && l->in.len > 0;
	stream_pause(l->stream, l->pending_read);
	if (l->pending_read)
		world_later(l->world, &l->later);
}

/* ---- the handshake ---- */

static enum err session_begin(struct link *l, struct why *why)
{
	enum err e = tls_new(&l->tls, &l->tls_params, why);

	l->tls_params.creds = tls_creds_unref(l->tls_params.creds);
	l->tls_params.pin = NULL;
	l->tls_params.resume = (struct bytes){0};
	return e;
}

static void link_up(struct link *l)
{
	char reason[32];

	snprintf(reason, sizeof(reason), "%s%s", tls_peer(l->tls)->version,
		 tls_peer(l->tls)->resumed ? " resumed" : "");
	timer_stop(l->world, &l->deadline);
	l->took_ms = mono_ms_between(l->since, world_now(l->world));
	l->muster = str_equal(tls_peer(l->tls)->alpn, ALPN_MUSTER);
	l->was_up = true;
	l->sent = world_now(l->world);
	link_move(l, LINK_UP, reason);
	set_beat(l);
	if (l->events->up)
		l->events->up(l, l->user);
	/* What came behind the last handshake message is framed already. */
	if (!is_idle(l))
		read_framed(l, (struct bytes){.data = l->in.data, .len = l->in.len}, true);
}

/* One step of the handshake, on any thread. A ticket is made here too: it costs as much as a message of kilobytes. */
static enum tls_outcome step_take(struct tls *tls, struct buf *in, struct buf *out, struct buf *ticket, enum err *e,
				  struct why *why)
{
	enum tls_outcome outcome = tls_handshake(tls, in, out, e, why);

	if (outcome == TLS_DONE && (*e = tls_ticket_put(tls, ticket)) != ERR_OK) {
		why_set(why, "a session ticket could not be made");
		outcome = TLS_FAILED;
	}
	return outcome;
}

/* Behind the handshake, in a packet without plaintext: to the other side's messages it is nothing. */
static enum err send_ticket(struct link *l, const struct buf *ticket)
{
	struct buf wire = {0};
	const uint8_t room[FRAME_HEADER] = {0};
	enum err e = buf_put(&wire, room, sizeof(room));

	if (e == ERR_OK)
		e = buf_put(&wire, ticket->data, ticket->len);
	if (e == ERR_OK) {
		frame_put_header(wire.data, ticket->len, false);
		e = stream_write(l->stream, wire.data, wire.len);
	}
	buf_deinit(&wire);
	return e;
}

/* `out` is what the step wants to be sent, raw. */
static void step_result(struct link *l, enum tls_outcome outcome, enum err e, const struct why *why,
			const struct buf *out, const struct buf *ticket)
{
	/* A failed handshake sends no alert: the reference sends none either, and we close. */
	if (outcome == TLS_FAILED) {
		l->cert_in_question &= tls_cert_in_question(l->tls);
		link_fail_why(l, e, why);
		return;
	}
	if (out->len > 0 && (e = stream_write(l->stream, out->data, out->len)) != ERR_OK) {
		link_fail(l, e, err_text(e));
		return;
	}
	l->cert_in_question = tls_cert_in_question(l->tls);
	if (ticket->len > 0 && (e = send_ticket(l, ticket)) != ERR_OK) {
		link_fail(l, e, err_text(e));
		return;
	}
	if (outcome == TLS_DONE)
		link_up(l);
}

static void step_run(struct work *work)
{
	struct step *s = container_of(work, struct step, work);

	/* In a storm the queue is long: what timed out in it must not keep the others waiting until they do too. */
	if (__atomic_load_n(&s->is_moot, __ATOMIC_RELAXED))
		return;
	s->outcome = step_take(s->tls, &s->in, &s->out, &s->ticket, &s->error, &s->why);
}

static void step_dropped(struct work *work)
{
	step_free(container_of(work, struct step, work));
}

/* Whose turn it is has changed. */
static void turn_changed(struct link *l)
{
	l->turn_since = world_now(l->world);
	if (l->events && l->events->turn)
		l->events->turn(l, l->user);
}

static void step_done(struct work *work)
{
	struct step *s = container_of(work, struct step, work);
	struct link *l = s->link;

	if (l) {
		l->step = NULL;
		l->tls = STEAL(s->tls);
		buf_move(&l->in, &s->in);
		/* Paused since the step began, so nothing has come behind these bytes. */
		if (l->failure == ERR_OK)
			stream_pause(l->stream, false);
		if (!is_idle(l))
			step_result(l, s->outcome, s->error, &s->why, &s->out, &s->ticket);
		if (!is_idle(l) && l->state == LINK_HANDSHAKE)
			turn_changed(l);
	}
	step_free(s);
}

static bool step_start(struct link *l)
{
	struct step *s = mem_zalloc(sizeof(*s));

	if (!s)
		return false;
	s->work.run = step_run;
	s->work.done = step_done;
	s->work.dropped = step_dropped;
	s->work.cost_us = 250;
	s->link = l;
	s->tls = STEAL(l->tls);
	buf_move(&s->in, &l->in);
	l->step = s;
	stream_pause(l->stream, true);
	world_work(l->world, WORK_CRYPTO, &s->work);
	return true;
}

static void handshake_step(struct link *l)
{
	struct why why = WHY_NONE;
	struct buf out = {0}, ticket = {0};
	enum tls_outcome outcome;
	enum err e = ERR_OK;

	if (!l->is_client && ++l->n_steps > STEPS_MAX) {
		link_fail(l, ERR_TLS, "TLS handshake: it comes in too many pieces");
		return;
	}
	/* Only now: a probe that connects and says nothing has cost no session. */
	if (!l->tls && (e = session_begin(l, &why)) != ERR_OK) {
		link_fail_why(l, e, &why);
		return;
	}
	if (l->offload) {
		if (!step_start(l))
			link_fail(l, ERR_NOMEM, err_text(ERR_NOMEM));
		else if (!l->is_client)
			turn_changed(l);
		return;
	}
	outcome = step_take(l->tls, &l->in, &out, &ticket, &e, &why);
	if (l->in.len == 0)
		buf_deinit(&l->in);
	step_result(l, outcome, e, &why, &out, &ticket);
	buf_deinit(&out);
	buf_deinit(&ticket);
}

/* Enough for a step? A link of a client drives the handshake itself. */
static bool has_flight(struct link *l)
{
	struct bytes in = {.data = l->in.data, .len = l->in.len};
	struct why why = WHY_NONE;
	enum tls_look look = TLS_LOOK_WHOLE;

	if (l->look)
		look = l->look(in, !l->has_hello, &why);
	if (look == TLS_LOOK_BAD)
		link_fail(l, ERR_TLS, why_text(&why, ERR_TLS));
	return look == TLS_LOOK_WHOLE;
}

/*
 * The hello is there, and its work waits for link_admit(). Reading goes on, so that a client that has gone is noticed;
 * has_flight() bounds what it may send. The time is ours now, not the client's.
 */
static void hold(struct link *l)
{
	timer_set(l->world, &l->deadline, mono_add_ms(l->since, l->held_ms));
	turn_changed(l);
}

/* Bytes of the handshake have come to an accepted link. */
static void handshake_data(struct link *l)
{
	bool had_hello = l->has_hello;

	if (l->held_ms && had_hello && !l->admitted) {
		if (l->in.len > TLS_HELLO_MAX)
			link_fail(l, ERR_TOO_BIG, "the client sends more than a hello");
		return;
	}
	if (!has_flight(l))
		return;
	if (!had_hello) {
		l->has_hello = true;
		l->hello_at = world_now(l->world);
	}
	if (!had_hello && l->held_ms)
		hold(l);
	else
		handshake_step(l);
}

void link_admit(struct link *l)
{
	int64_t left_ms;

	if (is_idle(l) || l->state != LINK_HANDSHAKE || !l->held_ms || !l->has_hello || l->admitted)
		return;
	l->admitted = true;
	left_ms = l->handshake_ms - mono_ms_between(l->since, l->hello_at);
	timer_set_in(l->world, &l->deadline, left_ms > 0 ? left_ms : 0);
	/* Not now: we are inside somebody's call, and the step may fail. */
	l->turn_since = world_now(l->world);
	l->pending_step = true;
	world_later(l->world, &l->later);
}

struct link_turn link_turn(const struct link *l)
{
	return (struct link_turn){
		.has_hello = l->has_hello,
		.is_held = l->has_hello && l->held_ms && !l->admitted,
		.is_ours = l->step || l->pending_step,
		.since = l->turn_since,
	};
}

static void handshake_begin(struct link *l)
{
	link_move(l, LINK_HANDSHAKE, l->is_client ? "connected" : "accepted");
	timer_set_in(l->world, &l->deadline, l->handshake_ms);
}

/* ---- events of the stream ---- */

static void on_data(void *user, const uint8_t *p, size_t n)
{
	struct link *l = user;

	if (is_idle(l) || l->flushing)
		return;
	l->heard = world_now(l->world);
	if (l->state == LINK_UP && l->in.len == 0) {
		read_framed(l, (struct bytes){.data = p, .len = n}, false);
		return;
	}
	if (buf_put(&l->in, p, n) != ERR_OK) {
		link_fail(l, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	/* While a step is away, or packets wait for their turn, the stream is paused; what comes anyway only waits. */
	if (l->step || l->pending_read || l->pending_step)
		return;
	if (l->state == LINK_UP)
		read_framed(l, (struct bytes){.data = l->in.data, .len = l->in.len}, true);
	else if (l->is_client)
		handshake_step(l);
	else
		handshake_data(l);
}

static void on_drained(void *user)
{
	struct link *l = user;

	if (l->flushing)
		link_close(l);
}

static void on_ended(void *user, enum err why, const char *sentence)
{
	struct link *l = user;

	if (l->state == LINK_CLOSED)
		return;
	/* Still there during closed(), so that its address can be asked for; gone when we return. */
	link_move(l, LINK_CLOSED, sentence);
	if (l->events)
		l->events->closed(l, l->user, why, sentence);
	l->stream = NULL;
	let_go(l);
}

static const struct stream_events stream_events = {
	.data = on_data,
	.drained = on_drained,
	.ended = on_ended,
};

static void on_dialled(void *user, struct stream *take_stream, enum err e, const char *sentence)
{
	struct link *l = user;

	if (e != ERR_OK) {
		link_fail(l, e, sentence);
		return;
	}
	l->stream = take_stream;
	stream_take(take_stream, &stream_events, l);
	l->dial = dial_free(l->dial);
	l->heard = world_now(l->world);
	handshake_begin(l);
	if (l->events->connected)
		l->events->connected(l, l->user);
	if (!is_idle(l))
		handshake_step(l);
}

/* ---- timers and the end of the turn ---- */

static void on_deadline(struct timer *t)
{
	struct link *l = container_of(t, struct link, deadline);
	struct why why = WHY_NONE;
	const char *sentence;

	if (l->state == LINK_CLOSED)
		return;
	if (l->flushing) {
		link_close(l);
		return;
	}
	why_set(&why, "%s took longer than %lld ms",
		l->state == LINK_CONNECTING ? "connecting"
		: link_turn(l).is_held      ? "waiting for its turn"
					    : "the TLS handshake",
		(long long)mono_ms_between(l->since, world_now(l->world)));
	/* An address that refused says more than that there were too many of them. */
	if (l->dial && dial_error(l->dial, &sentence) != ERR_OK)
		why_set(&why, "%s", sentence);
	link_fail_why(l, ERR_TIMEOUT, &why);
}

static void on_later(struct later *later)
{
	struct link *l = container_of(later, struct link, later);

	if (l->state == LINK_CLOSED) {
		if (l->pending_free)
			link_free(l);
		return;
	}
	if (l->failure) {
		link_fail(l, l->failure, l->failure_text ? l->failure_text : err_text(l->failure));
		return;
	}
	if (l->pending_read) {
		l->pending_read = false;
		read_framed(l, (struct bytes){.data = l->in.data, .len = l->in.len}, true);
	} else if (l->pending_step) {
		l->pending_step = false;
		handshake_step(l);
	}
}

/* ---- making one ---- */

static struct link *link_new(const struct link_params *p, bool is_client)
{
	struct link *l = mem_zalloc(sizeof(*l));

	assert(p->events && p->events->closed && p->tls.creds);
	if (!l)
		return NULL;
	l->world = p->world;
	l->log = p->log;
	l->events = p->events;
	l->user = p->user;
	l->state = LINK_CONNECTING;
	l->since = world_now(p->world);
	l->heard = l->since;
	l->sent = l->since;
	l->tls_params = p->tls;
	tls_creds_ref(p->tls.creds);
	l->message_limit = p->message_limit ? p->message_limit : LINK_MESSAGE_LIMIT_ANONYMOUS;
	l->queue_limit = p->queue_limit ? p->queue_limit : QUEUE_LIMIT;
	l->handshake_ms = p->handshake_ms ? p->handshake_ms : HANDSHAKE_MS;
	l->offload = p->offload;
	l->is_client = is_client;
	if (!is_client) {
		l->look = p->tls.creds->ops->look;
		l->held_ms = p->held_ms;
		l->turn_since = l->since;
	}
	timer_init(&l->deadline, on_deadline);
	timer_init(&l->beat, on_beat);
	list_init(&l->later.queued);
	l->later.call = on_later;
	return l;
}

/* Nobody knows of it yet. */
static void link_undo(struct link *l)
{
	timer_stop(l->world, &l->deadline);
	l->dial = dial_free(l->dial);
	l->state = LINK_CLOSED;
	link_free(l);
}

enum err link_dial(struct link **out, const struct link_params *p, const char *host, uint16_t port,
		   const char *source_ip, struct why *why)
{
	struct link *l = link_new(p, true);
	enum err e;

	if (!l)
		return ERR_NOMEM;
	/* Now, while the texts in the parameters are valid. */
	e = session_begin(l, why);
	if (e == ERR_OK)
		e = dial_start(&l->dial, &(struct dial_params){.world = l->world,
							       .host = host,
							       .port = port,
							       .source_ip = source_ip,
							       .done = on_dialled,
							       .user = l});
	if (e != ERR_OK) {
		link_undo(l);
		return e;
	}
	timer_set_in(l->world, &l->deadline, p->connect_ms ? p->connect_ms : CONNECT_MS);
	*out = l;
	return ERR_OK;
}

enum err link_accept(struct link **out, const struct link_params *p, struct stream *take_stream)
{
	struct link *l;

	assert(p->tls.profile == TLS_SERVER);
	l = link_new(p, false);
	if (!l) {
		stream_close(take_stream);
		return ERR_NOMEM;
	}
	l->stream = take_stream;
	stream_take(take_stream, &stream_events, l);
	handshake_begin(l);
	*out = l;
	return ERR_OK;
}

struct link *link_close_after_flush(struct link *l, int64_t ms)
{
	if (!l || l->state == LINK_CLOSED)
		return NULL;
	if (l->state != LINK_UP || l->failure || stream_queued(l->stream) == 0)
		return link_close(l);
	l->flushing = true;
	l->events = NULL;
	l->pending_read = false;
	buf_deinit(&l->in);
	buf_deinit(&l->message);
	set_beat(l);
	/* Read and thrown away: a peer that waits for us to read may not read what we have for it. */
	stream_pause(l->stream, false);
	timer_set_in(l->world, &l->deadline, ms);
	return NULL;
}

/* ---- what others may know and set ---- */

void link_set_events(struct link *l, const struct link_events *events, void *user)
{
	assert(events && events->closed);
	l->events = events;
	l->user = user;
}

void link_set_message_limit(struct link *l, size_t limit)
{
	l->message_limit = limit;
}

enum link_state link_state(const struct link *l)
{
	return l->state;
}

const struct tls_peer *link_peer(const struct link *l)
{
	/* After the end too, until the link is gone: closed() may want to say who it was. */
	return l->was_up ? tls_peer(l->tls) : NULL;
}

const struct cert_info *link_shown_cert(const struct link *l)
{
	const struct tls_peer *peer = l->tls ? tls_peer(l->tls) : NULL;

	return peer && peer->has_cert ? &peer->cert : NULL;
}

bool link_cert_in_question(const struct link *l)
{
	return l->cert_in_question;
}

bool link_is_muster(const struct link *l)
{
	return l->muster;
}

bool link_was_resumed(const struct link *l)
{
	return l->was_up && tls_peer(l->tls)->resumed;
}

const char *link_peer_ip(const struct link *l)
{
	return l->stream ? l->stream->peer_ip : "";
}

uint16_t link_peer_port(const struct link *l)
{
	return l->stream ? l->stream->peer_port : 0;
}

const char *link_local_ip(const struct link *l)
{
	return l->stream ? l->stream->local_ip : "";
}

struct mono link_heard(const struct link *l)
{
	return l->heard;
}

struct mono link_since(const struct link *l)
{
	return l->since;
}

size_t link_queued(const struct link *l)
{
	return l->stream ? stream_queued(l->stream) : 0;
}

int64_t link_handshake_took_ms(const struct link *l)
{
	return l->took_ms;
}
