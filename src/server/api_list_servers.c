/*
 * What operators say about the entries of lists and about single hosts: setListServer, pinHost, unpinHost
 * (docs/placement.md, "Balanced" 1, 2 and 10, "Lists" 8).
 *
 * Settings belong to an entry, as spelled, since that is what lists are made of. People name servers, so a name is
 * looked up here, on the loop; whether it still is an entry when the change is made, the store says.
 */
#include "server/api.h"

#include <string.h>
#include <strings.h>

#include "core/balanced.h"

#define NO_ZONE "none"
#define ENTRY_TEXT (SERVER_HOST_MAX + 9)

struct saying {
	char entry[ENTRY_TEXT];     /* "": none */
	char *zone;                 /* owned: name; "": none from now on, NULL: as it is */
	int64_t weight;             /* -1: as it is */
	struct list_server_row now; /* as it is stored since */
	int64_t host_id;
	char first[ENTRY_TEXT]; /* of the host's list, before; "": not known */
	char was[ENTRY_TEXT];   /* the pin before; "": none */
	size_t moves;
};

static void saying_free(void *state)
{
	struct saying *w = state;

	mem_free(w->zone);
	list_server_row_deinit(&w->now);
	mem_free(w);
}

static struct saying *saying_new(struct api_call *c)
{
	struct saying *w = mem_zalloc(sizeof(*w));

	c->state = w;
	c->state_free = saying_free;
	if (!w)
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
	return w;
}

/* ---- which entry is meant ---- */

const char *api_list_entry(const struct server *s, const struct server_row *row)
{
	const struct str_list *entries = lists_servers(s);

	for (size_t i = 0; i < entries->n; i++) {
		if (lists_entry_is(s, entries->items[i], row))
			return entries->items[i];
	}
	return NULL;
}

/* As spelled in the lists, or another way. */
static const char *entry_spelled(const struct server *s, const char *word)
{
	const struct str_list *entries = lists_servers(s);
	size_t at = str_list_find(entries, word);

	for (size_t i = 0; i < entries->n && at == SIZE_MAX; i++) {
		if (server_entry_same(entries->items[i], word, SERVER_LIST_PORT))
			at = i;
	}
	return at == SIZE_MAX ? NULL : entries->items[at];
}

/* By UUID, number or name; *n: how many have that name. */
static const struct member_server *server_named(struct server *s, const char *word, size_t *n)
{
	const struct member_server *found = NULL;
	int64_t number;
	bool is_number = str_to_i64(word, &number);

	*n = 0;
	list_for (m, &s->servers, struct member_server, in_servers) {
		bool is_id = strcasecmp(m->row.uuid, word) == 0 || (is_number && m->row.msid == number);

		if (!is_id && !str_equal(m->row.name, word))
			continue;
		found = m;
		if (is_id) {
			*n = 1;
			return found;
		}
		++*n;
	}
	return found;
}

/* false: refused, the answer is given. `in_list`: a server that is in no list won't do. */
static bool take_entry(struct api_call *c, struct saying *w, bool in_list)
{
	const char *word = api_text(c, "server"), *entry = entry_spelled(c->server, word);
	const struct member_server *m;
	size_t n;

	if (entry)
		return str_copy(w->entry, sizeof(w->entry), entry);
	m = server_named(c->server, word, &n);
	if (n > 1) {
		api_fail(c, API_BAD_PARAM, CS_VALUE, "%zu management servers are called %.100s: give the id of one", n,
			 word);
		return false;
	}
	entry = m ? api_list_entry(c->server, &m->row) : NULL;
	if (entry)
		return str_copy(w->entry, sizeof(w->entry), entry);
	if (!m)
		api_fail(c, API_BAD_PARAM, CS_VALUE, "%.100s is neither a management server nor an entry of the lists",
			 word);
	else if (in_list)
		api_fail(c, API_BAD_PARAM, CS_VALUE, "%.100s is in no list: the setting host does not name it",
			 m->row.name);
	else if (lists_entry_of(&m->row, w->entry, sizeof(w->entry)))
		api_fail(c, API_FAILED, CS_RUNTIME, "The address of %.100s makes no entry of a list", m->row.name);
	else
		return true;
	return false;
}

/* ---- setListServer ---- */

/* By name, number or UUID; a zone that this server has not heard of yet is left to the store. NULL: out of memory. */
static char *zone_named(const struct server *s, const char *word)
{
	const char *name = NULL;
	int64_t number;
	bool is_number = str_to_i64(word, &number);

	if (str_is_blank(word) || str_equal(word, NO_ZONE))
		return mem_strdup("");
	for (size_t i = 0; i < s->n_places; i++) {
		const struct place_row *p = &s->places[i];

		if (p->kind != PLACE_ZONE)
			continue;
		if (str_equal(p->name, word))
			return mem_strdup(word);
		if (strcasecmp(p->uuid, word) == 0 || (is_number && p->id == number))
			name = p->name;
	}
	return mem_strdup(name ? name : word);
}

static bool take_settings(struct api_call *c, struct saying *w)
{
	w->weight = api_number(c, "weight", -1);
	if (!api_has(c, "weight") && !api_has(c, "zone")) {
		api_fail(c, API_BAD_PARAM, CS_VALUE, "Nothing to set: give weight, zone or both");
		return false;
	}
	if (api_has(c, "weight") && (w->weight < 0 || w->weight > BALANCED_WEIGHT_MAX)) {
		api_fail(c, API_BAD_PARAM, CS_VALUE, "Parameter weight: %lld is not from 0 to %d", (long long)w->weight,
			 BALANCED_WEIGHT_MAX);
		return false;
	}
	if (api_has(c, "zone") && !(w->zone = zone_named(c->server, api_text(c, "zone")))) {
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
		return false;
	}
	return true;
}

/* Read back at once: what memory has may be from before. An entry without a row is as if nothing was said of it. */
static enum err read_back(struct store_tx *tx, struct saying *w)
{
	struct list_server_row *rows = NULL;
	size_t n = 0;
	int64_t version;
	enum err e = store_list_server_list(tx, &rows, &n, &version);

	list_server_row_deinit(&w->now);
	w->now = (struct list_server_row){.weight = 1};
	for (size_t i = 0; i < n && !e; i++) {
		if (str_equal(rows[i].entry, w->entry)) {
			w->now = rows[i];
			rows[i] = (struct list_server_row){0};
		}
		list_server_row_deinit(&rows[i]);
	}
	mem_free(rows);
	return e;
}

static enum err set_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct saying *w = c->state;
	enum err e = store_list_server_set(tx, w->entry, w->weight, w->zone, &w->moves);

	return e ? e : read_back(tx, w);
}

static void set_then(struct api_call *c, enum err result, const char *sentence)
{
	const struct saying *w = c->state;
	struct server *s = c->server;
	json_t *o;

	if (result) {
		api_fail_err(c, result, sentence);
		return;
	}
	event_add(s, "LIST.SERVER.SET", "INFO", 0, "%s set %s in the lists: weight %lld, %s%s; hosts that move: %zu",
		  c->account, w->entry, (long long)w->now.weight, w->now.zone ? "zone " : "no zone",
		  w->now.zone ? w->now.zone : "", w->moves);
	o = api_list_server_object(s, w->entry, &w->now);
	api_put_flag(o, "inlist", str_list_has(lists_servers(s), w->entry));
	api_put_text(o, "algorithm", algorithm_name(lists_algorithm(s)));
	api_put_number(o, "moves", (int64_t)w->moves);
	api_answer_object(c, "setlistserver", o);
}

static void set_list_server(struct api_call *c)
{
	struct saying *w = saying_new(c);

	if (w && take_settings(c, w) && take_entry(c, w, false))
		api_write(c, set_run, set_then);
}

/* ---- pinHost, unpinHost ---- */

/*
 * What the host's list begins with: as it should be, or under shuffle as it is, since asking there would draw anew.
 */
static void first_of(struct server *s, const struct host_row *row, char out[ENTRY_TEXT])
{
	CLEAN(str_list_deinit) struct str_list list = {0};
	struct host_view v;

	out[0] = '\0';
	if (lists_algorithm(s) == ALGORITHM_SHUFFLE) {
		host_view_make(&v, s, row);
		str_copy(out, ENTRY_TEXT, placement_pin(s, row) ? placement_pin(s, row) : v.preferred);
	} else if (lists_for_host(s, row, &list) == ERR_OK && list.n) {
		str_copy(out, ENTRY_TEXT, list.items[0]);
	}
}

static enum err pin_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct saying *w = c->state;

	return store_host_pin(tx, w->host_id, w->entry[0] ? w->entry : NULL, &w->moves);
}

/* Under balanced the store knows who moves; otherwise it is this host or nobody. */
static size_t count_moves(struct server *s, const struct saying *w, const struct host_row *row)
{
	char first[ENTRY_TEXT];

	if (lists_algorithm(s) == ALGORITHM_BALANCED)
		return w->moves;
	if (lists_algorithm(s) == ALGORITHM_SHUFFLE && !placement_pin(s, row))
		return 0; /* the order that it has is as good as any */
	first_of(s, row, first);
	return !str_equal(first, w->first);
}

static void add_pin_event(struct api_call *c, const struct saying *w, const char *name)
{
	if (str_equal(w->was, w->entry))
		return;
	if (w->entry[0])
		event_add(c->server, "HOST.PIN", "INFO", w->host_id, "%s pinned host %s to %s%s%s", c->account, name,
			  w->entry, w->was[0] ? ", it was pinned to " : "", w->was);
	else
		event_add(c->server, "HOST.UNPIN", "INFO", w->host_id, "%s unpinned host %s, which was pinned to %s",
			  c->account, name, w->was);
}

static void pin_then(struct api_call *c, enum err result, const char *sentence)
{
	const struct saying *w = c->state;
	struct host *h = roster_host(c->server, w->host_id);
	json_t *o;

	if (result || !h) {
		api_fail_err(c, result ? result : ERR_NOT_FOUND, result ? sentence : "The host is removed");
		return;
	}
	add_pin_event(c, w, h->row.name);
	o = json_object();
	api_put_text(o, "id", h->row.uuid);
	api_put_number(o, "musterhostid", h->row.id);
	api_put_text(o, "name", h->row.name);
	api_put_text(o, "musterpin", w->entry[0] ? w->entry : NULL);
	api_put_text(o, "was", w->was[0] ? w->was : NULL);
	api_put_number(o, "moves", (int64_t)count_moves(c->server, w, &h->row));
	api_answer_object(c, w->entry[0] ? "pinhost" : "unpinhost", o);
}

/* NULL: refused, the answer is given. */
static struct saying *about_host(struct api_call *c)
{
	struct saying *w = saying_new(c);
	const struct host *h = roster_host(c->server, api_number(c, "id", 0));
	const char *was;

	if (!w)
		return NULL;
	if (!h) {
		api_fail(c, API_BAD_PARAM, CS_VALUE, "The host is removed");
		return NULL;
	}
	was = placement_pin(c->server, &h->row);
	if (was)
		str_copy(w->was, sizeof(w->was), was);
	w->host_id = h->row.id;
	first_of(c->server, &h->row, w->first);
	return w;
}

static void pin_host(struct api_call *c)
{
	struct saying *w = about_host(c);

	if (w && take_entry(c, w, true))
		api_write(c, pin_run, pin_then);
}

static void unpin_host(struct api_call *c)
{
	const struct saying *w = about_host(c);

	if (w && !w->was[0])
		api_fail(c, API_FAILED, CS_RUNTIME, "The host is not pinned: there is nothing to undo");
	else if (w)
		api_write(c, pin_run, pin_then);
}

/* ---- the tables ---- */

/* clang-format off */
#define SERVER_PARAM {"server", API_STRING, true, "Name or id of a management server, or an entry of the lists", ENTITY_NONE, 0, false}
static const struct api_param_spec set_params[] = {
	SERVER_PARAM,
	{"weight", API_INTEGER, false, "Its share of the hosts among those of the others, 0 to 1000; 0: a last resort", ENTITY_NONE, 0, false},
	{"zone", API_STRING, false, "Name or id of its zone, whose hosts have it first; none: no zone", ENTITY_NONE, 0, false},
};
static const struct api_param_spec pin_params[] = {
	{"id", API_UUID, true, "The host", ENTITY_HOST, 0, false},
	SERVER_PARAM,
};
static const struct api_param_spec unpin_params[] = {
	{"id", API_UUID, true, "The host", ENTITY_HOST, 0, false},
};
static const struct api_field server_fields[] = {
	{"name", "string", "The entry of the lists"},
	{"weight", "long", "Its weight"},
	{"zone", "string", "Its zone, if it has one"},
	{"resting", "boolean", "It counts as weight 0 while it is restarted"},
	{"server", "string", "Name of the registered server that it means"},
	{"serverid", "string", "Id of that server"},
	{"state", "string", "State of that server"},
	{"inlist", "boolean", "It is in the lists now"},
	{"algorithm", "string", "The algorithm in force; only balanced heeds weights and zones"},
	{"moves", "long", "Hosts that prefer another server now"},
};
static const struct api_field pin_fields[] = {
	{"id", "string", "Id of the host"},
	{"musterhostid", "long", "The host's number"},
	{"name", "string", "Its name"},
	{"musterpin", "string", "The entry that it has first from now on"},
	{"was", "string", "The entry that it was pinned to before"},
	{"moves", "long", "Hosts that prefer another server now"},
};
static const struct api_route routes[] = {
	{.name = "setListServer", .handle = set_list_server, .right = RIGHT_ADMIN,
	 .description = "Sets weight and zone of a server in the lists of the agents", ROUTE_PARAMS(set_params), ROUTE_FIELDS(server_fields)},
	{.name = "pinHost", .handle = pin_host, .right = RIGHT_ADMIN,
	 .description = "Has a host prefer one server, whatever the algorithm says", ROUTE_PARAMS(pin_params), ROUTE_FIELDS(pin_fields)},
	{.name = "unpinHost", .handle = unpin_host, .right = RIGHT_ADMIN,
	 .description = "Lets the algorithm place a host again", ROUTE_PARAMS(unpin_params), ROUTE_FIELDS(pin_fields)},
};
/* clang-format on */
const struct api_routes api_list_servers_routes = {routes, ARRAY_SIZE(routes)};
