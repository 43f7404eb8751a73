/*
 * `muster-server join`: a new server of a cluster gets its certificate and the cluster key from one that is running
 * (decision 5), instead of having the key file copied to it by hand.
 */
#pragma once

#include "base/err.h"
#include "server/settings.h"

struct enrol_params {
	const char *dir;                        /* where server.id, server.key, server.crt, the key file go */
	const struct server_settings *settings; /* name, address, cluster.key.file */
	const char *token;                      /* its text, "-" for standard input, "@FILE" */
};

/* Blocks until it is done. Nothing is written before the other server has said yes; an identity is never overwritten.
 */
enum err enrol(const struct enrol_params *p, struct why *why) MUST_CHECK;
