/*
 * What the demonstration takes for converged: servers are stood in for by processes that only wait.
 */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "check.h"
#include "cli/demo.h"

#define ENTRY_1 "127.0.0.1:9000"
#define ENTRY_2 "127.0.0.2:9000"
#define ENTRY_3 "127.0.0.3:9000"

static pid_t start_waiting(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		for (;;)
			pause();
	}
	return pid;
}

static void fleet_init(struct demo *d, enum algorithm a, size_t n_phases)
{
	static const char *const entries[] = {ENTRY_1, ENTRY_2, ENTRY_3};

	*d = (struct demo){.n_servers = 3, .n_agents = 2, .in_force = a, .phases = json_array()};
	for (size_t i = 0; i < d->n_servers; i++) {
		str_copy(d->servers[i].entry, sizeof(d->servers[i].entry), entries[i]);
		d->servers[i].child.pid = start_waiting();
	}
	for (size_t i = 0; i < d->n_agents; i++)
		snprintf(d->agents[i].name, sizeof(d->agents[i].name), "H%c", (char)('1' + i));
	for (size_t i = 0; i < n_phases; i++)
		json_array_append_new(d->phases, json_null());
}

static void fleet_deinit(struct demo *d)
{
	for (size_t i = 0; i < d->n_servers; i++) {
		child_signal(&d->servers[i].child, SIGKILL);
		assert_true(child_wait(&d->servers[i].child, 5000));
	}
	json_decref(d->phases);
	json_decref(d->hosts);
}

static json_t *host(const char *name, const char *const list[3], const char *algorithm, const char *connected)
{
	return json_pack("{s:s,s:s,s:[s,s,s],s:s,s:s,s:s*,s:b,s:b}", "name", name, "state", "Up", "musterlist", list[0],
			 list[1], list[2], "musteralgorithm", algorithm, "musterpreferred", list[0], "musterconnected",
			 connected, "musteroutdated", 0, "musterreconnecting", 0);
}

struct row {
	const char *what;
	enum algorithm algorithm;
	const char *lists[2][3];
	const char *connected[2];
	size_t killed; /* 1, 2, 3; 0: none */
	size_t n_phases;
	bool met;
};

static void follows_the_rules_of_core(void **state)
{
	static const struct row rows[] = {
		{"static: the order of the servers, all on the first",
		 ALGORITHM_STATIC,
		 {{ENTRY_1, ENTRY_2, ENTRY_3}, {ENTRY_1, ENTRY_2, ENTRY_3}},
		 {ENTRY_1, ENTRY_1},
		 0,
		 0,
		 true},
		{"static: a turned list is wrong",
		 ALGORITHM_STATIC,
		 {{ENTRY_1, ENTRY_2, ENTRY_3}, {ENTRY_2, ENTRY_3, ENTRY_1}},
		 {ENTRY_1, ENTRY_2},
		 0,
		 0,
		 false},
		{"roundrobin: each one further",
		 ALGORITHM_ROUNDROBIN,
		 {{ENTRY_1, ENTRY_2, ENTRY_3}, {ENTRY_2, ENTRY_3, ENTRY_1}},
		 {ENTRY_1, ENTRY_2},
		 0,
		 1,
		 true},
		{"not there yet",
		 ALGORITHM_ROUNDROBIN,
		 {{ENTRY_1, ENTRY_2, ENTRY_3}, {ENTRY_2, ENTRY_3, ENTRY_1}},
		 {ENTRY_1, ENTRY_1},
		 0,
		 1,
		 false},
		{"no connection",
		 ALGORITHM_ROUNDROBIN,
		 {{ENTRY_1, ENTRY_2, ENTRY_3}, {ENTRY_2, ENTRY_3, ENTRY_1}},
		 {ENTRY_1, NULL},
		 0,
		 1,
		 false},
		{"the dead server's agents are on another",
		 ALGORITHM_ROUNDROBIN,
		 {{ENTRY_1, ENTRY_2, ENTRY_3}, {ENTRY_2, ENTRY_3, ENTRY_1}},
		 {ENTRY_2, ENTRY_2},
		 1,
		 2,
		 true},
		{"nobody is on a dead server",
		 ALGORITHM_ROUNDROBIN,
		 {{ENTRY_1, ENTRY_2, ENTRY_3}, {ENTRY_2, ENTRY_3, ENTRY_1}},
		 {ENTRY_1, ENTRY_2},
		 1,
		 2,
		 false},
		{"the others stay",
		 ALGORITHM_ROUNDROBIN,
		 {{ENTRY_1, ENTRY_2, ENTRY_3}, {ENTRY_2, ENTRY_3, ENTRY_1}},
		 {ENTRY_3, ENTRY_3},
		 1,
		 2,
		 false},
		{"shuffle: any order, on the first of it after a new list",
		 ALGORITHM_SHUFFLE,
		 {{ENTRY_3, ENTRY_1, ENTRY_2}, {ENTRY_2, ENTRY_1, ENTRY_3}},
		 {ENTRY_3, ENTRY_2},
		 0,
		 1,
		 true},
		{"shuffle: each server once",
		 ALGORITHM_SHUFFLE,
		 {{ENTRY_3, ENTRY_3, ENTRY_2}, {ENTRY_2, ENTRY_1, ENTRY_3}},
		 {ENTRY_3, ENTRY_2},
		 0,
		 1,
		 false},
		{"shuffle: not yet on the first",
		 ALGORITHM_SHUFFLE,
		 {{ENTRY_3, ENTRY_1, ENTRY_2}, {ENTRY_2, ENTRY_1, ENTRY_3}},
		 {ENTRY_1, ENTRY_2},
		 0,
		 1,
		 false},
		{"balanced: any order, evenly preferred",
		 ALGORITHM_BALANCED,
		 {{ENTRY_3, ENTRY_1, ENTRY_2}, {ENTRY_2, ENTRY_1, ENTRY_3}},
		 {ENTRY_3, ENTRY_2},
		 0,
		 1,
		 true},
		{"balanced: two prefer one, nobody another",
		 ALGORITHM_BALANCED,
		 {{ENTRY_3, ENTRY_1, ENTRY_2}, {ENTRY_3, ENTRY_2, ENTRY_1}},
		 {ENTRY_3, ENTRY_3},
		 0,
		 1,
		 false},
		{"shuffle: later any server will do",
		 ALGORITHM_SHUFFLE,
		 {{ENTRY_3, ENTRY_1, ENTRY_2}, {ENTRY_2, ENTRY_1, ENTRY_3}},
		 {ENTRY_1, ENTRY_2},
		 0,
		 3,
		 true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		struct why why = WHY_NONE;
		struct demo d;

		fleet_init(&d, row->algorithm, row->n_phases);
		d.hosts = json_array();
		for (size_t h = 0; h < d.n_agents; h++)
			json_array_append_new(d.hosts, host(d.agents[h].name, row->lists[h],
							    algorithm_name(row->algorithm), row->connected[h]));
		if (row->killed) {
			child_signal(&d.servers[row->killed - 1].child, SIGKILL);
			assert_true(child_wait(&d.servers[row->killed - 1].child, 5000));
		}
		check_row(row, expect_met(&d, &why) == row->met);
		check_row(row, row->met || *why.text);
		fleet_deinit(&d);
	}
}

static void everybody_has_to_be_there(void **state)
{
	static const char *const list[] = {ENTRY_1, ENTRY_2, ENTRY_3};
	struct why why = WHY_NONE;
	struct demo d;

	fleet_init(&d, ALGORITHM_STATIC, 0);
	assert_false(expect_met(&d, &why));
	d.hosts = json_array();
	json_array_append_new(d.hosts, host("H1", list, "static", ENTRY_1));
	assert_false(expect_met(&d, &why));
	assert_string_equal(why.text, "1 of 2 hosts are known");
	json_array_append_new(d.hosts, host("H2", list, "static", ENTRY_1));
	assert_true(expect_met(&d, &why));
	json_object_set_new(json_array_get(d.hosts, 1), "state", json_string("Alert"));
	assert_false(expect_met(&d, &why));
	assert_string_equal(why.text, "H2 is Alert");
	json_object_set_new(json_array_get(d.hosts, 1), "state", json_string("Up"));
	json_object_set_new(json_array_get(d.hosts, 1), "musteroutdated", json_true());
	assert_false(expect_met(&d, &why));
	fleet_deinit(&d);
}

static void the_busiest_server_is_the_victim(void **state)
{
	static const char *const list[] = {ENTRY_1, ENTRY_2, ENTRY_3};
	struct demo d;

	fleet_init(&d, ALGORITHM_STATIC, 0);
	assert_int_equal(busiest_server(&d), 0);
	d.hosts = json_array();
	json_array_append_new(d.hosts, host("H1", list, "static", ENTRY_1));
	json_array_append_new(d.hosts, host("H2", list, "static", ENTRY_3));
	json_array_append_new(d.hosts, host("H3", list, "static", ENTRY_3));
	assert_int_equal(busiest_server(&d), 2);
	fleet_deinit(&d);
}

static void an_end_is_described(void **state)
{
	struct child c = {.pid = start_waiting()};
	char text[96];

	assert_true(child_is_alive(&c));
	assert_false(child_wait(&c, 0));
	child_signal(&c, SIGKILL);
	assert_true(child_wait(&c, 5000));
	child_describe_end(text, sizeof(text), &c);
	assert_string_equal(text, "was ended by signal 9 (Killed)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_the_rules_of_core),
		cmocka_unit_test(everybody_has_to_be_there),
		cmocka_unit_test(the_busiest_server_is_the_victim),
		cmocka_unit_test(an_end_is_described),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
