/*
 * What must hold in the simulated cluster, always and once it is calm.
 *
 * Always:
 *   1. one owner: of all Ready sessions of a host at most one has the store's
 * epoch, and its server is the owner
 *   2. no epoch that the store doesn't know
 *      and links of one boot of an agent are claimed in their order
 *   3. an acknowledged setting is in the store
 *   4. an agent whose list has a server that is Up and that it can reach has a link, after a
 * bound
 *   9. nobody enters a server that isn't Up in the store while another one takes agents
 *  10. what the engines count is what there is (leaks.c)
 *  11 to 17: of certificates (cert_rules.c)
 * Calm:
 *   5. every agent is Up, with one link, on a server that knows it as Ready,
 * and its host is Up in the store
 *   6. every agent has the newest list, in memory and in its file, and the
 * newest interval
 *   7. with an interval every agent is on its preferred server, and the servers
 * have as many as the algorithm says
 *   8. no session, request, stream, timer or claim is left over (leaks.c)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/invariants.h"

#define VISIT_MS 12000
#define KEY_ALGORITHM "indirect.agent.lb.algorithm"
#define DOOR_US (8 * SECOND_US)
#define KEY_INTERVAL "indirect.agent.lb.check.interval"

/* ---- what the store says ---- */

static enum err keep_host(void *user, const struct host_row *row)
{
	struct truth *t = user;

	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 64;
		struct host_row *more = mem_grow_array(t->hosts, cap, sizeof(*more));

		if (!more)
			return ERR_NOMEM;
		t->hosts = more;
		t->cap = cap;
	}
	return host_row_copy(&t->hosts[t->n++], row);
}

static enum err read_truth(struct store_tx *tx, void *arg, struct why *why)
{
	struct truth *t = arg;
	int64_t version;
	enum err e = store_host_list(tx, keep_host, t);

	if (!e)
		e = store_config_list(tx, &t->settings, &t->n_settings);
	if (!e)
		e = store_server_list(tx, &t->servers, &t->n_servers);
	if (!e)
		e = store_drain_list(tx, &t->drains, &t->n_drains);
	if (!e)
		e = store_list_server_list(tx, &t->entries, &t->n_entries, &version);
	return e;
}

static const char *setting_in(const struct truth *t, const char *name)
{
	for (size_t i = 0; i < t->n_settings; i++)
		if (str_equal(t->settings[i].name, name) && str_equal(t->settings[i].scope, CONFIG_GLOBAL))
			return t->settings[i].value;
	return NULL;
}

static enum err derive(struct truth *t)
{
	const char *host = setting_in(t, "host"), *algorithm = setting_in(t, KEY_ALGORITHM);
	const char *interval = setting_in(t, KEY_INTERVAL);
	enum err e = ERR_OK;

	t->is_frozen = freeze_row(t->settings, t->n_settings) != NULL;
	t->algorithm = ALGORITHM_STATIC;
	if (algorithm && !algorithm_from_text(algorithm, &t->algorithm))
		return ERR_INVALID;
	if (interval && !str_to_i64(interval, &t->interval))
		return ERR_INVALID;
	if (host)
		return server_list_parse_setting(&t->list, host, NULL);
	for (size_t i = 0; i < t->n_servers && !e; i++)
		e = str_list_add(&t->list, t->servers[i].address);
	return e;
}

static void truth_free(struct truth *t)
{
	for (size_t i = 0; i < t->n; i++)
		host_row_deinit(&t->hosts[i]);
	for (size_t i = 0; i < t->n_settings; i++)
		config_row_deinit(&t->settings[i]);
	for (size_t i = 0; i < t->n_servers; i++)
		server_row_deinit(&t->servers[i]);
	for (size_t i = 0; i < t->n_drains; i++)
		drain_row_deinit(&t->drains[i]);
	evenness_free(t);
	mem_free(t->hosts);
	mem_free(t->settings);
	mem_free(t->servers);
	mem_free(t->drains);
	str_list_deinit(&t->list);
	map_deinit(&t->by_guid);
}

static void truth_get(struct truth *t, struct cluster *c)
{
	struct store_call call = {.run = read_truth, .arg = t, .read_only = true};
	struct store_call *calls[] = {&call};
	struct why why = WHY_NONE;
	enum err e;

	*t = (struct truth){0};
	map_init_text(&t->by_guid, 1);
	e = store_run(c->store, calls, 1, &why);
	if (!e)
		e = call.result;
	for (size_t i = 0; i < t->n && !e; i++)
		e = map_put(&t->by_guid, t->hosts[i].guid, &t->hosts[i]);
	if (!e)
		e = derive(t);
	if (!e && t->algorithm == ALGORITHM_BALANCED)
		e = evenness_load(t, &call.why);
	if (e)
		sim_fail(c->sim, "the simulation can't read the store: %s", why_text(&call.why, e));
}

/* By id, as the store gives them. */
static const struct host_row *host_in(const struct truth *t, int64_t id)
{
	size_t low = 0, high = t->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (t->hosts[mid].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low < t->n && t->hosts[low].id == id ? &t->hosts[low] : NULL;
}

/* ---- always ---- */

static void look_at_owners(struct cluster *c, const struct truth *t)
{
	uint8_t *owners = mem_zalloc(t->n + 1);

	for (size_t i = 0; i < c->n_servers && owners; i++) {
		struct server *s = c->servers[i]->server;

		if (!s)
			continue;
		list_for (x, &s->sessions, struct session, in_sessions) {
			const struct host_row *h =
				x->state == SESSION_READY && !x->provisional ? host_in(t, x->host_id) : NULL;

			if (!h)
				continue;
			if (x->epoch > h->epoch)
				sim_fail(c->sim,
					 "one owner: server %s has epoch %lld of host %lld, the store "
					 "has %lld",
					 c->servers[i]->name, (long long)x->epoch, (long long)h->id,
					 (long long)h->epoch);
			if (x->epoch != h->epoch)
				continue;
			if (h->owner != s->msid)
				sim_fail(c->sim,
					 "one owner: server %s has the epoch of host %lld, the store's "
					 "owner is %lld",
					 c->servers[i]->name, (long long)h->id, (long long)h->owner);
			if (++owners[h - t->hosts] > 1)
				sim_fail(c->sim, "one owner: host %lld has two", (long long)h->id);
		}
	}
	mem_free(owners);
}

/* The claim of an older link must not win over a newer one's, however late it comes (decision 13). */
static void look_at_link_numbers(struct cluster *c, const struct truth *t)
{
	list_for (a, &c->agents, struct sim_agent, in_agents) {
		const struct host_row *h = map_get(&t->by_guid, a->guid);

		if (!h || !h->boot)
			continue;
		if (str_equal(h->boot, a->boot) && h->link_number < a->link_number)
			sim_fail(c->sim, "one owner: link %lld of %s was claimed after link %lld of the same boot",
				 (long long)h->link_number, a->name, (long long)a->link_number);
		str_copy(a->boot, sizeof(a->boot), h->boot);
		a->link_number = h->link_number;
	}
}

static void look_at_settings(struct cluster *c, const struct truth *t)
{
	list_for (k, &c->settings, struct told_setting, in_settings) {
		const char *value = setting_in(t, k->name);

		if (str_equal(value, k->acked) || str_list_has(&k->maybe, value ? value : ""))
			continue;
		sim_fail(c->sim, "acknowledged setting lost: %s is %s, was acknowledged as %s", k->name,
			 value ? value : "(unset)", k->acked ? k->acked : "(unset)");
	}
}

struct sim_server *server_at(struct cluster *c, const char *entry)
{
	struct sim_node *n = entry ? sim_node_at(c->sim, entry) : NULL;

	for (size_t i = 0; i < c->n_servers; i++)
		if (c->servers[i]->node == n)
			return c->servers[i];
	return NULL;
}

static const struct server_row *row_of(const struct truth *t, const struct sim_server *s)
{
	/* By name: a server that lost its identity file has registered as another one since. */
	for (size_t i = t->n_servers; i-- > 0;)
		if (s->server ? t->servers[i].msid == server_msid(s->server) : str_equal(t->servers[i].name, s->name))
			return &t->servers[i];
	return NULL;
}

bool server_is_up_in(const struct truth *t, const struct sim_server *s)
{
	const struct server_row *row = row_of(t, s);

	return row && row->state == SERVER_UP;
}

/*
 * How long an agent may be without a link while a server of its list would take it (docs/failover.md). What it may have
 * to wait for, one after the other:
 *
 *    5 s  its first dial, when its server had very many agents ("First dial" 3)
 *    5 s  three dials at a time to servers that don't answer at all, before that one has its turn
 *   10 s  a server that is hung in the middle of a handshake or of a startup ("Silence" 2 and 3)
 *   20 s  = ALONE_SOON_US, where that server could be used for long enough before: then it has no back-off
 *   30 s  the longest back-off: it could not be used before
 *   50 s  = ALONE_US
 *   60 s  the longest time that gate 2 names, where a store is slow ("Admission" 10): ALONE_SLOW_US
 */
#define ALONE_SOON_US (20 * SECOND_US)
#define BACKOFF_US (30 * SECOND_US)
#define ALONE_US (ALONE_SOON_US + BACKOFF_US)
#define ALONE_SLOW_US (ALONE_US + 60 * SECOND_US)

static bool is_usable(struct cluster *c, const struct truth *t, const struct sim_agent *a, const struct sim_server *s)
{
	return s->state == PROGRAM_UP && server_is_well(s) && server_is_up_in(t, s) &&
	       sim_can_talk(c->sim, a->node, s->node);
}

/* Which servers of its list would take it, and since when. */
static bool can_reach_one(struct cluster *c, const struct truth *t, struct sim_agent *a, const struct agent_view *v)
{
	int64_t now = sim_now_us(c->sim) + 1;
	bool can = false, in_list[SERVERS_MAX] = {false};

	for (size_t i = 0; i < v->list->n; i++)
		for (size_t k = 0; k < c->n_servers; k++)
			in_list[k] = in_list[k] || server_at(c, v->list->items[i]) == c->servers[k];
	for (size_t k = 0; k < c->n_servers; k++) {
		if (!in_list[k] || !is_usable(c, t, a, c->servers[k]))
			a->usable_since_us[k] = 0;
		else if (!a->usable_since_us[k])
			a->usable_since_us[k] = now;
		can = can || a->usable_since_us[k];
	}
	return can;
}

/* The bound for this agent now. */
static int64_t alone_most_us(struct cluster *c, const struct sim_agent *a)
{
	bool is_slow = false, is_known = false;

	for (size_t k = 0; k < c->n_servers; k++) {
		int64_t since = a->usable_since_us[k];

		is_slow = is_slow || sim_lane_is_slow(c->servers[k]->node, WORK_STORE);
		is_known = is_known || (since && since + BACKOFF_US < a->alone_since_us);
	}
	if (is_slow)
		return ALONE_SLOW_US;
	return is_known && !sim_network(c->sim)->loss_ppm ? ALONE_SOON_US : ALONE_US;
}

static bool may_be_alone(struct cluster *c, const struct sim_agent *a)
{
	return !a->agent || !sim_node_is_alive(a->node) || sim_node_is_frozen(a->node) || a->removal != STAYS ||
	       a->is_banned || cert_rules_is_lost(a) || sim_network(c->sim)->tls_bad_ppm ||
	       sim_network(c->sim)->names_down;
}

static void look_at_links(struct cluster *c, const struct truth *t)
{
	int64_t now = sim_now_us(c->sim) + 1;

	list_for (a, &c->agents, struct sim_agent, in_agents) {
		struct agent_view v;

		if (may_be_alone(c, a)) {
			memset(a->usable_since_us, 0, sizeof(a->usable_since_us));
			a->alone_since_us = 0;
			continue;
		}
		agent_look(a->agent, &v);
		if (!can_reach_one(c, t, a, &v) || v.state == AGENT_UP) {
			a->alone_since_us = 0;
			continue;
		}
		if (!a->alone_since_us)
			a->alone_since_us = now;
		if (now - a->alone_since_us > alone_most_us(c, a))
			sim_fail(c->sim,
				 "agent %s (%s) has had no link for %lld s though one of its "
				 "servers is there",
				 a->name, agent_state_name(v.state),
				 (long long)((now - a->alone_since_us) / SECOND_US));
	}
}

bool server_is_well(const struct sim_server *s)
{
	return s->server && sim_node_is_alive(s->node) && !sim_node_is_frozen(s->node) && !s->store_fails &&
	       !sim_lane_is_stalled(s->node, WORK_STORE) && !ledger_is_failing(s->server, NULL);
}

/* What no list has is no place to go to. */
static bool is_in_list(struct cluster *c, const struct truth *t, const struct sim_server *s)
{
	for (size_t i = 0; i < t->list.n; i++)
		if (server_at(c, t->list.items[i]) == s)
			return true;
	return false;
}

/* One that has just come doesn't count yet: between two looks it may have come after the one before it was gone. */
static bool another_takes_agents(struct cluster *c, const struct truth *t, const struct sim_server *s)
{
	int64_t long_since = sim_now_us(c->sim) - DOOR_US;

	for (size_t i = 0; i < c->n_servers; i++) {
		struct sim_server *o = c->servers[i];

		if (o != s && is_in_list(c, t, o) && o->state == PROGRAM_UP && o->up_since_us < long_since &&
		    server_is_well(o) && server_is_up_in(t, o) && sim_can_talk(c->sim, s->node, o->node) &&
		    sim_can_talk(c->sim, o->node, s->node))
			return true;
	}
	return false;
}

/* PreparingForShutDown and ReadyToShutDown only stop jobs. */
static bool is_shut(enum server_state state)
{
	return state == SERVER_PREPARING_FOR_MAINTENANCE || state == SERVER_MAINTENANCE ||
	       state == SERVER_SHUTTING_DOWN;
}

static int64_t asked_in(const struct truth *t, int64_t msid)
{
	for (size_t i = 0; i < t->n_drains; i++)
		if (t->drains[i].msid == msid)
			return t->drains[i].asked_ms;
	return 0;
}

/*
 * Nobody enters a draining server while another accepts (decision 30). DOOR_US is for what the server can't know yet:
 * a state that was just written, another server that has just come or was just healed.
 */
static void look_at_doors(struct cluster *c, const struct truth *t)
{
	int64_t now = sim_now_us(c->sim) + 1;

	for (size_t i = 0; i < c->n_servers; i++) {
		struct sim_server *s = c->servers[i];
		const struct server_row *row = server_is_well(s) ? row_of(t, s) : NULL;

		if (!row || !is_shut(row->state) || !another_takes_agents(c, t, s)) {
			s->shut_since_us = 0;
			continue;
		}
		/* Undrained and drained again between two looks: the door was open meanwhile. */
		if (!s->shut_since_us || s->shut_asked_ms != asked_in(t, row->msid))
			s->shut_since_us = now;
		s->shut_asked_ms = asked_in(t, row->msid);
		list_for (x, &s->server->sessions, struct session, in_sessions) {
			int64_t opened = now - (world_now(s->server->world).us - x->opened.us);

			/* Who knew no other server when it came is sent on as soon as it has its list (Drain 15). */
			if (x->only_here)
				continue;
			if (x->state == SESSION_READY && opened - s->shut_since_us > DOOR_US)
				sim_fail(
					c->sim,
					"host %lld has entered server %s, which is %s, though another one takes agents",
					(long long)x->host_id, s->name, server_state_name(row->state));
		}
	}
}

/* Read again only when somebody has written: most looks are at a store that
 * nobody has touched. */
static struct truth *truth_now(struct cluster *c)
{
	bool changed = store_changed(c->store);

	if (c->truth && !changed)
		return c->truth;
	invariants_forget(c);
	c->truth = mem_zalloc(sizeof(*c->truth));
	if (!c->truth)
		abort();
	truth_get(c->truth, c);
	c->truths++;
	return c->truth;
}

void invariants_forget(struct cluster *c)
{
	if (c->truth)
		truth_free(c->truth);
	c->truth = mem_free(c->truth);
}

/* A planned move never shows as an agent that is gone. */
static void look_at_statuses(struct cluster *c, const struct truth *t)
{
	for (size_t i = 0; i < t->n && c->steady; i++)
		if (t->hosts[i].status != HOST_UP && t->hosts[i].status != HOST_CONNECTING)
			sim_fail(c->sim, "steady: host %s is %s", t->hosts[i].name,
				 host_status_name(t->hosts[i].status));
}

void invariants_look(struct cluster *c)
{
	const struct truth *t = truth_now(c);

	look_at_owners(c, t);
	look_at_link_numbers(c, t);
	look_at_settings(c, t);
	look_at_links(c, t);
	look_at_doors(c, t);
	look_at_statuses(c, t);
	leaks_look(c);
	moves_look(c, t);
	flights_look(c);
	if (c->p.certificates)
		cert_rules_look(c);
}

/* ---- calm ---- */

static const char *pinned_to(const struct truth *t, const struct host_row *h)
{
	for (size_t i = 0; i < t->n_entries && h->pin; i++)
		if (t->entries[i].id == h->pin && t->entries[i].in_use)
			return t->entries[i].entry;
	return NULL;
}

/* A pinned host: the entry is first, and the rest is as without it. */
static bool has_right_list(const struct truth *t, const struct host_row *h, const char *reported)
{
	CLEAN(str_list_deinit) struct str_list expected = {0}, ordered = {0};
	const char *pin = pinned_to(t, h);
	struct rng rng;

	if (t->algorithm == ALGORITHM_SHUFFLE)
		return algorithm_is_current(t->algorithm, &t->list, h->slot, reported) &&
		       (!pin || (str_starts(reported, pin) && reported[strlen(pin)] == (t->list.n > 1 ? ',' : '@')));
	rng_init(&rng, 1);
	if (t->algorithm == ALGORITHM_BALANCED ? evenness_list(t, h, &ordered)
					       : algorithm_order(&ordered, t->algorithm, &t->list, h->slot, &rng))
		abort();
	if (pin && str_list_add(&expected, pin))
		abort();
	for (size_t i = 0; i < ordered.n; i++)
		if ((!pin || !str_equal(ordered.items[i], pin)) && str_list_add(&expected, ordered.items[i]))
			abort();
	return algorithm_is_current(t->algorithm, &expected, 0, reported);
}

static bool agent_is_calm(struct cluster *c, const struct truth *t, struct sim_agent *a, bool long_calm,
			  struct why *why)
{
	const struct host_row *h = map_get(&t->by_guid, a->guid);
	struct agent_view v;
	struct sim_server *on;
	struct host *host;

	if (a->removal == REMOVED) {
		if (h)
			why_set(why, "%s was deleted and is still in the store", a->name);
		return !h;
	}
	/* Its certificate is revoked: cert_rules.c. */
	if (a->is_banned)
		return true;
	if (!a->agent) {
		why_set(why, "%s does not run", a->name);
		return false;
	}
	agent_look(a->agent, &v);
	if (v.state != AGENT_UP) {
		why_set(why, "%s is %s", a->name, agent_state_name(v.state));
		return false;
	}
	if (!h || h->status != HOST_UP) {
		why_set(why, "%s is %s in the store", a->name, h ? host_status_name(h->status) : "not");
		return false;
	}
	on = server_at(c, v.connected);
	host = on && on->server ? roster_host(on->server, h->id) : NULL;
	if (!host || !host->session || host->session->state != SESSION_READY || host->session->provisional ||
	    host->session->epoch != h->epoch || h->owner != on->server->msid) {
		why_set(why, "%s thinks it is on %s, where it is not Ready, or not the owner's", a->name,
			v.connected ? v.connected : "-");
		return false;
	}
	if (!has_right_list(t, h, agent_file_host(a->file))) {
		why_set(why, "%s has an old list in its file: %s", a->name, agent_file_host(a->file));
		return false;
	}
	if (v.interval_s != t->interval) {
		why_set(why, "%s has interval %lld, not %lld", a->name, (long long)v.interval_s,
			(long long)t->interval);
		return false;
	}
	if (t->interval > 0 && t->algorithm != ALGORITHM_SHUFFLE && !str_equal(v.connected, v.preferred)) {
		why_set(why, "%s is on %s, not on its preferred %s", a->name, v.connected, v.preferred);
		return false;
	}
	/* Who was told to look, or has the one look of shuffle, goes on after having been put off. */
	if (!str_equal(v.connected, v.preferred) && !mono_is_never(v.next_check)) {
		why_set(why, "%s is on %s and will still look whether it may go to %s", a->name, v.connected,
			v.preferred);
		return false;
	}
	if (v.moving || sim_node_streams(a->node) != (v.fetching_ticket ? 2 : 1)) {
		why_set(why, "%s has %zu streams", a->name, sim_node_streams(a->node));
		return false;
	}
	return !long_calm || leaks_agent_is_clean(a, &v, why);
}

/* A link that may be an agent's which only fetches a session ticket; one that stays is left over. */
static bool is_visit(struct server *s, const struct session *x)
{
	return (x->state == SESSION_TLS || x->state == SESSION_ANONYMOUS) &&
	       mono_ms_between(x->since, world_now(s->world)) < VISIT_MS;
}

/* Nothing is left over in a server. */
static bool server_is_calm(struct sim_server *m, bool long_calm, struct why *why)
{
	struct server *s = m->server;
	struct server_view v;
	size_t others = 0, visits = 0;

	if (m->state != PROGRAM_UP || !s) {
		why_set(why, "server %s is not up", m->name);
		return false;
	}
	if (s->draining) {
		why_set(why, "server %s is being drained", m->name);
		return false;
	}
	server_look(s, &v);
	if (v.outdated || spread_waiting(s->spread) || ledger_is_failing(s, NULL)) {
		why_set(why, "server %s: %zu agents outdated, %zu to be told", m->name, v.outdated,
			spread_waiting(s->spread));
		return false;
	}
	list_for (x, &s->sessions, struct session, in_sessions) {
		visits += is_visit(s, x);
		others += x->state != SESSION_READY && x->state != SESSION_PEER && !is_visit(s, x);
	}
	if (v.peers_up != m->cluster->n_servers - 1) {
		why_set(why, "server %s: %zu links to others", m->name, v.peers_up);
		return false;
	}
	if (long_calm && (others || v.anonymous > visits || s->requests.n)) {
		why_set(why,
			"left over at server %s: %zu sessions, %zu counted as anonymous, "
			"%zu requests",
			m->name, others, v.anonymous, s->requests.n);
		return false;
	}
	return !long_calm || leaks_server_is_clean(m, why);
}

static bool placement_is_even(struct cluster *c, const struct truth *t, struct why *why)
{
	size_t least = SIZE_MAX, most = 0;

	if (t->algorithm == ALGORITHM_BALANCED)
		return evenness_holds(t, why);
	/* Pinned hosts stand where they are pinned to. */
	for (size_t i = 0; i < t->n; i++)
		if (t->hosts[i].pin)
			return true;
	/* So does the place of a host that is out. */
	list_for (a, &c->agents, struct sim_agent, in_agents)
		if (a->is_banned && a->removal != REMOVED)
			return true;

	if (t->algorithm != ALGORITHM_ROUNDROBIN || t->interval <= 0)
		return true;
	for (size_t i = 0; i < t->list.n; i++) {
		struct sim_server *s = server_at(c, t->list.items[i]);
		size_t n = s ? sim_server_ready(s) : 0;

		least = n < least ? n : least;
		most = n > most ? n : most;
	}
	if (most - least > 1)
		why_set(why, "roundrobin leaves %zu agents on one server and %zu on another", least, most);
	return most - least <= 1;
}

bool invariants_are_calm(struct cluster *c, bool long_calm, struct why *why)
{
	const struct truth *t = truth_now(c);
	bool calm = true;

	if (c->calls) {
		why_set(why, "%u calls have no answer", c->calls);
		calm = false;
	}
	for (size_t i = 0; i < c->n_servers && calm; i++)
		if (!server_is_up_in(t, c->servers[i])) {
			why_set(why, "server %s is not Up in the store", c->servers[i]->name);
			calm = false;
		}
	for (size_t i = 0; i < c->n_servers && calm; i++)
		calm = server_is_calm(c->servers[i], long_calm, why);
	list_for (a, &c->agents, struct sim_agent, in_agents) {
		if (!calm)
			break;
		calm = agent_is_calm(c, t, a, long_calm, why);
	}
	if (calm && c->p.certificates)
		calm = cert_rules_are_calm(c, long_calm, why);
	if (calm)
		calm = placement_is_even(c, t, why);
	return calm;
}

/* ---- for expectations ---- */

/* Asked after each event while something is waited for: server_look() would compare the list of every host each time.
 */
size_t sim_server_ready(const struct sim_server *s)
{
	size_t n = 0;

	if (!s->server)
		return 0;
	list_for (x, &s->server->sessions, struct session, in_sessions)
		n += x->state == SESSION_READY;
	return n;
}

bool cluster_has_host(struct cluster *c, const struct sim_agent *a)
{
	return map_get(&truth_now(c)->by_guid, a->guid) != NULL;
}

size_t cluster_outdated(struct cluster *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n_servers; i++) {
		struct server_view v = {0};

		if (c->servers[i]->server)
			server_look(c->servers[i]->server, &v);
		n += v.outdated;
	}
	return n;
}

const char *cluster_setting(struct cluster *c, const char *name)
{
	return setting_in(truth_now(c), name);
}

enum server_state cluster_state_of(struct cluster *c, const struct sim_server *s)
{
	const struct server_row *row = row_of(truth_now(c), s);

	return row ? row->state : SERVER_DOWN;
}

size_t cluster_resumed(struct cluster *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n_servers; i++)
		n += c->servers[i]->server ? (size_t)c->servers[i]->server->n_resumed : 0;
	return n;
}

size_t cluster_put_off(struct cluster *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n_servers; i++)
		n += c->servers[i]->server ? (size_t)c->servers[i]->server->n_put_off : 0;
	return n;
}

size_t cluster_with_status(struct cluster *c, enum host_status status)
{
	const struct truth *t = truth_now(c);
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++)
		n += t->hosts[i].status == status;
	return n;
}
