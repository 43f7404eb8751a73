/*
 * Who is revoked on one server is cut and refused on all, and the signed list of them is one for the cluster.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "engine_bench.h"
#include "server/crl.h"

static const struct agent_script h1 = {
	.guid = "h1", .ip = "10.1.0.1", .identity = ID_URI, .is_muster = true, .boot = "boot-1"};
static const struct agent_script h2 = {
	.guid = "h2", .ip = "10.1.0.2", .identity = ID_URI, .is_muster = true, .boot = "boot-2"};
#define SERIAL_H1 "5e1ah1"

static void cluster_up(struct engine_bench *e)
{
	engine_up(e);
	node_add(e, &e->b, B_IP);
	engine_run(e, 1500);
}

/* Over the API of one server. */
static void revoke_at(struct engine_bench *e, struct node *on, const char *serial)
{
	const struct api_param params[] = {{"command", "revokeCertificate"}, {"serial", serial}, {"forced", "true"}};
	int status = 0;

	mem_free(engine_ask(e, on, params, ARRAY_SIZE(params), &status));
	assert_int_equal(status, 200);
}

static const char *own_serial(struct node *n, struct cert_info *c)
{
	assert_int_equal(cert_info_parse(c, n->server->own[OWN_CERT_EC].cert, NULL), ERR_OK);
	return c->serial;
}

static void a_link_at_another_server_is_cut(void **state)
{
	struct engine_bench e;
	struct script *a, *other;

	cluster_up(&e);
	a = script_new(&e, &h1);
	other = script_new(&e, &h2);
	script_dial(a, &e.b);
	script_dial(other, &e.b);
	engine_run(&e, 500);
	assert_true(script_is_open(a));
	revoke_at(&e, &e.a, "5E:1A:H1"); /* not hex: nothing happens */
	engine_run(&e, 500);
	assert_true(script_is_open(a));
	engine_revoke(&e, SERIAL_H1); /* as some server's API would */
	engine_run(&e, 1000);
	assert_false(script_is_open(a));
	assert_true(script_is_open(other));

	/* It can't come back, anywhere; who is not revoked can. */
	script_dial(a, &e.a);
	engine_run(&e, 500);
	assert_false(script_is_open(a));
	script_dial(a, &e.b);
	engine_run(&e, 500);
	assert_false(script_is_open(a));
	script_dial(other, &e.a);
	engine_run(&e, 500);
	assert_true(script_is_open(other));
	engine_down(&e);
}

/* The hint of the server that was asked makes the others look at once: long before the next poll. */
static void revoking_over_the_api_is_known_at_once_everywhere(void **state)
{
	struct engine_bench e;

	cluster_up(&e);
	revoke_at(&e, &e.a, "abc123");
	engine_run(&e, 50);
	assert_true(authority_is_revoked(e.a.server, "abc123"));
	assert_true(authority_is_revoked(e.b.server, "abc123"));
	engine_down(&e);
}

/* A server whose own list is behind lets nobody in: the store judges the claim. */
static void the_store_has_the_last_word(void **state)
{
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.a);
	engine_run(&e, 500);
	script_hang_up(a);
	engine_run(&e, 200);
	engine_revoke(&e, SERIAL_H1);
	engine_run(&e, 500);
	assert_true(authority_is_revoked(e.b.server, SERIAL_H1));
	assert_non_null(map_remove(&e.b.server->revoked, SERIAL_H1)); /* as if it had not read it yet */
	script_dial(a, &e.b);
	engine_run(&e, 500);
	assert_false(script_is_open(a));
	engine_down(&e);
}

static void what_was_known_holds_while_the_store_is_away(void **state)
{
	struct engine_bench e;
	struct script *a;

	cluster_up(&e);
	a = script_new(&e, &h1);
	script_dial(a, &e.b);
	engine_run(&e, 500);
	script_hang_up(a);
	engine_revoke(&e, SERIAL_H1);
	engine_run(&e, 500);
	e.b.store_fails = true;
	authority_reload(e.b.server);
	engine_run(&e, 500);
	assert_true(e.b.server->revoked_stale);
	script_dial(a, &e.b);
	engine_run(&e, 500);
	assert_false(script_is_open(a));
	e.b.store_fails = false;
	engine_run(&e, 2000);
	assert_false(e.b.server->revoked_stale);
	engine_down(&e);
}

/* Another copy of the store was put back: what it doesn't know is not revoked, and numbers begin anew. */
static void an_older_copy_is_noticed_by_its_count(void **state)
{
	struct engine_bench e;

	engine_up(&e);
	engine_revoke(&e, "aa");
	engine_revoke(&e, "bb");
	engine_run(&e, 500);
	assert_int_equal(e.a.server->revoked_total, 2);
	e.a.server->revoked_total = 7; /* what a longer list would have left here */
	assert_int_equal(map_put(&e.a.server->revoked, "cc", e.a.server), ERR_OK);
	engine_revoke(&e, "dd");
	engine_run(&e, 500);
	assert_int_equal(e.a.server->revoked_total, 3);
	assert_true(authority_is_revoked(e.a.server, "aa"));
	assert_true(authority_is_revoked(e.a.server, "dd"));
	assert_false(authority_is_revoked(e.a.server, "cc"));
	engine_down(&e);
}

static void a_revoked_server_gets_no_link_either_way(void **state)
{
	struct engine_bench e;
	struct cert_info c;
	struct server_view v;

	cluster_up(&e);
	server_look(e.a.server, &v);
	assert_int_equal(v.peers_up, 1);
	revoke_at(&e, &e.a, own_serial(&e.b, &c));
	engine_run(&e, 500);
	/* Both have dialled again and again by then, and each other's hello was refused. */
	for (int i = 0; i < 4; i++) {
		engine_run(&e, 1000);
		server_look(e.a.server, &v);
		assert_int_equal(v.peers_up, 0);
		list_for (x, &e.a.server->sessions, struct session, in_sessions)
			assert_int_not_equal(x->state, SESSION_PEER);
	}
	cert_info_deinit(&c);

	/* It has the cluster key: started again, it makes itself a new one. */
	fake_works_cut(e.f);
	node_kill(&e.b);
	node_add(&e, &e.b, B_IP);
	engine_run(&e, 8000);
	assert_false(authority_is_revoked(e.b.server, own_serial(&e.b, &c)));
	server_look(e.a.server, &v);
	assert_int_equal(v.peers_up, 1);
	cert_info_deinit(&c);
	engine_down(&e);
}

/* ---- many ---- */

static enum err revoke_many(struct store_tx *tx, struct entry *entry, struct why *why)
{
	char serial[16];
	enum err e = ERR_OK;

	for (int i = 0; !e && i < 5000; i++) {
		snprintf(serial, sizeof(serial), "ab%06x", i);
		e = store_cert_revoke(tx, serial, NULL);
	}
	return e;
}

static void many_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	if (!s->freed)
		assert_int_equal(result, ERR_OK);
}

static void thousands_at_once_are_taken_over_whole(void **state)
{
	struct engine_bench e;
	struct entry many = {.run = revoke_many, .done = many_done};

	cluster_up(&e);
	engine_revoke(&e, "aa");
	engine_run(&e, 500);
	ledger_add(e.a.server, &many);
	engine_run(&e, 2000);
	assert_int_equal(e.b.server->revoked_total, 5001);
	assert_true(authority_is_revoked(e.b.server, "aa"));
	assert_true(authority_is_revoked(e.b.server, "ab001387"));
	engine_down(&e);
}

/* ---- the signed list ---- */

static void the_signed_list_is_one_for_the_cluster(void **state)
{
	struct engine_bench e;
	struct server_crl a, b;
	uint64_t first;

	cluster_up(&e);
	engine_run(&e, 3000);
	assert_true(server_crl(e.a.server, &a));
	assert_int_equal(a.parts[0].entries, 0);
	first = a.parts[0].number;
	engine_revoke(&e, "abc");
	engine_run(&e, 4000);
	assert_true(server_crl(e.a.server, &a) && server_crl(e.b.server, &b));
	assert_int_equal(a.parts[0].entries, 1);
	assert_string_equal(a.pem, b.pem);
	assert_int_equal(a.parts[0].number, b.parts[0].number);
	assert_true(a.parts[0].number > first);
	/* What no list can name does not keep off the rest. */
	engine_revoke(&e, SERIAL_H1);
	engine_run(&e, 4000);
	assert_true(server_crl(e.a.server, &a));
	assert_int_equal(a.parts[0].entries, 1);
	/* One version for each change, though two servers could have made it. */
	assert_int_equal(a.version, 3);

	/* A day later there is a new one, although nobody was revoked. */
	first = a.parts[0].number;
	fake_wall_jump(e.f, 24 * 3600 * 1000);
	engine_run(&e, 10000);
	assert_true(server_crl(e.b.server, &b));
	assert_true(b.parts[0].number > first);
	assert_int_equal(b.parts[0].entries, 1);
	engine_down(&e);
}

static void the_next_server_makes_it_when_the_first_does_not(void **state)
{
	struct engine_bench e;
	struct server_crl b;

	cluster_up(&e);
	engine_run(&e, 3000);
	fake_works_cut(e.f);
	node_kill(&e.a);
	engine_revoke(&e, "abc");
	engine_run(&e, 15000);
	assert_true(server_crl(e.b.server, &b));
	assert_int_equal(b.parts[0].entries, 1);
	engine_down(&e);
}

/* ---- a list that is damaged ---- */

static enum err put_list(struct store_tx *tx, void *arg, struct why *why)
{
	store_tx_by(tx, 999, 1);
	return store_secret_set(tx, "ca.crl", arg);
}

static enum err get_list(struct store_tx *tx, void *arg, struct why *why)
{
	return store_secret_get(tx, "ca.crl", arg);
}

static void a_damaged_list_is_replaced_once(void **state)
{
	static const struct {
		const char *what, *text; /* NULL: its own head, with this behind it: */
		const char *behind;
	} rows[] = {
		{"no head", "rubbish", NULL},
		{"nothing", "", NULL},
		{"a head alone", NULL, ""},
		{"a head, and something else", NULL, "rubbish\n"},
		{"a head, and what isn't base64", NULL, "-----BEGIN X509 CRL-----\n!!!!\n-----END X509 CRL-----\n"},
		{"a head, and what is no list", NULL, "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;
		struct server_crl first, a, b;
		char *text = NULL, *made_up;
		uint64_t number;

		cluster_up(&e);
		engine_run(&e, 3000);
		assert_true(server_crl(e.a.server, &first));
		number = first.parts[0].number;
		engine_store(&e, get_list, &text);
		if (!rows[i].text) {
			/* Another one than they know: it is read. */
			char *made = strstr(text, "entries=");

			assert_non_null(made);
			made[strlen("entries=")] = '7';
			*(strchr(text, '\n') + 1) = '\0';
		}
		made_up = mem_printf("%s%s", rows[i].text ? rows[i].text : text, rows[i].behind ? rows[i].behind : "");
		engine_store(&e, put_list, made_up);
		mem_free(made_up);
		mem_free(text);
		/* What was there is served meanwhile, and a new one is made by one server, once. */
		for (int k = 0; k < 20; k++) {
			engine_run(&e, 1000);
			assert_true(server_crl(e.a.server, &a) && server_crl(e.b.server, &b));
		}
		assert_true(server_crl(e.a.server, &a) && server_crl(e.b.server, &b));
		check_row(&rows[i], a.parts[0].number > number);
		assert_string_equal(a.pem, b.pem);
		check_row(&rows[i], a.version == 2);
		check_row(&rows[i], engine_count_events(&e, "CA.CRL.DAMAGED", NULL) == 1);
		assert_null(server_crl_problem(e.a.server));
		engine_down(&e);
	}
}

/* ---- a CA that signs none ---- */

static struct ca_provider_ops refusing[2];
static unsigned n_refused;

static enum err refuse_crl(struct ca_provider *p, struct buf *out, const struct crl_params *params, struct why *why)
{
	n_refused++;
	why_set(why, "it may not");
	return ERR_UNSUPPORTED;
}

static const struct ca_provider_ops *have_refuse(struct node *n, struct ca_provider_ops *ops)
{
	const struct ca_provider_ops *own = n->server->ca->ops;

	*ops = *own;
	ops->crl = refuse_crl;
	n->server->ca->ops = ops;
	return own;
}

static void a_ca_that_can_not_is_asked_less_and_less(void **state)
{
	struct engine_bench e;
	struct server_crl crl;
	const struct ca_provider_ops *a, *b;
	unsigned in_a_while;

	cluster_up(&e);
	engine_run(&e, 3000);
	a = have_refuse(&e.a, &refusing[0]);
	b = have_refuse(&e.b, &refusing[1]);
	n_refused = 0;
	engine_revoke(&e, "abc");
	engine_run(&e, 600 * 1000);
	in_a_while = n_refused;
	assert_true(in_a_while >= 4 && in_a_while <= 40); /* of both */
	/* Said once, whoever it was, and to be seen everywhere. */
	assert_int_equal(engine_count_events(&e, "CA.CRL.FAILED", "it may not"), 1);
	assert_string_equal(server_crl_problem(e.a.server), "it may not");
	assert_string_equal(server_crl_problem(e.b.server), "it may not");
	engine_run(&e, 1200 * 1000);
	assert_true(n_refused - in_a_while < 2 * in_a_while);
	/* The last one is served as long as it goes. */
	assert_true(server_crl(e.a.server, &crl));
	assert_int_equal(crl.parts[0].entries, 0);

	e.a.server->ca->ops = a;
	e.b.server->ca->ops = b;
	e.a.server->crl->lists[CRL_OF_SIGNER].backoff.retry_at = (struct mono){0}; /* it may be an hour */
	engine_run(&e, 20000);
	assert_true(server_crl(e.b.server, &crl));
	assert_int_equal(crl.parts[0].entries, 1);
	assert_null(server_crl_problem(e.a.server));
	assert_null(server_crl_problem(e.b.server));
	assert_int_equal(engine_count_events(&e, "CA.CRL.FAILED", NULL), 1);
	engine_down(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_link_at_another_server_is_cut),
		cmocka_unit_test(revoking_over_the_api_is_known_at_once_everywhere),
		cmocka_unit_test(the_store_has_the_last_word),
		cmocka_unit_test(what_was_known_holds_while_the_store_is_away),
		cmocka_unit_test(an_older_copy_is_noticed_by_its_count),
		cmocka_unit_test(a_revoked_server_gets_no_link_either_way),
		cmocka_unit_test(thousands_at_once_are_taken_over_whole),
		cmocka_unit_test(the_signed_list_is_one_for_the_cluster),
		cmocka_unit_test(the_next_server_makes_it_when_the_first_does_not),
		cmocka_unit_test(a_damaged_list_is_replaced_once),
		cmocka_unit_test(a_ca_that_can_not_is_asked_less_and_less),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
