/*
 * A look at the bytes of a handshake before any work is done for them: is it TLS, and is it whole?
 *
 * A server that has not yet read a client's hello knows nothing of the client. So what is no TLS is closed at its first
 * byte, what comes in pieces is only kept until it is whole, and neither costs a session, a work thread or much memory.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

/*
 * As received, with the headers of its records. A browser's hello with a post-quantum key has 1.8 KB; a ticket that
 * holds the client's certificates adds a few.
 */
#define TLS_HELLO_MAX (16u * 1024)

enum tls_look {
	TLS_LOOK_PART,  /* more is needed */
	TLS_LOOK_WHOLE, /* the hello; or later at least one record */
	TLS_LOOK_BAD,   /* with a sentence */
};

/* What a client has sent before anything was said to it. */
enum tls_look tls_look_hello(struct bytes in, struct why *why);
/* What it sends after that, until the handshake is done. */
enum tls_look tls_look_flight(struct bytes in, struct why *why);
