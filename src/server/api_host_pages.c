/*
 * Pages of hosts, for listHosts and listPlacement. Hosts are chosen in memory; the rows of one page are read from the
 * store, a chunk at a time: details are only there, and what agents of other servers have confirmed is newer there.
 * When the store does not answer, memory does.
 */
#include "server/api.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK 200

struct listing {
	struct host_pages p;
	int64_t *ids; /* of the page, ascending */
	size_t n, at;
	size_t count; /* on all pages */
	json_t *page;
	struct host_row rows[CHUNK]; /* of this chunk; id 0: gone */
	size_t n_rows;
};

static void rows_clear(struct listing *l)
{
	for (size_t i = 0; i < l->n_rows; i++)
		host_row_deinit(&l->rows[i]);
	memset(l->rows, 0, sizeof(l->rows));
	l->n_rows = 0;
}

static void listing_free(void *state)
{
	struct listing *l = state;

	rows_clear(l);
	json_decref(l->page);
	mem_free(l->ids);
	mem_free(l);
}

static int by_id(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

/* The ids of the page; keeps how many there are at all. */
static enum err listing_fill(struct listing *l, struct api_call *c)
{
	struct server *s = c->server;
	struct host *h;
	size_t cursor = 0, first, end;

	l->ids = mem_zalloc_array(roster_n_hosts(s) + 1, sizeof(*l->ids));
	l->page = json_array();
	if (!l->ids || !l->page)
		return ERR_NOMEM;
	while ((h = roster_next(s, &cursor)))
		if (l->p.is_wanted(c, &h->row))
			l->ids[l->count++] = h->row.id;
	qsort(l->ids, l->count, sizeof(*l->ids), by_id);
	api_page(c, l->count, &first, &end);
	l->n = end - first;
	memmove(l->ids, l->ids + first, l->n * sizeof(*l->ids));
	return ERR_OK;
}

static void listing_add(struct api_call *c, const struct host_row *row)
{
	struct listing *l = c->state;

	json_array_append_new(l->page, l->p.object(c->server, row, l->p.details));
}

static void listing_answer(struct api_call *c)
{
	struct listing *l = c->state;

	l->p.answer(c, STEAL(l->page), l->count);
}

/* What is left of the page, as memory has it. */
static void listing_from_memory(struct api_call *c)
{
	struct listing *l = c->state;

	for (; l->at < l->n; l->at++) {
		struct host *h = roster_host(c->server, l->ids[l->at]);

		if (h)
			listing_add(c, &h->row);
	}
}

static size_t chunk_end(const struct listing *l)
{
	return l->n - l->at > CHUNK ? l->at + CHUNK : l->n;
}

static enum err chunk_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct listing *l = c->state;

	rows_clear(l);
	for (size_t i = l->at; i < chunk_end(l); i++) {
		enum err e = store_host_get(tx, l->ids[i], &l->rows[l->n_rows++]);

		if (e && e != ERR_NOT_FOUND)
			return e;
	}
	return ERR_OK;
}

static void chunk_then(struct api_call *c, enum err result, const char *sentence)
{
	struct listing *l = c->state;

	if (result) {
		log_debug(c->server->log, "hosts are listed from memory", KV_S("error", sentence));
		listing_from_memory(c);
	}
	for (size_t i = 0; !result && i < l->n_rows; i++) {
		if (!l->rows[i].id || l->rows[i].removed_ms)
			continue;
		host_learn(c->server, &l->rows[i]);
		listing_add(c, &l->rows[i]);
	}
	if (!result)
		l->at = chunk_end(l);
	if (l->at < l->n)
		api_read(c, chunk_run, chunk_then);
	else
		listing_answer(c);
}

void api_answer_host_pages(struct api_call *c, const struct host_pages *p)
{
	struct listing *l = mem_zalloc(sizeof(*l));

	c->state = l;
	c->state_free = listing_free;
	if (l)
		l->p = *p;
	if (!l || listing_fill(l, c)) {
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	if (l->n && !ledger_is_failing(c->server, NULL)) {
		api_read(c, chunk_run, chunk_then);
		return;
	}
	listing_from_memory(c);
	listing_answer(c);
}
