/*
 * What the files of the real world share (world_uv.c, stream_uv.c, listener_uv.c, work_uv.c, resolve_uv.c).
 */
#pragma once

#include <sys/socket.h>
#include <uv.h>

#include "net/world_uv.h"

/* Names are resolved on a lane of their own: a slow name server must not hold up anything else. */
enum { LANE_NAMES = WORK_N_LANES, N_LANES };

#define READ_BUFFER (64u * 1024)

struct lane;

struct uv_world {
	struct world world;
	uv_loop_t loop;
	uv_timer_t timer;
	uv_idle_t idle; /* active while `laters` is not empty, so that the loop doesn't wait */
	uv_check_t check;
	uv_async_t async; /* work has finished */
	struct list laters;
	struct list signals;
	struct mono now;
	uint64_t now_read_ms; /* uv_now() when `now` was read */
	bool firing;          /* timers are being fired; the next wake-up is set afterwards */
	struct lane *lanes[N_LANES];
	uv_mutex_t finished_lock;
	struct list finished; /* struct work; under the lock */
	size_t n_resolving;
	struct tcp_timers tcp;
	/* Every stream reads into this one, so that an idle stream holds no buffer. Valid during data() only. */
	char read_buffer[READ_BUFFER];
};

static inline struct uv_world *uv_world_of(struct world *w)
{
	return container_of(w, struct uv_world, world);
}

/* An errno as libuv gives it (negative): which error, and the sentence for it. */
enum err uv_err(int status, const char **sentence);

/* ---- addresses (stream_uv.c) ---- */

/* A literal to a socket address; false when it is none. */
bool address_parse(struct sockaddr_storage *out, const char *ip, uint16_t port);
/* The text; an IPv4 address that came over an IPv6 socket is written as IPv4. */
void address_text(const struct sockaddr_storage *a, char ip[IP_TEXT], uint16_t *port);
socklen_t address_size(const struct sockaddr_storage *a);

/* ---- the operations ---- */

enum err uv_stream_connect(struct world *w, struct stream **out, const char *ip, uint16_t port, const char *source_ip,
			   const struct stream_events *events, void *user, struct why *why);
/* A connected socket, owned from here on, also when this fails. */
enum err uv_stream_from_socket(struct uv_world *w, struct stream **out, int take_fd,
			       const struct sockaddr_storage *peer);
/* What was accepted has been given to its new owner: reads from now on, or is closed if nobody took it. */
void uv_stream_accepted(struct stream *s);
enum err uv_stream_write(struct stream *s, const void *data, size_t n);
size_t uv_stream_queued(const struct stream *s);
void uv_stream_pause(struct stream *s, bool paused);
void uv_stream_close(struct stream *s);
/* For world_uv_free(): frees what belongs to a handle that uv_walk() found. */
bool uv_stream_owns(const uv_handle_t *h);
void uv_stream_abandon(uv_handle_t *h);

enum err uv_listener_new(struct world *w, struct listener **out, const struct listen_params *p, struct why *why);
void uv_listener_pause(struct listener *l, bool paused);
uint16_t uv_listener_port(const struct listener *l);
struct listener *uv_listener_free(struct listener *l);
bool uv_listener_owns(const uv_handle_t *h);
void uv_listener_abandon(uv_handle_t *h);

enum err uv_resolve(struct world *w, struct resolve *r);
void uv_resolve_cancel(struct world *w, struct resolve *r);

/* ---- lanes (work_uv.c) ---- */

/* `join`: lane_stop() waits for what is running. Otherwise its threads are left to finish alone. */
struct lane *lane_new(struct uv_world *w, unsigned max_threads, bool join, bool nice);
/* Stops: takes no more, drops what is queued, and never reports again. NULL is fine. */
void lane_stop(struct lane *l);
/* ERR_NOMEM when not even one thread could be started. */
enum err lane_put(struct lane *l, struct work *work) MUST_CHECK;
void uv_work(struct world *w, enum work_lane lane, struct work *work);
/* To be reported on the loop; any thread. */
void work_finished(struct uv_world *w, struct work *work);
/* On the loop: calls done() of what has finished. */
void work_report(struct uv_world *w);
void work_drop(struct work *work);
