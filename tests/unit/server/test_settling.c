/* Lists under balanced are made more even in calm times, by one server, and nobody moves for it. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "core/balanced.h"
#include "engine_bench.h"

#define N_HOSTS 150
#define N_SERVERS 6

/* ---- behind the servers' back, as another one would ---- */

static enum err in_store(struct engine_bench *e, enum err (*run)(struct store_tx *tx, void *arg, struct why *why),
			 void *arg)
{
	struct store_call call = {.run = run, .arg = arg};
	struct store_call *calls[] = {&call};
	struct store *store;
	struct why why;

	assert_int_equal(store_open(&store, e->store_name, &why), ERR_OK);
	assert_int_equal(store_run(store, calls, 1, &why), ERR_OK);
	store_close(store);
	return call.result;
}

static enum err host_make(struct store_tx *tx, int i)
{
	char guid[16];
	struct host_row row = {.guid = guid,
			       .name = guid,
			       .zone_id = 1,
			       .pod_id = 1,
			       .cluster_id = 1,
			       .resource_state = RESOURCE_ENABLED};

	snprintf(guid, sizeof(guid), "g%d", i);
	snprintf(row.uuid, sizeof(row.uuid), "00000000-0000-4000-8000-%012d", i);
	return store_host_create(tx, &row);
}

static enum err fill_run(struct store_tx *tx, void *arg, struct why *why)
{
	enum err e = ERR_OK;

	store_tx_by(tx, 4711, 1);
	for (int i = 0; i < N_HOSTS && !e; i++)
		e = host_make(tx, i);
	return e;
}

/* Looks only: the call is undone. */
static enum err look_run(struct store_tx *tx, void *arg, struct why *why)
{
	enum err e = store_placement_settle(tx, 1000, arg);

	return e ? e : ERR_REFUSED;
}

static size_t left_to_settle(struct engine_bench *e)
{
	size_t n = 0;

	assert_int_equal(in_store(e, look_run, &n), ERR_REFUSED);
	return n;
}

/* Some host goes, or one comes. */
static enum err change_run(struct store_tx *tx, void *arg, struct why *why)
{
	struct rng *rng = arg;
	int64_t id = rng_between(rng, 1, N_HOSTS);
	size_t moved;
	enum err e;

	store_tx_by(tx, 4711, 1);
	if (rng_below(rng, 2))
		return host_make(tx, (int)rng_below(rng, 900000000) + N_HOSTS);
	e = store_host_remove(tx, id, N_SERVERS, &moved);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static void firsts_get(struct engine_bench *e, struct node *n, int64_t *out)
{
	struct host *h;
	size_t cursor = 0;

	while ((h = roster_next(n->server, &cursor)))
		if (h->row.id < 2 * N_HOSTS)
			out[h->row.id] = h->row.placed_first;
}

static void large_fleet(struct engine_bench *e)
{
	struct rng rng;

	engine_up(e);
	node_add(e, &e->b, B_IP);
	engine_config(e, "host", B_IP "," A_IP ",10.0.0.3,10.0.0.4,10.0.0.5,10.0.0.6");
	engine_config(e, "indirect.agent.lb.algorithm", "balanced");
	assert_int_equal(in_store(e, fill_run, NULL), ERR_OK);
	rng_init(&rng, 1);
	/* Most changes leave nothing to do. */
	for (int i = 0; i < 3000 && !left_to_settle(e); i++)
		assert_int_equal(in_store(e, change_run, &rng), ERR_OK);
	assert_true(left_to_settle(e) > 0);
	engine_run(e, 500);
}

static void lists_are_settled_when_all_is_calm(void **state)
{
	static int64_t before[2 * N_HOSTS], after[2 * N_HOSTS];
	struct engine_bench e;
	int64_t version;

	large_fleet(&e);
	firsts_get(&e, &e.b, before);
	version = placement_version(e.a.server);
	engine_run(&e, 5000);
	/* Not at once: more may change. */
	assert_int_equal(placement_version(e.a.server), version);
	engine_run(&e, 600000);
	assert_true(placement_version(e.a.server) > version);
	assert_int_equal(placement_version(e.b.server), placement_version(e.a.server));
	firsts_get(&e, &e.b, after);
	assert_memory_equal(before, after, sizeof(before));
	assert_int_equal(left_to_settle(&e), 0);
	/* Then it is quiet. */
	version = placement_version(e.a.server);
	engine_run(&e, 60000);
	assert_int_equal(placement_version(e.a.server), version);
	engine_down(&e);
}

static enum err pin_run(struct store_tx *tx, void *arg, struct why *why)
{
	size_t moves;

	store_tx_by(tx, 4711, 1);
	return store_host_pin(tx, 1, arg, &moves);
}

static enum err redesign_run(struct store_tx *tx, void *arg, struct why *why)
{
	size_t moves;

	store_tx_by(tx, 4711, 1);
	return store_placement_redesign(tx, &moves);
}

/* A change that alters no list is a new version all the same, of which nobody hears. */
static void what_is_settled_is_left_alone(void **state)
{
	static char pin[] = A_IP;
	struct engine_bench e;

	large_fleet(&e);
	(void)in_store(&e, pin_run, pin); /* fails if it has gone: then there are other changes enough */
	assert_int_equal(in_store(&e, redesign_run, NULL), ERR_OK);
	engine_run(&e, 500);
	assert_int_equal(in_store(&e, redesign_run, NULL), ERR_OK);
	engine_run(&e, 600000);
	assert_int_equal(left_to_settle(&e), 0);
	assert_int_equal(e.a.server->settling.version, placement_version(e.a.server));
	engine_down(&e);
}

static void freeze_all(struct engine_bench *e)
{
	e->a.server->freeze.is_on = e->b.server->freeze.is_on = true;
}

static void other_algorithm(struct engine_bench *e)
{
	engine_config(e, "indirect.agent.lb.algorithm", "roundrobin");
}

static void two_servers(struct engine_bench *e)
{
	engine_config(e, "host", B_IP "," A_IP);
}

/* Agents are to be told of changes, and haven't been. */
static void tails_wait(struct engine_bench *e)
{
	e->a.server->tails_since = e->b.server->tails_since = world_now(e->world);
}

static void nothing_is_settled_while(void **state)
{
	static const struct {
		const char *what;
		void (*make)(struct engine_bench *e);
	} rows[] = {
		{"moves are frozen", freeze_all},
		{"another algorithm is in force", other_algorithm},
		{"there are two servers only", two_servers},
		{"lists are on their way to agents", tails_wait},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;
		int64_t version;

		large_fleet(&e);
		rows[i].make(&e);
		engine_run(&e, 500);
		version = placement_version(e.a.server);
		engine_run(&e, 60000);
		check_row(&rows[i], placement_version(e.a.server) == version);
		engine_down(&e);
	}
}

static enum err come_run(struct store_tx *tx, void *arg, struct why *why)
{
	store_tx_by(tx, 4711, 1);
	return host_make(tx, *(int *)arg);
}

/* Placement, "Is it current?": hosts that come change the tails of other lists; each agent is told once of many. */
static void tails_are_told_together(void **state)
{
	static const struct agent_script as = {
		.guid = "h1", .ip = "10.1.0.1", .identity = ID_URI, .is_muster = true, .boot = "b1"};
	struct engine_bench e;
	struct script *a;
	struct host *h;
	int64_t last;
	size_t n_changes = 0;

	engine_up(&e);
	engine_config(&e, "host", A_IP ",10.0.0.3,10.0.0.4,10.0.0.5");
	engine_config(&e, "indirect.agent.lb.algorithm", "balanced");
	a = script_new(&e, &as);
	script_dial(a, &e.a);
	engine_run(&e, 1000);
	h = host_of(&e.a, "h1");
	assert_int_equal(h->session->state, SESSION_READY);
	script_forget(a);
	last = h->row.placed_third;
	/* Twelve seconds of it, never three without a change. */
	for (int i = 0; i < 60; i++) {
		assert_int_equal(in_store(&e, come_run, &i), ERR_OK);
		engine_run(&e, 200);
		n_changes += h->row.placed_third != last;
		last = h->row.placed_third;
	}
	print_message("%zu changes\n", n_changes);
	assert_true(n_changes >= 2);
	assert_int_equal(script_count(a, MSG_SETUP_MS_LIST), 0);
	engine_run(&e, 5000);
	assert_int_equal(script_count(a, MSG_SETUP_MS_LIST), 1);
	assert_true(lists_is_current(e.a.server, &h->row, h->session->reported));
	engine_down(&e);
}

struct pinning {
	int64_t id;
	char *entry;
};

static enum err pin_that_run(struct store_tx *tx, void *arg, struct why *why)
{
	const struct pinning *p = arg;
	size_t moves;

	store_tx_by(tx, 4711, 1);
	return store_host_pin(tx, p->id, p->entry, &moves);
}

/* Also when so many have changed that all are read again. */
static void tails_of_many_are_told_together(void **state)
{
	static const struct agent_script as = {
		.guid = "h1", .ip = "10.1.0.1", .identity = ID_URI, .is_muster = true, .boot = "b1"};
	static char entry[] = "10.0.0.3";
	struct engine_bench e;
	struct script *a;
	struct host_row before;
	struct host *h;

	engine_up(&e);
	engine_config(&e, "host", A_IP ",10.0.0.3,10.0.0.4,10.0.0.5");
	engine_config(&e, "indirect.agent.lb.algorithm", "balanced");
	a = script_new(&e, &as);
	script_dial(a, &e.a);
	engine_run(&e, 1000);
	for (int i = 0; i < 60; i++)
		assert_int_equal(in_store(&e, come_run, &i), ERR_OK);
	engine_run(&e, 40000);
	script_forget(a);
	h = host_of(&e.a, "h1");
	before = h->row;
	for (int64_t id = 2;
	     id < 60 && h->row.placed_third == before.placed_third && h->row.placed_second == before.placed_second;
	     id++) {
		struct pinning p = {id, entry};

		assert_int_equal(in_store(&e, pin_that_run, &p), ERR_OK);
		engine_run(&e, 300);
	}
	assert_int_equal(h->row.placed_first, before.placed_first);
	assert_false(lists_is_current(e.a.server, &h->row, h->session->reported));
	assert_int_equal(script_count(a, MSG_SETUP_MS_LIST), 0);
	engine_run(&e, 5000);
	assert_int_equal(script_count(a, MSG_SETUP_MS_LIST), 1);
	assert_true(lists_is_current(e.a.server, &h->row, h->session->reported));
	engine_down(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_are_settled_when_all_is_calm), cmocka_unit_test(what_is_settled_is_left_alone),
		cmocka_unit_test(nothing_is_settled_while),           cmocka_unit_test(tails_are_told_together),
		cmocka_unit_test(tails_of_many_are_told_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
