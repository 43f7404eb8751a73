/*
 * Monotonic time as a type of its own, so that it can't be mixed with a wall clock or a number.
 *
 * Only net/ reads a clock. Everything below gets `now` as an argument.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct mono {
	int64_t us; /* microseconds since some fixed point of this process's world */
};

#define MONO_NEVER ((struct mono){.us = INT64_MAX})

static inline struct mono mono_add_ms(struct mono t, int64_t ms)
{
	int64_t us;

	if (__builtin_mul_overflow(ms, 1000, &us) || __builtin_add_overflow(t.us, us, &us))
		return MONO_NEVER;
	return (struct mono){.us = us};
}

static inline struct mono mono_add_s(struct mono t, int64_t s)
{
	int64_t ms;

	return __builtin_mul_overflow(s, 1000, &ms) ? MONO_NEVER : mono_add_ms(t, ms);
}

/* later - earlier in whole milliseconds, rounded towards 0; negative when the order is the other way round. */
static inline int64_t mono_ms_between(struct mono earlier, struct mono later)
{
	return (later.us - earlier.us) / 1000;
}

static inline bool mono_reached(struct mono now, struct mono t)
{
	return now.us >= t.us;
}

static inline bool mono_before(struct mono a, struct mono b)
{
	return a.us < b.us;
}

static inline bool mono_is_never(struct mono t)
{
	return t.us == INT64_MAX;
}

static inline struct mono mono_min(struct mono a, struct mono b)
{
	return a.us < b.us ? a : b;
}
