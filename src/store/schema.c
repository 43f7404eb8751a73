/*
 * The schema of a store: is this file ours, is it whole, and is it one that this program can work with.
 *
 * The number of the newest migration is the file's user_version; each migration has a row in `migration` with the
 * oldest program that still works after it. So an older program can tell whether it may use a schema that it has
 * never heard of, and servers can be upgraded one by one. A server that runs while a newer one migrates finds out at
 * its next transaction (schema_check()) and refuses to go on when it is too old.
 *
 * Nothing is written before the file was found to be ours and whole.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "store/migrations.h"
#include "store/sql.h"

#define APPLICATION_ID 0x6d737472 /* "mstr", in the file's header */
#define LOCK_WAIT_MS 25
#define LOCK_TRIES (SQL_OPEN_BUSY_MS / LOCK_WAIT_MS / 2) /* SQLite waits in each try, too */

struct header {
	int64_t application_id;
	int64_t n_tables;
	int64_t schema;
};

/* One number from the first row and column; a text is kept in `text` when that is given. */
static enum err ask(struct store *s, const char *question, int64_t *number, char *text, size_t size, struct why *why)
{
	sqlite3_stmt *st = NULL;
	enum err e = ERR_OK;
	int rc;

	errno = 0;
	rc = sqlite3_prepare_v2(s->db, question, -1, &st, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW && number)
		*number = sqlite3_column_int64(st, 0);
	if (rc == SQLITE_ROW && text && !sqlite3_column_text(st, 0))
		rc = SQLITE_NOMEM;
	if (rc == SQLITE_ROW && text)
		str_copy(text, size, (const char *)sqlite3_column_text(st, 0));
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		e = sql_error(s, rc, why);
	sqlite3_finalize(st);
	return e;
}

static enum err run(struct store *s, const char *text, struct why *why)
{
	int rc;

	errno = 0;
	rc = sqlite3_exec(s->db, text, NULL, NULL, NULL);
	return rc == SQLITE_OK ? ERR_OK : sql_error(s, rc, why);
}

/*
 * The three belong together: read one by one, a store that another process is just making would look like somebody
 * else's database, with tables and without our mark.
 */
static enum err header_read(struct store *s, struct header *h, struct why *why)
{
	enum err e = run(s, "BEGIN", why);

	if (!e)
		e = ask(s, "PRAGMA application_id", &h->application_id, NULL, 0, why);
	if (!e)
		e = ask(s, "PRAGMA user_version", &h->schema, NULL, 0, why);
	if (!e)
		e = ask(s, "SELECT count(*) FROM sqlite_schema", &h->n_tables, NULL, 0, why);
	/* It has only read. After an error the store is closed anyway. */
	return e ? e : run(s, "ROLLBACK", why);
}

/* An empty database becomes ours; another program's is left alone. */
static enum err header_judge(const struct store *s, const struct header *h, struct why *why)
{
	bool is_empty = h->n_tables == 0 && h->application_id == 0 && h->schema == 0;

	if (is_empty || h->application_id == APPLICATION_ID)
		return ERR_OK;
	why_set(why, "%s is a database of another program and was not touched", s->name);
	return ERR_INVALID;
}

static enum err check_whole(struct store *s, struct why *why)
{
	char answer[200] = "";
	enum err e = ask(s, "PRAGMA quick_check(1)", NULL, answer, sizeof(answer), why);

	if (e || str_equal(answer, "ok"))
		return e;
	/* The answer has several lines; the last one says what is wrong. */
	for (char *p = answer; *p; p++) {
		if (*p == '\n')
			*p = ' ';
	}
	why_set(why,
		"%s is damaged (%.90s) and was not touched: stop all servers, then restore a backup, or save what can be "
		"read with: sqlite3 %s .recover | sqlite3 NEWFILE",
		s->name, answer, s->name);
	return ERR_DAMAGED;
}

/*
 * Switches a new file to the write-ahead log. SQLite doesn't wait for all of the locks here, so when several processes
 * make the same store we ask again for a while. Without shared memory (network file systems) it stays as it was.
 */
static enum err use_wal(struct store *s, struct why *why)
{
	const struct timespec wait = {.tv_nsec = LOCK_WAIT_MS * 1000000L};
	char mode[20] = "";
	enum err e = ERR_BUSY;

	sqlite3_busy_timeout(s->db, LOCK_WAIT_MS);
	for (int i = 0; i < LOCK_TRIES && e == ERR_BUSY; i++) {
		if (i)
			nanosleep(&wait, NULL);
		e = ask(s, "PRAGMA journal_mode=WAL", NULL, mode, sizeof(mode), why);
	}
	sqlite3_busy_timeout(s->db, SQL_OPEN_BUSY_MS);
	if (e || str_equal(mode, "wal"))
		return e;
	why_set(why, "%s: the file system can't hold a store (no shared memory): put it on a local disk", s->name);
	return ERR_UNSUPPORTED;
}

/* "0.10.2" as a number that can be compared. */
static int64_t version_number(const char *text)
{
	int64_t number = 0;

	for (int i = 0; i < 3; i++) {
		char *end = NULL;
		unsigned long part = strtoul(text, &end, 10);

		number = number * 1000000 + (int64_t)(part < 1000000 ? part : 999999);
		text = *end == '.' ? end + 1 : "";
	}
	return number;
}

/* A schema newer than we know: each of its migrations says whether we can still work with it. */
static enum err judge_newer(struct store_tx *tx, int64_t schema)
{
	struct sql q;
	enum err e = ERR_OK;
	int64_t ours = version_number(MUSTER_VERSION);

	sql_open(&q, tx, "SELECT name, oldest_program FROM migration WHERE number > ? ORDER BY number",
		 SQL_N((int64_t)n_migrations));
	while (!e && sql_next(&q)) {
		const char *name = (const char *)sqlite3_column_text(q.st, 0);
		const char *oldest = (const char *)sqlite3_column_text(q.st, 1);

		if (!name || !oldest)
			e = ERR_NOMEM;
		else if (version_number(oldest) > ours)
			e = tx_say(tx, ERR_NEWER,
				   "%s has schema %" PRId64 " (%s), which needs muster %s or newer; this is %s",
				   tx->store->name, schema, name, oldest, MUSTER_VERSION);
	}
	if (e)
		q.err = e;
	return sql_close(&q);
}

enum err schema_check(struct store_tx *tx)
{
	int64_t schema;
	enum err e = sql_read(tx, &schema, 0, "PRAGMA user_version");

	if (e || schema == tx->store->schema)
		return e;
	if (schema < tx->store->schema)
		return tx_say(tx, ERR_STORE, "%s has an older schema than before: it was replaced, restart",
			      tx->store->name);
	e = judge_newer(tx, schema);
	if (!e)
		tx->store->schema = schema;
	return e;
}

static enum err migrate_one(struct store_tx *tx, const struct migration *m)
{
	CLEAN(mem_freep) char *number = mem_printf("PRAGMA user_version=%" PRId64, m->number);
	enum err e;

	if (!number)
		return ERR_NOMEM;
	e = run(tx->store, m->sql, tx->why);
	if (!e)
		e = sql_run(tx, "INSERT INTO migration (number, name, oldest_program, applied_by) VALUES (?, ?, ?, ?)",
			    SQL_N(m->number), SQL_T(m->name), SQL_T(m->oldest_program), SQL_T(MUSTER_VERSION));
	if (!e)
		e = run(tx->store, number, tx->why);
	if (e)
		why_add(tx->why, "migration %s", m->name);
	return e;
}

/* In one transaction, whose lock lets one of several processes do it: the number is read again inside. */
static enum err migrate(struct store_tx *tx)
{
	int64_t schema = 0;
	enum err e = run(tx->store, "BEGIN IMMEDIATE", tx->why);

	if (!e)
		e = ask(tx->store, "PRAGMA user_version", &schema, NULL, 0, tx->why);
	if (!e && schema == 0)
		e = run(tx->store, "PRAGMA application_id=0x6d737472", tx->why);
	for (size_t i = 0; i < n_migrations && !e; i++) {
		if (migrations[i].number > schema)
			e = migrate_one(tx, &migrations[i]);
	}
	if (!e)
		e = run(tx->store, "COMMIT", tx->why);
	if (e && !sqlite3_get_autocommit(tx->store->db))
		(void)run(tx->store, "ROLLBACK", NULL);
	return e;
}

enum err schema_bring_up(struct store *s, struct why *why)
{
	struct why said = WHY_NONE;
	struct store_tx tx = {.store = s, .why = &said};
	struct header h = {0};
	enum err e = header_read(s, &h, why);

	if (!e)
		e = header_judge(s, &h, why);
	if (!e && !s->in_memory)
		e = check_whole(s, why);
	if (!e && !s->in_memory)
		e = use_wal(s, why);
	if (e)
		return e;
	s->schema = (int64_t)n_migrations;
	e = h.schema < s->schema ? migrate(&tx) : schema_check(&tx);
	if (e && why)
		*why = said;
	return e;
}
