/*
 * muster server: what can be done with one management server. Its token is in cmd_token.c.
 */
#include <stdio.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/confirm.h"
#include "cli/effect.h"
#include "cli/format.h"
#include "core/balanced.h"

static void print_settings(const json_t *o)
{
	int64_t moves = json_number(o, "moves", 0);
	const char *name = json_text(o, "name", "?"), *zone = json_text(o, "zone", NULL);
	char hosts[FORMAT_MAX];

	printf("%s has weight %" JSON_INTEGER_FORMAT " and %s%s.\n", name, (json_int_t)json_number(o, "weight", 1),
	       zone ? "zone " : "no zone", zone ? zone : "");
	if (!json_flag(o, "inlist", true))
		printf("It is in no list; this holds as soon as the setting host names %s.\n", name);
	if (!str_equal(json_text(o, "algorithm", ""), "balanced"))
		printf("Weights and zones have no effect until indirect.agent.lb.algorithm is balanced; it is %s.\n",
		       json_text(o, "algorithm", "?"));
	else if (moves)
		printf("%s %s another server now.\n", format_count(hosts, moves, "host"),
		       moves == 1 ? "prefers" : "prefer");
	else
		printf("All hosts prefer the servers that they did.\n");
}

static int ask_to_set(struct cli *c, const struct effect_server *w)
{
	char weight[24];
	json_t *answer;

	snprintf(weight, sizeof(weight), "%" JSON_INTEGER_FORMAT, (json_int_t)w->weight);
	answer =
		cli_ask(c, "setListServer",
			API_ARGS({"server", w->server}, {"weight", w->weight >= 0 ? weight : NULL}, {"zone", w->zone}));
	if (!answer)
		return CLI_FAILED;
	if (c->json)
		cli_print_json(json_object_get(answer, "setlistserver"), false);
	else
		print_settings(json_object_get(answer, "setlistserver"));
	json_decref(answer);
	return cli_flush(c);
}

int cmd_server_set(struct cli *c, int argc, char **argv)
{
	struct effect_server w = {.weight = -1};
	struct confirm confirm = {0};
	const struct arg_option options[] = {
		{.name = "--weight",
		 .value = "N",
		 .number = &w.weight,
		 .min = 0,
		 .max = BALANCED_WEIGHT_MAX,
		 .help = "its share of the hosts, 0 to 1000; all begin with 1; 0: a last resort"},
		{.name = "--zone",
		 .value = "ZONE",
		 .text = &w.zone,
		 .help = "name or id of its zone, whose hosts have it first; none: no zone"},
		CONFIRM_OPTIONS(confirm),
	};
	struct args a = {
		.synopsis = "SERVER",
		.about =
			"Sets weight and zone of a server in the lists of the agents. Only the algorithm balanced heeds them.\n"
			"SERVER is its name, its UUID, or an entry of the setting host.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.min = 1,
		.max = 1,
	};
	int exit_code;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	w.server = a.words[0];
	if (w.weight < 0 && !w.zone)
		return cli_misuse(c, "nothing to set: give --weight, --zone or both");
	exit_code = confirm_check(c, &confirm);
	if (!exit_code && confirm.plan)
		exit_code = effect_of_server(c, &w);
	if (!exit_code)
		exit_code = confirm_ask(c, &confirm);
	return exit_code ? exit_code : ask_to_set(c, &w);
}

int cmd_server_rm(struct cli *c, int argc, char **argv)
{
	struct args a = {
		.synopsis = "SERVER",
		.about =
			"Forgets a management server that is down and will not come back: it leaves the list of the agents if host\n"
			"is not set. SERVER is its name or its UUID.",
		.min = 1,
		.max = 1,
	};
	CLEAN(mem_freep) char *id = NULL;
	json_t *servers, *answer, *s;
	size_t i;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	servers = cli_list(c, "listManagementServers", "managementserver", NULL);
	if (!servers)
		return CLI_FAILED;
	json_array_foreach (servers, i, s) {
		if (!id && str_equal(json_text(s, "name", NULL), a.words[0]))
			id = text_or_die("%s", json_text(s, "id", ""));
	}
	json_decref(servers);
	answer = cli_ask(c, "removeManagementServer", API_ARGS({"id", id ? id : a.words[0]}));
	if (!answer)
		return CLI_FAILED;
	if (c->json)
		cli_print_json(answer, false);
	else
		printf("%s is forgotten.\n", a.words[0]);
	json_decref(answer);
	return cli_flush(c);
}
