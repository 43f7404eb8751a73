/*
 * Whatever chain a peer presents: it is refused with a sentence, or its first certificate has a key that the CA has
 * signed for, and is believed again.
 *
 * The input is what came in the certificate message: two bytes of length, a certificate, and so on.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "fuzz_ca.h"
#include "net/tls_trust.h"
#include "pki/cert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CERTS_MAX 16 /* the session counts before it asks */
#define GRACE_S (30LL * 24 * 3600)

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

static struct trust *the_trust(void)
{
	static struct trust t;
	struct why why = WHY_NONE;

	if (!t.list)
		MUST(trust_init(&t, fuzz_ca, NULL, &why) == ERR_OK);
	return &t;
}

static unsigned cut(gnutls_datum_t *out, const uint8_t *data, size_t size)
{
	struct bytes in = {.data = data, .len = size}, der;
	unsigned n = 0;
	uint16_t len;

	while (n < CERTS_MAX && bytes_get_u16(&in, &len) && bytes_get(&in, len, &der))
		out[n++] = (gnutls_datum_t){.data = (unsigned char *)(uintptr_t)der.data, .size = (unsigned)der.len};
	return n;
}

static void must_be_signed(const gnutls_datum_t *der)
{
	struct cert_info info;
	struct why why = WHY_NONE;
	bool is_known = false;

	/* A session reads it before it judges, and what can't be read is refused. */
	if (cert_info_parse_der(&info, der->data, der->size, &why) != ERR_OK)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(fuzz_signed_keys); i++)
		is_known |= str_equal(info.key_id, fuzz_signed_keys[i]);
	MUST(is_known);
	cert_info_deinit(&info);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	gnutls_datum_t ders[CERTS_MAX];
	unsigned n = cut(ders, data, size);
	bool is_ca = true, is_ca_again = true;
	struct why why = WHY_NONE;
	struct presented p;
	enum err e;

	e = presented_init(&p, ders, n, &why);
	if (e != ERR_OK) {
		MUST(e == ERR_NOMEM || why.text[0]);
		MUST(p.n == 0 && !p.certs);
		return 0;
	}
	e = trust_judge(the_trust(), &p, FUZZ_WALL_S, GRACE_S, &is_ca, &why);
	if (e == ERR_OK) {
		MUST(n > 0);
		must_be_signed(&ders[0]);
		MUST(trust_judge_again(the_trust(), &p, FUZZ_WALL_S, GRACE_S, &is_ca_again, &why) == ERR_OK);
		MUST(is_ca == is_ca_again);
	} else {
		MUST(e == ERR_NOMEM || why.text[0]);
	}
	presented_deinit(&p);
	return 0;
}
