/*
 * How each agent's list is derived from the administrator's (docs/placement.md, "Algorithms").
 * Pure functions: same input, same output on every server.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/str.h"
#include "core/server_list.h"

/* The first three need nothing but the list of servers; balanced needs a placement (core/balanced.h). */
enum algorithm { ALGORITHM_STATIC, ALGORITHM_ROUNDROBIN, ALGORITHM_SHUFFLE, ALGORITHM_BALANCED };

/* Exact lower-case names; false for anything else. */
bool algorithm_from_text(const char *text, enum algorithm *out);
const char *algorithm_name(enum algorithm a);
/* "static, roundrobin, shuffle, balanced", for messages. */
const char *algorithm_choices(void);

/*
 * The list for one host, replacing what `out` held. `slot` is the host's place in its zone (core/slots.h), used by
 * roundrobin: rotate left by slot mod n. `rng` is used by shuffle only. ERR_INVALID under balanced: see
 * balanced_list_of().
 */
enum err algorithm_order(struct str_list *out, enum algorithm a, const struct str_list *servers, uint64_t slot,
			 struct rng *rng) MUST_CHECK;

/*
 * Is what an agent reports (or confirmed) what it should have? static, roundrobin: same entries in the same order and
 * the same algorithm name; shuffle: same algorithm name and the same set (decision 21), each entry once; balanced: give
 * the host's own list as `servers`, it has to be that one.
 * `reported` is the text of its `host` property, NULL or "" when it has none (never current).
 */
bool algorithm_is_current(enum algorithm a, const struct str_list *servers, uint64_t slot, const char *reported);
/* Current 1 and 2 alone, of a walk that has just begun: there are entries, and they are this algorithm's. */
bool algorithm_is_of(enum algorithm a, const struct server_list_walk *w);
