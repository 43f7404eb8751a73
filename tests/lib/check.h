/*
 * cmocka with what it wants included before, and checks that name the row of a table that failed.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* Like assert_non_null, and the compiler knows that it doesn't come back either. */
#define check_there(pointer)                                                                                           \
	do {                                                                                                           \
		if (!(pointer)) {                                                                                      \
			fail_msg("%s is NULL", #pointer);                                                              \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* For rows with a `what`: fails with its sentence. */
#define check_row(row, condition)                                                                                      \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			fail_msg("%s: %s", (row)->what, #condition);                                                   \
	} while (0)

/* How often something is tried: all of it with MUSTER_LONG=1, else what the ordinary tests have time for. */
static inline int test_rounds(int ordinary, int all)
{
	const char *given = getenv("MUSTER_LONG");

	return given && *given && *given != '0' ? all : ordinary;
}
