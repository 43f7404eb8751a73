/*
 * The table of message classes.
 *
 * Each class gets a function that holds its rows. They are functions only because a row names its struct as `self`,
 * which must mean another struct in each of them; there is no code in them.
 */
#include "wire/classes.h"

#include <string.h>

#include "base/mem.h"

/* clang-format off */
#define ROW(kind, name) { #name, FIELD_##kind, offsetof(self, name) },
#define ROW_OF_STARTUP(kind, name) { #name, FIELD_##kind, offsetof(self, startup.name) },

#define ROWS_COMMAND COMMAND_FIELDS(ROW)
#define ROWS_ANSWER  ANSWER_FIELDS(ROW) COMMAND_FIELDS(ROW)
#define ROWS_STARTUP STARTUP_FIELDS(ROW_OF_STARTUP) COMMAND_FIELDS(ROW_OF_STARTUP)

#define STARTUP_AT_COMMAND 0
#define STARTUP_AT_ANSWER  0
#define STARTUP_AT_STARTUP offsetof(self, startup)

#define X(ENUM, name_, class_name, kind_, flags_, FIELDS)                     \
	static const struct class_row *class_##name_(void)                    \
	{                                                                     \
		typedef struct msg_##name_ self;                              \
		static const struct field rows[] = {                          \
			FIELDS(ROW)                                           \
			ROWS_##kind_                                          \
		};                                                            \
		static const struct class_row row = {                         \
			.name = class_name,                                   \
			.kind = CLASS_##kind_,                                \
			.flags = CLASS_IS_##flags_,                           \
			.size = sizeof(self),                                 \
			.startup = STARTUP_AT_##kind_,                        \
			.fields = rows,                                       \
			.n_fields = ARRAY_SIZE(rows),                         \
		};                                                            \
		return &row;                                                  \
	}
MSG_LIST(X)
#undef X
/* clang-format on */

static const struct class_row *(*const classes[MSG_N])(void) = {
#define X(ENUM, name, class_name, kind, flags, FIELDS) [MSG_##ENUM] = class_##name,
	MSG_LIST(X)
#undef X
};

const struct class_row *class_of(enum msg_type type)
{
	if ((size_t)type >= MSG_N || !classes[type])
		return NULL;
	return classes[type]();
}

void *class_field(const struct class_row *c, void *fields, const char *name)
{
	for (size_t i = 0; i < c->n_fields; i++)
		if (!strcmp(c->fields[i].name, name))
			return field_in(&c->fields[i], fields);
	return NULL;
}

static void map_free(struct opt_text_map *map)
{
	for (size_t i = 0; i < map->n; i++) {
		mem_free(map->pairs[i].key);
		mem_free(map->pairs[i].value);
	}
	mem_free(map->pairs);
}

static void field_free(const struct field *f, void *fields)
{
	void *at = field_in(f, fields);

	switch (f->kind) {
	case FIELD_text:
		mem_free(*(msg_text *)at);
		break;
	case FIELD_texts:
		str_list_deinit(&((msg_texts *)at)->list);
		break;
	case FIELD_text_map:
		map_free(at);
		break;
	case FIELD_json:
		json_decref(*(msg_json *)at);
		break;
	case FIELD_i64:
	case FIELD_bool:
	case FIELD_real:
		break; /* own nothing */
	}
}

void class_free_fields(const struct class_row *c, void *fields)
{
	if (!fields)
		return;
	for (size_t i = 0; i < c->n_fields; i++)
		field_free(&c->fields[i], fields);
	mem_free(fields);
}
