/*
 * Joins those that have no certificate yet: key and request off the loop, one short connection each, so many beside
 * each other. An attempt that failed on the way is made again; a server's no ends it all, for it holds for the others
 * too.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "bench/bench.h"
#include "client/join.h"
#include "core/server_list.h"

#define TRIES 5

/* One of the places at one time. */
struct seat {
	struct enlisting *all;
	size_t number; /* of the agent */
	unsigned tries;
	char name[128];
	char guid[UUID_TEXT];
	char source[IP_TEXT];
	struct folder folder;
	char *csr; /* owned */
	struct work work;
	enum err result;
	struct why why;
	struct join *join;   /* owned */
	struct later finish; /* join's own callback is no place to free it */
	bool is_busy;
};

struct enlisting {
	struct enlist_params p;
	char *servers; /* owned */
	struct str_list asked;
	struct seat *seats; /* owned */
	size_t next;        /* the next agent to look at */
	size_t n_busy, n_joined;
	struct timer step;
	enum err error;
	struct why why;
};

CLEAN_DEFINE(struct enlisting, enlist_free)

static void seat_clear(struct seat *s)
{
	s->join = join_free(s->join);
	s->csr = mem_free(s->csr);
	folder_deinit(&s->folder);
}

/* ---- one join ---- */

static void seat_finish(struct seat *s, enum err e, const char *sentence)
{
	struct why copy;

	why_set(&copy, "%s", sentence);
	s->result = e;
	s->why = copy;
	world_later(s->all->p.world, &s->finish);
}

static void on_joined(void *user, enum err result, const char *sentence, const struct msg_join_answer *a)
{
	struct seat *s = user;
	struct why why = WHY_NONE;

	if (!result && (!a->certificate || !a->caCertificates || !a->guid)) {
		result = ERR_MALFORMED;
		sentence = "the answer has no certificate";
	}
	if (!result) {
		result = folder_write(&s->folder, a, &s->all->asked, &why);
		sentence = why_text(&why, result);
	}
	seat_finish(s, result, sentence);
}

static enum err fill_request(const struct seat *s, struct msg_join *m)
{
	const struct token *t = s->all->p.token;
	const struct {
		msg_text *to;
		const char *value;
	} rows[] = {
		{&m->tokenId, t->id}, {&m->tokenSecret, t->secret}, {&m->role, "agent"},          {&m->csr, s->csr},
		{&m->guid, s->guid},  {&m->name, s->name},          {&m->resourceName, RESOURCE},
	};
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < ARRAY_SIZE(rows); i++)
		e = msg_set_text(rows[i].to, rows[i].value);
	m->addresses.has = true;
	return e;
}

static enum err send_request(struct seat *s, struct why *why)
{
	CLEAN(batch_deinit) struct batch b = {0};
	struct msg_join *m = batch_add(&b, MSG_JOIN);
	const struct join_params p = {
		.world = s->all->p.world,
		.log = s->all->p.log,
		.servers = s->all->servers,
		.fingerprint = s->all->p.token->fingerprint,
		.source_ip = s->source[0] ? s->source : NULL,
	};
	enum err e = m ? fill_request(s, m) : ERR_NOMEM;

	return e ? e : join_start(&s->join, &p, m, on_joined, s, why);
}

static void key_run(struct work *w)
{
	struct seat *s = container_of(w, struct seat, work);
	struct csr_params p = {.common_name = s->name, .role = CERT_ROLE_AGENT, .id = s->guid};

	s->result = key_new(&s->folder.key, KEY_EC_P256, &s->why);
	p.key_pem = s->folder.key;
	if (!s->result)
		s->result = csr_new(&s->csr, &p, &s->why);
}

static void key_done(struct work *w)
{
	struct seat *s = container_of(w, struct seat, work);
	enum err e = s->result ? s->result : send_request(s, &s->why);

	if (e)
		seat_finish(s, e, why_text(&s->why, e));
}

static void seat_begin(struct seat *s)
{
	struct enlisting *all = s->all;

	world_uuid(all->p.world, s->guid);
	all->p.source(all->p.user, s->number, s->source);
	s->why = WHY_NONE;
	s->work = (struct work){.run = key_run, .done = key_done};
	world_work(all->p.world, WORK_CRYPTO, &s->work);
}

/* ---- all of them ---- */

/* What happens on the way; all else is a server's word, or wrong here. */
static bool is_worth_another_try(enum err e)
{
	return e == ERR_TIMEOUT || e == ERR_CLOSED || e == ERR_UNREACHABLE || e == ERR_TLS || e == ERR_BUSY;
}

static void run_finish(struct later *l)
{
	struct seat *s = container_of(l, struct seat, finish);
	struct enlisting *all = s->all;
	bool again = is_worth_another_try(s->result) && ++s->tries < TRIES && !all->error;
	CLEAN(mem_freep) char *dir = NULL;

	if (again) {
		dir = STEAL(s->folder.dir);
		seat_clear(s);
		s->folder.dir = STEAL(dir);
		seat_begin(s);
		return;
	}
	all->n_joined += s->result == ERR_OK;
	if (s->result && !all->error) {
		all->error = s->result;
		why_set(&all->why, "%s: %s", s->name, why_text(&s->why, s->result));
	}
	seat_clear(s);
	s->is_busy = false;
	all->n_busy--;
	timer_set_in(all->p.world, &all->step, 0);
}

/* Begins with that agent, unless it has joined already. */
static enum err seat_take(struct seat *s, size_t number, bool *has_joined)
{
	CLEAN(mem_freep) char *cert = NULL;
	enum err e;

	s->number = number;
	s->tries = 0;
	snprintf(s->name, sizeof(s->name), "%s%zu", s->all->p.prefix, number + 1);
	e = folder_init(&s->folder, s->all->p.dir, s->name);
	cert = e ? NULL : path_join(s->folder.dir, "cloud.crt");
	if (!cert)
		return ERR_NOMEM;
	*has_joined = fs_posix.exists(&fs_posix, cert);
	if (*has_joined) {
		folder_deinit(&s->folder);
		return ERR_OK;
	}
	seat_begin(s);
	return ERR_OK;
}

static enum err fill_seat(struct seat *s)
{
	struct enlisting *all = s->all;
	bool has_joined = true;
	enum err e = ERR_OK;

	while (!e && has_joined && all->next < all->p.agents)
		e = seat_take(s, all->next++, &has_joined);
	if (!e && !has_joined) {
		s->is_busy = true;
		all->n_busy++;
	}
	return e;
}

static void step_fired(struct timer *t)
{
	struct enlisting *all = container_of(t, struct enlisting, step);

	for (size_t i = 0; i < all->p.at_once && !all->error; i++) {
		if (!all->seats[i].is_busy)
			all->error = fill_seat(&all->seats[i]);
	}
	if (all->n_busy == 0)
		all->p.done(all->p.user, all->error, why_text(&all->why, all->error), all->n_joined);
}

/* ---- life ---- */

static enum err enlist_fill(struct enlisting *all, struct why *why)
{
	enum err e;

	if (all->p.servers)
		e = server_list_parse_setting(&all->asked, all->p.servers, why);
	else
		e = str_list_copy(&all->asked, &all->p.token->servers);
	if (e)
		return e;
	if (!all->asked.n) {
		why_set(why, "the token names no server: say them with --servers");
		return ERR_INVALID;
	}
	all->servers = str_list_join(&all->asked, ",");
	all->seats = mem_zalloc_array(all->p.at_once, sizeof(*all->seats));
	if (!all->servers || !all->seats)
		return ERR_NOMEM;
	for (size_t i = 0; i < all->p.at_once; i++) {
		all->seats[i].all = all;
		all->seats[i].finish.call = run_finish;
		list_init(&all->seats[i].finish.queued);
	}
	return ERR_OK;
}

enum err enlist_start(struct enlisting **out, const struct enlist_params *p, struct why *why)
{
	CLEAN(enlist_freep) struct enlisting *all = mem_zalloc(sizeof(*all));
	enum err e;

	if (!all)
		return ERR_NOMEM;
	all->p = *p;
	timer_init(&all->step, step_fired);
	e = enlist_fill(all, why);
	if (e)
		return e;
	timer_set_in(p->world, &all->step, 0);

	*out = STEAL(all);
	return ERR_OK;
}

struct enlisting *enlist_free(struct enlisting *all)
{
	if (!all)
		return NULL;
	timer_stop(all->p.world, &all->step);
	for (size_t i = 0; all->seats && i < all->p.at_once; i++) {
		world_later_cancel(&all->seats[i].finish);
		seat_clear(&all->seats[i]);
	}
	mem_free(all->seats);
	mem_free(all->servers);
	str_list_deinit(&all->asked);
	return mem_free(all);
}
