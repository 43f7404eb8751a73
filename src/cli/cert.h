/*
 * What the commands about certificates share.
 */
#pragma once

#include "cli/api.h"

/*
 * The certificates that a word means - a serial number as anybody writes it, or a host - in these states
 * ("inuse,valid"). New array, not empty; NULL after a sentence.
 */
json_t *certs_find(struct cli *c, const char *word, const char *states, bool pem);
/* What it is for, as people know it: a host's, server's or common name. A new string, fit for a terminal. */
char *cert_owner(const json_t *cert);
