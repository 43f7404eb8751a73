#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "check.h"
#include "failing_alloc.h"

static void content_grows_and_shrinks(void **state)
{
	CLEAN(buf_deinit) struct buf b = {0};
	uint8_t *data;

	assert_int_equal(buf_put(&b, "abc", 3), ERR_OK);
	assert_int_equal(buf_put(&b, NULL, 0), ERR_OK);
	assert_int_equal(buf_put_str(&b, "def"), ERR_OK);
	assert_int_equal(buf_printf(&b, "-%d-%s", 42, "x"), ERR_OK);
	assert_string_equal(buf_str(&b), "abcdef-42-x");
	assert_int_equal(b.len, 11);
	buf_consume(&b, 0);
	buf_consume(&b, 3);
	assert_string_equal(buf_str(&b), "def-42-x");
	buf_consume(&b, 100);
	assert_int_equal(b.len, 0);
	buf_consume(&b, 1);
	assert_string_equal(buf_str(&b), "");

	assert_int_equal(buf_put_str(&b, "secret"), ERR_OK);
	buf_wipe(&b);
	assert_null(b.data);
	buf_wipe(&b);
	assert_int_equal(b.len, 0);

	/* Clearing keeps the memory. */
	assert_int_equal(buf_put_str(&b, "again"), ERR_OK);
	data = b.data;
	buf_clear(&b);
	assert_int_equal(b.len, 0);
	assert_ptr_equal(b.data, data);
}

static void long_content_is_kept_whole(void **state)
{
	CLEAN(buf_deinit) struct buf b = {0};

	for (size_t i = 0; i < 10000; i++)
		assert_int_equal(buf_put_u16(&b, (uint16_t)i), ERR_OK);
	assert_int_equal(b.len, 20000);
	for (size_t i = 0; i < 10000; i++)
		assert_int_equal(b.data[2 * i] << 8 | b.data[2 * i + 1], i);
}

static void numbers_are_big_endian_both_ways(void **state)
{
	static const uint8_t expected[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0xf8,
					   0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff};
	CLEAN(buf_deinit) struct buf b = {0};
	struct bytes in;
	uint8_t v8;
	uint16_t v16;
	uint32_t v32;
	uint64_t v64;

	assert_int_equal(buf_put_u8(&b, 0x01), ERR_OK);
	assert_int_equal(buf_put_u16(&b, 0x0203), ERR_OK);
	assert_int_equal(buf_put_u32(&b, 0x04050607), ERR_OK);
	assert_int_equal(buf_put_u64(&b, 0xf8f9fafbfcfdfeffu), ERR_OK);
	assert_int_equal(b.len, sizeof(expected));
	assert_memory_equal(b.data, expected, sizeof(expected));

	in = (struct bytes){.data = b.data, .len = b.len};
	assert_true(bytes_get_u8(&in, &v8));
	assert_true(bytes_get_u16(&in, &v16));
	assert_true(bytes_get_u32(&in, &v32));
	assert_true(bytes_get_u64(&in, &v64));
	assert_int_equal(v8, 0x01);
	assert_int_equal(v16, 0x0203);
	assert_int_equal(v32, 0x04050607);
	assert_true(v64 == 0xf8f9fafbfcfdfeffu);
	assert_int_equal(in.len, 0);
}

static void nothing_is_read_beyond_the_end(void **state)
{
	uint8_t *data = malloc(7);
	struct bytes in = {.data = data, .len = 7}, part = {0};
	uint64_t v64 = 5;
	uint32_t v32 = 5;
	uint16_t v16 = 5;
	uint8_t v8 = 5;

	memset(data, 0xaa, 7);
	/* A refusal changes neither the view nor the result. */
	assert_false(bytes_get_u64(&in, &v64));
	assert_false(bytes_get(&in, 8, &part));
	assert_false(bytes_get(&in, SIZE_MAX, &part));
	assert_int_equal(in.len, 7);
	assert_ptr_equal(in.data, data);
	assert_null(part.data);
	assert_true(bytes_get(&in, 4, &part));
	assert_ptr_equal(part.data, data);
	assert_int_equal(part.len, 4);
	assert_false(bytes_get_u32(&in, &v32));
	assert_true(bytes_get(&in, 2, &part));
	assert_false(bytes_get_u16(&in, &v16));
	assert_true(bytes_get(&in, 1, &part));
	assert_false(bytes_get_u8(&in, &v8));
	assert_true(bytes_get(&in, 0, &part));
	assert_int_equal(part.len, 0);
	assert_true(v64 == 5 && v32 == 5 && v16 == 5 && v8 == 5);
	free(data);

	in = (struct bytes){0};
	assert_true(bytes_get(&in, 0, &part));
	assert_false(bytes_get_u8(&in, &v8));
}

static void impossible_sizes_are_refused(void **state)
{
	CLEAN(buf_deinit) struct buf b = {0};

	assert_int_equal(buf_put_str(&b, "abc"), ERR_OK);
	assert_int_equal(buf_reserve(&b, SIZE_MAX), ERR_NOMEM);
	assert_int_equal(buf_reserve(&b, SIZE_MAX - 3), ERR_NOMEM);
	assert_string_equal(buf_str(&b), "abc");
}

static void content_is_handed_over(void **state)
{
	CLEAN(buf_deinit) struct buf a = {0};
	CLEAN(buf_deinit) struct buf b = {0};
	CLEAN(mem_freep) char *text = NULL;
	CLEAN(mem_freep) char *empty = NULL;

	assert_int_equal(buf_put_str(&a, "from"), ERR_OK);
	assert_int_equal(buf_put_str(&b, "what it held"), ERR_OK);
	buf_move(&b, &a);
	assert_int_equal(a.len, 0);
	assert_null(a.data);
	buf_move(&b, &b);
	text = buf_take_str(&b);
	assert_string_equal(text, "from");
	assert_null(b.data);
	assert_int_equal(b.cap, 0);
	empty = buf_take_str(&b);
	assert_string_equal(empty, "");
}

static void hex_is_strict(void **state)
{
	static const struct {
		const char *what;
		const char *text;
		bool is_valid;
		size_t len;
		uint8_t bytes[4];
	} rows[] = {
		{"nothing is no bytes", "", true, 0, {0}},
		{"lower case", "00ff7a", true, 3, {0x00, 0xff, 0x7a}},
		{"upper case is read too", "AbCDef09", true, 4, {0xab, 0xcd, 0xef, 0x09}},
		{"an odd count of digits", "abc", false, 0, {0}},
		{"a letter that is no digit", "0g", false, 0, {0}},
		{"a letter that is no digit in front", "g0", false, 0, {0}},
		{"a blank", "00 1", false, 0, {0}},
		{"good digits before bad ones leave nothing behind", "0011zz", false, 0, {0}},
		{"a byte of UTF-8", "\xc3\xa9", false, 0, {0}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf out = {0};
		char text[16];

		assert_int_equal(buf_put_str(&out, "x"), ERR_OK);
		check_row(&rows[i], hex_decode(rows[i].text, &out) == rows[i].is_valid);
		check_row(&rows[i], out.len == 1 + rows[i].len && out.data[0] == 'x');
		check_row(&rows[i], memcmp(out.data + 1, rows[i].bytes, rows[i].len) == 0);
		if (rows[i].is_valid) {
			hex_encode(text, rows[i].bytes, rows[i].len);
			check_row(&rows[i], strcasecmp(text, rows[i].text) == 0);
			check_row(&rows[i], !strpbrk(text, "ABCDEF"));
		}
	}
}

static void base64url_is_strict(void **state)
{
	static const struct {
		const char *what;
		const char *text;
		bool is_valid;
		size_t len;
		uint8_t bytes[6];
	} rows[] = {
		{"nothing is no bytes", "", true, 0, {0}},
		{"one byte", "Zg", true, 1, "f"},
		{"two bytes", "Zm8", true, 2, "fo"},
		{"three bytes", "Zm9v", true, 3, "foo"},
		{"four bytes", "Zm9vYg", true, 4, "foob"},
		{"five bytes", "Zm9vYmE", true, 5, "fooba"},
		{"the URL alphabet", "-_8", true, 2, {0xfb, 0xff}},
		{"the other alphabet is refused", "+/8", false, 0, {0}},
		{"padding is refused", "Zg==", false, 0, {0}},
		{"a single digit can't be", "Z", false, 0, {0}},
		{"five digits can't be", "Zm9vY", false, 0, {0}},
		{"left-over bits must be zero", "Zh", false, 0, {0}},
		{"left-over bits must be zero after two bytes", "Zm9", false, 0, {0}},
		{"a blank", "Zm 8", false, 0, {0}},
		{"a line end", "Zm9v\n", false, 0, {0}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf out = {0};

		assert_int_equal(buf_put_str(&out, "x"), ERR_OK);
		check_row(&rows[i], base64url_decode(rows[i].text, &out) == rows[i].is_valid);
		check_row(&rows[i], out.len == 1 + rows[i].len && out.data[0] == 'x');
		check_row(&rows[i], memcmp(out.data + 1, rows[i].bytes, rows[i].len) == 0);
		if (rows[i].is_valid) {
			CLEAN(mem_freep) char *text = base64url_encode(rows[i].bytes, rows[i].len);

			check_row(&rows[i], text && strcmp(text, rows[i].text) == 0);
		}
	}
}

static void base64url_gives_back_any_bytes(void **state)
{
	struct rng rng;

	rng_init(&rng, 1);
	for (size_t n = 0; n < 200; n++) {
		CLEAN(buf_deinit) struct buf out = {0};
		CLEAN(mem_freep) char *text = NULL;
		uint8_t bytes[200];

		for (size_t i = 0; i < n; i++)
			bytes[i] = (uint8_t)rng_u64(&rng);
		text = base64url_encode(bytes, n);
		assert_true(base64url_decode(text, &out));
		assert_int_equal(out.len, n);
		if (n)
			assert_memory_equal(out.data, bytes, n);
	}
}

static enum err use_everything(void *user)
{
	CLEAN(buf_deinit) struct buf b = {0};
	CLEAN(mem_freep) char *base64 = NULL;
	enum err e = buf_put_u64(&b, 1);

	if (!e)
		e = buf_printf(&b, "%0100d", 1);
	if (!e)
		e = buf_reserve(&b, 1000);
	if (e)
		return e;
	buf_deinit(&b);
	if (!buf_str(&b))
		return ERR_NOMEM;
	buf_deinit(&b);
	if (!hex_decode("00", &b))
		return ERR_NOMEM;
	buf_deinit(&b);
	if (!base64url_decode("AAAA", &b))
		return ERR_NOMEM;
	buf_deinit(&b);
	base64 = buf_take_str(&b);
	if (!base64)
		return ERR_NOMEM;
	base64 = mem_free(base64);
	base64 = base64url_encode("x", 1);
	return base64 ? ERR_OK : ERR_NOMEM;
}

static void every_allocation_may_fail(void **state)
{
	assert_int_equal(failing_alloc_each(use_everything, NULL), 8);
}

static void a_failed_put_keeps_the_content(void **state)
{
	CLEAN(buf_deinit) struct buf b = {0};
	uint8_t block[500] = {0};

	assert_int_equal(buf_put_str(&b, "kept"), ERR_OK);
	failing_alloc_arm(0);
	assert_int_equal(buf_put(&b, block, sizeof(block)), ERR_NOMEM);
	assert_true(failing_alloc_disarm());
	assert_string_equal(buf_str(&b), "kept");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content_grows_and_shrinks),
		cmocka_unit_test(long_content_is_kept_whole),
		cmocka_unit_test(numbers_are_big_endian_both_ways),
		cmocka_unit_test(nothing_is_read_beyond_the_end),
		cmocka_unit_test(impossible_sizes_are_refused),
		cmocka_unit_test(content_is_handed_over),
		cmocka_unit_test(hex_is_strict),
		cmocka_unit_test(base64url_is_strict),
		cmocka_unit_test(base64url_gives_back_any_bytes),
		cmocka_unit_test(every_allocation_may_fail),
		cmocka_unit_test(a_failed_put_keeps_the_content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
