/*
 * Join tokens as texts: what an operator copies from a server to a machine that is to join.
 * Whether a token may be used is the server's to judge (ca/policy.h); who joins only needs to read it.
 */
#pragma once

#include "pki/cert.h"

/* "muster1." and base64url of role, id, secret, CA fingerprint, addresses, check sum. */

#define TOKEN_ID_MAX 24
#define TOKEN_SECRET_BYTES 24

struct token {
	char id[TOKEN_ID_MAX];
	char secret[TOKEN_SECRET_BYTES * 2 + 1]; /* hex */
	char fingerprint[FINGERPRINT_TEXT];      /* of the CA certificate */
	struct str_list servers;                 /* host:port to ask, best first */
	enum cert_role role;
};
bool token_id_is_valid(const char *id);
void token_deinit(struct token *t);
/* New string (a secret: wipe it); NULL: out of memory, or a part is over its limits (16 servers, 4096 characters). */
char *token_format(const struct token *t);
/* ERR_MALFORMED with what is wrong; never repeats the secret. At most 4096 characters; surrounding blanks are fine. */
enum err token_parse(struct token *out, const char *text, struct why *why) MUST_CHECK;
