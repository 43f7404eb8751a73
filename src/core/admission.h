/*
 * Admission: how many agents a server takes at a time, and what it says to the others (decision 28).
 *
 * Gate 1, before TLS, bounds the handshakes in progress so that the loop stays quick for the agents that are there
 * already; who has to wait waits in the backlog. Gate 2, after TLS, asks a muster agent to come back later when the
 * queue of startups is long: at which time, and which server to try meanwhile. Both are pure: the loop's delay, the
 * lengths of queues and the time come in as arguments. Rules are numbered as in docs/failover.md ("Admission").
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mono.h"
#include "base/rng.h"

/* ---- gate 1: handshakes in progress ---- */

struct admission_rule {
	int64_t delay_us;  /* 99 of 100 loop delays are to be no longer than this */
	unsigned samples;  /* delays that are judged together */
	unsigned start;    /* handshakes in progress that are allowed at first ... */
	unsigned least;    /* ... at least: newcomers are never shut out ... */
	unsigned most;     /* ... and at most */
	int64_t settle_ms; /* after a cut: what is under way still causes delays */
	int64_t peer_ms;   /* a handshake counts for so long while we wait for its peer */
};

extern const struct admission_rule admission_rule_default; /* 20 ms, 100, 16, 2, 1024, 100 ms, 500 ms */

struct admission {
	struct admission_rule rule;
	unsigned allowed; /* handshakes in progress */
	bool was_cut;     /* ever: from then on it grows slowly */
	bool was_full;    /* in this window */
	unsigned n_samples, n_late;
	struct mono settled_at;
};

void admission_init(struct admission *a, const struct admission_rule *rule);
/* One loop delay (by how much a timer came late, or how long a turn took) with the handshakes in progress then. */
void admission_sample(struct admission *a, int64_t delay_us, size_t n_in_progress, struct mono now);
/* How many handshakes may be started now. */
size_t admission_room(const struct admission *a, size_t n_in_progress);
/*
 * Does this handshake count as in progress? `has_hello`: its first message is complete; `is_our_turn`: we have work to
 * do for it; otherwise its peer's turn began at `turn_since`.
 */
bool admission_counts(const struct admission *a, bool has_hello, bool is_our_turn, struct mono turn_since,
		      struct mono now);

/* ---- gate 2: come back later ---- */

enum admission_verdict {
	ADMISSION_WELCOME,   /* into the queue */
	ADMISSION_LATER,     /* come back after retry_ms */
	ADMISSION_ELSEWHERE, /* try the named server now; if that fails, come back after retry_ms */
	ADMISSION_N_VERDICTS
};

#define ADMISSION_NO_SERVER ((size_t)-1)

struct admission_queue_rule {
	int64_t patience_ms;      /* who would wait longer than this in the queue is asked to come back */
	int64_t patience_move_ms; /* the same for who still has a link to another server */
	int64_t least_ms;         /* of retry_ms */
	int64_t most_ms;
	int64_t assumed_per_s; /* startups, until some have been seen */
};

extern const struct admission_queue_rule admission_queue_rule_default; /* 2 s, 200 ms, 100 ms, 60 s, 200 */

/* What the server remembers. Starts as {0}. */
struct admission_queue {
	int64_t gap_us_64; /* mean time between two startups that were served, in 64ths of a microsecond; 0: unknown */
	bool was_busy;     /* somebody was still waiting at served_at */
	struct mono served_at; /* the last one */
	struct mono slot_at;   /* the last time that was given away */
};

/* Another server as the cluster knows it. */
struct admission_server {
	bool is_usable;   /* Up, accepting, and in the agent's list */
	uint64_t backlog; /* its admission_backlog() by its last word */
	uint64_t n_agents;
	uint64_t n_sent; /* by us since that word: counted here, set to 0 by the caller with each new word */
};

struct admission_question {
	bool is_muster;     /* others can't be asked */
	bool has_link;      /* it is on another server and wants to move here */
	bool was_sent;      /* it comes because another server has named us */
	unsigned n_put_off; /* how often it was asked to come back before it came now */
	uint64_t n_waiting; /* in our queue, before it */
};

struct admission_answer {
	enum admission_verdict verdict;
	int64_t retry_ms; /* valid unless it is welcome */
	size_t server;    /* index; ADMISSION_NO_SERVER: none */
};

/* So many startups were served at once since the last call, and `n_left` are still waiting. */
void admission_served(struct admission_queue *q, uint64_t n_served, uint64_t n_left, struct mono now);
/* How long the n-th in the queue waits. */
int64_t admission_wait_ms(const struct admission_queue *q, const struct admission_queue_rule *rule, uint64_t n);
/* Who waits here: in the queue (`n_waiting`) and, with a slot, at home. What the other servers are told. */
uint64_t admission_backlog(const struct admission_queue *q, const struct admission_queue_rule *rule, uint64_t n_waiting,
			   struct mono now);
/* Gives a slot away and counts whom it sends elsewhere. */
struct admission_answer admission_ask(struct admission_queue *q, const struct admission_queue_rule *rule,
				      const struct admission_question *question, struct admission_server *servers,
				      size_t n_servers, struct mono now, struct rng *rng);
const char *admission_verdict_name(enum admission_verdict v);
