/*
 * muster explain: why a host is where it is, entry by entry of its list.
 */
#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/cluster.h"
#include "cli/format.h"
#include "cli/table.h"

static enum tint verdict_tint(const char *verdict)
{
	if (str_starts(verdict, "connected"))
		return TINT_GOOD;
	return str_starts(verdict, "could") ? TINT_NONE : TINT_CAREFUL;
}

static void print_verdicts(const struct cli *c, const json_t *verdicts)
{
	static const struct table_column columns[] = {
		{"ENTRY", 0}, {"SERVER", 0}, {"STATE", 0}, {"VERDICT", 0}, {"WHY", TABLE_WRAP}};
	struct table *t = table_new(c, columns, ARRAY_SIZE(columns));
	size_t i;
	json_t *v;

	json_array_foreach (verdicts, i, v) {
		const char *verdict = json_text(v, "verdict", ""), *state = json_text(v, "state", "");

		table_row(t);
		table_cell(t, TINT_STRONG, "%s", json_text(v, "entry", ""));
		table_cell(t, TINT_NONE, "%s", json_text(v, "server", ""));
		table_cell(t, str_equal(state, "Up") ? TINT_GOOD : TINT_BAD, "%s", state);
		table_cell(t, verdict_tint(verdict), "%s", verdict);
		table_cell(t, TINT_NONE, "%s", json_text(v, "sentence", ""));
	}
	table_print(t);
	table_free(t);
}

static void print_sentence(const json_t *explained, const char *member)
{
	char *text = text_or_die("%s", json_text(explained, member, ""));

	if (*text)
		printf("%s\n", format_printable(text));
	mem_free(text);
}

static void print_explained(const struct cli *c, const json_t *e)
{
	char *status = host_status_text(e), *name = text_or_die("%s", json_text(e, "name", "?"));
	char *algorithm = text_or_die("%s", json_text(e, "musteralgorithm", "none"));

	printf("%s (host %" JSON_INTEGER_FORMAT ") is %s%s%s. Algorithm: %s. Its list is %s.\n\n",
	       format_printable(name), (json_int_t)host_number(e), tint_on(c, host_tint(e)), status, tint_off(c),
	       format_printable(algorithm),
	       json_flag(e, "musteroutdated", false) ? "outdated: a newer one is on its way" : "current");
	print_verdicts(c, json_object_get(e, "verdicts"));
	printf("\n");
	print_sentence(e, "why");
	print_sentence(e, "nextlook");
	mem_free(status);
	mem_free(name);
	mem_free(algorithm);
}

int cmd_explain(struct cli *c, int argc, char **argv)
{
	struct args a = {
		.synopsis = "HOST",
		.about =
			"Shows for each server of a host's list whether the agent is there, could go there, or avoids it, and why it is\n"
			"where it is. HOST is a name, the number that `muster hosts` shows, or a UUID. What the agent itself knows:\n"
			"muster-agent explain, on the host.",
		.min = 1,
		.max = 1,
	};
	json_t *answer, *explained;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	answer = cli_ask(c, "explainHost", API_ARGS({"id", a.words[0]}));
	if (!answer)
		return CLI_FAILED;
	explained = json_object_get(answer, "explainhost");
	if (c->json)
		cli_print_json(explained, false);
	else
		print_explained(c, explained);
	json_decref(answer);
	return cli_flush(c);
}
