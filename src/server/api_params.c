/*
 * Names are matched without case, except those of query-api 1.2.3; unknown ones are ignored. Everything that a caller
 * can get wrong has its own sentence, and none of them is trusted: control characters and broken UTF-8 end here.
 */
#include "server/api_params.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/mem.h"
#include "base/str.h"

const char *api_type_name(enum api_type t)
{
	static const char *const names[] = {
		[API_UUID] = "uuid", [API_STRING] = "string", [API_BOOLEAN] = "boolean", [API_INTEGER] = "integer",
		[API_LONG] = "long", [API_DATE] = "date",     [API_LIST] = "list",
	};

	return names[t];
}

const char *api_param_find(const struct api_param *params, size_t n, const char *name)
{
	for (size_t i = n; i-- > 0;)
		if (strcasecmp(params[i].name, name) == 0)
			return params[i].value;
	return NULL;
}

const char *api_param_exact(const struct api_param *params, size_t n, const char *name)
{
	for (size_t i = n; i-- > 0;)
		if (strcmp(params[i].name, name) == 0)
			return params[i].value;
	return NULL;
}

static bool fail(struct api_error *error, int status, int code)
{
	error->status = status;
	error->code = code;
	return false;
}

/* ---- what holds for all parameters ---- */

/* LF and CR are the only control characters that may be in a value (query-api 1.2.8). */
static bool value_is_clean(const char *v)
{
	for (const unsigned char *c = (const unsigned char *)v; *c; c++)
		if ((*c < 0x20 && *c != '\n' && *c != '\r') || *c == 0x7f)
			return false;
	return str_is_utf8(v, strlen(v));
}

/* name[0].key: one pair of brackets around a number, and nothing with a dot before them. */
static bool name_is_well_formed(const char *name)
{
	const char *open = strchr(name, '['), *close, *dot;

	if (!open)
		return true;
	if (strchr(open + 1, '['))
		return false;
	close = strchr(open, ']');
	dot = strchr(name, '.');
	if (!close || close == open + 1 || (dot && dot < close))
		return false;
	for (const char *c = open + 1; c < close; c++)
		if (!isdigit((unsigned char)*c))
			return false;
	return true;
}

static bool check_all(const struct api_param *params, size_t n, struct api_error *error)
{
	for (size_t i = 0; i < n; i++) {
		if (!str_is_utf8(params[i].name, strlen(params[i].name)) || !value_is_clean(params[i].value)) {
			why_set(&error->why, "A parameter has control characters or is not UTF-8");
			return fail(error, API_BAD_PARAM, CS_API);
		}
		if (!name_is_well_formed(params[i].name)) {
			why_set(&error->why, "The parameter name %.64s is not well formed", params[i].name);
			return fail(error, API_BAD_SYNTAX, CS_API);
		}
	}
	return true;
}

/* ---- one parameter ---- */

static size_t characters(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static bool convert_number(struct api_value *v, const struct api_param_spec *spec, struct api_error *error)
{
	/* A leading + is fine for Java. */
	const char *text = v->text[0] == '+' && isdigit((unsigned char)v->text[1]) ? v->text + 1 : v->text;

	if (spec->type == API_INTEGER && str_is_blank(v->text)) {
		v->has = false;
		return true;
	}
	if (!str_to_i64(text, &v->number) ||
	    (spec->type == API_INTEGER && (v->number < INT32_MIN || v->number > INT32_MAX))) {
		why_set(&error->why, "Parameter %s: \"%.64s\" is not a whole number", spec->name, v->text);
		return fail(error, API_BAD_PARAM, CS_API);
	}
	return true;
}

static bool convert_uuid(struct api_value *v, const struct api_param_spec *spec, struct api_error *error)
{
	/* -1 means "any" in CloudStack; so does nothing at all. */
	if (!spec->required && (str_is_blank(v->text) || strcmp(v->text, "-1") == 0)) {
		v->has = false;
		return true;
	}
	if (spec->entity == ENTITY_NONE && !uuid_is_valid(v->text)) {
		why_set(&error->why, "Parameter %s: \"%.64s\" is not an id", spec->name, v->text);
		return fail(error, API_BAD_PARAM, CS_API);
	}
	return true;
}

static bool convert_one(struct api_value *v, const struct api_param_spec *spec, struct api_error *error)
{
	size_t most = spec->length ? spec->length : API_TEXT_MAX;
	bool has_offset;

	if (characters(v->text) > most) {
		why_set(&error->why, "Parameter %s is longer than %zu characters", spec->name, most);
		return fail(error, API_BAD_PARAM, CS_API);
	}
	switch (spec->type) {
	case API_UUID:
		return convert_uuid(v, spec, error);
	case API_INTEGER:
	case API_LONG:
		return convert_number(v, spec, error);
	case API_BOOLEAN:
		v->flag = strcasecmp(v->text, "true") == 0;
		return true;
	case API_DATE:
		if (api_date_parse(v->text, &v->number, &has_offset))
			return true;
		why_set(&error->why, "Parameter %s: \"%.64s\" is not a date (2026-01-15T08:00:00+0000)", spec->name,
			v->text);
		return fail(error, API_BAD_PARAM, CS_API);
	case API_STRING:
	case API_LIST:
		return true;
	}
	return true;
}

bool api_convert(struct api_value *out, const struct api_param_spec *specs, size_t n_specs,
		 const struct api_param *params, size_t n, struct api_error *error)
{
	if (!check_all(params, n, error))
		return false;
	for (size_t i = 0; i < n_specs; i++) {
		const char *text = api_param_find(params, n, specs[i].name);

		out[i] = (struct api_value){.has = text != NULL, .text = text};
		if (!text && specs[i].required) {
			why_set(&error->why, "Parameter %s is missing", specs[i].name);
			return fail(error, API_BAD_PARAM, CS_API);
		}
		if (text && specs[i].required && str_is_blank(text)) {
			why_set(&error->why, "Parameter %s is empty", specs[i].name);
			return fail(error, API_BAD_PARAM, CS_VALUE);
		}
		if (text && !convert_one(&out[i], &specs[i], error))
			return false;
		if (!out[i].has)
			out[i] = (struct api_value){0};
	}
	return true;
}

/* ---- paging ---- */

bool api_paging(struct api_paging *out, const int64_t *page, const int64_t *page_size, int64_t most,
		struct api_error *error)
{
	if (!page && !page_size) {
		*out = (struct api_paging){.room = most < 0 ? SIZE_MAX : (size_t)most};
		return true;
	}
	if (!page && *page_size == -1) {
		*out = (struct api_paging){.room = SIZE_MAX};
		return true;
	}
	if (!page || !page_size)
		why_set(&error->why, "Give both page and pagesize, or neither");
	else if (*page_size == -1)
		why_set(&error->why, "pagesize=-1 is everything: it takes no page");
	else if (*page < 1 || *page_size < 1)
		why_set(&error->why, "page and pagesize start at 1");
	else if (most >= 0 && *page_size > most)
		why_set(&error->why, "pagesize %lld is larger than %lld (default.page.size)", (long long)*page_size,
			(long long)most);
	else {
		/* Both are 32-bit numbers: no overflow. */
		*out = (struct api_paging){
			.first = (size_t)(*page - 1) * (size_t)*page_size,
			.room = (size_t)*page_size,
		};
		return true;
	}
	return fail(error, API_BAD_PARAM, CS_VALUE);
}

/* ---- dates ---- */

void api_date_format(char out[API_DATE_TEXT], int64_t unix_ms)
{
	time_t t = (time_t)(unix_ms / 1000);
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(out, API_DATE_TEXT, "%Y-%m-%dT%H:%M:%S+0000", &tm))
		out[0] = '\0';
}

/* Exactly n digits. */
static bool digits(const char **p, int n, int *out)
{
	*out = 0;
	for (; n > 0; n--, ++*p) {
		if (!isdigit((unsigned char)**p))
			return false;
		*out = *out * 10 + (**p - '0');
	}
	return true;
}

static bool separator(const char **p, const char *any_of)
{
	if (!**p || !strchr(any_of, **p))
		return false;
	++*p;
	return true;
}

/* "Z", "+01:00", "+0100", "+01" */
static bool parse_offset(const char **p, int *minutes)
{
	int sign = **p == '-' ? -1 : 1, h, m = 0;

	if (**p == 'Z') {
		++*p;
		*minutes = 0;
		return true;
	}
	if (!separator(p, "+-") || !digits(p, 2, &h))
		return false;
	if (**p) {
		if (**p == ':')
			++*p;
		if (!digits(p, 2, &m))
			return false;
	}
	*minutes = sign * (h * 60 + m);
	return h <= 18 && m < 60;
}

static bool parse_time(const char **p, struct tm *tm, int *ms)
{
	int scale = 100;

	if (!separator(p, "T ") || !digits(p, 2, &tm->tm_hour) || !separator(p, ":") || !digits(p, 2, &tm->tm_min) ||
	    !separator(p, ":") || !digits(p, 2, &tm->tm_sec))
		return false;
	if (**p == '.') {
		++*p;
		if (!isdigit((unsigned char)**p))
			return false;
		for (int n = 0; isdigit((unsigned char)**p); ++*p) {
			if (++n > 9)
				return false;
			*ms += (**p - '0') * scale;
			scale /= 10;
		}
	}
	return tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec <= 60;
}

bool api_date_parse(const char *text, int64_t *unix_ms, bool *has_offset)
{
	static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	const char *p = text;
	struct tm tm = {0};
	int year, month, day, minutes = 0, ms = 0;

	*has_offset = false;
	if (!digits(&p, 4, &year) || !separator(&p, "-") || !digits(&p, 2, &month) || !separator(&p, "-") ||
	    !digits(&p, 2, &day) || month < 1 || month > 12 || day < 1 || day > days[month - 1])
		return false;
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	tm.tm_mday = day;
	if (*p) {
		if (!parse_time(&p, &tm, &ms))
			return false;
		if (*p) {
			*has_offset = true;
			if (!parse_offset(&p, &minutes))
				return false;
		}
	}
	if (*p)
		return false;
	*unix_ms = ((int64_t)timegm(&tm) - (int64_t)minutes * 60) * 1000 + ms;
	return true;
}

/* ---- signing ---- */

static int by_name(const void *a, const void *b)
{
	const struct api_param *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static enum err put_lower(struct buf *out, const char *name)
{
	enum err e = ERR_OK;

	for (; !e && *name; name++)
		e = buf_put_u8(out, (uint8_t)(*name >= 'A' && *name <= 'Z' ? *name | 0x20 : *name));
	return e;
}

static enum err put_encoded(struct buf *out, const char *value, bool encode_tilde)
{
	static const char hex[] = "0123456789abcdef";
	enum err e = ERR_OK;

	for (const unsigned char *c = (const unsigned char *)value; !e && *c; c++) {
		if (*c >= 'A' && *c <= 'Z') {
			e = buf_put_u8(out, (uint8_t)(*c | 0x20));
		} else if ((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || strchr(".-*_", *c) ||
			   (*c == '~' && !encode_tilde)) {
			e = buf_put_u8(out, *c);
		} else {
			const char escaped[] = {'%', hex[*c >> 4], hex[*c & 15]};

			e = buf_put(out, escaped, sizeof(escaped));
		}
	}
	return e;
}

enum err api_signing_text(struct buf *out, const struct api_param *params, size_t n, bool encode_tilde)
{
	CLEAN(mem_freep)
	const struct api_param **sorted = mem_zalloc_array(n ? n : 1, sizeof(const struct api_param *));
	enum err e = ERR_OK;
	size_t n_sorted = 0;

	if (!sorted)
		return ERR_NOMEM;
	for (size_t i = 0; i < n; i++)
		if (strcasecmp(params[i].name, "signature") != 0)
			sorted[n_sorted++] = &params[i];
	qsort(sorted, n_sorted, sizeof(*sorted), by_name);
	for (size_t i = 0; !e && i < n_sorted; i++) {
		if (i)
			e = buf_put_u8(out, '&');
		if (!e)
			e = put_lower(out, sorted[i]->name);
		if (!e)
			e = buf_put_u8(out, '=');
		if (!e)
			e = put_encoded(out, sorted[i]->value, encode_tilde);
	}
	return e;
}
