/*
 * Peer: links between management servers (decision 15).
 *
 * Every server dials every other one on its agent port, with its server certificate, over muster/1. The link that a
 * server has dialled carries its own requests and the answers to them; both directions show that the other is alive.
 * The store is the truth: a hint only makes the other look at once.
 *
 *   PeerHello            who I am, first on each link
 *   ChangeHint           something changed in the store
 *   PeerStatus           how a server is, every second: does it take agents, since when, how many has it
 *   forwarded requests   raw, FROM_SERVER, mgmtId of who asks; answers come back raw, over any link
 * (agent-protocol 4.5) CancelCommand        the agent is not here (or: no longer wanted) ChangeAgentCommand
 * ShutdownRequested: drop that agent's link, it shall come again; StartAgentRebalance for agent 0: all of yours shall
 * look for their preferred server
 */
#include "server/internal.h"

#define DIAL_AGAIN_MIN_MS 200
#define DIAL_AGAIN_MAX_MS 2000
#define PEER_HEARTBEAT_MS 1000
#define STATUS_QUEUED_MOST 65536
#define PEER_SILENT_MS 10000 /* a link that says nothing for so long is closed and dialled again */

struct peer {
	struct server *server;
	int64_t msid;
	struct link *out;   /* owned; dialled by us */
	struct session *in; /* borrowed; dialled by it; NULL: none */
	struct timer dial;
	unsigned failures;
	struct mono heard; /* on any link with it, also one that is gone by now */
	char dialled[SERVER_HOST_MAX + 9];
};

/* ---- sending ---- */

static struct link *peer_link(const struct peer *p)
{
	if (p->out && link_state(p->out) == LINK_UP)
		return p->out;
	return p->in ? p->in->link : NULL;
}

static enum err send_batch(struct server *s, struct link *l, uint16_t flags, int64_t seq, int64_t agent_id,
			   const struct batch *b)
{
	struct header h = {
		.flags = (uint16_t)(flags | FLAG_FROM_SERVER),
		.seq = seq,
		.mgmt_id = s->msid,
		.agent_id = agent_id,
		.via = agent_id,
	};

	return link_send_batch(l, &h, b);
}

enum err peer_send_raw(struct server *s, int64_t msid, struct header *h, const char *body, size_t n)
{
	struct member_server *m = roster_server(s, msid);
	struct link *l = m && m->peer ? peer_link(m->peer) : NULL;

	return l ? link_send(l, h, body, n) : ERR_UNREACHABLE;
}

static enum err put_hello(struct server *s, struct msg_peer_hello *m)
{
	msg_set_i64(&m->msId, s->msid);
	msg_set_i64(&m->runId, s->run_id);
	if (msg_set_text(&m->uuid, s->uuid) || msg_set_text(&m->name, s->p.name) ||
	    msg_set_text(&m->version, s->p.version))
		return ERR_NOMEM;
	return ERR_OK;
}

static void send_hello(struct server *s, struct link *l)
{
	struct batch b = {0};
	struct msg_peer_hello *m = batch_add(&b, MSG_PEER_HELLO);

	if (!m || put_hello(s, m) || send_batch(s, l, FLAG_REQUEST, ++s->next_seq, -1, &b))
		log_warn(s->log, "a hello to a peer could not be sent");
	batch_deinit(&b);
}

void peer_hint(struct server *s)
{
	list_for (m, &s->servers, struct member_server, in_servers) {
		struct batch b = {0};
		struct link *l = m->peer ? peer_link(m->peer) : NULL;
		struct msg_change_hint *hint = l ? batch_add(&b, MSG_CHANGE_HINT) : NULL;

		if (hint) {
			msg_set_i64(&hint->changeSeq, s->change_seq);
			/* A lost hint costs the other 100 ms. */
			if (send_batch(s, l, FLAG_REQUEST, ++s->next_seq, -1, &b))
				log_debug(s->log, "a hint could not be sent", KV_S("server", m->row.name));
		}
		batch_deinit(&b);
	}
}

static void send_status(struct server *s, struct link *l)
{
	struct batch b = {0};
	struct msg_peer_status *m = batch_add(&b, MSG_PEER_STATUS);

	if (m) {
		msg_set_bool(&m->accepting, server_is_accepting(s));
		msg_set_i64(&m->uptimeMs,
			    s->running_since.us ? mono_ms_between(s->running_since, world_now(s->world)) : 0);
		msg_set_i64(&m->agents, (int64_t)server_n_agents(s));
		msg_set_i64(&m->backlog, (int64_t)server_backlog(s));
		msg_set_i64(&m->arrivals, (int64_t)arrivals_waiting(s));
		msg_set_bool(&m->canIssue, s->ca->ops->can_issue(s->ca));
	}
	/* The next one comes in a second. */
	if (!m || send_batch(s, l, FLAG_REQUEST, ++s->next_seq, -1, &b))
		log_debug(s->log, "a peer could not be told how we are");
	batch_deinit(&b);
}

void peer_tell_status(struct server *s)
{
	s->accepting_told = server_is_accepting(s);
	list_for (m, &s->servers, struct member_server, in_servers) {
		struct link *l = m->peer ? peer_link(m->peer) : NULL;

		/* One that does not read is told when it does. */
		if (l && link_queued(l) <= STATUS_QUEUED_MOST)
			send_status(s, l);
	}
}

void peer_status_changed(struct server *s)
{
	if (server_is_accepting(s) != s->accepting_told)
		peer_tell_status(s);
}

static void send_cancel(struct server *s, int64_t msid, int64_t seq, const char *reason)
{
	struct batch b = {0};
	struct msg_cancel *m = batch_add(&b, MSG_CANCEL);
	struct member_server *to = roster_server(s, msid);
	struct link *l = to && to->peer ? peer_link(to->peer) : NULL;

	if (m && l && msg_set_text(&m->reason, reason) == ERR_OK) {
		msg_set_i64(&m->sequence, seq);
		if (send_batch(s, l, FLAG_REQUEST | FLAG_CONTROL, seq, -1, &b))
			log_debug(s->log, "a cancel could not be sent", KV_I("seq", seq));
	}
	batch_deinit(&b);
}

enum err peer_change_agent(struct server *s, int64_t owner_msid, int64_t host_id, enum host_event event,
			   const struct request_params *p)
{
	struct member_server *m = roster_server(s, owner_msid);
	struct link *l = m && m->peer ? peer_link(m->peer) : NULL;
	struct batch b = {0};
	struct msg_change_agent *c;
	enum err e = ERR_UNREACHABLE;

	if (!l)
		return e;
	c = batch_add(&b, MSG_CHANGE_AGENT);
	if (!c || msg_set_text(&c->event, host_event_name(event))) {
		batch_deinit(&b);
		return ERR_NOMEM;
	}
	msg_set_i64(&c->agentId, host_id);
	e = send_batch(s, l, FLAG_REQUEST, ++s->next_seq, host_id, &b);
	batch_deinit(&b);
	if (!e && p && p->done)
		p->done(p->user, ERR_OK, "", NULL);
	return e;
}

/*
 * A link to it has ended. What was on its way is lost and, where a muster agent was asked, goes out again: at once over
 * the other link, if there is one, because nothing else would wake it.
 */
static void link_lost(struct peer *p)
{
	requests_peer_lost(p->server, p->msid);
	if (peer_is_up(p))
		requests_peer_linked(p->server, p->msid);
}

/* ---- receiving ---- */

/* Is the certificate that server's own? Another one may have got its address, and would keep it alive for ever. */
static bool is_member(const struct tls_peer *who, const struct member_server *m)
{
	return who->cert.role == CERT_ROLE_SERVER && str_equal(who->cert.id, m->row.uuid);
}

static void heard(struct server *s, struct peer *p)
{
	if (p)
		p->heard = world_now(s->world);
}

/* A command for one of our agents, from the server that wants the answer. */
static void pass_to_agent(struct server *s, const struct header *h, const char *body, size_t n)
{
	struct host *host = roster_host(s, h->agent_id);
	struct session *x = host ? host->session : NULL;
	enum err e = ERR_UNREACHABLE;

	if (x && x->state == SESSION_READY)
		e = requests_pass_on(x, h, body, n);
	if (e)
		send_cancel(s, h->mgmt_id, h->seq, "the agent is not connected here");
}

static void change_agent(struct server *s, const struct msg_change_agent *m)
{
	struct host *h = m->agentId.has ? roster_host(s, m->agentId.value) : NULL;
	enum host_event event;

	if (!m->event || !host_event_from_text(m->event, &event))
		return;
	/* No agent named: all of them are to look for their preferred server. */
	if (event == EVENT_START_AGENT_REBALANCE && m->agentId.has && m->agentId.value == 0)
		spreading_trigger_all_fresh(s);
	if (!h || !h->session)
		return;
	if (event == EVENT_SHUTDOWN_REQUESTED)
		session_end(h->session, ERR_CLOSED, "reconnect requested", EVENT_SHUTDOWN_REQUESTED);
}

static void take_in(struct peer *p, struct session *x)
{
	/* One of each, whatever a peer says on how many links: what is let go knows nothing of us any more. */
	peer_session_ended(x);
	if (p->in)
		peer_session_ended(p->in);
	x->peer = p;
	p->in = x;
	heard(p->server, p);
	requests_peer_linked(p->server, p->msid);
}

static void hello_came(struct server *s, struct session *x, const struct msg_peer_hello *m)
{
	struct member_server *member;
	struct peer *p;

	if (!m->msId.has)
		return;
	member = roster_server(s, m->msId.value);
	if (x && member && !is_member(link_peer(x->link), member)) {
		log_error(s->log, "a management server says that it is another one",
			  KV_S("peer", link_peer_ip(x->link)), KV_S("certificate", link_peer(x->link)->cert.id),
			  KV_I("msid", m->msId.value));
		session_end(x, ERR_UNTRUSTED, "hello for another server", EVENT_N);
		return;
	}
	if (x) {
		timer_stop(s->world, &x->deadline);
		x->peer_msid = m->msId.value;
	}
	p = member ? member->peer : NULL;
	if (!p) {
		/* It registered a moment ago and we have not read that yet; peer_update() comes back to the session. */
		follow_now(s);
		return;
	}
	heard(s, p);
	if (x) {
		take_in(p, x);
		origin_look_at_server(s, &link_peer(x->link)->cert);
	}
	log_info(s->log, "management server is linked", KV_S("server", m->name ? m->name : "?"),
		 KV_I("msid", m->msId.value), KV_S("direction", x ? "in" : "out"));
	/* It may have come up again: do not wait for the next dial. */
	if (!p->out)
		timer_set_in(s->world, &p->dial, 0);
}

static void status_came(struct server *s, const struct peer *p, const struct msg_peer_status *status)
{
	struct member_server *m = p ? roster_server(s, p->msid) : NULL;

	/* Without a hello we don't know whose it is. */
	if (m && s->running)
		news_peer_status(s, m, status);
}

/* `x`: the session it came over; NULL: over the link that we have dialled to `p`. */
static void take_request(struct server *s, struct peer *p, struct session *x, const struct header *h, const char *body,
			 size_t n)
{
	struct batch b = {0};
	struct why why = WHY_NONE;

	if (batch_decode(&b, body, n, &why) || !b.n) {
		log_warn(s->log, "a peer's message could not be read", KV_S("error", why_text(&why, ERR_MALFORMED)));
		batch_deinit(&b);
		return;
	}
	if (x && !x->peer_msid && b.elements[0].type != MSG_PEER_HELLO) {
		/* A server says first which one it is; and whoever has its certificate is no agent. */
		if (element_startup(&b.elements[0]))
			x->refused_as = ADMIT_WRONG_ROLE;
		session_end(x, ERR_REFUSED,
			    element_startup(&b.elements[0]) ? "an agent's startup with the certificate of a server"
							    : "a server that does not say first which one it is",
			    EVENT_N);
		batch_deinit(&b);
		return;
	}
	switch (b.elements[0].type) {
	case MSG_PEER_HELLO:
		hello_came(s, x, b.elements[0].fields);
		break;
	case MSG_CHANGE_HINT:
		follow_now(s);
		break;
	case MSG_AGENT_ALIVE:
		if (p)
			clone_asked(s, p->msid, h, b.elements[0].fields);
		break;
	case MSG_PEER_STATUS:
		status_came(s, p, b.elements[0].fields);
		break;
	case MSG_CHANGE_AGENT:
		change_agent(s, b.elements[0].fields);
		break;
	case MSG_CANCEL: {
		const struct msg_cancel *m = b.elements[0].fields;

		if (m->sequence.has)
			request_cancelled(s, m->sequence.value, m->reason);
		break;
	}
	default:
		if (h->agent_id > 0)
			pass_to_agent(s, h, body, n);
		break;
	}
	batch_deinit(&b);
}

static void take_message(struct server *s, struct peer *p, struct session *x, const struct header *h, const char *body,
			 size_t n)
{
	if (h->flags & FLAG_REQUEST)
		take_request(s, p, x, h, body, n);
	else if (h->mgmt_id == s->msid && !request_answered(s, h, body, n) && p)
		clone_answered(s, p->msid, h, body, n);
}

void peer_message(struct session *x, const struct header *h, const char *body, size_t n)
{
	heard(x->server, x->peer);
	take_message(x->server, x->peer, x, h, body, n);
}

void peer_session_ended(struct session *x)
{
	struct peer *p = x->peer && x->peer->in == x ? x->peer : NULL;

	x->peer = NULL;
	if (!p)
		return;
	p->in = NULL;
	link_lost(p);
}

/* ---- dialling ---- */

static void dial_later(struct peer *p)
{
	int64_t most = DIAL_AGAIN_MIN_MS << (p->failures < 4 ? p->failures : 4);

	if (most > DIAL_AGAIN_MAX_MS)
		most = DIAL_AGAIN_MAX_MS;
	p->failures++;
	timer_set_in(p->server->world, &p->dial, rng_between(&p->server->world->rng, DIAL_AGAIN_MIN_MS / 2, most));
}

static void on_up(struct link *l, void *user)
{
	struct peer *p = user;
	const struct tls_peer *who = link_peer(l);
	struct member_server *m = roster_server(p->server, p->msid);
	struct why why = WHY_NONE;
	enum admit a = admit_server(who->has_cert, who->chain_ok, &who->cert,
				    who->has_cert && authority_is_revoked(p->server, who->cert.serial),
				    world_wall_ms(p->server->world) / 1000, &why);

	if (a == ADMIT_YES && m && !is_member(who, m)) {
		why_set(&why, "the certificate is the one of server %s", who->cert.id);
		a = ADMIT_OTHER_GUID;
	}
	if (a != ADMIT_YES || !link_is_muster(l)) {
		log_error(p->server->log,
			  "what answers at a server's address is not a management server of this cluster",
			  KV_S("address", p->dialled), KV_S("error", why_text(&why, ERR_UNTRUSTED)));
		p->out = link_close(p->out);
		dial_later(p);
		return;
	}
	p->failures = 0;
	heard(p->server, p);
	link_set_message_limit(l, LINK_MESSAGE_LIMIT);
	link_set_heartbeat(l, PEER_HEARTBEAT_MS);
	send_hello(p->server, l);
	send_status(p->server, l);
	origin_look_at_server(p->server, &who->cert);
	requests_peer_linked(p->server, p->msid);
}

static void on_message(struct link *l, void *user, const struct header *h, const char *body, size_t n)
{
	struct peer *p = user;

	heard(p->server, p);
	take_message(p->server, p, NULL, h, body, n);
}

static void on_closed(struct link *l, void *user, enum err why, const char *sentence)
{
	struct peer *p = user;
	struct server *s = p->server;

	p->out = NULL;
	log_at(s->log, p->failures ? LOG_DEBUG : LOG_WARN, "link to a management server ended",
	       KV_S("address", p->dialled), KV_S("error", err_name(why)), KV_S("reason", sentence));
	dial_later(p);
	link_lost(p);
}

static const struct link_events peer_link_events = {
	.up = on_up,
	.message = on_message,
	.closed = on_closed,
};

static enum err dial(struct peer *p, const struct member_server *m)
{
	struct server *s = p->server;
	struct server_address a;
	struct why why = WHY_NONE;
	struct link_params params = {
		.world = s->world,
		.log = s->log,
		.tls = {.profile = TLS_CLIENT_MUSTER, .creds = s->creds, .wall_s = world_wall_ms(s->world) / 1000},
		.connect_ms = 3000,
		.handshake_ms = 5000,
		.offload = true,
		.message_limit = LINK_MESSAGE_LIMIT,
		.events = &peer_link_events,
		.user = p,
	};
	enum err e = server_address_parse(&a, m->row.address, &why);

	if (e)
		return e;
	if (!a.port)
		a.port = (uint16_t)m->row.port;
	server_address_format(p->dialled, sizeof(p->dialled), &a);
	return link_dial(&p->out, &params, a.host, a.port, NULL, &why);
}

static bool is_silent(const struct peer *p, const struct link *l)
{
	return mono_ms_between(link_heard(l), world_now(p->server->world)) > PEER_SILENT_MS;
}

static void on_dial(struct timer *t)
{
	struct peer *p = container_of(t, struct peer, dial);
	struct server *s = p->server;
	struct member_server *m = roster_server(s, p->msid);

	/* The same timer looks whether open links still say something: what is sent over a dead one gets nowhere. */
	if (p->in && p->in->link && is_silent(p, p->in->link))
		session_end(p->in, ERR_TIMEOUT, "a management server that has fallen silent", EVENT_N);
	if (p->out) {
		if (is_silent(p, p->out)) {
			log_warn(s->log, "a management server's link is silent, dialling again",
				 KV_S("address", p->dialled));
			p->out = link_close(p->out);
			dial_later(p);
			link_lost(p);
			return;
		}
		timer_set_in(s->world, t, PEER_HEARTBEAT_MS);
		return;
	}
	/* A server that has said goodbye is not dialled; when it registers again, peer_update() wakes us. */
	if (!m || s->stopping || m->row.state == SERVER_DOWN) {
		timer_set_in(s->world, t, DIAL_AGAIN_MAX_MS);
		return;
	}
	if (dial(p, m)) {
		dial_later(p);
		return;
	}
	timer_set_in(s->world, t, PEER_HEARTBEAT_MS);
}

void peer_cut(struct server *s, bool (*is_bad)(const struct server *s, const struct cert_info *cert),
	      const char *sentence)
{
	list_for (m, &s->servers, struct member_server, in_servers) {
		struct link *l = m->peer ? m->peer->out : NULL;

		if (!l || link_state(l) != LINK_UP || !is_bad(s, &link_peer(l)->cert))
			continue;
		log_warn(s->log, "link to a management server is cut", KV_S("server", m->row.name),
			 KV_S("reason", sentence));
		m->peer->out = link_close(l);
		timer_stop(s->world, &m->peer->dial);
		dial_later(m->peer);
		requests_peer_lost(s, m->row.msid); /* and not over the other link: that one is cut as well */
	}
}

/* ---- life ---- */

void peer_update(struct server *s)
{
	list_for (m, &s->servers, struct member_server, in_servers) {
		struct peer *p = m->peer;

		if (m->row.msid == s->msid)
			continue;
		if (p) {
			/* It may just have registered again: an idle dialler looks at once. */
			if (!p->out && m->row.state != SERVER_DOWN)
				timer_set_in(s->world, &p->dial, 0);
			continue;
		}
		p = mem_zalloc(sizeof(*p));
		if (!p)
			return; /* the next change of the roster tries again */
		p->server = s;
		p->msid = m->row.msid;
		timer_init(&p->dial, on_dial);
		timer_set_in(s->world, &p->dial, 0);
		m->peer = p;
		list_for (x, &s->sessions, struct session, in_sessions)
			if (x->state == SESSION_PEER && !x->peer && x->peer_msid == p->msid)
				take_in(p, x);
	}
}

struct peer *peer_free(struct peer *p)
{
	if (!p)
		return NULL;
	timer_stop(p->server->world, &p->dial);
	if (p->in)
		p->in->peer = NULL;
	p->out = link_close(p->out);
	mem_free(p);
	return NULL;
}

void peer_stop(struct server *s)
{
	list_for (m, &s->servers, struct member_server, in_servers)
		m->peer = peer_free(m->peer);
}

const struct tls_peer *peer_shows(const struct peer *p)
{
	return p->out && link_state(p->out) == LINK_UP ? link_peer(p->out) : NULL;
}

bool peer_is_up(const struct peer *p)
{
	return peer_link(p) != NULL;
}

struct mono peer_heard(const struct peer *p)
{
	struct mono t = p->heard;

	/* Heartbeats are no messages: the links know when bytes came last. */
	if (p->out && link_state(p->out) == LINK_UP && mono_before(t, link_heard(p->out)))
		t = link_heard(p->out);
	if (p->in && p->in->link && mono_before(t, link_heard(p->in->link)))
		t = link_heard(p->in->link);
	return t;
}
