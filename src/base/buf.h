/*
 * A growable byte buffer, and checked reading and writing of big-endian numbers.
 *
 * Nobody computes a pointer from a length that a peer sent: bytes_get_*() check, the caller looks at the result.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct buf {
	uint8_t *data; /* owned; NULL while nothing was ever put in */
	size_t len;
	size_t cap;
};

void buf_deinit(struct buf *b); /* frees; the buffer is empty and usable again */
void buf_wipe(struct buf *b);   /* the same for a secret. Reserve room for all of it first: growing leaves copies */
void buf_clear(struct buf *b);  /* keeps the memory */
enum err buf_reserve(struct buf *b, size_t more) MUST_CHECK;
enum err buf_put(struct buf *b, const void *data, size_t n) MUST_CHECK;
enum err buf_put_str(struct buf *b, const char *s) MUST_CHECK;
enum err buf_put_u8(struct buf *b, uint8_t v) MUST_CHECK;
enum err buf_put_u16(struct buf *b, uint16_t v) MUST_CHECK;
enum err buf_put_u32(struct buf *b, uint32_t v) MUST_CHECK;
enum err buf_put_u64(struct buf *b, uint64_t v) MUST_CHECK;
enum err buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3))) MUST_CHECK;
enum err buf_vprintf(struct buf *b, const char *format, va_list args) __attribute__((format(printf, 2, 0))) MUST_CHECK;
/* Drops the first n bytes (all when n is larger). */
void buf_consume(struct buf *b, size_t n);
/* The content as a C string that belongs to the buffer; NULL when out of memory. */
const char *buf_str(struct buf *b);
/* Hands the content over as a NUL-terminated string; the buffer is empty afterwards. NULL when out of memory. */
char *buf_take_str(struct buf *b);
/* Moves the memory from one buffer to another; `from` is empty afterwards, what `to` held is freed. */
void buf_move(struct buf *to, struct buf *from);

/* A view that is read from the front. */
struct bytes {
	const uint8_t *data;
	size_t len;
};

bool bytes_get_u8(struct bytes *in, uint8_t *out) MUST_CHECK;
bool bytes_get_u16(struct bytes *in, uint16_t *out) MUST_CHECK;
bool bytes_get_u32(struct bytes *in, uint32_t *out) MUST_CHECK;
bool bytes_get_u64(struct bytes *in, uint64_t *out) MUST_CHECK;
/* A view of the next n bytes. */
bool bytes_get(struct bytes *in, size_t n, struct bytes *out) MUST_CHECK;

/* Hex, lower case. hex_encode writes 2n+1 bytes; hex_decode returns false for anything but an even count of digits. */
void hex_encode(char *out, const void *data, size_t n);
bool hex_decode(const char *text, struct buf *out) MUST_CHECK;
/* Base64 with the URL alphabet and without padding, for tokens and keys in texts. */
char *base64url_encode(const void *data, size_t n);
bool base64url_decode(const char *text, struct buf *out) MUST_CHECK;
