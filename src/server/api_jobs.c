/*
 * Jobs (query-api 1.13): what an asynchronous command began, stored before it begins, so that any server can tell how
 * it ended. A job whose server dies is failed by the others (watch.c), one of a restarted server by itself (server.c).
 */
#include "server/api.h"
#include "server/key_change.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FINISH_AGAIN_MS 1000

static void job_free(struct api_job *j)
{
	timer_stop(j->server->world, &j->again);
	list_remove(&j->in_jobs);
	json_decref(j->object);
	if (j->state)
		j->state_free(j->state);
	job_row_deinit(&j->row);
	mem_free(j);
}

void api_jobs_deinit(struct api *a)
{
	list_for (j, &a->jobs, struct api_job, in_jobs)
		job_free(j);
}

size_t api_jobs_running(const struct server *s)
{
	const struct api *a = s->api;
	size_t n = 0;

	if (a)
		list_for (j, (struct list *)(uintptr_t)&a->jobs, struct api_job, in_jobs)
			n++;
	return n;
}

/* ---- the end of a job ---- */

static enum err finish_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct api_job *j = container_of(entry, struct api_job, entry);

	/* Nobody could open it any more. */
	if (j->key_id[0] && key_record_check(tx, j->key_id, why) == ERR_CONFLICT)
		return store_job_finish(
			tx, j->row.uuid, 2, API_FAILED,
			"{\"errorcode\":530,\"errortext\":\"The cluster key was changed while the private key was "
			"stored under it: ask again\"}");
	return store_job_finish(tx, j->row.uuid, j->row.status, j->row.result_code, j->row.result);
}

static void finish_again(struct timer *t)
{
	struct api_job *j = container_of(t, struct api_job, again);

	ledger_add(j->server, &j->entry);
}

static void finish_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct api_job *j = container_of(entry, struct api_job, entry);

	/* Nobody may wait forever for a job that has ended; when we stop instead, the others fail it. */
	if ((result == ERR_STORE || result == ERR_BUSY || result == ERR_IO || result == ERR_FULL) && !s->stopping) {
		timer_init(&j->again, finish_again);
		timer_set_in(s->world, &j->again, FINISH_AGAIN_MS);
		return;
	}
	if (result)
		log_warn(s->log, "a job's result could not be stored", KV_S("job", j->row.uuid),
			 KV_S("error", sentence));
	job_free(j);
}

/* All texts in it: nobody else may have them. */
static void json_wipe(json_t *value)
{
	const char *key;
	json_t *v;
	size_t i;

	if (json_is_string(value))
		mem_wipe((void *)(uintptr_t)json_string_value(value), json_string_length(value));
	json_object_foreach (value, key, v) {
		json_wipe(v);
	}
	json_array_foreach (value, i, v) {
		json_wipe(v);
	}
}

/* ---- results with a private key: the store has them as a text under SEALED alone ---- */

#define SEALED "sealed"
#define CONTEXT_MAX (UUID_TEXT + 16)

/* No result can be put in another job's place. */
static void seal_context(char out[CONTEXT_MAX], const char *uuid)
{
	snprintf(out, CONTEXT_MAX, SEALED_JOB, uuid);
}

static char *result_seal(struct api_job *j, const char *text)
{
	struct server *s = j->server;
	CLEAN(buf_deinit) struct buf sealed = {0};
	CLEAN(mem_freep) char *code = NULL;
	char context[CONTEXT_MAX];
	uint8_t nonce[12];

	if (!s->p.cluster_key)
		return NULL;
	seal_context(context, j->row.uuid);
	cluster_key_id(j->key_id, s->p.cluster_key);
	world_entropy(s->world, nonce, sizeof(nonce));
	if (seal_bytes(&sealed, s->p.cluster_key, nonce, text, strlen(text), context))
		return NULL;
	code = base64url_encode(sealed.data, sealed.len);
	return code ? mem_printf("{\"" SEALED "\":\"%s\"}", code) : NULL;
}

static json_t *result_open(const struct server *s, const char *uuid, const char *code)
{
	CLEAN(buf_deinit) struct buf sealed = {0};
	struct buf plain = {0};
	char context[CONTEXT_MAX];
	json_t *result = NULL;

	seal_context(context, uuid);
	if (s->p.cluster_key && base64url_decode(code, &sealed) &&
	    open_bytes(&plain, s->p.cluster_key, sealed.data, sealed.len, context) == ERR_OK)
		result = json_loadb((const char *)plain.data, plain.len, 0, NULL);
	if (plain.data)
		mem_wipe(plain.data, plain.cap);
	buf_deinit(&plain);
	return result;
}

static void job_end(struct api_job *j, int64_t status, int64_t code, json_t *take_result)
{
	char *text = take_result ? json_dumps(take_result, JSON_COMPACT) : NULL;

	if (!j->is_secret)
		json_decref(take_result);
	j->row.status = text ? status : 2;
	j->row.result_code = text ? code : API_FAILED;
	j->row.result = mem_free(j->row.result);
	if (text && j->is_secret)
		j->row.result = result_seal(j, text);
	else if (text)
		j->row.result = mem_strdup(text);
	if (!j->row.result) {
		j->row.status = 2;
		j->row.result_code = API_FAILED;
		j->row.result = mem_strdup("{\"errorcode\":530,\"errortext\":\"out of memory\"}");
	}
	if (text && j->is_secret)
		mem_wipe(text, strlen(text));
	free(text);
	log_debug(j->server->log, "job ended", KV_S("job", j->row.uuid), KV_S("command", j->row.command),
		  KV_I("code", j->row.result_code));
	if (j->server->freed) {
		job_free(j); /* failed by whoever finds it */
		return;
	}
	j->entry = (struct entry){.run = finish_run, .done = finish_done};
	ledger_add(j->server, &j->entry);
}

void api_job_succeed(struct api_job *j, json_t *take_result)
{
	job_end(j, 1, 0, take_result);
}

void api_job_succeed_secret(struct api_job *j, json_t *take_result)
{
	j->is_secret = true;
	job_end(j, 1, 0, take_result);
	json_wipe(take_result);
	json_decref(take_result);
}

void api_job_fail(struct api_job *j, int code, const char *format, ...)
{
	json_t *o = json_object();
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	api_put_number(o, "errorcode", code);
	api_put_text(o, "errortext", text);
	job_end(j, 2, code, o);
}

/* ---- the beginning ---- */

static void unborn_free(void *state)
{
	job_free(state);
}

static enum err begin_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct api_job *j = c->state;
	struct job_row known = {0};
	enum err e;

	if (api_has(c, "customjobid")) {
		e = store_job_get(tx, j->row.uuid, &known);
		job_row_deinit(&known);
		if (!e) {
			why_set(why, "There is a job with this id already");
			return ERR_EXISTS;
		}
		if (e != ERR_NOT_FOUND)
			return e;
	}
	e = store_jobs_trim(tx, j->trim_before_ms);
	j->row.id = 0;
	return e ? e : store_job_add(tx, &j->row);
}

static void begin_then(struct api_call *c, enum err result, const char *sentence)
{
	struct api_job *j = c->state;
	struct api *a = c->server->api;
	json_t *inner;

	if (result) {
		api_fail_err(c, result, sentence);
		return;
	}
	c->state = NULL;
	list_append(&a->jobs, &j->in_jobs);
	inner = json_object();
	api_put_text(inner, "jobid", j->row.uuid);
	api_answer(c, inner);
	j->work(j);
}

void api_job_begin(struct api_call *c, const struct host *h, json_t *take_object, void (*work)(struct api_job *j))
{
	struct api_job *j = mem_zalloc(sizeof(*j));
	struct server *s = c->server;
	int64_t now_ms = world_wall_ms(s->world);

	if (!j) {
		json_decref(take_object);
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	j->server = s;
	list_init(&j->in_jobs);
	timer_init(&j->again, finish_again);
	j->host_id = h ? h->row.id : 0;
	j->object = take_object;
	j->work = work;
	c->state = j;
	c->state_free = unborn_free;
	if (api_has(c, "customjobid"))
		str_copy(j->row.uuid, sizeof(j->row.uuid), api_text(c, "customjobid"));
	else
		world_uuid(s->world, j->row.uuid);
	j->row.command = mem_strdup(c->route->name);
	j->row.account = mem_strdup(c->account);
	j->row.instance_type = mem_strdup(h ? "Host" : NULL);
	j->row.instance_id = mem_strdup(h ? h->row.uuid : NULL);
	j->row.msid = s->msid;
	j->row.created_ms = now_ms;
	j->trim_before_ms = now_ms - config_number(s, "job.expire.minutes", 0) * 60000;
	if (!j->row.command || !j->row.account || (h && (!j->row.instance_type || !j->row.instance_id)))
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
	else
		api_write(c, begin_run, begin_then);
}

/* ---- queryAsyncJobResult ---- */

static void row_free(void *state)
{
	job_row_deinit(state);
	mem_free(state);
}

static enum err query_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	job_row_deinit(c->state);
	memset(c->state, 0, sizeof(struct job_row));
	return store_job_get(tx, api_text(c, "jobid"), c->state);
}

static const char *sealed_text(const json_t *result)
{
	return json_object_size(result) == 1 ? json_string_value(json_object_get(result, SEALED)) : NULL;
}

/* NULL: it was refused. */
static json_t *result_of(struct api_call *c, const struct job_row *row)
{
	json_t *result = row->result ? json_loads(row->result, 0, NULL) : NULL;
	const char *sealed = sealed_text(result);

	if (sealed) {
		bool is_asker = c->is_local || str_equal(c->account, row->account);
		json_t *opened = is_asker ? result_open(c->server, row->uuid, sealed) : NULL;

		json_decref(result);
		if (!opened)
			api_fail(c, API_FAILED, CS_RUNTIME, "The result of job %s holds a private key: %s", row->uuid,
				 is_asker ? "only servers with the cluster key can show it"
					  : "only the account that asked for it is shown it");
		return opened;
	}
	if (!result) /* never without one: clients read it unconditionally */
		result = json_pack("{s:i,s:s}", "errorcode", API_FAILED, "errortext", "The job ended without a result");
	return result;
}

static void query_then(struct api_call *c, enum err result, const char *sentence)
{
	const struct job_row *row = c->state;
	const struct member_server *m;
	int64_t status;
	json_t *o, *outcome;

	if (result == ERR_NOT_FOUND) {
		api_fail(c, API_BAD_PARAM, CS_API, "Parameter jobid: there is no job %s", api_text(c, "jobid"));
		return;
	}
	if (result) {
		api_fail_err(c, result, sentence);
		return;
	}
	/* 3, cancelled, makes CloudMonkey poll on: a failure to everybody. Success without a result would be none. */
	status = row->status > 2 ? 2 : row->status;
	if (status == 1 && !row->result)
		status = 2;
	outcome = result_of(c, row);
	if (!outcome)
		return;
	m = roster_server(c->server, row->msid);
	o = json_object();
	api_put_text(o, "account", row->account);
	api_put_text(o, "domainpath", "ROOT");
	api_put_text(o, "cmd", row->command);
	api_put_number(o, "jobstatus", status);
	api_put_number(o, "jobprocstatus", 0);
	api_put_number(o, "jobresultcode", status == 2 && !row->result_code ? API_FAILED : row->result_code);
	if (status) {
		api_put_text(o, "jobresulttype", "object");
		json_object_set(o, "jobresult", outcome);
	}
	json_decref(outcome);
	api_put_text(o, "jobinstancetype", row->instance_type);
	api_put_text(o, "jobinstanceid", row->instance_id);
	api_put_text(o, "managementserverid", m ? m->row.uuid : NULL);
	api_put_text(o, "managementservername", m ? m->row.name : NULL);
	api_put_date(o, "created", row->created_ms);
	if (status)
		api_put_date(o, "completed", row->completed_ms);
	api_put_text(o, "jobid", row->uuid);
	api_answer(c, o);
}

static void query_async_job_result(struct api_call *c)
{
	c->state = mem_zalloc(sizeof(struct job_row));
	c->state_free = row_free;
	if (!c->state)
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
	else
		api_read(c, query_run, query_then);
}

/* ---- the tables ---- */

/* clang-format off */
static const struct api_param_spec query_params[] = {
	{"jobid", API_UUID, true, "The job", ENTITY_NONE, 0, false},
};
static const struct api_field query_fields[] = {
	{"jobid", "string", "Id of the job"},
	{"jobstatus", "integer", "0 running, 1 done, 2 failed"},
	{"jobprocstatus", "integer", "0"},
	{"jobresultcode", "integer", "0, or the error code"},
	{"jobresulttype", "string", "object"},
	{"jobresult", "responseobject", "What came out of it"},
	{"jobinstancetype", "string", "What it is about"},
	{"jobinstanceid", "string", "Which one"},
	{"cmd", "string", "The command"},
	{"account", "string", "Who asked"},
	{"domainpath", "string", "ROOT"},
	{"managementserverid", "string", "Management server that runs it"},
	{"managementservername", "string", "Name of that server"},
	{"created", "date", "When it began"},
	{"completed", "date", "When it ended"},
};
static const struct api_route routes[] = {
	{.name = "queryAsyncJobResult", .handle = query_async_job_result, .right = RIGHT_ANY, .is_read = true,
	 .description = "Tells how a job stands", ROUTE_PARAMS(query_params), ROUTE_FIELDS(query_fields)},
};
/* clang-format on */
const struct api_routes api_jobs_routes = {routes, ARRAY_SIZE(routes)};
