/*
 * Runs a command of the operator's: text in, text out, within a time and a size. Blocks: on a work thread only.
 *
 * No shell is involved. The command is ended with everything that it started, whichever way it ends.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define COMMAND_OUTPUT_MAX (128u * 1024)

/*
 * A command line as words: blanks and tabs separate, "double quotes" keep a part together (empty, too), and inside them
 * \" and \\ stand for the second character. Nothing else means anything: no variables, no patterns, no redirection.
 * ERR_INVALID: an open quote, a stray character beside one, or no word at all.
 */
enum err command_split(struct str_list *words, const char *line, struct why *why) MUST_CHECK;
/* May this program be run with our rights? An absolute path, a file, executable, and nobody's to change but root's and
 * ours. */
enum err command_check(const char *program, struct why *why) MUST_CHECK;

struct command {
	const struct str_list *words; /* the first is the path of the program */
	const struct str_list *env;   /* NAME=VALUE; PATH is added, nothing is inherited */
	const char *input;            /* its standard input, a file that can be opened again as /dev/stdin */
	int64_t limit_ms;
	int64_t took_ms; /* out */
};
/*
 * ERR_TIMEOUT; ERR_TOO_BIG: more than COMMAND_OUTPUT_MAX bytes; ERR_REFUSED: an exit code other than 0, the sentence
 * ends with the last line on its standard error; ERR_IO: it can't be started.
 */
enum err command_run(struct buf *out, struct command *c, struct why *why) MUST_CHECK;
