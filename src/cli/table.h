/*
 * Tables on libsmartcols: as wide as the terminal, coloured only there, everything in full elsewhere.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cli/cli.h"

/*
 * What happens to a column when the terminal is too narrow: TABLE_SHORTEN cuts it, TABLE_WRAP goes on below at a blank,
 * TABLE_LIST at a comma. One column of a table may go on below.
 */
enum table_flag { TABLE_RIGHT = 1, TABLE_SHORTEN = 2, TABLE_WRAP = 4, TABLE_LIST = 8 };
enum tint { TINT_NONE, TINT_GOOD, TINT_CAREFUL, TINT_BAD, TINT_FAINT, TINT_STRONG };

struct table_column {
	const char *title;
	unsigned flags;
};

struct table;

struct table *table_new(const struct cli *c, const struct table_column *columns, size_t n);
struct table *table_free(struct table *t);
/* Starts a row; its cells follow in the order of the columns. */
void table_row(struct table *t);
void table_cell(struct table *t, enum tint tint, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* As a text that ends with a newline; the caller frees it with mem_free(). */
char *table_text(struct table *t);
void table_print(struct table *t);

/* Escape sequences for a text outside of tables; "" without colour. */
const char *tint_on(const struct cli *c, enum tint tint);
const char *tint_off(const struct cli *c);
