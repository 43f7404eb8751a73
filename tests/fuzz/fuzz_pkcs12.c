/*
 * Whatever key store lies in an agent's folder: it is refused with a sentence, or what comes out of it are a key and
 * its certificate.
 *
 * Every change breaks the MAC, and what is behind it would never be reached. So the same bytes are tried again with a
 * new MAC, as somebody who knows the passphrase can make it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/pkcs12.h>

#include "base/mem.h"
#include "pki/cert.h"
#include "pki/pkcs12.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PASSPHRASE "Ab3dEf6hJk9mNp2Q"
#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

static void open_it(const void *data, size_t size)
{
	struct pkcs12 p = {0};
	struct why why = WHY_NONE;
	enum err e = pkcs12_open(&p, data, size, PASSPHRASE, "cloud", &why);

	if (e) {
		MUST(e == ERR_NOMEM || why.text[0]);
		MUST(!strstr(why.text, PASSPHRASE));
		MUST(!p.key && !p.cert && !p.ca);
		return;
	}
	MUST(key_matches_cert(p.key, p.cert, NULL) == ERR_OK);
	MUST(p.ca && p.ca[0]);
	pkcs12_deinit(&p);
}

static void open_with_new_mac(const uint8_t *data, size_t size)
{
	const gnutls_datum_t der = {.data = (unsigned char *)(uintptr_t)data, .size = (unsigned)size};
	gnutls_datum_t made = {0};
	gnutls_pkcs12_t p12;

	MUST(gnutls_pkcs12_init(&p12) >= 0);
	if (gnutls_pkcs12_import(p12, &der, GNUTLS_X509_FMT_DER, 0) >= 0 &&
	    gnutls_pkcs12_generate_mac(p12, PASSPHRASE) >= 0 &&
	    gnutls_pkcs12_export2(p12, GNUTLS_X509_FMT_DER, &made) >= 0)
		open_it(made.data, made.size);
	gnutls_free(made.data);
	gnutls_pkcs12_deinit(p12);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	open_it(data, size);
	if (size <= PKCS12_SIZE_MAX)
		open_with_new_mac(data, size);
	return 0;
}
