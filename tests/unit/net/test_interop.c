/*
 * Links against OpenSSL's command-line tools, which share no code with us: what CloudStack's ends look like to TLS.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/link.h"
#include "net/world_uv.h"
#include "party.h"

#define DEADLINE_MS 60000

static struct {
	struct party root, server, server_rsa, agent, agent_rsa;
	struct party ec_root, server_of_ec, server_rsa_of_ec;
	char dir[64];
} all;

static char *path_of(const char *name)
{
	char *path = mem_printf("%s/%s", all.dir, name);

	assert_non_null(path);
	return path;
}

static void put_file(const char *name, const char *text)
{
	char *path = path_of(name);

	assert_int_equal(file_replace(&fs_posix, path, 0600, text, strlen(text), NULL), ERR_OK);
	mem_free(path);
}

static int prepare(void **state)
{
	all.root = party_root_of(KEY_RSA_2048, "the root"); /* as CloudStack's: its servers sign with it */
	all.server = party_new(&all.root, KEY_EC_P256, CERT_ROLE_SERVER, "ms-1");
	all.server_rsa = party_new(&all.root, KEY_RSA_2048, CERT_ROLE_SERVER, "ms-1");
	all.agent = party_new(&all.root, KEY_EC_P256, CERT_ROLE_AGENT, "host-7");
	all.agent_rsa = party_new(&all.root, KEY_RSA_2048, CERT_ROLE_AGENT, "host-8");
	all.ec_root = party_root("the other root");
	all.server_of_ec = party_new(&all.ec_root, KEY_EC_P256, CERT_ROLE_SERVER, "ms-1");
	all.server_rsa_of_ec = party_new(&all.ec_root, KEY_RSA_2048, CERT_ROLE_SERVER, "ms-1");
	strcpy(all.dir, "/tmp/muster-interop-XXXXXX");
	assert_non_null(mkdtemp(all.dir));
	put_file("root.pem", all.root.cert);
	put_file("root.key", all.root.key);
	put_file("server.pem", all.server.cert);
	put_file("server.key", all.server.key);
	put_file("agent_rsa.pem", all.agent_rsa.cert);
	put_file("agent_rsa.key", all.agent_rsa.key);
	put_file("agent.pem", all.agent.cert);
	put_file("agent.key", all.agent.key);
	return 0;
}

static int tidy_up(void **state)
{
	static const char *const names[] = {"root.pem",      "root.key",      "server.pem", "server.key",
					    "agent_rsa.pem", "agent_rsa.key", "agent.pem",  "agent.key"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char *path = path_of(names[i]);

		unlink(path);
		mem_free(path);
	}
	rmdir(all.dir);
	party_deinit(&all.root);
	party_deinit(&all.server);
	party_deinit(&all.server_rsa);
	party_deinit(&all.agent);
	party_deinit(&all.agent_rsa);
	party_deinit(&all.ec_root);
	party_deinit(&all.server_of_ec);
	party_deinit(&all.server_rsa_of_ec);
	return 0;
}

/* ---- a process ---- */

struct tool {
	pid_t pid;
	int in, out;
};

static void tool_start(struct tool *t, const char *const *args)
{
	int in[2], out[2];

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	t->pid = fork();
	assert_true(t->pid >= 0);
	if (t->pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(open("/dev/null", O_WRONLY), 2); /* it complains about everything we want to see */
		close(in[1]);
		close(out[0]);
		if (chdir(all.dir) == 0)
			execvp(args[0], (char **)(uintptr_t)args);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	t->in = in[1];
	t->out = out[0];
}

static void tool_stop(struct tool *t)
{
	close(t->in);
	close(t->out);
	kill(t->pid, SIGKILL);
	waitpid(t->pid, NULL, 0);
}

/* ---- a link ---- */

struct test {
	struct world *world;
	struct tls_creds *creds;
	struct link_params params;
	struct link *link;
	struct timer give_up;
	bool gave_up;
	int up, closed;
	enum err error;
	struct why why;
};

static void on_up(struct link *l, void *user)
{
	((struct test *)user)->up++;
}

static void on_closed(struct link *l, void *user, enum err why, const char *sentence)
{
	struct test *t = user;

	t->closed++;
	t->error = why;
	why_set(&t->why, "%s", sentence);
	t->link = NULL;
}

static const struct link_events events = {.up = on_up, .closed = on_closed};

static void on_accepted(void *user, struct stream *s)
{
	struct test *t = user;

	if (t->link)
		stream_close(s);
	else
		assert_int_equal(link_accept(&t->link, &t->params, s), ERR_OK);
}

static void on_give_up(struct timer *timer)
{
	container_of(timer, struct test, give_up)->gave_up = true;
}

static void test_init(struct test *t, const struct tls_material *m, enum tls_profile profile)
{
	*t = (struct test){0};
	assert_int_equal(world_uv_new(&t->world, NULL), ERR_OK);
	assert_int_equal(tls_creds_new(t->world, &t->creds, m, NULL), ERR_OK);
	t->params = (struct link_params){
		.world = t->world,
		.tls = {.profile = profile, .creds = t->creds, .require_cert = true, .wall_s = TEST_WALL_S},
		.events = &events,
		.user = t};
	timer_init(&t->give_up, on_give_up);
}

static void test_deinit(struct test *t)
{
	link_close(t->link);
	tls_creds_unref(t->creds);
	world_uv_free(t->world);
}

/* Until the link is up or has ended. */
static void run(struct test *t)
{
	timer_set_in(t->world, &t->give_up, DEADLINE_MS);
	while (!t->up && !t->closed && !t->gave_up)
		world_uv_turn(t->world);
	timer_stop(t->world, &t->give_up);
	assert_false(t->gave_up);
}

static struct tls_material material_of(const struct party *p)
{
	return (struct tls_material){.chain = p->cert, .key = p->key, .ca = all.root.cert};
}

/* ---- s_client against our server ---- */

static void openssl_clients_get_what_their_hello_allows(void **state)
{
	static const struct {
		const char *what;
		const char *args[12];
		enum err error;
		const char *version, *alpn, *id;
		const char *says;   /* in the reason, or in the name of the cipher suite */
		bool no_rsa, ec_ca; /* of the server */
	} rows[] = {
		{.what = "a client that would do TLS 1.3, without our ALPN: 1.2",
		 .args = {"-cert", "agent_rsa.pem", "-key", "agent_rsa.key"},
		 .version = "TLS1.2",
		 .alpn = "",
		 .id = "host-8"},
		{.what = "with somebody else's ALPN: 1.2, none selected",
		 .args = {"-cert", "agent.pem", "-key", "agent.key", "-alpn", "h2,http/1.1"},
		 .version = "TLS1.2",
		 .alpn = "",
		 .id = "host-7"},
		{.what = "with our ALPN among others: 1.3",
		 .args = {"-cert", "agent.pem", "-key", "agent.key", "-alpn", "h2,muster/1"},
		 .version = "TLS1.3",
		 .alpn = ALPN_MUSTER,
		 .id = "host-7"},
		{.what = "our ALPN and TLS 1.2 at most: 1.2",
		 .args = {"-cert", "agent.pem", "-key", "agent.key", "-alpn", "muster/1", "-tls1_2"},
		 .version = "TLS1.2",
		 .alpn = ALPN_MUSTER,
		 .id = "host-7"},
		{.what = "joining: no certificate is asked for",
		 .args = {"-alpn", "muster-join/1", "-cert", "agent.pem", "-key", "agent.key"},
		 .version = "TLS1.3",
		 .alpn = ALPN_JOIN},
		{.what = "an RSA-only client gets the RSA certificate",
		 .args = {"-cert", "agent_rsa.pem", "-key", "agent_rsa.key", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"},
		 .version = "TLS1.2",
		 .alpn = "",
		 .id = "host-8"},
		/* 5: whichever certificate it can verify. */
		{.what = "ECDSA and RSA: the ECDSA certificate",
		 .args = {"-cert", "agent_rsa.pem", "-key", "agent_rsa.key"},
		 .version = "TLS1.2",
		 .alpn = "",
		 .id = "host-8",
		 .says = "ECDHE_ECDSA"},
		{.what = "RSA before ECDSA: the same",
		 .args = {"-cert", "agent_rsa.pem", "-key", "agent_rsa.key", "-cipher",
			  "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES256-GCM-SHA384", "-sigalgs",
			  "RSA+SHA256:ECDSA+SHA256"},
		 .version = "TLS1.2",
		 .alpn = "",
		 .id = "host-8",
		 .says = "ECDHE_ECDSA"},
		{.what = "signatures by ECDSA only",
		 .args = {"-cert", "agent.pem", "-key", "agent.key", "-sigalgs", "ECDSA+SHA256"},
		 .version = "TLS1.2",
		 .alpn = "",
		 .id = "host-7",
		 .says = "ECDHE_ECDSA"},
		{.what = "the same over TLS 1.3",
		 .args = {"-cert", "agent.pem", "-key", "agent.key", "-sigalgs", "ECDSA+SHA256", "-alpn", "muster/1"},
		 .version = "TLS1.3",
		 .alpn = ALPN_MUSTER,
		 .id = "host-7"},
		{.what = "signatures by RSA only",
		 .args = {"-cert", "agent_rsa.pem", "-key", "agent_rsa.key", "-sigalgs", "RSA+SHA256"},
		 .version = "TLS1.2",
		 .alpn = "",
		 .id = "host-8",
		 .says = "ECDHE_RSA"},
		{.what = "the same over TLS 1.3",
		 .args = {"-cert", "agent_rsa.pem", "-key", "agent_rsa.key", "-sigalgs",
			  "rsa_pss_rsae_sha256:RSA+SHA256", "-alpn", "muster/1"},
		 .version = "TLS1.3",
		 .alpn = ALPN_MUSTER,
		 .id = "host-8"},
		{.what = "the same where the CA is an ECDSA one, which it would have to verify",
		 .ec_ca = true,
		 .args = {"-cert", "agent_rsa.pem", "-key", "agent_rsa.key", "-sigalgs", "RSA+SHA256"},
		 .version = "TLS1.2",
		 .alpn = "",
		 .id = "host-8",
		 .says = "ECDHE_RSA"},
		{.what = "signatures by RSA only where there is no RSA certificate, refused",
		 .no_rsa = true,
		 .args = {"-cert", "agent_rsa.pem", "-key", "agent_rsa.key", "-sigalgs", "RSA+SHA256"},
		 .error = ERR_TLS,
		 .says = "no RSA certificate"},
		{.what = "the same over TLS 1.3",
		 .no_rsa = true,
		 .args = {"-cert", "agent_rsa.pem", "-key", "agent_rsa.key", "-sigalgs", "rsa_pss_rsae_sha256", "-alpn",
			  "muster/1"},
		 .error = ERR_TLS,
		 .says = "no RSA certificate"},
		{.what = "RSA suites only where there is no RSA certificate, refused",
		 .no_rsa = true,
		 .args = {"-cert", "agent_rsa.pem", "-key", "agent_rsa.key", "-tls1_2", "-cipher",
			  "ECDHE-RSA-AES256-GCM-SHA384"},
		 .error = ERR_TLS,
		 .says = "no RSA certificate"},
		/* 1 to 4: what is not done. */
		{.what = "no certificate, refused", .args = {"-tls1_2"}, .error = ERR_UNTRUSTED},
		{.what = "TLS 1.3 only and no ALPN, refused",
		 .args = {"-tls1_3"},
		 .error = ERR_TLS,
		 .says = "in common"},
		{.what = "TLS 1.1, refused",
		 .args = {"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"},
		 .error = ERR_TLS,
		 .says = "version"},
		{.what = "TLS 1.0, refused",
		 .args = {"-tls1", "-cipher", "ALL:@SECLEVEL=0"},
		 .error = ERR_TLS,
		 .says = "version"},
		{.what = "nobody proves who he is, refused",
		 .args = {"-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"},
		 .error = ERR_TLS,
		 .says = "in common"},
		{.what = "nothing is encrypted, refused",
		 .args = {"-tls1_2", "-cipher", "eNULL:@SECLEVEL=0"},
		 .error = ERR_TLS,
		 .says = "in common"},
		{.what = "the key under the server's RSA key, refused",
		 .args = {"-tls1_2", "-cipher", "AES256-GCM-SHA384"},
		 .error = ERR_TLS,
		 .says = "in common"},
		{.what = "finite fields, refused",
		 .args = {"-tls1_2", "-cipher", "DHE-RSA-AES256-GCM-SHA384"},
		 .error = ERR_TLS,
		 .says = "in common"},
		{.what = "CBC, refused",
		 .args = {"-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA384:ECDHE-ECDSA-AES256-SHA"},
		 .error = ERR_TLS,
		 .says = "in common"},
		{.what = "SHA-1, refused",
		 .args = {"-tls1_2", "-cipher", "ALL:@SECLEVEL=0", "-sigalgs", "RSA+SHA1:ECDSA+SHA1"},
		 .error = ERR_TLS,
		 .says = "in common"},
		{.what = "a curve that nobody needs, refused",
		 .args = {"-tls1_2", "-curves", "brainpoolP256r1"},
		 .error = ERR_TLS,
		 .says = "in common"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct tls_material m = material_of(&all.server);
		const char *args[24] = {"openssl", "s_client", "-quiet", "-ign_eof", "-connect"};
		struct listener *listener;
		char where[32];
		struct test t;
		struct tool tool;
		size_t n = 5;

		print_message("  %s\n", rows[i].what);
		if (rows[i].ec_ca) {
			m.chain = all.server_of_ec.cert;
			m.key = all.server_of_ec.key;
			m.rsa_chain = all.server_rsa_of_ec.cert;
			m.rsa_key = all.server_rsa_of_ec.key;
		} else if (!rows[i].no_rsa) {
			m.rsa_chain = all.server_rsa.cert;
			m.rsa_key = all.server_rsa.key;
		}
		test_init(&t, &m, TLS_SERVER);
		t.params.offload = i % 2;
		assert_int_equal(
			world_listen(t.world, &listener,
				     &(struct listen_params){.ip = "127.0.0.1", .accepted = on_accepted, .user = &t},
				     NULL),
			ERR_OK);
		snprintf(where, sizeof(where), "127.0.0.1:%u", listener_port(listener));
		args[n++] = where;
		for (size_t a = 0; rows[i].args[a]; a++)
			args[n++] = rows[i].args[a];
		tool_start(&tool, args);
		run(&t);
		if (rows[i].error) {
			assert_int_equal(t.closed, 1);
			if (t.error != rows[i].error || (rows[i].says && !strstr(t.why.text, rows[i].says)))
				fail_msg("%s: %s", err_name(t.error), t.why.text);
		} else {
			if (!t.up)
				fail_msg("%s", t.why.text);
			if (rows[i].says && !strstr(link_peer(t.link)->cipher, rows[i].says))
				fail_msg("%s", link_peer(t.link)->cipher);
			assert_string_equal(link_peer(t.link)->version, rows[i].version);
			assert_string_equal(link_peer(t.link)->alpn, rows[i].alpn);
			assert_int_equal(link_peer(t.link)->has_cert, !!rows[i].id);
			if (rows[i].id)
				assert_string_equal(link_peer(t.link)->cert.id, rows[i].id);
		}
		listener_free(listener);
		test_deinit(&t);
		tool_stop(&tool);
	}
}

/* ---- our client against s_server ---- */

static bool read_line(struct tool *t, char *line, size_t size)
{
	size_t n = 0;

	while (n + 1 < size && read(t->out, line + n, 1) == 1 && line[n] != '\n')
		n++;
	line[n] = '\0';
	return n > 0;
}

static uint16_t tool_port(struct tool *t)
{
	char line[256] = "";
	unsigned port = 0;

	/* "ACCEPT 127.0.0.1:40123", after a remark or two */
	while (!str_starts(line, "ACCEPT ") && read_line(t, line, sizeof(line)))
		;
	if (!strrchr(line, ':') || sscanf(strrchr(line, ':') + 1, "%u", &port) != 1)
		fail_msg("no port in: %s", line);
	return (uint16_t)port;
}

static void our_clients_meet_openssl_servers(void **state)
{
	static const struct {
		const char *what;
		enum tls_profile profile;
		const char *args[8];
		enum err error;
		const char *version, *says;
		bool ca_itself;
	} rows[] = {
		{.what = "a server that presents the CA itself, as CloudStack's",
		 .profile = TLS_CLIENT_COMPAT,
		 .args = {"-cert", "root.pem", "-key", "root.key"},
		 .version = "TLS1.2",
		 .ca_itself = true},
		{.what = "that is for the CloudStack profile only",
		 .profile = TLS_CLIENT_UNKNOWN,
		 .args = {"-cert", "root.pem", "-key", "root.key"},
		 .error = ERR_TLS,
		 .says = "TLS handshake"},
		{.what = "a server with a certificate of our CA",
		 .profile = TLS_CLIENT_UNKNOWN,
		 .args = {"-cert", "server.pem", "-key", "server.key"},
		 .version = "TLS1.2"},
		{.what = "a muster server that speaks muster no more",
		 .profile = TLS_CLIENT_MUSTER,
		 .args = {"-cert", "server.pem", "-key", "server.key"},
		 .error = ERR_TLS,
		 .says = "does not speak muster/1"},
		{.what = "one that can do TLS 1.2 only",
		 .profile = TLS_CLIENT_MUSTER,
		 .args = {"-cert", "server.pem", "-key", "server.key", "-tls1_2"},
		 .error = ERR_TLS},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *args[24] = {"openssl", "s_server", "-accept",  "127.0.0.1:0",  "-Verify",
					"2",       "-CAfile",  "root.pem", "-num_tickets", "0"};
		const struct tls_material m = material_of(&all.agent);
		struct test t;
		struct tool tool;
		size_t n = 10;

		print_message("  %s\n", rows[i].what);
		for (size_t a = 0; rows[i].args[a]; a++)
			args[n++] = rows[i].args[a];
		tool_start(&tool, args);
		test_init(&t, &m, rows[i].profile);
		assert_int_equal(link_dial(&t.link, &t.params, "127.0.0.1", tool_port(&tool), NULL, NULL), ERR_OK);
		run(&t);
		if (rows[i].error) {
			assert_int_equal(t.closed, 1);
			assert_int_equal(t.error, rows[i].error);
			if (rows[i].says && !strstr(t.why.text, rows[i].says))
				fail_msg("\"%s\" in: %s", rows[i].says, t.why.text);
		} else {
			if (!t.up)
				fail_msg("%s", t.why.text);
			assert_string_equal(link_peer(t.link)->version, rows[i].version);
			assert_int_equal(link_peer(t.link)->is_ca_itself, rows[i].ca_itself);
			assert_true(link_peer(t.link)->chain_ok);
			assert_false(link_is_muster(t.link));
		}
		test_deinit(&t);
		tool_stop(&tool);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(openssl_clients_get_what_their_hello_allows),
		cmocka_unit_test(our_clients_meet_openssl_servers),
	};

	if (system("openssl version >/dev/null 2>&1") != 0)
		return 77; /* meson: skipped */
	return cmocka_run_group_tests(tests, prepare, tidy_up);
}
