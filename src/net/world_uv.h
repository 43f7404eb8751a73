/*
 * The real world: libuv, threads and the machine (net/world.h).
 *
 * A daemon makes one, hands it to its engine, lets it run until a signal or the engine stops it, frees the engine,
 * and frees the world last. SIGPIPE is ignored from world_uv_new() on.
 */
#pragma once

#include <uv.h>

#include "net/tcp_timers.h"
#include "net/world.h"

enum err world_uv_new(struct world **out, struct why *why) MUST_CHECK;
/* For connections made from now on; until it is called TCP_TIMERS_DEFAULT holds. */
void world_uv_set_tcp(struct world *w, const struct tcp_timers *t);
/* Turns until world_uv_stop(); may be called again afterwards. */
void world_uv_run(struct world *w);
/* One turn, waiting for something to happen: for tests and for hosts with a loop of their own. */
void world_uv_turn(struct world *w);
void world_uv_stop(struct world *w);
/*
 * Waits for work that is running and drops what is queued: from here on nothing runs off the loop. A daemon does it
 * before it frees an engine that may have work under way (a start that failed). world_uv_free() does it too.
 */
void world_uv_stop_work(struct world *w);
/*
 * Waits for work that is running (not for names being resolved), calls what is left for the end of the turn, drops
 * the rest of the work, closes every stream and listener without an event. Returns NULL.
 */
struct world *world_uv_free(struct world *w);

/* For what is not in net/world.h: an HTTP daemon's descriptor, say. Handles on it must be closed before
 * world_uv_free(). */
uv_loop_t *world_uv_loop(struct world *w);
/* Calls back on the loop whenever the signal comes, as long as the world lives. */
enum err world_uv_on_signal(struct world *w, int signo, void (*call)(void *user, int signo), void *user) MUST_CHECK;
