/*
 * muster api: any command of the query API, as it is.
 *
 * The name is the exact one (listHosts) or CloudMonkey's words (list hosts). key=value pairs follow; key=@file takes a
 * file's content, so that a certificate or a secret need not stand on the command line.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/format.h"

#define PAIRS_MAX 128
#define FILE_MAX_BYTES (1024 * 1024)

struct pairs {
	struct api_arg items[PAIRS_MAX + 1];
	char *files[PAIRS_MAX]; /* owned: contents of files */
	size_t n, n_files;
};

static void pairs_deinit(struct pairs *p)
{
	for (size_t i = 0; i < p->n_files; i++)
		mem_free(p->files[i]);
}

/* false after a sentence */
static bool take_file(struct cli *c, struct pairs *p, const char *path, const char **value)
{
	struct buf text = {0};
	struct why why = WHY_NONE;
	enum err e = file_read_any(path, FILE_MAX_BYTES, &text, &why);

	if (e) {
		cli_fail(c, "%s", why_text(&why, e));
		return false;
	}
	p->files[p->n_files] = or_die(buf_take_str(&text));
	*value = p->files[p->n_files++];
	return true;
}

static bool take_pair(struct cli *c, struct pairs *p, char *word)
{
	char *equals = strchr(word, '=');
	const char *value;

	if (!equals || equals == word) {
		cli_misuse(c, "\"%s\" is not key=value", word);
		return false;
	}
	if (p->n == PAIRS_MAX) {
		cli_misuse(c, "more than %d parameters", PAIRS_MAX);
		return false;
	}
	*equals = '\0';
	value = equals + 1;
	if (value[0] == '@' && !take_file(c, p, value + 1, &value))
		return false;
	p->items[p->n++] = (struct api_arg){word, value};
	return true;
}

/* The words before the first pair, without blanks: "list hosts" is listhosts. */
static char *joined_name(char **words, size_t n)
{
	char *name = text_or_die("%s", "");

	for (size_t i = 0; i < n; i++) {
		char *longer = text_or_die("%s%s", name, words[i]);

		mem_free(name);
		name = longer;
	}
	return name;
}

struct found {
	char *name;
	bool is_async;
};

/* How the server spells it. Commands it does not list (login) go out as they were typed. False after a sentence. */
static bool find_command(struct cli *c, const char *typed, struct found *out)
{
	json_t *apis = cli_list(c, "listApis", "api", API_ARGS({"listall", "true"})), *api;
	size_t i;

	if (!apis)
		return false;
	json_array_foreach (apis, i, api) {
		const char *name = json_text(api, "name", "");

		if (!out->name && strcasecmp(name, typed) == 0) {
			out->name = text_or_die("%s", name);
			out->is_async = json_flag(api, "isasync", false);
		}
	}
	json_decref(apis);
	if (!out->name)
		out->name = text_or_die("%s", typed);
	return true;
}

static int send_command(struct cli *c, const struct found *found, const struct pairs *p, bool wait)
{
	json_t *answer = found->is_async ? cli_job(c, found->name, p->items, wait) : cli_ask(c, found->name, p->items);

	if (!answer)
		return CLI_FAILED;
	cli_print_json(answer, false);
	json_decref(answer);
	return cli_flush(c);
}

int cmd_api(struct cli *c, int argc, char **argv)
{
	bool no_wait = false;
	const struct arg_option options[] = {
		{.name = "--no-wait",
		 .flag = &no_wait,
		 .help = "print the id of an asynchronous job instead of its result"},
	};
	struct args a = {
		.synopsis = "COMMAND [key=value ...]",
		.about =
			"Sends a command to the query API and prints what it answers as JSON, without the wrapper. COMMAND is the\n"
			"exact name (listHosts) or words (list hosts); key=@FILE takes the value from a file. All commands:\n"
			"  muster api listApis",
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.min = 1,
		.max = PAIRS_MAX + 4,
	};
	struct pairs p = {.n = 0};
	struct found found = {NULL, false};
	CLEAN(mem_freep) char *typed = NULL;
	size_t n_words = 0;
	int exit_code = CLI_USAGE;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	while (n_words < a.n && !strchr(a.words[n_words], '='))
		n_words++;
	if (!n_words)
		return cli_misuse(c, "the command comes before the parameters: %s %s", c->path, a.synopsis);
	typed = joined_name(a.words, n_words);
	for (size_t i = n_words; i < a.n; i++) {
		if (!take_pair(c, &p, a.words[i])) {
			pairs_deinit(&p);
			return exit_code;
		}
	}
	c->wants_codes = true;
	exit_code = find_command(c, typed, &found) ? send_command(c, &found, &p, !no_wait) : CLI_FAILED;
	mem_free(found.name);
	pairs_deinit(&p);
	return exit_code;
}
