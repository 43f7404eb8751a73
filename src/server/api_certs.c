/*
 * Certificates over the API: listCertificates, getRevocationList. What changes some is in api_cert_change.c.
 */
#include "server/api.h"

#include <string.h>
#include <strings.h>

#define DAY_S 86400
#define EXPIRES_IN_MAX 36500
#define PAGE_MOST 500

static const char *const state_names[CERT_STATES] = {"inuse", "valid", "superseded", "expired", "revoked"};

/* ---- what servers show, which only they and their peers know ---- */

static enum err add_in_use(struct buf *b, const char *serial)
{
	return buf_printf(b, "%s%s,", b->len ? "" : ",", serial);
}

static enum err add_pem(struct buf *b, const char *pem)
{
	struct cert_info c;
	enum err e;

	if (!pem || cert_info_parse(&c, pem, NULL))
		return ERR_OK;
	e = add_in_use(b, c.serial);
	cert_info_deinit(&c);
	return e;
}

static enum err servers_in_use(char **out, const struct server *s)
{
	CLEAN(buf_deinit) struct buf b = {0};
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < OWN_CERT_KINDS; i++)
		e = add_pem(&b, s->own[i].cert);
	list_for (x, (struct list *)(uintptr_t)&s->sessions, struct session, in_sessions)
		if (!e && x->state == SESSION_PEER && x->link && link_peer(x->link)->has_cert)
			e = add_in_use(&b, link_peer(x->link)->cert.serial);
	if (!e) {
		*out = buf_take_str(&b);
		e = *out ? ERR_OK : ERR_NOMEM;
	}
	return e;
}

/* ---- listCertificates ---- */

struct listing {
	struct cert_question q;
	char serial[SERIAL_TEXT];
	char *in_use, *subject; /* owned */
	json_t *page;
	struct cert_cursor cursor;
	/* found by the last look */
	struct cert_cursor next;
	struct cert_view *views;
	size_t n;
};

static void views_clear(struct listing *l)
{
	for (size_t i = 0; i < l->n; i++)
		cert_view_deinit(&l->views[i]);
	l->views = mem_free(l->views);
	l->n = 0;
}

static void listing_free(void *state)
{
	struct listing *l = state;

	views_clear(l);
	json_decref(l->page);
	mem_free(l->in_use);
	mem_free(l->subject);
	mem_free(l);
}

static enum err list_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct listing *l = c->state;

	views_clear(l);
	l->next = l->cursor;
	return store_cert_views_some(tx, &l->q, &l->next, &l->views, &l->n);
}

static void put_days(json_t *o, int64_t not_after_s, int64_t now_s)
{
	/* Rounded down, so that "0" is the last day and what is over is below. */
	int64_t left = not_after_s - now_s;

	if (not_after_s)
		api_put_number(o, "daysleft", left >= 0 ? left / DAY_S : -1 - (-left - 1) / DAY_S);
}

static void put_subject(json_t *o, struct server *s, const struct cert_view *v)
{
	const struct host *h = v->host_id ? roster_host(s, v->host_id) : NULL;
	const struct member_server *m =
		str_equal(v->role, "server") && v->subject_id ? roster_server_by_uuid(s, v->subject_id) : NULL;

	if (h) {
		api_put_text(o, "hostid", h->row.uuid);
		api_put_text(o, "hostname", h->row.name);
	}
	if (m) {
		api_put_text(o, "managementserverid", m->row.uuid);
		api_put_text(o, "managementservername", m->row.name);
	}
}

static json_t *cert_object(struct server *s, const struct cert_view *v, bool pem)
{
	json_t *o = json_object();

	api_put_text(o, "serial", v->serial);
	api_put_text(o, "cn", v->common_name && *v->common_name ? v->common_name : NULL);
	api_put_text(o, "role", v->role);
	api_put_text(o, "subject", v->subject_id && *v->subject_id ? v->subject_id : NULL);
	put_subject(o, s, v);
	api_put_text(o, "issuer", v->issuer && *v->issuer ? v->issuer : NULL);
	api_put_date(o, "notbefore", v->not_before_s * 1000);
	api_put_date(o, "notafter", v->not_after_s * 1000);
	put_days(o, v->not_after_s, world_wall_ms(s->world) / 1000);
	api_put_text(o, "state", state_names[v->state]);
	api_put_flag(o, "issuedhere", v->pem != NULL);
	api_put_date(o, "revoked", v->revoked_ms);
	api_put_text(o, "revokedby", v->revoked_by);
	api_put_text(o, "reason", v->reason);
	if (pem)
		api_put_text(o, "certificate", v->pem);
	return o;
}

static void list_then(struct api_call *c, enum err result, const char *sentence)
{
	struct listing *l = c->state;

	if (result) {
		api_fail_err(c, result, sentence);
		return;
	}
	l->cursor = l->next;
	for (size_t i = 0; i < l->n; i++)
		json_array_append_new(l->page, cert_object(c->server, &l->views[i], api_flag(c, "pem")));
	/* A slice at a time: what else the store is asked comes in between. */
	if (l->cursor.is_over)
		api_answer_list(c, "certificate", STEAL(l->page), l->cursor.count);
	else
		api_read(c, list_run, list_then);
}

static unsigned state_bit(const char *name, size_t n)
{
	for (size_t i = 0; i < CERT_STATES; i++)
		if (n == strlen(state_names[i]) && strncasecmp(name, state_names[i], n) == 0)
			return 1u << i;
	return 0;
}

/* "inuse,valid" */
static bool take_states(struct api_call *c, struct listing *l)
{
	const char *text = api_text(c, "state");
	unsigned bit;

	l->q.states = str_is_blank(text) ? (1u << CERT_STATES) - 1 : 0;
	while (text && *text) {
		size_t n = strcspn(text, ",");

		if (n && !(bit = state_bit(text, n))) {
			api_fail(c, API_BAD_PARAM, CS_VALUE,
				 "state: \"%.*s\" is none of inuse, valid, superseded, expired, revoked",
				 (int)(n > 64 ? 64 : n), text);
			return false;
		}
		l->q.states |= n ? bit : 0;
		text += n + (text[n] == ',');
	}
	return true;
}

static bool take_role(struct api_call *c, struct listing *l)
{
	const char *role = api_text(c, "role");

	if (str_is_blank(role))
		return true;
	if (!str_equal(role, "agent") && !str_equal(role, "server") && !str_equal(role, "other")) {
		api_fail(c, API_BAD_PARAM, CS_VALUE, "role: \"%.64s\" is none of agent, server, other", role);
		return false;
	}
	l->q.role = role;
	return true;
}

static bool take_serial(struct api_call *c, struct listing *l)
{
	if (!api_has(c, "serial"))
		return true;
	if (!cert_serial_normal(l->serial, api_text(c, "serial"))) {
		api_fail(c, API_BAD_PARAM, CS_VALUE, "serial: \"%.64s\" is not a number in hex", api_text(c, "serial"));
		return false;
	}
	l->q.serial = l->serial;
	return true;
}

static bool take_when(struct api_call *c, struct listing *l)
{
	int64_t days = api_number(c, "expiresin", 0);

	if (!api_has(c, "expiresin"))
		return true;
	if (days < 0 || days > EXPIRES_IN_MAX) {
		api_fail(c, API_BAD_PARAM, CS_VALUE, "expiresin: %lld is not between 0 and %d", (long long)days,
			 EXPIRES_IN_MAX);
		return false;
	}
	l->q.ends_before_s = l->q.now_s + days * DAY_S + 1;
	return true;
}

/* One host or one server. */
static enum err take_subject(struct api_call *c, struct listing *l)
{
	const struct host *h = api_has(c, "hostid") ? roster_host(c->server, api_number(c, "hostid", 0)) : NULL;
	const struct member_server *m = api_has(c, "managementserverid")
						? roster_server(c->server, api_number(c, "managementserverid", 0))
						: NULL;

	if (!h && !m)
		return ERR_OK;
	l->subject = mem_strdup(h ? h->row.guid : m->row.uuid);
	l->q.subject_id = l->subject;
	return l->subject ? ERR_OK : ERR_NOMEM;
}

static void list_certificates(struct api_call *c)
{
	struct listing *l = mem_zalloc(sizeof(*l));

	c->state = l;
	c->state_free = listing_free;
	if (!l || servers_in_use(&l->in_use, c->server) || take_subject(c, l)) {
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	l->page = json_array();
	l->q.now_s = world_wall_ms(c->server->world) / 1000;
	l->q.in_use = l->in_use;
	l->q.keyword = api_text(c, "keyword");
	l->q.first = c->paging.first;
	l->q.room = c->paging.room;
	if (take_states(c, l) && take_role(c, l) && take_serial(c, l) && take_when(c, l))
		api_read(c, list_run, list_then);
}

/* ---- getRevocationList ---- */

static void put_list(json_t *o, const struct server_crl_part *l)
{
	api_put_number(o, "number", (int64_t)l->number);
	api_put_number(o, "entries", l->entries);
	api_put_date(o, "thisupdate", l->this_s * 1000);
	api_put_date(o, "nextupdate", l->next_s * 1000);
}

static void get_revocation_list(struct api_call *c)
{
	struct server_crl crl;
	json_t *o, *each;

	if (!server_crl(c->server, &crl)) {
		api_fail(c, API_FAILED, CS_RUNTIME, "No list: %s", crl.why_none);
		return;
	}
	o = json_object();
	api_put_text(o, "crl", crl.pem);
	put_list(o, &crl.parts[0]);
	each = json_array();
	for (size_t i = 0; i < crl.n_parts; i++) {
		json_t *one = json_object();

		put_list(one, &crl.parts[i]);
		api_put_text(one, "ca", crl.parts[i].ca);
		api_put_flag(one, "signs", crl.parts[i].signs);
		json_array_append_new(each, one);
	}
	json_object_set_new(o, "lists", each);
	api_put_text(o, "problem", server_crl_problem(c->server));
	api_answer_object(c, "revocationlist", o);
}

/* ---- the tables ---- */

/* clang-format off */
static const struct api_param_spec list_params[] = {
	{"hostid", API_UUID, false, "Of this host", ENTITY_HOST, 0, false},
	{"managementserverid", API_UUID, false, "Of this management server", ENTITY_SERVER, 0, false},
	{"role", API_STRING, false, "agent, server or other", ENTITY_NONE, 0, false},
	{"state", API_STRING, false, "inuse, valid, superseded, expired, revoked; several with commas", ENTITY_NONE, 0, false},
	{"serial", API_STRING, false, "The one with this number, in hex", ENTITY_NONE, 0, false},
	{"expiresin", API_INTEGER, false, "Those that end within so many days, or have ended", ENTITY_NONE, 0, false},
	{"pem", API_BOOLEAN, false, "With the certificates themselves", ENTITY_NONE, 0, false},
	API_LIST_PARAMS,
};
static const struct api_param_spec no_params[] = {
	{"keyword", API_STRING, false, "Not used", ENTITY_NONE, 0, true},
};
static const struct api_field list_fields[] = {
	{"serial", "string", "Its number, hex"},
	{"cn", "string", "Common name"},
	{"role", "string", "agent, server or other; not there: not known"},
	{"subject", "string", "Guid of the host, id of the management server"},
	{"hostid", "string", "The host that it is for"},
	{"hostname", "string", "Name of that host"},
	{"managementserverid", "string", "The management server that it is for"},
	{"managementservername", "string", "Name of that server"},
	{"issuer", "string", "Key identifier of the CA that signed it, hex"},
	{"notbefore", "date", "From when on it is valid"},
	{"notafter", "date", "Until when it is valid"},
	{"daysleft", "integer", "Days until then; below 0: it has expired"},
	{"state", "string", "inuse, valid, superseded, expired or revoked"},
	{"issuedhere", "boolean", "It was issued by this cluster and is kept"},
	{"revoked", "date", "When it was revoked"},
	{"revokedby", "string", "Who revoked it"},
	{"reason", "string", "Why"},
	{"certificate", "string", "PEM, where it was asked for and is kept"},
};
static const struct api_field crl_fields[] = {
	{"crl", "string", "The signed lists, PEM: one of each CA that is trusted, the one of the CA that signs first"},
	{"number", "long", "Number of the first, higher than the last one's"},
	{"entries", "integer", "How many certificates it names"},
	{"thisupdate", "date", "When it was made"},
	{"nextupdate", "date", "When the next one comes, at the latest"},
	{"lists", "list", "The same of each: ca (fingerprint), signs, number, entries, thisupdate, nextupdate"},
	{"problem", "string", "Why one of them isn't there or isn't renewed"},
};
static const struct api_route routes[] = {
	{.name = "listCertificates", .handle = list_certificates, .right = RIGHT_ADMIN, .is_list = true, .is_read = true, .page_most = PAGE_MOST,
	 .description = "Lists the certificates that were issued, revoked or seen on hosts, the newest first", ROUTE_PARAMS(list_params), ROUTE_FIELDS(list_fields)},
	{.name = "getRevocationList", .handle = get_revocation_list, .right = RIGHT_ADMIN, .is_read = true,
	 .description = "Tells the signed list of revoked certificates; also at /crl.pem and /crl.der, without a signature", ROUTE_PARAMS(no_params), ROUTE_FIELDS(crl_fields)},
};
/* clang-format on */
const struct api_routes api_certs_routes = {routes, ARRAY_SIZE(routes)};
