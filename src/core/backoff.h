/*
 * Back-off with full jitter: after the k-th failure in a row wait a random time between `floor_ms` and
 * min(cap, base * 2^k), drawn from all of it, so that agents that failed together don't return together.
 */
#pragma once

#include <stdint.h>

#include "base/mono.h"
#include "base/rng.h"

struct backoff_rule {
	int64_t floor_ms;
	int64_t base_ms;
	int64_t cap_ms;
};

struct backoff {
	unsigned failures;    /* in a row */
	struct mono retry_at; /* {0}: at once */
};

void backoff_failed(struct backoff *b, const struct backoff_rule *rule, struct mono now, struct rng *rng);
void backoff_worked(struct backoff *b);
