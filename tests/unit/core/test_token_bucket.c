#include "core/token_bucket.h"

#include "core_test.h"

/* What is done when, and what comes back. 't' takes, 'w' only asks when, 'y' tries, 's' sets the pace n/burst. */
struct step {
	int64_t at_ms;
	char what;
	int64_t n;
	int64_t burst;
	int64_t answer; /* t, w: ms; y: 0 or 1; NEVER */
};

#define NEVER (-1)
#define N_STEPS 8

static void tokens_come_at_the_pace(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		int64_t per_s, burst;
		struct step steps[N_STEPS]; /* up to what 0 */
	} rows[] = {
		{ "1. it starts full: the burst is there at once, the next waits for its token", 10, 3,
		  {{ 0, 't', 1, 0, 0 }, { 0, 't', 2, 0, 0 }, { 0, 'w', 1, 0, 100 }, { 0, 'y', 1, 0, 0 }, { 100, 'y', 1, 0, 1 }} },
		{ "1. time fills it", 10, 3,
		  {{ 0, 't', 3, 0, 0 }, { 250, 'y', 3, 0, 0 }, { 250, 'y', 2, 0, 1 }, { 299, 'y', 1, 0, 0 }, { 300, 'y', 1, 0, 1 }} },
		{ "1. up to the burst, however long it was idle", 10, 3,
		  {{ 0, 't', 3, 0, 0 }, { 3600000, 'y', 4, 0, 0 }, { 3600000, 'y', 3, 0, 1 }, { 3600000, 'y', 1, 0, 0 }} },
		{ "1. a clock that seems to go backwards gives and takes nothing", 10, 1,
		  {{ 1000, 't', 1, 0, 1000 }, { 500, 'y', 1, 0, 0 }, { 500, 'w', 1, 0, 1100 }, { 1100, 'y', 1, 0, 1 }} },
		{ "2. a pace of 0 lets nothing through beyond what is there", 0, 2,
		  {{ 0, 't', 2, 0, 0 }, { 0, 't', 1, 0, NEVER }, { 1000000, 'y', 1, 0, 0 }, { 1000000, 'w', 1, 0, NEVER }} },
		{ "3. who asks when takes nothing", 1000, 1,
		  {{ 0, 'w', 1, 0, 0 }, { 0, 'w', 1, 0, 0 }, { 0, 't', 1, 0, 0 }, { 0, 'w', 5, 0, 5 }, { 0, 'w', 1, 0, 1 }} },
		{ "4. promised times are as far apart as the pace", 10, 1,
		  {{ 0, 't', 1, 0, 0 }, { 0, 't', 1, 0, 100 }, { 0, 't', 1, 0, 200 }, { 50, 't', 2, 0, 400 }, { 350, 'y', 1, 0, 0 },
		   { 400, 'y', 1, 0, 0 }, { 500, 'y', 1, 0, 1 }} },
		{ "4. more than the burst can be had in advance", 10, 2, {{ 0, 't', 12, 0, 1000 }, { 0, 't', 1, 0, 1100 }} },
		{ "4. what isn't promised isn't taken", 0, 1, {{ 0, 't', 2, 0, NEVER }, { 0, 'y', 1, 0, 1 }} },
		{ "nothing costs nothing", 10, 1, {{ 0, 't', 1, 0, 0 }, { 0, 't', 0, 0, 0 }, { 0, 't', -4, 0, 0 }, { 0, 'y', 0, 0, 1 }} },
		{ "more than can be counted never comes", 10, 1, {{ 0, 't', INT64_MAX, 0, NEVER }, { 0, 'y', 1, 0, 1 }} },
		{ "another pace holds from now on", 10, 1,
		  {{ 0, 't', 1, 0, 0 }, { 50, 's', 100, 1, 0 }, { 50, 'w', 1, 0, 55 }, { 50, 't', 2, 0, 65 }} },
		{ "a smaller burst takes away what was saved up", 10, 5, {{ 0, 's', 10, 2, 0 }, { 0, 'y', 3, 0, 0 }, { 0, 'y', 2, 0, 1 }} },
		{ "a larger one gives nothing", 10, 1, {{ 0, 't', 1, 0, 0 }, { 0, 's', 10, 5, 0 }, { 0, 'y', 1, 0, 0 }} },
		{ "resumed after a pause it fills from there", 0, 1, {{ 0, 't', 1, 0, 0 }, { 5000, 's', 10, 1, 0 }, { 5000, 'w', 1, 0, 5100 }} },
		{ "a burst is at least one, a pace at least none", -3, -3, {{ 0, 'y', 1, 0, 1 }, { 0, 'w', 1, 0, NEVER }} },
		{ "numbers beyond sense are a pace without limit", INT64_MAX, INT64_MAX, {{ 0, 'y', 1000000000, 0, 1 }, { 1000, 'y', 1000000000, 0, 1 }} },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct token_bucket b;

		token_bucket_init(&b, rows[i].per_s, rows[i].burst, at_ms(0));
		for (size_t j = 0; j < N_STEPS && rows[i].steps[j].what; j++) {
			const struct step *s = &rows[i].steps[j];
			struct mono now = at_ms(s->at_ms), when = MONO_NEVER;
			int64_t answer = 0;

			if (s->what == 's')
				token_bucket_set(&b, s->n, s->burst, now);
			else if (s->what == 'y')
				answer = token_bucket_try(&b, s->n, now);
			else
				when = s->what == 't' ? token_bucket_take(&b, s->n, now)
						      : token_bucket_when(&b, s->n, now);
			if (s->what == 't' || s->what == 'w')
				answer = mono_is_never(when) ? NEVER : when.us / 1000;
			if (answer != s->answer)
				fail_msg("%s: step %zu: %lld, not %lld", rows[i].what, j, (long long)answer,
					 (long long)s->answer);
		}
	}
}

static void times_are_rounded_up(void **state)
{
	struct token_bucket b;

	token_bucket_init(&b, 3, 1, at_ms(0));
	assert_int_equal(token_bucket_take(&b, 1, at_ms(0)).us, 0);
	assert_int_equal(token_bucket_take(&b, 1, at_ms(0)).us, 333334);
	assert_int_equal(token_bucket_take(&b, 1, at_ms(0)).us, 666667);
	assert_int_equal(token_bucket_take(&b, 1, at_ms(0)).us, 1000000);
}

/*
 * Another way to say the same (the "virtual schedule" of ATM's GCRA): the time at which the bucket would be full again.
 * In units of microseconds times the pace, so that it is exact too.
 */
struct model {
	__int128 full_at;
	int64_t per_s, burst;
};

static int64_t model_when(const struct model *m, int64_t n, int64_t now, __int128 *full_at)
{
	__int128 at = m->full_at > (__int128)now * m->per_s ? m->full_at : (__int128)now * m->per_s;
	__int128 when;

	*full_at = at + (__int128)n * 1000000;
	when = *full_at - (__int128)m->burst * 1000000;
	when = when > 0 ? (when + m->per_s - 1) / m->per_s : 0;
	return when > now ? (int64_t)when : now;
}

static void it_does_what_the_schedule_says(void **state)
{
	struct rng rng = test_rng(__func__);

	for (int round = 0; round < 300; round++) {
		struct model m = {.per_s = rng_between(&rng, 1, round % 2 ? 20 : 100000),
				  .burst = rng_between(&rng, 1, 50)};
		int64_t now = rng_between(&rng, 0, 1000000);
		struct token_bucket b;

		token_bucket_init(&b, m.per_s, m.burst, (struct mono){now});
		for (int step = 0; step < 500; step++) {
			int64_t n = rng_between(&rng, 1, 1 + m.burst), when;
			__int128 full_at;

			now += rng_below(&rng, 3) ? rng_between(&rng, 0, 4000000 / m.per_s) : 0;
			when = model_when(&m, n, now, &full_at);
			assert_int_equal(token_bucket_when(&b, n, (struct mono){now}).us, when);
			if (rng_below(&rng, 2)) {
				assert_int_equal(token_bucket_take(&b, n, (struct mono){now}).us, when);
				m.full_at = full_at;
			} else {
				bool has = token_bucket_try(&b, n, (struct mono){now});

				assert_int_equal(has, when == now);
				if (has)
					m.full_at = full_at;
			}
		}
	}
}

/* What it is for: in no stretch of time more than the burst and what the pace gives. */
static void no_stretch_of_time_has_too_many(void **state)
{
	struct rng rng = test_rng(__func__);

	for (int round = 0; round < 30; round++) {
		int64_t per_s = rng_between(&rng, 1, 500), burst = rng_between(&rng, 1, 20), now = 0, when[400];
		struct token_bucket b;

		token_bucket_init(&b, per_s, burst, at_ms(0));
		for (size_t i = 0; i < ARRAY_SIZE(when); i++) {
			now += rng_below(&rng, 4) ? 0 : rng_between(&rng, 0, 3000000 * burst / per_s);
			when[i] = token_bucket_take(&b, 1, (struct mono){now}).us;
			for (size_t j = 0; j < i; j++) {
				assert_true(when[j] <= when[i]);
				/* The first of them may have come with the last of a burst. */
				if (i - j + 1 > (size_t)burst)
					assert_true((int64_t)(i - j + 1 - (size_t)burst) * 1000000 <=
						    (when[i] - when[j] + 1) * per_s);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens_come_at_the_pace),
		cmocka_unit_test(times_are_rounded_up),
		cmocka_unit_test(it_does_what_the_schedule_says),
		cmocka_unit_test(no_stretch_of_time_has_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
