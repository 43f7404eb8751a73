/*
 * What servers say about servers: the list of this agent, the ones to avoid, how often to look at the preferred one.
 *
 * A list is written to the file before it is used and before it is answered, so that what a server counts as known
 * survives a kill. A list that is of no use, or that can't be written, changes nothing: the last good one stays.
 */
#include <string.h>

#include "base/mem.h"
#include "client/engine.h"

/* ---- from the file ---- */

static enum err known_load(struct agent *a)
{
	const char *known = agent_file_get(a->file, KEY_KNOWN_MUSTER);

	return known ? str_list_split(&a->known_muster, known, ',') : ERR_OK;
}

enum err list_load(struct agent *a, struct why *why)
{
	const char *host = agent_file_host(a->file);
	enum err e = server_list_parse_reported(&a->list, &a->algorithm, host ? host : "");

	if (!e)
		e = known_load(a);
	a->received_interval = agent_file_received_interval(a->file);
	return e;
}

/* ---- to avoid ---- */

void list_set_avoid(struct agent *a, const struct opt_texts *avoid)
{
	struct str_list none = {0};
	const struct str_list *list = avoid->has ? &avoid->list : &none;

	if (str_list_equal(&a->avoid, list))
		return;
	/* Each candidate is compared with each of them, at each look. */
	if (list->n > SERVER_LIST_MAX) {
		log_warn(a->log, "a list of servers to avoid is too long and not used", KV_U("servers", list->n));
		return;
	}
	if (str_list_copy(&a->avoid, list) != ERR_OK)
		log_warn(a->log, "the list of servers to avoid is not updated", KV_S("error", err_name(ERR_NOMEM)));
	agent_changed(a);
	/* A hunt that was waiting may have somewhere to go now, and the preferred server may be left alone or not. */
	hunt_step(a);
	check_changed(a);
}

/* Avoid lists often hold addresses where the list holds names, which the reference never matches. */
static bool avoid_means(const struct agent *a, const char *avoided, const struct place *p)
{
	struct server_address address;

	if (server_entry_same(avoided, p->entry, a->p.port))
		return true;
	if (!p->last_ip[0] || server_address_parse(&address, avoided, NULL) != ERR_OK)
		return false;
	return !strcmp(address.host, p->last_ip) &&
	       (!address.port || address.port == p->address.port || (!p->address.port && address.port == a->p.port));
}

bool list_avoids(const struct agent *a, const struct place *p)
{
	for (size_t i = 0; i < a->avoid.n; i++) {
		if (avoid_means(a, a->avoid.items[i], p))
			return true;
	}
	return false;
}

/* ---- a received list ---- */

/* Could it be read back from "list@algorithm" as it is? */
static bool has_no_separators(const char *text)
{
	for (const char *c = text; *c; c++) {
		if (*c == ',' || *c == '@' || (unsigned char)*c < ' ' || *c == 0x7f)
			return false;
	}
	return true;
}

static enum err list_check(const struct str_list *l, const char *algorithm, struct why *why)
{
	struct server_address address;
	size_t n_usable = 0;

	if (l->n > SERVER_LIST_MAX) {
		why_set(why, "a list of %zu servers is longer than %d", l->n, SERVER_LIST_MAX);
		return ERR_INVALID;
	}
	for (size_t i = 0; i < l->n; i++) {
		if (!has_no_separators(l->items[i])) {
			why_set(why, "server %zu of the list has characters that can't be stored", i + 1);
			return ERR_INVALID;
		}
		n_usable += server_address_parse(&address, l->items[i], NULL) == ERR_OK;
	}
	if (!has_no_separators(algorithm)) {
		why_set(why, "the name of the algorithm has characters that can't be stored");
		return ERR_INVALID;
	}
	if (!n_usable) {
		why_set(why, "the list has no usable server");
		return ERR_INVALID;
	}
	return ERR_OK;
}

static void list_use(struct agent *a, struct str_list *take_list, char **take_algorithm)
{
	str_list_move(&a->list, take_list);
	mem_free(a->algorithm);
	a->algorithm = STEAL(*take_algorithm);
	a->hunt.fallback = 0;
	if (a->current)
		news_forget(a->current);
	a->list_worked = a->state == AGENT_UP && a->current && str_list_has(&a->list, a->current->entry);
	log_info(a->log, "new list of servers", KV_S("preferred", a->list.items[0]), KV_U("servers", a->list.n),
		 KV_S("algorithm", a->algorithm));
	agent_changed(a);
}

static enum err list_take(struct agent *a, const struct received_list *r, bool *is_new, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list list = {0};
	CLEAN(mem_freep) char *algorithm = mem_strdup(r->algorithm);
	enum err e = list_check(&r->list->list, r->algorithm, why);

	if (e)
		return e;
	e = str_list_copy(&list, &r->list->list);
	if (!e && !algorithm)
		e = ERR_NOMEM;
	if (!e && r->interval && r->interval->has)
		e = agent_file_save_list_and_interval(a->file, &list, algorithm, a->list_worked, r->interval->value,
						      why);
	else if (!e)
		e = agent_file_save_list(a->file, &list, algorithm, a->list_worked, why);
	if (e)
		return e;
	*is_new = !str_list_equal(&a->list, &list) || strcmp(a->algorithm, algorithm) != 0;
	if (!*is_new)
		return ERR_OK;
	list_use(a, &list, &algorithm);
	return candidates_rebuild(a);
}

/* An interval that can't be written is used all the same: losing it costs less than refusing a server over it. */
static void interval_take(struct agent *a, int64_t interval)
{
	struct why why = WHY_NONE;
	enum err e = agent_file_save_interval(a->file, interval, &why);

	if (e)
		log_warn(a->log, "the check interval is not stored", KV_S("reason", why_text(&why, e)));
}

enum err list_received(struct agent *a, const struct received_list *r, struct why *why)
{
	bool has_list = r->list->has && r->list->list.n && !str_is_blank(r->algorithm);
	bool has_interval = r->interval && r->interval->has;
	bool is_new = false;
	enum err e = ERR_OK;

	list_set_avoid(a, r->avoid);
	if (has_list)
		e = list_take(a, r, &is_new, why);
	else if (has_interval)
		interval_take(a, r->interval->value);
	if (e) {
		log_warn(a->log, "the list of servers is not used", KV_S("reason", why_text(why, e)));
		return e;
	}
	/* Absent is 0, as in the reference; the file keeps what it has, because a second Ready often brings it. */
	if (r->interval)
		a->received_interval = has_interval && r->interval->value > 0 ? r->interval->value : 0;
	check_plan(a, is_new);
	if (is_new)
		check_changed(a);
	if (r->trigger)
		check_told(a);
	return ERR_OK;
}
