/*
 * A link: one TLS connection with the framing of the agent protocol. Dialled or accepted, used by servers towards
 * agents and peers, and by agents.
 *
 *   CONNECTING --TCP--> HANDSHAKE --TLS--> UP --> CLOSED      (every state can go to CLOSED)
 *
 * A link is never freed inside its own callback: after link_close() or the closed() event it lives until the end of
 * the turn, silent. What a peer can make us hold is bounded: the message being received by `message_limit`, what it
 * does not read by `queue_limit`; at most 25 frames of one link are handled in a turn.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "net/tls.h"
#include "net/world.h"
#include "wire/header.h"

#define LINK_MESSAGE_LIMIT_ANONYMOUS (256u * 1024) /* decision 33 */
#define LINK_MESSAGE_LIMIT (16u * 1024 * 1024)

enum link_state { LINK_CONNECTING, LINK_HANDSHAKE, LINK_UP, LINK_CLOSED };

struct link;

struct link_events {
	void (*connected)(struct link *l, void *user); /* TCP is there (dialled links); may be NULL */
	/* Accepted links, during the handshake: link_turn() has changed; may be NULL. */
	void (*turn)(struct link *l, void *user);
	void (*up)(struct link *l, void *user); /* TLS is complete, link_peer() is valid */
	/* A whole message; header and body are valid during the call only. */
	void (*message)(struct link *l, void *user, const struct header *h, const char *body, size_t n);
	void (*heartbeat)(struct link *l, void *user); /* one came; may be NULL */
	/* A session ticket has come, for tls_params.resume of a later link; valid during the call. May be NULL. */
	void (*ticket)(struct link *l, void *user, const void *data, size_t n);
	/* Ended by the peer or for a named reason; not called after link_close(). The pointer is dead after the return.
	 */
	void (*closed)(struct link *l, void *user, enum err why, const char *sentence);
};

struct link_params {
	struct world *world;
	const struct log *log;
	struct tls_params tls;
	int64_t connect_ms;   /* 0: 10000 */
	int64_t handshake_ms; /* from TCP to TLS complete; 0: 10000 */
	int64_t held_ms;      /* accepted links: once the hello is there it waits for link_admit(), at most so long
				 from TCP, and that time is not the peer's; 0: it doesn't wait */
	bool offload;         /* handshake steps go to WORK_CRYPTO */
	size_t message_limit; /* 0: LINK_MESSAGE_LIMIT_ANONYMOUS */
	size_t queue_limit;   /* bytes not yet taken by the peer; 0: 32 MiB */
	const struct link_events *events;
	void *user;
};

/*
 * Dials `host` (name or literal) and `port`: resolves, tries the addresses in order within connect_ms. Errors come
 * through closed(): ERR_NO_NAME, ERR_UNREACHABLE, ERR_TIMEOUT, ERR_TLS, ERR_UNTRUSTED ...
 */
enum err link_dial(struct link **out, const struct link_params *p, const char *host, uint16_t port,
		   const char *source_ip, struct why *why) MUST_CHECK;
/* Takes over an accepted stream. */
enum err link_accept(struct link **out, const struct link_params *p, struct stream *take_stream) MUST_CHECK;
/* A held link that has said hello may go on. Others: no effect. */
void link_admit(struct link *l);
/* NULL is fine. No event follows. Queued bytes are still handed to the system. Returns NULL. */
struct link *link_close(struct link *l);
/* As link_close(), once everything queued has left or after `ms`; the link takes no more messages and gives no events.
 */
struct link *link_close_after_flush(struct link *l, int64_t ms);

/* Packs, seals and queues one message; sets h->length and the compressed flag. ERR_FULL: the peer does not read;
 * closed() follows. */
enum err link_send(struct link *l, struct header *h, const char *body, size_t n) MUST_CHECK;
/* A message as it was received, to be passed on unchanged (forwarding between servers). */
enum err link_send_raw(struct link *l, const struct header *h, const char *body, size_t n) MUST_CHECK;

void link_set_events(struct link *l, const struct link_events *events, void *user);
void link_set_message_limit(struct link *l, size_t limit);
/*
 * Heartbeat (muster peers only, decision 26): when nothing was sent for `ms`, a message of the one byte 0xff is. 0:
 * off. A heartbeat received moves link_heard() and is an event of its own.
 */
void link_set_heartbeat(struct link *l, int64_t ms);

/* Whose turn it is in the handshake of an accepted link. */
struct link_turn {
	bool has_hello;    /* the client's first message is complete */
	bool is_held;      /* and waits for link_admit() */
	bool is_ours;      /* a step is to be done, or under way */
	struct mono since; /* of this turn */
};
struct link_turn link_turn(const struct link *l);

enum link_state link_state(const struct link *l);
const struct tls_peer *link_peer(const struct link *l); /* NULL before LINK_UP */
/* For closed(): the certificate that was shown in a handshake that failed for it; nothing in it was verified. NULL:
 * none. */
const struct cert_info *link_shown_cert(const struct link *l);
/* For closed() of a dialled link that the other side has ended: may it be because of the certificate that we showed? */
bool link_cert_in_question(const struct link *l);
bool link_is_muster(const struct link *l);   /* both ends agreed on muster/1 */
bool link_was_resumed(const struct link *l); /* TLS was, with a ticket */
const char *link_peer_ip(const struct link *l);
uint16_t link_peer_port(const struct link *l);
const char *link_local_ip(const struct link *l);
struct mono link_heard(const struct link *l); /* when bytes last came */
struct mono link_since(const struct link *l); /* when the state was entered */
size_t link_queued(const struct link *l);
int64_t link_handshake_took_ms(const struct link *l);
