/*
 * Session tickets: who gets one, where it is taken, and that whoever comes back with one is judged as anybody else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/tls_gnutls.h"
#include "net/tls_private.h"
#include "party.h"

static struct {
	struct party root, other_root;
	struct party server, other_server, agent, foreign, brief;
	char *crl;
	char fingerprint[FINGERPRINT_TEXT];
} all;

static int make_parties(void **state)
{
	struct cert_info agent = {0};
	struct str_list revoked = {0};

	all.root = party_root("the root");
	all.other_root = party_root("another root");
	all.server = party_new(&all.root, KEY_EC_P256, CERT_ROLE_SERVER, "ms-1");
	all.other_server = party_new(&all.root, KEY_EC_P256, CERT_ROLE_SERVER, "ms-2");
	all.agent = party_new(&all.root, KEY_EC_P256, CERT_ROLE_AGENT, "host-7");
	all.foreign = party_new(&all.other_root, KEY_EC_P256, CERT_ROLE_AGENT, "host-9");
	all.brief = party_valid(&all.root, CERT_ROLE_AGENT, "host-8", TEST_WALL_S - DAY_S, TEST_WALL_S + DAY_S);
	party_fingerprint(all.fingerprint, &all.root);
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
	struct party *parties[] = {&all.root,  &all.other_root, &all.server, &all.other_server,
				   &all.agent, &all.foreign,    &all.brief};

	for (size_t i = 0; i < ARRAY_SIZE(parties); i++)
		party_deinit(parties[i]);
	mem_free(all.crl);
	return 0;
}

/* ---- two ends ---- */

/* Of keys 1, 2, 3 ... : the newest and the one before; 0: none. */
static struct tls_ticket_keys keys_of(unsigned newest, unsigned last)
{
	struct tls_ticket_keys k = {0};

	if (newest)
		memset(k.keys[k.n++], (int)newest, TLS_TICKET_KEY_SIZE);
	if (last)
		memset(k.keys[k.n++], (int)last, TLS_TICKET_KEY_SIZE);
	return k;
}

struct end {
	struct tls *tls;
	struct buf in;
	enum tls_outcome outcome;
	enum err error;
	struct why why;
};

/* With a priority text of its own for TLS 1.3; NULL: ours. */
static void end_begin_as(struct end *e, const struct tls_material *m, struct tls_params p, const char *priority)
{
	struct tls_creds *c = NULL;

	*e = (struct end){.outcome = TLS_WANT};
	if (tls_gnutls_creds_new(&c, m, &e->why) != ERR_OK)
		fail_msg("credentials: %s", e->why.text);
	if (priority) {
		gnutls_priority_t *own = &container_of(c, struct creds, base)->priorities[TLS_ONLY_13];

		gnutls_priority_deinit(*own);
		assert_int_equal(gnutls_priority_init(own, priority, NULL), GNUTLS_E_SUCCESS);
	}
	p.creds = c;
	p.wall_s = p.wall_s ? p.wall_s : TEST_WALL_S;
	if (tls_new(&e->tls, &p, &e->why) != ERR_OK)
		fail_msg("session: %s", e->why.text);
	tls_creds_unref(c);
}

static void end_begin(struct end *e, const struct tls_material *m, struct tls_params p)
{
	end_begin_as(e, m, p, NULL);
}

static void end_deinit(struct end *e)
{
	e->tls = tls_free(e->tls);
	buf_deinit(&e->in);
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

struct pair {
	struct end server, client;
};

static void pair_run(struct pair *p)
{
	for (int i = 0; i < 6; i++) {
		end_step(&p->client, &p->server);
		end_step(&p->server, &p->client);
	}
}

static void pair_deinit(struct pair *p)
{
	end_deinit(&p->server);
	end_deinit(&p->client);
}

/* What the server's ticket becomes at the client; false: there was none. */
static bool hand_over(struct pair *p, struct buf *ticket)
{
	struct buf records = {0}, plain = {0};
	struct why why = WHY_NONE;
	bool taken;

	assert_int_equal(tls_ticket_put(p->server.tls, &records), ERR_OK);
	if (records.len > 0 &&
	    tls_open(p->client.tls, (struct bytes){.data = records.data, .len = records.len}, &plain, &why) != ERR_OK)
		fail_msg("%s", why.text);
	assert_int_equal(plain.len, 0);
	taken = tls_ticket_take(p->client.tls, ticket);
	assert_int_equal(taken, records.len > 0);
	assert_false(tls_ticket_take(p->client.tls, ticket)); /* once */
	buf_clear(&records);
	assert_int_equal(tls_ticket_put(p->server.tls, &records), ERR_OK);
	assert_int_equal(records.len, 0); /* one a connection */
	buf_deinit(&records);
	buf_deinit(&plain);
	return taken;
}

/* Data goes both ways, also behind a ticket. */
static void check_data(struct pair *p)
{
	struct end *ends[] = {&p->server, &p->client};

	for (int i = 0; i < 2; i++) {
		struct buf sealed = {0}, opened = {0};

		assert_int_equal(tls_seal(ends[i]->tls, "hello", 5, &sealed), ERR_OK);
		assert_int_equal(tls_open(ends[1 - i]->tls, (struct bytes){.data = sealed.data, .len = sealed.len},
					  &opened, NULL),
				 ERR_OK);
		assert_int_equal(opened.len, 5);
		buf_deinit(&sealed);
		buf_deinit(&opened);
	}
}

static struct tls_material material_of(const struct party *p, const struct party *ca)
{
	return (struct tls_material){.chain = p ? p->cert : NULL, .key = p ? p->key : NULL, .ca = ca->cert};
}

/* ---- who gets one ---- */

static void tickets_are_for_agents_with_good_certificates(void **state)
{
	static const struct tls_ticket_keys none = {0};
	const struct {
		const char *what;
		const struct party *client;
		enum tls_profile profile;
		bool lax, without_keys, given;
	} rows[] = {
		{"an agent over TLS 1.3", &all.agent, TLS_CLIENT_MUSTER, false, false, true},
		{"also where certificates aren't required", &all.agent, TLS_CLIENT_MUSTER, true, false, true},
		{"a server without ticket keys gives none", &all.agent, TLS_CLIENT_MUSTER, false, true, false},
		{"over TLS 1.2 there is none", &all.agent, TLS_CLIENT_UNKNOWN, false, false, false},
		{"nor for a CloudStack agent", &all.agent, TLS_CLIENT_COMPAT, false, false, false},
		{"nor for who joins", NULL, TLS_CLIENT_JOIN, false, false, false},
		{"nor without a certificate", NULL, TLS_CLIENT_MUSTER, true, false, false},
		{"nor with one that isn't good", &all.foreign, TLS_CLIENT_MUSTER, true, false, false},
		{"nor for a server that dials another", &all.other_server, TLS_CLIENT_MUSTER, false, false, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct tls_ticket_keys keys = rows[i].without_keys ? none : keys_of(1, 0);
		struct tls_material server = material_of(&all.server, &all.root);
		struct tls_material client = material_of(rows[i].client, &all.root);
		struct buf ticket = {0};
		struct pair p;

		print_message("  %s\n", rows[i].what);
		server.tickets = &keys;
		if (rows[i].profile == TLS_CLIENT_JOIN)
			client = (struct tls_material){0};
		end_begin(&p.server, &server, (struct tls_params){.profile = TLS_SERVER, .require_cert = !rows[i].lax});
		end_begin(&p.client, &client, (struct tls_params){.profile = rows[i].profile, .pin = all.fingerprint});
		pair_run(&p);
		if (p.client.outcome != TLS_DONE || p.server.outcome != TLS_DONE)
			fail_msg("client: %s, server: %s", p.client.why.text, p.server.why.text);
		assert_false(tls_peer(p.client.tls)->resumed);
		assert_int_equal(hand_over(&p, &ticket), rows[i].given);
		check_data(&p);
		buf_deinit(&ticket);
		pair_deinit(&p);
	}
}

/* A client whose key share we don't take says hello twice, and what was decided by the first hello holds. */
static void a_second_hello_changes_nothing(void **state)
{
	static const char odd_share[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-FFDHE2048:+GROUP-SECP256R1";
	const struct tls_ticket_keys keys = keys_of(1, 0);
	struct tls_material server = material_of(&all.server, &all.root);
	struct tls_material client = material_of(&all.agent, &all.root);
	struct buf ticket = {0};

	server.tickets = &keys;
	for (int i = 0; i < 2; i++) {
		struct tls_params to = {.profile = TLS_CLIENT_MUSTER};
		struct pair p;

		to.resume = (struct bytes){.data = ticket.data, .len = ticket.len};
		end_begin(&p.server, &server, (struct tls_params){.profile = TLS_SERVER, .require_cert = true});
		end_begin_as(&p.client, &client, to, odd_share);
		end_step(&p.client, &p.server);
		end_step(&p.server, &p.client);
		/* Nothing but a request for another hello. */
		assert_in_range(p.client.in.len, 1, 200);
		pair_run(&p);
		if (p.client.outcome != TLS_DONE || p.server.outcome != TLS_DONE)
			fail_msg("client: %s, server: %s", p.client.why.text, p.server.why.text);
		assert_true(tls_peer(p.server.tls)->has_cert);
		assert_int_equal(tls_peer(p.server.tls)->resumed, i > 0);
		buf_clear(&ticket);
		assert_true(hand_over(&p, &ticket));
		check_data(&p);
		pair_deinit(&p);
	}
	buf_deinit(&ticket);
}

/* ---- where it is taken ---- */

/* A first meeting with ms-1, whose key is number 1. */
static void get_ticket(struct buf *ticket, const struct party *client)
{
	const struct tls_ticket_keys keys = keys_of(1, 0);
	struct tls_material server = material_of(&all.server, &all.root), agent = material_of(client, &all.root);
	struct pair p;

	server.tickets = &keys;
	end_begin(&p.server, &server, (struct tls_params){.profile = TLS_SERVER, .require_cert = true});
	end_begin(&p.client, &agent, (struct tls_params){.profile = TLS_CLIENT_MUSTER});
	pair_run(&p);
	assert_true(hand_over(&p, ticket));
	pair_deinit(&p);
}

struct return_row {
	const char *what;
	const struct party *client;
	unsigned newest, last; /* keys of the second server */
	enum tls_profile profile;
	const struct party *server_ca, *client_ca;
	bool lax, with_crl, resumed, new_ticket, cut_off;
	int64_t wall_s, grace_s;
	enum err server_error, client_error;
	const char *says;
};

static void come_back(struct pair *p, const struct return_row *r, const struct buf *ticket)
{
	const struct tls_ticket_keys keys = keys_of(r->newest, r->last);
	struct tls_material server = material_of(&all.other_server, r->server_ca ? r->server_ca : &all.root);
	struct tls_material client = material_of(r->client, r->client_ca ? r->client_ca : &all.root);

	server.tickets = &keys;
	server.crl = r->with_crl ? all.crl : NULL;
	end_begin(&p->server, &server,
		  (struct tls_params){.profile = TLS_SERVER,
				      .require_cert = !r->lax,
				      .wall_s = r->wall_s,
				      .expired_grace_s = r->grace_s});
	end_begin(&p->client, &client,
		  (struct tls_params){.profile = r->profile,
				      .pin = all.fingerprint,
				      .resume = {.data = ticket->data, .len = ticket->len}});
	pair_run(p);
}

static void check_return(struct pair *p, const struct return_row *r)
{
	struct buf ticket = {0};

	assert_int_equal(p->server.error, r->server_error);
	assert_int_equal(p->client.error, r->client_error);
	if (r->server_error || r->client_error) {
		const struct end *e = r->server_error ? &p->server : &p->client;

		assert_int_equal(e->outcome, TLS_FAILED);
		assert_non_null(strstr(e->why.text, r->says));
		/* Nothing of an answer has left, so the client takes it for a failed handshake. */
		if (r->cut_off)
			assert_int_equal(p->client.outcome, TLS_WANT);
		return;
	}
	if (p->client.outcome != TLS_DONE || p->server.outcome != TLS_DONE)
		fail_msg("client: %s, server: %s", p->client.why.text, p->server.why.text);
	assert_int_equal(tls_peer(p->server.tls)->resumed, r->resumed);
	assert_int_equal(tls_peer(p->client.tls)->resumed, r->resumed);
	assert_int_equal(hand_over(p, &ticket), r->new_ticket);
	check_data(p);
	if (r->resumed) {
		struct cert_info expected = {0};
		const struct tls_peer *agent = tls_peer(p->server.tls), *server = tls_peer(p->client.tls);

		/* Whose it was is known as after a full handshake. The server is the one that gave the ticket. */
		assert_int_equal(cert_info_parse(&expected, r->client->cert, NULL), ERR_OK);
		assert_true(agent->has_cert && agent->chain_ok && server->has_cert && server->chain_ok);
		assert_string_equal(agent->cert.serial, expected.serial);
		assert_string_equal(agent->cert.id, expected.id);
		assert_int_equal(agent->cert.role, CERT_ROLE_AGENT);
		assert_int_equal(server->cert.role, CERT_ROLE_SERVER);
		assert_string_equal(agent->alpn, ALPN_MUSTER);
		assert_string_equal(agent->version, "TLS1.3");
		cert_info_deinit(&expected);
	}
	buf_deinit(&ticket);
}

static void whoever_comes_back_is_judged_again(void **state)
{
	/* clang-format off */
	const struct return_row rows[] = {
		{ .what = "another server with the same key", .client = &all.agent, .newest = 1, .profile = TLS_CLIENT_MUSTER,
		  .resumed = true, .new_ticket = true },
		{ .what = "after the key was replaced once", .client = &all.agent, .newest = 2, .last = 1,
		  .profile = TLS_CLIENT_MUSTER, .resumed = true },
		{ .what = "not after it was replaced twice", .client = &all.agent, .newest = 3, .last = 2,
		  .profile = TLS_CLIENT_MUSTER, .new_ticket = true },
		{ .what = "not by another cluster's server", .client = &all.agent, .newest = 9, .profile = TLS_CLIENT_MUSTER,
		  .new_ticket = true },
		{ .what = "a server without keys makes a full handshake", .client = &all.agent, .profile = TLS_CLIENT_MUSTER },
		{ .what = "an unknown server isn't offered it", .client = &all.agent, .newest = 1, .profile = TLS_CLIENT_UNKNOWN },
		{ .what = "nor CloudStack's", .client = &all.agent, .newest = 1, .profile = TLS_CLIENT_COMPAT },
		{ .what = "revoked since: another list of revocations means a full handshake, which says so", .client = &all.agent,
		  .newest = 1, .profile = TLS_CLIENT_MUSTER, .with_crl = true, .server_error = ERR_REVOKED, .says = "revoked" },
		{ .what = "where certificates aren't required too: in, but unsecured", .client = &all.agent, .newest = 1, .lax = true,
		  .profile = TLS_CLIENT_MUSTER, .with_crl = true },
		{ .what = "others make a full handshake as well", .client = &all.brief, .newest = 1, .profile = TLS_CLIENT_MUSTER,
		  .with_crl = true, .new_ticket = true },
		{ .what = "expired since", .client = &all.brief, .newest = 1, .profile = TLS_CLIENT_MUSTER,
		  .wall_s = TEST_WALL_S + 2 * DAY_S, .server_error = ERR_EXPIRED, .says = "expired", .cut_off = true },
		{ .what = "where certificates aren't required that is for the caller to judge", .client = &all.brief, .newest = 1,
		  .lax = true, .profile = TLS_CLIENT_MUSTER, .wall_s = TEST_WALL_S + 2 * DAY_S, .resumed = true, .new_ticket = true },
		{ .what = "expired, but not longer than is allowed", .client = &all.brief, .newest = 1,
		  .profile = TLS_CLIENT_MUSTER, .wall_s = TEST_WALL_S + 2 * DAY_S, .grace_s = 30 * DAY_S, .resumed = true,
		  .new_ticket = true },
		{ .what = "the server trusts another CA by now", .client = &all.agent, .newest = 1, .server_ca = &all.other_root,
		  .profile = TLS_CLIENT_MUSTER, .server_error = ERR_UNTRUSTED, .says = "not signed by a trusted CA" },
		{ .what = "the agent does", .client = &all.agent, .newest = 1, .client_ca = &all.other_root,
		  .profile = TLS_CLIENT_MUSTER, .client_error = ERR_UNTRUSTED, .says = "not signed by a trusted CA" },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf ticket = {0};
		struct pair p;

		print_message("  %s\n", rows[i].what);
		get_ticket(&ticket, rows[i].client);
		come_back(&p, &rows[i], &ticket);
		check_return(&p, &rows[i]);
		pair_deinit(&p);
		buf_deinit(&ticket);
	}
}

/* ---- tickets that nobody gave ---- */

/* The hello's last extension, pre_shared_key, and the first ticket in it. */
static struct bytes offered_ticket(const struct buf *hello)
{
	static const uint8_t head[] = {0, 41};
	struct bytes found = {0};

	for (size_t i = 0; i + 10 < hello->len; i++) {
		size_t size = (size_t)hello->data[i + 2] << 8 | hello->data[i + 3];
		size_t n = (size_t)hello->data[i + 6] << 8 | hello->data[i + 7];

		if (!memcmp(hello->data + i, head, 2) && i + 4 + size == hello->len && n < size)
			found = (struct bytes){.data = hello->data + i + 8, .len = n};
	}
	assert_true(found.len > 32);
	return found;
}

static void hello_with(struct pair *p, const struct buf *ticket)
{
	const struct tls_ticket_keys keys = keys_of(1, 0);
	struct tls_material server = material_of(&all.other_server, &all.root);
	struct tls_material client = material_of(&all.agent, &all.root);

	server.tickets = &keys;
	end_begin(&p->server, &server, (struct tls_params){.profile = TLS_SERVER, .require_cert = true});
	end_begin(&p->client, &client,
		  (struct tls_params){.profile = TLS_CLIENT_MUSTER,
				      .resume = {.data = ticket->data, .len = ticket->len}});
	end_step(&p->client, &p->server);
}

/* A client that makes tickets up: in its own memory, so that everything else of its hello is right. */
static void a_made_up_ticket_means_a_full_handshake(void **state)
{
	static const char *const what[] = {"its name", "its content", "its seal"};

	for (size_t i = 0; i < ARRAY_SIZE(what); i++) {
		struct buf ticket = {0};
		struct bytes offered;
		struct pair p;
		uint8_t *at;

		print_message("  %s\n", what[i]);
		get_ticket(&ticket, &all.agent);
		hello_with(&p, &ticket);
		offered = offered_ticket(&p.server.in);
		at = memmem(ticket.data, ticket.len, offered.data, offered.len);
		assert_non_null(at);
		at[i == 0 ? 0 : i == 1 ? offered.len / 2 : offered.len - 1] ^= 1;
		pair_deinit(&p);

		hello_with(&p, &ticket);
		pair_run(&p);
		if (p.client.outcome != TLS_DONE || p.server.outcome != TLS_DONE)
			fail_msg("client: %s, server: %s", p.client.why.text, p.server.why.text);
		assert_false(tls_peer(p.server.tls)->resumed);
		pair_deinit(&p);
		buf_deinit(&ticket);
	}
}

/* Somebody has seen the ticket on the wire but doesn't know the secret behind it: the binder doesn't fit. */
static void a_stolen_ticket_is_of_no_use(void **state)
{
	struct buf ticket = {0};
	struct pair p;

	get_ticket(&ticket, &all.agent);
	hello_with(&p, &ticket);
	p.server.in.data[p.server.in.len - 1] ^= 1;
	end_step(&p.server, &p.client);
	assert_int_equal(p.server.outcome, TLS_FAILED);
	assert_int_equal(p.server.error, ERR_TLS);
	pair_deinit(&p);
	buf_deinit(&ticket);
}

static void put_u16(uint8_t *p, size_t n)
{
	p[0] = (uint8_t)(n >> 8);
	p[1] = (uint8_t)n;
}

static void a_huge_ticket_is_no_trouble(void **state)
{
	enum { HUGE_TICKET = 15000, BINDER = 32 };
	struct buf ticket = {0}, hello = {0};
	struct bytes offered;
	struct pair p;
	size_t head, grown, extensions;
	uint8_t psk[HUGE_TICKET + 64] = {0}, *h;

	get_ticket(&ticket, &all.agent);
	hello_with(&p, &ticket);
	offered = offered_ticket(&p.server.in);
	head = (size_t)(offered.data - p.server.in.data) - 4; /* where the extension's content begins */
	put_u16(psk, 2 + HUGE_TICKET + 4);
	put_u16(psk + 2, HUGE_TICKET);
	memcpy(psk + 4, offered.data, 16); /* the right name */
	put_u16(psk + 4 + HUGE_TICKET + 4, 1 + BINDER);
	psk[4 + HUGE_TICKET + 6] = BINDER;
	grown = 4 + HUGE_TICKET + 4 + 2 + 1 + BINDER;
	assert_int_equal(buf_put(&hello, p.server.in.data, head), ERR_OK);
	assert_int_equal(buf_put(&hello, psk, grown), ERR_OK);
	h = hello.data;
	put_u16(h + head - 2, grown);
	put_u16(h + 3, hello.len - 5);
	put_u16(h + 7, hello.len - 9);
	/* Behind version, random, session id, cipher suites, compression methods: the size of all extensions. */
	extensions = 5 + 4 + 2 + 32;
	extensions += 1 + h[extensions];
	extensions += 2 + ((size_t)h[extensions] << 8 | h[extensions + 1]);
	extensions += 1 + h[extensions];
	put_u16(h + extensions, hello.len - extensions - 2);

	buf_clear(&p.server.in);
	assert_int_equal(buf_put(&p.server.in, hello.data, hello.len), ERR_OK);
	end_step(&p.server, &p.client);
	/* It is no ticket of ours, so the server begins a full handshake. */
	assert_int_equal(p.server.outcome, TLS_WANT);
	assert_true(p.client.in.len > 0);
	assert_false(tls_peer(p.server.tls)->resumed);
	buf_deinit(&hello);
	buf_deinit(&ticket);
	pair_deinit(&p);
}

static void the_key_is_found_in_whatever_is_offered(void **state)
{
	struct tls_ticket_keys keys = keys_of(1, 2);
	static const uint8_t bytes[64] = {0, 60, 0, 54};

	/* Cut off anywhere, and a name that is nobody's: the newest. */
	for (size_t n = 0; n <= sizeof(bytes); n++)
		assert_int_equal(ticket_key_choose(&keys, (struct bytes){.data = bytes, .len = n}, TEST_WALL_S), 0);
	assert_int_equal(ticket_key_choose(&keys, (struct bytes){0}, -1), 0);
}

static void nonsense_to_resume_with_means_a_full_handshake(void **state)
{
	struct buf ticket = {0};
	struct pair p;

	assert_int_equal(buf_put_str(&ticket, "this is no ticket at all"), ERR_OK);
	hello_with(&p, &ticket);
	pair_run(&p);
	assert_int_equal(p.client.outcome, TLS_DONE);
	assert_int_equal(p.server.outcome, TLS_DONE);
	assert_false(tls_peer(p.client.tls)->resumed);
	pair_deinit(&p);
	buf_deinit(&ticket);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tickets_are_for_agents_with_good_certificates),
		cmocka_unit_test(a_second_hello_changes_nothing),
		cmocka_unit_test(whoever_comes_back_is_judged_again),
		cmocka_unit_test(a_made_up_ticket_means_a_full_handshake),
		cmocka_unit_test(a_stolen_ticket_is_of_no_use),
		cmocka_unit_test(a_huge_ticket_is_no_trouble),
		cmocka_unit_test(the_key_is_found_in_whatever_is_offered),
		cmocka_unit_test(nonsense_to_resume_with_means_a_full_handshake),
	};

	return cmocka_run_group_tests(tests, make_parties, free_parties);
}
