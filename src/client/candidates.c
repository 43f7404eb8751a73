/*
 * Which servers there are, and the hunt for one: dialling candidates beside each other until one has completed TLS.
 *
 * core/choice says which server is next, this file when. The next dial starts next_dial_ms after the last while TCP
 * isn't there; a candidate that has TCP gets 1 to 3 s first (core/first_dial). Nobody but the
 * first to complete TLS sends a startup, so that the others never show up as connections of this agent.
 *
 * While there is no link at all, the list that doesn't answer is joined by the last one that worked, then by the one
 * the agent was installed with (decision 23). They are only tried after it, and nothing of this is written anywhere.
 */
#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "client/engine.h"

#define MOST_FALLBACKS 2

const char *hunt_name(enum hunt h)
{
	static const char *const names[] = {
		[HUNT_NONE] = "none",         [HUNT_SEEK] = "seeking",        [HUNT_PREFERRED] = "preferred server",
		[HUNT_MIGRATE] = "migration", [HUNT_SUSPECT] = "silent link", [HUNT_RENEW] = "new certificate",
	};

	return names[h];
}

const char *hunt_purpose(enum hunt h)
{
	static const char *const names[] = {
		[HUNT_NONE] = "none",       [HUNT_SEEK] = "seek",       [HUNT_PREFERRED] = "preferred",
		[HUNT_MIGRATE] = "migrate", [HUNT_SUSPECT] = "suspect", [HUNT_RENEW] = "renew",
	};

	return names[h];
}

bool hunt_is_move(enum hunt h)
{
	return h == HUNT_PREFERRED || h == HUNT_MIGRATE || h == HUNT_RENEW;
}

/* ---- the candidates ---- */

/* However it is spelled: the default port may be there or not. */
static bool is_same(const struct agent *a, const char *left, const char *right)
{
	return !strcmp(left, right) || server_entry_same(left, right, a->p.port);
}

size_t candidates_find(const struct agent *a, const char *entry)
{
	for (size_t i = 0; i < a->n_candidates; i++) {
		if (is_same(a, a->places[i].entry, entry))
			return i;
	}
	return CHOICE_NONE;
}

static void candidates_free(struct candidate *c, struct place *places, size_t n)
{
	for (size_t i = 0; i < n; i++)
		mem_free(places[i].entry);
	mem_free(places);
	mem_free(c);
}

void candidates_deinit(struct agent *a)
{
	candidates_free(a->candidates, a->places, a->n_candidates);
	a->candidates = NULL;
	a->places = NULL;
	a->n_candidates = 0;
}

/* The last address of a name, as muster.servers.addresses remembers it: "m1=10.0.0.1,m2:8251=10.0.0.2". */
static void address_recall(struct place *p, const struct agent *a)
{
	CLEAN(str_list_deinit) struct str_list pairs = {0};
	const char *value = agent_file_get(a->file, KEY_ADDRESSES);
	size_t n = strlen(p->entry);

	if (!value || str_list_split(&pairs, value, ',') != ERR_OK)
		return;
	for (size_t i = 0; i < pairs.n; i++) {
		const char *pair = pairs.items[i];

		if (!strncmp(pair, p->entry, n) && pair[n] == '=' &&
		    !str_copy(p->last_ip, sizeof(p->last_ip), pair + n + 1))
			p->last_ip[0] = '\0';
	}
}

/* Arrays under construction. */
struct places {
	struct candidate *candidates;
	struct place *places;
	size_t n;
};

static bool places_have(const struct agent *a, const struct places *p, const char *entry)
{
	for (size_t i = 0; i < p->n; i++) {
		if (is_same(a, p->places[i].entry, entry))
			return true;
	}
	return false;
}

/* What was learned about an entry stays with it. */
static enum err places_add(struct places *to, const struct agent *a, const char *entry, bool is_fallback)
{
	size_t old = candidates_find(a, entry);
	struct candidate *c = &to->candidates[to->n];
	struct place *p = &to->places[to->n];

	if (places_have(a, to, entry))
		return ERR_OK;
	if (old != CHOICE_NONE) {
		*c = a->candidates[old];
		*p = a->places[old];
	}
	p->entry = mem_strdup(entry);
	if (!p->entry)
		return ERR_NOMEM;
	c->entry = p->entry;
	p->is_fallback = is_fallback;
	to->n++;
	if (old == CHOICE_NONE) {
		c->unusable = server_address_parse(&p->address, entry, NULL) != ERR_OK;
		address_recall(p, a);
	}
	return ERR_OK;
}

static enum err places_add_list(struct places *to, const struct agent *a, const struct str_list *l, bool is_fallback)
{
	enum err e = ERR_OK;

	for (size_t i = 0; i < l->n && !e; i++)
		e = places_add(to, a, l->items[i], is_fallback);
	return e;
}

static enum err fallbacks_load(struct agent *a, struct str_list lists[MOST_FALLBACKS])
{
	static const char *const keys[MOST_FALLBACKS] = {KEY_HOST_LASTGOOD, KEY_HOST_BOOTSTRAP};
	enum err e = ERR_OK;

	for (size_t i = 0; i < MOST_FALLBACKS && i < a->hunt.fallback && !e; i++) {
		CLEAN(mem_freep) char *algorithm = NULL;
		const char *value = agent_file_get(a->file, keys[i]);

		if (value)
			e = server_list_parse_reported(&lists[i], &algorithm, value);
	}
	return e;
}

static enum err places_build(struct places *to, struct agent *a, const struct str_list fallbacks[MOST_FALLBACKS])
{
	const struct session *in_use[] = {a->current, a->next};
	size_t most = a->list.n + fallbacks[0].n + fallbacks[1].n + ARRAY_SIZE(in_use);
	enum err e;

	to->candidates = mem_zalloc_array(most, sizeof(*to->candidates));
	to->places = mem_zalloc_array(most, sizeof(*to->places));
	if (!to->candidates || !to->places)
		return ERR_NOMEM;
	e = places_add_list(to, a, &a->list, false);
	for (size_t i = 0; i < MOST_FALLBACKS && !e; i++)
		e = places_add_list(to, a, &fallbacks[i], true);
	/* The server that we are on is always among them, also when a new list doesn't name it. */
	for (size_t i = 0; i < ARRAY_SIZE(in_use) && !e; i++) {
		if (in_use[i])
			e = places_add(to, a, in_use[i]->entry, true);
	}
	return e;
}

static void attempt_free(struct attempt *at)
{
	link_close(at->link);
	list_remove(&at->in);
	at->agent->hunt.n_attempts--;
	mem_free(at->entry);
	mem_free(at);
}

/* Dialling a server that is no candidate any more would end on it. */
static void attempts_drop_strangers(struct agent *a)
{
	list_for (at, &a->hunt.attempts, struct attempt, in) {
		if (candidates_find(a, at->entry) == CHOICE_NONE)
			attempt_free(at);
	}
}

enum err candidates_rebuild(struct agent *a)
{
	struct str_list fallbacks[MOST_FALLBACKS] = {0};
	struct places made = {0};
	enum err e = fallbacks_load(a, fallbacks);

	if (!e)
		e = places_build(&made, a, fallbacks);
	for (size_t i = 0; i < MOST_FALLBACKS; i++)
		str_list_deinit(&fallbacks[i]);
	if (e) {
		candidates_free(made.candidates, made.places, made.n);
		return e;
	}
	candidates_deinit(a);
	a->candidates = made.candidates;
	a->places = made.places;
	a->n_candidates = made.n;
	attempts_drop_strangers(a);
	/* A hunt whose only attempt was dropped would wait for its end, and no other move could begin, for ever. */
	if (a->hunt.purpose != HUNT_NONE)
		timer_set(a->world, &a->hunt.timer, world_now(a->world));
	return ERR_OK;
}

static bool is_dialing(const struct agent *a, const char *entry)
{
	list_for (at, &a->hunt.attempts, struct attempt, in) {
		if (is_same(a, at->entry, entry))
			return true;
	}
	return false;
}

void candidates_refresh(struct agent *a)
{
	for (size_t i = 0; i < a->n_candidates; i++) {
		struct candidate *c = &a->candidates[i];

		c->sentence = a->places[i].said[0] ? a->places[i].said : NULL;
		c->avoided = list_avoids(a, &a->places[i]);
		c->connected = a->current && is_same(a, a->current->entry, c->entry);
		c->dialing = is_dialing(a, c->entry) || (a->next && is_same(a, a->next->entry, c->entry));
	}
}

static void candidate_says(struct agent *a, size_t i, enum err why, const char *sentence)
{
	struct place *p = &a->places[i];

	a->candidates[i].last_error = why;
	/* A sentence may come from a peer and be longer. */
	snprintf(p->said, sizeof(p->said), "%s", sentence ? sentence : err_text(why));
}

void candidate_failed(struct agent *a, const char *entry, enum err why, const char *sentence)
{
	size_t i = candidates_find(a, entry);

	if (i == CHOICE_NONE)
		return;
	candidate_says(a, i, why, sentence);
	a->candidates[i].is_put_off = false;
	a->candidates[i].has_failed = true;
	backoff_failed(&a->candidates[i].backoff, &a->p.backoff, world_now(a->world), &a->world->rng);
	agent_changed(a);
}

void candidate_move_failed(struct agent *a, const char *entry, enum err why, const char *sentence)
{
	size_t i = candidates_find(a, entry);
	struct candidate *c;

	if (i == CHOICE_NONE)
		return;
	c = &a->candidates[i];
	candidate_says(a, i, why, sentence);
	c->is_put_off = false;
	/* A look at the preferred server every few seconds must not make it one that is waited for when it is needed.
	 */
	backoff_worked(&c->backoff);
	backoff_failed(&c->backoff, &a->p.backoff, world_now(a->world), &a->world->rng);
	agent_changed(a);
}

void candidate_put_off(struct agent *a, const char *entry, bool is_return, int64_t retry_ms, const char *sentence)
{
	size_t i = candidates_find(a, entry);

	if (i == CHOICE_NONE)
		return;
	candidate_says(a, i, ERR_BUSY, sentence);
	/* Exactly then: the server has spread these times already. No jitter, and no failure either. */
	a->candidates[i].is_put_off = true;
	a->places[i].return_put_off = is_return;
	a->candidates[i].has_failed = false;
	a->candidates[i].backoff.retry_at = mono_add_ms(world_now(a->world), retry_ms);
	a->places[i].was_tried = false;
	if (a->places[i].put_off < UINT_MAX)
		a->places[i].put_off++;
	a->places[i].failed_with = 0;
	/* An answer: the older lists are for when there is none. */
	if (!a->places[i].is_fallback)
		a->hunt.seeking_since = a->candidates[i].backoff.retry_at;
	agent_changed(a);
}

/* It has named a time itself that has not come yet. */
static bool is_waited_for(const struct agent *a, const struct candidate *c)
{
	return c->is_put_off && !mono_reached(world_now(a->world), c->backoff.retry_at);
}

void candidate_send_to(struct agent *a, const char *from, const char *entry)
{
	for (size_t i = 0; i < a->n_candidates; i++) {
		struct candidate *c = &a->candidates[i];

		if (!server_entry_same(c->entry, entry, a->p.port) || server_entry_same(c->entry, from, a->p.port))
			continue;
		/* What we were told to avoid, and a time that it has named itself, are nearer to the truth. */
		if (c->unusable || is_waited_for(a, c) || list_avoids(a, &a->places[i]))
			return;
		log_info(a->log, "sent to another server", KV_S("from", from), KV_S("to", c->entry));
		a->places[i].is_sent = true;
		/* Who names it knows more than its last failure tells. */
		c->has_failed = false;
		c->is_put_off = false;
		c->backoff.retry_at = (struct mono){0};
		return;
	}
	log_debug(a->log, "sent to a server that is not in the list", KV_S("from", from), KV_S("to", entry));
}

void candidate_worked(struct agent *a, const char *entry)
{
	size_t i = candidates_find(a, entry);

	if (i == CHOICE_NONE)
		return;
	a->places[i].said[0] = '\0';
	a->candidates[i].is_put_off = false;
	a->candidates[i].last_error = ERR_OK;
	backoff_worked(&a->candidates[i].backoff);
}

/* ---- attempts ---- */

/*
 * An unknown server is asked as a muster server first and, if TLS itself is what failed, as CloudStack's next: its
 * certificate isn't one for TLS, which only the other profile lets pass. Known ones are never asked the weaker way, and
 * by an agent with a certificate of muster's nobody is (profile_of()). Returns whether the entry may be dialled again
 * at once.
 */
static bool profile_switch(struct place *p, enum tls_profile used, enum err why)
{
	if (used == TLS_CLIENT_COMPAT) {
		p->is_compat = false;
		return false;
	}
	p->is_compat = used == TLS_CLIENT_UNKNOWN && (why == ERR_TLS || why == ERR_UNTRUSTED);
	return p->is_compat;
}

/*
 * Never met, but in the list of those that gave us a ticket, so most likely of the same cluster, and then the ticket is
 * worth most: these are the servers that take over from the one that has died. If it is not so, it is asked as an
 * unknown server at once.
 */
static bool is_guessed(const struct agent *a, const struct place *p)
{
	return !p->is_fallback && !p->is_compat && !p->no_ticket && tickets_offer(a, TLS_CLIENT_MUSTER).len > 0;
}

/*
 * Our certificate names us by our guid, so a muster server issued it, and its CA is muster's. Whoever doesn't speak
 * muster/1 is no server of ours: a handshake that broke, or somebody in between, must not make us talk as CloudStack's
 * agents do.
 */
static bool is_muster_identity(const struct agent *a)
{
	return a->creds->own_role == CERT_ROLE_AGENT;
}

static enum tls_profile profile_of(const struct agent *a, const struct place *p)
{
	if (is_muster_identity(a) || str_list_has(&a->known_muster, p->entry) || is_guessed(a, p))
		return TLS_CLIENT_MUSTER;
	return p->is_compat ? TLS_CLIENT_COMPAT : TLS_CLIENT_UNKNOWN;
}

static enum err attempt_dial(struct attempt *at, const struct place *p, struct why *why);

static void hunted_failed(struct agent *a, const char *entry, enum err why, const char *sentence)
{
	if (hunt_is_move(a->hunt.purpose))
		candidate_move_failed(a, entry, why, sentence);
	else
		candidate_failed(a, entry, why, sentence);
}

/* The end of an attempt that didn't become a session. `in_question`: link_cert_in_question(). */
static void attempt_failed(struct attempt *at, enum err error, const char *sentence, bool may_switch, bool in_question)
{
	struct agent *a = at->agent;
	size_t i = candidates_find(a, at->entry);
	bool has_failed = false;
	unsigned generation;
	struct place *p;

	assert(i != CHOICE_NONE);
	p = &a->places[i];
	if (may_switch && profile_switch(p, at->profile, error)) {
		log_info(a->log, "not a muster server, asking as CloudStack's agent does", KV_S("server", at->entry),
			 KV_S("error", err_name(error)), KV_S("reason", sentence));
		candidate_says(a, i, error, sentence);
		p->was_tried = false;
	} else {
		hunted_failed(a, at->entry, error, sentence);
		log_warn(a->log, "server not reachable", KV_S("server", at->entry), KV_S("error", err_name(error)),
			 KV_S("reason", sentence),
			 KV_I("again_in_ms", mono_ms_between(world_now(a->world), a->candidates[i].backoff.retry_at)));
		has_failed = true;
	}
	generation = at->creds_generation;
	attempt_free(at);
	if (has_failed)
		creds_failed(a, p->entry, generation, creds_breaks_off(error, in_question), sentence);
	hunt_step(a);
}

static void attempt_connected(struct link *l, void *user)
{
	struct attempt *at = user;
	struct agent *a = at->agent;
	size_t i = candidates_find(a, at->entry);
	bool is_search = a->hunt.purpose == HUNT_SEEK || a->hunt.purpose == HUNT_SUSPECT;
	int64_t patience = first_dial_patience_ms(i == CHOICE_NONE ? 0 : a->places[i].handshake_ms,
						  is_search ? a->hunt.lost_agents : 0, hunt_is_move(a->hunt.purpose));

	at->has_tcp = true;
	at->next_at = mono_add_ms(world_now(a->world), patience);
	hunt_step(a);
}

/*
 * What a handshake that worked says about the ticket. Only where one with it has just failed and one without works, it
 * was the ticket: a server that dies or is overrun fails either way, and everybody would come back the dear way.
 */
static void ticket_judged(const struct attempt *at)
{
	struct agent *a = at->agent;
	size_t i = candidates_find(a, at->entry);

	/* A server that isn't muster says nothing about it. */
	if (at->lost_ticket && str_list_has(&a->known_muster, at->entry))
		tickets_drop(a, "a handshake without it works where one with it did not");
	if (i != CHOICE_NONE && !at->resumes)
		a->places[i].no_ticket = false;
}

static void attempt_up(struct link *l, void *user)
{
	struct attempt *at = user;
	struct agent *a = at->agent;
	struct arrival won = {
		.purpose = a->hunt.purpose,
		.creds_generation = at->creds_generation,
		.is_sent = at->is_sent,
	};
	struct why why = WHY_NONE;
	char *entry;
	size_t i;

	if (!trust_server(link_peer(l), link_is_muster(l), a->trust_all, &why)) {
		attempt_failed(at, ERR_UNTRUSTED, why.text, false, link_cert_in_question(l));
		return;
	}
	ticket_judged(at);
	won.link = STEAL(at->link);
	won.entry = entry = STEAL(at->entry);
	attempt_free(at);
	hunt_stop(a);

	i = candidates_find(a, entry);
	if (i != CHOICE_NONE) {
		/* A handshake that merely broke looks the same as one with CloudStack: the next dial asks anew. */
		a->places[i].is_compat = false;
		a->places[i].handshake_ms = link_handshake_took_ms(won.link);
		if (!str_copy(a->places[i].last_ip, sizeof(a->places[i].last_ip), link_peer_ip(won.link)))
			a->places[i].last_ip[0] = '\0';
	}
	move_arrived(a, &won);
	mem_free(entry);
}

/*
 * A handshake with a ticket has failed, which may be the ticket's fault: once more with a full one, at once. Not after
 * a silence, which a server that hangs is just as likely the reason for; then it is the next dial that goes without.
 */
static bool attempt_without_ticket(struct attempt *at, enum err why, const char *sentence)
{
	struct agent *a = at->agent;
	size_t i = candidates_find(a, at->entry);
	struct why said;

	if (!at->resumes || !at->has_tcp || i == CHOICE_NONE)
		return false;
	a->places[i].no_ticket = true;
	if (why == ERR_TIMEOUT)
		return false;
	log_info(a->log, "a handshake with a session ticket failed, trying without", KV_S("server", at->entry),
		 KV_S("error", err_name(why)), KV_S("reason", sentence));
	at->lost_ticket = true;
	at->profile = profile_of(a, &a->places[i]);
	return attempt_dial(at, &a->places[i], &said) == ERR_OK;
}

static void attempt_closed(struct link *l, void *user, enum err why, const char *sentence)
{
	struct attempt *at = user;
	size_t i = candidates_find(at->agent, at->entry);
	struct why said;

	why_set(&said, "%s", sentence ? sentence : err_text(why)); /* it may belong to the link */
	at->link = NULL;
	/* While names can't be asked, where the name led to last time is better than nothing. */
	if (why == ERR_NO_NAME && !at->by_last_ip && i != CHOICE_NONE && at->agent->places[i].last_ip[0]) {
		at->by_last_ip = true;
		if (attempt_dial(at, &at->agent->places[i], &said) == ERR_OK)
			return;
	}
	if (attempt_without_ticket(at, why, said.text))
		return;
	attempt_failed(at, why, said.text, true, link_cert_in_question(l));
}

static const struct link_events attempt_events = {
	.connected = attempt_connected,
	.up = attempt_up,
	.closed = attempt_closed,
};

static enum err attempt_dial(struct attempt *at, const struct place *p, struct why *why)
{
	struct agent *a = at->agent;
	struct bytes resume = {0};
	struct link_params params;

	if (!p->no_ticket)
		resume = tickets_offer(a, at->profile);
	params = (struct link_params){
		.world = a->world,
		.log = a->log,
		.tls = {.profile = at->profile,
			.creds = a->creds,
			.trust_all = a->trust_all,
			.wall_s = world_wall_ms(a->world) / 1000,
			.resume = resume},
		.connect_ms = a->p.connect_ms,
		.handshake_ms = a->p.handshake_ms,
		.offload = true,
		.message_limit = LINK_MESSAGE_LIMIT_ANONYMOUS,
		.events = &attempt_events,
		.user = at,
	};

	at->has_tcp = false;
	at->creds_generation = a->creds_generation;
	at->resumes = params.tls.resume.len > 0;
	at->next_at = mono_add_ms(world_now(a->world), a->p.next_dial_ms);
	return link_dial(&at->link, &params, at->by_last_ip ? p->last_ip : p->address.host,
			 p->address.port ? p->address.port : a->p.port, a->p.source_ip, why);
}

static void attempt_start(struct agent *a, size_t i)
{
	struct place *p = &a->places[i];
	struct attempt *at = mem_zalloc(sizeof(*at));
	struct why why = WHY_NONE;
	enum err e = ERR_NOMEM;

	p->was_tried = true;
	if (!at || !(at->entry = mem_strdup(p->entry))) {
		mem_free(at);
		hunted_failed(a, p->entry, e, NULL);
		return;
	}
	at->agent = a;
	at->is_sent = p->is_sent;
	p->is_sent = false;
	at->profile = profile_of(a, p);
	list_append(&a->hunt.attempts, &at->in);
	a->hunt.n_attempts++;
	log_debug(a->log, "dialling", KV_S("server", at->entry), KV_S("for", hunt_name(a->hunt.purpose)));
	e = attempt_dial(at, p, &why);
	if (e) {
		log_warn(a->log, "server not reachable", KV_S("server", at->entry), KV_S("error", err_name(e)),
			 KV_S("reason", why_text(&why, e)));
		hunted_failed(a, at->entry, e, why_text(&why, e));
		attempt_free(at);
	}
}

/* ---- the hunt ---- */

/* Which candidates a hunt is for. */
static bool hunt_is_for(const struct agent *a, enum hunt h, size_t i)
{
	const struct candidate *c = &a->candidates[i];
	size_t current = a->current ? candidates_find(a, a->current->entry) : CHOICE_NONE;

	switch (h) {
	case HUNT_PREFERRED:
		return check_goal(a) && is_same(a, c->entry, check_goal(a));
	case HUNT_MIGRATE:
		if (c->avoided || c->connected || a->places[i].is_fallback)
			return false;
		/* Not to a server that stands behind the one we are on, unless we are to leave that. */
		return current == CHOICE_NONE || a->candidates[current].avoided || i < current;
	case HUNT_SUSPECT:
		return !c->connected;
	case HUNT_RENEW:
		return c->connected;
	default:
		return true;
	}
}

/* A planned move is not held up by a back-off: it has one try of each. */
static bool hunt_allows(const struct agent *a, enum hunt h, size_t i)
{
	return hunt_is_for(a, h, i) && !(hunt_is_move(h) && a->places[i].was_tried);
}

bool hunt_has_target(struct agent *a, enum hunt h)
{
	candidates_refresh(a);
	for (size_t i = 0; i < a->n_candidates; i++) {
		if (!a->candidates[i].unusable && hunt_is_for(a, h, i))
			return true;
	}
	return false;
}

bool hunt_has_other(struct agent *a)
{
	candidates_refresh(a);
	for (size_t i = 0; i < a->n_candidates; i++) {
		const struct candidate *c = &a->candidates[i];

		if (!c->unusable && !c->connected && !c->dialing &&
		    mono_reached(world_now(a->world), c->backoff.retry_at))
			return true;
	}
	return false;
}

/* Asks core/choice about those that the hunt is for. */
static size_t hunt_choose(struct agent *a, struct mono now, struct mono *look_again)
{
	CLEAN(mem_freep) struct candidate *some = mem_zalloc_array(a->n_candidates, sizeof(*some));
	CLEAN(mem_freep) size_t *index = mem_zalloc_array(a->n_candidates, sizeof(*index));
	size_t n = 0;
	size_t chosen;

	*look_again = mono_add_ms(now, a->p.backoff.cap_ms);
	if (!some || !index)
		return CHOICE_NONE;
	candidates_refresh(a);
	for (size_t i = 0; i < a->n_candidates; i++) {
		if (!hunt_allows(a, a->hunt.purpose, i))
			continue;
		some[n] = a->candidates[i];
		some[n].connected = false;
		/* Only the way home was to wait: who has lost its server may come. */
		if (a->hunt.purpose != HUNT_PREFERRED && some[n].is_put_off && a->places[i].return_put_off) {
			some[n].is_put_off = false;
			some[n].backoff = (struct backoff){0};
		}
		/* A time that the server has named itself is kept by everybody. */
		if (hunt_is_move(a->hunt.purpose) && !some[n].is_put_off)
			some[n].backoff = (struct backoff){0};
		index[n++] = i;
	}
	chosen = choice_make(some, n, now, look_again);
	/* Where another server has sent us, before what would be next. */
	for (size_t i = 0; i < n && chosen != CHOICE_NONE; i++) {
		if (a->places[index[i]].is_sent && some[i].verdict == CHOICE_SPARE)
			return index[i];
	}
	return chosen == CHOICE_NONE ? CHOICE_NONE : index[chosen];
}

/* When the next dial may start beside those that are under way. */
static struct mono hunt_next_at(const struct agent *a, struct mono now)
{
	struct mono at = now;

	if (a->hunt.n_attempts >= a->p.max_dials)
		return MONO_NEVER;
	list_for (one, &a->hunt.attempts, struct attempt, in) {
		if (mono_before(at, one->next_at))
			at = one->next_at;
	}
	return at;
}

static struct mono fallback_at(const struct agent *a)
{
	if (a->hunt.purpose != HUNT_SEEK || a->hunt.fallback >= MOST_FALLBACKS)
		return MONO_NEVER;
	return mono_add_ms(a->hunt.seeking_since, a->p.fallback_ms * (a->hunt.fallback + 1));
}

static void fallback_step(struct agent *a, struct mono now)
{
	static const char *const keys[MOST_FALLBACKS] = {KEY_HOST_LASTGOOD, KEY_HOST_BOOTSTRAP};

	while (mono_reached(now, fallback_at(a))) {
		const char *value = agent_file_get(a->file, keys[a->hunt.fallback]);

		a->hunt.fallback++;
		log_warn(a->log, "no server of the list answers, trying an older list too",
			 KV_S("key", keys[a->hunt.fallback - 1]), KV_S("list", value ? value : "none"));
		if (candidates_rebuild(a) != ERR_OK)
			log_warn(a->log, "an older list can't be used now", KV_S("error", err_name(ERR_NOMEM)));
		agent_changed(a);
	}
}

static void hunt_show_state(struct agent *a)
{
	if (a->hunt.purpose == HUNT_SEEK)
		agent_move(a, a->hunt.n_attempts ? AGENT_DIALING : AGENT_SEEKING, "looking for a server");
}

/* Dials what may be dialled now; returns when to look again. */
static struct mono hunt_dial(struct agent *a, struct mono now)
{
	struct mono look_again = MONO_NEVER;

	/* Each round takes a candidate out of the choice; the bound is for a back-off of nothing. */
	for (size_t round = 0; round < a->n_candidates; round++) {
		struct mono at = hunt_next_at(a, now);
		size_t i;

		if (!mono_reached(now, at))
			return at;
		i = hunt_choose(a, now, &look_again);
		if (i == CHOICE_NONE)
			return look_again;
		attempt_start(a, i);
	}
	return a->hunt.n_attempts ? hunt_next_at(a, now) : mono_add_ms(now, a->p.next_dial_ms);
}

void hunt_step(struct agent *a)
{
	struct mono now = world_now(a->world);
	struct mono again;

	if (a->hunt.purpose == HUNT_NONE)
		return;
	if (a->hunt.purpose == HUNT_SUSPECT && a->current && !liveness_is_suspect(a->current)) {
		move_abandon(a, "the link in use is alive after all");
		return;
	}
	fallback_step(a, now);
	again = mono_reached(now, a->hunt.first_dial_at) ? hunt_dial(a, now) : a->hunt.first_dial_at;
	if (hunt_is_move(a->hunt.purpose) && !a->hunt.n_attempts && mono_is_never(again)) {
		bool was_return = a->hunt.purpose == HUNT_PREFERRED;

		move_abandon(a, "no server that could be moved to answers");
		if (was_return)
			check_failed(a, check_goal(a));
		return;
	}
	hunt_show_state(a);
	timer_set(a->world, &a->hunt.timer, mono_min(again, fallback_at(a)));
}

void hunt_fired(struct timer *t)
{
	hunt_step(container_of(t, struct agent, hunt.timer));
}

void hunt_resume(struct agent *a, enum hunt h)
{
	assert(a->hunt.purpose == HUNT_NONE && h != HUNT_NONE);

	a->hunt.purpose = h;
	hunt_step(a);
}

void hunt_start(struct agent *a, enum hunt h)
{
	for (size_t i = 0; i < a->n_candidates; i++) {
		a->places[i].was_tried = false;
		if (h == HUNT_SEEK)
			a->places[i].no_ticket = false;
	}
	hunt_resume(a, h);
}

void hunt_lost(struct agent *a, uint64_t n_agents)
{
	/* Links that got no further than their startup were told nothing: what is known holds for the whole search. */
	if (n_agents)
		a->hunt.lost_agents = n_agents;
}

void hunt_start_spread(struct agent *a, enum hunt h, uint64_t n_agents)
{
	int64_t ms = first_dial_delay_ms(&a->p.first_dial, n_agents, &a->world->rng);

	hunt_lost(a, n_agents);
	if (ms > 0) {
		a->hunt.first_dial_at = mono_add_ms(world_now(a->world), ms);
		a->hunt.first_dial_wait_ms = ms;
		a->hunt.first_dial_agents = n_agents;
		log_info(a->log, "waiting before the first dial", KV_I("ms", ms),
			 KV_I("most_ms", first_dial_window_ms(&a->p.first_dial, n_agents)),
			 KV_U("agents_of_the_server", n_agents));
	}
	hunt_start(a, h);
}

void hunt_stop(struct agent *a)
{
	a->hunt.purpose = HUNT_NONE;
	a->hunt.first_dial_at = (struct mono){0};
	timer_stop(a->world, &a->hunt.timer);
	list_for (at, &a->hunt.attempts, struct attempt, in) {
		size_t i = candidates_find(a, at->entry);

		/* It had no answer yet: nobody can say that it was tried. */
		if (i != CHOICE_NONE)
			a->places[i].was_tried = false;
		attempt_free(at);
	}
}

void hunt_restart(struct agent *a)
{
	list_for (at, &a->hunt.attempts, struct attempt, in)
		attempt_free(at);
	for (size_t i = 0; i < a->n_candidates; i++) {
		struct candidate *c = &a->candidates[i];

		a->places[i].was_tried = false;
		c->has_failed = false;
		/* Soon, not at once: a certificate that is refused everywhere must not become a hail of handshakes. */
		if (!is_waited_for(a, c))
			c->backoff =
				(struct backoff){.retry_at = mono_add_ms(world_now(a->world), a->p.backoff.base_ms)};
	}
	if (a->hunt.purpose != HUNT_NONE)
		timer_set(a->world, &a->hunt.timer, world_now(a->world));
}
