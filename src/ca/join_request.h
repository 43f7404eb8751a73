/*
 * Who wants to join, and why not: the checks of a join request that need neither the store nor a key of ours, and the
 * names of all refusals. Everything here comes from somebody who has shown nothing yet but that he speaks TLS.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "pki/cert.h"
#include "pki/token.h"

/* What a refusal is called in events and counters, and the error that the joiner's program is told. */
#define JOIN_REFUSALS(X)                                                                                               \
	X(JOIN_YES, ERR_OK, "accepted")                                                                                \
	X(JOIN_MALFORMED, ERR_MALFORMED, "malformed request")                                                          \
	X(JOIN_BAD_NAME, ERR_INVALID, "unusable name")                                                                 \
	X(JOIN_BAD_CSR, ERR_REFUSED, "bad certificate request")                                                        \
	X(JOIN_UNKNOWN_TOKEN, ERR_REFUSED, "unknown token")                                                            \
	X(JOIN_WRONG_SECRET, ERR_REFUSED, "wrong secret")                                                              \
	X(JOIN_REVOKED_TOKEN, ERR_REVOKED, "revoked token")                                                            \
	X(JOIN_EXPIRED_TOKEN, ERR_EXPIRED, "expired token")                                                            \
	X(JOIN_USED_TOKEN, ERR_REFUSED, "used token")                                                                  \
	X(JOIN_OTHER_ROLE, ERR_REFUSED, "token for another role")                                                      \
	X(JOIN_OTHER_NAME, ERR_REFUSED, "token for another name")                                                      \
	X(JOIN_OTHER_GUID, ERR_REFUSED, "token for another guid")                                                      \
	X(JOIN_OTHER_ZONE, ERR_REFUSED, "token for another zone")                                                      \
	X(JOIN_NO_REJOIN, ERR_EXISTS, "no token to rejoin")                                                            \
	X(JOIN_GUID_EXISTS, ERR_EXISTS, "guid exists")                                                                 \
	X(JOIN_HOST_GONE, ERR_REFUSED, "host is gone")                                                                 \
	X(JOIN_TOO_MANY, ERR_BUSY, "too many failed joins")                                                            \
	X(JOIN_CANNOT_ISSUE, ERR_REFUSED, "no certificate")                                                            \
	X(JOIN_FAILED, ERR_STORE, "failed here")

enum join_refusal {
#define X(name, err, text) name,
	JOIN_REFUSALS(X)
#undef X
		JOIN_REFUSAL_N
};
const char *join_refusal_name(enum join_refusal r); /* "expired token" */
enum err join_refusal_err(enum join_refusal r);
/* Is it the joiner's doing, or ours? Only the first is held against his address. */
bool join_refusal_is_theirs(enum join_refusal r);

/* A request as it was sent; all borrowed, NULL: not said. */
struct join_said {
	const char *token_id, *token_secret, *role, *csr, *guid, *name, *resource_name, *zone, *pod, *cluster;
	const struct str_list *addresses;
	bool guid_is_fixed; /* the guid is this machine's already: no other one will do */
	bool rejoins;       /* it has a key and a certificate, too: only a token for that guid may replace them */
	const char *peer_ip;
};

/* The same, looked at and taken over. */
struct join_request {
	char token_id[TOKEN_ID_MAX];
	char token_secret[TOKEN_SECRET_BYTES * 2 + 1];
	char guid[GUID_MAX];
	char *csr, *name, *resource_name;
	char *zone, *pod, *cluster; /* NULL: not said */
	enum cert_role role;
	bool guid_is_fixed, rejoins;
	struct str_list ips, dns; /* that it says are its own, and the one that we see */
};
/* JOIN_YES, or why not, with a sentence. JOIN_FAILED: out of memory. */
enum join_refusal join_request_take(struct join_request *out, const struct join_said *said, struct why *why) MUST_CHECK;
/* Slow: off the loop. Is the certificate request one, and for whom it should be? */
enum join_refusal join_request_check_csr(const struct join_request *q, struct why *why) MUST_CHECK;
void join_request_deinit(struct join_request *q); /* wipes the secret */

/* What the name of a zone, pod or cluster may be: 1 to 255 bytes of UTF-8 without control characters. */
bool join_place_is_valid(const char *name);
