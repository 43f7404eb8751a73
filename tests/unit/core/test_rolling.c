/*
 * Rolling restarts: the order of turns, what each step moves, and that it stays even (docs/placement.md, "Rolling
 * restart"). Random fleets are compared with the placement changed step by step, as the store changes it.
 */
#include "core/balanced.h"
#include "core/rolling.h"
#include "core_test.h"

#define N_NAMES 12

static const char *const names[N_NAMES] = {"M1", "M2", "M3", "M4", "M5", "M6", "M7", "M8", "M9", "M10", "M11", "M12"};

static struct str_list list_of(const struct balanced *b, uint64_t id)
{
	uint16_t places[SERVER_LIST_MAX];
	size_t n = balanced_list(b, id, places);
	struct str_list l = {0};

	for (size_t i = 0; i < n; i++)
		assert_int_equal(str_list_add(&l, balanced_get_server(b, places[i]).name), ERR_OK);
	return l;
}

/* Servers in the order of names[], as an administrator writes them. */
static void plan_from(struct plan *p, const struct balanced *b, size_t n_servers)
{
	struct balanced_host h;
	size_t cursor = 0;

	*p = (struct plan){.algorithm = ALGORITHM_BALANCED, .same_algorithm = true};
	for (size_t i = 0; i < n_servers; i++) {
		struct balanced_server s = balanced_get_server(b, balanced_find_server(b, names[i]));

		assert_int_equal(plan_add_server(p, s.name, s.weight, s.zone), ERR_OK);
	}
	while (balanced_next_host(b, &cursor, &h)) {
		struct str_list list = list_of(b, h.id);

		assert_int_equal(plan_add_host(p, h.id, NULL, h.zone, &list), ERR_OK);
		if (h.pin != BALANCED_NONE)
			p->hosts[p->n_hosts - 1].pin = mem_strdup(balanced_get_server(b, h.pin).name);
		str_list_deinit(&list);
	}
	assert_int_equal(plan_servers_are(p), ERR_OK);
}

static struct balanced *placement(size_t n_servers, size_t n_hosts, const uint32_t *weights, const char *const *zones)
{
	struct balanced_server servers[N_NAMES];
	struct balanced *b = NULL;

	for (size_t i = 0; i < n_servers; i++)
		servers[i] = (struct balanced_server){
			.name = names[i], .weight = weights ? weights[i] : 1, .zone = zones ? zones[i] : NULL};
	assert_int_equal(balanced_design(&b, servers, n_servers, NULL, 0, NULL), ERR_OK);
	for (size_t i = 0; i < n_hosts; i++)
		assert_int_equal(balanced_add_host(b, i + 1, zones ? zones[i % n_servers] : NULL), ERR_OK);
	return b;
}

static uint64_t up(uint64_t a, uint64_t b)
{
	return (a + b - 1) / b;
}

static void is_even(const uint64_t *on, size_t n, size_t without)
{
	uint64_t min = UINT64_MAX, max = 0;

	for (size_t i = 0; i < n; i++) {
		if (i == without)
			continue;
		min = on[i] < min ? on[i] : min;
		max = on[i] > max ? on[i] : max;
	}
	assert_true(max - min <= 1);
}

/* Rolling restart 3 and 4: N + 2N/M moves, within 1 whenever nobody is on the way. */
static void is_as_promised(const struct rolling_plan *r, uint64_t n, uint64_t m)
{
	uint64_t most = 2 * up(n, m) + (m - 1) * up(n, m - 1), least = 2 * (n / m) + (m - 1) * (n / (m - 1));

	assert_true(r->hands_over);
	assert_int_equal(r->n_steps, m);
	assert_int_equal(r->plain, 2 * n);
	if (r->moves > most || r->moves < least)
		fail_msg("%zu hosts, %zu servers: %zu moves, not %zu to %zu", (size_t)n, (size_t)m, (size_t)r->moves,
			 (size_t)least, (size_t)most);
	for (size_t i = 0; i < r->n_steps; i++) {
		const struct rolling_step *s = &r->steps[i];

		assert_int_equal(s->on[s->server], 0);
		assert_int_equal(s->back, 0);
		is_even(s->on, m, s->server);
		assert_true(s->moves <= (i ? up(n, m - 1) : up(n, m)));
	}
	assert_true(r->home <= up(n, m));
	is_even(r->on, m, SIZE_MAX);
}

/* The same done to a placement: what changes its preferred server is exactly who is on the server that comes next. */
static void is_what_happens(const struct rolling_plan *r, const struct plan *p, struct balanced *b)
{
	for (size_t i = 0; i <= r->n_steps; i++) {
		struct balanced_server servers[N_NAMES];
		bool changed;

		for (size_t k = 0; k < p->n_servers; k++)
			servers[k] =
				(struct balanced_server){.name = p->servers[k].name,
							 .weight = i < r->n_steps && k == r->steps[i].server ? 0 : 1};
		assert_int_equal(balanced_set_servers(b, servers, p->n_servers, &changed, NULL), ERR_OK);
		assert_int_equal(balanced_changes(b).n_moves, i < r->n_steps ? r->steps[i].moves : r->home);
	}
}

static void random_fleets_stay_even(void **state)
{
	struct rng rng = test_rng("random_fleets_stay_even");

	for (size_t round = 0; round < 150; round++) {
		size_t m = 2 + rng_below(&rng, N_NAMES - 1), n = rng_below(&rng, round % 10 ? 200 : 2000);
		struct balanced *b = placement(m, n, NULL, NULL);
		struct rolling_plan r;
		struct plan p;

		/* Not fresh from a design. */
		for (size_t i = 0; n && i < rng_below(&rng, 20); i++)
			(void)!balanced_remove_host(b, 1 + rng_below(&rng, n));
		plan_from(&p, b, m);
		assert_int_equal(rolling_plan(&r, &p, rng_below(&rng, m), NULL), ERR_OK);
		is_as_promised(&r, p.n_hosts, m);
		is_what_happens(&r, &p, b);
		rolling_plan_deinit(&r);
		plan_deinit(&p);
		balanced_free(b);
	}
}

/* Weights, zones and pins: no agent is left on a server whose turn it is, and none is lost. */
static void nobody_is_left_behind(void **state)
{
	static const char *const some_zones[] = {NULL, "east", "west"};
	struct rng rng = test_rng("nobody_is_left_behind");

	for (size_t round = 0; round < 150; round++) {
		size_t m = 2 + rng_below(&rng, N_NAMES - 1), n = rng_below(&rng, 150);
		bool has_zones = rng_below(&rng, 2);
		const char *zones[N_NAMES];
		uint32_t weights[N_NAMES];
		struct balanced *b;
		struct rolling_plan r;
		struct plan p;

		for (size_t i = 0; i < m; i++) {
			zones[i] = some_zones[rng_below(&rng, ARRAY_SIZE(some_zones))];
			weights[i] = (uint32_t)rng_below(&rng, 4);
		}
		b = placement(m, n, weights, has_zones ? zones : NULL);
		for (size_t i = 0; n && i < rng_below(&rng, 3); i++)
			assert_int_equal(balanced_pin_host(b, 1 + rng_below(&rng, n), names[rng_below(&rng, m)]),
					 ERR_OK);
		plan_from(&p, b, m);
		assert_int_equal(rolling_plan(&r, &p, ROLLING_NOBODY, NULL), ERR_OK);
		for (size_t i = 0; i < r.n_steps; i++) {
			uint64_t sum = 0;

			for (size_t k = 0; k < m; k++)
				sum += r.steps[i].on[k];
			assert_int_equal(sum, n);
			assert_int_equal(r.steps[i].on[r.steps[i].server], 0);
		}
		rolling_plan_deinit(&r);
		plan_deinit(&p);
		balanced_free(b);
	}
}

/* ---- rows ---- */

static void the_order_of_turns(void **state)
{
	static const struct {
		const char *what;
		uint32_t weights[4];
		const char *zones[4];
		size_t asked;
		const char *order;
	} rows[] = {
		{"equals: as the list has them", {1, 1, 1, 1}, {0}, ROLLING_NOBODY, "M1,M2,M3,M4"},
		{"the one that is asked comes last", {1, 1, 1, 1}, {0}, 1, "M1,M3,M4,M2"},
		{"fewer hosts come before more", {3, 1, 2, 1}, {0}, ROLLING_NOBODY, "M2,M4,M3,M1"},
		{"whom nobody prefers comes first", {1, 1, 0, 1}, {0}, ROLLING_NOBODY, "M3,M1,M2,M4"},
		{"a zone is gone through at once", {1, 1, 1, 1}, {"a", "b", "a", "b"}, ROLLING_NOBODY, "M1,M3,M2,M4"},
		{"the zone of the one that is asked comes last", {1, 1, 1, 1}, {"a", "b", "a", "b"}, 0, "M2,M4,M3,M1"},
		{"even if nobody prefers the one that is asked", {0, 1, 1, 1}, {0}, 0, "M2,M3,M4,M1"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool has_zones = rows[i].zones[0];
		struct balanced *b = placement(4, 48, rows[i].weights, has_zones ? rows[i].zones : NULL);
		struct str_list got = {0};
		size_t order[SERVER_LIST_MAX];
		struct rolling r;
		struct plan p;
		char *text;

		plan_from(&p, b, 4);
		assert_int_equal(rolling_init(&r, &p, NULL), ERR_OK);
		rolling_order(&r, rows[i].asked, order);
		for (size_t k = 0; k < 4; k++)
			assert_int_equal(str_list_add(&got, names[order[k]]), ERR_OK);
		text = str_list_join(&got, ",");
		if (!str_equal(text, rows[i].order))
			fail_msg("%s: %s, not %s", rows[i].what, text, rows[i].order);
		mem_free(text);
		str_list_deinit(&got);
		rolling_deinit(&r);
		plan_deinit(&p);
		balanced_free(b);
	}
}

static void add(struct plan *p, uint64_t id, const char *list, const char *on)
{
	struct str_list l = test_list(list);

	assert_int_equal(plan_add_host(p, id, NULL, NULL, &l), ERR_OK);
	if (on)
		p->hosts[p->n_hosts - 1].on = mem_strdup(on);
	str_list_deinit(&l);
}

static void other_algorithms_take_2n(void **state)
{
	struct plan p = {.algorithm = ALGORITHM_ROUNDROBIN};
	struct rolling_plan r;

	for (size_t i = 0; i < 3; i++)
		assert_int_equal(plan_add_server(&p, names[i], 1, NULL), ERR_OK);
	add(&p, 1, "M1,M2,M3", NULL);
	add(&p, 2, "M2,M3,M1", NULL);
	add(&p, 3, "M3,M1,M2", NULL);
	add(&p, 4, "M1,M2,M3", NULL);
	assert_int_equal(rolling_plan(&r, &p, ROLLING_NOBODY, NULL), ERR_OK);
	assert_false(r.hands_over);
	assert_int_equal(r.moves, 8);
	assert_int_equal(r.plain, 8);
	assert_int_equal(r.home, 0);
	/* M2 and M3 have fewer. */
	assert_int_equal(r.steps[0].server, 1);
	assert_int_equal(r.steps[0].moves, 1);
	assert_int_equal(r.steps[0].back, 1);
	assert_int_equal(r.steps[0].on[2], 2);
	assert_int_equal(r.steps[2].server, 0);
	assert_int_equal(r.steps[2].on[1], 3);
	assert_int_equal(r.on[0], 2);
	rolling_plan_deinit(&r);
	plan_deinit(&p);
}

/* It begins where agents are, and goes on from the middle. */
static void a_walk_begins_anywhere(void **state)
{
	struct balanced *b = placement(3, 12, NULL, NULL);
	struct balanced_server servers[3] = {
		{.name = "M1", .weight = 1}, {.name = "M2", .weight = 0}, {.name = "M3", .weight = 1}};
	uint64_t on[SERVER_LIST_MAX];
	struct rolling r;
	struct plan p;
	bool changed;

	/* M2 rests and is empty; one host has no link. */
	assert_int_equal(balanced_set_servers(b, servers, 3, &changed, NULL), ERR_OK);
	servers[1].weight = 1;
	plan_from(&p, b, 3);
	p.servers[1].weight = p.was[1].weight = 1;
	p.servers[1].resting = p.was[1].resting = true;
	p.knows_on = true;
	for (size_t i = 1; i < p.n_hosts; i++)
		p.hosts[i].on = mem_strdup(p.hosts[i].before.items[0]);
	assert_int_equal(rolling_init(&r, &p, NULL), ERR_OK);
	rolling_count(&r, on);
	assert_int_equal(on[0] + on[2], 11);
	assert_int_equal(on[1], 0);
	assert_int_equal(rolling_rest(&r, 2), ERR_OK);
	assert_int_equal(rolling_empty(&r, 2), on[2]);
	rolling_count(&r, on);
	assert_int_equal(on[2], 0);
	assert_int_equal(on[0] + on[1], 11);
	assert_int_equal(rolling_rest(&r, ROLLING_NOBODY), ERR_OK);
	assert_true(rolling_home(&r) >= 3);
	rolling_deinit(&r);
	plan_deinit(&p);
	balanced_free(b);
}

static void what_can_not_be_is_refused(void **state)
{
	struct plan p = {.algorithm = ALGORITHM_BALANCED};
	struct why why = WHY_NONE;
	struct rolling_plan r;

	assert_int_equal(plan_add_server(&p, "M1", 1, NULL), ERR_OK);
	assert_int_equal(rolling_plan(&r, &p, ROLLING_NOBODY, &why), ERR_INVALID);
	assert_string_equal(why.text, "there is no other server to take the agents");
	assert_int_equal(plan_add_server(&p, "M2", 1, NULL), ERR_OK);
	add(&p, 1, "M2,M2", NULL);
	why = (struct why)WHY_NONE;
	assert_int_equal(rolling_plan(&r, &p, ROLLING_NOBODY, &why), ERR_INVALID);
	assert_non_null(strstr(why.text, "no placement"));
	plan_deinit(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_order_of_turns),     cmocka_unit_test(random_fleets_stay_even),
		cmocka_unit_test(nobody_is_left_behind),  cmocka_unit_test(other_algorithms_take_2n),
		cmocka_unit_test(a_walk_begins_anywhere), cmocka_unit_test(what_can_not_be_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
