/*
 * Provisioning: a host's agent gets a new certificate over its link (agent-protocol 7.6).
 *
 *   provision   one host: a new key (SetupKeyStore), a certificate for it, recorded, then sent (SetupCertificate)
 *   renewal     all hosts of this server: who is due (ca/renewal.h), in which order, how many a second, what if not
 *
 * docs/certificates.md has the rules.
 */
#pragma once

#include "ca/renewal.h"
#include "server/internal.h"

/* ---- provision.c ---- */

struct provision;
/*
 * One host, one at a time, wherever it is connected. RENEWAL_ASKED: wherever it goes; for any other reason it must have
 * the same owner, by the same claim, when its certificate is recorded. ERR_BUSY while another one is under way. Any
 * error that it returns has a sentence and means that done() is not called; otherwise done() is, exactly once, on the
 * loop (never before this returns). ERR_OK there: the agent has said that it took it. `host_id` may be gone by then.
 * `done` may be NULL. Makes the event CA.CERTIFICATE.PROVISION, whichever way it ends.
 */
enum err provision_host(struct server *s, struct host *h, enum renewal_reason reason,
			void (*done)(void *user, int64_t host_id, enum err result, const char *sentence), void *user,
			struct why *why) MUST_CHECK;
bool provision_is_under_way(const struct host *h);
size_t provisions_under_way(const struct server *s);
bool provision_is_at_work(const struct server *s); /* on a work thread: the server can't go yet */
void provision_deinit(struct server *s);           /* what a stopped world still holds */

/* ---- renewal.c ---- */

/* What the rules ask about this host, filled in from what this server knows. */
struct renewal_question renewal_question_of(const struct server *s, const struct host *h);
/*
 * While the CA is changed: who has a certificate of another issuer, or other CA certificates, is due. NULL: nothing of
 * that kind is wanted (any more). Looks at all hosts at once.
 */
void renewal_want(struct server *s, const char *issuer, const char *trusted);
/* Looks at all hosts now, not only every ca.framework.background.task.delay. */
void renewal_look_at_all(struct server *s);
/* The agent of a host is sent this certificate with these CA certificates; it may be seen with it before it answers. */
void renewal_host_sent(struct host *h, const char *serial, const char *trusted);
/* Its row is another one, here or elsewhere: has its agent come with the certificate that we sent? */
void renewal_host_seen(struct server *s, struct host *h);
/* The agent of a host is ready here: is it due? */
void renewal_host_ready(struct server *s, struct host *h);
bool renewal_is_waiting(const struct host *h); /* for its turn, or to be tried again */
/* It was written down that its agent trusts these CA certificates (SHA-256). */
void renewal_host_trusts(struct server *s, int64_t host_id, const char *trusted);
/* Does a server have the CA's key, as far as is known here? */
enum issuer_state renewal_issuing_of(const struct server *s, const struct member_server *m);
/* The host leaves this server's memory. */
void renewal_forget(struct host *h);
void renewal_tick(struct server *s); /* every second */
void renewal_stop(struct server *s);
void renewal_deinit(struct server *s);
