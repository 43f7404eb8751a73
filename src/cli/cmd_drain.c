/*
 * muster drain and undrain: empty a management server before its maintenance, and end that again.
 *
 * drain asks once and then only watches: the server goes on by itself, whatever becomes of this program.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/cluster.h"
#include "cli/confirm.h"
#include "cli/effect.h"
#include "cli/format.h"

#define LOOK_MS 500
#define BAR_WIDTH 24

#define SERVER_HELP "SERVER is its name, its UUID or its address."

static volatile sig_atomic_t is_interrupted;

static void on_interrupt(int signo)
{
	is_interrupted = 1;
}

/* ---- one look ---- */

/* The server's record; NULL after a sentence. */
static json_t *look(struct cli *c, const char *id)
{
	json_t *servers =
		cli_list(c, "listManagementServers", "managementserver", API_ARGS({"id", id}, {"agents", "false"}));
	json_t *server = json_incref(json_array_get(servers, 0));

	if (servers && !server)
		cli_fail(c, "the management server is not registered any more");
	json_decref(servers);
	return server;
}

static void print_bar(const struct cli *c, const json_t *drain)
{
	int64_t total = json_number(drain, "total", 0), moved = json_number(drain, "moved", 0);
	int full = total > 0 ? (int)(moved * BAR_WIDTH / total) : 0;
	char bar[BAR_WIDTH + 1];
	char *text = drain_text(drain);

	for (int i = 0; i < BAR_WIDTH; i++)
		bar[i] = i < full ? '#' : '-';
	bar[BAR_WIDTH] = '\0';
	/* To the line's beginning, and what was there longer is gone. */
	printf("\r[%s] %.*s\033[K", bar, c->width > BAR_WIDTH + 4 ? (int)c->width - BAR_WIDTH - 4 : 80, text);
	fflush(stdout);
	mem_free(text);
}

/* For pipes and logs: a line whenever it says something else, times left out of account. */
static void print_line(const json_t *drain, char **last)
{
	char *text = drain_text(drain), *about = strstr(text, ", about ");

	if (about)
		*about = '\0';
	if (str_equal(text, *last)) {
		mem_free(text);
		return;
	}
	mem_free(*last);
	*last = text;
	printf("%s\n", text);
	fflush(stdout);
}

static bool is_prepared(const json_t *server)
{
	return str_equal(json_text(server, "state", ""), "PreparingForMaintenance");
}

/* Until it is no longer prepared, or nobody hears it. The last record; NULL: interrupted, or after a sentence. */
static json_t *watch(struct cli *c, const char *id)
{
	const struct timespec pause = {.tv_sec = LOOK_MS / 1000, .tv_nsec = LOOK_MS % 1000 * 1000000L};
	CLEAN(mem_freep) char *last = NULL;
	bool has_bar = false;
	json_t *server;

	for (;;) {
		const json_t *drain;

		server = look(c, id);
		if (!server || !is_prepared(server) || !server_is_heard(server))
			break;
		drain = json_object_get(server, "musterdrain");
		if (!c->json && drain && c->is_terminal) {
			print_bar(c, drain);
			has_bar = true;
		} else if (!c->json && drain) {
			print_line(drain, &last);
		}
		json_decref(server);
		server = NULL;
		if (is_interrupted || (nanosleep(&pause, NULL) && errno == EINTR && is_interrupted))
			break;
	}
	if (has_bar)
		printf("\r\033[K");
	return server;
}

/* ---- the end ---- */

static void print_remaining(const json_t *drain)
{
	const json_t *remaining = json_object_get(drain, "remaining");
	size_t i;
	json_t *r;

	json_array_foreach (remaining, i, r) {
		char *line = text_or_die("  %s: %s: %s", json_text(r, "name", json_text(r, "id", "?")),
					 json_text(r, "fate", "?"), json_text(r, "reason", "no reason is known"));

		printf("%s\n", format_printable(line));
		mem_free(line);
	}
}

static int report(struct cli *c, const json_t *server)
{
	const json_t *drain = json_object_get(server, "musterdrain");
	const char *state = json_text(server, "state", "?"), *name = json_text(server, "name", "?");
	bool is_done = str_equal(state, "Maintenance"), is_prepared_still = is_prepared(server);
	size_t n_left = json_array_size(json_object_get(drain, "remaining"));
	char agents[FORMAT_MAX];

	if (c->json) {
		cli_print_json(server, false);
	} else if (is_done) {
		printf("%s is in maintenance; %s moved.\n", name,
		       format_count(agents, json_number(drain, "moved", 0), "agent"));
	} else if (str_equal(json_text(drain, "state", ""), "timed out")) {
		printf("%s is %s again: %s.\n", name, state,
		       n_left ? "its agents have not all moved in time"
			      : "jobs still ran there when the time was over");
	} else if (!is_prepared_still) {
		printf("%s is %s: it is not drained any more.\n", name, state);
	}
	if (!c->json && n_left) {
		printf("Not moved:\n");
		print_remaining(drain);
	}
	if (is_prepared_still)
		cli_fail(c,
			 "%s does not answer any more; it will be in maintenance when it starts, `muster undrain %s` "
			 "ends that",
			 name, name);
	if (is_done)
		cli_advise(c, "It can be stopped now; `muster undrain %s` takes it back into service.", name);
	return cli_flush(c) == CLI_OK && is_done ? CLI_OK : CLI_FAILED;
}

static int watch_and_report(struct cli *c, const char *id, const char *name)
{
	const struct sigaction action = {.sa_handler = on_interrupt};
	json_t *server;
	int exit_code;

	sigaction(SIGINT, &action, NULL);
	server = watch(c, id);
	if (!server && is_interrupted)
		return cli_fail(c, "not watching any more; %s goes on being drained (`muster undrain %s` ends that)",
				name, name);
	if (!server)
		return CLI_FAILED;
	exit_code = report(c, server);
	json_decref(server);
	return exit_code;
}

/* ---- the commands ---- */

int cmd_drain(struct cli *c, int argc, char **argv)
{
	int64_t rate = 0, timeout = 0;
	bool force = false, anyway = false, no_wait = false;
	struct confirm confirm = {0};
	const char *algorithm = NULL;
	const struct arg_option options[] = {
		{.name = "--rate",
		 .value = "N",
		 .number = &rate,
		 .min = 1,
		 .max = 100000,
		 .help = "agents asked to move per second; default 100"},
		{.name = "--timeout",
		 .value = "TIME",
		 .seconds = &timeout,
		 .min = 1,
		 .max = 31536000,
		 .help = "how long it may take: 90, 15m, 2h; then it is Up again"},
		{.name = "--anyway",
		 .flag = &anyway,
		 .help = "then in maintenance instead, links of who is left are closed"},
		{.name = "--algorithm",
		 .value = "NAME",
		 .text = &algorithm,
		 .help = "order of the lists they leave with"},
		{.name = "--force", .flag = &force, .help = "also the last management server that is Up"},
		{.name = "--no-wait", .flag = &no_wait, .help = "don't watch"},
		CONFIRM_OPTIONS(confirm),
	};
	struct args a = {
		.synopsis = "SERVER",
		.about =
			"Moves all agents of a management server to the others, without a gap, and watches until it is in maintenance.\n"
			"Ctrl-C ends only the watching. " SERVER_HELP,
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.min = 1,
		.max = 1,
	};
	CLEAN(mem_freep) char *id = NULL, *name = NULL;
	char rate_text[24], timeout_text[24];
	json_t *answer;
	int exit_code;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	exit_code = confirm_check(c, &confirm);
	if (exit_code)
		return exit_code;
	id = server_find(c, a.words[0], &name);
	if (!id)
		return CLI_FAILED;
	if (confirm.plan)
		exit_code = effect_of_drain(
			c, &(struct effect_drain){.id = id, .name = name, .algorithm = algorithm, .rate = rate});
	if (!exit_code)
		exit_code = confirm_ask(c, &confirm);
	if (exit_code)
		return exit_code;
	snprintf(rate_text, sizeof(rate_text), "%" JSON_INTEGER_FORMAT, (json_int_t)rate);
	snprintf(timeout_text, sizeof(timeout_text), "%" JSON_INTEGER_FORMAT, (json_int_t)timeout);
	answer = cli_ask_as(c, "prepareForMaintenance",
			    API_ARGS({"managementserverid", id}, {"rate", rate ? rate_text : NULL},
				     {"timeout", timeout ? timeout_text : NULL}, {"forced", anyway ? "true" : NULL},
				     {"force", force ? "true" : NULL}, {"algorithm", algorithm}),
			    "force=true", "--force");
	if (!answer)
		return CLI_FAILED;
	if (is_frozen(json_object_get(answer, "prepareformaintenance")))
		cli_advise(
			c,
			"Moves are frozen; what you ask for is done all the same, and nobody returns until `muster thaw`.");
	if (!no_wait) {
		exit_code = watch_and_report(c, id, name);
	} else {
		if (c->json)
			cli_print_json(answer, false);
		else
			printf("%s is being drained; `muster servers` shows how far it is.\n", name);
		exit_code = cli_flush(c);
	}
	json_decref(answer);
	return exit_code;
}

int cmd_undrain(struct cli *c, int argc, char **argv)
{
	bool rebalance = false, no_rebalance = false;
	const struct arg_option options[] = {
		{.name = "--rebalance",
		 .flag = &rebalance,
		 .help = "every agent looks for its preferred server now (so it is anyway)"},
		{.name = "--no-rebalance", .flag = &no_rebalance, .help = "agents return by themselves, or not at all"},
	};
	struct args a = {
		.synopsis = "SERVER",
		.about = "Ends the maintenance of a management server, or its preparation. " SERVER_HELP,
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.min = 1,
		.max = 1,
	};
	CLEAN(mem_freep) char *id = NULL, *name = NULL;
	json_t *answer;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	if (rebalance && no_rebalance)
		return cli_misuse(c, "--rebalance and --no-rebalance contradict each other");
	id = server_find(c, a.words[0], &name);
	if (!id)
		return CLI_FAILED;
	answer = cli_ask(c, "cancelMaintenance",
			 API_ARGS({"managementserverid", id}, {"rebalance", no_rebalance ? "false" : "true"}));
	if (!answer)
		return CLI_FAILED;
	if (c->json)
		cli_print_json(answer, false);
	else if (is_frozen(json_object_get(answer, "cancelmaintenance")))
		printf("%s takes agents again; moves are frozen, so those that prefer it stay away until `muster thaw`.\n",
		       name);
	else if (no_rebalance)
		printf("%s takes agents again.\n", name);
	else
		printf("%s takes agents again, and those that prefer it are told to return.\n", name);
	json_decref(answer);
	return cli_flush(c);
}
