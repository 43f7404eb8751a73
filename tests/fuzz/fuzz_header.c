/*
 * Any message: its body never needs more memory than the limit allows for, and packed again it is the same message.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "wire/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

#define LIMIT 65536
#define MOST_MEMORY (2 * LIMIT + 8192) /* the buffer doubles */

static void must_be_same(const struct header *a, const struct header *b)
{
	MUST(a->flags == b->flags && a->seq == b->seq && a->length == b->length);
	MUST(a->mgmt_id == b->mgmt_id && a->agent_id == b->agent_id && a->via == b->via);
}

static void must_survive_writing(const struct header *h)
{
	uint8_t bytes[HEADER_SIZE];
	struct bytes in = {.data = bytes, .len = sizeof(bytes)};
	struct header again;

	header_put(bytes, h);
	MUST(header_get(&again, &in, NULL) == ERR_OK);
	MUST(in.len == 0 && again.version == 0);
	must_be_same(h, &again);
}

static void must_describe(const struct header *h)
{
	char text[160];
	struct header answer = header_answer(h);

	header_describe(text, sizeof(text), h);
	MUST(strlen(text) < sizeof(text) - 1);
	MUST(!(answer.flags & FLAG_REQUEST) && answer.seq == h->seq);
	MUST(!(answer.flags & FLAG_FROM_SERVER) == !!(h->flags & FLAG_FROM_SERVER));
}

static void must_survive_packing(const struct header *h, const struct buf *body)
{
	CLEAN(buf_deinit) struct buf packed = {0};
	CLEAN(buf_deinit) struct buf body_again = {0};
	struct header first = *h, second;

	MUST(message_pack(&packed, &first, (const char *)body->data, body->len) == ERR_OK);
	MUST(first.length == body->len);
	MUST(!!(first.flags & FLAG_COMPRESSED) == (body->len >= COMPRESS_FROM));
	MUST(message_unpack(&second, &body_again, packed.data, packed.len, LIMIT, NULL) == ERR_OK);
	must_be_same(&first, &second);
	MUST(body_again.len == body->len);
	MUST(!body->len || !memcmp(body_again.data, body->data, body->len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEAN(buf_deinit) struct buf body = {0};
	struct bytes in = {.data = data, .len = size};
	struct header h, unpacked;
	struct why why = WHY_NONE;
	bool has_header = header_get(&h, &in, NULL) == ERR_OK;
	enum err err = message_unpack(&unpacked, &body, data, size, LIMIT, &why);

	MUST(body.len <= LIMIT && body.cap <= MOST_MEMORY);
	MUST(err || has_header);
	MUST(!err == !why.text[0]);
	if (has_header) {
		must_be_same(&h, &unpacked);
		must_survive_writing(&h);
		must_describe(&h);
	}
	if (err) {
		MUST(err == ERR_MALFORMED || err == ERR_TOO_BIG);
		MUST(body.len == 0);
		return 0;
	}
	must_survive_packing(&h, &body);
	return 0;
}
