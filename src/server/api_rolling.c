/*
 * beginRollingRestart, takeRollingRestart, stepRollingRestart and endRollingRestart (docs/placement.md, "Rolling
 * restart"): one transaction each, in which it is judged what may be done, so that two who carry one out can't both be
 * the one. The rest (draining, restarting, waiting) is done by whoever asks, with the commands that there are.
 */
#include "server/api.h"

#include <stdio.h>
#include <string.h>

#define DRIVER_MAX 64
#define ORDER_MAX (SERVER_LIST_MAX * UUID_TEXT)

struct rolling_call {
	/* in; the functions in the transaction touch nothing of the server */
	json_t *fresh;   /* of begin: the row's value */
	char *host;      /* the list's servers now, "a,b,c" */
	char *algorithm; /* in force */
	char *account;
	char *freeze; /* the value of a freeze of our own, should one be needed */
	int64_t now_ms;
	/* out */
	json_t *row; /* as it stood, or stands now */
	size_t moves;
	bool refroze;
};

static void rolling_free(void *state)
{
	struct rolling_call *r = state;

	json_decref(r->fresh);
	json_decref(r->row);
	mem_free(r->host);
	mem_free(r->algorithm);
	mem_free(r->account);
	mem_free(r->freeze);
	mem_free(r);
}

/* ---- the row ---- */

static const char *text_of(const json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));

	return text ? text : "";
}

static int64_t number_of(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

static size_t n_steps(const json_t *rolling)
{
	return json_array_size(json_object_get(rolling, "servers"));
}

/* Turns count from 1. NULL: none of them. */
static json_t *turn(const json_t *rolling, int64_t step)
{
	return step >= 1 ? json_array_get(json_object_get(rolling, "servers"), (size_t)step - 1) : NULL;
}

/* What is decided from: everything in one transaction. */
struct facts {
	struct config_row *config;
	size_t n_config;
	struct server_row *servers;
	size_t n_servers;
	const char *freeze; /* value of the row; NULL: not frozen */
	bool has_row;
};

static void facts_deinit(struct facts *f)
{
	for (size_t i = 0; i < f->n_config; i++)
		config_row_deinit(&f->config[i]);
	mem_free(f->config);
	for (size_t i = 0; i < f->n_servers; i++)
		server_row_deinit(&f->servers[i]);
	mem_free(f->servers);
	*f = (struct facts){0};
}

static enum err facts_read(struct facts *f, struct rolling_call *r, struct store_tx *tx)
{
	const struct config_row *row;
	enum err e = store_config_list(tx, &f->config, &f->n_config);

	if (!e)
		e = store_server_list(tx, &f->servers, &f->n_servers);
	if (e)
		return e;
	row = freeze_row(f->config, f->n_config);
	f->freeze = row ? (row->value ? row->value : "") : NULL;
	row = rolling_row(f->config, f->n_config);
	f->has_row = row != NULL;
	json_decref(r->row);
	r->row = row ? rolling_read(row->value) : NULL;
	return ERR_OK;
}

static const struct server_row *fact_server(const struct facts *f, const json_t *one)
{
	for (size_t i = 0; i < f->n_servers; i++)
		if (f->servers[i].msid == number_of(one, "msid"))
			return &f->servers[i];
	return NULL;
}

static enum err write_row(struct store_tx *tx, const json_t *rolling)
{
	char *value = rolling ? json_dumps(rolling, JSON_COMPACT) : NULL;
	bool changed;
	enum err e =
		rolling && !value ? ERR_NOMEM : store_config_set(tx, ROLLING_ROW, CONFIG_GLOBAL, 0, value, &changed);

	mem_free(value);
	return e;
}

static enum err write_freeze(struct store_tx *tx, const char *value)
{
	bool changed;

	return store_config_set(tx, FREEZE_ROW, CONFIG_GLOBAL, 0, value, &changed);
}

/* ---- what is not as it was planned ---- */

static bool is_our_freeze(const json_t *rolling, const char *freeze)
{
	const char *ours = json_string_value(json_object_get(rolling, "freeze"));

	return ours && freeze && str_equal(ours, freeze);
}

/* Rolling restart 8. */
static enum err is_as_it_was(const json_t *rolling, const char *host, const char *algorithm, bool is_frozen,
			     struct why *why)
{
	if (!str_equal(text_of(rolling, "host"), host)) {
		why_set(why, "The list of servers was %.200s when it began, and now is %.200s",
			text_of(rolling, "host"), host);
		return ERR_STATE;
	}
	if (!str_equal(text_of(rolling, "algorithm"), algorithm)) {
		why_set(why, "The algorithm was %s when it began, and now is %s", text_of(rolling, "algorithm"),
			algorithm);
		return ERR_STATE;
	}
	if (rolling_hands_over(rolling) && !is_frozen) {
		why_set(why, "Somebody has thawed moves: agents may be on their way to other servers");
		return ERR_STATE;
	}
	if (!rolling_hands_over(rolling) && is_frozen) {
		why_set(why, "Somebody has frozen moves: agents can't return to the servers that have had their turn");
		return ERR_STATE;
	}
	return ERR_OK;
}

static enum err is_there(const struct rolling_call *r, const struct facts *f, struct why *why)
{
	if (r->row)
		return ERR_OK;
	why_set(why, f->has_row ? "The rolling restart that is stored can't be read; it can only be ended"
				: "No rolling restart is under way");
	return ERR_STATE;
}

static enum err is_driver(const struct rolling_call *r, const char *driver, struct why *why)
{
	if (str_equal(text_of(r->row, "driver"), driver))
		return ERR_OK;
	why_set(why, "Somebody else has taken the rolling restart over (%.100s)", text_of(r->row, "takenby"));
	return ERR_STATE;
}

static enum err is_up(const struct facts *f, const json_t *one, const char *what, struct why *why)
{
	const struct server_row *row = fact_server(f, one);

	if (row && row->state == SERVER_UP)
		return ERR_OK;
	why_set(why, "Management server %.60s is %s: %s", text_of(one, "name"),
		row ? server_state_name(row->state) : "not registered any more", what);
	return ERR_STATE;
}

/* Those that are not having their turn. */
static enum err others_are_up(const json_t *rolling, const struct facts *f, int64_t step, struct why *why)
{
	enum err e = ERR_OK;

	for (int64_t i = 1; i <= (int64_t)n_steps(rolling) && !e; i++)
		if (i != step)
			e = is_up(f, turn(rolling, i), "all but the one whose turn it is have to be Up", why);
	return e;
}

static enum err was_restarted(const json_t *rolling, const struct facts *f, int64_t step, struct why *why)
{
	const json_t *one = turn(rolling, step);
	const struct server_row *row = one ? fact_server(f, one) : NULL;

	if (!one || (row && row->run_id != number_of(one, "run")))
		return ERR_OK;
	why_set(why, "Management server %.60s has not been restarted yet", text_of(one, "name"));
	return ERR_STATE;
}

/* ---- begin ---- */

static enum err begin_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct rolling_call *r = c->state;
	CLEAN(facts_deinit) struct facts f = {0};
	bool hands_over = rolling_hands_over(r->fresh), freezes;
	size_t i;
	json_t *one;
	enum err e = facts_read(&f, r, tx);

	if (e)
		return e;
	if (f.has_row) {
		why_set(why, "A rolling restart is under way already, begun by %.100s: go on with it, or end it",
			r->row ? text_of(r->row, "by") : "?");
		return ERR_STATE;
	}
	e = others_are_up(r->fresh, &f, 0, why);
	if (!e && !hands_over && f.freeze) {
		why_set(why,
			"Moves are frozen: with %s the agents of each server have to return to it before the next "
			"one has its turn",
			r->algorithm);
		e = ERR_STATE;
	}
	if (e)
		return e;
	json_array_foreach (json_object_get(r->fresh, "servers"), i, one) {
		json_object_set_new(one, "run", json_integer(fact_server(&f, one)->run_id));
	}
	/* A freeze of somebody else's stays, and stays theirs. */
	freezes = hands_over && !f.freeze;
	json_object_del(r->fresh, "freeze");
	if (freezes) {
		json_object_set_new(r->fresh, "freeze", json_string(r->freeze));
		e = write_freeze(tx, r->freeze);
	}
	if (!e)
		e = write_row(tx, r->fresh);
	return e;
}

/* ---- take, step, end ---- */

static enum err take_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct rolling_call *r = c->state;
	CLEAN(facts_deinit) struct facts f = {0};
	enum err e = facts_read(&f, r, tx);

	r->refroze = false;
	if (!e)
		e = is_there(r, &f, why);
	if (e)
		return e;
	json_object_set_new(r->row, "driver", json_string(api_text(c, "driver")));
	json_object_set_new(r->row, "takenby", json_string(r->account));
	/* Whoever goes on wants what was thawed frozen again. */
	if (rolling_hands_over(r->row) && !f.freeze) {
		r->refroze = true;
		json_object_set_new(r->row, "freeze", json_string(r->freeze));
		e = write_freeze(tx, r->freeze);
	}
	return e ? e : write_row(tx, r->row);
}

static enum err may_step(const struct rolling_call *r, const struct facts *f, int64_t step, struct why *why)
{
	int64_t now = number_of(r->row, "step");
	enum err e;

	if (step != now + 1 || !turn(r->row, step)) {
		why_set(why, "It is at step %lld of %zu: step %lld can't be next", (long long)now, n_steps(r->row),
			(long long)step);
		return ERR_STATE;
	}
	e = is_as_it_was(r->row, r->host, r->algorithm, f->freeze != NULL, why);
	if (!e)
		e = was_restarted(r->row, f, now, why);
	return e ? e : others_are_up(r->row, f, 0, why);
}

static enum err step_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct rolling_call *r = c->state;
	CLEAN(facts_deinit) struct facts f = {0};
	int64_t step = api_number(c, "step", 0);
	json_t *one;
	enum err e = facts_read(&f, r, tx);

	r->moves = 0;
	if (!e)
		e = is_there(r, &f, why);
	if (!e)
		e = is_driver(r, api_text(c, "driver"), why);
	if (!e)
		e = may_step(r, &f, step, why);
	if (e)
		return e;
	one = turn(r->row, step);
	/* It may have been restarted by itself since it all began: that was not its turn. */
	json_object_set_new(one, "run", json_integer(fact_server(&f, one)->run_id));
	json_object_set_new(r->row, "step", json_integer(step));
	json_object_set_new(r->row, "stepped", json_integer(r->now_ms));
	if (rolling_hands_over(r->row))
		e = store_list_server_rest(tx, text_of(one, "entry"), &r->moves);
	return e ? e : write_row(tx, r->row);
}

/* The one whose turn it is takes agents again, as far as it was kept from that. */
static enum err undrain(struct store_tx *tx, const json_t *rolling, const struct facts *f)
{
	const json_t *one = turn(rolling, number_of(rolling, "step"));
	const struct server_row *row = one ? fact_server(f, one) : NULL;
	enum server_state to;

	if (!row || (row->state != SERVER_PREPARING_FOR_MAINTENANCE && row->state != SERVER_MAINTENANCE))
		return ERR_OK;
	return store_server_event(tx, row->msid, SERVER_EVENT_CANCEL_MAINTENANCE, &to);
}

static enum err may_end(const struct rolling_call *r, const struct facts *f, const char *driver, struct why *why)
{
	int64_t now = number_of(r->row, "step");
	enum err e = is_driver(r, driver, why);

	if (!e && now != (int64_t)n_steps(r->row)) {
		why_set(why, "It is at step %lld of %zu: it can only be aborted", (long long)now, n_steps(r->row));
		e = ERR_STATE;
	}
	if (!e)
		e = was_restarted(r->row, f, now, why);
	return e ? e : others_are_up(r->row, f, 0, why);
}

static enum err end_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct rolling_call *r = c->state;
	CLEAN(facts_deinit) struct facts f = {0};
	bool aborts = api_flag(c, "abort");
	const char *driver = api_text(c, "driver");
	enum err e = facts_read(&f, r, tx);

	r->moves = 0;
	if (!e && !(aborts && f.has_row))
		e = is_there(r, &f, why);
	if (!e && !aborts)
		e = may_end(r, &f, driver ? driver : "", why);
	if (!e && aborts)
		e = undrain(tx, r->row, &f);
	if (!e)
		e = store_list_server_rest(tx, NULL, &r->moves);
	if (!e && is_our_freeze(r->row, f.freeze))
		e = write_freeze(tx, NULL);
	return e ? e : write_row(tx, NULL);
}

/* ---- as the API shows it ---- */

static const char *turn_word(int64_t turn_of_it, int64_t step)
{
	return turn_of_it < step ? "done" : turn_of_it == step ? "now" : "waiting";
}

static json_t *turn_object(struct server *s, const json_t *one, int64_t at, int64_t step)
{
	const struct member_server *m = roster_server(s, number_of(one, "msid"));
	json_t *o = json_object();

	api_put_text(o, "name", text_of(one, "name"));
	api_put_text(o, "id", text_of(one, "uuid"));
	api_put_text(o, "entry", text_of(one, "entry"));
	api_put_text(o, "turn", turn_word(at, step));
	api_put_text(o, "state", m ? server_state_name(m->row.state) : NULL);
	api_put_flag(o, "restarted", at <= step && m && m->row.run_id != number_of(one, "run"));
	return o;
}

static void put_problem(json_t *o, struct server *s)
{
	CLEAN(mem_freep) char *host = str_list_join(lists_servers(s), ",");
	struct why why = WHY_NONE;

	if (host && is_as_it_was(s->rolling, host, algorithm_name(lists_algorithm(s)), freeze_is_on(s), &why))
		api_put_text(o, "problem", why.text);
}

json_t *api_rolling_object(struct server *s)
{
	json_t *o = json_object(), *servers;
	int64_t step = s->rolling ? number_of(s->rolling, "step") : 0, now = world_wall_ms(s->world);

	api_put_flag(o, "active", s->rolling != NULL);
	if (!s->rolling)
		return o;
	api_put_date(o, "begun", number_of(s->rolling, "begun"));
	api_put_number(o, "seconds", (now - number_of(s->rolling, "begun")) / 1000);
	api_put_text(o, "by", text_of(s->rolling, "by"));
	api_put_text(o, "driver", text_of(s->rolling, "driver"));
	api_put_text(o, "takenby", text_of(s->rolling, "takenby"));
	api_put_text(o, "algorithm", text_of(s->rolling, "algorithm"));
	api_put_flag(o, "handsover", rolling_hands_over(s->rolling));
	api_put_flag(o, "ownfreeze", json_object_get(s->rolling, "freeze") != NULL);
	api_put_number(o, "step", step);
	api_put_number(o, "steps", (int64_t)n_steps(s->rolling));
	put_problem(o, s);
	servers = json_array();
	for (int64_t i = 1; i <= (int64_t)n_steps(s->rolling); i++)
		json_array_append_new(servers, turn_object(s, turn(s->rolling, i), i, step));
	json_object_set_new(o, "servers", servers);
	return o;
}

static void answer(struct api_call *c, const char *name)
{
	const struct rolling_call *r = c->state;
	json_t *o = api_rolling_object(c->server);

	api_put_number(o, "moves", (int64_t)r->moves);
	api_put_flag(o, "frozenagain", r->refroze);
	api_answer_object(c, name, o);
}

/* As with maintenance: refused for what it is. */
static bool refused(struct api_call *c, enum err result, const char *sentence)
{
	if (result == ERR_STATE)
		api_fail(c, API_FAILED, CS_RUNTIME, "%s", sentence);
	else if (result)
		api_fail_err(c, result, sentence);
	return result != ERR_OK;
}

static void begun(struct api_call *c, enum err result, const char *sentence)
{
	const struct rolling_call *r = c->state;

	if (refused(c, result, sentence))
		return;
	event_add(c->server, "ROLLING.BEGIN", "WARN", 0, "%s begins a rolling restart of %zu management servers",
		  c->account, n_steps(r->fresh));
	answer(c, "beginrollingrestart");
}

static void taken(struct api_call *c, enum err result, const char *sentence)
{
	const struct rolling_call *r = c->state;

	if (refused(c, result, sentence))
		return;
	event_add(c->server, "ROLLING.TAKE", "INFO", 0, "%s goes on with the rolling restart at step %lld of %zu",
		  c->account, (long long)number_of(r->row, "step"), n_steps(r->row));
	answer(c, "takerollingrestart");
}

static void stepped(struct api_call *c, enum err result, const char *sentence)
{
	const struct rolling_call *r = c->state;

	if (refused(c, result, sentence))
		return;
	event_add(c->server, "ROLLING.STEP", "INFO", 0,
		  "rolling restart: step %lld of %zu, management server %s, %zu hosts prefer another one now",
		  (long long)number_of(r->row, "step"), n_steps(r->row),
		  text_of(turn(r->row, number_of(r->row, "step")), "name"), r->moves);
	answer(c, "steprollingrestart");
}

static void ended(struct api_call *c, enum err result, const char *sentence)
{
	const struct rolling_call *r = c->state;

	if (refused(c, result, sentence))
		return;
	if (api_flag(c, "abort"))
		event_add(c->server, "ROLLING.ABORT", "WARN", 0, "%s ends the rolling restart at step %lld of %zu",
			  c->account, (long long)number_of(r->row, "step"), n_steps(r->row));
	else
		event_add(c->server, "ROLLING.END", "INFO", 0, "all %zu management servers have been restarted",
			  n_steps(r->row));
	if (!freeze_is_on(c->server))
		api_rebalance_all(c->server);
	answer(c, "endrollingrestart");
}

/* ---- the questions ---- */

static struct rolling_call *call_new(struct api_call *c)
{
	struct rolling_call *r = mem_zalloc(sizeof(*r));
	struct server *s = c->server;

	c->state = r;
	c->state_free = rolling_free;
	if (r) {
		r->now_ms = world_wall_ms(s->world);
		r->host = str_list_join(lists_servers(s), ",");
		r->algorithm = mem_strdup(algorithm_name(lists_algorithm(s)));
		r->account = mem_strdup(c->account);
		r->freeze = freeze_value(r->now_ms, c->account, "rolling restart");
		if (r->host && r->algorithm && r->account && r->freeze)
			return r;
	}
	api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
	return NULL;
}

static const struct member_server *member_by_uuid(struct server *s, const char *uuid)
{
	list_for (m, &s->servers, struct member_server, in_servers)
		if (str_equal(m->row.uuid, uuid))
			return m;
	return NULL;
}

/* The one entry of the list that means this server; NULL with a sentence. */
static const char *entry_of(struct server *s, const struct member_server *m, struct why *why)
{
	const struct str_list *entries = lists_servers(s);
	const char *found = NULL;

	for (size_t i = 0; i < entries->n; i++) {
		if (!lists_entry_is(s, entries->items[i], &m->row))
			continue;
		if (found) {
			why_set(why, "The entries %.100s and %.100s both lead to management server %.60s", found,
				entries->items[i], m->row.name);
			return NULL;
		}
		found = entries->items[i];
	}
	if (!found)
		why_set(why, "No entry of the list leads to management server %.60s", m->row.name);
	return found;
}

static enum err add_turn(json_t *servers, struct server *s, const char *uuid, struct why *why)
{
	const struct member_server *m = member_by_uuid(s, uuid);
	const char *entry = m ? entry_of(s, m, why) : NULL;
	size_t i;
	json_t *other;

	if (!m)
		why_set(why, "There is no management server %.60s", uuid);
	if (!entry)
		return ERR_STATE;
	json_array_foreach (servers, i, other) {
		if (str_equal(text_of(other, "uuid"), uuid) || str_equal(text_of(other, "entry"), entry)) {
			why_set(why, "Management server %.60s or its entry %.100s is there twice", m->row.name, entry);
			return ERR_STATE;
		}
	}
	return json_array_append_new(servers, json_pack("{s:s,s:s,s:s,s:I,s:I}", "entry", entry, "name", m->row.name,
							"uuid", m->row.uuid, "msid", (json_int_t)m->row.msid, "run",
							(json_int_t)m->row.run_id))
		       ? ERR_NOMEM
		       : ERR_OK;
}

static enum err turns_read(json_t *servers, struct api_call *c, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list order = {0};
	const struct str_list *entries = lists_servers(c->server);
	enum err e = str_list_split(&order, api_text(c, "servers"), ',');

	for (size_t i = 0; i < order.n && !e; i++)
		e = add_turn(servers, c->server, order.items[i], why);
	if (!e && (order.n != entries->n || order.n < 2)) {
		why_set(why,
			order.n < 2 ? "There is no other server to take the agents"
				    : "The list has %zu servers and the order has %zu: each has to have its turn",
			entries->n, order.n);
		e = ERR_STATE;
	}
	return e;
}

static void begin_rolling_restart(struct api_call *c)
{
	struct rolling_call *r = call_new(c);
	json_t *servers = json_array();
	struct why why = WHY_NONE;
	enum err e;

	if (!r) {
		json_decref(servers);
		return;
	}
	e = turns_read(servers, c, &why);
	r->fresh = json_pack("{s:I,s:s,s:s,s:s,s:s,s:s,s:i,s:o}", "begun", (json_int_t)r->now_ms, "by", c->account,
			     "driver", api_text(c, "driver"), "takenby", c->account, "host", r->host, "algorithm",
			     r->algorithm, "step", 0, "servers", servers);
	if (!e && !r->fresh)
		e = ERR_NOMEM;
	if (!refused(c, e, why_text(&why, e)))
		api_write(c, begin_run, begun);
}

static void take_rolling_restart(struct api_call *c)
{
	if (call_new(c))
		api_write(c, take_run, taken);
}

static void step_rolling_restart(struct api_call *c)
{
	if (call_new(c))
		api_write(c, step_run, stepped);
}

static void end_rolling_restart(struct api_call *c)
{
	if (call_new(c))
		api_write(c, end_run, ended);
}

/* ---- the tables ---- */

/* clang-format off */
#define DRIVER_PARAM(required_) \
	{"driver", API_STRING, required_, "Who carries it out: a text of its own making; it is taken over by a take with another one", ENTITY_NONE, DRIVER_MAX, false}
static const struct api_param_spec begin_params[] = {
	DRIVER_PARAM(true),
	{"servers", API_STRING, true, "UUIDs of the servers of the list in the order of their turns, comma separated", ENTITY_NONE, ORDER_MAX, false},
};
static const struct api_param_spec take_params[] = {
	DRIVER_PARAM(true),
};
static const struct api_param_spec step_params[] = {
	DRIVER_PARAM(true),
	{"step", API_INTEGER, true, "Whose turn it is now, from 1: one more than before", ENTITY_NONE, 0, false},
};
static const struct api_param_spec end_params[] = {
	DRIVER_PARAM(false),
	{"abort", API_BOOLEAN, false, "Wherever it is, and whoever carries it out", ENTITY_NONE, 0, false},
};
static const struct api_field fields[] = {
	{"active", "boolean", "A rolling restart is under way"},
	{"begun", "date", "Since when"},
	{"seconds", "integer", "For how long"},
	{"by", "string", "The account that began it"},
	{"driver", "string", "Who carries it out now"},
	{"takenby", "string", "The account of who does"},
	{"algorithm", "string", "The algorithm when it began"},
	{"handsover", "boolean", "Each server's hosts go to the one that was restarted before it (balanced)"},
	{"ownfreeze", "boolean", "It has frozen moves itself, and thaws them at its end"},
	{"step", "integer", "Whose turn it is, from 1; 0: nobody's yet"},
	{"steps", "integer", "How many servers have a turn"},
	{"problem", "string", "What is not as it was planned; absent: nothing"},
	{"servers", "list", "In the order of turns: name, id, entry, turn (done, now, waiting), state, restarted (since its turn began)"},
	{"moves", "integer", "Hosts that prefer another server since this answer"},
	{"frozenagain", "boolean", "Moves had been thawed and are frozen again"},
};
static const struct api_route routes[] = {
	{.name = "beginRollingRestart", .handle = begin_rolling_restart, .right = RIGHT_ADMIN,
	 .description = "Begins a rolling restart: freezes moves, and remembers the order", ROUTE_PARAMS(begin_params), ROUTE_FIELDS(fields)},
	{.name = "takeRollingRestart", .handle = take_rolling_restart, .right = RIGHT_ADMIN,
	 .description = "Takes a rolling restart over from whoever carried it out", ROUTE_PARAMS(take_params), ROUTE_FIELDS(fields)},
	{.name = "stepRollingRestart", .handle = step_rolling_restart, .right = RIGHT_ADMIN,
	 .description = "The next server rests: its hosts prefer the one that rested before", ROUTE_PARAMS(step_params), ROUTE_FIELDS(fields)},
	{.name = "endRollingRestart", .handle = end_rolling_restart, .right = RIGHT_ADMIN,
	 .description = "Ends a rolling restart: nobody rests, moves are thawed, agents go home", ROUTE_PARAMS(end_params), ROUTE_FIELDS(fields)},
};
/* clang-format on */
const struct api_routes api_rolling_routes = {routes, ARRAY_SIZE(routes)};
