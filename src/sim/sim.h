/*
 * The simulated world: machines, a network between them, their files, and a
 * clock that only moves when nothing is left to do. Each machine runs one
 * process at a time, which sees an ordinary struct world; the engines on top
 * are the real ones.
 *
 * Everything that happens is an event on one heap, and all chance comes from
 * one seed, so that the same seed gives the same history. Every event goes into
 * a hash: two runs that differ anywhere differ there.
 *
 * What a process can suffer:
 *   killed       the program is gone at once; its kernel closes the connections
 *   power lost   the machine is silent; files keep what was synced; when it
 * comes back, it knows no connection frozen       the program does nothing, its
 * kernel still answers (SIGSTOP) dying disk   killed or without power between
 * any two steps of a file operation
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "net/world.h"

struct sim;
struct sim_node; /* a machine, and the process on it */

struct sim_params {
	uint64_t seed;
	bool real_tls; /* GnuTLS over the simulated streams; the hash then depends on
			  its random numbers */
	/* Where the trace goes; NULL: nowhere, and log lines are not even made. */
	void (*print)(void *user, const char *line);
	void *user;
	enum log_level level; /* of the engines' log lines in the trace */
};

enum sim_death { SIM_KILLED, SIM_POWER_LOST };

enum err sim_new(struct sim **out, const struct sim_params *p) MUST_CHECK;
struct sim *sim_free(struct sim *s); /* all processes must be dead; nodes go with it */

/* ---- time ---- */

int64_t sim_now_us(const struct sim *s);
struct rng *sim_rng(struct sim *s);
uint64_t sim_hash(const struct sim *s);
uint64_t sim_events(const struct sim *s);
/* One event; false: there is none before `until_us`, and the clock stands
 * there. */
bool sim_step(struct sim *s, int64_t until_us);
/* Until then, or until somebody has called sim_fail(). */
void sim_run(struct sim *s, int64_t until_us);

/* Calls `call` at that time, outside all processes. Embedded by the owner. */
struct sim_event {
	struct heap_node node;
	struct sim_node *owner; /* NULL: nobody's, fires whatever happens to a process */
	uint8_t kind;           /* for the hash */
	void (*fire)(struct sim_event *e);
	struct list put_off; /* while its owner is frozen */
};
void sim_event_init(struct sim_event *e, struct sim_node *owner, uint8_t kind, void (*fire)(struct sim_event *e));
void sim_event_set(struct sim *s, struct sim_event *e, int64_t at_us);
void sim_event_stop(struct sim *s, struct sim_event *e);
bool sim_event_is_set(const struct sim_event *e);

/* ---- what went wrong ---- */

/* The first one counts. */
void sim_fail(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *sim_failure(const struct sim *s); /* NULL: none */
bool sim_is_tracing(const struct sim *s);
/* From here on nobody wants to know. */
void sim_trace_ends(struct sim *s);
/* A line of the trace, with the virtual time before it. `n` may be NULL. */
void sim_note(struct sim *s, const struct sim_node *n, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- machines ---- */

struct sim_node_params {
	const char *name; /* also resolves to `ip` */
	const char *ip;
	unsigned crypto_threads;
	/*
	 * The process has died, from outside or by its disk. Frees the engine without
	 * a word; everything that it asks of its world is ignored.
	 */
	void (*died)(void *user, enum sim_death how);
	void *user;
};
enum err sim_node_new(struct sim *s, struct sim_node **out, const struct sim_node_params *p) MUST_CHECK;
/* A new process starts; the machine is switched on if it was off. */
struct world *sim_node_start(struct sim_node *n);
struct world *sim_node_world(struct sim_node *n); /* NULL: no process */
/* Not from inside one of its own events. Calls died(). */
void sim_node_kill(struct sim_node *n, enum sim_death how);
/* The same at the end of the current event, from anywhere. */
void sim_node_kill_soon(struct sim_node *n, enum sim_death how);
bool sim_node_is_alive(const struct sim_node *n);
void sim_node_freeze(struct sim_node *n, bool frozen);
bool sim_node_is_frozen(const struct sim_node *n);
const char *sim_node_name(const struct sim_node *n);
const char *sim_node_ip(const struct sim_node *n);
const struct log *sim_node_log(const struct sim_node *n);
/* Around calls into a process from outside of an event. */
void sim_enter(struct sim_node *n);
void sim_leave(struct sim_node *n);
/* The wall clock jumps; the monotonic clock does not. */
void sim_node_jump(struct sim_node *n, int64_t ms);
size_t sim_node_streams(const struct sim_node *n); /* open now */

/* ---- its work lanes ---- */

/* Nothing of a stalled lane runs; what is running finishes. */
void sim_lane_stall(struct sim_node *n, enum work_lane lane, bool stalled);

bool sim_lane_is_stalled(const struct sim_node *n, enum work_lane lane);
/* What is asked for from now on takes so many times as long; 1: as usual. */
void sim_lane_slow(struct sim_node *n, enum work_lane lane, unsigned times);
bool sim_lane_is_slow(const struct sim_node *n, enum work_lane lane);

/* ---- its files ---- */

/* Dies at the n-th step of file operations from now (0: the next); -1: not. */
void sim_disk_dies_at(struct sim_node *n, int64_t steps, enum sim_death how);
void sim_disk_full(struct sim_node *n, bool full);
uint64_t sim_disk_steps(const struct sim_node *n); /* done so far */
/* Writes and reads from outside; the file is durable. */
enum err sim_file_put(struct sim_node *n, const char *path, const char *text) MUST_CHECK;
enum err sim_file_get(struct sim_node *n, const char *path, struct buf *out) MUST_CHECK;

/* ---- the network ---- */

struct sim_network {
	int64_t latency_us; /* one way */
	int64_t jitter_us;
	uint32_t loss_ppm;    /* of segments: each loss costs a retransmission time */
	uint32_t split_ppm;   /* of segments that arrive in two parts */
	uint32_t tls_bad_ppm; /* of handshake steps that fail, stall or are cut
				 (simulated TLS only) */
	bool names_down;      /* nothing resolves */
};
struct sim_network *sim_network(struct sim *s); /* may be changed at any time */
/* What leaves `from` does not reach `to`. */
void sim_cut(struct sim *s, struct sim_node *from, struct sim_node *to, bool cut);
void sim_heal(struct sim *s); /* all cuts */
/* Do packets get there and back? Both machines have power. */
bool sim_can_talk(const struct sim *s, const struct sim_node *a, const struct sim_node *b);
enum err sim_name(struct sim *s, const char *name, struct sim_node *n) MUST_CHECK;
/* Whose address or name that is; NULL: nobody's. */
struct sim_node *sim_node_at(const struct sim *s, const char *ip_or_name);
/* Connections that exist, half open ones too: for leaks. */
size_t sim_connections(const struct sim *s);
