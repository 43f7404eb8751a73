/*
 * News: what attached muster agents are told without asking (muster.NewsCommand), and nothing answers.
 *
 *   heartbeatMs   how often both ends of the link show that they are alive (core/heartbeat)
 *   agents        how many this server has: for the first dial after losing it (core/first_dial)
 *   preferred...  how the agent's preferred server is, when that is another one (core/failback); and in messages of
 *                 their own the others that stand before this server in its list
 *   frozen        nobody goes home now (freeze.c)
 *
 * What is true now is compared with what each agent was told last: after its Ready, when its list changes, and for
 * everybody, a slice a turn, when something has changed. Nothing is queued: an agent that does not read is passed over,
 * and told later what is true then.
 *
 * The word on a server is its own (PeerStatusCommand) while that is fresh, otherwise what the store says. Times are
 * those of our own clock: the wall clocks of others are not trusted.
 */
#include "server/internal.h"

#include <string.h>

#include "core/failback.h"

#define COMPARE_A_TURN 500
#define SEND_A_TURN 100       /* 2 ms of work or so: the loop has more to do */
#define QUEUED_MOST 65536     /* bytes that the link has not got rid of: it is told later */
#define AGENTS_AGAIN_MS 10000 /* between two announcements of how many agents there are */
#define AGENTS_FEW 100        /* who loses a server with no more than this doesn't wait: not worth telling */
#define STATUS_FRESH_MS 5000  /* a peer's word on itself, which comes every second */
#define UPTIME_SLACK_MS 2000  /* no news: rounding, and delays on the way */
#define NEWS_AGAIN_MS 900     /* from one walk to the next: about the tick */

/* ---- how the other servers are ---- */

static bool is_fresh(const struct member_server *m, struct mono now)
{
	return m->status.is_known && m->peer && peer_is_up(m->peer) &&
	       mono_ms_between(m->status.at, now) <= STATUS_FRESH_MS;
}

bool server_says_no(const struct server *s, const struct member_server *m, struct mono now)
{
	return is_fresh(m, now) && !m->status.accepting;
}

/* Since when it has been up, in this run, as far as we know. */
static void look_at_uptime(struct member_server *m, struct mono now, bool fresh)
{
	if (m->row.state != SERVER_UP || m->member.view == MEMBER_DOWN) {
		m->up_since = (struct mono){0};
		return;
	}
	if (!m->up_since.us || m->up_run_id != m->row.run_id)
		m->up_since = now;
	m->up_run_id = m->row.run_id;
	if (fresh)
		m->up_since = mono_add_ms(m->status.at, -m->status.uptime_ms);
}

static bool is_material(const struct server_word *a, const struct server_word *b)
{
	int64_t moved_ms = mono_ms_between(a->up_since, b->up_since);

	return a->is_known != b->is_known || a->state != b->state || a->accepting != b->accepting ||
	       moved_ms > UPTIME_SLACK_MS || moved_ms < -UPTIME_SLACK_MS;
}

static struct server_word word_now(const struct server *s, struct member_server *m, struct mono now)
{
	struct server_word w = {.state = m->row.state};
	bool fresh = is_fresh(m, now);

	look_at_uptime(m, now, fresh);
	if (w.state == SERVER_UP && m->member.view == MEMBER_DOWN)
		w.state = SERVER_DOWN;
	w.is_known = fresh || w.state != SERVER_UP || m->member.view != MEMBER_UNKNOWN;
	w.accepting = w.state == SERVER_UP && !server_says_no(s, m, now);
	w.up_since = m->up_since;
	return w;
}

void news_look_at_servers(struct server *s)
{
	struct mono now = world_now(s->world);

	list_for (m, &s->servers, struct member_server, in_servers) {
		struct server_word w;

		if (m->row.msid == s->msid)
			continue;
		w = word_now(s, m, now);
		if (m->word_version && !is_material(&m->word, &w))
			continue;
		log_debug(s->log, "news of a management server", KV_S("server", m->row.name),
			  KV_S("state", server_state_name(w.state)), KV_I("accepting", w.accepting));
		m->word = w;
		m->word_version++;
		s->news_due = true;
	}
	news_run(s);
}

void news_peer_status(struct server *s, struct member_server *m, const struct msg_peer_status *status)
{
	struct mono now = world_now(s->world);
	int64_t uptime_ms = status->uptimeMs.has ? status->uptimeMs.value : 0;

	m->status = (struct peer_status){
		.is_known = true,
		.accepting = status->accepting.has && status->accepting.value,
		/* No longer than our own clock runs, which bounds whatever a peer says. */
		.uptime_ms = uptime_ms < 0               ? 0
			     : uptime_ms < now.us / 1000 ? uptime_ms
							 : now.us / 1000,
		.agents = status->agents.has && status->agents.value > 0 ? status->agents.value : 0,
		.backlog = status->backlog.has && status->backlog.value > 0 ? status->backlog.value : 0,
		.issuing = !status->canIssue.has    ? ISSUING_UNKNOWN
			   : status->canIssue.value ? ISSUING_CAN
						    : ISSUING_CANNOT,
		.arrivals = status->arrivals.has && status->arrivals.value > 0 ? status->arrivals.value : 0,
		.at = now,
	};
	m->n_sent = 0; /* they are in its numbers now */
	news_look_at_servers(s);
}

/* ---- how we are ---- */

static void look_at_heartbeat(struct server *s)
{
	int64_t ms = heartbeat_interval_ms(&heartbeat_rule_default, s->heartbeat_ms, s->n_sessions);

	if (ms == s->heartbeat_ms)
		return;
	if (s->heartbeat_ms)
		log_info(s->log, "the number of links has changed the interval of heartbeats",
			 KV_U("links", s->n_sessions), KV_I("from_ms", s->heartbeat_ms), KV_I("to_ms", ms));
	s->heartbeat_ms = ms;
	s->news_due = true;
}

static void look_at_agents(struct server *s)
{
	struct mono now = world_now(s->world);
	int64_t n = (int64_t)server_n_agents(s), told = s->agents_announced;
	int64_t moved = n > told ? n - told : told - n;

	if (n <= AGENTS_FEW && told <= AGENTS_FEW)
		return;
	if ((n > AGENTS_FEW) == (told > AGENTS_FEW) && moved * 5 <= told)
		return;
	if (s->agents_announced_at.us && mono_ms_between(s->agents_announced_at, now) < AGENTS_AGAIN_MS)
		return;
	s->agents_announced = n;
	s->agents_announced_at = now;
	s->news_due = true;
}

void news_tick(struct server *s)
{
	look_at_heartbeat(s);
	look_at_agents(s);
	news_look_at_servers(s);
}

/* ---- one agent ---- */

#define WORDS_MOST FAILBACK_ENTRIES_MOST /* what an agent thinks of */

/* The other servers that stand before this one in the agent's list, as far as something is known of them. */
struct better {
	struct member_server *servers[WORDS_MOST];
	char entries[WORDS_MOST][SERVER_HOST_MAX + 9]; /* as its list has them */
	size_t n;
	uint64_t version; /* of all these words; 0: there are none */
};

static struct member_server *server_of(struct server *s, const char *entry)
{
	list_for (m, &s->servers, struct member_server, in_servers)
		if (lists_entry_is(s, entry, &m->row))
			return m;
	return NULL;
}

static void better_add(struct better *b, struct member_server *m)
{
	b->servers[b->n++] = m;
	/* Not zero, and another number when a word, or who stands there, is another one. */
	b->version = (b->version ^ (uint64_t)m->row.msid) * 0x9e3779b97f4a7c15u;
	b->version = ((b->version ^ m->word_version) * 0x9e3779b97f4a7c15u) | 1;
}

static void better_find(struct better *b, struct server *s, const struct session *x)
{
	struct server_list_walk w;

	b->n = 0;
	b->version = 0;
	server_list_walk_init(&w, x->reported);
	for (size_t i = 0; i < WORDS_MOST && server_list_walk_next(&w); i++) {
		char *entry = b->entries[b->n];
		struct member_server *m;

		if (w.entry_len >= sizeof(b->entries[0]))
			continue;
		memcpy(entry, w.entry, w.entry_len);
		entry[w.entry_len] = '\0';
		m = server_of(s, entry);
		if (m && m->row.msid == s->msid)
			return;
		if (m && m->word.is_known)
			better_add(b, m);
	}
}

static enum err put_word(struct server *s, struct msg_news *m, const struct member_server *about, const char *entry)
{
	int64_t up_ms = mono_ms_between(about->word.up_since, world_now(s->world));
	enum err e = msg_set_text(&m->preferred, entry);

	if (!e)
		e = msg_set_text(&m->preferredState, server_state_name(about->word.state));
	msg_set_bool(&m->preferredAccepting, about->word.accepting);
	msg_set_i64(&m->preferredUptimeMs, about->word.up_since.us ? up_ms : 0);
	return e;
}

static enum err send(struct session *x, const struct batch *b)
{
	struct server *s = x->server;
	struct header h = {
		.flags = FLAG_REQUEST | FLAG_FROM_SERVER,
		.seq = ++s->next_seq,
		.mgmt_id = s->msid,
		.agent_id = x->host_id,
		.via = x->host_id,
	};

	return link_send_batch(x->link, &h, b);
}

/*
 * Heartbeats 6: neither side may suspect the other. The link keeps the order, so who sends at the longer interval only
 * behind the message that tells it, and at the shorter one before, is never too late for what the other knows.
 */
static enum err send_with_heartbeat(struct session *x, const struct batch *b)
{
	int64_t before_ms = x->heartbeat_ms, ms = x->server->heartbeat_ms;
	enum err e;

	if (ms < before_ms)
		link_set_heartbeat(x->link, ms);
	e = send(x, b);
	if (e) {
		link_set_heartbeat(x->link, before_ms);
		return e;
	}
	link_set_heartbeat(x->link, ms);
	x->heartbeat_ms = ms;
	x->silence_from = heartbeat_counts_from(ms, before_ms, world_now(x->server->world));
	return ERR_OK;
}

struct news {
	bool heartbeat, agents, frozen, words;
	struct better better;
};

static bool is_due(struct session *x, struct news *n)
{
	struct server *s = x->server;

	better_find(&n->better, s, x);
	n->heartbeat = x->heartbeat_ms != s->heartbeat_ms;
	n->agents = x->agents_told != s->agents_announced;
	n->frozen = x->frozen_told != freeze_is_on(s);
	n->words = n->better.n && x->words_told != n->better.version;
	return n->heartbeat || n->agents || n->frozen || n->words;
}

/* One message: what is no word in the first of them, and one word in each. */
static enum err tell(struct session *x, const struct news *n, size_t word)
{
	struct server *s = x->server;
	struct batch b = {0};
	struct msg_news *m = batch_add(&b, MSG_NEWS);
	bool is_first = word == 0, with_heartbeat = is_first && n->heartbeat;
	enum err e = m ? ERR_OK : ERR_NOMEM;

	if (m && with_heartbeat)
		msg_set_i64(&m->heartbeatMs, s->heartbeat_ms);
	if (m && is_first && n->agents)
		msg_set_i64(&m->agents, s->agents_announced);
	if (m && is_first && n->frozen)
		msg_set_bool(&m->frozen, freeze_is_on(s));
	if (m && n->words)
		e = put_word(s, m, n->better.servers[word], n->better.entries[word]);
	if (!e)
		e = with_heartbeat ? send_with_heartbeat(x, &b) : send(x, &b);
	batch_deinit(&b);
	return e;
}

/* The number of messages. *all: none is missing. */
static size_t tell_all(struct session *x, const struct news *n, bool *all)
{
	struct server *s = x->server;
	size_t n_messages = n->words ? n->better.n : 1, sent = 0;

	while (sent < n_messages && tell(x, n, sent) == ERR_OK)
		sent++;
	if (sent && n->agents)
		x->agents_told = s->agents_announced;
	if (sent && n->frozen)
		x->frozen_told = freeze_is_on(s);
	*all = sent == n_messages;
	if (*all && n->words)
		x->words_told = n->better.version;
	return sent;
}

/* How many messages were sent. */
static size_t compare(struct server *s, const struct host *h)
{
	struct session *x = h->session;
	struct news n;
	bool all = false;
	size_t sent = 0;

	if (!x || x->state != SESSION_READY || !h->row.is_muster || !is_due(x, &n))
		return 0;
	/* It does not read: what it would read once it does is old by then. Looked at again for itself alone, or one
	 * that never reads would have us walk all others every second. */
	if (link_queued(x->link) <= QUEUED_MOST)
		sent = tell_all(x, &n, &all);
	x->news_missed = !all;
	return sent;
}

void news_look_again(struct session *x)
{
	if (!x->news_missed || link_queued(x->link) > QUEUED_MOST)
		return;
	x->news_missed = false;
	compare(x->server, x->host);
}

void news_compare(struct server *s, struct host *h)
{
	compare(s, h);
}

void news_new_list(struct session *x)
{
	x->words_told = 0;
}

/* ---- everybody ---- */

static void slice(struct later *l)
{
	struct server *s = container_of(l, struct server, news_later);
	size_t sent = 0;

	/* Rebuilt meanwhile: hosts stand elsewhere. Comparing twice does no harm. */
	if (s->news_table != s->hosts_by_id.slots) {
		s->news_table = s->hosts_by_id.slots;
		s->news_cursor = 0;
	}
	for (size_t i = 0; i < COMPARE_A_TURN && sent < SEND_A_TURN; i++) {
		struct host *h = roster_next(s, &s->news_cursor);

		if (!h) {
			s->news_running = false;
			return;
		}
		sent += compare(s, h);
	}
	world_later(s->world, l);
}

/*
 * One walk at a time, and the next begins with the tick: so that whatever flickers is told once a second at most. What
 * changes while a walk goes on, behind its back, is told by the next.
 */
void news_run(struct server *s)
{
	struct mono now = world_now(s->world);

	if (!s->news_due || s->news_running || !s->running ||
	    (s->news_began.us && mono_ms_between(s->news_began, now) < NEWS_AGAIN_MS))
		return;
	s->news_due = false;
	s->news_running = true;
	s->news_began = now;
	s->news_cursor = 0;
	s->news_later.call = slice;
	world_later(s->world, &s->news_later);
}

void news_at_once(struct server *s)
{
	s->news_due = true;
	s->news_began = (struct mono){0};
	/* A walk that is under way begins anew: comparing twice does no harm. */
	s->news_cursor = 0;
	news_run(s);
}

void news_stop(struct server *s)
{
	s->news_running = false;
	world_later_cancel(&s->news_later);
}
