/*
 * The placement that the store has under balanced, loaded by itself: does it fit, is it even, and which list should
 * each host have? Counted from whole lists, one host after the other, not by what keeps the placement even
 * (docs/placement.md, "Balanced").
 */
#include <string.h>

#include "core/balanced.h"
#include "sim/invariants.h"

#define HOSTS_ZONE "default" /* all hosts of the simulation are there */
#define SHARE_SLACK 2.0      /* hosts; docs/placement.md, "What is not promised" */

struct evenness {
	struct balanced *b;
	int64_t ids[SERVER_LIST_MAX]; /* of list_server, by place */
	struct balanced_server servers[SERVER_LIST_MAX];
	size_t n;
	bool is_plain; /* all servers count the same and none has a zone, nobody is pinned */
	bool has_pins;
};

void evenness_free(struct truth *t)
{
	if (t->evenness)
		balanced_free(t->evenness->b);
	t->evenness = mem_free(t->evenness);
	for (size_t i = 0; i < t->n_entries; i++)
		list_server_row_deinit(&t->entries[i]);
	t->entries = mem_free(t->entries);
}

static uint16_t place_of(const struct evenness *v, int64_t id)
{
	for (uint16_t i = 0; i < v->n; i++) {
		if (v->ids[i] == id)
			return i;
	}
	/* 0 is none; a number that isn't in use must not be there. */
	return id ? (uint16_t)(BALANCED_NONE - 1) : BALANCED_NONE;
}

static void servers_collect(struct evenness *v, const struct truth *t)
{
	v->is_plain = true;
	for (size_t i = 0; i < t->n_entries && v->n < SERVER_LIST_MAX; i++) {
		const struct list_server_row *r = &t->entries[i];

		if (!r->in_use)
			continue;
		v->ids[v->n] = r->id;
		v->servers[v->n++] = (struct balanced_server){
			.name = r->entry, .weight = r->resting ? 0 : (uint32_t)r->weight, .zone = r->zone};
		v->is_plain &= r->weight == 1 && !r->resting && !r->zone;
	}
}

enum err evenness_load(struct truth *t, struct why *why)
{
	CLEAN(mem_freep) struct balanced_host *hosts = mem_zalloc_array(t->n + 1, sizeof(*hosts));
	struct evenness *v = mem_zalloc(sizeof(*v));

	t->evenness = v;
	if (!v || !hosts)
		return ERR_NOMEM;
	servers_collect(v, t);
	for (size_t i = 0; i < t->n; i++) {
		const struct host_row *h = &t->hosts[i];

		hosts[i] = (struct balanced_host){
			.id = (uint64_t)h->id,
			.zone = HOSTS_ZONE,
			.entries = {place_of(v, h->placed_first), place_of(v, h->placed_second),
				    place_of(v, h->placed_third), place_of(v, h->placed_away)},
			.pin = place_of(v, h->pin),
		};
		v->is_plain &= !h->pin;
		v->has_pins |= h->pin != 0;
	}
	return balanced_load(&v->b, 1, v->servers, v->n, hosts, t->n, why);
}

enum err evenness_list(const struct truth *t, const struct host_row *h, struct str_list *out)
{
	uint16_t list[SERVER_LIST_MAX];
	size_t n = balanced_list(t->evenness->b, (uint64_t)h->id, list);
	enum err e = ERR_OK;

	for (size_t i = 0; i < n && !e; i++)
		e = str_list_add(out, balanced_get_server(t->evenness->b, list[i]).name);
	return e;
}

/* Where everybody goes when a and b (SIZE_MAX: nobody) are dead, and how far the others are apart. */
static size_t spread_without(const struct truth *t, size_t a, size_t b)
{
	size_t counts[SERVER_LIST_MAX] = {0}, least = SIZE_MAX, most = 0, n = balanced_n_servers(t->evenness->b);

	for (size_t i = 0; i < t->n; i++) {
		uint16_t list[SERVER_LIST_MAX];
		size_t len = balanced_list(t->evenness->b, (uint64_t)t->hosts[i].id, list), k = 0;

		while (k < len && (list[k] == a || list[k] == b))
			k++;
		if (k < len)
			counts[list[k]]++;
	}
	for (size_t i = 0; i < n; i++) {
		if (i == a || i == b)
			continue;
		least = counts[i] < least ? counts[i] : least;
		most = counts[i] > most ? counts[i] : most;
	}
	return least == SIZE_MAX ? 0 : most - least;
}

/* Which servers share the hosts: those of their zone, all of the simulation's being in one, or else all (Balanced 1,
 * 2). */
static bool counts(const struct evenness *v, size_t i)
{
	bool has_weights = false, is_local = false;

	for (size_t k = 0; k < v->n; k++)
		has_weights |= v->servers[k].weight > 0;
	for (size_t k = 0; k < v->n; k++)
		is_local |= (v->servers[k].weight || !has_weights) && str_equal(v->servers[k].zone, HOSTS_ZONE);
	if (has_weights && !v->servers[i].weight)
		return false;
	return !is_local || str_equal(v->servers[i].zone, HOSTS_ZONE);
}

/* Balanced 3, as far as it is promised where weights differ: within two hosts of the share. */
static bool shares_hold(const struct truth *t, struct why *why)
{
	const struct evenness *v = t->evenness;
	uint64_t sum = 0;

	for (size_t i = 0; i < v->n; i++)
		sum += counts(v, i) ? (v->servers[i].weight ? v->servers[i].weight : 1) : 0;
	for (size_t i = 0; i < v->n; i++) {
		double weight = counts(v, i) ? (v->servers[i].weight ? v->servers[i].weight : 1) : 0;
		double share = sum ? (double)t->n * weight / (double)sum : 0;
		size_t n = 0;

		for (size_t k = 0; k < t->n; k++)
			n += t->hosts[k].placed_first == v->ids[i];
		if ((double)n > share + (weight > 0 ? SHARE_SLACK : 0) || (double)n < share - SHARE_SLACK) {
			why_set(why, "balanced: %zu of %zu hosts prefer %s, whose share is %.1f", n, t->n,
				v->servers[i].name, share);
			return false;
		}
	}
	return true;
}

bool evenness_holds(const struct truth *t, struct why *why)
{
	size_t n = t->evenness ? balanced_n_servers(t->evenness->b) : 0, apart;

	/* Pins can make any bound impossible. */
	if (!n || t->evenness->has_pins)
		return true;
	if (!t->evenness->is_plain)
		return shares_hold(t, why);
	/* Balanced 3 to 5. */
	if ((apart = spread_without(t, SIZE_MAX, SIZE_MAX)) > 1) {
		why_set(why, "balanced prefers one server to another by %zu hosts", apart);
		return false;
	}
	for (size_t a = 0; a < n; a++) {
		for (size_t b = a; b < n; b++) {
			apart = spread_without(t, a, b);
			if (apart <= (a == b ? 1u : 2u))
				continue;
			why_set(why, "balanced: without the servers %zu and %zu the others differ by %zu hosts", a, b,
				apart);
			return false;
		}
	}
	return true;
}
