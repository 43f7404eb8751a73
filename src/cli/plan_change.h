/*
 * What options say is to be another way in a plan: servers that come, go, weigh more; a fleet of another size.
 *
 * A server to add is ENTRY[:WEIGHT[:ZONE]]. An entry may have a port, which looks like a weight: numbers up to 1000 are
 * weights, greater ones ports, so M4:8251 is a port, M4:2 a weight, M4:8251:2:east has all. IPv6 addresses stand in
 * brackets, [fd00::4]:2: without them nobody could tell where they end.
 */
#pragma once

#include "core/plan.h"

#define PLAN_SAME_SIZE (-1)

struct plan_changes {        /* as on the command line; NULL: nothing */
	const char *servers; /* these instead, as in the setting `host`; those that are there keep weight and zone */
	const char *add;     /* ENTRY[:WEIGHT[:ZONE]],... */
	const char *remove;  /* ENTRY,... */
	const char *weight;  /* ENTRY=WEIGHT,... */
	int64_t hosts;       /* the size of the fleet, or PLAN_SAME_SIZE */
};

/* In the order of the members. ERR_INVALID with a sentence. */
enum err plan_change(struct plan *p, const struct plan_changes *ch, struct why *why) MUST_CHECK;

/* One server to add, taken apart; see above. */
struct plan_added {
	char entry[SERVER_HOST_MAX + 9];
	int64_t weight; /* 1 when nothing is said */
	char zone[256]; /* "": none */
};
enum err plan_added_parse(struct plan_added *out, const char *text, struct why *why) MUST_CHECK;

/* Which of the servers are named in "A,B"; at least one. */
enum err plan_failed_parse(bool failed[SERVER_LIST_MAX], const struct plan *p, const char *text, struct why *why)
	MUST_CHECK;
