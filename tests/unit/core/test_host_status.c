#include "core/host_status.h"

#include "core_test.h"

/*
 * The same transitions as in host_status.c, written the other way round: an event, where it comes from and where it
 * leads. Whatever isn't here is no transition.
 */
#define FROM(s) (1u << HOST_##s)
#define STAY -1
/* clang-format off */
static const struct {
	enum host_event event;
	unsigned from;
	int to;
} moves[] = {
	{ EVENT_AGENT_CONNECTED, FROM(CREATING) | FROM(CONNECTING) | FROM(UP) | FROM(DISCONNECTED) | FROM(DOWN) | FROM(ALERT) |
	                         FROM(REBALANCING) | FROM(ERROR), HOST_CONNECTING },
	{ EVENT_READY, FROM(CONNECTING), HOST_UP },
	{ EVENT_PING, FROM(UP) | FROM(CONNECTING), STAY },
	{ EVENT_PING, FROM(DISCONNECTED) | FROM(ALERT), HOST_UP },
	{ EVENT_PING_TIMEOUT, FROM(UP) | FROM(CONNECTING) | FROM(DISCONNECTED), HOST_ALERT },
	{ EVENT_PING_TIMEOUT, FROM(DOWN), STAY },
	{ EVENT_AGENT_DISCONNECTED, FROM(UP) | FROM(CONNECTING) | FROM(ALERT), HOST_ALERT },
	{ EVENT_AGENT_DISCONNECTED, FROM(DISCONNECTED) | FROM(DOWN) | FROM(REBALANCING), STAY },
	{ EVENT_SHUTDOWN_REQUESTED, FROM(UP) | FROM(CONNECTING) | FROM(DISCONNECTED) | FROM(DOWN) | FROM(ALERT) |
	                            FROM(REBALANCING), HOST_DISCONNECTED },
	{ EVENT_HOST_DOWN, FROM(UP) | FROM(CONNECTING) | FROM(DISCONNECTED) | FROM(ALERT) | FROM(DOWN), HOST_DOWN },
	{ EVENT_MANAGEMENT_SERVER_DOWN, FROM(UP) | FROM(CONNECTING) | FROM(DISCONNECTED) | FROM(REBALANCING), HOST_DISCONNECTED },
	{ EVENT_MANAGEMENT_SERVER_DOWN, FROM(DOWN) | FROM(ALERT), STAY },
	{ EVENT_WAITED_TOO_LONG, FROM(DISCONNECTED), HOST_ALERT },
	{ EVENT_START_AGENT_REBALANCE, FROM(UP) | FROM(CONNECTING), HOST_REBALANCING },
	{ EVENT_REBALANCE_COMPLETED, FROM(REBALANCING), HOST_CONNECTING },
	{ EVENT_REBALANCE_FAILED, FROM(REBALANCING), HOST_DISCONNECTED },
	{ EVENT_REMOVE, FROM(UP) | FROM(DISCONNECTED) | FROM(DOWN) | FROM(ALERT), HOST_REMOVED },
	{ EVENT_ERROR, FROM(CREATING), HOST_ERROR },
};
/* clang-format on */
#undef FROM

/* Where the list above leads, or -1. */
static int expected_status(enum host_event event, enum host_status from)
{
	for (size_t i = 0; i < ARRAY_SIZE(moves); i++) {
		if (moves[i].event == event && (moves[i].from & 1u << from))
			return moves[i].to == STAY ? (int)from : moves[i].to;
	}
	return -1;
}

static void statuses_change_as_listed(void **state)
{
	for (enum host_event event = 0; event < EVENT_N; event++) {
		for (enum host_status from = 0; from < HOST_N_STATUSES; from++) {
			int expected = expected_status(event, from);
			enum host_status to = HOST_N_STATUSES;
			bool has_moved = host_status_move(from, event, &to);

			if (has_moved != (expected >= 0) ||
			    to != (has_moved ? (enum host_status)expected : HOST_N_STATUSES))
				fail_msg("%s in %s", host_event_name(event), host_status_name(from));
		}
	}
}

static void some_statuses_have_no_owner(void **state)
{
	static const enum host_status cleared[] = {HOST_DOWN,    HOST_DISCONNECTED, HOST_ALERT,
						   HOST_REMOVED, HOST_ERROR,        HOST_REBALANCING};

	for (enum host_status s = 0; s < HOST_N_STATUSES; s++) {
		bool is_cleared = false;

		for (size_t i = 0; i < ARRAY_SIZE(cleared); i++)
			is_cleared |= cleared[i] == s;
		assert_int_equal(host_status_clears_owner(s), is_cleared);
	}
}

static void names_are_those_of_the_api(void **state)
{
	static const char *const statuses[] = {"Creating", "Connecting", "Up",    "Down",        "Disconnected",
					       "Alert",    "Removed",    "Error", "Rebalancing", "Unknown"};
	static const char *const events[] = {"AgentConnected",
					     "Ready",
					     "Ping",
					     "PingTimeout",
					     "AgentDisconnected",
					     "ShutdownRequested",
					     "HostDown",
					     "ManagementServerDown",
					     "WaitedTooLong",
					     "Remove",
					     "StartAgentRebalance",
					     "RebalanceCompleted",
					     "RebalanceFailed",
					     "Error"};
	static const char *const wrong[] = {"", "up", "Up ", "UP", "None"};

	assert_int_equal(ARRAY_SIZE(statuses), HOST_N_STATUSES);
	assert_int_equal(ARRAY_SIZE(events), EVENT_N);
	for (enum host_status s = 0; s < HOST_N_STATUSES; s++) {
		enum host_status back = HOST_N_STATUSES;

		assert_string_equal(host_status_name(s), statuses[s]);
		assert_true(host_status_from_text(statuses[s], &back));
		assert_int_equal(back, s);
	}
	for (enum host_event e = 0; e < EVENT_N; e++) {
		enum host_event back = EVENT_N;

		assert_string_equal(host_event_name(e), events[e]);
		assert_true(host_event_from_text(events[e], &back));
		assert_int_equal(back, e);
	}
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_false(host_status_from_text(wrong[i], &(enum host_status){HOST_UP}));
		assert_false(host_event_from_text(wrong[i], &(enum host_event){EVENT_PING}));
		assert_false(resource_state_from_text(wrong[i], &(enum resource_state){RESOURCE_ERROR}));
	}
	assert_false(host_status_from_text(NULL, &(enum host_status){HOST_UP}));
}

#define FROM(s) (1u << RESOURCE_##s)
/* clang-format off */
static const struct {
	enum resource_event event;
	unsigned from;
	int to;
} resource_moves[] = {
	{ RESOURCE_EVENT_INTERNAL_CREATED, FROM(CREATING), RESOURCE_ENABLED },
	{ RESOURCE_EVENT_INTERNAL_CREATED, FROM(ENABLED) | FROM(DISABLED) | FROM(PREPARE_FOR_MAINTENANCE) | FROM(MAINTENANCE) |
	                                   FROM(ERROR_IN_PREPARE_FOR_MAINTENANCE) | FROM(ERROR_IN_MAINTENANCE) | FROM(ERROR), STAY },
	{ RESOURCE_EVENT_ENABLE, FROM(ENABLED) | FROM(DISABLED), RESOURCE_ENABLED },
	{ RESOURCE_EVENT_DISABLE, FROM(ENABLED) | FROM(DISABLED) | FROM(ERROR_IN_MAINTENANCE) |
	                          FROM(ERROR_IN_PREPARE_FOR_MAINTENANCE), RESOURCE_DISABLED },
	{ RESOURCE_EVENT_ADMIN_ASK_MAINTENANCE, FROM(ENABLED) | FROM(ERROR_IN_MAINTENANCE), RESOURCE_PREPARE_FOR_MAINTENANCE },
	{ RESOURCE_EVENT_ADMIN_ASK_MAINTENANCE, FROM(DEGRADED), RESOURCE_MAINTENANCE },
	{ RESOURCE_EVENT_ADMIN_CANCEL_MAINTENANCE, FROM(PREPARE_FOR_MAINTENANCE) | FROM(ERROR_IN_PREPARE_FOR_MAINTENANCE) |
	                                           FROM(MAINTENANCE) | FROM(ERROR_IN_MAINTENANCE), RESOURCE_ENABLED },
	{ RESOURCE_EVENT_INTERNAL_ENTER_MAINTENANCE, FROM(ENABLED) | FROM(PREPARE_FOR_MAINTENANCE) |
	                                             FROM(ERROR_IN_PREPARE_FOR_MAINTENANCE), RESOURCE_MAINTENANCE },
	{ RESOURCE_EVENT_UNABLE_TO_MIGRATE, FROM(PREPARE_FOR_MAINTENANCE) | FROM(ERROR_IN_PREPARE_FOR_MAINTENANCE),
	  RESOURCE_ERROR_IN_PREPARE_FOR_MAINTENANCE },
	{ RESOURCE_EVENT_UNABLE_TO_MAINTAIN, FROM(PREPARE_FOR_MAINTENANCE) | FROM(ERROR_IN_PREPARE_FOR_MAINTENANCE),
	  RESOURCE_ERROR_IN_MAINTENANCE },
	{ RESOURCE_EVENT_ERRORS_CORRECTED, FROM(ERROR_IN_PREPARE_FOR_MAINTENANCE), RESOURCE_PREPARE_FOR_MAINTENANCE },
	{ RESOURCE_EVENT_DECLARE_DEGRADED, FROM(ENABLED) | FROM(DISABLED) | FROM(MAINTENANCE), RESOURCE_DEGRADED },
	{ RESOURCE_EVENT_ENABLE_DEGRADED, FROM(DEGRADED), RESOURCE_ENABLED },
	/* Any but Creating, PrepareForMaintenance and Error. */
	{ RESOURCE_EVENT_DELETE_HOST, FROM(ENABLED) | FROM(DISABLED) | FROM(ERROR_IN_PREPARE_FOR_MAINTENANCE) | FROM(MAINTENANCE) |
	                              FROM(ERROR_IN_MAINTENANCE) | FROM(DEGRADED), RESOURCE_DISABLED },
	{ RESOURCE_EVENT_ERROR, FROM(CREATING), RESOURCE_ERROR },
};
/* clang-format on */

static int expected_resource_state(enum resource_event event, enum resource_state from)
{
	for (size_t i = 0; i < ARRAY_SIZE(resource_moves); i++) {
		if (resource_moves[i].event == event && (resource_moves[i].from & 1u << from))
			return resource_moves[i].to == STAY ? (int)from : resource_moves[i].to;
	}
	return -1;
}

static void resource_states_change_as_listed(void **state)
{
	for (enum resource_event event = 0; event < RESOURCE_N_EVENTS; event++) {
		for (enum resource_state from = 0; from < RESOURCE_N_STATES; from++) {
			int expected = expected_resource_state(event, from);
			enum resource_state to = RESOURCE_N_STATES;
			bool has_moved = resource_state_move(from, event, &to);

			if (has_moved != (expected >= 0) ||
			    to != (has_moved ? (enum resource_state)expected : RESOURCE_N_STATES))
				fail_msg("event %d in %s", (int)event, resource_state_name(from));
		}
	}
}

static void resource_states_are_named_and_ranked(void **state)
{
	/* clang-format off */
	static const struct { const char *what; bool is_ranked; } rows[] = {
		{ "Creating", false }, { "Enabled", true }, { "Disabled", true }, { "PrepareForMaintenance", true },
		{ "ErrorInPrepareForMaintenance", false }, { "Maintenance", true }, { "ErrorInMaintenance", true },
		{ "Degraded", false }, { "Error", false },
	};
	/* clang-format on */

	assert_int_equal(ARRAY_SIZE(rows), RESOURCE_N_STATES);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		enum resource_state s = RESOURCE_N_STATES;

		check_row(&rows[i], resource_state_from_text(rows[i].what, &s) && s == i);
		check_row(&rows[i], str_equal(resource_state_name(s), rows[i].what));
		check_row(&rows[i], resource_state_is_ranked(s) == rows[i].is_ranked);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(statuses_change_as_listed),
		cmocka_unit_test(some_statuses_have_no_owner),
		cmocka_unit_test(names_are_those_of_the_api),
		cmocka_unit_test(resource_states_change_as_listed),
		cmocka_unit_test(resource_states_are_named_and_ranked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
