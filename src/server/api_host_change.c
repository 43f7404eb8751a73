/*
 * Changes of hosts over the API (query-api 2.7): addHost reserves one and gives the token to join with, deleteHost
 * takes one away with its certificates; and muster's own allowWeakerIdentity.
 */
#include "server/api.h"

#include <stdio.h>
#include <string.h>

#define REVOKED_WITH "host deleted"

/* ---- addHost ---- */

struct adding {
	struct host_row row;
	struct api_token token;
	char place_uuids[3][UUID_TEXT];
	char zone[24], pod[24]; /* numbers as texts, or names */
	const char *cluster;
};

static void adding_free(void *state)
{
	struct adding *a = state;

	host_row_deinit(&a->row);
	api_token_free(&a->token);
	mem_free(a);
}

/* "http://kvm1:22/" -> "kvm1" */
static bool host_of_url(char *out, size_t size, const char *url)
{
	const char *at = strstr(url, "://");
	struct server_address a;
	char text[SERVER_HOST_MAX + 9];

	at = at ? at + 3 : url;
	if (!str_copy(text, sizeof(text), at))
		return false;
	text[strcspn(text, "/?#")] = '\0';
	return server_address_parse(&a, text, NULL) == ERR_OK && str_copy(out, size, a.host);
}

static enum err add_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct adding *a = c->state;
	struct host_row fresh = {0};
	enum err e = store_place_find_or_make(tx, PLACE_ZONE, 0, a->zone, a->place_uuids[0], &a->row.zone_id);

	if (!e)
		e = store_place_find_or_make(tx, PLACE_POD, a->row.zone_id, a->pod, a->place_uuids[1], &a->row.pod_id);
	if (!e)
		e = store_place_find_or_make(tx, PLACE_CLUSTER, a->row.pod_id, a->cluster, a->place_uuids[2],
					     &a->row.cluster_id);
	if (!e)
		e = host_row_copy(&fresh, &a->row);
	if (!e)
		e = store_host_create(tx, &fresh);
	if (!e) {
		a->row.id = fresh.id;
		a->row.slot = fresh.slot;
		a->token.row.host_id = fresh.id;
		e = store_token_add(tx, &a->token.row);
	}
	host_row_deinit(&fresh);
	return e;
}

static void add_then(struct api_call *c, enum err result, const char *sentence)
{
	struct adding *a = c->state;
	struct host *h;
	json_t *page, *o;

	if (result) {
		api_fail_err(c, result == ERR_NOT_FOUND ? ERR_INVALID : result, sentence);
		return;
	}
	event_add(c->server, "HOST.RESERVE", "INFO", a->row.id, "%s reserved host %s", c->account, a->row.name);
	h = roster_host(c->server, a->row.id);
	o = host_object(c->server, h ? &h->row : &a->row, DETAIL_ALL);
	api_put_text(o, "musterjointoken", a->token.text);
	page = json_array();
	json_array_append_new(page, o);
	api_answer_list(c, "host", page, 1);
}

static enum err adding_fill(struct adding *a, struct api_call *c, const char *address)
{
	struct server *s = c->server;
	struct host_row *row = &a->row;
	const char *name = api_text(c, "name");
	char guid[UUID_TEXT];

	world_uuid(s->world, guid);
	world_uuid(s->world, row->uuid);
	for (size_t i = 0; i < ARRAY_SIZE(a->place_uuids); i++)
		world_uuid(s->world, a->place_uuids[i]);
	row->guid = mem_strdup(guid);
	row->name = mem_strdup(str_is_blank(name) ? address : name);
	row->type = mem_strdup("Routing");
	row->resource_name = mem_strdup("LibvirtComputingResource");
	row->hypervisor = mem_strdup(str_is_blank(api_text(c, "hypervisor")) ? "KVM" : api_text(c, "hypervisor"));
	row->version = mem_strdup("");
	row->arch = mem_strdup("");
	row->private_ip = mem_strdup(server_host_is_address(address) ? address : "");
	row->capabilities = mem_strdup("");
	row->is_muster = true;
	row->ms_interval = -1;
	row->status = HOST_CREATING;
	row->resource_state = RESOURCE_ENABLED;
	row->created_ms = world_wall_ms(s->world);
	if (!row->guid || !row->name || !row->type || !row->resource_name || !row->hypervisor || !row->version ||
	    !row->arch || !row->private_ip || !row->capabilities)
		return ERR_NOMEM;
	str_make_printable(row->name);
	str_make_printable(row->hypervisor);
	return api_token_make(
		&a->token, s,
		&(struct api_token_wish){.role = "agent", .lifetime_s = api_number(c, "lifetime", 0), .guid = guid});
}

/* Pod and cluster must lie in what was said above them. */
static bool take_places(struct api_call *c, struct adding *a)
{
	struct server *s = c->server;
	int64_t cluster_id = api_number(c, "clusterid", 0), pod_id = api_number(c, "podid", 0),
		zone_id = api_number(c, "zoneid", 0);
	const struct place_row *cluster = cluster_id ? api_place(s, PLACE_CLUSTER, cluster_id) : NULL;
	const struct place_row *pod;

	if (cluster && pod_id && cluster->parent != pod_id)
		goto wrong;
	if (cluster)
		pod_id = cluster->parent;
	pod = pod_id ? api_place(s, PLACE_POD, pod_id) : NULL;
	if (pod && zone_id && pod->parent != zone_id)
		goto wrong;
	if (pod)
		zone_id = pod->parent;
	if (zone_id)
		snprintf(a->zone, sizeof(a->zone), "%lld", (long long)zone_id);
	else
		str_copy(a->zone, sizeof(a->zone), "default");
	if (pod)
		snprintf(a->pod, sizeof(a->pod), "%lld", (long long)pod_id);
	else
		str_copy(a->pod, sizeof(a->pod), "default");
	a->cluster = cluster                     ? api_text(c, "clusterid")
		     : api_has(c, "clustername") ? api_text(c, "clustername")
						 : "default";
	if (cluster)
		a->cluster = cluster->name;
	return true;
wrong:
	api_fail(c, API_BAD_PARAM, CS_VALUE, "Zone, pod and cluster do not belong together");
	return false;
}

static void add_host(struct api_call *c)
{
	const char *url = api_text(c, "url"), *name = api_text(c, "name");
	char address[SERVER_HOST_MAX];
	struct adding *a;

	if (str_is_blank(url))
		url = name;
	if (str_is_blank(url)) {
		api_fail(c, API_BAD_PARAM, CS_API, "Parameter url is missing");
		return;
	}
	if (!host_of_url(address, sizeof(address), url)) {
		api_fail(c, API_BAD_PARAM, CS_VALUE, "url: \"%.100s\" has no usable host in it", url);
		return;
	}
	if (api_has(c, "clusterid") && api_has(c, "clustername")) {
		api_fail(c, API_BAD_PARAM, CS_VALUE, "Give clusterid or clustername, not both");
		return;
	}
	a = mem_zalloc(sizeof(*a));
	c->state = a;
	c->state_free = adding_free;
	if (!a) {
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	if (!take_places(c, a))
		return;
	if (adding_fill(a, c, address))
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
	else
		api_write(c, add_run, add_then);
}

/* ---- deleteHost ---- */

struct deleting {
	char *name;
	size_t n_servers;
	size_t revoked, moved;
};

static void deleting_free(void *state)
{
	struct deleting *d = state;

	mem_free(d->name);
	mem_free(d);
}

static bool is_connected(enum host_status s)
{
	return s == HOST_UP || s == HOST_CONNECTING || s == HOST_REBALANCING;
}

static enum err delete_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct deleting *d = c->state;
	size_t n_other = 0;
	struct host_row row = {0};
	enum err e = store_host_get(tx, api_number(c, "id", 0), &row);

	if (!e && row.removed_ms)
		e = ERR_NOT_FOUND;
	/* CloudStack wants Maintenance (or Degraded); muster also lets a host go that is not connected. */
	if (!e && !api_flag(c, "forced") && is_connected(row.status) && row.resource_state != RESOURCE_MAINTENANCE &&
	    row.resource_state != RESOURCE_DEGRADED) {
		why_set(why, "Host %s is connected and not in maintenance: forced=true removes it all the same",
			row.name);
		e = ERR_STATE;
	}
	if (!e)
		e = store_host_remove(tx, row.id, d->n_servers, &d->moved);
	if (!e && !api_flag(c, "keepcertificate"))
		e = store_cert_revoke_subject_by(tx, "agent", row.guid, c->account, REVOKED_WITH, &d->revoked);
	/* Those of CloudStack's kind name nobody; what was provisioned is recorded as the host's. */
	if (!e && !api_flag(c, "keepcertificate"))
		e = store_cert_revoke_subject_by(tx, "other", row.guid, c->account, REVOKED_WITH, &n_other);
	if (!e)
		d->revoked += n_other;
	/* The one it came with last may be from before our records: a CloudStack agent's, say. */
	if (!e && !api_flag(c, "keepcertificate") && row.cert_serial)
		e = store_cert_revoke_by(tx, row.cert_serial, row.name, c->account, REVOKED_WITH);
	host_row_deinit(&row);
	return e;
}

static void delete_then(struct api_call *c, enum err result, const char *sentence)
{
	struct deleting *d = c->state;

	if (result) {
		api_fail_err(c, result, sentence);
		return;
	}
	event_add(c->server, "HOST.DELETE", "INFO", api_number(c, "id", 0),
		  "%s removed host %s; certificates revoked: %zu", c->account, d->name, d->revoked);
	api_answer_success(c);
}

static void delete_host(struct api_call *c)
{
	struct deleting *d = mem_zalloc(sizeof(*d));
	struct host *h = roster_host(c->server, api_number(c, "id", 0));

	c->state = d;
	c->state_free = deleting_free;
	if (d) {
		d->name = mem_strdup(h ? h->row.name : "");
		d->n_servers = lists_servers(c->server)->n;
	}
	if (!d || !d->name)
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
	else
		api_write(c, delete_run, delete_then);
}

/* ---- allowWeakerIdentity ---- */

static enum err weaker_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	return store_host_allow_weaker(tx, api_number(c, "id", 0), true);
}

static void weaker_then(struct api_call *c, enum err result, const char *sentence)
{
	if (result) {
		api_fail_err(c, result, sentence);
		return;
	}
	event_add(c->server, "HOST.WEAKER.IDENTITY", "WARN", api_number(c, "id", 0),
		  "%s allowed host %s to connect once with a weaker identity", c->account, api_text(c, "id"));
	api_answer_success(c);
}

static void allow_weaker_identity(struct api_call *c)
{
	api_write(c, weaker_run, weaker_then);
}

/* ---- the tables ---- */

/* clang-format off */
static const struct api_param_spec add_params[] = {
	{"url", API_STRING, false, "http://ADDRESS of the host; or name", ENTITY_NONE, 0, false},
	{"name", API_STRING, false, "Name of the host; default: from url", ENTITY_NONE, 0, false},
	{"zoneid", API_UUID, false, "Its zone; default: default", ENTITY_ZONE, 0, false},
	{"podid", API_UUID, false, "Its pod; default: default", ENTITY_POD, 0, false},
	{"clusterid", API_UUID, false, "Its cluster; default: default", ENTITY_CLUSTER, 0, false},
	{"clustername", API_STRING, false, "Its cluster by name, made when missing", ENTITY_NONE, 0, false},
	{"hypervisor", API_STRING, false, "Its hypervisor; default: KVM", ENTITY_NONE, 0, false},
	{"lifetime", API_LONG, false, "Seconds that the join token is valid", ENTITY_NONE, 0, false},
	{"username", API_STRING, false, "Not used: nothing goes over SSH", ENTITY_NONE, 0, false},
	{"password", API_STRING, false, "Not used: nothing goes over SSH", ENTITY_NONE, 0, false},
};
static const struct api_param_spec delete_params[] = {
	{"id", API_UUID, true, "The host", ENTITY_HOST, 0, false},
	{"forced", API_BOOLEAN, false, "Also while it is connected", ENTITY_NONE, 0, false},
	{"keepcertificate", API_BOOLEAN, false, "Do not revoke its certificates", ENTITY_NONE, 0, false},
	{"forcedestroylocalstorage", API_BOOLEAN, false, "No effect", ENTITY_NONE, 0, false},
};
static const struct api_param_spec id_params[] = {
	{"id", API_UUID, true, "The host", ENTITY_HOST, 0, false},
};
static const struct api_field success_fields[] = {
	{"success", "boolean", "true"},
	{"displaytext", "string", "More about it"},
};
static const struct api_route routes[] = {
	{.name = "addHost", .handle = add_host, .right = RIGHT_ADMIN,
	 .description = "Reserves a host and gives the token that its agent joins with", ROUTE_PARAMS(add_params), .fields = host_fields, .n_fields = HOST_N_FIELDS},
	{.name = "deleteHost", .handle = delete_host, .right = RIGHT_ADMIN,
	 .description = "Removes a host that is in maintenance or not connected, or any with forced; revokes its certificates", ROUTE_PARAMS(delete_params), ROUTE_FIELDS(success_fields)},
	{.name = "allowWeakerIdentity", .handle = allow_weaker_identity, .right = RIGHT_ADMIN,
	 .description = "Lets a host connect once with a weaker identity than before", ROUTE_PARAMS(id_params),
	 ROUTE_FIELDS(success_fields)},
};
/* clang-format on */
const struct api_routes api_host_change_routes = {routes, ARRAY_SIZE(routes)};
