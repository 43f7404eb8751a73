/*
 * Commands and answers: a message's body is a JSON array of one-key objects, the key being a Java class name
 * (agent-protocol section 3). Each class is described once, in wire/msg.def; structs, decoder, encoder and the table
 * in docs/protocol.md come from there.
 *
 * A decoded batch owns everything in it. Fields that were absent say so (`has`, NULL): absent and empty differ in
 * this protocol. Unknown fields are skipped, unknown classes are kept by name as MSG_UNKNOWN.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* Kinds of fields. */
struct opt_i64 {
	bool has;
	int64_t value;
};
struct opt_bool {
	bool has;
	bool value;
};
struct opt_real {
	bool has;
	double value;
};
struct opt_texts {
	bool has;
	struct str_list list;
};
struct text_pair {
	char *key;
	char *value;
};
struct opt_text_map {
	bool has;
	struct text_pair *pairs; /* owned, in the order of the message */
	size_t n;
};

typedef char *msg_text;
typedef json_t *msg_json; /* kept as it was; NULL: absent */
typedef struct opt_i64 msg_i64;
typedef struct opt_bool msg_bool;
typedef struct opt_real msg_real;
typedef struct opt_texts msg_texts;
typedef struct opt_text_map msg_text_map;

#include "wire/msg.def"

enum msg_type {
	MSG_UNKNOWN, /* a class that we don't know */
	MSG_BAD,     /* a class that we know with a value of the wrong type, or no class at all */
#define X(ENUM, name, class_name, kind, flags, FIELDS) MSG_##ENUM,
	MSG_LIST(X)
#undef X
		MSG_N
};

#define FIELD_MEMBER(type, name) msg_##type name;
/* What a startup of any kind has: the end of each of their structs, as its member `startup`. */
struct msg_startup_common {
	STARTUP_FIELDS(FIELD_MEMBER)
	COMMAND_FIELDS(FIELD_MEMBER)
};
/* Inherited members by kind: a->result, c->wait, s->startup.guid. */
#define TAIL_COMMAND COMMAND_FIELDS(FIELD_MEMBER)
#define TAIL_ANSWER ANSWER_FIELDS(FIELD_MEMBER) COMMAND_FIELDS(FIELD_MEMBER)
#define TAIL_STARTUP struct msg_startup_common startup;
#define X(ENUM, name, class_name, kind, flags, FIELDS)                                                                 \
	struct msg_##name {                                                                                            \
		FIELDS(FIELD_MEMBER)                                                                                   \
		TAIL_##kind                                                                                            \
	};
MSG_LIST(X)
#undef X

struct element {
	enum msg_type type;
	char *class_name; /* as received or to be sent; "" where there was none */
	void *fields;     /* struct msg_<name> of `type`; NULL for MSG_UNKNOWN and MSG_BAD */
	char *complaint;  /* MSG_BAD: what was wrong */
};

struct batch {
	struct element *elements;
	size_t n;
};

void batch_deinit(struct batch *b);

/*
 * Decodes a body. ERR_MALFORMED for what isn't a JSON array (depth over 64 and invalid UTF-8 included); elements that
 * don't fit their class become MSG_BAD and don't fail the batch. At most 1000 elements and 131072 values (ERR_TOO_BIG).
 * A NUL in a text becomes U+FFFD. Neither `why` nor a complaint quotes what was in the body. (message_get.c says how
 * values are taken.)
 */
enum err batch_decode(struct batch *out, const char *body, size_t n, struct why *why) MUST_CHECK;
/*
 * Appends the JSON text; fields in the reference's order, strings escaped as Gson does, non-ASCII as \uXXXX.
 * ERR_INVALID for what can't be written: MSG_UNKNOWN, MSG_BAD, NaN. On any error `out` is as it was.
 */
enum err batch_encode(const struct batch *b, struct buf *out) MUST_CHECK;

/*
 * Adds an element and returns its zeroed fields (struct msg_<name> *), with contextMap {}, wait 0 and
 * bypassHostMaintenance false set, and result true for answers; NULL when out of memory. Strings put into fields must
 * be from mem_strdup and the like: the batch frees them.
 */
void *batch_add(struct batch *b, enum msg_type type);
/* The first element of that type, or NULL. */
const void *batch_find(const struct batch *b, enum msg_type type);

/* What a class is: "" and false for MSG_UNKNOWN and MSG_BAD. */
const char *msg_class(enum msg_type type);
enum msg_type msg_type_of(const char *class_name); /* MSG_UNKNOWN: none of ours */
bool msg_is_answer(enum msg_type type);
bool msg_is_startup(enum msg_type type);
bool msg_is_ping(enum msg_type type);
bool msg_is_cron(enum msg_type type);
/* Executed in sequence (appendix 9.2)? */
bool msg_in_sequence(enum msg_type type);
/*
 * The result of any answer and its details or NULL. Absent, the result is true, but false for BARE and OURS classes;
 * what is no answer has false and NULL.
 */
bool element_result(const struct element *e);
const char *element_details(const struct element *e);
/* The StartupCommand part that all startup classes share, or NULL when the element is no startup. */
const struct msg_startup_common *element_startup(const struct element *e);
/* A JSON copy of one element's fields without its class name: the echo of a ping in PingAnswer. NULL: out of memory. */
json_t *element_to_json(const struct element *e);

/* Small setters; ERR_NOMEM only. */
static inline void msg_set_i64(msg_i64 *f, int64_t v)
{
	*f = (msg_i64){.has = true, .value = v};
}
static inline void msg_set_bool(msg_bool *f, bool v)
{
	*f = (msg_bool){.has = true, .value = v};
}
enum err msg_set_text(msg_text *f, const char *v) MUST_CHECK;
enum err msg_set_texts(msg_texts *f, const struct str_list *v) MUST_CHECK;
enum err msg_map_put(msg_text_map *f, const char *key, const char *value) MUST_CHECK;
const char *msg_map_get(const msg_text_map *f, const char *key);
