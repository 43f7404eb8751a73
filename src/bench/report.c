/*
 * Times, percentiles, rates, and how the report looks.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "bench/bench.h"

#define SECOND_US 1000000

static int64_t clock_us(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * SECOND_US + t.tv_nsec / 1000;
}

int64_t now_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

int64_t wall_us(void)
{
	return clock_us(CLOCK_REALTIME);
}

int64_t rss_kib(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long long pages = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%*d %lld", &pages) != 1)
		pages = 0;
	fclose(f);
	return pages * sysconf(_SC_PAGESIZE) / 1024;
}

/* ---- samples ---- */

void samples_deinit(struct samples *s)
{
	mem_free(s->us);
	*s = (struct samples){0};
}

enum err samples_add(struct samples *s, int64_t us)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 256;
		int64_t *grown = mem_grow_array(s->us, cap, sizeof(*grown));

		if (!grown)
			return ERR_NOMEM;
		s->us = grown;
		s->cap = cap;
	}
	s->us[s->n++] = us;
	return ERR_OK;
}

static int compare(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static double rank_ms(const struct samples *s, size_t percent)
{
	size_t rank = (s->n * percent + 99) / 100;

	return (double)s->us[rank ? rank - 1 : 0] / 1000;
}

json_t *samples_json(struct samples *s)
{
	if (!s->n)
		return json_pack("{s:i}", "n", 0);
	qsort(s->us, s->n, sizeof(*s->us), compare);
	return json_pack("{s:I,s:f,s:f,s:f}", "n", (json_int_t)s->n, "p50_ms", rank_ms(s, 50), "p99_ms", rank_ms(s, 99),
			 "max_ms", rank_ms(s, 100));
}

/* ---- rates ---- */

void rate_deinit(struct rate *r)
{
	mem_free(r->at_us);
	*r = (struct rate){0};
}

static enum err rate_grow(struct rate *r)
{
	size_t cap = r->cap ? r->cap * 2 : 64;
	int64_t *grown = mem_zalloc_array(cap, sizeof(*grown));

	if (!grown)
		return ERR_NOMEM;
	for (size_t i = 0; i < r->n; i++)
		grown[i] = r->at_us[(r->first + i) % r->cap];
	mem_free(r->at_us);
	r->at_us = grown;
	r->first = 0;
	r->cap = cap;
	return ERR_OK;
}

enum err rate_add(struct rate *r, int64_t at_us)
{
	enum err e = ERR_OK;

	while (r->n && r->at_us[r->first] <= at_us - SECOND_US) {
		r->first = (r->first + 1) % r->cap;
		r->n--;
	}
	if (r->n == r->cap)
		e = rate_grow(r);
	if (e)
		return e;
	r->at_us[(r->first + r->n++) % r->cap] = at_us;
	r->total++;
	if (r->n > r->peak)
		r->peak = r->n;
	return ERR_OK;
}

/* ---- printing ---- */

static double real_of(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

static void print_samples(const char *what, const json_t *o)
{
	if (!real_of(o, "n"))
		printf("%-28s %9s %9s %9s\n", what, "-", "-", "-");
	else
		printf("%-28s %9.1f %9.1f %9.1f  ms, %.0f times\n", what, real_of(o, "p50_ms"), real_of(o, "p99_ms"),
		       real_of(o, "max_ms"), real_of(o, "n"));
}

static void print_object(const json_t *o, int indent)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)o, key, value) {
		if (json_is_object(value) && json_object_get(value, "n")) {
			print_samples(key, value);
		} else if (json_is_object(value)) {
			printf("%*s%s\n", indent, "", key);
			print_object(value, indent + 2);
		} else if (json_is_real(value)) {
			printf("%*s%-*s %.1f\n", indent, "", 28 - indent, key, json_real_value(value));
		} else {
			printf("%*s%-*s %" JSON_INTEGER_FORMAT "\n", indent, "", 28 - indent, key,
			       json_integer_value(value));
		}
	}
}

void report_print(const json_t *report, bool json)
{
	if (json) {
		json_dumpf(report, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		printf("%-28s %9s %9s %9s\n", "", "p50", "p99", "max");
		print_object(report, 0);
	}
	fflush(stdout);
}
