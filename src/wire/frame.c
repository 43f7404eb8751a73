/*
 * Packets, as the reference reads and writes them.
 *
 * The size is a signed number on the wire, so 0x8000 to 0xffff are negative and refused like everything over
 * FRAME_MAX. That is known from the header alone: a liar is noticed before a byte of the payload is waited for.
 */
#include "wire/frame.h"

#include <assert.h>

#define FLAG_FOLLOWS 0x01

enum frame_outcome frame_get(struct bytes *in, struct frame *out, struct why *why)
{
	struct bytes rest = *in;
	struct frame frame;
	uint8_t ignored, flags;
	uint16_t size;

	if (!bytes_get_u8(&rest, &ignored) || !bytes_get_u8(&rest, &flags) || !bytes_get_u16(&rest, &size))
		return FRAME_NEED_MORE;
	if (size > INT16_MAX) {
		why_set(why, "packet size %d is negative", (int)size - 0x10000);
		return FRAME_BAD;
	}
	if (size > FRAME_MAX) {
		why_set(why, "packet of %u bytes, %d are the most", size, FRAME_MAX);
		return FRAME_BAD;
	}
	if (!bytes_get(&rest, size, &frame.payload))
		return FRAME_NEED_MORE;

	frame.follows = flags & FLAG_FOLLOWS;
	*out = frame;
	*in = rest;
	return FRAME_READY;
}

void frame_put_header(uint8_t out[FRAME_HEADER], size_t n, bool follows)
{
	assert(n <= FRAME_MAX);

	out[0] = 0;
	out[1] = follows ? FLAG_FOLLOWS : 0;
	out[2] = (uint8_t)(n >> 8);
	out[3] = (uint8_t)n;
}
