#include "core/server_status.h"

#include "core_test.h"

/* The same transitions as in server_status.c, one by one; whatever isn't here is refused. */
/* clang-format off */
static const struct {
	const char *what;
	enum server_event event;
	enum server_state from, to;
} rows[] = {
	{ "a start is a start", SERVER_EVENT_START, SERVER_UP, SERVER_UP },
	{ "a start after a stop", SERVER_EVENT_START, SERVER_DOWN, SERVER_UP },
	{ "a start ends a preparation for shutdown", SERVER_EVENT_START, SERVER_PREPARING_FOR_SHUTDOWN, SERVER_UP },
	{ "a start ends the readiness for it", SERVER_EVENT_START, SERVER_READY_TO_SHUTDOWN, SERVER_UP },
	{ "a start after a shutdown that was cut short", SERVER_EVENT_START, SERVER_SHUTTING_DOWN, SERVER_UP },
	{ "maintenance outlives a start", SERVER_EVENT_START, SERVER_MAINTENANCE, SERVER_MAINTENANCE },
	{ "who began to prepare is there after a start", SERVER_EVENT_START, SERVER_PREPARING_FOR_MAINTENANCE, SERVER_MAINTENANCE },

	{ "a heartbeat brings a server back", SERVER_EVENT_HEARTBEAT, SERVER_DOWN, SERVER_UP },
	{ "a heartbeat changes nothing: Up", SERVER_EVENT_HEARTBEAT, SERVER_UP, SERVER_UP },
	{ "a heartbeat changes nothing: preparing", SERVER_EVENT_HEARTBEAT, SERVER_PREPARING_FOR_MAINTENANCE, SERVER_PREPARING_FOR_MAINTENANCE },
	{ "a heartbeat changes nothing: maintenance", SERVER_EVENT_HEARTBEAT, SERVER_MAINTENANCE, SERVER_MAINTENANCE },
	{ "a heartbeat changes nothing: preparing to stop", SERVER_EVENT_HEARTBEAT, SERVER_PREPARING_FOR_SHUTDOWN, SERVER_PREPARING_FOR_SHUTDOWN },
	{ "a heartbeat changes nothing: ready to stop", SERVER_EVENT_HEARTBEAT, SERVER_READY_TO_SHUTDOWN, SERVER_READY_TO_SHUTDOWN },
	{ "a heartbeat changes nothing: stopping", SERVER_EVENT_HEARTBEAT, SERVER_SHUTTING_DOWN, SERVER_SHUTTING_DOWN },

	{ "a clean stop", SERVER_EVENT_STOP, SERVER_UP, SERVER_DOWN },
	{ "a second one", SERVER_EVENT_STOP, SERVER_DOWN, SERVER_DOWN },
	{ "the end of a shutdown", SERVER_EVENT_STOP, SERVER_SHUTTING_DOWN, SERVER_DOWN },
	{ "a stop while preparing to stop", SERVER_EVENT_STOP, SERVER_PREPARING_FOR_SHUTDOWN, SERVER_DOWN },
	{ "a stop when ready for it", SERVER_EVENT_STOP, SERVER_READY_TO_SHUTDOWN, SERVER_DOWN },
	{ "maintenance outlives a clean stop", SERVER_EVENT_STOP, SERVER_MAINTENANCE, SERVER_MAINTENANCE },
	{ "who stops has no agents: maintenance is reached", SERVER_EVENT_STOP, SERVER_PREPARING_FOR_MAINTENANCE, SERVER_MAINTENANCE },

	{ "the peers lose a server", SERVER_EVENT_LOST, SERVER_UP, SERVER_DOWN },
	{ "once is enough", SERVER_EVENT_LOST, SERVER_DOWN, SERVER_DOWN },
	{ "lost while preparing keeps the intent", SERVER_EVENT_LOST, SERVER_PREPARING_FOR_MAINTENANCE, SERVER_PREPARING_FOR_MAINTENANCE },
	{ "lost in maintenance keeps it", SERVER_EVENT_LOST, SERVER_MAINTENANCE, SERVER_MAINTENANCE },
	{ "lost while preparing to stop", SERVER_EVENT_LOST, SERVER_PREPARING_FOR_SHUTDOWN, SERVER_PREPARING_FOR_SHUTDOWN },
	{ "lost when ready to stop", SERVER_EVENT_LOST, SERVER_READY_TO_SHUTDOWN, SERVER_READY_TO_SHUTDOWN },
	{ "lost while stopping: it has stopped", SERVER_EVENT_LOST, SERVER_SHUTTING_DOWN, SERVER_DOWN },

	{ "maintenance is prepared from Up only", SERVER_EVENT_PREPARE_MAINTENANCE, SERVER_UP, SERVER_PREPARING_FOR_MAINTENANCE },
	{ "no agents are left", SERVER_EVENT_ENTER_MAINTENANCE, SERVER_PREPARING_FOR_MAINTENANCE, SERVER_MAINTENANCE },
	{ "cancelled while preparing", SERVER_EVENT_CANCEL_MAINTENANCE, SERVER_PREPARING_FOR_MAINTENANCE, SERVER_UP },
	{ "cancelled in maintenance", SERVER_EVENT_CANCEL_MAINTENANCE, SERVER_MAINTENANCE, SERVER_UP },

	{ "a shutdown is prepared from Up only", SERVER_EVENT_PREPARE_SHUTDOWN, SERVER_UP, SERVER_PREPARING_FOR_SHUTDOWN },
	{ "no jobs are left", SERVER_EVENT_JOBS_DONE, SERVER_PREPARING_FOR_SHUTDOWN, SERVER_READY_TO_SHUTDOWN },
	{ "a shutdown without preparation", SERVER_EVENT_TRIGGER_SHUTDOWN, SERVER_UP, SERVER_SHUTTING_DOWN },
	{ "a shutdown in maintenance", SERVER_EVENT_TRIGGER_SHUTDOWN, SERVER_MAINTENANCE, SERVER_SHUTTING_DOWN },
	{ "a shutdown before the jobs are done", SERVER_EVENT_TRIGGER_SHUTDOWN, SERVER_PREPARING_FOR_SHUTDOWN, SERVER_SHUTTING_DOWN },
	{ "a shutdown as prepared", SERVER_EVENT_TRIGGER_SHUTDOWN, SERVER_READY_TO_SHUTDOWN, SERVER_SHUTTING_DOWN },
	{ "cancelled while jobs run", SERVER_EVENT_CANCEL_SHUTDOWN, SERVER_PREPARING_FOR_SHUTDOWN, SERVER_UP },
	{ "cancelled when ready", SERVER_EVENT_CANCEL_SHUTDOWN, SERVER_READY_TO_SHUTDOWN, SERVER_UP },
};
/* clang-format on */

static void states_change_as_listed(void **state)
{
	for (enum server_event event = 0; event < SERVER_N_EVENTS; event++) {
		for (enum server_state from = 0; from < SERVER_N_STATES; from++) {
			enum server_state to = SERVER_N_STATES;
			bool moves = server_state_move(from, event, &to), is_listed = false;

			for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
				if (rows[i].event != event || rows[i].from != from)
					continue;
				check_row(&rows[i], moves && to == rows[i].to);
				is_listed = true;
			}
			if (!is_listed && (moves || to != SERVER_N_STATES))
				fail_msg("event %d in %s is not listed", (int)event, server_state_name(from));
		}
	}
}

static void names_are_those_of_the_api(void **state)
{
	static const char *const names[] = {"Up",
					    "Down",
					    "PreparingForMaintenance",
					    "Maintenance",
					    "PreparingForShutDown",
					    "ReadyToShutDown",
					    "ShuttingDown"};

	assert_int_equal(ARRAY_SIZE(names), SERVER_N_STATES);
	for (enum server_state s = 0; s < SERVER_N_STATES; s++) {
		enum server_state back = SERVER_N_STATES;

		assert_string_equal(server_state_name(s), names[s]);
		assert_true(server_state_from_text(names[s], &back));
		assert_int_equal(back, s);
	}
	assert_false(server_state_from_text("up", &(enum server_state){SERVER_UP}));
	assert_false(server_state_from_text("", &(enum server_state){SERVER_UP}));
	assert_false(server_state_from_text(NULL, &(enum server_state){SERVER_UP}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(states_change_as_listed),
		cmocka_unit_test(names_are_those_of_the_api),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
