/*
 * muster cert and muster ca crl, against a server that answers from a table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "check.h"
#include "muster_run.h"

#define CERT(serial, owner, role, days, until, more)                                                                   \
	"{\"serial\":\"" serial "\",\"cn\":\"" owner "\",\"role\":\"" role "\",\"daysleft\":" days                     \
	",\"notbefore\":\"2026-01-01T00:00:00+0000\",\"notafter\":\"" until                                            \
	"\",\"issuedhere\":true,\"issuer\":\"00aa11bb\"," more "}"
#define H1                                                                                                             \
	CERT("4a00000000000000000000000000aa01", "kvm1", "agent", "180", "2026-07-01T00:00:00+0000",                   \
	     "\"hostname\":\"H1\",\"subject\":\"guid-1\",\"state\":\"inuse\",\"certificate\":\"PEM of H1\\n\"")
#define H2                                                                                                             \
	CERT("4a00000000000000000000000000aa02", "kvm2\\u001b[31m", "agent", "9", "2026-01-24T00:00:00+0000",          \
	     "\"state\":\"valid\"")
#define M1                                                                                                             \
	CERT("4a00000000000000000000000000aa03", "m1", "server", "6", "2026-01-21T00:00:00+0000",                      \
	     "\"managementservername\":\"M1\",\"state\":\"inuse\"")
#define OLD                                                                                                            \
	CERT("4a00000000000000000000000000aa04", "kvm1", "agent", "-3", "2026-01-12T00:00:00+0000",                    \
	     "\"hostname\":\"H1\",\"state\":\"expired\"")
#define LONG_OVER                                                                                                      \
	CERT("4a00000000000000000000000000aa05", "kvm1", "agent", "-31", "2025-12-15T00:00:00+0000",                   \
	     "\"hostname\":\"H5\",\"state\":\"expired\"")
/* What H6 has, and what it was given while somebody thought about it. */
#define H6_OLD                                                                                                         \
	CERT("4a00000000000000000000000000aa06", "kvm6", "agent", "9", "2026-01-24T00:00:00+0000",                     \
	     "\"hostname\":\"H6\",\"hostid\":\"u6\",\"state\":\"inuse\"")
#define H6_NEW                                                                                                         \
	CERT("4a00000000000000000000000000aa07", "kvm6", "agent", "99", "2026-04-24T00:00:00+0000",                    \
	     "\"hostname\":\"H6\",\"hostid\":\"u6\",\"state\":\"inuse\"")
#define GONE                                                                                                                          \
	"{\"serial\":\"abc\",\"state\":\"revoked\",\"revoked\":\"2026-01-15T08:00:02+0000\",\"revokedby\":\"ops\",\"reason\":\"lost " \
	"laptop\\u001b[31m\",\"issuedhere\":false}"
#define LIST(certs, n) "{\"listcertificatesresponse\":{\"count\":" n ",\"certificate\":[" certs "]}}"

static const struct fake_answer answers[] = {
	{"listConfigurations", NULL, 0,
	 "{\"listconfigurationsresponse\":{\"count\":1,\"configuration\":[{\"name\":\"ca.framework.cert.expiry.alert.period\",\"value\":\"15\"}]}}"},
	{"listCertificates", "keyword=nothing\n", 0, "{\"listcertificatesresponse\":{}}"},
	{"listCertificates", "serial=4A:00:00:00:00:00:00:00:00:00:00:00:00:00:AA:04\n", 0, LIST(OLD, "1")},
	{"listCertificates", "serial=00000000000000ab\n", 0, "{\"listcertificatesresponse\":{}}"},
	{"listCertificates", "serial=4a00000000000000000000000000aa03\n", 0, LIST(M1, "1")},
	{"listCertificates", "serial=00000abc\n", 0, LIST(GONE, "1")},
	{"listCertificates", "hostid=u1\n", 0, LIST(H1, "1")},
	{"listCertificates", "hostid=u5\nresponse=json\nstate=inuse,valid,superseded,expired\n", 0,
	 LIST(OLD "," LONG_OVER, "2")},
	{"listCertificates", "hostid=u6\nresponse=json\nstate=inuse,valid,superseded,expired\n", 0, LIST(H6_OLD, "1")},
	{"listCertificates", "hostid=u6\nresponse=json\nstate=inuse,valid,superseded\n", 0,
	 LIST(H6_OLD "," H6_NEW, "2")},
	{"listCertificates", "hostid=u9\n", 0, "{\"listcertificatesresponse\":{}}"},
	{"listCertificates", "state=inuse,valid\n", 0, LIST(H1 "," H2 "," M1, "3")},
	{"listCertificates", NULL, 0, LIST(H1 "," H2 "," M1 "," OLD "," GONE, "5")},
	{"getRevocationList", NULL, 0,
	 "{\"getrevocationlistresponse\":{\"revocationlist\":{\"crl\":\"CRL\\n\",\"entries\":1,\"number\":7,\"thisupdate\":\"2026-01-15T08:00:02+0000\",\"nextupdate\":\"2026-01-22T08:00:02+0000\"}}}"},
	{"revokeCertificate", "serial=4a00000000000000000000000000aa03\n", 0,
	 "{\"revokecertificateresponse\":{\"jobid\":\"j-server\"}}"},
	{"revokeCertificate", NULL, 0, "{\"revokecertificateresponse\":{\"jobid\":\"j-ok\"}}"},
	{"issueCertificate", "domain=bad name\n", 0, "{\"issuecertificateresponse\":{\"jobid\":\"j-bad\"}}"},
	{"issueCertificate", "csr=", 0, "{\"issuecertificateresponse\":{\"jobid\":\"j-csr\"}}"},
	{"issueCertificate", NULL, 0, "{\"issuecertificateresponse\":{\"jobid\":\"j-issued\"}}"},
	{"listHosts", "name=H1\n", 0,
	 "{\"listhostsresponse\":{\"count\":1,\"host\":[{\"id\":\"u1\",\"name\":\"H1\"}]}}"},
	{"listHosts", "name=H5\n", 0,
	 "{\"listhostsresponse\":{\"count\":1,\"host\":[{\"id\":\"u5\",\"name\":\"H5\"}]}}"},
	{"listHosts", "name=H6\n", 0,
	 "{\"listhostsresponse\":{\"count\":1,\"host\":[{\"id\":\"u6\",\"name\":\"H6\"}]}}"},
	{"listHosts", "name=H9\n", 0,
	 "{\"listhostsresponse\":{\"count\":1,\"host\":[{\"id\":\"u9\",\"name\":\"H9\"}]}}"},
	{"listHosts", "name=nobody\n", 0, "{\"listhostsresponse\":{}}"},
	{"listHosts", "state=Up\n", 0,
	 "{\"listhostsresponse\":{\"count\":2,\"host\":[{\"id\":\"u1\",\"name\":\"H1\"},{\"id\":\"u2\",\"name\":\"H2\"}]}}"},
	{"provisionCertificate", "hostid=H2\n", 0, "{\"provisioncertificateresponse\":{\"jobid\":\"j-cannot\"}}"},
	{"provisionCertificate", "hostid=nobody\n", 431,
	 "{\"provisioncertificateresponse\":{\"errorcode\":431,\"cserrorcode\":9999,\"errortext\":\"Parameter hostid: no host is called nobody, and no certificate has that serial\"}}"},
	{"provisionCertificate", NULL, 0, "{\"provisioncertificateresponse\":{\"jobid\":\"j-ok\"}}"},
#define JOB(result) "{\"queryasyncjobresultresponse\":{" result "}}"
	{"queryAsyncJobResult", "jobid=j-ok\n", 0,
	 JOB("\"jobstatus\":1,\"jobresultcode\":0,\"jobresult\":{\"success\":true}")},
	{"queryAsyncJobResult", "jobid=j-server\n", 0,
	 JOB("\"jobstatus\":2,\"jobresultcode\":530,\"jobresult\":{\"errorcode\":530,\"errortext\":\"Not revoked: certificate 4a00000000000000000000000000aa03 is management server M1's\"}")},
	{"queryAsyncJobResult", "jobid=j-bad\n", 0,
	 JOB("\"jobstatus\":2,\"jobresultcode\":431,\"jobresult\":{\"errorcode\":431,\"errortext\":\"No certificate: \\\"bad name\\\" is not a name for a certificate\"}")},
	{"queryAsyncJobResult", "jobid=j-cannot\n", 0,
	 JOB("\"jobstatus\":2,\"jobresultcode\":530,\"jobresult\":{\"errorcode\":530,\"errortext\":\"Host H2 has no new certificate: its agent is away\"}")},
	{"queryAsyncJobResult", "jobid=j-csr\n", 0,
	 JOB("\"jobstatus\":1,\"jobresultcode\":0,\"jobresult\":{\"certificates\":{\"certificate\":\"CERT\\n\",\"cacertificates\":\"CA\\n\",\"musterserial\":\"ab12\",\"musternotafter\":\"2027-01-15T08:00:02+0000\"}}")},
	{"queryAsyncJobResult", "jobid=j-issued\n", 0,
	 JOB("\"jobstatus\":1,\"jobresultcode\":0,\"jobresult\":{\"certificates\":{\"certificate\":\"CERT\\n\",\"privatekey\":\"KEY\\n\",\"cacertificates\":\"CA\\n\",\"musterserial\":\"ab12\",\"musternotafter\":\"2027-01-15T08:00:02+0000\"}}")},
	{NULL},
};

struct row {
	const char *words;
	const char *golden; /* NULL: stdout is not looked at */
	int exit_code;
	const char *err;  /* part of it; NULL: empty */
	const char *asks; /* a line that must have been sent; NULL: any */
};

static void check_rows(struct fake_server *s, const struct row *rows, size_t n, const struct run *how)
{
	for (size_t i = 0; i < n; i++) {
		struct ran r;

		fake_server_forget(s);
		muster_run(&r, how, rows[i].words);
		if (r.exit_code != rows[i].exit_code ||
		    (rows[i].err ? !strstr(buf_str(&r.err), rows[i].err) : r.err.len != 0) ||
		    (rows[i].asks && !strstr(fake_server_requests(s), rows[i].asks)))
			fail_msg("muster %s: exit code %d, %s\nout: %s\nasked: %s", rows[i].words, r.exit_code,
				 buf_str(&r.err), buf_str(&r.out), fake_server_requests(s));
		if (rows[i].golden)
			golden_check(rows[i].golden, &r.out);
		ran_deinit(&r);
	}
}

static void certificates_are_shown(void **state)
{
	static const struct row rows[] = {
		{"cert list", "cert_list", 0, NULL, "state=inuse,valid\n"},
		{"cert list --all", "cert_list_all", 0, NULL, NULL},
		{"cert list --all --json", "cert_list_json", 0, NULL, NULL},
		{"cert list --state in-use,expired --role agent --host H1 --expires-in 30", NULL, 0, NULL,
		 "state=inuse,expired\n"},
		{"cert list --server M1", NULL, 0, NULL, "managementserverid=M1\n"},
		{"cert list --expires-in 0", NULL, 0, NULL, "expiresin=0\n"},
		{"cert list nothing", NULL, 0, "No certificate is like that. --all shows those that are over, too.",
		 NULL},
		{"cert list --expires-in soon", NULL, 2, "soon", NULL},
		{"cert show H1", "cert_show", 0, NULL, "pem=true\n"},
		{"cert show H1 --pem", "cert_show_pem", 0, NULL, NULL},
		{"cert show H1 --json", "cert_show_json", 0, NULL, NULL},
		{"cert show 4A:00:00:00:00:00:00:00:00:00:00:00:00:00:AA:04", "cert_show_expired", 0, NULL, NULL},
		{"cert show 00000abc", "cert_show_revoked", 0, NULL, NULL},
		{"cert show 00000abc --pem", NULL, 0, "was not issued by this cluster", NULL},
		{"cert show H9", NULL, 1, "no certificate that counts is known of H9", NULL},
		{"cert show nobody", NULL, 1, "no host is called nobody, and no certificate has that serial", NULL},
		{"cert show", NULL, 2, "SERIAL|HOST", NULL},
		{"ca crl", "ca_crl", 0, "1 certificate; the next list comes before 2026-01-22 08:00:02.", NULL},
		{"ca crl --json", "ca_crl_json", 0, NULL, NULL},
	};
	struct fake_server *s = fake_server_start(answers);

	check_rows(s, rows, ARRAY_SIZE(rows), &(struct run){.server = s});
	fake_server_stop(s);
}

/* While a rotation has two CAs trusted, and one of them signs no list. */
static void a_list_of_each_ca(void **state)
{
	static const struct fake_answer two[] = {
		{"getRevocationList", NULL, 0,
		 "{\"getrevocationlistresponse\":{\"revocationlist\":{\"crl\":\"CRL\\n\",\"entries\":1,\"nextupdate\":\"2026-01-22T08:00:02+0000\","
		 "\"lists\":[{\"ca\":\"aa\",\"signs\":true,\"entries\":1,\"nextupdate\":\"2026-01-22T08:00:02+0000\"},"
		 "{\"ca\":\"bb\",\"signs\":false,\"entries\":20,\"nextupdate\":\"2026-01-21T08:00:02+0000\"}],"
		 "\"problem\":\"the CA may not sign revocation lists\"}}}"},
		{NULL}};
	static const struct row rows[] = {
		{"ca crl", "ca_crl", 0,
		 "Of the CA that signs: 1 certificate; the next list comes before 2026-01-22 08:00:02.", NULL},
		{"ca crl", "ca_crl", 0, "Of the other CA: 20 certificates; the next list comes before 2026-01-21",
		 NULL},
		{"ca crl", "ca_crl", 0, "A list is missing or not renewed: the CA may not sign revocation lists.",
		 NULL},
	};
	struct fake_server *s = fake_server_start(two);

	check_rows(s, rows, ARRAY_SIZE(rows), &(struct run){.server = s});
	fake_server_stop(s);
}

static void the_end_of_a_certificate_has_a_colour(void **state)
{
	static const struct row rows[] = {{"cert list --all", "cert_list_colour", 0, NULL, NULL}};
	struct fake_server *s = fake_server_start(answers);

	check_rows(s, rows, ARRAY_SIZE(rows), &(struct run){.server = s, .terminal_width = 100});
	fake_server_stop(s);
}

static void hosts_are_renewed_one_by_one(void **state)
{
	static const struct row rows[] = {
		{"cert renew H1", "cert_renew", 0, NULL, "reconnect=true\n"},
		{"cert renew --all", "cert_renew_all", 0, NULL, "hostid=u2\n"},
		{"cert renew nobody", "cert_renew_nobody", 1, "1 of 1 hosts have no new certificate", NULL},
		{"cert renew H1 H2 nobody", NULL, 1, "2 of 3 hosts have no new certificate", NULL},
		{"cert renew H2 --json", "cert_renew_json", 1, NULL, NULL},
		{"cert renew", NULL, 2, "either hosts or --all", NULL},
		{"cert renew H1 --all", NULL, 2, "either hosts or --all", NULL},
	};
	struct fake_server *s = fake_server_start(answers);

	check_rows(s, rows, ARRAY_SIZE(rows), &(struct run){.server = s});
	fake_server_stop(s);
}

static void what_will_be_cut_is_said_first(void **state)
{
	static const struct row rows[] = {
		{"cert revoke H1", "cert_revoke_asks", 2, "nothing is changed: there is no terminal to ask on", NULL},
		{"cert revoke H1 --yes --reason 'lost laptop'", "cert_revoke", 0, NULL, "reason=lost laptop\n"},
		{"cert revoke H1 --yes --json", "cert_revoke_json", 0, NULL,
		 "serial=4a00000000000000000000000000aa01\n"},
		{"cert revoke H5 --yes", "cert_revoke_expired", 0, NULL, "serial=4a00000000000000000000000000aa04\n"},
		{"cert revoke H6 --yes", "cert_revoke_newer", 0, NULL, "serial=4a00000000000000000000000000aa07\n"},
		{"cert revoke H1 --json", NULL, 2, "--yes is needed", NULL},
		{"cert revoke 4a00000000000000000000000000aa03 --yes", "cert_revoke_server", 1,
		 "is management server M1's", NULL},
		{"cert revoke --serial 00000000000000ab --yes", "cert_revoke_unknown", 0, NULL,
		 "serial=00000000000000ab\n"},
		{"cert revoke H1 --force --yes", NULL, 0, NULL, "forced=true\n"},
		{"cert revoke H9 --yes", NULL, 1, "no certificate that counts", NULL},
	};
	struct fake_server *s = fake_server_start(answers);

	check_rows(s, rows, ARRAY_SIZE(rows), &(struct run){.server = s});
	fake_server_stop(s);
}

/* ---- issue ---- */

static char *read_all(const char *path)
{
	struct buf text = {0};

	if (file_read(&fs_posix, path, 65536, &text, NULL))
		return NULL;
	return buf_take_str(&text);
}

static void check_file(const char *dir, const char *name, const char *text, unsigned mode)
{
	CLEAN(mem_freep) char *path = path_join(dir, name);
	CLEAN(mem_freep) char *content = read_all(path);
	struct stat st;

	if (!text) {
		assert_null(content);
		return;
	}
	assert_non_null(content);
	assert_string_equal(content, text);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, mode);
}

static void a_certificate_goes_where_it_is_told(void **state)
{
	char dir[] = "/tmp/muster-certs-XXXXXX", words[512];
	struct fake_server *s = fake_server_start(answers);
	const struct run how = {.server = s};
	const struct run with_csr = {.server = s, .input = "-----BEGIN CERTIFICATE REQUEST-----\n"};
	struct row row = {.words = words};

	assert_non_null(mkdtemp(dir));
	umask(022);
	snprintf(words, sizeof(words),
		 "cert issue a.example b.example --ip 10.0.0.1,10.0.0.2 --days 30 --key %s/key --out %s/crt --ca %s/ca",
		 dir, dir, dir);
	row = (struct row){words, NULL, 0, "Certificate ab12, valid until 2027-01-15 08:00:02; key: ",
			   "domain=a.example,b.example\nduration=30\nipaddress=10.0.0.1,10.0.0.2\n"};
	check_rows(s, &row, 1, &how);
	check_file(dir, "key", "KEY\n", 0600);
	check_file(dir, "crt", "CERT\n", 0644);
	check_file(dir, "ca", "CA\n", 0644);

	/* Nothing is overwritten, and nothing issued for it. */
	row = (struct row){words, NULL, 1, "is there already: nothing is overwritten", NULL};
	check_rows(s, &row, 1, &how);
	assert_null(strstr(fake_server_requests(s), "issueCertificate"));

	snprintf(words, sizeof(words), "cert issue 'bad name' --key %s/none", dir);
	row = (struct row){words, NULL, 1, "is not a name for a certificate", NULL};
	check_rows(s, &row, 1, &how);
	check_file(dir, "none", NULL, 0);

	snprintf(words, sizeof(words), "cert issue a.example --key %s/no/such/folder", dir);
	row = (struct row){words, NULL, 1, "the private key could not be written", NULL};
	check_rows(s, &row, 1, &how);
	assert_null(strstr(fake_server_requests(s), "issueCertificate"));

	snprintf(words, sizeof(words), "cert issue a.example --json --key %s/key2", dir);
	row = (struct row){words, "cert_issue_json", 0, NULL, NULL};
	check_rows(s, &row, 1, &how);
	check_file(dir, "key2", "KEY\n", 0600);

	row = (struct row){"cert issue a.example --key -", "cert_issue_key", 0, "Certificate ab12", NULL};
	check_rows(s, &row, 1, &how);
	row = (struct row){"cert issue a.example", NULL, 2, "--key says where the private key goes", NULL};
	check_rows(s, &row, 1, &how);
	row = (struct row){"cert issue", NULL, 2, "a NAME, or a request with --csr", NULL};
	check_rows(s, &row, 1, &how);
	row = (struct row){"cert issue --csr -", "cert_issue_csr", 0, "Certificate ab12", "csr="};
	check_rows(s, &row, 1, &with_csr);
	row = (struct row){"cert issue --csr - --key x", NULL, 2, "there is no private key", NULL};
	check_rows(s, &row, 1, &with_csr);
	row = (struct row){"cert issue --csr /no/such/file", NULL, 1, "the request could not be read", NULL};
	check_rows(s, &row, 1, &how);
	fake_server_stop(s);
	snprintf(words, sizeof(words), "rm -r %s", dir);
	assert_int_equal(system(words), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(certificates_are_shown),
		cmocka_unit_test(the_end_of_a_certificate_has_a_colour),
		cmocka_unit_test(a_list_of_each_ca),
		cmocka_unit_test(hosts_are_renewed_one_by_one),
		cmocka_unit_test(what_will_be_cut_is_said_first),
		cmocka_unit_test(a_certificate_goes_where_it_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
