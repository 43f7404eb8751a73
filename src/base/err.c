#include "base/err.h"

#include <stdio.h>
#include <string.h>

const char *err_name(enum err e)
{
	/* No default: the compiler reports a number that has no name yet. */
	switch (e) {
	case ERR_OK:
		return "ok";
	case ERR_NOMEM:
		return "nomem";
	case ERR_MALFORMED:
		return "malformed";
	case ERR_TOO_BIG:
		return "too_big";
	case ERR_REFUSED:
		return "refused";
	case ERR_CONFLICT:
		return "conflict";
	case ERR_NOT_FOUND:
		return "not_found";
	case ERR_EXISTS:
		return "exists";
	case ERR_INVALID:
		return "invalid";
	case ERR_UNSUPPORTED:
		return "unsupported";
	case ERR_TIMEOUT:
		return "timeout";
	case ERR_CLOSED:
		return "closed";
	case ERR_UNREACHABLE:
		return "unreachable";
	case ERR_NO_NAME:
		return "no_name";
	case ERR_TLS:
		return "tls";
	case ERR_UNTRUSTED:
		return "untrusted";
	case ERR_EXPIRED:
		return "expired";
	case ERR_REVOKED:
		return "revoked";
	case ERR_IO:
		return "io";
	case ERR_STORE:
		return "store";
	case ERR_BUSY:
		return "busy";
	case ERR_FULL:
		return "full";
	case ERR_STOPPED:
		return "stopped";
	case ERR_DUPLICATE:
		return "duplicate";
	case ERR_DAMAGED:
		return "damaged";
	case ERR_NEWER:
		return "newer";
	case ERR_STATE:
		return "state";
	}
	/* A number from an answer of a newer peer. */
	return "unknown";
}

const char *err_text(enum err e)
{
	switch (e) {
#define X(name, number, text)                                                                                          \
	case name:                                                                                                     \
		return text;
		ERR_LIST(X)
#undef X
	}
	return "unknown error";
}

/* snprintf may cut in the middle of a UTF-8 character; what is left of it goes too. */
static void drop_cut_character(char *text)
{
	size_t len = strlen(text);
	size_t start = len;
	size_t want;
	unsigned char first;

	while (start > 0 && len - start < 3 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
		start--;
	if (start == 0)
		return;
	first = (unsigned char)text[--start];
	want = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
	if (len - start < want)
		text[start] = '\0';
}

/* The text is built aside: the arguments may point into `why`. */
static void why_put(struct why *why, const char *text, const char *separator, const char *rest)
{
	struct why next;

	if (snprintf(next.text, sizeof(next.text), "%s%s%s", text, separator, rest) >= (int)sizeof(next.text))
		drop_cut_character(next.text);
	*why = next;
}

void why_set(struct why *why, const char *format, ...)
{
	char text[sizeof(WHY_NONE.text)];
	va_list args;

	if (!why)
		return;
	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) >= (int)sizeof(text))
		drop_cut_character(text);
	va_end(args);
	why_put(why, text, "", "");
}

void why_add(struct why *why, const char *format, ...)
{
	char text[sizeof(WHY_NONE.text)];
	va_list args;

	if (!why)
		return;
	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) >= (int)sizeof(text))
		drop_cut_character(text);
	va_end(args);
	why_put(why, text, why->text[0] ? ": " : "", why->text);
}

const char *why_text(const struct why *why, enum err e)
{
	return why && why->text[0] ? why->text : err_text(e);
}
