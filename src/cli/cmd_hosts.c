/*
 * muster hosts: every host with its list and where it is connected.
 */
#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/cluster.h"
#include "cli/format.h"
#include "cli/table.h"

static const char *yes_no(bool flag)
{
	return flag ? "yes" : "no";
}

static void print_host(struct table *t, const json_t *h, bool with_pin)
{
	char *list = json_joined(json_object_get(h, "musterlist"), ",");
	char *status = host_status_text(h);
	const char *preferred = json_text(h, "musterpreferred", "");
	const char *connected = json_text(h, "musterconnected", "");
	bool outdated = json_flag(h, "musteroutdated", false);
	bool secured = json_flag(h, "mustersecured", false);

	table_row(t);
	table_cell(t, TINT_NONE, "%" JSON_INTEGER_FORMAT, (json_int_t)host_number(h));
	table_cell(t, TINT_STRONG, "%s", json_text(h, "name", ""));
	table_cell(t, host_tint(h), "%s", status);
	table_cell(t, TINT_NONE, "%s", list);
	table_cell(t, TINT_NONE, "%s", preferred);
	table_cell(t, str_equal(preferred, connected) ? TINT_NONE : TINT_CAREFUL, "%s", connected);
	table_cell(t, outdated ? TINT_CAREFUL : TINT_NONE, "%s", yes_no(outdated));
	table_cell(t, secured ? TINT_NONE : TINT_CAREFUL, "%s", yes_no(secured));
	if (with_pin)
		table_cell(t, TINT_NONE, "%s", json_text(h, "musterpin", ""));
	mem_free(list);
	mem_free(status);
}

static bool any_is_pinned(const json_t *hosts)
{
	size_t i;
	json_t *h;

	json_array_foreach (hosts, i, h) {
		if (json_text(h, "musterpin", NULL))
			return true;
	}
	return false;
}

static void print_table(const struct cli *c, const json_t *hosts)
{
	static const struct table_column columns[] = {
		{"ID", TABLE_RIGHT}, {"NAME", 0},     {"STATUS", 0},  {"LIST", TABLE_LIST}, {"PREFERRED", 0},
		{"CONNECTED TO", 0}, {"OUTDATED", 0}, {"SECURED", 0}, {"PINNED TO", 0}, /* where somebody is */
	};
	bool with_pin = any_is_pinned(hosts);
	struct table *t = table_new(c, columns, ARRAY_SIZE(columns) - !with_pin);
	size_t i;
	json_t *h;

	json_array_foreach (hosts, i, h) {
		print_host(t, h, with_pin);
	}
	table_print(t);
	table_free(t);
	if (any_is_frozen(hosts))
		printf("%sMoves are frozen%s: who could be on the preferred server stays away until `muster thaw`.\n",
		       tint_on(c, TINT_CAREFUL), tint_off(c));
}

/* Those that the server can't choose for us. */
static json_t *keep_outdated(json_t *take_hosts)
{
	json_t *kept = or_die(json_array());
	size_t i;
	json_t *h;

	json_array_foreach (take_hosts, i, h) {
		if (json_flag(h, "musteroutdated", false))
			json_array_append(kept, h);
	}
	json_decref(take_hosts);
	return kept;
}

int cmd_hosts(struct cli *c, int argc, char **argv)
{
	const char *state = NULL, *keyword = NULL;
	bool outdated = false;
	const struct arg_option options[] = {
		{.name = "--state",
		 .value = "STATE",
		 .text = &state,
		 .help = "only those in that state: Up, Disconnected, Alert ..."},
		{.name = "--keyword",
		 .value = "TEXT",
		 .text = &keyword,
		 .help = "only those with the text in name, state, type or version"},
		{.name = "--outdated", .flag = &outdated, .help = "only those that do not have their list yet"},
	};
	struct args a = {
		.synopsis = "[NAME]",
		.about =
			"Lists the hosts: the list of servers each one has, the first of it (its preferred server), and the server it\n"
			"is connected to.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.max = 1,
	};
	json_t *hosts;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	hosts = cli_list(c, "listHosts", "host",
			 API_ARGS({"name", a.n ? a.words[0] : NULL}, {"state", state}, {"keyword", keyword}));
	if (!hosts)
		return CLI_FAILED;
	if (outdated)
		hosts = keep_outdated(hosts);
	if (c->json) {
		json_t *listing = json_listing("host", hosts);

		cli_print_json(listing, false);
		json_decref(listing);
		return cli_flush(c);
	}
	if (json_array_size(hosts))
		print_table(c, hosts);
	else if (a.n || state || keyword || outdated)
		cli_advise(c, "No host is like that.");
	else
		cli_advise(
			c,
			"There are no hosts yet. `muster token create` makes a token; on the host: muster-agent join TOKEN");
	json_decref(hosts);
	return cli_flush(c);
}
