#include "cli/plan_json.h"

#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "core/balanced.h"
#include "core/server_list.h"

/* ---- reading ---- */

static enum err read_server(struct plan *p, const json_t *s, struct why *why)
{
	const char *name = json_is_string(s) ? json_string_value(s) : json_text(s, "name", NULL);
	struct server_address address;
	enum err e;

	if (!name) {
		why_set(why, "a server needs a name");
		return ERR_INVALID;
	}
	e = server_address_parse(&address, name, why);
	if (e)
		return e;
	e = plan_add_server(p, name, json_number(s, "weight", 1), json_text(s, "zone", NULL));
	if (e == ERR_DUPLICATE)
		why_set(why, "the server %s is there twice", name);
	else if (e == ERR_FULL)
		why_set(why, "more than %d servers", SERVER_LIST_MAX);
	else if (e)
		why_set(why, "server %s: its weight is not a number from 0 to %d", name, BALANCED_WEIGHT_MAX);
	else
		p->servers[p->n_servers - 1].resting = json_flag(s, "resting", false);
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
		return str_to_u64(json_string_value(id), out);
	if (!json_is_integer(id) || json_integer_value(id) < 0)
		return false;
	*out = (uint64_t)json_integer_value(id);
	return true;
}

/* A member that is a text or not there; *out is a new string. */
static enum err read_text(char **out, const json_t *host, const char *member, struct why *why)
{
	const json_t *text = json_object_get(host, member);

	if (!text || json_is_null(text))
		return ERR_OK;
	if (!json_is_string(text)) {
		why_set(why, "its %s is not a text", member);
		return ERR_INVALID;
	}
	*out = mem_strdup(json_string_value(text));
	return *out ? ERR_OK : ERR_NOMEM;
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
	struct plan_host *h;
	uint64_t id;
	enum err e;

	if (!json_is_object(host) || !read_id(host, p->n_hosts + 1, &id)) {
		why_set(why, json_is_object(host) ? "its id is not a number" : "it is not an object");
		return ERR_INVALID;
	}
	e = read_list(&list, host, "list", why);
	if (e)
		return e;
	e = plan_add_host(p, id, json_text(host, "name", NULL), json_text(host, "zone", NULL), &list);
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

enum err plan_read_json(struct plan *p, bool *has_algorithm, const json_t *in, struct why *why)
{
	size_t i;
	json_t *item;
	enum err e;

	if (!json_is_object(in)) {
		why_set(why, "a plan is an object with the members servers and hosts");
		return ERR_INVALID;
	}
	e = read_algorithm(p, has_algorithm, in, why);
	if (e)
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

		if (json_array_append_new(out, json_pack("{s:s,s:I,s:s?,s:I,s:I}", "name", s->name, "weight",
							 (json_int_t)s->weight, "zone", s->zone, "before",
							 (json_int_t)s->before, "after", (json_int_t)s->after)))
			return json_decref(out), NULL;
	}
	return out;
}

static json_t *host_to_json(const struct plan *p, const struct plan_host *h)
{
	json_t *o = json_pack("{s:I,s:s?,s:s?,s:o}", "id", (json_int_t)h->id, "name", h->name, "zone", h->zone, "list",
			      list_to_json(&h->after));

	if (h->pin && plan_find_server(p, h->pin) && json_object_set_new(o, "pin", json_string(h->pin)))
		return json_decref(o), NULL;
	return o;
}

static json_t *hosts_to_json(const struct plan *p)
{
	json_t *out = json_array();

	for (size_t i = 0; i < p->n_hosts; i++) {
		if (!p->hosts[i].is_gone && json_array_append_new(out, host_to_json(p, &p->hosts[i])))
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
