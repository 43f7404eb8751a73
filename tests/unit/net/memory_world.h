/*
 * A world in memory for tests: time stands still until it is moved, streams are pairs of buffers, work runs in the
 * turn after it was asked for. A turn is one call of memory_turn(). There is one listener, on every address; whoever
 * dials while there is none is refused.
 */
#pragma once

#include "net/world.h"

struct world *memory_world_new(void);
struct world *memory_world_free(struct world *w);
/* Delivers what is under way, runs work, timers and what was left for the end of the turn. */
void memory_turn(struct world *w);
void memory_turns(struct world *w, int n);
/* Moves the clock; timers fire in the next turn. */
void memory_advance(struct world *w, int64_t ms);

/* How the bytes arrive: in pieces of `n` at most (0: all that is there). */
void memory_pieces(struct world *w, size_t n);
/* What this stream is sent is not delivered, as if the other end did not read. */
void memory_deaf(struct stream *s, bool deaf);
/* Whoever dials from now on hears nothing. */
void memory_blackhole(struct world *w, bool on);
