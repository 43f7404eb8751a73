/*
 * A text put together from many sentences, each of which may lack memory: the first error stays, and is looked at once,
 * in the end.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

struct speech {
	struct buf *out; /* borrowed */
	enum err err;    /* begins as ERR_OK */
};
/* Appends to the text; nothing once there was an error. */
void say(struct speech *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
