#include "core/slots.h"

#include "core_test.h"

#define ROW_MAX 12

static void new_hosts_take_the_lowest_hole_or_the_end(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		uint64_t taken[ROW_MAX];
		size_t n;
		uint64_t next;
		uint64_t next_even; /* for 3 servers */
	} rows[] = {
		{ "the first host", { 0 }, 0, 0, 0 },
		{ "the second", { 0 }, 1, 1, 1 },
		{ "no hole", { 0, 1, 2, 3 }, 4, 4, 4 },
		{ "a hole in front", { 1, 2, 3 }, 3, 0, 0 },
		{ "a hole inside", { 0, 1, 3 }, 3, 2, 2 },
		{ "two holes", { 0, 2, 4, 5 }, 4, 1, 1 },
		{ "only far slots", { 70, 80 }, 2, 0, 0 },
		{ "the lowest hole belongs to a server that has one more already", { 0, 2, 4, 7 }, 4, 1, 3 },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		check_row(&rows[i], slots_next(rows[i].taken, rows[i].n) == rows[i].next);
		check_row(&rows[i], slots_next_even(rows[i].taken, rows[i].n, 3) == rows[i].next_even);
		check_row(&rows[i], slots_next_even(rows[i].taken, rows[i].n, 0) == rows[i].next);
		check_row(&rows[i], slots_next_even(rows[i].taken, rows[i].n, 1) == rows[i].next);
		check_row(&rows[i], slots_next_even(rows[i].taken, rows[i].n, SLOTS_SERVERS_MAX + 1) == rows[i].next);
	}
}

static void repair_moves_the_highest_slots_into_holes(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		size_t n_servers;
		uint64_t taken[ROW_MAX];
		size_t n;
		size_t spread;
		size_t n_moves;
		struct slot_move moves[ROW_MAX];
	} rows[] = {
		{ "nobody", 3, { 0 }, 0, 0, 0, {{ 0 }} },
		{ "no holes, nothing to do", 3, { 0, 1, 2, 3 }, 4, 1, 0, {{ 0 }} },
		{ "a hole that does no harm stays", 3, { 0, 1, 2, 4, 5 }, 5, 1, 0, {{ 0 }} },
		{ "a hole too many: the highest slot of the fullest server takes it", 3, { 1, 2, 3, 4, 5, 7 }, 6, 2, 1, {{ 7, 0 }} },
		{ "the highest slot of all stays when its server has no more than its share", 2, { 1, 3, 5, 6 }, 4, 2, 1, {{ 5, 0 }} },
		{ "everybody on one server", 2, { 0, 2, 4, 6 }, 4, 4, 2, {{ 6, 1 }, { 4, 3 }} },
		{ "two full servers share, the third gets its own", 3, { 0, 1, 3, 4, 6, 7 }, 6, 3, 2, {{ 7, 2 }, { 6, 5 }} },
		{ "more servers than hosts", 5, { 3, 8 }, 2, 2, 1, {{ 8, 0 }} },
		{ "one server takes all as they are", 1, { 5, 9 }, 2, 0, 0, {{ 0 }} },
		{ "no servers, no repair", 0, { 5, 9 }, 2, 0, 0, {{ 0 }} },
		{ "slots as high as they get", 2, { UINT64_MAX - 4, UINT64_MAX - 2, UINT64_MAX }, 3, 3, 1, {{ UINT64_MAX, 0 }} },
		{ "more servers than a list can have are left alone", SLOTS_SERVERS_MAX + 1, { 0, SLOTS_SERVERS_MAX + 1 }, 2, 2, 0, {{ 0 }} },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct slot_move moves[ROW_MAX] = {{0}};

		check_row(&rows[i], slots_spread(rows[i].taken, rows[i].n, rows[i].n_servers) == rows[i].spread);
		check_row(&rows[i],
			  slots_repair(rows[i].taken, rows[i].n, rows[i].n_servers, moves) == rows[i].n_moves);
		for (size_t j = 0; j < rows[i].n_moves; j++) {
			check_row(&rows[i], moves[j].from == rows[i].moves[j].from);
			check_row(&rows[i], moves[j].to == rows[i].moves[j].to);
		}
	}
}

static void spread_is_counted_for_any_number_of_servers(void **state)
{
	static const uint64_t taken[] = {0, 1, 2, 2500, 5000};

	assert_int_equal(slots_spread(taken, 5, 2500), 3);
	assert_int_equal(slots_spread(taken, 5, 100000), 1);
	assert_int_equal(slots_spread(taken, 3, 3), 0);
}

static int compare(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return *left < *right ? -1 : *left > *right;
}

/* The second opinion: how many hosts per server, one counter at a time. */
static size_t count_on(const uint64_t *taken, size_t n, size_t n_servers, size_t server)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += taken[i] % n_servers == server;
	return count;
}

static bool is_even(const uint64_t *taken, size_t n, size_t n_servers)
{
	size_t least = SIZE_MAX, most = 0;

	for (size_t s = 0; s < n_servers; s++) {
		size_t count = count_on(taken, n, n_servers, s);

		least = count < least ? count : least;
		most = count > most ? count : most;
	}
	return most - least <= 1;
}

/* Tries every placement of the hosts on the servers; returns how few hosts have to change theirs for an even one. */
static size_t fewest_moves(const uint64_t *taken, size_t n, size_t n_servers)
{
	uint64_t place[ROW_MAX] = {0};
	size_t fewest = n;

	for (;;) {
		size_t n_moved = 0, i = 0;

		for (size_t j = 0; j < n; j++)
			n_moved += place[j] != taken[j] % n_servers;
		if (n_moved < fewest && is_even(place, n, n_servers))
			fewest = n_moved;
		while (i < n && ++place[i] == n_servers)
			place[i++] = 0;
		if (i == n)
			return fewest;
	}
}

/* Carries the moves out, and checks what must hold for any repair. */
static size_t repair(uint64_t *taken, size_t n, size_t n_servers, struct slot_move *moves)
{
	size_t n_moves = slots_repair(taken, n, n_servers, moves);

	for (size_t i = 0; i < n_moves; i++) {
		uint64_t *from = bsearch(&moves[i].from, taken, n, sizeof(*taken), compare);

		assert_non_null(from);
		assert_null(bsearch(&moves[i].to, taken, n, sizeof(*taken), compare));
		*from = moves[i].to;
		qsort(taken, n, sizeof(*taken), compare);
	}
	for (size_t i = 1; i < n; i++)
		assert_true(taken[i - 1] < taken[i]);
	if (n_servers)
		assert_true(is_even(taken, n, n_servers));
	assert_int_equal(slots_repair(taken, n, n_servers, moves), 0);
	return n_moves;
}

static void repair_is_even_and_as_short_as_trying_everything(void **state)
{
	struct rng rng = test_rng(__func__);

	for (int round = 0; round < 1500; round++) {
		size_t n_servers = 1 + (size_t)rng_below(&rng, 4);
		size_t n = (size_t)rng_below(&rng, n_servers == 4 ? 7 : 8);
		uint64_t taken[ROW_MAX];
		struct slot_move moves[ROW_MAX];
		size_t n_taken = 0, fewest;

		for (uint64_t slot = 0; n_taken < n; slot++) {
			if (rng_below(&rng, 3) == 0)
				taken[n_taken++] = slot;
		}
		fewest = fewest_moves(taken, n, n_servers);
		assert_int_equal(repair(taken, n, n_servers, moves), fewest);
	}
}

/* Hosts by slot; each remembers its own, as the store would. */
struct fleet {
	uint64_t taken[400];
	struct slot_move moves[400];
	size_t n;
	size_t n_servers;
};

static void fleet_add(struct fleet *f, bool is_even_wanted)
{
	uint64_t slot = is_even_wanted ? slots_next_even(f->taken, f->n, f->n_servers) : slots_next(f->taken, f->n);
	bool has_hole = f->n && f->taken[f->n - 1] >= f->n;
	size_t n_moves;

	if (!has_hole)
		assert_int_equal(slot, f->n);
	assert_null(bsearch(&slot, f->taken, f->n, sizeof(slot), compare));
	f->taken[f->n++] = slot;
	qsort(f->taken, f->n, sizeof(slot), compare);
	n_moves = repair(f->taken, f->n, f->n_servers, f->moves);
	/* Slots 3 and 5: whoever asks for an even slot moves nobody; otherwise it is one host at most. */
	assert_in_range(n_moves, 0, is_even_wanted ? 0 : 1);
}

static void fleet_remove(struct fleet *f, size_t i)
{
	memmove(&f->taken[i], &f->taken[i + 1], (f->n - i - 1) * sizeof(f->taken[0]));
	f->n--;
	/* Slots 5: one host that goes moves at most one other. */
	assert_in_range(repair(f->taken, f->n, f->n_servers, f->moves), 0, 1);
}

static void slots_stay_even_over_a_long_life(void **state)
{
	struct rng rng = test_rng(__func__);

	for (int round = 0; round < 60; round++) {
		struct fleet f = {.n_servers = 1 + (size_t)rng_below(&rng, 12)};
		uint64_t grow = 30 + rng_below(&rng, 50);

		for (int step = 0; step < 400; step++) {
			uint64_t what = rng_below(&rng, 100);

			if (what == 0) {
				f.n_servers = 1 + (size_t)rng_below(&rng, 12);
				repair(f.taken, f.n, f.n_servers, f.moves);
			} else if (what <= grow && f.n < ARRAY_SIZE(f.taken)) {
				fleet_add(&f, rng_below(&rng, 2));
			} else if (f.n) {
				fleet_remove(&f, (size_t)rng_below(&rng, f.n));
			}
		}
	}
}

static void hosts_created_in_order_get_0_1_2(void **state)
{
	for (size_t n_servers = 1; n_servers <= 7; n_servers++) {
		struct fleet f = {.n_servers = n_servers};

		for (size_t i = 0; i < 100; i++)
			fleet_add(&f, i % 2);
		for (size_t i = 0; i < 100; i++)
			assert_int_equal(f.taken[i], i);
	}
}

static void a_hundred_thousand_hosts_are_no_problem(void **state)
{
	size_t n = 100000;
	uint64_t *taken = mem_zalloc_array(n, sizeof(*taken));
	struct slot_move *moves = mem_zalloc_array(n, sizeof(*moves));
	struct rng rng = test_rng(__func__);
	uint64_t slot = 0;
	size_t n_moves;

	for (size_t i = 0; i < n; i++)
		taken[i] = slot += 1 + rng_below(&rng, 3);
	for (int i = 0; i < 50; i++) {
		slots_next(taken, n);
		slots_next_even(taken, n, 10);
		slots_repair(taken, n, 10, moves);
	}
	n_moves = slots_repair(taken, n, 10, moves);
	for (size_t i = 0; i < n_moves; i++)
		*(uint64_t *)bsearch(&moves[i].from, taken, n, sizeof(*taken), compare) |= UINT64_C(1) << 63;
	for (size_t i = 0, j = 0; i < n; i++) {
		if (taken[i] >> 63)
			taken[i] = moves[j++].to;
	}
	assert_true(slots_spread(taken, n, 10) <= 1);
	mem_free(taken);
	mem_free(moves);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_hosts_take_the_lowest_hole_or_the_end),
		cmocka_unit_test(repair_moves_the_highest_slots_into_holes),
		cmocka_unit_test(spread_is_counted_for_any_number_of_servers),
		cmocka_unit_test(repair_is_even_and_as_short_as_trying_everything),
		cmocka_unit_test(slots_stay_even_over_a_long_life),
		cmocka_unit_test(hosts_created_in_order_get_0_1_2),
		cmocka_unit_test(a_hundred_thousand_hosts_are_no_problem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
