/*
 * Settings from a table: one row a setting - name, type, range, default, a line of help.
 *
 * Parser, --help, --dump and the manual's table come from the same rows, so a default is written once. New settings
 * are built aside: settings_load() fills a fresh block, the caller swaps it in when all of it is valid.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/props.h"
#include "base/str.h"

enum setting_type {
	SETTING_TEXT,   /* char *, owned by the block */
	SETTING_NUMBER, /* int64_t with min and max */
	SETTING_BOOL,   /* bool: true or false, any case */
	SETTING_CHOICE, /* char *, one of `choices` (comma separated) */
};

struct setting {
	const char *name;
	enum setting_type type;
	size_t offset;        /* of the field in the caller's block */
	const char *fallback; /* the default as text; NULL: unset (text), 0, false */
	int64_t min, max;     /* numbers; both 0: any */
	const char *choices;
	bool required;
	const char *help;
};

struct settings_table {
	const struct setting *rows;
	size_t n;
	/* Keys that are not ours but belong in the file (prefixes ending in '.', or whole keys); NULL-terminated. */
	const char *const *foreign;
	bool unknown_is_error;  /* false: unknown keys are kept and only listed by settings_unknown() */
	const char *own_prefix; /* unknown keys with this prefix are always errors; may be NULL */
};

/*
 * Fills `block` (zeroed by the caller) from the document. Every mistake is reported through `say` with file and line
 * ("server.properties:12: port: 99999 is not between 1 and 65535"), not only the first; then ERR_INVALID comes back
 * and the block holds no texts. `say` may be NULL.
 */
enum err settings_load(const struct settings_table *table, void *block, const struct props *p, const char *file,
		       void (*say)(void *user, const char *sentence), void *user) MUST_CHECK;
/* Sets one by name, from a command line. */
enum err settings_set(const struct settings_table *table, void *block, const char *name, const char *value,
		      struct why *why) MUST_CHECK;
void settings_deinit(const struct settings_table *table, void *block); /* frees the texts */
/* A valid file with all values in force, each after its help and default as a comment. */
enum err settings_dump(const struct settings_table *table, const void *block, struct buf *out) MUST_CHECK;
/* The rows as the manual's list (scdoc: a paragraph a setting, tables don't wrap) or as plain help. */
enum err settings_help(const struct settings_table *table, bool scdoc, struct buf *out) MUST_CHECK;
/* Calls `say` once for each key of the document that the table doesn't know. */
void settings_unknown(const struct settings_table *table, const struct props *p,
		      void (*say)(void *user, const char *key, unsigned line), void *user);
