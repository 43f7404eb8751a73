/*
 * Slots in a plan: what the store would do about them (docs/placement.md, "Slots"; core/slots.h has the rules).
 */
#include "core/plan_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/slots.h"

/* A host by zone and slot. */
struct seat {
	const char *zone; /* "": none */
	uint64_t slot;
	size_t host;
};

static int seat_compare(const void *a, const void *b)
{
	const struct seat *left = a, *right = b;
	int order = strcmp(left->zone, right->zone);

	if (order)
		return order;
	if (left->slot != right->slot)
		return left->slot < right->slot ? -1 : 1;
	return left->host < right->host ? -1 : left->host > right->host;
}

/* The hosts from `first` to `end` that are not gone, sorted. */
static enum err seats_make(struct seat **out, size_t *n, const struct plan *p, size_t first, size_t end)
{
	struct seat *seats = mem_zalloc_array(end - first + 1, sizeof(*seats));

	if (!seats)
		return ERR_NOMEM;
	*n = 0;
	for (size_t i = first; i < end; i++) {
		const struct plan_host *h = &p->hosts[i];

		if (!h->is_gone)
			seats[(*n)++] = (struct seat){h->zone ? h->zone : "", h->slot, i};
	}
	qsort(seats, *n, sizeof(*seats), seat_compare);
	*out = seats;
	return ERR_OK;
}

/* How many of them are in the zone of the first. */
static size_t zone_length(const struct seat *seats, size_t n)
{
	size_t length = 0;

	while (length < n && strcmp(seats[length].zone, seats[0].zone) == 0)
		length++;
	return length;
}

/* Of one zone's seats: the one with that slot. */
static const struct seat *seat_find(const struct seat *seats, size_t n, uint64_t slot)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (seats[middle].slot < slot)
			low = middle + 1;
		else
			high = middle;
	}
	return &seats[low];
}

static void repair_zone(struct plan *p, const struct seat *seats, size_t n, uint64_t *taken, struct slot_move *moves)
{
	size_t n_moves;

	for (size_t i = 0; i < n; i++) {
		taken[i] = seats[i].slot;
		/* Whoever made these up made no slots. */
		if (i && taken[i] == taken[i - 1])
			return;
	}
	n_moves = slots_repair(taken, n, p->n_servers, moves);
	for (size_t k = 0; k < n_moves; k++)
		p->hosts[seat_find(seats, n, moves[k].from)->host].slot = moves[k].to;
}

static bool is_repaired(const struct plan *p)
{
	if (p->has_was && p->n_was != p->n_servers)
		return true;
	for (size_t i = 0; i < p->n_hosts; i++) {
		if (p->hosts[i].is_gone)
			return true;
	}
	return false;
}

enum err plan_repair_slots(struct plan *p)
{
	CLEAN(mem_freep) struct seat *seats = NULL;
	CLEAN(mem_freep) uint64_t *taken = NULL;
	CLEAN(mem_freep) struct slot_move *moves = NULL;
	size_t n, length;
	enum err e;

	if (!is_repaired(p))
		return ERR_OK;
	if ((e = seats_make(&seats, &n, p, 0, p->n_hosts)))
		return e;
	taken = mem_zalloc_array(n + 1, sizeof(*taken));
	moves = mem_zalloc_array(n + 1, sizeof(*moves));
	if (!taken || !moves)
		return ERR_NOMEM;
	for (size_t at = 0; at < n; at += length) {
		length = zone_length(seats + at, n - at);
		repair_zone(p, seats + at, length, taken, moves);
	}
	return ERR_OK;
}

static void take_slot(uint64_t *taken, size_t n, uint64_t slot)
{
	size_t at = n;

	for (; at > 0 && taken[at - 1] > slot; at--)
		taken[at] = taken[at - 1];
	taken[at] = slot;
}

enum err plan_give_slots(struct plan *p, size_t first)
{
	CLEAN(mem_freep) struct seat *old = NULL;
	CLEAN(mem_freep) struct seat *new = NULL;
	CLEAN(mem_freep) uint64_t *taken = NULL;
	size_t n_old, n_new, length, at = 0;
	enum err e;

	if ((e = seats_make(&old, &n_old, p, 0, first)) || (e = seats_make(&new, &n_new, p, first, p->n_hosts)))
		return e;
	taken = mem_zalloc_array(n_old + n_new + 1, sizeof(*taken));
	if (!taken)
		return ERR_NOMEM;
	for (size_t k = 0; k < n_new; k += length) {
		size_t n = 0;

		length = zone_length(new + k, n_new - k);
		for (; at < n_old && strcmp(old[at].zone, new[k].zone) < 0;)
			at++;
		for (; at < n_old && strcmp(old[at].zone, new[k].zone) == 0; at++) {
			if (!n || taken[n - 1] != old[at].slot)
				taken[n++] = old[at].slot;
		}
		for (size_t i = 0; i < length; i++, n++) {
			uint64_t slot = slots_next_even(taken, n, p->n_servers);

			p->hosts[new[k + i].host].slot = slot;
			take_slot(taken, n, slot);
		}
	}
	return ERR_OK;
}
