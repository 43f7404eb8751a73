/*
 * Reading certificates.
 *
 * Nothing is believed here: cert_info says what stands in a certificate, cert_verify() (pki/verify.c) whether one of
 * our CAs says so too. Certificates of the reference (no key usage, no extended one, RSA) and CA certificates of any
 * kind must be readable; what would make two readers disagree is refused: a second identity, a doubled extension, a NUL
 * or a control character inside a name.
 */
#include "pki/x509.h"

#include <string.h>

#define SERIAL_MAX 20 /* octets, RFC 5280 */

enum err cert_load(gnutls_x509_crt_t *out, const char *pem, struct why *why)
{
	CLEAN(crt_freep) gnutls_x509_crt_t crt = NULL;
	gnutls_datum_t text;
	enum err e;
	int ret;

	if ((e = x509_text(&text, pem, CERT_TEXT_MAX, "certificate", why)))
		return e;
	if (gnutls_x509_crt_init(&crt) < 0)
		return ERR_NOMEM;
	ret = gnutls_x509_crt_import(crt, &text, GNUTLS_X509_FMT_PEM);
	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, "certificate");
	*out = STEAL(crt);
	return ERR_OK;
}

static enum err read_serial(struct cert_info *i, gnutls_x509_crt_t crt, struct why *why)
{
	uint8_t raw[64], *s = raw;
	char text[2 * SERIAL_MAX + 1];
	size_t n = sizeof(raw);
	int ret = gnutls_x509_crt_get_serial(crt, raw, &n);

	if (ret < 0)
		return x509_fail(ret, ERR_INVALID, why, "serial number");
	while (n > 1 && s[0] == 0) {
		s++;
		n--;
	}
	if (n == 0 || n > SERIAL_MAX) {
		why_set(why, "a serial number of %zu bytes", n);
		return ERR_INVALID;
	}
	hex_encode(text, s, n);
	str_copy(i->serial, sizeof(i->serial), text + (text[0] == '0'));
	return ERR_OK;
}

static enum err read_fingerprints(struct cert_info *i, gnutls_x509_crt_t crt, struct why *why)
{
	uint8_t digest[32];
	size_t n = sizeof(digest);
	int ret = gnutls_x509_crt_get_fingerprint(crt, GNUTLS_DIG_SHA256, digest, &n);

	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, "certificate");
	hex_encode(i->fingerprint, digest, n);
	n = sizeof(digest);
	ret = gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, digest, &n);
	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, "public key");
	hex_encode(i->key_id, digest, n);
	return ERR_OK;
}

#define KEY_ID_MOST 256 /* bytes that are read */
#define KEY_ID_KEPT 32  /* of a longer one its beginning */

static void put_key_id(char out[FINGERPRINT_TEXT], const uint8_t *id, size_t n)
{
	hex_encode(out, id, n < KEY_ID_KEPT ? n : KEY_ID_KEPT);
}

/*
 * Which key signed is for telling CAs apart, not for believing: what can't be read is not known. Where a CA names none,
 * what it signs here names it by the hash of its key (issue.c).
 */
static void read_key_ids(struct cert_info *i, gnutls_x509_crt_t crt)
{
	uint8_t id[KEY_ID_MOST];
	size_t n = sizeof(id);
	int ret = gnutls_x509_crt_get_subject_key_id(crt, id, &n, NULL);

	i->names_its_key = ret >= 0;
	if (ret == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
		n = sizeof(id);
		ret = gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA1, id, &n);
	}
	if (ret >= 0)
		put_key_id(i->subject_key_id, id, n);
	n = sizeof(id);
	if (gnutls_x509_crt_get_authority_key_id(crt, id, &n, NULL) >= 0)
		put_key_id(i->authority_key_id, id, n);
}

static enum err read_common_name(struct cert_info *i, gnutls_x509_crt_t crt, struct why *why)
{
	uint8_t der[512];
	size_t n = sizeof(der);
	int ret = gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 1, der, &n);

	if (ret == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return ERR_OK;
	if (ret == GNUTLS_E_SHORT_MEMORY_BUFFER) {
		why_set(why, "the common name is longer than %zu characters", sizeof(i->common_name) - 1);
		return ERR_INVALID;
	}
	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, "common name");
	return name_from_der(i->common_name, sizeof(i->common_name), der, n, why);
}

/* For telling CAs apart, too. */
static void read_name(struct cert_info *i, gnutls_x509_crt_t crt)
{
	CLEAN(datum_freep) gnutls_datum_t dn = {0};

	if (gnutls_x509_crt_get_raw_dn(crt, &dn) >= 0)
		sha256_hex(i->name_hash, dn.data, dn.size);
}

/* For people only, so it may be cut. */
static enum err read_issuer(struct cert_info *i, gnutls_x509_crt_t crt, struct why *why)
{
	CLEAN(datum_freep) gnutls_datum_t dn = {0};
	int ret = gnutls_x509_crt_get_issuer_dn3(crt, &dn, 0);

	if (ret < 0 && ret != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return x509_fail(ret, ERR_MALFORMED, why, "issuer");
	if (dn.data)
		str_copy(i->issuer, sizeof(i->issuer), (const char *)dn.data);
	str_make_printable(i->issuer);
	return ERR_OK;
}

static enum err read_dates(struct cert_info *i, gnutls_x509_crt_t crt, struct why *why)
{
	time_t from = gnutls_x509_crt_get_activation_time(crt), to = gnutls_x509_crt_get_expiration_time(crt);

	if (from == (time_t)-1 || to == (time_t)-1) {
		why_set(why, "dates that can't be read");
		return ERR_MALFORMED;
	}
	i->not_before_s = from;
	i->not_after_s = to;
	return ERR_OK;
}

static enum err read_purposes(struct cert_info *i, gnutls_x509_crt_t crt, struct why *why)
{
	i->eku_client = i->eku_server = true;
	for (unsigned k = 0;; k++) {
		char oid[128];
		size_t n = sizeof(oid);
		int ret = gnutls_x509_crt_get_key_purpose_oid(crt, k, oid, &n, NULL);

		if (ret == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			return ERR_OK;
		if (ret < 0)
			return x509_fail(ret, ERR_MALFORMED, why, "extended key usage");
		if (!i->has_eku) {
			i->has_eku = true;
			i->eku_client = i->eku_server = false;
		}
		if (str_equal(oid, GNUTLS_KP_TLS_WWW_CLIENT) || str_equal(oid, GNUTLS_KP_ANY))
			i->eku_client = true;
		if (str_equal(oid, GNUTLS_KP_TLS_WWW_SERVER) || str_equal(oid, GNUTLS_KP_ANY))
			i->eku_server = true;
	}
}

static enum err read_usage(struct cert_info *i, gnutls_x509_crt_t crt, struct why *why)
{
	unsigned usage = 0;
	int ret = gnutls_x509_crt_get_key_usage(crt, &usage, NULL);

	if (ret < 0 && ret != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return x509_fail(ret, ERR_MALFORMED, why, "key usage");
	i->signs_certs = ret < 0 || (usage & GNUTLS_KEY_KEY_CERT_SIGN);
	i->signs_data = ret < 0 || (usage & GNUTLS_KEY_DIGITAL_SIGNATURE);
	return ERR_OK;
}

static bool has_doubled_extension(gnutls_x509_crt_t crt)
{
	static const char *const oids[] = {OID_SAN, OID_BASIC_CONSTRAINTS, OID_KEY_USAGE, OID_EKU};

	for (size_t i = 0; i < ARRAY_SIZE(oids); i++) {
		CLEAN(datum_freep) gnutls_datum_t d = {0};

		if (gnutls_x509_crt_get_extension_by_oid2(crt, oids[i], 1, &d, NULL) >= 0)
			return true;
	}
	return false;
}

static enum err read_extensions(struct cert_info *i, gnutls_x509_crt_t crt, struct why *why)
{
	CLEAN(datum_freep) gnutls_datum_t der = {0};
	unsigned is_ca = 0;
	struct san san;
	enum err e;
	int path_len, ret;

	if (has_doubled_extension(crt)) {
		why_set(why, "an extension is there twice");
		return ERR_INVALID;
	}
	ret = gnutls_x509_crt_get_basic_constraints(crt, NULL, &is_ca, &path_len);
	if (ret < 0 && ret != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return x509_fail(ret, ERR_MALFORMED, why, "basic constraints");
	i->is_ca = ret >= 0 && is_ca;
	if ((e = read_usage(i, crt, why)) || (e = read_purposes(i, crt, why)))
		return e;

	ret = gnutls_x509_crt_get_extension_by_oid2(crt, OID_SAN, 0, &der, NULL);
	if (ret == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return ERR_OK;
	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, "alternative names");
	if ((e = san_read(&san, &der, false, why)))
		return e;
	i->role = san.role;
	memcpy(i->id, san.id, sizeof(i->id));
	str_list_move(&i->ips, &san.ips);
	str_list_move(&i->dns, &san.dns);
	return ERR_OK;
}

void cert_info_deinit(struct cert_info *i)
{
	str_list_deinit(&i->ips);
	str_list_deinit(&i->dns);
	*i = (struct cert_info){0};
}

static enum err info_from_crt(struct cert_info *out, gnutls_x509_crt_t crt, struct why *why)
{
	struct cert_info i = {0};
	enum err e;
	int algorithm = gnutls_x509_crt_get_pk_algorithm(crt, &i.key_bits);

	i.is_ec = algorithm == GNUTLS_PK_ECDSA;
	i.is_rsa = algorithm == GNUTLS_PK_RSA || algorithm == GNUTLS_PK_RSA_PSS;
	if ((e = read_serial(&i, crt, why)) || (e = read_fingerprints(&i, crt, why)) ||
	    (e = read_common_name(&i, crt, why)) || (e = read_issuer(&i, crt, why)) || (e = read_dates(&i, crt, why)) ||
	    (e = read_extensions(&i, crt, why))) {
		cert_info_deinit(&i);
		why_add(why, "certificate");
		return e;
	}
	read_key_ids(&i, crt);
	read_name(&i, crt);
	*out = i;
	return ERR_OK;
}

enum err cert_info_parse(struct cert_info *out, const char *pem, struct why *why)
{
	CLEAN(crt_freep) gnutls_x509_crt_t crt = NULL;
	enum err e;

	*out = (struct cert_info){0};
	if ((e = cert_load(&crt, pem, why)))
		return e;
	return info_from_crt(out, crt, why);
}

enum err cert_info_parse_der(struct cert_info *out, const void *der, size_t n, struct why *why)
{
	CLEAN(crt_freep) gnutls_x509_crt_t crt = NULL;
	gnutls_datum_t d = {.data = (unsigned char *)(uintptr_t)der, .size = (unsigned)n};
	int ret;

	*out = (struct cert_info){0};
	if (n > CERT_TEXT_MAX) {
		why_set(why, "certificate: longer than %u bytes", CERT_TEXT_MAX);
		return ERR_TOO_BIG;
	}
	if (n == 0) {
		why_set(why, "certificate: empty");
		return ERR_MALFORMED;
	}
	if (gnutls_x509_crt_init(&crt) < 0)
		return ERR_NOMEM;
	ret = gnutls_x509_crt_import(crt, &d, GNUTLS_X509_FMT_DER);
	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, "certificate");
	return info_from_crt(out, crt, why);
}

bool cert_serial_normal(char out[SERIAL_TEXT], const char *text)
{
	size_t n = 0;

	while (*text == ' ')
		text++;
	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
		text += 2;
	if (!*text)
		return false;
	for (; *text; text++) {
		char c = *text;

		if (c == ':' || c == ' ')
			continue;
		if (c >= 'A' && c <= 'F')
			c = (char)(c - 'A' + 'a');
		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
			return false;
		if (n == 1 && out[0] == '0')
			n = 0; /* leading */
		if (n == SERIAL_DIGITS_MAX)
			return false;
		out[n++] = c;
	}
	out[n] = '\0';
	return n > 0;
}
