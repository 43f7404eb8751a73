/*
 * What the files of a management server share. Read from top to bottom: it is the table of contents of the engine.
 *
 *   ledger    groups of small store functions -> transactions, off the loop
 *   follow    what others changed in the store -> memory
 *   config    the cluster's settings, from config.def and the store
 *   roster    hosts and servers as the store knows them, in memory
 *   lists     which list a host should have, which servers to avoid now
 *   placement the entries that lists are made of; which of them a host begins with under balanced; pins
 *   crowd     who has not shown who it is: limits, and who makes room for whom
 *   gate      before TLS: how many handshakes at a time
 *   session   one agent's link: startup, claim, ready, ping, requests
 *   clones    two machines with one guid, on two servers
 *   arrivals  the pace at which agents come home
 *   freeze    nobody moves who need not: an operator's word, from the store
 *   rolling   a rolling restart that is under way: whose turn it is, from the store
 *   admission after TLS: who is asked to come back later
 *   spreading new lists -> agents (core/spread)
 *   news      what agents are told without asking: heartbeats, how many they are, how their preferred server is
 *   settling  lists under balanced made more even, when all is calm
 *   watch     silence, grace, dead servers (core/member)
 *   draining  this server is emptied, for maintenance or to stop (core/drain)
 *   peer      links between servers: hints, forwarding, liveness
 *   strictness agents without a certificate: said, cut
 *   authority CA, credentials; own_cert our own certificate; rotation the CA is changed
 *   revocation serials that are let in nowhere; crl the signed list of them, crl_make the next one
 *   origin    is a certificate one that was issued here, or made with a stolen key
 *   tickets   keys of session tickets, shared by the cluster
 *   provision one host gets a new certificate over its link
 *   renewal   which hosts are due for one, in which order, how many a second
 *   join      muster-join/1
 *   metrics   what monitoring is told, health whether all is well (metrics.h)
 *   api       commands of the query API
 */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "base/props.h"
#include "ca/exec.h"
#include "ca/join_request.h"
#include "ca/policy.h"
#include "ca/root.h"
#include "ca/rotation.h"
#include "ca/sealed.h"
#include "core/admission.h"
#include "core/algorithm.h"
#include "core/heartbeat.h"
#include "core/link_order.h"
#include "core/member.h"
#include "core/server_list.h"
#include "core/spread.h"
#include "core/strays.h"
#include "core/token_bucket.h"
#include "net/link.h"
#include "server/server.h"
#include "wire/message.h"

/* ---- ledger.c ---- */

/* One request to the store: embed it in what it is for. */
struct entry {
	/* On the store lane, inside the group's transaction. May run again after an undone group: keep it idempotent.
	 */
	enum err (*run)(struct store_tx *tx, struct entry *e, struct why *why);
	/* On the loop. ERR_STORE, ERR_BUSY ...: the whole group failed and nothing of it is written. Frees the entry if
	 * it is on the heap. */
	void (*done)(struct server *s, struct entry *e, enum err result, const char *sentence);
	bool read_only;
	/* private */
	struct list queued;
	struct store_call call;
	struct ledger_group *group;
	struct server *server;
};
/* Queues it; groups form by themselves while one is being written (at most 512 entries). Takes no memory. */
void ledger_add(struct server *s, struct entry *e);
void ledger_init(struct server *s);
void ledger_deinit(struct server *s);
size_t ledger_waiting(const struct server *s);
/* Has the store failed since its last success? Since when; for status and case 14 of the decisions. */
bool ledger_hangs(const struct server *s);
/* What is asked now would wait for it: who can answer without the store does. */
bool ledger_is_slow(const struct server *s);
bool ledger_is_failing(const struct server *s, struct mono *since);

/* ---- config.c, config.def ---- */

enum config_type { CONFIG_TEXT, CONFIG_NUMBER, CONFIG_BOOL, CONFIG_SELECT, CONFIG_REAL, CONFIG_SERVERS };
struct config_key {
	const char *name;
	enum config_type type;
	const char *fallback; /* default; NULL: none */
	int64_t min, max;     /* numbers */
	const char *options;  /* select, comma separated */
	bool per_cluster;     /* may be overridden per cluster */
	bool dynamic;
	const char *group, *subgroup, *component, *category;
	const char *description;
};
extern const struct config_key config_keys[];
extern const size_t config_n_keys;
const struct config_key *config_find(const char *name); /* NULL: unknown */
/* Judges a new value; *normal gets the form that is stored (trimmed, booleans lower case), new string. */
enum err config_check(const struct config_key *k, const char *value, char **normal, struct why *why) MUST_CHECK;

/* Values in force. cluster_id 0: global. The texts are valid until the next turn. */
const char *config_text(const struct server *s, const char *name, int64_t cluster_id); /* NULL: unset without default */
int64_t config_number(const struct server *s, const char *name, int64_t cluster_id);
bool config_bool(const struct server *s, const char *name);
double config_real(const struct server *s, const char *name);
/* The cluster's values from the store replace what is in memory; says whether something agents are told has changed. */
enum err config_load(struct server *s, const struct config_row *rows, size_t n, int64_t version, bool *lists_changed)
	MUST_CHECK;
void config_deinit(struct server *s);

/* ---- roster.c ---- */

struct session;

struct host {
	struct host_row row;     /* details are left out; as the store had it last */
	struct session *session; /* attached here; NULL: not */
	struct list superseded;  /* struct session: its older links here, the oldest first */
	struct list requests;    /* ours, waiting for its answers, wherever it is connected: requests.c */
	struct mono lost_at;     /* our session ended without a word, grace runs (decision 16); {0}: no */
	struct timer grace;
	struct server *server;
	struct provision *provision; /* provision.c: a certificate is on its way to it; NULL: none */
	struct renewal *renewal;     /* owned; renewal.c; NULL: nothing to be said */
};
struct host *roster_host(const struct server *s, int64_t id);
struct host *roster_by_guid(const struct server *s, const char *guid); /* without suffix */
/* Takes over the content of row (row is empty afterwards); makes, updates or (removed_ms != 0) drops the host. *out may
 * be NULL. */
enum err roster_put_host(struct server *s, struct host_row *take_row, struct host **out) MUST_CHECK;
size_t roster_n_hosts(const struct server *s);
/* Walks all hosts, no particular order; cursor starts at 0. */
struct host *roster_next(const struct server *s, size_t *cursor);

enum issuer_state { ISSUING_UNKNOWN, ISSUING_CAN, ISSUING_CANNOT };

/* What a server has told of itself (PeerStatusCommand). */
struct peer_status {
	bool is_known, accepting;
	int64_t uptime_ms; /* when it was told */
	int64_t agents, backlog;
	int64_t arrivals; /* who have been told when they may come home */
	enum issuer_state issuing;
	struct mono at; /* when it came */
};

/* What our agents are told of it: news.c. */
struct server_word {
	bool is_known; /* false: we know nothing, and say nothing */
	enum server_state state;
	bool accepting;
	struct mono up_since; /* by our clock; {0}: not up */
};

struct member_server { /* a management server as we know it, ourselves included */
	struct server_row row;
	struct member member;   /* liveness; not used for ourselves */
	struct mono down_since; /* Down by its own word or by silence; {0}: it is not */
	unsigned given_up;      /* whose hosts: 0 nobody's yet, 1 muster agents', 2 all */
	bool down_is_stored;    /* the verdict that it is down has been taken by the store */
	int64_t told_run_id;    /* the run that our view in the store is about: a server that starts clears it */
	struct peer *peer;      /* our link to it; NULL for ourselves */
	struct peer_status status;
	struct server_word word;
	uint64_t word_version; /* grows when the word changes; 0: none yet */
	struct mono up_since;  /* this run, as far as we know; {0}: not up */
	int64_t up_run_id;
	uint64_t n_agents;      /* it owns, counted lately: admission.c */
	uint64_t n_sent;        /* whom we have sent there since its last word: admission.c */
	struct list in_servers; /* s->servers, by id */
};
struct member_server *roster_server(const struct server *s, int64_t msid);
struct member_server *roster_server_by_uuid(const struct server *s, const char *uuid);
void roster_deinit(struct server *s);
enum err roster_put_servers(struct server *s, struct server_row *take_rows, size_t n, bool *avoid_changed) MUST_CHECK;

/* ---- lists.c ---- */

/* The servers that lists are made from: the `host` setting, or the registered servers (decision 20). Belongs to the
 * server. */
const struct str_list *lists_servers(const struct server *s);
enum algorithm lists_algorithm(const struct server *s);
int64_t lists_interval(const struct server *s, int64_t cluster_id);
/* The one that this host should be told: while moves are frozen a CloudStack agent is told not to look. */
int64_t lists_interval_for(const struct server *s, const struct host_row *h);
/* The list for one host. A CloudStack agent gets entries without ports. */
enum err lists_for_host(struct server *s, const struct host_row *h, struct str_list *out) MUST_CHECK;
/* The same with another algorithm than the one in force. */
enum err lists_for_host_by(struct server *s, const struct host_row *h, enum algorithm a, struct str_list *out)
	MUST_CHECK;
/* Is what it reported what it should have (list, algorithm)? */
bool lists_is_current(struct server *s, const struct host_row *h, const char *reported);
/* Entries of the list whose server isn't Up, spelled as in the list. */
enum err lists_avoid(struct server *s, const struct host_row *h, struct str_list *out) MUST_CHECK;
/* An entry of our own making for a registered server (decision 20); `out` needs SERVER_HOST_MAX + 9 bytes. */
enum err lists_entry_of(const struct server_row *row, char *out, size_t size) MUST_CHECK;
/* Does this entry of a list mean that server? By address, by the name it registered with, or by what names lead to. */
bool lists_entry_is(const struct server *s, const char *entry, const struct server_row *row);
/* Called when config or servers changed: recomputes, and has outdated agents told. */
void lists_changed(struct server *s);

/* ---- placement.c ---- */

struct placement_table;
/* The entries as the store has them, *take_rows by id; NULL afterwards. With an error the old ones hold. */
/* *changed: they are others than before, or something else is said of them. */
enum err placement_take_entries(struct server *s, struct list_server_row **take_rows, size_t n, int64_t version,
				bool *changed) MUST_CHECK;
bool placement_take_place(struct host *h, const struct host_place *p); /* true: it is another one than before */
void placement_deinit(struct server *s);
void placement_take_version(struct server *s, int64_t version);
int64_t placement_version(const struct server *s);
/* What is known of an entry, as spelled in lists; NULL: nothing. Valid until the next turn. */
const struct list_server_row *placement_entry(const struct server *s, const char *entry);
const struct list_server_row *placement_entry_by_id(const struct server *s, int64_t id);
/* The entry that a host is pinned to, if it is in use; NULL: none. */
const char *placement_pin(const struct server *s, const struct host_row *h);
/* Its list under balanced, with ports. Empty: there is no server. */
enum err placement_list(const struct server *s, const struct host_row *h, struct str_list *out) MUST_CHECK;
/* Is what it reported that list? Takes no memory: everybody is compared at every change. */
bool placement_is_current(const struct server *s, const struct host_row *h, const char *reported);

/* ---- settling.c ---- */

void settling_tick(struct server *s); /* every second */

/* ---- names.c ---- */

/* The servers' entries or addresses may have changed: new names are asked for, those not needed any more forgotten. */
void names_update(struct server *s);
/* Two hosts (names or addresses, without ports): does one lead where the other is? As far as is known. */
bool names_same_host(const struct server *s, const char *a, const char *b);
void names_deinit(struct server *s);
/* ---- crowd.c ---- */

/* From where somebody is connected who has sent no startup yet. */
struct address {
	char ip[IP_TEXT];
	size_t n;         /* of those: what the limit by address counts */
	struct list idle; /* struct session: strangers that we wait for, the longest first */
	size_t n_idle;
	struct heap_node in_idlest;
	struct list waiting;  /* struct session: at gate 1, first come first */
	struct list in_turns; /* while somebody waits */
};
/* May a newcomer from there come in? Somebody idle may be dropped for it. */
bool crowd_has_room(struct server *s, const char *ip);
enum err crowd_enter(struct session *x) MUST_CHECK;
/* Do we wait for it, or it for us? */
void crowd_idle(struct session *x, bool is_idle);
void crowd_known(struct session *x); /* it has shown a certificate that holds */
void crowd_leave(struct session *x); /* it has sent its startup, or is gone; any number of times */
void crowd_deinit(struct server *s);

/* ---- gate.c ---- */

enum gate_place { GATE_OUT, GATE_WAITING, GATE_COUNTED, GATE_STALLED };

struct gate {
	struct admission bound;
	struct timer tick;
	struct mono tick_due;
	struct list counted; /* struct session: in progress */
	size_t n_counted;
	struct list turns; /* struct address with somebody waiting */
	size_t n_waiting;
	bool rests; /* the listener is paused */
	uint64_t n_cuts;
	int64_t worst_us; /* the longest delay so far */
	struct mono said;
};
void gate_init(struct server *s);
void gate_deinit(struct server *s);
void gate_turn(struct session *x);  /* link_turn() has changed */
void gate_leave(struct session *x); /* the handshake is over, in whatever way; any number of times */

/* ---- admission.c ---- */

/* false: it was put off, and the session has ended. */
bool admission_lets_in(struct session *x, const struct header *h, const struct msg_startup_common *m);
void admission_claim_begins(struct server *s);
void admission_claim_ends(struct server *s);
int64_t admission_expected_ms(const struct server *s);  /* how long the next one would wait */
uint64_t admission_backlog_now(const struct server *s); /* who waits here or has a slot: for the other servers */
bool admission_is_overrun(const struct server *s);      /* nobody should be sent here now */

/* ---- session.c, startup.c, requests.c: one agent's (or peer's, or joiner's) link ---- */

/*
 *   TLS --up--> ANONYMOUS --startup--> STARTED --claimed--> ATTACHED --ReadyAnswer--> READY
 *                    |                    |                    |                        |
 *                    +--------------------+--------------------+--> CLOSED <-- SUPERSEDED <--+
 *   Links of role server become PEER, those of muster-join/1 JOINING, instead of STARTED.
 */
enum session_state {
	SESSION_TLS,
	SESSION_ANONYMOUS,
	SESSION_STARTED,
	SESSION_ATTACHED,
	SESSION_READY,
	SESSION_SUPERSEDED,
	SESSION_PEER,
	SESSION_JOINING,
	SESSION_CLOSED
};
const char *session_state_name(enum session_state st);

struct request; /* sent by us, waiting for its answer: requests.c */
struct claim;
struct held;
struct joining;
struct ledger_group;
struct start;
struct telling;

struct session {
	struct server *server;
	struct link *link; /* owned; NULL once closed */
	enum session_state state;
	struct mono since;
	struct mono opened;      /* when the link was accepted */
	char ip[IP_TEXT];        /* of the peer, also when the link is gone */
	enum admit refused_as;   /* why its startup or its certificate was refused; ADMIT_YES: it was not */
	bool only_here;          /* let in at a closed door: its list has no other server that takes agents */
	struct list in_sessions; /* s->sessions */
	struct timer deadline;   /* of the state */
	struct address *address; /* crowd.c; NULL: it has sent its startup */
	bool is_stranger;        /* it has shown no certificate that holds either */
	struct list in_idle;
	enum gate_place at_gate;
	struct list in_gate; /* of its place */
	/* from STARTED on */
	struct host *host;         /* borrowed; NULL before ATTACHED and after the host is gone */
	struct list in_superseded; /* of the host that it had */
	int64_t host_id;
	int64_t epoch;      /* of our claim; changes when it is claimed again */
	int64_t attachment; /* which of this server's attachments of a host it is; 0: none yet */
	char *guid;         /* stripped */
	char *boot;         /* muster agents */
	int64_t link_number;
	int64_t boot_number;      /* 0: not known */
	char *reported;           /* the list it has: from the startup, then what it confirmed */
	int64_t interval_told;    /* -1: not yet */
	uint64_t avoid_told;      /* s->avoid_version that it knows of */
	int64_t heartbeat_ms;     /* interval that it knows of; 0: not told yet */
	struct mono silence_from; /* silence before this doesn't count: another interval was in force */
	bool is_suspect;          /* silent for 2.5 intervals */
	int64_t agents_told;      /* s->agents_announced that it knows of */
	uint64_t words_told; /* version of what it was told of the servers before this one in its list; 0: nothing */
	bool frozen_told;    /* it knows that moves are frozen */
	bool news_missed;    /* it could not be told */
	struct mono last_ping;
	int64_t ping_interval_s; /* as it was told */
	struct telling *telling; /* borrowed: the list that is on its way to it (spreading.c); NULL: none */
	bool trigger;            /* its next list tells it to look for its preferred server at once */
	bool checking_health;
	bool provisional;      /* accepted without the store (decision 14) */
	bool is_unsecured;     /* let in without a verified certificate: strictness.c */
	bool is_key_new;       /* not the one that its host is bound to: the store decides */
	struct list in_asking; /* s->asking: clone_seq is not answered yet */
	struct held *held;     /* a startup that waits: is an older link of its guid alive? startup.c */
	struct mono held_since;
	int64_t clone_seq, clone_msid; /* the question to another server whether it lives there; 0: none */
	bool clone_lives;              /* its answer */
	struct claim *claim;           /* under way in the store: startup.c */
	struct timer claim_again;      /* provisional: when to try again */
	/* requests.c */
	struct list in_sequence; /* waiting to be sent, one in-sequence request at a time */
	bool in_sequence_busy;
	int64_t in_sequence_seq;
	int64_t in_sequence_mgmt;
	struct timer in_sequence_timer;
	size_t n_queued, queued_bytes;
	struct later free_later;
	struct joining *joining; /* SESSION_JOINING: join.c */
	struct peer *peer;       /* SESSION_PEER; NULL until its hello, and until we have read who it is */
	int64_t peer_msid;
};

/* An accepted stream becomes a session. */
void session_accept(struct server *s, struct stream *take_stream);
/* The only place where the state changes. */
void session_move(struct session *x, enum session_state to, const char *reason);
/* Ends it: link closed, host detached, waiting requests answered with `why`; `event` is what the store is told
 * (EVENT_N: nothing, a grace period decides). */
void session_end(struct session *x, enum err why, const char *sentence, enum host_event event);
/* Another link of the same host has taken over: keeps the link until answers in flight have come, 30 s at most, then
 * closes. One host keeps two of them. */
void session_supersede(struct session *x, const char *reason);
void session_stop_all(struct server *s); /* says goodbye to all */
void session_free_all(struct server *s); /* without a word */
/* A status event goes to the store, guarded by the epoch. */
void host_store_event(struct server *s, int64_t host_id, int64_t epoch, enum host_event event);
/* Those that the store did not take are offered again: every second. */
void host_events_again(struct server *s);
void host_events_deinit(struct server *s);
/* A message of an attached agent. Called by session.c's link events; handlers live in handle_*.c. */
void session_message(struct session *x, const struct header *h, const char *body, size_t n);

/* Boot and numbers of its link, for core/link_order. */
struct link_stamp session_stamp(const struct session *x);

/* startup.c: the first request of an anonymous link. */
void startup_begin(struct session *x, const struct header *h, struct batch *b);
/*
 * Not now, and no refusal for good: a muster agent is told when to come back and, if `server` (an entry of its list)
 * isn't NULL, where to try at once. A CloudStack agent's link is only closed: it exits on a refusing answer (decision
 * 28). Ends the session.
 */
void startup_put_off(struct session *x, const struct header *h, int64_t retry_ms, const char *server,
		     const char *sentence);
/* The session ends while its claim is on its way: the claim is void. */
void startup_abandon(struct session *x);
void startup_drop_held(struct session *x);
/* The store hangs with the claim of this session: taken without it if we know the host, refused if not. */
void startup_store_hangs(struct session *x);
/*
 * A startup on a link that has had one: a muster agent has come back to it. true: everything is done and answered;
 * false: answer it (the claim, if one is needed, is on its way).
 */
bool startup_again(struct session *x, const struct header *h, struct batch *b);
/* The store says that nobody owns a host whose agent we hold: claimed again. */
void startup_claim_again(struct session *x);

/* A startup that was held back goes on, before its time is over. */
void startup_held_over(struct session *x);

/* clones.c: does an older link of a newcomer's guid live on another server (decision 7)? */
/* Asks the owner. true: asked, startup_held_over() may come before the hold is over. */
bool clone_ask(struct session *x, const struct host *known, const char *boot);
/* An answer of that kind? */
bool clone_answered(struct server *s, int64_t from, const struct header *h, const char *body, size_t n);
/* Another server asks us. */
void clone_asked(struct server *s, int64_t asker, const struct header *h, const struct msg_agent_alive *m);
/* Where heartbeats are too far apart to wait for: asked for a sign of life. */
void clone_probe(struct session *x);
void clones_deinit(struct server *s);

/* arrivals.c: a muster agent wants to come home from another server. 0: now; otherwise after so many ms. */
int64_t arrivals_wait_ms(struct server *s, const char *guid);
/* How many have been told a time and have not come yet. */
size_t arrivals_waiting(struct server *s);
void arrivals_deinit(struct server *s);

/* ---- freeze.c ---- */

#define FREEZE_ROW "muster.freeze" /* among the settings in the store, and none that can be set by hand */
#define FREEZE_REASON_MAX 500      /* bytes */

struct freeze {
	bool is_on;
	int64_t since_ms;
	char *by, *reason;     /* owned; NULL: not known, none was given */
	struct mono thawed_at; /* CloudStack agents are on their way back to the interval in force; {0}: all are */
};
/* What the row's value says. Whatever stands there, it is frozen; ERR_NOMEM leaves texts out. */
void freeze_read(struct freeze *out, const char *value);
void freeze_deinit(struct freeze *f);
/* The row's value, new text; NULL: out of memory. */
char *freeze_value(int64_t since_ms, const char *by, const char *reason);
/* NULL: not frozen. */
const struct config_row *freeze_row(const struct config_row *rows, size_t n);
/* The settings were read from the store. */
void freeze_load(struct server *s, const struct config_row *rows, size_t n);
/* Nobody is to move who need not: asked by whatever would have agents move. */
bool freeze_is_on(const struct server *s);
/* Does this host's agent, which hears no news, have to be told that it must not look for its preferred server? */
bool freeze_stops_looks(const struct server *s, const struct host_row *h, int64_t interval_s);
void freeze_tick(struct server *s); /* every second */

/* ---- rolling.c ---- */

#define ROLLING_ROW "muster.rolling" /* as FREEZE_ROW */

const struct config_row *rolling_row(const struct config_row *rows, size_t n); /* NULL: none is under way */
/*
 * {begun, by, driver, takenby, host, algorithm, freeze, step, stepped, servers: [{entry, name, uuid, msid, run}]}; a
 * new reference. NULL: it can't have come from us, or no memory. `step` counts from 1; `run` is the run id that the
 * server had when its turn began; `freeze` the value of the row of a freeze of its own.
 */
json_t *rolling_read(const char *value);
/* Is it one with balanced, where hosts are handed on from server to server? */
bool rolling_hands_over(const json_t *rolling);
void rolling_load(struct server *s, const struct config_row *rows, size_t n);
void rolling_deinit(struct server *s);

/* requests.c */
struct request_params {
	bool continue_on_error;
	int64_t wait_ms;     /* 0: setting `wait` */
	bool this_link_only; /* about the link itself (Ready, a list): ends with it */
	bool is_secret;      /* a private key is in it: our copy is wiped */
	/* On the loop, exactly once. ERR_OK: `answers` has the batch; otherwise the reason. May be NULL. */
	void (*done)(void *user, enum err result, const char *sentence, const struct batch *answers);
	void *user;
};
/*
 * Sends a batch (taken over, empty afterwards) to a host wherever it is connected: here, or through its owner
 * (decision 17). In-sequence commands of one host wait for each other. When the link of a muster agent changes, the
 * request goes on: it is sent again over the new one, the agent answers each once. It also waits for a muster agent
 * that has no link now, as long as its host isn't given up. ERR_UNREACHABLE: it has no link, and none is expected.
 */
enum err request_to_host(struct server *s, struct host *h, struct batch *take_batch, const struct request_params *p)
	MUST_CHECK;
/* An answer of ours has come, over whatever link. false: nobody waits for it. */
bool request_answered(struct server *s, const struct header *h, const char *body, size_t n);
/* The owner says that it can't deliver a forwarded request (CancelCommand). */
void request_cancelled(struct server *s, int64_t seq, const char *reason);
/* The host's link has ended; those of CloudStack agents end, those of muster agents wait for the next link. */
void requests_link_lost(struct host *h, bool is_muster);
/* The host is Up (again): what waits is sent again where it is now. */
void requests_resend(struct host *h);
/* Nobody has the host any more: what waits for its agent ends, if that isn't back in a moment. */
void requests_given_up(struct host *h);
/* Another server has the host now: what was passed to the last one is sent again (muster) or ends (CloudStack). */
void requests_owner_changed(struct host *h);
/* A link to that server is there again: what was on its way over the last one may be lost, and is sent again. */
void requests_peer_linked(struct server *s, int64_t msid);
/*
 * A link to that server has ended, and with it requests and answers that were on their way: what CloudStack agents were
 * asked through it ends, because it may have run; what muster agents were asked is sent again over the next link.
 */
void requests_peer_lost(struct server *s, int64_t msid);
/* All end with this reason: the host is gone. */
void requests_fail(struct host *h, enum err why, const char *sentence);
/* A peer's request for an agent attached here: passed on unchanged, in-sequence ones in their turn. */
enum err requests_pass_on(struct session *x, const struct header *h, const char *body, size_t n) MUST_CHECK;
/* Any answer of this agent has come: the next in-sequence one may go. */
void requests_advance(struct session *x, const struct header *h);
void requests_drop_queue(struct session *x);

/* The header and sending of our answers and one-way messages. */
enum err session_answer(struct session *x, const struct header *request, struct batch *take_batch) MUST_CHECK;
/* A batch as JSON, packed and sent with this header. */
enum err link_send_batch(struct link *l, struct header *h, const struct batch *b) MUST_CHECK;

/* handle.c: requests of attached agents (ping, shutdown, control, repeated startup, anything else). */
void handle_request(struct session *x, const struct header *h, struct batch *b);

/* ---- spreading.c ---- */

/* Compares one attached host with what it should have; has it told if outdated. */
void spreading_compare(struct server *s, struct host *h);
/* The agent has confirmed a list (NULL: the one it reported) and an interval: remembered here and in the store. */
void spreading_confirmed(struct session *x, const char *list, int64_t interval);
/* This host is told its list again, with triggerHostLb. */
void spreading_trigger(struct server *s, struct host *h);
/* All attached hosts, in slices of a few hundred a turn. */
void spreading_compare_all(struct server *s);
/* Lists have changed behind their first entry: all are compared when no more change for 3 s, after 30 s at last. */
void spreading_tails_changed(struct server *s);
/* Runs core/spread now and sets its timer. */
void spreading_run(struct server *s);
/* SetupMSList for everybody with triggerHostLb (cancelMaintenance with rebalance, muster rebalance). */
void spreading_trigger_all(struct server *s);
/* The same as soon as everything that is in the store by now has been read: avoid lists go out right. */
void spreading_trigger_all_fresh(struct server *s);
size_t spreading_outdated(const struct server *s);

/* ---- news.c ---- */

/* Every second: are there news? */
void news_tick(struct server *s);
/* The servers' rows have changed, or a link to one of them. */
void news_look_at_servers(struct server *s);
/* Another server has told how it is. */
/* What it has said of itself is fresh and says that it takes no agents, whatever its state is. */
bool server_says_no(const struct server *s, const struct member_server *m, struct mono now);
void news_peer_status(struct server *s, struct member_server *m, const struct msg_peer_status *status);
/* Tells one attached agent what it doesn't know yet. */
void news_compare(struct server *s, struct host *h);
/* If it could not be told before: may it be now? */
void news_look_again(struct session *x);
/* Its list is another one: whatever it was told of its preferred server may be about an entry that it had. */
void news_new_list(struct session *x);
/* There are, and they can't wait for the next tick. */
void news_at_once(struct server *s);
/* Tells everybody, a slice a turn, if there are news. */
void news_run(struct server *s);
void news_stop(struct server *s);

/* ---- watch.c ---- */

void watch_start(struct server *s); /* heartbeat in the store, looks at members, ping supervision */
void watch_stop(struct server *s);
/* An agent's link ended without a word. */
void watch_lost(struct server *s, struct host *h);
/* Hosts that our last run left as ours: a grace period runs for each. */
void watch_inherited(struct server *s);
/* A ping of an attached agent has come. */
void watch_pinged(struct server *s, struct host *h);
/* The host is dropped from memory. */
void watch_forget(struct server *s, int64_t host_id);
/* It is back (here or elsewhere). */
void watch_found(struct server *s, struct host *h);

/* ---- draining.c, draining_move.c, draining_report.c ---- */

struct draining;
/* Our row may have changed, or a second has passed: begins and ends drains. */
void draining_look(struct server *s);
/* A host's row or its session here has changed. */
void draining_host(struct server *s, struct host *h);
void draining_forget(struct server *s, int64_t host_id); /* it was deleted */
/* Has it go on at the end of this turn. */
void draining_soon(struct server *s);
void draining_deinit(struct server *s);
/*
 * A startup while this server is emptied, is empty or stops: put off by name while another one of the agent's list is
 * there, and true. `known` NULL: the host is not known. Ends the session.
 */
bool draining_puts_off(struct session *x, const struct header *h, const struct msg_startup_common *m,
		       const struct host *known);
/* The first entry of the list that means a server which takes agents now, or at least is there; NULL: none. */
const char *draining_entry_for(struct server *s, const struct host_row *row, const struct str_list *list);

/* ---- peer.c ---- */

struct peer;
/* Keeps links to all other servers of the roster; called when it changes. */
void peer_update(struct server *s);
void peer_stop(struct server *s);
void peer_session_ended(struct session *x);
void peer_message(struct session *x, const struct header *h, const char *body, size_t n);
/* Tells all peers how we are (PeerStatusCommand): every second, and at once when that matters. */
void peer_tell_status(struct server *s);
/* ... if we have begun or ceased to take agents since they were told last. */
void peer_status_changed(struct server *s);
/* Tells all peers that something changed in the store. */
void peer_hint(struct server *s);
bool peer_is_up(const struct peer *p);
struct mono peer_heard(const struct peer *p); /* {0}: never */
/* A message as it is, to another server. ERR_UNREACHABLE: no link to it. */
enum err peer_send_raw(struct server *s, int64_t msid, struct header *h, const char *body, size_t n) MUST_CHECK;
/* Tells the owner of a host to do something with its link: ChangeAgentCommand (ShutdownRequested: reconnect). */
enum err peer_change_agent(struct server *s, int64_t owner_msid, int64_t host_id, enum host_event event,
			   const struct request_params *p) MUST_CHECK;
/* Links that we have dialled to servers whose certificate is bad. */
void peer_cut(struct server *s, bool (*is_bad)(const struct server *s, const struct cert_info *cert),
	      const char *sentence);
/* What answers on the link that we have dialled; NULL: there is none. */
const struct tls_peer *peer_shows(const struct peer *p);
struct peer *peer_free(struct peer *p);

/* ---- follow.c ---- */

/* Polls store_changed() and reads what is new; follow_now() does it at once (after our own commits, on a hint). */
void follow_start(struct server *s);
void follow_stop(struct server *s);
void follow_now(struct server *s);

struct follow_wait {
	struct list queued;
	uint64_t number; /* of the read that is waited for */
	void (*done)(struct server *s, struct follow_wait *w);
};
/*
 * follow_now(), and done() once what is committed by now is in memory; also when that can't be read, or the server
 * stops (s->freed, s->stopping): then the memory stays as it is. A server that isn't running calls it at once.
 */
void follow_wait(struct server *s, struct follow_wait *w);
/* Reads everything: at the start. */
void follow_load_all(struct server *s, void (*done)(struct server *s, enum err result, const char *sentence));

/* ---- authority.c ---- */

/* CA and own certificate: load or make; then done(). */
void authority_start(struct server *s, void (*done)(struct server *s, enum err result, const char *sentence));
/* CA, CRL or own certificate changed in the store: new credentials. */
void authority_reload(struct server *s);
/* A row for the store from an issued certificate. */
enum err authority_cert_row(const char *pem, struct cert_row *row) MUST_CHECK;
/* The same once more with what has changed in memory: for those who connect from now on. */
enum err authority_renew_creds(struct server *s, struct why *why) MUST_CHECK;
enum work_lane authority_lane(const struct server *s); /* where ca_issue() may be called */
void authority_deinit(struct server *s);

/* ---- strictness.c ---- */

void strictness_tick(struct server *s); /* every second */
void strictness_unsecured(struct session *x, bool is_unsecured);

/* ---- revocation.c ---- */

/* What was revoked since we looked: read, and what is live with it cut. */
void revocation_reload(struct server *s);
/* Ends all links, of agents and of servers, whose certificate is bad. */
void links_cut(struct server *s, bool (*is_bad)(const struct server *s, const struct cert_info *cert), enum err why,
	       const char *sentence);
bool authority_is_revoked(const struct server *s, const char *serial);

/* ---- crl.c ---- */

/* Where the store has the signed lists: of the CA that signs, and of the other one. */
#define CRL_SECRET "ca.crl"
#define CRL_SECRET_OTHER "ca.other.crl"

void crl_reload(struct server *s); /* it may have changed in the store */
void crl_tick(struct server *s);   /* every second: makes the next one when it is time */
bool crl_is_busy(const struct server *s);
void crl_deinit(struct server *s);

/* ---- origin.c ---- */

/* A certificate that a peer shows, verified: what is asked of the store about it. */
struct shown_cert {
	char serial[SERIAL_TEXT];
	char fingerprint[FINGERPRINT_TEXT]; /* "": not known */
	char issuer[FINGERPRINT_TEXT];      /* authority key id; "": it names none */
	bool is_old;                        /* a rotation is under way, and it is not of the new CA */
	bool is_suspect;                    /* and who stole the old CA's key may have made it */
};
void origin_shown(const struct server *s, const struct cert_info *c, struct shown_cert *out);
/* On the store lane. */
enum err origin_of(struct store_tx *tx, const struct shown_cert *c, enum cert_origin *out) MUST_CHECK;
/* The event of a refusal by admit_origin(). */
void origin_say(struct server *s, enum admit a, const char *address, const char *who, const char *sentence);
/* A link with another server is up: looked up, and cut if it must not be. */
void origin_look_at_server(struct server *s, const struct cert_info *cert);
/* The same with everybody who is connected: a rotation has taken a step. */
void origin_look_at_all(struct server *s);
void origin_tick(struct server *s); /* every second: what could not be looked up */

/* ---- own_cert.c ---- */

/* This server's own certificate: read or make it, and the credentials with it; then done(). The RSA one comes later. */
void own_cert_start(struct server *s, void (*done)(struct server *s, enum err result, const char *sentence));
void own_cert_tick(struct server *s); /* every second: the RSA one, when it is time */
/* It nears its end while we run, or is not of the CA that signs now: a new one, for links from now on. */
void own_cert_look(struct server *s);
void own_cert_deinit(struct server *s);

/* ---- tickets.c ---- */

void tickets_reload(struct server *s);      /* they may have changed in the store */
void tickets_tick(struct server *s);        /* every second: makes the next key when it is time */
void tickets_forget_text(struct server *s); /* what was read is to be opened once more, with another cluster key */
void tickets_deinit(struct server *s);

/* ---- join.c ---- */

void join_init(struct server *s);
/* The one request of a muster-join/1 link. */
void join_message(struct session *x, const struct header *h, struct batch *b);
/* What a request says; texts are borrowed from both. */
struct join_said join_said_of(const struct msg_join *m, const char *peer_ip);
/* What came is none. Ends the session. */
void join_malformed(struct session *x, const char *sentence);
void join_abandon(struct session *x);
void join_deinit(struct server *s);

/* ---- api.c ---- */

/* After every commit that others must hear of. */
void api_committed(struct server *s);
size_t api_jobs_running(const struct server *s);
/* After everything a call may wait for has ended. */
void api_deinit(struct server *s);

/* ---- events ---- */

/* Remembers something an operator may ask for later (listEvents); never waits, loses nothing but on a store failure. */
void event_add(struct server *s, const char *type, const char *level, int64_t host_id, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

void event_init(struct server *s);
void event_deinit(struct server *s);

/* For a line that would be written again and again: true every ten seconds; *said begins as {0}. */
bool pace_passes(const struct server *s, struct mono *said);

/*
 * As event_add() at level WARN, for what somebody who has not shown who he is can cause as often as he likes: of each
 * address a few are stored, then one every ten seconds, which says how many there were between. The others stand in the
 * debug log. So nobody's refusal is hidden by another one's noise.
 */
void event_refused(struct server *s, const char *type, const char *address, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* The same at level ERROR: somebody has to act. */
void event_alarm(struct server *s, const char *type, const char *address, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* ---- refusal.c ---- */

/* What is turned away without costing the link, or has a name of its own. */
enum refusal {
	REFUSAL_JOIN,
	REFUSAL_AS_SERVER,
	REFUSAL_FOREIGN_ANSWER,
	REFUSAL_UNASKED_ANSWER,
	REFUSAL_SERVERS_COMMAND,
	REFUSAL_N
};

/* Since the start. */
struct refusals {
	uint64_t by_admit[ADMIT_N]; /* startups, and servers' links */
	uint64_t by_err[ERR_COUNT]; /* links that ended before that */
	uint64_t by_kind[REFUSAL_N];
};
void refusal_count(struct server *s, enum refusal kind);
/* A session is ended because of what it did: by session_end(). */
void refusal_of_session(struct server *s, const struct session *x, enum err why);
/* [{"reason": "certificate of another host", "count": 3}, ...], the most frequent first. */
json_t *refusal_reasons(const struct server *s);
/* Each of them by number, also those that never happened; false: there are no more. */
struct refusal_count {
	const char *at; /* "identity" (by_admit), "link" (by_err), "command" (by_kind); with the reason only once */
	const char *reason;
	uint64_t n;
};
bool refusal_at(const struct server *s, size_t i, struct refusal_count *out);

/* ---- metrics.c ---- */

/* What certificates were issued for, and recorded. */
enum issued_for { ISSUED_AGENT_JOIN, ISSUED_SERVER_JOIN, ISSUED_RENEWAL, ISSUED_REQUEST, ISSUED_OWN, ISSUED_N };
/* Why an open link was cut. */
enum cut_for { CUT_REVOKED, CUT_CA_GONE, CUT_UNSECURED, CUT_N };
struct metrics;
void metrics_deinit(struct server *s);

/* ---- the server ---- */

/*
 * Whoever waits for our end may free us: only when goodbye is said and nothing is on its way through the store or to a
 * work thread. The last call of whatever was on its way.
 */
void server_gone_if_idle(struct server *s);

/* server.c: how we are, for peers and agents. */

/* Does this server take agents? The one place that says so: whatever else must keep agents away is added there. */
bool server_is_accepting(const struct server *s);
/* Startups that wait to be served, here or with a slot. */
size_t server_backlog(const struct server *s);
/* Attached agents. */
size_t server_n_agents(const struct server *s);

struct config_value; /* config.c */

/* own_cert.c: the second is for peers that take no ECDSA. */
enum own_cert_kind { OWN_CERT_EC, OWN_CERT_RSA, OWN_CERT_KINDS };
struct own_pair {
	char *cert, *key; /* PEM, owned; NULL: there is none (yet) */
};

struct server {
	struct server_params p; /* texts are copied */
	struct world *world;
	const struct log *log;
	int64_t msid, run_id;
	char uuid[UUID_TEXT];
	bool running; /* between started() and server_stop() */
	struct mono running_since;
	bool stopping;
	bool freed; /* server_free() is at work: nothing is begun any more */
	bool said_goodbye;
	void (*started)(void *user, enum err result, const char *sentence);
	void *started_user;
	void (*gone)(void *user);
	void *gone_user;

	struct listener *listener;
	struct list sessions; /* struct session */
	size_t n_sessions;
	size_t n_in_state[SESSION_CLOSED + 1]; /* sessions in each state; kept by session_move() */
	int64_t n_attachments;                 /* ever, see session.attachment */
	struct list events_again;              /* status events that the store did not take: session.c */
	uint64_t n_refused;
	struct refusals refused_by;
	struct mono servers_command_said;
	struct mono closings_since; /* session.c: the second that is counted */
	unsigned n_closings;

	/* crowd.c */
	struct map addresses; /* text -> struct address */
	struct heap idlest;   /* struct address */
	size_t n_anonymous;   /* without a startup */
	size_t n_strangers;   /* of those, without a certificate that holds */
	uint64_t n_no_room, n_made_room;
	struct mono crowd_said;

	struct gate gate;

	/* admission.c */
	struct admission_queue startups;
	size_t n_starting; /* claims under way */
	size_t n_served;   /* in this turn */
	struct later served_later;
	uint64_t n_put_off;
	struct mono put_off_said;
	struct mono agents_counted;
	bool is_overrun;

	/* event.c */
	struct strays refusals;     /* which addresses were refused lately */
	struct mono refusals_since; /* the second that is counted */
	unsigned n_refusals;

	/* ledger.c */
	struct list ledger_queue;
	struct ledger_group *ledger_running; /* NULL: idle */
	struct list ledger_tell;             /* struct entry: done, its owner doesn't know yet */
	struct later ledger_later;
	struct mono ledger_failing_since; /* {0}: fine */

	/* config.c */
	struct config_value *config;
	size_t n_config;
	int64_t config_version;

	/* roster.c */
	struct map hosts_by_id;
	struct map hosts_by_guid;
	struct list servers; /* struct member_server, by id */
	struct place_row *places;
	size_t n_places;

	/* join.c */
	struct list joinings;      /* under way */
	struct strays join_strays; /* from where joins failed lately */
	uint64_t n_joined, n_joins_refused[JOIN_REFUSAL_N];

	struct start *starting; /* authority.c: under way */

	struct list names; /* names.c */

	/* lists.c */
	struct str_list list_servers;
	struct str_list avoid;  /* those of them that are not Up; the same for all agents */
	uint64_t avoid_version; /* grows when that changes */
	enum algorithm list_algorithm;
	struct placement_table *placement; /* owned; placement.c; NULL: not read yet */

	/* settling.c */
	struct {
		bool under_way;
		struct mono since; /* it has been calm, or the last step */
		int64_t seen;      /* version of the placement */
		int64_t version;   /* at which there was nothing to do */
	} settling;

	/* requests.c */
	struct map requests; /* seq -> struct request: ours, waiting for answers */
	int64_t next_seq;    /* one number space for all of this run: r << 48, r random */

	/* spreading.c */
	struct spread *spread;
	struct timer spread_timer;
	struct timer tails_timer;
	struct mono tails_since; /* the first that nobody has been told of; {0}: none */
	struct later compare_later;
	size_t compare_cursor;
	const void *compare_table; /* the roster's, as the cursor knows it */
	bool trigger_next;

	/* startup.c */
	size_t n_held;

	/* clones.c */
	struct list asking; /* struct session */
	struct list questions;
	size_t n_questions;

	/* arrivals.c */
	struct token_bucket arrivals; /* burst 0: not yet used */
	struct list promises;         /* of tokens, by time */
	struct map promise_by_guid;
	size_t n_promises;

	struct freeze freeze;
	json_t *rolling; /* rolling.c: NULL: none is under way */

	/* news.c */
	int64_t heartbeat_ms;     /* interval in force; 0: not started */
	int64_t agents_announced; /* how many there are, as agents are told */
	struct mono agents_announced_at;
	struct later news_later;
	size_t news_cursor;
	const void *news_table; /* the roster's, as the cursor knows it */
	bool news_due, news_running;
	struct mono news_began;
	bool accepting_told; /* to the other servers */

	/* watch.c */
	struct timer watch_timer;
	struct mono watch_ticked;
	struct mono excused;         /* silence before this was our own pause */
	struct mono excused_suspect; /* ... a shorter one: nobody is suspected for it */
	bool beat_under_way;
	struct map pings; /* host id -> struct host: pinged since the last group was written */
	struct mono pings_flushed;
	struct mono trimmed;

	/* draining.c */
	struct draining *draining; /* owned; NULL: not */
	bool leaving;              /* server_leave(): it stops when its agents have moved */
	bool was_told_to_stop;     /* p.stop_asked() was called */
	bool state_under_way;      /* a change of our own state is on its way to the store */
	struct timer told_to_stop;

	/* follow.c */
	struct timer follow_timer;
	int64_t change_seq;
	bool follow_busy, follow_again;
	uint64_t follow_begun;    /* reads so far */
	struct list follow_waits; /* struct follow_wait, by number */
	bool trigger_when_read;   /* spreading_trigger_all_fresh() */

	/* authority.c */
	struct ca_provider *ca;
	struct tls_creds *creds;
	char *ca_chain;

	/* strictness.c */
	size_t n_unsecured; /* sessions */
	bool strictness_said, was_strict;

	/* rotation.c */
	struct {
		char *issuing_cert, *other_cert; /* as the store has them; other: NULL, there is one CA */
		char *next_cert;                 /* prepared for the next rotation; NULL: none is */
		bool prepared;                   /* this rotation began with one that was */
		struct ca_provider *other_ca;    /* owned; while both are trusted: signs its revocation list */
		char *text;                      /* its row; NULL: the CA was never changed */
		enum rotation_phase phase;
		int64_t since_ms;
		char by[64];
		char issuing_id[FINGERPRINT_TEXT], other_id[FINGERPRINT_TEXT]; /* subject key ids; "": none */
		char trusted_hash[FINGERPRINT_TEXT];                           /* of ca_chain; "": an external CA */
		uint64_t own_seen;
		char own_issuer[FINGERPRINT_TEXT];   /* of the first certificate that we show */
		char shown_issuer[FINGERPRINT_TEXT]; /* of the one that is behind, if one is */
		char told_trusted[FINGERPRINT_TEXT], told_issuer[FINGERPRINT_TEXT];
		struct mono told_at; /* it could not be stored; {0}: it could */
		bool stale, reading, telling;
		bool unused;      /* what was taken over is not in the credentials yet */
		bool compromised; /* it was begun because the old CA's key was stolen */
	} rotation;

	/* keyring.c */
	struct {
		char id[CLUSTER_KEY_ID_TEXT]; /* of the cluster key that we have or had; "": none, or not asked for yet
					       */
		struct cluster_key_record wanted; /* the one in force; "": it was never changed */
		struct keyring_trying *trying;    /* owned: the file is being read again */
		char told[CLUSTER_KEY_ID_TEXT];   /* what the store has of us */
		struct mono tried, told_at, said;
		bool stale, reading, telling;
	} keyring;
	/* origin.c */
	const struct shown_cert *bad_cert; /* while its links are cut */
	bool origin_stale;                 /* not all that are connected could be looked up */

	/* revocation.c */
	struct map revoked;    /* serial -> something */
	int64_t revoked_last;  /* number of the newest that we know of */
	int64_t revoked_total; /* how many we know of */
	bool revoked_stale;    /* could not be read, watch.c asks again */
	bool revoked_reading, revoked_again;
	struct mono revoked_said; /* that it can't be read; {0}: it can */
	bool own_revoked_said;

	struct crl *crl; /* owned; crl.c; NULL: not asked for yet */

	/* own_cert.c */
	struct own_pair own[OWN_CERT_KINDS];
	uint64_t own_changes;                         /* grows with each pair that is taken into use */
	struct own_cert *making_cert[OWN_CERT_KINDS]; /* under way */
	struct mono rsa_look_at;                      /* when it is to be looked at next */
	bool rsa_failed;                              /* the last time */
	bool own_failed;                              /* the last time */
	struct mono own_tried;                        /* when it was to be renewed last; {0}: never */

	/* tickets.c */
	struct {
		char *text;                  /* as the store has them; NULL: none */
		struct tls_ticket_keys keys; /* secret; none while they are switched off */
		int64_t made_s;              /* the newest, Unix time; INT64_MIN: it can't be used */
		struct mono tried;           /* {0}: never */
		bool known;                  /* the store was asked */
		bool newer;                  /* written by a newer program, in a form of its own */
		bool stale, reading, replacing, off;
	} tickets;
	uint64_t n_full, n_resumed; /* TLS handshakes of agents */

	struct list provisions; /* provision.c */

	/* renewal.c */
	struct {
		struct list due;          /* struct renewal: those that wait for their turn, or to be tried again */
		struct token_bucket pace; /* burst 0: not yet used */
		size_t n_under_way;
		struct mono looked; /* at all hosts; {0}: never */
		struct later look_later;
		size_t cursor, n_alerts;
		const void *table;      /* the roster's, as the cursor knows it */
		char *issuer, *trusted; /* while the CA is changed: what is wanted; NULL: nothing */
		uint64_t want;          /* how often that has changed */
		int64_t ca_not_after_s; /* of the CA with this fingerprint: */
		char ca_fingerprint[FINGERPRINT_TEXT];
	} renewal;

	/* metrics.c: counters that nobody else needs, since the start */
	uint64_t n_handshakes_failed;
	uint64_t n_issued[ISSUED_N];
	uint64_t n_renewed, n_renewals_failed;
	uint64_t n_cut[CUT_N];
	struct metrics *metrics; /* owned; NULL: nobody has asked */

	/* api.c */
	void *api;
	size_t n_api_works; /* of its jobs, on work threads */
};
