/*
 * What a muster server tells without being asked (muster.NewsCommand): how often heartbeats come, how many agents it
 * has, how the preferred server is, whether moves are frozen. Nothing is answered. It is a peer that says so: what
 * makes no sense is passed over.
 */
#include "client/engine.h"

#define UPTIME_MOST_MS (INT64_C(100) * 365 * 86400 * 1000) /* a hundred years: sums with it stay in range */

static bool names_preferred(const struct agent *a, const struct msg_news *m)
{
	return m->preferred && a->list.n && server_entry_same(m->preferred, a->list.items[0], a->p.port);
}

/* A word about a server that is not the preferred one (any more) is not one about the preferred one. */
static void word_take(struct session *s, const struct msg_news *m)
{
	struct agent *a = s->agent;
	int64_t uptime = m->preferredUptimeMs.has ? m->preferredUptimeMs.value : 0;

	if (!names_preferred(a, m) || str_is_blank(m->preferredState))
		return;
	s->word = (struct failback_word){
		.is_known = true,
		.is_up = str_equal(m->preferredState, "Up"),
		.is_accepting = !m->preferredAccepting.has || m->preferredAccepting.value,
		.uptime_ms = uptime < 0                ? 0
			     : uptime < UPTIME_MOST_MS ? uptime
						       : UPTIME_MOST_MS,
		.said_at = world_now(a->world),
	};
	if (s == a->current)
		check_changed(a);
}

void news_received(struct session *s, const struct msg_news *m)
{
	/* A link that is being left, or not in use yet, has nothing to say about it. */
	if (s->state != SESSION_READY)
		return;
	if (m->heartbeatMs.has && m->heartbeatMs.value > 0)
		session_set_heartbeat(s, m->heartbeatMs.value);
	if (m->agents.has && m->agents.value >= 0)
		s->n_agents = (uint64_t)m->agents.value;
	if (m->frozen.has)
		check_freeze(s, m->frozen.value);
	word_take(s, m);
}
