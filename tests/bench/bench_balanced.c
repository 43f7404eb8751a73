/*
 * How fast balanced placements are made and changed, for fleets up to a million hosts and 64 servers, beside the floor
 * of writing one row a host. Prints figures, asserts nothing. Times are of the processor, so that a busy machine does
 * not count.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "core/balanced.h"

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(enum err e)
{
	if (e) {
		fprintf(stderr, "bench_balanced: %s\n", err_text(e));
		exit(1);
	}
}

static void print(const char *what, double s, size_t n_hosts, double floor_s)
{
	printf("  %-34s %9.2f ms   %6.2f us a host   %5.1f x the floor\n", what, s * 1e3, s * 1e6 / (double)n_hosts,
	       s / floor_s);
}

static void print_each(const char *what, double sum, double worst, int n, size_t n_lists, size_t worst_lists)
{
	printf("  %-34s %9.3f ms each, %.3f at most   %.1f other lists, %zu at most\n", what, sum * 1e3 / n,
	       worst * 1e3, (double)n_lists / n, worst_lists);
}

/* Hosts leave and come in turn, as in a fleet that lives. */
static void bench_changes(struct balanced *b, size_t n_hosts, int n_changes)
{
	double sum[2] = {0}, worst[2] = {0};
	size_t n_lists[2] = {0}, worst_lists[2] = {0};
	struct rng rng;

	rng_init(&rng, 1);
	for (int i = 0; i < 2 * n_changes; i++) {
		uint64_t id = 1 + rng_below(&rng, n_hosts);
		int which = i & 1;
		double start = seconds(), took;
		size_t n;

		if (which)
			must(balanced_add_host(b, n_hosts + 1 + (uint64_t)i, NULL));
		else if (balanced_remove_host(b, id))
			continue; /* it has gone before */
		took = seconds() - start;
		n = balanced_changes(b).n_hosts;
		sum[which] += took;
		worst[which] = took > worst[which] ? took : worst[which];
		n_lists[which] += n;
		worst_lists[which] = n > worst_lists[which] ? n : worst_lists[which];
	}
	print_each("a host leaves", sum[0], worst[0], n_changes, n_lists[0], worst_lists[0]);
	print_each("a host comes", sum[1], worst[1], n_changes, n_lists[1], worst_lists[1]);
}

static void bench_fleet(size_t n_hosts, size_t n_servers, int n_changes)
{
	CLEAN(mem_freep) struct balanced_host *hosts = mem_zalloc_array(n_hosts, sizeof(*hosts));
	CLEAN(mem_freep) struct balanced_host *rows = mem_zalloc_array(n_hosts, sizeof(*rows));
	struct balanced_server servers[SERVER_LIST_MAX];
	static char names[SERVER_LIST_MAX][16];
	uint16_t list[SERVER_LIST_MAX];
	struct balanced *b, *copy;
	struct rusage usage;
	double start, floor_s;
	size_t n = 0;

	if (!hosts || !rows)
		must(ERR_NOMEM);
	printf("%zu hosts, %zu servers\n", n_hosts, n_servers);
	for (size_t i = 0; i < n_servers; i++) {
		snprintf(names[i], sizeof(names[i]), "M%03zu", i);
		servers[i] = (struct balanced_server){names[i], 1, NULL};
	}
	memset(rows, 1, n_hosts * sizeof(*rows)); /* so that the floor isn't about fresh pages */
	start = seconds();
	for (size_t i = 0; i < n_hosts; i++) {
		hosts[i].id = i + 1;
		hosts[i].pin = BALANCED_NONE;
		memset(hosts[i].entries, 0xff, sizeof(hosts[i].entries));
		rows[i] = hosts[i];
	}
	floor_s = seconds() - start;
	print("floor: writing a row a host", floor_s, n_hosts, floor_s);
	start = seconds();
	must(balanced_design(&b, servers, n_servers, hosts, n_hosts, NULL));
	print("full design", seconds() - start, n_hosts, floor_s);
	start = seconds();
	for (uint64_t id = 1; id <= n_hosts; id++)
		n += balanced_list(b, id, list);
	print("every list", seconds() - start, n_hosts, floor_s);
	if (n != n_hosts * n_servers)
		must(ERR_DAMAGED);
	start = seconds();
	must(balanced_copy(&copy, b));
	print("a copy, to try something on", seconds() - start, n_hosts, floor_s);
	balanced_free(copy);
	start = seconds();
	must(balanced_add_server(b, "N", 1, NULL));
	print("a server joins", seconds() - start, n_hosts, floor_s);
	printf("  %-34s %9zu of %zu\n", "  hosts that move", balanced_changes(b).n_moves, n_hosts);
	start = seconds();
	must(balanced_remove_server(b, "M000"));
	print("a server leaves", seconds() - start, n_hosts, floor_s);
	printf("  %-34s %9zu of %zu\n", "  hosts that move", balanced_changes(b).n_moves, n_hosts);
	bench_changes(b, n_hosts, n_changes);
	balanced_free(b);
	getrusage(RUSAGE_SELF, &usage);
	printf("  %-34s %9.1f MB so far, with the input\n", "memory", (double)usage.ru_maxrss / 1024);
}

int main(void)
{
	bench_fleet(100000, 10, 5000);
	bench_fleet(1000000, 10, 1000);
	bench_fleet(1000000, 64, 500);
	return 0;
}
