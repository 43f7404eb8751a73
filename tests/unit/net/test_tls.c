/*
 * Two TLS sessions against each other, in memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "check.h"
#include "net/tls_gnutls.h"
#include "party.h"
#include "wire/frame.h"

static struct {
	struct party root, other_root;
	struct party server, server_rsa, agent, agent_rsa, foreign, expired, early;
	char *crl;
	char fingerprint[FINGERPRINT_TEXT];
	char other_fingerprint[FINGERPRINT_TEXT];
} all;

static int make_parties(void **state)
{
	struct cert_info agent = {0};
	struct str_list revoked = {0};

	all.root = party_root("the root");
	all.other_root = party_root("another root");
	all.server = party_new(&all.root, KEY_EC_P256, CERT_ROLE_SERVER, "ms-1");
	all.server_rsa = party_new(&all.root, KEY_RSA_2048, CERT_ROLE_SERVER, "ms-1");
	all.agent = party_new(&all.root, KEY_EC_P256, CERT_ROLE_AGENT, "host-7");
	all.agent_rsa = party_new(&all.root, KEY_RSA_2048, CERT_ROLE_AGENT, "host-8");
	all.foreign = party_new(&all.other_root, KEY_EC_P256, CERT_ROLE_AGENT, "host-9");
	all.expired =
		party_valid(&all.root, CERT_ROLE_AGENT, "host-10", TEST_WALL_S - 50 * DAY_S, TEST_WALL_S - 10 * DAY_S);
	all.early = party_valid(&all.root, CERT_ROLE_AGENT, "host-11", TEST_WALL_S + DAY_S, TEST_WALL_S + 10 * DAY_S);
	party_fingerprint(all.fingerprint, &all.root);
	party_fingerprint(all.other_fingerprint, &all.other_root);

	assert_int_equal(cert_info_parse(&agent, all.agent.cert, NULL), ERR_OK);
	assert_int_equal(str_list_add(&revoked, agent.serial), ERR_OK);
	assert_int_equal(crl_new(&all.crl, all.root.cert, all.root.key, &revoked, TEST_WALL_S - DAY_S,
				 TEST_WALL_S + DAY_S, NULL),
			 ERR_OK);
	str_list_deinit(&revoked);
	cert_info_deinit(&agent);
	return 0;
}

static int free_parties(void **state)
{
	struct party *parties[] = {&all.root,      &all.other_root, &all.server,  &all.server_rsa, &all.agent,
				   &all.agent_rsa, &all.foreign,    &all.expired, &all.early};

	for (size_t i = 0; i < ARRAY_SIZE(parties); i++)
		party_deinit(parties[i]);
	mem_free(all.crl);
	return 0;
}

/* ---- a pair of sessions ---- */

struct end {
	struct tls *tls;
	struct buf in;
	enum tls_outcome outcome;
	enum err error;
	struct why why;
};

struct pair {
	struct end server, client;
};

static struct tls_creds *creds_of(const struct tls_material *m)
{
	struct tls_creds *c = NULL;
	struct why why = WHY_NONE;

	if (tls_gnutls_creds_new(&c, m, &why) != ERR_OK)
		fail_msg("credentials: %s", why.text);
	return c;
}

static void end_begin(struct end *e, const struct tls_material *m, struct tls_params p)
{
	*e = (struct end){.outcome = TLS_WANT};
	p.creds = creds_of(m);
	if (p.wall_s == 0)
		p.wall_s = TEST_WALL_S;
	if (tls_new(&e->tls, &p, &e->why) != ERR_OK)
		fail_msg("session: %s", e->why.text);
	tls_creds_unref(p.creds); /* the session has its own reference */
}

static void end_deinit(struct end *e)
{
	e->tls = tls_free(e->tls);
	buf_deinit(&e->in);
}

static void pair_deinit(struct pair *p)
{
	end_deinit(&p->server);
	end_deinit(&p->client);
}

static void end_step(struct end *e, struct end *other)
{
	struct buf out = {0};

	if (e->outcome == TLS_WANT)
		e->outcome = tls_handshake(e->tls, &e->in, &out, &e->error, &e->why);
	if (e->outcome != TLS_FAILED)
		assert_int_equal(buf_put(&other->in, out.data, out.len), ERR_OK);
	buf_deinit(&out);
}

static void pair_run(struct pair *p)
{
	for (int i = 0; i < 10; i++) {
		end_step(&p->client, &p->server);
		end_step(&p->server, &p->client);
	}
}

/* ---- who may talk to whom, and how ---- */

enum who { NOBODY, SERVER, SERVER_RSA, AGENT, AGENT_RSA, FOREIGN, EXPIRED, EARLY };

static const struct party *party_of(enum who who)
{
	switch (who) {
	case SERVER:
		return &all.server;
	case SERVER_RSA:
		return &all.server_rsa;
	case AGENT:
		return &all.agent;
	case AGENT_RSA:
		return &all.agent_rsa;
	case FOREIGN:
		return &all.foreign;
	case EXPIRED:
		return &all.expired;
	case EARLY:
		return &all.early;
	default:
		return NULL;
	}
}

static struct tls_material material_of(enum who who, bool with_ca)
{
	const struct party *p = party_of(who);

	return (struct tls_material){
		.chain = p ? p->cert : NULL, .key = p ? p->key : NULL, .ca = with_ca ? all.root.cert : NULL};
}

struct meeting {
	const char *what;
	enum who server, client;
	enum tls_profile profile;
	bool strict, no_ca, trust_all, wrong_pin, with_crl;
	int64_t grace_s;
	enum err client_error, server_error; /* ERR_OK: complete */
	const char *version, *alpn;
	const char *says; /* part of the sentence of whoever failed, or of the chain's problem */
	bool chain_ok;    /* what the server found */
};

static void meet(struct pair *p, const struct meeting *m)
{
	struct tls_material server = material_of(m->server, true), client = material_of(m->client, !m->no_ca);

	if (m->server == SERVER) {
		server.rsa_chain = all.server_rsa.cert;
		server.rsa_key = all.server_rsa.key;
	}
	if (m->client == SERVER) {
		client.rsa_chain = all.server_rsa.cert;
		client.rsa_key = all.server_rsa.key;
	}
	server.crl = m->with_crl ? all.crl : NULL;
	if (m->profile == TLS_CLIENT_JOIN)
		client = (struct tls_material){0};
	end_begin(&p->server, &server,
		  (struct tls_params){.profile = TLS_SERVER, .require_cert = m->strict, .expired_grace_s = m->grace_s});
	end_begin(&p->client, &client,
		  (struct tls_params){.profile = m->profile,
				      .trust_all = m->trust_all,
				      .pin = m->wrong_pin ? all.other_fingerprint : all.fingerprint});
	pair_run(p);
}

static void check_outcome(const struct end *e, enum err expected)
{
	assert_int_equal(e->error, expected);
	if (expected != ERR_OK) {
		assert_int_equal(e->outcome, TLS_FAILED);
		assert_true(e->why.text[0] != '\0');
	}
}

static void check_sentences(const struct pair *p, const char *part)
{
	const char *problem = tls_peer(p->server.tls)->chain_problem;

	if (!strstr(p->server.why.text, part) && !strstr(p->client.why.text, part) && !strstr(problem, part))
		fail_msg("no \"%s\" in: %s / %s / %s", part, p->server.why.text, p->client.why.text, problem);
}

static void each_profile_meets_the_server(void **state)
{
	/* clang-format off */
	static const struct meeting rows[] = {
		{ .what = "a known muster server: TLS 1.3 with our ALPN", .server = SERVER, .client = AGENT,
		  .profile = TLS_CLIENT_MUSTER, .strict = true, .version = "TLS1.3", .alpn = ALPN_MUSTER, .chain_ok = true },
		{ .what = "an unknown server that is muster: TLS 1.2 with our ALPN", .server = SERVER, .client = AGENT,
		  .profile = TLS_CLIENT_UNKNOWN, .strict = true, .version = "TLS1.2", .alpn = ALPN_MUSTER, .chain_ok = true },
		{ .what = "a CloudStack agent: TLS 1.2 without ALPN", .server = SERVER, .client = AGENT,
		  .profile = TLS_CLIENT_COMPAT, .strict = true, .version = "TLS1.2", .alpn = "", .chain_ok = true },
		{ .what = "with an RSA certificate too", .server = SERVER, .client = AGENT_RSA,
		  .profile = TLS_CLIENT_COMPAT, .strict = true, .version = "TLS1.2", .alpn = "", .chain_ok = true },
		{ .what = "and over TLS 1.3", .server = SERVER_RSA, .client = AGENT_RSA,
		  .profile = TLS_CLIENT_MUSTER, .strict = true, .version = "TLS1.3", .alpn = ALPN_MUSTER, .chain_ok = true },
		{ .what = "a server dials a server: of its two certificates it shows one", .server = SERVER, .client = SERVER,
		  .profile = TLS_CLIENT_MUSTER, .strict = true, .version = "TLS1.3", .alpn = ALPN_MUSTER, .chain_ok = true },
		{ .what = "the same, not known as muster yet", .server = SERVER, .client = SERVER,
		  .profile = TLS_CLIENT_UNKNOWN, .strict = true, .version = "TLS1.2", .alpn = ALPN_MUSTER, .chain_ok = true },
		{ .what = "who joins asks for the fingerprint and is asked for nothing", .server = SERVER, .client = NOBODY,
		  .profile = TLS_CLIENT_JOIN, .strict = true, .version = "TLS1.3", .alpn = ALPN_JOIN },
		{ .what = "the token of another cluster is refused", .server = SERVER, .client = NOBODY,
		  .profile = TLS_CLIENT_JOIN, .strict = true, .wrong_pin = true, .client_error = ERR_UNTRUSTED,
		  .says = "not the one of the token" },
		{ .what = "an agent of the same CA can't invite", .server = AGENT, .client = NOBODY,
		  .profile = TLS_CLIENT_JOIN, .client_error = ERR_UNTRUSTED, .says = "not for a server" },
		{ .what = "nor pose as a server", .server = AGENT, .client = AGENT,
		  .profile = TLS_CLIENT_MUSTER, .client_error = ERR_UNTRUSTED, .says = "not for a server" },
		{ .what = "strict: no certificate, no link", .server = SERVER, .client = NOBODY,
		  .profile = TLS_CLIENT_COMPAT, .strict = true, .server_error = ERR_UNTRUSTED, .says = "no client certificate" },
		{ .what = "strict, TLS 1.3: the same", .server = SERVER, .client = NOBODY,
		  .profile = TLS_CLIENT_MUSTER, .strict = true, .server_error = ERR_UNTRUSTED, .says = "no client certificate" },
		{ .what = "not strict: in, and it is known that there was none", .server = SERVER, .client = NOBODY,
		  .profile = TLS_CLIENT_COMPAT, .version = "TLS1.2", .alpn = "", .says = "no client certificate" },
		{ .what = "strict: another CA's certificate", .server = SERVER, .client = FOREIGN,
		  .profile = TLS_CLIENT_MUSTER, .strict = true, .server_error = ERR_UNTRUSTED, .says = "not signed by a trusted CA" },
		{ .what = "strict, TLS 1.2: the same", .server = SERVER, .client = FOREIGN,
		  .profile = TLS_CLIENT_UNKNOWN, .strict = true, .server_error = ERR_UNTRUSTED, .says = "not signed by a trusted CA" },
		{ .what = "not strict: in, with the problem named", .server = SERVER, .client = FOREIGN,
		  .profile = TLS_CLIENT_MUSTER, .version = "TLS1.3", .alpn = ALPN_MUSTER, .says = "not signed by a trusted CA" },
		{ .what = "a server of another CA is not believed", .server = FOREIGN, .client = AGENT,
		  .profile = TLS_CLIENT_COMPAT, .client_error = ERR_UNTRUSTED, .says = "not signed by a trusted CA" },
		{ .what = "unless the client has no CA and trusts everyone", .server = FOREIGN, .client = NOBODY, .no_ca = true,
		  .trust_all = true, .profile = TLS_CLIENT_COMPAT, .version = "TLS1.2", .alpn = "" },
		{ .what = "without a CA and without that, nobody is believed", .server = SERVER, .client = NOBODY, .no_ca = true,
		  .profile = TLS_CLIENT_MUSTER, .client_error = ERR_UNTRUSTED, .says = "no CA" },
		{ .what = "expired", .server = SERVER, .client = EXPIRED,
		  .profile = TLS_CLIENT_MUSTER, .strict = true, .server_error = ERR_EXPIRED, .says = "has expired" },
		{ .what = "expired, but not longer than is allowed", .server = SERVER, .client = EXPIRED, .grace_s = 30 * DAY_S,
		  .profile = TLS_CLIENT_MUSTER, .strict = true, .version = "TLS1.3", .alpn = ALPN_MUSTER, .chain_ok = true },
		{ .what = "expired longer than that", .server = SERVER, .client = EXPIRED, .grace_s = 5 * DAY_S,
		  .profile = TLS_CLIENT_MUSTER, .strict = true, .server_error = ERR_EXPIRED, .says = "has expired" },
		{ .what = "not valid yet", .server = SERVER, .client = EARLY,
		  .profile = TLS_CLIENT_MUSTER, .strict = true, .server_error = ERR_UNTRUSTED, .says = "not valid yet" },
		{ .what = "not strict: expired is the caller's to judge, the chain is good", .server = SERVER, .client = EXPIRED,
		  .profile = TLS_CLIENT_MUSTER, .version = "TLS1.3", .alpn = ALPN_MUSTER, .chain_ok = true },
		{ .what = "not strict: not valid yet, the same", .server = SERVER, .client = EARLY,
		  .profile = TLS_CLIENT_COMPAT, .version = "TLS1.2", .alpn = "", .chain_ok = true },
		{ .what = "revoked", .server = SERVER, .client = AGENT, .with_crl = true,
		  .profile = TLS_CLIENT_MUSTER, .strict = true, .server_error = ERR_REVOKED, .says = "revoked" },
		{ .what = "others are not", .server = SERVER, .client = AGENT_RSA, .with_crl = true,
		  .profile = TLS_CLIENT_MUSTER, .strict = true, .version = "TLS1.3", .alpn = ALPN_MUSTER, .chain_ok = true },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct meeting *m = &rows[i];
		struct pair p;

		print_message("  %s\n", m->what);
		meet(&p, m);
		if (m->version && (p.client.outcome != TLS_DONE || p.server.outcome != TLS_DONE))
			fail_msg("client: %s, server: %s", p.client.why.text, p.server.why.text);
		check_outcome(&p.client, m->client_error);
		check_outcome(&p.server, m->server_error);
		if (m->says)
			check_sentences(&p, m->says);
		if (m->version) {
			const struct tls_peer *client = tls_peer(p.server.tls), *server = tls_peer(p.client.tls);

			assert_string_equal(client->version, m->version);
			assert_string_equal(client->alpn, m->alpn);
			assert_string_equal(server->version, m->version);
			assert_string_equal(server->alpn, m->alpn);
			assert_int_equal(client->chain_ok, m->chain_ok);
			assert_int_equal(server->chain_ok, !m->trust_all);
			assert_true(server->has_cert);
			assert_false(server->is_ca_itself);
			assert_int_equal(client->has_cert, m->client != NOBODY);
		}
		pair_deinit(&p);
	}
}

static void the_peer_is_known_after_the_handshake(void **state)
{
	const struct meeting m = {
		.server = SERVER, .client = AGENT, .profile = TLS_CLIENT_MUSTER, .strict = true, .version = "TLS1.3"};
	struct pair p;

	meet(&p, &m);
	assert_int_equal(p.server.outcome, TLS_DONE);
	assert_int_equal(tls_peer(p.server.tls)->cert.role, CERT_ROLE_AGENT);
	assert_string_equal(tls_peer(p.server.tls)->cert.id, "host-7");
	assert_int_equal(tls_peer(p.client.tls)->cert.role, CERT_ROLE_SERVER);
	assert_string_equal(tls_peer(p.client.tls)->cert.id, "ms-1");
	/* The server has an RSA certificate too: policy 5. */
	assert_true(tls_peer(p.client.tls)->cert.is_ec);
	assert_true(strstr(tls_peer(p.client.tls)->cipher, "GCM") != NULL);
	pair_deinit(&p);
}

/* ---- what goes wrong on the way ---- */

static void a_known_muster_server_that_lost_the_alpn_is_dropped(void **state)
{
	const struct tls_material server = material_of(SERVER, true), client = material_of(AGENT, true);
	struct pair p;

	end_begin(&p.client, &client, (struct tls_params){.profile = TLS_CLIENT_MUSTER});
	end_begin(&p.server, &server, (struct tls_params){.profile = TLS_SERVER});
	end_step(&p.client, &p.server);
	/* Somebody in between spoils the name in the hello. */
	for (size_t i = 0; i + 8 <= p.server.in.len; i++)
		if (memcmp(p.server.in.data + i, ALPN_MUSTER, 8) == 0)
			p.server.in.data[i] = 'M';
	pair_run(&p);
	assert_int_not_equal(p.client.outcome, TLS_DONE);
	assert_int_equal(p.server.outcome, TLS_FAILED); /* TLS 1.3 without our ALPN is not for us */
	pair_deinit(&p);
}

/* A hello of TLS 1.2 with one cipher suite. `compressions`: a number of bytes, and those. */
static void put_hello(struct buf *out, uint16_t version, uint16_t suite, const char *compressions)
{
	static const char extensions[] = "\x00\x0a\x00\x06\x00\x04\x00\x1d\x00\x17"         /* curves */
					 "\x00\x0d\x00\x08\x00\x06\x04\x03\x04\x01\x02\x01" /* signatures */
					 "\x00\x0b\x00\x02\x01\x00\xff\x01\x00\x01\x00";    /* points, renegotiation */
	size_t n_compressions = 1 + (size_t)(uint8_t)compressions[0];
	size_t n = 2 + 32 + 1 + 4 + n_compressions + 2 + sizeof(extensions) - 1;
	enum err e = buf_put(out, "\x16\x03\x01", 3);

	if (!e)
		e = buf_put_u16(out, (uint16_t)(n + 4));
	if (!e)
		e = buf_put_u32(out, 0x01000000 | (uint32_t)n);
	if (!e)
		e = buf_put_u16(out, version);
	if (!e)
		e = buf_put(out, "0123456789abcdef0123456789abcdef", 33); /* and no session id */
	if (!e)
		e = buf_put_u16(out, 2);
	if (!e)
		e = buf_put_u16(out, suite);
	if (!e)
		e = buf_put(out, compressions, n_compressions);
	if (!e)
		e = buf_put_u16(out, sizeof(extensions) - 1);
	if (!e)
		e = buf_put(out, extensions, sizeof(extensions) - 1);
	assert_int_equal(e, ERR_OK);
}

/* Policy 1, 2, 3 and 8, with what no tool of today would send. */
static void old_hellos_are_refused(void **state)
{
	static const struct {
		const char *what;
		uint16_t version, suite;
		const char *compressions;
		bool is_good;
		const char *says;
	} rows[] = {
		{"ECDHE-ECDSA-AES256-GCM-SHA384", 0x0303, 0xc02c, "\1\0", .is_good = true},
		{"ECDHE-RSA-AES128-GCM-SHA256", 0x0303, 0xc02f, "\1\0", .is_good = true},
		{"DEFLATE beside none: none is chosen", 0x0303, 0xc02c, "\2\1\0", .is_good = true},
		{"DEFLATE alone", 0x0303, 0xc02c, "\1\1", .says = "TLS handshake"},
		{"SSL 3", 0x0300, 0xc02c, "\1\0", .says = "version"},
		{"TLS 1.0", 0x0301, 0xc02c, "\1\0", .says = "version"},
		{"TLS 1.1", 0x0302, 0xc02c, "\1\0", .says = "version"},
		{"RSA-EXPORT-RC4-40-MD5", 0x0303, 0x0003, "\1\0", .says = "in common"},
		{"NULL-NULL", 0x0303, 0x0000, "\1\0", .says = "in common"},
		{"RSA-NULL-SHA256", 0x0303, 0x003b, "\1\0", .says = "in common"},
		{"ECDHE-ECDSA-NULL-SHA", 0x0303, 0xc006, "\1\0", .says = "in common"},
		{"DH-anon-AES128-SHA", 0x0303, 0x0034, "\1\0", .says = "in common"},
		{"ECDH-anon-AES256-SHA", 0x0303, 0xc019, "\1\0", .says = "in common"},
		{"RSA-3DES-SHA", 0x0303, 0x000a, "\1\0", .says = "in common"},
		{"RSA-RC4-SHA", 0x0303, 0x0005, "\1\0", .says = "in common"},
		{"ECDHE-RSA-AES256-SHA", 0x0303, 0xc014, "\1\0", .says = "in common"},
		{"DHE-RSA-AES256-GCM-SHA384", 0x0303, 0x009f, "\1\0", .says = "in common"},
		{"PSK-AES256-GCM-SHA384", 0x0303, 0x00a9, "\1\0", .says = "in common"},
	};
	struct tls_material server = material_of(SERVER, true);

	server.rsa_chain = all.server_rsa.cert;
	server.rsa_key = all.server_rsa.key;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf out = {0};
		struct end e;

		print_message("  %s\n", rows[i].what);
		end_begin(&e, &server, (struct tls_params){.profile = TLS_SERVER});
		put_hello(&e.in, rows[i].version, rows[i].suite, rows[i].compressions);
		e.outcome = tls_handshake(e.tls, &e.in, &out, &e.error, &e.why);
		if (rows[i].is_good) {
			/* The server's hello: no session id, the suite, the compression. */
			assert_int_equal(e.outcome, TLS_WANT);
			assert_true(out.len > 47 && out.data[5] == 2 && out.data[43] <= 32);
			assert_int_equal(out.data[44 + out.data[43]] << 8 | out.data[45 + out.data[43]], rows[i].suite);
			assert_int_equal(out.data[46 + out.data[43]], 0);
		} else {
			assert_int_equal(e.outcome, TLS_FAILED);
			assert_int_equal(e.error, ERR_TLS);
			if (!strstr(e.why.text, rows[i].says))
				fail_msg("%s", e.why.text);
		}
		buf_deinit(&out);
		end_deinit(&e);
	}
}

static void garbage_is_not_a_handshake(void **state)
{
	static const char *const rows[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
					   "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "\x15\x03\x03\x00\x02\x02\x28",
					   "SSH-2.0-OpenSSH_9.2\r\n"};
	const struct tls_material server = material_of(SERVER, true);
	static const size_t sizes[] = {26, 10, 7, 21};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf out = {0};
		struct end e;

		end_begin(&e, &server, (struct tls_params){.profile = TLS_SERVER});
		assert_int_equal(buf_put(&e.in, rows[i], sizes[i]), ERR_OK);
		e.outcome = tls_handshake(e.tls, &e.in, &out, &e.error, &e.why);
		assert_int_equal(e.outcome, TLS_FAILED);
		assert_int_equal(e.error, ERR_TLS);
		assert_true(e.why.text[0] != '\0');
		buf_deinit(&out);
		end_deinit(&e);
	}
}

static void a_handshake_takes_single_bytes(void **state)
{
	static const enum tls_profile profiles[] = {TLS_CLIENT_MUSTER, TLS_CLIENT_UNKNOWN};

	for (size_t i = 0; i < ARRAY_SIZE(profiles); i++) {
		const struct tls_material server = material_of(SERVER, true), client = material_of(AGENT, true);
		struct pair p;
		struct buf wire[2] = {{0}, {0}};

		end_begin(&p.client, &client, (struct tls_params){.profile = profiles[i]});
		end_begin(&p.server, &server, (struct tls_params){.profile = TLS_SERVER, .require_cert = true});
		for (int round = 0; round < 20000; round++) {
			struct end *e = round % 2 ? &p.server : &p.client;
			struct buf *mine = &wire[round % 2], *theirs = &wire[!(round % 2)];

			if (mine->len > 0) {
				assert_int_equal(buf_put(&e->in, mine->data, 1), ERR_OK);
				buf_consume(mine, 1);
			}
			if (e->outcome == TLS_WANT)
				e->outcome = tls_handshake(e->tls, &e->in, theirs, &e->error, &e->why);
		}
		assert_int_equal(p.client.outcome, TLS_DONE);
		assert_int_equal(p.server.outcome, TLS_DONE);
		buf_deinit(&wire[0]);
		buf_deinit(&wire[1]);
		pair_deinit(&p);
	}
}

/* ---- was it our certificate? ---- */

/* The other side has been served so many flights, and then ends it, with or without a word. */
static void a_client_knows_whether_its_certificate_was_seen(void **state)
{
	static const struct {
		const char *what;
		enum who client;
		enum tls_profile profile;
		unsigned flights; /* of the client */
		uint8_t alert;    /* 0: none */
		enum tls_outcome outcome;
		bool in_question;
	} rows[] = {
		{"1.3: closed at the hello", AGENT, TLS_CLIENT_MUSTER, 1, 0, TLS_WANT, false},
		{"1.3: an alert at the hello", AGENT, TLS_CLIENT_MUSTER, 1, 40, TLS_FAILED, false},
		{"1.3: closed behind the certificate", AGENT, TLS_CLIENT_MUSTER, 2, 0, TLS_DONE, true},
		{"1.3: we don't trust the server, and showed nothing", AGENT, TLS_CLIENT_MUSTER, 3, 0, TLS_FAILED,
		 false},
		{"1.2: closed at the hello", AGENT, TLS_CLIENT_UNKNOWN, 1, 0, TLS_WANT, false},
		{"1.2: an alert at the hello", AGENT, TLS_CLIENT_UNKNOWN, 1, 40, TLS_FAILED, false},
		{"1.2: closed behind the certificate", AGENT, TLS_CLIENT_UNKNOWN, 2, 0, TLS_WANT, true},
		{"1.2: bad certificate", AGENT, TLS_CLIENT_UNKNOWN, 2, 42, TLS_FAILED, true},
		{"1.2: certificate unknown", AGENT, TLS_CLIENT_COMPAT, 2, 46, TLS_FAILED, true},
		{"1.2: unknown CA", AGENT, TLS_CLIENT_COMPAT, 2, 48, TLS_FAILED, true},
		{"1.2: an internal error is not about it", AGENT, TLS_CLIENT_COMPAT, 2, 80, TLS_FAILED, false},
		{"1.2: nor is that somebody gave up", AGENT, TLS_CLIENT_COMPAT, 2, 90, TLS_FAILED, false},
		{"1.2: that none was shown is about it too", NOBODY, TLS_CLIENT_COMPAT, 2, 0, TLS_WANT, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool is_foreign = rows[i].flights == 3;
		const struct tls_material server = material_of(is_foreign ? FOREIGN : SERVER, true),
					  client = material_of(rows[i].client, true);
		const uint8_t alert[] = {21, 3, 3, 0, 2, 2, rows[i].alert};
		struct pair p;

		end_begin(&p.client, &client, (struct tls_params){.profile = rows[i].profile});
		end_begin(&p.server, &server, (struct tls_params){.profile = TLS_SERVER});
		end_step(&p.client, &p.server);
		if (rows[i].flights > 1) {
			end_step(&p.server, &p.client);
			end_step(&p.client, &p.server);
		}
		if (rows[i].alert) {
			assert_int_equal(buf_put(&p.client.in, alert, sizeof(alert)), ERR_OK);
			end_step(&p.client, &p.server);
		}
		check_row(&rows[i], p.client.outcome == rows[i].outcome);
		check_row(&rows[i], tls_cert_in_question(p.client.tls) == rows[i].in_question);
		check_row(&rows[i], !tls_cert_in_question(p.server.tls));
		pair_deinit(&p);
	}
}

/* ---- records ---- */

static void check_record(struct end *from, struct end *to, const uint8_t *plain, size_t n)
{
	struct buf sealed = {0}, opened = {0};
	struct why why = WHY_NONE;

	assert_int_equal(tls_seal(from->tls, plain, n, &sealed), ERR_OK);
	/* Exactly one record, and one that fits a packet. */
	assert_int_equal(sealed.data[0], 0x17);
	assert_int_equal(sealed.data[3] * 256 + sealed.data[4] + 5, sealed.len);
	assert_true(sealed.len <= FRAME_MAX);
	if (tls_open(to->tls, (struct bytes){.data = sealed.data, .len = sealed.len}, &opened, &why) != ERR_OK)
		fail_msg("%s", why.text);
	assert_int_equal(opened.len, n);
	assert_memory_equal(opened.data, plain, n);
	buf_deinit(&sealed);
	buf_deinit(&opened);
}

static const struct meeting both_versions[] = {
	{.server = SERVER, .client = AGENT, .profile = TLS_CLIENT_MUSTER, .strict = true},
	{.server = SERVER, .client = AGENT, .profile = TLS_CLIENT_COMPAT, .strict = true},
};

static void data_goes_both_ways_in_single_records(void **state)
{
	static const size_t sizes[] = {1, 2, 40, 1000, FRAME_PLAIN_MAX - 1, FRAME_PLAIN_MAX};
	uint8_t plain[FRAME_PLAIN_MAX];

	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i * 7);
	for (size_t v = 0; v < ARRAY_SIZE(both_versions); v++) {
		struct pair p;

		meet(&p, &both_versions[v]);
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			check_record(&p.client, &p.server, plain, sizes[i]);
			check_record(&p.server, &p.client, plain, sizes[i]);
		}
		/* Nothing was sent beside the records: no ticket, no alert. */
		assert_int_equal(p.client.in.len, 0);
		assert_int_equal(p.server.in.len, 0);
		pair_deinit(&p);
	}
}

static void several_records_are_opened_together(void **state)
{
	for (size_t v = 0; v < ARRAY_SIZE(both_versions); v++) {
		struct buf sealed = {0}, opened = {0};
		struct pair p;

		meet(&p, &both_versions[v]);
		assert_int_equal(tls_seal(p.client.tls, "one", 3, &sealed), ERR_OK);
		assert_int_equal(tls_seal(p.client.tls, "two", 3, &sealed), ERR_OK);
		assert_int_equal(
			tls_open(p.server.tls, (struct bytes){.data = sealed.data, .len = sealed.len}, &opened, NULL),
			ERR_OK);
		assert_int_equal(opened.len, 6);
		assert_memory_equal(opened.data, "onetwo", 6);
		buf_deinit(&sealed);
		buf_deinit(&opened);
		pair_deinit(&p);
	}
}

static void bad_records_are_refused_with_a_sentence(void **state)
{
	static const struct {
		const char *what, *says;
		size_t flip;  /* this byte from the end; 0: none */
		size_t cut;   /* so many from the end */
		uint8_t type; /* 0: as it is */
	} rows[] = {
		{.what = "a bit flipped", .says = "TLS record", .flip = 1},
		{.what = "a byte missing", .says = "cut off", .cut = 1},
		{.what = "only a piece of the header", .says = "cut off", .cut = 1000},
		{.what = "an alert", .says = "an alert", .type = 21},
		{.what = "a handshake message", .says = "a handshake message", .type = 22},
	};

	for (size_t v = 0; v < ARRAY_SIZE(both_versions); v++) {
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			struct buf sealed = {0}, opened = {0};
			struct why why = WHY_NONE;
			struct pair p;

			print_message("  %s\n", rows[i].what);
			meet(&p, &both_versions[v]);
			assert_int_equal(tls_seal(p.client.tls, "hello", 5, &sealed), ERR_OK);
			if (rows[i].flip)
				sealed.data[sealed.len - rows[i].flip] ^= 1;
			if (rows[i].type)
				sealed.data[0] = rows[i].type;
			sealed.len = rows[i].cut > sealed.len ? 3 : sealed.len - rows[i].cut;
			assert_int_equal(tls_open(p.server.tls, (struct bytes){.data = sealed.data, .len = sealed.len},
						  &opened, &why),
					 ERR_TLS);
			if (!strstr(why.text, rows[i].says))
				fail_msg("\"%s\" in: %s", rows[i].says, why.text);
			buf_deinit(&sealed);
			buf_deinit(&opened);
			pair_deinit(&p);
		}
	}
}

/* What stands behind the client's last handshake message in one read is the first packet, not TLS's to eat. */
static void bytes_behind_the_handshake_stay(void **state)
{
	const struct tls_material server = material_of(SERVER, true), client = material_of(AGENT, true);
	struct pair p;

	end_begin(&p.client, &client, (struct tls_params){.profile = TLS_CLIENT_MUSTER});
	end_begin(&p.server, &server, (struct tls_params){.profile = TLS_SERVER, .require_cert = true});
	for (int i = 0; i < 10 && p.client.outcome == TLS_WANT; i++) {
		end_step(&p.client, &p.server);
		if (p.client.outcome == TLS_WANT)
			end_step(&p.server, &p.client);
	}
	assert_int_equal(p.client.outcome, TLS_DONE);
	assert_int_equal(p.server.outcome, TLS_WANT);
	assert_int_equal(buf_put(&p.server.in, "\0\0\0\5hello", 9), ERR_OK);
	end_step(&p.server, &p.client);
	assert_int_equal(p.server.outcome, TLS_DONE);
	assert_int_equal(p.server.in.len, 9);
	assert_memory_equal(p.server.in.data, "\0\0\0\5hello", 9);
	pair_deinit(&p);
}

/* ---- credentials ---- */

static void bad_material_is_refused(void **state)
{
	const struct {
		const char *what;
		struct tls_material m;
	} rows[] = {
		{"a key of another certificate", {.chain = all.server.cert, .key = all.agent.key}},
		{"a certificate that is none", {.chain = "nonsense", .key = all.agent.key}},
		{"a CA that is none", {.ca = "nonsense"}},
		{"a revocation list that is none", {.ca = all.root.cert, .crl = "nonsense"}},
		{"a revocation list of another CA", {.ca = all.other_root.cert, .crl = all.crl}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct tls_creds *c = NULL;
		struct why why = WHY_NONE;

		print_message("  %s\n", rows[i].what);
		assert_int_not_equal(tls_gnutls_creds_new(&c, &rows[i].m, &why), ERR_OK);
		assert_null(c);
		assert_true(why.text[0] != '\0');
	}
}

static void joining_needs_a_fingerprint(void **state)
{
	struct tls_creds *c = creds_of(&(struct tls_material){0});
	struct why why = WHY_NONE;
	struct tls *t = NULL;

	assert_int_equal(tls_new(&t, &(struct tls_params){.profile = TLS_CLIENT_JOIN, .creds = c}, &why), ERR_INVALID);
	assert_null(t);
	tls_creds_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_profile_meets_the_server),
		cmocka_unit_test(the_peer_is_known_after_the_handshake),
		cmocka_unit_test(a_known_muster_server_that_lost_the_alpn_is_dropped),
		cmocka_unit_test(old_hellos_are_refused),
		cmocka_unit_test(garbage_is_not_a_handshake),
		cmocka_unit_test(a_handshake_takes_single_bytes),
		cmocka_unit_test(a_client_knows_whether_its_certificate_was_seen),
		cmocka_unit_test(data_goes_both_ways_in_single_records),
		cmocka_unit_test(several_records_are_opened_together),
		cmocka_unit_test(bad_records_are_refused_with_a_sentence),
		cmocka_unit_test(bytes_behind_the_handshake_stay),
		cmocka_unit_test(bad_material_is_refused),
		cmocka_unit_test(joining_needs_a_fingerprint),
	};

	return cmocka_run_group_tests(tests, make_parties, free_parties);
}
