/*
 * muster-bench: the command line, and what happens in which order.
 *
 *   1. limits: open files, addresses
 *   2. those without a certificate join
 *   3. all identities are read, then the agents are started
 *   4. a signal, the time or "everybody is up" ends it: report, files saved
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "base/process.h"
#include "bench/bench.h"
#include "core/server_list.h"
#include "net/world_uv.h"

#define AGENTS_MAX 1000000
#define JOINS 64
#define TOKEN_LIMIT 8192
#define FILES_SPARE 64
#define EXIT_USAGE 64
#define EXIT_CONFIG 66

struct program {
	struct options options;
	struct log log;
	struct world *world;
	struct guard *guard;
	struct memory_fs *memory;
	struct token token;
	struct enlisting *enlisting;
	struct fleet *fleet;
	struct timer end;
	size_t n_joined;
	int64_t join_began_us, join_us;
	enum err result;
	struct why why;
};

static void finish(struct program *p, enum err e, const char *sentence)
{
	struct why copy;

	why_set(&copy, "%s", sentence);
	p->result = e;
	p->why = copy;
	world_uv_stop(p->world);
}

/* ---- limits ---- */

/* While they change servers agents have a second link; those that look for one dial up to three. */
static enum err raise_files(const struct program *p, struct why *why)
{
	size_t least = p->options.agents + FILES_SPARE;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return ERR_IO;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		return ERR_IO;
	if (limit.rlim_cur < least) {
		why_set(why, "%zu agents need %zu open files, this process may have %llu (ulimit -Hn)",
			p->options.agents, least, (unsigned long long)limit.rlim_cur);
		return ERR_FULL;
	}
	if (limit.rlim_cur < 2 * p->options.agents)
		log_warn(&p->log, "too few open files for all agents to change servers at once",
			 KV_U("files", limit.rlim_cur), KV_U("agents", p->options.agents));
	return ERR_OK;
}

/* Names are looked up later; what they lead to is checked at each dial. */
static enum err check_servers(const struct program *p, const struct str_list *servers, struct why *why)
{
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < servers->n; i++) {
		struct server_address a;
		struct in6_addr any;

		e = server_address_parse(&a, servers->items[i], why);
		if (!e && (inet_pton(AF_INET, a.host, &any) == 1 || inet_pton(AF_INET6, a.host, &any) == 1))
			e = guard_check(p->guard, a.host, why);
	}
	return e;
}

static enum err check_targets(const struct program *p, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list servers = {0};
	enum err e = ERR_OK;

	if (p->options.servers)
		e = server_list_parse_setting(&servers, p->options.servers, why);
	if (!e)
		e = check_servers(p, &servers, why);
	return e ? e : check_servers(p, &p->token.servers, why);
}

/* ---- 2. joining ---- */

static enum err read_token(struct program *p, struct why *why)
{
	const char *from = p->options.token;
	CLEAN(buf_deinit) struct buf text = {0};
	const char *token = from;
	enum err e = ERR_OK;

	if (!from)
		return ERR_OK;
	if (from[0] == '@')
		e = file_read(&fs_posix, from + 1, TOKEN_LIMIT, &text, why);
	if (!e && from[0] == '@' && !(token = buf_str(&text)))
		e = ERR_NOMEM;
	if (!e)
		e = token_parse(&p->token, token, why);
	if (!e && p->token.role != CERT_ROLE_AGENT) {
		why_set(why, "this token is for a management server");
		e = ERR_REFUSED;
	}
	return e;
}

static void start_fleet(struct program *p);

static void on_enlisted(void *user, enum err e, const char *sentence, size_t n_joined)
{
	struct program *p = user;

	p->n_joined = n_joined;
	p->join_us = now_us() - p->join_began_us;
	if (e)
		finish(p, e, sentence);
	else
		start_fleet(p);
}

static void give_source(void *user, size_t i, char out[IP_TEXT])
{
	const struct program *p = user;

	/* It was checked when the program started. */
	(void)!source_of(p->options.source, i, out, NULL);
}

static enum err start_joining(struct program *p, struct why *why)
{
	const struct enlist_params params = {
		.world = p->world,
		.log = &p->log,
		.token = &p->token,
		.servers = p->options.servers,
		.dir = p->options.dir,
		.prefix = p->options.prefix,
		.agents = p->options.agents,
		.at_once = p->options.joins,
		.source = give_source,
		.done = on_enlisted,
		.user = p,
	};

	p->join_began_us = now_us();
	return enlist_start(&p->enlisting, &params, why);
}

/* ---- 3. running ---- */

static enum err report_make(struct program *p, json_t *report)
{
	enum err e = fleet_report(p->fleet, report);

	if (!e && json_object_set_new(report, "dials", guard_json(p->guard)))
		e = ERR_NOMEM;
	if (!e && json_object_set_new(report, "traffic", guard_traffic_json(p->guard)))
		e = ERR_NOMEM;
	if (!e && json_object_set_new(report, "at_us", json_integer(now_us())))
		e = ERR_NOMEM;
	if (!e && p->n_joined &&
	    json_object_set_new(report, "joining",
				json_pack("{s:I,s:f}", "joins", (json_int_t)p->n_joined, "per_s",
					  (double)p->n_joined * 1e6 / (double)(p->join_us ? p->join_us : 1))))
		e = ERR_NOMEM;
	return e;
}

static void report(struct program *p)
{
	json_t *o = json_object();
	enum err e = p->fleet && o ? report_make(p, o) : ERR_STATE;

	if (!e)
		report_print(o, p->options.json || p->options.events);
	else if (p->fleet)
		log_error(&p->log, "there is no report", KV_S("error", err_text(e)));
	json_decref(o);
}

static void on_report(void *user, int signo)
{
	report(user);
}

static void on_terminate(void *user, int signo)
{
	struct program *p = user;

	finish(p, ERR_OK, "");
}

static void on_end(struct timer *t)
{
	struct program *p = container_of(t, struct program, end);

	if (!p->options.until_up)
		finish(p, ERR_OK, "");
	else
		finish(p, ERR_TIMEOUT, "not everybody is up in time");
}

static void on_all_up(void *user)
{
	struct program *p = user;

	if (p->options.until_up)
		finish(p, ERR_OK, "");
}

static enum err make_fleet(struct program *p, struct why *why)
{
	const struct fleet_params params = {
		.world = p->world,
		.options = &p->options,
		.fs = p->options.real_files ? &fs_posix : memory_fs_table(p->memory),
		.all_up = on_all_up,
		.user = p,
	};
	enum err e = fleet_new(&p->fleet, &params, why);

	return e ? e : fleet_start(p->fleet);
}

static void start_fleet(struct program *p)
{
	struct why why = WHY_NONE;
	enum err e = make_fleet(p, &why);

	if (e)
		finish(p, e, why_text(&why, e));
	else if (p->options.end_s)
		timer_set_in(p->world, &p->end, p->options.end_s * 1000);
}

/* ---- set up and torn down ---- */

static enum err set_up(struct program *p, struct why *why)
{
	char source[IP_TEXT];
	enum err e = world_uv_new(&p->world, why);

	if (!e)
		e = guard_new(&p->guard, p->world, p->options.anywhere);
	if (!e)
		e = raise_files(p, why);
	if (!e)
		e = source_of(p->options.source, 0, source, why);
	if (!e)
		e = read_token(p, why);
	if (!e)
		e = check_targets(p, why);
	if (!e)
		e = fs_posix.make_dir(&fs_posix, p->options.dir, 0700, why);
	if (!e)
		e = memory_fs_new(&p->memory);
	if (!e)
		e = world_uv_on_signal(p->world, SIGTERM, on_terminate, p);
	if (!e)
		e = world_uv_on_signal(p->world, SIGINT, on_terminate, p);
	if (!e)
		e = world_uv_on_signal(p->world, SIGUSR1, on_report, p);
	return e;
}

static void tear_down(struct program *p)
{
	if (p->world)
		world_uv_stop_work(p->world);
	p->enlisting = enlist_free(p->enlisting);
	p->fleet = fleet_free(p->fleet);
	if (p->world) {
		timer_stop(p->world, &p->end);
		p->world = world_uv_free(p->world);
	}
	p->guard = guard_free(p->guard);
	p->memory = memory_fs_free(p->memory);
	token_deinit(&p->token);
}

static int say(const struct program *p, enum err e, int code)
{
	fprintf(stderr, "muster-bench: %s\n", why_text(&p->why, e));
	return code;
}

static int run_floor(struct program *p)
{
	json_t *o = NULL;
	enum err e = world_uv_new(&p->world, &p->why);

	if (!e)
		e = floor_measure(&o, p->world, &p->why);
	if (e)
		return say(p, e, EXIT_FAILURE);
	report_print(o, p->options.json);
	json_decref(o);
	return EXIT_SUCCESS;
}

static int run(struct program *p)
{
	struct why why = WHY_NONE;
	enum err e = set_up(p, &p->why);

	if (e)
		return say(p, e, EXIT_CONFIG);
	if (p->options.token) {
		e = start_joining(p, &p->why);
		if (e)
			return say(p, e, EXIT_CONFIG);
	} else {
		start_fleet(p);
	}
	if (!p->result)
		world_uv_run(p->world);
	report(p);
	/* The next run goes on from the lists that were received in this one. */
	e = memory_fs_save(p->memory, &why);
	if (e)
		log_error(&p->log, "the agents' files are not saved", KV_S("reason", why_text(&why, e)));
	return p->result ? say(p, p->result, EXIT_FAILURE) : e ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- command line ---- */

static void usage(FILE *out)
{
	fputs("usage: muster-bench --dir DIR [--token TOKEN] [--agents N] [options]\n"
	      "       muster-bench --floor [--report json]\n"
	      "\n"
	      "Runs many real agents in one process against real servers and measures what happens to them.\n"
	      "\n"
	      "  -d, --dir DIR          folder with one folder an agent; those without a certificate need --token\n"
	      "  -t, --token TOKEN      joins those that have no certificate (@FILE reads it); the token needs enough uses\n"
	      "  -n, --agents N         how many (default: 100)\n"
	      "      --servers LIST     host:port,... instead of those of the token and of the folders\n"
	      "      --prefix NAME      agents are NAME1, NAME2 ... (default: bench-)\n"
	      "      --source NETWORK   each agent has an address of it (default: 127.0.0.0/8; \"\": any)\n"
	      "      --ramp N           starts N a second (default: 0, all at once)\n"
	      "      --joins N          joins N at one time (default: 64)\n"
	      "      --until-up         ends when all have been up; with --seconds it fails if that takes longer\n"
	      "      --seconds S        ends after so long (default: at SIGTERM or SIGINT; SIGUSR1 reports and goes on)\n"
	      "      --events           one JSON line on stdout for each change of an agent\n"
	      "      --report FORMAT    text or json (default: text; with --events json)\n"
	      "      --real-files       agent.properties is written through to the disk, as muster-agent does\n"
	      "      --anywhere         also servers that are not on this machine\n"
	      "      --floor            measures bare TLS handshakes on this machine, and stops\n"
	      "      --log LEVEL        of the agents: error, warn, info, debug (default: error)\n"
	      "  -V, --version\n"
	      "  -h, --help\n",
	      out);
}

static bool number(const char *text, uint64_t most, uint64_t *out)
{
	return str_to_u64(text, out) && *out <= most;
}

static const char short_options[] = "d:t:n:Vh";
enum {
	SERVERS = 256,
	PREFIX,
	SOURCE,
	RAMP,
	AT_ONCE,
	UNTIL_UP,
	SECONDS,
	EVENTS,
	REPORT,
	REAL_FILES,
	ANYWHERE,
	FLOOR,
	LOG
};
static const struct option long_options[] = {
	{"dir", required_argument, NULL, 'd'},
	{"token", required_argument, NULL, 't'},
	{"agents", required_argument, NULL, 'n'},
	{"servers", required_argument, NULL, SERVERS},
	{"list", required_argument, NULL, SERVERS},
	{"prefix", required_argument, NULL, PREFIX},
	{"source", required_argument, NULL, SOURCE},
	{"ramp", required_argument, NULL, RAMP},
	{"joins", required_argument, NULL, AT_ONCE},
	{"until-up", no_argument, NULL, UNTIL_UP},
	{"seconds", required_argument, NULL, SECONDS},
	{"events", no_argument, NULL, EVENTS},
	{"report", required_argument, NULL, REPORT},
	{"real-files", no_argument, NULL, REAL_FILES},
	{"anywhere", no_argument, NULL, ANYWHERE},
	{"floor", no_argument, NULL, FLOOR},
	{"log", required_argument, NULL, LOG},
	{"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* false: not a value of that option. */
static bool take(struct options *o, int c, const char *value)
{
	uint64_t n = 0;
	bool ok = true;

	switch (c) {
	case 'd':
		o->dir = value;
		break;
	case 't':
		o->token = value;
		break;
	case 'n':
		ok = number(value, AGENTS_MAX, &n) && n > 0;
		o->agents = (size_t)n;
		break;
	case SERVERS:
		o->servers = value;
		break;
	case PREFIX:
		ok = cert_id_is_valid(value) && strlen(value) < 64;
		o->prefix = value;
		break;
	case SOURCE:
		o->source = value;
		break;
	case RAMP:
		ok = number(value, AGENTS_MAX, &o->ramp);
		break;
	case AT_ONCE:
		ok = number(value, 10000, &o->joins) && o->joins > 0;
		break;
	case UNTIL_UP:
		o->until_up = true;
		break;
	case SECONDS:
		ok = number(value, 10000000, &n) && n > 0;
		o->end_s = (int64_t)n;
		break;
	case EVENTS:
		o->events = true;
		break;
	case REPORT:
		o->json = strcmp(value, "json") == 0;
		ok = o->json || strcmp(value, "text") == 0;
		break;
	case REAL_FILES:
		o->real_files = true;
		break;
	case ANYWHERE:
		o->anywhere = true;
		break;
	case FLOOR:
		o->only_floor = true;
		break;
	case LOG:
		ok = log_level_from_text(value, &o->level);
		break;
	default:
		return false;
	}
	return ok;
}

static int misused(const char *sentence, const char *word)
{
	fprintf(stderr, "muster-bench: %s%s\n", sentence, word);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct program p = {
		.options = {.agents = 100, .prefix = "bench-", .source = "127.0.0.0/8", .joins = JOINS},
	};
	int c, code;

	p.options.level = LOG_ERROR;
	while ((c = getopt_long(argc, argv, short_options, long_options, NULL)) != -1) {
		if (c == 'h') {
			usage(stdout);
			return EXIT_SUCCESS;
		}
		if (c == 'V') {
			puts("muster-bench " MUSTER_VERSION);
			return EXIT_SUCCESS;
		}
		if (c == '?')
			return EXIT_USAGE; /* getopt has said why */
		if (!take(&p.options, c, optarg))
			return misused("not a value for this option: ", optarg ? optarg : "");
	}
	if (optind < argc)
		return misused("one word too many: ", argv[optind]);
	if (!p.options.dir && !p.options.only_floor)
		return misused("--dir is missing", "");
	timer_init(&p.end, on_end);
	log_init_stderr(&p.log, LOG_WARN, false);
	process_keep_secrets();
	code = p.options.only_floor ? run_floor(&p) : run(&p);
	tear_down(&p);
	return code;
}
