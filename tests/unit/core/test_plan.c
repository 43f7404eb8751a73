#include "core/plan.h"

#include "core_test.h"

#define N_SERVERS_MAX 5
#define N_HOSTS_MAX 60

/* Servers as "M1,M2,M3"; hosts by what they prefer now, as "M1 M1 - M2": '-' has no list. */
static void plan_fill(struct plan *p, const char *servers, const char *hosts)
{
	struct str_list names = test_list(servers), preferred = {0};

	assert_int_equal(str_list_split(&preferred, hosts, ' '), ERR_OK);
	for (size_t i = 0; i < names.n; i++)
		assert_int_equal(plan_add_server(p, names.items[i], 1, NULL), ERR_OK);
	for (size_t i = 0; i < preferred.n; i++) {
		struct str_list list = {0};

		if (!str_equal(preferred.items[i], "-"))
			list = test_list(preferred.items[i]);
		assert_int_equal(plan_add_host(p, i + 1, NULL, NULL, &list), ERR_OK);
		str_list_deinit(&list);
	}
	str_list_deinit(&names);
	str_list_deinit(&preferred);
}

static void counts_to_text(char *out, size_t size, const struct plan *p, bool is_after)
{
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < p->n_servers; i++) {
		unsigned long long count = is_after ? p->servers[i].after : p->servers[i].before;

		n += (size_t)snprintf(out + n, size - n, i ? " %llu" : "%llu", count);
	}
}

static void plans_are_computed(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		enum algorithm a;
		const char *servers, *hosts;
		const char *before, *after;
		uint64_t moves, minimum_moves;
		const char *single;
		uint64_t single_min, single_max;
		const char *both;
		uint64_t both_min, both_max;
	} rows[] = {
		{ "the example, all new: roundrobin", ALGORITHM_ROUNDROBIN, "M1,M2,M3", "- - - -",
		  "0 0 0", "2 1 1", 0, 0, "M1", 1, 3, "M1,M2", 4, 4 },
		{ "the example, all new: static", ALGORITHM_STATIC, "M1,M2,M3", "- - - -",
		  "0 0 0", "4 0 0", 0, 0, "M1", 0, 4, "M1,M2", 4, 4 },
		{ "from static to roundrobin", ALGORITHM_ROUNDROBIN, "M1,M2,M3", "M1 M1 M1 M1",
		  "4 0 0", "2 1 1", 2, 2, "M1", 1, 3, "M1,M2", 4, 4 },
		{ "and back: only the preferred servers are the same", ALGORITHM_STATIC, "M1,M2,M3", "M1 M2 M3 M1",
		  "2 1 1", "4 0 0", 2, 2, "M1", 0, 4, "M1,M2", 4, 4 },
		{ "nothing changes", ALGORITHM_ROUNDROBIN, "M1,M2,M3", "M1 M2 M3 M1",
		  "2 1 1", "2 1 1", 0, 0, "M1", 1, 3, "M1,M2", 4, 4 },
		{ "a server is added: roundrobin moves more than it must", ALGORITHM_ROUNDROBIN, "M1,M2,M3,M4", "M1 M2 M3 M1 M2 M3 M1 M2",
		  "3 3 2 0", "2 2 2 2", 5, 2, "M1", 2, 4, "M1,M2", 2, 6 },
		{ "a server is removed: its hosts have to move", ALGORITHM_ROUNDROBIN, "M1,M2", "M1 M2 M3 M1 M2 M3",
		  "2 2 0", "3 3", 4, 2, "M1", 6, 6, "", 0, 0 },
		{ "new hosts are placed, not moved", ALGORITHM_ROUNDROBIN, "M1,M2", "M1 - - M2 -",
		  "1 1", "3 2", 0, 0, "M1", 5, 5, "", 0, 0 },
		{ "who has one more makes no difference", ALGORITHM_ROUNDROBIN, "M1,M2", "M2 M1 M2",
		  "1 2", "2 1", 3, 0, "M1", 3, 3, "", 0, 0 },
		{ "but under static it does", ALGORITHM_STATIC, "M2,M1", "M1 M1 M1",
		  "0 3", "3 0", 3, 3, "M2", 3, 3, "", 0, 0 },
		{ "one server has nobody to fail over to", ALGORITHM_ROUNDROBIN, "M1", "M1 -",
		  "1", "2", 0, 0, "", 0, 0, "", 0, 0 },
		{ "no hosts", ALGORITHM_ROUNDROBIN, "M1,M2,M3", "",
		  "0 0 0", "0 0 0", 0, 0, "M1", 0, 0, "M1,M2", 0, 0 },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct plan p = {.algorithm = rows[i].a};
		struct why why = WHY_NONE;
		char before[64], after[64];

		plan_fill(&p, rows[i].servers, rows[i].hosts);
		/* Twice: the second time starts afresh. */
		check_row(&rows[i], plan_compute(&p, NULL, &why) == ERR_OK);
		check_row(&rows[i], plan_compute(&p, NULL, &why) == ERR_OK);
		counts_to_text(before, sizeof(before), &p, false);
		counts_to_text(after, sizeof(after), &p, true);
		check_row(&rows[i], str_starts(rows[i].before, before));
		check_row(&rows[i], str_equal(after, rows[i].after));
		check_row(&rows[i], p.moves == rows[i].moves);
		check_row(&rows[i], p.minimum_moves == rows[i].minimum_moves);
		assert_list(&p.worst_single.servers, rows[i].single);
		check_row(&rows[i],
			  p.worst_single.min == rows[i].single_min && p.worst_single.max == rows[i].single_max);
		assert_list(&p.worst_double.servers, rows[i].both);
		check_row(&rows[i], p.worst_double.min == rows[i].both_min && p.worst_double.max == rows[i].both_max);
		plan_deinit(&p);
	}
}

static void each_zone_counts_its_own_slots(void **state)
{
	static const char *const zones[] = {"a", "b", "a", NULL, "a", "b", NULL, ""};
	static const uint64_t slots[] = {0, 0, 1, 0, 2, 1, 1, 2};
	struct plan p = {.algorithm = ALGORITHM_ROUNDROBIN};

	plan_fill(&p, "M1,M2,M3", "");
	for (size_t i = 0; i < ARRAY_SIZE(zones); i++)
		assert_int_equal(plan_add_host(&p, i, "h", zones[i], NULL), ERR_OK);
	for (size_t i = 0; i < ARRAY_SIZE(zones); i++)
		assert_int_equal(p.hosts[i].slot, slots[i]);
	/* Whoever knows the real slots says so. */
	p.hosts[0].slot = 5;
	assert_int_equal(plan_compute(&p, NULL, NULL), ERR_OK);
	assert_list(&p.hosts[0].after, "M3,M1,M2");
	assert_list(&p.hosts[1].after, "M1,M2,M3");
	assert_list(&p.hosts[2].after, "M2,M3,M1");
	assert_list(&p.hosts[4].after, "M3,M1,M2");
	plan_deinit(&p);
}

static void what_makes_no_plan_is_refused(void **state)
{
	struct plan p = {.algorithm = ALGORITHM_STATIC};
	struct why why = WHY_NONE;

	assert_int_equal(plan_compute(&p, NULL, &why), ERR_INVALID);
	assert_string_equal(why.text, "there is no server to place hosts on");
	assert_int_equal(plan_add_server(&p, "M1", 1, "a"), ERR_OK);
	assert_int_equal(plan_add_server(&p, "M1", 1, "b"), ERR_DUPLICATE);
	assert_int_equal(plan_add_server(&p, "", 1, NULL), ERR_INVALID);
	assert_int_equal(plan_add_server(&p, NULL, 1, NULL), ERR_INVALID);
	assert_int_equal(plan_add_server(&p, "M2", -1, NULL), ERR_INVALID);
	assert_int_equal(p.n_servers, 1);
	for (int i = 1; i < 256; i++) {
		char name[8];

		snprintf(name, sizeof(name), "s%d", i);
		assert_int_equal(plan_add_server(&p, name, 1, NULL), ERR_OK);
	}
	assert_int_equal(plan_add_server(&p, "one more", 1, NULL), ERR_FULL);
	assert_int_equal(plan_add_host(&p, 1, "h", NULL, NULL), ERR_OK);
	assert_int_equal(plan_compute(&p, NULL, &why), ERR_OK);
	assert_string_equal(p.worst_single.servers.items[0], "M1");
	plan_deinit(&p);
	plan_deinit(&p);
}

static void shuffle_keeps_the_orders_that_were_drawn(void **state)
{
	struct rng rng = test_rng(__func__);
	struct str_list list = test_list("C,A,B"), other = test_list("C,A,A");
	size_t n_kept = 0;

	for (int i = 0; i < 50; i++) {
		struct plan p = {.algorithm = ALGORITHM_SHUFFLE, .same_algorithm = true};

		plan_fill(&p, "A,B,C", "");
		assert_int_equal(plan_add_host(&p, 1, NULL, NULL, &list), ERR_OK);
		assert_int_equal(plan_add_host(&p, 2, NULL, NULL, &other), ERR_OK);
		assert_int_equal(plan_compute(&p, &rng, NULL), ERR_OK);
		assert_list(&p.hosts[0].after, "C,A,B");
		assert_int_equal(p.hosts[1].after.n, 3);
		assert_true(str_list_has(&p.hosts[1].after, "B"));

		/* Coming from another algorithm everybody draws. */
		p.same_algorithm = false;
		assert_int_equal(plan_compute(&p, &rng, NULL), ERR_OK);
		n_kept += str_list_equal(&p.hosts[0].after, &list);
		plan_deinit(&p);
	}
	assert_true(n_kept < 50);
	str_list_deinit(&list);
	str_list_deinit(&other);
}

/* ---- the second opinion: everything again, one host at a time ---- */

/* The place of `name` among the servers, or n_servers. */
static size_t place_of(const struct plan *p, const char *name)
{
	size_t i = 0;

	while (i < p->n_servers && !str_equal(p->servers[i].name, name))
		i++;
	return i;
}

static bool has_failed(const struct plan *p, const char *name, unsigned failed)
{
	return failed & 1u << place_of(p, name);
}

/* Lets the servers in the set `failed` fail and every host walk down its list. */
static void loads_after(const struct plan *p, unsigned failed, uint64_t *min, uint64_t *max)
{
	uint64_t load[N_SERVERS_MAX + 1] = {0};

	for (size_t i = 0; i < p->n_hosts; i++) {
		const struct str_list *l = &p->hosts[i].after;
		size_t at = 0;

		while (has_failed(p, l->items[at], failed))
			at++;
		load[place_of(p, l->items[at])]++;
	}
	*min = UINT64_MAX;
	*max = 0;
	for (size_t i = 0; i < p->n_servers; i++) {
		if (failed & 1u << i)
			continue;
		*min = load[i] < *min ? load[i] : *min;
		*max = load[i] > *max ? load[i] : *max;
	}
}

/* What is said of the worst failure of n servers must be what that failure does, and no other may be worse. */
static void check_failure(const struct plan *p, const struct plan_failure *f, int n)
{
	unsigned said = 0;
	uint64_t min, max;

	if ((size_t)n >= p->n_servers) {
		assert_int_equal(f->servers.n, 0);
		return;
	}
	assert_int_equal(f->servers.n, n);
	for (size_t i = 0; i < f->servers.n; i++)
		said |= 1u << place_of(p, f->servers.items[i]);
	assert_int_equal(__builtin_popcount(said), n);
	loads_after(p, said, &min, &max);
	assert_int_equal(f->min, min);
	assert_int_equal(f->max, max);
	for (unsigned failed = 0; failed < 1u << p->n_servers; failed++) {
		if (__builtin_popcount(failed) != n)
			continue;
		loads_after(p, failed, &min, &max);
		assert_true(max < f->max || (max == f->max && min >= f->min));
	}
}

static int compare(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return *left < *right ? -1 : *left > *right;
}

/* As even as the plan: the same loads, in any order; under static on the same servers. */
static bool is_as_even(const struct plan *p, const size_t *place)
{
	uint64_t load[N_SERVERS_MAX] = {0}, planned[N_SERVERS_MAX];

	for (size_t i = 0; i < p->n_servers; i++)
		planned[i] = p->servers[i].after;
	for (size_t i = 0; i < p->n_hosts; i++)
		load[place[i]]++;
	if (p->algorithm != ALGORITHM_STATIC) {
		qsort(load, p->n_servers, sizeof(load[0]), compare);
		qsort(planned, p->n_servers, sizeof(planned[0]), compare);
	}
	return memcmp(load, planned, p->n_servers * sizeof(load[0])) == 0;
}

/* Tries every placement there is. */
static uint64_t fewest_moves(const struct plan *p)
{
	size_t place[N_HOSTS_MAX] = {0};
	uint64_t fewest = UINT64_MAX;

	for (;;) {
		uint64_t n_moved = 0;
		size_t i = 0;

		for (size_t j = 0; j < p->n_hosts; j++) {
			const struct str_list *l = &p->hosts[j].before;

			n_moved += l->n && place_of(p, l->items[0]) != place[j];
		}
		if (n_moved < fewest && is_as_even(p, place))
			fewest = n_moved;
		while (i < p->n_hosts && ++place[i] == p->n_servers)
			place[i++] = 0;
		if (i == p->n_hosts)
			return fewest;
	}
}

static void random_plan(struct plan *p, struct rng *rng, size_t n_servers, size_t n_hosts)
{
	static const char *const names[] = {"A", "B", "C", "D", "E", "gone"};

	*p = (struct plan){.algorithm = (enum algorithm)rng_below(rng, 3), .same_algorithm = rng_below(rng, 2)};
	for (size_t i = 0; i < n_servers; i++)
		assert_int_equal(plan_add_server(p, names[i], 1, NULL), ERR_OK);
	for (size_t i = 0; i < n_hosts; i++) {
		struct str_list list = {0};

		for (uint64_t n = rng_below(rng, 4); n > 0; n--)
			assert_int_equal(str_list_add(&list, names[rng_below(rng, ARRAY_SIZE(names))]), ERR_OK);
		assert_int_equal(plan_add_host(p, i, NULL, rng_below(rng, 3) ? "z" : NULL, &list), ERR_OK);
		p->hosts[i].slot += rng_below(rng, 4);
		str_list_deinit(&list);
	}
	assert_int_equal(plan_compute(p, rng, NULL), ERR_OK);
}

static void check_counts(const struct plan *p)
{
	uint64_t before[N_SERVERS_MAX + 1] = {0}, after[N_SERVERS_MAX + 1] = {0}, moves = 0;

	for (size_t i = 0; i < p->n_hosts; i++) {
		const struct plan_host *h = &p->hosts[i];

		assert_int_equal(h->after.n, p->n_servers);
		for (size_t j = 0; j < p->n_servers; j++)
			assert_true(str_list_has(&h->after, p->servers[j].name));
		if (h->before.n)
			before[place_of(p, h->before.items[0])]++;
		after[place_of(p, h->after.items[0])]++;
		moves += h->before.n && !str_equal(h->before.items[0], h->after.items[0]);
	}
	for (size_t i = 0; i < p->n_servers; i++) {
		assert_int_equal(p->servers[i].before, before[i]);
		assert_int_equal(p->servers[i].after, after[i]);
	}
	assert_int_equal(p->moves, moves);
	assert_true(p->minimum_moves <= p->moves);
}

static void plans_agree_with_counting_one_by_one(void **state)
{
	struct rng rng = test_rng(__func__);

	for (int round = 0; round < 400; round++) {
		struct plan p;

		random_plan(&p, &rng, 1 + (size_t)rng_below(&rng, N_SERVERS_MAX), (size_t)rng_below(&rng, N_HOSTS_MAX));
		check_counts(&p);
		check_failure(&p, &p.worst_single, 1);
		check_failure(&p, &p.worst_double, 2);
		plan_deinit(&p);
	}
}

static void minimum_moves_agree_with_trying_everything(void **state)
{
	struct rng rng = test_rng(__func__);

	for (int round = 0; round < 200; round++) {
		struct plan p;

		random_plan(&p, &rng, 1 + (size_t)rng_below(&rng, 3), (size_t)rng_below(&rng, 7));
		assert_int_equal(p.minimum_moves, fewest_moves(&p));
		plan_deinit(&p);
	}
}

static void a_hundred_thousand_hosts_are_no_problem(void **state)
{
	struct plan p = {.algorithm = ALGORITHM_ROUNDROBIN};
	struct timespec start, end;
	struct rng rng = test_rng(__func__);

	plan_fill(&p, "s0,s1,s2,s3,s4,s5,s6,s7,s8,s9", "");
	for (uint64_t i = 0; i < 100000; i++)
		assert_int_equal(plan_add_host(&p, i, NULL, NULL, NULL), ERR_OK);
	for (p.algorithm = ALGORITHM_STATIC; p.algorithm <= ALGORITHM_BALANCED; p.algorithm++) {
		clock_gettime(CLOCK_MONOTONIC, &start);
		assert_int_equal(plan_compute(&p, &rng, NULL), ERR_OK);
		clock_gettime(CLOCK_MONOTONIC, &end);
		print_message(
			"%s: %lld ms\n", algorithm_name(p.algorithm),
			(long long)((end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000));
		if (p.algorithm == ALGORITHM_ROUNDROBIN) {
			assert_int_equal(p.worst_single.max, 20000);
			assert_int_equal(p.worst_double.max, 30000);
		}
	}
	plan_deinit(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plans_are_computed),
		cmocka_unit_test(each_zone_counts_its_own_slots),
		cmocka_unit_test(what_makes_no_plan_is_refused),
		cmocka_unit_test(shuffle_keeps_the_orders_that_were_drawn),
		cmocka_unit_test(plans_agree_with_counting_one_by_one),
		cmocka_unit_test(minimum_moves_agree_with_trying_everything),
		cmocka_unit_test(a_hundred_thousand_hosts_are_no_problem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
