/*
 * What the files of pki share: GnuTLS objects that clean up after themselves, limits, names. Not for other floors.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509-ext.h>
#include <gnutls/x509.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "pki/cert.h"

#define CSR_TEXT_MAX (64u * 1024)
#define KEY_TEXT_MAX (64u * 1024)
#define CERT_TEXT_MAX (256u * 1024)
#define CHAIN_MAX 32              /* certificates in one text */
#define SERIAL_DIGITS_MAX 40      /* hex; 20 bytes are the standard's upper bound */
#define NAMES_MAX 256             /* alternative names in one certificate or request */
#define COMMON_NAME_SIGNED_MAX 64 /* X.520's upper bound; OpenSSL refuses to write longer ones */

#define OID_SAN "2.5.29.17"
#define OID_KEY_USAGE "2.5.29.15"
#define OID_BASIC_CONSTRAINTS "2.5.29.19"
#define OID_EKU "2.5.29.37"

/* GnuTLS's answer as one of ours; `what` begins the sentence. Memory stays memory, the rest becomes `otherwise`. */
enum err x509_fail(int ret, enum err otherwise, struct why *why, const char *what) MUST_CHECK;
/* A PEM text of at most `max` characters as GnuTLS wants it (borrowed). */
enum err x509_text(gnutls_datum_t *out, const char *pem, size_t max, const char *what, struct why *why) MUST_CHECK;
/* Moves what GnuTLS allocated into a string of ours; wipes and frees the original. */
enum err x509_take_text(char **out, gnutls_datum_t *take_d) MUST_CHECK;
/* Which hash this public key signs with; SHA-256 at least. */
gnutls_digest_algorithm_t x509_digest(gnutls_pubkey_t key);
/* RSA of 2048 to 8192 bits, EC from 256 bits, EdDSA. */
enum err x509_key_is_usable(int algorithm, unsigned bits, struct why *why) MUST_CHECK;

/* No control characters, valid UTF-8. */
bool name_is_clean(const char *s, size_t n);
/* Clean and without path separators: a name somebody asks for. */
bool name_is_plain(const char *s, size_t n);
/* Letters, digits, '.', '-', '_', ':' (the reference writes addresses as names too). No wildcards. */
bool name_is_dns(const char *s, size_t n);
/* The common name out of its DER (a string with tag and length). ERR_INVALID when it is not clean. */
enum err name_from_der(char *out, size_t size, const uint8_t *der, size_t n, struct why *why) MUST_CHECK;

/* What subjectAltName says of muster, addresses and names. */
struct san {
	enum cert_role role;
	char id[GUID_MAX];
	struct str_list ips;
	struct str_list dns;
};
void san_deinit(struct san *s);
/* Other kinds of names are skipped; `plain` also refuses DNS names that are none. */
enum err san_read(struct san *out, const gnutls_datum_t *der, bool plain, struct why *why) MUST_CHECK;
/* The extension's DER, to be freed with gnutls_free(); no data when there is no name at all. */
enum err san_write(gnutls_datum_t *out, enum cert_role role, const char *id, const struct str_list *ips,
		   const struct str_list *dns, struct why *why) MUST_CHECK;

/* Reads a private key: PKCS#8, PKCS#1 or SEC1, not encrypted. */
enum err key_load(gnutls_x509_privkey_t *out, const char *pem, struct why *why) MUST_CHECK;
/* The same for signing and for the abstract functions. */
enum err key_load_abstract(gnutls_privkey_t *out, const char *pem, struct why *why) MUST_CHECK;
/* Reads a request and verifies its signature. */
enum err csr_load(gnutls_x509_crq_t *out, const char *pem, struct why *why) MUST_CHECK;
/* The first certificate of a text. */
enum err cert_load(gnutls_x509_crt_t *out, const char *pem, struct why *why) MUST_CHECK;
/* The key of the first certificate is the private key's? */
enum err key_fits(gnutls_x509_crt_t crt, gnutls_privkey_t key, struct why *why) MUST_CHECK;

#define TIME_MAX_S INT64_C(253402300799) /* 9999-12-31 23:59:59, where the format ends */

/* Who signs. */
struct signer {
	gnutls_x509_crt_t crt; /* NULL: self-signed */
	gnutls_privkey_t key;
	gnutls_digest_algorithm_t hash;
};
void signer_deinit(struct signer *s);
/* `cert_pem` must be a CA's and fit the key; NULL: none. signer_deinit() it with an error, too. */
enum err signer_load(struct signer *s, const char *cert_pem, const char *key_pem, struct why *why) MUST_CHECK;

#define X509_CLEAN_DEFINE(name, type, deinit)                                                                          \
	static inline void name##_freep(type *object)                                                                  \
	{                                                                                                              \
		if (*object)                                                                                           \
			deinit(*object);                                                                               \
	}
X509_CLEAN_DEFINE(crt, gnutls_x509_crt_t, gnutls_x509_crt_deinit)
X509_CLEAN_DEFINE(crq, gnutls_x509_crq_t, gnutls_x509_crq_deinit)
X509_CLEAN_DEFINE(crl, gnutls_x509_crl_t, gnutls_x509_crl_deinit)
X509_CLEAN_DEFINE(x509_key, gnutls_x509_privkey_t, gnutls_x509_privkey_deinit)
X509_CLEAN_DEFINE(privkey, gnutls_privkey_t, gnutls_privkey_deinit)
X509_CLEAN_DEFINE(pubkey, gnutls_pubkey_t, gnutls_pubkey_deinit)
X509_CLEAN_DEFINE(sans, gnutls_subject_alt_names_t, gnutls_subject_alt_names_deinit)

static inline void datum_freep(gnutls_datum_t *d)
{
	gnutls_free(d->data);
	d->data = NULL;
	d->size = 0;
}
