/*
 * Join tokens: one line of letters, digits, '-', '_' and one '.', to be copied, mailed and typed.
 *
 *   "muster1." base64url( role:1  n:1 id:n  secret:24  fingerprint:32  servers:1 { n:1 server:n }  check:4 )
 *
 * `check` is the beginning of a SHA-256 over all before it, to tell a slip of the pen from a token that is refused.
 * It protects nothing: what protects is the secret, of which the store keeps a hash only.
 */
#include "pki/token.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

#define TOKEN_PREFIX "muster1."
#define TOKEN_TEXT_MAX 4096
#define TOKEN_SERVERS_MAX 16
#define TOKEN_CHECK_SIZE 4
#define FINGERPRINT_BYTES 32

void token_deinit(struct token *t)
{
	mem_wipe(t->secret, sizeof(t->secret));
	str_list_deinit(&t->servers);
	*t = (struct token){0};
}

bool token_id_is_valid(const char *id)
{
	return cert_id_is_valid(id) && strlen(id) < TOKEN_ID_MAX;
}

/* "host:port" in whatever form a server list knows; its meaning is checked where it is used. */
static bool server_is_valid(const char *s, size_t n)
{
	if (n == 0 || n > 255)
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = s[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) &&
		    !(c && strchr(".-_:[]%", c)))
			return false;
	}
	return true;
}

static enum err check_bytes(struct buf *out, const void *data, size_t n)
{
	char hex[FINGERPRINT_TEXT];

	sha256_hex(hex, data, n);
	hex[2 * TOKEN_CHECK_SIZE] = '\0';
	return hex_decode(hex, out) ? ERR_OK : ERR_NOMEM;
}

/* Appends the bytes of a hex text that must have exactly n. */
static bool put_hex(struct buf *out, const char *hex, size_t n)
{
	size_t before = out->len;

	return strlen(hex) == 2 * n && hex_decode(hex, out) && out->len == before + n;
}

static bool put_short(struct buf *out, const char *s)
{
	return buf_put_u8(out, (uint8_t)strlen(s)) == ERR_OK && buf_put_str(out, s) == ERR_OK;
}

static bool token_pack(struct buf *out, const struct token *t)
{
	/* Enough for all, so that the secret is not left behind in memory that the buffer has grown out of. */
	if (buf_reserve(out, TOKEN_TEXT_MAX) || buf_put_u8(out, (uint8_t)t->role) || !put_short(out, t->id) ||
	    !put_hex(out, t->secret, TOKEN_SECRET_BYTES) || !put_hex(out, t->fingerprint, FINGERPRINT_BYTES) ||
	    buf_put_u8(out, (uint8_t)t->servers.n))
		return false;
	for (size_t i = 0; i < t->servers.n; i++)
		if (!server_is_valid(t->servers.items[i], strlen(t->servers.items[i])) ||
		    !put_short(out, t->servers.items[i]))
			return false;
	return check_bytes(out, out->data, out->len) == ERR_OK;
}

char *token_format(const struct token *t)
{
	CLEAN(buf_wipe) struct buf packed = {0};
	char *encoded, *text;

	if (!token_id_is_valid(t->id) || (t->role != CERT_ROLE_AGENT && t->role != CERT_ROLE_SERVER) ||
	    t->servers.n > TOKEN_SERVERS_MAX || !token_pack(&packed, t))
		return NULL;
	encoded = base64url_encode(packed.data, packed.len);
	if (!encoded)
		return NULL;
	text = strlen(encoded) + strlen(TOKEN_PREFIX) <= TOKEN_TEXT_MAX ? mem_printf(TOKEN_PREFIX "%s", encoded) : NULL;
	key_free(encoded);
	return text;
}

static bool get_short(struct bytes *in, char *out, size_t size)
{
	struct bytes part;
	uint8_t n;

	if (!bytes_get_u8(in, &n) || n >= size || !bytes_get(in, n, &part) || (n && memchr(part.data, '\0', n)))
		return false;
	if (n)
		memcpy(out, part.data, n);
	out[n] = '\0';
	return true;
}

static enum err get_servers(struct str_list *out, struct bytes *in)
{
	char server[256];
	enum err e;
	uint8_t n;

	if (!bytes_get_u8(in, &n) || n > TOKEN_SERVERS_MAX)
		return ERR_MALFORMED;
	for (; n; n--) {
		if (!get_short(in, server, sizeof(server)) || !server_is_valid(server, strlen(server)))
			return ERR_MALFORMED;
		if ((e = str_list_add(out, server)))
			return e;
	}
	return ERR_OK;
}

static enum err token_unpack(struct token *t, struct bytes in)
{
	struct bytes part;
	enum err e;
	uint8_t role;

	if (!bytes_get_u8(&in, &role) || (role != CERT_ROLE_AGENT && role != CERT_ROLE_SERVER) ||
	    !get_short(&in, t->id, sizeof(t->id)) || !token_id_is_valid(t->id))
		return ERR_MALFORMED;
	t->role = (enum cert_role)role;
	if (!bytes_get(&in, TOKEN_SECRET_BYTES, &part))
		return ERR_MALFORMED;
	hex_encode(t->secret, part.data, part.len);
	if (!bytes_get(&in, FINGERPRINT_BYTES, &part))
		return ERR_MALFORMED;
	hex_encode(t->fingerprint, part.data, part.len);
	if ((e = get_servers(&t->servers, &in)))
		return e;
	return in.len == 0 ? ERR_OK : ERR_MALFORMED;
}

static enum err check_prefix(const char *text, struct why *why)
{
	if (str_starts(text, TOKEN_PREFIX))
		return ERR_OK;
	if (str_is_blank(text))
		why_set(why, "the token is empty");
	else if (str_starts(text, "muster") && text[6] >= '2' && text[6] <= '9')
		why_set(why, "the token is of a newer kind than this program knows");
	else
		why_set(why, "not a token: it should begin with " TOKEN_PREFIX);
	return ERR_MALFORMED;
}

/* Checks what can be said about the text, then its content. */
static enum err token_read(struct token *out, const char *text, struct why *why)
{
	CLEAN(buf_wipe) struct buf packed = {0};
	CLEAN(buf_deinit) struct buf check = {0};
	struct token t = {0};
	struct bytes in;
	enum err e;

	if ((e = check_prefix(text, why)))
		return e;
	if (buf_reserve(&packed, TOKEN_TEXT_MAX))
		return ERR_NOMEM;
	if (!base64url_decode(text + strlen(TOKEN_PREFIX), &packed) || packed.len <= TOKEN_CHECK_SIZE) {
		why_set(why, "the token is cut off or has characters that don't belong there");
		return ERR_MALFORMED;
	}
	in = (struct bytes){.data = packed.data, .len = packed.len - TOKEN_CHECK_SIZE};
	if ((e = check_bytes(&check, in.data, in.len)))
		return e;
	if (memcmp(check.data, in.data + in.len, TOKEN_CHECK_SIZE) != 0) {
		why_set(why, "the token is mistyped or cut off: its check sum is wrong");
		return ERR_MALFORMED;
	}
	if ((e = token_unpack(&t, in))) {
		token_deinit(&t);
		if (e == ERR_MALFORMED)
			why_set(why, "the token has no meaning here, though its check sum is right");
		return e;
	}
	*out = t;
	mem_wipe(t.secret, sizeof(t.secret));
	return ERR_OK;
}

enum err token_parse(struct token *out, const char *text, struct why *why)
{
	CLEAN(mem_freep) char *copy = NULL;
	size_t n = text ? strnlen(text, TOKEN_TEXT_MAX + 1) : 0, blanks = 0;
	enum err e;

	*out = (struct token){0};
	if (n > TOKEN_TEXT_MAX) {
		why_set(why, "the token is longer than %d characters", TOKEN_TEXT_MAX);
		return ERR_MALFORMED;
	}
	while (n && strchr(" \t\r\n", text[n - 1]))
		n--;
	while (blanks < n && strchr(" \t\r\n", text[blanks]))
		blanks++;
	copy = mem_strndup(n ? text + blanks : "", n - blanks);
	if (!copy)
		return ERR_NOMEM;
	e = token_read(out, copy, why);
	mem_wipe(copy, strlen(copy));
	return e;
}
