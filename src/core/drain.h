/*
 * Drain: empty one management server before it stops.
 *
 * Holds no connection and sends nothing: agents that are on the server enter with drain_add(), drain_step() says which
 * of them to ask to move now (at a rate, a window at a time), and the caller reports back with drain_moved(),
 * drain_refused() or drain_vanished(). An agent counts as gone when another server reports it up, not when it leaves
 * us. Those still here at the deadline, and those that vanished, are listed with the reason; closing their links is
 * the caller's decision. Rules are numbered as in docs/failover.md ("Drain").
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mono.h"
#include "base/rng.h"

struct drain;

/* Defaults stand in for zeros, but for the time-out. */
struct drain_rule {
	int64_t per_s;        /* agents asked per second; default 100 */
	size_t window;        /* asked and not yet up elsewhere at one time; default 64 */
	int64_t move_ms;      /* who was asked and is still here after so long is asked again; default 30000 */
	int64_t retry_min_ms; /* the pause after a refusal; default 1000 */
	int64_t retry_max_ms; /* default 30000 */
	int64_t left_ms;      /* who was asked and has left is expected elsewhere for so long; default 15000 */
	int64_t timeout_ms;   /* for the whole drain; 0: none */
};

/* The rate at which n agents are asked within the first half of that time: for a server that has to stop soon. */
int64_t drain_rate_within(size_t n, int64_t ms);

enum drain_state {
	DRAIN_RUNNING,
	DRAIN_PAUSED,    /* no other server accepts */
	DRAIN_DONE,      /* everybody is up elsewhere or has vanished */
	DRAIN_TIMED_OUT, /* some are still here; nobody is asked any more */
	DRAIN_N_STATES
};

enum drain_fate {
	DRAIN_WAITING,  /* for its turn */
	DRAIN_ASKED,    /* and still here */
	DRAIN_REFUSED,  /* waits out a pause, then it is asked again */
	DRAIN_LEFT,     /* was asked, its link here is gone, no other server has reported it yet */
	DRAIN_VANISHED, /* its link here is gone and nobody has it */
	DRAIN_MOVED,    /* up on another server */
	DRAIN_N_FATES
};

struct drain *drain_new(const struct drain_rule *rule, struct mono now); /* NULL: out of memory */
struct drain *drain_free(struct drain *d);

/* The agent (by host id) is on this server: when the drain starts, or because it came (back) meanwhile. */
enum err drain_add(struct drain *d, uint64_t host) MUST_CHECK;
/*
 * Whom to ask now: writes at most `room` host ids, returns how many. `others_accept`: at least one other server is Up
 * and takes agents; while there is none the drain pauses.
 */
size_t drain_step(struct drain *d, bool others_accept, struct mono now, uint64_t *hosts, size_t room);
void drain_moved(struct drain *d, uint64_t host, struct mono now); /* another server reports it up */
/* It said no, or could not be asked. `sentence` may be NULL. */
void drain_refused(struct drain *d, uint64_t host, enum err why, const char *sentence, struct mono now,
		   struct rng *rng);
void drain_vanished(struct drain *d, uint64_t host, struct mono now); /* its link here is gone */
void drain_forget(struct drain *d, uint64_t host);                    /* the host was deleted */
unsigned drain_n_asked(const struct drain *d, uint64_t host); /* how often it was asked; 0 also for unknown ones */
/* When drain_step() may have something new ({0}: now); MONO_NEVER: nothing without a call. */
struct mono drain_next_due(const struct drain *d, struct mono now);

struct drain_report {
	enum drain_state state;
	size_t n_total;
	size_t n_by_fate[DRAIN_N_FATES];
	size_t n_left;        /* to be waited for: neither moved nor vanished */
	int64_t remaining_ms; /* an estimate; -1: not known (paused, timed out) */
	struct mono deadline; /* MONO_NEVER: none */
};

void drain_report(const struct drain *d, struct mono now, struct drain_report *out);

/* An agent that has not moved, and why. */
struct drain_remaining {
	uint64_t host;
	enum drain_fate fate;
	unsigned n_asked;     /* how often it was asked */
	enum err error;       /* of the last refusal; ERR_OK: it has refused nothing */
	const char *sentence; /* borrowed until the next call; never NULL */
};

/* Walks them in no particular order; start with *cursor = 0. false: that was all. */
bool drain_next_remaining(const struct drain *d, size_t *cursor, struct drain_remaining *out);

const char *drain_state_name(enum drain_state s); /* "running", "paused", ... */
const char *drain_fate_name(enum drain_fate f);
