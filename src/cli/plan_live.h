/*
 * The running cluster as a plan starts from it: one question (listPlacement), all of its pages.
 */
#pragma once

#include "cli/cli.h"
#include "core/plan.h"

struct plan_live {
	enum algorithm in_force;
	struct plan_pace pace;
	bool is_frozen;
	json_t *servers; /* of the answer: name, weight, zone, server, serverid, state */
	json_t *hosts;   /* the same: id, uuid, name, zone, slot, list, confirmed, on, serverid */
};

/* Exit code; what is wrong has been said. Servers are what they are: see plan_servers_are(). */
int plan_read_live(struct cli *c, struct plan *p, struct plan_live *out);
void plan_live_deinit(struct plan_live *l);
