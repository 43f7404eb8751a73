/*
 * Any stream of packets: nothing outside of it is read, what is taken has the size its header says, and cutting a
 * packet short only makes the reader wait.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* The header that we would write means the same. */
static void must_be_writable(const uint8_t *packet, const struct frame *frame)
{
	uint8_t header[FRAME_HEADER];

	frame_put_header(header, frame->payload.len, frame->follows);
	MUST(header[0] == 0 && header[1] == (packet[1] & 1));
	MUST(header[2] == packet[2] && header[3] == packet[3]);
}

static void must_wait_when_cut(const uint8_t *packet, size_t n)
{
	static const size_t keep[] = {0, 1, FRAME_HEADER - 1, FRAME_HEADER};

	for (size_t i = 0; i <= sizeof(keep) / sizeof(keep[0]); i++) {
		size_t len = i < sizeof(keep) / sizeof(keep[0]) ? keep[i] : n - 1;
		struct bytes in = {.data = packet, .len = len};
		struct frame frame;

		if (len >= n)
			continue;
		MUST(frame_get(&in, &frame, NULL) == FRAME_NEED_MORE);
		MUST(in.data == packet && in.len == len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = {.data = data, .len = size};
	size_t sum = 0;

	for (;;) {
		struct bytes before = in;
		struct why why = WHY_NONE;
		struct frame frame;
		enum frame_outcome outcome = frame_get(&in, &frame, &why);

		MUST(!!why.text[0] == (outcome == FRAME_BAD));
		if (outcome != FRAME_READY) {
			MUST(in.data == before.data && in.len == before.len);
			break;
		}
		MUST(frame.payload.len <= FRAME_MAX);
		MUST(frame.payload.data == before.data + FRAME_HEADER);
		MUST(in.data == frame.payload.data + frame.payload.len);
		MUST(before.len - in.len == FRAME_HEADER + frame.payload.len);
		for (size_t i = 0; i < frame.payload.len; i++)
			sum += frame.payload.data[i];
		must_be_writable(before.data, &frame);
		must_wait_when_cut(before.data, before.len - in.len);
	}
	MUST(sum <= size * 255); /* used, so that the reads stay */
	return 0;
}
