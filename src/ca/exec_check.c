/*
 * What an external CA answered, held against what was asked for. The numbers are those of docs/external-ca.md.
 *
 * The server that gets such a certificate would be let in by everybody, so nothing is let pass here because the CA is
 * the operator's: a template that is a little wrong would make every agent a server.
 */
#include "ca/exec.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

#define LIFE_LEFT_MIN_S 3600 /* less, and it may be over before it is used */
#define LIFE_SLACK_S 86400   /* CAs count days, or add some minutes for clocks that differ */
#define ANSWER_CERTS_MAX 8

static bool same_address(const char *a, const char *b)
{
	unsigned char x[16], y[16];

	if (inet_pton(AF_INET, a, x) == 1)
		return inet_pton(AF_INET, b, y) == 1 && memcmp(x, y, 4) == 0;
	return inet_pton(AF_INET6, a, x) == 1 && inet_pton(AF_INET6, b, y) == 1 && memcmp(x, y, 16) == 0;
}

static bool has_address(const struct str_list *l, const char *ip)
{
	for (size_t i = 0; l && i < l->n; i++)
		if (same_address(l->items[i], ip))
			return true;
	return false;
}

static bool has_name(const struct str_list *l, const char *name)
{
	for (size_t i = 0; l && i < l->n; i++)
		if (str_equal_nocase(l->items[i], name))
			return true;
	return false;
}

/* 2. The key that was shown, and no other. */
static enum err check_key(const struct cert_info *c, const char *csr_pem, struct why *why)
{
	struct csr_info csr;
	enum err e = csr_info_parse(&csr, csr_pem, why);

	if (e)
		return e;
	if (!str_equal(csr.key_id, c->key_id)) {
		why_set(why, "the certificate is for another key than that of the request");
		e = ERR_REFUSED;
	}
	csr_info_deinit(&csr);
	return e;
}

/* 3. For whom. */
static enum err check_role(const struct cert_info *c, const struct ca_request *r, struct why *why)
{
	const char *kind = r->role == CERT_ROLE_SERVER ? "server" : "agent";

	if (c->role == r->role && (r->role == CERT_ROLE_NONE || str_equal(c->id, r->id)))
		return ERR_OK;
	if (c->role == CERT_ROLE_NONE)
		why_set(why, "the certificate lacks the name URI:muster:%s:%s", kind, r->id);
	else
		why_set(why, "the certificate is for %s %s, which was not asked for",
			c->role == CERT_ROLE_SERVER ? "server" : "agent", c->id);
	return ERR_REFUSED;
}

/* 4. For what: an agent's certificate that may be a server's makes every host a fake server. */
static enum err check_usage(const struct cert_info *c, enum cert_role role, struct why *why)
{
	if (c->is_ca)
		why_set(why, "the certificate is a CA's");
	else if (!c->signs_data)
		why_set(why, "the certificate's key usage lacks digitalSignature");
	else if (role != CERT_ROLE_NONE && !c->has_eku)
		why_set(why, "the certificate lacks an extended key usage");
	else if (!c->eku_client)
		why_set(why, "the certificate's extended key usage lacks clientAuth");
	else if (role == CERT_ROLE_SERVER && !c->eku_server)
		why_set(why, "the certificate's extended key usage lacks serverAuth");
	else if (role == CERT_ROLE_AGENT && c->eku_server)
		why_set(why, "the certificate is for an agent, and its extended key usage has serverAuth");
	else
		return ERR_OK;
	return ERR_REFUSED;
}

/* 5. The addresses and names that were asked for, and no more: CloudStack's agents are known by them. */
static enum err check_names(const struct cert_info *c, const struct ca_request *r, struct why *why)
{
	const char *missing = NULL, *extra = NULL;

	for (size_t i = 0; r->ips && i < r->ips->n; i++)
		if (!has_address(&c->ips, r->ips->items[i]))
			missing = r->ips->items[i];
	for (size_t i = 0; r->dns && i < r->dns->n; i++)
		if (!has_name(&c->dns, r->dns->items[i]))
			missing = r->dns->items[i];
	for (size_t i = 0; i < c->ips.n; i++)
		if (!has_address(r->ips, c->ips.items[i]))
			extra = c->ips.items[i];
	for (size_t i = 0; i < c->dns.n; i++)
		/* Many CAs repeat the common name here. */
		if (!has_name(r->dns, c->dns.items[i]) &&
		    !(r->common_name && str_equal_nocase(c->dns.items[i], r->common_name)))
			extra = c->dns.items[i];
	if (missing)
		why_set(why, "the certificate lacks %s among its names", missing);
	else if (extra)
		why_set(why, "the certificate names %s, which was not asked for", extra);
	else
		return ERR_OK;
	return ERR_REFUSED;
}

/* 6. For how long. A shorter life than asked for is the CA's to decide, a longer one is not. */
static enum err check_dates(const struct cert_info *c, const struct ca_request *r, struct why *why)
{
	if (c->not_after_s - r->wall_s < (r->validity_s < LIFE_LEFT_MIN_S ? r->validity_s / 2 : LIFE_LEFT_MIN_S))
		why_set(why, "the certificate is valid for less than an hour");
	else if (c->not_after_s > r->wall_s + r->validity_s + LIFE_SLACK_S)
		why_set(why, "the certificate is valid for %lld days, %lld were asked for",
			(long long)((c->not_after_s - r->wall_s) / 86400), (long long)(r->validity_s / 86400));
	else
		return ERR_OK;
	return ERR_REFUSED;
}

static enum err check_leaf(const char *pem, const char *csr_pem, const struct ca_request *r, struct why *why)
{
	struct cert_info c;
	enum err e = cert_info_parse(&c, pem, why);

	if (e)
		return e;
	if (!(e = check_key(&c, csr_pem, why)) && !(e = check_role(&c, r, why)) &&
	    !(e = check_usage(&c, r->role, why)) && !(e = check_names(&c, r, why)))
		e = check_dates(&c, r, why);
	cert_info_deinit(&c);
	return e;
}

/* What peers need to get from the leaf to a certificate that they have. */
static enum err add_between(struct buf *b, const char *pem, const struct str_list *trusted, struct why *why)
{
	struct cert_info c;
	enum err e;

	if (str_list_has(trusted, pem))
		return ERR_OK;
	if ((e = cert_info_parse(&c, pem, why)))
		return e;
	if (!c.is_ca) {
		why_set(why, "after the certificate there is one of %s, which is no CA's", c.common_name);
		e = ERR_REFUSED;
	} else {
		e = buf_put_str(b, pem);
	}
	cert_info_deinit(&c);
	return e;
}

enum err ca_exec_check(char **certificate, const char *pem, const char *csr_pem, const struct ca_request *r,
		       const char *trusted_pem, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list given = {0}, trusted = {0};
	CLEAN(buf_deinit) struct buf all = {0};
	enum err e;

	/* 1. Certificates, the new one first; they lead to the CA that issues here, by today's date. */
	if ((e = cert_split(&trusted, trusted_pem, why)) || (e = cert_split(&given, pem, why)))
		return e;
	if (given.n > ANSWER_CERTS_MAX) {
		why_set(why, "an answer of %zu certificates", given.n);
		return ERR_TOO_BIG;
	}
	if ((e = check_leaf(given.items[0], csr_pem, r, why)) ||
	    (e = cert_verify(pem, trusted.items[0], r->wall_s, why)))
		return e;
	e = buf_put_str(&all, given.items[0]);
	for (size_t i = 1; !e && i < given.n; i++)
		e = add_between(&all, given.items[i], &trusted, why);
	if (e)
		return e;
	*certificate = buf_take_str(&all);
	return *certificate ? ERR_OK : ERR_NOMEM;
}
