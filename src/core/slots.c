/*
 * Slots: the rules of docs/placement.md ("Slots").
 *
 * The host in slot s prefers server s mod n_servers, so what counts is how many taken slots fall on each server. A
 * spread of at most 1 means: some servers have the quota n / n_servers, the others one more. From there the fewest
 * moves follow by counting: every host above its server's share has to go, and nobody else.
 *
 * Everything is a walk or two over the sorted slots; no memory is asked for.
 */
#include "core/slots.h"

#include <stdbool.h>

uint64_t slots_next(const uint64_t *taken, size_t n)
{
	size_t low = 0, high = n;

	/* Sorted and without duplicates: a hole lies before place i exactly when taken[i] is more than i. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (taken[middle] > middle)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static void count_hosts(size_t *count, const uint64_t *taken, size_t n, size_t n_servers)
{
	for (size_t i = 0; i < n_servers; i++)
		count[i] = 0;
	for (size_t i = 0; i < n; i++)
		count[taken[i] % n_servers]++;
}

uint64_t slots_next_even(const uint64_t *taken, size_t n, size_t n_servers)
{
	size_t count[SLOTS_SERVERS_MAX];
	uint64_t slot = slots_next(taken, n);
	size_t fewest = SIZE_MAX;

	/* Without holes the end is where it is even already. */
	if (slot == n || n_servers < 2 || n_servers > SLOTS_SERVERS_MAX)
		return slot;
	count_hosts(count, taken, n, n_servers);
	for (size_t i = 0; i < n_servers; i++)
		fewest = count[i] < fewest ? count[i] : fewest;
	for (size_t i = (size_t)slot;; slot++) {
		if (i < n && taken[i] == slot)
			i++;
		else if (count[slot % n_servers] == fewest)
			return slot;
	}
}

/* What is left to do until every server has the quota or, n_extra of them, one more. */
struct share {
	size_t *count; /* hosts by server */
	size_t n_servers;
	size_t quota;
	size_t extra_to_give; /* servers that have one more than the quota and must not keep it */
	size_t extra_to_take; /* servers that get one more than the quota though they have not */
};

static void share_init(struct share *s, size_t *count, size_t n, size_t n_servers)
{
	size_t n_extra = n % n_servers, n_above = 0;

	*s = (struct share){.count = count, .n_servers = n_servers, .quota = n / n_servers};
	for (size_t i = 0; i < n_servers; i++)
		n_above += count[i] > s->quota;
	/* Who is above the quota anyway keeps one more: that is what makes the moves few. */
	if (n_above > n_extra)
		s->extra_to_give = n_above - n_extra;
	else
		s->extra_to_take = n_extra - n_above;
}

static bool share_gives(struct share *s, uint64_t slot)
{
	size_t *count = &s->count[slot % s->n_servers];

	if (*count <= s->quota)
		return false;
	if (*count == s->quota + 1) {
		if (!s->extra_to_give)
			return false;
		s->extra_to_give--;
	}
	--*count;
	return true;
}

static bool share_takes(struct share *s, uint64_t slot)
{
	size_t *count = &s->count[slot % s->n_servers];

	if (*count > s->quota)
		return false;
	if (*count == s->quota) {
		if (!s->extra_to_take)
			return false;
		s->extra_to_take--;
	}
	++*count;
	return true;
}

size_t slots_repair(const uint64_t *taken, size_t n, size_t n_servers, struct slot_move *moves)
{
	size_t count[SLOTS_SERVERS_MAX];
	struct share share;
	size_t n_moves = 0, n_filled = 0;

	if (n_servers < 2 || n_servers > SLOTS_SERVERS_MAX)
		return 0;
	count_hosts(count, taken, n, n_servers);
	share_init(&share, count, n, n_servers);

	/* The highest slots leave the servers that have too many ... */
	for (size_t i = n; i > 0; i--) {
		if (share_gives(&share, taken[i - 1]))
			moves[n_moves++].from = taken[i - 1];
	}
	/* ... and take the lowest holes of those that have too few. As many give as take: the shares add up to n. */
	for (uint64_t slot = 0, i = 0; n_filled < n_moves; slot++) {
		if (i < n && taken[i] == slot)
			i++;
		else if (share_takes(&share, slot))
			moves[n_filled++].to = slot;
	}
	return n_moves;
}

size_t slots_spread(const uint64_t *taken, size_t n, size_t n_servers)
{
	size_t most = 0, fewest = SIZE_MAX;

	if (!n_servers)
		return 0;
	/* A stretch of servers at a time, so that any number of them can be counted. */
	for (size_t first = 0; first < n_servers; first += SLOTS_SERVERS_MAX) {
		size_t n_counted = n_servers - first < SLOTS_SERVERS_MAX ? n_servers - first : SLOTS_SERVERS_MAX;
		size_t count[SLOTS_SERVERS_MAX] = {0};

		for (size_t i = 0; i < n; i++) {
			uint64_t server = taken[i] % n_servers;

			if (server >= first && server - first < n_counted)
				count[server - first]++;
		}
		for (size_t i = 0; i < n_counted; i++) {
			most = count[i] > most ? count[i] : most;
			fewest = count[i] < fewest ? count[i] : fewest;
		}
	}
	return most - fewest;
}
