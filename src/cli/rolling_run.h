/*
 * Carrying a rolling restart out (docs/placement.md, "Rolling restart").
 *
 * What is next is decided from what the cluster says at each look, never from what this program remembers: so it can
 * be stopped anywhere, and whoever comes next goes on.
 */
#pragma once

#include "cli/cli.h"

struct rolling_options {
	const char *command; /* restarts a server; NULL: it is told to stop, and somebody brings it back */
	bool waits;          /* NULL command: the operator restarts it */
	int64_t rate;        /* agents asked to move per second; 0: the server's default */
	int64_t deadline_s;  /* for whatever is waited for without any progress */
	int64_t planned;     /* moves; 0: not known, somebody else began it */
};

/* What getMusterStatus says; NULL after a sentence. */
json_t *rolling_status(struct cli *c);
/* From wherever it is to its end; `driver` is who we are. Exit code. */
int rolling_run(struct cli *c, const struct rolling_options *o, const char *driver);
