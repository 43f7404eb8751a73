/*
 * Seeds don't know each other: their histories are lived by several processes at the same time.
 */
#pragma once

#include <stddef.h>

/*
 * Calls run(user, i, n) for each i below n in a process of its own, and prints what they have printed, one after the
 * other, when they end. Returns the highest code that run() returned, 2 if a process ended in another way. With n = 1
 * there is no other process.
 */
int jobs_run(size_t n, int (*run)(void *user, size_t i, size_t n), void *user);
