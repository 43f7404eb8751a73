/*
 * Rolling restart: all servers are emptied and restarted, one after the other (docs/placement.md, "Rolling restart").
 *
 *   balanced     rest(a) empty(a)  rest(b) empty(b)  ...  rest(nobody) home    N + 2N/M moves
 *   otherwise    empty(a) home     empty(b) home     ...                       2N moves
 *
 * A walk knows where every agent is. Each step says how many agents it moves and leaves them where they are then; what
 * rests where is computed by what the store computes it with, so what is planned is what then happens. A walk may begin
 * in the middle.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/balanced.h"
#include "core/plan.h"

#define ROLLING_NOBODY SIZE_MAX

struct rolling {
	const struct plan *plan;    /* borrowed: servers and hosts count by their places in it */
	struct balanced *placement; /* NULL: another algorithm */
	uint16_t *at;               /* of each host: where its agent is; BALANCED_NONE: without a link */
	size_t n_servers;
	uint16_t place[SERVER_LIST_MAX];     /* of each server of the plan: its place in the placement */
	uint16_t server_at[SERVER_LIST_MAX]; /* the other way round */
};

/*
 * From the servers and hosts of a plan, which need not be computed: lists as they are (`before`), agents where they are
 * connected or, where that isn't known, at home. ERR_INVALID with a sentence: fewer than two servers, or lists that
 * are no placement.
 */
enum err rolling_init(struct rolling *r, const struct plan *p, struct why *why) MUST_CHECK;
void rolling_deinit(struct rolling *r);
/* Rolling restart 2: all servers in the order of their turns. `asked`: the one whose turn is last; or ROLLING_NOBODY.
 */
void rolling_order(const struct rolling *r, size_t asked, size_t out[SERVER_LIST_MAX]);

/* The server counts as one of weight 0 from now on, the one before it has its share again. Moves nobody yet. */
enum err rolling_rest(struct rolling *r, size_t server) MUST_CHECK;
/* Who is there goes to the first other server of its list. Returns how many. */
size_t rolling_empty(struct rolling *r, size_t server);
/* Everybody goes to the preferred server. Returns how many. */
size_t rolling_home(struct rolling *r);
void rolling_count(const struct rolling *r, uint64_t on[SERVER_LIST_MAX]);

/* ---- all of it ---- */

struct rolling_step {
	size_t server;
	uint64_t moves;               /* away from it */
	uint64_t back;                /* to it, before the next one: without balanced */
	uint64_t on[SERVER_LIST_MAX]; /* agents on each while it is restarted */
};

struct rolling_plan {
	bool hands_over;
	size_t n_steps;
	struct rolling_step *steps;
	uint64_t home;                /* moves at the end */
	uint64_t on[SERVER_LIST_MAX]; /* at the end */
	uint64_t moves, plain;        /* all of them; and with 2N */
};

enum err rolling_plan(struct rolling_plan *out, const struct plan *p, size_t asked, struct why *why) MUST_CHECK;
void rolling_plan_deinit(struct rolling_plan *r);
