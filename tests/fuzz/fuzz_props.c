/*
 * Whatever properties file can be read: written untouched it is the same bytes; read again, written by us from its
 * keys and values, and changed in any order, it still says the same.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/props.h"
#include "base/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

CLEAN_DEFINE(struct props, props_free)

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* Every walk over a document looks at all its lines: a few thousand keys are plenty. */
#define SIZE_MAX_USEFUL 8192

static struct props *parse(const struct buf *text)
{
	struct props *p = NULL;

	MUST(props_parse(&p, text->data, text->len, NULL) == ERR_OK);
	return p;
}

static void must_be_same(const struct props *a, const struct props *b)
{
	const char *key;

	MUST(props_count(a) == props_count(b));
	for (size_t i = 0; (key = props_key_at(a, i)); i++) {
		MUST(strcmp(props_key_at(b, i), key) == 0);
		MUST(strcmp(props_get(b, key), props_get(a, key)) == 0);
	}
}

static void must_survive_writing(const struct props *p)
{
	CLEAN(buf_deinit) struct buf text = {0};
	CLEAN(props_freep) struct props *again = NULL;
	const char *key;

	MUST(props_write(p, &text) == ERR_OK);
	again = parse(&text);
	must_be_same(p, again);
	for (size_t i = 0; (key = props_key_at(p, i)); i++)
		MUST(props_line(p, key) > 0);
}

static void must_survive_our_spelling(const struct props *p)
{
	CLEAN(buf_deinit) struct buf text = {0};
	CLEAN(props_freep) struct props *again = NULL;
	const char *key;

	for (size_t i = 0; (key = props_key_at(p, i)); i++)
		MUST(props_put_pair(&text, key, props_get(p, key)) == ERR_OK);
	again = parse(&text);
	must_be_same(p, again);
}

/* Sets, adds and removes a few keys; after each step the bytes must say what the document says. */
static void must_survive_changes(struct props *p, uint64_t seed)
{
	static const char *const values[] = {"", " ", "a b", "\\", "#", "\xc3\xa9", "\xf0\x9f\x98\x80", "x\r\ny=z"};
	struct rng rng;

	rng_init(&rng, seed);
	for (size_t i = 0; i < 6; i++) {
		size_t n = props_count(p);
		const char *key = n && rng_below(&rng, 4) ? props_key_at(p, rng_below(&rng, n)) : "a new: key";
		bool changed;

		if (rng_below(&rng, 3) == 0)
			props_remove(p, key, &changed);
		else
			MUST(props_set(p, key, values[rng_below(&rng, ARRAY_SIZE(values))], &changed) == ERR_OK);
		must_survive_writing(p);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEAN(props_freep) struct props *p = NULL;
	CLEAN(buf_deinit) struct buf text = {0};
	struct why why = WHY_NONE;
	uint64_t seed = size;

	if (size > SIZE_MAX_USEFUL)
		return 0;
	if (props_parse(&p, data, size, &why)) {
		/* A refusal says in which line. */
		MUST(strncmp(why.text, "line ", 5) == 0);
		return 0;
	}
	MUST(props_write(p, &text) == ERR_OK);
	MUST(text.len == size && (!size || memcmp(text.data, data, size) == 0));
	must_survive_writing(p);
	must_survive_our_spelling(p);
	for (size_t i = 0; i < size; i++)
		seed = seed * 31 + data[i];
	must_survive_changes(p, seed);
	return 0;
}
