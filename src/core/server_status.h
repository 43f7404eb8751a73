/*
 * A management server's state, spelled as CloudStack's API shows it. Only Up is not in avoid lists.
 */
#pragma once

#include <stdbool.h>

enum server_state {
	SERVER_UP,
	SERVER_DOWN,
	SERVER_PREPARING_FOR_MAINTENANCE,
	SERVER_MAINTENANCE,
	SERVER_PREPARING_FOR_SHUTDOWN,
	SERVER_READY_TO_SHUTDOWN,
	SERVER_SHUTTING_DOWN,
	SERVER_N_STATES
};

enum server_event {
	SERVER_EVENT_START,
	SERVER_EVENT_HEARTBEAT,
	SERVER_EVENT_STOP,
	SERVER_EVENT_LOST,
	SERVER_EVENT_PREPARE_MAINTENANCE,
	SERVER_EVENT_ENTER_MAINTENANCE,
	SERVER_EVENT_CANCEL_MAINTENANCE,
	SERVER_EVENT_PREPARE_SHUTDOWN,
	SERVER_EVENT_JOBS_DONE,
	SERVER_EVENT_TRIGGER_SHUTDOWN,
	SERVER_EVENT_CANCEL_SHUTDOWN,
	SERVER_N_EVENTS
};

/* The only door; a clean stop keeps Maintenance (CloudStack loses it). */
bool server_state_move(enum server_state from, enum server_event event, enum server_state *to);
const char *server_state_name(enum server_state s); /* "PreparingForShutDown" */
bool server_state_from_text(const char *text, enum server_state *out);
