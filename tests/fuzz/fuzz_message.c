/*
 * Any body: what can be read is written as plain ASCII, and read and written again it is the same.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "wire/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

#define SIZE_MAX_USEFUL (256 * 1024)

static void must_be_ascii(const struct buf *text)
{
	for (size_t i = 0; i < text->len; i++)
		MUST(text->data[i] >= 0x20 && text->data[i] < 0x80);
}

static void must_be_whole(const struct element *e)
{
	MUST(e->class_name);
	MUST(!!e->complaint == (e->type == MSG_BAD));
	MUST(!!e->fields == (e->type != MSG_BAD && e->type != MSG_UNKNOWN));
	MUST(!element_startup(e) == !msg_is_startup(e->type));
	MUST(!element_result(e) || msg_is_answer(e->type));
	MUST(!element_details(e) || msg_is_answer(e->type));
	if (e->fields) {
		json_t *copy = element_to_json(e);

		MUST(json_is_object(copy));
		json_decref(copy);
		MUST(!strcmp(e->class_name, msg_class(e->type)));
	}
}

/* Elements that cannot be written (unknown, bad) go to `rest`. */
static struct batch take_known(struct batch *b, struct batch *rest)
{
	struct batch known = {.elements = mem_zalloc_array(b->n, sizeof(*b->elements))};

	rest->elements = mem_zalloc_array(b->n, sizeof(*b->elements));
	MUST(known.elements && rest->elements);
	for (size_t i = 0; i < b->n; i++) {
		struct batch *to = b->elements[i].fields ? &known : rest;

		to->elements[to->n++] = b->elements[i];
	}
	mem_free(b->elements);
	*b = (struct batch){0};
	return known;
}

static void must_survive_writing(const struct batch *known)
{
	CLEAN(buf_deinit) struct buf first = {0};
	CLEAN(buf_deinit) struct buf second = {0};
	CLEAN(batch_deinit) struct batch again = {0};

	MUST(batch_encode(known, &first) == ERR_OK);
	must_be_ascii(&first);
	MUST(batch_decode(&again, (const char *)first.data, first.len, NULL) == ERR_OK);
	MUST(again.n == known->n);
	for (size_t i = 0; i < again.n; i++)
		MUST(again.elements[i].type == known->elements[i].type);
	MUST(batch_encode(&again, &second) == ERR_OK);
	MUST(first.len == second.len && !memcmp(first.data, second.data, first.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEAN(batch_deinit) struct batch b = {0};
	CLEAN(batch_deinit) struct batch known = {0};
	CLEAN(batch_deinit) struct batch rest = {0};
	struct why why = WHY_NONE;
	enum err err;

	if (size > SIZE_MAX_USEFUL)
		return 0;
	err = batch_decode(&b, (const char *)data, size, &why);
	MUST(!err == !why.text[0]);
	if (err) {
		MUST(err == ERR_MALFORMED || err == ERR_TOO_BIG);
		return 0;
	}
	MUST(b.n <= 1000);
	for (size_t i = 0; i < b.n; i++)
		must_be_whole(&b.elements[i]);
	known = take_known(&b, &rest);
	must_survive_writing(&known);
	return 0;
}
