/*
 * When is a certificate due to be replaced? Pure rules over what is known of a host's certificate; numbered as in
 * docs/certificates.md ("Renewal"). Who carries it out is server/provision.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The first that holds, in this order; RENEWAL_ASKED is never found, somebody has to ask. */
enum renewal_reason {
	RENEWAL_NONE,
	RENEWAL_EXPIRED,   /* it has expired, and its host was let in nevertheless: before all others */
	RENEWAL_ISSUER,    /* the CA that issues now is another one than the one that issued it */
	RENEWAL_TRUST,     /* its agent has not confirmed the CA certificates in force */
	RENEWAL_NEAR_END,  /* it expires within the alert period */
	RENEWAL_HALF_LIFE, /* half of its life is over */
	RENEWAL_ASKED,     /* an operator wants it */
	RENEWAL_N
};
const char *renewal_reason_name(enum renewal_reason r); /* for people: "half of its life is over" */

/* Texts are borrowed. */
struct renewal_question {
	bool is_muster;          /* its agent takes a new certificate without losing its link */
	bool automatic;          /* ca.framework.cert.automatic.renewal; ISSUER and TRUST don't ask for it */
	const char *guid;        /* spreads a fleet that joined together */
	int64_t not_before_s;    /* of the certificate on its link; 0: not known */
	int64_t not_after_s;     /* 0: it has shown none, and is never due */
	const char *cert_issuer; /* its authority key identifier, hex; NULL or "": not known */
	const char *ca_known;    /* hash of the CA certificates that its agent has confirmed; NULL: not known */
	/* What is wanted while the CA is changed; NULL: nothing is, whatever stands above. */
	const char *issuer;     /* subject key identifier of the CA that issues now, hex */
	const char *trusted;    /* hash of the CA certificates in force */
	int64_t ca_not_after_s; /* of the CA that issues now; 0: not known */
	int64_t alert_period_s; /* ca.framework.cert.expiry.alert.period */
	int64_t wall_s;
};
enum renewal_reason renewal_is_due(const struct renewal_question *q);

/* When half of the life is over, and a little later by guid. not_before_s 0: INT64_MAX. */
int64_t renewal_half_life_s(const char *guid, int64_t not_before_s, int64_t not_after_s);
/* From when on it counts as near its end: the alert period before, but never more than the last quarter of its life. */
int64_t renewal_near_end_s(int64_t not_before_s, int64_t not_after_s, int64_t alert_period_s);
