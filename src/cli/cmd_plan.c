/*
 * muster plan: compute a placement without doing anything.
 *
 * Where servers and hosts come from: --servers with --hosts; a file; stdin when it is not a terminal and holds
 * something; else the running cluster. --algorithm, --add and --remove then change what came from there.
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
#include "cli/plan_json.h"
#include "cli/table.h"
#include "core/server_list.h"

#define HOSTS_MAX 10000000
#define HOSTS_SHOWN 50
#define INPUT_MAX (1024UL * 1024 * 1024)
#define INPUT_SLOW_MS 2000
#define NO_NUMBER (-1)

struct request {
	const char *servers, *algorithm, *add, *remove, *file;
	int64_t hosts, seed;
	bool live, all;
};

/* ---- input ---- */

static int say_bad(const struct cli *c, enum err e, const struct why *why)
{
	if (e == ERR_INVALID || e == ERR_DUPLICATE || e == ERR_FULL || e == ERR_MALFORMED)
		return cli_misuse(c, "%s", why_text(why, e));
	return cli_fail(c, "%s", why_text(why, e));
}

static enum err add_servers(struct plan *p, const struct str_list *names, struct why *why)
{
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < names->n; i++) {
		e = plan_add_server(p, names->items[i], 1, NULL);
		if (e == ERR_DUPLICATE)
			why_set(why, "the server %s is there already", names->items[i]);
		if (e == ERR_FULL)
			why_set(why, "more than %d servers", SERVER_LIST_MAX);
	}
	return e;
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

/* ---- the running cluster ---- */

static enum err add_live_host(struct plan *p, const json_t *h)
{
	CLEAN(str_list_deinit) struct str_list list = {0};
	const json_t *slot = json_object_get(h, "musterslot");
	size_t i;
	json_t *entry;
	enum err e = ERR_OK;

	json_array_foreach (json_object_get(h, "musterlist"), i, entry) {
		if (!e && json_is_string(entry))
			e = str_list_add(&list, json_string_value(entry));
	}
	if (!e)
		e = plan_add_host(p, (uint64_t)json_number(h, "musterhostid", (int64_t)p->n_hosts + 1),
				  json_text(h, "name", NULL), json_text(h, "zonename", NULL), &list);
	if (!e && json_is_integer(slot) && json_integer_value(slot) >= 0)
		p->hosts[p->n_hosts - 1].slot = (uint64_t)json_integer_value(slot);
	return e;
}

/* With what is in force: the list of servers, the algorithm, each host's slot. Exit code. */
static int ask_cluster(struct cli *c, struct plan *p, enum algorithm *in_force)
{
	json_t *answer = cli_ask(c, "getMusterStatus", NULL);
	const json_t *status = answer ? json_object_get(answer, "musterstatus") : NULL;
	json_t *hosts = answer ? cli_list(c, "listHosts", "host", NULL) : NULL;
	struct why why = WHY_NONE;
	enum err e = ERR_OK;
	size_t i;
	json_t *item;

	if (!hosts) {
		json_decref(answer);
		return CLI_FAILED;
	}
	if (!algorithm_from_text(json_text(status, "algorithm", ""), in_force))
		*in_force = ALGORITHM_STATIC;
	json_array_foreach (json_object_get(status, "host"), i, item) {
		if (!e && json_is_string(item))
			e = plan_add_server(p, json_string_value(item), 1, NULL);
	}
	json_array_foreach (hosts, i, item) {
		if (!e)
			e = add_live_host(p, item);
	}
	json_decref(hosts);
	json_decref(answer);
	return e ? cli_fail(c, "the cluster's servers and hosts make no plan: %s", why_text(&why, e)) : CLI_OK;
}

/* ---- which of them ---- */

static enum err replace_servers(struct plan *p, const char *text, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list names = {0};
	enum err e = server_list_parse_setting(&names, text, why);

	if (e) {
		why_add(why, "--servers");
		return e;
	}
	for (size_t i = 0; i < p->n_servers; i++) {
		mem_free(p->servers[i].name);
		mem_free(p->servers[i].zone);
	}
	p->n_servers = 0;
	p->servers = mem_free(p->servers);
	return add_servers(p, &names, why);
}

static enum err remove_server(struct plan *p, const char *name, struct why *why)
{
	for (size_t i = 0; i < p->n_servers; i++) {
		if (!str_equal(p->servers[i].name, name))
			continue;
		mem_free(p->servers[i].name);
		mem_free(p->servers[i].zone);
		memmove(&p->servers[i], &p->servers[i + 1], (p->n_servers - i - 1) * sizeof(p->servers[0]));
		p->n_servers--;
		return ERR_OK;
	}
	why_set(why, "--remove: there is no server %s", name);
	return ERR_INVALID;
}

static enum err remove_servers(struct plan *p, const char *text, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list names = {0};
	enum err e = server_list_parse_setting(&names, text, why);

	if (e)
		why_add(why, "--remove");
	for (size_t i = 0; !e && i < names.n; i++)
		e = remove_server(p, names.items[i], why);
	return e;
}

static enum err more_servers(struct plan *p, const char *text, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list names = {0};
	enum err e = server_list_parse_setting(&names, text, why);

	if (!e)
		e = add_servers(p, &names, why);
	if (e)
		why_add(why, "--add");
	return e;
}

/*
 * plan_add_server() grows its array when the count is a power of two, so after removing one the array has to be
 * built anew before anything is added: removing comes last.
 */
static enum err change_servers(struct plan *p, const struct request *r, struct why *why)
{
	enum err e = ERR_OK;

	if (r->servers)
		e = replace_servers(p, r->servers, why);
	if (!e && r->add)
		e = more_servers(p, r->add, why);
	if (!e && r->remove)
		e = remove_servers(p, r->remove, why);
	return e;
}

/* Exit code; *in_force is the algorithm the lists come from, where that is known. */
static int gather(struct cli *c, struct plan *p, const struct request *r, enum algorithm *in_force, bool *is_known)
{
	CLEAN(buf_deinit) struct buf text = {0};
	struct why why = WHY_NONE;
	bool from_stdin =
		r->file ? str_equal(r->file, "-") : !r->live && r->hosts == NO_NUMBER && !isatty(STDIN_FILENO);
	enum err e = ERR_OK;

	if (r->file && !from_stdin)
		e = file_read(&fs_posix, r->file, INPUT_MAX, &text, &why);
	if (from_stdin) {
		wait_for_stdin(c);
		e = read_all(STDIN_FILENO, &text);
	}
	if (e)
		return cli_fail(c, "%s", why_text(&why, e));
	if (r->file || !is_blank(&text)) {
		e = parse_input(p, is_known, &text, from_stdin ? "stdin" : r->file, &why);
		*in_force = p->algorithm;
		return e ? say_bad(c, e, &why) : CLI_OK;
	}
	if (r->hosts != NO_NUMBER) {
		e = add_numbered_hosts(p, r->hosts);
		return e ? cli_fail(c, "%s", err_text(e)) : CLI_OK;
	}
	*is_known = true;
	return ask_cluster(c, p, in_force);
}

/* ---- output ---- */

static void print_hosts(const struct cli *c, const struct plan *p, bool has_before, bool all)
{
	static const struct table_column columns[] = {{"HOST", 0}, {"LIST", TABLE_LIST}, {"NOW ON", 0}, {"", 0}};
	size_t n = all || p->n_hosts <= HOSTS_SHOWN ? p->n_hosts : HOSTS_SHOWN;
	struct table *t = table_new(c, columns, has_before ? ARRAY_SIZE(columns) : 2);

	for (size_t i = 0; i < n; i++) {
		const struct plan_host *h = &p->hosts[i];
		char *list = or_die(str_list_join(&h->after, ","));
		bool moves = h->before.n && !str_equal(h->before.items[0], h->after.items[0]);

		table_row(t);
		if (h->name)
			table_cell(t, TINT_STRONG, "%s", h->name);
		else
			table_cell(t, TINT_STRONG, "%" PRIu64, h->id);
		table_cell(t, TINT_NONE, "%s", list);
		if (has_before) {
			table_cell(t, TINT_NONE, "%s", h->before.n ? h->before.items[0] : "");
			table_cell(t, moves ? TINT_CAREFUL : TINT_FAINT, "%s",
				   moves         ? "moves"
				   : h->before.n ? "stays"
						 : "new");
		}
		mem_free(list);
	}
	if (n)
		table_print(t);
	if (n < p->n_hosts)
		printf("... and %zu more; --all shows them\n", p->n_hosts - n);
	if (p->n_hosts)
		printf("\n");
	table_free(t);
}

static void print_servers(const struct cli *c, const struct plan *p, bool has_before)
{
	static const struct table_column columns[] = {{"SERVER", 0}, {"HOSTS", TABLE_RIGHT}, {"NOW", TABLE_RIGHT}};
	struct table *t = table_new(c, columns, has_before ? 3 : 2);

	for (size_t i = 0; i < p->n_servers; i++) {
		const struct plan_server *s = &p->servers[i];

		table_row(t);
		table_cell(t, TINT_STRONG, "%s", s->name);
		table_cell(t, TINT_NONE, "%" PRIu64, s->after);
		table_cell(t, TINT_NONE, "%" PRIu64, s->before);
	}
	table_print(t);
	table_free(t);
}

static void print_failure(const char *kind, const struct plan *p, const struct plan_failure *f)
{
	char *names;

	if (!f->servers.n)
		return;
	names = or_die(str_list_join(&f->servers, " and "));
	printf("Worst %s failure: %s; ", kind, names);
	if (p->n_servers == f->servers.n + 1)
		printf("the other one then has %" PRIu64 ".\n", f->max);
	else if (f->min == f->max)
		printf("the others then have %" PRIu64 " each.\n", f->max);
	else
		printf("the others then have %" PRIu64 " to %" PRIu64 ".\n", f->min, f->max);
	mem_free(names);
}

static void print_moves(const struct plan *p, bool has_before)
{
	char moves[FORMAT_MAX];

	if (!has_before)
		printf("Nothing moves: no host has a list yet.\n");
	else if (!p->moves)
		printf("Nothing moves.\n");
	else if (p->moves == p->minimum_moves)
		printf("%s, as few as possible.\n", format_count(moves, (int64_t)p->moves, "move"));
	else
		printf("%s; %" PRIu64 " would be enough to spread the hosts as evenly.\n",
		       format_count(moves, (int64_t)p->moves, "move"), p->minimum_moves);
}

static void print_plan(const struct cli *c, const struct plan *p, const struct request *r)
{
	char hosts[FORMAT_MAX], servers[FORMAT_MAX];
	bool has_before = false;

	for (size_t i = 0; i < p->n_hosts; i++)
		has_before = has_before || p->hosts[i].before.n;
	printf("%s on %s with %s\n\n", format_count(hosts, (int64_t)p->n_hosts, "host"),
	       format_count(servers, (int64_t)p->n_servers, "server"), algorithm_name(p->algorithm));
	print_hosts(c, p, has_before, r->all);
	print_servers(c, p, has_before);
	printf("\n");
	print_moves(p, has_before);
	print_failure("single", p, &p->worst_single);
	print_failure("double", p, &p->worst_double);
	if (p->algorithm == ALGORITHM_SHUFFLE)
		printf("shuffle draws at random: this is one possible outcome, --seed repeats it.\n");
}

static int finish(struct cli *c, struct plan *p, const struct request *r)
{
	struct why why = WHY_NONE;
	struct rng rng;
	enum err e;
	json_t *out;

	rng_init(&rng, r->seed == NO_NUMBER ? (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32 : (uint64_t)r->seed);
	e = plan_compute(p, &rng, &why);
	if (e)
		return say_bad(c, e, &why);
	if (!c->json) {
		print_plan(c, p, r);
		return cli_flush(c);
	}
	out = or_die(plan_to_json(p));
	cli_print_json(out, true);
	json_decref(out);
	return cli_flush(c);
}

static int make_plan(struct cli *c, struct plan *p, const struct request *r)
{
	enum algorithm in_force = ALGORITHM_STATIC, wanted = ALGORITHM_STATIC;
	bool is_known = false;
	struct why why = WHY_NONE;
	int exit_code;
	enum err e;

	if (r->algorithm && !algorithm_from_text(r->algorithm, &wanted))
		return cli_misuse(c, "there is no algorithm \"%s\"; there are %s", r->algorithm, algorithm_choices());
	if (r->hosts != NO_NUMBER && (r->file || r->live))
		return cli_misuse(c, "--hosts makes hosts up; it does not go with --file or --live");
	if (r->hosts != NO_NUMBER && !r->servers)
		return cli_misuse(c, "--hosts needs --servers A,B,C");
	exit_code = gather(c, p, r, &in_force, &is_known);
	if (exit_code)
		return exit_code;
	p->algorithm = r->algorithm ? wanted : in_force;
	p->same_algorithm = is_known && p->algorithm == in_force;
	e = change_servers(p, r, &why);
	if (e)
		return say_bad(c, e, &why);
	return finish(c, p, r);
}

int cmd_plan(struct cli *c, int argc, char **argv)
{
	struct request r = {.hosts = NO_NUMBER, .seed = NO_NUMBER};
	const struct arg_option options[] = {
		{.name = "--servers",
		 .value = "A,B,C",
		 .text = &r.servers,
		 .help = "these servers instead, in this order"},
		{.name = "--hosts",
		 .value = "N",
		 .number = &r.hosts,
		 .max = HOSTS_MAX,
		 .help = "N made-up hosts H1, H2 ... (with --servers)"},
		{.name = "--algorithm",
		 .value = "NAME",
		 .text = &r.algorithm,
		 .help = "static, roundrobin or shuffle; default: the one in force"},
		{.name = "--add", .value = "A,B", .text = &r.add, .help = "these servers in addition, at the end"},
		{.name = "--remove", .value = "A,B", .text = &r.remove, .help = "without these servers"},
		{.name = "--file",
		 .value = "FILE",
		 .text = &r.file,
		 .help = "servers and hosts from a plan in JSON; - for stdin"},
		{.name = "--live",
		 .flag = &r.live,
		 .help = "servers and hosts of the cluster, even if stdin is not a terminal"},
		{.name = "--all", .flag = &r.all, .help = "show every host, not only the first 50"},
		{.name = "--seed",
		 .value = "N",
		 .number = &r.seed,
		 .max = INT64_MAX,
		 .help = "for shuffle: the same number gives the same lists"},
	};
	struct args a = {
		.about =
			"Computes a placement without doing anything: the list each host would get, how many hosts each server\n"
			"would have, how many would move, and what the worst failure would leave. Servers and hosts are those of\n"
			"the cluster, of a file, of stdin (JSON, the shape that --json prints), or made up:\n"
			"  muster plan --servers M1,M2,M3 --hosts 4 --algorithm roundrobin\n"
			"  muster plan --remove M2",
		.options = options,
		.n_options = ARRAY_SIZE(options),
	};
	CLEAN(plan_deinit) struct plan p = {0};

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	return make_plan(c, &p, &r);
}
