/* One host gets a new certificate: what is asked, what is refused, and what happens when something breaks on the way.
 */
#include <string.h>

#include "check.h"
#include "provision_bench.h"
#include "server/provision.h"

static const struct agent_script muster_h1 = {
	.guid = "h1", .ip = "10.0.1.1", .identity = ID_URI, .is_muster = true, .boot = "b1"};
static const struct agent_script cloud_c1 = {
	.guid = "c1", .ip = "10.0.1.2", .identity = ID_SAN, .public_ip = "192.0.2.7"};

struct bench {
	struct engine_bench e;
	struct keeper k;
	char job[UUID_TEXT];
};

static void up(struct bench *b, const struct agent_script *as)
{
	engine_up(&b->e);
	engine_config(&b->e, "ca.framework.cert.automatic.renewal", "false");
	engine_run(&b->e, 300);
	keeper_init(&b->k, &b->e, &b->e.a, as);
	keeper_connect(&b->k);
}

static void down(struct bench *b)
{
	keeper_deinit(&b->k);
	engine_down(&b->e);
}

static void ask(struct bench *b)
{
	provision_ask(&b->e, &b->e.a, b->k.script->as.guid, b->job);
}

/* The job has come to this. */
static void ended(struct bench *b, const char *what, const char *part)
{
	char *text = provision_job(&b->e, &b->e.a, b->job);

	if (!strstr(text, part))
		fail_msg("%s: expected %s in %s", what, part, text);
	mem_free(text);
}

#define DONE "\"jobstatus\":1"
#define FAILED "\"jobstatus\":2"

static void trusted_hash(char out[FINGERPRINT_TEXT], const struct node *n)
{
	sha256_hex(out, n->server->ca_chain, strlen(n->server->ca_chain));
}

/* ---- as it should be ---- */

static void a_muster_agent(void **state)
{
	struct bench b;
	const struct msg_setup_keystore *key;
	const struct msg_setup_certificate *cert;
	struct host_row row;
	char hash[FINGERPRINT_TEXT];
	char *events;

	up(&b, &muster_h1);
	ask(&b);
	check_there(script_got(b.k.script, MSG_SETUP_KEYSTORE, 0));
	key = script_got(b.k.script, MSG_SETUP_KEYSTORE, 0)->batch.elements[0].fields;
	assert_int_equal(key->validityDays.value, 365);
	assert_int_equal(strlen(key->keystorePassword), 16);
	assert_int_equal(
		strspn(key->keystorePassword, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"), 16);
	assert_true(key->handleByAgent.value);
	assert_int_equal(key->wait.value, 60);
	ended(&b, "while the agent makes its key", "\"jobstatus\":0");
	keepers_run(&b.k, 1, 1000);
	cert = script_got(b.k.script, MSG_SETUP_CERTIFICATE, 0)->batch.elements[0].fields;
	assert_string_equal(cert->privateKey, "");
	assert_string_equal(cert->caCertificates, b.e.a.server->ca_chain);
	assert_true(cert->handleByAgent.value);
	assert_int_equal(b.k.cert.role, CERT_ROLE_AGENT);
	assert_string_equal(b.k.cert.id, "h1");
	assert_true(str_list_has(&b.k.cert.dns, "h1"));
	assert_true(str_list_has(&b.k.cert.ips, "10.0.1.1"));
	assert_false(b.k.cert.is_ca);
	assert_int_equal(cert_verify(b.k.pem, b.k.trusted, b.k.cert.not_before_s + 1, NULL), ERR_OK);
	ended(&b, "when it has taken it", DONE);
	ended(&b, "when it has taken it", "\"success\":true");
	/* It has come with it, its old link is gone, and what it trusts is known. */
	row = engine_row(&b.e, host_of(&b.e.a, "h1")->row.id);
	trusted_hash(hash, &b.e.a);
	assert_string_equal(row.cert_serial, b.k.cert.serial);
	assert_string_equal(row.ca_known, hash);
	assert_int_equal(row.status, HOST_UP);
	host_row_deinit(&row);
	events = events_of(&b.e, &b.e.a, "CA.CERTIFICATE.PROVISION");
	assert_int_equal(count_of(events, "asks for a new certificate of host h1"), 1);
	assert_int_equal(count_of(events, "has taken certificate"), 1);
	mem_free(events);
	down(&b);
}

/* Known by its addresses: those it has said, the one that it is seen at, as the reference writes them. */
static void a_cloudstack_agent(void **state)
{
	struct bench b;

	up(&b, &cloud_c1);
	ask(&b);
	keepers_run(&b.k, 1, 1000);
	ended(&b, "a CloudStack agent", DONE);
	assert_int_equal(b.k.cert.role, CERT_ROLE_NONE);
	assert_int_equal(b.k.cert.ips.n, 2);
	assert_true(str_list_has(&b.k.cert.ips, "10.0.1.2"));
	assert_true(str_list_has(&b.k.cert.ips, "192.0.2.7"));
	assert_int_equal(b.k.cert.dns.n, 2);
	assert_true(str_list_has(&b.k.cert.dns, "c1"));
	assert_true(str_list_has(&b.k.cert.dns, "10.0.1.2"));
	assert_false(b.k.cert.has_eku);
	assert_string_equal(host_of(&b.e.a, "c1")->row.cert_serial, b.k.cert.serial);
	/* A certificate that names nobody is found by whose it is. */
	assert_int_equal(issued_for(&b.e, "c1"), 1);
	down(&b);
}

/* Addresses are its identity: one that another host has shown is not written down because it says so. */
static void an_address_of_another_host(void **state)
{
	static const char *const rows[] = {"10.0.1.9", "::ffff:10.0.1.9", "192.0.2.9", NULL};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;
		struct agent_script thief = cloud_c1;
		struct keeper other;

		thief.public_ip = rows[i];
		/* An address in place of a name would be one. */
		thief.name = rows[i] ? NULL : "10.0.1.9";
		up(&b, &thief);
		/* The last one is seen at another address than it says. */
		keeper_init(&other, &b.e, &b.e.a,
			    &(struct agent_script){.guid = "c9",
						   .ip = i == 2 ? "192.0.2.9" : "10.0.1.9",
						   .private_ip = "10.0.1.9",
						   .identity = ID_SAN});
		keeper_connect(&other);
		ask(&b);
		keepers_run(&b.k, 1, 1000);
		ended(&b, "without that address", DONE);
		assert_int_equal(b.k.cert.ips.n, 1);
		assert_true(str_list_has(&b.k.cert.ips, "10.0.1.2"));
		assert_false(str_list_has(&b.k.cert.dns, "10.0.1.9"));
		keeper_deinit(&other);
		down(&b);
	}
}

/* Let in because strictness is off: an operator may vouch for it. */
static void an_agent_without_a_certificate(void **state)
{
	struct agent_script as = muster_h1;
	struct bench b;
	char *events;

	as.identity = ID_NONE;
	engine_up(&b.e);
	engine_config(&b.e, "ca.plugin.root.auth.strictness", "false");
	engine_run(&b.e, 300);
	keeper_init(&b.k, &b.e, &b.e.a, &as);
	keeper_connect(&b.k);
	assert_false(host_of(&b.e.a, "h1")->row.secured);
	keepers_run(&b.k, 1, 70000);
	assert_int_equal(script_count(b.k.script, MSG_SETUP_KEYSTORE), 0); /* never by itself */
	ask(&b);
	keepers_run(&b.k, 1, 1000);
	ended(&b, "without one", DONE);
	assert_true(host_of(&b.e.a, "h1")->row.secured);
	assert_string_equal(host_of(&b.e.a, "h1")->row.bound_key, "uri");
	events = events_of(&b.e, &b.e.a, "CA.CERTIFICATE.PROVISION");
	assert_int_equal(count_of(events, "which was let in without one"), 1);
	mem_free(events);
	down(&b);
}

static void system_vms_get_a_key(void **state)
{
	static const char *const types[] = {"ConsoleProxy", "SecondaryStorageVM"};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct bench b;
		struct agent_script as = cloud_c1;

		as.type = types[i];
		up(&b, &as);
		ask(&b);
		keepers_run(&b.k, 1, 1000);
		ended(&b, types[i], DONE);
		assert_int_equal(script_count(b.k.script, MSG_SETUP_KEYSTORE), 0);
		assert_true(b.k.cert.is_rsa &&
			    b.k.cert.key_bits == 2048); /* keeper_step() has held it against the key */
		down(&b);
	}
}

/* ---- what is refused ---- */

static char *golden(const char *name)
{
	CLEAN(mem_freep) char *path = path_join(GOLDEN, name);
	struct buf b = {0};
	char *text;

	assert_int_equal(file_read(&fs_posix, path, 65536, &b, NULL), ERR_OK);
	text = buf_take_str(&b);
	buf_deinit(&b);
	return text;
}

static void requests_are_judged(void **state)
{
	static const struct {
		const char *what;
		const char *file;    /* NULL: */
		enum cert_role role; /* of its own making */
		const char *id;
		const char *sentence;
	} rows[] = {
		{"another agent's guid", NULL, CERT_ROLE_AGENT, "h2", "the certificate request is for agent h2"},
		{"a server's", NULL, CERT_ROLE_SERVER, "h1", "the certificate request is for server h1"},
		{"a CA", "csr_wants_ca.pem", CERT_ROLE_NONE, NULL, "asks for a CA certificate"},
		{"somebody else's signature", "csr_wrong_signature.pem", CERT_ROLE_NONE, NULL, "signature"},
		{"a weak key", "csr_rsa_1024.pem", CERT_ROLE_NONE, NULL, "1024"},
		{"two identities", "csr_two_identities.pem", CERT_ROLE_NONE, NULL, "identit"},
		{"no request at all", "README.md", CERT_ROLE_NONE, NULL, "request"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench b;
		CLEAN(mem_freep) char *csr = NULL;

		up(&b, &muster_h1);
		csr = rows[i].file ? golden(rows[i].file) : keeper_request(&b.k, rows[i].role, rows[i].id);
		b.k.csr = csr;
		ask(&b);
		keepers_run(&b.k, 1, 1000);
		ended(&b, rows[i].what, FAILED);
		ended(&b, rows[i].what, rows[i].sentence);
		check_row(&rows[i], script_count(b.k.script, MSG_SETUP_CERTIFICATE) == 0);
		check_row(&rows[i], issued_for(&b.e, "h1") == 0);
		check_row(&rows[i], script_is_open(b.k.script)); /* it may do better the next time */
		down(&b);
	}
}

static void the_agent_says_no(void **state)
{
	struct bench b;

	up(&b, &muster_h1);
	b.k.refuses_key = true;
	ask(&b);
	keepers_run(&b.k, 1, 500);
	ended(&b, "no key", FAILED);
	ended(&b, "no key", "its agent refuses: no entropy left");
	b.k.refuses_key = false;
	b.k.refuses_cert = true;
	ask(&b);
	keepers_run(&b.k, 1, 500);
	ended(&b, "no certificate", FAILED);
	ended(&b, "no certificate", "its agent refuses: no space left on device");
	assert_null(host_of(&b.e.a, "h1")->row.ca_known);
	b.k.refuses_cert = false;
	ask(&b);
	keepers_run(&b.k, 1, 500);
	ended(&b, "the third time", DONE);
	down(&b);
}

static void no_request_in_the_answer(void **state)
{
	struct bench b;

	up(&b, &muster_h1);
	b.k.csr = "";
	ask(&b);
	keepers_run(&b.k, 1, 500);
	ended(&b, "an empty request", "has no certificate request");
	ask(&b);
	/* Another class: an agent that doesn't know the command says so with false. */
	script_answer(b.k.script, script_got(b.k.script, MSG_SETUP_KEYSTORE, 1), MSG_UNSUPPORTED_ANSWER, false);
	engine_run(&b.e, 300);
	ended(&b, "an agent that doesn't know it", "its agent refuses");
	down(&b);
}

static void what_the_api_refuses(void **state)
{
	static const struct {
		const char *what, *name, *value;
		int status;
		const char *sentence;
	} rows[] = {
		{"by SSH", "forced", "true", 431, "SSH"},
		{"another provider", "provider", "vault", 530, "vault is not the CA provider of this cluster, root is"},
	};
	struct bench b;

	up(&b, &muster_h1);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct api_param params[] = {{"command", "provisionCertificate"},
						   {"hostid", host_of(&b.e.a, "h1")->row.uuid},
						   {rows[i].name, rows[i].value}};
		int status;
		char *text = engine_ask(&b.e, &b.e.a, params, 3, &status);

		check_row(&rows[i], status == rows[i].status && strstr(text, rows[i].sentence));
		mem_free(text);
	}
	script_hang_up(b.k.script);
	engine_run(&b.e, 60000);
	ask(&b);
	ended(&b, "no link", FAILED);
	ended(&b, "no link", "its agent is not connected");
	down(&b);
}

static void one_at_a_time(void **state)
{
	struct bench b;
	char first[UUID_TEXT];

	up(&b, &muster_h1);
	ask(&b);
	memcpy(first, b.job, sizeof(first));
	ask(&b);
	ended(&b, "the second", "a new certificate is on its way to it already");
	memcpy(b.job, first, sizeof(first));
	keepers_run(&b.k, 1, 500);
	ended(&b, "the first", DONE);
	down(&b);
}

static void a_server_without_the_key(void **state)
{
	struct bench b;

	up(&b, &muster_h1);
	node_add(&b.e, &b.e.b, B_IP);
	engine_run(&b.e, 2000);
	node_kill(&b.e.b); /* it has its certificate, and starts again with that and without the key */
	b.e.without_cluster_key = true;
	node_add(&b.e, &b.e.b, B_IP);
	engine_run(&b.e, 2000);
	provision_ask(&b.e, &b.e.b, "h1", b.job);
	ended(&b, "without the cluster key", "this server cannot issue certificates, ask another one");
	down(&b);
}

/* ---- what breaks on the way ---- */

static void a_cloudstack_link_that_ends(void **state)
{
	struct bench b;

	up(&b, &cloud_c1);
	ask(&b);
	script_hang_up(b.k.script);
	engine_run(&b.e, 300);
	ended(&b, "before it has answered", FAILED);
	keeper_connect(&b.k);
	b.k.n_keys = script_count(b.k.script, MSG_SETUP_KEYSTORE);
	ask(&b);
	keepers_run(&b.k, 1, 500);
	ended(&b, "the next one", DONE);
	down(&b);
}

/* Its requests wait for its next link. */
static void a_muster_link_that_ends(void **state)
{
	struct bench b;

	up(&b, &muster_h1);
	ask(&b);
	script_hang_up(b.k.script);
	engine_run(&b.e, 300);
	b.k.n_keys = script_count(b.k.script, MSG_SETUP_KEYSTORE);
	keeper_connect(&b.k);
	keepers_run(&b.k, 1, 1000);
	ended(&b, "the same one", DONE);
	down(&b);
}

/* It has its certificate, and its answer is lost: that it comes with it says as much. */
static void an_answer_that_is_lost(void **state)
{
	struct bench b;
	char hash[FINGERPRINT_TEXT];

	up(&b, &cloud_c1);
	b.k.is_mute = true;
	ask(&b);
	keepers_run(&b.k, 1, 1000);
	ended(&b, "its link ended", FAILED);
	trusted_hash(hash, &b.e.a);
	assert_string_equal(host_of(&b.e.a, "c1")->row.cert_serial, b.k.cert.serial);
	assert_string_equal(host_of(&b.e.a, "c1")->row.ca_known, hash);
	down(&b);
}

/* It says yes and goes on with what it had: what it trusts is what it is seen with. */
static void an_agent_that_goes_back(void **state)
{
	struct bench b;

	up(&b, &muster_h1);
	b.k.never_uses = true;
	ask(&b);
	keepers_run(&b.k, 1, 1000);
	ended(&b, "it has said yes", DONE);
	assert_null(host_of(&b.e.a, "h1")->row.ca_known);
	keeper_use(&b.k);
	engine_run(&b.e, 1000);
	assert_non_null(host_of(&b.e.a, "h1")->row.ca_known);
	down(&b);
}

/* Between its request and its certificate: nothing is sent over the link that is about to be cut. */
static void a_host_that_is_revoked_meanwhile(void **state)
{
	struct bench b;
	size_t n;

	up(&b, &muster_h1);
	ask(&b);
	engine_run(&b.e, 300);
	assert_int_equal(script_count(b.k.script, MSG_SETUP_KEYSTORE), 1);
	engine_revoke(&b.e, host_of(&b.e.a, "h1")->row.cert_serial);
	n = issued_for(&b.e, "h1");
	keeper_step(&b.k);
	engine_run(&b.e, 2000);
	assert_int_equal(issued_for(&b.e, "h1"), n);
	assert_int_equal(script_count(b.k.script, MSG_SETUP_CERTIFICATE), 0);
	down(&b);
}

static void an_agent_that_never_answers(void **state)
{
	struct bench b;

	up(&b, &muster_h1);
	ask(&b);
	engine_run(&b.e, 61000);
	ended(&b, "no answer", "did not answer in time");
	ask(&b);
	b.k.n_keys = 1;
	keepers_run(&b.k, 1, 500);
	ended(&b, "the next one", DONE);
	down(&b);
}

static void a_store_that_fails(void **state)
{
	struct bench b;

	up(&b, &muster_h1);
	ask(&b);
	b.e.a.store_fails = true;
	keepers_run(&b.k, 1, 500);
	assert_int_equal(script_count(b.k.script, MSG_SETUP_CERTIFICATE), 0); /* nothing that isn't recorded */
	b.e.a.store_fails = false;
	engine_run(&b.e, 3000);
	ended(&b, "the store failed", FAILED);
	ended(&b, "the store failed", "no space left on device");
	ask(&b);
	keepers_run(&b.k, 1, 500);
	ended(&b, "when it works again", DONE);
	down(&b);
}

static void a_host_that_is_deleted(void **state)
{
	struct bench b;

	up(&b, &muster_h1);
	ask(&b);
	engine_delete_host(&b.e, host_of(&b.e.a, "h1")->row.id);
	engine_run(&b.e, 1000);
	ended(&b, "deleted", FAILED);
	assert_int_equal(issued_for(&b.e, "h1"), 0);
	down(&b);
}

/* What was provisioned goes with the host: the one in use, and the one before it. */
static void a_deleted_host_has_no_certificates(void **state)
{
	struct api_param params[] = {{"command", "deleteHost"}, {"id", NULL}, {"forced", "true"}};
	char first[SERIAL_TEXT];
	struct bench b;
	int status;

	up(&b, &cloud_c1);
	for (size_t i = 0; i < 2; i++) {
		memcpy(first, b.k.cert.serial, sizeof(first));
		ask(&b);
		keepers_run(&b.k, 1, 1000);
		ended(&b, "a new one", DONE);
	}
	params[1].value = host_of(&b.e.a, "c1")->row.uuid;
	mem_free(engine_ask(&b.e, &b.e.a, params, 3, &status));
	assert_int_equal(status, 200);
	engine_run(&b.e, 500);
	assert_true(authority_is_revoked(b.e.a.server, first));
	assert_true(authority_is_revoked(b.e.a.server, b.k.cert.serial));
	down(&b);
}

static void gone(void *user)
{
	((struct node *)user)->was_gone = true;
}

static void a_server_that_stops(void **state)
{
	/* Before the agent's answer, while it is signed, while it is recorded, after it was sent. */
	for (int64_t after_ms = 0; after_ms < 8; after_ms++) {
		struct bench b;

		up(&b, &muster_h1);
		ask(&b);
		for (int64_t ms = 0; ms < after_ms; ms++) {
			keeper_step(&b.k);
			engine_run(&b.e, 1);
		}
		server_stop(b.e.a.server, gone, &b.e.a);
		engine_run(&b.e, 3000);
		assert_true(b.e.a.was_gone);
		down(&b);
	}
}

static void a_server_that_dies(void **state)
{
	for (size_t n = 0; n < 60; n++) {
		struct bench b;

		up(&b, &muster_h1);
		b.k.never_uses = true;
		ask(&b);
		keeper_step(&b.k);
		for (size_t i = 0; i < n; i++)
			if (!fake_world_step(b.e.f)) {
				engine_run(&b.e, 1);
				keeper_step(&b.k);
			}
		down(&b);
	}
}

/* ---- two servers ---- */

static void through_another_server(void **state)
{
	struct bench b;

	up(&b, &muster_h1);
	node_add(&b.e, &b.e.b, B_IP);
	engine_run(&b.e, 2000);
	provision_ask(&b.e, &b.e.b, "h1", b.job);
	keepers_run(&b.k, 1, 1000);
	ended(&b, "through another server", DONE);
	assert_string_equal(host_of(&b.e.b, "h1")->row.cert_serial, b.k.cert.serial);
	down(&b);
}

/* Behind a router: the address that it is seen at is what lets it in, wherever it is asked. */
static void seen_at_another_address(void **state)
{
	struct agent_script as = cloud_c1;
	struct bench b;

	as.private_ip = "172.16.0.5";
	up(&b, &as);
	node_add(&b.e, &b.e.b, B_IP);
	engine_run(&b.e, 2000);
	provision_ask(&b.e, &b.e.b, "c1", b.job);
	keepers_run(&b.k, 1, 1000);
	ended(&b, "through another server", DONE);
	assert_true(str_list_has(&b.k.cert.ips, "172.16.0.5"));
	assert_true(str_list_has(&b.k.cert.ips, "10.0.1.2"));
	assert_string_equal(host_of(&b.e.a, "c1")->row.cert_serial, b.k.cert.serial);
	down(&b);
}

/* Asked of both at once: the last key is what its agent has, so one of them is told no, and the other one is right. */
static void two_operators(void **state)
{
	struct bench b;
	char second[UUID_TEXT];
	char *text;

	up(&b, &muster_h1);
	node_add(&b.e, &b.e.b, B_IP);
	engine_run(&b.e, 2000);
	ask(&b);
	provision_ask(&b.e, &b.e.b, "h1", second);
	check_there(script_got(b.k.script, MSG_SETUP_KEYSTORE, 1));
	/* The first request is for a key that is gone by the time its certificate comes. */
	keeper_step(&b.k);
	keeper_step(&b.k);
	keepers_run(&b.k, 1, 1000);
	ended(&b, "the first", "its agent refuses");
	text = provision_job(&b.e, &b.e.b, second);
	assert_non_null(strstr(text, DONE));
	mem_free(text);
	assert_true(script_is_open(b.k.script));
	down(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_muster_agent),
		cmocka_unit_test(a_cloudstack_agent),
		cmocka_unit_test(an_address_of_another_host),
		cmocka_unit_test(an_agent_without_a_certificate),
		cmocka_unit_test(system_vms_get_a_key),
		cmocka_unit_test(requests_are_judged),
		cmocka_unit_test(the_agent_says_no),
		cmocka_unit_test(no_request_in_the_answer),
		cmocka_unit_test(what_the_api_refuses),
		cmocka_unit_test(one_at_a_time),
		cmocka_unit_test(a_server_without_the_key),
		cmocka_unit_test(a_cloudstack_link_that_ends),
		cmocka_unit_test(a_muster_link_that_ends),
		cmocka_unit_test(an_answer_that_is_lost),
		cmocka_unit_test(an_agent_that_goes_back),
		cmocka_unit_test(a_host_that_is_revoked_meanwhile),
		cmocka_unit_test(an_agent_that_never_answers),
		cmocka_unit_test(a_store_that_fails),
		cmocka_unit_test(a_host_that_is_deleted),
		cmocka_unit_test(a_deleted_host_has_no_certificates),
		cmocka_unit_test(a_server_that_stops),
		cmocka_unit_test(a_server_that_dies),
		cmocka_unit_test(through_another_server),
		cmocka_unit_test(seen_at_another_address),
		cmocka_unit_test(two_operators),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
