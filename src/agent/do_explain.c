/*
 * Explain: why this agent is where it is, asked by a server for `muster explain`, or on the spot by `muster-agent
 * explain`. Both are told the same.
 */
#include "agent/daemon.h"

#include "agent/explain.h"
#include "base/mem.h"

#define LENGTH_MOST (256u * 1024) /* of what a server is told */

static struct explain_question question_of(const struct daemon *d, struct agent_view *view)
{
	struct explain_question q = {
		.name = d->settings.name,
		.guid = d->settings.guid,
		.version = MUSTER_VERSION,
		.view = view,
		.now = world_now(d->world),
		.port = (uint16_t)d->settings.port,
		.health = d->health ? health_result_name(health_last(d->health)) : NULL,
		.has_certificate = d->creds != NULL,
		.certificate = d->creds ? &d->cert : NULL,
		.wall_s = world_wall_ms(d->world) / 1000,
		.given_up = d->given_up[0] ? d->given_up : NULL,
	};

	agent_look(d->agent, view);
	q.n_candidates = agent_explain(d->agent, &q.candidates);
	return q;
}

enum err daemon_explain(const struct daemon *d, struct buf *out)
{
	struct agent_view view;
	struct explain_question q = question_of(d, &view);

	q.params = &d->params;
	return explain_json(out, &q);
}

void do_explain(struct daemon *d, struct agent_command *c)
{
	struct msg_explain_answer *m;
	struct agent_view view;
	struct explain_question q = question_of(d, &view);
	struct batch b = {0};
	json_t *explained;

	/* Nothing that a server of CloudStack knows. */
	if (!view.is_muster) {
		agent_answer_unsupported(c);
		return;
	}
	/* This command is not what anybody wants to know about, and what SetHostParams said the servers know best. */
	view.commands -= view.commands > 0;
	explained = explain_object(&q);
	if (explained && json_dumpb(explained, NULL, 0, JSON_COMPACT) > LENGTH_MOST) {
		json_decref(explained);
		agent_answer_plain(c, false, "what there is to tell is too long");
		return;
	}
	m = answer_add(&b, MSG_EXPLAIN_ANSWER, true, NULL);
	if (!m || !explained) {
		json_decref(explained);
		batch_deinit(&b);
		agent_answer_plain(c, false, err_text(ERR_NOMEM));
		return;
	}
	m->explained = explained;
	agent_answer(c, &b);
}
