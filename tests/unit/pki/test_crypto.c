#include "pki/cert.h"

#include "pki_help.h"

static void hashes_are_the_known_ones(void **state)
{
	static const struct {
		const char *what, *in, *hex;
	} rows[] = {
		{"of nothing", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"of abc (FIPS 180)", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	};
	char hex[FINGERPRINT_TEXT];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		sha256_hex(hex, rows[i].in, strlen(rows[i].in));
		check_row(&rows[i], str_equal(hex, rows[i].hex));
	}
	sha256_hex(hex, NULL, 0);
	assert_string_equal(hex, rows[0].hex);
}

static void secrets_are_compared_whole(void **state)
{
	(void)state;
	assert_true(secret_equal("abcd", "abcd", 4));
	assert_false(secret_equal("abcd", "abce", 4));
	assert_false(secret_equal("abcd", "bbcd", 4));
	assert_true(secret_equal("abcd", "abce", 3));
	assert_true(secret_equal("a", "b", 0));
}

/* NIST's GCM test case 16 (AES-256 with additional data): our layout is nonce, cipher text, tag. */
static void sealing_is_aes_256_gcm(void **state)
{
	CLEAN(buf_deinit) struct buf key = {0}, nonce = {0}, plain = {0}, expected = {0}, sealed = {0};

	(void)state;
	assert_true(hex_decode("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", &key));
	assert_true(hex_decode("cafebabefacedbaddecaf888", &nonce));
	assert_true(hex_decode("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c9595680953"
			       "2fcf0e2449a6b525b16aedf5aa0de657ba637b39",
			       &plain));
	/* NIST's case has other additional data; with none the cipher text is the same, the tag is its own. */
	assert_true(hex_decode("cafebabefacedbaddecaf888522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1"
			       "aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
			       &expected));
	assert_int_equal(seal_bytes(&sealed, key.data, nonce.data, plain.data, plain.len, ""), ERR_OK);
	assert_int_equal(sealed.len, expected.len + 16);
	assert_memory_equal(sealed.data, expected.data, expected.len);
}

static void sealed_bytes_open_only_as_they_were(void **state)
{
	static const struct {
		const char *what;
		const char *context;
		unsigned key_byte; /* of the key it is opened with */
		size_t flip;       /* this byte of the sealed bytes; SIZE_MAX: none */
		size_t cut;        /* so many bytes less */
		enum err e;
	} rows[] = {
		{"as they were", "here", 7, SIZE_MAX, 0, ERR_OK},
		{"with another key", "here", 8, SIZE_MAX, 0, ERR_UNTRUSTED},
		{"in another context", "there", 7, SIZE_MAX, 0, ERR_UNTRUSTED},
		{"without the context", NULL, 7, SIZE_MAX, 0, ERR_UNTRUSTED},
		{"with a changed nonce", "here", 7, 0, 0, ERR_UNTRUSTED},
		{"with a changed content", "here", 7, 13, 0, ERR_UNTRUSTED},
		{"with a changed tag", "here", 7, 30, 0, ERR_UNTRUSTED},
		{"cut by one", "here", 7, SIZE_MAX, 1, ERR_UNTRUSTED},
		{"cut to less than nonce and tag", "here", 7, SIZE_MAX, 8, ERR_UNTRUSTED},
		{"cut to nothing", "here", 7, SIZE_MAX, 33, ERR_UNTRUSTED},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf sealed = {0}, opened = {0};
		uint8_t key[32], nonce[12] = {1};

		memset(key, 7, sizeof(key));
		assert_int_equal(seal_bytes(&sealed, key, nonce, "hello", 5, "here"), ERR_OK);
		assert_int_equal(sealed.len, 33);
		if (rows[i].flip != SIZE_MAX)
			sealed.data[rows[i].flip] ^= 0x80;
		memset(key, (int)rows[i].key_byte, sizeof(key));
		assert_int_equal(buf_put_str(&opened, "before "), ERR_OK);
		check_row(&rows[i], open_bytes(&opened, key, sealed.data, sealed.len - rows[i].cut, rows[i].context) ==
					    rows[i].e);
		check_row(&rows[i], str_equal(buf_str(&opened),
					      rows[i].e ? "before " : "before hello")); /* appended or nothing */
	}
}

static void nothing_can_be_sealed_too(void **state)
{
	CLEAN(buf_deinit) struct buf sealed = {0}, opened = {0};
	uint8_t key[32] = {0}, nonce[12] = {0};

	(void)state;
	assert_int_equal(seal_bytes(&sealed, key, nonce, NULL, 0, NULL), ERR_OK);
	assert_int_equal(sealed.len, 28);
	assert_int_equal(open_bytes(&opened, key, sealed.data, sealed.len, NULL), ERR_OK);
	assert_int_equal(opened.len, 0);
}

static void keys_are_pkcs8_and_differ(void **state)
{
	char *a = NULL, *b = NULL;

	(void)state;
	assert_int_equal(key_new(&a, KEY_EC_P256, NULL), ERR_OK);
	assert_int_equal(key_new(&b, KEY_EC_P256, NULL), ERR_OK);
	assert_true(str_starts(a, "-----BEGIN PRIVATE KEY-----\n"));
	assert_string_not_equal(a, b);
	assert_null(key_free(a));
	assert_null(key_free(b));
	assert_null(key_free(NULL));
	assert_int_equal(key_new(&a, (enum key_kind)99, NULL), ERR_INVALID);
}

static void a_key_is_matched_with_its_certificate(void **state)
{
	static const struct {
		const char *what, *key, *cert;
		enum err e;
	} rows[] = {
		{"PKCS#8", "rsa.key", "reference_leaf.pem", ERR_OK},
		{"PKCS#1, as older hosts have it", "rsa_pkcs1.key", "reference_leaf.pem", ERR_OK},
		{"another's key", "reference_ca.key", "reference_leaf.pem", ERR_INVALID},
		{"a key under a passphrase", "encrypted.key", "reference_leaf.pem", ERR_MALFORMED},
		{"a certificate instead of a key", "reference_leaf.pem", "reference_leaf.pem", ERR_MALFORMED},
		{"a key instead of a certificate", "rsa.key", "rsa.key", ERR_MALFORMED},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(text_freep) char *key = golden(rows[i].key);
		CLEAN(text_freep) char *cert = golden(rows[i].cert);
		struct why why = WHY_NONE;

		check_row(&rows[i], key_matches_cert(key, cert, &why) == rows[i].e);
		check_row(&rows[i], !rows[i].e == !why.text[0]);
	}
	assert_int_equal(key_matches_cert("", "", NULL), ERR_MALFORMED);
	assert_int_equal(key_matches_cert(NULL, NULL, NULL), ERR_MALFORMED);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes_are_the_known_ones),
		cmocka_unit_test(secrets_are_compared_whole),
		cmocka_unit_test(sealing_is_aes_256_gcm),
		cmocka_unit_test(sealed_bytes_open_only_as_they_were),
		cmocka_unit_test(nothing_can_be_sealed_too),
		cmocka_unit_test(keys_are_pkcs8_and_differ),
		cmocka_unit_test(a_key_is_matched_with_its_certificate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
