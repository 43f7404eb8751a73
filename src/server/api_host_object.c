/*
 * A host as the API shows it (query-api 2.5), with muster's own members: its list, where it is, where it should be.
 */
#include "server/api.h"

#include <stdio.h>
#include <string.h>

#include "core/failback.h"

/* ---- what a host's list says ---- */

static bool same_host_name(const struct server *s, const char *entry, const struct server_row *server)
{
	struct server_address a, b;

	return server_address_parse(&a, entry, NULL) == ERR_OK &&
	       server_address_parse(&b, server->address, NULL) == ERR_OK &&
	       (str_equal_nocase(a.host, b.host) || names_same_host(s, a.host, b.host));
}

bool host_entry_is(const struct server *s, const struct host_row *row, const char *entry,
		   const struct server_row *server)
{
	/* Entries of a CloudStack agent have lost their ports. */
	return lists_entry_is(s, entry, server) || (!row->is_muster && same_host_name(s, entry, server));
}

static const struct member_server *server_of_entry(struct server *s, const struct host_row *row, const char *entry)
{
	list_for (m, &s->servers, struct member_server, in_servers)
		if (host_entry_is(s, row, entry, &m->row))
			return m;
	return NULL;
}

static bool takes_agents(const struct server *s, const struct member_server *m)
{
	return m->row.state == SERVER_UP && (m->row.msid == s->msid ? server_is_accepting(s) : m->word.accepting);
}

static const struct member_server *better_of(struct server *s, const struct host_row *row, const struct host_view *v)
{
	char entry[SERVER_HOST_MAX + 9];
	struct server_list_walk w;

	server_list_walk_init(&w, v->list);
	for (size_t i = 0; i < FAILBACK_ENTRIES_MOST && server_list_walk_next(&w); i++) {
		const struct member_server *m;

		if (w.entry_len >= sizeof(entry))
			continue;
		memcpy(entry, w.entry, w.entry_len);
		entry[w.entry_len] = '\0';
		m = server_of_entry(s, row, entry);
		if (m == v->owner)
			return NULL;
		if (m && takes_agents(s, m))
			return i ? m : NULL;
	}
	return NULL;
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
		.suspect = x && x->is_suspect,
	};
	v->link = v->reconnecting ? "reconnecting" : v->suspect ? "suspect" : v->is_up ? "up" : NULL;
	server_list_walk_init(&w, v->list);
	if (server_list_walk_next(&w) && w.entry_len < sizeof(v->preferred))
		memcpy(v->preferred, w.entry, w.entry_len);
	if (!v->is_up)
		return;
	v->is_outdated = !lists_is_current(s, row, v->list) || v->interval != lists_interval_for(s, row);
	v->is_off_preferred = v->owner && v->preferred[0] && !host_entry_is(s, row, v->preferred, &v->owner->row);
	if (v->is_off_preferred && row->is_muster)
		v->better = better_of(s, row, v);
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
		if (host_entry_is(s, row, list.items[i], &v.owner->row))
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
	api_put_text(o, "musterpin", placement_pin(s, row));
	api_put_flag(o, "mustersecured", row->secured);
	api_put_flag(o, "mustermuster", row->is_muster);
	api_put_flag(o, "musterreconnecting", v.reconnecting);
	api_put_text(o, "musterlink", v.link);
	api_put_flag(o, "musterfrozen", api_freeze_keeps(s, row, &v));
	/* A shuffled list is as good as any other order of it. */
	if (lists_algorithm(s) != ALGORITHM_SHUFFLE && lists_for_host(s, row, &expected) == ERR_OK)
		api_put_texts(o, "musterexpected", &expected);
	str_list_deinit(&expected);
	str_list_deinit(&list);
}

/* The certificate on its current link, or the last one. */
static void put_certificate(json_t *o, struct server *s, const struct host_row *row)
{
	int64_t left_s = row->cert_not_after_s - world_wall_ms(s->world) / 1000;

	if (!row->cert_serial || !row->cert_not_after_s)
		return;
	api_put_text(o, "mustercertserial", row->cert_serial);
	api_put_date(o, "mustercertnotafter", row->cert_not_after_s * 1000);
	api_put_number(o, "mustercertdaysleft", left_s >= 0 ? left_s / 86400 : -1 - (-left_s - 1) / 86400);
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
	put_certificate(o, s, row);
	return o;
}

/* ---- for listApis ---- */

/* clang-format off */
const struct api_field host_fields[HOST_N_FIELDS] = {
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
	{"musterpin", "string", "The server that an operator has pinned it to: first in its list"},
	{"mustersecured", "boolean", "Connected with a verified certificate"},
	{"mustermuster", "boolean", "Speaks muster/1"},
	{"musterreconnecting", "boolean", "Lost its link a moment ago"},
	{"musterlink", "string", "Its link: up, suspect (silent, as its own management server sees it) or reconnecting"},
	{"musterfrozen", "boolean", "It would go to its preferred server now if moves were not frozen"},
	{"mustercertserial", "string", "Number of the certificate that it showed last, hex"},
	{"mustercertnotafter", "date", "Until when that is valid"},
	{"mustercertdaysleft", "integer", "Days until then; below 0: it has expired"},
	{"musterjointoken", "string", "addHost: the token to join with, shown once"},
};
/* clang-format on */
