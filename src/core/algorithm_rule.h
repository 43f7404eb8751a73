/*
 * What one algorithm brings: a name and two functions. One row each in algorithm.c; not for callers outside core/.
 */
#pragma once

#include "core/algorithm.h"
#include "core/server_list.h"

struct algorithm_rule {
	const char *name;
	/* Appends the list of one host to the empty `out`. */
	enum err (*order)(struct str_list *out, const struct str_list *servers, uint64_t slot, struct rng *rng);
	/* Are the reported entries as they should be? The algorithm's name has been compared already. */
	bool (*matches)(const struct str_list *servers, uint64_t slot, struct server_list_walk reported);
};

extern const struct algorithm_rule algorithm_rule_static;
extern const struct algorithm_rule algorithm_rule_roundrobin;
extern const struct algorithm_rule algorithm_rule_shuffle;
extern const struct algorithm_rule algorithm_rule_balanced;

/* The servers from place `first` on, then those before it: appended to `out`; compared with what was reported. */
enum err algorithm_rotate(struct str_list *out, const struct str_list *servers, size_t first) MUST_CHECK;
bool algorithm_is_rotated(const struct str_list *servers, size_t first, struct server_list_walk reported);
