/*
 * Every allocation of core/ fails once: nothing leaks, and what was there before is still there.
 */
#include "core/algorithm.h"
#include "core/plan.h"
#include "core/server_list.h"
#include "core/spread.h"
#include "core_test.h"
#include "failing_alloc.h"

CLEAN_DEFINE(struct spread, spread_free)

/* Built before the allocations begin to fail. */
static struct str_list servers;

static enum err parse_setting(void *user)
{
	CLEAN(str_list_deinit) struct str_list l = {0};
	enum err e = server_list_parse_setting(&l, "M1, M2,M3,10.0.0.1,[::1]:8250", NULL);

	assert_int_equal(l.n, e ? 0 : 5);
	return e;
}

static enum err parse_reported(void *user)
{
	CLEAN(str_list_deinit) struct str_list l = {0};
	CLEAN(mem_freep) char *algorithm = NULL;
	enum err e = server_list_parse_reported(&l, &algorithm, "M1,M2,M3,M4,M5@static");

	assert_int_equal(l.n, e ? 0 : 5);
	assert_int_equal(algorithm != NULL, !e);
	return e;
}

static enum err format(void *user)
{
	CLEAN(mem_freep) char *text = server_list_format(&servers, "static");

	return text ? ERR_OK : ERR_NOMEM;
}

static enum err order(void *user)
{
	enum algorithm *a = user;
	CLEAN(str_list_deinit) struct str_list l = {0};
	struct rng rng;
	enum err e;

	rng_init(&rng, 1);
	e = algorithm_order(&l, *a, &servers, 1, &rng);
	assert_int_equal(l.n, e ? 0 : servers.n);
	return e;
}

static enum err plan(void *user)
{
	CLEAN(plan_deinit) struct plan p = {.algorithm = ALGORITHM_ROUNDROBIN};
	enum err e;

	for (size_t i = 0; i < servers.n; i++) {
		if ((e = plan_add_server(&p, servers.items[i], 1, "zone")))
			return e;
	}
	for (uint64_t i = 0; i < 3; i++) {
		if ((e = plan_add_host(&p, i, "host", i ? "zone" : NULL, &servers)))
			return e;
	}
	return plan_compute(&p, NULL, NULL);
}

/* Whoever was taken is told, also when memory runs out later. */
static enum err spread(void *user)
{
	CLEAN(spread_freep) struct spread *s = spread_new(NULL);
	struct rng rng;
	uint64_t hosts[64];
	size_t n_added = 0;
	enum err e = ERR_OK;

	if (!s)
		return ERR_NOMEM;
	rng_init(&rng, 1);
	for (uint64_t host = 1; host <= 40; host++) {
		if (spread_add(s, host, at_ms(0)))
			e = ERR_NOMEM;
		else
			n_added++;
	}
	assert_int_equal(spread_waiting(s), n_added);
	assert_int_equal(spread_step(s, at_ms(0), hosts, 64), n_added);
	for (size_t i = 0; i < n_added; i++)
		spread_failed(s, hosts[i], at_ms(0), &rng);
	assert_int_equal(spread_step(s, at_ms(60000), hosts, 64), n_added);
	for (size_t i = 0; i < n_added; i++)
		spread_acked(s, hosts[i]);
	assert_int_equal(spread_waiting(s), 0);
	return e;
}

static void nothing_is_lost_or_leaked(void **state)
{
	failing_alloc_each(parse_setting, NULL);
	failing_alloc_each(parse_reported, NULL);
	failing_alloc_each(format, NULL);
	for (enum algorithm a = ALGORITHM_STATIC; a <= ALGORITHM_SHUFFLE; a++)
		failing_alloc_each(order, &a);
	failing_alloc_each(plan, NULL);
	failing_alloc_each(spread, NULL);
}

/* Comparing must work for every agent that connects, so it asks for nothing. */
static void comparing_needs_no_memory(void **state)
{
	failing_alloc_arm_from(0);
	assert_true(algorithm_is_current(ALGORITHM_ROUNDROBIN, &servers, 1, "M2,M3,M4,M5,M1@roundrobin"));
	assert_true(algorithm_is_current(ALGORITHM_SHUFFLE, &servers, 1, "M5,M2,M3,M4,M1@shuffle"));
	assert_false(failing_alloc_disarm());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost_or_leaked),
		cmocka_unit_test(comparing_needs_no_memory),
	};
	int n_failed;

	servers = test_list("M1,M2,M3,M4,M5");
	n_failed = cmocka_run_group_tests(tests, NULL, NULL);
	str_list_deinit(&servers);
	return n_failed;
}
