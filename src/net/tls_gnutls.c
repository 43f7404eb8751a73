/*
 * Credentials for TLS on GnuTLS: our certificates and keys, whom to trust, and what each kind of session may
 * negotiate. Immutable once made, so that sessions on any thread can share them.
 */
#include "net/tls_gnutls.h"

#include "base/mem.h"
#include "net/tls_private.h"

static enum err add_pair(gnutls_certificate_credentials_t to, const char *chain, const char *key, struct why *why)
{
	gnutls_datum_t c = text_datum(chain), k = text_datum(key);
	int status = gnutls_certificate_set_x509_key_mem(to, &c, &k, GNUTLS_X509_FMT_PEM);

	if (status < 0) {
		why_set(why, "own certificate and key: %s", gnutls_strerror(status));
		return status == GNUTLS_E_MEMORY_ERROR ? ERR_NOMEM : ERR_INVALID;
	}
	return ERR_OK;
}

/* Adds trusted issuers to a chain until it ends in a root: who joins has nothing but the root's fingerprint. */
static unsigned complete_chain(const struct trust *trust, gnutls_x509_crt_t *chain, unsigned n, unsigned room)
{
	while (n < room) {
		gnutls_x509_crt_t last = chain[n - 1], issuer;

		if (gnutls_x509_crt_check_issuer(last, last))
			break;
		issuer = trust_issuer(trust, last);
		if (!issuer)
			break;
		chain[n++] = issuer;
	}
	return n;
}

static enum err add_whole_pair(struct creds *c, const char *chain, const char *key, struct why *why)
{
	gnutls_x509_crt_t certs[CHAIN_MAX];
	gnutls_x509_privkey_t k = NULL;
	gnutls_datum_t text = text_datum(chain);
	unsigned own = CHAIN_MAX - 2, n = 0;
	int status = gnutls_x509_crt_list_import(certs, &own, &text, GNUTLS_X509_FMT_PEM,
						 GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);

	if (status < 0) {
		why_set(why, "own certificates: %s", gnutls_strerror(status));
		return ERR_INVALID;
	}
	n = complete_chain(&c->trust, certs, own, CHAIN_MAX);
	text = text_datum(key);
	status = gnutls_x509_privkey_init(&k);
	if (status >= 0)
		status = gnutls_x509_privkey_import2(k, &text, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN);
	if (status >= 0)
		status = gnutls_certificate_set_x509_key(c->whole, certs, (int)n, k);
	if (k)
		gnutls_x509_privkey_deinit(k);
	for (unsigned i = 0; i < own; i++)
		gnutls_x509_crt_deinit(certs[i]);
	if (status < 0) {
		why_set(why, "own certificate and key: %s", gnutls_strerror(status));
		return ERR_INVALID;
	}
	return ERR_OK;
}

static enum err know_own(struct creds *c, const char *chain, struct why *why)
{
	struct cert_info info = {0};
	enum err e = cert_info_parse(&info, chain, why);

	c->base.own_role = info.role;
	c->has_rsa = info.is_rsa;
	cert_info_deinit(&info);
	return e;
}

static enum err add_pairs(struct creds *c, const struct tls_material *m, struct why *why)
{
	enum err e = ERR_OK;

	if (m->chain && m->key) {
		e = know_own(c, m->chain, why);
		if (e == ERR_OK)
			e = add_pair(c->own, m->chain, m->key, why);
		if (e == ERR_OK)
			e = add_pair(c->client, m->chain, m->key, why);
		if (e == ERR_OK)
			e = add_whole_pair(c, m->chain, m->key, why);
	}
	if (e == ERR_OK && m->rsa_chain && m->rsa_key) {
		c->has_rsa = true;
		e = add_pair(c->own, m->rsa_chain, m->rsa_key, why);
		if (e == ERR_OK)
			e = add_whole_pair(c, m->rsa_chain, m->rsa_key, why);
	}
	return e;
}

static void creds_free(struct tls_creds *base)
{
	struct creds *c = container_of(base, struct creds, base);

	if (c->own)
		gnutls_certificate_free_credentials(c->own);
	if (c->client)
		gnutls_certificate_free_credentials(c->client);
	if (c->whole)
		gnutls_certificate_free_credentials(c->whole);
	if (c->none)
		gnutls_certificate_free_credentials(c->none);
	for (int i = 0; i < N_TLS_POLICIES; i++)
		gnutls_priority_deinit(c->priorities[i]); /* NULL is fine */
	trust_deinit(&c->trust);
	mem_wipe(&c->tickets, sizeof(c->tickets));
	mem_free(c);
}

static enum tls_look look(struct bytes in, bool is_hello, struct why *why)
{
	return is_hello ? tls_look_hello(in, why) : tls_look_flight(in, why);
}

static const struct tls_creds_ops creds_ops = {.look = look, .session_new = tls_session_new, .free = creds_free};

static enum err allocate(struct creds *c, struct why *why)
{
	int status = gnutls_certificate_allocate_credentials(&c->own);

	if (status >= 0)
		status = gnutls_certificate_allocate_credentials(&c->client);
	if (status >= 0)
		status = gnutls_certificate_allocate_credentials(&c->whole);
	if (status >= 0)
		status = gnutls_certificate_allocate_credentials(&c->none);
	for (int i = 0; i < N_TLS_POLICIES && status >= 0; i++)
		status = gnutls_priority_init(&c->priorities[i], tls_policy_text(i), NULL);
	if (status >= 0)
		return ERR_OK;
	why_set(why, "TLS: %s", gnutls_strerror(status)); /* a system-wide policy may forbid what we ask for */
	return status == GNUTLS_E_MEMORY_ERROR ? ERR_NOMEM : ERR_TLS;
}

enum err tls_gnutls_creds_new(struct tls_creds **out, const struct tls_material *m, struct why *why)
{
	struct creds *c = mem_zalloc(sizeof(*c));
	enum err e;

	if (!c)
		return ERR_NOMEM;
	c->base.ops = &creds_ops;
	c->base.refs = 1;
	if (m->tickets)
		c->tickets = *m->tickets;
	e = allocate(c, why);
	if (e == ERR_OK)
		e = trust_init(&c->trust, m->ca, m->crl, why);
	if (e == ERR_OK)
		e = trust_id_of(c->trust_id, m->ca, m->crl);
	if (e == ERR_OK)
		e = ticket_keys_bind(&c->tickets, c->trust_id);
	if (e == ERR_OK)
		e = add_pairs(c, m, why);
	if (e != ERR_OK) {
		creds_free(&c->base);
		return e;
	}
	*out = &c->base;
	return ERR_OK;
}
