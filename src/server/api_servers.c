/*
 * Management servers over the API (query-api 2.1, 2.4): listManagementServers, removeManagementServer. Everything but
 * how the others see each other, and how far drains are, is in memory, and shown without the store when that is away.
 */
#include "server/api.h"

#include <string.h>

struct views {
	struct peer_view *rows; /* with peers=true */
	size_t n;
	struct drain_rows drains;
};

static void views_free(void *state)
{
	struct views *v = state;

	for (size_t i = 0; i < v->n; i++)
		peer_view_deinit(&v->rows[i]);
	mem_free(v->rows);
	drain_rows_deinit(&v->drains);
	mem_free(v);
}

/* `each`: by name, which is much to write where there are ten thousands. */
static void put_agents(json_t *o, struct server *s, int64_t msid, bool each)
{
	json_t *agents = each ? json_array() : NULL, *last = each ? json_array() : NULL;
	struct host *h;
	size_t cursor = 0, n = 0;

	while ((h = roster_next(s, &cursor))) {
		if (h->row.owner == msid) {
			n++;
			if (each)
				json_array_append_new(agents, json_string(h->row.uuid));
		} else if (each && h->row.last_owner == msid) {
			json_array_append_new(last, json_string(h->row.uuid));
		}
	}
	if (each) {
		json_object_set_new(o, "lastagents", last);
		json_object_set_new(o, "agents", agents);
	}
	api_put_number(o, "agentscount", (int64_t)n);
}

static void put_jobs(json_t *o, struct server *s)
{
	api_put_number(o, "pendingjobscount", (int64_t)api_jobs_running(s));
}

static json_t *peer_object(const struct member_server *of, const char *view, int64_t at_ms)
{
	json_t *o = json_object();
	char number[24];

	api_put_text(o, "state", strcmp(view, member_view_name(MEMBER_DOWN)) == 0 ? "Down" : "Up");
	api_put_date(o, "lastupdated", at_ms);
	api_put_text(o, "peerid", of->row.uuid);
	api_put_text(o, "peername", of->row.name);
	snprintf(number, sizeof(number), "%lld", (long long)of->row.msid);
	api_put_text(o, "peermsid", number);
	snprintf(number, sizeof(number), "%lld", (long long)of->row.run_id);
	api_put_text(o, "peerrunid", number);
	api_put_text(o, "peerstate", server_state_name(of->row.state));
	api_put_text(o, "peerserviceip", of->row.address);
	snprintf(number, sizeof(number), "%lld", (long long)of->row.port);
	api_put_text(o, "peerserviceport", number);
	return o;
}

static void put_peers(json_t *o, struct server *s, int64_t msid, const struct views *v)
{
	json_t *peers = json_array();

	for (size_t i = 0; i < v->n; i++) {
		const struct member_server *of = roster_server(s, v->rows[i].peer);

		if (v->rows[i].owner == msid && of)
			json_array_append_new(peers, peer_object(of, v->rows[i].view, v->rows[i].at_ms));
	}
	json_object_set_new(o, "peers", peers);
}

/* Does it do what it is told? As far as this server knows. */
static bool is_heard(const struct server *s, const struct member_server *m)
{
	return m->row.msid == s->msid || (m->row.state != SERVER_DOWN && m->member.view != MEMBER_DOWN);
}

/* How lists have it: the entry that means it, or would if there were one. */
static void put_entry(json_t *o, struct server *s, const struct server_row *row)
{
	const char *entry = api_list_entry(s, row);
	const struct list_server_row *said;
	char own[SERVER_HOST_MAX + 9];

	api_put_text(o, "musterentry", entry);
	if (!entry && lists_entry_of(row, own, sizeof(own)) == ERR_OK)
		entry = own;
	said = entry ? placement_entry(s, entry) : NULL;
	api_put_number(o, "musterweight", said ? said->weight : 1);
	api_put_text(o, "musterzone", said ? said->zone : NULL);
	api_put_flag(o, "musterresting", said && said->resting);
}

static json_t *server_object(struct api_call *c, const struct member_server *m, const struct views *v)
{
	struct server *s = c->server;
	const struct drain_row *drain = drain_rows_find(&v->drains, m->row.msid);
	json_t *o = json_object();

	api_put_text(o, "id", m->row.uuid);
	api_put_text(o, "name", m->row.name);
	api_put_text(o, "state", server_state_name(m->row.state));
	api_put_text(o, "version", m->row.version);
	api_put_date(o, "lastserverstart", m->row.started_ms);
	api_put_date(o, "lastserverstop", m->row.stopped_ms);
	api_put_text(o, "serviceip", m->row.address);
	api_put_text(o, "ipaddress", m->row.address);
	put_agents(o, s, m->row.msid, !api_has(c, "agents") || api_flag(c, "agents"));
	if (m->row.msid == s->msid) /* how many run elsewhere is known there */
		put_jobs(o, s);
	if (api_flag(c, "peers"))
		put_peers(o, s, m->row.msid, v);
	api_put_flag(o, "musterheard", is_heard(s, m));
	api_put_flag(o, "musterfrozen", freeze_is_on(s));
	put_entry(o, s, &m->row);
	if (drain)
		json_object_set_new(o, "musterdrain", api_drain_object(drain, m->row.state));
	return o;
}

static bool server_is_wanted(struct api_call *c, const struct member_server *m)
{
	const char *keyword = api_text(c, "keyword");

	return (!api_has(c, "id") || m->row.msid == api_number(c, "id", 0)) &&
	       api_matches(m->row.name, api_text(c, "name")) && api_matches(m->row.version, api_text(c, "version")) &&
	       (api_contains(m->row.name, keyword) || api_contains(m->row.version, keyword));
}

static void answer_servers(struct api_call *c, const struct views *v)
{
	json_t *page = json_array();
	size_t n = 0, first, end, i = 0;

	list_for (m, &c->server->servers, struct member_server, in_servers)
		n += server_is_wanted(c, m);
	api_page(c, n, &first, &end);
	list_for (m, &c->server->servers, struct member_server, in_servers) {
		if (!server_is_wanted(c, m))
			continue;
		if (i >= first && i < end)
			json_array_append_new(page, server_object(c, m, v));
		i++;
	}
	api_answer_list(c, "managementserver", page, n);
}

static enum err views_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct views *v = c->state;
	enum err e;

	for (size_t i = 0; i < v->n; i++)
		peer_view_deinit(&v->rows[i]);
	v->rows = mem_free(v->rows);
	v->n = 0;
	e = drain_rows_read(&v->drains, tx);
	return e || !api_flag(c, "peers") ? e : store_peer_view_list(tx, &v->rows, &v->n);
}

static void views_then(struct api_call *c, enum err result, const char *sentence)
{
	/* Who is there, and in which state, is known without the store. */
	if (result && api_flag(c, "peers"))
		api_fail_err(c, result, sentence);
	else
		answer_servers(c, c->state);
}

static void list_management_servers(struct api_call *c)
{
	c->state = mem_zalloc(sizeof(struct views));
	c->state_free = views_free;
	if (!c->state)
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
	else if (!api_flag(c, "peers") && (ledger_is_failing(c->server, NULL) || ledger_is_slow(c->server)))
		answer_servers(c, c->state);
	else
		api_read(c, views_run, views_then);
}

/* ---- removeManagementServer ---- */

static enum err remove_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	size_t disowned;
	struct server_row *rows = NULL;
	int64_t msid = api_number(c, "id", 0);
	bool is_down = false;
	size_t n = 0;
	enum err e = store_server_list(tx, &rows, &n);

	/* Its state is read here: it may have come up since this server heard of it last. */
	for (size_t i = 0; i < n; i++) {
		is_down |= rows[i].msid == msid && rows[i].state == SERVER_DOWN;
		server_row_deinit(&rows[i]);
	}
	mem_free(rows);
	if (!e && !is_down) {
		why_set(why, "Only a management server that is Down can be removed");
		e = ERR_INVALID;
	}
	if (!e)
		e = store_hosts_disown(tx, msid, &disowned);
	return e ? e : store_server_remove(tx, msid);
}

static void remove_then(struct api_call *c, enum err result, const char *sentence)
{
	if (result) {
		api_fail_err(c, result, sentence);
		return;
	}
	event_add(c->server, "MANAGEMENT.SERVER.REMOVE", "INFO", 0, "%s removed management server %s", c->account,
		  api_text(c, "id"));
	api_answer_success(c);
}

static void remove_management_server(struct api_call *c)
{
	api_write(c, remove_run, remove_then);
}

/* ---- the tables ---- */

/* clang-format off */
static const struct api_param_spec list_params[] = {
	{"id", API_UUID, false, "The management server", ENTITY_SERVER, 0, false},
	{"name", API_STRING, false, "Its name", ENTITY_NONE, 0, false},
	{"version", API_STRING, false, "Its version", ENTITY_NONE, 0, false},
	{"peers", API_BOOLEAN, false, "Also how it sees the others", ENTITY_NONE, 0, false},
	{"agents", API_BOOLEAN, false, "Also which hosts are and were there, not just how many are; default true", ENTITY_NONE, 0, false},
	API_LIST_PARAMS,
};
static const struct api_param_spec id_params[] = {
	{"id", API_UUID, true, "The management server", ENTITY_SERVER, 0, false},
};
static const struct api_field fields[] = {
	{"id", "string", "Id of the management server"},
	{"name", "string", "Name"},
	{"state", "string", "Up, Down, PreparingForMaintenance, Maintenance, PreparingForShutDown, ReadyToShutDown or ShuttingDown"},
	{"version", "string", "Version of the program"},
	{"lastserverstart", "date", "Last start"},
	{"lastserverstop", "date", "Last clean stop"},
	{"serviceip", "string", "Address"},
	{"ipaddress", "string", "Address"},
	{"lastagents", "list", "Hosts that were here last"},
	{"agents", "list", "Hosts that are here"},
	{"agentscount", "integer", "How many hosts are here"},
	{"pendingjobscount", "integer", "Jobs that run here"},
	{"peers", "list", "How it sees the others"},
	{"musterheard", "boolean", "It is heard, so that it does what it is told"},
	{"musterfrozen", "boolean", "Moves that are not needed are frozen, here and everywhere"},
	{"musterentry", "string", "The entry of the lists that means it; absent: it is in no list"},
	{"musterweight", "long", "Weight of that entry: its share of the hosts under balanced"},
	{"musterzone", "string", "Zone of that entry, if it has one"},
	{"musterresting", "boolean", "It counts as weight 0 while it is restarted"},
	{"musterdrain", "map", "Its last drain: what was asked, how far it is, who has not moved and why"},
};
static const struct api_field success_fields[] = {
	{"success", "boolean", "true"},
	{"displaytext", "string", "More about it"},
};
static const struct api_route routes[] = {
	{.name = "listManagementServers", .handle = list_management_servers, .right = RIGHT_ADMIN, .is_list = true, .is_read = true,
	 .description = "Lists management servers", ROUTE_PARAMS(list_params), ROUTE_FIELDS(fields)},
	{.name = "removeManagementServer", .handle = remove_management_server, .right = RIGHT_ADMIN,
	 .description = "Removes a management server that is Down", ROUTE_PARAMS(id_params), ROUTE_FIELDS(success_fields)},
};
/* clang-format on */
const struct api_routes api_servers_routes = {routes, ARRAY_SIZE(routes)};
