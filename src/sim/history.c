/*
 * Random histories: what can happen to a cluster, in any order, drawn from the
 * seed. Each event is a line as in a scenario, so the trace of a failing seed
 * can be cut down to one by hand.
 */
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "sim/scenario.h"

/* An agent whose last return was a flap waits 5 minutes, then up to an interval of 30 s and the time to prove the link.
 */
#define CALM_US (360 * SECOND_US)
/* A rotation has three phases to go, and in each an agent that doesn't answer is waited for a minute, twice. */
#define CALM_CERTS_US (CALM_US + 3 * 150 * SECOND_US)

static const char *const names[SERVERS_MAX] = {"a", "b", "c", "d", "e", "f", "g", "h",
					       "i", "j", "k", "l", "m", "n", "o", "p"};

static enum err tell(struct cluster *c, struct why *why, const char *format, ...) __attribute__((format(printf, 3, 4)));

static enum err tell(struct cluster *c, struct why *why, const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	return scenario_command(c, line, why);
}

static size_t draw(struct cluster *c, size_t n)
{
	return (size_t)rng_below(sim_rng(c->sim), n);
}

static const char *any_server(struct cluster *c)
{
	return names[draw(c, c->n_servers)];
}

static const char *any_agent(struct cluster *c, char out[16])
{
	snprintf(out, 16, "H%zu", 1 + draw(c, c->n_agents));
	return out;
}

static const char *anybody(struct cluster *c, char out[16])
{
	return draw(c, 2) ? any_server(c) : any_agent(c, out);
}

/* ---- kinds of events ---- */

static enum err kill_server(struct cluster *c, struct why *why)
{
	static const char *const how[] = {"kill", "kill", "poweroff", "stop"};

	return tell(c, why, "%s %s", how[draw(c, ARRAY_SIZE(how))], any_server(c));
}

static enum err start_server(struct cluster *c, struct why *why)
{
	return tell(c, why, "start %s", any_server(c));
}

static enum err kill_agent(struct cluster *c, struct why *why)
{
	static const char *const how[] = {"kill", "poweroff", "stop"};
	char who[16];

	return tell(c, why, "%s %s", how[draw(c, ARRAY_SIZE(how))], any_agent(c, who));
}

static enum err start_agents(struct cluster *c, struct why *why)
{
	return tell(c, why, "start agents");
}

static enum err kill_all(struct cluster *c, struct why *why)
{
	static const char *const whom[] = {"servers", "agents", "all"};
	const char *who = whom[draw(c, ARRAY_SIZE(whom))];
	enum err e = tell(c, why, "%s %s", draw(c, 2) ? "kill" : "poweroff", who);

	if (!e)
		e = tell(c, why, "run %zums", draw(c, 8000));
	return e ? e : tell(c, why, "start %s", who);
}

static enum err freeze(struct cluster *c, struct why *why)
{
	char who[16];

	return tell(c, why, "freeze %s", anybody(c, who));
}

static enum err thaw(struct cluster *c, struct why *why)
{
	return tell(c, why, "thaw all");
}

static enum err freeze_moves(struct cluster *c, struct why *why)
{
	return tell(c, why, "freeze moves");
}

static enum err thaw_moves(struct cluster *c, struct why *why)
{
	return tell(c, why, "thaw moves");
}

static enum err cut(struct cluster *c, struct why *why)
{
	char who[16];

	return tell(c, why, "cut%s %s %s", draw(c, 2) ? "" : "-oneway", any_server(c), anybody(c, who));
}

static enum err heal(struct cluster *c, struct why *why)
{
	return tell(c, why, "heal");
}

static enum err set_algorithm(struct cluster *c, struct why *why)
{
	static const char *const values[] = {"static", "roundrobin", "shuffle", "balanced", "balanced", "balanced"};

	return tell(c, why, "set indirect.agent.lb.algorithm %s", values[draw(c, ARRAY_SIZE(values))]);
}

/* What an operator says of the servers in lists and of single hosts. */
static enum err weigh(struct cluster *c, struct why *why)
{
	static const char *const what[] = {"weight=0", "weight=2", "weight=1", "weight=1", "zone=default", "zone=none"};

	return tell(c, why, "weigh %s %s", any_server(c), what[draw(c, ARRAY_SIZE(what))]);
}

static enum err rest(struct cluster *c, struct why *why)
{
	return tell(c, why, "rest %s", draw(c, 3) ? any_server(c) : "none");
}

static enum err pin(struct cluster *c, struct why *why)
{
	char who[16];

	if (draw(c, 3) == 0)
		return tell(c, why, "unpin %s", any_agent(c, who));
	return tell(c, why, "pin %s %s", any_agent(c, who), any_server(c));
}

static enum err set_interval(struct cluster *c, struct why *why)
{
	static const int values[] = {0, 2, 5, 10, 30};

	return tell(c, why, "set indirect.agent.lb.check.interval %d", values[draw(c, ARRAY_SIZE(values))]);
}

/* The pace of arrivals, the time for a lost agent, keys of tickets that are replaced under way. */
static enum err set_other(struct cluster *c, struct why *why)
{
	static const char *const settings[] = {
		"agent.failback.rate 1",
		"agent.failback.rate 0",
		"agent.failback.rate default",
		"agent.failback.rate 5",
		"agent.failback.burst 1",
		"agent.failback.burst default",
		"agent.reconnect.grace 0",
		"agent.reconnect.grace 60",
		"agent.reconnect.grace default",
		"agent.ssl.ticket.key.lifetime 0",
		"agent.ssl.ticket.key.lifetime 10",
		"agent.ssl.ticket.key.lifetime default",
	};

	return tell(c, why, "set %s", settings[draw(c, ARRAY_SIZE(settings))]);
}

static enum err rebalance(struct cluster *c, struct why *why)
{
	return tell(c, why, "rebalance");
}

static enum err set_host(struct cluster *c, struct why *why)
{
	struct str_list l = {0};
	CLEAN(mem_freep) char *text = NULL;
	size_t start = draw(c, c->n_servers), n = 1 + draw(c, c->n_servers);
	enum err e = ERR_OK;

	if (draw(c, 3) == 0)
		return tell(c, why, "set host default");
	for (size_t i = 0; i < n && !e; i++) {
		struct sim_server *s = c->servers[(start + i) % c->n_servers];

		e = str_list_add(&l, draw(c, 3) ? sim_node_ip(s->node) : s->name);
	}
	text = e ? NULL : str_list_join(&l, ",");
	str_list_deinit(&l);
	return text ? tell(c, why, "set host %s", text) : ERR_NOMEM;
}

static enum err add_host(struct cluster *c, struct why *why)
{
	return c->n_agents < 40 ? tell(c, why, "agents 1") : ERR_OK;
}

static enum err delete_host(struct cluster *c, struct why *why)
{
	char who[16];

	return tell(c, why, "delete %s", any_agent(c, who));
}

static enum err store(struct cluster *c, struct why *why)
{
	static const char *const how[] = {"fails",   "works",    "stalls", "goes", "works",
					  "slow:20", "slow:500", "slow:1", "goes"};

	return tell(c, why, "store %s %s", how[draw(c, ARRAY_SIZE(how))], any_server(c));
}

static enum err disk(struct cluster *c, struct why *why)
{
	char who[16];

	return tell(c, why, "disk %s:%zu %s", draw(c, 2) ? "dies" : "dark", draw(c, 16), anybody(c, who));
}

static enum err clock_jump(struct cluster *c, struct why *why)
{
	static const int by[] = {-3600, -60, -1, 1, 60, 3600};
	char who[16];

	return tell(c, why, "clock %s %ds", anybody(c, who), by[draw(c, ARRAY_SIZE(by))]);
}

static enum err network(struct cluster *c, struct why *why)
{
	return tell(c, why, "network latency=%zums jitter=%zums loss=%zu%% tls-bad=%zu%% names=%s", draw(c, 20),
		    draw(c, 10), draw(c, 3) ? 0 : draw(c, 5), draw(c, 4) ? 0 : draw(c, 10), draw(c, 4) ? "up" : "down");
}

static enum err drain(struct cluster *c, struct why *why)
{
	return tell(c, why, "drain %s%s%s%s", any_server(c), draw(c, 3) ? "" : " rate=1",
		    draw(c, 3) ? "" : " timeout=5", draw(c, 3) ? "" : " forced=true");
}

static enum err undrain(struct cluster *c, struct why *why)
{
	return tell(c, why, "undrain %s%s", any_server(c), draw(c, 3) ? "" : " rebalance=false");
}

static enum err shut_down(struct cluster *c, struct why *why)
{
	return tell(c, why, "shutdown %s", any_server(c));
}

/* ---- certificates, in those lives that have them ---- */

static enum err provision(struct cluster *c, struct why *why)
{
	char who[16];

	return tell(c, why, "provision %s", any_agent(c, who));
}

static enum err revoke(struct cluster *c, struct why *why)
{
	char who[16];

	return tell(c, why, "revoke %s", any_agent(c, who));
}

static enum err rejoin(struct cluster *c, struct why *why)
{
	char who[16];

	return tell(c, why, "rejoin %s%s", any_agent(c, who), draw(c, 3) ? "" : " keep");
}

static enum err rotate(struct cluster *c, struct why *why)
{
	return tell(c, why, "rotate %s", draw(c, 4) ? "next" : "back");
}

static enum err issue(struct cluster *c, struct why *why)
{
	return tell(c, why, "issue");
}

/* Time passes for certificates alone: half of their life, all of it. */
static enum err age(struct cluster *c, struct why *why)
{
	static const int hours[] = {6, 13, 24, 24, 48, 24 * 8, 24 * 20};

	return tell(c, why, "clock all %dh", hours[draw(c, ARRAY_SIZE(hours))]);
}

static enum err set_certificates(struct cluster *c, struct why *why)
{
	static const char *const settings[] = {
		"ca.framework.cert.renewal.rate 0",          "ca.framework.cert.renewal.rate 1",
		"ca.framework.cert.renewal.rate 2",          "ca.framework.cert.renewal.rate default",
		"ca.framework.cert.automatic.renewal false", "ca.framework.cert.automatic.renewal default",
		"ca.framework.cert.validity.period 1",       "ca.framework.cert.validity.period 30",
		"ca.framework.background.task.delay 5",      "ca.framework.background.task.delay 60",
		"ca.plugin.root.auth.strictness false",      "ca.plugin.root.auth.strictness default",
	};

	return tell(c, why, "set %s", settings[draw(c, ARRAY_SIZE(settings))]);
}

/* So that much is due, and soon. */
static enum err begin_certificates(struct cluster *c, struct why *why)
{
	enum err e = tell(c, why, "set ca.framework.cert.validity.period %d", draw(c, 2) ? 1 : 30);

	return e ? e : tell(c, why, "set ca.framework.background.task.delay %zu", 3 + draw(c, 60));
}

struct kind {
	enum err (*call)(struct cluster *c, struct why *why);
	unsigned weight;
};

static const struct kind cert_kinds[] = {
	{provision, 10}, {revoke, 5}, {rejoin, 5}, {rotate, 30}, {issue, 1}, {age, 10}, {set_certificates, 8},
};

static const struct kind kinds[] = {
	{kill_server, 12}, {start_server, 14}, {kill_agent, 6}, {start_agents, 8}, {kill_all, 2},
	{freeze, 5},       {thaw, 6},          {cut, 8},        {heal, 8},         {set_algorithm, 6},
	{set_interval, 6}, {set_host, 4},      {drain, 7},      {undrain, 7},      {shut_down, 2},
	{add_host, 5},     {delete_host, 3},   {store, 6},      {disk, 6},         {clock_jump, 2},
	{network, 4},      {set_other, 5},     {rebalance, 4},  {freeze_moves, 3}, {thaw_moves, 5},
	{weigh, 5},        {pin, 2},           {rest, 4},
};

static enum err one_of(struct cluster *c, const struct kind *k, size_t n, struct why *why)
{
	unsigned total = 0, at;

	for (size_t i = 0; i < n; i++)
		total += k[i].weight;
	at = (unsigned)draw(c, total);
	for (size_t i = 0; i < n; i++) {
		if (at < k[i].weight)
			return k[i].call(c, why);
		at -= k[i].weight;
	}
	return ERR_OK;
}

static enum err any_event(struct cluster *c, struct why *why)
{
	if (c->p.certificates && draw(c, 2))
		return one_of(c, cert_kinds, ARRAY_SIZE(cert_kinds), why);
	return one_of(c, kinds, ARRAY_SIZE(kinds), why);
}

/* One of six lives, because they cost three times as much; drawn apart, so that the others are what they were without.
 */
static bool has_certificates(const struct cluster *c)
{
	struct rng own;

	rng_init(&own, c->p.seed ^ 0x63657274);
	return c->p.certificates || (!c->p.real_tls && rng_below(&own, 6) == 0);
}

static size_t pause_ms(struct cluster *c)
{
	switch (draw(c, 4)) {
	case 0:
		return draw(c, 50);
	case 1:
		return draw(c, 1000);
	case 2:
		return draw(c, 10000);
	default:
		return draw(c, 25000);
	}
}

enum err history_run(struct cluster *c, const struct history *h, struct why *why)
{
	enum err e = has_certificates(c) ? tell(c, why, "certificates") : ERR_OK;

	for (size_t i = 0; i < h->n_servers && !e; i++) {
		e = cluster_add_server(c, names[i], why);
		/* Its identity is written; now come its key and its certificate. */
		if (!e && draw(c, 4) == 0)
			e = tell(c, why, "disk %s:%zu %s", draw(c, 2) ? "dies" : "dark", draw(c, 16), names[i]);
	}
	if (!e && (c->p.real_tls || c->p.certificates))
		e = tell(c, why, "run 2s");
	if (!e && c->p.certificates)
		e = begin_certificates(c, why);
	/* Real signatures cost real time: half as many. */
	if (!e)
		e = tell(c, why, "agents %zu", c->p.certificates && !h->is_asked ? 1 + h->n_agents / 2 : h->n_agents);
	if (!e && draw(c, 2))
		e = tell(c, why, "set indirect.agent.lb.algorithm balanced");
	if (!e && draw(c, 3))
		e = tell(c, why, "commands %zums", 20 + draw(c, 1000));
	if (!e)
		e = tell(c, why, "run %zums", draw(c, 20000));
	for (size_t i = 0; i < h->n_events && !e && !sim_failure(c->sim); i++) {
		e = any_event(c, why);
		if (!e)
			e = tell(c, why, "run %zums", pause_ms(c));
	}
	if (!e && !sim_failure(c->sim)) {
		cluster_calm(c);
		cluster_settle(c, c->p.certificates ? CALM_CERTS_US : CALM_US);
	}
	return e;
}
