/*
 * muster-sim: the real servers and agents in virtual time.
 *
 *   1. a scenario file, or seeds one after the other
 *   2. a seed that fails is run again with a trace, and the command that
 * replays it is printed
 *   3. one line that sums up
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/mem.h"
#include "sim/jobs.h"
#include "sim/scenario.h"

#define TRACE_LINES 400
#define JOBS_MAX 256

struct options {
	uint64_t seed;
	uint64_t seeds;
	size_t jobs;
	size_t servers; /* 0: by the seed */
	size_t agents;  /* 0: by the seed */
	size_t events;  /* 0: by the seed */
	const char *scenario;
	char *text; /* of the scenario */
	bool trace;
	bool twice;
	bool real_tls;
	bool certificates; /* in all lives, not in a part of them */
	enum log_level level;
};

struct result {
	uint64_t hash;
	uint64_t events;
	int64_t us;
	char *failure; /* owned */
};

/* ---- the trace ---- */

static void print_line(void *user, const char *line)
{
	puts(line);
}

/* Keeps the end: a failing history may have millions of lines. */
struct tail {
	char *lines[TRACE_LINES];
	uint64_t n;
};

static void keep_line(void *user, const char *line)
{
	struct tail *t = user;
	char **slot = &t->lines[t->n++ % TRACE_LINES];

	mem_free(*slot);
	*slot = mem_strdup(line);
}

static void tail_print(struct tail *t)
{
	uint64_t from = t->n > TRACE_LINES ? t->n - TRACE_LINES : 0;

	if (from)
		printf("... %" PRIu64 " lines before (--trace shows all)\n", from);
	for (uint64_t i = from; i < t->n; i++)
		puts(t->lines[i % TRACE_LINES] ? t->lines[i % TRACE_LINES] : "");
	for (size_t i = 0; i < TRACE_LINES; i++)
		mem_free(t->lines[i]);
}

/* ---- one seed ---- */

static enum err live(struct cluster *c, const struct options *o, struct why *why)
{
	struct history h = {
		.n_servers = o->servers, .n_agents = o->agents, .n_events = o->events, .is_asked = o->agents != 0};

	if (o->text)
		return scenario_run(c, o->text, why);
	if (!h.n_servers)
		h.n_servers = 2 + (size_t)rng_below(sim_rng(c->sim), 3);
	if (!h.n_agents)
		h.n_agents = 1 + (size_t)rng_below(sim_rng(c->sim), 12);
	if (!h.n_events)
		h.n_events = 5 + (size_t)rng_below(sim_rng(c->sim), 30);
	return history_run(c, &h, why);
}

static enum err run_seed(const struct options *o, uint64_t seed, void (*print)(void *, const char *), void *user,
			 struct result *r)
{
	struct cluster_params p = {.seed = seed,
				   .real_tls = o->real_tls,
				   .certificates = o->certificates,
				   .print = print,
				   .user = user,
				   .level = o->level};
	struct why why = WHY_NONE;
	struct cluster *c = NULL;
	enum err e = cluster_new(&c, &p, &why);

	if (!e)
		e = live(c, o, &why);
	if (e) {
		fprintf(stderr, "muster-sim: %s\n", why_text(&why, e));
	} else {
		*r = (struct result){.hash = sim_hash(c->sim), .events = sim_events(c->sim), .us = sim_now_us(c->sim)};
		r->failure = mem_strdup(sim_failure(c->sim));
	}
	cluster_free(c);
	return e;
}

static void explain(const struct options *o, uint64_t seed, const struct result *r)
{
	struct tail tail = {.n = 0};
	struct result again = {0};

	if (!o->trace && run_seed(o, seed, keep_line, &tail, &again) == ERR_OK) {
		tail_print(&tail);
		if (again.hash != r->hash && !o->real_tls)
			printf("this second run was another history: something is not drawn from "
			       "the seed\n");
		mem_free(again.failure);
	}
	printf("\nseed %" PRIu64 " failed %s\nreplay: muster-sim --seed %" PRIu64, seed, r->failure, seed);
	if (o->scenario)
		printf(" --scenario %s", o->scenario);
	if (o->servers)
		printf(" --servers %zu", o->servers);
	if (o->agents)
		printf(" --agents %zu", o->agents);
	if (o->events)
		printf(" --events %zu", o->events);
	printf("%s%s --trace\n", o->real_tls ? " --real-tls" : "", o->certificates ? " --certificates" : "");
}

/* ---- all of them ---- */

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* What became of a seed. */
struct outcome {
	uint64_t hash;
	uint64_t events;
	int64_t us;
	bool has_failed;
};

struct all {
	const struct options *o;
	struct outcome *outcomes; /* of each seed; seen by all processes */
};

static enum err run_one(const struct options *o, uint64_t seed, struct outcome *out)
{
	struct result r = {0}, again = {0};
	enum err e = run_seed(o, seed, o->trace ? print_line : NULL, NULL, &r);

	if (e)
		return e;
	if (r.failure) {
		explain(o, seed, &r);
	} else if (o->twice) {
		e = run_seed(o, seed, NULL, NULL, &again);
		if (e)
			return e;
	}
	*out = (struct outcome){.hash = r.hash, .events = r.events, .us = r.us, .has_failed = r.failure};
	if (!r.failure && o->twice && (again.hash != r.hash || again.events != r.events)) {
		printf("seed %" PRIu64 " has two histories: %016" PRIx64 " and %016" PRIx64 "\n", seed, r.hash,
		       again.hash);
		out->has_failed = true;
	}
	mem_free(r.failure);
	mem_free(again.failure);
	return ERR_OK;
}

/* Every n-th seed, from the i-th on. */
static int run_share(void *user, size_t i, size_t n)
{
	const struct all *all = user;

	for (uint64_t at = i; at < all->o->seeds; at += n)
		if (run_one(all->o, all->o->seed + at, &all->outcomes[at]))
			return 2;
	return 0;
}

static int run_all(const struct options *o)
{
	size_t size = (size_t)(o->seeds ? o->seeds : 1) * sizeof(struct outcome);
	struct all all = {.o = o};
	double begun = now_s(), hours = 0, took;
	uint64_t events = 0, hash = 0, failed = 0;
	int code;

	/* cppcheck-suppress invalidFunctionArg ; no file is mapped */
	all.outcomes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (all.outcomes == MAP_FAILED) {
		perror("muster-sim: no memory for so many seeds");
		return 2; /* cppcheck-suppress memleak ; there is none */
	}
	code = jobs_run(o->jobs < o->seeds ? o->jobs : (size_t)o->seeds, run_share, &all);
	if (code) {
		munmap(all.outcomes, size);
		return code;
	}
	/* In the order of the seeds, however many processes there were: the hash is the same. */
	for (uint64_t i = 0; i < o->seeds; i++) {
		const struct outcome *out = &all.outcomes[i];

		failed += out->has_failed;
		hours += (double)out->us / 3.6e9;
		events += out->events;
		hash = (hash ^ out->hash) * 0x9e3779b97f4a7c15u;
	}
	munmap(all.outcomes, size);
	took = now_s() - begun;
	printf("%" PRIu64 " seeds, %" PRIu64 " failed, %.2f virtual hours, %" PRIu64 " events, trace hash %016" PRIx64
	       ", %.1f s (%.1f virtual hours a second)\n",
	       o->seeds, failed, hours, events, hash, took, hours / (took > 0 ? took : 1));
	return failed ? 1 : 0;
}

/* ---- the command line ---- */

static const char usage[] =
	"usage: muster-sim [options]\n"
	"  --seeds N        so many random histories (1)\n"
	"  --seed S         the first one (1)\n"
	"  --jobs N         so many of them at the same time (1)\n"
	"  --servers M      of each (2 to 4)\n"
	"  --agents N       of each (1 to 12)\n"
	"  --events N       that befall each (5 to 34)\n"
	"  --scenario FILE  instead of random histories\n"
	"  --twice          each seed twice: the trace hash must be the same\n"
	"  --real-tls       GnuTLS over the simulated network\n"
	"  --certificates   real ones, and what happens to them, in every history (otherwise in one of six)\n"
	"  --trace          print everything that happens\n"
	"  --debug          and what the engines log at debug level\n";

static bool number(const char *text, uint64_t *out)
{
	return str_to_u64(text, out);
}

static bool read_text(const char *path, char **out)
{
	struct why why = WHY_NONE;
	struct buf b = {0};
	enum err e = file_read(&fs_posix, path, 1024 * 1024, &b, &why);

	if (!e)
		*out = buf_take_str(&b);
	buf_deinit(&b);
	if (e)
		fprintf(stderr, "muster-sim: %s\n", why_text(&why, e));
	return !e && *out;
}

static int parse(struct options *o, int argc, char **argv)
{
	enum {
		SEEDS = 1,
		SEED,
		JOBS,
		SERVERS,
		AGENTS,
		EVENTS,
		SCENARIO,
		TWICE,
		REAL_TLS,
		CERTIFICATES,
		TRACE,
		DEBUG,
		HELP
	};
	static const struct option longs[] = {
		{"seeds", 1, NULL, SEEDS},       {"seed", 1, NULL, SEED},
		{"servers", 1, NULL, SERVERS},   {"jobs", 1, NULL, JOBS},
		{"agents", 1, NULL, AGENTS},     {"events", 1, NULL, EVENTS},
		{"scenario", 1, NULL, SCENARIO}, {"twice", 0, NULL, TWICE},
		{"real-tls", 0, NULL, REAL_TLS}, {"certificates", 0, NULL, CERTIFICATES},
		{"trace", 0, NULL, TRACE},       {"debug", 0, NULL, DEBUG},
		{"help", 0, NULL, HELP},         {NULL, 0, NULL, 0},
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		uint64_t n = 0;
		bool ok = true;

		if (opt >= SEEDS && opt <= EVENTS)
			ok = number(optarg, &n);
		if (opt == SEEDS)
			o->seeds = n;
		else if (opt == SEED)
			o->seed = n;
		else if (opt == JOBS)
			o->jobs = (size_t)n, ok = ok && n >= 1 && n <= JOBS_MAX;
		else if (opt == SERVERS)
			o->servers = (size_t)n, ok = ok && n >= 1 && n <= SERVERS_MAX;
		else if (opt == AGENTS)
			o->agents = (size_t)n;
		else if (opt == EVENTS)
			o->events = (size_t)n;
		else if (opt == SCENARIO)
			o->scenario = optarg, ok = read_text(optarg, &o->text);
		else if (opt == TWICE)
			o->twice = true;
		else if (opt == REAL_TLS)
			o->real_tls = true;
		else if (opt == CERTIFICATES)
			o->certificates = true;
		else if (opt == TRACE || opt == DEBUG)
			o->trace = true, o->level = opt == DEBUG ? LOG_DEBUG : o->level;
		else
			ok = false;
		if (!ok) {
			fputs(usage, opt == HELP ? stdout : stderr);
			return opt == HELP ? 0 : 2;
		}
	}
	if (optind < argc) {
		fputs(usage, stderr);
		return 2;
	}
	return -1;
}

int main(int argc, char **argv)
{
	struct options o = {.seed = 1, .seeds = 1, .jobs = 1, .level = LOG_INFO};
	int code = parse(&o, argc, argv);

	if (code < 0)
		code = run_all(&o);
	mem_free(o.text);
	return code;
}
