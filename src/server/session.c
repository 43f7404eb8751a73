/*
 * A session is one link to this server, from accept to close: an agent's, another server's or a joiner's.
 *
 *   TLS --up--> ANONYMOUS --startup--> STARTED --claimed--> ATTACHED --ReadyAnswer--> READY
 *    |             |                      |                    |                        |
 *    |             +----------------------+----- CLOSED <------+----- SUPERSEDED <------+
 *    |                                              (the agent may come back to it: STARTED)
 *    +--server certificate--> PEER        +--muster-join/1--> JOINING
 *
 * Until a peer has shown who it is, it may hold little: 256 KiB of message, a place among the anonymous of its
 * address, and a deadline. A session ends in one place, session_end(), and its memory goes at the end of the turn.
 */
#include "server/rotation.h"

#include <assert.h>

#define SUPERSEDED_MS 30000 /* answers in flight of a replaced link (decision 16) */
#define SUPERSEDED_MOST 2   /* of one host: whoever has one agent's certificate must not fill the house */
#define SUPERSEDED_LIMIT (1u * 1024 * 1024)
#define JOINING_MS 30000
#define HELLO_MS 10000 /* from a server's TLS to its hello */
#define FLUSH_MS 1000
#define PROVING_HEARTBEAT_MS 500
#define AGENT_HEARTBEAT_MS 1000
#define HELD_MS 30000        /* from accept: a handshake that waits for its turn at gate 1 */
#define CLOSINGS_A_SECOND 20 /* that are logged */

#define TO(state) (1u << SESSION_##state)
/* clang-format off */
static const struct {
	const char *name;
	unsigned next; /* states that may follow */
} states[] = {
	[SESSION_TLS]        = { "tls",        TO(ANONYMOUS) | TO(PEER) | TO(JOINING) | TO(CLOSED) },
	[SESSION_ANONYMOUS]  = { "anonymous",  TO(STARTED) | TO(CLOSED) },
	[SESSION_STARTED]    = { "started",    TO(ATTACHED) | TO(CLOSED) },
	[SESSION_ATTACHED]   = { "attached",   TO(READY) | TO(SUPERSEDED) | TO(CLOSED) },
	[SESSION_READY]      = { "ready",      TO(SUPERSEDED) | TO(CLOSED) },
	[SESSION_SUPERSEDED] = { "superseded", TO(STARTED) | TO(CLOSED) }, /* the agent has come back to this link */
	[SESSION_PEER]       = { "peer",       TO(CLOSED) },
	[SESSION_JOINING]    = { "joining",    TO(CLOSED) },
	[SESSION_CLOSED]     = { "closed",     0 },
};
/* clang-format on */
#undef TO

const char *session_state_name(enum session_state st)
{
	return states[st].name;
}

struct link_stamp session_stamp(const struct session *x)
{
	return (struct link_stamp){x->boot, x->boot_number, x->link_number};
}

void session_move(struct session *x, enum session_state to, const char *reason)
{
	assert(states[x->state].next & (1u << to));

	log_at(x->server->log, x->host_id ? LOG_INFO : LOG_DEBUG, "session moved", KV_I("host", x->host_id),
	       KV_S("peer", x->ip), KV_S("from", states[x->state].name), KV_S("to", states[to].name),
	       KV_S("reason", reason));
	list_remove(&x->in_superseded);
	x->server->n_in_state[x->state]--;
	x->server->n_in_state[to]++;
	x->state = to;
	x->since = world_now(x->server->world);
}

/* ---- the end ---- */

static void session_free_later(struct later *l)
{
	struct session *x = container_of(l, struct session, free_later);

	mem_free(x->guid);
	mem_free(x->boot);
	mem_free(x->reported);
	mem_free(x);
}

/* Called for each session at the end of a server without a word to anybody. */
static void session_forget(struct session *x)
{
	struct server *s = x->server;

	timer_stop(s->world, &x->deadline);
	timer_stop(s->world, &x->claim_again);
	timer_stop(s->world, &x->in_sequence_timer);
	crowd_leave(x);
	requests_drop_queue(x);
	startup_abandon(x);
	startup_drop_held(x);
	join_abandon(x);
	strictness_unsecured(x, false);
	if (x->host && x->host->session == x)
		x->host->session = NULL;
	x->host = NULL;
	list_remove(&x->in_superseded);
	list_remove(&x->in_sessions);
	s->n_sessions--;
	s->n_in_state[x->state]--;
}

static void store_event(struct session *x, enum host_event event);

/* What strangers cause can come by the thousand: the first of a second are shown, the others to who looks closely. */
static enum log_level closing_level(struct server *s)
{
	struct mono now = world_now(s->world);

	if (mono_ms_between(s->closings_since, now) >= 1000) {
		s->closings_since = now;
		s->n_closings = 0;
	}
	return s->n_closings++ < CLOSINGS_A_SECOND ? LOG_INFO : LOG_DEBUG;
}

/* Who was let in before and has lost its link since was not refused, unless its certificate doesn't count any more. */
static bool is_refusal(const struct session *x, enum err why)
{
	switch (x->state) {
	case SESSION_ATTACHED:
	case SESSION_READY:
	case SESSION_SUPERSEDED:
		return why == ERR_REVOKED;
	case SESSION_PEER:
		return why == ERR_REVOKED || (!x->peer_msid && why != ERR_CLOSED && why != ERR_STOPPED);
	default:
		return why != ERR_CLOSED && why != ERR_STOPPED;
	}
}

void session_end(struct session *x, enum err why, const char *sentence, enum host_event event)
{
	struct server *s = x->server;
	struct host *h = x->host && x->host->session == x ? x->host : NULL;
	bool was_superseded = x->state == SESSION_SUPERSEDED;

	if (x->state == SESSION_CLOSED)
		return;
	if (is_refusal(x, why)) {
		refusal_of_session(s, x, why);
		s->n_handshakes_failed += x->state == SESSION_TLS;
		log_at(s->log, closing_level(s), "connection refused", KV_S("peer", x->ip),
		       KV_S("state", states[x->state].name), KV_S("error", err_name(why)), KV_S("reason", sentence));
	}
	if (x->state == SESSION_PEER)
		peer_session_ended(x);
	session_move(x, SESSION_CLOSED, sentence);
	crowd_leave(x);
	x->link = link_close_after_flush(x->link, FLUSH_MS);

	if (h && !was_superseded) {
		spread_gone(s->spread, (uint64_t)h->row.id);
		requests_link_lost(h, h->row.is_muster && event == EVENT_N);
		if (event != EVENT_N)
			store_event(x, event);
	}
	session_forget(x);
	if (h && !was_superseded && event == EVENT_N && !s->stopping)
		watch_lost(s, h);
	if (h && !was_superseded)
		draining_host(s, h);
	world_later(s->world, &x->free_later);
}

void session_stop_all(struct server *s)
{
	list_for (x, &s->sessions, struct session, in_sessions)
		session_end(x, ERR_STOPPED, "server stops", EVENT_N);
}

void session_free_all(struct server *s)
{
	list_for (x, &s->sessions, struct session, in_sessions) {
		x->link = link_close(x->link);
		session_forget(x);
		world_later_cancel(&x->free_later);
		session_free_later(&x->free_later);
	}
}

static void keep_superseded(struct session *x, struct host *h)
{
	struct session *oldest;
	size_t n = 0;

	list_append(&h->superseded, &x->in_superseded);
	list_for (other, &h->superseded, struct session, in_superseded)
		n++;
	oldest = list_first(&h->superseded, struct session, in_superseded);
	if (oldest && n > SUPERSEDED_MOST)
		session_end(oldest, ERR_CONFLICT, "replaced by more than one newer link", EVENT_N);
}

void session_supersede(struct session *x, const char *reason)
{
	struct server *s = x->server;
	struct host *h;

	if (x->state != SESSION_ATTACHED && x->state != SESSION_READY) {
		session_end(x, ERR_CONFLICT, reason, EVENT_N);
		return;
	}
	h = x->host && x->host->session == x ? x->host : NULL;
	spread_gone(s->spread, (uint64_t)x->host_id);
	if (h)
		h->session = NULL;
	x->host = NULL;
	/* A claim of ours would come after the one that counts. */
	startup_abandon(x);
	timer_stop(s->world, &x->claim_again);
	x->provisional = false;
	session_move(x, SESSION_SUPERSEDED, reason);
	link_set_message_limit(x->link, SUPERSEDED_LIMIT);
	timer_set_in(s->world, &x->deadline, SUPERSEDED_MS);
	/* What waited for its turn here is sent over the next link; answers to what was sent may still come over this
	 * one. */
	requests_drop_queue(x);
	if (h) {
		keep_superseded(x, h);
		requests_link_lost(h, h->row.is_muster);
		draining_host(s, h);
	}
}

/* ---- status in the store ---- */

struct event_entry {
	struct entry entry;
	struct list in_again; /* s->events_again */
	int64_t host_id, epoch;
	enum host_event event;
	enum host_status to;
};

static enum err event_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct event_entry *e = container_of(entry, struct event_entry, entry);

	return store_host_event(tx, e->host_id, e->epoch, e->event, &e->to);
}

static void event_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct event_entry *e = container_of(entry, struct event_entry, entry);

	/* Late events are normal: another server has the agent by now, or the status knows no such step. */
	if (result && result != ERR_CONFLICT && result != ERR_STATE && result != ERR_NOT_FOUND) {
		if (!s->stopping) {
			/* Kept: nobody else would ever say it. If the host changes hands meanwhile, its epoch makes it
			 * void. */
			log_debug(s->log, "a host's status could not be stored, trying again", KV_I("host", e->host_id),
				  KV_S("event", host_event_name(e->event)), KV_S("error", sentence));
			list_append(&s->events_again, &e->in_again);
			return;
		}
		log_warn(s->log, "a host's status could not be stored", KV_I("host", e->host_id),
			 KV_S("event", host_event_name(e->event)), KV_S("error", sentence));
	} else if (!result) {
		follow_now(s);
	}
	mem_free(e);
}

void host_events_again(struct server *s)
{
	while (!list_is_empty(&s->events_again)) {
		struct event_entry *e = list_first(&s->events_again, struct event_entry, in_again);

		list_remove(&e->in_again);
		ledger_add(s, &e->entry);
	}
}

void host_events_deinit(struct server *s)
{
	list_for (e, &s->events_again, struct event_entry, in_again)
		mem_free(e);
	list_init(&s->events_again);
}

void host_store_event(struct server *s, int64_t host_id, int64_t epoch, enum host_event event)
{
	struct event_entry *e = mem_zalloc(sizeof(*e));

	if (!e) {
		log_error(s->log, "out of memory for a status", KV_I("host", host_id));
		return;
	}
	e->entry.run = event_run;
	e->entry.done = event_done;
	list_init(&e->in_again);
	e->host_id = host_id;
	e->epoch = epoch;
	e->event = event;
	ledger_add(s, &e->entry);
}

static void store_event(struct session *x, enum host_event event)
{
	/* Without a claim of this link: only where the host is still ours by an older one. */
	if (x->epoch && (!x->provisional || (x->host && x->host->row.owner == x->server->msid)))
		host_store_event(x->server, x->host_id, x->epoch, event);
}

/* ---- link events ---- */

static void on_turn(struct link *l, void *user)
{
	gate_turn(user);
}

static void on_up(struct link *l, void *user)
{
	struct session *x = user;
	struct server *s = x->server;
	const struct tls_peer *peer = link_peer(l);
	struct why why = WHY_NONE;

	gate_leave(x);
	if (peer->has_cert && peer->chain_ok && !authority_is_revoked(s, peer->cert.serial))
		crowd_known(x);
	else
		crowd_idle(x, true);
	if (str_equal(peer->alpn, ALPN_JOIN)) {
		session_move(x, SESSION_JOINING, "muster-join/1");
		timer_set_in(s->world, &x->deadline, JOINING_MS);
		return;
	}
	if (link_is_muster(l) && peer->has_cert && peer->chain_ok && peer->cert.role == CERT_ROLE_SERVER) {
		enum admit a =
			admit_server(peer->has_cert, peer->chain_ok, &peer->cert,
				     authority_is_revoked(s, peer->cert.serial), world_wall_ms(s->world) / 1000, &why);

		if (a != ADMIT_YES) {
			x->refused_as = a;
			session_end(x, ERR_UNTRUSTED, why_text(&why, ERR_UNTRUSTED), EVENT_N);
			return;
		}
		crowd_leave(x);
		link_set_message_limit(l, LINK_MESSAGE_LIMIT);
		link_set_heartbeat(l, AGENT_HEARTBEAT_MS);
		session_move(x, SESSION_PEER, "server certificate");
		timer_set_in(s->world, &x->deadline, HELLO_MS);
		return;
	}
	if (link_was_resumed(l))
		s->n_resumed++;
	else
		s->n_full++;
	/* Before it moves here an agent wants to see that we are alive (docs/failover.md, "Failback gate" 9). */
	link_set_heartbeat(l, PROVING_HEARTBEAT_MS);
	session_move(x, SESSION_ANONYMOUS, "TLS complete");
	timer_set_in(s->world, &x->deadline, config_number(s, "agent.startup.timeout", 0) * 1000);
}

static void on_message(struct link *l, void *user, const struct header *h, const char *body, size_t n)
{
	session_message(user, h, body, n);
}

static void on_closed(struct link *l, void *user, enum err why, const char *sentence)
{
	struct session *x = user;

	crowd_leave(x);
	if (x->state == SESSION_TLS && why == ERR_UNTRUSTED)
		rotation_refused(x, link_shown_cert(l));
	x->link = NULL; /* it frees itself */
	session_end(x, why, sentence, EVENT_N);
}

static const struct link_events session_link_events = {
	.turn = on_turn,
	.up = on_up,
	.message = on_message,
	.closed = on_closed,
};

static void on_deadline(struct timer *t)
{
	struct session *x = container_of(t, struct session, deadline);

	switch (x->state) {
	case SESSION_SUPERSEDED:
		session_end(x, ERR_CONFLICT, "replaced by a newer link", EVENT_N);
		break;
	case SESSION_JOINING:
		session_end(x, ERR_TIMEOUT, "no join request in time", EVENT_N);
		break;
	case SESSION_PEER:
		session_end(x, ERR_TIMEOUT, "a server that does not say hello", EVENT_N);
		break;
	case SESSION_ATTACHED:
		session_end(x, ERR_TIMEOUT, "no answer to ReadyCommand in time", EVENT_AGENT_DISCONNECTED);
		break;
	default:
		session_end(x, ERR_TIMEOUT, "no startup in time", EVENT_N);
		break;
	}
}

void session_accept(struct server *s, struct stream *take_stream)
{
	struct session *x;
	struct link_params p = {0};

	if (!s->running || s->stopping || !crowd_has_room(s, take_stream->peer_ip)) {
		s->n_refused++;
		log_debug(s->log, "connection refused, no room", KV_S("peer", take_stream->peer_ip));
		stream_close(take_stream);
		return;
	}
	x = mem_zalloc(sizeof(*x));
	if (!x) {
		stream_close(take_stream);
		return;
	}
	x->server = s;
	str_copy(x->ip, sizeof(x->ip), take_stream->peer_ip);
	x->state = SESSION_TLS;
	x->since = x->opened = world_now(s->world);
	x->interval_told = -1;
	list_init(&x->in_superseded);
	list_init(&x->in_asking);
	list_init(&x->in_idle);
	list_init(&x->in_gate);
	timer_init(&x->deadline, on_deadline);
	timer_init(&x->claim_again, NULL);
	timer_init(&x->in_sequence_timer, NULL);
	list_init(&x->in_sequence);
	list_init(&x->free_later.queued);
	x->free_later.call = session_free_later;

	p.world = s->world;
	p.log = s->log;
	p.tls = (struct tls_params){
		.profile = TLS_SERVER,
		.creds = s->creds,
		.require_cert = config_bool(s, "ca.plugin.root.auth.strictness"),
		.wall_s = world_wall_ms(s->world) / 1000,
		/* Who has expired not long ago may come in to be renewed; ca/policy judges by the same limit. */
		.expired_grace_s = config_bool(s, "ca.plugin.root.allow.expired.cert") ? ADMIT_EXPIRED_LIMIT_S : 0,
	};
	p.handshake_ms = config_number(s, "agent.ssl.handshake.timeout", 0) * 1000;
	p.held_ms = HELD_MS;
	p.offload = true;
	p.events = &session_link_events;
	p.user = x;
	if (link_accept(&x->link, &p, take_stream)) {
		/* It has closed the stream. */
		log_warn(s->log, "a connection could not be taken");
		mem_free(x);
		return;
	}
	list_append(&s->sessions, &x->in_sessions);
	s->n_sessions++;
	s->n_in_state[x->state]++;
	if (crowd_enter(x))
		session_end(x, ERR_NOMEM, "out of memory", EVENT_N);
}

/* ---- messages ---- */

enum err link_send_batch(struct link *l, struct header *h, const struct batch *b)
{
	struct buf json = {0};
	enum err e = batch_encode(b, &json);

	if (!e)
		e = link_send(l, h, (const char *)json.data, json.len);
	buf_deinit(&json);
	return e;
}

enum err session_answer(struct session *x, const struct header *request, struct batch *take_batch)
{
	struct header h = header_answer(request);
	enum err e;

	/* A server's answer carries its own id, and as via the host's (agent-protocol 2.1). */
	h.mgmt_id = x->server->msid;
	h.via = x->host_id ? x->host_id : -1;
	e = x->link ? link_send_batch(x->link, &h, take_batch) : ERR_CLOSED;
	batch_deinit(take_batch);
	return e;
}

static void anonymous_message(struct session *x, const struct header *h, const char *body, size_t n)
{
	struct batch b = {0};
	struct why why = WHY_NONE;

	/* Before a startup nothing else is answered (agent-protocol 4.2.1); repeated nonsense meets the deadline. While
	 * one is held back another one counts for nothing: it would end the hold. */
	if (!(h->flags & FLAG_REQUEST) || (h->flags & FLAG_FROM_SERVER) || x->held)
		return;
	if (batch_decode(&b, body, n, &why)) {
		session_end(x, ERR_MALFORMED, why_text(&why, ERR_MALFORMED), EVENT_N);
		return;
	}
	if (b.n && element_startup(&b.elements[0])) {
		crowd_leave(x);
		startup_begin(x, h, &b);
	} else if (b.n && b.elements[0].type == MSG_PEER_HELLO) {
		x->refused_as = ADMIT_WRONG_ROLE;
		session_end(x, ERR_UNTRUSTED, "a hello of a management server, without a server's certificate",
			    EVENT_N);
	} else if (b.n && b.elements[0].type == MSG_JOIN) {
		session_end(x, ERR_REFUSED, "a join request on a link that is not for joining", EVENT_N);
	}
	batch_deinit(&b);
}

static void agent_message(struct session *x, const struct header *h, const char *body, size_t n)
{
	struct server *s = x->server;
	struct batch b = {0};
	struct why why = WHY_NONE;

	if (h->flags & FLAG_FROM_SERVER) {
		refusal_count(s, REFUSAL_AS_SERVER);
		session_end(x, ERR_REFUSED, "an agent may not speak as a server", EVENT_AGENT_DISCONNECTED);
		return;
	}
	if (!(h->flags & FLAG_REQUEST)) {
		/* It answers for itself only: what it was asked carried its id. */
		if (h->agent_id != x->host_id) {
			refusal_count(s, REFUSAL_FOREIGN_ANSWER);
			log_debug(s->log, "an answer in the name of another host is dropped", KV_I("host", x->host_id),
				  KV_I("agent", h->agent_id));
			return;
		}
		requests_advance(x, h);
		if (h->mgmt_id != -1 && h->mgmt_id != s->msid) {
			struct header copy = *h;

			/* The answer to another server's command: passed on as it is (agent-protocol 2.4, rule 2). */
			if (peer_send_raw(s, h->mgmt_id, &copy, body, n))
				log_warn(s->log, "an answer could not be passed on", KV_I("host", x->host_id),
					 KV_I("server", h->mgmt_id));
		} else if (!request_answered(s, h, body, n)) {
			/* Late answers are normal after a time-out: the request is gone. */
			refusal_count(s, REFUSAL_UNASKED_ANSWER);
			log_debug(s->log, "nobody waits for this answer", KV_I("host", x->host_id),
				  KV_I("seq", h->seq));
		}
		return;
	}
	if (batch_decode(&b, body, n, &why)) {
		log_warn(s->log, "a request could not be read", KV_I("host", x->host_id),
			 KV_S("error", why_text(&why, ERR_MALFORMED)));
		return;
	}
	handle_request(x, h, &b);
	batch_deinit(&b);
}

static void joining_message(struct session *x, const struct header *h, const char *body, size_t n)
{
	struct batch b = {0};
	struct why why = WHY_NONE;

	crowd_idle(x, false);
	if (batch_decode(&b, body, n, &why))
		join_malformed(x, why_text(&why, ERR_MALFORMED));
	else
		join_message(x, h, &b);
	batch_deinit(&b);
}

void session_message(struct session *x, const struct header *h, const char *body, size_t n)
{
	switch (x->state) {
	case SESSION_ANONYMOUS:
		anonymous_message(x, h, body, n);
		break;
	case SESSION_STARTED:
	case SESSION_ATTACHED:
	case SESSION_READY:
	case SESSION_SUPERSEDED:
		agent_message(x, h, body, n);
		break;
	case SESSION_PEER:
		peer_message(x, h, body, n);
		break;
	case SESSION_JOINING:
		joining_message(x, h, body, n);
		break;
	case SESSION_TLS:
	case SESSION_CLOSED:
		break;
	}
}
