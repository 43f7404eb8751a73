/*
 * muster-agent takeover: from the folder of a CloudStack agent to one that muster-agent can start in.
 *
 * Two steps, so that nothing is written before everything has been judged: takeover_read() looks at the folder of the
 * CloudStack agent, takeover_write() makes the files that are missing. CloudStack's own files are never changed or
 * replaced: its agent can be started again afterwards.
 */
#pragma once

#include "agent/identity.h"
#include "agent/settings.h"
#include "base/fs.h"
#include "base/props.h"
#include "pki/cert.h"

#define TAKEOVER_COPY "agent.properties.cloudstack"

struct takeover_options {
	const char *from; /* folder of CloudStack's agent */
	const char *dir;  /* of muster's */
	bool in_place;    /* the two are one, whatever they are called */
	bool store;       /* look at the key store even if key and certificate are there as files */
};

/* What has been found, and what was done; to be shown. */
struct takeover {
	struct props *props;            /* agent.properties, owned */
	struct agent_settings settings; /* as muster-agent understands it */
	const char *source;             /* in words: where the identity is from */
	const char *store;              /* name of the key store there; NULL: none */
	struct identity identity;
	struct cert_info cert;
	struct str_list done; /* a sentence each */
};
void takeover_deinit(struct takeover *t);

/* Finds guid, servers and identity, and makes sure that they are good at that time. Reads only. */
enum err takeover_read(struct takeover *out, const struct fs *fs, const struct takeover_options *o, int64_t wall_s,
		       struct why *why) MUST_CHECK;
/*
 * Writes what is missing in `dir`, all of it 0600 and each file at once, agent.properties last. Only for whoever holds
 * the folder's lock. Doing it again changes nothing.
 */
enum err takeover_write(struct takeover *t, const struct fs *fs, const struct takeover_options *o, int64_t wall_s,
			struct why *why) MUST_CHECK;
/*
 * Is there a key store that nobody has taken over yet? An agent that starts beside it without certificate would trust
 * every server, where CloudStack's trusts its CA only: ERR_STATE, with the command to use.
 */
enum err takeover_is_due(const struct fs *fs, const char *dir, struct why *why) MUST_CHECK;
