/*
 * Reading bodies.
 *
 * Three guards stand before the JSON parser, because it would recurse and allocate as a peer tells it to: nesting,
 * number of values, and strictness (no comments, no trailing text; the reference's reader is lenient there). Then
 * one walk over the class's table converts each field by its kind.
 *
 * How values are taken:
 *   null            absent, for every kind
 *   i64             5, "5" and 5.0 are the same; a fraction or what doesn't fit into 64 bits is wrong
 *   bool            true, false, and the same as texts in any case
 *   text            texts; integers and booleans become their text (as in Java); a number with a fraction is wrong,
 *                   because its spelling is lost. A NUL becomes U+FFFD: our texts are C strings, and cutting one
 *                   short could turn it into another valid name
 *   texts           an array of such texts; null in it is wrong
 *   text_map        an object of such texts; entries that are null are left out, as Gson's writer does
 *   json            anything, kept as it was
 *   a key twice     the last one holds, as in Gson
 *
 * A wrong value makes the element MSG_BAD and names the field; the rest of the batch stays good.
 */
#include "wire/message.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "wire/classes.h"

#define MOST_ELEMENTS 1000
#define MOST_DEPTH 64
#define MOST_VALUES 131072 /* in a whole body; a value costs up to some 300 bytes of memory while it is decoded */
#define MOST_CLASS_NAME 256

/* ---- guards ---- */

struct shape {
	size_t depth;
	size_t values;
};

/* Past the string that starts at s[i], or n. */
static size_t skip_string(const char *s, size_t n, size_t i)
{
	for (i++; i < n && s[i] != '"'; i++)
		if (s[i] == '\\')
			i++;
	return i < n ? i + 1 : n;
}

static struct shape shape_of(const char *s, size_t n)
{
	struct shape shape = {0};
	size_t depth = 0;

	for (size_t i = 0; i < n;) {
		switch (s[i]) {
		case '"':
			i = skip_string(s, n, i);
			continue;
		case '[':
		case '{':
			shape.values++;
			if (++depth > shape.depth)
				shape.depth = depth;
			break;
		case ']':
		case '}':
			depth -= depth > 0;
			break;
		case ',':
			shape.values++;
			break;
		default:
			break;
		}
		i++;
	}
	return shape;
}

static enum err check_shape(const char *body, size_t n, struct why *why)
{
	struct shape shape = shape_of(body, n);

	if (shape.depth > MOST_DEPTH) {
		why_set(why, "body is nested more than %d deep", MOST_DEPTH);
		return ERR_MALFORMED;
	}
	if (shape.values > MOST_VALUES) {
		why_set(why, "body of more than %d values", MOST_VALUES);
		return ERR_TOO_BIG;
	}
	return ERR_OK;
}

static void json_freep(json_t **v)
{
	json_decref(*v);
}

/* The parser's sentence ends in a piece of the body, which may hold secrets: that part is left out. */
static enum err parse(json_t **out, const char *body, size_t n, struct why *why)
{
	json_error_t error;
	json_t *root = json_loadb(body, n, JSON_ALLOW_NUL, &error);

	if (root) {
		*out = root;
		return ERR_OK;
	}
	/* It has a code for every mistake in the text; without one it was memory that was missing. */
	if (json_error_code(&error) == json_error_out_of_memory || json_error_code(&error) == json_error_unknown)
		return ERR_NOMEM;
	why_set(why, "body is no JSON array: %.*s at byte %d", (int)strcspn(error.text, "'"), error.text,
		error.position);
	return ERR_MALFORMED;
}

/* ---- fields ---- */

/* Complaints about one element; the first stays. */
struct complaint {
	const char *class_name;
	const char *field;
	char *text; /* owned */
};

static const char *kind_of(const json_t *v)
{
	static const char *const names[] = {
		[JSON_OBJECT] = "an object",
		[JSON_ARRAY] = "an array",
		[JSON_STRING] = "a text",
		[JSON_INTEGER] = "a number",
		[JSON_REAL] = "a number with a fraction",
		[JSON_TRUE] = "a boolean",
		[JSON_FALSE] = "a boolean",
		[JSON_NULL] = "null",
	};

	return v ? names[json_typeof(v)] : "nothing";
}

static enum err complain(struct complaint *c, const char *wanted, const json_t *got)
{
	c->text = mem_printf("%s.%s: %s is needed, this is %s", c->class_name, c->field, wanted, kind_of(got));
	return c->text ? ERR_INVALID : ERR_NOMEM;
}

/* Readers of one value: ERR_INVALID after complaining, ERR_NOMEM. */

static enum err get_i64(msg_i64 *out, const json_t *v, struct complaint *c)
{
	int64_t n;

	if (json_is_integer(v)) {
		n = json_integer_value(v);
	} else if (json_is_real(v)) {
		double real = json_real_value(v);

		/* cppcheck-suppress incorrectLogicOperator ; it does not read hexadecimal floating point */
		if (real != floor(real) || real < -0x1p63 || real >= 0x1p63)
			return complain(c, "a whole number of 64 bits", v);
		n = (int64_t)real;
	} else if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v) ||
		   !str_to_i64(json_string_value(v), &n)) {
		return complain(c, "a whole number", v);
	}
	msg_set_i64(out, n);
	return ERR_OK;
}

static enum err get_bool(msg_bool *out, const json_t *v, struct complaint *c)
{
	if (json_is_boolean(v))
		msg_set_bool(out, json_is_true(v));
	else if (json_is_string(v) && str_equal_nocase(json_string_value(v), "true"))
		msg_set_bool(out, true);
	else if (json_is_string(v) && str_equal_nocase(json_string_value(v), "false"))
		msg_set_bool(out, false);
	else
		return complain(c, "true or false", v);
	return ERR_OK;
}

static enum err get_real(msg_real *out, const json_t *v, struct complaint *c)
{
	if (!json_is_number(v))
		return complain(c, "a number", v);
	*out = (msg_real){.has = true, .value = json_number_value(v)};
	return ERR_OK;
}

/* A C string of a JSON text: NULs become U+FFFD. */
static char *dup_without_nul(const char *s, size_t n)
{
	struct buf out = {0};
	char *text;

	if (strlen(s) == n)
		return mem_strndup(s, n);
	for (size_t i = 0; i < n; i++)
		if (s[i] ? buf_put(&out, &s[i], 1) : buf_put_str(&out, "\xef\xbf\xbd")) {
			buf_deinit(&out);
			return NULL;
		}
	text = buf_take_str(&out);
	buf_deinit(&out);
	return text;
}

static enum err get_text(msg_text *out, const json_t *v, struct complaint *c)
{
	char *text;

	if (json_is_string(v))
		text = dup_without_nul(json_string_value(v), json_string_length(v));
	else if (json_is_integer(v))
		text = mem_printf("%" PRId64, (int64_t)json_integer_value(v));
	else if (json_is_boolean(v))
		text = mem_strdup(json_is_true(v) ? "true" : "false");
	else
		return complain(c, "a text", v);
	if (!text)
		return ERR_NOMEM;
	*out = text;
	return ERR_OK;
}

static enum err get_texts(msg_texts *out, const json_t *v, struct complaint *c)
{
	if (!json_is_array(v))
		return complain(c, "an array of texts", v);
	out->has = true;
	for (size_t i = 0; i < json_array_size(v); i++) {
		CLEAN(mem_freep) char *text = NULL;
		enum err err = get_text(&text, json_array_get(v, i), c);

		if (!err)
			err = str_list_add(&out->list, text);
		if (err)
			return err;
	}
	return ERR_OK;
}

static enum err get_text_map(msg_text_map *out, const json_t *v, struct complaint *c)
{
	const char *key;
	json_t *value;

	if (!json_is_object(v))
		return complain(c, "an object of texts", v);
	out->has = true;
	if (!json_object_size(v))
		return ERR_OK;
	out->pairs = mem_zalloc_array(json_object_size(v), sizeof(*out->pairs));
	if (!out->pairs)
		return ERR_NOMEM;
	json_object_foreach ((json_t *)v, key, value) {
		struct text_pair *pair = &out->pairs[out->n];
		enum err err;

		if (json_is_null(value))
			continue;
		err = get_text(&pair->value, value, c);
		if (err)
			return err;
		out->n++; /* before the key, so that the value is freed whatever happens to it */
		pair->key = mem_strdup(key);
		if (!pair->key)
			return ERR_NOMEM;
	}
	return ERR_OK;
}

static enum err get_field(const struct field *f, void *fields, json_t *v, struct complaint *c)
{
	void *at = field_in(f, fields);

	if (!v || json_is_null(v))
		return ERR_OK;
	c->field = f->name;
	switch (f->kind) {
	case FIELD_i64:
		return get_i64(at, v, c);
	case FIELD_bool:
		return get_bool(at, v, c);
	case FIELD_real:
		return get_real(at, v, c);
	case FIELD_text:
		return get_text(at, v, c);
	case FIELD_texts:
		return get_texts(at, v, c);
	case FIELD_text_map:
		return get_text_map(at, v, c);
	case FIELD_json:
		*(msg_json *)at = json_incref(v);
		return ERR_OK;
	}
	return ERR_OK;
}

static enum err get_fields(const struct class_row *row, void *fields, const json_t *v, struct complaint *c)
{
	for (size_t i = 0; i < row->n_fields; i++) {
		const struct field *f = &row->fields[i];
		enum err err = get_field(f, fields, json_object_get(v, f->name), c);

		if (err)
			return err;
	}
	return ERR_OK;
}

/* ---- elements ---- */

/* `take_complaint` NULL means that there was no memory for it. */
static enum err make_bad(struct element *e, char *take_complaint)
{
	if (!take_complaint)
		return ERR_NOMEM;
	e->type = MSG_BAD;
	e->complaint = take_complaint;
	return ERR_OK;
}

static enum err get_known(struct element *e, enum msg_type type, const json_t *v)
{
	const struct class_row *row = class_of(type);
	struct complaint c = {.class_name = row->name};
	void *fields;
	enum err err;

	if (!json_is_object(v))
		return make_bad(e, mem_printf("%s: an object is needed, this is %s", row->name, kind_of(v)));
	fields = mem_zalloc(row->size);
	if (!fields)
		return ERR_NOMEM;
	err = get_fields(row, fields, v, &c);
	if (err) {
		class_free_fields(row, fields);
		return err == ERR_INVALID ? make_bad(e, c.text) : err;
	}
	e->type = type;
	e->fields = fields;
	return ERR_OK;
}

static enum err get_element(struct element *e, json_t *v)
{
	const char *name = json_object_iter_key(json_object_iter(v)); /* only the first key counts */
	bool is_named = name && *name && strlen(name) <= MOST_CLASS_NAME;
	enum msg_type type;

	e->class_name = mem_strdup(is_named ? name : "");
	if (!e->class_name)
		return ERR_NOMEM;
	if (!is_named)
		return make_bad(e, mem_strdup(name && *name ? "class name is too long" : "element has no class"));
	type = msg_type_of(name);
	if (type == MSG_UNKNOWN) {
		e->type = MSG_UNKNOWN;
		return ERR_OK;
	}
	return get_known(e, type, json_object_iter_value(json_object_iter(v)));
}

static enum err get_elements(struct batch *b, const json_t *root)
{
	size_t n = json_array_size(root);

	if (!n)
		return ERR_OK;
	b->elements = mem_zalloc_array(n, sizeof(*b->elements));
	if (!b->elements)
		return ERR_NOMEM;
	for (b->n = 0; b->n < n; b->n++) {
		enum err err = get_element(&b->elements[b->n], json_array_get(root, b->n));

		if (err) {
			b->n++; /* what is in it already is freed with the rest */
			return err;
		}
	}
	return ERR_OK;
}

enum err batch_decode(struct batch *out, const char *body, size_t n, struct why *why)
{
	CLEAN(json_freep) json_t *root = NULL;
	struct batch b = {0};
	enum err err = check_shape(body, n, why);

	if (!err)
		err = parse(&root, body, n, why);
	if (err)
		return err;
	if (!json_is_array(root)) {
		why_set(why, "body is no JSON array: this is %s", kind_of(root));
		return ERR_MALFORMED;
	}
	if (json_array_size(root) > MOST_ELEMENTS) {
		why_set(why, "batch of %zu elements, %d are the most", json_array_size(root), MOST_ELEMENTS);
		return ERR_TOO_BIG;
	}
	err = get_elements(&b, root);
	if (err) {
		batch_deinit(&b);
		return err;
	}
	*out = b;
	return ERR_OK;
}
