#include "cli/format.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/str.h"

void *or_die(void *p)
{
	if (!p) {
		fputs("muster: out of memory\n", stderr);
		exit(1);
	}
	return p;
}

char *text_or_die(const char *format, ...)
{
	char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vasprintf(&text, format, ap);
	va_end(ap);
	return or_die(n < 0 ? NULL : text);
}

const char *format_count(char out[FORMAT_MAX], int64_t n, const char *noun)
{
	snprintf(out, FORMAT_MAX, "%" PRId64 " %s%s", n, noun, n == 1 ? "" : "s");
	return out;
}

const char *format_seconds(char out[FORMAT_MAX], int64_t seconds)
{
	static const struct {
		int64_t seconds;
		const char *one, *many;
	} units[] = {
		{86400, "day", "days"},
		{3600, "h", "h"},
		{60, "min", "min"},
		{1, "s", "s"},
	};
	const char *sign = seconds < 0 ? "-" : "";
	int64_t left = seconds == INT64_MIN ? INT64_MAX
		       : seconds < 0        ? -seconds
					    : seconds; /* a peer may have said it */

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		int64_t big = left / units[i].seconds;
		int64_t rest = left % units[i].seconds;

		if (!big && i + 1 < ARRAY_SIZE(units))
			continue;
		snprintf(out, FORMAT_MAX, "%s%" PRId64 " %s", sign, big, big == 1 ? units[i].one : units[i].many);
		if (i + 1 < ARRAY_SIZE(units) && rest / units[i + 1].seconds) {
			size_t len = strlen(out);

			snprintf(out + len, FORMAT_MAX - len, " %" PRId64 " %s", rest / units[i + 1].seconds,
				 units[i + 1].many);
		}
		return out;
	}
	return out;
}

bool date_to_seconds(const char *date, int64_t *out)
{
	struct tm tm = {0};
	const char *end = date ? strptime(date, "%Y-%m-%dT%H:%M:%S%z", &tm) : NULL;
	long offset = tm.tm_gmtoff;

	if (!end || *end)
		return false;
	*out = (int64_t)timegm(&tm) - offset;
	return true;
}

const char *format_date(char out[FORMAT_MAX], const char *date)
{
	int64_t seconds;
	struct tm tm;
	time_t t;

	if (!date_to_seconds(date, &seconds)) {
		snprintf(out, FORMAT_MAX, "%s", date ? date : "");
		return format_printable(out);
	}
	t = (time_t)seconds;
	localtime_r(&t, &tm);
	strftime(out, FORMAT_MAX, "%Y-%m-%d %H:%M:%S", &tm);
	return out;
}

const char *format_bytes(char out[FORMAT_MAX], double bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	size_t unit = 0;

	while (bytes >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
		bytes /= 1024;
		unit++;
	}
	snprintf(out, FORMAT_MAX, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
	return out;
}

char *format_printable(char *text)
{
	str_make_printable(text);
	return text;
}
