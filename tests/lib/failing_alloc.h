/*
 * Makes the n-th allocation fail.
 *
 * Programs that link dep_failing_alloc have their malloc, calloc, realloc, strdup and strndup go through here (the
 * linker's --wrap). What libc or another shared library allocates inside itself is not seen. Counting is for the
 * calling thread only, so that background threads of a sanitizer or of the code under test don't shift the count.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* From now on the n-th allocation fails, once; 0 is the next one. */
void failing_alloc_arm(size_t n);
/* Like failing_alloc_arm, but all later ones fail too, as on a machine that has really no memory left. */
void failing_alloc_arm_from(size_t n);
/* Nothing fails any more; returns whether an allocation had failed since it was armed. */
bool failing_alloc_disarm(void);

/*
 * Runs `step` with the first allocation failing, then with the second, and so on until it needs none more; each of
 * them once alone and once with all later ones. A run in which an allocation failed must return ERR_NOMEM, the last
 * run ERR_OK, else the test fails. `step` has to start from the same state each time and to free what it made (the
 * address sanitizer finds the rest). Returns the number of allocations.
 */
size_t failing_alloc_each(enum err (*step)(void *user), void *user);
