/*
 * Watch: what time alone brings about.
 *
 *   every second     our heartbeat into the store, the others' out of it; who is alive (core/member)
 *   a lost link      status event only after agent.reconnect.grace without a link anywhere (decision 16)
 *   a dead server    its hosts are given up after the same time, if they have come nowhere else
 *   silence          no heartbeat of a muster agent for 2.5 intervals: it is suspect, which is shown; for 4 (10 s at
 *                    least): the link is closed, the grace period runs (core/heartbeat)
 *   news             are there any, for agents and other servers (news.c)
 *   missing pings    after ping.timeout x ping.interval, CheckHealth first (agent-protocol 4.2.6, 4.2.7)
 *
 * A server that is down is marked so, and its hosts are given up, by every server that sees it; doing it twice is
 * harmless. None of it happens on account of our own stall: after one everybody gets a fresh period.
 */
#include "server/keyring.h"
#include "server/provision.h"
#include "server/rotation.h"

#include <stdio.h>

#define TICK_MS 1000
#define STALL_MS 5000
#define SHORT_STALL_MS 1500 /* a look that is half a second late: nobody is suspected for it */
#define CLAIM_MS 3000
#define PINGS_FLUSH_MS 5000
#define TOKENS_KEPT_MS (30LL * 24 * 3600 * 1000) /* after their end: whoever comes with one still reads why not */
#define TRIM_MS 60000

/* ---- heartbeat and the others' ---- */

struct beat {
	struct entry entry;
	struct server_row *rows;
	size_t n;
};

static enum err beat_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct beat *b = container_of(entry, struct beat, entry);
	struct server *s = entry->server;
	enum err e = store_server_heartbeat(tx, s->msid, s->run_id);

	return e ? e : store_server_list(tx, &b->rows, &b->n);
}

static void beat_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct beat *b = container_of(entry, struct beat, entry);

	s->beat_under_way = false;
	if (!result) {
		bool avoid_changed = false;

		if (roster_put_servers(s, b->rows, b->n, &avoid_changed))
			log_error(s->log, "out of memory: the servers are read again");
		if (avoid_changed && s->running) {
			peer_update(s);
			lists_changed(s);
			peer_status_changed(s);
			news_look_at_servers(s);
		}
		draining_look(s);
	} else if (result == ERR_CONFLICT && s->running && !s->stopping) {
		log_error(s->log, "another process runs as this server, stopping", KV_S("error", sentence));
		if (s->p.fatal)
			s->p.fatal(s->p.user, ERR_CONFLICT, "another process has registered as this server");
	}
	for (size_t i = 0; i < b->n; i++)
		server_row_deinit(&b->rows[i]);
	mem_free(b->rows);
	mem_free(b);
}

static void beat(struct server *s)
{
	struct beat *b;

	if (s->beat_under_way)
		return;
	b = mem_zalloc(sizeof(*b));
	if (!b)
		return;
	b->entry.run = beat_run;
	b->entry.done = beat_done;
	s->beat_under_way = true;
	ledger_add(s, &b->entry);
}

/* ---- who is alive ---- */

struct verdict {
	struct entry entry;
	int64_t peer;
	char view[32];
	bool is_down;
	int64_t run_id, last_update_ms; /* the last that we had heard of it through the store */
	bool state_changed;
};

/* Has it moved in the store since the verdict? The verdict may have waited here, behind a store that hung. */
static enum err has_moved_since(struct store_tx *tx, const struct verdict *v, bool *moved)
{
	struct server_row *rows = NULL;
	size_t n = 0;
	enum err e = store_server_list(tx, &rows, &n);

	*moved = false;
	for (size_t i = 0; i < n; i++) {
		if (rows[i].msid == v->peer)
			*moved = rows[i].run_id != v->run_id || rows[i].last_update_ms != v->last_update_ms;
		server_row_deinit(&rows[i]);
	}
	mem_free(rows);
	return e;
}

static enum err verdict_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct verdict *v = container_of(entry, struct verdict, entry);
	enum server_state to;
	size_t n_jobs;
	bool moved;
	enum err e = store_peer_view_set(tx, entry->server->msid, v->peer, v->view);

	if (e || !v->is_down)
		return e;
	e = has_moved_since(tx, v, &moved);
	if (e || moved)
		return e;
	/* Up and ShuttingDown become Down; who dies in another state keeps it (query-api 4.3, D17). */
	v->state_changed = store_server_event(tx, v->peer, SERVER_EVENT_LOST, &to) == ERR_OK && to == SERVER_DOWN;
	return store_jobs_fail_of(tx, v->peer,
				  "{\"errorcode\":530,\"errortext\":\"The management server that ran this job died\"}",
				  &n_jobs);
}

static void verdict_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct verdict *v = container_of(entry, struct verdict, entry);
	struct member_server *m = roster_server(s, v->peer);

	if (result)
		log_warn(s->log, "a server's state could not be stored", KV_S("error", sentence));
	else
		follow_now(s);
	if (!result && m && v->is_down)
		m->down_is_stored = true;
	if (!result && v->state_changed && m)
		event_add(s, "MS.DOWN", "ERROR", 0, "management server %s (%s) is down", m->row.name, m->row.address);
	mem_free(v);
}

static void member_changed(struct server *s, struct member_server *m)
{
	struct verdict *v = mem_zalloc(sizeof(*v));
	enum member_view view = m->member.view;

	log_at(s->log, view == MEMBER_UP ? LOG_INFO : LOG_WARN, "a management server is seen differently",
	       KV_S("server", m->row.name), KV_S("address", m->row.address), KV_S("now", member_view_name(view)));
	if (!v)
		return;
	v->entry.run = verdict_run;
	v->entry.done = verdict_done;
	v->peer = m->row.msid;
	v->run_id = m->row.run_id;
	v->last_update_ms = m->row.last_update_ms;
	m->told_run_id = m->row.run_id;
	m->down_is_stored = false;
	v->is_down = view == MEMBER_DOWN;
	str_copy(v->view, sizeof(v->view), member_view_name(view));
	ledger_add(s, &v->entry);
}

/*
 * The hosts of a server that is down: most have a new owner within a second. Those that have not come anywhere when the
 * grace period is over (decision 16) are Disconnected and nobody's. Every server that sees it does this; the epoch
 * makes sure that it hits no newer owner.
 */
static void give_up_hosts(struct server *s, struct member_server *m, bool of_muster)
{
	struct host *h;
	size_t cursor = 0, n = 0;

	while ((h = roster_next(s, &cursor))) {
		if (h->row.owner != m->row.msid || h->row.is_muster != of_muster)
			continue;
		host_store_event(s, h->row.id, h->row.epoch, EVENT_MANAGEMENT_SERVER_DOWN);
		n++;
	}
	if (n)
		event_add(s, "AGENT.DISCONNECTED", "WARN", 0, "%zu hosts of management server %s have not come back", n,
			  m->row.name);
}

static void look_at_orphans(struct server *s, struct member_server *m, struct mono now)
{
	int64_t grace_ms = config_number(s, "agent.reconnect.grace", 0) * 1000;
	int64_t down_ms;

	if (m->member.view != MEMBER_DOWN && m->row.state != SERVER_DOWN) {
		m->down_since = (struct mono){0};
		m->given_up = 0;
		return;
	}
	if (!m->down_since.us)
		m->down_since = now;
	down_ms = mono_ms_between(m->down_since, now);
	if (m->given_up == 0 && down_ms >= grace_ms) {
		m->given_up = 1;
		give_up_hosts(s, m, true);
	}
	if (m->given_up == 1 && down_ms >= 2 * grace_ms) {
		m->given_up = 2;
		give_up_hosts(s, m, false);
	}
}

/* The states that Down is written over. */
static bool claims_to_live(enum server_state state)
{
	return state == SERVER_UP || state == SERVER_SHUTTING_DOWN;
}

static void look_at_members(struct server *s)
{
	struct mono now = world_now(s->world), next;

	list_for (m, &s->servers, struct member_server, in_servers) {
		if (m->row.msid == s->msid)
			continue;
		if (m->peer && peer_is_up(m->peer))
			member_heard_link(&m->member, peer_heard(m->peer));
		/* While our own store is failing its silence says nothing about others. */
		if (ledger_is_failing(s, NULL))
			member_heard_store(&m->member, now);
		look_at_orphans(s, m, now);
		if (member_look(&m->member, now, &next))
			member_changed(s, m);
		else if (m->member.view != MEMBER_UNKNOWN && m->told_run_id != m->row.run_id)
			member_changed(s, m); /* it was back before we missed it, and has cleared what we had said */
		else if (m->member.view == MEMBER_DOWN && (claims_to_live(m->row.state) || !m->down_is_stored))
			member_changed(s, m); /* the verdict could not be stored, or it claimed to be Up again */
	}
}

/* ---- lost links ---- */

static void on_grace_over(struct timer *t)
{
	struct host *h = container_of(t, struct host, grace);
	struct server *s = h->server;

	h->lost_at = (struct mono){0};
	if (h->session || h->row.owner != s->msid || s->stopping)
		return;
	log_warn(s->log, "agent did not come back", KV_I("host", h->row.id), KV_S("name", h->row.name));
	event_add(s, "AGENT.DISCONNECTED", "WARN", h->row.id, "%s lost its link and did not come back", h->row.name);
	requests_fail(h, ERR_UNREACHABLE, "the agent is not connected");
	host_store_event(s, h->row.id, h->row.epoch, EVENT_AGENT_DISCONNECTED);
}

void watch_lost(struct server *s, struct host *h)
{
	int64_t grace_ms = config_number(s, "agent.reconnect.grace", 0) * 1000;

	if (!h->row.is_muster)
		grace_ms *= 2;
	h->lost_at = world_now(s->world);
	timer_stop(s->world, &h->grace);
	timer_init(&h->grace, on_grace_over);
	timer_set_in(s->world, &h->grace, grace_ms);
}

void watch_inherited(struct server *s)
{
	struct host *h;
	size_t cursor = 0;

	while ((h = roster_next(s, &cursor)))
		if (h->row.owner == s->msid && !h->session)
			watch_lost(s, h);
}

void watch_found(struct server *s, struct host *h)
{
	h->lost_at = (struct mono){0};
	timer_stop(s->world, &h->grace);
}

/* ---- pings ---- */

void watch_pinged(struct server *s, struct host *h)
{
	/* Written in groups; a ping that is lost with us costs nothing. */
	if (map_put_u64(&s->pings, (uint64_t)h->row.id, h))
		return;
	/* A host that was given up by mistake shows that it is there. */
	if (h->row.status != HOST_UP && h->session && h->row.owner == s->msid && h->row.epoch == h->session->epoch &&
	    (h->row.status == HOST_ALERT || h->row.status == HOST_DISCONNECTED))
		host_store_event(s, h->row.id, h->row.epoch, EVENT_PING);
}

struct pings {
	struct entry entry;
	size_t n;
	struct host_ping pings[];
};

static enum err pings_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct pings *p = container_of(entry, struct pings, entry);

	return store_host_pings(tx, p->pings, p->n);
}

static void pings_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	mem_free(container_of(entry, struct pings, entry));
}

static void pings_flush(struct server *s)
{
	struct pings *p;
	size_t cursor = 0;
	struct host *h;

	if (!s->pings.n)
		return;
	p = mem_zalloc(sizeof(*p) + s->pings.n * sizeof(p->pings[0]));
	if (!p)
		return;
	p->entry.run = pings_run;
	p->entry.done = pings_done;
	while ((h = map_next(&s->pings, &cursor)))
		p->pings[p->n++] = (struct host_ping){.host_id = h->row.id, .wall_ms = h->row.last_ping_ms};
	map_deinit(&s->pings);
	map_init_number(&s->pings, rng_u64(&s->world->rng));
	ledger_add(s, &p->entry);
}

void watch_forget(struct server *s, int64_t host_id)
{
	map_remove_u64(&s->pings, (uint64_t)host_id);
}

struct health {
	struct server *server;
	int64_t host_id, attachment;
};

/* CheckHealth first: an agent that answers is alive, whatever its pings do. */
static void health_done(void *user, enum err result, const char *sentence, const struct batch *answers)
{
	struct health *c = user;
	struct server *s = c->server;
	struct host *h = roster_host(s, c->host_id);
	struct session *x = h ? h->session : NULL;

	if (x && x->attachment == c->attachment && x->state != SESSION_CLOSED) {
		x->checking_health = false;
		if (!result && answers->n && element_result(&answers->elements[0])) {
			x->last_ping = world_now(s->world);
			log_warn(s->log, "an agent's pings stopped, but it answers", KV_I("host", h->row.id));
		} else {
			event_add(s, "AGENT.PING.TIMEOUT", "WARN", h->row.id, "%s sends no pings and does not answer",
				  h->row.name);
			session_end(x, ERR_TIMEOUT, "no ping and no answer", EVENT_PING_TIMEOUT);
		}
	}
	mem_free(c);
}

static void check_health(struct server *s, struct session *x)
{
	struct health *c = mem_zalloc(sizeof(*c));
	struct batch b = {0};
	struct request_params p = {.wait_ms = 10000, .this_link_only = true, .done = health_done, .user = c};

	if (!c || !batch_add(&b, MSG_CHECK_HEALTH)) {
		batch_deinit(&b);
		mem_free(c);
		return;
	}
	*c = (struct health){.server = s, .host_id = x->host_id, .attachment = x->attachment};
	x->checking_health = true;
	if (request_to_host(s, x->host, &b, &p)) {
		mem_free(c);
		session_end(x, ERR_TIMEOUT, "no ping for too long", EVENT_PING_TIMEOUT);
	}
}

/* How long a muster agent has been silent, not counting what doesn't count. */
static int64_t silence_ms(const struct session *x, struct mono excused, struct mono now)
{
	struct mono heard = link_heard(x->link);

	if (mono_before(heard, x->silence_from))
		heard = x->silence_from;
	if (mono_before(heard, excused))
		heard = excused;
	return mono_ms_between(heard, now);
}

/* Shown, and logged once; it has done nothing to the link, which may be fine a moment later. */
static void suspect(struct session *x, bool is_suspect)
{
	struct server *s = x->server;

	if (x->is_suspect == is_suspect)
		return;
	x->is_suspect = is_suspect;
	if (is_suspect)
		log_warn(s->log, "an agent is silent", KV_I("host", x->host_id), KV_S("peer", link_peer_ip(x->link)),
			 KV_I("heartbeat_ms", x->heartbeat_ms));
	else
		log_info(s->log, "the agent is heard again", KV_I("host", x->host_id));
}

/* Heartbeats have stopped (decision 26): its link is as good as gone, the grace period runs from here. */
static bool is_dead(const struct session *x, struct mono now)
{
	return silence_ms(x, x->server->excused, now) > heartbeat_dead_ms(x->heartbeat_ms);
}

static void give_up(struct session *x)
{
	char sentence[64];

	snprintf(sentence, sizeof(sentence), "no heartbeat for %lld s",
		 (long long)heartbeat_dead_ms(x->heartbeat_ms) / 1000);
	session_end(x, ERR_TIMEOUT, sentence, EVENT_N);
}

/* Startups that wait for a store that hangs are taken without it (decision 14). */
static void look_at_claims(struct server *s)
{
	if (!ledger_hangs(s))
		return;
	list_for (x, &s->sessions, struct session, in_sessions)
		if (x->state == SESSION_STARTED && mono_ms_between(x->since, world_now(s->world)) > CLAIM_MS)
			startup_store_hangs(x);
}

static void look_at_agents(struct server *s)
{
	struct mono now = world_now(s->world);
	double factor = config_real(s, "ping.timeout");

	list_for (x, &s->sessions, struct session, in_sessions) {
		if (x->state != SESSION_READY || !x->host)
			continue;
		if (x->host->row.is_muster && x->heartbeat_ms) {
			if (is_dead(x, now)) {
				give_up(x);
				continue;
			}
			suspect(x, silence_ms(x, s->excused_suspect, now) > heartbeat_suspect_ms(x->heartbeat_ms));
			news_look_again(x);
		}
		if (!x->checking_health &&
		    (double)mono_ms_between(x->last_ping, now) > factor * (double)x->ping_interval_s * 1000)
			check_health(s, x);
	}
}

/* Our own pause (suspend, stopped process, a machine without time for us) is nobody's silence. */
static void grace_for_all(struct server *s, int64_t pause_ms)
{
	log_warn(s->log, "this server was not running for a while, everybody gets a fresh period",
		 KV_I("pause_ms", pause_ms));
	s->excused = s->excused_suspect = world_now(s->world);
	list_for (x, &s->sessions, struct session, in_sessions)
		x->last_ping = s->excused;
}

/* ---- keeping the store small ---- */

struct trimming {
	struct entry entry;
	size_t keep;
	int64_t wall_ms;
};

static enum err trim_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	const struct trimming *t = container_of(entry, struct trimming, entry);
	enum err e = store_events_trim(tx, t->keep);

	return e ? e : store_tokens_trim(tx, t->wall_ms - TOKENS_KEPT_MS);
}

static void trim_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	if (result)
		log_debug(s->log, "old events and tokens could not be cleared away", KV_S("error", sentence));
	mem_free(container_of(entry, struct trimming, entry));
}

static void trim(struct server *s)
{
	struct trimming *t = mem_zalloc(sizeof(*t));

	if (!t)
		return;
	t->entry.run = trim_run;
	t->entry.done = trim_done;
	t->keep = (size_t)config_number(s, "events.keep", 0);
	t->wall_ms = world_wall_ms(s->world);
	ledger_add(s, &t->entry);
}

/* ---- the tick ---- */

static void on_tick(struct timer *t)
{
	struct server *s = container_of(t, struct server, watch_timer);
	struct mono now = world_now(s->world);
	int64_t pause_ms = mono_ms_between(s->watch_ticked, now);

	if (s->watch_ticked.us && pause_ms > STALL_MS)
		grace_for_all(s, pause_ms);
	else if (s->watch_ticked.us && pause_ms > SHORT_STALL_MS)
		s->excused_suspect = now; /* what has come meanwhile is not read yet */
	s->watch_ticked = now;
	beat(s);
	host_events_again(s);
	if (s->revoked_stale)
		revocation_reload(s);
	crl_tick(s);
	keyring_tick(s);
	origin_tick(s);
	tickets_tick(s);
	own_cert_tick(s);
	strictness_tick(s);
	rotation_tick(s);
	look_at_members(s);
	look_at_agents(s);
	look_at_claims(s);
	news_tick(s);
	freeze_tick(s);
	settling_tick(s);
	renewal_tick(s);
	peer_tell_status(s);
	draining_look(s);
	if (mono_ms_between(s->pings_flushed, now) >= PINGS_FLUSH_MS) {
		s->pings_flushed = now;
		pings_flush(s);
	}
	if (mono_ms_between(s->trimmed, now) >= TRIM_MS) {
		s->trimmed = now;
		trim(s);
	}
	timer_set_in(s->world, t, TICK_MS);
}

void watch_start(struct server *s)
{
	timer_init(&s->watch_timer, on_tick);
	timer_set_in(s->world, &s->watch_timer, TICK_MS);
}

void watch_stop(struct server *s)
{
	timer_stop(s->world, &s->watch_timer);
	pings_flush(s);
}
