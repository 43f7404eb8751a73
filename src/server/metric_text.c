#include "server/metric_text.h"

#include <inttypes.h>
#include <string.h>

#include "base/str.h"

static const char *const types[] = {
	[METRIC_GAUGE] = "gauge",
	[METRIC_COUNTER] = "counter",
};

static void put(struct metric_writer *w, const char *text, size_t n)
{
	if (!w->error)
		w->error = buf_put(&w->out, text, n);
}

static void put_text(struct metric_writer *w, const char *text)
{
	put(w, text, strlen(text));
}

/* In help a line break and a backslash are escaped, a quotation mark is not. */
static void put_help(struct metric_writer *w, const char *text)
{
	for (; *text; text++) {
		if (*text == '\n')
			put_text(w, "\\n");
		else if (*text == '\\')
			put_text(w, "\\\\");
		else
			put(w, text, 1);
	}
}

void metric_begin(struct metric_writer *w, const struct metric *m)
{
	w->metric = m;
	put_text(w, "# HELP ");
	put_text(w, m->name);
	put_text(w, " ");
	put_help(w, m->help);
	put_text(w, "\n# TYPE ");
	put_text(w, m->name);
	put_text(w, " ");
	put_text(w, types[m->type]);
	put_text(w, "\n");
}

/* Control characters are legal there, but whoever looks at it with curl has a terminal. */
static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

static void put_character(struct metric_writer *w, const char *at, size_t n, uint32_t c)
{
	if (c == '\n')
		put_text(w, "\\n");
	else if (c == '"')
		put_text(w, "\\\"");
	else if (c == '\\')
		put_text(w, "\\\\");
	else if (is_control(c))
		put_text(w, "\xef\xbf\xbd");
	else
		put(w, at, n);
}

/* A scraper throws the whole answer away for one byte that is not UTF-8: such bytes become U+FFFD. */
static void put_value(struct metric_writer *w, const char *value)
{
	size_t left = value ? strlen(value) : 0, taken = 0;

	put_text(w, "\"");
	while (left) {
		uint32_t c;
		size_t n = str_utf8_get(value, left, &c);
		size_t step = n ? n : 1;

		taken += step;
		if (taken > METRIC_VALUE_MAX)
			break;
		if (n)
			put_character(w, value, n, c);
		else
			put_text(w, "\xef\xbf\xbd");
		value += step;
		left -= step;
	}
	put_text(w, "\"");
}

static void put_labels(struct metric_writer *w, const char *const *values)
{
	const char *names = w->metric->labels;
	char before = '{';

	for (size_t i = 0; *names && i < METRIC_LABELS_MAX; i++) {
		size_t n = strcspn(names, ",");

		put(w, &before, 1);
		put(w, names, n);
		put_text(w, "=");
		put_value(w, values[i]);
		before = ',';
		names += n + (names[n] == ',');
	}
	if (before == ',')
		put_text(w, "}");
}

static void put_number(struct metric_writer *w, int64_t value, unsigned decimals)
{
	uint64_t of = value < 0 ? -(uint64_t)value : (uint64_t)value, unit = 1;

	for (unsigned i = 0; i < decimals; i++)
		unit *= 10;
	if (w->error)
		return;
	if (decimals)
		w->error = buf_printf(&w->out, " %s%" PRIu64 ".%0*" PRIu64 "\n", value < 0 ? "-" : "", of / unit,
				      (int)decimals, of % unit);
	else
		w->error = buf_printf(&w->out, " %" PRId64 "\n", value);
}

void metric_sample(struct metric_writer *w, const char *const *values, int64_t value, unsigned decimals)
{
	put_text(w, w->metric->name);
	put_labels(w, values);
	put_number(w, value, decimals);
}
