/*
 * Whatever somebody without a certificate sends as his request to join: it is refused by name and with a sentence, or
 * what is taken over is fit for certificates, file names, the store and terminals. Never a crash, never anything left
 * over, and the secret is in no sentence.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ca/join_request.h"
#include "ca/policy.h"
#include "server/internal.h"
#include "wire/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

#define SIZE_MAX_USEFUL (256 * 1024) /* of a message before anybody is known */

static bool is_plain(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s <= 0x20 || (unsigned char)*s >= 0x7f || strchr("/\\*,;'\"<>&", *s))
			return false;
	return true;
}

static void place_must_be_fine(const char *name)
{
	MUST(!name || (join_place_is_valid(name) && strlen(name) <= 255 && !strpbrk(name, "\n\r\x1b\x7f")));
}

static void must_be_fine(const struct join_request *q)
{
	uint8_t raw[16];

	MUST(token_id_is_valid(q->token_id) && strlen(q->token_secret) == 2 * TOKEN_SECRET_BYTES);
	MUST(cert_id_is_valid(q->guid) && is_plain(q->guid));
	MUST(q->name[0] && strlen(q->name) <= 253 && is_plain(q->name));
	MUST(q->resource_name[0] && strlen(q->resource_name) <= 127 && is_plain(q->resource_name));
	MUST(q->csr && strlen(q->csr) <= 64 * 1024);
	MUST(q->role == CERT_ROLE_AGENT || q->role == CERT_ROLE_SERVER);
	MUST(q->guid_is_fixed || !q->rejoins);
	place_must_be_fine(q->zone);
	place_must_be_fine(q->pod);
	place_must_be_fine(q->cluster);
	MUST(q->ips.n + q->dns.n <= 66);
	for (size_t i = 0; i < q->ips.n; i++)
		MUST(inet_pton(AF_INET, q->ips.items[i], raw) == 1 || inet_pton(AF_INET6, q->ips.items[i], raw) == 1);
	for (size_t i = 0; i < q->dns.n; i++)
		MUST(is_plain(q->dns.items[i]) && strlen(q->dns.items[i]) <= 253);
}

static void must_be_empty(const struct join_request *q)
{
	static const struct join_request empty;

	MUST(!memcmp(q, &empty, sizeof(empty)));
}

static bool tells(const struct why *why, const char *secret)
{
	return secret && strlen(secret) >= 8 && strstr(why->text, secret);
}

static void try_request(const struct msg_join *m)
{
	const struct join_said said = join_said_of(m, "192.0.2.1");
	struct token_record record = {.uses_left = 1, .expires_s = 1, .role = CERT_ROLE_AGENT, .bound_zone = "z"};
	struct join_request q;
	struct why why = WHY_NONE;
	enum join_refusal r = join_request_take(&q, &said, &why);

	MUST(r < JOIN_REFUSAL_N && r != JOIN_FAILED);
	MUST(!r == !why.text[0]);
	MUST(!tells(&why, m->tokenSecret));
	if (r) {
		must_be_empty(&q);
		return;
	}
	must_be_fine(&q);
	why = WHY_NONE;
	r = join_request_check_csr(&q, &why);
	MUST(r == JOIN_YES || r == JOIN_BAD_CSR);
	MUST(!r == !why.text[0]);
	why = WHY_NONE;
	MUST(token_check(NULL, &q, 0, &why) == JOIN_UNKNOWN_TOKEN);
	MUST(token_check(&record, &q, 0, &why) == JOIN_WRONG_SECRET);
	/* Whoever knows the secret gets further, and no further than his token. */
	token_hash(record.hash, q.token_id, q.token_secret);
	r = token_check(&record, &q, 0, &why);
	MUST(r != JOIN_WRONG_SECRET && r != JOIN_UNKNOWN_TOKEN);
	MUST(r || (q.role == CERT_ROLE_AGENT && (!q.zone || str_equal(q.zone, "z")) && !q.rejoins));
	MUST(!tells(&why, m->tokenSecret));
	join_request_deinit(&q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEAN(batch_deinit) struct batch b = {0};
	const struct msg_join *m;

	if (size > SIZE_MAX_USEFUL || batch_decode(&b, (const char *)data, size, NULL))
		return 0;
	m = batch_find(&b, MSG_JOIN);
	if (m)
		try_request(m);
	return 0;
}
