/*
 * The signed revocation list (CRL): one for the cluster, in the store, served by all its servers.
 *
 * Who can sign looks every second whether the list is the one that should be: made by this CA, after the newest
 * revocation, and not too old. The first server of those that are Up makes the next at once, the others when it
 * doesn't; each writes only over what it had read. Everybody takes over what the store has, keeps it in memory for HTTP
 * (http.c) and writes it to crl.pem.
 *
 * No server here judges anybody by it (revocation.c does): it is for whoever else trusts this CA.
 */
#include "server/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SECRET_CRL "ca.crl"
#define FILE_CRL "crl.pem"
#define FORMAT 1
#define LIFE_S (7LL * 24 * 3600)
#define REFRESH_S (24LL * 3600)
#define OLD_S (3 * REFRESH_S) /* nobody has made a new one: somebody should know */
#define TRY_AGAIN_MS 10000
#define RANK_MS 3000      /* how long each server leaves it to the one before it */
#define PACE_ENTRIES 5000 /* a second more between two lists for so many entries */
#define SAY_OLD_MS (24LL * 3600 * 1000)

/* The line above the list in the store. */
struct head {
	int64_t covers; /* number of the newest revocation that it knows of */
	int64_t this_s, next_s, n;
	uint64_t number;
	char issuer[FINGERPRINT_TEXT]; /* certificate of the CA that signed */
};

struct crl {
	bool is_known; /* the store was asked */
	bool reading, again, stale;
	bool has;
	struct head head;
	char *pem;      /* owned; NULL: none */
	struct buf der; /* owned */
	uint64_t version;
	struct making *making; /* under way */
	struct writing *writing;
	bool write_again;
	struct mono due_since; /* {0}: it is as it should be */
	struct mono made, tried, said_old;
	char unable[FINGERPRINT_TEXT]; /* certificate of a CA that can't sign lists; "": none such */
	struct why unable_why;
};

/* ---- what the store has ---- */

static bool head_read(struct head *h, const char *text)
{
	int format = 0, n = 0;

	*h = (struct head){0};
	return sscanf(text,
		      "muster-crl %d covers=%" SCNd64 " from=%" SCNd64 " until=%" SCNd64 " entries=%" SCNd64
		      " number=%" SCNu64 " ca=%64[0-9a-f]%n",
		      &format, &h->covers, &h->this_s, &h->next_s, &h->n, &h->number, h->issuer, &n) == 7 &&
	       format == FORMAT && text[n] == '\n';
}

static bool head_same(const struct head *a, const struct head *b)
{
	return a->covers == b->covers && a->this_s == b->this_s && a->next_s == b->next_s && a->n == b->n &&
	       a->number == b->number && str_equal(a->issuer, b->issuer);
}

static char *head_write(const struct head *h, const char *pem)
{
	return mem_printf("muster-crl %d covers=%" PRId64 " from=%" PRId64 " until=%" PRId64 " entries=%" PRId64
			  " number=%" PRIu64 " ca=%s\n%s",
			  FORMAT, h->covers, h->this_s, h->next_s, h->n, h->number, h->issuer, pem);
}

/* ---- the file ---- */

struct writing {
	struct work work;
	struct server *server;
	char *pem;
	enum err result;
	struct why why;
};

static void writing_free(struct writing *w)
{
	mem_free(w->pem);
	mem_free(w);
}

static void write_file(struct work *work)
{
	struct writing *w = container_of(work, struct writing, work);
	struct server *s = w->server;
	CLEAN(mem_freep) char *path = path_join(s->p.dir, FILE_CRL);

	w->result = path ? file_replace(s->world->fs, path, 0644, w->pem, strlen(w->pem), &w->why) : ERR_NOMEM;
}

static void write_begins(struct server *s);

static void file_written(struct work *work)
{
	struct writing *w = container_of(work, struct writing, work);
	struct server *s = w->server;

	if (w->result)
		log_warn(s->log, "the revocation list could not be written to " FILE_CRL,
			 KV_S("error", why_text(&w->why, w->result)));
	s->crl->writing = NULL;
	writing_free(w);
	if (s->crl->write_again && !s->stopping) {
		s->crl->write_again = false;
		write_begins(s);
	}
	server_gone_if_idle(s);
}

static void write_begins(struct server *s)
{
	struct writing *w;

	if (s->crl->writing) {
		s->crl->write_again = true;
		return;
	}
	w = mem_zalloc(sizeof(*w));
	if (!w || !(w->pem = mem_strdup(s->crl->pem))) {
		mem_free(w);
		return;
	}
	w->server = s;
	w->work = (struct work){.run = write_file, .done = file_written, .cost_us = 500};
	s->crl->writing = w;
	world_work(s->world, WORK_FILE, &w->work);
}

/* ---- taking it over ---- */

struct reading {
	struct entry entry;
	struct head known;
	bool had;
	/* out */
	bool has, is_new, is_damaged;
	struct head head;
	char *pem;
	struct buf der;
};

static void reading_clear(struct reading *r)
{
	r->pem = mem_free(r->pem);
	buf_deinit(&r->der);
	r->has = r->is_new = r->is_damaged = false;
}

static enum err reading_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct reading *r = container_of(entry, struct reading, entry);
	CLEAN(mem_freep) char *text = NULL;
	enum err e;

	reading_clear(r);
	e = store_secret_get(tx, SECRET_CRL, &text);
	if (e)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	if (!head_read(&r->head, text)) {
		r->is_damaged = true;
		return ERR_OK;
	}
	r->has = true;
	r->is_new = !r->had || !head_same(&r->head, &r->known);
	if (!r->is_new)
		return ERR_OK;
	r->pem = mem_strdup(strchr(text, '\n') + 1);
	if (!r->pem)
		return ERR_NOMEM;
	r->is_damaged = !pem_bytes(&r->der, CRL_PEM_LABEL, r->pem);
	return ERR_OK;
}

static void reading_take(struct server *s, struct reading *r)
{
	struct crl *c = s->crl;

	c->is_known = true;
	if (r->is_damaged) {
		/* Replaced as one that isn't there; until then the last one is served. */
		log_warn(s->log, "the revocation list in the store can't be read");
		c->has = false;
		return;
	}
	c->has = r->has;
	if (!r->is_new)
		return;
	c->head = r->head;
	mem_free(c->pem);
	c->pem = STEAL(r->pem);
	buf_move(&c->der, &r->der);
	c->version++;
	log_info(s->log, "a revocation list", KV_I("entries", c->head.n), KV_I("number", (int64_t)c->head.number));
	write_begins(s);
}

static void reading_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct reading *r = container_of(entry, struct reading, entry);
	struct crl *c = s->crl;

	c->reading = false;
	c->stale = result != ERR_OK; /* crl_tick() asks again */
	if (!result && !s->freed && !s->stopping)
		reading_take(s, r);
	reading_clear(r);
	mem_free(r);
	if (c->again && !s->freed) {
		c->again = false;
		crl_reload(s);
	}
}

static struct crl *crl_of(struct server *s)
{
	if (!s->crl)
		s->crl = mem_zalloc(sizeof(*s->crl));
	return s->crl;
}

void crl_reload(struct server *s)
{
	struct crl *c = crl_of(s);
	struct reading *r;

	if (!c)
		return;
	if (c->reading) {
		c->again = true;
		return;
	}
	r = mem_zalloc(sizeof(*r));
	c->stale = !r;
	if (!r)
		return;
	r->entry = (struct entry){.run = reading_run, .done = reading_done, .read_only = true};
	r->known = c->head;
	r->had = c->pem != NULL;
	c->reading = true;
	ledger_add(s, &r->entry);
}

/* ---- making the next ---- */

struct making {
	struct entry entry;
	struct work work;
	struct server *server;
	struct ca_provider *ca; /* owned with others: the cluster's may be changed meanwhile */
	bool is_signed, is_written;
	char issuer_key[FINGERPRINT_TEXT]; /* "": not known, everything is listed */
	struct head before;                /* what we had read */
	bool had;
	struct head head;
	struct revoked_row *rows;
	size_t n;
	char *text;
	enum err result;
	struct why why;
};

static void rows_free(struct making *m)
{
	for (size_t i = 0; i < m->n; i++)
		revoked_row_deinit(&m->rows[i]);
	m->rows = mem_free(m->rows);
	m->n = 0;
}

static void making_free(struct making *m)
{
	m->server->crl->making = NULL;
	ca_provider_free(m->ca);
	rows_free(m);
	mem_free(m->text);
	mem_free(m);
}

static bool same_list(const struct making *m, const char *text)
{
	struct head there;

	if (!text || !head_read(&there, text))
		return !m->had;
	return m->had && head_same(&there, &m->before);
}

static enum err collect(struct store_tx *tx, struct making *m)
{
	enum err e;

	rows_free(m);
	e = store_revoked_rows(tx, m->issuer_key[0] ? m->issuer_key : NULL, m->head.this_s - LIFE_S, &m->rows, &m->n,
			       &m->head.covers);
	return e;
}

/* First what it must name; when it is signed, where it belongs. */
static enum err making_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct making *m = container_of(entry, struct making, entry);
	CLEAN(mem_freep) char *there = NULL;
	enum err e;

	if (!m->is_signed)
		return collect(tx, m);
	m->is_written = false;
	e = store_secret_get(tx, SECRET_CRL, &there);
	if (e && e != ERR_NOT_FOUND)
		return e;
	/* Another server was first: its list is as good as ours. */
	if (!same_list(m, there))
		return ERR_OK;
	e = store_secret_set(tx, SECRET_CRL, m->text);
	m->is_written = !e;
	return e;
}

static enum err sign(struct making *m)
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
	m->text = pem ? head_write(&m->head, pem) : NULL;
	return m->text ? ERR_OK : ERR_NOMEM;
}

static void sign_run(struct work *work)
{
	struct making *m = container_of(work, struct making, work);

	m->result = sign(m);
}

static void making_failed(struct server *s, enum err e, const char *sentence)
{
	/* Said once: trying again would not help. */
	if (e == ERR_UNSUPPORTED) {
		str_copy(s->crl->unable, sizeof(s->crl->unable), s->crl->making->head.issuer);
		why_set(&s->crl->unable_why, "%s", sentence);
		log_warn(s->log, "there will be no revocation list", KV_S("reason", sentence));
	} else if (e != ERR_STOPPED)
		log_warn(s->log, "a new revocation list could not be made, trying again", KV_S("error", sentence));
}

static void sign_done(struct work *work)
{
	struct making *m = container_of(work, struct making, work);
	struct server *s = m->server;

	m->is_signed = !m->result;
	if (m->result || s->stopping) {
		if (m->result)
			making_failed(s, m->result, why_text(&m->why, m->result));
		making_free(m);
	} else {
		ledger_add(s, &m->entry);
	}
	server_gone_if_idle(s);
}

static void making_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct making *m = container_of(entry, struct making, entry);

	if (result || s->freed || s->stopping) {
		if (result)
			making_failed(s, result, sentence);
		making_free(m);
		return;
	}
	if (!m->is_signed) {
		m->work = (struct work){.run = sign_run, .done = sign_done, .cost_us = (uint32_t)(600 + m->n)};
		world_work(s->world, WORK_CRYPTO, &m->work);
		return;
	}
	s->crl->made = world_now(s->world);
	log_debug(s->log, m->is_written ? "a revocation list was made" : "another server has made a revocation list");
	making_free(m);
	crl_reload(s);
	api_committed(s);
}

static void make(struct server *s, int64_t now_s)
{
	struct crl *c = s->crl;
	struct making *m = mem_zalloc(sizeof(*m));
	uint64_t now_ms = (uint64_t)world_wall_ms(s->world);
	struct cert_info ca;

	c->tried = world_now(s->world);
	if (!m)
		return;
	m->server = s;
	m->ca = ca_provider_ref(s->ca);
	m->had = c->has;
	m->before = c->head;
	m->head.this_s = now_s;
	m->head.next_s = now_s + LIFE_S;
	/* By the clock, so that nobody has to count; a clock that was put back counts on. */
	m->head.number = c->pem && c->head.number >= now_ms ? c->head.number + 1 : now_ms;
	str_copy(m->head.issuer, sizeof(m->head.issuer), s->ca->ops->fingerprint(s->ca));
	if (cert_info_parse(&ca, s->ca->ops->chain(s->ca), NULL) == ERR_OK) {
		str_copy(m->issuer_key, sizeof(m->issuer_key), ca.subject_key_id);
		cert_info_deinit(&ca);
	}
	m->entry = (struct entry){.run = making_run, .done = making_done};
	c->making = m;
	ledger_add(s, &m->entry);
}

/* ---- is it time? ---- */

/* The CA that signs now is one that can't. */
static bool is_unable(const struct server *s)
{
	return str_equal(s->crl->unable, s->ca->ops->fingerprint(s->ca));
}

static bool is_as_it_should_be(const struct server *s, int64_t now_s)
{
	const struct crl *c = s->crl;

	return c->has && c->head.covers == s->revoked_last && now_s - c->head.this_s < REFRESH_S &&
	       c->head.this_s - now_s < REFRESH_S && str_equal(c->head.issuer, s->ca->ops->fingerprint(s->ca));
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
static void look_at_age(struct server *s, int64_t now_s)
{
	struct crl *c = s->crl;
	struct mono now = world_now(s->world);

	if (!c->has || now_s - c->head.this_s < OLD_S ||
	    (c->said_old.us && mono_ms_between(c->said_old, now) < SAY_OLD_MS))
		return;
	c->said_old = now;
	event_add(s, "CA.CRL.OLD", "WARN", 0,
		  "The revocation list is %lld days old and ends in %lld: is there a server that can sign?",
		  (long long)((now_s - c->head.this_s) / 86400), (long long)((c->head.next_s - now_s) / 86400));
}

void crl_tick(struct server *s)
{
	struct crl *c = crl_of(s);
	int64_t now_s = world_wall_ms(s->world) / 1000, wait_ms;
	struct mono now = world_now(s->world);

	if (!c || !s->running || s->stopping || !s->ca || !s->ca->ops->crl)
		return;
	if (c->stale)
		crl_reload(s);
	if (!c->is_known || c->reading || c->making || s->revoked_reading || s->revoked_stale)
		return;
	look_at_age(s, now_s);
	if (is_as_it_should_be(s, now_s)) {
		c->due_since = (struct mono){0};
		return;
	}
	if (!s->ca->ops->can_issue(s->ca) || is_unable(s))
		return;
	if (!c->due_since.us)
		c->due_since = now;
	wait_ms = 1000 * (c->head.n / PACE_ENTRIES);
	if (mono_ms_between(c->due_since, now) < rank(s) * RANK_MS ||
	    (c->made.us && mono_ms_between(c->made, now) < wait_ms) ||
	    (c->tried.us && c->tried.us > c->made.us && mono_ms_between(c->tried, now) < TRY_AGAIN_MS))
		return;
	make(s, now_s);
}

bool crl_is_busy(const struct server *s)
{
	return s->crl && (s->crl->making || s->crl->writing);
}

void crl_deinit(struct server *s)
{
	struct crl *c = s->crl;

	if (!c)
		return;
	if (c->making)
		making_free(c->making);
	if (c->writing)
		writing_free(c->writing);
	mem_free(c->pem);
	buf_deinit(&c->der);
	s->crl = mem_free(c);
}

/* ---- for whoever asks ---- */

bool server_crl(const struct server *s, struct server_crl *out)
{
	const struct crl *c = s->crl;

	*out = (struct server_crl){.why_none = "there is no revocation list yet"};
	if (s->ca && !s->ca->ops->crl)
		out->why_none = "the certificate authority is an external one: ask it for its revocation list";
	else if (s->ca && c && is_unable(s))
		out->why_none = c->unable_why.text;
	else if (c && c->pem)
		*out = (struct server_crl){
			.pem = c->pem,
			.der = {.data = c->der.data, .len = c->der.len},
			.version = c->version,
			.this_s = c->head.this_s,
			.next_s = c->head.next_s,
			.entries = c->head.n,
			.number = c->head.number,
		};
	return out->pem != NULL;
}
