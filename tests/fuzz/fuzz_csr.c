/*
 * Whatever request somebody sends, as PEM or as the DER inside of it: it is refused with a sentence, or what it asks
 * for is fit for logs and file names.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pki/cert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

static bool is_plain(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f || *s == '/' || *s == '\\')
			return false;
	return true;
}

/* base64url and base64 differ in two characters and the padding. */
static char *pem_make(const uint8_t *der, size_t n)
{
	CLEAN(mem_freep) char *body = base64url_encode(der, n);

	MUST(body);
	for (char *p = body; *p; p++)
		*p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
	return mem_printf("-----BEGIN CERTIFICATE REQUEST-----\n%s%s\n-----END CERTIFICATE REQUEST-----\n", body,
			  n % 3 == 1   ? "=="
			  : n % 3 == 2 ? "="
				       : "");
}

static void try_text(const char *text)
{
	struct why why = WHY_NONE;
	struct csr_info i;
	enum err e = csr_info_parse(&i, text, &why);

	if (e) {
		MUST(e == ERR_NOMEM || why.text[0]);
		MUST(!i.common_name[0] && !i.ips.items && !i.dns.items && i.role == CERT_ROLE_NONE);
		return;
	}
	MUST(is_plain(i.common_name));
	MUST(strlen(i.key_id) == FINGERPRINT_TEXT - 1);
	MUST((i.role == CERT_ROLE_NONE) == !i.id[0]);
	MUST(i.role == CERT_ROLE_NONE || cert_id_is_valid(i.id));
	for (size_t k = 0; k < i.dns.n; k++)
		MUST(is_plain(i.dns.items[k]) && !strchr(i.dns.items[k], '*'));
	csr_info_deinit(&i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEAN(mem_freep) char *text = NULL;

	text = size && data[0] == '-' ? mem_strndup((const char *)data, size) : pem_make(data, size);
	MUST(text);
	try_text(text);
	return 0;
}
