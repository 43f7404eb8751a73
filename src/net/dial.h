/*
 * A dial: from a name and a port to a connected stream, by way of every address the name has.
 */
#pragma once

#include "net/world.h"

struct dial;

struct dial_params {
	struct world *world;
	const char *host; /* name or literal; copied, as source_ip */
	uint16_t port;
	const char *source_ip; /* NULL: any */
	/*
	 * Connected: `take_stream` is yours, give it events with stream_take(). Otherwise NULL, and why the last
	 * address failed. The dial is yours still, to be freed here or later.
	 */
	void (*done)(void *user, struct stream *take_stream, enum err e, const char *sentence);
	void *user;
};

/* There is no time-out here: whoever dials has a timer. done() is never called from inside. */
enum err dial_start(struct dial **out, const struct dial_params *p) MUST_CHECK;
/* Gives up when it is not done. NULL is fine. Returns NULL. */
struct dial *dial_free(struct dial *d);
/* Why the last address that was tried failed; ERR_OK: none has yet. */
enum err dial_error(const struct dial *d, const char **sentence);
