/*
 * Clones: two machines with one guid (a copied image), where the first is connected to another server (decision 7).
 *
 * On one server the links meet, and startup.c holds the newcomer back until it is clear whether the older link answers.
 * Here the server that the store names as the owner is asked the same over the peer link (AgentAliveCommand): has the
 * older link been heard since you were asked? It answers at once if it has no such link, and after the time in which a
 * living agent is heard otherwise. No peer link, no answer in time: the newcomer is taken, as a restarted agent has to
 * be when its server is gone too.
 */
#include "server/internal.h"

#define LISTEN_MS 2500
#define QUESTIONS_MOST 1000

/* ---- who is asked ---- */

/* Another server's, until it is answered. */
struct question {
	struct list in_questions; /* s->questions */
	struct timer timer;
	struct server *server;
	struct header header;
	int64_t asker;
	int64_t host_id, attachment;
	struct mono asked_at;
};

static void answer(struct server *s, int64_t asker, const struct header *request, bool is_alive)
{
	struct header h = header_answer(request);
	struct batch b = {0};
	struct buf json = {0};
	struct msg_agent_alive_answer *m = batch_add(&b, MSG_AGENT_ALIVE_ANSWER);
	enum err e = m ? ERR_OK : ERR_NOMEM;

	if (m)
		msg_set_bool(&m->result, is_alive);
	if (!e)
		e = batch_encode(&b, &json);
	if (!e)
		e = peer_send_raw(s, asker, &h, (const char *)json.data, json.len);
	if (e) /* it waits no longer than it would anyway */
		log_debug(s->log, "a question about an agent could not be answered", KV_S("error", err_text(e)));
	buf_deinit(&json);
	batch_deinit(&b);
}

static void question_free(struct question *q)
{
	timer_stop(q->server->world, &q->timer);
	list_remove(&q->in_questions);
	q->server->n_questions--;
	mem_free(q);
}

static void on_listened(struct timer *t)
{
	struct question *q = container_of(t, struct question, timer);
	struct host *h = roster_host(q->server, q->host_id);
	struct session *x = h ? h->session : NULL;
	bool is_alive = x && x->attachment == q->attachment && x->link && mono_before(q->asked_at, link_heard(x->link));

	answer(q->server, q->asker, &q->header, is_alive);
	question_free(q);
}

void clone_probe(struct session *x)
{
	struct batch b = {0};
	struct request_params p = {.wait_ms = LISTEN_MS, .this_link_only = true};

	if (x->heartbeat_ms <= HEARTBEAT_LEAST_MS)
		return;
	if (!x->host || !batch_add(&b, MSG_CHECK_HEALTH) || request_to_host(x->server, x->host, &b, &p))
		log_debug(x->server->log, "an agent could not be asked whether it lives", KV_I("host", x->host_id));
	batch_deinit(&b);
}

static bool listen_to(struct server *s, int64_t asker, const struct header *h, struct session *x)
{
	struct question *q = s->n_questions < QUESTIONS_MOST ? mem_zalloc(sizeof(*q)) : NULL;

	if (!q)
		return false;
	*q = (struct question){
		.server = s,
		.header = *h,
		.asker = asker,
		.host_id = x->host_id,
		.attachment = x->attachment,
		.asked_at = world_now(s->world),
	};
	list_append(&s->questions, &q->in_questions);
	s->n_questions++;
	timer_init(&q->timer, on_listened);
	timer_set_in(s->world, &q->timer, LISTEN_MS);
	clone_probe(x);
	return true;
}

void clone_asked(struct server *s, int64_t asker, const struct header *h, const struct msg_agent_alive *m)
{
	struct host *host = m->agentId.has ? roster_host(s, m->agentId.value) : NULL;
	struct session *x = host ? host->session : NULL;

	/* The boot of the newcomer here: the agent has moved meanwhile, and that is the whole story. */
	if (!x || x->state != SESSION_READY || !x->link || !x->boot || !m->boot || str_equal(x->boot, m->boot) ||
	    !listen_to(s, asker, h, x))
		answer(s, asker, h, false);
}

void clones_deinit(struct server *s)
{
	list_for (q, &s->questions, struct question, in_questions)
		question_free(q);
}

/* ---- who asks ---- */

static enum err ask(struct server *s, struct session *x, const struct host *known, const char *boot)
{
	struct header h = {
		.flags = FLAG_REQUEST | FLAG_FROM_SERVER,
		.seq = ++s->next_seq,
		.mgmt_id = s->msid,
		.agent_id = -1,
		.via = -1,
	};
	struct batch b = {0};
	struct buf json = {0};
	struct msg_agent_alive *m = batch_add(&b, MSG_AGENT_ALIVE);
	enum err e = m ? msg_set_text(&m->boot, boot) : ERR_NOMEM;

	if (m)
		msg_set_i64(&m->agentId, known->row.id);
	if (!e)
		e = batch_encode(&b, &json);
	if (!e)
		e = peer_send_raw(s, known->row.owner, &h, (const char *)json.data, json.len);
	buf_deinit(&json);
	batch_deinit(&b);
	if (e)
		return e;
	x->clone_seq = h.seq;
	x->clone_msid = known->row.owner;
	list_append(&s->asking, &x->in_asking);
	return ERR_OK;
}

bool clone_ask(struct session *x, const struct host *known, const char *boot)
{
	struct server *s = x->server;
	const struct host_row *row = &known->row;
	const struct member_server *owner = row->owner ? roster_server(s, row->owner) : NULL;

	if (!owner || row->owner == s->msid || owner->row.state != SERVER_UP || owner->member.view == MEMBER_DOWN)
		return false;
	if (row->status != HOST_UP || !row->boot || !boot || str_equal(row->boot, boot))
		return false;
	return ask(s, x, known, boot) == ERR_OK;
}

bool clone_answered(struct server *s, int64_t from, const struct header *h, const char *body, size_t n)
{
	struct batch b = {0};
	bool is_alive;

	list_for (x, &s->asking, struct session, in_asking) {
		if (!x->held || !x->clone_seq || x->clone_seq != h->seq || x->clone_msid != from)
			continue;
		is_alive = batch_decode(&b, body, n, NULL) == ERR_OK && b.n &&
			   b.elements[0].type == MSG_AGENT_ALIVE_ANSWER && element_result(&b.elements[0]);
		batch_deinit(&b);
		list_remove(&x->in_asking);
		x->clone_seq = 0;
		x->clone_lives = is_alive;
		startup_held_over(x);
		return true;
	}
	return false;
}
