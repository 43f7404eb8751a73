/*
 * One group of a balanced placement, changed by a host at a time (docs/placement.md, "Balanced").
 *
 * The whole thinking is in "levels". A level is a failure: nobody, one server or two. Its survivors carry hosts: those
 * that prefer them, and those whose second or third entry sends them there. A level is even when no survivor is more
 * than one host further above its share than any other. What an entry of the level has put somewhere (its "spare"
 * hosts) can be put elsewhere without touching any other level of the same depth: a second entry counts when the first
 * server fails and in no other single failure, a third one for exactly one pair. So levels are evened one by one, each
 * by moving an entry from the highest server that has a spare one to the lowest.
 *
 * Which host of several gives its entry must not depend on how we came here, since another server may go on from what
 * was stored. Hosts with the same beginning stand in a pairing heap by a number made from their id: the heap's inner
 * shape depends on its history, its root does not.
 */
#include "core/balanced_group.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

/* Pairs that giving the odd ones of a single failure to others must even, to be worth the list that it alters. */
#define SWAP_GAIN 2

/* ---- heaps of hosts ---- */

/* Pinned hosts last: the root is pinned only if all are. */
static bool goes_before(const struct balanced_fleet *f, uint32_t a, uint32_t b)
{
	bool is_a_pinned = f->places[a].pin != NONE, is_b_pinned = f->places[b].pin != NONE;

	if (is_a_pinned != is_b_pinned)
		return is_b_pinned;
	return balanced_mix(f->ids[a]) > balanced_mix(f->ids[b]);
}

/* Both are roots, host + 1; 0: an empty heap. */
static uint32_t heap_merge(const struct balanced_fleet *f, uint32_t a, uint32_t b)
{
	struct balanced_knot *winner, *loser;

	if (!a || !b)
		return a ? a : b;
	if (!goes_before(f, a - 1, b - 1)) {
		uint32_t swap = a;

		a = b;
		b = swap;
	}
	winner = &f->knots[a - 1];
	loser = &f->knots[b - 1];
	loser->next = winner->child;
	loser->prev = a;
	if (winner->child)
		f->knots[winner->child - 1].prev = b;
	winner->child = b;
	return a;
}

/* Makes one heap of a row of siblings: first in pairs, then all. */
static uint32_t heap_merge_row(const struct balanced_fleet *f, uint32_t row)
{
	uint32_t pairs = 0, root = 0;

	while (row) {
		uint32_t a = row, b = f->knots[a - 1].next, merged;

		row = b ? f->knots[b - 1].next : 0;
		f->knots[a - 1].next = f->knots[a - 1].prev = 0;
		if (b)
			f->knots[b - 1].next = f->knots[b - 1].prev = 0;
		merged = heap_merge(f, a, b);
		f->knots[merged - 1].next = pairs;
		pairs = merged;
	}
	while (pairs) {
		uint32_t next = f->knots[pairs - 1].next;

		f->knots[pairs - 1].next = 0;
		root = heap_merge(f, root, pairs);
		pairs = next;
	}
	return root;
}

static void heap_put(const struct balanced_fleet *f, uint32_t *root, uint32_t host)
{
	f->knots[host] = (struct balanced_knot){0};
	*root = heap_merge(f, *root, host + 1);
}

static void heap_take(const struct balanced_fleet *f, uint32_t *root, uint32_t host)
{
	struct balanced_knot *k = &f->knots[host];
	uint32_t below = heap_merge_row(f, k->child);

	if (*root == host + 1) {
		*root = below;
		return;
	}
	if (f->knots[k->prev - 1].child == host + 1)
		f->knots[k->prev - 1].child = k->next;
	else
		f->knots[k->prev - 1].next = k->next;
	if (k->next)
		f->knots[k->next - 1].prev = k->prev;
	*root = heap_merge(f, *root, below);
}

/* ---- the group's counts ---- */

enum err balanced_group_reserve(struct balanced_group *g, uint16_t server)
{
	size_t side = g->n + 1;

	for (size_t i = 0; i < (server == NONE ? g->n_local : 1); i++) {
		struct balanced_plane *p = &g->planes[server == NONE ? g->local[i] : server];

		if (p->second)
			continue;
		/* One block of zeros; what is never counted in costs address space only. */
		p->second = mem_zalloc_array(2 * side + 2 * side * side, sizeof(uint32_t));
		if (!p->second)
			return ERR_NOMEM;
		p->through = p->second + side;
		p->count = p->through + side;
		p->head = p->count + side * side;
	}
	return ERR_OK;
}

void balanced_group_deinit(struct balanced_group *g)
{
	for (size_t i = 0; i < g->n; i++)
		mem_free(g->planes[i].second);
	*g = (struct balanced_group){0};
}

static size_t entry_at(const struct balanced_group *g, uint16_t entry)
{
	return entry == NONE ? g->n : entry;
}

static size_t cell(const struct balanced_group *g, uint16_t second, uint16_t third)
{
	return entry_at(g, second) * (g->n + 1) + entry_at(g, third);
}

static uint32_t n_seconds(const struct balanced_group *g, uint16_t first, uint16_t second)
{
	return g->planes[first].second ? g->planes[first].second[second] : 0;
}

static uint32_t n_thirds(const struct balanced_group *g, uint16_t first, uint16_t second, uint16_t third)
{
	return g->planes[first].second ? g->planes[first].count[cell(g, second, third)] : 0;
}

/* `by` is one or, as UINT32_MAX, minus one. */
static void count_by(struct balanced_group *g, const struct balanced_place *p, uint32_t by)
{
	uint16_t first = p->entries[BALANCED_FIRST], second = p->entries[BALANCED_SECOND],
		 third = p->entries[BALANCED_THIRD], away = p->entries[BALANCED_AWAY];

	g->n_hosts += by;
	g->first[first] += by;
	if (p->pin == NONE)
		g->movable[first] += by;
	if (away != NONE)
		g->first_away[away] += by;
	g->planes[first].second[entry_at(g, second)] += by;
	g->planes[first].count[cell(g, second, third)] += by;
	if (second != NONE)
		g->seconds[second] += by;
	if (third != NONE) {
		g->thirds[third] += by;
		g->planes[first].through[third] += by;
		if (g->planes[second].through)
			g->planes[second].through[third] += by;
	}
}

static uint32_t *head_of(struct balanced_group *g, const struct balanced_place *p)
{
	return &g->planes[p->entries[BALANCED_FIRST]]
			.head[cell(g, p->entries[BALANCED_SECOND], p->entries[BALANCED_THIRD])];
}

void balanced_group_link(struct balanced_group *g, const struct balanced_fleet *f, uint32_t host)
{
	if (f->places[host].entries[BALANCED_FIRST] == NONE)
		return; /* there are no servers */
	count_by(g, &f->places[host], 1);
	heap_put(f, head_of(g, &f->places[host]), host);
}

void balanced_group_unlink(struct balanced_group *g, const struct balanced_fleet *f, uint32_t host)
{
	if (f->places[host].entries[BALANCED_FIRST] == NONE)
		return;
	count_by(g, &f->places[host], UINT32_MAX); /* minus one */
	heap_take(f, head_of(g, &f->places[host]), host);
}

bool balanced_group_has_away(const struct balanced_group *g)
{
	/* With one or two servers in the zone the second or third entry is outside already. */
	return g->n_local >= 3 && g->n_away > 0;
}

/* ---- levels ---- */

static const uint32_t *row_of_seconds(const struct balanced_group *g, uint16_t first)
{
	return first == NONE ? NULL : g->planes[first].second;
}

static const uint32_t *row_of_thirds(const struct balanced_group *g, uint16_t first, uint16_t second)
{
	if (first == NONE || second == NONE || !g->planes[first].second)
		return NULL;
	return &g->planes[first].count[cell(g, second, 0)];
}

/* The servers of one tier without i and j, beginning at a place that differs from level to level. */
static void level_take(struct balanced_level *l, const uint16_t *tier, size_t n_tier, uint16_t i, uint16_t j)
{
	size_t from = n_tier ? ((i == NONE ? 0 : i + 1u) + (j == NONE ? 0 : j)) % n_tier : 0;

	for (size_t at = 0; at < n_tier; at++) {
		uint16_t server = tier[from + at < n_tier ? from + at : from + at - n_tier];

		if (server != i && server != j)
			l->servers[l->n++] = server;
	}
}

void balanced_level_init(struct balanced_level *l, const struct balanced_group *g, uint16_t i, uint16_t j,
			 uint32_t pool)
{
	const uint32_t *seconds_i = row_of_seconds(g, i), *seconds_j = row_of_seconds(g, j);
	const uint32_t *thirds_ij = row_of_thirds(g, i, j), *thirds_ji = row_of_thirds(g, j, i);

	l->n = 0;
	l->weight = 0;
	l->total = pool;
	/* Balanced 1. Servers outside the zone count when nobody inside is left. */
	level_take(l, g->local, g->n_local, i, j);
	if (!l->n)
		level_take(l, g->away, g->n_away, i, j);
	for (size_t at = 0; at < l->n; at++) {
		uint16_t s = l->servers[at];
		uint32_t from_i = seconds_i ? seconds_i[s] : 0, from_j = seconds_j ? seconds_j[s] : 0;
		uint32_t from_both = (thirds_ij ? thirds_ij[s] : 0) + (thirds_ji ? thirds_ji[s] : 0);

		l->load[at] = g->first[s] + from_i + from_j + from_both;
		l->spare[at] = i == NONE ? g->movable[s] : j == NONE ? from_i : from_both;
		l->weight += g->weights[s];
		l->total += l->load[at];
	}
}

/* The level of the servers outside the zone, when all inside have failed (Balanced 6). */
static void level_init_away(struct balanced_level *l, const struct balanced_group *g, uint32_t pool)
{
	l->n = 0;
	l->weight = 0;
	l->total = pool;
	level_take(l, g->away, g->n_away, NONE, NONE);
	for (size_t at = 0; at < l->n; at++) {
		l->load[at] = l->spare[at] = g->first_away[l->servers[at]];
		l->weight += g->weights[l->servers[at]];
		l->total += l->load[at];
	}
}

/*
 * How much the double failures load each server, for choosing between servers that are equal otherwise. For the pairs
 * that one server `row` is part of, or NONE: for all.
 */
struct scores {
	bool is_large; /* third entries can even every pair, whatever the second ones are */
	int64_t of[SERVER_LIST_MAX];
};

/* Balanced 5: from here on there are enough third entries in each pair. */
static bool is_large(const struct balanced_group *g)
{
	uint64_t m = g->n_local;

	return m >= 3 && g->n_hosts >= m * (m - 1) * (m - 1);
}

static void scores_init(struct scores *s, const struct balanced_group *g)
{
	s->is_large = is_large(g);
	memset(s->of, 0, g->n * sizeof(s->of[0]));
}

/* What pairs with `row` put on each server beyond what the failure of `row` alone puts there. */
static void scores_init_row(struct scores *s, const struct balanced_group *g, uint16_t row)
{
	const uint32_t *through = g->planes[row].through;

	scores_init(s, g);
	for (size_t at = 0; at < g->n_local; at++) {
		uint16_t to = g->local[at];

		s->of[to] = (int64_t)g->seconds[to] - n_seconds(g, row, to) + (through ? through[to] : 0);
	}
}

/* What all pairs put on each server beyond the hosts that prefer it. */
static void scores_init_all(struct scores *s, const struct balanced_group *g)
{
	scores_init(s, g);
	for (size_t at = 0; at < g->n_local; at++) {
		uint16_t to = g->local[at];

		s->of[to] = (int64_t)g->seconds[to] * ((int64_t)g->n_local - 2) + g->thirds[to];
	}
}

int64_t balanced_level_key(const struct balanced_level *l, const struct balanced_group *g, size_t i)
{
	/* At most 2^31 hosts times 2^18 of weight. */
	return (int64_t)l->load[i] * l->weight - l->total * g->weights[l->servers[i]];
}

/*
 * Which of two servers with equal keys comes first when a level gives: the server that more hosts prefer (see Balanced
 * 5, why that keeps double failures within 2), then the one with less on it after double failures.
 */
static bool is_lower(const struct balanced_group *g, const struct scores *s, uint16_t a, uint16_t b)
{
	if (!s->is_large && g->first[a] != g->first[b])
		return g->first[a] > g->first[b];
	return s->of[a] < s->of[b];
}

static size_t level_lowest(const struct balanced_level *l, const struct balanced_group *g, const struct scores *s)
{
	size_t lowest = SIZE_MAX;
	int64_t low = 0;

	for (size_t at = 0; at < l->n; at++) {
		int64_t key = balanced_level_key(l, g, at);

		if (lowest == SIZE_MAX || key < low ||
		    (key == low && is_lower(g, s, l->servers[at], l->servers[lowest]))) {
			lowest = at;
			low = key;
		}
	}
	return lowest;
}

static size_t level_highest(const struct balanced_level *l, const struct balanced_group *g, const struct scores *s)
{
	size_t highest = SIZE_MAX;
	int64_t high = 0;

	for (size_t at = 0; at < l->n; at++) {
		int64_t key = balanced_level_key(l, g, at);

		if (!l->spare[at])
			continue;
		if (highest == SIZE_MAX || key > high ||
		    (key == high && is_lower(g, s, l->servers[highest], l->servers[at]))) {
			highest = at;
			high = key;
		}
	}
	return highest;
}

/* One move that makes a level more even. */
struct shift {
	uint16_t from, to;
	int64_t gap; /* in whole hosts, rounded up */
};

static bool level_shift(struct shift *out, const struct balanced_level *l, const struct balanced_group *g,
			const struct scores *s)
{
	size_t high = level_highest(l, g, s), low = level_lowest(l, g, s);
	int64_t gap;

	if (high == SIZE_MAX || low == SIZE_MAX || high == low)
		return false;
	gap = balanced_level_key(l, g, high) - balanced_level_key(l, g, low);
	*out = (struct shift){
		.from = l->servers[high],
		.to = l->servers[low],
		.gap = gap <= 0 ? 0 : (gap + l->weight - 1) / l->weight,
	};
	return out->gap > 0;
}

/*
 * A shift with a gap of one leaves the level as even as it was: it only gives the odd ones to others. That is worth a
 * list if it puts them where more hosts prefer a server already, or where it evens several pairs at once.
 */
static bool is_worth_it(const struct balanced_group *g, const struct shift *s, const struct scores *scores)
{
	if (s->gap != 1)
		return s->gap > 1;
	if (g->weights[s->from] != g->weights[s->to])
		return false;
	if (!scores->is_large && g->first[s->from] != g->first[s->to])
		return g->first[s->from] < g->first[s->to];
	return scores->of[s->from] - scores->of[s->to] >= SWAP_GAIN;
}

static uint16_t lowest_server(const struct balanced_group *g, uint16_t i, uint16_t j)
{
	struct balanced_level l;
	struct scores s;

	if (i == NONE)
		scores_init_all(&s, g);
	else if (j == NONE)
		scores_init_row(&s, g, i);
	else
		scores_init(&s, g);
	balanced_level_init(&l, g, i, j, 1);
	return l.n ? l.servers[level_lowest(&l, g, &s)] : NONE;
}

/* ---- changing entries of hosts ---- */

static void log_host(struct balanced_log *log, uint64_t id)
{
	for (size_t i = 0; i < log->n; i++) {
		if (log->hosts[i] == id)
			return;
	}
	if (log->n == log->cap)
		log->is_all = true;
	else
		log->hosts[log->n++] = id;
}

static void host_change(struct balanced_group *g, const struct balanced_fleet *f, uint32_t host,
			const struct balanced_place *to, struct balanced_log *log)
{
	balanced_group_unlink(g, f, host);
	f->places[host] = *to;
	balanced_group_link(g, f, host);
	log_host(log, f->ids[host]);
}

/* Of the hosts that begin with these two, one whose third entry is needed least. */
static uint32_t spare_host(const struct balanced_group *g, uint16_t first, uint16_t second)
{
	struct balanced_level l;
	size_t best = SIZE_MAX;

	balanced_level_init(&l, g, first, second, 0);
	for (size_t at = 0; at < l.n; at++) {
		if (n_thirds(g, first, second, l.servers[at]) &&
		    (best == SIZE_MAX || balanced_level_key(&l, g, at) > balanced_level_key(&l, g, best)))
			best = at;
	}
	return g->planes[first].head[cell(g, second, best == SIZE_MAX ? NONE : l.servers[best])] - 1;
}

static void second_shift(struct balanced_group *g, const struct balanced_fleet *f, uint16_t first,
			 const struct shift *s, struct balanced_log *log)
{
	uint32_t host = spare_host(g, first, s->from);
	struct balanced_place to = f->places[host];

	balanced_group_unlink(g, f, host);
	to.entries[BALANCED_SECOND] = s->to;
	to.entries[BALANCED_THIRD] = lowest_server(g, first, s->to);
	balanced_group_link(g, f, host);
	host_change(g, f, host, &to, log);
}

static void third_shift(struct balanced_group *g, const struct balanced_fleet *f, uint16_t i, uint16_t j,
			const struct shift *s, struct balanced_log *log)
{
	uint32_t host = g->planes[i].second ? g->planes[i].head[cell(g, j, s->from)] : 0;
	struct balanced_place to;

	if (!host)
		host = g->planes[j].head[cell(g, i, s->from)];
	to = f->places[host - 1];
	to.entries[BALANCED_THIRD] = s->to;
	host_change(g, f, host - 1, &to, log);
}

/* Each single failure loses at most one of its second entries to another server (decision 24). */
static void even_seconds(struct balanced_group *g, const struct balanced_fleet *f, struct balanced_log *log)
{
	for (uint16_t i = 0; i < g->n; i++) {
		struct balanced_level l;
		struct scores scores;
		struct shift s;

		if (!g->first[i])
			continue;
		balanced_level_init(&l, g, i, NONE, 0);
		scores_init_row(&scores, g, i);
		if (level_shift(&s, &l, g, &scores) && is_worth_it(g, &s, &scores))
			second_shift(g, f, i, &s, log);
	}
}

/* Brings every pair of failures to within `bound` where third entries can do it, and stops at `max_lists`. */
static void even_thirds(struct balanced_group *g, const struct balanced_fleet *f, int64_t bound, size_t max_lists,
			struct balanced_log *log)
{
	struct scores none;

	scores_init(&none, g);
	for (uint16_t i = 0; i < g->n; i++) {
		for (uint16_t j = (uint16_t)(i + 1); j < g->n; j++) {
			struct balanced_level l;
			struct shift s;

			if (!n_seconds(g, i, j) && !n_seconds(g, j, i))
				continue;
			for (;;) {
				if (log->n >= max_lists)
					return;
				balanced_level_init(&l, g, i, j, 0);
				if (!level_shift(&s, &l, g, &none) || s.gap <= bound)
					break;
				third_shift(g, f, i, j, &s, log);
			}
		}
	}
}

static void even_tails(struct balanced_group *g, const struct balanced_fleet *f, struct balanced_log *log)
{
	even_seconds(g, f, log);
	/* Within 2 always, within 1 as far as decision 24 lets us; balanced_settle() does the rest. */
	even_thirds(g, f, 2, SIZE_MAX, log);
	even_thirds(g, f, 1, 2 * (g->n_local + g->n_away), log);
}

void balanced_group_settle(struct balanced_group *g, const struct balanced_fleet *f, struct balanced_log *log,
			   size_t max_lists)
{
	if (g->n_hosts)
		even_thirds(g, f, 1, max_lists, log);
}

/* ---- one host comes or goes ---- */

static void host_place(struct balanced_group *g, struct balanced_place *p)
{
	uint16_t first = p->pin != NONE ? p->pin : lowest_server(g, NONE, NONE);
	uint16_t second = first == NONE ? NONE : lowest_server(g, first, NONE);

	p->entries[BALANCED_FIRST] = first;
	p->entries[BALANCED_SECOND] = second;
	p->entries[BALANCED_THIRD] = second == NONE ? NONE : lowest_server(g, first, second);
}

void balanced_group_add(struct balanced_group *g, const struct balanced_fleet *f, uint32_t host,
			struct balanced_log *log)
{
	struct balanced_place *p = &f->places[host];

	p->entries[BALANCED_AWAY] = NONE;
	host_place(g, p);
	if (balanced_group_has_away(g)) {
		struct balanced_level l;
		struct scores none;

		scores_init(&none, g);
		level_init_away(&l, g, 1);
		p->entries[BALANCED_AWAY] = l.servers[level_lowest(&l, g, &none)];
	}
	balanced_group_link(g, f, host);
	even_tails(g, f, log);
}

/* Of the hosts that prefer a server and aren't pinned, one whose tail is needed least. */
static uint32_t movable_host(const struct balanced_group *g, const struct balanced_fleet *f, uint16_t first)
{
	const struct balanced_plane *plane = &g->planes[first];
	struct balanced_level l;
	uint32_t best = 0;
	int64_t best_key = 0;

	balanced_level_init(&l, g, first, NONE, 0);
	for (size_t at = 0; at < l.n; at++) {
		int64_t key = balanced_level_key(&l, g, at);

		if (!plane->second[l.servers[at]] || (best && key <= best_key))
			continue;
		for (size_t third = 0; third <= g->n; third++) {
			uint32_t host = plane->head[l.servers[at] * (g->n + 1) + third];

			if (host && f->places[host - 1].pin == NONE) {
				best = host;
				best_key = key;
				break;
			}
		}
	}
	return best ? best - 1 : plane->head[cell(g, NONE, NONE)] - 1;
}

/* Balanced 9: one host, if the ones that prefer a server are no longer even. */
static void even_firsts(struct balanced_group *g, const struct balanced_fleet *f, struct balanced_log *log)
{
	struct balanced_level l;
	struct balanced_place to;
	struct scores scores;
	struct shift s;
	uint32_t host;

	balanced_level_init(&l, g, NONE, NONE, 0);
	scores_init_all(&scores, g);
	if (!level_shift(&s, &l, g, &scores) || s.gap <= 1)
		return;
	host = movable_host(g, f, s.from);
	balanced_group_unlink(g, f, host);
	to = f->places[host];
	host_place(g, &to);
	balanced_group_link(g, f, host);
	host_change(g, f, host, &to, log);
	log->n_moves++;
}

static void even_away(struct balanced_group *g, const struct balanced_fleet *f, const uint16_t *group_of,
		      uint16_t group, uint32_t n_hosts, struct balanced_log *log)
{
	struct balanced_level l;
	struct balanced_place to;
	struct scores none;
	struct shift s;
	uint32_t best = UINT32_MAX;

	level_init_away(&l, g, 0);
	scores_init(&none, g);
	if (!level_shift(&s, &l, g, &none) || s.gap <= 1)
		return;
	for (uint32_t host = 0; host < n_hosts; host++) {
		if (group_of[host] != group || f->places[host].entries[BALANCED_AWAY] != s.from)
			continue;
		if (best == UINT32_MAX || balanced_mix(f->ids[host]) > balanced_mix(f->ids[best]))
			best = host;
	}
	to = f->places[best];
	to.entries[BALANCED_AWAY] = s.to;
	host_change(g, f, best, &to, log);
}

void balanced_group_remove(struct balanced_group *g, const struct balanced_fleet *f, uint32_t host,
			   const uint16_t *group_of, uint16_t group, uint32_t n_hosts, struct balanced_log *log)
{
	balanced_group_unlink(g, f, host);
	even_firsts(g, f, log);
	even_tails(g, f, log);
	if (balanced_group_has_away(g))
		even_away(g, f, group_of, group, n_hosts, log);
}
