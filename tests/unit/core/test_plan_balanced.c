/*
 * Plans against what then happens: the same changes made step by step to a placement, slots as the store repairs them,
 * and the fewest moves against trying every placement there is.
 */
#include "core/balanced.h"
#include "core/plan.h"
#include "core_test.h"

#define N_NAMES 8

static const char *const names[N_NAMES] = {"M1", "M2", "M3", "M4", "M5", "M6", "M7", "M8"};
static const char *const zones[] = {NULL, "east", "west", "north"};

static const char *any_zone(struct rng *rng)
{
	return zones[rng_below(rng, ARRAY_SIZE(zones))];
}

static uint32_t any_weight(struct rng *rng)
{
	return rng_below(rng, 4) ? 1 : (uint32_t)rng_below(rng, 4);
}

static struct str_list list_of(const struct balanced *b, uint64_t id)
{
	uint16_t places[SERVER_LIST_MAX];
	size_t n = balanced_list(b, id, places);
	struct str_list l = {0};

	for (size_t i = 0; i < n; i++)
		assert_int_equal(str_list_add(&l, balanced_get_server(b, places[i]).name), ERR_OK);
	return l;
}

/* What a plan is told of a cluster that has this placement. */
static void plan_from(struct plan *p, const struct balanced *b)
{
	struct balanced_host h;
	size_t cursor = 0;

	*p = (struct plan){.algorithm = ALGORITHM_BALANCED, .same_algorithm = true};
	for (size_t i = 0; i < balanced_n_servers(b); i++) {
		struct balanced_server s = balanced_get_server(b, i);

		assert_int_equal(plan_add_server(p, s.name, s.weight, s.zone), ERR_OK);
	}
	while (balanced_next_host(b, &cursor, &h)) {
		struct str_list list = list_of(b, h.id);

		assert_int_equal(plan_add_host(p, h.id, NULL, h.zone, &list), ERR_OK);
		if (h.pin != BALANCED_NONE) {
			p->hosts[p->n_hosts - 1].pin = mem_strdup(balanced_get_server(b, h.pin).name);
			if (h.entries[BALANCED_AWAY] != BALANCED_NONE)
				p->hosts[p->n_hosts - 1].away =
					mem_strdup(balanced_get_server(b, h.entries[BALANCED_AWAY]).name);
		}
		str_list_deinit(&list);
	}
	assert_int_equal(plan_servers_are(p), ERR_OK);
}

static struct balanced *random_placement(struct rng *rng, size_t n_servers, size_t n_hosts)
{
	struct balanced_server servers[N_NAMES];
	struct balanced *b = NULL;
	bool has_zones = rng_below(rng, 2), has_weights = rng_below(rng, 2);

	for (size_t i = 0; i < n_servers; i++)
		servers[i] = (struct balanced_server){.name = names[i],
						      .weight = has_weights ? any_weight(rng) : 1,
						      .zone = has_zones ? any_zone(rng) : NULL};
	assert_int_equal(balanced_design(&b, servers, n_servers, NULL, 0, NULL), ERR_OK);
	for (size_t i = 0; i < n_hosts; i++)
		assert_int_equal(balanced_add_host(b, i + 1, has_zones ? any_zone(rng) : NULL), ERR_OK);
	for (size_t i = 0; n_hosts && i < rng_below(rng, 4); i++)
		assert_int_equal(balanced_pin_host(b, 1 + rng_below(rng, n_hosts), names[rng_below(rng, n_servers)]),
				 ERR_OK);
	for (size_t i = 0; n_hosts && i < rng_below(rng, 4); i++)
		(void)!balanced_remove_host(b, 1 + rng_below(rng, n_hosts));
	return b;
}

/* The whole new set of servers, as the store gives it. */
static void set_servers(struct balanced *b, const struct plan *p)
{
	struct balanced_server servers[N_NAMES];
	bool changed;

	for (size_t i = 0; i < p->n_servers; i++)
		servers[i] = (struct balanced_server){.name = p->servers[i].name,
						      .weight = (uint32_t)p->servers[i].weight,
						      .zone = p->servers[i].zone};
	assert_int_equal(balanced_set_servers(b, servers, p->n_servers, &changed, NULL), ERR_OK);
}

/* The same change to both. */
static void change_both(struct rng *rng, struct plan *p, struct balanced *b, uint64_t n_hosts)
{
	uint64_t id = n_hosts ? 1 + rng_below(rng, n_hosts) : 0;
	struct balanced_host h;
	struct plan_server *s;

	switch (rng_below(rng, 6)) {
	case 0:
		(void)!plan_add_server(p, names[rng_below(rng, N_NAMES)], any_weight(rng), any_zone(rng));
		set_servers(b, p);
		break;
	case 1:
		if (p->n_servers > 1)
			assert_int_equal(plan_remove_server(p, p->servers[rng_below(rng, p->n_servers)].name), ERR_OK);
		set_servers(b, p);
		break;
	case 2: /* several at once */
		(void)!plan_add_server(p, names[rng_below(rng, N_NAMES)], 2, NULL);
		if (p->n_servers > 1)
			assert_int_equal(plan_remove_server(p, p->servers[0].name), ERR_OK);
		p->servers[p->n_servers - 1].weight = any_weight(rng);
		set_servers(b, p);
		break;
	case 3:
		if (plan_remove_host(p, id) == ERR_OK)
			assert_int_equal(balanced_remove_host(b, id), ERR_OK);
		break;
	case 4:
		assert_int_equal(plan_add_host(p, 1000, NULL, zones[1], NULL), ERR_OK);
		assert_int_equal(balanced_add_host(b, 1000, zones[1]), ERR_OK);
		break;
	default:
		if (!balanced_get_host(b, id, &h) || h.pin != BALANCED_NONE)
			break;
		s = &p->servers[rng_below(rng, p->n_servers)];
		/* One that is on the server it is pinned to counts as pinned already. */
		if (str_equal(s->name, balanced_get_server(b, h.entries[BALANCED_FIRST]).name))
			break;
		for (size_t i = 0; i < p->n_hosts; i++) {
			if (p->hosts[i].id == id)
				p->hosts[i].pin = mem_strdup(s->name);
		}
		assert_int_equal(balanced_pin_host(b, id, s->name), ERR_OK);
		break;
	}
}

static void check_same(const struct plan *p, const struct balanced *b)
{
	for (size_t i = 0; i < p->n_hosts; i++) {
		const struct plan_host *h = &p->hosts[i];
		struct str_list list = list_of(b, h->id);

		if (!str_list_equal(&h->after, &list)) /* leaks, but says what */
			fail_msg("host %llu: %s is planned, %s is what happens", (unsigned long long)h->id,
				 str_list_join(&h->after, ","), str_list_join(&list, ","));
		str_list_deinit(&list);
	}
}

static void what_is_planned_is_what_happens(void **state)
{
	struct rng rng = test_rng(__func__);

	for (int round = 0; round < test_rounds(600, 3000); round++) {
		size_t n_hosts = rng_below(&rng, 60);
		struct balanced *b = random_placement(&rng, 1 + rng_below(&rng, 6), n_hosts);
		struct plan p;

		plan_from(&p, b);
		change_both(&rng, &p, b, n_hosts);
		assert_int_equal(plan_compute(&p, NULL, NULL), ERR_OK);
		check_same(&p, b);
		assert_true(p.minimum_moves <= p.moves);
		/* And again: what was computed does not count as there. */
		assert_int_equal(plan_compute(&p, NULL, NULL), ERR_OK);
		check_same(&p, b);
		plan_deinit(&p);
		balanced_free(b);
	}
}

/* From another algorithm: a design that has the lists as wishes. */
static void balanced_starts_from_the_lists_that_are_there(void **state)
{
	struct rng rng = test_rng(__func__);

	for (int round = 0; round < 300; round++) {
		struct plan p = {.algorithm = ALGORITHM_ROUNDROBIN};
		struct balanced_server servers[5];
		struct balanced_host hosts[40];
		struct balanced *b = NULL;
		size_t n = rng_below(&rng, ARRAY_SIZE(hosts)), n_servers = 1 + rng_below(&rng, ARRAY_SIZE(servers));

		for (size_t i = 0; i < n_servers; i++) {
			servers[i] = (struct balanced_server){.name = names[i], .weight = 1};
			assert_int_equal(plan_add_server(&p, names[i], 1, NULL), ERR_OK);
		}
		for (size_t i = 0; i < n; i++)
			assert_int_equal(plan_add_host(&p, i, NULL, NULL, NULL), ERR_OK);
		assert_int_equal(plan_compute(&p, NULL, NULL), ERR_OK);
		for (size_t i = 0; i < n; i++) {
			hosts[i] = (struct balanced_host){.id = i, .pin = BALANCED_NONE};
			for (size_t k = 0; k < BALANCED_N_ENTRIES; k++)
				hosts[i].entries[k] = k < BALANCED_AWAY && k < n_servers
							      ? (uint16_t)((p.hosts[i].slot + k) % n_servers)
							      : BALANCED_NONE;
			str_list_move(&p.hosts[i].before, &p.hosts[i].after);
		}
		assert_int_equal(balanced_design(&b, servers, n_servers, hosts, n, NULL), ERR_OK);
		p.algorithm = ALGORITHM_BALANCED;
		assert_int_equal(plan_compute(&p, NULL, NULL), ERR_OK);
		check_same(&p, b);
		/* roundrobin is even already: nobody moves. */
		assert_int_equal(p.moves, 0);
		plan_deinit(&p);
		balanced_free(b);
	}
}

static void what_the_agent_has_counts_as_the_wish(void **state)
{
	struct plan p = {.algorithm = ALGORITHM_BALANCED};
	struct str_list list = test_list("M1,M2,M3"), confirmed = test_list("M2,M1,M3");

	for (size_t i = 0; i < 3; i++)
		assert_int_equal(plan_add_server(&p, names[i], 1, NULL), ERR_OK);
	assert_int_equal(plan_add_host(&p, 1, NULL, NULL, &list), ERR_OK);
	assert_int_equal(plan_compute(&p, NULL, NULL), ERR_OK);
	assert_list(&p.hosts[0].after, "M1,M2,M3");
	p.hosts[0].has_confirmed = true;
	str_list_move(&p.hosts[0].confirmed, &confirmed);
	assert_int_equal(plan_compute(&p, NULL, NULL), ERR_OK);
	assert_list(&p.hosts[0].after, "M2,M1,M3");
	assert_int_equal(p.moves, 1);
	str_list_deinit(&list);
	plan_deinit(&p);
}

/* Lists that balanced can't have made are no reason to give up. */
static void lists_by_hand_are_wishes(void **state)
{
	struct plan p = {.algorithm = ALGORITHM_BALANCED, .same_algorithm = true};
	struct str_list list = test_list("M2,M2");

	for (size_t i = 0; i < 3; i++)
		assert_int_equal(plan_add_server(&p, names[i], 1, NULL), ERR_OK);
	assert_int_equal(plan_add_host(&p, 1, NULL, NULL, &list), ERR_OK);
	assert_int_equal(plan_compute(&p, NULL, NULL), ERR_OK);
	assert_string_equal(p.hosts[0].after.items[0], "M2");
	assert_int_equal(p.hosts[0].after.n, 3);
	str_list_deinit(&list);
	plan_deinit(&p);
}

static void a_host_that_is_there_twice_is_refused(void **state)
{
	for (int same = 0; same < 2; same++) {
		struct plan p = {.algorithm = ALGORITHM_BALANCED, .same_algorithm = same};
		struct str_list list = test_list("M1");
		struct why why = WHY_NONE;

		assert_int_equal(plan_add_server(&p, "M1", 1, NULL), ERR_OK);
		assert_int_equal(plan_add_host(&p, 7, NULL, NULL, &list), ERR_OK);
		assert_int_equal(plan_add_host(&p, 7, NULL, NULL, same ? NULL : &list), ERR_OK);
		assert_int_equal(plan_compute(&p, NULL, &why), ERR_DUPLICATE);
		assert_string_equal(why.text, "host 7 is there twice");
		str_list_deinit(&list);
		plan_deinit(&p);
	}
}

static void pins_come_first_under_every_algorithm(void **state)
{
	static const struct {
		const char *what;
		enum algorithm a;
		const char *pin, *list;
	} rows[] = {
		{"static", ALGORITHM_STATIC, "M3", "M3,M1,M2"},
		{"roundrobin: the others keep their order", ALGORITHM_ROUNDROBIN, "M1", "M1,M2,M3"},
		{"a pin to no server is none", ALGORITHM_STATIC, "M9", "M1,M2,M3"},
		{"no pin", ALGORITHM_ROUNDROBIN, NULL, "M2,M3,M1"},
	};
	struct rng rng = test_rng(__func__);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct plan p = {.algorithm = rows[i].a};
		CLEAN(mem_freep) char *list = NULL;

		for (size_t k = 0; k < 3; k++)
			assert_int_equal(plan_add_server(&p, names[k], 1, NULL), ERR_OK);
		assert_int_equal(plan_add_host(&p, 1, NULL, NULL, NULL), ERR_OK);
		p.hosts[0].pin = mem_strdup(rows[i].pin);
		p.hosts[0].slot = 1;
		check_row(&rows[i], plan_compute(&p, NULL, NULL) == ERR_OK);
		list = str_list_join(&p.hosts[0].after, ",");
		check_row(&rows[i], str_equal(list, rows[i].list));
		for (p.algorithm = ALGORITHM_SHUFFLE; p.algorithm <= ALGORITHM_BALANCED; p.algorithm++) {
			check_row(&rows[i], plan_compute(&p, &rng, NULL) == ERR_OK);
			check_row(&rows[i], !rows[i].pin || !str_equal(rows[i].pin, "M3") ||
						    str_equal(p.hosts[0].after.items[0], "M3"));
		}
		plan_deinit(&p);
	}
}

/* ---- hosts that come and go ---- */

/* Hosts with these slots under roundrobin on three servers; "-2" is removed. */
static void slots_are_repaired_as_the_store_does(void **state)
{
	static const struct {
		const char *what, *slots;
		uint64_t gone; /* id, from 1; 0: none */
		size_t n_servers;
		const char *after;
	} rows[] = {
		{"the example of rule 4: H3 goes, H8 takes its slot", "0 1 2 3 4 5 6 7", 3, 3, "0 1 2 3 4 5 6 2"},
		{"no repair is needed", "0 1 2 3", 4, 3, "0 1 2 3"},
		{"another number of servers", "0 2 4 6", 0, 2, "0 2 3 1"},
		{"nothing changes: holes stay", "0 3 6", 0, 3, "0 3 6"},
		{"slots that somebody made up", "0 0 2 4", 0, 2, "0 0 2 4"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct plan p = {.algorithm = ALGORITHM_ROUNDROBIN};
		struct str_list slots = {0};
		char text[64] = "";
		size_t n = 0;

		for (size_t k = 0; k < 3; k++)
			assert_int_equal(plan_add_server(&p, names[k], 1, NULL), ERR_OK);
		assert_int_equal(str_list_split(&slots, rows[i].slots, ' '), ERR_OK);
		for (size_t k = 0; k < slots.n; k++) {
			assert_int_equal(plan_add_host(&p, k + 1, NULL, NULL, NULL), ERR_OK);
			assert_true(str_to_u64(slots.items[k], &p.hosts[k].slot));
		}
		assert_int_equal(plan_servers_are(&p), ERR_OK);
		if (rows[i].gone)
			assert_int_equal(plan_remove_host(&p, rows[i].gone), ERR_OK);
		while (p.n_servers > rows[i].n_servers)
			assert_int_equal(plan_remove_server(&p, p.servers[p.n_servers - 1].name), ERR_OK);
		check_row(&rows[i], plan_compute(&p, NULL, NULL) == ERR_OK);
		for (size_t k = 0; k < p.n_hosts; k++)
			n += (size_t)snprintf(text + n, sizeof(text) - n, k ? " %llu" : "%llu",
					      (unsigned long long)p.hosts[k].slot);
		if (!str_equal(text, rows[i].after))
			fail_msg("%s: %s", rows[i].what, text);
		check_row(&rows[i], plan_n_hosts(&p) == slots.n - (rows[i].gone > 0));
		str_list_deinit(&slots);
		plan_deinit(&p);
	}
}

static void fleets_grow_and_shrink(void **state)
{
	static const char *const of[] = {"a", "b", "a", NULL};
	struct plan p = {.algorithm = ALGORITHM_ROUNDROBIN};
	size_t n_a = 0;

	for (size_t k = 0; k < 3; k++)
		assert_int_equal(plan_add_server(&p, names[k], 1, NULL), ERR_OK);
	for (size_t k = 0; k < ARRAY_SIZE(of); k++)
		assert_int_equal(plan_add_host(&p, 10 * k, "h", of[k], NULL), ERR_OK);
	p.hosts[2].slot = 3; /* a has the holes 1 and 2 */
	assert_int_equal(plan_servers_are(&p), ERR_OK);

	/* As many as there are and four more: each zone twice as many. */
	assert_int_equal(plan_resize(&p, 8), ERR_OK);
	assert_int_equal(plan_n_hosts(&p), 8);
	assert_int_equal(p.hosts[4].id, 31);
	assert_string_equal(p.hosts[4].name, "new-1");
	for (size_t k = 4; k < 8; k++)
		assert_true(str_equal(p.hosts[k].zone, of[k - 4]));
	assert_int_equal(p.hosts[4].slot, 1);
	assert_int_equal(p.hosts[6].slot, 2);
	assert_int_equal(p.hosts[5].slot, 1);
	assert_int_equal(plan_compute(&p, NULL, NULL), ERR_OK);
	for (size_t k = 0; k < p.n_hosts; k++)
		n_a += str_equal(p.hosts[k].zone, "a");
	assert_int_equal(n_a, 4);

	assert_int_equal(plan_resize(&p, 2), ERR_OK);
	assert_int_equal(plan_n_hosts(&p), 2);
	assert_true(p.hosts[2].is_gone && !p.hosts[1].is_gone);
	assert_int_equal(plan_compute(&p, NULL, NULL), ERR_OK);
	assert_int_equal(p.servers[0].after + p.servers[1].after + p.servers[2].after, 2);
	assert_int_equal(p.hosts[2].after.n, 0);
	assert_int_equal(plan_remove_host(&p, 20), ERR_NOT_FOUND);
	plan_deinit(&p);

	/* From nothing. */
	assert_int_equal(plan_add_server(&p, "M1", 1, NULL), ERR_OK);
	assert_int_equal(plan_resize(&p, 3), ERR_OK);
	assert_int_equal(p.hosts[2].slot, 2);
	plan_deinit(&p);
}

/* ---- failures ---- */

static void servers_fail_on_paper(void **state)
{
	static const struct {
		const char *what;
		bool failed[4];
		uint64_t load[4], n_stranded;
	} rows[] = {
		{"none", {false}, {2, 2, 2, 2}, 0},
		{"M1: rotation sends all to M2", {true}, {0, 4, 2, 2}, 0},
		{"M1 and M2", {true, true}, {0, 0, 6, 2}, 0},
		{"three", {true, true, false, true}, {0, 0, 8, 0}, 0},
		{"all: nobody is anywhere", {true, true, true, true}, {0, 0, 0, 0}, 8},
	};
	struct plan p = {.algorithm = ALGORITHM_ROUNDROBIN};

	for (size_t k = 0; k < 4; k++)
		assert_int_equal(plan_add_server(&p, names[k], 1, NULL), ERR_OK);
	for (size_t k = 0; k < 9; k++)
		assert_int_equal(plan_add_host(&p, k, NULL, NULL, NULL), ERR_OK);
	assert_int_equal(plan_remove_host(&p, 8), ERR_OK);
	assert_int_equal(plan_compute(&p, NULL, NULL), ERR_OK);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool failed[SERVER_LIST_MAX] = {false};
		uint64_t load[SERVER_LIST_MAX], n_stranded;

		memcpy(failed, rows[i].failed, sizeof(rows[i].failed));
		check_row(&rows[i], plan_fail(&p, failed, load, &n_stranded) == ERR_OK);
		check_row(&rows[i], memcmp(load, rows[i].load, sizeof(rows[i].load)) == 0);
		check_row(&rows[i], n_stranded == rows[i].n_stranded);
	}
	plan_deinit(&p);
}

/* ---- where agents are, and how long it takes ---- */

static void arrivals_are_counted_by_links_where_they_are_known(void **state)
{
	struct plan p = {.algorithm = ALGORITHM_STATIC};
	struct str_list m1 = test_list("M1,M2"), m2 = test_list("M2,M1");

	assert_int_equal(plan_add_server(&p, "M1", 1, NULL), ERR_OK);
	assert_int_equal(plan_add_server(&p, "M2", 1, NULL), ERR_OK);
	assert_int_equal(plan_add_host(&p, 1, NULL, NULL, &m1), ERR_OK);
	assert_int_equal(plan_add_host(&p, 2, NULL, NULL, &m2), ERR_OK);
	assert_int_equal(plan_add_host(&p, 3, NULL, NULL, NULL), ERR_OK);
	assert_int_equal(plan_compute(&p, NULL, NULL), ERR_OK);
	assert_int_equal(p.servers[0].arrivals, 1);

	/* H1 prefers M1 and is on M2, H2 the other way round; H3 is not connected. */
	p.knows_on = true;
	p.hosts[0].on = mem_strdup("M2");
	p.hosts[1].on = mem_strdup("M1");
	assert_int_equal(plan_compute(&p, NULL, NULL), ERR_OK);
	assert_int_equal(p.moves, 1);
	assert_int_equal(p.servers[0].arrivals, 1);
	assert_int_equal(p.servers[0].on, 1);
	assert_int_equal(p.servers[1].on, 1);
	str_list_deinit(&m1);
	str_list_deinit(&m2);
	plan_deinit(&p);
}

static void moves_take_their_time(void **state)
{
	static const struct {
		const char *what;
		struct plan_pace pace;
		uint64_t arrivals;
		bool told;
		struct plan_time time;
	} rows[] = {
		{"nobody comes", {60, 50, 20}, 0, false, {true, 0, 0}},
		{"a few: within an interval", {60, 50, 20}, 30, false, {true, 60, 1}},
		{"many: at the pace", {2, 50, 20}, 520, false, {true, 10, 50}},
		{"the burst comes at once", {2, 50, 20}, 20, true, {true, 0, 20}},
		{"and one more a second later", {2, 50, 20}, 21, true, {true, 1, 21}},
		{"told, whatever the interval is", {3600, 50, 20}, 1020, true, {true, 20, 50}},
		{"nobody looks", {0, 50, 20}, 10, false, {false, 0, 0}},
		{"but when told", {0, 50, 20}, 70, true, {true, 1, 50}},
		{"nobody is let in", {60, 0, 20}, 10, false, {false, 0, 0}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct plan_time t = plan_time(&rows[i].pace, rows[i].arrivals, rows[i].told);

		check_row(&rows[i], t.is_known == rows[i].time.is_known && t.seconds == rows[i].time.seconds &&
					    t.per_s == rows[i].time.per_s);
	}
}

/* ---- the fewest moves ---- */

static size_t place_of(const struct plan *p, const char *name)
{
	size_t i = 0;

	while (i < p->n_servers && !str_equal(p->servers[i].name, name))
		i++;
	return i;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return *left < *right ? -1 : *left > *right;
}

static bool is_zone_with_servers(const struct plan *p, const char *zone)
{
	bool has_weights = false, has_servers = false;

	for (size_t i = 0; i < p->n_servers; i++)
		has_weights = has_weights || p->servers[i].weight;
	for (size_t i = 0; i < p->n_servers; i++)
		has_servers = has_servers ||
			      (zone && str_equal(p->servers[i].zone, zone) && (!has_weights || p->servers[i].weight));
	return has_servers;
}

static bool is_in_group(const struct plan *p, const struct plan_host *h, const char *zone)
{
	return zone ? str_equal(h->zone, zone) : !is_zone_with_servers(p, h->zone);
}

/* The loads of one group on servers of one weight, in and out of its zone, in whatever order: the same as planned? */
static bool is_group_as_even(const struct plan *p, const size_t *place, const char *zone)
{
	for (int64_t weight = 0; weight <= 3; weight++) {
		for (int inside = 0; inside < 2; inside++) {
			uint64_t load[N_NAMES] = {0}, planned[N_NAMES] = {0};
			size_t n = 0;

			for (size_t i = 0; i < p->n_servers; i++) {
				bool is_inside = !zone || str_equal(p->servers[i].zone, zone);

				if (p->servers[i].weight != weight || is_inside != inside)
					continue;
				for (size_t k = 0; k < p->n_hosts; k++) {
					if (!is_in_group(p, &p->hosts[k], zone))
						continue;
					load[n] += place[k] == i;
					planned[n] += place_of(p, p->hosts[k].after.items[0]) == i;
				}
				n++;
			}
			qsort(load, n, sizeof(load[0]), compare);
			qsort(planned, n, sizeof(planned[0]), compare);
			if (memcmp(load, planned, n * sizeof(load[0])) != 0)
				return false;
		}
	}
	return true;
}

static bool is_as_even(const struct plan *p, const size_t *place)
{
	for (size_t z = 0; z < ARRAY_SIZE(zones); z++) {
		if ((!zones[z] || is_zone_with_servers(p, zones[z])) && !is_group_as_even(p, place, zones[z]))
			return false;
	}
	return true;
}

/* Tries every placement there is, with the pinned hosts where they have to be. */
static uint64_t fewest_moves(const struct plan *p)
{
	size_t place[N_NAMES] = {0};
	uint64_t fewest = UINT64_MAX;

	for (;;) {
		uint64_t n_moved = 0;
		bool fits = true;
		size_t i = 0;

		for (size_t k = 0; k < p->n_hosts; k++) {
			const struct plan_host *h = &p->hosts[k];

			n_moved += h->before.n && place_of(p, h->before.items[0]) != place[k];
			if (h->pin && place_of(p, h->pin) < p->n_servers)
				fits = fits && place[k] == place_of(p, h->pin);
		}
		if (fits && n_moved < fewest && is_as_even(p, place))
			fewest = n_moved;
		while (i < p->n_hosts && ++place[i] == p->n_servers)
			place[i++] = 0;
		if (i == p->n_hosts)
			return fewest;
	}
}

static void random_plan(struct plan *p, struct rng *rng)
{
	size_t n_servers = 1 + rng_below(rng, 4), n_hosts = rng_below(rng, 7);
	bool has_zones = rng_below(rng, 2), has_pins = rng_below(rng, 2);

	*p = (struct plan){.algorithm = ALGORITHM_BALANCED, .same_algorithm = rng_below(rng, 2)};
	for (size_t i = 0; i < n_servers; i++)
		assert_int_equal(plan_add_server(p, names[i], any_weight(rng), has_zones ? any_zone(rng) : NULL),
				 ERR_OK);
	for (size_t i = 0; i < n_hosts; i++) {
		struct str_list list = {0};

		for (uint64_t n = rng_below(rng, 4); n > 0; n--)
			assert_int_equal(str_list_add(&list, names[rng_below(rng, 5)]), ERR_OK);
		assert_int_equal(plan_add_host(p, i, NULL, has_zones ? any_zone(rng) : NULL, &list), ERR_OK);
		if (has_pins && !rng_below(rng, 3))
			p->hosts[i].pin = mem_strdup(names[rng_below(rng, 5)]);
		str_list_deinit(&list);
	}
	assert_int_equal(plan_compute(p, rng, NULL), ERR_OK);
}

static void minimum_moves_are_a_bound_with_weights_zones_and_pins(void **state)
{
	struct rng rng = test_rng(__func__);

	for (int round = 0; round < 600; round++) {
		bool has_pins = false;
		uint64_t fewest;
		struct plan p;

		random_plan(&p, &rng);
		fewest = fewest_moves(&p);
		for (size_t i = 0; i < p.n_hosts; i++)
			has_pins = has_pins || p.hosts[i].pin;
		assert_true(p.minimum_moves <= p.moves);
		/* With pins it may be that not even this one can be reached. */
		if (has_pins ? p.minimum_moves > fewest : p.minimum_moves != fewest)
			fail_msg("%llu is said, %llu are enough", (unsigned long long)p.minimum_moves,
				 (unsigned long long)fewest);
		plan_deinit(&p);
	}
}

/* Balanced 11: a server that joins gets the rounded down N/(M + 1), and that is what cannot be done with less. */
static void joining_and_leaving_move_as_few_as_can_be(void **state)
{
	for (size_t n_servers = 1; n_servers < N_NAMES; n_servers++) {
		for (size_t n_hosts = 0; n_hosts < 40; n_hosts += 3) {
			struct balanced *b;
			struct plan p;

			assert_int_equal(balanced_design(&b, NULL, 0, NULL, 0, NULL), ERR_OK);
			for (size_t i = 0; i < n_servers; i++)
				assert_int_equal(balanced_add_server(b, names[i], 1, NULL), ERR_OK);
			for (size_t i = 0; i < n_hosts; i++)
				assert_int_equal(balanced_add_host(b, i + 1, NULL), ERR_OK);
			plan_from(&p, b);
			assert_int_equal(plan_add_server(&p, names[n_servers], 1, NULL), ERR_OK);
			assert_int_equal(plan_compute(&p, NULL, NULL), ERR_OK);
			assert_int_equal(p.moves, n_hosts / (n_servers + 1));
			assert_int_equal(p.minimum_moves, p.moves);
			plan_deinit(&p);
			balanced_free(b);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_planned_is_what_happens),
		cmocka_unit_test(balanced_starts_from_the_lists_that_are_there),
		cmocka_unit_test(what_the_agent_has_counts_as_the_wish),
		cmocka_unit_test(lists_by_hand_are_wishes),
		cmocka_unit_test(a_host_that_is_there_twice_is_refused),
		cmocka_unit_test(pins_come_first_under_every_algorithm),
		cmocka_unit_test(slots_are_repaired_as_the_store_does),
		cmocka_unit_test(fleets_grow_and_shrink),
		cmocka_unit_test(servers_fail_on_paper),
		cmocka_unit_test(arrivals_are_counted_by_links_where_they_are_known),
		cmocka_unit_test(moves_take_their_time),
		cmocka_unit_test(minimum_moves_are_a_bound_with_weights_zones_and_pins),
		cmocka_unit_test(joining_and_leaving_move_as_few_as_can_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
