/*
 * A small world for engine tests: virtual time, streams in memory, a TLS that only exchanges greetings, files that can
 * be cut off at any operation, and scripted management servers. No sockets, no sleeps; the same seed does the same.
 *
 * Nothing happens but inside fake_world_run() and fake_world_settle().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fs.h"
#include "base/str.h"
#include "net/link.h"
#include "net/world.h"
#include "pki/cert.h"
#include "wire/header.h"
#include "wire/message.h"

#define FAKE_PORT 8250
#define FAKE_LATENCY_MS 1

struct fake_world;

struct fake_world *fake_world_new(uint64_t seed);
struct fake_world *fake_world_free(struct fake_world *f); /* checks that nothing is left of what others made */
struct world *fake_world_of(struct fake_world *f);
/* Lets that much time pass. */
void fake_world_run(struct fake_world *f, int64_t ms);
/* Does what is due now, without time passing. */
void fake_world_settle(struct fake_world *f);
/* Does one thing of this turn: for looking at what is half done. false: the turn is over. */
bool fake_world_step(struct fake_world *f);
/* The lanes stop, as at the end of a process: what was done there is reported to nobody. */
void fake_works_cut(struct fake_world *f);
/* The store's lane reports nothing until it is let go again: a store that hangs, of every process here. */
void fake_works_hold(struct fake_world *f, bool is_held);
/* Jumps without anything happening on the way: a suspended process. */
void fake_world_sleep(struct fake_world *f, int64_t ms);
int64_t fake_world_ms(const struct fake_world *f); /* since it was made */
/* The time of day jumps, as when somebody sets the clock. */
void fake_wall_jump(struct fake_world *f, int64_t ms);

/* Where a name leads to; NULL: nowhere. Names that were never told don't resolve either. */
void fake_name(struct fake_world *f, const char *name, const char *ip);
/* Nothing gets to or from that address; what was sent meanwhile arrives when it is healed. */
void fake_cut(struct fake_world *f, const char *ip, bool is_cut);
/* Dials so far, in order: "10.0.0.1:8250@120" (address and when, in ms). */
const struct str_list *fake_dials(const struct fake_world *f);
void fake_dials_clear(struct fake_world *f);

/* ---- files ---- */

void fake_file_put(struct fake_world *f, const char *path, const char *text);
const char *fake_file_get(struct fake_world *f, const char *path); /* NULL: there is none */
size_t fake_file_writes(const struct fake_world *f);               /* files replaced so far */
/* From now on the n-th operation that changes something, and all after it, fail; writing stops half-way. */
void fake_fs_kill_at(struct fake_world *f, size_t n);
bool fake_fs_revive(struct fake_world *f); /* was it killed? */

/* ---- servers ---- */

enum fake_kind {
	FAKE_MUSTER,     /* answers with our ALPN, has a server's certificate */
	FAKE_CLOUDSTACK, /* no ALPN, shows the CA itself, which only the compatible profile can use */
	FAKE_AGENT,      /* our ALPN, but an agent's certificate */
	FAKE_MUTE,       /* takes TCP and never says a word */
	FAKE_STRANGER,   /* a certificate of another CA */
	FAKE_CLOSES,     /* at the hello, before anybody has shown a certificate: overrun, stopping, a proxy */
};

/* What a server does with session tickets. */
enum fake_tickets {
	FAKE_NO_TICKETS,
	FAKE_GIVES_TICKETS,  /* and takes them */
	FAKE_BREAKS_TICKETS, /* closes on whoever offers one */
	FAKE_HANGS_TICKETS,  /* says nothing more to whoever offers one */
};

/* How a server turns the client certificate away that it doesn't like. */
enum fake_dislike {
	FAKE_REFUSES, /* by name, in its answer to the startup */
	FAKE_BREAKS,  /* where it is judged: in TLS 1.2 inside the handshake, in 1.3 when the client's is complete */
	FAKE_DROPS,   /* when the startup has come */
};

/* A message as it came. */
struct fake_message {
	struct header header;
	struct batch batch;
	char *text; /* the body */
	int64_t at_ms;
	unsigned link; /* number of the link at that server, from 1 */
};

struct fake_server {
	struct fake_world *world;
	const char *ip;
	enum fake_kind kind;
	/* What it does by itself: */
	bool answers_startup;
	bool sends_ready; /* after its StartupAnswer */
	bool answers_pings;
	int64_t ping_s;
	int64_t heartbeat_ms; /* 0: none; in Ready, and sent by itself */
	bool is_frozen;       /* in Ready */
	int64_t proving_ms;   /* between heartbeats before Ready; 0: none */
	int64_t retry_ms;     /* > 0: startups are asked to come back after that; muster servers */
	const char *sends_to; /* with retry_ms: the server to try meanwhile; NULL: none */
	const char *says;     /* with retry_ms or refuses: why */
	bool refuses;         /* startups, for good */
	const char *dislikes; /* common name of a client certificate; NULL: none */
	enum fake_dislike how;
	int64_t host_id;
	struct str_list list; /* in Ready; empty: none */
	const char *algorithm;
	int64_t interval;      /* -1: absent */
	struct str_list avoid; /* in Ready and PingAnswer */
	enum fake_tickets tickets;
	/* What it saw: */
	struct fake_message *messages; /* owned */
	size_t n_messages;
	unsigned n_links; /* accepted so far, TLS complete */
	unsigned n_open;
	unsigned n_offered, n_resumed; /* handshakes with a ticket */
	struct link *link;             /* the newest that is open; NULL: none */
	/* private */
	struct listener *listener;
	struct list links;
	struct list mutes;
	size_t room; /* for messages */
	int64_t seq;
	int64_t mgmt_id;
};

struct fake_server *fake_server_new(struct fake_world *f, const char *ip, enum fake_kind kind);
struct fake_server *fake_server_free(struct fake_server *s);
void fake_server_stop(struct fake_server *s);    /* closes its links and its port: a kill */
void fake_server_start(struct fake_server *s);   /* back again */
void fake_server_hang_up(struct fake_server *s); /* closes its links only */
/* Sends a request of one element, whose fields are taken; returns its sequence number. */
int64_t fake_server_ask(struct fake_server *s, enum msg_type type, void (*fill)(void *fields, void *user), void *user);
/* Sends a request as text. */
int64_t fake_server_ask_text(struct fake_server *s, uint16_t flags, const char *body);
/* Sends any message: for golden vectors and for the same request twice. */
void fake_server_send(struct fake_server *s, const struct header *h, const char *body);
/* The n-th (from 0) message of that class, NULL: not so many came. */
const struct fake_message *fake_server_got(const struct fake_server *s, enum msg_type type, size_t n);
size_t fake_server_count(const struct fake_server *s, enum msg_type type);
/* The answer to a request, NULL: none came. */
const struct fake_message *fake_server_answer(const struct fake_server *s, int64_t seq);

/* ---- credentials ---- */

/* What a client of the fake TLS checks servers with. */
struct tls_creds *fake_creds(struct fake_world *f);
/* Shows that certificate, as one of our CA. What is made of PEM shows what stands there. */
struct tls_creds *fake_creds_with(struct fake_world *f, const struct cert_info *info);
unsigned fake_creds_n_ticket_keys(const struct tls_creds *creds); /* that they were made with */
