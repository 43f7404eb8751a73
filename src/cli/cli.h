/*
 * muster, the program for operators: what all its commands share.
 *
 * A command is a row of a table (commands.c) and a file cmd_<name>.c. It takes its words apart with args_parse(), asks
 * the server through api.h, and prints a table or, with --json, the same as JSON. Results go to stdout, advice and
 * errors to stderr, so that the output can be piped.
 *
 * A command runs once and ends: being out of memory ends the program with a sentence (text_or_die()), nothing is
 * handed up for it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "base/err.h"

/* Exit codes (docs/man/muster.1.scd). */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct cli {
	const char *socket;   /* --socket; borrowed, as all texts here */
	const char *url;      /* --url */
	const char *key_file; /* --api-key-file */
	bool json;
	bool wants_codes; /* refusals with their numbers, as with --json */
	bool is_terminal; /* stdout is one */
	bool has_colour;
	size_t width;    /* of the terminal; 0: not one */
	char path[64];   /* "muster host add", for messages */
	struct api *api; /* owned; opened by the first question */
	bool is_misused; /* it could not be opened for what the command line says */
};

struct command {
	const char *name;
	int (*run)(struct cli *c, int argc,
		   char **argv);    /* argv holds what follows the name; NULL where there are subs */
	const struct command *subs; /* ends with a row without a name */
	const char *help;
};

extern const struct command commands[];

/* One sentence on stderr: "muster host add: ...". Returns CLI_FAILED. */
int cli_fail(const struct cli *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for a wrong use, with where to read on. Returns CLI_USAGE. */
int cli_misuse(const struct cli *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Advice on stderr; nothing with --json, where programs read. */
void cli_advise(const struct cli *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* JSON on stdout, indented. `keep_order`: members as they were put in, otherwise sorted. */
void cli_print_json(const json_t *value, bool keep_order);
/* Is what was written to stdout really out? CLI_OK or CLI_FAILED with a sentence. */
int cli_flush(const struct cli *c);

/* Each command's function, one file each. */
int cmd_account_create(struct cli *c, int argc, char **argv);
int cmd_account_list(struct cli *c, int argc, char **argv);
int cmd_account_rm(struct cli *c, int argc, char **argv);
int cmd_api(struct cli *c, int argc, char **argv);
int cmd_config_get(struct cli *c, int argc, char **argv);
int cmd_config_list(struct cli *c, int argc, char **argv);
int cmd_config_reset(struct cli *c, int argc, char **argv);
int cmd_config_set(struct cli *c, int argc, char **argv);
int cmd_demo(struct cli *c, int argc, char **argv);
int cmd_drain(struct cli *c, int argc, char **argv);
int cmd_events(struct cli *c, int argc, char **argv);
int cmd_explain(struct cli *c, int argc, char **argv);
int cmd_freeze(struct cli *c, int argc, char **argv);
int cmd_help(struct cli *c, int argc, char **argv);
int cmd_host_add(struct cli *c, int argc, char **argv);
int cmd_host_allow_weaker(struct cli *c, int argc, char **argv);
int cmd_host_pin(struct cli *c, int argc, char **argv);
int cmd_host_unpin(struct cli *c, int argc, char **argv);
int cmd_host_check(struct cli *c, int argc, char **argv);
int cmd_host_reconnect(struct cli *c, int argc, char **argv);
int cmd_host_rejoin(struct cli *c, int argc, char **argv);
int cmd_host_rm(struct cli *c, int argc, char **argv);
int cmd_host_stats(struct cli *c, int argc, char **argv);
int cmd_hosts(struct cli *c, int argc, char **argv);
int cmd_plan(struct cli *c, int argc, char **argv);
int cmd_rebalance(struct cli *c, int argc, char **argv);
int cmd_rolling_restart(struct cli *c, int argc, char **argv);
int cmd_server_rm(struct cli *c, int argc, char **argv);
int cmd_server_set(struct cli *c, int argc, char **argv);
int cmd_server_token(struct cli *c, int argc, char **argv);
int cmd_servers(struct cli *c, int argc, char **argv);
int cmd_status(struct cli *c, int argc, char **argv);
int cmd_thaw(struct cli *c, int argc, char **argv);
int cmd_token_create(struct cli *c, int argc, char **argv);
int cmd_ca_crl(struct cli *c, int argc, char **argv);
int cmd_ca_rotate(struct cli *c, int argc, char **argv);
int cmd_ca_show(struct cli *c, int argc, char **argv);
int cmd_cert_issue(struct cli *c, int argc, char **argv);
int cmd_cert_list(struct cli *c, int argc, char **argv);
int cmd_cert_renew(struct cli *c, int argc, char **argv);
int cmd_cert_revoke(struct cli *c, int argc, char **argv);
int cmd_cert_show(struct cli *c, int argc, char **argv);
int cmd_token_list(struct cli *c, int argc, char **argv);
int cmd_token_revoke(struct cli *c, int argc, char **argv);
int cmd_undrain(struct cli *c, int argc, char **argv);
int cmd_version(struct cli *c, int argc, char **argv);
