/*
 * Zones, pods and clusters over the API (query-api 2.10), as far as hosts name them: listZones, listPods,
 * listClusters. They are made by the startup of a host that names them, and by addHost.
 */
#include "server/api.h"

static json_t *zone_object(const struct place_row *p)
{
	json_t *o = json_object();

	api_put_text(o, "id", p->uuid);
	api_put_text(o, "name", p->name);
	api_put_text(o, "networktype", "Advanced");
	api_put_flag(o, "securitygroupsenabled", false);
	api_put_text(o, "allocationstate", "Enabled");
	api_put_flag(o, "localstorageenabled", false);
	json_object_set_new(o, "tags", json_array());
	api_put_text(o, "type", "Core");
	api_put_flag(o, "hasannotations", false);
	return o;
}

static json_t *pod_object(struct server *s, const struct place_row *p)
{
	const struct place_row *zone = api_place(s, PLACE_ZONE, p->parent);
	json_t *o = json_object();

	api_put_text(o, "id", p->uuid);
	api_put_text(o, "name", p->name);
	api_put_text(o, "zoneid", zone ? zone->uuid : NULL);
	api_put_text(o, "zonename", zone ? zone->name : NULL);
	api_put_text(o, "allocationstate", "Enabled");
	api_put_flag(o, "hasannotations", false);
	return o;
}

static json_t *cluster_object(struct server *s, const struct place_row *p)
{
	const struct place_row *pod = api_place(s, PLACE_POD, p->parent);
	const struct place_row *zone = pod ? api_place(s, PLACE_ZONE, pod->parent) : NULL;
	json_t *o = json_object();

	api_put_text(o, "id", p->uuid);
	api_put_text(o, "name", p->name);
	api_put_text(o, "podid", pod ? pod->uuid : NULL);
	api_put_text(o, "podname", pod ? pod->name : NULL);
	api_put_text(o, "zoneid", zone ? zone->uuid : NULL);
	api_put_text(o, "zonename", zone ? zone->name : NULL);
	api_put_text(o, "hypervisortype", "KVM");
	api_put_text(o, "clustertype", "CloudManaged");
	api_put_text(o, "allocationstate", "Enabled");
	api_put_text(o, "managedstate", "Managed");
	api_put_flag(o, "hasannotations", false);
	return o;
}

static json_t *place_object(struct server *s, const struct place_row *p)
{
	switch (p->kind) {
	case PLACE_ZONE:
		return zone_object(p);
	case PLACE_POD:
		return pod_object(s, p);
	case PLACE_CLUSTER:
		return cluster_object(s, p);
	}
	return NULL;
}

/* The id that the place itself, or what it lies in, must have. */
static bool lies_in(struct api_call *c, const struct place_row *p)
{
	struct server *s = c->server;
	const struct place_row *pod = p->kind == PLACE_CLUSTER ? api_place(s, PLACE_POD, p->parent) : NULL;
	int64_t zone_id = p->kind == PLACE_POD ? p->parent : pod ? pod->parent : p->id;

	if (p->kind != PLACE_ZONE && api_has(c, "zoneid") && api_number(c, "zoneid", 0) != zone_id)
		return false;
	return p->kind != PLACE_CLUSTER || !api_has(c, "podid") || api_number(c, "podid", 0) == p->parent;
}

static bool place_is_wanted(struct api_call *c, const struct place_row *p, enum place_kind kind)
{
	return p->kind == kind && (!api_has(c, "id") || api_number(c, "id", 0) == p->id) &&
	       api_matches(p->name, api_text(c, "name")) && api_contains(p->name, api_text(c, "keyword")) &&
	       lies_in(c, p);
}

static void list_places(struct api_call *c, enum place_kind kind, const char *key)
{
	struct server *s = c->server;
	size_t n = 0, first, end, at = 0;
	json_t *page = json_array();

	for (size_t i = 0; i < s->n_places; i++)
		n += place_is_wanted(c, &s->places[i], kind);
	api_page(c, n, &first, &end);
	for (size_t i = 0; i < s->n_places; i++) {
		if (!place_is_wanted(c, &s->places[i], kind))
			continue;
		if (at >= first && at < end)
			json_array_append_new(page, place_object(s, &s->places[i]));
		at++;
	}
	api_answer_list(c, key, page, n);
}

static void list_zones(struct api_call *c)
{
	list_places(c, PLACE_ZONE, "zone");
}

static void list_pods(struct api_call *c)
{
	list_places(c, PLACE_POD, "pod");
}

static void list_clusters(struct api_call *c)
{
	list_places(c, PLACE_CLUSTER, "cluster");
}

/* ---- the tables ---- */

/* clang-format off */
static const struct api_param_spec zone_params[] = {
	{"id", API_UUID, false, "The zone", ENTITY_ZONE, 0, false},
	{"name", API_STRING, false, "Its name", ENTITY_NONE, 0, false},
	API_LIST_PARAMS,
};
static const struct api_param_spec pod_params[] = {
	{"id", API_UUID, false, "The pod", ENTITY_POD, 0, false},
	{"name", API_STRING, false, "Its name", ENTITY_NONE, 0, false},
	{"zoneid", API_UUID, false, "Its zone", ENTITY_ZONE, 0, false},
	API_LIST_PARAMS,
};
static const struct api_param_spec cluster_params[] = {
	{"id", API_UUID, false, "The cluster", ENTITY_CLUSTER, 0, false},
	{"name", API_STRING, false, "Its name", ENTITY_NONE, 0, false},
	{"zoneid", API_UUID, false, "Its zone", ENTITY_ZONE, 0, false},
	{"podid", API_UUID, false, "Its pod", ENTITY_POD, 0, false},
	API_LIST_PARAMS,
};
static const struct api_field zone_fields[] = {
	{"id", "string", "Id of the zone"},
	{"name", "string", "Name"},
	{"networktype", "string", "Advanced"},
	{"securitygroupsenabled", "boolean", "false"},
	{"allocationstate", "string", "Enabled"},
	{"localstorageenabled", "boolean", "false"},
	{"tags", "list", "None"},
	{"type", "string", "Core"},
	{"hasannotations", "boolean", "false"},
};
static const struct api_field pod_fields[] = {
	{"id", "string", "Id of the pod"},
	{"name", "string", "Name"},
	{"zoneid", "string", "Its zone"},
	{"zonename", "string", "Name of the zone"},
	{"allocationstate", "string", "Enabled"},
	{"hasannotations", "boolean", "false"},
};
static const struct api_field cluster_fields[] = {
	{"id", "string", "Id of the cluster"},
	{"name", "string", "Name"},
	{"podid", "string", "Its pod"},
	{"podname", "string", "Name of the pod"},
	{"zoneid", "string", "Its zone"},
	{"zonename", "string", "Name of the zone"},
	{"hypervisortype", "string", "KVM"},
	{"clustertype", "string", "CloudManaged"},
	{"allocationstate", "string", "Enabled"},
	{"managedstate", "string", "Managed"},
	{"hasannotations", "boolean", "false"},
};
static const struct api_route routes[] = {
	{.name = "listZones", .handle = list_zones, .right = RIGHT_ANY, .is_list = true, .is_read = true,
	 .description = "Lists zones", ROUTE_PARAMS(zone_params), ROUTE_FIELDS(zone_fields)},
	{.name = "listPods", .handle = list_pods, .right = RIGHT_ADMIN, .is_list = true, .is_read = true,
	 .description = "Lists pods", ROUTE_PARAMS(pod_params), ROUTE_FIELDS(pod_fields)},
	{.name = "listClusters", .handle = list_clusters, .right = RIGHT_ADMIN, .is_list = true, .is_read = true,
	 .description = "Lists clusters", ROUTE_PARAMS(cluster_params), ROUTE_FIELDS(cluster_fields)},
};
/* clang-format on */
const struct api_routes api_places_routes = {routes, ARRAY_SIZE(routes)};
