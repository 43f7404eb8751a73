#include "pki/cert.h"

#include "pki_help.h"

static void hostile_requests_are_refused(void **state)
{
	static const struct {
		const char *what, *file;
		enum err e;
		const char *why; /* a part of the sentence */
	} rows[] = {
		{"one whose signature is wrong", "csr_wrong_signature.pem", ERR_UNTRUSTED, "not signed by its own key"},
		{"a newline in the name", "csr_newline.pem", ERR_INVALID, "control characters"},
		{"a NUL in the name", "csr_nul.pem", ERR_INVALID, "control characters"},
		{"a terminal's control character of two bytes", "csr_c1.pem", ERR_INVALID, "control characters"},
		{"a path as the name", "csr_path.pem", ERR_INVALID, "path separator"},
		{"a path as the name, the other way round", "csr_backslash.pem", ERR_INVALID, "path separator"},
		{"two common names, of which readers may take either", "csr_two_names.pem", ERR_INVALID,
		 "more than one common name"},
		{"two identities", "csr_two_identities.pem", ERR_INVALID, "more than one muster identity"},
		{"a path as the guid", "csr_bad_id.pem", ERR_INVALID, "muster identity"},
		{"an empty guid", "csr_no_id.pem", ERR_INVALID, "muster identity"},
		{"an identity in other letters", "csr_upper.pem", ERR_INVALID, "muster identity"},
		{"an identity of a kind there isn't", "csr_other_kind.pem", ERR_INVALID, "muster identity"},
		{"names twice, of which readers may take either", "csr_doubled_names.pem", ERR_INVALID,
		 "an extension is there twice"},
		{"a wildcard", "csr_wildcard.pem", ERR_INVALID, "DNS name"},
		{"a short RSA key", "csr_rsa_1024.pem", ERR_INVALID, "1024 bits"},
		{"an RSA key that only costs time", "csr_huge_key.pem", ERR_INVALID, "16384 bits"},
		{"a small curve", "csr_p192.pem", ERR_INVALID, "192 bits"},
		{"a certificate", "reference_leaf.pem", ERR_MALFORMED, "certificate request"},
		{"a key", "rsa.key", ERR_MALFORMED, "certificate request"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(text_freep) char *pem = golden(rows[i].file);
		struct why why = WHY_NONE;
		struct csr_info info;
		enum err e = csr_info_parse(&info, pem, &why);

		if (e != rows[i].e || !strstr(why.text, rows[i].why))
			fail_msg("%s: %s: %s", rows[i].what, err_name(e), why.text);
		check_row(&rows[i], !info.common_name[0] && info.role == CERT_ROLE_NONE && !info.ips.items);
	}
}

static void rubbish_is_refused(void **state)
{
	static const struct {
		const char *what;
		size_t n;
		char fill;
		const char *head;
		enum err e;
	} rows[] = {
		{"nothing", 0, 0, "", ERR_MALFORMED},
		{"a word", 0, 0, "hello", ERR_MALFORMED},
		{"1 MiB of rubbish", 1u << 20, 'A', "", ERR_TOO_BIG},
		{"1 MiB that begins well", 1u << 20, 'A', "-----BEGIN CERTIFICATE REQUEST-----\n", ERR_TOO_BIG},
		{"as much rubbish as is looked at", 65536, 'M', "", ERR_MALFORMED},
		{"a beginning only", 0, 0, "-----BEGIN CERTIFICATE REQUEST-----\n", ERR_MALFORMED},
		{"an empty frame", 0, 0, "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n",
		 ERR_MALFORMED},
		{"a frame around no ASN.1", 0, 0,
		 "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", ERR_MALFORMED},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(mem_freep) char *text = mem_zalloc(strlen(rows[i].head) + rows[i].n + 1);
		struct why why = WHY_NONE;
		struct csr_info info;

		strcpy(text, rows[i].head);
		memset(text + strlen(rows[i].head), rows[i].fill, rows[i].n);
		check_row(&rows[i], csr_info_parse(&info, text, &why) == rows[i].e);
		check_row(&rows[i], why.text[0]);
	}
}

static void wishes_to_be_a_ca_are_seen(void **state)
{
	static const struct {
		const char *what, *file;
		bool wants_ca;
	} rows[] = {
		{"CA:TRUE", "csr_wants_ca.pem", true},
		{"keyCertSign alone", "csr_wants_to_sign.pem", true},
		{"CA:FALSE and digitalSignature are no such wish", "csr_harmless.pem", false},
		{"nothing said", "csr_long_name.pem", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(text_freep) char *pem = golden(rows[i].file);
		struct csr_info info;

		check_row(&rows[i], csr_info_parse(&info, pem, NULL) == ERR_OK);
		check_row(&rows[i], info.wants_ca == rows[i].wants_ca);
		csr_info_deinit(&info);
	}
}

static void foreign_names_are_skipped(void **state)
{
	CLEAN(text_freep) char *pem = golden("csr_harmless.pem");
	struct csr_info info;

	(void)state;
	assert_int_equal(csr_info_parse(&info, pem, NULL), ERR_OK);
	assert_int_equal(info.role, CERT_ROLE_AGENT);
	assert_string_equal(info.id, "a-1");
	csr_info_deinit(&info);
}

static void a_request_of_keytool_is_read(void **state)
{
	CLEAN(text_freep) char *pem = golden("keytool.csr");
	struct why why = WHY_NONE;
	struct csr_info info;

	(void)state;
	assert_true(str_starts(pem, "-----BEGIN NEW CERTIFICATE REQUEST-----"));
	if (csr_info_parse(&info, pem, &why))
		fail_msg("%s", why.text);
	assert_string_equal(info.common_name, "kvm1.example.org");
	assert_true(info.is_rsa);
	assert_int_equal(info.key_bits, 2048);
	assert_false(info.wants_ca);
	assert_int_equal(info.role, CERT_ROLE_NONE);
	assert_int_equal(info.ips.n, 2);
	assert_string_equal(info.ips.items[0], "10.1.1.21");
	assert_string_equal(info.ips.items[1], "2001:db8::15");
	csr_info_deinit(&info);
}

static void an_rsa_request_of_openssl_is_read(void **state)
{
	CLEAN(folder_freep) char *dir = openssl_folder();
	CLEAN(text_freep) char *key = golden("rsa.key");
	CLEAN(mem_freep) char *path = path_join(dir, "csr");
	CLEAN(buf_deinit) struct buf b = {0};
	struct why why = WHY_NONE;
	struct csr_info info;

	(void)state;
	put_file(dir, "key", key);
	assert_true(openssl(dir,
			    "req -new -newhdr -key key -subj '/C=XX/O=cloudstack/OU=cloudstack/CN=kvm2.example.org' "
			    "-addext 'subjectAltName=IP:10.1.1.22,IP:fd00::22,DNS:kvm2' -out csr"));
	assert_int_equal(file_read(&fs_posix, path, 1u << 16, &b, NULL), ERR_OK);
	assert_non_null(strstr(buf_str(&b), "NEW CERTIFICATE REQUEST"));
	if (csr_info_parse(&info, buf_str(&b), &why))
		fail_msg("%s", why.text);
	assert_string_equal(info.common_name, "kvm2.example.org");
	assert_true(info.is_rsa);
	assert_int_equal(info.ips.n, 2);
	assert_string_equal(info.ips.items[1], "fd00::22");
	assert_int_equal(info.dns.n, 1);
	assert_string_equal(info.dns.items[0], "kvm2");
	csr_info_deinit(&info);
}

static void our_request_says_what_was_asked_for(void **state)
{
	CLEAN(text_freep) char *key = NULL;
	CLEAN(text_freep) char *pem = NULL;
	CLEAN(str_list_deinit) struct str_list ips = LIST_OF("::ffff:10.0.0.1", "FD00::0:1");
	CLEAN(str_list_deinit) struct str_list dns = LIST_OF("host-7", "host-7.example.org");
	struct csr_params p = {
		.common_name = "host-7",
		.role = CERT_ROLE_SERVER,
		.id = "s-1",
		.ips = &ips,
		.dns = &dns,
	};
	CLEAN(folder_freep) char *dir = openssl_folder();
	struct csr_info info;

	(void)state;
	assert_int_equal(key_new(&key, KEY_EC_P256, NULL), ERR_OK);
	p.key_pem = key;
	assert_int_equal(csr_new(&pem, &p, NULL), ERR_OK);
	assert_int_equal(csr_info_parse(&info, pem, NULL), ERR_OK);
	assert_string_equal(info.common_name, "host-7");
	assert_int_equal(info.role, CERT_ROLE_SERVER);
	assert_string_equal(info.id, "s-1");
	assert_false(info.is_rsa);
	assert_false(info.wants_ca);
	assert_string_equal(info.ips.items[0], "10.0.0.1"); /* mapped addresses are the IPv4 ones */
	assert_string_equal(info.ips.items[1], "fd00::1");
	assert_true(str_list_equal(&info.dns, &dns));
	csr_info_deinit(&info);

	put_file(dir, "csr", pem);
	assert_true(openssl(dir, "req -in csr -verify -noout -text"));
	assert_true(openssl_said(dir, "URI:muster:server:s-1"));
}

static void bad_wishes_are_not_written(void **state)
{
	static const char long_id[] = "0123456789012345678901234567890123456789012345678901234567890123"
				      "0123456789012345678901234567890123456789012345678901234567890123";
	static const struct {
		const char *what, *name;
		enum cert_role role;
		const char *id, *ip, *dns;
	} rows[] = {
		{"no name", NULL, CERT_ROLE_NONE, NULL, NULL, NULL},
		{"an empty name", "", CERT_ROLE_NONE, NULL, NULL, NULL},
		{"a name with a newline", "a\nb", CERT_ROLE_NONE, NULL, NULL, NULL},
		{"a name with a slash", "a/b", CERT_ROLE_NONE, NULL, NULL, NULL},
		{"a name that isn't UTF-8", "a\xff", CERT_ROLE_NONE, NULL, NULL, NULL},
		{"a name of 65 characters", long_id + 63, CERT_ROLE_NONE, NULL, NULL, NULL},
		{"a role without id", "a", CERT_ROLE_AGENT, NULL, NULL, NULL},
		{"an id without role", "a", CERT_ROLE_NONE, "x", NULL, NULL},
		{"an empty id", "a", CERT_ROLE_AGENT, "", NULL, NULL},
		{"an id of 128 characters", "a", CERT_ROLE_AGENT, long_id, NULL, NULL},
		{"an id with a slash", "a", CERT_ROLE_AGENT, "a/b", NULL, NULL},
		{"an id with a colon", "a", CERT_ROLE_AGENT, "a:b", NULL, NULL},
		{"an id with a blank", "a", CERT_ROLE_AGENT, "a b", NULL, NULL},
		{"an id that is a folder", "a", CERT_ROLE_AGENT, "..", NULL, NULL},
		{"an address that is none", "a", CERT_ROLE_NONE, NULL, "10.0.0", NULL},
		{"an address with a zone", "a", CERT_ROLE_NONE, NULL, "fe80::1%eth0", NULL},
		{"a wildcard", "a", CERT_ROLE_NONE, NULL, NULL, "*.example.org"},
		{"an empty DNS name", "a", CERT_ROLE_NONE, NULL, NULL, ""},
		{"a DNS name with a newline", "a", CERT_ROLE_NONE, NULL, NULL, "a\n"},
	};
	CLEAN(text_freep) char *key = NULL;

	(void)state;
	assert_int_equal(key_new(&key, KEY_EC_P256, NULL), ERR_OK);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct str_list ips = {.items = (char *[]){(char *)(uintptr_t)rows[i].ip}, .n = rows[i].ip != NULL};
		struct str_list dns = {.items = (char *[]){(char *)(uintptr_t)rows[i].dns}, .n = rows[i].dns != NULL};
		struct csr_params p = {.key_pem = key,
				       .common_name = rows[i].name,
				       .role = rows[i].role,
				       .id = rows[i].id,
				       .ips = &ips,
				       .dns = &dns};
		struct why why = WHY_NONE;
		char *pem = NULL;

		check_row(&rows[i], csr_new(&pem, &p, &why) == ERR_INVALID);
		check_row(&rows[i], !pem && why.text[0]);
	}
}

static void ids_are_names_of_files_at_most(void **state)
{
	(void)state;
	assert_true(cert_id_is_valid("8a4e1c52-3b6f-3d0a-9c77-5e1f0a2b3c4d"));
	assert_true(cert_id_is_valid("Proxy.18"));
	assert_true(cert_id_is_valid("..."));
	assert_false(cert_id_is_valid(NULL));
	assert_false(cert_id_is_valid(""));
	assert_false(cert_id_is_valid("."));
	assert_false(cert_id_is_valid(".."));
	assert_false(cert_id_is_valid("h\xc3\xb6st"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_requests_are_refused),
		cmocka_unit_test(rubbish_is_refused),
		cmocka_unit_test(wishes_to_be_a_ca_are_seen),
		cmocka_unit_test(foreign_names_are_skipped),
		cmocka_unit_test(a_request_of_keytool_is_read),
		cmocka_unit_test(an_rsa_request_of_openssl_is_read),
		cmocka_unit_test(our_request_says_what_was_asked_for),
		cmocka_unit_test(bad_wishes_are_not_written),
		cmocka_unit_test(ids_are_names_of_files_at_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
