/*
 * Back-off with full jitter (docs/placement.md, "Back-off").
 *
 * Full jitter rather than a fixed time with a little noise: ten thousand agents that lost a server in the same
 * millisecond are then spread over the whole time, not over a tenth of it.
 */
#include "core/backoff.h"

#include <limits.h>

/* min(cap, base * 2^failures) without overflow. */
static int64_t backoff_ceiling(const struct backoff_rule *rule, unsigned failures)
{
	int64_t ceiling = rule->base_ms;

	for (unsigned i = 0; i < failures && ceiling > 0 && ceiling < rule->cap_ms; i++) {
		if (__builtin_mul_overflow(ceiling, (int64_t)2, &ceiling))
			return rule->cap_ms;
	}
	return ceiling < rule->cap_ms ? ceiling : rule->cap_ms;
}

void backoff_failed(struct backoff *b, const struct backoff_rule *rule, struct mono now, struct rng *rng)
{
	int64_t floor = rule->floor_ms > 0 ? rule->floor_ms : 0;
	int64_t ceiling;

	if (b->failures < UINT_MAX)
		b->failures++;
	ceiling = backoff_ceiling(rule, b->failures);
	/* Drawn between the two, not cut off at the floor: otherwise many would meet exactly there. */
	b->retry_at = mono_add_ms(now, ceiling > floor ? rng_between(rng, floor, ceiling) : floor);
}

void backoff_worked(struct backoff *b)
{
	*b = (struct backoff){0};
}
