/*
 * Revocation lists (X.509 CRL, RFC 5280 section 5).
 *
 * Written by hand, because the TLS library looks through the whole list for each entry that it appends: a hundred
 * thousand revocations would take minutes. Here they take as long as their bytes. The parts are written from the inside
 * out, each into a buffer of its own, so that lengths are known when they are needed.
 */
#include "pki/x509.h"

#include <string.h>
#include <time.h>

enum { DER_INTEGER = 0x02, DER_BIT_STRING = 0x03, DER_OCTET_STRING = 0x04, DER_UTC_TIME = 0x17, DER_TIME = 0x18 };
enum { DER_SEQUENCE = 0x30, DER_EXTENSIONS = 0xa0, DER_KEY_ID = 0x80 };

#define ENTRY_BYTES_MAX (2 + 2 + 21 + 17)

/* ---- DER ---- */

static enum err put_head(struct buf *out, uint8_t tag, size_t n)
{
	uint8_t head[2 + sizeof(n)] = {tag};
	size_t used = 2, bytes = 0;

	if (n < 0x80) {
		head[1] = (uint8_t)n;
	} else {
		for (size_t rest = n; rest; rest >>= 8)
			bytes++;
		head[1] = (uint8_t)(0x80 | bytes);
		for (size_t i = bytes; i > 0; i--)
			head[used++] = (uint8_t)(n >> (8 * (i - 1)));
	}
	return buf_put(out, head, used);
}

static enum err put(struct buf *out, uint8_t tag, const void *data, size_t n)
{
	enum err e = put_head(out, tag, n);

	return e || !n ? e : buf_put(out, data, n);
}

static enum err put_buf(struct buf *out, uint8_t tag, const struct buf *content)
{
	return put(out, tag, content->data, content->len);
}

/* A positive number: the shortest form, with a zero in front where the first bit is set. */
static enum err put_number(struct buf *out, const uint8_t *bytes, size_t n)
{
	static const uint8_t zero;
	enum err e;

	while (n > 1 && *bytes == 0) {
		bytes++;
		n--;
	}
	if (!(*bytes & 0x80))
		return put(out, DER_INTEGER, bytes, n);
	if ((e = put_head(out, DER_INTEGER, n + 1)) || (e = buf_put(out, &zero, 1)))
		return e;
	return buf_put(out, bytes, n);
}

static enum err put_u64(struct buf *out, uint64_t number)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(number >> (56 - 8 * i));
	return put_number(out, bytes, sizeof(bytes));
}

/* Two digits for the year until 2049, four from then on. */
static enum err put_time(struct buf *out, int64_t unix_s)
{
	time_t t = (time_t)unix_s;
	struct tm tm;
	char text[32];
	size_t is_short;

	if (unix_s < 0 || unix_s > TIME_MAX_S || !gmtime_r(&t, &tm))
		return ERR_INVALID;
	is_short = tm.tm_year < 150;
	strftime(text, sizeof(text), "%Y%m%d%H%M%SZ", &tm);
	return put(out, is_short ? DER_UTC_TIME : DER_TIME, text + 2 * is_short, strlen(text) - 2 * is_short);
}

/* ---- the parts of a list ---- */

static enum err put_entry(struct buf *out, const struct crl_entry *entry, struct buf *scratch, struct buf *raw,
			  struct why *why)
{
	char text[SERIAL_DIGITS_MAX + 2] = "0";
	size_t n = strnlen(entry->serial, SERIAL_DIGITS_MAX + 1);
	enum err e;

	/* Serials are written without leading zeros, so their count of digits may be odd. */
	buf_clear(raw);
	buf_clear(scratch);
	if (n >= 1 && n <= SERIAL_DIGITS_MAX)
		memcpy(text + n % 2, entry->serial, n + 1);
	if (n < 1 || n > SERIAL_DIGITS_MAX || !hex_decode(text, raw)) {
		why_set(why, "a serial number that is not 1 to %d hex digits", SERIAL_DIGITS_MAX);
		return ERR_INVALID;
	}
	if ((e = put_number(scratch, raw->data, raw->len)) || (e = put_time(scratch, entry->revoked_s))) {
		why_set(why, "the date of a revocation can't be written");
		return e;
	}
	return put_buf(out, DER_SEQUENCE, scratch);
}

static enum err put_entries(struct buf *out, const struct crl_params *p, struct why *why)
{
	CLEAN(buf_deinit) struct buf all = {0};
	CLEAN(buf_deinit) struct buf scratch = {0};
	CLEAN(buf_deinit) struct buf raw = {0};
	enum err e = ERR_OK;

	/* An empty sequence is not allowed here: without entries there is none. */
	if (p->n == 0)
		return ERR_OK;
	/* Room first: then a text that can't be decoded is damaged, and not memory that was missing. */
	if (buf_reserve(&all, p->n * ENTRY_BYTES_MAX) || buf_reserve(&scratch, ENTRY_BYTES_MAX) ||
	    buf_reserve(&raw, SERIAL_DIGITS_MAX))
		return ERR_NOMEM;
	for (size_t i = 0; !e && i < p->n; i++)
		e = put_entry(&all, &p->entries[i], &scratch, &raw, why);
	return e ? e : put_buf(out, DER_SEQUENCE, &all);
}

static enum err put_extension(struct buf *out, const uint8_t *oid, size_t oid_n, const struct buf *value)
{
	CLEAN(buf_deinit) struct buf both = {0};
	enum err e;

	if ((e = buf_put(&both, oid, oid_n)) || (e = put_buf(&both, DER_OCTET_STRING, value)))
		return e;
	return put_buf(out, DER_SEQUENCE, &both);
}

/* Which key has signed it; the same rule as for the certificates that this CA signs. */
static enum err put_signer_id(struct buf *out, gnutls_x509_crt_t crt)
{
	uint8_t id[64];
	size_t n = sizeof(id);
	CLEAN(buf_deinit) struct buf inner = {0};
	int ret = gnutls_x509_crt_get_subject_key_id(crt, id, &n, NULL);
	enum err e;

	if (ret < 0) {
		n = sizeof(id);
		ret = gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA1, id, &n);
	}
	if (ret < 0)
		return x509_fail(ret, ERR_INVALID, NULL, "");
	e = put(&inner, DER_KEY_ID, id, n);
	return e ? e : put_buf(out, DER_SEQUENCE, &inner);
}

static enum err put_extensions(struct buf *out, const struct crl_params *p, gnutls_x509_crt_t crt)
{
	static const uint8_t signer_oid[] = {0x06, 3, 0x55, 0x1d, 0x23}, number_oid[] = {0x06, 3, 0x55, 0x1d, 0x14};
	CLEAN(buf_deinit) struct buf signer = {0};
	CLEAN(buf_deinit) struct buf number = {0};
	CLEAN(buf_deinit) struct buf both = {0};
	CLEAN(buf_deinit) struct buf list = {0};
	enum err e;

	if ((e = put_signer_id(&signer, crt)) || (e = put_u64(&number, p->number)) ||
	    (e = put_extension(&both, signer_oid, sizeof(signer_oid), &signer)) ||
	    (e = put_extension(&both, number_oid, sizeof(number_oid), &number)) ||
	    (e = put_buf(&list, DER_SEQUENCE, &both)))
		return e;
	return put_buf(out, DER_EXTENSIONS, &list);
}

/* How it is signed, with parameters as the standards want them: NULL for RSA, none for ECDSA. */
static enum err put_algorithm(struct buf *out, const struct signer *by, struct why *why)
{
	static const struct {
		int key;
		gnutls_digest_algorithm_t hash;
		uint8_t n, bytes[15];
	} all[] = {
		{GNUTLS_PK_ECDSA, GNUTLS_DIG_SHA256, 10, {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2}},
		{GNUTLS_PK_ECDSA, GNUTLS_DIG_SHA384, 10, {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3}},
		{GNUTLS_PK_ECDSA, GNUTLS_DIG_SHA512, 10, {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4}},
		{GNUTLS_PK_RSA, GNUTLS_DIG_SHA256, 13, {6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11, 5, 0}},
		{GNUTLS_PK_RSA, GNUTLS_DIG_SHA384, 13, {6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12, 5, 0}},
		{GNUTLS_PK_RSA, GNUTLS_DIG_SHA512, 13, {6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13, 5, 0}},
	};
	int key = gnutls_privkey_get_pk_algorithm(by->key, NULL);

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i].key == key && all[i].hash == by->hash)
			return put(out, DER_SEQUENCE, all[i].bytes, all[i].n);
	why_set(why, "revocation lists are signed by EC and RSA keys only");
	return ERR_UNSUPPORTED;
}

static enum err put_issuer(struct buf *out, gnutls_x509_crt_t crt, struct why *why)
{
	CLEAN(datum_freep) gnutls_datum_t name = {0};
	int ret = gnutls_x509_crt_get_raw_dn(crt, &name);

	return ret < 0 ? x509_fail(ret, ERR_INVALID, why, "name of the CA") : buf_put(out, name.data, name.size);
}

/* What is signed. */
static enum err put_content(struct buf *out, const struct crl_params *p, const struct signer *by, struct why *why)
{
	CLEAN(buf_deinit) struct buf all = {0};
	enum err e;

	if ((e = put_u64(&all, 1)) || /* version 2 */
	    (e = put_algorithm(&all, by, why)) || (e = put_issuer(&all, by->crt, why)) ||
	    (e = put_time(&all, p->this_s)) || (e = put_time(&all, p->next_s)) || (e = put_entries(&all, p, why)) ||
	    (e = put_extensions(&all, p, by->crt)))
		return e;
	return put_buf(out, DER_SEQUENCE, &all);
}

static enum err put_signature(struct buf *out, const struct buf *content, const struct signer *by, struct why *why)
{
	const gnutls_datum_t data = {content->data, (unsigned)content->len};
	CLEAN(datum_freep) gnutls_datum_t signature = {0};
	enum err e;
	int ret = gnutls_privkey_sign_data(by->key, by->hash, 0, &data, &signature);

	if (ret < 0)
		return x509_fail(ret, ERR_INVALID, why, "sign the revocation list");
	if ((e = put_head(out, DER_BIT_STRING, signature.size + 1)) || (e = buf_put_u8(out, 0))) /* unused bits */
		return e;
	return buf_put(out, signature.data, signature.size);
}

static enum err check(const struct crl_params *p, struct why *why)
{
	if (p->this_s < 0 || p->next_s <= p->this_s || p->next_s > TIME_MAX_S) {
		why_set(why, "the next revocation list would come before this one");
		return ERR_INVALID;
	}
	if (!p->ca_cert_pem) {
		why_set(why, "a revocation list needs a CA certificate");
		return ERR_INVALID;
	}
	return ERR_OK;
}

/* An operator's CA may have been made without. Nobody believes what it signs then. */
static enum err may_sign(const struct signer *by, struct why *why)
{
	unsigned usage = 0;
	int ret = gnutls_x509_crt_get_key_usage(by->crt, &usage, NULL);

	if (ret == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE || (ret >= 0 && usage & GNUTLS_KEY_CRL_SIGN))
		return ERR_OK;
	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, "key usage");
	why_set(why, "the CA's key usage has no cRLSign, so nobody would believe its revocation list");
	return ERR_UNSUPPORTED;
}

enum err crl_sign(struct buf *out, const struct crl_params *p, struct why *why)
{
	CLEAN(signer_deinit) struct signer by = {0};
	CLEAN(buf_deinit) struct buf content = {0};
	CLEAN(buf_deinit) struct buf all = {0};
	enum err e;

	if ((e = check(p, why)) || (e = signer_load(&by, p->ca_cert_pem, p->ca_key_pem, why)) ||
	    (e = may_sign(&by, why)) || (e = put_content(&content, p, &by, why)) ||
	    (e = buf_put(&all, content.data, content.len)) || (e = put_algorithm(&all, &by, why)) ||
	    (e = put_signature(&all, &content, &by, why)))
		return e;
	return put_buf(out, DER_SEQUENCE, &all);
}

enum err crl_new(char **pem, const char *ca_cert_pem, const char *ca_key_pem, const struct str_list *serials,
		 int64_t this_s, int64_t next_s, struct why *why)
{
	CLEAN(buf_deinit) struct buf der = {0};
	size_t n = serials ? serials->n : 0;
	CLEAN(mem_freep) struct crl_entry *entries = mem_zalloc_array(n + 1, sizeof(*entries));
	struct crl_params p = {
		.ca_cert_pem = ca_cert_pem,
		.ca_key_pem = ca_key_pem,
		.entries = entries,
		.n = n,
		.this_s = this_s,
		.next_s = next_s,
		.number = (uint64_t)(this_s > 0 ? this_s : 0),
	};
	enum err e;

	if (!entries)
		return ERR_NOMEM;
	for (size_t i = 0; i < n; i++)
		entries[i] = (struct crl_entry){serials->items[i], this_s};
	if ((e = crl_sign(&der, &p, why)))
		return e;
	*pem = pem_text(CRL_PEM_LABEL, der.data, der.len);
	return *pem ? ERR_OK : ERR_NOMEM;
}

/* ---- PEM ---- */

char *pem_text(const char *label, const void *der, size_t n)
{
	gnutls_datum_t raw = {.data = (unsigned char *)(uintptr_t)der, .size = (unsigned)n}, text = {0};
	char *out = NULL;

	if (gnutls_pem_base64_encode2(label, &raw, &text) < 0 || x509_take_text(&out, &text))
		return NULL;
	return out;
}

bool pem_bytes(struct buf *out, const char *label, const char *pem)
{
	gnutls_datum_t text = {.data = (unsigned char *)(uintptr_t)pem, .size = (unsigned)strlen(pem)};
	CLEAN(datum_freep) gnutls_datum_t raw = {0};

	return gnutls_pem_base64_decode2(label, &text, &raw) >= 0 && buf_put(out, raw.data, raw.size) == ERR_OK;
}
