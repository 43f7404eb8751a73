/*
 * The heap with checked sizes. Everything allocates through malloc, calloc and realloc, never inside libc, so that
 * tests can make any allocation fail.
 */
#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *mem_zalloc(size_t size)
{
	/* Nothing is larger, and sanitizers take a request for it as a mistake. */
	if (size > PTRDIFF_MAX)
		return NULL;
	return calloc(1, size ? size : 1);
}

void *mem_zalloc_array(size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total))
		return NULL;
	return mem_zalloc(total);
}

void *mem_grow_array(void *old, size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total) || total > PTRDIFF_MAX)
		return NULL;
	/* realloc(p, 0) frees, which would leave the caller with a block it believes valid. */
	return realloc(old, total ? total : 1);
}

char *mem_strdup(const char *s)
{
	return s ? mem_strndup(s, strlen(s)) : NULL;
}

char *mem_strndup(const char *s, size_t n)
{
	char *copy;
	size_t len;

	if (!s)
		return NULL;
	len = strnlen(s, n);
	copy = malloc(len + 1);
	if (!copy)
		return NULL;
	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

char *mem_printf(const char *format, ...)
{
	va_list args, again;
	char *text = NULL;
	int n;

	va_start(args, format);
	va_copy(again, args);
	n = vsnprintf(NULL, 0, format, args);
	if (n >= 0)
		text = malloc((size_t)n + 1);
	if (text)
		vsnprintf(text, (size_t)n + 1, format, again);
	va_end(again);
	va_end(args);
	return text;
}

void *mem_free(void *p)
{
	free(p);
	return NULL;
}

void mem_wipe(void *p, size_t n)
{
	if (n)
		explicit_bzero(p, n);
}
