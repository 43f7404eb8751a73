/*
 * The local socket: whoever connects gets one line of JSON and the end of the stream. Nothing is read, so there is
 * nothing that a stranger could send; the file is for its owner and root only (0600).
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "net/world.h"

struct door;

/* `line` appends what is to be said, without a newline. */
enum err door_open(struct door **out, struct world *w, const char *path, enum err (*line)(void *user, struct buf *out),
		   void *user, struct why *why) MUST_CHECK;
/* Removes the socket, too. NULL is fine; before world_uv_free(). */
struct door *door_close(struct door *d);
/* The other side, waiting at most that long: the line into a new string. ERR_NOT_FOUND: nobody is there. */
enum err door_ask(char **line, const char *path, int64_t limit_ms, struct why *why) MUST_CHECK;
