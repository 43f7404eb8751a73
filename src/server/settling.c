/*
 * Settling: under balanced, changes of single hosts leave the lists within a looser bound after two failures, and in a
 * large fleet there is better (docs/placement.md, "Balanced" 8). In calm times one server brings them there, a few
 * lists at a time; nobody moves for it.
 *
 * Which server: the first in the order of registration that is Up. Two at once would do no harm: each step is a change
 * like any other, in a transaction of its own.
 */
#include "core/server_status.h"
#include "server/internal.h"

#define PACE_MS 10000

struct settle {
	struct entry entry;
	size_t max_lists;
	int64_t seen; /* version of the placement that the loop knew */
	/* out */
	size_t n;
};

static enum err settle_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct settle *r = container_of(entry, struct settle, entry);

	return store_placement_settle(tx, r->max_lists, &r->n);
}

static void settle_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct settle *r = container_of(entry, struct settle, entry);

	s->settling.under_way = false;
	if (result)
		log_debug(s->log, "lists could not be settled", KV_S("error", sentence));
	/*
	 * Fewer than asked for: there is nothing more to do, until we hear that something has changed. The version in
	 * the store would not do: some grow it and alter nothing that anybody has to hear of.
	 */
	else if (r->n < r->max_lists)
		s->settling.version = r->seen;
	if (!result && r->n) {
		log_debug(s->log, "lists settled", KV_I("lists", (int64_t)r->n));
		api_committed(s);
	}
	mem_free(r);
}

static bool is_ours_to_do(const struct server *s)
{
	list_for (m, (struct list *)(uintptr_t)&s->servers, struct member_server, in_servers)
		if (m->row.state == SERVER_UP)
			return m->row.msid == s->msid;
	return false;
}

/* Lists that change again while they are being spread cost everybody. Of other servers' agents nobody tells us. */
static bool is_calm(const struct server *s)
{
	return !freeze_is_on(s) && !s->draining && !spread_waiting(s->spread) && !s->tails_since.us &&
	       !ledger_is_slow(s) && !ledger_is_failing(s, NULL);
}

void settling_tick(struct server *s)
{
	struct mono now = world_now(s->world);
	size_t n = lists_servers(s)->n;
	struct settle *r;

	if (s->settling.under_way || lists_algorithm(s) != ALGORITHM_BALANCED || n < 3 ||
	    s->settling.version == placement_version(s) || !is_ours_to_do(s))
		return;
	/* Not while more may come. */
	if (!is_calm(s) || s->settling.seen != placement_version(s)) {
		s->settling.seen = placement_version(s);
		s->settling.since = now;
		return;
	}
	if (mono_ms_between(s->settling.since, now) < PACE_MS)
		return;
	s->settling.since = now;
	r = mem_zalloc(sizeof(*r));
	if (!r)
		return; /* the next time */
	r->entry.run = settle_run;
	r->entry.done = settle_done;
	r->max_lists = 2 * n;
	r->seen = placement_version(s);
	s->settling.under_way = true;
	ledger_add(s, &r->entry);
}
