/*
 * Whatever stands in the place of the revocation list: it is refused with a sentence, or a certificate is judged with
 * it, and that goes as it should: trusted, or revoked.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "fuzz_ca.h"
#include "net/tls_trust.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

static const struct presented *the_leaf(void)
{
	static gnutls_x509_crt_t crt;
	static struct presented p;
	gnutls_datum_t text = {.data = (unsigned char *)(uintptr_t)fuzz_leaf, .size = sizeof(fuzz_leaf) - 1};

	if (!p.n) {
		MUST(gnutls_x509_crt_init(&crt) >= 0);
		MUST(gnutls_x509_crt_import(crt, &text, GNUTLS_X509_FMT_PEM) >= 0);
		p = (struct presented){.certs = &crt, .n = 1};
	}
	return &p;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEAN(mem_freep) char *text = mem_strndup(size ? (const char *)data : "", size);
	struct why why = WHY_NONE;
	struct trust t;
	bool is_ca;
	enum err e;

	MUST(text);
	e = trust_init(&t, fuzz_ca, text, &why);
	if (e != ERR_OK) {
		MUST(e == ERR_NOMEM || why.text[0]);
		MUST(!t.list && !t.cas);
		return 0;
	}
	e = trust_judge(&t, the_leaf(), FUZZ_WALL_S, 0, &is_ca, &why);
	MUST(e == ERR_OK || e == ERR_REVOKED || e == ERR_NOMEM);
	trust_deinit(&t);
	return 0;
}
