/*
 * muster plan: what it prints, byte for byte, and what it reads.
 */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "check.h"
#include "cli/plan_change.h"
#include "cli/plan_json.h"
#include "muster_run.h"

#define EXAMPLE "plan --servers M1,M2,M3 --hosts 4 --algorithm "

#define BALANCED                                                                                                                 \
	"{\"algorithm\":\"balanced\",\"servers\":[\"M1\",\"M2\",\"M3\"],\"hosts\":["                                             \
	"{\"id\":1,\"name\":\"H1\",\"list\":[\"M1\",\"M2\",\"M3\"]},{\"id\":2,\"name\":\"H2\",\"list\":[\"M2\",\"M3\",\"M1\"]}," \
	"{\"id\":3,\"name\":\"H3\",\"list\":[\"M3\",\"M1\",\"M2\"]},{\"id\":4,\"name\":\"H4\",\"list\":[\"M1\",\"M3\",\"M2\"]}]}"

/* 24 hosts, of which the last three prefer the server that goes: more than are shown. */
#define STAYING "{\"list\":[\"M1\"]},{\"list\":[\"M1\"]},{\"list\":[\"M1\"]},"
#define MANY                                                                                                           \
	"{\"algorithm\":\"static\",\"servers\":[\"M1\",\"M2\"],\"hosts\":[" STAYING STAYING STAYING STAYING STAYING    \
		STAYING "{\"list\":[\"M1\"],\"on\":\"M2\"},{\"name\":\"new\"},{\"list\":[\"M1\"]},"                    \
	"{\"list\":[\"M2\"]},{\"list\":[\"M2\"]},{\"list\":[\"M2\"]}]}"

static void prints_the_golden_text(void **state)
{
	static const struct {
		const char *name, *words, *input;
	} rows[] = {
		{"plan_roundrobin", EXAMPLE "roundrobin", NULL},
		{"plan_roundrobin_json", EXAMPLE "roundrobin --json", NULL},
		{"plan_static", EXAMPLE "static", NULL},
		{"plan_static_json", EXAMPLE "static --json", NULL},
		{"plan_shuffle_seed", EXAMPLE "shuffle --seed 7", NULL},
		{"plan_two_servers_json", "plan --servers A,B:8251 --hosts 1 --json", NULL},
		{"plan_one_server", "plan --servers A --hosts 1", NULL},
		{"plan_many_hosts", "plan --servers A,B --hosts 60 --algorithm roundrobin", NULL},
		{"plan_many_moving_first", "plan", MANY},
		{"plan_many_moving", "plan --remove M1", MANY},
		{"plan_unheeded_weight", "plan --servers A,B --hosts 2 --weight A=2 --algorithm roundrobin", NULL},
		{"plan_no_hosts", "plan --servers A,B --hosts 0", NULL},
		{"plan_stdin", "plan --algorithm roundrobin --remove M3 --add M4",
		 "{\"algorithm\":\"static\",\"servers\":[{\"name\":\"M1\"},\"M2\",{\"name\":\"M3\",\"weight\":1}],\"hosts\":["
		 "{\"id\":7,\"name\":\"kvm1\",\"list\":[\"M1\",\"M2\",\"M3\"]},{\"id\":\"9\",\"zone\":\"z\",\"list\":[\"M1\",\"M2\"]},"
		 "{\"id\":12,\"name\":\"new\"}]}"},
		{"plan_balanced", "plan --servers M1,M2,M3,M4 --hosts 12 --algorithm balanced --fail M1,M2", NULL},
		{"plan_balanced_add", "plan --add M4:2:east --remove M3 --weight M1=0", BALANCED},
		{"plan_balanced_add_json", "plan --add M4 --fail M1 --json", BALANCED},
		{"plan_balanced_from_roundrobin", "plan --algorithm balanced",
		 "{\"algorithm\":\"roundrobin\",\"servers\":[\"M1\",\"M2\"],\"hosts\":[{\"list\":[\"M1\",\"M2\"],\"confirmed\":[\"M2\"]},"
		 "{\"list\":[\"M2\",\"M1\"]}]}"},
		{"plan_pinned_json", "plan --json",
		 "{\"algorithm\":\"static\",\"servers\":[\"M1\",\"M2\"],\"hosts\":[{\"list\":[\"M1\",\"M2\"],\"pin\":\"M2\"}]}"},
		/* What is printed can be read in again: who is resting, and where pinned hosts go when their zone
		   fails. */
		{"plan_resting_json", "plan --json",
		 "{\"algorithm\":\"balanced\",\"servers\":[\"M1\",{\"name\":\"M2\",\"resting\":true},\"M3\"],\"hosts\":[{\"id\":1},{\"id\":2}]}"},
		{"plan_pinned_away_json", "plan --json",
		 "{\"algorithm\":\"balanced\",\"servers\":[{\"name\":\"A\",\"zone\":\"e\"},{\"name\":\"B\",\"zone\":\"e\"},{\"name\":\"C\","
		 "\"zone\":\"e\"},{\"name\":\"D\",\"zone\":\"w\"},{\"name\":\"E\",\"zone\":\"w\"}],\"hosts\":[{\"id\":1,\"zone\":\"e\",\"pin\":\"D\"},"
		 "{\"id\":2,\"zone\":\"e\"}]}"},
		{"plan_resized", "plan --hosts 7", BALANCED},
		{"plan_shrunk", "plan --hosts 3", BALANCED},
		{"plan_all_fail", "plan --fail M1,M2,M3", BALANCED},
		{"plan_where_they_are", "plan",
		 "{\"algorithm\":\"static\",\"servers\":[\"M1\",\"M2\"],\"hosts\":[{\"list\":[\"M1\",\"M2\"],\"on\":\"M2\"},"
		 "{\"list\":[\"M1\",\"M2\"],\"on\":\"M1\"},{\"list\":[\"M1\",\"M2\"]}]}"},
		{"plan_stdin_json", "plan --json",
		 "{\"algorithm\":\"roundrobin\",\"servers\":[\"M1\",\"M2\"],\"hosts\":[{\"slot\":1,\"list\":[\"M1\",\"M2\"]}]}"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ran r;

		muster_run(&r, &(struct run){.input = rows[i].input}, rows[i].words);
		if (r.exit_code)
			fail_msg("%s: exit code %d, %s", rows[i].words, r.exit_code, buf_str(&r.err));
		golden_check(rows[i].name, &r.out);
		assert_int_equal(r.err.len, 0);
		ran_deinit(&r);
	}
}

static void says_what_is_wrong(void **state)
{
	static const struct {
		const char *words, *input, *sentence;
	} rows[] = {
		{"plan --servers A,A --hosts 1", NULL, "same server"},
		{"plan --servers A,, --hosts 1", NULL, "--servers"},
		{"plan --servers 'a b?' --hosts 1", NULL, "--servers"},
		{"plan --servers A --hosts 1x", NULL, "\"1x\" is not a number"},
		{"plan --servers A --hosts -1", NULL, "not between 0 and"},
		{"plan --servers A --hosts 1 --algorithm fair", NULL,
		 "there is no algorithm \"fair\"; there are static, roundrobin, shuffle"},
		{"plan --servers A --hosts 1 --remove B", NULL, "there is no server B"},
		{"plan --servers A --hosts 1 --remove A", NULL, "no server to place hosts on"},
		{"plan --servers A --hosts 1 --add A", NULL, "--add A: the server A is there already"},
		{"plan --servers A --hosts 1 --add B,A:8250", NULL, "--add A:8250: the server A is there already"},
		{"plan --servers A --hosts 1 --add fd00::4", NULL, "stands in brackets here: [fd00::4]"},
		{"plan --servers A --hosts 1 --add B:x", NULL, "\"x\" is no weight (0 to 1000) and no port"},
		{"plan --servers A --hosts 1 --weight A", NULL, "--weight A: it is ENTRY=WEIGHT"},
		{"plan --servers A --hosts 1 --weight A=1001", NULL, "a weight from 0 to 1000"},
		{"plan --servers A --hosts 1 --weight A=-1", NULL, "a weight from 0 to 1000"},
		{"plan --servers A --hosts 1 --weight B=1", NULL, "--weight B: there is no server B"},
		{"plan --servers A --hosts 1 --fail B", NULL, "--fail: there is no server B"},
		{"plan --servers A --hosts 1 --fail ,", NULL, "--fail"},
		{"plan --servers A --hosts 1 --remove ''", NULL, "--remove names no server"},
		{"plan --file x --live", NULL, "--file and --live contradict each other"},
		{"plan", "{", "stdin:1: "},
		{"plan", "[]", "a plan is an object"},
		{"plan", "{\"servers\":[1]}", "stdin: a server needs a name"},
		{"plan", "{\"servers\":[\"A\",\"A\"]}", "the server A is there twice"},
		{"plan", "{\"servers\":[{\"name\":\"A\",\"weight\":-1}]}", "weight"},
		{"plan", "{\"servers\":[\"A\"],\"hosts\":[{\"id\":-1}]}", "stdin: host 1: its id is not a number"},
		{"plan", "{\"servers\":[\"A\"],\"hosts\":[{},{\"list\":\"A\"}]}",
		 "stdin: host 2: its list is not an array"},
		{"plan", "{\"servers\":[\"A\"],\"hosts\":[{\"list\":[1]}]}", "is not a text"},
		{"plan", "{\"servers\":{\"A\":1}}", "stdin: servers is not an array"},
		{"plan", "{\"servers\":[\"A\"],\"hosts\":{\"H1\":{}}}", "stdin: hosts is not an array"},
		{"plan", "{\"servers\":[{\"name\":\"A\",\"weight\":\"2\"}]}",
		 "server A: its weight is not a number from"},
		{"plan", "{\"servers\":[{\"name\":\"A\",\"weight\":1.5}]}",
		 "server A: its weight is not a number from"},
		{"plan", "{\"servers\":[{\"name\":\"A\",\"zone\":7}]}", "server A: its zone is not a text"},
		{"plan", "{\"servers\":[\"A\"],\"hosts\":[{\"name\":7}]}", "host 1: its name is not a text"},
		{"plan", "{\"servers\":[\"A\"],\"hosts\":[{\"zone\":[]}]}", "host 1: its zone is not a text"},
		{"plan", "{\"servers\":[\"A\"],\"hosts\":[{\"id\":9223372036854775807}]}",
		 "host 1: its id is not a number"},
		{"plan", "{\"servers\":[\"A\"],\"hosts\":[{\"id\":\"18446744073709551615\"}]}",
		 "its id is not a number"},
		{"plan", "{\"algorithm\":\"x\",\"servers\":[\"A\"]}", "the algorithm is none of"},
		{"plan", "{\"servers\":[{\"name\":\"A\",\"weight\":1001}]}", "not a number from 0 to 1000"},
		{"plan", "{\"servers\":[\"A\"],\"hosts\":[{\"pin\":1}]}", "host 1: its pin is not a text"},
		{"plan", "{\"servers\":[\"A\"],\"hosts\":[{\"on\":[]}]}", "its on is not a text"},
		{"plan", "{\"servers\":[\"A\"],\"hosts\":[{\"confirmed\":1}]}", "its confirmed is not an array"},
		{"plan --algorithm balanced", "{\"servers\":[\"A\"],\"hosts\":[{\"id\":7},{\"id\":7}]}",
		 "host 7 is there twice"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ran r;

		muster_run(&r, &(struct run){.input = rows[i].input}, rows[i].words);
		if (r.exit_code != 2 || !strstr(buf_str(&r.err), rows[i].sentence))
			fail_msg("%s: exit code %d, %s", rows[i].words, r.exit_code, buf_str(&r.err));
		assert_int_equal(r.out.len, 0);
		ran_deinit(&r);
	}
}

static void a_file_that_is_not_there_is_a_failure(void **state)
{
	struct ran r;

	muster_run(&r, NULL, "plan --file no/such/file");
	assert_int_equal(r.exit_code, 1);
	assert_non_null(strstr(buf_str(&r.err), "no/such/file"));
	ran_deinit(&r);
}

/* What --json prints is what the next one reads: nothing moves when nothing has changed. */
static void a_plan_is_the_input_of_the_next(void **state)
{
	struct ran first, second;
	json_t *plan;

	muster_run(&first, NULL, EXAMPLE "shuffle --json");
	muster_run(&second, &(struct run){.input = buf_str(&first.out)}, "plan --json");
	assert_int_equal(second.exit_code, 0);
	plan = json_loads(buf_str(&second.out), 0, NULL);
	check_there(plan);
	assert_string_equal(json_string_value(json_object_get(plan, "algorithm")), "shuffle");
	assert_int_equal(json_integer_value(json_object_get(plan, "moves")), 0);
	assert_int_equal(json_array_size(json_object_get(plan, "hosts")), 4);
	json_decref(plan);
	ran_deinit(&first);
	ran_deinit(&second);
}

/* Names are others' words: what a terminal would obey is an escape in JSON too, and means the same. */
static void json_has_no_control_characters(void **state)
{
	static const char input[] =
		"{\"servers\":[\"A\"],\"hosts\":[{\"name\":\"\\u001b\\u009b1m\\u007f\\u00a0\u00e9\\u00c2\"}]}";
	struct ran first, second;

	muster_run(&first, &(struct run){.input = input}, "plan --json");
	assert_int_equal(first.exit_code, 0);
	assert_non_null(strstr(buf_str(&first.out), "\"\\u001B\\u009B1m\\u007F\u00a0\u00e9\u00c2\""));
	muster_run(&second, &(struct run){.input = buf_str(&first.out)}, "plan --json");
	assert_int_equal(second.exit_code, 0);
	assert_non_null(strstr(buf_str(&second.out), "\"\\u001B\\u009B1m\\u007F\u00a0\u00e9\u00c2\""));
	ran_deinit(&first);
	ran_deinit(&second);
}

/* What `muster servers` shows, or another spelling, says which entry is meant. */
static void servers_have_more_names_than_one(void **state)
{
	static const char input[] =
		"{\"algorithm\":\"static\",\"servers\":[{\"name\":\"10.0.0.1\",\"server\":\"ms1\"},"
		"{\"name\":\"10.0.0.2:8251\",\"server\":\"ms2\"},{\"name\":\"b\",\"server\":\"ms3\"},"
		"{\"name\":\"c\",\"server\":\"ms3\"}],\"hosts\":[{}]}";
	static const struct {
		const char *words, *text;
		int exit_code;
	} rows[] = {
		{"plan --remove ms1", "removed", 0},
		{"plan --remove 10.0.0.1:8250", "removed", 0},
		{"plan --weight ms2=7", "10.0.0.2:8251       7", 0},
		{"plan --fail ms2", "WITHOUT 10.0.0.2:8251", 0},
		{"plan --remove ms3", "--remove ms3: there is no server ms3", 2}, /* two entries: which one? */
		{"plan --remove 10.0.0.2", "there is no server 10.0.0.2", 2},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ran r;

		muster_run(&r, &(struct run){.input = input}, rows[i].words);
		if (r.exit_code != rows[i].exit_code || !strstr(buf_str(r.exit_code ? &r.err : &r.out), rows[i].text))
			fail_msg("%s: %d %s%s", rows[i].words, r.exit_code, buf_str(&r.out), buf_str(&r.err));
		ran_deinit(&r);
	}
}

/* Slots with holes, as hosts that were deleted leave them: counted anew, the lists behind a hole would turn. */
static void slots_with_holes_come_through_a_plan(void **state)
{
	static const char input[] = "{\"algorithm\":\"roundrobin\",\"servers\":[\"A\",\"B\"],\"hosts\":["
				    "{\"id\":1,\"zone\":\"z\",\"slot\":1,\"list\":[\"B\",\"A\"]},"
				    "{\"id\":2,\"slot\":0,\"list\":[\"A\",\"B\"]},"
				    "{\"id\":3,\"zone\":\"z\",\"slot\":4,\"list\":[\"A\",\"B\"]}]}";
	struct ran first, second;

	muster_run(&first, &(struct run){.input = input}, "plan --json");
	muster_run(&second, &(struct run){.input = buf_str(&first.out)}, "plan --json");
	assert_int_equal(first.exit_code, 0);
	assert_non_null(strstr(buf_str(&first.out), "\"moves\": 0"));
	assert_string_equal(buf_str(&second.out), buf_str(&first.out));
	ran_deinit(&first);
	ran_deinit(&second);
}

/* ENTRY[:WEIGHT[:ZONE]], for every way to write one. */
static void servers_to_add_are_taken_apart(void **state)
{
	static const struct {
		const char *text, *entry;
		int64_t weight;
		const char *zone; /* NULL: refused */
		const char *why;
	} rows[] = {
		{"M4", "M4", 1, "", NULL},
		{"M4:2", "M4", 2, "", NULL},
		{"M4:0", "M4", 0, "", NULL},
		{"M4:1000", "M4", 1000, "", NULL},
		{"M4:1001", "M4:1001", 1, "", NULL},
		{"M4:8251", "M4:8251", 1, "", NULL},
		{"M4:65535:0", "M4:65535", 0, "", NULL},
		{"M4:2:east", "M4", 2, "east", NULL},
		{"M4::east", "M4", 1, "east", NULL},
		{"M4:8251:2", "M4:8251", 2, "", NULL},
		{"M4:8251:2:east", "M4:8251", 2, "east", NULL},
		{"M4:8251::east", "M4:8251", 1, "east", NULL},
		{"10.0.0.4:3:1", "10.0.0.4", 3, "1", NULL},
		{"[fd00::4]", "fd00::4", 1, "", NULL},
		{"[fd00::4]:2:east", "fd00::4", 2, "east", NULL},
		{"[fd00::4]:8251", "[fd00::4]:8251", 1, "", NULL},
		{"[fd00::4]:8251:2:east", "[fd00::4]:8251", 2, "east", NULL},
		{"", NULL, 0, NULL, "blank"},
		{"M4:", NULL, 0, NULL, "\"\" is no weight"},
		{"M4:-1", NULL, 0, NULL, "\"-1\" is no weight"},
		{"M4:65536", NULL, 0, NULL, "\"65536\" is no weight"},
		{"M4:8251:1001", NULL, 0, NULL, "\"1001\" is no weight"},
		{"M4:east", NULL, 0, NULL, "\"east\" is no weight"},
		{"M4:2:", NULL, 0, NULL, "is no zone"},
		{"M4:2:east:x", NULL, 0, NULL, "\"x\" is too much"},
		{"fd00::4", NULL, 0, NULL, "[fd00::4]"},
		{"fd00::4:2", NULL, 0, NULL, "[fd00::4:2]"},
		{"fe80::1%eth0", NULL, 0, NULL, "brackets"},
		{"[M4]:2", NULL, 0, NULL, "no IPv6 address"},
		{"[fd00::4", NULL, 0, NULL, ""},
		{"[fd00::4]2", NULL, 0, NULL, "does not belong there"},
		{"a b:2", NULL, 0, NULL, ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct plan_added added;
		struct why why = WHY_NONE;
		enum err e = plan_added_parse(&added, rows[i].text, &why);

		if (rows[i].why ? e != ERR_INVALID || !strstr(why.text, rows[i].why)
				: e || !str_equal(added.entry, rows[i].entry) || added.weight != rows[i].weight ||
					  !str_equal(added.zone, rows[i].zone))
			fail_msg("%s: %s %s", rows[i].text, added.entry, why.text);
	}
}

/* The running cluster: its list in force, its hosts with their slots and where they are. */
#define PLACEMENT(interval, rate)                                                                                                        \
	"{\"listplacementresponse\":{\"algorithm\":\"roundrobin\",\"version\":0,\"interval\":" interval                                  \
	",\"rate\":" rate                                                                                                                \
	",\"burst\":20,\"count\":3,\"servers\":[{\"name\":\"M1\",\"weight\":1,\"resting\":false,\"server\":\"ms1\",\"serverid\":\"s1\"," \
	"\"state\":\"Up\"},{\"name\":\"M2\",\"weight\":1},{\"name\":\"M3\",\"weight\":1}],\"hosts\":["
#define PLACED_H1                                                                                                                  \
	"{\"id\":4,\"uuid\":\"u1\",\"name\":\"H1\",\"zone\":\"default\",\"slot\":0,\"list\":[\"M1\",\"M2\",\"M3\"],\"on\":\"M1\"," \
	"\"serverid\":\"s1\"}"
#define PLACED_H3                                                                                                      \
	"{\"id\":9,\"uuid\":\"u2\",\"name\":\"H3\",\"zone\":\"default\",\"slot\":2,\"list\":[\"M3\",\"M1\",\"M2\"],\"on\":\"M1\"}"
#define PLACED_H5                                                                                                      \
	"{\"id\":12,\"uuid\":\"u3\",\"name\":\"H5\",\"zone\":\"default\",\"slot\":4,\"list\":[\"M2\",\"M3\",\"M1\"],\"confirmed\":[]}"

static void the_cluster_is_asked_when_nothing_else_is_said(void **state)
{
	static const struct fake_answer answers[] = {
		{"listPlacement", "page=2\npagesize=2\n", 0, PLACEMENT("60", "50") PLACED_H5 "]}}"},
		{"listPlacement", NULL, 0, PLACEMENT("60", "50") PLACED_H1 "," PLACED_H3 "]}}"},
		{NULL},
	};
	static const struct fake_answer calm[] = {
		{"listPlacement", NULL, 0, PLACEMENT("0", "50") PLACED_H1 "," PLACED_H3 "," PLACED_H5 "]}}"},
		{NULL},
	};
	static const struct fake_answer frozen[] = {
		{"listPlacement", NULL, 0,
		 PLACEMENT("60", "50,\"frozen\":true") PLACED_H1 "," PLACED_H3 "," PLACED_H5 "]}}"},
		{NULL},
	};
	static const struct fake_answer paused[] = {
		{"listPlacement", NULL, 0, PLACEMENT("60", "0") PLACED_H1 "," PLACED_H3 "," PLACED_H5 "]}}"},
		{NULL},
	};
	static const struct {
		const char *name, *words;
		const struct fake_answer *answers;
	} rows[] = {
		{"plan_live", "plan", answers},
		{"plan_live_remove_json", "plan --remove M3 --json", answers},
		{"plan_live_more", "plan --hosts 5 --fail M1", answers},
		{"plan_live_add_balanced", "plan --add M4:8251:2 --algorithm balanced", answers},
		{"plan_live_no_looks", "plan", calm},
		{"plan_live_paused", "plan", paused},
		{"plan_live_frozen", "plan", frozen},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fake_server *s = fake_server_start(rows[i].answers);
		struct ran r;

		muster_run(&r, &(struct run){.server = s}, rows[i].words);
		if (r.exit_code)
			fail_msg("%s: exit code %d, %s", rows[i].words, r.exit_code, buf_str(&r.err));
		golden_check(rows[i].name, &r.out);
		ran_deinit(&r);
		fake_server_stop(s);
	}
}

static void a_cluster_that_makes_no_plan_is_a_failure(void **state)
{
	static const struct {
		const char *body, *sentence;
	} rows[] = {
		{"{\"listplacementresponse\":{\"algorithm\":\"fair\"}}", "\"fair\" is not known to this program"},
		{"{\"listplacementresponse\":{\"algorithm\":\"static\",\"servers\":[1]}}", "make no plan"},
		{"{\"listplacementresponse\":{\"algorithm\":\"static\",\"count\":1,\"hosts\":[1]}}", "make no plan"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct fake_answer answers[] = {{"listPlacement", NULL, 0, rows[i].body}, {NULL}};
		struct fake_server *s = fake_server_start(answers);
		struct ran r;

		muster_run(&r, &(struct run){.server = s}, "plan");
		if (r.exit_code != 1 || !strstr(buf_str(&r.err), rows[i].sentence))
			fail_msg("%s: exit code %d, %s", rows[i].body, r.exit_code, buf_str(&r.err));
		ran_deinit(&r);
		fake_server_stop(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prints_the_golden_text),
		cmocka_unit_test(says_what_is_wrong),
		cmocka_unit_test(a_file_that_is_not_there_is_a_failure),
		cmocka_unit_test(a_plan_is_the_input_of_the_next),
		cmocka_unit_test(json_has_no_control_characters),
		cmocka_unit_test(servers_have_more_names_than_one),
		cmocka_unit_test(slots_with_holes_come_through_a_plan),
		cmocka_unit_test(servers_to_add_are_taken_apart),
		cmocka_unit_test(the_cluster_is_asked_when_nothing_else_is_said),
		cmocka_unit_test(a_cluster_that_makes_no_plan_is_a_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
