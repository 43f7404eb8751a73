#include "cli/plan_json.h"

#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "core/balanced.h"
#include "core/server_list.h"

/* What every reader of JSON takes for the same number. */
#define ID_MAX ((UINT64_C(1) << 53) - 1)

/* ---- reading: what has another type than it should is refused, since nobody would notice that it has no effect ----
 */

/* A member that is a text or not there: *out is NULL then; borrowed. */
static enum err text_of(const char **out, const json_t *of, const char *member, struct why *why)
{
	const json_t *text = json_object_get(of, member);

	*out = json_string_value(text);
	if (!text || json_is_null(text) || *out)
		return ERR_OK;
	why_set(why, "its %s is not a text", member);
	return ERR_INVALID;
}

/* The same as a new string. */
static enum err read_text(char **out, const json_t *host, const char *member, struct why *why)
{
	const char *text;
	enum err e = text_of(&text, host, member, why);

	if (e || !text)
		return e;
	*out = mem_strdup(text);
	return *out ? ERR_OK : ERR_NOMEM;
}

/* -1 for what is no whole number: no weight either. */
static int64_t weight_of(const json_t *server)
{
	const json_t *weight = json_object_get(server, "weight");

	return !weight || json_is_null(weight) ? 1 : json_number(server, "weight", -1);
}

static enum err read_more_of_server(struct plan_server *out, const json_t *s, struct why *why)
{
	out->resting = json_flag(s, "resting", false);
	return read_text(&out->server, s, "server", why);
}

static enum err read_server(struct plan *p, const json_t *s, struct why *why)
{
	const char *name = json_is_string(s) ? json_string_value(s) : json_text(s, "name", NULL);
	struct server_address address;
	const char *zone;
	enum err e;

	if (!name) {
		why_set(why, "a server needs a name");
		return ERR_INVALID;
	}
	e = server_address_parse(&address, name, why);
	if (e)
		return e;
	e = text_of(&zone, s, "zone", why);
	if (e) {
		why_add(why, "server %s", name);
		return e;
	}
	e = plan_add_server(p, name, weight_of(s), zone);
	if (e == ERR_DUPLICATE)
		why_set(why, "the server %s is there twice", name);
	else if (e == ERR_FULL)
		why_set(why, "more than %d servers", SERVER_LIST_MAX);
	else if (e)
		why_set(why, "server %s: its weight is not a number from 0 to %d", name, BALANCED_WEIGHT_MAX);
	else
		e = read_more_of_server(&p->servers[p->n_servers - 1], s, why);
	return e;
}

static enum err read_list(struct str_list *out, const json_t *host, const char *member, struct why *why)
{
	const json_t *list = json_object_get(host, member);
	size_t i;
	json_t *entry;
	enum err e = ERR_OK;

	if (list && !json_is_array(list) && !json_is_null(list)) {
		why_set(why, "its %s is not an array", member);
		return ERR_INVALID;
	}
	json_array_foreach (list, i, entry) {
		if (!json_is_string(entry)) {
			why_set(why, "an entry of its %s is not a text", member);
			return ERR_INVALID;
		}
		e = str_list_add(out, json_string_value(entry));
		if (e)
			return e;
	}
	return e;
}

static bool read_id(const json_t *host, uint64_t fallback, uint64_t *out)
{
	const json_t *id = json_object_get(host, "id");

	*out = fallback;
	if (!id || json_is_null(id))
		return true;
	if (json_is_string(id))
		return str_to_u64(json_string_value(id), out) && *out <= ID_MAX;
	if (!json_is_integer(id) || json_integer_value(id) < 0)
		return false;
	*out = (uint64_t)json_integer_value(id);
	return *out <= ID_MAX;
}

/* What is known of it beyond the ordinary. */
static enum err read_more(struct plan_host *h, const json_t *host, struct why *why)
{
	const json_t *slot = json_object_get(host, "slot"), *confirmed = json_object_get(host, "confirmed");
	enum err e;

	if (json_is_integer(slot) && json_integer_value(slot) >= 0)
		h->slot = (uint64_t)json_integer_value(slot);
	if ((e = read_text(&h->pin, host, "pin", why)) || (e = read_text(&h->away, host, "away", why)) ||
	    (e = read_text(&h->on, host, "on", why)))
		return e;
	h->has_confirmed = confirmed && !json_is_null(confirmed);
	return h->has_confirmed ? read_list(&h->confirmed, host, "confirmed", why) : ERR_OK;
}

static enum err read_host(struct plan *p, const json_t *host, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list list = {0};
	const char *name, *zone;
	struct plan_host *h;
	uint64_t id;
	enum err e;

	if (!json_is_object(host) || !read_id(host, p->n_hosts + 1, &id)) {
		why_set(why, json_is_object(host) ? "its id is not a number" : "it is not an object");
		return ERR_INVALID;
	}
	if ((e = text_of(&name, host, "name", why)) || (e = text_of(&zone, host, "zone", why)) ||
	    (e = read_list(&list, host, "list", why)))
		return e;
	e = plan_add_host(p, id, name, zone, &list);
	if (e)
		return e;
	h = &p->hosts[p->n_hosts - 1];
	e = read_more(h, host, why);
	p->knows_on = p->knows_on || h->on;
	return e;
}

static enum err read_algorithm(struct plan *p, bool *has_algorithm, const json_t *in, struct why *why)
{
	const json_t *algorithm = json_object_get(in, "algorithm");

	*has_algorithm = algorithm && !json_is_null(algorithm);
	if (!*has_algorithm || algorithm_from_text(json_string_value(algorithm), &p->algorithm))
		return ERR_OK;
	why_set(why, "the algorithm is none of %s", algorithm_choices());
	return ERR_INVALID;
}

static enum err check_array(const json_t *in, const char *member, struct why *why)
{
	const json_t *array = json_object_get(in, member);

	if (!array || json_is_null(array) || json_is_array(array))
		return ERR_OK;
	why_set(why, "%s is not an array", member);
	return ERR_INVALID;
}

enum err plan_read_json(struct plan *p, bool *has_algorithm, const json_t *in, struct why *why)
{
	size_t i;
	json_t *item;
	enum err e;

	if (!json_is_object(in)) {
		why_set(why, "a plan is an object with the members servers and hosts");
		return ERR_INVALID;
	}
	if ((e = read_algorithm(p, has_algorithm, in, why)) || (e = check_array(in, "servers", why)) ||
	    (e = check_array(in, "hosts", why)))
		return e;
	json_array_foreach (json_object_get(in, "servers"), i, item) {
		e = read_server(p, item, why);
		if (e)
			return e;
	}
	json_array_foreach (json_object_get(in, "hosts"), i, item) {
		e = read_host(p, item, why);
		if (e) {
			why_add(why, "host %zu", i + 1);
			return e;
		}
	}
	return ERR_OK;
}

/* ---- writing: references that are NULL for want of memory are found out at the end ---- */

static json_t *list_to_json(const struct str_list *l)
{
	json_t *out = json_array();

	for (size_t i = 0; i < l->n; i++) {
		if (json_array_append_new(out, json_string(l->items[i])))
			return json_decref(out), NULL;
	}
	return out;
}

static json_t *failure_to_json(const struct plan_failure *f)
{
	if (!f->servers.n)
		return json_null();
	return json_pack("{s:o,s:I,s:I}", "servers", list_to_json(&f->servers), "min", (json_int_t)f->min, "max",
			 (json_int_t)f->max);
}

static json_t *servers_to_json(const struct plan *p)
{
	json_t *out = json_array();

	for (size_t i = 0; i < p->n_servers; i++) {
		const struct plan_server *s = &p->servers[i];

		json_t *o = json_pack("{s:s,s:I,s:s?,s:I,s:I}", "name", s->name, "weight", (json_int_t)s->weight,
				      "zone", s->zone, "before", (json_int_t)s->before, "after", (json_int_t)s->after);

		if (json_array_append_new(out, o) || (s->resting && json_object_set_new(o, "resting", json_true())))
			return json_decref(out), NULL;
	}
	return out;
}

static json_t *host_to_json(const struct plan *p, const struct plan_host *h)
{
	json_t *o = json_pack("{s:I,s:s?,s:s?,s:o}", "id", (json_int_t)h->id, "name", h->name, "zone", h->zone, "list",
			      list_to_json(&h->after));

	if (h->pin && plan_find_server(p, h->pin) &&
	    (json_object_set_new(o, "pin", json_string(h->pin)) ||
	     (h->away_after && json_object_set_new(o, "away", json_string(h->away_after)))))
		return json_decref(o), NULL;
	return o;
}

/*
 * The slot where the reader would not come to the same by counting the hosts of a zone: there are holes, and the lists
 * of all behind one would turn.
 */
static bool put_slot(json_t *o, struct map *zones, const struct plan_host *h)
{
	const char *zone = h->zone ? h->zone : "";
	uintptr_t counted;

	if (!zones->cap)
		map_init_text(zones, 0); /* as in plan.c */
	counted = (uintptr_t)map_get(zones, zone);
	if (map_put(zones, zone, (void *)(counted + 1)))
		return false;
	return h->slot == counted || json_object_set_new(o, "slot", json_integer((json_int_t)h->slot)) == 0;
}

static json_t *hosts_to_json(const struct plan *p)
{
	CLEAN(map_deinit) struct map zones = {0};
	json_t *out = json_array();

	for (size_t i = 0; i < p->n_hosts; i++) {
		const struct plan_host *h = &p->hosts[i];
		json_t *o = h->is_gone ? NULL : host_to_json(p, h);

		if (h->is_gone)
			continue;
		if (json_array_append_new(out, o) || !put_slot(o, &zones, h))
			return json_decref(out), NULL;
	}
	return out;
}

json_t *plan_to_json(const struct plan *p)
{
	return json_pack("{s:s,s:o,s:o,s:I,s:I,s:o,s:o}", "algorithm", algorithm_name(p->algorithm), "servers",
			 servers_to_json(p), "hosts", hosts_to_json(p), "moves", (json_int_t)p->moves, "minimum_moves",
			 (json_int_t)p->minimum_moves, "worst_single_failure", failure_to_json(&p->worst_single),
			 "worst_double_failure", failure_to_json(&p->worst_double));
}
