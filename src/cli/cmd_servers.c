/*
 * muster servers: the management servers as records of the API.
 */
#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/cluster.h"
#include "cli/format.h"
#include "cli/table.h"

static void print_table(const struct cli *c, const json_t *servers)
{
	static const struct table_column columns[] = {
		{"NAME", 0},    {"STATE", 0},   {"ADDRESS", 0},        {"AGENTS", TABLE_RIGHT},
		{"VERSION", 0}, {"STARTED", 0}, {"ID", TABLE_SHORTEN},
	};
	struct table *t = table_new(c, columns, ARRAY_SIZE(columns));
	size_t i;
	json_t *s;

	json_array_foreach (servers, i, s) {
		const char *state = json_text(s, "state", "");
		char date[FORMAT_MAX];

		table_row(t);
		table_cell(t, TINT_STRONG, "%s", json_text(s, "name", ""));
		table_cell(t, server_tint(state), "%s", state);
		table_cell(t, TINT_NONE, "%s", json_text(s, "ipaddress", json_text(s, "serviceip", "")));
		table_cell(t, TINT_NONE, "%" JSON_INTEGER_FORMAT, (json_int_t)json_number(s, "agentscount", 0));
		table_cell(t, TINT_NONE, "%s", json_text(s, "version", ""));
		table_cell(t, TINT_NONE, "%s", format_date(date, json_text(s, "lastserverstart", "")));
		table_cell(t, TINT_FAINT, "%s", json_text(s, "id", ""));
	}
	table_print(t);
	table_free(t);
	print_drains(servers);
	if (any_is_frozen(servers))
		printf("%sMoves are frozen%s: no agent goes home until `muster thaw`; `muster status` says since when and why.\n",
		       tint_on(c, TINT_CAREFUL), tint_off(c));
}

int cmd_servers(struct cli *c, int argc, char **argv)
{
	struct args a = {.about =
				 "Lists the management servers of the cluster. How they see each other: muster status"};
	json_t *servers;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	servers = cli_list(c, "listManagementServers", "managementserver",
			   API_ARGS({"agents", c->json ? NULL : "false"}));
	if (!servers)
		return CLI_FAILED;
	if (c->json) {
		servers = json_listing("managementserver", servers);
		cli_print_json(servers, false);
	} else {
		print_table(c, servers);
	}
	json_decref(servers);
	return cli_flush(c);
}
