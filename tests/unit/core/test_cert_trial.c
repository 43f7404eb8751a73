#include "core/cert_trial.h"

#include "core_test.h"

#define NEW CERT_TRIAL_NEW
#define OLD CERT_TRIAL_OLD
#define GOES_ON CERT_TRIAL_GOES_ON
#define SWITCHES CERT_TRIAL_SWITCHES
#define PROVEN CERT_TRIAL_PROVEN
#define GIVEN_UP CERT_TRIAL_GIVEN_UP
#define STOPS CERT_TRIAL_STOPS
#define READY CERT_TRIAL_READY
#define REFUSED CERT_TRIAL_REFUSED
#define ROUND CERT_TRIAL_ROUND
#define BROKE_OFF CERT_TRIAL_BROKE_OFF
#define END_OF_ROW ((enum cert_trial_use)0)

static void each_history_has_its_end(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		struct {
			enum cert_trial_use with; /* 0: the end */
			enum cert_trial_event event;
			bool has_old_link;
			int64_t at_s;
			enum cert_trial_verdict verdict;
		} steps[8];
	} rows[] = {
		{ "2: Ready with the new one proves it", { { NEW, READY, true, 1, PROVEN } } },
		{ "2: without a link beside it too", { { NEW, READY, false, 1, PROVEN } } },
		{ "2: whatever went wrong before",
		  { { NEW, BROKE_OFF, true, 1, GOES_ON }, { NEW, BROKE_OFF, true, 2, GOES_ON }, { NEW, READY, true, 3, PROVEN } } },
		{ "2: late, when the turn is the old one's already",
		  { { NEW, ROUND, false, 1, SWITCHES }, { NEW, READY, false, 2, PROVEN } } },
		{ "3: Ready with the old one in its turn",
		  { { NEW, ROUND, false, 1, SWITCHES }, { OLD, READY, false, 2, GIVEN_UP } } },
		{ "3: a move with the old one that was under way says nothing",
		  { { OLD, READY, true, 1, GOES_ON }, { NEW, READY, true, 2, PROVEN } } },
		{ "4: the third link that breaks off beside one that is Ready",
		  { { NEW, BROKE_OFF, true, 1, GOES_ON }, { NEW, BROKE_OFF, true, 31, GOES_ON }, { NEW, BROKE_OFF, true, 91, GIVEN_UP } } },
		{ "4: not without that link",
		  { { NEW, BROKE_OFF, false, 1, GOES_ON }, { NEW, BROKE_OFF, false, 2, GOES_ON }, { NEW, BROKE_OFF, false, 3, GOES_ON } } },
		{ "4: refused by name beside one that is Ready", { { NEW, REFUSED, true, 1, GIVEN_UP } } },
		{ "5: refused by name without a link", { { NEW, REFUSED, false, 1, SWITCHES }, { OLD, READY, false, 2, GIVEN_UP } } },
		{ "6: rounds go to and fro",
		  { { NEW, ROUND, false, 1, SWITCHES }, { OLD, ROUND, false, 2, SWITCHES }, { NEW, READY, false, 3, PROVEN } } },
		{ "6: of the one whose turn it isn't, no round counts",
		  { { OLD, ROUND, false, 1, GOES_ON }, { NEW, ROUND, false, 2, SWITCHES }, { NEW, ROUND, false, 3, GOES_ON } } },
		{ "7: the second turn lasts a minute",
		  { { NEW, ROUND, false, 0, SWITCHES }, { OLD, ROUND, false, 10, SWITCHES }, { NEW, ROUND, false, 69, GOES_ON },
		    { NEW, ROUND, false, 70, SWITCHES } } },
		{ "7: the third two",
		  { { NEW, ROUND, false, 0, SWITCHES }, { OLD, ROUND, false, 10, SWITCHES }, { NEW, ROUND, false, 70, SWITCHES },
		    { OLD, ROUND, false, 80, SWITCHES }, { NEW, ROUND, false, 199, GOES_ON }, { NEW, ROUND, false, 200, SWITCHES } } },
		{ "8: the new one is refused, the old one has the turn for good",
		  { { NEW, REFUSED, false, 1, SWITCHES }, { OLD, ROUND, false, 2, GOES_ON }, { OLD, ROUND, false, 9999, GOES_ON } } },
		{ "8: the old one is refused, the new one has it",
		  { { NEW, ROUND, false, 1, SWITCHES }, { OLD, REFUSED, false, 2, SWITCHES }, { NEW, ROUND, false, 9999, GOES_ON } } },
		{ "8: both are refused", { { NEW, REFUSED, false, 1, SWITCHES }, { OLD, REFUSED, false, 2, STOPS } } },
		{ "8: also the other way round",
		  { { NEW, ROUND, false, 1, SWITCHES }, { OLD, REFUSED, false, 2, SWITCHES }, { NEW, REFUSED, false, 3, STOPS } } },
		{ "8: the old one's link is refused when it is asked again: the new one's turn goes on",
		  { { OLD, REFUSED, true, 1, GOES_ON }, { NEW, REFUSED, false, 2, STOPS } } },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cert_trial t;
		enum cert_trial_verdict last = GOES_ON;

		cert_trial_begin(&t);
		check_row(&rows[i], t.use == NEW);
		for (size_t k = 0; k < ARRAY_SIZE(rows[i].steps) && rows[i].steps[k].with != END_OF_ROW; k++) {
			last = cert_trial_step(&t, rows[i].steps[k].event, rows[i].steps[k].with,
					       rows[i].steps[k].has_old_link, at_ms(rows[i].steps[k].at_s * 1000));
			if (last != rows[i].steps[k].verdict)
				fail_msg("%s: step %zu: %s, not %s", rows[i].what, k + 1, cert_trial_verdict_name(last),
					 cert_trial_verdict_name(rows[i].steps[k].verdict));
		}
		check_row(&rows[i], (t.use == CERT_TRIAL_NONE) == (last == PROVEN || last == GIVEN_UP));
	}
}

/* However long nothing works: within a day few turns, and none shorter than the rules say. */
static void there_is_no_flapping(void **state)
{
	struct cert_trial t;
	unsigned switches = 0;

	cert_trial_begin(&t);
	for (int64_t s = 0; s < 86400; s += 5)
		switches += cert_trial_step(&t, ROUND, t.use, false, at_ms(s * 1000)) == SWITCHES;
	assert_in_range(switches, 40, 70);
	assert_int_equal(t.use == CERT_TRIAL_NONE, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_history_has_its_end),
		cmocka_unit_test(there_is_no_flapping),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
