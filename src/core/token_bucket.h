/*
 * Token bucket: so many things per second, a burst of them at once, and never more.
 *
 * What paces arrivals at a server and the moves of a drain. It answers "when", so that whoever has to wait can be told
 * the time and comes once: token_bucket_take() gives a place in the queue, token_bucket_try() takes only what is there.
 * Rules are numbered as in docs/failover.md ("Pace").
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/mono.h"

struct token_bucket {
	int64_t per_s; /* 0: nothing gets through */
	int64_t burst; /* at least 1 */
	int64_t level; /* in millionths of a token at `at`; below zero is what was promised in advance */
	struct mono at;
};

/* Starts full. */
void token_bucket_init(struct token_bucket *b, int64_t per_s, int64_t burst, struct mono now);
/* Another pace from now on: what was saved up stays, as far as the new burst has room for it; promises stay. */
void token_bucket_set(struct token_bucket *b, int64_t per_s, int64_t burst, struct mono now);
/* When `n` tokens could be had; takes none. `now`: at once; MONO_NEVER at a pace of 0. */
struct mono token_bucket_when(const struct token_bucket *b, int64_t n, struct mono now);
/* Takes `n` tokens and returns when they may be used. Nothing is taken where that is MONO_NEVER. */
struct mono token_bucket_take(struct token_bucket *b, int64_t n, struct mono now);
/* Takes `n` tokens if they are there now. */
bool token_bucket_try(struct token_bucket *b, int64_t n, struct mono now);
/* How many can be taken now without waiting. */
int64_t token_bucket_there(const struct token_bucket *b, struct mono now);
