/*
 * Making revocation lists: who has the key of a CA looks every second whether its list is the one that should be: made
 * by this CA, after the newest revocation, and not too old. The first server of those that are Up makes the next at
 * once, the others when it doesn't; each writes only over what it had read.
 *
 * A CA that doesn't sign one is asked again less and less often. That it doesn't is an event once, whichever server
 * says it and however often it is restarted: the store has a row of it, which `muster status` shows.
 */
#include "server/crl.h"

#include <string.h>

#define REFRESH_S (24LL * 3600)
#define OLD_S (3 * REFRESH_S) /* nobody has made a new one: somebody should know */
#define RANK_MS 3000          /* how long each server leaves it to the one before it */
#define PACE_ENTRIES 5000     /* a second more between two lists for so many entries */
#define SAY_OLD_MS (24LL * 3600 * 1000)
static const struct backoff_rule again = {.floor_ms = 10000, .base_ms = 10000, .cap_ms = 3600 * 1000};

struct crl_make {
	struct entry entry;
	struct work work;
	struct server *server;
	enum crl_of of;
	struct ca_provider *ca; /* owned with others: the cluster's may be changed meanwhile */
	bool is_signed, is_written;
	char issuer_key[FINGERPRINT_TEXT]; /* "": not known, everything is listed */
	struct crl_head before;            /* what we had read */
	bool had;
	char damaged[FINGERPRINT_TEXT]; /* that could not be read; "": it could */
	struct crl_head head;
	struct revoked_row *rows;
	size_t n;
	char *text;
	enum err result;
	struct why why;
};

static struct crl_list *list_of(const struct crl_make *m)
{
	return &m->server->crl->lists[m->of];
}

static void rows_free(struct crl_make *m)
{
	for (size_t i = 0; i < m->n; i++)
		revoked_row_deinit(&m->rows[i]);
	m->rows = mem_free(m->rows);
	m->n = 0;
}

static void make_free(struct crl_make *m)
{
	list_of(m)->making = NULL;
	ca_provider_free(m->ca);
	rows_free(m);
	mem_free(m->text);
	mem_free(m);
}

void crl_make_deinit(struct crl_list *l)
{
	if (l->making)
		make_free(l->making);
}

/* ---- a CA that can't ---- */

struct failure {
	struct entry entry;
	enum crl_of of;
	char *text;
	size_t n_ca; /* of it, the fingerprint and the blank */
	struct event_row event;
};

static void failure_free(struct failure *f)
{
	mem_free(f->text);
	event_row_deinit(&f->event);
	mem_free(f);
}

/* Of this CA it is known? Then it was said. */
static enum err failure_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct failure *f = container_of(entry, struct failure, entry);
	CLEAN(mem_freep) char *there = NULL;
	enum err e = store_secret_get(tx, crl_secret_failed(f->of), &there);

	if (e && e != ERR_NOT_FOUND)
		return e;
	if (there && strncmp(there, f->text, f->n_ca) == 0)
		return ERR_OK;
	e = store_secret_set(tx, crl_secret_failed(f->of), f->text);
	return e ? e : store_event_add(tx, &f->event);
}

static void failure_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	failure_free(container_of(entry, struct failure, entry));
	if (!result && !s->freed && !s->stopping)
		api_committed(s);
}

static void say_failure(struct crl_make *m, const char *sentence)
{
	struct server *s = m->server;
	struct failure *f = mem_zalloc(sizeof(*f));

	if (!f)
		return;
	f->entry = (struct entry){.run = failure_run, .done = failure_done};
	f->of = m->of;
	f->text = mem_printf("%s %s", m->head.issuer, sentence);
	f->n_ca = strlen(m->head.issuer) + 1;
	world_uuid(s->world, f->event.uuid);
	f->event.type = mem_strdup("CA.CRL.FAILED");
	f->event.level = mem_strdup("WARN");
	f->event.account = mem_strdup("system");
	f->event.description = mem_printf("the CA %.16s... signs no revocation list: %s", m->head.issuer, sentence);
	f->event.msid = s->msid;
	f->event.created_ms = world_wall_ms(s->world);
	if (!f->text || !f->event.type || !f->event.level || !f->event.account || !f->event.description) {
		failure_free(f);
		return;
	}
	str_make_printable(f->text);
	str_make_printable(f->event.description);
	ledger_add(s, &f->entry);
}

/* `by_ca`: it is not the store that fails. */
static void failed(struct crl_make *m, enum err e, const char *sentence, bool by_ca)
{
	struct server *s = m->server;
	struct crl_list *l = list_of(m);
	bool is_first = !l->backoff.failures || !str_equal(l->tried_with, m->head.issuer);

	if (e == ERR_STOPPED || s->stopping)
		return;
	if (!str_equal(l->tried_with, m->head.issuer))
		backoff_worked(&l->backoff);
	str_copy(l->tried_with, sizeof(l->tried_with), m->head.issuer);
	backoff_failed(&l->backoff, &again, world_now(s->world), &s->world->rng);
	log_at(s->log, is_first ? LOG_WARN : LOG_DEBUG, "a revocation list could not be made, trying again",
	       KV_S("ca", m->head.issuer), KV_S("error", sentence),
	       KV_I("again_in_ms", mono_ms_between(world_now(s->world), l->backoff.retry_at)));
	if (by_ca && e != ERR_NOMEM)
		say_failure(m, sentence);
}

/* ---- making it ---- */

static bool is_what_we_read(const struct crl_make *m, const char *text)
{
	struct crl_head there;
	char hash[FINGERPRINT_TEXT];

	if (!text)
		return !m->had && !m->damaged[0];
	if (m->damaged[0]) {
		sha256_hex(hash, text, strlen(text));
		return str_equal(hash, m->damaged);
	}
	return m->had && crl_head_read(&there, text) && crl_head_same(&there, &m->before);
}

static enum err collect(struct store_tx *tx, struct crl_make *m)
{
	rows_free(m);
	return store_revoked_rows(tx, m->issuer_key[0] ? m->issuer_key : NULL, m->head.this_s - CRL_LIFE_S, &m->rows,
				  &m->n, &m->head.covers);
}

/* First what it must name; when it is signed, where it belongs. */
static enum err make_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct crl_make *m = container_of(entry, struct crl_make, entry);
	CLEAN(mem_freep) char *there = NULL;
	enum err e;

	if (!m->is_signed)
		return collect(tx, m);
	m->is_written = false;
	e = store_secret_get(tx, crl_secret(m->of), &there);
	if (e && e != ERR_NOT_FOUND)
		return e;
	/* Another server was first: its list is as good as ours. Or the two CAs have changed places. */
	if (!is_what_we_read(m, there))
		return ERR_OK;
	e = store_secret_set(tx, crl_secret(m->of), m->text);
	if (!e)
		e = store_secret_remove(tx, crl_secret_failed(m->of));
	m->is_written = !e;
	return e;
}

static enum err sign(struct crl_make *m)
{
	CLEAN(mem_freep) struct crl_entry *entries = mem_zalloc_array(m->n + 1, sizeof(*entries));
	CLEAN(buf_deinit) struct buf der = {0};
	CLEAN(mem_freep) char *pem = NULL;
	char normal[SERIAL_TEXT];
	struct crl_params p = {
		.entries = entries,
		.this_s = m->head.this_s,
		.next_s = m->head.next_s,
		.number = m->head.number,
	};
	enum err e;

	if (!entries)
		return ERR_NOMEM;
	/* One that can't be written there, a foreign CA's longer than the standard allows, must not keep off the rest.
	 */
	for (size_t i = 0; i < m->n; i++)
		if (cert_serial_normal(normal, m->rows[i].serial))
			entries[p.n++] = (struct crl_entry){m->rows[i].serial, m->rows[i].revoked_ms / 1000};
	m->head.n = (int64_t)p.n;
	e = ca_crl(m->ca, &der, &p, &m->why);
	if (e)
		return e;
	pem = pem_text(CRL_PEM_LABEL, der.data, der.len);
	m->text = pem ? crl_head_write(&m->head, pem) : NULL;
	return m->text ? ERR_OK : ERR_NOMEM;
}

static void sign_run(struct work *work)
{
	struct crl_make *m = container_of(work, struct crl_make, work);

	m->result = sign(m);
}

static void sign_done(struct work *work)
{
	struct crl_make *m = container_of(work, struct crl_make, work);
	struct server *s = m->server;

	m->is_signed = !m->result;
	if (m->result || s->stopping) {
		if (m->result)
			failed(m, m->result, why_text(&m->why, m->result), true);
		make_free(m);
	} else {
		ledger_add(s, &m->entry);
	}
	server_gone_if_idle(s);
}

static void made(struct crl_make *m)
{
	struct server *s = m->server;
	struct crl_list *l = list_of(m);

	l->made = world_now(s->world);
	backoff_worked(&l->backoff);
	if (m->is_written && m->damaged[0])
		event_add(s, "CA.CRL.DAMAGED", "WARN", 0,
			  "the revocation list in the store could not be read, and was signed anew");
	log_debug(s->log, m->is_written ? "a revocation list was made" : "another server has made a revocation list");
}

static void make_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct crl_make *m = container_of(entry, struct crl_make, entry);

	if (result || s->freed || s->stopping) {
		if (result && !s->freed)
			failed(m, result, sentence, false);
		make_free(m);
		return;
	}
	if (!m->is_signed) {
		m->work = (struct work){.run = sign_run, .done = sign_done, .cost_us = (uint32_t)(600 + m->n)};
		world_work(s->world, WORK_CRYPTO, &m->work);
		return;
	}
	made(m);
	make_free(m);
	crl_reload(s);
	api_committed(s);
}

static void make(struct server *s, enum crl_of of, int64_t now_s)
{
	struct crl_list *l = &s->crl->lists[of];
	struct ca_provider *signer = crl_signer(s, of);
	struct crl_make *m = mem_zalloc(sizeof(*m));
	uint64_t now_ms = (uint64_t)world_wall_ms(s->world);
	struct cert_info ca;

	if (!m)
		return;
	m->server = s;
	m->of = of;
	m->ca = ca_provider_ref(signer);
	m->had = l->has;
	m->before = l->head;
	str_copy(m->damaged, sizeof(m->damaged), l->damaged);
	m->head.this_s = now_s;
	m->head.next_s = now_s + CRL_LIFE_S;
	/* By the clock, so that nobody has to count; a clock that was put back counts on. */
	m->head.number = l->pem && l->head.number >= now_ms ? l->head.number + 1 : now_ms;
	str_copy(m->head.issuer, sizeof(m->head.issuer), signer->ops->fingerprint(signer));
	if (cert_info_parse(&ca, signer->ops->chain(signer), NULL) == ERR_OK) {
		str_copy(m->issuer_key, sizeof(m->issuer_key), ca.subject_key_id);
		cert_info_deinit(&ca);
	}
	m->entry = (struct entry){.run = make_run, .done = make_done};
	l->making = m;
	ledger_add(s, &m->entry);
}

/* ---- is it time? ---- */

static bool is_as_it_should_be(const struct server *s, const struct crl_list *l, const struct ca_provider *signer,
			       int64_t now_s)
{
	return l->has && l->head.covers == s->revoked_last && now_s - l->head.this_s < REFRESH_S &&
	       l->head.this_s - now_s < REFRESH_S &&
	       str_equal(l->head.issuer, signer->ops->fingerprint((struct ca_provider *)(uintptr_t)signer));
}

/* How many servers come before us. */
static int64_t rank(const struct server *s)
{
	int64_t n = 0;

	list_for (m, (struct list *)(uintptr_t)&s->servers, struct member_server, in_servers) {
		if (m->row.msid == s->msid)
			break;
		n += m->row.state == SERVER_UP;
	}
	return n;
}

/* Nobody can sign it, or nobody does. */
static void look_at_age(struct server *s, struct crl_list *l, int64_t now_s)
{
	struct mono now = world_now(s->world);

	if (!l->pem || now_s - l->head.this_s < OLD_S ||
	    (l->said_old.us && mono_ms_between(l->said_old, now) < SAY_OLD_MS))
		return;
	l->said_old = now;
	event_add(s, "CA.CRL.OLD", "WARN", 0,
		  "The revocation list is %lld days old and ends in %lld: is there a server that can sign?",
		  (long long)((now_s - l->head.this_s) / 86400), (long long)((l->head.next_s - now_s) / 86400));
}

static bool is_its_time(const struct server *s, struct crl_list *l, const struct ca_provider *signer)
{
	struct mono now = world_now(s->world);
	int64_t wait_ms = 1000 * (l->head.n / PACE_ENTRIES);

	if (!l->due_since.us)
		l->due_since = now;
	if (mono_ms_between(l->due_since, now) < rank(s) * RANK_MS ||
	    (l->made.us && mono_ms_between(l->made, now) < wait_ms))
		return false;
	/* Another CA is another try. */
	return !str_equal(l->tried_with, signer->ops->fingerprint((struct ca_provider *)(uintptr_t)signer)) ||
	       mono_reached(now, l->backoff.retry_at);
}

void crl_make_tick(struct server *s, enum crl_of of)
{
	struct crl_list *l = &s->crl->lists[of];
	struct ca_provider *signer = crl_signer(s, of);
	int64_t now_s = world_wall_ms(s->world) / 1000;

	if (!signer || l->making)
		return;
	look_at_age(s, l, now_s);
	if (is_as_it_should_be(s, l, signer, now_s))
		l->due_since = (struct mono){0};
	else if (signer->ops->can_issue(signer) && is_its_time(s, l, signer))
		make(s, of, now_s);
}
