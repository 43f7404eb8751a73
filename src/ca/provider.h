/*
 * A CA provider: who signs. `root` is built in (ca/root.c), `exec` asks a command of the operator's (ca/exec.c); others
 * can be added (agent-protocol 7.1).
 *
 * A provider object is immutable once open and may be used from work threads. Which certificate somebody may have is
 * decided before, in ca/policy.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "pki/cert.h"

struct ca_request {
	const char *csr_pem; /* borrowed; NULL: the provider makes the key pair */
	const char *common_name;
	enum cert_role role;
	const char *id;     /* guid of an agent, uuid of a server */
	const char *csr_id; /* whom the request names, when that was no more than a proposal; NULL: the same */
	const struct str_list *ips, *dns;
	int64_t validity_s;
	int64_t wall_s;
	uint8_t serial[16]; /* from entropy */
};

struct ca_issued {
	char *certificate; /* PEM; after it the CA certificates that lead from it to `chain` and aren't in it, if any */
	char *private_key; /* PEM, only when the provider made it */
	char *chain;       /* PEM, all CA certificates */
};
void ca_issued_deinit(struct ca_issued *i);

struct ca_provider;
struct ca_provider_ops {
	const char *name;
	const char *description;
	enum err (*issue)(struct ca_provider *p, struct ca_issued *out, const struct ca_request *r, struct why *why);
	const char *(*chain)(struct ca_provider *p);       /* PEM of all CA certificates, belongs to the provider */
	const char *(*fingerprint)(struct ca_provider *p); /* SHA-256 hex of the signing CA certificate */
	bool (*can_issue)(struct ca_provider *p);          /* false: no key here (a server without the cluster key) */
	const char *cannot;                                /* what to do then, for people */
	/* Signs a list of revocations, DER; what is of the CA in the params is filled in here. NULL: not this one's. */
	enum err (*crl)(struct ca_provider *p, struct buf *out, const struct crl_params *params, struct why *why);
	bool is_slow; /* issue() waits for something outside: not for a thread that others need */
	void (*free)(struct ca_provider *p);
};
struct ca_provider {
	const struct ca_provider_ops *ops;
	int others; /* atomic: owners beside the first one */
};
/* One more owner, each of which frees it: what is on its way to a work thread, while the cluster's CA is changed. */
struct ca_provider *ca_provider_ref(struct ca_provider *p);

enum err ca_issue(struct ca_provider *p, struct ca_issued *out, const struct ca_request *r, struct why *why) MUST_CHECK;
/* ERR_UNSUPPORTED: this provider signs none; ERR_STATE: it has no key here. */
enum err ca_crl(struct ca_provider *p, struct buf *out, const struct crl_params *params, struct why *why) MUST_CHECK;
/* The common name that a certificate gets: a longer name is cut to its first label; "" when that doesn't fit either. */
#define CA_COMMON_NAME_MAX 64
void ca_common_name(char out[CA_COMMON_NAME_MAX + 1], const char *name);
/* Gives up one ownership; returns NULL. */
struct ca_provider *ca_provider_free(struct ca_provider *p);
