/* listHosts (query-api 2.5): which hosts are wanted, and how much of each. The pages: api_host_pages.c. */
#include "server/api.h"

#include <string.h>
#include <strings.h>

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

static void answer(struct api_call *c, json_t *take_page, size_t count)
{
	api_answer_list(c, "host", take_page, count);
}

static void list_hosts(struct api_call *c)
{
	struct host_pages p = {.is_wanted = host_is_wanted, .object = host_object, .answer = answer};

	if (take_details(c, &p.details))
		api_answer_host_pages(c, &p);
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
