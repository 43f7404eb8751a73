/*
 * The operator's health script (agent.health.check.script.path): exit code 0 is healthy, 1 is not, everything else -
 * a signal, a time-out, a script that can't be started - says nothing.
 *
 * It runs on WORK_FILE in a process group of its own, one run at a time; when its time is up the whole group is
 * killed. Who asks while it runs gets the result of that run.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "net/world.h"

enum health_result { HEALTH_UNKNOWN, HEALTH_GOOD, HEALTH_BAD };
const char *health_result_name(enum health_result r);

struct health;

struct health_waiter {
	/* On the loop, exactly once. The sentence says more about HEALTH_UNKNOWN and HEALTH_BAD. */
	void (*done)(struct health_waiter *w, enum health_result result, const char *sentence);
	struct list queued; /* private */
};

enum err health_new(struct health **out, struct world *w, const struct log *log, const char *script, int64_t limit_s)
	MUST_CHECK;
/* Kills what runs and tells those who wait that nothing is known; they must not ask again. Returns NULL; NULL is fine.
 */
struct health *health_free(struct health *h);
/* Runs it, unless it is running; `waiter` may be NULL. */
void health_ask(struct health *h, struct health_waiter *waiter);
/* What came out last. */
enum health_result health_last(const struct health *h);
