/*
 * Who asks: signed requests (query-api 1.3 to 1.5). The account belongs to the API key, the signature proves its
 * secret. Root on the local socket needs neither.
 *
 * Order, as in the reference: unknown command 401, right 432, signature and expiry 401. An address that keeps failing
 * is not looked at for a while (429), so that guessing costs the store nothing.
 */
#include "server/api.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#define SHA1_SIZE 20
#define STRAYS_MAX 4096     /* addresses remembered */
#define FAILURES_AT_ONCE 30 /* then one every FAILURE_MS */
#define FAILURE_MS 2000

/* ---- addresses that fail ---- */

struct stray {
	struct mono until; /* every failure moves it by FAILURE_MS; blocked when it is too far ahead */
	char address[];
};

/* Of IPv6 the network: whoever has one address there has them all. */
static void network_of(char out[64], const char *address)
{
	struct in6_addr a;

	if (inet_pton(AF_INET6, address, &a) == 1 && !IN6_IS_ADDR_V4MAPPED(&a)) {
		memset(&a.s6_addr[8], 0, 8);
		inet_ntop(AF_INET6, &a, out, 64);
	} else {
		str_copy(out, 64, address);
	}
}

static bool stray_is_blocked(struct api_call *c)
{
	struct server *s = c->server;
	struct api *a = s->api;
	char network[64];
	struct stray *x;

	network_of(network, c->address);
	x = map_get(&a->strays, network);
	return x && mono_ms_between(world_now(s->world), x->until) > FAILURES_AT_ONCE * FAILURE_MS;
}

static void strays_sweep(struct api *a, struct mono now)
{
	struct stray *x;
	size_t cursor = 0;

	while ((x = map_next(&a->strays, &cursor))) {
		if (!mono_reached(now, x->until))
			continue;
		map_remove(&a->strays, x->address);
		mem_free(x);
	}
}

static void stray_failed(struct api_call *c)
{
	struct server *s = c->server;
	struct api *a = s->api;
	struct mono now = world_now(s->world);
	char network[64];
	struct stray *x;

	network_of(network, c->address);
	x = map_get(&a->strays, network);
	if (!x) {
		if (a->strays.n >= STRAYS_MAX)
			strays_sweep(a, now);
		x = a->strays.n < STRAYS_MAX ? mem_zalloc(sizeof(*x) + strlen(network) + 1) : NULL;
		if (!x)
			return;
		strcpy(x->address, network);
		if (map_put(&a->strays, x->address, x)) {
			mem_free(x);
			return;
		}
	}
	if (mono_before(x->until, now))
		x->until = now;
	x->until = mono_add_ms(x->until, FAILURE_MS);
}

void api_auth_deinit(struct api *a)
{
	struct stray *x;
	size_t cursor = 0;

	while ((x = map_next(&a->strays, &cursor)))
		mem_free(x);
	map_deinit(&a->strays);
}

static void refuse(struct api_call *c, const char *sentence)
{
	log_info(c->server->log, "API request refused", KV_S("peer", c->address),
		 KV_S("command", c->route ? c->route->name : "?"), KV_S("reason", sentence));
	stray_failed(c);
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

	if (stray_is_blocked(c)) {
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
