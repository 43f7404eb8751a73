#include "cli/cluster.h"

#include <inttypes.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/format.h"
#include "core/server_list.h"

char *server_address_text(const json_t *server)
{
	struct server_address a = {.port = (uint16_t)json_number(server, "port", 0)};
	char text[SERVER_HOST_MAX + 9];

	str_copy(a.host, sizeof(a.host), json_text(server, "address", ""));
	server_address_format(text, sizeof(text), &a);
	return text_or_die("%s", text);
}

/* What is wrong with the link of a host that is Up; NULL: nothing. */
static const char *link_trouble(const json_t *host)
{
	if (json_flag(host, "musterreconnecting", false))
		return "reconnecting";
	return str_equal(json_text(host, "musterlink", ""), "suspect") ? "suspect" : NULL;
}

static bool is_at(const json_t *server, const char *word)
{
	const char *address = json_text(server, "ipaddress", json_text(server, "serviceip", ""));
	struct server_address a;

	return str_equal_nocase(address, word) ||
	       (server_address_parse(&a, word, NULL) == ERR_OK && str_equal_nocase(a.host, address));
}

char *server_find(struct cli *c, const char *word, char **name)
{
	json_t *servers = cli_list(c, "listManagementServers", "managementserver", API_ARGS({"agents", "false"})), *s,
	       *found = NULL;
	size_t n = 0, i;
	char *id = NULL;

	if (!servers)
		return NULL;
	/* Several on one machine have one address; a name or a UUID tells them apart. */
	for (int by_address = 0; by_address < 2 && !n; by_address++) {
		json_array_foreach (servers, i, s) {
			bool is_it = by_address ? is_at(s, word)
						: str_equal(json_text(s, "id", ""), word) ||
							  str_equal(json_text(s, "name", ""), word);

			if (is_it && n++ == 0)
				found = s;
		}
	}
	if (n == 1) {
		id = text_or_die("%s", json_text(found, "id", ""));
		*name = format_printable(text_or_die("%s", json_text(found, "name", word)));
	} else if (n) {
		cli_fail(c, "%zu management servers are called %s; take the UUID of one: muster servers", n, word);
	} else {
		cli_fail(c, "there is no management server %s; `muster servers` shows them", word);
	}
	json_decref(servers);
	return id;
}

enum tint server_tint(const char *state)
{
	if (str_equal(state, "Up"))
		return TINT_GOOD;
	return str_equal(state, "Down") ? TINT_BAD : TINT_CAREFUL;
}

static bool add_count(struct buf *b, const json_t *drain, const char *member)
{
	int64_t n = json_number(drain, member, 0);

	return !n || buf_printf(b, ", %" JSON_INTEGER_FORMAT " %s", (json_int_t)n, member) == ERR_OK;
}

char *drain_text(const json_t *drain)
{
	const char *state = json_text(drain, "state", "");
	int64_t total = json_number(drain, "total", 0), left_ms = json_number(drain, "remainingms", -1);
	struct buf b = {0};
	char agents[FORMAT_MAX], time[FORMAT_MAX];
	bool ok;

	if (str_equal(state, "asked"))
		return text_or_die("the server has not begun yet");
	ok = buf_printf(&b, "%" JSON_INTEGER_FORMAT " of %s moved", (json_int_t)json_number(drain, "moved", 0),
			format_count(agents, total, "agent")) == ERR_OK &&
	     add_count(&b, drain, "refused") && add_count(&b, drain, "vanished");
	if (str_equal(state, "paused"))
		ok = ok && buf_printf(&b, ", paused: no other management server takes agents") == ERR_OK;
	else if (str_equal(state, "telling"))
		ok = ok && buf_printf(&b, ", agents are told to avoid the server") == ERR_OK;
	else if (str_equal(state, "waiting for jobs"))
		ok = ok && buf_printf(&b, ", %" JSON_INTEGER_FORMAT " jobs to finish",
				      (json_int_t)json_number(drain, "jobs", 0)) == ERR_OK;
	else if (left_ms >= 0)
		ok = ok && buf_printf(&b, ", about %s left", format_seconds(time, (left_ms + 999) / 1000)) == ERR_OK;
	return or_die(ok ? buf_take_str(&b) : NULL);
}

bool server_is_heard(const json_t *server)
{
	return json_flag(server, "musterheard", true);
}

void print_drains(const json_t *servers)
{
	size_t i;
	json_t *s;

	json_array_foreach (servers, i, s) {
		const json_t *drain = json_object_get(s, "musterdrain");
		char *text;

		if (!drain || !str_equal(json_text(s, "state", ""), "PreparingForMaintenance"))
			continue;
		text = drain_text(drain);
		if (server_is_heard(s))
			printf("%s is being drained: %s.\n", json_text(s, "name", "?"), text);
		else
			printf("%s was being drained and does not answer any more; it will be in maintenance when it starts.\n",
			       json_text(s, "name", "?"));
		mem_free(text);
	}
}

enum tint host_tint(const json_t *host)
{
	const char *state = json_text(host, "state", "");

	if (!str_equal(state, "Up"))
		return str_equal(state, "Connecting") || str_equal(state, "Creating") ? TINT_CAREFUL : TINT_BAD;
	return link_trouble(host) ? TINT_CAREFUL : TINT_GOOD;
}

char *host_status_text(const json_t *host)
{
	const char *trouble = link_trouble(host);

	return text_or_die("%s%s%s", json_text(host, "state", "?"), trouble ? ", " : "", trouble ? trouble : "");
}

bool is_frozen(const json_t *record)
{
	return json_flag(record, "musterfrozen", false);
}

bool any_is_frozen(const json_t *records)
{
	size_t i;
	json_t *r;

	json_array_foreach (records, i, r) {
		if (is_frozen(r))
			return true;
	}
	return false;
}

/* Those that could be better off while their preferred server is away. */
static void print_behind(FILE *to, int64_t behind, int64_t n, bool frozen, bool looks)
{
	if (!behind)
		return;
	if (n == 1)
		fprintf(to, "It");
	else if (behind == n)
		fprintf(to, "All of them");
	else
		fprintf(to, "%" PRId64 " of them", behind);
	fprintf(to, " could be on a better server that is up meanwhile");
	if (frozen)
		fprintf(to, ".\n");
	else if (looks)
		fprintf(to, ", and %s there with that look.\n", behind == 1 ? "goes" : "go");
	else
		fprintf(to, ": there `muster rebalance` brings %s.\n", behind == 1 ? "it" : "them");
}

void print_off_preferred(const struct cli *c, FILE *to, int64_t n, const json_t *status)
{
	int64_t interval = json_number(status, "interval", 0);
	bool frozen = json_flag(json_object_get(status, "freeze"), "frozen", false);
	bool once = str_equal(json_text(status, "algorithm", NULL), "shuffle");
	const char *on = to == stdout ? tint_on(c, TINT_CAREFUL) : "", *end = to == stdout ? tint_off(c) : "";
	char agents[FORMAT_MAX], every[FORMAT_MAX];
	const char *are = n == 1 ? "is" : "are", *them = n == 1 ? "it" : "them";

	fprintf(to, "\n%s%s %s not on the preferred server%s and will ", on, format_count(agents, n, "agent"), are,
		end);
	if (frozen)
		fprintf(to, "stay away from it until `muster thaw`.\n");
	else if (interval <= 0)
		fprintf(to,
			"stay away from it, because the check interval is 0.\n"
			"`muster rebalance` brings %s there now; "
			"`muster config set indirect.agent.lb.check.interval 60` always.\n",
			them);
	else if (once)
		fprintf(to,
			"stay where %s %s: under shuffle an agent looks once after each new list.\n"
			"`muster rebalance` brings %s there now.\n",
			n == 1 ? "it" : "they", are, them);
	else
		fprintf(to, "look for it within %s or so.\n", format_seconds(every, interval));
	print_behind(to, json_number(status, "behind", 0), n, frozen, interval > 0 && !once);
}

int64_t host_number(const json_t *host)
{
	return json_number(host, "musterhostid", 0);
}

char *host_find(struct cli *c, const char *host)
{
	json_t *hosts = cli_list(c, "listHosts", "host", API_ARGS({"name", host}, {"details", "min"}));
	char *id = NULL;
	size_t n;

	if (!hosts)
		return NULL;
	n = json_array_size(hosts);
	if (n > 1)
		cli_fail(c, "%zu hosts are named %s; take the number or the UUID of one: muster hosts %s", n, host,
			 host);
	else
		id = text_or_die("%s", n ? json_text(json_array_get(hosts, 0), "id", host) : host);
	json_decref(hosts);
	return id;
}
