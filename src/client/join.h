/*
 * Joining: with a token, over muster-join/1, get a certificate and the first list (decisions 5 and 8).
 * Used by muster-agent join and muster-server join; one request on one link, then the link is closed.
 */
#pragma once

#include "base/err.h"
#include "net/world.h"
#include "pki/cert.h"
#include "wire/message.h"

struct join_params {
	struct world *world;
	const struct log *log;
	const char *servers;     /* comma separated host:port, tried in order */
	const char *fingerprint; /* of the CA, from the token */
	const char *source_ip;
	int64_t timeout_ms; /* for all of it; 30000 */
};

struct join;
/*
 * `request` (class JOIN, filled in by the caller) is sent to the first server that answers and proves the fingerprint.
 * done(): ERR_OK with the answer (valid during the call), or the reason: ERR_UNTRUSTED (fingerprint), ERR_REFUSED ...
 */
enum err join_start(struct join **out, const struct join_params *p, const struct msg_join *request,
		    void (*done)(void *user, enum err result, const char *sentence,
				 const struct msg_join_answer *answer),
		    void *user, struct why *why) MUST_CHECK;
struct join *join_free(struct join *j);
