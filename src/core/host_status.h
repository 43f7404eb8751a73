/*
 * A host's connection status and the events that change it, and its administrative resource state: two tables, names
 * spelled as CloudStack's API shows them.
 */
#pragma once

#include <stdbool.h>

enum host_status {
	HOST_CREATING,
	HOST_CONNECTING,
	HOST_UP,
	HOST_DOWN,
	HOST_DISCONNECTED,
	HOST_ALERT,
	HOST_REMOVED,
	HOST_ERROR,
	HOST_REBALANCING,
	HOST_UNKNOWN,
	HOST_N_STATUSES
};

enum host_event {
	EVENT_AGENT_CONNECTED,
	EVENT_READY,
	EVENT_PING,
	EVENT_PING_TIMEOUT,
	EVENT_AGENT_DISCONNECTED,
	EVENT_SHUTDOWN_REQUESTED,
	EVENT_HOST_DOWN,
	EVENT_MANAGEMENT_SERVER_DOWN,
	EVENT_WAITED_TOO_LONG,
	EVENT_REMOVE,
	EVENT_START_AGENT_REBALANCE,
	EVENT_REBALANCE_COMPLETED,
	EVENT_REBALANCE_FAILED,
	EVENT_ERROR,
	EVENT_N
};

/* The only door: false when there is no transition (then *to is untouched). */
bool host_status_move(enum host_status from, enum host_event event, enum host_status *to);
/* Does entering this status clear the owner? */
bool host_status_clears_owner(enum host_status s);
const char *host_status_name(enum host_status s); /* "Up" */
bool host_status_from_text(const char *text, enum host_status *out);
const char *host_event_name(enum host_event e); /* "AgentConnected" */
bool host_event_from_text(const char *text, enum host_event *out);

enum resource_state {
	RESOURCE_CREATING,
	RESOURCE_ENABLED,
	RESOURCE_DISABLED,
	RESOURCE_PREPARE_FOR_MAINTENANCE,
	RESOURCE_ERROR_IN_PREPARE_FOR_MAINTENANCE,
	RESOURCE_MAINTENANCE,
	RESOURCE_ERROR_IN_MAINTENANCE,
	RESOURCE_DEGRADED,
	RESOURCE_ERROR,
	RESOURCE_N_STATES
};

enum resource_event {
	RESOURCE_EVENT_INTERNAL_CREATED,
	RESOURCE_EVENT_ENABLE,
	RESOURCE_EVENT_DISABLE,
	RESOURCE_EVENT_ADMIN_ASK_MAINTENANCE,
	RESOURCE_EVENT_ADMIN_CANCEL_MAINTENANCE,
	RESOURCE_EVENT_INTERNAL_ENTER_MAINTENANCE,
	RESOURCE_EVENT_UNABLE_TO_MIGRATE,
	RESOURCE_EVENT_UNABLE_TO_MAINTAIN,
	RESOURCE_EVENT_ERRORS_CORRECTED,
	RESOURCE_EVENT_DECLARE_DEGRADED,
	RESOURCE_EVENT_ENABLE_DEGRADED,
	RESOURCE_EVENT_DELETE_HOST,
	RESOURCE_EVENT_ERROR,
	RESOURCE_N_EVENTS
};

bool resource_state_move(enum resource_state from, enum resource_event event, enum resource_state *to);
const char *resource_state_name(enum resource_state s);
bool resource_state_from_text(const char *text, enum resource_state *out);
/* Does a host in this state count for lists? */
bool resource_state_is_ranked(enum resource_state s);
