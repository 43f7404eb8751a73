/* What a host is bound to, who may have it without, and agents without a certificate when strictness is switched on. */
#include <string.h>

#include "check.h"
#include "engine_bench.h"

#define STRICTNESS "ca.plugin.root.auth.strictness"

/* CloudStack's agents: certificates that name addresses. */
static const struct agent_script host = {.guid = "j1", .ip = "10.1.0.1", .identity = ID_SAN, .key = "k1"};
static const struct agent_script neighbour = {.guid = "j1", .ip = "10.1.0.2", .identity = ID_SAN, .key = "k2"};

static void cluster_up(struct engine_bench *e)
{
	engine_up(e);
	node_add(e, &e->b, B_IP);
	engine_run(e, 1500);
}

static struct script *dial(struct engine_bench *e, struct node *n, const struct agent_script *as)
{
	struct script *a = script_new(e, as);

	script_dial(a, n);
	engine_run(e, 1000);
	return a;
}

static bool is_ready(struct node *n, const char *guid)
{
	struct host *h = host_of(n, guid);

	return h && h->session && h->session->state == SESSION_READY;
}

static void a_neighbour_does_not_get_the_host(void **state)
{
	static const struct {
		const char *what;
		bool at_b, was_gone; /* the second comes to the other server; the first has gone before */
		struct agent_script as;
		const char *issued; /* the serial that was issued for j1; NULL: none */
		bool allowed;
		bool is_let_in;
	} rows[] = {
		{"the same key from another address", .as = {.ip = "10.1.0.9", .key = "k1"}, .was_gone = true,
		 .is_let_in = true},
		{"another key from its address", .as = {.ip = "10.1.0.1", .key = "k2"}, .was_gone = true,
		 .is_let_in = true},
		{"another key from another address, while it is there", .as = {.ip = "10.1.0.2", .key = "k2"}},
		{"at another server", .as = {.ip = "10.1.0.2", .key = "k2"}, .at_b = true},
		{"when it is not there", .as = {.ip = "10.1.0.2", .key = "k2"}, .was_gone = true},
		{"when it is not there, at another server", .as = {.ip = "10.1.0.2", .key = "k2"}, .was_gone = true,
		 .at_b = true},
		{"spoken by muster-agent", .as = {.ip = "10.1.0.2", .key = "k2", .is_muster = true, .boot = "x"},
		 .was_gone = true},
		{"one that was issued for the host", .as = {.ip = "10.1.0.2", .key = "k2"}, .was_gone = true,
		 .issued = "5e1aj1k2", .is_let_in = true},
		{"one that was issued for another", .as = {.ip = "10.1.0.2", .key = "k2"}, .was_gone = true,
		 .issued = "5e1aj1k3"},
		{"one that an operator allows", .as = {.ip = "10.1.0.2", .key = "k2"}, .was_gone = true,
		 .allowed = true, .is_let_in = true},
		{"a stronger one", .as = {.ip = "10.1.0.2", .identity = ID_URI, .is_muster = true, .boot = "x"},
		 .was_gone = true, .is_let_in = true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;
		struct agent_script as = rows[i].as;
		struct script *first, *second;
		struct node *n;
		struct host_row row;
		int64_t id;

		print_message("  %s\n", rows[i].what);
		cluster_up(&e);
		n = rows[i].at_b ? &e.b : &e.a;
		first = dial(&e, &e.a, &host);
		assert_true(is_ready(&e.a, "j1"));
		id = host_of(&e.a, "j1")->row.id;
		if (rows[i].was_gone) {
			script_hang_up(first);
			engine_run(&e, 1000);
		}
		if (rows[i].issued)
			engine_issued(&e, rows[i].issued, "j1");
		if (rows[i].allowed)
			engine_allow_weaker(&e, id);
		engine_run(&e, 500);

		as.guid = "j1";
		if (as.identity == ID_URI && as.key)
			as.identity = ID_SAN;
		second = dial(&e, n, &as);
		check_row(&rows[i], script_is_open(second) == rows[i].is_let_in);
		check_row(&rows[i], is_ready(n, "j1") == (rows[i].is_let_in || (!rows[i].was_gone && !rows[i].at_b)));
		check_row(&rows[i], script_is_open(first) == !rows[i].was_gone);
		check_row(&rows[i], engine_count_events(&e, "HOST.REFUSED", "allow-weaker") == !rows[i].is_let_in);
		row = engine_row(&e, id);
		check_row(&rows[i], row.id == id && !row.allow_weaker);
		if (as.identity == ID_SAN)
			check_row(&rows[i], str_equal(row.bound_to, rows[i].is_let_in ? as.key : "k1"));
		host_row_deinit(&row);
		engine_down(&e);
	}
}

static void an_operator_allows_once(void **state)
{
	struct engine_bench e;
	struct script *first, *second;
	int64_t id;

	cluster_up(&e);
	first = dial(&e, &e.a, &host);
	id = host_of(&e.a, "j1")->row.id;
	script_hang_up(first);
	engine_allow_weaker(&e, id);
	engine_run(&e, 1000);
	second = dial(&e, &e.a, &neighbour);
	assert_true(script_is_open(second));
	script_hang_up(second);
	/* The host is the second's from now on. */
	first = dial(&e, &e.a, &host);
	assert_false(script_is_open(first));
	engine_down(&e);
}

static void without_the_store_a_new_key_waits(void **state)
{
	struct engine_bench e;
	struct script *first, *second;

	cluster_up(&e);
	engine_issued(&e, "5e1aj1k2", "j1");
	first = dial(&e, &e.a, &host);
	script_hang_up(first);
	engine_run(&e, 1000);
	e.a.store_fails = true;
	second = dial(&e, &e.a, &neighbour);
	engine_run(&e, 5000);
	assert_false(script_is_open(second));
	/* The key that the host is bound to is enough without a store. */
	first = dial(&e, &e.a, &host);
	assert_true(script_is_open(first));
	script_hang_up(first);
	e.a.store_fails = false;
	engine_run(&e, 3000);
	second = dial(&e, &e.a, &neighbour);
	assert_true(script_is_open(second));
	engine_down(&e);
}

static void a_muster_certificate_comes_with_muster(void **state)
{
	static const struct agent_script downgraded = {.guid = "h1", .ip = "10.1.0.1", .identity = ID_URI};
	struct engine_bench e;
	struct script *a;

	engine_up(&e);
	engine_config(&e, STRICTNESS, "false");
	engine_run(&e, 1500);
	a = dial(&e, &e.a, &downgraded);
	assert_false(script_is_open(a));
	assert_int_equal(script_count(a, MSG_STARTUP_ANSWER), 0);
	assert_null(host_of(&e.a, "h1"));
	assert_int_equal(engine_count_events(&e, "HOST.REFUSED", "doesn't speak muster/1"), 1);
	engine_down(&e);
}

/* ---- strictness ---- */

static void the_unsecured_are_cut_when_strictness_is_switched_on(void **state)
{
	static const struct agent_script good = {
		.guid = "h1", .ip = "10.1.0.1", .identity = ID_URI, .is_muster = true, .boot = "b1"};
	struct agent_script as = {.identity = ID_NONE};
	struct engine_bench e;
	struct script *a, *with;
	char guids[70][8], ips[70][16];

	cluster_up(&e);
	engine_config(&e, STRICTNESS, "false");
	engine_run(&e, 1500);
	with = dial(&e, &e.a, &good);
	for (size_t i = 0; i < ARRAY_SIZE(guids); i++) {
		snprintf(guids[i], sizeof(guids[i]), "n%zu", i);
		snprintf(ips[i], sizeof(ips[i]), "10.2.0.%zu", i + 1);
		as.guid = guids[i];
		as.ip = ips[i];
		script_dial(script_new(&e, &as), &e.a);
	}
	engine_run(&e, 3000);
	assert_int_equal(e.a.server->n_unsecured, ARRAY_SIZE(guids));
	assert_true(is_ready(&e.a, "n0"));
	assert_false(host_of(&e.a, "n0")->row.secured);

	/* At a pace: 50 a second. */
	engine_config(&e, STRICTNESS, "true");
	while (e.a.server->n_unsecured == ARRAY_SIZE(guids))
		engine_run(&e, 10);
	assert_int_equal(e.a.server->n_unsecured, ARRAY_SIZE(guids) - 50);
	engine_run(&e, 1500);
	assert_int_equal(e.a.server->n_unsecured, 0);
	assert_int_equal(engine_count_events(&e, "CA.STRICTNESS", "70 agents"), 1);
	assert_true(script_is_open(with));
	assert_true(is_ready(&e.a, "h1"));

	/* And off again: in the next connection. */
	as.guid = guids[0];
	as.ip = ips[0];
	a = dial(&e, &e.a, &as);
	assert_false(script_is_open(a));
	engine_config(&e, STRICTNESS, "false");
	engine_run(&e, 1500);
	a = dial(&e, &e.a, &as);
	assert_true(script_is_open(a));
	assert_int_equal(e.a.server->n_unsecured, 1);
	/* Who goes by himself is counted no longer. */
	script_hang_up(a);
	engine_run(&e, 1000);
	assert_int_equal(e.a.server->n_unsecured, 0);
	engine_down(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_neighbour_does_not_get_the_host),
		cmocka_unit_test(an_operator_allows_once),
		cmocka_unit_test(without_the_store_a_new_key_waits),
		cmocka_unit_test(a_muster_certificate_comes_with_muster),
		cmocka_unit_test(the_unsecured_are_cut_when_strictness_is_switched_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
