/*
 * First dial: the rules of docs/failover.md ("First dial").
 *
 * The default of 200 us for each agent is what a server needs to take one (five thousand a second), so the servers that
 * are left see about what they can do: a thousand agents wait 180 ms at most, ten thousand 2 s.
 */
#include "core/first_dial.h"

#define PATIENCE_LEAST_MS 1000
#define PATIENCE_MOST_MS 3000
#define PATIENCE_TIMES 4 /* the last handshake */

const struct first_dial_rule first_dial_rule_default = {.few = 100, .us_per_agent = 200, .most_ms = 5000};

int64_t first_dial_window_ms(const struct first_dial_rule *rule, uint64_t n_agents)
{
	int64_t us;

	/* 1. Few don't wait, and nobody does who doesn't know how many they were. */
	if (n_agents <= rule->few || rule->us_per_agent <= 0 || rule->most_ms <= 0)
		return 0;
	/* 2. In proportion to those beyond the few, so that there is no step where many begin. */
	if (__builtin_mul_overflow(n_agents - rule->few, rule->us_per_agent, &us))
		return rule->most_ms;
	/* 3. Bounded: beyond this the servers' admission spreads them, which knows what it can take. */
	return us / 1000 < rule->most_ms ? us / 1000 : rule->most_ms;
}

int64_t first_dial_delay_ms(const struct first_dial_rule *rule, uint64_t n_agents, struct rng *rng)
{
	int64_t window = first_dial_window_ms(rule, n_agents);

	/* 4. Drawn from all of it: there is no one to agree with on an order any more. */
	return window ? rng_between(rng, 0, window) : 0;
}

int64_t first_dial_patience_ms(int64_t handshake_ms, uint64_t n_agents, bool keeps_link)
{
	int64_t ms = PATIENCE_LEAST_MS;

	/* 9. A slow moment would send it to another server than the one that was planned. */
	if (keeps_link)
		return PATIENCE_MOST_MS;
	/* 6. A slow one is slow again. */
	if (handshake_ms > PATIENCE_MOST_MS / PATIENCE_TIMES)
		return PATIENCE_MOST_MS;
	if (handshake_ms > ms / PATIENCE_TIMES)
		ms = handshake_ms * PATIENCE_TIMES;
	/* 7. So many come at once: a second dial each would double what the servers have to do, just then. */
	if (n_agents > (uint64_t)ms)
		ms = n_agents < PATIENCE_MOST_MS ? (int64_t)n_agents : PATIENCE_MOST_MS;
	/* 8. A server that hangs is not waited for any longer than that. */
	return ms;
}
