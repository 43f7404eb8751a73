/*
 * Who this agent is: key, certificate and CA in its folder, as CloudStack's agents keep them.
 *
 *   cloud.key   private key     cloud.crt   certificate     cloud.ca.crt   whom it trusts
 *
 * The three belong together, but only one file can be replaced at a time, and a process can end between any two steps.
 * So that there is always a set that fits:
 *
 *   1. A new set is first written beside the one in use: cloud.key.new, cloud.ca.crt.new, and cloud.crt.new last, each
 *      of them whole on the disk before the next. Then they are renamed into place, cloud.crt last. A cloud.crt.new at
 *      the next start is the sign that this was interrupted: it is finished, or dropped if its key is not there. It
 *      gets this name when it is whole on the disk, and what is not as 8 remembers it is dropped.
 *      Where an operator has put a link, all this happens beside the file that it leads to: nothing is renamed from one
 *      file system to another. What can't be replaced (a folder, a file that is mounted by itself) is refused first.
 *   2. Before a renewal touches anything, the set in use is copied: cloud.key.old, cloud.ca.crt.old, and cloud.crt.old
 *      last, which too gets its name when it is whole. As long as cloud.crt.old is there, what is in place has not been
 *      used yet (core/cert_trial.h).
 *   3. A copy that is there already stays when another renewal comes: it is what has worked.
 *   4. When a server has taken the new set, the copy is removed, cloud.crt.old first: keys without it are nobody's.
 *   5. Going back is a replacement as in 1, by the copy; which is removed after it.
 *   6. At the next start a copy that isn't whole, or is the same as what is in place, is removed: the first was cut off
 *      before anything was replaced, the second was in the middle of 2, 4 or 5.
 *   7. A set that an operator or a join puts in place is for good: there is no copy.
 *   8. Whose set is in place? Before anything is replaced, cloud.ours gets the SHA-256 of the files that are there and
 *      of those that are to come, and it stays as long as there is a cloud.crt.new or a cloud.crt.old. A file that it
 *      doesn't name was put there by somebody else: an interrupted replacement is not finished over it, and nothing is
 *      gone back to. When that set is whole, the copy and what was to come are removed (7); a half of one is left for
 *      whoever puts it there.
 *
 * A cloud.key.new alone is a key whose certificate has been asked for (SetupKeyStoreCommand) and is not there yet.
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

/*
 * Finishes what was interrupted; only for whoever holds the folder's lock. ERR_CONFLICT, with a sentence for the log:
 * all is well, and what is in place is somebody else's (8).
 */
enum err identity_recover(const struct fs *fs, const char *dir, struct why *why) MUST_CHECK;
bool identity_is_interrupted(const struct fs *fs, const char *dir);
/*
 * Reads it. Nothing there is ERR_OK and an empty identity; a part that is missing, unreadable or doesn't fit is an
 * error that says what to do.
 */
enum err identity_load(struct identity *out, const struct fs *fs, const char *dir, struct why *why) MUST_CHECK;
/* Any of the files is there? */
bool identity_exists(const struct fs *fs, const char *dir);
/* Replaces it for good, as told above. All three, 0600. */
enum err identity_install(const struct fs *fs, const char *dir, const struct identity *i, struct why *why) MUST_CHECK;

/* Is what is in place neither what the agent uses (identity_digest(); NULL: not known) nor what it has put there (8)?
 */
enum err identity_is_others(bool *out, const struct fs *fs, const char *dir, const char *in_use, struct why *why)
	MUST_CHECK;
/* Could a renewal replace it, as far as can be known beforehand? */
enum err identity_can_replace(const struct fs *fs, const char *dir, struct why *why) MUST_CHECK;
/* Replaces it, and keeps what is in use until one of the next two is called. */
enum err identity_renew(const struct fs *fs, const char *dir, const struct identity *i, struct why *why) MUST_CHECK;
/* The set in place was used: forgets the old one. Nothing to forget is fine. */
enum err identity_proven(const struct fs *fs, const char *dir, struct why *why) MUST_CHECK;
/* The old one takes its place again. ERR_NOT_FOUND: there is none. ERR_CONFLICT: what is in place stays (8). */
enum err identity_go_back(const struct fs *fs, const char *dir, struct why *why) MUST_CHECK;
/* The old one, while the one in place is unproven; empty: there is none. */
enum err identity_load_old(struct identity *out, const struct fs *fs, const char *dir, struct why *why) MUST_CHECK;

/* A key that waits for its certificate; take: NULL when there is none. */
enum err identity_keep_key(const struct fs *fs, const char *dir, const char *key_pem, struct why *why) MUST_CHECK;
enum err identity_waiting_key(char **out, const struct fs *fs, const char *dir, struct why *why) MUST_CHECK;

/* ---- judging: identity_judge.c ---- */

#define IDENTITY_CAS_MAX 16
#define IDENTITY_TEXT_MAX (256u * 1024) /* of each of the three */

/*
 * Is this a certificate that an agent can work with? Fits the key, leads to the CA at that time, is for that guid if
 * it names one (CloudStack's name none) and for an agent. ERR_EXPIRED: it could, if it had not expired; the sentence
 * has the date.
 */
enum err identity_check(const struct identity *i, const char *guid, int64_t wall_s, struct why *why) MUST_CHECK;
/*
 * Can servers be known by these? At least one CA certificate that is valid, at most 16 certificates, nothing that is no
 * CA's. With any others the agent would be locked out.
 */
enum err identity_check_ca(const char *ca_pem, int64_t wall_s, struct why *why) MUST_CHECK;
/* Is a certificate with that fingerprint among these? */
bool identity_ca_has(const char *ca_pem, const char *fingerprint);
