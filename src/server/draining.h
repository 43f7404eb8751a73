/*
 * What the files of a drain share. core/drain decides whom to ask and when; draining.c begins and ends it and tells it
 * what became of each agent, draining_move.c asks one agent, draining_report.c says how far it is.
 *
 *   why                       begins when                             ends with
 *   DRAINING_FOR_MAINTENANCE  our row is PreparingForMaintenance      our row: Maintenance, or Up again
 *   DRAINING_STRAGGLERS       in Maintenance, with agents that      all gone, or our row is something else
 *                             came while nobody else took them
 *   DRAINING_TO_STOP          server_leave() (SIGTERM)                server_stop()
 */
#pragma once

#include "core/drain.h"
#include "server/internal.h"

enum draining_why { DRAINING_FOR_MAINTENANCE, DRAINING_STRAGGLERS, DRAINING_TO_STOP };

struct draining {
	struct server *server;
	enum draining_why why;
	struct drain *drain;    /* NULL: what was asked has not been read yet */
	struct drain_row asked; /* for maintenance */
	bool reading;           /* it is on its way from the store */
	bool has_algorithm;
	enum algorithm algorithm; /* lists that agents are sent away with, where it is not the one in force */
	struct timer timer;
	struct mono began;
	struct mono asks_from; /* agents are asked when all know whom to avoid, at the latest then */
	bool asking;
	bool ending;     /* the event that ends it is on its way to the store */
	bool ended;      /* ... and is written */
	bool was_forced; /* time is over: whoever is left is closed */
	/* draining_report.c */
	char *report; /* the last that was written, or is on its way */
	struct mono reported;
	bool writing;
};

/* In a transaction: is what was asked of the server still the drain that was asked for then? 0: without the API. */
enum err draining_is_same(struct store_tx *tx, int64_t msid, int64_t asked_ms, bool *is) MUST_CHECK;
/* It is not: begins again with what is asked now. */
void draining_again(struct server *s);

/* ---- draining_move.c ---- */

/* Asks one agent to move, and reports to the drain what it says. */
void draining_ask(struct draining *d, uint64_t host_id);
/* Is there another server that takes agents now? */
bool draining_others_accept(const struct server *s);
/* ... or one that is Up and heard, and has just more of them than it can serve: better than a server that is emptied.
 */
bool draining_others_are_there(const struct server *s);

/* ---- draining_report.c ---- */

/* JSON object text; `ended` NULL: as core/drain has it, else the word for how it ended. NULL: out of memory. */
char *draining_report_text(const struct draining *d, const char *ended);
/* Writes the report when it has changed, and looks whether the drain is still the one that is asked for; once a second.
 */
void draining_report_write(struct draining *d);
/* The last one, when somebody else has ended it. */
void draining_report_last(struct draining *d, const char *ended);
/* "H4 (asked, and still here), H7 (...)": those that have not moved, as many as fit; "" when there are none. */
void draining_remaining_text(const struct draining *d, char *out, size_t size);
