/*
 * Hashes, comparing secrets, sealing bytes.
 */
#include "pki/cert.h"

#include <assert.h>
#include <string.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "base/mem.h"

#define NONCE_SIZE 12
#define TAG_SIZE 16

void sha256_hex(char out[FINGERPRINT_TEXT], const void *data, size_t n)
{
	uint8_t digest[32];
	int ret = gnutls_hash_fast(GNUTLS_DIG_SHA256, n ? data : "", n, digest);

	/* Nothing outside can make SHA-256 fail, and no caller could go on with a hash that is none. */
	assert(ret == 0);
	(void)ret;
	hex_encode(out, digest, sizeof(digest));
}

bool secret_equal(const void *a, const void *b, size_t n)
{
	return gnutls_memcmp(a, b, n) == 0;
}

static enum err aes_open(gnutls_aead_cipher_hd_t *out, const uint8_t key[32])
{
	gnutls_datum_t k = {.data = (unsigned char *)(uintptr_t)key, .size = 32};
	int ret = gnutls_aead_cipher_init(out, GNUTLS_CIPHER_AES_256_GCM, &k);

	if (ret < 0)
		return ret == GNUTLS_E_MEMORY_ERROR ? ERR_NOMEM : ERR_UNSUPPORTED;
	return ERR_OK;
}

enum err seal_bytes(struct buf *out, const uint8_t key[32], const uint8_t nonce[12], const void *plain, size_t n,
		    const char *context)
{
	gnutls_aead_cipher_hd_t cipher = NULL;
	size_t sealed_size, size;
	enum err e;
	int ret;

	if (!context)
		context = "";
	if (__builtin_add_overflow(n, (size_t)(NONCE_SIZE + TAG_SIZE), &size))
		return ERR_TOO_BIG;
	if ((e = buf_reserve(out, size)))
		return e;
	if ((e = aes_open(&cipher, key)))
		return e;

	uint8_t *at = out->data + out->len;

	memcpy(at, nonce, NONCE_SIZE);
	sealed_size = n + TAG_SIZE;
	ret = gnutls_aead_cipher_encrypt(cipher, nonce, NONCE_SIZE, context, strlen(context), TAG_SIZE, n ? plain : "",
					 n, at + NONCE_SIZE, &sealed_size);
	gnutls_aead_cipher_deinit(cipher);
	if (ret < 0)
		return ret == GNUTLS_E_MEMORY_ERROR ? ERR_NOMEM : ERR_INVALID;

	out->len += NONCE_SIZE + sealed_size;
	return ERR_OK;
}

enum err open_bytes(struct buf *out, const uint8_t key[32], const void *sealed, size_t n, const char *context)
{
	gnutls_aead_cipher_hd_t cipher = NULL;
	const uint8_t *in = sealed;
	size_t room, plain_size;
	enum err e;
	int ret;

	if (!context)
		context = "";
	if (n < NONCE_SIZE + TAG_SIZE)
		return ERR_UNTRUSTED;
	plain_size = room = n - NONCE_SIZE - TAG_SIZE;
	/* One more, so that there is memory to write to for an empty content as well. */
	if ((e = buf_reserve(out, room + 1)))
		return e;
	if ((e = aes_open(&cipher, key)))
		return e;

	uint8_t *at = out->data + out->len;

	ret = gnutls_aead_cipher_decrypt(cipher, in, NONCE_SIZE, context, strlen(context), TAG_SIZE, in + NONCE_SIZE,
					 n - NONCE_SIZE, at, &plain_size);
	gnutls_aead_cipher_deinit(cipher);
	if (ret < 0) {
		mem_wipe(at, room); /* what was decrypted before the tag turned out wrong is nobody's */
		return ret == GNUTLS_E_MEMORY_ERROR ? ERR_NOMEM : ERR_UNTRUSTED;
	}

	out->len += plain_size;
	return ERR_OK;
}
