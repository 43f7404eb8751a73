/*
 * What holds for every provider: no request reaches one that asks for more than it was granted.
 */
#include "ca/provider.h"

#include <string.h>

#include "base/mem.h"

#define VALIDITY_MAX_S (INT64_C(100) * 365 * 86400)

void ca_issued_deinit(struct ca_issued *i)
{
	i->certificate = mem_free(i->certificate);
	i->private_key = key_free(i->private_key);
	i->chain = mem_free(i->chain);
}

static enum err check_request(const struct ca_request *r, struct why *why)
{
	static const uint8_t no_serial[16];

	/* 1. A muster certificate is for somebody; one of the reference's kind is for addresses only. */
	if (r->role == CERT_ROLE_NONE ? r->id != NULL : !cert_id_is_valid(r->id)) {
		why_set(why, r->role == CERT_ROLE_NONE ? "an id without a role" : "not an id for a certificate");
		return ERR_INVALID;
	}
	/* 2. A life that ends. */
	if (r->validity_s <= 0 || r->validity_s > VALIDITY_MAX_S) {
		why_set(why, "the validity must be between a second and 100 years");
		return ERR_INVALID;
	}
	/* 3. A serial number nobody has filled in would be the same on every certificate: revoking one revoked all. */
	if (memcmp(r->serial, no_serial, sizeof(no_serial)) == 0) {
		why_set(why, "the serial number is missing");
		return ERR_INVALID;
	}
	return ERR_OK;
}

/* The request's own wishes. Names and addresses in it are not copied, so only claims to more than that matter. */
static enum err check_csr(const struct ca_request *r, struct why *why)
{
	struct csr_info csr;
	enum err e = csr_info_parse(&csr, r->csr_pem, why);

	if (e)
		return e;
	/* 4. Nobody becomes a CA by asking. */
	if (csr.wants_ca) {
		why_set(why, "the certificate request asks for a CA certificate");
		e = ERR_REFUSED;
	}
	/* 5. A request that names somebody else is not quietly turned into one for its sender. */
	else if (csr.role != CERT_ROLE_NONE &&
		 (csr.role != r->role || !str_equal(csr.id, r->csr_id ? r->csr_id : r->id))) {
		why_set(why, "the certificate request is for %s %s, not for %s",
			csr.role == CERT_ROLE_SERVER ? "server" : "agent", csr.id, r->id ? r->id : r->common_name);
		e = ERR_REFUSED;
	}
	csr_info_deinit(&csr);
	return e;
}

enum err ca_issue(struct ca_provider *p, struct ca_issued *out, const struct ca_request *r, struct why *why)
{
	enum err e;

	*out = (struct ca_issued){0};
	if (!p->ops->can_issue(p)) {
		why_set(why, "%s", p->ops->cannot);
		return ERR_STATE;
	}
	if ((e = check_request(r, why)) || (r->csr_pem && (e = check_csr(r, why))))
		return e;
	return p->ops->issue(p, out, r, why);
}

enum err ca_crl(struct ca_provider *p, struct buf *out, const struct crl_params *params, struct why *why)
{
	if (!p->ops->crl) {
		why_set(why, "the CA is an external one, which has its own revocation list");
		return ERR_UNSUPPORTED;
	}
	if (!p->ops->can_issue(p)) {
		why_set(why, "%s", p->ops->cannot);
		return ERR_STATE;
	}
	return p->ops->crl(p, out, params, why);
}

/* The whole name is among the DNS names. */
void ca_common_name(char out[CA_COMMON_NAME_MAX + 1], const char *name)
{
	size_t n = strcspn(name, ".");

	if (strlen(name) > CA_COMMON_NAME_MAX && n <= CA_COMMON_NAME_MAX) {
		memcpy(out, name, n);
		out[n] = '\0';
	} else if (!str_copy(out, CA_COMMON_NAME_MAX + 1, name)) {
		out[0] = '\0'; /* refused where it is signed */
	}
}

struct ca_provider *ca_provider_ref(struct ca_provider *p)
{
	if (p)
		__atomic_fetch_add(&p->others, 1, __ATOMIC_RELAXED);
	return p;
}

struct ca_provider *ca_provider_free(struct ca_provider *p)
{
	if (p && __atomic_fetch_sub(&p->others, 1, __ATOMIC_ACQ_REL) == 0)
		p->ops->free(p);
	return NULL;
}
