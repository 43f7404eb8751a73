/*
 * Finds the command, runs it, ends.
 */
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/cli.h"

#define WIDTH_MIN 40

static void look_at_terminal(struct cli *c)
{
	const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
	struct winsize size;

	c->is_terminal = isatty(STDOUT_FILENO);
	if (!c->is_terminal)
		return;
	c->has_colour = !(no_colour && *no_colour) && term && !str_equal(term, "dumb");
	c->width = 80;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col)
		c->width = size.ws_col < WIDTH_MIN ? WIDTH_MIN : size.ws_col;
}

static const struct command *command_find(const struct command *table, const char *name)
{
	for (; table->name; table++) {
		if (str_equal(table->name, name))
			return table;
	}
	return NULL;
}

static void list_commands(const struct command *table)
{
	for (; table->name; table++)
		printf("  %-15s %s\n", table->name, table->help);
}

static int help_group(const struct cli *c, const struct command *group)
{
	printf("usage: %s COMMAND ...\n\n%s\n\n", c->path, group->help);
	list_commands(group->subs);
	printf("\n%s COMMAND -h says more.\n", c->path);
	return cli_flush(c);
}

static int help_all(const struct cli *c)
{
	printf("usage: muster [options] COMMAND ...\n\n"
	       "muster keeps agents connected and evenly spread over several management servers.\n\n");
	list_commands(commands);
	printf("\nOptions, before or after the command:\n");
	args_help_common();
	printf("\n`muster COMMAND -h` says more, and so does muster(1). A cluster to play with: muster demo\n");
	return cli_flush(c);
}

static int run(struct cli *c, int argc, char **argv);

/* "muster help host add" is "muster host add -h". */
int cmd_help(struct cli *c, int argc, char **argv)
{
	char *words[4] = {NULL};
	char help[] = "-h";
	int n = 0;

	while (n < argc && n < 2 && argv[n][0] != '-') {
		words[n] = argv[n];
		n++;
	}
	if (!n)
		return help_all(c);
	words[n++] = help;
	strcpy(c->path, "muster");
	return run(c, n, words);
}

int cmd_version(struct cli *c, int argc, char **argv)
{
	struct args a = {.about = "Prints the version of this program."};

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	if (c->json)
		printf("{\n  \"version\": \"%s\"\n}\n", MUSTER_VERSION);
	else
		printf("muster %s\n", MUSTER_VERSION);
	return cli_flush(c);
}

static int run_command(struct cli *c, const struct command *row, int argc, char **argv)
{
	const struct command *group = row;
	size_t len = strlen(c->path);
	int took;

	snprintf(c->path + len, sizeof(c->path) - len, " %s", row->name);
	if (row->run)
		return row->run(c, argc, argv);
	took = args_parse_common(c, argc, argv);
	if (took == ARGS_HELP)
		return help_group(c, group);
	if (took < 0)
		return CLI_USAGE;
	if (took == argc)
		return cli_misuse(c, "say what to do (%s)", group->help);
	row = command_find(group->subs, argv[took]);
	if (!row)
		return cli_misuse(c, "there is no command \"%s\"", argv[took]);
	return run_command(c, row, argc - took - 1, argv + took + 1);
}

static int run(struct cli *c, int argc, char **argv)
{
	const struct command *row;
	int took;

	if (argc && str_equal(argv[0], "--version"))
		return cmd_version(c, argc - 1, argv + 1);
	took = args_parse_common(c, argc, argv);
	if (took == ARGS_HELP)
		return help_all(c);
	if (took < 0)
		return CLI_USAGE;
	if (took == argc)
		return cli_misuse(c, "it wants a command, such as status, hosts, plan or demo");
	row = command_find(commands, argv[took]);
	if (!row)
		return cli_misuse(c, "there is no command \"%s\"", argv[took]);
	return run_command(c, row, argc - took - 1, argv + took + 1);
}

int main(int argc, char **argv)
{
	struct cli c = {.path = "muster"};
	int exit_code;

	setlocale(LC_ALL, "");
	setlocale(LC_NUMERIC, "C");
	if (!str_equal(nl_langinfo(CODESET), "UTF-8"))
		setlocale(LC_CTYPE, "C.UTF-8");
	/* A server that goes away while we write to it is an error with a sentence; so is a reader (cli_flush()). */
	signal(SIGPIPE, SIG_IGN);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	look_at_terminal(&c);
	exit_code = run(&c, argc - 1, argv + 1);
	if (c.api)
		api_free(c.api);
	curl_global_cleanup();
	if (exit_code == CLI_FAILED && c.is_misused)
		exit_code = CLI_USAGE;
	if (exit_code == CLI_OK)
		exit_code = cli_flush(&c);
	return exit_code;
}
