#include "base/speech.h"

#include <stdarg.h>

void say(struct speech *s, const char *format, ...)
{
	va_list args;

	if (s->err)
		return;
	va_start(args, format);
	s->err = buf_vprintf(s->out, format, args);
	va_end(args);
}
