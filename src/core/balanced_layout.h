/*
 * What a balanced placement is made of. Inside core/ only: balanced.c changes it, balanced_layout.c makes what depends
 * on the set of servers, balanced_list.c answers questions.
 */
#pragma once

#include "base/map.h"
#include "base/str.h"
#include "core/balanced_group.h"

/* One host's change alters about twice as many lists as there are servers; room to say which, with some to spare. */
#define LOG_MAX (4 * SERVER_LIST_MAX)
#define NO_ZONE 0 /* of hosts and servers without one */

struct balanced_member {
	char *name;      /* owned */
	uint32_t zone;   /* place in zones */
	uint32_t weight; /* as set */
	uint64_t hash;   /* of the name: Balanced 7 */
};

/* All that depends on the set of servers: made anew when it changes. */
struct balanced_layout {
	struct balanced_member *servers; /* sorted by name */
	size_t n_servers;
	uint32_t *weights;             /* that count: see Balanced 2 */
	struct balanced_group *groups; /* the first one is for hosts of zones without servers */
	size_t n_groups;
	uint16_t *group_of_zone; /* by zone */
	size_t n_zones;
	/* By host: */
	struct balanced_place *places;
	struct balanced_knot *knots;
	uint16_t *groups_of; /* NONE: no host here */
};

struct balanced {
	uint64_t version;
	struct str_list zones; /* names that were ever seen; the first is "" */
	struct balanced_layout layout;
	uint64_t *ids;        /* by host */
	uint32_t *host_zones; /* by host: place in zones */
	uint32_t n_hosts;     /* places in use and free ones below them */
	uint32_t cap;
	uint32_t *free_hosts; /* places below n_hosts without a host; room for cap */
	uint32_t n_free;
	struct map places_of; /* id to place + 1 */
	uint64_t changed[LOG_MAX];
	struct balanced_log log;
};

const char *balanced_zone_name(const struct balanced *b, uint32_t zone);
enum err balanced_zone_intern(struct balanced *b, const char *name, uint32_t *out) MUST_CHECK;
uint32_t balanced_place_of(const struct balanced *b, uint64_t id); /* UINT32_MAX: none */
struct balanced_fleet balanced_fleet_of(const struct balanced *b, const struct balanced_layout *l);
int balanced_member_compare(const void *a, const void *b);

void balanced_layout_deinit(struct balanced_layout *l);
/* In this order; what is made is freed by balanced_layout_deinit() also if one fails. */
enum err balanced_layout_set_servers(struct balanced_layout *l, struct balanced *b,
				     const struct balanced_server *servers, size_t n) MUST_CHECK;
enum err balanced_layout_set_groups(struct balanced_layout *l, const struct balanced *b) MUST_CHECK;
enum err balanced_layout_set_hosts(struct balanced_layout *l, const struct balanced *b) MUST_CHECK;
uint16_t balanced_layout_group_of(const struct balanced_layout *l, uint32_t zone);
/* Room for the hosts as they stand, from 0 to n_hosts. */
enum err balanced_layout_reserve(struct balanced_layout *l, uint32_t n_hosts) MUST_CHECK;
/* The full design of all groups. With an error the places are as they were. */
enum err balanced_layout_design(struct balanced_layout *l, const struct balanced *b) MUST_CHECK;
