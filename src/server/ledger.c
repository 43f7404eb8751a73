/*
 * The ledger: small store functions are collected on the loop and run together in one transaction on the store lane.
 *
 * Groups form by themselves: while one is being written, what comes meanwhile waits and becomes the next. So a lone
 * change is written at once, and a storm of ten thousand startups costs a few dozen transactions. A caller learns the
 * result of its own function; when the whole group could not be committed, all of them hear the reason and nothing of
 * it is in the store.
 */
#include "server/internal.h"

#define GROUP_MAX 512
#define HANGS_MS 3000
#define SLOW_MS 500
#define TOLD_PER_TURN 32 /* results; each may send messages, and a storm must not make one turn of five hundred */

struct ledger_group {
	struct work work;
	struct server *server;
	struct list entries;
	size_t n;
	bool writes;
	struct store_call *calls[GROUP_MAX];
	enum err result;
	struct why why;
	struct mono begun;
	size_t n_servers; /* as the loop knew when the group began */
};

static void ledger_next(struct server *s);

static enum err entry_run(struct store_tx *tx, void *arg, struct why *why)
{
	struct entry *e = arg;

	store_tx_by(tx, e->server->msid, world_wall_ms(e->server->world));
	store_tx_servers(tx, e->group->n_servers);
	return e->run(tx, e, why);
}

static void group_run(struct work *work)
{
	struct ledger_group *g = container_of(work, struct ledger_group, work);
	struct server *s = g->server;

	if (s->p.store_gate) {
		g->result = s->p.store_gate(s->p.user, &g->why);
		if (g->result)
			return;
	}
	g->result = store_run(s->p.store, g->calls, g->n, &g->why);
}

/* In the order in which they were written. */
static void tell_some(struct later *l)
{
	struct server *s = container_of(l, struct server, ledger_later);

	for (int i = 0; i < TOLD_PER_TURN && !list_is_empty(&s->ledger_tell); i++) {
		struct entry *e = list_first(&s->ledger_tell, struct entry, queued);
		enum err result = e->call.result;
		struct why why = e->call.why;

		list_remove(&e->queued);
		e->done(s, e, result, why_text(&why, result));
	}
	if (!list_is_empty(&s->ledger_tell))
		world_later(s->world, &s->ledger_later);
	else
		server_gone_if_idle(s);
}

void ledger_init(struct server *s)
{
	list_init(&s->ledger_queue);
	list_init(&s->ledger_tell);
	list_init(&s->ledger_later.queued);
	s->ledger_later.call = tell_some;
}

static void group_done(struct work *work)
{
	struct ledger_group *g = container_of(work, struct ledger_group, work);
	struct server *s = g->server;

	s->ledger_running = NULL;
	/* A full disk can still be read: only a write that worked ends the trouble. */
	if (!g->result && g->writes) {
		if (s->ledger_failing_since.us)
			log_info(s->log, "the store works again",
				 KV_I("failed_for_ms", mono_ms_between(s->ledger_failing_since, world_now(s->world))));
		s->ledger_failing_since = (struct mono){0};
	} else if (g->result && !s->ledger_failing_since.us) {
		s->ledger_failing_since = world_now(s->world);
		log_error(s->log, "the store does not take changes; links are kept, joins are refused",
			  KV_S("error", why_text(&g->why, g->result)));
	}

	/* The next group is under way before results are told: a result may add to the one after it. */
	ledger_next(s);

	list_for (e, &g->entries, struct entry, queued) {
		if (g->result) {
			e->call.result = g->result;
			e->call.why = g->why;
		}
		list_remove(&e->queued);
		list_append(&s->ledger_tell, &e->queued);
	}
	mem_free(g);
	/* Not before the rest of an earlier group. */
	if (list_is_empty(&s->ledger_later.queued))
		tell_some(&s->ledger_later);
}

static void ledger_next(struct server *s)
{
	struct ledger_group *g;

	if (s->freed || s->ledger_running || list_is_empty(&s->ledger_queue))
		return;
	g = mem_zalloc(sizeof(*g));
	if (!g) {
		/* Nothing is lost: the queue stands, and the next ledger_add() tries again. */
		log_error(s->log, "out of memory for a group of store changes");
		return;
	}
	g->server = s;
	g->begun = world_now(s->world);
	g->n_servers = s->list_servers.n;
	list_init(&g->entries);
	list_for (e, &s->ledger_queue, struct entry, queued) {
		if (g->n == GROUP_MAX)
			break;
		list_remove(&e->queued);
		list_append(&g->entries, &e->queued);
		e->group = g;
		g->writes |= !e->read_only;
		e->call = (struct store_call){.run = entry_run, .arg = e, .read_only = e->read_only};
		g->calls[g->n++] = &e->call;
	}
	g->work.run = group_run;
	g->work.done = group_done;
	g->work.cost_us = (uint32_t)(150 + 20 * g->n);
	s->ledger_running = g;
	world_work(s->world, WORK_STORE, &g->work);
}

void ledger_add(struct server *s, struct entry *e)
{
	e->server = s;
	list_append(&s->ledger_queue, &e->queued);
	ledger_next(s);
}

size_t ledger_waiting(const struct server *s)
{
	size_t n = s->ledger_running ? s->ledger_running->n : 0;

	list_for (e, (struct list *)(uintptr_t)&s->ledger_queue, struct entry, queued)
		n++;
	return n;
}

static bool is_away_for(const struct server *s, int64_t ms)
{
	return s->ledger_running && mono_ms_between(s->ledger_running->begun, world_now(s->world)) > ms;
}

bool ledger_is_slow(const struct server *s)
{
	return is_away_for(s, SLOW_MS);
}

/* A store that hangs says nothing at all: a group that takes so long is as good as a failure (decision 14). */
bool ledger_hangs(const struct server *s)
{
	return is_away_for(s, HANGS_MS);
}

bool ledger_is_failing(const struct server *s, struct mono *since)
{
	if (since)
		*since = ledger_hangs(s) ? s->ledger_running->begun : s->ledger_failing_since;
	return s->ledger_failing_since.us != 0 || ledger_hangs(s);
}

/*
 * At a sudden end: what waits is dropped with its entries. An entry owns what it is for, so its done() is called with
 * ERR_STOPPED: it frees, and finds no session to act on.
 */
void ledger_deinit(struct server *s)
{
	struct ledger_group *g = s->ledger_running;

	if (g) {
		/* The world is gone or going: the group will not come back. */
		s->ledger_running = NULL;
		list_for (e, &g->entries, struct entry, queued) {
			list_remove(&e->queued);
			list_append(&s->ledger_queue, &e->queued);
		}
	}
	world_later_cancel(&s->ledger_later);
	list_for (e, &s->ledger_tell, struct entry, queued) {
		list_remove(&e->queued);
		list_append(&s->ledger_queue, &e->queued);
	}
	while (!list_is_empty(&s->ledger_queue)) {
		struct entry *e = list_first(&s->ledger_queue, struct entry, queued);

		list_remove(&e->queued);
		e->done(s, e, ERR_STOPPED, err_text(ERR_STOPPED));
	}
	mem_free(g);
}
