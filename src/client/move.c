/*
 * From one session to the next.
 *
 * Between muster servers a move makes before it breaks: the new link sends its startup, is made Ready and takes the
 * old one's place; the old one stays for a moment to finish what came on it. Towards CloudStack the old link is
 * closed first, as the reference does, because its servers know only one link of a host - but not before the other
 * server has completed TLS: a port that accepts and says nothing must not cost a link that works.
 */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "client/engine.h"

#define MIGRATE_LATER_MS 3000 /* what the reference waits between its answer and the move */
#define PROVEN_MS 10000       /* a link that is lost earlier counts as a failure of its server */

/* ---- begin and end of a move ---- */

static bool move_is_possible(const struct agent *a, enum hunt h)
{
	/* A server that hangs in the middle of our startup is got off like one that we are Ready on. */
	bool has_link = a->state == AGENT_UP || (a->state == AGENT_STARTING && h == HUNT_SUSPECT && a->current);

	return has_link && !a->next && !a->no_reconnect && !a->gone;
}

/*
 * A return that only proves itself yet gives way. To one who wants off a silent link it is more than a dial: TLS is
 * complete, so it takes over as it is. Returns whether that is so.
 */
static bool proving_gives_way(struct agent *a, enum hunt h)
{
	struct session *s = a->next;

	if (!s || s->state != SESSION_PROVING)
		return false;
	if (h == HUNT_SUSPECT) {
		s->purpose = HUNT_SUSPECT;
		move_proven(s);
		return true;
	}
	if (h == HUNT_MIGRATE)
		move_unproven(s, "a server asks this agent to move");
	return false;
}

/* Does it go before the move that is under way? */
static bool goes_before(const struct agent *a, enum hunt h)
{
	/* Getting off a silent link, and off a server that asks for it, go before what is merely better. */
	if (h == HUNT_SUSPECT || h == HUNT_MIGRATE)
		return true;
	/* A renewal that was put off and waits: the link home has the new certificate too. */
	return h == HUNT_PREFERRED && a->hunt.purpose == HUNT_RENEW && !a->hunt.n_attempts;
}

bool move_begin(struct agent *a, enum hunt h)
{
	if (!a->no_reconnect && !a->gone && proving_gives_way(a, h))
		return true;
	if (!move_is_possible(a, h) || a->hunt.purpose == h)
		return false;
	if (a->hunt.purpose != HUNT_NONE) {
		if (!goes_before(a, h))
			return false;
		/* What was asked for follows when this one has come to nothing. */
		a->migrate_due |= a->hunt.purpose == HUNT_MIGRATE;
		a->renew_due |= a->hunt.purpose == HUNT_RENEW;
		hunt_stop(a);
	}
	if (h == HUNT_MIGRATE)
		a->migrate_due = false;
	log_info(a->log, "looking for another server", KV_S("server", a->current->entry), KV_S("for", hunt_name(h)));
	/* A server that has fallen silent is so for all of its agents. */
	if (h == HUNT_SUSPECT)
		hunt_start_spread(a, h, a->current->n_agents);
	else
		hunt_start(a, h);
	agent_changed(a);
	return true;
}

void move_due(struct agent *a)
{
	if (!move_is_possible(a, HUNT_NONE) || a->hunt.purpose != HUNT_NONE)
		return;
	if (a->migrate_due) {
		a->migrate_due = false;
		move_begin(a, HUNT_MIGRATE);
	} else if (a->renew_due) {
		a->renew_due = false;
		if (a->current->creds_generation != a->creds_generation)
			move_begin(a, HUNT_RENEW);
	}
}

void move_abandon(struct agent *a, const char *reason)
{
	bool was_return = a->hunt.purpose == HUNT_PREFERRED;
	bool was_renewal = a->hunt.purpose == HUNT_RENEW;

	log_info(a->log, "staying on this server", KV_S("server", a->current ? a->current->entry : "-"),
		 KV_S("looked_for", hunt_name(a->hunt.purpose)), KV_S("reason", reason));
	hunt_stop(a);
	agent_changed(a);
	if (was_renewal)
		creds_renew_later(a);
	/* A return that was tried has a back-off; one that had to give way is tried again. */
	if (!was_return)
		check_resume(a);
	move_due(a);
}

void move_forbid(struct agent *a)
{
	a->no_reconnect = true;
	a->migrate_due = false;
	a->renew_due = false;
	hunt_stop(a);
	timer_stop(a->world, &a->migrate_timer);
	timer_stop(a->world, &a->check_timer);
	timer_stop(a->world, &a->renew_timer);
	if (a->next)
		session_close(a->next);
	a->next = NULL;
}

/* ---- migration ---- */

enum err move_plan_migration(struct session *s, struct why *why)
{
	struct agent *a = s->agent;
	size_t here;

	here = a->current ? candidates_find(a, a->current->entry) : CHOICE_NONE;
	if (!hunt_has_target(a, HUNT_MIGRATE)) {
		if (here != CHOICE_NONE && !a->candidates[here].avoided)
			return ERR_OK; /* we are where we should go */
		why_set(why, "no server of the list is left to go to");
		return ERR_NOT_FOUND;
	}
	a->migrate_avoid.has = true;
	if (str_list_copy(&a->migrate_avoid.list, &a->avoid) != ERR_OK)
		return ERR_NOMEM;
	timer_set_in(a->world, &a->migrate_timer, s->is_muster ? 0 : MIGRATE_LATER_MS);
	return ERR_OK;
}

void move_migrate_fired(struct timer *t)
{
	struct agent *a = container_of(t, struct agent, migrate_timer);

	list_set_avoid(a, &a->migrate_avoid);
	/* A return to the preferred server that is still dialling has to give way, another move is waited for. */
	a->migrate_due = !move_begin(a, HUNT_MIGRATE) && a->hunt.purpose != HUNT_MIGRATE;
	move_due(a);
}

/* ---- a new link ---- */

static bool is_proven(const struct session *s)
{
	return s->ready_at.us && mono_reached(world_now(s->agent->world), mono_add_ms(s->ready_at, PROVEN_MS));
}

/* The link in use makes room for another one: what that says about its server, and what is done with. */
static void leave(struct agent *a, const struct session *old, enum hunt purpose)
{
	if (is_proven(old))
		candidate_worked(a, old->entry);
	if (purpose == HUNT_SUSPECT)
		candidate_failed(a, old->entry, ERR_TIMEOUT, "the server does not answer any more");
	/* Nobody is left who has asked us to go. */
	if (purpose == HUNT_SUSPECT || purpose == HUNT_MIGRATE)
		a->migrate_due = false;
}

static bool move_is_wanted(struct agent *a, enum hunt purpose)
{
	if (agent_is_stopped(a) || a->no_reconnect || a->next)
		return false;
	return purpose != HUNT_SUSPECT || !a->current || liveness_is_suspect(a->current);
}

static void move_take(struct agent *a, struct session *s)
{
	struct session *old = a->current;
	enum err e;

	if (old && old->is_muster && s->is_muster) {
		a->next = s;
	} else {
		a->next = NULL;
		a->current = s;
		if (old) {
			leave(a, old, s->purpose);
			check_moved(a, s);
			session_close(old);
		}
		agent_move(a, AGENT_STARTING, hunt_name(s->purpose));
	}
	agent_changed(a);
	e = session_begin(s);
	if (e)
		move_session_lost(s, e, "the startup can't be sent");
}

void move_arrived(struct agent *a, const struct arrival *arrival)
{
	struct session *s;
	enum err e;

	if (!move_is_wanted(a, arrival->purpose)) {
		link_close(arrival->link);
		log_info(a->log, "staying on this server", KV_S("looked_for", hunt_name(arrival->purpose)));
		move_due(a);
		return;
	}
	e = session_new(&s, a, arrival);
	if (e) {
		candidate_failed(a, arrival->entry, e, NULL);
		if (!a->current)
			hunt_start(a, HUNT_SEEK);
	} else if (s->purpose == HUNT_PREFERRED) {
		/* Home has to show first that it is alive. */
		a->next = s;
		agent_changed(a);
		check_prove(s);
	} else {
		move_take(a, s);
	}
}

void move_proven(struct session *s)
{
	struct agent *a = s->agent;

	assert(s == a->next && s->state == SESSION_PROVING);
	move_take(a, s);
}

void move_unproven(struct session *s, const char *reason)
{
	struct agent *a = s->agent;

	assert(s == a->next && s->state == SESSION_PROVING);
	a->next = NULL;
	log_info(a->log, "staying on this server", KV_S("server", a->current ? a->current->entry : "-"),
		 KV_S("looked_for", hunt_name(s->purpose)), KV_S("reason", reason));
	session_close(s);
	agent_changed(a);
	move_due(a);
}

/* ---- Ready ---- */

static void known_muster_add(struct agent *a, const char *entry)
{
	CLEAN(mem_freep) char *value = NULL;
	struct why why = WHY_NONE;
	enum err e;

	if (str_list_has(&a->known_muster, entry))
		return;
	e = str_list_add(&a->known_muster, entry);
	if (!e && !(value = str_list_join(&a->known_muster, ",")))
		e = ERR_NOMEM;
	if (!e)
		e = agent_file_change(a->file, &(struct agent_change){KEY_KNOWN_MUSTER, value}, 1, &why);
	if (e)
		log_warn(a->log, "not remembered that this server is muster's", KV_S("server", entry),
			 KV_S("reason", why_text(&why, e)));
}

/* Where the names of the list led to, for when they can't be asked (decision 23). */
static enum err addresses_format(const struct agent *a, struct buf *out)
{
	enum err e = ERR_OK;

	for (size_t i = 0; i < a->n_candidates && !e; i++) {
		const struct place *p = &a->places[i];

		if (!p->last_ip[0] || a->candidates[i].unusable || !strcmp(p->last_ip, p->address.host))
			continue;
		e = buf_printf(out, "%s%s=%s", out->len ? "," : "", p->entry, p->last_ip);
	}
	return e;
}

static void addresses_save(struct agent *a)
{
	CLEAN(buf_deinit) struct buf value = {0};
	struct agent_change change = {.key = KEY_ADDRESSES};
	struct why why = WHY_NONE;
	enum err e = addresses_format(a, &value);

	if (!e && value.len && !(change.value = buf_str(&value)))
		e = ERR_NOMEM;
	if (!e)
		e = agent_file_change(a->file, &change, 1, &why);
	if (e)
		log_warn(a->log, "the servers' addresses are not remembered", KV_S("reason", why_text(&why, e)));
}

static void list_has_worked(struct agent *a)
{
	bool had_fallback = a->hunt.fallback > 0;

	a->list_worked = true;
	a->hunt.fallback = 0;
	if (had_fallback && candidates_rebuild(a) != ERR_OK)
		log_warn(a->log, "older lists are still tried", KV_S("error", err_name(ERR_NOMEM)));
}

static void promote(struct agent *a)
{
	struct session *old = a->current;

	a->current = a->next;
	a->next = NULL;
	log_info(a->log, "moved to another link", KV_S("from", old->entry), KV_S("to", a->current->entry),
		 KV_S("for", hunt_name(a->current->purpose)));
	leave(a, old, a->current->purpose);
	if (old->state == SESSION_READY)
		session_retire(old);
	else
		session_close(old); /* it hangs in its startup */
	agent_changed(a);
}

/* The startup may have made the other server our owner: the one we stay on has to hear that we are still here. */
static void claim_back(struct agent *a)
{
	if (a->current->state == SESSION_READY && session_send_startup(a->current) != ERR_OK)
		log_warn(a->log, "startup not sent again", KV_S("server", a->current->entry));
}

void move_not_needed(struct agent *a)
{
	bool was_started;

	if (a->hunt.purpose == HUNT_SUSPECT)
		move_abandon(a, "the link in use is alive after all");
	if (!a->next || a->next->purpose != HUNT_SUSPECT)
		return;
	log_info(a->log, "staying on this server", KV_S("server", a->current->entry),
		 KV_S("looked_for", hunt_name(a->next->purpose)));
	was_started = a->next->started_at.us != 0;
	session_close(a->next);
	a->next = NULL;
	agent_changed(a);
	if (was_started)
		claim_back(a);
	check_resume(a);
	move_due(a);
}

/*
 * The search is over: wherever the agent had to wait, or failed, the next one starts anew. Back-offs and times that
 * were named for later hold.
 */
static void search_is_over(struct agent *a, const char *entry)
{
	size_t here = candidates_find(a, entry);

	for (size_t i = 0; i < a->n_candidates; i++) {
		a->places[i].put_off = 0;
		a->places[i].is_sent = false;
		a->candidates[i].has_failed = false;
	}
	if (here != CHOICE_NONE)
		a->candidates[here].is_put_off = false;
	a->hunt.lost_agents = 0;
}

void move_session_ready(struct session *s, bool is_first)
{
	struct agent *a = s->agent;

	if (is_first) {
		check_arrived(a, s);
		creds_ready(a, s->creds_generation);
	}
	if (s == a->next)
		promote(a);
	else if (is_first)
		move_not_needed(a);
	assert(s == a->current);
	if (is_first)
		search_is_over(a, s->entry);
	if (a->state != AGENT_UP)
		agent_move(a, AGENT_UP, "ready");
	if (str_list_has(&a->list, s->entry))
		list_has_worked(a);
	if (s->is_muster)
		known_muster_add(a, s->entry);
	addresses_save(a);
	requests_flush(a);
	if (is_first)
		check_ready(a);
	move_due(a);
}

/* ---- loss ---- */

/*
 * Is the reason for the move still there? The server that wants us to go has not been obeyed as long as another
 * candidate is left, and a silent link is not got off.
 */
static bool is_still_wanted(const struct agent *a, enum hunt h)
{
	return h == HUNT_MIGRATE || (h == HUNT_SUSPECT && a->current && liveness_is_suspect(a->current));
}

/* What the move was for goes on without that link. */
static void next_gone(struct agent *a, const struct session *s)
{
	if (is_still_wanted(a, s->purpose) && move_is_possible(a, s->purpose) && a->hunt.purpose == HUNT_NONE)
		hunt_resume(a, s->purpose);
	move_due(a);
}

static void next_lost(struct agent *a, struct session *s, enum err why, const char *sentence, bool claims)
{
	a->next = NULL;
	if (hunt_is_move(s->purpose))
		candidate_move_failed(a, s->entry, why, sentence);
	else
		candidate_failed(a, s->entry, why, sentence);
	if (claims)
		claim_back(a);
	if (s->purpose == HUNT_PREFERRED)
		check_failed(a, s->entry);
	if (s->purpose == HUNT_RENEW)
		creds_renew_later(a);
	next_gone(a, s);
}

/* The link in use is gone; the next one takes its place, or one is looked for. */
static void current_gone(struct agent *a, const struct session *s, const char *sentence)
{
	enum err e;

	a->current = a->next;
	a->next = NULL;
	timer_stop(a->world, &a->migrate_timer);
	a->migrate_due = false;
	check_lost(a);
	if (a->current) {
		agent_move(a, AGENT_STARTING, sentence);
		if (a->current->state != SESSION_PROVING)
			return;
		/* There is nothing to lose any more by trying it as it is, and it is no return that could wait. */
		a->current->purpose = HUNT_SEEK;
		e = session_begin(a->current);
		if (e)
			move_session_lost(a->current, e, "the startup can't be sent");
		return;
	}
	agent_move(a, AGENT_SEEKING, sentence);
	if (a->gone)
		return; /* the server has read our farewell */
	if (a->no_reconnect) {
		agent_give_up(a, ERR_STOPPED, "the host was deleted");
		return;
	}
	/* What was being dialled for a move is as good a server as any. */
	if (a->hunt.purpose != HUNT_NONE) {
		a->hunt.purpose = HUNT_SEEK;
		hunt_lost(a, s->n_agents);
		hunt_step(a);
	} else {
		hunt_start_spread(a, HUNT_SEEK, s->n_agents);
	}
}

static void current_lost(struct agent *a, struct session *s, enum err why, const char *sentence)
{
	bool worked = is_proven(s);

	if (worked)
		candidate_worked(a, s->entry);
	if (!worked || why != ERR_CLOSED)
		candidate_failed(a, s->entry, why, sentence);
	current_gone(a, s, sentence);
}

void move_session_lost(struct session *s, enum err why, const char *sentence)
{
	struct agent *a = s->agent;
	bool was_retiring = s->state == SESSION_RETIRING;
	bool was_started = s->started_at.us != 0;
	bool was_answered = s->state != SESSION_PROVING && s->state != SESSION_STARTING;

	if (!was_retiring)
		log_warn(a->log, "link lost", KV_S("server", s->entry), KV_S("error", err_name(why)),
			 KV_S("reason", sentence));
	session_close(s);
	/* TLS was complete for us: with TLS 1.3 the server's is only when it has our certificate. */
	if (!was_answered)
		creds_failed(a, s->entry, s->creds_generation, creds_breaks_off(why, true), sentence);
	if (s == a->next)
		next_lost(a, s, why, sentence, was_started);
	else if (s == a->current)
		current_lost(a, s, why, sentence);
}

void move_session_refused(struct session *s, const char *sentence)
{
	struct agent *a = s->agent;
	bool has_other;

	if (s != a->current && s != a->next) {
		session_close(s);
		return;
	}
	log_warn(a->log, "refused by the server", KV_S("server", s->entry), KV_S("reason", sentence));
	has_other = creds_refused(a, s->creds_generation, sentence);
	if (s == a->current && !has_other) {
		agent_give_up(a, ERR_REFUSED, sentence);
		return;
	}
	session_close(s);
	if (s == a->next) {
		next_lost(a, s, ERR_REFUSED, sentence, false);
	} else {
		/* With the other certificate it may be another matter. */
		candidate_failed(a, s->entry, ERR_REFUSED, sentence);
		hunt_restart(a);
		current_gone(a, s, sentence);
	}
}

void move_session_put_off(struct session *s, int64_t retry_ms, const char *server, const char *sentence)
{
	struct agent *a = s->agent;
	bool is_sent_on = server && !s->is_sent && (s->purpose == HUNT_SEEK || s->purpose == HUNT_SUSPECT);

	if (s != a->current && s != a->next)
		return;
	log_info(a->log, "asked to come back", KV_S("server", s->entry), KV_I("in_ms", retry_ms),
		 KV_S("reason", sentence), KV_S("try", server ? server : "-"));
	session_close(s);
	candidate_put_off(a, s->entry, s->purpose == HUNT_PREFERRED, retry_ms, sentence);
	/* Who was sent isn't sent on: two full servers would play ball with us. */
	if (is_sent_on)
		candidate_send_to(a, s->entry, server);
	if (s == a->current) {
		current_gone(a, s, sentence);
		return;
	}
	a->next = NULL;
	if (s->purpose == HUNT_RENEW)
		a->renew_due = true;
	if (s->purpose == HUNT_PREFERRED)
		check_put_off(a, mono_add_ms(world_now(a->world), retry_ms));
	next_gone(a, s);
}
