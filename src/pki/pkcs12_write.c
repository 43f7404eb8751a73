/*
 * Writes a PKCS#12 store that Java takes as a key store and as a trust store.
 *
 * GnuTLS can't write what Java trusts by (bag attribute 2.16.840.1.113894.746875.1.1: without it keytool shows no
 * trusted entries, and an agent in Java trusts nobody). So the bags are put together here, byte by byte, and GnuTLS
 * encrypts the key and adds the MAC.
 *
 * The encryption is the one that every Java and OpenSSL reads (SHA-1 and Triple DES). It protects nothing that the
 * folder doesn't: the key stands beside it in cloud.key, and the passphrase in agent.properties.
 */
#include "pki/pkcs12.h"

#include <string.h>

#include <gnutls/pkcs12.h>

#include "base/buf.h"
#include "pki/x509.h"

X509_CLEAN_DEFINE(p12, gnutls_pkcs12_t, gnutls_pkcs12_deinit)

enum { TAG_OCTETS = 0x04, TAG_BMP = 0x1e, TAG_SEQUENCE = 0x30, TAG_SET = 0x31, TAG_EXPLICIT = 0xa0 };

struct text {
	const uint8_t *data;
	size_t n;
};
#define OID(...) ((struct text){(const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})})
/* clang-format off */
#define OID_DATA          OID(0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1)
#define OID_SHROUDED_KEY  OID(0x06, 11, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, 2)
#define OID_CERT_BAG      OID(0x06, 11, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, 3)
#define OID_X509          OID(0x06, 10, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 22, 1)
#define OID_FRIENDLY_NAME OID(0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 20)
#define OID_LOCAL_KEY_ID  OID(0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 21)
/* 2.16.840.1.113894.746875.1.1, Java's; and 2.5.29.37.0, trusted for everything */
#define OID_JAVA_TRUSTED  OID(0x06, 12, 0x60, 0x86, 0x48, 1, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 1, 1)
#define OID_ANY_PURPOSE   OID(0x06, 4, 0x55, 0x1d, 37, 0)
/* clang-format on */

/* ---- DER, from the inside out ---- */

static enum err put_length(struct buf *out, size_t n)
{
	if (n < 0x80)
		return buf_put_u8(out, (uint8_t)n);
	for (unsigned bytes = 4; bytes > 0; bytes--) {
		enum err e = ERR_OK;

		if (!(n >> (8 * (bytes - 1))))
			continue;
		e = buf_put_u8(out, (uint8_t)(0x80 | bytes));
		for (unsigned i = bytes; !e && i > 0; i--)
			e = buf_put_u8(out, (uint8_t)(n >> (8 * (i - 1))));
		return e;
	}
	return ERR_TOO_BIG;
}

static enum err put_der(struct buf *out, uint8_t tag, const void *data, size_t n)
{
	enum err e = buf_put_u8(out, tag);

	if (!e)
		e = put_length(out, n);
	return e ? e : buf_put(out, data, n);
}

/* What is in `b` so far becomes the content of one with that tag. */
static enum err wrap(struct buf *b, uint8_t tag)
{
	CLEAN(buf_deinit) struct buf inside = {0};

	buf_move(&inside, b);
	return put_der(b, tag, inside.data, inside.len);
}

static enum err put_oid(struct buf *out, struct text oid)
{
	return buf_put(out, oid.data, oid.n);
}

static enum err put_attribute(struct buf *out, struct text oid, const struct buf *value)
{
	CLEAN(buf_deinit) struct buf a = {0};
	enum err e = put_oid(&a, oid);

	if (!e)
		e = put_der(&a, TAG_SET, value->data, value->len);
	return e ? e : put_der(out, TAG_SEQUENCE, a.data, a.len);
}

/* Names are ours, and ASCII. */
static enum err put_name(struct buf *out, const char *name)
{
	CLEAN(buf_deinit) struct buf text = {0};
	CLEAN(buf_deinit) struct buf value = {0};
	enum err e = ERR_OK;

	for (const char *c = name; !e && *c; c++)
		e = buf_put_u16(&text, (uint8_t)*c);
	if (!e)
		e = put_der(&value, TAG_BMP, text.data, text.len);
	return e ? e : put_attribute(out, OID_FRIENDLY_NAME, &value);
}

static enum err put_key_id(struct buf *out)
{
	CLEAN(buf_deinit) struct buf value = {0};
	enum err e = put_der(&value, TAG_OCTETS, "cloud", 5);

	return e ? e : put_attribute(out, OID_LOCAL_KEY_ID, &value);
}

static enum err put_trusted(struct buf *out)
{
	CLEAN(buf_deinit) struct buf value = {0};
	enum err e = put_oid(&value, OID_ANY_PURPOSE);

	return e ? e : put_attribute(out, OID_JAVA_TRUSTED, &value);
}

/* SEQUENCE { type, [0] value, SET of attributes } */
static enum err put_bag(struct buf *out, struct text type, const void *value, size_t n, const struct buf *attributes)
{
	CLEAN(buf_deinit) struct buf bag = {0};
	enum err e = put_oid(&bag, type);

	if (!e)
		e = put_der(&bag, TAG_EXPLICIT, value, n);
	if (!e && attributes->len)
		e = put_der(&bag, TAG_SET, attributes->data, attributes->len);
	return e ? e : put_der(out, TAG_SEQUENCE, bag.data, bag.len);
}

/* SEQUENCE { data, [0] OCTET STRING } */
static enum err put_content(struct buf *out, const struct buf *inside)
{
	CLEAN(buf_deinit) struct buf octets = {0};
	CLEAN(buf_deinit) struct buf c = {0};
	enum err e = put_der(&octets, TAG_OCTETS, inside->data, inside->len);

	if (!e)
		e = put_oid(&c, OID_DATA);
	if (!e)
		e = put_der(&c, TAG_EXPLICIT, octets.data, octets.len);
	return e ? e : put_der(out, TAG_SEQUENCE, c.data, c.len);
}

/* ---- the bags ---- */

static enum err put_key(struct buf *out, const struct pkcs12 *p, const char *passphrase, struct why *why)
{
	CLEAN(x509_key_freep) gnutls_x509_privkey_t key = NULL;
	CLEAN(datum_freep) gnutls_datum_t der = {0};
	CLEAN(buf_deinit) struct buf attributes = {0};
	enum err e = key_load(&key, p->key, why);
	int ret;

	if (e)
		return e;
	ret = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_DER, passphrase, GNUTLS_PKCS_PKCS12_3DES, &der);
	if (ret < 0)
		return x509_fail(ret, ERR_INVALID, why, "the private key");
	e = put_name(&attributes, PKCS12_ALIAS);
	if (!e)
		e = put_key_id(&attributes);
	return e ? e : put_bag(out, OID_SHROUDED_KEY, der.data, der.size, &attributes);
}

static enum err put_cert(struct buf *out, const char *pem, const struct buf *attributes, struct why *why)
{
	CLEAN(crt_freep) gnutls_x509_crt_t crt = NULL;
	CLEAN(datum_freep) gnutls_datum_t der = {0};
	CLEAN(buf_deinit) struct buf octets = {0};
	CLEAN(buf_deinit) struct buf value = {0};
	enum err e = cert_load(&crt, pem, why);
	int ret;

	if (e)
		return e;
	ret = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, &der);
	if (ret < 0)
		return x509_fail(ret, ERR_INVALID, why, "a certificate");
	e = put_der(&octets, TAG_OCTETS, der.data, der.size);
	if (!e)
		e = put_oid(&value, OID_X509);
	if (!e)
		e = put_der(&value, TAG_EXPLICIT, octets.data, octets.len);
	if (!e)
		e = wrap(&value, TAG_SEQUENCE);
	return e ? e : put_bag(out, OID_CERT_BAG, value.data, value.len, attributes);
}

/* The key's own first, then what leads up from it. */
static enum err put_chain(struct buf *out, const char *pem, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list certs = {0};
	enum err e = cert_split(&certs, pem, why);

	for (size_t i = 0; !e && i < certs.n; i++) {
		CLEAN(buf_deinit) struct buf attributes = {0};

		if (i == 0)
			e = put_name(&attributes, PKCS12_ALIAS);
		if (!e && i == 0)
			e = put_key_id(&attributes);
		if (!e)
			e = put_cert(out, certs.items[i], &attributes, why);
	}
	return e;
}

static enum err put_cas(struct buf *out, const char *pem, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list certs = {0};
	enum err e = cert_split(&certs, pem, why);

	for (size_t i = 0; !e && i < certs.n; i++) {
		CLEAN(buf_deinit) struct buf attributes = {0};
		CLEAN(mem_freep) char *name = mem_printf("cloudca.%zu", i + 1);

		e = name ? put_name(&attributes, name) : ERR_NOMEM;
		if (!e)
			e = put_trusted(&attributes);
		if (!e)
			e = put_cert(out, certs.items[i], &attributes, why);
	}
	return e;
}

static enum err put_safe(struct buf *out, const struct pkcs12 *p, const char *passphrase, struct why *why)
{
	CLEAN(buf_deinit) struct buf keys = {0};
	CLEAN(buf_deinit) struct buf certs = {0};
	enum err e = put_key(&keys, p, passphrase, why);

	if (!e)
		e = wrap(&keys, TAG_SEQUENCE);
	if (!e)
		e = put_chain(&certs, p->cert, why);
	if (!e)
		e = put_cas(&certs, p->ca, why);
	if (!e)
		e = wrap(&certs, TAG_SEQUENCE);
	if (!e)
		e = put_content(out, &keys);
	if (!e)
		e = put_content(out, &certs);
	return e ? e : wrap(out, TAG_SEQUENCE);
}

/* An empty MAC, because GnuTLS fills in what is there and adds none: SHA-1, 20 bytes, a salt of 8, one round. */
static enum err put_empty_mac(struct buf *out)
{
	static const uint8_t nothing[20];
	static const uint8_t algorithm[] = {0x30, 9, 0x06, 5, 0x2b, 0x0e, 3, 2, 0x1a, 0x05, 0};
	CLEAN(buf_deinit) struct buf mac = {0};
	enum err e = buf_put(&mac, algorithm, sizeof(algorithm));

	if (!e)
		e = put_der(&mac, TAG_OCTETS, nothing, sizeof(nothing));
	if (!e)
		e = wrap(&mac, TAG_SEQUENCE);
	if (!e)
		e = put_der(&mac, TAG_OCTETS, nothing, 8);
	if (!e)
		e = buf_put(&mac, (const uint8_t[]){0x02, 1, 1}, 3);
	return e ? e : put_der(out, TAG_SEQUENCE, mac.data, mac.len);
}

/* SEQUENCE { 3, content, MAC } */
static enum err put_store(struct buf *out, const struct pkcs12 *p, const char *passphrase, struct why *why)
{
	CLEAN(buf_deinit) struct buf safe = {0};
	enum err e = put_safe(&safe, p, passphrase, why);

	if (!e)
		e = buf_put(out, (const uint8_t[]){0x02, 1, 3}, 3);
	if (!e)
		e = put_content(out, &safe);
	if (!e)
		e = put_empty_mac(out);
	return e ? e : wrap(out, TAG_SEQUENCE);
}

enum err pkcs12_make(struct buf *out, const struct pkcs12 *p, const char *passphrase, struct why *why)
{
	CLEAN(p12_freep) gnutls_pkcs12_t p12 = NULL;
	CLEAN(datum_freep) gnutls_datum_t made = {0};
	CLEAN(buf_deinit) struct buf store = {0};
	gnutls_datum_t der;
	enum err e;
	int ret;

	if (!passphrase[0]) {
		why_set(why, "there is no passphrase for it");
		return ERR_INVALID;
	}
	e = put_store(&store, p, passphrase, why);
	if (e)
		return e;
	der = (gnutls_datum_t){.data = store.data, .size = (unsigned)store.len};
	if (gnutls_pkcs12_init(&p12) < 0)
		return ERR_NOMEM;
	ret = gnutls_pkcs12_import(p12, &der, GNUTLS_X509_FMT_DER, 0);
	if (ret >= 0)
		ret = gnutls_pkcs12_generate_mac2(p12, GNUTLS_MAC_SHA1, passphrase);
	if (ret >= 0)
		ret = gnutls_pkcs12_export2(p12, GNUTLS_X509_FMT_DER, &made);
	if (ret < 0)
		return x509_fail(ret, ERR_INVALID, why, "the key store");
	if (made.size > PKCS12_SIZE_MAX) {
		why_set(why, "the key store would have more than %u bytes", PKCS12_SIZE_MAX);
		return ERR_TOO_BIG;
	}
	return buf_put(out, made.data, made.size);
}
