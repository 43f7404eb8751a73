/*
 * The query API of a whole management server, without HTTP.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "check.h"

#define KEY "ExampleApiKey-0123456789_abcdefghijklmnopqrstuvwxyz"
#define SECRET "ExampleSecretKey-9876543210_zyxwvutsrqponmlkjihgfedcba"
#define TILDE_SIGNATURE "YdacS%2BFTfI%2F7ngbV9yF2XCGWtfg%3D" /* of apikey=...&command=listzones&name=a~b */
#define UNKNOWN_UUID "c2a7e9b4-1f60-4d8e-8b35-7a9c0e2d4f11"

/* A question as root, and what the answer must be or have in it. */
struct row {
	const char *what, *query;
	int status;
	const char *exactly; /* the whole body; NULL: not compared */
	const char *with;    /* part of it; NULL: any */
};

static void check_rows(struct bench *b, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int status = bench_ask(b, rows[i].query);

		if (status != rows[i].status)
			fail_msg("%s: status %d: %s", rows[i].what, status, b->text);
		if (rows[i].exactly && strcmp(b->text, rows[i].exactly) != 0)
			fail_msg("%s: %s", rows[i].what, b->text);
		if (rows[i].with && !strstr(b->text, rows[i].with))
			fail_msg("%s: %s is not in %s", rows[i].what, rows[i].with, b->text);
	}
}

#define ERROR_431_9999 "\"errorcode\":431,\"cserrorcode\":9999"
#define ERROR_431_4350 "\"errorcode\":431,\"cserrorcode\":4350"

/* ---- shapes ---- */

static void answers_have_the_shapes_of_cloudstack(void **state)
{
	static const struct row empty[] = {
		{"no host", "command=listHosts&response=json", 200, "{\"listhostsresponse\":{}}", NULL},
		{"only a page", "command=listHosts&page=1", 431, NULL, "\"errorcode\":431"},
		{"too large a page", "command=listHosts&page=1&pagesize=501", 431, NULL, "default.page.size"},
		{"an unknown host", "command=listHosts&id=" UNKNOWN_UUID, 431, NULL,
		 "{\"listhostsresponse\":{\"uuidList\":[],\"errorcode\":431,\"cserrorcode\":9999,"},
		{"a host id that is none", "command=listHosts&id=foo", 431, NULL, ERROR_431_9999},
		{"a server id that is none", "command=listHosts&managementserverid=foo", 431, NULL, ERROR_431_9999},
		{"a job without its host", "command=reconnectHost", 431, NULL, "{\"reconnecthostresponse\":{"},
		{"details that there are not", "command=listHosts&details=min,foo", 431, NULL, ERROR_431_4350},
		{"XML is not spoken, JSON is", "command=listHosts&response=xml", 200, "{\"listhostsresponse\":{}}",
		 NULL},
		{"an unknown command", "command=listhosts", 432, NULL, "{\"errorresponse\":{"},
		{"the command in another case", "Command=listHosts", 432, NULL, "{\"errorresponse\":{"},
		{"nothing at all", "", 432, NULL, "{\"errorresponse\":{"},
		{"a control character", "command=listHosts&x=%09", 431, NULL, ERROR_431_9999},
		{"a broken map", "command=listHosts&x[0=1", 430, NULL, "\"errorcode\":430"},
		{"a server that is Up can't be removed", "command=removeManagementServer&id=ms1", 431, NULL,
		 ERROR_431_4350},
		{"an unknown server", "command=removeManagementServer&id=" UNKNOWN_UUID, 431, NULL, ERROR_431_9999},
		{"an unknown job", "command=queryAsyncJobResult&jobid=" UNKNOWN_UUID, 431, NULL, ERROR_431_9999},
		{"a job id that is none", "command=queryAsyncJobResult&jobid=7", 431, NULL, ERROR_431_9999},
		{"an unknown API", "command=listApis&name=nope", 530, NULL, "\"errorcode\":530"},
		{"the CA provider", "command=listCAProviders&name=ROOT", 200, NULL,
		 "\"caprovider\":[{\"name\":\"root\","},
		{"a CA provider that there isn't", "command=listCAProviders&name=x", 200,
		 "{\"listcaprovidersresponse\":{}}", NULL},
		{"the CA certificate", "command=listCaCertificate&provider=root", 200, NULL,
		 "{\"listcacertificateresponse\":{\"cacertificates\":{\"certificate\":\"-----BEGIN CERTIFICATE-----"},
		{"the CA certificate of another provider", "command=listCaCertificate&provider=exec", 530, NULL,
		 "exec is not the CA provider of this cluster, root is"},
		{"the default zone", "command=listZones", 200, NULL,
		 "{\"listzonesresponse\":{\"count\":1,\"zone\":[{\"id\":"},
		{"the default pod", "command=listPods&zoneid=1", 200, NULL, "\"pod\":[{"},
		{"the default cluster", "command=listClusters&name=default", 200, NULL, "\"cluster\":[{"},
		{"no such pod", "command=listPods&name=nope", 200, "{\"listpodsresponse\":{}}", NULL},
		{"capabilities are no list", "command=listCapabilities", 200, NULL,
		 "{\"listcapabilitiesresponse\":{\"capability\":{"},
		{"the server's start is an event", "command=listEvents&type=MS.UP", 200, NULL,
		 "\"count\":1,\"event\":[{"},
		{"events since tomorrow", "command=listEvents&startdate=2999-01-01", 200, "{\"listeventsresponse\":{}}",
		 NULL},
	};
	static const struct row one[] = {
		{"a page past the end", "command=listHosts&page=2&pagesize=500", 200,
		 "{\"listhostsresponse\":{\"count\":1}}", NULL},
		{"one host", "command=listHosts", 200, NULL, "{\"listhostsresponse\":{\"count\":1,\"host\":[{\"id\":"},
		{"by its number", "command=listHosts&id=1", 200, NULL, "\"name\":\"kvm1\""},
		{"by its name", "command=listHosts&id=kvm1", 200, NULL, "\"name\":\"kvm1\""},
		{"by another state", "command=listHosts&state=Up", 200, "{\"listhostsresponse\":{}}", NULL},
		{"by keyword", "command=listHosts&keyword=VM1", 200, NULL, "\"count\":1"},
		{"all", "command=listHosts&pagesize=-1", 200, NULL, "\"count\":1"},
	};
	struct bench *b = *state;

	check_rows(b, empty, ARRAY_SIZE(empty));
	bench_host(b, "kvm1", 0, HOST_CREATING, NULL);
	check_rows(b, one, ARRAY_SIZE(one));
}

static void list_apis_has_what_cloudmonkey_needs(void **state)
{
	struct bench *b = *state;
	json_t *apis, *api, *param;
	size_t i, k;

	assert_int_equal(bench_ask(b, "command=listApis&listall=true"), 200);
	apis = json_object_get(json_object_get(b->body, "listapisresponse"), "api");
	assert_true(json_array_size(apis) > 20);
	json_array_foreach (apis, i, api) {
		json_t *params = json_object_get(api, "params");

		assert_true(json_is_string(json_object_get(api, "name")));
		assert_true(json_is_string(json_object_get(api, "description")));
		assert_true(json_is_boolean(json_object_get(api, "isasync")));
		assert_true(json_is_array(params));
		assert_true(json_array_size(json_object_get(api, "response")) > 0);
		json_array_foreach (json_object_get(api, "response"), k, param)
			assert_true(json_is_string(json_object_get(param, "name")));
		json_array_foreach (params, k, param) {
			const char *name = json_string_value(json_object_get(param, "name"));

			check_there(name);
			assert_string_not_equal(name, "customjobid");
			assert_true(json_is_string(json_object_get(param, "type")));
			assert_true(json_is_string(json_object_get(param, "description")));
			assert_true(json_is_boolean(json_object_get(param, "required")));
		}
	}
	assert_int_equal(bench_ask(b, "command=listApis&name=reconnectHost"), 200);
	assert_string_equal(bench_at(b, "listapisresponse/count"), "1");
	assert_string_equal(bench_at(b, "listapisresponse/api/0/isasync"), "true");
}

/* ---- signatures ---- */

static enum err add_example_account(struct store_tx *tx, void *arg)
{
	struct account_row row = {
		.name = (char *)(uintptr_t) "example",
		.uuid = (char *)(uintptr_t) "7b3c9e10-5d2f-4a68-91c4-e0f2a3b4c5d6",
		.role = arg,
		.api_key = (char *)(uintptr_t)KEY,
		.secret_key = (char *)(uintptr_t)SECRET,
		.created_ms = 1,
	};

	return store_account_add(tx, &row);
}

static void only_signed_requests_are_answered(void **state)
{
	static const struct row rows[] = {
		{"cmk's own signature",
		 "apiKey=" KEY "&command=listManagementServers&response=json&signature=4EBZUUklWNuKsgynLZbrpSKxJzY%3D",
		 200, NULL, "\"count\":1"},
		{"the order does not matter",
		 "signature=4EBZUUklWNuKsgynLZbrpSKxJzY%3D&response=json&command=listManagementServers&apiKey=" KEY,
		 200, NULL, NULL},
		{"nor the case of the names that sign",
		 "APIKEY=" KEY "&command=listManagementServers&response=json&SIGNATURE=4EBZUUklWNuKsgynLZbrpSKxJzY%3D",
		 200, NULL, NULL},
		{"one letter of a value is another",
		 "apiKey=" KEY "&command=listManagementServers&response=xson&signature=4EBZUUklWNuKsgynLZbrpSKxJzY%3D",
		 401, NULL, "{\"listmanagementserversresponse\":{\"uuidList\":[],\"errorcode\":401,\"errortext\":"},
		{"something is added",
		 "a=b&apiKey=" KEY
		 "&command=listManagementServers&response=json&signature=4EBZUUklWNuKsgynLZbrpSKxJzY%3D",
		 401, NULL, NULL},
		{"the signature is too short",
		 "apiKey=" KEY "&command=listManagementServers&response=json&signature=4EBZ", 401, NULL, NULL},
		{"no signature", "apiKey=" KEY "&command=listManagementServers&response=json", 401, NULL, NULL},
		{"no key", "command=listManagementServers&response=json&signature=4EBZUUklWNuKsgynLZbrpSKxJzY%3D", 401,
		 NULL, NULL},
		{"an unknown key",
		 "apiKey=x&command=listManagementServers&response=json&signature=4EBZUUklWNuKsgynLZbrpSKxJzY%3D", 401,
		 NULL, NULL},
		{"an unknown command", "apiKey=" KEY "&command=nope&signature=4EBZUUklWNuKsgynLZbrpSKxJzY%3D", 401,
		 NULL, "{\"errorresponse\":{"},
		{"Command in another case",
		 "apiKey=" KEY "&Command=listManagementServers&response=json&signature=4EBZUUklWNuKsgynLZbrpSKxJzY%3D",
		 401, NULL, NULL},
		{"nothing at all", "", 401, NULL, "{\"errorresponse\":{"},
		{"cmk sync",
		 "apiKey=" KEY
		 "&command=listApis&listall=true&response=json&signature=NIKQHl3nAcJ7B7UhwM%2B8DyaStvM%3D",
		 200, NULL, "\"api\":[{"},
	};
	static const struct row versions[] = {
		{"without version 3 nothing expires", "command=listZones&expires=2001-01-01T00:00:00%2B0000", 200, NULL,
		 NULL},
		{"version 3 has expired", "command=listZones&signatureVersion=3&expires=2001-01-01T00:00:00%2B0000",
		 401, NULL, NULL},
		{"version 3 is good", "command=listZones&signatureVersion=3&expires=2999-01-01T00:00:00%2B0000", 200,
		 NULL, NULL},
		{"as Go writes it", "command=listZones&signatureversion=3&expires=2999-01-01T00:00:00Z", 200, NULL,
		 NULL},
		{"version 3 without expires", "command=listZones&signatureVersion=3", 401, NULL, NULL},
		{"expires without an offset", "command=listZones&signatureVersion=3&expires=2999-01-01", 401, NULL,
		 NULL},
		{"expires that is no date", "command=listZones&signatureVersion=3&expires=soon", 401, NULL, NULL},
		{"a tilde", "command=listZones&name=a~b", 200, NULL, NULL},
		{"blanks, stars, a plus and an umlaut", "command=listZones&name=a b*c%2Bd%C3%A9", 200, NULL, NULL},
	};
	struct bench *b = *state;

	bench_store(b, add_example_account, (void *)(uintptr_t) "admin");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (bench_ask_from(b, "192.0.2.1", rows[i].query) != rows[i].status)
			fail_msg("%s: status %d: %s", rows[i].what, b->status, b->text);
		if (rows[i].with && !strstr(b->text, rows[i].with))
			fail_msg("%s: %s", rows[i].what, b->text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
		if (bench_ask_signed(b, "192.0.2.1", KEY, SECRET, versions[i].query) != versions[i].status)
			fail_msg("%s: status %d: %s", versions[i].what, b->status, b->text);
	assert_int_equal(bench_ask_signed(b, "192.0.2.1", KEY, SECRET "x", "command=listZones"), 401);
}

static void who_signs_with_a_literal_tilde_is_heard_too(void **state)
{
	struct bench *b = *state;

	bench_store(b, add_example_account, (void *)(uintptr_t) "admin");
	assert_int_equal(
		bench_ask_from(b, "192.0.2.1", "apiKey=" KEY "&command=listZones&name=a~b&signature=" TILDE_SIGNATURE),
		200);
}

static void another_role_may_not_do_everything(void **state)
{
	struct bench *b = *state;

	bench_store(b, add_example_account, (void *)(uintptr_t) "reader");
	assert_int_equal(bench_ask_signed(b, "192.0.2.1", KEY, SECRET, "command=listZones"), 200);
	assert_int_equal(bench_ask_signed(b, "192.0.2.1", KEY, SECRET, "command=listHosts"), 432);
	assert_non_null(bench_at(b, "errorresponse/errorcode"));
	/* The right is judged before the signature (query-api 1.3). */
	assert_int_equal(bench_ask_signed(b, "192.0.2.1", KEY, "wrong", "command=listHosts"), 432);
}

static void who_keeps_failing_is_not_looked_at(void **state)
{
	struct bench *b = *state;
	int status = 0;

	bench_store(b, add_example_account, (void *)(uintptr_t) "admin");
	for (int i = 0; i < 100 && status != 429; i++)
		status = bench_ask_from(b, "2001:db8::1", "command=listZones&apiKey=x&signature=y");
	assert_int_equal(status, 429);
	assert_int_equal(bench_ask_signed(b, "2001:db8::2", KEY, SECRET, "command=listZones"), 429);
	/* Others are not punished for it. */
	assert_int_equal(bench_ask_signed(b, "2001:db8:0:1::1", KEY, SECRET, "command=listZones"), 200);
	assert_int_equal(bench_ask_signed(b, "192.0.2.1", KEY, SECRET, "command=listZones"), 200);
	assert_int_equal(bench_ask(b, "command=listZones"), 200);
}

/* ---- settings ---- */

#define UPDATE "command=updateConfiguration&name="

static void bad_settings_are_refused_and_change_nothing(void **state)
{
	static const struct row rows[] = {
		{"an unknown key", UPDATE "nope&value=1", 431, NULL, ERROR_431_4350},
		{"no value", UPDATE "ping.interval", 431, NULL, ERROR_431_4350},
		{"no key", "command=updateConfiguration&value=1", 431, NULL, ERROR_431_9999},
		{"zero where it must be more", UPDATE "ping.interval&value=0", 431, NULL, ERROR_431_4350},
		{"an unknown algorithm", UPDATE "indirect.agent.lb.algorithm&value=random", 431, NULL, "is not one of"},
		{"the algorithm in another case", UPDATE "indirect.agent.lb.algorithm&value=Static", 431, NULL, NULL},
		{"no algorithm", UPDATE "indirect.agent.lb.algorithm&value=", 431, NULL, NULL},
		{"an empty list", UPDATE "host&value=", 431, NULL, NULL},
		{"only a comma", UPDATE "host&value=,", 431, NULL, NULL},
		{"a server twice", UPDATE "host&value=M1,M2,M1", 431, NULL, NULL},
		{"a malformed entry", UPDATE "host&value=M1,M_2%20x", 431, NULL, NULL},
		{"a bad port", UPDATE "host&value=M1:99999", 431, NULL, NULL},
		{"a negative interval", UPDATE "indirect.agent.lb.check.interval&value=-1", 431, NULL, NULL},
		{"an interval that is none", UPDATE "indirect.agent.lb.check.interval&value=often", 431, NULL, NULL},
		{"who signs is not for the API to change", UPDATE "ca.framework.provider.plugin&value=exec", 431, NULL,
		 "muster-server ca use exec"},
		{"who signs is one of those that there are", UPDATE "ca.framework.provider.plugin&value=x", 431, NULL,
		 NULL},
		{"a bool that is none", UPDATE "ca.plugin.root.auth.strictness&value=maybe", 431, NULL, NULL},
		{"a key that no cluster may have", UPDATE "host&value=M1&clusterid=1", 431, NULL, NULL},
		{"a zone has no settings", UPDATE "indirect.agent.lb.check.interval&value=1&zoneid=1", 431, NULL, NULL},
		{"two scopes", UPDATE "indirect.agent.lb.check.interval&value=1&zoneid=1&clusterid=1", 431, NULL, NULL},
		{"an unknown cluster", UPDATE "indirect.agent.lb.check.interval&value=1&clusterid=99", 431, NULL,
		 ERROR_431_9999},
		{"a subgroup without group", "command=listConfigurations&subgroup=Agent", 431, NULL, NULL},
		{"an unknown group", "command=listConfigurations&group=nope", 431, NULL, NULL},
	};
	struct bench *b = *state;

	check_rows(b, rows, ARRAY_SIZE(rows));
	assert_int_equal(bench_ask(b, "command=getMusterStatus"), 200);
	assert_string_equal(bench_at(b, "getmusterstatusresponse/musterstatus/configversion"), "0");
	assert_string_equal(bench_at(b, "getmusterstatusresponse/musterstatus/hostset"), "false");
}

static void settings_are_there_when_the_answer_is(void **state)
{
	static const struct row rows[] = {
		{"a bool is lower case", UPDATE "ca.plugin.root.auth.strictness&value=FALSE", 200, NULL,
		 "\"value\":\"false\""},
		{"the algorithm", UPDATE "indirect.agent.lb.algorithm&value=%20roundrobin%20", 200, NULL,
		 "{\"updateconfigurationresponse\":{\"configuration\":{\"category\":\"Advanced\",\"group\":\"Management Server\",\"subgroup\":\"Agent\",\"name\":\"indirect.agent.lb.algorithm\",\"value\":\"roundrobin\",\"defaultvalue\":\"static\","},
		{"is listed", "command=listConfigurations&name=lb.algorithm", 200, NULL, "\"value\":\"roundrobin\""},
		{"servers", UPDATE "host&value=M1,%20M2,M3:9000", 200, NULL, "\"value\":\"M1,M2,M3:9000\""},
		{"are in force", "command=getMusterStatus", 200, NULL,
		 "\"algorithm\":\"roundrobin\",\"host\":[\"M1\",\"M2\",\"M3:9000\"],\"hostset\":true"},
		{"reset", "command=resetConfiguration&name=host", 200, NULL, "\"name\":\"host\",\"description\""},
		{"are unset", "command=getMusterStatus", 200, NULL, "\"hostset\":false"},
		{"an interval for all", UPDATE "indirect.agent.lb.check.interval&value=60", 200, NULL,
		 "\"value\":\"60\""},
		{"one for a cluster", UPDATE "indirect.agent.lb.check.interval&value=5&clusterid=1", 200, NULL,
		 "\"value\":\"5\""},
		{"has its scope", "command=listConfigurations&clusterid=1", 200, NULL, "\"count\":3,"},
		{"and does not change the other", "command=listConfigurations&name=check.interval", 200, NULL,
		 "\"value\":\"60\""},
		{"reset for the cluster",
		 "command=resetConfiguration&name=indirect.agent.lb.check.interval&clusterid=1", 200, NULL,
		 "\"value\":\"60\""},
		{"the group is shown whole",
		 "command=listConfigurations&group=Miscellaneous&subgroup=Certificate%20Authority&page=1&pagesize=1",
		 200, NULL, "\"name\":\"ca.plugin.root.issuer.dn\""},
		{"one a page", "command=listConfigurations&keyword=indirect.agent&page=2&pagesize=1", 200, NULL,
		 "{\"listconfigurationsresponse\":{\"count\":2,\"configuration\":[{"},
		{"who did it", "command=listEvents&type=CONFIGURATION.VALUE.EDIT&keyword=algorithm", 200, NULL,
		 "local set indirect.agent.lb.algorithm"},
	};
	struct bench *b = *state;

	check_rows(b, rows, ARRAY_SIZE(rows));
}

static void cloudstack_agents_are_not_left_without_servers(void **state)
{
	struct bench *b = *state;
	int64_t id = bench_host(b, "old1", 0, HOST_UP, "M1@static");

	roster_host(b->server, id)->row.is_muster = false;
	assert_int_equal(bench_ask(b, UPDATE "host&value=M1:9000,M2:9000"), 431);
	assert_non_null(strstr(b->text, "forced=true"));
	assert_int_equal(bench_ask(b, UPDATE "host&value=M1:9000,M2"), 200);
	assert_int_equal(bench_ask(b, UPDATE "host&value=M1:9000,M2:9000&forced=true"), 200);
}

/* ---- hosts ---- */

static void hosts_show_their_lists(void **state)
{
	struct bench *b = *state;
	int64_t own = server_msid(b->server);

	assert_int_equal(bench_ask(b, UPDATE "host&value=127.0.0.1,M2"), 200);
	bench_host(b, "kvm1", own, HOST_UP, "127.0.0.1,M2@static");
	bench_host(b, "kvm2", own, HOST_UP, "M2,127.0.0.1@static");
	bench_host(b, "kvm3", own, HOST_DISCONNECTED, "127.0.0.1,M2@static");

	assert_int_equal(bench_ask(b, "command=listHosts&name=kvm2"), 200);
	assert_string_equal(bench_at(b, "listhostsresponse/host/0/musterlist/0"), "M2");
	assert_string_equal(bench_at(b, "listhostsresponse/host/0/musterpreferred"), "M2");
	assert_string_equal(bench_at(b, "listhostsresponse/host/0/musteralgorithm"), "static");
	assert_string_equal(bench_at(b, "listhostsresponse/host/0/musteroutdated"), "true");
	assert_string_equal(bench_at(b, "listhostsresponse/host/0/musterexpected/0"), "127.0.0.1");
	assert_string_equal(bench_at(b, "listhostsresponse/host/0/musterhostid"), "2");
	assert_string_equal(bench_at(b, "listhostsresponse/host/0/managementservername"), "ms1");
	assert_string_equal(bench_at(b, "listhostsresponse/host/0/cpunumber"), "8");
	assert_string_equal(bench_at(b, "listhostsresponse/host/0/memorytotal"), "16777216000");
	assert_string_equal(bench_at(b, "listhostsresponse/host/0/details/Host.OS"), "Debian");
	assert_null(strstr(b->text, "hunter2"));
	assert_string_equal(bench_at(b, "listhostsresponse/host/0/zonename"), "default");

	assert_int_equal(bench_ask(b, "command=listHosts&details=min"), 200);
	assert_string_equal(bench_at(b, "listhostsresponse/count"), "3");
	assert_string_equal(bench_at(b, "listhostsresponse/host/0/name"), "kvm1");
	assert_string_equal(bench_at(b, "listhostsresponse/host/0/musteroutdated"), "false");
	assert_null(bench_at(b, "listhostsresponse/host/0/zonename"));
	assert_null(bench_at(b, "listhostsresponse/host/0/events"));
	assert_string_equal(bench_at(b, "listhostsresponse/host/2/state"), "Disconnected");
	assert_null(bench_at(b, "listhostsresponse/host/2/managementserverid"));

	assert_int_equal(bench_ask(b, "command=listManagementServers"), 200);
	assert_string_equal(bench_at(b, "listmanagementserversresponse/managementserver/0/agentscount"), "2");
	assert_null(bench_at(b, "listmanagementserversresponse/managementserver/0/peers"));

	assert_int_equal(bench_ask(b, "command=getMusterStatus"), 200);
	assert_string_equal(bench_at(b, "getmusterstatusresponse/musterstatus/hosts/total"), "3");
	assert_string_equal(bench_at(b, "getmusterstatusresponse/musterstatus/hosts/up"), "2");
	assert_string_equal(bench_at(b, "getmusterstatusresponse/musterstatus/hosts/disconnected"), "1");
	assert_string_equal(bench_at(b, "getmusterstatusresponse/musterstatus/outdated"), "1");
	assert_string_equal(bench_at(b, "getmusterstatusresponse/musterstatus/servers/0/agents"), "2");
	assert_string_equal(bench_at(b, "getmusterstatusresponse/musterstatus/servers/0/outdated"), "1");
	assert_string_equal(bench_at(b, "getmusterstatusresponse/musterstatus/unsecured"), "2");
	assert_string_equal(bench_at(b, "getmusterstatusresponse/musterstatus/answeredby"), "ms1");
}

static enum err confirm_elsewhere(struct store_tx *tx, void *arg)
{
	return store_host_list_confirmed(tx, 1, "127.0.0.1,M2@static", 0);
}

static void what_others_agents_confirmed_is_read_again(void **state)
{
	struct bench *b = *state;

	assert_int_equal(bench_ask(b, UPDATE "host&value=127.0.0.1,M2"), 200);
	bench_host(b, "kvm1", 77, HOST_UP, "M9@static");
	assert_int_equal(bench_ask(b, "command=getMusterStatus"), 200);
	assert_string_equal(bench_at(b, "getmusterstatusresponse/musterstatus/outdated"), "1");
	/* No change row goes with it: memory does not hear of it. */
	bench_store(b, confirm_elsewhere, NULL);
	assert_int_equal(bench_ask(b, "command=getMusterStatus"), 200);
	assert_string_equal(bench_at(b, "getmusterstatusresponse/musterstatus/outdated"), "0");
	assert_string_equal(roster_host(b->server, 1)->row.ms_list, "127.0.0.1,M2@static");
}

static void hosts_are_listed_page_by_page(void **state)
{
	struct bench *b = *state;
	char name[32], query[128];

	for (int i = 1; i <= 7; i++) {
		snprintf(name, sizeof(name), "kvm%d", i);
		bench_host(b, name, 0, HOST_CREATING, NULL);
	}
	for (int page = 1; page <= 3; page++) {
		snprintf(query, sizeof(query), "command=listHosts&page=%d&pagesize=3", page);
		assert_int_equal(bench_ask(b, query), 200);
		assert_string_equal(bench_at(b, "listhostsresponse/count"), "7");
		snprintf(name, sizeof(name), "kvm%d", page * 3 - 2);
		assert_string_equal(bench_at(b, "listhostsresponse/host/0/name"), name);
	}
	assert_null(bench_at(b, "listhostsresponse/host/1/name"));
	assert_int_equal(bench_ask(b, "command=listHosts&page=4&pagesize=3"), 200);
	assert_string_equal(b->text, "{\"listhostsresponse\":{\"count\":7}}");
	assert_int_equal(bench_ask(b, "command=listHosts&id=kvm3&details=min"), 200);
	assert_string_equal(bench_at(b, "listhostsresponse/count"), "1");
	bench_host(b, "kvm3", 0, HOST_CREATING, NULL);
	assert_int_equal(bench_ask(b, "command=listHosts&id=kvm3"), 431); /* two of that name */
}

static void a_reserved_host_comes_with_its_token(void **state)
{
	static const struct row bad[] = {
		{"no url", "command=addHost", 431, NULL, NULL},
		{"a url without a host", "command=addHost&url=http://", 431, NULL, NULL},
		{"an unknown zone", "command=addHost&url=http://kvm1&zoneid=" UNKNOWN_UUID, 431, NULL, ERROR_431_9999},
		{"two clusters", "command=addHost&url=http://kvm1&clusterid=1&clustername=x", 431, NULL, NULL},
	};
	struct bench *b = *state;
	struct token t = {0};
	struct why why = WHY_NONE;
	char guid[UUID_TEXT];

	check_rows(b, bad, ARRAY_SIZE(bad));
	assert_int_equal(
		bench_ask(b,
			  "command=addHost&url=http://kvm1:22/&clustername=rack%201&hypervisor=KVM&zoneid=1&podid=1"),
		200);
	assert_string_equal(bench_at(b, "addhostresponse/count"), "1");
	assert_string_equal(bench_at(b, "addhostresponse/host/0/name"), "kvm1");
	assert_string_equal(bench_at(b, "addhostresponse/host/0/state"), "Creating");
	assert_string_equal(bench_at(b, "addhostresponse/host/0/clustername"), "rack 1");
	assert_int_equal(token_parse(&t, bench_at(b, "addhostresponse/host/0/musterjointoken"), &why), ERR_OK);
	assert_int_equal(t.role, CERT_ROLE_AGENT);
	assert_string_equal(t.fingerprint, b->server->ca->ops->fingerprint(b->server->ca));
	str_copy(guid, sizeof(guid), roster_host(b->server, 1)->row.guid);

	assert_int_equal(bench_ask(b, "command=listJoinTokens"), 200);
	assert_string_equal(bench_at(b, "listjointokensresponse/jointoken/0/id"), t.id);
	assert_string_equal(bench_at(b, "listjointokensresponse/jointoken/0/state"), "valid");
	assert_string_equal(bench_at(b, "listjointokensresponse/jointoken/0/hostname"), "kvm1");
	assert_null(strstr(b->text, t.secret));
	token_deinit(&t);

	/* Not connected: it may go without force. */
	assert_int_equal(bench_ask(b, "command=deleteHost&id=kvm1"), 200);
	assert_string_equal(b->text, "{\"deletehostresponse\":{\"success\":true}}");
	assert_null(roster_by_guid(b->server, guid));
	assert_int_equal(bench_ask(b, "command=deleteHost&id=kvm1"), 431);
}

static void a_connected_host_goes_only_by_force(void **state)
{
	struct bench *b = *state;

	bench_host(b, "kvm1", server_msid(b->server), HOST_UP, "M1@static");
	assert_int_equal(bench_ask(b, "command=deleteHost&id=kvm1"), 530);
	assert_string_equal(bench_at(b, "deletehostresponse/cserrorcode"), "4250");
	assert_int_equal(roster_n_hosts(b->server), 1);
	assert_int_equal(bench_ask(b, "command=deleteHost&id=kvm1&forced=true"), 200);
	assert_int_equal(roster_n_hosts(b->server), 0);
	assert_int_equal(bench_ask(b, "command=listEvents&type=HOST.DELETE"), 200);
	assert_string_equal(bench_at(b, "listeventsresponse/count"), "1");
}

static enum err add_agent_cert(struct store_tx *tx, void *arg)
{
	struct cert_row row = {
		.serial = (char *)(uintptr_t) "abc1",
		.common_name = (char *)(uintptr_t) "kvm1",
		.role = (char *)(uintptr_t) "agent",
		.subject_id = arg,
		.not_after_s = 4000000000,
		.pem = (char *)(uintptr_t) "",
	};

	return store_cert_add(tx, &row);
}

static bool is_revoked(struct bench *b, void *arg)
{
	return authority_is_revoked(b->server, arg);
}

static void a_deleted_hosts_certificate_is_revoked(void **state)
{
	struct bench *b = *state;
	char *guid;

	bench_host(b, "kvm1", 0, HOST_DISCONNECTED, NULL);
	guid = mem_strdup(roster_host(b->server, 1)->row.guid);
	bench_store(b, add_agent_cert, guid);
	mem_free(guid);
	assert_int_equal(bench_ask(b, "command=deleteHost&id=1"), 200);
	bench_until(b, is_revoked, (void *)(uintptr_t) "abc1");
}

static enum err pin_kvm1(struct store_tx *tx, void *arg)
{
	size_t moves;

	return store_host_pin(tx, 1, "127.0.0.1", &moves);
}

#define REASON "explainhostresponse/explainhost/listreason"

/* What makes a list, by algorithm; a pin comes before all of them. */
static void lists_have_reasons(void **state)
{
	static const struct {
		const char *algorithm, *reason;
	} rows[] = {
		{"static", "static: every host has the order of the setting host, so all prefer M2."},
		{"roundrobin",
		 "roundrobin: the order of the setting host, begun at M2, number 1 of 2, because its slot is 0."},
		{"shuffle", "shuffle: an order of the 2 servers that was drawn for it once."},
		{"balanced", "balanced: version "},
	};
	struct bench *b = *state;
	const char *reason;

	assert_int_equal(bench_ask(b, UPDATE "host&value=M2,127.0.0.1"), 200);
	bench_host(b, "kvm1", server_msid(b->server), HOST_UP, "M2,127.0.0.1@static");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(mem_freep)
		char *set = mem_printf(UPDATE "indirect.agent.lb.algorithm&value=%s", rows[i].algorithm);

		assert_int_equal(bench_ask(b, set), 200);
		assert_int_equal(bench_ask(b, "command=explainHost&id=1"), 200);
		reason = bench_at(b, REASON);
		if (!reason || !str_starts(reason, rows[i].reason))
			fail_msg("%s: %s", rows[i].algorithm, reason ? reason : b->text);
	}
	assert_non_null(strstr(bench_at(b, REASON), " to prefer, "));
	assert_non_null(strstr(bench_at(b, REASON), " when that has failed"));
	bench_store(b, pin_kvm1, NULL);
	assert_int_equal(bench_ask(b, "command=explainHost&id=1"), 200);
	assert_non_null(strstr(bench_at(b, REASON), "127.0.0.1 to prefer"));
	assert_non_null(strstr(bench_at(b, REASON), " It is pinned to 127.0.0.1, which comes first"));
}

static void hosts_explain_themselves(void **state)
{
	CLEAN(mem_freep) char *query = NULL;
	struct bench *b = *state;

	assert_int_equal(bench_ask(b, UPDATE "host&value=M2,127.0.0.1"), 200);
	bench_host(b, "kvm1", server_msid(b->server), HOST_UP, "M2,127.0.0.1@static");
	assert_int_equal(bench_ask(b, "command=explainHost&id=kvm1"), 200);
	assert_string_equal(bench_at(b, "explainhostresponse/explainhost/name"), "kvm1");
	assert_string_equal(bench_at(b, "explainhostresponse/explainhost/verdicts/0/entry"), "M2");
	assert_string_equal(bench_at(b, "explainhostresponse/explainhost/verdicts/0/verdict"), "unknown server");
	assert_non_null(bench_at(b, "explainhostresponse/explainhost/verdicts/1/entry"));
	assert_non_null(bench_at(b, "explainhostresponse/explainhost/why"));
	assert_string_equal(bench_at(b, "explainhostresponse/explainhost/onpreferred"), "false");
	assert_non_null(bench_at(b, "explainhostresponse/explainhost/agentunasked"));
	query = mem_printf("command=explainHost&id=%s", roster_host(b->server, 1)->row.guid);
	assert_int_equal(bench_ask(b, query), 200);
	assert_string_equal(bench_at(b, "explainhostresponse/explainhost/name"), "kvm1");
	assert_int_equal(bench_ask(b, "command=explainHost&id=nobody"), 431);
	assert_int_equal(bench_ask(b, "command=allowWeakerIdentity&id=kvm1"), 200);
	assert_true(roster_host(b->server, 1)->row.allow_weaker);
	assert_int_equal(bench_ask(b, "command=rebalanceHosts&rerank=true"), 200);
	assert_string_equal(b->text, "{\"rebalancehostsresponse\":{\"success\":true}}");
}

/* ---- jobs ---- */

static bool is_done(struct bench *b, void *arg)
{
	char query[128];

	snprintf(query, sizeof(query), "command=queryAsyncJobResult&jobid=%s", (const char *)arg);
	assert_int_equal(bench_ask(b, query), 200);
	return strcmp(bench_at(b, "queryasyncjobresultresponse/jobstatus"), "0") != 0;
}

static void run_job(struct bench *b, const char *query, const char *answer)
{
	char path[64], id[UUID_TEXT];

	assert_int_equal(bench_ask(b, query), 200);
	snprintf(path, sizeof(path), "%s/jobid", answer);
	str_copy(id, sizeof(id), bench_at(b, path));
	assert_true(uuid_is_valid(id));
	bench_until(b, is_done, id);
}

#define RESULT "queryasyncjobresultresponse/"

static void jobs_tell_how_they_ended(void **state)
{
	struct bench *b = *state;

	bench_host(b, "away", 0, HOST_DISCONNECTED, NULL);
	bench_host(b, "alert", 0, HOST_ALERT, NULL);
	bench_host(b, "elsewhere", 77, HOST_UP, NULL);

	run_job(b, "command=reconnectHost&id=away", "reconnecthostresponse");
	assert_string_equal(bench_at(b, RESULT "jobstatus"), "1");
	assert_string_equal(bench_at(b, RESULT "jobresultcode"), "0");
	assert_string_equal(bench_at(b, RESULT "jobresulttype"), "object");
	assert_string_equal(bench_at(b, RESULT "jobresult/host/name"), "away");
	assert_string_equal(bench_at(b, RESULT "managementservername"), "ms1");
	assert_non_null(bench_at(b, RESULT "completed"));

	run_job(b, "command=reconnectHost&id=alert", "reconnecthostresponse");
	assert_string_equal(bench_at(b, RESULT "jobstatus"), "2");
	assert_string_equal(bench_at(b, RESULT "jobresultcode"), "530");
	assert_string_equal(bench_at(b, RESULT "jobresult/errorcode"), "530");

	run_job(b, "command=reconnectHost&id=elsewhere", "reconnecthostresponse");
	assert_string_equal(bench_at(b, RESULT "jobstatus"), "2");

	run_job(b, "command=checkHost&id=away", "checkhostresponse");
	assert_string_equal(bench_at(b, RESULT "jobresultcode"), "534");
	run_job(b, "command=getHostStats&id=away&customjobid=9d2f6a1b-3c4e-4d5f-8a6b-7c8d9e0f1a21",
		"gethoststatsresponse");
	assert_string_equal(bench_at(b, RESULT "jobid"), "9d2f6a1b-3c4e-4d5f-8a6b-7c8d9e0f1a21");
	assert_int_equal(bench_ask(b, "command=checkHost&id=away&customjobid=9d2f6a1b-3c4e-4d5f-8a6b-7c8d9e0f1a21"),
			 431);
}

static enum err add_odd_jobs(struct store_tx *tx, void *arg)
{
	struct job_row row = {
		.uuid = "9d2f6a1b-3c4e-4d5f-8a6b-000000000001",
		.command = (char *)(uintptr_t) "checkHost",
		.account = (char *)(uintptr_t) "local",
		.msid = 77,
		.instance_type = (char *)(uintptr_t) "Host",
		.instance_id = (char *)(uintptr_t)UNKNOWN_UUID,
		.created_ms = 1,
	};
	size_t n = 0;
	enum err e = store_job_add(tx, &row);

	if (!e)
		e = store_jobs_fail_of(
			tx, 77, "{\"errorcode\":530,\"errortext\":\"The management server that ran this job died\"}",
			&n);
	strcpy(row.uuid, "9d2f6a1b-3c4e-4d5f-8a6b-000000000002");
	row.id = 0;
	if (!e)
		e = store_job_add(tx, &row);
	if (!e)
		e = store_job_finish(tx, row.uuid, 3, 0, NULL);
	return e;
}

static void every_ended_job_has_a_result(void **state)
{
	struct bench *b = *state;

	bench_store(b, add_odd_jobs, NULL);
	assert_int_equal(bench_ask(b, "command=queryAsyncJobResult&jobid=9d2f6a1b-3c4e-4d5f-8a6b-000000000001"), 200);
	assert_string_equal(bench_at(b, RESULT "jobstatus"), "2");
	assert_string_equal(bench_at(b, RESULT "jobresultcode"), "530");
	assert_non_null(strstr(bench_at(b, RESULT "jobresult/errortext"), "died"));
	/* Cancelled is failed: CloudMonkey would poll on. */
	assert_int_equal(bench_ask(b, "command=queryAsyncJobResult&jobid=9d2f6a1b-3c4e-4d5f-8a6b-000000000002"), 200);
	assert_string_equal(bench_at(b, RESULT "jobstatus"), "2");
	assert_string_equal(bench_at(b, RESULT "jobresult/errorcode"), "530");
}

/* ---- tokens and accounts ---- */

static void tokens_live_and_end(void **state)
{
	static const struct row bad[] = {
		{"a role that there is not", "command=createJoinToken&role=king", 431, NULL, ERROR_431_4350},
		{"no lifetime", "command=createJoinToken&lifetime=0", 431, NULL, NULL},
		{"too long a life", "command=createJoinToken&lifetime=99999999999", 431, NULL, NULL},
		{"no uses", "command=createJoinToken&uses=0", 431, NULL, NULL},
		{"for an unknown host", "command=createJoinToken&hostid=nobody", 431, NULL, ERROR_431_9999},
		{"for one host, often", "command=createJoinToken&hostid=kvm1&uses=2", 431, NULL, NULL},
		{"for servers of a zone", "command=createJoinToken&role=server&zone=east", 431, NULL, NULL},
		{"for a host in a zone", "command=createJoinToken&hostid=kvm1&zone=east", 431, NULL, NULL},
		{"for a zone that paints terminals", "command=createJoinToken&zone=a%1bb", 431, NULL, NULL},
		{"revoking what there is not", "command=revokeJoinToken&id=nope", 431, NULL, ERROR_431_4350},
		{"again without a host", "command=createRejoinToken", 431, NULL, ERROR_431_9999},
	};
	struct bench *b = *state;
	struct token t = {0};
	struct why why = WHY_NONE;
	char query[128];

	bench_host(b, "kvm1", 0, HOST_DISCONNECTED, NULL);
	check_rows(b, bad, ARRAY_SIZE(bad));
	assert_int_equal(bench_ask(b, "command=listJoinTokens"), 200);
	assert_string_equal(b->text, "{\"listjointokensresponse\":{}}");

	assert_int_equal(bench_ask(b, "command=createJoinToken&role=server&uses=3&lifetime=60&name=ms2"), 200);
	assert_string_equal(bench_at(b, "createjointokenresponse/jointoken/role"), "server");
	assert_string_equal(bench_at(b, "createjointokenresponse/jointoken/uses"), "3");
	assert_int_equal(token_parse(&t, bench_at(b, "createjointokenresponse/jointoken/token"), &why), ERR_OK);
	assert_int_equal(t.role, CERT_ROLE_SERVER);
	assert_int_equal(t.servers.n, 1);
	snprintf(query, sizeof(query), "127.0.0.1:%u", server_port(b->server));
	assert_string_equal(t.servers.items[0], query);

	snprintf(query, sizeof(query), "command=revokeJoinToken&id=%s", t.id);
	assert_int_equal(bench_ask(b, query), 200);
	snprintf(query, sizeof(query), "command=listJoinTokens&id=%s", t.id);
	assert_int_equal(bench_ask(b, query), 200);
	assert_string_equal(bench_at(b, "listjointokensresponse/jointoken/0/state"), "revoked");
	assert_string_equal(bench_at(b, "listjointokensresponse/jointoken/0/name"), "ms2");
	token_deinit(&t);

	/* A zone by its id is that zone by its name. */
	assert_int_equal(bench_ask(b, "command=createJoinToken&zone=1&name=kvm7"), 200);
	assert_string_equal(bench_at(b, "createjointokenresponse/jointoken/zone"), "default");
	snprintf(query, sizeof(query), "command=listJoinTokens&id=%s",
		 bench_at(b, "createjointokenresponse/jointoken/id"));
	assert_int_equal(bench_ask(b, query), 200);
	assert_string_equal(bench_at(b, "listjointokensresponse/jointoken/0/zone"), "default");
	assert_string_equal(bench_at(b, "listjointokensresponse/jointoken/0/name"), "kvm7");
	snprintf(query, sizeof(query), "command=revokeJoinToken&id=%s",
		 bench_at(b, "listjointokensresponse/jointoken/0/id"));
	assert_int_equal(bench_ask(b, query), 200);

	assert_int_equal(bench_ask(b, "command=createRejoinToken&hostid=1&keepcertificate=true"), 200);
	assert_string_equal(bench_at(b, "createrejointokenresponse/jointoken/hostname"), "kvm1");
	assert_string_equal(bench_at(b, "createrejointokenresponse/jointoken/keepcertificate"), "true");
	assert_int_equal(bench_ask(b, "command=listJoinTokens&state=valid"), 200);
	assert_string_equal(bench_at(b, "listjointokensresponse/count"), "1");
	assert_string_equal(bench_at(b, "listjointokensresponse/jointoken/0/hostname"), "kvm1");
}

static void accounts_live_and_end(void **state)
{
	struct bench *b = *state;
	char key[128], secret[128];

	assert_int_equal(bench_ask(b, "command=createAccount&name=a%20b"), 431);
	assert_int_equal(bench_ask(b, "command=createAccount"), 431);
	assert_int_equal(bench_ask(b, "command=createAccount&name=joe"), 200);
	str_copy(key, sizeof(key), bench_at(b, "createaccountresponse/account/apikey"));
	str_copy(secret, sizeof(secret), bench_at(b, "createaccountresponse/account/secretkey"));
	assert_int_equal(bench_ask(b, "command=createAccount&name=joe"), 431);

	assert_int_equal(bench_ask_signed(b, "192.0.2.1", key, secret, "command=listAccounts"), 200);
	assert_string_equal(bench_at(b, "listaccountsresponse/account/0/name"), "joe");
	assert_null(strstr(b->text, secret));
	assert_int_equal(bench_ask_signed(b, "192.0.2.1", key, secret, "command=createAccount&name=jane"), 200);
	assert_int_equal(bench_ask_signed(b, "192.0.2.1", key, secret, "command=listEvents&type=ACCOUNT.CREATE"), 200);
	assert_non_null(strstr(b->text, "joe made account jane"));

	assert_int_equal(bench_ask(b, "command=deleteAccount&name=joe"), 200);
	assert_int_equal(bench_ask_signed(b, "192.0.2.1", key, secret, "command=listAccounts"), 401);
	assert_int_equal(bench_ask(b, "command=deleteAccount&name=joe"), 431);
}

/* ---- trouble ---- */

static void nobody_hears_what_was_forgotten(void **state)
{
	struct bench *b = *state;
	struct api_caller caller = {.is_local = true, .address = "local"};
	struct api_param params[] = {{"command", "listEvents"}};
	int user = 0;

	/* on_answer would write into a struct bench: it must not be called. */
	server_api(b->server, &caller, params, 1, NULL, &user);
	server_api_forget(b->server, &user);
	assert_int_equal(bench_ask(b, "command=listEvents"), 200);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, bench_up, bench_down)
	const struct CMUnitTest tests[] = {
		TEST(answers_have_the_shapes_of_cloudstack),
		TEST(list_apis_has_what_cloudmonkey_needs),
		TEST(only_signed_requests_are_answered),
		TEST(who_signs_with_a_literal_tilde_is_heard_too),
		TEST(another_role_may_not_do_everything),
		TEST(who_keeps_failing_is_not_looked_at),
		TEST(bad_settings_are_refused_and_change_nothing),
		TEST(settings_are_there_when_the_answer_is),
		TEST(cloudstack_agents_are_not_left_without_servers),
		TEST(hosts_show_their_lists),
		TEST(what_others_agents_confirmed_is_read_again),
		TEST(hosts_are_listed_page_by_page),
		TEST(a_reserved_host_comes_with_its_token),
		TEST(a_connected_host_goes_only_by_force),
		TEST(a_deleted_hosts_certificate_is_revoked),
		TEST(hosts_explain_themselves),
		TEST(lists_have_reasons),
		TEST(jobs_tell_how_they_ended),
		TEST(every_ended_job_has_a_result),
		TEST(tokens_live_and_end),
		TEST(accounts_live_and_end),
		TEST(nobody_hears_what_was_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
