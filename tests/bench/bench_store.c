/*
 * How many claims and pings a second the store takes, in groups of 1, 100 and 1000, on a file with full flushing.
 *
 * Beside them the floor: plain inserts of a row of two numbers by SQLite itself, same file system, same groups, same
 * flushing. What is between the two is ours. Run: bench_store [FOLDER] [HOSTS]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/mem.h"
#include "base/rng.h"
#include "store/store.h"

#define SECONDS 1.5
#define WALL 1700000000000

struct bench {
	struct store *store;
	struct rng rng;
	int64_t n_hosts;
	int64_t link;
};

struct job {
	struct bench *bench;
	int64_t host_id;
	int64_t number;
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(enum err e, const struct why *why)
{
	if (!e)
		return;
	fprintf(stderr, "bench_store: %s\n", why_text(why, e));
	exit(1);
}

static enum err make_host(struct store_tx *tx, void *arg, struct why *why)
{
	const struct job *j = arg;
	char guid[40], details[800];
	struct host_row row = {
		.guid = guid, .name = guid, .details = details, .zone_id = 1, .pod_id = 1, .cluster_id = 1};

	/* Details as long as those of a usual hypervisor. */
	memset(details, 'x', sizeof(details) - 1);
	details[sizeof(details) - 1] = '\0';
	snprintf(guid, sizeof(guid), "guid-%" PRId64, j->number);
	snprintf(row.uuid, sizeof(row.uuid), "00000000-0000-4000-8000-%012u", (unsigned)j->number);
	row.resource_state = RESOURCE_ENABLED;
	store_tx_by(tx, 1, WALL);
	return store_host_create(tx, &row);
}

static enum err claim(struct store_tx *tx, void *arg, struct why *why)
{
	const struct job *j = arg;
	struct host_claim c = {
		.host_id = j->host_id, .msid = 1 + j->number % 3, .boot = "boot", .link_number = j->number};

	store_tx_by(tx, c.msid, WALL);
	return store_host_claim(tx, &c);
}

static enum err ping(struct store_tx *tx, void *arg, struct why *why)
{
	const struct job *j = arg;
	const struct host_ping p = {j->host_id, WALL + j->number};

	store_tx_by(tx, 1, WALL);
	return store_host_pings(tx, &p, 1);
}

/* One group of `n` calls, each about a host of its own. */
static void run_group(struct bench *b, enum err (*run)(struct store_tx *, void *, struct why *), size_t n)
{
	struct store_call *calls = mem_zalloc_array(n, sizeof(*calls));
	struct store_call **order = mem_zalloc_array(n, sizeof(struct store_call *));
	struct job *jobs = mem_zalloc_array(n, sizeof(*jobs));
	struct why why = WHY_NONE;

	must(calls && order && jobs ? ERR_OK : ERR_NOMEM, NULL);
	for (size_t i = 0; i < n; i++) {
		jobs[i] = (struct job){b, 1 + (int64_t)rng_below(&b->rng, (uint64_t)b->n_hosts), ++b->link};
		calls[i] = (struct store_call){.run = run, .arg = &jobs[i]};
		order[i] = &calls[i];
	}
	must(store_run(b->store, order, n, &why), &why);
	for (size_t i = 0; i < n; i++)
		must(calls[i].result, &calls[i].why);
	mem_free(jobs);
	mem_free(order);
	mem_free(calls);
}

static double rate_of(struct bench *b, enum err (*run)(struct store_tx *, void *, struct why *), size_t group)
{
	double start = now_s();
	size_t n = 0;

	do {
		run_group(b, run, group);
		n += group;
	} while (now_s() - start < SECONDS);
	return (double)n / (now_s() - start);
}

static void sql(sqlite3 *db, const char *text)
{
	if (sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK)
		return;
	fprintf(stderr, "bench_store: %s: %s\n", text, sqlite3_errmsg(db));
	exit(1);
}

static double floor_rate(const char *path, size_t group)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *st = NULL;
	size_t n = 0;
	double start, rate;

	if (sqlite3_open(path, &db) != SQLITE_OK)
		exit(1);
	sql(db,
	    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE IF NOT EXISTS t (a INTEGER, b INTEGER)");
	sqlite3_prepare_v2(db, "INSERT INTO t VALUES (?, ?)", -1, &st, NULL);
	start = now_s();
	do {
		sql(db, "BEGIN IMMEDIATE");
		for (size_t i = 0; i < group; i++, n++) {
			sqlite3_bind_int64(st, 1, (int64_t)n);
			sqlite3_bind_int64(st, 2, WALL);
			sqlite3_step(st);
			sqlite3_reset(st);
		}
		sql(db, "COMMIT");
	} while (now_s() - start < SECONDS);
	rate = (double)n / (now_s() - start);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return rate;
}

static void fill(struct bench *b)
{
	int64_t target = b->n_hosts;

	for (b->n_hosts = 1; b->link < target;)
		run_group(b, make_host, 500);
	b->n_hosts = b->link;
}

int main(int argc, char **argv)
{
	static const size_t groups[] = {1, 100, 1000};
	char folder[256], path[300], floor_path[300], command[400];
	struct bench b = {.n_hosts = argc > 2 ? atoll(argv[2]) : 20000};
	struct why why = WHY_NONE;

	snprintf(folder, sizeof(folder), "%s/bench-store-XXXXXX", argc > 1 ? argv[1] : "/tmp");
	if (!mkdtemp(folder))
		return 1;
	snprintf(path, sizeof(path), "%s/muster.db", folder);
	snprintf(floor_path, sizeof(floor_path), "%s/floor.db", folder);
	rng_init(&b.rng, 1);
	must(store_open(&b.store, path, &why), &why);
	fill(&b);
	printf("store of %" PRId64 " hosts in %s, synchronous=FULL\n", b.n_hosts, folder);
	printf("%8s %12s %12s %14s\n", "group", "claims/s", "pings/s", "plain inserts/s");
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		double claims = rate_of(&b, claim, groups[i]);
		double pings = rate_of(&b, ping, groups[i]);

		printf("%8zu %12.0f %12.0f %14.0f\n", groups[i], claims, pings, floor_rate(floor_path, groups[i]));
	}
	store_close(b.store);
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command) ? 1 : 0;
}
