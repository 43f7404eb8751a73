/*
 * Plan: order every host's list, count, and let servers fail on paper.
 *
 * A failure is computed as the agents would live it: each host goes to the first server of its list that has not
 * failed. For one failed server the second entries decide, for two the third ones, so the hosts are counted once by
 * their first entries and no failure walks over them again: 100,000 hosts cost the same as 100 from there on.
 *
 * Nothing here chooses: what a host gets is the algorithm's rule, applied to the slots as they are.
 */
#include "core/plan.h"

#include <stdlib.h>

#include "base/mem.h"
#include "core/server_list.h"

#define NO_SERVER SIZE_MAX

void plan_deinit(struct plan *p)
{
	for (size_t i = 0; i < p->n_servers; i++) {
		mem_free(p->servers[i].name);
		mem_free(p->servers[i].zone);
	}
	for (size_t i = 0; i < p->n_hosts; i++) {
		mem_free(p->hosts[i].name);
		mem_free(p->hosts[i].zone);
		str_list_deinit(&p->hosts[i].before);
		str_list_deinit(&p->hosts[i].after);
	}
	mem_free(p->servers);
	mem_free(p->hosts);
	str_list_deinit(&p->worst_single.servers);
	str_list_deinit(&p->worst_double.servers);
	map_deinit(&p->zones);
	*p = (struct plan){0};
}

/* Room for one more of `n`: arrays grow when n is a power of two, so that no capacity has to be kept. */
static bool make_room(void **items, size_t n, size_t size)
{
	void *grown;

	if (n & (n - 1))
		return true;
	grown = mem_grow_array(*items, n ? n * 2 : 1, size);
	if (!grown)
		return false;
	*items = grown;
	return true;
}

enum err plan_add_server(struct plan *p, const char *name, int64_t weight, const char *zone)
{
	struct plan_server s = {.weight = weight};

	if (str_is_blank(name) || weight < 0)
		return ERR_INVALID;
	if (p->n_servers == SERVER_LIST_MAX)
		return ERR_FULL;
	for (size_t i = 0; i < p->n_servers; i++) {
		if (str_equal(p->servers[i].name, name))
			return ERR_DUPLICATE;
	}
	if (!make_room((void **)&p->servers, p->n_servers, sizeof(s)))
		return ERR_NOMEM;
	s.name = mem_strdup(name);
	s.zone = mem_strdup(zone);
	p->servers[p->n_servers++] = s; /* from here on plan_deinit() frees what there is of it */
	return s.name && (s.zone || !zone) ? ERR_OK : ERR_NOMEM;
}

static enum err zone_count_host(struct plan *p, const char *zone, uint64_t *slot)
{
	uintptr_t n;

	if (!p->zones.cap)
		map_init_text(&p->zones, 0); /* lives as long as one plan: nobody can learn what collides */
	n = (uintptr_t)map_get(&p->zones, zone ? zone : "");
	*slot = n;
	return map_put(&p->zones, zone ? zone : "", (void *)(n + 1));
}

enum err plan_add_host(struct plan *p, uint64_t id, const char *name, const char *zone, const struct str_list *list)
{
	struct plan_host h = {.id = id};
	enum err e = zone_count_host(p, zone, &h.slot);

	if (e)
		return e;
	if (!make_room((void **)&p->hosts, p->n_hosts, sizeof(h)))
		return ERR_NOMEM;
	h.name = mem_strdup(name);
	h.zone = mem_strdup(zone);
	p->hosts[p->n_hosts++] = h;
	if ((name && !h.name) || (zone && !h.zone))
		return ERR_NOMEM;
	return list ? str_list_copy(&p->hosts[p->n_hosts - 1].before, list) : ERR_OK;
}

/* What plan_compute() needs meanwhile. */
struct work {
	size_t n; /* servers */
	struct str_list names;
	struct map index;  /* name to place + 1 */
	uint64_t *next;    /* [first * n + second]: hosts whose list begins so */
	uint32_t *triples; /* one a host, sorted: see triple_of(); NULL with fewer than 3 servers */
	size_t n_triples;
	uint64_t *load; /* [server], of the failure that is looked at */
};

static void work_deinit(struct work *w)
{
	str_list_deinit(&w->names);
	map_deinit(&w->index);
	mem_free(w->next);
	mem_free(w->triples);
	mem_free(w->load);
}

static enum err work_init(struct work *w, const struct plan *p)
{
	enum err e;

	map_init_text(&w->index, 0);
	w->n = p->n_servers;
	for (size_t i = 0; i < w->n; i++) {
		if ((e = str_list_add(&w->names, p->servers[i].name)) ||
		    (e = map_put(&w->index, p->servers[i].name, (void *)(uintptr_t)(i + 1))))
			return e;
	}
	w->load = mem_zalloc_array(w->n, sizeof(*w->load));
	w->next = mem_zalloc_array(w->n * w->n, sizeof(*w->next));
	if (!w->load || !w->next)
		return ERR_NOMEM;
	if (w->n < 3 || !p->n_hosts)
		return ERR_OK;
	w->triples = mem_zalloc_array(p->n_hosts, sizeof(*w->triples));
	return w->triples ? ERR_OK : ERR_NOMEM;
}

/* The place of a list's i-th entry among the servers. */
static size_t server_at(const struct work *w, const struct str_list *list, size_t i)
{
	uintptr_t place = i < list->n ? (uintptr_t)map_get(&w->index, list->items[i]) : 0;

	return place ? place - 1 : NO_SERVER;
}

/* Does the list name each server once? Then its order was drawn before and shuffle keeps it. */
static bool is_right_set(const struct work *w, const struct str_list *list)
{
	bool seen[SERVER_LIST_MAX] = {false};

	if (list->n != w->n)
		return false;
	for (size_t i = 0; i < list->n; i++) {
		size_t server = server_at(w, list, i);

		if (server == NO_SERVER || seen[server])
			return false;
		seen[server] = true;
	}
	return true;
}

static enum err host_order(const struct plan *p, const struct work *w, struct plan_host *h, struct rng *rng)
{
	if (p->algorithm == ALGORITHM_SHUFFLE && p->same_algorithm && is_right_set(w, &h->before))
		return str_list_copy(&h->after, &h->before);
	return algorithm_order(&h->after, p->algorithm, &w->names, h->slot, rng);
}

/*
 * Three numbers in one that sorts by the pair of servers whose failure it is about: when the first two entries of a
 * list fail, in whatever order they stand there, the host goes to the third.
 */
static uint32_t triple_of(size_t n, size_t first, size_t second, size_t third)
{
	size_t low = first < second ? first : second;
	size_t high = first < second ? second : first;

	return (uint32_t)((low * n + high) * n + third);
}

static int triple_compare(const void *a, const void *b)
{
	const uint32_t *left = a, *right = b;

	return *left < *right ? -1 : *left > *right;
}

static void host_count(struct plan *p, struct work *w, const struct plan_host *h)
{
	size_t before = server_at(w, &h->before, 0);
	size_t first = server_at(w, &h->after, 0);
	size_t second = server_at(w, &h->after, 1);

	if (before != NO_SERVER)
		p->servers[before].before++;
	p->servers[first].after++;
	/* A host without a list is new: it is placed, not moved. */
	p->moves += h->before.n && before != first;
	if (second != NO_SERVER)
		w->next[first * w->n + second]++;
	if (w->triples)
		w->triples[w->n_triples++] = triple_of(w->n, first, second, server_at(w, &h->after, 2));
}

static int count_compare_down(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return *left > *right ? -1 : *left < *right;
}

/*
 * A host that stays fills one of its server's places, and a server has as many places as the plan puts hosts on it:
 * at most min(before, after) can stay. static says which server has which load; with the others it does not matter
 * who has one more, so the most loaded server keeps the largest share (pairing large with large makes the sum of the
 * minima as large as it can be).
 */
static uint64_t minimum_moves(const struct plan *p)
{
	uint64_t before[SERVER_LIST_MAX], after[SERVER_LIST_MAX];
	uint64_t n_placed = 0, n_stay = 0;

	for (size_t i = 0; i < p->n_hosts; i++)
		n_placed += p->hosts[i].before.n > 0;
	for (size_t i = 0; i < p->n_servers; i++) {
		before[i] = p->servers[i].before;
		after[i] = p->servers[i].after;
	}
	if (p->algorithm != ALGORITHM_STATIC) {
		qsort(before, p->n_servers, sizeof(before[0]), count_compare_down);
		qsort(after, p->n_servers, sizeof(after[0]), count_compare_down);
	}
	for (size_t i = 0; i < p->n_servers; i++)
		n_stay += before[i] < after[i] ? before[i] : after[i];
	return n_placed - n_stay;
}

/* Which failure is the worst: the one that loads a survivor most; among those, the one that leaves another idlest. */
struct worst {
	size_t failed[2];
	uint64_t min, max;
	bool is_set;
};

static void worst_consider(struct worst *worst, const struct work *w, size_t a, size_t b)
{
	uint64_t min = UINT64_MAX, max = 0;

	for (size_t i = 0; i < w->n; i++) {
		if (i == a || i == b)
			continue;
		min = w->load[i] < min ? w->load[i] : min;
		max = w->load[i] > max ? w->load[i] : max;
	}
	if (worst->is_set && (max < worst->max || (max == worst->max && min >= worst->min)))
		return;
	*worst = (struct worst){.failed = {a, b}, .min = min, .max = max, .is_set = true};
}

static void find_worst_single(struct worst *worst, const struct plan *p, struct work *w)
{
	for (size_t a = 0; a < w->n; a++) {
		for (size_t i = 0; i < w->n; i++)
			w->load[i] = p->servers[i].after + w->next[a * w->n + i];
		worst_consider(worst, w, a, NO_SERVER);
	}
}

static void find_worst_double(struct worst *worst, const struct plan *p, struct work *w)
{
	size_t at = 0;

	for (size_t a = 0; a < w->n; a++) {
		for (size_t b = a + 1; b < w->n; b++) {
			uint32_t first_triple = triple_of(w->n, a, b, 0);

			for (size_t i = 0; i < w->n; i++)
				w->load[i] = p->servers[i].after + w->next[a * w->n + i] + w->next[b * w->n + i];
			/* The pairs come in the order of the triples, so one walk serves them all. */
			for (; at < w->n_triples && w->triples[at] - first_triple < w->n; at++)
				w->load[w->triples[at] - first_triple]++;
			worst_consider(worst, w, a, b);
		}
	}
}

static enum err failure_set(struct plan_failure *out, const struct plan *p, const struct worst *worst)
{
	enum err e;

	str_list_deinit(&out->servers);
	*out = (struct plan_failure){.min = worst->min, .max = worst->max};
	for (size_t i = 0; worst->is_set && i < ARRAY_SIZE(worst->failed); i++) {
		if (worst->failed[i] == NO_SERVER)
			continue;
		if ((e = str_list_add(&out->servers, p->servers[worst->failed[i]].name)))
			return e;
	}
	return ERR_OK;
}

static enum err find_failures(struct plan *p, struct work *w)
{
	struct worst single = {0}, both = {0};
	enum err e;

	if (w->n >= 2)
		find_worst_single(&single, p, w);
	if (w->n >= 3) {
		if (w->n_triples)
			qsort(w->triples, w->n_triples, sizeof(*w->triples), triple_compare);
		find_worst_double(&both, p, w);
	}
	if ((e = failure_set(&p->worst_single, p, &single)))
		return e;
	return failure_set(&p->worst_double, p, &both);
}

enum err plan_compute(struct plan *p, struct rng *rng, struct why *why)
{
	CLEAN(work_deinit) struct work w = {0};
	enum err e;

	if (!p->n_servers) {
		why_set(why, "there is no server to place hosts on");
		return ERR_INVALID;
	}
	if ((e = work_init(&w, p)))
		return e;
	p->moves = 0;
	for (size_t i = 0; i < p->n_servers; i++)
		p->servers[i].before = p->servers[i].after = 0;
	for (size_t i = 0; i < p->n_hosts; i++) {
		if ((e = host_order(p, &w, &p->hosts[i], rng)))
			return e;
		host_count(p, &w, &p->hosts[i]);
	}
	p->minimum_moves = minimum_moves(p);
	return find_failures(p, &w);
}
