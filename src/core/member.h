/*
 * Member: is another management server alive, as this one sees it (decision 15)?
 *
 * Two signs, the peer link and the heartbeat in the store. A server is down when both have been silent for
 * MEMBER_DOWN_MS; one alone is a named warning. Never on account of our own stall: after a pause of ours (the clock
 * jumped by more than MEMBER_STALL_MS between two looks) everybody gets a fresh period of grace.
 */
#pragma once

#include <stdbool.h>

#include "base/mono.h"

#define MEMBER_DOWN_MS 5000
#define MEMBER_STALL_MS 2000

enum member_view { MEMBER_UNKNOWN, MEMBER_UP, MEMBER_UP_NO_LINK, MEMBER_UP_NO_HEARTBEAT, MEMBER_DOWN };

struct member {
	struct mono link_heard;  /* last sign on a peer link; {0}: none yet */
	struct mono store_heard; /* when the store's heartbeat was last seen to move */
	struct mono known_since; /* start of the current period of grace */
	struct mono looked;      /* last member_look() */
	enum member_view view;
};

void member_init(struct member *m, struct mono now);
void member_heard_link(struct member *m, struct mono now);
void member_heard_store(struct member *m, struct mono now);
/* Recomputes the view; returns true when it changed. *next_due: when time alone may change it. */
bool member_look(struct member *m, struct mono now, struct mono *next_due);
const char *member_view_name(enum member_view v); /* "up", "up (no link)", ... */
