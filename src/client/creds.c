/*
 * With which certificate new links are made.
 *
 * A new one is on trial: the old one stays until a server has made a link Ready with one of them (core/cert_trial.h has
 * the rules, by number). What happens to links is told here; what follows from it - the other certificate's turn, the
 * end of the trial - is done here, and the host program hears which of the two stays.
 */
#include <stdio.h>

#include "base/mem.h"
#include "client/engine.h"

/* A renewal that found no way to the server is tried again: the old link is in use, so there is no hurry. */
static const struct backoff_rule renew_rule = {.floor_ms = 10000, .base_ms = 15000, .cap_ms = 900000};

/* ---- what links are made with ---- */

static void held_drop(struct creds_held *h)
{
	if (h->creds)
		tls_creds_unref(h->creds);
	*h = (struct creds_held){0};
}

static void held_set(struct creds_held *h, struct tls_creds *creds, unsigned generation)
{
	tls_creds_ref(creds);
	held_drop(h);
	*h = (struct creds_held){.creds = creds, .generation = generation};
}

static void use(struct agent *a, struct tls_creds *creds, unsigned generation)
{
	if (a->creds == creds && a->creds_generation == generation)
		return;
	tls_creds_ref(creds);
	if (a->creds)
		tls_creds_unref(a->creds);
	a->creds = creds;
	a->creds_generation = generation;
	tickets_drop(a, "there are new credentials");
}

/* Without credentials there is no CA either: every server is trusted, as by the reference. */
static enum err take(struct agent *a, struct tls_creds *creds, struct why *why)
{
	struct tls_creds *own = creds;
	enum err e = creds ? ERR_OK : tls_creds_new(a->world, &own, &(struct tls_material){0}, why);

	if (e)
		return e;
	use(a, own, ++a->generations);
	if (!creds)
		tls_creds_unref(own);
	a->trust_all = !creds;
	return ERR_OK;
}

static void trial_over(struct agent *a)
{
	cert_trial_end(&a->trial.rule);
	held_drop(&a->trial.fresh);
	held_drop(&a->trial.old);
}

static void trial_start(struct agent *a, const struct creds_held *old)
{
	struct creds_held kept = {0};

	/* Taken before anything is dropped: it may be the one of the trial that is replaced. */
	held_set(&kept, old->creds, old->generation);
	trial_over(a);
	a->trial.old = kept;
	held_set(&a->trial.fresh, a->creds, a->creds_generation);
	cert_trial_begin(&a->trial.rule);
	a->trial.said[0] = '\0';
}

enum err creds_init(struct agent *a, struct why *why)
{
	enum err e = take(a, a->p.creds, why);

	if (!e && a->p.creds && a->p.old_creds) {
		const struct creds_held old = {.creds = a->p.old_creds, .generation = ++a->generations};

		trial_start(a, &old);
	}
	return e;
}

void creds_deinit(struct agent *a)
{
	timer_stop(a->world, &a->renew_timer);
	trial_over(a);
	if (a->creds)
		tls_creds_unref(a->creds);
	a->creds = NULL;
}

/* A move that is under way began with the old certificate: the renewal follows it. */
static void renew(struct agent *a)
{
	backoff_worked(&a->renew_backoff);
	timer_stop(a->world, &a->renew_timer);
	a->renew_due = true;
	move_due(a);
}

enum err agent_set_creds(struct agent *a, struct tls_creds *creds, bool lazily)
{
	enum err e = take(a, creds, NULL);

	if (e)
		return e;
	trial_over(a);
	a->has_verdict = false; /* one that waits to be told was about others */
	a->renew_due = false;
	if (!lazily)
		renew(a);
	agent_changed(a);
	return ERR_OK;
}

enum err agent_try_creds(struct agent *a, struct tls_creds *creds)
{
	const struct creds_held in_use = {.creds = a->creds, .generation = a->creds_generation};
	struct creds_held old = {0};
	enum err e;

	/* There is nothing that could be gone back to: an agent that has trusted nobody in particular never will again.
	 */
	if (a->trust_all)
		return agent_set_creds(a, creds, false);
	held_set(&old, a->trial.old.creds ? a->trial.old.creds : in_use.creds,
		 a->trial.old.creds ? a->trial.old.generation : in_use.generation);
	e = take(a, creds, NULL);
	if (!e) {
		a->has_verdict = false;
		trial_start(a, &old);
		log_info(a->log, "a new certificate is tried; the old one stays until a server has taken it");
		renew(a);
		agent_changed(a);
	}
	held_drop(&old);
	return e;
}

/* ---- a renewal that came to nothing ---- */

void creds_renew_later(struct agent *a)
{
	struct mono now = world_now(a->world);

	if (!a->current || a->current->creds_generation == a->creds_generation || a->no_reconnect || a->gone)
		return;
	backoff_failed(&a->renew_backoff, &renew_rule, now, &a->world->rng);
	timer_set(a->world, &a->renew_timer, a->renew_backoff.retry_at);
	log_info(a->log, "the link with the new certificate is tried again later",
		 KV_I("in_ms", mono_ms_between(now, a->renew_backoff.retry_at)));
}

void creds_renew_fired(struct timer *t)
{
	struct agent *a = container_of(t, struct agent, renew_timer);

	if (!a->current || a->current->creds_generation == a->creds_generation || a->no_reconnect || a->gone)
		return;
	a->renew_due = true;
	move_due(a);
}

/* ---- the trial ---- */

static bool is_on(const struct agent *a)
{
	return a->trial.rule.use != CERT_TRIAL_NONE;
}

/* CERT_TRIAL_NONE: with another one, that nobody asks about any more. */
static enum cert_trial_use made_with(const struct agent *a, unsigned generation)
{
	if (!is_on(a))
		return CERT_TRIAL_NONE;
	if (generation == a->trial.fresh.generation)
		return CERT_TRIAL_NEW;
	return generation == a->trial.old.generation ? CERT_TRIAL_OLD : CERT_TRIAL_NONE;
}

static bool has_ready_link(const struct agent *a)
{
	return a->current && a->current->state == SESSION_READY;
}

static void over(struct agent *a, bool new_stays)
{
	struct creds_held stays = {0};
	const struct creds_held *h = new_stays ? &a->trial.fresh : &a->trial.old;

	held_set(&stays, h->creds, h->generation);
	trial_over(a);
	use(a, stays.creds, stays.generation);
	held_drop(&stays);
	if (new_stays)
		log_info(a->log, "a server has taken the new certificate; the old one is not needed any more");
	else
		log_warn(a->log, "the new certificate is given up, the old one stays", KV_S("reason", a->trial.said));
	agent_creds_judged(a, new_stays, a->trial.said);
}

static enum cert_trial_verdict step(struct agent *a, enum cert_trial_event event, enum cert_trial_use with)
{
	bool has_old_link = has_ready_link(a) && made_with(a, a->current->creds_generation) == CERT_TRIAL_OLD;
	enum cert_trial_verdict v = cert_trial_step(&a->trial.rule, event, with, has_old_link, world_now(a->world));
	bool is_new = a->trial.rule.use == CERT_TRIAL_NEW;

	switch (v) {
	case CERT_TRIAL_PROVEN:
	case CERT_TRIAL_GIVEN_UP:
		over(a, v == CERT_TRIAL_PROVEN);
		break;
	case CERT_TRIAL_SWITCHES:
		log_warn(a->log, is_new ? "the new certificate is tried again" : "the old certificate is tried",
			 KV_S("reason", a->trial.said));
		use(a, is_new ? a->trial.fresh.creds : a->trial.old.creds,
		    is_new ? a->trial.fresh.generation : a->trial.old.generation);
		hunt_restart(a);
		break;
	default:
		break;
	}
	agent_changed(a);
	return v;
}

static void remember(struct agent *a, const char *sentence)
{
	snprintf(a->trial.said, sizeof(a->trial.said), "%s", sentence ? sentence : "");
}

void creds_ready(struct agent *a, unsigned generation)
{
	enum cert_trial_use with = made_with(a, generation);

	if (with != CERT_TRIAL_NONE)
		step(a, CERT_TRIAL_READY, with);
}

bool creds_refused(struct agent *a, unsigned generation, const char *sentence)
{
	enum cert_trial_use with = made_with(a, generation);

	if (with == CERT_TRIAL_NONE)
		return false;
	remember(a, sentence);
	return step(a, CERT_TRIAL_REFUSED, with) != CERT_TRIAL_STOPS;
}

bool creds_breaks_off(enum err why, bool in_question)
{
	switch (why) {
	case ERR_UNTRUSTED:
	case ERR_EXPIRED:
	case ERR_REVOKED:
		return true;
	case ERR_TLS:
	case ERR_CLOSED: /* a server that refuses a certificate of TLS 1.3 says no word */
		return in_question;
	default:
		return false;
	}
}

/* Has every server of the list failed with what is in use, and one of them because of certificates, as it seems? */
static bool is_round(const struct agent *a)
{
	bool broke_off = false;
	size_t n = 0;

	for (size_t i = 0; i < a->n_candidates; i++) {
		const struct place *p = &a->places[i];

		if (a->candidates[i].unusable || p->is_fallback)
			continue;
		if (p->failed_with != a->creds_generation)
			return false;
		broke_off |= p->broke_off;
		n++;
	}
	return n > 0 && broke_off;
}

void creds_failed(struct agent *a, const char *entry, unsigned generation, bool broke_off, const char *sentence)
{
	enum cert_trial_use with = made_with(a, generation);
	size_t i = candidates_find(a, entry);

	if (with == CERT_TRIAL_NONE || generation != a->creds_generation || i == CHOICE_NONE)
		return;
	/* One that breaks off and can't be reached later has still said what it has to say. */
	a->places[i].broke_off = broke_off || (a->places[i].failed_with == generation && a->places[i].broke_off);
	a->places[i].failed_with = generation;
	if (broke_off)
		remember(a, sentence);
	if (has_ready_link(a)) {
		if (broke_off)
			step(a, CERT_TRIAL_BROKE_OFF, with);
	} else if (is_round(a)) {
		for (size_t k = 0; k < a->n_candidates; k++)
			a->places[k].failed_with = 0;
		step(a, CERT_TRIAL_ROUND, with);
	}
}
