/*
 * A management server's state.
 *
 *            prepare maintenance                    enter
 *        Up -----------------------> Preparing --------------> Maintenance
 *        |^                          ForMaintenance                |
 *        |+---- cancel -------------------+------------------------+
 *        |^                                                        |
 *        |+---- cancel --+------------------+                      | trigger
 *        |               |                  |                      v
 *        +--> PreparingForShutDown --> ReadyToShutDown ------> ShuttingDown --stop--> Down --start--> Up
 *       prepare shutdown         jobs done           trigger
 *
 * Up goes to Down when the server stops or its peers lose it, and comes back with a start or a heartbeat; so does
 * ShuttingDown, whose end nobody else would write for a server that dies on its way (D17). Maintenance
 * outlives everything but its cancellation: a stop, a crash and a start. A server that stops while it prepares for
 * maintenance has no agents any more, so it is in Maintenance then, and doesn't block the next server's turn.
 */
#include "core/server_status.h"

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"

/* clang-format off */
static const char *const names[] = {
	[SERVER_UP]                        = "Up",
	[SERVER_DOWN]                      = "Down",
	[SERVER_PREPARING_FOR_MAINTENANCE] = "PreparingForMaintenance",
	[SERVER_MAINTENANCE]               = "Maintenance",
	[SERVER_PREPARING_FOR_SHUTDOWN]    = "PreparingForShutDown",
	[SERVER_READY_TO_SHUTDOWN]         = "ReadyToShutDown",
	[SERVER_SHUTTING_DOWN]             = "ShuttingDown",
};
_Static_assert(ARRAY_SIZE(names) == SERVER_N_STATES, "each state has a name");

/* Zero is "no transition", so states are kept one higher. */
#define NONE 0
#define TO(state) (SERVER_##state + 1)
#define UP   TO(UP)
#define DOWN TO(DOWN)
#define PRPM TO(PREPARING_FOR_MAINTENANCE)
#define MAIN TO(MAINTENANCE)
#define PRPS TO(PREPARING_FOR_SHUTDOWN)
#define REDY TO(READY_TO_SHUTDOWN)
#define SHUT TO(SHUTTING_DOWN)
#define ROW(up, down, preparing_maintenance, maintenance, preparing_shutdown, ready, shutting)              \
	{ [SERVER_UP] = up, [SERVER_DOWN] = down, [SERVER_PREPARING_FOR_MAINTENANCE] = preparing_maintenance, \
	  [SERVER_MAINTENANCE] = maintenance, [SERVER_PREPARING_FOR_SHUTDOWN] = preparing_shutdown,         \
	  [SERVER_READY_TO_SHUTDOWN] = ready, [SERVER_SHUTTING_DOWN] = shutting }

static const uint8_t moves[][SERVER_N_STATES] = {
	/*                                       Up    Down  PrepM Maint PrepS Ready Shutting */
	[SERVER_EVENT_START]               = ROW(UP,   UP,   MAIN, MAIN, UP,   UP,   UP),
	[SERVER_EVENT_HEARTBEAT]           = ROW(UP,   UP,   PRPM, MAIN, PRPS, REDY, SHUT),
	[SERVER_EVENT_STOP]                = ROW(DOWN, DOWN, MAIN, MAIN, DOWN, DOWN, DOWN),
	/* Else what the server was doing when it died is kept for its next start. */
	[SERVER_EVENT_LOST]                = ROW(DOWN, DOWN, PRPM, MAIN, PRPS, REDY, DOWN),
	[SERVER_EVENT_PREPARE_MAINTENANCE] = ROW(PRPM, NONE, NONE, NONE, NONE, NONE, NONE),
	[SERVER_EVENT_ENTER_MAINTENANCE]   = ROW(NONE, NONE, MAIN, NONE, NONE, NONE, NONE),
	[SERVER_EVENT_CANCEL_MAINTENANCE]  = ROW(NONE, NONE, UP,   UP,   NONE, NONE, NONE),
	[SERVER_EVENT_PREPARE_SHUTDOWN]    = ROW(PRPS, NONE, NONE, NONE, NONE, NONE, NONE),
	[SERVER_EVENT_JOBS_DONE]           = ROW(NONE, NONE, NONE, NONE, REDY, NONE, NONE),
	[SERVER_EVENT_TRIGGER_SHUTDOWN]    = ROW(SHUT, NONE, NONE, SHUT, SHUT, SHUT, NONE),
	[SERVER_EVENT_CANCEL_SHUTDOWN]     = ROW(NONE, NONE, NONE, NONE, UP,   UP,   NONE),
};
_Static_assert(ARRAY_SIZE(moves) == SERVER_N_EVENTS, "each event has a row");
/* clang-format on */

bool server_state_move(enum server_state from, enum server_event event, enum server_state *to)
{
	uint8_t next = moves[event][from];

	if (next == NONE)
		return false;
	*to = (enum server_state)(next - 1);
	return true;
}

const char *server_state_name(enum server_state s)
{
	return names[s];
}

bool server_state_from_text(const char *text, enum server_state *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (str_equal(text, names[i])) {
			*out = (enum server_state)i;
			return true;
		}
	}
	return false;
}
