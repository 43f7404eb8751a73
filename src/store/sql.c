#include "store/sql.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* ---- errors ---- */

/* Full: no room on the disk, over the quota, over the process's limit for files. */
static bool is_no_room(int rc, int number)
{
	if ((rc & 0xff) == SQLITE_FULL)
		return true;
	return (rc & 0xff) == SQLITE_IOERR && (number == ENOSPC || number == EDQUOT || number == EFBIG);
}

/*
 * The system's reason. SQLite keeps it, but not when it is COMMIT that fails; so callers set errno to 0 before a step,
 * and what it is after a failure comes first.
 */
static int system_reason(struct store *s, int rc, int number)
{
	return (rc & 0xff) == SQLITE_IOERR && number ? number : sqlite3_system_errno(s->db);
}

enum err sql_error(struct store *s, int rc, struct why *why)
{
	int number = system_reason(s, rc, errno);
	const char *reason = number ? strerror(number) : sqlite3_errmsg(s->db);

	if (is_no_room(rc, number)) {
		why_set(why, "no room for %s: make room on its disk, nothing of this was written", s->name);
		return ERR_FULL;
	}
	switch (rc & 0xff) {
	case SQLITE_NOMEM:
		return ERR_NOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		why_set(why, "%s is locked by another process for more than 2 s (is one stopped?)", s->name);
		return ERR_BUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		why_set(why,
			"%s is damaged (%s) and was not touched: stop all servers, then restore a backup, or save what "
			"can be read with: sqlite3 %s .recover | sqlite3 NEWFILE",
			s->name, sqlite3_errmsg(s->db), s->name);
		return ERR_DAMAGED;
	case SQLITE_CANTOPEN:
		why_set(why, "cannot open %s or the files beside it: %s", s->name, reason);
		return number == ENOENT || number == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
	case SQLITE_READONLY:
	case SQLITE_PERM:
		why_set(why, "cannot write %s: it, or its folder, is read-only for this user", s->name);
		return ERR_IO;
	case SQLITE_IOERR:
		why_set(why, "cannot read or write %s: %s (%s)", s->name, reason, sqlite3_errstr(rc));
		return ERR_IO;
	default:
		why_set(why, "%s: %s", s->name, sqlite3_errmsg(s->db));
		return ERR_STORE;
	}
}

enum err tx_say(struct store_tx *tx, enum err e, const char *format, ...)
{
	char text[sizeof(tx->why->text)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	why_set(tx->why, "%s", text);
	return e;
}

/*
 * A statement failed. The call can't succeed any more; the transaction neither, unless it is only memory that was
 * short and SQLite has kept it open: then the savepoint undoes the call alone.
 */
static enum err tx_fail(struct store_tx *tx, int rc)
{
	enum err e = sql_error(tx->store, rc, tx->why);

	tx->spoilt = e;
	if (!tx->broken && ((rc & 0xff) != SQLITE_NOMEM || sqlite3_get_autocommit(tx->store->db))) {
		tx->broken = e;
		tx->broken_why = tx->why ? *tx->why : WHY_NONE;
	}
	return e;
}

static enum err constraint_error(int rc)
{
	switch (rc) {
	case SQLITE_CONSTRAINT_UNIQUE:
	case SQLITE_CONSTRAINT_PRIMARYKEY:
	case SQLITE_CONSTRAINT_ROWID:
		return ERR_EXISTS;
	case SQLITE_CONSTRAINT_FOREIGNKEY:
		return ERR_NOT_FOUND;
	default:
		return ERR_INVALID;
	}
}

/* ---- statements ---- */

/* The place of a text in the cache: where it is, or a free one; SQL_CACHE_SIZE when there is neither. */
static size_t cache_find(const struct store *s, const char *text)
{
	size_t start = ((uintptr_t)text >> 3) * 0x9e3779b1u;

	for (size_t i = 0; i < SQL_CACHE_SIZE; i++) {
		size_t at = (start + i) & (SQL_CACHE_SIZE - 1);

		if (!s->cache[at].text || s->cache[at].text == text)
			return at;
	}
	return SQL_CACHE_SIZE;
}

/* A statement that is in use already (a callback asks the same again) gets a second one that isn't kept. */
static int prepare(struct sql *q, const char *text)
{
	struct store *s = q->tx->store;
	size_t at = cache_find(s, text);
	int rc;

	if (at < SQL_CACHE_SIZE && s->cache[at].st && !sqlite3_stmt_busy(s->cache[at].st)) {
		q->st = s->cache[at].st;
		q->is_cached = true;
		return SQLITE_OK;
	}
	q->is_cached = at < SQL_CACHE_SIZE && !s->cache[at].text;
	rc = sqlite3_prepare_v3(s->db, text, -1, q->is_cached ? SQLITE_PREPARE_PERSISTENT : 0, &q->st, NULL);
	if (rc == SQLITE_OK && q->is_cached) {
		s->cache[at].text = text;
		s->cache[at].st = q->st;
	}
	return rc;
}

static int bind(sqlite3_stmt *st, const struct sql_value *values)
{
	int rc = SQLITE_OK;
	int n = 0;

	if (!values) /* bound by the caller */
		return SQLITE_OK;
	for (const struct sql_value *v = values; v->kind != SQL_END && rc == SQLITE_OK; v++, n++) {
		if (v->kind == SQL_IS_NUMBER)
			rc = sqlite3_bind_int64(st, n + 1, v->number);
		else
			rc = sqlite3_bind_text(st, n + 1, v->text, -1, SQLITE_STATIC);
	}
	assert(rc != SQLITE_OK || n == sqlite3_bind_parameter_count(st));
	return rc;
}

void sql_open_values(struct sql *q, struct store_tx *tx, const char *text, const struct sql_value *values)
{
	int rc;

	*q = (struct sql){.tx = tx, .err = tx->broken};
	if (q->err)
		return;
	rc = prepare(q, text);
	if (rc == SQLITE_OK)
		rc = bind(q->st, values);
	if (rc != SQLITE_OK)
		q->err = tx_fail(tx, rc);
	else if (tx->only_reads && !sqlite3_stmt_readonly(q->st))
		q->err = tx->spoilt = tx_say(tx, ERR_STATE, "a call that said it only reads tried to write");
}

bool sql_next(struct sql *q)
{
	int rc;

	if (q->err)
		return false;
	errno = 0;
	rc = sqlite3_step(q->st);
	if (rc == SQLITE_ROW)
		return true;
	if ((rc & 0xff) == SQLITE_CONSTRAINT)
		q->err = constraint_error(sqlite3_extended_errcode(q->tx->store->db));
	else if (rc != SQLITE_DONE)
		q->err = tx_fail(q->tx, rc);
	return false;
}

int64_t sql_number(const struct sql *q, int column)
{
	return sqlite3_column_int64(q->st, column);
}

enum err sql_close(struct sql *q)
{
	if (q->st && q->is_cached) {
		/* Their results repeat the error of the last step. */
		(void)sqlite3_reset(q->st);
		(void)sqlite3_clear_bindings(q->st);
	} else {
		(void)sqlite3_finalize(q->st);
	}
	q->st = NULL;
	return q->err;
}

enum err sql_run_values(struct store_tx *tx, const char *text, const struct sql_value *values)
{
	struct sql q;

	sql_open_values(&q, tx, text, values);
	while (sql_next(&q)) {
		/* Some pragmas answer with a row. */
	}
	return sql_close(&q);
}

size_t sql_changes(const struct store_tx *tx)
{
	return (size_t)sqlite3_changes64(tx->store->db);
}

int64_t sql_last_id(const struct store_tx *tx)
{
	return sqlite3_last_insert_rowid(tx->store->db);
}

enum err sql_read_values(struct store_tx *tx, int64_t *out, int64_t fallback, const char *text,
			 const struct sql_value *values)
{
	struct sql q;
	int64_t number = fallback;
	enum err e;

	sql_open_values(&q, tx, text, values);
	if (sql_next(&q) && sqlite3_column_type(q.st, 0) != SQLITE_NULL)
		number = sql_number(&q, 0);
	e = sql_close(&q);
	if (!e)
		*out = number;
	return e;
}

/* ---- rows ---- */

static enum err get_text(struct sql *q, int column, char **out)
{
	const char *text;

	*out = NULL;
	if (sqlite3_column_type(q->st, column) == SQLITE_NULL)
		return ERR_OK;
	text = (const char *)sqlite3_column_text(q->st, column);
	*out = mem_strdup(text);
	return *out ? ERR_OK : ERR_NOMEM;
}

static enum err unknown_word(struct sql *q, int column, const char *word)
{
	return tx_say(q->tx, ERR_DAMAGED, "%s: \"%s\" is no %s that this program knows", q->tx->store->name,
		      word ? word : "", sqlite3_column_name(q->st, column));
}

static enum err get_field(struct sql *q, int column, enum sql_kind kind, void *at)
{
	const char *word;

	switch (kind) {
	case SQL_ID:
	case SQL_NUMBER:
		*(int64_t *)at = sql_number(q, column);
		return ERR_OK;
	case SQL_BOOL:
		*(bool *)at = sql_number(q, column) != 0;
		return ERR_OK;
	case SQL_TEXT:
		return get_text(q, column, at);
	case SQL_PLACE_KIND:
		*(enum place_kind *)at = (enum place_kind)sql_number(q, column);
		return ERR_OK;
	case SQL_UUID:
	case SQL_HOST_STATUS:
	case SQL_RESOURCE_STATE:
	case SQL_SERVER_STATE:
		break;
	}
	word = (const char *)sqlite3_column_text(q->st, column);
	if (!word && sqlite3_column_type(q->st, column) != SQLITE_NULL)
		return ERR_NOMEM;
	if (kind == SQL_UUID) {
		str_copy(at, UUID_TEXT, word ? word : "");
		return ERR_OK;
	}
	if (kind == SQL_HOST_STATUS      ? host_status_from_text(word, at)
	    : kind == SQL_RESOURCE_STATE ? resource_state_from_text(word, at)
					 : server_state_from_text(word, at))
		return ERR_OK;
	return unknown_word(q, column, word);
}

enum err sql_get(struct sql *q, const struct sql_shape *shape, void *row)
{
	enum err e = ERR_OK;

	memset(row, 0, shape->size);
	for (size_t i = 0; i < shape->n && !e; i++)
		e = get_field(q, (int)i, shape->fields[i].kind, (char *)row + shape->fields[i].offset);
	if (!e)
		return ERR_OK;
	sql_row_deinit(shape, row);
	q->err = e;
	/* What can't be read spoils the call, like a statement that failed. */
	q->tx->spoilt = e;
	return e;
}

static int bind_field(sqlite3_stmt *st, int at, enum sql_kind kind, const void *field)
{
	int64_t number;

	switch (kind) {
	case SQL_ID:
		number = *(const int64_t *)field;
		return number ? sqlite3_bind_int64(st, at, number) : sqlite3_bind_null(st, at);
	case SQL_NUMBER:
		return sqlite3_bind_int64(st, at, *(const int64_t *)field);
	case SQL_BOOL:
		return sqlite3_bind_int(st, at, *(const bool *)field);
	case SQL_TEXT:
		return sqlite3_bind_text(st, at, *(char *const *)field, -1, SQLITE_STATIC);
	case SQL_UUID:
		return sqlite3_bind_text(st, at, field, -1, SQLITE_STATIC);
	case SQL_HOST_STATUS:
		return sqlite3_bind_text(st, at, host_status_name(*(const enum host_status *)field), -1, SQLITE_STATIC);
	case SQL_RESOURCE_STATE:
		return sqlite3_bind_text(st, at, resource_state_name(*(const enum resource_state *)field), -1,
					 SQLITE_STATIC);
	case SQL_SERVER_STATE:
		return sqlite3_bind_text(st, at, server_state_name(*(const enum server_state *)field), -1,
					 SQLITE_STATIC);
	case SQL_PLACE_KIND:
		return sqlite3_bind_int64(st, at, (int64_t) * (const enum place_kind *)field);
	}
	return SQLITE_MISUSE;
}

enum err sql_insert(struct store_tx *tx, const char *text, const struct sql_shape *shape, const void *row)
{
	struct sql q;
	int rc = SQLITE_OK;

	sql_open_values(&q, tx, text, NULL);
	for (size_t i = 0; i < shape->n && rc == SQLITE_OK && !q.err; i++)
		rc = bind_field(q.st, (int)i + 1, shape->fields[i].kind, (const char *)row + shape->fields[i].offset);
	if (rc != SQLITE_OK)
		q.err = tx_fail(tx, rc);
	while (sql_next(&q)) {
	}
	return sql_close(&q);
}

enum err sql_one_values(struct store_tx *tx, const struct sql_shape *shape, void *row, const char *text,
			const struct sql_value *values)
{
	struct sql q;
	bool found;
	enum err e;

	sql_open_values(&q, tx, text, values);
	found = sql_next(&q) && sql_get(&q, shape, row) == ERR_OK;
	e = sql_close(&q);
	return e || found ? e : ERR_NOT_FOUND;
}

enum err sql_all_values(struct store_tx *tx, const struct sql_shape *shape, void *rows, size_t *n, const char *text,
			const struct sql_value *values)
{
	struct sql q;
	char *all = NULL;
	char *more;
	size_t count = 0;
	size_t room = 0;
	enum err e;

	sql_open_values(&q, tx, text, values);
	while (sql_next(&q)) {
		if (count == room) {
			room = room ? room * 2 : 16;
			more = mem_grow_array(all, room, shape->size);
			if (!more) {
				q.err = ERR_NOMEM;
				break;
			}
			all = more;
		}
		if (sql_get(&q, shape, all + count * shape->size) == ERR_OK)
			count++;
	}
	e = sql_close(&q);
	if (e) {
		for (size_t i = 0; i < count; i++)
			sql_row_deinit(shape, all + i * shape->size);
		mem_free(all);
		return e;
	}
	*(void **)rows = all;
	*n = count;
	return ERR_OK;
}

void sql_row_deinit(const struct sql_shape *shape, void *row)
{
	for (size_t i = 0; i < shape->n; i++) {
		char **text = (char **)(void *)((char *)row + shape->fields[i].offset);

		if (shape->fields[i].kind == SQL_TEXT)
			*text = mem_free(*text);
	}
	memset(row, 0, shape->size);
}

enum err sql_row_copy(const struct sql_shape *shape, void *to, const void *from)
{
	enum err e = ERR_OK;

	memcpy(to, from, shape->size);
	/* First all texts are made ours, so that what was copied can be given up as a whole. */
	for (size_t i = 0; i < shape->n; i++) {
		char **text = (char **)(void *)((char *)to + shape->fields[i].offset);

		if (shape->fields[i].kind != SQL_TEXT || !*text)
			continue;
		*text = e ? NULL : mem_strdup(*text);
		if (!*text)
			e = ERR_NOMEM;
	}
	if (e)
		sql_row_deinit(shape, to);
	return e;
}
