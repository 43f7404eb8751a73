/*
 * Spread: bringing the newest list to every connected agent and knowing who has it.
 *
 * Holds no connection and sends nothing: agents enter with spread_add() when they are found outdated, spread_step()
 * says whom to tell now (a window at a time, paced), and the caller reports back with spread_acked(),
 * spread_failed() or spread_gone(). An agent that is added again while it is being told is told once more afterwards.
 * Failures are retried with back-off for as long as the agent is connected; nothing is ever given up silently.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mono.h"
#include "base/rng.h"

struct spread;

struct spread_rule {
	size_t window;        /* told and not yet acknowledged at one time; default (for 0, here and below) 64 */
	int64_t answer_ms;    /* an agent that does not answer for so long is told again; default 60000 */
	int64_t retry_min_ms; /* default 1000 */
	int64_t retry_max_ms; /* default 60000 */
};

struct spread *spread_new(const struct spread_rule *rule); /* NULL: out of memory */
struct spread *spread_free(struct spread *s);

/* How many may be told at one time from now on; 0: the default. Those being told already are not touched. */
void spread_set_window(struct spread *s, size_t window);
/* The agent (by host id) needs to be told. */
enum err spread_add(struct spread *s, uint64_t host, struct mono now) MUST_CHECK;
/* Who to tell now: writes at most `room` host ids, returns how many. */
size_t spread_step(struct spread *s, struct mono now, uint64_t *hosts, size_t room);
/* The agent confirmed what it was told last; answers to an earlier telling are not reported. */
void spread_acked(struct spread *s, uint64_t host);
void spread_failed(struct spread *s, uint64_t host, struct mono now, struct rng *rng);
void spread_gone(struct spread *s, uint64_t host); /* the link went away; the next connect compares again */
/* When spread_step() may have something new ({0}: now); MONO_NEVER: nothing without a call. */
struct mono spread_next_due(const struct spread *s);
size_t spread_waiting(const struct spread *s); /* added and not yet acknowledged */
bool spread_has(const struct spread *s, uint64_t host);
