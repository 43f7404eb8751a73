/*
 * How fast lists are made and compared: one for each of 100,000 hosts, beside the floor of copying the same texts.
 * Also a whole plan for 100,000 hosts on 10 servers. Prints figures, asserts nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "core/algorithm.h"
#include "core/plan.h"
#include "core/server_list.h"

#define HOSTS 100000
#define SERVERS 10

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(enum err e)
{
	if (e) {
		fprintf(stderr, "bench_lists: %s\n", err_text(e));
		exit(1);
	}
}

static void print(const char *what, double s, double floor_s)
{
	printf("%-34s %8.1f ms   %6.2f us a host   %4.1f x the floor\n", what, s * 1e3, s * 1e6 / HOSTS, s / floor_s);
}

static double order_all(enum algorithm a, const struct str_list *servers, struct rng *rng)
{
	struct str_list out = {0};
	double start = seconds();

	for (uint64_t slot = 0; slot < HOSTS; slot++)
		must(algorithm_order(&out, a, servers, slot, rng));
	str_list_deinit(&out);
	return seconds() - start;
}

int main(void)
{
	struct str_list servers = {0}, out = {0};
	struct rng rng;
	struct plan plan = {.algorithm = ALGORITHM_ROUNDROBIN};
	CLEAN(mem_freep) char *reported = NULL;
	double start, floor_s;
	size_t current = 0;

	rng_init(&rng, 1);
	for (int i = 0; i < SERVERS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "10.20.30.%d", i + 1);
		must(str_list_add(&servers, name));
		must(plan_add_server(&plan, name, 1, NULL));
	}
	printf("%d hosts, %d servers\n", HOSTS, SERVERS);
	start = seconds();
	for (int i = 0; i < HOSTS; i++)
		must(str_list_copy(&out, &servers));
	floor_s = seconds() - start;
	str_list_deinit(&out);
	print("floor: copying the list", floor_s, floor_s);
	print("static", order_all(ALGORITHM_STATIC, &servers, &rng), floor_s);
	print("roundrobin", order_all(ALGORITHM_ROUNDROBIN, &servers, &rng), floor_s);
	print("shuffle", order_all(ALGORITHM_SHUFFLE, &servers, &rng), floor_s);

	reported = server_list_format(&servers, "roundrobin");
	start = seconds();
	for (uint64_t slot = 0; slot < HOSTS; slot++)
		current += algorithm_is_current(ALGORITHM_ROUNDROBIN, &servers, slot, reported);
	print("is it current? (at each connect)", seconds() - start, floor_s);
	printf("  of them current: %zu\n", current);

	start = seconds();
	for (uint64_t id = 1; id <= HOSTS; id++)
		must(plan_add_host(&plan, id, NULL, NULL, NULL));
	must(plan_compute(&plan, &rng, NULL));
	print("a plan, with failures", seconds() - start, floor_s);
	plan_deinit(&plan);
	str_list_deinit(&servers);
	return 0;
}
