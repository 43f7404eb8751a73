/*
 * Join tokens over the API: createJoinToken, createRejoinToken, listJoinTokens, revokeJoinToken. A token's text is in
 * the one answer that makes it; the store keeps a hash of its secret.
 */
#include "server/api.h"

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

static enum err fill_row(struct token_row *row, const char *role, const struct token *t, const char *name,
			 const char *guid)
{
	char hash[FINGERPRINT_TEXT];

	token_hash(hash, t->id, t->secret);
	row->id = mem_strdup(t->id);
	row->hash = mem_strdup(hash);
	row->role = mem_strdup(role);
	row->bound_name = mem_strdup(name);
	row->bound_guid = mem_strdup(guid);
	return row->id && row->hash && row->role && (!name || row->bound_name) && (!guid || row->bound_guid)
		       ? ERR_OK
		       : ERR_NOMEM;
}

enum err api_token_make(struct api_token *out, struct server *s, const char *role, int64_t lifetime_s, int64_t uses,
			const char *name, const char *guid, int64_t host_id)
{
	struct token t = {.role = str_equal(role, "server") ? CERT_ROLE_SERVER : CERT_ROLE_AGENT};
	uint8_t id[8], secret[TOKEN_SECRET_BYTES];
	enum err e;

	if (lifetime_s <= 0)
		lifetime_s = config_number(s, "join.token.lifetime", 0);
	world_entropy(s->world, id, sizeof(id));
	world_entropy(s->world, secret, sizeof(secret));
	hex_encode(t.id, id, sizeof(id));
	hex_encode(t.secret, secret, sizeof(secret));
	mem_wipe(secret, sizeof(secret));
	str_copy(t.fingerprint, sizeof(t.fingerprint), s->ca->ops->fingerprint(s->ca));
	e = add_servers(&t.servers, s);
	if (!e)
		e = fill_row(&out->row, role, &t, name, guid);
	if (!e) {
		out->text = token_format(&t);
		e = out->text ? ERR_OK : ERR_NOMEM;
	}
	token_deinit(&t);
	out->row.created_ms = world_wall_ms(s->world);
	out->row.expires_ms = out->row.created_ms + lifetime_s * 1000;
	out->row.uses_left = uses;
	out->row.host_id = host_id;
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
	api_answer_object(c, "jointoken", o);
}

static bool in_range(struct api_call *c, const char *name, int64_t n, int64_t most)
{
	if (!api_has(c, name) || (n >= 1 && n <= most))
		return true;
	api_fail(c, API_BAD_PARAM, CS_VALUE, "%s: %lld is not between 1 and %lld", name, (long long)n, (long long)most);
	return false;
}

static void create_begin(struct api_call *c, const char *role, int64_t uses, const char *name, const struct host *h)
{
	struct api_token *t = mem_zalloc(sizeof(*t));
	int64_t lifetime_s = api_number(c, "lifetime", 0);

	c->state = t;
	c->state_free = token_free;
	if (!in_range(c, "lifetime", lifetime_s, LIFETIME_MAX_S))
		return;
	if (!t || api_token_make(t, c->server, role, lifetime_s, uses, name, h ? h->row.guid : NULL, h ? h->row.id : 0))
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
	else
		api_write(c, create_run, create_then);
}

static void create_join_token(struct api_call *c)
{
	const char *role = api_text(c, "role"), *name = api_text(c, "name");
	struct host *h = api_has(c, "hostid") ? roster_host(c->server, api_number(c, "hostid", 0)) : NULL;
	int64_t uses = api_number(c, "uses", 1);

	if (str_is_blank(role))
		role = "agent";
	if (str_is_blank(name))
		name = NULL;
	if (strcmp(role, "agent") != 0 && strcmp(role, "server") != 0) {
		api_fail(c, API_BAD_PARAM, CS_VALUE, "role: \"%.64s\" is neither agent nor server", role);
		return;
	}
	if (!in_range(c, "uses", uses, USES_MAX))
		return;
	if (h && (uses != 1 || strcmp(role, "agent") != 0)) {
		api_fail(c, API_BAD_PARAM, CS_VALUE, "A token for one host is for an agent, once");
		return;
	}
	create_begin(c, role, uses, name, h);
}

static void create_rejoin_token(struct api_call *c)
{
	create_begin(c, "agent", 1, NULL, roster_host(c->server, api_number(c, "hostid", 0)));
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
	const struct host *h = row->host_id ? roster_host(s, row->host_id) : NULL;
	json_t *o = json_object();

	if (!h && row->bound_guid)
		h = roster_by_guid(s, row->bound_guid);
	api_put_text(o, "id", row->id);
	api_put_text(o, "role", row->role);
	api_put_date(o, "created", row->created_ms);
	api_put_date(o, "expires", row->expires_ms);
	api_put_number(o, "usesleft", row->uses_left);
	api_put_number(o, "uses", row->uses + row->uses_left);
	api_put_text(o, "state", state_of(row, world_wall_ms(s->world)));
	api_put_text(o, "name", row->bound_name);
	api_put_text(o, "hostid", h ? h->row.uuid : NULL);
	api_put_text(o, "hostname", h ? h->row.name : NULL);
	return o;
}

static bool token_is_wanted(struct api_call *c, const struct token_row *row)
{
	const char *keyword = api_text(c, "keyword");
	const char *state = state_of(row, world_wall_ms(c->server->world));

	return api_matches(row->id, api_text(c, "id")) && api_matches(state, api_text(c, "state")) &&
	       (api_contains(row->id, keyword) || api_contains(row->role, keyword) ||
		api_contains(row->bound_name, keyword));
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
	{"hostid", API_UUID, false, "Only for this host", ENTITY_HOST, 0, false},
};
static const struct api_param_spec rejoin_params[] = {
	{"hostid", API_UUID, true, "The host", ENTITY_HOST, 0, false},
	{"lifetime", API_LONG, false, "Seconds that it is valid; default: join.token.lifetime", ENTITY_NONE, 0, false},
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
	{"hostid", "string", "Host that it is for"},
	{"hostname", "string", "Name of that host"},
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
