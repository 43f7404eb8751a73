/*
 * Changing the root of a cluster's CA while it runs, in phases; pure rules, numbered as in docs/certificates.md
 * ("Rotation"). Who carries them out is server/rotation.c.
 *
 *          begin           next            next            finish
 *   none --------> trust --------> issue --------> drop --------> none
 *        <--------       <--------       <--------
 *          back            back            back
 *
 * There are two CAs from `trust` on: one signs, the other one doesn't (yet, or any more).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum rotation_phase {
	ROTATION_NONE,  /* one CA */
	ROTATION_TRUST, /* everybody comes to trust the new one too; the old one signs */
	ROTATION_ISSUE, /* the new one signs, everybody comes to have a certificate of it; both are trusted */
	ROTATION_DROP,  /* nobody trusts the old one any more; it is kept, so that this can be taken back */
	ROTATION_N
};
const char *rotation_phase_name(enum rotation_phase p);                  /* "trust" */
bool rotation_phase_from_text(const char *text, enum rotation_phase *p); /* false: none of them */
bool rotation_trusts_both(enum rotation_phase p);

enum rotation_step { ROTATION_NEXT, ROTATION_BACK };
/* Where a step leads; false: there is none. */
bool rotation_to(enum rotation_phase from, enum rotation_step step, enum rotation_phase *to);

/* One host or server, by what is known of it. Texts are borrowed; NULL: not known. */
struct rotation_party {
	const char *cert_issuer; /* authority key id of its certificate */
	const char *ca_known;    /* hash of the CA certificates that it trusts */
};
/* The two CAs, and what is trusted. */
struct rotation_want {
	enum rotation_phase phase;
	const char *issuing; /* subject key id of the CA that signs */
	const char *other;   /* of the one that doesn't; NULL: there is none */
	const char *trusted; /* hash of the CA certificates in force */
};
/* What a step would cut off or leave behind. */
enum rotation_lag {
	ROTATION_READY,
	ROTATION_TRUSTS_OLD, /* it has not confirmed the CA certificates in force */
	ROTATION_OLD_CERT,   /* its certificate is not of the CA that signs */
	ROTATION_NEW_CERT,   /* back only: its certificate is of the CA that would go */
};
const char *rotation_lag_text(enum rotation_lag l); /* "has not confirmed the new CA certificates" */
/* Does this one stand in the way of that step? */
enum rotation_lag rotation_lag_of(const struct rotation_want *w, enum rotation_step step,
				  const struct rotation_party *p);

/* May it be taken, with so many in the way? ERR_STATE: there is no such step; ERR_REFUSED: `force` would do it. */
enum err rotation_may(enum rotation_phase from, enum rotation_step step, size_t n_servers, size_t n_hosts, bool force,
		      struct why *why) MUST_CHECK;
