/*
 * Spreading: core/spread decides whom to tell and when; here lists are compared, sent and confirmed.
 *
 * What an agent has is known from its startup and from its answers, here and in the store, so that a server that dies
 * in the middle loses nothing: the next one that the agent meets compares again.
 */
#include "server/internal.h"

#define COMPARE_A_TURN 500
#define SEND_AT_ONCE 64
#define TAILS_QUIET_MS 3000 /* so long no other has changed, */
#define TAILS_MOST_MS 30000 /* or after this */

/* ---- what an agent has confirmed ---- */

struct confirm {
	struct entry entry;
	int64_t host_id;
	int64_t interval;
	char *list; /* NULL: as it was */
};

static enum err confirm_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct confirm *c = container_of(entry, struct confirm, entry);

	return store_host_list_confirmed(tx, c->host_id, c->list, c->interval);
}

static void confirm_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct confirm *c = container_of(entry, struct confirm, entry);

	if (result)
		log_debug(s->log, "a confirmed list could not be stored", KV_I("host", c->host_id),
			  KV_S("error", sentence));
	mem_free(c->list);
	mem_free(c);
}

static void confirm_store(struct server *s, int64_t host_id, const char *list, int64_t interval)
{
	struct confirm *c = mem_zalloc(sizeof(*c));

	if (!c)
		return;
	c->entry.run = confirm_run;
	c->entry.done = confirm_done;
	c->host_id = host_id;
	c->interval = interval;
	c->list = mem_strdup(list);
	if (list && !c->list) {
		mem_free(c);
		return;
	}
	ledger_add(s, &c->entry);
}

void spreading_confirmed(struct session *x, const char *list, int64_t interval)
{
	struct host *h = x->host;
	char *copy;

	x->interval_told = interval;
	if (list) {
		copy = mem_strdup(list);
		if (copy) {
			if (!str_equal(x->reported, list))
				news_new_list(x);
			mem_free(x->reported);
			x->reported = copy;
		}
	}
	if (!h)
		return;
	if (x->reported && !str_equal(h->row.ms_list, x->reported)) {
		copy = mem_strdup(x->reported);
		if (copy) {
			mem_free(h->row.ms_list);
			h->row.ms_list = copy;
		}
	}
	h->row.ms_interval = interval;
	confirm_store(x->server, h->row.id, x->reported, interval);
}

/* ---- comparing ---- */

struct telling {
	struct server *server;
	int64_t host_id;
	int64_t attachment;
	int64_t interval;
	uint64_t avoid_version;
	bool trigger; /* it said so */
	char *list;
};

static bool is_outdated(struct server *s, const struct host *h)
{
	const struct session *x = h->session;

	return x && x->state == SESSION_READY &&
	       (!lists_is_current(s, &h->row, x->reported) || x->interval_told != lists_interval_for(s, &h->row));
}

/*
 * Outdated, or not told yet which servers to avoid now. A CloudStack agent hears of those with its next ping; ours at
 * once: one that still avoids a server that is back would not go home.
 */
static bool needs_telling(struct server *s, const struct host *h)
{
	return is_outdated(s, h) || (h->session && h->session->state == SESSION_READY && h->row.is_muster &&
				     h->session->avoid_told != s->avoid_version);
}

/* Is what it should have on its way to it already? Its answer is compared again. */
static bool is_being_told(struct server *s, const struct host *h)
{
	const struct telling *t = h->session->telling;

	return t && t->interval == lists_interval_for(s, &h->row) && t->avoid_version == s->avoid_version &&
	       lists_is_current(s, &h->row, t->list);
}

void spreading_compare(struct server *s, struct host *h)
{
	if (!needs_telling(s, h) || is_being_told(s, h))
		return;
	if (spread_add(s->spread, (uint64_t)h->row.id, world_now(s->world)))
		log_error(s->log, "out of memory: an agent is told its list later", KV_I("host", h->row.id));
	spreading_run(s);
}

void spreading_trigger(struct server *s, struct host *h)
{
	if (!h->session || h->session->state != SESSION_READY)
		return;
	if (spread_add(s->spread, (uint64_t)h->row.id, world_now(s->world)))
		log_error(s->log, "out of memory: an agent is told its list later", KV_I("host", h->row.id));
	spreading_run(s);
}

static void compare_slice(struct later *l)
{
	struct server *s = container_of(l, struct server, compare_later);
	struct host *h;

	/* Rebuilt meanwhile: hosts stand elsewhere, some of them where we have been. Comparing twice does no harm. */
	if (s->compare_table != s->hosts_by_id.slots) {
		s->compare_table = s->hosts_by_id.slots;
		s->compare_cursor = 0;
	}
	for (size_t i = 0; i < COMPARE_A_TURN; i++) {
		h = roster_next(s, &s->compare_cursor);
		if (!h) {
			s->trigger_next = false;
			spreading_run(s);
			return;
		}
		if (!h->session || h->session->state != SESSION_READY)
			continue;
		if ((s->trigger_next || (needs_telling(s, h) && !is_being_told(s, h))) &&
		    spread_add(s->spread, (uint64_t)h->row.id, world_now(s->world)))
			log_error(s->log, "out of memory: an agent is told its list later", KV_I("host", h->row.id));
	}
	spreading_run(s);
	world_later(s->world, l);
}

void spreading_compare_all(struct server *s)
{
	if (!s->running)
		return;
	s->compare_cursor = 0;
	s->compare_later.call = compare_slice;
	world_later_cancel(&s->compare_later);
	world_later(s->world, &s->compare_later);
}

static void on_tails(struct timer *timer)
{
	struct server *s = container_of(timer, struct server, tails_timer);

	s->tails_since = (struct mono){0};
	spreading_compare_all(s);
}

/*
 * Each new host changes the tails of a few other lists under balanced, so a fleet that joins would be told its lists
 * over and over. What stands behind the first entry is needed at a failure only.
 */
void spreading_tails_changed(struct server *s)
{
	struct mono now = world_now(s->world);
	int64_t left_ms = TAILS_MOST_MS;

	if (!s->running)
		return;
	if (s->tails_since.us)
		left_ms -= mono_ms_between(s->tails_since, now);
	else
		s->tails_since = now;
	timer_stop(s->world, &s->tails_timer);
	timer_init(&s->tails_timer, on_tails);
	timer_set_in(s->world, &s->tails_timer, left_ms < 0 ? 0 : left_ms < TAILS_QUIET_MS ? left_ms : TAILS_QUIET_MS);
}

void spreading_trigger_all(struct server *s)
{
	struct host *h;
	size_t cursor = 0;

	/* The operator was told so, unless both were said in the same moment. */
	if (freeze_is_on(s)) {
		log_warn(s->log, "agents are not told to look for their preferred servers: moves are frozen");
		return;
	}
	while ((h = roster_next(s, &cursor)))
		if (h->session)
			h->session->trigger = true;
	s->trigger_next = true;
	spreading_compare_all(s);
}

void spreading_trigger_all_fresh(struct server *s)
{
	s->trigger_when_read = true;
	follow_now(s);
}

size_t spreading_outdated(const struct server *s)
{
	struct host *h;
	size_t cursor = 0, n = 0;

	while ((h = roster_next(s, &cursor)))
		n += is_outdated((struct server *)(uintptr_t)s, h);
	return n;
}

/* ---- telling ---- */

static void telling_free(struct telling *t)
{
	mem_free(t->list);
	mem_free(t);
}

static void told(void *user, enum err result, const char *sentence, const struct batch *answers)
{
	struct telling *t = user;
	struct server *s = t->server;
	struct host *h = roster_host(s, t->host_id);
	struct session *x = h ? h->session : NULL;

	if (!x || x->attachment != t->attachment || x->state == SESSION_CLOSED) {
		telling_free(t); /* another link has it; its startup was compared */
		return;
	}
	if (x->telling == t)
		x->telling = NULL;
	if (!result && answers->n && element_result(&answers->elements[0])) {
		/* Somebody may have asked everybody to look while it was under way without that word. */
		x->trigger &= !t->trigger;
		x->avoid_told = t->avoid_version;
		spreading_confirmed(x, t->list, t->interval);
		spread_acked(s->spread, (uint64_t)t->host_id);
		log_debug(s->log, "agent has its list", KV_I("host", t->host_id), KV_S("list", t->list));
		news_compare(s, h);
		/* The configuration may have changed while it was under way. */
		if (x->trigger)
			spreading_trigger(s, h);
		else
			spreading_compare(s, h);
	} else {
		const char *details = result ? sentence : answers->n ? element_details(&answers->elements[0]) : NULL;

		log_warn(s->log, "an agent did not take its list, trying again", KV_I("host", t->host_id),
			 KV_S("error", details ? details : "no reason given"));
		spread_failed(s->spread, (uint64_t)t->host_id, world_now(s->world), &s->world->rng);
	}
	telling_free(t);
	spreading_run(s);
}

static enum err put_list(struct server *s, struct host *h, struct msg_setup_ms_list *m, struct telling *t)
{
	struct str_list list = {0}, avoid = {0};
	enum err e = lists_for_host(s, &h->row, &list);

	/* A shuffled agent whose set is current keeps its order: only interval or trigger are news. */
	if (!e && lists_is_current(s, &h->row, h->session->reported)) {
		CLEAN(mem_freep) char *algorithm = NULL;

		str_list_deinit(&list);
		e = server_list_parse_reported(&list, &algorithm, h->session->reported);
	}
	if (!e)
		e = lists_avoid(s, &h->row, &avoid);
	if (!e)
		e = msg_set_texts(&m->msList, &list);
	if (!e)
		e = msg_set_texts(&m->avoidMsList, &avoid);
	if (!e)
		e = msg_set_text(&m->lbAlgorithm, algorithm_name(lists_algorithm(s)));
	t->interval = lists_interval_for(s, &h->row);
	t->avoid_version = s->avoid_version;
	msg_set_i64(&m->lbCheckInterval, t->interval);
	t->trigger = h->session->trigger;
	msg_set_bool(&m->triggerHostLb, t->trigger);
	if (!e) {
		t->list = server_list_format(&list, algorithm_name(lists_algorithm(s)));
		e = t->list ? ERR_OK : ERR_NOMEM;
	}
	str_list_deinit(&list);
	str_list_deinit(&avoid);
	return e;
}

static enum err tell(struct server *s, struct host *h)
{
	struct telling *t = mem_zalloc(sizeof(*t));
	struct batch b = {0};
	struct msg_setup_ms_list *m = batch_add(&b, MSG_SETUP_MS_LIST);
	struct request_params p = {.wait_ms = 60000, .this_link_only = true, .done = told, .user = t};
	enum err e = t && m ? put_list(s, h, m, t) : ERR_NOMEM;

	if (!e) {
		t->server = s;
		t->host_id = h->row.id;
		t->attachment = h->session->attachment;
		e = request_to_host(s, h, &b, &p);
	}
	if (!e)
		h->session->telling = t;
	else if (t)
		telling_free(t);
	batch_deinit(&b);
	return e;
}

static void on_spread_timer(struct timer *t)
{
	spreading_run(container_of(t, struct server, spread_timer));
}

void spreading_run(struct server *s)
{
	uint64_t hosts[SEND_AT_ONCE];
	struct mono now = world_now(s->world);
	struct mono next;
	size_t n;

	if (!s->running || s->list_servers.n == 0)
		return;
	do {
		n = spread_step(s->spread, now, hosts, SEND_AT_ONCE);
		for (size_t i = 0; i < n; i++) {
			struct host *h = roster_host(s, (int64_t)hosts[i]);

			if (!h || !h->session || h->session->state != SESSION_READY)
				spread_gone(s->spread, hosts[i]);
			else if (tell(s, h))
				spread_failed(s->spread, hosts[i], now, &s->world->rng);
		}
	} while (n == SEND_AT_ONCE);

	timer_stop(s->world, &s->spread_timer);
	next = spread_next_due(s->spread);
	if (!mono_is_never(next)) {
		timer_init(&s->spread_timer, on_spread_timer);
		timer_set(s->world, &s->spread_timer, next);
	}
}
