/*
 * --plan and --yes of commands that change who is where: what they show, what they ask, and that nothing is changed
 * before there is a yes.
 */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "check.h"
#include "muster_run.h"

/* clang-format off */
#define SERVER(name, id, state) \
	"{\"name\":\"" name "\",\"weight\":1,\"server\":\"" name "\",\"serverid\":\"" id "\",\"state\":\"" state "\"}"
#define HOST(number, id, list, on, server) \
	"{\"id\":" number ",\"uuid\":\"" id "\",\"name\":\"H" number "\",\"slot\":" number ",\"list\":[" list "],\"on\":\"" on "\",\"serverid\":\"" server "\"}"
#define M123 "\"M1\",\"M2\",\"M3\""
#define M231 "\"M2\",\"M3\",\"M1\""
#define M312 "\"M3\",\"M1\",\"M2\""
#define PLACEMENT_BY(algorithm, m2, m3) \
	"{\"listplacementresponse\":{\"algorithm\":\"" algorithm "\",\"interval\":60,\"rate\":50,\"burst\":20,\"count\":6,\"servers\":[" \
	SERVER("M1", "s1", "Up") "," SERVER("M2", "s2", m2) "," SERVER("M3", "s3", m3) "],\"hosts\":[" \
	HOST("0", "u0", M123, "M1", "s1") "," HOST("1", "u1", M231, "M2", "s2") "," HOST("2", "u2", M312, "M3", "s3") "," \
	HOST("3", "u3", M123, "M1", "s1") "," HOST("4", "u4", M231, "M2", "s2") "," \
	"{\"id\":5,\"uuid\":\"u5\",\"name\":\"H5\\u001b[31m\",\"slot\":5,\"list\":[" M312 "]}]}}"
#define PLACEMENT(m2, m3) PLACEMENT_BY("roundrobin", m2, m3)
#define SETTING(name, value) \
	"{\"name\":\"" name "\",\"value\":\"" value "\",\"defaultvalue\":\"\",\"isdynamic\":true}"
#define STATUS \
	"{\"getmusterstatusresponse\":{\"musterstatus\":{\"interval\":60,\"offpreferred\":0,\"servers\":[" \
	"{\"name\":\"M1\",\"address\":\"10.0.0.1\",\"port\":8250},{\"name\":\"M2\",\"address\":\"fd00::2\",\"port\":8251}," \
	"{\"name\":\"here\",\"address\":\"127.0.0.1\",\"port\":8250}]}}}"
#define COMMON \
	{"getMusterStatus", NULL, 0, STATUS}, \
	{"listConfigurations", "name=host\n", 0, \
	 "{\"listconfigurationsresponse\":{\"count\":1,\"configuration\":[" SETTING("host", "M1") "]}}"}, \
	{"listConfigurations", "name=job.cancel.threshold.minutes\n", 0, \
	 "{\"listconfigurationsresponse\":{\"count\":1,\"configuration\":[" SETTING("job.cancel.threshold.minutes", "1") "]}}"}, \
	{"listConfigurations", NULL, 0, \
	 "{\"listconfigurationsresponse\":{\"count\":1,\"configuration\":[" SETTING("indirect.agent.lb.algorithm", "roundrobin") "]}}"}, \
	{"updateConfiguration", "name=host\n", 0, "{\"updateconfigurationresponse\":{\"configuration\":" SETTING("host", "M1,M2") "}}"}, \
	{"updateConfiguration", NULL, 0, \
	 "{\"updateconfigurationresponse\":{\"configuration\":" SETTING("indirect.agent.lb.algorithm", "balanced") "}}"}, \
	{"listHosts", "name=H4\n", 0, "{\"listhostsresponse\":{\"count\":1,\"host\":[{\"id\":\"u4\",\"name\":\"H4\"}]}}"}, \
	{"listHosts", NULL, 0, "{\"listhostsresponse\":{}}"}, \
	{"deleteHost", NULL, 0, "{\"deletehostresponse\":{\"success\":true}}"}, \
	{"listZones", "name=east\n", 0, "{\"listzonesresponse\":{\"count\":1,\"zone\":[{\"id\":\"z1\",\"name\":\"east\"}]}}"}, \
	{"listZones", "id=z1\n", 0, "{\"listzonesresponse\":{\"count\":1,\"zone\":[{\"id\":\"z1\",\"name\":\"east\"}]}}"}, \
	{"listZones", NULL, 0, "{\"listzonesresponse\":{}}"}, \
	{"setListServer", NULL, 0, "{\"setlistserverresponse\":{\"setlistserver\":{\"name\":\"M1\",\"weight\":2,\"inlist\":true," \
	 "\"algorithm\":\"balanced\",\"moves\":1}}}"}, \
	{"pinHost", NULL, 0, "{\"pinhostresponse\":{\"pinhost\":{\"name\":\"H4\",\"musterpin\":\"M1\",\"moves\":1}}}"}, \
	{"listManagementServers", NULL, 0, \
	 "{\"listmanagementserversresponse\":{\"count\":2,\"managementserver\":[{\"id\":\"s1\",\"name\":\"M1\",\"state\":\"Up\"}," \
	 "{\"id\":\"s2\",\"name\":\"M2\",\"state\":\"Up\"}]}}"}, \
	{"prepareForMaintenance", NULL, 0, "{\"prepareformaintenanceresponse\":{\"success\":true}}"}
/* clang-format on */

static const struct fake_answer calm[] = {{"listPlacement", NULL, 0, PLACEMENT("Up", "Up")}, COMMON, {NULL}};
static const struct fake_answer one_down[] = {{"listPlacement", NULL, 0, PLACEMENT("Up", "Down")}, COMMON, {NULL}};
static const struct fake_answer balanced[] = {
	{"listPlacement", NULL, 0, PLACEMENT_BY("balanced", "Up", "Up")}, COMMON, {NULL}};
static const struct fake_answer alone[] = {{"listPlacement", NULL, 0, PLACEMENT("Down", "Down")}, COMMON, {NULL}};

/* Commands that change something. */
static bool has_changed(struct fake_server *s)
{
	static const char *const commands[] = {"updateConfiguration", "deleteHost", "prepareForMaintenance",
					       "setListServer", "pinHost"};

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strstr(fake_server_requests(s), commands[i]))
			return true;
	}
	return false;
}

static void effects_are_shown_before_anything_is_done(void **state)
{
	static const struct {
		const char *name, *words;
		const struct fake_answer *answers;
	} rows[] = {
		{"effect_algorithm", "config set indirect.agent.lb.algorithm balanced --plan --yes", calm},
		{"effect_host", "config set --plan --yes host M1,M2", calm},
		{"effect_host_more", "config set --plan --yes host=M1,M2,M3,M1:8251", calm},
		{"effect_host_rm", "host rm --plan --yes H4", calm},
		{"effect_host_rm_away", "host rm --plan --yes 5", calm},
		{"effect_server_set", "server set --plan --yes M1 --weight 4", balanced},
		{"effect_server_set_zone", "server set --plan --yes s1 --zone z1", balanced},
		{"effect_server_set_static", "server set --plan --yes M1:8250 --weight 4", calm},
		{"effect_server_set_no_list", "server set --plan --yes M4 --weight 4", balanced},
		{"effect_host_pin", "host pin --plan --yes H4 M1", balanced},
		{"effect_host_pin_roundrobin", "host pin --plan --yes H4 M1", calm},
		{"effect_drain", "drain --plan --yes --no-wait M2", calm},
		{"effect_drain_rate", "drain --plan --yes --no-wait --rate 1 --algorithm static M1", calm},
		{"effect_drain_down", "drain --plan --yes --no-wait M2", one_down},
		{"effect_drain_alone", "drain --plan --yes --no-wait M1", alone},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fake_server *s = fake_server_start(rows[i].answers);
		struct ran r;

		muster_run(&r, &(struct run){.server = s}, rows[i].words);
		if (r.exit_code)
			fail_msg("%s: exit code %d, %s", rows[i].words, r.exit_code, buf_str(&r.err));
		golden_check(rows[i].name, &r.out);
		if (!has_changed(s))
			fail_msg("%s changed nothing", rows[i].words);
		ran_deinit(&r);
		fake_server_stop(s);
	}
}

static void without_a_yes_nothing_is_changed(void **state)
{
	static const struct {
		const char *words, *typed; /* typed: NULL without a terminal */
		int exit_code;
		bool changes;
		const char *err;
	} rows[] = {
		{"config set host M1,M2 --plan", NULL, 2, false, "there is no terminal to ask on; --yes goes on"},
		{"config set indirect.agent.lb.algorithm static --plan", NULL, 2, false, "nothing is changed"},
		{"drain --plan M2 --no-wait", NULL, 2, false, "nothing is changed"},
		{"host rm --plan H4", NULL, 2, false, "nothing is changed"},
		{"host rm --plan H4", "y\n", 0, true, "Go on? [y/N] "},
		{"host rm --plan H4", "YES\n", 0, true, "Go on?"},
		{"host rm --plan H4", "n\n", 1, false, "nothing is changed"},
		{"host rm --plan H4", "\n", 1, false, "nothing is changed"},
		{"host rm --plan H4", "\x04", 1, false, "nothing is changed"},
		{"host rm --plan H4", "yellow\n", 1, false, "nothing is changed"},
		{"config set host M1,M2 --plan", "y\n", 0, true, "Go on?"},
		{"drain --plan M2 --no-wait", "y\n", 0, true, "Go on?"},
		{"drain --plan M2 --no-wait", "n\n", 1, false, "nothing is changed"},
		{"server set --plan M1 --weight 2", NULL, 2, false, "nothing is changed"},
		{"server set --plan M1 --weight 2", "y\n", 0, true, "Go on?"},
		{"server set --plan M1 --weight 2", "n\n", 1, false, "nothing is changed"},
		{"host pin --plan H4 M1", NULL, 2, false, "nothing is changed"},
		{"host pin --plan H4 M1", "y\n", 0, true, "Go on?"},
		{"host pin --plan H4 M1", "n\n", 1, false, "nothing is changed"},
		/* Without --plan nobody is asked. */
		{"host rm H4 --yes", NULL, 0, true, ""},
		{"host rm H4", NULL, 0, true, ""},
		{"config set host M1,M2 --yes", NULL, 0, true, ""},
		{"drain M2 --no-wait --yes", NULL, 0, true, ""},
		/* What can't be shown. */
		{"host rm --plan --json H4", NULL, 2, false, "`muster plan --json` is for programs"},
		{"drain --plan --json M2", NULL, 2, false, "`muster plan --json` is for programs"},
		{"config set --plan --json host M1", NULL, 2, false, "`muster plan --json` is for programs"},
		{"config set --plan job.cancel.threshold.minutes 3", NULL, 2, false, "--plan knows the effect of host"},
		{"config set --plan --cluster c1 host M1", NULL, 2, false, "is no setting of a cluster"},
		{"config set --plan indirect.agent.lb.algorithm fair", NULL, 2, false,
		 "there is no algorithm \"fair\""},
		{"config set --plan host M1,,M2", NULL, 2, false, "entry 2"},
		{"server set --plan --json M1 --weight 2", NULL, 2, false, "`muster plan --json` is for programs"},
		{"server set --plan M1", NULL, 2, false, "nothing to set"},
		{"server set --plan --yes M1 --zone moon", NULL, 1, false, "there is no zone moon"},
		{"host pin --plan --json H4 M1", NULL, 2, false, "`muster plan --json` is for programs"},
		{"host pin --plan --yes H4 M9", NULL, 1, false, "M9 is in no list"},
		{"host pin --plan --yes 77 M1", NULL, 1, false, "there is no host 77"},
		{"drain --plan M2 --algorithm fair", NULL, 2, false, "there is no algorithm \"fair\""},
		{"host rm --plan 77", NULL, 1, false, "there is no host 77"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fake_server *s = fake_server_start(calm);
		struct run how = {.server = s, .typed = rows[i].typed, .terminal_width = rows[i].typed ? 100 : 0};
		struct ran r;

		muster_run(&r, &how, rows[i].words);
		if (r.exit_code != rows[i].exit_code || !strstr(buf_str(&r.err), rows[i].err) ||
		    has_changed(s) != rows[i].changes)
			fail_msg("muster %s: exit code %d, %s", rows[i].words, r.exit_code, buf_str(&r.err));
		ran_deinit(&r);
		fake_server_stop(s);
	}
}

static void entries_that_are_no_server_are_named(void **state)
{
	static const struct {
		const char *what, *words, *err; /* "": nothing is said */
	} rows[] = {
		{"by name and by address", "config set host M1,[fd00::2]:8251", ""},
		{"names without case, the default port", "config set host m1:8250,10.0.0.1", ""},
		{"a name that leads there", "config set host M1,localhost", ""},
		{"another port", "config set host M1:8252",
		 "No registered management server is M1:8252: agents would try it in vain."},
		{"two", "config set host 10.0.0.9,M1,10.0.0.8",
		 "No registered management server is 10.0.0.9, 10.0.0.8: agents would try them in vain."},
		{"with --plan as well", "config set host M1,10.0.0.9 --plan --yes", "is 10.0.0.9: agents"},
		{"programs read the answer", "config set host 10.0.0.9 --json", ""},
		{"no list at all: the server says so", "config set host ,", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fake_server *s = fake_server_start(calm);
		struct ran r;

		muster_run(&r, &(struct run){.server = s}, rows[i].words);
		check_row(&rows[i], r.exit_code == 0);
		check_row(&rows[i], *rows[i].err ? !!strstr(buf_str(&r.err), rows[i].err)
						 : !strstr(buf_str(&r.err), "No registered"));
		ran_deinit(&r);
		fake_server_stop(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(effects_are_shown_before_anything_is_done),
		cmocka_unit_test(without_a_yes_nothing_is_changed),
		cmocka_unit_test(entries_that_are_no_server_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
