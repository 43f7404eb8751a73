/*
 * Lists: which servers a host should have, in which order, and which of them to avoid now. The order itself is
 * core/algorithm; here is where the arguments come from.
 */
#include "server/internal.h"

#include <stdio.h>
#include <string.h>

#define AGENT_PORT 8250 /* of entries without one */

const struct str_list *lists_servers(const struct server *s)
{
	return &s->list_servers;
}

enum algorithm lists_algorithm(const struct server *s)
{
	return s->list_algorithm;
}

int64_t lists_interval(const struct server *s, int64_t cluster_id)
{
	return config_number(s, "indirect.agent.lb.check.interval", cluster_id);
}

int64_t lists_interval_for(const struct server *s, const struct host_row *h)
{
	int64_t interval = lists_interval(s, h->cluster_id);

	return freeze_stops_looks(s, h, interval) ? 0 : interval;
}

enum err lists_entry_of(const struct server_row *row, char *out, size_t size)
{
	return server_entry_make(out, size, row->address, row->port);
}

/* The servers that lists are made from: the setting, or what is registered, whatever its state. */
static enum err servers_now(const struct server *s, struct str_list *out)
{
	const char *setting = config_text(s, "host", 0);

	if (setting)
		return server_list_parse_setting(out, setting, NULL);
	list_for (m, (struct list *)(uintptr_t)&s->servers, struct member_server, in_servers) {
		char entry[SERVER_HOST_MAX + 9];
		enum err e;

		if (lists_entry_of(&m->row, entry, sizeof(entry)))
			continue;
		if (str_list_has(out, entry) || out->n == SERVER_LIST_MAX)
			continue;
		e = str_list_add(out, entry);
		if (e)
			return e;
	}
	return ERR_OK;
}

/* A CloudStack agent knows no ports in entries: it would look the whole text up as a name. */
static enum err strip_ports(struct str_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		struct server_address a;
		char text[SERVER_HOST_MAX + 9];
		char *copy;

		if (server_address_parse(&a, l->items[i], NULL) || !a.port)
			continue;
		a.port = 0;
		server_address_format(text, sizeof(text), &a);
		copy = mem_strdup(text);
		if (!copy)
			return ERR_NOMEM;
		mem_free(l->items[i]);
		l->items[i] = copy;
	}
	return ERR_OK;
}

/* Lists 8: an operator has said where this host belongs. */
static void put_first(struct str_list *l, const char *entry)
{
	size_t at = entry ? str_list_find(l, entry) : SIZE_MAX;

	for (; at > 0 && at != SIZE_MAX; at--) {
		char *before = l->items[at - 1];

		l->items[at - 1] = l->items[at];
		l->items[at] = before;
	}
}

/* With ports. */
static enum err list_make(struct server *s, const struct host_row *h, enum algorithm a, struct str_list *out)
{
	enum err e = a == ALGORITHM_BALANCED ? placement_list(s, h, out)
					     : algorithm_order(out, a, &s->list_servers, h->slot, &s->world->rng);

	if (!e)
		put_first(out, placement_pin(s, h));
	return e;
}

enum err lists_for_host_by(struct server *s, const struct host_row *h, enum algorithm a, struct str_list *out)
{
	enum err e = list_make(s, h, a, out);

	if (!e && !h->is_muster)
		e = strip_ports(out);
	return e;
}

enum err lists_for_host(struct server *s, const struct host_row *h, struct str_list *out)
{
	return lists_for_host_by(s, h, s->list_algorithm, out);
}

/* Out of memory, nothing is sent that might be wrong; the next look decides. */
#define CURRENT_FOR_NOW true

/* By the list of servers and the slot alone. */
static bool is_current_plain(struct server *s, const struct host_row *h, const char *reported)
{
	struct str_list servers = {0};
	bool current;

	if (h->is_muster)
		return algorithm_is_current(s->list_algorithm, &s->list_servers, h->slot, reported);
	if (str_list_copy(&servers, &s->list_servers) || strip_ports(&servers)) {
		str_list_deinit(&servers);
		return CURRENT_FOR_NOW;
	}
	current = algorithm_is_current(s->list_algorithm, &servers, h->slot, reported);
	str_list_deinit(&servers);
	return current;
}

static bool begins_with(const char *reported, const char *entry)
{
	struct server_list_walk w;

	server_list_walk_init(&w, reported);
	return server_list_walk_next(&w) && server_list_walk_is(&w, entry);
}

/* Current 5, and balanced: compared with the list that it should have. */
static bool is_current_exactly(struct server *s, const struct host_row *h, const char *reported)
{
	struct str_list expected = {0};
	bool current = CURRENT_FOR_NOW;

	if (lists_for_host(s, h, &expected) == ERR_OK) {
		/* The order is made: slot 0 leaves it as it is. */
		current = algorithm_is_current(s->list_algorithm, &expected, 0, reported);
		if (s->list_algorithm == ALGORITHM_SHUFFLE && expected.n)
			current = current && begins_with(reported, expected.items[0]);
	}
	str_list_deinit(&expected);
	return current;
}

bool lists_is_current(struct server *s, const struct host_row *h, const char *reported)
{
	bool is_pinned = placement_pin(s, h);

	if (s->list_algorithm == ALGORITHM_BALANCED && h->is_muster && !is_pinned)
		return placement_is_current(s, h, reported);
	if (s->list_algorithm == ALGORITHM_BALANCED || is_pinned)
		return is_current_exactly(s, h, reported);
	return is_current_plain(s, h, reported);
}

bool lists_entry_is(const struct server *s, const char *entry, const struct server_row *row)
{
	char own[SERVER_HOST_MAX + 9];
	struct server_address a, b;

	if (lists_entry_of(row, own, sizeof(own)) == ERR_OK && server_entry_same(entry, own, AGENT_PORT))
		return true;
	/* Several servers on one machine differ by port only; a name without a port means the default one. */
	if (server_address_parse(&a, entry, NULL) || (a.port ? a.port : AGENT_PORT) != row->port)
		return false;
	return str_equal_nocase(a.host, row->name) ||
	       (server_address_parse(&b, row->address, NULL) == ERR_OK && names_same_host(s, a.host, b.host));
}

enum err lists_avoid(struct server *s, const struct host_row *h, struct str_list *out)
{
	enum err e = str_list_copy(out, &s->avoid);

	return e || h->is_muster ? e : strip_ports(out);
}

/* A name may lead to several servers: while one of them is Up, it is worth trying. */
static bool is_avoided(struct server *s, const char *entry)
{
	bool is_server = false;

	list_for (m, &s->servers, struct member_server, in_servers) {
		if (!lists_entry_is(s, entry, &m->row))
			continue;
		if (m->row.state == SERVER_UP)
			return false;
		is_server = true;
	}
	return is_server;
}

/* Which of the servers of the list are not Up, spelled as in the list. */
static enum err avoid_now(struct server *s, const struct str_list *servers, struct str_list *out)
{
	enum err e = ERR_OK;

	for (size_t i = 0; i < servers->n && !e; i++)
		if (is_avoided(s, servers->items[i]))
			e = str_list_add(out, servers->items[i]);
	return e;
}

void lists_changed(struct server *s)
{
	struct str_list servers = {0}, avoid = {0};
	enum algorithm algorithm = ALGORITHM_STATIC;

	if (servers_now(s, &servers) || avoid_now(s, &servers, &avoid)) {
		log_error(s->log, "the list of servers can't be made, the old one holds");
		str_list_deinit(&servers);
		str_list_deinit(&avoid);
		return;
	}
	if (!algorithm_from_text(config_text(s, "indirect.agent.lb.algorithm", 0), &algorithm))
		log_error(s->log, "algorithm not known, static holds",
			  KV_S("algorithm", config_text(s, "indirect.agent.lb.algorithm", 0)));
	if (algorithm != s->list_algorithm || !str_list_equal(&servers, &s->list_servers)) {
		CLEAN(mem_freep) char *text = str_list_join(&servers, ",");

		log_info(s->log, "lists changed", KV_S("servers", text ? text : "?"),
			 KV_S("algorithm", algorithm_name(algorithm)));
	}
	if (!str_list_equal(&avoid, &s->avoid)) {
		CLEAN(mem_freep) char *text = str_list_join(&avoid, ",");

		log_info(s->log, "servers to avoid changed", KV_S("avoid", text ? text : "?"));
		s->avoid_version++;
	}
	str_list_move(&s->avoid, &avoid);
	str_list_move(&s->list_servers, &servers);
	s->list_algorithm = algorithm;
	names_update(s);
	spreading_compare_all(s);
}
