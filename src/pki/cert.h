/*
 * Keys, certificate requests and certificates (X.509 through GnuTLS). Texts are PEM.
 * Pure functions over texts; any thread. Nothing here decides who may have a certificate: that is ca/.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define FINGERPRINT_TEXT 65 /* SHA-256 in hex and NUL */
#define SERIAL_TEXT 48
#define GUID_MAX 128

/* Who a muster certificate is for: URI SAN "muster:agent:<guid>" or "muster:server:<id>" (decisions 2 and 3). */
enum cert_role { CERT_ROLE_NONE, CERT_ROLE_AGENT, CERT_ROLE_SERVER };
/* Ids of roles: 1 to 127 of A-Z a-z 0-9 . _ - (and neither "." nor ".."), so that one may be part of a file name. */
bool cert_id_is_valid(const char *id);

struct cert_info {
	char serial[SERIAL_TEXT];           /* lower-case hex without leading zeros, as the API shows it */
	char fingerprint[FINGERPRINT_TEXT]; /* of the whole certificate */
	char key_id[FINGERPRINT_TEXT];      /* of the public key (SPKI) */
	/* In hex, 32 bytes of it at most: its own key identifier (the key's SHA-1 where it names none), and that of the
	 * key which signed it ("": it names none). For telling keys apart. */
	char subject_key_id[FINGERPRINT_TEXT];
	char authority_key_id[FINGERPRINT_TEXT];
	bool names_its_key;               /* it has a subject key identifier */
	char name_hash[FINGERPRINT_TEXT]; /* of its whole subject: two with the same one have the same name */
	char common_name[128];
	char issuer[256];
	int64_t not_before_s; /* Unix time */
	int64_t not_after_s;
	bool is_ca;
	bool is_rsa, is_ec;
	unsigned key_bits;
	bool signs_certs, signs_data; /* keyCertSign, digitalSignature; both true when it has no key usage */
	bool eku_client, eku_server;  /* what its extended key usage says; both true when there is none */
	bool has_eku;
	enum cert_role role;
	char id[GUID_MAX]; /* of the role: guid or server id */
	struct str_list ips;
	struct str_list dns;
};

void cert_info_deinit(struct cert_info *i);
/* The first certificate of a PEM text. More than one role URI, or a role URI with a bad id: ERR_INVALID. */
enum err cert_info_parse(struct cert_info *out, const char *pem, struct why *why) MUST_CHECK;
/* From DER, as TLS gives it. */
enum err cert_info_parse_der(struct cert_info *out, const void *der, size_t n, struct why *why) MUST_CHECK;

enum key_kind { KEY_EC_P256, KEY_RSA_2048, KEY_RSA_3072, KEY_RSA_4096 };
/* The smallest kind of RSA key with so many bits; the largest when there is none. */
enum key_kind key_rsa_kind(unsigned bits);

/* A new private key (PKCS#8 PEM, new string; wipe before freeing: key_free()). Takes milliseconds to seconds: off the
 * loop. */
enum err key_new(char **pem, enum key_kind kind, struct why *why) MUST_CHECK;
void *key_free(char *pem);
/* Does the key belong to the certificate? ERR_INVALID if not. */
enum err key_matches_cert(const char *key_pem, const char *cert_pem, struct why *why) MUST_CHECK;

/*
 * A serial number as people write it - any case, leading zeros, 0x in front, colons or blanks between pairs - as
 * cert_info has it. false: not hex, or more than 40 digits.
 */
bool cert_serial_normal(char out[SERIAL_TEXT], const char *text);

/* What a certificate request asks for, and what it proves. */
struct csr_info {
	char common_name[128];
	char key_id[FINGERPRINT_TEXT];
	bool is_rsa;
	unsigned key_bits;
	struct str_list ips;
	struct str_list dns;
	bool wants_ca;       /* it asks for a CA certificate: always refused */
	enum cert_role role; /* of a muster URI in it */
	char id[GUID_MAX];
};
void csr_info_deinit(struct csr_info *i);
/* Verifies the self-signature; ERR_UNTRUSTED when it is wrong. Both PEM labels (NEW CERTIFICATE REQUEST too). At most
 * 64 KiB. */
enum err csr_info_parse(struct csr_info *out, const char *pem, struct why *why) MUST_CHECK;
struct csr_params {
	const char *key_pem;
	const char *common_name;
	enum cert_role role; /* with `id` becomes a URI SAN */
	const char *id;
	const struct str_list *ips, *dns; /* may be NULL */
};
enum err csr_new(char **pem, const struct csr_params *p, struct why *why) MUST_CHECK;

struct cert_params {
	const char *ca_cert_pem; /* NULL: self-signed (a root) */
	const char *ca_key_pem;
	const char *csr_pem; /* public key from here; NULL: from public key of `key_pem` */
	const char *key_pem; /* NULL with a CSR */
	const char *common_name;
	enum cert_role role;
	const char *id;
	const struct str_list *ips, *dns; /* may be NULL */
	bool is_ca;
	int64_t not_before_s, not_after_s;
	uint8_t serial[16]; /* random, from the caller's entropy; the top bit is cleared here */
};
/* Signs. Agents get clientAuth, servers serverAuth and clientAuth; role NONE: no EKU, as the reference issues. */
enum err cert_new(char **pem, const struct cert_params *p, struct why *why) MUST_CHECK;
/*
 * Does the chain in `pem` lead to one of `ca_pem` at that time? ERR_EXPIRED when only time is in the way, else
 * ERR_UNTRUSTED; the sentence says what is wrong. Of the CAs only those valid then count.
 */
enum err cert_verify(const char *pem, const char *ca_pem, int64_t wall_s, struct why *why) MUST_CHECK;
/* Every certificate of a PEM text (32 at most) as a text of its own, in order; whatever stands between them is gone. */
enum err cert_split(struct str_list *out, const char *pem, struct why *why) MUST_CHECK;
/*
 * The first certificate and what leads from it to a self-signed root, in this order and without what doesn't belong to
 * it; all of them valid at that time. ERR_NOT_FOUND: an issuer on the way is missing, the sentence names it.
 */
enum err cert_chain_complete(char **out, const char *pem, int64_t wall_s, struct why *why) MUST_CHECK;
/* ---- revocation lists ---- */

#define CRL_PEM_LABEL "X509 CRL"

struct crl_entry {
	const char *serial; /* hex, borrowed */
	int64_t revoked_s;
};
struct crl_params {
	const char *ca_cert_pem; /* the first certificate signs */
	const char *ca_key_pem;
	const struct crl_entry *entries;
	size_t n;
	int64_t this_s, next_s; /* when it is made; when the next one comes at the latest */
	uint64_t number;        /* higher than the last one's */
};
/* A signed list, DER, appended to `out`. ERR_UNSUPPORTED: the CA may not sign lists (key usage). Takes time: off the
 * loop. */
enum err crl_sign(struct buf *out, const struct crl_params *p, struct why *why) MUST_CHECK;
/* The same as PEM, over serials alone, numbered by its time. */
enum err crl_new(char **pem, const char *ca_cert_pem, const char *ca_key_pem, const struct str_list *serials,
		 int64_t this_s, int64_t next_s, struct why *why) MUST_CHECK;
/* DER as PEM with that label, new string; NULL: out of memory. */
char *pem_text(const char *label, const void *der, size_t n);
/* What stands between the first pair of lines of that label, appended; false: there is nothing, or it is damaged. */
bool pem_bytes(struct buf *out, const char *label, const char *pem) MUST_CHECK;

/* SHA-256 over bytes, hex. */
void sha256_hex(char out[FINGERPRINT_TEXT], const void *data, size_t n);
/* Compares without telling by time where they differ. */
bool secret_equal(const void *a, const void *b, size_t n);
/* AES-256-GCM with a 32-byte key: appended to `out`: nonce (12 random bytes, from the caller) | cipher text | tag. */
enum err seal_bytes(struct buf *out, const uint8_t key[32], const uint8_t nonce[12], const void *plain, size_t n,
		    const char *context) MUST_CHECK;
/* ERR_UNTRUSTED when key, context or content don't fit. */
enum err open_bytes(struct buf *out, const uint8_t key[32], const void *sealed, size_t n, const char *context)
	MUST_CHECK;
