/*
 * Packets: after the TLS handshake every TLS record travels behind a plaintext 4-byte header
 * (agent-protocol 1.5; docs/protocol.md "Packets").
 *
 *   byte 0: ignored   byte 1: bit 0 = F, more packets of this message follow   bytes 2-3: size, signed 16 bit
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define FRAME_HEADER 4
#define FRAME_MAX 18000       /* a reader closes above this */
#define FRAME_PLAIN_MAX 16384 /* plaintext bytes a sender puts into one record */

struct frame {
	bool follows;         /* F */
	struct bytes payload; /* a view into what was fed */
};

enum frame_outcome { FRAME_READY, FRAME_NEED_MORE, FRAME_BAD };

/* Takes one packet from the front of `in`. On FRAME_NEED_MORE and FRAME_BAD `in` is untouched. */
enum frame_outcome frame_get(struct bytes *in, struct frame *out, struct why *why);
/* The header for n payload bytes; n <= FRAME_MAX is the caller's duty. */
void frame_put_header(uint8_t out[FRAME_HEADER], size_t n, bool follows);
