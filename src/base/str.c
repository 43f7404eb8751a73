#include "base/str.h"

#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/mem.h"

#define SMALLEST_CAP 4

void str_list_deinit(struct str_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		mem_free(l->items[i]);
	mem_free(l->items);
	*l = (struct str_list){0};
}

enum err str_list_add(struct str_list *l, const char *s)
{
	return str_list_add_n(l, s, strlen(s));
}

enum err str_list_add_n(struct str_list *l, const char *s, size_t n)
{
	char *copy;

	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : SMALLEST_CAP;
		char **items = mem_grow_array(l->items, cap, sizeof(char *));

		if (!items)
			return ERR_NOMEM;
		l->items = items;
		l->cap = cap;
	}
	copy = mem_strndup(s, n);
	if (!copy)
		return ERR_NOMEM;
	l->items[l->n++] = copy;
	return ERR_OK;
}

enum err str_list_copy(struct str_list *to, const struct str_list *from)
{
	CLEAN(str_list_deinit) struct str_list copy = {0};

	for (size_t i = 0; i < from->n; i++) {
		enum err e = str_list_add(&copy, from->items[i]);

		if (e)
			return e;
	}
	str_list_move(to, &copy);
	return ERR_OK;
}

void str_list_move(struct str_list *to, struct str_list *from)
{
	if (to == from)
		return;
	str_list_deinit(to);
	*to = *from;
	*from = (struct str_list){0};
}

bool str_list_equal(const struct str_list *a, const struct str_list *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	}
	return true;
}

bool str_list_has(const struct str_list *l, const char *s)
{
	return str_list_find(l, s) != SIZE_MAX;
}

size_t str_list_find(const struct str_list *l, const char *s)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->items[i], s) == 0)
			return i;
	}
	return SIZE_MAX;
}

enum err str_list_split(struct str_list *out, const char *text, char separator)
{
	CLEAN(str_list_deinit) struct str_list parts = {0};
	const char *part = text;

	while (*text) {
		const char *end = strchr(part, separator);
		enum err e = str_list_add_n(&parts, part, end ? (size_t)(end - part) : strlen(part));

		if (e)
			return e;
		if (!end)
			break;
		part = end + 1;
	}
	str_list_move(out, &parts);
	return ERR_OK;
}

char *str_list_join(const struct str_list *l, const char *separator)
{
	CLEAN(buf_deinit) struct buf b = {0};

	for (size_t i = 0; i < l->n; i++) {
		if ((i && buf_put_str(&b, separator)) || buf_put_str(&b, l->items[i]))
			return NULL;
	}
	return buf_take_str(&b);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

bool str_is_blank(const char *s)
{
	while (s && is_space(*s))
		s++;
	return !s || !*s;
}

bool str_equal(const char *a, const char *b)
{
	if (!a || !b)
		return a == b;
	return strcmp(a, b) == 0;
}

static char to_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* ASCII only and the same in every locale. */
bool str_equal_nocase(const char *a, const char *b)
{
	if (!a || !b)
		return a == b;
	while (*a && to_lower(*a) == to_lower(*b)) {
		a++;
		b++;
	}
	return to_lower(*a) == to_lower(*b);
}

bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
	size_t n = strlen(s);
	size_t n_suffix = strlen(suffix);

	return n >= n_suffix && strcmp(s + n - n_suffix, suffix) == 0;
}

bool str_copy(char *out, size_t size, const char *s)
{
	size_t n = strlen(s);
	bool fits = n < size;

	if (!size)
		return false;
	if (!fits)
		n = size - 1;
	memcpy(out, s, n);
	out[n] = '\0';
	return fits;
}

char *str_trim(char *s)
{
	size_t n;

	while (*s == ' ' || *s == '\t')
		s++;
	n = strlen(s);
	while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'))
		n--;
	s[n] = '\0';
	return s;
}

bool str_to_u64(const char *s, uint64_t *out)
{
	uint64_t v = 0;

	if (!*s)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return false;
		if (__builtin_mul_overflow(v, (uint64_t)10, &v) || __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return false;
	}
	*out = v;
	return true;
}

bool str_to_i64(const char *s, int64_t *out)
{
	bool is_negative = *s == '-';
	uint64_t v;

	if (!str_to_u64(s + is_negative, &v) || v > (uint64_t)INT64_MAX + is_negative)
		return false;
	*out = is_negative ? (int64_t)-v : (int64_t)v;
	return true;
}

bool str_to_seconds(const char *s, int64_t *out)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 60 * 60}, {'d', 24 * 60 * 60}};
	size_t n = strlen(s);
	char number[24];
	int64_t factor = 1, v;

	for (size_t i = 0; n && i < ARRAY_SIZE(units); i++) {
		if (s[n - 1] == units[i].unit) {
			factor = units[i].seconds;
			n--;
			break;
		}
	}
	if (n >= sizeof(number))
		return false;
	memcpy(number, s, n);
	number[n] = '\0';
	if (!str_to_i64(number, &v) || number[0] == '-' || __builtin_mul_overflow(v, factor, &v))
		return false;
	*out = v;
	return true;
}

size_t str_utf8_get(const char *s, size_t n, uint32_t *out)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	const uint8_t *in = (const uint8_t *)s;
	uint32_t c;
	size_t len;

	if (!n)
		return 0;
	if (in[0] < 0x80) {
		*out = in[0];
		return 1;
	}
	len = in[0] >= 0xf8 ? 0 : in[0] >= 0xf0 ? 4 : in[0] >= 0xe0 ? 3 : in[0] >= 0xc0 ? 2 : 0;
	if (!len || len > n)
		return 0;
	c = in[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((in[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (in[i] & 0x3f);
	}
	/* Too long a form, a surrogate or beyond Unicode: a second spelling of something that checks look for. */
	if (c < smallest[len] || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff)
		return 0;
	*out = c;
	return len;
}

bool str_is_utf8(const char *s, size_t n)
{
	while (n) {
		uint32_t c;
		size_t len = str_utf8_get(s, n, &c);

		if (!len || !c)
			return false;
		s += len;
		n -= len;
	}
	return true;
}

void str_make_printable(char *s)
{
	size_t n = strlen(s);

	while (n) {
		uint32_t c;
		size_t len = str_utf8_get(s, n, &c);
		/* Stray bytes too: in a terminal that isn't UTF-8, 0x9b starts an escape sequence. */
		bool is_bad = !len || c < 0x20 || (c >= 0x7f && c <= 0x9f);

		if (!len)
			len = 1;
		if (is_bad)
			memset(s, '?', len);
		s += len;
		n -= len;
	}
}

void uuid_from_bytes(char out[UUID_TEXT], const uint8_t random[16])
{
	uint8_t bytes[16];
	char hex[33];
	char *at = out;

	memcpy(bytes, random, sizeof(bytes));
	bytes[6] = (bytes[6] & 0x0f) | 0x40; /* version 4: random */
	bytes[8] = (bytes[8] & 0x3f) | 0x80; /* the variant of RFC 4122 */
	hex_encode(hex, bytes, sizeof(bytes));
	for (size_t i = 0; i < 32; i++) {
		if (i == 8 || i == 12 || i == 16 || i == 20)
			*at++ = '-';
		*at++ = hex[i];
	}
	*at = '\0';
}

bool uuid_is_valid(const char *s)
{
	if (strlen(s) != UUID_TEXT - 1)
		return false;
	for (size_t i = 0; i < UUID_TEXT - 1; i++) {
		bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (is_dash ? s[i] != '-' : !strchr("0123456789abcdefABCDEF", s[i]))
			return false;
	}
	return true;
}
