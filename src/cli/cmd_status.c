/*
 * muster status: the cluster on one page.
 */
#include <inttypes.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/cluster.h"
#include "cli/format.h"
#include "cli/table.h"

/* Wider than this the picture of who sees whom is only what is wrong in it. */
#define MATRIX_MAX 8

static enum tint view_tint(const char *view)
{
	if (str_equal(view, "up"))
		return TINT_GOOD;
	return str_starts(view, "up") ? TINT_CAREFUL : TINT_BAD;
}

static void print_servers(const struct cli *c, const json_t *servers)
{
	static const struct table_column columns[] = {
		{"SERVER", 0},
		{"ADDRESS", 0},
		{"STATE", 0},
		{"AGENTS", TABLE_RIGHT},
		{"OUTDATED", TABLE_RIGHT},
		{"OFF PREFERRED", TABLE_RIGHT},
		{"VERSION", TABLE_SHORTEN},
	};
	struct table *t = table_new(c, columns, ARRAY_SIZE(columns));
	size_t i;
	json_t *s;

	json_array_foreach (servers, i, s) {
		int64_t outdated = json_number(s, "outdated", 0), off = json_number(s, "offpreferred", 0);
		const char *state = json_text(s, "state", "");
		char *address = server_address_text(s);

		table_row(t);
		table_cell(t, TINT_STRONG, "%s", json_text(s, "name", ""));
		table_cell(t, TINT_NONE, "%s", address);
		table_cell(t, server_tint(state), "%s", state);
		table_cell(t, TINT_NONE, "%" JSON_INTEGER_FORMAT, (json_int_t)json_number(s, "agents", 0));
		table_cell(t, outdated ? TINT_CAREFUL : TINT_NONE, "%" JSON_INTEGER_FORMAT, (json_int_t)outdated);
		table_cell(t, off ? TINT_CAREFUL : TINT_NONE, "%" JSON_INTEGER_FORMAT, (json_int_t)off);
		table_cell(t, TINT_NONE, "%s", json_text(s, "version", ""));
		mem_free(address);
	}
	table_print(t);
	table_free(t);
}

static void print_absent(const json_t *servers)
{
	size_t i;
	json_t *s;

	json_array_foreach (servers, i, s) {
		const char *state = json_text(s, "state", ""), *seen = json_text(s, "lastupdate", NULL);
		char date[FORMAT_MAX];

		if (!str_equal(state, "Up") && seen)
			printf("%s was last heard of on %s.\n", json_text(s, "name", "?"), format_date(date, seen));
	}
}

/* Which is no matter as long as nobody has to be given a certificate by it. */
static void print_cluster_keys(const struct cli *c, const json_t *servers)
{
	size_t i;
	json_t *s;

	json_array_foreach (servers, i, s) {
		const char *key = json_text(s, "clusterkey", "");
		bool outdated = str_equal(key, "outdated");

		if (!outdated && !str_equal(key, "missing"))
			continue;
		printf("%s%s has %s%s: %s.\n", tint_on(c, TINT_CAREFUL), json_text(s, "name", "?"),
		       outdated ? "the cluster key of before it was changed" : "no cluster key", tint_off(c),
		       outdated ? "it needs the new key file" : "it needs the key file of the others");
	}
}

/* What the server that we asked has done. */
static void print_handshakes(const json_t *servers)
{
	size_t i;
	json_t *s;

	json_array_foreach (servers, i, s) {
		if (!json_object_get(s, "fullhandshakes"))
			continue;
		printf("%s has made %" JSON_INTEGER_FORMAT " full TLS handshakes with agents and %" JSON_INTEGER_FORMAT
		       " with session tickets%s.\n",
		       json_text(s, "name", "?"), (json_int_t)json_number(s, "fullhandshakes", 0),
		       (json_int_t)json_number(s, "resumedhandshakes", 0),
		       json_is_true(json_object_get(s, "tickets")) ? "" : "; it gives none now");
	}
}

static const char *view_of(const json_t *server, const char *name)
{
	const json_t *views = json_object_get(server, "views");
	size_t i;
	json_t *v;

	json_array_foreach (views, i, v) {
		if (str_equal(json_text(v, "of", ""), name))
			return json_text(v, "view", "unknown");
	}
	return NULL;
}

/* Rows see columns. */
static void print_matrix(const struct cli *c, const json_t *servers)
{
	struct table_column columns[MATRIX_MAX + 1] = {{"SEEN BY", 0}};
	size_t n = json_array_size(servers), i, j;
	json_t *seer, *seen;
	struct table *t;

	json_array_foreach (servers, i, seen) {
		columns[i + 1].title = json_text(seen, "name", "?");
	}
	t = table_new(c, columns, n + 1);
	json_array_foreach (servers, i, seer) {
		table_row(t);
		table_cell(t, TINT_STRONG, "%s", json_text(seer, "name", "?"));
		json_array_foreach (servers, j, seen) {
			const char *view = i == j ? NULL : view_of(seer, json_text(seen, "name", ""));

			table_cell(t, view ? view_tint(view) : TINT_FAINT, "%s", view ? view : "");
		}
	}
	printf("\n");
	table_print(t);
	table_free(t);
}

static void print_exceptions(const json_t *servers)
{
	size_t n_bad = 0, i, j;
	json_t *seer, *v;

	json_array_foreach (servers, i, seer) {
		json_array_foreach (json_object_get(seer, "views"), j, v) {
			const char *view = json_text(v, "view", "unknown");

			if (str_equal(view, "up"))
				continue;
			n_bad++;
			printf("%s%s sees %s as %s.\n", n_bad == 1 ? "\n" : "", json_text(seer, "name", "?"),
			       json_text(v, "of", "?"), view);
		}
	}
	if (!n_bad)
		printf("\nEach server sees all others up.\n");
}

static void print_views(const struct cli *c, const json_t *servers)
{
	size_t n = json_array_size(servers);

	if (n < 2)
		return;
	if (n <= MATRIX_MAX)
		print_matrix(c, servers);
	else
		print_exceptions(servers);
}

static void print_hosts(const json_t *status)
{
	static const struct {
		const char *member, *name;
	} states[] = {
		{"up", "Up"}, {"disconnected", "Disconnected"}, {"alert", "Alert"}, {"other", "in another state"}};
	static const char *const links[] = {"suspect", "reconnecting"};
	const json_t *hosts = json_object_get(status, "hosts");
	const char *before = ": ";
	char text[FORMAT_MAX];

	printf("\nHosts       %s", format_count(text, json_number(hosts, "total", 0), "host"));
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		int64_t n = json_number(hosts, states[i].member, 0);

		if (!n)
			continue;
		printf("%s%" JSON_INTEGER_FORMAT " %s", before, (json_int_t)n, states[i].name);
		before = ", ";
	}
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		if (json_number(hosts, links[i], 0))
			printf("; %" JSON_INTEGER_FORMAT " %s", (json_int_t)json_number(hosts, links[i], 0), links[i]);
	if (json_number(status, "unsecured", 0))
		printf("; %" JSON_INTEGER_FORMAT " unsecured", (json_int_t)json_number(status, "unsecured", 0));
	printf("\n");
}

static void print_lists(const json_t *status)
{
	int64_t interval = json_number(status, "interval", 0), outdated = json_number(status, "outdated", 0);
	char *list = json_joined(json_object_get(status, "host"), ",");
	char text[FORMAT_MAX];

	printf("List        %s\n            %s\n", *list ? format_printable(list) : "empty",
	       json_flag(status, "hostset", false) ? "as the setting host says"
						   : "the registered servers, as the setting host is not set");
	printf("Algorithm   %s\n", json_text(status, "algorithm", "unknown"));
	printf("Interval    %s\n", interval > 0 ? format_seconds(text, interval)
						: "0: agents don't look for their preferred server by themselves");
	printf("Outdated    %s\n", outdated ? format_count(text, outdated, "agent") : "none: every agent has its list");
	mem_free(list);
}

#define REASONS_SHOWN 3

/* Of the server that answers, since it was started; the most frequent reasons come first. */
static void print_refusals(const json_t *status)
{
	const json_t *a = json_object_get(status, "admission"), *reasons = json_object_get(a, "refusals");
	int64_t all = 0, shown = 0;
	char text[FORMAT_MAX];
	size_t i;
	json_t *r;

	json_array_foreach (reasons, i, r)
		all += json_number(r, "count", 0);
	if (!all)
		return;
	printf("Refused     %" PRId64 " by %s since it was started:\n           ", all,
	       json_text(status, "answeredby", "this server"));
	json_array_foreach (reasons, i, r) {
		int64_t n = json_number(r, "count", 0);

		if (i == REASONS_SHOWN)
			break;
		shown += n;
		printf("%s %" PRId64 " %s", i ? "," : "", n, json_text(r, "reason", "?"));
	}
	if (all > shown)
		printf(", %s", format_count(text, all - shown, "other"));
	printf("\n");
}

/* Servers that make no certificates: nobody can renew their own. */
static void print_keyless(const struct cli *c, const json_t *status)
{
	size_t i, n = 0;
	json_t *o;

	json_array_foreach (json_object_get(status, "servers"), i, o) {
		char *name;

		if (json_flag(o, "canissue", true))
			continue;
		name = format_printable(text_or_die("%s", json_text(o, "name", "?")));
		printf("%s%s", n++ ? ", " : tint_on(c, TINT_CAREFUL), name);
		mem_free(name);
	}
	if (n)
		printf("%s can't issue: no key of the CA there. Others renew the certificates of %s agents, not %s own.\n",
		       tint_off(c), n == 1 ? "its" : "their", n == 1 ? "its" : "their");
}

static void print_certificates(const struct cli *c, const json_t *status)
{
	const json_t *certs = json_object_get(status, "certificates");
	const char *host = json_text(certs, "nexthost", NULL);
	int64_t days = json_number(certs, "nextdaysleft", 0);
	char count[FORMAT_MAX], *name;

	if (!certs)
		return;
	if (host) {
		name = format_printable(text_or_die("%s", host));
		printf("Expiry      the first host certificate to end is %s's, in %s%s%s; ", name,
		       days < 7 ? tint_on(c, TINT_BAD) : "", format_count(count, days, "day"),
		       days < 7 ? tint_off(c) : "");
		mem_free(name);
	} else {
		printf("Expiry      no host is Up with a certificate; ");
	}
	printf("%" PRId64 " revoked\n", json_number(certs, "revoked", 0));
	if (!json_flag(certs, "revocationsknown", true))
		printf("%s%s can't read who was revoked lately%s: the last list holds.\n", tint_on(c, TINT_CAREFUL),
		       json_text(status, "answeredby", "The server"), tint_off(c));
	print_keyless(c, status);
	if (json_text(certs, "revocationlistproblem", NULL))
		printf("%sNo new revocation list (CRL):%s %s.\n", tint_on(c, TINT_CAREFUL), tint_off(c),
		       json_text(certs, "revocationlistproblem", ""));
}

/* Only while somebody waits. */
static void print_admission(const json_t *status)
{
	const json_t *a = json_object_get(status, "admission");
	int64_t waiting = json_number(a, "handshakeswaiting", 0), wait_ms = json_number(a, "startupwaitms", 0);

	if (waiting > 0)
		printf("\n%s takes in many connections at once: %" PRId64 " wait, %" PRId64
		       " handshakes at a time keep it quick for those it has.\n",
		       json_text(status, "answeredby", "the server"), waiting, json_number(a, "handshakesallowed", 0));
	if (wait_ms >= 1000)
		printf("\n%s has a queue of %" PRId64 " startups, about %" PRId64
		       " s long; agents are asked to come back later (%" PRId64 " so far).\n",
		       json_text(status, "answeredby", "the server"), json_number(a, "starting", 0), wait_ms / 1000,
		       json_number(a, "putoff", 0));
}

/* What someone should do something about. */
static void print_warnings(const struct cli *c, const json_t *status)
{
	const json_t *store = json_object_get(status, "store");
	int64_t off = json_number(status, "offpreferred", 0);
	const char *on = tint_on(c, TINT_CAREFUL), *end = tint_off(c);
	char text[FORMAT_MAX];

	if (store && !json_flag(store, "ok", true))
		printf("\n%sThe store has been failing for %s%s: links are kept, changes wait (%" JSON_INTEGER_FORMAT
		       "). Look at the log of %s.\n",
		       on, format_seconds(text, json_number(store, "failingseconds", 0)), end,
		       (json_int_t)json_number(store, "waiting", 0), json_text(status, "answeredby", "the server"));
	if (!json_flag(status, "strictness", true))
		printf("\n%sAgents without a certificate are let in%s: ca.plugin.root.auth.strictness is false.\n", on,
		       end);
	if (off)
		print_off_preferred(c, stdout, off, status);
}

/* First of all, before anybody wonders why agents are not where they belong. */
static void print_freeze(const struct cli *c, const json_t *status)
{
	const json_t *f = json_object_get(status, "freeze");
	const char *by = json_text(f, "by", "an unknown account"), *reason = json_text(f, "reason", NULL);
	char date[FORMAT_MAX], time[FORMAT_MAX], agents[FORMAT_MAX];
	int64_t n = json_number(f, "kept", 0);

	if (!json_flag(f, "frozen", false))
		return;
	printf("%sMOVES ARE FROZEN%s since %s (%s), by %s%s%s.\n", tint_on(c, TINT_BAD), tint_off(c),
	       format_date(date, json_text(f, "since", "?")), format_seconds(time, json_number(f, "seconds", 0)), by,
	       reason ? ": " : "", reason ? reason : "");
	if (n)
		printf("%s could be on the preferred server and %s kept away from it by that. ",
		       format_count(agents, n, "agent"), n == 1 ? "is" : "are");
	else
		printf("No agent is kept away from its preferred server by that. ");
	printf("%s\n\n", json_flag(json_object_get(status, "rolling"), "ownfreeze", false)
				 ? "The rolling restart ends it."
				 : "`muster thaw` ends it.");
}

static void print_rolling(const struct cli *c, const json_t *status)
{
	const json_t *r = json_object_get(status, "rolling"), *turn;
	int64_t step = json_number(r, "step", 0);
	char time[FORMAT_MAX];

	if (!json_flag(r, "active", false))
		return;
	turn = step ? json_array_get(json_object_get(r, "servers"), (size_t)step - 1) : NULL;
	printf("%sA rolling restart%s is at step %" PRId64 " of %" PRId64, tint_on(c, TINT_CAREFUL), tint_off(c), step,
	       json_number(r, "steps", 0));
	if (turn)
		printf(" (%s)", json_text(turn, "name", "?"));
	printf(", begun by %s %s ago; `muster rolling-restart` goes on, --abort ends it.\n", json_text(r, "by", "?"),
	       format_seconds(time, json_number(r, "seconds", 0)));
	if (json_text(r, "problem", NULL))
		printf("It can't go on as planned: %s.\n", json_text(r, "problem", ""));
	printf("\n");
}

int cmd_status(struct cli *c, int argc, char **argv)
{
	struct args a = {
		.about =
			"Shows the cluster on one page: each management server as it sees itself and as the others see it, the\n"
			"hosts by state, the list in force, and how many agents do not have it yet.",
	};
	json_t *answer, *status, *servers;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	answer = cli_ask(c, "getMusterStatus", NULL);
	if (!answer)
		return CLI_FAILED;
	status = json_object_get(answer, "musterstatus");
	servers = json_object_get(status, "servers");
	if (c->json) {
		cli_print_json(status, false);
	} else {
		print_freeze(c, status);
		print_rolling(c, status);
		print_servers(c, servers);
		print_absent(servers);
		print_cluster_keys(c, servers);
		print_drains(servers);
		print_handshakes(servers);
		print_views(c, servers);
		print_hosts(status);
		print_lists(status);
		print_certificates(c, status);
		print_refusals(status);
		print_admission(status);
		print_warnings(c, status);
	}
	json_decref(answer);
	return cli_flush(c);
}
