/*
 * Writing bodies: one walk over the class's table, absent fields left out.
 */
#include "wire/message.h"

#include <string.h>

#include "base/mem.h"
#include "wire/classes.h"
#include "wire/json_out.h"

static void put_texts(struct json_out *o, const struct str_list *list)
{
	json_out_raw(o, "[");
	for (size_t i = 0; i < list->n; i++) {
		if (i)
			json_out_raw(o, ",");
		json_out_text(o, list->items[i], strlen(list->items[i]));
	}
	json_out_raw(o, "]");
}

static void put_text_map(struct json_out *o, const msg_text_map *map)
{
	bool is_first = true;

	json_out_raw(o, "{");
	for (size_t i = 0; i < map->n; i++) {
		const struct text_pair *pair = &map->pairs[i];

		if (!pair->value)
			continue;
		if (!is_first)
			json_out_raw(o, ",");
		json_out_text(o, pair->key, strlen(pair->key));
		json_out_raw(o, ":");
		json_out_text(o, pair->value, strlen(pair->value));
		is_first = false;
	}
	json_out_raw(o, "}");
}

static bool is_present(const struct field *f, const void *at)
{
	switch (f->kind) {
	case FIELD_i64:
		return ((const msg_i64 *)at)->has;
	case FIELD_bool:
		return ((const msg_bool *)at)->has;
	case FIELD_real:
		return ((const msg_real *)at)->has;
	case FIELD_text:
		return *(const msg_text *)at;
	case FIELD_texts:
		return ((const msg_texts *)at)->has;
	case FIELD_text_map:
		return ((const msg_text_map *)at)->has;
	case FIELD_json:
		return *(const msg_json *)at;
	}
	return false;
}

static void put_value(struct json_out *o, const struct field *f, const void *at)
{
	switch (f->kind) {
	case FIELD_i64:
		json_out_i64(o, ((const msg_i64 *)at)->value);
		break;
	case FIELD_bool:
		json_out_bool(o, ((const msg_bool *)at)->value);
		break;
	case FIELD_real:
		json_out_real(o, ((const msg_real *)at)->value);
		break;
	case FIELD_text:
		json_out_text(o, *(const msg_text *)at, strlen(*(const msg_text *)at));
		break;
	case FIELD_texts:
		put_texts(o, &((const msg_texts *)at)->list);
		break;
	case FIELD_text_map:
		put_text_map(o, at);
		break;
	case FIELD_json:
		json_out_value(o, *(const msg_json *)at);
		break;
	}
}

static void put_fields(struct json_out *o, const struct class_row *c, const void *fields)
{
	bool is_first = true;

	json_out_raw(o, "{");
	for (size_t i = 0; i < c->n_fields; i++) {
		const struct field *f = &c->fields[i];
		const void *at = field_of(f, fields);

		if (!is_present(f, at))
			continue;
		if (!is_first)
			json_out_raw(o, ",");
		json_out_text(o, f->name, strlen(f->name));
		json_out_raw(o, ":");
		put_value(o, f, at);
		is_first = false;
	}
	json_out_raw(o, "}");
}

static void put_element(struct json_out *o, const struct element *e)
{
	if (!e->fields) { /* MSG_UNKNOWN or MSG_BAD: what was in it is not kept */
		o->err = o->err ? o->err : ERR_INVALID;
		return;
	}
	json_out_raw(o, "{");
	json_out_text(o, e->class_name, strlen(e->class_name));
	json_out_raw(o, ":");
	put_fields(o, class_of(e->type), e->fields);
	json_out_raw(o, "}");
}

enum err batch_encode(const struct batch *b, struct buf *out)
{
	struct json_out o = {.to = out};
	size_t before = out->len;

	json_out_raw(&o, "[");
	for (size_t i = 0; i < b->n; i++) {
		if (i)
			json_out_raw(&o, ",");
		put_element(&o, &b->elements[i]);
	}
	json_out_raw(&o, "]");
	if (o.err)
		out->len = before;
	return o.err;
}

json_t *element_to_json(const struct element *e)
{
	struct buf text = {0};
	struct json_out o = {.to = &text};
	json_t *copy = NULL;

	if (!e->fields)
		return json_object();
	put_fields(&o, class_of(e->type), e->fields);
	if (!o.err)
		copy = json_loadb((const char *)text.data, text.len, JSON_ALLOW_NUL, NULL);
	buf_deinit(&text);
	return copy;
}
