/*
 * Batches of commands and their answers (agent-protocol 2.5; decision 17).
 *
 * The commands of a batch run one after the other, batches beside each other. What the engine answers itself is done
 * at once; the rest is given to the host program at the end of the turn, at most commands_max at a time.
 *
 *   open:     received, some commands not answered yet; `waiting` are those whose next one has no place yet
 *   finished: all answered, encoded; remembered for answer_hold_ms (muster peers only)
 *
 * Between muster peers an answer doesn't depend on the link that its request came on: when that is gone the current
 * link carries it, and while there is none it waits. What was sent shortly before a link was lost may not have
 * arrived and is sent again. A request that comes twice is worked on once: the second copy gets the same answer. All
 * of this would confuse nobody but help nobody either at a CloudStack server, which has forgotten the request with
 * the link; there it is dropped.
 */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "client/engine.h"

#define MOST_OPEN_TIMES 4 /* of commands_max */
#define MOST_OPEN_BYTES (32u * 1024 * 1024)
#define MOST_FINISHED 1024
#define MOST_FINISHED_BYTES (4u * 1024 * 1024)
#define AGAIN_MS 5000 /* answers sent this long before the link was last heard are sent again when it is lost */

struct request {
	struct list in;    /* requests.open or .finished */
	struct list waits; /* requests.waiting */
	struct agent *agent;
	struct session *origin; /* the link it came on last; NULL: gone */
	bool is_muster;
	bool is_for_host; /* has commands of the host program, so a second copy must not run */
	bool is_given;    /* `command` is with the host program */
	bool is_advancing;
	bool is_orphan;  /* nobody wants the answer any more */
	bool is_stopped; /* a command failed and the others are not to run */
	struct header header;
	uint64_t hash; /* of the body */
	size_t size;   /* of the body as received */
	struct batch commands;
	struct batch answers;
	size_t next;
	struct agent_command command;
	/* once finished */
	struct buf body;
	struct mono finished_at;
	bool is_sent;
	const struct session *sent_on; /* compared only; NULL once that has ended */
	struct mono sent_at;
};

/* ---- life ---- */

static void request_free(struct request *r)
{
	list_remove(&r->in);
	list_remove(&r->waits);
	batch_deinit(&r->commands);
	batch_deinit(&r->answers);
	buf_deinit(&r->body);
	mem_free(r);
}

static void open_remove(struct request *r)
{
	list_remove(&r->in);
	r->agent->requests.n_open--;
	r->agent->requests.open_bytes -= r->size;
}

static void open_free(struct request *r)
{
	open_remove(r);
	request_free(r);
}

static void finished_free(struct request *r)
{
	assert(r); /* a list that counts more than it holds would be our own mistake */
	r->agent->requests.n_finished--;
	r->agent->requests.finished_bytes -= r->body.len;
	request_free(r);
}

static void requests_run(struct later *l);
static void requests_forget(struct timer *t);

void requests_init(struct agent *a)
{
	struct requests *q = &a->requests;

	list_init(&q->open);
	list_init(&q->waiting);
	list_init(&q->finished);
	list_init(&q->crons);
	list_init(&q->run.queued);
	q->run.call = requests_run;
	timer_init(&q->forget_timer, requests_forget);
}

void requests_deinit(struct agent *a)
{
	struct requests *q = &a->requests;

	world_later_cancel(&q->run);
	timer_stop(a->world, &q->forget_timer);
	list_for (r, &q->open, struct request, in)
		open_free(r);
	list_for (r, &q->finished, struct request, in)
		finished_free(r);
	crons_deinit(a);
}

/* ---- answers on their way ---- */

/* Which link carries it; NULL: none now. */
static struct session *request_route(const struct request *r)
{
	struct session *current = r->agent->current;

	if (r->origin)
		return r->origin;
	if (r->is_muster && current && current->is_muster && current->state == SESSION_READY)
		return current;
	return NULL;
}

static void request_send(struct request *r)
{
	struct session *s = request_route(r);
	struct header h = header_answer(&r->header);

	if (!s || link_send(s->link, &h, (const char *)r->body.data, r->body.len) != ERR_OK)
		return;
	r->is_sent = true;
	r->sent_on = s;
	r->sent_at = world_now(r->agent->world);
}

static void finished_trim(struct requests *q)
{
	while (q->n_finished > MOST_FINISHED || q->finished_bytes > MOST_FINISHED_BYTES)
		finished_free(list_first(&q->finished, struct request, in));
}

static void forget_plan(struct agent *a)
{
	struct request *oldest = list_first(&a->requests.finished, struct request, in);

	if (oldest && !timer_is_set(&a->requests.forget_timer))
		timer_set(a->world, &a->requests.forget_timer, mono_add_ms(oldest->finished_at, a->p.answer_hold_ms));
}

static void requests_forget(struct timer *t)
{
	struct agent *a = container_of(t, struct agent, requests.forget_timer);
	struct mono now = world_now(a->world);

	list_for (r, &a->requests.finished, struct request, in) {
		if (!mono_reached(now, mono_add_ms(r->finished_at, a->p.answer_hold_ms)))
			break;
		if (!r->is_sent)
			log_warn(a->log, "an answer found no link in time and is dropped", KV_I("seq", r->header.seq));
		finished_free(r);
	}
	forget_plan(a);
}

static void request_finish(struct request *r)
{
	struct agent *a = r->agent;
	struct requests *q = &a->requests;
	enum err e = r->is_orphan || agent_is_stopped(a) ? ERR_CLOSED : batch_encode(&r->answers, &r->body);

	open_remove(r);
	if (e) {
		if (e != ERR_CLOSED)
			log_warn(a->log, "an answer can't be made", KV_I("seq", r->header.seq),
				 KV_S("error", err_name(e)));
		request_free(r);
		return;
	}
	request_send(r);
	if (!r->is_muster) {
		request_free(r);
		return;
	}
	batch_deinit(&r->commands);
	batch_deinit(&r->answers);
	r->finished_at = world_now(a->world);
	list_append(&q->finished, &r->in);
	q->n_finished++;
	q->finished_bytes += r->body.len;
	finished_trim(q);
	forget_plan(a);
}

/* At the end of the turn: the server hears first that we are ready. */
void requests_flush(struct agent *a)
{
	a->requests.is_flush_due = true;
	world_later(a->world, &a->requests.run);
}

static void send_unsent(struct agent *a)
{
	a->requests.is_flush_due = false;
	list_for (r, &a->requests.finished, struct request, in) {
		if (!r->is_sent)
			request_send(r);
	}
}

static void open_lose_session(struct request *r, const struct session *s)
{
	if (r->origin != s)
		return;
	r->origin = NULL;
	if (r->is_muster)
		return;
	if (r->is_given || r->is_advancing)
		r->is_orphan = true;
	else
		open_free(r);
}

void requests_session_ended(struct session *s, struct mono heard)
{
	struct agent *a = s->agent;

	list_for (r, &a->requests.open, struct request, in)
		open_lose_session(r, s);
	list_for (r, &a->requests.finished, struct request, in) {
		if (r->origin == s)
			r->origin = NULL;
		if (r->sent_on != s)
			continue;
		r->sent_on = NULL;
		if (!mono_is_never(heard) && !mono_before(mono_add_ms(r->sent_at, AGAIN_MS), heard))
			r->is_sent = false;
	}
	requests_flush(a);
}

/* ---- working through a batch ---- */

static bool answer_is_failure(const struct batch *answers)
{
	return answers->n && !element_result(&answers->elements[answers->n - 1]);
}

/* After each answer: does the rest still run? */
static void request_answered(struct request *r)
{
	r->next++;
	if (r->header.flags & FLAG_STOP_ON_ERROR && answer_is_failure(&r->answers))
		r->is_stopped = true;
}

/* A repeated command is answered at once; its results follow. */
static enum err request_start_cron(struct request *r)
{
	enum err e = answer_put(&r->answers, MSG_ANSWER, true, NULL);

	if (!e && r->origin)
		e = cron_start(r->origin, &r->header, &r->commands.elements[r->next]);
	return e;
}

/* Queues the command for the host program. */
static enum own_outcome request_wait(struct request *r)
{
	list_append(&r->agent->requests.waiting, &r->waits);
	world_later(r->agent->world, &r->agent->requests.run);
	return OWN_NOT_OURS;
}

static enum own_outcome request_one(struct request *r)
{
	const struct element *e = &r->commands.elements[r->next];
	struct session *s = r->origin ? r->origin : r->agent->current;
	enum err result = ERR_OK;

	if (r->is_stopped)
		result = answer_put(&r->answers, MSG_ANSWER, false, "Stopped by previous failure");
	else if (msg_is_cron(e->type))
		result = request_start_cron(r);
	else if (!own_command_is(e))
		return request_wait(r);
	else if (s)
		return own_command(s, e, &r->answers);
	else
		result = answer_put(&r->answers, MSG_ANSWER, false, "the link was lost before this was done");
	return result ? OWN_SILENT : OWN_ANSWERED;
}

/* As far as it goes without the host program. The request may be gone afterwards. */
static void request_advance(struct request *r)
{
	enum own_outcome outcome = OWN_ANSWERED;

	r->is_advancing = true;
	while (r->next < r->commands.n && !r->is_orphan && outcome == OWN_ANSWERED) {
		outcome = request_one(r);
		if (outcome == OWN_ANSWERED)
			request_answered(r);
	}
	r->is_advancing = false;
	if (outcome == OWN_SILENT)
		open_free(r);
	else if (outcome == OWN_ANSWERED)
		request_finish(r);
}

bool requests_give(struct agent *a, struct agent_command *c)
{
	bool is_gone = false;

	a->requests.n_running++;
	/* cppcheck-suppress autoVariables ; taken back below, or the agent is gone */
	a->is_gone = &is_gone;
	a->p.host->command(a->p.host_user, c);
	if (is_gone)
		return false;
	a->is_gone = NULL;
	return true;
}

static bool request_give(struct request *r)
{
	list_remove(&r->waits);
	r->is_given = true;
	r->command = (struct agent_command){
		.element = &r->commands.elements[r->next],
		.seq = r->header.seq,
		.mgmt_id = r->header.mgmt_id,
		.agent = r->agent,
		.request = r,
		.index = r->next,
	};
	return requests_give(r->agent, &r->command);
}

static void requests_run(struct later *l)
{
	struct agent *a = container_of(l, struct agent, requests.run);
	struct requests *q = &a->requests;
	struct request *r;

	if (q->is_flush_due)
		send_unsent(a);
	while (q->n_running < a->p.commands_max && (r = list_first(&q->waiting, struct request, waits))) {
		if (agent_is_stopped(a) || a->gone)
			open_free(r);
		else if (!request_give(r))
			return;
	}
	crons_run_due(a);
}

/* ---- received ---- */

static uint64_t body_hash(const char *body, size_t n)
{
	uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ (unsigned char)body[i]) * 0x100000001b3u;
	return hash;
}

static bool is_copy_of(const struct request *r, const struct header *h, uint64_t hash)
{
	return r->is_for_host && r->header.seq == h->seq && r->header.mgmt_id == h->mgmt_id && r->hash == hash;
}

/* A command that came before: worked on once, answered on the link that asked last. */
static bool requests_know(struct session *s, const struct header *h, uint64_t hash)
{
	struct requests *q = &s->agent->requests;

	list_for (r, &q->open, struct request, in) {
		if (is_copy_of(r, h, hash)) {
			r->origin = s;
			return true;
		}
	}
	list_for (r, &q->finished, struct request, in) {
		if (is_copy_of(r, h, hash)) {
			r->origin = s;
			request_send(r);
			return true;
		}
	}
	return false;
}

static bool has_command_for_host(const struct batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		if (!own_command_is(&b->elements[i]) && !msg_is_cron(b->elements[i].type))
			return true;
	}
	return false;
}

static void answer_now(struct session *s, const struct header *h, const struct batch *b)
{
	struct header answer = header_answer(h);
	enum err e = session_send(s, &answer, b);

	if (e)
		log_warn(s->agent->log, "answer not sent", KV_S("server", s->entry), KV_S("error", err_name(e)));
}

/* A body that is no batch at all is what the reference calls a bad command. */
static void answer_unreadable(struct session *s, const struct header *h)
{
	CLEAN(batch_deinit) struct batch b = {0};
	const struct element bad = {.type = MSG_BAD};

	if (own_command(s, &bad, &b) == OWN_ANSWERED)
		answer_now(s, h, &b);
}

static void answer_overload(struct session *s, const struct header *h, size_t n)
{
	CLEAN(batch_deinit) struct batch b = {0};

	for (size_t i = 0; i < n; i++) {
		if (answer_put(&b, MSG_ANSWER, false, "too many commands are in progress") != ERR_OK)
			return;
	}
	answer_now(s, h, &b);
}

/* The engine's own are answered at once and take no room. */
static bool requests_are_too_many(const struct agent *a, size_t n)
{
	const struct requests *q = &a->requests;

	return q->n_open >= a->p.commands_max * MOST_OPEN_TIMES || q->open_bytes + n > MOST_OPEN_BYTES;
}

static struct request *request_new(struct session *s, const struct header *h, struct batch *take_commands, size_t size)
{
	struct request *r = mem_zalloc(sizeof(*r));

	if (!r)
		return NULL;
	r->agent = s->agent;
	r->origin = s;
	r->is_muster = s->is_muster;
	r->header = *h;
	r->size = size;
	r->commands = *take_commands;
	*take_commands = (struct batch){0};
	list_init(&r->waits);
	list_append(&s->agent->requests.open, &r->in);
	s->agent->requests.n_open++;
	s->agent->requests.open_bytes += size;
	return r;
}

void requests_received(struct session *s, const struct header *h, const char *body, size_t n)
{
	CLEAN(batch_deinit) struct batch commands = {0};
	struct agent *a = s->agent;
	uint64_t hash = body_hash(body, n);
	struct why why = WHY_NONE;
	struct request *r;
	bool is_for_host;
	enum err e;

	if (s->is_muster && requests_know(s, h, hash)) {
		log_debug(a->log, "a command came again", KV_I("seq", h->seq));
		return;
	}
	e = batch_decode(&commands, body, n, &why);
	if (e) {
		log_warn(a->log, "a request can't be read", KV_S("server", s->entry), KV_I("seq", h->seq),
			 KV_S("reason", why_text(&why, e)));
		answer_unreadable(s, h);
		return;
	}
	is_for_host = has_command_for_host(&commands);
	if (is_for_host && requests_are_too_many(a, n)) {
		log_warn(a->log, "too many commands in progress", KV_S("server", s->entry));
		answer_overload(s, h, commands.n);
		return;
	}
	r = request_new(s, h, &commands, n);
	if (!r) {
		log_warn(a->log, "a request is dropped", KV_I("seq", h->seq), KV_S("error", err_name(ERR_NOMEM)));
		return;
	}
	r->hash = hash;
	r->is_for_host = is_for_host;
	request_advance(r);
}

/* ---- answered ---- */

/* One element moves over; what isn't one answer becomes a failure that says so. */
static enum err answer_move(struct batch *to, struct batch *from)
{
	struct element *elements;

	if (from->n != 1)
		return answer_put(to, MSG_ANSWER, false, "no answer was made");
	elements = mem_grow_array(to->elements, to->n + 1, sizeof(*elements));
	if (!elements)
		return ERR_NOMEM;
	to->elements = elements;
	to->elements[to->n++] = from->elements[0];
	from->elements[0] = (struct element){0};
	return ERR_OK;
}

void agent_answer(struct agent_command *c, struct batch *take_b)
{
	struct agent *a = c->agent;
	struct request *r = c->request;
	enum err e;

	if (c->index == CRON_INDEX) {
		cron_answered(c, take_b);
		return;
	}
	assert(r->is_given);

	r->is_given = false;
	a->requests.n_running--;
	e = answer_move(&r->answers, take_b);
	batch_deinit(take_b);
	if (e) {
		log_warn(a->log, "an answer is dropped", KV_I("seq", r->header.seq), KV_S("error", err_name(e)));
		open_free(r);
	} else {
		request_answered(r);
		request_advance(r);
	}
	if (!list_is_empty(&a->requests.waiting))
		world_later(a->world, &a->requests.run);
}

void agent_answer_plain(struct agent_command *c, bool result, const char *details)
{
	struct batch b = {0};

	/* An empty batch becomes a failure, and if there is no memory for that either the server asks again. */
	if (answer_put(&b, MSG_ANSWER, result, details) != ERR_OK)
		batch_deinit(&b);
	agent_answer(c, &b);
}

void agent_answer_unsupported(struct agent_command *c)
{
	struct batch b = {0};

	if (unsupported_put(&b, c->element) != ERR_OK)
		batch_deinit(&b);
	agent_answer(c, &b);
}
