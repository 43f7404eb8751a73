#include "ca/sealed.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

#define ID_PREFIX "muster cluster key id"

void cluster_key_id(char out[CLUSTER_KEY_ID_TEXT], const uint8_t key[CLUSTER_KEY_SIZE])
{
	uint8_t text[sizeof(ID_PREFIX) + CLUSTER_KEY_SIZE];
	char hash[FINGERPRINT_TEXT];

	/* The key is 32 random bytes: nobody finds them by trying hashes. */
	memcpy(text, ID_PREFIX, sizeof(ID_PREFIX));
	memcpy(text + sizeof(ID_PREFIX), key, CLUSTER_KEY_SIZE);
	sha256_hex(hash, text, sizeof(text));
	mem_wipe(text, sizeof(text));
	memcpy(out, hash, CLUSTER_KEY_ID_TEXT - 1);
	out[CLUSTER_KEY_ID_TEXT - 1] = '\0';
}

enum err sealed_again(char **out, const char *sealed, const char *context, const uint8_t from[CLUSTER_KEY_SIZE],
		      const uint8_t to[CLUSTER_KEY_SIZE], const uint8_t nonce[12], struct why *why)
{
	CLEAN(buf_deinit) struct buf before = {0}, after = {0};
	CLEAN(buf_wipe) struct buf plain = {0};
	enum err e;

	/* Room first, for both: then nothing is missing but what is damaged, and growing leaves no copy behind. */
	if (buf_reserve(&before, strlen(sealed) + 1) || buf_reserve(&plain, strlen(sealed) + 1))
		return ERR_NOMEM;
	if (!base64url_decode(sealed, &before)) {
		why_set(why, "a sealed value in the store is damaged (%s)", context);
		return ERR_DAMAGED;
	}
	e = open_bytes(&plain, from, before.data, before.len, context);
	if (e == ERR_UNTRUSTED)
		why_set(why, "this cluster key does not open what is sealed in the store (%s)", context);
	if (!e)
		e = seal_bytes(&after, to, nonce, plain.data, plain.len, context);
	if (e)
		return e;
	*out = base64url_encode(after.data, after.len);
	return *out ? ERR_OK : ERR_NOMEM;
}

static bool is_id(const char *text)
{
	return strlen(text) == CLUSTER_KEY_ID_TEXT - 1 && strspn(text, "0123456789abcdef") == CLUSTER_KEY_ID_TEXT - 1;
}

void cluster_key_record_read(struct cluster_key_record *out, const char *text)
{
	struct cluster_key_record r = {0};
	char id[CLUSTER_KEY_ID_TEXT] = "";

	*out = r;
	if (!text || sscanf(text, "id=%16[0-9a-f] since=%" SCNd64, id, &r.since_ms) != 2 || !is_id(id))
		return;
	memcpy(r.id, id, sizeof(r.id));
	*out = r;
}

char *cluster_key_record_text(const struct cluster_key_record *r)
{
	return mem_printf("id=%s since=%" PRId64, r->id, r->since_ms);
}
