/* Packets: sizes, the flag, and what a reader closes on. */
#include "check.h"

#include <string.h>

#include "base/mem.h"
#include "wire/frame.h"

static void packets_are_taken_one_at_a_time(void **state)
{
	static const struct {
		const char *what;
		uint8_t in[12];
		size_t n;
		enum frame_outcome outcome;
		bool follows;
		size_t payload;
		size_t left;
	} rows[] = {
		{"nothing: wait", {0}, 0, FRAME_NEED_MORE, false, 0, 0},
		{"a header may come in pieces", {0, 0, 0}, 3, FRAME_NEED_MORE, false, 0, 3},
		{"a payload may come in pieces", {0, 0, 0, 3, 'a', 'b'}, 6, FRAME_NEED_MORE, false, 0, 6},
		{"a whole packet is taken", {0, 0, 0, 2, 'a', 'b'}, 6, FRAME_READY, false, 2, 0},
		{"what comes after it stays", {0, 0, 0, 2, 'a', 'b', 0, 0}, 8, FRAME_READY, false, 2, 2},
		{"the flag says that more packets follow", {0, 1, 0, 1, 'a'}, 5, FRAME_READY, true, 1, 0},
		{"no other bit of the upper half counts", {0xff, 0xfe, 0, 1, 'a'}, 5, FRAME_READY, false, 1, 0},
		{"an empty packet is one (an empty message to the reader above)",
		 {0, 0, 0, 0},
		 4,
		 FRAME_READY,
		 false,
		 0,
		 0},
		{"an empty packet with the flag is harmless", {0, 1, 0, 0, 9}, 5, FRAME_READY, true, 0, 1},
		{"18000 bytes may be waited for", {0, 0, 0x46, 0x50}, 4, FRAME_NEED_MORE, false, 0, 4},
		{"18001 bytes are too many, known before they come", {0, 0, 0x46, 0x51}, 4, FRAME_BAD, false, 0, 4},
		{"32767 is the largest size there is", {0, 0, 0x7f, 0xff}, 4, FRAME_BAD, false, 0, 4},
		{"-32768: the size is signed", {0, 0, 0x80, 0}, 4, FRAME_BAD, false, 0, 4},
		{"-1", {0, 0, 0xff, 0xff}, 4, FRAME_BAD, false, 0, 4},
		{"an unframed TLS alert looks like a packet of 768 bytes",
		 {0x15, 3, 3, 0, 0x1a},
		 5,
		 FRAME_NEED_MORE,
		 false,
		 0,
		 5},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bytes in = {.data = rows[i].in, .len = rows[i].n};
		struct frame frame = {0};
		struct why why = WHY_NONE;

		check_row(&rows[i], frame_get(&in, &frame, &why) == rows[i].outcome);
		check_row(&rows[i], in.len == rows[i].left);
		check_row(&rows[i], in.data == rows[i].in + rows[i].n - rows[i].left);
		check_row(&rows[i], !!why.text[0] == (rows[i].outcome == FRAME_BAD));
		if (rows[i].outcome != FRAME_READY)
			continue;
		check_row(&rows[i], frame.follows == rows[i].follows);
		check_row(&rows[i], frame.payload.len == rows[i].payload);
		check_row(&rows[i], frame.payload.data == rows[i].in + FRAME_HEADER);
	}
}

static void a_refusal_says_why(void **state)
{
	static const uint8_t negative[] = {0, 0, 0xff, 0xfe}, big[] = {0, 0, 0x4e, 0x5a};
	struct frame frame;
	struct why why = WHY_NONE;

	assert_int_equal(frame_get(&(struct bytes){negative, 4}, &frame, &why), FRAME_BAD);
	assert_string_equal(why.text, "packet size -2 is negative");
	assert_int_equal(frame_get(&(struct bytes){big, 4}, &frame, &why), FRAME_BAD);
	assert_string_equal(why.text, "packet of 20058 bytes, 18000 are the most");
	assert_int_equal(frame_get(&(struct bytes){big, 4}, &frame, NULL), FRAME_BAD);
}

static void headers_are_written_as_the_reference_does(void **state)
{
	static const struct {
		const char *what;
		size_t n;
		bool follows;
		uint8_t out[FRAME_HEADER];
	} rows[] = {
		{"the last packet of a 100040-byte message", 0x6e5, false, {0, 0, 0x06, 0xe5}},
		{"a full record of TLS 1.2 with AES-GCM", 16413, true, {0, 1, 0x40, 0x1d}},
		{"an empty message", 0, false, {0, 0, 0, 0}},
		{"the largest", FRAME_MAX, false, {0, 0, 0x46, 0x50}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t out[FRAME_HEADER];

		frame_put_header(out, rows[i].n, rows[i].follows);
		check_row(&rows[i], !memcmp(out, rows[i].out, FRAME_HEADER));
	}
}

/* Whatever was written is read back, however the bytes are cut. */
static void packets_survive_any_cutting(void **state)
{
	static const size_t sizes[] = {0, 1, 255, 256, 16413, FRAME_MAX};
	static uint8_t stream[6 * FRAME_HEADER + 1 + 255 + 256 + 16413 + FRAME_MAX];
	size_t end = 0;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		frame_put_header(stream + end, sizes[i], i + 1 < ARRAY_SIZE(sizes));
		memset(stream + end + FRAME_HEADER, (int)i, sizes[i]);
		end += FRAME_HEADER + sizes[i];
	}
	assert_int_equal(end, sizeof(stream));

	for (size_t step = 1; step < 40000; step = step * 3 + 1) {
		struct bytes in = {.data = stream, .len = 0};
		size_t n = 0;

		for (size_t fed = 0; fed < end; fed += step) {
			struct frame frame;

			in.len += end - fed < step ? end - fed : step;
			while (frame_get(&in, &frame, NULL) == FRAME_READY) {
				assert_int_equal(frame.payload.len, sizes[n]);
				assert_int_equal(frame.follows, n + 1 < ARRAY_SIZE(sizes));
				if (frame.payload.len)
					assert_int_equal(frame.payload.data[frame.payload.len - 1], n);
				n++;
			}
		}
		assert_int_equal(n, ARRAY_SIZE(sizes));
		assert_int_equal(in.len, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_are_taken_one_at_a_time),
		cmocka_unit_test(a_refusal_says_why),
		cmocka_unit_test(headers_are_written_as_the_reference_does),
		cmocka_unit_test(packets_survive_any_cutting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
