/*
 * muster rolling-restart: what it plans, byte for byte, and what it refuses. How it is carried out is seen with real
 * servers (tests/e2e/test_rolling.py).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "check.h"
#include "muster_run.h"

/* clang-format off */
#define SERVER(entry, name, id) \
	"{\"name\":\"" entry "\",\"weight\":1,\"server\":\"" name "\",\"serverid\":\"" id "\",\"state\":\"Up\"}"
#define HOST(number, list, on) \
	"{\"id\":" number ",\"uuid\":\"u" number "\",\"name\":\"H" number "\",\"slot\":" number ",\"list\":[" list "],\"on\":\"" on "\"}"
#define L123 "\"10.0.0.1\",\"10.0.0.2\",\"10.0.0.3\""
#define L132 "\"10.0.0.1\",\"10.0.0.3\",\"10.0.0.2\""
#define L231 "\"10.0.0.2\",\"10.0.0.3\",\"10.0.0.1\""
#define L213 "\"10.0.0.2\",\"10.0.0.1\",\"10.0.0.3\""
#define L312 "\"10.0.0.3\",\"10.0.0.1\",\"10.0.0.2\""
#define L321 "\"10.0.0.3\",\"10.0.0.2\",\"10.0.0.1\""
#define PLACEMENT(algorithm) \
	"{\"listplacementresponse\":{\"algorithm\":\"" algorithm "\",\"interval\":60,\"rate\":2,\"burst\":1,\"count\":7,\"servers\":[" \
	SERVER("10.0.0.1", "M1", "s1") "," SERVER("10.0.0.2", "M2", "s2") "," SERVER("10.0.0.3", "M3", "s3") "],\"hosts\":[" \
	HOST("0", L123, "10.0.0.1") "," HOST("1", L231, "10.0.0.2") "," HOST("2", L312, "10.0.0.3") "," \
	HOST("3", L132, "10.0.0.1") "," HOST("4", L213, "10.0.0.2") "," HOST("5", L321, "10.0.0.3") "," \
	"{\"id\":6,\"uuid\":\"u6\",\"name\":\"H6\",\"slot\":6,\"list\":[" L123 "]}]}}"
#define STATUS(off, rolling) \
	"{\"getmusterstatusresponse\":{\"musterstatus\":{\"interval\":60,\"offpreferred\":" off ",\"answeredby\":\"M1\",\"servers\":[" \
	"{\"id\":\"s1\",\"name\":\"M1\",\"address\":\"10.0.0.1\",\"port\":8250,\"state\":\"Up\"}],\"rolling\":" rolling "}}}"
#define ACTIVE \
	"{\"active\":true,\"by\":\"admin\",\"takenby\":\"jane\",\"driver\":\"d1\",\"seconds\":312,\"step\":2,\"steps\":3," \
	"\"problem\":\"Somebody has thawed moves\",\"servers\":[{\"name\":\"M2\"},{\"name\":\"M3\"},{\"name\":\"M1\"}]}"
#define REFUSED(command, text) \
	"{\"" command "response\":{\"uuidList\":[],\"errorcode\":530,\"cserrorcode\":4250,\"errortext\":\"" text "\"}}"
/* clang-format on */

static const struct fake_answer calm[] = {
	{"getMusterStatus", NULL, 0, STATUS("0", "{\"active\":false}")},
	{"listPlacement", NULL, 0, PLACEMENT("balanced")},
	{"beginRollingRestart", NULL, 530,
	 REFUSED("beginrollingrestart", "Management server M3 is Down: all have to be Up")},
	{"endRollingRestart", NULL, 530, REFUSED("endrollingrestart", "No rolling restart is under way")},
	{NULL},
};
static const struct fake_answer rotated[] = {
	{"getMusterStatus", NULL, 0, STATUS("0", "{\"active\":false}")},
	{"listPlacement", NULL, 0, PLACEMENT("roundrobin")},
	{NULL},
};
static const struct fake_answer away[] = {
	{"getMusterStatus", NULL, 0, STATUS("2", "{\"active\":false}")},
	{"listPlacement", NULL, 0, PLACEMENT("balanced")},
	{NULL},
};
static const struct fake_answer under_way[] = {
	{"getMusterStatus", NULL, 0, STATUS("0", ACTIVE)},
	{"takeRollingRestart", NULL, 0,
	 "{\"takerollingrestartresponse\":{\"takerollingrestart\":{\"frozenagain\":true}}}"},
	{"endRollingRestart", "abort=true\n", 0,
	 "{\"endrollingrestartresponse\":{\"endrollingrestart\":{\"active\":false}}}"},
	{NULL},
};

static const struct fake_answer frozen_too[] = {
	{"getMusterStatus", NULL, 0,
	 "{\"getmusterstatusresponse\":{\"musterstatus\":{\"freeze\":{\"frozen\":true,\"by\":\"jane\"}}}}"},
	{"endRollingRestart", "abort=true\n", 0,
	 "{\"endrollingrestartresponse\":{\"endrollingrestart\":{\"active\":false}}}"},
	{NULL},
};

static void runs(void **state)
{
	static const struct {
		const char *what, *words, *golden;
		const struct fake_answer *answers;
		int exit_code;
		const char *err;
	} rows[] = {
		{"the plan, and no terminal to ask on", "rolling-restart --plan", "rolling_plan", calm, 2,
		 "nothing is changed"},
		{"for programs it is all there is", "rolling-restart --plan --json --rate 1", "rolling_plan_json", calm,
		 0, NULL},
		{"with another algorithm", "rolling-restart --plan", "rolling_plan_rotated", rotated, 2,
		 "nothing is changed"},
		{"refused by the server", "rolling-restart --plan --yes", NULL, calm, 1,
		 "M3 is Down: all have to be Up"},
		{"agents are away", "rolling-restart", NULL, away, 1, "2 agents are not on the preferred server"},
		{"taken over by the next one", "rolling-restart", "rolling_taken", under_way, 1,
		 "it has been taken over by jane"},
		{"no plan while one is under way", "rolling-restart --plan", NULL, under_way, 1, "at step 2 of 3"},
		{"ended", "rolling-restart --abort", "rolling_abort", under_way, 0, NULL},
		{"ended, and somebody else has frozen moves", "rolling-restart --abort", "rolling_abort", frozen_too, 0,
		 "Moves are frozen by jane: nobody goes home before `muster thaw`."},
		{"nothing to end", "rolling-restart --abort", NULL, calm, 1, "No rolling restart is under way"},
		{"status shows it", "status", "rolling_status", under_way, 0, NULL},
		{"both", "rolling-restart --wait --command x", NULL, NULL, 2, "contradict each other"},
		{"abort and more", "rolling-restart --abort --plan", NULL, NULL, 2, "--abort goes with nothing else"},
		{"a file and no plan", "rolling-restart --file x", NULL, NULL, 2, "--file goes with --plan"},
		{"no such file", "rolling-restart --plan --file /nowhere", NULL, NULL, 1, "/nowhere"},
		{"too many words", "rolling-restart M1", NULL, NULL, 2, "M1"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fake_server *s = rows[i].answers ? fake_server_start(rows[i].answers) : NULL;
		struct ran r;

		muster_run(&r, &(struct run){.server = s}, rows[i].words);
		if (r.exit_code != rows[i].exit_code)
			fail_msg("%s: exit code %d, %s", rows[i].what, r.exit_code, buf_str(&r.err));
		if (rows[i].err && !strstr(buf_str(&r.err), rows[i].err))
			fail_msg("%s: %s", rows[i].what, buf_str(&r.err));
		if (rows[i].golden)
			golden_check(rows[i].golden, &r.out);
		ran_deinit(&r);
		if (s)
			fake_server_stop(s);
	}
}

/* A table that fits, with more servers than columns. */
static void many_servers(void **state)
{
	struct buf in = {0};
	struct ran r;
	char path[] = "/tmp/muster-rolling-XXXXXX", words[100];
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(buf_printf(&in, "{\"algorithm\":\"roundrobin\",\"servers\":["), ERR_OK);
	for (int i = 1; i <= 8; i++)
		assert_int_equal(buf_printf(&in, "%s\"M%d\"", i > 1 ? "," : "", i), ERR_OK);
	assert_int_equal(buf_printf(&in, "],\"hosts\":["), ERR_OK);
	for (int i = 0; i < 20; i++)
		assert_int_equal(
			buf_printf(&in, "%s{\"list\":[\"M%d\",\"M%d\"]}", i ? "," : "", i % 8 + 1, (i + 1) % 8 + 1),
			ERR_OK);
	assert_int_equal(buf_printf(&in, "]}"), ERR_OK);
	assert_int_equal(write(fd, in.data, in.len), (ssize_t)in.len);
	close(fd);
	snprintf(words, sizeof(words), "rolling-restart --plan --file %s", path);
	muster_run(&r, &(struct run){0}, words);
	unlink(path);
	assert_int_equal(r.exit_code, 0);
	golden_check("rolling_plan_many", &r.out);
	ran_deinit(&r);
	buf_deinit(&in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs),
		cmocka_unit_test(many_servers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
