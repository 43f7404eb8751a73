/*
 * The certificate that this agent works with, from its files to the engine and back.
 *
 *   start        what is in place, and the old set beside it if no server has taken that yet
 *   renewal      SetupCertificate brings a new set: judged, put in place with the old one kept, tried by the engine
 *   verdict      the engine says which of the two stays: the other one is removed
 *   SIGHUP       an operator has put another one there: for good
 *
 * What the engine tries, and when it gives up, is core/cert_trial.h; what is where on the disk is identity.h.
 */
#include "agent/daemon.h"

#include <string.h>

#include "agent/certificate_words.h"
#include "agent/identity.h"
#include "agent/takeover.h"
#include "base/mem.h"
#include "net/tls.h"

static int64_t wall_s(const struct daemon *d)
{
	return world_wall_ms(d->world) / 1000;
}

static void creds_drop(struct tls_creds **c)
{
	if (*c)
		*c = tls_creds_unref(*c);
}

void credentials_deinit(struct daemon *d)
{
	creds_drop(&d->creds);
	creds_drop(&d->old_creds);
	cert_info_deinit(&d->cert);
	d->cert = (struct cert_info){0};
}

static enum err creds_make(const struct daemon *d, struct tls_creds **out, const struct identity *i, struct why *why)
{
	const struct tls_material m = {.chain = i->cert, .key = i->key, .ca = i->ca};

	return tls_creds_new(d->world, out, &m, why);
}

/* Remembers whose they are: the bytes, and what is to be shown. */
static enum err remember(struct daemon *d, const struct identity *i, struct why *why)
{
	struct cert_info info = {0};
	enum err e = i->cert ? cert_info_parse(&info, i->cert, why) : ERR_OK;

	if (e)
		return e;
	cert_info_deinit(&d->cert);
	d->cert = info;
	identity_digest(d->identity, i);
	return ERR_OK;
}

static void say_age(const struct daemon *d)
{
	CLEAN(buf_deinit) struct buf words = {0};
	CLEAN(mem_freep) char *text = NULL;

	if (!d->creds || certificate_words(&words, &d->cert, wall_s(d)) || !(text = buf_take_str(&words)))
		return;
	if (certificate_age(&d->cert, wall_s(d)) == CERTIFICATE_FINE)
		log_info(&d->log, "the certificate of this agent", KV_S("is", text), KV_S("serial", d->cert.serial));
	else
		log_warn(&d->log, "the certificate of this agent", KV_S("is", text), KV_S("serial", d->cert.serial));
}

/* With CAs that can't be used it runs, and takes no server. */
static void say_cas(const struct daemon *d, const struct identity *i)
{
	struct why why = WHY_NONE;
	enum err e = identity_check_ca(i->ca, wall_s(d), &why);

	if (e)
		log_warn(&d->log, "no server may be trusted: muster-agent join TOKEN gets new ones",
			 KV_S("reason", why_text(&why, e)));
}

/* ---- what is in place ---- */

/*
 * NULL where there is none; every server is trusted then, as by CloudStack's agents. ERR_EXISTS: it is the one that is
 * in use already.
 */
static enum err load(struct daemon *d, struct tls_creds **out, struct why *why)
{
	struct identity i = {0};
	char digest[FINGERPRINT_TEXT];
	enum err e = identity_load(&i, d->fs, d->dir, why);

	*out = NULL;
	if (!e && !i.key)
		e = takeover_is_due(d->fs, d->dir, why);
	if (!e) {
		identity_digest(digest, &i);
		if (strcmp(digest, d->identity) == 0)
			e = ERR_EXISTS;
		/* Somebody who removes the files must not turn a running agent into one that trusts every server. */
		if (!e && d->creds && !i.ca) {
			why_set(why, "the certificates are gone from %s; to run without any, start the agent again",
				d->dir);
			e = ERR_NOT_FOUND;
		}
	}
	if (!e && i.key) {
		e = identity_check(&i, d->settings.guid, wall_s(d), why);
		/* An expired one may still get us in, and a new one with it (decision 8): servers judge it, not we. */
		if (e == ERR_EXPIRED)
			e = ERR_OK;
		if (!e)
			e = creds_make(d, out, &i, why);
		if (!e)
			say_cas(d, &i);
	}
	if (!e)
		e = remember(d, &i, why);
	if (e)
		creds_drop(out);
	identity_deinit(&i);
	return e;
}

/* An old set that is of no use is none: the one in place is what counts. */
static void load_old(struct daemon *d)
{
	struct identity i = {0};
	struct why why = WHY_NONE;
	enum err e = identity_load_old(&i, d->fs, d->dir, &why);

	if (!e && i.key) {
		e = identity_check(&i, d->settings.guid, wall_s(d), &why);
		if (!e || e == ERR_EXPIRED)
			e = creds_make(d, &d->old_creds, &i, &why);
	}
	if (e)
		log_warn(&d->log, "the certificate from before the renewal can't be used",
			 KV_S("reason", why_text(&why, e)));
	else if (d->old_creds)
		log_info(&d->log, "the certificate was renewed and not used yet; the old one is kept until it was");
	identity_deinit(&i);
}

static enum err recover(const struct daemon *d, struct why *why)
{
	struct why said = WHY_NONE;
	enum err e = identity_recover(d->fs, d->dir, &said);

	if (e == ERR_CONFLICT) {
		log_warn(&d->log, "somebody else has replaced the certificate while a new one was on trial",
			 KV_S("reason", why_text(&said, e)));
		return ERR_OK;
	}
	if (e)
		why_set(why, "%s", why_text(&said, e));
	return e;
}

enum err credentials_load(struct daemon *d, struct why *why)
{
	enum err e = recover(d, why);

	if (!e)
		e = load(d, &d->creds, why);
	if (e)
		return e;
	if (d->creds)
		load_old(d);
	else
		log_warn(&d->log,
			 "this agent has no certificate and trusts every server; muster-agent join TOKEN gets one");
	say_age(d);
	/* A crash may have come between the verdict and the store. */
	if (d->creds && !d->old_creds)
		store_sync(d);
	return ERR_OK;
}

enum err credentials_reload(struct daemon *d, struct why *why)
{
	struct tls_creds *creds = NULL;
	enum err e = recover(d, why);

	if (!e)
		e = load(d, &creds, why);
	if (e)
		return e == ERR_EXISTS ? ERR_OK : e;
	creds_drop(&d->creds);
	creds_drop(&d->old_creds);
	d->creds = creds;
	d->given_up[0] = '\0';
	/* Only when a renewal that was cut off has been finished just now. What an operator puts there is for good. */
	if (creds)
		load_old(d);
	say_age(d);
	if (d->old_creds)
		return agent_try_creds(d->agent, creds);
	e = agent_set_creds(d->agent, creds, false);
	if (!e)
		store_sync(d);
	return e;
}

/* ---- a renewal ---- */

/* What somebody else has put there and the agent has not taken yet is not overwritten. */
static enum err need_own_files(const struct daemon *d, struct why *why)
{
	bool is_others = false;
	enum err e = identity_is_others(&is_others, d->fs, d->dir, d->identity, why);

	if (e || !is_others)
		return e;
	why_set(why,
		"cloud.key, cloud.crt or cloud.ca.crt in %s was replaced by somebody else and is not in use yet: SIGHUP or a "
		"restart takes it",
		d->dir);
	return ERR_CONFLICT;
}

enum err credentials_renew(struct daemon *d, const struct identity *fresh, struct why *why)
{
	struct tls_creds *creds = NULL;
	enum err e = identity_check_ca(fresh->ca, wall_s(d), why);

	if (!e)
		e = need_own_files(d, why);
	if (!e)
		e = identity_check(fresh, d->settings.guid, wall_s(d), why);
	if (!e)
		e = creds_make(d, &creds, fresh, why);
	if (!e)
		e = identity_renew(d->fs, d->dir, fresh, why);
	if (!e)
		e = remember(d, fresh, why);
	if (e) {
		creds_drop(&creds);
		return e;
	}
	/* Of two renewals in a row the old one is what has worked. */
	if (d->old_creds)
		creds_drop(&d->creds);
	else
		d->old_creds = d->creds;
	d->creds = creds;
	d->given_up[0] = '\0';
	return ERR_OK;
}

void credentials_try(struct daemon *d)
{
	if (agent_try_creds(d->agent, d->creds) != ERR_OK)
		log_error(&d->log, "the new certificate is used after a restart only",
			  KV_S("error", err_text(ERR_NOMEM)));
	/* Nothing was there before: nothing is on trial. */
	else if (!d->old_creds)
		store_sync(d);
}

/* ---- the verdict ---- */

static enum err go_back(struct daemon *d, struct why *why)
{
	struct identity i = {0};
	enum err e = identity_load_old(&i, d->fs, d->dir, why);

	if (!e)
		e = identity_go_back(d->fs, d->dir, why);
	/* It is in use, wherever its files are. */
	if ((!e || e == ERR_CONFLICT) && remember(d, &i, NULL))
		e = ERR_NOMEM;
	identity_deinit(&i);
	return e;
}

void credentials_judged(struct daemon *d, bool new_stays, const char *sentence)
{
	struct why why = WHY_NONE;
	enum err e;

	if (new_stays) {
		e = identity_proven(d->fs, d->dir, &why);
		if (e)
			log_warn(&d->log, "the old certificate is still in the folder", KV_S("dir", d->dir),
				 KV_S("reason", why_text(&why, e)));
		creds_drop(&d->old_creds);
		say_age(d);
		store_sync(d);
		return;
	}
	/* The engine uses it already; the files follow. */
	creds_drop(&d->creds);
	d->creds = STEAL(d->old_creds);
	str_copy(d->given_up, sizeof(d->given_up), sentence[0] ? sentence : "servers did not take it");
	e = go_back(d, &why);
	if (e == ERR_CONFLICT)
		log_warn(&d->log,
			 "the old certificate is in use; SIGHUP or a restart takes the one that is in the folder",
			 KV_S("reason", why_text(&why, e)));
	else if (e)
		log_error(
			&d->log,
			"the old certificate is in use, but not back in the folder; a restart tries the new one again",
			KV_S("dir", d->dir), KV_S("reason", why_text(&why, e)));
	say_age(d);
}
