/*
 * A host's two machines: the status of its connection, and what the administrator wants of it.
 *
 *                  AgentConnected                Ready
 *   every status ------------------> Connecting -------> Up <--- Ping --- Alert, Disconnected
 *   but Removed                          |               |
 *                                        +-------+-------+
 *                                                |
 *                                                +-- PingTimeout, AgentDisconnected ----------> Alert
 *                                                +-- ShutdownRequested, ManagementServerDown -> Disconnected
 *                                                +-- HostDown --------------------------------> Down
 *                                                +-- StartAgentRebalance ---------------------> Rebalancing
 *
 * The picture has the roads that are travelled daily, the table has all of them. Time-outs, links and who may ask for
 * an event are the caller's: here is only whether an event means anything in a status.
 */
#include "core/host_status.h"

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"

/* clang-format off */
static const struct {
	const char *name;
	bool clears_owner;
} statuses[] = {
	[HOST_CREATING]     = { "Creating",     false },
	[HOST_CONNECTING]   = { "Connecting",   false },
	[HOST_UP]           = { "Up",           false },
	[HOST_DOWN]         = { "Down",         true },
	[HOST_DISCONNECTED] = { "Disconnected", true },
	[HOST_ALERT]        = { "Alert",        true },
	[HOST_REMOVED]      = { "Removed",      true },
	[HOST_ERROR]        = { "Error",        true },
	[HOST_REBALANCING]  = { "Rebalancing",  true },
	[HOST_UNKNOWN]      = { "Unknown",      false },
};
_Static_assert(ARRAY_SIZE(statuses) == HOST_N_STATUSES, "each status has a row");

/* Where an event leads, by the status it meets. Zero is "no transition", so statuses are kept one higher. */
#define NONE 0
#define TO(status) (HOST_##status + 1)
#define CONN TO(CONNECTING)
#define UP   TO(UP)
#define DOWN TO(DOWN)
#define DISC TO(DISCONNECTED)
#define ALRT TO(ALERT)
#define GONE TO(REMOVED)
#define ERR  TO(ERROR)
#define REBA TO(REBALANCING)
#define ROW(creating, connecting, up, down, disconnected, alert, rebalancing, error)                              \
	{ [HOST_CREATING] = creating, [HOST_CONNECTING] = connecting, [HOST_UP] = up, [HOST_DOWN] = down,         \
	  [HOST_DISCONNECTED] = disconnected, [HOST_ALERT] = alert, [HOST_REBALANCING] = rebalancing,             \
	  [HOST_ERROR] = error }

static const struct {
	const char *name;
	uint8_t to[HOST_N_STATUSES];
} events[] = {
	/*                                                         Creating Connct Up    Down  Discon Alert Rebal Error */
	[EVENT_AGENT_CONNECTED]        = { "AgentConnected",       ROW(CONN, CONN, CONN, CONN, CONN, CONN, CONN, CONN) },
	[EVENT_READY]                  = { "Ready",                ROW(NONE, UP,   NONE, NONE, NONE, NONE, NONE, NONE) },
	[EVENT_PING]                   = { "Ping",                 ROW(NONE, CONN, UP,   NONE, UP,   UP,   NONE, NONE) },
	[EVENT_PING_TIMEOUT]           = { "PingTimeout",          ROW(NONE, ALRT, ALRT, DOWN, ALRT, NONE, NONE, NONE) },
	[EVENT_AGENT_DISCONNECTED]     = { "AgentDisconnected",    ROW(NONE, ALRT, ALRT, DOWN, DISC, ALRT, REBA, NONE) },
	[EVENT_SHUTDOWN_REQUESTED]     = { "ShutdownRequested",    ROW(NONE, DISC, DISC, DISC, DISC, DISC, DISC, NONE) },
	[EVENT_HOST_DOWN]              = { "HostDown",             ROW(NONE, DOWN, DOWN, DOWN, DOWN, DOWN, NONE, NONE) },
	[EVENT_MANAGEMENT_SERVER_DOWN] = { "ManagementServerDown", ROW(NONE, DISC, DISC, DOWN, DISC, ALRT, DISC, NONE) },
	[EVENT_WAITED_TOO_LONG]        = { "WaitedTooLong",        ROW(NONE, NONE, NONE, NONE, ALRT, NONE, NONE, NONE) },
	[EVENT_REMOVE]                 = { "Remove",               ROW(NONE, NONE, GONE, GONE, GONE, GONE, NONE, NONE) },
	[EVENT_START_AGENT_REBALANCE]  = { "StartAgentRebalance",  ROW(NONE, REBA, REBA, NONE, NONE, NONE, NONE, NONE) },
	[EVENT_REBALANCE_COMPLETED]    = { "RebalanceCompleted",   ROW(NONE, NONE, NONE, NONE, NONE, NONE, CONN, NONE) },
	[EVENT_REBALANCE_FAILED]       = { "RebalanceFailed",      ROW(NONE, NONE, NONE, NONE, NONE, NONE, DISC, NONE) },
	[EVENT_ERROR]                  = { "Error",                ROW(ERR,  NONE, NONE, NONE, NONE, NONE, NONE, NONE) },
};
_Static_assert(ARRAY_SIZE(events) == EVENT_N, "each event has a row");
#undef TO
#undef CONN
#undef UP
#undef DOWN
#undef DISC
#undef ALRT
#undef GONE
#undef ERR
#undef REBA
#undef ROW
/* clang-format on */

bool host_status_move(enum host_status from, enum host_event event, enum host_status *to)
{
	uint8_t next = events[event].to[from];

	if (next == NONE)
		return false;
	*to = (enum host_status)(next - 1);
	return true;
}

bool host_status_clears_owner(enum host_status s)
{
	return statuses[s].clears_owner;
}

const char *host_status_name(enum host_status s)
{
	return statuses[s].name;
}

bool host_status_from_text(const char *text, enum host_status *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		if (str_equal(text, statuses[i].name)) {
			*out = (enum host_status)i;
			return true;
		}
	}
	return false;
}

const char *host_event_name(enum host_event e)
{
	return events[e].name;
}

bool host_event_from_text(const char *text, enum host_event *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		if (str_equal(text, events[i].name)) {
			*out = (enum host_event)i;
			return true;
		}
	}
	return false;
}

/*
 * The administrative state.
 *
 *   Creating --> Enabled <--> Disabled      a failed creation ends in Error; Enabled and Disabled may become Degraded
 *                   |  ^
 *     ask for       |  | cancel (from everywhere below)
 *     maintenance   v  |
 *        PrepareForMaintenance --> Maintenance
 *            |          ^
 *            v          | errors corrected
 *        ErrorInPrepareForMaintenance --> ErrorInMaintenance
 */
/* clang-format off */
static const struct {
	const char *name;
	bool is_ranked;
} resource_states[] = {
	[RESOURCE_CREATING]                         = { "Creating",                     false },
	[RESOURCE_ENABLED]                          = { "Enabled",                      true },
	[RESOURCE_DISABLED]                         = { "Disabled",                     true },
	[RESOURCE_PREPARE_FOR_MAINTENANCE]          = { "PrepareForMaintenance",        true },
	[RESOURCE_ERROR_IN_PREPARE_FOR_MAINTENANCE] = { "ErrorInPrepareForMaintenance", false },
	[RESOURCE_MAINTENANCE]                      = { "Maintenance",                  true },
	[RESOURCE_ERROR_IN_MAINTENANCE]             = { "ErrorInMaintenance",           true },
	[RESOURCE_DEGRADED]                         = { "Degraded",                     false },
	[RESOURCE_ERROR]                            = { "Error",                        false },
};
_Static_assert(ARRAY_SIZE(resource_states) == RESOURCE_N_STATES, "each state has a row");

#define TO(state) (RESOURCE_##state + 1)
#define ENAB TO(ENABLED)
#define DISA TO(DISABLED)
#define PREP TO(PREPARE_FOR_MAINTENANCE)
#define EPRE TO(ERROR_IN_PREPARE_FOR_MAINTENANCE)
#define MAIN TO(MAINTENANCE)
#define EMAI TO(ERROR_IN_MAINTENANCE)
#define DEGR TO(DEGRADED)
#define ERR  TO(ERROR)
#define ROW(creating, enabled, disabled, prepare, error_prepare, maintenance, error_maintenance, degraded, error)   \
	{ [RESOURCE_CREATING] = creating, [RESOURCE_ENABLED] = enabled, [RESOURCE_DISABLED] = disabled,             \
	  [RESOURCE_PREPARE_FOR_MAINTENANCE] = prepare, [RESOURCE_ERROR_IN_PREPARE_FOR_MAINTENANCE] = error_prepare, \
	  [RESOURCE_MAINTENANCE] = maintenance, [RESOURCE_ERROR_IN_MAINTENANCE] = error_maintenance,                \
	  [RESOURCE_DEGRADED] = degraded, [RESOURCE_ERROR] = error }

static const uint8_t resource_moves[][RESOURCE_N_STATES] = {
	/*                                                Creating Enabl Disab Prep  ErrPr Maint ErrMa Degra Error */
	[RESOURCE_EVENT_INTERNAL_CREATED]           = ROW(ENAB, ENAB, DISA, PREP, EPRE, MAIN, EMAI, NONE, ERR),
	[RESOURCE_EVENT_ENABLE]                     = ROW(NONE, ENAB, ENAB, NONE, NONE, NONE, NONE, NONE, NONE),
	[RESOURCE_EVENT_DISABLE]                    = ROW(NONE, DISA, DISA, NONE, DISA, NONE, DISA, NONE, NONE),
	[RESOURCE_EVENT_ADMIN_ASK_MAINTENANCE]      = ROW(NONE, PREP, NONE, NONE, NONE, NONE, PREP, MAIN, NONE),
	[RESOURCE_EVENT_ADMIN_CANCEL_MAINTENANCE]   = ROW(NONE, NONE, NONE, ENAB, ENAB, ENAB, ENAB, NONE, NONE),
	[RESOURCE_EVENT_INTERNAL_ENTER_MAINTENANCE] = ROW(NONE, MAIN, NONE, MAIN, MAIN, NONE, NONE, NONE, NONE),
	[RESOURCE_EVENT_UNABLE_TO_MIGRATE]          = ROW(NONE, NONE, NONE, EPRE, EPRE, NONE, NONE, NONE, NONE),
	[RESOURCE_EVENT_UNABLE_TO_MAINTAIN]         = ROW(NONE, NONE, NONE, EMAI, EMAI, NONE, NONE, NONE, NONE),
	[RESOURCE_EVENT_ERRORS_CORRECTED]           = ROW(NONE, NONE, NONE, NONE, PREP, NONE, NONE, NONE, NONE),
	[RESOURCE_EVENT_DECLARE_DEGRADED]           = ROW(NONE, DEGR, DEGR, NONE, NONE, DEGR, NONE, NONE, NONE),
	[RESOURCE_EVENT_ENABLE_DEGRADED]            = ROW(NONE, NONE, NONE, NONE, NONE, NONE, NONE, ENAB, NONE),
	[RESOURCE_EVENT_DELETE_HOST]                = ROW(NONE, DISA, DISA, NONE, DISA, DISA, DISA, DISA, NONE),
	[RESOURCE_EVENT_ERROR]                      = ROW(ERR,  NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE),
};
_Static_assert(ARRAY_SIZE(resource_moves) == RESOURCE_N_EVENTS, "each event has a row");
/* clang-format on */

bool resource_state_move(enum resource_state from, enum resource_event event, enum resource_state *to)
{
	uint8_t next = resource_moves[event][from];

	if (next == NONE)
		return false;
	*to = (enum resource_state)(next - 1);
	return true;
}

const char *resource_state_name(enum resource_state s)
{
	return resource_states[s].name;
}

bool resource_state_from_text(const char *text, enum resource_state *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(resource_states); i++) {
		if (str_equal(text, resource_states[i].name)) {
			*out = (enum resource_state)i;
			return true;
		}
	}
	return false;
}

bool resource_state_is_ranked(enum resource_state s)
{
	return resource_states[s].is_ranked;
}
