/*
 * The exec provider: a command of the operator's signs, so that an existing PKI (Vault, step-ca, a company's CA) can
 * issue. docs/external-ca.md says what such a command is given and what its certificates must be like.
 *
 * The command is trusted to sign, not to be right: what comes back is held against what was asked for.
 */
#pragma once

#include "ca/provider.h"

struct ca_exec_params {
	const char *command;     /* NULL or blank: for verifying only, can_issue() is false */
	const char *trusted_pem; /* CA certificates: the first is the one that issues, the others are believed too */
	int64_t limit_ms;
};
/* ERR_INVALID: the command or the CA certificates can't be used; the sentence names the setting. */
enum err ca_exec_open(struct ca_provider **out, const struct ca_exec_params *p, struct why *why) MUST_CHECK;

/* Is `pem` (leaf first) what was asked for with `csr_pem`? On success `certificate` is the leaf with what leads from it
 * to the trusted ones. */
enum err ca_exec_check(char **certificate, const char *pem, const char *csr_pem, const struct ca_request *r,
		       const char *trusted_pem, struct why *why) MUST_CHECK;
