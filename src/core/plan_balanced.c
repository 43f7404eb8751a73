/*
 * Plan under balanced: the placement as it is, the changes as the store makes them, and every host's list from that.
 *
 *   balanced already   -> what the lists say is loaded -> hosts go, servers change (all at once), hosts come
 *   from another one   -> designed anew; the first three entries that the agents have are what they wish
 *
 * Lists that can't have come from balanced on the servers as they are, since somebody wrote them by hand, are wishes
 * too.
 */
#include "core/plan_private.h"

#include <string.h>

#include "base/mem.h"
#include "core/balanced.h"

/* More hosts than that to be pinned: a design does all of them at once. */
#define PINS_MAX 16

struct stage {
	struct balanced_server *servers; /* what `entries` of hosts count by */
	size_t n_servers;
	struct map index; /* name to place + 1 */
	struct balanced_host *hosts;
	size_t n_hosts;
	bool has_weights; /* not all are 0 (Balanced 2) */
};

static void stage_deinit(struct stage *s)
{
	mem_free(s->servers);
	mem_free(s->hosts);
	map_deinit(&s->index);
}

static struct balanced_server server_of(const struct plan_server *s)
{
	return (struct balanced_server){.name = s->name, .weight = (uint32_t)plan_weight(s), .zone = s->zone};
}

static enum err stage_init(struct stage *s, const struct plan_server *servers, size_t n, size_t n_hosts)
{
	map_init_text(&s->index, 0);
	s->servers = mem_zalloc_array(n + 1, sizeof(*s->servers));
	s->hosts = mem_zalloc_array(n_hosts + 1, sizeof(*s->hosts));
	if (!s->servers || !s->hosts)
		return ERR_NOMEM;
	for (size_t i = 0; i < n; i++) {
		enum err e = map_put(&s->index, servers[i].name, (void *)(uintptr_t)(i + 1));

		if (e)
			return e;
		s->servers[s->n_servers++] = server_of(&servers[i]);
		s->has_weights = s->has_weights || plan_weight(&servers[i]);
	}
	return ERR_OK;
}

static uint16_t place_of(const struct stage *s, const char *name)
{
	uintptr_t place = name ? (uintptr_t)map_get(&s->index, name) : 0;

	return place ? (uint16_t)(place - 1) : BALANCED_NONE;
}

/*
 * Balanced 6: the first server of the list outside the zone. A pinned host's first entry may be outside as well, and
 * then the list may not show which one is meant: whoever knows says so.
 */
static uint16_t away_of(const struct stage *s, const struct plan_host *h)
{
	uint16_t away = BALANCED_NONE;
	size_t n_inside = 0;

	for (size_t i = 0; i < s->n_servers; i++)
		n_inside += (s->servers[i].weight || !s->has_weights) && str_equal(s->servers[i].zone, h->zone);
	if (n_inside < 3 || str_is_blank(h->zone))
		return BALANCED_NONE;
	if (h->away)
		return place_of(s, h->away);
	for (size_t i = 0; i < h->before.n; i++) {
		uint16_t at = place_of(s, h->before.items[i]);

		if (at == BALANCED_NONE || str_equal(s->servers[at].zone, h->zone) ||
		    (s->has_weights && !s->servers[at].weight))
			continue;
		away = at;
		if (i)
			return away;
	}
	return away;
}

static struct balanced_host *stage_add(struct stage *s, const struct plan_host *h, const struct str_list *list)
{
	struct balanced_host *out = &s->hosts[s->n_hosts++];

	*out = (struct balanced_host){.id = h->id, .zone = h->zone, .pin = place_of(s, h->pin)};
	for (size_t k = 0; k < BALANCED_N_ENTRIES; k++)
		out->entries[k] = BALANCED_NONE;
	for (size_t k = 0; k <= BALANCED_THIRD && k < list->n; k++)
		out->entries[k] = place_of(s, list->items[k]);
	return out;
}

/* ---- the placement as it is ---- */

/* Balanced 2: they stand in the tail of a list, however short the list is, and are remembered of nobody. */
static void forget_last_resorts(const struct stage *s, struct balanced_host *h)
{
	for (size_t k = BALANCED_SECOND; k <= BALANCED_THIRD; k++) {
		uint16_t at = h->entries[k];

		if (at != BALANCED_NONE && s->has_weights && !s->servers[at].weight)
			h->entries[k] = BALANCED_NONE;
	}
}

static enum err load(struct balanced **out, const struct plan *p, size_t *n_unpinned, struct why *why)
{
	CLEAN(stage_deinit) struct stage s = {0};
	const struct plan_server *servers = p->has_was ? p->was : p->servers;
	enum err e = stage_init(&s, servers, p->has_was ? p->n_was : p->n_servers, p->n_hosts);

	*n_unpinned = 0;
	for (size_t i = 0; !e && i < p->n_hosts; i++) {
		const struct plan_host *h = &p->hosts[i];
		struct balanced_host *b;

		if (!h->before.n)
			continue;
		b = stage_add(&s, h, &h->before);
		forget_last_resorts(&s, b);
		b->entries[BALANCED_AWAY] = away_of(&s, h);
		/* Pinned, but not there: the pin is a change that comes. */
		if (b->pin != BALANCED_NONE && b->pin != b->entries[BALANCED_FIRST]) {
			b->pin = BALANCED_NONE;
			++*n_unpinned;
		}
	}
	return e ? e : balanced_load(out, 0, s.servers, s.n_servers, s.hosts, s.n_hosts, why);
}

enum err plan_load_balanced(struct balanced **out, const struct plan *p, struct why *why)
{
	size_t n_unpinned;

	return load(out, p, &n_unpinned, why);
}

static enum err change_servers(struct balanced *b, const struct plan *p, struct why *why)
{
	struct balanced_server servers[SERVER_LIST_MAX];
	bool changed;

	for (size_t i = 0; i < p->n_servers; i++)
		servers[i] = server_of(&p->servers[i]);
	return balanced_set_servers(b, servers, p->n_servers, &changed, why);
}

static enum err pin_hosts(struct balanced *b, const struct plan *p)
{
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < p->n_hosts; i++) {
		const struct plan_host *h = &p->hosts[i];
		const char *pin = h->is_gone ? NULL : plan_pin(p, h);
		struct balanced_host now;

		if (pin && balanced_get_host(b, h->id, &now) && now.pin == BALANCED_NONE)
			e = balanced_pin_host(b, h->id, pin);
	}
	return e;
}

static enum err change(struct balanced *b, const struct plan *p, struct why *why)
{
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < p->n_hosts; i++) {
		if (p->hosts[i].is_gone && p->hosts[i].before.n)
			e = balanced_remove_host(b, p->hosts[i].id);
	}
	if (!e)
		e = change_servers(b, p, why);
	for (size_t i = 0; !e && i < p->n_hosts; i++) {
		const struct plan_host *h = &p->hosts[i];

		if (h->is_gone || h->before.n)
			continue;
		e = balanced_add_host(b, h->id, h->zone);
		if (e == ERR_EXISTS) {
			why_set(why, "host %llu is there twice", (unsigned long long)h->id);
			e = ERR_DUPLICATE;
		}
	}
	return e ? e : pin_hosts(b, p);
}

static size_t n_pins_of_new(const struct plan *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_hosts; i++)
		n += !p->hosts[i].before.n && !p->hosts[i].is_gone && p->hosts[i].pin;
	return n;
}

/* ERR_DAMAGED: what the lists say is no placement. */
static enum err load_and_change(struct balanced **out, const struct plan *p, struct why *why)
{
	struct balanced *b = NULL;
	struct why ignored = WHY_NONE;
	size_t n_unpinned = 0;
	enum err e = load(&b, p, &n_unpinned, &ignored);

	if (e == ERR_DUPLICATE)
		why_set(why, "%s", ignored.text);
	if (e)
		return e;
	e = n_unpinned + n_pins_of_new(p) > PINS_MAX ? ERR_DAMAGED : change(b, p, why);
	if (e)
		balanced_free(b);
	else
		*out = b;
	return e;
}

static enum err design(struct balanced **out, const struct plan *p, struct why *why)
{
	CLEAN(stage_deinit) struct stage s = {0};
	enum err e = stage_init(&s, p->servers, p->n_servers, p->n_hosts);

	for (size_t i = 0; !e && i < p->n_hosts; i++) {
		const struct plan_host *h = &p->hosts[i];

		if (!h->is_gone)
			stage_add(&s, h, h->has_confirmed ? &h->confirmed : &h->before);
	}
	return e ? e : balanced_design(out, s.servers, s.n_servers, s.hosts, s.n_hosts, why);
}

/* ---- the lists ---- */

static enum err list_of(struct str_list *out, const struct balanced *b, uint64_t id)
{
	CLEAN(str_list_deinit) struct str_list list = {0};
	uint16_t places[SERVER_LIST_MAX];
	size_t n = balanced_list(b, id, places);
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < n; i++)
		e = str_list_add(&list, balanced_get_server(b, places[i]).name);
	if (!e)
		str_list_move(out, &list);
	return e;
}

/* Of a pinned host, whose list may not show it. */
static enum err away_after(struct plan_host *h, const struct balanced *b)
{
	struct balanced_host now;

	h->away_after = mem_free(h->away_after);
	if (!balanced_get_host(b, h->id, &now) || now.pin == BALANCED_NONE ||
	    now.entries[BALANCED_AWAY] == BALANCED_NONE)
		return ERR_OK;
	h->away_after = mem_strdup(balanced_get_server(b, now.entries[BALANCED_AWAY]).name);
	return h->away_after ? ERR_OK : ERR_NOMEM;
}

enum err plan_place_balanced(struct plan *p, struct why *why)
{
	struct balanced *b = NULL;
	enum err e = p->same_algorithm ? load_and_change(&b, p, why) : ERR_DAMAGED;

	if (e == ERR_DAMAGED)
		e = design(&b, p, why);
	for (size_t i = 0; !e && i < p->n_hosts; i++) {
		struct plan_host *h = &p->hosts[i];

		if (h->is_gone)
			str_list_deinit(&h->after);
		else
			e = list_of(&h->after, b, h->id);
		if (!e && !h->is_gone)
			e = away_after(h, b);
	}
	balanced_free(b);
	return e;
}
