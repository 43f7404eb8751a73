/*
 * Strictness: what ca.plugin.root.auth.strictness means for those who are connected already.
 *
 * Who connects is judged by it at the handshake (session.c) and at the startup (ca/policy). This is the rest: that it
 * is off is said loudly, at the start and when it changes; and when it is switched on, agents that got in without a
 * certificate are cut, because strict has to mean that nobody unproven is connected. They are cut at a pace, as most of
 * them will be agents whose certificate was forgotten, and are only as many as somebody can look at.
 */
#include "server/internal.h"

#define SETTING "ca.plugin.root.auth.strictness"
#define CUTS_A_SECOND 50

static void say(struct server *s, bool is_strict)
{
	if (!is_strict)
		log_warn(s->log,
			 "AGENTS WITHOUT A CERTIFICATE ARE LET IN: whoever reaches the agent port can be a host",
			 KV_S("setting", SETTING), KV_B("value", false), KV_U("unsecured", s->n_unsecured));
	else if (s->strictness_said)
		log_info(s->log, "agents have to present a certificate again", KV_S("setting", SETTING),
			 KV_B("value", true), KV_U("unsecured", s->n_unsecured));
	s->strictness_said = true;
	s->was_strict = is_strict;
}

static void cut(struct server *s)
{
	size_t n = 0;

	list_for (x, &s->sessions, struct session, in_sessions) {
		if (!x->is_unsecured || n++ >= CUTS_A_SECOND)
			continue;
		s->n_cut[CUT_UNSECURED]++;
		session_end(x, ERR_UNTRUSTED, "connected without a verified certificate, and " SETTING " is true now",
			    EVENT_SHUTDOWN_REQUESTED);
	}
}

void strictness_tick(struct server *s)
{
	bool is_strict = config_bool(s, SETTING);

	if (!s->strictness_said || is_strict != s->was_strict) {
		if (is_strict && s->n_unsecured)
			event_add(s, "CA.STRICTNESS", "WARN", 0,
				  "%s is true: %zu agents without a verified certificate are disconnected from %s",
				  SETTING, s->n_unsecured, s->p.name);
		say(s, is_strict);
	}
	if (is_strict && s->n_unsecured)
		cut(s);
}

void strictness_unsecured(struct session *x, bool is_unsecured)
{
	struct server *s = x->server;

	if (x->is_unsecured == is_unsecured)
		return;
	x->is_unsecured = is_unsecured;
	s->n_unsecured += is_unsecured ? 1 : (size_t)-1;
}
