/*
 * Configuration, and zones, pods and clusters.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store_test.h"

static int64_t version(struct store_tx *tx)
{
	int64_t v;

	ok(store_config_version(tx, &v));
	return v;
}

TX_TEST(a_value_is_written_when_it_changed)
{
	static const struct {
		const char *what;
		const char *name, *scope;
		int64_t id;
		const char *value;
		bool changed;
	} rows[] = {
		{"a new value", "a", CONFIG_GLOBAL, 0, "1", true},
		{"the same value", "a", CONFIG_GLOBAL, 0, "1", false},
		{"another value", "a", CONFIG_GLOBAL, 0, "2", true},
		{"an empty value is a value", "a", CONFIG_GLOBAL, 0, "", true},
		{"a cluster's own value", "a", "cluster", 1, "2", true},
		{"another cluster's value", "a", "cluster", 2, "2", true},
		{"removing one", "a", "cluster", 1, NULL, true},
		{"removing it again", "a", "cluster", 1, NULL, false},
		{"removing what never was", "b", CONFIG_GLOBAL, 0, NULL, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t before = version(tx);
		bool changed = !rows[i].changed;

		check_row(&rows[i], store_config_set(tx, rows[i].name, rows[i].scope, rows[i].id, rows[i].value,
						     &changed) == ERR_OK);
		check_row(&rows[i], changed == rows[i].changed);
		check_row(&rows[i], version(tx) == before + (changed ? 1 : 0));
	}
	assert_int_equal(changes_so_far(tx), 1); /* one call names it once */
	return ERR_OK;
}

TX_TEST(values_are_listed_in_order)
{
	struct config_row *rows = NULL;
	char text[100] = "";
	size_t n;
	bool changed;

	ok(store_config_list(tx, &rows, &n));
	assert_int_equal(n, 0);
	mem_free(rows);
	ok(store_config_set(tx, "b", CONFIG_GLOBAL, 0, "1", &changed));
	ok(store_config_set(tx, "a", "cluster", 2, "2", &changed));
	ok(store_config_set(tx, "a", CONFIG_GLOBAL, 0, "3", &changed));
	ok(store_config_set(tx, "a", "cluster", 1, "4", &changed));
	ok(store_config_list(tx, &rows, &n));
	for (size_t i = 0; i < n; i++) {
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s/%s/%" PRId64 "=%s ", rows[i].name,
			 rows[i].scope, rows[i].scope_id, rows[i].value);
		config_row_deinit(&rows[i]);
	}
	mem_free(rows);
	assert_string_equal(text, "a//0=3 a/cluster/1=4 a/cluster/2=2 b//0=1 ");
	return ERR_OK;
}

TX_TEST(places_are_found_by_name_or_id_or_made)
{
	static const struct {
		const char *what;
		enum place_kind kind;
		int64_t parent;
		const char *name;
		int64_t id;
		enum err error;
	} rows[] = {
		{"zone 1 exists", PLACE_ZONE, 0, "1", 1, ERR_OK},
		{"its name is default", PLACE_ZONE, 0, "default", 1, ERR_OK},
		{"no name means default", PLACE_ZONE, 0, NULL, 1, ERR_OK},
		{"a blank name too", PLACE_ZONE, 0, " ", 1, ERR_OK},
		{"another zone is made", PLACE_ZONE, 0, "berlin", 2, ERR_OK},
		{"and found", PLACE_ZONE, 0, "berlin", 2, ERR_OK},
		{"by its id too", PLACE_ZONE, 0, "2", 2, ERR_OK},
		{"a number that is no id is a name", PLACE_ZONE, 0, "9", 3, ERR_OK},
		{"and found as such", PLACE_ZONE, 0, "9", 3, ERR_OK},
		{"pod 1 exists in zone 1", PLACE_POD, 1, "1", 1, ERR_OK},
		{"but not in zone 2: a pod of that name is made", PLACE_POD, 2, "1", 2, ERR_OK},
		{"which is what the name means there", PLACE_POD, 2, "1", 2, ERR_OK},
		{"each zone has its own default pod", PLACE_POD, 2, "default", 3, ERR_OK},
		{"cluster 1 exists in pod 1", PLACE_CLUSTER, 1, "default", 1, ERR_OK},
		{"a cluster is made in another pod", PLACE_CLUSTER, 3, "c", 2, ERR_OK},
		{"a pod needs its zone", PLACE_POD, 99, "p", 0, ERR_NOT_FOUND},
		{"a cluster needs its pod", PLACE_CLUSTER, 99, "c", 0, ERR_NOT_FOUND},
		{"a zone has no parent", PLACE_ZONE, 5, "z", 0, ERR_NOT_FOUND},
	};
	struct place_row *places = NULL;
	char text[200] = "";
	size_t n;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t id = 0;

		check_row(&rows[i], store_place_find_or_make(tx, rows[i].kind, rows[i].parent, rows[i].name,
							     some_uuid(), &id) == rows[i].error);
		check_row(&rows[i], id == rows[i].id);
	}
	ok(store_place_list(tx, &places, &n));
	for (size_t i = 0; i < n; i++) {
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%d:%" PRId64 "/%" PRId64 "=%s ",
			 (int)places[i].kind, places[i].parent, places[i].id, places[i].name);
		assert_true(uuid_is_valid(places[i].uuid));
		place_row_deinit(&places[i]);
	}
	mem_free(places);
	assert_string_equal(text, "0:0/1=default 0:0/2=berlin 0:0/3=9 1:1/1=default 1:2/2=1 1:2/3=default "
				  "2:1/1=default 2:3/2=c ");
	return ERR_OK;
}

TX_TEST(a_new_place_is_a_change_and_needs_a_uuid_of_its_own)
{
	int64_t id;
	const char *uuid = some_uuid();

	ok(store_place_find_or_make(tx, PLACE_ZONE, 0, "default", uuid, &id));
	assert_int_equal(changes_so_far(tx), 0);
	ok(store_place_find_or_make(tx, PLACE_ZONE, 0, "a", uuid, &id));
	assert_int_equal(changes_so_far(tx), 1);
	err_is(store_place_find_or_make(tx, PLACE_ZONE, 0, "b", uuid, &id), ERR_EXISTS);
	return ERR_OK;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_value_is_written_when_it_changed),
		cmocka_unit_test(values_are_listed_in_order),
		cmocka_unit_test(places_are_found_by_name_or_id_or_made),
		cmocka_unit_test(a_new_place_is_a_change_and_needs_a_uuid_of_its_own),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
