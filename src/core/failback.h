/*
 * Failback: may an agent return to its preferred server on its own initiative now (decision 29)? And as long as that
 * one is away: may it go to another that stands before the one it is on?
 *
 * Pure: the engine fills in a question whenever it looks, does what the verdict says, and tells what became of it with
 * failback_returned(), failback_moved() and failback_lost(). The same question is asked before the candidate link is
 * opened, while it proves itself and before it is promoted, so that what changes meanwhile counts. Rules are numbered
 * as in docs/failover.md ("Failback gate") and as `muster-agent explain` prints them.
 *
 * Commands in progress are not part of the question: make before break lets them finish, so being busy never keeps an
 * agent away from home.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mono.h"
#include "base/rng.h"

enum failback_verdict {
	FAILBACK_HOME,          /* on the preferred server already */
	FAILBACK_FROZEN,        /* an operator has frozen all moves that are not needed */
	FAILBACK_OFF,           /* the interval is 0: agents stay where they are */
	FAILBACK_PUT_OFF,       /* the last attempt failed, or the preferred server named a time */
	FAILBACK_AVOIDED,       /* it is in the avoid list */
	FAILBACK_UNKNOWN,       /* nobody has said yet how the preferred server is */
	FAILBACK_NOT_UP,        /* its state isn't Up */
	FAILBACK_NOT_ACCEPTING, /* it is Up and takes nobody: a storm, a drain */
	FAILBACK_TOO_YOUNG,     /* it hasn't been up for long enough */
	FAILBACK_DAMPED,        /* the last return was followed by losing it */
	FAILBACK_OPEN,          /* open a candidate link now */
	FAILBACK_PROVING,       /* the candidate link is there, heartbeats are awaited */
	FAILBACK_UNPROVEN,      /* they didn't come: close it, and count it as an attempt that failed */
	FAILBACK_PROMOTE,       /* the candidate link takes over */
	FAILBACK_N_VERDICTS
};

/* 0 switches a condition off. */
struct failback_rule {
	int64_t uptime_ms;         /* up for so long is enough ... */
	unsigned uptime_intervals; /* ... and so is this many check intervals, whichever is less */
	unsigned heartbeats;       /* that the candidate link has to see */
	int64_t prove_ms;          /* within this time */
	int64_t unknown_ms; /* a server that has said nothing for so long isn't going to: the candidate link decides */
	int64_t flap_ms;    /* losing the server so soon after a return is a flap ... */
	int64_t damper_ms;  /* ... and the next return waits for so long */
	unsigned jitter_percent; /* by how much a look may come before its interval is over */
};

extern const struct failback_rule failback_rule_default; /* 30 s, 2, 3, 6 s, 3 s, 5 min, 5 min, 20 % */

/* What the agent remembers of one server. Starts as {0}. */
struct failback {
	bool has_returned; /* the link in use is a return to it on its own initiative */
	struct mono returned_at;
	struct mono damped_until; /* {0}: not damped */
};

/* What the agent's current server says of the one that is asked about. */
struct failback_word {
	bool is_known; /* false: the rest means nothing */
	bool is_up;
	bool is_accepting;
	int64_t uptime_ms; /* when it was said; grows from then on */
	struct mono said_at;
};

struct failback_question {
	int64_t interval_ms;     /* between looks; 0: never */
	bool is_told;            /* a new list, triggerHostLb, rebalance: somebody else's initiative */
	bool is_home;            /* on the preferred server */
	bool is_frozen;          /* the current server says that moves are frozen */
	bool is_avoided;         /* the avoid list names the preferred server */
	struct mono retry_at;    /* its back-off, or the time that it named; {0}: at once */
	bool has_named_time;     /* the latter */
	bool has_failed;         /* the last attempt did, and none has worked since */
	bool needs_word;         /* it isn't the first of the list: without a word about it it is left alone */
	struct mono ready_since; /* the link to the current server: how long that could have spoken */
	struct failback_word word;
	bool has_candidate;          /* a link to the preferred server has completed TLS */
	bool has_heartbeats;         /* and both ends are muster's; false: TLS is all the proof there is */
	unsigned heartbeats;         /* seen on it */
	struct mono candidate_since; /* valid with has_candidate */
};

/*
 * *look_again is when the verdict may change by time alone, MONO_NEVER when it can't: it changes with what the servers
 * say, with the next heartbeat or with the next regular look. The engine's timer is failback_next_look()'s.
 */
enum failback_verdict failback_judge(const struct failback *f, const struct failback_rule *rule,
				     const struct failback_question *q, struct mono now, struct mono *look_again);
/* The entries of a list that stand before the one in use; those behind so many others are not thought of. */
#define FAILBACK_ENTRIES_MOST 32
struct failback_entry {
	const struct failback *past; /* borrowed */
	struct failback_question q;
	enum failback_verdict verdict; /* these two are written */
	struct mono look_again;
};
/*
 * The best live entry ("Even after failures"): judges the n > 0 entries in their order, up to the first that is gone
 * to or waited for, and returns that one's place; 0 when there is none. *n_judged: so many have a verdict.
 */
size_t failback_choose(struct failback_entry *entries, size_t n, const struct failback_rule *rule, struct mono now,
		       size_t *n_judged);
/* Does the verdict leave the way to the next entry free? */
bool failback_passes_over(const struct failback_question *q, enum failback_verdict v);
/*
 * When to look next after a look at `now` that gave `v` and `look_again`. Never later than an interval from now,
 * earlier where the verdict may change earlier - but then at a random time, because it changes for all agents of a
 * server at once.
 */
struct mono failback_next_look(const struct failback_rule *rule, const struct failback_question *q,
			       enum failback_verdict v, struct mono look_again, struct mono now, struct rng *rng);
/* How long a server has to be up before agents that look every `interval_ms` return to it. */
int64_t failback_uptime_needed_ms(const struct failback_rule *rule, int64_t interval_ms);

/* The agent has returned on its own initiative: the candidate link was promoted. */
void failback_returned(struct failback *f, struct mono now);
/* It is on another link for any other reason: startup, failover, drain, rebalance. Not for a renewal: same server. */
void failback_moved(struct failback *f);
/* The link in use was lost, without a move. */
void failback_lost(struct failback *f, const struct failback_rule *rule, struct mono now);
/* The list or the algorithm has changed: what was learned about the old preferred server is of no use. */
void failback_new_list(struct failback *f);

/* One word or two for tables ("too young") and one sentence for people. */
const char *failback_verdict_name(enum failback_verdict v);
const char *failback_verdict_text(enum failback_verdict v);
/* The same sentence about an entry that isn't the preferred server. */
const char *failback_verdict_other(enum failback_verdict v);
