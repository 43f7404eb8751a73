/*
 * Does a chain lead to one of our CAs?
 *
 * GnuTLS judges signatures, constraints and key sizes, but only by the machine's clock. Time is an argument here: its
 * own check is off, and only certificates that are valid at the given time take part - CAs and links between, before
 * it looks for a way; the certificate in question last, so that "expired" is said of certificates that are ours only.
 */
#include "pki/x509.h"

#include <string.h>

struct chain {
	gnutls_x509_crt_t crts[CHAIN_MAX];
	unsigned n;
};

static void chain_deinit(struct chain *c)
{
	for (unsigned i = 0; i < c->n; i++)
		gnutls_x509_crt_deinit(c->crts[i]);
	c->n = 0;
}

static enum err chain_load(struct chain *out, const char *pem, const char *what, struct why *why)
{
	unsigned n = CHAIN_MAX;
	gnutls_datum_t text;
	enum err e;
	int ret;

	if ((e = x509_text(&text, pem, CERT_TEXT_MAX, what, why)))
		return e;
	ret = gnutls_x509_crt_list_import(out->crts, &n, &text, GNUTLS_X509_FMT_PEM,
					  GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);
	if (ret == GNUTLS_E_SHORT_MEMORY_BUFFER) {
		why_set(why, "%s: more than %d certificates", what, CHAIN_MAX);
		return ERR_TOO_BIG;
	}
	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, what);
	out->n = n;
	return ERR_OK;
}

static bool is_current(gnutls_x509_crt_t crt, int64_t wall_s)
{
	return gnutls_x509_crt_get_activation_time(crt) <= wall_s && wall_s <= gnutls_x509_crt_get_expiration_time(crt);
}

/* Orders what was given into a path from the leaf upwards. Borrowed from `given`. */
static unsigned path_make(gnutls_x509_crt_t path[CHAIN_MAX], const struct chain *given, const int64_t *wall_s)
{
	bool used[CHAIN_MAX] = {true};
	unsigned n = 0;

	path[n++] = given->crts[0];
	for (unsigned i = 1; i < given->n;) {
		if (used[i] || (wall_s && !is_current(given->crts[i], *wall_s)) ||
		    !gnutls_x509_crt_check_issuer(path[n - 1], given->crts[i])) {
			i++;
			continue;
		}
		used[i] = true;
		path[n++] = given->crts[i];
		i = 1;
	}
	return n;
}

/* What GnuTLS finds wrong with the way to the CAs; 0: nothing. wall_s NULL: at any time. */
static enum err path_status(unsigned *status, const struct chain *given, const struct chain *anchors,
			    const int64_t *wall_s)
{
	const unsigned flags = GNUTLS_VERIFY_DISABLE_TIME_CHECKS | GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM);
	gnutls_x509_crt_t path[CHAIN_MAX];
	gnutls_x509_trust_list_t list;
	unsigned n = path_make(path, given, wall_s);
	int ret = 0;

	*status = GNUTLS_CERT_INVALID;
	if (gnutls_x509_trust_list_init(&list, 0) < 0)
		return ERR_NOMEM;
	for (unsigned i = 0; i < anchors->n && ret >= 0; i++)
		if (!wall_s || is_current(anchors->crts[i], *wall_s))
			ret = gnutls_x509_trust_list_add_cas(list, &anchors->crts[i], 1, 0);
	if (ret >= 0)
		ret = gnutls_x509_trust_list_verify_crt2(list, path, n, NULL, 0, flags, status, NULL);
	gnutls_x509_trust_list_deinit(list, 0);
	if (ret == GNUTLS_E_MEMORY_ERROR)
		return ERR_NOMEM;
	if (ret < 0)
		*status |= GNUTLS_CERT_INVALID;
	return ERR_OK;
}

static const char *status_text(unsigned status)
{
	static const struct {
		unsigned bit;
		const char *text;
	} rows[] = {
		{GNUTLS_CERT_SIGNATURE_FAILURE, "its signature is wrong"},
		{GNUTLS_CERT_SIGNER_NOT_CA, "it is signed by a certificate that is no CA's"},
		{GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE, "its CA may not sign such a certificate"},
		{GNUTLS_CERT_INSECURE_ALGORITHM, "a key or hash in its chain is too weak"},
		{GNUTLS_CERT_SIGNER_NOT_FOUND, "it is not issued by a CA that is trusted here"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (status & rows[i].bit)
			return rows[i].text;
	return "it does not lead to a CA that is trusted here";
}

static enum err verify(const struct chain *given, const struct chain *anchors, int64_t wall_s, struct why *why)
{
	unsigned status, at_any_time;
	enum err e;

	if ((e = path_status(&status, given, anchors, &wall_s)))
		return e;
	if (status) {
		if ((e = path_status(&at_any_time, given, anchors, NULL)))
			return e;
		if (at_any_time == 0 && is_current(given->crts[0], wall_s)) {
			why_set(why, "a CA certificate of its chain is expired or not yet valid");
			return ERR_EXPIRED;
		}
		/* If only time is in the way, the certificate's own dates are what to say, below. */
		if (at_any_time != 0) {
			why_set(why, "%s", status_text(at_any_time));
			return ERR_UNTRUSTED;
		}
	}
	if (wall_s > gnutls_x509_crt_get_expiration_time(given->crts[0])) {
		why_set(why, "it is expired");
		return ERR_EXPIRED;
	}
	if (wall_s < gnutls_x509_crt_get_activation_time(given->crts[0])) {
		why_set(why, "it is not valid yet (is the clock right?)");
		return ERR_UNTRUSTED;
	}
	return ERR_OK;
}

enum err cert_verify(const char *pem, const char *ca_pem, int64_t wall_s, struct why *why)
{
	CLEAN(chain_deinit) struct chain given = {.n = 0}, anchors = {.n = 0};
	enum err e;

	if ((e = chain_load(&given, pem, "certificate", why)) ||
	    (e = chain_load(&anchors, ca_pem, "CA certificates", why)))
		return e;
	if ((e = verify(&given, &anchors, wall_s, why)))
		why_add(why, "certificate is not trusted");
	return e;
}

static enum err pem_of(char **out, gnutls_x509_crt_t crt, struct why *why)
{
	gnutls_datum_t text = {0};
	int ret = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &text);

	return ret < 0 ? x509_fail(ret, ERR_INVALID, why, "write a certificate") : x509_take_text(out, &text);
}

enum err cert_split(struct str_list *out, const char *pem, struct why *why)
{
	CLEAN(chain_deinit) struct chain given = {.n = 0};
	CLEAN(str_list_deinit) struct str_list texts = {0};
	enum err e = chain_load(&given, pem, "certificates", why);

	for (unsigned i = 0; !e && i < given.n; i++) {
		CLEAN(mem_freep) char *text = NULL;

		e = pem_of(&text, given.crts[i], why);
		if (!e)
			e = str_list_add(&texts, text);
	}
	if (!e)
		str_list_move(out, &texts);
	return e;
}

static enum err no_root(gnutls_x509_crt_t last, struct why *why)
{
	CLEAN(datum_freep) gnutls_datum_t dn = {0};
	char issuer[256] = "?";

	if (gnutls_x509_crt_get_issuer_dn3(last, &dn, 0) >= 0 && dn.data)
		str_copy(issuer, sizeof(issuer), (const char *)dn.data);
	str_make_printable(issuer);
	why_set(why, "the chain does not reach a self-signed root: the certificate of %s is missing, or not valid now",
		issuer);
	return ERR_NOT_FOUND;
}

enum err cert_chain_complete(char **out, const char *pem, int64_t wall_s, struct why *why)
{
	CLEAN(chain_deinit) struct chain given = {.n = 0};
	CLEAN(buf_deinit) struct buf all = {0};
	gnutls_x509_crt_t path[CHAIN_MAX];
	enum err e = chain_load(&given, pem, "certificates", why);
	unsigned n;

	if (e)
		return e;
	n = path_make(path, &given, &wall_s);
	if (!gnutls_x509_crt_check_issuer(path[n - 1], path[n - 1]))
		return no_root(path[n - 1], why);
	for (unsigned i = 0; !e && i < n; i++) {
		CLEAN(mem_freep) char *text = NULL;

		e = pem_of(&text, path[i], why);
		if (!e)
			e = buf_put_str(&all, text);
	}
	if (e)
		return e;
	*out = buf_take_str(&all);
	return *out ? ERR_OK : ERR_NOMEM;
}
