/* This server's own certificates: the RSA one beside the first, made later, renewed, and done without. */
#include <string.h>

#include "check.h"
#include "engine_bench.h"
#include "store/sql.h"

#define FILE_CERT "/" A_IP "/server.rsa.crt"
#define FILE_KEY "/" A_IP "/server.rsa.key"
#define HOUR_MS (3600 * 1000)

static void node_up(struct engine_bench *e)
{
	engine_world(e);
	e->with_rsa = true;
	node_add(e, &e->a, A_IP);
}

/* Stops dead; What is given is in its folder when it starts again. The store lasts as long as somebody has it open. */
static void restart(struct engine_bench *e, const char *cert, const char *key)
{
	struct store *keep;
	struct why why = WHY_NONE;

	assert_int_equal(store_open(&keep, e->store_name, &why), ERR_OK);
	fake_works_cut(e->f);
	node_kill(&e->a);
	if (cert)
		fake_file_put(e->f, FILE_CERT, cert);
	if (key)
		fake_file_put(e->f, FILE_KEY, key);
	node_add(e, &e->a, A_IP);
	store_close(keep);
	engine_run(e, 3000);
}

static char *rsa_cert(struct engine_bench *e)
{
	const char *pem = e->a.server->own[OWN_CERT_RSA].cert;

	return pem ? mem_strdup(pem) : NULL;
}

static void check_rsa(struct engine_bench *e, unsigned bits)
{
	const struct own_pair *pair = &e->a.server->own[OWN_CERT_RSA];
	struct cert_info c = {0};
	struct why why = WHY_NONE;

	assert_non_null(pair->cert);
	assert_int_equal(cert_info_parse(&c, pair->cert, &why), ERR_OK);
	assert_true(c.is_rsa);
	assert_int_equal(c.key_bits, bits);
	assert_int_equal(c.role, CERT_ROLE_SERVER);
	assert_string_equal(c.id, e->a.server->uuid);
	assert_true(str_list_has(&c.ips, A_IP));
	assert_int_equal(key_matches_cert(pair->key, pair->cert, &why), ERR_OK);
	assert_int_equal(cert_verify(pair->cert, e->a.server->ca_chain, c.not_before_s + 1, &why), ERR_OK);
	cert_info_deinit(&c);
}

static void it_is_made_after_the_start_and_kept(void **state)
{
	struct engine_bench e;
	struct tls_creds *before;
	char *first, *second;

	engine_world(&e);
	e.with_rsa = true;
	node_make(&e, &e.a, A_IP);
	node_start(&e.a);
	/* The start doesn't wait for it. */
	while (!e.a.was_started)
		engine_run(&e, 1);
	assert_null(e.a.server->own[OWN_CERT_RSA].cert);
	before = tls_creds_ref(e.a.server->creds);
	engine_run(&e, 3000);
	check_rsa(&e, 2048);
	/* Whoever connects from now on is shown it. */
	assert_ptr_not_equal(e.a.server->creds, before);
	tls_creds_unref(before);
	first = rsa_cert(&e);

	/* Another start finds it. */
	restart(&e, NULL, NULL);
	second = rsa_cert(&e);
	assert_string_equal(first, second);
	mem_free(first);
	mem_free(second);
	engine_down(&e);
}

static void what_lies_there_is_looked_at(void **state)
{
	static const struct {
		const char *what, *cert, *key; /* NULL: as it is */
	} rows[] = {
		{"a certificate without a key", NULL, ""},
		{"rubbish", "rubbish", "rubbish"},
		{"another key", NULL, "/" A_IP "/server.key"},
		{"a certificate that isn't RSA", "/" A_IP "/server.crt", "/" A_IP "/server.key"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;
		char *first, *second;

		node_up(&e);
		engine_run(&e, 3000);
		first = rsa_cert(&e);
		restart(&e, rows[i].cert && rows[i].cert[0] == '/' ? fake_file_get(e.f, rows[i].cert) : rows[i].cert,
			rows[i].key && rows[i].key[0] == '/' ? fake_file_get(e.f, rows[i].key) : rows[i].key);
		check_rsa(&e, 2048);
		second = rsa_cert(&e);
		check_row(&rows[i], first && second && !str_equal(first, second));
		mem_free(first);
		mem_free(second);
		engine_down(&e);
	}
}

static void longer_keys_are_made_when_they_are_asked_for(void **state)
{
	struct engine_bench e;

	node_up(&e);
	engine_run(&e, 3000);
	check_rsa(&e, 2048);
	engine_config(&e, "ca.framework.cert.keysize", "2500");
	engine_run(&e, HOUR_MS + 5000);
	check_rsa(&e, 3072);
	/* And kept when shorter ones would do. */
	engine_config(&e, "ca.framework.cert.keysize", "2048");
	engine_run(&e, HOUR_MS + 5000);
	check_rsa(&e, 3072);
	engine_down(&e);
}

static void a_server_that_cannot_issue_runs_without(void **state)
{
	struct engine_bench e;

	node_up(&e);
	engine_run(&e, 3000);
	e.without_cluster_key = true;
	restart(&e, "", NULL);
	assert_null(e.a.server->own[OWN_CERT_RSA].cert);
	assert_non_null(e.a.server->creds);
	assert_true(e.a.server->running);
	engine_down(&e);
}

static void nobody_asks_for_it_where_it_is_not_wanted(void **state)
{
	struct engine_bench e;

	engine_up(&e);
	engine_run(&e, HOUR_MS);
	assert_null(e.a.server->own[OWN_CERT_RSA].cert);
	engine_down(&e);
}

/* ---- recorded before it is used ---- */

/* For so long, looked at each millisecond: whatever it shows is in the store. */
static void run_and_look(struct engine_bench *e, int64_t ms)
{
	const char *seen[OWN_CERT_KINDS] = {NULL};

	while (ms-- > 0) {
		engine_run(e, 1);
		for (size_t i = 0; i < OWN_CERT_KINDS; i++) {
			const char *pem = e->a.server->own[i].cert;

			if (pem && pem != seen[i])
				assert_true(engine_is_issued(e, pem));
			seen[i] = pem;
		}
	}
}

static void both_are_recorded_before_anybody_sees_them(void **state)
{
	struct engine_bench e;

	engine_world(&e);
	e.with_rsa = true;
	node_make(&e, &e.a, A_IP);
	node_start(&e.a);
	run_and_look(&e, 3000);
	assert_true(e.a.was_started);
	check_rsa(&e, 2048);
	engine_down(&e);
}

/* The first start of all, and the store fails when the certificate is there: no start, and nothing in the folder. */
static void what_can_not_be_recorded_is_not_used_at_the_first_start(void **state)
{
	struct engine_bench e;

	engine_world(&e);
	node_make(&e, &e.a, A_IP);
	e.a.fails_while_making = true;
	node_start(&e.a);
	engine_run(&e, 1000);
	assert_true(e.a.was_started);
	assert_int_not_equal(e.a.start_result, ERR_OK);
	assert_null(e.a.server->own[OWN_CERT_EC].cert);
	assert_null(fake_file_get(e.f, "/" A_IP "/server.crt"));
	assert_null(fake_file_get(e.f, "/" A_IP "/server.key"));
	node_kill(&e.a);
	node_add(&e, &e.a, A_IP);
	assert_true(engine_is_issued(&e, e.a.server->own[OWN_CERT_EC].cert));
	engine_down(&e);
}

/* As if another CA signed now: a new one is wanted. */
static void want_another(struct engine_bench *e)
{
	str_copy(e->a.server->rotation.own_issuer, FINGERPRINT_TEXT, "0a");
}

static void the_old_one_is_used_while_the_store_is_away(void **state)
{
	struct engine_bench e;
	char *old;
	struct tls_creds *creds;

	node_up(&e);
	engine_run(&e, 3000);
	old = mem_strdup(e.a.server->own[OWN_CERT_EC].cert);
	creds = tls_creds_ref(e.a.server->creds);

	/* It fails just when the new one is made. */
	want_another(&e);
	e.a.fails_while_making = true;
	engine_run(&e, 20000);
	assert_string_equal(e.a.server->own[OWN_CERT_EC].cert, old);
	assert_string_equal(fake_file_get(e.f, "/" A_IP "/server.crt"), old);
	assert_ptr_equal(e.a.server->creds, creds);
	assert_int_equal(engine_count_events(&e, "ALERT.CA.CERT", NULL), 0);

	/* It works again: not in ten minutes, now. */
	e.a.fails_while_making = false;
	run_and_look(&e, 6000);
	assert_string_not_equal(e.a.server->own[OWN_CERT_EC].cert, old);
	assert_string_equal(fake_file_get(e.f, "/" A_IP "/server.crt"), e.a.server->own[OWN_CERT_EC].cert);
	tls_creds_unref(creds);
	mem_free(old);
	engine_down(&e);
}

static void so_is_it_with_the_rsa_one(void **state)
{
	struct engine_bench e;

	engine_world(&e);
	e.with_rsa = true;
	node_make(&e, &e.a, A_IP);
	node_start(&e.a);
	while (!e.a.was_started)
		engine_run(&e, 1);
	e.a.fails_while_making = true;
	engine_run(&e, 10000);
	assert_null(e.a.server->own[OWN_CERT_RSA].cert);
	assert_null(fake_file_get(e.f, FILE_CERT));
	e.a.fails_while_making = false;
	run_and_look(&e, 6000);
	check_rsa(&e, 2048);
	engine_down(&e);
}

static enum err forget_run(struct store_tx *tx, void *arg, struct why *why)
{
	return sql_run(tx, "DELETE FROM certificate");
}

/* Of an older program, or of a store that was put back. */
static void one_that_the_store_does_not_know_is_recorded_at_the_start(void **state)
{
	struct engine_bench e;

	node_up(&e);
	engine_run(&e, 3000);
	engine_store(&e, forget_run, NULL);
	restart(&e, NULL, NULL);
	for (size_t i = 0; i < OWN_CERT_KINDS; i++)
		assert_true(engine_is_issued(&e, e.a.server->own[i].cert));
	engine_down(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_made_after_the_start_and_kept),
		cmocka_unit_test(what_lies_there_is_looked_at),
		cmocka_unit_test(longer_keys_are_made_when_they_are_asked_for),
		cmocka_unit_test(a_server_that_cannot_issue_runs_without),
		cmocka_unit_test(nobody_asks_for_it_where_it_is_not_wanted),
		cmocka_unit_test(both_are_recorded_before_anybody_sees_them),
		cmocka_unit_test(what_can_not_be_recorded_is_not_used_at_the_first_start),
		cmocka_unit_test(the_old_one_is_used_while_the_store_is_away),
		cmocka_unit_test(so_is_it_with_the_rsa_one),
		cmocka_unit_test(one_that_the_store_does_not_know_is_recorded_at_the_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
