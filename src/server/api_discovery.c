/*
 * What this API can do: listApis, made from the routes, and listCapabilities (query-api 1.15, 2.11, 2.13). CloudMonkey
 * makes its commands from listApis and needs every member that is put here.
 */
#include "server/api.h"

#include <string.h>

#define CLOUDSTACK_VERSION "4.23.0.0" /* whose API this speaks */

static const char *related_of(const struct api_param_spec *p)
{
	switch (p->entity) {
	case ENTITY_HOST:
		return "listHosts";
	case ENTITY_SERVER:
		return "listManagementServers";
	case ENTITY_ZONE:
		return "listZones";
	case ENTITY_POD:
		return "listPods";
	case ENTITY_CLUSTER:
		return "listClusters";
	case ENTITY_NONE:
		break;
	}
	return NULL;
}

static json_t *params_of(const struct api_route *r)
{
	json_t *params = json_array();

	for (size_t i = 0; i < r->n_params; i++) {
		const struct api_param_spec *p = &r->params[i];
		json_t *o;

		if (p->hidden)
			continue;
		o = json_object();
		api_put_text(o, "name", p->name);
		api_put_text(o, "description", p->description);
		api_put_text(o, "type", api_type_name(p->type));
		api_put_number(o, "length", p->length ? (int64_t)p->length : API_TEXT_MAX);
		api_put_flag(o, "required", p->required);
		api_put_text(o, "related", related_of(p));
		json_array_append_new(params, o);
	}
	return params;
}

static json_t *fields_of(const struct api_route *r)
{
	json_t *fields = json_array();

	for (size_t i = 0; i < r->n_fields; i++) {
		json_t *o = json_object();

		api_put_text(o, "name", r->fields[i].name);
		api_put_text(o, "description", r->fields[i].description);
		api_put_text(o, "type", r->fields[i].type);
		json_array_append_new(fields, o);
	}
	return fields;
}

static json_t *route_object(const struct api_route *r)
{
	json_t *o = json_object();

	api_put_text(o, "name", r->name);
	api_put_text(o, "description", r->description);
	api_put_flag(o, "isasync", r->is_async);
	api_put_text(o, "related", "");
	json_object_set_new(o, "params", params_of(r));
	json_object_set_new(o, "response", fields_of(r));
	api_put_text(o, "httprequesttype", r->is_read ? "GET" : "POST");
	return o;
}

static void list_apis(struct api_call *c)
{
	const char *name = api_text(c, "name");
	const struct api_route *r;
	json_t *page;
	size_t n = 0;

	if (!str_is_blank(name) && !api_route_find(name)) {
		api_fail(c, API_FAILED, CS_API, "There is no API \"%.64s\"", name);
		return;
	}
	page = json_array();
	for (size_t i = 0; (r = api_route_at(i)); i++) {
		if (!str_is_blank(name) && strcmp(name, r->name) != 0)
			continue;
		json_array_append_new(page, route_object(r));
		n++;
	}
	api_answer_list(c, "api", page, n);
}

static void list_capabilities(struct api_call *c)
{
	json_t *o = json_object();

	api_put_flag(o, "securitygroupsenabled", false);
	api_put_flag(o, "dynamicrolesenabled", false);
	api_put_text(o, "cloudstackversion", CLOUDSTACK_VERSION);
	api_put_text(o, "musterversion", MUSTER_VERSION);
	api_put_text(o, "supportELB", "false");
	api_put_number(o, "defaultuipagesize", 20);
	api_answer_object(c, "capability", o);
}

/* ---- the tables ---- */

/* clang-format off */
static const struct api_param_spec apis_params[] = {
	{"name", API_STRING, false, "One API", ENTITY_NONE, 0, false},
};
static const struct api_param_spec capabilities_params[] = {
	{"domainid", API_STRING, false, "No effect", ENTITY_NONE, 0, false},
};
static const struct api_field apis_fields[] = {
	{"name", "string", "Name of the API"},
	{"description", "string", "What it does"},
	{"isasync", "boolean", "Answers with a job"},
	{"related", "string", "APIs with the same response"},
	{"params", "set", "Its parameters"},
	{"response", "set", "Members of its response"},
	{"httprequesttype", "string", "GET or POST"},
};
static const struct api_field capabilities_fields[] = {
	{"securitygroupsenabled", "boolean", "false"},
	{"dynamicrolesenabled", "boolean", "false"},
	{"cloudstackversion", "string", "Version whose API this speaks"},
	{"musterversion", "string", "Version of this program"},
	{"supportELB", "string", "false"},
	{"defaultuipagesize", "long", "20"},
};
static const struct api_route routes[] = {
	{.name = "listApis", .handle = list_apis, .right = RIGHT_ANY, .is_read = true,
	 .description = "Lists the APIs of this server", ROUTE_PARAMS(apis_params), ROUTE_FIELDS(apis_fields)},
	{.name = "listCapabilities", .handle = list_capabilities, .right = RIGHT_ANY, .is_read = true,
	 .description = "Tells what this server can do", ROUTE_PARAMS(capabilities_params), ROUTE_FIELDS(capabilities_fields)},
};
/* clang-format on */
const struct api_routes api_discovery_routes = {routes, ARRAY_SIZE(routes)};
