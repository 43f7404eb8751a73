/*
 * Heartbeat: how often the two ends of a link show each other that they are alive, and what silence means (decision
 * 26).
 *
 * Every link costs its server a heartbeat sent and one received per interval. The interval grows with the number of
 * links, so that all of them together stay a small part of one core; both ends judge silence by the interval that the
 * server has told. Rules are numbered as in docs/failover.md ("Heartbeats").
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/mono.h"

struct heartbeat_rule {
	int64_t cost_us;      /* of CPU for one sent and one received; measured: tests/bench/bench_heartbeat.c */
	int64_t core_percent; /* of one core that all heartbeats of a server may cost */
};

extern const struct heartbeat_rule heartbeat_rule_default;

#define HEARTBEAT_LEAST_MS 1000
#define HEARTBEAT_MOST_MS 15000

/* The interval for so many links. `now_ms`: the one in force, so that a number near a bound doesn't flicker; 0: none.
 */
int64_t heartbeat_interval_ms(const struct heartbeat_rule *rule, int64_t now_ms, size_t n_links);
/* After so much silence a link is suspect, and after so much dead. */
int64_t heartbeat_suspect_ms(int64_t interval_ms);
int64_t heartbeat_dead_ms(int64_t interval_ms);
/*
 * From when on silence counts that is judged by `interval_ms`, told at `told_at`, where `before_ms` was in force before
 * (0: nothing was). {0}: at once.
 */
struct mono heartbeat_counts_from(int64_t interval_ms, int64_t before_ms, struct mono told_at);
