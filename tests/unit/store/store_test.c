#include "store_test.h"

#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

static char folder[64];
static char paths[8][128];
static size_t n_paths;
static unsigned n_stores;
static unsigned n_uuids;

struct wrapped {
	tx_body *body;
	void *arg;
};

static enum err wrapped_run(struct store_tx *tx, void *arg, struct why *why)
{
	const struct wrapped *w = arg;

	store_tx_by(tx, MS_A, WALL);
	return w->body(tx, w->arg, why);
}

static enum err run_it(struct store *s, tx_body *body, void *arg, bool read_only, struct why *why)
{
	struct wrapped w = {body, arg};
	struct store_call call = {.run = wrapped_run, .arg = &w, .read_only = read_only};
	struct store_call *calls[] = {&call};
	enum err e = store_run(s, calls, 1, NULL);

	if (why)
		*why = call.why;
	return e ? e : call.result;
}

enum err run_one(struct store *s, tx_body *body, void *arg, struct why *why)
{
	return run_it(s, body, arg, false, why);
}

enum err run_one_reading(struct store *s, tx_body *body, void *arg, struct why *why)
{
	return run_it(s, body, arg, true, why);
}

void run_ok(struct store *s, tx_body *body, void *arg)
{
	struct why why;
	enum err e = run_one(s, body, arg, &why);

	if (e)
		fail_msg("%s (%s)", why_text(&why, e), err_name(e));
}

struct store *open_ok(const char *where)
{
	struct store *s = NULL;
	struct why why = WHY_NONE;
	enum err e = store_open(&s, where, &why);

	if (e)
		fail_msg("open %s: %s (%s)", where, why_text(&why, e), err_name(e));
	return s;
}

struct store *open_memory(void)
{
	char name[64];

	snprintf(name, sizeof(name), ":memory:test %d-%u", (int)getpid(), n_stores++);
	return open_ok(name);
}

void in_new_store(tx_body *body)
{
	struct store *s = open_memory();

	run_ok(s, body, NULL);
	store_close(s);
}

const char *folder_make(void)
{
	const char *base = getenv("TMPDIR");

	snprintf(folder, sizeof(folder), "%s/muster-store-XXXXXX", base && strlen(base) < 32 ? base : "/tmp");
	assert_non_null(mkdtemp(folder));
	n_paths = 0;
	return folder;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	return remove(path);
}

void folder_remove(void)
{
	nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *folder_path(const char *name)
{
	char *path = paths[n_paths++ % ARRAY_SIZE(paths)];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

void raw_exec(const char *path, const char *sql)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	sqlite3_close(db);
}

int64_t raw_number(const char *path, const char *sql)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *st = NULL;
	int64_t number;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	number = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return number;
}

const char *some_uuid(void)
{
	static char uuid[UUID_TEXT];

	snprintf(uuid, sizeof(uuid), "00000000-0000-4000-8000-%012u", ++n_uuids);
	return uuid;
}

struct host_row host_like(const char *guid)
{
	struct host_row row = {
		.guid = (char *)(uintptr_t)guid,
		.name = (char *)(uintptr_t)guid,
		.zone_id = 1,
		.pod_id = 1,
		.cluster_id = 1,
		.status = HOST_CREATING,
		.resource_state = RESOURCE_ENABLED,
		.ms_interval = -1,
	};

	str_copy(row.uuid, sizeof(row.uuid), some_uuid());
	return row;
}

int64_t host_made(struct store_tx *tx, const char *guid)
{
	struct host_row row = host_like(guid);

	ok(store_host_create(tx, &row));
	return row.id;
}

int64_t changes_so_far(struct store_tx *tx)
{
	int64_t seq;

	ok(store_change_last(tx, &seq));
	return seq;
}
