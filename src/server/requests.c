/*
 * Requests: commands to agents and the answers that come back, wherever the agent is.
 *
 * A request belongs to its host, not to a link. It goes out over the host's link here or through the server that owns
 * the host; its answer carries our id and number and finds its way back over any link. When a muster agent's link
 * changes, what was not answered is sent again over the next one; the agent runs each (server, number) once. For a
 * CloudStack agent a lost link ends the request, as in the reference.
 *
 * A muster agent that has no link now but may come back any moment (it changes servers, or ours is in its grace period)
 * is waited for, too: the request goes out when it is Up again, here or elsewhere, and ends when its host is given up.
 *
 * In sequence: per attachment one such command is outstanding, later ones wait in order (agent-protocol 2.5). The
 * queue is the attachment's, so requests passed on for other servers stand in it too.
 */
#include "server/internal.h"

#include <string.h>

#define REQUESTS_PER_HOST 256
#define QUEUED_PER_LINK 256
#define GIVEN_UP_MS 3000 /* nobody has the host: an agent that was asked to reconnect is back by then */
#define QUEUED_BYTES_PER_LINK (16u * 1024 * 1024)

struct request {
	struct list in_host;
	struct server *server;
	struct host *host;
	struct header header;
	char *body;
	size_t n;
	bool on_its_way; /* sent or in an attachment's queue */
	bool was_sent;   /* ever: it may have run */
	bool ran_once;   /* it may have run where a copy isn't known for what it is: never sent again */
	bool passed_on;  /* ... through another server: */
	int64_t via_msid;
	struct timer give_up;
	struct timer no_way; /* it has waited long enough for a way to the agent */
	struct request_params p;
};

/* Waiting for its turn in an attachment: a copy, since the request may end before. */
struct queued {
	struct list in_queue;
	struct header header;
	char *body;
	size_t n;
};

static void request_free(struct request *r)
{
	timer_stop(r->server->world, &r->give_up);
	timer_stop(r->server->world, &r->no_way);
	list_remove(&r->in_host);
	map_remove_u64(&r->server->requests, (uint64_t)r->header.seq);
	if (r->p.is_secret)
		mem_wipe(r->body, r->n);
	mem_free(r->body);
	mem_free(r);
}

static void request_end(struct request *r, enum err result, const char *sentence, const struct batch *answers)
{
	struct request_params p = r->p;

	request_free(r);
	if (p.done)
		p.done(p.user, result, sentence, answers);
}

/* ---- one attachment's queue ---- */

static void queue_free(struct queued *q)
{
	list_remove(&q->in_queue);
	mem_free(q->body);
	mem_free(q);
}

static void on_in_sequence_timeout(struct timer *t);

static enum err send_now(struct session *x, struct header *h, const char *body, size_t n)
{
	enum err e = x->link ? link_send(x->link, h, body, n) : ERR_CLOSED;

	if (!e && (h->flags & FLAG_IN_SEQUENCE)) {
		x->in_sequence_busy = true;
		x->in_sequence_seq = h->seq;
		x->in_sequence_mgmt = h->mgmt_id;
		timer_init(&x->in_sequence_timer, on_in_sequence_timeout);
		timer_set_in(x->server->world, &x->in_sequence_timer, config_number(x->server, "wait", 0) * 1000);
	}
	return e;
}

static void queue_next(struct session *x)
{
	while (!x->in_sequence_busy && !list_is_empty(&x->in_sequence)) {
		struct queued *q = list_first(&x->in_sequence, struct queued, in_queue);

		if (send_now(x, &q->header, q->body, q->n))
			log_debug(x->server->log, "a command that waited could not be sent", KV_I("host", x->host_id),
				  KV_I("seq", q->header.seq)); /* the link is ending, which is heard elsewhere */
		x->n_queued--;
		x->queued_bytes -= q->n;
		queue_free(q);
	}
}

static void on_in_sequence_timeout(struct timer *t)
{
	struct session *x = container_of(t, struct session, in_sequence_timer);

	x->in_sequence_busy = false;
	queue_next(x);
}

static enum err queue_or_send(struct session *x, const struct header *h, const char *body, size_t n)
{
	struct header copy = *h;
	struct queued *q;

	if (!(h->flags & FLAG_IN_SEQUENCE) || !x->in_sequence_busy)
		return send_now(x, &copy, body, n);
	if (x->n_queued >= QUEUED_PER_LINK || x->queued_bytes + n > QUEUED_BYTES_PER_LINK)
		return ERR_FULL;
	q = mem_zalloc(sizeof(*q));
	if (!q)
		return ERR_NOMEM;
	q->header = *h;
	q->body = mem_strndup(body, n);
	q->n = n;
	list_init(&q->in_queue);
	if (!q->body) {
		mem_free(q);
		return ERR_NOMEM;
	}
	list_append(&x->in_sequence, &q->in_queue);
	x->n_queued++;
	x->queued_bytes += n;
	return ERR_OK;
}

void requests_advance(struct session *x, const struct header *h)
{
	if (!(h->flags & FLAG_IN_SEQUENCE) || !x->in_sequence_busy)
		return;
	if (h->seq != x->in_sequence_seq || (h->mgmt_id != x->in_sequence_mgmt && h->mgmt_id != -1))
		return;
	x->in_sequence_busy = false;
	timer_stop(x->server->world, &x->in_sequence_timer);
	queue_next(x);
}

void requests_drop_queue(struct session *x)
{
	list_for (q, &x->in_sequence, struct queued, in_queue)
		queue_free(q);
	x->n_queued = 0;
	x->queued_bytes = 0;
	x->in_sequence_busy = false;
	timer_stop(x->server->world, &x->in_sequence_timer);
}

/* Nobody waits for this one any more: it leaves the queue, or lets the next one go. */
static void queue_forget(struct session *x, const struct header *h)
{
	list_for (q, &x->in_sequence, struct queued, in_queue) {
		if (q->header.seq == h->seq && q->header.mgmt_id == h->mgmt_id) {
			x->n_queued--;
			x->queued_bytes -= q->n;
			queue_free(q);
		}
	}
	requests_advance(x, h);
}

static void on_give_up(struct timer *t)
{
	struct request *r = container_of(t, struct request, give_up);

	/* Only forgotten: nothing is sent to the agent, a late answer is ignored (agent-protocol 2.6). */
	if (r->host->session)
		queue_forget(r->host->session, &r->header);
	request_end(r, ERR_TIMEOUT, "the agent did not answer in time", NULL);
}

enum err requests_pass_on(struct session *x, const struct header *h, const char *body, size_t n)
{
	return queue_or_send(x, h, body, n);
}

/* ---- ours ---- */

/* Over the link here, or through the owner. ERR_UNREACHABLE: there is no way right now. */
static enum err dispatch(struct request *r)
{
	struct server *s = r->server;
	struct host *h = r->host;
	struct header copy = r->header;
	enum err e;

	r->passed_on = false;
	if (h->session && (h->session->state == SESSION_ATTACHED || h->session->state == SESSION_READY))
		e = queue_or_send(h->session, &r->header, r->body, r->n);
	else if (h->row.owner && h->row.owner != s->msid && !r->p.this_link_only)
		e = peer_send_raw(s, h->row.owner, &copy, r->body, r->n);
	else
		e = ERR_UNREACHABLE;
	r->on_its_way = e == ERR_OK;
	r->passed_on = r->on_its_way && !h->session;
	r->via_msid = h->row.owner;
	r->was_sent |= r->on_its_way;
	r->ran_once |= r->on_its_way && !h->row.is_muster;
	if (r->on_its_way)
		timer_stop(s->world, &r->no_way);
	return e;
}

static void on_no_way(struct timer *t)
{
	struct request *r = container_of(t, struct request, no_way);
	int64_t owner = r->host->row.owner;

	if (r->on_its_way)
		return;
	request_end(r, ERR_UNREACHABLE,
		    !owner                     ? "the agent is not connected"
		    : owner == r->server->msid ? "the agent did not come back in time"
					       : "the management server that has the agent can't be reached",
		    NULL);
}

/*
 * No way to the agent now; may there be one in a moment? Of a muster agent, while nobody has given up its host: here
 * its grace period runs (decision 16), or the server that had it last is gone and the agent on its way to another one.
 */
static bool may_come_back(const struct host *h)
{
	if (!h->row.is_muster || !h->row.owner)
		return false;
	return h->session || h->row.owner != h->server->msid || h->lost_at.us;
}

/*
 * Twice the grace: who has the host needs time to be missed first, and gives it up one grace after that, which ends the
 * request. This is for an owner that lives, and only we have no link to.
 */
static bool waits_for_a_way(struct request *r, enum err e)
{
	struct server *s = r->server;

	if ((e != ERR_UNREACHABLE && e != ERR_CLOSED && e != ERR_STATE) || r->p.this_link_only ||
	    !may_come_back(r->host))
		return false;
	log_debug(s->log, "a request waits for the agent", KV_I("host", r->host->row.id), KV_I("seq", r->header.seq));
	timer_set_in(s->world, &r->no_way, 2 * config_number(s, "agent.reconnect.grace", 0) * 1000);
	return true;
}

static struct header make_header(struct server *s, const struct host *h, const struct batch *b, bool continue_on_error)
{
	struct header header = {
		.flags = FLAG_REQUEST | FLAG_FROM_SERVER,
		.seq = ++s->next_seq,
		.mgmt_id = s->msid,
		.agent_id = h->row.id,
		.via = h->row.id,
	};

	if (!continue_on_error)
		header.flags |= FLAG_STOP_ON_ERROR;
	for (size_t i = 0; i < b->n; i++)
		if (msg_in_sequence(b->elements[i].type))
			header.flags |= FLAG_IN_SEQUENCE;
	return header;
}

static size_t count(const struct host *h)
{
	size_t n = 0;

	list_for (r, (struct list *)(uintptr_t)&h->requests, struct request, in_host)
		n++;
	return n;
}

static enum err request_new(struct request **out, struct server *s, struct host *h, const struct batch *b,
			    const struct request_params *p)
{
	struct request *r = mem_zalloc(sizeof(*r));
	struct buf json = {0};
	enum err e;

	if (!r)
		return ERR_NOMEM;
	e = batch_encode(b, &json);
	r->n = json.len;
	r->body = e ? NULL : buf_take_str(&json);
	buf_deinit(&json);
	if (!e && !r->body)
		e = ERR_NOMEM;
	r->server = s;
	r->host = h;
	r->p = *p;
	r->header = make_header(s, h, b, p->continue_on_error);
	if (!e)
		e = map_put_u64(&s->requests, (uint64_t)r->header.seq, r);
	if (e) {
		mem_free(r->body);
		mem_free(r);
		return e;
	}
	list_append(&h->requests, &r->in_host);
	timer_init(&r->give_up, on_give_up);
	timer_init(&r->no_way, on_no_way);
	timer_set_in(s->world, &r->give_up, p->wait_ms ? p->wait_ms : config_number(s, "wait", 0) * 1000);
	*out = r;
	return ERR_OK;
}

static void wipe_keys(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		struct msg_setup_certificate *m = b->elements[i].fields;

		if (b->elements[i].type == MSG_SETUP_CERTIFICATE)
			m->privateKey = key_free(m->privateKey);
	}
}

enum err request_to_host(struct server *s, struct host *h, struct batch *take_batch, const struct request_params *p)
{
	struct request *r = NULL;
	enum err e = count(h) < REQUESTS_PER_HOST ? ERR_OK : ERR_FULL;

	if (!e)
		e = request_new(&r, s, h, take_batch, p);
	if (p->is_secret)
		wipe_keys(take_batch);
	batch_deinit(take_batch);
	if (e)
		return e;
	e = dispatch(r);
	if (!e || waits_for_a_way(r, e))
		return ERR_OK;
	request_free(r);
	return e;
}

bool request_answered(struct server *s, const struct header *h, const char *body, size_t n)
{
	struct request *r = map_get_u64(&s->requests, (uint64_t)h->seq);
	struct batch answers = {0};
	struct why why = WHY_NONE;
	enum err e;

	if (!r || r->host->row.id != h->agent_id)
		return false;
	e = batch_decode(&answers, body, n, &why);
	request_end(r, e, why_text(&why, e), &answers);
	batch_deinit(&answers);
	return true;
}

void request_cancelled(struct server *s, int64_t seq, const char *reason)
{
	struct request *r = map_get_u64(&s->requests, (uint64_t)seq);

	if (!r)
		return;
	if (r->host->row.is_muster && !r->ran_once) {
		/* It is between two servers: sent again when it is Up, or given up by its timer. */
		r->on_its_way = false;
		return;
	}
	request_end(r, ERR_UNREACHABLE, reason ? reason : "the agent is not connected", NULL);
}

/*
 * Ending a request calls its owner, who may end others: so those to end are moved to a list of their own first, and
 * taken from its head one at a time.
 */
static void end_all(struct list *to_end, enum err why, const char *sentence)
{
	while (!list_is_empty(to_end))
		request_end(list_first(to_end, struct request, in_host), why, sentence, NULL);
}

void requests_link_lost(struct host *h, bool is_muster)
{
	struct list to_end;

	list_init(&to_end);
	list_for (r, &h->requests, struct request, in_host) {
		r->on_its_way = false;
		if (is_muster && !r->p.this_link_only)
			continue;
		list_remove(&r->in_host);
		list_append(&to_end, &r->in_host);
	}
	end_all(&to_end, ERR_CLOSED, "the agent's link ended");
}

void requests_resend(struct host *h)
{
	struct list to_end;

	list_init(&to_end);
	list_for (r, &h->requests, struct request, in_host) {
		if (r->on_its_way)
			continue;
		/* It has come back as one that doesn't know a copy for what it is, or was one, and may have run it. */
		if (r->ran_once || (r->was_sent && !h->row.is_muster)) {
			list_remove(&r->in_host);
			list_append(&to_end, &r->in_host);
		} else if (dispatch(r)) {
			log_debug(r->server->log, "a request waits for the agent", KV_I("host", h->row.id),
				  KV_I("seq", r->header.seq));
		}
	}
	end_all(&to_end, ERR_CLOSED, "the agent's link ended, the command may have run");
}

void requests_given_up(struct host *h)
{
	list_for (r, &h->requests, struct request, in_host)
		timer_set_in(r->server->world, &r->no_way, GIVEN_UP_MS);
}

void requests_owner_changed(struct host *h)
{
	struct list to_end;

	list_init(&to_end);
	list_for (r, &h->requests, struct request, in_host) {
		if (!r->passed_on)
			continue;
		r->on_its_way = false;
		r->passed_on = false;
		if (h->row.is_muster && !r->ran_once)
			continue;
		/* It may have run: a CloudStack agent would run it twice. */
		list_remove(&r->in_host);
		list_append(&to_end, &r->in_host);
	}
	end_all(&to_end, ERR_CLOSED, "the agent's link ended");
}

void requests_peer_linked(struct server *s, int64_t msid)
{
	struct request *r;
	size_t cursor = 0;

	while ((r = map_next(&s->requests, &cursor)))
		if (r->host->row.owner == msid && !r->host->session && r->host->row.is_muster && !r->ran_once &&
		    dispatch(r))
			log_debug(s->log, "a request waits for the agent", KV_I("host", r->host->row.id),
				  KV_I("seq", r->header.seq));
}

void requests_peer_lost(struct server *s, int64_t msid)
{
	struct list to_end;
	struct request *r;
	size_t cursor = 0;

	list_init(&to_end);
	while ((r = map_next(&s->requests, &cursor))) {
		if (!r->passed_on || r->via_msid != msid)
			continue;
		r->on_its_way = false;
		r->passed_on = false;
		if (r->host->row.is_muster && !r->ran_once)
			continue;
		list_remove(&r->in_host);
		list_append(&to_end, &r->in_host);
	}
	end_all(&to_end, ERR_CLOSED,
		"the link to the management server that has the agent ended: the command may have run");
}

void requests_fail(struct host *h, enum err why, const char *sentence)
{
	struct list to_end;

	list_init(&to_end);
	list_for (r, &h->requests, struct request, in_host) {
		list_remove(&r->in_host);
		list_append(&to_end, &r->in_host);
	}
	end_all(&to_end, why, sentence);
}
