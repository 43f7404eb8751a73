/*
 * What the files of the agent engine share. Nothing outside src/client includes it.
 *
 *   agent.c         one agent's life: states, start, stop, what its host program hears
 *   candidates.c    which servers there are, and dialling them beside each other until one has completed TLS
 *   session.c       one link from its startup on: startup, pings, what comes in
 *   move.c          from one session to the next: make before break, promotion, loss
 *   liveness.c      is the other side still there?
 *   creds.c         with which certificate: the new one, or the old one that is kept until that is proven
 *   check.c         am I on my preferred server, or on the best that is left, and may I go there now?
 *   list.c          a received list, avoid list and interval
 *   own_commands.c  the commands that the engine answers itself
 *   news.c          what a server says without being asked
 *   tickets.c       the session ticket that makes coming back cheap
 *   requests.c      batches of commands and their answers, across links
 *   cron.c          commands that are repeated
 *   trust.c         may this be my server?
 *
 * Two rules keep it freeable at any moment. What the host program hears about (changed, stopped, command) is called
 * from the end of a turn, never from the middle of the engine; after such a call the agent may be gone. And a session
 * that ends is only put aside (agent.ended) until the end of the turn, because its own callback may still be running.
 */
#pragma once

#include "base/list.h"
#include "client/agent.h"
#include "core/cert_trial.h"
#include "core/server_list.h"
#include "net/link.h"

/* ---- candidates ---- */

/* Parallel to agent.candidates: what the engine knows of an entry that can be dialled. */
struct place {
	char *entry; /* owned; candidates[i].entry is this */
	struct server_address address;
	bool is_fallback;      /* not of the list in force */
	bool is_compat;        /* a TLS handshake as muster's failed: the next one is as CloudStack's */
	bool was_tried;        /* in the current hunt */
	bool is_sent;          /* another server has named it: dialled first */
	unsigned put_off;      /* how often it has asked to come back later, in a row */
	bool return_put_off;   /* the last time: somebody who only wanted to come home */
	bool no_ticket;        /* a handshake with a ticket failed: none is offered until it has worked without */
	int64_t handshake_ms;  /* of the last one that worked; 0: none yet */
	char last_ip[IP_TEXT]; /* where the name led to when it last worked; "": not known */
	char said[160];        /* why the last attempt failed; "": it didn't */
	unsigned failed_with;  /* while a certificate is on trial: generation of that of the last failure; 0: none */
	bool broke_off;        /* with that one: where certificates are judged */
	struct failback past;  /* returns to it, and what became of them */
	struct backoff return_backoff; /* of attempts to return to it: those to dial are another matter */
};

struct attempt {
	struct list in; /* agent.hunt.attempts */
	struct agent *agent;
	struct link *link; /* owned */
	char *entry;       /* owned */
	enum tls_profile profile;
	bool by_last_ip;
	bool is_sent;
	bool has_tcp;
	bool resumes;              /* offers a ticket */
	bool lost_ticket;          /* has offered one, failed, and is made again without */
	unsigned creds_generation; /* of the certificate it was begun with */
	struct mono next_at;       /* when another server may be dialled beside it */
};

/* What a new link is wanted for. */
enum hunt {
	HUNT_NONE,
	HUNT_SEEK,      /* there is no link */
	HUNT_PREFERRED, /* back to the first of the list, or to the best that is alive (agent.goal) */
	HUNT_MIGRATE,   /* a server asked us to go */
	HUNT_SUSPECT,   /* the link in use is silent */
	HUNT_RENEW,     /* the same server with a new certificate */
};
const char *hunt_name(enum hunt h);
/* As a startup says it: "seek", "preferred", ... */
const char *hunt_purpose(enum hunt h);
/* Planned: there is a link, and nothing is wrong with it. */
bool hunt_is_move(enum hunt h);
/* What has completed TLS. */
struct arrival {
	struct link *link;
	const char *entry;
	enum hunt purpose;
	unsigned creds_generation;
	bool is_sent;
};

enum err candidates_rebuild(struct agent *a) MUST_CHECK;
/* Writes avoided, connected and dialing into the candidates. */
void candidates_refresh(struct agent *a);
size_t candidates_find(const struct agent *a, const char *entry); /* CHOICE_NONE: not there */
void candidates_deinit(struct agent *a);
void candidate_failed(struct agent *a, const char *entry, enum err why, const char *sentence);
/* A planned move has failed: no word on what a search should do, and the back-off is that of one failure. */
void candidate_move_failed(struct agent *a, const char *entry, enum err why, const char *sentence);
void candidate_worked(struct agent *a, const char *entry);
/* The server has asked us to come back then, and may have named another one (NULL: none) to try at once. */
void candidate_put_off(struct agent *a, const char *entry, bool is_return, int64_t retry_ms, const char *sentence);
void candidate_send_to(struct agent *a, const char *from, const char *entry);
void hunt_start(struct agent *a, enum hunt h);
/* Goes on with those that were not tried yet. */
void hunt_resume(struct agent *a, enum hunt h);
/* Its first dial waits for a part of the time that so many agents need to be taken (docs/failover.md, "First dial"). */
void hunt_start_spread(struct agent *a, enum hunt h, uint64_t n_agents);
/* So many were on the server that the search is because of; 0: not told. */
void hunt_lost(struct agent *a, uint64_t n_agents);
void hunt_stop(struct agent *a); /* closes what is being dialled */
/* Everybody may be dialled anew, soon, with another certificate: what was being dialled is closed, back-offs are over.
 */
void hunt_restart(struct agent *a);
void hunt_step(struct agent *a); /* looks again now */
void hunt_fired(struct timer *t);

/* ---- sessions ---- */

enum session_state {
	SESSION_PROVING,
	SESSION_STARTING,
	SESSION_ANSWERED,
	SESSION_READY,
	SESSION_RETIRING,
	SESSION_ENDED
};

/* Before Ready both sides send heartbeats this often: long enough for a link that proves itself, not for ever. */
#define PROVING_MS 500

struct session {
	struct list in; /* agent.sessions, agent.ended at the end */
	struct agent *agent;
	struct link *link; /* owned; NULL once ended */
	char *entry;       /* owned */
	enum session_state state;
	enum hunt purpose;
	bool is_told; /* a return that wasn't the agent's own idea */
	bool is_sent; /* another server has named this one */
	bool is_muster;
	bool is_transferred;       /* the next startup says so */
	unsigned creds_generation; /* of the certificate it was made with */
	bool is_suspect;
	struct timer startup_timer;
	struct timer ping_timer;
	struct timer retire_timer;
	struct timer liveness_timer;
	struct timer prove_timer;
	unsigned heartbeats;         /* seen */
	struct mono started_at;      /* the first startup; {0}: not yet */
	struct mono asked_at;        /* without heartbeats: the oldest ping that is not answered; {0}: none */
	uint64_t n_agents;           /* on this server, as it says; 0: not told */
	struct failback_word *words; /* owned; what it says of the first entries of the list, in their order */
	size_t n_words;
	bool is_frozen;       /* it says that nobody goes home now */
	int64_t ping_ms;      /* 0: not known yet */
	struct mono ping_at;  /* the next one, valid while ping_ms is set */
	int64_t heartbeat_ms; /* 0: none */
	struct mono excused;  /* silence before this doesn't count: we were not listening ourselves */
	struct mono look_at;  /* when liveness_timer was meant to fire */
	unsigned pings_unanswered;
	struct mono ready_at;
	struct mono heard; /* valid when the link has closed */
	struct list crons;
};

/* PROVING; session_begin() introduces us. */
enum err session_new(struct session **out, struct agent *a, const struct arrival *take_link) MUST_CHECK;
enum err session_begin(struct session *s) MUST_CHECK;
enum err session_send_startup(struct session *s) MUST_CHECK;
void session_ready(struct session *s, const msg_i64 *heartbeat_ms);
/* What the server asks for, within bounds. */
void session_set_heartbeat(struct session *s, int64_t ms);
/* Takes no part in anything any more but finishes what came on it; closes after a moment. */
void session_retire(struct session *s);
/* Closes the link and puts the session aside. Nobody is told. */
void session_close(struct session *s);
void session_ping(struct session *s, bool out_of_band);
void session_stop_tasks(struct session *s); /* no pings, no cron */
/* ERR_CLOSED when the session has ended. */
enum err session_send(struct session *s, struct header *h, const struct batch *b) MUST_CHECK;
bool session_is_alive(const struct session *s);
void sessions_free_ended(struct agent *a);

void liveness_start(struct session *s);
/* Is it worth having another link beside this one? */
bool liveness_is_suspect(const struct session *s);
void liveness_look(struct timer *t);
/* A server without heartbeats was asked, or has answered. */
void liveness_asked(struct session *s);
void liveness_answered(struct session *s);

bool trust_server(const struct tls_peer *p, bool is_muster, bool trust_all, struct why *why);

/* ---- certificates ---- */

struct creds_held {
	struct tls_creds *creds; /* referenced */
	unsigned generation;
};

struct creds_trial {
	struct cert_trial rule;
	struct creds_held fresh, old; /* while it is on */
	char said[160];               /* what was last said against a certificate */
};

enum err creds_init(struct agent *a, struct why *why) MUST_CHECK;
void creds_deinit(struct agent *a);
/* The current link has an older certificate, and there was no way to another one now: later. */
void creds_renew_later(struct agent *a);
void creds_renew_fired(struct timer *t);
/* A link made with that generation is Ready for the first time. */
void creds_ready(struct agent *a, unsigned generation);
/* It was refused by name. false: there is no other certificate to try. */
bool creds_refused(struct agent *a, unsigned generation, const char *sentence);
/*
 * May a link that ends so before its startup is answered have ended because of a certificate? `in_question`: ours was
 * shown, and the other side has ended it. That we don't trust the server is another matter: the trusted set came with
 * the certificate.
 */
bool creds_breaks_off(enum err why, bool in_question);
/* An attempt or a link ended before its startup was answered. `broke_off`: as creds_breaks_off() says. */
void creds_failed(struct agent *a, const char *entry, unsigned generation, bool broke_off, const char *sentence);

/* ---- session tickets ---- */

struct tickets {
	struct buf data; /* the newest one, secret; empty: none */
	struct mono got_at;
	struct timer refresh;     /* when one is fetched; during a visit its deadline */
	struct link *visit;       /* owned; NULL: none */
	bool visit_is_up;         /* it has completed TLS */
	struct mono barren_until; /* no visit before its time: the last brought nothing */
	unsigned visit_generation;
};

void tickets_init(struct agent *a);
void tickets_stop(struct agent *a);
void tickets_got(struct agent *a, unsigned creds_generation, const void *data, size_t n);
void tickets_drop(struct agent *a, const char *reason);
/* Borrowed until the next call; empty: none for such a server. */
struct bytes tickets_offer(const struct agent *a, enum tls_profile profile);
void tickets_ready(struct agent *a, const struct session *s);

/* ---- from one session to the next ---- */

/* false: not now (no link, another move is under way). */
bool move_begin(struct agent *a, enum hunt h);
/* A server asks us to go. ERR_NOT_FOUND with a sentence: there is nowhere to go. */
enum err move_plan_migration(struct session *s, struct why *why) MUST_CHECK;
/* Begins what had to wait for another move to end. */
void move_due(struct agent *a);
void move_abandon(struct agent *a, const char *reason);
/* The link in use is alive after all, or got done: what was to replace it is dropped. */
void move_not_needed(struct agent *a);
/* A dialled link has completed TLS with a server that we trust. Takes the link. */
void move_arrived(struct agent *a, const struct arrival *arrival);
/* The link to the preferred server has proven itself and takes over. */
void move_proven(struct session *s);
/* It doesn't: closed, and nothing was lost. */
void move_unproven(struct session *s, const char *reason);
/* `is_first`: the first Ready on this link. */
void move_session_ready(struct session *s, bool is_first);
/* The session's link is gone or is given up; `s` must not be used afterwards. */
void move_session_lost(struct session *s, enum err why, const char *sentence);
/* The server turned us away on this session. */
void move_session_refused(struct session *s, const char *sentence);
/* It asked us to come back after that time, and may have named another server; NULL: none. */
void move_session_put_off(struct session *s, int64_t retry_ms, const char *server, const char *sentence);
void move_migrate_fired(struct timer *t);
/* No reconnects any more, no moves: the host was deleted, or the agent stops. */
void move_forbid(struct agent *a);
bool hunt_has_target(struct agent *a, enum hunt h);
/* Is there a server that is in use for nothing yet and could be dialled now? */
bool hunt_has_other(struct agent *a);

/* ---- lists ---- */

struct received_list {
	const struct opt_texts *list;
	const struct opt_texts *avoid;
	const char *algorithm;   /* NULL: none came */
	const msg_i64 *interval; /* NULL: the message says nothing about it */
	bool trigger;
};

/* Persists, then uses. On an error (with a sentence for the answer) the last good list stays in force. */
enum err list_received(struct agent *a, const struct received_list *r, struct why *why) MUST_CHECK;
enum err list_load(struct agent *a, struct why *why) MUST_CHECK; /* from the file */
void list_set_avoid(struct agent *a, const struct opt_texts *avoid);
bool list_avoids(const struct agent *a, const struct place *p);

void check_plan(struct agent *a, bool has_new_list); /* (re)starts or stops the timer */
/* Looks now, because somebody says so. */
void check_told(struct agent *a);
void check_fired(struct timer *t);
bool check_is_on_preferred(const struct agent *a);
/* What the question is made of has changed: the verdict, a link that proves itself, one who was told and waits. */
void check_changed(struct agent *a);
/* The session's server says whether moves are frozen. */
void check_freeze(struct session *s, bool is_frozen);
/* The link to where it returns to is there, has seen a heartbeat, or its time is up. */
void check_prove(struct session *s);
/* The entry that a return is on its way to; NULL: none. */
const char *check_goal(const struct agent *a);
/* What a link is wanted for, for people: hunt_name(), but that there are two kinds of returns. */
const char *check_hunt_name(const struct agent *a, enum hunt h);
/* An attempt to return to that entry has come to nothing. */
void check_failed(struct agent *a, const char *entry);
/* Who was told tries on after a move that had precedence: what it gave way to may have no other look. */
void check_resume(struct agent *a);
/* A server that it wanted to return to has asked to come back then. */
void check_put_off(struct agent *a, struct mono until);
/* This session takes the place of the one in use: the flap damper's business. */
void check_moved(struct agent *a, const struct session *s);
/* It is Ready for the first time, and about to be the current one. */
void check_arrived(struct agent *a, const struct session *s);
/* The agent is up on it. */
void check_ready(struct agent *a);
/* The link in use is lost. */
void check_lost(struct agent *a);
/* For agent_look(). */
void check_view(const struct agent *a, struct agent_view *out);

/* ---- news ---- */

void news_received(struct session *s, const struct msg_news *m);
/* What the session's server has said of that entry of the list. */
struct failback_word news_word(const struct session *s, size_t list_index);
/* Another list: what was said stood for entries of the old one. */
void news_forget(struct session *s);

/* ---- commands ---- */

struct requests {
	struct list open;     /* being worked on or waiting for their turn, oldest first */
	struct list waiting;  /* of those: for the host program to take the next command */
	struct list finished; /* answered or to be answered, remembered for answer_hold_ms, oldest first */
	struct list crons;    /* of ended sessions, whose run hasn't been answered yet */
	struct later run;
	struct timer forget_timer;
	bool is_flush_due;
	size_t n_open;
	size_t open_bytes;
	size_t n_finished;
	size_t finished_bytes;
	size_t n_running; /* given to the host program and not answered yet */
};

void requests_init(struct agent *a);
void requests_deinit(struct agent *a);
void requests_received(struct session *s, const struct header *h, const char *body, size_t n);
/* The session has ended: what came on it is answered elsewhere or, towards CloudStack, not at all. */
void requests_session_ended(struct session *s, struct mono heard);
/* There is a link again: sends what waited for one. */
void requests_flush(struct agent *a);
/* Runs a command of the host program; false: the agent is gone. */
bool requests_give(struct agent *a, struct agent_command *c);

enum own_outcome {
	OWN_NOT_OURS, /* the host program's */
	OWN_ANSWERED,
	OWN_SILENT, /* no answer is due; the session may be gone */
};
enum own_outcome own_command(struct session *s, const struct element *e, struct batch *answer);
/* Is it answered by the engine? */
bool own_command_is(const struct element *e);
/* One plain Answer, or of another class; NULL details: none. */
enum err answer_put(struct batch *b, enum msg_type type, bool result, const char *details) MUST_CHECK;

/* UnsupportedAnswer in the reference's words. */
enum err unsupported_put(struct batch *b, const struct element *e) MUST_CHECK;

#define CRON_INDEX ((size_t)-1) /* agent_command.index of a repeated command */
enum err cron_start(struct session *s, const struct header *h, struct element *take_element) MUST_CHECK;
void cron_answered(struct agent_command *c, struct batch *take_b);
void crons_stop(struct session *s);
void crons_run_due(struct agent *a); /* at the end of the turn; the agent may be gone afterwards */
void crons_deinit(struct agent *a);

/* ---- the agent ---- */

struct agent {
	struct agent_params p; /* its texts are the owned ones below */
	char *guid, *resource_name, *name, *zone, *pod, *cluster, *source_ip, *version;
	struct world *world;
	const struct log *log;
	struct agent_file *file;
	struct tls_creds *creds;   /* what new links are made with; referenced, never NULL once made */
	unsigned creds_generation; /* of those */
	unsigned generations;      /* so far */
	bool trust_all;
	struct creds_trial trial;
	struct timer renew_timer; /* when a renewal is tried again */
	struct backoff renew_backoff;

	enum agent_state state;
	struct mono since;
	bool is_started;
	bool no_reconnect; /* the host was deleted */
	char boot[UUID_TEXT];
	int64_t boot_number; /* 0: none */
	uint64_t links;
	int64_t next_seq;
	int64_t host_id;
	char *host_uuid; /* owned; NULL: not known */

	/* the list in force */
	struct str_list list;
	char *algorithm; /* owned, never NULL */
	struct str_list avoid;
	struct str_list known_muster;
	bool list_worked; /* a server of it has made us Ready */
	int64_t received_interval;

	/* candidates and the hunt for a link */
	struct candidate *candidates;
	struct place *places;
	size_t n_candidates;
	struct {
		enum hunt purpose;
		struct list attempts;
		size_t n_attempts;
		struct timer timer;
		struct mono seeking_since; /* without a Ready link; valid while not UP */
		unsigned fallback;         /* 0: the list alone, 1: with lastgood, 2: with bootstrap too */
		/* Before the first dial after a loss; {0}: it doesn't wait. */
		struct mono first_dial_at;
		int64_t first_dial_wait_ms;
		uint64_t first_dial_agents;
		uint64_t lost_agents; /* of the server that is lost or silent, until the agent is Ready; 0: not told */
	} hunt;

	/* sessions */
	struct list sessions;
	struct list ended;
	struct session *current; /* in sessions; NULL: none */
	struct session *next;    /* a move's second link */
	struct later sweep;
	struct timer migrate_timer;
	struct opt_texts migrate_avoid; /* what the command said: pings in between bring other avoid lists */
	bool migrate_due;               /* waits for the move that is under way */
	bool renew_due;

	/* the preferred server */
	struct timer check_timer;
	bool check_is_once;
	int64_t check_interval; /* that the timer was set for, seconds */
	enum { TOLD_NOT, TOLD_BY_LIST, TOLD_TO_LOOK } told;
	struct mono told_at;                    /* the first look after it was told; {0}: none yet */
	size_t goal;                            /* of returns: index into the list; 0: the preferred server */
	enum failback_verdict failback_verdict; /* of the last look, on the preferred server */
	struct mono failback_again;
	/* The same on each entry that stands before the one in use, as far as they were judged; [0]: the preferred. */
	enum failback_verdict gates[FAILBACK_ENTRIES_MOST];
	size_t n_gates;
	size_t better; /* index of the entry that is gone to or waited for; 0: the preferred one, or none */
	struct mono better_again;

	struct tickets tickets;
	struct requests requests;

	/* what the host program is told at the end of the turn */
	struct later notify;
	bool has_changed;
	bool has_verdict; /* on the certificate that was on trial */
	bool new_stays;
	struct why verdict_sentence;
	bool has_stopped;
	enum err stop_error;
	struct why stop_sentence;
	bool *is_gone; /* set to true by agent_free() when the host program calls it from one of our calls */

	/* agent_stop() */
	struct timer stop_timer;
	struct mono stop_by;
	void (*gone)(void *user);
	void *gone_user;
};

void agent_move(struct agent *a, enum agent_state to, const char *reason);
void agent_changed(struct agent *a);
/* The host program hears which certificate stays. */
void agent_creds_judged(struct agent *a, bool new_stays, const char *sentence);
/* Stops for good and tells the host program why. */
void agent_give_up(struct agent *a, enum err why, const char *sentence);
/* Sees to it that ended sessions are freed at the end of the turn. */
void agent_sweep(struct agent *a);
bool agent_is_stopped(const struct agent *a);
