#include "base/settings.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

static char **text_field(const struct setting *row, void *block)
{
	return (char **)(void *)((char *)block + row->offset);
}

static int64_t *number_field(const struct setting *row, void *block)
{
	return (int64_t *)(void *)((char *)block + row->offset);
}

static bool *bool_field(const struct setting *row, void *block)
{
	return (bool *)(void *)((char *)block + row->offset);
}

static bool has_range(const struct setting *row)
{
	return row->min != 0 || row->max != 0;
}

static bool is_text(const struct setting *row)
{
	return row->type == SETTING_TEXT || row->type == SETTING_CHOICE;
}

static const struct setting *find_row(const struct settings_table *table, const char *name)
{
	for (size_t i = 0; i < table->n; i++) {
		if (strcmp(table->rows[i].name, name) == 0)
			return &table->rows[i];
	}
	return NULL;
}

/* -- one value -- */

static enum err set_text(const struct setting *row, void *block, const char *value)
{
	char *copy = mem_strdup(value);

	if (!copy)
		return ERR_NOMEM;
	mem_free(*text_field(row, block));
	*text_field(row, block) = copy;
	return ERR_OK;
}

static enum err set_number(const struct setting *row, void *block, const char *value, struct why *why)
{
	int64_t number;

	if (!str_to_i64(value, &number)) {
		why_set(why, "\"%s\" is not a whole number", value);
		return ERR_INVALID;
	}
	if (has_range(row) && (number < row->min || number > row->max)) {
		why_set(why, "%" PRId64 " is not between %" PRId64 " and %" PRId64, number, row->min, row->max);
		return ERR_INVALID;
	}
	*number_field(row, block) = number;
	return ERR_OK;
}

static enum err set_bool(const struct setting *row, void *block, const char *value, struct why *why)
{
	bool is_true = str_equal_nocase(value, "true");

	if (!is_true && !str_equal_nocase(value, "false")) {
		why_set(why, "\"%s\" is neither true nor false", value);
		return ERR_INVALID;
	}
	*bool_field(row, block) = is_true;
	return ERR_OK;
}

static enum err set_choice(const struct setting *row, void *block, const char *value, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list choices = {0};
	enum err e = str_list_split(&choices, row->choices, ',');

	if (e)
		return e;
	if (!str_list_has(&choices, value)) {
		why_set(why, "\"%s\" is not one of %s", value, row->choices);
		return ERR_INVALID;
	}
	return set_text(row, block, value);
}

/* Blanks around a number, a bool or a choice mean nothing and can't be seen in an editor; in a text they may. */
static enum err set_value(const struct setting *row, void *block, const char *value, struct why *why)
{
	CLEAN(mem_freep) char *copy = NULL;
	const char *trimmed;

	if (row->required && str_is_blank(value)) {
		why_set(why, "must not be empty");
		return ERR_INVALID;
	}
	if (row->type == SETTING_TEXT)
		return set_text(row, block, value);
	copy = mem_strdup(value);
	if (!copy)
		return ERR_NOMEM;
	trimmed = str_trim(copy);
	switch (row->type) {
	case SETTING_NUMBER:
		return set_number(row, block, trimmed, why);
	case SETTING_BOOL:
		return set_bool(row, block, trimmed, why);
	case SETTING_CHOICE:
		return set_choice(row, block, trimmed, why);
	case SETTING_TEXT:
		break;
	}
	assert(!"a type of setting that nobody knows");
	return ERR_INVALID;
}

enum err settings_set(const struct settings_table *table, void *block, const char *name, const char *value,
		      struct why *why)
{
	const struct setting *row = find_row(table, name);
	enum err e;

	if (!row) {
		why_set(why, "%s: no such setting", name);
		return ERR_NOT_FOUND;
	}
	e = set_value(row, block, value, why);
	if (e == ERR_INVALID)
		why_add(why, "%s", name);
	return e;
}

void settings_deinit(const struct settings_table *table, void *block)
{
	for (size_t i = 0; i < table->n; i++) {
		if (is_text(&table->rows[i])) {
			char **text = text_field(&table->rows[i], block);

			*text = mem_free(*text);
		}
	}
}

/* -- a document -- */

/* Says one mistake with its place and counts it. */
struct mistakes {
	const char *file;
	void (*say)(void *user, const char *sentence);
	void *user;
	size_t n;
};

static void mistake(struct mistakes *m, unsigned line, const char *name, const char *text)
{
	struct why sentence = WHY_NONE;

	m->n++;
	if (!m->say)
		return;
	if (line)
		why_set(&sentence, "%s:%u: %s: %s", m->file, line, name, text);
	else
		why_set(&sentence, "%s: %s: %s", m->file, name, text);
	m->say(m->user, sentence.text);
}

/* ERR_NOMEM only; what is wrong with the value is a mistake. */
static enum err load_row(const struct setting *row, void *block, const struct props *p, struct mistakes *m)
{
	const char *value = props_get(p, row->name);
	struct why why = WHY_NONE;
	enum err e;

	if (!value && row->required && !row->fallback) {
		mistake(m, 0, row->name, "must be set");
		return ERR_OK;
	}
	if (!value && !row->fallback)
		return ERR_OK;
	e = set_value(row, block, value ? value : row->fallback, &why);
	if (e != ERR_INVALID)
		return e;
	/* Our own default has to be a valid value. */
	assert(value);
	mistake(m, props_line(p, row->name), row->name, why.text);
	return ERR_OK;
}

static bool is_foreign(const struct settings_table *table, const char *key)
{
	for (const char *const *f = table->foreign; f && *f; f++) {
		if (str_ends(*f, ".") ? str_starts(key, *f) : strcmp(key, *f) == 0)
			return true;
	}
	return false;
}

static bool is_own(const struct settings_table *table, const char *key)
{
	return table->own_prefix && str_starts(key, table->own_prefix);
}

enum err settings_load(const struct settings_table *table, void *block, const struct props *p, const char *file,
		       void (*say)(void *user, const char *sentence), void *user)
{
	struct mistakes m = {.file = file, .say = say, .user = user};
	const char *key;

	for (size_t i = 0; i < table->n; i++) {
		enum err e = load_row(&table->rows[i], block, p, &m);

		if (e) {
			settings_deinit(table, block);
			return e;
		}
	}
	for (size_t i = 0; (key = props_key_at(p, i)); i++) {
		if (find_row(table, key))
			continue;
		if (is_own(table, key) || (table->unknown_is_error && !is_foreign(table, key)))
			mistake(&m, props_line(p, key), key, "no such setting");
	}
	if (!m.n)
		return ERR_OK;
	settings_deinit(table, block);
	return ERR_INVALID;
}

void settings_unknown(const struct settings_table *table, const struct props *p,
		      void (*say)(void *user, const char *key, unsigned line), void *user)
{
	const char *key;

	for (size_t i = 0; (key = props_key_at(p, i)); i++) {
		if (!find_row(table, key) && !is_foreign(table, key))
			say(user, key, props_line(p, key));
	}
}

/* -- the table for people -- */

/* "number, 1 to 65535" */
static enum err put_type(const struct setting *row, struct buf *out)
{
	switch (row->type) {
	case SETTING_TEXT:
		return buf_put_str(out, "text");
	case SETTING_NUMBER:
		if (has_range(row))
			return buf_printf(out, "number, %" PRId64 " to %" PRId64, row->min, row->max);
		return buf_put_str(out, "number");
	case SETTING_BOOL:
		return buf_put_str(out, "true or false");
	case SETTING_CHOICE:
		return buf_printf(out, "one of %s", row->choices);
	}
	return ERR_INVALID;
}

/* "number, 1 to 65535; default: 8250" */
static enum err put_facts(const struct setting *row, struct buf *out)
{
	enum err e = put_type(row, out);

	if (e)
		return e;
	if (row->required && !row->fallback)
		return buf_put_str(out, "; required");
	if (row->fallback)
		return buf_printf(out, "; default: %s", *row->fallback ? row->fallback : "empty");
	switch (row->type) {
	case SETTING_NUMBER:
		return buf_put_str(out, "; default: 0");
	case SETTING_BOOL:
		return buf_put_str(out, "; default: false");
	case SETTING_TEXT:
	case SETTING_CHOICE:
		return buf_put_str(out, "; default: not set");
	}
	return ERR_INVALID;
}

/* Each line of a text after a prefix. */
static enum err put_lines(struct buf *out, const char *prefix, const char *text)
{
	CLEAN(str_list_deinit) struct str_list lines = {0};
	enum err e = str_list_split(&lines, text ? text : "", '\n');

	for (size_t i = 0; !e && i < lines.n; i++)
		e = buf_printf(out, "%s%s\n", prefix, lines.items[i]);
	return e;
}

static enum err put_value(const struct setting *row, const void *block, struct buf *out)
{
	/* The accessors give a pointer to write through; here nothing is written. */
	void *fields = (void *)(uintptr_t)block;
	char number[24];

	switch (row->type) {
	case SETTING_TEXT:
	case SETTING_CHOICE:
		if (*text_field(row, fields))
			return props_put_pair(out, row->name, *text_field(row, fields));
		/* Not set is not the same as empty, so the line is there to be seen but not in force. */
		return buf_printf(out, "#%s=\n", row->name);
	case SETTING_NUMBER:
		snprintf(number, sizeof(number), "%" PRId64, *number_field(row, fields));
		return props_put_pair(out, row->name, number);
	case SETTING_BOOL:
		return props_put_pair(out, row->name, *bool_field(row, fields) ? "true" : "false");
	}
	return ERR_INVALID;
}

enum err settings_dump(const struct settings_table *table, const void *block, struct buf *out)
{
	size_t old_len = out->len;

	for (size_t i = 0; i < table->n; i++) {
		const struct setting *row = &table->rows[i];
		CLEAN(buf_deinit) struct buf facts = {0};
		enum err e = i ? buf_put_str(out, "\n") : ERR_OK;

		if (!e)
			e = put_lines(out, "# ", row->help);
		if (!e)
			e = put_facts(row, &facts);
		if (!e)
			e = buf_str(&facts) ? put_lines(out, "# ", buf_str(&facts)) : ERR_NOMEM;
		if (!e)
			e = put_value(row, block, out);
		if (e) {
			out->len = old_len;
			return e;
		}
	}
	return ERR_OK;
}

/* scdoc gives some characters a meaning: these everywhere, others where a line starts. */
static enum err put_scdoc(struct buf *out, const char *text)
{
	bool is_line_start = true;

	for (; *text; text++) {
		bool is_markup = strchr("\\*_+", *text) || (is_line_start && strchr("#;|:[]-`", *text));
		enum err e = is_markup ? buf_put_u8(out, '\\') : ERR_OK;

		if (!e)
			e = buf_put_u8(out, (uint8_t)*text);
		if (e)
			return e;
		is_line_start = *text == '\n';
	}
	return ERR_OK;
}

/*
 * *port* (number, 1 to 65535; default: 8250)
 *	Port that agents connect to.
 */
static enum err put_row_scdoc(const struct setting *row, struct buf *out)
{
	CLEAN(buf_deinit) struct buf facts = {0};
	CLEAN(buf_deinit) struct buf help = {0};
	enum err e = put_facts(row, &facts);

	if (!e)
		e = put_scdoc(&help, row->help ? row->help : "");
	if (!e && (!buf_str(&facts) || !buf_str(&help)))
		e = ERR_NOMEM;
	if (!e)
		e = buf_put_str(out, "*");
	if (!e)
		e = put_scdoc(out, row->name);
	if (!e)
		e = buf_put_str(out, "* (");
	if (!e)
		e = put_scdoc(out, buf_str(&facts));
	if (!e)
		e = buf_put_str(out, ")\n");
	if (!e)
		e = put_lines(out, "\t", buf_str(&help));
	return e;
}

static enum err put_row_plain(const struct setting *row, struct buf *out)
{
	enum err e = buf_printf(out, "  %s (", row->name);

	if (!e)
		e = put_facts(row, out);
	if (!e)
		e = buf_put_str(out, ")\n");
	if (!e)
		e = put_lines(out, "      ", row->help);
	return e;
}

enum err settings_help(const struct settings_table *table, bool scdoc, struct buf *out)
{
	size_t old_len = out->len;

	for (size_t i = 0; i < table->n; i++) {
		enum err e = scdoc && i ? buf_put_str(out, "\n") : ERR_OK;

		if (!e)
			e = scdoc ? put_row_scdoc(&table->rows[i], out) : put_row_plain(&table->rows[i], out);
		if (e) {
			out->len = old_len;
			return e;
		}
	}
	return ERR_OK;
}
