/*
 * muster server: what can be done with one management server. Its token is in cmd_token.c.
 */
#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/format.h"

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
