/*
 * First dial: how long an agent waits before it dials anybody, after it has lost its server without warning.
 *
 * A server that dies with ten thousand agents sends them to the others in one moment. Each of them was told in advance
 * how many they are (with the list, a ping, a heartbeat: while there was a server to tell it) and waits a random part
 * of a time that grows with that number. Only the first dial waits; what follows has back-off. And it is patient with
 * the server that it dials, which has as many others to take. Rules are numbered as in docs/failover.md ("First dial").
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"

struct first_dial_rule {
	uint64_t few;         /* so many agents at once are no storm: they don't wait */
	int64_t us_per_agent; /* for each beyond them the time grows by this; 0: nobody waits */
	int64_t most_ms;      /* and is never more than this */
};

extern const struct first_dial_rule first_dial_rule_default; /* 100, 200 us, 5 s */

/* The time over which the n agents of a server that is lost spread their first dials. */
int64_t first_dial_window_ms(const struct first_dial_rule *rule, uint64_t n_agents);
/* One agent's part of it. 0 agents: it wasn't told. */
int64_t first_dial_delay_ms(const struct first_dial_rule *rule, uint64_t n_agents, struct rng *rng);
/*
 * How long a server that has taken the connection is given for its handshake before another one is dialled beside it.
 * `handshake_ms`: what its last one took, 0: not known. `n_agents`: who were on the server that was lost, for a search;
 * 0: not told. `keeps_link`: a planned move, which loses nothing while it waits.
 */
int64_t first_dial_patience_ms(int64_t handshake_ms, uint64_t n_agents, bool keeps_link);
