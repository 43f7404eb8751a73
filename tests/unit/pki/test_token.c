#include "pki/token.h"

#include "check.h"
#include "failing_alloc.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define SECRET "00112233445566778899aabbccddeeff0011223344556677"
#define FINGERPRINT "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void secret_text_freep(char **p)
{
	*p = key_free(*p);
}

static void token_make(struct token *t)
{
	*t = (struct token){.id = "t-1", .secret = SECRET, .fingerprint = FINGERPRINT, .role = CERT_ROLE_AGENT};
	assert_int_equal(str_list_add(&t->servers, "10.0.0.1:8250"), ERR_OK);
	assert_int_equal(str_list_add(&t->servers, "[2001:db8::1]:8250"), ERR_OK);
}

static void a_token_survives_being_copied(void **state)
{
	CLEAN(token_deinit) struct token t, back;
	CLEAN(secret_text_freep) char *text = NULL;
	CLEAN(mem_freep) char *pasted = NULL;

	(void)state;
	token_make(&t);
	text = token_format(&t);
	assert_non_null(text);
	assert_true(str_starts(text, "muster1."));
	for (const char *p = text; *p; p++)
		assert_true(isalnum((unsigned char)*p) || strchr("._-", *p));

	pasted = mem_printf("\r\n \t%s \r\n", text);
	assert_int_equal(token_parse(&back, pasted, NULL), ERR_OK);
	assert_string_equal(back.id, t.id);
	assert_string_equal(back.secret, t.secret);
	assert_string_equal(back.fingerprint, t.fingerprint);
	assert_int_equal(back.role, CERT_ROLE_AGENT);
	assert_true(str_list_equal(&back.servers, &t.servers));
}

/* Each character in turn: replaced, left out, exchanged with the next. A mistyped token never passes for another. */
static void slips_are_found(void **state)
{
	CLEAN(token_deinit) struct token t;
	CLEAN(secret_text_freep) char *text = NULL;
	size_t n;

	(void)state;
	token_make(&t);
	text = token_format(&t);
	n = strlen(text);
	for (size_t i = 0; i < n; i++) {
		for (int slip = 0; slip < 4; slip++) {
			CLEAN(mem_freep) char *wrong = mem_strdup(text);
			struct why why = WHY_NONE;
			struct token back;

			if (slip == 0)
				wrong[i] = wrong[i] == 'A' ? 'B' : 'A';
			else if (slip == 1)
				memmove(wrong + i, wrong + i + 1, n - i);
			else if (slip == 2)
				wrong[i] = (char)(islower((unsigned char)wrong[i]) ? toupper((unsigned char)wrong[i])
										   : tolower((unsigned char)wrong[i]));
			else if (i + 1 < n) {
				char c = wrong[i];

				wrong[i] = wrong[i + 1];
				wrong[i + 1] = c;
			}
			if (strcmp(wrong, text) == 0)
				continue;
			if (token_parse(&back, wrong, &why) != ERR_MALFORMED)
				fail_msg("slip %d at %zu was not seen", slip, i);
			assert_true(strstr(why.text, "token"));
			/* What is said of it never repeats it. */
			assert_null(strstr(why.text, wrong + 8));
			assert_null(back.servers.items);
		}
	}
}

static void texts_that_are_no_tokens(void **state)
{
	static const struct {
		const char *what, *text, *why;
	} rows[] = {
		{"nothing", "", "empty"},
		{"blanks", " \r\n", "empty"},
		{"a word", "hello", "should begin with muster1."},
		{"the prefix alone", "muster1.", "cut off"},
		{"a newer kind", "muster2.abcdef", "newer kind"},
		{"in capitals", "MUSTER1.AAAA", "should begin with"},
		{"characters that don't belong there", "muster1.AA*A", "characters"},
		{"broken over two lines", "muster1.AAAA\nAAAA", "characters"},
		{"a wrong check sum", "muster1.AAAAAAAAAAAAAAAA", "check sum"},
	};
	CLEAN(mem_freep) char *big = mem_zalloc(5001);
	struct why why = WHY_NONE;
	struct token t;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		check_row(&rows[i], token_parse(&t, rows[i].text, &why) == ERR_MALFORMED);
		check_row(&rows[i], strstr(why.text, rows[i].why));
	}
	assert_int_equal(token_parse(&t, NULL, NULL), ERR_MALFORMED);
	memset(big, 'A', 5000);
	assert_int_equal(token_parse(&t, big, &why), ERR_MALFORMED);
	assert_non_null(strstr(why.text, "longer than"));
}

/* Somebody who computes the check sum himself. */
static void right_sums_over_wrong_contents(void **state)
{
	static const struct {
		const char *what, *head; /* hex, before secret and fingerprint */
		const char *tail;        /* hex, after them */
		size_t between;          /* bytes of secret and fingerprint */
	} rows[] = {
		{"no role",
		 "0001"
		 "61",
		 "00", 56},
		{"an unknown role",
		 "0301"
		 "61",
		 "00", 56},
		{"an empty id", "0100", "00", 56},
		{"an id with a slash",
		 "0101"
		 "2f",
		 "00", 56},
		{"an id with a NUL",
		 "0102"
		 "6100",
		 "00", 56},
		{"an id that is too long",
		 "0118"
		 "616161616161616161616161616161616161616161616161",
		 "00", 56},
		{"no servers' count",
		 "0101"
		 "61",
		 "", 56},
		{"a fingerprint that is cut off",
		 "0101"
		 "61",
		 "", 40},
		{"17 servers",
		 "0101"
		 "61",
		 "11"
		 "0161016101610161016101610161016101610161016101610161016101610161"
		 "0161",
		 56},
		{"a server that is missing",
		 "0101"
		 "61",
		 "01", 56},
		{"a server that is cut off",
		 "0101"
		 "61",
		 "01"
		 "0461",
		 56},
		{"an empty server",
		 "0101"
		 "61",
		 "01"
		 "00",
		 56},
		{"a server with a newline",
		 "0101"
		 "61",
		 "01"
		 "02610a",
		 56},
		{"a server with a blank",
		 "0101"
		 "61",
		 "01"
		 "026120",
		 56},
		{"something behind the end",
		 "0101"
		 "61",
		 "00"
		 "00",
		 56},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf b = {0};
		CLEAN(mem_freep) char *encoded = NULL;
		CLEAN(mem_freep) char *text = NULL;
		char sum[FINGERPRINT_TEXT];
		struct why why = WHY_NONE;
		struct token t;

		assert_true(hex_decode(rows[i].head, &b));
		for (size_t k = 0; k < rows[i].between; k++)
			assert_int_equal(buf_put_u8(&b, 7), ERR_OK);
		assert_true(hex_decode(rows[i].tail, &b));
		sha256_hex(sum, b.data, b.len);
		sum[8] = '\0';
		assert_true(hex_decode(sum, &b));
		encoded = base64url_encode(b.data, b.len);
		text = mem_printf("muster1.%s", encoded);
		check_row(&rows[i], token_parse(&t, text, &why) == ERR_MALFORMED);
		check_row(&rows[i], strstr(why.text, "no meaning"));
	}
}

static void tokens_over_their_limits_are_not_written(void **state)
{
	struct token t;

	(void)state;
	token_make(&t);
	t.secret[0] = 'x';
	assert_null(token_format(&t));
	token_deinit(&t);

	token_make(&t);
	t.secret[40] = '\0';
	assert_null(token_format(&t));
	token_deinit(&t);

	token_make(&t);
	t.id[0] = '\0';
	assert_null(token_format(&t));
	token_deinit(&t);

	token_make(&t);
	t.role = CERT_ROLE_NONE;
	assert_null(token_format(&t));
	token_deinit(&t);

	token_make(&t);
	assert_int_equal(str_list_add(&t.servers, "a b:8250"), ERR_OK);
	assert_null(token_format(&t));
	token_deinit(&t);

	token_make(&t);
	for (size_t i = 0; i < 15; i++)
		assert_int_equal(str_list_add(&t.servers, "c:8250"), ERR_OK);
	assert_null(token_format(&t));
	token_deinit(&t);
}

static void as_many_servers_as_may_be(void **state)
{
	CLEAN(token_deinit) struct token t, back;
	CLEAN(secret_text_freep) char *text = NULL;

	(void)state;
	token_make(&t);
	str_list_deinit(&t.servers);
	for (size_t i = 0; i < 16; i++)
		assert_int_equal(str_list_add(&t.servers, "management-server-of-a-long-name.example.org:8250"), ERR_OK);
	text = token_format(&t);
	assert_non_null(text);
	assert_int_equal(token_parse(&back, text, NULL), ERR_OK);
	assert_int_equal(back.servers.n, 16);
}

static enum err parse_once(void *text)
{
	struct token t;
	enum err e = token_parse(&t, text, NULL);

	token_deinit(&t);
	return e;
}

static void memory_may_run_out(void **state)
{
	CLEAN(token_deinit) struct token t;
	CLEAN(secret_text_freep) char *text = NULL;

	(void)state;
	token_make(&t);
	text = token_format(&t);
	assert_true(failing_alloc_each(parse_once, text) > 3);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_survives_being_copied),
		cmocka_unit_test(slips_are_found),
		cmocka_unit_test(texts_that_are_no_tokens),
		cmocka_unit_test(right_sums_over_wrong_contents),
		cmocka_unit_test(tokens_over_their_limits_are_not_written),
		cmocka_unit_test(as_many_servers_as_may_be),
		cmocka_unit_test(memory_may_run_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
