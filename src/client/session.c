/*
 * One link from its startup on. TLS is complete and the server trusted; here the agent introduces itself, pings, and
 * hands on what comes in. Which session is the agent's current one, and when it changes, is move.c's.
 *
 *   PROVING --startup--> STARTING --StartupAnswer--> ANSWERED --Ready--> READY --another took over--> RETIRING -->
 * ENDED (a Ready may come before the StartupAnswer; every state can go to ENDED)
 *
 * Only a return to the preferred server stays in PROVING for a while, until the link has seen heartbeats (check.c).
 */
#include <assert.h>

#include "base/mem.h"
#include "client/engine.h"

#define PING_DEFAULT_S 60
#define PING_MOST_S 86400
#define PUT_OFF_MOST_MS 600000
#define RETIRE_MS 2000
#define HEARTBEAT_TAKEN_LEAST_MS 100 /* wider than what our servers name */
#define HEARTBEAT_TAKEN_MOST_MS 60000

#define TO(state) (1u << SESSION_##state)
/* clang-format off */
static const struct {
	const char *name;
	unsigned next; /* states that may follow */
} states[] = {
	[SESSION_PROVING]  = { "proving",  TO(STARTING) | TO(ENDED) },
	[SESSION_STARTING] = { "starting", TO(ANSWERED) | TO(READY) | TO(ENDED) },
	[SESSION_ANSWERED] = { "answered", TO(READY)    | TO(ENDED) },
	[SESSION_READY]    = { "ready",    TO(RETIRING) | TO(ENDED) },
	[SESSION_RETIRING] = { "retiring", TO(ENDED) },
	[SESSION_ENDED]    = { "ended",    0 },
};
/* clang-format on */
#undef TO

static void session_move(struct session *s, enum session_state to)
{
	assert(states[s->state].next & (1u << to));

	log_debug(s->agent->log, "session moved", KV_S("server", s->entry), KV_S("from", states[s->state].name),
		  KV_S("to", states[to].name));
	s->state = to;
}

bool session_is_alive(const struct session *s)
{
	return s->state != SESSION_ENDED;
}

enum err session_send(struct session *s, struct header *h, const struct batch *b)
{
	CLEAN(buf_deinit) struct buf body = {0};
	enum err e;

	if (!session_is_alive(s))
		return ERR_CLOSED;
	e = batch_encode(b, &body);
	return e ? e : link_send(s->link, h, (const char *)body.data, body.len);
}

static struct header request_header(struct agent *a, uint16_t flags)
{
	return (struct header){
		.flags = FLAG_REQUEST | flags,
		.seq = a->next_seq++,
		.mgmt_id = -1,
		.agent_id = a->host_id,
		.via = a->host_id,
	};
}

/* ---- startup ---- */

static enum err set_unless_there(msg_text *to, const char *value)
{
	return *to || !value ? ERR_OK : msg_set_text(to, value);
}

static enum err startup_identity(struct session *s, struct msg_startup_common *m)
{
	struct agent *a = s->agent;
	CLEAN(mem_freep) char *guid = mem_printf("%s-%s", a->guid, a->resource_name);
	enum err e = guid ? ERR_OK : ERR_NOMEM;

	if (!e)
		e = msg_set_text(&m->guid, guid);
	if (!e)
		e = set_unless_there(&m->name, a->name);
	if (!e && a->zone)
		e = msg_set_text(&m->dataCenter, a->zone);
	if (!e && a->pod)
		e = msg_set_text(&m->pod, a->pod);
	if (!e && a->cluster)
		e = msg_set_text(&m->cluster, a->cluster);
	if (!e)
		e = msg_set_text(&m->resourceName, a->resource_name);
	if (!e && a->version)
		e = msg_set_text(&m->version, a->version);
	if (!e && a->host_id > 0)
		msg_set_i64(&m->id, a->host_id);
	return e;
}

/* The list as it stands in the file: what the server compares with what it should be. */
static enum err startup_list(struct session *s, struct msg_startup_common *m)
{
	const char *host = agent_file_host(s->agent->file);

	msg_set_bool(&m->connectionTransferred, s->is_transferred);
	return host ? msg_set_text(&m->msHostList, host) : ERR_OK;
}

/* Which of several links of this process is the newest (decision 13), and which process. */
static enum err startup_number(struct session *s, struct msg_startup_common *m)
{
	struct agent *a = s->agent;

	a->links++;
	if (!s->is_muster)
		return ERR_OK;
	msg_set_i64(&m->musterLink, (int64_t)a->links);
	if (a->boot_number)
		msg_set_i64(&m->musterBootNumber, a->boot_number);
	return msg_set_text(&m->musterBoot, a->boot);
}

/* What a server that has more of us than it can take decides by. */
static enum err startup_reason(const struct session *s, struct msg_startup_common *m)
{
	const struct agent *a = s->agent;
	size_t i = candidates_find(a, s->entry);

	if (!s->is_muster)
		return ERR_OK;
	if (i != CHOICE_NONE && a->places[i].put_off)
		msg_set_i64(&m->musterPutOff, a->places[i].put_off);
	if (s->is_sent)
		msg_set_bool(&m->musterSent, true);
	return msg_set_text(&m->musterPurpose, hunt_purpose(s->purpose));
}

static enum err startup_build(struct session *s, struct batch *b)
{
	struct agent *a = s->agent;
	struct msg_startup_routing *m = batch_add(b, MSG_STARTUP_ROUTING);
	enum err e;

	if (!m)
		return ERR_NOMEM;
	e = a->p.host->startup(a->p.host_user, m);
	if (!e)
		e = set_unless_there(&m->startup.type, "Routing");
	if (!e)
		e = set_unless_there(&m->startup.arch, m->cpuArch);
	if (!e)
		e = startup_identity(s, &m->startup);
	if (!e)
		e = startup_list(s, &m->startup);
	if (!e)
		e = startup_number(s, &m->startup);
	if (!e)
		e = startup_reason(s, &m->startup);
	return e;
}

enum err session_send_startup(struct session *s)
{
	CLEAN(batch_deinit) struct batch b = {0};
	struct agent *a = s->agent;
	struct header h;
	enum err e = startup_build(s, &b);

	if (e)
		return e;
	h = request_header(a, 0);
	e = session_send(s, &h, &b);
	if (e)
		return e;
	s->is_transferred = false;
	timer_set_in(a->world, &s->startup_timer, a->p.startup_ms);
	return ERR_OK;
}

enum err session_begin(struct session *s)
{
	timer_stop(s->agent->world, &s->prove_timer);
	session_move(s, SESSION_STARTING);
	s->started_at = world_now(s->agent->world);
	/* The server sends them before it knows who we are: one that falls silent now is noticed as fast as later. */
	if (s->is_muster)
		session_set_heartbeat(s, PROVING_MS);
	return session_send_startup(s);
}

static void startup_late(struct timer *t)
{
	move_session_lost(container_of(t, struct session, startup_timer), ERR_TIMEOUT,
			  "the server does not answer the startup");
}

static void startup_refused(struct session *s, const struct msg_startup_answer *m, const char *details)
{
	int64_t ms = m->musterRetryMs.value;

	if (!s->is_muster || !m->musterRetryMs.has) {
		move_session_refused(s, details ? details : "the server refused the startup");
		return;
	}
	ms = ms < 1 ? 1 : ms > PUT_OFF_MOST_MS ? PUT_OFF_MOST_MS : ms;
	move_session_put_off(s, ms, m->musterServer, details ? details : "the server has no room now");
}

static void startup_answered(struct session *s, const struct msg_startup_answer *m, const struct element *e)
{
	struct agent *a = s->agent;
	int64_t ping_s = m->pingInterval.has && m->pingInterval.value > 0 ? m->pingInterval.value : PING_DEFAULT_S;
	const char *details = element_details(e);

	if (!element_result(e)) {
		startup_refused(s, m, details);
		return;
	}
	/*
	 * Nobody asked: the second answer to a repeated startup (agent-protocol 4.2.5). A first one that comes behind
	 * its Ready still says how often to ping.
	 */
	if (!timer_is_set(&s->startup_timer) && (s->ping_ms || s->state != SESSION_READY || a->no_reconnect))
		return;
	/*
	 * A muster server whose store hangs answers, and then never says Ready: with another server we would be up. In
	 * CloudStack Ready may come minutes later, after pools were mounted.
	 */
	if (s->is_muster && s->state == SESSION_STARTING)
		timer_set_in(a->world, &s->startup_timer, a->p.startup_ms);
	else if (!s->is_muster || s->state != SESSION_ANSWERED)
		timer_stop(a->world, &s->startup_timer);
	s->ping_ms = (ping_s < PING_MOST_S ? ping_s : PING_MOST_S) * 1000;
	s->ping_at = mono_add_ms(world_now(a->world), s->ping_ms);
	timer_set(a->world, &s->ping_timer, s->ping_at);
	if (s->state == SESSION_STARTING)
		session_move(s, SESSION_ANSWERED);
}

/* ---- pings ---- */

static enum err ping_set_common(msg_text *type, msg_i64 *host_id, msg_bool *out_of_band, msg_json *infos,
				const struct agent *a, bool is_out_of_band)
{
	msg_set_i64(host_id, a->host_id);
	msg_set_bool(out_of_band, is_out_of_band);
	if (!*infos)
		*infos = json_array();
	return *infos ? set_unless_there(type, "Routing") : ERR_NOMEM;
}

/* An empty report would say "no VMs here", so without a report there is none. */
static enum err ping_build_plain(const struct agent *a, struct batch *b, bool is_out_of_band)
{
	struct msg_ping *m = batch_add(b, MSG_PING);

	return m ? ping_set_common(&m->hostType, &m->hostId, &m->outOfBand, &m->commandInfos, a, is_out_of_band)
		 : ERR_NOMEM;
}

static enum err ping_build(const struct agent *a, struct batch *b, bool is_out_of_band)
{
	struct msg_ping_routing *m;
	enum err e;

	if (!a->p.host->ping)
		return ping_build_plain(a, b, is_out_of_band);
	m = batch_add(b, MSG_PING_ROUTING);
	if (!m)
		return ERR_NOMEM;
	e = a->p.host->ping(a->p.host_user, m);
	if (e) {
		batch_deinit(b);
		return ping_build_plain(a, b, is_out_of_band);
	}
	return ping_set_common(&m->hostType, &m->hostId, &m->outOfBand, &m->commandInfos, a, is_out_of_band);
}

void session_ping(struct session *s, bool out_of_band)
{
	CLEAN(batch_deinit) struct batch b = {0};
	struct agent *a = s->agent;
	struct header h;
	enum err e = ping_build(a, &b, out_of_band);

	if (!e) {
		h = request_header(a, FLAG_STOP_ON_ERROR);
		e = session_send(s, &h, &b);
	}
	if (!e)
		liveness_asked(s);
	/* A link that doesn't take it any more says so itself. */
	if (e)
		log_warn(a->log, "ping not sent", KV_S("server", s->entry), KV_S("error", err_name(e)));
}

static void ping_due(struct timer *t)
{
	struct session *s = container_of(t, struct session, ping_timer);
	struct agent *a = s->agent;
	struct mono now = world_now(a->world);

	if (s->pings_unanswered >= a->p.ping_retries) {
		move_session_lost(s, ERR_TIMEOUT, "the server does not answer pings");
		return;
	}
	s->pings_unanswered++;
	s->ping_at = mono_add_ms(s->ping_at, s->ping_ms);
	/* After a pause of our own the pings that were missed are not made up for. */
	if (mono_reached(now, s->ping_at))
		s->ping_at = mono_add_ms(now, s->ping_ms);
	timer_set(a->world, t, s->ping_at);
	session_ping(s, false);
}

static void ping_answered(struct session *s, const struct msg_ping_answer *m)
{
	struct agent *a = s->agent;
	bool was_asked = s->pings_unanswered > 0;

	s->pings_unanswered = 0;
	liveness_answered(s);
	if (s != a->current || a->gone)
		return;
	list_set_avoid(a, &m->avoidMsList);
	if (!m->sendStartup.has || !m->sendStartup.value || a->no_reconnect)
		return;
	/* Answers that nobody asked for must not make us send startups without end. */
	if (!was_asked && timer_is_set(&s->startup_timer))
		return;
	if (session_send_startup(s) != ERR_OK)
		log_warn(a->log, "startup not sent again", KV_S("server", s->entry));
}

/* ---- what comes in ---- */

static void answer_received(struct session *s, const char *body, size_t n)
{
	CLEAN(batch_deinit) struct batch b = {0};
	struct why why = WHY_NONE;
	enum err e = batch_decode(&b, body, n, &why);

	if (e)
		log_debug(s->agent->log, "answer not understood", KV_S("reason", why_text(&why, e)));
	for (size_t i = 0; i < b.n && session_is_alive(s); i++) {
		if (b.elements[i].type == MSG_STARTUP_ANSWER)
			startup_answered(s, b.elements[i].fields, &b.elements[i]);
		else if (b.elements[i].type == MSG_PING_ANSWER)
			ping_answered(s, b.elements[i].fields);
	}
}

static void session_message(struct link *l, void *user, const struct header *h, const char *body, size_t n)
{
	struct session *s = user;

	/* Control messages are for servers among themselves. Whom we have not introduced ourselves to has no say. */
	if (!session_is_alive(s) || s->state == SESSION_PROVING || h->flags & FLAG_CONTROL)
		return;
	if (h->flags & FLAG_REQUEST)
		requests_received(s, h, body, n);
	else
		answer_received(s, body, n);
}

static void session_closed(struct link *l, void *user, enum err why, const char *sentence)
{
	struct session *s = user;
	struct why said;

	why_set(&said, "%s", sentence ? sentence : err_text(why)); /* it may belong to the link */
	s->heard = link_heard(l);
	s->link = NULL;
	move_session_lost(s, why, said.text);
}

static void session_heartbeat(struct link *l, void *user)
{
	struct session *s = user;

	s->heartbeats++;
	if (s->state == SESSION_PROVING)
		check_prove(s);
}

static void session_ticket(struct link *l, void *user, const void *data, size_t n)
{
	struct session *s = user;

	tickets_got(s->agent, s->creds_generation, data, n);
}

static const struct link_events session_events = {
	.message = session_message,
	.heartbeat = session_heartbeat,
	.ticket = session_ticket,
	.closed = session_closed,
};

/* ---- life ---- */

static void retire_over(struct timer *t)
{
	session_close(container_of(t, struct session, retire_timer));
}

static void prove_over(struct timer *t)
{
	check_prove(container_of(t, struct session, prove_timer));
}

enum err session_new(struct session **out, struct agent *a, const struct arrival *take_link)
{
	struct session *s = mem_zalloc(sizeof(*s));
	struct link *l = take_link->link;

	if (!s || !(s->entry = mem_strdup(take_link->entry))) {
		link_close(l);
		mem_free(s);
		return ERR_NOMEM;
	}
	s->agent = a;
	s->link = l;
	s->purpose = take_link->purpose;
	s->is_sent = take_link->is_sent;
	s->state = SESSION_PROVING;
	s->is_muster = link_is_muster(l);
	s->is_transferred = s->purpose == HUNT_MIGRATE;
	s->creds_generation = take_link->creds_generation;
	list_init(&s->crons);
	timer_init(&s->startup_timer, startup_late);
	timer_init(&s->ping_timer, ping_due);
	timer_init(&s->retire_timer, retire_over);
	timer_init(&s->liveness_timer, liveness_look);
	timer_init(&s->prove_timer, prove_over);
	list_append(&a->sessions, &s->in);
	link_set_events(l, &session_events, s);
	link_set_message_limit(l, LINK_MESSAGE_LIMIT);
	if (s->is_muster)
		link_set_heartbeat(l, PROVING_MS);

	*out = s;
	return ERR_OK;
}

/* Neither so often that it is work, nor so seldom that it is none. */
static int64_t heartbeat_clamp(int64_t ms)
{
	if (ms <= 0)
		return 0;
	if (ms < HEARTBEAT_TAKEN_LEAST_MS)
		return HEARTBEAT_TAKEN_LEAST_MS;
	return ms < HEARTBEAT_TAKEN_MOST_MS ? ms : HEARTBEAT_TAKEN_MOST_MS;
}

void session_set_heartbeat(struct session *s, int64_t ms)
{
	s->heartbeat_ms = heartbeat_clamp(ms);
	link_set_heartbeat(s->link, s->heartbeat_ms);
	liveness_start(s);
}

void session_ready(struct session *s, const msg_i64 *heartbeat_ms)
{
	bool is_first = s->state != SESSION_READY;

	if (is_first) {
		timer_stop(s->agent->world, &s->startup_timer);
		s->ready_at = world_now(s->agent->world);
		session_move(s, SESSION_READY);
	}
	/* A server that names no interval sends none from now on. */
	if (s->is_muster && (heartbeat_ms->has || is_first))
		session_set_heartbeat(s, heartbeat_ms->has ? heartbeat_ms->value : 0);
	if (is_first)
		tickets_ready(s->agent, s);
}

void session_stop_tasks(struct session *s)
{
	timer_stop(s->agent->world, &s->startup_timer);
	timer_stop(s->agent->world, &s->ping_timer);
	timer_stop(s->agent->world, &s->liveness_timer);
	timer_stop(s->agent->world, &s->prove_timer);
	crons_stop(s);
}

void session_retire(struct session *s)
{
	session_stop_tasks(s);
	session_move(s, SESSION_RETIRING);
	timer_set_in(s->agent->world, &s->retire_timer, RETIRE_MS);
}

void session_close(struct session *s)
{
	bool was_replaced = s->state == SESSION_RETIRING && !s->is_suspect;

	session_stop_tasks(s);
	timer_stop(s->agent->world, &s->retire_timer);
	session_move(s, SESSION_ENDED);
	if (s->link)
		s->heard = link_heard(s->link);
	s->link = link_close(s->link);
	list_remove(&s->in);
	list_append(&s->agent->ended, &s->in);
	agent_sweep(s->agent);
	requests_session_ended(s, was_replaced ? MONO_NEVER : s->heard);
}

void sessions_free_ended(struct agent *a)
{
	list_for (s, &a->ended, struct session, in) {
		list_remove(&s->in);
		news_forget(s);
		mem_free(s->entry);
		mem_free(s);
	}
}
