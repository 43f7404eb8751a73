/*
 * --plan and --yes: commands that first show what they would do, and ask.
 *
 * The question is asked on the terminal. Where there is none, --plan without --yes shows and changes nothing: that is
 * exit code 2, so that no script takes it for done.
 */
#pragma once

#include "cli/args.h"

struct confirm {
	bool plan, yes;
};

/* clang-format off */
#define CONFIRM_OPTIONS(confirm_)                                                                              \
	{.name = "--plan", .flag = &(confirm_).plan, .help = "show the effect first, and ask"},                   \
	{.name = "--yes", .flag = &(confirm_).yes, .help = "with --plan: don't ask"}
/* clang-format on */

/* Before anything is shown: exit code, with a sentence. */
int confirm_check(const struct cli *c, const struct confirm *f);
/* After it was shown: CLI_OK to go on, otherwise the exit code, with a sentence. */
int confirm_ask(const struct cli *c, const struct confirm *f);
