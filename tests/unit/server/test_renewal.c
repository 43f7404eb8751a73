/* Renewal by itself: who, when, in which order, how fast, and what if it doesn't work. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "provision_bench.h"
#include "server/provision.h"

#define NOW_S INT64_C(1900000000) /* when the world begins */
#define DAY INT64_C(86400)
#define MOST 12

struct bench {
	struct engine_bench e;
	struct keeper k[MOST];
	size_t n;
	char guids[MOST][8], ips[MOST][32];
};

static void up(struct bench *b)
{
	*b = (struct bench){.n = 0};
	engine_up(&b->e);
	engine_config(&b->e, "ca.framework.background.task.delay", "60");
	engine_run(&b->e, 300);
}

static void down(struct bench *b)
{
	for (size_t i = 0; i < b->n; i++)
		keeper_deinit(&b->k[i]);
	engine_down(&b->e);
}

enum life { FRESH, HALF, SOON, OVER };

/* An agent whose certificate is in that part of its life. */
static struct keeper *add(struct bench *b, bool is_muster, enum life life)
{
	static const struct {
		int64_t from, to; /* days from now */
	} lives[] = {[FRESH] = {-10, 355}, [HALF] = {-300, 100}, [SOON] = {-360, 5}, [OVER] = {-370, -5}};
	struct keeper *k = &b->k[b->n];
	char *guid = b->guids[b->n];
	char *ip = b->ips[b->n];
	struct agent_script as = {
		.guid = guid,
		.ip = ip,
		.identity = is_muster ? ID_URI : ID_SAN,
		.is_muster = is_muster,
		.boot = is_muster ? "b1" : NULL,
		.not_before_s = NOW_S + lives[life].from * DAY,
		.not_after_s = NOW_S + lives[life].to * DAY,
	};

	snprintf(guid, sizeof(b->guids[0]), "h%zu", b->n);
	snprintf(ip, sizeof(b->ips[0]), "10.0.1.%zu", ++b->n);
	keeper_init(k, &b->e, &b->e.a, &as);
	keeper_connect(k);
	return k;
}

static void run(struct bench *b, int64_t ms)
{
	keepers_run(b->k, b->n, ms);
}

static size_t asked(const struct keeper *k)
{
	return script_count(k->script, MSG_SETUP_KEYSTORE);
}

static void alerts(struct bench *b, struct node *on, size_t n, const char *part)
{
	char *text = events_of(&b->e, on, "ALERT.CA.CERT");

	if (count_of(text, "\"type\":\"ALERT.CA.CERT\"") != n || (part && !strstr(text, part)))
		fail_msg("expected %zu with %s in %s", n, part ? part : "", text);
	mem_free(text);
}

/* ---- who ---- */

static void who_is_due(void **state)
{
	static const struct {
		const char *what;
		bool is_muster;
		enum life life;
		bool due;
	} rows[] = {
		{"a fresh one", true, FRESH, false},
		{"half of the life is over", true, HALF, true},
		{"near its end", true, SOON, true},
		{"expired", true, OVER, true},
		{"CloudStack, half is over", false, HALF, false},
		{"CloudStack, near its end", false, SOON, true},
		{"CloudStack, expired", false, OVER, true},
	};
	struct bench b;

	up(&b);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		add(&b, rows[i].is_muster, rows[i].life);
	run(&b, 10000);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		check_row(&rows[i], asked(&b.k[i]) == rows[i].due);
		check_row(&rows[i], script_is_open(b.k[i].script));
		check_row(&rows[i],
			  !rows[i].due || str_equal(host_of(&b.e.a, b.guids[i])->row.cert_serial, b.k[i].cert.serial));
	}
	run(&b, 200000);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_row(&rows[i], asked(&b.k[i]) == rows[i].due); /* once */
	alerts(&b, &b.e.a, 0, NULL);
	down(&b);
}

static void switched_off(void **state)
{
	struct bench b;

	up(&b);
	engine_config(&b.e, "ca.framework.cert.automatic.renewal", "false");
	add(&b, true, HALF);
	add(&b, true, SOON);
	add(&b, false, OVER);
	run(&b, 70000);
	for (size_t i = 0; i < b.n; i++)
		assert_int_equal(asked(&b.k[i]), 0);
	alerts(&b, &b.e.a, 2,
	       "the certificate of host h1 expires in 4 days: ca.framework.cert.automatic.renewal is false");
	alerts(&b, &b.e.a, 2, "the certificate of host h2 expired 5 days ago: ");
	down(&b);
}

static void while_moves_are_frozen(void **state)
{
	const struct api_param params[] = {{"command", "freezeHosts"}};
	struct bench b;
	int status;

	up(&b);
	mem_free(engine_ask(&b.e, &b.e.a, params, 1, &status));
	assert_int_equal(status, 200);
	add(&b, true, HALF);
	add(&b, false, SOON);
	add(&b, true, OVER);
	run(&b, 20000);
	assert_int_equal(asked(&b.k[0]) + asked(&b.k[1]), 0);
	assert_int_equal(asked(&b.k[2]), 1); /* it would be shut out one day */
	mem_free(engine_ask(&b.e, &b.e.a, &(struct api_param){"command", "thawHosts"}, 1, &status));
	run(&b, 20000);
	assert_int_equal(asked(&b.k[0]) + asked(&b.k[1]), 2);
	down(&b);
}

static void while_the_ca_is_changed(void **state)
{
	struct cert_info ca;
	char trusted[FINGERPRINT_TEXT];
	struct bench b;
	const char *chain;

	up(&b);
	chain = b.e.a.server->ca_chain;
	assert_int_equal(cert_info_parse(&ca, chain, NULL), ERR_OK);
	sha256_hex(trusted, chain, strlen(chain));
	add(&b, true, FRESH);
	add(&b, false, FRESH);
	run(&b, 10000);
	assert_int_equal(asked(&b.k[0]) + asked(&b.k[1]), 0);
	/* Their certificates name no issuer: who knows whose they are. */
	renewal_want(b.e.a.server, ca.subject_key_id, NULL);
	run(&b, 5000);
	for (size_t i = 0; i < b.n; i++) {
		assert_int_equal(asked(&b.k[i]), 1);
		assert_string_equal(host_of(&b.e.a, b.guids[i])->row.cert_issuer, ca.subject_key_id);
	}
	/* What they trust is known from that, too. */
	renewal_want(b.e.a.server, ca.subject_key_id, trusted);
	run(&b, 5000);
	assert_int_equal(asked(&b.k[0]), 1);
	renewal_want(b.e.a.server, NULL, "another set");
	run(&b, 5000);
	assert_int_equal(asked(&b.k[0]), 2);
	/* It can't be had from us. Not again at once. */
	run(&b, 60000);
	assert_int_equal(asked(&b.k[0]), 2);
	renewal_want(b.e.a.server, NULL, NULL);
	run(&b, 3600000);
	assert_int_equal(asked(&b.k[0]), 2);
	cert_info_deinit(&ca);
	down(&b);
}

/* ---- the order and the pace ---- */

static void the_expired_first_and_not_all_at_once(void **state)
{
	struct bench b;
	int64_t since_ms;
	size_t n = 0;

	up(&b);
	engine_config(&b.e, "ca.framework.cert.renewal.rate", "0"); /* a pause, until all are here */
	for (size_t i = 0; i < 8; i++)
		add(&b, true, i < 5 ? HALF : OVER);
	run(&b, 20000);
	for (size_t i = 0; i < b.n; i++)
		assert_int_equal(asked(&b.k[i]), 0);
	engine_config(&b.e, "ca.framework.cert.renewal.rate", "1");
	since_ms = fake_world_ms(b.e.f);
	while (n < b.n) {
		size_t expired = 0;

		run(&b, 50);
		n = 0;
		for (size_t i = 0; i < b.n; i++) {
			assert_in_range(asked(&b.k[i]), 0, 1);
			n += asked(&b.k[i]);
			expired += i >= 5 && asked(&b.k[i]);
		}
		assert_true(n == expired || expired == 3);
		assert_in_range(n, 0, 2 + (fake_world_ms(b.e.f) - since_ms) / 1000);
		assert_in_range(fake_world_ms(b.e.f) - since_ms, 0, 20000);
	}
	down(&b);
}

/* Not only when all are looked at. */
static void an_expired_one_does_not_wait(void **state)
{
	struct bench b;

	up(&b);
	engine_config(&b.e, "ca.framework.background.task.delay", "86400");
	engine_run(&b.e, 10000);
	add(&b, true, OVER);
	run(&b, 1500);
	assert_int_equal(asked(&b.k[0]), 1);
	down(&b);
}

/* ---- what if not ---- */

static void tried_again_later(void **state)
{
	struct bench b;
	struct keeper *k;
	size_t soon;

	up(&b);
	k = add(&b, true, SOON);
	k->refuses_key = true;
	run(&b, 25000);
	assert_int_equal(asked(k), 1);
	alerts(&b, &b.e.a, 0, NULL);
	run(&b, 3600000);
	soon = asked(k);
	assert_in_range(soon, 3, 12); /* less and less often */
	alerts(&b, &b.e.a, 1, "it could not be renewed, see the events before this one");
	k->refuses_key = false;
	run(&b, test_rounds(2, 4) * 3600000);
	assert_int_equal(asked(k), soon + 1);
	assert_string_equal(host_of(&b.e.a, "h0")->row.cert_serial, k->cert.serial);
	down(&b);
}

/* It says yes each time. */
static void a_certificate_that_is_not_used(void **state)
{
	struct bench b;
	struct keeper *k;
	size_t n;

	up(&b);
	k = add(&b, true, SOON);
	k->never_uses = true;
	run(&b, 590000);
	assert_int_equal(asked(k), 1);
	run(&b, test_rounds(3, 6) * 3600000);
	alerts(&b, &b.e.a, 1, "its agent does not use the one that it was given");
	assert_in_range(asked(k), 3, 12);
	n = asked(k);
	/* At last. */
	keeper_use(k);
	run(&b, test_rounds(4, 7) * 3600000);
	assert_int_equal(asked(k), n);
	down(&b);
}

static void once_a_day_whichever_server(void **state)
{
	struct bench b;
	struct store *kept = NULL; /* in memory: gone with its last user */

	up(&b);
	assert_int_equal(store_open(&kept, b.e.store_name, NULL), ERR_OK);
	engine_config(&b.e, "ca.framework.cert.automatic.renewal", "false");
	add(&b, false, SOON);
	run(&b, 70000);
	alerts(&b, &b.e.a, 1, NULL);
	/* Restarted: it remembers nothing, the store does. */
	node_kill(&b.e.a);
	node_add(&b.e, &b.e.a, A_IP);
	keeper_connect(&b.k[0]);
	run(&b, 70000);
	alerts(&b, &b.e.a, 1, NULL);
	fake_wall_jump(b.e.f, DAY * 1000);
	node_kill(&b.e.a);
	node_add(&b.e, &b.e.a, A_IP);
	run(&b, 70000);
	alerts(&b, &b.e.a, 2, "its agent is not connected");
	/* Long gone. */
	fake_wall_jump(b.e.f, 40 * DAY * 1000);
	node_kill(&b.e.a);
	node_add(&b.e, &b.e.a, A_IP);
	run(&b, 70000);
	alerts(&b, &b.e.a, 2, NULL);
	down(&b);
	store_close(kept);
}

/* ---- several servers ---- */

static void only_its_owner(void **state)
{
	struct bench b;
	struct keeper *k;

	up(&b);
	node_add(&b.e, &b.e.b, B_IP);
	engine_run(&b.e, 2000);
	engine_config(&b.e, "ca.framework.cert.renewal.rate", "0");
	k = add(&b, true, HALF);
	k->at = &b.e.b;
	run(&b, 10000);
	/* It moves to the other one, and both look at it. */
	keeper_connect(k);
	script_hang_up_oldest(k->script);
	engine_config(&b.e, "ca.framework.cert.renewal.rate", "10");
	run(&b, 130000);
	assert_int_equal(asked(k), 1);
	assert_int_equal(issued_for(&b.e, "h0"), 1);
	down(&b);
}

/* It has moved while its key was made: nothing is signed for it here, its new server asks it. */
static void an_agent_that_moves(void **state)
{
	struct bench b;
	struct keeper *k;

	up(&b);
	node_add(&b.e, &b.e.b, B_IP);
	engine_run(&b.e, 2000);
	k = add(&b, true, HALF);
	k->at = &b.e.b;
	for (int64_t ms = 0; ms < 10000 && !asked(k); ms += 10)
		engine_run(&b.e, 10);
	assert_int_equal(asked(k), 1);
	keeper_connect(k);
	/* The answer goes where the question came from, over the link that is there now. */
	run(&b, 130000);
	assert_int_equal(issued_for(&b.e, "h0"), 1);
	assert_string_equal(host_of(&b.e.b, "h0")->row.cert_serial, k->cert.serial);
	down(&b);
}

/* ---- servers ---- */

/* As somebody sees it who connects now. */
static char *serial_of_server(struct bench *b, char serial[SERIAL_TEXT])
{
	struct script *s = script_new(&b->e, &(struct agent_script){.guid = "x", .ip = "10.0.9.9", .is_muster = true});

	s->no_startup = true;
	script_dial(s, &b->e.a);
	engine_run(&b->e, 200);
	str_copy(serial, SERIAL_TEXT, link_peer(s->link)->cert.serial);
	script_free(s);
	return serial;
}

/* It serves ten years, and its agents while it changes it. */
static void a_servers_own_certificate(void **state)
{
	struct bench b;
	struct cert_info before, after;
	char serial[SERIAL_TEXT], *text;

	up(&b);
	engine_config(&b.e, "ca.framework.cert.automatic.renewal", "false");
	add(&b, true, FRESH);
	assert_int_equal(cert_info_parse(&before, b.e.a.server->own[OWN_CERT_EC].cert, NULL), ERR_OK);
	run(&b, 70000);
	assert_string_equal(serial_of_server(&b, serial), before.serial);
	fake_wall_jump(b.e.f, (before.not_after_s - NOW_S - 31 * DAY) * 1000);
	run(&b, 70000);
	assert_string_equal(serial_of_server(&b, serial), before.serial);
	fake_wall_jump(b.e.f, 2 * DAY * 1000);
	run(&b, 70000);
	assert_int_equal(cert_info_parse(&after, b.e.a.server->own[OWN_CERT_EC].cert, NULL), ERR_OK);
	assert_true(after.not_after_s > before.not_after_s + 3000 * DAY);
	assert_string_equal(after.id, before.id);
	assert_string_not_equal(after.key_id, before.key_id);
	assert_string_equal(serial_of_server(&b, serial), after.serial);
	assert_string_equal(fake_file_get(b.e.f, "/" A_IP "/server.crt"), b.e.a.server->own[OWN_CERT_EC].cert);
	assert_true(script_is_open(b.k[0].script));
	assert_int_equal(b.k[0].script->n_closed, 0);
	text = events_of(&b.e, &b.e.a, "CA.CERTIFICATE.PROVISION");
	assert_int_equal(count_of(text, "has renewed its own certificate"), 1);
	mem_free(text);
	cert_info_deinit(&before);
	cert_info_deinit(&after);
	down(&b);
}

/* It can't sign: the operator is told, each day, and hourly at last. */
static void a_server_that_cannot(void **state)
{
	struct bench b;
	struct cert_info own;

	up(&b);
	node_add(&b.e, &b.e.b, B_IP);
	engine_run(&b.e, 2000);
	node_kill(&b.e.b);
	b.e.without_cluster_key = true;
	node_add(&b.e, &b.e.b, B_IP);
	engine_run(&b.e, 2000);
	assert_int_equal(cert_info_parse(&own, b.e.b.server->own[OWN_CERT_EC].cert, NULL), ERR_OK);
	fake_wall_jump(b.e.f, (own.not_after_s - NOW_S - 20 * DAY) * 1000);
	engine_run(&b.e, 200000);
	alerts(&b, &b.e.a, 1, "management server " B_IP " can't renew its own certificate: ");
	fake_wall_jump(b.e.f, 15 * DAY * 1000);
	for (int i = 0; i < 3; i++) {
		/* Nothing that matters happens in the hour between. */
		fake_world_sleep(b.e.f, 3590000);
		engine_run(&b.e, 10000);
	}
	alerts(&b, &b.e.a, 4, NULL);
	cert_info_deinit(&own);
	down(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_due),
		cmocka_unit_test(switched_off),
		cmocka_unit_test(while_moves_are_frozen),
		cmocka_unit_test(while_the_ca_is_changed),
		cmocka_unit_test(the_expired_first_and_not_all_at_once),
		cmocka_unit_test(an_expired_one_does_not_wait),
		cmocka_unit_test(tried_again_later),
		cmocka_unit_test(a_certificate_that_is_not_used),
		cmocka_unit_test(once_a_day_whichever_server),
		cmocka_unit_test(only_its_owner),
		cmocka_unit_test(an_agent_that_moves),
		cmocka_unit_test(a_servers_own_certificate),
		cmocka_unit_test(a_server_that_cannot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
