/*
 * The cluster's settings over the API (query-api 2.9, 3): listConfigurations, updateConfiguration,
 * resetConfiguration. What a key is comes from config.def, what it is set to from memory; a new value is judged by
 * config_check() before the store hears of it.
 */
#include "server/api.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define VALUE_MAX 4096
#define PAGE_MOST 500 /* whatever default.page.size says (query-api 1.12) */

static const char *type_name(enum config_type t)
{
	static const char *const names[] = {
		[CONFIG_TEXT] = "String",   [CONFIG_NUMBER] = "Number", [CONFIG_BOOL] = "Boolean",
		[CONFIG_SELECT] = "Select", [CONFIG_REAL] = "Decimal",  [CONFIG_SERVERS] = "CSV",
	};

	return names[t];
}

/* "indirect.agent.lb.algorithm" -> "Indirect agent lb algorithm" */
static void put_display_text(json_t *o, const char *name)
{
	CLEAN(mem_freep) char *text = mem_strdup(name);

	if (!text)
		return;
	for (char *p = text; *p; p++)
		if (*p == '.')
			*p = ' ';
	text[0] = (char)toupper((unsigned char)text[0]);
	api_put_text(o, "displaytext", text);
}

static json_t *config_object(struct server *s, const struct config_key *k, int64_t cluster_id, const char *scope)
{
	json_t *o = json_object();

	api_put_text(o, "category", k->category);
	api_put_text(o, "group", k->group);
	api_put_text(o, "subgroup", k->subgroup);
	api_put_text(o, "name", k->name);
	api_put_text(o, "value", config_text(s, k->name, cluster_id));
	api_put_text(o, "defaultvalue", k->fallback);
	api_put_text(o, "description", k->description);
	api_put_flag(o, "isdynamic", k->dynamic);
	api_put_text(o, "component", k->component);
	put_display_text(o, k->name);
	api_put_text(o, "type", type_name(k->type));
	api_put_text(o, "options", k->options);
	api_put_text(o, "scope", scope);
	return o;
}

/* ---- which scope is meant ---- */

struct scope {
	bool given;
	bool is_cluster;
	int64_t cluster_id;
};

/* At most one selector; of those that exist, muster's settings know the cluster only. */
static bool take_scope(struct api_call *c, struct scope *out)
{
	static const char *const selectors[] = {
		"zoneid",   "clusterid",      "storageid",    "accountid",
		"domainid", "imagestoreuuid", "imagestoreid", "managementserverid",
	};
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(selectors); i++)
		n += api_has(c, selectors[i]);
	*out = (struct scope){
		.given = n > 0,
		.is_cluster = api_has(c, "clusterid"),
		.cluster_id = api_number(c, "clusterid", 0),
	};
	if (n > 1)
		api_fail(c, API_BAD_PARAM, CS_VALUE, "Only one of the scopes can be given");
	return n <= 1;
}

/* ---- listConfigurations ---- */

static bool group_exists(const char *group)
{
	for (size_t i = 0; i < config_n_keys; i++)
		if (api_matches(config_keys[i].group, group))
			return true;
	return false;
}

static bool key_is_wanted(struct api_call *c, const struct config_key *k, const struct scope *scope)
{
	const char *keyword = api_text(c, "keyword");

	if (strcmp(k->category, "Hidden") == 0 || (scope->given && !(scope->is_cluster && k->per_cluster)))
		return false;
	if (!api_contains(k->name, api_text(c, "name")) || !api_matches(k->category, api_text(c, "category")) ||
	    !api_matches(k->group, api_text(c, "group")) || !api_matches(k->subgroup, api_text(c, "subgroup")))
		return false;
	if (!str_is_blank(api_text(c, "parent")))
		return false; /* no key of ours hangs on another */
	return api_contains(k->name, keyword) || api_contains(k->component, keyword) ||
	       api_contains(k->description, keyword) || api_contains(k->category, keyword) ||
	       api_contains(config_text(c->server, k->name, scope->cluster_id), keyword);
}

static int by_name(const void *a, const void *b)
{
	const struct config_key *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static void list_configurations(struct api_call *c)
{
	CLEAN(mem_freep)
	const struct config_key **keys = mem_zalloc_array(config_n_keys, sizeof(const struct config_key *));
	const char *group = api_text(c, "group");
	json_t *page = json_array();
	struct scope scope;
	size_t n = 0, first, end;

	if (!keys || !page) {
		json_decref(page);
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	if (!take_scope(c, &scope)) {
		json_decref(page);
		return;
	}
	if ((!group && api_has(c, "subgroup")) || (group && !group_exists(group))) {
		json_decref(page);
		api_fail(c, API_BAD_PARAM, CS_VALUE,
			 group ? "There is no group \"%s\"" : "A subgroup needs its group%s", group ? group : "");
		return;
	}
	for (size_t i = 0; i < config_n_keys; i++)
		if (key_is_wanted(c, &config_keys[i], &scope))
			keys[n++] = &config_keys[i];
	qsort(keys, n, sizeof(*keys), by_name);
	if (group) /* shown whole */
		c->paging = (struct api_paging){.room = SIZE_MAX};
	api_page(c, n, &first, &end);
	for (size_t i = first; i < end; i++)
		json_array_append_new(
			page, config_object(c->server, keys[i], scope.cluster_id, scope.given ? "cluster" : NULL));
	api_answer_list(c, "configuration", page, n);
}

/* ---- updateConfiguration, resetConfiguration ---- */

struct change_config {
	const struct config_key *key;
	struct scope scope;
	char *value; /* owned; NULL: the row is removed */
	bool changed;
	size_t n_servers; /* of the list after the change; 0: not repaired */
	size_t moved;
	size_t n_pins;          /* before a new list */
	const char *scope_name; /* in the answer */
};

static void change_free(void *state)
{
	struct change_config *w = state;

	mem_free(w->value);
	mem_free(w);
}

static enum err change_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct change_config *w = c->state;
	enum err e = store_config_set(tx, w->key->name, w->scope.is_cluster ? "cluster" : CONFIG_GLOBAL,
				      w->scope.cluster_id, w->value, &w->changed);

	/* Another number of servers spreads the same slots differently (docs/placement.md, "Slots"). */
	if (!e && w->changed && w->n_servers)
		e = store_slots_repair(tx, w->n_servers, &w->moved);
	return e;
}

static size_t pins(struct server *s)
{
	struct host *h;
	size_t cursor = 0, n = 0;

	while ((h = roster_next(s, &cursor)))
		n += placement_pin(s, &h->row) != NULL;
	return n;
}

/* A pin goes with its server (docs/placement.md, Balanced 10). */
static void put_dropped_pins(json_t *o, struct api_call *c, const struct change_config *w)
{
	size_t left = w->key->type == CONFIG_SERVERS ? pins(c->server) : 0;

	if (w->key->type != CONFIG_SERVERS || left >= w->n_pins)
		return;
	api_put_number(o, "musterpinsdropped", (int64_t)(w->n_pins - left));
	event_add(c->server, "HOST.UNPIN", "WARN", 0,
		  "%zu pins of hosts ended with the servers that they were pinned to", w->n_pins - left);
}

/* From now on somebody gets in who proves nothing: no event among others. */
static bool opens_the_door(const struct change_config *w)
{
	return str_equal(w->key->name, "ca.plugin.root.auth.strictness") && str_equal(w->value, "false");
}

static void change_then(struct api_call *c, enum err result, const char *sentence)
{
	struct change_config *w = c->state;
	struct server *s = c->server;
	json_t *o;

	if (result) {
		api_fail_err(c, result, sentence);
		return;
	}
	if (w->changed)
		event_add(s, "CONFIGURATION.VALUE.EDIT", opens_the_door(w) ? "WARN" : "INFO", 0,
			  "%s set %s%s to \"%s\"", c->account, w->key->name, w->scope.is_cluster ? " of a cluster" : "",
			  w->value ? w->value : "its default");
	o = config_object(s, w->key, w->scope.cluster_id, w->scope_name);
	put_dropped_pins(o, c, w);
	api_answer_object(c, "configuration", o);
}

/*
 * CloudStack agents know no ports: to them M1:9000 is M1, at the port that they all knock at. A list without any server
 * there leaves them without entries (decision 20).
 */
static bool leaves_agents_without(struct server *s, const struct str_list *servers)
{
	struct host *h;
	size_t cursor = 0;

	for (size_t i = 0; i < servers->n; i++) {
		struct server_address a;

		if (server_address_parse(&a, servers->items[i], NULL) == ERR_OK &&
		    (a.port == 0 || a.port == SERVER_LIST_PORT || a.port == server_port(s)))
			return false;
	}
	while ((h = roster_next(s, &cursor)))
		if (!h->row.is_muster && h->row.status != HOST_CREATING)
			return true;
	return false;
}

/* What follows from a new `host`: false when it is refused, with the answer given. */
static bool take_servers(struct api_call *c, struct change_config *w)
{
	struct str_list servers = {0};
	bool refused = false;

	if (w->value && server_list_parse_setting(&servers, w->value, NULL) == ERR_OK) {
		refused = !api_flag(c, "forced") && leaves_agents_without(c->server, &servers);
		w->n_servers = servers.n;
	} else if (!w->value) {
		/* Unset: the registered servers make the list. */
		list_for (m, &c->server->servers, struct member_server, in_servers)
			w->n_servers++;
	}
	if (w->n_servers == lists_servers(c->server)->n)
		w->n_servers = 0;
	w->n_pins = pins(c->server);
	str_list_deinit(&servers);
	if (refused)
		api_fail(
			c, API_BAD_PARAM, CS_VALUE,
			"host: CloudStack agents know no ports, and no entry is a server on port %d: they would be left without "
			"a server; forced=true sets it all the same",
			SERVER_LIST_PORT);
	return !refused;
}

/* key and scope are right together: the change begins. */
static void change_begin(struct api_call *c, const struct config_key *k, const struct scope *scope, char *take_value)
{
	struct change_config *w = mem_zalloc(sizeof(*w));

	if (!w) {
		mem_free(take_value);
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	*w = (struct change_config){.key = k, .scope = *scope, .value = take_value};
	w->scope_name = !scope->is_cluster ? NULL : take_value ? "cluster" : "Cluster";
	c->state = w;
	c->state_free = change_free;
	if (k->type == CONFIG_SERVERS && !take_servers(c, w))
		return;
	api_write(c, change_run, change_then);
}

/* NULL: unknown or not for this scope; then the answer is given. */
static const struct config_key *take_key(struct api_call *c, struct scope *scope)
{
	const struct config_key *k = config_find(api_text(c, "name"));

	if (!k) {
		api_fail(c, API_BAD_PARAM, CS_VALUE, "There is no setting \"%.100s\"", api_text(c, "name"));
		return NULL;
	}
	if (!take_scope(c, scope))
		return NULL;
	if (scope->given && !(scope->is_cluster && k->per_cluster)) {
		api_fail(c, API_BAD_PARAM, CS_VALUE, "%s can't be set for this scope", k->name);
		return NULL;
	}
	return k;
}

/* Who signs is not changed under agents that are connected, nor by who only has the API (D23). */
static bool is_for_the_api(struct api_call *c, const struct config_key *k, const char *value)
{
	if (!str_equal(k->name, "ca.framework.provider.plugin") || str_equal(value, config_text(c->server, k->name, 0)))
		return true;
	api_fail(c, API_BAD_PARAM, CS_VALUE,
		 "%s is not changed here: `muster-server ca use %s` does it, on a server's host, while no server runs",
		 k->name, value);
	return false;
}

static void update_configuration(struct api_call *c)
{
	struct scope scope;
	const struct config_key *k = take_key(c, &scope);
	struct why why = WHY_NONE;
	char *normal = NULL;
	enum err e;

	if (!k)
		return;
	if (!api_has(c, "value")) {
		api_fail(c, API_BAD_PARAM, CS_VALUE,
			 "%s: no value was given; resetConfiguration sets the default again", k->name);
		return;
	}
	e = config_check(k, api_text(c, "value"), &normal, &why);
	if (e)
		api_fail_err(c, e, why_text(&why, e));
	else if (is_for_the_api(c, k, normal))
		change_begin(c, k, &scope, normal);
	else
		mem_free(normal);
}

static void reset_configuration(struct api_call *c)
{
	struct scope scope;
	const struct config_key *k = take_key(c, &scope);

	if (k && is_for_the_api(c, k, k->fallback))
		change_begin(c, k, &scope, NULL);
}

/* ---- the tables ---- */

/* clang-format off */
#define SCOPE_PARAMS                                                                                                  \
	{"zoneid", API_STRING, false, "Value for a zone", ENTITY_NONE, 0, false},                                      \
	{"clusterid", API_UUID, false, "Value for a cluster", ENTITY_CLUSTER, 0, false},                               \
	{"storageid", API_STRING, false, "Value for a storage pool", ENTITY_NONE, 0, false},                           \
	{"accountid", API_STRING, false, "Value for an account", ENTITY_NONE, 0, false},                               \
	{"domainid", API_STRING, false, "Value for a domain", ENTITY_NONE, 0, false},                                  \
	{"imagestoreuuid", API_STRING, false, "Value for an image store", ENTITY_NONE, 0, false},                      \
	{"imagestoreid", API_STRING, false, "Value for an image store", ENTITY_NONE, 0, false},                        \
	{"managementserverid", API_STRING, false, "Value for a management server", ENTITY_NONE, 0, false}

static const struct api_param_spec list_params[] = {
	{"name", API_STRING, false, "Part of the setting's name", ENTITY_NONE, 0, false},
	{"category", API_STRING, false, "Settings of this category", ENTITY_NONE, 0, false},
	{"group", API_STRING, false, "Settings of this group", ENTITY_NONE, 0, false},
	{"subgroup", API_STRING, false, "Settings of this subgroup of the group", ENTITY_NONE, 0, false},
	{"parent", API_STRING, false, "Settings that depend on this one", ENTITY_NONE, 0, false},
	SCOPE_PARAMS,
	API_LIST_PARAMS,
};
static const struct api_param_spec update_params[] = {
	{"name", API_STRING, true, "The setting", ENTITY_NONE, 0, false},
	{"value", API_STRING, false, "The new value", ENTITY_NONE, VALUE_MAX, false},
	{"forced", API_BOOLEAN, false, "Also when it leaves CloudStack agents without a server", ENTITY_NONE, 0, false},
	SCOPE_PARAMS,
};
static const struct api_param_spec reset_params[] = {
	{"name", API_STRING, true, "The setting", ENTITY_NONE, 0, false},
	SCOPE_PARAMS,
};
static const struct api_field fields[] = {
	{"category", "string", "Category of the setting"},
	{"group", "string", "Group"},
	{"subgroup", "string", "Subgroup"},
	{"name", "string", "Name"},
	{"value", "string", "Value in force; absent when there is none"},
	{"defaultvalue", "string", "Value when nothing is set"},
	{"description", "string", "What it is for"},
	{"isdynamic", "boolean", "Takes effect without a restart"},
	{"component", "string", "Who uses it"},
	{"displaytext", "string", "Name for people"},
	{"type", "string", "String, Number, Decimal, Boolean, Select or CSV"},
	{"options", "string", "The values it may have"},
	{"scope", "string", "Scope of the value, when one was asked for"},
	{"musterpinsdropped", "long", "A new host: pins that ended with the servers that they were to"},
};
static const struct api_route routes[] = {
	{.name = "listConfigurations", .handle = list_configurations, .right = RIGHT_ADMIN, .is_list = true, .is_read = true,
	 .description = "Lists settings of the cluster", .page_most = PAGE_MOST, ROUTE_PARAMS(list_params), ROUTE_FIELDS(fields)},
	{.name = "updateConfiguration", .handle = update_configuration, .right = RIGHT_ADMIN,
	 .description = "Sets a setting of the cluster", ROUTE_PARAMS(update_params), ROUTE_FIELDS(fields)},
	{.name = "resetConfiguration", .handle = reset_configuration, .right = RIGHT_ADMIN,
	 .description = "Gives a setting its default again", ROUTE_PARAMS(reset_params), ROUTE_FIELDS(fields)},
};
/* clang-format on */
const struct api_routes api_config_routes = {routes, ARRAY_SIZE(routes)};
