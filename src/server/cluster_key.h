/*
 * Where a server's cluster key is, and whether that is a place for a secret. Of the machine's files: this is the
 * daemon's part; what stands in the file is ca/root.h.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

#define CREDENTIALS_VARIABLE "CREDENTIALS_DIRECTORY" /* systemd: LoadCredential=cluster.key:... */
#define CLUSTER_KEY_CREDENTIAL "cluster.key"

struct cluster_key_place {
	char *path;         /* owned */
	bool is_credential; /* systemd's: never made, never written */
};
/*
 * The setting cluster.key.file says where: a path, relative to `dir`, or $CREDENTIALS_DIRECTORY/NAME. When there is no
 * file and systemd has given a credential cluster.key, it is that one. `credentials`: the folder, NULL: none.
 */
enum err cluster_key_find(struct cluster_key_place *out, const char *dir, const char *setting, const char *credentials,
			  struct why *why) MUST_CHECK;
void cluster_key_place_deinit(struct cluster_key_place *p);
/*
 * Several servers of one machine may start at once, and one of them makes the key, or finishes a change of it; the
 * others wait. The lock goes with the file descriptor; -1: there can be none (a folder that we can't write to).
 */
int cluster_key_lock(const char *path);
/*
 * Is this file, or what a link leads to, one that only we (or root) can read and change? ERR_REFUSED with what to do;
 * ERR_NOT_FOUND. A credential belongs to root, and its group's rights say what the one user has to whom it was given.
 */
enum err secret_file_check(const char *path, bool is_credential, struct why *why) MUST_CHECK;
