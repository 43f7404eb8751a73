/*
 * A request of the query API, whatever it says: its parameters are converted as its route wants or refused with a
 * status and a sentence, and the text to sign is in lower case and does not depend on the order of the parameters.
 *
 * Input: name=value&name=value, bytes as they are.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/api.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

#define SIZE_MAX_USEFUL 8192
#define PARAMS_MAX 64

static size_t take_apart(struct api_param *params, char *text)
{
	size_t n = 0;
	char *next;

	for (char *p = text; p && *p && n < PARAMS_MAX; p = next) {
		char *equals;

		next = strchr(p, '&');
		if (next)
			*next++ = '\0';
		equals = strchr(p, '=');
		if (equals)
			*equals++ = '\0';
		params[n++] = (struct api_param){.name = p, .value = equals ? equals : ""};
	}
	return n;
}

static void must_be_a_refusal(const struct api_error *e)
{
	MUST(e->status == API_BAD_PARAM || e->status == API_BAD_SYNTAX);
	MUST(e->code == CS_API || e->code == CS_VALUE);
	MUST(e->why.text[0]);
}

static void must_be_as_specified(const struct api_value *v, const struct api_param_spec *spec)
{
	MUST(!spec->required || v->has);
	MUST(v->has == (v->text != NULL));
	if (v->has && spec->type == API_INTEGER)
		MUST(v->number >= INT32_MIN && v->number <= INT32_MAX);
	if (v->has && spec->type == API_UUID && spec->entity == ENTITY_NONE)
		MUST(uuid_is_valid(v->text));
	if (v->has && spec->type == API_DATE) {
		char text[API_DATE_TEXT];
		bool has_offset;
		int64_t again;

		api_date_format(text, v->number);
		MUST(v->number < 0 || (api_date_parse(text, &again, &has_offset) && again / 1000 == v->number / 1000));
	}
}

static void convert(const struct api_route *r, const struct api_param *params, size_t n)
{
	struct api_value values[API_PARAMS_MAX];
	struct api_error error = {0};
	struct api_paging paging;

	MUST(r->n_params <= API_PARAMS_MAX);
	if (!api_convert(values, r->params, r->n_params, params, n, &error)) {
		must_be_a_refusal(&error);
		return;
	}
	for (size_t i = 0; i < r->n_params; i++)
		must_be_as_specified(&values[i], &r->params[i]);
	/* Of lists the last two are page and pagesize. */
	if (r->is_list) {
		const struct api_value *page = &values[r->n_params - 2], *size = &values[r->n_params - 1];

		if (!api_paging(&paging, page->has ? &page->number : NULL, size->has ? &size->number : NULL, 500,
				&error))
			must_be_a_refusal(&error);
		else
			MUST(paging.room > 0);
	}
}

static bool has_twice(const struct api_param *params, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < i; k++)
			if (strcmp(params[i].name, params[k].name) == 0)
				return true;
	return false;
}

static void sign(const struct api_param *params, size_t n)
{
	struct api_param reversed[PARAMS_MAX];
	struct buf text = {0}, other = {0}, literal = {0};

	for (size_t i = 0; i < n; i++)
		reversed[i] = params[n - 1 - i];
	MUST(api_signing_text(&text, params, n, true) == ERR_OK);
	MUST(api_signing_text(&other, reversed, n, true) == ERR_OK);
	MUST(api_signing_text(&literal, params, n, false) == ERR_OK);
	for (size_t i = 0; i < text.len; i++)
		MUST(text.data[i] < 'A' || text.data[i] > 'Z');
	MUST(literal.len <= text.len);
	if (!has_twice(params, n))
		MUST(text.len == other.len && (!text.len || memcmp(text.data, other.data, text.len) == 0));
	buf_deinit(&text);
	buf_deinit(&other);
	buf_deinit(&literal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEAN(mem_freep) char *text = size <= SIZE_MAX_USEFUL ? mem_strndup((const char *)data, size) : NULL;
	struct api_param params[PARAMS_MAX];
	const char *command;
	const struct api_route *r;
	size_t n;

	if (!text)
		return 0;
	n = take_apart(params, text);
	sign(params, n);
	command = api_param_exact(params, n, "command");
	r = command ? api_route_find(command) : NULL;
	if (r) {
		convert(r, params, n);
		return 0;
	}
	for (size_t i = 0; (r = api_route_at(i)); i++)
		convert(r, params, n);
	return 0;
}
