/*
 * Balanced: servers, hosts and groups, and what a list is made of (docs/placement.md, "Balanced").
 *
 * A change of one host is made in place, after all memory that it can need is there. A change of the servers is a full
 * design into new arrays, which take the place of the old ones when nothing can fail any more.
 */
#include "core/balanced.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/balanced_layout.h"

static void log_begin(struct balanced *b)
{
	b->log = (struct balanced_log){.hosts = b->changed, .cap = LOG_MAX};
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
	CLEAN(balanced_layout_deinit) struct balanced_layout next = {0};
	uint16_t new_places[SERVER_LIST_MAX];
	size_t n_moves = 0;
	enum err e;

	if ((e = balanced_layout_set_servers(&next, b, servers, n_servers)) ||
	    (e = balanced_layout_set_groups(&next, b)) || (e = balanced_layout_set_hosts(&next, b)))
		return e;
	for (size_t i = 0; i < b->layout.n_servers; i++) {
		struct balanced_member *at = n_servers ? bsearch(&b->layout.servers[i], next.servers, n_servers,
								 sizeof(*next.servers), balanced_member_compare)
						       : NULL;

		new_places[i] = at ? (uint16_t)(at - next.servers) : NONE;
	}
	for (uint32_t i = 0; i < b->n_hosts; i++) {
		const struct balanced_place *old = &b->layout.places[i];

		next.groups_of[i] =
			b->layout.groups_of[i] == NONE ? NONE : balanced_layout_group_of(&next, b->host_zones[i]);
		for (size_t k = 0; k < BALANCED_N_ENTRIES; k++)
			next.places[i].entries[k] = new_place(new_places, old->entries[k]);
		next.places[i].pin = new_place(new_places, old->pin);
	}
	if ((e = balanced_layout_design(&next, b)))
		return e;
	for (uint32_t i = 0; i < b->n_hosts; i++) {
		uint16_t before = b->layout.places[i].entries[BALANCED_FIRST];

		n_moves += next.groups_of[i] != NONE && before != NONE &&
			   new_place(new_places, before) != next.places[i].entries[BALANCED_FIRST];
	}
	balanced_layout_deinit(&b->layout);
	b->layout = next;
	next = (struct balanced_layout){0};
	log_all(b, n_moves);
	return ERR_OK;
}

/* ---- hosts ---- */

static enum err make_room(struct balanced *b)
{
	uint32_t cap = b->cap ? b->cap * 2 : 64;
	struct balanced_layout *l = &b->layout;
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
	b->layout.groups_of[host] = balanced_layout_group_of(&b->layout, zone);
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

	if (balanced_place_of(b, id) != UINT32_MAX)
		return ERR_EXISTS;
	if ((e = balanced_zone_intern(b, zone, &zone_at)) || (e = make_room(b)))
		return e;
	g = &b->layout.groups[balanced_layout_group_of(&b->layout, zone_at)];
	if ((e = balanced_group_reserve(g, NONE)) || (e = host_enter(b, id, zone_at, &host)))
		return e;
	log_begin(b);
	f = balanced_fleet_of(b, &b->layout);
	balanced_group_add(g, &f, host, &b->log);
	b->version++;
	return ERR_OK;
}

static void group_remove(struct balanced *b, uint32_t host)
{
	uint16_t group = b->layout.groups_of[host];
	struct balanced_fleet f = balanced_fleet_of(b, &b->layout);

	/* It is no longer one of those that could give an entry. */
	b->layout.groups_of[host] = NONE;
	balanced_group_remove(&b->layout.groups[group], &f, host, b->layout.groups_of, group, b->n_hosts, &b->log);
	b->layout.groups_of[host] = group;
}

enum err balanced_remove_host(struct balanced *b, uint64_t id)
{
	uint32_t host = balanced_place_of(b, id);

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
	uint32_t host = balanced_place_of(b, id), zone_at;
	struct balanced_fleet f;
	uint16_t from, to, before;
	enum err e;

	if (host == UINT32_MAX)
		return ERR_NOT_FOUND;
	if ((e = balanced_zone_intern(b, zone, &zone_at)))
		return e;
	from = b->layout.groups_of[host];
	to = balanced_layout_group_of(&b->layout, zone_at);
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
	f = balanced_fleet_of(b, &b->layout);
	balanced_group_add(&b->layout.groups[to], &f, host, &b->log);
	b->log.n_moves += before != b->layout.places[host].entries[BALANCED_FIRST];
	return ERR_OK;
}

enum err balanced_pin_host(struct balanced *b, uint64_t id, const char *server)
{
	uint32_t host = balanced_place_of(b, id);
	uint16_t pin = server ? balanced_find_server(b, server) : NONE;
	struct balanced_place *p;
	struct balanced_fleet f = balanced_fleet_of(b, &b->layout);
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

static enum err sorted_check(const struct balanced_layout *l, struct why *why)
{
	for (size_t i = 1; i < l->n_servers; i++) {
		if (strcmp(l->servers[i - 1].name, l->servers[i].name) == 0) {
			why_set(why, "%s is named twice", l->servers[i].name);
			return ERR_DUPLICATE;
		}
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

static bool is_same_server(const struct balanced *b, const struct balanced_server *s)
{
	uint16_t at = balanced_find_server(b, s->name);
	struct balanced_server old;

	if (at == NONE)
		return false;
	old = balanced_get_server(b, at);
	return old.weight == s->weight &&
	       (str_equal(old.zone, s->zone) || (str_is_blank(old.zone) && str_is_blank(s->zone)));
}

static enum err names_check(const struct balanced_server *servers, size_t n, struct why *why)
{
	struct map seen;
	enum err e = ERR_OK;

	map_init_text(&seen, 0);
	for (size_t i = 0; i < n && !e; i++) {
		if (map_get(&seen, servers[i].name)) {
			why_set(why, "%s is named twice", servers[i].name);
			e = ERR_DUPLICATE;
		} else {
			e = map_put(&seen, servers[i].name, (void *)(uintptr_t)1);
		}
	}
	map_deinit(&seen);
	return e;
}

enum err balanced_set_servers(struct balanced *b, const struct balanced_server *servers, size_t n, bool *changed,
			      struct why *why)
{
	enum err e = servers_check(servers, n, why);
	size_t n_same = 0;

	*changed = false;
	if (e || (e = names_check(servers, n, why)))
		return e;
	for (size_t i = 0; i < n; i++)
		n_same += is_same_server(b, &servers[i]);
	if (n_same == n && n == b->layout.n_servers)
		return ERR_OK;
	*changed = true;
	return servers_change(b, servers, n);
}

/* ---- making one ---- */

struct balanced *balanced_free(struct balanced *b)
{
	if (!b)
		return NULL;
	balanced_layout_deinit(&b->layout);
	str_list_deinit(&b->zones);
	map_deinit(&b->places_of);
	mem_free(b->ids);
	mem_free(b->host_zones);
	mem_free(b->free_hosts);
	return mem_free(b);
}

CLEAN_DEFINE(struct balanced, balanced_free)

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

	if (balanced_place_of(b, h->id) != UINT32_MAX) {
		why_set(why, "host %llu is there twice", (unsigned long long)h->id);
		return ERR_DUPLICATE;
	}
	if ((e = balanced_zone_intern(b, h->zone, &zone)) || (e = make_room(b)) ||
	    (e = host_enter(b, h->id, zone, &host)))
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
	    (e = balanced_layout_set_servers(&b->layout, b, servers, n_servers)) ||
	    (e = sorted_check(&b->layout, why)) || (e = balanced_layout_set_groups(&b->layout, b)))
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
	if ((e = balanced_layout_design(&b->layout, b)))
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
	struct balanced_fleet f = balanced_fleet_of(b, &b->layout);

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
	if ((e = balanced_layout_reserve(&b->layout, b->n_hosts)))
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
	struct balanced_fleet f = balanced_fleet_of(b, &b->layout);

	if (max_lists > LOG_MAX)
		max_lists = LOG_MAX;
	log_begin(b);
	for (size_t k = 0; k < b->layout.n_groups; k++)
		balanced_group_settle(&b->layout.groups[k], &f, &b->log, max_lists);
	b->version += b->log.n > 0;
	return b->log.n;
}
