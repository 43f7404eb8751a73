/*
 * The effect of a change on who is where, computed from the running cluster and printed before the change is made.
 */
#pragma once

#include "cli/cli.h"

/* All return an exit code, after a sentence where it is not CLI_OK. */

/* Is it a setting whose effect can be shown? */
bool effect_has_setting(const char *name);
int effect_of_setting(struct cli *c, const char *name, const char *value);
/* `host` is its number or UUID, as far as it has one. */
int effect_of_removal(struct cli *c, const char *host);
/* `server` is an entry of the lists, a name or a UUID; one that is in no list has no effect, which is said. */
struct effect_server {
	const char *server;
	int64_t weight;   /* -1: as it is */
	const char *zone; /* its name or id; "" or "none": none; NULL: as it is */
};
int effect_of_server(struct cli *c, const struct effect_server *w);
/* `host` as above; a server that is in no list is a mistake. */
int effect_of_pin(struct cli *c, const char *host, const char *server);
struct effect_drain {
	const char *id, *name; /* of the server */
	const char *algorithm; /* order of the lists that they leave with; NULL: the one in force */
	int64_t rate;          /* agents asked per second; 0: the default */
};
int effect_of_drain(struct cli *c, const struct effect_drain *d);
/* On stderr: entries of a new `host` that are no registered server. */
void advise_unregistered(struct cli *c, const char *value);
