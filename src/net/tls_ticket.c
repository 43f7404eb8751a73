/*
 * What tickets are bound to, and which key made one.
 *
 * GnuTLS takes one ticket key a session, given before it reads the hello's tickets. While a key is being replaced there
 * are two; the name at the front of the ticket says which of them is meant. GnuTLS derives that name, and what really
 * seals, from the key and the number of the current period of three ticket lives; it goes back one period by itself.
 * None of this is promised: should another version do it in another way, a ticket of the last key is not recognized and
 * a full handshake follows (and a test fails).
 */
#include <gnutls/crypto.h>

#include "base/mem.h"
#include "net/tls_private.h"

#define NAME_SIZE 16
#define PERIOD_S (3 * TICKET_LIFE_S)

enum err trust_id_of(uint8_t out[TRUST_ID_SIZE], const char *ca_pem, const char *crl_pem)
{
	const char *texts[] = {ca_pem ? ca_pem : "", crl_pem ? crl_pem : ""};
	uint8_t each[2][32];

	for (int i = 0; i < 2; i++)
		if (gnutls_hash_fast(GNUTLS_DIG_SHA256, texts[i], strlen(texts[i]), each[i]) < 0)
			return ERR_TLS;
	return gnutls_hash_fast(GNUTLS_DIG_SHA256, each, sizeof(each), out) < 0 ? ERR_TLS : ERR_OK;
}

enum err ticket_keys_bind(struct tls_ticket_keys *keys, const uint8_t trust_id[TRUST_ID_SIZE])
{
	for (unsigned i = 0; i < keys->n && i < TLS_TICKET_KEYS; i++) {
		uint8_t bound[TLS_TICKET_KEY_SIZE];
		int status = gnutls_hmac_fast(GNUTLS_MAC_SHA512, keys->keys[i], TLS_TICKET_KEY_SIZE, trust_id,
					      TRUST_ID_SIZE, bound);

		memcpy(keys->keys[i], bound, sizeof(bound));
		mem_wipe(bound, sizeof(bound));
		if (status < 0)
			return ERR_TLS;
	}
	return ERR_OK;
}

static bool made(const uint8_t key[TLS_TICKET_KEY_SIZE], uint64_t period, struct bytes name)
{
	uint8_t in[8 + TLS_TICKET_KEY_SIZE], derived[64];
	bool same;

	for (int i = 0; i < 8; i++)
		in[i] = (uint8_t)(period >> (56 - 8 * i));
	memcpy(in + 8, key, TLS_TICKET_KEY_SIZE);
	same = gnutls_hash_fast(GNUTLS_DIG_SHA3_512, in, sizeof(in), derived) >= 0 &&
	       memcmp(derived, name.data, NAME_SIZE) == 0;
	mem_wipe(in, sizeof(in));
	mem_wipe(derived, sizeof(derived));
	return same;
}

unsigned ticket_key_choose(const struct tls_ticket_keys *keys, struct bytes extension, int64_t now_s)
{
	uint64_t period = now_s > 0 ? (uint64_t)now_s / PERIOD_S : 0;
	struct bytes name;
	uint16_t total, n;

	if (!bytes_get_u16(&extension, &total) || !bytes_get_u16(&extension, &n) || n < NAME_SIZE ||
	    !bytes_get(&extension, NAME_SIZE, &name))
		return 0;
	for (unsigned i = 1; i < keys->n; i++) {
		if (made(keys->keys[i], period, name) || (period > 0 && made(keys->keys[i], period - 1, name)))
			return i;
	}
	return 0;
}
