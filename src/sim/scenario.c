#include "sim/scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/agent_file.h"
#include "sim/invariants.h"

#define WORDS_MAX 64
#define SETTLE_US (180 * SECOND_US)

struct words {
	char *w[WORDS_MAX];
	size_t n;
};

/* ---- words ---- */

static enum err words_split(struct words *out, char *line, struct why *why)
{
	char *rest = NULL;

	out->n = 0;
	for (char *w = strtok_r(line, " \t\r\n", &rest); w; w = strtok_r(NULL, " \t\r\n", &rest)) {
		if (w[0] == '#')
			break;
		if (out->n == WORDS_MAX) {
			why_set(why, "more than %d words", WORDS_MAX);
			return ERR_INVALID;
		}
		out->w[out->n++] = w;
	}
	return ERR_OK;
}

static bool time_us(const char *text, int64_t *us)
{
	static const struct {
		const char *unit;
		int64_t us;
	} units[] = {{"us", 1}, {"ms", 1000}, {"s", SECOND_US}, {"m", 60 * SECOND_US}, {"h", 3600 * SECOND_US}};
	char *end;
	double v = strtod(text, &end);

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (end != text && str_equal(end, units[i].unit)) {
			*us = (int64_t)(v * (double)units[i].us);
			return true;
		}
	}
	return false;
}

static bool percent_ppm(const char *text, uint32_t *ppm)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || !str_equal(end, "%") || v < 0 || v > 100)
		return false;
	*ppm = (uint32_t)(v * 10000);
	return true;
}

static enum err bad(struct why *why, const char *what, const char *word)
{
	why_set(why, "%s: %s", what, word ? word : "(missing)");
	return ERR_INVALID;
}

static const char *word(const struct words *w, size_t i)
{
	return i < w->n ? w->w[i] : NULL;
}

/* ---- who ---- */

struct deed {
	const char *name;
	void (*server)(struct sim_server *s, const char *arg);
	void (*agent)(struct sim_agent *a, const char *arg);
};

static void do_to_server(struct sim_server *s, const struct deed *d, const char *arg)
{
	cluster_troubled(s->cluster, s->node);
	d->server(s, arg);
}

static void do_to_agent(struct sim_agent *a, const struct deed *d, const char *arg)
{
	cluster_troubled(a->cluster, a->node);
	d->agent(a, arg);
}

static enum err do_to(struct cluster *c, const struct deed *d, const char *who, const char *arg, struct why *why)
{
	bool all = str_equal(who, "all");
	bool found = all;

	if (all || str_equal(who, "servers")) {
		for (size_t i = 0; i < c->n_servers; i++)
			do_to_server(c->servers[i], d, arg);
		found = true;
	}
	if (all || str_equal(who, "agents")) {
		list_for (a, &c->agents, struct sim_agent, in_agents)
			do_to_agent(a, d, arg);
		found = true;
	}
	if (found)
		return ERR_OK;
	if (cluster_server(c, who))
		do_to_server(cluster_server(c, who), d, arg);
	else if (cluster_agent(c, who))
		do_to_agent(cluster_agent(c, who), d, arg);
	else
		return bad(why, "there is no such machine", who);
	return ERR_OK;
}

static void server_kill(struct sim_server *s, const char *arg)
{
	sim_server_kill(s, SIM_KILLED);
}

static void agent_kill(struct sim_agent *a, const char *arg)
{
	sim_agent_kill(a, SIM_KILLED);
}

static void server_power(struct sim_server *s, const char *arg)
{
	sim_server_kill(s, SIM_POWER_LOST);
}

static void agent_power(struct sim_agent *a, const char *arg)
{
	sim_agent_kill(a, SIM_POWER_LOST);
}

static void server_start_it(struct sim_server *s, const char *arg)
{
	sim_server_start(s);
}

static void agent_start_it(struct sim_agent *a, const char *arg)
{
	sim_agent_start(a);
}

static void server_stop_it(struct sim_server *s, const char *arg)
{
	sim_server_stop(s);
}

static void agent_stop_it(struct sim_agent *a, const char *arg)
{
	sim_agent_stop(a);
}

static void server_freeze(struct sim_server *s, const char *arg)
{
	sim_node_freeze(s->node, true);
}

static void agent_freeze(struct sim_agent *a, const char *arg)
{
	sim_node_freeze(a->node, true);
}

static void server_thaw(struct sim_server *s, const char *arg)
{
	sim_node_freeze(s->node, false);
}

static void agent_thaw(struct sim_agent *a, const char *arg)
{
	sim_node_freeze(a->node, false);
}

static void node_disk(struct sim_node *n, const char *how)
{
	if (str_equal(how, "full") || str_equal(how, "ok"))
		sim_disk_full(n, str_equal(how, "full"));
	else if (str_starts(how, "dies:"))
		sim_disk_dies_at(n, strtol(how + 5, NULL, 10), SIM_KILLED);
	else if (str_starts(how, "dark:"))
		sim_disk_dies_at(n, strtol(how + 5, NULL, 10), SIM_POWER_LOST);
}

static void server_disk(struct sim_server *s, const char *arg)
{
	node_disk(s->node, arg);
}

static void agent_disk(struct sim_agent *a, const char *arg)
{
	node_disk(a->node, arg);
}

static void node_clock(struct sim_node *n, const char *by)
{
	int64_t us = 0;

	if (time_us(by[0] == '+' ? by + 1 : by, &us))
		sim_node_jump(n, us / 1000);
}

static void server_clock(struct sim_server *s, const char *arg)
{
	node_clock(s->node, arg);
}

static void agent_clock(struct sim_agent *a, const char *arg)
{
	node_clock(a->node, arg);
}

/* Servers have theirs for good. */
static void server_renew(struct sim_server *s, const char *arg)
{
}

static void agent_renew(struct sim_agent *a, const char *arg)
{
	sim_agent_renew(a);
}

static const struct deed deeds[] = {
	{"kill", server_kill, agent_kill},          {"poweroff", server_power, agent_power},
	{"start", server_start_it, agent_start_it}, {"stop", server_stop_it, agent_stop_it},
	{"freeze", server_freeze, agent_freeze},    {"thaw", server_thaw, agent_thaw},
	{"renew", server_renew, agent_renew},
};

static enum err do_deed(struct cluster *c, const struct deed *d, const struct words *w, struct why *why)
{
	enum err e = w->n > 1 ? ERR_OK : bad(why, "who?", NULL);

	for (size_t i = 1; i < w->n && !e; i++)
		e = do_to(c, d, w->w[i], NULL, why);
	return e;
}

/* ---- expectations: NULL when met, else what is there ---- */

static char *expect_agents(struct cluster *c, const struct words *w, size_t from, enum err *e, struct why *why)
{
	struct buf is = {0};
	bool met = true;

	for (size_t i = from; i < w->n && !*e; i++) {
		char *equals = strchr(w->w[i], '=');
		struct sim_server *s;
		char name[32];

		snprintf(name, sizeof(name), "%.*s", equals ? (int)(equals - w->w[i]) : 0, w->w[i]);
		s = cluster_server(c, name);
		if (!s || !equals) {
			*e = bad(why, "not server=count", w->w[i]);
			break;
		}
		met = met && sim_server_ready(s) == (size_t)strtol(equals + 1, NULL, 10);
		*e = buf_printf(&is, "%s%s=%zu", is.len ? " " : "", name, sim_server_ready(s));
	}
	if (met || *e) {
		buf_deinit(&is);
		return NULL;
	}
	return buf_take_str(&is);
}

static char *expect_list(struct cluster *c, const char *who, const char *list, enum err *e, struct why *why)
{
	struct sim_agent *a = cluster_agent(c, who);
	CLEAN(mem_freep) char *is = NULL;
	struct agent_view v;

	if (!a || !list) {
		*e = bad(why, "expect list HOST LIST", who);
		return NULL;
	}
	if (!a->agent)
		return mem_strdup("(not running)");
	agent_look(a->agent, &v);
	is = str_list_join(v.list, ",");
	return str_equal(is, list) ? NULL : STEAL(is);
}

static char *expect_state(struct cluster *c, const char *who, const char *state, enum err *e, struct why *why)
{
	struct sim_server *s = who ? cluster_server(c, who) : NULL;
	const char *is = s ? server_state_name(cluster_state_of(c, s)) : NULL;

	if (!s || !state) {
		*e = bad(why, "expect state SERVER STATE", who);
		return NULL;
	}
	return str_equal(is, state) ? NULL : mem_strdup(is);
}

static char *expect_phase(struct cluster *c, const char *phase)
{
	const char *is = rotation_phase_name(cert_rules_phase(c));

	return str_equal(is, phase) ? NULL : mem_strdup(is);
}

static char *expectation(struct cluster *c, const struct words *w, size_t at, enum err *e, struct why *why)
{
	const char *what = word(w, at), *arg = word(w, at + 1);
	enum host_status status;
	size_t n, expected;

	if (str_equal(what, "agents"))
		return expect_agents(c, w, at + 1, e, why);
	if (str_equal(what, "state"))
		return expect_state(c, arg, word(w, at + 2), e, why);
	if (str_equal(what, "phase"))
		return expect_phase(c, arg);
	if (str_equal(what, "list"))
		return expect_list(c, arg, word(w, at + 2), e, why);
	if (str_equal(what, "outdated") && arg) {
		n = cluster_outdated(c);
		expected = (size_t)strtol(arg, NULL, 10);
	} else if (str_equal(what, "resumed") && arg) {
		n = cluster_resumed(c);
		expected = (size_t)strtol(arg, NULL, 10);
		return n >= expected ? NULL : mem_printf("%zu", n);
	} else if (str_equal(what, "commands") && arg && arg[0] == '>') {
		n = c->flights_answered;
		return n > (size_t)strtol(arg + 1, NULL, 10) ? NULL : mem_printf("%zu", n);
	} else if (str_equal(what, "renewed") && arg) {
		n = 0;
		list_for (a, &c->agents, struct sim_agent, in_agents)
			n += a->renewed;
		expected = (size_t)strtol(arg, NULL, 10);
	} else if (str_equal(what, "putoffs") && arg && arg[0] == '>') {
		n = cluster_put_off(c);
		return n > (size_t)strtol(arg + 1, NULL, 10) ? NULL : mem_printf("%zu", n);
	} else if (str_equal(what, "moves") && arg) {
		n = c->n_moves;
		expected = (size_t)strtol(arg, NULL, 10);
	} else if (str_equal(what, "behind") && arg) {
		n = moves_behind(c);
		if (arg[0] == '>')
			return n > (size_t)strtol(arg + 1, NULL, 10) ? NULL : mem_printf("%zu", n);
		expected = (size_t)strtol(arg, NULL, 10);
	} else if (str_equal(what, "spread") && arg) {
		n = moves_spread(c);
		return n <= (size_t)strtol(arg, NULL, 10) ? NULL : mem_printf("%zu", n);
	} else if (str_equal(what, "status") && arg && host_status_from_text(arg, &status)) {
		n = cluster_with_status(c, status);
		expected = word(w, at + 2) ? (size_t)strtol(word(w, at + 2), NULL, 10) : c->n_agents;
	} else {
		*e = bad(why, "expect what?", what);
		return NULL;
	}
	return n == expected ? NULL : mem_printf("%zu", n);
}

static enum err do_expect(struct cluster *c, const struct words *w, size_t at, int64_t within_us, struct why *why)
{
	int64_t end = sim_now_us(c->sim) + within_us;
	CLEAN(mem_freep) char *is = NULL;
	enum err e = ERR_OK;

	for (;;) {
		mem_free(is);
		is = expectation(c, w, at, &e, why);
		if (e || !is || sim_failure(c->sim))
			return e;
		if (sim_now_us(c->sim) >= end)
			break;
		sim_run(c->sim, sim_now_us(c->sim) + SECOND_US / 100);
	}
	sim_fail(c->sim, "expected %s%s%s%s%s, is %s", word(w, at), " ", word(w, at + 1), word(w, at + 2) ? " " : "",
		 word(w, at + 2) ? word(w, at + 2) : "", is);
	return ERR_OK;
}

/* ---- the other commands ---- */

static enum err do_network(struct cluster *c, const struct words *w, struct why *why)
{
	struct sim_network *n = sim_network(c->sim);

	cluster_troubled(c, NULL);
	for (size_t i = 1; i < w->n; i++) {
		char *value = strchr(w->w[i], '=');
		bool ok = value != NULL;

		if (!ok)
			return bad(why, "not name=value", w->w[i]);
		*value++ = '\0';
		if (str_equal(w->w[i], "latency"))
			ok = time_us(value, &n->latency_us);
		else if (str_equal(w->w[i], "jitter"))
			ok = time_us(value, &n->jitter_us);
		else if (str_equal(w->w[i], "loss"))
			ok = percent_ppm(value, &n->loss_ppm);
		else if (str_equal(w->w[i], "split"))
			ok = percent_ppm(value, &n->split_ppm);
		else if (str_equal(w->w[i], "tls-bad"))
			ok = percent_ppm(value, &n->tls_bad_ppm);
		else if (str_equal(w->w[i], "names"))
			n->names_down = str_equal(value, "down");
		else
			ok = false;
		if (!ok)
			return bad(why, "not understood", w->w[i]);
	}
	return ERR_OK;
}

static enum err do_cut(struct cluster *c, const char *from, const char *to, bool both, struct why *why)
{
	struct str_list a = {0}, b = {0};
	enum err e = from && to ? str_list_split(&a, from, ',') : bad(why, "cut A B", to);

	if (!e)
		e = str_list_split(&b, to, ',');
	for (size_t i = 0; i < a.n && !e; i++) {
		for (size_t k = 0; k < b.n && !e; k++) {
			struct sim_node *x = cluster_node(c, a.items[i]), *y = cluster_node(c, b.items[k]);

			if (!x || !y) {
				e = bad(why, "there is no such machine", x ? b.items[k] : a.items[i]);
				break;
			}
			if (x == y)
				continue;
			cluster_troubled(c, x);
			cluster_troubled(c, y);
			sim_cut(c->sim, x, y, true);
			if (both)
				sim_cut(c->sim, y, x, true);
		}
	}
	str_list_deinit(&a);
	str_list_deinit(&b);
	return e;
}

static enum err do_store(struct cluster *c, const char *how, const char *who, struct why *why)
{
	struct sim_server *s = who ? cluster_server(c, who) : NULL;
	uint64_t times;

	if (!s)
		return bad(why, "there is no such server", who);
	cluster_troubled(c, s->node);
	if (str_equal(how, "fails"))
		s->store_fails = true;
	else if (str_equal(how, "works"))
		s->store_fails = false;
	else if (str_equal(how, "stalls") || str_equal(how, "goes"))
		sim_lane_stall(s->node, WORK_STORE, str_equal(how, "stalls"));
	else if (str_starts(how, "slow:") && str_to_u64(how + 5, &times) && times >= 1 && times <= 100000)
		sim_lane_slow(s->node, WORK_STORE, (unsigned)times);
	else
		return bad(why, "store fails, works, stalls, goes or slow:N", how);
	return ERR_OK;
}

static enum err do_set(struct cluster *c, const struct words *w, struct why *why)
{
	bool has_on = w->n == 5 && str_equal(w->w[3], "on");
	struct sim_server *on = has_on ? cluster_server(c, w->w[4]) : NULL;

	if (w->n != 3 && (!has_on || !on))
		return bad(why, "set NAME VALUE [on SERVER]", word(w, 1));
	if (!cluster_set(c, on, w->w[1], str_equal(w->w[2], "default") ? NULL : w->w[2]))
		sim_note(c->sim, NULL, "--- nobody to tell the setting");
	return ERR_OK;
}

/* drain A rate=5 timeout=20 forced=true force=true | undrain A rebalance=false | shutdown A */
static enum err do_maintain(struct cluster *c, const struct words *w, const char *command, struct why *why)
{
	struct sim_server *s = w->n > 1 ? cluster_server(c, w->w[1]) : NULL;

	if (!s || w->n > 8)
		return bad(why, "there is no such server", word(w, 1));
	if (!cluster_maintain(c, command, s, (char *const *)&w->w[2], w->n - 2))
		sim_note(c->sim, NULL, "--- nobody to ask");
	return ERR_OK;
}

/* weigh A weight=2 | weigh A zone=none | pin H1 A | unpin H1 */
static enum err do_say(struct cluster *c, const struct words *w, struct why *why)
{
	bool weighs = str_equal(w->w[0], "weigh"), pins = str_equal(w->w[0], "pin"), asked;
	struct sim_server *s = NULL;

	if (w->n != (weighs || pins ? 3u : 2u))
		return bad(why, "weigh SERVER weight=N|zone=Z, pin HOST SERVER, unpin HOST", word(w, 1));
	if (!weighs && !cluster_agent(c, w->w[1]))
		return bad(why, "there is no such host", w->w[1]);
	if (weighs || pins)
		s = cluster_server(c, w->w[weighs ? 1 : 2]);
	if ((weighs || pins) && !s)
		return bad(why, "there is no such server", w->w[weighs ? 1 : 2]);
	asked = weighs ? cluster_weigh(c, s, w->w[2]) : cluster_pin(c, cluster_agent(c, w->w[1]), s);
	if (!asked)
		sim_note(c->sim, NULL, "--- nobody to ask");
	return ERR_OK;
}

/* provision H1 | revoke H1 | rejoin H1 [keep] | rotate next|back | issue */
static enum err do_certificates(struct cluster *c, const struct words *w, struct why *why)
{
	const char *name = w->w[0], *arg = word(w, 1);
	struct sim_agent *a = arg ? cluster_agent(c, arg) : NULL;
	bool asked = true;

	if (str_equal(name, "rotate")) {
		if (!str_equal(arg, "next") && !str_equal(arg, "back"))
			return bad(why, "rotate next|back", arg);
		asked = cluster_rotate(c, arg);
	} else if (str_equal(name, "issue")) {
		asked = cluster_issue(c);
	} else if (!a || !c->p.certificates) {
		return bad(why, "there is no such host, or there are no certificates", arg);
	} else if (str_equal(name, "provision")) {
		asked = cluster_provision(c, a);
	} else if (str_equal(name, "revoke")) {
		cluster_revoke(c, a);
	} else {
		cluster_rejoin(c, a, str_equal(word(w, 2), "keep"));
	}
	if (!asked)
		sim_note(c->sim, NULL, "--- nobody to ask");
	return ERR_OK;
}

/* One after the other, so that their order in lists is that of the line. */
static enum err add_server(struct cluster *c, const char *name, struct why *why)
{
	int64_t end = sim_now_us(c->sim) + 10 * SECOND_US;
	enum err e = cluster_add_server(c, name, why);

	while (!e && !sim_failure(c->sim) && c->servers[c->n_servers - 1]->state != PROGRAM_UP &&
	       sim_now_us(c->sim) < end)
		sim_run(c->sim, sim_now_us(c->sim) + SECOND_US / 100);
	return e;
}

static enum err command(struct cluster *c, const struct words *w, struct why *why)
{
	static const struct deed disk = {"disk", server_disk, agent_disk}, clock = {"clock", server_clock, agent_clock};
	const char *name = w->w[0], *arg = word(w, 1);
	enum err e = ERR_OK;
	int64_t us = 0;

	if (str_equal(arg, "moves") && (str_equal(name, "freeze") || str_equal(name, "thaw"))) {
		if (!cluster_call(c, str_equal(name, "freeze") ? "freezeHosts" : "thawHosts"))
			sim_note(c->sim, NULL, "--- nobody to ask");
		return ERR_OK;
	}
	for (size_t i = 0; i < ARRAY_SIZE(deeds); i++)
		if (str_equal(name, deeds[i].name))
			return do_deed(c, &deeds[i], w, why);
	if (str_equal(name, "servers")) {
		for (size_t i = 1; i < w->n && !e; i++)
			e = add_server(c, w->w[i], why);
	} else if (str_equal(name, "agents")) {
		if (!arg || !str_to_i64(arg, &us) || us < 0)
			return bad(why, "agents N", arg);
		e = cluster_add_agents(c, (size_t)us, SECOND_US, why);
	} else if (str_equal(name, "set")) {
		e = do_set(c, w, why);
	} else if (str_equal(name, "run")) {
		if (!arg || !time_us(arg, &us))
			return bad(why, "run TIME", arg);
		sim_run(c->sim, sim_now_us(c->sim) + us);
	} else if (str_equal(name, "settle")) {
		us = SETTLE_US;
		if (arg && !time_us(arg, &us))
			return bad(why, "settle TIME", arg);
		cluster_settle(c, us);
	} else if (str_equal(name, "calm")) {
		cluster_calm(c);
	} else if (str_equal(name, "cut") || str_equal(name, "cut-oneway")) {
		e = do_cut(c, arg, word(w, 2), str_equal(name, "cut"), why);
	} else if (str_equal(name, "count")) {
		if (!str_equal(arg, "moves"))
			return bad(why, "count moves", arg);
		c->n_moves = 0;
	} else if (str_equal(name, "steady")) {
		if (!str_equal(arg, "on") && !str_equal(arg, "off"))
			return bad(why, "steady on|off", arg);
		c->steady = str_equal(arg, "on");
	} else if (str_equal(name, "drain")) {
		e = do_maintain(c, w, "prepareForMaintenance", why);
	} else if (str_equal(name, "undrain")) {
		e = do_maintain(c, w, "cancelMaintenance", why);
	} else if (str_equal(name, "shutdown")) {
		e = do_maintain(c, w, "triggerShutdown", why);
	} else if (str_equal(name, "rest")) {
		if (!str_equal(arg, "none") && !cluster_server(c, arg ? arg : ""))
			return bad(why, "rest SERVER|none", arg);
		if (!cluster_rest(c, str_equal(arg, "none") ? NULL : cluster_server(c, arg)))
			sim_note(c->sim, NULL, "--- it is in no list");
	} else if (str_equal(name, "weigh") || str_equal(name, "pin") || str_equal(name, "unpin")) {
		e = do_say(c, w, why);
	} else if (str_equal(name, "commands")) {
		if (!str_equal(arg, "off") && (!arg || !time_us(arg, &us) || us <= 0))
			return bad(why, "commands TIME|off", arg);
		cluster_commands(c, us);
	} else if (str_equal(name, "certificates")) {
		c->p.certificates = true;
	} else if (str_equal(name, "provision") || str_equal(name, "revoke") || str_equal(name, "rejoin") ||
		   str_equal(name, "rotate") || str_equal(name, "issue")) {
		e = do_certificates(c, w, why);
	} else if (str_equal(name, "rebalance")) {
		if (!cluster_call(c, "rebalanceHosts"))
			sim_note(c->sim, NULL, "--- nobody to ask");
	} else if (str_equal(name, "heal")) {
		cluster_troubled(c, NULL);
		sim_heal(c->sim);
	} else if (str_equal(name, "delete")) {
		if (!arg || !cluster_agent(c, arg))
			return bad(why, "there is no such host", arg);
		if (!cluster_remove_host(c, NULL, cluster_agent(c, arg)))
			sim_note(c->sim, NULL, "--- not deleted");
	} else if (str_equal(name, "store")) {
		e = do_store(c, arg, word(w, 2), why);
	} else if ((str_equal(name, "disk") || str_equal(name, "clock")) && w->n == 3) {
		bool is_disk = str_equal(name, "disk");

		if (!is_disk && str_equal(w->w[1], "all") && time_us(w->w[2][0] == '+' ? w->w[2] + 1 : w->w[2], &us))
			c->clock_ms += us / 1000;
		e = do_to(c, is_disk ? &disk : &clock, w->w[is_disk ? 2 : 1], w->w[is_disk ? 1 : 2], why);
	} else if (str_equal(name, "network")) {
		e = do_network(c, w, why);
	} else if (str_equal(name, "expect")) {
		e = do_expect(c, w, 1, 0, why);
	} else if (str_equal(name, "within")) {
		if (!arg || !time_us(arg, &us))
			return bad(why, "within TIME WHAT", arg);
		e = do_expect(c, w, 2, us, why);
	} else {
		return bad(why, "there is no such command", name);
	}
	return e;
}

enum err scenario_command(struct cluster *c, const char *line, struct why *why)
{
	CLEAN(mem_freep) char *copy = mem_strdup(line);
	struct words w;
	enum err e = copy ? words_split(&w, copy, why) : ERR_NOMEM;

	if (e || !w.n)
		return e;
	sim_note(c->sim, NULL, "> %s", line);
	return command(c, &w, why);
}

enum err scenario_run(struct cluster *c, const char *text, struct why *why)
{
	struct str_list lines = {0};
	enum err e = str_list_split(&lines, text, '\n');

	for (size_t i = 0; i < lines.n && !e && !sim_failure(c->sim); i++) {
		e = scenario_command(c, lines.items[i], why);
		if (e)
			why_add(why, "line %zu", i + 1);
	}
	str_list_deinit(&lines);
	return e;
}
