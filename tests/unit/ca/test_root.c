#include "ca/root.h"

#include "../pki/pki_help.h"

#include <sys/stat.h>

#include "failing_alloc.h"

static const uint8_t cluster_key[CLUSTER_KEY_SIZE] = {1, 2, 3};
static const uint8_t other_key[CLUSTER_KEY_SIZE] = {9, 9, 9};
static const uint8_t entropy[64] = {0xaa, 0xbb, [16] = 0xcc};

/* Made once, borrowed by all tests. */
static struct ca_root_record record;
static struct ca_provider *root;

static int root_make(void **state)
{
	struct why why = WHY_NONE;

	(void)state;
	if (ca_root_create(&record, "ca.muster.test", cluster_key, entropy, WALL_S, &why) ||
	    ca_root_open(&root, &record, cluster_key, &why)) {
		print_error("%s\n", why.text);
		return -1;
	}
	return 0;
}

static int root_unmake(void **state)
{
	(void)state;
	root = ca_provider_free(root);
	ca_root_record_deinit(&record);
	return 0;
}

static void the_root_is_made_as_it_should(void **state)
{
	struct cert_info info;

	(void)state;
	assert_int_equal(cert_info_parse(&info, record.certificate, NULL), ERR_OK);
	assert_true(info.is_ca);
	assert_false(info.is_rsa);
	assert_string_equal(info.common_name, "ca.muster.test");
	assert_int_equal(info.not_before_s, WALL_S - 12 * 3600);
	assert_int_equal(info.not_after_s, WALL_S + 30 * 365 * DAY_S);
	assert_int_equal(strlen(info.serial), 32); /* 127 bits */
	assert_string_equal(root->ops->fingerprint(root), info.fingerprint);
	assert_string_equal(root->ops->chain(root), record.certificate);
	assert_string_equal(root->ops->name, "root");
	assert_true(root->ops->can_issue(root));
	cert_info_deinit(&info);
	/* The store never sees the key itself. */
	assert_null(strstr(record.sealed_key, "PRIVATE"));
}

static void opening(void **state)
{
	CLEAN(text_freep) char *leaf = golden("reference_leaf.pem");
	CLEAN(text_freep) char *other_ca = golden("reference_ca.pem");
	char damaged[] = "not base64!", cut[] = "AAAA", empty[] = "";
	const struct {
		const char *what;
		char *certificate, *sealed_key;
		const uint8_t *key;
		enum err e;
		bool can_issue;
		const char *why;
	} rows[] = {
		{"with the cluster key", record.certificate, record.sealed_key, cluster_key, ERR_OK, true, NULL},
		{"without it, for verifying", record.certificate, record.sealed_key, NULL, ERR_OK, false, NULL},
		{"a CA whose key is elsewhere", record.certificate, NULL, cluster_key, ERR_OK, false, NULL},
		{"the same, stored as an empty text", record.certificate, empty, cluster_key, ERR_OK, false, NULL},
		{"with another cluster key: the sentence says what to do", record.certificate, record.sealed_key,
		 other_key, ERR_UNTRUSTED, false, "copy the cluster key file"},
		{"a damaged key", record.certificate, damaged, cluster_key, ERR_DAMAGED, false, "damaged"},
		{"a key that is cut off", record.certificate, cut, cluster_key, ERR_UNTRUSTED, false, "cluster key"},
		{"a certificate that isn't the key's", other_ca, record.sealed_key, cluster_key, ERR_INVALID, false,
		 "does not belong"},
		{"a host's certificate", leaf, record.sealed_key, cluster_key, ERR_INVALID, false,
		 "not a CA certificate"},
		{"no certificate", empty, record.sealed_key, cluster_key, ERR_MALFORMED, false, "empty"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ca_root_record r = {.certificate = rows[i].certificate, .sealed_key = rows[i].sealed_key};
		struct ca_provider *p = NULL;
		struct why why = WHY_NONE;
		enum err e = ca_root_open(&p, &r, rows[i].key, &why);

		if (e != rows[i].e || (rows[i].why && !strstr(why.text, rows[i].why)))
			fail_msg("%s: %s: %s", rows[i].what, err_name(e), why.text);
		check_row(&rows[i], !p == (e != ERR_OK));
		if (p)
			check_row(&rows[i], p->ops->can_issue(p) == rows[i].can_issue);
		check_row(&rows[i], ca_provider_free(p) == NULL);
	}
}

static struct ca_request request_of(const char *csr)
{
	return (struct ca_request){
		.csr_pem = csr,
		.common_name = "host-7",
		.role = CERT_ROLE_AGENT,
		.id = "guid-7",
		.validity_s = 365 * DAY_S,
		.wall_s = WALL_S,
		.serial = {0x11},
	};
}

static char *agent_csr(enum cert_role role, const char *id)
{
	CLEAN(text_freep) char *key = NULL;
	struct csr_params p = {.common_name = "host-7", .role = role, .id = id};
	char *pem = NULL;

	assert_int_equal(key_new(&key, KEY_EC_P256, NULL), ERR_OK);
	p.key_pem = key;
	assert_int_equal(csr_new(&pem, &p, NULL), ERR_OK);
	return pem;
}

static void a_certificate_is_issued(void **state)
{
	CLEAN(folder_freep) char *dir = openssl_folder();
	CLEAN(text_freep) char *csr = agent_csr(CERT_ROLE_AGENT, "guid-7");
	CLEAN(str_list_deinit) struct str_list ips = LIST_OF("10.0.0.7"), dns = LIST_OF("host-7.example.org");
	CLEAN(ca_issued_deinit) struct ca_issued issued;
	struct ca_request r = request_of(csr);
	struct cert_info info;

	(void)state;
	r.ips = &ips;
	r.dns = &dns;
	assert_int_equal(ca_issue(root, &issued, &r, NULL), ERR_OK);
	assert_null(issued.private_key);
	assert_string_equal(issued.chain, record.certificate);
	assert_int_equal(cert_info_parse(&info, issued.certificate, NULL), ERR_OK);
	assert_int_equal(info.role, CERT_ROLE_AGENT);
	assert_string_equal(info.id, "guid-7");
	assert_string_equal(info.common_name, "host-7");
	assert_string_equal(info.serial, "51000000000000000000000000000000");
	assert_int_equal(info.not_before_s, WALL_S - 12 * 3600);
	assert_int_equal(info.not_after_s, WALL_S + 365 * DAY_S);
	assert_true(str_list_equal(&info.ips, &ips) && str_list_equal(&info.dns, &dns));
	assert_true(info.eku_client && !info.eku_server);
	cert_info_deinit(&info);
	assert_int_equal(cert_verify(issued.certificate, issued.chain, WALL_S, NULL), ERR_OK);

	put_file(dir, "crt", issued.certificate);
	put_file(dir, "ca", issued.chain);
	assert_true(openssl(dir, "verify -x509_strict -purpose sslclient -attime 1750000000 -CAfile ca crt"));
	assert_false(openssl(dir, "verify -purpose sslserver -attime 1750000000 -CAfile ca crt"));
}

static void without_a_request_the_key_comes_with_it(void **state)
{
	CLEAN(ca_issued_deinit) struct ca_issued issued;
	struct ca_request r = request_of(NULL);

	(void)state;
	r.role = CERT_ROLE_SERVER;
	assert_int_equal(ca_issue(root, &issued, &r, NULL), ERR_OK);
	assert_non_null(issued.private_key);
	assert_int_equal(key_matches_cert(issued.private_key, issued.certificate, NULL), ERR_OK);
}

/* A CloudStack agent: an RSA request of keytool, no role, the addresses as the caller knows them. */
static void a_cloudstack_agent_gets_one(void **state)
{
	CLEAN(text_freep) char *csr = golden("keytool.csr");
	CLEAN(str_list_deinit) struct str_list ips = LIST_OF("10.1.1.21");
	CLEAN(ca_issued_deinit) struct ca_issued issued;
	struct ca_request r = request_of(csr);
	struct cert_info info;

	(void)state;
	r.role = CERT_ROLE_NONE;
	r.id = NULL;
	r.ips = &ips;
	assert_int_equal(ca_issue(root, &issued, &r, NULL), ERR_OK);
	assert_int_equal(cert_info_parse(&info, issued.certificate, NULL), ERR_OK);
	assert_true(info.is_rsa && !info.has_eku && info.role == CERT_ROLE_NONE);
	assert_true(str_list_equal(&info.ips, &ips)); /* and not those of the request */
	cert_info_deinit(&info);
	assert_int_equal(cert_verify(issued.certificate, issued.chain, WALL_S, NULL), ERR_OK);
}

static void no_certificate_outlives_its_ca(void **state)
{
	CLEAN(ca_issued_deinit) struct ca_issued issued;
	struct ca_request r = request_of(NULL);
	struct why why = WHY_NONE;
	struct cert_info info;

	(void)state;
	r.wall_s = WALL_S + (30 * 365 - 1) * DAY_S;
	assert_int_equal(ca_issue(root, &issued, &r, NULL), ERR_OK);
	assert_int_equal(cert_info_parse(&info, issued.certificate, NULL), ERR_OK);
	assert_int_equal(info.not_after_s, WALL_S + 30 * 365 * DAY_S);
	cert_info_deinit(&info);
	ca_issued_deinit(&issued);

	r.wall_s += DAY_S;
	assert_int_equal(ca_issue(root, &issued, &r, &why), ERR_EXPIRED);
	assert_non_null(strstr(why.text, "CA certificate is expired"));
}

static void long_names_become_the_first_label(void **state)
{
	CLEAN(ca_issued_deinit) struct ca_issued issued;
	struct ca_request r = request_of(NULL);
	struct cert_info info;

	(void)state;
	r.common_name = "host-7.a-long-domain-name-as-clouds-like-them.eu-central-1.compute.internal.example.org";
	assert_int_equal(ca_issue(root, &issued, &r, NULL), ERR_OK);
	assert_int_equal(cert_info_parse(&info, issued.certificate, NULL), ERR_OK);
	assert_string_equal(info.common_name, "host-7");
	cert_info_deinit(&info);
}

static void hostile_or_wrong_requests(void **state)
{
	static const struct {
		const char *what;
		const char *file; /* the request; NULL: one of ours for `csr_role` and `csr_id` */
		enum cert_role csr_role;
		const char *csr_id;
		enum cert_role role;
		const char *id, *name;
		int64_t validity_s;
		bool no_serial;
		enum err e;
		const char *why;
	} rows[] = {
		{"the guid of another host", NULL, CERT_ROLE_AGENT, "guid-8", CERT_ROLE_AGENT, "guid-7", "h", 1, false,
		 ERR_REFUSED, "is for agent guid-8, not for guid-7"},
		{"a server's identity for a host", NULL, CERT_ROLE_SERVER, "guid-7", CERT_ROLE_AGENT, "guid-7", "h", 1,
		 false, ERR_REFUSED, "is for server guid-7"},
		{"an identity where none is given out", NULL, CERT_ROLE_AGENT, "guid-7", CERT_ROLE_NONE, NULL, "h", 1,
		 false, ERR_REFUSED, "is for agent guid-7, not for h"},
		{"a request that names nobody is for whom it is granted", NULL, CERT_ROLE_NONE, NULL, CERT_ROLE_AGENT,
		 "guid-7", "h", 1, false, ERR_OK, NULL},
		{"a CA certificate", "csr_wants_ca.pem", 0, NULL, CERT_ROLE_AGENT, "guid-7", "h", 1, false, ERR_REFUSED,
		 "asks for a CA certificate"},
		{"the right to sign", "csr_wants_to_sign.pem", 0, NULL, CERT_ROLE_AGENT, "guid-7", "h", 1, false,
		 ERR_REFUSED, "asks for a CA certificate"},
		{"a wrong signature", "csr_wrong_signature.pem", 0, NULL, CERT_ROLE_AGENT, "guid-7", "h", 1, false,
		 ERR_UNTRUSTED, "not signed by its own key"},
		{"a newline in the name", "csr_newline.pem", 0, NULL, CERT_ROLE_AGENT, "guid-7", "h", 1, false,
		 ERR_INVALID, "control characters"},
		{"a short key", "csr_rsa_1024.pem", 0, NULL, CERT_ROLE_AGENT, "guid-7", "h", 1, false, ERR_INVALID,
		 "1024 bits"},
		{"no request at all", "rsa.key", 0, NULL, CERT_ROLE_AGENT, "guid-7", "h", 1, false, ERR_MALFORMED,
		 "certificate request"},
		{"a bad id", NULL, CERT_ROLE_NONE, NULL, CERT_ROLE_AGENT, "../x", "h", 1, false, ERR_INVALID,
		 "not an id"},
		{"no id", NULL, CERT_ROLE_NONE, NULL, CERT_ROLE_AGENT, NULL, "h", 1, false, ERR_INVALID, "not an id"},
		{"an id without role", NULL, CERT_ROLE_NONE, NULL, CERT_ROLE_NONE, "x", "h", 1, false, ERR_INVALID,
		 "without a role"},
		{"no name", NULL, CERT_ROLE_NONE, NULL, CERT_ROLE_AGENT, "guid-7", NULL, 1, false, ERR_INVALID,
		 "common name"},
		{"a name with a newline", NULL, CERT_ROLE_NONE, NULL, CERT_ROLE_AGENT, "guid-7", "a\nb", 1, false,
		 ERR_INVALID, "common name"},
		{"no time", NULL, CERT_ROLE_NONE, NULL, CERT_ROLE_AGENT, "guid-7", "h", 0, false, ERR_INVALID,
		 "validity"},
		{"for ever", NULL, CERT_ROLE_NONE, NULL, CERT_ROLE_AGENT, "guid-7", "h", INT64_MAX, false, ERR_INVALID,
		 "validity"},
		{"a serial number nobody filled in", NULL, CERT_ROLE_NONE, NULL, CERT_ROLE_AGENT, "guid-7", "h", 1,
		 true, ERR_INVALID, "serial number"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(text_freep)
		char *csr = rows[i].file ? golden(rows[i].file) : agent_csr(rows[i].csr_role, rows[i].csr_id);
		struct ca_request r = {
			.csr_pem = csr,
			.common_name = rows[i].name,
			.role = rows[i].role,
			.id = rows[i].id,
			.validity_s = rows[i].validity_s,
			.wall_s = WALL_S,
			.serial = {!rows[i].no_serial},
		};
		struct ca_issued issued;
		struct why why = WHY_NONE;
		enum err e = ca_issue(root, &issued, &r, &why);

		if (e != rows[i].e || (rows[i].why && !strstr(why.text, rows[i].why)))
			fail_msg("%s: %s: %s", rows[i].what, err_name(e), why.text);
		check_row(&rows[i], !issued.certificate == (e != ERR_OK) && !issued.private_key);
		ca_issued_deinit(&issued);
	}
}

static void without_the_key_nothing_is_issued(void **state)
{
	struct ca_request r = request_of(NULL);
	struct ca_provider *p = NULL;
	struct ca_issued issued;
	struct why why = WHY_NONE;

	(void)state;
	assert_int_equal(ca_root_open(&p, &record, NULL, NULL), ERR_OK);
	assert_int_equal(ca_issue(p, &issued, &r, &why), ERR_STATE);
	assert_non_null(strstr(why.text, "cluster key"));
	assert_null(issued.certificate);
	p = ca_provider_free(p);
	assert_null(p);
}

static char *test_folder(void)
{
	const char *base = getenv("TMPDIR");
	char *dir = path_join(base ? base : "/tmp", "muster-ca-XXXXXX");

	assert_non_null(mkdtemp(dir));
	return dir;
}

static void the_cluster_key_file(void **state)
{
	CLEAN(folder_freep) char *dir = test_folder();
	CLEAN(mem_freep) char *path = path_join(dir, "cluster.key");
	uint8_t random[32] = {5, 6, 7}, key[CLUSTER_KEY_SIZE] = {0};
	struct why why = WHY_NONE;
	struct stat st;

	(void)state;
	assert_int_equal(cluster_key_read(key, &fs_posix, path, &why), ERR_NOT_FOUND);
	assert_int_equal(cluster_key_create(key, &fs_posix, path, random, NULL), ERR_OK);
	assert_memory_equal(key, random, sizeof(key));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 44); /* one line */
	memset(key, 0, sizeof(key));
	assert_int_equal(cluster_key_read(key, &fs_posix, path, NULL), ERR_OK);
	assert_memory_equal(key, random, sizeof(key));

	/* A second one would make the first CA useless. */
	random[0] = 99;
	assert_int_equal(cluster_key_create(key, &fs_posix, path, random, &why), ERR_EXISTS);
	assert_int_equal(cluster_key_read(key, &fs_posix, path, NULL), ERR_OK);
	assert_int_equal(key[0], 5);
}

static void cluster_key_files_that_are_none(void **state)
{
	static const struct {
		const char *what, *text;
		size_t n; /* 0: strlen */
		enum err e;
	} rows[] = {
		{"43 characters and a newline", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", 0, ERR_OK},
		{"without the newline", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 0, ERR_OK},
		{"as editors on Windows leave it", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n", 0, ERR_OK},
		{"empty", "", 0, ERR_MALFORMED},
		{"too short", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 0, ERR_MALFORMED},
		{"too long", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 0, ERR_MALFORMED},
		{"not base64", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA!", 0, ERR_MALFORMED},
		{"two lines", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nAAAA\n", 0, ERR_MALFORMED},
		{"something behind a NUL", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\0x", 45, ERR_MALFORMED},
	};
	CLEAN(folder_freep) char *dir = test_folder();
	CLEAN(mem_freep) char *path = path_join(dir, "cluster.key");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		size_t n = rows[i].n ? rows[i].n : strlen(rows[i].text);
		uint8_t key[CLUSTER_KEY_SIZE];
		struct why why = WHY_NONE;

		assert_int_equal(file_replace(&fs_posix, path, 0600, rows[i].text, n, NULL), ERR_OK);
		check_row(&rows[i], cluster_key_read(key, &fs_posix, path, &why) == rows[i].e);
		/* The sentence never shows what is in there. */
		check_row(&rows[i], !strstr(why.text, "AAA"));
	}
}

static enum err make_open_issue_once(void *csr)
{
	struct ca_request r = request_of(csr);
	struct ca_root_record made = {0};
	struct ca_provider *p = NULL;
	struct ca_issued issued = {0};
	enum err e = ca_root_create(&made, "ca", cluster_key, entropy, WALL_S, NULL);

	if (!e)
		e = ca_root_open(&p, &made, cluster_key, NULL);
	if (!e)
		e = ca_issue(p, &issued, &r, NULL);
	ca_issued_deinit(&issued);
	ca_provider_free(p);
	ca_root_record_deinit(&made);
	return e;
}

static enum err read_key_once(void *path)
{
	uint8_t key[CLUSTER_KEY_SIZE];

	return cluster_key_read(key, &fs_posix, path, NULL);
}

static void memory_may_run_out(void **state)
{
	CLEAN(text_freep) char *csr = agent_csr(CERT_ROLE_AGENT, "guid-7");
	CLEAN(folder_freep) char *dir = test_folder();
	CLEAN(mem_freep) char *path = path_join(dir, "cluster.key");
	uint8_t random[32] = {1}, key[CLUSTER_KEY_SIZE];

	(void)state;
	assert_true(failing_alloc_each(make_open_issue_once, csr) > 5);
	assert_int_equal(cluster_key_create(key, &fs_posix, path, random, NULL), ERR_OK);
	assert_true(failing_alloc_each(read_key_once, path) > 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_root_is_made_as_it_should),
		cmocka_unit_test(opening),
		cmocka_unit_test(a_certificate_is_issued),
		cmocka_unit_test(without_a_request_the_key_comes_with_it),
		cmocka_unit_test(a_cloudstack_agent_gets_one),
		cmocka_unit_test(no_certificate_outlives_its_ca),
		cmocka_unit_test(long_names_become_the_first_label),
		cmocka_unit_test(hostile_or_wrong_requests),
		cmocka_unit_test(without_the_key_nothing_is_issued),
		cmocka_unit_test(the_cluster_key_file),
		cmocka_unit_test(cluster_key_files_that_are_none),
		cmocka_unit_test(memory_may_run_out),
	};

	return cmocka_run_group_tests(tests, root_make, root_unmake);
}
