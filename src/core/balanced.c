/*
 * Balanced: servers, hosts and groups, and what a list is made of (docs/placement.md, "Balanced").
 *
 * A change of one host is made in place, after all memory that it can need is there. A change of the servers is a full
 * design into new arrays, which take the place of the old ones when nothing can fail any more.
 */
#include "core/balanced.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "core/balanced_group.h"

/* One host's change alters about twice as many lists as there are servers; room to say which, with some to spare. */
#define LOG_MAX (4 * SERVER_LIST_MAX)
#define NO_ZONE 0 /* of hosts and servers without one */

struct server {
	char *name;      /* owned */
	uint32_t zone;   /* place in zones */
	uint32_t weight; /* as set */
	uint64_t hash;   /* of the name: Balanced 7 */
};

/* All that depends on the set of servers: made anew when it changes. */
struct layout {
	struct server *servers; /* sorted by name */
	size_t n_servers;
	uint32_t *weights;             /* that count: see Balanced 2 */
	struct balanced_group *groups; /* the first one is for hosts of zones without servers */
	size_t n_groups;
	uint16_t *group_of_zone; /* by zone */
	size_t n_zones;
	/* By host: */
	struct balanced_place *places;
	struct balanced_knot *knots;
	uint16_t *groups_of; /* NONE: no host here */
};

struct balanced {
	uint64_t version;
	struct str_list zones; /* names that were ever seen; the first is "" */
	struct layout layout;
	uint64_t *ids;        /* by host */
	uint32_t *host_zones; /* by host: place in zones */
	uint32_t n_hosts;     /* places in use and free ones below them */
	uint32_t cap;
	uint32_t *free_hosts; /* places below n_hosts without a host; room for cap */
	uint32_t n_free;
	struct map places_of; /* id to place + 1 */
	uint64_t changed[LOG_MAX];
	struct balanced_log log;
};

/* ---- small helpers ---- */

static uint64_t hash_name(const char *name)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 0x100000001b3u;
	return balanced_mix(h);
}

static const char *zone_name(const struct balanced *b, uint32_t zone)
{
	return zone == NO_ZONE ? NULL : b->zones.items[zone];
}

static enum err zone_intern(struct balanced *b, const char *name, uint32_t *out)
{
	size_t at = str_is_blank(name) ? NO_ZONE : str_list_find(&b->zones, name);

	if (at == SIZE_MAX) {
		enum err e = str_list_add(&b->zones, name);

		if (e)
			return e;
		at = b->zones.n - 1;
	}
	*out = (uint32_t)at;
	return ERR_OK;
}

static uint32_t place_of(const struct balanced *b, uint64_t id)
{
	return (uint32_t)((uintptr_t)map_get_u64(&b->places_of, id) - 1); /* UINT32_MAX: none */
}

static struct balanced_fleet fleet_of(const struct balanced *b, const struct layout *l)
{
	return (struct balanced_fleet){.ids = b->ids, .places = l->places, .knots = l->knots};
}

static void log_begin(struct balanced *b)
{
	b->log = (struct balanced_log){.hosts = b->changed, .cap = LOG_MAX};
}

/* ---- layouts ---- */

static void layout_deinit(struct layout *l)
{
	for (size_t i = 0; i < l->n_servers; i++)
		mem_free(l->servers[i].name);
	mem_free(l->servers);
	mem_free(l->weights);
	for (size_t i = 0; i < l->n_groups; i++)
		balanced_group_deinit(&l->groups[i]);
	mem_free(l->groups);
	mem_free(l->group_of_zone);
	mem_free(l->places);
	mem_free(l->knots);
	mem_free(l->groups_of);
	*l = (struct layout){0};
}

static int server_compare(const void *a, const void *b)
{
	const struct server *left = a, *right = b;

	return strcmp(left->name, right->name);
}

static enum err layout_set_servers(struct layout *l, struct balanced *b, const struct balanced_server *servers,
				   size_t n)
{
	uint64_t sum = 0;
	enum err e;

	l->servers = mem_zalloc_array(n ? n : 1, sizeof(*l->servers));
	l->weights = mem_zalloc_array(n ? n : 1, sizeof(*l->weights));
	if (!l->servers || !l->weights)
		return ERR_NOMEM;
	for (size_t i = 0; i < n; i++) {
		struct server *s = &l->servers[i];

		l->n_servers++; /* from here on layout_deinit() frees what there is of it */
		s->name = mem_strdup(servers[i].name);
		if (!s->name)
			return ERR_NOMEM;
		if ((e = zone_intern(b, servers[i].zone, &s->zone)))
			return e;
		s->weight = servers[i].weight;
		s->hash = hash_name(s->name);
		sum += s->weight;
	}
	qsort(l->servers, n, sizeof(*l->servers), server_compare);
	/* Balanced 2. If all are last resorts, none is. */
	for (size_t i = 0; i < n; i++)
		l->weights[i] = sum ? l->servers[i].weight : 1;
	return ERR_OK;
}

/* Balanced 1. One group for each zone that has servers, and one for all the other hosts. */
static enum err layout_set_groups(struct layout *l, const struct balanced *b)
{
	l->n_zones = b->zones.n;
	l->group_of_zone = mem_zalloc_array(l->n_zones, sizeof(*l->group_of_zone));
	l->groups = mem_zalloc_array(l->n_servers + 1, sizeof(*l->groups));
	if (!l->group_of_zone || !l->groups)
		return ERR_NOMEM;
	l->n_groups = 1;
	for (size_t i = 0; i < l->n_servers; i++) {
		uint32_t zone = l->servers[i].zone;

		if (l->weights[i] && zone != NO_ZONE && !l->group_of_zone[zone])
			l->group_of_zone[zone] = (uint16_t)l->n_groups++;
	}
	for (size_t k = 0; k < l->n_groups; k++) {
		struct balanced_group *g = &l->groups[k];

		g->n = l->n_servers;
		g->weights = l->weights;
		for (uint16_t i = 0; i < l->n_servers; i++) {
			if (!l->weights[i])
				continue;
			if (k == 0 || l->group_of_zone[l->servers[i].zone] == k)
				g->local[g->n_local++] = i;
			else
				g->away[g->n_away++] = i;
		}
	}
	return ERR_OK;
}

static uint16_t group_of(const struct layout *l, uint32_t zone)
{
	return zone < l->n_zones ? l->group_of_zone[zone] : 0;
}

static enum err layout_set_hosts(struct layout *l, const struct balanced *b)
{
	l->places = mem_zalloc_array(b->cap ? b->cap : 1, sizeof(*l->places));
	l->knots = mem_zalloc_array(b->cap ? b->cap : 1, sizeof(*l->knots));
	l->groups_of = mem_zalloc_array(b->cap ? b->cap : 1, sizeof(*l->groups_of));
	if (!l->places || !l->knots || !l->groups_of)
		return ERR_NOMEM;
	return ERR_OK;
}

/* ---- designs ---- */

struct design {
	uint32_t *hosts;  /* places, by group and id */
	uint32_t *swap;   /* as many */
	uint32_t *starts; /* by group */
	size_t n;
	struct balanced_scratch scratch;
};

static void design_deinit(struct design *d)
{
	mem_free(d->hosts);
	mem_free(d->swap);
	mem_free(d->starts);
	mem_free(d->scratch.sorted);
	mem_free(d->scratch.keys);
	mem_free(d->scratch.starts);
}

static enum err design_init(struct design *d, const struct balanced *b, const struct layout *l)
{
	size_t n = b->n_hosts ? b->n_hosts : 1;

	d->hosts = mem_zalloc_array(n, sizeof(*d->hosts));
	d->swap = mem_zalloc_array(n, sizeof(*d->swap));
	d->starts = mem_zalloc_array(l->n_groups + 2, sizeof(*d->starts));
	d->scratch.sorted = mem_zalloc_array(n, sizeof(*d->scratch.sorted));
	d->scratch.keys = mem_zalloc_array(n, sizeof(*d->scratch.keys));
	d->scratch.starts = mem_zalloc_array(l->n_servers * l->n_servers + 2, sizeof(*d->scratch.starts));
	if (!d->hosts || !d->swap || !d->starts || !d->scratch.sorted || !d->scratch.keys || !d->scratch.starts)
		return ERR_NOMEM;
	return ERR_OK;
}

/* One pass of a radix sort over a byte of the ids; nothing when all have the same byte there. */
static void sort_byte(struct design *d, const uint64_t *ids, unsigned shift)
{
	uint32_t starts[257] = {0}, *swap;

	for (size_t i = 0; i < d->n; i++)
		starts[(ids[d->hosts[i]] >> shift & 0xff) + 1]++;
	for (size_t k = 1; k <= 256; k++) {
		if (starts[k] == d->n)
			return;
	}
	for (size_t k = 1; k <= 256; k++)
		starts[k] += starts[k - 1];
	for (size_t i = 0; i < d->n; i++)
		d->swap[starts[ids[d->hosts[i]] >> shift & 0xff]++] = d->hosts[i];
	swap = d->hosts;
	d->hosts = d->swap;
	d->swap = swap;
}

static bool is_sorted(const struct design *d, const uint64_t *ids)
{
	for (size_t i = 1; i < d->n; i++) {
		if (ids[d->hosts[i - 1]] > ids[d->hosts[i]])
			return false;
	}
	return true;
}

/* All hosts by group and, in each, by id. */
static void design_sort(struct design *d, const struct balanced *b, const struct layout *l)
{
	uint32_t *swap;

	for (uint32_t i = 0; i < b->n_hosts; i++) {
		if (l->groups_of[i] != NONE)
			d->hosts[d->n++] = i;
	}
	for (unsigned shift = 0; shift < 64 && !is_sorted(d, b->ids); shift += 8)
		sort_byte(d, b->ids, shift);
	for (size_t i = 0; i < d->n; i++)
		d->starts[l->groups_of[d->hosts[i]] + 2]++;
	for (size_t k = 2; k <= l->n_groups; k++)
		d->starts[k] += d->starts[k - 1];
	for (size_t i = 0; i < d->n; i++)
		d->swap[d->starts[l->groups_of[d->hosts[i]] + 1]++] = d->hosts[i];
	swap = d->hosts;
	d->hosts = d->swap;
	d->swap = swap;
}

/* Planes for whoever can be preferred, in groups that have hosts. */
static enum err layout_reserve(struct layout *l, uint32_t n_hosts)
{
	for (uint32_t i = 0; i < n_hosts; i++) {
		struct balanced_group *g = l->groups_of[i] == NONE ? NULL : &l->groups[l->groups_of[i]];
		enum err e = ERR_OK;

		if (!g || !g->n_local)
			continue;
		if (!g->planes[g->local[g->n_local - 1]].second)
			e = balanced_group_reserve(g, NONE);
		if (!e && l->places[i].pin != NONE)
			e = balanced_group_reserve(g, l->places[i].pin);
		if (e)
			return e;
	}
	return ERR_OK;
}

static enum err layout_design(struct layout *l, const struct balanced *b)
{
	CLEAN(design_deinit) struct design d = {0};
	struct balanced_fleet fleet = fleet_of(b, l);
	enum err e;

	if ((e = layout_reserve(l, b->n_hosts)) || (e = design_init(&d, b, l)))
		return e;
	design_sort(&d, b, l);
	for (size_t k = 0; k < l->n_groups; k++)
		balanced_group_design(&l->groups[k], &fleet, d.hosts + d.starts[k], d.starts[k + 1] - d.starts[k],
				      &d.scratch);
	return ERR_OK;
}

/* Every list may be another one now, and this many hosts prefer another server. */
static void log_all(struct balanced *b, size_t n_moves)
{
	log_begin(b);
	b->log.is_all = true;
	b->log.n_moves = n_moves;
	b->version++;
}

static uint16_t new_place(const uint16_t *new_places, uint16_t place)
{
	return place == NONE ? NONE : new_places[place];
}

/*
 * The same hosts on other servers: everything is made aside. new_places[i] says where server i is now, NONE: gone.
 */
static enum err servers_change(struct balanced *b, const struct balanced_server *servers, size_t n_servers)
{
	CLEAN(layout_deinit) struct layout next = {0};
	uint16_t new_places[SERVER_LIST_MAX];
	size_t n_moves = 0;
	enum err e;

	if ((e = layout_set_servers(&next, b, servers, n_servers)) || (e = layout_set_groups(&next, b)) ||
	    (e = layout_set_hosts(&next, b)))
		return e;
	for (size_t i = 0; i < b->layout.n_servers; i++) {
		struct server *at = n_servers ? bsearch(&b->layout.servers[i], next.servers, n_servers,
							sizeof(*next.servers), server_compare)
					      : NULL;

		new_places[i] = at ? (uint16_t)(at - next.servers) : NONE;
	}
	for (uint32_t i = 0; i < b->n_hosts; i++) {
		const struct balanced_place *old = &b->layout.places[i];

		next.groups_of[i] = b->layout.groups_of[i] == NONE ? NONE : group_of(&next, b->host_zones[i]);
		for (size_t k = 0; k < BALANCED_N_ENTRIES; k++)
			next.places[i].entries[k] = new_place(new_places, old->entries[k]);
		next.places[i].pin = new_place(new_places, old->pin);
	}
	if ((e = layout_design(&next, b)))
		return e;
	for (uint32_t i = 0; i < b->n_hosts; i++) {
		uint16_t before = b->layout.places[i].entries[BALANCED_FIRST];

		n_moves += next.groups_of[i] != NONE && before != NONE &&
			   new_place(new_places, before) != next.places[i].entries[BALANCED_FIRST];
	}
	layout_deinit(&b->layout);
	b->layout = next;
	next = (struct layout){0};
	log_all(b, n_moves);
	return ERR_OK;
}

/* ---- hosts ---- */

static enum err make_room(struct balanced *b)
{
	uint32_t cap = b->cap ? b->cap * 2 : 64;
	struct layout *l = &b->layout;
	void *grown;

	if (b->n_free || b->n_hosts < b->cap)
		return ERR_OK;
	if (b->cap >= BALANCED_HOSTS_MAX)
		return ERR_FULL;
		/* Each that has grown stays so if a later one can't: cap is what counts. */
#define GROW(array)                                                                                                    \
	do {                                                                                                           \
		if (!(grown = mem_grow_array(array, cap, sizeof(*(array)))))                                           \
			return ERR_NOMEM;                                                                              \
		(array) = grown;                                                                                       \
	} while (0)
	GROW(b->ids);
	GROW(b->host_zones);
	GROW(b->free_hosts);
	GROW(l->places);
	GROW(l->knots);
	GROW(l->groups_of);
#undef GROW
	b->cap = cap;
	return ERR_OK;
}

/* A place in the arrays; needs make_room() before, takes no memory but the map's. */
static enum err host_enter(struct balanced *b, uint64_t id, uint32_t zone, uint32_t *out)
{
	uint32_t host = b->n_free ? b->free_hosts[b->n_free - 1] : b->n_hosts;
	enum err e = map_put_u64(&b->places_of, id, (void *)((uintptr_t)host + 1));

	if (e)
		return e;
	if (b->n_free)
		b->n_free--;
	else
		b->n_hosts++;
	b->ids[host] = id;
	b->host_zones[host] = zone;
	b->layout.groups_of[host] = group_of(&b->layout, zone);
	b->layout.places[host] = (struct balanced_place){{NONE, NONE, NONE, NONE}, NONE};
	*out = host;
	return ERR_OK;
}

static void host_leave(struct balanced *b, uint32_t host)
{
	map_remove_u64(&b->places_of, b->ids[host]);
	b->layout.groups_of[host] = NONE;
	b->free_hosts[b->n_free++] = host;
}

enum err balanced_add_host(struct balanced *b, uint64_t id, const char *zone)
{
	struct balanced_fleet f;
	struct balanced_group *g;
	uint32_t zone_at, host;
	enum err e;

	if (place_of(b, id) != UINT32_MAX)
		return ERR_EXISTS;
	if ((e = zone_intern(b, zone, &zone_at)) || (e = make_room(b)))
		return e;
	g = &b->layout.groups[group_of(&b->layout, zone_at)];
	if ((e = balanced_group_reserve(g, NONE)) || (e = host_enter(b, id, zone_at, &host)))
		return e;
	log_begin(b);
	f = fleet_of(b, &b->layout);
	balanced_group_add(g, &f, host, &b->log);
	b->version++;
	return ERR_OK;
}

static void group_remove(struct balanced *b, uint32_t host)
{
	uint16_t group = b->layout.groups_of[host];
	struct balanced_fleet f = fleet_of(b, &b->layout);

	/* It is no longer one of those that could give an entry. */
	b->layout.groups_of[host] = NONE;
	balanced_group_remove(&b->layout.groups[group], &f, host, b->layout.groups_of, group, b->n_hosts, &b->log);
	b->layout.groups_of[host] = group;
}

enum err balanced_remove_host(struct balanced *b, uint64_t id)
{
	uint32_t host = place_of(b, id);

	if (host == UINT32_MAX)
		return ERR_NOT_FOUND;
	log_begin(b);
	group_remove(b, host);
	host_leave(b, host);
	b->version++;
	return ERR_OK;
}

/* The full design with what is there, for changes that concern everybody. */
static enum err servers_list(const struct balanced *b, struct balanced_server **out)
{
	*out = mem_zalloc_array(b->layout.n_servers + 1, sizeof(**out));
	if (!*out)
		return ERR_NOMEM;
	for (size_t i = 0; i < b->layout.n_servers; i++)
		(*out)[i] = balanced_get_server(b, i);
	return ERR_OK;
}

enum err balanced_redesign(struct balanced *b)
{
	CLEAN(mem_freep) struct balanced_server *servers = NULL;
	enum err e = servers_list(b, &servers);

	return e ? e : servers_change(b, servers, b->layout.n_servers);
}

/* A pinned host comes to servers that may have enough: that takes a design. */
static enum err set_zone_pinned(struct balanced *b, uint32_t host, uint32_t zone)
{
	uint32_t before = b->host_zones[host];
	enum err e;

	b->host_zones[host] = zone;
	e = balanced_redesign(b);
	if (e)
		b->host_zones[host] = before;
	return e;
}

enum err balanced_set_zone(struct balanced *b, uint64_t id, const char *zone)
{
	uint32_t host = place_of(b, id), zone_at;
	struct balanced_fleet f;
	uint16_t from, to, before;
	enum err e;

	if (host == UINT32_MAX)
		return ERR_NOT_FOUND;
	if ((e = zone_intern(b, zone, &zone_at)))
		return e;
	from = b->layout.groups_of[host];
	to = group_of(&b->layout, zone_at);
	if (from != to && b->layout.places[host].pin != NONE)
		return set_zone_pinned(b, host, zone_at);
	if ((e = balanced_group_reserve(&b->layout.groups[to], NONE)))
		return e;
	log_begin(b);
	b->version++;
	b->host_zones[host] = zone_at;
	if (from == to)
		return ERR_OK;
	before = b->layout.places[host].entries[BALANCED_FIRST];
	group_remove(b, host);
	b->layout.groups_of[host] = to;
	f = fleet_of(b, &b->layout);
	balanced_group_add(&b->layout.groups[to], &f, host, &b->log);
	b->log.n_moves += before != b->layout.places[host].entries[BALANCED_FIRST];
	return ERR_OK;
}

enum err balanced_pin_host(struct balanced *b, uint64_t id, const char *server)
{
	uint32_t host = place_of(b, id);
	uint16_t pin = server ? balanced_find_server(b, server) : NONE;
	struct balanced_place *p;
	struct balanced_fleet f = fleet_of(b, &b->layout);
	struct balanced_group *g;
	uint16_t old;
	enum err e;

	if (host == UINT32_MAX || (server && pin == NONE))
		return ERR_NOT_FOUND;
	p = &b->layout.places[host];
	g = &b->layout.groups[b->layout.groups_of[host]];
	old = p->pin;
	/* The heaps sort by pins, so the host stands outside while its pin changes. */
	balanced_group_unlink(g, &f, host);
	p->pin = pin;
	balanced_group_link(g, &f, host);
	e = balanced_redesign(b);
	if (!e)
		return ERR_OK;
	balanced_group_unlink(g, &f, host);
	p->pin = old;
	balanced_group_link(g, &f, host);
	return e;
}

/* ---- servers ---- */

static enum err server_check(const struct balanced_server *s, struct why *why)
{
	if (str_is_blank(s->name)) {
		why_set(why, "a server needs a name");
		return ERR_INVALID;
	}
	if (s->weight > BALANCED_WEIGHT_MAX) {
		why_set(why, "%s: a weight is at most %d", s->name, BALANCED_WEIGHT_MAX);
		return ERR_INVALID;
	}
	return ERR_OK;
}

enum err balanced_add_server(struct balanced *b, const char *name, uint32_t weight, const char *zone)
{
	CLEAN(mem_freep) struct balanced_server *servers = NULL;
	struct balanced_server added = {.name = name, .weight = weight, .zone = zone};
	enum err e = server_check(&added, NULL);

	if (e)
		return e;
	if (balanced_find_server(b, name) != NONE)
		return ERR_EXISTS;
	if (b->layout.n_servers == SERVER_LIST_MAX)
		return ERR_FULL;
	if ((e = servers_list(b, &servers)))
		return e;
	servers[b->layout.n_servers] = added;
	return servers_change(b, servers, b->layout.n_servers + 1);
}

enum err balanced_remove_server(struct balanced *b, const char *name)
{
	CLEAN(mem_freep) struct balanced_server *servers = NULL;
	uint16_t at = balanced_find_server(b, name);
	enum err e;

	if (at == NONE)
		return ERR_NOT_FOUND;
	if ((e = servers_list(b, &servers)))
		return e;
	memmove(&servers[at], &servers[at + 1], (b->layout.n_servers - at - 1u) * sizeof(*servers));
	return servers_change(b, servers, b->layout.n_servers - 1);
}

enum err balanced_set_server(struct balanced *b, const char *name, uint32_t weight, const char *zone)
{
	CLEAN(mem_freep) struct balanced_server *servers = NULL;
	struct balanced_server changed = {.name = name, .weight = weight, .zone = zone};
	uint16_t at = balanced_find_server(b, name);
	enum err e = server_check(&changed, NULL);

	if (e)
		return e;
	if (at == NONE)
		return ERR_NOT_FOUND;
	if ((e = servers_list(b, &servers)))
		return e;
	servers[at] = changed;
	return servers_change(b, servers, b->layout.n_servers);
}

/* ---- making one ---- */

struct balanced *balanced_free(struct balanced *b)
{
	if (!b)
		return NULL;
	layout_deinit(&b->layout);
	str_list_deinit(&b->zones);
	map_deinit(&b->places_of);
	mem_free(b->ids);
	mem_free(b->host_zones);
	mem_free(b->free_hosts);
	return mem_free(b);
}

CLEAN_DEFINE(struct balanced, balanced_free)

static enum err servers_check(const struct balanced_server *servers, size_t n, struct why *why)
{
	if (n > SERVER_LIST_MAX) {
		why_set(why, "there are at most %d servers", SERVER_LIST_MAX);
		return ERR_FULL;
	}
	for (size_t i = 0; i < n; i++) {
		enum err e = server_check(&servers[i], why);

		if (e)
			return e;
	}
	return ERR_OK;
}

static enum err sorted_check(const struct layout *l, struct why *why)
{
	for (size_t i = 1; i < l->n_servers; i++) {
		if (strcmp(l->servers[i - 1].name, l->servers[i].name) == 0) {
			why_set(why, "%s is named twice", l->servers[i].name);
			return ERR_DUPLICATE;
		}
	}
	return ERR_OK;
}

/* From the caller's order of servers to ours. What is no server at all is for balanced_group_fits() to find. */
static uint16_t place_in(const struct balanced *b, const struct balanced_server *servers, size_t n, uint16_t place)
{
	if (place == NONE)
		return NONE;
	return place < n ? balanced_find_server(b, servers[place].name) : (uint16_t)(NONE - 1);
}

static enum err host_take(struct balanced *b, const struct balanced_server *servers, size_t n_servers,
			  const struct balanced_host *h, struct why *why)
{
	struct balanced_place *p;
	uint32_t zone, host;
	enum err e;

	if (place_of(b, h->id) != UINT32_MAX) {
		why_set(why, "host %llu is there twice", (unsigned long long)h->id);
		return ERR_DUPLICATE;
	}
	if ((e = zone_intern(b, h->zone, &zone)) || (e = make_room(b)) || (e = host_enter(b, h->id, zone, &host)))
		return e;
	p = &b->layout.places[host];
	for (size_t i = 0; i < BALANCED_N_ENTRIES; i++)
		p->entries[i] = place_in(b, servers, n_servers, h->entries[i]);
	p->pin = place_in(b, servers, n_servers, h->pin);
	return ERR_OK;
}

/* Everything but what the entries amount to. */
static enum err build(struct balanced **out, const struct balanced_server *servers, size_t n_servers,
		      const struct balanced_host *hosts, size_t n_hosts, struct why *why)
{
	CLEAN(balanced_freep) struct balanced *b = mem_zalloc(sizeof(*b));
	enum err e;

	if (!b)
		return ERR_NOMEM;
	map_init_number(&b->places_of, 0); /* host ids are ours, nobody can choose them to collide */
	if ((e = servers_check(servers, n_servers, why)) || (e = str_list_add(&b->zones, "")) ||
	    (e = layout_set_servers(&b->layout, b, servers, n_servers)) || (e = sorted_check(&b->layout, why)) ||
	    (e = layout_set_groups(&b->layout, b)))
		return e;
	for (size_t i = 0; i < n_hosts; i++) {
		if ((e = host_take(b, servers, n_servers, &hosts[i], why)))
			return e;
	}
	*out = STEAL(b);
	return ERR_OK;
}

/* A design takes what it is given as a wish: entries that are no servers are none. */
static void forget_strangers(struct balanced *b)
{
	for (uint32_t i = 0; i < b->n_hosts; i++) {
		struct balanced_place *p = &b->layout.places[i];

		for (size_t k = 0; k < BALANCED_N_ENTRIES; k++) {
			if (p->entries[k] >= b->layout.n_servers)
				p->entries[k] = NONE;
		}
		if (p->pin >= b->layout.n_servers)
			p->pin = NONE;
	}
}

enum err balanced_design(struct balanced **out, const struct balanced_server *servers, size_t n_servers,
			 const struct balanced_host *hosts, size_t n_hosts, struct why *why)
{
	CLEAN(balanced_freep) struct balanced *b = NULL;
	size_t n_moves = 0;
	enum err e = build(&b, servers, n_servers, hosts, n_hosts, why);

	if (e)
		return e;
	forget_strangers(b);
	if ((e = layout_design(&b->layout, b)))
		return e;
	/* In the order in which they were given, each has got the next place. */
	for (size_t i = 0; i < n_hosts; i++) {
		uint16_t before = place_in(b, servers, n_servers, hosts[i].entries[BALANCED_FIRST]);

		n_moves += before != NONE && before != b->layout.places[i].entries[BALANCED_FIRST];
	}
	log_all(b, n_moves);
	*out = STEAL(b);
	return ERR_OK;
}

static enum err host_load(struct balanced *b, uint32_t host, struct why *why)
{
	struct balanced_group *g = &b->layout.groups[b->layout.groups_of[host]];
	const struct balanced_place *p = &b->layout.places[host];
	struct balanced_fleet f = fleet_of(b, &b->layout);

	if ((p->pin != NONE && p->pin >= b->layout.n_servers) || !balanced_group_fits(g, p)) {
		why_set(why, "what is stored for host %llu is no placement on these servers",
			(unsigned long long)b->ids[host]);
		return ERR_DAMAGED;
	}
	balanced_group_link(g, &f, host);
	return ERR_OK;
}

enum err balanced_load(struct balanced **out, uint64_t version, const struct balanced_server *servers, size_t n_servers,
		       const struct balanced_host *hosts, size_t n_hosts, struct why *why)
{
	CLEAN(balanced_freep) struct balanced *b = NULL;
	enum err e = build(&b, servers, n_servers, hosts, n_hosts, why);

	if (e)
		return e;
	for (uint32_t i = 0; i < b->n_hosts; i++) {
		if (b->layout.places[i].pin != NONE && b->layout.places[i].pin >= b->layout.n_servers)
			return host_load(b, i, why);
	}
	if ((e = layout_reserve(&b->layout, b->n_hosts)))
		return e;
	for (uint32_t i = 0; i < b->n_hosts; i++) {
		if ((e = host_load(b, i, why)))
			return e;
	}
	b->version = version;
	log_begin(b);
	*out = STEAL(b);
	return ERR_OK;
}

enum err balanced_copy(struct balanced **out, const struct balanced *b)
{
	CLEAN(mem_freep) struct balanced_server *servers = NULL;
	CLEAN(mem_freep) struct balanced_host *hosts = NULL;
	size_t cursor = 0, n = 0;
	enum err e = servers_list(b, &servers);

	if (e)
		return e;
	hosts = mem_zalloc_array(b->places_of.n + 1, sizeof(*hosts));
	if (!hosts)
		return ERR_NOMEM;
	while (balanced_next_host(b, &cursor, &hosts[n]))
		n++;
	return balanced_load(out, b->version, servers, b->layout.n_servers, hosts, n, NULL);
}

size_t balanced_settle(struct balanced *b, size_t max_lists)
{
	struct balanced_fleet f = fleet_of(b, &b->layout);

	if (max_lists > LOG_MAX)
		max_lists = LOG_MAX;
	log_begin(b);
	for (size_t k = 0; k < b->layout.n_groups; k++)
		balanced_group_settle(&b->layout.groups[k], &f, &b->log, max_lists);
	b->version += b->log.n > 0;
	return b->log.n;
}

/* ---- asking ---- */

struct balanced_changes balanced_changes(const struct balanced *b)
{
	return (struct balanced_changes){
		.hosts = b->log.hosts,
		.n_hosts = b->log.n,
		.is_all = b->log.is_all,
		.n_moves = b->log.n_moves,
	};
}

uint64_t balanced_version(const struct balanced *b)
{
	return b->version;
}

void balanced_set_version(struct balanced *b, uint64_t version)
{
	b->version = version;
}

size_t balanced_n_servers(const struct balanced *b)
{
	return b->layout.n_servers;
}

struct balanced_server balanced_get_server(const struct balanced *b, size_t i)
{
	const struct server *s = &b->layout.servers[i];

	return (struct balanced_server){.name = s->name, .weight = s->weight, .zone = zone_name(b, s->zone)};
}

uint16_t balanced_find_server(const struct balanced *b, const char *name)
{
	size_t low = 0, high = b->layout.n_servers;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(b->layout.servers[middle].name, name);

		if (order == 0)
			return (uint16_t)middle;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NONE;
}

size_t balanced_n_hosts(const struct balanced *b)
{
	return b->places_of.n;
}

static void host_get(const struct balanced *b, uint32_t host, struct balanced_host *out)
{
	const struct balanced_place *p = &b->layout.places[host];

	*out = (struct balanced_host){.id = b->ids[host], .zone = zone_name(b, b->host_zones[host]), .pin = p->pin};
	memcpy(out->entries, p->entries, sizeof(out->entries));
}

bool balanced_next_host(const struct balanced *b, size_t *cursor, struct balanced_host *out)
{
	while (*cursor < b->n_hosts) {
		uint32_t host = (uint32_t)(*cursor)++;

		if (b->layout.groups_of[host] == NONE)
			continue;
		host_get(b, host, out);
		return true;
	}
	return false;
}

bool balanced_get_host(const struct balanced *b, uint64_t id, struct balanced_host *out)
{
	uint32_t host = place_of(b, id);

	if (host == UINT32_MAX)
		return false;
	host_get(b, host, out);
	return true;
}

/* Where in the tail a server stands: by rank, then by a number of its own for each host. */
struct tail_entry {
	unsigned rank;
	uint64_t number;
	uint16_t server;
};

static unsigned tail_rank(const struct balanced *b, const struct balanced_group *g, uint32_t host, uint16_t server)
{
	const struct server *s = &b->layout.servers[server];

	if (b->layout.places[host].entries[BALANCED_AWAY] == server)
		return 1;
	if (b->layout.weights[server])
		return g == &b->layout.groups[0] || s->zone == b->host_zones[host] ? 0 : 2;
	return s->zone == b->host_zones[host] ? 3 : 4;
}

static bool tail_goes_before(const struct tail_entry *a, const struct tail_entry *b)
{
	if (a->rank != b->rank)
		return a->rank < b->rank;
	return a->number != b->number ? a->number > b->number : a->server < b->server;
}

/* Balanced 7. */
static size_t host_list(const struct balanced *b, uint32_t host, uint16_t *out)
{
	const struct balanced_group *g = &b->layout.groups[b->layout.groups_of[host]];
	const uint16_t *entries = b->layout.places[host].entries;
	struct tail_entry tail[SERVER_LIST_MAX];
	bool is_listed[SERVER_LIST_MAX] = {false};
	size_t n = 0, n_tail = 0;

	for (size_t i = BALANCED_FIRST; i <= BALANCED_THIRD && entries[i] != NONE; i++) {
		out[n++] = entries[i];
		is_listed[entries[i]] = true;
	}
	for (uint16_t s = 0; s < b->layout.n_servers; s++) {
		struct tail_entry e = {.server = s};
		size_t at = n_tail;

		if (is_listed[s])
			continue;
		e.rank = tail_rank(b, g, host, s);
		e.number = balanced_mix(balanced_mix(b->ids[host] + 0x9e3779b97f4a7c15u) ^ b->layout.servers[s].hash);
		for (; at > 0 && tail_goes_before(&e, &tail[at - 1]); at--)
			tail[at] = tail[at - 1];
		tail[at] = e;
		n_tail++;
	}
	for (size_t i = 0; i < n_tail; i++)
		out[n++] = tail[i].server;
	return n;
}

size_t balanced_list(const struct balanced *b, uint64_t id, uint16_t out[SERVER_LIST_MAX])
{
	uint32_t host = place_of(b, id);

	return host == UINT32_MAX || !b->layout.n_servers ? 0 : host_list(b, host, out);
}

/* The first entry that has not failed; NONE: all have. */
static uint16_t host_goes_to(const struct balanced *b, uint32_t host, const bool *failed)
{
	const uint16_t *entries = b->layout.places[host].entries;
	uint16_t list[SERVER_LIST_MAX];
	size_t n;

	for (size_t i = BALANCED_FIRST; i <= BALANCED_THIRD && entries[i] != NONE; i++) {
		if (!failed[entries[i]])
			return entries[i];
	}
	n = host_list(b, host, list);
	for (size_t i = 0; i < n; i++) {
		if (!failed[list[i]])
			return list[i];
	}
	return NONE;
}

void balanced_count(const struct balanced *b, const bool failed[SERVER_LIST_MAX], uint64_t load[SERVER_LIST_MAX])
{
	memset(load, 0, SERVER_LIST_MAX * sizeof(*load));
	for (uint32_t i = 0; i < b->n_hosts && b->layout.n_servers; i++) {
		uint16_t to = b->layout.groups_of[i] == NONE ? NONE : host_goes_to(b, i, failed);

		if (to != NONE)
			load[to]++;
	}
}
