/*
 * Heartbeat: the rules of docs/failover.md ("Heartbeats").
 *
 * The cost is what `./run bench` prints for links over loopback on a machine of 2 cores: 14 to 15 us, 3 to 4 times the
 * bare system calls (tests/bench/bench_heartbeat.c). So up to 3333 links have an interval of 1 s, and 50,000 have one
 * of 15 s.
 */
#include "core/heartbeat.h"

#include "base/mem.h"

#define DEAD_AT_LEAST_MS 10000
#define DOWN_PERCENT 80

const struct heartbeat_rule heartbeat_rule_default = {.cost_us = 15, .core_percent = 5};

/* 1. Steps, not a line: each change is told to every agent. */
static const int64_t steps_ms[] = {HEARTBEAT_LEAST_MS, 2000, 3000, 5000, 7500, 10000, HEARTBEAT_MOST_MS};

/* How many links this interval is long enough for. */
static size_t links_most(const struct heartbeat_rule *rule, int64_t interval_ms)
{
	int64_t budget_us = interval_ms * 1000 * rule->core_percent / 100;

	return rule->cost_us > 0 ? (size_t)(budget_us / rule->cost_us) : SIZE_MAX;
}

int64_t heartbeat_interval_ms(const struct heartbeat_rule *rule, int64_t now_ms, size_t n_links)
{
	for (size_t i = 0; i < ARRAY_SIZE(steps_ms); i++) {
		size_t most = links_most(rule, steps_ms[i]);

		/* 3. Back to a shorter one only where there is room: not because one agent left. */
		if (steps_ms[i] < now_ms && most != SIZE_MAX)
			most = most / 100 * DOWN_PERCENT + most % 100 * DOWN_PERCENT / 100;
		if (n_links <= most)
			return steps_ms[i];
	}
	/* 2. Beyond that detection counts for more than what it costs. */
	return HEARTBEAT_MOST_MS;
}

/* 4. Two may be late or lost, the third would have to be on its way by now. */
int64_t heartbeat_suspect_ms(int64_t interval_ms)
{
	return interval_ms * 5 / 2;
}

/* 5. */
int64_t heartbeat_dead_ms(int64_t interval_ms)
{
	int64_t ms = interval_ms * 4;

	return ms > DEAD_AT_LEAST_MS ? ms : DEAD_AT_LEAST_MS;
}

struct mono heartbeat_counts_from(int64_t interval_ms, int64_t before_ms, struct mono told_at)
{
	/* 7. Told to send more often, the other end has sent at its old pace until it heard that. */
	return interval_ms < before_ms ? mono_add_ms(told_at, before_ms) : (struct mono){0};
}
