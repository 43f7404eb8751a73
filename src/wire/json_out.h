/*
 * A JSON writer that writes as Gson does, so that our bytes are the reference's bytes wherever the order allows it.
 * The first error sticks: write everything, then look at `err` once.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"

struct json_out {
	struct buf *to; /* borrowed */
	enum err err;
};

void json_out_raw(struct json_out *o, const char *text);
/* In quotes. Gson's escapes, and everything outside ASCII as \uXXXX; what is no UTF-8 becomes \ufffd. */
void json_out_text(struct json_out *o, const char *text, size_t n);
void json_out_i64(struct json_out *o, int64_t v);
/* As Double.toString() of Java 19 and later: 12.5, 0.0, 5.28E8. NaN and infinity are ERR_INVALID. */
void json_out_real(struct json_out *o, double v);
void json_out_bool(struct json_out *o, bool v);
void json_out_value(struct json_out *o, const json_t *v);
