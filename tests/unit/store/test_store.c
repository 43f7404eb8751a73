/*
 * Opening, groups of calls, changes, and connections that hear each other.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "failing_alloc.h"
#include "store/migrations.h"
#include "store/sql.h"
#include "store_test.h"

/* ---- small calls ---- */

static enum err set_x(struct store_tx *tx, void *arg, struct why *why)
{
	bool changed;

	return store_config_set(tx, "x", CONFIG_GLOBAL, 0, arg, &changed);
}

static enum err set_y(struct store_tx *tx, void *arg, struct why *why)
{
	bool changed;

	return store_config_set(tx, "y", CONFIG_GLOBAL, 0, arg, &changed);
}

static enum err set_x_and_fail(struct store_tx *tx, void *arg, struct why *why)
{
	ok(set_x(tx, arg, why));
	why_set(why, "changed its mind");
	return ERR_REFUSED;
}

static enum err set_x_and_forget(struct store_tx *tx, void *arg, struct why *why)
{
	err_is(set_x(tx, arg, why), ERR_STATE);
	return ERR_OK;
}

/* "name=value ..." of the whole configuration into arg, a char[200]. */
static enum err list_config(struct store_tx *tx, void *arg, struct why *why)
{
	struct config_row *rows = NULL;
	size_t n = 0;
	char *out = arg;

	ok(store_config_list(tx, &rows, &n));
	out[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		snprintf(out + strlen(out), 200 - strlen(out), "%s%s=%s", i ? " " : "", rows[i].name, rows[i].value);
		config_row_deinit(&rows[i]);
	}
	mem_free(rows);
	return ERR_OK;
}

static void config_is(struct store *s, const char *expected)
{
	char text[200];

	ok(run_one_reading(s, list_config, text, NULL));
	assert_string_equal(text, expected);
}

static enum err by_c(struct store_tx *tx, void *arg, struct why *why)
{
	store_tx_by(tx, MS_C, WALL);
	return set_x(tx, arg, why);
}

/* ---- groups ---- */

static void a_call_that_fails_undoes_itself_alone(void **state)
{
	struct store *s = open_memory();
	struct store_call one = {.run = set_x, .arg = (char[]){"1"}};
	struct store_call two = {.run = set_x_and_fail, .arg = (char[]){"2"}};
	struct store_call three = {.run = set_y, .arg = (char[]){"3"}};
	struct store_call *calls[] = {&one, &two, &three};

	ok(store_run(s, calls, 3, NULL));
	ok(one.result);
	err_is(two.result, ERR_REFUSED);
	assert_string_equal(two.why.text, "changed its mind");
	ok(three.result);
	assert_string_equal(three.why.text, "");
	config_is(s, "x=1 y=3");
	store_close(s);
}

static void a_group_of_nothing_succeeds(void **state)
{
	struct store *s = open_memory();

	ok(store_run(s, NULL, 0, NULL));
	store_close(s);
}

static void a_call_that_only_reads_cannot_write(void **state)
{
	struct store *s = open_memory();
	struct why why;

	err_is(run_one_reading(s, set_x, (char[]){"1"}, &why), ERR_STATE);
	assert_non_null(strstr(why.text, "only reads"));
	/* Also when it looks away. */
	err_is(run_one_reading(s, set_x_and_forget, (char[]){"1"}, &why), ERR_STATE);
	assert_non_null(strstr(why.text, "only reads"));
	config_is(s, "");
	store_close(s);
}

static enum err swallow(struct store_tx *tx, void *arg, struct why *why)
{
	/* A value that the table refuses is an answer, and no harm is done. */
	err_is(sql_run(tx, "INSERT INTO configuration (name) VALUES ('x')"), ERR_INVALID);
	ok(set_y(tx, (char[]){"1"}, why));
	if (arg)
		assert_int_not_equal(sql_run(tx, "INSERT INTO no_such_table VALUES (1)"), ERR_OK);
	return ERR_OK;
}

static void a_statement_that_failed_is_not_forgiven(void **state)
{
	struct store *s = open_memory();
	struct store_call one = {.run = swallow, .arg = NULL};
	struct store_call two = {.run = swallow, .arg = &two};
	struct store_call *calls[] = {&one, &two};

	ok(run_one(s, swallow, NULL, NULL));
	config_is(s, "y=1");
	/* A failure of the database is everybody's. */
	err_is(store_run(s, calls, 2, NULL), ERR_STORE);
	err_is(one.result, ERR_STORE);
	err_is(two.result, ERR_STORE);
	assert_non_null(strstr(one.why.text, "no_such_table"));
	config_is(s, "y=1");
	store_close(s);
}

static enum err ask_again(void *user, const struct host_row *row)
{
	struct host_row other;

	ok(store_host_get(user, row->id, &other));
	host_row_deinit(&other);
	return row->id == 2 ? ERR_TOO_BIG : ERR_OK;
}

TX_TEST(a_callback_may_ask_and_may_stop)
{
	host_made(tx, "a");
	host_made(tx, "b");
	host_made(tx, "c");
	err_is(store_host_list(tx, ask_again, tx), ERR_TOO_BIG);
	return ERR_OK;
}

/* ---- connections ---- */

static void two_connections_hear_each_other(const char *where)
{
	struct store *a = open_ok(where);
	struct store *b = open_ok(where);

	/* What b did to the file while it opened is over; from here on each change counts once. */
	(void)store_changed(a);
	assert_false(store_changed(a));
	assert_false(store_changed(b));
	run_ok(a, set_x, (char[]){"1"});
	assert_false(store_changed(a));
	assert_true(store_changed(b));
	assert_false(store_changed(b));
	config_is(b, "x=1");
	assert_false(store_changed(a));
	run_ok(b, set_x, (char[]){"2"});
	assert_true(store_changed(a));
	config_is(a, "x=2");
	/* Both in between two looks: the other's still counts. */
	run_ok(b, set_x, (char[]){"3"});
	run_ok(a, set_x, (char[]){"4"});
	assert_true(store_changed(a));
	store_close(a);
	store_close(b);
}

static void connections_of_one_file_hear_each_other(void **state)
{
	folder_make();
	two_connections_hear_each_other(folder_path("muster.db"));
	folder_remove();
}

static void connections_of_one_name_in_memory_hear_each_other(void **state)
{
	struct store *other = open_ok(":memory:other");

	two_connections_hear_each_other(":memory:one");
	config_is(other, "");
	store_close(other);
}

static void a_store_in_memory_lives_while_one_is_open(void **state)
{
	struct store *a = open_ok(":memory:long");
	struct store *b = open_ok(":memory:long");

	run_ok(a, set_x, (char[]){"1"});
	store_close(a);
	a = open_ok(":memory:long");
	config_is(a, "x=1");
	store_close(a);
	store_close(b);
	a = open_ok(":memory:long");
	config_is(a, "");
	store_close(a);
}

static void *write_many(void *where)
{
	struct store *s = open_ok(where);
	char text[24];

	for (int i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "%d", i);
		run_ok(s, set_x, text);
	}
	store_close(s);
	return NULL;
}

static void threads_with_a_connection_each_share_memory(void **state)
{
	static char where[] = ":memory:threads";
	struct store *s = open_ok(where);
	pthread_t threads[3];
	char text[200];

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_many, where), 0);
	for (int i = 0; i < 200; i++)
		ok(run_one_reading(s, list_config, text, NULL));
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	config_is(s, "x=199");
	store_close(s);
}

static void what_was_written_is_there_after_closing(void **state)
{
	const char *path;
	struct store *s;

	folder_make();
	path = folder_path("muster.db");
	s = open_ok(path);
	run_ok(s, set_x, (char[]){"1"});
	store_close(s);
	s = open_ok(path);
	config_is(s, "x=1");
	store_close(s);
	folder_remove();
}

/* As a program of the first schema left it. */
static void make_first_schema(const char *path)
{
	raw_exec(path, "PRAGMA application_id=0x6d737472");
	raw_exec(path, migrations[0].sql);
	raw_exec(path, "INSERT INTO migration VALUES (1, '0001-start.sql', '0.1.0', '0.1.0'); PRAGMA user_version=1");
	raw_exec(path, "INSERT INTO configuration VALUES ('x', 'global', 0, 'old')");
	raw_exec(path, "INSERT INTO mshost (msid, run_id, uuid, name, address, port, state, version, last_update_ms,"
		       " started_ms, stopped_ms, removed_ms)"
		       " VALUES (101, 7, 'u-101', 'ms1', '10.0.0.1', 8250, 'Up', '0.1.0', 5, 5, 0, 0)");
	for (int i = 0; i < 5; i++) {
		char sql[1024];

		snprintf(
			sql, sizeof(sql),
			"INSERT INTO host (uuid, guid, name, zone_id, pod_id, cluster_id, slot, status, resource_state,"
			" owner, last_owner, epoch, boot, link_number, ms_list, ms_interval, is_muster, secured,"
			" bound_key, allow_weaker, cert_not_after_s, created_ms, disconnected_ms, removed_ms)"
			" VALUES ('u-%d', 'h%d', 'host %d', 1, 1, 1, %d, 'Up', 'Enabled', 101, 0, %d, 'b%d', %d,"
			" '10.0.0.1@static', 60, 1, 1, 'uri', 0, 99, 5, 0, 0)",
			i, i, i, i, 10 + i, i, 20 + i);
		raw_exec(path, sql);
	}
}

static enum err all_is_there(struct store_tx *tx, void *arg, struct why *why)
{
	struct server_row *servers = NULL;
	struct drain_row drain = {.msid = MS_A};
	size_t n = 0;

	for (int i = 0; i < 5; i++) {
		struct host_row row = {0};
		char guid[8], boot[8];

		snprintf(guid, sizeof(guid), "h%d", i);
		snprintf(boot, sizeof(boot), "b%d", i);
		ok(store_host_by_guid(tx, guid, &row));
		assert_int_equal(row.status, HOST_UP);
		assert_int_equal(row.owner, MS_A);
		assert_int_equal(row.epoch, 10 + i);
		assert_int_equal(row.link_number, 20 + i);
		assert_string_equal(row.boot, boot);
		assert_string_equal(row.ms_list, "10.0.0.1@static");
		assert_string_equal(row.bound_key, "uri");
		assert_int_equal(row.boot_number, 0); /* not known */
		host_row_deinit(&row);
	}
	ok(store_server_list(tx, &servers, &n));
	assert_int_equal(n, 1);
	assert_string_equal(servers[0].name, "ms1");
	server_row_deinit(&servers[0]);
	mem_free(servers);
	err_is(store_drain_get(tx, MS_A, &drain), ERR_NOT_FOUND);
	return ERR_OK;
}

/* What the later steps brought works with rows from before them. */
static enum err use_what_is_new(struct store_tx *tx, void *arg, struct why *why)
{
	struct host_row row = {0};
	struct host_claim c = {.msid = MS_A, .boot = "b9", .link_number = 1, .boot_number = 9};
	struct drain_row drain = {.msid = MS_A, .per_s = 3};

	ok(store_host_by_guid(tx, "h3", &row));
	c.host_id = row.id;
	host_row_deinit(&row);
	ok(store_host_claim(tx, &c));
	assert_false(c.superseded);
	assert_int_equal(c.epoch, 14);
	ok(store_host_get(tx, c.host_id, &row));
	assert_int_equal(row.boot_number, 9);
	host_row_deinit(&row);
	ok(store_drain_ask(tx, &drain));
	ok(store_drain_get(tx, MS_A, &drain));
	assert_int_equal(drain.per_s, 3);
	drain_row_deinit(&drain);
	return ERR_OK;
}

static void a_store_of_the_first_schema_is_upgraded(void **state)
{
	const char *path;
	struct store *s;

	folder_make();
	path = folder_path("muster.db");
	make_first_schema(path);
	for (int i = 0; i < 2; i++) {
		s = open_ok(path); /* the second time there is nothing to do */
		run_ok(s, all_is_there, NULL);
		config_is(s, "x=old");
		store_close(s);
		assert_int_equal(raw_number(path, "PRAGMA user_version"), (int64_t)n_migrations);
		assert_int_equal(raw_number(path, "SELECT count(*) FROM migration"), (int64_t)n_migrations);
		assert_int_equal(raw_number(path, "SELECT count(*) FROM host"), 5);
	}
	s = open_ok(path);
	run_ok(s, use_what_is_new, NULL);
	store_close(s);
	folder_remove();
}

static void commits_are_flushed_and_the_log_is_ahead(void **state)
{
	struct store *s;
	const struct {
		const char *what;
		const char *question;
		const char *answer;
	} rows[] = {
		{"synchronous is FULL", "PRAGMA synchronous", "2"},
		{"the journal is a write-ahead log", "PRAGMA journal_mode", "wal"},
		{"references are checked", "PRAGMA foreign_keys", "1"},
	};

	folder_make();
	s = open_ok(folder_path("muster.db"));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		sqlite3_stmt *st = NULL;

		check_row(&rows[i], sqlite3_prepare_v2(s->db, rows[i].question, -1, &st, NULL) == SQLITE_OK);
		check_row(&rows[i], sqlite3_step(st) == SQLITE_ROW);
		check_row(&rows[i], str_equal((const char *)sqlite3_column_text(st, 0), rows[i].answer));
		sqlite3_finalize(st);
	}
	store_close(s);
	folder_remove();
}

static void files_are_for_their_owner_only(void **state)
{
	static const char *const names[] = {"muster.db", "muster.db-wal", "muster.db-shm"};
	mode_t old = umask(0);
	struct store *s;
	struct stat st;

	folder_make();
	s = open_ok(folder_path("muster.db"));
	run_ok(s, set_x, (char[]){"1"});
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(stat(folder_path(names[i]), &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
	store_close(s);
	folder_remove();
	umask(old);
}

static void a_name_that_looks_like_a_uri_is_a_file(void **state)
{
	char here[256];
	struct store *s;
	struct stat st;

	assert_non_null(getcwd(here, sizeof(here)));
	assert_int_equal(chdir(folder_make()), 0);
	s = open_ok("file:x?mode=memory");
	/* The folder of the process may change later. */
	assert_int_equal(chdir(here), 0);
	run_ok(s, set_x, (char[]){"1"});
	store_close(s);
	assert_int_equal(stat(folder_path("file:x?mode=memory"), &st), 0);
	assert_true(st.st_size > 0);
	folder_remove();
}

/* ---- locks ---- */

static void a_held_lock_is_busy_after_two_seconds(void **state)
{
	const char *path;
	struct store *s;
	sqlite3 *other = NULL;
	struct why why;
	struct timespec before, after;

	folder_make();
	path = folder_path("muster.db");
	s = open_ok(path);
	run_ok(s, set_x, (char[]){"1"});
	assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	clock_gettime(CLOCK_MONOTONIC, &before);
	err_is(run_one(s, set_x, (char[]){"2"}, &why), ERR_BUSY);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_in_range(after.tv_sec - before.tv_sec, 1, 4);
	assert_non_null(strstr(why.text, "locked by another process"));
	/* Readers don't wait, nor does a program that starts. */
	config_is(s, "x=1");
	store_close(open_ok(path));
	assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	run_ok(s, set_x, (char[]){"3"});
	sqlite3_close(other);
	store_close(s);
	folder_remove();
}

/* ---- changes ---- */

TX_TEST(changes_are_numbered_and_say_who)
{
	struct change changes[4];
	size_t n;
	bool gap;
	int64_t id;

	ok(store_changes_since(tx, 0, changes, 4, &n, &gap));
	assert_int_equal(n, 0);
	assert_false(gap);
	assert_int_equal(changes_so_far(tx), 0);
	ok(set_x(tx, (char[]){"1"}, why));
	id = host_made(tx, "a");
	ok(by_c(tx, (char[]){"2"}, why));
	ok(store_changes_since(tx, 0, changes, 4, &n, &gap));
	assert_int_equal(n, 3);
	assert_false(gap);
	assert_int_equal(changes[0].kind, CHANGE_CONFIG);
	assert_int_equal(changes[0].by, MS_A);
	assert_int_equal(changes[1].kind, CHANGE_HOST);
	assert_int_equal(changes[1].id, id);
	assert_int_equal(changes[1].seq, changes[0].seq + 1);
	assert_int_equal(changes[2].by, MS_C);
	ok(store_changes_since(tx, changes[0].seq, changes, 1, &n, &gap));
	assert_int_equal(n, 1);
	assert_int_equal(changes[0].kind, CHANGE_HOST);
	ok(store_changes_since(tx, changes_so_far(tx), changes, 4, &n, &gap));
	assert_int_equal(n, 0);
	assert_false(gap);
	/* A copy from yesterday was restored: what the reader has seen isn't there. */
	ok(store_changes_since(tx, changes_so_far(tx) + 1, changes, 4, &n, &gap));
	assert_true(gap);
	return ERR_OK;
}

TX_TEST(a_call_names_a_changed_thing_once)
{
	ok(set_x(tx, (char[]){"1"}, why));
	ok(set_y(tx, (char[]){"1"}, why));
	assert_int_equal(changes_so_far(tx), 1);
	return ERR_OK;
}

static enum err gap_after(struct store_tx *tx, void *arg, struct why *why)
{
	struct change changes[1];
	size_t n;
	bool gap;
	const int64_t *seq = arg;

	ok(store_changes_since(tx, *seq, changes, 1, &n, &gap));
	assert_int_equal(n, gap ? 0 : 1);
	return gap ? ERR_NOT_FOUND : ERR_OK;
}

static void old_changes_are_trimmed_and_the_gap_is_told(void **state)
{
	const char *path;
	struct store *s;
	int64_t oldest, kept;

	folder_make();
	path = folder_path("muster.db");
	s = open_ok(path);
	raw_exec(path, "WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 110000)"
		       " INSERT INTO change (seq, kind, id, \"by\") SELECT n, 1, 0, 1 FROM i");
	for (int i = 0; i < 1100; i++)
		run_ok(s, set_x, i % 2 ? (char[]){"1"} : (char[]){"2"});
	kept = raw_number(path, "SELECT count(*) FROM change");
	oldest = raw_number(path, "SELECT min(seq) FROM change");
	assert_int_equal(raw_number(path, "SELECT max(seq) FROM change"), 111100);
	assert_in_range(kept, 100000, 101024);
	ok(run_one_reading(s, gap_after, &(int64_t){oldest}, NULL));
	ok(run_one_reading(s, gap_after, &(int64_t){oldest - 1}, NULL));
	err_is(run_one_reading(s, gap_after, &(int64_t){oldest - 2}, NULL), ERR_NOT_FOUND);
	err_is(run_one_reading(s, gap_after, &(int64_t){0}, NULL), ERR_NOT_FOUND);
	store_close(s);
	folder_remove();
}

/* ---- memory ---- */

static struct {
	sqlite3_mem_methods original;
	int64_t left; /* allocations of SQLite that succeed; below 0: all */
	bool has_failed;
} memory = {.left = -1};

static bool memory_fails(void)
{
	if (memory.left < 0 || memory.left-- > 0)
		return false;
	memory.left = -1;
	memory.has_failed = true;
	return true;
}

static void *failing_malloc(int size)
{
	return memory_fails() ? NULL : memory.original.xMalloc(size);
}

static void *failing_realloc(void *old, int size)
{
	return memory_fails() ? NULL : memory.original.xRealloc(old, size);
}

static int hook_memory(void **state)
{
	sqlite3_mem_methods ours;

	if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory.original) != SQLITE_OK)
		return -1;
	ours = memory.original;
	ours.xMalloc = failing_malloc;
	ours.xRealloc = failing_realloc;
	return sqlite3_config(SQLITE_CONFIG_MALLOC, &ours) == SQLITE_OK ? 0 : -1;
}

/* A bit of everything that allocates. */
static enum err busy_call(struct store_tx *tx, void *arg, struct why *why)
{
	struct host_row row = host_like("guid-of-a-host");
	struct host_row again;
	struct config_row *rows = NULL;
	size_t n = 0;
	bool changed;
	enum err e = store_config_set(tx, "x", CONFIG_GLOBAL, 0, "1", &changed);

	row.details = (char[]){"{}"};
	if (!e)
		e = store_host_create(tx, &row);
	if (!e)
		e = store_host_by_guid(tx, "guid-of-a-host", &again);
	if (e)
		return e;
	host_row_deinit(&again);
	e = store_config_list(tx, &rows, &n);
	for (size_t i = 0; i < n; i++)
		config_row_deinit(&rows[i]);
	mem_free(rows);
	return e;
}

static enum err open_and_work(void *where)
{
	struct store *s = NULL;
	enum err e = store_open(&s, where, NULL);

	if (!e)
		e = run_one(s, busy_call, NULL, NULL);
	store_close(s);
	return e;
}

static void without_memory_nothing_is_written(void **state)
{
	assert_true(failing_alloc_each(open_and_work, (char[]){":memory:failing"}) > 5);
}

static enum err forget_it(struct store_tx *tx, void *arg, struct why *why)
{
	return sql_run(tx, "UPDATE host SET removed_ms = 1, slot = -id");
}

/*
 * Each `stride`th allocation of SQLite fails once, from `first` on, until none does. `keeper`: holds the store while it
 * is done again and again; may be NULL. Returns how often it was tried.
 */
static int64_t fail_in_turn(struct store *keeper, const char *where, int64_t first, int64_t stride)
{
	int64_t n = first, tried = 0;
	enum err e;

	do {
		memory.has_failed = false;
		memory.left = n;
		e = open_and_work((char *)(uintptr_t)where);
		memory.left = -1;
		/* SQLite can do without some of its memory, a cache for example. */
		if (e && e != ERR_NOMEM)
			fail_msg("allocation %" PRId64 " of SQLite failed, but the answer was \"%s\"", n, err_text(e));
		if (!e && keeper)
			ok(run_one(keeper, forget_it, NULL, NULL));
		n += stride;
		tried++;
	} while (memory.has_failed);
	ok(e);
	return tried;
}

/* A new store's schema takes so many that only some of them fail each time; which ones depends on the seed. */
static void when_sqlite_has_no_memory_nothing_is_made(void **state)
{
	const char *given = getenv("MUSTER_SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)getpid();

	unsigned stride = (unsigned)test_rounds(101, 23);

	print_message("MUSTER_SEED=%u\n", seed);
	assert_true(fail_in_turn(NULL, ":memory:failing", seed % stride, stride) > 25);
}

static void when_sqlite_has_no_memory_nothing_is_written(void **state)
{
	struct store *keeper = NULL;
	int stride = test_rounds(5, 1);

	ok(store_open(&keeper, ":memory:kept", NULL));
	assert_true(fail_in_turn(keeper, ":memory:kept", getpid() % stride, stride) > 20);
	store_close(keeper);
}

static void a_group_survives_the_memory_of_one_call(void **state)
{
	struct store *s = open_memory();
	struct store_call one = {.run = set_x, .arg = (char[]){"1"}};
	struct store_call two = {.run = busy_call};
	struct store_call *calls[] = {&one, &two};
	char text[200];
	bool has_failed = true;

	/* The store's own memory, not SQLite's: the call alone fails. */
	for (size_t n = 0; has_failed; n++) {
		failing_alloc_arm(n);
		ok(store_run(s, calls, 2, NULL));
		has_failed = failing_alloc_disarm();
		ok(one.result);
		err_is(two.result, has_failed ? ERR_NOMEM : ERR_OK);
		ok(run_one_reading(s, list_config, text, NULL));
		assert_string_equal(text, "x=1");
	}
	store_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_that_fails_undoes_itself_alone),
		cmocka_unit_test(a_group_of_nothing_succeeds),
		cmocka_unit_test(a_call_that_only_reads_cannot_write),
		cmocka_unit_test(a_statement_that_failed_is_not_forgiven),
		cmocka_unit_test(a_callback_may_ask_and_may_stop),
		cmocka_unit_test(connections_of_one_file_hear_each_other),
		cmocka_unit_test(connections_of_one_name_in_memory_hear_each_other),
		cmocka_unit_test(a_store_in_memory_lives_while_one_is_open),
		cmocka_unit_test(threads_with_a_connection_each_share_memory),
		cmocka_unit_test(what_was_written_is_there_after_closing),
		cmocka_unit_test(a_store_of_the_first_schema_is_upgraded),
		cmocka_unit_test(commits_are_flushed_and_the_log_is_ahead),
		cmocka_unit_test(files_are_for_their_owner_only),
		cmocka_unit_test(a_name_that_looks_like_a_uri_is_a_file),
		cmocka_unit_test(a_held_lock_is_busy_after_two_seconds),
		cmocka_unit_test(changes_are_numbered_and_say_who),
		cmocka_unit_test(a_call_names_a_changed_thing_once),
		cmocka_unit_test(old_changes_are_trimmed_and_the_gap_is_told),
		cmocka_unit_test(without_memory_nothing_is_written),
		cmocka_unit_test(when_sqlite_has_no_memory_nothing_is_made),
		cmocka_unit_test(when_sqlite_has_no_memory_nothing_is_written),
		cmocka_unit_test(a_group_survives_the_memory_of_one_call),
	};

	return cmocka_run_group_tests_name("store", tests, hook_memory, NULL);
}
