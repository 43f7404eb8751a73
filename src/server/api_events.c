/*
 * Events over the API (query-api 2.11): listEvents, newest first. The newest 10000 are looked at.
 */
#include "server/api.h"

#include <string.h>

#define EVENTS_MOST 10000

struct events {
	struct event_row *rows;
	size_t n;
};

static void events_clear(struct events *v)
{
	for (size_t i = 0; i < v->n; i++)
		event_row_deinit(&v->rows[i]);
	v->rows = mem_free(v->rows);
	v->n = 0;
}

static void events_free(void *state)
{
	events_clear(state);
	mem_free(state);
}

static enum err list_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct events *v = c->state;

	events_clear(v);
	return store_event_list(tx, EVENTS_MOST, &v->rows, &v->n);
}

static json_t *event_object(struct server *s, const struct event_row *row)
{
	const struct host *h = row->host_id ? roster_host(s, row->host_id) : NULL;
	const struct member_server *m = roster_server(s, row->msid);
	json_t *o = json_object();

	api_put_text(o, "id", row->uuid);
	api_put_text(o, "username", row->account);
	api_put_text(o, "type", row->type);
	api_put_text(o, "level", row->level);
	api_put_text(o, "description", row->description);
	api_put_text(o, "account", row->account);
	api_put_text(o, "domain", "ROOT");
	api_put_text(o, "domainpath", "ROOT");
	api_put_date(o, "created", row->created_ms);
	api_put_text(o, "state", "Completed");
	if (h) {
		api_put_text(o, "resourceid", h->row.uuid);
		api_put_text(o, "resourcetype", "Host");
		api_put_text(o, "resourcename", h->row.name);
	}
	api_put_text(o, "managementserverid", m ? m->row.uuid : NULL);
	api_put_text(o, "managementservername", m ? m->row.name : NULL);
	return o;
}

static bool event_is_wanted(struct api_call *c, const struct event_row *row)
{
	const char *keyword = api_text(c, "keyword");

	if (api_has(c, "hostid") && api_number(c, "hostid", 0) != row->host_id)
		return false;
	if (api_has(c, "startdate") && row->created_ms < api_number(c, "startdate", 0))
		return false;
	if (api_has(c, "enddate") && row->created_ms > api_number(c, "enddate", 0))
		return false;
	return api_matches(row->uuid, api_text(c, "id")) && api_matches(row->type, api_text(c, "type")) &&
	       api_matches(row->level, api_text(c, "level")) && api_matches("Completed", api_text(c, "state")) &&
	       (api_contains(row->type, keyword) || api_contains(row->description, keyword) ||
		api_contains(row->level, keyword));
}

static void list_then(struct api_call *c, enum err result, const char *sentence)
{
	struct events *v = c->state;
	size_t n = 0, first, end, at = 0;
	json_t *page;

	if (result) {
		api_fail_err(c, result, sentence);
		return;
	}
	for (size_t i = 0; i < v->n; i++)
		n += event_is_wanted(c, &v->rows[i]);
	api_page(c, n, &first, &end);
	page = json_array();
	for (size_t i = 0; i < v->n && at < end; i++) {
		if (!event_is_wanted(c, &v->rows[i]))
			continue;
		if (at >= first)
			json_array_append_new(page, event_object(c->server, &v->rows[i]));
		at++;
	}
	api_answer_list(c, "event", page, n);
}

static void list_events(struct api_call *c)
{
	c->state = mem_zalloc(sizeof(struct events));
	c->state_free = events_free;
	if (!c->state)
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
	else
		api_read(c, list_run, list_then);
}

/* ---- the tables ---- */

/* clang-format off */
static const struct api_param_spec list_params[] = {
	{"id", API_UUID, false, "The event", ENTITY_NONE, 0, false},
	{"type", API_STRING, false, "Its type", ENTITY_NONE, 0, false},
	{"level", API_STRING, false, "INFO, WARN or ERROR", ENTITY_NONE, 0, false},
	{"state", API_STRING, false, "Completed", ENTITY_NONE, 0, false},
	{"hostid", API_UUID, false, "Events of this host", ENTITY_HOST, 0, false},
	{"startdate", API_DATE, false, "Not older than this", ENTITY_NONE, 0, false},
	{"enddate", API_DATE, false, "Not newer than this", ENTITY_NONE, 0, false},
	API_LIST_PARAMS,
};
static const struct api_field fields[] = {
	{"id", "string", "Id of the event"},
	{"username", "string", "Who did it"},
	{"type", "string", "Type"},
	{"level", "string", "INFO, WARN or ERROR"},
	{"description", "string", "What happened"},
	{"account", "string", "Who did it"},
	{"domain", "string", "ROOT"},
	{"domainpath", "string", "ROOT"},
	{"created", "date", "When"},
	{"state", "string", "Completed"},
	{"resourceid", "string", "The host it is about"},
	{"resourcetype", "string", "Host"},
	{"resourcename", "string", "Name of that host"},
	{"managementserverid", "string", "Server that wrote it"},
	{"managementservername", "string", "Name of that server"},
};
static const struct api_route routes[] = {
	{.name = "listEvents", .handle = list_events, .right = RIGHT_ANY, .is_list = true, .is_read = true,
	 .description = "Lists events, the newest first", ROUTE_PARAMS(list_params), ROUTE_FIELDS(fields)},
};
/* clang-format on */
const struct api_routes api_events_routes = {routes, ARRAY_SIZE(routes)};
