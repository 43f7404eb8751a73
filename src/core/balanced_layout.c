/*
 * What depends on the set of servers: the sorted servers, the groups, and every host's place among them
 * (docs/placement.md, "Balanced" 1, 2 and 12).
 */
#include "core/balanced_layout.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static uint64_t hash_name(const char *name)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 0x100000001b3u;
	return balanced_mix(h);
}

enum err balanced_zone_intern(struct balanced *b, const char *name, uint32_t *out)
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

struct balanced_fleet balanced_fleet_of(const struct balanced *b, const struct balanced_layout *l)
{
	return (struct balanced_fleet){.ids = b->ids, .places = l->places, .knots = l->knots};
}

void balanced_layout_deinit(struct balanced_layout *l)
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
	*l = (struct balanced_layout){0};
}

int balanced_member_compare(const void *a, const void *b)
{
	const struct balanced_member *left = a, *right = b;

	return strcmp(left->name, right->name);
}

enum err balanced_layout_set_servers(struct balanced_layout *l, struct balanced *b,
				     const struct balanced_server *servers, size_t n)
{
	uint64_t sum = 0;
	enum err e;

	l->servers = mem_zalloc_array(n ? n : 1, sizeof(*l->servers));
	l->weights = mem_zalloc_array(n ? n : 1, sizeof(*l->weights));
	if (!l->servers || !l->weights)
		return ERR_NOMEM;
	for (size_t i = 0; i < n; i++) {
		struct balanced_member *s = &l->servers[i];

		l->n_servers++; /* from here on balanced_layout_deinit() frees what there is of it */
		s->name = mem_strdup(servers[i].name);
		if (!s->name)
			return ERR_NOMEM;
		if ((e = balanced_zone_intern(b, servers[i].zone, &s->zone)))
			return e;
		s->weight = servers[i].weight;
		s->hash = hash_name(s->name);
		sum += s->weight;
	}
	qsort(l->servers, n, sizeof(*l->servers), balanced_member_compare);
	/* Balanced 2. If all are last resorts, none is. */
	for (size_t i = 0; i < n; i++)
		l->weights[i] = sum ? l->servers[i].weight : 1;
	return ERR_OK;
}

/* Balanced 1. One group for each zone that has servers, and one for all the other hosts. */
enum err balanced_layout_set_groups(struct balanced_layout *l, const struct balanced *b)
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

		g->n = (uint16_t)l->n_servers;
		g->weights = l->weights;
		for (uint16_t i = 0; i < g->n; i++) {
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

uint16_t balanced_layout_group_of(const struct balanced_layout *l, uint32_t zone)
{
	return zone < l->n_zones ? l->group_of_zone[zone] : 0;
}

enum err balanced_layout_set_hosts(struct balanced_layout *l, const struct balanced *b)
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

static enum err design_init(struct design *d, const struct balanced *b, const struct balanced_layout *l)
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
static void design_sort(struct design *d, const struct balanced *b, const struct balanced_layout *l)
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
enum err balanced_layout_reserve(struct balanced_layout *l, uint32_t n_hosts)
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

enum err balanced_layout_design(struct balanced_layout *l, const struct balanced *b)
{
	CLEAN(design_deinit) struct design d = {0};
	struct balanced_fleet fleet = balanced_fleet_of(b, l);
	enum err e;

	if ((e = balanced_layout_reserve(l, b->n_hosts)) || (e = design_init(&d, b, l)))
		return e;
	design_sort(&d, b, l);
	for (size_t k = 0; k < l->n_groups; k++)
		balanced_group_design(&l->groups[k], &fleet, d.hosts + d.starts[k], d.starts[k + 1] - d.starts[k],
				      &d.scratch);
	return ERR_OK;
}
