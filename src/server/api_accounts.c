/*
 * Accounts over the API: createAccount, listAccounts, deleteAccount. The first one is made over the local socket
 * (decision 37); there is no default password. A secret key is shown in the answer that makes it and never again.
 */
#include "server/api.h"

#include <string.h>

#define KEY_BYTES 33    /* 44 characters */
#define SECRET_BYTES 48 /* 64 characters */
#define NAME_MAX_ 64

static void account_free(void *state)
{
	struct account_row *row = state;

	if (row->secret_key)
		mem_wipe(row->secret_key, strlen(row->secret_key));
	account_row_deinit(row);
	mem_free(row);
}

/* ---- createAccount ---- */

static char *random_text(struct server *s, size_t n)
{
	uint8_t bytes[SECRET_BYTES];
	char *text;

	world_entropy(s->world, bytes, n);
	text = base64url_encode(bytes, n);
	mem_wipe(bytes, sizeof(bytes));
	return text;
}

static enum err create_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	enum err e = store_account_add(tx, c->state);

	if (e == ERR_EXISTS)
		why_set(why, "There is an account %s already", api_text(c, "name"));
	return e;
}

static json_t *account_object(const struct account_row *row)
{
	json_t *o = json_object();

	api_put_text(o, "id", row->uuid);
	api_put_text(o, "name", row->name);
	api_put_number(o, "accounttype", str_equal(row->role, "admin"));
	api_put_text(o, "rolename", row->role);
	api_put_text(o, "domain", "ROOT");
	api_put_text(o, "state", "enabled");
	api_put_date(o, "created", row->created_ms);
	api_put_text(o, "apikey", row->api_key);
	return o;
}

static void create_then(struct api_call *c, enum err result, const char *sentence)
{
	struct account_row *row = c->state;
	json_t *o;

	if (result) {
		api_fail_err(c, result, sentence);
		return;
	}
	event_add(c->server, "ACCOUNT.CREATE", "INFO", 0, "%s made account %s", c->account, row->name);
	o = account_object(row);
	api_put_text(o, "secretkey", row->secret_key);
	api_answer_object(c, "account", o);
}

static bool name_is_good(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n <= NAME_MAX_ &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@") == n;
}

static void create_account(struct api_call *c)
{
	struct server *s = c->server;
	struct account_row *row;
	char uuid[UUID_TEXT];

	if (!name_is_good(api_text(c, "name"))) {
		api_fail(c, API_BAD_PARAM, CS_VALUE, "name: 1 to %d letters, digits, and . _ - @", NAME_MAX_);
		return;
	}
	row = mem_zalloc(sizeof(*row));
	c->state = row;
	c->state_free = account_free;
	if (!row) {
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	world_uuid(s->world, uuid);
	row->name = mem_strdup(api_text(c, "name"));
	row->uuid = mem_strdup(uuid);
	row->role = mem_strdup("admin");
	row->api_key = random_text(s, KEY_BYTES);
	row->secret_key = random_text(s, SECRET_BYTES);
	row->created_ms = world_wall_ms(s->world);
	if (!row->name || !row->uuid || !row->role || !row->api_key || !row->secret_key)
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
	else
		api_write(c, create_run, create_then);
}

/* ---- listAccounts ---- */

struct accounts {
	struct account_row *rows;
	size_t n;
};

static void accounts_clear(struct accounts *a)
{
	for (size_t i = 0; i < a->n; i++) {
		if (a->rows[i].secret_key)
			mem_wipe(a->rows[i].secret_key, strlen(a->rows[i].secret_key));
		account_row_deinit(&a->rows[i]);
	}
	a->rows = mem_free(a->rows);
	a->n = 0;
}

static void accounts_free(void *state)
{
	accounts_clear(state);
	mem_free(state);
}

static enum err list_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	struct accounts *a = c->state;

	accounts_clear(a);
	return store_account_list(tx, &a->rows, &a->n);
}

static void list_then(struct api_call *c, enum err result, const char *sentence)
{
	struct accounts *a = c->state;
	size_t n = 0, first, end, at = 0;
	json_t *page;

	if (result) {
		api_fail_err(c, result, sentence);
		return;
	}
	for (size_t i = 0; i < a->n; i++)
		n += api_matches(a->rows[i].name, api_text(c, "name")) &&
		     api_contains(a->rows[i].name, api_text(c, "keyword"));
	api_page(c, n, &first, &end);
	page = json_array();
	for (size_t i = 0; i < a->n; i++) {
		if (!api_matches(a->rows[i].name, api_text(c, "name")) ||
		    !api_contains(a->rows[i].name, api_text(c, "keyword")))
			continue;
		if (at >= first && at < end)
			json_array_append_new(page, account_object(&a->rows[i]));
		at++;
	}
	api_answer_list(c, "account", page, n);
}

static void list_accounts(struct api_call *c)
{
	c->state = mem_zalloc(sizeof(struct accounts));
	c->state_free = accounts_free;
	if (!c->state)
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
	else
		api_read(c, list_run, list_then);
}

/* ---- deleteAccount ---- */

static enum err delete_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	enum err e = store_account_remove(tx, api_text(c, "name"));

	if (e == ERR_NOT_FOUND)
		why_set(why, "There is no account %.64s", api_text(c, "name"));
	return e;
}

static void delete_then(struct api_call *c, enum err result, const char *sentence)
{
	if (result) {
		api_fail_err(c, result, sentence);
		return;
	}
	event_add(c->server, "ACCOUNT.DELETE", "INFO", 0, "%s removed account %s", c->account, api_text(c, "name"));
	api_answer_success(c);
}

static void delete_account(struct api_call *c)
{
	api_write(c, delete_run, delete_then);
}

/* ---- the tables ---- */

/* clang-format off */
static const struct api_param_spec name_params[] = {
	{"name", API_STRING, true, "Name of the account", ENTITY_NONE, 0, false},
};
static const struct api_param_spec list_params[] = {
	{"name", API_STRING, false, "Name of the account", ENTITY_NONE, 0, false},
	API_LIST_PARAMS,
};
static const struct api_field fields[] = {
	{"id", "string", "Id of the account"},
	{"name", "string", "Name"},
	{"accounttype", "integer", "1: may do everything"},
	{"rolename", "string", "Role"},
	{"domain", "string", "ROOT"},
	{"state", "string", "enabled"},
	{"created", "date", "When it was made"},
	{"apikey", "string", "API key"},
	{"secretkey", "string", "createAccount: the secret key, shown once"},
};
static const struct api_field success_fields[] = {
	{"success", "boolean", "true"},
	{"displaytext", "string", "More about it"},
};
static const struct api_route routes[] = {
	{.name = "createAccount", .handle = create_account, .right = RIGHT_ADMIN,
	 .description = "Makes an account with an API key", ROUTE_PARAMS(name_params), ROUTE_FIELDS(fields)},
	{.name = "listAccounts", .handle = list_accounts, .right = RIGHT_ADMIN, .is_list = true, .is_read = true,
	 .description = "Lists accounts", ROUTE_PARAMS(list_params), ROUTE_FIELDS(fields)},
	{.name = "deleteAccount", .handle = delete_account, .right = RIGHT_ADMIN,
	 .description = "Removes an account; its keys are worth nothing from then on", ROUTE_PARAMS(name_params),
	 ROUTE_FIELDS(success_fields)},
};
/* clang-format on */
const struct api_routes api_accounts_routes = {routes, ARRAY_SIZE(routes)};
