/*
 * What a muster server tells without being asked (muster.NewsCommand): how often heartbeats come, how many agents it
 * has, how the servers are that stand before it in our list, whether moves are frozen. Nothing is answered. It is a
 * peer that says so: what makes no sense is passed over.
 */
#include "base/mem.h"
#include "client/engine.h"

#define UPTIME_MOST_MS (INT64_C(100) * 365 * 86400 * 1000) /* a hundred years: sums with it stay in range */

/* The entry of our list that the word is about; n: none that is thought of. */
static size_t entry_of(const struct agent *a, const struct msg_news *m, size_t n)
{
	size_t i = 0;

	while (i < n && !server_entry_same(m->preferred, a->list.items[i], a->p.port))
		i++;
	return i;
}

struct failback_word news_word(const struct session *s, size_t list_index)
{
	return list_index < s->n_words ? s->words[list_index] : (struct failback_word){0};
}

void news_forget(struct session *s)
{
	s->words = mem_free(s->words);
	s->n_words = 0;
}

/*
 * One message tells of one server: the preferred one in the first place, and of others that stand before this server in
 * our list. What is not in the list (any more) is not thought of.
 */
static void word_take(struct session *s, const struct msg_news *m)
{
	struct agent *a = s->agent;
	int64_t uptime = m->preferredUptimeMs.has ? m->preferredUptimeMs.value : 0;
	size_t n = a->list.n < FAILBACK_ENTRIES_MOST ? a->list.n : FAILBACK_ENTRIES_MOST, i;

	if (!m->preferred || str_is_blank(m->preferredState))
		return;
	i = entry_of(a, m, n);
	if (i == n)
		return;
	if (!s->words) {
		s->words = mem_zalloc_array(n, sizeof(*s->words));
		s->n_words = s->words ? n : 0;
	}
	if (i >= s->n_words)
		return; /* out of memory: the next word is told again */
	s->words[i] = (struct failback_word){
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
