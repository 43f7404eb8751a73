/*
 * What the two files of TLS on GnuTLS share: credentials (tls_gnutls.c) and the sessions made with them
 * (tls_session.c).
 */
#pragma once

#include <string.h>

#include <gnutls/gnutls.h>

#include "net/tls_gnutls.h"
#include "net/tls_policy.h"
#include "net/tls_trust.h"

#define CHAIN_MAX 16 /* certificates one side presents */

#define TRUST_ID_SIZE 32

struct creds {
	struct tls_creds base;
	gnutls_certificate_credentials_t own; /* with our certificates as given */
	/* With the first of them only: a client with two shows none, because GnuTLS doesn't choose where the server
	 * names no CAs. */
	gnutls_certificate_credentials_t client;
	gnutls_certificate_credentials_t whole; /* with the chain up to the root, for those who join */
	gnutls_certificate_credentials_t none;  /* no certificate */
	gnutls_priority_t priorities[N_TLS_POLICIES];
	struct trust trust;
	uint8_t trust_id[TRUST_ID_SIZE]; /* of the CAs and revocations */
	bool has_rsa;                    /* a certificate for peers that take no ECDSA */
	struct tls_ticket_keys tickets;  /* for these CAs and revocations only; wiped in the end */
};

enum err tls_session_new(struct tls_creds *base, struct tls **out, const struct tls_params *p, struct why *why)
	MUST_CHECK;

/* ---- tls_ticket.c ---- */

/* How long GnuTLS takes tickets, its longest: the keys' lives are what ends them. */
#define TICKET_LIFE_S 604800

/*
 * A ticket is proof that one of our servers has verified its owner's chain, by its CAs and revocations. So these become
 * part of the keys: where they are different, or were, it doesn't open, and a full handshake verifies anew.
 */
enum err trust_id_of(uint8_t out[TRUST_ID_SIZE], const char *ca_pem, const char *crl_pem) MUST_CHECK;
enum err ticket_keys_bind(struct tls_ticket_keys *keys, const uint8_t trust_id[TRUST_ID_SIZE]) MUST_CHECK;
/*
 * Which of the keys made the first ticket in a hello's pre_shared_key extension (empty: there is none)? The newest when
 * none of them did. now_s is GnuTLS's time.
 */
unsigned ticket_key_choose(const struct tls_ticket_keys *keys, struct bytes extension, int64_t now_s);

/* A text, borrowed, as GnuTLS wants it. */
static inline gnutls_datum_t text_datum(const char *text)
{
	return (gnutls_datum_t){.data = (unsigned char *)(uintptr_t)text, .size = (unsigned)strlen(text)};
}
