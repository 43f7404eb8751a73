/*
 * Batches: their life, what is in them, and small setters. Reading is in message_get.c, writing in message_put.c.
 */
#include "wire/message.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "wire/classes.h"

/* ---- life ---- */

void batch_deinit(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		struct element *e = &b->elements[i];

		if (e->fields)
			class_free_fields(class_of(e->type), e->fields);
		mem_free(e->class_name);
		mem_free(e->complaint);
	}
	mem_free(b->elements);
	*b = (struct batch){0};
}

/* What the reference's constructors set. */
static void set_defaults(const struct class_row *c, void *fields)
{
	msg_text_map *context = class_field(c, fields, "contextMap");

	context->has = true;
	msg_set_i64(class_field(c, fields, "wait"), 0);
	msg_set_bool(class_field(c, fields, "bypassHostMaintenance"), false);
	if (c->kind == CLASS_ANSWER)
		msg_set_bool(class_field(c, fields, "result"), true);
}

void *batch_add(struct batch *b, enum msg_type type)
{
	const struct class_row *c = class_of(type);
	CLEAN(mem_freep) char *name = NULL;
	CLEAN(mem_freep) void *fields = NULL;
	struct element *elements;

	assert(c);

	name = mem_strdup(c->name);
	fields = mem_zalloc(c->size);
	if (!name || !fields)
		return NULL;
	elements = mem_grow_array(b->elements, b->n + 1, sizeof(*elements));
	if (!elements)
		return NULL;
	b->elements = elements;

	set_defaults(c, fields);
	elements[b->n] = (struct element){.type = type, .class_name = STEAL(name), .fields = STEAL(fields)};
	return elements[b->n++].fields;
}

const void *batch_find(const struct batch *b, enum msg_type type)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->elements[i].type == type)
			return b->elements[i].fields;
	return NULL;
}

/* ---- classes ---- */

const char *msg_class(enum msg_type type)
{
	const struct class_row *c = class_of(type);

	return c ? c->name : "";
}

enum msg_type msg_type_of(const char *class_name)
{
	for (enum msg_type type = MSG_BAD + 1; type < MSG_N; type++)
		if (!strcmp(class_of(type)->name, class_name))
			return type;
	return MSG_UNKNOWN;
}

static bool is_kind(enum msg_type type, enum class_kind kind)
{
	const struct class_row *c = class_of(type);

	return c && c->kind == kind;
}

static bool has_flag(enum msg_type type, enum class_flag flag)
{
	const struct class_row *c = class_of(type);

	return c && c->flags & flag;
}

bool msg_is_answer(enum msg_type type)
{
	return is_kind(type, CLASS_ANSWER);
}

bool msg_is_startup(enum msg_type type)
{
	return is_kind(type, CLASS_STARTUP);
}

bool msg_is_ping(enum msg_type type)
{
	return has_flag(type, CLASS_IS_PING);
}

bool msg_is_cron(enum msg_type type)
{
	return has_flag(type, CLASS_IS_CRON);
}

bool msg_in_sequence(enum msg_type type)
{
	return has_flag(type, CLASS_IS_SEQ);
}

/* ---- elements ---- */

bool element_result(const struct element *e)
{
	const msg_bool *result;

	if (!msg_is_answer(e->type))
		return false;
	result = class_field(class_of(e->type), e->fields, "result");
	if (result->has)
		return result->value;
	/* Java runs no initialiser for a bare class; of our own classes nobody leaves it out. */
	return !has_flag(e->type, CLASS_IS_BARE) && !has_flag(e->type, CLASS_IS_OURS);
}

const char *element_details(const struct element *e)
{
	if (!msg_is_answer(e->type))
		return NULL;
	return *(const msg_text *)class_field(class_of(e->type), e->fields, "details");
}

const struct msg_startup_common *element_startup(const struct element *e)
{
	if (!msg_is_startup(e->type))
		return NULL;
	return (const void *)((const char *)e->fields + class_of(e->type)->startup);
}

/* ---- setters ---- */

enum err msg_set_text(msg_text *f, const char *v)
{
	char *copy = mem_strdup(v);

	if (v && !copy)
		return ERR_NOMEM;
	mem_free(*f);
	*f = copy;
	return ERR_OK;
}

enum err msg_set_texts(msg_texts *f, const struct str_list *v)
{
	enum err err;

	if (!v) {
		str_list_deinit(&f->list);
		f->has = false;
		return ERR_OK;
	}
	err = str_list_copy(&f->list, v);
	if (!err)
		f->has = true;
	return err;
}

static struct text_pair *find_pair(const msg_text_map *f, const char *key)
{
	for (size_t i = 0; i < f->n; i++)
		if (!strcmp(f->pairs[i].key, key))
			return &f->pairs[i];
	return NULL;
}

static enum err append_pair(msg_text_map *f, const char *key, const char *value)
{
	CLEAN(mem_freep) char *k = mem_strdup(key);
	CLEAN(mem_freep) char *v = mem_strdup(value);
	struct text_pair *pairs;

	if (!k || !v)
		return ERR_NOMEM;
	pairs = mem_grow_array(f->pairs, f->n + 1, sizeof(*pairs));
	if (!pairs)
		return ERR_NOMEM;
	f->pairs = pairs;
	pairs[f->n++] = (struct text_pair){.key = STEAL(k), .value = STEAL(v)};
	f->has = true;
	return ERR_OK;
}

enum err msg_map_put(msg_text_map *f, const char *key, const char *value)
{
	struct text_pair *pair = find_pair(f, key);

	return pair ? msg_set_text(&pair->value, value) : append_pair(f, key, value);
}

const char *msg_map_get(const msg_text_map *f, const char *key)
{
	const struct text_pair *pair = find_pair(f, key);

	return pair ? pair->value : NULL;
}
