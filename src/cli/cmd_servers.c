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

/* What is as it always is gets no column. */
struct shown {
	bool weights, zones;
};

static struct shown what_to_show(const json_t *servers)
{
	struct shown w = {0};
	size_t i;
	json_t *s;

	json_array_foreach (servers, i, s) {
		w.weights = w.weights || json_number(s, "musterweight", 1) != 1 || json_flag(s, "musterresting", false);
		w.zones = w.zones || json_text(s, "musterzone", NULL);
	}
	return w;
}

static struct table *table_for(const struct cli *c, const struct shown *w)
{
	struct table_column columns[9] = {{"NAME", 0}, {"STATE", 0}, {"ADDRESS", 0}, {"AGENTS", TABLE_RIGHT}};
	size_t n = 4;

	if (w->weights)
		columns[n++] = (struct table_column){"WEIGHT", TABLE_RIGHT};
	if (w->zones)
		columns[n++] = (struct table_column){"ZONE", 0};
	columns[n++] = (struct table_column){"VERSION", 0};
	columns[n++] = (struct table_column){"STARTED", 0};
	columns[n++] = (struct table_column){"ID", TABLE_SHORTEN};
	return table_new(c, columns, n);
}

static void print_table(const struct cli *c, const json_t *servers)
{
	const struct shown w = what_to_show(servers);
	struct table *t = table_for(c, &w);
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
		if (w.weights && json_flag(s, "musterresting", false))
			table_cell(t, TINT_CAREFUL, "resting");
		else if (w.weights)
			table_cell(t, TINT_NONE, "%" JSON_INTEGER_FORMAT,
				   (json_int_t)json_number(s, "musterweight", 1));
		if (w.zones)
			table_cell(t, TINT_NONE, "%s", json_text(s, "musterzone", ""));
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
