/*
 * Join tokens over the API: createJoinToken, createRejoinToken, listJoinTokens, revokeJoinToken. A token's text is in
 * the one answer that makes it; the store keeps a hash of its secret.
 */
#include "server/api.h"

#include <stdio.h>
#include <string.h>

#define LIFETIME_MAX_S 31536000
#define USES_MAX 100000
#define SERVERS_MAX 16 /* of ca/policy.h: as many as a token holds */

/* ---- making one ---- */

void api_token_free(struct api_token *t)
{
	if (t->text)
		mem_wipe(t->text, strlen(t->text));
	t->text = mem_free(t->text);
	token_row_deinit(&t->row);
}

static enum err add_server(struct str_list *out, const struct server_row *row)
{
	struct server_address a;
	char text[SERVER_HOST_MAX + 9];

	if (out->n == SERVERS_MAX || server_address_parse(&a, row->address, NULL))
		return ERR_OK;
	if (!a.port)
		a.port = (uint16_t)row->port;
	server_address_format(text, sizeof(text), &a);
	return str_list_has(out, text) ? ERR_OK : str_list_add(out, text);
}

/* Where the joiner asks: this server first, those that are Up, then the rest. */
static enum err add_servers(struct str_list *out, struct server *s)
{
	const struct member_server *own = roster_server(s, s->msid);
	enum err e = own ? add_server(out, &own->row) : ERR_OK;

	for (int up = 1; up >= 0; up--)
		list_for (m, &s->servers, struct member_server, in_servers)
			if (!e && (m->row.state == SERVER_UP) == (up == 1))
				e = add_server(out, &m->row);
	return e;
}

static enum err fill_row(struct token_row *row, const struct token *t, const struct api_token_wish *w)
{
	char hash[FINGERPRINT_TEXT];

	token_hash(hash, t->id, t->secret);
	row->id = mem_strdup(t->id);
	row->hash = mem_strdup(hash);
	row->role = mem_strdup(w->role);
	row->bound_name = mem_strdup(w->name);
	row->bound_guid = mem_strdup(w->guid);
	row->bound_zone = mem_strdup(w->zone);
	row->keeps_certificates = w->keeps_certificates;
	row->uses_left = w->uses ? w->uses : 1;
	row->host_id = w->host_id;
	return row->id && row->hash && row->role && (!w->name || row->bound_name) && (!w->guid || row->bound_guid) &&
			       (!w->zone || row->bound_zone)
		       ? ERR_OK
		       : ERR_NOMEM;
}

enum err api_token_make(struct api_token *out, struct server *s, const struct api_token_wish *w)
{
	struct token t = {.role = str_equal(w->role, "server") ? CERT_ROLE_SERVER : CERT_ROLE_AGENT};
	int64_t lifetime_s = w->lifetime_s > 0 ? w->lifetime_s : config_number(s, "join.token.lifetime", 0);
	uint8_t id[8], secret[TOKEN_SECRET_BYTES];
	enum err e;

	world_entropy(s->world, id, sizeof(id));
	world_entropy(s->world, secret, sizeof(secret));
	hex_encode(t.id, id, sizeof(id));
	hex_encode(t.secret, secret, sizeof(secret));
	mem_wipe(secret, sizeof(secret));
	str_copy(t.fingerprint, sizeof(t.fingerprint), s->ca->ops->fingerprint(s->ca));
	e = add_servers(&t.servers, s);
	if (!e)
		e = fill_row(&out->row, &t, w);
	if (!e) {
		out->text = token_format(&t);
		e = out->text ? ERR_OK : ERR_NOMEM;
	}
	token_deinit(&t);
	out->row.created_ms = world_wall_ms(s->world);
	out->row.expires_ms = out->row.created_ms + lifetime_s * 1000;
	if (e)
		api_token_free(out);
	return e;
}

/* ---- createJoinToken, createRejoinToken ---- */

static void token_free(void *state)
{
	api_token_free(state);
	mem_free(state);
}

/* Whom it is for. */
static void put_binding(struct server *s, json_t *o, const struct token_row *row)
{
	const struct host *h = row->host_id ? roster_host(s, row->host_id) : NULL;

	if (!h && row->bound_guid)
		h = roster_by_guid(s, row->bound_guid);
	api_put_text(o, "name", row->bound_name);
	api_put_text(o, "zone", row->bound_zone);
	api_put_text(o, "hostid", h ? h->row.uuid : NULL);
	api_put_text(o, "hostname", h ? h->row.name : NULL);
	if (row->keeps_certificates)
		api_put_flag(o, "keepcertificate", true);
}

static enum err create_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct api_token *t = c->state;

	return store_token_add(tx, &t->row);
}

static void create_then(struct api_call *c, enum err result, const char *sentence)
{
	struct api_token *t = c->state;
	json_t *o;

	if (result) {
		api_fail_err(c, result, sentence);
		return;
	}
	event_add(c->server, "TOKEN.CREATE", "INFO", t->row.host_id, "%s made join token %s for %s, %lld uses",
		  c->account, t->row.id, t->row.role, (long long)t->row.uses_left);
	o = json_object();
	api_put_text(o, "id", t->row.id);
	api_put_text(o, "token", t->text);
	api_put_text(o, "role", t->row.role);
	api_put_date(o, "expires", t->row.expires_ms);
	api_put_number(o, "uses", t->row.uses_left);
	put_binding(c->server, o, &t->row);
	api_answer_object(c, "jointoken", o);
}

static bool in_range(struct api_call *c, const char *name, int64_t n, int64_t most)
{
	if (!api_has(c, name) || (n >= 1 && n <= most))
		return true;
	api_fail(c, API_BAD_PARAM, CS_VALUE, "%s: %lld is not between 1 and %lld", name, (long long)n, (long long)most);
	return false;
}

static void create_begin(struct api_call *c, struct api_token_wish *w)
{
	struct api_token *t = mem_zalloc(sizeof(*t));

	c->state = t;
	c->state_free = token_free;
	w->lifetime_s = api_number(c, "lifetime", 0);
	if (!in_range(c, "lifetime", w->lifetime_s, LIFETIME_MAX_S))
		return;
	if (!t || api_token_make(t, c->server, w))
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
	else
		api_write(c, create_run, create_then);
}

static const char *text_or_null(struct api_call *c, const char *name)
{
	const char *text = api_text(c, name);

	return str_is_blank(text) ? NULL : text;
}

/* The name of a zone that is said by its name, id or uuid. One that nobody is in yet comes with its first host. */
static const char *zone_name(const struct server *s, const char *said)
{
	char number[24];

	for (size_t i = 0; said && i < s->n_places; i++) {
		const struct place_row *p = &s->places[i];

		if (p->kind != PLACE_ZONE)
			continue;
		snprintf(number, sizeof(number), "%lld", (long long)p->id);
		if (str_equal(p->uuid, said) || str_equal(number, said))
			return p->name;
	}
	return said;
}

static bool wish_is_whole(struct api_call *c, const struct api_token_wish *w)
{
	bool is_agent = strcmp(w->role, "agent") == 0;

	if (!is_agent && strcmp(w->role, "server") != 0)
		api_fail(c, API_BAD_PARAM, CS_VALUE, "role: \"%.64s\" is neither agent nor server", w->role);
	else if (w->guid && (w->uses != 1 || !is_agent))
		api_fail(c, API_BAD_PARAM, CS_VALUE, "A token for one host is for an agent, once");
	else if (w->zone && (w->guid || !is_agent))
		api_fail(c, API_BAD_PARAM, CS_VALUE, "A token for a zone is for new hosts");
	else if (w->zone && !join_place_is_valid(w->zone))
		api_fail(c, API_BAD_PARAM, CS_VALUE, "zone: 1 to 255 bytes without control characters");
	else
		return in_range(c, "uses", w->uses, USES_MAX);
	return false;
}

static void create_join_token(struct api_call *c)
{
	const struct host *h = api_has(c, "hostid") ? roster_host(c->server, api_number(c, "hostid", 0)) : NULL;
	struct api_token_wish w = {
		.role = text_or_null(c, "role"),
		.uses = api_number(c, "uses", 1),
		.name = text_or_null(c, "name"),
		.zone = zone_name(c->server, text_or_null(c, "zone")),
		.guid = h ? h->row.guid : NULL,
		.host_id = h ? h->row.id : 0,
	};

	if (!w.role)
		w.role = "agent";
	if (wish_is_whole(c, &w))
		create_begin(c, &w);
}

static void create_rejoin_token(struct api_call *c)
{
	const struct host *h = roster_host(c->server, api_number(c, "hostid", 0));
	struct api_token_wish w = {.role = "agent", .uses = 1, .keeps_certificates = api_flag(c, "keepcertificate")};

	/* It was there when the parameter was looked at. */
	if (!h) {
		api_fail(c, API_BAD_PARAM, CS_VALUE, "There is no such host");
		return;
	}
	w.guid = h->row.guid;
	w.host_id = h->row.id;
	create_begin(c, &w);
}

/* ---- listJoinTokens ---- */

struct tokens {
	struct token_row *rows;
	size_t n;
};

static void tokens_clear(struct tokens *t)
{
	for (size_t i = 0; i < t->n; i++)
		token_row_deinit(&t->rows[i]);
	t->rows = mem_free(t->rows);
	t->n = 0;
}

static void tokens_free(void *state)
{
	tokens_clear(state);
	mem_free(state);
}

static enum err list_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct tokens *t = c->state;

	tokens_clear(t);
	return store_token_list(tx, &t->rows, &t->n);
}

static const char *state_of(const struct token_row *row, int64_t now_ms)
{
	if (row->revoked)
		return "revoked";
	if (row->uses_left <= 0)
		return "used";
	return row->expires_ms <= now_ms ? "expired" : "valid";
}

static json_t *token_object(struct server *s, const struct token_row *row)
{
	json_t *o = json_object();

	api_put_text(o, "id", row->id);
	api_put_text(o, "role", row->role);
	api_put_date(o, "created", row->created_ms);
	api_put_date(o, "expires", row->expires_ms);
	api_put_number(o, "usesleft", row->uses_left);
	api_put_number(o, "uses", row->uses + row->uses_left);
	api_put_text(o, "state", state_of(row, world_wall_ms(s->world)));
	put_binding(s, o, row);
	return o;
}

static bool token_is_wanted(struct api_call *c, const struct token_row *row)
{
	const char *keyword = api_text(c, "keyword");
	const char *state = state_of(row, world_wall_ms(c->server->world));

	return api_matches(row->id, api_text(c, "id")) && api_matches(state, api_text(c, "state")) &&
	       (api_contains(row->id, keyword) || api_contains(row->role, keyword) ||
		api_contains(row->bound_name, keyword) || api_contains(row->bound_zone, keyword));
}

static void list_then(struct api_call *c, enum err result, const char *sentence)
{
	struct tokens *t = c->state;
	size_t n = 0, first, end, at = 0;
	json_t *page;

	if (result) {
		api_fail_err(c, result, sentence);
		return;
	}
	for (size_t i = 0; i < t->n; i++)
		n += token_is_wanted(c, &t->rows[i]);
	api_page(c, n, &first, &end);
	page = json_array();
	for (size_t i = 0; i < t->n; i++) {
		if (!token_is_wanted(c, &t->rows[i]))
			continue;
		if (at >= first && at < end)
			json_array_append_new(page, token_object(c->server, &t->rows[i]));
		at++;
	}
	api_answer_list(c, "jointoken", page, n);
}

static void list_join_tokens(struct api_call *c)
{
	c->state = mem_zalloc(sizeof(struct tokens));
	c->state_free = tokens_free;
	if (!c->state)
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
	else
		api_read(c, list_run, list_then);
}

/* ---- revokeJoinToken ---- */

static enum err revoke_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	enum err e = store_token_revoke(tx, api_text(c, "id"));

	if (e == ERR_NOT_FOUND)
		why_set(why, "There is no join token %.64s", api_text(c, "id"));
	return e;
}

static void revoke_then(struct api_call *c, enum err result, const char *sentence)
{
	if (result) {
		api_fail_err(c, result, sentence);
		return;
	}
	event_add(c->server, "TOKEN.REVOKE", "INFO", 0, "%s revoked join token %s", c->account, api_text(c, "id"));
	api_answer_success(c);
}

static void revoke_join_token(struct api_call *c)
{
	api_write(c, revoke_run, revoke_then);
}

/* ---- the tables ---- */

/* clang-format off */
static const struct api_param_spec create_params[] = {
	{"role", API_STRING, false, "agent (default) or server", ENTITY_NONE, 0, false},
	{"lifetime", API_LONG, false, "Seconds that it is valid; default: join.token.lifetime", ENTITY_NONE, 0, false},
	{"uses", API_INTEGER, false, "How often it can be used; default: 1", ENTITY_NONE, 0, false},
	{"name", API_STRING, false, "Only for the machine of this name", ENTITY_NONE, 0, false},
	{"zone", API_STRING, false, "Only for this zone: hosts that join with it are in it, and stay there", ENTITY_NONE, 0, false},
	{"hostid", API_UUID, false, "Only for this host", ENTITY_HOST, 0, false},
};
static const struct api_param_spec rejoin_params[] = {
	{"hostid", API_UUID, true, "The host", ENTITY_HOST, 0, false},
	{"lifetime", API_LONG, false, "Seconds that it is valid; default: join.token.lifetime", ENTITY_NONE, 0, false},
	{"keepcertificate", API_BOOLEAN, false, "Do not revoke its old certificates when it is used", ENTITY_NONE, 0, false},
};
static const struct api_param_spec list_params[] = {
	{"id", API_STRING, false, "The token", ENTITY_NONE, 0, false},
	{"state", API_STRING, false, "valid, used, expired or revoked", ENTITY_NONE, 0, false},
	API_LIST_PARAMS,
};
static const struct api_param_spec id_params[] = {
	{"id", API_STRING, true, "The token", ENTITY_NONE, 0, false},
};
static const struct api_field create_fields[] = {
	{"id", "string", "Id of the token"},
	{"token", "string", "The token, shown once"},
	{"role", "string", "agent or server"},
	{"expires", "date", "When it ends"},
	{"uses", "integer", "How often it can be used"},
	{"name", "string", "Machine that it is for"},
	{"zone", "string", "Zone that it is for"},
	{"hostid", "string", "Host that it is for"},
	{"hostname", "string", "Name of that host"},
	{"keepcertificate", "boolean", "The host's old certificates stay good"},
};
static const struct api_field list_fields[] = {
	{"id", "string", "Id of the token"},
	{"role", "string", "agent or server"},
	{"created", "date", "When it was made"},
	{"expires", "date", "When it ends"},
	{"usesleft", "integer", "How often it can still be used"},
	{"uses", "integer", "How often it could be used"},
	{"state", "string", "valid, used, expired or revoked"},
	{"name", "string", "Machine that it is for"},
	{"zone", "string", "Zone that it is for"},
	{"hostid", "string", "Host that it is for"},
	{"hostname", "string", "Name of that host"},
	{"keepcertificate", "boolean", "The host's old certificates stay good"},
};
static const struct api_field success_fields[] = {
	{"success", "boolean", "true"},
	{"displaytext", "string", "More about it"},
};
static const struct api_route routes[] = {
	{.name = "createJoinToken", .handle = create_join_token, .right = RIGHT_ADMIN,
	 .description = "Makes a token that machines join the cluster with", ROUTE_PARAMS(create_params), ROUTE_FIELDS(create_fields)},
	{.name = "createRejoinToken", .handle = create_rejoin_token, .right = RIGHT_ADMIN,
	 .description = "Makes a token with which a known host gets a new certificate", ROUTE_PARAMS(rejoin_params),
	 ROUTE_FIELDS(create_fields)},
	{.name = "listJoinTokens", .handle = list_join_tokens, .right = RIGHT_ADMIN, .is_list = true, .is_read = true,
	 .description = "Lists join tokens", ROUTE_PARAMS(list_params), ROUTE_FIELDS(list_fields)},
	{.name = "revokeJoinToken", .handle = revoke_join_token, .right = RIGHT_ADMIN,
	 .description = "Makes a join token useless", ROUTE_PARAMS(id_params), ROUTE_FIELDS(success_fields)},
};
/* clang-format on */
const struct api_routes api_tokens_routes = {routes, ARRAY_SIZE(routes)};
