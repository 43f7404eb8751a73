/*
 * Whatever certificate a peer shows, as DER or as PEM: it is refused with a sentence, or what is read of it is fit for
 * logs, file names and comparisons.
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

static bool has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

static void must_be_fit(const struct cert_info *i)
{
	size_t digits = strlen(i->serial);

	MUST(digits >= 1 && digits <= 40 && strspn(i->serial, "0123456789abcdef") == digits);
	MUST(i->serial[0] != '0' || digits == 1);
	MUST(strlen(i->fingerprint) == FINGERPRINT_TEXT - 1 && strlen(i->key_id) == FINGERPRINT_TEXT - 1);
	MUST(!has_control(i->common_name) && !has_control(i->issuer));
	MUST((i->role == CERT_ROLE_NONE) == !i->id[0]);
	MUST(i->role == CERT_ROLE_NONE || cert_id_is_valid(i->id));
	MUST(i->has_eku || (i->eku_client && i->eku_server));
	MUST(i->ips.n + i->dns.n <= 256);
	for (size_t k = 0; k < i->dns.n; k++)
		MUST(!has_control(i->dns.items[k]));
	for (size_t k = 0; k < i->ips.n; k++)
		MUST(strspn(i->ips.items[k], "0123456789abcdef.:") == strlen(i->ips.items[k]));
}

static void must_be_nothing(const struct cert_info *i, enum err e, const struct why *why)
{
	MUST(e == ERR_NOMEM || why->text[0]);
	MUST(!i->serial[0] && !i->ips.items && !i->dns.items && i->role == CERT_ROLE_NONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEAN(mem_freep) char *text = mem_strndup(size ? (const char *)data : "", size);
	struct why why = WHY_NONE, why_pem = WHY_NONE;
	struct cert_info i;
	enum err e;

	e = cert_info_parse_der(&i, data, size, &why);
	if (e)
		must_be_nothing(&i, e, &why);
	else
		must_be_fit(&i);
	cert_info_deinit(&i);

	MUST(text);
	e = cert_info_parse(&i, text, &why_pem);
	if (e)
		must_be_nothing(&i, e, &why_pem);
	else
		must_be_fit(&i);
	cert_info_deinit(&i);
	/* The way an operator's chain goes. What is read leads to itself or is refused; it never ends the program. */
	if (!e && size < 16384 && cert_verify(text, text, 1750000000, &why_pem) != ERR_OK)
		MUST(why_pem.text[0]);
	return 0;
}
