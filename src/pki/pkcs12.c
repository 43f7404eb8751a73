/*
 * Reads PKCS#12 with GnuTLS, bag by bag.
 *
 * Its one-call parser is not used: it derives keys with as many rounds as the file asks for. Here each count is read
 * first and taken from a budget, so that a hostile file costs about a second and no more. The MAC comes before all
 * decryption, because only it tells a wrong passphrase from a damaged file.
 *
 * What Java marks as trusted (bag attribute 2.16.840.1.113894.746875.1.1) can't be seen through GnuTLS. All CA
 * certificates of the store count instead: the others of them are the chain of the key's own entry, which leads to
 * the trusted one.
 */
#include "pki/pkcs12.h"

#include <string.h>

#include <gnutls/pkcs12.h>

#include "base/buf.h"
#include "pki/x509.h"

#define BAGS_MAX 16
#define KEYS_MAX 16
#define PASSPHRASE_MAX 1024

X509_CLEAN_DEFINE(p12, gnutls_pkcs12_t, gnutls_pkcs12_deinit)
X509_CLEAN_DEFINE(bag, gnutls_pkcs12_bag_t, gnutls_pkcs12_bag_deinit)

/* What has been found so far. */
struct content {
	const char *passphrase, *alias;
	gnutls_x509_privkey_t keys[KEYS_MAX];
	bool is_named[KEYS_MAX]; /* under the alias */
	unsigned n_keys;
	gnutls_x509_crt_t crts[CHAIN_MAX];
	unsigned n_crts;
	uint64_t rounds; /* of key derivation, asked for until now */
};

static void content_deinit(struct content *c)
{
	for (unsigned i = 0; i < c->n_keys; i++)
		gnutls_x509_privkey_deinit(c->keys[i]);
	for (unsigned i = 0; i < c->n_crts; i++)
		gnutls_x509_crt_deinit(c->crts[i]);
}

void pkcs12_deinit(struct pkcs12 *p)
{
	p->key = key_free(p->key);
	p->cert = mem_free(p->cert);
	p->ca = mem_free(p->ca);
}

const char *pkcs12_other_format(const void *data, size_t n)
{
	static const struct {
		uint8_t magic[4];
		const char *name;
	} rows[] = {{{0xfe, 0xed, 0xfe, 0xed}, "JKS"}, {{0xce, 0xce, 0xce, 0xce}, "JCEKS"}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (n >= sizeof(rows[i].magic) && memcmp(data, rows[i].magic, sizeof(rows[i].magic)) == 0)
			return rows[i].name;
	return NULL;
}

/* Asked before each derivation. */
static enum err spend(struct content *c, unsigned rounds, struct why *why)
{
	c->rounds += rounds;
	if (c->rounds <= PKCS12_ROUNDS_MAX)
		return ERR_OK;
	why_set(why, "it asks for more than %u rounds of key derivation", PKCS12_ROUNDS_MAX);
	return ERR_TOO_BIG;
}

/* ---- the MAC ---- */

static enum err check_mac(gnutls_pkcs12_t p12, struct content *c, struct why *why)
{
	unsigned mac, rounds = 0, salt_size = 0;
	char *oid = NULL;
	int ret = gnutls_pkcs12_mac_info(p12, &mac, NULL, &salt_size, &rounds, &oid);
	enum err e;

	/* Only asked for because GnuTLS 3.7 loses it where the algorithm is unknown and nobody takes it. */
	gnutls_free(oid);

	if (ret == GNUTLS_E_UNKNOWN_HASH_ALGORITHM) {
		why_set(why, "it is protected in a way that is not supported");
		return ERR_UNSUPPORTED;
	}
	/* Short of room for the salt, which nobody wants; the count has been read by then. */
	if (ret < 0 && ret != GNUTLS_E_SHORT_MEMORY_BUFFER) {
		why_set(why, "it is not protected by a MAC: nobody could tell a wrong passphrase or a change");
		return ERR_UNTRUSTED;
	}
	if ((e = spend(c, rounds, why)))
		return e;
	ret = gnutls_pkcs12_verify_mac(p12, c->passphrase);
	if (ret == GNUTLS_E_MAC_VERIFY_FAILED) {
		why_set(why, "the passphrase is not this store's (or the store is damaged)");
		return ERR_UNTRUSTED;
	}
	return ret < 0 ? x509_fail(ret, ERR_MALFORMED, why, "its MAC") : ERR_OK;
}

/* ---- what is in the bags ---- */

static bool is_named(gnutls_pkcs12_bag_t bag, unsigned i, const char *alias)
{
	char *name = NULL; /* the bag's */

	return gnutls_pkcs12_bag_get_friendly_name(bag, i, &name) >= 0 && name && str_equal_nocase(name, alias);
}

static enum err pay_for_key(struct content *c, const gnutls_datum_t *der, struct why *why)
{
	unsigned schema, cipher, rounds = 0, salt_size = 0;
	int ret = gnutls_pkcs8_info(der, GNUTLS_X509_FMT_DER, &schema, &cipher, NULL, &salt_size, &rounds, NULL);

	if (ret < 0 && ret != GNUTLS_E_SHORT_MEMORY_BUFFER)
		return x509_fail(ret, ERR_UNSUPPORTED, why, "its encryption of the key");
	return spend(c, rounds, why);
}

static enum err add_key(struct content *c, gnutls_pkcs12_bag_t bag, unsigned i, const gnutls_datum_t *der,
			bool is_encrypted, struct why *why)
{
	CLEAN(x509_key_freep) gnutls_x509_privkey_t key = NULL;
	enum err e = is_encrypted ? pay_for_key(c, der, why) : ERR_OK;
	int ret;

	if (e)
		return e;
	if (c->n_keys == KEYS_MAX) {
		why_set(why, "more than %d keys", KEYS_MAX);
		return ERR_TOO_BIG;
	}
	if (gnutls_x509_privkey_init(&key) < 0)
		return ERR_NOMEM;
	ret = gnutls_x509_privkey_import_pkcs8(key, der, GNUTLS_X509_FMT_DER, is_encrypted ? c->passphrase : NULL,
					       is_encrypted ? 0 : GNUTLS_PKCS_PLAIN);
	if (ret == GNUTLS_E_DECRYPTION_FAILED) {
		why_set(why, "the key in it has another passphrase than the store");
		return ERR_UNTRUSTED;
	}
	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, "the key in it");
	c->is_named[c->n_keys] = is_named(bag, i, c->alias);
	c->keys[c->n_keys++] = STEAL(key);
	return ERR_OK;
}

static enum err add_crt(struct content *c, const gnutls_datum_t *der, struct why *why)
{
	CLEAN(crt_freep) gnutls_x509_crt_t crt = NULL;
	int ret;

	if (gnutls_x509_crt_init(&crt) < 0)
		return ERR_NOMEM;
	ret = gnutls_x509_crt_import(crt, der, GNUTLS_X509_FMT_DER);
	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, "a certificate in it");
	/* Java writes the CA twice: trusted, and in the chain of the key. */
	for (unsigned i = 0; i < c->n_crts; i++)
		if (gnutls_x509_crt_equals(c->crts[i], crt))
			return ERR_OK;
	if (c->n_crts == CHAIN_MAX) {
		why_set(why, "more than %d certificates", CHAIN_MAX);
		return ERR_TOO_BIG;
	}
	c->crts[c->n_crts++] = STEAL(crt);
	return ERR_OK;
}

static enum err add_element(struct content *c, gnutls_pkcs12_bag_t bag, unsigned i, struct why *why)
{
	int type = gnutls_pkcs12_bag_get_type(bag, i);
	gnutls_datum_t der; /* the bag's */
	int ret = gnutls_pkcs12_bag_get_data(bag, i, &der);

	if (type < 0 || ret < 0)
		return x509_fail(type < 0 ? type : ret, ERR_MALFORMED, why, "an entry in it");
	switch (type) {
	case GNUTLS_BAG_PKCS8_ENCRYPTED_KEY:
		return add_key(c, bag, i, &der, true, why);
	case GNUTLS_BAG_PKCS8_KEY:
		return add_key(c, bag, i, &der, false, why);
	case GNUTLS_BAG_CERTIFICATE:
		return add_crt(c, &der, why);
	default:
		/* Secret keys, CRLs, what is not known: no concern of an agent. */
		return ERR_OK;
	}
}

static enum err decrypt(struct content *c, gnutls_pkcs12_bag_t bag, struct why *why)
{
	unsigned schema, cipher, rounds = 0, salt_size = 0;
	int ret = gnutls_pkcs12_bag_enc_info(bag, &schema, &cipher, NULL, &salt_size, &rounds, NULL);
	enum err e;

	if (ret < 0 && ret != GNUTLS_E_SHORT_MEMORY_BUFFER)
		return x509_fail(ret, ERR_UNSUPPORTED, why, "its encryption");
	if ((e = spend(c, rounds, why)))
		return e;
	ret = gnutls_pkcs12_bag_decrypt(bag, c->passphrase);
	return ret < 0 ? x509_fail(ret, ERR_MALFORMED, why, "decrypt it") : ERR_OK;
}

static enum err add_bag(struct content *c, gnutls_pkcs12_bag_t bag, struct why *why)
{
	enum err e = ERR_OK;
	int n;

	if (gnutls_pkcs12_bag_get_type(bag, 0) == GNUTLS_BAG_ENCRYPTED)
		e = decrypt(c, bag, why);
	n = gnutls_pkcs12_bag_get_count(bag);
	for (int i = 0; !e && i < n; i++)
		e = add_element(c, bag, (unsigned)i, why);
	return e;
}

static enum err read_bags(gnutls_pkcs12_t p12, struct content *c, struct why *why)
{
	for (int i = 0;; i++) {
		CLEAN(bag_freep) gnutls_pkcs12_bag_t bag = NULL;
		enum err e;
		int ret;

		if (gnutls_pkcs12_bag_init(&bag) < 0)
			return ERR_NOMEM;
		ret = gnutls_pkcs12_get_bag(p12, i, bag);
		if (ret == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			return ERR_OK;
		if (ret < 0)
			return x509_fail(ret, ERR_MALFORMED, why, "a part of it");
		if (i == BAGS_MAX) {
			why_set(why, "more than %d parts", BAGS_MAX);
			return ERR_TOO_BIG;
		}
		if ((e = add_bag(c, bag, why)))
			return e;
	}
}

/* ---- choosing ---- */

static enum err choose_key(gnutls_x509_privkey_t *out, const struct content *c, struct why *why)
{
	unsigned n_named = 0, chosen = 0;

	for (unsigned i = 0; i < c->n_keys; i++) {
		if (c->is_named[i]) {
			n_named++;
			chosen = i;
		}
	}
	if (c->n_keys == 0) {
		why_set(why, "there is no private key in it");
		return ERR_NOT_FOUND;
	}
	if (n_named != 1 && c->n_keys != 1) {
		why_set(why, "there are %u private keys in it, and %s under the alias \"%s\"", c->n_keys,
			n_named ? "several" : "none", c->alias);
		return ERR_CONFLICT;
	}
	*out = c->keys[chosen];
	return ERR_OK;
}

/* ERR_NOT_FOUND: none of them is the key's. */
static enum err choose_cert(unsigned *out, const struct content *c, gnutls_x509_privkey_t key, struct why *why)
{
	CLEAN(privkey_freep) gnutls_privkey_t abstract = NULL;

	if (gnutls_privkey_init(&abstract) < 0 ||
	    gnutls_privkey_import_x509(abstract, key, GNUTLS_PRIVKEY_IMPORT_COPY) < 0)
		return ERR_NOMEM;
	for (unsigned i = 0; i < c->n_crts; i++) {
		enum err e = key_fits(c->crts[i], abstract, NULL);

		if (e == ERR_OK)
			*out = i;
		if (e == ERR_OK || e == ERR_NOMEM)
			return e;
	}
	why_set(why, "the certificate of its key is not in it");
	return ERR_NOT_FOUND;
}

static enum err put_crt(struct buf *out, gnutls_x509_crt_t crt, struct why *why)
{
	CLEAN(datum_freep) gnutls_datum_t text = {0};
	int ret = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &text);

	return ret < 0 ? x509_fail(ret, ERR_MALFORMED, why, "a certificate in it") : buf_put(out, text.data, text.size);
}

/* A self-signed certificate of the key is no CA to trust, even if it says that it is one. */
static enum err write_certs(struct pkcs12 *out, const struct content *c, unsigned leaf, struct why *why)
{
	CLEAN(buf_deinit) struct buf cert = {0}, ca = {0};
	enum err e = put_crt(&cert, c->crts[leaf], why);

	for (unsigned i = 0; !e && i < c->n_crts; i++)
		if (i != leaf && gnutls_x509_crt_get_ca_status(c->crts[i], NULL) > 0)
			e = put_crt(&ca, c->crts[i], why);
	if (e)
		return e;
	if (ca.len == 0) {
		why_set(why, "there is no CA certificate in it");
		return ERR_NOT_FOUND;
	}
	out->cert = buf_take_str(&cert);
	out->ca = buf_take_str(&ca);
	return out->cert && out->ca ? ERR_OK : ERR_NOMEM;
}

static enum err write_key(struct pkcs12 *out, gnutls_x509_privkey_t key, struct why *why)
{
	gnutls_datum_t text = {0};
	int ret = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &text);

	return ret < 0 ? x509_fail(ret, ERR_UNSUPPORTED, why, "write its key") : x509_take_text(&out->key, &text);
}

static enum err take_out(struct pkcs12 *out, const struct content *c, struct why *why)
{
	struct pkcs12 p = {0};
	gnutls_x509_privkey_t key = NULL;
	unsigned leaf = 0;
	enum err e = choose_key(&key, c, why);

	if (!e)
		e = choose_cert(&leaf, c, key, why);
	if (!e)
		e = write_certs(&p, c, leaf, why);
	if (!e)
		e = write_key(&p, key, why);
	if (e) {
		pkcs12_deinit(&p);
		return e;
	}
	*out = p;
	return ERR_OK;
}

/* ---- the door ---- */

static enum err check_input(const void *data, size_t n, const char *passphrase, struct why *why)
{
	const char *other = pkcs12_other_format(data, n);

	if (n > PKCS12_SIZE_MAX) {
		why_set(why, "it has more than %u bytes", PKCS12_SIZE_MAX);
		return ERR_TOO_BIG;
	}
	if (strnlen(passphrase, PASSPHRASE_MAX + 1) > PASSPHRASE_MAX) {
		why_set(why, "the passphrase has more than %d bytes", PASSPHRASE_MAX);
		return ERR_TOO_BIG;
	}
	if (other) {
		why_set(why, "it is a %s store, not PKCS#12", other);
		return ERR_UNSUPPORTED;
	}
	return ERR_OK;
}

enum err pkcs12_open(struct pkcs12 *out, const void *data, size_t n, const char *passphrase, const char *alias,
		     struct why *why)
{
	CLEAN(p12_freep) gnutls_pkcs12_t p12 = NULL;
	CLEAN(content_deinit) struct content c = {.passphrase = passphrase, .alias = alias};
	enum err e = check_input(data, n, passphrase, why);
	gnutls_datum_t der = {.data = (unsigned char *)(uintptr_t)data, .size = (unsigned)n};
	int ret;

	if (e)
		return e;
	if (gnutls_pkcs12_init(&p12) < 0)
		return ERR_NOMEM;
	ret = gnutls_pkcs12_import(p12, &der, GNUTLS_X509_FMT_DER, 0);
	if (ret < 0) {
		why_set(why, "it is no PKCS#12 store");
		return ret == GNUTLS_E_MEMORY_ERROR ? ERR_NOMEM : ERR_MALFORMED;
	}
	e = check_mac(p12, &c, why);
	if (!e)
		e = read_bags(p12, &c, why);
	return e ? e : take_out(out, &c, why);
}
