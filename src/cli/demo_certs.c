/*
 * The phases about certificates: all are renewed, one is revoked and its host comes back, the root of the CA is
 * changed. Whoever isn't meant must not lose its link meanwhile: `before` has the hosts as they were when the phase
 * began.
 */
#include "cli/demo.h"

#include <signal.h>

#include "base/mem.h"
#include "cli/format.h"

#define LOOK_MS 100
#define CUT_S 10 /* until a revoked certificate's link is gone */

static const json_t *host_before(const struct demo *d, const json_t *host)
{
	size_t i;
	json_t *h;

	json_array_foreach (d->before, i, h)
		if (str_equal(json_text(h, "id", "?"), json_text(host, "id", "")))
			return h;
	return NULL;
}

static bool is_victim(const struct demo *d, const json_t *host)
{
	return d->victim && str_equal(json_text(host, "id", "?"), d->victim);
}

/*
 * As far as the servers know. Connecting: the next link is being taken, and the last one is still there. A link that
 * ends without another one makes its host reconnecting, and then writes a date.
 */
bool certs_links_held(const struct demo *d, struct why *why)
{
	size_t i;
	json_t *h;

	json_array_foreach (d->hosts, i, h) {
		const json_t *was = host_before(d, h);
		const char *state = json_text(h, "state", "");

		if (!was || is_victim(d, h))
			continue;
		if ((str_equal(state, "Up") || str_equal(state, "Connecting")) &&
		    !json_flag(h, "musterreconnecting", false) &&
		    str_equal(json_text(h, "disconnected", NULL), json_text(was, "disconnected", NULL)))
			continue;
		why_set(why, "%s has lost its link", json_text(h, "name", "?"));
		return false;
	}
	return true;
}

static enum err ask_only(struct demo *d, const char *command, const struct api_arg *args, struct why *why)
{
	json_t *answer = NULL;
	enum err e = demo_ask(d, &answer, command, args, why);

	json_decref(answer);
	return e;
}

/* ---- renewal ---- */

enum err certs_renew(struct demo *d, struct why *why)
{
	enum err e = ERR_OK;
	size_t i;
	json_t *h;

	d->n_steps = 0;
	json_array_foreach (d->hosts, i, h) {
		if (!e)
			e = ask_only(d, "provisionCertificate", API_ARGS({"hostid", json_text(h, "id", "")}), why);
	}
	return e;
}

static bool has_another(const struct demo *d, const json_t *host)
{
	const char *serial = json_text(host, "mustercertserial", NULL);
	const json_t *was = host_before(d, host);

	return serial && was && !str_equal(serial, json_text(was, "mustercertserial", NULL));
}

static void say_serials(struct demo *d)
{
	size_t i;
	json_t *h;

	json_array_foreach (d->hosts, i, h) {
		screen_say(d, "  %s shows certificate %.12s... instead of %.12s...", json_text(h, "name", "?"),
			   json_text(h, "mustercertserial", "?"),
			   json_text(host_before(d, h), "mustercertserial", "?"));
	}
}

enum err certs_are_renewed(struct demo *d, bool *done, struct why *why)
{
	size_t i;
	json_t *h;

	*done = true;
	json_array_foreach (d->hosts, i, h) {
		if (!*done || has_another(d, h))
			continue;
		why_set(why, "%s still shows its old certificate", json_text(h, "name", "?"));
		*done = false;
	}
	if (*done && !d->n_steps++)
		say_serials(d);
	return ERR_OK;
}

/* ---- revocation ---- */

static json_t *victim_of(const struct demo *d)
{
	size_t i;
	json_t *h;

	json_array_foreach (d->hosts, i, h)
		if (is_victim(d, h))
			return h;
	return NULL;
}

static enum err wait_for_cut(struct demo *d, struct why *why)
{
	struct mono deadline = mono_add_s(clock_now(), CUT_S);

	for (;;) {
		enum err e = demo_look(d, why);
		const json_t *h = victim_of(d);

		if (e)
			return e;
		if (!certs_links_held(d, why))
			return ERR_CLOSED;
		if (h && !json_object_get(h, "musterconnected"))
			return ERR_OK;
		if (mono_reached(clock_now(), deadline)) {
			why_set(why, "%s is still connected", h ? json_text(h, "name", "?") : "it");
			return ERR_TIMEOUT;
		}
		screen_update(d, "Waiting for its link to be cut ...");
		if (!demo_sleep(d, LOOK_MS))
			return ERR_STOPPED;
	}
}

/* The last agent: its machine was stolen, say. A token for this host alone makes another machine the same host. */
enum err certs_revoke(struct demo *d, struct why *why)
{
	const json_t *h = json_array_get(d->hosts, d->n_agents - 1);
	struct child *agent = &d->agents[d->n_agents - 1];
	CLEAN(mem_freep) char *serial = NULL;
	enum err e;

	if (!h)
		return ERR_NOT_FOUND;
	serial = text_or_die("%s", json_text(h, "mustercertserial", ""));
	d->victim = text_or_die("%s", json_text(h, "id", ""));
	screen_say(d, "muster cert revoke %s  (certificate %s)", agent->name, serial);
	e = ask_only(d, "revokeCertificate", API_ARGS({"serial", serial}), why);
	if (!e)
		e = wait_for_cut(d, why);
	if (e)
		return e;
	screen_say(d, "Its link is cut, and it is refused. muster host rejoin %s gives a token for it:", agent->name);
	agent->was_killed = true;
	child_signal(agent, SIGKILL);
	child_wait(agent, 2000);
	return agent_rejoin(d, d->n_agents - 1, d->victim, why);
}

/* With another certificate. Whether it is where it should be is asked of everybody. */
enum err certs_is_back(struct demo *d, bool *done, struct why *why)
{
	const json_t *h = victim_of(d);

	*done = h && json_object_get(h, "musterconnected") && has_another(d, h);
	if (!*done)
		why_set(why, "%s is not back yet", h ? json_text(h, "name", "?") : "it");
	return ERR_OK;
}

/* ---- rotation ---- */

enum err certs_rotate(struct demo *d, struct why *why)
{
	d->n_steps = 0;
	return ERR_OK;
}

static const char *const steps[] = {
	"trust: there is a new CA; everybody comes to trust both",
	"issue: all trust both; the new one signs, and everybody gets a certificate of it",
	"drop: all show certificates of the new one; the old one is forgotten",
	"none: nobody trusts the old one any more; its key is destroyed",
};

/* Each look: is everybody ready for the next step? */
enum err certs_are_rotated(struct demo *d, bool *done, struct why *why)
{
	json_t *answer = NULL, *r;
	enum err e = demo_ask(d, &answer, "listCaRotation", NULL, why);
	int64_t behind;
	bool ready;
	char phase[16];

	*done = false;
	if (e)
		return e;
	r = json_object_get(answer, "carotation");
	behind = json_number(r, "serversbehind", 0) + json_number(r, "hostsbehind", 0);
	str_copy(phase, sizeof(phase), json_text(r, "phase", "?"));
	json_decref(answer);
	ready = str_equal(phase, "none");
	*done = ready && d->n_steps > 0;
	if (*done)
		return ERR_OK;
	if (behind) {
		why_set(why, "%s: %d servers and agents have not followed yet", phase, (int)behind);
		return ERR_OK;
	}
	e = ask_only(d, "advanceCaRotation", API_ARGS({"phase", phase}), why);
	if (!e)
		screen_say(d, "  %s", steps[d->n_steps++ % ARRAY_SIZE(steps)]);
	why_set(why, "after %s", phase);
	return e;
}
