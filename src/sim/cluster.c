#include "sim/cluster.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon.h"
#include "base/mem.h"
#include "ca/root.h"
#include "client/agent_file.h"
#include "core/server_list.h"
#include "sim/private.h"

#define DIR_SERVER "/var/lib/muster-server"
#define FILE_AGENT "/etc/muster-agent/agent.properties"
#define RESOURCE "LibvirtComputingResource"
#define AGAIN_US (2 * SECOND_US)
#define BOOT_US (8 * SECOND_US)
#define LEAVE_MS 10000
#define CALM_US (15 * SECOND_US) /* who was told to look may begin to so late */

void cluster_troubled(struct cluster *c, const struct sim_node *n)
{
	int64_t now = sim_now_us(c->sim);

	if (!n)
		c->troubled_us = now;
	for (size_t i = 0; i < c->n_servers; i++)
		if (!n || c->servers[i]->node == n)
			c->servers[i]->troubled_us = now;
	list_for (a, &c->agents, struct sim_agent, in_agents)
		if (!n || a->node == n)
			a->troubled_us = now;
}

/* ---- servers ---- */

static struct sim_server *server_of_event(struct sim_event *e)
{
	return container_of(e, struct sim_server, again);
}

static void server_again(struct sim_event *e)
{
	struct sim_server *s = server_of_event(e);

	if (s->wanted && s->state == PROGRAM_OFF)
		sim_server_start(s);
}

static void server_died(void *user, enum sim_death how)
{
	struct sim_server *s = user;

	s->server = server_free(s->server);
	s->store = store_close(s->store);
	s->state = PROGRAM_OFF;
	cluster_troubled(s->cluster, s->node);
	if (s->wanted)
		sim_event_set(s->cluster->sim, &s->again, s->cluster->sim->now_us + AGAIN_US);
}

static void server_started(void *user, enum err result, const char *sentence)
{
	struct sim_server *s = user;

	sim_note(s->cluster->sim, s->node, "--- started: %s", result ? sentence : "ok");
	if (result) {
		sim_node_kill_soon(s->node, SIM_KILLED);
		return;
	}
	s->state = PROGRAM_UP;
	cluster_troubled(s->cluster, s->node);
	s->up_since_us = sim_now_us(s->cluster->sim);
}

static void server_gone(void *user)
{
	struct sim_server *s = user;

	sim_node_kill_soon(s->node, SIM_KILLED);
}

static void server_fatal(void *user, enum err why, const char *sentence)
{
	struct sim_server *s = user;

	sim_fail(s->cluster->sim, "server %s can't go on: %s", s->name, sentence);
}

/* triggerShutdown. */
static void server_stop_asked(void *user)
{
	struct sim_server *s = user;

	s->wanted = false;
	s->state = PROGRAM_STOPPING;
	sim_note(s->cluster->sim, s->node, "--- stops, as it was asked over the API");
	server_leave(s->server, LEAVE_MS, server_gone, s);
}

static enum err server_gate(void *user, struct why *why)
{
	struct sim_server *s = user;

	if (!s->store_fails)
		return ERR_OK;
	why_set(why, "the store is made to fail");
	return ERR_STORE;
}

static enum err server_begin(struct sim_server *s, struct world *w, struct why *why)
{
	struct server_params p;
	enum err e;

	e = store_open(&s->store, s->cluster->where, why);
	if (e)
		return e;
	server_params_init(&p);
	p.world = w;
	p.log = sim_node_log(s->node);
	p.store = s->store;
	p.name = s->name;
	p.dir = DIR_SERVER;
	p.listen_ip = sim_node_ip(s->node);
	p.address = sim_node_ip(s->node);
	p.cluster_key = s->cluster->key;
	p.version = "sim";
	p.store_gate = server_gate;
	p.fatal = server_fatal;
	p.stop_asked = server_stop_asked;
	p.user = s;
	e = server_new(&s->server, &p, why);
	return e ? e : server_start(s->server, server_started, s);
}

void sim_server_start(struct sim_server *s)
{
	struct why why = WHY_NONE;
	struct world *w;
	enum err e;

	s->wanted = true;
	if (s->state != PROGRAM_OFF)
		return;
	sim_event_stop(s->cluster->sim, &s->again);
	s->state = PROGRAM_STARTING;
	w = sim_node_start(s->node);
	sim_enter(s->node);
	e = server_begin(s, w, &why);
	sim_leave(s->node);
	if (e && sim_node_is_alive(s->node)) {
		sim_fail(s->cluster->sim, "server %s does not start: %s", s->name, why_text(&why, e));
		sim_node_kill(s->node, SIM_KILLED);
	}
}

void sim_server_stop(struct sim_server *s)
{
	s->wanted = false;
	sim_event_stop(s->cluster->sim, &s->again);
	if (s->state == PROGRAM_OFF || s->state == PROGRAM_STOPPING)
		return;
	sim_node_freeze(s->node, false);
	if (s->state == PROGRAM_STARTING) {
		sim_node_kill(s->node, SIM_KILLED);
		return;
	}
	s->state = PROGRAM_STOPPING;
	sim_note(s->cluster->sim, s->node, "--- is told to stop");
	sim_enter(s->node);
	server_leave(s->server, LEAVE_MS, server_gone, s);
	sim_leave(s->node);
}

void sim_server_kill(struct sim_server *s, enum sim_death how)
{
	s->wanted = false;
	sim_event_stop(s->cluster->sim, &s->again);
	sim_node_kill(s->node, how);
}

enum err cluster_add_server(struct cluster *c, const char *name, struct why *why)
{
	struct sim_server *s;
	struct sim_node_params p = {.name = name, .crypto_threads = 2, .died = server_died};
	char ip[32];
	enum err e;

	if (c->n_servers == SERVERS_MAX) {
		why_set(why, "at most %d servers", SERVERS_MAX);
		return ERR_FULL;
	}
	s = mem_zalloc(sizeof(*s));
	if (!s)
		return ERR_NOMEM;
	s->cluster = c;
	str_copy(s->name, sizeof(s->name), name);
	snprintf(ip, sizeof(ip), "10.0.0.%zu", c->n_servers + 1);
	p.ip = ip;
	p.user = s;
	sim_event_init(&s->again, NULL, EV_OUTSIDE, server_again);
	e = sim_node_new(c->sim, &s->node, &p);
	if (e) {
		mem_free(s);
		return e;
	}
	c->servers[c->n_servers++] = s;
	sim_server_start(s);
	return ERR_OK;
}

/* ---- agents ---- */

static void agent_again(struct sim_event *e)
{
	struct sim_agent *a = container_of(e, struct sim_agent, again);

	if (a->wanted && !a->agent)
		sim_agent_start(a);
}

static void agent_died(void *user, enum sim_death how)
{
	struct sim_agent *a = user;

	joins_end(a);
	a->agent = agent_free(a->agent);
	certs_agent_end(a);
	flights_end(a);
	a->file = agent_file_free(a->file);
	a->stopping = false;
	a->was_on = NULL;
	cluster_troubled(a->cluster, a->node);
	if (how == SIM_POWER_LOST)
		a->boots_until_us = sim_now_us(a->cluster->sim) + BOOT_US;
	if (a->wanted)
		sim_event_set(a->cluster->sim, &a->again, a->cluster->sim->now_us + AGAIN_US);
}

static void agent_gone(void *user)
{
	struct sim_agent *a = user;

	sim_node_kill_soon(a->node, SIM_KILLED);
}

static enum err host_startup(void *user, struct msg_startup_routing *out)
{
	out->cpus = (msg_i64){.has = true, .value = 8};
	out->memory = (msg_i64){.has = true, .value = 64LL << 30};
	out->hypervisorType = mem_strdup("KVM");
	out->caps = mem_strdup("hvm,snapshot");
	return out->hypervisorType && out->caps ? ERR_OK : ERR_NOMEM;
}

static void host_command(void *user, struct agent_command *c)
{
	if (!certs_agent_command(user, c))
		flights_run(user, c);
}

static void host_stopped(void *user, enum err why, const char *sentence)
{
	struct sim_agent *a = user;

	sim_note(a->cluster->sim, a->node, "--- has stopped itself: %s", sentence);
	a->wanted = false;
	if (a->removal == STAYS && !certs_may_stop(a))
		sim_fail(a->cluster->sim, "agent %s has stopped itself: %s", a->name, sentence);
	sim_node_kill_soon(a->node, SIM_KILLED);
}

static void host_changed(void *user)
{
	struct sim_agent *a = user;
	struct agent_view v;

	agent_look(a->agent, &v);
	if (a->cluster->steady && v.state != AGENT_UP)
		sim_fail(a->cluster->sim, "steady: agent %s is %s", a->name, agent_state_name(v.state));
	moves_changed(a);
}

static void host_creds_judged(void *user, bool new_stays, const char *sentence)
{
	struct sim_agent *a = user;

	if (new_stays)
		a->renewed++;
	if (a->daemon)
		certs_agent_judged(a, new_stays, sentence);
	else if (!new_stays)
		sim_fail(a->cluster->sim, "agent %s has given its new certificate up: %s", a->name, sentence);
}

static const struct agent_host agent_host = {
	.startup = host_startup,
	.command = host_command,
	.changed = host_changed,
	.creds_judged = host_creds_judged,
	.stopped = host_stopped,
};

static enum err cert_store(struct sim_agent *a, struct why *why);

/* With real TLS an agent's certificate comes from the cluster's CA, as joining
 * would have given it. */
static enum err issue(struct sim_agent *a, const struct ca_root_record *record, struct why *why)
{
	struct cluster *c = a->cluster;
	struct ca_provider *ca = NULL;
	struct ca_issued issued = {0};
	struct ca_request r = {
		.common_name = a->name,
		.role = CERT_ROLE_AGENT,
		.id = a->guid,
		.validity_s = 365LL * 24 * 3600,
		.wall_s = world_wall_ms(sim_node_world(a->node)) / 1000,
	};
	struct csr_params p = {.common_name = a->name};
	CLEAN(mem_freep) char *csr = NULL;
	enum err e = ca_root_open(&ca, record, c->key, why);

	if (!e)
		e = key_new(&a->key, KEY_EC_P256, why);
	p.key_pem = a->key;
	if (!e)
		e = csr_new(&csr, &p, why);
	r.csr_pem = csr;
	for (size_t i = 0; i < sizeof(r.serial); i++)
		r.serial[i] = (uint8_t)rng_u64(sim_rng(c->sim));
	if (!e)
		e = ca_issue(ca, &issued, &r, why);
	if (!e) {
		a->certificate = STEAL(issued.certificate);
		e = cert_store(a, why);
	}
	ca_issued_deinit(&issued);
	ca_provider_free(ca);
	return e;
}

static enum err record_read(struct store_tx *tx, void *arg, struct why *why)
{
	struct ca_root_record *r = arg;
	enum err e = store_secret_get(tx, "ca.certificate", &r->certificate);

	return e ? e : store_secret_get(tx, "ca.sealed_key", &r->sealed_key);
}

static enum err agent_creds(struct sim_agent *a, struct world *w, struct tls_creds **out, struct why *why)
{
	struct cluster *c = a->cluster;
	struct ca_root_record record = {0};
	struct tls_material m = {.chain = a->certificate, .key = "-", .ca = "sim-ca"};
	struct store_call call = {.run = record_read, .arg = &record, .read_only = true};
	struct store_call *calls[] = {&call};
	enum err e = ERR_OK;

	if (c->p.real_tls) {
		e = store_run(c->store, calls, 1, why);
		if (!e)
			e = call.result;
		if (!e && !a->certificate)
			e = issue(a, &record, why);
		m = (struct tls_material){.chain = a->certificate, .key = a->key, .ca = record.certificate};
	}
	if (!e)
		e = tls_creds_new(w, out, &m, why);
	ca_root_record_deinit(&record);
	return e;
}

static enum err agent_begin(struct sim_agent *a, struct world *w, struct why *why)
{
	struct tls_creds *creds = NULL;
	struct agent_params p;
	enum err e = agent_file_open(&a->file, w->fs, FILE_AGENT, why);

	if (!e)
		e = a->cluster->p.certificates ? certs_agent_begin(a, w, why) : agent_creds(a, w, &creds, why);
	if (e)
		return e;
	agent_params_init(&p);
	p.world = w;
	p.log = sim_node_log(a->node);
	p.file = a->file;
	p.creds = a->daemon ? a->daemon->creds : creds;
	p.old_creds = a->daemon ? a->daemon->old_creds : NULL;
	p.guid = a->guid;
	p.resource_name = RESOURCE;
	p.name = a->name;
	p.zone = p.pod = p.cluster = "default";
	p.version = "sim";
	p.host = &agent_host;
	p.host_user = a;
	e = agent_new(&a->agent, &p, why);
	if (creds)
		tls_creds_unref(creds);
	if (a->daemon)
		a->daemon->agent = a->agent;
	return e ? e : agent_start(a->agent);
}

void sim_agent_start(struct sim_agent *a)
{
	struct why why = WHY_NONE;
	struct world *w;
	enum err e;

	if (a->removal != STAYS)
		return;
	a->wanted = true;
	if (sim_node_world(a->node))
		return;
	/* A machine that was without power takes its time. */
	if (sim_now_us(a->cluster->sim) < a->boots_until_us) {
		sim_event_set(a->cluster->sim, &a->again,
			      a->cluster->sim->now_us + a->boots_until_us - sim_now_us(a->cluster->sim));
		return;
	}
	sim_event_stop(a->cluster->sim, &a->again);
	if (a->cluster->p.certificates && joins_first(a))
		return;
	w = sim_node_start(a->node);
	sim_enter(a->node);
	e = agent_begin(a, w, &why);
	sim_leave(a->node);
	if (!e || !sim_node_is_alive(a->node))
		return;
	/* Before there is a CA there is nobody to issue certificates: that agent
	 * comes later. */
	if (!a->cluster->p.real_tls || e != ERR_NOT_FOUND)
		sim_fail(a->cluster->sim, "agent %s does not start: %s", a->name, why_text(&why, e));
	sim_node_kill(a->node, SIM_KILLED);
}

/* Of a simulated CA. With real TLS agent_creds() asks the cluster's. */
static enum err renew_certificate(struct sim_agent *a)
{
	mem_free(a->certificate);
	a->key = key_free(a->key);
	a->certificate = NULL;
	if (a->cluster->p.real_tls)
		return ERR_OK;
	a->certificate = mem_printf("sim-certificate role=agent id=%s serial=%x%06x", a->guid, a->renewals + 1,
				    (unsigned)strtoul(a->name + 1, NULL, 10));
	return a->certificate ? cert_store(a, NULL) : ERR_NOMEM;
}

void sim_agent_renew(struct sim_agent *a)
{
	struct tls_creds *creds = NULL;
	struct why why = WHY_NONE;
	enum err e;

	if (!a->agent)
		return;
	a->renewals++;
	sim_enter(a->node);
	e = renew_certificate(a);
	if (!e)
		e = agent_creds(a, sim_node_world(a->node), &creds, &why);
	if (!e)
		e = agent_try_creds(a->agent, creds);
	if (creds)
		tls_creds_unref(creds);
	sim_leave(a->node);
	if (e)
		sim_fail(a->cluster->sim, "agent %s is not renewed: %s", a->name, why_text(&why, e));
}

void sim_agent_stop(struct sim_agent *a)
{
	a->wanted = false;
	sim_event_stop(a->cluster->sim, &a->again);
	if (a->joining)
		sim_node_kill(a->node, SIM_KILLED);
	if (!a->agent || a->stopping || !sim_node_is_alive(a->node))
		return;
	a->stopping = true;
	sim_node_freeze(a->node, false);
	sim_note(a->cluster->sim, a->node, "--- is told to stop");
	sim_enter(a->node);
	agent_stop(a->agent, agent_gone, a);
	sim_leave(a->node);
}

void sim_agent_kill(struct sim_agent *a, enum sim_death how)
{
	a->wanted = false;
	sim_event_stop(a->cluster->sim, &a->again);
	sim_node_kill(a->node, how);
}

static char *first_list(struct cluster *c)
{
	struct str_list l = {0};
	char *text = NULL;
	enum err e = ERR_OK;

	for (size_t i = 0; i < c->n_servers && !e; i++)
		e = str_list_add(&l, sim_node_ip(c->servers[i]->node));
	if (!e)
		text = server_list_format(&l, "static");
	str_list_deinit(&l);
	return text;
}

/* As joining leaves it in the store: without it deleting the host would revoke
 * nothing. */
static enum err cert_remember(struct store_tx *tx, void *arg, struct why *why)
{
	struct sim_agent *a = arg;
	struct cert_info info = {0};
	char serial[SERIAL_TEXT];
	enum err e = ERR_OK;

	if (a->cluster->p.real_tls) {
		e = cert_info_parse(&info, a->certificate, why);
		str_copy(serial, sizeof(serial), info.serial);
		cert_info_deinit(&info);
	} else {
		str_copy(serial, sizeof(serial), strstr(a->certificate, "serial=") + strlen("serial="));
	}
	store_tx_by(tx, 0, 0);
	return e ? e
		 : store_cert_add(tx, &(struct cert_row){.serial = serial,
							 .common_name = a->name,
							 .role = (char *)(uintptr_t) "agent",
							 .subject_id = a->guid,
							 .not_after_s = INT64_MAX / 4,
							 .pem = a->certificate});
}

static enum err cert_store(struct sim_agent *a, struct why *why)
{
	struct store_call call = {.run = cert_remember, .arg = a};
	struct store_call *calls[] = {&call};
	enum err e = store_run(a->cluster->store, calls, 1, why);

	invariants_forget(a->cluster);
	return e ? e : call.result;
}

static enum err agent_add(struct cluster *c, int64_t after_us)
{
	CLEAN(mem_freep) char *text = NULL;
	CLEAN(mem_freep) char *list = first_list(c);
	struct sim_agent *a = mem_zalloc(sizeof(*a));
	struct sim_node_params p = {.crypto_threads = 1, .died = agent_died, .user = a};
	uint8_t random[16];
	char ip[32];
	size_t n = ++c->n_agents;
	enum err e;

	if (!a || !list) {
		mem_free(a);
		return ERR_NOMEM;
	}
	a->cluster = c;
	for (size_t i = 0; i < sizeof(random); i++)
		random[i] = (uint8_t)rng_u64(sim_rng(c->sim));
	uuid_from_bytes(a->guid, random);
	snprintf(a->name, sizeof(a->name), "H%zu", n);
	snprintf(ip, sizeof(ip), "10.1.%zu.%zu", n / 250, n % 250 + 1);
	p.name = a->name;
	p.ip = ip;
	sim_event_init(&a->again, NULL, EV_OUTSIDE, agent_again);
	flights_begin(a);
	list_append(&c->agents, &a->in_agents);
	e = sim_node_new(c->sim, &a->node, &p);
	if (!e && c->clock_ms)
		sim_node_jump(a->node, c->clock_ms);
	a->wish = c->p.certificates ? WISH_JOIN : WISH_NONE;
	if (!e && !c->p.real_tls && !c->p.certificates &&
	    !(a->certificate = mem_printf("sim-certificate role=agent id=%s serial=%zx", a->guid, n + 0x1000)))
		e = ERR_NOMEM;
	if (!e && a->certificate)
		e = cert_store(a, NULL);
	/* Every other one has joined with a token of the first server and knows that as muster. */
	text = mem_printf("# agent %s\nguid=%s\nzone=default\nhost=%s\nunknown.key=stays\n%s%.*s\n", a->name, a->guid,
			  list, n % 2 ? KEY_KNOWN_MUSTER "=" : "#", (int)strcspn(list, ","), list);
	if (!e)
		e = text ? sim_file_put(a->node, FILE_AGENT, text) : ERR_NOMEM;
	a->wanted = true;
	if (!e)
		sim_event_set(c->sim, &a->again, c->sim->now_us + after_us);
	return e;
}

enum err cluster_add_agents(struct cluster *c, size_t n, int64_t spread_us, struct why *why)
{
	enum err e = ERR_OK;

	for (size_t i = 0; i < n && !e; i++)
		e = agent_add(c, (int64_t)rng_below(sim_rng(c->sim), (uint64_t)spread_us + 1));
	return e;
}

/* ---- finding them ---- */

struct sim_server *cluster_server(struct cluster *c, const char *name)
{
	for (size_t i = 0; i < c->n_servers; i++)
		if (str_equal(c->servers[i]->name, name))
			return c->servers[i];
	return NULL;
}

struct sim_agent *cluster_agent(struct cluster *c, const char *name)
{
	list_for (a, &c->agents, struct sim_agent, in_agents)
		if (str_equal(a->name, name))
			return a;
	return NULL;
}

struct sim_node *cluster_node(struct cluster *c, const char *name)
{
	struct sim_server *s = cluster_server(c, name);
	struct sim_agent *a = s ? NULL : cluster_agent(c, name);

	return s ? s->node : a ? a->node : NULL;
}

struct sim_server *cluster_server_of_msid(struct cluster *c, int64_t msid)
{
	for (size_t i = 0; i < c->n_servers; i++)
		if (c->servers[i]->server && server_msid(c->servers[i]->server) == msid)
			return c->servers[i];
	return NULL;
}

struct sim_server *cluster_any_server(struct cluster *c, size_t from)
{
	for (size_t i = 0; i < c->n_servers; i++) {
		struct sim_server *s = c->servers[(from + i) % c->n_servers];

		if (s->state == PROGRAM_UP && sim_node_is_alive(s->node) && !sim_node_is_frozen(s->node))
			return s;
	}
	return NULL;
}

/* ---- what operators do ---- */

static struct told_setting *setting_get(struct cluster *c, const char *name)
{
	struct told_setting *t;

	list_for (k, &c->settings, struct told_setting, in_settings)
		if (str_equal(k->name, name))
			return k;
	t = mem_zalloc(sizeof(*t));
	if (!t || !(t->name = mem_strdup(name)))
		abort();
	list_append(&c->settings, &t->in_settings);
	return t;
}

struct call {
	struct cluster *cluster;
	struct told_setting *setting; /* NULL: a host is removed */
	struct sim_agent *agent;      /* that is removed */
	char *value;
	void (*answered)(struct cluster *c, struct sim_agent *a, int status, json_t *body);
	struct sim_agent *about;
};

static void call_done(void *user, int status, json_t *body)
{
	struct call *k = user;
	struct cluster *c = k->cluster;
	struct told_setting *t = k->setting;

	c->calls--;
	if (sim_is_tracing(c->sim)) {
		char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

		sim_note(c->sim, NULL, "--- answer %d %s", status, text ? text : "");
		free(text);
	}
	if (t)
		t->under_way--;
	/* An answer other than yes is no: but a server that died before it could say
	 * anything may have written it. */
	if (t && status == 200) {
		mem_free(t->acked);
		t->acked = STEAL(k->value);
		str_list_deinit(&t->maybe);
	}
	if (k->agent && status == 200)
		k->agent->removal = REMOVED;
	if (k->answered)
		k->answered(c, k->about, status, body);
	mem_free(k->value);
	mem_free(k);
}

static void ask(struct cluster *c, struct sim_server *on, struct call *k, const struct api_param *params, size_t n)
{
	const struct api_caller caller = {.is_local = true, .address = "local"};

	c->calls++;
	sim_enter(on->node);
	server_api(on->server, &caller, params, n, call_done, k);
	sim_leave(on->node);
}

bool cluster_set(struct cluster *c, struct sim_server *on, const char *name, const char *value)
{
	struct api_param params[] = {
		{"command", value ? "updateConfiguration" : "resetConfiguration"},
		{"name", name},
		{"value", value},
	};
	struct told_setting *t = setting_get(c, name);
	struct call *k;

	if (!on)
		on = cluster_any_server(c, 0);
	if (!on || on->state != PROGRAM_UP || t->under_way)
		return false;
	k = mem_zalloc(sizeof(*k));
	if (!k)
		abort();
	sim_note(c->sim, on->node, "--- config set %s %s", name, value ? value : "(default)");
	k->cluster = c;
	k->setting = t;
	k->value = mem_strdup(value);
	t->under_way++;
	if (str_list_add(&t->maybe, value ? value : ""))
		abort();
	ask(c, on, k, params, value ? 3 : 2);
	return true;
}

static enum err uuid_read(struct store_tx *tx, void *arg, struct why *why)
{
	struct host_row row = {0};
	char *guid_in_uuid_out = arg;
	enum err e = store_host_by_guid(tx, guid_in_uuid_out, &row);

	if (!e) {
		str_copy(guid_in_uuid_out, UUID_TEXT, row.uuid);
		host_row_deinit(&row);
	}
	return e;
}

bool cluster_uuid_of(struct cluster *c, const struct sim_agent *a, char out[UUID_TEXT])
{
	struct store_call call = {.run = uuid_read, .arg = out, .read_only = true};
	struct store_call *calls[] = {&call};

	str_copy(out, UUID_TEXT, a->guid);
	return a->removal == STAYS && !store_run(c->store, calls, 1, NULL) && !call.result;
}

bool cluster_remove_host(struct cluster *c, struct sim_server *on, struct sim_agent *a)
{
	char uuid[UUID_TEXT];
	struct api_param params[] = {{"command", "deleteHost"}, {"id", uuid}, {"forced", "true"}};
	struct call *k;

	if (!on)
		on = cluster_any_server(c, 0);
	/* Who joins at this moment may be there again afterwards. */
	if (!on || a->wish || !cluster_uuid_of(c, a, uuid))
		return false;
	k = mem_zalloc(sizeof(*k));
	if (!k)
		abort();
	sim_note(c->sim, on->node, "--- delete host %s", a->name);
	k->cluster = c;
	k->agent = a;
	a->removal = MAYBE_REMOVED;
	a->wanted = false;
	ask(c, on, k, params, 3);
	return true;
}

bool cluster_maintain(struct cluster *c, const char *command, const struct sim_server *s, char *const *extra, size_t n)
{
	struct api_param params[8] = {{"command", command}, {"managementserverid", s->name}};
	struct sim_server *on = cluster_any_server(c, (size_t)rng_below(sim_rng(c->sim), c->n_servers));
	char words[6][64];
	struct call *k;

	if (!on || !on->server)
		return false;
	for (size_t i = 0; i < n && i < ARRAY_SIZE(words); i++) {
		char *equals;

		str_copy(words[i], sizeof(words[i]), extra[i]);
		equals = strchr(words[i], '=');
		if (equals)
			*equals = '\0';
		params[2 + i] = (struct api_param){words[i], equals ? equals + 1 : "true"};
	}
	k = mem_zalloc(sizeof(*k));
	if (!k)
		abort();
	sim_note(c->sim, on->node, "--- %s %s", command, s->name);
	k->cluster = c;
	ask(c, on, k, params, 2 + n);
	return true;
}

bool cluster_ask(struct cluster *c, const struct api_param *params, size_t n, const char *note, struct sim_agent *a,
		 void (*answered)(struct cluster *c, struct sim_agent *a, int status, json_t *body))
{
	struct sim_server *on = cluster_any_server(c, (size_t)rng_below(sim_rng(c->sim), c->n_servers));
	struct call *k;

	if (!on || !on->server)
		return false;
	k = mem_zalloc(sizeof(*k));
	if (!k)
		abort();
	sim_note(c->sim, on->node, "--- %s %s", params[0].value, note);
	k->cluster = c;
	k->about = a;
	k->answered = answered;
	ask(c, on, k, params, n);
	return true;
}

static bool ask_any(struct cluster *c, const struct api_param *params, size_t n, const char *note)
{
	return cluster_ask(c, params, n, note, NULL, NULL);
}

bool cluster_weigh(struct cluster *c, const struct sim_server *s, const char *what)
{
	char name[16];
	const char *value = strchr(what, '=');
	struct api_param params[] = {{"command", "setListServer"}, {"server", s->name}, {name, value ? value + 1 : ""}};

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(what, "="), what);
	return ask_any(c, params, 3, s->name);
}

bool cluster_pin(struct cluster *c, const struct sim_agent *a, const struct sim_server *s)
{
	char uuid[UUID_TEXT];
	struct api_param params[] = {
		{"command", s ? "pinHost" : "unpinHost"}, {"id", uuid}, {"server", s ? s->name : ""}};

	return cluster_uuid_of(c, a, uuid) && ask_any(c, params, s ? 3 : 2, a->name);
}

/* What a step of a rolling restart does to the lists, by a server that isn't one of the cluster's. */
static enum err rest_run(struct store_tx *tx, void *arg, struct why *why)
{
	size_t moves;

	store_tx_by(tx, 1, 0);
	return store_list_server_rest(tx, arg, &moves);
}

bool cluster_rest(struct cluster *c, const struct sim_server *s)
{
	char entry[SERVER_HOST_MAX];
	struct store_call call = {.run = rest_run, .arg = s ? entry : NULL};
	struct store_call *calls[] = {&call};

	if (s)
		str_copy(entry, sizeof(entry), sim_node_ip(s->node));
	if (store_run(c->store, calls, 1, NULL) || call.result)
		return false;
	invariants_forget(c); /* our own writes don't show as changes */
	return true;
}

bool cluster_call(struct cluster *c, const char *command)
{
	struct api_param params[] = {{"command", command}};
	struct sim_server *on = cluster_any_server(c, (size_t)rng_below(sim_rng(c->sim), c->n_servers));
	struct call *k;

	if (!on || !on->server)
		return false;
	k = mem_zalloc(sizeof(*k));
	if (!k)
		abort();
	sim_note(c->sim, on->node, "--- %s", command);
	k->cluster = c;
	ask(c, on, k, params, 1);
	return true;
}

static void send_one(struct sim_event *e)
{
	struct cluster *c = container_of(e, struct cluster, send);

	if (!c->send_every_us)
		return;
	cluster_command(c);
	sim_event_set(c->sim, e, c->sim->now_us + c->send_every_us);
}

void cluster_commands(struct cluster *c, int64_t every_us)
{
	c->send_every_us = every_us;
	if (every_us)
		sim_event_set(c->sim, &c->send, c->sim->now_us + every_us);
}

/* ---- calm ---- */

void cluster_calm(struct cluster *c)
{
	struct sim_network *n = sim_network(c->sim);

	sim_note(c->sim, NULL, "--- calm");
	c->is_calmed = true;
	cluster_commands(c, 0);
	cluster_troubled(c, NULL);
	n->loss_ppm = 0;
	n->tls_bad_ppm = 0;
	n->names_down = false;
	sim_heal(c->sim);
	for (size_t i = 0; i < c->n_servers; i++) {
		struct sim_server *s = c->servers[i];

		s->store_fails = false;
		sim_lane_stall(s->node, WORK_STORE, false);
		sim_lane_slow(s->node, WORK_STORE, 1);
		sim_disk_full(s->node, false);
		sim_disk_dies_at(s->node, -1, SIM_KILLED);
		sim_node_freeze(s->node, false);
		sim_server_start(s);
	}
	list_for (a, &c->agents, struct sim_agent, in_agents) {
		sim_disk_full(a->node, false);
		sim_disk_dies_at(a->node, -1, SIM_KILLED);
		sim_node_freeze(a->node, false);
		sim_agent_start(a);
	}
}

/* Was a host deleted whose deletion nobody has confirmed? When no call is under
 * way any more, the store knows. */
static void resolve_removals(struct cluster *c)
{
	if (c->calls)
		return;
	list_for (a, &c->agents, struct sim_agent, in_agents) {
		if (a->removal != MAYBE_REMOVED)
			continue;
		a->removal = cluster_has_host(c, a) ? STAYS : REMOVED;
		if (a->removal == STAYS)
			sim_agent_start(a);
	}
}

/* What was asked of servers may end only now: nobody is left in maintenance, or shut down. */
static void bring_back(struct cluster *c)
{
	if (!c->is_calmed || c->calls)
		return;
	if (c->p.certificates)
		certs_bring_to_an_end(c);
	/* Nor is anybody kept from coming home for ever. */
	if (str_equal(cluster_setting(c, "agent.failback.rate"), "0"))
		cluster_set(c, NULL, "agent.failback.rate", NULL);
	if (c->frozen_us)
		cluster_call(c, "thawHosts");
	for (size_t i = 0; i < c->n_servers; i++) {
		struct sim_server *s = c->servers[i];
		enum server_state state = cluster_state_of(c, s);

		if (s->state == PROGRAM_OFF && !s->wanted)
			sim_server_start(s);
		if (state == SERVER_PREPARING_FOR_MAINTENANCE || state == SERVER_MAINTENANCE)
			cluster_maintain(c, "cancelMaintenance", s, NULL, 0);
		else if (state == SERVER_PREPARING_FOR_SHUTDOWN || state == SERVER_READY_TO_SHUTDOWN)
			cluster_maintain(c, "cancelShutdown", s, NULL, 0);
	}
}

bool cluster_settle(struct cluster *c, int64_t most_us)
{
	int64_t end = sim_now_us(c->sim) + most_us, calm_from = 0;
	struct why why = WHY_NONE;

	while (!sim_failure(c->sim)) {
		bool is_calm;

		resolve_removals(c);
		bring_back(c);
		is_calm = invariants_are_calm(c, false, &why);
		if (is_calm && calm_from && sim_now_us(c->sim) - calm_from >= CALM_US)
			break;
		if (!is_calm)
			calm_from = 0;
		else if (!calm_from)
			calm_from = sim_now_us(c->sim);
		if (!is_calm && sim_now_us(c->sim) >= end) {
			sim_fail(c->sim, "not calm after %lld s: %s", (long long)(most_us / SECOND_US), why.text);
			break;
		}
		sim_run(c->sim, sim_now_us(c->sim) + SECOND_US / 2);
	}
	if (!sim_failure(c->sim))
		sim_note(c->sim, NULL, "--- calm after %lld ms",
			 (long long)((sim_now_us(c->sim) - end + most_us) / 1000));
	/* What was put off must have happened by then: links that were superseded,
	 * late time-outs. */
	sim_run(c->sim, sim_now_us(c->sim) + 70 * SECOND_US);
	/* A certificate may be renewed at just this moment. */
	for (int i = 0; i < 20 && c->p.certificates && !invariants_are_calm(c, true, &why); i++)
		sim_run(c->sim, sim_now_us(c->sim) + SECOND_US);
	if (!sim_failure(c->sim) && !invariants_are_calm(c, true, &why))
		sim_fail(c->sim, "calm did not last: %s", why.text);
	return !sim_failure(c->sim);
}

/* ---- life ---- */

static void look(struct sim_event *e)
{
	struct cluster *c = container_of(e, struct cluster, look);
	int64_t us = c->p.look_us ? c->p.look_us : c->n_agents > 100 ? 2 * SECOND_US : SECOND_US / 10;

	invariants_look(c);
	if (c->p.certificates)
		certs_look(c);
	sim_event_set(c->sim, e, c->sim->now_us + us);
}

enum err cluster_new(struct cluster **out, const struct cluster_params *p, struct why *why)
{
	struct cluster *c = mem_zalloc(sizeof(*c));
	struct sim_params sp = {
		.seed = p->seed, .real_tls = p->real_tls, .print = p->print, .user = p->user, .level = p->level};
	static unsigned n; /* several clusters in one process never share a store */
	enum err e;

	if (!c)
		return ERR_NOMEM;
	c->p = *p;
	list_init(&c->agents);
	list_init(&c->settings);
	list_init(&c->flights);
	map_init_text(&c->recorded, 1);
	map_init_text(&c->revoked, 1);
	e = sim_new(&c->sim, &sp);
	c->where = mem_printf(":memory:sim-%llu-%u", (unsigned long long)p->seed, ++n);
	if (!e)
		e = c->where ? store_open(&c->store, c->where, why) : ERR_NOMEM;
	for (size_t i = 0; i < sizeof(c->key); i++)
		c->key[i] = (uint8_t)i;
	if (e) {
		mem_free(c->where);
		sim_free(c->sim);
		mem_free(c);
		return e;
	}
	sim_event_init(&c->send, NULL, EV_OUTSIDE, send_one);
	sim_event_init(&c->look, NULL, EV_OUTSIDE, look);
	sim_event_set(c->sim, &c->look, c->sim->now_us);
	*out = c;
	return ERR_OK;
}

struct cluster *cluster_free(struct cluster *c)
{
	if (!c)
		return NULL;
	sim_trace_ends(c->sim);
	list_for (a, &c->agents, struct sim_agent, in_agents) {
		sim_agent_kill(a, SIM_KILLED);
		mem_free(a->certificate);
		key_free(a->key);
		mem_free(a->token);
	}
	for (size_t i = 0; i < c->n_servers; i++)
		sim_server_kill(c->servers[i], SIM_KILLED);
	sim_event_stop(c->sim, &c->look);
	sim_event_stop(c->sim, &c->send);
	sim_free(c->sim);
	list_for (a, &c->agents, struct sim_agent, in_agents)
		mem_free(a);
	for (size_t i = 0; i < c->n_servers; i++)
		mem_free(c->servers[i]);
	list_for (t, &c->settings, struct told_setting, in_settings) {
		str_list_deinit(&t->maybe);
		mem_free(t->acked);
		mem_free(t->name);
		mem_free(t);
	}
	flights_free(c);
	certs_free(c);
	invariants_forget(c);
	store_close(c->store);
	mem_free(c->where);
	return mem_free(c);
}
