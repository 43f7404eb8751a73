/*
 * Requests of attached agents (agent-protocol 4.2.4): pings, goodbyes, control; anything else is answered with
 * success, as the reference does.
 */
#include "server/internal.h"

static enum err put_echo(struct msg_ping_answer *a, const struct element *ping)
{
	/* The reference's agent looks into the echo on every answer; without it it throws. */
	a->_command = element_to_json(ping);
	a->reconcileCommands = json_array();
	if (!a->_command || !a->reconcileCommands)
		return ERR_NOMEM;
	if (!json_object_get(a->_command, "commandInfos"))
		json_object_set_new(a->_command, "commandInfos", json_array());
	return ERR_OK;
}

static void handle_ping(struct session *x, const struct header *h, const struct element *ping)
{
	struct server *s = x->server;
	struct batch b = {0};
	struct str_list avoid = {0};
	struct msg_ping_answer *a = batch_add(&b, MSG_PING_ANSWER);
	enum err e = a ? put_echo(a, ping) : ERR_NOMEM;

	x->last_ping = world_now(s->world);
	if (x->state == SESSION_READY && x->host) {
		x->host->row.last_ping_ms = world_wall_ms(s->world);
		watch_pinged(s, x->host);
	}
	if (!e && x->host) {
		e = lists_avoid(s, &x->host->row, &avoid);
		x->avoid_told = s->avoid_version;
	}
	if (!e)
		e = msg_set_texts(&a->avoidMsList, &avoid);
	if (!e)
		msg_set_bool(&a->sendStartup, false);
	str_list_deinit(&avoid);
	if (e)
		batch_deinit(&b);
	else
		e = session_answer(x, h, &b);
	if (e)
		log_warn(s->log, "a ping could not be answered", KV_I("host", x->host_id), KV_S("error", err_text(e)));
}

static void handle_shutdown(struct session *x, const struct msg_shutdown *m)
{
	log_info(x->server->log, "agent says goodbye", KV_I("host", x->host_id),
		 KV_S("reason", m->reason ? m->reason : ""), KV_S("detail", m->detail ? m->detail : ""));
	/* No answer; no investigation (agent-protocol 4.2.4). Other reasons than these are ignored. */
	if (str_equal(m->reason, "sig.kill") || str_equal(m->reason, "update"))
		session_end(x, ERR_CLOSED, "agent stopped", EVENT_SHUTDOWN_REQUESTED);
}

/*
 * A startup again on the same link. A CloudStack agent's is only answered: the link is attached already. A muster agent
 * says with it that it has come back to this link after trying another server, which may own it by now.
 */
static void handle_startup_again(struct session *x, const struct header *h, struct batch *b_in)
{
	struct batch b = {0};
	struct msg_startup_answer *a = batch_add(&b, MSG_STARTUP_ANSWER);

	if (startup_again(x, h, b_in)) {
		batch_deinit(&b);
		return;
	}
	if (!a || msg_set_text(&a->hostName, x->host ? x->host->row.name : "") ||
	    msg_set_text(&a->hostUuid, x->host ? x->host->row.uuid : "")) {
		batch_deinit(&b);
		return;
	}
	msg_set_i64(&a->hostId, x->host_id);
	x->ping_interval_s = config_number(x->server, "ping.interval", 0);
	msg_set_i64(&a->pingInterval, x->ping_interval_s);
	if (session_answer(x, h, &b))
		log_debug(x->server->log, "a repeated startup could not be answered", KV_I("host", x->host_id));
}

static enum msg_type answer_for(const struct element *e)
{
	switch (e->type) {
	case MSG_AGENT_CONTROL:
	case MSG_CONSOLE_ACCESS:
	case MSG_CONSOLE_LOAD:
		return MSG_AGENT_CONTROL_ANSWER;
	default:
		return MSG_ANSWER;
	}
}

/* An agent that gives one is broken or hostile; nothing is done, and it is told so. */
static bool only_servers_give(enum msg_type type)
{
	switch (type) {
	case MSG_SETUP_KEYSTORE:
	case MSG_SETUP_CERTIFICATE:
	case MSG_READY:
	case MSG_SETUP_MS_LIST:
	case MSG_MIGRATE:
	case MSG_JOIN:
	case MSG_PEER_HELLO:
	case MSG_PEER_STATUS:
	case MSG_CHANGE_HINT:
	case MSG_CHANGE_AGENT:
		return true;
	default:
		return false;
	}
}

static void refuse_command(struct session *x, const struct header *h, const struct element *e)
{
	struct batch b = {0};
	struct msg_answer *a = batch_add(&b, MSG_ANSWER);

	refusal_count(x->server, REFUSAL_SERVERS_COMMAND);
	log_at(x->server->log, pace_passes(x->server, &x->server->servers_command_said) ? LOG_WARN : LOG_DEBUG,
	       "an agent gives a command that only servers give", KV_I("host", x->host_id),
	       KV_S("class", e->class_name ? e->class_name : "?"));
	if (!a || msg_set_text(&a->details, "only servers give this command")) {
		batch_deinit(&b);
		return;
	}
	msg_set_bool(&a->result, false);
	if (session_answer(x, h, &b))
		log_debug(x->server->log, "a command could not be answered", KV_I("host", x->host_id));
}

static void handle_others(struct session *x, const struct header *h, const struct batch *b)
{
	struct batch answers = {0};

	for (size_t i = 0; i < b->n; i++) {
		if (b->elements[i].type == MSG_BAD || b->elements[i].type == MSG_UNKNOWN)
			log_debug(x->server->log, "a command without a handler", KV_I("host", x->host_id),
				  KV_S("class", b->elements[i].class_name ? b->elements[i].class_name : "?"));
		if (!batch_add(&answers, answer_for(&b->elements[i]))) {
			batch_deinit(&answers);
			return;
		}
	}
	if (answers.n && session_answer(x, h, &answers))
		log_debug(x->server->log, "a command could not be answered", KV_I("host", x->host_id));
	batch_deinit(&answers);
}

void handle_request(struct session *x, const struct header *h, struct batch *b)
{
	const struct element *first = b->n ? &b->elements[0] : NULL;

	if (!first)
		return;
	if (msg_is_ping(first->type))
		handle_ping(x, h, first);
	else if (first->type == MSG_SHUTDOWN)
		handle_shutdown(x, first->fields);
	else if (element_startup(first))
		handle_startup_again(x, h, b);
	else if (only_servers_give(first->type))
		refuse_command(x, h, first);
	else
		handle_others(x, h, b);
}
