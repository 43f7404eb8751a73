/*
 * muster-agent join: from a token to an agent that can start (decisions 5 and 8).
 */
#pragma once

#include "agent/identity.h"
#include "base/fs.h"
#include "base/props.h"
#include "pki/token.h"
#include "wire/message.h"

#define JOIN_FILE "agent.properties"
#define JOIN_PENDING "agent.properties.join"
#define JOIN_TOKEN_VARIABLE "MUSTER_TOKEN"

/* What the operator asked for; texts borrowed, NULL: not said. */
struct join_options {
	const char *dir;
	const char *name, *guid, *servers, *source_ip;
	const char *zone, *pod, *cluster;
	bool force;
};

/*
 * The token's text from where it was said to be: itself, "-" (standard input), "@FILE", or NULL for MUSTER_TOKEN.
 * New string; wipe it.
 */
enum err join_token_text(char **out, const char *from, struct why *why) MUST_CHECK;

/* The agent.properties at that path as it is, or a new one that says what it is. */
enum err join_open_props(struct props **out, const struct fs *fs, const char *path, struct why *why) MUST_CHECK;

/*
 * Writes what a join has brought: first the identity, agent.properties last, because that is what makes a folder an
 * agent's. Whatever was in the file stays. `i` with the key; `entries` are the servers that were asked.
 *
 * The token may be used up, so a join that is cut off between the two has to be finished here: what agent.properties
 * will be is written first, beside it, with the identity that it belongs to.
 */
enum err join_write(const struct fs *fs, const struct join_options *o, const struct identity *i,
		    const struct msg_join_answer *a, const struct str_list *entries, struct why *why) MUST_CHECK;

/*
 * Finishes a join that was cut off, behind identity_recover() and under the folder's lock. `done`: there was one, and
 * it is finished. One whose identity never came is forgotten. ERR_CONFLICT: somebody has changed agent.properties
 * since; nothing is touched.
 */
enum err join_finish(bool *done, const struct fs *fs, const char *dir, struct why *why) MUST_CHECK;
bool join_is_cut_off(const struct fs *fs, const char *dir);
