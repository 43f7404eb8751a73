/*
 * Gate 2 (docs/failover.md, "Admission" 7 to 12): after TLS, when it is known who is there, and before the startup is
 * served. The queue are the startups whose claim is on its way through the store. The rules are core/admission; here is
 * what they are asked with, and what is done with the answer.
 */
#include "server/internal.h"

#define OVERRUN_MS 5000 /* who would wait longer should not be sent here */
#define RELIEVED_MS 2500
#define WORD_MS 5000  /* for so long holds what another server has said of itself */
#define COUNT_MS 2000 /* and so long what was counted for one that says nothing */

/* ---- how the others are ---- */

/* Is what it has said of itself still true? It says so every second. */
static bool is_told(const struct member_server *m, struct mono now)
{
	return m->status.is_known && mono_ms_between(m->status.at, now) <= WORD_MS;
}

/*
 * For those that say nothing: the agents that each owns, counted at most once in a while, because a storm asks
 * thousands of times. Whom we sent there is forgotten with each count, as with a word (12).
 */
static void count_agents(struct server *s, struct mono now)
{
	size_t cursor = 0;
	struct host *h;

	if (s->agents_counted.us && mono_ms_between(s->agents_counted, now) < COUNT_MS)
		return;
	s->agents_counted = now;
	list_for (m, &s->servers, struct member_server, in_servers) {
		m->n_agents = 0;
		if (!is_told(m, now))
			m->n_sent = 0;
	}
	while ((h = roster_next(s, &cursor))) {
		struct member_server *m = h->row.owner ? roster_server(s, h->row.owner) : NULL;

		if (m)
			m->n_agents++;
	}
}

/* By its own word while that is fresh; otherwise by its state alone, with an empty queue. */
static struct admission_server peer_load(const struct server *s, const struct member_server *m, struct mono now)
{
	bool told = is_told(m, now);

	return (struct admission_server){
		.is_usable = m->row.msid != s->msid && m->row.state == SERVER_UP && m->member.view != MEMBER_DOWN &&
			     !server_says_no(s, m, now),
		.backlog = told ? (uint64_t)m->status.backlog : 0,
		.n_agents = told ? (uint64_t)m->status.agents : m->n_agents,
		.n_sent = m->n_sent,
	};
}

/* ---- where an agent may be sent ---- */

/* The servers of the agent's own list, in its order, spelled as there. */
struct places {
	struct str_list entries;
	struct member_server **members; /* one for each entry; NULL: nobody we know */
	struct admission_server *loads;
};

static void places_deinit(struct places *p)
{
	str_list_deinit(&p->entries);
	mem_free(p->members);
	mem_free(p->loads);
}

static enum err places_init(struct places *p, struct server *s, const char *reported)
{
	struct mono now = world_now(s->world);
	char *algorithm = NULL;
	enum err e = server_list_parse_reported(&p->entries, &algorithm, reported ? reported : "");

	mem_free(algorithm);
	if (e)
		return e;
	if (p->entries.n > SERVER_LIST_MAX)
		return ERR_TOO_BIG;
	p->members = mem_zalloc_array(p->entries.n + 1, sizeof(struct member_server *));
	p->loads = mem_zalloc_array(p->entries.n + 1, sizeof(*p->loads));
	if (!p->members || !p->loads)
		return ERR_NOMEM;
	count_agents(s, now);
	for (size_t i = 0; i < p->entries.n; i++) {
		list_for (m, &s->servers, struct member_server, in_servers)
			if (lists_entry_is(s, p->entries.items[i], &m->row))
				p->members[i] = m;
		if (p->members[i])
			p->loads[i] = peer_load(s, p->members[i], now);
	}
	return ERR_OK;
}

/* ---- the question ---- */

/*
 * Who says that it moves away from a link that works. (One that suspects its link has one by name only: it must not
 * wait longer than who has none.)
 */
static bool moves_by_choice(const char *purpose)
{
	return str_equal(purpose, "preferred") || str_equal(purpose, "migrate") || str_equal(purpose, "renew");
}

static struct admission_question question_of(const struct session *x, const struct msg_startup_common *m)
{
	int64_t n = m->musterPutOff.has && m->musterPutOff.value > 0 ? m->musterPutOff.value : 0;

	return (struct admission_question){
		.is_muster = link_is_muster(x->link),
		.has_link = moves_by_choice(m->musterPurpose),
		.was_sent = m->musterSent.has && m->musterSent.value,
		.n_put_off = n < 100 ? (unsigned)n : 100,
		.n_waiting = x->server->n_starting,
	};
}

static void put_off(struct session *x, const struct header *h, const struct admission_answer *a, const char *entry)
{
	struct server *s = x->server;
	struct why why = WHY_NONE;

	why_set(&why, "%zu startups are under way here: come back in %lld ms", s->n_starting, (long long)a->retry_ms);
	if (entry)
		why_set(&why, "%zu startups are under way here: try %s, or come back in %lld ms", s->n_starting, entry,
			(long long)a->retry_ms);
	s->n_put_off++;
	if (pace_passes(s, &s->put_off_said))
		log_info(s->log, "agents are asked to come back later", KV_U("starting", s->n_starting),
			 KV_I("wait_ms", admission_expected_ms(s)), KV_U("put_off", s->n_put_off));
	startup_put_off(x, h, a->retry_ms, entry, why.text);
}

bool admission_lets_in(struct session *x, const struct header *h, const struct msg_startup_common *m)
{
	struct server *s = x->server;
	const struct admission_queue_rule *rule = &admission_queue_rule_default;
	struct admission_question q = question_of(x, m);
	struct places p = {0};
	struct admission_answer a;
	bool asks_others = !q.has_link && !q.was_sent;
	const char *entry = NULL;

	/* Without the store nobody waits for it (decision 14): what is queued there says nothing. */
	if (!q.is_muster || ledger_hangs(s) || ledger_is_failing(s, NULL) ||
	    admission_wait_ms(&s->startups, rule, q.n_waiting) <= rule->patience_move_ms)
		return true;
	/* Without memory for it, or with a list that is none, it isn't sent anywhere. */
	if (asks_others && places_init(&p, s, m->msHostList)) {
		places_deinit(&p);
		p = (struct places){0};
	}
	a = admission_ask(&s->startups, rule, &q, p.loads, p.entries.n, world_now(s->world), &s->world->rng);
	if (p.members && a.server < p.entries.n) {
		p.members[a.server]->n_sent = p.loads[a.server].n_sent;
		entry = p.entries.items[a.server];
	}
	if (a.verdict != ADMISSION_WELCOME)
		put_off(x, h, &a, entry);
	places_deinit(&p);
	return a.verdict == ADMISSION_WELCOME;
}

/* ---- the queue ---- */

/* Others send nobody here while it lasts. It ends at half of that, so that it doesn't flicker. */
static void look_at_queue(struct server *s)
{
	int64_t wait_ms = admission_expected_ms(s);
	bool is = wait_ms > (s->is_overrun ? RELIEVED_MS : OVERRUN_MS);

	if (is == s->is_overrun)
		return;
	s->is_overrun = is;
	log_at(s->log, is ? LOG_WARN : LOG_INFO,
	       is ? "more agents come than can be served, no others are sent here" : "agents may be sent here again",
	       KV_U("starting", s->n_starting), KV_I("wait_ms", wait_ms));
	peer_status_changed(s);
}

void admission_claim_begins(struct server *s)
{
	s->n_starting++;
	look_at_queue(s);
}

/* The store answers for a whole group at once: what one costs shows only when they are counted together. */
static void on_served(struct later *l)
{
	struct server *s = container_of(l, struct server, served_later);

	if (!list_is_empty(&s->ledger_tell)) {
		world_later(s->world, l);
		return;
	}
	admission_served(&s->startups, s->n_served, s->n_starting, world_now(s->world));
	s->n_served = 0;
	look_at_queue(s);
}

void admission_claim_ends(struct server *s)
{
	s->n_starting--;
	s->n_served++;
	s->served_later.call = on_served;
	world_later(s->world, &s->served_later);
}

int64_t admission_expected_ms(const struct server *s)
{
	return admission_wait_ms(&s->startups, &admission_queue_rule_default, s->n_starting);
}

uint64_t admission_backlog_now(const struct server *s)
{
	return admission_backlog(&s->startups, &admission_queue_rule_default, s->n_starting, world_now(s->world));
}

bool admission_is_overrun(const struct server *s)
{
	return s->is_overrun;
}
