/* Bodies: what is taken, what is refused, and that every class of wire/msg.def survives. */
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "failing_alloc.h"
#include "wire/classes.h"
#include "wire/message.h"

#define API "com.cloud.agent.api."
#define LB "org.apache.cloudstack.agent.lb."
#define CA "org.apache.cloudstack.ca."

/* ---- single values ---- */

struct value_row {
	const char *what;
	const char *class_name;
	const char *in;        /* its fields */
	const char *out;       /* the fields written again, */
	const char *complaint; /* or what is wrong with them */
};

static void check_value(const struct value_row *row)
{
	CLEAN(mem_freep) char *body = mem_printf("[{\"%s\":%s}]", row->class_name, row->in);
	CLEAN(buf_deinit) struct buf out = {0};
	CLEAN(batch_deinit) struct batch b = {0};
	struct why why = WHY_NONE;
	enum err err = batch_decode(&b, body, strlen(body), &why);

	if (err)
		fail_msg("%s: %s", row->what, why_text(&why, err));
	check_row(row, b.n == 1 && !strcmp(b.elements[0].class_name, row->class_name));
	if (row->complaint) {
		check_row(row, b.elements[0].type == MSG_BAD && !b.elements[0].fields);
		if (strcmp(b.elements[0].complaint, row->complaint))
			fail_msg("%s: %s", row->what, b.elements[0].complaint);
		check_row(row, batch_encode(&b, &out) == ERR_INVALID && out.len == 0);
		return;
	}
	if (b.elements[0].type == MSG_BAD)
		fail_msg("%s: %s", row->what, b.elements[0].complaint);
	check_row(row, batch_encode(&b, &out) == ERR_OK);
	body = mem_free(body);
	body = mem_printf("[{\"%s\":%s}]", row->class_name, row->out);
	if (strcmp(buf_str(&out), body))
		fail_msg("%s: %s", row->what, buf_str(&out));
}

static void values_are_taken_by_kind(void **state)
{
	static const char health[] = API "CheckHealthCommand", ready[] = API "ReadyCommand", answer[] = API "Answer",
			  params[] = API "SetHostParamsCommand", stats[] = API "GetHostStatsAnswer";
	static const struct value_row rows[] = {
		{"no fields at all", health, "{}", "{}", NULL},
		{"unknown fields are skipped", health, "{\"nope\":[1,{\"a\":2}],\"wait\":9}", "{\"wait\":9}", NULL},
		{"the order of fields is the class's", health, "{\"bypassHostMaintenance\":true,\"wait\":9}",
		 "{\"wait\":9,\"bypassHostMaintenance\":true}", NULL},
		{"null is absent, for every kind", ready,
		 "{\"_details\":null,\"dcId\":null,\"msHostList\":null,\"enableHumanReadableSizes\":null,"
		 "\"contextMap\":null,\"externalDetails\":null}",
		 "{}", NULL},
		{"of two equal names the last counts", health, "{\"wait\":1,\"wait\":2}", "{\"wait\":2}", NULL},

		{"an integer", health, "{\"wait\":5}", "{\"wait\":5}", NULL},
		{"an integer as text", health, "{\"wait\":\"5\"}", "{\"wait\":5}", NULL},
		{"an integer with an empty fraction", health, "{\"wait\":5.0}", "{\"wait\":5}", NULL},
		{"an integer with an exponent", health, "{\"wait\":5e2}", "{\"wait\":500}", NULL},
		{"the largest integer", ready, "{\"hostId\":9223372036854775807}", "{\"hostId\":9223372036854775807}",
		 NULL},
		{"the smallest as text", ready, "{\"hostId\":\"-9223372036854775808\"}",
		 "{\"hostId\":-9223372036854775808}", NULL},
		{"a fraction is no integer", health, "{\"wait\":5.5}", NULL,
		 "com.cloud.agent.api.CheckHealthCommand.wait: a whole number of 64 bits is needed, this is a number "
		 "with a fraction"},
		{"2^63 is too large", health, "{\"wait\":9223372036854775808.0}", NULL,
		 "com.cloud.agent.api.CheckHealthCommand.wait: a whole number of 64 bits is needed, this is a number "
		 "with a fraction"},
		{"2^63 as text is too large", health, "{\"wait\":\"9223372036854775808\"}", NULL,
		 "com.cloud.agent.api.CheckHealthCommand.wait: a whole number is needed, this is a text"},
		{"a text that is no number", health, "{\"wait\":\"5s\"}", NULL,
		 "com.cloud.agent.api.CheckHealthCommand.wait: a whole number is needed, this is a text"},
		{"a number with a NUL behind it is none", health, "{\"wait\":\"5\\u0000\"}", NULL,
		 "com.cloud.agent.api.CheckHealthCommand.wait: a whole number is needed, this is a text"},
		{"an empty text is no number", health, "{\"wait\":\"\"}", NULL,
		 "com.cloud.agent.api.CheckHealthCommand.wait: a whole number is needed, this is a text"},
		{"an object is no number", health, "{\"wait\":{}}", NULL,
		 "com.cloud.agent.api.CheckHealthCommand.wait: a whole number is needed, this is an object"},
		{"a boolean is no number", health, "{\"wait\":true}", NULL,
		 "com.cloud.agent.api.CheckHealthCommand.wait: a whole number is needed, this is a boolean"},

		{"booleans", answer, "{\"result\":false,\"bypassHostMaintenance\":true}",
		 "{\"result\":false,\"bypassHostMaintenance\":true}", NULL},
		{"booleans as texts", answer, "{\"result\":\"TRUE\",\"bypassHostMaintenance\":\"false\"}",
		 "{\"result\":true,\"bypassHostMaintenance\":false}", NULL},
		{"a number is no boolean", answer, "{\"result\":1}", NULL,
		 "com.cloud.agent.api.Answer.result: true or false is needed, this is a number"},
		{"another text is no boolean", answer, "{\"result\":\"yes\"}", NULL,
		 "com.cloud.agent.api.Answer.result: true or false is needed, this is a text"},

		{"an empty text is there", answer, "{\"details\":\"\"}", "{\"details\":\"\"}", NULL},
		{"escapes are read and written", answer, "{\"details\":\"\\u003ca\\/\\u0041\\ud83d\\ude00>\"}",
		 "{\"details\":\"\\u003ca/A\\ud83d\\ude00\\u003e\"}", NULL},
		{"raw UTF-8 is read", answer, "{\"details\":\"\xc3\xa9\"}", "{\"details\":\"\\u00e9\"}", NULL},
		{"a NUL becomes a replacement character: nothing is cut short", answer, "{\"details\":\"a\\u0000b\"}",
		 "{\"details\":\"a\\ufffdb\"}", NULL},
		{"an integer becomes text, as in Java", ready, "{\"arch\":86}", "{\"arch\":\"86\"}", NULL},
		{"a boolean becomes text, as in Java", ready, "{\"arch\":true}", "{\"arch\":\"true\"}", NULL},
		{"a fraction doesn't: its spelling is lost", ready, "{\"arch\":1.10}", NULL,
		 "com.cloud.agent.api.ReadyCommand.arch: a text is needed, this is a number with a fraction"},
		{"an array is no text", ready, "{\"arch\":[]}", NULL,
		 "com.cloud.agent.api.ReadyCommand.arch: a text is needed, this is an array"},
		{"names of enums stay text, known or not", API "StartupRoutingCommand",
		 "{\"hypervisorType\":\"kvm\",\"type\":\"Nonsense\"}",
		 "{\"hypervisorType\":\"kvm\",\"type\":\"Nonsense\"}", NULL},

		{"an empty list is not an absent one", ready, "{\"msHostList\":[]}", "{\"msHostList\":[]}", NULL},
		{"lists keep their order", ready, "{\"msHostList\":[\"b\",\"a\",\"b\"]}",
		 "{\"msHostList\":[\"b\",\"a\",\"b\"]}", NULL},
		{"a text is no list", ready, "{\"msHostList\":\"a\"}", NULL,
		 "com.cloud.agent.api.ReadyCommand.msHostList: an array of texts is needed, this is a text"},
		{"null is no member of a list", ready, "{\"msHostList\":[\"a\",null]}", NULL,
		 "com.cloud.agent.api.ReadyCommand.msHostList: a text is needed, this is null"},

		{"maps keep their order", params, "{\"params\":{\"z\":\"1\",\"a\":\"2\"}}",
		 "{\"params\":{\"z\":\"1\",\"a\":\"2\"}}", NULL},
		{"an empty map is not an absent one", params, "{\"params\":{}}", "{\"params\":{}}", NULL},
		{"of two equal keys the last counts", params, "{\"params\":{\"z\":\"1\",\"z\":\"2\"}}",
		 "{\"params\":{\"z\":\"2\"}}", NULL},
		{"integers and booleans in a map become texts, null is left out", params,
		 "{\"params\":{\"a\":3600,\"b\":true,\"c\":null,\"d\":\"x\"}}",
		 "{\"params\":{\"a\":\"3600\",\"b\":\"true\",\"d\":\"x\"}}", NULL},
		{"an object in a map is wrong", params, "{\"params\":{\"a\":{}}}", NULL,
		 "com.cloud.agent.api.SetHostParamsCommand.params: a text is needed, this is an object"},
		{"an array is no map", params, "{\"params\":[]}", NULL,
		 "com.cloud.agent.api.SetHostParamsCommand.params: an object of texts is needed, this is an array"},

		{"open fields are kept as they are", stats,
		 "{\"hostStats\":{\"z\":5.28e8,\"a\":[null,\"\\u0000\",{\"b\":-0.0}]}}",
		 "{\"hostStats\":{\"z\":5.28E8,\"a\":[null,\"\\u0000\",{\"b\":-0.0}]}}", NULL},
		{"open fields may have any shape", stats, "{\"hostStats\":false}", "{\"hostStats\":false}", NULL},
		{"a class without fields as null", health, "null", NULL,
		 "com.cloud.agent.api.CheckHealthCommand: an object is needed, this is null"},
		{"a class without fields as text", health, "\"a\"", NULL,
		 "com.cloud.agent.api.CheckHealthCommand: an object is needed, this is a text"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_value(&rows[i]);
}

/* ---- whole bodies ---- */

static void bodies_are_judged_as_a_whole(void **state)
{
	static const struct {
		const char *what;
		const char *in;
		enum err err;
		size_t n;
		enum msg_type types[3];
	} rows[] = {
		{"an empty array is an empty batch", "[]", ERR_OK, 0, {0}},
		{"blanks are no matter", " [ { \"com.cloud.agent.api.Answer\" : { } } ] \n", ERR_OK, 1, {MSG_ANSWER}},
		{"several elements",
		 "[{\"com.cloud.agent.api.Answer\":{}},{\"x.Y\":{}},{\"com.cloud.agent.api.Answer\":{\"result\":[]}}]",
		 ERR_OK,
		 3,
		 {MSG_ANSWER, MSG_UNKNOWN, MSG_BAD}},
		{"of two classes in one element the first counts",
		 "[{\"com.cloud.agent.api.Answer\":{},\"x.Y\":{}}]",
		 ERR_OK,
		 1,
		 {MSG_ANSWER}},
		{"also when the first isn't known",
		 "[{\"x.Y\":{},\"com.cloud.agent.api.Answer\":{}}]",
		 ERR_OK,
		 1,
		 {MSG_UNKNOWN}},
		{"class names are exact",
		 "[{\"com.cloud.agent.api.answer\":{}},{\"Answer\":{}}]",
		 ERR_OK,
		 2,
		 {MSG_UNKNOWN, MSG_UNKNOWN}},
		{"elements that have no class", "[{},null,5]", ERR_OK, 3, {MSG_BAD, MSG_BAD, MSG_BAD}},
		{"an empty class name is none", "[{\"\":{}}]", ERR_OK, 1, {MSG_BAD}},
		{"an unknown class may hold anything", "[{\"x.Y\":7}]", ERR_OK, 1, {MSG_UNKNOWN}},
		{"no body", "", ERR_MALFORMED, 0, {0}},
		{"an object", "{}", ERR_MALFORMED, 0, {0}},
		{"null", "null", ERR_MALFORMED, 0, {0}},
		{"a number", "5", ERR_MALFORMED, 0, {0}},
		{"an array that ends too early", "[{\"com", ERR_MALFORMED, 0, {0}},
		{"text after the array", "[]xyz", ERR_MALFORMED, 0, {0}},
		{"comments", "[/**/]", ERR_MALFORMED, 0, {0}},
		{"single quotes", "[{'x.Y':{}}]", ERR_MALFORMED, 0, {0}},
		{"a comma too many", "[{},]", ERR_MALFORMED, 0, {0}},
		{"a number too large for anything, in a field nobody reads",
		 "[{\"x.Y\":99999999999999999999}]",
		 ERR_MALFORMED,
		 0,
		 {0}},
		{"NaN", "[{\"x.Y\":NaN}]", ERR_MALFORMED, 0, {0}},
		{"invalid UTF-8",
		 "[{\"com.cloud.agent.api.Answer\":{\"details\":\"\xff\xc3\"}}]",
		 ERR_MALFORMED,
		 0,
		 {0}},
		{"half a surrogate pair",
		 "[{\"com.cloud.agent.api.Answer\":{\"details\":\"\\ud83d\"}}]",
		 ERR_MALFORMED,
		 0,
		 {0}},
		{"a NUL in a name", "[{\"x\\u0000\":{}}]", ERR_MALFORMED, 0, {0}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(batch_deinit) struct batch b = {0};
		struct why why = WHY_NONE;

		check_row(&rows[i], batch_decode(&b, rows[i].in, strlen(rows[i].in), &why) == rows[i].err);
		check_row(&rows[i], !!why.text[0] == (rows[i].err != ERR_OK));
		check_row(&rows[i], b.n == rows[i].n);
		for (size_t k = 0; k < b.n; k++) {
			check_row(&rows[i], b.elements[k].type == rows[i].types[k]);
			check_row(&rows[i], b.elements[k].class_name);
			check_row(&rows[i], !b.elements[k].complaint == (b.elements[k].type != MSG_BAD));
			check_row(&rows[i], !b.elements[k].fields == (b.elements[k].type <= MSG_BAD));
		}
	}
}

/* What a peer sent may hold secrets, and ends in a log. */
static void sentences_quote_nothing_of_the_body(void **state)
{
	static const char *const rows[] = {
		"[{\"muster.JoinCommand\":{\"tokenSecret\":\"s3cr3t}}]",
		"[{\"muster.JoinCommand\":{\"tokenSecret\":s3cr3t}}]",
		"[s3cr3t",
		"[{\"x\":\"s3cr3t\"}] s3cr3t",
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct batch b;
		struct why why = WHY_NONE;

		assert_int_equal(batch_decode(&b, rows[i], strlen(rows[i]), &why), ERR_MALFORMED);
		assert_null(strstr(why.text, "s3cr3t"));
		assert_non_null(strstr(why.text, "body is no JSON array: "));
	}
}

static enum err decode_built(const char *head, const char *each, size_t n, const char *tail, struct batch *b)
{
	CLEAN(buf_deinit) struct buf body = {0};

	assert_int_equal(buf_put_str(&body, head), ERR_OK);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(buf_put_str(&body, each), ERR_OK);
	assert_int_equal(buf_put_str(&body, tail), ERR_OK);
	return batch_decode(b, (const char *)body.data, body.len, NULL);
}

static void sizes_are_limited(void **state)
{
	static const struct {
		const char *what;
		const char *head, *each;
		size_t n;
		const char *tail;
		enum err err;
	} rows[] = {
		{"1000 elements", "[{}", ",{}", 999, "]", ERR_OK},
		{"1001 elements", "[{}", ",{}", 1000, "]", ERR_TOO_BIG},
		{"nesting of 64, the outer array included", "[{\"x\":", "[", 62, "1}]", ERR_MALFORMED},
		{"20000 nested arrays in a field that nobody reads", "[{\"com.cloud.agent.api.Answer\":{\"x\":", "[",
		 20000, "", ERR_MALFORMED},
		{"20000 nested objects", "[", "{\"a\":", 20000, "", ERR_MALFORMED},
		{"brackets inside of texts are no nesting", "[{\"x\":\"", "[{\\\"", 20000, "\"}]", ERR_OK},
		{"131073 values, each of which would cost memory", "[{\"x\":[[]", ",[]", 65535, "]}]", ERR_TOO_BIG},
		{"some less", "[{\"x\":[[]", ",[]", 65000, "]}]", ERR_OK},
		{"a long text is one value", "[{\"x\":\"", "0123456789abcdef", 65536, "\"}]", ERR_OK},
		{"a class name of 256 bytes", "[{\"", "12345678", 32, "\":{}}]", ERR_OK},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(batch_deinit) struct batch b = {0};

		check_row(&rows[i],
			  decode_built(rows[i].head, rows[i].each, rows[i].n, rows[i].tail, &b) == rows[i].err);
	}
}

static void nesting_ends_at_64(void **state)
{
	for (size_t depth = 60; depth < 70; depth++) {
		CLEAN(buf_deinit) struct buf body = {0};
		CLEAN(batch_deinit) struct batch b = {0};

		/* The array, the element and the class's object are three levels. */
		assert_int_equal(buf_put_str(&body, "[{\"com.cloud.agent.api.GetHostStatsAnswer\":{\"hostStats\":"),
				 ERR_OK);
		for (size_t i = 3; i < depth; i++)
			assert_int_equal(buf_put_str(&body, "["), ERR_OK);
		for (size_t i = 3; i < depth; i++)
			assert_int_equal(buf_put_str(&body, "]"), ERR_OK);
		assert_int_equal(buf_put_str(&body, "}}]"), ERR_OK);
		assert_int_equal(batch_decode(&b, (const char *)body.data, body.len, NULL),
				 depth <= 64 ? ERR_OK : ERR_MALFORMED);
	}
}

static void a_class_name_too_long_is_not_kept(void **state)
{
	CLEAN(batch_deinit) struct batch b = {0};

	assert_int_equal(decode_built("[{\"x", "12345678", 32, "\":{}}]", &b), ERR_OK);
	assert_int_equal(b.elements[0].type, MSG_BAD);
	assert_string_equal(b.elements[0].class_name, "");
	assert_string_equal(b.elements[0].complaint, "class name is too long");
}

/* ---- every class ---- */

static void fill(const struct field *f, void *fields, size_t i)
{
	void *at = field_in(f, fields);

	switch (f->kind) {
	case FIELD_i64:
		msg_set_i64(at, (int64_t)i - 3);
		break;
	case FIELD_bool:
		msg_set_bool(at, i % 2);
		break;
	case FIELD_real:
		*(msg_real *)at = (msg_real){true, (double)i / 8};
		break;
	case FIELD_text:
		assert_int_equal(msg_set_text(at, f->name), ERR_OK);
		break;
	case FIELD_texts:
		((msg_texts *)at)->has = true;
		assert_int_equal(str_list_add(&((msg_texts *)at)->list, f->name), ERR_OK);
		break;
	case FIELD_text_map:
		assert_int_equal(msg_map_put(at, f->name, "\xc3\xa9"), ERR_OK);
		break;
	case FIELD_json:
		*(msg_json *)at = json_pack("{s:[f]}", f->name, 0.5);
		break;
	}
}

/* All fields are there, in the order of the table. */
static void check_names(const char *body, const struct class_row *row)
{
	json_t *root = json_loads(body, 0, NULL);
	json_t *fields = json_object_get(json_array_get(root, 0), row->name);
	void *it = json_object_iter(fields);

	assert_int_equal(json_object_size(fields), row->n_fields);
	for (size_t i = 0; i < row->n_fields; i++, it = json_object_iter_next(fields, it))
		assert_string_equal(json_object_iter_key(it), row->fields[i].name);
	json_decref(root);
}

static void every_class_survives(void **state)
{
	for (enum msg_type type = MSG_BAD + 1; type < MSG_N; type++) {
		const struct class_row *row = class_of(type);
		CLEAN(batch_deinit) struct batch b = {0};
		CLEAN(batch_deinit) struct batch back = {0};
		CLEAN(buf_deinit) struct buf first = {0};
		CLEAN(buf_deinit) struct buf second = {0};
		void *fields = batch_add(&b, type);

		assert_int_equal(msg_type_of(row->name), type);
		assert_string_equal(msg_class(type), row->name);
		for (size_t i = 0; i < row->n_fields; i++)
			fill(&row->fields[i], fields, i);
		assert_int_equal(batch_encode(&b, &first), ERR_OK);
		check_names(buf_str(&first), row);
		assert_int_equal(batch_decode(&back, (const char *)first.data, first.len, NULL), ERR_OK);
		assert_int_equal(back.elements[0].type, type);
		assert_int_equal(batch_encode(&back, &second), ERR_OK);
		assert_string_equal(buf_str(&first), buf_str(&second));
	}
}

static void a_new_element_has_the_references_defaults(void **state)
{
	static const struct {
		const char *what;
		enum msg_type type;
		const char *out;
	} rows[] = {
		{"a command", MSG_MAINTAIN,
		 "[{\"com.cloud.agent.api.MaintainCommand\":{\"contextMap\":{},\"wait\":0,"
		 "\"bypassHostMaintenance\":false}}]"},
		{"an answer", MSG_ANSWER,
		 "[{\"com.cloud.agent.api.Answer\":{\"result\":true,\"contextMap\":{},\"wait\":0,"
		 "\"bypassHostMaintenance\":false}}]"},
		{"a startup", MSG_STARTUP_SECONDARY,
		 "[{\"com.cloud.agent.api.StartupSecondaryStorageCommand\":{\"contextMap\":{},\"wait\":0,"
		 "\"bypassHostMaintenance\":false}}]"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(batch_deinit) struct batch b = {0};
		CLEAN(buf_deinit) struct buf out = {0};

		check_row(&rows[i], batch_add(&b, rows[i].type));
		check_row(&rows[i], batch_encode(&b, &out) == ERR_OK);
		check_row(&rows[i], !strcmp(buf_str(&out), rows[i].out));
	}
}

static void classes_know_what_they_are(void **state)
{
	static const struct {
		const char *what;
		enum msg_type type;
		bool answer, startup, ping, cron, sequence;
	} rows[] = {
		{"a ready command runs in sequence", MSG_READY, .sequence = true},
		{"so does a console proxy's startup", MSG_STARTUP_PROXY, .startup = true, .sequence = true},
		{"a host's startup doesn't", MSG_STARTUP_ROUTING, .startup = true},
		{"a set of list doesn't", MSG_SETUP_MS_LIST},
		{"a ping with VM reports is a ping", MSG_PING_ROUTING, .ping = true},
		{"the answer to a ping isn't", MSG_PING_ANSWER, .answer = true},
		{"clean-up of rules repeats", MSG_CLEANUP_RULES, .cron = true},
		{"an unknown class is nothing", MSG_UNKNOWN},
		{"a bad one neither", MSG_BAD},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		check_row(&rows[i], msg_is_answer(rows[i].type) == rows[i].answer);
		check_row(&rows[i], msg_is_startup(rows[i].type) == rows[i].startup);
		check_row(&rows[i], msg_is_ping(rows[i].type) == rows[i].ping);
		check_row(&rows[i], msg_is_cron(rows[i].type) == rows[i].cron);
		check_row(&rows[i], msg_in_sequence(rows[i].type) == rows[i].sequence);
	}
	assert_string_equal(msg_class(MSG_UNKNOWN), "");
	assert_string_equal(msg_class(MSG_BAD), "");
	assert_int_equal(msg_type_of("x.Y"), MSG_UNKNOWN);
	assert_int_equal(msg_type_of(""), MSG_UNKNOWN);
}

static void results_have_the_default_of_their_class(void **state)
{
	static const struct {
		const char *what;
		const char *in;
		bool result;
		const char *details;
	} rows[] = {
		{"an answer that says nothing is good", "[{\"" API "Answer\":{}}]", true, NULL},
		{"one that says false isn't", "[{\"" API "ReadyAnswer\":{\"result\":false,\"details\":\"no\"}}]", false,
		 "no"},
		{"a class that Java makes without initialisers is false by default",
		 "[{\"" LB "SetupMSListAnswer\":{}}]", false, NULL},
		{"unless it says true", "[{\"" LB "SetupMSListAnswer\":{\"result\":true}}]", true, NULL},
		{"keystore answers are such a class", "[{\"" CA "SetupKeystoreAnswer\":{\"csr\":\"x\"}}]", false, NULL},
		{"our own answers must say it", "[{\"muster.JoinAnswer\":{}}]", false, NULL},
		{"a command is no good answer", "[{\"" API "ReadyCommand\":{}}]", false, NULL},
		{"an unknown class neither", "[{\"x.YAnswer\":{\"result\":true}}]", false, NULL},
		{"nor a bad one", "[{\"" API "Answer\":{\"result\":true,\"wait\":[]}}]", false, NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(batch_deinit) struct batch b = {0};

		check_row(&rows[i], batch_decode(&b, rows[i].in, strlen(rows[i].in), NULL) == ERR_OK);
		check_row(&rows[i], element_result(&b.elements[0]) == rows[i].result);
		check_row(&rows[i], str_equal(element_details(&b.elements[0]), rows[i].details));
	}
}

static void all_startups_share_one_part(void **state)
{
	static const enum msg_type startups[] = {MSG_STARTUP_ROUTING, MSG_STARTUP_STORAGE, MSG_STARTUP_PROXY,
						 MSG_STARTUP_SECONDARY};

	for (size_t i = 0; i < ARRAY_SIZE(startups); i++) {
		CLEAN(mem_freep)
		char *in = mem_printf("[{\"%s\":{\"guid\":\"g\",\"musterBoot\":\"b\",\"musterLink\":3,\"wait\":9}}]",
				      msg_class(startups[i]));
		CLEAN(batch_deinit) struct batch b = {0};
		const struct msg_startup_common *s;

		assert_int_equal(batch_decode(&b, in, strlen(in), NULL), ERR_OK);
		s = element_startup(&b.elements[0]);
		assert_non_null(s);
		assert_string_equal(s->guid, "g");
		assert_string_equal(s->musterBoot, "b");
		assert_int_equal(s->musterLink.value, 3);
		assert_int_equal(s->wait.value, 9);
	}
	assert_null(element_startup(&(struct element){.type = MSG_UNKNOWN}));
}

static void elements_are_found_by_type(void **state)
{
	static const char in[] = "[{\"x.Y\":{}},{\"" API "ReadyCommand\":{\"hostId\":1}},{\"" API
				 "ReadyCommand\":{\"hostId\":2}},{\"" API "PingAnswer\":{\"wait\":[]}}]";
	CLEAN(batch_deinit) struct batch b = {0};
	const struct msg_ready *ready;

	assert_int_equal(batch_decode(&b, in, strlen(in), NULL), ERR_OK);
	ready = batch_find(&b, MSG_READY);
	assert_non_null(ready);
	assert_int_equal(ready->hostId.value, 1);
	assert_null(batch_find(&b, MSG_PING_ANSWER)); /* it was bad */
	assert_null(batch_find(&b, MSG_ANSWER));
}

/* PingAnswer carries the ping that it answers. */
static void a_ping_can_be_echoed(void **state)
{
	static const char fields[] = "{\"_hostVmStateReport\":{\"i-2-3-VM\":{\"state\":\"PowerOn\",\"host\":\"k=1\"}},"
				     "\"_gatewayAccessible\":true,\"hostId\":7,\"commandInfos\":[]}";
	CLEAN(mem_freep) char *in = mem_printf("[{\"" API "PingRoutingCommand\":%s}]", fields);
	CLEAN(batch_deinit) struct batch ping = {0};
	CLEAN(batch_deinit) struct batch answer = {0};
	CLEAN(buf_deinit) struct buf out = {0};
	struct msg_ping_answer *a = batch_add(&answer, MSG_PING_ANSWER);

	assert_int_equal(batch_decode(&ping, in, strlen(in), NULL), ERR_OK);
	a->_command = element_to_json(&ping.elements[0]);
	assert_non_null(a->_command);
	assert_int_equal(batch_encode(&answer, &out), ERR_OK);
	assert_string_equal(
		buf_str(&out),
		"[{\"com.cloud.agent.api.PingAnswer\":{\"_command\":{\"_hostVmStateReport\":{\"i-2-3-VM\":{\"state\":"
		"\"PowerOn\",\"host\":\"k\\u003d1\"}},\"_gatewayAccessible\":true,\"hostId\":7,\"commandInfos\":[]},"
		"\"result\":true,\"contextMap\":{},\"wait\":0,\"bypassHostMaintenance\":false}}]");
}

static void setters_replace(void **state)
{
	CLEAN(batch_deinit) struct batch b = {0};
	CLEAN(str_list_deinit) struct str_list list = {0};
	struct msg_startup_routing *s = batch_add(&b, MSG_STARTUP_ROUTING);

	assert_int_equal(msg_set_text(&s->startup.guid, "a"), ERR_OK);
	assert_int_equal(msg_set_text(&s->startup.guid, "b"), ERR_OK);
	assert_string_equal(s->startup.guid, "b");
	assert_int_equal(msg_set_text(&s->startup.guid, NULL), ERR_OK);
	assert_null(s->startup.guid);

	assert_int_equal(msg_set_texts(&s->hostTags, &list), ERR_OK);
	assert_true(s->hostTags.has && s->hostTags.list.n == 0);
	assert_int_equal(str_list_add(&list, "x"), ERR_OK);
	assert_int_equal(msg_set_texts(&s->hostTags, &list), ERR_OK);
	assert_true(s->hostTags.has && str_list_equal(&s->hostTags.list, &list));
	assert_int_equal(msg_set_texts(&s->hostTags, NULL), ERR_OK);
	assert_true(!s->hostTags.has && s->hostTags.list.n == 0);

	assert_null(msg_map_get(&s->hostDetails, "k"));
	assert_int_equal(msg_map_put(&s->hostDetails, "k", "1"), ERR_OK);
	assert_int_equal(msg_map_put(&s->hostDetails, "l", "2"), ERR_OK);
	assert_int_equal(msg_map_put(&s->hostDetails, "k", "3"), ERR_OK);
	assert_int_equal(s->hostDetails.n, 2);
	assert_string_equal(msg_map_get(&s->hostDetails, "k"), "3");
	assert_string_equal(msg_map_get(&s->hostDetails, "l"), "2");
}

/* ---- memory ---- */

static enum err decode_all_kinds(void *user)
{
	CLEAN(batch_deinit) struct batch b = {0};
	CLEAN(buf_deinit) struct buf out = {0};
	enum err err = batch_decode(&b, user, strlen(user), NULL);

	return err ? err : batch_encode(&b, &out);
}

static enum err build_some(void *user)
{
	CLEAN(batch_deinit) struct batch b = {0};
	struct msg_startup_routing *s = batch_add(&b, MSG_STARTUP_ROUTING);
	enum err err = s ? msg_set_text(&s->startup.guid, "g") : ERR_NOMEM;

	if (!err)
		err = msg_map_put(&s->hostDetails, "k", "v");
	if (!err)
		err = msg_map_put(&s->hostDetails, "k", "w");
	if (!err)
		err = msg_set_texts(&s->hostTags, user);
	return err;
}

static enum err decode_bad(void *user)
{
	CLEAN(batch_deinit) struct batch b = {0};

	return batch_decode(&b, user, strlen(user), NULL);
}

static void missing_memory_is_reported(void **state)
{
	static char all[] =
		"[{\"" API "ReadyCommand\":{\"hostId\":1,\"arch\":\"a\\u0000\",\"msHostList\":[\"a\",\"b\"],"
		"\"contextMap\":{\"a\":\"b\",\"c\":1},\"externalDetails\":{\"x\":[0.5,true]}}},"
		"{\"" API "Answer\":{\"result\":true,\"details\":\"d\"}}]";
	static char bad[] = "[{\"" API "ReadyCommand\":{\"arch\":\"a\",\"contextMap\":{\"a\":\"b\",\"c\":[]}}},{},"
			    "{\"x.Y\":{}}]";
	CLEAN(str_list_deinit) struct str_list list = {0};

	assert_int_equal(str_list_add(&list, "t"), ERR_OK);
	failing_alloc_each(decode_all_kinds, all);
	failing_alloc_each(decode_bad, bad);
	failing_alloc_each(build_some, &list);
}

static void *counted_malloc(size_t n)
{
	return malloc(n); /* wrapped in this program; the library's own is not */
}

/*
 * The JSON library can't always tell missing memory from a mistake in the text, and where it grows its buffer for the
 * current word it doesn't notice at all and goes on with what it has. Here it only counts that nothing leaks or breaks.
 */
static void missing_memory_inside_the_parser_is_survived(void **state)
{
	static const char in[] = "[{\"" API "SetHostParamsCommand\":{\"params\":{\"a\":\"b\",\"c\":\"\\u00e9\"},"
				 "\"externalDetails\":{\"x\":[0.5,1,true,{}]}}}]";
	bool has_failed = true;

	json_set_alloc_funcs(counted_malloc, free);
	for (size_t n = 0; has_failed; n++) {
		CLEAN(batch_deinit) struct batch b = {0};
		enum err err;

		failing_alloc_arm(n);
		err = batch_decode(&b, in, sizeof(in) - 1, NULL);
		has_failed = failing_alloc_disarm();
		assert_true(err == ERR_OK || (has_failed && (err == ERR_NOMEM || err == ERR_MALFORMED)));
		assert_int_equal(b.n, err ? 0 : 1);
	}
}

static void what_json_cant_say_is_not_sent(void **state)
{
	CLEAN(batch_deinit) struct batch b = {0};
	CLEAN(buf_deinit) struct buf out = {0};

	assert_non_null(batch_add(&b, MSG_ANSWER));
	b.elements = mem_grow_array(b.elements, 2, sizeof(*b.elements));
	b.elements[b.n++] = (struct element){.type = MSG_UNKNOWN, .class_name = mem_strdup("x.Y")};
	assert_int_equal(buf_put_str(&out, "before"), ERR_OK);
	assert_int_equal(batch_encode(&b, &out), ERR_INVALID); /* what was in it is not known */
	assert_string_equal(buf_str(&out), "before");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_taken_by_kind),
		cmocka_unit_test(bodies_are_judged_as_a_whole),
		cmocka_unit_test(sentences_quote_nothing_of_the_body),
		cmocka_unit_test(sizes_are_limited),
		cmocka_unit_test(nesting_ends_at_64),
		cmocka_unit_test(a_class_name_too_long_is_not_kept),
		cmocka_unit_test(every_class_survives),
		cmocka_unit_test(a_new_element_has_the_references_defaults),
		cmocka_unit_test(classes_know_what_they_are),
		cmocka_unit_test(results_have_the_default_of_their_class),
		cmocka_unit_test(all_startups_share_one_part),
		cmocka_unit_test(elements_are_found_by_type),
		cmocka_unit_test(a_ping_can_be_echoed),
		cmocka_unit_test(setters_replace),
		cmocka_unit_test(missing_memory_is_reported),
		cmocka_unit_test(what_json_cant_say_is_not_sent),
		cmocka_unit_test(missing_memory_inside_the_parser_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
