/*
 * muster account: who may use the query API with keys. The first account is made over the local socket.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/props.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/format.h"
#include "cli/table.h"

/* A properties file as --api-key-file reads it. */
static char *key_file_text(const json_t *account, const char *url)
{
	struct buf text = {0};
	enum err e = ERR_OK;

	if (url)
		e = props_put_pair(&text, "url", url);
	if (!e)
		e = props_put_pair(&text, "apikey", json_text(account, "apikey", ""));
	if (!e)
		e = props_put_pair(&text, "secretkey", json_text(account, "secretkey", ""));
	return or_die(e ? NULL : buf_take_str(&text));
}

static int write_keys(struct cli *c, const char *path, const char *text, size_t n)
{
	struct why why = WHY_NONE;
	enum err e;

	if (fs_posix.exists(&fs_posix, path))
		return cli_fail(
			c,
			"the account is made, but %s is there already and is not overwritten; remove the account with "
			"`muster account rm` and try another file",
			path);
	e = file_replace(&fs_posix, path, 0600, text, n, &why);
	if (e)
		return cli_fail(
			c,
			"the account is made, but its keys could not be written: %s; remove it with `muster account rm`",
			why_text(&why, e));
	cli_advise(c, "The keys are in %s. Use them with: muster --url http://SERVER:8080 --api-key-file %s status",
		   path, path);
	return CLI_OK;
}

int cmd_account_create(struct cli *c, int argc, char **argv)
{
	const char *path = NULL;
	const struct arg_option options[] = {
		{.name = "--file",
		 .value = "FILE",
		 .text = &path,
		 .help = "write the keys into this new file, readable by you only"},
	};
	struct args a = {
		.synopsis = "NAME",
		.about = "Makes an account for the query API and prints its keys, which are shown this once.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.min = 1,
		.max = 1,
	};
	json_t *answer, *account;
	int exit_code = CLI_OK;
	char *text;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	/* Before anything is made: keys that have no place to go would be lost. */
	if (path && fs_posix.exists(&fs_posix, path))
		return cli_fail(c, "%s is there already and is not overwritten; no account was made", path);
	answer = cli_ask(c, "createAccount", API_ARGS({"name", a.words[0]}));
	if (!answer)
		return CLI_FAILED;
	account = json_object_get(answer, "account");
	text = key_file_text(account, c->url);
	if (path)
		exit_code = write_keys(c, path, text, strlen(text));
	else if (c->json)
		cli_print_json(account, false);
	else
		fputs(text, stdout);
	if (!path)
		cli_advise(
			c,
			"Keep these lines in a file of your own (0600) for --api-key-file; the secret key is not shown again.");
	mem_wipe(text, strlen(text));
	mem_free(text);
	json_decref(answer);
	return exit_code ? exit_code : cli_flush(c);
}

int cmd_account_list(struct cli *c, int argc, char **argv)
{
	static const struct table_column columns[] = {
		{"NAME", 0}, {"ROLE", 0}, {"CREATED", 0}, {"API KEY", TABLE_SHORTEN}};
	struct args a = {.about = "Lists the accounts of the query API. Secret keys are never shown."};
	json_t *accounts, *account;
	struct table *t;
	size_t i;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	accounts = cli_list(c, "listAccounts", "account", NULL);
	if (!accounts)
		return CLI_FAILED;
	if (c->json) {
		accounts = json_listing("account", accounts);
		cli_print_json(accounts, false);
		json_decref(accounts);
		return cli_flush(c);
	}
	t = table_new(c, columns, ARRAY_SIZE(columns));
	json_array_foreach (accounts, i, account) {
		char date[FORMAT_MAX];

		table_row(t);
		table_cell(t, TINT_STRONG, "%s", json_text(account, "name", ""));
		table_cell(t, TINT_NONE, "%s", json_text(account, "role", json_text(account, "rolename", "admin")));
		table_cell(t, TINT_NONE, "%s", format_date(date, json_text(account, "created", "")));
		table_cell(t, TINT_FAINT, "%s", json_text(account, "apikey", ""));
	}
	if (i)
		table_print(t);
	else
		cli_advise(
			c,
			"There are no accounts; the local socket needs none. `muster account create NAME` makes one.");
	table_free(t);
	json_decref(accounts);
	return cli_flush(c);
}

int cmd_account_rm(struct cli *c, int argc, char **argv)
{
	struct args a = {.synopsis = "NAME", .about = "Removes an account; its keys end at once.", .min = 1, .max = 1};
	json_t *answer;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	answer = cli_ask(c, "deleteAccount", API_ARGS({"name", a.words[0]}));
	if (!answer)
		return CLI_FAILED;
	if (c->json)
		cli_print_json(answer, false);
	else
		printf("The account %s is removed.\n", a.words[0]);
	json_decref(answer);
	return cli_flush(c);
}
