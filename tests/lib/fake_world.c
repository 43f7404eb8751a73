#include "fake_world.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "wire/message.h"

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

#define START_US 1000000000
#define WALL_START_MS 1900000000000
#define MOST_CERTS 200 /* in one test */

struct fake_name {
	struct list in;
	char *name;
	char *ip; /* NULL: nowhere */
};

struct fake_file {
	struct list in;
	char *path;
	struct buf content;
};

struct fake_world {
	int64_t wall_jumped_ms;
	struct world world; /* first */
	struct mono now;
	struct list laters;
	struct list streams;
	struct list closed;
	struct list listeners;
	struct list names;
	struct list files;
	bool holds_store;
	struct list works;                       /* under way: struct fake_work */
	struct cert_info *certs[MOST_CERTS + 1]; /* what creds show, by the number that greetings carry; 0: none */
	size_t n_certs;
	struct str_list cuts;
	struct str_list dials;
	struct fs fs;
	size_t n_writes;
	size_t ops_left; /* until the kill */
	bool is_killed;
};

static struct fake_world *of(struct world *w)
{
	return container_of(w, struct fake_world, world);
}

static void put(struct str_list *l, const char *s)
{
	MUST(str_list_add(l, s) == ERR_OK);
}

/* ---- streams ---- */

struct fake_stream {
	struct stream stream; /* first */
	struct list in;       /* fake_world.streams, .closed at the end */
	struct fake_stream *peer;
	struct buf inbox;
	bool is_connected;
	bool is_closed;
	bool is_ended; /* the other side has closed */
	bool is_paused;
	struct timer timer; /* connecting, then delivering */
};

struct fake_listener {
	struct listener listener; /* first */
	struct list in;
	char *ip;
	uint16_t port;
	bool is_paused;
	struct listen_params params;
};

static bool is_cut(const struct fake_world *f, const struct fake_stream *s)
{
	return str_list_has(&f->cuts, s->stream.peer_ip) || str_list_has(&f->cuts, s->stream.local_ip);
}

static void wake(struct fake_stream *s)
{
	if (!timer_is_set(&s->timer))
		timer_set_in(s->stream.world, &s->timer, FAKE_LATENCY_MS);
}

static void put_aside(struct fake_stream *s)
{
	struct fake_world *f = of(s->stream.world);

	s->is_closed = true;
	timer_stop(&f->world, &s->timer);
	if (s->peer) {
		s->peer->peer = NULL;
		s->peer->is_ended = true;
		wake(s->peer);
	}
	s->peer = NULL;
	list_remove(&s->in);
	list_append(&f->closed, &s->in);
}

static void stream_over(struct fake_stream *s, enum err why, const char *sentence)
{
	s->stream.events->ended(s->stream.user, why, sentence);
	if (!s->is_closed)
		put_aside(s);
}

static struct fake_stream *stream_make(struct fake_world *f, const char *local, const char *peer, uint16_t peer_port);

static struct fake_listener *listener_at(struct fake_world *f, const char *ip, uint16_t port)
{
	list_for (l, &f->listeners, struct fake_listener, in) {
		if (!strcmp(l->ip, ip) && l->port == port)
			return l;
	}
	return NULL;
}

static void connect_now(struct fake_stream *s)
{
	struct fake_world *f = of(s->stream.world);
	struct fake_listener *l = listener_at(f, s->stream.peer_ip, s->stream.peer_port);
	struct fake_stream *other;

	if (!l) {
		stream_over(s, ERR_UNREACHABLE, "connection refused");
		return;
	}
	if (l->is_paused) {
		/* It stays in the backlog. */
		timer_set_in(s->stream.world, &s->timer, FAKE_LATENCY_MS);
		return;
	}
	other = stream_make(f, s->stream.peer_ip, s->stream.local_ip, 40000);
	other->is_connected = true;
	other->peer = s;
	s->peer = other;
	s->is_connected = true;
	l->params.accepted(l->params.user, &other->stream);
	if (!s->is_closed)
		s->stream.events->connected(s->stream.user);
}

static void stream_due(struct timer *t)
{
	struct fake_stream *s = container_of(t, struct fake_stream, timer);
	struct buf inbox = {0};

	if (is_cut(of(s->stream.world), s))
		return;
	if (!s->is_connected) {
		connect_now(s);
		return;
	}
	if (s->is_paused || !s->stream.events)
		return;
	if (s->inbox.len) {
		buf_move(&inbox, &s->inbox);
		s->stream.events->data(s->stream.user, inbox.data, inbox.len);
		buf_deinit(&inbox);
		if (!s->is_closed && (s->inbox.len || s->is_ended))
			wake(s);
	} else if (s->is_ended) {
		stream_over(s, ERR_CLOSED, "closed by the other side");
	}
}

static struct fake_stream *stream_make(struct fake_world *f, const char *local, const char *peer, uint16_t peer_port)
{
	struct fake_stream *s = mem_zalloc(sizeof(*s));

	MUST(s);
	s->stream.world = &f->world;
	str_copy(s->stream.local_ip, IP_TEXT, local);
	str_copy(s->stream.peer_ip, IP_TEXT, peer);
	s->stream.peer_port = peer_port;
	timer_init(&s->timer, stream_due);
	list_append(&f->streams, &s->in);
	return s;
}

static enum err fake_connect(struct world *w, struct stream **out, const char *ip, uint16_t port, const char *source_ip,
			     const struct stream_events *events, void *user, struct why *why)
{
	struct fake_stream *s = stream_make(of(w), source_ip ? source_ip : "10.9.9.9", ip, port);
	char dial[IP_TEXT + 40];

	snprintf(dial, sizeof(dial), "%s:%u@%" PRId64, ip, port, fake_world_ms(of(w)));
	put(&of(w)->dials, dial);
	s->stream.events = events;
	s->stream.user = user;
	timer_set_in(w, &s->timer, FAKE_LATENCY_MS);
	*out = &s->stream;
	return ERR_OK;
}

static enum err fake_write(struct stream *stream, const void *data, size_t n)
{
	struct fake_stream *s = container_of(stream, struct fake_stream, stream);

	MUST(!s->is_closed && s->is_connected);
	if (!s->peer)
		return ERR_OK; /* the end of it follows */
	MUST(buf_put(&s->peer->inbox, data, n) == ERR_OK);
	wake(s->peer);
	return ERR_OK;
}

static size_t fake_queued(const struct stream *stream)
{
	struct fake_stream *s = container_of(stream, struct fake_stream, stream);

	return s->peer && is_cut(of(stream->world), s->peer) ? s->peer->inbox.len : 0;
}

static void fake_pause(struct stream *stream, bool paused)
{
	struct fake_stream *s = container_of(stream, struct fake_stream, stream);

	s->is_paused = paused;
	if (!paused)
		wake(s);
}

static void fake_close(struct stream *stream)
{
	struct fake_stream *s = container_of(stream, struct fake_stream, stream);

	if (!s->is_closed)
		put_aside(s);
}

static enum err fake_listen(struct world *w, struct listener **out, const struct listen_params *p, struct why *why)
{
	struct fake_listener *l = mem_zalloc(sizeof(*l));

	MUST(l);
	l->listener.world = w;
	l->ip = mem_strdup(p->ip);
	l->port = p->port;
	l->params = *p;
	list_append(&of(w)->listeners, &l->in);
	*out = &l->listener;
	return ERR_OK;
}

static void fake_listener_pause(struct listener *l, bool paused)
{
	container_of(l, struct fake_listener, listener)->is_paused = paused;
}

static uint16_t fake_listener_port(const struct listener *l)
{
	return container_of(l, struct fake_listener, listener)->port;
}

static struct listener *fake_listener_free(struct listener *listener)
{
	struct fake_listener *l = container_of(listener, struct fake_listener, listener);

	list_remove(&l->in);
	mem_free(l->ip);
	return mem_free(l);
}

/* ---- names ---- */

struct fake_resolve {
	struct timer timer;
	struct world *world;
	struct resolve *resolve;
};

static const char *name_find(struct fake_world *f, const char *name)
{
	list_for (n, &f->names, struct fake_name, in) {
		if (!strcmp(n->name, name))
			return n->ip;
	}
	return NULL;
}

static void resolve_due(struct timer *t)
{
	struct fake_resolve *fr = container_of(t, struct fake_resolve, timer);
	struct resolve *r = fr->resolve;
	const char *ip = name_find(of(fr->world), r->name);

	mem_free(fr);
	r->impl = NULL;
	r->result = ip ? ERR_OK : ERR_NO_NAME;
	if (ip)
		put(&r->addresses, ip);
	r->done(r);
}

static enum err fake_resolve_start(struct world *w, struct resolve *r)
{
	struct fake_resolve *fr = mem_zalloc(sizeof(*fr));

	MUST(fr);
	fr->world = w;
	fr->resolve = r;
	r->impl = fr;
	timer_init(&fr->timer, resolve_due);
	timer_set_in(w, &fr->timer, FAKE_LATENCY_MS);
	return ERR_OK;
}

static void fake_resolve_cancel(struct world *w, struct resolve *r)
{
	struct fake_resolve *fr = r->impl;

	if (!fr)
		return;
	timer_stop(w, &fr->timer);
	r->impl = NULL;
	mem_free(fr);
}

void fake_name(struct fake_world *f, const char *name, const char *ip)
{
	struct fake_name *n = NULL;

	list_for (one, &f->names, struct fake_name, in) {
		if (!strcmp(one->name, name))
			n = one;
	}
	if (!n) {
		n = mem_zalloc(sizeof(*n));
		MUST(n);
		n->name = mem_strdup(name);
		list_append(&f->names, &n->in);
	}
	mem_free(n->ip);
	n->ip = mem_strdup(ip);
}

/* ---- work, later, clocks ---- */

struct fake_work {
	struct later later;
	struct list in;
	struct work *work;
	bool is_held;
};

static void work_due(struct later *l)
{
	struct fake_work *fw = container_of(l, struct fake_work, later);
	struct work *w = fw->work;

	list_remove(&fw->in);
	mem_free(fw);
	w->done(w);
}

static void fake_work(struct world *w, enum work_lane lane, struct work *work)
{
	struct fake_work *fw = mem_zalloc(sizeof(*fw));

	MUST(fw);
	work->world = w;
	work->run(work);
	fw->work = work;
	fw->later.call = work_due;
	list_init(&fw->later.queued);
	list_append(&of(w)->works, &fw->in);
	fw->is_held = lane == WORK_STORE && of(w)->holds_store;
	if (!fw->is_held)
		world_later(w, &fw->later);
}

void fake_works_hold(struct fake_world *f, bool is_held)
{
	f->holds_store = is_held;
	list_for (fw, &f->works, struct fake_work, in) {
		if (!is_held && fw->is_held)
			world_later(fake_world_of(f), &fw->later);
		fw->is_held = fw->is_held && is_held;
	}
}

void fake_works_cut(struct fake_world *f)
{
	list_for (fw, &f->works, struct fake_work, in) {
		world_later_cancel(&fw->later);
		list_remove(&fw->in);
		if (fw->work->dropped)
			fw->work->dropped(fw->work);
		mem_free(fw);
	}
}

static void fake_later(struct world *w, struct later *l)
{
	list_append(&of(w)->laters, &l->queued);
}

static struct mono fake_now(struct world *w)
{
	return of(w)->now;
}

static int64_t fake_wall_ms(struct world *w)
{
	return WALL_START_MS + fake_world_ms(of(w)) + of(w)->wall_jumped_ms;
}

void fake_wall_jump(struct fake_world *f, int64_t ms)
{
	f->wall_jumped_ms += ms;
}

static void fake_entropy(struct world *w, void *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)out)[i] = (uint8_t)rng_u64(&w->rng);
}

static void fake_wake_at(struct world *w, struct mono at)
{
}

/*
 * ---- TLS that only exchanges greetings ----
 *
 *   hello     the client: profile, has it a ticket?
 *   greeting  the server: who it is
 *   answer    the client: its certificate; in TLS 1.3 (TLS_CLIENT_MUSTER, TLS_CLIENT_JOIN) it is done with that
 *   finished  the server, in TLS 1.2
 */

struct fake_tls_creds {
	struct tls_creds creds;   /* first */
	struct fake_world *world; /* NULL: shows no certificate */
	size_t cert;              /* in world->certs */
	enum fake_kind kind;
	struct fake_server *server; /* NULL: a client's */
	unsigned n_ticket_keys;
};

struct fake_tls {
	struct tls tls; /* first */
	enum tls_profile profile;
	enum fake_kind kind; /* server side */
	bool trust_all;
	enum { FAKE_BEGINS, FAKE_GREETED, FAKE_ANSWERED } step; /* what was sent last */
	enum tls_profile client;                                /* server: as the hello says */
	bool offers, hangs, gives_ticket, has_ticket;
	char pin[FINGERPRINT_TEXT];
	const struct fake_tls_creds *creds; /* valid during the handshake */
	bool require_cert;
	struct tls_peer peer;
};

#define GREETING 0x16
#define RECORD 0x17
#define TICKET 0x18
#define WITH_TICKET 0x80 /* in a greeting */

static enum tls_outcome tls_fail(enum err *error, struct why *why, enum err e, const char *sentence)
{
	*error = e;
	why_set(why, "%s", sentence);
	return TLS_FAILED;
}

static bool profile_asks_alpn(enum tls_profile p)
{
	return p == TLS_CLIENT_MUSTER || p == TLS_CLIENT_UNKNOWN;
}

static void put_greeting(struct fake_tls *t, struct buf *out, uint8_t what)
{
	MUST(buf_put_u8(out, GREETING) == ERR_OK && buf_put_u8(out, what) == ERR_OK);
	MUST(buf_put_u8(out, (uint8_t)t->creds->cert) == ERR_OK);
}

static bool is_tls13(enum tls_profile client)
{
	return client == TLS_CLIENT_MUSTER || client == TLS_CLIENT_JOIN;
}

/* What the other side has shown; the lists in it belong to the world. */
static void take_cert(struct fake_tls *t, size_t number)
{
	if (!number || !t->creds->world)
		return;
	t->peer.has_cert = true;
	t->peer.chain_ok = true;
	t->peer.cert = *t->creds->world->certs[number];
}

static enum tls_outcome meet_ticket(struct fake_tls *t, enum err *error, struct why *why)
{
	struct fake_server *s = t->creds->server;

	if (!s)
		return TLS_DONE;
	s->n_offered++;
	t->hangs = s->tickets == FAKE_HANGS_TICKETS;
	t->peer.resumed = s->tickets == FAKE_GIVES_TICKETS;
	s->n_resumed += t->peer.resumed;
	if (s->tickets == FAKE_BREAKS_TICKETS)
		return tls_fail(error, why, ERR_TLS, "a ticket that is of no use");
	return t->hangs ? TLS_WANT : TLS_DONE;
}

static bool is_disliked(const struct fake_server *s, const struct tls_peer *peer, enum fake_dislike how)
{
	return s && s->dislikes && s->how == how && str_equal(peer->cert.common_name, s->dislikes);
}

static enum tls_outcome server_greet(struct fake_tls *t, uint8_t hello, struct buf *out, enum err *error,
				     struct why *why)
{
	bool is_muster = t->kind != FAKE_CLOUDSTACK;

	t->client = hello & ~WITH_TICKET;
	if (t->kind == FAKE_CLOSES)
		return tls_fail(error, why, ERR_TLS, "no time for anybody");
	if (hello & WITH_TICKET && meet_ticket(t, error, why) != TLS_DONE)
		return t->hangs ? TLS_WANT : TLS_FAILED;
	t->gives_ticket =
		t->client == TLS_CLIENT_MUSTER && t->creds->server && t->creds->server->tickets == FAKE_GIVES_TICKETS;
	if (t->client == TLS_CLIENT_JOIN)
		str_copy(t->peer.alpn, sizeof(t->peer.alpn), ALPN_JOIN);
	else if (is_muster && profile_asks_alpn(t->client))
		str_copy(t->peer.alpn, sizeof(t->peer.alpn), ALPN_MUSTER);
	put_greeting(t, out, (uint8_t)(t->kind | (t->peer.resumed ? WITH_TICKET : 0)));
	t->step = FAKE_GREETED;
	return TLS_WANT;
}

static enum tls_outcome server_judge(struct fake_tls *t, size_t cert, struct buf *out, enum err *error, struct why *why)
{
	if (t->require_cert && !cert && t->client != TLS_CLIENT_JOIN)
		return tls_fail(error, why, ERR_UNTRUSTED, "no certificate");
	take_cert(t, cert);
	if (is_disliked(t->creds->server, &t->peer, FAKE_BREAKS))
		return tls_fail(error, why, ERR_UNTRUSTED, "a certificate that is not liked");
	if (!is_tls13(t->client))
		put_greeting(t, out, 0);
	return TLS_DONE;
}

static enum tls_outcome server_handshake(struct fake_tls *t, struct buf *in, struct buf *out, enum err *error,
					 struct why *why)
{
	uint8_t what;
	size_t cert;

	if (in->len < 3)
		return TLS_WANT;
	if (in->data[0] != GREETING)
		return tls_fail(error, why, ERR_TLS, "no greeting");
	what = in->data[1];
	cert = in->data[2];
	buf_consume(in, 3);
	return t->step == FAKE_BEGINS ? server_greet(t, what, out, error, why) : server_judge(t, cert, out, error, why);
}

static enum tls_outcome client_check(struct fake_tls *t, enum fake_kind kind, enum err *error, struct why *why)
{
	bool is_muster = kind != FAKE_CLOUDSTACK;

	if (kind == FAKE_CLOUDSTACK && t->profile == TLS_CLIENT_MUSTER)
		return tls_fail(error, why, ERR_TLS, "the server has lost its protocol");
	if (kind == FAKE_CLOUDSTACK && t->profile == TLS_CLIENT_UNKNOWN)
		return tls_fail(error, why, ERR_TLS, "key usage violation");
	if (t->profile == TLS_CLIENT_JOIN && strcmp(t->pin, "right") != 0)
		return tls_fail(error, why, ERR_UNTRUSTED, "another CA than the token's");
	if (kind == FAKE_STRANGER && !t->trust_all)
		return tls_fail(error, why, ERR_UNTRUSTED, "not signed by our CA");
	if (t->profile == TLS_CLIENT_JOIN)
		str_copy(t->peer.alpn, sizeof(t->peer.alpn), ALPN_JOIN);
	else if (is_muster && profile_asks_alpn(t->profile))
		str_copy(t->peer.alpn, sizeof(t->peer.alpn), ALPN_MUSTER);
	t->peer.has_cert = true;
	t->peer.chain_ok = kind != FAKE_STRANGER;
	t->peer.is_ca_itself = kind == FAKE_CLOUDSTACK;
	t->peer.cert.role = kind == FAKE_MUSTER  ? CERT_ROLE_SERVER
			    : kind == FAKE_AGENT ? CERT_ROLE_AGENT
						 : CERT_ROLE_NONE;
	t->peer.cert.eku_server = kind != FAKE_AGENT;
	return TLS_DONE;
}

static enum tls_outcome client_answer(struct fake_tls *t, uint8_t greeting, size_t cert, struct buf *out,
				      enum err *error, struct why *why)
{
	enum tls_outcome o;

	t->peer.resumed = greeting & WITH_TICKET;
	o = client_check(t, greeting & ~WITH_TICKET, error, why);
	if (o != TLS_DONE)
		return o;
	take_cert(t, cert);
	put_greeting(t, out, 0);
	t->step = FAKE_ANSWERED;
	return is_tls13(t->profile) ? TLS_DONE : TLS_WANT;
}

static enum tls_outcome client_handshake(struct fake_tls *t, struct buf *in, struct buf *out, enum err *error,
					 struct why *why)
{
	uint8_t what;
	size_t cert;

	if (t->step == FAKE_BEGINS) {
		put_greeting(t, out, (uint8_t)(t->profile | (t->offers ? WITH_TICKET : 0)));
		t->step = FAKE_GREETED;
		return TLS_WANT;
	}
	if (in->len < 3)
		return TLS_WANT;
	what = in->data[1];
	cert = in->data[2];
	buf_consume(in, 3);
	return t->step == FAKE_GREETED ? client_answer(t, what, cert, out, error, why) : TLS_DONE;
}

static enum tls_outcome fake_handshake(struct tls *tls, struct buf *in, struct buf *out, enum err *error,
				       struct why *why)
{
	struct fake_tls *t = container_of(tls, struct fake_tls, tls);

	return t->profile == TLS_SERVER ? server_handshake(t, in, out, error, why)
					: client_handshake(t, in, out, error, why);
}

static enum err fake_seal(struct tls *tls, const void *plain, size_t n, struct buf *out)
{
	enum err e = buf_put_u8(out, RECORD);

	if (!e)
		e = buf_put_u16(out, (uint16_t)n);
	return e ? e : buf_put(out, plain, n);
}

static enum err fake_open(struct tls *tls, struct bytes records, struct buf *plain, struct why *why)
{
	struct fake_tls *t = container_of(tls, struct fake_tls, tls);

	while (records.len) {
		struct bytes part;
		uint8_t kind;
		uint16_t n;
		enum err e;

		if (!bytes_get_u8(&records, &kind) || (kind != RECORD && kind != TICKET) ||
		    !bytes_get_u16(&records, &n) || !bytes_get(&records, n, &part)) {
			why_set(why, "no record");
			return ERR_TLS;
		}
		if (kind == TICKET) {
			t->has_ticket = true;
			continue;
		}
		e = buf_put(plain, part.data, part.len);
		if (e)
			return e;
	}
	return ERR_OK;
}

static enum err fake_ticket_put(struct tls *tls, struct buf *out)
{
	struct fake_tls *t = container_of(tls, struct fake_tls, tls);
	enum err e;

	if (!t->gives_ticket)
		return ERR_OK;
	e = buf_put_u8(out, TICKET);
	return e ? e : buf_put_u16(out, 0);
}

static bool fake_ticket_take(struct tls *tls, struct buf *out)
{
	struct fake_tls *t = container_of(tls, struct fake_tls, tls);
	bool has = t->has_ticket;

	t->has_ticket = false;
	return has && buf_put_str(out, "ticket") == ERR_OK;
}

static bool fake_cert_in_question(const struct tls *tls)
{
	return container_of(tls, const struct fake_tls, tls)->step == FAKE_ANSWERED;
}

static const struct tls_peer *fake_peer(const struct tls *tls)
{
	return &container_of(tls, struct fake_tls, tls)->peer;
}

static void fake_tls_free(struct tls *tls)
{
	struct fake_tls *t = container_of(tls, struct fake_tls, tls);

	tls_creds_unref((struct tls_creds *)(uintptr_t)&t->creds->creds);
	mem_free(t);
}

static const struct tls_ops fake_tls_ops = {
	.handshake = fake_handshake,
	.seal = fake_seal,
	.open = fake_open,
	.peer = fake_peer,
	.cert_in_question = fake_cert_in_question,
	.ticket_put = fake_ticket_put,
	.ticket_take = fake_ticket_take,
	.free = fake_tls_free,
};

static enum err fake_session_new(struct tls_creds *creds, struct tls **out, const struct tls_params *p, struct why *why)
{
	struct fake_tls_creds *c = container_of(creds, struct fake_tls_creds, creds);
	struct fake_tls *t = mem_zalloc(sizeof(*t));

	MUST(t);
	t->tls.ops = &fake_tls_ops;
	t->profile = p->profile;
	t->kind = c->kind;
	t->trust_all = p->trust_all;
	t->offers = p->profile == TLS_CLIENT_MUSTER && p->resume.len > 0;
	t->require_cert = p->require_cert;
	t->creds = c;
	tls_creds_ref(creds);
	if (p->pin)
		str_copy(t->pin, sizeof(t->pin), p->pin);
	str_copy(t->peer.version, sizeof(t->peer.version), "fake");
	*out = &t->tls;
	return ERR_OK;
}

static void fake_creds_free(struct tls_creds *creds)
{
	mem_free(container_of(creds, struct fake_tls_creds, creds));
}

static const struct tls_creds_ops fake_creds_ops = {
	.session_new = fake_session_new,
	.free = fake_creds_free,
};

static struct tls_creds *creds_make(enum fake_kind kind)
{
	struct fake_tls_creds *c = mem_zalloc(sizeof(*c));

	MUST(c);
	c->creds.ops = &fake_creds_ops;
	c->creds.refs = 1;
	c->kind = kind;
	return &c->creds;
}

static enum err fake_creds_new(struct world *w, struct tls_creds **out, const struct tls_material *m, struct why *why)
{
	struct cert_info info = {0};
	enum err e;

	*out = NULL;
	if (!m->chain) {
		*out = creds_make(FAKE_MUSTER);
		return ERR_OK;
	}
	e = cert_info_parse(&info, m->chain, why);
	if (!e) {
		*out = fake_creds_with(of(w), &info);
		container_of(*out, struct fake_tls_creds, creds)->n_ticket_keys = m->tickets ? m->tickets->n : 0;
	}
	cert_info_deinit(&info);
	return e;
}

unsigned fake_creds_n_ticket_keys(const struct tls_creds *creds)
{
	return container_of(creds, const struct fake_tls_creds, creds)->n_ticket_keys;
}

struct tls_creds *fake_creds_with(struct fake_world *f, const struct cert_info *info)
{
	struct tls_creds *creds = creds_make(FAKE_MUSTER);
	struct fake_tls_creds *c = container_of(creds, struct fake_tls_creds, creds);
	struct cert_info *copy = mem_zalloc(sizeof(*copy));

	MUST(copy && f->n_certs < MOST_CERTS);
	*copy = *info;
	copy->ips = copy->dns = (struct str_list){0};
	MUST(str_list_copy(&copy->ips, &info->ips) == ERR_OK && str_list_copy(&copy->dns, &info->dns) == ERR_OK);
	creds->own_role = info->role;
	c->world = f;
	c->cert = ++f->n_certs;
	f->certs[c->cert] = copy;
	return creds;
}

struct tls_creds *fake_creds(struct fake_world *f)
{
	return creds_make(FAKE_MUSTER);
}

/* ---- files ---- */

static struct fake_file *file_find(const struct fake_world *f, const char *path)
{
	list_for (file, &f->files, struct fake_file, in) {
		if (!strcmp(file->path, path))
			return file;
	}
	return NULL;
}

static struct fake_file *file_make(struct fake_world *f, const char *path)
{
	struct fake_file *file = file_find(f, path);

	if (file)
		return file;
	file = mem_zalloc(sizeof(*file));
	MUST(file);
	file->path = mem_strdup(path);
	list_append(&f->files, &file->in);
	return file;
}

static void file_free(struct fake_file *file)
{
	list_remove(&file->in);
	buf_deinit(&file->content);
	mem_free(file->path);
	mem_free(file);
}

static bool op_dies(struct fake_world *f, struct why *why)
{
	if (!f->is_killed && f->ops_left-- > 0)
		return false;
	f->is_killed = true;
	why_set(why, "no space left on device");
	return true;
}

static enum err fs_read(const struct fs *fs, const char *path, size_t limit, struct buf *out, struct why *why)
{
	struct fake_file *file = file_find(fs->user, path);

	if (!file) {
		why_set(why, "cannot open %s", path);
		return ERR_NOT_FOUND;
	}
	return buf_put(out, file->content.data, file->content.len);
}

static enum err fs_write(const struct fs *fs, const char *path, const char *as, unsigned mode, const void *data,
			 size_t n, struct why *why)
{
	struct fake_world *f = fs->user;
	bool dies = op_dies(f, why);
	struct fake_file *file = file_make(f, path);

	buf_clear(&file->content);
	MUST(buf_put(&file->content, data, dies ? n / 2 : n) == ERR_OK);
	return dies ? ERR_IO : ERR_OK;
}

static enum err fs_rename(const struct fs *fs, const char *from, const char *to, struct why *why)
{
	struct fake_world *f = fs->user;
	struct fake_file *source = file_find(f, from);

	if (op_dies(f, why))
		return ERR_IO;
	MUST(source);
	buf_move(&file_make(f, to)->content, &source->content);
	file_free(source);
	f->n_writes++;
	return ERR_OK;
}

static enum err fs_remove(const struct fs *fs, const char *path, struct why *why)
{
	struct fake_world *f = fs->user;
	struct fake_file *file = file_find(f, path);

	if (op_dies(f, why))
		return ERR_IO;
	if (file)
		file_free(file);
	return ERR_OK;
}

static enum err fs_sync_dir(const struct fs *fs, const char *dir, struct why *why)
{
	return op_dies(fs->user, why) ? ERR_IO : ERR_OK;
}

static enum err fs_make_dir(const struct fs *fs, const char *path, unsigned mode, struct why *why)
{
	return ERR_OK;
}

static enum err fs_real_path(const struct fs *fs, const char *path, char **out, struct why *why)
{
	*out = mem_strdup(path);
	return ERR_OK;
}

static bool fs_exists(const struct fs *fs, const char *path)
{
	return file_find(fs->user, path) != NULL;
}

void fake_file_put(struct fake_world *f, const char *path, const char *text)
{
	struct fake_file *file = file_make(f, path);

	buf_clear(&file->content);
	MUST(buf_put_str(&file->content, text) == ERR_OK);
}

const char *fake_file_get(struct fake_world *f, const char *path)
{
	struct fake_file *file = file_find(f, path);

	return file ? buf_str(&file->content) : NULL;
}

size_t fake_file_writes(const struct fake_world *f)
{
	return f->n_writes;
}

void fake_fs_kill_at(struct fake_world *f, size_t n)
{
	f->ops_left = n;
}

bool fake_fs_revive(struct fake_world *f)
{
	bool was_killed = f->is_killed;

	f->is_killed = false;
	f->ops_left = SIZE_MAX;
	return was_killed;
}

/* ---- the world ---- */

static const struct world_ops fake_ops = {
	.now = fake_now,
	.wall_ms = fake_wall_ms,
	.entropy = fake_entropy,
	.wake_at = fake_wake_at,
	.later = fake_later,
	.connect = fake_connect,
	.listen = fake_listen,
	.listener_pause = fake_listener_pause,
	.listener_port = fake_listener_port,
	.listener_free = fake_listener_free,
	.stream_write = fake_write,
	.stream_queued = fake_queued,
	.stream_pause = fake_pause,
	.stream_close = fake_close,
	.resolve = fake_resolve_start,
	.resolve_cancel = fake_resolve_cancel,
	.work = fake_work,
	.creds_new = fake_creds_new,
};

struct fake_world *fake_world_new(uint64_t seed)
{
	struct fake_world *f = mem_zalloc(sizeof(*f));

	MUST(f);
	f->world.ops = &fake_ops;
	rng_init(&f->world.rng, seed);
	f->now.us = START_US;
	list_init(&f->laters);
	list_init(&f->streams);
	list_init(&f->closed);
	list_init(&f->listeners);
	list_init(&f->names);
	list_init(&f->files);
	list_init(&f->works);
	f->ops_left = SIZE_MAX;
	f->fs = (struct fs){
		.read = fs_read,
		.write_synced = fs_write,
		.rename = fs_rename,
		.remove = fs_remove,
		.sync_dir = fs_sync_dir,
		.make_dir = fs_make_dir,
		.real_path = fs_real_path,
		.exists = fs_exists,
		.user = f,
	};
	f->world.fs = &f->fs;
	return f;
}

static void free_closed(struct fake_world *f)
{
	list_for (s, &f->closed, struct fake_stream, in) {
		list_remove(&s->in);
		buf_deinit(&s->inbox);
		mem_free(s);
	}
}

static void run_laters(struct fake_world *f)
{
	/* An engine that keeps itself busy within one turn is a mistake. */
	for (int n = 0; !list_is_empty(&f->laters); n++) {
		struct later *l = list_first(&f->laters, struct later, queued);

		MUST(n < 100000);
		list_remove(&l->queued);
		l->call(l);
	}
	free_closed(f);
}

bool fake_world_step(struct fake_world *f)
{
	struct later *l = list_first(&f->laters, struct later, queued);

	if (!l)
		return false;
	list_remove(&l->queued);
	l->call(l);
	return true;
}

void fake_world_settle(struct fake_world *f)
{
	struct mono next;

	run_laters(f);
	for (int n = 0;; n++) {
		next = world_run_timers(&f->world, f->now);
		run_laters(f);
		MUST(n < 10000);
		if (!mono_reached(f->now, next) &&
		    (!heap_first(&f->world.timers) || !mono_reached(f->now, heap_first(&f->world.timers)->at)))
			return;
	}
}

void fake_world_run(struct fake_world *f, int64_t ms)
{
	struct mono end = mono_add_ms(f->now, ms);
	struct heap_node *first;

	fake_world_settle(f);
	while ((first = heap_first(&f->world.timers)) && mono_reached(end, first->at)) {
		if (mono_before(f->now, first->at))
			f->now = first->at;
		fake_world_settle(f);
	}
	f->now = end;
}

void fake_world_sleep(struct fake_world *f, int64_t ms)
{
	f->now = mono_add_ms(f->now, ms);
	fake_world_settle(f);
}

int64_t fake_world_ms(const struct fake_world *f)
{
	return (f->now.us - START_US) / 1000;
}

struct world *fake_world_of(struct fake_world *f)
{
	return &f->world;
}

void fake_cut(struct fake_world *f, const char *ip, bool cut)
{
	struct str_list left = {0};

	for (size_t i = 0; i < f->cuts.n; i++) {
		if (strcmp(f->cuts.items[i], ip) != 0)
			put(&left, f->cuts.items[i]);
	}
	if (cut)
		put(&left, ip);
	str_list_deinit(&f->cuts);
	f->cuts = left;
	list_for (s, &f->streams, struct fake_stream, in)
		wake(s);
}

const struct str_list *fake_dials(const struct fake_world *f)
{
	return &f->dials;
}

void fake_dials_clear(struct fake_world *f)
{
	str_list_deinit(&f->dials);
}

struct fake_world *fake_world_free(struct fake_world *f)
{
	run_laters(f);
	MUST(list_is_empty(&f->streams));
	MUST(list_is_empty(&f->listeners));
	MUST(!heap_first(&f->world.timers));
	list_for (n, &f->names, struct fake_name, in) {
		list_remove(&n->in);
		mem_free(n->name);
		mem_free(n->ip);
		mem_free(n);
	}
	list_for (file, &f->files, struct fake_file, in)
		file_free(file);
	for (size_t i = 1; i <= f->n_certs; i++) {
		cert_info_deinit(f->certs[i]);
		mem_free(f->certs[i]);
	}
	heap_deinit(&f->world.timers);
	str_list_deinit(&f->cuts);
	str_list_deinit(&f->dials);
	return mem_free(f);
}

/* ---- servers ---- */

struct server_link {
	struct list in;
	struct fake_server *server;
	struct link *link;
	unsigned number;
};

static void link_drop(struct server_link *sl)
{
	struct fake_server *s = sl->server;

	list_remove(&sl->in);
	s->n_open--;
	if (s->link == sl->link) {
		struct server_link *other = list_first(&s->links, struct server_link, in);

		s->link = other ? other->link : NULL;
	}
	mem_free(sl);
}

static void send_batch(struct link *l, struct header *h, const struct batch *b)
{
	struct buf body = {0};

	MUST(batch_encode(b, &body) == ERR_OK);
	if (link_state(l) == LINK_UP)
		(void)!link_send(l, h, (const char *)body.data, body.len);
	buf_deinit(&body);
}

static struct header request_header(struct fake_server *s, uint16_t flags)
{
	return (struct header){
		.flags = FLAG_REQUEST | FLAG_FROM_SERVER | flags,
		.seq = ++s->seq,
		.mgmt_id = s->mgmt_id,
		.agent_id = s->host_id,
		.via = s->host_id,
	};
}

static void send_ready(struct fake_server *s, struct link *l)
{
	struct batch b = {0};
	struct msg_ready *m = batch_add(&b, MSG_READY);
	struct header h = request_header(s, FLAG_STOP_ON_ERROR | FLAG_IN_SEQUENCE);

	msg_set_i64(&m->hostId, s->host_id);
	MUST(msg_set_text(&m->hostUuid, "11111111-2222-3333-4444-555555555555") == ERR_OK);
	MUST(msg_set_text(&m->hostName, "host") == ERR_OK);
	if (s->list.n) {
		MUST(msg_set_texts(&m->msHostList, &s->list) == ERR_OK);
		MUST(msg_set_text(&m->lbAlgorithm, s->algorithm) == ERR_OK);
	}
	MUST(msg_set_texts(&m->avoidMsHostList, &s->avoid) == ERR_OK);
	if (s->interval >= 0)
		msg_set_i64(&m->lbCheckInterval, s->interval);
	if (s->heartbeat_ms)
		msg_set_i64(&m->musterHeartbeatMs, s->heartbeat_ms);
	if (s->is_frozen)
		msg_set_bool(&m->musterFrozen, true);
	link_set_heartbeat(l, s->heartbeat_ms);
	send_batch(l, &h, &b);
	batch_deinit(&b);
}

static void answer_startup(struct fake_server *s, struct link *l, const struct header *request)
{
	struct batch b = {0};
	struct msg_startup_answer *m = batch_add(&b, MSG_STARTUP_ANSWER);
	struct header h = header_answer(request);
	bool refuses = s->refuses || is_disliked(s, link_peer(l), FAKE_REFUSES);

	msg_set_i64(&m->hostId, 0);
	msg_set_i64(&m->pingInterval, s->ping_s);
	if (s->retry_ms || refuses) {
		msg_set_bool(&m->result, false);
		MUST(!s->says || msg_set_text(&m->details, s->says) == ERR_OK);
	}
	if (s->retry_ms) {
		msg_set_i64(&m->musterRetryMs, s->retry_ms);
		MUST(!s->sends_to || msg_set_text(&m->musterServer, s->sends_to) == ERR_OK);
	}
	send_batch(l, &h, &b);
	batch_deinit(&b);
	if (s->sends_ready && !s->retry_ms && !refuses)
		send_ready(s, l);
}

static void answer_ping(struct fake_server *s, struct link *l, const struct header *request)
{
	struct batch b = {0};
	struct msg_ping_answer *m = batch_add(&b, MSG_PING_ANSWER);
	struct header h = header_answer(request);

	MUST(msg_set_texts(&m->avoidMsList, &s->avoid) == ERR_OK);
	send_batch(l, &h, &b);
	batch_deinit(&b);
}

static enum msg_type type_of(const struct fake_message *m)
{
	return m->batch.n ? m->batch.elements[0].type : MSG_UNKNOWN;
}

static void server_message(struct link *l, void *user, const struct header *h, const char *body, size_t n)
{
	struct server_link *sl = user;
	struct fake_server *s = sl->server;
	struct fake_message *m;
	enum msg_type type;

	/* It grows by half: a life of days has a hundred thousand of them. */
	if (s->n_messages == s->room) {
		s->room += s->room / 2 + 8;
		s->messages = mem_grow_array(s->messages, s->room, sizeof(*s->messages));
		MUST(s->messages);
	}
	m = &s->messages[s->n_messages++];
	*m = (struct fake_message){
		.header = *h,
		.text = mem_strndup(body, n),
		.at_ms = fake_world_ms(s->world),
		.link = sl->number,
	};
	/* Whatever an agent was sent, what it says itself is well formed. */
	MUST(batch_decode(&m->batch, body, n, NULL) == ERR_OK);
	type = type_of(m);
	if (msg_is_startup(type) && is_disliked(s, link_peer(l), FAKE_DROPS))
		link_drop(sl), link_close(l);
	else if (msg_is_startup(type) && s->answers_startup)
		answer_startup(s, l, h);
	else if (msg_is_ping(type) && s->answers_pings)
		answer_ping(s, l, h);
	else if (type == MSG_SHUTDOWN)
		link_drop(sl), link_close(l);
}

static void server_up(struct link *l, void *user)
{
	struct server_link *sl = user;

	sl->number = ++sl->server->n_links;
	sl->server->link = l;
	if (link_is_muster(l))
		link_set_heartbeat(l, sl->server->proving_ms);
}

static void server_closed(struct link *l, void *user, enum err why, const char *sentence)
{
	link_drop(user);
}

static const struct link_events server_events = {
	.up = server_up,
	.message = server_message,
	.closed = server_closed,
};

/* A stream that nobody serves. */
struct mute {
	struct list in;
	struct stream *stream;
};

static void mute_data(void *user, const uint8_t *p, size_t n)
{
}

static void mute_ended(void *user, enum err why, const char *sentence)
{
	struct mute *m = user;

	list_remove(&m->in);
	mem_free(m);
}

static const struct stream_events mute_events = {.data = mute_data, .ended = mute_ended};

static void accept_mute(struct fake_server *s, struct stream *stream)
{
	struct mute *m = mem_zalloc(sizeof(*m));

	MUST(m);
	m->stream = stream;
	list_append(&s->mutes, &m->in);
	stream_take(stream, &mute_events, m);
}

static void server_accepted(void *user, struct stream *stream)
{
	struct fake_server *s = user;
	struct server_link *sl;
	struct link_params p = {
		.world = &s->world->world,
		.tls = {.profile = TLS_SERVER},
		.message_limit = LINK_MESSAGE_LIMIT,
		.events = &server_events,
	};

	if (s->kind == FAKE_MUTE) {
		accept_mute(s, stream);
		return;
	}
	sl = mem_zalloc(sizeof(*sl));
	MUST(sl);
	sl->server = s;
	p.tls.creds = creds_make(s->kind);
	container_of(p.tls.creds, struct fake_tls_creds, creds)->server = s;
	container_of(p.tls.creds, struct fake_tls_creds, creds)->world = s->world; /* it sees certificates */
	p.user = sl;
	MUST(link_accept(&sl->link, &p, stream) == ERR_OK);
	tls_creds_unref(p.tls.creds);
	list_prepend(&s->links, &sl->in);
	s->n_open++;
}

void fake_server_start(struct fake_server *s)
{
	struct listen_params p = {.ip = s->ip, .port = FAKE_PORT, .accepted = server_accepted, .user = s};

	if (!s->listener)
		MUST(world_listen(&s->world->world, &s->listener, &p, NULL) == ERR_OK);
}

struct fake_server *fake_server_new(struct fake_world *f, const char *ip, enum fake_kind kind)
{
	struct fake_server *s = mem_zalloc(sizeof(*s));
	const char *last = strrchr(ip, '.');

	MUST(s);
	s->world = f;
	s->ip = ip;
	s->kind = kind;
	s->answers_startup = s->sends_ready = s->answers_pings = true;
	s->ping_s = 60;
	s->proving_ms = 500;
	s->host_id = 7;
	s->algorithm = "static";
	s->interval = 0;
	s->mgmt_id = 100 + (last ? atoi(last + 1) : 0);
	s->seq = s->mgmt_id << 16;
	list_init(&s->links);
	list_init(&s->mutes);
	fake_server_start(s);
	return s;
}

void fake_server_hang_up(struct fake_server *s)
{
	list_for (sl, &s->links, struct server_link, in) {
		struct link *l = sl->link;

		link_drop(sl);
		link_close(l);
	}
	list_for (m, &s->mutes, struct mute, in) {
		stream_close(m->stream);
		list_remove(&m->in);
		mem_free(m);
	}
}

void fake_server_stop(struct fake_server *s)
{
	s->listener = listener_free(s->listener);
	fake_server_hang_up(s);
}

struct fake_server *fake_server_free(struct fake_server *s)
{
	fake_server_stop(s);
	for (size_t i = 0; i < s->n_messages; i++) {
		batch_deinit(&s->messages[i].batch);
		mem_free(s->messages[i].text);
	}
	mem_free(s->messages);
	str_list_deinit(&s->list);
	str_list_deinit(&s->avoid);
	return mem_free(s);
}

void fake_server_send(struct fake_server *s, const struct header *h, const char *body)
{
	struct header copy = *h;

	MUST(s->link && link_send(s->link, &copy, body, strlen(body)) == ERR_OK);
}

int64_t fake_server_ask(struct fake_server *s, enum msg_type type, void (*fill)(void *fields, void *user), void *user)
{
	struct batch b = {0};
	void *fields = batch_add(&b, type);
	struct header h = request_header(s, FLAG_STOP_ON_ERROR);

	if (fill)
		fill(fields, user);
	MUST(s->link);
	send_batch(s->link, &h, &b);
	batch_deinit(&b);
	return h.seq;
}

int64_t fake_server_ask_text(struct fake_server *s, uint16_t flags, const char *body)
{
	struct header h = request_header(s, flags);

	fake_server_send(s, &h, body);
	return h.seq;
}

const struct fake_message *fake_server_got(const struct fake_server *s, enum msg_type type, size_t n)
{
	for (size_t i = 0; i < s->n_messages; i++) {
		if (type_of(&s->messages[i]) == type && n-- == 0)
			return &s->messages[i];
	}
	return NULL;
}

size_t fake_server_count(const struct fake_server *s, enum msg_type type)
{
	size_t n = 0;

	while (fake_server_got(s, type, n))
		n++;
	return n;
}

const struct fake_message *fake_server_answer(const struct fake_server *s, int64_t seq)
{
	for (size_t i = 0; i < s->n_messages; i++) {
		if (!(s->messages[i].header.flags & FLAG_REQUEST) && s->messages[i].header.seq == seq)
			return &s->messages[i];
	}
	return NULL;
}
