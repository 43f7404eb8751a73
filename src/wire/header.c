/*
 * The message header, and whole messages.
 *
 * A header says how long its body is before compression, and is believed only where it can be checked: an
 * uncompressed body reaches to the end of the message whatever the header says, a compressed one may inflate to that
 * length and no further.
 */
#include "wire/header.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "wire/gzip.h"

enum { VERSION_1 = 0, VERSION_3 = 2 }; /* the reference's names; v2 has never been in use */

static bool get_i64(struct bytes *in, int64_t *out)
{
	uint64_t v;

	if (!bytes_get_u64(in, &v))
		return false;
	*out = (int64_t)v;
	return true;
}

static bool get_fields(struct header *h, struct bytes *in)
{
	return get_i64(in, &h->seq) && bytes_get_u32(in, &h->length) && get_i64(in, &h->mgmt_id) &&
	       get_i64(in, &h->agent_id);
}

enum err header_get(struct header *out, struct bytes *in, struct why *why)
{
	struct bytes rest = *in;
	struct header h = {0};
	uint8_t ignored;

	if (!bytes_get_u8(&rest, &h.version)) {
		why_set(why, "message without a header");
		return ERR_MALFORMED;
	}
	if (h.version != VERSION_1 && h.version != VERSION_3) {
		why_set(why, "header version %u is not known", h.version);
		return ERR_MALFORMED;
	}
	if (!bytes_get_u8(&rest, &ignored) || !bytes_get_u16(&rest, &h.flags) || !get_fields(&h, &rest) ||
	    (h.version == VERSION_1 && !get_i64(&rest, &h.via))) {
		why_set(why, "message of %zu bytes is shorter than its header", in->len);
		return ERR_MALFORMED;
	}
	if (h.version == VERSION_3)
		h.via = h.agent_id; /* that version has no field for it */

	*out = h;
	*in = rest;
	return ERR_OK;
}

static void put_number(uint8_t *out, uint64_t v, size_t n)
{
	while (n--) {
		out[n] = (uint8_t)v;
		v >>= 8;
	}
}

void header_put(uint8_t out[HEADER_SIZE], const struct header *h)
{
	put_number(out, VERSION_1, 1);
	put_number(out + 1, 0, 1);
	put_number(out + 2, h->flags, 2);
	put_number(out + 4, (uint64_t)h->seq, 8);
	put_number(out + 12, h->length, 4);
	put_number(out + 16, (uint64_t)h->mgmt_id, 8);
	put_number(out + 24, (uint64_t)h->agent_id, 8);
	put_number(out + 32, (uint64_t)h->via, 8);
}

struct header header_answer(const struct header *request)
{
	uint16_t flags = request->flags & (FLAG_STOP_ON_ERROR | FLAG_IN_SEQUENCE);

	if (!(request->flags & FLAG_FROM_SERVER))
		flags |= FLAG_FROM_SERVER;
	return (struct header){
		.version = VERSION_1,
		.flags = flags,
		.seq = request->seq,
		.mgmt_id = request->mgmt_id,
		.agent_id = request->agent_id,
		.via = request->via,
	};
}

void header_describe(char *out, size_t size, const struct header *h)
{
	snprintf(out, size,
		 "%s seq=%" PRId64 " flags=0x%04x length=%" PRIu32 " mgmt=%" PRId64 " agent=%" PRId64 " via=%" PRId64,
		 h->flags & FLAG_REQUEST ? "request" : "response", h->seq, h->flags, h->length, h->mgmt_id, h->agent_id,
		 h->via);
}

enum err message_pack(struct buf *out, struct header *h, const char *body, size_t n)
{
	size_t before = out->len;
	struct header packed = *h;
	uint8_t bytes[HEADER_SIZE];
	enum err err;

	if (n > INT32_MAX) /* a reader in Java takes the length as signed */
		return ERR_TOO_BIG;
	packed.length = (uint32_t)n;
	packed.flags &= (uint16_t)~FLAG_COMPRESSED;
	if (n >= COMPRESS_FROM)
		packed.flags |= FLAG_COMPRESSED;

	header_put(bytes, &packed);
	err = buf_put(out, bytes, sizeof(bytes));
	if (!err)
		err = packed.flags & FLAG_COMPRESSED ? gzip_put(out, body, n) : buf_put(out, body, n);
	if (err) {
		out->len = before;
		return err;
	}
	*h = packed;
	return ERR_OK;
}

static enum err unpack_compressed(struct buf *body, const struct header *h, struct bytes in, size_t limit,
				  struct why *why)
{
	enum err err;

	if (h->length > INT32_MAX) {
		why_set(why, "body length %" PRId64 " is negative", (int64_t)h->length - ((int64_t)1 << 32));
		return ERR_MALFORMED;
	}
	if (h->length > limit) {
		why_set(why, "body of %" PRIu32 " bytes, %zu are the most", h->length, limit);
		return ERR_TOO_BIG;
	}
	err = gzip_get(body, in.data, in.len, h->length, why);
	if (err == ERR_TOO_BIG) { /* not over the limit, but the header lied */
		why_set(why, "body inflates to more than the %" PRIu32 " bytes its header says", h->length);
		return ERR_MALFORMED;
	}
	return err;
}

enum err message_unpack(struct header *h, struct buf *body, const void *data, size_t n, size_t limit, struct why *why)
{
	struct bytes in = {.data = data, .len = n};
	enum err err;

	buf_clear(body);
	err = header_get(h, &in, why);
	if (err)
		return err;
	if (h->flags & FLAG_COMPRESSED)
		return unpack_compressed(body, h, in, limit, why);
	if (in.len > limit) {
		why_set(why, "body of %zu bytes, %zu are the most", in.len, limit);
		return ERR_TOO_BIG;
	}
	return buf_put(body, in.data, in.len);
}
