/*
 * Chance as an argument: a seeded generator (xoshiro256**), so that whatever it decided can be replayed.
 *
 * Not for secrets: keys, tokens and passwords come from the world's entropy.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct rng {
	uint64_t s[4];
};

void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_u64(struct rng *r);
/* Uniform in 0 .. n-1, without bias; 0 when n is 0. */
uint64_t rng_below(struct rng *r, uint64_t n);
/* Uniform in low .. high, both included. */
int64_t rng_between(struct rng *r, int64_t low, int64_t high);
/* Uniform in 0 .. 1 (1 excluded). */
double rng_unit(struct rng *r);
/* value moved by up to +-percent of itself, for timers that must not run in step. */
int64_t rng_jitter(struct rng *r, int64_t value, unsigned percent);
/* Fisher-Yates over n pointers. */
void rng_shuffle(struct rng *r, void **items, size_t n);
