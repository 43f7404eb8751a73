/*
 * Strings: lists of them, strict numbers, small helpers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct str_list {
	char **items; /* owned, each element too */
	size_t n;
	size_t cap;
};

void str_list_deinit(struct str_list *l);
enum err str_list_add(struct str_list *l, const char *s) MUST_CHECK;
enum err str_list_add_n(struct str_list *l, const char *s, size_t n) MUST_CHECK;
enum err str_list_copy(struct str_list *to, const struct str_list *from) MUST_CHECK; /* replaces what `to` held */
void str_list_move(struct str_list *to, struct str_list *from);                      /* `from` is empty afterwards */
bool str_list_equal(const struct str_list *a, const struct str_list *b);
bool str_list_has(const struct str_list *l, const char *s);
/* The index of s, or SIZE_MAX. */
size_t str_list_find(const struct str_list *l, const char *s);
/* Splits at every separator; empty parts stay, an empty text gives no part. Replaces what `out` held. */
enum err str_list_split(struct str_list *out, const char *text, char separator) MUST_CHECK;
/* Joined in a new string; NULL when out of memory. An empty list gives "". */
char *str_list_join(const struct str_list *l, const char *separator);

bool str_is_blank(const char *s);             /* NULL counts as blank */
bool str_equal(const char *a, const char *b); /* NULLs are equal to each other only */
bool str_equal_nocase(const char *a, const char *b);
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
/* Copies with cutting; returns false when it had to cut. */
bool str_copy(char *out, size_t size, const char *s);
/* Trims blanks and tabs at both ends, in place; returns s or a pointer into it. */
char *str_trim(char *s);

/* Whole text, decimal, no blanks; false for anything else and for overflow. */
bool str_to_i64(const char *s, int64_t *out);
bool str_to_u64(const char *s, uint64_t *out);
/* "90", "90s", "15m", "2h", "7d" to seconds. */
bool str_to_seconds(const char *s, int64_t *out);

/* The first character of n bytes of UTF-8 and how many bytes it takes; 0 when there is none or it is not valid. */
size_t str_utf8_get(const char *s, size_t n, uint32_t *out);
/* Valid UTF-8 without NUL? */
bool str_is_utf8(const char *s, size_t n);
/* Replaces control characters by '?' in place: what a peer sent must not paint an operator's terminal. */
void str_make_printable(char *s);

/* A fixed-size text for an UUID in its usual form. uuid_from_bytes() sets version 4 bits. */
#define UUID_TEXT 37
void uuid_from_bytes(char out[UUID_TEXT], const uint8_t random[16]);
bool uuid_is_valid(const char *s);
