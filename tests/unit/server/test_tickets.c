/* The keys of session tickets: one server makes them, all use them, and they are replaced. */
#include <string.h>

#include "check.h"
#include "engine_bench.h"

#define SECRET "tls.sealed_ticket_keys"
#define LIFETIME "agent.ssl.ticket.key.lifetime"

static const struct tls_ticket_keys *keys_of(const struct node *n)
{
	return &n->server->tickets.keys;
}

static bool same_keys(const struct node *a, const struct node *b)
{
	return memcmp(keys_of(a), keys_of(b), sizeof(*keys_of(a))) == 0;
}

/* ---- the store, by another hand ---- */

struct secret {
	const char *put; /* NULL: only read */
	char *text;
};

static enum err secret_run(struct store_tx *tx, void *arg, struct why *why)
{
	struct secret *s = arg;

	store_tx_by(tx, 99, 0);
	return s->put ? store_secret_set(tx, SECRET, s->put) : store_secret_get(tx, SECRET, &s->text);
}

static char *secret(struct engine_bench *e, const char *put)
{
	struct secret s = {.put = put};
	struct store *store = NULL;
	struct store_call call = {.run = secret_run, .arg = &s, .read_only = !put};
	struct store_call *calls[] = {&call};
	struct why why = WHY_NONE;

	assert_int_equal(store_open(&store, e->store_name, &why), ERR_OK);
	assert_int_equal(store_run(store, calls, 1, &why), ERR_OK);
	assert_int_equal(call.result, ERR_OK);
	store_close(store);
	return s.text;
}

static void cluster_up(struct engine_bench *e)
{
	engine_up(e);
	node_add(e, &e->b, B_IP);
	engine_run(e, 1500);
}

static void a_new_cluster_has_keys_at_once(void **state)
{
	struct engine_bench e;
	struct server_view v;
	char *text;

	engine_up(&e);
	assert_int_equal(keys_of(&e.a)->n, 1);
	server_look(e.a.server, &v);
	assert_true(v.gives_tickets);
	/* As text, sealed. */
	text = secret(&e, NULL);
	assert_true(strlen(text) > TLS_TICKET_KEY_SIZE);
	assert_null(memmem(text, strlen(text), keys_of(&e.a)->keys[0], 4));
	mem_free(text);
	engine_down(&e);
}

static void all_servers_use_the_same(void **state)
{
	struct engine_bench e;

	cluster_up(&e);
	assert_int_equal(keys_of(&e.b)->n, 1);
	assert_true(same_keys(&e.a, &e.b));
	engine_down(&e);
}

static void a_key_is_replaced_and_the_last_one_stays(void **state)
{
	uint8_t first[TLS_TICKET_KEY_SIZE], second[TLS_TICKET_KEY_SIZE];
	const struct tls_creds *creds;
	struct engine_bench e;

	cluster_up(&e);
	memcpy(first, keys_of(&e.a)->keys[0], sizeof(first));
	creds = e.b.server->creds;
	engine_config(&e, LIFETIME, "60");
	engine_run(&e, 50000);
	assert_memory_equal(keys_of(&e.a)->keys[0], first, sizeof(first));
	/* Both servers find that it is time; it is replaced once. */
	engine_run(&e, 20000);
	assert_true(same_keys(&e.a, &e.b));
	assert_int_equal(keys_of(&e.b)->n, 2);
	assert_memory_equal(keys_of(&e.b)->keys[1], first, sizeof(first));
	assert_memory_not_equal(keys_of(&e.b)->keys[0], first, sizeof(first));
	/* For those that connect from now on. */
	assert_ptr_not_equal(e.b.server->creds, creds);
	memcpy(second, keys_of(&e.b)->keys[0], sizeof(second));
	engine_run(&e, 60000);
	assert_true(same_keys(&e.a, &e.b));
	assert_memory_equal(keys_of(&e.a)->keys[1], second, sizeof(second));
	engine_down(&e);
}

static void a_server_that_starts_takes_what_is_there(void **state)
{
	struct engine_bench e;
	struct tls_ticket_keys before;

	cluster_up(&e);
	before = *keys_of(&e.a);
	fake_works_cut(e.f);
	node_kill(&e.b);
	node_add(&e, &e.b, B_IP);
	engine_run(&e, 1500);
	assert_memory_equal(keys_of(&e.b), &before, sizeof(before));
	assert_memory_equal(keys_of(&e.a), &before, sizeof(before));
	engine_down(&e);
}

/* Nobody was there to replace it: it opens nothing any more. */
static void an_old_key_is_not_kept(void **state)
{
	struct engine_bench e;

	engine_up(&e);
	engine_config(&e, LIFETIME, "60");
	engine_run(&e, 1000);
	fake_works_cut(e.f);
	node_kill(&e.a);
	fake_world_run(e.f, 200000);
	node_add(&e, &e.a, A_IP);
	engine_run(&e, 1500);
	assert_int_equal(keys_of(&e.a)->n, 1);
	engine_down(&e);
}

static void without_the_cluster_key_there_are_none(void **state)
{
	static const struct agent_script h1 = {
		.guid = "h1", .ip = "10.1.0.1", .identity = ID_URI, .is_muster = true, .boot = "b1"};
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	fake_works_cut(e.f);
	node_kill(&e.b);
	e.without_cluster_key = true;
	node_add(&e, &e.b, B_IP);
	engine_run(&e, 1500);
	assert_int_equal(keys_of(&e.b)->n, 0);
	assert_int_equal(keys_of(&e.a)->n, 1);
	a = script_new(&e, &h1);
	script_dial(a, &e.b);
	engine_run(&e, 300);
	assert_true(script_is_open(a));
	engine_down(&e);
}

static void they_can_be_switched_off_and_on(void **state)
{
	uint8_t first[TLS_TICKET_KEY_SIZE];
	struct engine_bench e;

	cluster_up(&e);
	memcpy(first, keys_of(&e.a)->keys[0], sizeof(first));
	engine_config(&e, LIFETIME, "0");
	engine_run(&e, 2000);
	assert_int_equal(keys_of(&e.a)->n, 0);
	assert_int_equal(keys_of(&e.b)->n, 0);
	engine_config(&e, LIFETIME, "3600");
	engine_run(&e, 15000);
	/* What was given before is worth nothing. */
	assert_int_equal(keys_of(&e.a)->n, 1);
	assert_true(same_keys(&e.a, &e.b));
	assert_memory_not_equal(keys_of(&e.a)->keys[0], first, sizeof(first));
	engine_down(&e);
}

/* New keys come in the moment in which they are switched off. */
static void no_credentials_keep_keys_that_are_switched_off(void **state)
{
	struct engine_bench e;
	char *older;

	cluster_up(&e);
	older = secret(&e, NULL);
	secret(&e, "this was never sealed");
	engine_run(&e, 15000);
	assert_int_equal(fake_creds_n_ticket_keys(e.a.server->creds), 1);
	engine_config(&e, LIFETIME, "0");
	secret(&e, older);
	engine_run(&e, 2000);
	assert_int_equal(keys_of(&e.a)->n, 0);
	assert_int_equal(fake_creds_n_ticket_keys(e.a.server->creds), 0);
	assert_int_equal(fake_creds_n_ticket_keys(e.b.server->creds), 0);
	mem_free(older);
	engine_down(&e);
}

static void damaged_keys_are_made_anew(void **state)
{
	struct engine_bench e;

	cluster_up(&e);
	secret(&e, "this was never sealed");
	engine_run(&e, 15000);
	assert_int_equal(keys_of(&e.a)->n, 1);
	assert_true(same_keys(&e.a, &e.b));
	engine_down(&e);
}

/* Servers are upgraded one by one. */
static void keys_of_a_newer_program_are_left_alone(void **state)
{
	static const uint8_t cluster_key[CLUSTER_KEY_SIZE] = {1, 2, 3}, nonce[12] = {0}, plain[] = {2, 0, 0};
	struct buf sealed = {0};
	struct engine_bench e;
	char *text, *there;

	cluster_up(&e);
	assert_int_equal(seal_bytes(&sealed, cluster_key, nonce, plain, sizeof(plain), "muster ticket keys"), ERR_OK);
	text = base64url_encode(sealed.data, sealed.len);
	secret(&e, text);
	engine_run(&e, 15000);
	there = secret(&e, NULL);
	assert_string_equal(there, text);
	assert_int_equal(keys_of(&e.a)->n, 0);
	mem_free(there);
	mem_free(text);
	buf_deinit(&sealed);
	engine_down(&e);
}

static void a_store_that_fails_is_tried_again(void **state)
{
	uint8_t first[TLS_TICKET_KEY_SIZE];
	struct engine_bench e;

	engine_up(&e);
	memcpy(first, keys_of(&e.a)->keys[0], sizeof(first));
	engine_config(&e, LIFETIME, "60");
	engine_run(&e, 1000);
	e.a.store_fails = true;
	engine_run(&e, 100000);
	/* The last one is better than none. */
	assert_memory_equal(keys_of(&e.a)->keys[0], first, sizeof(first));
	e.a.store_fails = false;
	engine_run(&e, 12000);
	assert_memory_not_equal(keys_of(&e.a)->keys[0], first, sizeof(first));
	engine_down(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_cluster_has_keys_at_once),
		cmocka_unit_test(all_servers_use_the_same),
		cmocka_unit_test(a_key_is_replaced_and_the_last_one_stays),
		cmocka_unit_test(a_server_that_starts_takes_what_is_there),
		cmocka_unit_test(an_old_key_is_not_kept),
		cmocka_unit_test(without_the_cluster_key_there_are_none),
		cmocka_unit_test(they_can_be_switched_off_and_on),
		cmocka_unit_test(no_credentials_keep_keys_that_are_switched_off),
		cmocka_unit_test(damaged_keys_are_made_anew),
		cmocka_unit_test(keys_of_a_newer_program_are_left_alone),
		cmocka_unit_test(a_store_that_fails_is_tried_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
