/*
 * listPlacement: what a plan starts from (docs/placement.md, "Plan"). Servers and settings that lists are made from
 * stand in every page; the hosts are paged, each with the list that it should have and where it is connected.
 *
 * The members are those of a plan's input (cli/plan_json.h), so that an answer can be one. The pages: api_host_pages.c.
 */
#include "server/api.h"

#define PAGE_MOST 1000

/* ---- servers ---- */

static const struct member_server *server_of_entry(struct server *s, const char *entry)
{
	const struct member_server *found = NULL;

	/* A name may lead to several: one that is Up is what agents find. */
	list_for (m, &s->servers, struct member_server, in_servers) {
		if (lists_entry_is(s, entry, &m->row) && (!found || m->row.state == SERVER_UP))
			found = m;
	}
	return found;
}

json_t *api_list_server_object(struct server *s, const char *entry, const struct list_server_row *said)
{
	const struct member_server *m = server_of_entry(s, entry);
	json_t *o = json_object();

	api_put_text(o, "name", entry);
	api_put_number(o, "weight", said ? said->weight : 1);
	api_put_text(o, "zone", said ? said->zone : NULL);
	api_put_flag(o, "resting", said && said->resting);
	api_put_text(o, "server", m ? m->row.name : NULL);
	api_put_text(o, "serverid", m ? m->row.uuid : NULL);
	api_put_text(o, "state", m ? server_state_name(m->row.state) : NULL);
	return o;
}

static void put_settings(json_t *o, struct server *s)
{
	const struct str_list *entries = lists_servers(s);
	json_t *servers = json_array();

	for (size_t i = 0; i < entries->n; i++)
		json_array_append_new(
			servers, api_list_server_object(s, entries->items[i], placement_entry(s, entries->items[i])));
	api_put_text(o, "algorithm", algorithm_name(lists_algorithm(s)));
	api_put_number(o, "version", placement_version(s));
	api_put_number(o, "interval", lists_interval(s, 0));
	api_put_number(o, "rate", config_number(s, "agent.failback.rate", 0));
	api_put_number(o, "burst", config_number(s, "agent.failback.burst", 0));
	api_put_flag(o, "frozen", freeze_is_on(s));
	json_object_set_new(o, "servers", servers);
}

/* ---- hosts ---- */

/* The entry of the setting that means the server it is connected to, or that server's own address. */
static void put_on(json_t *o, struct server *s, const struct host_view *v)
{
	const struct str_list *entries = lists_servers(s);
	char own[SERVER_HOST_MAX + 9];

	if (!v->owner || !v->is_up || v->reconnecting)
		return;
	api_put_text(o, "serverid", v->owner->row.uuid);
	for (size_t i = 0; i < entries->n; i++) {
		if (lists_entry_is(s, entries->items[i], &v->owner->row)) {
			api_put_text(o, "on", entries->items[i]);
			return;
		}
	}
	if (lists_entry_of(&v->owner->row, own, sizeof(own)) == ERR_OK)
		api_put_text(o, "on", own);
}

/* As the setting spells them, also for agents whose own lists have no ports. */
static enum err list_expected(struct server *s, const struct host_row *row, const struct str_list *confirmed,
			      struct str_list *out)
{
	struct host_row spelled = *row;

	/* shuffle draws when it sends: what an agent has is as good as any, if it is complete. */
	if (lists_algorithm(s) == ALGORITHM_SHUFFLE)
		return str_list_copy(out, confirmed);
	spelled.is_muster = true;
	return lists_for_host(s, &spelled, out);
}

static void put_lists(json_t *o, struct server *s, const struct host_row *row, const struct host_view *v)
{
	struct str_list expected = {0}, confirmed = {0};
	CLEAN(mem_freep) char *algorithm = NULL;

	if (server_list_parse_reported(&confirmed, &algorithm, v->list ? v->list : "") == ERR_OK &&
	    list_expected(s, row, &confirmed, &expected) == ERR_OK) {
		api_put_texts(o, "list", &expected);
		if (!str_list_equal(&expected, &confirmed))
			api_put_texts(o, "confirmed", &confirmed);
	}
	str_list_deinit(&expected);
	str_list_deinit(&confirmed);
}

/* The list of a host that is pinned outside its zone doesn't show which server of another zone comes first otherwise.
 */
static void put_pin(json_t *o, struct server *s, const struct host_row *row)
{
	const struct list_server_row *away = placement_entry_by_id(s, row->placed_away);

	api_put_text(o, "pin", placement_pin(s, row));
	if (placement_pin(s, row) && away && away->in_use)
		api_put_text(o, "away", away->entry);
}

static json_t *placed_object(struct server *s, const struct host_row *row, unsigned details)
{
	const struct place_row *zone = api_place(s, PLACE_ZONE, row->zone_id);
	json_t *o = json_object();
	struct host_view v;

	host_view_make(&v, s, row);
	api_put_number(o, "id", row->id);
	api_put_text(o, "uuid", row->uuid);
	api_put_text(o, "name", row->name);
	api_put_text(o, "zone", zone ? zone->name : NULL);
	api_put_number(o, "slot", (int64_t)row->slot);
	put_lists(o, s, row, &v);
	put_pin(o, s, row);
	put_on(o, s, &v);
	return o;
}

static bool host_is_wanted(struct api_call *c, const struct host_row *row)
{
	return api_contains(row->name, api_text(c, "keyword"));
}

static void answer(struct api_call *c, json_t *take_page, size_t count)
{
	json_t *o = json_object();

	put_settings(o, c->server);
	api_put_number(o, "count", (int64_t)count);
	/* An empty page has no array, as everywhere (query-api 1.7.1). */
	if (json_array_size(take_page))
		json_object_set_new(o, "hosts", take_page);
	else
		json_decref(take_page);
	api_answer(c, o);
}

static void list_placement(struct api_call *c)
{
	const struct host_pages p = {.is_wanted = host_is_wanted, .object = placed_object, .answer = answer};

	api_answer_host_pages(c, &p);
}

/* ---- the tables ---- */

/* clang-format off */
static const struct api_param_spec list_params[] = {
	API_LIST_PARAMS,
};
static const struct api_field fields[] = {
	{"algorithm", "string", "The algorithm in force"},
	{"version", "long", "Version of the stored placement; 0: there is none"},
	{"interval", "integer", "Seconds between an agent's looks at its preferred server; 0: it never looks"},
	{"rate", "integer", "Agents that a server lets come home in a second"},
	{"burst", "integer", "Of these, how many at once"},
	{"frozen", "boolean", "Moves are frozen"},
	{"servers", "list", "name (entry of the list), weight, zone, resting; server, serverid, state (of the registered server that it means)"},
	{"count", "integer", "Hosts on all pages"},
	{"hosts", "list", "id, uuid, name, zone, slot, pin, list (that it should have), confirmed (that its agent has, if another), on, serverid (entry and id of the server it is connected to)"},
};
static const struct api_route routes[] = {
	{.name = "listPlacement", .handle = list_placement, .right = RIGHT_ADMIN, .is_list = true, .is_read = true,
	 .description = "Lists servers and hosts as plans begin with them", ROUTE_PARAMS(list_params), ROUTE_FIELDS(fields),
	 .page_most = PAGE_MOST},
};
/* clang-format on */
const struct api_routes api_placement_routes = {routes, ARRAY_SIZE(routes)};
