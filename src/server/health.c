/*
 * Health: does this server serve? For /healthz; docs/running.md, "Health", says for which probes it is meant.
 *
 * A server that is emptied or in maintenance serves: it answers operators and other servers, and nothing is mended by
 * starting it anew. What else an operator should know is said behind the "ok".
 */
#include "server/metrics.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/rotation.h"

static void say(struct server_health *h, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What does not fit is left out: it is for people, and there are fewer lines than room. */
static void say(struct server_health *h, const char *format, ...)
{
	size_t n = strlen(h->text);
	va_list args;

	va_start(args, format);
	vsnprintf(h->text + n, sizeof(h->text) - n - 1, format, args);
	va_end(args);
	strcat(h->text, "\n");
}

static void say_reasons(struct server_health *h, struct server *s)
{
	int64_t end_s = metrics_own_end_s(s, OWN_CERT_EC);
	struct mono since;

	if (s->stopping)
		say(h, "stopping");
	else if (server_is_leaving(s))
		say(h, "stopping: its agents are moving to other servers");
	else if (!s->running)
		say(h, "starting");
	if (ledger_is_failing(s, &since))
		say(h,
		    "the store has been failing for %lld s: links are kept and known agents let in, joins are refused",
		    (long long)(mono_ms_between(since, world_now(s->world)) / 1000));
	if (end_s && end_s <= world_wall_ms(s->world) / 1000)
		say(h, "its own certificate has expired: nobody can connect");
	if (s->own_revoked_said)
		say(h, "its own certificate is revoked: other servers have no links with it");
}

static void say_notes(struct server_health *h, struct server *s)
{
	const struct member_server *own = roster_server(s, s->msid);

	if (own && own->row.state != SERVER_UP)
		say(h, "state %s: it takes no agents while another server does", server_state_name(own->row.state));
	if (admission_is_overrun(s))
		say(h, "more agents come than it can let in: they are sent to other servers, or wait");
	if (s->ca && !s->ca->ops->can_issue(s->ca))
		say(h, "it cannot issue certificates");
	if (s->revoked_stale)
		say(h, "revocations could not be read from the store, and those it knows of may be old");
	if (!config_bool(s, "ca.plugin.root.auth.strictness"))
		say(h, "agents without a certificate are let in");
	if (s->rotation.phase != ROTATION_NONE)
		say(h, "the CA is being changed, phase %s", rotation_phase_name(s->rotation.phase));
	if (freeze_is_on(s))
		say(h, "moves are frozen");
}

void server_health(struct server *s, struct server_health *out)
{
	*out = (struct server_health){0};
	say_reasons(out, s);
	out->serves = !out->text[0];
	if (!out->serves)
		return;
	say(out, "ok");
	say_notes(out, s);
}
