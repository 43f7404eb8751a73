/* Settings: which values are taken, in which form, and what a refusal says. */
#include <string.h>

#include "check.h"
#include "failing_alloc.h"
#include "server/internal.h"

static void a_new_value_is_judged(void **state)
{
	static const struct {
		const char *what;
		const char *name, *value;
		const char *normal; /* NULL: refused */
		const char *says;   /* part of the sentence */
	} rows[] = {
		{"servers lose their spaces", "host", " m1 , m2 ", "m1,m2", NULL},
		{"IPv6 and ports are servers too", "host", "2001:db8::1,m2:8251", "2001:db8::1,m2:8251", NULL},
		{"no list is empty", "host", "", NULL, "host"},
		{"nor has an empty entry", "host", "m1,,m2", NULL, "host"},
		{"nor the same one twice", "host", "m1,M1", NULL, "host"},
		{"an algorithm that exists", "indirect.agent.lb.algorithm", "roundrobin", "roundrobin", NULL},
		{"one that does not", "indirect.agent.lb.algorithm", "random", NULL, "not one of"},
		{"in lower case, as agents compare it", "indirect.agent.lb.algorithm", "Static", NULL, "not one of"},
		{"an interval", "indirect.agent.lb.check.interval", " 60 ", "60", NULL},
		{"never", "indirect.agent.lb.check.interval", "0", "0", NULL},
		{"not less than never", "indirect.agent.lb.check.interval", "-1", NULL, "between"},
		{"no words", "indirect.agent.lb.check.interval", "soon", NULL, "whole number"},
		{"no half seconds", "indirect.agent.lb.check.interval", "1.5", NULL, "whole number"},
		{"nothing is no number", "indirect.agent.lb.check.interval", "", NULL, "whole number"},
		{"too long for a number", "wait", "99999999999999999999", NULL, "wait"},
		{"a factor", "ping.timeout", "2.5", "2.5", NULL},
		{"too small a factor", "ping.timeout", "0.5", NULL, "between"},
		{"not finite", "ping.timeout", "inf", NULL, "not a number"},
		{"not a number", "ping.timeout", "nan", NULL, "not a number"},
		{"a truth in capitals", "ca.plugin.root.auth.strictness", "TRUE", "true", NULL},
		{"something between", "ca.plugin.root.auth.strictness", "maybe", NULL, "neither"},
		{"no control characters", "ca.plugin.root.issuer.dn", "CN=a\nb", NULL, "control"},
		{"any other text", "ca.plugin.root.issuer.dn", " CN=x ", "CN=x", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct config_key *k = config_find(rows[i].name);
		struct why why = WHY_NONE;
		char *normal = NULL;
		enum err e;

		check_there(k);
		e = config_check(k, rows[i].value, &normal, &why);
		check_row(&rows[i], (e == ERR_OK) == (rows[i].normal != NULL));
		check_row(&rows[i], str_equal(normal, rows[i].normal));
		check_row(&rows[i], !rows[i].says || strstr(why.text, rows[i].says));
		mem_free(normal);
	}
}

static void a_very_long_value_is_refused(void **state)
{
	char text[5000];
	struct why why = WHY_NONE;
	char *normal = NULL;

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(config_check(config_find("ca.plugin.root.issuer.dn"), text, &normal, &why), ERR_INVALID);
	assert_null(normal);
}

static void every_default_passes_its_own_judgement(void **state)
{
	for (size_t i = 0; i < config_n_keys; i++) {
		const struct config_key *k = &config_keys[i];
		struct why why = WHY_NONE;
		char *normal = NULL;

		if (!k->fallback)
			continue;
		assert_int_equal(config_check(k, k->fallback, &normal, &why), ERR_OK);
		assert_string_equal(normal, k->fallback);
		mem_free(normal);
	}
}

static void rows_of_another_scope_are_left_alone(void **state)
{
	struct server s = {0};
	/* Texts are only read. */
#define T(text) ((char *)(uintptr_t)(text))
	struct config_row rows[] = {
		{.name = T("wait"), .scope = T("zone"), .scope_id = 3, .value = T("7")},
		{.name = T("ping.interval"), .scope = T(""), .value = T("30")},
		{.name = T("ping.timeout"), .scope = T(""), .value = T("no number")},
		{.name = T("from.the.future"), .scope = T(""), .value = T("1")},
		{.name = T("indirect.agent.lb.check.interval"), .scope = T("cluster"), .scope_id = 2, .value = T("9")},
	};
#undef T
	bool changed = false;

	assert_int_equal(config_load(&s, rows, ARRAY_SIZE(rows), 5, &changed), ERR_OK);
	assert_true(changed);
	assert_int_equal(config_number(&s, "wait", 0), 1800);
	assert_int_equal(config_number(&s, "ping.interval", 0), 30);
	assert_true(config_real(&s, "ping.timeout") > 2.4);
	assert_int_equal(config_number(&s, "indirect.agent.lb.check.interval", 2), 9);
	assert_int_equal(config_number(&s, "indirect.agent.lb.check.interval", 1), 0);
	assert_int_equal(config_load(&s, rows, ARRAY_SIZE(rows), 6, &changed), ERR_OK);
	assert_false(changed);
	config_deinit(&s);
}

static enum err load(void *user)
{
	struct server s = {0};
	char *normal = NULL;
	bool changed;
	struct why why = WHY_NONE;
	enum err e = config_check(config_find("host"), "m1,m2", &normal, &why);
	struct config_row row = {.name = (char *)(uintptr_t) "host", .scope = (char *)(uintptr_t) "", .value = normal};

	if (!e)
		e = config_load(&s, &row, 1, 1, &changed);
	config_deinit(&s);
	mem_free(normal);
	return e;
}

static void memory_may_end_at_any_point(void **state)
{
	assert_true(failing_alloc_each(load, NULL) > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_value_is_judged),
		cmocka_unit_test(a_very_long_value_is_refused),
		cmocka_unit_test(every_default_passes_its_own_judgement),
		cmocka_unit_test(rows_of_another_scope_are_left_alone),
		cmocka_unit_test(memory_may_end_at_any_point),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
