/*
 * `muster-server ca`: the CA of a cluster, changed where its store and its key file are, while no server runs; or the
 * next one prepared, while they do.
 *
 * A private key has no business on a network, and who signs for a cluster is for those to say who hold the cluster key:
 * so this is no command of the API.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/world.h"
#include "store/store.h"

struct ca_command {
	const char *verb;                      /* "import", "use"; NULL: none of this */
	const char *provider;                  /* use */
	const char *certificate, *key, *chain; /* import: paths */
	bool next;                             /* import: only prepared, for `muster ca rotate` to begin with */
	bool force;
	/* From here on the caller's: */
	struct store *store;
	struct world *world;
	const uint8_t *cluster_key; /* NULL: not here */
};

/* Takes "ca", its verb and what belongs to it; returns how many words that were. */
int ca_command_words(struct ca_command *c, int argc, char **argv);
/* Is all there, and nothing too much? Says what is wrong on stderr. */
bool ca_command_is_whole(const struct ca_command *c);
/* Prints what was done. ERR_REFUSED: a server runs, or agents have joined and nobody forced it; with `next`: ca_next.h.
 */
enum err ca_command(struct ca_command *c, struct why *why) MUST_CHECK;
