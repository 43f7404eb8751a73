/*
 * listHosts (query-api 2.5). Hosts are filtered in memory; the rows of one page are read from the store, a chunk at a
 * time: details are only there, and what agents of other servers have confirmed is newer there. When the store does
 * not answer, memory does.
 */
#include "server/api.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CHUNK 200

/* ---- listHosts ---- */

struct listing {
	int64_t *ids; /* of the page, ascending */
	size_t n, at;
	size_t count; /* matches on all pages */
	unsigned details;
	json_t *page;
	struct host_row rows[CHUNK]; /* of this chunk; id 0: gone */
	size_t n_rows;
};

static void rows_clear(struct listing *l)
{
	for (size_t i = 0; i < l->n_rows; i++)
		host_row_deinit(&l->rows[i]);
	memset(l->rows, 0, sizeof(l->rows));
	l->n_rows = 0;
}

static void listing_free(void *state)
{
	struct listing *l = state;

	rows_clear(l);
	json_decref(l->page);
	mem_free(l->ids);
	mem_free(l);
}

static bool take_details(struct api_call *c, unsigned *out)
{
	/* clang-format off */
	static const struct {
		const char *name;
		unsigned bits;
	} words[] = {
		{"min", DETAIL_MIN}, {"all", DETAIL_ALL}, {"capacity", DETAIL_PLACE | DETAIL_CAPACITY},
		{"events", DETAIL_PLACE | DETAIL_EVENTS}, {"stats", DETAIL_PLACE}, {"core", DETAIL_PLACE},
	};
	/* clang-format on */
	struct str_list list = {0};
	bool good = true;

	*out = DETAIL_ALL;
	if (str_is_blank(api_text(c, "details")))
		return true;
	if (str_list_split(&list, api_text(c, "details"), ',')) {
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
		return false;
	}
	*out = 0;
	for (size_t i = 0; good && i < list.n; i++) {
		const char *word = str_trim(list.items[i]);

		good = *word == '\0';
		for (size_t k = 0; k < ARRAY_SIZE(words); k++) {
			if (strcasecmp(word, words[k].name) == 0) {
				*out |= words[k].bits;
				good = true;
			}
		}
	}
	str_list_deinit(&list);
	if (!good)
		api_fail(c, API_BAD_PARAM, CS_VALUE,
			 "details: only min, all, capacity, events, stats and core are known");
	return good;
}

static bool host_is_wanted(struct api_call *c, const struct host_row *row)
{
	static const struct {
		const char *param;
		size_t offset;
	} ids[] = {
		{"id", offsetof(struct host_row, id)},
		{"zoneid", offsetof(struct host_row, zone_id)},
		{"podid", offsetof(struct host_row, pod_id)},
		{"clusterid", offsetof(struct host_row, cluster_id)},
		{"managementserverid", offsetof(struct host_row, owner)},
	};
	const char *keyword = api_text(c, "keyword");
	const char *status = host_status_name(row->status);

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		if (api_has(c, ids[i].param) &&
		    api_number(c, ids[i].param, 0) !=
			    *(const int64_t *)(const void *)((const char *)row + ids[i].offset))
			return false;
	if (api_flag(c, "hahost") || api_flag(c, "outofbandmanagementenabled"))
		return false; /* nothing here has them */
	return api_matches(row->name, api_text(c, "name")) && api_matches(row->type, api_text(c, "type")) &&
	       api_matches(status, api_text(c, "state")) &&
	       api_matches(resource_state_name(row->resource_state), api_text(c, "resourcestate")) &&
	       api_matches(row->hypervisor, api_text(c, "hypervisor")) &&
	       api_matches(row->version, api_text(c, "version")) && api_matches(row->arch, api_text(c, "arch")) &&
	       (api_contains(row->name, keyword) || api_contains(status, keyword) || api_contains(row->type, keyword) ||
		api_contains(row->version, keyword));
}

static int by_id(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

/* The ids of the page; keeps how many match at all. */
static enum err listing_fill(struct listing *l, struct api_call *c)
{
	struct server *s = c->server;
	struct host *h;
	size_t cursor = 0, first, end;

	l->ids = mem_zalloc_array(roster_n_hosts(s) + 1, sizeof(*l->ids));
	l->page = json_array();
	if (!l->ids || !l->page)
		return ERR_NOMEM;
	while ((h = roster_next(s, &cursor)))
		if (host_is_wanted(c, &h->row))
			l->ids[l->count++] = h->row.id;
	qsort(l->ids, l->count, sizeof(*l->ids), by_id);
	api_page(c, l->count, &first, &end);
	l->n = end - first;
	memmove(l->ids, l->ids + first, l->n * sizeof(*l->ids));
	return ERR_OK;
}

static void listing_answer(struct api_call *c)
{
	struct listing *l = c->state;

	api_answer_list(c, "host", STEAL(l->page), l->count);
}

/* Up to `end` as memory has them. */
static void listing_from_memory(struct api_call *c, size_t end)
{
	struct listing *l = c->state;

	for (; l->at < end; l->at++) {
		struct host *h = roster_host(c->server, l->ids[l->at]);

		if (h)
			json_array_append_new(l->page, host_object(c->server, &h->row, l->details));
	}
}

static size_t chunk_end(const struct listing *l)
{
	return l->n - l->at > CHUNK ? l->at + CHUNK : l->n;
}

static enum err chunk_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct listing *l = c->state;

	rows_clear(l);
	for (size_t i = l->at; i < chunk_end(l); i++) {
		enum err e = store_host_get(tx, l->ids[i], &l->rows[l->n_rows++]);

		if (e && e != ERR_NOT_FOUND)
			return e;
	}
	return ERR_OK;
}

static void chunk_then(struct api_call *c, enum err result, const char *sentence)
{
	struct listing *l = c->state;

	if (result) {
		log_debug(c->server->log, "hosts are listed from memory", KV_S("error", sentence));
		listing_from_memory(c, l->n);
	}
	for (size_t i = 0; !result && i < l->n_rows; i++) {
		if (!l->rows[i].id || l->rows[i].removed_ms)
			continue;
		host_learn(c->server, &l->rows[i]);
		json_array_append_new(l->page, host_object(c->server, &l->rows[i], l->details));
	}
	if (!result)
		l->at = chunk_end(l);
	if (l->at < l->n)
		api_read(c, chunk_run, chunk_then);
	else
		listing_answer(c);
}

static void list_hosts(struct api_call *c)
{
	struct listing *l;
	unsigned details;

	if (!take_details(c, &details))
		return;
	l = mem_zalloc(sizeof(*l));
	c->state = l;
	c->state_free = listing_free;
	if (!l || listing_fill(l, c)) {
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	l->details = details;
	if (l->n && !ledger_is_failing(c->server, NULL)) {
		api_read(c, chunk_run, chunk_then);
		return;
	}
	listing_from_memory(c, l->n);
	listing_answer(c);
}

/* ---- the tables ---- */

/* clang-format off */
static const struct api_param_spec list_params[] = {
	{"id", API_UUID, false, "The host", ENTITY_HOST, 0, false},
	{"name", API_STRING, false, "Its name", ENTITY_NONE, 0, false},
	{"type", API_STRING, false, "Its type", ENTITY_NONE, 0, false},
	{"state", API_STRING, false, "Its status", ENTITY_NONE, 0, false},
	{"resourcestate", API_STRING, false, "Its administrative state", ENTITY_NONE, 0, false},
	{"zoneid", API_UUID, false, "Its zone", ENTITY_ZONE, 0, false},
	{"podid", API_UUID, false, "Its pod", ENTITY_POD, 0, false},
	{"clusterid", API_UUID, false, "Its cluster", ENTITY_CLUSTER, 0, false},
	{"hypervisor", API_STRING, false, "Its hypervisor", ENTITY_NONE, 0, false},
	{"managementserverid", API_UUID, false, "The management server it is connected to", ENTITY_SERVER, 0, false},
	{"version", API_STRING, false, "Version of the agent", ENTITY_NONE, 0, false},
	{"arch", API_STRING, false, "Its architecture", ENTITY_NONE, 0, false},
	{"details", API_LIST, false, "min, all, capacity, events, stats", ENTITY_NONE, 0, false},
	{"hahost", API_BOOLEAN, false, "Hosts kept for high availability", ENTITY_NONE, 0, false},
	{"outofbandmanagementenabled", API_BOOLEAN, false, "Hosts with out-of-band management", ENTITY_NONE, 0, false},
	API_LIST_PARAMS,
};
static const struct api_route routes[] = {
	{.name = "listHosts", .handle = list_hosts, .right = RIGHT_ADMIN, .is_list = true, .is_read = true,
	 .description = "Lists hosts", ROUTE_PARAMS(list_params), .fields = host_fields, .n_fields = HOST_N_FIELDS},
};
/* clang-format on */
const struct api_routes api_hosts_routes = {routes, ARRAY_SIZE(routes)};
