/*
 * A management server: one struct, one loop, one store connection on the store lane. Several live in one process in
 * the simulation. What is expensive runs off the loop: TLS handshakes, signatures (WORK_CRYPTO) and SQL (WORK_STORE).
 *
 * All calls on the world's loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "base/log.h"
#include "net/world.h"
#include "store/store.h"

struct server;
struct process_facts;

struct server_params {
	struct world *world;
	const struct log *log;
	struct store *store;        /* borrowed; touched on WORK_STORE only, until server_free() */
	const char *name;           /* host name of this server */
	const char *dir;            /* server.key, server.crt, server.ca.crt, server.id live here (through world->fs) */
	const char *listen_ip;      /* of the agent port */
	uint16_t port;              /* 8250; 0: any, see server_port() */
	const char *address;        /* advertised: what goes into lists when `host` is unset; NULL: listen_ip */
	const uint8_t *cluster_key; /* 32 bytes; NULL: this server can't issue */
	/* Reads the key's file once more, because the key was changed; called off the loop. NULL: it can't be. */
	enum err (*read_cluster_key)(void *user, uint8_t out[32], struct why *why);
	/* When ca.framework.provider.plugin is exec; NULL: not set (ca/exec.h). */
	const char *exec_command, *exec_trusted; /* the command line; CA certificates, PEM */
	int64_t exec_limit_ms;
	bool with_rsa; /* have a certificate with an RSA key as well */
	const char *version;
	size_t max_links;            /* total, 0: 18000 */
	size_t max_anonymous_per_ip; /* without a startup, 0: 256 */
	size_t max_anonymous;        /* of those that have shown no certificate either, 0: 4096 */
	/* The simulation's hand on the store: called on the store lane before each group; an error fails the group. */
	enum err (*store_gate)(void *user, struct why *why);
	/* Called on failures that make going on wrong: another run took our row (ERR_CONFLICT). */
	void (*fatal)(void *user, enum err why, const char *sentence);
	/* For metrics. NULL: nothing is known. */
	void (*process)(void *user, struct process_facts *out);
	/* triggerShutdown: the process is to stop as with SIGTERM (server_leave()). NULL: nothing happens. */
	void (*stop_asked)(void *user);
	void *user;
};

void server_params_init(struct server_params *p);
enum err server_new(struct server **out, const struct server_params *p, struct why *why) MUST_CHECK;
/* Loads or makes the CA and the own certificate, registers, reads everything, listens. started() says how it went. */
enum err server_start(struct server *s, void (*started)(void *user, enum err result, const char *sentence), void *user)
	MUST_CHECK;
/* Stops listening, closes all links, writes its state, then gone(). Hosts stay its own until another server has them.
 */
void server_stop(struct server *s, void (*gone)(void *user), void *user);
/*
 * The same, but agents are asked first to move to other servers: make before break. Stops when all are up there, at the
 * latest after that time, at once where no other server takes agents, and at once when called again.
 */
void server_leave(struct server *s, int64_t within_ms, void (*gone)(void *user), void *user);
bool server_is_leaving(const struct server *s); /* agents are still waited for */
/* Frees at once: what a crash looks like. NULL is fine. */
struct server *server_free(struct server *s);
uint16_t server_port(const struct server *s);
int64_t server_msid(const struct server *s);

/* ---- the API, without HTTP ---- */

struct api_caller {
	bool is_local;       /* root over the local socket: everything is allowed, no signature */
	const char *address; /* for logs and limits */
};
struct api_param {
	const char *name, *value;
};
/*
 * One request. `params` are decoded, in the order received, query and body already merged. done() gets the HTTP
 * status and the whole body, a JSON object with one key (borrowed); it may be called before this returns.
 */
void server_api(struct server *s, const struct api_caller *caller, const struct api_param *params, size_t n,
		void (*done)(void *user, int status, json_t *body), void *user);
/* Nobody waits for the answers of this user's requests any more: done() is not called. What they began goes on. */
void server_api_forget(struct server *s, void *user);

/* ---- the signed revocation list ---- */

struct server_crl_part {
	const char *ca; /* SHA-256 of the certificate of the CA that signed it */
	bool signs;     /* that CA signs certificates, too; the other one is only trusted */
	struct bytes der;
	int64_t this_s, next_s, entries;
	uint64_t number;
};
struct server_crl {
	const char *pem; /* all of them; NULL: there is none; all of this belongs to the server, until the next turn */
	const char *why_none; /* a sentence without a full stop, when there is none */
	uint64_t version;     /* grows with each one */
	/* One of each CA that is trusted: two while a rotation is under way. */
	struct server_crl_part parts[2];
	size_t n_parts;
};
/* false: there is none. */
bool server_crl(const struct server *s, struct server_crl *out);
/* Why one that should be there isn't, or isn't renewed: a sentence without a full stop; NULL: all is well. */
const char *server_crl_problem(const struct server *s);

/* ---- monitoring ---- */

/* What only the process itself knows; 0: not known. */
struct process_facts {
	int64_t started_ms; /* Unix time */
	int64_t cpu_us;
	int64_t memory_bytes;
};

/* Prometheus' text, the same for all who ask within a second. */
struct server_metrics {
	const char *text; /* belongs to the server, until the next turn; NULL: out of memory */
	size_t n;
	uint64_t version; /* grows with each text; never 0 */
};
/* done() may be called before this returns. */
void server_metrics(struct server *s, void (*done)(void *user, const struct server_metrics *m), void *user);
/* Nobody waits for this user's answer any more. */
void server_metrics_forget(struct server *s, void *user);

struct server_health {
	bool serves;
	/* Lines. It serves: "ok", then whatever else there is to be said. It doesn't: the reasons. */
	char text[1024];
};
void server_health(struct server *s, struct server_health *out);

/* ---- looking at it, for tests and the simulation ---- */

struct server_view {
	size_t links;     /* open, of any kind */
	size_t anonymous; /* without identity yet */
	size_t sessions;  /* attached agents */
	size_t up;        /* of those, Up */
	size_t suspect;   /* of those, silent for 2.5 heartbeats */
	size_t outdated;  /* of those, with a list that isn't the expected one */
	size_t peers_up;
	int64_t config_version;
	uint64_t refused; /* connections and startups refused since the start */
	bool accepting;   /* takes agents */
	int64_t heartbeat_ms;
	/* Who comes in (docs/failover.md, "Admission"): */
	size_t strangers;          /* of the anonymous, those that have shown no certificate */
	size_t handshakes;         /* in progress ... */
	size_t handshakes_allowed; /* ... at most now */
	size_t handshakes_waiting; /* for their turn */
	size_t starting;           /* startups whose claim is under way */
	int64_t startup_wait_ms;   /* what the next one would wait */
	uint64_t put_off;          /* since the start: agents that were asked to come back later */
	uint64_t made_room;        /* idle connections dropped for newcomers */
	uint64_t no_room;          /* newcomers turned away at a limit */
	uint64_t cuts;             /* how often the loop was late and fewer handshakes were allowed */
	int64_t delay_us;          /* the longest delay of the loop while a handshake was in progress */
	/* TLS: */
	uint64_t full_handshakes, resumed; /* of agents since the start; full ones, and those with a ticket */
	bool gives_tickets;
};
void server_look(const struct server *s, struct server_view *out);
