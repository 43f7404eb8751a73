/*
 * Who this agent is: key, certificate and CA in its folder, as CloudStack's agents keep them.
 *
 *   cloud.key   private key     cloud.crt   certificate     cloud.ca.crt   whom it trusts
 *
 * The three belong together, but only one file can be replaced at a time. So a new set is first written beside the
 * old one (cloud.key.new, cloud.ca.crt.new, cloud.crt.new last) and then renamed into place, cloud.crt last. At the
 * next start a cloud.crt.new is the sign that this was interrupted: it is finished, or dropped if its key is not
 * there. A cloud.key.new alone is a key whose certificate has been asked for (SetupKeyStoreCommand) and is not there
 * yet.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/fs.h"
#include "pki/cert.h"

struct identity {
	char *key, *cert, *ca; /* PEM, owned; all NULL: there is none */
};
void identity_deinit(struct identity *i); /* wipes the key */
/* Equal for equal identities only. */
void identity_digest(char out[FINGERPRINT_TEXT], const struct identity *i);

/* Finishes what was interrupted; only for whoever holds the folder's lock. */
enum err identity_recover(const struct fs *fs, const char *dir, struct why *why) MUST_CHECK;
bool identity_is_interrupted(const struct fs *fs, const char *dir);
/*
 * Reads it. Nothing there is ERR_OK and an empty identity; a part that is missing, unreadable or doesn't fit is an
 * error that says what to do.
 */
enum err identity_load(struct identity *out, const struct fs *fs, const char *dir, struct why *why) MUST_CHECK;
/* Any of the files is there? */
bool identity_exists(const struct fs *fs, const char *dir);
/* Replaces it as told above. All three, 0600. */
enum err identity_install(const struct fs *fs, const char *dir, const struct identity *i, struct why *why) MUST_CHECK;

/* A key that waits for its certificate; take: NULL when there is none. */
enum err identity_keep_key(const struct fs *fs, const char *dir, const char *key_pem, struct why *why) MUST_CHECK;
enum err identity_waiting_key(char **out, const struct fs *fs, const char *dir, struct why *why) MUST_CHECK;

/*
 * Is this a certificate that an agent can work with? Fits the key, leads to the CA at that time, is for that guid if
 * it names one (CloudStack's name none) and for an agent.
 */
enum err identity_check(const struct identity *i, const char *guid, int64_t wall_s, struct why *why) MUST_CHECK;
/* Is a certificate with that fingerprint among these? */
bool identity_ca_has(const char *ca_pem, const char *fingerprint);
