#include "cli/confirm.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/str.h"

int confirm_check(const struct cli *c, const struct confirm *f)
{
	if (f->plan && c->json)
		return cli_misuse(c, "--plan shows its effect to people; `muster plan --json` is for programs");
	return CLI_OK;
}

int confirm_ask(const struct cli *c, const struct confirm *f)
{
	char answer[16];

	if (!f->plan)
		return CLI_OK;
	if (f->yes)
		printf("\n");
	fflush(stdout);
	if (f->yes)
		return CLI_OK;
	if (!isatty(STDIN_FILENO)) {
		cli_fail(c, "nothing is changed: there is no terminal to ask on; --yes goes on without asking");
		return CLI_USAGE;
	}
	fprintf(stderr, "\nGo on? [y/N] ");
	fflush(stderr);
	if (fgets(answer, sizeof(answer), stdin)) {
		answer[strcspn(answer, "\r\n")] = '\0';
		if (strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0)
			return CLI_OK;
	} else {
		fprintf(stderr, "\n");
	}
	return cli_fail(c, "nothing is changed");
}
