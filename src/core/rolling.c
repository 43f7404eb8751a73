/*
 * The walk through a rolling restart. Numbers in comments are those of docs/placement.md, "Rolling restart".
 */
#include "core/rolling.h"

#include <string.h>

#include "base/mem.h"
#include "core/plan_private.h"

static uint16_t find(const struct plan *p, const char *name)
{
	for (size_t i = 0; name && i < p->n_servers; i++) {
		if (str_equal(p->servers[i].name, name))
			return (uint16_t)i;
	}
	return BALANCED_NONE;
}

static void map_places(struct rolling *r)
{
	for (size_t i = 0; i < r->n_servers; i++) {
		r->place[i] = balanced_find_server(r->placement, r->plan->servers[i].name);
		if (r->place[i] != BALANCED_NONE)
			r->server_at[r->place[i]] = (uint16_t)i;
	}
}

/* The first server of its list, or the first but one: BALANCED_NONE: there is none. */
static uint16_t first_but(const struct rolling *r, size_t host, uint16_t but)
{
	const struct plan_host *h = &r->plan->hosts[host];
	uint16_t list[SERVER_LIST_MAX];
	struct balanced_host placed;
	size_t n;

	if (!r->placement) {
		for (size_t i = 0; i < h->before.n; i++) {
			uint16_t s = find(r->plan, h->before.items[i]);

			if (s != but && s != BALANCED_NONE)
				return s;
		}
		return BALANCED_NONE;
	}
	/* Nearly always; the whole list takes longer. */
	if (balanced_get_host(r->placement, h->id, &placed) && placed.entries[BALANCED_FIRST] != BALANCED_NONE &&
	    r->server_at[placed.entries[BALANCED_FIRST]] != but)
		return r->server_at[placed.entries[BALANCED_FIRST]];
	n = balanced_list(r->placement, h->id, list);
	for (size_t i = 0; i < n; i++) {
		if (r->server_at[list[i]] != but)
			return r->server_at[list[i]];
	}
	return BALANCED_NONE;
}

enum err rolling_init(struct rolling *r, const struct plan *p, struct why *why)
{
	enum err e = ERR_OK;

	*r = (struct rolling){.plan = p, .n_servers = p->n_servers};
	if (p->n_servers < 2) {
		why_set(why, "there is no other server to take the agents");
		return ERR_INVALID;
	}
	r->at = mem_zalloc_array(p->n_hosts + 1, sizeof(*r->at));
	if (!r->at)
		return ERR_NOMEM;
	if (p->algorithm == ALGORITHM_BALANCED)
		e = plan_load_balanced(&r->placement, p, why);
	if (e == ERR_DAMAGED) {
		why_add(why, "the hosts' lists are no placement");
		e = ERR_INVALID;
	}
	if (e) {
		rolling_deinit(r);
		return e;
	}
	if (r->placement)
		map_places(r);
	for (size_t i = 0; i < p->n_hosts; i++)
		r->at[i] = p->knows_on ? find(p, p->hosts[i].on) : first_but(r, i, BALANCED_NONE);
	return ERR_OK;
}

void rolling_deinit(struct rolling *r)
{
	mem_free(r->at);
	balanced_free(r->placement);
	*r = (struct rolling){0};
}

/* ---- the order ---- */

struct rank {
	size_t zone; /* place of the first server in that zone */
	uint64_t load;
	bool is_asked, is_last_zone, is_idle;
};

static size_t first_in_zone(const struct plan *p, size_t server)
{
	for (size_t i = 0; i < server; i++) {
		if (str_equal(p->servers[i].zone, p->servers[server].zone) ||
		    (!p->servers[i].zone && !p->servers[server].zone))
			return i;
	}
	return server;
}

static bool is_before(const struct rank *a, const struct rank *b)
{
	/* Whom nobody prefers makes no difference to the others; in between it would cost a round of its own. */
	if (a->is_idle != b->is_idle)
		return a->is_idle;
	if (a->is_last_zone != b->is_last_zone)
		return b->is_last_zone;
	if (a->zone != b->zone)
		return a->zone < b->zone;
	if (a->is_asked != b->is_asked)
		return b->is_asked;
	return a->load < b->load;
}

void rolling_order(const struct rolling *r, size_t asked, size_t out[SERVER_LIST_MAX])
{
	struct rank ranks[SERVER_LIST_MAX] = {0};
	size_t asked_zone = asked == ROLLING_NOBODY ? ROLLING_NOBODY : first_in_zone(r->plan, asked);

	for (size_t i = 0; i < r->plan->n_hosts; i++) {
		uint16_t home = first_but(r, i, BALANCED_NONE);

		if (home != BALANCED_NONE)
			ranks[home].load++;
	}
	for (size_t i = 0; i < r->n_servers; i++) {
		size_t at = i;

		ranks[i].zone = first_in_zone(r->plan, i);
		ranks[i].is_asked = i == asked;
		ranks[i].is_last_zone = ranks[i].zone == asked_zone;
		ranks[i].is_idle = !ranks[i].load && i != asked;
		/* Equals stay in the order of the list. */
		for (; at > 0 && is_before(&ranks[i], &ranks[out[at - 1]]); at--)
			out[at] = out[at - 1];
		out[at] = i;
	}
}

/* ---- steps ---- */

enum err rolling_rest(struct rolling *r, size_t server)
{
	struct balanced_server servers[SERVER_LIST_MAX];
	struct why why = WHY_NONE;
	bool changed;
	enum err e;

	if (!r->placement)
		return ERR_OK;
	for (size_t i = 0; i < r->n_servers; i++) {
		const struct plan_server *s = &r->plan->servers[i];

		servers[i] = (struct balanced_server){
			.name = s->name, .weight = i == server ? 0 : (uint32_t)s->weight, .zone = s->zone};
	}
	e = balanced_set_servers(r->placement, servers, r->n_servers, &changed, &why);
	if (!e)
		map_places(r);
	return e;
}

size_t rolling_empty(struct rolling *r, size_t server)
{
	size_t n = 0;

	for (size_t i = 0; i < r->plan->n_hosts; i++) {
		uint16_t to = r->at[i] == server ? first_but(r, i, (uint16_t)server) : BALANCED_NONE;

		if (to == BALANCED_NONE)
			continue;
		r->at[i] = to;
		n++;
	}
	return n;
}

size_t rolling_home(struct rolling *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->plan->n_hosts; i++) {
		uint16_t to = r->at[i] == BALANCED_NONE ? BALANCED_NONE : first_but(r, i, BALANCED_NONE);

		if (to == BALANCED_NONE || to == r->at[i])
			continue;
		r->at[i] = to;
		n++;
	}
	return n;
}

void rolling_count(const struct rolling *r, uint64_t on[SERVER_LIST_MAX])
{
	memset(on, 0, SERVER_LIST_MAX * sizeof(on[0]));
	for (size_t i = 0; i < r->plan->n_hosts; i++) {
		if (r->at[i] != BALANCED_NONE)
			on[r->at[i]]++;
	}
}

/* ---- all of it ---- */

static enum err walk(struct rolling_plan *out, struct rolling *r, const size_t *order)
{
	enum err e = ERR_OK;

	out->hands_over = r->placement != NULL;
	out->n_steps = r->n_servers;
	for (size_t i = 0; i < out->n_steps && !e; i++) {
		struct rolling_step *s = &out->steps[i];

		s->server = order[i];
		e = rolling_rest(r, s->server);
		s->moves = rolling_empty(r, s->server);
		rolling_count(r, s->on);
		s->back = out->hands_over ? 0 : rolling_home(r);
		out->moves += s->moves + s->back;
	}
	if (!e)
		e = rolling_rest(r, ROLLING_NOBODY);
	out->home = rolling_home(r);
	out->moves += out->home;
	rolling_count(r, out->on);
	return e;
}

enum err rolling_plan(struct rolling_plan *out, const struct plan *p, size_t asked, struct why *why)
{
	struct rolling_plan plan = {0};
	size_t order[SERVER_LIST_MAX];
	struct rolling r;
	enum err e = rolling_init(&r, p, why);

	if (e)
		return e;
	plan.steps = mem_zalloc_array(p->n_servers, sizeof(*plan.steps));
	if (plan.steps) {
		rolling_order(&r, asked, order);
		for (size_t i = 0; i < p->n_hosts; i++)
			plan.plain += r.at[i] != BALANCED_NONE ? 2 : 0;
		e = walk(&plan, &r, order);
	} else {
		e = ERR_NOMEM;
	}
	rolling_deinit(&r);
	if (e)
		rolling_plan_deinit(&plan);
	else
		*out = plan;
	return e;
}

void rolling_plan_deinit(struct rolling_plan *r)
{
	mem_free(r->steps);
	*r = (struct rolling_plan){0};
}
