#include "client/join.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "core/server_list.h"
#include "net/link.h"

#define TIMEOUT_MS 30000
#define CONNECT_MS 5000
#define HANDSHAKE_MS 10000

struct join {
	struct world *world;
	const struct log *log;
	struct str_list servers;
	size_t next; /* of servers */
	char *fingerprint;
	char *source_ip;
	struct buf request;      /* encoded; holds the token's secret */
	struct tls_creds *creds; /* without any material: trust is by fingerprint alone */
	struct link *link;
	struct timer timer; /* for all of it */
	struct timer step;  /* results come in a later turn, also those of dials that fail at once */
	enum err error;     /* the most telling failure so far */
	struct why sentence;
	void (*done)(void *user, enum err result, const char *sentence, const struct msg_join_answer *answer);
	void *user;
};

CLEAN_DEFINE(struct join, join_free)

/* ---- the end ---- */

/* The caller frees the join in done(), or later. */
static void join_done(struct join *j, enum err result, const char *sentence, const struct msg_join_answer *answer)
{
	timer_stop(j->world, &j->timer);
	timer_stop(j->world, &j->step);
	j->link = link_close(j->link);
	j->done(j->user, result, sentence, answer);
}

/* A server that shows the wrong CA tells more than another one that can't be reached. */
static void join_failed(struct join *j, enum err error, const char *sentence)
{
	log_info(j->log, "not joined here", KV_S("server", j->servers.items[j->next]), KV_S("reason", sentence));
	if (j->error != ERR_UNTRUSTED) {
		j->error = error;
		why_set(&j->sentence, "%s: %s", j->servers.items[j->next], sentence);
	}
	j->next++;
	j->link = link_close(j->link);
	timer_set_in(j->world, &j->step, 0);
}

/* ---- one server ---- */

static enum err error_of_name(const char *name)
{
	static const enum err all[] = {
#define X(name, number, text) name,
		ERR_LIST(X)
#undef X
	};

	for (size_t i = 0; name && i < ARRAY_SIZE(all); i++) {
		if (all[i] != ERR_OK && !strcmp(err_name(all[i]), name))
			return all[i];
	}
	return ERR_REFUSED;
}

/* Another server may do what this one can't do now; a no is the same everywhere. */
static bool is_passing(enum err e)
{
	return e == ERR_STORE || e == ERR_BUSY || e == ERR_STOPPED || e == ERR_TIMEOUT || e == ERR_NOMEM;
}

static void join_message(struct link *l, void *user, const struct header *h, const char *body, size_t n)
{
	CLEAN(batch_deinit) struct batch b = {0};
	struct join *j = user;
	const struct msg_join_answer *m;
	struct why why = WHY_NONE;
	enum err e = batch_decode(&b, body, n, &why);

	m = e ? NULL : batch_find(&b, MSG_JOIN_ANSWER);
	if (!m) {
		join_failed(j, ERR_MALFORMED, e ? why_text(&why, e) : "the answer to the join can't be read");
		return;
	}
	if (m->result.has && m->result.value) {
		join_done(j, ERR_OK, "joined", m);
		return;
	}
	e = error_of_name(m->error);
	if (is_passing(e))
		join_failed(j, e, m->details ? m->details : err_text(e));
	else
		join_done(j, e, m->details ? m->details : err_text(e), NULL);
}

static void join_up(struct link *l, void *user)
{
	struct join *j = user;
	struct header h = {.flags = FLAG_REQUEST, .seq = 0, .mgmt_id = -1, .agent_id = -1, .via = -1};
	enum err e;

	if (strcmp(link_peer(l)->alpn, ALPN_JOIN) != 0) {
		join_failed(j, ERR_TLS, "this is not a muster server");
		return;
	}
	link_set_message_limit(l, LINK_MESSAGE_LIMIT_ANONYMOUS);
	e = link_send(l, &h, (const char *)j->request.data, j->request.len);
	if (e)
		join_failed(j, e, err_text(e));
}

static void join_closed(struct link *l, void *user, enum err why, const char *sentence)
{
	struct join *j = user;
	struct why said;

	why_set(&said, "%s", sentence ? sentence : err_text(why)); /* it may belong to the link */
	j->link = NULL;
	join_failed(j, why, said.text);
}

static const struct link_events join_events = {
	.up = join_up,
	.message = join_message,
	.closed = join_closed,
};

static enum err join_dial(struct join *j, const char *entry, struct why *why)
{
	const struct link_params params = {
		.world = j->world,
		.log = j->log,
		.tls = {.profile = TLS_CLIENT_JOIN,
			.creds = j->creds,
			.pin = j->fingerprint,
			.wall_s = world_wall_ms(j->world) / 1000},
		.connect_ms = CONNECT_MS,
		.handshake_ms = HANDSHAKE_MS,
		.offload = true,
		.events = &join_events,
		.user = j,
	};
	struct server_address address;
	enum err e = server_address_parse(&address, entry, why);

	if (e)
		return e;
	return link_dial(&j->link, &params, address.host, address.port ? address.port : SERVER_LIST_PORT, j->source_ip,
			 why);
}

static void join_step(struct timer *t)
{
	struct join *j = container_of(t, struct join, step);
	struct why why = WHY_NONE;
	enum err e;

	if (j->next == j->servers.n) {
		join_done(j, j->error, why_text(&j->sentence, j->error), NULL);
		return;
	}
	e = join_dial(j, j->servers.items[j->next], &why);
	if (e)
		join_failed(j, e, why_text(&why, e));
}

static void join_late(struct timer *t)
{
	struct join *j = container_of(t, struct join, timer);

	if (j->error == ERR_OK)
		why_set(&j->sentence, "no server has answered in time");
	join_done(j, j->error == ERR_OK ? ERR_TIMEOUT : j->error, j->sentence.text, NULL);
}

/* ---- life ---- */

static enum err request_encode(struct join *j, const struct msg_join *request)
{
	CLEAN(mem_freep) char *class_name = mem_strdup(msg_class(MSG_JOIN));
	/* Only read: the fields stay the caller's. */
	struct element e = {.type = MSG_JOIN, .class_name = class_name, .fields = (void *)(uintptr_t)request};

	return class_name ? batch_encode(&(struct batch){.elements = &e, .n = 1}, &j->request) : ERR_NOMEM;
}

static enum err join_fill(struct join *j, const struct join_params *p, const struct msg_join *request, struct why *why)
{
	enum err e = server_list_parse_setting(&j->servers, p->servers, why);

	if (e)
		return e;
	if (str_is_blank(p->fingerprint)) {
		why_set(why, "there is no fingerprint to know the servers by");
		return ERR_INVALID;
	}
	j->fingerprint = mem_strdup(p->fingerprint);
	j->source_ip = mem_strdup(p->source_ip);
	if (!j->fingerprint || (p->source_ip && !j->source_ip))
		return ERR_NOMEM;
	e = request_encode(j, request);
	return e ? e : tls_creds_new(j->world, &j->creds, &(struct tls_material){0}, why);
}

enum err join_start(struct join **out, const struct join_params *p, const struct msg_join *request,
		    void (*done)(void *user, enum err result, const char *sentence,
				 const struct msg_join_answer *answer),
		    void *user, struct why *why)
{
	CLEAN(join_freep) struct join *j = mem_zalloc(sizeof(*j));
	enum err e;

	assert(p->world && done);

	if (!j)
		return ERR_NOMEM;
	j->world = p->world;
	j->log = p->log;
	j->done = done;
	j->user = user;
	timer_init(&j->timer, join_late);
	timer_init(&j->step, join_step);
	e = join_fill(j, p, request, why);
	if (e)
		return e;
	timer_set_in(j->world, &j->timer, p->timeout_ms > 0 ? p->timeout_ms : TIMEOUT_MS);
	timer_set_in(j->world, &j->step, 0);

	*out = STEAL(j);
	return ERR_OK;
}

struct join *join_free(struct join *j)
{
	if (!j)
		return NULL;
	timer_stop(j->world, &j->timer);
	timer_stop(j->world, &j->step);
	link_close(j->link);
	if (j->request.data)
		mem_wipe(j->request.data, j->request.len);
	buf_deinit(&j->request);
	if (j->creds)
		tls_creds_unref(j->creds);
	str_list_deinit(&j->servers);
	mem_free(j->fingerprint);
	mem_free(j->source_ip);
	return mem_free(j);
}
