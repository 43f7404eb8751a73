/*
 * muster explain: why a host is where it is, entry by entry of its list, when it looks again and what would move it.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/cluster.h"
#include "cli/format.h"
#include "cli/table.h"

#define INDENT 14     /* of what stands behind a title */
#define WIDE 100      /* columns that everything fits in */
#define NARROWEST 40u /* below it nothing is broken into lines */

/* Goes on below at a blank where the terminal ends; elsewhere a line is a line. */
static void print_text(const struct cli *c, size_t column, size_t indent, const char *text)
{
	size_t width = c->width > NARROWEST ? c->width : SIZE_MAX;

	while (*text) {
		size_t n = strcspn(text, " ");

		if (column > indent && column + 1 + n > width) {
			printf("\n%*s", (int)indent, "");
			column = indent;
		} else if (column > indent) {
			printf(" ");
			column++;
		}
		printf("%.*s", (int)n, text);
		column += n;
		text += n;
		text += strspn(text, " ");
	}
	printf("\n");
}

static void print_titled(const struct cli *c, const char *title, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void print_titled(const struct cli *c, const char *title, const char *format, ...)
{
	va_list ap, copy;
	char *text;
	int n;

	va_start(ap, format);
	va_copy(copy, ap);
	n = vsnprintf(NULL, 0, format, copy);
	va_end(copy);
	text = or_die(mem_zalloc((size_t)n + 1));
	vsnprintf(text, (size_t)n + 1, format, ap);
	va_end(ap);
	if (*text) {
		printf("%-*s", INDENT, title);
		print_text(c, INDENT, INDENT, format_printable(text));
	}
	mem_free(text);
}

static enum tint verdict_tint(const char *verdict)
{
	static const char *const fine[] = {"could", "spare", "next", "home"};

	if (str_starts(verdict, "connected"))
		return TINT_GOOD;
	for (size_t i = 0; i < ARRAY_SIZE(fine); i++)
		if (str_starts(verdict, fine[i]))
			return TINT_NONE;
	return TINT_CAREFUL;
}

static void print_verdict(struct table *t, const json_t *v, bool is_wide)
{
	const char *verdict = json_text(v, "verdict", ""), *state = json_text(v, "state", "");
	const char *but = !str_equal(state, "Up")            ? ""
			  : !json_flag(v, "heard", true)     ? ", not heard"
			  : !json_flag(v, "accepting", true) ? ", takes none"
							     : "";
	int64_t uptime = json_number(v, "uptime", -1);
	char span[FORMAT_MAX];

	table_row(t);
	table_cell(t, TINT_STRONG, "%s", json_text(v, "entry", ""));
	table_cell(t, TINT_NONE, "%s", json_text(v, "server", ""));
	table_cell(t, *but ? TINT_CAREFUL : server_tint(state), "%s%s", state, but);
	if (is_wide) {
		table_cell(t, TINT_NONE, "%s", uptime >= 0 ? format_seconds(span, uptime) : "");
		if (json_object_get(v, "agents"))
			table_cell(t, TINT_NONE, "%" JSON_INTEGER_FORMAT, (json_int_t)json_number(v, "agents", 0));
		else
			table_cell(t, TINT_NONE, "%s", "");
	}
	table_cell(t, verdict_tint(verdict), "%s", verdict);
	table_cell(t, TINT_NONE, "%s", json_text(v, "sentence", ""));
}

static void print_verdicts(const struct cli *c, const json_t *verdicts)
{
	static const struct table_column wide[] = {{"ENTRY", 0},       {"SERVER", 0},           {"STATE", 0},
						   {"UP FOR", 0},      {"AGENTS", TABLE_RIGHT}, {"VERDICT", 0},
						   {"WHY", TABLE_WRAP}};
	static const struct table_column narrow[] = {
		{"ENTRY", 0}, {"SERVER", 0}, {"STATE", 0}, {"VERDICT", 0}, {"WHY", TABLE_WRAP}};
	bool is_wide = !c->width || c->width >= WIDE;
	struct table *t = table_new(c, is_wide ? wide : narrow, is_wide ? ARRAY_SIZE(wide) : ARRAY_SIZE(narrow));
	size_t i;
	json_t *v;

	json_array_foreach (verdicts, i, v) {
		print_verdict(t, v, is_wide);
	}
	table_print(t);
	table_free(t);
}

static void print_moves(const struct cli *c, const json_t *moves)
{
	size_t i;
	json_t *m;

	json_array_foreach (moves, i, m) {
		if (json_is_string(m))
			print_titled(c, i ? "" : "Moved by", "%s", json_string_value(m));
	}
}

/* What the agent itself adds. */
static void print_agent(const struct cli *c, const json_t *e)
{
	const json_t *agent = json_object_get(e, "agent"), *move = json_object_get(agent, "move");
	const char *unasked = json_text(e, "agentunasked", NULL), *to = json_text(move, "to", NULL);
	char *avoid = json_joined(json_object_get(agent, "avoid"), ", ");
	char span[FORMAT_MAX];

	if (!agent)
		print_titled(c, "Agent", "%s", unasked ? unasked : "");
	else
		print_titled(c, "Agent", "answered: %s for %s%s%s%s%s%s%s%s", json_text(agent, "state", "?"),
			     format_seconds(span, json_number(agent, "state_for_s", 0)), *avoid ? "; avoids " : "",
			     avoid, json_text(move, "for", NULL) ? "; another link under way, for: " : "",
			     json_text(move, "for", ""), to ? ", to " : "", to ? to : "",
			     json_flag(agent, "on_fallback", false) ? "; tries older lists too" : "");
	mem_free(avoid);
}

static void print_explained(const struct cli *c, const json_t *e)
{
	char *status = host_status_text(e), *why = text_or_die("%s", json_text(e, "why", ""));

	print_text(c, 0, 0, format_printable(why));
	printf("\n");
	print_verdicts(c, json_object_get(e, "verdicts"));
	printf("\n");
	print_titled(c, "Looks again", "%s", json_text(e, "nextlook", ""));
	print_moves(c, json_object_get(e, "moves"));
	print_titled(c, "Its list", "%s %s",
		     json_flag(e, "musteroutdated", false) ? "is outdated, a newer one is on its way." : "is current.",
		     json_text(e, "listreason", ""));
	print_agent(c, e);
	print_titled(c, "Host", "%" JSON_INTEGER_FORMAT ", %s, %s", (json_int_t)host_number(e),
		     json_text(e, "name", "?"), status);
	mem_free(status);
	mem_free(why);
}

int cmd_explain(struct cli *c, int argc, char **argv)
{
	struct args a = {
		.synopsis = "HOST",
		.about =
			"Shows in one sentence why a host's agent is where it is, then for each server of its list what holds for it,\n"
			"when the agent looks again for its preferred server, and what would move it. The agent itself is asked, for at\n"
			"most 3 seconds; one that can't be asked (CloudStack's, an older one, one without a link) is seen with the\n"
			"servers' eyes. HOST is a name, the number that `muster hosts` shows, a UUID or a guid.\n"
			"The exit status says whether the question was answered; --json has `onpreferred` for programs.",
		.min = 1,
		.max = 1,
	};
	json_t *answer, *explained;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	answer = cli_ask_as(c, "explainHost", API_ARGS({"id", a.words[0]}), "Parameter id: nothing has the id",
			    "there is no host");
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
