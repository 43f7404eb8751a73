/*
 * How long moves take (docs/placement.md, "Plan" 7): agents look once in an interval, spread over it, and a server
 * takes them at its pace.
 */
#include "core/plan.h"

static int64_t up(uint64_t n, int64_t per)
{
	return (int64_t)((n + (uint64_t)per - 1) / (uint64_t)per);
}

struct plan_time plan_time(const struct plan_pace *pace, uint64_t arrivals, bool told)
{
	int64_t interval = told ? 0 : pace->interval_s;
	uint64_t burst = pace->burst > 0 ? (uint64_t)pace->burst : 0;
	struct plan_time t = {.is_known = true};

	if (!arrivals)
		return t;
	if (pace->per_s <= 0 || (!told && interval <= 0))
		return (struct plan_time){0};
	if (arrivals > burst)
		t.seconds = up(arrivals - burst, pace->per_s);
	if (t.seconds < interval)
		t.seconds = interval;
	/* Who comes at once waits for nobody. */
	t.per_s = t.seconds ? up(arrivals, t.seconds) : (int64_t)arrivals;
	if (t.per_s > pace->per_s)
		t.per_s = pace->per_s;
	return t;
}
