/*
 * Commands that are repeated (agent-protocol 3.8, CronCommand): answered once when they come, then run every interval,
 * each result a further response with the same sequence. They end with their link, or when it is replaced.
 */
#include <assert.h>

#include "base/mem.h"
#include "client/engine.h"

#define MOST_CRONS 16 /* a session */
#define INTERVAL_MOST_S 86400

struct cron {
	struct list in; /* session.crons; requests.crons when that has ended and a run is not answered yet */
	struct agent *agent;
	struct session *session; /* NULL: has ended */
	struct header header;
	struct batch command; /* of one element */
	int64_t interval_ms;
	struct timer timer;
	bool is_due;
	bool is_running;
	struct agent_command handle;
};

static void cron_free(struct cron *c)
{
	timer_stop(c->agent->world, &c->timer);
	list_remove(&c->in);
	batch_deinit(&c->command);
	mem_free(c);
}

/* The host program may still hold its command: then only the answer ends it. */
static void cron_stop(struct cron *c)
{
	if (!c->is_running) {
		cron_free(c);
		return;
	}
	timer_stop(c->agent->world, &c->timer);
	c->session = NULL;
	list_remove(&c->in);
	list_append(&c->agent->requests.crons, &c->in);
}

void crons_stop(struct session *s)
{
	list_for (c, &s->crons, struct cron, in)
		cron_stop(c);
}

void crons_deinit(struct agent *a)
{
	list_for (c, &a->requests.crons, struct cron, in)
		cron_free(c);
}

static void cron_fired(struct timer *t)
{
	struct cron *c = container_of(t, struct cron, timer);

	timer_set_in(c->agent->world, t, c->interval_ms);
	/* One that takes longer than its interval is not run beside itself. */
	if (c->is_running)
		return;
	c->is_due = true;
	world_later(c->agent->world, &c->agent->requests.run);
}

/* The newest of a kind holds. */
static size_t crons_make_room(struct session *s, enum msg_type type)
{
	size_t n = 0;

	list_for (c, &s->crons, struct cron, in) {
		if (c->command.elements[0].type == type)
			cron_stop(c);
		else
			n++;
	}
	return n;
}

static int64_t interval_of(const struct element *e)
{
	const struct msg_cleanup_rules *m = e->type == MSG_CLEANUP_RULES ? e->fields : NULL;

	if (!m || !m->interval.has || m->interval.value <= 0)
		return 0;
	return m->interval.value < INTERVAL_MOST_S ? m->interval.value : INTERVAL_MOST_S;
}

enum err cron_start(struct session *s, const struct header *h, struct element *take_element)
{
	struct agent *a = s->agent;
	int64_t interval_s = interval_of(take_element);
	struct cron *c;

	/* A replaced link's are not wanted any more, and one without interval would never run. */
	if (!interval_s || s->state == SESSION_RETIRING || crons_make_room(s, take_element->type) >= MOST_CRONS)
		return ERR_OK;
	c = mem_zalloc(sizeof(*c));
	if (!c || !(c->command.elements = mem_zalloc(sizeof(*c->command.elements)))) {
		mem_free(c);
		return ERR_NOMEM;
	}
	c->command.elements[0] = *take_element;
	c->command.n = 1;
	*take_element = (struct element){0};
	c->agent = a;
	c->session = s;
	c->header = *h;
	c->interval_ms = interval_s * 1000;
	timer_init(&c->timer, cron_fired);
	timer_set_in(a->world, &c->timer, c->interval_ms);
	list_append(&s->crons, &c->in);
	return ERR_OK;
}

static bool cron_run(struct cron *c)
{
	c->is_due = false;
	c->is_running = true;
	c->handle = (struct agent_command){
		.element = &c->command.elements[0],
		.seq = c->header.seq,
		.agent = c->agent,
		.request = c,
		.index = CRON_INDEX,
	};
	return requests_give(c->agent, &c->handle);
}

static struct cron *cron_next_due(struct agent *a)
{
	list_for (s, &a->sessions, struct session, in) {
		list_for (c, &s->crons, struct cron, in) {
			if (c->is_due && !c->is_running)
				return c;
		}
	}
	return NULL;
}

void crons_run_due(struct agent *a)
{
	struct cron *c;

	while (a->requests.n_running < a->p.commands_max && (c = cron_next_due(a))) {
		if (!cron_run(c))
			return; /* the agent is gone */
	}
}

void cron_answered(struct agent_command *handle, struct batch *take_b)
{
	struct cron *c = handle->request;
	struct agent *a = c->agent;
	struct header h = header_answer(&c->header);

	assert(c->is_running);

	c->is_running = false;
	a->requests.n_running--;
	/* What can't be sent is lost with its link; the next link's server asks anew. */
	if (c->session && take_b->n == 1 && session_send(c->session, &h, take_b) != ERR_OK)
		log_debug(a->log, "a repeated answer is not sent", KV_I("seq", h.seq));
	batch_deinit(take_b);
	if (!c->session)
		cron_free(c);
	if (!list_is_empty(&a->requests.waiting))
		world_later(a->world, &a->requests.run);
}
