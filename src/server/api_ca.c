/*
 * The CA over the API: listCAProviders, listCaCertificate (query-api 2.14). What is private never passes here: a CA is
 * imported by `muster-server ca import`.
 */
#include "server/api.h"

#include <string.h>
#include <strings.h>

static void list_ca_providers(struct api_call *c)
{
	const struct ca_provider_ops *ops = c->server->ca->ops;
	const char *name = api_text(c, "name");
	json_t *page = json_array(), *o;
	bool matches = !name || strcasecmp(name, ops->name) == 0;

	if (matches) {
		o = json_object();
		api_put_text(o, "name", ops->name);
		api_put_text(o, "description", ops->description);
		json_array_append_new(page, o);
	}
	api_answer_list(c, "caprovider", page, matches);
}

static void put_prepared(json_t *o, const struct server *s)
{
	struct cert_info c;

	if (!s->rotation.next_cert || cert_info_parse(&c, s->rotation.next_cert, NULL))
		return;
	api_put_text(o, "musterprepared", c.common_name);
	cert_info_deinit(&c);
}

static void list_ca_certificate(struct api_call *c)
{
	struct server *s = c->server;
	const char *provider = api_text(c, "provider");
	struct cert_info ca;
	struct why why = WHY_NONE;
	json_t *o;
	enum err e;

	if (provider && strcasecmp(provider, s->ca->ops->name) != 0) {
		api_fail(c, API_FAILED, CS_VALUE, "%s is not the CA provider of this cluster, %s is", provider,
			 s->ca->ops->name);
		return;
	}
	e = cert_info_parse(&ca, s->ca->ops->chain(s->ca), &why);
	if (e) {
		api_fail_err(c, e, why_text(&why, e));
		return;
	}
	o = json_object();
	api_put_text(o, "certificate", s->ca_chain);
	api_put_text(o, "musterprovider", s->ca->ops->name);
	api_put_text(o, "musterdescription", s->ca->ops->description);
	api_put_text(o, "mustersubject", ca.common_name);
	api_put_text(o, "musterissuer", ca.issuer);
	api_put_text(o, "musterfingerprint", ca.fingerprint);
	api_put_text(o, "musterkey", ca.is_rsa ? "RSA" : ca.is_ec ? "EC" : "other");
	api_put_number(o, "musterkeybits", ca.key_bits);
	api_put_date(o, "musternotbefore", ca.not_before_s * 1000);
	api_put_date(o, "musternotafter", ca.not_after_s * 1000);
	api_put_number(o, "musterdaysleft", (ca.not_after_s - world_wall_ms(s->world) / 1000) / 86400);
	api_put_text(o, "musterrotation", s->rotation.phase ? rotation_phase_name(s->rotation.phase) : NULL);
	put_prepared(o, s);
	api_put_flag(o, "mustercanissue", s->ca->ops->can_issue(s->ca));
	api_put_text(o, "musteransweredby", s->p.name);
	if (!s->ca->ops->can_issue(s->ca))
		api_put_text(o, "mustercannot", s->ca->ops->cannot);
	cert_info_deinit(&ca);
	api_answer_object(c, "cacertificates", o);
}

/* clang-format off */
static const struct api_param_spec providers_params[] = {
	{"name", API_STRING, false, "Name of the provider", ENTITY_NONE, 0, false},
	API_LIST_PARAMS,
};
static const struct api_param_spec certificate_params[] = {
	{"provider", API_STRING, false, "Name of the provider", ENTITY_NONE, 0, false},
};
static const struct api_field providers_fields[] = {
	{"name", "string", "Name of the provider"},
	{"description", "string", "What it is"},
};
static const struct api_field certificate_fields[] = {
	{"certificate", "string", "The CA certificates, PEM; the one that signs is the first"},
	{"musterprovider", "string", "Who signs: root or exec"},
	{"musterdescription", "string", "What that is"},
	{"mustersubject", "string", "Common name of the CA that signs"},
	{"musterissuer", "string", "Who has signed its certificate"},
	{"musterfingerprint", "string", "SHA-256 of its certificate, as in tokens"},
	{"musterkey", "string", "Kind of its key: EC, RSA or other"},
	{"musterkeybits", "integer", "Length of its key"},
	{"musternotbefore", "date", "From when on it is valid"},
	{"musternotafter", "date", "Until when it is valid"},
	{"musterdaysleft", "integer", "Days until then"},
	{"musterrotation", "string", "The phase of the rotation that is under way"},
	{"musterprepared", "string", "Common name of the CA that the next rotation begins with"},
	{"mustercanissue", "boolean", "The server that answers can issue certificates"},
	{"mustercannot", "string", "Why it can't"},
	{"musteransweredby", "string", "The server that answers"},
};
static const struct api_route routes[] = {
	{.name = "listCAProviders", .handle = list_ca_providers, .right = RIGHT_ADMIN, .is_list = true, .is_read = true,
	 .description = "Lists the CA providers", ROUTE_PARAMS(providers_params), ROUTE_FIELDS(providers_fields)},
	{.name = "listCaCertificate", .handle = list_ca_certificate, .right = RIGHT_ADMIN, .is_read = true,
	 .description = "Tells the certificates of the CA", ROUTE_PARAMS(certificate_params), ROUTE_FIELDS(certificate_fields)},
};
/* clang-format on */
const struct api_routes api_ca_routes = {routes, ARRAY_SIZE(routes)};
