/*
 * What a plan is computed of. Inside core/ only: plan.c gathers and counts, plan_balanced.c and plan_slots.c change
 * what is there as the store would, plan_minimum.c says how few moves would do.
 */
#pragma once

#include "core/balanced.h"
#include "core/plan.h"

static inline int64_t plan_weight(const struct plan_server *s)
{
	return s->resting ? 0 : s->weight;
}

/* A host's pin, if it names one of the servers; NULL: none. */
const char *plan_pin(const struct plan *p, const struct plan_host *h);

/* Every host's list under balanced: into `after`. */
enum err plan_place_balanced(struct plan *p, struct why *why) MUST_CHECK;
/* The placement that the hosts' lists are. ERR_DAMAGED: they are none. The caller frees it. */
enum err plan_load_balanced(struct balanced **out, const struct plan *p, struct why *why) MUST_CHECK;
/* docs/placement.md, "Slots" 4: after another number of servers, or of hosts. */
enum err plan_repair_slots(struct plan *p) MUST_CHECK;
/* Slots of the hosts from `first` on, as they would get them one after the other. */
enum err plan_give_slots(struct plan *p, size_t first) MUST_CHECK;
/* After the hosts are placed. */
enum err plan_count_minimum(struct plan *p) MUST_CHECK;
