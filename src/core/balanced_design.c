/*
 * The full design of one group (docs/placement.md, "Balanced" 3 to 6): level by level, how many hosts each server
 * should have, then which hosts these are.
 *
 * How many: servers get hosts one at a time, each time the one that is furthest below its share. Which: whoever has the
 * wanted entry already keeps it as long as there is room, so that what was even stays as it was; the others fill what
 * is left. First entries come first, since second ones count from them, then second, then third.
 *
 * Hosts are walked in the order of their ids and servers in the order of their names, so nothing depends on the order
 * in which they were added.
 */
#include <string.h>

#include "core/balanced_group.h"

/* How often something was counted, by server. */
struct counts {
	uint32_t of[SERVER_LIST_MAX];
};

/*
 * Among servers equally far below their share: the one that more hosts prefer, then the one that has hosts to keep.
 * `held`, for first entries only: by hosts that would have to move.
 */
static bool is_preferred(const struct balanced_group *g, const struct counts *have, const struct counts *held,
			 const struct counts *room, uint16_t a, uint16_t b)
{
	if (held && (held->of[a] > room->of[a]) != (held->of[b] > room->of[b]))
		return held->of[a] > room->of[a];
	if (held)
		return have->of[a] > have->of[b];
	if (g->first[a] != g->first[b])
		return g->first[a] > g->first[b];
	return have->of[a] > room->of[a] && have->of[b] <= room->of[b];
}

/*
 * Every server's whole hosts below its share, as long as the pool covers that: what is left is less than one a server.
 * Returns that.
 */
static uint32_t deal_in_bulk(const struct balanced_level *l, int64_t *keys, uint32_t pool, struct counts *room)
{
	int64_t sum = 0;

	for (size_t at = 0; at < l->n; at++)
		sum += keys[at] < 0 ? -keys[at] / l->weight : 0;
	if (sum > pool)
		return pool;
	for (size_t at = 0; at < l->n; at++) {
		int64_t below = keys[at] < 0 ? -keys[at] / l->weight : 0;

		room->of[l->servers[at]] += (uint32_t)below;
		keys[at] += below * l->weight;
	}
	return pool - (uint32_t)sum;
}

/* Deals `pool` hosts out to the level's servers; `have`: how many of them have which entry now. `held`: see above. */
static void level_deal(const struct balanced_level *l, const struct balanced_group *g, uint32_t pool,
		       const struct counts *have, const struct counts *held, struct counts *room)
{
	int64_t keys[SERVER_LIST_MAX];

	if (!l->n)
		return;
	for (size_t at = 0; at < l->n; at++)
		keys[at] = balanced_level_key(l, g, at);
	for (pool = deal_in_bulk(l, keys, pool, room); pool; pool--) {
		size_t best = 0;

		for (size_t at = 1; at < l->n; at++) {
			if (keys[at] < keys[best] ||
			    (keys[at] == keys[best] &&
			     is_preferred(g, have, held, room, l->servers[at], l->servers[best])))
				best = at;
		}
		room->of[l->servers[best]]++;
		keys[best] += l->weight;
	}
}

/* Hosts that have an entry for which there is room keep it; the others lose it. */
static void keep(const struct balanced_fleet *f, const uint32_t *hosts, size_t n, enum balanced_entry which,
		 struct counts *room)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t *entry = &f->places[hosts[i]].entries[which];

		if (*entry != NONE && room->of[*entry])
			room->of[*entry]--;
		else
			*entry = NONE;
	}
}

/* The others fill what is left, in turn. */
static void fill(const struct balanced_level *l, const struct balanced_fleet *f, const uint32_t *hosts, size_t n,
		 enum balanced_entry which, struct counts *room)
{
	size_t at = 0;

	for (size_t i = 0; i < n && l->n; i++) {
		uint16_t *entry = &f->places[hosts[i]].entries[which];

		if (*entry != NONE)
			continue;
		while (!room->of[l->servers[at]])
			at = at + 1 < l->n ? at + 1 : 0;
		*entry = l->servers[at];
		room->of[*entry]--;
		at = at + 1 < l->n ? at + 1 : 0;
	}
}

/* Entries that the level can't use don't count as kept. */
static void count_usable(const struct balanced_level *l, const struct balanced_fleet *f, const uint32_t *hosts,
			 size_t n, enum balanced_entry which, struct counts *have)
{
	bool is_usable[SERVER_LIST_MAX] = {false};

	memset(have, 0, sizeof(*have));
	for (size_t at = 0; at < l->n; at++)
		is_usable[l->servers[at]] = true;
	for (size_t i = 0; i < n; i++) {
		uint16_t *entry = &f->places[hosts[i]].entries[which];

		if (*entry != NONE && is_usable[*entry])
			have->of[*entry]++;
		else
			*entry = NONE;
	}
}

/* Second and third entries: nothing is special about them. */
static void level_design(struct balanced_level *l, const struct balanced_group *g, const struct balanced_fleet *f,
			 const uint32_t *hosts, size_t n, enum balanced_entry which)
{
	struct counts have, room = {{0}};

	count_usable(l, f, hosts, n, which, &have);
	level_deal(l, g, (uint32_t)n, &have, NULL, &room);
	keep(f, hosts, n, which, &room);
	fill(l, f, hosts, n, which, &room);
}

/* ---- first entries ---- */

static bool is_in(const uint16_t *tier, size_t n, uint16_t server)
{
	for (size_t i = 0; i < n; i++) {
		if (tier[i] == server)
			return true;
	}
	return false;
}

/* The first remembered server that can be preferred moves up: that is where the agent is if its server has failed. */
static void promote(const struct balanced_group *g, struct balanced_place *p)
{
	uint16_t kept[BALANCED_THIRD + 1] = {NONE, NONE, NONE}, n = 0;

	for (size_t i = BALANCED_FIRST; i <= BALANCED_THIRD; i++) {
		if (p->entries[i] != NONE)
			kept[n++] = p->entries[i];
	}
	for (size_t i = BALANCED_FIRST; i <= BALANCED_THIRD; i++)
		p->entries[i] = kept[i];
	while (p->entries[BALANCED_FIRST] != NONE && !is_in(g->local, g->n_local, p->entries[BALANCED_FIRST])) {
		p->entries[BALANCED_FIRST] = p->entries[BALANCED_SECOND];
		p->entries[BALANCED_SECOND] = p->entries[BALANCED_THIRD];
		p->entries[BALANCED_THIRD] = NONE;
	}
}

/* No server stands in a list twice. */
static void drop_repeated(struct balanced_place *p)
{
	uint16_t *e = p->entries;

	if (e[BALANCED_SECOND] == e[BALANCED_FIRST])
		e[BALANCED_SECOND] = NONE;
	if (e[BALANCED_THIRD] == e[BALANCED_FIRST] || e[BALANCED_THIRD] == e[BALANCED_SECOND])
		e[BALANCED_THIRD] = NONE;
}

/*
 * Splits the hosts that aren't pinned: first those that have a server, then those that lost it and were promoted, so
 * that nobody has to make room for these. Returns how many there are, and how many of the first kind.
 */
static size_t split_free(struct balanced_group *g, const struct balanced_fleet *f, const uint32_t *hosts, size_t n,
			 const struct balanced_scratch *s, size_t *n_held)
{
	size_t n_free = 0, n_promoted = 0;

	for (size_t i = 0; i < n; i++) {
		struct balanced_place *p = &f->places[hosts[i]];
		bool has_server = is_in(g->local, g->n_local, p->entries[BALANCED_FIRST]);

		if (p->pin != NONE) {
			p->entries[BALANCED_FIRST] = p->pin;
			g->first[p->pin]++;
			continue;
		}
		promote(g, p);
		if (has_server)
			s->sorted[n_free++] = hosts[i];
		else
			s->keys[n_promoted++] = hosts[i];
	}
	*n_held = n_free;
	if (n_promoted)
		memcpy(s->sorted + n_free, s->keys, n_promoted * sizeof(*s->keys));
	return n_free + n_promoted;
}

static void design_firsts(struct balanced_group *g, const struct balanced_fleet *f, const uint32_t *hosts, size_t n,
			  const struct balanced_scratch *s)
{
	struct balanced_level l;
	struct counts have = {{0}}, held, room = {{0}};
	const uint32_t *free_hosts = s->sorted;
	size_t n_held, n_free = split_free(g, f, hosts, n, s, &n_held);

	for (size_t i = 0; i < n_free; i++) {
		if (i == n_held)
			held = have;
		if (f->places[free_hosts[i]].entries[BALANCED_FIRST] != NONE)
			have.of[f->places[free_hosts[i]].entries[BALANCED_FIRST]]++;
	}
	if (n_held == n_free)
		held = have;
	balanced_level_init(&l, g, NONE, NONE, (uint32_t)n_free);
	level_deal(&l, g, (uint32_t)n_free, &have, &held, &room);
	for (size_t at = 0; at < l.n; at++)
		g->first[l.servers[at]] += room.of[l.servers[at]];
	keep(f, free_hosts, n_free, BALANCED_FIRST, &room);
	/* Who has to go goes where it would go if its server failed, if there is room. */
	for (size_t i = 0; i < n_free; i++) {
		uint16_t *e = f->places[free_hosts[i]].entries;

		for (size_t which = BALANCED_SECOND; which <= BALANCED_THIRD && e[BALANCED_FIRST] == NONE; which++) {
			if (e[which] != NONE && room.of[e[which]]) {
				e[BALANCED_FIRST] = e[which];
				room.of[e[which]]--;
			}
		}
	}
	fill(&l, f, free_hosts, n_free, BALANCED_FIRST, &room);
	for (size_t i = 0; i < n; i++)
		drop_repeated(&f->places[hosts[i]]);
}

/* ---- hosts by what they have ---- */

/* keys[i] is the key of hosts[i]; sorted[starts[key]] ... sorted[starts[key + 1] - 1] are those with that key. */
static void sort_by_key(const struct balanced_scratch *s, const uint32_t *hosts, size_t n, size_t n_keys)
{
	memset(s->starts, 0, (n_keys + 2) * sizeof(*s->starts));
	for (size_t i = 0; i < n; i++)
		s->starts[s->keys[i] + 2]++;
	for (size_t key = 2; key <= n_keys; key++)
		s->starts[key] += s->starts[key - 1];
	for (size_t i = 0; i < n; i++)
		s->sorted[s->starts[s->keys[i] + 1]++] = hosts[i];
}

static void design_seconds(struct balanced_group *g, const struct balanced_fleet *f, const uint32_t *hosts, size_t n,
			   const struct balanced_scratch *s)
{
	for (size_t i = 0; i < n; i++)
		s->keys[i] = f->places[hosts[i]].entries[BALANCED_FIRST];
	sort_by_key(s, hosts, n, g->n);
	for (uint16_t i = 0; i < g->n; i++) {
		const uint32_t *of_first = s->sorted + s->starts[i];
		size_t n_of_first = s->starts[i + 1] - s->starts[i];
		struct balanced_level l;

		if (!n_of_first)
			continue;
		balanced_level_init(&l, g, i, NONE, (uint32_t)n_of_first);
		level_design(&l, g, f, of_first, n_of_first, BALANCED_SECOND);
		for (size_t k = 0; k < n_of_first && l.n; k++)
			g->planes[i].second[f->places[of_first[k]].entries[BALANCED_SECOND]]++;
	}
}

static void design_thirds(struct balanced_group *g, const struct balanced_fleet *f, const uint32_t *hosts, size_t n,
			  const struct balanced_scratch *s)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t a = f->places[hosts[i]].entries[BALANCED_FIRST];
		uint16_t b = f->places[hosts[i]].entries[BALANCED_SECOND];

		if (b == NONE) {
			/* There is but one server to choose, so nobody has a third one. */
			for (size_t k = 0; k < n; k++)
				f->places[hosts[k]].entries[BALANCED_THIRD] = NONE;
			return;
		}
		s->keys[i] = (uint32_t)((a < b ? a : b) * g->n + (a < b ? b : a));
	}
	sort_by_key(s, hosts, n, g->n * g->n);
	for (uint16_t i = 0; i < g->n; i++) {
		for (uint16_t j = (uint16_t)(i + 1); j < g->n; j++) {
			size_t key = i * g->n + j, n_of_pair = s->starts[key + 1] - s->starts[key];
			struct balanced_level l;

			if (!n_of_pair)
				continue;
			balanced_level_init(&l, g, i, j, (uint32_t)n_of_pair);
			level_design(&l, g, f, s->sorted + s->starts[key], n_of_pair, BALANCED_THIRD);
		}
	}
}

static void design_away(struct balanced_group *g, const struct balanced_fleet *f, const uint32_t *hosts, size_t n)
{
	struct balanced_level l = {.total = (int64_t)n};

	if (!balanced_group_has_away(g)) {
		for (size_t i = 0; i < n; i++)
			f->places[hosts[i]].entries[BALANCED_AWAY] = NONE;
		return;
	}
	for (size_t i = 0; i < g->n_away; i++) {
		l.servers[l.n++] = g->away[i];
		l.weight += g->weights[g->away[i]];
	}
	level_design(&l, g, f, hosts, n, BALANCED_AWAY);
}

static void counts_clear(struct balanced_group *g)
{
	size_t side = g->n + 1;

	g->n_hosts = 0;
	memset(g->first, 0, sizeof(g->first));
	memset(g->movable, 0, sizeof(g->movable));
	memset(g->seconds, 0, sizeof(g->seconds));
	memset(g->thirds, 0, sizeof(g->thirds));
	memset(g->first_away, 0, sizeof(g->first_away));
	for (size_t i = 0; i < g->n; i++) {
		if (g->planes[i].second)
			memset(g->planes[i].second, 0, side * sizeof(uint32_t));
	}
}

void balanced_group_design(struct balanced_group *g, const struct balanced_fleet *f, const uint32_t *hosts,
			   size_t n_hosts, const struct balanced_scratch *scratch)
{
	if (!g->n_local) {
		for (size_t i = 0; i < n_hosts; i++)
			f->places[hosts[i]] = (struct balanced_place){{NONE, NONE, NONE, NONE}, NONE};
		return;
	}
	/* Levels are counted from what is designed so far, and all is counted again in the end, with the heaps. */
	design_firsts(g, f, hosts, n_hosts, scratch);
	design_seconds(g, f, hosts, n_hosts, scratch);
	design_thirds(g, f, hosts, n_hosts, scratch);
	design_away(g, f, hosts, n_hosts);
	counts_clear(g);
	for (size_t i = 0; i < n_hosts; i++)
		balanced_group_link(g, f, hosts[i]);
}

/* ---- what was stored ---- */

static bool level_has(const struct balanced_group *g, uint16_t i, uint16_t j, uint16_t server)
{
	struct balanced_level l;

	balanced_level_init(&l, g, i, j, 0);
	return l.n ? is_in(l.servers, l.n, server) : server == NONE;
}

bool balanced_group_fits(const struct balanced_group *g, const struct balanced_place *p)
{
	const uint16_t *e = p->entries;

	if (p->pin != NONE ? e[BALANCED_FIRST] != p->pin : !level_has(g, NONE, NONE, e[BALANCED_FIRST]))
		return false;
	if (e[BALANCED_FIRST] == NONE)
		return e[BALANCED_SECOND] == NONE && e[BALANCED_THIRD] == NONE && e[BALANCED_AWAY] == NONE;
	if (!level_has(g, e[BALANCED_FIRST], NONE, e[BALANCED_SECOND]))
		return false;
	if (e[BALANCED_SECOND] == NONE ? e[BALANCED_THIRD] != NONE
				       : !level_has(g, e[BALANCED_FIRST], e[BALANCED_SECOND], e[BALANCED_THIRD]))
		return false;
	return balanced_group_has_away(g) ? is_in(g->away, g->n_away, e[BALANCED_AWAY]) : e[BALANCED_AWAY] == NONE;
}
