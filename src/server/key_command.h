/*
 * `muster-server cluster-key change`: the key that seals what is secret in the store is changed, where its file is;
 * servers may run meanwhile (key_change.h says how, keyring.h what they do).
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "net/world.h"
#include "server/cluster_key.h"
#include "store/store.h"

struct key_command {
	const char *verb; /* "change"; NULL: none of this */
	const char *file; /* the new key; NULL: a new one is made */
	/* From here on the caller's: */
	struct store *store;
	struct world *world;
	const char *dir, *setting, *credentials; /* as for cluster_key_find() */
};

/* Takes "cluster-key" and its verb; returns how many words that were. */
int key_command_words(struct key_command *c, int argc, char **argv);
/* Is all there? Says what is wrong on stderr. */
bool key_command_is_whole(const struct key_command *c);
/* Prints what was done, and who needs the new file. */
enum err key_command(struct key_command *c, struct why *why) MUST_CHECK;
