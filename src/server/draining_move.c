/*
 * A drain asks one agent to move.
 *
 * A muster agent is told whom to avoid and tries all others in the order of its list. A CloudStack agent tries only the
 * first candidate that its avoid list leaves (agent-protocol 4.1.7), so that list leaves exactly one: the first server
 * of its list that takes agents, the next time the one after it, and so on. Without that one dead server in front of
 * its list would keep it here for ever.
 */
#include "server/api.h"
#include "server/draining.h"

#define ANSWER_MS 15000

struct asked {
	struct server *server;
	int64_t host_id, attachment;
};

/* ---- who takes agents ---- */

static bool is_there(const struct server *s, const struct member_server *m)
{
	return m->row.msid != s->msid && m->row.state == SERVER_UP && m->member.view != MEMBER_DOWN;
}

static bool takes_agents(const struct server *s, const struct member_server *m)
{
	return is_there(s, m) && !server_says_no(s, m, world_now(s->world));
}

typedef bool which_fn(const struct server *s, const struct member_server *m);

static bool has_another(const struct server *s, which_fn *is_one)
{
	list_for (m, (struct list *)(uintptr_t)&s->servers, struct member_server, in_servers)
		if (is_one(s, m))
			return true;
	return false;
}

bool draining_others_accept(const struct server *s)
{
	return has_another(s, takes_agents);
}

bool draining_others_are_there(const struct server *s)
{
	return has_another(s, is_there);
}

static bool leads_to(struct server *s, const struct host_row *row, const char *entry, which_fn *is_one)
{
	list_for (m, &s->servers, struct member_server, in_servers)
		if (is_one(s, m) && host_entry_is(s, row, entry, &m->row))
			return true;
	return false;
}

/* Lists come from agents: no more of one is looked at than a list may have. */
static size_t length_of(const struct str_list *list)
{
	return list->n < SERVER_LIST_MAX ? list->n : SERVER_LIST_MAX;
}

/* Whom to choose from: those that take agents; where the list has none, those that are there at least. */
static which_fn *choice_in(struct server *s, const struct host_row *row, const struct str_list *list)
{
	for (size_t i = 0; i < length_of(list); i++)
		if (leads_to(s, row, list->items[i], takes_agents))
			return takes_agents;
	return is_there;
}

const char *draining_entry_for(struct server *s, const struct host_row *row, const struct str_list *list)
{
	which_fn *is_one = choice_in(s, row, list);

	for (size_t i = 0; i < length_of(list); i++)
		if (leads_to(s, row, list->items[i], is_one))
			return list->items[i];
	return NULL;
}

/* ---- what it is told ---- */

static enum err add_missing(struct str_list *l, const char *entry)
{
	return str_list_has(l, entry) ? ERR_OK : str_list_add(l, entry);
}

/* The list that the agent has, or is sent with this command. */
static enum err list_of(struct draining *d, const struct host *h, struct str_list *out)
{
	struct server *s = d->server;
	CLEAN(mem_freep) char *algorithm = NULL;

	if (d->has_algorithm)
		return lists_for_host_by(s, &h->row, d->algorithm, out);
	if (h->session->reported && server_list_parse_reported(out, &algorithm, h->session->reported))
		return ERR_NOMEM;
	return out->n ? ERR_OK : lists_for_host(s, &h->row, out);
}

/* All that are not Up, and this server, which may have been told to stop before its state is known everywhere. */
static enum err avoid_for_muster(struct server *s, const struct host *h, struct str_list *avoid)
{
	const struct member_server *own = roster_server(s, s->msid);
	const struct str_list *servers = lists_servers(s);
	enum err e = lists_avoid(s, &h->row, avoid);

	for (size_t i = 0; own && i < servers->n && !e; i++)
		if (lists_entry_is(s, servers->items[i], &own->row) &&
		    !leads_to(s, &h->row, servers->items[i], is_there))
			e = add_missing(avoid, servers->items[i]);
	return e;
}

/* The n-th server of its list that takes agents, counted round and round. */
static const char *target_of(struct server *s, const struct host *h, const struct str_list *list, unsigned n)
{
	which_fn *is_one = choice_in(s, &h->row, list);
	const char *first = NULL;
	unsigned at = 0;

	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = 0; i < length_of(list); i++) {
			if (!leads_to(s, &h->row, list->items[i], is_one))
				continue;
			first = first ? first : list->items[i];
			if (at++ == n)
				return list->items[i];
		}
		if (!at)
			return NULL;
		n %= at;
		at = 0;
	}
	return first;
}

static enum err avoid_for_cloudstack(struct draining *d, const struct host *h, const struct str_list *list,
				     struct str_list *avoid, struct why *why)
{
	struct server *s = d->server;
	unsigned n_asked = drain_n_asked(d->drain, (uint64_t)h->row.id);
	const char *target = target_of(s, h, list, n_asked ? n_asked - 1 : 0);
	enum err e = ERR_OK;

	if (!target) {
		why_set(why, "no server of its list takes agents now");
		return ERR_NOT_FOUND;
	}
	for (size_t i = 0; i < list->n && !e; i++)
		if (!str_equal(list->items[i], target))
			e = add_missing(avoid, list->items[i]);
	return e;
}

static enum err put_migrate(struct draining *d, const struct host *h, struct msg_migrate *m, struct why *why)
{
	struct server *s = d->server;
	struct str_list list = {0}, avoid = {0};
	enum err e = list_of(d, h, &list);

	if (!e)
		e = h->row.is_muster ? avoid_for_muster(s, h, &avoid) : avoid_for_cloudstack(d, h, &list, &avoid, why);
	if (!e)
		e = msg_set_texts(&m->avoidMsList, &avoid);
	if (!e && d->has_algorithm)
		e = msg_set_texts(&m->msList, &list);
	if (!e && d->has_algorithm)
		e = msg_set_text(&m->lbAlgorithm, algorithm_name(d->algorithm));
	msg_set_i64(&m->lbCheckInterval, lists_interval_for(s, &h->row));
	str_list_deinit(&list);
	str_list_deinit(&avoid);
	return e;
}

/* ---- what it says ---- */

static void answered(void *user, enum err result, const char *sentence, const struct batch *answers)
{
	struct asked *a = user;
	struct server *s = a->server;
	struct draining *d = s->draining;
	struct host *h = roster_host(s, a->host_id);
	bool is_here = h && h->session && h->session->attachment == a->attachment;
	const char *details = answers && answers->n ? element_details(&answers->elements[0]) : NULL;

	mem_free(a);
	if (!d || !d->drain || !is_here)
		return; /* its link is gone: that is heard elsewhere */
	if (result && result != ERR_TIMEOUT)
		return;
	if (!result && answers && answers->n && element_result(&answers->elements[0]))
		return; /* on its way; moved is who is up elsewhere */
	if (!result)
		log_info(s->log, "an agent refused to move, it is asked again", KV_I("host", h->row.id),
			 KV_S("reason", details ? details : "no reason given"));
	drain_refused(d->drain, (uint64_t)h->row.id, result ? result : ERR_REFUSED,
		      result    ? sentence
		      : details ? details
				: "it refused to move and gave no reason",
		      world_now(s->world), &s->world->rng);
	draining_soon(s);
}

static enum err send(struct draining *d, struct host *h, struct why *why)
{
	struct asked *a = mem_zalloc(sizeof(*a));
	struct batch b = {0};
	struct msg_migrate *m = batch_add(&b, MSG_MIGRATE);
	struct request_params p = {.wait_ms = ANSWER_MS, .this_link_only = true, .done = answered, .user = a};
	enum err e = a && m ? put_migrate(d, h, m, why) : ERR_NOMEM;

	if (!e) {
		*a = (struct asked){.server = d->server, .host_id = h->row.id, .attachment = h->session->attachment};
		e = request_to_host(d->server, h, &b, &p);
	}
	if (e)
		mem_free(a);
	batch_deinit(&b);
	return e;
}

void draining_ask(struct draining *d, uint64_t host_id)
{
	struct server *s = d->server;
	struct host *h = roster_host(s, (int64_t)host_id);
	struct mono now = world_now(s->world);
	struct why why = WHY_NONE;
	enum err e;

	if (!h) {
		drain_forget(d->drain, host_id);
		return;
	}
	if (!h->session) {
		drain_vanished(d->drain, host_id, now);
		return;
	}
	if (h->session->state == SESSION_READY) {
		e = send(d, h, &why);
	} else {
		why_set(&why, "it is not ready yet");
		e = ERR_BUSY;
	}
	if (e)
		drain_refused(d->drain, host_id, e, why_text(&why, e), now, &s->world->rng);
}
