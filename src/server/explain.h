/*
 * Why a host is where it is, in words (`muster explain`): what the servers see and what the agent itself said, made
 * into one answer, when it looks again, and what would move it.
 *
 * Pure: api_explain.c fills in the facts, the functions here only choose words. What the agent said comes from a peer;
 * it is shown and never acted upon.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "core/failback.h"
#include "core/host_status.h"
#include "core/server_status.h"

/* Seconds that are not known or not planned are -1 everywhere. */

struct explain_server {
	const char *name; /* NULL: no registered server is meant */
	enum server_state state;
	bool accepting;
	int64_t uptime_s;
};

/* What the agent said of one entry. */
struct explain_candidate {
	const char *verdict, *why; /* NULL: it didn't say */
	const char *error, *said;  /* of its last attempt; NULL: none, or it worked */
	int64_t failures, retry_s;
	bool put_off; /* the server named the time */
	/* Of its gate, on an entry that stands before the one in use; NULL: it didn't ask, or is older. */
	const char *gate;
};

struct explain_entry {
	const char *entry;
	bool is_first, is_connected;
	struct explain_server server;
	struct explain_candidate said;
};

struct explain_agent {
	bool answered;
	/* Of its failback gate; NULL: none. */
	const char *verdict, *why;
	enum failback_verdict known; /* the same; FAILBACK_N_VERDICTS: none that we know */
	int64_t again_s;             /* when that may change by itself */
	int64_t uptime_s, uptime_needed_s;
	int64_t heartbeats, heartbeats_needed;
	int64_t next_s; /* its next look */
	int64_t interval_s;
	bool interval_is_own;
	bool is_moving;   /* another link is being made */
	bool goes_better; /* it knows of better servers than this while the preferred one is away: it isn't older */
	/* The gate's verdict on the better one; FAILBACK_N_VERDICTS: none. */
	enum failback_verdict better;
	struct explain_candidate preferred;
};

struct explain_facts {
	const char *host;
	enum host_status status;
	bool is_up, reconnecting, suspect, is_outdated;
	const char *owner;     /* name of the server it is on; NULL: none */
	bool is_home;          /* there is a list, and it is on the first of it */
	const char *preferred; /* name or entry of the first of its list; NULL: no list */
	struct explain_server first;
	/* The first of its list that takes agents, if it stands before the owner and isn't the preferred one; NULL. */
	const char *better;
	const char *next; /* where it would go if it had to leave; NULL: nowhere */
	int64_t interval_s;
	bool looks_once;    /* shuffle */
	const char *frozen; /* "Moves are frozen since ..."; NULL: they are not */
	int64_t pace;       /* agents that may come home to the first, a second */
	int64_t n_waiting;  /* who have been told a time for that */
	struct explain_agent agent;
};

/* One sentence: where it is, why, and when it returns. */
enum err explain_why(struct buf *out, const struct explain_facts *f) MUST_CHECK;
/* When it looks for its preferred server next. Empty where the question makes no sense. */
enum err explain_looks(struct buf *out, const struct explain_facts *f) MUST_CHECK;
/* What would move it: commands and conditions, a sentence each. */
enum err explain_moves(struct str_list *out, const struct explain_facts *f) MUST_CHECK;
/* A word or two for tables, and a sentence. */
enum err explain_verdict(struct buf *verdict, struct buf *sentence, const struct explain_facts *f,
			 const struct explain_entry *e) MUST_CHECK;
/* FAILBACK_N_VERDICTS: none of that name. */
enum failback_verdict explain_gate_from_text(const char *text);
