/*
 * Jobs and events.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store_test.h"

#define TEXT(literal) ((char *)(uintptr_t)(literal))

static struct job_row job_like(const char *uuid, int64_t msid)
{
	struct job_row row = {.command = TEXT("reconnectHost"),
			      .account = TEXT("admin"),
			      .msid = msid,
			      .instance_type = TEXT("Host")};

	str_copy(row.uuid, sizeof(row.uuid), uuid);
	return row;
}

TX_TEST(a_job_ends_once)
{
	struct job_row row = job_like("j1", MS_A);
	struct job_row got;

	ok(store_job_add(tx, &row));
	assert_int_equal(row.id, 1);
	assert_int_equal(row.created_ms, WALL);
	err_is(store_job_add(tx, &row), ERR_EXISTS);
	ok(store_job_get(tx, "j1", &got));
	assert_int_equal(got.status, 0);
	assert_null(got.result);
	assert_string_equal(got.command, "reconnectHost");
	assert_string_equal(got.instance_type, "Host");
	assert_null(got.instance_id);
	job_row_deinit(&got);
	store_tx_by(tx, MS_A, WALL + 1);
	ok(store_job_finish(tx, "j1", 1, 0, "{}"));
	err_is(store_job_finish(tx, "j1", 2, 530, "{\"late\":1}"), ERR_STATE);
	ok(store_job_get(tx, "j1", &got));
	assert_int_equal(got.status, 1);
	assert_string_equal(got.result, "{}");
	assert_int_equal(got.completed_ms, WALL + 1);
	job_row_deinit(&got);
	err_is(store_job_get(tx, "j2", &got), ERR_NOT_FOUND);
	err_is(store_job_finish(tx, "j2", 1, 0, "{}"), ERR_NOT_FOUND);
	return ERR_OK;
}

TX_TEST(jobs_of_a_dead_server_fail)
{
	struct job_row rows[] = {job_like("j1", MS_A), job_like("j2", MS_A), job_like("j3", MS_B)};
	struct job_row got;
	size_t n = 9;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		ok(store_job_add(tx, &rows[i]));
	ok(store_job_finish(tx, "j1", 1, 0, "{}"));
	ok(store_jobs_running(tx, MS_A, &n));
	assert_int_equal(n, 1);
	ok(store_jobs_fail_of(tx, MS_A, "{\"errortext\":\"the server died\"}", &n));
	assert_int_equal(n, 1);
	ok(store_job_get(tx, "j2", &got));
	assert_int_equal(got.status, 2);
	assert_int_equal(got.result_code, 530);
	assert_string_equal(got.result, "{\"errortext\":\"the server died\"}");
	job_row_deinit(&got);
	ok(store_job_get(tx, "j3", &got));
	assert_int_equal(got.status, 0);
	job_row_deinit(&got);
	err_is(store_job_finish(tx, "j2", 1, 0, "{}"), ERR_STATE);
	ok(store_jobs_fail_of(tx, MS_A, "{}", &n));
	assert_int_equal(n, 0);
	return ERR_OK;
}

TX_TEST(old_jobs_are_trimmed_and_their_ids_not_used_again)
{
	struct job_row rows[] = {job_like("j1", MS_A), job_like("j2", MS_A), job_like("j3", MS_A)};
	struct job_row next = job_like("j4", MS_A);
	struct job_row got;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		ok(store_job_add(tx, &rows[i]));
	ok(store_job_finish(tx, "j3", 1, 0, "{}"));
	store_tx_by(tx, MS_A, WALL + 10);
	ok(store_job_finish(tx, "j2", 1, 0, "{}"));
	ok(store_jobs_trim(tx, WALL + 10));
	err_is(store_job_get(tx, "j3", &got), ERR_NOT_FOUND);
	ok(store_job_get(tx, "j1", &got)); /* it runs */
	job_row_deinit(&got);
	ok(store_job_get(tx, "j2", &got));
	job_row_deinit(&got);
	ok(store_job_add(tx, &next));
	assert_int_equal(next.id, 4);
	return ERR_OK;
}

static void events_are(struct store_tx *tx, size_t limit, const char *expected)
{
	struct event_row *rows = NULL;
	char text[100] = "";
	size_t n;

	ok(store_event_list(tx, limit, &rows, &n));
	for (size_t i = 0; i < n; i++) {
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ", rows[i].description);
		assert_int_equal(rows[i].created_ms, WALL);
		assert_int_equal(rows[i].host_id, 3);
		event_row_deinit(&rows[i]);
	}
	mem_free(rows);
	assert_string_equal(text, expected);
}

TX_TEST(events_are_listed_newest_first_and_trimmed)
{
	struct event_row row = {.type = TEXT("AGENT.UP"), .level = TEXT("INFO"), .host_id = 3, .msid = MS_A};

	events_are(tx, 10, "");
	for (char name[2] = "a"; name[0] <= 'e'; name[0]++) {
		row.description = name;
		str_copy(row.uuid, sizeof(row.uuid), some_uuid());
		ok(store_event_add(tx, &row));
	}
	events_are(tx, 10, "e d c b a ");
	events_are(tx, 2, "e d ");
	ok(store_events_trim(tx, 9));
	ok(store_events_trim(tx, 5));
	events_are(tx, 10, "e d c b a ");
	ok(store_events_trim(tx, 3));
	events_are(tx, 10, "e d c ");
	ok(store_events_trim(tx, 0));
	events_are(tx, 10, "");
	assert_int_equal(changes_so_far(tx), 0);
	return ERR_OK;
}

/* Results that begin alike are found and written in another form; nobody has to read them again. */
TX_TEST(results_are_found_by_their_beginning)
{
	static const struct {
		const char *uuid, *result; /* NULL: it runs */
	} jobs[] = {{"j1", "{\"sealed\":\"a\"}"},
		    {"j2", NULL},
		    {"j3", "{}"},
		    {"j4", "{\"sealed\":\"b\"}"},
		    {"j5", "{\"SEALED\":1}"}};
	struct job_row *rows = NULL;
	size_t n = 0;
	int64_t changes;

	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
		struct job_row row = job_like(jobs[i].uuid, MS_A);

		ok(store_job_add(tx, &row));
		if (jobs[i].result)
			ok(store_job_finish(tx, jobs[i].uuid, 1, 0, jobs[i].result));
	}
	changes = changes_so_far(tx);
	ok(store_job_results(tx, "{\"sealed\":\"", &rows, &n));
	assert_int_equal(n, 2);
	assert_string_equal(rows[0].uuid, "j1");
	assert_string_equal(rows[1].uuid, "j4");
	ok(store_job_result_set(tx, rows[1].id, "{\"sealed\":\"c\"}"));
	for (size_t i = 0; i < n; i++)
		job_row_deinit(&rows[i]);
	mem_free(rows);
	ok(store_job_results(tx, "{\"sealed\":\"c", &rows, &n));
	assert_int_equal(n, 1);
	job_row_deinit(&rows[0]);
	mem_free(rows);
	assert_int_equal(changes_so_far(tx), changes);
	return ERR_OK;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_job_ends_once),
		cmocka_unit_test(jobs_of_a_dead_server_fail),
		cmocka_unit_test(old_jobs_are_trimmed_and_their_ids_not_used_again),
		cmocka_unit_test(results_are_found_by_their_beginning),
		cmocka_unit_test(events_are_listed_newest_first_and_trimmed),
	};

	return cmocka_run_group_tests_name("job", tests, NULL, NULL);
}
