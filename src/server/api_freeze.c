/*
 * freezeHosts and thawHosts: nobody moves who need not, and back (docs/failover.md, "Freeze"). The word is in the store
 * when they are answered; freeze.c does what follows from it, on every server.
 */
#include "server/api.h"

#include <stdio.h>

struct freezing {
	char *value; /* of the row; NULL: it is removed */
	char *was;   /* what stood there */
};

static void freezing_free(void *state)
{
	struct freezing *f = state;

	mem_free(f->value);
	mem_free(f->was);
	mem_free(f);
}

/* ---- as the API shows it ---- */

bool api_freeze_keeps(struct server *s, const struct host_row *row, const struct host_view *v)
{
	if (!freeze_is_on(s) || !v->is_off_preferred || lists_interval(s, row->cluster_id) <= 0)
		return false;
	list_for (m, &s->servers, struct member_server, in_servers)
		if (host_entry_is(s, row, v->preferred, &m->row))
			return m->row.msid == s->msid ? server_is_accepting(s) : m->word.accepting;
	return false;
}

static size_t kept(struct server *s)
{
	struct host_view v;
	struct host *h;
	size_t cursor = 0, n = 0;

	while (freeze_is_on(s) && (h = roster_next(s, &cursor))) {
		host_view_make(&v, s, &h->row);
		n += api_freeze_keeps(s, &h->row, &v);
	}
	return n;
}

json_t *api_freeze_object(struct server *s)
{
	json_t *o = json_object();

	api_put_flag(o, "frozen", freeze_is_on(s));
	if (!freeze_is_on(s))
		return o;
	api_put_date(o, "since", s->freeze.since_ms);
	api_put_number(o, "seconds", (world_wall_ms(s->world) - s->freeze.since_ms) / 1000);
	api_put_text(o, "by", s->freeze.by);
	api_put_text(o, "reason", s->freeze.reason);
	api_put_number(o, "kept", (int64_t)kept(s));
	return o;
}

void api_freeze_sentence(struct why *why, const struct freeze *f)
{
	char date[API_DATE_TEXT];

	api_date_format(date, f->since_ms);
	why_set(why, "Moves are frozen since %s by %.100s%s%.200s", date, f->by ? f->by : "?", f->reason ? ": " : "",
		f->reason ? f->reason : "");
}

/* ---- the commands ---- */

/* The row as it stands. */
static enum err read_row(struct store_tx *tx, struct freezing *f)
{
	struct config_row *rows = NULL;
	const struct config_row *row;
	size_t n = 0;
	enum err e = store_config_list(tx, &rows, &n);

	f->was = mem_free(f->was);
	row = e ? NULL : freeze_row(rows, n);
	if (row && !(f->was = mem_strdup(row->value ? row->value : "")))
		e = ERR_NOMEM;
	for (size_t i = 0; i < n; i++)
		config_row_deinit(&rows[i]);
	mem_free(rows);
	return e;
}

static enum err judge(const struct freezing *f, struct why *why)
{
	struct freeze was;

	if (!f->value && !f->was) {
		why_set(why, "Moves are not frozen: there is nothing to thaw");
		return ERR_STATE;
	}
	if (!f->value || !f->was)
		return ERR_OK;
	freeze_read(&was, f->was);
	api_freeze_sentence(why, &was);
	why_add(why, "Nothing was changed");
	freeze_deinit(&was);
	return ERR_STATE;
}

static enum err freezing_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct freezing *f = c->state;
	bool changed = false;
	enum err e = read_row(tx, f);

	if (!e)
		e = judge(f, why);
	return e ? e : store_config_set(tx, FREEZE_ROW, CONFIG_GLOBAL, 0, f->value, &changed);
}

/* As with maintenance: refused for what it is. */
static void refuse(struct api_call *c, enum err result, const char *sentence)
{
	if (result == ERR_STATE)
		api_fail(c, API_FAILED, CS_RUNTIME, "%s", sentence);
	else
		api_fail_err(c, result, sentence);
}

static void frozen(struct api_call *c, enum err result, const char *sentence)
{
	const char *reason = api_text(c, "reason");

	if (result) {
		refuse(c, result, sentence);
		return;
	}
	event_add(c->server, "FREEZE", "WARN", 0, "%s has frozen all moves that are not needed%s%s", c->account,
		  str_is_blank(reason) ? "" : ": ", str_is_blank(reason) ? "" : reason);
	api_answer_object(c, "freezehosts", api_freeze_object(c->server));
}

static void thawed(struct api_call *c, enum err result, const char *sentence)
{
	const struct freezing *f = c->state;
	struct freeze was;
	json_t *o;

	if (result) {
		refuse(c, result, sentence);
		return;
	}
	freeze_read(&was, f->was);
	event_add(c->server, "THAW", "INFO", 0, "%s lets agents move again, after %lld s (%s had frozen them%s%s)",
		  c->account, (long long)((world_wall_ms(c->server->world) - was.since_ms) / 1000),
		  was.by ? was.by : "?", was.reason ? ": " : "", was.reason ? was.reason : "");
	o = api_freeze_object(c->server);
	api_put_number(o, "seconds", (world_wall_ms(c->server->world) - was.since_ms) / 1000);
	freeze_deinit(&was);
	api_answer_object(c, "thawhosts", o);
}

static struct freezing *freezing_new(struct api_call *c)
{
	struct freezing *f = mem_zalloc(sizeof(*f));

	c->state = f;
	c->state_free = freezing_free;
	if (!f)
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
	return f;
}

static void freeze_hosts(struct api_call *c)
{
	const char *reason = api_text(c, "reason");
	struct freezing *f = freezing_new(c);

	if (!f)
		return;
	f->value = freeze_value(world_wall_ms(c->server->world), c->account, str_is_blank(reason) ? NULL : reason);
	/* What is not UTF-8 can't be kept. */
	if (!f->value)
		api_fail(c, API_BAD_PARAM, CS_VALUE, "Parameter reason: not a text, or out of memory");
	else
		api_write(c, freezing_run, frozen);
}

static void thaw_hosts(struct api_call *c)
{
	if (freezing_new(c))
		api_write(c, freezing_run, thawed);
}

/* ---- the tables ---- */

/* clang-format off */
static const struct api_param_spec freeze_params[] = {
	{"reason", API_STRING, false, "Why, for those who see it", ENTITY_NONE, FREEZE_REASON_MAX, false},
};
static const struct api_param_spec no_params[] = {
	{"keyword", API_STRING, false, "Not used", ENTITY_NONE, 0, true},
};
static const struct api_field fields[] = {
	{"frozen", "boolean", "No agent moves that need not"},
	{"since", "date", "Since when"},
	{"seconds", "integer", "For how long"},
	{"by", "string", "The account that froze them"},
	{"reason", "string", "Why, if that was said"},
	{"kept", "integer", "Agents that would go to their preferred server now if it were not so"},
};
static const struct api_route routes[] = {
	{.name = "freezeHosts", .handle = freeze_hosts, .right = RIGHT_ADMIN,
	 .description = "Stops all moves of agents that are not needed, everywhere", ROUTE_PARAMS(freeze_params), ROUTE_FIELDS(fields)},
	{.name = "thawHosts", .handle = thaw_hosts, .right = RIGHT_ADMIN,
	 .description = "Lets agents go to their preferred servers again", ROUTE_PARAMS(no_params), ROUTE_FIELDS(fields)},
};
/* clang-format on */
const struct api_routes api_freeze_routes = {routes, ARRAY_SIZE(routes)};
