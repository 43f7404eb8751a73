/*
 * shuffle: every host has its own random order (docs/placement.md, Algorithms 4).
 *
 * Even only on average, but the hosts of a dead server spread over all others. The order is drawn once and then
 * belongs to the agent: as long as the set is right, its list is current and isn't drawn again.
 */
#include <assert.h>

#include "core/algorithm_rule.h"

static enum err shuffle_order(struct str_list *out, const struct str_list *servers, uint64_t slot, struct rng *rng)
{
	enum err e = algorithm_rotate(out, servers, 0);

	if (e || out->n < 2)
		return e;
	assert(rng);
	rng_shuffle(rng, (void **)out->items, out->n);
	return ERR_OK;
}

static size_t count_reported(struct server_list_walk reported, const char *entry)
{
	size_t n = 0;

	while (server_list_walk_next(&reported))
		n += server_list_walk_is(&reported, entry);
	return n;
}

static size_t count_listed(const struct str_list *servers, const char *entry)
{
	size_t n = 0;

	for (size_t i = 0; i < servers->n; i++)
		n += str_equal(servers->items[i], entry);
	return n;
}

/*
 * The same number of entries, and each of ours as often there as here: a list that names one server twice instead of
 * another isn't the same set. Lists are short, so counting beats sorting.
 */
static bool shuffle_matches(const struct str_list *servers, uint64_t slot, struct server_list_walk reported)
{
	struct server_list_walk w = reported;
	size_t n = 0;

	while (server_list_walk_next(&w))
		n++;
	if (n != servers->n)
		return false;
	for (size_t i = 0; i < servers->n; i++) {
		if (count_reported(reported, servers->items[i]) != count_listed(servers, servers->items[i]))
			return false;
	}
	return true;
}

const struct algorithm_rule algorithm_rule_shuffle = {
	.name = "shuffle",
	.order = shuffle_order,
	.matches = shuffle_matches,
};
