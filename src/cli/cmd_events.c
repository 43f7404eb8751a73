/*
 * muster events: what happened, the newest at the bottom, where the eye is.
 */
#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/format.h"
#include "cli/table.h"

static enum tint level_tint(const char *level)
{
	if (str_equal(level, "ERROR"))
		return TINT_BAD;
	return str_equal(level, "WARN") ? TINT_CAREFUL : TINT_NONE;
}

/* The API gives the newest first. */
static void print_table(const struct cli *c, const json_t *events)
{
	static const struct table_column columns[] = {{"WHEN", 0}, {"LEVEL", 0}, {"TYPE", 0}, {"WHAT", TABLE_WRAP}};
	struct table *t = table_new(c, columns, ARRAY_SIZE(columns));

	for (size_t i = json_array_size(events); i-- > 0;) {
		const json_t *e = json_array_get(events, i);
		const char *level = json_text(e, "level", "");
		char date[FORMAT_MAX];

		table_row(t);
		table_cell(t, TINT_FAINT, "%s", format_date(date, json_text(e, "created", "")));
		table_cell(t, level_tint(level), "%s", level);
		table_cell(t, TINT_NONE, "%s", json_text(e, "type", ""));
		table_cell(t, TINT_NONE, "%s", json_text(e, "description", ""));
	}
	table_print(t);
	table_free(t);
}

int cmd_events(struct cli *c, int argc, char **argv)
{
	int64_t n = 50;
	const char *type = NULL, *level = NULL, *keyword = NULL;
	const struct arg_option options[] = {
		{.name = "-n",
		 .value = "N",
		 .number = &n,
		 .min = 1,
		 .max = 500,
		 .help = "how many of the newest; default: 50"},
		{.name = "--type", .value = "TYPE", .text = &type, .help = "only those of that type"},
		{.name = "--level", .value = "LEVEL", .text = &level, .help = "only INFO, WARN or ERROR"},
		{.name = "--keyword",
		 .value = "TEXT",
		 .text = &keyword,
		 .help = "only those with the text in type, level or description"},
	};
	struct args a = {
		.about = "Shows what happened, the newest last (with --json the newest first, as the API gives them).",
		.options = options,
		.n_options = ARRAY_SIZE(options),
	};
	char size[24];
	json_t *answer, *events, *listing;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	snprintf(size, sizeof(size), "%" JSON_INTEGER_FORMAT, (json_int_t)n);
	answer = cli_ask(c, "listEvents",
			 API_ARGS({"listall", "true"}, {"page", "1"}, {"pagesize", size}, {"type", type},
				  {"level", level}, {"keyword", keyword}));
	if (!answer)
		return CLI_FAILED;
	events = json_object_get(answer, "event");
	if (c->json) {
		listing = json_listing("event", events ? json_incref(events) : or_die(json_array()));
		cli_print_json(listing, false);
		json_decref(listing);
	} else if (json_array_size(events)) {
		print_table(c, events);
	} else {
		cli_advise(c, "Nothing like that has happened.");
	}
	json_decref(answer);
	return cli_flush(c);
}
