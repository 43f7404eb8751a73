/*
 * What is asked of a host's agent, as jobs (query-api 2.8): reconnectHost, and muster's own checkHost and
 * getHostStats. Wherever the agent is connected: requests.c and peer.c find the way.
 */
#include "server/api.h"

#include <string.h>

#define CHECK_MS 60000

static struct host *host_of(struct api_job *j)
{
	struct host *h = roster_host(j->server, j->host_id);

	if (!h)
		api_job_fail(j, API_FAILED, "The host is gone");
	return h;
}

static void reconnect_ends(struct api_job *j)
{
	json_t *result = json_object();

	json_object_set_new(result, "host", STEAL(j->object));
	api_job_succeed(j, result);
}

enum err host_reconnect(struct server *s, struct host *h)
{
	if (h->session && (h->session->state == SESSION_ATTACHED || h->session->state == SESSION_READY))
		session_end(h->session, ERR_CLOSED, "reconnect requested", EVENT_SHUTDOWN_REQUESTED);
	else if (h->row.status == HOST_DISCONNECTED)
		; /* it comes by itself */
	else if (h->row.owner && h->row.owner != s->msid)
		return peer_change_agent(s, h->row.owner, h->row.id, EVENT_SHUTDOWN_REQUESTED, NULL);
	else
		return ERR_STATE;
	return ERR_OK;
}

static void reconnect_work(struct api_job *j)
{
	struct host *h = host_of(j);
	enum err e;

	if (!h)
		return;
	e = host_reconnect(j->server, h);
	if (e == ERR_STATE)
		api_job_fail(j, API_FAILED, "Host %s is %s, not connected", h->row.name,
			     host_status_name(h->row.status));
	else if (e)
		api_job_fail(j, API_FAILED, "The management server that has host %s can't be reached", h->row.name);
	else
		reconnect_ends(j);
}

static void reconnect_host(struct api_call *c)
{
	struct host *h = roster_host(c->server, api_number(c, "id", 0));

	event_add(c->server, "HOST.RECONNECT", "INFO", h->row.id, "%s asks host %s to reconnect", c->account,
		  h->row.name);
	api_job_begin(c, h, host_object(c->server, &h->row, DETAIL_PLACE | DETAIL_EVENTS), reconnect_work);
}

static bool has_no_agent(struct api_job *j, enum err result, const char *sentence, const struct batch *answers)
{
	if (result)
		api_job_fail(j, API_NO_AGENT, "The agent could not be asked: %s", sentence);
	else if (!answers || !answers->n)
		api_job_fail(j, API_FAILED, "The agent's answer is empty");
	else
		return false;
	return true;
}

static void check_done(void *user, enum err result, const char *sentence, const struct batch *answers)
{
	struct api_job *j = user;
	json_t *o, *all;

	if (has_no_agent(j, result, sentence, answers))
		return;
	o = json_object();
	all = json_object();
	api_put_flag(o, "result", element_result(&answers->elements[0]));
	api_put_text(o, "details", element_details(&answers->elements[0]));
	json_object_set_new(all, "checkhost", o);
	api_job_succeed(j, all);
}

static void stats_done(void *user, enum err result, const char *sentence, const struct batch *answers)
{
	const struct msg_get_host_stats_answer *a;
	struct api_job *j = user;
	json_t *all;

	if (has_no_agent(j, result, sentence, answers))
		return;
	a = batch_find(answers, MSG_GET_HOST_STATS_ANSWER);
	if (!a || !element_result(&answers->elements[0]) || !json_is_object(a->hostStats)) {
		const char *details = element_details(&answers->elements[0]);

		api_job_fail(j, API_FAILED, "The agent has no statistics: %s", details ? details : "no reason given");
		return;
	}
	all = json_object();
	json_object_set(all, "hoststats", a->hostStats);
	api_job_succeed(j, all);
}

static void ask_agent(struct api_job *j, struct host *h, struct batch *b,
		      void (*done)(void *, enum err, const char *, const struct batch *))
{
	struct request_params p = {.wait_ms = CHECK_MS, .done = done, .user = j};
	char name[256];
	enum err e;

	str_copy(name, sizeof(name), h->row.name);
	e = request_to_host(j->server, h, b, &p);
	if (e)
		api_job_fail(j, API_NO_AGENT, "Host %s can't be asked: %s", name, err_text(e));
}

static void check_work(struct api_job *j)
{
	struct host *h = host_of(j);
	struct batch b = {0};

	if (!h)
		return;
	if (!batch_add(&b, MSG_CHECK_HEALTH))
		api_job_fail(j, API_FAILED, "out of memory");
	else
		ask_agent(j, h, &b, check_done);
	batch_deinit(&b);
}

static void check_host(struct api_call *c)
{
	api_job_begin(c, roster_host(c->server, api_number(c, "id", 0)), NULL, check_work);
}

static void stats_work(struct api_job *j)
{
	struct host *h = host_of(j);
	struct batch b = {0};
	struct msg_get_host_stats *m;

	if (!h)
		return;
	m = batch_add(&b, MSG_GET_HOST_STATS);
	if (!m || msg_set_text(&m->hostGuid, h->row.guid) || msg_set_text(&m->hostName, h->row.name)) {
		api_job_fail(j, API_FAILED, "out of memory");
	} else {
		msg_set_i64(&m->hostId, h->row.id);
		ask_agent(j, h, &b, stats_done);
	}
	batch_deinit(&b);
}

static void get_host_stats(struct api_call *c)
{
	api_job_begin(c, roster_host(c->server, api_number(c, "id", 0)), NULL, stats_work);
}

/* ---- the tables ---- */

/* clang-format off */
static const struct api_param_spec job_params[] = {
	{"id", API_UUID, true, "The host", ENTITY_HOST, 0, false},
	API_ASYNC_PARAMS,
};
static const struct api_field check_fields[] = {
	{"result", "boolean", "Is the host well?"},
	{"details", "string", "Why not"},
};
static const struct api_field stats_fields[] = {
	{"hoststats", "map", "What the agent answered"},
};
static const struct api_route routes[] = {
	{.name = "reconnectHost", .handle = reconnect_host, .right = RIGHT_ADMIN, .is_async = true,
	 .description = "Drops the link of a host's agent, which connects again", ROUTE_PARAMS(job_params), .fields = host_fields, .n_fields = HOST_N_FIELDS},
	{.name = "checkHost", .handle = check_host, .right = RIGHT_ADMIN, .is_async = true,
	 .description = "Asks a host's agent whether it is well", ROUTE_PARAMS(job_params), ROUTE_FIELDS(check_fields)},
	{.name = "getHostStats", .handle = get_host_stats, .right = RIGHT_ADMIN, .is_async = true,
	 .description = "Asks a host's agent for statistics", ROUTE_PARAMS(job_params), ROUTE_FIELDS(stats_fields)},
};
/* clang-format on */
const struct api_routes api_host_jobs_routes = {routes, ARRAY_SIZE(routes)};
