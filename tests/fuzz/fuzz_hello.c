/*
 * Whatever a client sends first, to a server's TLS: it waits for more, or fails with a sentence, and whoever has only
 * said hello is never let in.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_ca.h"
#include "net/tls.h"
#include "net/tls_gnutls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 64

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

static struct tls_creds *the_creds(void)
{
	static struct tls_creds *creds;
	static const struct tls_ticket_keys keys = {.n = 1, .keys = {{1, 2, 3}}};
	const struct tls_material m = {.chain = fuzz_leaf, .key = fuzz_leaf_key, .ca = fuzz_ca, .tickets = &keys};
	struct why why = WHY_NONE;

	if (!creds)
		MUST(tls_gnutls_creds_new(&creds, &m, &why) == ERR_OK);
	return creds;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf in = {0}, out = {0};
	struct why why = WHY_NONE;
	struct tls *t = NULL;
	enum tls_outcome outcome = TLS_WANT;
	enum err e = ERR_OK;
	const struct tls_params p = {
		.profile = TLS_SERVER, .creds = the_creds(), .require_cert = size % 2 == 0, .wall_s = FUZZ_WALL_S};

	MUST(tls_new(&t, &p, &why) == ERR_OK);
	MUST(buf_put(&in, data, size) == ERR_OK);
	for (int i = 0; i < STEPS_MAX && outcome == TLS_WANT; i++) {
		size_t before = in.len;

		outcome = tls_handshake(t, &in, &out, &e, &why);
		MUST(outcome != TLS_DONE); /* nobody guesses the other half of a key */
		MUST((outcome == TLS_FAILED) == (e != ERR_OK));
		MUST(e == ERR_OK || e == ERR_NOMEM || why.text[0]);
		if (in.len == before)
			break;
	}
	tls_free(t);
	buf_deinit(&in);
	buf_deinit(&out);
	return 0;
}
