/*
 * A plan as people read it: tables and sentences. For `muster plan`, and for commands that show the effect of what they
 * are about to do.
 */
#pragma once

#include "cli/cli.h"
#include "core/plan.h"

enum plan_hosts {
	PLAN_HOSTS_SOME,   /* the first ones; if there are more, those that move come first */
	PLAN_HOSTS_ALL,    /* every one */
	PLAN_HOSTS_MOVING, /* the first ones of those that move */
};

struct plan_view {
	enum plan_hosts hosts;
	const struct plan_pace *pace; /* NULL: not known, the defaults stand in for it */
	bool is_frozen;               /* nobody moves before somebody thaws */
	const bool *failed;           /* these servers fail, by place; NULL: none */
	size_t n_hosts_now;           /* to say how many come or go */
};

/* After plan_compute(). */
void plan_show(const struct cli *c, const struct plan *p, const struct plan_view *v);
