/*
 * gzip (RFC 1952) with bounds: what compressed message bodies are.
 */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/* Appends `data` as one gzip member. The same data always gives the same bytes: no time, no name inside. */
enum err gzip_put(struct buf *out, const void *data, size_t n) MUST_CHECK;
/*
 * Appends what all members of `data` inflate to, at most `limit` bytes: ERR_TOO_BIG when there are more. Memory is
 * asked for as bytes really come out, so a small input can't make us hold much. Bytes after the last member are
 * ignored; truncated or damaged members are ERR_MALFORMED. On any error `out` is as it was.
 */
enum err gzip_get(struct buf *out, const void *data, size_t n, size_t limit, struct why *why) MUST_CHECK;
