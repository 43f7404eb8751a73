/*
 * Plan: a placement computed and explained without doing anything (decision 25; docs/placement.md, "Plan").
 *
 * Input: servers, hosts with the list each has now (may be empty), the algorithm, and what is to be another way.
 * Output: the list each host would get, hosts per preferred server before and after, how many agents move (their first
 * entry changes), the fewest that would have to, and what the worst single and double failure leaves when agents follow
 * their lists. The servers' own functions compute it: what a plan says is what then happens.
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
#include "core/server_list.h"

struct plan_server {
	char *name;        /* owned: the entry as spelled */
	int64_t weight;    /* 0 to BALANCED_WEIGHT_MAX */
	char *zone;        /* owned, may be NULL */
	char *server;      /* owned: name of the management server that it means; NULL: not known */
	bool resting;      /* counts as weight 0 until a rolling restart has gone on */
	uint64_t before;   /* out: hosts that prefer it now */
	uint64_t after;    /* out: hosts that would */
	uint64_t on;       /* out: hosts that are connected to it now, where that is known */
	uint64_t arrivals; /* out: hosts that come to it from another one */
};

struct plan_host {
	uint64_t id;
	char *name; /* owned, may be NULL */
	char *zone; /* owned, may be NULL */
	uint64_t slot;
	char *pin;                 /* owned: the server it has to prefer; NULL: none. One that is no server is no pin */
	char *away;                /* owned: of a pinned host, BALANCED_AWAY where the list doesn't show it; NULL */
	char *away_after;          /* out: the same afterwards; owned */
	char *on;                  /* owned: the server it is connected to; NULL: none, or not known */
	bool is_gone;              /* it would not be there afterwards */
	struct str_list before;    /* the list it should have now */
	struct str_list confirmed; /* the one that its agent has, if that is another one: see has_confirmed */
	bool has_confirmed;
	struct str_list after; /* out; empty for hosts that are gone */
};

struct plan_failure {
	struct str_list servers; /* which ones fail; empty: not computed (too few servers) */
	uint64_t min, max;       /* hosts on the least and on the most loaded survivor */
};

struct plan {
	enum algorithm algorithm;
	bool same_algorithm; /* the hosts' lists come from it too: what they are is kept as it would be */
	bool knows_on;       /* where hosts are connected is known: one without `on` has no link */
	struct plan_server *servers;
	size_t n_servers, cap_servers;
	struct plan_host *hosts;
	size_t n_hosts, cap_hosts;
	/* The servers that the hosts' lists come from; without plan_servers_are() they are the same. */
	struct plan_server *was;
	size_t n_was;
	bool has_was;
	/* out */
	uint64_t moves;
	uint64_t minimum_moves;
	struct plan_failure worst_single;
	struct plan_failure worst_double;
	struct map zones; /* plan.c's own: how many hosts were added in each zone */
};

/*
 * A plan starts as {0} with its algorithm. ERR_DUPLICATE for a name that is there, ERR_FULL beyond SERVER_LIST_MAX,
 * ERR_INVALID for a weight that is none.
 */
void plan_deinit(struct plan *p);
enum err plan_add_server(struct plan *p, const char *name, int64_t weight, const char *zone) MUST_CHECK;
struct plan_server *plan_find_server(const struct plan *p, const char *name); /* NULL: none */
/* By what people call it: the entry however spelled, or the management server, if only one entry means it. */
struct plan_server *plan_find_called(const struct plan *p, const char *word);
/* ERR_NOT_FOUND. */
enum err plan_remove_server(struct plan *p, const char *name) MUST_CHECK;
void plan_remove_servers(struct plan *p);
/*
 * Slots are given in the order of adding, in each zone from 0; a caller that knows better sets hosts[i].slot
 * afterwards. `list` is what the host has now, NULL: none.
 */
enum err plan_add_host(struct plan *p, uint64_t id, const char *name, const char *zone, const struct str_list *list)
	MUST_CHECK;

/* ---- what is to be another way ---- */

/* The servers as they are now: what is changed about them from here on is part of the plan. */
enum err plan_servers_are(struct plan *p) MUST_CHECK;
/* ERR_NOT_FOUND. */
enum err plan_remove_host(struct plan *p, uint64_t id) MUST_CHECK;
/* So many hosts: new ones, in the zones of those that are there in turn, or without the last ones. */
enum err plan_resize(struct plan *p, size_t n) MUST_CHECK;

/* ---- the answer ---- */

/* Fills in everything marked out; may be called again. `rng` is for shuffle. ERR_INVALID without servers. */
enum err plan_compute(struct plan *p, struct rng *rng, struct why *why) MUST_CHECK;
/*
 * After plan_compute(): hosts on each server when those with failed[i] have failed, and how many then have nowhere to
 * go.
 */
enum err plan_fail(const struct plan *p, const bool failed[SERVER_LIST_MAX], uint64_t load[SERVER_LIST_MAX],
		   uint64_t *n_stranded) MUST_CHECK;
size_t plan_n_hosts(const struct plan *p); /* without those that are gone */

/* How fast agents go where they prefer to be (docs/failover.md, "Failback gate", "Pace"). */
struct plan_pace {
	int64_t interval_s; /* between the looks of an agent; 0: it never looks */
	int64_t per_s;      /* arrivals at a server; 0: none */
	int64_t burst;
};

struct plan_time {
	bool is_known;   /* false: they don't move by themselves, or nobody is let in */
	int64_t seconds; /* until all are where they prefer to be, about */
	int64_t per_s;   /* new links per second on the server that gets most, about */
};

/* `arrivals` is that of the server that gets most. With `told` they look now instead of within the interval. */
struct plan_time plan_time(const struct plan_pace *pace, uint64_t arrivals, bool told);
