/*
 * SQL inside the store floor: statements, their errors in our words, and rows read and written by a table of fields.
 *
 * Not for anybody above: store.h is the contract. A statement's text must be a string literal, since prepared
 * statements are found again by its address.
 */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/balanced.h"
#include "store/store.h"

#define SQL_BUSY_MS 2000       /* how long we wait for another process's lock */
#define SQL_OPEN_BUSY_MS 10000 /* the same at the start: another one may be making or migrating the store */
#define SQL_CACHE_SIZE 256     /* a power of two, well above the number of statements */

struct store {
	sqlite3 *db; /* owned */
	char *name;  /* owned; the path, or what was given to store_open() */
	bool in_memory;
	dev_t device; /* of the file, to notice when another one takes its place */
	ino_t inode;
	int64_t schema;              /* number of the newest migration in it */
	int64_t data_version;        /* at the last store_changed() */
	struct placement *placement; /* owned; a copy of what is stored, NULL: none */
	struct {
		const char *text;
		sqlite3_stmt *st; /* owned */
	} cache[SQL_CACHE_SIZE];
};

struct store_tx {
	struct store *store;
	struct why *why;       /* where a sentence goes: of the call that runs, or of the group */
	bool only_reads;       /* the call that runs said so */
	enum err spoilt;       /* a statement of the call that runs failed: the call can't succeed any more */
	enum err broken;       /* the whole transaction failed */
	struct why broken_why; /* valid while broken is set */
	int64_t by;
	int64_t wall_ms;
	size_t n_servers;  /* that lists are made from, 0: not known */
	int64_t first_seq; /* of the first and the last change written, 0: none */
	int64_t last_seq;
	struct {
		enum change_kind kind;
		int64_t id;
	} last_change;   /* of the call that runs */
	bool has_placed; /* the copy of the placement was changed by the call that runs, or one before */
};

/* ---- errors ---- */

/* What SQLite's last error on this connection means to us, with a sentence. */
enum err sql_error(struct store *s, int rc, struct why *why);
/* Says why the function that runs refuses; returns `e`. */
enum err tx_say(struct store_tx *tx, enum err e, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- statements ---- */

struct sql_value {
	enum { SQL_END, SQL_IS_NUMBER, SQL_IS_TEXT } kind;
	int64_t number;
	const char *text; /* NULL: no value */
};
#define SQL_N(v) ((struct sql_value){.kind = SQL_IS_NUMBER, .number = (v)})
#define SQL_T(v) ((struct sql_value){.kind = SQL_IS_TEXT, .text = (v)})
#ifndef CPPCHECK /* which does not know __VA_OPT__ */
#define SQL_VALUES(...) ((const struct sql_value[]){__VA_ARGS__ __VA_OPT__(, ){.kind = SQL_END}})
#else
#define SQL_VALUES(...) ((const struct sql_value[]){{.kind = SQL_END}})
#endif

/* A statement in use. An error stays in it: sql_next() is false then, and sql_close() returns it. */
struct sql {
	struct store_tx *tx;
	sqlite3_stmt *st;
	bool is_cached;
	enum err err;
};
void sql_open_values(struct sql *q, struct store_tx *tx, const char *text, const struct sql_value *values);
#define sql_open(q, tx, text, ...) sql_open_values((q), (tx), (text), SQL_VALUES(__VA_ARGS__))
bool sql_next(struct sql *q) MUST_CHECK;
int64_t sql_number(const struct sql *q, int column);
enum err sql_close(struct sql *q) MUST_CHECK;

/*
 * Runs a statement that gives no rows. A broken constraint undoes the statement alone and doesn't spoil the call:
 * ERR_EXISTS for something that must be unique, ERR_NOT_FOUND for a reference to nothing, ERR_INVALID for the rest.
 */
enum err sql_run_values(struct store_tx *tx, const char *text, const struct sql_value *values) MUST_CHECK;
#define sql_run(tx, text, ...) sql_run_values((tx), (text), SQL_VALUES(__VA_ARGS__))
/* Rows that the last sql_run() touched. */
size_t sql_changes(const struct store_tx *tx);
int64_t sql_last_id(const struct store_tx *tx);
/* The number in the first row; `fallback` when there is none or it has no value. */
enum err sql_read_values(struct store_tx *tx, int64_t *out, int64_t fallback, const char *text,
			 const struct sql_value *values) MUST_CHECK;
#define sql_read(tx, out, fallback, text, ...) sql_read_values((tx), (out), (fallback), (text), SQL_VALUES(__VA_ARGS__))

/* ---- rows ---- */

enum sql_kind {
	SQL_ID, /* int64_t, 0: the store gives one */
	SQL_NUMBER,
	SQL_BOOL,
	SQL_TEXT, /* char *, owned by the row */
	SQL_UUID, /* char[UUID_TEXT] */
	SQL_HOST_STATUS,
	SQL_RESOURCE_STATE,
	SQL_SERVER_STATE,
	SQL_PLACE_KIND,
};
struct sql_field {
	enum sql_kind kind;
	size_t offset;
};
/* How a struct and the columns of a statement go together: field i is column i and parameter i + 1. */
struct sql_shape {
	const struct sql_field *fields;
	size_t n;
	size_t size; /* of the struct */
};

/*
 * From one list of fields - X_FIELDS(A, F), A for the first - come the shape, the names of the columns and the
 * question marks. Columns are named like the members.
 */
#define SQL_FIRST_COLUMN(kind, member) #member
#define SQL_COLUMN(kind, member) ", " #member
#define SQL_FIRST_MARK(kind, member) "?"
#define SQL_MARK(kind, member) ", ?"
#define SQL_COLUMNS(FIELDS) FIELDS(SQL_FIRST_COLUMN, SQL_COLUMN)
#define SQL_MARKS(FIELDS) FIELDS(SQL_FIRST_MARK, SQL_MARK)
#define SQL_FIELD(row, kind, member)                                                                                   \
	{                                                                                                              \
		SQL_##kind, offsetof(struct row, member)                                                               \
	}
#define SQL_INSERT(table, FIELDS) "INSERT INTO " table " (" SQL_COLUMNS(FIELDS) ") VALUES (" SQL_MARKS(FIELDS) ")"
#define SQL_SHAPE(row, fields_)                                                                                        \
	((struct sql_shape){.fields = (fields_), .n = ARRAY_SIZE(fields_), .size = sizeof(struct row)})

/* Fills `row`, which is overwritten, from the row where q stands. */
enum err sql_get(struct sql *q, const struct sql_shape *shape, void *row) MUST_CHECK;
enum err sql_insert(struct store_tx *tx, const char *text, const struct sql_shape *shape, const void *row) MUST_CHECK;
/* The first row; ERR_NOT_FOUND, without a sentence, when there is none. */
enum err sql_one_values(struct store_tx *tx, const struct sql_shape *shape, void *row, const char *text,
			const struct sql_value *values) MUST_CHECK;
#define sql_one(tx, shape, row, text, ...) sql_one_values((tx), (shape), (row), (text), SQL_VALUES(__VA_ARGS__))
/* All rows in a new array. */
enum err sql_all_values(struct store_tx *tx, const struct sql_shape *shape, void *rows, size_t *n, const char *text,
			const struct sql_value *values) MUST_CHECK;
#define sql_all(tx, shape, rows, n, text, ...)                                                                         \
	sql_all_values((tx), (shape), (rows), (n), (text), SQL_VALUES(__VA_ARGS__))
void sql_row_deinit(const struct sql_shape *shape, void *row);
enum err sql_row_copy(const struct sql_shape *shape, void *to, const void *from) MUST_CHECK;

/* ---- between the files of this floor ---- */

/* Checks the file, makes or migrates the schema (schema.c). */
enum err schema_bring_up(struct store *s, struct why *why) MUST_CHECK;
/* Inside a transaction: is the schema still one that this program can work with? */
enum err schema_check(struct store_tx *tx) MUST_CHECK;

/* Writes a row into the change table (store_change.c). */
enum err change_add(struct store_tx *tx, enum change_kind kind, int64_t id) MUST_CHECK;
/* Before the commit: drops the oldest. */
enum err change_trim(struct store_tx *tx) MUST_CHECK;

/* The slot for a new host of this zone is taken; a slot is given back (store_slot.c). */
enum err slot_take(struct store_tx *tx, int64_t zone_id, uint64_t *slot) MUST_CHECK;
enum err slot_give_back(struct store_tx *tx, int64_t zone_id, uint64_t slot) MUST_CHECK;
enum err slot_repair_zone(struct store_tx *tx, int64_t zone_id, size_t n_servers, size_t *moved) MUST_CHECK;

/* ---- placement.c ---- */

/* What is in memory may not be what is stored: it is read again when it is needed. */
void placement_forget(struct store *s);
/* What is stored changes otherwise than by placement_write(): all copies, of all servers, are read again. */
enum err placement_outdate(struct store_tx *tx) MUST_CHECK;
/* A host has just been inserted; is about to be removed; is about to be in another zone. */
enum err placement_host_comes(struct store_tx *tx, int64_t id, int64_t zone_id) MUST_CHECK;
enum err placement_host_goes(struct store_tx *tx, int64_t id) MUST_CHECK;
enum err placement_host_changes_zone(struct store_tx *tx, int64_t id, int64_t zone_id) MUST_CHECK;
/* The setting `host`, the algorithm, the registered servers, or what is said about an entry may have changed. */
enum err placement_refresh(struct store_tx *tx, size_t *moves) MUST_CHECK;
/* Changes of the placement by whoever knows more: NULL when balanced isn't in force. placement_write() afterwards. */
enum err placement_open(struct store_tx *tx, struct balanced **out) MUST_CHECK;
enum err placement_write(struct store_tx *tx) MUST_CHECK;
