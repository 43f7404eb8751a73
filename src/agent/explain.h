/*
 * What the agent is doing and why: as JSON for the socket, and that JSON as sentences for people.
 */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "client/agent.h"
#include "core/choice.h"
#include "pki/cert.h"

struct explain_question {
	const char *name, *guid, *version;
	const struct agent_view *view;
	const struct candidate *candidates;
	size_t n_candidates;
	struct mono now;
	uint16_t port;                 /* of entries without one */
	const char *health;            /* "good", "bad", "unknown"; NULL: no script */
	const struct str_list *params; /* of SetHostParams */
	bool has_certificate;
	const struct cert_info *certificate; /* valid with has_certificate; NULL: nothing more is known of it */
	int64_t wall_s;                      /* for its age */
	const char *given_up;                /* why its last renewal was given up; NULL: it was not */
};

/* NULL: out of memory. */
json_t *explain_object(const struct explain_question *q);
/* The same as one line, no newline. */
enum err explain_json(struct buf *out, const struct explain_question *q) MUST_CHECK;
/* ERR_MALFORMED when it is not what explain_json() writes. */
enum err explain_text(struct buf *out, const char *json, struct why *why) MUST_CHECK;
