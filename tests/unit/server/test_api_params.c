/*
 * What the API makes of a request before a server is asked: signing, conversion, paging, dates.
 */
#include <string.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "check.h"

#include "base/mem.h"
#include "server/api_params.h"

#define KEY "ExampleApiKey-0123456789_abcdefghijklmnopqrstuvwxyz"
#define SECRET "ExampleSecretKey-9876543210_zyxwvutsrqponmlkjihgfedcba"

static void signatures_are_the_reference_clients(void **state)
{
	static const struct {
		const char *what;
		struct api_param params[10];
		size_t n;
		const char *text, *signature;
	} rows[] = {
		{"cs",
		 {{"keyword", "rack 1/a+b*\xc3\xa9"},
		  {"page", "1"},
		  {"pagesize", "50"},
		  {"signatureVersion", "3"},
		  {"expires", "2030-01-01T00:00:00+0000"},
		  {"apiKey", KEY},
		  {"command", "listHosts"},
		  {"response", "json"},
		  {"signature", "not part of it"}},
		 9,
		 "apikey=exampleapikey-0123456789_abcdefghijklmnopqrstuvwxyz&command=listhosts&expires=2030-01-01t00%3a00%3a00%"
		 "2b0000&keyword=rack%201%2fa%2bb*%c3%a9&page=1&pagesize=50&response=json&signatureversion=3",
		 "+9YDspiYtKyt06IKPHWVivCzYNk="},
		{"cmk",
		 {{"response", "json"}, {"apiKey", KEY}, {"command", "listManagementServers"}},
		 3,
		 "apikey=exampleapikey-0123456789_abcdefghijklmnopqrstuvwxyz&command=listmanagementservers&response=json",
		 "4EBZUUklWNuKsgynLZbrpSKxJzY="},
		{"cmk sync",
		 {{"listall", "true"}, {"response", "json"}, {"apiKey", KEY}, {"command", "listApis"}},
		 4,
		 "apikey=exampleapikey-0123456789_abcdefghijklmnopqrstuvwxyz&command=listapis&listall=true&response=json",
		 "NIKQHl3nAcJ7B7UhwM+8DyaStvM="},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct buf text = {0};
		uint8_t mac[20];
		gnutls_datum_t raw = {.data = mac, .size = sizeof(mac)}, encoded = {0};

		check_row(&rows[i], api_signing_text(&text, rows[i].params, rows[i].n, true) == ERR_OK);
		assert_string_equal(buf_str(&text), rows[i].text);
		assert_int_equal(gnutls_hmac_fast(GNUTLS_MAC_SHA1, SECRET, strlen(SECRET), text.data, text.len, mac),
				 0);
		assert_int_equal(gnutls_base64_encode2(&raw, &encoded), 0);
		assert_string_equal((const char *)encoded.data, rows[i].signature);
		gnutls_free(encoded.data);
		buf_deinit(&text);
	}
}

static void names_are_sorted_as_received_and_tilde_goes_both_ways(void **state)
{
	static const struct api_param params[] = {{"apikey", "a~b"}, {"hostb", "2"}, {"apiKey", "C"}, {"hostId", "1"}};
	struct buf text = {0};

	assert_int_equal(api_signing_text(&text, params, 4, true), ERR_OK);
	assert_string_equal(buf_str(&text), "apikey=c&apikey=a%7eb&hostid=1&hostb=2");
	buf_clear(&text);
	assert_int_equal(api_signing_text(&text, params, 4, false), ERR_OK);
	assert_string_equal(buf_str(&text), "apikey=c&apikey=a~b&hostid=1&hostb=2");
	buf_deinit(&text);
}

#define LONG_TEXT                                                                                                      \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"         \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"         \
	"01234567890123456789012345678901234567890123456789012345"

static void parameters_are_converted_or_refused(void **state)
{
	static const struct {
		const char *what;
		struct api_param_spec spec;
		struct api_param param;
		int status, code; /* 0: fine */
		struct api_value out;
	} rows[] = {
		{"true is true in any case", {"x", API_BOOLEAN}, {"X", "TRUE"}, 0, 0, {.has = true, .flag = true}},
		{"everything else is false", {"x", API_BOOLEAN}, {"x", "yes"}, 0, 0, {.has = true}},
		{"a number", {"x", API_INTEGER}, {"x", "-5"}, 0, 0, {.has = true, .number = -5}},
		{"a number with a plus", {"x", API_INTEGER}, {"x", "+5"}, 0, 0, {.has = true, .number = 5}},
		{"no number", {"x", API_INTEGER}, {"x", "5x"}, 431, 9999, {0}},
		{"a number beyond 32 bits", {"x", API_INTEGER}, {"x", "2147483648"}, 431, 9999, {0}},
		{"a long of more than 32 bits",
		 {"x", API_LONG},
		 {"x", "2147483648"},
		 0,
		 0,
		 {.has = true, .number = 2147483648}},
		{"a blank integer is absent", {"x", API_INTEGER}, {"x", " "}, 0, 0, {0}},
		{"a blank long is an error", {"x", API_LONG}, {"x", ""}, 431, 9999, {0}},
		{"an unknown parameter is ignored", {"x", API_LONG}, {"y", "z"}, 0, 0, {0}},
		{"a required one is missing", {"x", API_STRING, true}, {"y", "z"}, 431, 9999, {0}},
		{"a required one is blank", {"x", API_STRING, true}, {"x", " "}, 431, 4350, {0}},
		{"a text is too long", {"x", API_STRING}, {"x", LONG_TEXT}, 431, 9999, {0}},
		{"unless it may be", {"x", API_STRING, .length = 4096}, {"x", LONG_TEXT}, 0, 0, {.has = true}},
		{"a tab", {"x", API_STRING}, {"y", "a\tb"}, 431, 9999, {0}},
		{"a delete", {"x", API_STRING}, {"y", "a\x7f"}, 431, 9999, {0}},
		{"line ends are fine", {"x", API_STRING}, {"x", "a\r\nb"}, 0, 0, {.has = true}},
		{"broken UTF-8", {"x", API_STRING}, {"y", "\xc3("}, 431, 9999, {0}},
		{"a map", {"x", API_STRING}, {"details[0].key", "v"}, 0, 0, {0}},
		{"two brackets", {"x", API_STRING}, {"details[0][1].key", "v"}, 430, 9999, {0}},
		{"a bracket without end", {"x", API_STRING}, {"details[0.key", "v"}, 430, 9999, {0}},
		{"an index that is none", {"x", API_STRING}, {"details[a].key", "v"}, 430, 9999, {0}},
		{"a dot before the bracket", {"x", API_STRING}, {"a.b[0]", "v"}, 430, 9999, {0}},
		{"an id that is none", {"x", API_UUID}, {"x", "foo"}, 431, 9999, {0}},
		{"any id", {"x", API_UUID}, {"x", "-1"}, 0, 0, {0}},
		{"a name of an entity", {"x", API_UUID, .entity = ENTITY_HOST}, {"x", "foo"}, 0, 0, {.has = true}},
		{"a date", {"x", API_DATE}, {"x", "2026-01-15"}, 0, 0, {.has = true, .number = 1768435200000}},
		{"no date", {"x", API_DATE}, {"x", "soon"}, 431, 9999, {0}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct api_error error = {0};
		struct api_value out;
		bool good = api_convert(&out, &rows[i].spec, 1, &rows[i].param, 1, &error);

		check_row(&rows[i], good == (rows[i].status == 0));
		check_row(&rows[i], error.status == rows[i].status);
		check_row(&rows[i], error.code == rows[i].code);
		check_row(&rows[i], good || error.why.text[0]);
		if (!good)
			continue;
		check_row(&rows[i], out.has == rows[i].out.has);
		check_row(&rows[i], out.number == rows[i].out.number);
		check_row(&rows[i], out.flag == rows[i].out.flag);
	}
}

static void pages_are_both_or_neither(void **state)
{
	static const int64_t one = 1, two = 2, zero = 0, minus_one = -1, ten = 10, most = 500, more = 501,
			     large = INT32_MAX;
	static const struct {
		const char *what;
		const int64_t *page, *size;
		int64_t most;
		bool good;
		size_t first, room;
	} rows[] = {
		{"neither", NULL, NULL, 500, true, 0, 500},
		{"neither, unlimited", NULL, NULL, -1, true, 0, SIZE_MAX},
		{"both", &two, &ten, 500, true, 10, 10},
		{"the largest", &one, &most, 500, true, 0, 500},
		{"larger than that", &one, &more, 500, false, 0, 0},
		{"larger is fine when there is no limit", &one, &more, -1, true, 0, 501},
		{"only a page", &one, NULL, 500, false, 0, 0},
		{"only a size", NULL, &ten, 500, false, 0, 0},
		{"all", NULL, &minus_one, 500, true, 0, SIZE_MAX},
		{"a page of all", &one, &minus_one, 500, false, 0, 0},
		{"page zero", &zero, &ten, 500, false, 0, 0},
		{"size zero", &one, &zero, 500, false, 0, 0},
		{"far away", &large, &large, -1, true, (size_t)(INT32_MAX - 1) * INT32_MAX, INT32_MAX},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct api_error error = {0};
		struct api_paging out = {0};

		check_row(&rows[i], api_paging(&out, rows[i].page, rows[i].size, rows[i].most, &error) == rows[i].good);
		check_row(&rows[i], error.status == (rows[i].good ? 0 : 431));
		check_row(&rows[i], out.first == rows[i].first);
		check_row(&rows[i], out.room == rows[i].room);
	}
}

static void dates_have_many_forms(void **state)
{
	static const struct {
		const char *what, *text;
		bool good, has_offset;
		int64_t ms;
	} rows[] = {
		{"cs", "2026-01-15T08:00:02+0000", true, true, 1768464002000},
		{"with a colon", "2026-01-15T08:00:02+01:00", true, true, 1768460402000},
		{"behind", "2026-01-15T08:00:02-0130", true, true, 1768469402000},
		{"Go", "2026-01-15T08:00:02Z", true, true, 1768464002000},
		{"parts of a second", "2026-01-15T08:00:02.25Z", true, true, 1768464002250},
		{"without an offset", "2026-01-15 08:00:02", true, false, 1768464002000},
		{"a day", "2026-01-15", true, false, 1768435200000},
		{"month 13", "2026-13-15", false, false, 0},
		{"day 32", "2026-01-32", false, false, 0},
		{"hour 24", "2026-01-15T24:00:00Z", false, false, 0},
		{"more behind it", "2026-01-15T08:00:02Z!", false, false, 0},
		{"half", "2026-01", false, false, 0},
		{"empty", "", false, false, 0},
		{"words", "tomorrow", false, false, 0},
	};
	char text[API_DATE_TEXT];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool has_offset = false;
		int64_t ms = 0;
		bool good = api_date_parse(rows[i].text, &ms, &has_offset);

		check_row(&rows[i], good == rows[i].good);
		check_row(&rows[i], !good || (ms == rows[i].ms && has_offset == rows[i].has_offset));
	}
	api_date_format(text, 1768464002999);
	assert_string_equal(text, "2026-01-15T08:00:02+0000");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signatures_are_the_reference_clients),
		cmocka_unit_test(names_are_sorted_as_received_and_tilde_goes_both_ways),
		cmocka_unit_test(parameters_are_converted_or_refused),
		cmocka_unit_test(pages_are_both_or_neither),
		cmocka_unit_test(dates_have_many_forms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
