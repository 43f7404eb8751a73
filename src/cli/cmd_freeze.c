/*
 * muster freeze and thaw: nobody moves who need not, for as long as an incident lasts.
 */
#include <inttypes.h>

#include "base/mem.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/cluster.h"
#include "cli/format.h"

static int answer_with(struct cli *c, json_t *take_answer, const char *member,
		       void (*print)(const struct cli *c, const json_t *freeze))
{
	const json_t *freeze = json_object_get(take_answer, member);

	if (c->json)
		cli_print_json(freeze, false);
	else
		print(c, freeze);
	json_decref(take_answer);
	return cli_flush(c);
}

static void print_frozen(const struct cli *c, const json_t *freeze)
{
	char agents[FORMAT_MAX];

	printf("Moves are frozen, everywhere: no agent goes home, to a new preferred server or where rebalance would have it.\n"
	       "Agents still leave a server that dies, and one that is drained.\n");
	if (json_number(freeze, "kept", 0))
		printf("%s could go to the preferred server now and will not.\n",
		       format_count(agents, json_number(freeze, "kept", 0), "agent"));
	cli_advise(c, "`muster thaw` ends it, `muster status` shows it.");
}

static void print_thawed(const struct cli *c, const json_t *freeze)
{
	char time[FORMAT_MAX];

	printf("Moves are thawed, after %s: agents go to their preferred servers at the usual pace, each within its check\n"
	       "interval.\n",
	       format_seconds(time, json_number(freeze, "seconds", 0)));
}

int cmd_freeze(struct cli *c, int argc, char **argv)
{
	const char *reason = NULL;
	const struct arg_option options[] = {
		{.name = "--reason", .value = "TEXT", .text = &reason, .help = "why: shown to everybody who asks"},
	};
	struct args a = {
		.about =
			"Stops all moves that are not needed, on all servers, until `muster thaw`: no agent returns to its preferred\n"
			"server, none follows a new list, and rebalance is refused. Agents still leave a server that dies, and one that\n"
			"is drained or stopped.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
	};
	json_t *answer;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	answer = cli_ask_as(c, "freezeHosts", API_ARGS({"reason", reason}), "reason", "--reason");
	return answer ? answer_with(c, answer, "freezehosts", print_frozen) : CLI_FAILED;
}

int cmd_thaw(struct cli *c, int argc, char **argv)
{
	struct args a = {
		.about =
			"Ends `muster freeze`: agents look for their preferred servers again, each at a random moment within its check\n"
			"interval, and are let in at the pace of agent.failback.rate.",
	};
	json_t *answer;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	answer = cli_ask(c, "thawHosts", NULL);
	return answer ? answer_with(c, answer, "thawhosts", print_thawed) : CLI_FAILED;
}
