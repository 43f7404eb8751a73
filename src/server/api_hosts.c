/*
 * Hosts over the API (query-api 2.5, 2.7, 2.8): listHosts, addHost, deleteHost, reconnectHost, and muster's own
 * checkHost, getHostStats and allowWeakerIdentity.
 *
 * Hosts are filtered in memory; the rows of one page are read from the store, a chunk at a time: details are only
 * there, and what agents of other servers have confirmed is newer there. When the store does not answer, memory does.
 */
#include "server/api.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CHUNK 200
#define CHECK_MS 60000

/* ---- what a host's list says ---- */

static bool same_host_name(const char *entry, const struct server_row *server)
{
	struct server_address a, b;

	return server_address_parse(&a, entry, NULL) == ERR_OK &&
	       server_address_parse(&b, server->address, NULL) == ERR_OK && str_equal_nocase(a.host, b.host);
}

bool host_entry_is(const struct host_row *row, const char *entry, const struct server_row *server)
{
	/* Entries of a CloudStack agent have lost their ports. */
	return lists_entry_is(entry, server) || (!row->is_muster && same_host_name(entry, server));
}

void host_view_make(struct host_view *v, struct server *s, const struct host_row *row)
{
	const struct host *h = roster_host(s, row->id);
	const struct session *x = h ? h->session : NULL;
	struct server_list_walk w;

	*v = (struct host_view){
		.list = x && x->reported ? x->reported : row->ms_list,
		.interval = x ? x->interval_told : row->ms_interval,
		.owner = row->owner ? roster_server(s, row->owner) : NULL,
		.is_up = row->status == HOST_UP,
		.reconnecting = h && h->lost_at.us != 0,
	};
	server_list_walk_init(&w, v->list);
	if (server_list_walk_next(&w) && w.entry_len < sizeof(v->preferred))
		memcpy(v->preferred, w.entry, w.entry_len);
	if (!v->is_up)
		return;
	v->is_outdated = !lists_is_current(s, row, v->list) || v->interval != lists_interval(s, row->cluster_id);
	v->is_off_preferred = v->owner && v->preferred[0] && !host_entry_is(row, v->preferred, &v->owner->row);
}

void host_learn(struct server *s, const struct host_row *row)
{
	struct host *h = roster_host(s, row->id);
	char *copy;

	/* Our own agents' lists are known here first; another epoch comes with its change. */
	if (!h || h->session || h->row.epoch != row->epoch)
		return;
	if (!str_equal(h->row.ms_list, row->ms_list)) {
		copy = mem_strdup(row->ms_list);
		if (row->ms_list && !copy)
			return;
		mem_free(h->row.ms_list);
		h->row.ms_list = copy;
	}
	h->row.ms_interval = row->ms_interval;
	h->row.last_ping_ms = row->last_ping_ms;
}

const struct place_row *api_place(const struct server *s, enum place_kind kind, int64_t id)
{
	for (size_t i = 0; i < s->n_places; i++)
		if (s->places[i].kind == kind && s->places[i].id == id)
			return &s->places[i];
	return NULL;
}

/* ---- the host object ---- */

static void put_places(json_t *o, struct server *s, const struct host_row *row, bool names)
{
	const struct place_row *zone = api_place(s, PLACE_ZONE, row->zone_id);
	const struct place_row *pod = api_place(s, PLACE_POD, row->pod_id);
	const struct place_row *cluster = api_place(s, PLACE_CLUSTER, row->cluster_id);

	api_put_text(o, "zoneid", zone ? zone->uuid : NULL);
	api_put_text(o, "zonename", zone && names ? zone->name : NULL);
	api_put_text(o, "podid", pod ? pod->uuid : NULL);
	api_put_text(o, "podname", pod && names ? pod->name : NULL);
	api_put_text(o, "clusterid", cluster ? cluster->uuid : NULL);
	api_put_text(o, "clustername", cluster && names ? cluster->name : NULL);
	if (cluster && names)
		api_put_text(o, "clustertype", "CloudManaged");
}

/* "AgentConnected; Ping; ...": what may happen next. */
static void put_events(json_t *o, enum host_status status)
{
	struct str_list events = {0};
	enum host_status to;
	CLEAN(mem_freep) char *text = NULL;

	for (int e = 0; e < EVENT_N; e++)
		if (host_status_move(status, (enum host_event)e, &to) &&
		    str_list_add(&events, host_event_name((enum host_event)e)))
			break;
	text = str_list_join(&events, "; ");
	api_put_text(o, "events", text);
	str_list_deinit(&events);
}

static int64_t number_in(const json_t *facts, const char *name)
{
	return json_integer_value(json_object_get(facts, name));
}

/* What the startup told: processors, memory, the map of details. */
static void put_facts(json_t *o, const struct host_row *row, unsigned details)
{
	json_t *facts = row->details ? json_loads(row->details, 0, NULL) : NULL;
	json_t *map = json_object_get(facts, "details");
	json_int_t memory = number_in(facts, "memory");

	if (facts) {
		api_put_number(o, "cpusockets", number_in(facts, "cpuSockets"));
		api_put_number(o, "cpunumber", number_in(facts, "cpus"));
		api_put_number(o, "cpuspeed", number_in(facts, "speed"));
	}
	api_put_number(o, "memoryallocated", 0);
	if (details & DETAIL_CAPACITY) {
		char text[24];

		snprintf(text, sizeof(text), "%lld", (long long)memory);
		api_put_text(o, "arch", row->arch && *row->arch ? row->arch : NULL);
		api_put_text(o, "hypervisorversion", json_string_value(json_object_get(facts, "hypervisorVersion")));
		if (facts) {
			api_put_number(o, "memorytotal", memory);
			api_put_text(o, "memorywithoverprovisioning", text);
		}
		api_put_number(o, "memoryallocatedbytes", 0);
		api_put_text(o, "memoryallocatedpercentage", "0%");
		api_put_flag(o, "hahost", false);
	}
	if ((details & 8) && json_is_object(map)) {
		json_object_del(map, "username");
		json_object_del(map, "password");
		json_object_set(o, "details", map);
	}
	json_decref(facts);
}

static void put_list(json_t *o, struct server *s, const struct host_row *row)
{
	struct str_list list = {0}, expected = {0};
	CLEAN(mem_freep) char *algorithm = NULL;
	struct host_view v;
	const char *connected = NULL;
	char own[SERVER_HOST_MAX + 9];

	host_view_make(&v, s, row);
	if (server_list_parse_reported(&list, &algorithm, v.list ? v.list : "")) {
		str_list_deinit(&list);
		return;
	}
	for (size_t i = 0; v.owner && i < list.n && !connected; i++)
		if (host_entry_is(row, list.items[i], &v.owner->row))
			connected = list.items[i];
	if (v.owner && !connected && lists_entry_of(&v.owner->row, own, sizeof(own)) == ERR_OK)
		connected = own;

	api_put_number(o, "musterhostid", row->id);
	api_put_texts(o, "musterlist", &list);
	api_put_text(o, "musteralgorithm", algorithm);
	api_put_text(o, "musterpreferred", v.preferred[0] ? v.preferred : NULL);
	api_put_text(o, "musterconnected", connected);
	api_put_flag(o, "musteroutdated", v.is_outdated);
	api_put_number(o, "musterinterval", v.interval < 0 ? 0 : v.interval);
	api_put_number(o, "musterslot", (int64_t)row->slot);
	api_put_flag(o, "mustersecured", row->secured);
	api_put_flag(o, "mustermuster", row->is_muster);
	api_put_flag(o, "musterreconnecting", v.reconnecting);
	/* A shuffled list is as good as any other order of it. */
	if (lists_algorithm(s) != ALGORITHM_SHUFFLE && lists_for_host(s, row, &expected) == ERR_OK)
		api_put_texts(o, "musterexpected", &expected);
	str_list_deinit(&expected);
	str_list_deinit(&list);
}

json_t *host_object(struct server *s, const struct host_row *row, unsigned details)
{
	const struct member_server *owner = row->owner ? roster_server(s, row->owner) : NULL;
	json_t *o = json_object();

	api_put_text(o, "id", row->uuid);
	api_put_text(o, "name", row->name);
	api_put_text(o, "state", host_status_name(row->status));
	api_put_text(o, "type", row->type);
	api_put_text(o, "resourcestate", resource_state_name(row->resource_state));
	api_put_text(o, "ipaddress", row->private_ip);
	put_places(o, s, row, details & DETAIL_PLACE);
	api_put_text(o, "version", row->version);
	api_put_text(o, "hypervisor", row->hypervisor);
	api_put_text(o, "capabilities", row->capabilities);
	put_facts(o, row, details);
	api_put_date(o, "created", row->created_ms);
	api_put_date(o, "removed", row->removed_ms);
	api_put_date(o, "disconnected", row->disconnected_ms);
	api_put_date(o, "lastpinged", row->last_ping_ms);
	api_put_text(o, "managementserverid", owner ? owner->row.uuid : NULL);
	api_put_text(o, "managementservername", owner ? owner->row.name : NULL);
	if (details & DETAIL_EVENTS)
		put_events(o, row->status);
	api_put_flag(o, "islocalstorageactive", false);
	api_put_flag(o, "ueficapability", false);
	api_put_flag(o, "hasannotations", false);
	json_object_set_new(o, "hostha", json_pack("{s:b,s:s}", "haenable", 0, "hastate", "Disabled"));
	json_object_set_new(o, "outofbandmanagement", json_pack("{s:s,s:b}", "powerstate", "Disabled", "enabled", 0));
	put_list(o, s, row);
	return o;
}

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

static bool is_literal(const char *host)
{
	return strchr(host, ':') || strspn(host, "0123456789.") == strlen(host);
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
	row->private_ip = mem_strdup(is_literal(address) ? address : "");
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
	return api_token_make(&a->token, s, "agent", api_number(c, "lifetime", 0), 1, NULL, guid, 0);
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
	struct host_row row = {0};
	enum err e = store_host_get(tx, api_number(c, "id", 0), &row);

	if (!e && row.removed_ms)
		e = ERR_NOT_FOUND;
	/* CloudStack wants Maintenance; a host that isn't there any more does no harm either. */
	if (!e && !api_flag(c, "forced") && is_connected(row.status) && row.resource_state != RESOURCE_MAINTENANCE &&
	    row.resource_state != RESOURCE_DEGRADED) {
		why_set(why, "Host %s is connected and not in maintenance: forced=true removes it all the same",
			row.name);
		e = ERR_STATE;
	}
	if (!e)
		e = store_host_remove(tx, row.id, d->n_servers, &d->moved);
	if (!e && !api_flag(c, "keepcertificate"))
		e = store_cert_revoke_subject(tx, "agent", row.guid, &d->revoked);
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

/* ---- reconnectHost, checkHost, getHostStats: jobs ---- */

static struct host *host_of(struct api_job *j)
{
	struct host *h = roster_host(j->server, j->host_id);

	if (!h)
		api_job_fail(j, API_FAILED, "The host is gone");
	return h;
}

static void reconnect_ends(struct api_job *j)
{
	json_t *result = json_object();

	json_object_set_new(result, "host", STEAL(j->object));
	api_job_succeed(j, result);
}

static void reconnect_work(struct api_job *j)
{
	struct server *s = j->server;
	struct host *h = host_of(j);
	enum err e = ERR_OK;

	if (!h)
		return;
	if (h->session && (h->session->state == SESSION_ATTACHED || h->session->state == SESSION_READY))
		session_end(h->session, ERR_CLOSED, "reconnect requested", EVENT_SHUTDOWN_REQUESTED);
	else if (h->row.status == HOST_DISCONNECTED)
		; /* it comes by itself */
	else if (h->row.owner && h->row.owner != s->msid)
		e = peer_change_agent(s, h->row.owner, h->row.id, EVENT_SHUTDOWN_REQUESTED, NULL);
	else
		e = ERR_STATE;
	if (e == ERR_STATE)
		api_job_fail(j, API_FAILED, "Host %s is %s, not connected", h->row.name,
			     host_status_name(h->row.status));
	else if (e)
		api_job_fail(j, API_FAILED, "The management server that has host %s can't be reached", h->row.name);
	else
		reconnect_ends(j);
}

static void reconnect_host(struct api_call *c)
{
	struct host *h = roster_host(c->server, api_number(c, "id", 0));

	event_add(c->server, "HOST.RECONNECT", "INFO", h->row.id, "%s asks host %s to reconnect", c->account,
		  h->row.name);
	api_job_begin(c, h, host_object(c->server, &h->row, DETAIL_PLACE | DETAIL_EVENTS), reconnect_work);
}

static bool has_no_agent(struct api_job *j, enum err result, const char *sentence, const struct batch *answers)
{
	if (result)
		api_job_fail(j, API_NO_AGENT, "The agent could not be asked: %s", sentence);
	else if (!answers || !answers->n)
		api_job_fail(j, API_FAILED, "The agent's answer is empty");
	else
		return false;
	return true;
}

static void check_done(void *user, enum err result, const char *sentence, const struct batch *answers)
{
	struct api_job *j = user;
	json_t *o, *all;

	if (has_no_agent(j, result, sentence, answers))
		return;
	o = json_object();
	all = json_object();
	api_put_flag(o, "result", element_result(&answers->elements[0]));
	api_put_text(o, "details", element_details(&answers->elements[0]));
	json_object_set_new(all, "checkhost", o);
	api_job_succeed(j, all);
}

static void stats_done(void *user, enum err result, const char *sentence, const struct batch *answers)
{
	const struct msg_get_host_stats_answer *a;
	struct api_job *j = user;
	json_t *all;

	if (has_no_agent(j, result, sentence, answers))
		return;
	a = batch_find(answers, MSG_GET_HOST_STATS_ANSWER);
	if (!a || !element_result(&answers->elements[0]) || !json_is_object(a->hostStats)) {
		const char *details = element_details(&answers->elements[0]);

		api_job_fail(j, API_FAILED, "The agent has no statistics: %s", details ? details : "no reason given");
		return;
	}
	all = json_object();
	json_object_set(all, "hoststats", a->hostStats);
	api_job_succeed(j, all);
}

static void ask_agent(struct api_job *j, struct host *h, struct batch *b,
		      void (*done)(void *, enum err, const char *, const struct batch *))
{
	struct request_params p = {.wait_ms = CHECK_MS, .done = done, .user = j};
	char name[256];
	enum err e;

	str_copy(name, sizeof(name), h->row.name);
	e = request_to_host(j->server, h, b, &p);
	if (e)
		api_job_fail(j, API_NO_AGENT, "Host %s can't be asked: %s", name, err_text(e));
}

static void check_work(struct api_job *j)
{
	struct host *h = host_of(j);
	struct batch b = {0};

	if (!h)
		return;
	if (!batch_add(&b, MSG_CHECK_HEALTH))
		api_job_fail(j, API_FAILED, "out of memory");
	else
		ask_agent(j, h, &b, check_done);
	batch_deinit(&b);
}

static void check_host(struct api_call *c)
{
	api_job_begin(c, roster_host(c->server, api_number(c, "id", 0)), NULL, check_work);
}

static void stats_work(struct api_job *j)
{
	struct host *h = host_of(j);
	struct batch b = {0};
	struct msg_get_host_stats *m;

	if (!h)
		return;
	m = batch_add(&b, MSG_GET_HOST_STATS);
	if (!m || msg_set_text(&m->hostGuid, h->row.guid) || msg_set_text(&m->hostName, h->row.name)) {
		api_job_fail(j, API_FAILED, "out of memory");
	} else {
		msg_set_i64(&m->hostId, h->row.id);
		ask_agent(j, h, &b, stats_done);
	}
	batch_deinit(&b);
}

static void get_host_stats(struct api_call *c)
{
	api_job_begin(c, roster_host(c->server, api_number(c, "id", 0)), NULL, stats_work);
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
static const struct api_param_spec job_params[] = {
	{"id", API_UUID, true, "The host", ENTITY_HOST, 0, false},
	API_ASYNC_PARAMS,
};
static const struct api_param_spec id_params[] = {
	{"id", API_UUID, true, "The host", ENTITY_HOST, 0, false},
};
static const struct api_field fields[] = {
	{"id", "string", "Id of the host"},
	{"name", "string", "Name"},
	{"state", "string", "Status of the connection"},
	{"type", "string", "Type"},
	{"resourcestate", "string", "Administrative state"},
	{"ipaddress", "string", "Private address"},
	{"zoneid", "string", "Id of the zone"},
	{"zonename", "string", "Name of the zone"},
	{"podid", "string", "Id of the pod"},
	{"podname", "string", "Name of the pod"},
	{"clusterid", "string", "Id of the cluster"},
	{"clustername", "string", "Name of the cluster"},
	{"clustertype", "string", "Type of the cluster"},
	{"version", "string", "Version of the agent"},
	{"hypervisor", "string", "Hypervisor"},
	{"hypervisorversion", "string", "Version of the hypervisor"},
	{"capabilities", "string", "Capabilities"},
	{"cpusockets", "integer", "Sockets"},
	{"cpunumber", "integer", "Processors"},
	{"cpuspeed", "long", "MHz"},
	{"memorytotal", "long", "Bytes of memory"},
	{"memorywithoverprovisioning", "string", "The same as text"},
	{"memoryallocated", "long", "Not computed"},
	{"memoryallocatedbytes", "long", "Not computed"},
	{"memoryallocatedpercentage", "string", "Not computed"},
	{"arch", "string", "Architecture"},
	{"created", "date", "When it was made"},
	{"removed", "date", "When it was removed"},
	{"disconnected", "date", "When it was disconnected last"},
	{"lastpinged", "date", "When it pinged last"},
	{"managementserverid", "string", "Management server it is connected to"},
	{"managementservername", "string", "Name of that server"},
	{"events", "string", "Status events that are possible now"},
	{"details", "map", "What the agent told of itself"},
	{"islocalstorageactive", "boolean", "Not known"},
	{"ueficapability", "boolean", "Not known"},
	{"hahost", "boolean", "Kept for high availability"},
	{"hasannotations", "boolean", "Has comments"},
	{"hostha", "hostharesponse", "High availability"},
	{"outofbandmanagement", "outofbandmanagementresponse", "Out-of-band management"},
	{"musterhostid", "long", "The host's number"},
	{"musterlist", "list", "Management servers as the agent has them, in order"},
	{"musteralgorithm", "string", "Algorithm of that list"},
	{"musterpreferred", "string", "The first of that list"},
	{"musterconnected", "string", "The entry it is connected to"},
	{"musterexpected", "list", "The list it should have"},
	{"musteroutdated", "boolean", "Connected, with a list or an interval that it should not have any more"},
	{"musterinterval", "integer", "Seconds between its looks at the preferred server"},
	{"musterslot", "integer", "Its slot for roundrobin"},
	{"mustersecured", "boolean", "Connected with a verified certificate"},
	{"mustermuster", "boolean", "Speaks muster/1"},
	{"musterreconnecting", "boolean", "Lost its link a moment ago"},
	{"musterjointoken", "string", "addHost: the token to join with, shown once"},
};
static const struct api_field success_fields[] = {
	{"success", "boolean", "true"},
	{"displaytext", "string", "More about it"},
};
static const struct api_field check_fields[] = {
	{"result", "boolean", "Is the host well?"},
	{"details", "string", "Why not"},
};
static const struct api_field stats_fields[] = {
	{"hoststats", "map", "What the agent answered"},
};
static const struct api_route routes[] = {
	{.name = "listHosts", .handle = list_hosts, .right = RIGHT_ADMIN, .is_list = true, .is_read = true,
	 .description = "Lists hosts", ROUTE_PARAMS(list_params), ROUTE_FIELDS(fields)},
	{.name = "addHost", .handle = add_host, .right = RIGHT_ADMIN,
	 .description = "Reserves a host and gives the token that its agent joins with", ROUTE_PARAMS(add_params), ROUTE_FIELDS(fields)},
	{.name = "deleteHost", .handle = delete_host, .right = RIGHT_ADMIN,
	 .description = "Removes a host and revokes its certificates", ROUTE_PARAMS(delete_params), ROUTE_FIELDS(success_fields)},
	{.name = "reconnectHost", .handle = reconnect_host, .right = RIGHT_ADMIN, .is_async = true,
	 .description = "Drops the link of a host's agent, which connects again", ROUTE_PARAMS(job_params), ROUTE_FIELDS(fields)},
	{.name = "checkHost", .handle = check_host, .right = RIGHT_ADMIN, .is_async = true,
	 .description = "Asks a host's agent whether it is well", ROUTE_PARAMS(job_params), ROUTE_FIELDS(check_fields)},
	{.name = "getHostStats", .handle = get_host_stats, .right = RIGHT_ADMIN, .is_async = true,
	 .description = "Asks a host's agent for statistics", ROUTE_PARAMS(job_params), ROUTE_FIELDS(stats_fields)},
	{.name = "allowWeakerIdentity", .handle = allow_weaker_identity, .right = RIGHT_ADMIN,
	 .description = "Lets a host connect once with a weaker identity than before", ROUTE_PARAMS(id_params),
	 ROUTE_FIELDS(success_fields)},
};
/* clang-format on */
const struct api_routes api_hosts_routes = {routes, ARRAY_SIZE(routes)};
