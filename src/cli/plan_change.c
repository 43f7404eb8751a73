#include "cli/plan_change.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "core/balanced.h"
#include "core/server_list.h"

/* ---- ENTRY[:WEIGHT[:ZONE]] ---- */

static bool is_ipv6(const char *text)
{
	struct in6_addr address;
	char plain[INET6_ADDRSTRLEN];
	size_t n = strcspn(text, "%");

	if (n >= sizeof(plain))
		return false;
	memcpy(plain, text, n);
	plain[n] = '\0';
	return inet_pton(AF_INET6, plain, &address) == 1;
}

/* The host at the front; *rest is what follows it, "" or from a ':' on. */
static enum err take_host(struct server_address *a, const char *text, const char **rest, struct why *why)
{
	const char *end = *text == '[' ? strchr(text, ']') : NULL;
	CLEAN(mem_freep) char *host = NULL;

	if (is_ipv6(text)) {
		why_set(why, "an IPv6 address stands in brackets here: [%s]", text);
		return ERR_INVALID;
	}
	end = end ? end + 1 : text + strcspn(text, ":");
	if (*end && *end != ':') {
		why_set(why, "\"%s\" does not belong there", end);
		return ERR_INVALID;
	}
	*rest = end;
	if (*text == '[' && end - text >= 2)
		host = mem_strndup(text + 1, (size_t)(end - text) - 2);
	else
		host = mem_strndup(text, (size_t)(end - text));
	if (!host)
		return ERR_NOMEM;
	if (*text == '[' && !is_ipv6(host)) {
		why_set(why, "\"%s\" in brackets is no IPv6 address", host);
		return ERR_INVALID;
	}
	return server_address_parse(a, host, why);
}

static enum err no_number(const char *text, struct why *why)
{
	why_set(why, "\"%s\" is no weight (0 to %d) and no port (%d to 65535)", text, BALANCED_WEIGHT_MAX,
		BALANCED_WEIGHT_MAX + 1);
	return ERR_INVALID;
}

/* The fields behind the host: [port] [weight] [zone]. */
static enum err take_fields(struct plan_added *out, struct server_address *a, char **fields, size_t n, struct why *why)
{
	int64_t number;
	size_t at = 0;

	if (at < n && str_to_i64(fields[at], &number) && number > BALANCED_WEIGHT_MAX) {
		if (number > UINT16_MAX)
			return no_number(fields[at], why);
		a->port = (uint16_t)number;
		at++;
	}
	if (at < n && *fields[at]) {
		if (!str_to_i64(fields[at], &out->weight) || out->weight < 0 || out->weight > BALANCED_WEIGHT_MAX)
			return no_number(fields[at], why);
		at++;
	} else if (at < n) {
		at++; /* "M4::east" */
	}
	if (at < n && (str_is_blank(fields[at]) || !str_copy(out->zone, sizeof(out->zone), fields[at]))) {
		why_set(why, "\"%s\" is no zone", fields[at]);
		return ERR_INVALID;
	}
	if (at + 1 < n) {
		why_set(why, "\"%s\" is too much: it is ENTRY[:WEIGHT[:ZONE]]", fields[at + 1]);
		return ERR_INVALID;
	}
	return ERR_OK;
}

enum err plan_added_parse(struct plan_added *out, const char *text, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list fields = {0};
	struct server_address a;
	const char *rest;
	enum err e;

	*out = (struct plan_added){.weight = 1};
	if ((e = take_host(&a, text, &rest, why)))
		return e;
	if (*rest && (e = str_list_split(&fields, rest + 1, ':')))
		return e;
	/* Nothing behind a colon. */
	if (*rest && (!fields.n || (fields.n == 1 && !*fields.items[0])))
		return no_number("", why);
	if ((e = take_fields(out, &a, fields.items, fields.n, why)))
		return e;
	server_address_format(out->entry, sizeof(out->entry), &a);
	return ERR_OK;
}

/* ---- changing ---- */

static const struct plan_server *server_that_was(const struct plan *p, const char *name)
{
	for (size_t i = 0; i < p->n_was; i++) {
		if (str_equal(p->was[i].name, name))
			return &p->was[i];
	}
	return NULL;
}

static enum err add_server(struct plan *p, const char *name, int64_t weight, const char *zone, struct why *why)
{
	enum err e;

	for (size_t i = 0; i < p->n_servers; i++) {
		if (server_entry_same(p->servers[i].name, name, SERVER_LIST_PORT)) {
			why_set(why, "the server %s is there already", p->servers[i].name);
			return ERR_INVALID;
		}
	}
	e = plan_add_server(p, name, weight, zone);
	if (e == ERR_FULL)
		why_set(why, "more than %d servers", SERVER_LIST_MAX);
	return e == ERR_FULL ? ERR_INVALID : e;
}

static enum err replace_servers(struct plan *p, const char *text, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list names = {0};
	enum err e = server_list_parse_setting(&names, text, why);

	if (!e)
		plan_remove_servers(p);
	for (size_t i = 0; !e && i < names.n; i++) {
		const struct plan_server *was = server_that_was(p, names.items[i]);

		e = add_server(p, names.items[i], was ? was->weight : 1, was ? was->zone : NULL, why);
	}
	if (e)
		why_add(why, "--servers");
	return e;
}

typedef enum err part_fn(struct plan *p, char *part, struct why *why);

/* For each part of "A,B", with the option and the part in front of what is wrong with it. */
static enum err each_part(struct plan *p, const char *option, const char *text, part_fn *each, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list parts = {0};
	enum err e = str_list_split(&parts, text, ',');

	if (!e && !parts.n) {
		why_set(why, "%s names no server", option);
		return ERR_INVALID;
	}
	for (size_t i = 0; !e && i < parts.n; i++) {
		char *part = str_trim(parts.items[i]);

		e = each(p, part, why);
		if (e)
			why_add(why, "%s %.80s", option, part);
	}
	return e;
}

static enum err add_one(struct plan *p, char *part, struct why *why)
{
	struct plan_added added;
	enum err e = plan_added_parse(&added, part, why);

	return e ? e : add_server(p, added.entry, added.weight, added.zone, why);
}

static enum err remove_one(struct plan *p, char *part, struct why *why)
{
	const struct plan_server *s = plan_find_called(p, part);

	if (s && plan_remove_server(p, s->name) == ERR_OK)
		return ERR_OK;
	why_set(why, "there is no server %s", part);
	return ERR_INVALID;
}

static enum err weigh_one(struct plan *p, char *part, struct why *why)
{
	char *equals = strrchr(part, '=');
	struct plan_server *s;
	int64_t weight;

	if (!equals || !str_to_i64(equals + 1, &weight) || weight < 0 || weight > BALANCED_WEIGHT_MAX) {
		why_set(why, "it is ENTRY=WEIGHT, a weight from 0 to %d", BALANCED_WEIGHT_MAX);
		return ERR_INVALID;
	}
	*equals = '\0';
	s = plan_find_called(p, part);
	if (!s) {
		why_set(why, "there is no server %s", part);
		return ERR_INVALID;
	}
	s->weight = weight;
	return ERR_OK;
}

enum err plan_change(struct plan *p, const struct plan_changes *ch, struct why *why)
{
	enum err e = ERR_OK;

	if (ch->servers)
		e = replace_servers(p, ch->servers, why);
	if (!e && ch->add)
		e = each_part(p, "--add", ch->add, add_one, why);
	if (!e && ch->remove)
		e = each_part(p, "--remove", ch->remove, remove_one, why);
	if (!e && ch->weight)
		e = each_part(p, "--weight", ch->weight, weigh_one, why);
	if (!e && ch->hosts != PLAN_SAME_SIZE)
		e = plan_resize(p, (size_t)ch->hosts);
	return e;
}

enum err plan_failed_parse(bool failed[SERVER_LIST_MAX], const struct plan *p, const char *text, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list names = {0};
	enum err e = server_list_parse_setting(&names, text, why);

	memset(failed, 0, SERVER_LIST_MAX * sizeof(*failed));
	for (size_t i = 0; !e && i < names.n; i++) {
		const struct plan_server *s = plan_find_called(p, names.items[i]);

		if (s) {
			failed[s - p->servers] = true;
		} else {
			why_set(why, "there is no server %s", names.items[i]);
			e = ERR_INVALID;
		}
	}
	if (e)
		why_add(why, "--fail");
	return e;
}
