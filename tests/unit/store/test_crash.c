/*
 * What must not lose anything: kill -9, power loss, several processes at once, damaged files, full disks.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store_test.h"

/* ---- helpers ---- */

/* An event with this number and a setting that has it as value: either both are there or none. */
static enum err write_number(struct store_tx *tx, void *arg, struct why *why)
{
	const int *number = arg;
	char text[24];
	struct event_row row = {.type = (char[]){"T"}, .level = (char[]){"INFO"}, .host_id = *number, .msid = MS_A};
	bool changed;
	enum err e;

	snprintf(text, sizeof(text), "%d", *number);
	str_copy(row.uuid, sizeof(row.uuid), "00000000-0000-4000-8000-000000000000");
	store_tx_by(tx, MS_A, WALL);
	e = store_event_add(tx, &row);
	return e ? e : store_config_set(tx, "number", CONFIG_GLOBAL, 0, text, &changed);
}

/* How many numbers there are, which must be 1 to n without a gap, the setting being n. */
static enum err count_numbers(struct store_tx *tx, void *arg, struct why *why)
{
	struct event_row *events = NULL;
	struct config_row *config = NULL;
	size_t n, n_config;
	int64_t number = 0;

	ok(store_event_list(tx, 1000000, &events, &n));
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(events[i].host_id, n - i);
		event_row_deinit(&events[i]);
	}
	mem_free(events);
	ok(store_config_list(tx, &config, &n_config));
	for (size_t i = 0; i < n_config; i++) {
		assert_true(str_to_i64(config[i].value, &number));
		config_row_deinit(&config[i]);
	}
	mem_free(config);
	assert_int_equal(number, n);
	*(int64_t *)arg = number;
	return ERR_OK;
}

static int64_t numbers_in(const char *path)
{
	struct store *s = open_ok(path);
	int64_t n = 0;

	ok(run_one_reading(s, count_numbers, &n, NULL));
	store_close(s);
	return n;
}

static struct rng seeded(void)
{
	const char *given = getenv("SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	struct rng rng;

	print_message("seed %" PRIu64 " (SEED=%" PRIu64 " repeats it)\n", seed, seed);
	rng_init(&rng, seed);
	return rng;
}

static void file_get(const char *path, struct buf *out)
{
	*out = (struct buf){0};
	ok(file_read(&fs_posix, path, (size_t)1 << 30, out, NULL));
}

static void file_put(const char *path, const void *data, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, n), n);
	close(fd);
}

static void file_is(const char *path, const struct buf *expected)
{
	struct buf now;

	file_get(path, &now);
	assert_int_equal(now.len, expected->len);
	assert_memory_equal(now.data, expected->data, now.len);
	buf_deinit(&now);
}

/* ---- kill -9 ---- */

/* Writes number after number and says each one that was acknowledged, until it is killed. */
static void write_until_killed(const char *path, int from, int out)
{
	struct store *s = NULL;

	if (store_open(&s, path, NULL))
		_exit(1);
	for (int i = from;; i++) {
		struct store_call call = {.run = write_number, .arg = &i};
		struct store_call *calls[] = {&call};

		if (store_run(s, calls, 1, NULL) || call.result || write(out, &i, sizeof(i)) != sizeof(i))
			_exit(1);
	}
}

/* Returns the last number that was acknowledged. */
static int kill_after(const char *path, int from, unsigned n_acknowledged, uint64_t spins)
{
	int ends[2];
	int acknowledged = from - 1;
	int status;
	pid_t child;

	assert_int_equal(pipe(ends), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		close(ends[0]);
		write_until_killed(path, from, ends[1]);
	}
	close(ends[1]);
	for (unsigned i = 0; i < n_acknowledged; i++)
		assert_int_equal(read(ends[0], &acknowledged, sizeof(acknowledged)), sizeof(acknowledged));
	for (volatile uint64_t i = 0; i < spins; i++) {
	}
	assert_int_equal(kill(child, SIGKILL), 0);
	/* What it said before it died counts. */
	while (read(ends[0], &acknowledged, sizeof(acknowledged)) == sizeof(acknowledged)) {
	}
	close(ends[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	return acknowledged;
}

static void what_was_acknowledged_survives_kill_9(void **state)
{
	struct rng rng = seeded();
	const char *path;
	int64_t n = 0;

	folder_make();
	path = folder_path("muster.db");
	for (int round = 0; round < test_rounds(15, 40); round++) {
		int acknowledged =
			kill_after(path, (int)n + 1, (unsigned)rng_below(&rng, 30), rng_below(&rng, 3000000));

		n = numbers_in(path);
		/* One more may be there: it was committed, but the answer didn't get out. */
		assert_in_range(n, acknowledged, acknowledged + 1);
	}
	print_message("%" PRId64 " commits\n", n);
	folder_remove();
}

/* ---- power loss ---- */

/*
 * A file system of SQLite that keeps a copy of each file as it was when it was last flushed: all that is left when the
 * power goes. It stands on the real one.
 */
static struct {
	sqlite3_vfs vfs;
	sqlite3_vfs *real;
	struct loss_file {
		const sqlite3_file *file;
		char path[128];
		sqlite3_io_methods methods;
		const sqlite3_io_methods *real;
	} open[8];
} loss;

static struct loss_file *loss_find(const sqlite3_file *file)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(loss.open) && loss.open[i].file != file)
		i++;
	assert_true(i < ARRAY_SIZE(loss.open));
	return &loss.open[i];
}

static int loss_sync(sqlite3_file *file, int flags)
{
	struct loss_file *f = loss_find(file);
	CLEAN(mem_freep) char *kept = mem_printf("%s.flushed", f->path);
	struct buf content;

	file_get(f->path, &content);
	file_put(kept, content.data, content.len);
	buf_deinit(&content);
	return f->real->xSync(file, flags);
}

static int loss_close(sqlite3_file *file)
{
	struct loss_file *f = loss_find(file);

	f->file = NULL;
	return f->real->xClose(file);
}

static int loss_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
	struct loss_file *f;
	int rc = loss.real->xOpen(loss.real, name, file, flags, out_flags);

	if (rc != SQLITE_OK || !name)
		return rc;
	f = loss_find(NULL);
	f->file = file;
	str_copy(f->path, sizeof(f->path), name);
	f->real = file->pMethods;
	f->methods = *f->real;
	f->methods.xSync = loss_sync;
	f->methods.xClose = loss_close;
	file->pMethods = &f->methods;
	return rc;
}

static int loss_begin(void **state)
{
	memset(&loss, 0, sizeof(loss));
	loss.real = sqlite3_vfs_find(NULL);
	loss.vfs = *loss.real;
	loss.vfs.zName = "loss";
	loss.vfs.xOpen = loss_open;
	folder_make();
	return sqlite3_vfs_register(&loss.vfs, 1) == SQLITE_OK ? 0 : -1;
}

static int loss_end(void **state)
{
	sqlite3_vfs_register(loss.real, 1);
	sqlite3_vfs_unregister(&loss.vfs);
	folder_remove();
	return 0;
}

static void copy_of_flushed(const char *from, const char *to)
{
	struct buf content;

	file_get(folder_path(from), &content);
	file_put(folder_path(to), content.data, content.len);
	buf_deinit(&content);
}

static void what_was_acknowledged_survives_power_loss(void **state)
{
	struct store *s = open_ok(folder_path("muster.db"));

	for (int i = 1; i <= test_rounds(120, 300); i++) {
		run_ok(s, write_number, &i);
		if (i % 17)
			continue;
		/* The power goes now: what was flushed is opened elsewhere. */
		copy_of_flushed("muster.db.flushed", "after.db");
		copy_of_flushed("muster.db-wal.flushed", "after.db-wal");
		assert_int_equal(numbers_in(folder_path("after.db")), i);
		unlink(folder_path("after.db"));
		unlink(folder_path("after.db-wal"));
	}
	store_close(s);
}

/* ---- several processes ---- */

#define WRITERS 3
#define WRITES 150

static enum err count_up(struct store_tx *tx, void *arg, struct why *why)
{
	struct config_row *rows = NULL;
	size_t n;
	int64_t number = 0;
	char text[24];
	bool changed;
	enum err e = store_config_list(tx, &rows, &n);

	if (e)
		return e;
	for (size_t i = 0; i < n; i++) {
		if (!str_to_i64(rows[i].value, &number))
			e = ERR_MALFORMED;
		config_row_deinit(&rows[i]);
	}
	mem_free(rows);
	snprintf(text, sizeof(text), "%" PRId64, number + 1);
	return e ? e : store_config_set(tx, "count", CONFIG_GLOBAL, 0, text, &changed);
}

static void count_in_child(const char *path)
{
	struct store *s = NULL;

	if (store_open(&s, path, NULL))
		_exit(1);
	for (int i = 0; i < WRITES;) {
		struct store_call call = {.run = count_up};
		struct store_call *calls[] = {&call};
		time_t start = time(NULL);
		enum err e = store_run(s, calls, 1, NULL);

		/* A slow machine may meet the limit for waiting; then it was not written. Sooner is a mistake. */
		if (e == ERR_BUSY && time(NULL) - start >= 1)
			continue;
		if (e || call.result)
			_exit(2);
		i++;
	}
	store_close(s);
	_exit(0);
}

static enum err count_is(struct store_tx *tx, void *arg, struct why *why)
{
	struct config_row *rows = NULL;
	size_t n;
	int64_t version;

	ok(store_config_list(tx, &rows, &n));
	assert_int_equal(n, 1);
	assert_string_equal(rows[0].value, arg);
	config_row_deinit(&rows[0]);
	mem_free(rows);
	ok(store_config_version(tx, &version));
	assert_int_equal(version, WRITERS * WRITES);
	assert_int_equal(changes_so_far(tx), WRITERS * WRITES);
	return ERR_OK;
}

/* They also make the store together: none exists when they start. */
static void several_processes_share_one_file(void **state)
{
	const char *path;
	struct store *s;
	char expected[20];
	pid_t children[WRITERS];

	folder_make();
	path = folder_path("muster.db");
	for (int i = 0; i < WRITERS; i++) {
		children[i] = fork();
		assert_true(children[i] >= 0);
		if (children[i] == 0)
			count_in_child(path);
	}
	for (int i = 0; i < WRITERS; i++) {
		int status;

		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
	s = open_ok(path);
	snprintf(expected, sizeof(expected), "%d", WRITERS * WRITES);
	ok(run_one_reading(s, count_is, expected, NULL));
	store_close(s);
	folder_remove();
}

static const char *being_opened; /* by the test below; NULL: nobody is watched */

/* Another process makes the store while this one has read the first half of what says whose it is. */
static int in_between(unsigned what, void *user, void *statement, void *text)
{
	sqlite3 *other = NULL;
	const char *path = being_opened;

	if (!path || strcmp(text, "PRAGMA user_version") != 0)
		return 0;
	being_opened = NULL;
	assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
	/* Not waiting: whoever reads may hold the lock. */
	(void)sqlite3_exec(other, "BEGIN IMMEDIATE; PRAGMA application_id=0x6d737472; CREATE TABLE t (x); COMMIT", NULL,
			   NULL, NULL);
	sqlite3_close(other);
	return 0;
}

static int watch(sqlite3 *db, const char **error, const struct sqlite3_api_routines *api)
{
	return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, in_between, NULL);
}

/* It may not take what another one is just making for somebody else's database. */
static void a_store_in_the_making_is_no_stranger(void **state)
{
	struct store *s = NULL;
	struct why why = WHY_NONE;
	enum err e;

	folder_make();
	being_opened = folder_path("muster.db");
	assert_int_equal(sqlite3_auto_extension((void (*)(void))watch), SQLITE_OK);
	e = store_open(&s, being_opened, &why);
	sqlite3_cancel_auto_extension((void (*)(void))watch);
	assert_null(being_opened);
	if (e)
		fail_msg("%s", why_text(&why, e));
	store_close(s);
	folder_remove();
}

/* ---- files that are not what they should be ---- */

/* A closed store of some pages. */
static void store_make(const char *path)
{
	struct store *s = open_ok(path);

	for (int i = 1; i <= 300; i++)
		run_ok(s, write_number, &i);
	store_close(s);
}

static void spoil_garbage(struct buf *b)
{
	memset(b->data, 0x5a, 64);
}

static void spoil_text(struct buf *b)
{
	buf_clear(b);
	ok(buf_put_str(b, "host=localhost\nport=5432\nthis is somebody's configuration\n"));
}

static void spoil_first_page(struct buf *b)
{
	memset(b->data, 0, 4096);
}

static void spoil_middle(struct buf *b)
{
	memset(b->data + b->len / 4096 / 2 * 4096, 0, 4096);
}

static void spoil_last(struct buf *b)
{
	memset(b->data + b->len - 4096, 0, 4096);
}

static void spoil_half(struct buf *b)
{
	b->len = b->len / 4096 / 2 * 4096;
}

static void spoil_cut(struct buf *b)
{
	b->len -= 1000;
}

static void spoil_short(struct buf *b)
{
	b->len = 700;
}

static void damaged_files_are_refused_and_not_touched(void **state)
{
	static const struct {
		const char *what;
		void (*spoil)(struct buf *b);
	} rows[] = {
		{"the header is garbage", spoil_garbage},     {"it is a text", spoil_text},
		{"the first page is zero", spoil_first_page}, {"a page in the middle is zero", spoil_middle},
		{"the last page is zero", spoil_last},        {"half of the file is gone", spoil_half},
		{"the last page is cut", spoil_cut},          {"little more than a header is left", spoil_short},
	};
	const char *path;
	struct buf whole;

	folder_make();
	path = folder_path("muster.db");
	store_make(path);
	file_get(path, &whole);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf spoilt = {0};
		struct store *s = NULL;
		struct why why = WHY_NONE;
		enum err e;

		ok(buf_put(&spoilt, whole.data, whole.len));
		rows[i].spoil(&spoilt);
		file_put(path, spoilt.data, spoilt.len);
		e = store_open(&s, path, &why);
		if (e != ERR_DAMAGED)
			fail_msg("%s: %s", rows[i].what, why_text(&why, e));
		check_row(&rows[i], strstr(why.text, path));
		check_row(&rows[i], strstr(why.text, ".recover"));
		check_row(&rows[i], strstr(why.text, "backup"));
		check_row(&rows[i], !s);
		file_is(path, &spoilt);
		buf_deinit(&spoilt);
	}
	/* The backup comes back. */
	file_put(path, whole.data, whole.len);
	assert_int_equal(numbers_in(path), 300);
	buf_deinit(&whole);
	folder_remove();
}

static void refused(const char *path, enum err expected, const char *says)
{
	struct store *s = NULL;
	struct why why = WHY_NONE;
	enum err e = store_open(&s, path, &why);

	if (e != expected || !strstr(why.text, says))
		fail_msg("%s: got %s, \"%s\"; expected %s, \"%s\"", path, err_name(e), why.text, err_name(expected),
			 says);
	assert_null(s);
}

static void a_log_without_its_file_is_refused(void **state)
{
	const char *path, *log;
	struct store *s;
	struct buf content;
	int number = 1;

	folder_make();
	path = folder_path("muster.db");
	log = folder_path("muster.db-wal");
	s = open_ok(path);
	run_ok(s, write_number, &number);
	file_get(log, &content);
	store_close(s);
	file_put(log, content.data, content.len);
	unlink(path);
	refused(path, ERR_DAMAGED, "missing or empty");
	assert_int_equal(access(path, F_OK), -1);
	file_put(path, "", 0);
	refused(path, ERR_DAMAGED, "missing or empty");
	file_is(log, &content);
	buf_deinit(&content);
	folder_remove();
}

static void an_empty_file_becomes_a_store(void **state)
{
	const char *path;

	folder_make();
	path = folder_path("muster.db");
	file_put(path, "", 0);
	assert_int_equal(numbers_in(path), 0);
	folder_remove();
}

static void other_peoples_databases_are_left_alone(void **state)
{
	const char *path;
	struct buf before;

	folder_make();
	path = folder_path("other.db");
	raw_exec(path, "CREATE TABLE t (x); INSERT INTO t VALUES (1)");
	file_get(path, &before);
	refused(path, ERR_INVALID, "another program");
	file_is(path, &before);
	buf_deinit(&before);
	folder_remove();
}

static void a_newer_schema_says_who_may_use_it(void **state)
{
	const char *path;
	struct store *s;
	struct why why;
	int number = 1;

	folder_make();
	path = folder_path("muster.db");
	s = open_ok(path);
	run_ok(s, write_number, &number);
	/* A newer server migrates while we run, in a way that we can live with. */
	raw_exec(path,
		 "INSERT INTO migration VALUES (9001, '9001-more.sql', '0.0.9', '9.0.0'); PRAGMA user_version=9001");
	number++;
	run_ok(s, write_number, &number);
	assert_int_equal(numbers_in(path), 2);
	/* And then in one that we can't. */
	raw_exec(path,
		 "INSERT INTO migration VALUES (9002, '9002-other.sql', '10.0.0', '10.0.0'); PRAGMA user_version=9002");
	number++;
	err_is(run_one(s, write_number, &number, &why), ERR_NEWER);
	assert_non_null(strstr(why.text, "schema 9002 (9002-other.sql), which needs muster 10.0.0"));
	store_close(s);
	refused(path, ERR_NEWER, "needs muster 10.0.0");
	assert_int_equal(raw_number(path, "SELECT count(*) FROM event"), 2);
	folder_remove();
}

static void what_cannot_be_opened_is_named(void **state)
{
	folder_make();
	refused(folder_path("none/muster.db"), ERR_NOT_FOUND, "none/muster.db: No such file");
	assert_int_equal(mkdir(folder_path("dir"), 0700), 0);
	refused(folder_path("dir"), ERR_IO, "dir");
	file_put(folder_path("file"), "x", 1);
	refused(folder_path("file/muster.db"), ERR_NOT_FOUND, "file/muster.db: Not a directory");
	folder_remove();
}

/* Runs `body` in a child as a user without rights; root may write everything. */
static void as_nobody(void (*body)(void))
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
			_exit(1);
		body();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* Failing a test in the child would only confuse: it says what was wrong and exits. */
static void refused_in_child(const char *path, enum err expected, const char *says)
{
	struct store *s = NULL;
	struct why why = WHY_NONE;
	enum err e = store_open(&s, path, &why);

	if (e == expected && strstr(why.text, says) && strstr(why.text, path))
		return;
	fprintf(stderr, "%s: %s, \"%s\"\n", path, err_name(e), why.text);
	_exit(1);
}

static void open_without_rights(void)
{
	refused_in_child(folder_path("read-only.db"), ERR_IO, "permission denied");
	refused_in_child(folder_path("unreadable.db"), ERR_IO, "Permission denied");
	refused_in_child(folder_path("closed/muster.db"), ERR_IO, "Permission denied");
}

static void a_store_that_we_may_not_write_is_refused(void **state)
{
	struct buf before;

	folder_make();
	assert_int_equal(chmod(folder_path(""), 0755), 0);
	store_make(folder_path("read-only.db"));
	store_make(folder_path("unreadable.db"));
	assert_int_equal(chmod(folder_path("read-only.db"), 0444), 0);
	assert_int_equal(chmod(folder_path("unreadable.db"), 0), 0);
	assert_int_equal(mkdir(folder_path("closed"), 0555), 0);
	file_get(folder_path("read-only.db"), &before);
	as_nobody(open_without_rights);
	file_is(folder_path("read-only.db"), &before);
	buf_deinit(&before);
	folder_remove();
}

static void a_file_replaced_under_us_is_noticed(void **state)
{
	const char *path;
	struct store *s;
	struct why why;
	int number = 1;

	folder_make();
	path = folder_path("muster.db");
	s = open_ok(path);
	run_ok(s, write_number, &number);
	assert_int_equal(rename(path, folder_path("old.db")), 0);
	number++;
	err_is(run_one(s, write_number, &number, &why), ERR_STORE);
	assert_non_null(strstr(why.text, "was moved, removed or replaced"));
	assert_int_equal(rename(folder_path("old.db"), path), 0);
	run_ok(s, write_number, &number);
	store_close(s);
	folder_remove();
}

/* ---- full disks ---- */

static enum err write_much(struct store_tx *tx, void *arg, struct why *why)
{
	static char value[100000];
	bool changed;

	memset(value, 'x', sizeof(value) - 1);
	value[0] = *(const char *)arg;
	return store_config_set(tx, arg, CONFIG_GLOBAL, 0, value, &changed);
}

static void fill_up(void)
{
	const struct rlimit limit = {400000, 400000};
	struct store *s = NULL;
	struct store_call small = {.run = write_number, .arg = &(int){301}};
	struct store_call big[10];
	struct store_call *calls[11] = {&small};
	char names[10][2];
	struct why why = WHY_NONE;
	enum err e;

	/* Without this the limit kills. */
	signal(SIGXFSZ, SIG_IGN);
	if (store_open(&s, folder_path("muster.db"), NULL) || setrlimit(RLIMIT_FSIZE, &limit))
		_exit(1);
	for (int i = 0; i < 10; i++) {
		snprintf(names[i], sizeof(names[i]), "%c", 'a' + i);
		big[i] = (struct store_call){.run = write_much, .arg = names[i]};
		calls[i + 1] = &big[i];
	}
	e = store_run(s, calls, 11, &why);
	if (e != ERR_FULL || small.result != ERR_FULL || big[0].result != ERR_FULL ||
	    !strstr(small.why.text, "no room for")) {
		fprintf(stderr, "full disk: %s, %s\n", err_name(e), why.text);
		_exit(2);
	}
	/* What fits goes on. */
	if (store_run(s, calls, 1, &why) || small.result) {
		fprintf(stderr, "after the full disk: %s\n", why.text);
		_exit(3);
	}
	store_close(s);
}

static void a_full_disk_fails_the_group_and_nothing_else(void **state)
{
	const char *path;
	int status;
	pid_t child;

	folder_make();
	path = folder_path("muster.db");
	store_make(path);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		fill_up();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(raw_number(path, "SELECT max(host_id) FROM event"), 301);
	assert_int_equal(raw_number(path, "SELECT count(*) FROM configuration"), 1);
	folder_remove();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_acknowledged_survives_kill_9),
		cmocka_unit_test_setup_teardown(what_was_acknowledged_survives_power_loss, loss_begin, loss_end),
		cmocka_unit_test(several_processes_share_one_file),
		cmocka_unit_test(a_store_in_the_making_is_no_stranger),
		cmocka_unit_test(damaged_files_are_refused_and_not_touched),
		cmocka_unit_test(a_log_without_its_file_is_refused),
		cmocka_unit_test(an_empty_file_becomes_a_store),
		cmocka_unit_test(other_peoples_databases_are_left_alone),
		cmocka_unit_test(a_newer_schema_says_who_may_use_it),
		cmocka_unit_test(what_cannot_be_opened_is_named),
		cmocka_unit_test(a_store_that_we_may_not_write_is_refused),
		cmocka_unit_test(a_file_replaced_under_us_is_noticed),
		cmocka_unit_test(a_full_disk_fails_the_group_and_nothing_else),
	};

	return cmocka_run_group_tests_name("crash", tests, NULL, NULL);
}
