#include "core/member.h"

#include "core_test.h"

/* What happens when, and the view afterwards. '.' only looks; 'l' a sign on the link, 's' in the store, 'b' both. */
struct step {
	int64_t at_ms;
	char what;
	enum member_view view;
};

#define N_STEPS 12
#define START 1000

/* clang-format off */
static const struct {
	const char *what;
	struct step steps[N_STEPS]; /* up to at_ms 0 */
} rows[] = {
	{ "a server that never shows is down after 5 s, not before",
	  {{ 2000, '.', MEMBER_UNKNOWN }, { 4000, '.', MEMBER_UNKNOWN }, { 5999, '.', MEMBER_UNKNOWN }, { 6000, '.', MEMBER_DOWN }} },
	{ "both signs are up",
	  {{ 1500, 'b', MEMBER_UP }, { 3000, 'b', MEMBER_UP }, { 5000, 'b', MEMBER_UP }, { 6500, '.', MEMBER_UP }} },
	{ "the second sign has time to follow, then it is missed by name: no heartbeat",
	  {{ 1500, 'l', MEMBER_UP }, { 3400, 'l', MEMBER_UP }, { 5300, 'l', MEMBER_UP }, { 6499, 'l', MEMBER_UP },
	   { 6500, '.', MEMBER_UP_NO_HEARTBEAT }, { 7000, 's', MEMBER_UP }} },
	{ "the other way round: no link",
	  {{ 1500, 's', MEMBER_UP }, { 3400, 's', MEMBER_UP }, { 5300, 's', MEMBER_UP }, { 6500, '.', MEMBER_UP_NO_LINK },
	   { 7000, 'l', MEMBER_UP }} },
	{ "one sign after the other falls silent; down 5 s after the last",
	  {{ 2000, 'b', MEMBER_UP }, { 4000, 's', MEMBER_UP }, { 5500, '.', MEMBER_UP }, { 6999, '.', MEMBER_UP },
	   { 7000, '.', MEMBER_UP_NO_LINK }, { 8999, '.', MEMBER_UP_NO_LINK }, { 9000, '.', MEMBER_DOWN }} },
	{ "both at once: down after 5 s",
	  {{ 2000, 'b', MEMBER_UP }, { 4000, '.', MEMBER_UP }, { 5500, '.', MEMBER_UP }, { 6999, '.', MEMBER_UP }, { 7000, '.', MEMBER_DOWN }} },
	{ "a server that comes back is up with its first sign and has time for the second",
	  {{ 3000, '.', MEMBER_UNKNOWN }, { 5000, '.', MEMBER_UNKNOWN }, { 6000, '.', MEMBER_DOWN }, { 7000, 's', MEMBER_UP },
	   { 9000, 's', MEMBER_UP }, { 11000, 's', MEMBER_UP }, { 12000, '.', MEMBER_UP_NO_LINK }} },
	{ "our own pause makes nobody down: there is a new period of grace",
	  {{ 2000, 'b', MEMBER_UP }, { 3000, 'b', MEMBER_UP }, { 13000, '.', MEMBER_UP }, { 15000, '.', MEMBER_UP },
	   { 17000, '.', MEMBER_UP }, { 17999, '.', MEMBER_UP }, { 18000, '.', MEMBER_DOWN }} },
	{ "a pause of exactly the limit is none",
	  {{ 2000, 'b', MEMBER_UP }, { 4000, '.', MEMBER_UP }, { 5000, '.', MEMBER_UP }, { 7000, '.', MEMBER_DOWN }} },
	{ "after a pause a sign that is there counts at once",
	  {{ 2000, 'b', MEMBER_UP }, { 12000, 'b', MEMBER_UP }, { 14000, '.', MEMBER_UP }, { 16000, '.', MEMBER_UP }, { 17000, '.', MEMBER_DOWN }} },
	{ "a pause doesn't mend what was missing before",
	  {{ 2000, 's', MEMBER_UP }, { 4000, 's', MEMBER_UP }, { 6000, 's', MEMBER_UP }, { 7000, 's', MEMBER_UP_NO_LINK },
	   { 17000, '.', MEMBER_UP_NO_LINK }, { 19000, '.', MEMBER_UP_NO_LINK }, { 21000, '.', MEMBER_UP_NO_LINK }, { 22000, '.', MEMBER_DOWN }} },
	{ "nor does it raise the dead",
	  {{ 3000, '.', MEMBER_UNKNOWN }, { 5000, '.', MEMBER_UNKNOWN }, { 6000, '.', MEMBER_DOWN }, { 60000, '.', MEMBER_DOWN }} },
};
/* clang-format on */

static void views_follow_the_signs(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct member m;
		enum member_view before = MEMBER_UNKNOWN;

		member_init(&m, at_ms(START));
		check_row(&rows[i], m.view == MEMBER_UNKNOWN);
		for (size_t j = 0; j < N_STEPS && rows[i].steps[j].at_ms; j++) {
			const struct step *s = &rows[i].steps[j];
			struct mono now = at_ms(s->at_ms), due;
			bool has_changed;

			if (s->what == 'l' || s->what == 'b')
				member_heard_link(&m, now);
			if (s->what == 's' || s->what == 'b')
				member_heard_store(&m, now);
			has_changed = member_look(&m, now, &due);
			if (m.view != s->view)
				fail_msg("%s: at %d ms %s, not %s", rows[i].what, (int)s->at_ms,
					 member_view_name(m.view), member_view_name(s->view));
			check_row(&rows[i], has_changed == (m.view != before));
			check_row(&rows[i], mono_before(now, due));
			before = m.view;
		}
	}
}

/* Whoever only looks when it was told to sees every change at the moment when it is due, and no stall. */
static void looking_when_due_is_enough(void **state)
{
	struct rng rng = test_rng(__func__);

	for (int round = 0; round < 500; round++) {
		int64_t last_link = START + rng_between(&rng, 0, 4000), last_store = START + rng_between(&rng, 0, 4000);
		int64_t link = START + 1, store = START + 1, now = START;
		struct member m;
		struct mono due;

		member_init(&m, at_ms(START));
		while (m.view != MEMBER_DOWN) {
			bool has_sign = false;

			if (link == now)
				member_heard_link(&m, at_ms(now));
			if (store == now)
				member_heard_store(&m, at_ms(now));
			has_sign = link == now || store == now;
			if (link == now)
				link = now >= last_link ? INT64_MAX : now + 500 < last_link ? now + 500 : last_link;
			if (store == now)
				store = now >= last_store ? INT64_MAX : now + 500 < last_store ? now + 500 : last_store;
			member_look(&m, at_ms(now), &due);
			if (m.view == MEMBER_DOWN)
				break;
			assert_true(due.us > at_ms(now).us && due.us - at_ms(now).us < MEMBER_STALL_MS * 1000);
			assert_true(!has_sign || m.view != MEMBER_UNKNOWN);
			now = due.us / 1000;
			now = link < now ? link : now;
			now = store < now ? store : now;
		}
		assert_true(mono_is_never(due));
		last_link = last_link > START ? last_link : START + 1;
		last_store = last_store > START ? last_store : START + 1;
		assert_int_equal(now, (last_link > last_store ? last_link : last_store) + MEMBER_DOWN_MS);
	}
}

static void views_have_names(void **state)
{
	assert_string_equal(member_view_name(MEMBER_UNKNOWN), "unknown");
	assert_string_equal(member_view_name(MEMBER_UP), "up");
	assert_string_equal(member_view_name(MEMBER_UP_NO_LINK), "up (no link)");
	assert_string_equal(member_view_name(MEMBER_UP_NO_HEARTBEAT), "up (no heartbeat)");
	assert_string_equal(member_view_name(MEMBER_DOWN), "down");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(views_follow_the_signs),
		cmocka_unit_test(looking_when_due_is_enough),
		cmocka_unit_test(views_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
