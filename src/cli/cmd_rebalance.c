/*
 * muster rebalance: everybody to their preferred server, now.
 */
#include "base/mem.h"
#include "cli/api.h"
#include "cli/args.h"

int cmd_rebalance(struct cli *c, int argc, char **argv)
{
	bool rerank = false;
	const struct arg_option options[] = {
		{.name = "--rerank",
		 .flag = &rerank,
		 .help = "first count the hosts anew for roundrobin; balanced: design the placement anew"},
	};
	struct args a = {
		.about = "Tells every agent to look for its preferred server now, whatever the check interval is.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
	};
	json_t *answer;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	answer = cli_ask(c, "rebalanceHosts", API_ARGS({"rerank", rerank ? "true" : NULL}));
	if (!answer)
		return CLI_FAILED;
	if (c->json)
		cli_print_json(answer, false);
	else
		printf("The agents are told to go to their preferred servers; `muster hosts` shows them arrive.\n");
	json_decref(answer);
	return cli_flush(c);
}
