/*
 * SetupCertificate: a new certificate, or new CAs for the one that is there. It is judged before anything is touched,
 * then takes the old one's place on disk, which stays beside it (identity.h), then new links use it: the engine opens
 * one before it leaves the old one, and goes back if servers don't take it (credentials.c).
 */
#include "agent/daemon.h"

#include "agent/identity.h"
#include "base/mem.h"
#include "pki/cert.h"

static void answer(struct agent_command *c, enum err e, const struct why *why)
{
	struct batch b = {0};

	if (!answer_add(&b, MSG_SETUP_CERTIFICATE_ANSWER, !e, e ? why_text(why, e) : NULL)) {
		batch_deinit(&b);
		agent_answer_plain(c, false, err_text(ERR_NOMEM));
		return;
	}
	agent_answer(c, &b);
}

/* The key that the command brings, the one that was made for it, or - a certificate may be renewed alone - the old one.
 */
static enum err find_key(struct daemon *d, const struct msg_setup_certificate *m, char **out, struct why *why)
{
	struct identity old = {0};
	enum err e;

	if (!str_is_blank(m->privateKey)) {
		*out = mem_strdup(m->privateKey);
		return *out ? ERR_OK : ERR_NOMEM;
	}
	e = identity_waiting_key(out, d->fs, d->dir, why);
	if (e || (*out && key_matches_cert(*out, m->certificate, NULL) == ERR_OK))
		return e;
	*out = key_free(*out);
	e = identity_load(&old, d->fs, d->dir, why);
	if (!e && !old.key) {
		why_set(why, "there is no key for it");
		e = ERR_NOT_FOUND;
	}
	if (!e)
		*out = STEAL(old.key);
	identity_deinit(&old);
	return e;
}

static enum err take(struct daemon *d, const struct msg_setup_certificate *m, struct why *why)
{
	struct identity fresh = {0};
	enum err e;

	if (m->handleByAgent.has && !m->handleByAgent.value) {
		why_set(why, "there are no system VMs on this host");
		return ERR_UNSUPPORTED;
	}
	if (str_is_blank(m->certificate) || str_is_blank(m->caCertificates)) {
		why_set(why, "certificate or CA is missing");
		return ERR_INVALID;
	}
	fresh.cert = mem_strdup(m->certificate);
	fresh.ca = mem_strdup(m->caCertificates);
	e = fresh.cert && fresh.ca ? find_key(d, m, &fresh.key, why) : ERR_NOMEM;
	if (!e)
		e = credentials_renew(d, &fresh, why);
	identity_deinit(&fresh);
	return e;
}

void do_setup_certificate(struct daemon *d, struct agent_command *c)
{
	struct why why = WHY_NONE;
	enum err e = take(d, c->element->fields, &why);

	if (e)
		log_warn(&d->log, "the new certificate is refused", KV_S("reason", why_text(&why, e)));
	else
		log_info(&d->log, "a new certificate is in place");
	/* Answered first, so that the answer leaves on the link that it was asked on. */
	answer(c, e, &why);
	if (!e)
		credentials_try(d);
}
