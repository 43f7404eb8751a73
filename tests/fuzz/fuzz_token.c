/*
 * Whatever is given as a token, as text or as the content of one whose check sum is right: it is refused with a
 * sentence that doesn't repeat it, or written again it is the same token.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pki/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

static char *text_around(const uint8_t *content, size_t n)
{
	CLEAN(buf_deinit) struct buf b = {0};
	CLEAN(mem_freep) char *encoded = NULL;
	char sum[FINGERPRINT_TEXT];

	sha256_hex(sum, content, n);
	sum[8] = '\0';
	MUST(buf_put(&b, content, n) == ERR_OK && hex_decode(sum, &b));
	encoded = base64url_encode(b.data, b.len);
	return mem_printf("muster1.%s", encoded);
}

static void try_text(const char *text)
{
	CLEAN(mem_freep) char *again = NULL;
	struct why why = WHY_NONE;
	struct token t, back;
	enum err e = token_parse(&t, text, &why);

	if (e) {
		MUST(e == ERR_MALFORMED && why.text[0]);
		MUST(!t.secret[0] && !t.servers.items);
		return;
	}
	MUST(cert_id_is_valid(t.id) && (t.role == CERT_ROLE_AGENT || t.role == CERT_ROLE_SERVER));
	MUST(strlen(t.secret) == 2 * TOKEN_SECRET_BYTES && strlen(t.fingerprint) == FINGERPRINT_TEXT - 1);
	again = token_format(&t);
	/* One token has one text; blanks around it are no part of it. */
	MUST(again && strstr(text, again));
	MUST(token_parse(&back, again, NULL) == ERR_OK);
	MUST(strcmp(t.secret, back.secret) == 0 && str_list_equal(&t.servers, &back.servers));
	token_deinit(&back);
	token_deinit(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEAN(mem_freep) char *text = mem_strndup(size ? (const char *)data : "", size);
	CLEAN(mem_freep) char *valid = text_around(data, size);

	MUST(text && valid);
	try_text(text);
	try_text(valid);
	return 0;
}
