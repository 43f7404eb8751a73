#include "cli/demo.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cluster.h"
#include "cli/format.h"

#define LOOK_MS 100
#define STAY_LOOK_MS 500
#define READ_MS 2000 /* for a sentence, before something happens on the screen */

/* ---- what the phases do ---- */

static enum err do_static(struct demo *d, struct why *why)
{
	enum err e = ERR_OK;

	while (!e && d->n_agents < d->params.n_agents)
		e = agent_add(d, why);
	return e;
}

static enum err do_algorithm(struct demo *d, struct why *why)
{
	d->in_force = d->params.algorithm;
	return demo_set(d, "indirect.agent.lb.algorithm", algorithm_name(d->in_force), why);
}

static enum err do_kill(struct demo *d, struct why *why)
{
	size_t victim = busiest_server(d);
	struct child *child = &d->servers[victim].child;

	screen_say(d, "Killing %s, on which most agents are: kill -9 %d", child->name, (int)child->pid);
	child->was_killed = true;
	child_signal(child, SIGKILL);
	child_wait(child, 2000);
	return ERR_OK;
}

static enum err do_return(struct demo *d, struct why *why)
{
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < d->n_servers; i++) {
		if (!server_is_alive(d, i))
			e = server_start(d, i, why);
	}
	return e;
}

static enum err do_add(struct demo *d, struct why *why)
{
	return agent_add(d, why);
}

struct phase {
	const char *name;
	const char *sentence;
	enum err (*act)(struct demo *d, struct why *why);
	/* What must be true besides what expect_met() says; NULL: nothing. */
	enum err (*is_done)(struct demo *d, bool *done, struct why *why);
	bool keeps_links; /* nobody may lose its link meanwhile */
};

static const char *algorithm_sentence(enum algorithm a)
{
	switch (a) {
	case ALGORITHM_ROUNDROBIN:
		return "muster config set indirect.agent.lb.algorithm roundrobin\n"
		       "Each agent gets the list turned one server further and goes to the first of it.";
	case ALGORITHM_SHUFFLE:
		return "muster config set indirect.agent.lb.algorithm shuffle\n"
		       "Each agent gets its own random order and goes to the first of it.";
	case ALGORITHM_BALANCED:
		return "muster config set indirect.agent.lb.algorithm balanced\n"
		       "The lists are designed so that the servers stay even now and after failures.";
	case ALGORITHM_STATIC:
		break;
	}
	return "static stays in force.";
}

#define PHASES_MAX 8

static size_t phases_of(const struct demo *d, struct phase out[PHASES_MAX])
{
	static const struct phase first = {
		"static",
		"The agents join, each with a token of its own. All have the same list, so all\n"
		"go to M1.",
		do_static,
		NULL,
		false,
	};
	static const struct phase others[] = {
		{"server-killed",
		 "A server dies without a word. Its agents go on to the next server of their\n"
		 "lists; the others stay.",
		 do_kill, NULL, false},
		{"server-back",
		 "The server comes back. Agents that prefer it notice at their next look and\n"
		 "return.",
		 do_return, NULL, false},
		{"host-added", "One more agent joins. It takes the next place; nobody else moves.", do_add, NULL,
		 false},
		{"renewal",
		 "muster cert renew --all: every agent makes a new key, gets a certificate for it, and has\n"
		 "a link with the new one before it leaves the old one. Nobody loses its link.",
		 certs_renew, certs_are_renewed, true},
		{"revocation", "A certificate is revoked; all others stay. Its host comes back with a token for it.",
		 certs_revoke, certs_is_back, true},
		{"rotation",
		 "muster ca rotate, four times: everybody comes to trust a new root, then to have\n"
		 "certificates of it, then to forget the old one. Nobody loses its link.",
		 certs_rotate, certs_are_rotated, true},
	};
	size_t n = 0;

	out[n++] = first;
	if (d->params.algorithm != ALGORITHM_STATIC)
		out[n++] = (struct phase){algorithm_name(d->params.algorithm), algorithm_sentence(d->params.algorithm),
					  do_algorithm, NULL, false};
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		out[n++] = others[i];
	return n;
}

/* ---- running one ---- */

static json_t *text_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

static json_t *phase_hosts(const struct demo *d)
{
	json_t *out = or_die(json_array()), *h;
	size_t i;

	json_array_foreach (d->hosts, i, h) {
		json_t *list = json_object_get(h, "musterlist");
		json_t *row = json_pack("{s:I,s:s,s:o,s:o,s:o,s:s}", "id", (json_int_t)host_number(h), "name",
					json_text(h, "name", ""), "list", list ? json_incref(list) : json_array(),
					"preferred", text_or_null(json_text(h, "musterpreferred", NULL)), "connected",
					text_or_null(json_text(h, "musterconnected", NULL)), "status",
					json_text(h, "state", ""));

		json_array_append_new(out, or_die(row));
	}
	return out;
}

static void phase_record(struct demo *d, const char *name, bool converged, double seconds)
{
	json_t *row = or_die(json_pack("{s:s,s:b,s:f,s:o}", "name", name, "converged", converged, "seconds",
				       (double)(int64_t)(seconds * 1000) / 1000, "hosts", phase_hosts(d)));

	json_array_append_new(d->phases, row);
}

static struct mono phase_deadline(const struct demo *d)
{
	struct mono phase = mono_add_s(clock_now(), DEMO_PHASE_S);

	return d->params.once ? mono_min(phase, mono_add_s(d->started, DEMO_ONCE_S)) : phase;
}

/* Looks until everything is as it should be. `why` says what was missing last. */
static enum err converge(struct demo *d, const struct phase *p, struct mono start, struct mono deadline,
			 struct why *why)
{
	for (;;) {
		char note[sizeof(why->text) + 64];
		bool done = true;
		enum err e = demo_look(d, why);

		if (!e && p->keeps_links && !certs_links_held(d, why))
			return ERR_CLOSED;
		if (!e && p->is_done && (e = p->is_done(d, &done, why)) && e != ERR_UNREACHABLE)
			return e;
		if (!e && done && expect_met(d, why))
			return ERR_OK;
		snprintf(note, sizeof(note), "%.1f s: %s ...", seconds_since(start), why->text);
		screen_update(d, note);
		if (fleet_has_lost(d, why))
			return ERR_CLOSED;
		if (mono_reached(clock_now(), deadline))
			return ERR_TIMEOUT;
		if (!demo_sleep(d, LOOK_MS))
			return ERR_STOPPED;
	}
}

static enum err phase_run(struct demo *d, const struct phase *p, size_t number, size_t n, struct why *why)
{
	struct mono deadline, start;
	char note[64];
	double seconds;
	enum err e;

	screen_say(d, "\n[%zu of %zu] %s\n%s", number, n, p->name, p->sentence);
	if (d->screen.is_live && !d->params.once && !demo_sleep(d, READ_MS))
		return ERR_STOPPED;
	start = clock_now();
	deadline = phase_deadline(d);
	json_decref(d->before);
	d->before = d->hosts ? json_incref(d->hosts) : NULL;
	d->victim = mem_free(d->victim);
	e = p->act(d, why);
	if (!e)
		e = converge(d, p, start, deadline, why);
	if (e == ERR_STOPPED)
		return e;
	seconds = seconds_since(start);
	snprintf(note, sizeof(note), "%s after %.1f s.", e ? "Not converged" : "Converged", seconds);
	screen_finish(d, note);
	phase_record(d, p->name, !e, seconds);
	if (e)
		why_add(why, "the phase %s did not converge", p->name);
	return e;
}

/* ---- the whole ---- */

static enum err start_servers(struct demo *d, struct why *why)
{
	char interval[16];
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < d->n_servers; i++)
		e = server_start(d, i, why);
	snprintf(interval, sizeof(interval), "%d", DEMO_INTERVAL_S);
	if (!e)
		e = demo_set(d, "indirect.agent.lb.algorithm", algorithm_name(ALGORITHM_STATIC), why);
	if (!e)
		e = demo_set(d, "indirect.agent.lb.check.interval", interval, why);
	d->in_force = ALGORITHM_STATIC;
	return e;
}

static void introduce(struct demo *d)
{
	screen_say(d, "Starting %zu management servers and %zu agents, each a process of its own, in\n%s", d->n_servers,
		   d->params.n_agents, d->dir);
	for (size_t i = 0; i < d->n_servers; i++)
		screen_say(d, "  %s is %s:%u", d->servers[i].child.name, d->servers[i].ip, d->port);
	screen_say(d,
		   "An agent prefers the first server of its list; while it is elsewhere, it looks\n"
		   "every %d s whether it can go there.",
		   DEMO_INTERVAL_S);
}

/* Called by a path (./muster), it is most likely not in the PATH of another terminal. */
static char *path_to_export(void)
{
	char *folder = strchr(program_invocation_name, '/') ? own_folder() : NULL;
	char *text = folder ? text_or_die("PATH=%s:$PATH ", folder) : text_or_die("%s", "");

	mem_free(folder);
	return text;
}

static void say_what_to_try(struct demo *d)
{
	const struct demo_server *last = &d->servers[d->n_servers - 1];
	char *path = path_to_export();

	screen_say(d,
		   "\nThe cluster stays up for you to play with. In another terminal:\n\n"
		   "  export %sMUSTER_SOCKET=%s\n"
		   "  muster status\n"
		   "  muster hosts\n"
		   "  muster explain H2\n"
		   "  muster cert list\n"
		   "  muster plan --remove %s\n"
		   "  muster config set indirect.agent.lb.algorithm shuffle\n"
		   "  muster events\n"
		   "  kill -9 %d        (that is %s; it stays down)\n\n"
		   "Each process has its log in its folder: %s/M1/log\n"
		   "Ctrl-C ends everything%s.",
		   path, d->servers[0].socket, last->entry, (int)last->child.pid, last->child.name, d->dir,
		   d->is_temporary ? " and removes the folder" : "; the folder stays");
	mem_free(path);
}

static void stay(struct demo *d)
{
	say_what_to_try(d);
	do {
		struct why why = WHY_NONE;
		enum err e = demo_look(d, &why);

		screen_update(d, e ? why.text : "Ctrl-C ends the demonstration.");
	} while (demo_sleep(d, STAY_LOOK_MS));
	screen_say(d, "\nEnding the processes.");
}

static void print_phases(struct demo *d)
{
	json_t *out = or_die(json_pack("{s:O}", "phases", d->phases));
	char *text = or_die(json_dumps(out, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6)));

	printf("%s\n", text);
	fflush(stdout);
	free(text);
	json_decref(out);
}

static enum err play(struct demo *d, struct why *why)
{
	struct phase phases[PHASES_MAX];
	size_t n = phases_of(d, phases);
	enum err e = start_servers(d, why);

	for (size_t i = 0; !e && i < n; i++)
		e = phase_run(d, &phases[i], i + 1, n, why);
	return e;
}

static int finish(struct demo *d, enum err e, const struct why *why)
{
	if (e && e != ERR_STOPPED) {
		fleet_print_logs(d, stderr);
		cli_fail(d->cli, "%s", why_text(why, e));
		return CLI_FAILED;
	}
	if (e == ERR_STOPPED && d->params.once)
		return cli_fail(d->cli, "stopped before the end");
	return CLI_OK;
}

int demo_run(struct cli *c, const struct demo_params *params)
{
	struct demo d = {.cli = c, .params = *params, .signals = -1, .port_mark = -1, .started = clock_now()};
	struct why why = WHY_NONE;
	int exit_code;
	enum err e;

	d.phases = or_die(json_array());
	screen_init(&d);
	e = signals_open(&d, &why);
	if (!e)
		e = fleet_prepare(&d, &why);
	if (!e) {
		introduce(&d);
		e = play(&d, &why);
	}
	if (c->json)
		print_phases(&d);
	if (!e && !params->once)
		stay(&d);
	exit_code = finish(&d, e, &why);
	fleet_stop(&d);
	screen_deinit(&d);
	json_decref(d.hosts);
	json_decref(d.before);
	mem_free(d.victim);
	json_decref(d.phases);
	if (d.signals >= 0)
		close(d.signals);
	return exit_code;
}
