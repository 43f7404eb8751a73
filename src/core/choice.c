/*
 * Choice: the rules of docs/placement.md ("Choice"), in their order.
 *
 * The question is always "if a server had to be dialled now, which one?". Whether one has to be - because the link
 * was lost, looks dead or is to be moved - is for the engine to know.
 */
#include "core/choice.h"

#include "base/mem.h"

/* clang-format off */
static const struct {
	const char *name;
	const char *text;
} verdicts[] = {
	[CHOICE_CHOSEN]      = { "chosen",      "this server is dialled next" },
	[CHOICE_CONNECTED]   = { "connected",   "the agent is on this server" },
	[CHOICE_DIALING]     = { "dialing",     "an attempt to reach this server is under way" },
	[CHOICE_BACKING_OFF] = { "backing off", "the last attempt failed, it is tried again after a pause" },
	[CHOICE_AVOIDED]     = { "avoided",     "the servers say that it should not be used now, it is tried last" },
	[CHOICE_SPARE]       = { "spare",       "could be used, a server before it in the list is preferred" },
	[CHOICE_TRIED]       = { "tried",       "has failed in this search, servers that have not come first" },
	[CHOICE_UNUSABLE]    = { "unusable",    "the entry is not a valid address" },
};
/* clang-format on */

_Static_assert(ARRAY_SIZE(verdicts) == CHOICE_N_VERDICTS, "each verdict has a name and a sentence");

const char *choice_verdict_name(enum choice_verdict v)
{
	return verdicts[v].name;
}

const char *choice_verdict_text(enum choice_verdict v)
{
	return verdicts[v].text;
}

static enum choice_verdict verdict_of(const struct candidate *c, struct mono now)
{
	/* 1. What is no address can't be dialled. */
	if (c->unusable)
		return CHOICE_UNUSABLE;
	/* 2. Where the agent is already, or on its way to, it doesn't go again. */
	if (c->connected)
		return CHOICE_CONNECTED;
	if (c->dialing)
		return CHOICE_DIALING;
	/* 3. A server that failed lately waits out its back-off, whatever else speaks for it. */
	if (!mono_reached(now, c->backoff.retry_at))
		return CHOICE_BACKING_OFF;
	/* 4. An avoided server comes last: see choice_make(). */
	if (c->avoided)
		return CHOICE_AVOIDED;
	/* 5. Every server is tried once before one is tried again. */
	return c->has_failed ? CHOICE_TRIED : CHOICE_SPARE;
}

static size_t first_with(const struct candidate *c, size_t n, enum choice_verdict v)
{
	for (size_t i = 0; i < n; i++) {
		if (c[i].verdict == v)
			return i;
	}
	return CHOICE_NONE;
}

size_t choice_make(struct candidate *c, size_t n, struct mono now, struct mono *look_again)
{
	bool is_other_under_way = false;
	size_t chosen;

	*look_again = MONO_NEVER;
	for (size_t i = 0; i < n; i++) {
		c[i].verdict = verdict_of(&c[i], now);
		if (c[i].verdict == CHOICE_BACKING_OFF)
			*look_again = mono_min(*look_again, c[i].backoff.retry_at);
		is_other_under_way |= c[i].verdict == CHOICE_DIALING && !c[i].avoided;
	}
	/* 6. The order of the list decides between those that can be dialled: the first is preferred. */
	chosen = first_with(c, n, CHOICE_SPARE);
	if (chosen == CHOICE_NONE)
		chosen = first_with(c, n, CHOICE_TRIED);
	/*
	 * 7. Only avoided servers left: the first of them, rather than none, because what the agent was told may be
	 * old. But not while another server is being dialled, or a slow handshake would push the agent into a server
	 * that is being emptied.
	 */
	if (chosen == CHOICE_NONE && !is_other_under_way)
		chosen = first_with(c, n, CHOICE_AVOIDED);
	if (chosen != CHOICE_NONE)
		c[chosen].verdict = CHOICE_CHOSEN;
	return chosen;
}
