/*
 * Signatures against the worked examples of the reference, which real clients have sent.
 */
#include "check.h"

#include <string.h>

#include "base/mem.h"
#include "cli/sign.h"

#define API_KEY "ExampleApiKey-0123456789_abcdefghijklmnopqrstuvwxyz"
#define SECRET "ExampleSecretKey-9876543210_zyxwvutsrqponmlkjihgfedcba"

struct row {
	const char *what;
	struct sign_param params[8];
	const char *text;
	const char *signature;
};

static const struct row rows[] = {
	{"cs, with an expiry and characters that need encoding",
	 {{"keyword", "rack 1/a+b*\xc3\xa9"},
	  {"page", "1"},
	  {"pagesize", "50"},
	  {"signatureVersion", "3"},
	  {"expires", "2030-01-01T00:00:00+0000"},
	  {"apiKey", API_KEY},
	  {"command", "listHosts"},
	  {"response", "json"}},
	 "apikey=exampleapikey-0123456789_abcdefghijklmnopqrstuvwxyz&command=listhosts&expires=2030-01-01t00%3a00%3a00%2b0000&"
	 "keyword=rack%201%2fa%2bb*%c3%a9&page=1&pagesize=50&response=json&signatureversion=3",
	 "+9YDspiYtKyt06IKPHWVivCzYNk="},
	{"cmk, without an expiry",
	 {{"response", "json"}, {"command", "listManagementServers"}, {"apiKey", API_KEY}},
	 "apikey=exampleapikey-0123456789_abcdefghijklmnopqrstuvwxyz&command=listmanagementservers&response=json",
	 "4EBZUUklWNuKsgynLZbrpSKxJzY="},
	{"the request of cmk sync",
	 {{"listall", "true"}, {"response", "json"}, {"command", "listApis"}, {"apiKey", API_KEY}},
	 "apikey=exampleapikey-0123456789_abcdefghijklmnopqrstuvwxyz&command=listapis&listall=true&response=json",
	 "NIKQHl3nAcJ7B7UhwM+8DyaStvM="},
};

static size_t count(const struct row *row)
{
	size_t n = 0;

	while (n < ARRAY_SIZE(row->params) && row->params[n].name)
		n++;
	return n;
}

static void examples_give_their_signatures(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct row row = rows[i];
		CLEAN(buf_deinit) struct buf text = {0};
		CLEAN(mem_freep) char *signature = NULL;

		check_row(&row, sign_text(&text, row.params, count(&row)) == ERR_OK);
		assert_string_equal(buf_str(&text), row.text);
		check_row(&row, sign_params(&signature, row.params, count(&row), SECRET) == ERR_OK);
		assert_string_equal(signature, row.signature);
	}
}

static void one_other_byte_is_another_signature(void **state)
{
	struct row row = rows[0];
	CLEAN(mem_freep) char *signature = NULL;

	row.params[1].value = "2";
	assert_int_equal(sign_params(&signature, row.params, count(&row), SECRET), ERR_OK);
	assert_string_not_equal(signature, row.signature);
}

static void only_these_characters_stay(void **state)
{
	struct sign_param all = {"a", "AZaz09.-*_ ~!'()/:"};
	CLEAN(buf_deinit) struct buf form = {0}, text = {0};

	assert_int_equal(form_encode(&form, &all, 1), ERR_OK);
	assert_string_equal(buf_str(&form), "a=AZaz09.-*_%20%7E%21%27%28%29%2F%3A");
	assert_int_equal(sign_text(&text, &all, 1), ERR_OK);
	assert_string_equal(buf_str(&text), "a=azaz09.-*_%20%7e%21%27%28%29%2f%3a");
}

static void names_are_sorted_as_received(void **state)
{
	struct sign_param params[] = {{"hostb", "3"}, {"apikey", "2"}, {"hostId", "4"}, {"apiKey", "1"}};
	CLEAN(buf_deinit) struct buf text = {0};

	assert_int_equal(sign_text(&text, params, ARRAY_SIZE(params)), ERR_OK);
	assert_string_equal(buf_str(&text), "apikey=1&apikey=2&hostid=4&hostb=3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(examples_give_their_signatures),
		cmocka_unit_test(one_other_byte_is_another_signature),
		cmocka_unit_test(only_these_characters_stay),
		cmocka_unit_test(names_are_sorted_as_received),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
