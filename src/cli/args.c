#include "cli/args.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/format.h"

#define COMMON_MAX 4

/* Options that every command has; they write into `c`. */
static void common_options(struct arg_option out[COMMON_MAX], struct cli *c)
{
	out[0] = (struct arg_option){
		.name = "--socket",
		.value = "PATH",
		.text = &c->socket,
		.help = "local socket of a server; default: $MUSTER_SOCKET, then /run/muster/muster.sock"};
	out[1] = (struct arg_option){.name = "--url",
				     .value = "URL",
				     .text = &c->url,
				     .help = "query API of a server instead, with keys; default: $MUSTER_URL"};
	out[2] = (struct arg_option){.name = "--api-key-file",
				     .value = "FILE",
				     .text = &c->key_file,
				     .help = "keys for --url, as `muster account create` writes them"};
	out[3] = (struct arg_option){.name = "--json", .flag = &c->json, .help = "print JSON"};
}

static const struct arg_option *option_find(const struct arg_option *options, size_t n, const char *word, size_t len)
{
	for (size_t i = 0; i < n; i++) {
		if (strlen(options[i].name) == len && strncmp(options[i].name, word, len) == 0)
			return &options[i];
	}
	return NULL;
}

static bool number_set(const struct cli *c, const struct arg_option *o, const char *value)
{
	int64_t *out = o->number ? o->number : o->seconds;
	bool ok;

	assert(out); /* each row says where its value goes */
	ok = o->number ? str_to_i64(value, out) : str_to_seconds(value, out);
	if (!ok) {
		cli_misuse(c, "%s \"%s\" is not a %s", o->name, value,
			   o->number ? "number" : "duration such as 90, 15m, 2h or 7d");
		return false;
	}
	if (*out < o->min || *out > o->max) {
		cli_misuse(c, "%s %s is not between %" PRId64 " and %" PRId64, o->name, value, o->min, o->max);
		return false;
	}
	return true;
}

static bool value_set(const struct cli *c, const struct arg_option *o, const char *value)
{
	if (o->text) {
		*o->text = value;
		return true;
	}
	return number_set(c, o, value);
}

/* One option at the front of argv: how many words it took, or ARGS_... */
static int option_take(struct cli *c, const struct args *a, int argc, char **argv)
{
	struct arg_option common[COMMON_MAX];
	const char *word = argv[0];
	const char *equals = strchr(word, '=');
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	const struct arg_option *o;

	if (str_equal(word, "-h") || str_equal(word, "--help"))
		return ARGS_HELP;
	common_options(common, c);
	o = option_find(common, COMMON_MAX, word, len);
	if (!o && a)
		o = option_find(a->options, a->n_options, word, len);
	if (!o) {
		cli_misuse(c, "there is no option %.*s", (int)len, word);
		return ARGS_MISTAKE;
	}
	if (o->flag) {
		if (equals) {
			cli_misuse(c, "%s takes no value", o->name);
			return ARGS_MISTAKE;
		}
		*o->flag = true;
		return 1;
	}
	if (equals)
		return value_set(c, o, equals + 1) ? 1 : ARGS_MISTAKE;
	if (argc < 2) {
		cli_misuse(c, "%s wants a value: %s %s", o->name, o->name, o->value);
		return ARGS_MISTAKE;
	}
	return value_set(c, o, argv[1]) ? 2 : ARGS_MISTAKE;
}

/* "-" alone is a word (stdin), and so is a negative number. */
static bool is_option(const char *word)
{
	return word[0] == '-' && word[1] && !(word[1] >= '0' && word[1] <= '9');
}

int args_parse_common(struct cli *c, int argc, char **argv)
{
	int at = 0;

	while (at < argc && is_option(argv[at])) {
		int took = option_take(c, NULL, argc - at, argv + at);

		if (took < 0)
			return took;
		at += took;
	}
	return at;
}

static void options_print(const struct arg_option *options, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char left[40];

		snprintf(left, sizeof(left), "%s%s%s", options[i].name, options[i].value ? " " : "",
			 options[i].value ? options[i].value : "");
		printf("  %-22s %s\n", left, options[i].help);
	}
}

void args_help_common(void)
{
	struct cli nobody = {0};
	struct arg_option common[COMMON_MAX];

	common_options(common, &nobody);
	options_print(common, COMMON_MAX);
	printf("  %-22s %s\n", "-h, --help", "this help");
}

void args_help(const struct cli *c, const struct args *a)
{
	const char *synopsis = a->synopsis ? a->synopsis : "";

	printf("usage: %s%s%s%s\n", c->path, a->n_options ? " [options]" : "", *synopsis ? " " : "", synopsis);
	if (a->about)
		printf("\n%s\n", a->about);
	printf("\n");
	if (a->n_options) {
		options_print(a->options, a->n_options);
		printf("\n");
	}
	args_help_common();
}

static bool stop(struct args *a, int exit_code)
{
	a->exit_code = exit_code;
	return false;
}

bool args_parse(struct cli *c, struct args *a, int argc, char **argv)
{
	bool is_open = true; /* no "--" yet */

	a->words = argv;
	a->n = 0;
	for (int at = 0; at < argc;) {
		int took = 1;

		if (is_open && str_equal(argv[at], "--")) {
			is_open = false;
		} else if (is_open && is_option(argv[at])) {
			took = option_take(c, a, argc - at, argv + at);
			if (took == ARGS_HELP) {
				args_help(c, a);
				return stop(a, cli_flush(c));
			}
			if (took < 0)
				return stop(a, CLI_USAGE);
		} else {
			a->words[a->n++] = argv[at]; /* never ahead of `at` */
		}
		at += took;
	}
	if (a->n < a->min)
		return stop(a, cli_misuse(c, "something is missing: %s %s", c->path, a->synopsis ? a->synopsis : ""));
	if (a->n > a->max)
		return stop(a, cli_misuse(c, "\"%s\" is one word too many", a->words[a->max]));
	return true;
}
