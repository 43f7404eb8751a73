/*
 * Follow: what changed in the store, by whomever, comes into memory.
 *
 * One way for all changes, our own included: the numbered `change` table is read from where we stopped, what it names
 * is read again, and what follows from it is done (new lists, superseded sessions, new credentials). Runs every
 * 100 ms when the store says that somebody committed, at once after our own commits and on a hint from a peer; a lost
 * hint costs 100 ms, never a change.
 */
#include "server/internal.h"

#include <stdlib.h>

#define FOLLOW_POLL_MS 100
#define FOLLOW_ROOM 256
#define COMPARED_AT_ONCE 64 /* more hosts have another first entry: in slices, with all others */

struct follow_read {
	struct entry entry;
	bool everything;
	bool only_if_changed; /* a poll: reads nothing when nobody else has committed */
	bool nothing;
	int64_t from;
	uint64_t number;
	/* out */
	int64_t seq;
	bool more;
	bool config, servers, ca, entries, all_places;
	struct host_row *hosts;
	size_t n_hosts, cap_hosts;
	struct config_row *config_rows;
	size_t n_config_rows;
	int64_t config_version;
	struct server_row *server_rows;
	size_t n_server_rows;
	struct place_row *places;
	size_t n_places;
	struct list_server_row *entry_rows;
	size_t n_entry_rows;
	int64_t placement_version;
	struct host_place *host_places; /* with all_places: of all hosts, by id */
	size_t n_host_places, cap_host_places;
	void (*loaded)(struct server *s, enum err result, const char *sentence);
};

static void read_free(struct follow_read *r)
{
	for (size_t i = 0; i < r->n_hosts; i++)
		host_row_deinit(&r->hosts[i]);
	mem_free(r->hosts);
	for (size_t i = 0; i < r->n_config_rows; i++)
		config_row_deinit(&r->config_rows[i]);
	mem_free(r->config_rows);
	for (size_t i = 0; i < r->n_server_rows; i++)
		server_row_deinit(&r->server_rows[i]);
	mem_free(r->server_rows);
	for (size_t i = 0; i < r->n_places; i++)
		place_row_deinit(&r->places[i]);
	mem_free(r->places);
	for (size_t i = 0; i < r->n_entry_rows && r->entry_rows; i++)
		list_server_row_deinit(&r->entry_rows[i]);
	mem_free(r->entry_rows);
	mem_free(r->host_places);
	mem_free(r);
}

/* ---- on the store lane ---- */

static enum err add_host(struct follow_read *r, struct host_row *take_row)
{
	if (r->n_hosts == r->cap_hosts) {
		size_t cap = r->cap_hosts ? r->cap_hosts * 2 : 64;
		void *grown = mem_grow_array(r->hosts, cap, sizeof(*r->hosts));

		if (!grown) {
			host_row_deinit(take_row);
			return ERR_NOMEM;
		}
		r->hosts = grown;
		r->cap_hosts = cap;
	}
	take_row->details = mem_free(take_row->details);
	r->hosts[r->n_hosts++] = *take_row;
	return ERR_OK;
}

static enum err add_listed_host(void *user, const struct host_row *row)
{
	struct host_row copy = {0};
	enum err e = host_row_copy(&copy, row);

	return e ? e : add_host(user, &copy);
}

static bool has_host(const struct follow_read *r, int64_t id)
{
	for (size_t i = r->n_hosts; i-- > 0;)
		if (r->hosts[i].id == id)
			return true;
	return false;
}

static enum err read_host(struct store_tx *tx, struct follow_read *r, int64_t id)
{
	struct host_row row = {0};
	enum err e;

	if (has_host(r, id))
		return ERR_OK;
	e = store_host_get(tx, id, &row);
	if (e == ERR_NOT_FOUND)
		return ERR_OK;
	return e ? e : add_host(r, &row);
}

static enum err read_host_place(struct store_tx *tx, struct follow_read *r, int64_t id)
{
	if (r->n_host_places == r->cap_host_places) {
		size_t cap = r->cap_host_places ? r->cap_host_places * 2 : 64;
		void *grown = mem_grow_array(r->host_places, cap, sizeof(*r->host_places));

		if (!grown)
			return ERR_NOMEM;
		r->host_places = grown;
		r->cap_host_places = cap;
	}
	return store_placement_get(tx, id, &r->host_places[r->n_host_places++]);
}

static enum err read_changes(struct store_tx *tx, struct follow_read *r)
{
	struct change changes[FOLLOW_ROOM];
	size_t n = 0;
	bool gap = false;
	enum err e = store_changes_since(tx, r->from, changes, FOLLOW_ROOM, &n, &gap);

	if (e)
		return e;
	if (gap) {
		r->everything = true;
		return ERR_OK;
	}
	for (size_t i = 0; i < n; i++) {
		r->seq = changes[i].seq;
		switch (changes[i].kind) {
		case CHANGE_CONFIG:
			r->config = true;
			break;
		case CHANGE_SERVER:
			r->servers = true;
			break;
		case CHANGE_CA:
			r->ca = true;
			break;
		case CHANGE_HOST:
			e = read_host(tx, r, changes[i].id);
			if (e)
				return e;
			break;
		case CHANGE_PLACEMENT:
			r->entries = true;
			if (!changes[i].id)
				r->all_places = true;
			else if ((e = read_host_place(tx, r, changes[i].id)))
				return e;
			break;
		case CHANGE_TOKEN:
		case CHANGE_ACCOUNT:
		case CHANGE_JOB:
			break; /* read when they are used */
		}
	}
	r->more = n == FOLLOW_ROOM;
	return ERR_OK;
}

static enum err read_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct follow_read *r = container_of(entry, struct follow_read, entry);
	enum err e = ERR_OK;

	if (r->only_if_changed && !store_changed(entry->server->p.store)) {
		r->nothing = true;
		return ERR_OK;
	}
	r->seq = r->from;
	if (!r->everything)
		e = read_changes(tx, r);
	if (!e && r->everything) {
		e = store_change_last(tx, &r->seq);
		if (!e)
			e = store_host_list(tx, add_listed_host, r);
		r->config = r->servers = r->ca = r->entries = true; /* hosts come with their places */
	}
	if (!e && r->config) {
		e = store_config_list(tx, &r->config_rows, &r->n_config_rows);
		if (!e)
			e = store_config_version(tx, &r->config_version);
	}
	if (!e && r->entries)
		e = store_list_server_list(tx, &r->entry_rows, &r->n_entry_rows, &r->placement_version);
	/* A host that comes makes a new one, also if no other list changes for it. */
	else if (!e && r->n_hosts)
		e = store_placement_version(tx, &r->placement_version);
	if (!e && r->all_places) {
		r->host_places = mem_free(r->host_places);
		r->n_host_places = 0;
		e = store_placement_list(tx, &r->host_places, &r->n_host_places);
	}
	if (!e && (r->servers || r->n_hosts)) /* a new host may have made a zone */
		e = store_place_list(tx, &r->places, &r->n_places);
	if (!e && r->servers)
		e = store_server_list(tx, &r->server_rows, &r->n_server_rows);
	return e;
}

/* ---- on the loop ---- */

static void take_places(struct server *s, struct follow_read *r)
{
	if (!r->places)
		return;
	for (size_t i = 0; i < s->n_places; i++)
		place_row_deinit(&s->places[i]);
	mem_free(s->places);
	s->places = STEAL(r->places);
	s->n_places = r->n_places;
	r->n_places = 0;
}

/* Somebody removed the host of an attached agent: it is told, and let go (agent-protocol 4.2.8). */
static void host_was_removed(struct session *x)
{
	struct batch b = {0};
	struct msg_shutdown *m = batch_add(&b, MSG_SHUTDOWN);
	struct request_params p = {.wait_ms = 5000};

	requests_drop_queue(x); /* nothing that is in sequence holds this up */
	if (m)
		msg_set_bool(&m->removeHost, false);
	if (!m || msg_set_text(&m->reason, "deleteHost") || request_to_host(x->server, x->host, &b, &p))
		log_warn(x->server->log, "could not tell an agent that its host is gone", KV_I("host", x->host_id));
	batch_deinit(&b);
	if (x->host)
		requests_fail(x->host, ERR_NOT_FOUND, "the host was deleted");
	session_end(x, ERR_NOT_FOUND, "host deleted", EVENT_N);
}

/* Was the owner's claim for an older link of the same agent? Claims count in the order of links (decision 13). */
static bool is_older_link(const struct host_row *row, const struct session *x)
{
	const struct link_stamp claimed = {row->boot, row->boot_number, row->link_number}, ours = session_stamp(x);

	return link_is_older(&claimed, &ours);
}

/* false: out of memory, read it again. */
static bool take_host(struct server *s, struct host_row *row)
{
	struct host *h = roster_host(s, row->id);
	struct session *x = h ? h->session : NULL;
	enum host_status before = h ? h->row.status : HOST_UNKNOWN;
	bool had_owner = h && h->row.owner;
	enum err e;

	if (x && row->removed_ms) {
		host_was_removed(x);
	} else if (x && x->claim) {
		/* Our claim is on its way; its result decides. */
	} else if (x && row->epoch > x->epoch && row->owner && row->owner != s->msid && !is_older_link(row, x)) {
		session_supersede(x, "another server has the agent");
	} else if (x && row->epoch > x->epoch) {
		/*
		 * Another server took us for dead and gave our hosts up, or claimed late for a link that the agent had
		 * left before it came to us. We are not dead, and the agent is here.
		 */
		startup_claim_again(x);
	}
	e = roster_put_host(s, row, &h);
	if (e) {
		log_error(s->log, "a changed host could not be taken over, reading again later",
			  KV_S("error", err_text(e)));
		return false;
	}
	if (!h)
		return true;
	if (h->row.owner && h->row.status == HOST_UP && before != HOST_UP)
		watch_found(s, h);
	if (h->session)
		spreading_compare(s, h);
	else if (h->row.status == HOST_UP)
		requests_resend(h);
	else if (!h->row.owner && had_owner)
		requests_given_up(h);
	draining_host(s, h);
	return true;
}

static int place_compare(const void *a, const void *b)
{
	const struct host_place *left = a, *right = b;

	return left->host_id < right->host_id ? -1 : left->host_id > right->host_id;
}

/*
 * Hosts that have no row any more have no place: another algorithm is in force. `lists`: all are compared afterwards
 * anyway, by what is in force then.
 */
static void take_all_places(struct server *s, const struct follow_read *r, bool lists)
{
	struct host *h;
	size_t cursor = 0, n_firsts = 0;
	bool tails = false;

	while ((h = roster_next(s, &cursor))) {
		struct host_place none = {.host_id = h->row.id};
		int64_t first = h->row.placed_first;
		const struct host_place *p =
			r->n_host_places ? bsearch(&none, r->host_places, r->n_host_places, sizeof(none), place_compare)
					 : NULL;

		if (!placement_take_place(h, p ? p : &none) || lists)
			continue;
		if (h->row.placed_first == first)
			tails = true;
		else if (n_firsts++ < COMPARED_AT_ONCE && h->session)
			spreading_compare(s, h);
	}
	if (n_firsts > COMPARED_AT_ONCE)
		spreading_compare_all(s);
	else if (tails)
		spreading_tails_changed(s);
}

static void take_some_places(struct server *s, const struct follow_read *r)
{
	for (size_t i = 0; i < r->n_host_places; i++) {
		struct host *h = roster_host(s, r->host_places[i].host_id);
		int64_t first = h ? h->row.placed_first : 0;

		if (!h || !placement_take_place(h, &r->host_places[i]))
			continue;
		if (h->session && h->row.placed_first != first)
			spreading_compare(s, h);
		else if (h->session || s->tails_since.us) /* others' only say that more may come */
			spreading_tails_changed(s);
	}
}

static bool was_read(const struct follow_read *r, int64_t id)
{
	size_t low = 0, high = r->n_hosts;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (r->hosts[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < r->n_hosts && r->hosts[low].id == id;
}

/* Everything was read, by id: hosts that are not among it were removed while we did not hear of it. */
static void drop_missing(struct server *s, const struct follow_read *r)
{
	struct host *h;
	size_t cursor = 0;

	while ((h = roster_next(s, &cursor))) {
		struct host_row gone = {.id = h->row.id, .removed_ms = 1};

		if (!was_read(r, h->row.id))
			(void)take_host(s, &gone);
	}
}

/* false: something of it must be read again. */
static bool take(struct server *s, struct follow_read *r)
{
	bool lists = false, whole = true;

	take_places(s, r);
	if (r->servers) {
		bool avoid_changed = false;

		if (roster_put_servers(s, r->server_rows, r->n_server_rows, &avoid_changed))
			whole = false;
		lists |= avoid_changed;
		if (s->running) {
			peer_update(s);
			peer_status_changed(s);
			news_look_at_servers(s);
		}
	}
	if (r->config) {
		bool changed = false;

		if (config_load(s, r->config_rows, r->n_config_rows, r->config_version, &changed))
			whole = false;
		lists |= changed;
		freeze_load(s, r->config_rows, r->n_config_rows);
		rolling_load(s, r->config_rows, r->n_config_rows);
		spread_set_window(s->spread, (size_t)config_number(s, "agent.spread.window", 0));
	}
	if (r->entries) {
		bool changed = false;

		if (placement_take_entries(s, &r->entry_rows, r->n_entry_rows, r->placement_version, &changed))
			whole = false;
		lists |= changed || r->everything;
	}
	if (!r->entries && r->n_hosts)
		placement_take_version(s, r->placement_version);
	if (r->everything)
		drop_missing(s, r);
	for (size_t i = 0; i < r->n_hosts; i++)
		whole &= take_host(s, &r->hosts[i]);
	if (r->all_places)
		take_all_places(s, r, lists);
	else
		take_some_places(s, r);
	/* What could not be taken over is read once more: no change is lost for want of memory. */
	if (whole)
		s->change_seq = r->seq;
	else
		s->follow_again = true;
	if (lists)
		lists_changed(s);
	if (r->ca && s->running)
		authority_reload(s);
	draining_look(s);
	/* What was committed before we were asked is in it, unless it must be read again. */
	if (s->trigger_when_read && !s->follow_again && !r->more) {
		s->trigger_when_read = false;
		spreading_trigger_all(s);
	}
	return whole;
}

static void waits_end(struct server *s, uint64_t up_to)
{
	struct follow_wait *w;

	while ((w = list_first(&s->follow_waits, struct follow_wait, queued)) && w->number <= up_to) {
		list_remove(&w->queued);
		w->done(s, w);
	}
}

static void follow_begin(struct server *s, bool only_if_changed);

static void read_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct follow_read *r = container_of(entry, struct follow_read, entry);
	bool whole = true;

	s->follow_busy = false;
	if (!result && !r->nothing)
		whole = take(s, r);
	/* A failed read has used up the store's word that somebody committed: the next tick reads without asking. */
	if (result || r->more)
		s->follow_again = true;
	if (r->loaded)
		r->loaded(s, result, sentence);
	if (result || (whole && !r->more))
		waits_end(s, r->number);
	read_free(r);
	if (s->follow_again && !s->stopping && !result) {
		s->follow_again = false;
		follow_begin(s, false);
	}
}

static void follow_begin(struct server *s, bool only_if_changed)
{
	struct follow_read *r;

	if (s->follow_busy) {
		s->follow_again |= !only_if_changed;
		return;
	}
	r = mem_zalloc(sizeof(*r));
	if (!r) {
		s->follow_again |= !only_if_changed; /* the next tick tries again */
		return;
	}
	r->entry.run = read_run;
	r->entry.done = read_done;
	r->entry.read_only = true;
	r->from = s->change_seq;
	r->only_if_changed = only_if_changed;
	r->number = ++s->follow_begun;
	s->follow_busy = true;
	ledger_add(s, &r->entry);
}

void follow_now(struct server *s)
{
	if (s->running)
		follow_begin(s, false);
}

void follow_wait(struct server *s, struct follow_wait *w)
{
	if (!s->running) {
		w->done(s, w);
		return;
	}
	/* A read that is under way may have begun before the commit: the next one counts. */
	w->number = s->follow_begun + 1;
	list_append(&s->follow_waits, &w->queued);
	follow_begin(s, false);
}

static void follow_tick(struct timer *t)
{
	struct server *s = container_of(t, struct server, follow_timer);
	bool again = s->follow_again;

	s->follow_again = false;
	follow_begin(s, !again);
	timer_set_in(s->world, t, FOLLOW_POLL_MS);
}

void follow_start(struct server *s)
{
	timer_init(&s->follow_timer, follow_tick);
	timer_set_in(s->world, &s->follow_timer, FOLLOW_POLL_MS);
}

void follow_stop(struct server *s)
{
	timer_stop(s->world, &s->follow_timer);
	waits_end(s, UINT64_MAX);
}

void follow_load_all(struct server *s, void (*done)(struct server *s, enum err result, const char *sentence))
{
	struct follow_read *r = mem_zalloc(sizeof(*r));

	if (!r) {
		done(s, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	r->entry.run = read_run;
	r->entry.done = read_done;
	r->entry.read_only = true;
	r->everything = true;
	r->loaded = done;
	s->follow_busy = true;
	ledger_add(s, &r->entry);
}
