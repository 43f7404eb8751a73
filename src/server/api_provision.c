/*
 * provisionCertificate (query-api 2.14): a host's agent gets a new certificate over its link, as a job. How that goes
 * is provision.c's.
 */
#include "server/api.h"

#include <strings.h>

#include "server/provision.h"

/* A muster agent goes over to its new certificate by itself, and makes the new link before it leaves the old one. */
static const char *reconnect(struct server *s, struct host *h)
{
	if (!h || h->row.is_muster || host_reconnect(s, h) == ERR_OK)
		return NULL;
	return "It has its certificate, but could not be asked to reconnect";
}

static void provision_ends(void *user, int64_t host_id, enum err result, const char *sentence)
{
	struct api_job *j = user;
	struct host *h = roster_host(j->server, host_id);
	json_t *o;

	if (result) {
		api_job_fail(j, API_FAILED, "Host %s has no new certificate: %s", h ? h->row.name : "?", sentence);
		return;
	}
	o = json_object();
	api_put_flag(o, "success", true);
	if (json_is_true(json_object_get(j->object, "reconnect")))
		api_put_text(o, "displaytext", reconnect(j->server, h));
	api_job_succeed(j, o);
}

static void provision_work(struct api_job *j)
{
	struct host *h = roster_host(j->server, j->host_id);
	struct why why = WHY_NONE;

	if (!h)
		api_job_fail(j, API_FAILED, "The host is gone");
	else if (provision_host(j->server, h, RENEWAL_ASKED, provision_ends, j, &why))
		api_job_fail(j, API_FAILED, "Host %s can't be given a new certificate: %s", h->row.name, why.text);
}

static void provision_certificate(struct api_call *c)
{
	struct server *s = c->server;
	struct host *h = roster_host(s, api_number(c, "hostid", 0));
	const char *provider = api_text(c, "provider");
	json_t *asked;

	if (provider && strcasecmp(provider, s->ca->ops->name) != 0) {
		api_fail(c, API_FAILED, CS_VALUE, "%s is not the CA provider of this cluster, %s is", provider,
			 s->ca->ops->name);
		return;
	}
	if (api_flag(c, "forced")) {
		api_fail(c, API_BAD_PARAM, CS_API,
			 "Parameter forced: this would need SSH, which management servers here don't use; on a host "
			 "that has lost its certificate use muster-agent join, with a token from `muster host rejoin`");
		return;
	}
	asked = json_object();
	api_put_flag(asked, "reconnect", api_flag(c, "reconnect"));
	event_add(s, "CA.CERTIFICATE.PROVISION", "INFO", h->row.id, "%s asks for a new certificate of host %s%s",
		  c->account, h->row.name, h->row.secured ? "" : ", which was let in without one");
	api_job_begin(c, h, asked, provision_work);
}

/* ---- the table ---- */

/* clang-format off */
static const struct api_param_spec provision_params[] = {
	{"hostid", API_UUID, true, "The host", ENTITY_HOST, 0, false},
	{"reconnect", API_BOOLEAN, false, "Have a CloudStack agent reconnect afterwards; a muster agent always does, without a gap", ENTITY_NONE, 0, false},
	{"provider", API_STRING, false, "Name of the provider, the one in use", ENTITY_NONE, 0, false},
	{"forced", API_BOOLEAN, false, "Refused: it would mean SSH", ENTITY_NONE, 0, false},
	API_ASYNC_PARAMS,
};
static const struct api_field provision_fields[] = {
	{"success", "boolean", "The agent has taken its new certificate"},
	{"displaytext", "string", "What is left to be said"},
};
static const struct api_route routes[] = {
	{.name = "provisionCertificate", .handle = provision_certificate, .right = RIGHT_ADMIN, .is_async = true,
	 .description = "Gives a host's agent a new certificate over its link", ROUTE_PARAMS(provision_params),
	 ROUTE_FIELDS(provision_fields)},
};
/* clang-format on */
const struct api_routes api_provision_routes = {routes, ARRAY_SIZE(routes)};
