/* Headers, and whole messages with hostile lengths and gzip. */
#include "check.h"

#include <string.h>

#include "base/mem.h"
#include "failing_alloc.h"
#include "wire/gzip.h"
#include "wire/header.h"

#define BODY "[{\"com.cloud.agent.api.CheckHealthCommand\":{\"contextMap\":{},\"wait\":50}}]"
#define ALL_FIELDS 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 102, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 7

static void headers_are_read(void **state)
{
	static const struct {
		const char *what;
		uint8_t in[41];
		size_t n;
		enum err err;
		size_t left;
		struct header out;
	} rows[] = {
		{"version 0 has all fields",
		 {0, 0, 0, 3, ALL_FIELDS, 0, 0, 0, 0, 0, 0, 0, 8, 'b'},
		 41,
		 ERR_OK,
		 1,
		 {0, 3, 1, 102, 5, 7, 8}},
		{"version 1 is refused", {1, 0, 0, 3, ALL_FIELDS}, 40, ERR_MALFORMED, 40, {0}},
		{"version 2 ends before via, which is then the agent's id",
		 {2, 0, 0, 3, ALL_FIELDS, 'b'},
		 33,
		 ERR_OK,
		 1,
		 {2, 3, 1, 102, 5, 7, 7}},
		{"version 3 is not known", {3, 0, 0, 3, ALL_FIELDS}, 40, ERR_MALFORMED, 40, {0}},
		{"version 255 neither", {255, 0, 0, 3, ALL_FIELDS}, 40, ERR_MALFORMED, 40, {0}},
		{"the second byte isn't looked at",
		 {0, 0xaa, 0, 3, ALL_FIELDS, 0, 0, 0, 0, 0, 0, 0, 8},
		 40,
		 ERR_OK,
		 0,
		 {0, 3, 1, 102, 5, 7, 8}},
		{"unknown flags are kept",
		 {0, 0, 0xff, 3, ALL_FIELDS, 0, 0, 0, 0, 0, 0, 0, 8},
		 40,
		 ERR_OK,
		 0,
		 {0, 0xff03, 1, 102, 5, 7, 8}},
		{"39 bytes are too few", {0, 0, 0, 3, ALL_FIELDS}, 39, ERR_MALFORMED, 39, {0}},
		{"31 bytes are too few for version 2", {2, 0, 0, 3, ALL_FIELDS}, 31, ERR_MALFORMED, 31, {0}},
		{"an empty message is refused", {0}, 0, ERR_MALFORMED, 0, {0}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bytes in = {.data = rows[i].in, .len = rows[i].n};
		struct header h = {0};
		struct why why = WHY_NONE;

		check_row(&rows[i], header_get(&h, &in, &why) == rows[i].err);
		check_row(&rows[i], in.len == rows[i].left);
		check_row(&rows[i], !!why.text[0] == (rows[i].err != ERR_OK));
		check_row(&rows[i], h.version == rows[i].out.version && h.flags == rows[i].out.flags);
		check_row(&rows[i], h.seq == rows[i].out.seq && h.length == rows[i].out.length);
		check_row(&rows[i], h.mgmt_id == rows[i].out.mgmt_id && h.agent_id == rows[i].out.agent_id);
		check_row(&rows[i], h.via == rows[i].out.via);
	}
}

static void headers_survive_writing(void **state)
{
	static const struct header rows[] = {
		{0, 0x0087, 1, 9148, -1, 5, 5},
		{0, 0xffff, INT64_MAX, UINT32_MAX, INT64_MIN, INT64_MAX, INT64_MIN},
		{0, 0, -1, 0, -1, -1, -1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t bytes[HEADER_SIZE];
		struct bytes in = {.data = bytes, .len = sizeof(bytes)};
		struct header h;

		header_put(bytes, &rows[i]);
		assert_int_equal(header_get(&h, &in, NULL), ERR_OK);
		assert_int_equal(in.len, 0);
		assert_true(h.version == 0 && h.flags == rows[i].flags && h.length == rows[i].length);
		assert_true(h.seq == rows[i].seq && h.mgmt_id == rows[i].mgmt_id);
		assert_true(h.agent_id == rows[i].agent_id && h.via == rows[i].via);
	}
}

static void a_header_has_the_documented_bytes(void **state)
{
	static const uint8_t want[HEADER_SIZE] = {
		0x00, 0x00, 0x00, 0x87, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00,
		0x23, 0xbc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05,
	};
	/* Version 2 can only be read: what we write is version 0. */
	struct header h = {2, 0x0087, 1, 9148, -1, 5, 5};
	uint8_t bytes[HEADER_SIZE];

	header_put(bytes, &h);
	assert_memory_equal(bytes, want, sizeof(want));
}

static void answers_follow_their_request(void **state)
{
	static const struct {
		const char *what;
		uint16_t request;
		uint16_t answer;
	} rows[] = {
		{"an agent's startup is answered by a server", 0x0001, 0x0020},
		{"an agent's ping: stop-on-error is kept", 0x0003, 0x0022},
		{"an agent's shutdown: in-sequence is kept too", 0x0007, 0x0026},
		{"a server's command is answered by an agent", 0x0023, 0x0002},
		{"a server's in-sequence command keeps the sender's queue going", 0x0027, 0x0006},
		{"a server's command with continue-on-error", 0x0021, 0x0000},
		{"compression is decided anew", 0x00a3, 0x0002},
		{"control is not answered", 0x0043, 0x0022},
		{"unknown flags are not answered", 0xff13, 0x0022},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct header request = {2, rows[i].request, 77, 1234, 5, 6, 7};
		struct header answer = header_answer(&request);

		check_row(&rows[i], answer.flags == rows[i].answer);
		check_row(&rows[i], answer.version == 0 && answer.length == 0);
		check_row(&rows[i], answer.seq == 77 && answer.mgmt_id == 5);
		check_row(&rows[i], answer.agent_id == 6 && answer.via == 7);
	}
}

static void a_description_always_fits(void **state)
{
	struct header h = {255, 0xffff, INT64_MIN, UINT32_MAX, INT64_MIN, INT64_MIN, INT64_MIN};
	char text[160];

	header_describe(text, sizeof(text), &h);
	assert_string_equal(text, "request seq=-9223372036854775808 flags=0xffff length=4294967295 "
				  "mgmt=-9223372036854775808 agent=-9223372036854775808 via=-9223372036854775808");
	h = (struct header){0, 0x0020, 0, 167, 90520741327555, -1, -1};
	header_describe(text, sizeof(text), &h);
	assert_string_equal(text, "response seq=0 flags=0x0020 length=167 mgmt=90520741327555 agent=-1 via=-1");
}

static void compression_is_decided_by_size(void **state)
{
	static const struct {
		const char *what;
		size_t n;
		uint16_t flags_before;
		uint16_t flags_after;
	} rows[] = {
		{"no body", 0, 0x0002, 0x0002},
		{"8191 bytes are the longest that isn't compressed", 8191, 0x0002, 0x0002},
		{"8192 bytes are the shortest that is", 8192, 0x0002, 0x0082},
		{"a flag left from before is taken away", 10, 0x00a3, 0x0023},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf out = {0};
		CLEAN(buf_deinit) struct buf body = {0};
		CLEAN(mem_freep) char *text = mem_zalloc(rows[i].n);
		struct header h = {.flags = rows[i].flags_before, .length = 99}, back;

		memset(text, 'x', rows[i].n);
		assert_int_equal(buf_put_str(&out, "before"), ERR_OK);
		check_row(&rows[i], message_pack(&out, &h, text, rows[i].n) == ERR_OK);
		check_row(&rows[i], h.flags == rows[i].flags_after && h.length == rows[i].n);
		check_row(&rows[i], !memcmp(out.data, "before", 6));
		check_row(&rows[i], message_unpack(&back, &body, out.data + 6, out.len - 6, rows[i].n, NULL) == ERR_OK);
		check_row(&rows[i], back.flags == h.flags && back.length == h.length);
		check_row(&rows[i], body.len == rows[i].n && (!body.len || !memcmp(body.data, text, body.len)));
	}
}

/* A message of up to three gzip members, cut short by `cut` bytes, then `tail`. */
struct hostile {
	const char *what;
	const char *members[3];
	size_t cut;
	const char *tail;
	size_t tail_n;
	uint32_t length;
	size_t limit;
	enum err err;
	const char *body;
};

static void put_message(struct buf *out, const struct hostile *row)
{
	struct header h = {.flags = FLAG_REQUEST | FLAG_COMPRESSED, .length = row->length};
	uint8_t bytes[HEADER_SIZE];

	header_put(bytes, &h);
	assert_int_equal(buf_put(out, bytes, sizeof(bytes)), ERR_OK);
	for (size_t i = 0; i < ARRAY_SIZE(row->members) && row->members[i]; i++)
		assert_int_equal(gzip_put(out, row->members[i], strlen(row->members[i])), ERR_OK);
	out->len -= row->cut;
	assert_int_equal(buf_put(out, row->tail, row->tail_n), ERR_OK);
}

static void hostile_compression_is_bounded(void **state)
{
	static const struct hostile rows[] = {
		{"one member of the length that was said", {"abcdef"}, 0, "", 0, 6, 100, ERR_OK, "abcdef"},
		{"exactly the limit", {"abcdef"}, 0, "", 0, 6, 6, ERR_OK, "abcdef"},
		{"the length says more than there is: what there is", {"abcdef"}, 0, "", 0, 16, 100, ERR_OK, "abcdef"},
		{"the length says less than there is: a lie", {"abcdef"}, 0, "", 0, 5, 100, ERR_MALFORMED, NULL},
		{"length 0 with content is a lie", {"abcdef"}, 0, "", 0, 0, 100, ERR_MALFORMED, NULL},
		{"length 0 with an empty member is an empty body", {""}, 0, "", 0, 0, 100, ERR_OK, ""},
		{"a negative length is refused", {"abcdef"}, 0, "", 0, UINT32_MAX, 100, ERR_MALFORMED, NULL},
		{"the most negative too", {"abcdef"}, 0, "", 0, 0x80000000, 100, ERR_MALFORMED, NULL},
		{"a length over the limit is refused, whatever is inside",
		 {"abcdef"},
		 0,
		 "",
		 0,
		 101,
		 100,
		 ERR_TOO_BIG,
		 NULL},
		{"the largest length", {"abcdef"}, 0, "", 0, INT32_MAX, 100, ERR_TOO_BIG, NULL},
		{"two members are one body", {"abc", "def"}, 0, "", 0, 6, 100, ERR_OK, "abcdef"},
		{"three, one of them empty", {"abc", "", "def"}, 0, "", 0, 6, 100, ERR_OK, "abcdef"},
		{"all members count against the length", {"abc", "def"}, 0, "", 0, 5, 100, ERR_MALFORMED, NULL},
		{"trailing bytes are ignored", {"abcdef"}, 0, "\1\2\3", 3, 6, 100, ERR_OK, "abcdef"},
		{"trailing NULs are ignored", {"abcdef"}, 0, "\0\0\0\0\0\0\0\0\0\0\0\0", 12, 6, 100, ERR_OK, "abcdef"},
		{"half a header of another member is trailing bytes",
		 {"abcdef"},
		 0,
		 "\x1f\x8b\x08",
		 3,
		 6,
		 100,
		 ERR_OK,
		 "abcdef"},
		{"a header of another kind is trailing bytes",
		 {"abcdef"},
		 0,
		 "\x1f\x8b\x07\0\0\0\0\0\0\0\0\0",
		 12,
		 6,
		 100,
		 ERR_OK,
		 "abcdef"},
		{"a whole header and nothing after it is a member cut short",
		 {"abcdef"},
		 0,
		 "\x1f\x8b\x08\0\0\0\0\0\0\xff",
		 10,
		 6,
		 100,
		 ERR_MALFORMED,
		 NULL},
		{"a whole header and rubbish after it is a damaged member",
		 {"abcdef"},
		 0,
		 "\x1f\x8b\x08\0\0\0\0\0\0\xff\xff\xff\xff",
		 13,
		 6,
		 100,
		 ERR_MALFORMED,
		 NULL},
		{"a second member cut short spoils all", {"abc", "def"}, 5, "", 0, 6, 100, ERR_MALFORMED, NULL},
		{"one byte missing", {"abcdef"}, 1, "", 0, 6, 100, ERR_MALFORMED, NULL},
		{"without the checksum", {"abcdef"}, 8, "", 0, 6, 100, ERR_MALFORMED, NULL},
		{"a wrong checksum", {"abcdef"}, 8, "\0\0\0\0\6\0\0\0", 8, 6, 100, ERR_MALFORMED, NULL},
		{"the flag but plain text", {NULL}, 0, "[{}]", 4, 4, 100, ERR_MALFORMED, NULL},
		{"the flag but no body", {NULL}, 0, "", 0, 0, 100, ERR_MALFORMED, NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf message = {0};
		CLEAN(buf_deinit) struct buf body = {0};
		struct why why = WHY_NONE;
		struct header h;

		put_message(&message, &rows[i]);
		assert_int_equal(buf_put_str(&body, "what was there before"), ERR_OK);
		check_row(&rows[i],
			  message_unpack(&h, &body, message.data, message.len, rows[i].limit, &why) == rows[i].err);
		check_row(&rows[i], !!why.text[0] == (rows[i].err != ERR_OK));
		check_row(&rows[i], h.length == rows[i].length); /* the header is known in any case */
		check_row(&rows[i], !strcmp(buf_str(&body), rows[i].body ? rows[i].body : ""));
	}
}

/* Uncompressed bodies reach to the end of the message; only the limit counts. */
static void the_length_of_a_plain_body_is_ignored(void **state)
{
	static const struct {
		const char *what;
		uint32_t length;
		size_t limit;
		enum err err;
	} rows[] = {
		{"too small", 3, 1000, ERR_OK},
		{"too big", 0x40000000, 1000, ERR_OK},
		{"negative", UINT32_MAX, 1000, ERR_OK},
		{"a body of exactly the limit", 1, sizeof(BODY) - 1, ERR_OK},
		{"one byte over the limit", 1, sizeof(BODY) - 2, ERR_TOO_BIG},
		{"a limit of nothing", 0, 0, ERR_TOO_BIG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t message[HEADER_SIZE + sizeof(BODY) - 1];
		CLEAN(buf_deinit) struct buf body = {0};
		struct header h = {.flags = FLAG_REQUEST, .length = rows[i].length};

		header_put(message, &h);
		memcpy(message + HEADER_SIZE, BODY, sizeof(BODY) - 1);
		check_row(&rows[i],
			  message_unpack(&h, &body, message, sizeof(message), rows[i].limit, NULL) == rows[i].err);
		check_row(&rows[i], !strcmp(buf_str(&body), rows[i].err ? "" : BODY));
	}
}

/* 32 MiB of zeros are 32 KiB of gzip. */
static void a_bomb_costs_no_memory(void **state)
{
	static const struct {
		const char *what;
		uint32_t length;
		size_t limit;
		enum err err;
		size_t most; /* bytes of memory that may be asked for */
	} rows[] = {
		{"an honest bomb is refused by its header", 32u << 20, 256u << 10, ERR_TOO_BIG, 0},
		{"one that lies is stopped at the length it said", 1000, 256u << 10, ERR_MALFORMED, 4096},
		{"one that says the limit is stopped there", 256u << 10, 256u << 10, ERR_MALFORMED, 512u << 10},
	};
	CLEAN(mem_freep) char *zeros = mem_zalloc(32u << 20);
	CLEAN(buf_deinit) struct buf gzip = {0};

	assert_int_equal(gzip_put(&gzip, zeros, 32u << 20), ERR_OK);
	assert_in_range(gzip.len, 1, 64 << 10);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf message = {0};
		CLEAN(buf_deinit) struct buf body = {0};
		struct header h = {.flags = FLAG_COMPRESSED, .length = rows[i].length};
		uint8_t bytes[HEADER_SIZE];

		header_put(bytes, &h);
		assert_int_equal(buf_put(&message, bytes, sizeof(bytes)), ERR_OK);
		assert_int_equal(buf_put(&message, gzip.data, gzip.len), ERR_OK);
		check_row(&rows[i],
			  message_unpack(&h, &body, message.data, message.len, rows[i].limit, NULL) == rows[i].err);
		check_row(&rows[i], body.cap <= rows[i].most && body.len == 0);
	}
}

static void a_small_gzip_that_says_much_costs_little(void **state)
{
	CLEAN(buf_deinit) struct buf message = {0};
	CLEAN(buf_deinit) struct buf body = {0};
	struct hostile row = {.members = {"abc"}, .tail = "", .length = 16u << 20};
	struct header h;

	put_message(&message, &row);
	assert_int_equal(message_unpack(&h, &body, message.data, message.len, 16u << 20, NULL), ERR_OK);
	assert_in_range(body.cap, 3, 4096);
}

static enum err pack_and_unpack(void *user)
{
	CLEAN(buf_deinit) struct buf out = {0};
	CLEAN(buf_deinit) struct buf body = {0};
	struct header h = {.flags = FLAG_REQUEST};
	enum err err = message_pack(&out, &h, user, 20000);

	if (err) {
		assert_int_equal(out.len, 0);
		return err;
	}
	return message_unpack(&h, &body, out.data, out.len, 20000, NULL);
}

static void missing_memory_is_reported(void **state)
{
	static char text[20000];

	memset(text, 'x', sizeof(text));
	assert_in_range(failing_alloc_each(pack_and_unpack, text), 3, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_are_read),
		cmocka_unit_test(headers_survive_writing),
		cmocka_unit_test(a_header_has_the_documented_bytes),
		cmocka_unit_test(answers_follow_their_request),
		cmocka_unit_test(a_description_always_fits),
		cmocka_unit_test(compression_is_decided_by_size),
		cmocka_unit_test(hostile_compression_is_bounded),
		cmocka_unit_test(the_length_of_a_plain_body_is_ignored),
		cmocka_unit_test(a_bomb_costs_no_memory),
		cmocka_unit_test(a_small_gzip_that_says_much_costs_little),
		cmocka_unit_test(missing_memory_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
