#include "agent/explain.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/certificate_words.h"
#include "base/mem.h"
#include "base/speech.h"
#include "core/server_list.h"

/* ---- as JSON ---- */

static json_t *texts_json(const struct str_list *l)
{
	json_t *a = json_array();

	for (size_t i = 0; l && i < l->n; i++) {
		/* What is no UTF-8 is not shown rather than letting the whole line fail. */
		json_t *text = json_string(l->items[i]);

		if (json_array_append_new(a, text ? text : json_string("?"))) {
			json_decref(a);
			return NULL;
		}
	}
	return a;
}

static json_t *text_or_null(const char *text)
{
	json_t *j = text ? json_string(text) : NULL;

	return j ? j : json_null();
}

static json_t *seconds_until(struct mono at, struct mono now)
{
	int64_t ms = mono_ms_between(now, at);

	if (mono_is_never(at))
		return json_null();
	return json_integer(ms > 0 ? (ms + 999) / 1000 : 0);
}

/* What the gate makes of an entry that stands before the one in use; null: it was not asked. */
static json_t *gate_json(const struct agent_view *v, const char *entry)
{
	for (size_t i = 0; v->gates && i < v->n_gates && i < v->list->n; i++)
		if (str_equal(v->list->items[i], entry))
			return json_string(failback_verdict_name(v->gates[i]));
	return json_null();
}

static json_t *candidate_json(const struct candidate *c, const struct agent_view *v, struct mono now)
{
	bool is_waiting = (c->backoff.failures || c->is_put_off) && !mono_reached(now, c->backoff.retry_at);
	bool is_put_off = is_waiting && c->is_put_off;

	return json_pack("{s:o,s:s,s:s,s:I,s:o,s:o,s:o,s:b,s:o}", "server", text_or_null(c->entry), "verdict",
			 choice_verdict_name(c->verdict), "why", choice_verdict_text(c->verdict), "failures",
			 (json_int_t)c->backoff.failures, "last_error",
			 text_or_null(c->last_error ? err_text(c->last_error) : NULL), "said",
			 text_or_null(c->last_error ? c->sentence : NULL), "retry_in_s",
			 is_waiting ? seconds_until(c->backoff.retry_at, now) : json_null(), "put_off", (int)is_put_off,
			 "gate", gate_json(v, c->entry));
}

/* What its server has told of the preferred one; null: nothing. */
static json_t *word_json(const struct explain_question *q)
{
	const struct failback_word *w = &q->view->word;

	if (!w->is_known)
		return json_null();
	return json_pack("{s:b,s:b,s:I}", "up", (int)w->is_up, "accepting", (int)w->is_accepting, "said_s_ago",
			 (json_int_t)(mono_ms_between(w->said_at, q->now) / 1000));
}

/* What is under way beside the link in use; null: nothing. */
static json_t *move_json(const struct agent_view *v)
{
	if (!v->move)
		return json_null();
	return json_pack("{s:s,s:o}", "for", v->move, "to", text_or_null(v->move_to));
}

/* Why it is not on its preferred server, with what that was made of. */
static json_t *failback_json(const struct explain_question *q)
{
	const struct agent_view *v = q->view;
	int64_t said_ago = mono_ms_between(v->word.said_at, q->now);

	return json_pack("{s:s,s:s,s:o,s:I,s:I,s:I,s:o,s:o,s:o,s:o}", "verdict", failback_verdict_name(v->failback),
			 "why", failback_verdict_text(v->failback), "uptime_s",
			 v->word.is_known ? json_integer((v->word.uptime_ms + said_ago) / 1000) : json_null(),
			 "uptime_needed_s", (json_int_t)((v->uptime_needed_ms + 999) / 1000), "heartbeats",
			 (json_int_t)v->heartbeats, "heartbeats_needed", (json_int_t)v->heartbeats_needed, "again_in_s",
			 seconds_until(v->failback_again, q->now), "damped_for_s",
			 mono_reached(q->now, v->damped_until) ? json_null() : seconds_until(v->damped_until, q->now),
			 "told", text_or_null(v->told), "word", word_json(q));
}

/* Where it goes, or what it waits for, while its preferred server is passed over; null: nowhere. */
static json_t *better_json(const struct explain_question *q)
{
	const struct agent_view *v = q->view;

	for (size_t i = 1; v->better && i < v->n_gates && i < v->list->n; i++)
		if (str_equal(v->list->items[i], v->better))
			return json_pack("{s:s,s:s,s:s,s:o}", "server", v->better, "verdict",
					 failback_verdict_name(v->gates[i]), "why", failback_verdict_other(v->gates[i]),
					 "again_in_s", seconds_until(v->better_again, q->now));
	return json_null();
}

/* null: it doesn't wait. */
static json_t *first_dial_json(const struct explain_question *q)
{
	const struct agent_view *v = q->view;

	if (!v->first_dial_at.us || mono_reached(q->now, v->first_dial_at))
		return json_null();
	return json_pack("{s:I,s:I,s:I,s:I}", "in_ms", (json_int_t)mono_ms_between(q->now, v->first_dial_at), "wait_ms",
			 (json_int_t)v->first_dial_wait_ms, "most_ms", (json_int_t)v->first_dial_most_ms, "agents",
			 (json_int_t)v->first_dial_agents);
}

/* "proven", "not yet used", "old one is tried" */
static const char *trial_text(enum cert_trial_use use)
{
	switch (use) {
	case CERT_TRIAL_NEW:
		return "renewed, not yet used";
	case CERT_TRIAL_OLD:
		return "renewed, not taken: the old one is tried";
	default:
		return "in use";
	}
}

/* What it shows to servers; null: nothing. */
static json_t *certificate_json(const struct explain_question *q)
{
	CLEAN(buf_deinit) struct buf words = {0};
	CLEAN(mem_freep) char *text = NULL;
	const struct cert_info *i = q->certificate;

	if (!q->has_certificate || !i)
		return json_null();
	if (certificate_words(&words, i, q->wall_s) || !(text = buf_take_str(&words)))
		return NULL;
	return json_pack("{s:s,s:o,s:o,s:I,s:I,s:s,s:s,s:o,s:o,s:o}", "serial", i->serial, "name",
			 text_or_null(i->common_name), "issuer", text_or_null(i->issuer), "not_after_s",
			 (json_int_t)i->not_after_s, "expires_in_s", (json_int_t)(i->not_after_s - q->wall_s), "age",
			 certificate_age_name(certificate_age(i, q->wall_s)), "trial", trial_text(q->view->trial),
			 "trial_said", text_or_null(q->view->trial_said), "given_up", text_or_null(q->given_up), "text",
			 text_or_null(text));
}

static json_t *candidates_json(const struct explain_question *q)
{
	json_t *a = json_array();

	for (size_t i = 0; i < q->n_candidates; i++) {
		if (json_array_append_new(a, candidate_json(&q->candidates[i], q->view, q->now))) {
			json_decref(a);
			return NULL;
		}
	}
	return a;
}

json_t *explain_object(const struct explain_question *q)
{
	const struct agent_view *v = q->view;

	return json_pack(
		"{s:o,s:o,s:o,s:I,s:o,s:s,s:I,s:o,s:o,s:b,s:o,s:b,s:o,s:o,s:o,s:b,s:o,s:s,s:o,s:o,s:I,s:b,s:b,s:o,s:b,s:I,s:I,"
		"s:I,s:I,s:I,s:o,s:o,s:o,s:o}",
		"name", text_or_null(q->name), "guid", text_or_null(q->guid), "version", text_or_null(q->version),
		"host_id", (json_int_t)v->host_id, "host_uuid", text_or_null(v->host_uuid), "state",
		agent_state_name(v->state), "state_for_s", (json_int_t)(mono_ms_between(v->since, q->now) / 1000),
		"connected", text_or_null(v->connected), "connected_ip", text_or_null(v->connected_ip), "muster",
		(int)v->is_muster, "preferred", text_or_null(v->preferred), "on_preferred",
		(int)(v->connected && v->preferred && server_entry_same(v->connected, v->preferred, q->port)),
		"failback", failback_json(q), "move", move_json(v), "first_dial", first_dial_json(q), "certificate",
		(int)q->has_certificate, "list", texts_json(v->list), "algorithm", v->algorithm ? v->algorithm : "",
		"avoid", texts_json(v->avoid), "candidates", candidates_json(q), "check_interval_s",
		(json_int_t)v->interval_s, "check_interval_is_own", (int)v->interval_is_own, "looks_once",
		(int)v->looks_once, "next_check_in_s", seconds_until(v->next_check, q->now), "on_fallback",
		(int)v->on_fallback, "links", (json_int_t)v->links, "boot", (json_int_t)v->boot_number, "server_agents",
		(json_int_t)v->server_agents, "heartbeat_ms", (json_int_t)v->heartbeat_ms, "commands",
		(json_int_t)v->commands, "health", text_or_null(q->health), "host_params", texts_json(q->params),
		"identity", certificate_json(q), "better", better_json(q));
}

enum err explain_json(struct buf *out, const struct explain_question *q)
{
	json_t *answer = explain_object(q);
	char *text = NULL;
	enum err e = ERR_NOMEM;

	if (answer)
		text = json_dumps(answer, JSON_COMPACT | JSON_PRESERVE_ORDER);
	if (text)
		e = buf_put_str(out, text);
	free(text);
	json_decref(answer);
	return e;
}

/* ---- as sentences ---- */

struct story {
	const json_t *j;
	struct speech speech;
};

static const char *text_of(const json_t *j, const char *key)
{
	return json_string_value(json_object_get(j, key));
}

static int64_t number_of(const json_t *j, const char *key)
{
	return json_integer_value(json_object_get(j, key));
}

static bool is_set(const json_t *j, const char *key)
{
	return json_is_true(json_object_get(j, key));
}

/* "45 s", "12 min", "3 h 12 min", "5 d 3 h" */
static const char *duration(char out[32], int64_t s)
{
	if (s < 120)
		snprintf(out, 32, "%" PRId64 " s", s);
	else if (s < 7200)
		snprintf(out, 32, "%" PRId64 " min", s / 60);
	else if (s < 2 * 86400)
		snprintf(out, 32, "%" PRId64 " h %" PRId64 " min", s / 3600, s % 3600 / 60);
	else
		snprintf(out, 32, "%" PRId64 " d %" PRId64 " h", s / 86400, s % 86400 / 3600);
	return out;
}

static void say_list(struct story *s, const char *key, const char *when_empty)
{
	const json_t *list = json_object_get(s->j, key);

	if (!json_array_size(list))
		say(&s->speech, "%s", when_empty);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));

		say(&s->speech, "%s%s", i ? ", " : "", text ? text : "?");
	}
}

static void say_who(struct story *s)
{
	const char *state = text_of(s->j, "state");
	char since[32];

	say(&s->speech, "%s", text_of(s->j, "name") ? text_of(s->j, "name") : "this agent");
	say(&s->speech, " (guid %s", text_of(s->j, "guid") ? text_of(s->j, "guid") : "?");
	if (number_of(s->j, "host_id") > 0)
		say(&s->speech, ", host %" PRId64, number_of(s->j, "host_id"));
	say(&s->speech, ") is %s, for %s\n\n", state ? state : "?", duration(since, number_of(s->j, "state_for_s")));
}

/* "1.2 s" */
static const char *tenths(char out[32], int64_t ms)
{
	snprintf(out, 32, "%" PRId64 ".%" PRId64 " s", ms / 1000, ms % 1000 / 100);
	return out;
}

static void say_first_dial(struct story *s)
{
	const json_t *d = json_object_get(s->j, "first_dial");
	char wait[32], most[32];

	if (!json_is_object(d))
		return;
	say(&s->speech, "; waiting %s of at most %s because its server had %" PRId64 " agents",
	    tenths(wait, number_of(d, "wait_ms")), tenths(most, number_of(d, "most_ms")), number_of(d, "agents"));
}

static void say_connected(struct story *s)
{
	const char *entry = text_of(s->j, "connected");
	const char *ip = text_of(s->j, "connected_ip");

	say(&s->speech, "connected to   %s", entry ? entry : "no server");
	if (!entry)
		say(&s->speech, "%s", is_set(s->j, "on_fallback") ? "; older lists are tried too" : "");
	else if (ip && !str_equal(ip, entry))
		say(&s->speech, " (%s)", ip);
	say(&s->speech, "%s", entry && !is_set(s->j, "muster") ? ", not a muster server" : "");
	say_first_dial(s);
	say(&s->speech, "\n");
}

/* ": too young, up for 12 s of 30 s" */
static void say_failback(struct story *s)
{
	const json_t *f = json_object_get(s->j, "failback");
	const json_t *again = json_object_get(f, "again_in_s"), *uptime = json_object_get(f, "uptime_s");
	const char *verdict = text_of(f, "verdict"), *why = text_of(f, "why");
	char a[32], b[32];

	if (!verdict)
		return;
	say(&s->speech, " because: %s, ", verdict);
	if (str_equal(verdict, failback_verdict_name(FAILBACK_TOO_YOUNG)) && json_is_integer(uptime))
		say(&s->speech, "up for %s of %s", duration(a, json_integer_value(uptime)),
		    duration(b, number_of(f, "uptime_needed_s")));
	else if (str_equal(verdict, failback_verdict_name(FAILBACK_PROVING)))
		say(&s->speech, "%" PRId64 " of %" PRId64 " heartbeats seen", number_of(f, "heartbeats"),
		    number_of(f, "heartbeats_needed"));
	else
		say(&s->speech, "%s", why ? why : "?");
	if (json_is_integer(again) && (str_equal(verdict, failback_verdict_name(FAILBACK_PUT_OFF)) ||
				       str_equal(verdict, failback_verdict_name(FAILBACK_DAMPED))))
		say(&s->speech, "; for %s", duration(a, json_integer_value(again)));
}

static void say_move(struct story *s)
{
	const json_t *m = json_object_get(s->j, "move");
	const char *what = text_of(m, "for"), *to = text_of(m, "to");

	if (what)
		say(&s->speech, "under way      another link, for: %s%s%s\n", what, to ? ", to " : "", to ? to : "");
}

/* The preferred server is away, and this is not the best of the others. */
static void say_better(struct story *s)
{
	const json_t *b = json_object_get(s->j, "better");
	const char *server = text_of(b, "server"), *verdict = text_of(b, "verdict"), *why = text_of(b, "why");

	if (server && verdict)
		say(&s->speech, "better         %s: %s, %s\n", server, verdict, why ? why : "?");
}

/* Is it where it should be, and if not, when does it look again? */
static void say_preferred(struct story *s)
{
	const json_t *next = json_object_get(s->j, "next_check_in_s");
	const char *preferred = text_of(s->j, "preferred");
	char in[32], every[32];

	say(&s->speech, "preferred      %s%s", preferred ? preferred : "none",
	    !preferred || !text_of(s->j, "connected") ? ""
	    : is_set(s->j, "on_preferred")            ? ", it is there"
						      : ", it is not there");
	if (preferred && text_of(s->j, "connected") && !is_set(s->j, "on_preferred"))
		say_failback(s);
	say(&s->speech, "\n");
	say_better(s);
	say(&s->speech, "next look      ");
	if (json_is_integer(next))
		say(&s->speech, "in %s", duration(in, json_integer_value(next)));
	else
		say(&s->speech, "none planned");
	if (is_set(s->j, "looks_once"))
		say(&s->speech, "; with %s it looks once after each new list\n", text_of(s->j, "algorithm"));
	else if (number_of(s->j, "check_interval_s"))
		say(&s->speech, "; every %s, %s\n", duration(every, number_of(s->j, "check_interval_s")),
		    is_set(s->j, "check_interval_is_own") ? "set in agent.properties" : "as the servers say");
	else
		say(&s->speech, "; %s\n",
		    is_set(s->j, "check_interval_is_own") ? "switched off in agent.properties"
							  : "the servers ask for none");
}

static void say_certificate(struct story *s)
{
	const json_t *c = json_object_get(s->j, "identity");
	const char *text = text_of(c, "text"), *trial = text_of(c, "trial"), *said = text_of(c, "trial_said");
	const char *given_up = text_of(c, "given_up"), *serial = text_of(c, "serial"), *issuer = text_of(c, "issuer");

	if (!is_set(s->j, "certificate"))
		say(&s->speech, "\ncertificate    NONE: every server is trusted; muster-agent join TOKEN gets one");
	if (text)
		say(&s->speech, "\ncertificate    %s\n               serial %s, issued by %.60s", text,
		    serial ? serial : "?", issuer ? issuer : "?");
	if (trial && !str_equal(trial, trial_text(CERT_TRIAL_NONE)))
		say(&s->speech, "\n               %s%s%s", trial, said ? "; last time: " : "", said ? said : "");
	if (given_up)
		say(&s->speech, "\n               the last renewal was given up, the old one stays: %s", given_up);
}

static void say_rest(struct story *s)
{
	const char *algorithm = text_of(s->j, "algorithm");
	const char *health = text_of(s->j, "health");

	say(&s->speech, "list           ");
	say_list(s, "list", "none");
	if (algorithm && *algorithm)
		say(&s->speech, " (%s)", algorithm);
	say(&s->speech, "\nto avoid       ");
	say_list(s, "avoid", "none");
	if (health)
		say(&s->speech, "\nhealth         %s", health);
	say_certificate(s);
	say(&s->speech, "\nlinks          %" PRId64 " so far; %" PRId64 " %s in progress\n", number_of(s->j, "links"),
	    number_of(s->j, "commands"), number_of(s->j, "commands") == 1 ? "command" : "commands");
}

static void say_candidate(struct story *s, const json_t *c, int width)
{
	const char *server = text_of(c, "server"), *verdict = text_of(c, "verdict"), *why = text_of(c, "why");
	const char *error = text_of(c, "last_error"), *said = text_of(c, "said");
	const json_t *retry = json_object_get(c, "retry_in_s");
	char in[32];

	say(&s->speech, "%-*s  %-12s  ", width, server ? server : "?", verdict ? verdict : "?");
	if (is_set(c, "put_off")) {
		say(&s->speech, "asked to come back in %s: %s\n", duration(in, json_integer_value(retry)),
		    said    ? said
		    : error ? error
			    : "?");
		return;
	}
	say(&s->speech, "%s", why ? why : "");
	if (number_of(c, "failures"))
		say(&s->speech, "; failed %" PRId64 " %s", number_of(c, "failures"),
		    number_of(c, "failures") == 1 ? "time" : "times");
	if (error)
		say(&s->speech, "; last time: %s", error);
	if (error && said && !str_equal(error, said))
		say(&s->speech, " (%s)", said);
	if (json_is_integer(retry))
		say(&s->speech, "; again in %s", duration(in, json_integer_value(retry)));
	say(&s->speech, "\n");
}

static void say_candidates(struct story *s)
{
	const json_t *all = json_object_get(s->j, "candidates");
	int width = (int)strlen("SERVER");

	for (size_t i = 0; i < json_array_size(all); i++) {
		const char *server = text_of(json_array_get(all, i), "server");

		if (server && (int)strlen(server) > width)
			width = (int)strlen(server);
	}
	say(&s->speech, "\n%-*s  %-12s  %s\n", width, "SERVER", "VERDICT", "WHY");
	for (size_t i = 0; i < json_array_size(all); i++)
		say_candidate(s, json_array_get(all, i), width);
}

/* Peers have chosen some of these texts: nothing that paints a terminal. */
static enum err make_printable(json_t *j)
{
	enum err e = ERR_OK;

	for (void *at = json_object_iter(j); at && !e; at = json_object_iter_next(j, at))
		e = make_printable(json_object_iter_value(at));
	for (size_t i = 0; i < json_array_size(j) && !e; i++)
		e = make_printable(json_array_get(j, i));
	if (json_is_string(j)) {
		CLEAN(mem_freep) char *text = mem_strdup(json_string_value(j));

		if (!text)
			return ERR_NOMEM;
		str_make_printable(text);
		e = json_string_set(j, text) ? ERR_NOMEM : ERR_OK;
	}
	return e;
}

enum err explain_text(struct buf *out, const char *json, struct why *why)
{
	json_t *j = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
	struct story s = {.j = j, .speech = {.out = out}};

	if (!json_is_object(j)) {
		json_decref(j);
		why_set(why, "what the agent says is not understood; is it of another version?");
		return ERR_MALFORMED;
	}
	s.speech.err = make_printable(j);
	say_who(&s);
	say_connected(&s);
	say_preferred(&s);
	say_move(&s);
	say_rest(&s);
	say_candidates(&s);
	json_decref(j);
	return s.speech.err;
}
