/* The words of `muster explain`, without a server: each situation is a row. */
#include "server/explain.h"

#include <string.h>

#include "base/mem.h"
#include "check.h"

#define M1_UP                                                                                                          \
	{                                                                                                              \
		.name = "M1", .state = SERVER_UP, .accepting = true, .uptime_s = 100                                   \
	}
#define M1_IS(server_state)                                                                                            \
	{                                                                                                              \
		.name = "M1", .state = server_state, .uptime_s = -1                                                    \
	}
#define UNSAID                                                                                                         \
	{                                                                                                              \
		.retry_s = -1                                                                                          \
	}
/* An agent's word, as its gate's verdict. */
#define SAYS(gate, again, next)                                                                                        \
	{                                                                                                              \
		.answered = true, .verdict = "x", .why = "the x", .known = gate, .again_s = again, .next_s = next,     \
		.uptime_s = 3, .uptime_needed_s = 4, .heartbeats = 1, .heartbeats_needed = 3, .interval_s = 2,         \
		.preferred = UNSAID                                                                                    \
	}
/* One that also knows of a better server, while the preferred one is not up. */
#define BETTER(gate, next)                                                                                             \
	{                                                                                                              \
		.answered = true, .verdict = "not up", .known = FAILBACK_NOT_UP, .again_s = -1, .next_s = next,        \
		.uptime_s = -1, .uptime_needed_s = 4, .interval_s = 2, .goes_better = true, .better = gate,            \
		.preferred = UNSAID                                                                                    \
	}
#define SILENT                                                                                                         \
	{                                                                                                              \
		.again_s = -1, .next_s = -1, .uptime_s = -1, .uptime_needed_s = -1, .preferred = UNSAID                \
	}
/* h7 is on M2 and prefers M1. */
#define AWAY .host = "h7", .status = HOST_UP, .is_up = true, .owner = "M2", .preferred = "M1", .next = "M3", .pace = 50

static void one_sentence_says_why(void **state)
{
	static const struct {
		const char *what;
		struct explain_facts f;
		const char *why;
	} rows[] = {
		{"reserved", {.host = "h7", .status = HOST_CREATING}, "h7 is reserved; its agent has not joined yet."},
		{"nowhere",
		 {.host = "h7", .status = HOST_ALERT},
		 "h7 is Alert: it is connected to no management server."},
		{"lost a moment ago",
		 {AWAY, .reconnecting = true},
		 "h7 lost its link to M2 a moment ago and may come back anywhere."},
		{"silent", {AWAY, .suspect = true}, "h7 is connected to M2, which has not heard it for a while."},
		{"no list",
		 {.host = "h7", .status = HOST_UP, .is_up = true, .owner = "M2"},
		 "h7 is connected to M2 and has reported no list."},
		{"home", {AWAY, .is_home = true}, "h7 is on M2, the first of its list: it is where it should be."},
		{"in maintenance",
		 {AWAY, .first = M1_IS(SERVER_MAINTENANCE), .interval_s = 2, .agent = SAYS(FAILBACK_AVOIDED, -1, 2)},
		 "h7 is on M2 because M1, which it prefers, is in Maintenance; it returns once M1 has been Up for 4 s."},
		{"being emptied",
		 {AWAY, .first = M1_IS(SERVER_PREPARING_FOR_MAINTENANCE), .interval_s = 60, .agent = SILENT},
		 "h7 is on M2 because M1, which it prefers, is being emptied (PreparingForMaintenance); it returns once M1 has "
		 "been Up for 30 s."},
		{"down, and another one stands before the one it is on",
		 {AWAY, .first = M1_IS(SERVER_DOWN), .interval_s = 60, .better = "M4", .agent = SILENT},
		 "h7 is on M2 because M1, which it prefers, is Down; it returns once M1 has been Up for 30 s. Before M2 stands M4, "
		 "which is Up: it goes there within 60 s."},
		{"the same, by its own word",
		 {AWAY, .first = M1_IS(SERVER_DOWN), .interval_s = 2, .better = "M4",
		  .agent = BETTER(FAILBACK_OPEN, 1)},
		 "h7 is on M2 because M1, which it prefers, is Down; it returns once M1 has been Up for 4 s. Before M2 stands M4, "
		 "which is Up: it goes there with its next look, in 1 s."},
		{"the same, on its way",
		 {AWAY, .first = M1_IS(SERVER_DOWN), .interval_s = 2, .better = "M4",
		  .agent = BETTER(FAILBACK_PROVING, 1)},
		 "h7 is on M2 because M1, which it prefers, is Down; it returns once M1 has been Up for 4 s. Before M2 stands M4, "
		 "which is Up: it is there in a moment."},
		{"the same, and the agent is older",
		 {AWAY, .first = M1_IS(SERVER_DOWN), .interval_s = 2, .better = "M4",
		  .agent = SAYS(FAILBACK_NOT_UP, -1, 1)},
		 "h7 is on M2 because M1, which it prefers, is Down; it returns once M1 has been Up for 4 s."},
		{"the same without an interval",
		 {AWAY, .first = M1_IS(SERVER_DOWN), .better = "M4", .agent = SILENT},
		 "h7 is on M2 because M1, which it prefers, is Down; it stays until it is told to look. Before M2 stands M4, which "
		 "is Up: it goes there when it is told to look."},
		{"the same while moves are frozen",
		 {AWAY, .first = M1_IS(SERVER_DOWN), .interval_s = 60, .better = "M4", .frozen = "x", .agent = SILENT},
		 "h7 is on M2 because M1, which it prefers, is Down; it stays until M1 is Up and moves are thawed. Before M2 stands "
		 "M4, which is Up: it would go there if moves were not frozen."},
		{"down, and no interval",
		 {AWAY, .first = M1_IS(SERVER_DOWN), .agent = SILENT},
		 "h7 is on M2 because M1, which it prefers, is Down; it stays until it is told to look."},
		{"down, under shuffle",
		 {AWAY, .first = M1_IS(SERVER_DOWN), .interval_s = 60, .looks_once = true, .agent = SILENT},
		 "h7 is on M2 because M1, which it prefers, is Down; it stays until it is told to look or gets a new list."},
		{"not registered",
		 {AWAY, .first = {.uptime_s = -1}, .interval_s = 60, .agent = SILENT},
		 "h7 is on M2 because M1, which it prefers, is not a registered server; it stays until its list changes or M1 is a "
		 "registered server."},
		{"overrun",
		 {AWAY, .first = {.name = "M1", .state = SERVER_UP, .uptime_s = 9}, .interval_s = 60, .agent = SILENT},
		 "h7 is on M2 because M1, which it prefers, is Up and takes no agents now; it returns when M1 takes agents again."},
		{"young, by its own word",
		 {AWAY, .first = M1_UP, .interval_s = 2, .agent = SAYS(FAILBACK_TOO_YOUNG, 12, 20)},
		 "h7 is on M2 because M1, which it prefers, has been up for 3 s of the 4 s that it waits for; it returns at the "
		 "earliest in 12 s."},
		{"young, as the servers see it",
		 {AWAY, .first = {.name = "M1", .state = SERVER_UP, .accepting = true, .uptime_s = 5}, .interval_s = 60,
		  .agent = SILENT},
		 "h7 is on M2 because M1, which it prefers, has been up for 5 s of the 30 s that it waits for; it returns at the "
		 "earliest in 25 s."},
		{"no interval",
		 {AWAY, .first = M1_UP, .agent = SILENT},
		 "h7 is on M2 because nothing brings it back to M1, which it prefers and which is Up: the check interval is 0; it "
		 "stays until it is told to look."},
		{"damped",
		 {AWAY, .first = M1_UP, .interval_s = 2, .agent = SAYS(FAILBACK_DAMPED, 200, 2)},
		 "h7 is on M2 because it lost M1, which it prefers, right after its last return there; it returns at the earliest "
		 "in 3 min."},
		{"not told yet",
		 {AWAY, .first = M1_UP, .interval_s = 2, .agent = SAYS(FAILBACK_UNKNOWN, 1, 2)},
		 "h7 is on M2 because its server has not told it yet how M1, which it prefers, is; it returns at the earliest in 2 "
		 "s."},
		{"told that it is avoided, a moment ago",
		 {AWAY, .first = M1_UP, .interval_s = 2, .agent = SAYS(FAILBACK_AVOIDED, -1, 0)},
		 "h7 is on M2 because it was told to avoid M1, which it prefers; it returns with its next look."},
		{"told that it is not up, a moment ago",
		 {AWAY, .first = M1_UP, .interval_s = 2, .agent = SAYS(FAILBACK_NOT_UP, -1, 1)},
		 "h7 is on M2 because the last that it was told of M1, which it prefers, is that it is not Up; it returns at the "
		 "earliest in 1 s."},
		{"told that it takes nobody, a moment ago",
		 {AWAY, .first = M1_UP, .interval_s = 2, .agent = SAYS(FAILBACK_NOT_ACCEPTING, -1, 1)},
		 "h7 is on M2 because the last that it was told of M1, which it prefers, is that it takes no agents; it returns at "
		 "the earliest in 1 s."},
		{"its last attempt failed",
		 {AWAY, .first = M1_UP, .interval_s = 2,
		  .agent = {.answered = true,
			    .verdict = "put off",
			    .known = FAILBACK_PUT_OFF,
			    .again_s = 1,
			    .next_s = 1,
			    .interval_s = 2,
			    .preferred = {.error = "not reachable", .said = "connection refused", .retry_s = 1}}},
		 "h7 is on M2 because its last attempt to return to M1, which it prefers, failed (connection refused); it returns "
		 "at the earliest in 1 s."},
		{"asked to come back later",
		 {AWAY, .first = M1_UP, .interval_s = 2,
		  .agent = {.answered = true,
			    .verdict = "put off",
			    .known = FAILBACK_PUT_OFF,
			    .again_s = 9,
			    .next_s = 1,
			    .interval_s = 2,
			    .preferred = {.put_off = true, .error = "busy", .retry_s = 9}}},
		 "h7 is on M2 because M1, which it prefers, asked it to come back later (busy); it returns at the earliest in 9 s."},
		{"frozen",
		 {AWAY, .first = M1_UP, .interval_s = 2, .frozen = "Moves are frozen",
		  .agent = SAYS(FAILBACK_FROZEN, -1, 2)},
		 "h7 is on M2 because moves are frozen: it would go to M1, which it prefers; it stays until they are thawed."},
		{"frozen, and the agent hasn't heard it",
		 {AWAY, .first = M1_UP, .interval_s = 2, .frozen = "Moves are frozen",
		  .agent = SAYS(FAILBACK_UNKNOWN, -1, 2)},
		 "h7 is on M2 because moves are frozen: it would go to M1, which it prefers; it stays until they are thawed."},
		{"frozen, and down",
		 {AWAY, .first = M1_IS(SERVER_DOWN), .interval_s = 2, .frozen = "Moves are frozen", .agent = SILENT},
		 "h7 is on M2 because M1, which it prefers, is Down; it stays until M1 is Up and moves are thawed."},
		{"thawed, and the agent hasn't heard it",
		 {AWAY, .first = M1_UP, .interval_s = 2, .agent = SAYS(FAILBACK_FROZEN, -1, 2)},
		 "h7 is on M2 because the last that it was told is that moves are frozen, and it prefers M1; it returns at the "
		 "earliest in 2 s."},
		{"on its way",
		 {AWAY, .first = M1_UP, .interval_s = 2, .agent = SAYS(FAILBACK_PROVING, -1, 2)},
		 "h7 is on M2 because it is only now on its way back to M1, which it prefers; it is there in a moment."},
		{"free to go, and looks later",
		 {AWAY, .first = M1_UP, .interval_s = 2, .agent = SAYS(FAILBACK_OPEN, -1, 2)},
		 "h7 is on M2 because it has not looked since M1, which it prefers, can be taken; it returns at the earliest in 2 s."},
		{"free to go, and has looked once",
		 {AWAY, .first = M1_UP, .interval_s = 2, .looks_once = true, .agent = SAYS(FAILBACK_OPEN, -1, -1)},
		 "h7 is on M2 because M1, which it prefers, was no choice when it looked: under shuffle an agent looks once; it "
		 "stays until it is told to look or gets a new list."},
		{"by its own word it is there",
		 {AWAY, .first = M1_UP, .interval_s = 2, .agent = SAYS(FAILBACK_HOME, -1, 2)},
		 "h7 says that it is on M1, which it prefers; the servers still see it on M2."},
		{"by its own word it is there, though nobody knows that server",
		 {AWAY, .first = {.state = SERVER_DOWN}, .interval_s = 2, .agent = SAYS(FAILBACK_HOME, -1, 2)},
		 "h7 is on M2 because M1, which it prefers, is not a registered server; it stays until its list changes or M1 is a "
		 "registered server."},
		{"unproven",
		 {AWAY, .first = M1_UP, .interval_s = 2, .agent = SAYS(FAILBACK_UNPROVEN, -1, 2)},
		 "h7 is on M2 because its last link to M1, which it prefers, saw too few heartbeats to be used; it returns at the "
		 "earliest in 2 s."},
		{"shuffle, and its look is over",
		 {AWAY, .first = M1_UP, .interval_s = 60, .looks_once = true, .agent = SILENT},
		 "h7 is on M2 because M1, which it prefers, was no choice when it looked: under shuffle an agent looks once; it "
		 "stays until it is told to look or gets a new list."},
		{"it has not looked",
		 {AWAY, .first = M1_UP, .interval_s = 60, .agent = SILENT},
		 "h7 is on M2 because it has not looked since M1, which it prefers, can be taken; it returns with its next look."},
		{"a verdict of a newer agent",
		 {AWAY, .first = M1_UP, .interval_s = 2, .agent = SAYS(FAILBACK_N_VERDICTS, -1, 2)},
		 "h7 is on M2 because of what it says itself: the x; it returns at the earliest in 2 s."},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf out = {0};

		assert_int_equal(explain_why(&out, &rows[i].f), ERR_OK);
		if (strcmp(buf_str(&out), rows[i].why))
			fail_msg("%s: %s", rows[i].what, buf_str(&out));
	}
}

static void it_says_when_it_looks(void **state)
{
	static const struct {
		const char *what;
		struct explain_facts f;
		const char *looks;
	} rows[] = {
		{"reserved", {.host = "h7", .status = HOST_CREATING}, ""},
		{"nowhere",
		 {.host = "h7", .status = HOST_ALERT},
		 "Without a link its agent tries the servers of its list until one takes it."},
		{"by its own word",
		 {AWAY, .agent = SAYS(FAILBACK_AVOIDED, -1, 12)},
		 "In 12 s, then every 2 s (indirect.agent.lb.check.interval)."},
		{"its operator's interval",
		 {AWAY, .agent = {.answered = true, .next_s = 300, .interval_s = 7200, .interval_is_own = true}},
		 "In 5 min, then every 2 h 0 min (set in its agent.properties)."},
		{"once",
		 {AWAY, .looks_once = true, .agent = SAYS(FAILBACK_AVOIDED, -1, 12)},
		 "In 12 s; under shuffle once after each new list."},
		{"frozen",
		 {AWAY, .interval_s = 60, .frozen = "Moves are frozen since 8 by op: fire",
		  .agent = SAYS(FAILBACK_FROZEN, -1, 12)},
		 "Moves are frozen since 8 by op: fire. It stays until `muster thaw`."},
		{"no more",
		 {AWAY, .looks_once = true, .agent = SAYS(FAILBACK_AVOIDED, -1, -1)},
		 "Not by itself: under shuffle an agent looks once after each new list."},
		{"it was not asked",
		 {AWAY, .interval_s = 60, .agent = SILENT},
		 "Within 60 s (indirect.agent.lb.check.interval)."},
		{"never",
		 {AWAY, .agent = SILENT},
		 "Not by itself: its check interval is 0 (indirect.agent.lb.check.interval)."},
		{"never, as its operator wants",
		 {AWAY, .interval_s = 60, .agent = {.answered = true, .next_s = -1, .interval_is_own = true}},
		 "Not by itself: its check interval is 0 (set in its agent.properties)."},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf out = {0};

		assert_int_equal(explain_looks(&out, &rows[i].f), ERR_OK);
		if (strcmp(buf_str(&out), rows[i].looks))
			fail_msg("%s: %s", rows[i].what, buf_str(&out));
	}
}

#define DRAIN_M2 "`muster drain M2`, or the loss of M2: it goes to M3."

static void it_says_what_would_move_it(void **state)
{
	static const struct {
		const char *what;
		struct explain_facts f;
		const char *moves; /* joined with '|' */
	} rows[] = {
		{"reserved",
		 {.host = "h7", .status = HOST_CREATING},
		 "`muster-agent join` on its machine, with the token that `muster host add` gave."},
		{"nowhere",
		 {.host = "h7", .status = HOST_ALERT},
		 "Its agent: `muster-agent explain` on its machine says what it tries and why that fails."},
		{"home", {AWAY, .is_home = true}, DRAIN_M2},
		{"home by its own word",
		 {AWAY, .first = M1_UP, .interval_s = 2, .agent = SAYS(FAILBACK_HOME, -1, 2)},
		 DRAIN_M2},
		{"home, and alone",
		 {.host = "h7", .status = HOST_UP, .is_up = true, .owner = "M2", .is_home = true, .preferred = "M2"},
		 "Nothing else of its list takes agents now: without M2 it would have no server."},
		{"an old list",
		 {AWAY, .is_home = true, .is_outdated = true},
		 "Its list: a newer one is on its way, and counts from the moment it has it.|" DRAIN_M2},
		{"in maintenance",
		 {AWAY, .first = M1_IS(SERVER_MAINTENANCE), .interval_s = 2, .agent = SILENT},
		 "`muster undrain M1`: ends its maintenance.|" DRAIN_M2},
		{"down, and nobody looks",
		 {AWAY, .first = M1_IS(SERVER_DOWN), .agent = SILENT},
		 "M1 is started again.|`muster rebalance`, when M1 is Up: it does not look by itself.|" DRAIN_M2},
		{"prepared for a shutdown",
		 {AWAY, .first = M1_IS(SERVER_PREPARING_FOR_SHUTDOWN), .interval_s = 2, .agent = SILENT},
		 "`muster api cancelShutdown managementserverid=...`: M1 takes agents again.|" DRAIN_M2},
		{"overrun",
		 {AWAY, .first = {.name = "M1", .state = SERVER_UP, .uptime_s = 9}, .interval_s = 2, .agent = SILENT},
		 "M1 has worked off its queue, and takes agents again.|" DRAIN_M2},
		{"not registered",
		 {AWAY, .first = {.uptime_s = -1}, .interval_s = 2, .agent = SILENT},
		 "`muster config set host ...`: a list of servers that are there.|" DRAIN_M2},
		{"young",
		 {AWAY, .first = M1_UP, .interval_s = 2, .agent = SAYS(FAILBACK_TOO_YOUNG, 12, 20)},
		 "`muster rebalance`: all agents look now, whatever their interval is, and don't wait for the server's age.|" DRAIN_M2},
		{"damped",
		 {AWAY, .first = M1_UP, .interval_s = 2, .agent = SAYS(FAILBACK_DAMPED, 200, 20)},
		 "`muster rebalance`: all agents look now, whatever their interval is, and don't wait after a loss.|" DRAIN_M2},
		{"put off",
		 {AWAY, .first = M1_UP, .interval_s = 2, .n_waiting = 7, .agent = SAYS(FAILBACK_PUT_OFF, 9, 9)},
		 "Its time: it tries again in 9 s, and nothing makes it come earlier.|Its turn: 7 agents wait to come home to M1, which "
		 "takes 50 a second (agent.failback.rate).|" DRAIN_M2},
		{"on its way",
		 {AWAY, .first = M1_UP, .interval_s = 2, .agent = SAYS(FAILBACK_PROVING, -1, 9)},
		 DRAIN_M2},
		{"nobody comes home",
		 {.host = "h7",
		  .status = HOST_UP,
		  .is_up = true,
		  .owner = "M2",
		  .preferred = "M1",
		  .next = "M3",
		  .first = M1_UP,
		  .interval_s = 2,
		  .agent = SAYS(FAILBACK_PROVING, -1, 9)},
		 "`muster config set agent.failback.rate 50`: it is 0, so nobody comes home.|" DRAIN_M2},
		{"frozen",
		 {AWAY, .first = M1_UP, .interval_s = 2, .frozen = "Moves are frozen",
		  .agent = SAYS(FAILBACK_FROZEN, -1, 12)},
		 "`muster thaw`: agents go home again.|" DRAIN_M2},
		{"no interval",
		 {AWAY, .first = M1_UP, .agent = SILENT},
		 "`muster rebalance`: all agents look now, whatever their interval is.|`muster config set "
		 "indirect.agent.lb.check.interval 60`: agents look by themselves.|" DRAIN_M2},
		{"no interval, as its operator wants",
		 {AWAY, .first = M1_UP, .interval_s = 60,
		  .agent = {.answered = true,
			    .verdict = "off",
			    .known = FAILBACK_OFF,
			    .next_s = -1,
			    .interval_is_own = true}},
		 "`muster rebalance`: all agents look now, whatever their interval is.|Another host.lb.check.interval in its "
		 "agent.properties.|" DRAIN_M2},
		{"shuffle",
		 {AWAY, .first = M1_UP, .interval_s = 60, .looks_once = true, .agent = SILENT},
		 "`muster rebalance`: all agents look now, whatever their interval is.|A new list: it looks once after that.|" DRAIN_M2},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(str_list_deinit) struct str_list out = {0};
		CLEAN(mem_freep) char *text = NULL;

		assert_int_equal(explain_moves(&out, &rows[i].f), ERR_OK);
		text = str_list_join(&out, "|");
		if (strcmp(text, rows[i].moves))
			fail_msg("%s: %s", rows[i].what, text);
	}
}

#define SPARE                                                                                                          \
	{                                                                                                              \
		.verdict = "spare", .why = "could be used", .retry_s = -1                                              \
	}

static void each_entry_has_a_verdict(void **state)
{
	static const struct explain_facts away = {AWAY, .first = M1_UP, .agent = SAYS(FAILBACK_NOT_UP, -1, 2)};
	static const struct explain_facts young = {AWAY, .first = M1_UP, .agent = SAYS(FAILBACK_TOO_YOUNG, 1, 2)};
	static const struct explain_facts arrived = {AWAY, .first = M1_UP, .agent = SAYS(FAILBACK_HOME, -1, 2)};
	static const struct explain_facts proving = {AWAY, .first = M1_UP, .agent = SAYS(FAILBACK_PROVING, -1, 2)};
	static const struct explain_facts open = {AWAY, .first = M1_UP, .agent = SAYS(FAILBACK_OPEN, -1, 2)};
	static const struct explain_facts looked = {AWAY, .first = M1_UP, .looks_once = true,
						    .agent = SAYS(FAILBACK_OPEN, -1, -1)};
	static const struct explain_facts damped = {AWAY, .first = M1_UP, .agent = SAYS(FAILBACK_DAMPED, 20, 2)};
	static const struct explain_facts refused = {
		AWAY, .first = M1_UP,
		.agent = {.answered = true,
			  .verdict = "put off",
			  .known = FAILBACK_PUT_OFF,
			  .again_s = 4,
			  .preferred = {.verdict = "backing off", .error = "timeout", .failures = 2, .retry_s = 9}}};
	static const struct explain_facts later = {
		AWAY, .first = M1_UP,
		.agent = {.answered = true,
			  .verdict = "put off",
			  .known = FAILBACK_PUT_OFF,
			  .again_s = 4,
			  .preferred = {.verdict = "backing off", .put_off = true, .retry_s = 4}}};
	static const struct explain_facts unasked = {AWAY, .first = M1_UP, .agent = SILENT};
	static const struct explain_facts nowhere = {.host = "h7", .status = HOST_ALERT, .agent = SILENT};
	static const struct {
		const char *what;
		const struct explain_facts *f;
		struct explain_entry e;
		const char *verdict, *sentence;
	} rows[] = {
		{"it is there",
		 &away,
		 {.entry = "m2", .is_connected = true, .server = M1_UP},
		 "connected",
		 "it is here"},
		{"... at home",
		 &away,
		 {.entry = "m2", .is_connected = true, .is_first = true, .server = M1_UP},
		 "connected",
		 "it is here, on its preferred server"},
		{"its gate", &away, {.entry = "m1", .is_first = true, .server = M1_UP, .said = SPARE}, "x", "the x"},
		{"young",
		 &young,
		 {.entry = "m1", .is_first = true, .server = M1_UP},
		 "x",
		 "up for 3 s of the 4 s that it waits for"},
		{"there by its own word",
		 &arrived,
		 {.entry = "m1", .is_first = true, .server = M1_UP},
		 "x",
		 "by its own word the agent is here already"},
		{"proving",
		 &proving,
		 {.entry = "m1", .is_first = true, .server = M1_UP},
		 "x",
		 "a link is open, 1 of 3 heartbeats seen"},
		{"free to go",
		 &open,
		 {.entry = "m1", .is_first = true, .server = M1_UP},
		 "x",
		 "nothing keeps the agent away, it goes there with its next look"},
		{"... and no look is left",
		 &looked,
		 {.entry = "m1", .is_first = true, .server = M1_UP},
		 "x",
		 "nothing keeps the agent away, but it does not look"},
		{"damped", &damped, {.entry = "m1", .is_first = true, .server = M1_UP}, "x", "the x, for 20 s"},
		{"its last return failed",
		 &refused,
		 {.entry = "m1", .is_first = true, .server = M1_UP},
		 "put off",
		 "the last attempt to return failed: timeout; tried again in 4 s"},
		{"asked to come back",
		 &later,
		 {.entry = "m1", .is_first = true, .server = M1_UP},
		 "put off",
		 "it asked the agent to come back later; tried again in 4 s"},
		{"another one", &away, {.entry = "m3", .server = M1_UP, .said = SPARE}, "spare", "could be used"},
		{"the next one",
		 &away,
		 {.entry = "m3", .server = M1_UP, .said = {.verdict = "chosen", .why = "dialled next", .retry_s = -1}},
		 "next",
		 "taken if the agent loses its server"},
		{"backing off",
		 &away,
		 {.entry = "m3",
		  .server = M1_UP,
		  .said = {.verdict = "backing off",
			   .why = "it failed",
			   .error = "not reachable",
			   .said = "connection refused",
			   .failures = 3,
			   .retry_s = 8}},
		 "backing off",
		 "it failed; failed 3 times; last time: not reachable (connection refused); again in 8 s"},
		{"once",
		 &away,
		 {.entry = "m3",
		  .server = M1_UP,
		  .said = {.verdict = "tried", .why = "it failed", .failures = 1, .retry_s = -1}},
		 "tried",
		 "it failed; failed 1 time"},
		{"put off, and not the preferred one",
		 &away,
		 {.entry = "m3",
		  .server = M1_UP,
		  .said = {.verdict = "backing off", .why = "it waits", .put_off = true, .retry_s = 8}},
		 "backing off",
		 "it waits; asked to come back in 8 s"},
		{"nobody's address",
		 &unasked,
		 {.entry = "m9", .server = {.uptime_s = -1}},
		 "unknown server",
		 "no registered management server has the address m9"},
		{"... of which the agent knows more",
		 &away,
		 {.entry = "m9", .server = {.uptime_s = -1}, .said = SPARE},
		 "spare",
		 "could be used; no registered server has this address"},
		{"not asked, down",
		 &unasked,
		 {.entry = "m1", .is_first = true, .server = M1_IS(SERVER_DOWN)},
		 "avoided (Down)",
		 "the server is Down: it is tried last"},
		{"not asked, overrun",
		 &unasked,
		 {.entry = "m1", .server = {.name = "M1", .state = SERVER_UP, .uptime_s = 1}},
		 "not accepting",
		 "the server is Up and takes no agents now"},
		{"not asked, another one",
		 &unasked,
		 {.entry = "m3", .server = M1_UP},
		 "could be taken",
		 "the server is Up: taken when those before it can't be"},
		{"not asked, its preferred one",
		 &unasked,
		 {.entry = "m1", .is_first = true, .server = M1_UP},
		 "could be taken",
		 "its preferred server, and Up: it goes there with a look, if its gate lets it"},
		{"nowhere",
		 &nowhere,
		 {.entry = "m1", .is_first = true, .server = M1_UP},
		 "could be taken",
		 "its preferred server, and Up: it is tried first"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf verdict = {0};
		CLEAN(buf_deinit) struct buf sentence = {0};

		assert_int_equal(explain_verdict(&verdict, &sentence, rows[i].f, &rows[i].e), ERR_OK);
		if (strcmp(buf_str(&verdict), rows[i].verdict) || strcmp(buf_str(&sentence), rows[i].sentence))
			fail_msg("%s: %s: %s", rows[i].what, buf_str(&verdict), buf_str(&sentence));
	}
}

static void verdicts_are_known_by_name(void **state)
{
	for (int v = 0; v < FAILBACK_N_VERDICTS; v++)
		assert_int_equal(explain_gate_from_text(failback_verdict_name((enum failback_verdict)v)), v);
	assert_int_equal(explain_gate_from_text("in two minds"), FAILBACK_N_VERDICTS);
	assert_int_equal(explain_gate_from_text(NULL), FAILBACK_N_VERDICTS);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_sentence_says_why),      cmocka_unit_test(it_says_when_it_looks),
		cmocka_unit_test(it_says_what_would_move_it), cmocka_unit_test(each_entry_has_a_verdict),
		cmocka_unit_test(verdicts_are_known_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
