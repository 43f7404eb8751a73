/*
 * TLS as a machine without a socket: bytes in, bytes out.
 *
 * One policy for all of muster (net/tls_policy.h; decisions 1-3, 9-11; docs/protocol.md "TLS"):
 *   - a server reads the hello first: with our ALPN it may do TLS 1.3, without it TLS 1.2 as the reference does;
 *   - a client offers TLS 1.3 only to a server it knows as muster, and then insists on the ALPN;
 *   - no renegotiation, no compression, no unframed bytes after the handshake;
 *   - session tickets only over TLS 1.3 with muster/1, only for who has shown a good certificate, and whoever comes
 * back with one is judged again by that certificate. No early data. Two kinds: net/tls_gnutls.c, and the simulation's,
 * whose handshake has the same round trips and costs.
 *
 * Credentials are immutable and reference-counted (the count is atomic: handshakes run on work threads); a new
 * certificate or CRL is a new object. One session is used by one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/tls_look.h"
#include "pki/cert.h"

#define ALPN_MUSTER "muster/1"
#define ALPN_JOIN "muster-join/1"

#define TLS_TICKET_KEY_SIZE 64
#define TLS_TICKET_KEYS 2
#define TLS_TICKET_MAX (16u * 1024) /* what a client keeps of a ticket, certificates included */

struct world;

/* What session tickets are sealed with, the same on all servers of a cluster. Secret: wipe it. */
struct tls_ticket_keys {
	unsigned n;                                         /* 0: no tickets */
	uint8_t keys[TLS_TICKET_KEYS][TLS_TICKET_KEY_SIZE]; /* newest first: it seals; all of them open */
};

/* PEM texts; all borrowed. In the simulation they are its own kind of certificate. */
struct tls_material {
	const char *chain; /* own certificate first; NULL: none (a client without certificate) */
	const char *key;
	const char *rsa_chain; /* a second pair for peers that offer no ECDSA; may be NULL */
	const char *rsa_key;
	const char *ca;                        /* trusted CA certificates; NULL: nothing is trusted */
	const char *crl;                       /* may be NULL */
	const struct tls_ticket_keys *tickets; /* server; copied; NULL: no tickets */
};

struct tls_creds_ops;
struct tls_creds {
	const struct tls_creds_ops *ops;
	int refs;                /* atomic */
	enum cert_role own_role; /* what our own certificate says of us; NONE also without one */
};

enum err tls_creds_new(struct world *w, struct tls_creds **out, const struct tls_material *m, struct why *why)
	MUST_CHECK;
struct tls_creds *tls_creds_ref(struct tls_creds *c);
struct tls_creds *tls_creds_unref(struct tls_creds *c); /* returns NULL */

enum tls_profile {
	TLS_SERVER,         /* decides by the hello */
	TLS_CLIENT_MUSTER,  /* known as muster: TLS 1.3, our ALPN, a certificate for a server; or nothing */
	TLS_CLIENT_UNKNOWN, /* TLS 1.2 with our ALPN offered; it may not be selected */
	TLS_CLIENT_COMPAT,  /* CloudStack: TLS 1.2, no ALPN, %COMPAT */
	TLS_CLIENT_JOIN,    /* TLS 1.3, ALPN muster-join/1, no client certificate; trust by fingerprint alone */
};

struct tls_params {
	enum tls_profile profile;
	struct tls_creds *creds; /* referenced by the session */
	bool require_cert;       /* server: a client certificate is required (strictness); otherwise requested. Never
				    asked for on muster-join/1 */
	const char *pin;         /* TLS_CLIENT_JOIN: SHA-256 fingerprint (hex) of the CA certificate that must be in the
				    server's chain and sign it */
	bool trust_all; /* client without any CA (as the reference): accept every server, remember it unverified */
	int64_t wall_s; /* the time to judge certificates by */
	int64_t expired_grace_s; /* server: a client certificate that expired at most this long ago passes (decision 8)
				  */
	struct bytes resume; /* TLS_CLIENT_MUSTER: what tls_ticket_take() gave, read by tls_new() only; empty: a full
				handshake. A server that doesn't take it makes a full one too */
};

/* What is known of the other side once the handshake is done. */
struct tls_peer {
	char alpn[32];    /* "" when none was agreed */
	char version[16]; /* "TLS1.3" */
	char cipher[64];
	bool resumed; /* with a ticket; everything below was judged now all the same */
	bool has_cert;
	bool chain_ok;     /* the certificate chains to a CA of the credentials (server side: may be false only when
			      the certificate isn't required, and then it says nothing of its own dates: they are the
			      caller's to judge; also true for a CA certificate itself) */
	bool is_ca_itself; /* the leaf is one of our trusted CA certificates: what a CloudStack server presents */
	char chain_problem[160]; /* a sentence when !chain_ok */
	struct cert_info cert;   /* valid when has_cert */
};

enum tls_outcome {
	TLS_WANT,   /* needs more bytes from the peer; what is in `out` must be sent */
	TLS_DONE,   /* complete; what is in `out` must still be sent raw */
	TLS_FAILED, /* with a sentence; `out` may hold nothing: the reference sends no alerts, we close */
};

struct tls_ops;
struct tls {
	const struct tls_ops *ops;
};

struct tls_creds_ops {
	/* Servers: is there enough in `in` for a step of the handshake? NULL: always (net/tls_look.h). */
	enum tls_look (*look)(struct bytes in, bool is_hello, struct why *why);
	enum err (*session_new)(struct tls_creds *c, struct tls **out, const struct tls_params *p, struct why *why);
	void (*free)(struct tls_creds *c);
};

struct tls_ops {
	enum tls_outcome (*handshake)(struct tls *t, struct buf *in, struct buf *out, enum err *error, struct why *why);
	enum err (*seal)(struct tls *t, const void *plain, size_t n, struct buf *out);
	enum err (*open)(struct tls *t, struct bytes records, struct buf *plain, struct why *why);
	const struct tls_peer *(*peer)(const struct tls *t);
	bool (*cert_in_question)(const struct tls *t); /* may be NULL: never */
	/* Both may be NULL: no tickets. */
	enum err (*ticket_put)(struct tls *t, struct buf *out);
	bool (*ticket_take)(struct tls *t, struct buf *out);
	void (*free)(struct tls *t);
};

enum err tls_new(struct tls **out, const struct tls_params *p, struct why *why) MUST_CHECK;
struct tls *tls_free(struct tls *t);
/* One step: consumes from `in`, appends to `out`. On TLS_FAILED *error says which kind (ERR_UNTRUSTED, ERR_EXPIRED,
 * ERR_TLS ...). */
enum tls_outcome tls_handshake(struct tls *t, struct buf *in, struct buf *out, enum err *error, struct why *why);
/*
 * Seals n (1 to FRAME_PLAIN_MAX) bytes as one record, appended to `out`; several only when the peer has asked for
 * smaller ones, or when a key has sealed so much that TLS 1.3 changes it: they belong into one packet all the same.
 */
enum err tls_seal(struct tls *t, const void *plain, size_t n, struct buf *out) MUST_CHECK;
/*
 * Opens all records of a packet; the plaintext is appended. A record that is not whole, an alert, a handshake message
 * (but TLS 1.3's KeyUpdate, and a client's tickets): ERR_TLS with a sentence.
 */
enum err tls_open(struct tls *t, struct bytes records, struct buf *plain, struct why *why) MUST_CHECK;
/*
 * Server, once, after TLS_DONE and before anything is sealed: the records of a session ticket, for one packet of their
 * own. Nothing is appended where the peer gets none.
 */
enum err tls_ticket_put(struct tls *t, struct buf *out) MUST_CHECK;
/* Client: has tls_open() met a ticket since the last call? Appended to `out`, for tls_params.resume. Secret: wipe it.
 */
bool tls_ticket_take(struct tls *t, struct buf *out);
/*
 * Client, when the other side ends it: may that be because of our certificate? Only when it was sent, and no alert says
 * otherwise. In TLS 1.3 that is the last step of our handshake: the verdict on it comes, or the close, when for us it
 * is complete.
 */
bool tls_cert_in_question(const struct tls *t);
/* Valid after TLS_DONE, as long as the session. */
const struct tls_peer *tls_peer(const struct tls *t);
