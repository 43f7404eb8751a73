/*
 * Rotation: the root of the cluster's CA is changed in phases while everything runs (docs/certificates.md, "Rotation";
 * who may take which step is ca/rotation.h).
 *
 * The store has the CA that signs where it always had it, the other one beside it, and a row that says how far it is.
 * A CA that was prepared (ca_next.h) lies beside them until a rotation begins with it.
 * A step is one transaction. Every server reads what has changed, takes it over, makes its own certificate anew if the
 * CA that signs is another one, and says in the store what it trusts and shows by now.
 */
#pragma once

#include "ca/rotation.h"
#include "server/internal.h"

#define CA_SECRET_CERT "ca.certificate"
#define CA_SECRET_KEY "ca.sealed_key"
#define CA_SECRET_OTHER_CERT "ca.other.certificate"
#define CA_SECRET_OTHER_KEY "ca.other.sealed_key"
#define CA_SECRET_NEXT_CERT "ca.next.certificate"
#define CA_SECRET_NEXT_KEY "ca.next.sealed_key"
#define CA_SECRET_ROTATION "ca.rotation"

/* What the store says about the CAs. */
struct ca_records {
	struct ca_root_record issuing;
	char *other_cert; /* PEM; NULL: there is one CA */
	char *next_cert;  /* prepared (ca_next.h); NULL: none is */
	char *other_key;  /* sealed; NULL: it is not there */
	char *rotation;   /* NULL: there never was one */
};
void ca_records_deinit(struct ca_records *r);
/* ERR_NOT_FOUND: there is no CA yet. */
enum err ca_records_read(struct store_tx *tx, struct ca_records *out) MUST_CHECK;

/* The row's value. */
struct rotation_row {
	enum rotation_phase phase;
	int64_t since_ms;
	char by[64];
	bool prepared;    /* the new CA is one that was prepared: taken back, it is prepared again */
	bool compromised; /* the old CA's key was stolen */
};
/* Whatever can't be read counts as none. */
void rotation_row_read(struct rotation_row *out, const char *text);
char *rotation_row_text(const struct rotation_row *r); /* new text; NULL: out of memory */

/* Takes over what the store says; s->ca, s->ca_chain are others afterwards. With an error everything stays. */
enum err rotation_take(struct server *s, struct ca_records *take_r, struct why *why) MUST_CHECK;
/* It may have changed in the store. */
void rotation_reload(struct server *s);
/* Every second: says in the store what this server trusts and shows, if that has changed. */
void rotation_tick(struct server *s);
void rotation_deinit(struct server *s);
/* A handshake failed for this certificate (NULL: none): if it is a known host's and of a CA that is gone, that is said.
 */
void rotation_refused(struct session *x, const struct cert_info *shown);

/* Subject key id of the new CA while both are trusted; NULL: no rotation, or the old one is gone. */
const char *rotation_newer_ca(const struct server *s);
/* While both are trusted: was it begun because the old one's key was stolen? */
bool rotation_is_compromised(const struct server *s);

/*
 * In the transaction that records a certificate: does `signer`, which has signed it (NULL: an external CA), still sign?
 * Otherwise a step of a rotation came between, which has not waited for who gets this one: ERR_CONFLICT with a
 * sentence.
 */
enum err rotation_still_signs(struct store_tx *tx, const char *signer, struct why *why) MUST_CHECK;

/* What is wanted now; texts belong to the server. */
struct rotation_want rotation_want_of(const struct server *s);
/* Does it matter what this host has? */
bool rotation_concerns(const struct server *s, const struct host_row *row);
/* While the CA is changed: it matters, and has not followed the present phase. */
bool rotation_is_behind(const struct server *s, const struct host *h);
