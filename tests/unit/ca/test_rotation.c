#include "ca/rotation.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "check.h"

static void phases_and_their_names(void **state)
{
	enum rotation_phase p;

	for (int i = 0; i < ROTATION_N; i++) {
		assert_true(rotation_phase_from_text(rotation_phase_name((enum rotation_phase)i), &p));
		assert_int_equal(p, i);
	}
	assert_false(rotation_phase_from_text("finish", &p));
	assert_false(rotation_phase_from_text(NULL, &p));
	assert_string_equal(rotation_phase_name(ROTATION_N), "unknown");
}

static void steps(void **state)
{
	static const struct {
		const char *what;
		enum rotation_phase from;
		enum rotation_step step;
		int to; /* -1: no such step */
		bool both;
	} rows[] = {
		{"it begins", ROTATION_NONE, ROTATION_NEXT, ROTATION_TRUST, true},
		{"the new one signs", ROTATION_TRUST, ROTATION_NEXT, ROTATION_ISSUE, true},
		{"the old one goes", ROTATION_ISSUE, ROTATION_NEXT, ROTATION_DROP, false},
		{"it is finished", ROTATION_DROP, ROTATION_NEXT, ROTATION_NONE, false},
		{"nothing to take back", ROTATION_NONE, ROTATION_BACK, -1, false},
		{"the new one is forgotten", ROTATION_TRUST, ROTATION_BACK, ROTATION_NONE, false},
		{"the old one signs again", ROTATION_ISSUE, ROTATION_BACK, ROTATION_TRUST, true},
		{"the old one is trusted again", ROTATION_DROP, ROTATION_BACK, ROTATION_ISSUE, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		enum rotation_phase to = ROTATION_N;
		bool there = rotation_to(rows[i].from, rows[i].step, &to);

		check_row(&rows[i], there == (rows[i].to >= 0));
		check_row(&rows[i], !there || ((int)to == rows[i].to && rotation_trusts_both(to) == rows[i].both));
	}
}

static void who_is_in_the_way(void **state)
{
	/* Under `trust` "old" signs and "new" is the other; later it is the reverse. */
	static const struct {
		const char *what;
		enum rotation_phase phase;
		enum rotation_step step;
		const char *cert_issuer, *ca_known;
		enum rotation_lag lag;
	} rows[] = {
		{"one CA: nobody", ROTATION_NONE, ROTATION_NEXT, NULL, NULL, ROTATION_READY},
		{"1: it trusts both", ROTATION_TRUST, ROTATION_NEXT, "old", "set", ROTATION_READY},
		{"1: it trusts the old one", ROTATION_TRUST, ROTATION_NEXT, "old", "before", ROTATION_TRUSTS_OLD},
		{"1: nobody knows", ROTATION_TRUST, ROTATION_NEXT, "old", NULL, ROTATION_TRUSTS_OLD},
		{"2: its certificate is new", ROTATION_ISSUE, ROTATION_NEXT, "new", "set", ROTATION_READY},
		{"2: its certificate is old", ROTATION_ISSUE, ROTATION_NEXT, "old", "set", ROTATION_OLD_CERT},
		{"2: nobody knows whose it is", ROTATION_ISSUE, ROTATION_NEXT, NULL, "set", ROTATION_OLD_CERT},
		{"3: it has forgotten the old one", ROTATION_DROP, ROTATION_NEXT, "new", "set", ROTATION_READY},
		{"3: it still trusts the old one", ROTATION_DROP, ROTATION_NEXT, "new", "both", ROTATION_TRUSTS_OLD},
		{"4: back, its certificate is of the new one", ROTATION_TRUST, ROTATION_BACK, "new", "set",
		 ROTATION_NEW_CERT},
		{"4: back, it is of the old one", ROTATION_TRUST, ROTATION_BACK, "old", "set", ROTATION_READY},
		{"5: back to the old one, which it trusts", ROTATION_ISSUE, ROTATION_BACK, "new", "set", ROTATION_READY},
		{"5: back to the old one, which it has forgotten", ROTATION_ISSUE, ROTATION_BACK, "new", "after",
		 ROTATION_TRUSTS_OLD},
		{"5: back to the old one, nobody knows", ROTATION_ISSUE, ROTATION_BACK, "new", NULL,
		 ROTATION_TRUSTS_OLD},
		{"5: back to both", ROTATION_DROP, ROTATION_BACK, "new", "set", ROTATION_READY},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool before = rows[i].phase <= ROTATION_TRUST;
		struct rotation_want w = {.phase = rows[i].phase,
					  .issuing = before ? "old" : "new",
					  .other = rows[i].phase == ROTATION_NONE ? NULL
						   : before                       ? "new"
										  : "old",
					  .trusted = "set"};
		struct rotation_party p = {rows[i].cert_issuer, rows[i].ca_known};
		enum rotation_lag lag = rotation_lag_of(&w, rows[i].step, &p);

		check_row(&rows[i], lag == rows[i].lag);
		check_row(&rows[i], (strcmp(rotation_lag_text(lag), "is ready") == 0) == (lag == ROTATION_READY));
	}
}

/* A CA that was renewed with its key: nobody can tell whose certificate it is, and nobody has to. */
static void the_same_key_on_both_sides(void **state)
{
	static const struct {
		const char *what;
		enum rotation_phase phase;
		enum rotation_step step;
		const char *ca_known;
		enum rotation_lag lag;
	} rows[] = {
		{"trust: it has to know both", ROTATION_TRUST, ROTATION_NEXT, "before", ROTATION_TRUSTS_OLD},
		{"trust: it knows both", ROTATION_TRUST, ROTATION_NEXT, "set", ROTATION_READY},
		{"back from trust: its certificate stays good", ROTATION_TRUST, ROTATION_BACK, "set", ROTATION_READY},
		{"issue: its certificate is good already", ROTATION_ISSUE, ROTATION_NEXT, "set", ROTATION_READY},
		{"drop: it has to have forgotten the old one", ROTATION_DROP, ROTATION_NEXT, "both",
		 ROTATION_TRUSTS_OLD},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct rotation_want w = {
			.phase = rows[i].phase, .issuing = "key", .other = "key", .trusted = "set"};
		const struct rotation_party p = {"key", rows[i].ca_known};

		check_row(&rows[i], rotation_lag_of(&w, rows[i].step, &p) == rows[i].lag);
	}
}

static void what_may_be_done(void **state)
{
	static const struct {
		const char *what;
		enum rotation_phase from;
		enum rotation_step step;
		size_t n_servers, n_hosts;
		bool force;
		enum err result;
		const char *says;
	} rows[] = {
		{"nobody in the way", ROTATION_TRUST, ROTATION_NEXT, 0, 0, false, ERR_OK, ""},
		{"one host", ROTATION_TRUST, ROTATION_NEXT, 0, 1, false, ERR_REFUSED, "0 servers and 1 host would be"},
		{"one server", ROTATION_ISSUE, ROTATION_NEXT, 1, 2, false, ERR_REFUSED, "1 server and 2 hosts"},
		{"forced", ROTATION_ISSUE, ROTATION_NEXT, 1, 2, true, ERR_OK, ""},
		{"nothing to take back", ROTATION_NONE, ROTATION_BACK, 0, 0, true, ERR_STATE, "no rotation"},
		{"to begin takes nothing", ROTATION_NONE, ROTATION_NEXT, 0, 0, false, ERR_OK, ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct why why = WHY_NONE;

		check_row(&rows[i], rotation_may(rows[i].from, rows[i].step, rows[i].n_servers, rows[i].n_hosts,
						 rows[i].force, &why) == rows[i].result);
		check_row(&rows[i], strstr(why.text, rows[i].says) != NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(phases_and_their_names), cmocka_unit_test(steps),
		cmocka_unit_test(who_is_in_the_way),      cmocka_unit_test(the_same_key_on_both_sides),
		cmocka_unit_test(what_may_be_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
