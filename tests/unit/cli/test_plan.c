/*
 * muster plan: what it prints, byte for byte, and what it reads.
 */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "check.h"
#include "cli/plan_json.h"
#include "muster_run.h"

#define EXAMPLE "plan --servers M1,M2,M3 --hosts 4 --algorithm "

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
		{"plan_no_hosts", "plan --servers A,B --hosts 0", NULL},
		{"plan_stdin", "plan --algorithm roundrobin --remove M3 --add M4",
		 "{\"algorithm\":\"static\",\"servers\":[{\"name\":\"M1\"},\"M2\",{\"name\":\"M3\",\"weight\":1}],\"hosts\":["
		 "{\"id\":7,\"name\":\"kvm1\",\"list\":[\"M1\",\"M2\",\"M3\"]},{\"id\":\"9\",\"zone\":\"z\",\"list\":[\"M1\",\"M2\"]},"
		 "{\"id\":12,\"name\":\"new\"}]}"},
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
		{"plan --hosts 1", NULL, "--hosts needs --servers"},
		{"plan --servers A --hosts 1x", NULL, "\"1x\" is not a number"},
		{"plan --servers A --hosts -1", NULL, "not between 0 and"},
		{"plan --servers A --hosts 1 --algorithm fair", NULL,
		 "there is no algorithm \"fair\"; there are static, roundrobin, shuffle"},
		{"plan --servers A --hosts 1 --remove B", NULL, "there is no server B"},
		{"plan --servers A --hosts 1 --remove A", NULL, "no server to place hosts on"},
		{"plan --servers A --hosts 1 --add A", NULL, "--add: the server A is there already"},
		{"plan --servers A --hosts 1 --live", NULL, "--hosts makes hosts up"},
		{"plan", "{", "stdin:1: "},
		{"plan", "[]", "a plan is an object"},
		{"plan", "{\"servers\":[1]}", "stdin: a server needs a name"},
		{"plan", "{\"servers\":[\"A\",\"A\"]}", "the server A is there twice"},
		{"plan", "{\"servers\":[{\"name\":\"A\",\"weight\":-1}]}", "weight"},
		{"plan", "{\"servers\":[\"A\"],\"hosts\":[{\"id\":-1}]}", "stdin: host 1: its id is not a number"},
		{"plan", "{\"servers\":[\"A\"],\"hosts\":[{},{\"list\":\"A\"}]}",
		 "stdin: host 2: its list is not an array"},
		{"plan", "{\"servers\":[\"A\"],\"hosts\":[{\"list\":[1]}]}", "is not a text"},
		{"plan", "{\"algorithm\":\"x\",\"servers\":[\"A\"]}", "the algorithm is none of"},
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

/* The running cluster: its list in force, its hosts with their slots. */
static void the_cluster_is_asked_when_nothing_else_is_said(void **state)
{
	static const struct fake_answer answers[] = {
		{"getMusterStatus", NULL, 0,
		 "{\"getmusterstatusresponse\":{\"musterstatus\":{\"algorithm\":\"roundrobin\",\"host\":[\"M1\",\"M2\",\"M3\"]}}}"},
		{"listHosts", NULL, 0,
		 "{\"listhostsresponse\":{\"count\":2,\"host\":["
		 "{\"id\":\"u1\",\"name\":\"H1\",\"musterhostid\":4,\"musterslot\":0,\"zonename\":\"default\",\"musterlist\":[\"M1\",\"M2\",\"M3\"]},"
		 "{\"id\":\"u2\",\"name\":\"H3\",\"musterhostid\":9,\"musterslot\":2,\"zonename\":\"default\",\"musterlist\":[\"M3\",\"M1\",\"M2\"]}]}}"},
		{NULL},
	};
	struct fake_server *s = fake_server_start(answers);
	struct ran r;

	muster_run(&r, &(struct run){.server = s}, "plan");
	assert_int_equal(r.exit_code, 0);
	golden_check("plan_live", &r.out);
	ran_deinit(&r);
	muster_run(&r, &(struct run){.server = s}, "plan --remove M3 --json");
	assert_int_equal(r.exit_code, 0);
	golden_check("plan_live_remove_json", &r.out);
	ran_deinit(&r);
	fake_server_stop(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prints_the_golden_text),
		cmocka_unit_test(says_what_is_wrong),
		cmocka_unit_test(a_file_that_is_not_there_is_a_failure),
		cmocka_unit_test(a_plan_is_the_input_of_the_next),
		cmocka_unit_test(the_cluster_is_asked_when_nothing_else_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
