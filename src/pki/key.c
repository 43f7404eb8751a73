/*
 * Private keys, and what the other files of pki share around GnuTLS.
 */
#include "pki/x509.h"

#include <string.h>

enum err x509_fail(int ret, enum err otherwise, struct why *why, const char *what)
{
	if (ret == GNUTLS_E_MEMORY_ERROR)
		return ERR_NOMEM;
	why_set(why, "%s: %s", what, gnutls_strerror(ret));
	return otherwise;
}

enum err x509_text(gnutls_datum_t *out, const char *pem, size_t max, const char *what, struct why *why)
{
	size_t n = pem ? strnlen(pem, max + 1) : 0;

	if (n == 0) {
		why_set(why, "%s: empty", what);
		return ERR_MALFORMED;
	}
	if (n > max) {
		why_set(why, "%s: longer than %zu characters", what, max);
		return ERR_TOO_BIG;
	}
	*out = (gnutls_datum_t){.data = (unsigned char *)(uintptr_t)pem, .size = (unsigned)n};
	return ERR_OK;
}

enum err x509_take_text(char **out, gnutls_datum_t *take_d)
{
	char *text = mem_strndup((const char *)take_d->data, take_d->size);

	mem_wipe(take_d->data, take_d->size);
	datum_freep(take_d);
	if (!text)
		return ERR_NOMEM;
	*out = text;
	return ERR_OK;
}

gnutls_digest_algorithm_t x509_digest(gnutls_pubkey_t key)
{
	gnutls_digest_algorithm_t hash = GNUTLS_DIG_SHA256;

	if (gnutls_pubkey_get_preferred_hash_algorithm(key, &hash, NULL) < 0 || hash == GNUTLS_DIG_SHA1 ||
	    hash == GNUTLS_DIG_SHA224)
		return GNUTLS_DIG_SHA256;
	return hash;
}

enum err x509_key_is_usable(int algorithm, unsigned bits, struct why *why)
{
	switch (algorithm) {
	case GNUTLS_PK_RSA:
		if (bits >= 2048 && bits <= 8192)
			return ERR_OK;
		why_set(why, "an RSA key of %u bits; 2048 to 8192 are allowed", bits);
		return ERR_INVALID;
	case GNUTLS_PK_ECDSA:
		if (bits >= 256)
			return ERR_OK;
		why_set(why, "an elliptic curve of %u bits; at least 256 are needed", bits);
		return ERR_INVALID;
	case GNUTLS_PK_EDDSA_ED25519:
	case GNUTLS_PK_EDDSA_ED448:
		return ERR_OK;
	default:
		why_set(why, "a kind of key that is not supported");
		return ERR_UNSUPPORTED;
	}
}

enum err key_load(gnutls_x509_privkey_t *out, const char *pem, struct why *why)
{
	CLEAN(x509_key_freep) gnutls_x509_privkey_t key = NULL;
	gnutls_datum_t text;
	enum err e;
	int ret;

	if ((e = x509_text(&text, pem, KEY_TEXT_MAX, "private key", why)))
		return e;
	if (gnutls_x509_privkey_init(&key) < 0)
		return ERR_NOMEM;
	ret = gnutls_x509_privkey_import2(key, &text, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN);
	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, "private key");
	*out = STEAL(key);
	return ERR_OK;
}

enum err key_load_abstract(gnutls_privkey_t *out, const char *pem, struct why *why)
{
	CLEAN(x509_key_freep) gnutls_x509_privkey_t key = NULL;
	CLEAN(privkey_freep) gnutls_privkey_t abstract = NULL;
	enum err e;
	int ret;

	if ((e = key_load(&key, pem, why)))
		return e;
	if (gnutls_privkey_init(&abstract) < 0)
		return ERR_NOMEM;
	ret = gnutls_privkey_import_x509(abstract, key, GNUTLS_PRIVKEY_IMPORT_AUTO_RELEASE);
	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, "private key");
	key = NULL; /* released with `abstract` */
	*out = STEAL(abstract);
	return ERR_OK;
}

enum key_kind key_rsa_kind(unsigned bits)
{
	return bits <= 2048 ? KEY_RSA_2048 : bits <= 3072 ? KEY_RSA_3072 : KEY_RSA_4096;
}

enum err key_new(char **pem, enum key_kind kind, struct why *why)
{
	static const struct {
		gnutls_pk_algorithm_t algorithm;
		unsigned bits;
	} kinds[] = {
		[KEY_EC_P256] = {GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1)},
		[KEY_RSA_2048] = {GNUTLS_PK_RSA, 2048},
		[KEY_RSA_3072] = {GNUTLS_PK_RSA, 3072},
		[KEY_RSA_4096] = {GNUTLS_PK_RSA, 4096},
	};
	CLEAN(x509_key_freep) gnutls_x509_privkey_t key = NULL;
	gnutls_datum_t text = {0};
	int ret;

	if ((size_t)kind >= ARRAY_SIZE(kinds)) {
		why_set(why, "no such kind of key");
		return ERR_INVALID;
	}
	if (gnutls_x509_privkey_init(&key) < 0)
		return ERR_NOMEM;
	ret = gnutls_x509_privkey_generate(key, kinds[kind].algorithm, kinds[kind].bits, 0);
	if (ret < 0)
		return x509_fail(ret, ERR_UNSUPPORTED, why, "make a key");
	ret = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &text);
	if (ret < 0)
		return x509_fail(ret, ERR_UNSUPPORTED, why, "write the key");
	return x509_take_text(pem, &text);
}

void *key_free(char *pem)
{
	if (pem)
		mem_wipe(pem, strlen(pem));
	return mem_free(pem);
}

enum err key_fits(gnutls_x509_crt_t crt, gnutls_privkey_t key, struct why *why)
{
	CLEAN(pubkey_freep) gnutls_pubkey_t public_key = NULL;
	uint8_t of_crt[32], of_key[32];
	size_t n_crt = sizeof(of_crt), n_key = sizeof(of_key);
	int ret;

	if (gnutls_pubkey_init(&public_key) < 0)
		return ERR_NOMEM;
	ret = gnutls_pubkey_import_privkey(public_key, key, 0, 0);
	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, "private key");
	ret = gnutls_pubkey_get_key_id(public_key, GNUTLS_KEYID_USE_SHA256, of_key, &n_key);
	if (ret >= 0)
		ret = gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, of_crt, &n_crt);
	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, "public key");
	if (n_crt != n_key || memcmp(of_crt, of_key, n_crt) != 0) {
		why_set(why, "the private key does not belong to the certificate");
		return ERR_INVALID;
	}
	return ERR_OK;
}

enum err key_matches_cert(const char *key_pem, const char *cert_pem, struct why *why)
{
	CLEAN(privkey_freep) gnutls_privkey_t key = NULL;
	CLEAN(crt_freep) gnutls_x509_crt_t crt = NULL;
	enum err e;

	if ((e = key_load_abstract(&key, key_pem, why)) || (e = cert_load(&crt, cert_pem, why)))
		return e;
	return key_fits(crt, key, why);
}
