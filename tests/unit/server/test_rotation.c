/* The root of the CA is changed under two servers and three agents that stay connected. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "provision_bench.h"
#include "server/provision.h"
#include "server/rotation.h"
#include "store/sql.h"

#define NOW_S INT64_C(1900000000) /* when the world begins */
#define DAY INT64_C(86400)
#define N 3

struct bench {
	struct engine_bench e;
	struct keeper k[N];
	char first[FINGERPRINT_TEXT]; /* the CA before */
};

static const struct {
	const char *guid, *ip;
	bool is_muster, on_b;
} agents[N] = {
	{"h1", "10.0.1.1", true, false},
	{"h2", "10.0.1.2", true, true},
	{"h3", "10.0.1.3", false, false},
};

static void up(struct bench *b)
{
	*b = (struct bench){0};
	engine_up(&b->e);
	node_add(&b->e, &b->e.b, B_IP);
	engine_run(&b->e, 3000);
	for (size_t i = 0; i < N; i++) {
		const struct agent_script as = {
			.guid = agents[i].guid,
			.ip = agents[i].ip,
			.identity = agents[i].is_muster ? ID_URI : ID_SAN,
			.is_muster = agents[i].is_muster,
			.boot = agents[i].is_muster ? "b1" : NULL,
			.not_before_s = NOW_S - DAY,
			.not_after_s = NOW_S + 365 * DAY,
		};

		keeper_init(&b->k[i], &b->e, agents[i].on_b ? &b->e.b : &b->e.a, &as);
		keeper_connect(&b->k[i]);
	}
	str_copy(b->first, sizeof(b->first), b->e.a.server->ca->ops->fingerprint(b->e.a.server->ca));
}

static void down(struct bench *b)
{
	for (size_t i = 0; i < N; i++)
		keeper_deinit(&b->k[i]);
	engine_down(&b->e);
}

/* A command on that server; its answer, mem_free() it. */
static char *ask(struct bench *b, struct node *on, const char *command, const char *phase, bool force, int *status)
{
	struct api_param params[3] = {{(char *)(uintptr_t) "command", (char *)(uintptr_t)command}};
	size_t n = 1;

	if (phase)
		params[n++] = (struct api_param){(char *)(uintptr_t) "phase", (char *)(uintptr_t)phase};
	if (force)
		params[n++] = (struct api_param){(char *)(uintptr_t) "force", (char[]){"true"}};
	return engine_ask(&b->e, on, params, n, status);
}

static void says(struct bench *b, struct node *on, const char *command, const char *phase, int status, const char *part)
{
	int got;
	char *text = ask(b, on, command, phase, false, &got);

	if (got != status || !strstr(text, part))
		fail_msg("%s: expected %d with %s, got %d: %s", command, status, part, got, text);
	mem_free(text);
}

static bool is_connected(struct bench *b, size_t i)
{
	struct host *h = host_of(agents[i].on_b ? &b->e.b : &b->e.a, agents[i].guid);

	return h && h->session && h->session->state == SESSION_READY;
}

/* Time passes until nobody is behind. The muster agents have a link all the time. */
static void settle(struct bench *b)
{
	for (int i = 0; i < 400; i++) {
		int status;
		char *text;
		bool done;

		for (int k = 0; k < 10; k++) {
			keepers_run(b->k, N, 50);
			assert_true(is_connected(b, 0));
			assert_true(is_connected(b, 1));
		}
		text = ask(b, &b->e.b, "listCaRotation", NULL, false, &status);
		done = strstr(text, "\"serversbehind\":0,\"hostsbehind\":0") != NULL;
		mem_free(text);
		if (done)
			return;
	}
	says(b, &b->e.b, "listCaRotation", NULL, 200, "\"hostsbehind\":0");
	fail();
}

static void check_signer(struct bench *b, struct node *n, bool is_first)
{
	struct server *s = n->server;
	struct cert_info ca = {0}, own = {0};

	assert_int_equal(str_equal(s->ca->ops->fingerprint(s->ca), b->first), is_first);
	assert_int_equal(cert_info_parse(&ca, s->ca->ops->chain(s->ca), NULL), ERR_OK);
	assert_int_equal(cert_info_parse(&own, s->own[OWN_CERT_EC].cert, NULL), ERR_OK);
	assert_string_equal(own.authority_key_id, ca.subject_key_id);
	cert_info_deinit(&ca);
	cert_info_deinit(&own);
}

/* How many CA certificates that text has. */
static size_t n_cas(const char *text)
{
	return count_of(text, "BEGIN CERTIFICATE");
}

static void check_all(struct bench *b, bool is_first, size_t trusted)
{
	check_signer(b, &b->e.a, is_first);
	check_signer(b, &b->e.b, is_first);
	assert_int_equal(n_cas(b->e.a.server->ca_chain), trusted);
	assert_string_equal(b->e.a.server->ca_chain, b->e.b.server->ca_chain);
}

static void agents_trust(struct bench *b, size_t trusted)
{
	for (size_t i = 0; i < N; i++)
		assert_int_equal(n_cas(b->k[i].trusted), trusted);
}

static void links_hold(struct bench *b)
{
	struct member_server *m = roster_server(b->e.a.server, b->e.b.server->msid);

	assert_true(m && m->peer && peer_is_up(m->peer));
}

/* ---- the revocation lists ---- */

static void check_list(const struct server_crl *crl, size_t i, bool signs, int64_t entries, int64_t now_s)
{
	assert_int_equal(crl->parts[i].signs, signs);
	assert_int_equal(crl->parts[i].entries, entries);
	assert_in_range(crl->parts[i].this_s, now_s - DAY - 60, now_s);
}

/* While both are trusted there is a list of each, and each names what its CA has signed. */
static void both_have_a_list(void **state)
{
	char old_serial[SERIAL_TEXT], old_ca[FINGERPRINT_TEXT];
	struct server_crl crl;
	int64_t now_s;
	struct bench b;

	up(&b);
	keepers_run(b.k, N, 5000);
	assert_true(server_crl(b.e.a.server, &crl));
	assert_int_equal(crl.n_parts, 1);
	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"trust\"");
	settle(&b);
	keepers_run(b.k, N, 10000);
	str_copy(old_serial, sizeof(old_serial), b.k[2].cert.serial);
	for (int on_b = 0; on_b < 2; on_b++) {
		assert_true(server_crl(on_b ? b.e.b.server : b.e.a.server, &crl));
		assert_int_equal(crl.n_parts, 2);
		assert_int_equal(count_of(crl.pem, "BEGIN X509 CRL"), 2);
		assert_string_equal(crl.parts[0].ca, b.first);
	}
	says(&b, &b.e.b, "advanceCaRotation", NULL, 200, "\"phase\":\"issue\"");
	settle(&b);
	/* At once the other way round: what was made of each is that of its CA still. */
	assert_true(server_crl(b.e.b.server, &crl));
	assert_int_equal(crl.n_parts, 2);
	assert_string_equal(crl.parts[1].ca, b.first);
	str_copy(old_ca, sizeof(old_ca), crl.parts[1].ca);

	/* Revoked of the old one: on its list, not on the other. */
	engine_revoke(&b.e, old_serial);
	keepers_run(b.k, N, 15000);
	now_s = world_wall_ms(b.e.world) / 1000;
	assert_true(server_crl(b.e.a.server, &crl));
	assert_int_equal(crl.n_parts, 2);
	check_list(&crl, 0, true, 0, now_s);
	check_list(&crl, 1, false, 1, now_s);

	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"drop\"");
	settle(&b);
	keepers_run(b.k, N, 3000);
	assert_true(server_crl(b.e.a.server, &crl));
	assert_int_equal(crl.n_parts, 1);
	assert_string_not_equal(crl.parts[0].ca, old_ca);
	/* Taken back: it is there again. */
	says(&b, &b.e.a, "revertCaRotation", "drop", 200, "\"phase\":\"issue\"");
	settle(&b);
	keepers_run(b.k, N, 15000);
	assert_true(server_crl(b.e.b.server, &crl));
	assert_int_equal(crl.n_parts, 2);
	assert_string_equal(crl.parts[1].ca, old_ca);
	says(&b, &b.e.a, "advanceCaRotation", "issue", 200, "\"phase\":\"drop\"");
	settle(&b);
	says(&b, &b.e.a, "advanceCaRotation", "drop", 200, "\"phase\":\"none\"");
	keepers_run(b.k, N, 5000);
	assert_true(server_crl(b.e.b.server, &crl));
	assert_int_equal(crl.n_parts, 1);
	down(&b);
}

static void all_phases_with_everybody_connected(void **state)
{
	struct bench b;

	up(&b);
	says(&b, &b.e.a, "listCaRotation", NULL, 200, "\"phase\":\"none\",\"next\":\"trust\"");
	says(&b, &b.e.a, "revertCaRotation", NULL, 530, "no rotation of the CA is under way");
	says(&b, &b.e.a, "advanceCaRotation", "issue", 530, "The phase is none, not issue");

	/* 1. trust */
	says(&b, &b.e.a, "advanceCaRotation", "none", 200, "\"phase\":\"trust\"");
	says(&b, &b.e.b, "advanceCaRotation", NULL, 530, "3 hosts would be cut off");
	settle(&b);
	check_all(&b, true, 2);
	agents_trust(&b, 2);
	links_hold(&b);

	/* 2. issue, by the other server */
	says(&b, &b.e.b, "advanceCaRotation", "trust", 200, "\"phase\":\"issue\"");
	says(&b, &b.e.b, "advanceCaRotation", NULL, 530, "would be cut off");
	settle(&b);
	check_all(&b, false, 2);
	for (size_t i = 0; i < N; i++)
		assert_int_equal(cert_verify(b.k[i].pem, b.e.a.server->ca->ops->chain(b.e.a.server->ca),
					     b.k[i].cert.not_before_s + DAY, NULL),
				 ERR_OK);
	links_hold(&b);

	/* 3. drop */
	says(&b, &b.e.a, "advanceCaRotation", "issue", 200, "\"phase\":\"drop\"");
	settle(&b);
	check_all(&b, false, 1);
	agents_trust(&b, 1);
	links_hold(&b);

	/* 4. finish: the old key is gone */
	says(&b, &b.e.a, "advanceCaRotation", "drop", 200, "\"phase\":\"none\"");
	engine_run(&b.e, 1000);
	assert_null(b.e.b.server->rotation.other_cert);
	check_all(&b, false, 1);
	says(&b, &b.e.b, "revertCaRotation", NULL, 530, "no rotation");
	down(&b);
}

/* A step that is taken while an agent still follows the last one: what that one gave it is no failure of this one. */
static void an_agent_is_a_step_behind(void **state)
{
	struct mono begun;
	struct bench b;

	up(&b);
	b.k[0].never_uses = true;
	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"trust\"");
	for (int i = 0; i < 200 && !b.k[0].n_certs; i++)
		keepers_run(b.k, N, 50);
	assert_int_equal(b.k[0].n_certs, 1);
	keepers_run(b.k, N, 500);
	says(&b, &b.e.a, "revertCaRotation", NULL, 200, "\"phase\":\"none\"");
	b.k[0].never_uses = false;
	keeper_use(&b.k[0]);
	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"trust\"");
	begun = world_now(b.e.world);
	settle(&b);
	assert_true(mono_ms_between(begun, world_now(b.e.world)) < 15000);
	agents_trust(&b, 2);
	down(&b);
}

/*
 * What an agent trusts is written down after it is ready with its new certificate, and after the next step was taken:
 * it is looked at once more, by that.
 */
static void what_an_agent_trusts_is_known_late(void **state)
{
	struct bench b;
	size_t before;

	up(&b);
	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"trust\"");
	settle(&b);
	before = b.k[0].n_certs;
	renewal_host_trusts(b.e.a.server, host_of(&b.e.a, "h1")->row.id, "0000");
	for (int i = 0; i < 300 && b.k[0].n_certs == before; i++)
		keepers_run(b.k, N, 50);
	assert_int_equal(b.k[0].n_certs, before + 1);
	settle(&b);
	down(&b);
}

/* It makes another link to the same server while it is asked: asked again, and soon. */
static void an_agent_changes_its_link_meanwhile(void **state)
{
	struct mono begun;
	struct bench b;

	up(&b);
	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"trust\"");
	for (int i = 0; i < 1000 && !script_count(b.k[0].script, MSG_SETUP_KEYSTORE); i++)
		engine_run(&b.e, 10);
	assert_int_equal(script_count(b.k[0].script, MSG_SETUP_KEYSTORE), 1);
	script_dial(b.k[0].script, &b.e.a);
	engine_run(&b.e, 20);
	begun = world_now(b.e.world);
	settle(&b);
	assert_true(mono_ms_between(begun, world_now(b.e.world)) < 15000);
	agents_trust(&b, 2);
	down(&b);
}

static void every_step_can_be_taken_back(void **state)
{
	struct bench b;

	up(&b);
	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"trust\"");
	settle(&b);
	says(&b, &b.e.a, "revertCaRotation", "trust", 200, "\"phase\":\"none\"");
	engine_run(&b.e, 1000);
	check_all(&b, true, 1);

	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"trust\"");
	settle(&b);
	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"issue\"");
	settle(&b);
	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"drop\"");
	settle(&b);
	/* Everybody trusts the new one only: that is not in the way. */
	says(&b, &b.e.b, "revertCaRotation", "drop", 200, "\"phase\":\"issue\"");
	/* Until they trust the old one again, a server with a certificate of it would be refused. */
	says(&b, &b.e.b, "revertCaRotation", "issue", 530, "3 hosts would be cut off");
	for (int i = 0; i < 400 && n_cas(b.k[0].trusted) + n_cas(b.k[1].trusted) + n_cas(b.k[2].trusted) < 6; i++)
		keepers_run(b.k, N, 50);
	keepers_run(b.k, N, 1000);
	settle(&b);
	check_all(&b, false, 2);
	says(&b, &b.e.b, "revertCaRotation", "issue", 200, "\"phase\":\"trust\"");
	/* What the new one has signed is still shown. */
	says(&b, &b.e.b, "revertCaRotation", "trust", 530, "would be cut off");
	for (int i = 0; i < 40; i++)
		settle(&b);
	check_all(&b, true, 2);
	says(&b, &b.e.b, "revertCaRotation", "trust", 200, "\"phase\":\"none\"");
	settle(&b);
	check_all(&b, true, 1);
	links_hold(&b);
	down(&b);
}

/* Two at once: one step. */
static void a_step_is_taken_once(void **state)
{
	static const struct api_caller caller = {.is_local = true, .address = "local"};
	struct api_param params[] = {{(char[]){"command"}, (char[]){"advanceCaRotation"}}};
	struct bench b;

	up(&b);
	server_api(b.e.a.server, &caller, params, 1, NULL, NULL);
	server_api(b.e.b.server, &caller, params, 1, NULL, NULL);
	engine_run(&b.e, 2000);
	says(&b, &b.e.a, "listCaRotation", NULL, 200, "\"phase\":\"trust\"");
	assert_string_equal(b.e.a.server->rotation.other_cert, b.e.b.server->rotation.other_cert);
	down(&b);
}

/* Who is revoked can't follow, and is waited for no more than one that can't come back. */
static void a_revoked_host_is_not_waited_for(void **state)
{
	struct api_param revoke[] = {{(char[]){"command"}, (char[]){"revokeCertificate"}}, {(char[]){"serial"}, NULL}};
	struct bench b;
	int status;

	up(&b);
	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"trust\"");
	settle(&b);
	revoke[1].value = b.k[2].cert.serial;
	mem_free(engine_ask(&b.e, &b.e.b, revoke, 2, &status));
	engine_run(&b.e, 3000);
	says(&b, &b.e.a, "listCaRotation", NULL, 200, "\"hosts\":2,");
	says(&b, &b.e.b, "advanceCaRotation", "trust", 200, "\"phase\":\"issue\"");
	for (int i = 0; i < 400; i++)
		keepers_run(b.k, N - 1, 50);
	says(&b, &b.e.b, "advanceCaRotation", "issue", 200, "\"phase\":\"drop\"");
	down(&b);
}

/* A server that starts in the middle reads how far it is before it takes anybody. */
static void a_server_starts_in_the_middle(void **state)
{
	struct bench b;

	up(&b);
	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"trust\"");
	settle(&b);
	keeper_deinit(&b.k[1]);
	node_kill(&b.e.b);
	engine_run(&b.e, 20000);
	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"issue\"");
	node_add(&b.e, &b.e.b, B_IP);
	engine_run(&b.e, 5000);
	check_all(&b, false, 2);
	links_hold(&b);
	for (size_t i = 0; i < N; i += 2)
		keeper_deinit(&b.k[i]);
	engine_down(&b.e);
}

/* The server that takes a step dies at any moment of it: the step was taken or not, and both know the same. */
static void who_takes_a_step_dies(void **state)
{
	static const struct api_caller caller = {.is_local = true, .address = "local"};
	struct api_param params[] = {{(char[]){"command"}, (char[]){"advanceCaRotation"}}};
	bool was_taken[2] = {false, false};

	for (int ms = 0; ms <= 40; ms += ms < 4 ? 1 : 12) {
		struct bench b = {0};

		engine_up(&b.e);
		node_add(&b.e, &b.e.b, B_IP);
		engine_run(&b.e, 3000);
		server_api(b.e.a.server, &caller, params, 1, NULL, NULL);
		if (ms)
			engine_run(&b.e, ms);
		fake_works_cut(b.e.f);
		node_kill(&b.e.a);
		engine_run(&b.e, 20000);
		node_add(&b.e, &b.e.a, A_IP);
		engine_run(&b.e, 5000);
		assert_int_equal(b.e.a.server->rotation.phase, b.e.b.server->rotation.phase);
		assert_string_equal(b.e.a.server->ca_chain, b.e.b.server->ca_chain);
		assert_int_equal(n_cas(b.e.b.server->ca_chain), b.e.b.server->rotation.phase ? 2 : 1);
		was_taken[b.e.b.server->rotation.phase == ROTATION_TRUST] = true;
		/* And it goes on. */
		if (b.e.b.server->rotation.phase == ROTATION_NONE)
			says(&b, &b.e.b, "advanceCaRotation", NULL, 200, "\"phase\":\"trust\"");
		engine_run(&b.e, 5000);
		says(&b, &b.e.b, "advanceCaRotation", NULL, 200, "\"phase\":\"issue\"");
		engine_down(&b.e);
	}
	assert_true(was_taken[true]);
}

/* Without the cluster key nobody can make a CA or a certificate. */
static void a_server_without_the_key(void **state)
{
	struct bench b;
	const uint8_t *key;

	up(&b);
	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"trust\"");
	key = b.e.b.server->p.cluster_key;
	b.e.b.server->p.cluster_key = NULL;
	says(&b, &b.e.b, "revertCaRotation", NULL, 530, "can't take this step, ask another server");
	b.e.b.server->p.cluster_key = key;
	down(&b);
}

static enum err signs_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	static const char *const signer = "another CA";
	char *now = NULL;

	assert_int_equal(store_secret_get(tx, CA_SECRET_CERT, &now), ERR_OK);
	assert_int_equal(rotation_still_signs(tx, now, why), ERR_OK);
	assert_int_equal(rotation_still_signs(tx, NULL, why), ERR_OK);
	assert_int_equal(rotation_still_signs(tx, signer, why), ERR_CONFLICT);
	assert_non_null(strstr(why->text, "another CA signs by now"));
	mem_free(now);
	return ERR_OK;
}

static void signs_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	assert_int_equal(result, ERR_OK);
	entry->run = NULL;
}

/* A step that was taken between signing and recording has not waited for who gets that certificate. */
static void a_certificate_of_a_ca_that_signs_no_more(void **state)
{
	struct entry entry = {.run = signs_run, .done = signs_done};
	struct bench b;

	up(&b);
	ledger_add(b.e.a.server, &entry);
	engine_run(&b.e, 1000);
	assert_null(entry.run);
	down(&b);
}

static void rows_of_the_store(void **state)
{
	static const struct {
		const char *what, *text;
		enum rotation_phase phase;
		int64_t since_ms;
		const char *by;
		bool prepared, compromised;
	} rows[] = {
		{"none", NULL, ROTATION_NONE, 0, ""},
		{"as we write it", "{\"phase\":\"drop\",\"since\":17,\"by\":\"admin\"}", ROTATION_DROP, 17, "admin"},
		{"begun with one that was prepared",
		 "{\"phase\":\"drop\",\"since\":17,\"by\":\"admin\",\"prepared\":true}", ROTATION_DROP, 17, "admin",
		 true},
		{"of a newer program", "{\"phase\":\"later\",\"since\":17,\"by\":\"x\"}", ROTATION_NONE, 17, "x"},
		{"because the key was stolen",
		 "{\"phase\":\"drop\",\"since\":17,\"by\":\"admin\",\"compromised\":true}", ROTATION_DROP, 17, "admin",
		 false, true},
		{"garbage", "{", ROTATION_NONE, 0, ""},
		{"other types", "{\"phase\":1,\"since\":\"x\",\"by\":[]}", ROTATION_NONE, 0, ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct rotation_row r;

		rotation_row_read(&r, rows[i].text);
		check_row(&rows[i],
			  r.phase == rows[i].phase && r.since_ms == rows[i].since_ms && str_equal(r.by, rows[i].by));
		check_row(&rows[i], r.prepared == rows[i].prepared && r.compromised == rows[i].compromised);
		if (rows[i].phase == ROTATION_DROP) {
			char *text = rotation_row_text(&r);

			assert_string_equal(text, rows[i].text);
			mem_free(text);
		}
	}
}

static enum err records_run(struct store_tx *tx, void *arg, struct why *why)
{
	return ca_records_read(tx, arg);
}

static struct ca_records records_of(struct bench *b)
{
	struct ca_records r = {0};
	struct store_call call = {.run = records_run, .arg = &r}, *calls[] = {&call};
	struct why why = WHY_NONE;

	assert_int_equal(store_run(b->e.a.store, calls, 1, &why), ERR_OK);
	assert_int_equal(call.result, ERR_OK);
	return r;
}

/* As rotation.c does when it reads that the CA has changed. */
static void takes(struct server *s, struct ca_records *r)
{
	struct why why = WHY_NONE;

	assert_int_equal(rotation_take(s, r, &why), ERR_OK);
	assert_int_equal(authority_renew_creds(s, &why), ERR_OK);
	own_cert_look(s);
	ca_records_deinit(r);
}

/* A step is taken back while a certificate of the CA that it went to is being made: nobody keeps that one. */
static void a_certificate_that_comes_too_late(void **state)
{
	struct ca_records trust, issue;
	struct server *s;
	struct bench b;

	up(&b);
	s = b.e.a.server;
	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"trust\"");
	settle(&b);
	trust = records_of(&b);
	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"issue\"");
	settle(&b);
	issue = records_of(&b);
	takes(s, &trust);
	assert_non_null(s->making_cert[OWN_CERT_EC]);
	takes(s, &issue);
	engine_run(&b.e, 20000);
	check_signer(&b, &b.e.a, false);
	down(&b);
}

static enum err no_creds(struct world *w, struct tls_creds **out, const struct tls_material *m, struct why *why)
{
	return ERR_NOMEM;
}

/* Nobody may take the next step because of a server that says it trusts what its links don't trust yet. */
static void what_is_not_in_use_is_not_confirmed(void **state)
{
	const struct world_ops *ops;
	struct world_ops failing;
	struct bench b;

	up(&b);
	ops = b.e.world->ops;
	failing = *ops;
	failing.creds_new = no_creds;
	b.e.world->ops = &failing;
	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"trust\"");
	keepers_run(b.k, N, 5000);
	says(&b, &b.e.b, "listCaRotation", NULL, 200, "\"serversbehind\":2");
	b.e.world->ops = ops;
	/* It is tried again. */
	keepers_run(b.k, N, 30000);
	says(&b, &b.e.b, "listCaRotation", NULL, 200, "\"serversbehind\":0");
	settle(&b);
	check_all(&b, true, 2);
	down(&b);
}

/* The second certificate follows, and counts: some peers are shown no other. */
static void the_rsa_certificate_follows(void **state)
{
	struct cert_info rsa = {0};
	struct bench b = {0};
	struct server *s;
	char *old, *new;

	engine_world(&b.e);
	b.e.with_rsa = true;
	node_add(&b.e, &b.e.a, A_IP);
	engine_run(&b.e, 5000);
	s = b.e.a.server;
	assert_non_null(s->own[OWN_CERT_RSA].cert);
	old = mem_strdup(s->own[OWN_CERT_RSA].cert);
	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"trust\"");
	engine_run(&b.e, 3000);
	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"issue\"");
	engine_run(&b.e, 5000);
	assert_int_equal(cert_info_parse(&rsa, s->own[OWN_CERT_RSA].cert, NULL), ERR_OK);
	assert_string_equal(rsa.authority_key_id, s->rotation.issuing_id);
	cert_info_deinit(&rsa);
	says(&b, &b.e.a, "listCaRotation", NULL, 200, "\"serversbehind\":0");

	/* Had it not been made yet: */
	new = s->own[OWN_CERT_RSA].cert;
	s->own[OWN_CERT_RSA].cert = old;
	s->own_changes++;
	engine_run(&b.e, 3000);
	says(&b, &b.e.a, "listCaRotation", NULL, 200, "\"serversbehind\":1");
	s->own[OWN_CERT_RSA].cert = new;
	mem_free(old);
	engine_down(&b.e);
}

/* It has joined and was never started: it has a certificate, and knows the old CA. */
static void a_host_that_joined_and_never_came(void **state)
{
	struct bench b;
	struct host *h;

	up(&b);
	h = host_of(&b.e.a, "h3");
	assert_non_null(h);
	keeper_deinit(&b.k[2]);
	engine_run(&b.e, 60000);
	h->row.cert_serial = mem_free(h->row.cert_serial); /* as join.c leaves it */
	h->row.cert_not_after_s = 0;
	mem_free(h->row.ca_known);
	h->row.ca_known = mem_strdup("0000");
	says(&b, &b.e.a, "listCaRotation", NULL, 200, "\"hosts\":3");
	for (size_t i = 0; i < 2; i++)
		keeper_deinit(&b.k[i]);
	engine_down(&b.e);
}

/* ---- what was made with a stolen key ---- */

/* A step although somebody is behind; `compromised`: because the old CA's key was stolen. */
static void step_by_force(struct bench *b, const char *command, bool compromised, const char *phase)
{
	struct api_param params[] = {{"command", command}, {"force", "true"}, {"compromised", "true"}};
	char part[64];
	int status;
	char *text = engine_ask(&b->e, &b->e.a, params, compromised ? 3 : 2, &status);

	snprintf(part, sizeof(part), "\"phase\":\"%s\"", phase);
	assert_int_equal(status, 200);
	check_there(strstr(text, part));
	check_there(strstr(text, "\"compromised\":true"));
	mem_free(text);
}

/* Nobody's certificate was issued here at the start: an operator vouches for one host, the others are out. */
static void strangers_are_out_when_the_key_was_stolen(void **state)
{
	char job[UUID_TEXT];
	struct bench b;

	up(&b);
	step_by_force(&b, "advanceCaRotation", true, "trust");
	keepers_run(b.k, N, 8000);
	for (size_t i = 0; i < N; i++) {
		assert_int_equal(b.k[i].n_keys, 0); /* nobody is asked for a key */
		assert_true(script_is_open(b.k[i].script));
	}
	assert_true(engine_count_events(&b.e, "CA.CERTIFICATE.PROVISION", "was not issued here") >= N);
	provision_ask(&b.e, &b.e.a, "h1", job);
	keepers_run(b.k, N, 5000);
	assert_int_equal(b.k[0].n_certs, 1);

	step_by_force(&b, "advanceCaRotation", true, "issue");
	keepers_run(b.k, N, 8000);
	assert_true(is_connected(&b, 0));
	assert_int_equal(b.k[0].n_certs, 2); /* it is known, and goes over to the new CA by itself */
	for (size_t i = 1; i < N; i++) {
		assert_false(script_is_open(b.k[i].script));
		keeper_connect(&b.k[i]);
		engine_run(&b.e, 500);
		assert_false(script_is_open(b.k[i].script));
		assert_int_equal(b.k[i].n_certs, 0);
	}
	assert_true(engine_count_events(&b.e, "HOST.REFUSED", "was not issued here, and the key of its CA") >= 2);
	assert_true(b.e.a.server->refused_by.by_admit[ADMIT_STRANGER] +
			    b.e.b.server->refused_by.by_admit[ADMIT_STRANGER] >=
		    2);
	links_hold(&b);

	/* Back: what isn't said any more doesn't hold. */
	step_by_force(&b, "revertCaRotation", false, "trust");
	keeper_connect(&b.k[1]);
	assert_true(script_is_open(b.k[1].script));
	down(&b);
}

/* Without the flag they are legitimate, and renewed like the others; who is new is an alert, once. */
static void a_stranger_is_an_alert_otherwise(void **state)
{
	const struct agent_script as = {.guid = "h9",
					.ip = "10.0.1.9",
					.identity = ID_URI,
					.is_muster = true,
					.boot = "b1",
					.not_before_s = NOW_S - DAY,
					.not_after_s = NOW_S + 365 * DAY};
	struct script *late;
	struct bench b;

	up(&b);
	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"compromised\":false");
	settle(&b);
	assert_int_equal(engine_count_events(&b.e, "ALERT.CA.STRANGER", NULL), 0);
	late = script_new(&b.e, &as);
	for (int i = 0; i < 2; i++) {
		script_dial(late, &b.e.a);
		engine_run(&b.e, 500);
		assert_true(script_is_open(late));
		assert_int_equal(engine_count_events(&b.e, "ALERT.CA.STRANGER", "host h9 "), 1);
	}
	assert_int_equal(engine_count_events(&b.e, "ALERT.CA.STRANGER", NULL), 1);
	down(&b);
}

/* With the number of one that was issued, and another key: in any phase, and at any time. */
static void a_forgery_is_refused_always(void **state)
{
	struct cert_info forged, other;
	char job[UUID_TEXT];
	struct bench b;

	up(&b);
	provision_ask(&b.e, &b.e.a, "h1", job);
	keepers_run(b.k, N, 5000);
	assert_true(script_is_open(b.k[0].script));
	forged = b.k[0].cert;
	forged.fingerprint[0] = forged.fingerprint[0] == 'a' ? 'b' : 'a';

	script_hang_up(b.k[0].script);
	script_certificate(b.k[0].script, &forged);
	keeper_connect(&b.k[0]);
	assert_false(script_is_open(b.k[0].script));
	assert_int_equal(engine_count_events(&b.e, "ALERT.CA.FORGED", "h1"), 1);
	assert_int_equal(b.e.a.server->refused_by.by_admit[ADMIT_FORGED], 1);

	/* While the store is away it isn't known yet: it ends when it is. */
	b.e.a.store_fails = true;
	keeper_connect(&b.k[0]);
	engine_run(&b.e, 1000);
	assert_true(script_is_open(b.k[0].script));
	b.e.a.store_fails = false;
	engine_run(&b.e, 5000);
	assert_false(script_is_open(b.k[0].script));
	assert_int_equal(engine_count_events(&b.e, "ALERT.CA.FORGED", "h1"), 2);

	/* Another CA may have given the same number to somebody. */
	other = forged;
	str_copy(other.authority_key_id, sizeof(other.authority_key_id), "0123");
	script_certificate(b.k[0].script, &other);
	keeper_connect(&b.k[0]);
	assert_true(script_is_open(b.k[0].script));
	script_hang_up(b.k[0].script);
	script_certificate(b.k[0].script, &b.k[0].cert);
	keeper_connect(&b.k[0]);
	assert_true(script_is_open(b.k[0].script));
	down(&b);
}

struct swap {
	const char *serial, *pem;
};

static enum err swap_run(struct store_tx *tx, void *arg, struct why *why)
{
	const struct swap *w = arg;

	return sql_run(tx, "UPDATE certificate SET pem = ? WHERE serial = ?", SQL_T(w->pem), SQL_T(w->serial));
}

/* The same with servers. */
static void a_forged_server_gets_no_link(void **state)
{
	struct cert_info of_b;
	struct server_view v;
	struct swap w;
	struct bench b;

	up(&b);
	links_hold(&b);
	assert_int_equal(cert_info_parse(&of_b, b.e.b.server->own[OWN_CERT_EC].cert, NULL), ERR_OK);
	/* What b shows is not what was issued with its number. */
	w = (struct swap){.serial = of_b.serial, .pem = b.e.a.server->own[OWN_CERT_EC].cert};
	engine_store(&b.e, swap_run, &w);
	engine_run(&b.e, 3000);
	links_hold(&b); /* it was judged when it came */
	origin_look_at_all(b.e.a.server);
	for (int i = 0; i < 5; i++) {
		engine_run(&b.e, 1000);
		server_look(b.e.a.server, &v);
	}
	assert_true(engine_count_events(&b.e, "ALERT.CA.FORGED", NULL) >= 2); /* it came again */
	w.pem = b.e.b.server->own[OWN_CERT_EC].cert;
	engine_store(&b.e, swap_run, &w);
	engine_run(&b.e, 8000);
	links_hold(&b);
	cert_info_deinit(&of_b);
	down(&b);
}

/* ---- agents of a server that has no key ---- */

static void another_server_renews_them(void **state)
{
	const struct ca_provider *ca;
	struct bench b = {0};

	engine_up(&b.e);
	node_add(&b.e, &b.e.b, B_IP);
	engine_run(&b.e, 2000);
	/* b has a certificate, and starts again without the cluster key. */
	fake_works_cut(b.e.f);
	node_kill(&b.e.b);
	b.e.without_cluster_key = true;
	node_add(&b.e, &b.e.b, B_IP);
	engine_run(&b.e, 5000);
	ca = b.e.b.server->ca;
	assert_false(ca->ops->can_issue(b.e.b.server->ca));
	for (size_t i = 0; i < N; i++) {
		const struct agent_script as = {
			.guid = agents[i].guid,
			.ip = agents[i].ip,
			.identity = agents[i].is_muster ? ID_URI : ID_SAN,
			.is_muster = agents[i].is_muster,
			.boot = agents[i].is_muster ? "b1" : NULL,
			.not_before_s = NOW_S - 300 * DAY,
			.not_after_s = NOW_S + 65 * DAY, /* past the half of its life */
		};

		keeper_init(&b.k[i], &b.e, agents[i].on_b ? &b.e.b : &b.e.a, &as);
		keeper_connect(&b.k[i]);
	}
	keepers_run(b.k, N, 20000);
	/* Both muster agents, also the one at b. */
	assert_int_equal(b.k[0].n_certs, 1);
	assert_int_equal(b.k[1].n_certs, 1);
	assert_true(is_connected(&b, 1));
	assert_int_equal(engine_count_events(&b.e, "CA.CERTIFICATE.PROVISION", "host h2 has taken"), 1);

	/* And so it goes in a rotation; only b's own certificate stays behind. */
	says(&b, &b.e.a, "advanceCaRotation", NULL, 200, "\"phase\":\"trust\"");
	settle(&b);
	agents_trust(&b, 2);
	down(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_phases_with_everybody_connected),
		cmocka_unit_test(both_have_a_list),
		cmocka_unit_test(an_agent_is_a_step_behind),
		cmocka_unit_test(what_an_agent_trusts_is_known_late),
		cmocka_unit_test(an_agent_changes_its_link_meanwhile),
		cmocka_unit_test(every_step_can_be_taken_back),
		cmocka_unit_test(a_step_is_taken_once),
		cmocka_unit_test(a_revoked_host_is_not_waited_for),
		cmocka_unit_test(a_server_starts_in_the_middle),
		cmocka_unit_test(who_takes_a_step_dies),
		cmocka_unit_test(a_server_without_the_key),
		cmocka_unit_test(a_certificate_that_comes_too_late),
		cmocka_unit_test(a_host_that_joined_and_never_came),
		cmocka_unit_test(what_is_not_in_use_is_not_confirmed),
		cmocka_unit_test(the_rsa_certificate_follows),
		cmocka_unit_test(a_certificate_of_a_ca_that_signs_no_more),
		cmocka_unit_test(rows_of_the_store),
		cmocka_unit_test(strangers_are_out_when_the_key_was_stolen),
		cmocka_unit_test(a_stranger_is_an_alert_otherwise),
		cmocka_unit_test(a_forgery_is_refused_always),
		cmocka_unit_test(a_forged_server_gets_no_link),
		cmocka_unit_test(another_server_renews_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
