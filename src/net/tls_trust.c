#include "net/tls_trust.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/tls_policy.h"
#include "pki/cert.h"

/*
 * GnuTLS would judge by the machine's clock; times are ours to judge (below), by the time we are given. Everything
 * else stays at its strict default, or is net/tls_policy.h 6.
 */
#define VERIFY_FLAGS (GNUTLS_VERIFY_DISABLE_TIME_CHECKS | TLS_POLICY_CERT_FLAGS)

#define CAS_MAX 64 /* CA certificates in one set of credentials */

static void free_certs(gnutls_x509_crt_t *certs, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		gnutls_x509_crt_deinit(certs[i]);
	gnutls_free(certs);
}

/* ---- what is trusted ---- */

/* An outdated list still says who was revoked; that a newer one is missing is not for a handshake to find out. */
#define CRL_TIMES (GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED | GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE)

static bool is_signed_by_us(const struct trust *t, gnutls_x509_crl_t crl)
{
	unsigned verdict = GNUTLS_CERT_INVALID;
	int status = gnutls_x509_crl_verify(crl, t->cas, t->n_cas, VERIFY_FLAGS, &verdict);

	/* A verdict is INVALID together with the reasons for it. */
	if (verdict & CRL_TIMES)
		verdict &= ~(unsigned)(CRL_TIMES | GNUTLS_CERT_INVALID);
	return status >= 0 && verdict == 0;
}

static void free_crls(gnutls_x509_crl_t *crls, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		gnutls_x509_crl_deinit(crls[i]);
	gnutls_free(crls);
}

static enum err add_crl(struct trust *t, const char *pem, struct why *why)
{
	gnutls_datum_t text = {.data = (unsigned char *)(uintptr_t)pem, .size = (unsigned)strlen(pem)};
	gnutls_x509_crl_t *crls = NULL;
	unsigned n = 0;
	int status = gnutls_x509_crl_list_import2(&crls, &n, &text, GNUTLS_X509_FMT_PEM, 0);

	if (status < 0) {
		why_set(why, "revocation list: %s", gnutls_strerror(status));
		return ERR_INVALID;
	}
	for (unsigned i = 0; i < n; i++) {
		if (!is_signed_by_us(t, crls[i])) {
			free_crls(crls, n);
			why_set(why, "revocation list: not signed by the CA");
			return ERR_UNTRUSTED;
		}
	}
	/* From here on they belong to the trust list. */
	status = gnutls_x509_trust_list_add_crls(t->list, crls, n, 0, 0);
	gnutls_free(crls);
	return status < 0 ? ERR_NOMEM : ERR_OK;
}

static bool is_own_issuer(gnutls_x509_crt_t c)
{
	return gnutls_x509_crt_check_issuer(c, c);
}

static bool has_name_of(gnutls_x509_crt_t a, gnutls_x509_crt_t b)
{
	gnutls_datum_t x = {0}, y = {0};
	bool same = gnutls_x509_crt_get_raw_dn(a, &x) >= 0 && gnutls_x509_crt_get_raw_dn(b, &y) >= 0 &&
		    x.size == y.size && memcmp(x.data, y.data, x.size) == 0;

	gnutls_free(x.data);
	gnutls_free(y.data);
	return same;
}

/* Does it stand on its own feet, in this form or another one? A root that another root has signed as well does. */
static bool is_root(const struct trust *t, gnutls_x509_crt_t c)
{
	for (unsigned i = 0; i < t->n_cas; i++)
		if (is_own_issuer(t->cas[i]) && has_name_of(t->cas[i], c))
			return true;
	return false;
}

/*
 * Is it only there to lead to another one of them? Then that one is our CA. This one stands above CAs of others too:
 * what those sign is not believed, and neither is what one of them signs that was ours before.
 */
static bool is_above_another(const struct trust *t, gnutls_x509_crt_t c)
{
	for (unsigned i = 0; i < t->n_cas; i++)
		if (t->cas[i] != c && gnutls_x509_crt_check_issuer(t->cas[i], c) && !is_root(t, t->cas[i]))
			return true;
	return false;
}

/* Those that are believed come first, each of them in the list; `cas` owns the others. */
static enum err believe(struct trust *t)
{
	bool above[CAS_MAX];

	for (unsigned i = 0; i < t->n_cas; i++)
		above[i] = is_above_another(t, t->cas[i]);
	for (unsigned i = 0; i < t->n_cas; i++) {
		gnutls_x509_crt_t c = t->cas[i];

		if (above[i])
			continue;
		if (gnutls_x509_trust_list_add_cas(t->list, &c, 1, 0) < 1)
			return ERR_NOMEM;
		above[i] = above[t->n_believed];
		t->cas[i] = t->cas[t->n_believed];
		t->cas[t->n_believed++] = c;
	}
	return ERR_OK;
}

static enum err add_cas(struct trust *t, const char *pem, struct why *why)
{
	gnutls_datum_t text = {.data = (unsigned char *)(uintptr_t)pem, .size = (unsigned)strlen(pem)};
	int status = gnutls_x509_crt_list_import2(&t->cas, &t->n_cas, &text, GNUTLS_X509_FMT_PEM, 0);

	if (status < 0) {
		why_set(why, "CA certificates: %s", gnutls_strerror(status));
		return ERR_INVALID;
	}
	if (t->n_cas > CAS_MAX) {
		why_set(why, "CA certificates: more than %d", CAS_MAX);
		return ERR_TOO_BIG;
	}
	return believe(t);
}

enum err trust_init(struct trust *t, const char *ca_pem, const char *crl_pem, struct why *why)
{
	enum err e = ERR_OK;

	*t = (struct trust){0};
	if (gnutls_x509_trust_list_init(&t->list, 0) < 0)
		return ERR_NOMEM;
	if (!str_is_blank(ca_pem))
		e = add_cas(t, ca_pem, why);
	if (e == ERR_OK && !str_is_blank(crl_pem))
		e = add_crl(t, crl_pem, why);
	if (e != ERR_OK)
		trust_deinit(t);
	return e;
}

void trust_deinit(struct trust *t)
{
	for (unsigned i = t->n_believed; i < t->n_cas; i++)
		gnutls_x509_crt_deinit(t->cas[i]);
	/* 1: with all the certificates and revocation lists that it was given. */
	if (t->list)
		gnutls_x509_trust_list_deinit(t->list, 1);
	gnutls_free(t->cas);
	*t = (struct trust){0};
}

gnutls_x509_crt_t trust_issuer(const struct trust *t, gnutls_x509_crt_t c)
{
	gnutls_x509_crt_t best = NULL;

	/* Of a CA that was renewed with its key there are two: the one that is valid longer. */
	for (unsigned i = 0; i < t->n_cas; i++)
		if (gnutls_x509_crt_check_issuer(c, t->cas[i]) &&
		    (!best ||
		     gnutls_x509_crt_get_expiration_time(t->cas[i]) > gnutls_x509_crt_get_expiration_time(best)))
			best = t->cas[i];
	return best;
}

/* ---- what is presented ---- */

enum err presented_init(struct presented *p, const gnutls_datum_t *ders, unsigned n, struct why *why)
{
	*p = (struct presented){.certs = gnutls_calloc(n ? n : 1, sizeof(*p->certs))};
	if (!p->certs)
		return ERR_NOMEM;
	for (; p->n < n; p->n++) {
		int status = gnutls_x509_crt_init(&p->certs[p->n]);

		if (status < 0) {
			presented_deinit(p);
			return ERR_NOMEM;
		}
		status = gnutls_x509_crt_import(p->certs[p->n], &ders[p->n], GNUTLS_X509_FMT_DER);
		if (status < 0) {
			gnutls_x509_crt_deinit(p->certs[p->n]);
			presented_deinit(p);
			why_set(why, "certificate: %s", gnutls_strerror(status));
			return ERR_UNTRUSTED;
		}
	}
	return ERR_OK;
}

void presented_deinit(struct presented *p)
{
	free_certs(p->certs, p->n);
	*p = (struct presented){0};
}

/* ---- the verdict ---- */

static enum err judge_time(gnutls_x509_crt_t c, const char *whose, int64_t wall_s, int64_t grace_s, struct why *why)
{
	if (grace_s == TRUST_ANY_DATE)
		return ERR_OK;
	if (wall_s < (int64_t)gnutls_x509_crt_get_activation_time(c)) {
		why_set(why, "%s certificate is not valid yet (is the clock right?)", whose);
		return ERR_UNTRUSTED;
	}
	if (wall_s > (int64_t)gnutls_x509_crt_get_expiration_time(c) + grace_s) {
		why_set(why, "%s certificate has expired", whose);
		return ERR_EXPIRED;
	}
	return ERR_OK;
}

static gnutls_x509_crt_t presented_issuer(const struct presented *p, gnutls_x509_crt_t c)
{
	for (unsigned i = 1; i < p->n; i++)
		if (p->certs[i] != c && gnutls_x509_crt_check_issuer(c, p->certs[i]))
			return p->certs[i];
	return NULL;
}

/* The times along the way up: its own certificate, each intermediate that was presented, and the trusted CA. */
static enum err judge_times(const struct trust *t, const struct presented *p, int64_t wall_s, int64_t grace_s,
			    struct why *why)
{
	gnutls_x509_crt_t c = p->certs[0];
	enum err e = judge_time(c, "the", wall_s, grace_s, why);

	for (unsigned i = 0; e == ERR_OK && i < p->n; i++) {
		gnutls_x509_crt_t ca = trust_issuer(t, c);

		if (ca)
			return judge_time(ca, "the CA's", wall_s, 0, why);
		c = presented_issuer(p, c);
		if (!c)
			break;
		e = judge_time(c, "an intermediate", wall_s, 0, why);
	}
	return e;
}

static bool is_trusted_ca(const struct trust *t, gnutls_x509_crt_t c)
{
	for (unsigned i = 0; i < t->n_believed; i++)
		if (gnutls_x509_crt_equals(c, t->cas[i]))
			return true;
	return false;
}

static enum err why_not(unsigned verdict, struct why *why)
{
	/* clang-format off */
	static const struct {
		unsigned bit;
		enum err e;
		const char *sentence;
	} rows[] = {
		{ GNUTLS_CERT_REVOKED,                    ERR_REVOKED,   "the certificate is revoked" },
		{ GNUTLS_CERT_SIGNER_NOT_FOUND,           ERR_UNTRUSTED, "the certificate is not signed by a trusted CA" },
		{ GNUTLS_CERT_SIGNER_NOT_CA,              ERR_UNTRUSTED, "the certificate's signer is not a CA" },
		{ GNUTLS_CERT_SIGNATURE_FAILURE,          ERR_UNTRUSTED, "the certificate's signature is wrong" },
		{ GNUTLS_CERT_INSECURE_ALGORITHM,         ERR_UNTRUSTED, "the certificate uses an insecure algorithm" },
		{ GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE, ERR_UNTRUSTED, "constraints of its CA forbid the certificate" },
		{ GNUTLS_CERT_UNKNOWN_CRIT_EXTENSIONS,    ERR_UNTRUSTED, "the certificate has an unknown critical extension" },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (verdict & rows[i].bit) {
			why_set(why, "%s", rows[i].sentence);
			return rows[i].e;
		}
	}
	why_set(why, "the certificate can't be verified (0x%x)", verdict);
	return ERR_UNTRUSTED;
}

enum err trust_judge(const struct trust *t, const struct presented *p, int64_t wall_s, int64_t grace_s,
		     bool *is_ca_itself, struct why *why)
{
	unsigned verdict = GNUTLS_CERT_INVALID;
	int status;

	*is_ca_itself = false;
	if (p->n == 0) {
		why_set(why, "there is no certificate");
		return ERR_UNTRUSTED;
	}
	if (t->n_cas == 0) {
		why_set(why, "there is no CA to verify the certificate with");
		return ERR_UNTRUSTED;
	}
	if (is_trusted_ca(t, p->certs[0])) {
		*is_ca_itself = true;
		return judge_time(p->certs[0], "the CA's", wall_s, 0, why);
	}
	status = gnutls_x509_trust_list_verify_crt2(t->list, p->certs, p->n, NULL, 0, VERIFY_FLAGS, &verdict, NULL);
	if (status < 0) {
		why_set(why, "certificate: %s", gnutls_strerror(status));
		return ERR_UNTRUSTED;
	}
	if (verdict)
		return why_not(verdict, why);
	return judge_times(t, p, wall_s, grace_s, why);
}

enum err trust_judge_again(const struct trust *t, const struct presented *p, int64_t wall_s, int64_t grace_s,
			   bool *is_ca_itself, struct why *why)
{
	*is_ca_itself = false;
	/* Nobody can have been verified before either. */
	if (p->n == 0 || t->n_cas == 0) {
		why_set(why, "there is no CA to verify the certificate with");
		return ERR_UNTRUSTED;
	}
	if (is_trusted_ca(t, p->certs[0])) {
		*is_ca_itself = true;
		return judge_time(p->certs[0], "the CA's", wall_s, 0, why);
	}
	return judge_times(t, p, wall_s, grace_s, why);
}

static bool has_fingerprint(gnutls_x509_crt_t c, const char *pin)
{
	unsigned char raw[32];
	size_t n = sizeof(raw);
	char text[2 * sizeof(raw) + 1];

	if (gnutls_x509_crt_get_fingerprint(c, GNUTLS_DIG_SHA256, raw, &n) < 0 || n != sizeof(raw))
		return false;
	hex_encode(text, raw, n);
	return str_equal_nocase(text, pin);
}

enum err trust_judge_pinned(const struct presented *p, const char *pin, int64_t wall_s, struct why *why)
{
	gnutls_x509_crt_t pinned = NULL;
	struct trust only = {0};
	bool is_ca_itself;
	enum err e;

	for (unsigned i = 0; i < p->n && !pinned; i++)
		if (has_fingerprint(p->certs[i], pin))
			pinned = p->certs[i];
	if (!pinned || gnutls_x509_crt_get_ca_status(pinned, NULL) <= 0) {
		why_set(why, "the server's CA certificate is not the one of the token");
		return ERR_UNTRUSTED;
	}

	only.cas = &pinned; /* borrowed: only the list is freed below */
	only.n_cas = only.n_believed = 1;
	if (gnutls_x509_trust_list_init(&only.list, 0) < 0)
		return ERR_NOMEM;
	if (gnutls_x509_trust_list_add_cas(only.list, only.cas, 1, 0) < 1)
		e = ERR_NOMEM;
	else
		e = trust_judge(&only, p, wall_s, 0, &is_ca_itself, why);
	gnutls_x509_trust_list_deinit(only.list, 0);
	return e;
}
