/*
 * Placement: the entries that lists are made of, as the store has them, and the list of a host under balanced
 * (docs/placement.md, "Balanced"). Where each host belongs was decided in the store, by whoever changed something; here
 * it is looked up. Also pins, which hold under every algorithm.
 */
#include "core/balanced.h"
#include "server/internal.h"

struct placement_table {
	struct list_server_row *rows; /* by id */
	size_t n_rows;
	struct balanced *servers; /* those in use, without hosts */
	int64_t version;
};

static struct placement_table *table_free(struct placement_table *t)
{
	if (!t)
		return NULL;
	for (size_t i = 0; i < t->n_rows; i++)
		list_server_row_deinit(&t->rows[i]);
	mem_free(t->rows);
	balanced_free(t->servers);
	return mem_free(t);
}

CLEAN_DEFINE(struct placement_table, table_free)

void placement_deinit(struct server *s)
{
	s->placement = table_free(s->placement);
}

static enum err servers_make(struct placement_table *t, struct why *why)
{
	struct balanced_server servers[SERVER_LIST_MAX];
	size_t n = 0;

	for (size_t i = 0; i < t->n_rows; i++) {
		const struct list_server_row *r = &t->rows[i];

		if (r->in_use && n < SERVER_LIST_MAX)
			servers[n++] = (struct balanced_server){
				.name = r->entry,
				.weight = r->resting ? 0 : (uint32_t)r->weight,
				.zone = r->zone,
			};
	}
	return balanced_load(&t->servers, (uint64_t)t->version, servers, n, NULL, 0, why);
}

static bool are_same_rows(const struct list_server_row *a, const struct list_server_row *b)
{
	return a->id == b->id && str_equal(a->entry, b->entry) && a->weight == b->weight &&
	       str_equal(a->zone, b->zone) && a->resting == b->resting && a->in_use == b->in_use;
}

static bool are_same(const struct placement_table *a, const struct placement_table *b)
{
	bool same = a && a->n_rows == b->n_rows;

	for (size_t i = 0; same && i < a->n_rows; i++)
		same = are_same_rows(&a->rows[i], &b->rows[i]);
	return same;
}

enum err placement_take_entries(struct server *s, struct list_server_row **take_rows, size_t n, int64_t version,
				bool *changed)
{
	CLEAN(table_freep) struct placement_table *t = mem_zalloc(sizeof(*t));
	struct why why = WHY_NONE;
	enum err e;

	if (!t)
		return ERR_NOMEM;
	t->rows = STEAL(*take_rows);
	t->n_rows = n;
	t->version = version;
	e = servers_make(t, &why);
	if (e) {
		log_error(s->log, "the entries of lists can't be used, the old ones hold", KV_S("error", why.text));
		return e;
	}
	*changed = !are_same(s->placement, t);
	placement_deinit(s);
	s->placement = STEAL(t);
	return ERR_OK;
}

/* true: it is another one than before. */
bool placement_take_place(struct host *h, const struct host_place *p)
{
	struct host_row *r = &h->row;

	if (r->placed_first == p->placed_first && r->placed_second == p->placed_second &&
	    r->placed_third == p->placed_third && r->placed_away == p->placed_away)
		return false;
	r->placed_first = p->placed_first;
	r->placed_second = p->placed_second;
	r->placed_third = p->placed_third;
	r->placed_away = p->placed_away;
	return true;
}

void placement_take_version(struct server *s, int64_t version)
{
	if (s->placement)
		s->placement->version = version;
}

int64_t placement_version(const struct server *s)
{
	return s->placement ? s->placement->version : 0;
}

const struct list_server_row *placement_entry(const struct server *s, const char *entry)
{
	for (size_t i = 0; s->placement && i < s->placement->n_rows; i++) {
		if (str_equal(s->placement->rows[i].entry, entry))
			return &s->placement->rows[i];
	}
	return NULL;
}

const struct list_server_row *placement_entry_by_id(const struct server *s, int64_t id)
{
	const struct placement_table *t = s->placement;
	size_t low = 0, high = t ? t->n_rows : 0;

	while (id && low < high) {
		size_t middle = low + (high - low) / 2;

		if (t->rows[middle].id == id)
			return &t->rows[middle];
		if (t->rows[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

const char *placement_pin(const struct server *s, const struct host_row *h)
{
	const struct list_server_row *r = placement_entry_by_id(s, h->pin);

	return r && r->in_use ? r->entry : NULL;
}

static uint16_t place_of(const struct server *s, int64_t id)
{
	const struct list_server_row *r = placement_entry_by_id(s, id);

	return r && r->in_use ? balanced_find_server(s->placement->servers, r->entry) : BALANCED_NONE;
}

static const char *zone_of(const struct server *s, int64_t id)
{
	for (size_t i = 0; i < s->n_places; i++) {
		if (s->places[i].kind == PLACE_ZONE && s->places[i].id == id)
			return s->places[i].name;
	}
	return NULL;
}

static size_t places_get(const struct server *s, const struct host_row *h, uint16_t list[SERVER_LIST_MAX])
{
	struct balanced_host host = {
		.id = (uint64_t)h->id,
		.zone = zone_of(s, h->zone_id),
		.entries = {place_of(s, h->placed_first), place_of(s, h->placed_second), place_of(s, h->placed_third),
			    place_of(s, h->placed_away)},
		.pin = BALANCED_NONE,
	};

	return s->placement ? balanced_list_of(s->placement->servers, &host, list) : 0;
}

enum err placement_list(const struct server *s, const struct host_row *h, struct str_list *out)
{
	uint16_t list[SERVER_LIST_MAX];
	size_t n = places_get(s, h, list);
	enum err e = ERR_OK;

	str_list_deinit(out);
	for (size_t i = 0; i < n && !e; i++)
		e = str_list_add(out, balanced_get_server(s->placement->servers, list[i]).name);
	return e;
}

bool placement_is_current(const struct server *s, const struct host_row *h, const char *reported)
{
	struct server_list_walk w;
	uint16_t list[SERVER_LIST_MAX];
	size_t n;

	server_list_walk_init(&w, reported);
	if (!algorithm_is_of(ALGORITHM_BALANCED, &w))
		return false;
	n = places_get(s, h, list);
	for (size_t i = 0; i < n; i++) {
		if (!server_list_walk_next(&w) ||
		    !server_list_walk_is(&w, balanced_get_server(s->placement->servers, list[i]).name))
			return false;
	}
	return !server_list_walk_next(&w);
}
