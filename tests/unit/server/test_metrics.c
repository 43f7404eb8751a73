/* Metrics and health: a server in a known state says known numbers. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "failing_alloc.h"
#include "metric_parse.h"
#include "provision_bench.h"
#include "server/metrics.h"
#include "server/provision.h"

#define NOW_S INT64_C(1900000000) /* when the world begins */
#define DAY INT64_C(86400)

/* ---- asking ---- */

struct asked {
	unsigned n;
	bool has_text;
	uint64_t version;
	struct parsed p;
};

static void on_text(void *user, const struct server_metrics *m)
{
	struct asked *a = user;

	a->n++;
	a->has_text = m->text != NULL;
	a->version = m->version;
	if (m->text)
		metric_parse(&a->p, m->text, m->n);
}

/* What a server says now, not a second ago. */
static void ask(struct engine_bench *e, struct node *on, struct asked *a)
{
	*a = (struct asked){.n = 0};
	engine_run(e, 1100);
	server_metrics(on->server, on_text, a);
	engine_run(e, 5);
	assert_int_equal(a->n, 1);
	assert_true(a->has_text);
}

static void is(const struct asked *a, const char *series, const char *value)
{
	const char *has = metric_value(&a->p, series);

	if (value ? !has || strcmp(has, value) != 0 : has != NULL) {
		for (size_t i = 0; i < a->p.n; i++)
			if (strcmp(a->p.samples[i].value, "0") != 0)
				print_message("%s %s\n", a->p.samples[i].series, a->p.samples[i].value);
		fail_msg("%s is %s, not %s", series, has ? has : "absent", value ? value : "absent");
	}
}

static void is_number(const struct asked *a, const char *series, int64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", (long long)value);
	is(a, series, text);
}

/* ---- what is there ---- */

static void on_process(void *user, struct process_facts *out)
{
	*out = (struct process_facts){.started_ms = 1899999999250, .cpu_us = 1500000, .memory_bytes = 4096};
}

static void all_of_them_once(void **state)
{
	struct engine_bench e;
	struct asked a;

	engine_up(&e);
	ask(&e, &e.a, &a);
	assert_int_equal(a.p.n_names, M_N);
	for (size_t i = 0; i < M_N; i++) {
		assert_string_equal(a.p.names[i], metrics_all[i].name);
		assert_string_equal(a.p.types[i], metrics_all[i].type == METRIC_COUNTER ? "counter" : "gauge");
	}
	is(&a, "muster_build_info{version=\"" MUSTER_VERSION "\"}", "1");
	/* What nobody has told is left out, and not 0. */
	is(&a, "process_start_time_seconds", NULL);
	is(&a, "process_resident_memory_bytes", NULL);
	e.a.server->p.process = on_process;
	ask(&e, &e.a, &a);
	is(&a, "process_start_time_seconds", "1899999999.250");
	is(&a, "process_cpu_seconds_total", "1.500000");
	is(&a, "process_resident_memory_bytes", "4096");
	engine_down(&e);
}

static void a_server_that_has_just_begun(void **state)
{
	struct engine_bench e;
	struct cert_info own = {0}, ca = {0};
	struct server_crl crl;
	struct asked a;
	char series[256];

	engine_up(&e);
	ask(&e, &e.a, &a);
	is(&a, "muster_state{state=\"Up\"}", "1");
	is(&a, "muster_state{state=\"Maintenance\"}", "0");
	is(&a, "muster_accepting", "1");
	is(&a, "muster_store_failing", "0");
	is(&a, "muster_links_max", "18000");
	is(&a, "muster_agents_connected{protocol=\"muster\"}", "0");
	is(&a, "muster_certificates_required", "1");

	assert_int_equal(cert_info_parse(&ca, e.a.server->ca_chain, NULL), ERR_OK);
	snprintf(series, sizeof(series),
		 "muster_ca_not_after_timestamp_seconds{fingerprint=\"%.16s\",role=\"issuing\"}", ca.fingerprint);
	is_number(&a, series, ca.not_after_s);
	is(&a, "muster_ca_can_issue", "1");
	is(&a, "muster_ca_rotation_phase{phase=\"none\"}", "1");
	assert_true(server_crl(e.a.server, &crl));
	is_number(&a, "muster_crl_number", (int64_t)crl.parts[0].number);
	is_number(&a, "muster_crl_next_update_timestamp_seconds", crl.parts[0].next_s);
	is(&a, "muster_crl_entries", "0");
	assert_int_equal(cert_info_parse(&own, e.a.server->own[OWN_CERT_EC].cert, NULL), ERR_OK);
	is_number(&a, "muster_certificate_not_after_timestamp_seconds{kind=\"ec\"}", own.not_after_s);
	is(&a, "muster_certificate_not_after_timestamp_seconds{kind=\"rsa\"}", NULL);
	is(&a, "muster_agent_certificate_not_after_min_timestamp_seconds", NULL);
	is(&a, "muster_certificates_issued_total{kind=\"own\"}", "1");
	is(&a, "muster_certificates_issued_total{kind=\"agent_join\"}", "0");
	is(&a, "muster_refusals_total{at=\"identity\",reason=\"certificate revoked\"}", "0");
	snprintf(series, sizeof(series), "muster_server_up{server=\"" A_IP "\",id=\"%s\"}", e.a.server->uuid);
	is(&a, series, "1");
	cert_info_deinit(&own);
	cert_info_deinit(&ca);
	engine_down(&e);
}

static void one_without_a_cluster_key(void **state)
{
	struct engine_bench e;
	struct server_health h;
	struct asked a;

	engine_up(&e);
	node_add(&e, &e.b, B_IP);
	engine_run(&e, 2000);
	node_kill(&e.b); /* it has its certificate, and starts again with that and without the key */
	e.without_cluster_key = true;
	node_add(&e, &e.b, B_IP);
	ask(&e, &e.b, &a);
	is(&a, "muster_ca_can_issue", "0");
	server_health(e.b.server, &h);
	assert_true(h.serves);
	assert_string_equal(h.text, "ok\nit cannot issue certificates\n");
	engine_down(&e);
}

/* Whoever connects would be shown a certificate that is over. */
static void its_own_certificate_is_over(void **state)
{
	struct engine_bench e;
	struct cert_info own = {0};
	struct server_health h;
	struct asked a;

	engine_up(&e);
	node_add(&e, &e.b, B_IP);
	engine_run(&e, 2000);
	node_kill(&e.b);
	e.without_cluster_key = true; /* it can't make another one */
	node_add(&e, &e.b, B_IP);
	engine_run(&e, 2000);
	assert_int_equal(cert_info_parse(&own, e.b.server->own[OWN_CERT_EC].cert, NULL), ERR_OK);
	fake_wall_jump(e.f, (own.not_after_s - NOW_S + 10) * 1000);
	engine_run(&e, 100);
	server_health(e.b.server, &h);
	assert_false(h.serves);
	assert_string_equal(h.text, "its own certificate has expired: nobody can connect\n");
	ask(&e, &e.b, &a);
	is_number(&a, "muster_certificate_not_after_timestamp_seconds{kind=\"ec\"}", own.not_after_s);
	cert_info_deinit(&own);
	engine_down(&e);
}

/* ---- agents ---- */

static struct script *come(struct engine_bench *e, const char *guid, const char *ip, enum identity identity,
			   int64_t from_days, int64_t to_days)
{
	const struct agent_script as = {
		.guid = guid,
		.ip = ip,
		.identity = identity,
		.is_muster = identity == ID_URI,
		.boot = identity == ID_URI ? "b1" : NULL,
		.not_before_s = NOW_S + from_days * DAY,
		.not_after_s = NOW_S + to_days * DAY,
	};
	struct script *a = script_new(e, &as);

	script_dial(a, &e->a);
	engine_run(e, 500);
	return a;
}

/* Whoever is due would be renewed meanwhile. */
static void no_renewals(struct engine_bench *e)
{
	engine_config(e, "ca.framework.cert.renewal.rate", "0");
	engine_run(e, 300);
}

/* Both CAs are there while it is changed, with what each is for; and who has not followed is counted. */
static void a_ca_that_is_changed(void **state)
{
	const struct api_param next[] = {{"command", "advanceCaRotation"}};
	struct engine_bench e;
	struct server_health h;
	struct asked a;
	size_t n_trusted = 0, n_issuing = 0;
	int status;

	engine_up(&e);
	come(&e, "h1", "10.1.0.1", ID_URI, -10, 300);
	mem_free(engine_ask(&e, &e.a, next, 1, &status));
	assert_int_equal(status, 200);
	engine_run(&e, 500);
	ask(&e, &e.a, &a);
	is(&a, "muster_ca_rotation_phase{phase=\"trust\"}", "1");
	is(&a, "muster_ca_rotation_phase{phase=\"none\"}", "0");
	is(&a, "muster_ca_rotation_hosts_behind", "1");
	for (size_t i = 0; i < a.p.n; i++) {
		if (!str_starts(a.p.samples[i].series, "muster_ca_not_after_timestamp_seconds{"))
			continue;
		n_trusted += strstr(a.p.samples[i].series, "role=\"trusted\"") != NULL;
		n_issuing += strstr(a.p.samples[i].series, "role=\"issuing\"") != NULL;
	}
	assert_int_equal(n_trusted, 1);
	assert_int_equal(n_issuing, 1);
	server_health(e.a.server, &h);
	assert_string_equal(h.text, "ok\nthe CA is being changed, phase trust\n");
	engine_down(&e);
}

static void agents_by_their_certificates(void **state)
{
	static const struct {
		const char *what, *guid, *ip;
		enum identity identity;
		int64_t from, to; /* days from now */
		const char *state;
	} rows[] = {
		{"a new one", "h1", "10.1.0.1", ID_URI, -10, 355, "good"},
		{"half of its life is over", "h2", "10.1.0.2", ID_URI, -300, 100, "due"},
		{"it ends soon", "h3", "10.1.0.3", ID_URI, -360, 5, "near_end"},
		{"it is over", "h4", "10.1.0.4", ID_URI, -370, -5, "expired"},
		{"none", "h5", "10.1.0.5", ID_NONE, 0, 0, "unsecured"},
		{"a CloudStack agent's new one", "h6", "10.1.0.6", ID_SAN, -10, 355, "good"},
		/* Without a reason to renew it early: that would interrupt the agent. */
		{"a CloudStack agent's after half of its life", "h7", "10.1.0.7", ID_SAN, -300, 100, "good"},
		{"a CloudStack agent's that ends soon", "h8", "10.1.0.8", ID_SAN, -360, 5, "near_end"},
	};
	static const char *const states[] = {"good", "due", "near_end", "expired", "unsecured", "unknown"};
	struct engine_bench e;
	struct asked a;
	char series[96];

	engine_up(&e);
	engine_config(&e, "ca.plugin.root.auth.strictness", "false");
	no_renewals(&e);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (!script_is_open(come(&e, rows[i].guid, rows[i].ip, rows[i].identity, rows[i].from, rows[i].to)))
			fail_msg("%s: not let in", rows[i].what);
	ask(&e, &e.a, &a);
	for (size_t k = 0; k < ARRAY_SIZE(states); k++) {
		int64_t n = 0;

		for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
			n += strcmp(rows[i].state, states[k]) == 0;
		snprintf(series, sizeof(series), "muster_agent_certificates{state=\"%s\"}", states[k]);
		is_number(&a, series, n);
	}
	is_number(&a, "muster_agent_certificate_not_after_min_timestamp_seconds", NOW_S - 5 * DAY);
	is(&a, "muster_certificates_required", "0");
	is(&a, "muster_agents_connected{protocol=\"muster\"}", "4");
	is(&a, "muster_agents_connected{protocol=\"cloudstack\"}", "4");
	is(&a, "muster_hosts{status=\"Up\"}", "8");
	is(&a, "muster_links{state=\"ready\"}", "8");
	is(&a, "muster_certificate_renewals_waiting", "4");
	is(&a, "muster_handshakes_total{result=\"full\"}", "8");

	/* Strict again: who has shown nothing is cut. */
	engine_config(&e, "ca.plugin.root.auth.strictness", "true");
	engine_run(&e, 3000);
	ask(&e, &e.a, &a);
	is(&a, "muster_agent_certificates{state=\"unsecured\"}", "0");
	is(&a, "muster_links_cut_total{reason=\"unsecured\"}", "1");
	is(&a, "muster_agents_connected{protocol=\"cloudstack\"}", "3");
	engine_down(&e);
}

static void renewals_that_work_and_fail(void **state)
{
	struct agent_script as = {.guid = "h1",
				  .ip = "10.1.0.1",
				  .identity = ID_URI,
				  .is_muster = true,
				  .boot = "b1",
				  .not_before_s = NOW_S - 300 * DAY,
				  .not_after_s = NOW_S + 100 * DAY};
	struct engine_bench e;
	struct keeper k[2];
	struct asked a;

	engine_up(&e);
	keeper_init(&k[0], &e, &e.a, &as);
	keeper_connect(&k[0]);
	as.guid = "h2";
	as.ip = "10.1.0.2";
	keeper_init(&k[1], &e, &e.a, &as);
	k[1].refuses_key = true;
	keeper_connect(&k[1]);
	keepers_run(k, 2, 10000);
	ask(&e, &e.a, &a);
	is(&a, "muster_certificate_renewals_total{result=\"done\"}", "1");
	is(&a, "muster_certificate_renewals_total{result=\"failed\"}", "1");
	is(&a, "muster_certificate_renewals_waiting", "1");
	is(&a, "muster_certificate_renewals_in_progress", "0");
	is(&a, "muster_certificates_issued_total{kind=\"renewal\"}", "1");
	is(&a, "muster_agent_certificates{state=\"good\"}", "1");
	is(&a, "muster_agent_certificates{state=\"due\"}", "1");
	keeper_deinit(&k[0]);
	keeper_deinit(&k[1]);
	engine_down(&e);
}

static void refusals_and_cuts(void **state)
{
	struct engine_bench e;
	struct script *x;
	struct asked a;
	char *serial;

	engine_up(&e);
	/* Somebody without a certificate, and somebody whose is over for too long. */
	assert_false(script_is_open(come(&e, "h1", "10.1.0.1", ID_NONE, 0, 0)));
	assert_false(script_is_open(come(&e, "h2", "10.1.0.2", ID_URI, -500, -40)));
	x = come(&e, "h3", "10.1.0.3", ID_URI, -10, 300);
	assert_true(script_is_open(x));
	serial = mem_strdup(host_of(&e.a, "h3")->row.cert_serial);
	engine_revoke(&e, serial);
	engine_run(&e, 1000);
	assert_false(script_is_open(x));
	mem_free(serial);
	ask(&e, &e.a, &a);
	is(&a, "muster_refusals_total{at=\"link\",reason=\"certificate not trusted\"}", "1");
	is(&a, "muster_refusals_total{at=\"link\",reason=\"revoked\"}", "1");
	is(&a, "muster_handshakes_total{result=\"failed\"}", "1");
	is(&a, "muster_refusals_total{at=\"identity\",reason=\"certificate expired\"}", "1");
	is(&a, "muster_links_cut_total{reason=\"revoked\"}", "1");
	is(&a, "muster_revoked_certificates", "1");
	is(&a, "muster_revocations_stale", "0");
	engine_down(&e);
}

static void who_comes_back_is_waited_for(void **state)
{
	struct engine_bench e;
	struct script *x;
	struct asked a;

	engine_up(&e);
	x = come(&e, "h1", "10.1.0.1", ID_URI, -10, 300);
	script_hang_up(x);
	ask(&e, &e.a, &a);
	is(&a, "muster_agents_reconnecting", "1");
	is(&a, "muster_agents_connected{protocol=\"muster\"}", "0");
	engine_run(&e, 40000);
	ask(&e, &e.a, &a);
	is(&a, "muster_agents_reconnecting", "0");
	is(&a, "muster_hosts{status=\"Up\"}", "0");
	is(&a, "muster_hosts{status=\"Alert\"}", "1");
	engine_down(&e);
}

/* ---- servers ---- */

static void is_of(const struct asked *a, const char *metric, const struct node *n, const char *name, const char *value)
{
	char series[160];

	snprintf(series, sizeof(series), "%s{server=\"%s\",id=\"%s\"}", metric, name, n->server->uuid);
	is(a, series, value);
}

static void another_server_dies(void **state)
{
	struct engine_bench e;
	struct asked a;
	char down[160];

	engine_up(&e);
	e.server_name = "m2";
	node_add(&e, &e.b, B_IP);
	come(&e, "h1", "10.1.0.1", ID_URI, -10, 300);
	engine_run(&e, 3000);
	ask(&e, &e.a, &a);
	is(&a, "muster_servers{view=\"up\"}", "1");
	is(&a, "muster_servers{view=\"down\"}", "0");
	is_of(&a, "muster_server_up", &e.b, "m2", "1");
	is_of(&a, "muster_server_accepting", &e.b, "m2", "1");
	is_of(&a, "muster_server_hosts", &e.b, "m2", "0");
	is_of(&a, "muster_server_hosts", &e.a, A_IP, "1");
	is(&a, "muster_links{state=\"peer\"}", "1");
	ask(&e, &e.b, &a);
	is_of(&a, "muster_server_hosts", &e.a, A_IP, "1");
	is(&a, "muster_hosts{status=\"Up\"}", "1");
	is(&a, "muster_agents_connected{protocol=\"muster\"}", "0");

	snprintf(down, sizeof(down), "muster_server_up{server=\"m2\",id=\"%s\"}", e.b.server->uuid);
	node_kill(&e.b);
	engine_run(&e, 10000);
	ask(&e, &e.a, &a);
	is(&a, "muster_servers{view=\"up\"}", "0");
	is(&a, "muster_servers{view=\"down\"}", "1");
	is(&a, down, "0");
	engine_down(&e);
}

static void away_and_outdated(void **state)
{
	struct engine_bench e;
	struct script *x;
	struct asked a;

	engine_up(&e);
	node_add(&e, &e.b, B_IP);
	engine_config(&e, "host", B_IP "," A_IP);
	engine_run(&e, 500);
	x = come(&e, "h1", "10.1.0.1", ID_URI, -10, 300);
	engine_run(&e, 2000);
	ask(&e, &e.a, &a);
	is(&a, "muster_agents_off_preferred", "1");
	is(&a, "muster_agents_outdated", "0");
	x->refuses_lists = true;
	engine_config(&e, "host", A_IP "," B_IP);
	engine_run(&e, 2000);
	ask(&e, &e.a, &a);
	is(&a, "muster_agents_outdated", "1");
	engine_down(&e);
}

static void a_drain(void **state)
{
	struct engine_bench e;
	struct server_health h;
	struct asked a;

	engine_up(&e);
	node_add(&e, &e.b, B_IP);
	come(&e, "h1", "10.1.0.1", ID_URI, -10, 300); /* it goes nowhere */
	engine_ask_drain(&e, &e.a, &(struct drain_row){0});
	engine_run(&e, 4000);
	ask(&e, &e.a, &a);
	is(&a, "muster_draining", "1");
	is(&a, "muster_drain_agents_left", "1");
	is(&a, "muster_accepting", "0");
	is(&a, "muster_state{state=\"PreparingForMaintenance\"}", "1");
	is(&a, "muster_state{state=\"Up\"}", "0");
	/* It serves all the same: nothing must start it anew. */
	server_health(e.a.server, &h);
	assert_true(h.serves);
	assert_string_equal(h.text,
			    "ok\nstate PreparingForMaintenance: it takes no agents while another server does\n");
	engine_down(&e);
}

/* ---- health ---- */

static void gone(void *user)
{
}

static void it_does_not_serve(void **state)
{
	struct engine_bench e;
	struct server_health h;
	struct asked a;

	engine_world(&e);
	node_make(&e, &e.a, A_IP);
	server_health(e.a.server, &h);
	assert_false(h.serves);
	assert_string_equal(h.text, "starting\n");
	node_start(&e.a);
	engine_run(&e, 100);
	server_health(e.a.server, &h);
	assert_true(h.serves);
	assert_string_equal(h.text, "ok\n");

	e.a.store_fails = true;
	engine_run(&e, 5000);
	server_health(e.a.server, &h);
	assert_false(h.serves);
	assert_non_null(strstr(h.text, "the store has been failing for "));
	ask(&e, &e.a, &a); /* that is when it is wanted */
	is(&a, "muster_store_failing", "1");
	e.a.store_fails = false;
	engine_run(&e, 5000);
	server_health(e.a.server, &h);
	assert_true(h.serves);
	ask(&e, &e.a, &a);
	is(&a, "muster_store_failing", "0");
	is(&a, "muster_store_failing_seconds", "0.000");

	server_stop(e.a.server, gone, NULL);
	server_health(e.a.server, &h);
	assert_false(h.serves);
	assert_string_equal(h.text, "stopping\n");
	engine_down(&e);
}

static void what_else_is_said(void **state)
{
	static const struct {
		const char *what, *key, *value, *text;
	} rows[] = {
		{"nothing", NULL, NULL, "ok\n"},
		{"whoever comes is let in", "ca.plugin.root.auth.strictness", "false",
		 "ok\nagents without a certificate are let in\n"},
		{"moves are frozen", FREEZE_ROW, "{}", "ok\nmoves are frozen\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct engine_bench e;
		struct server_health h;
		struct asked a;

		engine_up(&e);
		if (rows[i].key)
			engine_config(&e, rows[i].key, rows[i].value);
		engine_run(&e, 500);
		server_health(e.a.server, &h);
		if (!h.serves || strcmp(h.text, rows[i].text) != 0)
			fail_msg("%s: %s", rows[i].what, h.text);
		ask(&e, &e.a, &a);
		is(&a, "muster_moves_frozen", str_equal(rows[i].key, FREEZE_ROW) ? "1" : "0");
		engine_down(&e);
	}
}

/* ---- many hosts ---- */

static void add_hosts(struct engine_bench *e, int64_t from, int64_t to)
{
	for (int64_t id = from; id < to; id++) {
		char guid[32];
		struct host_row row = {.id = id, .status = id % 2 ? HOST_DISCONNECTED : HOST_ALERT};

		snprintf(guid, sizeof(guid), "many-%lld", (long long)id);
		row.guid = mem_strdup(guid);
		row.name = mem_strdup(guid);
		assert_int_equal(roster_put_host(e->a.server, &row, NULL), ERR_OK);
	}
}

static void many_hosts_are_counted_in_turns(void **state)
{
	struct engine_bench e;
	struct asked first = {.n = 0}, second = {.n = 0}, left = {.n = 0}, third = {.n = 0};

	engine_up(&e);
	add_hosts(&e, 1000, 21000);
	engine_run(&e, 1100);
	server_metrics(e.a.server, on_text, &first);
	assert_int_equal(first.n, 0);
	/* Who comes meanwhile waits for the same walk; who has gone is not told. */
	server_metrics(e.a.server, on_text, &second);
	server_metrics(e.a.server, on_text, &left);
	server_metrics_forget(e.a.server, &left);
	engine_run(&e, 5);
	assert_int_equal(first.n, 1);
	assert_int_equal(second.n, 1);
	assert_int_equal(left.n, 0);
	assert_int_equal(first.version, second.version);
	is(&first, "muster_hosts{status=\"Disconnected\"}", "10000");
	is(&first, "muster_hosts{status=\"Alert\"}", "10000");

	/* For a second it is the same text, at once; then another one. */
	server_metrics(e.a.server, on_text, &third);
	assert_int_equal(third.n, 1);
	assert_int_equal(third.version, first.version);
	ask(&e, &e.a, &third);
	assert_true(third.version > first.version);

	/* The table is rebuilt in the middle of a walk: it begins again, and counts nobody twice. */
	engine_run(&e, 1100);
	second = (struct asked){.n = 0};
	server_metrics(e.a.server, on_text, &second);
	assert_int_equal(second.n, 0);
	add_hosts(&e, 21000, 101000);
	engine_run(&e, 20);
	assert_int_equal(second.n, 1);
	is(&second, "muster_hosts{status=\"Alert\"}", "50000");

	/* It ends in the middle of a walk, with somebody who waits. */
	engine_run(&e, 1100);
	third.n = 0;
	server_metrics(e.a.server, on_text, &third);
	engine_down(&e);
	assert_int_equal(third.n, 0);
}

/* Whatever runs out of memory: one answer, a whole text or none; and the next one is right again. */
static void without_memory(void **state)
{
	struct engine_bench e;
	struct asked a;
	bool failed = true;
	size_t n;

	engine_up(&e);
	come(&e, "h1", "10.1.0.1", ID_URI, -10, 300);
	for (n = 0; failed; n++) {
		metrics_deinit(e.a.server); /* as if nobody had asked before */
		a = (struct asked){.n = 0};
		failing_alloc_arm_from(n);
		server_metrics(e.a.server, on_text, &a);
		failed = failing_alloc_disarm();
		assert_int_equal(a.n, 1);
		assert_true(a.has_text || failed);
	}
	assert_true(n > 5);
	ask(&e, &e.a, &a);
	is(&a, "muster_agents_connected{protocol=\"muster\"}", "1");
	is(&a, "muster_agents_outdated", "0");
	engine_down(&e);
}

/* Hosts go and come in the middle of a walk. */
static void hosts_that_change_meanwhile(void **state)
{
	struct engine_bench e;
	struct asked a = {.n = 0};
	int64_t counted = 0, n;

	engine_up(&e);
	add_hosts(&e, 1000, 9000);
	engine_run(&e, 1100);
	server_metrics(e.a.server, on_text, &a);
	assert_int_equal(a.n, 0);
	for (int64_t id = 1000; id < 9000; id += 2) {
		struct host_row row = {.id = id, .removed_ms = 1};

		assert_int_equal(roster_put_host(e.a.server, &row, NULL), ERR_OK);
	}
	engine_run(&e, 5);
	assert_int_equal(a.n, 1);
	for (size_t i = 0; i < a.p.n; i++)
		if (str_starts(a.p.samples[i].series, "muster_hosts{") && str_to_i64(a.p.samples[i].value, &n))
			counted += n;
	assert_in_range(counted, 4000, 8000);
	ask(&e, &e.a, &a);
	is(&a, "muster_hosts{status=\"Disconnected\"}", "4000");
	is(&a, "muster_hosts{status=\"Alert\"}", "0");
	engine_down(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_of_them_once),
		cmocka_unit_test(a_server_that_has_just_begun),
		cmocka_unit_test(one_without_a_cluster_key),
		cmocka_unit_test(its_own_certificate_is_over),
		cmocka_unit_test(a_ca_that_is_changed),
		cmocka_unit_test(agents_by_their_certificates),
		cmocka_unit_test(renewals_that_work_and_fail),
		cmocka_unit_test(refusals_and_cuts),
		cmocka_unit_test(who_comes_back_is_waited_for),
		cmocka_unit_test(another_server_dies),
		cmocka_unit_test(away_and_outdated),
		cmocka_unit_test(a_drain),
		cmocka_unit_test(it_does_not_serve),
		cmocka_unit_test(what_else_is_said),
		cmocka_unit_test(many_hosts_are_counted_in_turns),
		cmocka_unit_test(hosts_that_change_meanwhile),
		cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
