/*
 * Options and words of a command, from a table: parser and -h come from the same rows.
 *
 * The options that every command has (--socket, --url, --api-key-file, --json, -h) are understood everywhere. An option
 * takes its value from the next word or after a '='; "--" ends the options.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"

struct arg_option {
	const char *name;  /* "--servers" */
	const char *value; /* what -h calls the value; NULL: a flag */
	const char *help;
	const char **text; /* one of these is set */
	bool *flag;
	int64_t *number;  /* min to max */
	int64_t *seconds; /* 90, 15m, 2h, 7d; min to max */
	int64_t min, max;
};

struct args {
	const char *synopsis; /* after the command's name: "HOST [NAME]" */
	const char *about;    /* for -h */
	const struct arg_option *options;
	size_t n_options;
	size_t min, max; /* how many words; max 0 with min 0: none */
	/* out */
	char **words; /* borrowed */
	size_t n;
	int exit_code; /* when args_parse() said false */
};

/* false: the caller returns exit_code; help has been printed or the mistake named. `argv` is reordered. */
bool args_parse(struct cli *c, struct args *a, int argc, char **argv);
/* Takes the common options from the front of argv; returns how many words they took, or one of these. */
enum { ARGS_MISTAKE = -1, ARGS_HELP = -2 };
int args_parse_common(struct cli *c, int argc, char **argv);
void args_help(const struct cli *c, const struct args *a);
/* The lines of -h about the common options. */
void args_help_common(void);
