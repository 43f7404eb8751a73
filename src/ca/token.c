/*
 * Join tokens as the server judges them: what is kept of a secret, and whether a token may be used now.
 */
#include "ca/policy.h"

#include <string.h>

#include "base/mem.h"

void token_hash(char out[FINGERPRINT_TEXT], const char *id, const char *secret)
{
	/* Fixed fields: no two pairs of id and secret give the same bytes. */
	char fields[sizeof("muster token") + TOKEN_ID_MAX + 2 * TOKEN_SECRET_BYTES + 1] = "muster token";
	char *at = fields + sizeof("muster token");

	str_copy(at, TOKEN_ID_MAX, id);
	str_copy(at + TOKEN_ID_MAX, 2 * TOKEN_SECRET_BYTES + 1, secret);
	sha256_hex(out, fields, sizeof(fields));
	mem_wipe(fields, sizeof(fields));
}

static bool secret_fits(const struct token_record *r, const char *id, const char *secret)
{
	char hash[FINGERPRINT_TEXT];

	if (!id || !secret || !token_id_is_valid(id) || strlen(secret) != 2 * TOKEN_SECRET_BYTES)
		return false;
	token_hash(hash, id, secret);
	return secret_equal(hash, r->hash, sizeof(hash));
}

enum err token_check(const struct token_record *r, const char *id, const char *secret, enum cert_role role,
		     const char *name, const char *guid, int64_t wall_s, struct why *why)
{
	/* 1. Whoever doesn't know the secret learns nothing about the token, not even that there is one. */
	if (!r || !secret_fits(r, id, secret)) {
		why_set(why, "no such token");
		return ERR_REFUSED;
	}
	/* 2. Taken back by an operator: nothing the holder does helps. */
	if (r->revoked) {
		why_set(why, "the token was revoked");
		return ERR_REVOKED;
	}
	if (wall_s >= r->expires_s) {
		why_set(why, "the token is expired");
		return ERR_EXPIRED;
	}
	if (r->uses_left <= 0) {
		why_set(why, "the token was used as often as it may be");
		return ERR_REFUSED;
	}
	/* 3. A good token in the wrong hands. */
	if (role != r->role || role == CERT_ROLE_NONE) {
		why_set(why, "the token is for %s", r->role == CERT_ROLE_SERVER ? "servers" : "hosts");
		return ERR_REFUSED;
	}
	if (r->bound_name && !(name && str_equal_nocase(r->bound_name, name))) {
		why_set(why, "the token is for %s only", r->bound_name);
		return ERR_REFUSED;
	}
	if (r->bound_guid && !str_equal(r->bound_guid, guid)) {
		why_set(why, "the token is for the host with guid %s only", r->bound_guid);
		return ERR_REFUSED;
	}
	return ERR_OK;
}
