/*
 * muster config: the settings of the cluster.
 */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/cluster.h"
#include "cli/confirm.h"
#include "cli/effect.h"
#include "cli/format.h"
#include "cli/table.h"

#define CLUSTER_OPTION(variable)                                                                                       \
	{                                                                                                              \
		.name = "--cluster", .value = "CLUSTER", .text = &(variable),                                          \
		.help = "for the hosts of that cluster only (name, id or UUID)"                                        \
	}

/* A name becomes the cluster's id; what is none goes to the server as it is. False after a sentence. */
static bool cluster_find(struct cli *c, const char *cluster, char **id)
{
	json_t *clusters, *row;
	size_t i;

	*id = NULL;
	if (!cluster)
		return true;
	clusters = cli_list(c, "listClusters", "cluster", NULL);
	if (!clusters)
		return false;
	json_array_foreach (clusters, i, row) {
		if (!*id && str_equal(json_text(row, "name", NULL), cluster))
			*id = text_or_die("%s", json_text(row, "id", cluster));
	}
	json_decref(clusters);
	if (!*id)
		*id = text_or_die("%s", cluster);
	return true;
}

static void print_table(const struct cli *c, const json_t *settings)
{
	static const struct table_column columns[] = {
		{"NAME", 0}, {"VALUE", 0}, {"DEFAULT", TABLE_SHORTEN}, {"RESTART", 0}, {"WHAT IT IS", TABLE_SHORTEN}};
	struct table *t = table_new(c, columns, ARRAY_SIZE(columns));
	size_t i;
	json_t *s;

	json_array_foreach (settings, i, s) {
		const char *value = json_text(s, "value", ""), *fallback = json_text(s, "defaultvalue", "");

		table_row(t);
		table_cell(t, TINT_STRONG, "%s", json_text(s, "name", ""));
		table_cell(t, str_equal(value, fallback) ? TINT_NONE : TINT_CAREFUL, "%s", value);
		table_cell(t, TINT_NONE, "%s", fallback);
		table_cell(t, TINT_NONE, "%s", json_flag(s, "isdynamic", true) ? "no" : "needed");
		table_cell(t, TINT_FAINT, "%s", json_text(s, "description", ""));
	}
	table_print(t);
	table_free(t);
}

int cmd_config_list(struct cli *c, int argc, char **argv)
{
	const char *cluster = NULL;
	const struct arg_option options[] = {CLUSTER_OPTION(cluster)};
	struct args a = {
		.synopsis = "[TEXT]",
		.about = "Lists the settings of the cluster, or those whose name contains TEXT.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.max = 1,
	};
	CLEAN(mem_freep) char *id = NULL;
	json_t *settings;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	if (!cluster_find(c, cluster, &id))
		return CLI_FAILED;
	settings = cli_list(c, "listConfigurations", "configuration",
			    API_ARGS({"name", a.n ? a.words[0] : NULL}, {"clusterid", id}));
	if (!settings)
		return CLI_FAILED;
	if (c->json) {
		settings = json_listing("configuration", settings);
		cli_print_json(settings, false);
	} else if (json_array_size(settings)) {
		print_table(c, settings);
	} else {
		cli_advise(c, "No setting has a name like that.");
	}
	json_decref(settings);
	return cli_flush(c);
}

/* A new reference to the row of one setting; NULL after a sentence. */
static json_t *setting_find(struct cli *c, const char *name, const char *cluster_id)
{
	json_t *settings =
		cli_list(c, "listConfigurations", "configuration", API_ARGS({"name", name}, {"clusterid", cluster_id}));
	json_t *found = NULL, *s;
	size_t i;

	if (!settings)
		return NULL;
	json_array_foreach (settings, i, s) {
		if (str_equal(json_text(s, "name", NULL), name))
			found = json_incref(s);
	}
	json_decref(settings);
	if (!found)
		cli_fail(c, "there is no setting %s%s; `muster config list` shows them", name,
			 cluster_id ? " that a cluster can have of its own" : "");
	return found;
}

int cmd_config_get(struct cli *c, int argc, char **argv)
{
	const char *cluster = NULL;
	const struct arg_option options[] = {CLUSTER_OPTION(cluster)};
	struct args a = {
		.synopsis = "NAME",
		.about = "Prints the value of one setting, alone on its line; an empty line when it is not set.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.min = 1,
		.max = 1,
	};
	CLEAN(mem_freep) char *id = NULL;
	json_t *setting;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	if (!cluster_find(c, cluster, &id))
		return CLI_FAILED;
	setting = setting_find(c, a.words[0], id);
	if (!setting)
		return CLI_FAILED;
	if (c->json)
		cli_print_json(setting, false);
	else
		printf("%s\n", json_text(setting, "value", ""));
	json_decref(setting);
	return cli_flush(c);
}

/* After a change of lists: who is away from where it would now belong, and stays there (decision 22). */
static void advise_off_preferred(struct cli *c, const char *name)
{
	static const char *const about_lists[] = {"host", "indirect.agent.lb.algorithm",
						  "indirect.agent.lb.check.interval"};
	json_t *answer, *status, *hosts, *h;
	int64_t n;
	bool matters = false, stay;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(about_lists); i++)
		matters = matters || str_equal(name, about_lists[i]);
	answer = matters && !c->json ? cli_ask(c, "getMusterStatus", NULL) : NULL;
	if (!answer)
		return;
	status = json_object_get(answer, "musterstatus");
	stay = !json_number(status, "interval", 0) || json_flag(json_object_get(status, "freeze"), "frozen", false);
	n = json_number(status, "offpreferred", 0);
	hosts = stay ? cli_list(c, "listHosts", "host", NULL) : NULL;
	if (!hosts) {
		json_decref(answer);
		return;
	}
	/* The new lists are still on their way: what counts is the one each should have. Shuffle draws its own. */
	if (json_array_size(hosts) && json_object_get(json_array_get(hosts, 0), "musterexpected"))
		n = 0;
	json_array_foreach (hosts, i, h) {
		const char *first = json_string_value(json_array_get(json_object_get(h, "musterexpected"), 0));
		const char *connected = json_text(h, "musterconnected", NULL);

		n += first && connected && !str_equal(first, connected);
	}
	json_decref(hosts);
	if (n)
		print_off_preferred(c, stderr, n, status);
	json_decref(answer);
}

static int print_changed(struct cli *c, const json_t *answer, const char *name, const char *before)
{
	const json_t *setting = json_object_get(answer, "configuration");
	const char *value = json_text(setting, "value", "");
	char pins[FORMAT_MAX];

	if (c->json) {
		cli_print_json(setting, false);
		return cli_flush(c);
	}
	if (before && !str_equal(before, value))
		printf("%s = %s (was %s)\n", name, *value ? value : "not set", *before ? before : "not set");
	else
		printf("%s = %s (as before)\n", name, *value ? value : "not set");
	if (json_number(setting, "musterpinsdropped", 0))
		printf("%s ended with the servers that are in no list any more.\n",
		       format_count(pins, json_number(setting, "musterpinsdropped", 0), "pin"));
	if (!json_flag(setting, "isdynamic", true))
		cli_advise(c, "It takes effect when each management server is started again.");
	advise_off_preferred(c, name);
	return cli_flush(c);
}

static int change(struct cli *c, const char *command, const char *name, const char *value, const char *cluster)
{
	CLEAN(mem_freep) char *id = NULL;
	json_t *before, *answer;
	int exit_code;

	if (!cluster_find(c, cluster, &id))
		return CLI_FAILED;
	before = setting_find(c, name, id);
	if (!before)
		return CLI_FAILED;
	answer = cli_ask(c, command, API_ARGS({"name", name}, {"value", value}, {"clusterid", id}));
	exit_code = answer ? print_changed(c, answer, name, json_text(before, "value", "")) : CLI_FAILED;
	json_decref(before);
	json_decref(answer);
	return exit_code;
}

/* What it would do is shown and asked about; exit code. */
static int show_first(struct cli *c, const struct confirm *f, const char *name, const char *value, const char *cluster)
{
	int exit_code = confirm_check(c, f);

	if (!exit_code && f->plan && !effect_has_setting(name))
		exit_code = cli_misuse(c, "--plan knows the effect of host and indirect.agent.lb.algorithm only");
	if (!exit_code && f->plan && cluster)
		exit_code = cli_misuse(c, "%s is no setting of a cluster of hosts", name);
	if (!exit_code && f->plan)
		exit_code = effect_of_setting(c, name, value);
	if (!exit_code && str_equal(name, "host"))
		advise_unregistered(c, value);
	return exit_code ? exit_code : confirm_ask(c, f);
}

int cmd_config_set(struct cli *c, int argc, char **argv)
{
	struct confirm confirm = {0};
	const char *cluster = NULL, *value;
	const struct arg_option options[] = {CLUSTER_OPTION(cluster), CONFIRM_OPTIONS(confirm)};
	struct args a = {
		.synopsis = "NAME VALUE",
		.about =
			"Changes a setting of the cluster. It is checked, stored, and in force on every server at once; what is\n"
			"refused changes nothing. NAME=VALUE works too. --plan knows host and indirect.agent.lb.algorithm.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.min = 1,
		.max = 2,
	};
	char *equals;
	int exit_code;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	equals = a.n == 2 ? NULL : strchr(a.words[0], '=');
	if (a.n != 2 && !equals)
		return cli_misuse(c, "what should %s be? %s NAME VALUE", a.words[0], c->path);
	if (equals)
		*equals = '\0';
	value = equals ? equals + 1 : a.words[1];
	exit_code = show_first(c, &confirm, a.words[0], value, cluster);
	return exit_code ? exit_code : change(c, "updateConfiguration", a.words[0], value, cluster);
}

int cmd_config_reset(struct cli *c, int argc, char **argv)
{
	const char *cluster = NULL;
	const struct arg_option options[] = {CLUSTER_OPTION(cluster)};
	struct args a = {
		.synopsis = "NAME",
		.about = "Gives a setting its default again, or a cluster the value that all have.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.min = 1,
		.max = 1,
	};

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	return change(c, "resetConfiguration", a.words[0], NULL, cluster);
}
