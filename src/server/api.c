/*
 * The query API without HTTP: a call's life, from server_api() to its answer.
 *
 *   known command?  -> signature (api_auth.c; not on the local socket) -> parameters -> handler -> answer
 *
 * What the roster holds is answered from memory; what only the store has is read by an entry in the ledger. A change
 * is answered when it is committed and this server's own memory has it, so that who asks next sees it.
 */
#include "server/api.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define STRAYS_MAX 4096     /* addresses remembered whose requests failed */
#define FAILURES_AT_ONCE 30 /* then one every FAILURE_MS */
#define FAILURE_MS 2000

/* ---- routes ---- */

static const struct api_routes *const all_routes[] = {
	&api_servers_routes,     &api_maintenance_routes, &api_hosts_routes,    &api_host_change_routes,
	&api_host_jobs_routes,   &api_config_routes,      &api_jobs_routes,     &api_tokens_routes,
	&api_accounts_routes,    &api_events_routes,      &api_status_routes,   &api_places_routes,
	&api_discovery_routes,   &api_placement_routes,   &api_freeze_routes,   &api_list_servers_routes,
	&api_explain_routes,     &api_rolling_routes,     &api_ca_routes,       &api_certs_routes,
	&api_cert_change_routes, &api_provision_routes,   &api_rotation_routes,
};

const struct api_route *api_route_at(size_t i)
{
	for (size_t k = 0; k < ARRAY_SIZE(all_routes); k++) {
		if (i < all_routes[k]->n)
			return &all_routes[k]->routes[i];
		i -= all_routes[k]->n;
	}
	return NULL;
}

const struct api_route *api_route_find(const char *name)
{
	const struct api_route *r;

	for (size_t i = 0; (r = api_route_at(i)); i++)
		if (strcmp(r->name, name) == 0)
			return r;
	return NULL;
}

/* ---- what hangs off the server ---- */

struct api *api_of(struct server *s)
{
	struct api *a = s->api;

	if (!a) {
		a = mem_zalloc(sizeof(*a));
		if (!a)
			return NULL;
		list_init(&a->calls);
		list_init(&a->jobs);
		strays_init(&a->strays, rng_u64(&s->world->rng), STRAYS_MAX, FAILURES_AT_ONCE, FAILURE_MS);
		s->api = a;
	}
	return a;
}

static void call_free(struct api_call *c);

void api_deinit(struct server *s)
{
	struct api *a = s->api;

	if (!a)
		return;
	/* Calls wait in the ledger, which has answered them all by now, or for an agent: those requests have ended. */
	assert(list_is_empty(&a->calls));
	api_jobs_deinit(a);
	strays_deinit(&a->strays);
	mem_free(a);
	s->api = NULL;
}

/* ---- a call ---- */

static void params_free(struct api_param *params, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		mem_free((char *)(uintptr_t)params[i].name);
		mem_free((char *)(uintptr_t)params[i].value);
	}
	mem_free(params);
}

static void call_free(struct api_call *c)
{
	if (c->state && c->state_free)
		c->state_free(c->state);
	list_remove(&c->in_calls);
	params_free(c->params, c->n_params);
	mem_free(c->account);
	mem_free(c);
}

static enum err copy_params(struct api_call *c, const struct api_param *params, size_t n)
{
	c->params = mem_zalloc_array(n ? n : 1, sizeof(*c->params));
	if (!c->params)
		return ERR_NOMEM;
	for (size_t i = 0; i < n; i++) {
		c->params[i].name = mem_strdup(params[i].name);
		c->params[i].value = mem_strdup(params[i].value ? params[i].value : "");
		c->n_params++;
		if (!c->params[i].name || !c->params[i].value)
			return ERR_NOMEM;
	}
	return ERR_OK;
}

static struct api_call *call_new(struct server *s, const struct api_caller *caller, const struct api_param *params,
				 size_t n)
{
	struct api *a = api_of(s);
	struct api_call *c = a ? mem_zalloc(sizeof(*c)) : NULL;

	if (!c)
		return NULL;
	c->server = s;
	c->is_local = caller->is_local;
	str_copy(c->address, sizeof(c->address), caller->address ? caller->address : "?");
	list_append(&a->calls, &c->in_calls);
	if (copy_params(c, params, n)) {
		call_free(c);
		return NULL;
	}
	return c;
}

void server_api(struct server *s, const struct api_caller *caller, const struct api_param *params, size_t n,
		void (*done)(void *user, int status, json_t *body), void *user)
{
	struct api_call *c = call_new(s, caller, params, n);
	const char *command;

	if (!c) {
		json_t *body = json_pack("{s:{s:[],s:i,s:i,s:s}}", "errorresponse", "uuidList", "errorcode", API_FAILED,
					 "cserrorcode", CS_RUNTIME, "errortext", err_text(ERR_NOMEM));

		done(user, API_FAILED, body);
		json_decref(body);
		return;
	}
	c->done = done;
	c->user = user;
	command = api_param_exact(c->params, c->n_params, "command");
	c->route = command ? api_route_find(command) : NULL;
	if (!s->running) {
		api_fail(c, API_UNAVAILABLE, CS_API, "This management server is starting or stopping: ask another one");
	} else if (!c->is_local) {
		api_authenticate(c);
	} else if (!c->route) {
		api_fail(c, API_UNSUPPORTED, CS_API, command ? "There is no such command" : "No command was given");
	} else {
		c->account = mem_strdup("local");
		api_go(c);
	}
}

void server_api_forget(struct server *s, void *user)
{
	struct api *a = s->api;

	if (!a)
		return;
	list_for (c, &a->calls, struct api_call, in_calls)
		if (c->user == user)
			c->done = NULL;
}

/* ---- parameters ---- */

static const struct api_value *value_of(const struct api_call *c, const char *name)
{
	for (size_t i = 0; i < c->route->n_params; i++)
		if (strcmp(c->route->params[i].name, name) == 0)
			return &c->values[i];
	assert(!"a parameter that the route has not");
	return &c->values[0];
}

const char *api_text(const struct api_call *c, const char *name)
{
	return value_of(c, name)->text;
}

bool api_has(const struct api_call *c, const char *name)
{
	return value_of(c, name)->has;
}

bool api_flag(const struct api_call *c, const char *name)
{
	return value_of(c, name)->flag;
}

int64_t api_number(const struct api_call *c, const char *name, int64_t fallback)
{
	const struct api_value *v = value_of(c, name);

	return v->has ? v->number : fallback;
}

/* By UUID, by number, or by a name that only one has; hosts also by guid. */
static bool is_named(const char *text, const char *uuid, int64_t id, const char *name, bool *by_name)
{
	int64_t number;

	*by_name = false;
	if (strcasecmp(text, uuid) == 0 || (str_to_i64(text, &number) && number == id))
		return true;
	*by_name = name && strcmp(text, name) == 0;
	return *by_name;
}

static size_t find_host(struct server *s, const char *text, int64_t *id)
{
	struct host *h;
	size_t cursor = 0, named = 0;
	bool by_name;

	while ((h = roster_next(s, &cursor))) {
		if (!is_named(text, h->row.uuid, h->row.id, h->row.name, &by_name) &&
		    !str_equal_nocase(text, h->row.guid))
			continue;
		*id = h->row.id;
		if (!by_name)
			return 1;
		named++;
	}
	return named;
}

static size_t find_server(struct server *s, const char *text, int64_t *msid)
{
	size_t named = 0;
	bool by_name;

	list_for (m, &s->servers, struct member_server, in_servers) {
		if (!is_named(text, m->row.uuid, m->row.id, m->row.name, &by_name))
			continue;
		*msid = m->row.msid;
		if (!by_name)
			return 1;
		named++;
	}
	return named;
}

static size_t find_place(struct server *s, enum place_kind kind, const char *text, int64_t *id)
{
	size_t named = 0;
	bool by_name;

	for (size_t i = 0; i < s->n_places; i++) {
		const struct place_row *p = &s->places[i];

		if (p->kind != kind || !is_named(text, p->uuid, p->id, p->name, &by_name))
			continue;
		*id = p->id;
		if (!by_name)
			return 1;
		named++;
	}
	return named;
}

static bool resolve(struct api_call *c, const struct api_param_spec *spec, struct api_value *v, struct api_error *error)
{
	struct server *s = c->server;
	size_t found = 1;

	switch (spec->entity) {
	case ENTITY_NONE:
		break;
	case ENTITY_HOST:
		found = find_host(s, v->text, &v->number);
		break;
	case ENTITY_SERVER:
		found = find_server(s, v->text, &v->number);
		break;
	case ENTITY_ZONE:
		found = find_place(s, PLACE_ZONE, v->text, &v->number);
		break;
	case ENTITY_POD:
		found = find_place(s, PLACE_POD, v->text, &v->number);
		break;
	case ENTITY_CLUSTER:
		found = find_place(s, PLACE_CLUSTER, v->text, &v->number);
		break;
	}
	if (found == 1)
		return true;
	error->status = API_BAD_PARAM;
	error->code = CS_API;
	if (found)
		why_set(&error->why, "Parameter %s: %zu are called \"%.64s\", use the id", spec->name, found, v->text);
	else
		why_set(&error->why, "Parameter %s: nothing has the id \"%.64s\"", spec->name, v->text);
	return false;
}

static bool take_paging(struct api_call *c, struct api_error *error)
{
	const struct api_value *page = value_of(c, "page"), *size = value_of(c, "pagesize");
	int64_t most = c->route->page_most ? c->route->page_most : config_number(c->server, "default.page.size", 0);

	return api_paging(&c->paging, page->has ? &page->number : NULL, size->has ? &size->number : NULL, most, error);
}

static bool take_params(struct api_call *c, struct api_error *error)
{
	assert(c->route->n_params <= API_PARAMS_MAX);
	if (!api_convert(c->values, c->route->params, c->route->n_params, c->params, c->n_params, error))
		return false;
	for (size_t i = 0; i < c->route->n_params; i++)
		if (c->values[i].has && !resolve(c, &c->route->params[i], &c->values[i], error))
			return false;
	return !c->route->is_list || take_paging(c, error);
}

/* Jobs would not survive it (query-api 1.9). */
static bool takes_no_jobs(const struct server *s)
{
	const struct member_server *own = roster_server(s, s->msid);

	return own && own->row.state != SERVER_UP && own->row.state != SERVER_DOWN;
}

void api_go(struct api_call *c)
{
	struct api_error error = {0};

	if (!c->account)
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
	else if (!take_params(c, &error))
		api_fail(c, error.status, error.code, "%s", error.why.text);
	else if (c->route->is_async && takes_no_jobs(c->server))
		api_fail(c, API_UNAVAILABLE, CS_API,
			 "This management server takes no jobs, it prepares to stop: ask another one");
	else
		c->route->handle(c);
}

/* ---- answers ---- */

static void lower_response(char *out, size_t size, const char *name)
{
	snprintf(out, size, "%sresponse", name);
	for (char *p = out; *p; p++)
		*p = (char)tolower((unsigned char)*p);
}

static void finish(struct api_call *c, int status, const char *key, json_t *take_inner)
{
	json_t *body = json_object();

	if (!take_inner || json_object_set_new(body, key, take_inner)) {
		/* Out of memory: what is left is enough for a smaller answer, or the caller sees an empty one. */
		json_decref(body);
		status = API_FAILED;
		body = json_pack("{s:{s:[],s:i,s:s}}", "errorresponse", "uuidList", "errorcode", API_FAILED,
				 "errortext", err_text(ERR_NOMEM));
	}
	if (c->done)
		c->done(c->user, status, body);
	json_decref(body);
	call_free(c);
}

void api_answer(struct api_call *c, json_t *take_inner)
{
	char key[80];

	lower_response(key, sizeof(key), c->route->name);
	finish(c, API_OK, key, take_inner);
}

void api_answer_object(struct api_call *c, const char *name, json_t *take_object)
{
	json_t *inner = json_object();

	if (json_object_set_new(inner, name, take_object)) {
		json_decref(inner);
		inner = NULL;
	}
	api_answer(c, inner);
}

void api_answer_success(struct api_call *c)
{
	api_answer(c, json_pack("{s:b}", "success", 1));
}

void api_answer_list(struct api_call *c, const char *name, json_t *take_page, size_t count)
{
	json_t *inner = json_object();

	/* An empty page has no array: a client that pages until it is missing would never end (query-api 1.7.1). */
	if (count)
		api_put_number(inner, "count", (int64_t)count);
	if (json_array_size(take_page))
		json_object_set_new(inner, name, take_page);
	else
		json_decref(take_page);
	api_answer(c, inner);
}

void api_fail(struct api_call *c, int status, int code, const char *format, ...)
{
	json_t *inner = json_object();
	char text[512], key[80] = "errorresponse";
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (c->route && status != API_UNSUPPORTED)
		lower_response(key, sizeof(key), c->route->name);
	json_object_set_new(inner, "uuidList", json_array());
	api_put_number(inner, "errorcode", status);
	if (code != CS_NONE)
		api_put_number(inner, "cserrorcode", code);
	api_put_text(inner, "errortext", text);
	finish(c, status, key, inner);
}

void api_fail_err(struct api_call *c, enum err why, const char *sentence)
{
	switch (why) {
	case ERR_INVALID:
	case ERR_MALFORMED:
	case ERR_NOT_FOUND:
	case ERR_EXISTS:
	case ERR_TOO_BIG:
		api_fail(c, API_BAD_PARAM, CS_VALUE, "%s", sentence);
		break;
	default:
		api_fail(c, API_FAILED, CS_RUNTIME, "%s", sentence);
		break;
	}
}

void api_page(const struct api_call *c, size_t count, size_t *first, size_t *end)
{
	*first = c->paging.first < count ? c->paging.first : count;
	*end = c->paging.room < count - *first ? *first + c->paging.room : count;
}

/* ---- the store ---- */

void api_committed(struct server *s)
{
	follow_now(s);
	peer_hint(s);
}

static enum err call_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct api_call *c = container_of(entry, struct api_call, entry);

	return c->run(tx, c, why);
}

static void fail_stopped(struct api_call *c)
{
	api_fail(c, API_UNAVAILABLE, CS_API, "This management server has stopped");
}

/* The change is committed, whatever became of reading it. */
static void call_is_read(struct server *s, struct follow_wait *w)
{
	struct api_call *c = container_of(w, struct api_call, wait);

	if (s->freed)
		fail_stopped(c);
	else
		c->then(c, ERR_OK, "");
}

static void call_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct api_call *c = container_of(entry, struct api_call, entry);

	if (s->freed) {
		fail_stopped(c);
	} else if (!result && c->is_write) {
		/* Whoever reads what he has just written finds it: the answer waits until memory has it. */
		peer_hint(s);
		c->wait.done = call_is_read;
		follow_wait(s, &c->wait);
	} else {
		c->then(c, result, sentence);
	}
}

static void ask_store(struct api_call *c, api_run_fn *run, api_then_fn *then, bool is_write)
{
	c->run = run;
	c->then = then;
	c->is_write = is_write;
	c->entry = (struct entry){.run = call_run, .done = call_done, .read_only = !is_write};
	ledger_add(c->server, &c->entry);
}

void api_read(struct api_call *c, api_run_fn *run, api_then_fn *then)
{
	ask_store(c, run, then, false);
}

void api_write(struct api_call *c, api_run_fn *run, api_then_fn *then)
{
	ask_store(c, run, then, true);
}

/* ---- JSON ---- */

json_t *api_json_text(const char *text)
{
	json_t *j = json_string(text);

	if (!j) {
		/* Not UTF-8, or cut inside a character. */
		CLEAN(mem_freep) char *copy = mem_strdup(text);

		for (char *p = copy; p && *p; p++)
			if ((unsigned char)*p >= 0x80)
				*p = '?';
		j = copy ? json_string(copy) : NULL;
	}
	return j;
}

void api_put_text(json_t *o, const char *name, const char *text)
{
	if (text)
		json_object_set_new(o, name, api_json_text(text));
}

void api_put_number(json_t *o, const char *name, int64_t n)
{
	json_object_set_new(o, name, json_integer(n));
}

void api_put_flag(json_t *o, const char *name, bool flag)
{
	json_object_set_new(o, name, json_boolean(flag));
}

void api_put_date(json_t *o, const char *name, int64_t unix_ms)
{
	char text[API_DATE_TEXT];

	if (!unix_ms)
		return;
	api_date_format(text, unix_ms);
	api_put_text(o, name, text);
}

void api_put_texts(json_t *o, const char *name, const struct str_list *l)
{
	json_t *array = json_array();

	for (size_t i = 0; i < l->n; i++)
		json_array_append_new(array, api_json_text(l->items[i]));
	json_object_set_new(o, name, array);
}

bool api_contains(const char *text, const char *part)
{
	return !part || (text && strcasestr(text, part));
}

bool api_matches(const char *text, const char *filter)
{
	return !filter || (text && strcasecmp(text, filter) == 0);
}
