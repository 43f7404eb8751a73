/*
 * A new certificate is on trial until a server has taken it: what an agent that has an old one beside it does.
 *
 * Nobody can know in advance whether servers will take a new certificate, and an agent that threw the old one away
 * would be lost if they don't. So both stay until a link made with one of them is Ready. The rules:
 *
 *    1. New links are made with the new one first, also after a restart.
 *    2. A Ready link made with the new one proves it, whatever went wrong before. The old one is not needed any more.
 *    3. A Ready link made with the old one, in its turn, settles it the other way: the new one is given up.
 *    4. A link that is there already is not touched for any of this. While one made with the old one is Ready, links
 *       beside it that break off where certificates are judged are counted; the third one in a row gives the new one
 *       up, since the old one is known to work. One that a server refuses by name gives it up at once.
 *       Nothing breaks off there that ends before the new certificate was shown: an overrun server, a proxy and a
 *       restart say nothing about it. But a server that isn't trusted counts: whom to trust comes with the certificate.
 *    5. Without a link, a refusal by name gives the turn to the other one at once.
 *    6. Without a link, a round - every server of the list was tried, and at least one broke off where certificates are
 *       judged - gives the turn to the other one. Servers that can't be reached say nothing about a certificate.
 *    7. No flapping: each turn that comes back to the new one lasts at least 1, 2, 4 ... minutes, an hour at most,
 *       before a round may end it. The old one's turn is one round.
 *    8. What was refused by name has no further turn. Both refused: the agent stops, as one without a choice would.
 *
 * Being put off, a time-out, a connection that can't be made are none of these: they say nothing about a certificate.
 */
#pragma once

#include <stdbool.h>

#include "base/mono.h"

#define CERT_TRIAL_MOVES 3

enum cert_trial_use {
	CERT_TRIAL_NONE, /* there is nothing on trial */
	CERT_TRIAL_NEW,  /* links are made with the new one */
	CERT_TRIAL_OLD,  /* with the old one */
};

struct cert_trial {
	enum cert_trial_use use;
	bool is_refused[2]; /* by name: [0] the new one, [1] the old one */
	unsigned moves;     /* broken off beside a link made with the old one, in a row */
	unsigned turns;     /* that came back to the new one */
	struct mono turn_until;
};

/* What has happened to a link. Whatever is made with the one whose turn it isn't comes late, and only some of it
 * counts. */
enum cert_trial_event {
	CERT_TRIAL_READY,
	CERT_TRIAL_REFUSED,   /* by name and for good */
	CERT_TRIAL_ROUND,     /* without a link: as 6 says */
	CERT_TRIAL_BROKE_OFF, /* beside a Ready link made with the old one */
};

enum cert_trial_verdict {
	CERT_TRIAL_GOES_ON,
	CERT_TRIAL_SWITCHES, /* `use` is the other one now */
	CERT_TRIAL_PROVEN,   /* the trial is over: the new one stays */
	CERT_TRIAL_GIVEN_UP, /* the trial is over: the old one stays */
	CERT_TRIAL_STOPS,    /* both are refused */
};

void cert_trial_begin(struct cert_trial *t);
void cert_trial_end(struct cert_trial *t);
/* `made_with`: the link that it has happened to. `has_old_link`: another one, made with the old one, is Ready. */
enum cert_trial_verdict cert_trial_step(struct cert_trial *t, enum cert_trial_event event,
					enum cert_trial_use made_with, bool has_old_link, struct mono now);
const char *cert_trial_verdict_name(enum cert_trial_verdict v);
