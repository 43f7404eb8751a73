#include "cli/sign.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "base/mem.h"

#define SHA1_SIZE 20

/* Only these stay as they are; '~' does not, although most clients believe so. */
static bool is_unreserved(unsigned char c)
{
	return c < 0x80 && (isalnum(c) || strchr(".-*_", c)) && c;
}

static enum err put_encoded(struct buf *out, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		enum err e = is_unreserved(c) ? buf_put_u8(out, c) : buf_printf(out, "%%%02X", c);

		if (e)
			return e;
	}
	return ERR_OK;
}

static enum err put_pairs(struct buf *out, const struct sign_param *params, size_t n)
{
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < n; i++) {
		e = buf_printf(out, "%s%s=", i ? "&" : "", params[i].name);
		if (!e)
			e = put_encoded(out, params[i].value);
	}
	return e;
}

enum err form_encode(struct buf *out, const struct sign_param *params, size_t n)
{
	return put_pairs(out, params, n);
}

static int name_compare(const void *a, const void *b)
{
	const struct sign_param *left = a, *right = b;

	return strcmp(left->name, right->name);
}

enum err sign_text(struct buf *out, struct sign_param *params, size_t n)
{
	size_t start = out->len;
	enum err e;

	qsort(params, n, sizeof(*params), name_compare);
	e = put_pairs(out, params, n);
	for (size_t i = start; !e && i < out->len; i++) {
		if (out->data[i] >= 'A' && out->data[i] <= 'Z')
			out->data[i] = (uint8_t)(out->data[i] - 'A' + 'a');
	}
	return e;
}

enum err sign_params(char **out, struct sign_param *params, size_t n, const char *secret)
{
	CLEAN(buf_deinit) struct buf text = {0};
	unsigned char mac[SHA1_SIZE];
	gnutls_datum_t raw = {.data = mac, .size = sizeof(mac)}, base64 = {0};
	enum err e = sign_text(&text, params, n);

	if (e)
		return e;
	/* The protocol's choice: HMAC does not need what SHA-1 has lost. */
	if (gnutls_hmac_fast(GNUTLS_MAC_SHA1, secret, strlen(secret), text.data, text.len, mac) ||
	    gnutls_base64_encode2(&raw, &base64))
		return ERR_UNSUPPORTED;
	*out = mem_strndup((const char *)base64.data, base64.size);
	gnutls_free(base64.data);
	return *out ? ERR_OK : ERR_NOMEM;
}
