/*
 * The commands that the engine answers itself: those about the connection (agent-protocol 4.1.5), and those that
 * nobody can answer. Each has one function; all others are for the program that embeds the engine.
 */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "client/engine.h"

#define BAD_COMMAND "com.cloud.agent.api.BadCommand"

/* ---- answers ---- */

enum err answer_put(struct batch *b, enum msg_type type, bool result, const char *details)
{
	void *fields = batch_add(b, type);
	msg_bool *to_result = NULL;
	msg_text *to_details = NULL;

	if (!fields)
		return ERR_NOMEM;
	switch (type) {
#define ANSWER(ENUM, name)                                                                                             \
	case MSG_##ENUM:                                                                                               \
		to_result = &((struct msg_##name *)fields)->result;                                                    \
		to_details = &((struct msg_##name *)fields)->details;                                                  \
		break;
		ANSWER(ANSWER, answer)
		ANSWER(UNSUPPORTED_ANSWER, unsupported_answer)
		ANSWER(READY_ANSWER, ready_answer)
		ANSWER(SETUP_MS_LIST_ANSWER, setup_ms_list_answer)
		ANSWER(MIGRATE_ANSWER, migrate_answer)
		ANSWER(MAINTAIN_ANSWER, maintain_answer)
		ANSWER(AGENT_CONTROL_ANSWER, agent_control_answer)
#undef ANSWER
	default:
		assert(!"an answer of the engine");
		return ERR_INVALID;
	}
	msg_set_bool(to_result, result);
	return details ? msg_set_text(to_details, details) : ERR_OK;
}

enum err unsupported_put(struct batch *b, const struct element *e)
{
	bool is_nameless = e->type == MSG_BAD || str_is_blank(e->class_name);
	CLEAN(mem_freep)
	char *details = mem_printf("Unsupported command issued: %s.  Are you sure you got the right type of server?",
				   is_nameless ? BAD_COMMAND : e->class_name);

	return details ? answer_put(b, MSG_UNSUPPORTED_ANSWER, false, details) : ERR_NOMEM;
}

static enum err answer_put_outcome(struct batch *b, enum msg_type type, enum err e, const struct why *why)
{
	return answer_put(b, type, e == ERR_OK, e ? why_text(why, e) : NULL);
}

/* ---- one function a command; what comes back is only about making the answer ---- */

static enum err do_unsupported(struct session *s, const struct element *e, struct batch *answer)
{
	return unsupported_put(answer, e);
}

static void identity_take(struct agent *a, const struct msg_ready *m)
{
	struct why why = WHY_NONE;
	char *uuid;
	enum err e;

	if (!m->hostId.has || m->hostId.value <= 0)
		return;
	a->host_id = m->hostId.value;
	uuid = mem_strdup(m->hostUuid);
	if (uuid) {
		mem_free(a->host_uuid);
		a->host_uuid = uuid;
	}
	/* The server says it again at the next link: not being able to write it is no reason to refuse. */
	e = agent_file_save_identity(a->file, a->resource_name, a->host_id, m->hostUuid, m->hostName, &why);
	if (e)
		log_warn(a->log, "the host's identity is not stored", KV_S("reason", why_text(&why, e)));
}

static enum err do_ready(struct session *s, const struct element *e, struct batch *answer)
{
	const struct msg_ready *m = e->fields;
	const struct received_list r = {
		.list = &m->msHostList,
		.avoid = &m->avoidMsHostList,
		.algorithm = m->lbAlgorithm,
		.interval = &m->lbCheckInterval,
	};
	bool is_frozen = s->is_muster && m->musterFrozen.has && m->musterFrozen.value;
	struct why why = WHY_NONE;
	enum err result;
	bool is_first;

	/* What a server that we are leaving still says doesn't count any more. */
	if (s->state == SESSION_RETIRING)
		return answer_put(answer, MSG_READY_ANSWER, true, NULL);
	is_first = s->state != SESSION_READY;
	identity_take(s->agent, m);
	session_ready(s, &m->musterHeartbeatMs);
	if (is_first)
		s->is_frozen = is_frozen;
	else
		check_freeze(s, is_frozen);
	move_session_ready(s, is_first);
	result = list_received(s->agent, &r, &why);
	return answer_put_outcome(answer, MSG_READY_ANSWER, result, &why);
}

/*
 * What a server that we are leaving still says about lists doesn't count any more: it may have been on its way for
 * long, and the server that we are on has compared ours with the newest.
 */
static bool is_left(const struct session *s, struct why *why)
{
	if (s->state != SESSION_RETIRING)
		return false;
	why_set(why, "this agent is on another server");
	return true;
}

static enum err do_setup_ms_list(struct session *s, const struct element *e, struct batch *answer)
{
	const struct msg_setup_ms_list *m = e->fields;
	const struct received_list r = {
		.list = &m->msList,
		.avoid = &m->avoidMsList,
		.algorithm = m->lbAlgorithm,
		.interval = &m->lbCheckInterval,
		.trigger = m->triggerHostLb.has && m->triggerHostLb.value,
	};
	struct why why = WHY_NONE;
	enum err result = is_left(s, &why) ? ERR_STATE : list_received(s->agent, &r, &why);

	return answer_put_outcome(answer, MSG_SETUP_MS_LIST_ANSWER, result, &why);
}

static enum err do_migrate(struct session *s, const struct element *e, struct batch *answer)
{
	const struct msg_migrate *m = e->fields;
	bool has_list = m->msList.has && m->msList.list.n;
	const struct received_list r = {
		.list = &m->msList,
		.avoid = &m->avoidMsList,
		.algorithm = m->lbAlgorithm,
		.interval = has_list ? &m->lbCheckInterval : NULL, /* without a list it says nothing about it */
	};
	struct why why = WHY_NONE;
	/* A server that we have left already has what it asked for. */
	bool is_done = is_left(s, NULL);
	enum err result = is_done ? ERR_OK : list_received(s->agent, &r, &why);

	if (!result && !is_done)
		result = move_plan_migration(s, &why);
	return answer_put_outcome(answer, MSG_MIGRATE_ANSWER, result, &why);
}

static enum err do_maintain(struct session *s, const struct element *e, struct batch *answer)
{
	enum err result = answer_put(answer, MSG_MAINTAIN_ANSWER, true, NULL);

	if (!result)
		msg_set_bool(&((struct msg_maintain_answer *)answer->elements[answer->n - 1].fields)->willMigrate,
			     true);
	return result;
}

static enum err do_agent_control(struct session *s, const struct element *e, struct batch *answer)
{
	return answer_put(answer, MSG_AGENT_CONTROL_ANSWER, true, NULL);
}

/* The reference stays connected until the server closes, and so do we. */
static enum err do_shutdown(struct session *s, const struct element *e, struct batch *answer)
{
	static const struct agent_change place[] = {{"zone", ""}, {"cluster", ""}, {"pod", ""}};
	const struct msg_shutdown *m = e->fields;
	struct agent *a = s->agent;
	struct why why = WHY_NONE;
	enum err result = ERR_OK;

	if (m->removeHost.has && m->removeHost.value)
		result = agent_file_change(a->file, place, ARRAY_SIZE(place), &why);
	if (str_equal(m->reason, "deleteHost")) {
		log_info(a->log, "the host was deleted, no reconnects any more", KV_S("server", s->entry));
		session_stop_tasks(s);
		move_forbid(a);
	}
	return answer_put_outcome(answer, MSG_ANSWER, result, &why);
}

/* ---- the table ---- */

static const struct {
	enum msg_type type;
	enum err (*run)(struct session *s, const struct element *e, struct batch *answer);
} rows[] = {
	{MSG_READY, do_ready},         {MSG_SETUP_MS_LIST, do_setup_ms_list},
	{MSG_MIGRATE, do_migrate},     {MSG_MAINTAIN, do_maintain},
	{MSG_SHUTDOWN, do_shutdown},   {MSG_AGENT_CONTROL, do_agent_control},
	{MSG_UNKNOWN, do_unsupported}, {MSG_BAD, do_unsupported},
	{MSG_NEWS, do_unsupported},
};

static size_t row_of(const struct element *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].type == e->type)
			return i;
	}
	return ARRAY_SIZE(rows);
}

/* Answers, startups and pings are nothing that a server may ask of an agent. */
static bool is_no_command(const struct element *e)
{
	return msg_is_answer(e->type) || msg_is_startup(e->type) || msg_is_ping(e->type);
}

bool own_command_is(const struct element *e)
{
	return row_of(e) < ARRAY_SIZE(rows) || is_no_command(e);
}

enum own_outcome own_command(struct session *s, const struct element *e, struct batch *answer)
{
	const struct msg_ready *ready = e->type == MSG_READY ? e->fields : NULL;
	size_t i = row_of(e);
	enum err result;

	if (i == ARRAY_SIZE(rows) && !is_no_command(e))
		return OWN_NOT_OURS;
	/* One-way. To a server that isn't muster's it is a command that nobody knows. */
	if (e->type == MSG_NEWS && s->is_muster) {
		news_received(s, e->fields);
		return OWN_SILENT;
	}
	if (ready && ready->_details) {
		move_session_refused(s, ready->_details);
		return OWN_SILENT;
	}
	result = (i < ARRAY_SIZE(rows) ? rows[i].run : do_unsupported)(s, e, answer);
	/* The server asks again when it hears nothing. */
	return result ? OWN_SILENT : OWN_ANSWERED;
}
