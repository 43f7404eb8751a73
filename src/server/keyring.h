/*
 * The cluster key of a running server, when it is changed (key_change.h).
 *
 * What is sealed can't be opened with the old one any more, so that one is wiped as soon as the store names another:
 * this server goes on with what it holds in memory (the CA's key, the ticket keys) and seals nothing. It says so, and
 * reads its key file again until that has the new one. What each server has stands in its row of the store, for
 * whoever changes the key and for `muster status`.
 */
#pragma once

#include "ca/sealed.h"
#include "server/internal.h"

/* Of the key that we have, "none". */
const char *keyring_id(struct server *s);
/* It may have been changed in the store. Before what is sealed is read: then nobody tries with the old one. */
void keyring_reload(struct server *s);
/* Every second: reads the key file again while it is behind, and says in the store which key it has. */
void keyring_tick(struct server *s);
bool keyring_is_busy(const struct server *s);
void keyring_deinit(struct server *s);

enum key_state {
	KEY_STATE_UNKNOWN, /* an older program */
	KEY_STATE_PRESENT,
	KEY_STATE_MISSING,
	KEY_STATE_OUTDATED, /* the one from before */
};
const char *key_state_name(enum key_state k); /* "present" */
/* Of a server, by what its row says. */
enum key_state keyring_state_of(const struct server *s, const char *key_id);
