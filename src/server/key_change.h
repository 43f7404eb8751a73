/*
 * The cluster key is changed: everything in the store that is sealed under the old one is sealed under a new one, and
 * the key file is replaced (docs/certificates.md, "The cluster key is changed").
 *
 *   1. the new key is written beside the file, FILE.next
 *   2. one transaction: all is sealed anew, and the store says which key is in force
 *   3. FILE is replaced by it
 *   4. FILE.next is removed
 *
 * Whatever stops in between, one of the two files has the key that the store names: before 2 it is FILE, and FILE.next
 * was for nothing; after 2 it is FILE.next, and 3 and 4 are done by whoever looks next (key_change_settle()).
 */
#pragma once

#include <stddef.h>

#include "base/fs.h"
#include "ca/sealed.h"
#include "net/world.h"
#include "store/store.h"

#define CLUSTER_KEY_NEXT ".next"

enum key_settled {
	KEY_SETTLED_NOTHING,  /* there was nothing to do */
	KEY_SETTLED_FINISHED, /* the file has the key that the store names by now */
	KEY_SETTLED_UNDONE,   /* a change had not been committed: its key is gone */
};
/*
 * After a change that broke off: brings the file in line with the store, which says `id` ("": never changed). Whoever
 * calls it holds the file's lock (cluster_key_lock()).
 */
enum err key_change_settle(enum key_settled *out, const struct fs *fs, const char *path, const char *id,
			   struct why *why) MUST_CHECK;

struct key_change {
	struct store *store;
	struct world *world; /* chance and the time of day */
	const struct fs *fs;
	const char *path; /* of the key file */
	uint8_t from[CLUSTER_KEY_SIZE], to[CLUSTER_KEY_SIZE];
	char uuid[UUID_TEXT]; /* of its event */
	/* out */
	size_t n_again; /* values that were sealed anew */
	size_t n_lost;  /* that could not be opened, and are made anew by themselves or too old to matter */
};
/*
 * ERR_REFUSED, ERR_UNTRUSTED, ERR_NEWER with a sentence: then nothing is changed. Any other error may come after the
 * commit: key_change_settle() finds out.
 */
enum err key_change(struct key_change *k, struct why *why) MUST_CHECK;

/* What the store says of the key that is in force. */
enum err key_record_get(struct store_tx *tx, struct cluster_key_record *out) MUST_CHECK;
/* In a transaction that writes what was sealed under the key of this id: ERR_CONFLICT when it is not in force. */
enum err key_record_check(struct store_tx *tx, const char *id, struct why *why) MUST_CHECK;
