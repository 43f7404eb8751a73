/* When a certificate is due: one row a rule, and what must hold for many hosts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "ca/renewal.h"

#define DAY INT64_C(86400)
#define FROM (1000 * DAY)
#define TO (FROM + 400 * DAY)

static struct renewal_question usual(void)
{
	return (struct renewal_question){
		.is_muster = true,
		.automatic = true,
		.guid = "h1",
		.not_before_s = FROM,
		.not_after_s = TO,
		.cert_issuer = "aa",
		.ca_known = "set1",
		.ca_not_after_s = FROM + 10000 * DAY,
		.alert_period_s = 15 * DAY,
		.wall_s = FROM + DAY,
	};
}

#define ROW(sentence, wanted, ...)                                                                                     \
	do {                                                                                                           \
		struct renewal_question q = usual();                                                                   \
		enum renewal_reason got;                                                                               \
		__VA_ARGS__;                                                                                           \
		got = renewal_is_due(&q);                                                                              \
		if (got != (wanted))                                                                                   \
			fail_msg("%s: %s", sentence, renewal_reason_name(got));                                        \
	} while (0)

static void each_rule(void **state)
{
	ROW("a fresh certificate is left alone", RENEWAL_NONE);
	ROW("just before half of its life", RENEWAL_NONE, q.wall_s = FROM + 200 * DAY - 1);
	ROW("half of its life and an eighth is surely over", RENEWAL_HALF_LIFE, q.wall_s = FROM + 250 * DAY);
	ROW("a CloudStack agent would lose its link for it", RENEWAL_NONE, q.is_muster = false;
	    q.wall_s = FROM + 250 * DAY);
	ROW("a CloudStack agent before the alert period", RENEWAL_NONE, q.is_muster = false;
	    q.wall_s = TO - 15 * DAY - 1);
	ROW("a CloudStack agent in the alert period", RENEWAL_NEAR_END, q.is_muster = false; q.wall_s = TO - 15 * DAY);
	ROW("a muster agent in the alert period", RENEWAL_NEAR_END, q.wall_s = TO - 15 * DAY);
	ROW("expired, and let in", RENEWAL_EXPIRED, q.wall_s = TO);
	ROW("expired, a CloudStack agent", RENEWAL_EXPIRED, q.is_muster = false; q.wall_s = TO + DAY);
	ROW("expired is before everything", RENEWAL_EXPIRED, q.wall_s = TO; q.issuer = "bb"; q.trusted = "set2");
	ROW("without a certificate nobody is given one", RENEWAL_NONE, q.not_after_s = 0; q.wall_s = TO;
	    q.issuer = "bb");
}

static void switched_off(void **state)
{
	ROW("half of its life", RENEWAL_NONE, q.automatic = false; q.wall_s = FROM + 300 * DAY);
	ROW("near its end", RENEWAL_NONE, q.automatic = false; q.wall_s = TO - DAY);
	ROW("expired", RENEWAL_NONE, q.automatic = false; q.wall_s = TO);
	ROW("a change of the CA is an operator's, and goes on", RENEWAL_ISSUER, q.automatic = false; q.issuer = "bb");
	ROW("... for those that have expired, too", RENEWAL_ISSUER, q.automatic = false; q.issuer = "bb";
	    q.wall_s = TO);
}

static void the_ca_changes(void **state)
{
	ROW("of the CA that issues now", RENEWAL_NONE, q.issuer = "aa");
	ROW("of another one", RENEWAL_ISSUER, q.issuer = "bb");
	ROW("of nobody knows whom", RENEWAL_ISSUER, q.issuer = "bb"; q.cert_issuer = "");
	ROW("not known at all", RENEWAL_ISSUER, q.issuer = "bb"; q.cert_issuer = NULL);
	ROW("while no CA is changed nobody asks", RENEWAL_NONE, q.cert_issuer = NULL; q.ca_known = NULL);
	ROW("it trusts what is in force", RENEWAL_NONE, q.trusted = "set1");
	ROW("it trusts something else", RENEWAL_TRUST, q.trusted = "set2");
	ROW("it has never said what it trusts", RENEWAL_TRUST, q.trusted = "set1"; q.ca_known = NULL);
	ROW("both: one renewal does for both", RENEWAL_ISSUER, q.issuer = "bb"; q.trusted = "set2");
	ROW("a CloudStack agent as well", RENEWAL_ISSUER, q.is_muster = false; q.issuer = "bb");
}

static void the_end_of_the_ca(void **state)
{
	ROW("half of its life, and a new one would not last longer", RENEWAL_NONE, q.wall_s = FROM + 300 * DAY;
	    q.ca_not_after_s = TO);
	ROW("near its end, and a new one would not last longer", RENEWAL_NONE, q.wall_s = TO - DAY;
	    q.ca_not_after_s = TO);
	ROW("a CA that lasts a little longer", RENEWAL_NEAR_END, q.wall_s = TO - DAY; q.ca_not_after_s = TO + 1);
	ROW("not known how long the CA lasts", RENEWAL_NEAR_END, q.wall_s = TO - DAY; q.ca_not_after_s = 0);
	ROW("another CA was made for that", RENEWAL_ISSUER, q.wall_s = TO - DAY; q.ca_not_after_s = TO;
	    q.issuer = "bb");
}

static void short_lives(void **state)
{
	/* A day: the alert period of 15 days would have it due all the time. */
	ROW("a CloudStack agent's in its third quarter", RENEWAL_NONE, q.is_muster = false; q.not_after_s = FROM + DAY;
	    q.wall_s = FROM + DAY * 3 / 4 - 1);
	ROW("a CloudStack agent's in its last quarter", RENEWAL_NEAR_END, q.is_muster = false;
	    q.not_after_s = FROM + DAY; q.wall_s = FROM + DAY * 3 / 4);
	ROW("a muster agent's before half of it", RENEWAL_NONE, q.not_after_s = FROM + DAY;
	    q.wall_s = FROM + DAY / 2 - 1);
	ROW("begins when is not known: the alert period counts", RENEWAL_NEAR_END, q.not_before_s = 0;
	    q.wall_s = TO - 15 * DAY);
	ROW("begins when is not known: no half of it", RENEWAL_NONE, q.not_before_s = 0; q.wall_s = TO - 16 * DAY);
	ROW("dates that make no sense", RENEWAL_EXPIRED, q.not_after_s = FROM - 1);
}

/* A fleet that joined in one hour is not renewed in one hour, and everybody is always renewed at the same time. */
static void a_fleet_is_spread(void **state)
{
	unsigned n[10] = {0};
	char guid[16];

	for (unsigned i = 0; i < 1000; i++) {
		int64_t at_s;

		snprintf(guid, sizeof(guid), "host-%u", i);
		at_s = renewal_half_life_s(guid, FROM, TO);
		assert_in_range(at_s - FROM, 200 * DAY, 250 * DAY - 1);
		assert_int_equal(at_s, renewal_half_life_s(guid, FROM, TO));
		n[(at_s - FROM - 200 * DAY) / (5 * DAY)]++;
	}
	for (unsigned i = 0; i < 10; i++)
		assert_in_range(n[i], 60, 140);
}

static void every_reason_has_a_name(void **state)
{
	for (unsigned r = 0; r < RENEWAL_N; r++)
		assert_non_null(renewal_reason_name((enum renewal_reason)r));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_rule),
		cmocka_unit_test(switched_off),
		cmocka_unit_test(the_ca_changes),
		cmocka_unit_test(the_end_of_the_ca),
		cmocka_unit_test(short_lives),
		cmocka_unit_test(a_fleet_is_spread),
		cmocka_unit_test(every_reason_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
