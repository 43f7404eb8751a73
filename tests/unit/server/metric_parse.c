#include "metric_parse.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "check.h"

struct line {
	const char *all, *at;
};

static void bad(const struct line *l, const char *what)
{
	fail_msg("%s in \"%s\", at \"%s\"", what, l->all, l->at);
}

static void expect(struct line *l, const char *text)
{
	size_t n = strlen(text);

	if (strncmp(l->at, text, n) != 0)
		bad(l, text);
	l->at += n;
}

/* [a-zA-Z_:][a-zA-Z0-9_:]*, of labels without the colon. */
static void take_name(struct line *l, char *out, size_t size, bool is_label)
{
	size_t n = 0;

	while (isalpha((unsigned char)l->at[n]) || l->at[n] == '_' || (l->at[n] == ':' && !is_label) ||
	       (n && isdigit((unsigned char)l->at[n])))
		n++;
	if (!n || n >= size)
		bad(l, "a name");
	memcpy(out, l->at, n);
	out[n] = '\0';
	l->at += n;
}

static void add(struct line *l, char *out, size_t size, const char *text, size_t n)
{
	size_t have = strlen(out);

	if (have + n >= size)
		bad(l, "more than a test expects");
	memcpy(out + have, text, n);
	out[have + n] = '\0';
}

static void take_value_of_label(struct line *l, char *out, size_t size)
{
	expect(l, "\"");
	while (*l->at != '"') {
		uint32_t c;
		size_t n = str_utf8_get(l->at, strlen(l->at), &c);

		if (!n || c < 0x20 || c == 0x7f || (c >= 0x80 && c < 0xa0))
			bad(l, "a character that may not be there");
		if (c == '\\') {
			l->at++;
			if (!strchr("\\\"n", *l->at) || !*l->at)
				bad(l, "an unknown escape");
			add(l, out, size, *l->at == 'n' ? "\n" : l->at, 1);
			l->at++;
			continue;
		}
		add(l, out, size, l->at, n);
		l->at += n;
	}
	l->at++;
}

static void take_labels(struct line *l, char *out, size_t size)
{
	char name[64], seen[8][64];
	size_t n = 0;

	if (*l->at != '{')
		return;
	do {
		add(l, out, size, l->at++, 1);
		take_name(l, name, sizeof(name), true);
		for (size_t i = 0; i < n; i++)
			if (strcmp(seen[i], name) == 0)
				bad(l, "a label twice");
		if (n == ARRAY_SIZE(seen) || strncmp(name, "__", 2) == 0)
			bad(l, "a label that may not be");
		strcpy(seen[n++], name);
		expect(l, "=");
		add(l, out, size, name, strlen(name));
		add(l, out, size, "=\"", 2);
		take_value_of_label(l, out, size);
		add(l, out, size, "\"", 1);
	} while (*l->at == ',');
	expect(l, "}");
	add(l, out, size, "}", 1);
}

static void take_number(struct line *l, char *out, size_t size)
{
	size_t n = 0, digits = 0;

	if (l->at[n] == '-')
		n++;
	for (; isdigit((unsigned char)l->at[n]); n++)
		digits++;
	if (l->at[n] == '.')
		for (n++; isdigit((unsigned char)l->at[n]); n++)
			digits++;
	if (!digits || l->at[n] || n >= size || l->at[n - 1] == '.')
		bad(l, "no number");
	strcpy(out, l->at);
}

static void take_comment(struct parsed *p, struct line *l)
{
	char word[8], name[96];
	bool is_help;

	expect(l, "# ");
	take_name(l, word, sizeof(word), true);
	expect(l, " ");
	take_name(l, name, sizeof(name), false);
	expect(l, " ");
	is_help = strcmp(word, "HELP") == 0;
	if (is_help) {
		if (p->n_names && !p->types[p->n_names - 1][0])
			bad(l, "a metric without TYPE");
		for (size_t i = 0; i < p->n_names; i++)
			if (strcmp(p->names[i], name) == 0)
				bad(l, "a metric twice");
		if (!*l->at || p->n_names == ARRAY_SIZE(p->names))
			bad(l, "no help");
		strcpy(p->names[p->n_names++], name);
		return;
	}
	if (strcmp(word, "TYPE") != 0 || !p->n_names || strcmp(p->names[p->n_names - 1], name) != 0 ||
	    p->types[p->n_names - 1][0])
		bad(l, "a comment that is neither HELP nor the TYPE after it");
	if (strcmp(l->at, "gauge") != 0 && strcmp(l->at, "counter") != 0)
		bad(l, "an unknown type");
	if ((strcmp(l->at, "counter") == 0) != str_ends(name, "_total"))
		bad(l, "a counter ends in _total, and nothing else does");
	strcpy(p->types[p->n_names - 1], l->at);
}

static void take_sample(struct parsed *p, struct line *l)
{
	struct parsed_sample *s = &p->samples[p->n];
	char name[96];

	if (p->n == ARRAY_SIZE(p->samples))
		bad(l, "more samples than a test expects");
	*s = (struct parsed_sample){.value = ""};
	take_name(l, name, sizeof(name), false);
	if (!p->n_names || strcmp(p->names[p->n_names - 1], name) != 0 || !p->types[p->n_names - 1][0])
		bad(l, "a sample that doesn't stand under its TYPE");
	add(l, s->series, sizeof(s->series), name, strlen(name));
	take_labels(l, s->series, sizeof(s->series));
	expect(l, " ");
	take_number(l, s->value, sizeof(s->value));
	if (s->value[0] == '-' && strcmp(p->types[p->n_names - 1], "counter") == 0)
		bad(l, "a counter below 0");
	if (metric_value(p, s->series))
		bad(l, "a series twice");
	p->n++;
}

void metric_parse(struct parsed *out, const char *text, size_t n)
{
	static char line[4096]; /* of this process, which has one thread */

	*out = (struct parsed){.n = 0};
	if (!n || text[n - 1] != '\n' || memchr(text, '\0', n))
		fail_msg("the text doesn't end in a line break, or has a NUL");
	for (const char *end; n; n -= (size_t)(end + 1 - text), text = end + 1) {
		struct line l = {line, line};

		end = memchr(text, '\n', n);
		if ((size_t)(end - text) >= sizeof(line))
			fail_msg("a line of %zu bytes", (size_t)(end - text));
		memcpy(line, text, (size_t)(end - text));
		line[end - text] = '\0';
		if (line[0] == '#')
			take_comment(out, &l);
		else
			take_sample(out, &l);
	}
	if (out->n_names && !out->types[out->n_names - 1][0])
		fail_msg("%s has no TYPE", out->names[out->n_names - 1]);
}

const char *metric_value(const struct parsed *p, const char *series)
{
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->samples[i].series, series) == 0)
			return p->samples[i].value;
	return NULL;
}
