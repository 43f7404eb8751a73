/*
 * Token bucket: the rules of docs/failover.md ("Pace").
 *
 * Levels are whole millionths of a token: in a microsecond a bucket of n tokens per second gains exactly n of them. So
 * nothing is rounded away however often it is asked, and the same calls give the same times everywhere.
 */
#include "core/token_bucket.h"

#define TOKEN ((int64_t)1000000)
#define PER_S_MOST ((int64_t)1000000000) /* no limit worth the name; keeps sums small */
#define BURST_MOST ((int64_t)1000000000)

static int64_t between(int64_t v, int64_t low, int64_t high)
{
	return v < low ? low : v > high ? high : v;
}

/* 1. Time fills the bucket, up to the burst: who was idle for an hour may not make an hour's worth of moves at once. */
static int64_t level_at(const struct token_bucket *b, struct mono now)
{
	int64_t room = b->burst * TOKEN - b->level, gained;

	/* A clock that seems to go backwards takes nothing away. */
	if (!mono_before(b->at, now))
		return b->level;
	if (__builtin_mul_overflow(now.us - b->at.us, b->per_s, &gained) || gained > room)
		gained = room;
	return b->level + gained;
}

static void fill(struct token_bucket *b, struct mono now)
{
	b->level = level_at(b, now);
	b->at = mono_before(b->at, now) ? now : b->at;
}

static void pace_set(struct token_bucket *b, int64_t per_s, int64_t burst)
{
	b->per_s = between(per_s, 0, PER_S_MOST);
	b->burst = between(burst, 1, BURST_MOST);
}

void token_bucket_init(struct token_bucket *b, int64_t per_s, int64_t burst, struct mono now)
{
	*b = (struct token_bucket){.at = now};
	pace_set(b, per_s, burst);
	b->level = b->burst * TOKEN;
}

void token_bucket_set(struct token_bucket *b, int64_t per_s, int64_t burst, struct mono now)
{
	fill(b, now);
	pace_set(b, per_s, burst);
	if (b->level > b->burst * TOKEN)
		b->level = b->burst * TOKEN;
}

/* The level after taking n; false: more than can be counted. */
static bool level_after(const struct token_bucket *b, int64_t n, struct mono now, int64_t *level)
{
	int64_t wanted;

	return !__builtin_mul_overflow(n, TOKEN, &wanted) && !__builtin_sub_overflow(level_at(b, now), wanted, level);
}

static struct mono when_level(const struct token_bucket *b, int64_t level, struct mono now)
{
	struct mono from = mono_before(b->at, now) ? now : b->at;
	int64_t missing_us;

	if (level >= 0)
		return now;
	/* 2. A pace of 0 lets nothing through beyond what is there: a pause, not an error. */
	if (!b->per_s || level == INT64_MIN)
		return MONO_NEVER;
	/* 3. Who has to wait is told when the last of its tokens will have come: rounded up, never too early. */
	missing_us = -level / b->per_s + (-level % b->per_s != 0);
	return __builtin_add_overflow(from.us, missing_us, &from.us) ? MONO_NEVER : from;
}

struct mono token_bucket_when(const struct token_bucket *b, int64_t n, struct mono now)
{
	int64_t level;

	if (n <= 0)
		return now;
	return level_after(b, n, now, &level) ? when_level(b, level, now) : MONO_NEVER;
}

struct mono token_bucket_take(struct token_bucket *b, int64_t n, struct mono now)
{
	struct mono when = token_bucket_when(b, n, now);

	if (n <= 0 || mono_is_never(when))
		return when;
	/* 4. What is promised is gone: the next one waits behind it, so the promised times are as far apart as the
	 * pace. */
	fill(b, now);
	b->level -= n * TOKEN;
	return when;
}

bool token_bucket_try(struct token_bucket *b, int64_t n, struct mono now)
{
	if (n > token_bucket_there(b, now))
		return false;
	token_bucket_take(b, n, now);
	return true;
}

int64_t token_bucket_there(const struct token_bucket *b, struct mono now)
{
	int64_t level = level_at(b, now);

	return level > 0 ? level / TOKEN : 0;
}
