#include "cli/rolling_run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/cluster.h"
#include "cli/format.h"
#include "cli/plan_live.h"
#include "cli/table.h"
#include "core/rolling.h"

#define LOOK_MS 250
#define EVEN_S 30   /* within which all agents that have left a server are where they should be */
#define STRAY_S 5   /* after which those that are elsewhere are sent where they should be */
#define REMIND_S 10 /* after which those that don't go home are told again */

static volatile sig_atomic_t is_interrupted;

static void on_interrupt(int signo)
{
	is_interrupted = 1;
}

struct turn { /* one server's, as far as we have seen it */
	char name[64];
	int64_t moved, emptied_s, back_s;
	bool was_seen;
};

struct drive {
	struct cli *c;
	const struct rolling_options *o;
	const char *driver;
	/* of the turn that we are at */
	int64_t step;
	bool was_drained;   /* we have asked for it, or found it under way */
	bool was_restarted; /* we have seen to it */
	bool is_settled;    /* it is over: all agents are where they should be */
	bool is_sending;    /* we have thawed moves, so that agents go there */
	bool has_expected;
	uint64_t expected[SERVER_LIST_MAX];  /* agents on each entry of the list once it is empty */
	time_t step_at, empty_at, astray_at; /* astray_at: since when some are elsewhere; 0: none are */
	/* what is waited for, and since when nothing has changed about it */
	char waiting[160];
	time_t waiting_at;
	time_t reminded_at;
	time_t silent_at; /* since when nobody answers; 0: somebody does */
	/* in all */
	struct turn turns[SERVER_LIST_MAX];
	int64_t gaps_before, gaps; /* agents without a link: at first, and the most at any look */
	int64_t went_home;         /* at the end, or after each turn */
	int64_t strays;            /* were elsewhere after a turn, and have been sent home then */
	time_t begun;
};

enum next { GO_ON, WAIT, STOP, FINISHED };

static time_t now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static void say(const struct drive *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct drive *d, const char *format, ...)
{
	va_list ap;

	if (d->c->json)
		return;
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	fflush(stdout);
}

/* ---- looking ---- */

json_t *rolling_status(struct cli *c)
{
	json_t *answer = cli_ask(c, "getMusterStatus", NULL);
	json_t *status = json_incref(json_object_get(answer, "musterstatus"));

	json_decref(answer);
	return status;
}

/* The server that we ask may be the one that is restarted: NULL and GO_ON, it is asked again. */
static enum next look(struct drive *d, json_t **out)
{
	struct api *a = cli_api(d->c);
	struct why why = WHY_NONE;
	json_t *answer = NULL;
	enum err e = a ? api_ask(a, &answer, "getMusterStatus", NULL, &why) : ERR_STATE;
	time_t now = now_s();

	*out = NULL;
	if (!e) {
		*out = json_incref(json_object_get(answer, "musterstatus"));
		json_decref(answer);
		d->silent_at = 0;
		return GO_ON;
	}
	if (!a)
		return STOP;
	if (!d->silent_at)
		d->silent_at = now;
	if (now - d->silent_at <= d->o->deadline_s)
		return WAIT;
	cli_fail(d->c, "nobody has answered for %" PRId64 " s: %s", d->o->deadline_s, why_text(&why, e));
	return STOP;
}

static const json_t *server_in(const json_t *status, const char *id)
{
	size_t i;
	json_t *s;

	json_array_foreach (json_object_get(status, "servers"), i, s) {
		if (str_equal(json_text(s, "id", ""), id))
			return s;
	}
	return NULL;
}

static const json_t *turn_at(const json_t *rolling, int64_t step)
{
	return step ? json_array_get(json_object_get(rolling, "servers"), (size_t)step - 1) : NULL;
}

static void count_gaps(struct drive *d, const json_t *status)
{
	const json_t *hosts = json_object_get(status, "hosts");
	int64_t n = json_number(hosts, "disconnected", 0) + json_number(hosts, "alert", 0) +
		    json_number(hosts, "reconnecting", 0);

	if (d->gaps_before < 0)
		d->gaps_before = n;
	d->gaps = n - d->gaps_before > d->gaps ? n - d->gaps_before : d->gaps;
}

/* Waits, for at most the deadline since `what` last said something else. */
static enum next wait_for(struct drive *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
static enum next wait_for(struct drive *d, const char *format, ...)
{
	char what[sizeof(d->waiting)];
	time_t now = now_s();
	va_list ap;

	va_start(ap, format);
	vsnprintf(what, sizeof(what), format, ap);
	va_end(ap);
	if (!str_equal(what, d->waiting)) {
		str_copy(d->waiting, sizeof(d->waiting), what);
		d->waiting_at = now;
	}
	if (now - d->waiting_at <= d->o->deadline_s)
		return WAIT;
	cli_fail(d->c, "for %" PRId64 " s now: %s", d->o->deadline_s, what);
	return STOP;
}

/* ---- asking ---- */

static enum next ask(struct drive *d, const char *command, const struct api_arg *args)
{
	json_t *answer = cli_ask(d->c, command, args);

	json_decref(answer);
	return answer ? WAIT : STOP;
}

/* ---- where the agents should be ---- */

static size_t place_of(const struct plan *p, const char *entry)
{
	for (size_t i = 0; i < p->n_servers; i++) {
		if (str_equal(p->servers[i].name, entry))
			return i;
	}
	return ROLLING_NOBODY;
}

static enum next expect(struct drive *d, const char *entry)
{
	struct plan_live live = {0};
	struct plan p = {0};
	struct why why = WHY_NONE;
	struct rolling r = {0};
	enum next next = STOP;
	enum err e;

	d->has_expected = false;
	if (plan_read_live(d->c, &p, &live) == CLI_OK) {
		e = rolling_init(&r, &p, &why);
		if (!e)
			e = rolling_rest(&r, place_of(&p, entry));
		if (e) {
			cli_fail(d->c, "the next step can't be planned: %s", why_text(&why, e));
		} else {
			rolling_empty(&r, place_of(&p, entry));
			rolling_count(&r, d->expected);
			d->has_expected = true;
			next = GO_ON;
		}
	}
	rolling_deinit(&r);
	plan_deinit(&p);
	plan_live_deinit(&live);
	return next;
}

/* Rolling restart 7. The first server that has others than it should; SIZE_MAX: none. */
static size_t first_uneven(const struct drive *d, const struct plan *p, uint64_t *on, uint64_t *n_lost)
{
	memset(on, 0, SERVER_LIST_MAX * sizeof(*on));
	*n_lost = 0;
	for (size_t i = 0; i < p->n_hosts; i++) {
		size_t at = p->hosts[i].on ? place_of(p, p->hosts[i].on) : ROLLING_NOBODY;

		if (at == ROLLING_NOBODY)
			++*n_lost;
		else
			on[at]++;
	}
	for (size_t i = 0; i < p->n_servers; i++) {
		uint64_t apart = on[i] > d->expected[i] ? on[i] - d->expected[i] : d->expected[i] - on[i];

		if (apart > 1 + *n_lost)
			return i;
	}
	return SIZE_MAX;
}

static void name_lost(const struct drive *d, const struct plan *p, uint64_t n_lost)
{
	size_t shown = 0;
	char agents[FORMAT_MAX];

	if (!n_lost)
		return;
	say(d, "  %s without a link:", format_count(agents, (int64_t)n_lost, "host"));
	for (size_t i = 0; i < p->n_hosts && shown < 5; i++) {
		if (!p->hosts[i].on)
			say(d, "%s %s", shown++ ? "," : "", p->hosts[i].name ? p->hosts[i].name : "?");
	}
	say(d, "%s\n", n_lost > shown ? ", ..." : "");
}

static enum next check_evenness(struct drive *d)
{
	struct plan_live live = {0};
	struct plan p = {0};
	uint64_t on[SERVER_LIST_MAX], n_lost;
	enum next next = STOP;
	size_t uneven;

	if (plan_read_live(d->c, &p, &live) == CLI_OK) {
		uneven = first_uneven(d, &p, on, &n_lost);
		if (uneven == SIZE_MAX) {
			name_lost(d, &p, n_lost);
			d->has_expected = false;
			next = GO_ON;
		} else if (now_s() - d->empty_at < EVEN_S || now_s() - d->step_at < EVEN_S) {
			next = WAIT;
		} else {
			d->has_expected = false;
			cli_fail(d->c, "not as planned: %s has %" PRIu64 " agents, and should have %" PRIu64,
				 p.servers[uneven].name, on[uneven], d->expected[uneven]);
		}
	}
	plan_deinit(&p);
	plan_live_deinit(&live);
	return next;
}

/* ---- one server's turn ---- */

static const char *name_of(const json_t *turn)
{
	return json_text(turn, "name", "?");
}

static enum next run_command(struct drive *d, const json_t *turn, const json_t *server)
{
	char *address = server_address_text(server);
	pid_t child;
	int status = 0;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		setenv("MUSTER_SERVER", name_of(turn), 1);
		setenv("MUSTER_SERVER_ADDRESS", address, 1);
		setenv("MUSTER_SERVER_ID", json_text(turn, "id", ""), 1);
		/* stdout is for what we report. */
		if (dup2(STDERR_FILENO, STDOUT_FILENO) >= 0)
			execl("/bin/sh", "sh", "-c", d->o->command, (char *)NULL);
		_exit(127);
	}
	mem_free(address);
	if (child < 0) {
		cli_fail(d->c, "the command can't be run: %s", strerror(errno));
		return STOP;
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		continue;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return WAIT;
	if (is_interrupted)
		return WAIT;
	if (WIFEXITED(status))
		cli_fail(d->c, "the command ended with %d for %s", WEXITSTATUS(status), name_of(turn));
	else
		cli_fail(d->c, "the command was ended by signal %d for %s", WTERMSIG(status), name_of(turn));
	return STOP;
}

static enum next restart(struct drive *d, const json_t *turn, const json_t *server)
{
	if (d->was_restarted)
		return wait_for(d, "%s has not been restarted", name_of(turn));
	d->was_restarted = true;
	if (d->o->command) {
		say(d, "  running the command\n");
		return run_command(d, turn, server);
	}
	if (d->o->waits) {
		fprintf(stderr, "Restart %s now: it is empty.\n", name_of(turn));
		return WAIT;
	}
	say(d, "  it is told to stop; whoever watches over it starts it again\n");
	return ask(d, "triggerShutdown", API_ARGS({"managementserverid", json_text(turn, "id", "")}));
}

/* What its drain has to say, also after its end. */
static json_t *drain_of(struct drive *d, const char *id)
{
	json_t *servers =
		cli_list(d->c, "listManagementServers", "managementserver", API_ARGS({"id", id}, {"agents", "false"}));
	json_t *drain = json_incref(json_object_get(json_array_get(servers, 0), "musterdrain"));

	json_decref(servers);
	return drain;
}

static void note_empty(struct drive *d, const json_t *turn)
{
	struct turn *t = &d->turns[d->step - 1];
	char agents[FORMAT_MAX], time[FORMAT_MAX];
	json_t *drain;

	if (d->empty_at)
		return;
	d->empty_at = now_s();
	drain = drain_of(d, json_text(turn, "id", ""));
	t->was_seen = true;
	str_copy(t->name, sizeof(t->name), name_of(turn));
	t->moved = json_number(drain, "moved", 0);
	t->emptied_s = d->empty_at - d->step_at;
	json_decref(drain);
	say(d, "  empty: %s moved, %s\n", format_count(agents, t->moved, "agent"), format_seconds(time, t->emptied_s));
}

/* Agents would pass over a server that takes none, and others would have too many. */
static const char *who_takes_none(const json_t *status, const char *but)
{
	size_t i;
	json_t *s;

	json_array_foreach (json_object_get(status, "servers"), i, s) {
		if (!str_equal(json_text(s, "id", ""), but) && str_equal(json_text(s, "state", ""), "Up") &&
		    !json_flag(s, "accepting", true))
			return json_text(s, "name", "?");
	}
	return NULL;
}

static enum next drain(struct drive *d, const json_t *status, const json_t *turn)
{
	const char *full = who_takes_none(status, json_text(turn, "id", ""));
	int64_t outdated = json_number(status, "outdated", 0);
	char rate[24];

	if (d->was_drained) {
		json_t *drain = drain_of(d, json_text(turn, "id", ""));

		cli_fail(d->c, "%s is Up again without having been restarted: its drain is \"%s\"", name_of(turn),
			 json_text(drain, "state", "gone"));
		json_decref(drain);
		return STOP;
	}
	if (outdated)
		return wait_for(d, "%" PRId64 " agents do not have their new list yet", outdated);
	if (full)
		return wait_for(d, "%s takes no agents", full);
	d->was_drained = true;
	snprintf(rate, sizeof(rate), "%" PRId64, d->o->rate);
	return ask(d, "prepareForMaintenance",
		   API_ARGS({"managementserverid", json_text(turn, "id", "")}, {"rate", d->o->rate ? rate : NULL}));
}

static enum next watch_drain(struct drive *d, const json_t *turn, const json_t *server)
{
	const json_t *drain = json_object_get(server, "musterdrain");

	d->was_drained = true;
	return wait_for(d, "%s is being emptied, %" PRId64 " of %" PRId64 " agents have moved (%s)", name_of(turn),
			json_number(drain, "moved", 0), json_number(drain, "total", 0), json_text(drain, "state", "?"));
}

static enum next others_are_up(struct drive *d, const json_t *status, const json_t *rolling, const char *but)
{
	size_t i;
	json_t *turn;

	json_array_foreach (json_object_get(rolling, "servers"), i, turn) {
		const json_t *server = server_in(status, json_text(turn, "id", ""));
		const char *state = json_text(server, "state", "not registered any more");

		if (str_equal(json_text(turn, "id", ""), but) || str_equal(state, "Up"))
			continue;
		cli_fail(d->c, "%s is %s: all but the one whose turn it is have to be Up", name_of(turn), state);
		return STOP;
	}
	return GO_ON;
}

/* Not restarted yet, or not Up again. */
static enum next serve(struct drive *d, const json_t *status, const json_t *rolling, const json_t *turn)
{
	const json_t *server = server_in(status, json_text(turn, "id", ""));
	const char *state = json_text(turn, "state", "?");
	bool is_new = json_flag(turn, "restarted", false);

	if (others_are_up(d, status, rolling, json_text(turn, "id", "")) == STOP)
		return STOP;
	if (str_equal(state, "Maintenance")) {
		if (!is_new) {
			note_empty(d, turn);
			return restart(d, turn, server);
		}
		return ask(d, "cancelMaintenance",
			   API_ARGS({"managementserverid", json_text(turn, "id", "")},
				    {"rebalance", json_flag(rolling, "handsover", false) ? "false" : "true"}));
	}
	if (str_equal(state, "Up") && !is_new)
		return d->was_restarted ? wait_for(d, "%s has not been restarted", name_of(turn))
					: drain(d, status, turn);
	if (str_equal(state, "PreparingForMaintenance"))
		return watch_drain(d, turn, server);
	return wait_for(d, "%s is %s", name_of(turn), state);
}

/* ---- from turn to turn ---- */

static void note_back(struct drive *d, const json_t *turn)
{
	struct turn *t = d->step ? &d->turns[d->step - 1] : NULL;
	char time[FORMAT_MAX];

	if (!t || !d->empty_at || t->back_s >= 0)
		return;
	t->back_s = now_s() - d->empty_at;
	say(d, "  back after %s\n", format_seconds(time, t->back_s));
}

static enum next begin_turn(struct drive *d, const json_t *rolling)
{
	int64_t step = d->step + 1, moves;
	const json_t *turn = turn_at(rolling, step);
	char number[24], hosts[FORMAT_MAX];
	json_t *answer;

	if (json_flag(rolling, "handsover", false) && expect(d, json_text(turn, "entry", "")) == STOP)
		return STOP;
	snprintf(number, sizeof(number), "%" PRId64, step);
	answer = cli_ask(d->c, "stepRollingRestart", API_ARGS({"driver", d->driver}, {"step", number}));
	if (!answer)
		return STOP;
	moves = json_number(json_object_get(answer, "steprollingrestart"), "moves", 0);
	json_decref(answer);
	d->step = step;
	d->was_drained = d->was_restarted = d->is_settled = false;
	d->astray_at = 0;
	d->step_at = now_s();
	d->empty_at = d->reminded_at = 0;
	d->turns[step - 1].back_s = -1;
	say(d, "Step %" PRId64 " of %" PRId64 ": %s", step, json_number(rolling, "steps", 0), name_of(turn));
	if (json_flag(rolling, "handsover", false))
		say(d, ", %s will prefer another one", format_count(hosts, moves, "host"));
	say(d, "\n");
	return WAIT;
}

/* All of its agents are told, and again, until they are at home. */
static enum next wait_home(struct drive *d, const json_t *status)
{
	int64_t off = json_number(status, "offpreferred", 0);
	enum next next;
	time_t idle;

	if (!off && !json_number(status, "outdated", 0))
		return GO_ON;
	next = wait_for(d, "%" PRId64 " agents are not on their preferred server", off);
	idle = now_s() - d->waiting_at;
	if (next == WAIT && off && (!d->reminded_at || (idle >= REMIND_S && now_s() - d->reminded_at >= REMIND_S))) {
		d->reminded_at = now_s();
		(void)ask(d, "rebalanceHosts", NULL);
	}
	return next;
}

static enum next end(struct drive *d)
{
	json_t *answer = cli_ask(d->c, "endRollingRestart", API_ARGS({"driver", d->driver}));

	if (!answer)
		return STOP;
	d->went_home += json_number(json_object_get(answer, "endrollingrestart"), "moves", 0);
	json_decref(answer);
	d->reminded_at = now_s();
	say(d, "All are restarted; agents go home\n");
	return FINISHED;
}

/*
 * A server that is overrun for a moment puts agents of a drain off, and they go on to the next of their lists. Moves
 * are thawed for them, and frozen again once they have come: whoever finds it thawed (we have died) freezes it as well.
 */
static enum next send_strays(struct drive *d, const json_t *status, const json_t *rolling)
{
	int64_t off = json_number(status, "offpreferred", 0);
	char agents[FORMAT_MAX];

	if (!json_flag(rolling, "ownfreeze", false)) {
		cli_fail(
			d->c,
			"not as planned: %s %s not where they should be, and moves are frozen by %s, so they can't be sent "
			"there",
			format_count(agents, off, "agent"), off == 1 ? "is" : "are",
			json_text(json_object_get(status, "freeze"), "by", "somebody else"));
		return STOP;
	}
	say(d, "  %s went to other servers than planned, and %s sent on\n", format_count(agents, off, "agent"),
	    off == 1 ? "is" : "are");
	d->strays += off;
	d->is_sending = true;
	d->reminded_at = now_s();
	return ask(d, "thawHosts", NULL) == STOP ? STOP : ask(d, "rebalanceHosts", NULL);
}

static enum next strays_sent(struct drive *d, const json_t *status)
{
	enum next next = wait_home(d, status);

	if (next != GO_ON)
		return next;
	d->is_sending = false;
	d->is_settled = true;
	d->has_expected = false; /* all are at home: that is what was planned */
	return ask(d, "takeRollingRestart", API_ARGS({"driver", d->driver}));
}

/* Rolling restart 7. */
static enum next settle(struct drive *d, const json_t *status, const json_t *rolling)
{
	enum next next = GO_ON;

	if (d->is_settled)
		return GO_ON;
	if (json_number(status, "offpreferred", 0)) {
		if (!d->astray_at)
			d->astray_at = now_s();
		return now_s() - d->astray_at < STRAY_S ? WAIT : send_strays(d, status, rolling);
	}
	if (d->has_expected)
		next = check_evenness(d);
	d->is_settled = next == GO_ON;
	return next;
}

static enum next after_turn(struct drive *d, const json_t *status, const json_t *rolling)
{
	bool hands_over = json_flag(rolling, "handsover", false);
	enum next next = GO_ON;

	note_back(d, turn_at(rolling, d->step));
	if (d->step && hands_over)
		next = settle(d, status, rolling);
	if (d->step && !hands_over)
		next = wait_home(d, status);
	if (next != GO_ON)
		return next;
	if (d->step && !hands_over)
		d->went_home += d->turns[d->step - 1].moved;
	return d->step == json_number(rolling, "steps", 0) ? end(d) : begin_turn(d, rolling);
}

static enum next act(struct drive *d, const json_t *status)
{
	const json_t *rolling = json_object_get(status, "rolling"), *turn;
	const char *problem = json_text(rolling, "problem", NULL);

	if (!json_flag(rolling, "active", false)) {
		cli_fail(d->c, "somebody has ended it");
		return STOP;
	}
	if (!str_equal(json_text(rolling, "driver", ""), d->driver)) {
		cli_fail(d->c, "it has been taken over by %s", json_text(rolling, "takenby", "?"));
		return STOP;
	}
	if (d->is_sending) {
		count_gaps(d, status);
		return strays_sent(d, status);
	}
	if (problem) {
		cli_fail(d->c, "%s", problem);
		return STOP;
	}
	count_gaps(d, status);
	d->step = json_number(rolling, "step", 0);
	turn = turn_at(rolling, d->step);
	if (!turn || (json_flag(turn, "restarted", false) && str_equal(json_text(turn, "state", ""), "Up")))
		return after_turn(d, status, rolling);
	return serve(d, status, rolling, turn);
}

static void pause_a_little(void)
{
	const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};

	(void)nanosleep(&pause, NULL);
}

static enum next turns(struct drive *d)
{
	enum next next = WAIT;

	while (next == WAIT || next == GO_ON) {
		json_t *status;

		next = look(d, &status);
		if (next == GO_ON && status)
			next = act(d, status);
		json_decref(status);
		if (is_interrupted && next != FINISHED) {
			cli_fail(d->c, "interrupted");
			return STOP;
		}
		if (next == WAIT)
			pause_a_little();
	}
	return next;
}

static enum next homecoming(struct drive *d)
{
	enum next next = WAIT;

	while (next == WAIT) {
		json_t *status;
		const json_t *freeze;

		next = look(d, &status);
		freeze = json_object_get(status, "freeze");
		if (status && json_flag(freeze, "frozen", false)) {
			cli_advise(d->c, "Moves are frozen by %s: the last agents go home after `muster thaw`.",
				   json_text(freeze, "by", "?"));
			next = FINISHED;
		} else if (status) {
			count_gaps(d, status);
			next = wait_home(d, status);
		}
		json_decref(status);
		if (is_interrupted && next == WAIT) {
			cli_fail(d->c, "not watching any more; it is done but for agents on their way home");
			return STOP;
		}
		if (next == WAIT)
			pause_a_little();
	}
	return next == GO_ON ? FINISHED : next;
}

/* ---- the end ---- */

static json_t *report_json(const struct drive *d, int64_t moves)
{
	json_t *steps = or_die(json_array());

	for (int64_t i = 0; i < d->step; i++) {
		const struct turn *t = &d->turns[i];

		if (t->was_seen)
			json_array_append_new(
				steps,
				or_die(json_pack("{s:I,s:s,s:I,s:I,s:I}", "step", (json_int_t)i + 1, "server", t->name,
						 "moved", (json_int_t)t->moved, "emptiedseconds",
						 (json_int_t)t->emptied_s, "backseconds", (json_int_t)t->back_s)));
	}
	return or_die(json_pack("{s:o,s:I,s:I,s:I,s:I,s:I,s:I}", "steps", steps, "home", (json_int_t)d->went_home,
				"senton", (json_int_t)d->strays, "moves", (json_int_t)moves, "planned",
				(json_int_t)d->o->planned, "withoutlink", (json_int_t)d->gaps, "seconds",
				(json_int_t)(now_s() - d->begun)));
}

static void print_turns(const struct drive *d)
{
	static const struct table_column columns[] = {{"STEP", 0},
						      {"RESTARTED", 0},
						      {"MOVED", TABLE_RIGHT},
						      {"EMPTY AFTER", TABLE_RIGHT},
						      {"BACK AFTER", TABLE_RIGHT}};
	struct table *t = table_new(d->c, columns, ARRAY_SIZE(columns));
	char time[FORMAT_MAX];

	for (int64_t i = 0; i < d->step; i++) {
		const struct turn *turn = &d->turns[i];

		if (!turn->was_seen)
			continue;
		table_row(t);
		table_cell(t, TINT_NONE, "%" PRId64, i + 1);
		table_cell(t, TINT_STRONG, "%s", turn->name);
		table_cell(t, TINT_NONE, "%" PRId64, turn->moved);
		table_cell(t, TINT_NONE, "%s", format_seconds(time, turn->emptied_s));
		table_cell(t, TINT_NONE, "%s", format_seconds(time, turn->back_s));
	}
	printf("\n");
	table_print(t);
	table_free(t);
	printf("\n");
}

static int report(const struct drive *d)
{
	int64_t moves = d->went_home + d->strays;
	char time[FORMAT_MAX], agents[FORMAT_MAX];

	for (int64_t i = 0; i < d->step; i++)
		moves += d->turns[i].moved;
	if (d->c->json) {
		json_t *o = report_json(d, moves);

		cli_print_json(o, true);
		json_decref(o);
		return cli_flush(d->c);
	}
	print_turns(d);
	printf("Done in %s with %s", format_seconds(time, now_s() - d->begun), format_count(agents, moves, "move"));
	if (d->o->planned)
		printf(" (planned: %" PRId64 ").\n", d->o->planned);
	else
		printf(" since it was gone on with.\n");
	if (d->gaps)
		printf("%s had no link at some moment.\n", format_count(agents, d->gaps, "agent"));
	else
		printf("No agent was seen without a link.\n");
	return cli_flush(d->c);
}

int rolling_run(struct cli *c, const struct rolling_options *o, const char *driver)
{
	const struct sigaction action = {.sa_handler = on_interrupt};
	struct drive d = {.c = c, .o = o, .driver = driver, .gaps_before = -1, .begun = now_s()};
	enum next next;

	d.step_at = d.begun;
	for (size_t i = 0; i < SERVER_LIST_MAX; i++)
		d.turns[i].back_s = -1;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	next = turns(&d);
	if (next == STOP) {
		cli_advise(
			c,
			"Nothing is undone: `muster rolling-restart` goes on from here, `muster rolling-restart --abort` "
			"ends it and sends agents home.");
		return CLI_FAILED;
	}
	if (homecoming(&d) == STOP)
		return CLI_FAILED;
	return report(&d);
}
