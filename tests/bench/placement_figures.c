/*
 * The numbers behind the picture in docs/placement.md: 5 servers, 200 hosts, and how many hosts are on each server
 * before, after one and after two failures, under three algorithms. Real rules, no drawing; tools/placement_picture.py
 * draws. One line for each: algorithm, failed servers, five loads.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/algorithm.h"
#include "core/balanced.h"

#define SERVERS 5
#define HOSTS 200

/* By host: its list, as places of servers. */
typedef size_t lists[HOSTS][SERVERS];

static void must(enum err e)
{
	if (e) {
		fprintf(stderr, "placement_figures: %s\n", err_text(e));
		exit(1);
	}
}

static void order(lists out, enum algorithm a, const struct str_list *servers)
{
	struct rng rng;

	rng_init(&rng, 1);
	for (uint64_t i = 0; i < HOSTS; i++) {
		struct str_list l = {0};

		must(algorithm_order(&l, a, servers, i, &rng));
		for (size_t k = 0; k < SERVERS; k++)
			out[i][k] = str_list_find(servers, l.items[k]);
		str_list_deinit(&l);
	}
}

static void balance(lists out, const struct str_list *servers)
{
	struct balanced_server s[SERVERS];
	struct balanced *b;

	for (size_t i = 0; i < SERVERS; i++)
		s[i] = (struct balanced_server){servers->items[i], 1, NULL};
	must(balanced_design(&b, s, SERVERS, NULL, 0, NULL));
	for (uint64_t i = 0; i < HOSTS; i++)
		must(balanced_add_host(b, i + 1, NULL));
	for (uint64_t i = 0; i < HOSTS; i++) {
		uint16_t list[SERVER_LIST_MAX];

		if (balanced_list(b, i + 1, list) != SERVERS)
			must(ERR_DAMAGED);
		for (size_t k = 0; k < SERVERS; k++)
			out[i][k] = list[k];
	}
	balanced_free(b);
}

static void print(const char *algorithm, lists l, size_t n_failed)
{
	unsigned load[SERVERS] = {0};

	for (size_t i = 0; i < HOSTS; i++) {
		size_t k = 0;

		while (l[i][k] < n_failed)
			k++;
		load[l[i][k]]++;
	}
	printf("%s %zu", algorithm, n_failed);
	for (size_t i = 0; i < SERVERS; i++)
		printf(" %u", load[i]);
	printf("\n");
}

int main(void)
{
	static lists l;
	struct str_list servers = {0};

	must(str_list_split(&servers, "M1,M2,M3,M4,M5", ','));
	for (int which = 0; which < 3; which++) {
		static const char *const names[] = {"roundrobin", "shuffle", "balanced"};

		if (which < 2)
			order(l, which ? ALGORITHM_SHUFFLE : ALGORITHM_ROUNDROBIN, &servers);
		else
			balance(l, &servers);
		for (size_t n_failed = 0; n_failed <= 2; n_failed++)
			print(names[which], l, n_failed);
	}
	str_list_deinit(&servers);
	return 0;
}
