/*
 * muster host: what can be done with one host.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/cluster.h"
#include "cli/confirm.h"
#include "cli/effect.h"
#include "cli/format.h"
#include "cli/table.h"
#include "cli/token.h"

#define HOST_HELP "HOST is a name, the number that `muster hosts` shows, or a UUID."

static int say_done(struct cli *c, const json_t *answer, const char *done, const char *host)
{
	if (c->json) {
		cli_print_json(answer, false);
	} else {
		char *name = text_or_die("%s", host);

		printf("%s %s\n", format_printable(name), done);
		mem_free(name);
	}
	return cli_flush(c);
}

int cmd_host_add(struct cli *c, int argc, char **argv)
{
	const char *zone = NULL, *cluster = NULL;
	int64_t lifetime = 0;
	const struct arg_option options[] = {
		{.name = "--zone",
		 .value = "ZONE",
		 .text = &zone,
		 .help = "its zone (id or UUID); default: the first one"},
		{.name = "--cluster", .value = "NAME", .text = &cluster, .help = "its cluster, made when it is new"},
		{.name = "--lifetime",
		 .value = "TIME",
		 .seconds = &lifetime,
		 .min = 1,
		 .max = 31536000,
		 .help = "how long its token is valid: 90, 15m, 2h, 7d"},
	};
	struct args a = {
		.synopsis = "NAME [ADDRESS]",
		.about =
			"Reserves a place and a list for a host that is not there yet. Its join token stands alone on stdout.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.min = 1,
		.max = 2,
	};
	char lifetime_text[24];
	json_t *answer, *host, *token;
	char *url;
	int exit_code;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	snprintf(lifetime_text, sizeof(lifetime_text), "%" JSON_INTEGER_FORMAT, (json_int_t)lifetime);
	url = text_or_die("http://%s", a.words[a.n - 1]);
	answer = cli_ask(c, "addHost",
			 API_ARGS({"name", a.words[0]}, {"url", url}, {"hypervisor", "KVM"}, {"zoneid", zone},
				  {"clustername", cluster}, {"lifetime", lifetime ? lifetime_text : NULL}));
	mem_free(url);
	if (!answer)
		return CLI_FAILED;
	host = json_array_get(json_object_get(answer, "host"), 0);
	token = json_object_get(host, "musterjointoken");
	if (c->json || !token) {
		cli_print_json(host, false);
		exit_code = cli_flush(c);
	} else {
		printf("%s\n", json_string_value(token));
		cli_advise(c,
			   "Place %" JSON_INTEGER_FORMAT
			   " is reserved for %s. On that host, once: muster-agent join TOKEN",
			   (json_int_t)json_number(host, "musterhostid", 0), json_text(host, "name", a.words[0]));
		exit_code = cli_flush(c);
	}
	json_decref(answer);
	return exit_code;
}

/* NULL after a sentence, in this program's words where the server's are the API's. */
static json_t *remove_host(struct cli *c, const char *id, bool force, bool keep)
{
	struct api *api = cli_api(c);
	struct why why = WHY_NONE;
	json_t *answer = NULL;
	enum err e;

	if (!api)
		return NULL;
	e = api_ask(api, &answer, "deleteHost",
		    API_ARGS({"id", id}, {"forced", force ? "true" : NULL}, {"keepcertificate", keep ? "true" : NULL}),
		    &why);
	if (e == ERR_REFUSED && strstr(why.text, "forced=true"))
		cli_fail(c, "the host is connected; --force removes it all the same");
	else if (e)
		cli_fail(c, "%s", why_text(&why, e));
	return answer;
}

int cmd_host_rm(struct cli *c, int argc, char **argv)
{
	bool force = false, keep = false;
	struct confirm confirm = {0};
	const struct arg_option options[] = {
		{.name = "--force", .flag = &force, .help = "even while it is connected"},
		{.name = "--keep-certificate", .flag = &keep, .help = "do not revoke its certificate"},
		CONFIRM_OPTIONS(confirm),
	};
	struct args a = {
		.synopsis = "HOST",
		.about = "Removes a host and revokes its certificate. Its place goes to the next new host. " HOST_HELP,
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.min = 1,
		.max = 1,
	};
	CLEAN(mem_freep) char *id = NULL;
	json_t *answer;
	int exit_code;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	exit_code = confirm_check(c, &confirm);
	if (exit_code)
		return exit_code;
	id = host_find(c, a.words[0]);
	if (!id)
		return CLI_FAILED;
	if (confirm.plan)
		exit_code = effect_of_removal(c, id);
	if (!exit_code)
		exit_code = confirm_ask(c, &confirm);
	if (exit_code)
		return exit_code;
	answer = remove_host(c, id, force, keep);
	if (!answer)
		return CLI_FAILED;
	exit_code =
		say_done(c, answer, keep ? "is removed; its certificate is still valid." : "is removed.", a.words[0]);
	json_decref(answer);
	return exit_code;
}

int cmd_host_reconnect(struct cli *c, int argc, char **argv)
{
	bool no_wait = false;
	const struct arg_option options[] = {
		{.name = "--no-wait", .flag = &no_wait, .help = "do not wait until it is done"},
	};
	struct args a = {
		.synopsis = "HOST",
		.about = "Drops the agent's link; it connects again by itself. " HOST_HELP,
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.min = 1,
		.max = 1,
	};
	CLEAN(mem_freep) char *id = NULL;
	json_t *result;
	int exit_code;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	id = host_find(c, a.words[0]);
	if (!id)
		return CLI_FAILED;
	result = cli_job(c, "reconnectHost", API_ARGS({"id", id}), !no_wait);
	if (!result)
		return CLI_FAILED;
	exit_code =
		say_done(c, result, no_wait ? "is told to connect again." : "has dropped its link and connects again.",
			 a.words[0]);
	json_decref(result);
	return exit_code;
}

static void print_health(const struct cli *c, const json_t *check, const char *host, bool healthy)
{
	char *name = text_or_die("%s", host), *details = text_or_die("%s", json_text(check, "details", ""));

	printf("%s is %s%s%s%s%s\n", format_printable(name), tint_on(c, healthy ? TINT_GOOD : TINT_BAD),
	       healthy ? "healthy" : "not healthy", tint_off(c), *details ? ": " : "", format_printable(details));
	mem_free(name);
	mem_free(details);
}

int cmd_host_check(struct cli *c, int argc, char **argv)
{
	struct args a = {
		.synopsis = "HOST",
		.about =
			"Asks the agent whether it is healthy, through whichever server has its link. Exit code 1: it is not.\n" HOST_HELP,
		.min = 1,
		.max = 1,
	};
	CLEAN(mem_freep) char *id = NULL;
	json_t *result, *check;
	bool healthy;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	id = host_find(c, a.words[0]);
	if (!id)
		return CLI_FAILED;
	result = cli_job(c, "checkHost", API_ARGS({"id", id}), true);
	if (!result)
		return CLI_FAILED;
	check = json_object_get(result, "checkhost");
	healthy = json_flag(check, "result", false);
	if (c->json)
		cli_print_json(check, false);
	else
		print_health(c, check, a.words[0], healthy);
	json_decref(result);
	return cli_flush(c) || !healthy;
}

#define KIB_SUFFIX "MemoryKBs"

static char *stat_text(const char *key, const json_t *value)
{
	char text[FORMAT_MAX];

	if (json_is_number(value) && str_ends(key, KIB_SUFFIX))
		return text_or_die("%s", format_bytes(text, json_number_value(value) * 1024));
	if (json_is_real(value))
		return text_or_die("%.2f", json_real_value(value));
	if (json_is_string(value))
		return text_or_die("%s", json_string_value(value));
	return or_die(json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT));
}

/* Whatever the agent measures: names as they come, values as people read them. */
static void print_stats(const struct cli *c, json_t *stats)
{
	static const struct table_column columns[] = {{"WHAT", 0}, {"VALUE", 0}};
	struct table *t = table_new(c, columns, ARRAY_SIZE(columns));
	json_t *value;
	const char *key;

	json_object_foreach (stats, key, value) {
		char *text = stat_text(key, value);

		table_row(t);
		table_cell(t, TINT_STRONG, "%s", key);
		table_cell(t, TINT_NONE, "%s", text);
		mem_free(text);
	}
	table_print(t);
	table_free(t);
}

int cmd_host_stats(struct cli *c, int argc, char **argv)
{
	struct args a = {
		.synopsis = "HOST",
		.about = "Shows load and memory of the machine, measured by its agent now. " HOST_HELP,
		.min = 1,
		.max = 1,
	};
	CLEAN(mem_freep) char *id = NULL;
	json_t *result, *stats;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	id = host_find(c, a.words[0]);
	if (!id)
		return CLI_FAILED;
	result = cli_job(c, "getHostStats", API_ARGS({"id", id}), true);
	if (!result)
		return CLI_FAILED;
	stats = json_object_get(result, "hoststats");
	if (c->json)
		cli_print_json(stats, false);
	else
		print_stats(c, stats);
	json_decref(result);
	return cli_flush(c);
}

int cmd_host_rejoin(struct cli *c, int argc, char **argv)
{
	int64_t lifetime = 0;
	bool keep = false;
	const struct arg_option options[] = {
		{.name = "--lifetime",
		 .value = "TIME",
		 .seconds = &lifetime,
		 .min = 1,
		 .max = 31536000,
		 .help = "how long it is valid: 90, 15m, 2h, 7d"},
		{.name = "--keep", .flag = &keep, .help = "the certificates that the host has now stay good"},
	};
	struct args a = {
		.synopsis = "HOST",
		.about =
			"Makes a token for a host that was lost or installed again: with it a machine becomes the same host\n"
			"again. When it is used, the host's old certificates are revoked, and whoever is connected with one is cut\n"
			"off. The token stands alone on stdout. " HOST_HELP,
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.min = 1,
		.max = 1,
	};
	CLEAN(mem_freep) char *id = NULL;
	char lifetime_text[24];

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	id = host_find(c, a.words[0]);
	if (!id)
		return CLI_FAILED;
	snprintf(lifetime_text, sizeof(lifetime_text), "%" JSON_INTEGER_FORMAT, (json_int_t)lifetime);
	return token_ask(c, "createRejoinToken",
			 API_ARGS({"hostid", id}, {"lifetime", lifetime ? lifetime_text : NULL},
				  {"keepcertificate", keep ? "true" : NULL}),
			 keep ? "On that host: muster-agent join TOKEN"
			      : "On that host: muster-agent join TOKEN. Its old certificates are revoked then.");
}

/* ---- pins ---- */

static int say_pin(struct cli *c, const json_t *answer, const char *command, const char *host)
{
	const json_t *o = json_object_get(answer, command);
	int64_t moves = json_number(o, "moves", 0);
	const char *pin = json_text(o, "musterpin", NULL), *was = json_text(o, "was", NULL);
	char *name, hosts[FORMAT_MAX];

	if (c->json) {
		cli_print_json(o, false);
		return cli_flush(c);
	}
	name = text_or_die("%s", json_text(o, "name", host));
	if (pin && str_equal(pin, was))
		printf("%s was pinned to %s already; ", format_printable(name), pin);
	else if (pin)
		printf("%s is pinned to %s%s%s%s; ", format_printable(name), pin, was ? " (was " : "", was ? was : "",
		       was ? ")" : "");
	else
		printf("%s is no longer pinned to %s; ", format_printable(name), was ? was : "?");
	if (moves)
		printf("%s %s another server now.\n", format_count(hosts, moves, "host"),
		       moves == 1 ? "prefers" : "prefer");
	else
		printf("all hosts prefer the servers that they did.\n");
	mem_free(name);
	return cli_flush(c);
}

int cmd_host_pin(struct cli *c, int argc, char **argv)
{
	struct confirm confirm = {0};
	const struct arg_option options[] = {CONFIRM_OPTIONS(confirm)};
	struct args a = {
		.synopsis = "HOST SERVER",
		.about =
			"Has a host prefer one server: it is the first of its list under every algorithm, until it is unpinned or the\n"
			"server leaves the lists. " HOST_HELP " SERVER is a name, a UUID or an\n"
			"entry of the setting host.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.min = 2,
		.max = 2,
	};
	CLEAN(mem_freep) char *id = NULL;
	json_t *answer;
	int exit_code;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	exit_code = confirm_check(c, &confirm);
	if (exit_code)
		return exit_code;
	id = host_find(c, a.words[0]);
	if (!id)
		return CLI_FAILED;
	if (confirm.plan)
		exit_code = effect_of_pin(c, id, a.words[1]);
	if (!exit_code)
		exit_code = confirm_ask(c, &confirm);
	if (exit_code)
		return exit_code;
	answer = cli_ask(c, "pinHost", API_ARGS({"id", id}, {"server", a.words[1]}));
	exit_code = answer ? say_pin(c, answer, "pinhost", a.words[0]) : CLI_FAILED;
	json_decref(answer);
	return exit_code;
}

int cmd_host_unpin(struct cli *c, int argc, char **argv)
{
	struct args a = {
		.synopsis = "HOST",
		.about = "Lets the algorithm place a host again. " HOST_HELP,
		.min = 1,
		.max = 1,
	};
	CLEAN(mem_freep) char *id = NULL;
	json_t *answer;
	int exit_code;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	id = host_find(c, a.words[0]);
	if (!id)
		return CLI_FAILED;
	answer = cli_ask(c, "unpinHost", API_ARGS({"id", id}));
	exit_code = answer ? say_pin(c, answer, "unpinhost", a.words[0]) : CLI_FAILED;
	json_decref(answer);
	return exit_code;
}

int cmd_host_allow_weaker(struct cli *c, int argc, char **argv)
{
	struct args a = {
		.synopsis = "HOST",
		.about =
			"Lets a host connect once with a weaker identity than the one it had before: without its certificate, or, a\n"
			"CloudStack agent, with another key from another address. Without this it is refused, because anyone could\n"
			"claim to be it. " HOST_HELP,
		.min = 1,
		.max = 1,
	};
	CLEAN(mem_freep) char *id = NULL;
	json_t *answer;
	int exit_code;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	id = host_find(c, a.words[0]);
	if (!id)
		return CLI_FAILED;
	answer = cli_ask(c, "allowWeakerIdentity", API_ARGS({"id", id}));
	if (!answer)
		return CLI_FAILED;
	exit_code = say_done(c, answer, "may connect with a weaker identity.", a.words[0]);
	json_decref(answer);
	return exit_code;
}
