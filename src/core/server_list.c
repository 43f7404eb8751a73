/*
 * Lists of management servers as texts.
 *
 * Two readers with opposite manners: the administrator's setting is refused with a sentence when anything about it is
 * wrong, because it is about to reach every agent; what an agent reports is never refused, because the answer to a
 * broken list is to send a good one. Names are only checked for their form: nothing here resolves or dials.
 */
#include "core/server_list.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define LABEL_MAX 63

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_name_char(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

/* Takes "%eth0" off: it says through which interface a link-local address is reached. */
static bool ipv6_parse(const char *text, struct in6_addr *out, const char **scope)
{
	char address[INET6_ADDRSTRLEN];
	const char *percent = strchr(text, '%');
	size_t n = percent ? (size_t)(percent - text) : strlen(text);

	if (n >= sizeof(address))
		return false;
	memcpy(address, text, n);
	address[n] = '\0';
	*scope = percent ? percent + 1 : "";
	if (percent && !**scope)
		return false;
	for (const char *c = *scope; *c; c++) {
		if (!is_name_char(*c) && *c != '.')
			return false;
	}
	return inet_pton(AF_INET6, address, out) == 1;
}

static enum err name_check(const char *name, struct why *why)
{
	const char *label = name;

	for (const char *c = name;; c++) {
		size_t n = (size_t)(c - label);

		if (is_name_char(*c))
			continue;
		if (*c && *c != '.') {
			why_set(why, "a name has only letters, digits, '-', '_' and '.'");
			return ERR_INVALID;
		}
		if (!*c && !n && c > name) /* one dot at the end closes a full name */
			return ERR_OK;
		if (!n || n > LABEL_MAX || label[0] == '-' || label[n - 1] == '-') {
			why_set(why, "each part of a name has 1 to %d characters and no '-' at its ends", LABEL_MAX);
			return ERR_INVALID;
		}
		if (!*c)
			return ERR_OK;
		label = c + 1;
	}
}

bool server_host_is_address(const char *host)
{
	return strchr(host, ':') || (strspn(host, "0123456789.") == strlen(host) && strpbrk(host, "0123456789"));
}

static enum err host_check(const char *host, struct why *why)
{
	struct in6_addr v6;
	struct in_addr v4;
	const char *scope;

	if (strchr(host, ':')) {
		if (ipv6_parse(host, &v6, &scope))
			return ERR_OK;
		why_set(why, "this is no IPv6 address");
		return ERR_INVALID;
	}
	/* Resolvers read "10.1" and "0x7f.1" as addresses that nobody meant: digits and dots are four numbers or
	 * nothing. */
	if (server_host_is_address(host)) {
		if (inet_pton(AF_INET, host, &v4) == 1)
			return ERR_OK;
		why_set(why, "this is no IPv4 address");
		return ERR_INVALID;
	}
	return name_check(host, why);
}

static enum err port_parse(uint16_t *out, const char *text, struct why *why)
{
	uint32_t port = 0;
	size_t n = strspn(text, "0123456789");

	for (size_t i = 0; i < n && port <= UINT16_MAX; i++)
		port = port * 10 + (uint32_t)(text[i] - '0');
	if (!n || text[n] || !port || port > UINT16_MAX) {
		why_set(why, "port \"%.16s\" is not between 1 and 65535", text);
		return ERR_INVALID;
	}
	*out = (uint16_t)port;
	return ERR_OK;
}

/* Finds where the host begins and ends; *port is the text after its colon or NULL. */
static enum err entry_split(const char *entry, const char **host, size_t *len, const char **port, struct why *why)
{
	const char *colon = strchr(entry, ':');
	const char *close;

	*host = entry;
	*len = strlen(entry);
	*port = NULL;
	if (entry[0] == '[') {
		close = strchr(entry, ']');
		if (!close || (close[1] && close[1] != ':') || !memchr(entry, ':', (size_t)(close - entry))) {
			why_set(why, "brackets are for IPv6 addresses: [address] or [address]:port");
			return ERR_INVALID;
		}
		*host = entry + 1;
		*len = (size_t)(close - *host);
		if (close[1])
			*port = close + 2;
	} else if (colon && !strchr(colon + 1, ':')) {
		*len = (size_t)(colon - entry);
		*port = colon + 1;
	}
	/* More than one colon and no brackets: IPv6 without a port. */
	return ERR_OK;
}

enum err server_address_parse(struct server_address *out, const char *entry, struct why *why)
{
	struct server_address a = {.port = 0};
	const char *host, *port;
	size_t len;
	enum err e;

	if (str_is_blank(entry)) {
		why_set(why, "an entry is blank");
		return ERR_INVALID;
	}
	if ((e = entry_split(entry, &host, &len, &port, why)))
		return e;
	if (!len || len >= sizeof(a.host)) {
		why_set(why, len ? "longer than %d characters" : "no name before the port", SERVER_HOST_MAX - 1);
		return ERR_INVALID;
	}
	memcpy(a.host, host, len);
	if ((e = host_check(a.host, why)) || (port && (e = port_parse(&a.port, port, why)))) {
		if (why)
			str_make_printable(why->text);
		return e;
	}
	*out = a;
	return ERR_OK;
}

void server_address_format(char *out, size_t size, const struct server_address *a)
{
	bool is_v6 = strchr(a->host, ':');

	if (!a->port)
		snprintf(out, size, "%s", a->host);
	else
		snprintf(out, size, is_v6 ? "[%s]:%u" : "%s:%u", a->host, (unsigned)a->port);
}

enum err server_entry_make(char *out, size_t size, const char *address, int64_t port)
{
	struct server_address a;
	enum err e = server_address_parse(&a, address, NULL);

	if (e)
		return e;
	if (port != SERVER_LIST_PORT)
		a.port = (uint16_t)port;
	server_address_format(out, size, &a);
	return ERR_OK;
}

/* A name without the dot that may close it. */
static size_t name_len(const char *name)
{
	size_t n = strlen(name);

	return n && name[n - 1] == '.' ? n - 1 : n;
}

static bool name_same(const char *a, const char *b)
{
	char left[SERVER_HOST_MAX], right[SERVER_HOST_MAX];

	snprintf(left, sizeof(left), "%.*s", (int)name_len(a), a);
	snprintf(right, sizeof(right), "%.*s", (int)name_len(b), b);
	return str_equal_nocase(left, right);
}

bool server_address_is_loopback(const struct server_address *a)
{
	struct in6_addr v6;
	struct in_addr v4;
	const char *scope;

	if (inet_pton(AF_INET, a->host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	if (ipv6_parse(a->host, &v6, &scope))
		return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
	return name_same(a->host, "localhost");
}

static bool host_same(const char *a, const char *b)
{
	struct in6_addr left, right;
	const char *left_scope, *right_scope;

	if (ipv6_parse(a, &left, &left_scope) && ipv6_parse(b, &right, &right_scope))
		return memcmp(&left, &right, sizeof(left)) == 0 && strcmp(left_scope, right_scope) == 0;
	return name_same(a, b);
}

bool server_entry_same(const char *a, const char *b, uint16_t port)
{
	struct server_address left, right;

	if (server_address_parse(&left, a, NULL) || server_address_parse(&right, b, NULL))
		return str_equal(a, b);
	return (left.port ? left.port : port) == (right.port ? right.port : port) && host_same(left.host, right.host);
}

/* Lists 2 to 4, for the entry that would come next. */
static enum err setting_check_next(const struct str_list *l, const char *entry, struct why *why)
{
	struct server_address a;
	enum err e = server_address_parse(&a, entry, why);

	if (!e && l->n == SERVER_LIST_MAX) {
		why_set(why, "a list has at most %d entries", SERVER_LIST_MAX);
		e = ERR_INVALID;
	}
	for (size_t i = 0; !e && i < l->n; i++) {
		if (server_entry_same(l->items[i], entry, SERVER_LIST_PORT)) {
			why_set(why, "the same server as entry %zu, \"%s\"", i + 1, l->items[i]);
			e = ERR_INVALID;
		}
	}
	if (e) {
		why_add(why, "entry %zu, \"%.80s\"", l->n + 1, entry);
		if (why)
			str_make_printable(why->text);
	}
	return e;
}

/* Without blanks at both ends, in place; line ends count as blanks here: the value may come from a file. */
static char *strip(char *text)
{
	size_t n;

	while (is_space(*text))
		text++;
	n = strlen(text);
	while (n && is_space(text[n - 1]))
		text[--n] = '\0';
	return text;
}

enum err server_list_parse_setting(struct str_list *out, const char *value, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list parts = {0}, list = {0};
	CLEAN(mem_freep) char *text = mem_strdup(value ? value : "");
	enum err e;

	if (!text)
		return ERR_NOMEM;
	/* Lists 1. Commas separate; blanks around an entry don't belong to it. One inside is a mistake that must show.
	 */
	if (str_is_blank(strip(text))) {
		why_set(why, "the list of servers is empty");
		return ERR_INVALID;
	}
	if ((e = str_list_split(&parts, text, ',')))
		return e;
	for (size_t i = 0; i < parts.n; i++) {
		const char *entry = strip(parts.items[i]);

		if ((e = setting_check_next(&list, entry, why)) || (e = str_list_add(&list, entry)))
			return e;
	}
	str_list_move(out, &list);
	return ERR_OK;
}

void server_list_walk_init(struct server_list_walk *w, const char *value)
{
	const char *at;

	*w = (struct server_list_walk){.next = value ? value : ""};
	w->end = w->next + strcspn(w->next, "@");
	at = w->end;
	w->algorithm = *at ? at + 1 : at;
	w->algorithm_len = strcspn(w->algorithm, "@");
	/* Lists 7. Empty entries at the end don't count; others do, they are a mistake that must show. */
	while (w->end > w->next && w->end[-1] == ',')
		w->end--;
	if (w->end == w->next)
		w->next = NULL;
}

bool server_list_walk_is(const struct server_list_walk *w, const char *entry)
{
	return strncmp(w->entry, entry, w->entry_len) == 0 && !entry[w->entry_len];
}

bool server_list_walk_next(struct server_list_walk *w)
{
	const char *comma;

	if (!w->next)
		return false;
	comma = memchr(w->next, ',', (size_t)(w->end - w->next));
	w->entry = w->next;
	w->entry_len = (size_t)((comma ? comma : w->end) - w->entry);
	w->next = comma ? comma + 1 : NULL;
	return true;
}

enum err server_list_parse_reported(struct str_list *out, char **algorithm, const char *value)
{
	CLEAN(str_list_deinit) struct str_list list = {0};
	struct server_list_walk w;
	enum err e;

	server_list_walk_init(&w, value);
	while (server_list_walk_next(&w)) {
		if ((e = str_list_add_n(&list, w.entry, w.entry_len)))
			return e;
	}
	if (!(*algorithm = mem_strndup(w.algorithm, w.algorithm_len)))
		return ERR_NOMEM;
	str_list_move(out, &list);
	return ERR_OK;
}

char *server_list_format(const struct str_list *l, const char *algorithm)
{
	CLEAN(mem_freep) char *entries = str_list_join(l, ",");

	if (!entries || str_is_blank(algorithm))
		return STEAL(entries);
	return mem_printf("%s@%s", entries, algorithm);
}
