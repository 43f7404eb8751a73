/*
 * Plans as JSON (decision 25): what `muster plan` reads and what it prints have one shape, so that a plan can be the
 * input of the next one.
 *
 *   {"algorithm":"roundrobin","servers":[{"name":"M1","weight":1,"zone":null,"before":0,"after":2}, ...],
 *    "hosts":[{"id":1,"name":"H1","zone":null,"list":["M1","M2","M3"]}, ...],"moves":0,"minimum_moves":0,
 *    "worst_single_failure":{"servers":["M1"],"min":2,"max":2},"worst_double_failure":{...}}
 *
 * When reading, `list` is what a host has now; a server may be a text alone; everything that a plan computes is
 * ignored. A host may also have `slot` (its place for roundrobin), `pin` (the server that it has to prefer; written as
 * well), `on` (the server that it is connected to), `confirmed` (the list that its agent has, when that is another
 * one), and `away` (see struct plan_host). A failure is null when there are too few servers for it.
 */
#pragma once

#include <jansson.h>

#include "core/plan.h"

/* Adds servers and hosts. `has_algorithm` says whether the text named one, then it stands in p->algorithm. */
enum err plan_read_json(struct plan *p, bool *has_algorithm, const json_t *in, struct why *why) MUST_CHECK;
/* A new reference; NULL: out of memory. */
json_t *plan_to_json(const struct plan *p);
