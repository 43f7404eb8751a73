#include "failing_alloc.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

/* A step that allocates more often than this is most likely not going forward. */
#define ALLOCATIONS_MAX 100000

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

static _Thread_local struct {
	bool is_armed;
	bool fails_for_good;
	bool has_failed;
	size_t left; /* allocations that succeed before one fails */
} plan;

static bool fails_now(void)
{
	if (!plan.is_armed)
		return false;
	if (plan.left) {
		plan.left--;
		return false;
	}
	if (plan.has_failed && !plan.fails_for_good)
		return false;
	plan.has_failed = true;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails_now() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *s)
{
	return __wrap_strndup(s, strlen(s));
}

char *__wrap_strndup(const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *copy = __wrap_malloc(len + 1);

	if (!copy)
		return NULL;
	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

void failing_alloc_arm(size_t n)
{
	plan.is_armed = true;
	plan.fails_for_good = false;
	plan.has_failed = false;
	plan.left = n;
}

void failing_alloc_arm_from(size_t n)
{
	failing_alloc_arm(n);
	plan.fails_for_good = true;
}

bool failing_alloc_disarm(void)
{
	plan.is_armed = false;
	return plan.has_failed;
}

/* Returns whether an allocation failed. */
static bool run_once(enum err (*step)(void *user), void *user, size_t n)
{
	enum err e = step(user);
	bool has_failed = failing_alloc_disarm();

	if (has_failed && e != ERR_NOMEM)
		fail_msg("allocation %zu failed, but the answer was \"%s\"", n, err_text(e));
	if (!has_failed && e != ERR_OK)
		fail_msg("no allocation failed, but the answer was \"%s\"", err_text(e));
	return has_failed;
}

size_t failing_alloc_each(enum err (*step)(void *user), void *user)
{
	for (size_t n = 0; n < ALLOCATIONS_MAX; n++) {
		failing_alloc_arm_from(n);
		run_once(step, user, n);
		failing_alloc_arm(n);
		if (!run_once(step, user, n))
			return n;
	}
	fail_msg("still failing after %d allocations", ALLOCATIONS_MAX);
	return 0;
}
