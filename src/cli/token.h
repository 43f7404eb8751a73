/*
 * How a new token is asked for and shown, whatever it is for.
 */
#pragma once

#include <jansson.h>

#include "cli/api.h"
#include "cli/cli.h"

/* The token alone on stdout, on stderr how long it is valid and `where` to use it. Return exit codes. */
int token_ask(struct cli *c, const char *command, const struct api_arg *args, const char *where);
int token_print(struct cli *c, const json_t *token, const char *where);
