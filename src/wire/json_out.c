/*
 * The JSON writer.
 *
 * A Java peer decodes bodies with the character set of its machine, which may be anything, so only ASCII is written.
 * The escapes for < > & = ' are Gson's precaution for JSON inside HTML; a reader doesn't need them, but equal bytes
 * make messages comparable.
 */
#include "wire/json_out.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLACEMENT 0xfffd

static void put(struct json_out *o, const void *data, size_t n)
{
	if (!o->err)
		o->err = buf_put(o->to, data, n);
}

void json_out_raw(struct json_out *o, const char *text)
{
	put(o, text, strlen(text));
}

/* ---- texts ---- */

static void put_unit(struct json_out *o, unsigned unit)
{
	char text[7];

	snprintf(text, sizeof(text), "\\u%04x", unit & 0xffff);
	put(o, text, 6);
}

static void put_code_point(struct json_out *o, uint32_t c)
{
	if (c < 0x10000) {
		put_unit(o, c);
		return;
	}
	c -= 0x10000;
	put_unit(o, 0xd800 + (c >> 10));
	put_unit(o, 0xdc00 + (c & 0x3ff));
}

/* Takes one code point from the front of at least one byte; a byte that fits nowhere is REPLACEMENT. */
static size_t take_code_point(const uint8_t *s, size_t n, uint32_t *out)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length = s[0] < 0x80 ? 1 : s[0] >> 5 == 0x06 ? 2 : s[0] >> 4 == 0x0e ? 3 : s[0] >> 3 == 0x1e ? 4 : 0;
	uint32_t c;

	*out = REPLACEMENT;
	if (!length || length > n)
		return 1;
	c = length == 1 ? s[0] : s[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 1;
		c = c << 6 | (s[i] & 0x3fu);
	}
	if (c < least[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 1;
	*out = c;
	return length;
}

/* What Gson writes for an ASCII character that can't stand for itself, or NULL. */
static const char *short_escape(uint8_t c)
{
	switch (c) {
	case '"':
		return "\\\"";
	case '\\':
		return "\\\\";
	case '\t':
		return "\\t";
	case '\b':
		return "\\b";
	case '\n':
		return "\\n";
	case '\r':
		return "\\r";
	case '\f':
		return "\\f";
	default:
		return NULL;
	}
}

static bool is_plain(uint8_t c)
{
	return c >= 0x20 && c < 0x80 && !strchr("\"\\<>&='", c);
}

void json_out_text(struct json_out *o, const char *text, size_t n)
{
	const uint8_t *s = (const uint8_t *)text;

	json_out_raw(o, "\"");
	for (size_t i = 0; i < n;) {
		size_t plain = i;
		uint32_t c;

		while (plain < n && is_plain(s[plain]))
			plain++;
		put(o, s + i, plain - i);
		i = plain;
		if (i == n)
			break;
		if (short_escape(s[i])) {
			json_out_raw(o, short_escape(s[i]));
			i++;
		} else {
			i += take_code_point(s + i, n - i, &c);
			put_code_point(o, c);
		}
	}
	json_out_raw(o, "\"");
}

/* ---- numbers ---- */

void json_out_i64(struct json_out *o, int64_t v)
{
	if (!o->err)
		o->err = buf_printf(o->to, "%" PRId64, v);
}

void json_out_bool(struct json_out *o, bool v)
{
	json_out_raw(o, v ? "true" : "false");
}

#define MOST_DIGITS 17 /* tell any two doubles apart */

/*
 * The fewest digits (two at least, as in Java) that are read back as the same number, without trailing zeros.
 * Returns how many; *exponent belongs to d.ddd.
 */
static int shortest_digits(double v, char digits[MOST_DIGITS + 1], int *exponent)
{
	char text[48];
	int n = 0;

	for (int precision = 2; precision <= MOST_DIGITS; precision++) {
		snprintf(text, sizeof(text), "%.*e", precision - 1, v);
		if (strtod(text, NULL) == v)
			break;
	}
	*exponent = atoi(strchr(text, 'e') + 1);
	/* Digits are picked out one by one, because the decimal point depends on the host program's locale. */
	for (const char *c = text; *c != 'e' && n < MOST_DIGITS; c++)
		if (*c >= '0' && *c <= '9')
			digits[n++] = *c;
	while (n > 1 && digits[n - 1] == '0')
		n--;
	digits[n] = '\0';
	return n;
}

/* 0.00123, 12.5, 1234500.0 */
static void put_plain(struct json_out *o, const char *digits, int n, int exponent)
{
	int whole = exponent + 1; /* digits before the point; 0 or less: zeros after it */

	if (whole <= 0)
		json_out_raw(o, "0.");
	for (int i = whole; i < 0; i++)
		json_out_raw(o, "0");
	for (int i = 0; i < n || i < whole; i++) {
		if (i == whole && i > 0)
			json_out_raw(o, ".");
		put(o, i < n ? &digits[i] : "0", 1);
	}
	if (n <= whole)
		json_out_raw(o, ".0");
}

/* 5.28E8 */
static void put_scientific(struct json_out *o, const char *digits, int n, int exponent)
{
	put(o, digits, 1);
	json_out_raw(o, ".");
	json_out_raw(o, n > 1 ? digits + 1 : "0");
	if (!o->err)
		o->err = buf_printf(o->to, "E%d", exponent);
}

void json_out_real(struct json_out *o, double v)
{
	char digits[MOST_DIGITS + 1];
	int n, exponent;

	if (!isfinite(v)) {
		o->err = o->err ? o->err : ERR_INVALID;
		return;
	}
	if (signbit(v)) {
		json_out_raw(o, "-");
		v = -v;
	}
	if (v == 0) {
		json_out_raw(o, "0.0");
		return;
	}
	n = shortest_digits(v, digits, &exponent);
	if (v >= 1e-3 && v < 1e7)
		put_plain(o, digits, n, exponent);
	else
		put_scientific(o, digits, n, exponent);
}

/* ---- values ---- */

static void put_object(struct json_out *o, const json_t *v)
{
	const char *separator = "{";
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)v, key, value) {
		json_out_raw(o, separator);
		json_out_text(o, key, strlen(key));
		json_out_raw(o, ":");
		json_out_value(o, value);
		separator = ",";
	}
	json_out_raw(o, json_object_size(v) ? "}" : "{}");
}

static void put_array(struct json_out *o, const json_t *v)
{
	json_out_raw(o, "[");
	for (size_t i = 0; i < json_array_size(v); i++) {
		if (i)
			json_out_raw(o, ",");
		json_out_value(o, json_array_get(v, i));
	}
	json_out_raw(o, "]");
}

void json_out_value(struct json_out *o, const json_t *v)
{
	if (o->err)
		return;
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		put_object(o, v);
		break;
	case JSON_ARRAY:
		put_array(o, v);
		break;
	case JSON_STRING:
		json_out_text(o, json_string_value(v), json_string_length(v));
		break;
	case JSON_INTEGER:
		json_out_i64(o, json_integer_value(v));
		break;
	case JSON_REAL:
		json_out_real(o, json_real_value(v));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		json_out_bool(o, json_is_true(v));
		break;
	case JSON_NULL:
		json_out_raw(o, "null");
		break;
	}
}
