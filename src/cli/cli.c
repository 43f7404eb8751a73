#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/format.h"

static void say(const struct cli *c, const char *format, va_list ap, const char *after)
{
	char text[1024];

	vsnprintf(text, sizeof(text), format, ap);
	format_printable(text);
	fflush(stdout);
	fprintf(stderr, "%s: %s%s\n", c->path, text, after);
}

int cli_fail(const struct cli *c, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	say(c, format, ap, "");
	va_end(ap);
	return CLI_FAILED;
}

int cli_misuse(const struct cli *c, const char *format, ...)
{
	char after[sizeof(c->path) + 16];
	va_list ap;

	snprintf(after, sizeof(after), "; see %s -h", c->path);
	va_start(ap, format);
	say(c, format, ap, after);
	va_end(ap);
	return CLI_USAGE;
}

void cli_advise(const struct cli *c, const char *format, ...)
{
	va_list ap;

	if (c->json)
		return;
	fflush(stdout);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

/*
 * JSON's own rules leave DEL and U+0080 to U+009F as they are. They stand in strings only, and a terminal obeys them,
 * so they are written as escapes, which mean the same.
 */
static int print_piece(const char *piece, size_t n, void *user)
{
	unsigned char *before = user; /* a piece may end within a character */

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)piece[i];

		if (*before == 0xc2) {
			if (c < 0xa0)
				printf("\\u%04X", c);
			else
				printf("%c%c", *before, c);
		} else if (c == 0x7f) {
			printf("\\u007F");
		} else if (c != 0xc2) {
			putchar(c);
		}
		*before = *before == 0xc2 ? 0 : c;
	}
	return 0;
}

void cli_print_json(const json_t *value, bool keep_order)
{
	unsigned char before = 0;

	json_dump_callback(value, print_piece, &before,
			   JSON_INDENT(2) | JSON_ENCODE_ANY | (keep_order ? JSON_PRESERVE_ORDER : JSON_SORT_KEYS));
	putchar('\n');
}

int cli_flush(const struct cli *c)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return CLI_OK;
	if (errno == EPIPE) /* the reader has seen enough (head, less): nothing to tell anyone */
		return CLI_FAILED;
	return cli_fail(c, "the output could not be written: %s", strerror(errno));
}
