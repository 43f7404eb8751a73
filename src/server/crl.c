/*
 * The signed revocation lists (CRLs): one for the cluster of each CA that is trusted, in the store, served by all its
 * servers. Everybody takes over what the store has, keeps it in memory for HTTP (http.c) and writes it to crl.pem;
 * crl_make.c makes the next ones.
 *
 * No server here judges anybody by them (revocation.c does): they are for whoever else trusts these CAs.
 */
#include "server/crl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FILE_CRL "crl.pem"
#define FORMAT 1

const char *crl_secret(enum crl_of of)
{
	return of == CRL_OF_SIGNER ? CRL_SECRET : CRL_SECRET_OTHER;
}

const char *crl_secret_failed(enum crl_of of)
{
	return of == CRL_OF_SIGNER ? CRL_SECRET ".failed" : CRL_SECRET_OTHER ".failed";
}

struct ca_provider *crl_signer(const struct server *s, enum crl_of of)
{
	struct ca_provider *ca = of == CRL_OF_SIGNER ? s->ca : s->rotation.other_ca;

	return ca && ca->ops->crl ? ca : NULL;
}

/* "<fingerprint of the CA> <why>" */
const char *crl_failure(const struct server *s, enum crl_of of)
{
	const char *text = s->crl ? s->crl->lists[of].failed : NULL;
	struct ca_provider *ca = crl_signer(s, of);
	size_t n;

	if (!text || !ca)
		return NULL;
	n = strlen(ca->ops->fingerprint(ca));
	return strncmp(text, ca->ops->fingerprint(ca), n) == 0 && text[n] == ' ' ? text + n + 1 : NULL;
}

/* ---- what the store has ---- */

bool crl_head_read(struct crl_head *h, const char *text)
{
	int format = 0, n = 0;

	*h = (struct crl_head){0};
	return sscanf(text,
		      "muster-crl %d covers=%" SCNd64 " from=%" SCNd64 " until=%" SCNd64 " entries=%" SCNd64
		      " number=%" SCNu64 " ca=%64[0-9a-f]%n",
		      &format, &h->covers, &h->this_s, &h->next_s, &h->n, &h->number, h->issuer, &n) == 7 &&
	       format == FORMAT && text[n] == '\n';
}

bool crl_head_same(const struct crl_head *a, const struct crl_head *b)
{
	return a->covers == b->covers && a->this_s == b->this_s && a->next_s == b->next_s && a->n == b->n &&
	       a->number == b->number && str_equal(a->issuer, b->issuer);
}

char *crl_head_write(const struct crl_head *h, const char *pem)
{
	return mem_printf("muster-crl %d covers=%" PRId64 " from=%" PRId64 " until=%" PRId64 " entries=%" PRId64
			  " number=%" PRIu64 " ca=%s\n%s",
			  FORMAT, h->covers, h->this_s, h->next_s, h->n, h->number, h->issuer, pem);
}

/* ---- the file ---- */

struct crl_writing {
	struct work work;
	struct server *server;
	char *pem;
	enum err result;
	struct why why;
};

static void writing_free(struct crl_writing *w)
{
	mem_free(w->pem);
	mem_free(w);
}

static void write_file(struct work *work)
{
	struct crl_writing *w = container_of(work, struct crl_writing, work);
	struct server *s = w->server;
	CLEAN(mem_freep) char *path = path_join(s->p.dir, FILE_CRL);

	w->result = path ? file_replace(s->world->fs, path, 0644, w->pem, strlen(w->pem), &w->why) : ERR_NOMEM;
}

static void write_begins(struct server *s);

static void file_written(struct work *work)
{
	struct crl_writing *w = container_of(work, struct crl_writing, work);
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
	struct crl_writing *w;

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

/* It is one of a CA that is trusted now. */
static bool is_served(const struct server *s, enum crl_of of)
{
	const struct crl_list *l = &s->crl->lists[of];
	struct ca_provider *ca = crl_signer(s, of);

	return l->pem && ca && str_equal(l->head.issuer, ca->ops->fingerprint(ca));
}

/* The one of the CA that signs first. */
static void join_lists(struct server *s)
{
	struct crl *c = s->crl;
	CLEAN(buf_deinit) struct buf b = {0};
	uint64_t numbers[CRLS] = {0};
	enum err e = ERR_OK;
	char *pem;

	for (int i = 0; i < CRLS; i++)
		numbers[i] = is_served(s, (enum crl_of)i) ? c->lists[i].head.number : 0;
	if (memcmp(numbers, c->joined, sizeof(numbers)) == 0)
		return;
	for (int i = 0; !e && i < CRLS; i++)
		if (numbers[i])
			e = buf_printf(&b, "%s", c->lists[i].pem);
	pem = !e && b.len ? buf_take_str(&b) : NULL;
	if (!pem)
		return; /* out of memory, or there is none now: a file that was there stays */
	memcpy(c->joined, numbers, sizeof(numbers));
	mem_free(c->pem);
	c->pem = pem;
	c->version++;
	write_begins(s);
}

/* ---- taking them over ---- */

struct reading_list {
	struct crl_head known;
	bool had;
	/* out */
	bool has, is_new;
	char damaged[FINGERPRINT_TEXT];
	struct crl_head head;
	char *pem, *failed;
	struct buf der;
};

struct reading {
	struct entry entry;
	struct reading_list lists[CRLS];
};

static void reading_list_clear(struct reading_list *r)
{
	r->pem = mem_free(r->pem);
	r->failed = mem_free(r->failed);
	buf_deinit(&r->der);
	r->has = r->is_new = false;
	r->damaged[0] = '\0';
}

static void reading_clear(struct reading *r)
{
	for (int i = 0; i < CRLS; i++)
		reading_list_clear(&r->lists[i]);
}

static enum err read_list(struct store_tx *tx, struct reading_list *r, enum crl_of of)
{
	CLEAN(mem_freep) char *text = NULL;
	enum err e = store_secret_get(tx, crl_secret_failed(of), &r->failed);

	if (!e || e == ERR_NOT_FOUND)
		e = store_secret_get(tx, crl_secret(of), &text);
	if (e)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	r->has = crl_head_read(&r->head, text);
	r->is_new = r->has && (!r->had || !crl_head_same(&r->head, &r->known));
	if (r->is_new) {
		r->pem = mem_strdup(strchr(text, '\n') + 1);
		if (!r->pem)
			return ERR_NOMEM;
		/* A sequence, as every list is. */
		r->has = pem_bytes(&r->der, CRL_PEM_LABEL, r->pem) && r->der.len && (uint8_t)r->der.data[0] == 0x30;
	}
	if (!r->has)
		sha256_hex(r->damaged, text, strlen(text));
	return ERR_OK;
}

static enum err reading_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct reading *r = container_of(entry, struct reading, entry);
	enum err e = ERR_OK;

	reading_clear(r);
	for (int i = 0; !e && i < CRLS; i++)
		e = read_list(tx, &r->lists[i], (enum crl_of)i);
	return e;
}

static void take_list(struct server *s, struct reading_list *r, enum crl_of of)
{
	struct crl_list *l = &s->crl->lists[of];

	mem_free(l->failed);
	l->failed = STEAL(r->failed);
	/* It is replaced (crl_make.c); until then the last one is served. */
	if (r->damaged[0] && !str_equal(r->damaged, l->damaged))
		log_warn(s->log, "a revocation list in the store can't be read", KV_S("row", crl_secret(of)));
	str_copy(l->damaged, sizeof(l->damaged), r->damaged);
	l->has = r->has;
	if (of == CRL_OF_OTHER && !r->has && !r->damaged[0]) {
		/* Forgotten with its CA. */
		l->pem = mem_free(l->pem);
		buf_deinit(&l->der);
	}
	if (!r->has || !r->is_new)
		return;
	l->head = r->head;
	mem_free(l->pem);
	l->pem = STEAL(r->pem);
	buf_move(&l->der, &r->der);
	log_info(s->log, "a revocation list", KV_I("entries", l->head.n), KV_I("number", (int64_t)l->head.number),
		 KV_S("ca", l->head.issuer));
}

static void reading_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct reading *r = container_of(entry, struct reading, entry);
	struct crl *c = s->crl;

	c->reading = false;
	c->stale = result != ERR_OK; /* crl_tick() asks again */
	if (!result && !s->freed && !s->stopping) {
		c->is_known = true;
		for (int i = 0; i < CRLS; i++)
			take_list(s, &r->lists[i], (enum crl_of)i);
		join_lists(s);
	}
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
	for (int i = 0; i < CRLS; i++) {
		r->lists[i].known = c->lists[i].head;
		r->lists[i].had = c->lists[i].pem != NULL;
	}
	c->reading = true;
	ledger_add(s, &r->entry);
}

void crl_tick(struct server *s)
{
	struct crl *c = crl_of(s);

	if (!c || !s->running || s->stopping || !s->ca || !s->ca->ops->crl)
		return;
	if (c->stale)
		crl_reload(s);
	if (!c->is_known || c->reading || s->revoked_reading || s->revoked_stale)
		return;
	/* Which CAs there are may have changed without any of the lists. */
	join_lists(s);
	for (int i = 0; i < CRLS; i++)
		crl_make_tick(s, (enum crl_of)i);
}

bool crl_is_busy(const struct server *s)
{
	const struct crl *c = s->crl;

	return c && (c->lists[CRL_OF_SIGNER].making || c->lists[CRL_OF_OTHER].making || c->writing);
}

void crl_deinit(struct server *s)
{
	struct crl *c = s->crl;

	if (!c)
		return;
	for (int i = 0; i < CRLS; i++) {
		crl_make_deinit(&c->lists[i]);
		mem_free(c->lists[i].pem);
		mem_free(c->lists[i].failed);
		buf_deinit(&c->lists[i].der);
	}
	if (c->writing)
		writing_free(c->writing);
	mem_free(c->pem);
	s->crl = mem_free(c);
}

/* ---- for whoever asks ---- */

static void put_part(struct server_crl *out, const struct crl_list *l, bool signs)
{
	struct server_crl_part *p = &out->parts[out->n_parts++];

	*p = (struct server_crl_part){
		.ca = l->head.issuer,
		.signs = signs,
		.der = {.data = l->der.data, .len = l->der.len},
		.this_s = l->head.this_s,
		.next_s = l->head.next_s,
		.entries = l->head.n,
		.number = l->head.number,
	};
}

const char *server_crl_problem(const struct server *s)
{
	for (int i = 0; i < CRLS; i++)
		if (crl_failure(s, (enum crl_of)i))
			return crl_failure(s, (enum crl_of)i);
	for (int i = 0; s->crl && i < CRLS; i++)
		if (crl_signer(s, (enum crl_of)i) && s->crl->lists[i].damaged[0])
			return "the list in the store is damaged, and no server has replaced it yet";
	return NULL;
}

bool server_crl(const struct server *s, struct server_crl *out)
{
	const struct crl *c = s->crl;
	const char *failure = crl_failure(s, CRL_OF_SIGNER);

	*out = (struct server_crl){.why_none = failure ? failure : "there is no revocation list yet"};
	if (s->ca && !s->ca->ops->crl) {
		out->why_none = "the certificate authority is an external one: ask it for its revocation list";
		return false;
	}
	if (!c || !c->pem)
		return false;
	out->pem = c->pem;
	out->version = c->version;
	for (int i = 0; i < CRLS; i++)
		if (is_served(s, (enum crl_of)i))
			put_part(out, &c->lists[i], i == CRL_OF_SIGNER);
	return out->n_parts > 0;
}
