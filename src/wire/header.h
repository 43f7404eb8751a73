/*
 * The 40-byte message header (agent-protocol section 2), and whole messages: header, body, compression.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define HEADER_SIZE 40
#define COMPRESS_FROM 8192 /* bytes of body from which a sender compresses */

enum header_flag {
	FLAG_REQUEST = 0x0001,
	FLAG_STOP_ON_ERROR = 0x0002,
	FLAG_IN_SEQUENCE = 0x0004,
	FLAG_FROM_SERVER = 0x0020,
	FLAG_CONTROL = 0x0040,
	FLAG_COMPRESSED = 0x0080,
};

struct header {
	uint8_t version; /* 0 is sent; 2 (32 bytes, no via) is read */
	uint16_t flags;
	int64_t seq;
	uint32_t length; /* of the body before compression; ignored when the body isn't compressed */
	int64_t mgmt_id;
	int64_t agent_id;
	int64_t via;
};

/*
 * Reads a header from the front. ERR_MALFORMED: too short or a version that the reference refuses; `in` is untouched
 * then.
 */
enum err header_get(struct header *out, struct bytes *in, struct why *why) MUST_CHECK;
/* Always as version 0. */
void header_put(uint8_t out[HEADER_SIZE], const struct header *h);
/* The header of an answer to `request`, as agent-protocol 2.1 describes it. */
struct header header_answer(const struct header *request);
/* "seq=1 flags=0x0027 ..." for logs and tools; buffer of at least 160 bytes. */
void header_describe(char *out, size_t size, const struct header *h);

/*
 * Appends header and body to `out`, compressed when the body has COMPRESS_FROM bytes or more; sets h->length and
 * the flag.
 */
enum err message_pack(struct buf *out, struct header *h, const char *body, size_t n) MUST_CHECK;
/*
 * Takes a whole message apart; `body` gets the inflated text (replaced). At most `limit` bytes of body: ERR_TOO_BIG
 * before memory is asked for. A compressed body whose gzip is broken is ERR_MALFORMED; trailing bytes after the gzip
 * member are ignored, several members are read, as the reference does. A compressed body that is longer than its
 * header says, or whose length is negative, is ERR_MALFORMED; a shorter one is taken. On an error `body` is empty; `h`
 * is set whenever the header itself was good, so that a request can be answered.
 */
enum err message_unpack(struct header *h, struct buf *body, const void *data, size_t n, size_t limit, struct why *why)
	MUST_CHECK;
