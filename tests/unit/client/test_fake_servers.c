/*
 * Who pretends to be a management server: an agent with its certificate and real TLS against a server that is made of
 * GnuTLS alone. Each is refused with its reason, in the log and in what `muster-agent explain` shows, and hears nothing
 * of who the agent is.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "../net/memory_world.h"
#include "../net/party.h"
#include "base/mem.h"
#include "check.h"
#include "client/agent.h"
#include "client/agent_file.h"
#include "net/tls.h"

#define SERVER_IP "10.0.0.1"

/* ---- certificates ---- */

static struct {
	struct party root, old_root, other_root;
	struct party server, agent, other_agent, cloudstack, foreign, self_signed, expired, early, no_eku;
	struct party of_old_root, company;
} all;

/*
 * What no CA of ours makes. With `ca`: names the role of a server, and its extended key usage is for clients only.
 * Without: a root that may sign data too, as a company's may, so that it can serve TLS 1.3.
 */
static struct party crafted(const struct party *ca)
{
	struct party made = {.key = NULL};
	gnutls_x509_crt_t crt, issuer;
	gnutls_x509_privkey_t key, ca_key;
	gnutls_datum_t own, out = {0};
	const char uri[] = "muster:server:ms-1";

	assert_int_equal(key_new(&made.key, KEY_EC_P256, NULL), ERR_OK);
	own = (gnutls_datum_t){.data = (unsigned char *)made.key, .size = (unsigned)strlen(made.key)};
	gnutls_x509_crt_init(&crt);
	gnutls_x509_crt_init(&issuer);
	gnutls_x509_privkey_init(&key);
	gnutls_x509_privkey_init(&ca_key);
	assert_int_equal(gnutls_x509_privkey_import2(key, &own, GNUTLS_X509_FMT_PEM, NULL, 0), 0);
	gnutls_x509_crt_set_version(crt, 3);
	gnutls_x509_crt_set_serial(crt, "\x07\x07", 2);
	gnutls_x509_crt_set_activation_time(crt, TEST_WALL_S - DAY_S);
	gnutls_x509_crt_set_expiration_time(crt, TEST_WALL_S + DAY_S);
	gnutls_x509_crt_set_key(crt, key);
	if (ca) {
		const gnutls_datum_t pem = {.data = (unsigned char *)ca->cert, .size = (unsigned)strlen(ca->cert)};
		const gnutls_datum_t ca_pem = {.data = (unsigned char *)ca->key, .size = (unsigned)strlen(ca->key)};

		assert_int_equal(gnutls_x509_crt_import(issuer, &pem, GNUTLS_X509_FMT_PEM), 0);
		assert_int_equal(gnutls_x509_privkey_import2(ca_key, &ca_pem, GNUTLS_X509_FMT_PEM, NULL, 0), 0);
		gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE);
		gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_URI, uri, sizeof(uri) - 1, GNUTLS_FSAN_SET);
		gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_CLIENT, 0);
	} else {
		gnutls_x509_crt_set_dn(crt, "CN=a company", NULL);
		gnutls_x509_crt_set_ca_status(crt, 1);
		gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE | GNUTLS_KEY_KEY_CERT_SIGN);
	}
	assert_int_equal(gnutls_x509_crt_sign2(crt, ca ? issuer : crt, ca ? ca_key : key, GNUTLS_DIG_SHA256, 0), 0);
	assert_int_equal(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &out), 0);
	made.cert = mem_strndup((const char *)out.data, out.size);
	gnutls_free(out.data);
	gnutls_x509_privkey_deinit(ca_key);
	gnutls_x509_privkey_deinit(key);
	gnutls_x509_crt_deinit(issuer);
	gnutls_x509_crt_deinit(crt);
	return made;
}

static struct party made_of(const struct party *ca, struct cert_params p)
{
	struct party made = {0};

	assert_int_equal(key_new(&made.key, KEY_EC_P256, NULL), ERR_OK);
	p.key_pem = made.key;
	p.ca_cert_pem = ca ? ca->cert : NULL;
	p.ca_key_pem = ca ? ca->key : NULL;
	p.serial[0] = 9;
	p.not_before_s = TEST_WALL_S - 1000 * DAY_S;
	if (!p.not_after_s)
		p.not_after_s = TEST_WALL_S + DAY_S;
	assert_int_equal(cert_new(&made.cert, &p, NULL), ERR_OK);
	return made;
}

static int make_all(void **state)
{
	all.root = party_root("the root");
	all.old_root = made_of(
		NULL,
		(struct cert_params){.common_name = "an old root", .is_ca = true, .not_after_s = TEST_WALL_S - DAY_S});
	all.other_root = party_root("another root");
	all.server = party_new(&all.root, KEY_EC_P256, CERT_ROLE_SERVER, "ms-1");
	all.agent = party_new(&all.root, KEY_EC_P256, CERT_ROLE_AGENT, "g-1");
	all.other_agent = party_new(&all.root, KEY_EC_P256, CERT_ROLE_AGENT, "g-2");
	all.cloudstack = made_of(&all.root, (struct cert_params){.common_name = "kvm7"});
	all.foreign = party_new(&all.other_root, KEY_EC_P256, CERT_ROLE_SERVER, "ms-1");
	all.self_signed =
		made_of(NULL, (struct cert_params){.common_name = "ms-1", .role = CERT_ROLE_SERVER, .id = "ms-1"});
	all.expired =
		party_valid(&all.root, CERT_ROLE_SERVER, "ms-1", TEST_WALL_S - 50 * DAY_S, TEST_WALL_S - 10 * DAY_S);
	all.early = party_valid(&all.root, CERT_ROLE_SERVER, "ms-1", TEST_WALL_S + DAY_S, TEST_WALL_S + 9 * DAY_S);
	all.no_eku = crafted(&all.root);
	all.company = crafted(NULL);
	all.of_old_root = party_new(&all.old_root, KEY_EC_P256, CERT_ROLE_SERVER, "ms-1");
	return 0;
}

static int free_all(void **state)
{
	struct party *parties[] = {&all.root,        &all.old_root,   &all.other_root,  &all.server,      &all.agent,
				   &all.other_agent, &all.cloudstack, &all.foreign,     &all.self_signed, &all.expired,
				   &all.early,       &all.no_eku,     &all.of_old_root, &all.company};

	for (size_t i = 0; i < ARRAY_SIZE(parties); i++)
		party_deinit(parties[i]);
	return 0;
}

/* ---- a server of GnuTLS alone, one connection at a time ---- */

struct fake {
	struct world *world;
	const struct party *shows;
	const char *priority;
	const char *alpn; /* NULL: none is selected */
	const char *says; /* instead of TLS; NULL: TLS */
	bool asks;        /* for a client certificate */
	struct stream *stream;
	gnutls_session_t tls;
	gnutls_certificate_credentials_t creds;
	struct buf in;
	bool is_done; /* the handshake, as it sees it */
	size_t n_accepted;
	size_t n_after; /* bytes behind the handshake */
};

static ssize_t pull(gnutls_transport_ptr_t user, void *data, size_t n)
{
	struct fake *f = user;

	if (!f->in.len) {
		gnutls_transport_set_errno(f->tls, EAGAIN);
		return -1;
	}
	n = n < f->in.len ? n : f->in.len;
	memcpy(data, f->in.data, n);
	buf_consume(&f->in, n);
	return (ssize_t)n;
}

static ssize_t push(gnutls_transport_ptr_t user, const void *data, size_t n)
{
	struct fake *f = user;

	if (f->stream && stream_write(f->stream, data, n) != ERR_OK)
		return -1;
	return (ssize_t)n;
}

static int never_ready(gnutls_transport_ptr_t user, unsigned ms)
{
	return ((struct fake *)user)->in.len > 0;
}

static void fake_hang_up(struct fake *f)
{
	if (f->stream)
		stream_close(f->stream);
	f->stream = NULL;
	if (f->tls) {
		gnutls_deinit(f->tls);
		gnutls_certificate_free_credentials(f->creds);
	}
	f->tls = NULL;
	buf_clear(&f->in);
}

static void fake_data(void *user, const uint8_t *data, size_t n)
{
	struct fake *f = user;
	int status;

	if (f->says)
		return;
	if (f->is_done) {
		f->n_after += n;
		return;
	}
	assert_int_equal(buf_put(&f->in, data, n), ERR_OK);
	status = gnutls_handshake(f->tls);
	f->is_done = status == GNUTLS_E_SUCCESS;
	if (status < 0 && gnutls_error_is_fatal(status)) {
		gnutls_alert_send_appropriate(f->tls, status);
		fake_hang_up(f);
	}
	if (f->is_done)
		f->n_after += f->in.len;
}

static void fake_ended(void *user, enum err why, const char *sentence)
{
	struct fake *f = user;

	f->stream = NULL;
	fake_hang_up(f);
}

static const struct stream_events fake_events = {.data = fake_data, .ended = fake_ended};

static void fake_accepted(void *user, struct stream *s)
{
	struct fake *f = user;
	const gnutls_datum_t cert = {.data = (unsigned char *)f->shows->cert, .size = (unsigned)strlen(f->shows->cert)};
	const gnutls_datum_t key = {.data = (unsigned char *)f->shows->key, .size = (unsigned)strlen(f->shows->key)};

	fake_hang_up(f);
	f->is_done = false;
	f->n_accepted++;
	f->stream = s;
	stream_take(s, &fake_events, f);
	if (f->says) {
		assert_int_equal(stream_write(s, f->says, strlen(f->says)), ERR_OK);
		return;
	}
	assert_int_equal(gnutls_init(&f->tls, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS), 0);
	assert_int_equal(gnutls_certificate_allocate_credentials(&f->creds), 0);
	assert_int_equal(gnutls_certificate_set_x509_key_mem2(f->creds, &cert, &key, GNUTLS_X509_FMT_PEM, NULL, 0), 0);
	assert_int_equal(gnutls_credentials_set(f->tls, GNUTLS_CRD_CERTIFICATE, f->creds), 0);
	assert_int_equal(gnutls_priority_set_direct(f->tls, f->priority, NULL), 0);
	if (f->asks)
		gnutls_certificate_server_set_request(f->tls, GNUTLS_CERT_REQUEST);
	if (f->alpn) {
		const gnutls_datum_t name = {.data = (unsigned char *)(uintptr_t)f->alpn,
					     .size = (unsigned)strlen(f->alpn)};

		assert_int_equal(gnutls_alpn_set_protocols(f->tls, &name, 1, 0), 0);
	}
	gnutls_transport_set_ptr(f->tls, f);
	gnutls_transport_set_pull_function(f->tls, pull);
	gnutls_transport_set_push_function(f->tls, push);
	gnutls_transport_set_pull_timeout_function(f->tls, never_ready);
}

/* ---- an agent ---- */

struct test {
	struct world *world;
	struct listener *listener;
	struct fake fake;
	char dir[256], path[300];
	struct agent_file *file;
	struct tls_creds *creds;
	struct agent *agent;
	struct log log;
	struct buf lines;
	size_t n_startups;
};

static enum err host_startup(void *user, struct msg_startup_routing *out)
{
	((struct test *)user)->n_startups++;
	return ERR_OK;
}

static void host_command(void *user, struct agent_command *c)
{
	agent_answer_unsupported(c);
}

static void host_stopped(void *user, enum err why, const char *sentence)
{
}

static const struct agent_host host = {.startup = host_startup, .command = host_command, .stopped = host_stopped};

static void keep_line(void *user, enum log_level level, const char *line)
{
	struct test *t = user;

	if (level <= LOG_WARN)
		assert_int_equal(buf_printf(&t->lines, "%s\n", line), ERR_OK);
}

static void test_init(struct test *t, bool is_known, const char *ca)
{
	CLEAN(mem_freep)
	char *text =
		mem_printf("guid=g-1\nhost=" SERVER_IP "\n%s", is_known ? "muster.servers.known=" SERVER_IP "\n" : "");
	/* One with a guid is muster's, and makes its agent ask for muster/1 wherever it goes. */
	const struct party *identity = is_known ? &all.agent : &all.cloudstack;
	const struct tls_material own = {.chain = identity->cert, .key = identity->key, .ca = ca};
	const char *base = getenv("TMPDIR");
	struct agent_params p;
	struct why why = WHY_NONE;

	t->world = memory_world_new();
	t->fake.world = t->world;
	t->log = (struct log){.level = LOG_DEBUG, .write = keep_line, .user = t};
	snprintf(t->dir, sizeof(t->dir), "%s/muster-fake-XXXXXX", base ? base : P_tmpdir);
	check_there(mkdtemp(t->dir));
	snprintf(t->path, sizeof(t->path), "%s/agent.properties", t->dir);
	assert_int_equal(file_replace(&fs_posix, t->path, 0600, text, strlen(text), NULL), ERR_OK);
	assert_int_equal(agent_file_open(&t->file, &fs_posix, t->path, NULL), ERR_OK);
	assert_int_equal(tls_creds_new(t->world, &t->creds, &own, NULL), ERR_OK);
	assert_int_equal(
		world_listen(t->world, &t->listener,
			     &(struct listen_params){.ip = SERVER_IP, .accepted = fake_accepted, .user = &t->fake},
			     NULL),
		ERR_OK);
	agent_params_init(&p);
	p.world = t->world;
	p.log = &t->log;
	p.file = t->file;
	p.creds = t->creds;
	p.guid = "g-1";
	p.resource_name = "LibvirtComputingResource";
	p.name = "kvm1";
	p.version = "1.0";
	p.host = &host;
	p.host_user = t;
	if (agent_new(&t->agent, &p, &why))
		fail_msg("%s", why.text);
	assert_int_equal(agent_start(t->agent), ERR_OK);
}

static void test_deinit(struct test *t)
{
	agent_free(t->agent);
	agent_file_free(t->file);
	fake_hang_up(&t->fake);
	buf_deinit(&t->fake.in);
	tls_creds_unref(t->creds);
	t->listener = listener_free(t->listener);
	memory_world_free(t->world);
	unlink(t->path);
	rmdir(t->dir);
	buf_deinit(&t->lines);
}

/* ---- the table ---- */

#define TLS12 "NORMAL:-VERS-ALL:+VERS-TLS1.2"
#define TLS13 "NORMAL:-VERS-ALL:+VERS-TLS1.3"
#define BOTH "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"
#define KNOWN 1
#define UNKNOWN 2

static void nobody_poses_as_a_server(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		unsigned towards; /* KNOWN, UNKNOWN or both of them */
		const struct party *shows;
		const char *priority, *alpn;
		const char *reason; /* NULL: it is taken */
		const struct party *ca; /* that the agent trusts; NULL: the root */
		const char *says;
	} rows[] = {
		{ "a management server of the cluster, TLS 1.3", KNOWN, &all.server, BOTH, ALPN_MUSTER, NULL },
		{ "a management server of the cluster, TLS 1.2, not met before", UNKNOWN, &all.server, BOTH, ALPN_MUSTER, NULL },
		{ "an agent's certificate", KNOWN | UNKNOWN, &all.other_agent, BOTH, ALPN_MUSTER, "not" },
		{ "an agent's certificate, without ALPN", UNKNOWN, &all.other_agent, TLS12, NULL, "is not a management server's" },
		{ "this agent's own certificate", KNOWN | UNKNOWN, &all.agent, BOTH, ALPN_MUSTER, "not" },
		{ "another CA's server", KNOWN | UNKNOWN, &all.foreign, BOTH, ALPN_MUSTER, "not signed by a trusted CA" },
		{ "another CA's server, without ALPN", UNKNOWN, &all.foreign, TLS12, NULL, "not signed by a trusted CA" },
		{ "self-signed, with the right names", KNOWN | UNKNOWN, &all.self_signed, BOTH, ALPN_MUSTER, "not signed by a trusted CA" },
		{ "expired", KNOWN | UNKNOWN, &all.expired, BOTH, ALPN_MUSTER, "has expired" },
		{ "expired yesterday is expired: there is no grace for servers", UNKNOWN, &all.expired, TLS12, NULL, "has expired" },
		{ "not valid yet", KNOWN | UNKNOWN, &all.early, BOTH, ALPN_MUSTER, "not valid yet" },
		{ "a server's names without serverAuth", KNOWN, &all.no_eku, BOTH, ALPN_MUSTER, "not for a server" },
		{ "a server's names without serverAuth, not met before", UNKNOWN, &all.no_eku, BOTH, ALPN_MUSTER, "is not for a server" },
		{ "a server's names without serverAuth, without ALPN", UNKNOWN, &all.no_eku, TLS12, NULL, "not for a server" },
		{ "no role, of our CA: some host of CloudStack", KNOWN | UNKNOWN, &all.cloudstack, BOTH, ALPN_MUSTER, "not" },
		{ "no role, of our CA, without ALPN", UNKNOWN, &all.cloudstack, TLS12, NULL, "is not a management server's" },
		{ "the CA itself, as muster", KNOWN, &all.company, BOTH, ALPN_MUSTER, "not for a server", &all.company },
		{ "the CA itself, with our ALPN, not met before", UNKNOWN, &all.company, BOTH, ALPN_MUSTER,
		  "is not a management server's", &all.company },
		{ "the CA itself, as muster, not met before: taken as CloudStack's only, without ALPN", UNKNOWN, &all.root,
		  BOTH ":%DEBUG_ALLOW_KEY_USAGE_VIOLATIONS", ALPN_MUSTER, NULL },
		{ "the CA itself, as CloudStack's servers do", UNKNOWN, &all.root, TLS12 ":%DEBUG_ALLOW_KEY_USAGE_VIOLATIONS", NULL, NULL },
		{ "the CA itself, as CloudStack, where muster is known to be", KNOWN, &all.root, TLS12, NULL, "" },
		{ "TLS 1.2 where muster is known to be", KNOWN, &all.server, TLS12, ALPN_MUSTER, "" },
		{ "no ALPN where muster is known to be", KNOWN, &all.server, BOTH, NULL, "does not speak " ALPN_MUSTER },
		{ "another ALPN where muster is known to be", KNOWN, &all.server, BOTH, "http/1.1", "" },
		{ "a CA that has expired", KNOWN | UNKNOWN, &all.of_old_root, BOTH, ALPN_MUSTER, "has expired", &all.old_root },
		{ "an expired CA itself, as CloudStack", UNKNOWN, &all.old_root, TLS12 ":%DEBUG_ALLOW_KEY_USAGE_VIOLATIONS", NULL,
		  "has expired", &all.old_root },
		{ "no TLS at all", KNOWN | UNKNOWN, &all.server, BOTH, NULL, "TLS", NULL, "HTTP/1.1 400 Bad Request\r\n\r\n" },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (unsigned towards = KNOWN; towards <= UNKNOWN; towards++) {
			struct test t = {.fake = {.shows = rows[i].shows,
						  .priority = rows[i].priority,
						  .alpn = rows[i].alpn,
						  .says = rows[i].says,
						  .asks = true}};
			const struct candidate *c;
			struct agent_view view;

			if (!(rows[i].towards & towards))
				continue;
			print_message("  %s%s\n", rows[i].what, towards == KNOWN ? "" : " (not met before)");
			test_init(&t, towards == KNOWN, rows[i].ca ? rows[i].ca->cert : all.root.cert);
			for (int k = 0; k < 400; k++) {
				memory_turn(t.world);
				memory_advance(t.world, 10);
			}
			agent_look(t.agent, &view);
			assert_int_equal(agent_explain(t.agent, &c), 1);
			if (!rows[i].reason) {
				if (view.state != AGENT_STARTING)
					fail_msg("%s: %s", rows[i].what, c->sentence);
				assert_int_equal(t.n_startups, 1);
				assert_true(t.fake.n_after > 0);
			} else {
				check_row(&rows[i], view.state == AGENT_SEEKING || view.state == AGENT_DIALING);
				check_row(&rows[i], t.fake.n_accepted > 0);
				check_row(&rows[i], t.n_startups == 0);
				check_row(&rows[i], c->last_error && c->sentence && c->sentence[0]);
				if (!strstr(c->sentence, rows[i].reason))
					fail_msg("%s: says \"%s\"", rows[i].what, c->sentence);
				/* The log has the same sentence, with its quotes escaped. */
				if (!strstr(buf_str(&t.lines), "server not reachable") ||
				    (rows[i].reason[0] && !strstr(buf_str(&t.lines), rows[i].reason)))
					fail_msg("%s: the log says %s", rows[i].what, buf_str(&t.lines));
			}
			test_deinit(&t);
		}
	}
}

/* An agent's own certificate may be as old as it will: it is shown, and the server decides. */
static void an_expired_certificate_is_still_shown(void **state)
{
	struct party old =
		party_valid(&all.root, CERT_ROLE_AGENT, "g-1", TEST_WALL_S - 50 * DAY_S, TEST_WALL_S - 20 * DAY_S);
	struct party own = all.agent;
	struct test t = {.fake = {.shows = &all.server, .priority = BOTH, .alpn = ALPN_MUSTER, .asks = true}};
	unsigned n = 0;

	all.agent = old;
	test_init(&t, true, all.root.cert);
	all.agent = own;
	for (int k = 0; k < 100; k++) {
		memory_turn(t.world);
		memory_advance(t.world, 10);
	}
	assert_true(t.fake.is_done);
	assert_non_null(gnutls_certificate_get_peers(t.fake.tls, &n));
	assert_int_equal(n, 1);
	assert_int_equal(t.n_startups, 1);
	test_deinit(&t);
	party_deinit(&old);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_poses_as_a_server),
		cmocka_unit_test(an_expired_certificate_is_still_shown),
	};

	return cmocka_run_group_tests(tests, make_all, free_all);
}
