/*
 * Whom to believe: the trusted CAs and revocations of one set of credentials, and the verdict on what a peer
 * presented. Used by tls_gnutls.c only; immutable after trust_init(), any thread.
 */
#pragma once

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/buf.h"
#include "base/err.h"

struct trust {
	gnutls_x509_crt_t *cas; /* owned; the elements that are believed by `list` */
	unsigned n_cas;
	unsigned n_believed;           /* the first of them; what stands above those only shows the way to a root */
	gnutls_x509_trust_list_t list; /* of those that are believed, with the CRL */
};

enum err trust_init(struct trust *t, const char *ca_pem, const char *crl_pem, struct why *why) MUST_CHECK;
void trust_deinit(struct trust *t);
/* One of the trusted CA certificates that issued `c`, borrowed; NULL: none. A root is its own issuer. */
gnutls_x509_crt_t trust_issuer(const struct trust *t, gnutls_x509_crt_t c);

/* What a peer presented, its own certificate first. */
struct presented {
	gnutls_x509_crt_t *certs; /* owned, each element too */
	unsigned n;
};

enum err presented_init(struct presented *p, const gnutls_datum_t *ders, unsigned n, struct why *why) MUST_CHECK;
void presented_deinit(struct presented *p);

/* As grace_s: the first certificate's own dates don't count, those above it do. */
#define TRUST_ANY_DATE INT64_MAX

/*
 * Does the first certificate lead to a trusted CA, is everything on the way valid at wall_s (the first one until
 * grace_s later), is nothing revoked? ERR_UNTRUSTED, ERR_EXPIRED, ERR_REVOKED with a sentence. *is_ca_itself: it is
 * one of the trusted CA certificates.
 */
enum err trust_judge(const struct trust *t, const struct presented *p, int64_t wall_s, int64_t grace_s,
		     bool *is_ca_itself, struct why *why) MUST_CHECK;
/*
 * The same for what trust_judge() has passed before, with the same CAs and revocations: then only time can have changed
 * anything.
 */
enum err trust_judge_again(const struct trust *t, const struct presented *p, int64_t wall_s, int64_t grace_s,
			   bool *is_ca_itself, struct why *why) MUST_CHECK;
/* Is the CA certificate with that SHA-256 fingerprint among what was presented, and does the first one lead to it? */
enum err trust_judge_pinned(const struct presented *p, const char *pin, int64_t wall_s, struct why *why) MUST_CHECK;
