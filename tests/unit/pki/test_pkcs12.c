#include "pki/pkcs12.h"

#include "failing_alloc.h"
#include "pki_help.h"

#define PASSPHRASE "Ab3dEf6hJk9mNp2Q"

static struct buf store_read(const char *name)
{
	CLEAN(mem_freep) char *path = path_join(GOLDEN, name);
	struct buf b = {0};

	assert_int_equal(file_read(&fs_posix, path, 1u << 20, &b, NULL), ERR_OK);
	return b;
}

static size_t count(const char *text, const char *what)
{
	size_t n = 0;

	for (const char *at = strstr(text, what); at; at = strstr(at + 1, what))
		n++;
	return n;
}

static void stores_of_keytool_are_opened(void **state)
{
	static const struct {
		const char *what, *file;
	} rows[] = {
		{"as Java 17 writes it: PBES2, AES-256, HMAC with SHA-256", "store_modern.p12"},
		{"as Java 8 to 11 write it: PBE with SHA1 and 3DES, RC2-40", "store_legacy.p12"},
		{"the only key is taken whatever its alias is", "store_other_alias.p12"},
		{"of two keys, the one under \"cloud\"", "store_two_keys.p12"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf b = store_read(rows[i].file);
		struct pkcs12 p = {0};
		struct cert_info info = {0};
		struct why why = WHY_NONE;

		if (pkcs12_open(&p, b.data, b.len, PASSPHRASE, "cloud", &why))
			fail_msg("%s: %s", rows[i].what, why.text);
		check_row(&rows[i], key_matches_cert(p.key, p.cert, NULL) == ERR_OK);
		check_row(&rows[i], cert_verify(p.cert, p.ca, WALL_S, NULL) == ERR_OK);
		check_row(&rows[i], count(p.cert, "BEGIN CERTIFICATE") == 1);
		/* It stands in the store twice. */
		check_row(&rows[i], count(p.ca, "BEGIN CERTIFICATE") == 1);
		check_row(&rows[i], cert_info_parse(&info, p.cert, NULL) == ERR_OK);
		check_row(&rows[i], strcmp(info.common_name, "kvm1.example") == 0 && !info.is_ca);
		cert_info_deinit(&info);
		pkcs12_deinit(&p);
	}
}

/* From a store of keytool to one of ours and back: nothing is lost, and another passphrase doesn't open it. */
static void what_is_written_can_be_read(void **state)
{
	CLEAN(buf_deinit) struct buf from = store_read("store_modern.p12");
	CLEAN(buf_deinit) struct buf made = {0};
	CLEAN(mem_freep) char *both = NULL;
	struct pkcs12 p = {0}, again = {0}, more;

	(void)state;
	assert_int_equal(pkcs12_open(&p, from.data, from.len, PASSPHRASE, "cloud", NULL), ERR_OK);
	assert_int_equal(pkcs12_make(&made, &p, "another one", NULL), ERR_OK);
	assert_int_equal(pkcs12_open(&again, made.data, made.len, PASSPHRASE, "cloud", NULL), ERR_UNTRUSTED);
	assert_int_equal(pkcs12_open(&again, made.data, made.len, "another one", "cloud", NULL), ERR_OK);
	assert_string_equal(again.cert, p.cert);
	assert_string_equal(again.ca, p.ca);
	assert_int_equal(key_matches_cert(again.key, p.cert, NULL), ERR_OK);
	pkcs12_deinit(&again);

	/* Two CAs, as during a rotation; a key that isn't RSA. */
	{
		char *ca_key = NULL, *other_ca = NULL;
		struct cert_params c = {.common_name = "ca 2",
					.is_ca = true,
					.not_before_s = 1,
					.not_after_s = 2000000000,
					.serial = {7}};

		assert_int_equal(key_new(&ca_key, KEY_EC_P256, NULL), ERR_OK);
		c.key_pem = ca_key;
		assert_int_equal(cert_new(&other_ca, &c, NULL), ERR_OK);
		both = mem_printf("%s%s", p.ca, other_ca);
		more = (struct pkcs12){.key = ca_key, .cert = other_ca, .ca = both};
		buf_clear(&made);
		assert_int_equal(pkcs12_make(&made, &more, "x", NULL), ERR_OK);
		assert_int_equal(pkcs12_open(&again, made.data, made.len, "x", "cloud", NULL), ERR_OK);
		assert_int_equal(key_matches_cert(again.key, other_ca, NULL), ERR_OK);
		pkcs12_deinit(&again);
		more = (struct pkcs12){.key = p.key, .cert = p.cert, .ca = both};
		buf_clear(&made);
		assert_int_equal(pkcs12_make(&made, &more, "x", NULL), ERR_OK);
		assert_int_equal(pkcs12_open(&again, made.data, made.len, "x", "cloud", NULL), ERR_OK);
		assert_int_equal(count(again.ca, "BEGIN CERTIFICATE"), 2);
		pkcs12_deinit(&again);
		key_free(ca_key);
		mem_free(other_ca);
	}
	assert_int_equal(pkcs12_make(&made, &p, "", NULL), ERR_INVALID);
	more = (struct pkcs12){.key = p.cert, .cert = p.cert, .ca = p.ca};
	assert_int_not_equal(pkcs12_make(&made, &more, "x", NULL), ERR_OK);
	pkcs12_deinit(&p);
}

static void the_alias_decides_between_two_keys(void **state)
{
	CLEAN(buf_deinit) struct buf b = store_read("store_two_keys.p12");
	struct pkcs12 cloud = {0}, host = {0}, loud = {0};

	(void)state;
	assert_int_equal(pkcs12_open(&cloud, b.data, b.len, PASSPHRASE, "cloud", NULL), ERR_OK);
	assert_int_equal(pkcs12_open(&host, b.data, b.len, PASSPHRASE, "host", NULL), ERR_OK);
	/* Java's aliases don't tell cases apart. */
	assert_int_equal(pkcs12_open(&loud, b.data, b.len, PASSPHRASE, "CLOUD", NULL), ERR_OK);
	assert_string_not_equal(cloud.key, host.key);
	assert_string_not_equal(cloud.cert, host.cert);
	assert_string_equal(cloud.key, loud.key);
	pkcs12_deinit(&cloud);
	pkcs12_deinit(&host);
	pkcs12_deinit(&loud);
}

static void what_is_refused_and_why(void **state)
{
	static const struct {
		const char *what, *file, *passphrase;
		enum err err;
		const char *sentence; /* a part of it */
	} rows[] = {
		{"a wrong passphrase", "store_modern.p12", "wrong", ERR_UNTRUSTED, "passphrase is not this store's"},
		{"no passphrase", "store_modern.p12", "", ERR_UNTRUSTED, "passphrase is not this store's"},
		{"a wrong passphrase, old form", "store_legacy.p12", "wrong", ERR_UNTRUSTED, "passphrase is not"},
		{"a store under another passphrase", "store_other_passphrase.p12", PASSPHRASE, ERR_UNTRUSTED,
		 "passphrase is not"},
		{"real JKS", "store.jks", PASSPHRASE, ERR_UNSUPPORTED, "it is a JKS store"},
		{"JCEKS", "store.jceks", PASSPHRASE, ERR_UNSUPPORTED, "it is a JCEKS store"},
		{"something else", "README.md", PASSPHRASE, ERR_MALFORMED, "no PKCS#12"},
		{"a certificate", "reference_ca.pem", PASSPHRASE, ERR_MALFORMED, "no PKCS#12"},
		{"no MAC", "store_no_mac.p12", PASSPHRASE, ERR_UNTRUSTED, "not protected by a MAC"},
		{"five million rounds for the MAC", "store_many_mac.p12", PASSPHRASE, ERR_TOO_BIG, "rounds"},
		{"five million rounds for the key", "store_many_key.p12", PASSPHRASE, ERR_TOO_BIG, "rounds"},
		{"five million rounds for the certificates", "store_many_cert.p12", PASSPHRASE, ERR_TOO_BIG, "rounds"},
		{"two keys, none under the alias", "store_no_cloud.p12", PASSPHRASE, ERR_CONFLICT,
		 "2 private keys in it, and none under the alias \"cloud\""},
		{"only a trusted CA", "store_no_key.p12", PASSPHRASE, ERR_NOT_FOUND, "no private key"},
		{"a self-signed key, no CA", "store_no_ca.p12", PASSPHRASE, ERR_NOT_FOUND, "no CA certificate"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf b = store_read(rows[i].file);
		struct pkcs12 p = {0};
		struct why why = WHY_NONE;
		enum err e = pkcs12_open(&p, b.data, b.len, rows[i].passphrase, "cloud", &why);

		if (e != rows[i].err || !strstr(why.text, rows[i].sentence))
			fail_msg("%s: %s, \"%s\"", rows[i].what, err_name(e), why.text);
		check_row(&rows[i], !p.key && !p.cert && !p.ca);
	}
}

static void sizes_have_limits(void **state)
{
	char *large = mem_zalloc(PKCS12_SIZE_MAX + 1);
	char passphrase[2000];
	struct pkcs12 p = {0};
	struct why why = WHY_NONE;

	(void)state;
	check_there(large);
	assert_int_equal(pkcs12_open(&p, large, PKCS12_SIZE_MAX + 1, PASSPHRASE, "cloud", &why), ERR_TOO_BIG);
	assert_string_equal(why.text, "it has more than 1048576 bytes");
	assert_int_equal(pkcs12_open(&p, large, PKCS12_SIZE_MAX, PASSPHRASE, "cloud", &why), ERR_MALFORMED);
	memset(passphrase, 'x', sizeof(passphrase));
	passphrase[sizeof(passphrase) - 1] = '\0';
	assert_int_equal(pkcs12_open(&p, large, 16, passphrase, "cloud", &why), ERR_TOO_BIG);
	assert_int_equal(pkcs12_open(&p, large, 0, PASSPHRASE, "cloud", &why), ERR_MALFORMED);
	mem_free(large);
}

/* One byte at a time all over the file: never anything but a refusal. */
static void a_damaged_store_is_refused(void **state)
{
	CLEAN(buf_deinit) struct buf b = store_read("store_modern.p12");
	uint8_t *bytes = b.data;

	(void)state;
	for (size_t at = 0; at < b.len; at += 61) {
		struct pkcs12 p = {0};
		struct why why = WHY_NONE;

		bytes[at] ^= 0x5a;
		if (pkcs12_open(&p, bytes, b.len, PASSPHRASE, "cloud", &why) == ERR_OK)
			fail_msg("a change of byte %zu was not noticed", at);
		assert_true(why.text[0]);
		bytes[at] ^= 0x5a;
	}
}

static enum err open_once(void *user)
{
	const struct buf *b = user;
	struct pkcs12 p = {0};
	enum err e = pkcs12_open(&p, b->data, b->len, PASSPHRASE, "cloud", NULL);

	pkcs12_deinit(&p);
	return e;
}

static void memory_may_run_out_anywhere(void **state)
{
	CLEAN(buf_deinit) struct buf b = store_read("store_modern.p12");

	(void)state;
	assert_true(failing_alloc_each(open_once, &b) > 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stores_of_keytool_are_opened),
		cmocka_unit_test(what_is_written_can_be_read),
		cmocka_unit_test(the_alias_decides_between_two_keys),
		cmocka_unit_test(what_is_refused_and_why),
		cmocka_unit_test(sizes_have_limits),
		cmocka_unit_test(a_damaged_store_is_refused),
		cmocka_unit_test(memory_may_run_out_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
