/*
 * explainHost: why a host is where it is. The store is read for what may be newer there, then the agent itself is
 * asked, wherever it is connected, for no longer than a person waits; without its answer the servers' view stands
 * alone, and says why. The words are explain_words.c's.
 */
#include "server/api.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/explain.h"

#define ASK_MS 3000
#define LENGTH_MOST (256u * 1024) /* of what an agent says, as JSON */
#define AGENT_PORT 8250           /* of entries without one */
#define TEXT_MOST 512

struct explaining {
	struct host_row row;     /* as the store has it; id 0: it could not be read */
	json_t *said;            /* owned; NULL: the agent said nothing */
	char unasked[TEXT_MOST]; /* why not; "": it did */
	struct why frozen;       /* "": moves are not */
};

static void explaining_free(void *state)
{
	struct explaining *x = state;

	host_row_deinit(&x->row);
	json_decref(x->said);
	mem_free(x);
}

/* ---- what the agent said: a peer's words, of any shape ---- */

static const char *text_in(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

/* -1: not there, or null. */
static int64_t number_in(const json_t *o, const char *key)
{
	const json_t *n = json_object_get(o, key);

	return json_is_integer(n) && json_integer_value(n) >= 0 ? json_integer_value(n) : -1;
}

static bool flag_in(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

static struct explain_candidate candidate_in(const json_t *said, const char *entry)
{
	const json_t *all = json_object_get(said, "candidates");

	for (size_t i = 0; entry && i < json_array_size(all); i++) {
		const json_t *c = json_array_get(all, i);
		const char *server = text_in(c, "server");

		if (!server || (!str_equal(server, entry) && !server_entry_same(server, entry, AGENT_PORT)))
			continue;
		return (struct explain_candidate){
			.verdict = text_in(c, "verdict"),
			.why = text_in(c, "why"),
			.error = text_in(c, "last_error"),
			.said = text_in(c, "said"),
			.failures = number_in(c, "failures") > 0 ? number_in(c, "failures") : 0,
			.retry_s = number_in(c, "retry_in_s"),
			.put_off = flag_in(c, "put_off"),
			.gate = text_in(c, "gate"),
		};
	}
	return (struct explain_candidate){.retry_s = -1};
}

static struct explain_agent agent_in(const json_t *said, const char *preferred)
{
	const json_t *gate = json_object_get(said, "failback"), *better = json_object_get(said, "better");

	return (struct explain_agent){
		.answered = said != NULL,
		.verdict = text_in(gate, "verdict"),
		.why = text_in(gate, "why"),
		.known = explain_gate_from_text(text_in(gate, "verdict")),
		.again_s = number_in(gate, "again_in_s"),
		.uptime_s = number_in(gate, "uptime_s"),
		.uptime_needed_s = number_in(gate, "uptime_needed_s"),
		.heartbeats = number_in(gate, "heartbeats"),
		.heartbeats_needed = number_in(gate, "heartbeats_needed"),
		.next_s = number_in(said, "next_check_in_s"),
		.interval_s = number_in(said, "check_interval_s"),
		.interval_is_own = flag_in(said, "check_interval_is_own"),
		.is_moving = json_is_object(json_object_get(said, "move")),
		.goes_better = better != NULL,
		.better = explain_gate_from_text(text_in(better, "verdict")),
		.preferred = candidate_in(said, preferred),
	};
}

/* ---- what the servers know ---- */

static const struct member_server *server_of_entry(struct server *s, const struct host_row *row, const char *entry)
{
	/* Exactly this one, if there is one; several on one machine differ by port only. */
	list_for (m, &s->servers, struct member_server, in_servers)
		if (lists_entry_is(s, entry, &m->row))
			return m;
	list_for (m, &s->servers, struct member_server, in_servers)
		if (host_entry_is(s, row, entry, &m->row))
			return m;
	return NULL;
}

static struct explain_server server_facts(struct server *s, const struct member_server *m)
{
	bool is_own = m && m->row.msid == s->msid;
	struct mono since;

	if (!m)
		return (struct explain_server){.state = SERVER_DOWN, .uptime_s = -1};
	since = is_own ? s->running_since : m->up_since;
	return (struct explain_server){
		.name = m->row.name,
		.state = m->row.state,
		.accepting = is_own ? server_is_accepting(s) : m->word.accepting,
		.uptime_s =
			since.us && m->row.state == SERVER_UP ? mono_ms_between(since, world_now(s->world)) / 1000 : -1,
	};
}

static size_t count_agents(const struct server *s, int64_t msid)
{
	size_t cursor = 0, n = 0;
	const struct host *h;

	while ((h = roster_next(s, &cursor)))
		n += h->row.owner == msid;
	return n;
}

/* What the agent would dial next; NULL: it didn't say. */
static const char *chosen_in(const json_t *said)
{
	const json_t *all = json_object_get(said, "candidates");

	for (size_t i = 0; i < json_array_size(all); i++)
		if (str_equal(text_in(json_array_get(all, i), "verdict"), "chosen"))
			return text_in(json_array_get(all, i), "server");
	return NULL;
}

/* Where it would go if it had to leave: by its own word, or as the servers see them. NULL: nowhere. */
static const char *next_of(struct server *s, const struct host_row *row, const struct host_view *v,
			   const struct str_list *list, const json_t *said)
{
	const char *chosen = chosen_in(said);
	const struct member_server *m = chosen ? server_of_entry(s, row, chosen) : NULL;

	if (chosen)
		return m ? m->row.name : chosen;
	for (size_t i = 0; i < list->n; i++) {
		m = server_of_entry(s, row, list->items[i]);
		if (m && m != v->owner && m->row.state == SERVER_UP && server_facts(s, m).accepting)
			return m->row.name;
	}
	return NULL;
}

/* Who have been told when they may come home there. What another server said of it must be fresh. */
static int64_t waiting_at(struct server *s, const struct member_server *m)
{
	if (!m)
		return 0;
	if (m->row.msid == s->msid)
		return (int64_t)arrivals_waiting(s);
	return m->peer && peer_is_up(m->peer) ? m->status.arrivals : 0;
}

static struct explain_facts facts_of(struct server *s, const struct host_row *row, const struct host_view *v,
				     const struct str_list *list, const struct explaining *x)
{
	const json_t *said = x->said;
	const struct member_server *first = list->n ? server_of_entry(s, row, list->items[0]) : NULL;
	const char *preferred = !list->n ? NULL : first ? first->row.name : list->items[0];

	return (struct explain_facts){
		.host = row->name,
		.status = row->status,
		.is_up = v->is_up,
		.reconnecting = v->reconnecting,
		.suspect = v->suspect,
		.is_outdated = v->is_outdated,
		.owner = v->owner ? v->owner->row.name : NULL,
		.is_home = v->is_up && v->owner && v->preferred[0] && !v->is_off_preferred,
		.preferred = v->preferred[0] ? preferred : NULL,
		.first = server_facts(s, first),
		.better = v->better ? v->better->row.name : NULL,
		.next = next_of(s, row, v, list, said),
		.interval_s = v->interval < 0 ? 0 : v->interval,
		.looks_once = said ? flag_in(said, "looks_once") : lists_algorithm(s) == ALGORITHM_SHUFFLE,
		.frozen = freeze_is_on(s) ? x->frozen.text : NULL,
		.pace = config_number(s, "agent.failback.rate", 0),
		.n_waiting = waiting_at(s, first),
		.agent = agent_in(said, list->n ? list->items[0] : NULL),
	};
}

/* ---- why this list ---- */

static const char *entry_of(const struct server *s, int64_t id)
{
	const struct list_server_row *row = id ? placement_entry_by_id(s, id) : NULL;

	return row ? row->entry : NULL;
}

/* The entries that the placement remembers, and what each is for. */
static void say_placed(struct buf *out, struct server *s, const struct host_row *row, enum err *e)
{
	const struct {
		int64_t id;
		const char *what;
	} placed[] = {{row->placed_first, "to prefer"},
		      {row->placed_second, "when that has failed"},
		      {row->placed_third, "when both have"},
		      {row->placed_away, "when its zone has"}};
	const char *before = ": ";

	*e = buf_printf(out, "balanced: version %" PRId64 " of the placement gives it ", placement_version(s));
	for (size_t i = 0; i < ARRAY_SIZE(placed) && !*e; i++) {
		const char *entry = entry_of(s, placed[i].id);

		if (!entry)
			continue;
		*e = buf_printf(out, "%s%.200s %s", i ? before : "", entry, placed[i].what);
		before = ", ";
	}
	if (!*e && !row->placed_first)
		*e = buf_put_str(out, "no entries yet, it comes with the next change");
	if (!*e)
		*e = buf_put_str(out, ".");
}

/* Whatever else makes a list is one case more here. */
static enum err say_list_reason(struct buf *out, struct server *s, const struct host_row *row)
{
	const struct str_list *servers = lists_servers(s);
	const char *of = config_text(s, "host", 0) ? "the setting host" : "the registered servers";
	size_t at = servers->n ? (size_t)(row->slot % servers->n) : 0;
	enum err e = ERR_OK;

	if (!servers->n)
		return buf_put_str(out, "There are no servers to make a list from.");
	switch (lists_algorithm(s)) {
	case ALGORITHM_STATIC:
		e = buf_printf(out, "static: every host has the order of %s, so all prefer %.200s.", of,
			       servers->items[0]);
		break;
	case ALGORITHM_ROUNDROBIN:
		e = buf_printf(
			out,
			"roundrobin: the order of %s, begun at %.200s, number %zu of %zu, because its slot is %" PRIu64
			".",
			of, servers->items[at], at + 1, servers->n, row->slot);
		break;
	case ALGORITHM_SHUFFLE:
		e = buf_printf(out, "shuffle: an order of the %zu servers that was drawn for it once.", servers->n);
		break;
	case ALGORITHM_BALANCED:
		say_placed(out, s, row, &e);
		break;
	}
	if (!e && placement_pin(s, row))
		e = buf_printf(out, " It is pinned to %.200s, which comes first whatever the algorithm says.",
			       placement_pin(s, row));
	return e;
}

/* ---- the answer ---- */

static void put_words(json_t *o, const char *name, struct buf *words)
{
	if (words->len)
		api_put_text(o, name, buf_str(words));
	buf_deinit(words);
}

static enum err put_entry(json_t *verdicts, struct server *s, const struct host_row *row, const struct host_view *v,
			  const struct explain_facts *f, struct explain_entry *e)
{
	const struct member_server *m = server_of_entry(s, row, e->entry);
	const struct list_server_row *placed = placement_entry(s, e->entry);
	CLEAN(buf_deinit) struct buf verdict = {0}, sentence = {0};
	json_t *o = json_object();
	enum err err;

	e->server = server_facts(s, m);
	e->is_connected = m && v->owner == m;
	err = explain_verdict(&verdict, &sentence, f, e);
	api_put_text(o, "entry", e->entry);
	api_put_text(o, "server", m ? m->row.name : NULL);
	api_put_text(o, "state", m ? server_state_name(m->row.state) : NULL);
	api_put_text(o, "verdict", buf_str(&verdict));
	api_put_text(o, "sentence", buf_str(&sentence));
	if (m) {
		api_put_flag(o, "accepting", e->server.accepting);
		api_put_flag(o, "heard", m->row.msid == s->msid || (m->peer && peer_is_up(m->peer)));
		api_put_flag(o, "draining",
			     m->row.state == SERVER_PREPARING_FOR_MAINTENANCE || m->row.state == SERVER_SHUTTING_DOWN);
		api_put_number(o, "agents", (int64_t)count_agents(s, m->row.msid));
		if (e->server.uptime_s >= 0)
			api_put_number(o, "uptime", e->server.uptime_s);
	}
	if (placed) {
		api_put_number(o, "weight", placed->weight);
		api_put_text(o, "zone", placed->zone);
		api_put_flag(o, "resting", placed->resting);
	}
	api_put_flag(o, "avoided", str_list_has(&s->avoid, e->entry));
	json_array_append_new(verdicts, o);
	return err;
}

static enum err put_verdicts(json_t *o, struct server *s, const struct host_row *row, const struct host_view *v,
			     const struct explain_facts *f, const struct str_list *list, const json_t *said)
{
	json_t *verdicts = json_array();
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < list->n; i++) {
		struct explain_entry entry = {
			.entry = list->items[i],
			.is_first = i == 0,
			.said = candidate_in(said, list->items[i]),
		};

		e = put_entry(verdicts, s, row, v, f, &entry);
	}
	json_object_set_new(o, "verdicts", verdicts);
	return e;
}

static enum err put_story(json_t *o, struct server *s, const struct explain_facts *f)
{
	struct buf why = {0}, looks = {0};
	struct str_list moves = {0};
	enum err e = explain_why(&why, f);

	if (!e)
		e = explain_looks(&looks, f);
	if (!e)
		e = explain_moves(&moves, f);
	put_words(o, "why", &why);
	put_words(o, "nextlook", &looks);
	api_put_texts(o, "moves", &moves);
	str_list_deinit(&moves);
	api_put_flag(o, "onpreferred", f->is_home);
	api_put_flag(o, "frozen", f->frozen != NULL);
	if (f->first.name) {
		json_t *pace = json_object();

		api_put_number(pace, "persecond", f->pace);
		api_put_number(pace, "burst", config_number(s, "agent.failback.burst", 0));
		api_put_number(pace, "waiting", f->n_waiting);
		json_object_set_new(o, "pace", pace);
	}
	return e;
}

static enum err put_all(json_t *o, struct server *s, const struct host_row *row, struct explaining *x)
{
	CLEAN(mem_freep) char *algorithm = NULL;
	CLEAN(str_list_deinit) struct str_list list = {0};
	struct buf reason = {0};
	struct explain_facts f;
	struct host_view v;
	enum err e;

	host_view_make(&v, s, row);
	/* Without a list of its own: the one that it is going to get. */
	e = v.list ? server_list_parse_reported(&list, &algorithm, v.list) : lists_for_host(s, row, &list);
	if (e)
		return e;
	if (freeze_is_on(s))
		api_freeze_sentence(&x->frozen, &s->freeze);
	f = facts_of(s, row, &v, &list, x);
	e = put_verdicts(o, s, row, &v, &f, &list, x->said);
	if (!e)
		e = put_story(o, s, &f);
	if (!e)
		e = say_list_reason(&reason, s, row);
	put_words(o, "listreason", &reason);
	api_put_text(o, "agentunasked", x->unasked[0] ? x->unasked : NULL);
	if (x->said)
		json_object_set(o, "agent", x->said);
	return e;
}

static void explain_answer(struct api_call *c)
{
	struct host *h = roster_host(c->server, api_number(c, "id", 0));
	struct explaining *x = c->state;
	const struct host_row *row = &x->row;
	json_t *o;
	enum err e;

	if (!h && !row->id) {
		api_fail(c, API_BAD_PARAM, CS_API, "The host is gone");
		return;
	}
	/* While the agent was asked it may have moved: then memory is newer. */
	if (h && (!row->id || h->row.epoch != row->epoch))
		row = &h->row;
	o = host_object(c->server, row, DETAIL_PLACE);
	e = o ? put_all(o, c->server, row, x) : ERR_NOMEM;
	if (e) {
		json_decref(o);
		api_fail_err(c, e, err_text(e));
		return;
	}
	api_answer_object(c, "explainhost", o);
}

/* ---- asking the agent ---- */

#define OUR_VIEW "this is what the servers see"

static void take_answer(struct explaining *x, const struct batch *answers)
{
	const struct msg_explain_answer *a = batch_find(answers, MSG_EXPLAIN_ANSWER);
	const char *details = answers->n ? element_details(&answers->elements[0]) : NULL;

	if (batch_find(answers, MSG_UNSUPPORTED_ANSWER))
		snprintf(x->unasked, sizeof(x->unasked),
			 "Its agent does not know the question, it is older: " OUR_VIEW ".");
	else if (!a || !json_is_object(a->explained))
		snprintf(x->unasked, sizeof(x->unasked), "Its agent could not tell (%.200s): " OUR_VIEW ".",
			 details ? details : "no reason given");
	else if (json_dumpb(a->explained, NULL, 0, JSON_COMPACT) > LENGTH_MOST)
		snprintf(x->unasked, sizeof(x->unasked), "Its agent's answer is too long to be read: " OUR_VIEW ".");
	else
		x->said = json_incref(a->explained);
}

static void agent_answered(void *user, enum err result, const char *sentence, const struct batch *answers)
{
	struct api_call *c = user;
	struct explaining *x = c->state;

	if (c->server->freed) {
		api_fail(c, API_UNAVAILABLE, CS_API, "This management server has stopped");
		return;
	}
	if (!result && answers)
		take_answer(x, answers);
	else if (result == ERR_TIMEOUT)
		snprintf(x->unasked, sizeof(x->unasked), "Its agent did not answer within %d s: " OUR_VIEW ".",
			 ASK_MS / 1000);
	else
		snprintf(x->unasked, sizeof(x->unasked), "Its agent could not be asked (%.200s): " OUR_VIEW ".",
			 sentence);
	explain_answer(c);
}

/* NULL: it can be asked. */
static const char *why_not_asked(const struct host *h)
{
	if (!h || h->row.status != HOST_UP || h->lost_at.us)
		return "Its agent has no link and can't be asked: " OUR_VIEW ".";
	if (!h->row.is_muster)
		return "Its agent is CloudStack's and can't be asked: " OUR_VIEW ".";
	return NULL;
}

static void ask_agent(struct api_call *c)
{
	struct request_params p = {.wait_ms = ASK_MS, .done = agent_answered, .user = c};
	struct host *h = roster_host(c->server, api_number(c, "id", 0));
	struct explaining *x = c->state;
	const char *why_not = why_not_asked(h);
	struct batch b = {0};
	enum err e;

	if (why_not) {
		str_copy(x->unasked, sizeof(x->unasked), why_not);
		explain_answer(c);
		return;
	}
	e = batch_add(&b, MSG_EXPLAIN) ? request_to_host(c->server, h, &b, &p) : ERR_NOMEM;
	if (!e)
		return;
	batch_deinit(&b);
	snprintf(x->unasked, sizeof(x->unasked), "Its agent could not be asked (%s): " OUR_VIEW ".", err_text(e));
	explain_answer(c);
}

/* ---- explainHost ---- */

static enum err explain_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct explaining *x = c->state;

	host_row_deinit(&x->row);
	memset(&x->row, 0, sizeof(x->row));
	return store_host_get(tx, api_number(c, "id", 0), &x->row);
}

static void explain_then(struct api_call *c, enum err result, const char *sentence)
{
	struct explaining *x = c->state;

	if (!result && x->row.id && !x->row.removed_ms) {
		host_learn(c->server, &x->row);
	} else {
		host_row_deinit(&x->row);
		memset(&x->row, 0, sizeof(x->row));
	}
	ask_agent(c);
}

static void explain_host(struct api_call *c)
{
	c->state = mem_zalloc(sizeof(struct explaining));
	c->state_free = explaining_free;
	if (!c->state)
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
	else if (ledger_is_failing(c->server, NULL))
		explain_then(c, ERR_STORE, "");
	else
		api_read(c, explain_run, explain_then);
}

/* clang-format off */
static const struct api_param_spec id_params[] = {
	{"id", API_UUID, true, "The host: its number, UUID, guid or name", ENTITY_HOST, 0, false},
};
static const struct api_field explain_fields[] = {
	{"id", "string", "Id of the host; and all other members of listHosts"},
	{"why", "string", "Why it is where it is"},
	{"onpreferred", "boolean", "It is connected to the first of its list"},
	{"verdicts", "list", "Each server of its list and what holds for it"},
	{"listreason", "string", "Why it should have the list that it should have"},
	{"frozen", "boolean", "Moves are frozen"},
	{"nextlook", "string", "When it looks for its preferred server"},
	{"moves", "list", "What would move it"},
	{"pace", "map", "How many may come home to its preferred server a second, and how many wait for that"},
	{"agent", "map", "What its agent said of itself"},
	{"agentunasked", "string", "Why its agent said nothing"},
};
static const struct api_route routes[] = {
	{.name = "explainHost", .handle = explain_host, .right = RIGHT_ADMIN, .is_read = true,
	 .description = "Tells why a host is connected where it is, asking its agent", ROUTE_PARAMS(id_params), ROUTE_FIELDS(explain_fields)},
};
/* clang-format on */
const struct api_routes api_explain_routes = {routes, ARRAY_SIZE(routes)};
