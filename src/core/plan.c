/*
 * Plan: order every host's list, count, and let servers fail on paper.
 *
 * A failure is computed as the agents would live it: each host goes to the first server of its list that has not
 * failed. For one failed server the second entries decide, for two the third ones, so the hosts are counted once by
 * their first entries and no failure walks over them again: 100,000 hosts cost the same as 100 from there on.
 *
 * Nothing here chooses: what a host gets is the algorithm's rule, applied to what is there.
 */
#include "core/plan_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/balanced.h"

#define NO_SERVER SIZE_MAX

static void server_deinit(struct plan_server *s)
{
	mem_free(s->name);
	mem_free(s->zone);
	mem_free(s->server);
	*s = (struct plan_server){0};
}

static void host_deinit(struct plan_host *h)
{
	mem_free(h->name);
	mem_free(h->zone);
	mem_free(h->pin);
	mem_free(h->away);
	mem_free(h->away_after);
	mem_free(h->on);
	str_list_deinit(&h->before);
	str_list_deinit(&h->confirmed);
	str_list_deinit(&h->after);
}

static void was_deinit(struct plan *p)
{
	for (size_t i = 0; i < p->n_was; i++)
		server_deinit(&p->was[i]);
	p->was = mem_free(p->was);
	p->n_was = 0;
	p->has_was = false;
}

void plan_deinit(struct plan *p)
{
	plan_remove_servers(p);
	was_deinit(p);
	for (size_t i = 0; i < p->n_hosts; i++)
		host_deinit(&p->hosts[i]);
	mem_free(p->servers);
	mem_free(p->hosts);
	str_list_deinit(&p->worst_single.servers);
	str_list_deinit(&p->worst_double.servers);
	map_deinit(&p->zones);
	*p = (struct plan){0};
}

/* Room for one more of `n`. */
static bool make_room(void **items, size_t n, size_t *cap, size_t size)
{
	size_t more = *cap ? *cap * 2 : 4;
	void *grown;

	if (n < *cap)
		return true;
	grown = mem_grow_array(*items, more, size);
	if (!grown)
		return false;
	*items = grown;
	*cap = more;
	return true;
}

/* ---- servers ---- */

struct plan_server *plan_find_server(const struct plan *p, const char *name)
{
	for (size_t i = 0; i < p->n_servers; i++) {
		if (str_equal(p->servers[i].name, name))
			return &p->servers[i];
	}
	return NULL;
}

struct plan_server *plan_find_called(const struct plan *p, const char *word)
{
	struct plan_server *found = plan_find_server(p, word);
	size_t n = 0;

	for (size_t i = 0; !found && i < p->n_servers; i++)
		found = server_entry_same(p->servers[i].name, word, SERVER_LIST_PORT) ? &p->servers[i] : NULL;
	if (found)
		return found;
	for (size_t i = 0; i < p->n_servers; i++) {
		if (!str_equal(p->servers[i].server, word))
			continue;
		found = &p->servers[i];
		n++;
	}
	return n == 1 ? found : NULL;
}

static enum err server_init(struct plan_server *s, const char *name, int64_t weight, const char *zone)
{
	*s = (struct plan_server){.weight = weight};
	s->name = mem_strdup(name);
	s->zone = str_is_blank(zone) ? NULL : mem_strdup(zone);
	return s->name && (s->zone || str_is_blank(zone)) ? ERR_OK : ERR_NOMEM;
}

enum err plan_add_server(struct plan *p, const char *name, int64_t weight, const char *zone)
{
	if (str_is_blank(name) || weight < 0 || weight > BALANCED_WEIGHT_MAX)
		return ERR_INVALID;
	if (p->n_servers == SERVER_LIST_MAX)
		return ERR_FULL;
	if (plan_find_server(p, name))
		return ERR_DUPLICATE;
	if (!make_room((void **)&p->servers, p->n_servers, &p->cap_servers, sizeof(*p->servers)))
		return ERR_NOMEM;
	/* From here on plan_deinit() frees what there is of it. */
	return server_init(&p->servers[p->n_servers++], name, weight, zone);
}

enum err plan_remove_server(struct plan *p, const char *name)
{
	struct plan_server *s = plan_find_server(p, name);
	size_t n_behind = s ? p->n_servers - (size_t)(s - p->servers) - 1 : 0;

	if (!s)
		return ERR_NOT_FOUND;
	server_deinit(s);
	memmove(s, s + 1, n_behind * sizeof(*s));
	p->n_servers--;
	return ERR_OK;
}

void plan_remove_servers(struct plan *p)
{
	for (size_t i = 0; i < p->n_servers; i++)
		server_deinit(&p->servers[i]);
	p->n_servers = 0;
}

enum err plan_servers_are(struct plan *p)
{
	was_deinit(p);
	p->was = mem_zalloc_array(p->n_servers + 1, sizeof(*p->was));
	if (!p->was)
		return ERR_NOMEM;
	p->has_was = true;
	for (size_t i = 0; i < p->n_servers; i++) {
		const struct plan_server *s = &p->servers[i];
		enum err e = server_init(&p->was[p->n_was], s->name, s->weight, s->zone);

		p->was[p->n_was++].resting = s->resting;
		if (e)
			return e;
	}
	return ERR_OK;
}

/* ---- hosts ---- */

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
	if (!make_room((void **)&p->hosts, p->n_hosts, &p->cap_hosts, sizeof(h)))
		return ERR_NOMEM;
	h.name = mem_strdup(name);
	h.zone = mem_strdup(zone);
	p->hosts[p->n_hosts++] = h;
	if ((name && !h.name) || (zone && !h.zone))
		return ERR_NOMEM;
	return list ? str_list_copy(&p->hosts[p->n_hosts - 1].before, list) : ERR_OK;
}

enum err plan_remove_host(struct plan *p, uint64_t id)
{
	for (size_t i = 0; i < p->n_hosts; i++) {
		if (p->hosts[i].id != id || p->hosts[i].is_gone)
			continue;
		p->hosts[i].is_gone = true;
		return ERR_OK;
	}
	return ERR_NOT_FOUND;
}

size_t plan_n_hosts(const struct plan *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_hosts; i++)
		n += !p->hosts[i].is_gone;
	return n;
}

static enum err add_new_host(struct plan *p, uint64_t id, size_t number, const char *zone)
{
	CLEAN(mem_freep) char *name = mem_printf("new-%zu", number);
	CLEAN(mem_freep) char *copy = mem_strdup(zone); /* the array that it stands in may move */

	if (!name || (zone && !copy))
		return ERR_NOMEM;
	return plan_add_host(p, id, name, copy, NULL);
}

enum err plan_resize(struct plan *p, size_t n)
{
	size_t n_old = p->n_hosts, n_there = plan_n_hosts(p), from = 0;
	uint64_t id = 0;
	enum err e = ERR_OK;

	for (size_t i = n_old; i > 0 && n_there > n; i--) {
		n_there -= !p->hosts[i - 1].is_gone;
		p->hosts[i - 1].is_gone = true;
	}
	for (size_t i = 0; i < n_old; i++)
		id = p->hosts[i].id > id ? p->hosts[i].id : id;
	for (size_t k = 0; !e && n_there + k < n; k++) {
		while (n_old && n_there && p->hosts[from].is_gone)
			from = (from + 1) % n_old;
		e = add_new_host(p, id + k + 1, k + 1, n_there ? p->hosts[from].zone : NULL);
		from = n_old ? (from + 1) % n_old : 0;
	}
	return e ? e : plan_give_slots(p, n_old);
}

const char *plan_pin(const struct plan *p, const struct plan_host *h)
{
	return h->pin && plan_find_server(p, h->pin) ? h->pin : NULL;
}

/* ---- computing ---- */

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

/* A pinned host's server comes first, whatever the algorithm says; the others keep their order. */
static void pin_first(struct str_list *list, const char *pin)
{
	size_t at = pin ? str_list_find(list, pin) : 0;
	char *entry;

	if (at == 0 || at == SIZE_MAX)
		return;
	entry = list->items[at];
	memmove(&list->items[1], &list->items[0], at * sizeof(list->items[0]));
	list->items[0] = entry;
}

static enum err host_order(const struct plan *p, const struct work *w, struct plan_host *h, struct rng *rng)
{
	enum err e;

	if (p->algorithm == ALGORITHM_SHUFFLE && p->same_algorithm && is_right_set(w, &h->before))
		e = str_list_copy(&h->after, &h->before);
	else
		e = algorithm_order(&h->after, p->algorithm, &w->names, h->slot, rng);
	if (!e)
		pin_first(&h->after, plan_pin(p, h));
	return e;
}

static enum err hosts_order(struct plan *p, const struct work *w, struct rng *rng, struct why *why)
{
	enum err e = ERR_OK;

	if (p->algorithm == ALGORITHM_BALANCED)
		return plan_place_balanced(p, why);
	for (size_t i = 0; !e && i < p->n_hosts; i++) {
		if (p->hosts[i].is_gone)
			str_list_deinit(&p->hosts[i].after);
		else
			e = host_order(p, w, &p->hosts[i], rng);
	}
	return e;
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

/* Its place among the servers, by the name of one. */
static size_t server_named(const struct work *w, const char *name)
{
	uintptr_t place = name ? (uintptr_t)map_get(&w->index, name) : 0;

	return place ? place - 1 : NO_SERVER;
}

static void host_count(struct plan *p, struct work *w, const struct plan_host *h)
{
	size_t before = server_at(w, &h->before, 0), on = server_named(w, h->on);
	size_t first = server_at(w, &h->after, 0);
	size_t second = server_at(w, &h->after, 1);

	if (before != NO_SERVER)
		p->servers[before].before++;
	if (on != NO_SERVER)
		p->servers[on].on++;
	if (h->is_gone)
		return;
	p->servers[first].after++;
	/* A host without a list is new: it is placed, not moved. */
	p->moves += h->before.n && before != first;
	/* A link is made where it has none yet. */
	p->servers[first].arrivals += p->knows_on ? h->on && on != first : h->before.n && before != first;
	if (second != NO_SERVER)
		w->next[first * w->n + second]++;
	if (w->triples)
		w->triples[w->n_triples++] = triple_of(w->n, first, second, server_at(w, &h->after, 2));
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

static void counts_clear(struct plan *p)
{
	p->moves = 0;
	for (size_t i = 0; i < p->n_servers; i++) {
		struct plan_server *s = &p->servers[i];

		s->before = s->after = s->on = s->arrivals = 0;
	}
}

enum err plan_compute(struct plan *p, struct rng *rng, struct why *why)
{
	CLEAN(work_deinit) struct work w = {0};
	enum err e;

	if (!p->n_servers) {
		why_set(why, "there is no server to place hosts on");
		return ERR_INVALID;
	}
	if ((e = work_init(&w, p)) || (e = plan_repair_slots(p)) || (e = hosts_order(p, &w, rng, why)))
		return e;
	counts_clear(p);
	for (size_t i = 0; i < p->n_hosts; i++)
		host_count(p, &w, &p->hosts[i]);
	e = plan_count_minimum(p);
	return e ? e : find_failures(p, &w);
}

enum err plan_fail(const struct plan *p, const bool failed[SERVER_LIST_MAX], uint64_t load[SERVER_LIST_MAX],
		   uint64_t *n_stranded)
{
	CLEAN(work_deinit) struct work w = {0};
	enum err e = work_init(&w, p);

	memset(load, 0, SERVER_LIST_MAX * sizeof(*load));
	*n_stranded = 0;
	for (size_t i = 0; !e && i < p->n_hosts; i++) {
		const struct str_list *l = &p->hosts[i].after;
		size_t at = 0;

		while (at < l->n && failed[server_at(&w, l, at)])
			at++;
		if (at < l->n)
			load[server_at(&w, l, at)]++;
		else
			*n_stranded += l->n > 0;
	}
	return e;
}
