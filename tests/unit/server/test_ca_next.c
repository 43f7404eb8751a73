/* A CA of the operator's own is prepared beside running servers, and a rotation begins with it. */
#include <string.h>

#include "check.h"
#include "provision_bench.h"
#include "server/ca_next.h"
#include "server/rotation.h"

#define NOW_S INT64_C(1900000000) /* when the world begins */
#define DAY INT64_C(86400)

static const uint8_t cluster_key[CLUSTER_KEY_SIZE] = {1, 2, 3}; /* the bench's */
static const uint8_t foreign_key[CLUSTER_KEY_SIZE] = {9};

struct ca {
	char *key, *cert, *chain; /* chain: NULL, it is a root */
};

static void ca_deinit(struct ca *c)
{
	key_free(c->key);
	mem_free(c->cert);
	mem_free(c->chain);
}

static struct ca ca_made(const char *name, enum key_kind kind, const struct ca *above, const struct ca *key_of,
			 int64_t days)
{
	static uint8_t n = 1;
	struct why why = WHY_NONE;
	struct ca c = {0};
	struct cert_params p = {
		.ca_cert_pem = above ? above->cert : NULL,
		.ca_key_pem = above ? above->key : NULL,
		.common_name = name,
		.is_ca = true,
		.not_before_s = NOW_S - DAY,
		.not_after_s = NOW_S + days * DAY,
		.serial = {n++},
	};

	if (key_of)
		c.key = mem_strdup(key_of->key);
	else
		assert_int_equal(key_new(&c.key, kind, NULL), ERR_OK);
	p.key_pem = c.key;
	if (cert_new(&c.cert, &p, &why))
		fail_msg("%s", why.text);
	c.chain = above ? mem_strdup(above->cert) : NULL;
	return c;
}

struct preparing {
	struct ca_next_wish wish;
};

static enum err preparing_run(struct store_tx *tx, void *arg, struct why *why)
{
	struct preparing *p = arg;

	return ca_next_prepare(tx, &p->wish, why);
}

static enum err prepare(struct engine_bench *e, const struct ca *ca, const uint8_t *key, bool replace, struct why *why)
{
	static const uint8_t entropy[64] = {4, [16] = 5};
	CLEAN(ca_root_record_deinit) struct ca_root_record record = {0};
	struct ca_import m = {.certificate = ca->cert,
			      .key = ca->key,
			      .chain = ca->chain,
			      .cluster_key = key,
			      .entropy = entropy,
			      .wall_s = world_wall_ms(e->world) / 1000};
	struct preparing p = {.wish = {.record = &record, .cluster_key = key, .wall_s = m.wall_s, .replace = replace}};
	struct store_call call = {.run = preparing_run, .arg = &p}, *calls[] = {&call};
	struct store *store = NULL;

	if (ca_root_import(&record, &m, why))
		fail_msg("%s", why->text);
	/* As another process: servers notice what others commit. */
	assert_int_equal(store_open(&store, e->store_name, why), ERR_OK);
	assert_int_equal(store_run(store, calls, 1, why), ERR_OK);
	store_close(store);
	*why = call.why;
	return call.result;
}

static void prepared(struct engine_bench *e, const struct ca *ca)
{
	struct why why = WHY_NONE;

	if (prepare(e, ca, cluster_key, false, &why))
		fail_msg("%s", why.text);
	engine_run(e, 1000); /* servers find it by themselves */
}

static void says(struct engine_bench *e, struct node *on, const char *command, const char *name, const char *value,
		 int status, const char *part)
{
	struct api_param params[2] = {{(char *)(uintptr_t) "command", (char *)(uintptr_t)command},
				      {(char *)(uintptr_t)name, (char *)(uintptr_t)value}};
	int got;
	char *text = engine_ask(e, on, params, name ? 2 : 1, &got);

	if (got != status || !strstr(text, part))
		fail_msg("%s: expected %d with %s, got %d: %s", command, status, part, got, text);
	mem_free(text);
}

static bool has(struct engine_bench *e, struct node *on, const char *part)
{
	struct api_param params[1] = {{(char *)(uintptr_t) "command", (char *)(uintptr_t) "listCaRotation"}};
	int got;
	char *text = engine_ask(e, on, params, 1, &got);
	bool there = strstr(text, part) != NULL;

	mem_free(text);
	return there;
}

static void up(struct engine_bench *e)
{
	engine_up(e);
	node_add(e, &e->b, B_IP);
	engine_run(e, 3000);
}

static void step(struct engine_bench *e, const char *to)
{
	CLEAN(mem_freep) char *part = mem_printf("\"phase\":\"%s\"", to);

	says(e, &e->a, "advanceCaRotation", NULL, NULL, 200, part);
	for (int i = 0; i < 40 && !(has(e, &e->a, "\"serversbehind\":0") && has(e, &e->b, part)); i++)
		engine_run(e, 500);
	assert_true(has(e, &e->a, "\"serversbehind\":0"));
}

static void signs(struct engine_bench *e, const char *name)
{
	struct node *const nodes[] = {&e->a, &e->b};

	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		struct server *s = nodes[i]->server;
		struct cert_info ca = {0}, own = {0};

		assert_int_equal(cert_info_parse(&ca, s->ca->ops->chain(s->ca), NULL), ERR_OK);
		assert_int_equal(cert_info_parse(&own, s->own[OWN_CERT_EC].cert, NULL), ERR_OK);
		assert_string_equal(ca.common_name, name);
		assert_string_equal(own.authority_key_id, ca.subject_key_id);
		assert_true(s->ca->ops->can_issue(s->ca));
		cert_info_deinit(&ca);
		cert_info_deinit(&own);
	}
}

static void links_hold(struct engine_bench *e)
{
	struct member_server *m = roster_server(e->a.server, e->b.server->msid);

	assert_true(m && m->peer && peer_is_up(m->peer));
}

/* Everything that ca_next_prepare() says no to. */
static void what_is_not_prepared(void **state)
{
	CLEAN(ca_deinit) struct ca own = ca_made("company", KEY_EC_P256, NULL, NULL, 900);
	CLEAN(ca_deinit) struct ca other = ca_made("other", KEY_EC_P256, NULL, NULL, 900);
	enum { FRESH, ROTATING, PREPARED, EXTERNAL };
	const struct {
		const char *what;
		int when;
		const struct ca *ca;
		const uint8_t *key;
		bool replace;
		enum err e;
		const char *why;
	} rows[] = {
		{"it is prepared", FRESH, &own, cluster_key, false, ERR_OK, NULL},
		{"another cluster's key", FRESH, &own, foreign_key, false, ERR_UNTRUSTED, "does not open the CA's key"},
		{"the same one again", PREPARED, &own, cluster_key, false, ERR_REFUSED, "prepared already"},
		{"the same one again, forced", PREPARED, &own, cluster_key, true, ERR_REFUSED, "prepared already"},
		{"another one in its place", PREPARED, &other, cluster_key, false, ERR_REFUSED,
		 "another CA is prepared already"},
		{"another one in its place, forced", PREPARED, &other, cluster_key, true, ERR_OK, NULL},
		{"in the middle of a rotation", ROTATING, &own, cluster_key, false, ERR_REFUSED,
		 "is under way (trust)"},
		{"an external CA signs", EXTERNAL, &own, cluster_key, false, ERR_REFUSED, "is an external one"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e = {0};
		struct why why = WHY_NONE;
		enum err result;

		engine_up(&e);
		if (rows[i].when == ROTATING)
			says(&e, &e.a, "advanceCaRotation", NULL, NULL, 200, "trust");
		if (rows[i].when == PREPARED)
			prepared(&e, &own);
		if (rows[i].when == EXTERNAL)
			engine_config(&e, "ca.framework.provider.plugin", "exec");
		result = prepare(&e, rows[i].ca, rows[i].key, rows[i].replace, &why);
		if (result != rows[i].e || (rows[i].why && !strstr(why.text, rows[i].why)))
			fail_msg("%s: %s: %s", rows[i].what, err_name(result), why.text);
		if (!result) {
			engine_run(&e, 1000);
			check_row(&rows[i], has(&e, &e.a,
						rows[i].ca == &own ? "\"prepared\":{\"subject\":\"company\""
								   : "\"prepared\":{\"subject\":\"other\""));
		}
		engine_down(&e);
	}
}

static void the_present_one_is_no_next_one(void **state)
{
	CLEAN(ca_deinit) struct ca own = ca_made("company", KEY_EC_P256, NULL, NULL, 900);
	struct engine_bench e = {0};
	struct why why = WHY_NONE;

	(void)state;
	up(&e);
	prepared(&e, &own);
	step(&e, "trust");
	step(&e, "issue");
	step(&e, "drop");
	step(&e, "none");
	signs(&e, "company");
	assert_int_equal(prepare(&e, &own, cluster_key, true, &why), ERR_REFUSED);
	assert_non_null(strstr(why.text, "it is the CA that signs now"));
	engine_down(&e);
}

/* From the cluster's own root to an intermediate of the company, with an RSA key, to its sister, and back to a root. */
static void there_and_back(void **state)
{
	CLEAN(ca_deinit) struct ca root = ca_made("company root", KEY_RSA_2048, NULL, NULL, 1000);
	CLEAN(ca_deinit) struct ca first = ca_made("machines", KEY_RSA_2048, &root, NULL, 900);
	CLEAN(ca_deinit) struct ca second = ca_made("machines 2", KEY_EC_P256, &root, NULL, 900);
	struct engine_bench e = {0};
	const struct server *a;

	(void)state;
	up(&e);
	prepared(&e, &first);
	says(&e, &e.b, "listCaRotation", NULL, NULL, 200,
	     "\"prepared\":{\"subject\":\"machines\",\"issuer\":\"CN=company root\"");
	says(&e, &e.b, "listCaCertificate", NULL, NULL, 200, "\"musterprepared\":\"machines\"");
	says(&e, &e.b, "advanceCaRotation", "prepared", "none", 530, "Another CA is prepared by now");
	says(&e, &e.b, "advanceCaRotation", "prepared", "0011", 530, "Another CA is prepared by now");
	step(&e, "trust");
	assert_true(has(&e, &e.b, "\"other\":{\"subject\":\"machines\""));
	assert_false(has(&e, &e.b, "\"prepared\":{"));
	/* Taken back, it is prepared as before. */
	says(&e, &e.b, "revertCaRotation", NULL, NULL, 200, "\"prepared\":{\"subject\":\"machines\"");
	engine_run(&e, 2000);
	assert_false(has(&e, &e.a, "\"other\":{"));
	step(&e, "trust");
	step(&e, "issue");
	signs(&e, "machines");
	links_hold(&e);
	says(&e, &e.b, "revertCaRotation", NULL, NULL, 200, "\"phase\":\"trust\"");
	for (int i = 0; i < 20; i++)
		engine_run(&e, 500);
	step(&e, "issue");
	step(&e, "drop");
	step(&e, "none");
	signs(&e, "machines");

	/* Its sister has a root in common with it: that one is trusted once. */
	a = e.a.server;
	prepared(&e, &second);
	step(&e, "trust");
	assert_int_equal(count_of(a->ca_chain, "BEGIN CERTIFICATE"), 3);
	step(&e, "issue");
	signs(&e, "machines 2");
	step(&e, "drop");
	assert_int_equal(count_of(a->ca_chain, "BEGIN CERTIFICATE"), 2);
	step(&e, "none");
	links_hold(&e);

	/* Without one that is prepared, a root is made. */
	step(&e, "trust");
	says(&e, &e.b, "revertCaRotation", NULL, NULL, 200, "\"phase\":\"none\"");
	engine_run(&e, 2000);
	assert_false(has(&e, &e.a, "\"prepared\":{"));
	step(&e, "trust");
	step(&e, "issue");
	step(&e, "drop");
	step(&e, "none");
	assert_int_equal(count_of(a->ca_chain, "BEGIN CERTIFICATE"), 1);
	links_hold(&e);
	engine_down(&e);
}

/* The company has renewed the certificate of its intermediate, with the key and the name that it had. */
static void the_same_key(void **state)
{
	CLEAN(ca_deinit) struct ca root = ca_made("company root", KEY_EC_P256, NULL, NULL, 1000);
	CLEAN(ca_deinit) struct ca first = ca_made("machines", KEY_EC_P256, &root, NULL, 100);
	CLEAN(ca_deinit) struct ca again = ca_made("machines", KEY_EC_P256, &root, &first, 900);
	CLEAN(mem_freep) char *own = NULL;
	struct engine_bench e = {0};
	struct cert_info ca;

	(void)state;
	up(&e);
	prepared(&e, &first);
	step(&e, "trust");
	step(&e, "issue");
	step(&e, "drop");
	step(&e, "none");
	own = mem_strdup(e.a.server->own[OWN_CERT_EC].cert);
	prepared(&e, &again);
	/* Whoever has stolen the key has that of the next one, too. */
	says(&e, &e.a, "advanceCaRotation", "compromised", "true", 431, "has the key that was stolen");
	step(&e, "trust");
	says(&e, &e.a, "advanceCaRotation", "compromised", "true", 431, "has the key that was stolen");
	/* Nobody's certificate is of the new one more than of the old one. */
	says(&e, &e.b, "revertCaRotation", NULL, NULL, 200, "\"phase\":\"none\"");
	engine_run(&e, 2000);
	step(&e, "trust");
	step(&e, "issue");
	step(&e, "drop");
	step(&e, "none");
	signs(&e, "machines");
	assert_int_equal(cert_info_parse(&ca, again.cert, NULL), ERR_OK);
	assert_string_equal(e.b.server->ca->ops->fingerprint(e.b.server->ca), ca.fingerprint);
	cert_info_deinit(&ca);
	/* Nobody had to get a new one. */
	assert_string_equal(own, e.a.server->own[OWN_CERT_EC].cert);
	links_hold(&e);
	engine_down(&e);
}

static void dropped(void **state)
{
	CLEAN(ca_deinit) struct ca own = ca_made("company", KEY_EC_P256, NULL, NULL, 900);
	struct engine_bench e = {0};

	(void)state;
	up(&e);
	says(&e, &e.a, "discardPreparedCa", NULL, NULL, 530, "no CA is prepared");
	prepared(&e, &own);
	says(&e, &e.b, "discardPreparedCa", NULL, NULL, 200, "\"phase\":\"none\"");
	engine_run(&e, 1000);
	assert_int_equal(engine_count_events(&e, "CA.DISCARD", "dropped"), 1);
	assert_false(has(&e, &e.a, "\"prepared\":{"));
	says(&e, &e.a, "advanceCaRotation", "prepared", "0011", 530, "isn't there any more");
	step(&e, "trust");
	assert_false(has(&e, &e.a, "\"other\":{\"subject\":\"company\""));
	engine_down(&e);
}

/* It was good when it was prepared. */
static void expired_meanwhile(void **state)
{
	CLEAN(ca_deinit) struct ca own = ca_made("company", KEY_EC_P256, NULL, NULL, 1);
	struct engine_bench e = {0};

	(void)state;
	engine_up(&e);
	prepared(&e, &own);
	engine_run(&e, DAY * 1000);
	says(&e, &e.a, "advanceCaRotation", NULL, NULL, 530, "the prepared CA can't be used: it is expired");
	says(&e, &e.a, "listCaRotation", NULL, NULL, 200, "\"phase\":\"none\"");
	engine_down(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_prepared),
		cmocka_unit_test(the_present_one_is_no_next_one),
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(the_same_key),
		cmocka_unit_test(dropped),
		cmocka_unit_test(expired_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
