/*
 * Plan: a placement computed and explained without doing anything (decision 25).
 *
 * Input: servers, hosts with the list each has now (may be empty), the algorithm. Output: the list each host would
 * get, hosts per preferred server before and after, how many agents move (their first entry changes), the fewest that
 * would have to, and what the worst single and double failure leaves when agents follow their lists.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/str.h"
#include "core/algorithm.h"

struct plan_server {
	char *name;      /* owned: the entry as spelled */
	int64_t weight;  /* 1 */
	char *zone;      /* owned, may be NULL */
	uint64_t before; /* out */
	uint64_t after;  /* out */
};

struct plan_host {
	uint64_t id;
	char *name; /* owned, may be NULL */
	char *zone; /* owned, may be NULL */
	uint64_t slot;
	struct str_list before; /* the list it has now */
	struct str_list after;  /* out */
};

struct plan_failure {
	struct str_list servers; /* which ones fail; empty: not computed (too few servers) */
	uint64_t min, max;       /* hosts on the least and on the most loaded survivor */
};

struct plan {
	enum algorithm algorithm;
	bool same_algorithm; /* the hosts' lists come from it too: shuffle then keeps those with the right set */
	struct plan_server *servers;
	size_t n_servers;
	struct plan_host *hosts;
	size_t n_hosts;
	/* out */
	uint64_t moves;
	uint64_t minimum_moves;
	struct plan_failure worst_single;
	struct plan_failure worst_double;
	struct map zones; /* plan.c's own: how many hosts were added in each zone */
};

/* A plan starts as {0} with its algorithm. ERR_DUPLICATE for a name that is there, ERR_FULL beyond SERVER_LIST_MAX. */
void plan_deinit(struct plan *p);
enum err plan_add_server(struct plan *p, const char *name, int64_t weight, const char *zone) MUST_CHECK;
/*
 * Slots are given in the order of adding, in each zone from 0; a caller that knows better sets hosts[i].slot
 * afterwards. `list` is what the host has now, NULL: none.
 */
enum err plan_add_host(struct plan *p, uint64_t id, const char *name, const char *zone, const struct str_list *list)
	MUST_CHECK;
/* Fills in everything marked out; may be called again. `rng` is for shuffle. ERR_INVALID without servers. */
enum err plan_compute(struct plan *p, struct rng *rng, struct why *why) MUST_CHECK;
