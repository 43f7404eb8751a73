/*
 * Every allocation of core/ fails once: nothing leaks, and what was there before is still there.
 */
#include "core/admission.h"
#include "core/algorithm.h"
#include "core/balanced.h"
#include "core/drain.h"
#include "core/failback.h"
#include "core/plan.h"
#include "core/server_list.h"
#include "core/spread.h"
#include "core_test.h"
#include "failing_alloc.h"

CLEAN_DEFINE(struct balanced, balanced_free)
CLEAN_DEFINE(struct drain, drain_free)
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
	CLEAN(plan_deinit) struct plan p = {.algorithm = *(enum algorithm *)user, .same_algorithm = true};
	bool failed[SERVER_LIST_MAX] = {true};
	uint64_t load[SERVER_LIST_MAX], n_stranded;
	enum err e;

	for (size_t i = 0; i < servers.n; i++) {
		if ((e = plan_add_server(&p, servers.items[i], 1, "zone")))
			return e;
	}
	for (uint64_t i = 0; i < 3; i++) {
		if ((e = plan_add_host(&p, i, "host", i ? "zone" : NULL, &servers)))
			return e;
	}
	if ((e = plan_servers_are(&p)) || (e = plan_remove_server(&p, servers.items[1])) ||
	    (e = plan_remove_host(&p, 1)) || (e = plan_resize(&p, 5)) || (e = plan_compute(&p, NULL, NULL)))
		return e;
	return plan_fail(&p, failed, load, &n_stranded);
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

/* Whoever was taken is asked and accounted for, also when memory runs out later; only a sentence may be missing. */
static enum err drain(void *user)
{
	CLEAN(drain_freep) struct drain *d = drain_new(NULL, at_ms(0));
	struct drain_report r;
	struct drain_remaining left;
	struct rng rng;
	uint64_t hosts[64];
	size_t n_added = 0, n_listed = 0, n, cursor = 0;
	enum err e = ERR_OK;

	if (!d)
		return ERR_NOMEM;
	rng_init(&rng, 1);
	for (uint64_t host = 1; host <= 40; host++) {
		if (drain_add(d, host))
			e = ERR_NOMEM;
		else
			n_added++;
	}
	n = drain_step(d, true, at_ms(0), hosts, 64);
	assert_int_equal(n, n_added < 10 ? n_added : 10);
	for (size_t i = 0; i < n; i++)
		drain_refused(d, hosts[i], ERR_BUSY, "not now", at_ms(0), &rng);
	while (drain_next_remaining(d, &cursor, &left)) {
		assert_non_null(left.sentence);
		if (left.fate == DRAIN_REFUSED && strcmp(left.sentence, "not now") != 0) {
			assert_string_equal(left.sentence, err_text(ERR_BUSY));
			e = ERR_NOMEM;
		}
		n_listed++;
	}
	assert_int_equal(n_listed, n_added);
	for (int64_t now = 0; now < 60000; now += 100) {
		n = drain_step(d, true, at_ms(now), hosts, 64);
		for (size_t i = 0; i < n; i++)
			drain_moved(d, hosts[i], at_ms(now));
	}
	drain_report(d, at_ms(60000), &r);
	assert_int_equal(r.state, DRAIN_DONE);
	assert_int_equal(r.n_by_fate[DRAIN_MOVED], n_added);
	return e;
}

/* Everything that can be asked of a placement, in one number. */
static uint64_t balanced_sum(const struct balanced *b)
{
	uint64_t sum = balanced_version(b) * 31 + balanced_n_servers(b);
	struct balanced_host h;
	size_t cursor = 0;

	while (balanced_next_host(b, &cursor, &h)) {
		uint16_t list[SERVER_LIST_MAX];
		size_t n = balanced_list(b, h.id, list);
		uint64_t its = h.id * 1000003 + h.pin + (h.zone ? (uint64_t)h.zone[1] << 40 : 0);

		for (size_t i = 0; i < n; i++)
			its = its * 1000003 + list[i];
		sum += its;
	}
	return sum;
}

static enum err balanced_change(struct balanced *b, int which)
{
	switch (which) {
	case 0:
		return balanced_add_host(b, 1000, "zc");
	case 1:
		return balanced_remove_host(b, 3);
	case 2:
		return balanced_set_zone(b, 4, "zd");
	case 3:
		return balanced_set_zone(b, 5, "zb");
	case 4:
		return balanced_pin_host(b, 6, "M2");
	case 5:
		return balanced_set_zone(b, 6, "zb");
	case 6:
		return balanced_add_server(b, "M5", 2, "ze");
	case 7:
		return balanced_set_server(b, "M1", 0, "zb");
	case 8:
		return balanced_remove_server(b, "M2");
	default:
		return balanced_redesign(b);
	}
}

/* A change that can't be made leaves everything as it was, the version too. */
static enum err balanced(void *user)
{
	static const struct balanced_server four[] = {
		{"M1", 1, "za"}, {"M2", 1, "za"}, {"M3", 3, "zb"}, {"M4", 1, NULL}};
	CLEAN(balanced_freep) struct balanced *b = NULL;
	CLEAN(balanced_freep) struct balanced *copy = NULL;
	enum err e = balanced_design(&b, four, 4, NULL, 0, NULL);

	if (e)
		return e;
	/* The last one is the first that the arrays have no room for. */
	for (uint64_t id = 1; id <= 64; id++) {
		uint64_t before = balanced_sum(b);

		if ((e = balanced_add_host(b, id, id % 3 ? "za" : "zb"))) {
			assert_int_equal(balanced_sum(b), before);
			return e;
		}
	}
	for (int which = 0; which < 10; which++) {
		uint64_t before = balanced_sum(b);

		if ((e = balanced_change(b, which))) {
			assert_int_equal(balanced_sum(b), before);
			return e;
		}
	}
	if ((e = balanced_copy(&copy, b)))
		return e;
	assert_int_equal(balanced_sum(b), balanced_sum(copy));
	return ERR_OK;
}

static void nothing_is_lost_or_leaked(void **state)
{
	failing_alloc_each(parse_setting, NULL);
	failing_alloc_each(parse_reported, NULL);
	failing_alloc_each(format, NULL);
	for (enum algorithm a = ALGORITHM_STATIC; a <= ALGORITHM_SHUFFLE; a++)
		failing_alloc_each(order, &a);
	for (enum algorithm a = ALGORITHM_STATIC; a <= ALGORITHM_BALANCED; a++) {
		if (a != ALGORITHM_SHUFFLE)
			failing_alloc_each(plan, &a);
	}
	failing_alloc_each(balanced, NULL);
	failing_alloc_each(spread, NULL);
	failing_alloc_each(drain, NULL);
}

/* Comparing must work for every agent that connects, so it asks for nothing. */
static void comparing_needs_no_memory(void **state)
{
	failing_alloc_arm_from(0);
	assert_true(algorithm_is_current(ALGORITHM_ROUNDROBIN, &servers, 1, "M2,M3,M4,M5,M1@roundrobin"));
	assert_true(algorithm_is_current(ALGORITHM_SHUFFLE, &servers, 1, "M5,M2,M3,M4,M1@shuffle"));
	assert_false(failing_alloc_disarm());
}

/* Whom a server lets in and where an agent goes is decided in a storm too. */
static void the_gates_need_no_memory(void **state)
{
	static const struct admission_question newcomer = {.is_muster = true, .n_waiting = 100000};
	static const struct failback_question q = {.interval_ms = 1000};
	struct admission_server other = {.is_usable = true};
	struct admission_queue queue = {0};
	struct admission a;
	struct failback f = {0};
	struct mono look_again;
	struct rng rng;

	rng_init(&rng, 1);
	failing_alloc_arm_from(0);
	admission_init(&a, &admission_rule_default);
	admission_sample(&a, 100, 16, at_ms(1));
	admission_served(&queue, 1, 1, at_ms(1));
	assert_int_equal(
		admission_ask(&queue, &admission_queue_rule_default, &newcomer, &other, 1, at_ms(1), &rng).server, 0);
	assert_int_equal(failback_judge(&f, &failback_rule_default, &q, at_ms(60000), &look_again), FAILBACK_OPEN);
	assert_false(failing_alloc_disarm());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost_or_leaked),
		cmocka_unit_test(comparing_needs_no_memory),
		cmocka_unit_test(the_gates_need_no_memory),
	};
	int n_failed;

	servers = test_list("M1,M2,M3,M4,M5");
	n_failed = cmocka_run_group_tests(tests, NULL, NULL);
	str_list_deinit(&servers);
	return n_failed;
}
