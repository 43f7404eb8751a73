/*
 * The placement of all hosts under balanced: a copy in memory of what is stored, changed together with it.
 *
 * The rules are core/balanced.h. Whoever writes holds the store's write lock, so what is changed here is changed by one
 * at a time. The copy is current if it has the version that is stored; another server may have written meanwhile, then
 * it is read again. When a call or a group is undone, the copy is forgotten if it was changed.
 */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "core/server_list.h"
#include "store/sql.h"

/* More changed lists than this, and everybody reads all of them again. */
#define CHANGES_LISTED 64

struct placement {
	struct balanced *b;           /* owned */
	int64_t ids[SERVER_LIST_MAX]; /* list_server.id by place in b */
};

void placement_forget(struct store *s)
{
	if (!s->placement)
		return;
	balanced_free(s->placement->b);
	s->placement = mem_free(s->placement);
}

/* ---- reading ---- */

struct stored_host {
	int64_t id;
	int64_t zone_id;
	int64_t pin;
	bool is_placed;
	int64_t first, second, third, away;
};
/* clang-format off */
#define STORED_FIELDS(A, F) \
	A(NUMBER, id) F(NUMBER, zone_id) F(NUMBER, pin) F(BOOL, is_placed) F(NUMBER, first) F(NUMBER, second) \
	F(NUMBER, third) F(NUMBER, away)
/* clang-format on */
#define FIELD(kind, member) SQL_FIELD(stored_host, kind, member),
static const struct sql_field stored_fields[] = {STORED_FIELDS(FIELD, FIELD)};
#undef FIELD
static const struct sql_shape stored_shape = SQL_SHAPE(stored_host, stored_fields);

/* What a placement is made from; all owned. */
struct reading {
	struct list_server_row *rows;
	size_t n_rows;
	struct balanced_server servers[SERVER_LIST_MAX]; /* those in use; texts of the rows */
	int64_t ids[SERVER_LIST_MAX];                    /* of servers[] */
	size_t n_servers;
	struct place_row *places;
	size_t n_places;
	struct stored_host *stored;
	struct balanced_host *hosts; /* zones of the places */
	size_t n_hosts;
	size_t n_unplaced;
};

static void reading_deinit(struct reading *r)
{
	for (size_t i = 0; i < r->n_rows; i++)
		list_server_row_deinit(&r->rows[i]);
	mem_free(r->rows);
	for (size_t i = 0; i < r->n_places; i++)
		place_row_deinit(&r->places[i]);
	mem_free(r->places);
	mem_free(r->stored);
	mem_free(r->hosts);
}

static enum err read_servers(struct store_tx *tx, struct reading *r)
{
	int64_t version;
	enum err e = store_list_server_list(tx, &r->rows, &r->n_rows, &version);

	for (size_t i = 0; i < r->n_rows && !e; i++) {
		const struct list_server_row *row = &r->rows[i];

		if (!row->in_use)
			continue;
		if (r->n_servers == SERVER_LIST_MAX)
			return tx_say(tx, ERR_FULL, "lists have at most %d servers", SERVER_LIST_MAX);
		r->ids[r->n_servers] = row->id;
		r->servers[r->n_servers++] = (struct balanced_server){
			.name = row->entry,
			.weight = row->resting ? 0 : (uint32_t)row->weight,
			.zone = row->zone,
		};
	}
	return e;
}

static uint16_t place_of(const struct reading *r, int64_t id)
{
	for (uint16_t i = 0; i < r->n_servers; i++) {
		if (r->ids[i] == id)
			return i;
	}
	return BALANCED_NONE;
}

static const char *zone_of(const struct reading *r, int64_t id)
{
	for (size_t i = 0; i < r->n_places; i++) {
		if (r->places[i].kind == PLACE_ZONE && r->places[i].id == id)
			return r->places[i].name;
	}
	return NULL;
}

static uint16_t place_of_entry(const struct reading *r, const char *entry, size_t len)
{
	for (uint16_t i = 0; i < r->n_servers; i++) {
		if (strlen(r->servers[i].name) == len && memcmp(r->servers[i].name, entry, len) == 0)
			return i;
	}
	return BALANCED_NONE;
}

/*
 * Balanced 12. A host that has no place yet keeps the beginning of the list that its agent has, as far as evenness
 * allows: so changing the algorithm moves as few as possible.
 */
static void wish(const struct reading *r, struct balanced_host *h, const char *ms_list)
{
	struct server_list_walk w;
	size_t n = 0;

	server_list_walk_init(&w, ms_list);
	while (n <= BALANCED_THIRD && server_list_walk_next(&w)) {
		uint16_t place = place_of_entry(r, w.entry, w.entry_len);

		/* A place behind one that is no server any more is the better wish: that is where it would be. */
		if (place != BALANCED_NONE && (n < 1 || h->entries[0] != place) && (n < 2 || h->entries[1] != place))
			h->entries[n++] = place;
	}
}

static enum err read_wishes(struct store_tx *tx, struct reading *r)
{
	struct sql q;
	size_t at = 0;

	if (!r->n_unplaced)
		return ERR_OK;
	sql_open(&q, tx,
		 "SELECT h.id, h.ms_list FROM host h LEFT JOIN placement_host p ON p.host_id = h.id"
		 " WHERE h.removed_ms = 0 AND p.host_id IS NULL AND h.ms_list IS NOT NULL ORDER BY h.id");
	while (sql_next(&q)) {
		int64_t id = sql_number(&q, 0);

		while (at < r->n_hosts && r->stored[at].id < id)
			at++;
		if (at < r->n_hosts && r->stored[at].id == id)
			wish(r, &r->hosts[at], (const char *)sqlite3_column_text(q.st, 1));
	}
	return sql_close(&q);
}

static enum err read_hosts(struct store_tx *tx, struct reading *r, int64_t without)
{
	enum err e = sql_all(
		tx, &stored_shape, &r->stored, &r->n_hosts,
		"SELECT h.id, h.zone_id, h.pin, p.host_id IS NOT NULL, p.placed_first, p.placed_second, p.placed_third, p.placed_away"
		" FROM host h LEFT JOIN placement_host p ON p.host_id = h.id"
		" WHERE h.removed_ms = 0 AND h.id <> ? ORDER BY h.id",
		SQL_N(without));

	if (!e)
		e = store_place_list(tx, &r->places, &r->n_places);
	if (e)
		return e;
	r->hosts = mem_zalloc_array(r->n_hosts + 1, sizeof(*r->hosts));
	if (!r->hosts)
		return ERR_NOMEM;
	for (size_t i = 0; i < r->n_hosts; i++) {
		const struct stored_host *h = &r->stored[i];

		r->n_unplaced += !h->is_placed;
		r->hosts[i] = (struct balanced_host){
			.id = (uint64_t)h->id,
			.zone = zone_of(r, h->zone_id),
			.entries = {place_of(r, h->first), place_of(r, h->second), place_of(r, h->third),
				    place_of(r, h->away)},
			.pin = place_of(r, h->pin),
		};
	}
	return read_wishes(tx, r);
}

static void note_ids(struct placement *p, const struct reading *r)
{
	for (size_t i = 0; i < r->n_servers; i++)
		p->ids[balanced_find_server(p->b, r->servers[i].name)] = r->ids[i];
}

/* As it is stored. *designed: it had to be made anew, since hosts have no place or one that can't be. */
static enum err placement_read(struct store_tx *tx, int64_t without, int64_t version, bool *designed)
{
	CLEAN(reading_deinit) struct reading r = {0};
	CLEAN(mem_freep) struct placement *p = mem_zalloc(sizeof(*p));
	struct why why = WHY_NONE;
	enum err e;

	if (!p)
		return ERR_NOMEM;
	if ((e = read_servers(tx, &r)) || (e = read_hosts(tx, &r, without)))
		return e;
	*designed = r.n_unplaced > 0;
	if (!*designed) {
		e = balanced_load(&p->b, (uint64_t)version, r.servers, r.n_servers, r.hosts, r.n_hosts, &why);
		*designed = e == ERR_DAMAGED;
	}
	if (*designed) {
		e = balanced_design(&p->b, r.servers, r.n_servers, r.hosts, r.n_hosts, &why);
		if (!e)
			balanced_set_version(p->b, (uint64_t)version + 1);
	}
	if (e)
		return tx_say(tx, e, "the hosts can't be placed: %s", why.text);
	note_ids(p, &r);
	tx->store->placement = STEAL(p);
	return ERR_OK;
}

/* ---- writing ---- */

static int64_t id_at(const struct placement *p, uint16_t place)
{
	return place == BALANCED_NONE ? 0 : p->ids[place];
}

/* *changed: it is another one than before. */
static enum err write_host(struct store_tx *tx, const struct balanced_host *h, bool *changed)
{
	const struct placement *p = tx->store->placement;
	enum err e =
		sql_run(tx,
			"INSERT INTO placement_host (host_id, placed_first, placed_second, placed_third, placed_away)"
			" VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET placed_first = ?2, placed_second = ?3,"
			" placed_third = ?4, placed_away = ?5"
			" WHERE (placed_first, placed_second, placed_third, placed_away) IS NOT (?2, ?3, ?4, ?5)",
			SQL_N((int64_t)h->id), SQL_N(id_at(p, h->entries[BALANCED_FIRST])),
			SQL_N(id_at(p, h->entries[BALANCED_SECOND])), SQL_N(id_at(p, h->entries[BALANCED_THIRD])),
			SQL_N(id_at(p, h->entries[BALANCED_AWAY])));

	*changed = !e && sql_changes(tx) > 0;
	return e;
}

static enum err write_version(struct store_tx *tx)
{
	return sql_run(tx, "UPDATE counter SET value = ? WHERE name = 'placement.version'",
		       SQL_N((int64_t)balanced_version(tx->store->placement->b)));
}

/* Nobody's copy is current any more. */
enum err placement_outdate(struct store_tx *tx)
{
	tx->has_placed = true; /* what is read from here on may be undone */
	placement_forget(tx->store);
	return sql_run(tx, "UPDATE counter SET value = value + 1 WHERE name = 'placement.version'");
}

static enum err write_all(struct store_tx *tx)
{
	const struct balanced *b = tx->store->placement->b;
	struct balanced_host h;
	size_t cursor = 0, n = 0;
	enum err e = write_version(tx);

	while (!e && balanced_next_host(b, &cursor, &h)) {
		bool changed;

		e = write_host(tx, &h, &changed);
		n += changed;
	}
	return e || !n ? e : change_add(tx, CHANGE_PLACEMENT, 0);
}

static enum err write_one(struct store_tx *tx, uint64_t id, bool is_listed)
{
	struct balanced_host h;
	bool changed = false;
	enum err e = balanced_get_host(tx->store->placement->b, id, &h) ? write_host(tx, &h, &changed) : ERR_OK;

	return e || !changed || !is_listed ? e : change_add(tx, CHANGE_PLACEMENT, (int64_t)id);
}

enum err placement_write(struct store_tx *tx)
{
	struct balanced_changes c = balanced_changes(tx->store->placement->b);
	bool is_listed = c.n_hosts <= CHANGES_LISTED;
	enum err e;

	tx->has_placed = true;
	if (c.is_all)
		return write_all(tx);
	e = write_version(tx);
	for (size_t i = 0; i < c.n_hosts && !e; i++)
		e = write_one(tx, c.hosts[i], is_listed);
	return e || is_listed ? e : change_add(tx, CHANGE_PLACEMENT, 0);
}

/* ---- the one in force ---- */

static enum err is_in_force(struct store_tx *tx, bool *yes)
{
	int64_t found;
	enum err e = sql_read(tx, &found, 0,
			      "SELECT 1 FROM configuration WHERE name = 'indirect.agent.lb.algorithm' AND scope = ''"
			      " AND value = 'balanced'");

	*yes = !e && found;
	return e;
}

/* `without`: a host that is in the store already and has no place yet. */
static enum err open_without(struct store_tx *tx, int64_t without, struct balanced **out)
{
	struct store *s = tx->store;
	int64_t version = 0;
	bool yes, designed = false;
	enum err e = is_in_force(tx, &yes);

	*out = NULL;
	if (!e && !yes)
		placement_forget(s); /* nobody needs the memory */
	if (e || !yes)
		return e;
	e = store_placement_version(tx, &version);
	if (e)
		return e;
	if (s->placement && balanced_version(s->placement->b) != (uint64_t)version)
		placement_forget(s);
	if (!s->placement) {
		e = placement_read(tx, without, version, &designed);
		if (!e && designed) {
			tx->has_placed = true;
			e = write_all(tx);
		}
	}
	if (e)
		return e;
	assert(s->placement);
	*out = s->placement->b;
	return ERR_OK;
}

enum err placement_open(struct store_tx *tx, struct balanced **out)
{
	return open_without(tx, 0, out);
}

/*
 * For a change of a host that has its place already. A copy that doesn't know it is not what is stored, whatever its
 * version says: somebody who knows no placements has made the host.
 */
static enum err open_with(struct store_tx *tx, int64_t id, struct balanced **out)
{
	struct balanced_host h;
	enum err e = placement_open(tx, out);

	if (e || !*out || balanced_get_host(*out, (uint64_t)id, &h))
		return e;
	placement_forget(tx->store);
	return placement_open(tx, out);
}

/* A refusal of the core here means that the copy and the store have parted. */
static enum err placed(struct store_tx *tx, enum err e, int64_t host_id)
{
	tx->has_placed = true;
	if (e && e != ERR_NOMEM) {
		placement_forget(tx->store);
		return tx_say(tx, e, "host %" PRId64 " can't be placed: %s", host_id, err_text(e));
	}
	return e;
}

static enum err zone_name(struct store_tx *tx, int64_t zone_id, char **out)
{
	static const struct sql_field text_only[] = {{SQL_TEXT, 0}};
	const struct sql_shape shape = {.fields = text_only, .n = 1, .size = sizeof(char *)};

	return sql_one(tx, &shape, out, "SELECT name FROM data_center WHERE id = ?", SQL_N(zone_id));
}

enum err placement_host_comes(struct store_tx *tx, int64_t id, int64_t zone_id)
{
	CLEAN(mem_freep) char *zone = NULL;
	struct balanced *b;
	enum err e = open_without(tx, id, &b);

	if (e || !b)
		return e;
	e = zone_name(tx, zone_id, &zone);
	if (!e)
		e = placed(tx, balanced_add_host(b, (uint64_t)id, zone), id);
	if (!e)
		e = placement_write(tx);
	return e ? e : write_one(tx, (uint64_t)id, false); /* who is told of the host reads this too */
}

enum err placement_host_goes(struct store_tx *tx, int64_t id)
{
	struct balanced *b;
	enum err e = open_with(tx, id, &b);

	if (e || !b)
		return e;
	e = placed(tx, balanced_remove_host(b, (uint64_t)id), id);
	if (!e)
		e = placement_write(tx);
	return e ? e : sql_run(tx, "DELETE FROM placement_host WHERE host_id = ?", SQL_N(id));
}

enum err placement_host_changes_zone(struct store_tx *tx, int64_t id, int64_t zone_id)
{
	CLEAN(mem_freep) char *zone = NULL;
	struct balanced *b;
	enum err e = open_with(tx, id, &b);

	if (e || !b)
		return e;
	e = zone_name(tx, zone_id, &zone);
	if (!e)
		e = placed(tx, balanced_set_zone(b, (uint64_t)id, zone), id);
	if (!e)
		e = placement_write(tx);
	return e ? e : write_one(tx, (uint64_t)id, true);
}

/* ---- the entries ---- */

/* What lists are made from now: the setting, or who is registered, in that order. ERR_INVALID: no list comes of it. */
static enum err entries_now(struct store_tx *tx, struct str_list *out)
{
	static const struct sql_field text_only[] = {{SQL_TEXT, 0}};
	const struct sql_shape text_shape = {.fields = text_only, .n = 1, .size = sizeof(char *)};
	CLEAN(mem_freep) char *setting = NULL;
	struct server_row *rows = NULL;
	size_t n = 0;
	enum err e = sql_one(tx, &text_shape, &setting,
			     "SELECT value FROM configuration WHERE name = 'host' AND scope = ''");

	if (!e)
		return server_list_parse_setting(out, setting, NULL);
	if (e != ERR_NOT_FOUND)
		return e;
	e = store_server_list(tx, &rows, &n);
	for (size_t i = 0; i < n; i++) {
		char entry[SERVER_HOST_MAX + 9];

		if (!e && server_entry_make(entry, sizeof(entry), rows[i].address, rows[i].port) == ERR_OK &&
		    !str_list_has(out, entry) && out->n < SERVER_LIST_MAX)
			e = str_list_add(out, entry);
		server_row_deinit(&rows[i]);
	}
	mem_free(rows);
	return e;
}

static const struct list_server_row *row_of(const struct reading *r, const char *entry)
{
	const struct list_server_row *same = NULL;

	for (size_t i = 0; i < r->n_rows; i++) {
		if (str_equal(r->rows[i].entry, entry))
			return &r->rows[i];
		if (r->rows[i].in_use && server_entry_same(r->rows[i].entry, entry, SERVER_LIST_PORT))
			same = &r->rows[i];
	}
	return same;
}

/* Another spelling of the same server keeps its number, and its hosts. *n: how many were written differently. */
static enum err respell(struct store_tx *tx, const struct reading *r, const struct str_list *entries, size_t *n)
{
	enum err e = ERR_OK;

	for (size_t i = 0; i < entries->n && !e; i++) {
		const struct list_server_row *row = row_of(r, entries->items[i]);

		if (!row || str_equal(row->entry, entries->items[i]) || str_list_has(entries, row->entry))
			continue;
		e = sql_run(tx, "UPDATE list_server SET entry = ? WHERE id = ?", SQL_T(entries->items[i]),
			    SQL_N(row->id));
		(*n)++;
	}
	return e;
}

static enum err take_into_use(struct store_tx *tx, const struct str_list *entries, size_t *n)
{
	enum err e = ERR_OK;

	for (size_t i = 0; i < entries->n && !e; i++) {
		e = sql_run(tx,
			    "INSERT INTO list_server (entry, weight, zone, resting, in_use) VALUES (?, 1, NULL, 0, 1)"
			    " ON CONFLICT DO UPDATE SET in_use = 1 WHERE in_use = 0",
			    SQL_T(entries->items[i]));
		*n += e ? 0 : sql_changes(tx);
	}
	return e;
}

/* Balanced 10: a pin goes with its server. */
static enum err unpin_all(struct store_tx *tx, int64_t entry_id)
{
	CLEAN(mem_freep) int64_t *hosts = NULL;
	size_t n = 0;
	static const struct sql_field id_only[] = {{SQL_NUMBER, 0}};
	const struct sql_shape shape = {.fields = id_only, .n = 1, .size = sizeof(int64_t)};
	enum err e = sql_all(tx, &shape, &hosts, &n, "SELECT id FROM host WHERE pin = ? AND removed_ms = 0 ORDER BY id",
			     SQL_N(entry_id));

	for (size_t i = 0; i < n && !e; i++) {
		e = sql_run(tx, "UPDATE host SET pin = 0 WHERE id = ?", SQL_N(hosts[i]));
		if (!e)
			e = change_add(tx, CHANGE_HOST, hosts[i]);
	}
	return e;
}

static enum err put_out_of_use(struct store_tx *tx, const struct reading *r, const struct str_list *entries, size_t *n)
{
	enum err e = ERR_OK;

	for (size_t i = 0; i < r->n_rows && !e; i++) {
		if (!r->rows[i].in_use || str_list_has(entries, r->rows[i].entry))
			continue;
		e = sql_run(tx, "UPDATE list_server SET in_use = 0, resting = 0 WHERE id = ?", SQL_N(r->rows[i].id));
		if (!e)
			e = unpin_all(tx, r->rows[i].id);
		(*n)++;
	}
	return e;
}

/* The rows as they should be. *n: how many changed. */
static enum err bring_entries_up(struct store_tx *tx, size_t *n)
{
	CLEAN(reading_deinit) struct reading before = {0}, now = {0};
	CLEAN(str_list_deinit) struct str_list entries = {0};
	size_t n_respelled = 0;
	enum err e;

	e = entries_now(tx, &entries);
	/* It was set before it would have been refused. As on the loop, the old entries hold; servers must start. */
	if (e && e != ERR_NOMEM && !tx->spoilt)
		return ERR_OK;
	if (e || (e = read_servers(tx, &before)) || (e = respell(tx, &before, &entries, &n_respelled)))
		return e;
	/* Others' copies have the old spelling: to them the entry would be another one. */
	if (n_respelled && (e = placement_outdate(tx)))
		return e;
	*n += n_respelled;
	if ((e = read_servers(tx, &now)) || (e = put_out_of_use(tx, &now, &entries, n)))
		return e;
	return take_into_use(tx, &entries, n);
}

static enum err place_on(struct store_tx *tx, struct balanced *b, size_t *moves)
{
	CLEAN(reading_deinit) struct reading r = {0};
	struct why why = WHY_NONE;
	bool changed = false;
	enum err e = read_servers(tx, &r);

	if (!e)
		e = balanced_set_servers(b, r.servers, r.n_servers, &changed, &why);
	if (e)
		return tx_say(tx, e, "the hosts can't be placed: %s", why.text);
	if (!changed)
		return ERR_OK;
	*moves = balanced_changes(b).n_moves;
	note_ids(tx->store->placement, &r);
	return placement_write(tx);
}

static enum err drop_all(struct store_tx *tx)
{
	enum err e = sql_run(tx, "DELETE FROM placement_host");

	placement_forget(tx->store);
	return e || !sql_changes(tx) ? e : change_add(tx, CHANGE_PLACEMENT, 0);
}

enum err placement_refresh(struct store_tx *tx, size_t *moves)
{
	struct balanced *b = NULL;
	size_t n = 0;
	enum err e;

	*moves = 0;
	/* Before anything is written: what is stored fits the entries that are in use now. */
	e = placement_open(tx, &b);
	if (!e)
		e = bring_entries_up(tx, &n);
	if (!e && b)
		e = placement_open(tx, &b); /* with other spellings */
	if (!e)
		e = b ? place_on(tx, b, moves) : drop_all(tx);
	if (!e && n)
		e = sql_run(tx, "DELETE FROM list_server WHERE in_use = 0 AND weight = 1 AND zone IS NULL");
	return e || !n ? e : change_add(tx, CHANGE_PLACEMENT, 0);
}
