/*
 * Making certificates.
 *
 * Of a request only the public key is taken. Subject, names, usages and dates are the caller's, whatever the request
 * asks for; who may have what is decided in ca/.
 */
#include "pki/x509.h"

#include <string.h>

void signer_deinit(struct signer *s)
{
	crt_freep(&s->crt);
	privkey_freep(&s->key);
}

enum err signer_load(struct signer *s, const char *cert_pem, const char *key_pem, struct why *why)
{
	CLEAN(pubkey_freep) gnutls_pubkey_t public_key = NULL;
	enum err e;

	if ((e = key_load_abstract(&s->key, key_pem, why)))
		return e;
	if (gnutls_pubkey_init(&public_key) < 0)
		return ERR_NOMEM;
	if (gnutls_pubkey_import_privkey(public_key, s->key, 0, 0) < 0) {
		why_set(why, "private key: no public key in it");
		return ERR_MALFORMED;
	}
	s->hash = x509_digest(public_key);
	if (!cert_pem)
		return ERR_OK;

	if ((e = cert_load(&s->crt, cert_pem, why)))
		return e;
	if (gnutls_x509_crt_get_ca_status(s->crt, NULL) <= 0) {
		why_set(why, "the signing certificate is no CA's");
		return ERR_INVALID;
	}
	return key_fits(s->crt, s->key, why);
}

static enum err subject_key(gnutls_pubkey_t *out, const struct cert_params *p, struct why *why)
{
	CLEAN(pubkey_freep) gnutls_pubkey_t key = NULL;
	CLEAN(crq_freep) gnutls_x509_crq_t crq = NULL;
	CLEAN(privkey_freep) gnutls_privkey_t private_key = NULL;
	unsigned bits = 0;
	enum err e;
	int ret;

	if (gnutls_pubkey_init(&key) < 0)
		return ERR_NOMEM;
	if (p->csr_pem) {
		if ((e = csr_load(&crq, p->csr_pem, why)))
			return e;
		ret = gnutls_pubkey_import_x509_crq(key, crq, 0);
	} else {
		if ((e = key_load_abstract(&private_key, p->key_pem, why)))
			return e;
		ret = gnutls_pubkey_import_privkey(key, private_key, 0, 0);
	}
	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, "public key");
	ret = gnutls_pubkey_get_pk_algorithm(key, &bits);
	if ((e = x509_key_is_usable(ret, bits, why)))
		return e;
	*out = STEAL(key);
	return ERR_OK;
}

static enum err check_params(const struct cert_params *p, struct why *why)
{
	size_t n = p->common_name ? strlen(p->common_name) : 0;

	if (n == 0 || n > COMMON_NAME_SIGNED_MAX || !name_is_plain(p->common_name, n)) {
		why_set(why, "the common name must have 1 to %d characters, none of them control characters or slashes",
			COMMON_NAME_SIGNED_MAX);
		return ERR_INVALID;
	}
	if (p->not_before_s < 0 || p->not_after_s <= p->not_before_s || p->not_after_s > TIME_MAX_S) {
		why_set(why, "the certificate would end before it begins, or its dates can't be written");
		return ERR_INVALID;
	}
	if (p->is_ca && p->role != CERT_ROLE_NONE) {
		why_set(why, "a CA certificate has no role");
		return ERR_INVALID;
	}
	if (!p->ca_cert_pem && p->csr_pem) {
		why_set(why, "a self-signed certificate needs the key, not a request");
		return ERR_INVALID;
	}
	return ERR_OK;
}

static int put_serial(gnutls_x509_crt_t crt, const uint8_t random[16])
{
	uint8_t serial[16];

	memcpy(serial, random, sizeof(serial));
	/* Top bit clear: positive. Next bit set: always 127 bits long, 126 of them random, no leading zeros to lose. */
	serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40);
	return gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
}

static int put_usages(gnutls_x509_crt_t crt, const struct cert_params *p, bool is_rsa)
{
	unsigned usage = GNUTLS_KEY_DIGITAL_SIGNATURE;
	int ret;

	if (p->is_ca)
		usage = GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN;
	else if (is_rsa)
		usage |= GNUTLS_KEY_KEY_ENCIPHERMENT; /* libvirt, which shares CloudStack agents' files, looks for it */

	ret = gnutls_x509_crt_set_basic_constraints(crt, p->is_ca, -1);
	if (ret >= 0)
		ret = gnutls_x509_crt_set_key_usage(crt, usage);
	if (ret >= 0 && p->role == CERT_ROLE_SERVER)
		ret = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
	if (ret >= 0 && p->role != CERT_ROLE_NONE)
		ret = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_CLIENT, 0);
	return ret;
}

static int put_key_ids(gnutls_x509_crt_t crt, gnutls_x509_crt_t issuer)
{
	uint8_t id[256];
	size_t n = sizeof(id);
	int ret = gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA1, id, &n);

	if (ret >= 0)
		ret = gnutls_x509_crt_set_subject_key_id(crt, id, n);
	if (ret < 0 || !issuer)
		return ret;

	n = sizeof(id);
	ret = gnutls_x509_crt_get_subject_key_id(issuer, id, &n, NULL);
	if (ret == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
		n = sizeof(id);
		ret = gnutls_x509_crt_get_key_id(issuer, GNUTLS_KEYID_USE_SHA1, id, &n);
	}
	return ret < 0 ? ret : gnutls_x509_crt_set_authority_key_id(crt, id, n);
}

static enum err fill(gnutls_x509_crt_t crt, const struct cert_params *p, gnutls_x509_crt_t issuer, gnutls_pubkey_t key,
		     struct why *why)
{
	CLEAN(datum_freep) gnutls_datum_t san = {0};
	enum err e;
	int ret;

	if ((e = san_write(&san, p->role, p->id, p->ips, p->dns, why)))
		return e;
	ret = gnutls_x509_crt_set_version(crt, 3);
	if (ret >= 0)
		ret = put_serial(crt, p->serial);
	if (ret >= 0)
		ret = gnutls_x509_crt_set_activation_time(crt, (time_t)p->not_before_s);
	if (ret >= 0)
		ret = gnutls_x509_crt_set_expiration_time(crt, (time_t)p->not_after_s);
	if (ret >= 0)
		ret = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, p->common_name,
						    (unsigned)strlen(p->common_name));
	if (ret >= 0)
		ret = gnutls_x509_crt_set_pubkey(crt, key);
	if (ret >= 0)
		ret = put_usages(crt, p, gnutls_pubkey_get_pk_algorithm(key, NULL) == GNUTLS_PK_RSA);
	if (ret >= 0)
		ret = put_key_ids(crt, issuer);
	if (ret >= 0 && san.size)
		ret = gnutls_x509_crt_set_extension_by_oid(crt, OID_SAN, san.data, san.size, 0);
	return ret < 0 ? x509_fail(ret, ERR_INVALID, why, "write the certificate") : ERR_OK;
}

enum err cert_new(char **pem, const struct cert_params *p, struct why *why)
{
	CLEAN(crt_freep) gnutls_x509_crt_t crt = NULL;
	CLEAN(pubkey_freep) gnutls_pubkey_t key = NULL;
	CLEAN(signer_deinit) struct signer signer = {0};
	gnutls_datum_t text = {0};
	enum err e;
	int ret;

	if ((e = check_params(p, why)) || (e = subject_key(&key, p, why)) ||
	    (e = signer_load(&signer, p->ca_cert_pem, p->ca_cert_pem ? p->ca_key_pem : p->key_pem, why)))
		return e;
	if (gnutls_x509_crt_init(&crt) < 0)
		return ERR_NOMEM;
	if ((e = fill(crt, p, signer.crt, key, why)))
		return e;
	ret = gnutls_x509_crt_privkey_sign(crt, signer.crt ? signer.crt : crt, signer.key, signer.hash, 0);
	if (ret >= 0)
		ret = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &text);
	if (ret < 0)
		return x509_fail(ret, ERR_INVALID, why, "sign the certificate");
	return x509_take_text(pem, &text);
}
