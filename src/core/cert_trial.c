#include "core/cert_trial.h"

#include <assert.h>

#define TURN_MS 60000
#define TURN_MOST_MS 3600000
#define TURN_DOUBLES 6 /* 64 minutes: over the most */

enum { NEW, OLD };

const char *cert_trial_verdict_name(enum cert_trial_verdict v)
{
	static const char *const names[] = {
		[CERT_TRIAL_GOES_ON] = "goes on",   [CERT_TRIAL_SWITCHES] = "switches", [CERT_TRIAL_PROVEN] = "proven",
		[CERT_TRIAL_GIVEN_UP] = "given up", [CERT_TRIAL_STOPS] = "stops",
	};

	return names[v];
}

/* 1. The new one first. */
void cert_trial_begin(struct cert_trial *t)
{
	*t = (struct cert_trial){.use = CERT_TRIAL_NEW};
}

void cert_trial_end(struct cert_trial *t)
{
	*t = (struct cert_trial){.use = CERT_TRIAL_NONE};
}

static enum cert_trial_verdict end_with(struct cert_trial *t, enum cert_trial_verdict v)
{
	cert_trial_end(t);
	return v;
}

/* 7. */
static int64_t turn_ms(const struct cert_trial *t)
{
	unsigned doubles = t->turns < TURN_DOUBLES ? t->turns : TURN_DOUBLES;
	int64_t ms = (int64_t)TURN_MS << doubles;

	return ms < TURN_MOST_MS ? ms : TURN_MOST_MS;
}

static enum cert_trial_verdict give_turn(struct cert_trial *t, struct mono now)
{
	bool to_old = t->use == CERT_TRIAL_NEW;

	/* 8. */
	if (t->is_refused[to_old ? OLD : NEW])
		return CERT_TRIAL_GOES_ON;
	t->use = to_old ? CERT_TRIAL_OLD : CERT_TRIAL_NEW;
	t->turn_until = (struct mono){0};
	if (!to_old)
		t->turn_until = mono_add_ms(now, turn_ms(t));
	t->turns += !to_old;
	return CERT_TRIAL_SWITCHES;
}

static enum cert_trial_verdict refused(struct cert_trial *t, enum cert_trial_use made_with, bool has_old_link,
				       struct mono now)
{
	/* 4. */
	if (made_with == CERT_TRIAL_NEW && has_old_link)
		return end_with(t, CERT_TRIAL_GIVEN_UP);
	t->is_refused[made_with == CERT_TRIAL_NEW ? NEW : OLD] = true;
	/* 8. */
	if (t->is_refused[NEW] && t->is_refused[OLD])
		return CERT_TRIAL_STOPS;
	/* 5. */
	return made_with == t->use ? give_turn(t, now) : CERT_TRIAL_GOES_ON;
}

enum cert_trial_verdict cert_trial_step(struct cert_trial *t, enum cert_trial_event event,
					enum cert_trial_use made_with, bool has_old_link, struct mono now)
{
	assert(t->use != CERT_TRIAL_NONE && made_with != CERT_TRIAL_NONE);

	switch (event) {
	case CERT_TRIAL_READY:
		/* 2. */
		if (made_with == CERT_TRIAL_NEW)
			return end_with(t, CERT_TRIAL_PROVEN);
		/* 3. A move that was under way when the new one came says nothing. */
		return t->use == CERT_TRIAL_OLD ? end_with(t, CERT_TRIAL_GIVEN_UP) : CERT_TRIAL_GOES_ON;
	case CERT_TRIAL_REFUSED:
		return refused(t, made_with, has_old_link, now);
	case CERT_TRIAL_ROUND:
		/* 6. and 7. */
		if (made_with != t->use || !mono_reached(now, t->turn_until))
			return CERT_TRIAL_GOES_ON;
		return give_turn(t, now);
	case CERT_TRIAL_BROKE_OFF:
		/* 4. */
		if (made_with != CERT_TRIAL_NEW || !has_old_link || ++t->moves < CERT_TRIAL_MOVES)
			return CERT_TRIAL_GOES_ON;
		return end_with(t, CERT_TRIAL_GIVEN_UP);
	}
	return CERT_TRIAL_GOES_ON;
}
