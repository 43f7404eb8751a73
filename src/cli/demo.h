/*
 * muster demo: real servers and agents on this machine, and what they do when the world changes (decision 36).
 *
 *   demo_process.c  starts, feeds, ends and buries child processes, each by its own id
 *   demo_fleet.c    folders, ports, settings; starting servers; joining agents; asking whichever server answers
 *   demo_expect.c   what must be true, computed with core's rules and never read from the servers
 *   demo_certs.c    renewal, revocation, rotation: what they do, and when they are done
 *   demo_screen.c   sentences and the live table
 *   demo.c          the phases
 *
 * The children die with the demo, however it ends: the kernel kills them when it is gone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include "base/err.h"
#include "base/mono.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/cli.h"
#include "core/algorithm.h"

#define DEMO_SERVERS_MAX 16
#define DEMO_AGENTS_MAX 200
#define DEMO_INTERVAL_S 2
#define DEMO_PHASE_S 30 /* for one phase to converge */
#define DEMO_ONCE_S 110 /* for all of --once, with what cleaning up takes below two minutes */

struct child {
	char name[16];
	char *dir;      /* owned; its folder */
	char *log_path; /* owned */
	pid_t pid;      /* 0: not running */
	int status;     /* as waitpid() gave it, once it has ended by itself */
	bool was_killed;
};

struct demo_server {
	struct child child;
	char ip[32];
	char entry[40]; /* as it stands in lists */
	char *socket;   /* owned */
	struct api *api;
};

struct demo_params {
	size_t n_servers, n_agents;
	enum algorithm algorithm;
	const char *dir; /* NULL: a temporary one */
	bool once;
};

struct screen {
	FILE *to;           /* stdout; stderr with --json */
	bool is_live;       /* redrawn in place */
	size_t n_lines;     /* of the block that is redrawn */
	struct str_list at; /* where each host was last, for plain lines */
};

struct demo {
	struct cli *cli;
	struct demo_params params;
	char *programs[2]; /* owned: muster-server, muster-agent */
	char *dir;         /* owned */
	bool is_temporary;
	bool is_stopping; /* someone wants us to end */
	int signals;      /* descriptor */
	uint16_t port;
	int port_mark; /* descriptor; as long as it is open, the port is ours */
	struct mono started;
	struct demo_server servers[DEMO_SERVERS_MAX];
	size_t n_servers;
	struct child agents[DEMO_AGENTS_MAX + 1];
	size_t n_agents;         /* joined so far */
	enum algorithm in_force; /* what we have set */
	json_t *hosts;           /* owned; as listHosts said last, sorted by id */
	json_t *before;          /* owned; d->hosts when the phase began */
	char *victim;            /* owned; id of the host that may lose its link; NULL: none may */
	unsigned n_steps;        /* said or taken in this phase */
	json_t *phases;          /* owned; for --json */
	struct screen screen;
};

/* Exit code. */
int demo_run(struct cli *c, const struct demo_params *params);

/* ---- demo_process.c ---- */

struct mono clock_now(void);
double seconds_since(struct mono start);
/* Waits; false when the demo is asked to end. */
bool demo_sleep(struct demo *d, int ms);
/* Signals come through a descriptor, so that a wait can be for them too. */
enum err signals_open(struct demo *d, struct why *why) MUST_CHECK;
/* In its folder and own process group, with its output in log_path. `input` is fed to its stdin (NULL: nothing). */
enum err child_start(struct child *child, char *const argv[], const char *input, struct why *why) MUST_CHECK;
/* Looks without waiting; false: it has ended, child->status says how. */
bool child_is_alive(struct child *child);
void child_signal(const struct child *child, int signal);
/* Waits up to ms; false: still there. */
bool child_wait(struct child *child, int ms);
/* "ended with exit code 1", "was killed by signal 9 (Killed)". */
void child_describe_end(char *out, size_t size, const struct child *child);
void child_print_log(FILE *to, const struct child *child, size_t n_lines);
void child_deinit(struct child *child);

/* ---- demo_fleet.c ---- */

/* Where this program lies: a new string; NULL: not known. */
char *own_folder(void);
enum err fleet_prepare(struct demo *d, struct why *why) MUST_CHECK;
/* Starts it and waits until its socket answers. */
enum err server_start(struct demo *d, size_t i, struct why *why) MUST_CHECK;
/* Joins the next agent with a token of its own, starts it. */
enum err agent_add(struct demo *d, struct why *why) MUST_CHECK;
/* The same machine, a new identity for the same host; its process is not running. */
enum err agent_rejoin(struct demo *d, size_t i, const char *host_id, struct why *why) MUST_CHECK;
/* Of whichever server answers. */
enum err demo_ask(struct demo *d, json_t **out, const char *command, const struct api_arg *args, struct why *why)
	MUST_CHECK;
enum err demo_set(struct demo *d, const char *name, const char *value, struct why *why) MUST_CHECK;
/* Refreshes d->hosts. */
enum err demo_look(struct demo *d, struct why *why) MUST_CHECK;
bool server_is_alive(struct demo *d, size_t i);
/* The server that an entry of a list means, or NULL. */
const struct demo_server *server_of_entry(const struct demo *d, const char *entry);
/* Is a child gone that nobody killed on purpose? Its name is part of the sentence. */
bool fleet_has_lost(struct demo *d, struct why *why);
void fleet_print_logs(struct demo *d, FILE *to);
void fleet_stop(struct demo *d);

/* ---- demo_expect.c ---- */

/* Is everything as the rules say? If not, `why` names the first thing that isn't. */
bool expect_met(struct demo *d, struct why *why);
/* The server with the most agents on it; the first of several. */
size_t busiest_server(const struct demo *d);

/* ---- demo_certs.c ---- */

/* What the phases do, and whether they are done; an error ends the demonstration. */
enum err certs_renew(struct demo *d, struct why *why) MUST_CHECK;
enum err certs_are_renewed(struct demo *d, bool *done, struct why *why) MUST_CHECK;
enum err certs_revoke(struct demo *d, struct why *why) MUST_CHECK;
enum err certs_is_back(struct demo *d, bool *done, struct why *why) MUST_CHECK;
enum err certs_rotate(struct demo *d, struct why *why) MUST_CHECK;
enum err certs_are_rotated(struct demo *d, bool *done, struct why *why) MUST_CHECK;
/* Has nobody lost its link since the phase began, but for whoever may? */
bool certs_links_held(const struct demo *d, struct why *why);

/* ---- demo_screen.c ---- */

void screen_init(struct demo *d);
void screen_deinit(struct demo *d);
void screen_say(struct demo *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Shows the hosts as they are: redraws, or says in plain lines who has moved. `note` stands below. */
void screen_update(struct demo *d, const char *note);
/* The last picture of a phase, which stays. */
void screen_finish(struct demo *d, const char *note);
