/*
 * muster rolling-restart: all management servers, one after the other, with as few moves as that takes.
 */
#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/cluster.h"
#include "cli/confirm.h"
#include "cli/format.h"
#include "cli/plan_json.h"
#include "cli/plan_live.h"
#include "cli/rolling_run.h"
#include "cli/rolling_show.h"

#define FILE_MOST ((size_t)256 << 20)
#define RATE 100 /* as the server has it: docs/failover.md, "Drain" 4 */
#define DEADLINE_S 300

struct request {
	struct rolling_options o;
	struct confirm confirm;
	bool abort;
	const char *file;
};

/* What a plan is made from. */
struct basis {
	struct plan p;
	struct plan_live live;
	struct rolling_plan r;
	const char **names; /* of its servers; borrowed texts */
	bool is_live;
};

static void basis_deinit(struct basis *b)
{
	rolling_plan_deinit(&b->r);
	plan_deinit(&b->p);
	plan_live_deinit(&b->live);
	mem_free(b->names);
}

static const char *text_at(const struct basis *b, size_t server, const char *member)
{
	return json_text(json_array_get(b->live.servers, server), member, NULL);
}

/* The server that answers us can't be asked while it is restarted: it comes last. */
static size_t asked_in(const struct basis *b, const json_t *status)
{
	for (size_t i = 0; b->is_live && i < b->p.n_servers; i++) {
		if (str_equal(text_at(b, i, "server"), json_text(status, "answeredby", "")))
			return i;
	}
	return ROLLING_NOBODY;
}

static int make_plan(struct cli *c, struct basis *b, const json_t *status)
{
	struct why why = WHY_NONE;
	enum err e;

	b->names = or_die(mem_zalloc_array(b->p.n_servers + 1, sizeof(*b->names)));
	for (size_t i = 0; i < b->p.n_servers; i++) {
		const char *name = b->is_live ? text_at(b, i, "server") : NULL;

		b->names[i] = name ? name : b->p.servers[i].name;
	}
	e = rolling_plan(&b->r, &b->p, asked_in(b, status), &why);
	return e ? cli_fail(c, "%s", why_text(&why, e)) : CLI_OK;
}

static int read_file(struct cli *c, struct basis *b, const char *path)
{
	CLEAN(buf_deinit) struct buf text = {0};
	struct why why = WHY_NONE;
	bool has_algorithm;
	json_error_t error;
	json_t *in;
	enum err e = file_read_any(path, FILE_MOST, &text, &why);

	if (e)
		return cli_fail(c, "%s", why_text(&why, e));
	in = json_loadb((const char *)text.data, text.len, 0, &error);
	if (!in)
		return cli_fail(c, "%s:%d: %s", path, error.line, error.text);
	e = plan_read_json(&b->p, &has_algorithm, in, &why);
	json_decref(in);
	return e ? cli_fail(c, "%s: %s", path, why_text(&why, e)) : CLI_OK;
}

static int show(struct cli *c, const struct basis *b, const struct request *r)
{
	const struct rolling_view v = {
		.p = &b->p,
		.r = &b->r,
		.names = b->names,
		.rate = r->o.rate ? r->o.rate : RATE,
		.pace = b->is_live ? &b->live.pace : NULL,
	};

	if (c->json) {
		json_t *o = rolling_to_json(&v);

		cli_print_json(o, true);
		json_decref(o);
	} else {
		rolling_show(c, &v);
	}
	return cli_flush(c);
}

static int from_file(struct cli *c, const struct request *r)
{
	CLEAN(basis_deinit) struct basis b = {0};
	int exit_code = read_file(c, &b, r->file);

	if (!exit_code)
		exit_code = make_plan(c, &b, NULL);
	return exit_code ? exit_code : show(c, &b, r);
}

/* ---- the running cluster ---- */

/* Rolling restart 1: what has to be before it begins, as far as we can tell; the server judges the rest. */
static int may_begin(struct cli *c, const json_t *status)
{
	int64_t off = json_number(status, "offpreferred", 0);
	char agents[FORMAT_MAX];

	if (off)
		return cli_fail(
			c, "%s %s not on the preferred server, so the plan would not hold; `muster rebalance` first",
			format_count(agents, off, "agent"), off == 1 ? "is" : "are");
	return CLI_OK;
}

static char *order_text(const struct basis *b)
{
	struct str_list ids = {0};
	char *text;

	for (size_t i = 0; i < b->r.n_steps; i++) {
		const char *id = text_at(b, b->r.steps[i].server, "serverid");

		/* An entry that leads to no server: the server that we ask says so. */
		if (str_list_add(&ids, id ? id : b->p.servers[b->r.steps[i].server].name))
			or_die(NULL);
	}
	text = or_die(str_list_join(&ids, ","));
	str_list_deinit(&ids);
	return text;
}

static int begin(struct cli *c, struct request *r, const char *driver, const json_t *status)
{
	CLEAN(basis_deinit) struct basis b = {.is_live = true};
	CLEAN(mem_freep) char *order = NULL;
	int exit_code = plan_read_live(c, &b.p, &b.live);
	json_t *answer;

	if (!exit_code)
		exit_code = make_plan(c, &b, status);
	if (!exit_code && (r->confirm.plan || !c->json))
		exit_code = show(c, &b, r);
	if (exit_code || (r->confirm.plan && c->json))
		return exit_code ? exit_code : -1;
	exit_code = confirm_ask(c, &r->confirm);
	if (!exit_code)
		exit_code = may_begin(c, status);
	if (exit_code)
		return exit_code;
	order = order_text(&b);
	r->o.planned = (int64_t)b.r.moves;
	answer = cli_ask(c, "beginRollingRestart", API_ARGS({"driver", driver}, {"servers", order}));
	if (!answer)
		return CLI_FAILED;
	if (!c->json)
		printf("\n");
	if (json_flag(json_object_get(answer, "beginrollingrestart"), "handsover", false) &&
	    !json_flag(json_object_get(answer, "beginrollingrestart"), "ownfreeze", true))
		cli_advise(c, "Moves are frozen already; that stays, and the last agents go home after `muster thaw`.");
	json_decref(answer);
	return CLI_OK;
}

static int take(struct cli *c, const struct request *r, const char *driver, const json_t *rolling)
{
	json_t *answer;
	char time[FORMAT_MAX];

	if (r->confirm.plan)
		return cli_fail(c,
				"a rolling restart is under way, at step %" PRId64 " of %" PRId64
				"; without --plan it is gone on with, --abort ends it",
				json_number(rolling, "step", 0), json_number(rolling, "steps", 0));
	answer = cli_ask(c, "takeRollingRestart", API_ARGS({"driver", driver}));
	if (!answer)
		return CLI_FAILED;
	if (!c->json)
		printf("Going on with the rolling restart that %s began %s ago, at step %" PRId64 " of %" PRId64 "%s\n",
		       json_text(rolling, "by", "?"), format_seconds(time, json_number(rolling, "seconds", 0)),
		       json_number(rolling, "step", 0), json_number(rolling, "steps", 0),
		       json_flag(json_object_get(answer, "takerollingrestart"), "frozenagain", false)
			       ? "; moves are frozen again"
			       : "");
	json_decref(answer);
	return CLI_OK;
}

static int abort_it(struct cli *c)
{
	json_t *answer = cli_ask(c, "endRollingRestart", API_ARGS({"abort", "true"})), *status;
	const json_t *freeze;

	if (!answer)
		return CLI_FAILED;
	if (c->json)
		cli_print_json(answer, false);
	else
		printf("The rolling restart is ended: no server rests, the one whose turn it was takes agents again, and all\n"
		       "agents are told to go home.\n");
	json_decref(answer);
	/* One of somebody else's stays. */
	status = rolling_status(c);
	freeze = json_object_get(status, "freeze");
	if (json_flag(freeze, "frozen", false))
		cli_advise(c, "Moves are frozen by %s: nobody goes home before `muster thaw`.",
			   json_text(freeze, "by", "?"));
	json_decref(status);
	return cli_flush(c);
}

static int carry_out(struct cli *c, struct request *r)
{
	CLEAN(mem_freep) char *driver = NULL;
	json_t *status = rolling_status(c);
	const json_t *rolling = json_object_get(status, "rolling");
	char host[64] = "";
	int exit_code;

	if (!status)
		return CLI_FAILED;
	(void)gethostname(host, sizeof(host) - 1);
	driver = text_or_die("%.24s.%ld.%lld", host, (long)getpid(), (long long)time(NULL));
	exit_code = json_flag(rolling, "active", false) ? take(c, r, driver, rolling) : begin(c, r, driver, status);
	json_decref(status);
	if (exit_code < 0) /* only the plan was asked for */
		return CLI_OK;
	return exit_code ? exit_code : rolling_run(c, &r->o, driver);
}

int cmd_rolling_restart(struct cli *c, int argc, char **argv)
{
	struct request r = {.o = {.deadline_s = DEADLINE_S}};
	const struct arg_option options[] = {
		CONFIRM_OPTIONS(r.confirm),
		{.name = "--command",
		 .value = "CMD",
		 .text = &r.o.command,
		 .help = "restarts one server: for sh, which finds MUSTER_SERVER (its name) and MUSTER_SERVER_ADDRESS"},
		{.name = "--wait", .flag = &r.o.waits, .help = "say which one to restart, and wait for it"},
		{.name = "--rate",
		 .value = "N",
		 .number = &r.o.rate,
		 .min = 1,
		 .max = 100000,
		 .help = "agents asked to move per second; default 100"},
		{.name = "--deadline",
		 .value = "TIME",
		 .seconds = &r.o.deadline_s,
		 .min = 1,
		 .max = 86400,
		 .help = "stop when nothing has gone on for so long: 90, 15m; default 5m"},
		{.name = "--abort", .flag = &r.abort, .help = "end the one that is under way; agents go home"},
		{.name = "--file",
		 .value = "FILE",
		 .text = &r.file,
		 .help = "with --plan: servers and hosts from a plan in JSON"},
	};
	struct args a = {
		.about =
			"Restarts all management servers, one after the other: each is emptied without a gap, restarted, and waited\n"
			"for. With balanced its agents go to the one restarted before it, so that N agents on M servers need\n"
			"N + 2N/M moves; with other algorithms they go away and return, which takes 2N.\n"
			"Without --command or --wait a server is told to stop, and has to be started again by whatever watches over\n"
			"it. It can be interrupted (Ctrl-C), and goes on where it was when it is called again, from anywhere.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
	};

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	if (r.o.command && r.o.waits)
		return cli_misuse(c, "--command and --wait contradict each other");
	if (r.abort && (r.o.command || r.o.waits || r.confirm.plan || r.file))
		return cli_misuse(c, "--abort goes with nothing else");
	if (r.file && !r.confirm.plan)
		return cli_misuse(c, "--file goes with --plan");
	if (r.file)
		return from_file(c, &r);
	return r.abort ? abort_it(c) : carry_out(c, &r);
}
