/*
 * Whatever text stands for a list of servers: a setting that is accepted can be written, reported and read again as
 * the same list, and any algorithm's list made of it is current; what an agent reports is read without complaint, and
 * in place the same as with memory.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/algorithm.h"
#include "core/server_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* Entries are compared with each other: a few hundred are plenty. */
#define SIZE_MAX_USEFUL 4096

static void must_be_one_address(const char *entry)
{
	struct server_address a, again;
	struct why why = WHY_NONE;
	char text[SERVER_HOST_MAX + 9];

	MUST(server_entry_same(entry, entry, 8250));
	if (server_address_parse(&a, entry, &why)) {
		MUST(why.text[0]);
		return;
	}
	server_address_format(text, sizeof(text), &a);
	MUST(server_address_parse(&again, text, NULL) == ERR_OK);
	MUST(strcmp(a.host, again.host) == 0 && a.port == again.port);
	MUST(server_entry_same(entry, text, 8250));
	MUST(server_address_is_loopback(&a) == server_address_is_loopback(&again));
}

static void must_be_current(const struct str_list *servers, enum algorithm a, uint64_t slot)
{
	CLEAN(str_list_deinit) struct str_list list = {0};
	CLEAN(mem_freep) char *text = NULL;
	struct rng rng;

	rng_init(&rng, slot);
	MUST(algorithm_order(&list, a, servers, slot, &rng) == ERR_OK);
	text = server_list_format(&list, algorithm_name(a));
	MUST(text && algorithm_is_current(a, servers, slot, text));
}

static void try_setting(const char *value)
{
	CLEAN(str_list_deinit) struct str_list list = {0}, again = {0};
	CLEAN(mem_freep) char *text = NULL;
	struct why why = WHY_NONE;

	if (server_list_parse_setting(&list, value, &why)) {
		MUST(why.text[0] && !list.n);
		return;
	}
	MUST(list.n >= 1 && list.n <= SERVER_LIST_MAX);
	text = server_list_format(&list, NULL);
	MUST(text && server_list_parse_setting(&again, text, NULL) == ERR_OK);
	MUST(str_list_equal(&list, &again));
	for (size_t i = 0; i < list.n; i++) {
		MUST(server_address_parse(&(struct server_address){.port = 0}, list.items[i], NULL) == ERR_OK);
		must_be_one_address(list.items[i]);
	}
	must_be_current(&list, ALGORITHM_STATIC, list.n);
	must_be_current(&list, ALGORITHM_ROUNDROBIN, strlen(value));
	must_be_current(&list, ALGORITHM_SHUFFLE, strlen(value));
}

static void must_walk_the_same(const char *value, const struct str_list *list, const char *algorithm)
{
	struct server_list_walk w;
	size_t n = 0;

	server_list_walk_init(&w, value);
	MUST(w.algorithm_len == strlen(algorithm) && memcmp(w.algorithm, algorithm, w.algorithm_len) == 0);
	for (; server_list_walk_next(&w); n++) {
		MUST(n < list->n && w.entry_len == strlen(list->items[n]));
		MUST(memcmp(w.entry, list->items[n], w.entry_len) == 0);
	}
	MUST(n == list->n);
}

static void try_reported(const char *value)
{
	CLEAN(str_list_deinit) struct str_list list = {0}, again = {0}, servers = {0};
	CLEAN(mem_freep) char *algorithm = NULL, *algorithm_again = NULL, *text = NULL;

	MUST(server_list_parse_reported(&list, &algorithm, value) == ERR_OK);
	must_walk_the_same(value, &list, algorithm);
	for (size_t i = 0; i < list.n; i++)
		must_be_one_address(list.items[i]);

	text = server_list_format(&list, algorithm);
	MUST(text && server_list_parse_reported(&again, &algorithm_again, text) == ERR_OK);
	MUST(str_list_equal(&list, &again));
	MUST(strcmp(algorithm, algorithm_again) == 0 || (str_is_blank(algorithm) && !*algorithm_again));

	MUST(str_list_add(&servers, "M1") == ERR_OK && str_list_add(&servers, "M2") == ERR_OK);
	for (enum algorithm a = ALGORITHM_STATIC; a <= ALGORITHM_SHUFFLE; a++) {
		if (algorithm_is_current(a, &servers, 1, value))
			MUST(strcmp(algorithm, algorithm_name(a)) == 0 && list.n == 2);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEAN(mem_freep) char *value = NULL;

	if (size > SIZE_MAX_USEFUL)
		return 0;
	value = mem_strndup((const char *)data, size);
	MUST(value);
	must_be_one_address(value);
	try_setting(value);
	try_reported(value);
	return 0;
}
