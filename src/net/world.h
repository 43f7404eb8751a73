/*
 * The world as servers and agents see it: time, chance, timers, byte streams, names, files and work off the loop.
 *
 * One struct world per process (server or agent). There are two kinds: net/world_uv.c stands on libuv, threads and
 * the machine; sim/ has virtual time, a lossy network and disks that can stop at any write. Engines know only this
 * header, so what millions of simulated failures test is what runs.
 *
 * Threads: everything here is called, and calls back, on the world's loop thread, except work->run().
 * A callback is never called from inside the function that asked for it: results arrive in a later turn or after the
 * current callback has returned.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/mono.h"
#include "base/rng.h"
#include "base/str.h"

struct world;

/* ---- timers: embedded in whoever needs one ---- */

struct timer {
	struct heap_node node;
	void (*fire)(struct timer *t); /* may set the timer again, or free its owner */
};

/* ---- work: a function that runs off the loop, then reports back on it ---- */

enum work_lane {
	WORK_CRYPTO, /* a few threads, as many as cores: signatures, key generation, TLS handshakes */
	WORK_STORE,  /* one thread, in order */
	WORK_FILE,   /* one thread, in order: scripts, slow reading of facts */
	WORK_N_LANES
};

struct work {
	void (*run)(struct work *w);     /* another thread; touches only what hangs off `w` */
	void (*done)(struct work *w);    /* on the loop; may free `w`. Not called when the world is freed before */
	void (*dropped)(struct work *w); /* then this is called instead, only to free `w`; may be NULL */
	uint32_t cost_us;                /* what the simulation charges for it */
	/* private */
	struct list queued;
	struct world *world;
	void *impl;
};

/* ---- later: called at the end of the current turn of the loop ---- */

struct later {
	struct list queued; /* list_init() before first use */
	void (*call)(struct later *l);
};

/* ---- byte streams ---- */

#define IP_TEXT 64 /* an address with a scope id, and NUL */

struct stream;

struct stream_events {
	void (*connected)(void *user); /* dialled streams only */
	void (*data)(void *user, const uint8_t *p, size_t n);
	void (*drained)(void *user); /* nothing is queued any more, after something was */
	/* The stream has ended and is gone when this returns. ERR_CLOSED: the other side; others with a sentence. */
	void (*ended)(void *user, enum err why, const char *sentence);
};

struct stream {
	struct world *world;
	const struct stream_events *events;
	void *user;
	char peer_ip[IP_TEXT];
	uint16_t peer_port;
	char local_ip[IP_TEXT];
	uint16_t local_port;
};

/* Implementations put this first in theirs. */
struct listener {
	struct world *world;
};

struct listen_params {
	const char *ip; /* literal; "" or "::" for all */
	uint16_t port;  /* 0: any, see listener_port() */
	int backlog;
	/* A new stream, yours now: give it events with stream_take() before returning, or stream_close() it. */
	void (*accepted)(void *user, struct stream *s);
	void *user;
};

/* ---- names ---- */

struct resolve {
	const char *name;          /* borrowed until done */
	struct str_list addresses; /* out: literals, best first; owned by whoever embeds the struct */
	enum err result;
	void (*done)(struct resolve *r); /* not called after world_resolve_cancel() */
	void *impl;                      /* private */
};

/* ---- TLS material becomes credentials here, because the simulation has its own (net/tls.h) ---- */

struct tls_creds;
struct tls_material;

/* ---- the table ---- */

struct world_ops {
	struct mono (*now)(struct world *w); /* read once a turn */
	int64_t (*wall_ms)(struct world *w); /* Unix time */
	void (*entropy)(struct world *w, void *out, size_t n);
	void (*wake_at)(struct world *w, struct mono at); /* the earliest timer changed */
	void (*later)(struct world *w, struct later *l);
	enum err (*connect)(struct world *w, struct stream **out, const char *ip, uint16_t port, const char *source_ip,
			    const struct stream_events *events, void *user, struct why *why);
	enum err (*listen)(struct world *w, struct listener **out, const struct listen_params *p, struct why *why);
	void (*listener_pause)(struct listener *l, bool paused); /* leaves connections in the backlog */
	uint16_t (*listener_port)(const struct listener *l);
	struct listener *(*listener_free)(struct listener *l);
	enum err (*stream_write)(struct stream *s, const void *data, size_t n);
	size_t (*stream_queued)(const struct stream *s);
	void (*stream_pause)(struct stream *s, bool paused);
	void (*stream_close)(struct stream *s);
	enum err (*resolve)(struct world *w, struct resolve *r);
	void (*resolve_cancel)(struct world *w, struct resolve *r);
	void (*work)(struct world *w, enum work_lane lane, struct work *work);
	enum err (*creds_new)(struct world *w, struct tls_creds **out, const struct tls_material *m, struct why *why);
};

struct world {
	const struct world_ops *ops;
	const struct fs *fs;
	struct rng rng; /* seeded from entropy, or by the simulation */
	struct heap timers;
};

/* ---- what engines call ---- */

struct mono world_now(struct world *w);
int64_t world_wall_ms(struct world *w);
void world_entropy(struct world *w, void *out, size_t n);
/* A new random UUID (version 4) from entropy. */
void world_uuid(struct world *w, char out[UUID_TEXT]);

void timer_init(struct timer *t, void (*fire)(struct timer *t));
void timer_set(struct world *w, struct timer *t, struct mono at);
void timer_set_in(struct world *w, struct timer *t, int64_t ms);
void timer_stop(struct world *w, struct timer *t);
bool timer_is_set(const struct timer *t);
/* For implementations: fires what is due; returns when to wake next. */
struct mono world_run_timers(struct world *w, struct mono now);

void world_later(struct world *w, struct later *l);
void world_later_cancel(struct later *l);

/*
 * Dials an IP literal. `source_ip` NULL: any. The result comes through the events: connected() or ended().
 * There is no time-out here; whoever dials has a timer.
 */
enum err stream_connect(struct world *w, struct stream **out, const char *ip, uint16_t port, const char *source_ip,
			const struct stream_events *events, void *user, struct why *why) MUST_CHECK;
/* Gives an accepted stream its events. */
void stream_take(struct stream *s, const struct stream_events *events, void *user);
/* Copies what can't be sent at once. After an error ended() follows. */
enum err stream_write(struct stream *s, const void *data, size_t n) MUST_CHECK;
size_t stream_queued(const struct stream *s);
/* Stops and resumes data(); a stream starts resumed. */
void stream_pause(struct stream *s, bool paused);
/* Ends it from our side, now: no event follows, queued bytes are given to the system if it takes them. NULL is fine. */
void stream_close(struct stream *s);

enum err world_listen(struct world *w, struct listener **out, const struct listen_params *p, struct why *why)
	MUST_CHECK;
void listener_pause(struct listener *l, bool paused);
uint16_t listener_port(const struct listener *l);
struct listener *listener_free(struct listener *l);

/* Name to addresses, on threads of its own; ERR_NO_NAME in r->result when it doesn't resolve. */
enum err world_resolve(struct world *w, struct resolve *r) MUST_CHECK;
void world_resolve_cancel(struct world *w, struct resolve *r);

void world_work(struct world *w, enum work_lane lane, struct work *work);
