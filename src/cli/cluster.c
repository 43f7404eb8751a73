#include "cli/cluster.h"

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

void print_off_preferred(const struct cli *c, FILE *to, int64_t n, int64_t interval)
{
	const char *on = to == stdout ? tint_on(c, TINT_CAREFUL) : "", *end = to == stdout ? tint_off(c) : "";
	char agents[FORMAT_MAX], every[FORMAT_MAX];
	const char *are = n == 1 ? "is" : "are", *them = n == 1 ? "it" : "them";

	format_count(agents, n, "agent");
	if (interval > 0)
		fprintf(to, "\n%s%s %s not on the preferred server%s and will look for it within %s or so.\n", on,
			agents, are, end, format_seconds(every, interval));
	else
		fprintf(to,
			"\n%s%s %s not on the preferred server%s and will stay away from it, because the check interval is 0.\n"
			"`muster rebalance` brings %s there now; "
			"`muster config set indirect.agent.lb.check.interval 60` always.\n",
			on, agents, are, end, them);
}

int64_t host_number(const json_t *host)
{
	return json_number(host, "musterhostid", 0);
}
