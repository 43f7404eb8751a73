/*
 * Who may connect and who may join: pure rules over what is known (decisions 1 to 8), each refusal with a name.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "ca/join_request.h"
#include "pki/cert.h"
#include "pki/token.h"

enum admit {
	ADMIT_YES,
	ADMIT_UNSECURED, /* let in because strictness is off; marked so */
	ADMIT_NO_CERTIFICATE,
	ADMIT_NOT_OUR_CA,
	ADMIT_EXPIRED,
	ADMIT_NOT_YET_VALID,
	ADMIT_REVOKED,
	ADMIT_WRONG_ROLE, /* a server's certificate on an agent, no clientAuth ... */
	ADMIT_DOWNGRADE,  /* a muster agent's certificate from somebody who speaks CloudStack's way */
	ADMIT_OTHER_GUID, /* certificate of another host */
	ADMIT_ADDRESS_NOT_IN_SAN,
	ADMIT_WEAKER_IDENTITY, /* the host was bound to a certificate before */
	ADMIT_NOT_ITS_KEY,     /* bound to another certificate that names addresses only */
	ADMIT_DUPLICATE_GUID,  /* decision 7 */
	ADMIT_FORGED,          /* another one than was issued with its number */
	ADMIT_STRANGER,        /* not issued here, in a rotation that was begun because the CA's key was stolen */
	ADMIT_BAD_GUID,        /* the startup's guid can't be one: empty, too long, control characters, slashes */
	ADMIT_N
};
const char *admit_name(enum admit a); /* "address not in certificate" */
bool admit_is_yes(enum admit a);      /* ADMIT_YES or ADMIT_UNSECURED */

#define ADMIT_EXPIRED_LIMIT_S (30LL * 24 * 3600) /* decision 8 */

struct admit_question {
	bool has_cert;
	bool chain_ok;                /* signatures lead to our CA; the certificate's own dates are judged here */
	const struct cert_info *cert; /* valid when has_cert */
	bool revoked;
	const char *peer_ip;
	bool is_muster;            /* it speaks muster/1 */
	const char *startup_guid;  /* as received: "<guid>-<resourceName>" */
	const char *resource_name; /* to strip the suffix; may be NULL */
	bool host_known;
	bool host_bound; /* the host was once bound to a certificate with our guid URI, or to a SAN certificate */
	bool host_bound_to_uri;
	bool allow_weaker;  /* an operator allowed it */
	bool strict;        /* ca.plugin.root.auth.strictness */
	bool allow_expired; /* ca.plugin.root.allow.expired.cert */
	int64_t wall_s;
	int64_t expired_limit_s; /* 30 days */
};
/* Judges a startup. `sentence` gets what an operator should read. */
enum admit admit_agent(const struct admit_question *q, struct why *sentence);
/*
 * A host that is bound to a certificate which names addresses only: may another one of that kind take its place? Asked
 * beside admit_agent(), because the last way in is known to the store alone. Yes where
 *
 *   1. nothing is known of the first one's key, or it is the same key;
 *   2. it comes from the host's own address: its machine was set up again, or renewed by CloudStack;
 *   3. we issued it for this very host;
 *   4. an operator has allowed it.
 *
 * Otherwise whoever is certified for any address could take over any host by its guid.
 */
struct admit_binding {
	const char *guid;
	const char *bound_to;     /* the key that it showed; NULL: not known */
	const char *key_id;       /* the key that is shown now */
	const char *host_address; /* as its last startup had it; NULL: not known */
	const char *peer_ip;
	bool is_issued_for_host;
	bool allow_weaker;
};
enum admit admit_binding(const struct admit_binding *b, struct why *sentence);
/* Where a certificate comes from that our CA is said to have signed. */
enum cert_origin { CERT_ISSUED_HERE, CERT_STRANGER, CERT_FORGED };
/*
 * Judges it. A forgery is refused always. A stranger's is legitimate (the operator's own CA may issue elsewhere,
 * CloudStack's agents bring theirs), unless whoever stole the CA's key may have made it.
 */
enum admit admit_origin(enum cert_origin origin, const char *serial, bool is_suspect, struct why *sentence);
/* The guid without "-<resourceName>"; `out` of GUID_MAX. Compares without the suffix. false: too long or empty. */
bool guid_strip(char *out, const char *startup_guid, const char *resource_name);
#define ADDRESS_TEXT 46
/* An address in the one way that two can be compared by: shortest form, IPv4 where it is mapped, no zone. false: none.
 */
bool address_normal(char out[ADDRESS_TEXT], const char *text);
/* Judges a peer that wants to be a management server. */
enum admit admit_server(bool has_cert, bool chain_ok, const struct cert_info *cert, bool revoked, int64_t wall_s,
			struct why *sentence);
/* Agent side: may this be my server? (server role, or - towards CloudStack - the CA certificate itself) */
enum admit admit_as_server(bool is_muster, bool has_cert, bool chain_ok, bool is_ca_itself,
			   const struct cert_info *cert, struct why *sentence);

/* ---- tokens: what they say is pki/token.h, whether they hold is here ---- */

/* What the store keeps of a secret. */
void token_hash(char out[FINGERPRINT_TEXT], const char *id, const char *secret);

struct token_record { /* as stored */
	char hash[FINGERPRINT_TEXT];
	int64_t expires_s;
	int64_t uses_left;
	bool revoked;
	enum cert_role role;
	const char *bound_name; /* NULL: any */
	const char *bound_guid; /* NULL: any; set by addHost and rejoin */
	const char *bound_zone; /* NULL: any */
};
/*
 * May this token (NULL: there is none of this id) be used now for this request? JOIN_YES, or which refusal it is, with
 * a sentence for the joiner; it is the same for a wrong secret as for no token. Constant-time on the secret.
 */
enum join_refusal token_check(const struct token_record *r, const struct join_request *q, int64_t wall_s,
			      struct why *why) MUST_CHECK;
