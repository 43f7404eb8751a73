/*
 * A rolling restart before it happens: which server when, what moves, what each has meanwhile.
 */
#pragma once

#include "cli/cli.h"
#include "core/rolling.h"

struct rolling_view {
	const struct plan *p;
	const struct rolling_plan *r;
	const char *const *names;     /* of the plan's servers, as people know them */
	int64_t rate;                 /* agents asked to move per second */
	const struct plan_pace *pace; /* NULL: not known */
};

void rolling_show(const struct cli *c, const struct rolling_view *v);
json_t *rolling_to_json(const struct rolling_view *v);
/* How long it takes to empty a server that has so many. */
int64_t rolling_drain_s(uint64_t agents, int64_t rate);
