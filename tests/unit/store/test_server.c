/*
 * Management servers and how they see each other.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store_test.h"

static struct server_row server_like(int64_t msid, int64_t run_id)
{
	struct server_row row = {
		.msid = msid,
		.run_id = run_id,
		.name = (char[]){"name"},
		.address = (char[]){"10.0.0.1"},
		.port = 8250,
		.version = (char[]){"0.1.0"},
	};

	str_copy(row.uuid, sizeof(row.uuid), some_uuid());
	return row;
}

static void registered(struct store_tx *tx, int64_t msid, int64_t run_id)
{
	static char name[] = "name";
	static char address[] = "10.0.0.1";
	struct server_row row = server_like(msid, run_id);

	row.name = name;
	row.address = address;
	row.version = NULL;
	ok(store_server_register(tx, &row));
}

/* "id:msid:run:state" of all that are not removed. */
static void servers_are(struct store_tx *tx, const char *expected)
{
	struct server_row *rows = NULL;
	char text[200] = "";
	size_t n;

	ok(store_server_list(tx, &rows, &n));
	for (size_t i = 0; i < n; i++) {
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%" PRId64 ":%" PRId64 ":%" PRId64 ":%s ",
			 rows[i].id, rows[i].msid, rows[i].run_id, server_state_name(rows[i].state));
		server_row_deinit(&rows[i]);
	}
	mem_free(rows);
	assert_string_equal(text, expected);
}

TX_TEST(servers_are_listed_in_the_order_of_registration)
{
	struct server_row bad = {.msid = 0};

	servers_are(tx, "");
	registered(tx, MS_B, 1);
	registered(tx, MS_A, 1);
	servers_are(tx, "1:102:1:Up 2:101:1:Up ");
	registered(tx, MS_B, 2);
	servers_are(tx, "1:102:2:Up 2:101:1:Up ");
	err_is(store_server_register(tx, &bad), ERR_INVALID);
	/* Three of the servers, one of the entry that lists are made from: both have the same address. */
	assert_int_equal(changes_so_far(tx), 4);
	return ERR_OK;
}

TX_TEST(a_new_run_keeps_id_and_uuid)
{
	char uuid[UUID_TEXT];
	static char name[] = "n", version[] = "0.2.0", address[] = "10.0.0.9";
	struct server_row row = {.msid = MS_A, .run_id = 1, .port = 8250};
	struct server_row *rows;
	size_t n;

	str_copy(row.uuid, sizeof(row.uuid), some_uuid());
	str_copy(uuid, sizeof(uuid), row.uuid);
	ok(store_server_register(tx, &row));
	assert_int_equal(row.id, 1);
	assert_int_equal(row.state, SERVER_UP);
	assert_int_equal(row.started_ms, WALL);
	row = (struct server_row){
		.msid = MS_A, .run_id = 2, .port = 9, .name = name, .version = version, .address = address};
	str_copy(row.uuid, sizeof(row.uuid), some_uuid());
	store_tx_by(tx, MS_A, WALL + 1);
	ok(store_server_register(tx, &row));
	assert_int_equal(row.id, 1);
	assert_string_equal(row.uuid, uuid);
	ok(store_server_list(tx, &rows, &n));
	assert_int_equal(n, 1);
	assert_string_equal(rows[0].uuid, uuid);
	assert_string_equal(rows[0].name, "n");
	assert_string_equal(rows[0].version, "0.2.0");
	assert_string_equal(rows[0].address, "10.0.0.9");
	assert_int_equal(rows[0].port, 9);
	assert_int_equal(rows[0].started_ms, WALL + 1);
	assert_int_equal(rows[0].last_update_ms, WALL + 1);
	server_row_deinit(&rows[0]);
	mem_free(rows);
	return ERR_OK;
}

TX_TEST(a_heartbeat_is_for_the_current_run)
{
	struct server_row *rows;
	size_t n;
	enum server_state to;
	int64_t seq;

	err_is(store_server_heartbeat(tx, MS_A, 1), ERR_CONFLICT);
	registered(tx, MS_A, 1);
	seq = changes_so_far(tx);
	store_tx_by(tx, MS_A, WALL + 5);
	ok(store_server_heartbeat(tx, MS_A, 1));
	assert_int_equal(changes_so_far(tx), seq);
	ok(store_server_list(tx, &rows, &n));
	assert_int_equal(rows[0].last_update_ms, WALL + 5);
	server_row_deinit(&rows[0]);
	mem_free(rows);
	registered(tx, MS_A, 2);
	err_is(store_server_heartbeat(tx, MS_A, 1), ERR_CONFLICT);
	assert_non_null(strstr(why->text, "run 2 of server 101 has taken over from run 1"));
	/* Taken for dead, but alive: it is Up again, and others hear of it. */
	ok(store_server_event(tx, MS_A, SERVER_EVENT_LOST, &to));
	servers_are(tx, "1:101:2:Down ");
	registered(tx, MS_B, 1);
	seq = changes_so_far(tx);
	ok(store_server_heartbeat(tx, MS_A, 2));
	servers_are(tx, "1:101:2:Up 2:102:1:Up ");
	assert_int_equal(changes_so_far(tx), seq + 1);
	return ERR_OK;
}

/* Which cluster key it has: said when it registers and when that changes, and it stays when it is gone. */
TX_TEST(a_server_says_which_key_it_has)
{
	struct server_row row = server_like(MS_A, 1);
	struct server_row *rows = NULL;
	static char id[] = "0123456789abcdef", name[] = "name", address[] = "10.0.0.1";
	static const char *const expected[] = {"0123456789abcdef", "none", NULL};
	size_t n = 0;
	int64_t changes;

	row.name = name;
	row.address = address;
	row.version = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		row.key_id = i == 0 ? id : NULL;
		row.run_id = (int64_t)i + 1;
		if (i != 1)
			ok(store_server_register(tx, &row));
		else
			ok(store_server_key(tx, MS_A, "none"));
		ok(store_server_list(tx, &rows, &n));
		assert_int_equal(n, 1);
		if (expected[i])
			assert_string_equal(rows[0].key_id, expected[i]);
		else
			assert_null(rows[0].key_id);
		server_row_deinit(&rows[0]);
		mem_free(rows);
	}
	ok(store_server_key(tx, MS_A, id));
	changes = changes_so_far(tx);
	ok(store_server_key(tx, MS_A, id));
	assert_int_equal(changes_so_far(tx), changes);
	err_is(store_server_key(tx, MS_B, id), ERR_NOT_FOUND);
	return ERR_OK;
}

TX_TEST(states_follow_their_table)
{
	enum server_state to = SERVER_DOWN;
	struct server_row *rows;
	size_t n;

	err_is(store_server_event(tx, MS_A, SERVER_EVENT_STOP, &to), ERR_NOT_FOUND);
	registered(tx, MS_A, 1);
	err_is(store_server_event(tx, MS_A, SERVER_EVENT_JOBS_DONE, &to), ERR_STATE);
	assert_int_equal(to, SERVER_DOWN);
	ok(store_server_event(tx, MS_A, SERVER_EVENT_PREPARE_MAINTENANCE, &to));
	assert_int_equal(to, SERVER_PREPARING_FOR_MAINTENANCE);
	ok(store_server_event(tx, MS_A, SERVER_EVENT_ENTER_MAINTENANCE, &to));
	ok(store_server_event(tx, MS_A, SERVER_EVENT_STOP, &to));
	assert_int_equal(to, SERVER_MAINTENANCE);
	ok(store_server_list(tx, &rows, &n));
	assert_int_equal(rows[0].stopped_ms, WALL);
	server_row_deinit(&rows[0]);
	mem_free(rows);
	/* Maintenance outlives a restart. */
	registered(tx, MS_A, 2);
	servers_are(tx, "1:101:2:Maintenance ");
	return ERR_OK;
}

TX_TEST(a_removed_server_is_gone_until_it_comes_back)
{
	enum server_state to;

	registered(tx, MS_A, 1);
	registered(tx, MS_B, 1);
	err_is(store_server_remove(tx, MS_A), ERR_STATE);
	err_is(store_server_remove(tx, MS_C), ERR_NOT_FOUND);
	ok(store_server_event(tx, MS_A, SERVER_EVENT_STOP, &to));
	ok(store_server_remove(tx, MS_A));
	servers_are(tx, "2:102:1:Up ");
	err_is(store_server_remove(tx, MS_A), ERR_NOT_FOUND);
	err_is(store_server_event(tx, MS_A, SERVER_EVENT_LOST, &to), ERR_NOT_FOUND);
	/* Its heartbeat brings it back, and its start too. */
	ok(store_server_heartbeat(tx, MS_A, 1));
	servers_are(tx, "1:101:1:Up 2:102:1:Up ");
	ok(store_server_event(tx, MS_A, SERVER_EVENT_STOP, &to));
	ok(store_server_remove(tx, MS_A));
	registered(tx, MS_A, 2);
	servers_are(tx, "1:101:2:Up 2:102:1:Up ");
	return ERR_OK;
}

TX_TEST(views_are_kept_for_each_pair)
{
	struct peer_view *views = NULL;
	enum server_state to;
	size_t n;
	int64_t seq;

	registered(tx, MS_A, 1);
	registered(tx, MS_B, 1);
	err_is(store_peer_view_set(tx, MS_A, MS_C, "up"), ERR_NOT_FOUND);
	ok(store_peer_view_set(tx, MS_A, MS_B, "up"));
	ok(store_peer_view_set(tx, MS_B, MS_A, "up"));
	seq = changes_so_far(tx);
	store_tx_by(tx, MS_A, WALL + 1);
	ok(store_peer_view_set(tx, MS_A, MS_B, "up"));
	assert_int_equal(changes_so_far(tx), seq);
	ok(store_peer_view_set(tx, MS_A, MS_B, "down"));
	assert_int_equal(changes_so_far(tx), seq + 1);
	ok(store_peer_view_list(tx, &views, &n));
	assert_int_equal(n, 2);
	assert_int_equal(views[0].owner, MS_A);
	assert_int_equal(views[0].peer, MS_B);
	assert_string_equal(views[0].view, "down");
	assert_int_equal(views[0].at_ms, WALL + 1);
	assert_int_equal(views[1].at_ms, WALL);
	peer_view_deinit(&views[0]);
	peer_view_deinit(&views[1]);
	mem_free(views);
	/* A new run starts with a clean sheet, and a removed server has none. */
	registered(tx, MS_B, 2);
	ok(store_peer_view_list(tx, &views, &n));
	assert_int_equal(n, 0);
	mem_free(views);
	ok(store_peer_view_set(tx, MS_A, MS_B, "up"));
	ok(store_server_event(tx, MS_B, SERVER_EVENT_STOP, &to));
	ok(store_server_remove(tx, MS_B));
	ok(store_peer_view_list(tx, &views, &n));
	assert_int_equal(n, 0);
	mem_free(views);
	return ERR_OK;
}

TX_TEST(a_drain_is_what_was_asked_last_and_how_far_it_is)
{
	struct drain_row ask = {
		.msid = MS_A, .per_s = 5, .timeout_ms = 60000, .forced = true, .algorithm = (char[]){"shuffle"}};
	struct drain_row got, *rows = NULL;
	size_t n = 0;

	err_is(store_drain_ask(tx, &ask), ERR_NOT_FOUND);
	registered(tx, MS_A, 1);
	err_is(store_drain_get(tx, MS_A, &got), ERR_NOT_FOUND);
	err_is(store_drain_report(tx, MS_A, "{}"), ERR_NOT_FOUND);
	ok(store_drain_ask(tx, &ask));
	ok(store_drain_get(tx, MS_A, &got));
	assert_int_equal(got.per_s, 5);
	assert_int_equal(got.timeout_ms, 60000);
	assert_true(got.forced);
	assert_string_equal(got.algorithm, "shuffle");
	assert_null(got.asked_by);
	assert_null(got.report);
	assert_int_equal(got.asked_ms, WALL);
	drain_row_deinit(&got);

	store_tx_by(tx, MS_A, WALL + 7);
	ok(store_drain_report(tx, MS_A, "{\"total\":3}"));
	ok(store_drain_list(tx, &rows, &n));
	assert_int_equal(n, 1);
	assert_string_equal(rows[0].report, "{\"total\":3}");
	assert_int_equal(rows[0].reported_ms, WALL + 7);
	drain_row_deinit(&rows[0]);
	mem_free(rows);

	/* The next one begins without the report of the last. */
	ok(store_drain_ask(tx, &(struct drain_row){.msid = MS_A, .asked_by = (char[]){"admin"}}));
	ok(store_drain_get(tx, MS_A, &got));
	assert_null(got.report);
	assert_null(got.algorithm);
	assert_false(got.forced);
	assert_string_equal(got.asked_by, "admin");
	drain_row_deinit(&got);
	return ERR_OK;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(servers_are_listed_in_the_order_of_registration),
		cmocka_unit_test(a_new_run_keeps_id_and_uuid),
		cmocka_unit_test(a_heartbeat_is_for_the_current_run),
		cmocka_unit_test(a_server_says_which_key_it_has),
		cmocka_unit_test(states_follow_their_table),
		cmocka_unit_test(a_removed_server_is_gone_until_it_comes_back),
		cmocka_unit_test(views_are_kept_for_each_pair),
		cmocka_unit_test(a_drain_is_what_was_asked_last_and_how_far_it_is),
	};

	return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
