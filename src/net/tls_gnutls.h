/*
 * TLS as GnuTLS does it (net/tls.h).
 */
#pragma once

#include "net/tls.h"

enum err tls_gnutls_creds_new(struct tls_creds **out, const struct tls_material *m, struct why *why) MUST_CHECK;
