/*
 * Signed requests of the query API (HMAC-SHA1 over the sorted parameters), as CloudStack's clients send them.
 */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct sign_param {
	const char *name;
	const char *value;
};

/* What is signed: sorted by name, values percent-encoded, all in lower case. `params` is sorted in place. */
enum err sign_text(struct buf *out, struct sign_param *params, size_t n) MUST_CHECK;
/* Its signature in base64, a new string. */
enum err sign_params(char **out, struct sign_param *params, size_t n, const char *secret) MUST_CHECK;
/* application/x-www-form-urlencoded, for the wire. */
enum err form_encode(struct buf *out, const struct sign_param *params, size_t n) MUST_CHECK;
