#include "pki/cert.h"

#include "pki_help.h"

static void read_ok(struct cert_info *info, const char *file)
{
	CLEAN(text_freep) char *pem = golden(file);
	struct why why = WHY_NONE;

	if (cert_info_parse(info, pem, &why))
		fail_msg("%s: %s", file, why.text);
}

static void a_certificate_of_the_reference_is_read(void **state)
{
	struct cert_info info;

	(void)state;
	read_ok(&info, "reference_leaf.pem");
	assert_string_equal(info.serial, "a1b2c3d4e5f6071"); /* 0a1b...: without the leading zero */
	assert_string_equal(info.common_name, "kvm1.example.org");
	assert_string_equal(info.issuer, "CN=ca.cloudstack.apache.org");
	assert_true(info.is_rsa);
	assert_false(info.is_ca);
	assert_false(info.has_eku);
	assert_true(info.eku_client && info.eku_server);
	assert_int_equal(info.role, CERT_ROLE_NONE);
	assert_string_equal(info.id, "");
	assert_int_equal(info.not_before_s, 1704067200);
	assert_int_equal(info.not_after_s, 3281990400);
	assert_int_equal(info.ips.n, 2);
	assert_string_equal(info.ips.items[0], "10.1.1.21");
	assert_string_equal(info.ips.items[1], "2001:db8::15");
	assert_int_equal(info.dns.n, 2);
	assert_string_equal(info.dns.items[1], "10.1.1.21");
	cert_info_deinit(&info);
	assert_null(info.ips.items);
}

static void the_ca_certificate_of_the_reference_is_read(void **state)
{
	struct cert_info info;

	(void)state;
	read_ok(&info, "reference_ca.pem");
	assert_true(info.is_ca);
	assert_true(info.is_rsa);
	assert_int_equal(info.ips.n + info.dns.n, 0);
	cert_info_deinit(&info);
}

static void odd_certificates(void **state)
{
	static const struct {
		const char *what, *file;
		enum err e;
		const char *why;
	} rows[] = {
		{"two identities", "cert_two_identities.pem", ERR_INVALID, "more than one muster identity"},
		{"a path as the guid", "cert_bad_id.pem", ERR_INVALID, "muster identity"},
		{"a NUL in the guid", "cert_nul_in_id.pem", ERR_INVALID, "muster identity"},
		{"a NUL in a DNS name", "cert_nul_in_dns.pem", ERR_INVALID, "DNS name"},
		{"a newline in the name", "cert_newline.pem", ERR_INVALID, "control characters"},
		{"names twice, of which readers may take either", "cert_doubled_names.pem", ERR_MALFORMED, ""},
		{"an address of three bytes", "cert_short_ip.pem", ERR_MALFORMED, ""},
		{"a request", "keytool.csr", ERR_MALFORMED, "certificate"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(text_freep) char *pem = golden(rows[i].file);
		struct why why = WHY_NONE;
		struct cert_info info;
		enum err e = cert_info_parse(&info, pem, &why);

		if (e != rows[i].e || !strstr(why.text, rows[i].why) || !why.text[0])
			fail_msg("%s: %s: %s", rows[i].what, err_name(e), why.text);
		check_row(&rows[i], !info.serial[0] && !info.ips.items && !info.dns.items);
	}
}

static void purposes(void **state)
{
	static const struct {
		const char *what, *file;
		bool client, server;
	} rows[] = {
		{"any purpose is both", "cert_any_purpose.pem", true, true},
		{"for servers is not for clients", "cert_only_server.pem", false, true},
		{"for mail is for neither", "cert_only_mail.pem", false, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cert_info info;

		read_ok(&info, rows[i].file);
		check_row(&rows[i], info.has_eku);
		check_row(&rows[i], info.eku_client == rows[i].client);
		check_row(&rows[i], info.eku_server == rows[i].server);
		cert_info_deinit(&info);
	}
}

static void odd_but_harmless(void **state)
{
	struct cert_info info;

	(void)state;
	read_ok(&info, "cert_comma.pem");
	assert_string_equal(info.common_name, "Acme, Inc. / Root");
	cert_info_deinit(&info);

	read_ok(&info, "cert_serial_1.pem");
	assert_string_equal(info.serial, "1");
	cert_info_deinit(&info);

	read_ok(&info, "cert_serial_20.pem");
	assert_string_equal(info.serial, "7f00000000000000000000000000000000000001");
	cert_info_deinit(&info);

	read_ok(&info, "cert_mapped.pem");
	assert_string_equal(info.ips.items[0], "::ffff:10.0.0.1");
	cert_info_deinit(&info);
}

static void rubbish_is_refused(void **state)
{
	CLEAN(mem_freep) char *big = mem_zalloc((1u << 20) + 1);
	struct cert_info info;

	(void)state;
	memset(big, 'A', 1u << 20);
	assert_int_equal(cert_info_parse(&info, big, NULL), ERR_TOO_BIG);
	assert_int_equal(cert_info_parse(&info, "", NULL), ERR_MALFORMED);
	assert_int_equal(cert_info_parse(&info, NULL, NULL), ERR_MALFORMED);
	assert_int_equal(cert_info_parse_der(&info, big, 1u << 20, NULL), ERR_TOO_BIG);
	assert_int_equal(cert_info_parse_der(&info, big, 100, NULL), ERR_MALFORMED);
	assert_int_equal(cert_info_parse_der(&info, NULL, 0, NULL), ERR_MALFORMED);
}

/* What TLS hands over is DER; it must say the same. */
static void der_is_read_like_pem(void **state)
{
	CLEAN(folder_freep) char *dir = openssl_folder();
	CLEAN(text_freep) char *pem = golden("reference_leaf.pem");
	CLEAN(mem_freep) char *path = path_join(dir, "der");
	CLEAN(buf_deinit) struct buf der = {0};
	struct cert_info a, b;
	char hex[FINGERPRINT_TEXT];

	(void)state;
	put_file(dir, "pem", pem);
	assert_true(openssl(dir, "x509 -in pem -outform DER -out der"));
	assert_int_equal(file_read(&fs_posix, path, 1u << 16, &der, NULL), ERR_OK);
	assert_int_equal(cert_info_parse_der(&a, der.data, der.len, NULL), ERR_OK);
	assert_int_equal(cert_info_parse(&b, pem, NULL), ERR_OK);
	sha256_hex(hex, der.data, der.len);
	assert_string_equal(a.fingerprint, hex);
	assert_string_equal(b.fingerprint, hex);
	assert_string_equal(a.serial, b.serial);
	cert_info_deinit(&a);
	cert_info_deinit(&b);
}

static void a_certificate_of_openssl_is_read(void **state)
{
	CLEAN(folder_freep) char *dir = openssl_folder();
	CLEAN(text_freep) char *key = golden("rsa.key");
	CLEAN(mem_freep) char *path = path_join(dir, "crt");
	CLEAN(buf_deinit) struct buf b = {0};
	struct cert_info info, leaf;

	(void)state;
	put_file(dir, "key", key);
	assert_true(openssl(dir, "req -x509 -new -key key -days 10 -set_serial 0xabc -subj '/CN=host-9' "
				 "-addext 'subjectAltName=URI:muster:agent:guid-9,IP:10.9.9.9,DNS:host-9,email:a@b' "
				 "-addext 'extendedKeyUsage=clientAuth' -out crt"));
	assert_int_equal(file_read(&fs_posix, path, 1u << 16, &b, NULL), ERR_OK);
	assert_int_equal(cert_info_parse(&info, buf_str(&b), NULL), ERR_OK);
	assert_string_equal(info.serial, "abc");
	assert_int_equal(info.role, CERT_ROLE_AGENT);
	assert_string_equal(info.id, "guid-9");
	assert_true(info.has_eku && info.eku_client && !info.eku_server);
	assert_string_equal(info.ips.items[0], "10.9.9.9");
	/* The same key in two certificates has the same id. */
	read_ok(&leaf, "reference_leaf.pem");
	assert_string_equal(info.key_id, leaf.key_id);
	assert_string_not_equal(info.fingerprint, leaf.fingerprint);
	cert_info_deinit(&info);
	cert_info_deinit(&leaf);
}

/* CAs of others name their key as they like, or not at all; what they sign is told to be theirs all the same. */
static void keys_of_other_cas(void **state)
{
	static const struct {
		const char *what, *key_id;
	} rows[] = {
		{"as usual", "hash"},
		{"none", "none"},
		{"40 bytes", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(folder_freep) char *dir = openssl_folder();
		CLEAN(mem_freep) char *cert_path = path_join(dir, "c"), *key_path = path_join(dir, "k");
		CLEAN(buf_deinit) struct buf cert = {0}, key = {0};
		CLEAN(text_freep) char *leaf_key = NULL, *leaf_pem = NULL;
		CLEAN(cert_info_deinit) struct cert_info ca = {0}, leaf = {0};
		struct cert_params p = {
			.common_name = "h", .not_before_s = WALL_S, .not_after_s = WALL_S + 1, .serial = {1}};
		char command[400];

		snprintf(command, sizeof(command),
			 "req -x509 -nodes -newkey rsa:2048 -keyout k -out c -days 9 -subj /CN=other -config /dev/null "
			 "-addext basicConstraints=critical,CA:TRUE -addext subjectKeyIdentifier=%s",
			 rows[i].key_id);
		check_row(&rows[i], openssl(dir, command));
		assert_int_equal(file_read(&fs_posix, cert_path, 65536, &cert, NULL), ERR_OK);
		assert_int_equal(file_read(&fs_posix, key_path, 65536, &key, NULL), ERR_OK);
		assert_int_equal(key_new(&leaf_key, KEY_EC_P256, NULL), ERR_OK);
		p.ca_cert_pem = buf_str(&cert);
		p.ca_key_pem = buf_str(&key);
		p.key_pem = leaf_key;
		check_row(&rows[i], cert_info_parse(&ca, p.ca_cert_pem, NULL) == ERR_OK);
		check_row(&rows[i], cert_new(&leaf_pem, &p, NULL) == ERR_OK);
		check_row(&rows[i], cert_info_parse(&leaf, leaf_pem, NULL) == ERR_OK);
		check_row(&rows[i], ca.subject_key_id[0] && str_equal(ca.subject_key_id, leaf.authority_key_id));
		check_row(&rows[i], !str_equal(leaf.subject_key_id, leaf.authority_key_id));
	}
}

static void what_is_issued_is_what_was_said(void **state)
{
	static const struct {
		const char *what;
		enum cert_role role;
		const char *id;
		bool eku_client, eku_server, has_eku;
		const char *text; /* what openssl must print */
	} rows[] = {
		{"an agent's is for clients only", CERT_ROLE_AGENT, "guid-1", true, false, true,
		 "TLS Web Client Authentication"},
		{"a server's is for both", CERT_ROLE_SERVER, "server-1", true, true, true,
		 "TLS Web Server Authentication, TLS Web Client Authentication"},
		{"one without role says nothing, as the reference's", CERT_ROLE_NONE, NULL, true, true, false,
		 "CA:FALSE"},
	};
	CLEAN(folder_freep) char *dir = openssl_folder();
	CLEAN(test_ca_deinit) struct test_ca ca = {0};
	CLEAN(text_freep) char *key = NULL;
	CLEAN(cert_info_deinit) struct cert_info signer = {0};

	(void)state;
	test_ca_make(&ca, "ca", WALL_S - DAY_S, WALL_S + 100 * DAY_S);
	assert_int_equal(cert_info_parse(&signer, ca.cert, NULL), ERR_OK);
	assert_int_equal(key_new(&key, KEY_EC_P256, NULL), ERR_OK);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(str_list_deinit) struct str_list ips = LIST_OF("10.0.0.9"), names = LIST_OF("host-1");
		struct cert_params p = {
			.ca_cert_pem = ca.cert,
			.ca_key_pem = ca.key,
			.key_pem = key,
			.common_name = "host-1",
			.role = rows[i].role,
			.id = rows[i].id,
			.ips = &ips,
			.dns = &names,
			.not_before_s = WALL_S - DAY_S,
			.not_after_s = WALL_S + DAY_S,
			.serial = {0xff, 0xfe, [15] = 1},
		};
		CLEAN(text_freep) char *pem = NULL;
		struct cert_info info;

		check_row(&rows[i], cert_new(&pem, &p, NULL) == ERR_OK);
		check_row(&rows[i], cert_info_parse(&info, pem, NULL) == ERR_OK);
		check_row(&rows[i], info.role == rows[i].role && str_equal(info.id, rows[i].id ? rows[i].id : ""));
		check_row(&rows[i], info.has_eku == rows[i].has_eku && info.eku_client == rows[i].eku_client &&
					    info.eku_server == rows[i].eku_server);
		/* The top bit is off, so it is positive, and it is never short. */
		check_row(&rows[i], str_equal(info.serial, "7ffe0000000000000000000000000001"));
		check_row(&rows[i], info.not_before_s == p.not_before_s && info.not_after_s == p.not_after_s);
		check_row(&rows[i], str_list_equal(&info.ips, &ips) && str_list_equal(&info.dns, &names));
		check_row(&rows[i], str_equal(info.issuer, "CN=ca") && !info.is_ca && !info.is_rsa);
		check_row(&rows[i], signer.subject_key_id[0] &&
					    str_equal(info.authority_key_id, signer.subject_key_id) &&
					    !str_equal(info.subject_key_id, signer.subject_key_id));
		check_row(&rows[i], key_matches_cert(key, pem, NULL) == ERR_OK);
		cert_info_deinit(&info);

		put_file(dir, "crt", pem);
		put_file(dir, "ca", ca.cert);
		check_row(&rows[i], openssl(dir, "verify -x509_strict -attime 1750000000 -CAfile ca crt"));
		check_row(&rows[i], openssl(dir, "x509 -in crt -noout -text"));
		check_row(&rows[i], openssl_said(dir, rows[i].text));
		check_row(&rows[i], openssl_said(dir, "Digital Signature"));
		check_row(&rows[i], openssl_said(dir, "Authority Key Identifier"));
		check_row(&rows[i], openssl_said(dir, "Subject Key Identifier"));
	}
}

static void a_root_is_one_for_others_too(void **state)
{
	CLEAN(folder_freep) char *dir = openssl_folder();
	CLEAN(test_ca_deinit) struct test_ca ca = {0};
	struct cert_info info;

	(void)state;
	test_ca_make(&ca, "ca.example", WALL_S - DAY_S, WALL_S + 100 * DAY_S);
	assert_int_equal(cert_info_parse(&info, ca.cert, NULL), ERR_OK);
	assert_true(info.is_ca);
	assert_string_equal(info.common_name, "ca.example");
	cert_info_deinit(&info);

	put_file(dir, "ca", ca.cert);
	assert_true(openssl(dir, "x509 -in ca -noout -text"));
	assert_true(openssl_said(dir, "Version: 3"));
	assert_true(openssl_said(dir, "X509v3 Basic Constraints: critical\n                CA:TRUE\n"));
	assert_true(openssl_said(dir, "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n"));
	assert_true(openssl_said(dir, "Subject Key Identifier"));
	assert_true(openssl(dir, "verify -x509_strict -attime 1750000000 -CAfile ca ca"));
}

/* CloudStack agents have RSA keys, whatever our CA has; and an operator's CA may have RSA. */
static void rsa_and_ec_mix(void **state)
{
	CLEAN(folder_freep) char *dir = openssl_folder();
	CLEAN(test_ca_deinit) struct test_ca ca = {0};
	CLEAN(text_freep) char *csr = golden("keytool.csr");
	CLEAN(text_freep) char *rsa_ca = golden("reference_ca.pem");
	CLEAN(text_freep) char *rsa_ca_key = golden("reference_ca.key");
	CLEAN(text_freep) char *rsa_leaf = NULL;
	CLEAN(text_freep) char *ec_leaf = NULL;
	struct cert_params p = {
		.csr_pem = csr,
		.common_name = "kvm1.example.org",
		.not_before_s = WALL_S - DAY_S,
		.not_after_s = WALL_S + DAY_S,
	};
	struct cert_info info;

	(void)state;
	test_ca_make(&ca, "ca", WALL_S - DAY_S, WALL_S + 100 * DAY_S);
	p.ca_cert_pem = ca.cert;
	p.ca_key_pem = ca.key;
	assert_int_equal(cert_new(&rsa_leaf, &p, NULL), ERR_OK);
	assert_int_equal(cert_info_parse(&info, rsa_leaf, NULL), ERR_OK);
	assert_true(info.is_rsa);
	assert_int_equal(info.ips.n, 0); /* names are the caller's, not the request's */
	assert_string_equal(info.serial, "40000000000000000000000000000000");
	cert_info_deinit(&info);
	assert_int_equal(cert_verify(rsa_leaf, ca.cert, WALL_S, NULL), ERR_OK);
	put_file(dir, "crt", rsa_leaf);
	put_file(dir, "ca", ca.cert);
	assert_true(openssl(dir, "verify -x509_strict -attime 1750000000 -CAfile ca crt"));
	assert_true(openssl(dir, "x509 -in crt -noout -text"));
	assert_true(openssl_said(dir, "Digital Signature, Key Encipherment"));

	p.csr_pem = NULL;
	p.key_pem = ca.key;
	p.ca_cert_pem = rsa_ca;
	p.ca_key_pem = rsa_ca_key;
	assert_int_equal(cert_new(&ec_leaf, &p, NULL), ERR_OK);
	assert_int_equal(cert_verify(ec_leaf, rsa_ca, WALL_S, NULL), ERR_OK);
	put_file(dir, "crt", ec_leaf);
	put_file(dir, "ca", rsa_ca);
	assert_true(openssl(dir, "verify -attime 1750000000 -CAfile ca crt"));
}

static void bad_certificates_are_not_written(void **state)
{
	static const struct {
		const char *what;
		struct cert_params p; /* the CA and the key are put in where `has_` says so */
		bool no_ca, no_key, key_as_ca, wrong_ca_key;
		const char *csr;
		enum err e;
	} rows[] = {
		{"one that is right, to compare with", {.common_name = "a", .not_after_s = 9}, .e = ERR_OK},
		{"no name", {.not_after_s = 9}, .e = ERR_INVALID},
		{"a newline in the name", {.common_name = "a\n", .not_after_s = 9}, .e = ERR_INVALID},
		{"a name of 65 characters",
		 {.common_name = "01234567890123456789012345678901234567890123456789012345678901234", .not_after_s = 9},
		 .e = ERR_INVALID},
		{"it ends when it begins", {.common_name = "a", .not_before_s = 9, .not_after_s = 9}, .e = ERR_INVALID},
		{"it begins before time does",
		 {.common_name = "a", .not_before_s = -9, .not_after_s = 9},
		 .e = ERR_INVALID},
		{"it ends in the year 10000",
		 {.common_name = "a", .not_after_s = INT64_C(253402300800)},
		 .e = ERR_INVALID},
		{"an agent's CA certificate",
		 {.common_name = "a", .not_after_s = 9, .is_ca = true, .role = CERT_ROLE_AGENT, .id = "a"},
		 .e = ERR_INVALID},
		{"a bad id",
		 {.common_name = "a", .not_after_s = 9, .role = CERT_ROLE_AGENT, .id = "a b"},
		 .e = ERR_INVALID},
		{"no key at all", {.common_name = "a", .not_after_s = 9}, .no_key = true, .e = ERR_MALFORMED},
		{"a request signed by itself",
		 {.common_name = "a", .not_after_s = 9},
		 .no_ca = true,
		 .csr = "keytool.csr",
		 .e = ERR_INVALID},
		{"a request with a wrong signature",
		 {.common_name = "a", .not_after_s = 9},
		 .csr = "csr_wrong_signature.pem",
		 .e = ERR_UNTRUSTED},
		{"a request for a short key",
		 {.common_name = "a", .not_after_s = 9},
		 .csr = "csr_rsa_1024.pem",
		 .e = ERR_INVALID},
		{"signed with a key that isn't the CA's",
		 {.common_name = "a", .not_after_s = 9},
		 .wrong_ca_key = true,
		 .e = ERR_INVALID},
		{"signed by a certificate that is no CA's",
		 {.common_name = "a", .not_after_s = 9},
		 .key_as_ca = true,
		 .e = ERR_INVALID},
	};
	CLEAN(test_ca_deinit) struct test_ca ca = {0};
	CLEAN(text_freep) char *key = golden("rsa.key");
	CLEAN(text_freep) char *leaf = golden("reference_leaf.pem");

	(void)state;
	test_ca_make(&ca, "ca", WALL_S - DAY_S, WALL_S + 100 * DAY_S);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(text_freep) char *csr = rows[i].csr ? golden(rows[i].csr) : NULL;
		struct cert_params p = rows[i].p;
		struct why why = WHY_NONE;
		char *pem = NULL;
		enum err e;

		p.csr_pem = csr;
		p.key_pem = rows[i].no_key || csr ? NULL : key;
		p.ca_cert_pem = rows[i].no_ca ? NULL : rows[i].key_as_ca ? leaf : ca.cert;
		p.ca_key_pem = rows[i].wrong_ca_key || rows[i].key_as_ca ? key : ca.key;
		e = cert_new(&pem, &p, &why);
		if (e != rows[i].e)
			fail_msg("%s: %s: %s", rows[i].what, err_name(e), why.text);
		check_row(&rows[i], !e == !why.text[0] && !e == (pem != NULL));
		mem_free(pem);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_certificate_of_the_reference_is_read),
		cmocka_unit_test(the_ca_certificate_of_the_reference_is_read),
		cmocka_unit_test(odd_certificates),
		cmocka_unit_test(purposes),
		cmocka_unit_test(odd_but_harmless),
		cmocka_unit_test(rubbish_is_refused),
		cmocka_unit_test(der_is_read_like_pem),
		cmocka_unit_test(a_certificate_of_openssl_is_read),
		cmocka_unit_test(keys_of_other_cas),
		cmocka_unit_test(what_is_issued_is_what_was_said),
		cmocka_unit_test(a_root_is_one_for_others_too),
		cmocka_unit_test(rsa_and_ec_mix),
		cmocka_unit_test(bad_certificates_are_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
