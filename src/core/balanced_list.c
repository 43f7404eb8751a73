/*
 * Asking a balanced placement: what is stored of it, whole lists (docs/placement.md, "Balanced" 7), loads after
 * failures.
 */
#include <string.h>

#include "core/balanced_layout.h"

const char *balanced_zone_name(const struct balanced *b, uint32_t zone)
{
	return zone == NO_ZONE ? NULL : b->zones.items[zone];
}

uint32_t balanced_place_of(const struct balanced *b, uint64_t id)
{
	return (uint32_t)((uintptr_t)map_get_u64(&b->places_of, id) - 1); /* UINT32_MAX: none */
}

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
	const struct balanced_member *s = &b->layout.servers[i];

	return (struct balanced_server){.name = s->name, .weight = s->weight, .zone = balanced_zone_name(b, s->zone)};
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

	*out = (struct balanced_host){
		.id = b->ids[host], .zone = balanced_zone_name(b, b->host_zones[host]), .pin = p->pin};
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
	uint32_t host = balanced_place_of(b, id);

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

/* Of whom a list is made. */
struct listed {
	uint64_t id;
	uint32_t zone;
	const uint16_t *entries;
};

static unsigned tail_rank(const struct balanced *b, const struct balanced_group *g, const struct listed *h,
			  uint16_t server)
{
	const struct balanced_member *s = &b->layout.servers[server];

	if (h->entries[BALANCED_AWAY] == server)
		return 1;
	if (b->layout.weights[server])
		return g == &b->layout.groups[0] || s->zone == h->zone ? 0 : 2;
	return s->zone == h->zone ? 3 : 4;
}

static bool tail_goes_before(const struct tail_entry *a, const struct tail_entry *b)
{
	if (a->rank != b->rank)
		return a->rank < b->rank;
	return a->number != b->number ? a->number > b->number : a->server < b->server;
}

/* Balanced 7. */
static size_t make_list(const struct balanced *b, const struct balanced_group *g, const struct listed *h, uint16_t *out)
{
	struct tail_entry tail[SERVER_LIST_MAX];
	bool is_listed[SERVER_LIST_MAX] = {false};
	size_t n = 0, n_tail = 0;

	for (size_t i = BALANCED_FIRST; i <= BALANCED_THIRD && h->entries[i] != NONE; i++) {
		out[n++] = h->entries[i];
		is_listed[h->entries[i]] = true;
	}
	for (uint16_t s = 0; s < g->n; s++) {
		struct tail_entry e = {.server = s};
		size_t at = n_tail;

		if (is_listed[s])
			continue;
		e.rank = tail_rank(b, g, h, s);
		e.number = balanced_mix(balanced_mix(h->id + 0x9e3779b97f4a7c15u) ^ b->layout.servers[s].hash);
		for (; at > 0 && tail_goes_before(&e, &tail[at - 1]); at--)
			tail[at] = tail[at - 1];
		tail[at] = e;
		n_tail++;
	}
	for (size_t i = 0; i < n_tail; i++)
		out[n++] = tail[i].server; /* cppcheck-suppress uninitvar */
	return n;
}

static size_t host_list(const struct balanced *b, uint32_t host, uint16_t *out)
{
	const struct listed h = {b->ids[host], b->host_zones[host], b->layout.places[host].entries};

	return make_list(b, &b->layout.groups[b->layout.groups_of[host]], &h, out);
}

size_t balanced_list_of(const struct balanced *b, const struct balanced_host *host, uint16_t out[SERVER_LIST_MAX])
{
	size_t zone = str_is_blank(host->zone) ? NO_ZONE : str_list_find(&b->zones, host->zone);
	uint16_t entries[BALANCED_N_ENTRIES] = {NONE, NONE, NONE, NONE};
	/* A zone that was never heard of has no servers. */
	struct listed h = {host->id, zone == SIZE_MAX ? UINT32_MAX : (uint32_t)zone, entries};
	const struct balanced_group *g = &b->layout.groups[balanced_layout_group_of(&b->layout, h.zone)];
	size_t n = 0;

	for (size_t i = BALANCED_FIRST; i <= BALANCED_THIRD; i++) {
		uint16_t entry = host->entries[i];

		if (entry >= b->layout.n_servers || (n > 0 && entry == entries[0]) || (n > 1 && entry == entries[1]))
			continue;
		entries[n++] = entry;
	}
	if (host->entries[BALANCED_AWAY] < b->layout.n_servers)
		entries[BALANCED_AWAY] = host->entries[BALANCED_AWAY];
	return b->layout.n_servers ? make_list(b, g, &h, out) : 0;
}

size_t balanced_list(const struct balanced *b, uint64_t id, uint16_t out[SERVER_LIST_MAX])
{
	uint32_t host = balanced_place_of(b, id);

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
