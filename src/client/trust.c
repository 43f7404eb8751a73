/*
 * May this be my server? The reference asks only for a chain, so any agent could pose as a server to the others;
 * here a server must have a server's certificate (decision 3). CloudStack's servers are the exception: what they
 * show is the CA certificate itself, which proves that they hold the CA's key.
 */
#include "client/engine.h"

/* Whose it is, or at least which. */
static const char *name_of(const struct cert_info *c)
{
	return c->common_name[0] ? c->common_name : c->id[0] ? c->id : c->serial;
}

bool trust_server(const struct tls_peer *p, bool is_muster, bool trust_all, struct why *why)
{
	if (trust_all)
		return true;
	if (!p->has_cert) {
		why_set(why, "the server has no certificate");
		return false;
	}
	if (!p->chain_ok) {
		why_set(why, "the server's certificate: %s", p->chain_problem);
		return false;
	}
	/* In TLS 1.2 with a server that was not met before, nobody has asked for that yet. */
	if (p->cert.role == CERT_ROLE_SERVER && !p->cert.eku_server) {
		why_set(why, "the certificate of %s is not for a server", name_of(&p->cert));
		return false;
	}
	if (p->cert.role == CERT_ROLE_SERVER)
		return true;
	if (!is_muster && p->is_ca_itself)
		return true;
	why_set(why, "the certificate of %s is not a management server's", name_of(&p->cert));
	return false;
}
