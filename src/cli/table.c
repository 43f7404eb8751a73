#include "cli/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include <libsmartcols.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cli/format.h"

struct table {
	const struct cli *cli;
	struct libscols_table *tb;
	struct libscols_line *line; /* the last row; borrowed */
	size_t n_columns;
	size_t at;     /* next cell */
	size_t *wide;  /* owned; the widest text of each column */
	size_t folded; /* which column goes on below; NO_COLUMN: none */
	char fold_at;  /* after this character */
};

#define NO_COLUMN SIZE_MAX
#define SEPARATOR "  "
#define FOLD_WIDTH_MIN 12

static const char *const sequences[] = {
	[TINT_NONE] = "",        [TINT_GOOD] = "\033[32m", [TINT_CAREFUL] = "\033[33m",
	[TINT_BAD] = "\033[31m", [TINT_FAINT] = "\033[2m", [TINT_STRONG] = "\033[1m",
};

const char *tint_on(const struct cli *c, enum tint tint)
{
	return c->has_colour ? sequences[tint] : "";
}

const char *tint_off(const struct cli *c)
{
	return c->has_colour ? "\033[0m" : "";
}

static int column_flags(unsigned flags)
{
	return (flags & TABLE_RIGHT ? SCOLS_FL_RIGHT : 0) | (flags & TABLE_SHORTEN ? SCOLS_FL_TRUNC : 0) |
	       (flags & (TABLE_WRAP | TABLE_LIST) ? SCOLS_FL_WRAP : 0);
}

/* Cells on the terminal; bytes where the text can't be measured. */
static size_t width_of(const char *text)
{
	wchar_t wide[256];
	size_t n = mbstowcs(wide, text, ARRAY_SIZE(wide));
	int width = n < ARRAY_SIZE(wide) ? wcswidth(wide, n) : -1;

	return width < 0 ? strlen(text) : (size_t)width;
}

struct table *table_new(const struct cli *c, const struct table_column *columns, size_t n)
{
	struct table *t = or_die(mem_zalloc(sizeof(*t)));

	t->cli = c;
	t->n_columns = n;
	t->folded = NO_COLUMN;
	t->wide = or_die(mem_zalloc_array(n, sizeof(*t->wide)));
	t->tb = or_die(scols_new_table());
	scols_table_set_column_separator(t->tb, SEPARATOR);
	scols_table_enable_colors(t->tb, c->has_colour);
	scols_table_set_termforce(t->tb, c->width ? SCOLS_TERMFORCE_ALWAYS : SCOLS_TERMFORCE_NEVER);
	if (c->width)
		scols_table_set_termwidth(t->tb, c->width);
	for (size_t i = 0; i < n; i++) {
		struct libscols_column *column =
			or_die(scols_table_new_column(t->tb, columns[i].title, 0, column_flags(columns[i].flags)));

		scols_cell_set_color(scols_column_get_header(column), sequences[TINT_STRONG]);
		t->wide[i] = width_of(columns[i].title);
		if (columns[i].flags & (TABLE_LIST | TABLE_WRAP)) {
			t->folded = i;
			t->fold_at = columns[i].flags & TABLE_LIST ? ',' : ' ';
			scols_column_set_safechars(column, "\n");
			scols_column_set_wrapfunc(column, scols_wrapnl_chunksize, scols_wrapnl_nextchunk, NULL);
		}
	}
	return t;
}

struct table *table_free(struct table *t)
{
	if (!t)
		return NULL;
	scols_unref_table(t->tb);
	mem_free(t->wide);
	return mem_free(t);
}

void table_row(struct table *t)
{
	t->line = or_die(scols_table_new_line(t->tb, NULL));
	t->at = 0;
}

void table_cell(struct table *t, enum tint tint, const char *format, ...)
{
	char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vasprintf(&text, format, ap);
	va_end(ap);
	or_die(n < 0 ? NULL : text);
	if (t->at < t->n_columns) {
		struct libscols_cell *cell = scols_line_get_cell(t->line, t->at);
		size_t width = width_of(format_printable(text));

		scols_cell_set_data(cell, *text ? text : "-");
		t->wide[t->at] = width > t->wide[t->at] ? width : t->wide[t->at];
		t->at++;
		if (tint != TINT_NONE)
			scols_cell_set_color(cell, sequences[tint]);
	}
	free(text);
}

/* Without blanks at the ends of lines, which smartcols leaves where a column is the last one. */
static void trim_lines(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		if (*from == '\n') {
			while (to > text && to[-1] == ' ')
				to--;
		}
		*to++ = *from;
	}
	*to = '\0';
}

/* `text` with ends of lines where it would get wider than `width`: after a comma, in place of a blank. New string. */
static char *folded(const char *text, size_t width, char at)
{
	struct buf out = {0};
	enum err e = ERR_OK;
	size_t used = 0;

	while (!e && *text) {
		size_t n = strcspn(text, (char[]){at, '\0'});
		const char *part = text;

		text += n;
		if (*text) {
			text++;
			n += at != ' ';
		}
		if (used && used + (at == ' ') + n > width) {
			e = buf_put_u8(&out, '\n');
			used = 0;
		} else if (used && at == ' ') {
			e = buf_put_u8(&out, ' ');
			used++;
		}
		if (!e)
			e = buf_put(&out, part, n);
		used += n;
	}
	return or_die(e ? NULL : buf_take_str(&out));
}

/* The column that goes on below gets what the others leave of the terminal's width. */
static void fold(struct table *t)
{
	size_t others = 0, width;
	struct libscols_iter *it;
	struct libscols_line *line = NULL;

	for (size_t i = 0; i < t->n_columns; i++)
		others += (i == t->folded ? 0 : t->wide[i]) + (i ? strlen(SEPARATOR) : 0);
	if (others + t->wide[t->folded] <= t->cli->width)
		return;
	width = t->cli->width > others + FOLD_WIDTH_MIN ? t->cli->width - others : FOLD_WIDTH_MIN;
	it = or_die(scols_new_iter(SCOLS_ITER_FORWARD));
	while (scols_table_next_line(t->tb, it, &line) == 0) {
		struct libscols_cell *cell = scols_line_get_cell(line, t->folded);
		const char *data = scols_cell_get_data(cell);
		char *text = data ? folded(data, width, t->fold_at) : NULL;

		if (text)
			scols_cell_set_data(cell, text);
		mem_free(text);
	}
	scols_free_iter(it);
}

char *table_text(struct table *t)
{
	char *text = NULL, *lines;
	size_t n;

	if (t->cli->width && t->folded != NO_COLUMN)
		fold(t);
	if (scols_print_table_to_string(t->tb, &text))
		or_die(NULL);
	n = text ? strlen(text) : 0;
	lines = text_or_die("%s%s", text ? text : "", n && text[n - 1] == '\n' ? "" : "\n");
	free(text);
	trim_lines(lines);
	return lines;
}

void table_print(struct table *t)
{
	char *text = table_text(t);

	fputs(text, stdout);
	mem_free(text);
}
