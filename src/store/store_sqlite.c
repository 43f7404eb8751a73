/*
 * The store on SQLite: opening, running groups of calls, noticing what others did.
 *
 * One transaction holds a whole group, because the disk's flush is what costs; one savepoint holds each call, so that
 * a call which fails takes only its own changes back. Groups that write begin IMMEDIATE: they get the write lock first
 * or give up after SQL_BUSY_MS, and can't meet a conflict later. Groups that only read see one moment of the store and
 * don't disturb writers.
 *
 * A failure of the database itself (full disk, damage, lost lock) is everybody's: the group is rolled back and each of
 * its calls reports it. After an error of the disk at commit it can happen that the group is there all the same after
 * a restart; what was acknowledged is there in any case.
 *
 * Processes that write to a disk with a limit (RLIMIT_FSIZE) must ignore SIGXFSZ, then the limit is ERR_FULL.
 */
#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/mem.h"
#include "store/sql.h"

#define MEMORY_PREFIX ":memory:"

/* ---- opening ---- */

/* The rest of the name, in a form that has no meaning in a URI. */
static char *memory_uri(const char *where)
{
	const char *name = where + strlen(MEMORY_PREFIX);
	size_t n = strlen(name);
	CLEAN(mem_freep) char *hex = mem_zalloc(2 * n + 1);

	if (!hex)
		return NULL;
	hex_encode(hex, name, n);
	return mem_printf("file:/muster-%s?vfs=memdb", hex);
}

/*
 * A write-ahead log beside a file that is missing or empty: SQLite would delete the log, and with it all that is left.
 */
static enum err refuse_orphaned_log(const char *path, struct why *why)
{
	CLEAN(mem_freep) char *log = mem_printf("%s-wal", path);
	struct stat st;

	if (!log)
		return ERR_NOMEM;
	if ((stat(path, &st) == 0 && st.st_size > 0) || stat(log, &st) != 0 || st.st_size == 0)
		return ERR_OK;
	why_set(why, "%s is missing or empty, but %s has data: restore both from a backup, or move the log away", path,
		log);
	return ERR_DAMAGED;
}

/*
 * Makes the file before SQLite does, for its mode: what SQLite adds beside it gets the same. No descriptor may be
 * opened and closed here, since closing any drops all locks that other connections of this process hold on the file.
 */
static enum err make_file(const char *path, struct why *why)
{
	int number;

	if (mknod(path, S_IFREG | 0600, 0) == 0 || errno == EEXIST)
		return ERR_OK;
	number = errno;
	why_set(why, "cannot make %s: %s", path, strerror(number));
	return number == ENOENT || number == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
}

static enum err open_file(struct store *s, const char *where, struct why *why)
{
	/* Names that start like a URI would be taken for one. */
	CLEAN(mem_freep) char *path = mem_printf("%s%s", str_starts(where, "file:") ? "./" : "", where);
	struct stat st;
	int rc;
	enum err e;

	if (!path)
		return ERR_NOMEM;
	e = refuse_orphaned_log(path, why);
	if (!e)
		e = make_file(path, why);
	if (e)
		return e;
	rc = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
	if (rc != SQLITE_OK)
		return s->db ? sql_error(s, rc, why) : ERR_NOMEM;
	if (sqlite3_db_readonly(s->db, "main") == 1) {
		why_set(why, "cannot open %s for writing: permission denied", where);
		return ERR_IO;
	}
	if (stat(path, &st) != 0) {
		why_set(why, "cannot look at %s: %s", where, strerror(errno));
		return ERR_IO;
	}
	s->device = st.st_dev;
	s->inode = st.st_ino;
	return ERR_OK;
}

static enum err open_memory(struct store *s, const char *where, struct why *why)
{
	CLEAN(mem_freep) char *uri = memory_uri(where);
	int rc;

	if (!uri)
		return ERR_NOMEM;
	s->in_memory = true;
	rc = sqlite3_open_v2(uri, &s->db,
			     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI |
				     SQLITE_OPEN_EXRESCODE,
			     NULL);
	if (rc == SQLITE_OK)
		return ERR_OK;
	return s->db ? sql_error(s, rc, why) : ERR_NOMEM;
}

static enum err set_up(struct store *s, struct why *why)
{
	const char *pragmas = "PRAGMA synchronous=FULL;"
			      "PRAGMA foreign_keys=ON;"
			      "PRAGMA trusted_schema=OFF;"
			      "PRAGMA cell_size_check=ON;"
			      "PRAGMA temp_store=MEMORY;"
			      "PRAGMA cache_size=-16000;"            /* KiB */
			      "PRAGMA journal_size_limit=67108864;"; /* the log shrinks to this after a peak */
	int rc = sqlite3_busy_timeout(s->db, SQL_OPEN_BUSY_MS);

	/* Until the file is known to be ours and whole, closing it must not write either. */
	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(s->db, pragmas, NULL, NULL, NULL);
	if (rc == SQLITE_OK && s->in_memory)
		rc = sqlite3_exec(s->db, "PRAGMA journal_mode=MEMORY", NULL, NULL, NULL);
	return rc == SQLITE_OK ? ERR_OK : sql_error(s, rc, why);
}

CLEAN_DEFINE(struct store, store_close)

enum err store_open(struct store **out, const char *where, struct why *why)
{
	CLEAN(store_closep) struct store *s = mem_zalloc(sizeof(*s));
	enum err e;

	if (!s || !(s->name = mem_strdup(where)))
		return ERR_NOMEM;
	e = str_starts(where, MEMORY_PREFIX) ? open_memory(s, where, why) : open_file(s, where, why);
	if (!e)
		e = set_up(s, why);
	if (!e)
		e = schema_bring_up(s, why);
	if (e)
		return e;
	(void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	(void)sqlite3_busy_timeout(s->db, SQL_BUSY_MS);
	(void)store_changed(s);
	*out = STEAL(s);
	return ERR_OK;
}

struct store *store_close(struct store *s)
{
	if (!s)
		return NULL;
	placement_forget(s);
	for (size_t i = 0; i < SQL_CACHE_SIZE; i++)
		sqlite3_finalize(s->cache[i].st);
	(void)sqlite3_close_v2(s->db);
	mem_free(s->name);
	return mem_free(s);
}

/* ---- running ---- */

/* Somebody moved the file away or put another in its place: what we'd write now would be lost. */
static enum err check_file(struct store_tx *tx)
{
	const struct store *s = tx->store;
	const char *path = sqlite3_db_filename(s->db, "main"); /* absolute: a daemon may have changed its folder */
	struct stat st;

	if (s->in_memory || (stat(path, &st) == 0 && st.st_dev == s->device && st.st_ino == s->inode))
		return ERR_OK;
	return tx_say(tx, ERR_STORE, "%s was moved, removed or replaced while it was open: restart", s->name);
}

static enum err tx_begin(struct store_tx *tx, bool reads)
{
	enum err e = reads ? sql_run(tx, "BEGIN") : check_file(tx);

	if (!e && !reads)
		e = sql_run(tx, "BEGIN IMMEDIATE");
	return e ? e : schema_check(tx);
}

static enum err call_run(struct store_tx *tx, struct store_call *c)
{
	enum err e = ERR_OK;
	enum err undone;

	tx->why = &c->why;
	tx->only_reads = false;
	tx->spoilt = ERR_OK;
	tx->last_change.kind = 0;
	if (!c->read_only)
		e = sql_run(tx, "SAVEPOINT one");
	if (e)
		return e;
	tx->only_reads = c->read_only;
	e = c->run(tx, c->arg, &c->why);
	tx->only_reads = false;
	/* A call may take a refusal for an answer, but not a statement that failed. */
	if (!e)
		e = tx->spoilt;
	if (!e)
		c->why = WHY_NONE;
	if (c->read_only || tx->broken)
		return e;
	if (e && tx->has_placed)
		placement_forget(tx->store);
	undone = e ? sql_run(tx, "ROLLBACK TO one") : ERR_OK;
	if (!undone)
		undone = sql_run(tx, "RELEASE one");
	/* Without its savepoint a call can't be undone alone. */
	if (undone && !tx->broken) {
		tx->broken = undone;
		tx->broken_why = WHY_NONE;
	}
	return e;
}

static enum err tx_finish(struct store_tx *tx, bool reads)
{
	enum err e = tx->broken;

	if (!e && !reads)
		e = change_trim(tx);
	if (!e)
		e = sql_run(tx, "COMMIT");
	return tx->broken ? tx->broken : e;
}

/* SQLite has rolled back by itself after some errors. */
static void tx_roll_back(struct store_tx *tx)
{
	if (tx->has_placed)
		placement_forget(tx->store);
	if (!sqlite3_get_autocommit(tx->store->db))
		(void)sqlite3_exec(tx->store->db, "ROLLBACK", NULL, NULL, NULL);
}

enum err store_run(struct store *s, struct store_call **calls, size_t n, struct why *why)
{
	struct why said = WHY_NONE;
	struct store_tx tx = {.store = s, .why = &said};
	bool reads = true;
	enum err e;

	for (size_t i = 0; i < n; i++) {
		calls[i]->why = WHY_NONE;
		reads = reads && calls[i]->read_only;
	}
	if (n == 0)
		return ERR_OK;
	e = tx_begin(&tx, reads);
	for (size_t i = 0; i < n && !e && !tx.broken; i++)
		calls[i]->result = call_run(&tx, calls[i]);
	tx.why = &said;
	if (!e)
		e = tx_finish(&tx, reads);
	if (!e)
		return ERR_OK;
	tx_roll_back(&tx);
	if (tx.broken)
		said = tx.broken_why;
	for (size_t i = 0; i < n; i++) {
		calls[i]->result = e;
		calls[i]->why = said;
	}
	if (why)
		*why = said;
	return e;
}

void store_tx_by(struct store_tx *tx, int64_t msid, int64_t wall_ms)
{
	tx->by = msid;
	tx->wall_ms = wall_ms;
}

void store_tx_servers(struct store_tx *tx, size_t n_servers)
{
	tx->n_servers = n_servers;
}

bool store_changed(struct store *s)
{
	struct why said = WHY_NONE;
	struct store_tx tx = {.store = s, .why = &said};
	int64_t version;

	/* An answer that can't be had is a yes: the caller looks, and meets the error where it can be handled. */
	if (sql_read(&tx, &version, 0, "PRAGMA data_version"))
		return true;
	if (version == s->data_version)
		return false;
	s->data_version = version;
	return true;
}
