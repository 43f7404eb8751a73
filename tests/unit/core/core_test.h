/*
 * What the tests of core/ share: seeds that can be taken back, lists written as texts, times in milliseconds.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/mono.h"
#include "base/rng.h"
#include "base/str.h"
#include "check.h"

/* A new seed each run, printed; MUSTER_SEED=n runs the same walk again. */
static inline struct rng test_rng(const char *what)
{
	const char *given = getenv("MUSTER_SEED");
	struct timespec t = {0};
	struct rng r;
	uint64_t seed;

	clock_gettime(CLOCK_REALTIME, &t);
	seed = given ? strtoull(given, NULL, 10) : (uint64_t)t.tv_sec * 1000003u + (uint64_t)t.tv_nsec;
	print_message("%s: MUSTER_SEED=%llu\n", what, (unsigned long long)seed);
	rng_init(&r, seed);
	return r;
}

/* "M1,M2,M3" as a list; "" is the empty one. */
static inline struct str_list test_list(const char *text)
{
	struct str_list l = {0};

	assert_int_equal(str_list_split(&l, text, ','), ERR_OK);
	return l;
}

static inline void assert_list(const struct str_list *l, const char *text)
{
	char *joined = str_list_join(l, ",");

	assert_non_null(joined);
	assert_string_equal(joined, text);
	mem_free(joined);
}

static inline struct mono at_ms(int64_t ms)
{
	return (struct mono){.us = ms * 1000};
}
