/*
 * muster plan: compute a placement without doing anything.
 *
 * Where servers and hosts come from: --servers with --hosts; a file; stdin when it is not a terminal and holds
 * something; else the running cluster. The other options then change what came from there.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/format.h"
#include "cli/plan_change.h"
#include "cli/plan_json.h"
#include "cli/plan_live.h"
#include "cli/plan_show.h"
#include "core/server_list.h"

#define HOSTS_MAX 10000000
#define INPUT_MAX (1024UL * 1024 * 1024)
#define INPUT_SLOW_MS 2000
#define NO_NUMBER (-1)

struct request {
	const char *algorithm, *fail, *file;
	struct plan_changes changes;
	int64_t seed;
	bool live, all;
};

/* What the plan starts from. */
struct basis {
	struct plan p;
	struct plan_live live;
	bool is_live, is_known; /* known: the algorithm that the lists come from */
	enum algorithm in_force;
	bool failed[SERVER_LIST_MAX];
	size_t n_hosts; /* before anything is changed; made up ones are none */
};

static void basis_deinit(struct basis *b)
{
	plan_deinit(&b->p);
	plan_live_deinit(&b->live);
}

/* ---- input ---- */

static int say_bad(const struct cli *c, enum err e, const struct why *why)
{
	if (e == ERR_INVALID || e == ERR_DUPLICATE || e == ERR_FULL || e == ERR_MALFORMED)
		return cli_misuse(c, "%s", why_text(why, e));
	return cli_fail(c, "%s", why_text(why, e));
}

static enum err add_numbered_hosts(struct plan *p, int64_t n)
{
	enum err e = ERR_OK;

	for (int64_t i = 1; !e && i <= n; i++) {
		char name[FORMAT_MAX];

		snprintf(name, sizeof(name), "H%" PRId64, i);
		e = plan_add_host(p, (uint64_t)i, name, NULL, NULL);
	}
	return e;
}

/* Someone who forgot that stdin is open would wait for ever without knowing for what. */
static void wait_for_stdin(const struct cli *c)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

	if (poll(&p, 1, INPUT_SLOW_MS) == 0)
		fprintf(stderr, "%s: waiting for a plan on stdin; --live asks the cluster instead\n", c->path);
}

static enum err read_all(int fd, struct buf *out)
{
	char block[65536];
	ssize_t n;

	while ((n = read(fd, block, sizeof(block))) != 0) {
		enum err e;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_IO;
		if (out->len + (size_t)n > INPUT_MAX)
			return ERR_TOO_BIG;
		e = buf_put(out, block, (size_t)n);
		if (e)
			return e;
	}
	return ERR_OK;
}

static enum err parse_input(struct plan *p, bool *has_algorithm, const struct buf *text, const char *name,
			    struct why *why)
{
	json_error_t error;
	json_t *in = json_loadb((const char *)text->data, text->len, 0, &error);
	enum err e;

	if (!in) {
		why_set(why, "%s:%d: %s", name, error.line, error.text);
		return ERR_MALFORMED;
	}
	e = plan_read_json(p, has_algorithm, in, why);
	if (e)
		why_add(why, "%s", name);
	json_decref(in);
	return e;
}

static bool is_blank(const struct buf *b)
{
	for (size_t i = 0; i < b->len; i++) {
		if (!b->data[i] || !strchr(" \t\r\n", b->data[i]))
			return false;
	}
	return true;
}

/* --servers with --hosts and nothing else: both are made up. */
static bool is_made_up(const struct request *r)
{
	return r->changes.servers && r->changes.hosts != PLAN_SAME_SIZE && !r->file && !r->live;
}

static int make_up(const struct cli *c, struct basis *b, struct request *r)
{
	enum err e = add_numbered_hosts(&b->p, r->changes.hosts);

	r->changes.hosts = PLAN_SAME_SIZE;
	return e ? cli_fail(c, "%s", err_text(e)) : CLI_OK;
}

static int ask_cluster(struct cli *c, struct basis *b)
{
	b->is_live = b->is_known = true;
	return plan_read_live(c, &b->p, &b->live);
}

static int gather(struct cli *c, struct basis *b, struct request *r)
{
	CLEAN(buf_deinit) struct buf text = {0};
	struct why why = WHY_NONE;
	bool from_stdin = r->file ? str_equal(r->file, "-") : !r->live && !isatty(STDIN_FILENO);
	enum err e = ERR_OK;

	if (is_made_up(r))
		return make_up(c, b, r);
	if (r->file && !from_stdin)
		e = file_read_any(r->file, INPUT_MAX, &text, &why);
	if (from_stdin) {
		wait_for_stdin(c);
		e = read_all(STDIN_FILENO, &text);
	}
	if (e)
		return cli_fail(c, "%s", why_text(&why, e));
	if (!r->file && is_blank(&text))
		return ask_cluster(c, b);
	e = parse_input(&b->p, &b->is_known, &text, from_stdin ? "stdin" : r->file, &why);
	b->in_force = b->p.algorithm;
	if (!e)
		e = plan_servers_are(&b->p);
	return e ? say_bad(c, e, &why) : CLI_OK;
}

/* ---- output ---- */

/* Only there with --fail: decision 25 has the rest. */
static json_t *failed_json(const struct basis *b)
{
	uint64_t load[SERVER_LIST_MAX], n_stranded, n = 0;
	json_t *failed = or_die(json_array()), *left = or_die(json_array());

	if (plan_fail(&b->p, b->failed, load, &n_stranded))
		or_die(NULL);
	for (size_t i = 0; i < b->p.n_servers; i++) {
		const struct plan_server *s = &b->p.servers[i];

		n += b->failed[i] ? s->after : 0;
		json_array_append_new(b->failed[i] ? failed : left,
				      b->failed[i] ? json_string(s->name)
						   : json_pack("{s:s,s:I,s:I}", "name", s->name, "before",
							       (json_int_t)s->after, "after", (json_int_t)load[i]));
	}
	return or_die(json_pack("{s:o,s:I,s:I,s:o}", "failed", failed, "hosts", (json_int_t)n, "stranded",
				(json_int_t)n_stranded, "servers", left));
}

static void print_json(const struct basis *b, const struct request *r)
{
	json_t *out = or_die(plan_to_json(&b->p));

	if (r->fail)
		json_object_set_new(out, "failure", failed_json(b));
	cli_print_json(out, true);
	json_decref(out);
}

static int finish(struct cli *c, struct basis *b, const struct request *r)
{
	const struct plan_view view = {
		.hosts = r->all ? PLAN_HOSTS_ALL : PLAN_HOSTS_SOME,
		.pace = b->is_live ? &b->live.pace : NULL,
		.is_frozen = b->is_live && b->live.is_frozen,
		.failed = r->fail ? b->failed : NULL,
		.n_hosts_now = b->n_hosts,
	};
	struct why why = WHY_NONE;
	struct rng rng;
	enum err e;

	rng_init(&rng, r->seed == NO_NUMBER ? (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32 : (uint64_t)r->seed);
	e = plan_compute(&b->p, &rng, &why);
	if (e)
		return say_bad(c, e, &why);
	if (c->json)
		print_json(b, r);
	else
		plan_show(c, &b->p, &view);
	return cli_flush(c);
}

static int make_plan(struct cli *c, struct basis *b, struct request *r)
{
	enum algorithm wanted = ALGORITHM_STATIC;
	struct why why = WHY_NONE;
	int exit_code;
	enum err e;

	if (r->algorithm && !algorithm_from_text(r->algorithm, &wanted))
		return cli_misuse(c, "there is no algorithm \"%s\"; there are %s", r->algorithm, algorithm_choices());
	if (r->file && r->live)
		return cli_misuse(c, "--file and --live contradict each other");
	exit_code = gather(c, b, r);
	if (exit_code)
		return exit_code;
	if (b->is_live)
		b->in_force = b->live.in_force;
	b->n_hosts = b->p.n_hosts;
	b->p.algorithm = r->algorithm ? wanted : b->in_force;
	b->p.same_algorithm = b->is_known && b->p.algorithm == b->in_force;
	e = plan_change(&b->p, &r->changes, &why);
	if (!e && r->fail)
		e = plan_failed_parse(b->failed, &b->p, r->fail, &why);
	return e ? say_bad(c, e, &why) : finish(c, b, r);
}

int cmd_plan(struct cli *c, int argc, char **argv)
{
	struct request r = {.changes = {.hosts = PLAN_SAME_SIZE}, .seed = NO_NUMBER};
	const struct arg_option options[] = {
		{.name = "--algorithm",
		 .value = "NAME",
		 .text = &r.algorithm,
		 .help = "static, roundrobin, shuffle or balanced; default: the one in force"},
		{.name = "--add",
		 .value = "A[:W[:ZONE]]",
		 .text = &r.changes.add,
		 .help = "this server in addition, and its weight; over 1000 it is a port"},
		{.name = "--remove", .value = "A,B", .text = &r.changes.remove, .help = "without these servers"},
		{.name = "--weight",
		 .value = "A=2,B=0",
		 .text = &r.changes.weight,
		 .help = "other weights, 0 to 1000; 1 when nothing is said"},
		{.name = "--fail", .value = "A,B", .text = &r.fail, .help = "who goes where when these servers fail"},
		{.name = "--servers",
		 .value = "A,B,C",
		 .text = &r.changes.servers,
		 .help = "these servers instead, in this order"},
		{.name = "--hosts",
		 .value = "N",
		 .number = &r.changes.hosts,
		 .max = HOSTS_MAX,
		 .help = "a fleet of N hosts; with --servers they are made up: H1, H2 ..."},
		{.name = "--file",
		 .value = "FILE",
		 .text = &r.file,
		 .help = "servers and hosts from a plan in JSON; - for stdin"},
		{.name = "--live",
		 .flag = &r.live,
		 .help = "servers and hosts of the cluster, even if stdin is not a terminal"},
		{.name = "--all", .flag = &r.all, .help = "show every host, not only 20, those that move first"},
		{.name = "--seed",
		 .value = "N",
		 .number = &r.seed,
		 .max = INT64_MAX,
		 .help = "for shuffle: the same number gives the same lists"},
	};
	struct args a = {
		.about =
			"Computes a placement without doing anything: the list each host would get, how many hosts each server\n"
			"has and would have, how many would move and how long that takes, and what failures would leave. Servers\n"
			"and hosts are those of the cluster, of a file, of stdin (JSON, the shape that --json prints), or made up:\n"
			"  muster plan --add M4:2:east --remove M2\n"
			"  muster plan --algorithm balanced --fail M1,M2\n"
			"  muster plan --servers M1,M2,M3 --hosts 4 --algorithm roundrobin",
		.options = options,
		.n_options = ARRAY_SIZE(options),
	};
	CLEAN(basis_deinit) struct basis b = {0};

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	return make_plan(c, &b, &r);
}
