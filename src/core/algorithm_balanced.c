/*
 * balanced: the list of a host comes from a placement of all hosts (docs/placement.md, Algorithms 5 and "Balanced";
 * core/balanced.h), not from the servers and a slot alone. What is here is how such a list is compared.
 */
#include "core/algorithm_rule.h"

static enum err balanced_order(struct str_list *out, const struct str_list *servers, uint64_t slot, struct rng *rng)
{
	(void)out, (void)servers, (void)slot, (void)rng;
	return ERR_INVALID;
}

/* Current 3: `expected` is the host's own list. */
static bool balanced_matches(const struct str_list *expected, uint64_t slot, struct server_list_walk reported)
{
	(void)slot;
	return algorithm_is_rotated(expected, 0, reported);
}

const struct algorithm_rule algorithm_rule_balanced = {
	.name = "balanced",
	.order = balanced_order,
	.matches = balanced_matches,
};
