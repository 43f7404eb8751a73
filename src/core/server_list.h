/*
 * Lists of management servers as texts: the administrator's `host` setting, the value that an agent keeps and
 * reports (`M1,M2,M3@algorithm`), and single entries (name, IPv4, IPv6, with or without a port).
 *
 * A list is a struct str_list of entries spelled as the administrator spelled them; agents compare them as strings.
 * Rules are numbered as in docs/placement.md.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define SERVER_LIST_MAX 256   /* entries in a `host` setting */
#define SERVER_HOST_MAX 254   /* a DNS name and its NUL */
#define SERVER_LIST_PORT 8250 /* what an agent dials when neither the entry nor its own settings name a port */

/* One entry taken apart. */
struct server_address {
	char host[SERVER_HOST_MAX]; /* without brackets */
	uint16_t port;              /* 0: none was given, the agent's own default holds */
};

/* Does a host look like an address, so that nobody asks for it as a name? Digits and dots, or a colon. */
bool server_host_is_address(const char *host);
/*
 * "M1", "10.0.0.1", "fe80::1", "[fe80::1]:8250", "M1:8250". A bare IPv6 address has no port. ERR_INVALID with a
 * sentence for people: blank, bad characters, port out of range, too long.
 */
enum err server_address_parse(struct server_address *out, const char *entry, struct why *why) MUST_CHECK;
/* As it would be written; IPv6 with a port gets brackets. `out` needs SERVER_HOST_MAX + 9 bytes. */
void server_address_format(char *out, size_t size, const struct server_address *a);
/* The entry for a server that is known by an address and a port: without the port where that is the default one. */
enum err server_entry_make(char *out, size_t size, const char *address, int64_t port) MUST_CHECK;
bool server_address_is_loopback(const struct server_address *a);
/* Do two entries mean the same server (ports filled in from `port`, names without case)? */
bool server_entry_same(const char *a, const char *b, uint16_t port);

/*
 * The administrator's setting: split at commas, blanks around entries dropped, every entry valid, none twice, 1 to
 * SERVER_LIST_MAX. ERR_INVALID with the entry and the reason.
 */
enum err server_list_parse_setting(struct str_list *out, const char *value, struct why *why) MUST_CHECK;
/*
 * What an agent keeps or reports: text before the first '@' split at ',' (trailing empty entries dropped), text
 * between the first and second '@' is the algorithm ("" when there is none). `algorithm` gets a new string.
 * Never fails on content, only for memory: what can't be used is for the caller to see entry by entry.
 */
enum err server_list_parse_reported(struct str_list *out, char **algorithm, const char *value) MUST_CHECK;
/*
 * The same value read in place, for comparing without memory:
 *
 *   server_list_walk_init(&w, value);
 *   while (server_list_walk_next(&w)) ... w.entry, w.entry_len ...
 */
struct server_list_walk {
	const char *next, *end; /* what is left of the entries, without trailing empty ones */
	const char *entry;      /* borrowed, not NUL-terminated; valid after server_list_walk_next() said true */
	size_t entry_len;
	const char *algorithm; /* borrowed, not NUL-terminated; never NULL */
	size_t algorithm_len;
};

void server_list_walk_init(struct server_list_walk *w, const char *value); /* NULL: like "" */
bool server_list_walk_next(struct server_list_walk *w);
bool server_list_walk_is(const struct server_list_walk *w, const char *entry); /* does it stand on this text? */
/* "M1,M2,M3@algorithm", or without "@..." when algorithm is NULL or "". New string, NULL: out of memory. */
char *server_list_format(const struct str_list *l, const char *algorithm);
