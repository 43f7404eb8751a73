#include "ca/root.h"

#include "../pki/pki_help.h"

#include <time.h>

static const uint8_t cluster_key[CLUSTER_KEY_SIZE] = {1, 2, 3};
static const uint8_t entropy[64] = {0xaa, 0xbb, [16] = 0xcc};

static struct test_ca root, other;

/* An intermediate below `above`. */
static void under(struct test_ca *out, const struct test_ca *above, const char *name, int64_t from_s, int64_t to_s)
{
	struct cert_params p = {
		.ca_cert_pem = above->cert,
		.ca_key_pem = above->key,
		.common_name = name,
		.is_ca = true,
		.not_before_s = from_s,
		.not_after_s = to_s,
		.serial = {5},
	};

	assert_int_equal(key_new(&out->key, KEY_EC_P256, NULL), ERR_OK);
	p.key_pem = out->key;
	assert_int_equal(cert_new(&out->cert, &p, NULL), ERR_OK);
}

static int make(void **state)
{
	(void)state;
	test_ca_make(&root, "company root", WALL_S - DAY_S, WALL_S + 3650 * DAY_S);
	test_ca_make(&other, "other root", WALL_S - DAY_S, WALL_S + 3650 * DAY_S);
	return 0;
}

static int unmake(void **state)
{
	(void)state;
	test_ca_deinit(&root);
	test_ca_deinit(&other);
	return 0;
}

static enum err import(struct ca_root_record *out, const char *cert, const char *key, const char *chain, int64_t wall_s,
		       struct why *why)
{
	struct ca_import m = {.certificate = cert,
			      .key = key,
			      .chain = chain,
			      .cluster_key = cluster_key,
			      .entropy = entropy,
			      .wall_s = wall_s};

	return ca_root_import(out, &m, why);
}

static void importing(void **state)
{
	CLEAN(test_ca_deinit) struct test_ca middle = {0}, low = {0}, late = {0};
	CLEAN(text_freep) char *leaf = NULL;
	CLEAN(mem_freep) char *both = NULL, *mixed = NULL;
	struct cert_params p = {.ca_cert_pem = root.cert,
				.ca_key_pem = root.key,
				.key_pem = other.key,
				.common_name = "h",
				.not_before_s = WALL_S,
				.not_after_s = WALL_S + DAY_S,
				.serial = {3}};

	(void)state;
	under(&middle, &root, "middle", WALL_S - DAY_S, WALL_S + 1000 * DAY_S);
	under(&low, &middle, "low", WALL_S - DAY_S, WALL_S + 100 * DAY_S);
	under(&late, &root, "late", WALL_S + DAY_S, WALL_S + 100 * DAY_S);
	assert_int_equal(cert_new(&leaf, &p, NULL), ERR_OK);
	both = mem_printf("%s%s", middle.cert, root.cert);
	mixed = mem_printf("%s%s%s", other.cert, root.cert, middle.cert);
	const struct {
		const char *what, *cert, *key, *chain;
		int64_t at_days;
		enum err e;
		size_t n; /* certificates in the record */
		const char *why;
	} rows[] = {
		{"a root", root.cert, root.key, NULL, 0, ERR_OK, 1, NULL},
		{"an intermediate with its root", middle.cert, middle.key, root.cert, 0, ERR_OK, 2, NULL},
		{"the chain in the certificate's file", both, middle.key, NULL, 0, ERR_OK, 2, NULL},
		{"two steps, out of order, with one that isn't needed", low.cert, low.key, mixed, 0, ERR_OK, 3, NULL},
		{"no chain", middle.cert, middle.key, NULL, 0, ERR_NOT_FOUND, 0, "CN=company root is missing"},
		{"a gap in the chain", low.cert, low.key, root.cert, 0, ERR_NOT_FOUND, 0, "CN=middle is missing"},
		{"another root", middle.cert, middle.key, other.cert, 0, ERR_NOT_FOUND, 0, "is missing"},
		{"another key", root.cert, other.key, NULL, 0, ERR_INVALID, 0, "does not belong"},
		{"a host's certificate", leaf, other.key, root.cert, 0, ERR_INVALID, 0, "not a CA certificate"},
		{"expired", low.cert, low.key, both, 101, ERR_INVALID, 0, "expired"},
		{"not valid yet", late.cert, late.key, root.cert, 0, ERR_INVALID, 0, "not valid yet"},
		{"the last of its days", low.cert, low.key, both, 99, ERR_OK, 3, NULL},
		{"garbage", "x", root.key, NULL, 0, ERR_MALFORMED, 0, "can't be imported"},
		{"no key", root.cert, root.cert, NULL, 0, ERR_MALFORMED, 0, "private key"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ca_root_record r = {0};
		struct why why = WHY_NONE;
		CLEAN(str_list_deinit) struct str_list certs = {0};
		enum err e =
			import(&r, rows[i].cert, rows[i].key, rows[i].chain, WALL_S + rows[i].at_days * DAY_S, &why);

		if (e != rows[i].e || (rows[i].why && !strstr(why.text, rows[i].why)))
			fail_msg("%s: %s: %s", rows[i].what, err_name(e), why.text);
		check_row(&rows[i], !r.certificate == (e != ERR_OK) && !r.sealed_key == (e != ERR_OK));
		if (!e) {
			assert_int_equal(cert_split(&certs, r.certificate, NULL), ERR_OK);
			check_row(&rows[i], certs.n == rows[i].n);
			check_row(&rows[i], !strstr(r.certificate, "PRIVATE") && !strstr(r.sealed_key, "PRIVATE"));
		}
		ca_root_record_deinit(&r);
	}
}

/* What OpenSSL makes: keys of every kind, and CAs that would sign what nobody believes. */
static void from_openssl(void **state)
{
	static const struct {
		const char *what, *options;
		enum err e;
		const char *why;
	} rows[] = {
		{"RSA", "-newkey rsa:2048 -addext keyUsage=keyCertSign", ERR_OK, NULL},
		{"P-384", "-newkey ec -pkeyopt ec_paramgen_curve:P-384 -addext keyUsage=keyCertSign,cRLSign", ERR_OK,
		 NULL},
		{"a short RSA key", "-newkey rsa:1024 -addext keyUsage=keyCertSign", ERR_INVALID, NULL},
		{"Ed25519", "-newkey ed25519 -addext keyUsage=keyCertSign", ERR_INVALID, "neither EC nor RSA"},
		{"no keyCertSign", "-newkey rsa:2048 -addext keyUsage=digitalSignature", ERR_INVALID, "keyCertSign"},
	};
	CLEAN(folder_freep) char *dir = openssl_folder();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(mem_freep)
		char *arguments =
			mem_printf("req -x509 -nodes -keyout k -out c -days 900 -subj /CN=own %s", rows[i].options);
		CLEAN(buf_deinit) struct buf cert = {0}, key = {0};
		CLEAN(mem_freep) char *cert_path = path_join(dir, "c"), *key_path = path_join(dir, "k");
		struct ca_root_record r = {0};
		struct why why = WHY_NONE;
		enum err e;

		check_row(&rows[i], openssl(dir, arguments));
		assert_int_equal(file_read(&fs_posix, cert_path, 65536, &cert, NULL), ERR_OK);
		assert_int_equal(file_read(&fs_posix, key_path, 65536, &key, NULL), ERR_OK);
		e = import(&r, buf_str(&cert), buf_str(&key), NULL, time(NULL), &why);
		if (e != rows[i].e || (rows[i].why && !strstr(why.text, rows[i].why)))
			fail_msg("%s: %s: %s", rows[i].what, err_name(e), why.text);
		ca_root_record_deinit(&r);
	}
}

/* An intermediate whose certificates nobody would believe: found at the import, not at the first agent. */
static void a_chain_that_nobody_would_believe(void **state)
{
	static const struct {
		const char *what, *root, *signing; /* options of OpenSSL */
		enum err e;
		const char *why;
	} rows[] = {
		{"nothing is wrong", "-newkey rsa:2048 -addext basicConstraints=critical,CA:TRUE", "-sha256", ERR_OK,
		 NULL},
		{"the root allows one CA below it",
		 "-newkey rsa:2048 -addext basicConstraints=critical,CA:TRUE,pathlen:1", "-sha256", ERR_OK, NULL},
		{"the root allows none", "-newkey rsa:2048 -addext basicConstraints=critical,CA:TRUE,pathlen:0",
		 "-sha256", ERR_UNTRUSTED, "its CA may not sign such a certificate"},
		{"the root's key is short", "-newkey rsa:1024 -addext basicConstraints=critical,CA:TRUE", "-sha256",
		 ERR_UNTRUSTED, "too weak"},
		{"the root signs with SHA-1", "-newkey rsa:2048 -addext basicConstraints=critical,CA:TRUE", "-sha1",
		 ERR_UNTRUSTED, "too weak"},
		{"the root has signed itself with SHA-1: nobody looks at that",
		 "-newkey rsa:2048 -sha1 -addext basicConstraints=critical,CA:TRUE", "-sha256", ERR_OK, NULL},
	};
	CLEAN(folder_freep) char *dir = openssl_folder();

	(void)state;
	put_file(dir, "ext",
		 "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=keyCertSign\nsubjectKeyIdentifier=hash\n");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(mem_freep)
		char *make_root =
			mem_printf("req -x509 -nodes -keyout rk -out r -days 900 -subj /CN=root -config /dev/null "
				   "-addext keyUsage=keyCertSign %s",
				   rows[i].root);
		CLEAN(mem_freep)
		char *sign =
			mem_printf("x509 -req -in q -CA r -CAkey rk -set_serial 2 -days 800 -extfile ext -out c %s",
				   rows[i].signing);
		CLEAN(buf_deinit) struct buf cert = {0}, key = {0}, chain = {0};
		CLEAN(mem_freep)
		char *cert_path = path_join(dir, "c"), *key_path = path_join(dir, "k"),
		     *chain_path = path_join(dir, "r");
		struct ca_root_record r = {0};
		struct why why = WHY_NONE;
		enum err e;

		check_row(&rows[i], openssl(dir, make_root));
		check_row(&rows[i], openssl(dir, "req -newkey rsa:2048 -nodes -keyout k -out q -subj /CN=below"));
		check_row(&rows[i], openssl(dir, sign));
		assert_int_equal(file_read(&fs_posix, cert_path, 65536, &cert, NULL), ERR_OK);
		assert_int_equal(file_read(&fs_posix, key_path, 65536, &key, NULL), ERR_OK);
		assert_int_equal(file_read(&fs_posix, chain_path, 65536, &chain, NULL), ERR_OK);
		e = import(&r, buf_str(&cert), buf_str(&key), buf_str(&chain), time(NULL), &why);
		if (e != rows[i].e || (rows[i].why && !strstr(why.text, rows[i].why)))
			fail_msg("%s: %s: %s", rows[i].what, err_name(e), why.text);
		check_row(&rows[i], !e == (r.certificate != NULL));
		ca_root_record_deinit(&r);
	}
}

/* The intermediate signs, and its certificate's fingerprint is what tokens carry. */
static void it_issues(void **state)
{
	CLEAN(test_ca_deinit) struct test_ca middle = {0};
	CLEAN(ca_issued_deinit) struct ca_issued issued = {0};
	struct ca_request r = {.common_name = "h",
			       .role = CERT_ROLE_AGENT,
			       .id = "guid-7",
			       .validity_s = DAY_S,
			       .wall_s = WALL_S,
			       .serial = {1}};
	struct ca_root_record record = {0};
	struct ca_provider *p = NULL;
	struct cert_info c;

	(void)state;
	under(&middle, &root, "middle", WALL_S - DAY_S, WALL_S + 1000 * DAY_S);
	assert_int_equal(import(&record, middle.cert, middle.key, root.cert, WALL_S, NULL), ERR_OK);
	assert_int_equal(ca_root_open(&p, &record, cluster_key, NULL), ERR_OK);
	assert_int_equal(ca_issue(p, &issued, &r, NULL), ERR_OK);
	assert_int_equal(cert_verify(issued.certificate, issued.chain, WALL_S, NULL), ERR_OK);
	assert_int_equal(cert_info_parse(&c, middle.cert, NULL), ERR_OK);
	assert_string_equal(p->ops->fingerprint(p), c.fingerprint);
	cert_info_deinit(&c);
	ca_provider_free(p);
	ca_root_record_deinit(&record);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(importing),
		cmocka_unit_test(from_openssl),
		cmocka_unit_test(a_chain_that_nobody_would_believe),
		cmocka_unit_test(it_issues),
	};

	return cmocka_run_group_tests(tests, make, unmake);
}
