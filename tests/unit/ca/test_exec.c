#include "ca/exec.h"

#include "../pki/pki_help.h"

#include <sys/stat.h>
#include <time.h>

static struct test_ca ca, other;
static char *key, *csr, *other_key;

static int make(void **state)
{
	struct csr_params p = {.common_name = "host-7"};

	(void)state;
	test_ca_make(&ca, "issuing", WALL_S - DAY_S, WALL_S + 3650 * DAY_S);
	test_ca_make(&other, "other", WALL_S - DAY_S, WALL_S + 3650 * DAY_S);
	if (key_new(&key, KEY_EC_P256, NULL) || key_new(&other_key, KEY_EC_P256, NULL))
		return -1;
	p.key_pem = key;
	return csr_new(&csr, &p, NULL) ? -1 : 0;
}

static int unmake(void **state)
{
	(void)state;
	test_ca_deinit(&ca);
	test_ca_deinit(&other);
	key = key_free(key);
	other_key = key_free(other_key);
	csr = mem_free(csr);
	return 0;
}

/* An agent host-7 with guid-7, 10.0.0.7 and host-7.example.org, for 30 days; each row changes one thing. */
static void answers(void **state)
{
	CLEAN(str_list_deinit) struct str_list ips = LIST_OF("10.0.0.7"), more_ips = LIST_OF("10.0.0.7", "10.0.0.8");
	CLEAN(str_list_deinit) struct str_list dns = LIST_OF("host-7.example.org");
	CLEAN(str_list_deinit) struct str_list cn_too = LIST_OF("host-7.example.org", "host-7");
	struct str_list none = {0};
	const struct {
		const char *what;
		enum cert_role asked, role;
		const char *id;
		const struct str_list *ips, *dns;
		int64_t from_days, to_days;
		bool other_key, other_ca, is_ca;
		enum err e;
		const char *why;
	} rows[] = {
#define A CERT_ROLE_AGENT
#define S CERT_ROLE_SERVER
#define N CERT_ROLE_NONE
		{"as asked", A, A, "guid-7", &ips, &dns, 0, 30, false, false, false, ERR_OK, NULL},
		{"a server, as asked", S, S, "guid-7", &ips, &dns, 0, 30, false, false, false, ERR_OK, NULL},
		{"one of CloudStack's kind, as asked", N, N, NULL, &ips, &dns, 0, 30, false, false, false, ERR_OK,
		 NULL},
		{"the common name among the names", A, A, "guid-7", &ips, &cn_too, 0, 30, false, false, false, ERR_OK,
		 NULL},
		{"a shorter life is the CA's to decide", A, A, "guid-7", &ips, &dns, 0, 7, false, false, false, ERR_OK,
		 NULL},
		{"another key", A, A, "guid-7", &ips, &dns, 0, 30, true, false, false, ERR_REFUSED, "another key"},
		{"another CA", A, A, "guid-7", &ips, &dns, 0, 30, false, true, false, ERR_UNTRUSTED, "not trusted"},
		{"another guid", A, A, "guid-8", &ips, &dns, 0, 30, false, false, false, ERR_REFUSED,
		 "for agent guid-8, which was not asked for"},
		{"no guid", A, N, NULL, &ips, &dns, 0, 30, false, false, false, ERR_REFUSED,
		 "lacks the name URI:muster:agent:guid-7"},
		{"a server's, for an agent", A, S, "guid-7", &ips, &dns, 0, 30, false, false, false, ERR_REFUSED,
		 "for server guid-7"},
		{"an agent's, for a server", S, A, "guid-7", &ips, &dns, 0, 30, false, false, false, ERR_REFUSED,
		 "for agent guid-7"},
		{"a guid that nobody asked for", N, A, "guid-7", &ips, &dns, 0, 30, false, false, false, ERR_REFUSED,
		 "not asked for"},
		{"a CA's, for one of CloudStack's kind", N, N, NULL, &ips, &dns, 0, 30, false, false, true, ERR_REFUSED,
		 "is a CA's"},
		{"an address is missing", A, A, "guid-7", &none, &dns, 0, 30, false, false, false, ERR_REFUSED,
		 "lacks 10.0.0.7"},
		{"a name is missing", A, A, "guid-7", &ips, &none, 0, 30, false, false, false, ERR_REFUSED,
		 "lacks host-7.example.org"},
		{"an address more", A, A, "guid-7", &more_ips, &dns, 0, 30, false, false, false, ERR_REFUSED,
		 "names 10.0.0.8, which was not asked for"},
		{"it lives too long", A, A, "guid-7", &ips, &dns, 0, 365, false, false, false, ERR_REFUSED,
		 "valid for 365 days, 30 were asked for"},
		{"it is expired", A, A, "guid-7", &ips, &dns, -1, 0, false, false, false, ERR_REFUSED,
		 "less than an hour"},
		{"it is not valid yet", A, A, "guid-7", &ips, &dns, 2, 30, false, false, false, ERR_UNTRUSTED,
		 "not valid yet"},
#undef A
#undef S
#undef N
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct test_ca *by = rows[i].other_ca ? &other : &ca;
		struct cert_params p = {
			.ca_cert_pem = by->cert,
			.ca_key_pem = by->key,
			.key_pem = rows[i].other_key ? other_key : key,
			.common_name = "host-7",
			.role = rows[i].role,
			.id = rows[i].id,
			.ips = rows[i].ips,
			.dns = rows[i].dns,
			.is_ca = rows[i].is_ca,
			.not_before_s = WALL_S + rows[i].from_days * DAY_S - 60,
			.not_after_s = WALL_S + rows[i].to_days * DAY_S,
			.serial = {7},
		};
		struct ca_request r = {
			.common_name = "host-7",
			.role = rows[i].asked,
			.id = rows[i].asked ? "guid-7" : NULL,
			.ips = &ips,
			.dns = &dns,
			.validity_s = 30 * DAY_S,
			.wall_s = WALL_S,
		};
		CLEAN(mem_freep) char *answer = NULL, *got = NULL;
		struct why why = WHY_NONE;
		enum err e;

		if (cert_new(&answer, &p, &why))
			fail_msg("%s: %s", rows[i].what, why.text);
		e = ca_exec_check(&got, answer, csr, &r, ca.cert, &why);
		if (e != rows[i].e || (rows[i].why && !strstr(why.text, rows[i].why)))
			fail_msg("%s: %s: %s", rows[i].what, err_name(e), why.text);
		check_row(&rows[i], !got == (e != ERR_OK));
	}
}

/* ---- the whole provider, with the example in docs/examples ---- */

static bool make_cas(const char *dir)
{
	return openssl(dir,
		       "req -x509 -newkey rsa:2048 -nodes -keyout root.key -out chain.crt -days 900 -subj /CN=root "
		       "-addext keyUsage=keyCertSign,cRLSign") &&
	       openssl(dir, "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.csr "
			    "-subj /CN=issuing -addext basicConstraints=critical,CA:TRUE,pathlen:0 "
			    "-addext keyUsage=keyCertSign,cRLSign") &&
	       openssl(dir, "x509 -req -in ca.csr -CA chain.crt -CAkey root.key -set_serial 2 -days 800 "
			    "-copy_extensions copy -out ca.crt");
}

static char *file_text(const char *dir, const char *name)
{
	CLEAN(buf_deinit) struct buf b = {0};
	CLEAN(mem_freep) char *path = path_join(dir, name);

	assert_int_equal(file_read(&fs_posix, path, 1u << 20, &b, NULL), ERR_OK);
	return buf_take_str(&b);
}

static struct ca_provider *open_with(const char *command, const char *trusted)
{
	struct ca_exec_params p = {.command = command, .trusted_pem = trusted, .limit_ms = 60000};
	struct ca_provider *provider = NULL;
	struct why why = WHY_NONE;

	if (ca_exec_open(&provider, &p, &why))
		fail_msg("%s", why.text);
	return provider;
}

static void the_example_issues(void **state)
{
	static const struct {
		const char *what, *trusted;
		enum cert_role role;
		bool with_csr;
	} rows[] = {
		{"an agent, the root is known", "chain.crt", CERT_ROLE_AGENT, true},
		{"a server, the root is known", "chain.crt", CERT_ROLE_SERVER, true},
		{"a server, only the intermediate is known", "ca.crt", CERT_ROLE_SERVER, true},
		{"one of CloudStack's kind", "chain.crt", CERT_ROLE_NONE, true},
		{"the key is made here", "chain.crt", CERT_ROLE_AGENT, false},
	};
	CLEAN(folder_freep) char *dir = openssl_folder();
	CLEAN(mem_freep) char *command = mem_printf(EXAMPLE " %s", dir);
	CLEAN(str_list_deinit) struct str_list ips = LIST_OF("10.0.0.7", "fd00:0::7"), dns = LIST_OF("h.example.org");

	(void)state;
	assert_true(make_cas(dir));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(mem_freep) char *trusted = file_text(dir, rows[i].trusted);
		CLEAN(ca_issued_deinit) struct ca_issued issued = {0};
		struct ca_provider *p = open_with(command, trusted);
		struct ca_request r = {
			.csr_pem = rows[i].with_csr ? csr : NULL,
			.common_name = "host-7",
			.role = rows[i].role,
			.id = rows[i].role ? "guid-7" : NULL,
			.ips = &ips,
			.dns = &dns,
			.validity_s = 30 * DAY_S,
			.wall_s = time(NULL),
			.serial = {1},
		};
		struct why why = WHY_NONE;
		struct cert_info c;

		check_row(&rows[i], p->ops->can_issue(p));
		if (ca_issue(p, &issued, &r, &why))
			fail_msg("%s: %s", rows[i].what, why.text);
		check_row(&rows[i], cert_verify(issued.certificate, issued.chain, r.wall_s, &why) == ERR_OK);
		check_row(&rows[i], !issued.private_key == rows[i].with_csr);
		if (issued.private_key)
			check_row(&rows[i], key_matches_cert(issued.private_key, issued.certificate, NULL) == ERR_OK);
		assert_int_equal(cert_info_parse(&c, trusted, NULL), ERR_OK);
		check_row(&rows[i], str_equal(c.fingerprint, p->ops->fingerprint(p)));
		cert_info_deinit(&c);
		ca_provider_free(p);
	}
}

/* Valid from the second on in which it is made, by a command that takes its time. */
static void a_slow_command(void **state)
{
	CLEAN(folder_freep) char *dir = openssl_folder();
	CLEAN(mem_freep) char *file = path_join(dir, "x"), *trusted = NULL;
	CLEAN(ca_issued_deinit) struct ca_issued issued = {0};
	struct ca_request r = {.csr_pem = csr,
			       .common_name = "h",
			       .role = CERT_ROLE_AGENT,
			       .id = "guid-7",
			       .validity_s = DAY_S,
			       .serial = {1}};
	struct ca_provider *p;
	struct why why = WHY_NONE;

	(void)state;
	assert_true(make_cas(dir));
	r.wall_s = time(NULL); /* not before the CA is there, which takes a while */
	trusted = file_text(dir, "chain.crt");
	put_file(
		dir, "x",
		"#!/bin/sh\nset -e\ncd ${0%/*}\ncat >csr\nsleep 2\n"
		"printf 'keyUsage=digitalSignature\\nextendedKeyUsage=%s\\nsubjectAltName=%s\\n' $MUSTER_EKU $MUSTER_SAN >ext\n"
		"openssl x509 -req -in csr -CA ca.crt -CAkey ca.key -set_serial 9 -days 1 -extfile ext\ncat ca.crt\n");
	assert_int_equal(chmod(file, 0700), 0);
	p = open_with(file, trusted);
	if (ca_issue(p, &issued, &r, &why))
		fail_msg("%s", why.text);
	ca_provider_free(p);
}

static void bad_commands(void **state)
{
	static const struct {
		const char *what, *script, *common_name;
		enum err e;
		const char *why;
	} rows[] = {
		{"garbage", "echo hello", "h", ERR_MALFORMED, "external CA"},
		{"nothing", "true", "h", ERR_MALFORMED, "external CA"},
		{"a NUL", "printf 'a\\0b'", "h", ERR_MALFORMED, "no text"},
		{"the CA's own certificate", "cat ${0%/*}/chain.crt", "h", ERR_REFUSED, "another key"},
		{"it says no", "echo not today >&2; exit 4", "h", ERR_REFUSED, "exit code 4: not today"},
		{"a name that would end a subject never reaches it", "true", "h/CN=x", ERR_INVALID, "common name"},
		{"a name that would be an option", "true", "-h", ERR_INVALID, "common name"},
	};
	CLEAN(folder_freep) char *dir = openssl_folder();
	CLEAN(mem_freep) char *file = path_join(dir, "x");
	CLEAN(mem_freep) char *trusted = NULL;

	(void)state;
	assert_true(make_cas(dir));
	trusted = file_text(dir, "chain.crt");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(mem_freep) char *script = mem_printf("#!/bin/sh\n%s\n", rows[i].script);
		struct ca_request r = {.csr_pem = csr,
				       .common_name = rows[i].common_name,
				       .role = CERT_ROLE_AGENT,
				       .id = "guid-7",
				       .validity_s = DAY_S,
				       .wall_s = time(NULL),
				       .serial = {1}};
		struct ca_issued issued;
		struct ca_provider *p;
		struct why why = WHY_NONE;
		enum err e;

		put_file(dir, "x", script);
		assert_int_equal(chmod(file, 0700), 0);
		p = open_with(file, trusted);
		e = ca_issue(p, &issued, &r, &why);
		if (e != rows[i].e || !strstr(why.text, rows[i].why))
			fail_msg("%s: %s: %s", rows[i].what, err_name(e), why.text);
		check_row(&rows[i], !issued.certificate && !issued.private_key && !issued.chain);
		ca_provider_free(p);
	}
}

static void opening(void **state)
{
	CLEAN(mem_freep) char *leaf = NULL;
	struct cert_params p = {.ca_cert_pem = ca.cert,
				.ca_key_pem = ca.key,
				.key_pem = key,
				.common_name = "x",
				.not_before_s = WALL_S,
				.not_after_s = WALL_S + 1,
				.serial = {3}};
	struct ca_exec_params params = {.limit_ms = 1000};
	struct ca_provider *provider = NULL;
	struct ca_issued issued;
	struct ca_request r = {0};
	struct why why = WHY_NONE;

	(void)state;
	assert_int_equal(cert_new(&leaf, &p, NULL), ERR_OK);
	const struct {
		const char *what, *command, *trusted, *why;
	} rows[] = {
		{"no CA certificates", "/bin/true", NULL, "ca.plugin.exec.ca.file is not set"},
		{"CA certificates that are none", "/bin/true", "x", "ca.plugin.exec.ca.file"},
		{"a leaf among them", "/bin/true", leaf, "not the certificate of a CA"},
		{"a command without a path", "true", ca.cert, "ca.plugin.exec.command: true: the path"},
		{"a command that isn't there", "/nowhere/x", ca.cert, "ca.plugin.exec.command: /nowhere/x"},
		{"an open quote", "\"/bin/true", ca.cert, "not closed"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		params.command = rows[i].command;
		params.trusted_pem = rows[i].trusted;
		check_row(&rows[i], ca_exec_open(&provider, &params, &why) != ERR_OK && !provider);
		if (!strstr(why.text, rows[i].why))
			fail_msg("%s: %s", rows[i].what, why.text);
	}
	/* Without a command it verifies, and says what to do when it is asked to sign. */
	params.command = NULL;
	params.trusted_pem = ca.cert;
	assert_int_equal(ca_exec_open(&provider, &params, &why), ERR_OK);
	assert_false(provider->ops->can_issue(provider));
	assert_string_equal(provider->ops->chain(provider), ca.cert);
	assert_int_equal(ca_issue(provider, &issued, &r, &why), ERR_STATE);
	assert_non_null(strstr(why.text, "ca.plugin.exec.command"));
	ca_provider_free(provider);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),        cmocka_unit_test(the_example_issues),
		cmocka_unit_test(a_slow_command), cmocka_unit_test(bad_commands),
		cmocka_unit_test(opening),
	};

	return cmocka_run_group_tests(tests, make, unmake);
}
