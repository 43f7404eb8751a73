#include "pki/cert.h"

#include "failing_alloc.h"
#include "pki_help.h"

#define BEFORE_S (WALL_S - 10 * DAY_S)
#define AFTER_S (WALL_S + 10 * DAY_S)

/* All that the rows are made of. */
static struct {
	struct test_ca ca, foreign, expired, young, mid, mid_expired;
	char *key;
	char *good, *by_foreign, *expired_leaf, *young_leaf, *by_expired, *by_young, *by_mid, *by_mid_expired;
	char *tampered;
} w;

static char *leaf_make(const struct test_ca *ca, int64_t from_s, int64_t to_s)
{
	struct cert_params p = {
		.ca_cert_pem = ca->cert,
		.ca_key_pem = ca->key,
		.key_pem = w.key,
		.common_name = "host-1",
		.role = CERT_ROLE_AGENT,
		.id = "guid-1",
		.not_before_s = from_s,
		.not_after_s = to_s,
		.serial = {1},
	};
	char *pem = NULL;

	assert_int_equal(cert_new(&pem, &p, NULL), ERR_OK);
	return pem;
}

static void mid_make(struct test_ca *mid, int64_t to_s)
{
	struct cert_params p = {
		.ca_cert_pem = w.ca.cert,
		.ca_key_pem = w.ca.key,
		.common_name = "mid",
		.is_ca = true,
		.not_before_s = BEFORE_S,
		.not_after_s = to_s,
		.serial = {1},
	};

	assert_int_equal(key_new(&mid->key, KEY_EC_P256, NULL), ERR_OK);
	p.key_pem = mid->key;
	assert_int_equal(cert_new(&mid->cert, &p, NULL), ERR_OK);
}

/* The last whole line of the base64 text lies in the signature. */
static char *tampered_make(void)
{
	char *pem = mem_strdup(w.good);
	char *end = strstr(pem, "\n-----END");

	assert_non_null(end);
	end[-12] = end[-12] == 'A' ? 'B' : 'A';
	return pem;
}

static int world_make(void **state)
{
	(void)state;
	assert_int_equal(key_new(&w.key, KEY_EC_P256, NULL), ERR_OK);
	test_ca_make(&w.ca, "ca", BEFORE_S, AFTER_S);
	test_ca_make(&w.foreign, "ca", BEFORE_S, AFTER_S); /* of the same name */
	test_ca_make(&w.expired, "old ca", BEFORE_S, WALL_S - DAY_S);
	test_ca_make(&w.young, "new ca", WALL_S + DAY_S, AFTER_S);
	mid_make(&w.mid, AFTER_S);
	mid_make(&w.mid_expired, WALL_S - DAY_S);
	w.good = leaf_make(&w.ca, BEFORE_S, AFTER_S);
	w.by_foreign = leaf_make(&w.foreign, BEFORE_S, AFTER_S);
	w.expired_leaf = leaf_make(&w.ca, BEFORE_S, WALL_S - 1);
	w.young_leaf = leaf_make(&w.ca, WALL_S + 1, AFTER_S);
	w.by_expired = leaf_make(&w.expired, BEFORE_S, AFTER_S);
	w.by_young = leaf_make(&w.young, BEFORE_S, AFTER_S);
	w.by_mid = leaf_make(&w.mid, BEFORE_S, AFTER_S);
	w.by_mid_expired = leaf_make(&w.mid_expired, BEFORE_S, AFTER_S);
	w.tampered = tampered_make();
	return 0;
}

static int world_free(void **state)
{
	struct test_ca *cas[] = {&w.ca, &w.foreign, &w.expired, &w.young, &w.mid, &w.mid_expired};
	char *texts[] = {w.good,     w.by_foreign, w.expired_leaf,   w.young_leaf, w.by_expired,
			 w.by_young, w.by_mid,     w.by_mid_expired, w.tampered,   w.key};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cas); i++)
		test_ca_deinit(cas[i]);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		mem_free(texts[i]);
	return 0;
}

static void chains(void **state)
{
	const struct {
		const char *what;
		const char *pem[4], *ca[4]; /* put one after the other */
		enum err e;
		const char *why;
	} rows[] = {
		{"signed by our CA", {w.good}, {w.ca.cert}, ERR_OK, ""},
		{"sent with its CA", {w.good, w.ca.cert}, {w.ca.cert}, ERR_OK, ""},
		{"sent with strangers", {w.good, w.foreign.cert, w.expired.cert}, {w.ca.cert}, ERR_OK, ""},
		{"several CAs, as during a change", {w.good}, {w.foreign.cert, w.expired.cert, w.ca.cert}, ERR_OK, ""},
		{"the same CA twice", {w.good}, {w.ca.cert, w.ca.cert}, ERR_OK, ""},
		{"the CA certificate itself, as a CloudStack server shows it", {w.ca.cert}, {w.ca.cert}, ERR_OK, ""},
		{"an intermediate in between", {w.by_mid, w.mid.cert}, {w.ca.cert}, ERR_OK, ""},
		{"in the wrong order", {w.by_mid, w.ca.cert, w.mid.cert}, {w.ca.cert}, ERR_OK, ""},
		{"an intermediate that is trusted, its root isn't known here", {w.by_mid}, {w.mid.cert}, ERR_OK, ""},
		{"an expired twin of the intermediate does no harm",
		 {w.by_mid, w.mid_expired.cert, w.mid.cert},
		 {w.ca.cert},
		 ERR_OK,
		 ""},

		{"without the intermediate", {w.by_mid}, {w.ca.cert}, ERR_UNTRUSTED, "not issued by a CA"},
		{"a foreign CA of the same name", {w.by_foreign}, {w.ca.cert}, ERR_UNTRUSTED, ""},
		{"a foreign CA that is sent along", {w.by_foreign, w.foreign.cert}, {w.ca.cert}, ERR_UNTRUSTED, ""},
		{"a foreign CA certificate itself", {w.foreign.cert}, {w.ca.cert}, ERR_UNTRUSTED, ""},
		{"a changed signature", {w.tampered}, {w.ca.cert}, ERR_UNTRUSTED, "signature is wrong"},
		{"expired", {w.expired_leaf}, {w.ca.cert}, ERR_EXPIRED, "it is expired"},
		{"not valid yet", {w.young_leaf}, {w.ca.cert}, ERR_UNTRUSTED, "not valid yet"},
		{"expired and foreign: foreign is what matters", {w.expired_leaf}, {w.foreign.cert}, ERR_UNTRUSTED, ""},
		{"its CA is expired", {w.by_expired}, {w.expired.cert}, ERR_EXPIRED, "a CA certificate"},
		{"its CA is not valid yet", {w.by_young}, {w.young.cert}, ERR_EXPIRED, "a CA certificate"},
		{"the intermediate is expired",
		 {w.by_mid_expired, w.mid_expired.cert},
		 {w.ca.cert},
		 ERR_EXPIRED,
		 "a CA certificate"},
		{"an expired CA certificate itself", {w.expired.cert}, {w.expired.cert}, ERR_EXPIRED, "it is expired"},
		{"no certificate", {""}, {w.ca.cert}, ERR_MALFORMED, "certificate: empty"},
		{"no CA", {w.good}, {""}, ERR_MALFORMED, "CA certificates: empty"},
		{"rubbish", {"hello"}, {w.ca.cert}, ERR_MALFORMED, "certificate"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf pem = {0}, ca = {0};
		struct why why = WHY_NONE;
		enum err e;

		for (size_t k = 0; k < 4; k++) {
			assert_int_equal(buf_put_str(&pem, rows[i].pem[k] ? rows[i].pem[k] : ""), ERR_OK);
			assert_int_equal(buf_put_str(&ca, rows[i].ca[k] ? rows[i].ca[k] : ""), ERR_OK);
		}
		e = cert_verify(buf_str(&pem), buf_str(&ca), WALL_S, &why);
		if (e != rows[i].e || !strstr(why.text, rows[i].why) || !e != !why.text[0])
			fail_msg("%s: %s: %s", rows[i].what, err_name(e), why.text);
	}
}

static void the_reference_is_verified(void **state)
{
	CLEAN(text_freep) char *ca = golden("reference_ca.pem");
	CLEAN(text_freep) char *leaf = golden("reference_leaf.pem");

	(void)state;
	assert_int_equal(cert_verify(leaf, ca, WALL_S, NULL), ERR_OK);
	assert_int_equal(cert_verify(ca, ca, WALL_S, NULL), ERR_OK);
	assert_int_equal(cert_verify(leaf, w.ca.cert, WALL_S, NULL), ERR_UNTRUSTED);
	/* The edges: the first and the last second are inside. */
	assert_int_equal(cert_verify(leaf, ca, 1704067200, NULL), ERR_OK);
	assert_int_equal(cert_verify(leaf, ca, 3281990400, NULL), ERR_OK);
}

/* A host's key signs well, but nobody said it may. The reference's leaves have no basic constraints at all. */
static void what_a_host_signs_is_not_believed(void **state)
{
	CLEAN(text_freep) char *ca = golden("reference_ca.pem");
	CLEAN(text_freep) char *pem = golden("chain_by_leaf.pem");
	struct why why = WHY_NONE;

	(void)state;
	assert_int_equal(cert_verify(pem, ca, WALL_S, &why), ERR_UNTRUSTED);
	assert_non_null(strstr(why.text, "no CA's"));
}

static void too_many_certificates_are_refused(void **state)
{
	CLEAN(buf_deinit) struct buf pem = {0};
	struct why why = WHY_NONE;

	(void)state;
	for (size_t i = 0; i < 33; i++)
		assert_int_equal(buf_put_str(&pem, w.good), ERR_OK);
	assert_int_equal(cert_verify(buf_str(&pem), w.ca.cert, WALL_S, &why), ERR_TOO_BIG);
	assert_non_null(strstr(why.text, "more than 32"));
}

static void revocation_lists(void **state)
{
	static const struct {
		const char *what;
		const char *serials[3];
		enum err e;
		const char *text; /* what openssl must print */
	} rows[] = {
		{"nobody is revoked", {NULL}, ERR_OK, "No Revoked Certificates"},
		{"an even count of digits", {"7f01"}, ERR_OK, "Serial Number: 7F01"},
		{"an odd count of digits", {"abc"}, ERR_OK, "Serial Number: 0ABC"},
		{"the first bit set is not a negative number", {"ff"}, ERR_OK, "Serial Number: FF"},
		{"the longest there can be",
		 {"ffffffffffffffffffffffffffffffffffffffff"},
		 ERR_OK,
		 "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"},
		{"several", {"1", "2", "3"}, ERR_OK, "Serial Number: 03"},
		{"no digits", {"hello"}, ERR_INVALID, NULL},
		{"nothing", {""}, ERR_INVALID, NULL},
		{"41 digits", {"11111111111111111111111111111111111111111"}, ERR_INVALID, NULL},
	};
	CLEAN(folder_freep) char *dir = openssl_folder();

	(void)state;
	put_file(dir, "ca", w.ca.cert);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(str_list_deinit) struct str_list serials = {0};
		CLEAN(text_freep) char *pem = NULL;
		struct why why = WHY_NONE;

		for (size_t k = 0; k < 3 && rows[i].serials[k]; k++)
			assert_int_equal(str_list_add(&serials, rows[i].serials[k]), ERR_OK);
		check_row(&rows[i],
			  crl_new(&pem, w.ca.cert, w.ca.key, &serials, WALL_S, WALL_S + DAY_S, &why) == rows[i].e);
		check_row(&rows[i], !rows[i].e == !why.text[0]);
		if (rows[i].e)
			continue;
		put_file(dir, "crl", pem);
		check_row(&rows[i], openssl(dir, "crl -in crl -CAfile ca -noout -text"));
		check_row(&rows[i], openssl_said(dir, "verify OK"));
		check_row(&rows[i], openssl_said(dir, rows[i].text));
	}
}

static void a_revocation_list_says_when_and_which(void **state)
{
	static const struct crl_entry entries[] = {
		{"a1", 1736899202},  /* 2025-01-15 */
		{"b2", 2524607999},  /* the last second that has a year of two digits */
		{"c3", 2524608000},  /* the first one that hasn't */
		{"0d4", 1736899202}, /* not the shortest form: written so all the same */
	};
	static const char *const said[] = {
		"verify OK",
		"Serial Number: A1\n        Revocation Date: Jan 15 00:00:02 2025 GMT",
		"Serial Number: B2\n        Revocation Date: Dec 31 23:59:59 2049 GMT",
		"Serial Number: C3\n        Revocation Date: Jan  1 00:00:00 2050 GMT",
		"Serial Number: D4\n",
		"X509v3 CRL Number: \n                4096",
		"X509v3 Authority Key Identifier",
		"Last Update: Jun 15 15:06:40 2025 GMT",
		"Next Update: Jun 16 15:06:40 2025 GMT",
	};
	CLEAN(folder_freep) char *dir = openssl_folder();
	CLEAN(buf_deinit) struct buf der = {0};
	CLEAN(buf_deinit) struct buf again = {0};
	CLEAN(text_freep) char *pem = NULL;
	struct crl_params p = {.ca_cert_pem = w.ca.cert,
			       .ca_key_pem = w.ca.key,
			       .entries = entries,
			       .n = ARRAY_SIZE(entries),
			       .this_s = WALL_S,
			       .next_s = WALL_S + DAY_S,
			       .number = 4096};

	(void)state;
	assert_int_equal(crl_sign(&der, &p, NULL), ERR_OK);
	pem = pem_text(CRL_PEM_LABEL, der.data, der.len);
	assert_true(str_starts(pem, "-----BEGIN X509 CRL-----\n"));
	assert_true(pem_bytes(&again, CRL_PEM_LABEL, pem));
	assert_int_equal(again.len, der.len);
	assert_memory_equal(again.data, der.data, der.len);
	assert_false(pem_bytes(&again, CRL_PEM_LABEL, w.ca.cert));
	put_file(dir, "ca", w.ca.cert);
	put_file(dir, "crl", pem);
	assert_true(openssl(dir, "crl -in crl -CAfile ca -noout -text"));
	for (size_t i = 0; i < ARRAY_SIZE(said); i++)
		check_row(&(struct { const char *what; }){said[i]}, openssl_said(dir, said[i]));
}

/* Whoever signs: what openssl must say of its list. */
static void lists_are_signed_by_every_kind_of_ca(void **state)
{
	static const struct {
		const char *what;
		enum key_kind kind;
		const char *algorithm;
	} rows[] = {
		{"EC", KEY_EC_P256, "ecdsa-with-SHA256"},
		{"RSA", KEY_RSA_2048, "sha256WithRSAEncryption"},
	};
	CLEAN(folder_freep) char *dir = openssl_folder();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(text_freep) char *key = NULL;
		CLEAN(text_freep) char *ca = NULL;
		CLEAN(text_freep) char *pem = NULL;
		struct cert_params p = {
			.common_name = "a CA", .is_ca = true, .not_after_s = WALL_S + DAY_S, .serial = {1}};

		assert_int_equal(key_new(&key, rows[i].kind, NULL), ERR_OK);
		p.key_pem = key;
		assert_int_equal(cert_new(&ca, &p, NULL), ERR_OK);
		assert_int_equal(crl_new(&pem, ca, key, NULL, WALL_S, WALL_S + DAY_S, NULL), ERR_OK);
		put_file(dir, "ca", ca);
		put_file(dir, "crl", pem);
		check_row(&rows[i], openssl(dir, "crl -in crl -CAfile ca -noout -text"));
		check_row(&rows[i], openssl_said(dir, "verify OK") && openssl_said(dir, rows[i].algorithm));
	}
}

static void a_ca_without_that_right_signs_no_lists(void **state)
{
	CLEAN(folder_freep) char *dir = openssl_folder();
	CLEAN(mem_freep) char *path = path_join(dir, "ca");
	CLEAN(buf_deinit) struct buf text = {0};
	CLEAN(text_freep) char *key = NULL;
	CLEAN(text_freep) char *ca = NULL;
	CLEAN(text_freep) char *pem = NULL;
	struct why why = WHY_NONE;

	(void)state;
	assert_int_equal(key_new(&key, KEY_EC_P256, NULL), ERR_OK);
	put_file(dir, "key", key);
	assert_true(openssl(dir, "req -x509 -new -key key -subj /CN=x -days 9 -addext keyUsage=critical,keyCertSign "
				 "-addext basicConstraints=critical,CA:TRUE -out ca"));
	assert_non_null(path);
	assert_int_equal(file_read(&fs_posix, path, 1u << 16, &text, NULL), ERR_OK);
	ca = buf_take_str(&text);
	assert_int_equal(crl_new(&pem, ca, key, NULL, WALL_S, WALL_S + DAY_S, &why), ERR_UNSUPPORTED);
	assert_non_null(strstr(why.text, "no cRLSign"));
}

/* As many as a large cluster collects in years: by the count of bytes, not by a clock. */
static void a_hundred_thousand_revocations_are_one_list(void **state)
{
	const size_t n = 100000;
	CLEAN(mem_freep) struct crl_entry *entries = mem_zalloc_array(n, sizeof(*entries));
	CLEAN(mem_freep) char *serials = mem_zalloc_array(n, 33);
	CLEAN(buf_deinit) struct buf der = {0};
	struct crl_params p = {.ca_cert_pem = w.ca.cert,
			       .ca_key_pem = w.ca.key,
			       .entries = entries,
			       .n = n,
			       .this_s = WALL_S,
			       .next_s = WALL_S + DAY_S,
			       .number = 1};

	(void)state;
	for (size_t i = 0; i < n; i++) {
		snprintf(serials + i * 33, 33, "40%030zx", i);
		entries[i] = (struct crl_entry){serials + i * 33, WALL_S};
	}
	assert_int_equal(crl_sign(&der, &p, NULL), ERR_OK);
	/* 2 + 18 + 15 bytes each, and what stands around them. */
	assert_true(der.len > 35 * n && der.len < 35 * n + 1000);
}

static void openssl_believes_our_revocation(void **state)
{
	CLEAN(folder_freep) char *dir = openssl_folder();
	CLEAN(str_list_deinit) struct str_list serials = {0};
	CLEAN(text_freep) char *pem = NULL;
	struct cert_info info;

	(void)state;
	assert_int_equal(cert_info_parse(&info, w.good, NULL), ERR_OK);
	assert_int_equal(str_list_add(&serials, info.serial), ERR_OK);
	cert_info_deinit(&info);
	assert_int_equal(crl_new(&pem, w.ca.cert, w.ca.key, &serials, WALL_S, WALL_S + DAY_S, NULL), ERR_OK);
	put_file(dir, "ca", w.ca.cert);
	put_file(dir, "crt", w.good);
	put_file(dir, "crl", pem);
	assert_true(openssl(dir, "verify -attime 1750000000 -CAfile ca crt"));
	assert_false(openssl(dir, "verify -attime 1750000000 -crl_check -CRLfile crl -CAfile ca crt"));
	assert_true(openssl_said(dir, "certificate revoked"));
}

static void lists_that_make_no_sense_are_not_signed(void **state)
{
	CLEAN(text_freep) char *pem = NULL;

	(void)state;
	assert_int_equal(crl_new(&pem, w.ca.cert, w.ca.key, NULL, WALL_S, WALL_S, NULL), ERR_INVALID);
	assert_int_equal(crl_new(&pem, NULL, w.ca.key, NULL, WALL_S, WALL_S + 1, NULL), ERR_INVALID);
	assert_int_equal(crl_new(&pem, w.ca.cert, w.key, NULL, WALL_S, WALL_S + 1, NULL), ERR_INVALID);
	assert_int_equal(crl_new(&pem, w.good, w.key, NULL, WALL_S, WALL_S + 1, NULL), ERR_INVALID);
	assert_null(pem);
}

/* Reads, signs and lists with the reference's certificate and its request. */
static enum err all_once(void *csr)
{
	CLEAN(str_list_deinit) struct str_list serials = {0};
	CLEAN(text_freep) char *pem = NULL;
	CLEAN(text_freep) char *crl = NULL;
	CLEAN(text_freep) char *own = NULL;
	struct csr_params wish = {.key_pem = w.key, .common_name = "h", .role = CERT_ROLE_AGENT, .id = "g"};
	struct csr_info asked;
	struct cert_info info = {0};
	enum err e = csr_info_parse(&asked, csr, NULL);
	struct cert_params p = {
		.ca_cert_pem = w.ca.cert,
		.ca_key_pem = w.ca.key,
		.csr_pem = csr,
		.common_name = "h",
		.ips = &asked.ips,
		.not_after_s = WALL_S,
	};

	if (!e)
		e = csr_new(&own, &wish, NULL);
	if (!e)
		e = cert_new(&pem, &p, NULL);
	if (!e)
		e = cert_info_parse(&info, pem, NULL);
	if (!e)
		e = str_list_add(&serials, info.serial);
	if (!e)
		e = crl_new(&crl, w.ca.cert, w.ca.key, &serials, WALL_S, WALL_S + 1, NULL);
	csr_info_deinit(&asked);
	cert_info_deinit(&info);
	return e;
}

static void memory_may_run_out(void **state)
{
	CLEAN(text_freep) char *csr = golden("keytool.csr");

	(void)state;
	assert_true(failing_alloc_each(all_once, csr) > 10);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains),
		cmocka_unit_test(the_reference_is_verified),
		cmocka_unit_test(what_a_host_signs_is_not_believed),
		cmocka_unit_test(too_many_certificates_are_refused),
		cmocka_unit_test(revocation_lists),
		cmocka_unit_test(a_revocation_list_says_when_and_which),
		cmocka_unit_test(lists_are_signed_by_every_kind_of_ca),
		cmocka_unit_test(a_ca_without_that_right_signs_no_lists),
		cmocka_unit_test(a_hundred_thousand_revocations_are_one_list),
		cmocka_unit_test(openssl_believes_our_revocation),
		cmocka_unit_test(lists_that_make_no_sense_are_not_signed),
		cmocka_unit_test(memory_may_run_out),
	};

	return cmocka_run_group_tests(tests, world_make, world_free);
}
