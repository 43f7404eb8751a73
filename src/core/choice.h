/*
 * Choice: which server an agent should dial next, with a verdict for each entry of its list.
 *
 * Pure: the engine fills in candidates, asks, dials what was chosen and reports back by filling in the next question.
 * The numbers in choice.c are those of docs/placement.md ("Choice") and of what `muster-agent explain` prints.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/mono.h"
#include "core/backoff.h"

enum choice_verdict {
	CHOICE_CHOSEN,      /* dial it now */
	CHOICE_CONNECTED,   /* we are on it */
	CHOICE_DIALING,     /* an attempt is under way */
	CHOICE_BACKING_OFF, /* failed lately, waits until retry_at */
	CHOICE_AVOIDED,     /* the servers say: not now; tried last, never never */
	CHOICE_SPARE,       /* could be taken, an earlier one is */
	CHOICE_TRIED,       /* could be taken again, but others have not been tried yet */
	CHOICE_UNUSABLE,    /* the entry is no address */
	CHOICE_N_VERDICTS
};

struct candidate {
	const char *entry; /* borrowed, as spelled in the list */
	bool unusable;     /* does not parse */
	bool avoided;
	bool connected;
	bool dialing;
	struct backoff backoff;
	enum err last_error;         /* why the last attempt failed; ERR_OK: none or it worked */
	const char *sentence;        /* borrowed; the same in words; NULL: none */
	bool has_failed;             /* in this search: since the agent was on a server last */
	bool is_put_off;             /* it was no failure: the server named retry_at as the time to come back */
	enum choice_verdict verdict; /* out */
};

#define CHOICE_NONE ((size_t)-1)

/*
 * Writes a verdict into every candidate; returns the index to dial now or CHOICE_NONE. *look_again is when the answer
 * may change by time alone (the earliest retry_at), MONO_NEVER when it can't.
 */
size_t choice_make(struct candidate *c, size_t n, struct mono now, struct mono *look_again);
/* One word for tables ("backing off") and one sentence for people. */
const char *choice_verdict_name(enum choice_verdict v);
const char *choice_verdict_text(enum choice_verdict v);
