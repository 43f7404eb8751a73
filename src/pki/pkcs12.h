/*
 * A key store file as Java's keytool writes it (PKCS#12), opened with its passphrase.
 *
 * CloudStack's agents keep key, certificate and CA in one (cloud.jks, in spite of the name). The file is not trusted:
 * before a passphrase is tried it is known what that will cost. One is written as Java wants it: pkcs12_write.c.
 */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

#define PKCS12_SIZE_MAX (1024u * 1024)
/* Rounds of key derivation for the whole file. Java's own files need 30,000 (today) to 200,000 (old ones), GnuTLS's,
 * which we write, twice 600,000. */
#define PKCS12_ROUNDS_MAX 1500000u

struct pkcs12 {
	char *key;  /* PKCS#8 PEM, owned */
	char *cert; /* the key's certificate, PEM, owned */
	char *ca;   /* every CA certificate in it, PEM, owned; each once */
};
void pkcs12_deinit(struct pkcs12 *p); /* wipes the key */

/*
 * The key under `alias`, or the only one there is. ERR_UNTRUSTED: the passphrase is not the file's, or somebody changed
 * it; ERR_TOO_BIG: over one of the limits; ERR_NOT_FOUND: something that is needed is not in it; ERR_CONFLICT: several
 * keys and no way to choose; ERR_UNSUPPORTED: another kind of store, or of encryption. Takes up to a second: off the
 * loop.
 */
enum err pkcs12_open(struct pkcs12 *out, const void *data, size_t n, const char *passphrase, const char *alias,
		     struct why *why) MUST_CHECK;
/* "JKS", "JCEKS": Java's own formats, known by their first bytes and not read here. NULL: neither. */
const char *pkcs12_other_format(const void *data, size_t n);

#define PKCS12_ALIAS "cloud"
/*
 * A store with the key, its certificate (`cert` may bring its chain) under the alias "cloud", and each of `ca` as
 * trusted ("cloudca.1", ...), as CloudStack's scripts make it. Appended to `out`.
 */
enum err pkcs12_make(struct buf *out, const struct pkcs12 *p, const char *passphrase, struct why *why) MUST_CHECK;
