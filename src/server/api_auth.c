/*
 * Who asks: signed requests (query-api 1.3 to 1.5). The account belongs to the API key, the signature proves its
 * secret. Root on the local socket needs neither.
 *
 * Order, as in the reference: unknown command 401, right 432, signature and expiry 401. An address that keeps failing
 * is not looked at for a while (429), so that guessing costs the store nothing.
 */
#include "server/api.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#define SHA1_SIZE 20

static void refuse(struct api_call *c, const char *sentence)
{
	log_info(c->server->log, "API request refused", KV_S("peer", c->address),
		 KV_S("command", c->route ? c->route->name : "?"), KV_S("reason", sentence));
	strays_failed(&api_of(c->server)->strays, c->address, world_now(c->server->world));
	/* The caller is not told which part was wrong. */
	api_fail(c, API_UNAUTHORIZED, CS_NONE,
		 "unable to verify user credentials and/or request signature: API key, signature or expiry is wrong");
}

/* ---- signature ---- */

/* ERR_UNTRUSTED: it is another one. */
static enum err signature_check(const struct api_call *c, const char *secret, const char *signature, bool encode_tilde)
{
	struct buf text = {0};
	uint8_t mac[SHA1_SIZE];
	gnutls_datum_t raw = {.data = mac, .size = sizeof(mac)}, encoded = {0};
	enum err e = api_signing_text(&text, c->params, c->n_params, encode_tilde);

	if (!e && gnutls_hmac_fast(GNUTLS_MAC_SHA1, secret, strlen(secret), text.data, text.len, mac))
		e = ERR_NOMEM;
	if (!e && gnutls_base64_encode2(&raw, &encoded))
		e = ERR_NOMEM;
	if (!e && (encoded.size != strlen(signature) || !secret_equal(encoded.data, signature, encoded.size)))
		e = ERR_UNTRUSTED;
	gnutls_free(encoded.data);
	buf_deinit(&text);
	return e;
}

/* Why the request is not valid any more; NULL: it is. */
static const char *expiry_complaint(const struct api_call *c)
{
	const char *version = api_param_find(c->params, c->n_params, "signatureversion");
	const char *expires = api_param_find(c->params, c->n_params, "expires");
	bool has_offset;
	int64_t at_ms;

	if (!version || strcmp(version, "3") != 0)
		return NULL;
	if (str_is_blank(expires))
		return "signatureversion 3 without expires";
	if (!api_date_parse(expires, &at_ms, &has_offset) || !has_offset)
		return "expires is not a date";
	return at_ms < world_wall_ms(c->server->world) ? "the request has expired" : NULL;
}

/* ---- the account ---- */

static void account_free(void *state)
{
	struct account_row *row = state;

	if (row->secret_key)
		mem_wipe(row->secret_key, strlen(row->secret_key));
	account_row_deinit(row);
	mem_free(row);
}

static enum err account_run(struct store_tx *tx, struct api_call *c, struct why *why)
{
	account_row_deinit(c->state);
	return store_account_by_key(tx, api_param_find(c->params, c->n_params, "apikey"), c->state);
}

static void account_known(struct api_call *c)
{
	struct account_row *row = c->state;
	const char *signature = api_param_find(c->params, c->n_params, "signature");
	const char *complaint;
	enum err e;

	if (c->route->right == RIGHT_ADMIN && !str_equal(row->role, "admin")) {
		api_fail(c, API_UNSUPPORTED, CS_API, "The command %s is not available for this account",
			 c->route->name);
		return;
	}
	e = signature_check(c, row->secret_key, signature, true);
	if (e == ERR_UNTRUSTED)
		e = signature_check(c, row->secret_key, signature, false);
	if (e == ERR_UNTRUSTED) {
		refuse(c, "wrong signature");
		return;
	}
	if (e) {
		api_fail_err(c, e, err_text(e));
		return;
	}
	complaint = expiry_complaint(c);
	if (complaint) {
		refuse(c, complaint);
		return;
	}
	c->account = mem_strdup(row->name);
	account_free(row);
	c->state = NULL;
	c->state_free = NULL;
	api_go(c);
}

static void account_then(struct api_call *c, enum err result, const char *sentence)
{
	if (!result)
		account_known(c);
	else if (result == ERR_NOT_FOUND)
		refuse(c, "unknown API key");
	else
		api_fail_err(c, result, sentence);
}

void api_authenticate(struct api_call *c)
{
	const char *key = api_param_find(c->params, c->n_params, "apikey");
	const char *signature = api_param_find(c->params, c->n_params, "signature");

	if (strays_is_over(&api_of(c->server)->strays, c->address, world_now(c->server->world))) {
		api_fail(c, API_LIMITED, CS_LIMIT, "Too many refused requests from %s: wait a while", c->address);
		return;
	}
	if (!c->route || str_is_blank(key) || str_is_blank(signature)) {
		refuse(c, !c->route ? "unknown command" : "no API key or signature");
		return;
	}
	c->state = mem_zalloc(sizeof(struct account_row));
	c->state_free = account_free;
	if (!c->state)
		api_fail_err(c, ERR_NOMEM, err_text(ERR_NOMEM));
	else
		api_read(c, account_run, account_then);
}
