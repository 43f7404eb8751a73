/*
 * muster demo: the command line of demo.c.
 */
#include "base/mem.h"
#include "cli/args.h"
#include "cli/demo.h"

int cmd_demo(struct cli *c, int argc, char **argv)
{
	int64_t n_servers = 3, n_agents = 4;
	const char *algorithm = "roundrobin";
	struct demo_params p = {0};
	const struct arg_option options[] = {
		{.name = "--servers",
		 .value = "N",
		 .number = &n_servers,
		 .min = 2,
		 .max = DEMO_SERVERS_MAX,
		 .help = "how many management servers; default: 3"},
		{.name = "--agents",
		 .value = "N",
		 .number = &n_agents,
		 .min = 1,
		 .max = DEMO_AGENTS_MAX,
		 .help = "how many agents; default: 4"},
		{.name = "--algorithm",
		 .value = "NAME",
		 .text = &algorithm,
		 .help = "of the second phase; default: roundrobin"},
		{.name = "--dir", .value = "DIR", .text = &p.dir, .help = "use this new folder and keep it"},
		{.name = "--once", .flag = &p.once, .help = "end after the last phase; for scripts, with --json"},
	};
	struct args a = {
		.about =
			"Starts real management servers and agents on 127.0.0.1, 127.0.0.2 ... in a temporary folder and shows how\n"
			"the agents are spread, what happens when a server dies and comes back, and when a host is added. Then it\n"
			"stays open to play with; Ctrl-C ends all of it.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
	};

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	if (!algorithm_from_text(algorithm, &p.algorithm))
		return cli_misuse(c, "there is no algorithm \"%s\"; there are %s", algorithm, algorithm_choices());
	p.n_servers = (size_t)n_servers;
	p.n_agents = (size_t)n_agents;
	return demo_run(c, &p);
}
