/*
 * What the stored placement costs whoever writes: a host that comes, a server that joins, a copy that has to be read
 * again because another server has written, all on a file with full flushing. Times are of the processor, so that a
 * busy machine does not count; nor does waiting for the disk, which is one flush a transaction, here and in the floor.
 *
 * Beside them the floor: as many plain updates of a row of five numbers by SQLite itself, same file system, same
 * flushing. What is between the two is ours. Run: bench_placement [FOLDER] [HOSTS]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/mem.h"
#include "store/store.h"

#define WALL 1700000000000
#define SERVERS "M1,M2,M3,M4,M5,M6,M7,M8,M9,M10"
#define GROUP_MAX 1000
#define N_COMING 2000
#define N_ALONE 200
#define N_TURNS 5

struct job {
	int64_t number;
	const char *name, *value;
};

static int64_t n_made;

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(enum err e, const struct why *why)
{
	if (!e)
		return;
	fprintf(stderr, "bench_placement: %s\n", why_text(why, e));
	exit(1);
}

static enum err come_run(struct store_tx *tx, void *arg, struct why *why)
{
	const struct job *j = arg;
	char guid[40];
	struct host_row row = {.guid = guid, .name = guid, .zone_id = 1, .pod_id = 1, .cluster_id = 1};

	snprintf(guid, sizeof(guid), "guid-%" PRId64, j->number);
	snprintf(row.uuid, sizeof(row.uuid), "00000000-0000-4000-8000-%012u", (unsigned)j->number);
	row.resource_state = RESOURCE_ENABLED;
	store_tx_by(tx, 1, WALL);
	return store_host_create(tx, &row);
}

static enum err set_run(struct store_tx *tx, void *arg, struct why *why)
{
	const struct job *j = arg;
	bool changed;

	store_tx_by(tx, 1, WALL);
	return store_config_set(tx, j->name, CONFIG_GLOBAL, 0, j->value, &changed);
}

/* `n` hosts that come, in one transaction. */
static void come(struct store *s, size_t n)
{
	static struct store_call calls[GROUP_MAX];
	static struct store_call *order[GROUP_MAX];
	static struct job jobs[GROUP_MAX];
	struct why why = WHY_NONE;

	for (size_t i = 0; i < n; i++) {
		jobs[i] = (struct job){.number = ++n_made};
		calls[i] = (struct store_call){.run = come_run, .arg = &jobs[i]};
		order[i] = &calls[i];
	}
	must(store_run(s, order, n, &why), &why);
	for (size_t i = 0; i < n; i++)
		must(calls[i].result, &calls[i].why);
}

static void set(struct store *s, const char *name, const char *value)
{
	struct job j = {.name = name, .value = value};
	struct store_call call = {.run = set_run, .arg = &j}, *calls[] = {&call};
	struct why why = WHY_NONE;

	must(store_run(s, calls, 1, &why), &why);
	must(call.result, &call.why);
}

/* Seconds for one host, when they come `group` at a time. */
static double coming(struct store *s, size_t n, size_t group)
{
	double start = seconds();

	for (size_t i = 0; i < n; i += group)
		come(s, group);
	return (seconds() - start) / (double)n;
}

/* ---- the floor ---- */

static void sql(sqlite3 *db, const char *text)
{
	if (sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK)
		return;
	fprintf(stderr, "bench_placement: %s: %s\n", text, sqlite3_errmsg(db));
	exit(1);
}

static sqlite3 *floor_open(const char *path, int64_t n)
{
	sqlite3 *db = NULL;
	char text[200];

	if (sqlite3_open(path, &db) != SQLITE_OK)
		exit(1);
	sql(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
		"CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, c INTEGER, d INTEGER)");
	snprintf(text, sizeof(text),
		 "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %" PRId64 ")"
		 " INSERT INTO t SELECT i, 1, 2, 3, 4 FROM n",
		 n);
	sql(db, text);
	return db;
}

/* Seconds for `n` rows that are updated, `group` in a transaction. */
static double floor_updates(sqlite3 *db, int64_t n, int64_t group)
{
	sqlite3_stmt *st = NULL;
	double start;

	sqlite3_prepare_v2(db, "UPDATE t SET a = a + 1, b = 3 WHERE id = ?", -1, &st, NULL);
	start = seconds();
	for (int64_t i = 0; i < n; i++) {
		if (i % group == 0)
			sql(db, "BEGIN IMMEDIATE");
		sqlite3_bind_int64(st, 1, i + 1);
		sqlite3_step(st);
		sqlite3_reset(st);
		if ((i + 1) % group == 0 || i + 1 == n)
			sql(db, "COMMIT");
	}
	sqlite3_finalize(st);
	return seconds() - start;
}

static double floor_read(sqlite3 *db)
{
	sqlite3_stmt *st = NULL;
	double start = seconds();
	int64_t sum = 0;

	sqlite3_prepare_v2(db, "SELECT id, a, b, c, d FROM t", -1, &st, NULL);
	while (sqlite3_step(st) == SQLITE_ROW)
		sum += sqlite3_column_int64(st, 4);
	sqlite3_finalize(st);
	return sum ? seconds() - start : 0;
}

static void print(const char *what, double s, double floor_s)
{
	printf("  %-44s %10.3f ms   floor %9.3f ms   %5.1f x\n", what, s * 1e3, floor_s * 1e3, s / floor_s);
}

int main(int argc, char **argv)
{
	char folder[256], path[300], floor_path[300], command[400];
	int64_t n_hosts = argc > 2 ? atoll(argv[2]) : 100000;
	struct store *s, *other;
	struct why why = WHY_NONE;
	sqlite3 *db;
	double start, took = 0;

	snprintf(folder, sizeof(folder), "%s/bench-placement-XXXXXX", argc > 1 ? argv[1] : "/tmp");
	if (!mkdtemp(folder))
		return 1;
	snprintf(path, sizeof(path), "%s/muster.db", folder);
	snprintf(floor_path, sizeof(floor_path), "%s/floor.db", folder);
	must(store_open(&s, path, &why), &why);
	must(store_open(&other, path, &why), &why);
	while (n_made < n_hosts)
		come(s, GROUP_MAX);
	db = floor_open(floor_path, n_made);
	printf("stored placement of %" PRId64 " hosts on 10 servers in %s, processor time\n", n_made, folder);

	set(s, "host", SERVERS);
	start = seconds();
	set(s, "indirect.agent.lb.algorithm", "balanced");
	print("balanced comes into force, all placed", seconds() - start, floor_updates(db, n_made, n_made));
	print("a host comes, alone in its transaction", coming(s, N_ALONE, 1), floor_updates(db, N_ALONE, 1) / N_ALONE);
	print("a host comes, 100 in a transaction", coming(s, N_COMING, 100),
	      floor_updates(db, N_COMING, 100) / N_COMING);
	start = seconds();
	set(s, "host", SERVERS ",M11");
	print("a server joins", seconds() - start, floor_updates(db, n_made, n_made));
	start = seconds();
	set(s, "host", SERVERS);
	print("a server leaves", seconds() - start, floor_updates(db, n_made, n_made));
	/* Each finds that the other has written. */
	for (int i = 0; i < N_TURNS; i++) {
		come(other, 1);
		start = seconds();
		come(s, 1);
		took += seconds() - start;
	}
	print("a host comes, another server wrote last", took / N_TURNS, floor_read(db));

	sqlite3_close(db);
	store_close(other);
	store_close(s);
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command) ? 1 : 0;
}
