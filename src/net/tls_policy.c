#include "net/tls_policy.h"

/* 2. X25519 first: measured the fastest, and what muster's own clients send a share for. */
#define EXCHANGE                                                                                                       \
	":+ECDHE-ECDSA:+ECDHE-RSA"                                                                                     \
	":+GROUP-X25519:+GROUP-SECP256R1"                                                                              \
	":+GROUP-SECP384R1:+GROUP-SECP521R1"
/* 3. */
#define CIPHERS ":+AES-256-GCM:+AES-128-GCM:+CHACHA20-POLY1305:+AEAD"
/* 4. ECDSA first: in TLS 1.3 it is this order that chooses the certificate (5). */
#define SIGNATURES                                                                                                     \
	":+SIGN-ECDSA-SECP256R1-SHA256:+SIGN-ECDSA-SHA256"                                                             \
	":+SIGN-ECDSA-SECP384R1-SHA384:+SIGN-ECDSA-SHA384"                                                             \
	":+SIGN-ECDSA-SECP521R1-SHA512:+SIGN-ECDSA-SHA512:+SIGN-EDDSA-ED25519"                                         \
	":+SIGN-RSA-PSS-RSAE-SHA256:+SIGN-RSA-PSS-RSAE-SHA384:+SIGN-RSA-PSS-RSAE-SHA512"                               \
	":+SIGN-RSA-PSS-SHA256:+SIGN-RSA-PSS-SHA384:+SIGN-RSA-PSS-SHA512"                                              \
	":+SIGN-RSA-SHA256:+SIGN-RSA-SHA384:+SIGN-RSA-SHA512"
#define ALL_OF_IT "NONE:+CTYPE-X509:+COMP-NULL" CIPHERS EXCHANGE SIGNATURES

static const char *const texts[N_TLS_POLICIES] = {
	[TLS_ONLY_12] = ALL_OF_IT ":+VERS-TLS1.2:%SERVER_PRECEDENCE",
	[TLS_ONLY_12_COMPAT] = ALL_OF_IT ":+VERS-TLS1.2:%COMPAT",
	[TLS_ONLY_13] = ALL_OF_IT ":+VERS-TLS1.3",
	[TLS_13_AND_12] = ALL_OF_IT ":+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE",
};

const char *tls_policy_text(enum tls_policy p)
{
	return texts[p];
}
