/*
 * gzip with bounds, over zlib.
 *
 * Reading follows java.util.zip.GZIPInputStream: members are read one after the other; what follows a member and has
 * no complete gzip header is no member but trailing bytes, which are ignored. Once the header is complete, everything
 * up to the checksum must be right.
 */
#include "wire/gzip.h"

#include <limits.h>

#include <zlib.h>

#define GZIP_ONLY (15 + 16) /* zlib's way to say: window of 32 KiB, gzip format */
#define STEP 4096           /* the least memory that is asked for at a time */
#define OS_UNKNOWN 255      /* what Java writes */

static enum err deflate_into(z_stream *z, struct buf *out, const void *data, size_t n)
{
	gz_header head = {.os = OS_UNKNOWN};
	size_t most;
	enum err err;

	if (deflateSetHeader(z, &head) != Z_OK)
		return ERR_STATE;
	most = deflateBound(z, (uLong)n);
	err = buf_reserve(out, most);
	if (err)
		return err;

	z->next_in = (Bytef *)data;
	z->avail_in = (uInt)n;
	z->next_out = out->data + out->len;
	z->avail_out = (uInt)most;
	if (deflate(z, Z_FINISH) != Z_STREAM_END)
		return ERR_STATE;
	out->len += z->total_out;
	return ERR_OK;
}

enum err gzip_put(struct buf *out, const void *data, size_t n)
{
	z_stream z = {0};
	enum err err;

	if (n > INT_MAX)
		return ERR_TOO_BIG;
	if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_ONLY, MAX_MEM_LEVEL - 1, Z_DEFAULT_STRATEGY) !=
	    Z_OK)
		return ERR_NOMEM;
	err = deflate_into(&z, out, data, n);
	deflateEnd(&z);
	return err;
}

/* Room for what comes next: as much again as has come so far, but never more than one byte over the end. */
static enum err make_room(z_stream *z, struct buf *out, size_t start, size_t end)
{
	size_t so_far = out->len - start;
	size_t most = end - out->len + 1; /* one more than allowed, so that too much is seen as such */
	size_t room = so_far > STEP ? so_far : STEP;
	enum err err;

	if (room > most)
		room = most;
	err = buf_reserve(out, room);
	if (err)
		return err;
	z->next_out = out->data + out->len;
	z->avail_out = (uInt)room;
	return ERR_OK;
}

/* Inflates up to the end of one member. Grows `out` to at most `end` bytes. */
static enum err inflate_member(z_stream *z, struct buf *out, size_t start, size_t end, struct why *why)
{
	for (;;) {
		enum err err = make_room(z, out, start, end);
		uInt room = z->avail_out;
		int result;

		if (err)
			return err;
		result = inflate(z, Z_NO_FLUSH);
		out->len += room - z->avail_out;
		if (out->len > end) {
			why_set(why, "gzip inflates to more than %zu bytes", end - start);
			return ERR_TOO_BIG;
		}
		if (result == Z_STREAM_END)
			return ERR_OK;
		if (result == Z_MEM_ERROR)
			return ERR_NOMEM;
		if (result == Z_BUF_ERROR || (result == Z_OK && !z->avail_in && z->avail_out)) {
			why_set(why, "gzip ends too early");
			return ERR_MALFORMED;
		}
		if (result != Z_OK) {
			why_set(why, "gzip is damaged: %s", z->msg ? z->msg : "no reason given");
			return ERR_MALFORMED;
		}
	}
}

static enum err inflate_members(z_stream *z, struct buf *out, size_t limit, struct why *why)
{
	size_t start = out->len;

	for (bool first = true;; first = false) {
		struct why reason = WHY_NONE;
		gz_header head = {0};
		enum err err;

		if (inflateGetHeader(z, &head) != Z_OK)
			return ERR_STATE;
		err = inflate_member(z, out, start, start + limit, &reason);
		if (err == ERR_MALFORMED && !first && head.done != 1)
			return ERR_OK; /* no header, so no member: trailing bytes */
		if (err) {
			why_set(why, "%s", reason.text);
			return err;
		}
		if (!z->avail_in)
			return ERR_OK;
		if (inflateReset(z) != Z_OK)
			return ERR_STATE;
	}
}

enum err gzip_get(struct buf *out, const void *data, size_t n, size_t limit, struct why *why)
{
	z_stream z = {.next_in = (Bytef *)data, .avail_in = (uInt)n};
	size_t before = out->len;
	enum err err;

	if (n > INT_MAX || limit > INT_MAX)
		return ERR_TOO_BIG;
	if (inflateInit2(&z, GZIP_ONLY) != Z_OK)
		return ERR_NOMEM;
	err = inflate_members(&z, out, limit, why);
	inflateEnd(&z);
	if (err)
		out->len = before;
	return err;
}
