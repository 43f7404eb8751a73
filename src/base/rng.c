/*
 * xoshiro256** 1.0 by Blackman and Vigna, seeded with splitmix64 as its authors advise: related seeds (1, 2, 3)
 * give unrelated sequences. A sequence belongs to its seed for good: recorded runs are replayed from it.
 */
#include "base/rng.h"

#include <assert.h>

static uint64_t splitmix64(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

void rng_init(struct rng *r, uint64_t seed)
{
	for (size_t i = 0; i < 4; i++)
		r->s[i] = splitmix64(&seed);
}

static uint64_t rotate_left(uint64_t v, unsigned by)
{
	return v << by | v >> (64 - by);
}

uint64_t rng_u64(struct rng *r)
{
	uint64_t *s = r->s;
	uint64_t result = rotate_left(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate_left(s[3], 45);
	return result;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
	uint64_t surplus, v;

	if (!n)
		return 0;
	/* 2^64 mod n: the values that would be drawn once too often are drawn again. */
	surplus = -n % n;
	do
		v = rng_u64(r);
	while (v < surplus);
	return v % n;
}

int64_t rng_between(struct rng *r, int64_t low, int64_t high)
{
	uint64_t count;

	assert(low <= high);
	count = (uint64_t)high - (uint64_t)low + 1;
	/* The whole range has 2^64 values, which count can't hold. */
	return (int64_t)((uint64_t)low + (count ? rng_below(r, count) : rng_u64(r)));
}

double rng_unit(struct rng *r)
{
	return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

int64_t rng_jitter(struct rng *r, int64_t value, unsigned percent)
{
	int64_t spread, low, high;

	/* A timer may at most double or come at once, never lie in the past. */
	if (percent > 100)
		percent = 100;
	spread = value / 100 * percent + value % 100 * percent / 100;
	if (spread == INT64_MIN)
		spread = -INT64_MAX;
	if (spread < 0)
		spread = -spread;
	if (__builtin_sub_overflow(value, spread, &low))
		low = INT64_MIN;
	if (__builtin_add_overflow(value, spread, &high))
		high = INT64_MAX;
	return rng_between(r, low, high);
}

void rng_shuffle(struct rng *r, void **items, size_t n)
{
	for (size_t i = n; i > 1; i--) {
		size_t j = (size_t)rng_below(r, i);
		void *item = items[i - 1];

		items[i - 1] = items[j];
		items[j] = item;
	}
}
