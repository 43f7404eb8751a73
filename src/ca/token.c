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

static bool secret_fits(const struct token_record *r, const struct join_request *q)
{
	char hash[FINGERPRINT_TEXT];

	if (!token_id_is_valid(q->token_id) || strlen(q->token_secret) != 2 * TOKEN_SECRET_BYTES)
		return false;
	token_hash(hash, q->token_id, q->token_secret);
	return r && secret_equal(hash, r->hash, sizeof(hash));
}

/* 2. A token that is over. */
static enum join_refusal check_life(const struct token_record *r, int64_t wall_s, struct why *why)
{
	/* Taken back by an operator: nothing the holder does helps. */
	if (r->revoked) {
		why_set(why, "the token was revoked");
		return JOIN_REVOKED_TOKEN;
	}
	if (wall_s >= r->expires_s) {
		why_set(why, "the token is expired");
		return JOIN_EXPIRED_TOKEN;
	}
	if (r->uses_left <= 0) {
		why_set(why, "the token was used as often as it may be");
		return JOIN_USED_TOKEN;
	}
	return JOIN_YES;
}

/* 3. A good token in the wrong hands. */
static enum join_refusal check_binding(const struct token_record *r, const struct join_request *q, struct why *why)
{
	if (q->role != r->role || q->role == CERT_ROLE_NONE) {
		why_set(why, "the token is for %s", r->role == CERT_ROLE_SERVER ? "servers" : "hosts");
		return JOIN_OTHER_ROLE;
	}
	if (r->bound_name && !(q->name && str_equal_nocase(r->bound_name, q->name))) {
		why_set(why, "the token is for %s only", r->bound_name);
		return JOIN_OTHER_NAME;
	}
	/* Who has no guid of its own yet gets the token's. */
	if (r->bound_guid && q->guid_is_fixed && !str_equal(r->bound_guid, q->guid)) {
		why_set(why, "the token is for the host with guid %s only, and this machine is %s already",
			r->bound_guid, q->guid);
		return JOIN_OTHER_GUID;
	}
	/* Who says nothing of a zone is put into the token's; who says another one may mean what he says. */
	if (r->bound_zone && q->zone && !str_equal(r->bound_zone, q->zone)) {
		why_set(why, "the token is for zone %s only, and this machine says zone %s", r->bound_zone, q->zone);
		return JOIN_OTHER_ZONE;
	}
	if (q->rejoins && !r->bound_guid) {
		why_set(why,
			"this machine is a host already (guid %s): `muster host rejoin` makes the token for that, and "
			"--force gives its identity up",
			q->guid);
		return JOIN_NO_REJOIN;
	}
	return JOIN_YES;
}

enum join_refusal token_check(const struct token_record *r, const struct join_request *q, int64_t wall_s,
			      struct why *why)
{
	enum join_refusal refusal;

	/* 1. Whoever doesn't know the secret learns nothing about the token, not even that there is one. */
	if (!secret_fits(r, q)) {
		why_set(why, "no such token");
		return r ? JOIN_WRONG_SECRET : JOIN_UNKNOWN_TOKEN;
	}
	refusal = check_life(r, wall_s, why);
	return refusal ? refusal : check_binding(r, q, why);
}
