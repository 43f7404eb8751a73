/*
 * static: every host has the administrator's list as it is (docs/placement.md, Algorithms 2).
 *
 * All hosts prefer the same server and the others stand by. For an even load take another algorithm.
 */
#include "core/algorithm_rule.h"

static enum err static_order(struct str_list *out, const struct str_list *servers, uint64_t slot, struct rng *rng)
{
	return algorithm_rotate(out, servers, 0);
}

static bool static_matches(const struct str_list *servers, uint64_t slot, struct server_list_walk reported)
{
	return algorithm_is_rotated(servers, 0, reported);
}

const struct algorithm_rule algorithm_rule_static = {
	.name = "static",
	.order = static_order,
	.matches = static_matches,
};
