#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "check.h"
#include "net/world_uv.h"

static void every_agent_has_an_address_of_its_network(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		const char *network;
		size_t i;
		enum err e;
		const char *address;
	} rows[] = {
		{ "the first", "127.0.0.0/8", 0, ERR_OK, "127.0.0.1" },
		{ "the next", "127.0.0.0/8", 1, ERR_OK, "127.0.0.2" },
		{ "many", "127.0.0.0/8", 9999, ERR_OK, "127.0.39.16" },
		{ "an address of the network means the network", "10.1.2.3/16", 0, ERR_OK, "10.1.0.1" },
		{ "more agents than addresses: it begins again", "10.1.2.0/30", 2, ERR_OK, "10.1.2.1" },
		{ "neither the first nor the last address is taken", "10.1.2.0/30", 1, ERR_OK, "10.1.2.2" },
		{ "one address for all", "10.1.2.3", 7, ERR_OK, "10.1.2.3" },
		{ "one address, written as a network", "10.1.2.3/32", 7, ERR_OK, "10.1.2.3" },
		{ "any", "", 3, ERR_OK, "" },
		{ "no number of bits", "10.0.0.0/x", 0, ERR_INVALID, "" },
		{ "too many bits", "10.0.0.0/33", 0, ERR_INVALID, "" },
		{ "all addresses there are", "0.0.0.0/0", 0, ERR_INVALID, "" },
		{ "a name", "localhost", 0, ERR_INVALID, "" },
		{ "too long", "127.0.0.0000000000000000000000000000000000000000000000000000000000000000000/8", 0, ERR_INVALID, "" },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char out[IP_TEXT] = "";
		struct why why = WHY_NONE;
		enum err e = source_of(rows[i].network, rows[i].i, out, &why);

		check_row(&rows[i], e == rows[i].e && (e ? why.text[0] != '\0' : strcmp(out, rows[i].address) == 0));
	}
}

static void dials_stay_on_the_machine(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		bool anywhere;
		const char *ip;
		enum err e;
	} rows[] = {
		{ "loopback", false, "127.0.0.1", ERR_OK },
		{ "all of loopback", false, "127.200.3.4", ERR_OK },
		{ "loopback of IPv6", false, "::1", ERR_OK },
		{ "beside loopback", false, "128.0.0.1", ERR_REFUSED },
		{ "somebody's address", false, "203.0.113.7", ERR_REFUSED },
		{ "somebody's address of IPv6", false, "2001:db8::1", ERR_REFUSED },
		{ "no address", false, "", ERR_REFUSED },
		{ "anywhere, when told so", true, "203.0.113.7", ERR_OK },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world *w = NULL;
		struct guard *g = NULL;
		struct stream *s = NULL;
		struct why why = WHY_NONE;

		assert_int_equal(world_uv_new(&w, &why), ERR_OK);
		assert_int_equal(guard_new(&g, w, rows[i].anywhere), ERR_OK);
		check_row(&rows[i], guard_check(g, rows[i].ip, &why) == rows[i].e);
		if (rows[i].e)
			check_row(&rows[i], stream_connect(w, &s, rows[i].ip, 9, NULL, &(struct stream_events){0}, NULL,
							   &why) == ERR_REFUSED);
		world_uv_free(w);
		guard_free(g);
	}
}

static void the_network_of_a_test_has_private_addresses(void **state)
{
	struct guard *g = NULL;
	struct world *w = NULL;
	struct why why = WHY_NONE;
	FILE *routes = fopen("/proc/self/net/route", "re");
	char line[256];
	bool has_way_out = false;

	assert_int_equal(world_uv_new(&w, &why), ERR_OK);
	assert_int_equal(guard_new(&g, w, false), ERR_OK);
	while (routes && fgets(line, sizeof(line), routes))
		has_way_out |= strstr(line, "\t00000000\t") && strstr(line, "\t00000000\t0\t0\t0");
	if (routes)
		fclose(routes);
	/* Wherever this test runs: private addresses are allowed exactly where nothing leads out. */
	assert_int_equal(guard_check(g, "10.1.2.3", &why), has_way_out || !routes ? ERR_REFUSED : ERR_OK);
	assert_int_equal(guard_check(g, "172.32.0.1", &why), ERR_REFUSED);
	world_uv_free(w);
	guard_free(g);
}

static void percentiles_are_by_nearest_rank(void **state)
{
	static const struct {
		const char *what;
		int n; /* samples 1 .. n ms, the largest first */
		double p50, p99, max;
	} rows[] = {
		{"one", 1, 1, 1, 1},
		{"two", 2, 1, 2, 2},
		{"a hundred", 100, 50, 99, 100},
		{"a thousand: the store grows", 1000, 500, 990, 1000},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct samples s = {0};
		json_t *o;

		for (int n = rows[i].n; n > 0; n--)
			assert_int_equal(samples_add(&s, (int64_t)n * 1000), ERR_OK);
		o = samples_json(&s);
		check_row(&rows[i], json_real_value(json_object_get(o, "p50_ms")) == rows[i].p50 &&
					    json_real_value(json_object_get(o, "p99_ms")) == rows[i].p99 &&
					    json_real_value(json_object_get(o, "max_ms")) == rows[i].max);
		json_decref(o);
		samples_deinit(&s);
	}
}

static void a_rate_knows_its_busiest_second(void **state)
{
	struct rate r = {0};

	for (int i = 0; i < 10; i++)
		assert_int_equal(rate_add(&r, i * 500000), ERR_OK); /* two a second */
	assert_int_equal(r.peak, 2);
	for (int i = 0; i < 300; i++)
		assert_int_equal(rate_add(&r, 10000000 + i), ERR_OK);
	assert_int_equal(r.peak, 300);
	for (int i = 0; i < 10; i++)
		assert_int_equal(rate_add(&r, 20000000 + i * 500000), ERR_OK);
	assert_int_equal(r.peak, 300);
	assert_int_equal(r.total, 320);
	rate_deinit(&r);
}

static void files_stay_in_memory_until_they_are_saved(void **state)
{
	char dir[] = "/tmp/bench-test-XXXXXX";
	struct memory_fs *m = NULL;
	struct why why = WHY_NONE;
	CLEAN(mem_freep) char *path = NULL;
	CLEAN(mem_freep) char *other = NULL;
	CLEAN(buf_deinit) struct buf text = {0};
	const struct fs *fs;

	assert_non_null(mkdtemp(dir));
	path = path_join(dir, "a");
	other = path_join(dir, "b");
	assert_int_equal(file_put(path, "old", 3, &why), ERR_OK);
	assert_int_equal(memory_fs_new(&m), ERR_OK);
	fs = memory_fs_table(m);

	/* What is on the disk is read from there. */
	assert_int_equal(file_read(fs, path, 100, &text, &why), ERR_OK);
	assert_string_equal(buf_str(&text), "old");
	assert_int_equal(file_read(fs, other, 100, &text, &why), ERR_NOT_FOUND);
	assert_false(fs->exists(fs, other));

	/* What is written stays. */
	assert_int_equal(file_replace(fs, path, 0600, "newer", 5, &why), ERR_OK);
	assert_int_equal(file_replace(fs, other, 0600, "other", 5, &why), ERR_OK);
	assert_int_equal(file_replace(fs, other, 0600, "another", 7, &why), ERR_OK);
	buf_clear(&text);
	assert_int_equal(file_read(fs, path, 100, &text, &why), ERR_OK);
	assert_string_equal(buf_str(&text), "newer");
	assert_int_equal(file_read(fs, path, 4, &text, &why), ERR_TOO_BIG);
	buf_clear(&text);
	assert_int_equal(file_read(&fs_posix, path, 100, &text, &why), ERR_OK);
	assert_string_equal(buf_str(&text), "old");
	assert_int_equal(access(other, F_OK), -1);

	/* Saved. */
	assert_int_equal(memory_fs_save(m, &why), ERR_OK);
	buf_clear(&text);
	assert_int_equal(file_read(&fs_posix, path, 100, &text, &why), ERR_OK);
	assert_string_equal(buf_str(&text), "newer");
	buf_clear(&text);
	assert_int_equal(file_read(&fs_posix, other, 100, &text, &why), ERR_OK);
	assert_string_equal(buf_str(&text), "another");

	memory_fs_free(m);
	unlink(path);
	unlink(other);
	assert_int_equal(rmdir(dir), 0);
}

static void a_folder_remembers_a_join(void **state)
{
	char dir[] = "/tmp/bench-test-XXXXXX";
	struct folder f = {0}, again = {0};
	struct why why = WHY_NONE;
	char cert[] = "cert", ca[] = "ca", guid[] = "g-1", algorithm[] = "static";
	struct msg_join_answer a = {.certificate = cert, .caCertificates = ca, .guid = guid, .lbAlgorithm = algorithm};
	struct str_list asked = {0};
	struct agent_file *file = NULL;
	CLEAN(mem_freep) char *path = NULL;
	CLEAN(mem_freep) char *command = NULL;

	assert_non_null(mkdtemp(dir));
	assert_int_equal(folder_init(&f, dir, "x1"), ERR_OK);
	assert_int_equal(folder_load(&f, &why), ERR_NOT_FOUND);
	f.key = mem_strdup("key");
	msg_set_i64(&a.hostId, 7);
	msg_set_i64(&a.port, 8250);
	msg_set_i64(&a.lbCheckInterval, 60);
	a.msHostList.has = true;
	assert_int_equal(str_list_add(&a.msHostList.list, "m2"), ERR_OK);
	assert_int_equal(str_list_add(&a.msHostList.list, "m1"), ERR_OK);
	assert_int_equal(str_list_add(&asked, "m1:8250"), ERR_OK);
	assert_int_equal(folder_write(&f, &a, &asked, &why), ERR_OK);

	assert_int_equal(folder_init(&again, dir, "x1"), ERR_OK);
	assert_int_equal(folder_load(&again, &why), ERR_OK);
	assert_string_equal(again.key, "key");
	assert_string_equal(again.cert, "cert");
	assert_string_equal(again.ca, "ca");
	path = folder_properties(&again);
	assert_int_equal(agent_file_open(&file, &fs_posix, path, &why), ERR_OK);
	assert_string_equal(agent_file_get(file, "guid"), "g-1");
	assert_string_equal(agent_file_host(file), "m2,m1@static");
	assert_string_equal(agent_file_get(file, KEY_HOST_BOOTSTRAP), "m1:8250");
	assert_int_equal(agent_file_host_id(file, RESOURCE), 7);
	assert_int_equal(agent_file_received_interval(file), 60);

	agent_file_free(file);
	str_list_deinit(&a.msHostList.list);
	str_list_deinit(&asked);
	folder_deinit(&f);
	folder_deinit(&again);
	command = mem_printf("rm -r '%s'", dir);
	assert_int_equal(system(command), 0);
}

static void the_floor_counts_handshakes(void **state)
{
	struct world *w = NULL;
	struct why why = WHY_NONE;
	json_t *o = NULL;

	assert_int_equal(world_uv_new(&w, &why), ERR_OK);
	assert_int_equal(floor_measure(&o, w, &why), ERR_OK);
	assert_true(json_real_value(json_object_get(o, "handshakes_per_s")) > 0);
	assert_true(json_integer_value(json_object_get(json_object_get(o, "handshake_alone"), "n")) > 0);
	json_decref(o);
	world_uv_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_agent_has_an_address_of_its_network),
		cmocka_unit_test(dials_stay_on_the_machine),
		cmocka_unit_test(the_network_of_a_test_has_private_addresses),
		cmocka_unit_test(percentiles_are_by_nearest_rank),
		cmocka_unit_test(a_rate_knows_its_busiest_second),
		cmocka_unit_test(files_stay_in_memory_until_they_are_saved),
		cmocka_unit_test(a_folder_remembers_a_join),
		cmocka_unit_test(the_floor_counts_handshakes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
