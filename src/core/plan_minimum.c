/*
 * How few moves would do (docs/placement.md, "Plan" 3).
 *
 * A host that stays fills one of its server's places, and a server has as many places as the plan puts hosts on it: at
 * most min(before, after) can stay. Servers that are the same to the algorithm may exchange their loads, so the most
 * loaded of them keeps the largest share: pairing large with large makes the sum of the minima as large as it can be.
 *
 * Under balanced that is counted in each group of hosts (Balanced 1), and servers are the same if their weights are;
 * under static each server is like no other, under the rest all are alike. Whoever is pinned fills a place that nobody
 * else can have, and moves if it isn't there.
 */
#include "core/plan_private.h"

#include <stdlib.h>

#include "base/mem.h"

struct tally {
	uint64_t before[SERVER_LIST_MAX]; /* hosts of the group there, the pinned ones where they are pinned to */
	uint64_t after[SERVER_LIST_MAX];
	uint64_t n_pinned; /* hosts */
	uint64_t n_placed; /* hosts with a list that aren't pinned */
	bool is_local[SERVER_LIST_MAX];
	bool is_used;
};

struct count {
	const struct plan *p;
	struct map index;  /* server's name to place + 1 */
	struct map groups; /* zone to group + 1; 0: the group of all others */
	struct tally *tallies;
	size_t n_groups;
	bool has_weights;
};

static void count_deinit(struct count *c)
{
	map_deinit(&c->index);
	map_deinit(&c->groups);
	mem_free(c->tallies);
}

static bool has_share(const struct count *c, const struct plan_server *s)
{
	return plan_weight(s) || !c->has_weights;
}

static enum err groups_make(struct count *c)
{
	const struct plan *p = c->p;

	for (size_t i = 0; i < p->n_servers; i++)
		c->has_weights = c->has_weights || plan_weight(&p->servers[i]);
	c->n_groups = 1;
	for (size_t i = 0; p->algorithm == ALGORITHM_BALANCED && i < p->n_servers; i++) {
		const struct plan_server *s = &p->servers[i];
		enum err e;

		if (!s->zone || !has_share(c, s) || map_get(&c->groups, s->zone))
			continue;
		if ((e = map_put(&c->groups, s->zone, (void *)(uintptr_t)c->n_groups)))
			return e;
		c->n_groups++;
	}
	return ERR_OK;
}

static enum err count_init(struct count *c, const struct plan *p)
{
	enum err e = ERR_OK;

	c->p = p;
	map_init_text(&c->index, 0);
	map_init_text(&c->groups, 0);
	for (size_t i = 0; !e && i < p->n_servers; i++)
		e = map_put(&c->index, p->servers[i].name, (void *)(uintptr_t)(i + 1));
	if (!e)
		e = groups_make(c);
	if (e)
		return e;
	c->tallies = mem_zalloc_array(c->n_groups, sizeof(*c->tallies));
	return c->tallies ? ERR_OK : ERR_NOMEM;
}

static size_t group_of(const struct count *c, const char *zone)
{
	return zone ? (uintptr_t)map_get(&c->groups, zone) : 0;
}

static void host_count(struct count *c, const struct plan_host *h, uint64_t *n_moves)
{
	struct tally *t = &c->tallies[group_of(c, h->zone)];
	uintptr_t before = h->before.n ? (uintptr_t)map_get(&c->index, h->before.items[0]) : 0;
	uintptr_t after = (uintptr_t)map_get(&c->index, h->after.items[0]);

	t->is_used = true;
	t->after[after - 1]++;
	if (plan_pin(c->p, h)) {
		t->before[after - 1]++;
		t->n_pinned++;
		*n_moves += h->before.n && before != after;
		return;
	}
	if (before)
		t->before[before - 1]++;
	t->n_placed += h->before.n > 0;
}

/* May these servers exchange what is on them? */
static bool are_alike(const struct count *c, const struct tally *t, size_t a, size_t b)
{
	const struct plan *p = c->p;

	if (p->algorithm == ALGORITHM_STATIC)
		return a == b;
	if (p->algorithm != ALGORITHM_BALANCED)
		return true;
	return t->is_local[a] == t->is_local[b] &&
	       (!c->has_weights || plan_weight(&p->servers[a]) == plan_weight(&p->servers[b]));
}

static int compare_down(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return *left > *right ? -1 : *left < *right;
}

/* Of the servers that are like `like`, which is the first of them. */
static uint64_t stay_on(const struct count *c, const struct tally *t, size_t like, bool *is_counted)
{
	uint64_t before[SERVER_LIST_MAX], after[SERVER_LIST_MAX], n_stay = 0;
	size_t n = 0;

	for (size_t i = like; i < c->p->n_servers; i++) {
		if (!are_alike(c, t, like, i))
			continue;
		is_counted[i] = true;
		before[n] = t->before[i];
		after[n++] = t->after[i];
	}
	qsort(before, n, sizeof(before[0]), compare_down); /* cppcheck-suppress uninitvar */
	qsort(after, n, sizeof(after[0]), compare_down);   /* cppcheck-suppress uninitvar */
	for (size_t i = 0; i < n; i++)
		n_stay += before[i] < after[i] ? before[i] : after[i];
	return n_stay;
}

static uint64_t group_moves(const struct count *c, const struct tally *t)
{
	bool is_counted[SERVER_LIST_MAX] = {false};
	uint64_t n_stay = 0;

	for (size_t i = 0; i < c->p->n_servers; i++)
		n_stay += is_counted[i] ? 0 : stay_on(c, t, i, is_counted);
	return t->n_placed - (n_stay - t->n_pinned);
}

enum err plan_count_minimum(struct plan *p)
{
	CLEAN(count_deinit) struct count c = {0};
	enum err e = count_init(&c, p);

	if (e)
		return e;
	p->minimum_moves = 0;
	for (size_t k = 0; k < c.n_groups; k++) {
		for (size_t i = 0; i < p->n_servers; i++)
			c.tallies[k].is_local[i] =
				has_share(&c, &p->servers[i]) && (k == 0 || group_of(&c, p->servers[i].zone) == k);
	}
	for (size_t i = 0; i < p->n_hosts; i++) {
		if (!p->hosts[i].is_gone)
			host_count(&c, &p->hosts[i], &p->minimum_moves);
	}
	for (size_t k = 0; k < c.n_groups; k++) {
		if (c.tallies[k].is_used)
			p->minimum_moves += group_moves(&c, &c.tallies[k]);
	}
	return ERR_OK;
}
