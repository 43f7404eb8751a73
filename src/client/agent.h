/*
 * The agent engine: keeps one agent connected to the right management server.
 *
 * It walks the list (core/choice), dials candidates beside each other, completes TLS and the startup with the first
 * that answers, keeps the list and interval it is given (agent_file), pings, answers commands - its own here, all
 * others through the program that embeds it - and returns to its preferred server when the interval says so. A
 * planned move between muster servers opens and completes the new link before the old one is closed.
 *
 *            dial candidates           TLS up, startup sent        Ready received
 *   SEEKING ----------------> DIALING ---------------------> STARTING -----------> UP
 *      ^                         |                               |                 | link lost
 *      +-------------------------+-------------------------------+-----------------+
 *   While UP a second link may be dialled and started (a move); it becomes the current one when it is Ready.
 *   STOPPED: rejected by the server, told to stay away (ShutdownCommand deleteHost), or agent_stop().
 *
 * One struct agent is one agent; everything it has hangs off it. All calls on the world's loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "client/agent_file.h"
#include "core/cert_trial.h"
#include "core/choice.h"
#include "core/failback.h"
#include "core/first_dial.h"
#include "net/tls.h"
#include "net/world.h"
#include "wire/message.h"

struct agent;

enum agent_state { AGENT_SEEKING, AGENT_DIALING, AGENT_STARTING, AGENT_UP, AGENT_STOPPED };
const char *agent_state_name(enum agent_state s);

/* A command for the program that embeds the agent. Answer exactly once, now or later; the agent may have moved to
 * another link meanwhile. */
struct agent_command {
	const struct element *element;
	int64_t seq; /* unique for the server that asks: */
	int64_t mgmt_id;
	/* private below */
	struct agent *agent;
	void *request;
	size_t index;
};

/*
 * What the program that embeds the engine provides. All on the loop thread.
 * command(), changed(), creds_judged() and stopped() are called at the end of a turn and may free the agent; startup()
 * and ping() may not.
 */
struct agent_host {
	/* Facts about the machine for a startup; identity, list, version and arch are filled in by the engine
	 * afterwards. */
	enum err (*startup)(void *user, struct msg_startup_routing *out);
	/* The VM states for a ping; hostId and the rest are the engine's. NULL: an empty report is never invented, a
	 * plain PingCommand is sent. */
	enum err (*ping)(void *user, struct msg_ping_routing *out);
	/* A command that the engine doesn't know how to answer. Not answering at all keeps one of the places of
	 * `commands_max`. */
	void (*command)(void *user, struct agent_command *c);
	/* State, server or list changed; for status displays and tests. May be NULL. */
	void (*changed)(void *user);
	/* The trial of a new certificate is over: it was used (`new_stays`), or the old one stays, and why. May be
	 * NULL. */
	void (*creds_judged)(void *user, bool new_stays, const char *sentence);
	/* The agent has stopped itself: rejected (details from the server), deleted, or it can't go on. */
	void (*stopped)(void *user, enum err why, const char *sentence);
};

struct agent_params {
	struct world *world;
	const struct log *log;
	struct agent_file *file; /* borrowed; the engine writes it */
	struct tls_creds
		*creds; /* referenced; NULL: no certificate and no CA (trusts every server, as the reference) */
	struct tls_creds *old_creds; /* referenced; of before `creds`, which no server has taken yet: they are on trial
					(core/cert_trial.h). NULL: they are not */
	const char *guid;            /* without the resource suffix */
	const char *resource_name;   /* "LibvirtComputingResource" */
	const char *name;            /* host name */
	const char *zone, *pod, *cluster;
	uint16_t port;               /* for entries without one; 8250 */
	const char *source_ip;       /* NULL: any */
	const char *version;         /* sent in the startup */
	int64_t ping_retries;        /* 5 */
	int64_t connect_ms;          /* per dial; 5000 */
	int64_t handshake_ms;        /* 10000; agent-protocol: 30 s */
	int64_t startup_ms;          /* to a StartupAnswer; 30000 */
	int64_t next_dial_ms;        /* 250 (decision 27) */
	unsigned max_dials;          /* 3 */
	int64_t fallback_ms;         /* nothing of the list answers: 30000 (decision 23) */
	int64_t answer_hold_ms;      /* how long finished answers wait for a link; 300000 */
	size_t commands_max;         /* in progress at one time; 256 */
	struct backoff_rule backoff; /* 500 .. 30000 ms */
	int64_t ping_deadline_ms;    /* servers without heartbeats: a ping has to be answered within; 10000, 0: never */
	struct failback_rule failback;     /* when it may go home (docs/failover.md) */
	struct first_dial_rule first_dial; /* how long it waits after losing a server with many agents */
	const struct agent_host *host;
	void *host_user;
};

/* Fills in the defaults named above; the caller sets the rest. */
void agent_params_init(struct agent_params *p);
/* Copies what it needs. ERR_INVALID with a sentence: no guid, no usable server in the list, ... */
enum err agent_new(struct agent **out, const struct agent_params *p, struct why *why) MUST_CHECK;
/* Begins to seek. */
enum err agent_start(struct agent *a) MUST_CHECK;
/* Tells the server (ShutdownCommand sig.kill, seq -1), closes, no more callbacks but `gone` when all is sent or after 1
 * s. */
void agent_stop(struct agent *a, void (*gone)(void *user), void *user);
/*
 * Frees at once, sending nothing: what a crash looks like. NULL is fine. Commands that were not answered yet are gone
 * with it: they must not be answered any more.
 */
struct agent *agent_free(struct agent *a);

/*
 * New certificate, for good: the next links use it; a move onto a new link (same server allowed) begins unless
 * `lazily`. A trial is over, and nobody is told.
 */
enum err agent_set_creds(struct agent *a, struct tls_creds *creds, bool lazily) MUST_CHECK;
/*
 * New certificate on trial: the same, but the one in use is gone back to if servers don't take it; creds_judged()
 * tells. Another one while a trial is on takes the new one's place.
 */
enum err agent_try_creds(struct agent *a, struct tls_creds *creds) MUST_CHECK;
/* Looks now whether it is on its preferred server, as triggerHostLb does. */
void agent_check_preferred(struct agent *a);
/* Sends a ping now (out of band). */
void agent_ping_now(struct agent *a);

/* Answers a command: takes the fields of `b` (one element). The link it came on, or the current one, carries it. */
void agent_answer(struct agent_command *c, struct batch *take_b);
/* Plain Answer with result and details. */
void agent_answer_plain(struct agent_command *c, bool result, const char *details);
/* UnsupportedAnswer in the reference's words: the program doesn't know this command. */
void agent_answer_unsupported(struct agent_command *c);

/* ---- looking at it ---- */

struct agent_view {
	enum agent_state state;
	int64_t host_id;       /* -1: not known yet */
	const char *host_uuid; /* may be NULL */
	const char *connected; /* the entry of the list we are on, NULL: none */
	const char *connected_ip;
	const char *preferred; /* first of the list, NULL: none */
	const struct str_list *list;
	const char *algorithm;
	const struct str_list *avoid;
	int64_t interval_s; /* in force */
	bool interval_is_own;
	bool on_fallback;       /* using lastgood or bootstrap */
	const char *purpose;    /* what the link in use was made for: "seek", "preferred" ...; NULL: there is none */
	bool moving;            /* a second link is under way */
	bool fetching_ticket;   /* and one of another kind: for a session ticket alone */
	bool is_muster;         /* the server speaks muster/1 */
	size_t commands;        /* in progress */
	uint64_t links;         /* started so far: the link number */
	struct mono next_check; /* MONO_NEVER: none planned */
	struct mono since;      /* of the state */
	/* Whether it may go home: the last look's verdict, and what that was made of. */
	enum failback_verdict failback;
	/* The same for each entry of the list that stands before the one in use, up to the first that it goes to or
	 * waits for; gates[0] is `failback`. */
	const enum failback_verdict *gates;
	size_t n_gates;
	const char *better; /* that one, while the preferred server is passed over; NULL: none */
	struct mono better_again;
	struct failback_word word;  /* what its server says of the preferred one */
	struct mono damped_until;   /* the flap damper; {0}: never */
	const char *told;           /* who wants it to go home: "a new list", "the servers"; NULL: itself */
	const char *move;           /* what another link is wanted for, beside the one in use; NULL: nothing */
	const char *move_to;        /* that link's entry, once it has completed TLS; NULL: not yet */
	bool looks_once;            /* only after each new list: shuffle */
	int64_t uptime_needed_ms;   /* by then the preferred server is old enough */
	struct mono failback_again; /* when the verdict may change by itself; MONO_NEVER: it can't */
	unsigned heartbeats;        /* seen on the link that proves itself */
	unsigned heartbeats_needed;
	/* The first dial after a loss. */
	struct mono first_dial_at;  /* {0}: nothing is waited for */
	int64_t first_dial_wait_ms; /* drawn */
	int64_t first_dial_most_ms; /* of at most */
	uint64_t first_dial_agents; /* because its server had so many */
	uint64_t server_agents;     /* on the server it is on, as that says; 0: not told */
	int64_t heartbeat_ms;       /* of the link in use; 0: none */
	int64_t boot_number;        /* 0: none */
	enum cert_trial_use trial;  /* which certificate's turn it is while the new one is on trial */
	const char *trial_said;     /* what was last said against it (or the old one); NULL: nothing */
};
void agent_look(const struct agent *a, struct agent_view *out); /* pointers are valid until the next turn */
/* The verdict for every candidate right now; `candidates` belongs to the agent. */
size_t agent_explain(struct agent *a, const struct candidate **candidates);
