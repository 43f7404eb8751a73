/*
 * Memory: the heap with checked sizes, and cleaning up at the end of a block.
 */
#pragma once

#include <stddef.h>

/* Zeroed memory or NULL. */
void *mem_zalloc(size_t size) __attribute__((malloc));
/* n * size bytes, zeroed; NULL also when the product overflows. */
void *mem_zalloc_array(size_t n, size_t size) __attribute__((malloc));
/* Like realloc for n elements; the old block stays valid when NULL comes back. */
void *mem_grow_array(void *old, size_t n, size_t size);
/* NULL in, NULL out. */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);
/* printf into a new string; NULL when out of memory. */
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Returns NULL, so that `x = mem_free(x)` can't leave a stale pointer. */
void *mem_free(void *p);
/* Overwrites secrets; the compiler may not drop it. */
void mem_wipe(void *p, size_t n);

/* CLEAN(x_freep) struct x *p = NULL;  calls x_freep(&p) at the end of the block. */
#define CLEAN(fn) __attribute__((cleanup(fn)))

/* Defines x_freep() for a free function that takes the pointer. */
#define CLEAN_DEFINE(type, free_fn)                                                                                    \
	static inline void free_fn##p(type **pointer)                                                                  \
	{                                                                                                              \
		if (*pointer)                                                                                          \
			free_fn(*pointer);                                                                             \
	}

static inline void mem_freep(void *pointer)
{
	void **p = (void **)pointer;

	*p = mem_free(*p);
}

/* Takes the value out of a CLEAN variable: `*out = STEAL(p);` */
#define STEAL(p)                                                                                                       \
	({                                                                                                             \
		__typeof__(p) stolen_ = (p);                                                                           \
		(p) = NULL;                                                                                            \
		stolen_;                                                                                               \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
