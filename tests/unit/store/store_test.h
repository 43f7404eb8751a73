/*
 * What the tests of the store share: stores in memory and in a folder of their own, and single calls.
 */
#pragma once

#include <sqlite3.h>

#include "check.h"
#include "store/store.h"

#define MS_A 101
#define MS_B 102
#define MS_C 103
#define WALL 1700000000000

typedef enum err tx_body(struct store_tx *tx, void *arg, struct why *why);

/* Runs one call as MS_A at WALL and returns its result; the sentence goes to `why` (may be NULL). */
enum err run_one(struct store *s, tx_body *body, void *arg, struct why *why);
enum err run_one_reading(struct store *s, tx_body *body, void *arg, struct why *why);
/* Runs one call that must succeed. */
void run_ok(struct store *s, tx_body *body, void *arg);
/* Runs `body` in a new store in memory; it must succeed. */
void in_new_store(tx_body *body);

/* A test whose body runs inside one transaction of a new store in memory: TX_TEST(name) { ... return ERR_OK; } */
#define TX_TEST(name)                                                                                                  \
	static enum err name##_body(struct store_tx *tx, void *arg, struct why *why);                                  \
	static void name(void **state)                                                                                 \
	{                                                                                                              \
		in_new_store(name##_body);                                                                             \
	}                                                                                                              \
	static enum err name##_body(struct store_tx *tx, void *arg, struct why *why)

#define ok(expression) assert_int_equal((expression), ERR_OK)
#define err_is(expression, error) assert_int_equal((expression), (error))

/* A new folder for one test, removed with what is in it by folder_remove(). */
const char *folder_make(void);
void folder_remove(void);
/* A path in the folder; belongs to the helper, valid until folder_remove(). */
const char *folder_path(const char *name);

struct store *open_ok(const char *where);
struct store *open_memory(void); /* a database of its own */
/* SQL behind the store's back, on a file. */
void raw_exec(const char *path, const char *sql);
int64_t raw_number(const char *path, const char *sql);

/* A row for store_host_create(): texts are literals, nothing to free. */
struct host_row host_like(const char *guid);
/* Makes a host that must be made; returns its id. */
int64_t host_made(struct store_tx *tx, const char *guid);
/* UUIDs that are all different. */
const char *some_uuid(void);
/* How many changes there were. */
int64_t changes_so_far(struct store_tx *tx);
