/*
 * The recorded messages of the reference: each is read as its facts say and written again, with the same bytes where
 * that is possible.
 */
#include "check.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/fs.h"
#include "base/mem.h"
#include "wire/frame.h"
#include "wire/header.h"
#include "wire/message.h"

#define LIMIT (1024 * 1024)
#define N_VECTORS 59 /* that the folder holds: none may get lost unnoticed */

/* Messages that can't be written with the same bytes, and why. */
static const struct {
	const char *name;
	const char *reason;
	const char *from, *to; /* what differs in the content, as JSON text of ours; NULL: only the bytes do */
} exceptions[] = {
	{"string_escapes",
	 "the reference writes non-ASCII as it is, we write \\uXXXX; and a NUL in a text becomes U+FFFD, because our "
	 "texts are C strings",
	 "nul\\u0000", "nul\\ufffd"},
	{"length_8192", "compressed: two implementations of deflate need not agree", NULL, NULL},
	{"ping_routing_200_vms", "compressed: two implementations of deflate need not agree", NULL, NULL},
	{"incompressible_60k", "compressed: two implementations of deflate need not agree", NULL, NULL},
};

static size_t exception_of(const char *name)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(exceptions) && strcmp(exceptions[i].name, name))
		i++;
	return i;
}

static void json_freep(json_t **v)
{
	json_decref(*v);
}

static json_t *load_json(const char *file)
{
	CLEAN(mem_freep) char *path = path_join(VECTORS, file);
	json_error_t error;
	json_t *v = json_load_file(path, JSON_ALLOW_NUL, &error);

	if (!v)
		fail_msg("%s: %s", file, error.text);
	return v;
}

static void decode_hex(const char *text, struct buf *out)
{
	CLEAN(buf_deinit) struct buf digits = {0};

	for (; *text; text++)
		if (*text != '\n')
			assert_int_equal(buf_put(&digits, text, 1), ERR_OK);
	assert_true(hex_decode(buf_str(&digits), out));
}

static void load_hex(const char *name, struct buf *out)
{
	CLEAN(mem_freep) char *path = mem_printf("%s/%s.hex", VECTORS, name);
	CLEAN(buf_deinit) struct buf text = {0};

	assert_int_equal(file_read(&fs_posix, path, LIMIT, &text, NULL), ERR_OK);
	decode_hex(buf_str(&text), out);
}

/* ---- the recorded messages ---- */

static void check_number(const char *name, const json_t *facts, const char *key, int64_t got)
{
	int64_t want = json_integer_value(json_object_get(facts, key));

	if (want != got)
		fail_msg("%s: %s is %lld, not %lld", name, key, (long long)got, (long long)want);
}

static void check_header(const char *name, const json_t *facts, const struct header *h)
{
	check_number(name, facts, "version", h->version);
	check_number(name, facts, "flags", h->flags);
	check_number(name, facts, "seq", h->seq);
	check_number(name, facts, "length", h->length);
	check_number(name, facts, "mgmtId", h->mgmt_id);
	check_number(name, facts, "agentId", h->agent_id);
	check_number(name, facts, "via", h->via);
	if (json_is_true(json_object_get(facts, "compressed")) != !!(h->flags & FLAG_COMPRESSED))
		fail_msg("%s: compression", name);
	if (!strcmp(json_string_value(json_object_get(facts, "kind")), "request") != !!(h->flags & FLAG_REQUEST))
		fail_msg("%s: kind", name);
}

static void check_classes(const char *name, const json_t *facts, const struct batch *b)
{
	const json_t *classes = json_object_get(facts, "classes");

	if (json_array_size(classes) != b->n)
		fail_msg("%s: %zu elements", name, b->n);
	for (size_t i = 0; i < b->n; i++) {
		const char *want = json_string_value(json_array_get(classes, i));
		const struct element *e = &b->elements[i];

		if (strcmp(e->class_name, want) || e->type <= MSG_BAD || strcmp(msg_class(e->type), want))
			fail_msg("%s: element %zu is a %s (%s)", name, i, e->class_name,
				 e->complaint ? e->complaint : "no complaint");
	}
}

/* The facts' content as our writer would have it to be. */
static json_t *expected_content(const char *name, const json_t *facts)
{
	size_t i = exception_of(name);
	CLEAN(mem_freep) char *text = NULL;
	char *at;
	json_t *v;

	if (i == ARRAY_SIZE(exceptions) || !exceptions[i].from)
		return json_incref(json_object_get(facts, "content"));
	text = json_dumps(json_object_get(facts, "content"), 0);
	at = strstr(text, exceptions[i].from);
	if (!at || strlen(exceptions[i].from) != strlen(exceptions[i].to))
		fail_msg("%s: the exception doesn't fit", name);
	memcpy(at, exceptions[i].to, strlen(exceptions[i].to));
	v = json_loads(text, 0, NULL);
	assert_non_null(v);
	return v;
}

static void check_content(const char *name, const json_t *facts, const struct buf *body)
{
	CLEAN(json_freep) json_t *want = expected_content(name, facts);
	CLEAN(json_freep) json_t *got = json_loadb((const char *)body->data, body->len, 0, NULL);

	if (!got || !json_equal(got, want))
		fail_msg("%s: the content differs", name);
}

static void check_bytes(const char *name, const struct buf *got, const struct buf *want)
{
	bool is_equal = got->len == want->len && !memcmp(got->data, want->data, got->len);

	if (!is_equal && exception_of(name) == ARRAY_SIZE(exceptions))
		fail_msg("%s: the bytes differ", name);
}

static void check_vector(const char *name)
{
	CLEAN(mem_freep) char *file = mem_printf("%s.json", name);
	CLEAN(json_freep) json_t *facts = load_json(file);
	CLEAN(buf_deinit) struct buf message = {0};
	CLEAN(buf_deinit) struct buf body = {0};
	CLEAN(buf_deinit) struct buf body_again = {0};
	CLEAN(buf_deinit) struct buf message_again = {0};
	CLEAN(batch_deinit) struct batch b = {0};
	struct header h;

	load_hex(name, &message);
	check_number(name, facts, "totalBytes", (int64_t)message.len);
	assert_int_equal(message_unpack(&h, &body, message.data, message.len, LIMIT, NULL), ERR_OK);
	check_header(name, facts, &h);
	check_number(name, facts, "length", (int64_t)body.len);

	assert_int_equal(batch_decode(&b, (const char *)body.data, body.len, NULL), ERR_OK);
	check_classes(name, facts, &b);
	assert_int_equal(batch_encode(&b, &body_again), ERR_OK);
	check_content(name, facts, &body_again);

	h.length = 0;
	h.flags &= (uint16_t)~FLAG_COMPRESSED;
	assert_int_equal(message_pack(&message_again, &h, (const char *)body_again.data, body_again.len), ERR_OK);
	check_bytes(name, &message_again, &message);

	/* And compressed ones as a reader will see them. */
	assert_int_equal(message_unpack(&h, &body, message_again.data, message_again.len, LIMIT, NULL), ERR_OK);
	if (exception_of(name) == ARRAY_SIZE(exceptions))
		check_header(name, facts, &h);
	check_content(name, facts, &body);
}

static int is_hex(const struct dirent *entry)
{
	return str_ends(entry->d_name, ".hex");
}

static void recorded_messages_are_read_and_written(void **state)
{
	struct dirent **entries;
	int n = scandir(VECTORS, &entries, is_hex, alphasort);

	assert_int_equal(n, N_VECTORS);
	for (int i = 0; i < n; i++) {
		CLEAN(mem_freep)
		char *name = mem_strndup(entries[i]->d_name, strlen(entries[i]->d_name) - strlen(".hex"));

		check_vector(name);
		free(entries[i]);
	}
	free(entries);
}

/* An exception that isn't needed any more, or a name that is misspelt, would hide something. */
static void exceptions_are_all_needed(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(exceptions); i++) {
		CLEAN(buf_deinit) struct buf message = {0};
		CLEAN(buf_deinit) struct buf body = {0};
		CLEAN(buf_deinit) struct buf again = {0};
		CLEAN(batch_deinit) struct batch b = {0};
		struct header h;

		load_hex(exceptions[i].name, &message);
		assert_int_equal(message_unpack(&h, &body, message.data, message.len, LIMIT, NULL), ERR_OK);
		if (h.flags & FLAG_COMPRESSED)
			continue;
		assert_int_equal(batch_decode(&b, (const char *)body.data, body.len, NULL), ERR_OK);
		assert_int_equal(batch_encode(&b, &again), ERR_OK);
		assert_string_not_equal(buf_str(&again), buf_str(&body));
	}
}

/* ---- odd and malformed messages ---- */

/*
 * One row for each case of parse-behaviour.json: what the reference does, and what we do. We are stricter where the
 * reference guesses; the sentence says so.
 */
struct odd {
	const char *name;
	const char *what;
	enum err unpack; /* of the message */
	enum err decode; /* of its body */
	size_t n;        /* elements, and the type of the first */
	enum msg_type type;
};

static const struct odd odd_rows[] = {
	{"v1 plain", "both read it", ERR_OK, ERR_OK, 1, MSG_CHECK_HEALTH},
	{"v2 (byte 1)", "both refuse it", ERR_MALFORMED, ERR_OK, 0, 0},
	{"v3 (byte 2), 32-byte header", "both read it", ERR_OK, ERR_OK, 1, MSG_CHECK_HEALTH},
	{"v3 (byte 2) with via present", "both take via for body; there: BadCommand", ERR_OK, ERR_MALFORMED, 0, 0},
	{"version byte 3", "both refuse it", ERR_MALFORMED, ERR_OK, 0, 0},
	{"version byte 0xff", "both refuse it", ERR_MALFORMED, ERR_OK, 0, 0},
	{"reserved 0xaa", "both read it", ERR_OK, ERR_OK, 1, MSG_CHECK_HEALTH},
	{"flags high byte set 0xff03", "both read it", ERR_OK, ERR_OK, 1, MSG_CHECK_HEALTH},
	{"flags 0x8083 (negative short, compressed bit but plain body)", "no gzip; there: BadCommand", ERR_MALFORMED,
	 ERR_OK, 0, 0},
	{"length field too small, plain", "both ignore the length", ERR_OK, ERR_OK, 1, MSG_CHECK_HEALTH},
	{"length field too big, plain", "both ignore the length", ERR_OK, ERR_OK, 1, MSG_CHECK_HEALTH},
	{"39 bytes", "both refuse it", ERR_MALFORMED, ERR_OK, 0, 0},
	{"40 bytes, no body", "no array; there: null", ERR_OK, ERR_MALFORMED, 0, 0},
	{"0 bytes", "both refuse it", ERR_MALFORMED, ERR_OK, 0, 0},
	{"compressed ok", "both read it", ERR_OK, ERR_OK, 1, MSG_CHECK_HEALTH},
	{"compressed, length too small", "both refuse it", ERR_MALFORMED, ERR_OK, 0, 0},
	{"compressed, length too big by 10", "both read it", ERR_OK, ERR_OK, 1, MSG_CHECK_HEALTH},
	{"compressed, length -1", "both refuse it", ERR_MALFORMED, ERR_OK, 0, 0},
	{"compressed, length 0", "both refuse it", ERR_MALFORMED, ERR_OK, 0, 0},
	{"compressed, truncated gzip", "refused; there: BadCommand", ERR_MALFORMED, ERR_OK, 0, 0},
	{"compressed, two gzip members", "both read it", ERR_OK, ERR_OK, 1, MSG_CHECK_HEALTH},
	{"compressed, trailing bytes", "both read it", ERR_OK, ERR_OK, 1, MSG_CHECK_HEALTH},
	{"unknown class, request", "kept by name; there: BadCommand", ERR_OK, ERR_OK, 1, MSG_UNKNOWN},
	{"unknown class, response", "kept by name; there: lost", ERR_OK, ERR_OK, 1, MSG_UNKNOWN},
	{"non-command class java.lang.String", "kept by name; there: lost", ERR_OK, ERR_OK, 1, MSG_UNKNOWN},
	{"non-command class java.util.HashMap", "kept by name; there: lost", ERR_OK, ERR_OK, 1, MSG_UNKNOWN},
	{"a command class in a response", "the caller's matter; there: lost", ERR_OK, ERR_OK, 1, MSG_CHECK_HEALTH},
	{"an answer class in a request", "the caller's matter; there: an answer", ERR_OK, ERR_OK, 1, MSG_ANSWER},
	{"two keys in one element", "both take the first", ERR_OK, ERR_OK, 1, MSG_CHECK_HEALTH},
	{"empty array", "an empty batch for both", ERR_OK, ERR_OK, 0, 0},
	{"object not array", "refused; there: BadCommand", ERR_OK, ERR_MALFORMED, 0, 0},
	{"null", "refused; there: null", ERR_OK, ERR_MALFORMED, 0, 0},
	{"element null", "a bad element; there: the message is lost", ERR_OK, ERR_OK, 1, MSG_BAD},
	{"element {}", "a bad element; there: the message is lost", ERR_OK, ERR_OK, 1, MSG_BAD},
	{"value null", "a bad element; there: null among the commands", ERR_OK, ERR_OK, 1, MSG_BAD},
	{"unknown field", "both skip it", ERR_OK, ERR_OK, 1, MSG_CHECK_HEALTH},
	{"number as string", "both take it", ERR_OK, ERR_OK, 1, MSG_CHECK_HEALTH},
	{"wrong type", "a bad element; there: BadCommand", ERR_OK, ERR_OK, 1, MSG_BAD},
	{"lenient: single quotes, comment, unquoted", "refused; there: read", ERR_OK, ERR_MALFORMED, 0, 0},
	{"trailing garbage after the array", "refused; there: read", ERR_OK, ERR_MALFORMED, 0, 0},
	{"bad JSON, request", "refused; there: BadCommand", ERR_OK, ERR_MALFORMED, 0, 0},
	{"bad JSON, response", "refused; there: lost", ERR_OK, ERR_MALFORMED, 0, 0},
	{"invalid UTF-8 in content", "refused; there: replaced", ERR_OK, ERR_MALFORMED, 0, 0},
	{"20000 nested arrays in an unknown field", "refused, over 64 deep; there: read", ERR_OK, ERR_MALFORMED, 0, 0},
};

/* The one case that has no bytes in the file, made from its description. */
static void put_nested(struct buf *out)
{
	static const uint8_t header[HEADER_SIZE] = {[3] = FLAG_REQUEST | FLAG_STOP_ON_ERROR};

	assert_int_equal(buf_put(out, header, sizeof(header)), ERR_OK);
	assert_int_equal(buf_put_str(out, "[{\"com.cloud.agent.api.CheckHealthCommand\":{\"no\":"), ERR_OK);
	for (int i = 0; i < 20000; i++)
		assert_int_equal(buf_put_str(out, "["), ERR_OK);
	for (int i = 0; i < 20000; i++)
		assert_int_equal(buf_put_str(out, "]"), ERR_OK);
	assert_int_equal(buf_put_str(out, "}}]"), ERR_OK);
}

static void check_odd(const struct odd *row, const json_t *c)
{
	CLEAN(buf_deinit) struct buf message = {0};
	CLEAN(buf_deinit) struct buf body = {0};
	CLEAN(batch_deinit) struct batch b = {0};
	const char *hex = json_string_value(json_object_get(c, "hex"));
	struct header h;
	enum err err;

	if (hex)
		decode_hex(hex, &message);
	else
		put_nested(&message);
	check_number(row->name, c, "bytes", (int64_t)message.len);
	err = message_unpack(&h, &body, message.data, message.len, LIMIT, NULL);
	if (err != row->unpack)
		fail_msg("%s (%s): %s", row->name, row->what, err_text(err));
	if (err)
		return;
	err = batch_decode(&b, (const char *)body.data, body.len, NULL);
	if (err != row->decode)
		fail_msg("%s (%s): %s", row->name, row->what, err_text(err));
	if (b.n != row->n || (b.n && b.elements[0].type != row->type))
		fail_msg("%s (%s): another content", row->name, row->what);
}

static void odd_messages_are_read_or_refused(void **state)
{
	CLEAN(json_freep) json_t *cases = load_json("parse-behaviour.json");

	assert_int_equal(json_array_size(cases), ARRAY_SIZE(odd_rows));
	for (size_t i = 0; i < ARRAY_SIZE(odd_rows); i++) {
		const json_t *c = json_array_get(cases, i);

		assert_string_equal(json_string_value(json_object_get(c, "case")), odd_rows[i].name);
		check_odd(&odd_rows[i], c);
	}
}

/* ---- packets ---- */

#define RECORD_HEADER 5
#define RECORD_COST 29 /* TLS 1.2 with AES-GCM: record header, nonce, tag */

static void recorded_packets_have_our_sizes(void **state)
{
	CLEAN(json_freep) json_t *framing = load_json("framing.json");
	const json_t *packets = json_object_get(framing, "packets");
	size_t n = 0;

	for (size_t i = 0; i < json_array_size(packets); i++) {
		const json_t *p = json_array_get(packets, i);
		const char *header = json_string_value(json_object_get(p, "header"));
		const json_t *records = json_object_get(p, "records");
		size_t length = (size_t)json_integer_value(json_object_get(p, "length"));
		bool follows = json_is_true(json_object_get(p, "following"));
		uint8_t ours[FRAME_HEADER];
		char hex[2 * FRAME_HEADER + 1];

		if (!header)
			continue; /* of the handshake, which has no packets */
		frame_put_header(ours, length, follows);
		hex_encode(hex, ours, sizeof(ours));
		assert_string_equal(hex, header + strlen("0x"));
		/* One record a packet, full ones while more follow. */
		assert_int_equal(json_array_size(records), 1);
		assert_int_equal(json_integer_value(json_object_get(json_array_get(records, 0), "len")),
				 length - RECORD_HEADER);
		assert_in_range(length, RECORD_COST + HEADER_SIZE - 1, RECORD_COST + FRAME_PLAIN_MAX);
		if (follows)
			assert_int_equal(length, RECORD_COST + FRAME_PLAIN_MAX);
		n++;
	}
	assert_in_range(n, 10, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recorded_messages_are_read_and_written),
		cmocka_unit_test(exceptions_are_all_needed),
		cmocka_unit_test(odd_messages_are_read_or_refused),
		cmocka_unit_test(recorded_packets_have_our_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
