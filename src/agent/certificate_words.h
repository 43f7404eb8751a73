/*
 * A certificate in words, for logs, --check and explain.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "pki/cert.h"

/* How much of its time is left. */
enum certificate_age { CERTIFICATE_FINE, CERTIFICATE_EXPIRES_SOON, CERTIFICATE_EXPIRED, CERTIFICATE_NOT_YET };
/* Soon: fewer than 15 days, or a quarter of its life where that is less. */
enum certificate_age certificate_age(const struct cert_info *i, int64_t wall_s);
const char *certificate_age_name(enum certificate_age a);
/* "for host g-1, expires in 312 days"; fit for a terminal. */
enum err certificate_words(struct buf *out, const struct cert_info *i, int64_t wall_s) MUST_CHECK;
