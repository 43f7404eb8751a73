/*
 * A document is its lines in order, each with the bytes it was read from. What is called a line here is a logical
 * one: with its continuations. Comments and blank lines have no key. Bytes of a line are only touched when its value
 * is, and then the whole line is written anew as Java would.
 *
 * Reading does what LineReader and loadConvert of java.util.Properties do, odd corners included: a line that holds
 * nothing but a backslash joins the next one, even a comment; a backslash at the very end of the file is dropped.
 *
 * Java holds UTF-16, we hold UTF-8: half of a surrogate pair and the character NUL can't be held and are refused.
 */
#include "base/props.h"

#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

/* Keys come from a file of the operator, nobody gains from colliding ones. */
#define HASH_KEY 0x6d7573746572u

struct prop_line {
	struct buf raw;   /* with the line ends; the last line may have none */
	char *key;        /* owned; NULL: comment or blank */
	char *value;      /* owned; set while key is */
	bool is_winner;   /* the last line of its key, the one that counts */
	bool is_dangling; /* ends in a continuation that never came: only the last line */
};

struct props {
	struct prop_line **lines; /* owned */
	size_t n;
	size_t cap;
	struct map winners; /* key -> struct prop_line * */
};

static void *line_free(struct prop_line *l)
{
	if (!l)
		return NULL;
	buf_deinit(&l->raw);
	mem_free(l->key);
	mem_free(l->value);
	return mem_free(l);
}

CLEAN_DEFINE(struct prop_line, line_free)

struct props *props_new(void)
{
	struct props *p = mem_zalloc(sizeof(*p));

	if (p)
		map_init_text(&p->winners, HASH_KEY);
	return p;
}

void *props_free(struct props *p)
{
	if (!p)
		return NULL;
	for (size_t i = 0; i < p->n; i++)
		line_free(p->lines[i]);
	mem_free(p->lines);
	map_deinit(&p->winners);
	return mem_free(p);
}

CLEAN_DEFINE(struct props, props_free)

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\f';
}

static bool is_eol(uint8_t c)
{
	return c == '\n' || c == '\r';
}

/* Line ends in n bytes: LF, CR, and CRLF as one. */
static unsigned count_eols(const uint8_t *text, size_t n)
{
	unsigned count = 0;

	for (size_t i = 0; i < n; i++) {
		if (text[i] == '\n' || (text[i] == '\r' && !(i + 1 < n && text[i + 1] == '\n')))
			count++;
	}
	return count;
}

/* The line end that these bytes close with, "" when they don't. */
static const char *eol_of(const struct buf *raw)
{
	if (raw->len >= 2 && memcmp(raw->data + raw->len - 2, "\r\n", 2) == 0)
		return "\r\n";
	if (raw->len && raw->data[raw->len - 1] == '\n')
		return "\n";
	return raw->len && raw->data[raw->len - 1] == '\r' ? "\r" : "";
}

/* New lines end as the first one of the document does. */
static const char *eol_of_document(const struct props *p)
{
	const char *eol = p->n ? eol_of(&p->lines[0]->raw) : "";

	return *eol ? eol : "\n";
}

/* -- reading -- */

struct reader {
	const uint8_t *text;
	size_t n;
	size_t at;
	unsigned line; /* 1-based, where the logical line starts */
};

enum line_kind { LINE_NOTHING, LINE_PAIR };

/*
 * Reads the next logical line: its content without continuations and leading blanks goes to `content`. Backslashes
 * stay, for unescape(). A blank line or comment is LINE_NOTHING.
 */
static enum err read_line(struct reader *r, struct buf *content, enum line_kind *kind, bool *is_dangling)
{
	bool skips_blanks = true;
	bool is_escaped = false; /* an odd number of backslashes stands before */

	buf_clear(content);
	*kind = LINE_NOTHING;
	*is_dangling = false;
	while (r->at < r->n) {
		uint8_t c = r->text[r->at++];
		bool was_last = r->at == r->n;
		enum err e;

		if (skips_blanks && is_blank(c))
			continue;
		skips_blanks = false;
		if (!content->len && (c == '#' || c == '!')) {
			while (r->at < r->n && !is_eol(r->text[r->at]))
				r->at++;
			if (r->at < r->n && r->text[r->at++] == '\r' && r->at < r->n && r->text[r->at] == '\n')
				r->at++;
			return ERR_OK;
		}
		if (!is_eol(c)) {
			e = buf_put_u8(content, c);
			if (e)
				return e;
			is_escaped = c == '\\' && !is_escaped;
			continue;
		}
		if (c == '\r' && r->at < r->n && r->text[r->at] == '\n')
			r->at++;
		if (!is_escaped) {
			*kind = content->len ? LINE_PAIR : LINE_NOTHING;
			return ERR_OK;
		}
		content->len--;
		if (r->at == r->n) {
			/* Java makes an empty key of a last line that is only a backslash, unless it ends in CRLF. */
			*kind = content->len || was_last ? LINE_PAIR : LINE_NOTHING;
			*is_dangling = true;
			return ERR_OK;
		}
		is_escaped = false;
		skips_blanks = true;
	}
	*kind = content->len ? LINE_PAIR : LINE_NOTHING;
	if (is_escaped) {
		content->len--;
		*is_dangling = true;
	}
	return ERR_OK;
}

/* Where the key ends and the value starts. */
static void split_line(const uint8_t *text, size_t n, size_t *key_end, size_t *value_start)
{
	bool has_separator = false;
	bool is_escaped = false;
	size_t at = 0;

	while (at < n) {
		uint8_t c = text[at];

		if (!is_escaped && (c == '=' || c == ':' || is_blank(c)))
			break;
		is_escaped = c == '\\' && !is_escaped;
		at++;
	}
	*key_end = at;
	for (; at < n; at++) {
		uint8_t c = text[at];

		if (is_blank(c))
			continue;
		if (has_separator || (c != '=' && c != ':'))
			break;
		has_separator = true;
	}
	*value_start = at;
}

static enum err put_character(struct buf *out, uint32_t c)
{
	uint8_t bytes[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const uint8_t first[] = {0, 0, 0xc0, 0xe0, 0xf0};

	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		bytes[i] = (uint8_t)(0x80 | (c & 0x3f));
	bytes[0] = (uint8_t)(first[n] | c);
	return buf_put(out, bytes, n);
}

/* Four hex digits, as in \u0041. */
static bool get_unit(struct bytes *in, uint32_t *out)
{
	uint32_t unit = 0;

	for (int i = 0; i < 4; i++) {
		uint8_t c;

		if (!bytes_get_u8(in, &c))
			return false;
		if (c >= '0' && c <= '9')
			unit = unit << 4 | (uint32_t)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			unit = unit << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
		else
			return false;
	}
	*out = unit;
	return true;
}

/* What follows "\u": one unit, or two that form a character together. */
static enum err get_unicode(struct bytes *in, uint32_t *out, struct why *why)
{
	uint32_t high, low;

	if (!get_unit(in, &high)) {
		why_set(why, "\\u is not followed by four hex digits");
		return ERR_MALFORMED;
	}
	*out = high;
	if (high < 0xd800 || high > 0xdfff)
		return ERR_OK;
	if (high < 0xdc00 && in->len >= 2 && memcmp(in->data, "\\u", 2) == 0) {
		struct bytes next = {.data = in->data + 2, .len = in->len - 2};

		if (get_unit(&next, &low) && low >= 0xdc00 && low <= 0xdfff) {
			*out = 0x10000 + ((high - 0xd800) << 10 | (low - 0xdc00));
			*in = next;
			return ERR_OK;
		}
	}
	why_set(why, "\\u%04X is half of a surrogate pair", (unsigned)high);
	return ERR_MALFORMED;
}

static enum err get_character(struct bytes *in, uint32_t *out, struct why *why)
{
	uint8_t c;

	/* Every byte is the character of that number: ISO-8859-1. */
	if (!bytes_get_u8(in, &c))
		return ERR_MALFORMED;
	*out = c;
	if (c != '\\' || !bytes_get_u8(in, &c))
		return ERR_OK;
	if (c == 'u')
		return get_unicode(in, out, why);
	*out = c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c == 'f' ? '\f' : c;
	return ERR_OK;
}

static enum err unescape(struct bytes in, char **out, struct why *why)
{
	CLEAN(buf_deinit) struct buf text = {0};

	while (in.len) {
		uint32_t c;
		enum err e = get_character(&in, &c, why);

		if (!e && !c) {
			why_set(why, "the character NUL is not possible");
			e = ERR_MALFORMED;
		}
		if (!e)
			e = put_character(&text, c);
		if (e)
			return e;
	}
	*out = buf_take_str(&text);
	return *out ? ERR_OK : ERR_NOMEM;
}

static enum err parse_pair(const struct buf *content, struct prop_line *l, struct why *why)
{
	size_t key_end, value_start;
	enum err e;

	split_line(content->data, content->len, &key_end, &value_start);
	e = unescape((struct bytes){.data = content->data, .len = key_end}, &l->key, why);
	if (e)
		return e;
	return unescape((struct bytes){.data = content->data + value_start, .len = content->len - value_start},
			&l->value, why);
}

static enum err reserve_line(struct props *p)
{
	if (p->n == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 16;
		struct prop_line **lines = mem_grow_array(p->lines, cap, sizeof(struct prop_line *));

		if (!lines)
			return ERR_NOMEM;
		p->lines = lines;
		p->cap = cap;
	}
	return ERR_OK;
}

/* Takes the line only when it succeeds. A line with a key wins over earlier ones. */
static enum err append_line(struct props *p, struct prop_line **take_line)
{
	struct prop_line *l = *take_line;
	struct prop_line *loser = l->key ? map_get(&p->winners, l->key) : NULL;
	enum err e = reserve_line(p);

	if (!e && l->key)
		e = map_put(&p->winners, l->key, l);
	if (e)
		return e;
	if (loser)
		loser->is_winner = false;
	l->is_winner = l->key != NULL;
	p->lines[p->n++] = STEAL(*take_line);
	return ERR_OK;
}

static enum err parse_line(struct props *p, struct reader *r, struct buf *content, struct why *why)
{
	CLEAN(line_freep) struct prop_line *l = mem_zalloc(sizeof(*l));
	size_t start = r->at;
	enum line_kind kind;
	enum err e;

	if (!l)
		return ERR_NOMEM;
	e = read_line(r, content, &kind, &l->is_dangling);
	if (!e)
		e = buf_put(&l->raw, r->text + start, r->at - start);
	if (!e && kind == LINE_PAIR)
		e = parse_pair(content, l, why);
	if (e == ERR_MALFORMED)
		why_add(why, "line %u", r->line);
	if (!e)
		e = append_line(p, &l);
	r->line += count_eols(r->text + start, r->at - start);
	return e;
}

enum err props_parse(struct props **out, const void *text, size_t n, struct why *why)
{
	CLEAN(props_freep) struct props *p = props_new();
	CLEAN(buf_deinit) struct buf content = {0};
	struct reader r = {.text = text, .n = n, .line = 1};

	/* The content of a line that is only a blank key and value has no memory otherwise. */
	if (!p || buf_reserve(&content, 1))
		return ERR_NOMEM;
	while (r.at < r.n) {
		enum err e = parse_line(p, &r, &content, why);

		if (e)
			return e;
	}
	*out = STEAL(p);
	return ERR_OK;
}

/* -- asking -- */

const char *props_get(const struct props *p, const char *key)
{
	const struct prop_line *l = map_get(&p->winners, key);

	return l ? l->value : NULL;
}

unsigned props_line(const struct props *p, const char *key)
{
	const struct prop_line *l = map_get(&p->winners, key);
	unsigned line = 1;

	for (size_t i = 0; l && i < p->n; i++) {
		if (p->lines[i] == l)
			return line;
		line += count_eols(p->lines[i]->raw.data, p->lines[i]->raw.len);
	}
	return 0;
}

const char *props_key_at(const struct props *p, size_t i)
{
	for (size_t at = 0; at < p->n; at++) {
		if (p->lines[at]->is_winner && i-- == 0)
			return p->lines[at]->key;
	}
	return NULL;
}

size_t props_count(const struct props *p)
{
	return p->winners.n;
}

/* -- writing -- */

/* One character as java.util.Properties.store() writes it. */
static enum err put_escaped(struct buf *out, uint32_t c, bool escapes_space)
{
	switch (c) {
	case '\t':
		return buf_put_str(out, "\\t");
	case '\n':
		return buf_put_str(out, "\\n");
	case '\r':
		return buf_put_str(out, "\\r");
	case '\f':
		return buf_put_str(out, "\\f");
	case ' ':
		return buf_put_str(out, escapes_space ? "\\ " : " ");
	case ':':
	case '=':
	case '#':
	case '!':
	case '\\':
		return buf_printf(out, "\\%c", (char)c);
	}
	if (c > 0xffff)
		return buf_printf(out, "\\u%04X\\u%04X", (unsigned)(0xd800 + ((c - 0x10000) >> 10)),
				  (unsigned)(0xdc00 + (c & 0x3ff)));
	if (c < 0x20 || c > 0x7e)
		return buf_printf(out, "\\u%04X", (unsigned)c);
	return buf_put_u8(out, (uint8_t)c);
}

/* In keys every space is escaped; in values the first character, so that it isn't taken for padding. */
static enum err put_text(struct buf *out, const char *text, bool is_key)
{
	size_t n = strlen(text);

	for (size_t at = 0; at < n;) {
		uint32_t c;
		size_t len = str_utf8_get(text + at, n - at, &c);
		enum err e;

		if (!len)
			return ERR_INVALID;
		e = put_escaped(out, c, is_key || at == 0);
		if (e)
			return e;
		at += len;
	}
	return ERR_OK;
}

static enum err put_pair(struct buf *out, const char *key, const char *value, const char *eol)
{
	size_t old_len = out->len;
	enum err e = put_text(out, key, true);

	if (!e)
		e = buf_put_u8(out, '=');
	if (!e)
		e = put_text(out, value, false);
	if (!e)
		e = buf_put_str(out, eol);
	if (e)
		out->len = old_len;
	return e;
}

enum err props_put_pair(struct buf *out, const char *key, const char *value)
{
	return put_pair(out, key, value, "\n");
}

enum err props_write(const struct props *p, struct buf *out)
{
	size_t old_len = out->len;

	for (size_t i = 0; i < p->n; i++) {
		enum err e = buf_put(out, p->lines[i]->raw.data, p->lines[i]->raw.len);

		if (e) {
			out->len = old_len;
			return e;
		}
	}
	return ERR_OK;
}

/* -- changing -- */

/* Frees all lines of the winner's key but the winner. */
static void drop_losers(struct props *p, const struct prop_line *winner)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->n; i++) {
		struct prop_line *l = p->lines[i];

		if (l != winner && l->key && strcmp(l->key, winner->key) == 0)
			line_free(l);
		else
			p->lines[kept++] = l;
	}
	p->n = kept;
}

/* The bytes of the last line, so that what is put behind them is a line of its own. */
static enum err put_closed(const struct props *p, const struct prop_line *l, struct buf *out)
{
	enum err e = ERR_OK;

	/* Behind a backslash the next line would become its continuation: this one is written anew, without it. */
	if (l->is_dangling && l->key)
		return put_pair(out, l->key, l->value, eol_of_document(p));
	if (!l->is_dangling)
		e = buf_put(out, l->raw.data, l->raw.len);
	return e ? e : buf_put_str(out, eol_of_document(p));
}

static enum err add_pair(struct props *p, const char *key, const char *value)
{
	CLEAN(line_freep) struct prop_line *l = mem_zalloc(sizeof(*l));
	CLEAN(buf_deinit) struct buf closed = {0};
	struct prop_line *last = p->n ? p->lines[p->n - 1] : NULL;
	bool is_open = last && (last->is_dangling || !*eol_of(&last->raw));
	enum err e;

	if (!l)
		return ERR_NOMEM;
	l->key = mem_strdup(key);
	l->value = mem_strdup(value);
	if (!l->key || !l->value)
		return ERR_NOMEM;
	e = put_pair(&l->raw, key, value, eol_of_document(p));
	if (!e && is_open)
		e = put_closed(p, last, &closed);
	if (!e)
		e = append_line(p, &l);
	if (e)
		return e;
	/* The last step, because it can't fail: on errors the document is as it was. */
	if (is_open) {
		buf_move(&last->raw, &closed);
		last->is_dangling = false;
	}
	return ERR_OK;
}

enum err props_set(struct props *p, const char *key, const char *value, bool *changed)
{
	struct prop_line *l = map_get(&p->winners, key);
	CLEAN(buf_deinit) struct buf raw = {0};
	char *copy;
	enum err e;

	if (changed)
		*changed = false;
	if (l && strcmp(l->value, value) == 0)
		return ERR_OK;
	if (!l) {
		e = add_pair(p, key, value);
		if (!e && changed)
			*changed = true;
		return e;
	}

	e = put_pair(&raw, key, value, l->is_dangling ? eol_of_document(p) : eol_of(&l->raw));
	if (e)
		return e;
	copy = mem_strdup(value);
	if (!copy)
		return ERR_NOMEM;
	/* From here on nothing fails. */
	mem_free(l->value);
	l->value = copy;
	buf_move(&l->raw, &raw);
	l->is_dangling = false;
	drop_losers(p, l);
	if (changed)
		*changed = true;
	return ERR_OK;
}

void props_remove(struct props *p, const char *key, bool *changed)
{
	struct prop_line *l = map_remove(&p->winners, key);
	size_t at = 0;

	if (changed)
		*changed = l != NULL;
	if (!l)
		return;
	drop_losers(p, l);
	while (p->lines[at] != l)
		at++;
	p->n--;
	memmove(p->lines + at, p->lines + at + 1, (p->n - at) * sizeof(*p->lines));
	/* Last: `key` may be what props_key_at() gave. */
	line_free(l);
}
