/*
 * The crowd: connections that have not yet shown who they are, counted by the address they come from.
 *
 * Two limits hold, one for an address and one for all. At a limit a newcomer is not simply turned away, or whoever
 * fills the house with silence would keep everybody else out: somebody whom we wait for (it has not said hello, or has
 * stopped in the middle) makes room, from the address that has most of those, and there the one that we have waited for
 * longest. Who has work under way here, or waits for its turn at gate 1, is never dropped for a newcomer.
 *
 * Who has shown a certificate that holds is no stranger: it counts for its address until its startup, but not in all,
 * so that a mass return of good agents never meets the limit that is meant for others.
 */
#include "server/internal.h"

static struct address *address_of_idlest(struct heap_node *n)
{
	return container_of(n, struct address, in_idlest);
}

/* The heap has the smallest first; equal ones in the order in which they got there. */
static void sort_address(struct server *s, struct address *a)
{
	if (a->n_idle == 0)
		heap_remove(&s->idlest, &a->in_idlest);
	else if (heap_set(&s->idlest, &a->in_idlest, (struct mono){.us = -(int64_t)a->n_idle}))
		log_warn(s->log, "out of memory, an address is not watched", KV_S("peer", a->ip));
}

void crowd_idle(struct session *x, bool is_idle)
{
	struct address *a = x->address;

	if (!a || is_idle == !list_is_empty(&x->in_idle))
		return;
	if (is_idle)
		list_append(&a->idle, &x->in_idle);
	else
		list_remove(&x->in_idle);
	a->n_idle = is_idle ? a->n_idle + 1 : a->n_idle - 1;
	sort_address(x->server, a);
}

/* ---- room for a newcomer ---- */

static void drop_one(struct server *s, struct address *a, const char *sentence)
{
	struct session *x = list_first(&a->idle, struct session, in_idle);

	if (!x)
		return;
	s->n_made_room++;
	session_end(x, ERR_FULL, sentence, EVENT_N); /* which may free the address */
}

/* Whose longest idle one would have to go for a newcomer from `a` (NULL: nobody else is there); NULL: nobody's. */
static struct address *who_makes_room(struct server *s, struct address *a, bool *is_full_in_all)
{
	struct heap_node *first = heap_first(&s->idlest);

	*is_full_in_all = s->n_strangers >= s->p.max_anonymous || s->n_sessions >= s->p.max_links;
	if (a && a->n >= s->p.max_anonymous_per_ip)
		return a;
	return *is_full_in_all && first ? address_of_idlest(first) : NULL;
}

/* Would it be enough if one more left? Nobody is dropped for a newcomer who is turned away all the same. */
static bool one_is_enough(const struct server *s, const struct address *from)
{
	return from->n_idle > 0 && s->n_strangers <= s->p.max_anonymous && s->n_sessions <= s->p.max_links;
}

static bool make_room(struct server *s, const char *ip)
{
	struct address *a = map_get(&s->addresses, ip);
	bool is_full_in_all;
	struct address *from = who_makes_room(s, a, &is_full_in_all);

	if (!from)
		return !is_full_in_all;
	if (!one_is_enough(s, from))
		return false;
	drop_one(s, from,
		 from == a && a->n >= s->p.max_anonymous_per_ip
			 ? "dropped for a newcomer: its address has as many connections without a startup as one may "
			   "have"
			 : "dropped for a newcomer: there are as many strangers here as may be");
	return true;
}

bool crowd_has_room(struct server *s, const char *ip)
{
	bool has_room = make_room(s, ip);

	if (!has_room)
		s->n_no_room++;
	/* Paced: whoever floods us must not fill the disk with it. */
	if ((!has_room || s->n_strangers + 1 >= s->p.max_anonymous) && pace_passes(s, &s->crowd_said))
		log_warn(s->log, "a limit of connections is reached", KV_U("links", s->n_sessions),
			 KV_U("strangers", s->n_strangers), KV_U("limit", s->p.max_anonymous),
			 KV_U("turned_away", s->n_no_room), KV_U("made_room", s->n_made_room));
	return has_room;
}

/* ---- in and out ---- */

static struct address *address_get(struct server *s, const char *ip)
{
	struct address *a = map_get(&s->addresses, ip);

	if (a)
		return a;
	a = mem_zalloc(sizeof(*a));
	if (!a)
		return NULL;
	str_copy(a->ip, sizeof(a->ip), ip);
	list_init(&a->idle);
	list_init(&a->waiting);
	list_init(&a->in_turns);
	heap_node_init(&a->in_idlest);
	if (map_put(&s->addresses, a->ip, a)) {
		mem_free(a);
		return NULL;
	}
	return a;
}

enum err crowd_enter(struct session *x)
{
	struct server *s = x->server;

	x->address = address_get(s, link_peer_ip(x->link));
	if (!x->address)
		return ERR_NOMEM;
	x->address->n++;
	s->n_anonymous++;
	x->is_stranger = true;
	s->n_strangers++;
	crowd_idle(x, true);
	return ERR_OK;
}

void crowd_known(struct session *x)
{
	crowd_idle(x, false);
	if (x->is_stranger)
		x->server->n_strangers--;
	x->is_stranger = false;
}

void crowd_leave(struct session *x)
{
	struct server *s = x->server;
	struct address *a = x->address;

	if (!a)
		return;
	gate_leave(x);
	crowd_known(x);
	x->address = NULL;
	s->n_anonymous--;
	if (--a->n > 0)
		return;
	map_remove(&s->addresses, a->ip);
	mem_free(a);
}

void crowd_deinit(struct server *s)
{
	map_deinit(&s->addresses);
	heap_deinit(&s->idlest);
}
