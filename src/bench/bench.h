/*
 * muster-bench: very many real agents in one process, to load servers and to measure what failures cost the agents.
 *
 *   main.c       command line; what starts when, and what ends it
 *   guard.c      the world's door outwards: dials are counted, and those beyond this machine refused
 *   memory_fs.c  files that stay in memory until they are saved
 *   folder.c     an agent's folder: key, certificates, agent.properties, as muster-agent has them
 *   enlist.c     joins those that have no certificate yet, many at one time
 *   fleet.c      the agents: started at a rate, watched, counted
 *   report.c     percentiles and the report
 *   floor.c      what TLS alone costs on this machine: the floor below every figure
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/log.h"
#include "client/agent.h"
#include "client/agent_file.h"
#include "net/world.h"
#include "pki/token.h"

#define RESOURCE "LibvirtComputingResource"

struct options {
	const char *servers; /* instead of those of token and folders; NULL: theirs */
	const char *token;   /* NULL: everybody has joined already */
	const char *dir;
	const char *prefix;
	const char *source; /* "127.0.0.0/8"; "": whatever the system takes */
	size_t agents;
	uint64_t ramp;   /* started in a second; 0: all at once */
	uint64_t joins;  /* at one time */
	int64_t end_s;   /* ends by itself after so long; 0: when told to */
	bool until_up;   /* ends when everybody is up */
	bool events;     /* one line for each change of an agent */
	bool json;       /* the report */
	bool real_files; /* agent.properties is written and synced each time, as muster-agent does */
	bool anywhere;   /* dials leave the machine */
	bool only_floor;
	enum log_level level; /* of the agents */
};

/* ---- times and percentiles ---- */

/* Microseconds of a clock that only goes forward, read now: the loop's own stands still during a turn. */
int64_t now_us(void);
int64_t wall_us(void);

struct samples {
	int64_t *us; /* owned */
	size_t n, cap;
};
void samples_deinit(struct samples *s);
/* ERR_NOMEM costs one sample and is for the caller to count. */
enum err samples_add(struct samples *s, int64_t us) MUST_CHECK;
/* {"n", "p50_ms", "p99_ms", "max_ms"} by nearest rank; sorts. */
json_t *samples_json(struct samples *s);

/* The most that came within any one second. */
struct rate {
	int64_t *at_us; /* owned; of the last second, a ring */
	size_t n, first, cap;
	size_t peak, total;
};
void rate_deinit(struct rate *r);
enum err rate_add(struct rate *r, int64_t at_us) MUST_CHECK;

/* ---- dials ---- */

struct guard;
/* Puts itself between `w` and its users, from here on; freed after the world. */
enum err guard_new(struct guard **out, struct world *w, bool anywhere) MUST_CHECK;
struct guard *guard_free(struct guard *g);
/* ERR_REFUSED with a sentence: not loopback, and not a private address in a network that has no way out. */
enum err guard_check(const struct guard *g, const char *ip, struct why *why) MUST_CHECK;
/* {"10.0.0.1:8250": {"dials", "peak_dials_per_s"}} */
json_t *guard_json(const struct guard *g);
/* What all agents have sent so far; heartbeats told by their size. */
json_t *guard_traffic_json(const struct guard *g);

/* ---- files ---- */

struct memory_fs;
/* Reads what isn't in memory yet from the disk, writes nothing there. */
enum err memory_fs_new(struct memory_fs **out) MUST_CHECK;
struct memory_fs *memory_fs_free(struct memory_fs *m);
const struct fs *memory_fs_table(struct memory_fs *m);
/* What has changed goes to the disk, each file by a rename, without fsync. */
enum err memory_fs_save(struct memory_fs *m, struct why *why) MUST_CHECK;
/* One file so. */
enum err file_put(const char *path, const void *data, size_t n, struct why *why) MUST_CHECK;

/* ---- one agent's folder ---- */

struct folder {
	char *dir;             /* owned, as all of it */
	char *key, *cert, *ca; /* PEM; NULL: has not joined */
};
enum err folder_init(struct folder *f, const char *dir, const char *name) MUST_CHECK;
void folder_deinit(struct folder *f); /* wipes the key */
/* ERR_NOT_FOUND: has not joined. */
enum err folder_load(struct folder *f, struct why *why) MUST_CHECK;
/* Writes it after a join; the key is in `f`. */
enum err folder_write(struct folder *f, const struct msg_join_answer *a, const struct str_list *asked, struct why *why)
	MUST_CHECK;
char *folder_properties(const struct folder *f); /* path, new string */

/* ---- joining ---- */

struct enlisting;
struct enlist_params {
	struct world *world;
	const struct log *log;
	const struct token *token;
	const char *servers; /* NULL: the token's */
	const char *dir, *prefix;
	size_t agents;
	size_t at_once;
	/* Where agent `i` dials from; "": anywhere. */
	void (*source)(void *user, size_t i, char out[IP_TEXT]);
	void (*done)(void *user, enum err e, const char *sentence, size_t n_joined);
	void *user;
};
/* Joins those whose folder has no certificate. done() comes later, once. */
enum err enlist_start(struct enlisting **out, const struct enlist_params *p, struct why *why) MUST_CHECK;
struct enlisting *enlist_free(struct enlisting *e);

/* ---- the fleet ---- */

struct fleet;
struct fleet_params {
	struct world *world;
	const struct options *options;
	const struct fs *fs; /* of agent.properties */
	/* Everybody is up for the first time. */
	void (*all_up)(void *user);
	void *user;
};
/* Reads all folders; says how far it has come in `why`. */
enum err fleet_new(struct fleet **out, const struct fleet_params *p, struct why *why) MUST_CHECK;
struct fleet *fleet_free(struct fleet *f);
enum err fleet_start(struct fleet *f) MUST_CHECK;
size_t fleet_up(const struct fleet *f);
/* Address `i` of "127.0.0.0/8" and the like. */
enum err source_of(const char *cidr, size_t i, char out[IP_TEXT], struct why *why) MUST_CHECK;
/* The fleet's part of the report is put into `to`. */
enum err fleet_report(struct fleet *f, json_t *to) MUST_CHECK;

/* ---- report and floor ---- */

int64_t rss_kib(void);
/* Prints it: JSON on one line, or as a text for people. */
void report_print(const json_t *report, bool json);
/* Handshakes on all cores, client and server side in memory, nothing else: {"handshake_us", "handshakes_per_s", ...} */
enum err floor_measure(json_t **out, struct world *w, struct why *why) MUST_CHECK;
