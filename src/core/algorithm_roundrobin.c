/*
 * roundrobin: each host starts one server further than the host in the slot before it (docs/placement.md,
 * Algorithms 3). The slots (core/slots.h) are kept even, so the load is.
 *
 * When a server dies all its hosts go to the same next one: rotation keeps the order. That is the price of a rule
 * that everybody can recompute by hand.
 */
#include "core/algorithm_rule.h"

static size_t first_of(const struct str_list *servers, uint64_t slot)
{
	return servers->n ? (size_t)(slot % servers->n) : 0;
}

static enum err roundrobin_order(struct str_list *out, const struct str_list *servers, uint64_t slot, struct rng *rng)
{
	return algorithm_rotate(out, servers, first_of(servers, slot));
}

static bool roundrobin_matches(const struct str_list *servers, uint64_t slot, struct server_list_walk reported)
{
	return algorithm_is_rotated(servers, first_of(servers, slot), reported);
}

const struct algorithm_rule algorithm_rule_roundrobin = {
	.name = "roundrobin",
	.order = roundrobin_order,
	.matches = roundrobin_matches,
};
