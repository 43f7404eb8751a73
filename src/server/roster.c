/*
 * The roster: hosts and management servers in memory, as the store had them last.
 *
 * Only follow.c and the results of our own store entries put rows here. A session hangs on its host; a host that is
 * removed while attached is told so and let go by whoever removes it, before the row goes.
 */
#include "server/provision.h"

#include <assert.h>

/* ---- hosts ---- */

struct host *roster_host(const struct server *s, int64_t id)
{
	return map_get_u64(&s->hosts_by_id, (uint64_t)id);
}

struct host *roster_by_guid(const struct server *s, const char *guid)
{
	return map_get(&s->hosts_by_guid, guid);
}

size_t roster_n_hosts(const struct server *s)
{
	return s->hosts_by_id.n;
}

struct host *roster_next(const struct server *s, size_t *cursor)
{
	return map_next(&s->hosts_by_id, cursor);
}

static void host_free(struct host *h)
{
	requests_fail(h, ERR_NOT_FOUND, "the host is gone");
	list_for (x, &h->superseded, struct session, in_superseded)
		list_remove(&x->in_superseded);
	watch_forget(h->server, h->row.id);
	draining_forget(h->server, h->row.id);
	renewal_forget(h);
	timer_stop(h->server->world, &h->grace);
	host_row_deinit(&h->row);
	mem_free(h);
}

static void host_drop(struct server *s, struct host *h)
{
	assert(!h->session);

	map_remove_u64(&s->hosts_by_id, (uint64_t)h->row.id);
	if (roster_by_guid(s, h->row.guid) == h)
		map_remove(&s->hosts_by_guid, h->row.guid);
	host_free(h);
}

static enum err host_add(struct server *s, struct host_row *take_row, struct host **out)
{
	struct host *h = mem_zalloc(sizeof(*h));
	enum err e;

	if (!h)
		return ERR_NOMEM;
	h->server = s;
	timer_init(&h->grace, NULL);
	list_init(&h->requests);
	list_init(&h->superseded);
	e = map_put_u64(&s->hosts_by_id, (uint64_t)take_row->id, h);
	if (!e) {
		e = map_put(&s->hosts_by_guid, take_row->guid, h);
		if (e)
			map_remove_u64(&s->hosts_by_id, (uint64_t)take_row->id);
	}
	if (e) {
		mem_free(h);
		return e;
	}
	h->row = *take_row;
	*take_row = (struct host_row){0};
	*out = h;
	return ERR_OK;
}

enum err roster_put_host(struct server *s, struct host_row *take_row, struct host **out)
{
	struct host *h = roster_host(s, take_row->id);
	enum err e = ERR_OK;

	if (out)
		*out = NULL;
	/* What only the API shows is read from the store when it is asked for: 100,000 hosts must fit here. */
	take_row->details = mem_free(take_row->details);

	if (take_row->removed_ms) {
		if (h)
			host_drop(s, h);
		host_row_deinit(take_row);
		return ERR_OK;
	}
	if (!h) {
		e = host_add(s, take_row, &h);
	} else {
		bool moved = h->row.epoch != take_row->epoch;

		assert(str_equal(h->row.guid, take_row->guid)); /* a guid never changes; a new one is a new host */
		host_row_deinit(&h->row);
		h->row = *take_row;
		*take_row = (struct host_row){0};
		if (moved)
			requests_owner_changed(h);
	}
	if (!e)
		renewal_host_seen(s, h);
	if (!e && out)
		*out = h;
	return e;
}

/* ---- servers ---- */

struct member_server *roster_server(const struct server *s, int64_t msid)
{
	list_for (m, (struct list *)(uintptr_t)&s->servers, struct member_server, in_servers)
		if (m->row.msid == msid)
			return m;
	return NULL;
}

struct member_server *roster_server_by_uuid(const struct server *s, const char *uuid)
{
	list_for (m, (struct list *)(uintptr_t)&s->servers, struct member_server, in_servers)
		if (str_equal(m->row.uuid, uuid))
			return m;
	return NULL;
}

static void server_drop(struct member_server *m)
{
	list_remove(&m->in_servers);
	peer_free(m->peer);
	server_row_deinit(&m->row);
	mem_free(m);
}

static bool row_is_among(const struct server_row *rows, size_t n, int64_t msid)
{
	for (size_t i = 0; i < n; i++)
		if (rows[i].msid == msid)
			return true;
	return false;
}

/* Takes the content of one row; *changed: what lists or avoid lists are made from is different. */
static enum err server_put(struct server *s, struct server_row *take_row, bool *changed)
{
	struct member_server *m = roster_server(s, take_row->msid);
	struct mono now = world_now(s->world);

	if (!m) {
		m = mem_zalloc(sizeof(*m));
		if (!m)
			return ERR_NOMEM;
		member_init(&m->member, now);
		*changed = true;
	} else {
		*changed |= m->row.state != take_row->state || !str_equal(m->row.address, take_row->address) ||
			    m->row.port != take_row->port;
		if (m->row.last_update_ms != take_row->last_update_ms || m->row.run_id != take_row->run_id)
			member_heard_store(&m->member, now);
		list_remove(&m->in_servers);
		server_row_deinit(&m->row);
	}
	m->row = *take_row;
	*take_row = (struct server_row){0};
	/* Rows come by id, so the list stays by id. */
	list_append(&s->servers, &m->in_servers);
	return ERR_OK;
}

enum err roster_put_servers(struct server *s, struct server_row *take_rows, size_t n, bool *avoid_changed)
{
	*avoid_changed = false;
	list_for (m, &s->servers, struct member_server, in_servers) {
		if (!row_is_among(take_rows, n, m->row.msid)) {
			server_drop(m);
			*avoid_changed = true;
		}
	}
	for (size_t i = 0; i < n; i++) {
		enum err e = server_put(s, &take_rows[i], avoid_changed);

		if (e)
			return e;
	}
	return ERR_OK;
}

void roster_deinit(struct server *s)
{
	size_t cursor = 0;
	struct host *h;

	while ((h = map_next(&s->hosts_by_id, &cursor)))
		host_free(h);
	map_deinit(&s->hosts_by_id);
	map_deinit(&s->hosts_by_guid);
	list_for (m, &s->servers, struct member_server, in_servers)
		server_drop(m);
	for (size_t i = 0; i < s->n_places; i++)
		place_row_deinit(&s->places[i]);
	s->places = mem_free(s->places);
	s->n_places = 0;
}
