/*
 * What the engine's tests share: one agent on a fake world, with a host program that remembers what it heard.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/agent.h"
#include "fake_world.h"

#define BENCH_FILE "/etc/agent.properties"
#define M1 "10.0.0.1"
#define M2 "10.0.0.2"
#define M3 "10.0.0.3"
#define MOST_COMMANDS 64

struct bench {
	struct fake_world *f;
	struct world *world;
	struct fake_server *m1, *m2, *m3; /* NULL unless made by the test */
	struct agent_params params;
	struct agent_file *file;
	struct tls_creds *creds;
	struct agent *agent;
	/* The host program. */
	bool answers;     /* commands at once, with a plain true */
	bool frees_agent; /* at the next command */
	bool frees_on_change;
	struct agent_command *commands[MOST_COMMANDS]; /* not answered yet */
	size_t n_commands;                             /* open */
	size_t n_given;                                /* ever */
	enum msg_type last_type;
	size_t n_changed;
	size_t n_startups;
	size_t n_judged; /* creds_judged() */
	bool new_stays;  /* the last time */
	char judged_sentence[256];
	size_t n_stopped;
	enum err stop_error;
	char stop_sentence[256];
	size_t n_gone;
};

/* The agent's file says `host=<host>`, plus more lines. The agent is made, not started. */
void bench_setup(struct bench *b, const char *host, const char *more);
void bench_start(struct bench *b);
void bench_teardown(struct bench *b);
/* With three muster servers on M1, M2, M3 and an agent that is up after this. */
void bench_up(struct bench *b, const char *host, const char *more);
void bench_remake(struct bench *b); /* a new process on the same files */

void bench_run(struct bench *b, int64_t ms);
struct agent_view bench_look(const struct bench *b);
const char *bench_connected(const struct bench *b); /* "" when it is on none */
/* The oldest open command. */
void bench_answer(struct bench *b, bool result);
const char *bench_get(struct bench *b, const char *key); /* from the file as it is on disk now; NULL: unset */
void bench_list(struct fake_server *s, const char *servers, const char *algorithm); /* what its Ready brings */

void fill_list(void *fields, void *user); /* of SetupMSList; user: struct list_fill */
struct list_fill {
	const char *servers;
	const char *avoid;
	const char *algorithm;
	int64_t interval;
	bool trigger;
};
int64_t bench_send_list(struct fake_server *s, const struct list_fill *l);
int64_t bench_migrate(struct fake_server *s, const char *avoid);
bool bench_answer_result(const struct fake_server *s, int64_t seq); /* of the first element */
const char *bench_answer_details(const struct fake_server *s, int64_t seq);
