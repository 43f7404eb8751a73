/*
 * The table of message classes, made from wire/msg.def: what the one decoder, encoder and free function walk.
 * Only src/wire includes it.
 */
#pragma once

#include <stddef.h>

#include "wire/message.h"

/* Named after the kinds in msg.def, so that they can be put together from there. */
enum field_kind { FIELD_text, FIELD_i64, FIELD_bool, FIELD_real, FIELD_texts, FIELD_text_map, FIELD_json };

struct field {
	const char *name;
	enum field_kind kind;
	size_t offset; /* in the class's struct */
};

enum class_kind { CLASS_COMMAND, CLASS_ANSWER, CLASS_STARTUP };

/* The flags column of msg.def. */
enum class_flag {
	CLASS_IS_0 = 0,
	CLASS_IS_SEQ = 1 << 0,
	CLASS_IS_CRON = 1 << 1,
	CLASS_IS_BARE = 1 << 2,
	CLASS_IS_PING = 1 << 3,
	CLASS_IS_OURS = 1 << 4,
};

struct class_row {
	const char *name;
	enum class_kind kind;
	unsigned flags;
	size_t size;                /* of the struct */
	size_t startup;             /* CLASS_STARTUP: offset of the shared part */
	const struct field *fields; /* in the order in which they are written */
	size_t n_fields;
};

/* NULL for MSG_UNKNOWN and MSG_BAD. */
const struct class_row *class_of(enum msg_type type);
/* The field of that name, inside `fields` (the class's struct), or NULL. */
void *class_field(const struct class_row *c, void *fields, const char *name);

/* Frees what the fields own and the struct itself. */
void class_free_fields(const struct class_row *c, void *fields);

static inline void *field_in(const struct field *f, void *fields)
{
	return (char *)fields + f->offset;
}

static inline const void *field_of(const struct field *f, const void *fields)
{
	return (const char *)fields + f->offset;
}
