#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define SMALLEST_CAP 64

void buf_wipe(struct buf *b)
{
	if (b->data)
		mem_wipe(b->data, b->cap);
	buf_deinit(b);
}

void buf_deinit(struct buf *b)
{
	mem_free(b->data);
	*b = (struct buf){0};
}

void buf_clear(struct buf *b)
{
	b->len = 0;
}

enum err buf_reserve(struct buf *b, size_t more)
{
	size_t need, cap;
	uint8_t *data;

	if (__builtin_add_overflow(b->len, more, &need))
		return ERR_NOMEM;
	if (need <= b->cap)
		return ERR_OK;
	/* Doubling keeps many small puts cheap; a size that can't double is asked for as it is. */
	if (__builtin_mul_overflow(b->cap, (size_t)2, &cap) || cap < need)
		cap = need;
	if (cap < SMALLEST_CAP)
		cap = SMALLEST_CAP;
	data = mem_grow_array(b->data, cap, 1);
	if (!data)
		return ERR_NOMEM;
	b->data = data;
	b->cap = cap;
	return ERR_OK;
}

enum err buf_put(struct buf *b, const void *data, size_t n)
{
	enum err e = buf_reserve(b, n);

	if (e)
		return e;
	if (n)
		memcpy(b->data + b->len, data, n);
	b->len += n;
	return ERR_OK;
}

enum err buf_put_str(struct buf *b, const char *s)
{
	return buf_put(b, s, strlen(s));
}

enum err buf_put_u8(struct buf *b, uint8_t v)
{
	return buf_put(b, &v, 1);
}

enum err buf_put_u16(struct buf *b, uint16_t v)
{
	return buf_put(b, (uint8_t[]){(uint8_t)(v >> 8), (uint8_t)v}, 2);
}

enum err buf_put_u32(struct buf *b, uint32_t v)
{
	return buf_put(b, (uint8_t[]){(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v}, 4);
}

enum err buf_put_u64(struct buf *b, uint64_t v)
{
	uint8_t bytes[8];

	for (size_t i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(v >> (56 - 8 * i));
	return buf_put(b, bytes, sizeof(bytes));
}

enum err buf_vprintf(struct buf *b, const char *format, va_list args)
{
	va_list again;
	enum err e = ERR_INVALID;
	int n;

	va_copy(again, args);
	n = vsnprintf(NULL, 0, format, args);
	/* One byte more for the NUL that vsnprintf writes; it isn't part of the content. */
	if (n >= 0)
		e = buf_reserve(b, (size_t)n + 1);
	if (!e) {
		vsnprintf((char *)b->data + b->len, (size_t)n + 1, format, again);
		b->len += (size_t)n;
	}
	va_end(again);
	return e;
}

enum err buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;
	enum err e;

	va_start(args, format);
	e = buf_vprintf(b, format, args);
	va_end(args);
	return e;
}

void buf_consume(struct buf *b, size_t n)
{
	if (n >= b->len) {
		b->len = 0;
		return;
	}
	if (!n)
		return;
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
}

const char *buf_str(struct buf *b)
{
	if (buf_reserve(b, 1))
		return NULL;
	b->data[b->len] = '\0';
	return (const char *)b->data;
}

char *buf_take_str(struct buf *b)
{
	char *s;

	if (!buf_str(b))
		return NULL;
	s = (char *)b->data;
	*b = (struct buf){0};
	return s;
}

void buf_move(struct buf *to, struct buf *from)
{
	if (to == from)
		return;
	mem_free(to->data);
	*to = *from;
	*from = (struct buf){0};
}

static bool bytes_get_number(struct bytes *in, size_t n, uint64_t *out)
{
	uint64_t v = 0;

	if (in->len < n)
		return false;
	for (size_t i = 0; i < n; i++)
		v = v << 8 | in->data[i];
	in->data += n;
	in->len -= n;
	*out = v;
	return true;
}

bool bytes_get_u8(struct bytes *in, uint8_t *out)
{
	uint64_t v;

	if (!bytes_get_number(in, 1, &v))
		return false;
	*out = (uint8_t)v;
	return true;
}

bool bytes_get_u16(struct bytes *in, uint16_t *out)
{
	uint64_t v;

	if (!bytes_get_number(in, 2, &v))
		return false;
	*out = (uint16_t)v;
	return true;
}

bool bytes_get_u32(struct bytes *in, uint32_t *out)
{
	uint64_t v;

	if (!bytes_get_number(in, 4, &v))
		return false;
	*out = (uint32_t)v;
	return true;
}

bool bytes_get_u64(struct bytes *in, uint64_t *out)
{
	return bytes_get_number(in, 8, out);
}

bool bytes_get(struct bytes *in, size_t n, struct bytes *out)
{
	struct bytes view = {.data = in->data, .len = n};

	if (in->len < n)
		return false;
	if (n)
		in->data += n;
	in->len -= n;
	*out = view;
	return true;
}

void hex_encode(char *out, const void *data, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *in = data;

	for (size_t i = 0; i < n; i++) {
		*out++ = digits[in[i] >> 4];
		*out++ = digits[in[i] & 15];
	}
	*out = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool hex_decode(const char *text, struct buf *out)
{
	size_t n = strlen(text);
	size_t old_len = out->len;

	if (n % 2 || buf_reserve(out, n / 2))
		return false;
	for (size_t i = 0; i < n; i += 2) {
		int high = hex_digit(text[i]);
		int low = hex_digit(text[i + 1]);

		if (high < 0 || low < 0) {
			out->len = old_len;
			return false;
		}
		out->data[out->len++] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static const char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

char *base64url_encode(const void *data, size_t n)
{
	const uint8_t *in = data;
	char *text, *at;

	/* No size that memory can hold comes near the overflow of n / 3 * 4. */
	at = text = mem_zalloc(n / 3 * 4 + n % 3 + 2);
	if (!text)
		return NULL;
	for (; n >= 3; in += 3, n -= 3) {
		*at++ = base64url[in[0] >> 2];
		*at++ = base64url[(in[0] & 3) << 4 | in[1] >> 4];
		*at++ = base64url[(in[1] & 15) << 2 | in[2] >> 6];
		*at++ = base64url[in[2] & 63];
	}
	if (n) {
		*at++ = base64url[in[0] >> 2];
		*at++ = base64url[(in[0] & 3) << 4 | (n == 2 ? in[1] >> 4 : 0)];
	}
	if (n == 2)
		*at++ = base64url[(in[1] & 15) << 2];
	*at = '\0';
	return text;
}

static int base64url_digit(char c)
{
	const char *at = c ? strchr(base64url, c) : NULL;

	return at ? (int)(at - base64url) : -1;
}

bool base64url_decode(const char *text, struct buf *out)
{
	size_t n = strlen(text);
	size_t old_len = out->len;
	unsigned bits = 0;
	uint32_t have = 0;

	if (n % 4 == 1 || buf_reserve(out, n / 4 * 3 + 2))
		return false;
	for (size_t i = 0; i < n; i++) {
		int digit = base64url_digit(text[i]);

		if (digit < 0)
			goto malformed;
		have = have << 6 | (uint32_t)digit;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out->data[out->len++] = (uint8_t)(have >> bits);
			have &= (1u << bits) - 1;
		}
	}
	/* Left-over bits must be zero, so that one value has one text. */
	if (have)
		goto malformed;
	return true;

malformed:
	out->len = old_len;
	return false;
}
