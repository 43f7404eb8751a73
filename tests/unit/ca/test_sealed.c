/* What is sealed, sealed again under another key; and how keys are named. */
#include "ca/sealed.h"

#include "../pki/pki_help.h"

static const uint8_t old_key[CLUSTER_KEY_SIZE] = {1}, new_key[CLUSTER_KEY_SIZE] = {2}, nonce[12] = {3},
		     nonce_2[12] = {4};

static char *sealed_under(const uint8_t *key, const char *context, const char *plain)
{
	CLEAN(buf_deinit) struct buf b = {0};

	assert_int_equal(seal_bytes(&b, key, nonce, plain, strlen(plain), context), ERR_OK);
	return base64url_encode(b.data, b.len);
}

static void again(void **state)
{
	CLEAN(mem_freep) char *good = sealed_under(old_key, SEALED_CA_KEY, "secret");
	CLEAN(mem_freep) char *empty = sealed_under(old_key, SEALED_CA_KEY, "");
	CLEAN(mem_freep) char *foreign = sealed_under(new_key, SEALED_CA_KEY, "secret");
	const struct {
		const char *what, *sealed, *context;
		enum err e;
		const char *plain, *why;
	} rows[] = {
		{"it is sealed again", good, SEALED_CA_KEY, ERR_OK, "secret", NULL},
		{"an empty one", empty, SEALED_CA_KEY, ERR_OK, "", NULL},
		{"of another secret", good, SEALED_TICKET_KEYS, ERR_UNTRUSTED, NULL, "does not open"},
		{"under another key", foreign, SEALED_CA_KEY, ERR_UNTRUSTED, NULL, "does not open"},
		{"no text of ours", "not!base64", SEALED_CA_KEY, ERR_DAMAGED, NULL, "damaged (muster ca key)"},
		{"too short", "AAAA", SEALED_CA_KEY, ERR_UNTRUSTED, NULL, "does not open"},
		{"nothing", "", SEALED_CA_KEY, ERR_UNTRUSTED, NULL, "does not open"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(mem_freep) char *out = NULL;
		CLEAN(buf_deinit) struct buf sealed = {0}, plain = {0};
		struct why why = WHY_NONE;
		enum err e = sealed_again(&out, rows[i].sealed, rows[i].context, old_key, new_key, nonce_2, &why);

		if (e != rows[i].e || (rows[i].why && !strstr(why.text, rows[i].why)))
			fail_msg("%s: %s: %s", rows[i].what, err_name(e), why.text);
		check_row(&rows[i], !e == (out != NULL));
		if (e)
			continue;
		assert_true(base64url_decode(out, &sealed));
		assert_int_equal(open_bytes(&plain, old_key, sealed.data, sealed.len, rows[i].context), ERR_UNTRUSTED);
		assert_int_equal(open_bytes(&plain, new_key, sealed.data, sealed.len, rows[i].context), ERR_OK);
		check_row(&rows[i],
			  plain.len == strlen(rows[i].plain) && memcmp(plain.data, rows[i].plain, plain.len) == 0);
	}
}

/* It stands in stores and in rows of servers: it has to stay what it is. */
static void ids(void **state)
{
	char a[CLUSTER_KEY_ID_TEXT], b[CLUSTER_KEY_ID_TEXT];

	(void)state;
	cluster_key_id(a, old_key);
	cluster_key_id(b, new_key);
	assert_string_not_equal(a, b);
	assert_int_equal(strlen(a), 16);
	cluster_key_id(b, old_key);
	assert_string_equal(a, b);
	assert_string_equal(a, "0f48bbb51d0be04d");
}

static void records(void **state)
{
	static const struct {
		const char *what, *text, *id;
		int64_t since_ms;
	} rows[] = {
		{"as we write it", "id=0123456789abcdef since=17", "0123456789abcdef", 17},
		{"with more from a newer program", "id=0123456789abcdef since=17 by=x", "0123456789abcdef", 17},
		{"none", NULL, "", 0},
		{"nothing", "", "", 0},
		{"a short id", "id=0123 since=17", "", 0},
		{"no id", "id=XXXXXXXXXXXXXXXX since=17", "", 0},
		{"no time", "id=0123456789abcdef", "", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cluster_key_record r;

		cluster_key_record_read(&r, rows[i].text);
		check_row(&rows[i], str_equal(r.id, rows[i].id) && r.since_ms == rows[i].since_ms);
		if (i == 0) {
			CLEAN(mem_freep) char *text = cluster_key_record_text(&r);

			assert_string_equal(text, rows[i].text);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(again),
		cmocka_unit_test(ids),
		cmocka_unit_test(records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
