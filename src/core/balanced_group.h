/*
 * One group of a balanced placement: hosts that have the same servers to choose from, and how their lists begin.
 *
 * Inside core/ only; balanced.c holds the groups, balanced_design.c deals a whole group out, balanced_group.c changes
 * one by a host at a time. Servers are places in the sorted array of balanced.c, hosts are places in its arrays.
 */
#pragma once

#include "core/balanced.h"

#define NONE BALANCED_NONE

struct balanced_place {
	uint16_t entries[BALANCED_N_ENTRIES];
	uint16_t pin;
};

/* A host's knot in the heap of hosts that have the same beginning: host + 1, 0: none. */
struct balanced_knot {
	uint32_t child;
	uint32_t next;
	uint32_t prev; /* the host it hangs on: its elder sibling or, for the eldest, its parent */
};

/* What is kept by host. All borrowed from balanced.c. */
struct balanced_fleet {
	const uint64_t *ids;
	struct balanced_place *places;
	struct balanced_knot *knots;
};

/* The hosts that prefer one server, by second and third entry; the last row and column stand for "none". */
struct balanced_plane {
	uint32_t *second;  /* [second]: how many */
	uint32_t *through; /* [third]: those, and the ones that have it as second, by third entry */
	uint32_t *count;   /* [second * (n + 1) + third] */
	uint32_t *head;    /* the same: host + 1 */
};

struct balanced_group {
	uint16_t n;                      /* servers of the placement */
	const uint32_t *weights;         /* borrowed; by server */
	uint16_t local[SERVER_LIST_MAX]; /* servers that come first, ascending; never one with weight 0 */
	size_t n_local;
	uint16_t away[SERVER_LIST_MAX]; /* servers that come after them */
	size_t n_away;
	/* By server: */
	uint32_t first[SERVER_LIST_MAX];               /* hosts that prefer it */
	uint32_t movable[SERVER_LIST_MAX];             /* of them, those that aren't pinned */
	uint32_t seconds[SERVER_LIST_MAX];             /* hosts that have it as second entry */
	uint32_t thirds[SERVER_LIST_MAX];              /* hosts that have it as third entry */
	uint32_t first_away[SERVER_LIST_MAX];          /* hosts that have it as BALANCED_AWAY */
	struct balanced_plane planes[SERVER_LIST_MAX]; /* of servers that are or can be preferred */
	uint32_t n_hosts;
};

/* Who survives a failure, and what is on them. */
struct balanced_level {
	uint16_t servers[SERVER_LIST_MAX]; /* in the order in which equal ones are taken */
	size_t n;
	int64_t weight;                  /* of all of them */
	int64_t total;                   /* hosts on all of them, with those that are still to be placed */
	uint32_t load[SERVER_LIST_MAX];  /* by place in servers[] */
	uint32_t spare[SERVER_LIST_MAX]; /* of them, those that an entry of this level has put there */
};

/* Where the hosts are whose lists changed. */
struct balanced_log {
	uint64_t *hosts;
	size_t n;
	size_t cap;
	bool is_all;
	size_t n_moves;
};

/* A one-to-one mixing of 64 bits (splitmix64's), so that hosts created in a row don't go in a row. */
static inline uint64_t balanced_mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

void balanced_group_deinit(struct balanced_group *g);
/* Makes room for a host that prefers `server`, NONE: any server that can be preferred. */
enum err balanced_group_reserve(struct balanced_group *g, uint16_t server) MUST_CHECK;
/* The survivors when i and j (NONE: nobody) have failed, with `pool` hosts still to be placed on them. */
void balanced_level_init(struct balanced_level *l, const struct balanced_group *g, uint16_t i, uint16_t j,
			 uint32_t pool);
/* How far above its share a server is, in units of 1 / weight of all. */
int64_t balanced_level_key(const struct balanced_level *l, const struct balanced_group *g, size_t i);
/* Has a host of this group an entry that says where to go when all its servers fail? */
bool balanced_group_has_away(const struct balanced_group *g);

/* Counts a host by its place. */
void balanced_group_link(struct balanced_group *g, const struct balanced_fleet *f, uint32_t host);
void balanced_group_unlink(struct balanced_group *g, const struct balanced_fleet *f, uint32_t host);
/*
 * Balanced 8, 9: a host with a pin or none, and no entries yet. Need no memory. `group_of` says by host who is in
 * `group`; `n_hosts` is the length of the fleet's arrays, for the search of Balanced 6.
 */
void balanced_group_add(struct balanced_group *g, const struct balanced_fleet *f, uint32_t host,
			struct balanced_log *log);
void balanced_group_remove(struct balanced_group *g, const struct balanced_fleet *f, uint32_t host,
			   const uint16_t *group_of, uint16_t group, uint32_t n_hosts, struct balanced_log *log);
void balanced_group_settle(struct balanced_group *g, const struct balanced_fleet *f, struct balanced_log *log,
			   size_t max_lists);

/* Balanced 3 to 6: fills in the places of the group's hosts (ascending by id) and counts them. */
struct balanced_scratch {
	uint32_t *sorted; /* as many as hosts */
	uint32_t *keys;   /* as many as hosts */
	uint32_t *starts; /* n servers squared, and two */
};

void balanced_group_design(struct balanced_group *g, const struct balanced_fleet *f, const uint32_t *hosts,
			   size_t n_hosts, const struct balanced_scratch *scratch);
/* Is this a place that a design can have given? */
bool balanced_group_fits(const struct balanced_group *g, const struct balanced_place *p);
