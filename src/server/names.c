/*
 * Names: which addresses the names in `host` and in servers' rows lead to, so that an entry and a server are known as
 * the same whichever of the two is a name. Asked when one appears and then every minute; what a name led to last is
 * kept while it can't be asked.
 *
 * Agents compare avoid lists as texts, so what they are told stays spelled as in `host`; only which entries that are is
 * decided here.
 */
#include "server/internal.h"

#include <arpa/inet.h>
#include <string.h>

#define AGAIN_MS 60000
#define FAILED_AGAIN_MS 5000

struct name {
	struct list in_names; /* s->names */
	struct server *server;
	char host[SERVER_HOST_MAX];
	struct str_list addresses; /* the last that were good */
	struct resolve resolve;
	bool asking;
	struct timer again;
	bool wanted; /* while the names are gone through */
};

static struct name *name_find(const struct server *s, const char *host)
{
	list_for (n, (struct list *)(uintptr_t)&s->names, struct name, in_names)
		if (str_equal_nocase(n->host, host))
			return n;
	return NULL;
}

static void name_free(struct name *n)
{
	if (n->asking)
		world_resolve_cancel(n->server->world, &n->resolve);
	timer_stop(n->server->world, &n->again);
	str_list_deinit(&n->resolve.addresses);
	str_list_deinit(&n->addresses);
	list_remove(&n->in_names);
	mem_free(n);
}

/* ---- asking ---- */

static void resolved(struct resolve *r)
{
	struct name *n = container_of(r, struct name, resolve);
	struct server *s = n->server;
	bool worked = !r->result && r->addresses.n;
	bool changed = worked && !str_list_equal(&r->addresses, &n->addresses);

	n->asking = false;
	if (!worked)
		log_debug(s->log, "a server's name does not resolve, what it led to before holds",
			  KV_S("name", n->host));
	if (changed)
		str_list_move(&n->addresses, &r->addresses);
	timer_set_in(s->world, &n->again, worked ? AGAIN_MS : FAILED_AGAIN_MS);
	if (changed && s->running)
		lists_changed(s);
}

static void ask(struct timer *t)
{
	struct name *n = container_of(t, struct name, again);

	str_list_deinit(&n->resolve.addresses);
	n->resolve = (struct resolve){.name = n->host, .done = resolved};
	n->asking = true;
	if (world_resolve(n->server->world, &n->resolve)) {
		n->asking = false;
		timer_set_in(n->server->world, &n->again, FAILED_AGAIN_MS);
	}
}

static void want(struct server *s, const char *entry)
{
	struct server_address a;
	struct name *n;

	if (server_address_parse(&a, entry, NULL) || server_host_is_address(a.host))
		return;
	n = name_find(s, a.host);
	if (!n) {
		n = mem_zalloc(sizeof(*n));
		if (!n)
			return; /* the next change of the lists tries again */
		n->server = s;
		str_copy(n->host, sizeof(n->host), a.host);
		timer_init(&n->again, ask);
		timer_set_in(s->world, &n->again, 0);
		list_append(&s->names, &n->in_names);
	}
	n->wanted = true;
}

void names_update(struct server *s)
{
	list_for (n, &s->names, struct name, in_names)
		n->wanted = false;
	for (size_t i = 0; i < s->list_servers.n; i++)
		want(s, s->list_servers.items[i]);
	list_for (m, &s->servers, struct member_server, in_servers)
		want(s, m->row.address);
	list_for (n, &s->names, struct name, in_names)
		if (!n->wanted)
			name_free(n);
}

void names_deinit(struct server *s)
{
	list_for (n, &s->names, struct name, in_names)
		name_free(n);
}

/* ---- comparing ---- */

/* One literal address against what the other one is or leads to. */
static bool leads_to(const struct server *s, const char *host, const char *literal)
{
	const struct name *n = server_host_is_address(host) ? NULL : name_find(s, host);

	if (server_host_is_address(host))
		return server_entry_same(host, literal, SERVER_LIST_PORT);
	for (size_t i = 0; n && i < n->addresses.n; i++)
		if (server_entry_same(n->addresses.items[i], literal, SERVER_LIST_PORT))
			return true;
	return false;
}

bool names_same_host(const struct server *s, const char *a, const char *b)
{
	const struct name *n;

	if (server_host_is_address(b))
		return leads_to(s, a, b);
	if (server_host_is_address(a))
		return leads_to(s, b, a);
	n = name_find(s, a);
	for (size_t i = 0; n && i < n->addresses.n; i++)
		if (leads_to(s, b, n->addresses.items[i]))
			return true;
	return false;
}
