/*
 * issueCertificate, revokeCertificate, listCertificates over a whole server.
 */
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "check.h"

#define JOB "queryasyncjobresultresponse/"

static bool job_is_done(struct bench *b, void *arg)
{
	char query[128];
	const char *status;

	snprintf(query, sizeof(query), "command=queryAsyncJobResult&jobid=%s", (const char *)arg);
	assert_int_equal(bench_ask(b, query), 200);
	status = bench_at(b, JOB "jobstatus");
	return !str_equal(status, "0");
}

/* Begins a job and waits for its end; the last answer is then what it came to. */
static void job(struct bench *b, const char *query, const char *response)
{
	char path[64], id[UUID_TEXT];

	assert_int_equal(bench_ask(b, query), 200);
	snprintf(path, sizeof(path), "%s/jobid", response);
	str_copy(id, sizeof(id), bench_at(b, path));
	bench_until(b, job_is_done, id);
}

static void issue(struct bench *b, const char *query)
{
	job(b, query, "issuecertificateresponse");
}

static void revoke_it(struct bench *b, const char *query)
{
	job(b, query, "revokecertificateresponse");
}

/* %XX where a query needs it. */
static char *encode(const char *text)
{
	struct buf b = {0};

	for (; *text; text++)
		assert_int_equal(buf_printf(&b, "%%%02X", (unsigned char)*text), ERR_OK);
	return buf_take_str(&b);
}

static char *request_for(const struct csr_params *p)
{
	struct csr_params mine = *p;
	char *key = NULL, *csr = NULL, *text;

	assert_int_equal(key_new(&key, KEY_EC_P256, NULL), ERR_OK);
	mine.key_pem = key;
	assert_int_equal(csr_new(&csr, &mine, NULL), ERR_OK);
	text = encode(csr);
	key_free(key);
	mem_free(csr);
	return text;
}

struct names {
	struct str_list dns, ips;
};

static struct names names_of(const char *dns, const char *ip)
{
	struct names n = {0};

	assert_int_equal(str_list_split(&n.dns, dns, ','), ERR_OK);
	assert_int_equal(str_list_add(&n.ips, ip), ERR_OK);
	return n;
}

static void a_key_pair_is_made_for_names(void **state)
{
	struct bench *b = *state;
	struct cert_info c;
	struct why why = WHY_NONE;
	const char *pem, *key;

	issue(b, "command=issueCertificate&domain=a.example,%20b.example,a.example&ipaddress=10.0.0.9&duration=30");
	assert_string_equal(bench_at(b, JOB "jobstatus"), "1");
	assert_null(bench_at(b, JOB "jobinstanceid"));
	pem = bench_at(b, JOB "jobresult/certificates/certificate");
	assert_int_equal(cert_info_parse(&c, pem, &why), ERR_OK);
	assert_string_equal(c.common_name, "a.example");
	assert_int_equal(c.dns.n, 2);
	assert_string_equal(c.dns.items[1], "b.example");
	assert_string_equal(c.ips.items[0], "10.0.0.9");
	assert_int_equal(c.role, CERT_ROLE_NONE);
	assert_false(c.has_eku);
	assert_false(c.is_ca);
	assert_true(c.is_rsa);
	assert_int_equal(c.key_bits, 2048);
	assert_int_equal((c.not_after_s - world_wall_ms(b->world) / 1000 + 3600) / 86400, 30);
	assert_int_equal(cert_verify(pem, bench_at(b, JOB "jobresult/certificates/cacertificates"),
				     world_wall_ms(b->world) / 1000, &why),
			 ERR_OK);
	key = bench_at(b, JOB "jobresult/certificates/privatekey");
	pem = bench_at(b, JOB "jobresult/certificates/certificate");
	assert_true(str_starts(key, "-----BEGIN PRIVATE KEY-----\n"));
	assert_int_equal(key_matches_cert(key, pem, &why), ERR_OK);
	assert_string_equal(bench_at(b, JOB "jobresult/certificates/musterserial"), c.serial);

	/* On record, and in the events without the key. */
	assert_int_equal(bench_ask(b, "command=listCertificates&keyword=a.EXAMPLE&pem=true"), 200);
	assert_string_equal(bench_at(b, "listcertificatesresponse/count"), "1");
	assert_string_equal(bench_at(b, "listcertificatesresponse/certificate/0/serial"), c.serial);
	assert_string_equal(bench_at(b, "listcertificatesresponse/certificate/0/role"), "other");
	assert_string_equal(bench_at(b, "listcertificatesresponse/certificate/0/state"), "valid");
	/* Whole days, so it depends on whether a second has passed. */
	assert_non_null(strstr("29 30", bench_at(b, "listcertificatesresponse/certificate/0/daysleft")));
	assert_non_null(strstr(b->text, "BEGIN CERTIFICATE"));
	assert_null(strstr(b->text, "PRIVATE"));
	assert_int_equal(bench_ask(b, "command=listEvents&type=CA.CERTIFICATE.ISSUE"), 200);
	assert_string_equal(bench_at(b, "listeventsresponse/count"), "1");
	assert_non_null(strstr(b->text, "a.example, with a new key"));
	cert_info_deinit(&c);
}

struct job_look {
	char uuid[UUID_TEXT];
	char *text;
};

static enum err read_job(struct store_tx *tx, void *arg)
{
	struct job_look *l = arg;
	struct job_row row = {0};
	enum err e = store_job_get(tx, l->uuid, &row);

	if (!e)
		l->text = mem_strdup(row.result);
	job_row_deinit(&row);
	return e;
}

static void the_key_is_not_to_be_read_in_the_store(void **state)
{
	struct bench *b = *state;
	struct job_look look = {0};
	char query[128];

	issue(b, "command=issueCertificate&domain=a.example");
	str_copy(look.uuid, sizeof(look.uuid), bench_at(b, JOB "jobid"));
	assert_non_null(bench_at(b, JOB "jobresult/certificates/privatekey"));
	bench_store(b, read_job, &look);
	assert_true(str_starts(look.text, "{\"sealed\":\""));
	assert_null(strstr(look.text, "BEGIN"));
	mem_free(look.text);

	/* Somebody else with all rights but another account is not shown it. */
	assert_int_equal(bench_ask(b, "command=createAccount&name=other"), 200);
	{
		char key[128], secret[128];

		str_copy(key, sizeof(key), bench_at(b, "createaccountresponse/account/apikey"));
		str_copy(secret, sizeof(secret), bench_at(b, "createaccountresponse/account/secretkey"));
		snprintf(query, sizeof(query), "command=queryAsyncJobResult&jobid=%s", look.uuid);
		assert_int_equal(bench_ask_signed(b, "10.9.9.9", key, secret, query), 530);
		assert_non_null(strstr(b->text, "only the account that asked for it"));
		assert_null(strstr(b->text, "PRIVATE KEY"));
	}
}

static void a_request_gets_names_and_nothing_else(void **state)
{
	struct bench *b = *state;
	struct names n = names_of("c.example,d.example", "10.0.0.7");
	struct csr_params p = {.common_name = "c.example", .dns = &n.dns, .ips = &n.ips};
	char *csr = request_for(&p), *query;
	struct cert_info c;

	query = mem_printf("command=issueCertificate&csr=%s&domain=d.example,e.example&ipaddress=10.0.0.8", csr);
	issue(b, query);
	assert_string_equal(bench_at(b, JOB "jobstatus"), "1");
	assert_null(bench_at(b, JOB "jobresult/certificates/privatekey"));
	assert_int_equal(cert_info_parse(&c, bench_at(b, JOB "jobresult/certificates/certificate"), NULL), ERR_OK);
	assert_string_equal(c.common_name, "c.example");
	assert_int_equal(c.dns.n, 3);
	assert_int_equal(c.ips.n, 2);
	assert_true(c.is_ec);
	cert_info_deinit(&c);
	mem_free(query);
	mem_free(csr);
	str_list_deinit(&n.dns);
	str_list_deinit(&n.ips);
}

#define LONG_256                                                                                                                           \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void what_is_not_issued(void **state)
{
	static const struct {
		const char *what, *query, *code, *says;
	} rows[] = {
		{"neither csr nor domain", "", "431", "Give a csr, or a domain"},
		{"blanks are none", "&csr=%20&domain=%20", "431", "Give a csr, or a domain"},
		{"an address alone", "&ipaddress=10.0.0.1", "431", "Give a csr, or a domain"},
		{"commas are no names", "&domain=,,", "431", "there is no name in it"},
		{"a wildcard", "&domain=*.example", "431",
		 "a name with a wildcard is not certified here: \"*.example\""},
		{"a wildcard behind a good name", "&domain=a,*.b", "431", "wildcard"},
		{"a newline", "&domain=a%0Ab", "431", "\"a?b\" is not a name"},
		{"a path", "&domain=..%2F..%2Fetc", "431", "is not a name"},
		{"a blank inside", "&domain=a%20b", "431", "is not a name"},
		{"a name of 256", "&domain=" LONG_256, "431", "is not a name"},
		{"not an address", "&domain=a&ipaddress=10.0.0.300", "431", "is not an IP address"},
		{"an address with a port", "&domain=a&ipaddress=10.0.0.1:80", "431", "is not an IP address"},
		{"no time at all", "&domain=a&duration=0", "431", "duration: 0 is not between 1 and 10950 days"},
		{"less than that", "&domain=a&duration=-1", "431", "duration: -1"},
		{"for ever", "&domain=a&duration=10951", "431", "duration: 10951"},
		{"not a request", "&csr=hello", "431", "certificate request"},
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(mem_freep) char *query = mem_printf("command=issueCertificate%s", rows[i].query);

		issue(b, query);
		check_row(&rows[i], str_equal(bench_at(b, JOB "jobstatus"), "2") &&
					    str_equal(bench_at(b, JOB "jobresultcode"), rows[i].code) &&
					    strstr(bench_at(b, JOB "jobresult/errortext"), rows[i].says));
	}
	assert_int_equal(bench_ask(b, "command=issueCertificate&domain=a&provider=vault"), 530);
	assert_int_equal(bench_ask(b, "command=issueCertificate&domain=a&duration=many"), 431);
	assert_int_equal(bench_ask(b, "command=listCertificates&role=other"), 200);
	assert_null(bench_at(b, "listcertificatesresponse/count"));
}

static void requests_that_want_more_are_refused(void **state)
{
	struct bench *b = *state;
	struct names n = names_of("*.example", "10.0.0.7");
	const struct {
		const char *what;
		struct csr_params p;
		const char *says;
	} rows[] = {
		{"to be an agent",
		 {.common_name = "x", .role = CERT_ROLE_AGENT, .id = "guid-7"},
		 "is for muster agent guid-7: those get their certificates by joining"},
		{"to be a server",
		 {.common_name = "x", .role = CERT_ROLE_SERVER, .id = "id-7"},
		 "is for muster server id-7"},
		{"a wildcard in its name", {.common_name = "*.example"}, "wildcard"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(mem_freep) char *csr = request_for(&rows[i].p);
		CLEAN(mem_freep) char *query = mem_printf("command=issueCertificate&csr=%s", csr);

		issue(b, query);
		check_row(&rows[i], str_equal(bench_at(b, JOB "jobresultcode"), "431") &&
					    strstr(bench_at(b, JOB "jobresult/errortext"), rows[i].says));
	}
	str_list_deinit(&n.dns);
	str_list_deinit(&n.ips);
}

/* ---- revoking ---- */

static enum err add_certs(struct store_tx *tx, void *arg)
{
	static const char *const serials[] = {"a0", "a1", "a2"};
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < ARRAY_SIZE(serials); i++) {
		struct cert_row row = {
			.serial = (char *)(uintptr_t)serials[i],
			.common_name = (char *)(uintptr_t) "kvm1",
			.role = (char *)(uintptr_t) "agent",
			.subject_id = arg,
			.not_after_s = 4000000000,
			.pem = (char *)(uintptr_t) "",
		};

		e = store_cert_add(tx, &row);
	}
	return e;
}

static bool is_revoked(struct bench *b, void *arg)
{
	return authority_is_revoked(b->server, arg);
}

static void serials_are_read_as_people_write_them(void **state)
{
	static const struct {
		const char *what, *serial, *means; /* NULL: refused */
	} rows[] = {
		{"as we show it", "abc123", "abc123"},
		{"capitals", "ABC123", "abc123"},
		{"leading zeros", "000abc123", "abc123"},
		{"0x", "0xABC123", "abc123"},
		{"as OpenSSL prints it", "0A:BC:12:3F", "abc123f"},
		{"zero", "00", "0"},
		{"40 digits", "ffffffffffffffffffffffffffffffffffffffff", "ffffffffffffffffffffffffffffffffffffffff"},
		{"leading zeros don't count", "0000ffffffffffffffffffffffffffffffffffffffff",
		 "ffffffffffffffffffffffffffffffffffffffff"},
		{"41 digits", "1ffffffffffffffffffffffffffffffffffffffff", NULL},
		{"not hex", "xyz", NULL},
		{"below zero", "-1", NULL},
		{"0x alone", "0x", NULL},
		{"colons alone", "::", NULL},
		{"nothing", "", NULL},
		{"a newline", "ab\ncd", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char out[SERIAL_TEXT];
		bool is = cert_serial_normal(out, rows[i].serial);

		check_row(&rows[i], is == (rows[i].means != NULL) && (!is || str_equal(out, rows[i].means)));
	}
}

static void revoking_is_recorded_and_in_force(void **state)
{
	struct bench *b = *state;
	char *guid;

	bench_host(b, "kvm1", 0, HOST_DISCONNECTED, NULL);
	guid = mem_strdup(roster_host(b->server, 1)->row.guid);
	bench_store(b, add_certs, guid);
	mem_free(guid);
	revoke_it(b, "command=revokeCertificate&serial=0A:1&reason=lost%20laptop%0Ax");
	assert_string_equal(bench_at(b, JOB "jobstatus"), "1");
	assert_string_equal(bench_at(b, JOB "jobresult/success"), "true");
	bench_until(b, is_revoked, (void *)(uintptr_t) "a1");

	assert_int_equal(bench_ask(b, "command=listCertificates&state=Revoked"), 200);
	assert_string_equal(bench_at(b, "listcertificatesresponse/count"), "1");
	assert_string_equal(bench_at(b, "listcertificatesresponse/certificate/0/serial"), "a1");
	assert_string_equal(bench_at(b, "listcertificatesresponse/certificate/0/hostname"), "kvm1");
	assert_string_equal(bench_at(b, "listcertificatesresponse/certificate/0/revokedby"), "local");
	assert_string_equal(bench_at(b, "listcertificatesresponse/certificate/0/reason"), "lost laptop?x");
	assert_non_null(bench_at(b, "listcertificatesresponse/certificate/0/revoked"));
	assert_int_equal(bench_ask(b, "command=listCertificates&hostid=kvm1&state=valid,superseded"), 200);
	assert_string_equal(bench_at(b, "listcertificatesresponse/count"), "2");

	/* Once more: true, and said. A serial that was never issued: as in the reference. */
	revoke_it(b, "command=revokeCertificate&serial=a1");
	assert_string_equal(bench_at(b, JOB "jobresult/displaytext"), "It was revoked before");
	revoke_it(b, "command=revokeCertificate&serial=FFFF&cn=who.knows");
	assert_string_equal(bench_at(b, JOB "jobstatus"), "1");
	assert_int_equal(bench_ask(b, "command=listCertificates&serial=ffff"), 200);
	assert_string_equal(bench_at(b, "listcertificatesresponse/certificate/0/cn"), "who.knows");
	assert_string_equal(bench_at(b, "listcertificatesresponse/certificate/0/state"), "revoked");

	assert_int_equal(bench_ask(b, "command=listEvents&type=CA.CERTIFICATE.REVOKE"), 200);
	assert_string_equal(bench_at(b, "listeventsresponse/count"), "2");
	assert_non_null(strstr(b->text, "local revoked certificate a1 of kvm1: lost laptop?x"));

	revoke_it(b, "command=revokeCertificate&serial=hello");
	assert_string_equal(bench_at(b, JOB "jobresultcode"), "530");
	assert_non_null(strstr(b->text, "is not a number in hex"));
	assert_int_equal(bench_ask(b, "command=revokeCertificate"), 431);
	assert_int_equal(bench_ask(b, "command=revokeCertificate&serial=a1&provider=vault"), 530);
}

static void the_servers_own_certificate_takes_force(void **state)
{
	struct bench *b = *state;
	struct cert_info c;
	char query[160];

	assert_int_equal(cert_info_parse(&c, b->server->own[OWN_CERT_EC].cert, NULL), ERR_OK);
	snprintf(query, sizeof(query), "command=listCertificates&serial=%s", c.serial);
	assert_int_equal(bench_ask(b, query), 200);
	assert_string_equal(bench_at(b, "listcertificatesresponse/certificate/0/role"), "server");
	assert_string_equal(bench_at(b, "listcertificatesresponse/certificate/0/state"), "inuse");
	assert_string_equal(bench_at(b, "listcertificatesresponse/certificate/0/managementservername"),
			    b->server->p.name);
	snprintf(query, sizeof(query), "command=revokeCertificate&serial=%s", c.serial);
	revoke_it(b, query);
	assert_string_equal(bench_at(b, JOB "jobresultcode"), "530");
	assert_non_null(strstr(b->text, "which is Up: the others would cut it off. forced=true does it all the same"));
	assert_false(authority_is_revoked(b->server, c.serial));
	snprintf(query, sizeof(query), "command=revokeCertificate&serial=%s&forced=true", c.serial);
	revoke_it(b, query);
	assert_string_equal(bench_at(b, JOB "jobstatus"), "1");
	bench_until(b, is_revoked, c.serial);
	cert_info_deinit(&c);
}

static void lists_are_asked_for_in_words(void **state)
{
	static const struct {
		const char *what, *query;
		int status;
		const char *says;
	} rows[] = {
		{"a state that is none", "&state=inuse,lost", 431, "\\\"lost\\\" is none of inuse, valid"},
		{"a role that is none", "&role=king", 431, "is none of agent, server, other"},
		{"not a serial", "&serial=hello", 431, "is not a number in hex"},
		{"too far away", "&expiresin=40000", 431, "is not between 0 and 36500"},
		{"in the past", "&expiresin=-1", 431, "is not between"},
		{"a host that is not there", "&hostid=nobody", 431, "hostid"},
		{"a server that is not there", "&managementserverid=nobody", 431, "managementserverid"},
		{"the server's own ends in ten years", "&role=server&expiresin=3000", 200,
		 "{\"listcertificatesresponse\":{}}"},
		{"and is within eleven", "&role=server&expiresin=4100", 200, "\"role\":\"server\""},
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(mem_freep) char *query = mem_printf("command=listCertificates%s", rows[i].query);
		int status = bench_ask(b, query);

		check_row(&rows[i], status == rows[i].status && strstr(b->text, rows[i].says));
	}
}

/* ---- the signed list ---- */

static bool has_list_of(struct bench *b, void *arg)
{
	struct server_crl crl;

	return server_crl(b->server, &crl) && crl.parts[0].entries == *(int64_t *)arg;
}

static bool file_is_there(struct bench *b, void *arg)
{
	CLEAN(mem_freep) char *path = path_join(b->dir, "crl.pem");
	struct buf text = {0};
	struct server_crl crl;
	bool is = server_crl(b->server, &crl) && file_read(&fs_posix, path, 1u << 20, &text, NULL) == ERR_OK &&
		  str_equal(buf_str(&text), crl.pem);

	buf_deinit(&text);
	return is;
}

static void the_signed_list_follows(void **state)
{
	struct bench *b = *state;
	int64_t none = 0, one = 1;
	struct server_crl crl;
	uint64_t number;

	bench_until(b, has_list_of, &none);
	server_crl(b->server, &crl);
	number = crl.parts[0].number;
	revoke_it(b, "command=revokeCertificate&serial=abc");
	bench_until(b, has_list_of, &one);
	bench_until(b, file_is_there, NULL);
	server_crl(b->server, &crl);
	assert_true(crl.parts[0].number > number);
	assert_int_equal(bench_ask(b, "command=getRevocationList"), 200);
	assert_string_equal(bench_at(b, "getrevocationlistresponse/revocationlist/entries"), "1");
	assert_string_equal(bench_at(b, "getrevocationlistresponse/revocationlist/crl"), crl.pem);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_up, bench_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_key_pair_is_made_for_names),          TEST(the_key_is_not_to_be_read_in_the_store),
		TEST(a_request_gets_names_and_nothing_else), TEST(what_is_not_issued),
		TEST(requests_that_want_more_are_refused),   cmocka_unit_test(serials_are_read_as_people_write_them),
		TEST(revoking_is_recorded_and_in_force),     TEST(the_servers_own_certificate_takes_force),
		TEST(lists_are_asked_for_in_words),          TEST(the_signed_list_follows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
