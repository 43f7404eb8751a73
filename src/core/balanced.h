/*
 * Balanced: lists that are designed for failures (docs/placement.md, "Balanced"; the comments carry its numbers).
 *
 * A placement holds servers, hosts and, for each host, the first entries of its list: as many as decide where agents go
 * when one or two servers fail. The rest of a list follows from a rule. Whoever decides holds one placement, changes it
 * step by step, and stores what changed under the new version; everybody else loads what is stored. Nothing here knows
 * time, chance or memory addresses: the same placement and the same change give the same result on every server.
 *
 * Every change either happens as a whole or, with an error, not at all. What it did is in balanced_changes().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/server_list.h"

#define BALANCED_NONE UINT16_MAX /* no entry: there aren't so many servers */
#define BALANCED_WEIGHT_MAX 1000
#define BALANCED_HOSTS_MAX (UINT32_C(1) << 30)

/* What is remembered of a list. */
enum balanced_entry {
	BALANCED_FIRST, /* the preferred server */
	BALANCED_SECOND,
	BALANCED_THIRD,
	BALANCED_AWAY, /* the first server outside the host's zone; only if three or more are inside and one outside */
	BALANCED_N_ENTRIES
};

struct balanced_server {
	const char *name; /* borrowed: the entry as spelled */
	uint32_t weight;  /* 0: last resort (Balanced 2) */
	const char *zone; /* borrowed; NULL: none */
};

/* A host, going in and coming out. Entries are places in the array of servers that goes with it. */
struct balanced_host {
	uint64_t id;
	const char *zone;                     /* borrowed; NULL: none */
	uint16_t entries[BALANCED_N_ENTRIES]; /* what it had before, or BALANCED_NONE */
	uint16_t pin;                         /* the server it must prefer, or BALANCED_NONE */
};

struct balanced;

/*
 * A full design (Balanced 3 to 6). What the hosts had before is kept as far as evenness allows; without it (all entries
 * BALANCED_NONE) the result depends on the input's contents only, not on its order. ERR_INVALID, ERR_DUPLICATE,
 * ERR_FULL with a sentence. No servers are allowed: then hosts have no lists until one joins.
 */
enum err balanced_design(struct balanced **out, const struct balanced_server *servers, size_t n_servers,
			 const struct balanced_host *hosts, size_t n_hosts, struct why *why) MUST_CHECK;
/* What was stored, exactly as it was. ERR_DAMAGED if it can't have come from balanced_get_host(). */
enum err balanced_load(struct balanced **out, uint64_t version, const struct balanced_server *servers, size_t n_servers,
		       const struct balanced_host *hosts, size_t n_hosts, struct why *why) MUST_CHECK;
/* To try something on (muster plan). */
enum err balanced_copy(struct balanced **out, const struct balanced *b) MUST_CHECK;
struct balanced *balanced_free(struct balanced *b);

/* One host comes, goes, or is in another zone now (Balanced 8 and 9). `id` must be new, or be there. */
enum err balanced_add_host(struct balanced *b, uint64_t id, const char *zone) MUST_CHECK;
enum err balanced_remove_host(struct balanced *b, uint64_t id) MUST_CHECK;
enum err balanced_set_zone(struct balanced *b, uint64_t id, const char *zone) MUST_CHECK;
/* Balanced 10. `server` NULL: no longer. */
enum err balanced_pin_host(struct balanced *b, uint64_t id, const char *server) MUST_CHECK;
/* Servers (Balanced 11). A change of weight or zone; ERR_NOT_FOUND, ERR_EXISTS, ERR_FULL, ERR_INVALID. */
enum err balanced_add_server(struct balanced *b, const char *name, uint32_t weight, const char *zone) MUST_CHECK;
enum err balanced_remove_server(struct balanced *b, const char *name) MUST_CHECK;
enum err balanced_set_server(struct balanced *b, const char *name, uint32_t weight, const char *zone) MUST_CHECK;
/*
 * All servers at once, whatever differs: for a change of the setting `host`. Hosts keep what the new servers allow.
 * *changed: something did differ.
 */
enum err balanced_set_servers(struct balanced *b, const struct balanced_server *servers, size_t n, bool *changed,
			      struct why *why) MUST_CHECK;
/* The full design over what is there (Balanced 12). */
enum err balanced_redesign(struct balanced *b) MUST_CHECK;
/*
 * Evens what changes of hosts have left within the looser bound after two failures, altering the tails of at most
 * `max_lists` lists; moves nobody. Returns how many it altered; fewer than asked: there is nothing more to do.
 */
size_t balanced_settle(struct balanced *b, size_t max_lists);

/* What the last change did. */
struct balanced_changes {
	const uint64_t *hosts; /* whose lists are others now, the host of the change itself not counted */
	size_t n_hosts;
	bool is_all;    /* more than are listed: compare every list */
	size_t n_moves; /* hosts with another preferred server */
};

struct balanced_changes balanced_changes(const struct balanced *b); /* borrowed until the next change */
uint64_t balanced_version(const struct balanced *b);                /* grows by one with each change */
void balanced_set_version(struct balanced *b, uint64_t version);

/* Servers are kept sorted by name: that is the order that entries count in. */
size_t balanced_n_servers(const struct balanced *b);
struct balanced_server balanced_get_server(const struct balanced *b, size_t i);
uint16_t balanced_find_server(const struct balanced *b, const char *name); /* or BALANCED_NONE */
/* For storing: hosts in no particular order. Start with *cursor = 0; false: that was all. */
size_t balanced_n_hosts(const struct balanced *b);
bool balanced_next_host(const struct balanced *b, size_t *cursor, struct balanced_host *out);
bool balanced_get_host(const struct balanced *b, uint64_t id, struct balanced_host *out);
/*
 * The whole list of a host, preferred server first (Balanced 7): places of all servers in `out`. 0: no such host or no
 * servers.
 */
size_t balanced_list(const struct balanced *b, uint64_t id, uint16_t out[SERVER_LIST_MAX]);
/*
 * The same for a host that need not be in `b`, of which only the servers count then; entries count in their order. For
 * whoever knows the servers of a placement and looks hosts up elsewhere. What can't be an entry is passed over.
 */
size_t balanced_list_of(const struct balanced *b, const struct balanced_host *h, uint16_t out[SERVER_LIST_MAX]);
/*
 * How many hosts are on each server when agents follow their lists past the failed ones: load[i] for server i. All may
 * fail: then nobody is anywhere. For one or two failed servers the remembered entries are enough.
 */
void balanced_count(const struct balanced *b, const bool failed[SERVER_LIST_MAX], uint64_t load[SERVER_LIST_MAX]);
