/*
 * Certificate requests (PKCS#10).
 *
 * A request proves one thing, that its sender holds the key. All else in it is a wish: csr_info says what is wished
 * for, so that ca/ can refuse it by name, and cert_new() takes nothing but the public key from it.
 */
#include "pki/x509.h"

#include <string.h>

enum err csr_load(gnutls_x509_crq_t *out, const char *pem, struct why *why)
{
	CLEAN(crq_freep) gnutls_x509_crq_t crq = NULL;
	gnutls_datum_t text;
	unsigned bits = 0;
	enum err e;
	int ret;

	if ((e = x509_text(&text, pem, CSR_TEXT_MAX, "certificate request", why)))
		return e;
	if (gnutls_x509_crq_init(&crq) < 0)
		return ERR_NOMEM;
	ret = gnutls_x509_crq_import(crq, &text, GNUTLS_X509_FMT_PEM);
	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, "certificate request");
	/* Before the signature: verifying with a key of a hundred thousand bits is somebody's way to keep us busy. */
	ret = gnutls_x509_crq_get_pk_algorithm(crq, &bits);
	if (ret < 0)
		return x509_fail(ret, ERR_UNSUPPORTED, why, "key of the certificate request");
	if ((e = x509_key_is_usable(ret, bits, why))) {
		why_add(why, "certificate request");
		return e;
	}
	ret = gnutls_x509_crq_verify(crq, 0);
	if (ret < 0)
		return x509_fail(ret, ERR_UNTRUSTED, why, "certificate request is not signed by its own key");
	*out = STEAL(crq);
	return ERR_OK;
}

static enum err read_common_name(struct csr_info *i, gnutls_x509_crq_t crq, struct why *why)
{
	uint8_t der[512];
	size_t n = sizeof(der);
	enum err e;
	int ret = gnutls_x509_crq_get_dn_by_oid(crq, GNUTLS_OID_X520_COMMON_NAME, 0, 1, der, &n);

	if (ret == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return ERR_OK;
	if (ret == GNUTLS_E_SHORT_MEMORY_BUFFER) {
		why_set(why, "the common name is longer than %zu characters", sizeof(i->common_name) - 1);
		return ERR_INVALID;
	}
	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, "common name");
	if ((e = name_from_der(i->common_name, sizeof(i->common_name), der, n, why)))
		return e;
	if (!name_is_plain(i->common_name, strlen(i->common_name))) {
		why_set(why, "the common name contains a path separator");
		return ERR_INVALID;
	}
	n = 0;
	if (gnutls_x509_crq_get_dn_by_oid(crq, GNUTLS_OID_X520_COMMON_NAME, 1, 1, NULL, &n) !=
	    GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
		why_set(why, "more than one common name");
		return ERR_INVALID;
	}
	return ERR_OK;
}

/* Does one of these extensions stand there twice? */
static bool has_doubled_extension(gnutls_x509_crq_t crq)
{
	static const char *const oids[] = {OID_SAN, OID_BASIC_CONSTRAINTS, OID_KEY_USAGE, OID_EKU};

	for (size_t i = 0; i < ARRAY_SIZE(oids); i++) {
		CLEAN(datum_freep) gnutls_datum_t d = {0};

		if (gnutls_x509_crq_get_extension_by_oid2(crq, oids[i], 1, &d, NULL) >= 0)
			return true;
	}
	return false;
}

static enum err read_wishes(struct csr_info *i, gnutls_x509_crq_t crq, struct why *why)
{
	CLEAN(datum_freep) gnutls_datum_t der = {0};
	unsigned is_ca = 0, usage = 0;
	struct san san;
	enum err e;
	int path_len, ret;

	if (has_doubled_extension(crq)) {
		why_set(why, "an extension is there twice");
		return ERR_INVALID;
	}
	ret = gnutls_x509_crq_get_basic_constraints(crq, NULL, &is_ca, &path_len);
	if (ret < 0 && ret != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return x509_fail(ret, ERR_MALFORMED, why, "basic constraints");
	i->wants_ca = ret >= 0 && is_ca;
	ret = gnutls_x509_crq_get_key_usage(crq, &usage, NULL);
	if (ret < 0 && ret != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return x509_fail(ret, ERR_MALFORMED, why, "key usage");
	if (ret >= 0 && usage & (GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN))
		i->wants_ca = true;

	ret = gnutls_x509_crq_get_extension_by_oid2(crq, OID_SAN, 0, &der, NULL);
	if (ret == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return ERR_OK;
	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, "alternative names");
	if ((e = san_read(&san, &der, true, why)))
		return e;
	i->role = san.role;
	memcpy(i->id, san.id, sizeof(i->id));
	str_list_move(&i->ips, &san.ips);
	str_list_move(&i->dns, &san.dns);
	return ERR_OK;
}

static enum err read_key(struct csr_info *i, gnutls_x509_crq_t crq, struct why *why)
{
	uint8_t id[32];
	size_t n = sizeof(id);
	int ret = gnutls_x509_crq_get_key_id(crq, GNUTLS_KEYID_USE_SHA256, id, &n);

	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, "key of the certificate request");
	hex_encode(i->key_id, id, n);
	i->is_rsa = gnutls_x509_crq_get_pk_algorithm(crq, &i->key_bits) == GNUTLS_PK_RSA;
	return ERR_OK;
}

void csr_info_deinit(struct csr_info *i)
{
	str_list_deinit(&i->ips);
	str_list_deinit(&i->dns);
	*i = (struct csr_info){0};
}

enum err csr_info_parse(struct csr_info *out, const char *pem, struct why *why)
{
	CLEAN(crq_freep) gnutls_x509_crq_t crq = NULL;
	struct csr_info i = {0};
	enum err e;

	*out = (struct csr_info){0};
	if ((e = csr_load(&crq, pem, why)))
		return e;
	if ((e = read_common_name(&i, crq, why)) || (e = read_key(&i, crq, why)) || (e = read_wishes(&i, crq, why))) {
		csr_info_deinit(&i);
		why_add(why, "certificate request");
		return e;
	}
	*out = i;
	return ERR_OK;
}

static enum err fill(gnutls_x509_crq_t crq, const struct csr_params *p, gnutls_x509_privkey_t key, struct why *why)
{
	CLEAN(datum_freep) gnutls_datum_t san = {0};
	size_t n = p->common_name ? strlen(p->common_name) : 0;
	enum err e;
	int ret;

	if (n == 0 || n > COMMON_NAME_SIGNED_MAX || !name_is_plain(p->common_name, n)) {
		why_set(why, "the common name must have 1 to %d characters, none of them control characters or slashes",
			COMMON_NAME_SIGNED_MAX);
		return ERR_INVALID;
	}
	if ((e = san_write(&san, p->role, p->id, p->ips, p->dns, why)))
		return e;
	ret = gnutls_x509_crq_set_version(crq, 1);
	if (ret >= 0)
		ret = gnutls_x509_crq_set_key(crq, key);
	if (ret >= 0)
		ret = gnutls_x509_crq_set_dn_by_oid(crq, GNUTLS_OID_X520_COMMON_NAME, 0, p->common_name, (unsigned)n);
	if (ret >= 0 && san.size)
		ret = gnutls_x509_crq_set_extension_by_oid(crq, OID_SAN, san.data, san.size, 0);
	return ret < 0 ? x509_fail(ret, ERR_INVALID, why, "write the request") : ERR_OK;
}

enum err csr_new(char **pem, const struct csr_params *p, struct why *why)
{
	CLEAN(crq_freep) gnutls_x509_crq_t crq = NULL;
	CLEAN(x509_key_freep) gnutls_x509_privkey_t key = NULL;
	CLEAN(privkey_freep) gnutls_privkey_t signer = NULL;
	CLEAN(pubkey_freep) gnutls_pubkey_t public_key = NULL;
	gnutls_datum_t text = {0};
	enum err e;
	int ret;

	if ((e = key_load(&key, p->key_pem, why)) || (e = key_load_abstract(&signer, p->key_pem, why)))
		return e;
	if (gnutls_x509_crq_init(&crq) < 0 || gnutls_pubkey_init(&public_key) < 0)
		return ERR_NOMEM;
	if ((e = fill(crq, p, key, why)))
		return e;
	ret = gnutls_pubkey_import_privkey(public_key, signer, 0, 0);
	if (ret >= 0)
		ret = gnutls_x509_crq_privkey_sign(crq, signer, x509_digest(public_key), 0);
	if (ret >= 0)
		ret = gnutls_x509_crq_export2(crq, GNUTLS_X509_FMT_PEM, &text);
	if (ret < 0)
		return x509_fail(ret, ERR_INVALID, why, "sign the request");
	return x509_take_text(pem, &text);
}
