/*
 * listPlacement: what plans start from.
 */
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "check.h"

#define SET "command=updateConfiguration&name="
#define N_MANY 2300
#define AT(path) bench_at(b, "listplacementresponse/" path)

static void ask(struct bench *b, const char *query)
{
	if (bench_ask(b, query) != 200)
		fail_msg("%s: %s", query, b->text);
}

/* The entry that means this server, whose port is any. */
static const char *own_entry(struct bench *b, char out[64])
{
	snprintf(out, 64, "127.0.0.1:%d", (int)server_port(b->server));
	return out;
}

/* The setting `host`, with %s for that entry. */
static void set_host(struct bench *b, const char *format)
{
	char own[64], value[128], query[256];

	snprintf(value, sizeof(value), format, own_entry(b, own));
	snprintf(query, sizeof(query), SET "host&forced=true&value=%s", value);
	ask(b, query);
}

static int64_t host_with(struct bench *b, const char *name, enum host_status status, const char *format)
{
	char own[64], list[128];

	snprintf(list, sizeof(list), format, own_entry(b, own));
	return bench_host(b, name, server_msid(b->server), status, list);
}

static void servers_and_settings_are_there_without_hosts(void **state)
{
	struct bench *b = *state;
	char own[64];

	set_host(b, "%s,M2");
	ask(b, SET "indirect.agent.lb.algorithm&value=roundrobin");
	ask(b, SET "indirect.agent.lb.check.interval&value=60");
	ask(b, SET "agent.failback.rate&value=7");
	ask(b, "command=listPlacement");
	assert_string_equal(AT("algorithm"), "roundrobin");
	assert_string_equal(AT("interval"), "60");
	assert_string_equal(AT("rate"), "7");
	assert_string_equal(AT("burst"), "20");
	assert_string_equal(AT("count"), "0");
	assert_string_equal(AT("servers/0/name"), own_entry(b, own));
	assert_string_equal(AT("servers/0/server"), "ms1");
	assert_string_equal(AT("servers/0/state"), "Up");
	assert_non_null(AT("servers/0/serverid"));
	assert_string_equal(AT("servers/1/name"), "M2");
	assert_string_equal(AT("servers/1/weight"), "1");
	assert_null(AT("servers/1/state"));
	assert_null(strstr(b->text, "\"hosts\""));
	assert_non_null(strstr(b->text, "\"frozen\":false"));
	ask(b, "command=freezeHosts");
	ask(b, "command=listPlacement");
	assert_non_null(strstr(b->text, "\"frozen\":true"));
}

static void hosts_have_the_list_that_they_should_have(void **state)
{
	struct bench *b = *state;
	char own[64];

	own_entry(b, own);
	set_host(b, "%s,M2:8251");
	ask(b, SET "indirect.agent.lb.algorithm&value=roundrobin");
	host_with(b, "kvm1", HOST_UP, "%s,M2:8251@roundrobin");
	host_with(b, "kvm2", HOST_UP, "%s,M2:8251@static");
	bench_host(b, "kvm3", 0, HOST_CREATING, NULL);
	ask(b, "command=listPlacement");
	assert_string_equal(AT("count"), "3");

	assert_string_equal(AT("hosts/0/id"), "1");
	assert_string_equal(AT("hosts/0/name"), "kvm1");
	assert_string_equal(AT("hosts/0/zone"), "default");
	assert_string_equal(AT("hosts/0/slot"), "0");
	assert_string_equal(AT("hosts/0/list/0"), own);
	assert_string_equal(AT("hosts/0/on"), own);
	assert_non_null(AT("hosts/0/serverid"));
	/* It has the list: nothing more to say. */
	assert_null(AT("hosts/0/confirmed/0"));

	assert_string_equal(AT("hosts/1/list/0"), "M2:8251");
	assert_string_equal(AT("hosts/1/confirmed/0"), own);
	assert_string_equal(AT("hosts/1/on"), own);

	assert_string_equal(AT("hosts/2/list/0"), own);
	assert_non_null(strstr(b->text, "\"confirmed\":[]"));
	assert_null(AT("hosts/2/on"));

	/* An order that was drawn is kept as it is. */
	ask(b, SET "indirect.agent.lb.algorithm&value=shuffle");
	ask(b, "command=listPlacement&keyword=kvm2");
	assert_string_equal(AT("count"), "1");
	assert_string_equal(AT("hosts/0/list/0"), own);
	assert_null(AT("hosts/0/confirmed/0"));
}

static void who_is_on_a_server_that_is_in_no_list_is_told_too(void **state)
{
	struct bench *b = *state;
	char own[64];

	set_host(b, "M2,M3");
	host_with(b, "kvm1", HOST_UP, "%s@static");
	ask(b, "command=listPlacement");
	assert_string_equal(AT("hosts/0/list/0"), "M2");
	assert_string_equal(AT("hosts/0/on"), own_entry(b, own));
}

/* CloudStack agents have no ports in their lists; a plan counts by the entries of the setting. */
static enum err make_cloudstack(struct store_tx *tx, void *arg)
{
	struct host_row row;
	enum err e = store_host_get(tx, 1, &row);

	if (e)
		return e;
	row.is_muster = false;
	e = store_host_describe(tx, &row);
	host_row_deinit(&row);
	return e;
}

static void entries_are_spelled_as_in_the_setting(void **state)
{
	struct bench *b = *state;

	set_host(b, "M2:8251,%s");
	bench_host(b, "kvm1", server_msid(b->server), HOST_UP, "M2,127.0.0.1@static");
	bench_store(b, make_cloudstack, NULL);
	ask(b, "command=listPlacement");
	assert_string_equal(AT("hosts/0/list/0"), "M2:8251");
	assert_string_equal(AT("hosts/0/confirmed/0"), "M2");
}

static enum err make_many(struct store_tx *tx, void *arg)
{
	enum err e = ERR_OK;

	for (int i = 0; !e && i < N_MANY; i++) {
		struct host_row row = {.zone_id = 1, .pod_id = 1, .cluster_id = 1, .is_muster = true};
		char guid[UUID_TEXT], name[32];
		uint8_t random[16] = {0};

		memcpy(random, &i, sizeof(i));
		uuid_from_bytes(guid, random);
		random[15] = 1;
		uuid_from_bytes(row.uuid, random);
		snprintf(name, sizeof(name), "kvm%d", i + 1);
		row.guid = mem_strdup(guid);
		row.name = mem_strdup(name);
		row.type = mem_strdup("Routing");
		e = store_host_create(tx, &row);
		host_row_deinit(&row);
	}
	return e;
}

static bool are_known(struct bench *b, void *arg)
{
	return roster_n_hosts(b->server) == N_MANY;
}

static void large_fleets_come_in_pages(void **state)
{
	struct bench *b = *state;
	int n = 0;

	bench_store(b, make_many, NULL);
	bench_until(b, are_known, NULL);
	for (int page = 1; page <= 3; page++) {
		char query[80];

		snprintf(query, sizeof(query), "command=listPlacement&page=%d&pagesize=1000", page);
		ask(b, query);
		assert_string_equal(AT("count"), "2300");
		assert_non_null(AT("servers/0/name"));
		n += (int)json_array_size(json_object_get(json_object_get(b->body, "listplacementresponse"), "hosts"));
		assert_int_equal(atoi(AT("hosts/0/id")), (page - 1) * 1000 + 1);
	}
	assert_int_equal(n, N_MANY);
	/* That is how long pages are when nobody says so. */
	ask(b, "command=listPlacement");
	assert_non_null(AT("hosts/999/id"));
	assert_null(AT("hosts/1000/id"));
	ask(b, "command=listPlacement&page=4&pagesize=1000");
	assert_string_equal(AT("count"), "2300");
	assert_null(strstr(b->text, "\"hosts\""));
	assert_int_equal(bench_ask(b, "command=listPlacement&page=1&pagesize=1001"), 431);
	ask(b, "command=listPlacement&pagesize=-1");
	assert_non_null(AT("hosts/2299/id"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_up, bench_down)
	const struct CMUnitTest tests[] = {
		TEST(servers_and_settings_are_there_without_hosts),
		TEST(hosts_have_the_list_that_they_should_have),
		TEST(who_is_on_a_server_that_is_in_no_list_is_told_too),
		TEST(entries_are_spelled_as_in_the_setting),
		TEST(large_fleets_come_in_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
