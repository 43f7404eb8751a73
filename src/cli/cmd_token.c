/*
 * muster token, muster server token, muster host rejoin: invitations into the cluster.
 *
 * A new token stands alone on stdout, so that it can be piped into `muster-agent join -`; what to do with it is said
 * on stderr.
 */
#include "cli/token.h"

#include "base/mem.h"
#include "base/str.h"
#include "cli/args.h"
#include "cli/format.h"
#include "cli/table.h"

#define LIFETIME_MAX 31536000 /* a year */

int token_print(struct cli *c, const json_t *token, const char *where)
{
	char until[FORMAT_MAX];
	int64_t uses = json_number(token, "uses", 1);

	if (c->json) {
		cli_print_json(token, false);
		return cli_flush(c);
	}
	printf("%s\n", json_text(token, "token", ""));
	cli_advise(c, "Valid until %s, %s%s. %s", format_date(until, json_text(token, "expires", "")),
		   uses == 1 ? "once" : "several times", json_object_get(token, "hostid") ? ", for that host only" : "",
		   where);
	return cli_flush(c);
}

int token_ask(struct cli *c, const char *command, const struct api_arg *args, const char *where)
{
	json_t *answer = cli_ask(c, command, args);
	int exit_code;

	if (!answer)
		return CLI_FAILED;
	exit_code = token_print(c, json_object_get(answer, "jointoken"), where);
	json_decref(answer);
	return exit_code;
}

static const char *number_or_null(char out[24], int64_t n)
{
	snprintf(out, 24, "%" JSON_INTEGER_FORMAT, (json_int_t)n);
	return n ? out : NULL;
}

static int create(struct cli *c, int argc, char **argv, bool for_server)
{
	int64_t lifetime = 0, uses = 1;
	const char *name = NULL, *zone = NULL;
	const struct arg_option options[] = {
		{.name = "--lifetime",
		 .value = "TIME",
		 .seconds = &lifetime,
		 .min = 1,
		 .max = LIFETIME_MAX,
		 .help = "how long it is valid: 90, 15m, 2h, 7d; default: setting join.token.lifetime"},
		{.name = "--uses",
		 .value = "N",
		 .number = &uses,
		 .min = 1,
		 .max = 1000000,
		 .help = "how often it can be used; default: 1"},
		{.name = "--name",
		 .value = "NAME",
		 .text = &name,
		 .help = "only a machine that joins under this name may use it"},
		{.name = "--zone",
		 .value = "ZONE",
		 .text = &zone,
		 .help = "hosts that join with it are in this zone, and stay there; one that says another is refused"},
	};
	struct args a = {
		.about =
			for_server
				? "Makes a token with which another management server joins the cluster. It stands alone on stdout."
				: "Makes a token with which a host joins the cluster. It stands alone on stdout, so that this works:\n"
				  "  muster token create | ssh HOST muster-agent join -",
		.options = options,
		.n_options = ARRAY_SIZE(options) - for_server, /* servers join no zone */
	};
	char lifetime_text[24], uses_text[24];

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	return token_ask(c, "createJoinToken",
			 API_ARGS({"role", for_server ? "server" : "agent"},
				  {"lifetime", number_or_null(lifetime_text, lifetime)},
				  {"uses", number_or_null(uses_text, uses)}, {"name", name}, {"zone", zone}),
			 for_server ? "On the new server: muster-server join TOKEN"
				    : "On the host: muster-agent join TOKEN");
}

int cmd_token_create(struct cli *c, int argc, char **argv)
{
	return create(c, argc, argv, false);
}

int cmd_server_token(struct cli *c, int argc, char **argv)
{
	return create(c, argc, argv, true);
}

/* Whom it is for: a host; or a machine of some name, in some zone. */
static void put_binding(struct table *t, const json_t *token)
{
	const char *name = json_text(token, "name", NULL), *zone = json_text(token, "zone", NULL);
	const char *host = json_text(token, "hostname", json_text(token, "hostid", NULL));

	if (host)
		table_cell(t, TINT_NONE, "host %s%s", host,
			   json_is_true(json_object_get(token, "keepcertificate")) ? ", keeps its certificates" : "");
	else
		table_cell(t, TINT_NONE, "%s%s%s", name ? name : "anyone", zone ? " in zone " : "", zone ? zone : "");
}

static void print_table(const struct cli *c, const json_t *tokens)
{
	static const struct table_column columns[] = {
		{"ID", 0},      {"ROLE", 0},    {"STATE", 0},           {"USES LEFT", TABLE_RIGHT},
		{"CREATED", 0}, {"EXPIRES", 0}, {"FOR", TABLE_SHORTEN},
	};
	struct table *t = table_new(c, columns, ARRAY_SIZE(columns));
	size_t i;
	json_t *token;

	json_array_foreach (tokens, i, token) {
		const char *state = json_text(token, "state", "");
		char created[FORMAT_MAX], expires[FORMAT_MAX];

		table_row(t);
		table_cell(t, TINT_NONE, "%s", json_text(token, "id", ""));
		table_cell(t, TINT_NONE, "%s", json_text(token, "role", ""));
		table_cell(t, str_equal(state, "valid") ? TINT_GOOD : TINT_FAINT, "%s", state);
		table_cell(t, TINT_NONE, "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT,
			   (json_int_t)json_number(token, "usesleft", 0), (json_int_t)json_number(token, "uses", 0));
		table_cell(t, TINT_NONE, "%s", format_date(created, json_text(token, "created", "")));
		table_cell(t, TINT_NONE, "%s", format_date(expires, json_text(token, "expires", "")));
		put_binding(t, token);
	}
	table_print(t);
	table_free(t);
}

int cmd_token_list(struct cli *c, int argc, char **argv)
{
	struct args a = {.about = "Lists the join tokens, without their secret part."};
	json_t *tokens;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	tokens = cli_list(c, "listJoinTokens", "jointoken", NULL);
	if (!tokens)
		return CLI_FAILED;
	if (c->json) {
		tokens = json_listing("jointoken", tokens);
		cli_print_json(tokens, false);
	} else if (json_array_size(tokens)) {
		print_table(c, tokens);
	} else {
		cli_advise(c, "There are no tokens. `muster token create` makes one.");
	}
	json_decref(tokens);
	return cli_flush(c);
}

int cmd_token_revoke(struct cli *c, int argc, char **argv)
{
	struct args a = {
		.synopsis = "ID",
		.about = "Makes a token useless. What has joined with it stays. IDs: muster token list",
		.min = 1,
		.max = 1,
	};
	json_t *answer;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	answer = cli_ask(c, "revokeJoinToken", API_ARGS({"id", a.words[0]}));
	if (!answer)
		return CLI_FAILED;
	if (c->json)
		cli_print_json(answer, false);
	else
		printf("The token %s can't be used any more.\n", a.words[0]);
	json_decref(answer);
	return cli_flush(c);
}
