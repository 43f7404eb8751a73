/*
 * What the files of the simulated world share. Nothing outside src/sim includes
 * it.
 *
 *   sim.c       the heap of events, processes, timers, lanes
 *   sim_net.c   byte streams, listeners, names
 *   sim_tls.c   a handshake with the right round trips, and certificates in one
 * line sim_fs.c    files that a crash may leave in any state that a disk may
 */
#pragma once

#include "base/map.h"
#include "base/mem.h"
#include "net/tls.h"
#include "sim/sim.h"

/* Kinds of events, for the hash. */
enum event_kind {
	EV_TIMERS = 1,
	EV_TURN,
	EV_WORK_RUN,
	EV_WORK_DONE,
	EV_SYN,
	EV_ACCEPT,
	EV_SEGMENT,
	EV_READABLE,
	EV_DRAINED,
	EV_DEAD_PEER,
	EV_RESOLVE,
	EV_DEATH,
	EV_OUTSIDE,
};

struct lane {
	struct list queue; /* struct job */
	unsigned running;
	unsigned max;
	bool stalled;
	unsigned slowness; /* everything takes so many times as long; 0: once */
};

struct disk;

struct sim_node {
	struct world world; /* of the current process */
	struct sim *sim;
	struct list in_nodes;
	struct sim_node_params p; /* texts owned */
	char name[64];
	char ip[IP_TEXT];
	uint32_t id;    /* 1, 2, ... */
	uint32_t boots; /* of the machine: connections of an earlier one are unknown */
	bool powered;
	bool alive; /* a process is there, and not doomed */
	bool frozen;
	bool doomed;   /* dies at the end of the current event */
	bool sweeping; /* dead, its engine is being freed: everything is ignored */
	enum sim_death doom;
	int64_t wall_offset_ms;
	struct log log;
	uint16_t next_port;

	struct list laters;
	struct sim_event wake; /* timers */
	struct sim_event turn; /* laters that were asked for outside of an event, or by laters */
	struct sim_event death;
	bool firing; /* timers */
	bool inside;
	struct list put_off; /* events, while frozen */

	struct lane lanes[WORK_N_LANES];
	struct list jobs;      /* of all lanes, struct job */
	struct list streams;   /* struct sim_stream */
	struct list listeners; /* struct sim_listener */
	struct list resolves;  /* struct resolving */
	size_t n_streams;

	struct fs fs;
	struct disk *disk; /* owned */
};

struct sim {
	struct sim_params p;
	struct rng rng;
	int64_t now_us;
	struct heap events;
	uint64_t n_events;
	uint64_t hash;
	char *failure; /* owned */
	int64_t failed_at_us;
	struct list nodes;
	uint32_t n_nodes;
	struct sim_node *current; /* whose event this is */

	/* sim_net.c */
	struct sim_network network;
	struct map by_ip;   /* text -> struct sim_node */
	struct map by_name; /* text -> struct sim_node */
	struct map cuts;    /* from << 32 | to -> something */
	struct list conns;  /* struct conn */
	size_t n_conns;

	/* sim_tls.c */
	struct texts *texts; /* owned; certificates, CAs and what is known of them */
};

static inline struct sim_node *node_of(struct world *w)
{
	return container_of(w, struct sim_node, world);
}

void sim_hash_number(struct sim *s, uint64_t n);
bool sim_draw(struct sim *s, uint32_t ppm);
/* Something the process did now has no effect any more: it is dead or about to
 * die. */
static inline bool node_is_mute(const struct sim_node *n)
{
	return n->sweeping || n->doomed || !n->alive;
}

/* ---- sim_net.c ---- */

void net_init(struct sim *s);
void net_deinit(struct sim *s);
/* The program is gone; its streams become shells that the engine may still
 * close. */
void net_process_died(struct sim_node *n, enum sim_death how);
void net_machine_started(struct sim_node *n);
/* What the engine did not close is freed. */
void net_process_swept(struct sim_node *n);

enum err net_connect(struct world *w, struct stream **out, const char *ip, uint16_t port, const char *source_ip,
		     const struct stream_events *events, void *user, struct why *why);
enum err net_listen(struct world *w, struct listener **out, const struct listen_params *p, struct why *why);
void net_listener_pause(struct listener *l, bool paused);
uint16_t net_listener_port(const struct listener *l);
struct listener *net_listener_free(struct listener *l);
enum err net_stream_write(struct stream *s, const void *data, size_t n);
size_t net_stream_queued(const struct stream *s);
void net_stream_pause(struct stream *s, bool paused);
void net_stream_close(struct stream *s);
enum err net_resolve(struct world *w, struct resolve *r);
void net_resolve_cancel(struct world *w, struct resolve *r);

/* ---- sim_tls.c ---- */

enum err sim_creds_new(struct world *w, struct tls_creds **out, const struct tls_material *m, struct why *why);
struct texts *texts_new(void);
struct texts *texts_free(struct texts *t);

/* ---- sim_fs.c ---- */

extern const struct fs sim_fs; /* `user` is the node, set by a copy */
struct disk *disk_new(void);
struct disk *disk_free(struct disk *d);
void disk_power_lost(struct sim_node *n);
