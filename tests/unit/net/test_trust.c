/* Whom a set of CA certificates makes us believe. */
#include "net/tls_trust.h"

#include <string.h>

#include "../pki/pki_help.h"

static struct test_ca ca_under(const char *name, const struct test_ca *above, const struct test_ca *key_of,
			       int64_t to_days)
{
	static uint8_t n;
	struct test_ca ca = {0};
	struct why why = WHY_NONE;
	struct cert_params p = {
		.ca_cert_pem = above ? above->cert : NULL,
		.ca_key_pem = above ? above->key : NULL,
		.common_name = name,
		.is_ca = true,
		.not_before_s = WALL_S - DAY_S,
		.not_after_s = WALL_S + to_days * DAY_S,
		.serial = {++n},
	};

	if (key_of)
		ca.key = mem_strdup(key_of->key);
	else
		assert_int_equal(key_new(&ca.key, KEY_EC_P256, NULL), ERR_OK);
	p.key_pem = ca.key;
	if (cert_new(&ca.cert, &p, &why))
		fail_msg("%s", why.text);
	return ca;
}

static struct test_ca leaf_of(const struct test_ca *ca)
{
	struct test_ca leaf = {0};
	struct cert_params p = {
		.ca_cert_pem = ca->cert,
		.ca_key_pem = ca->key,
		.common_name = "h",
		.role = CERT_ROLE_AGENT,
		.id = "h",
		.not_before_s = WALL_S - DAY_S,
		.not_after_s = WALL_S + 100 * DAY_S,
		.serial = {0x77},
	};

	assert_int_equal(key_new(&leaf.key, KEY_EC_P256, NULL), ERR_OK);
	p.key_pem = leaf.key;
	assert_int_equal(cert_new(&leaf.cert, &p, NULL), ERR_OK);
	return leaf;
}

/* What a peer with this leaf and these CA certificates presents; NULL ends them. */
static enum err judge(const char *const *trusted, const char *const *shown, int64_t wall_s, bool *is_ca,
		      struct why *why)
{
	CLEAN(mem_freep) char *set = mem_strdup("");
	gnutls_datum_t ders[8] = {{0}};
	struct trust t;
	struct presented p;
	unsigned n = 0;
	enum err e;

	while (*trusted) {
		char *longer = mem_printf("%s%s", set, *trusted++);

		mem_free(set);
		set = longer;
	}
	assert_int_equal(trust_init(&t, set, NULL, why), ERR_OK);
	while (shown[n]) {
		gnutls_datum_t pem = {(unsigned char *)(uintptr_t)shown[n], (unsigned)strlen(shown[n])};

		assert_int_equal(gnutls_pem_base64_decode2("CERTIFICATE", &pem, &ders[n]), 0);
		n++;
	}
	assert_int_equal(presented_init(&p, ders, n, why), ERR_OK);
	e = trust_judge(&t, &p, wall_s, 0, is_ca, why);
	presented_deinit(&p);
	trust_deinit(&t);
	while (n)
		gnutls_free(ders[--n].data);
	return e;
}

static void who_is_believed(void **state)
{
	CLEAN(test_ca_deinit)
	struct test_ca own = ca_under("muster", NULL, NULL, 1000), root = ca_under("company", NULL, NULL, 1000),
		       first = ca_under("machines", &root, NULL, 500),
		       second = ca_under("machines 2", &root, NULL, 500),
		       again = ca_under("machines", &root, &first, 900), early = ca_under("machines", &root, &first, 5),
		       crossed = ca_under("muster", &root, &own, 900), of_own = leaf_of(&own), of_root = leaf_of(&root),
		       of_first = leaf_of(&first), of_second = leaf_of(&second);
	const struct {
		const char *what;
		const char *trusted[6], *shown[5];
		int64_t at_days;
		enum err e;
		bool is_ca;
	} rows[] = {
		{"a root's", {own.cert}, {of_own.cert}, 0, ERR_OK, false},
		{"nobody's", {own.cert}, {of_first.cert, first.cert, root.cert}, 0, ERR_UNTRUSTED, false},
		{"an intermediate's, the root is known as well",
		 {first.cert, root.cert},
		 {of_first.cert},
		 0,
		 ERR_OK,
		 false},
		{"the same with its chain",
		 {first.cert, root.cert},
		 {of_first.cert, first.cert, root.cert},
		 0,
		 ERR_OK,
		 false},
		{"an intermediate's, only the root is known",
		 {root.cert},
		 {of_first.cert, first.cert},
		 0,
		 ERR_OK,
		 false},
		{"a sister's, below the same root",
		 {first.cert, root.cert},
		 {of_second.cert, second.cert, root.cert},
		 0,
		 ERR_UNTRUSTED,
		 false},
		{"the root's own", {first.cert, root.cert}, {of_root.cert, root.cert}, 0, ERR_UNTRUSTED, false},
		{"a sister's, when both are trusted",
		 {first.cert, root.cert, second.cert},
		 {of_second.cert},
		 0,
		 ERR_OK,
		 false},
		{"the order doesn't matter",
		 {root.cert, second.cert, first.cert, own.cert},
		 {of_own.cert},
		 0,
		 ERR_OK,
		 false},
		{"the root twice",
		 {first.cert, root.cert, second.cert, root.cert},
		 {of_first.cert, first.cert},
		 0,
		 ERR_OK,
		 false},
		{"a CA shows itself", {own.cert}, {own.cert}, 0, ERR_OK, true},
		{"the root above ours shows itself", {first.cert, root.cert}, {root.cert}, 0, ERR_UNTRUSTED, false},
		{"renewed with its key: signed before",
		 {again.cert, root.cert},
		 {of_first.cert, first.cert},
		 0,
		 ERR_OK,
		 false},
		{"renewed with its key: signed after, only the old one is known",
		 {first.cert, root.cert},
		 {of_first.cert, again.cert},
		 0,
		 ERR_OK,
		 false},
		{"renewed with its key: the old one has ended",
		 {early.cert, again.cert, root.cert},
		 {of_first.cert},
		 6,
		 ERR_OK,
		 false},
		{"the CA has ended", {early.cert, root.cert}, {of_first.cert}, 6, ERR_EXPIRED, false},
		{"a root that another one has signed as well",
		 {own.cert, crossed.cert, root.cert},
		 {of_root.cert},
		 0,
		 ERR_OK,
		 false},
		{"and what it signs itself", {own.cert, crossed.cert, root.cert}, {of_own.cert}, 0, ERR_OK, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct why why = WHY_NONE;
		bool is_ca = false;
		enum err e = judge(rows[i].trusted, rows[i].shown, WALL_S + rows[i].at_days * DAY_S, &is_ca, &why);

		if (e != rows[i].e || is_ca != rows[i].is_ca)
			fail_msg("%s: %s: %s", rows[i].what, err_name(e), why.text);
	}
}

static void no_more_than_can_be_held(void **state)
{
	CLEAN(test_ca_deinit) struct test_ca own = ca_under("muster", NULL, NULL, 1000);
	CLEAN(buf_deinit) struct buf many = {0};
	struct why why = WHY_NONE;
	struct trust t;

	(void)state;
	for (int i = 0; i < 65; i++)
		assert_int_equal(buf_put_str(&many, own.cert), ERR_OK);
	assert_int_equal(trust_init(&t, buf_str(&many), NULL, &why), ERR_TOO_BIG);
	assert_non_null(strstr(why.text, "more than 64"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_believed),
		cmocka_unit_test(no_more_than_can_be_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
