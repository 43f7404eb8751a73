/*
 * The store: what is remembered. Every server of a cluster uses the same one; it is the truth, memory is a cache.
 *
 * How it is used: the server collects small functions, each a change or a question, and runs them together on one
 * thread inside one transaction (store_run()): each function gets a struct store_tx, does its reading and writing and
 * returns ERR_OK, or an error, which undoes that function alone. When the transaction is committed, all of it
 * survives kill -9 and power loss; when it can't be, every function of the group reports the error.
 * No transaction waits for anything but the disk.
 *
 * Each change writes a row into the numbered `change` table in the same transaction, so that every other server finds
 * out what to read again (store_changes_since()).
 *
 * Implementation: SQLite (store_sqlite.c), WAL, synchronous=FULL; on a file, or in memory for tests and simulation.
 * Nothing above this header knows SQL. Time is given as Unix milliseconds by the caller.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "core/host_status.h"
#include "core/server_status.h"

struct store;    /* one connection; used by one thread at a time */
struct store_tx; /* valid inside store_run() */

/*
 * Opens a store and brings its schema up to date. `where`: a path, or ":memory:NAME" - all opened in this process with
 * the same NAME share one database, which lives while at least one is open. ERR_NEWER: made by a newer program;
 * ERR_DAMAGED: with what to do. Never overwrites what it can't read.
 */
enum err store_open(struct store **out, const char *where, struct why *why) MUST_CHECK;
struct store *store_close(struct store *s);

struct store_call {
	enum err (*run)(struct store_tx *tx, void *arg, struct why *why);
	void *arg;
	bool read_only;
	enum err result; /* out */
	struct why why;  /* out */
};
/* Runs all in one transaction. The result of each is in the call; returns ERR_OK when the commit worked. */
enum err store_run(struct store *s, struct store_call **calls, size_t n, struct why *why);
/*
 * Did another connection, of this process or of another one, commit anything since the last call (or since the store
 * was opened)? Our own commits don't count; pings and other writes without a change row do. When it can't tell it says
 * yes, so that the caller's next store_run() meets the error. Cheap: for polling (every 100 ms).
 */
bool store_changed(struct store *s);

/* ---- changes ---- */

enum change_kind {
	CHANGE_CONFIG = 1, /* id: 0; a new zone, pod or cluster too */
	CHANGE_HOST,       /* id: host id; created, changed, removed */
	CHANGE_SERVER,     /* id: msid */
	CHANGE_CA,         /* CA, CRL */
	CHANGE_TOKEN,
	CHANGE_ACCOUNT,
	CHANGE_JOB,       /* id: job number */
	CHANGE_PLACEMENT, /* id: host id, the entries of its list; 0: the entries themselves, and those of all hosts */
};
struct change {
	int64_t seq;
	enum change_kind kind;
	int64_t id;
	int64_t by; /* msid of the server that made it */
};
/*
 * Up to `room` changes after `seq`, oldest first. *gap: read everything, nothing is in `out`: older ones than asked for
 * were trimmed away, or the store is behind `seq` (an older copy was restored).
 */
enum err store_changes_since(struct store_tx *tx, int64_t seq, struct change *out, size_t room, size_t *n, bool *gap)
	MUST_CHECK;
enum err store_change_last(struct store_tx *tx, int64_t *seq) MUST_CHECK;
/* Every writing function below takes `by`, the writer's msid, from here; set once per tx. */
void store_tx_by(struct store_tx *tx, int64_t msid, int64_t wall_ms);
/* How many servers lists are made from: a new host gets a slot that keeps them even. Not said: the lowest hole. */
void store_tx_servers(struct store_tx *tx, size_t n_servers);

/* ---- configuration ---- */

#define CONFIG_GLOBAL "" /* scope */
struct config_row {
	char *name;
	char *scope; /* "" global, "cluster" */
	int64_t scope_id;
	char *value;
};
void config_row_deinit(struct config_row *r);
/* Only rows that were set; defaults live in the program (server/config.def). */
enum err store_config_list(struct store_tx *tx, struct config_row **rows, size_t *n) MUST_CHECK;
/* value NULL: removes the row. Nothing is written and *changed is false when it was so already. Raises the version. */
enum err store_config_set(struct store_tx *tx, const char *name, const char *scope, int64_t scope_id, const char *value,
			  bool *changed) MUST_CHECK;
enum err store_config_version(struct store_tx *tx, int64_t *version) MUST_CHECK;

/* ---- zones, pods, clusters ---- */

enum place_kind { PLACE_ZONE, PLACE_POD, PLACE_CLUSTER };
struct place_row {
	int64_t id;
	enum place_kind kind;
	int64_t parent; /* pod: its zone; cluster: its pod */
	char uuid[UUID_TEXT];
	char *name;
};
void place_row_deinit(struct place_row *r);
enum err store_place_list(struct store_tx *tx, struct place_row **rows, size_t *n) MUST_CHECK;
/* By name, or by id in decimal; made when missing (`uuid` is used then). Id 1, name "default", of each kind exists from
 * the start. */
enum err store_place_find_or_make(struct store_tx *tx, enum place_kind kind, int64_t parent, const char *name_or_id,
				  const char *uuid, int64_t *id) MUST_CHECK;

/* ---- hosts ---- */

struct host_row {
	int64_t id;
	char uuid[UUID_TEXT];
	char *guid; /* without the resource suffix; unique among those not removed */
	char *name;
	char *type; /* Routing, ConsoleProxy ... */
	char *resource_name;
	char *hypervisor;
	char *version;
	char *arch;
	char *private_ip;
	char *capabilities;
	char *details; /* JSON object text of hostDetails and the numbers of the startup; NULL: none */
	int64_t zone_id, pod_id, cluster_id;
	uint64_t slot; /* in its zone (core/slots.h) */
	int64_t pin;   /* list_server_row.id of the entry that it must have first; 0: any */
	/* Under balanced, how its list begins: list_server_row.id, 0: no entry. */
	int64_t placed_first, placed_second, placed_third, placed_away;
	enum host_status status;
	enum resource_state resource_state;
	int64_t owner; /* msid, 0: none */
	int64_t last_owner;
	int64_t epoch; /* grows with each change of owner, losing it included */
	char *boot;    /* of the owner's link: boot id and link number of a muster agent */
	int64_t link_number;
	int64_t boot_number; /* of the boot: counts the agent's process starts; 0: not known */
	char *ms_list;       /* "M1,M2@algorithm": what the agent last reported or confirmed; NULL: never */
	int64_t ms_interval; /* the interval that it was last told and confirmed, -1: never */
	bool is_muster;      /* its last startup came over muster/1 */
	bool secured;        /* connected with a verified certificate */
	char *bound_key;     /* how its identity is bound: "uri" or "san" (decision 2), NULL: not yet */
	bool allow_weaker;   /* an operator allowed a weaker identity, once */
	char *cert_serial;   /* of the certificate on the current link */
	int64_t cert_not_after_s;
	int64_t cert_not_before_s; /* 0: not known */
	char *cert_issuer;         /* whose key signed it: cert_info.authority_key_id; NULL: not known */
	char *ca_known;            /* SHA-256 (hex) of the CA certificates that its agent confirmed; NULL: not known */
	char *bound_to;            /* bound by "san": the key (cert_info.key_id) that it showed; NULL: not known */
	int64_t bound_zone;        /* the one that its token was for: it stays there; 0: its agent says */
	int64_t created_ms, disconnected_ms, last_ping_ms, removed_ms; /* 0: never */
};
void host_row_deinit(struct host_row *r);
enum err host_row_copy(struct host_row *to, const struct host_row *from) MUST_CHECK;

enum err store_host_get(struct store_tx *tx, int64_t id, struct host_row *out) MUST_CHECK;           /* ERR_NOT_FOUND */
enum err store_host_by_guid(struct store_tx *tx, const char *guid, struct host_row *out) MUST_CHECK; /* not removed */
/* The zone that a host has to be in; 0: any, or there is no such host. */
enum err store_host_bound_zone(struct store_tx *tx, const char *guid, int64_t *zone_id) MUST_CHECK;
/* Calls `each` for all that are not removed, by id. */
enum err store_host_list(struct store_tx *tx, enum err (*each)(void *user, const struct host_row *row), void *user)
	MUST_CHECK;
/*
 * Inserts; id, slot (the lowest hole of its zone, else the end) and epoch 0 are filled in. ERR_EXISTS: the guid is
 * taken.
 */
enum err store_host_create(struct store_tx *tx, struct host_row *row) MUST_CHECK;
/* Writes the descriptive fields of a startup (name .. cluster, arch, details, is_muster, secured, bound_key, bound_to,
 * cert_*).
 */
enum err store_host_describe(struct store_tx *tx, const struct host_row *row) MUST_CHECK;
/* The certificate that it has shown, alone: cert_* of that row. */
enum err store_host_shown(struct store_tx *tx, const struct host_row *row) MUST_CHECK;
/* Its agent has confirmed that it trusts these CA certificates (SHA-256 of their text, hex). */
enum err store_host_ca_known(struct store_tx *tx, int64_t host_id, const char *hash) MUST_CHECK;
/*
 * It has been given a certificate of this issuer (cert_info.authority_key_id) and has not been seen with it yet: what
 * the row says of its certificate's issuer until then.
 */
enum err store_host_cert_issuer(struct store_tx *tx, int64_t host_id, const char *issuer) MUST_CHECK;
/*
 * An operator is to be told about its certificate, if the last time was before `since_ms`; *is_due: then this was noted
 * as the last time. No change row: nobody else has to know.
 */
enum err store_host_cert_alert(struct store_tx *tx, int64_t host_id, int64_t since_ms, int64_t now_ms, bool *is_due)
	MUST_CHECK;

struct host_claim {
	int64_t host_id;
	int64_t msid;
	const char *boot; /* muster agents: boot id; NULL otherwise */
	int64_t link_number;
	int64_t boot_number;    /* 0: not known */
	int64_t epoch;          /* out: of this claim */
	int64_t previous_owner; /* out */
	bool superseded;        /* out: a newer link of the agent was claimed: this one is void, nothing is written */
};
/* Takes ownership: epoch + 1, status by AgentConnected (Connecting). ERR_NOT_FOUND for removed hosts. */
enum err store_host_claim(struct store_tx *tx, struct host_claim *c) MUST_CHECK;
/*
 * A status event by the owner (epoch must be the current one, else ERR_CONFLICT and nothing is written; epoch 0:
 * whoever owns it). Clears the owner where the status says so. *to: the new status; no transition: ERR_STATE.
 */
enum err store_host_event(struct store_tx *tx, int64_t host_id, int64_t epoch, enum host_event event,
			  enum host_status *to) MUST_CHECK;
enum err store_host_resource_event(struct store_tx *tx, int64_t host_id, enum resource_event event,
				   enum resource_state *to) MUST_CHECK;
/* What the agent confirmed; no change row (others need not hear of it). */
enum err store_host_list_confirmed(struct store_tx *tx, int64_t host_id, const char *ms_list, int64_t interval)
	MUST_CHECK;
struct host_ping {
	int64_t host_id;
	int64_t wall_ms;
};
/* Many pings at once; no change rows. */
enum err store_host_pings(struct store_tx *tx, const struct host_ping *pings, size_t n) MUST_CHECK;
/* Marks removed, frees the slot and does what slots_repair() then wants for n_servers; *moved tells how many. */
enum err store_host_remove(struct store_tx *tx, int64_t id, size_t n_servers, size_t *moved) MUST_CHECK;
/* Slots of all zones repaired for a new number of servers; *moved: how many changed. */
enum err store_slots_repair(struct store_tx *tx, size_t n_servers, size_t *moved) MUST_CHECK;
/* Slots of all zones given anew, 0, 1, 2 ... by host id: on an operator's demand only, it may move everybody. */
enum err store_slots_rerank(struct store_tx *tx, size_t *moved) MUST_CHECK;
/* All hosts of a dead or stopped server: ManagementServerDown. *n: how many. */
enum err store_hosts_disown(struct store_tx *tx, int64_t msid, size_t *n) MUST_CHECK;
enum err store_host_allow_weaker(struct store_tx *tx, int64_t id, bool allow) MUST_CHECK;

/* ---- management servers ---- */

struct server_row {
	int64_t id;   /* order of registration */
	int64_t msid; /* > 0, unique */
	int64_t run_id;
	char uuid[UUID_TEXT];
	char *name;
	char *address; /* advertised: as entry of a list, without port when it is the default */
	int64_t port;
	enum server_state state;
	char *version;
	int64_t last_update_ms; /* heartbeat */
	int64_t started_ms, stopped_ms, removed_ms;
	char *ca_known;    /* SHA-256 (hex) of the CA certificates that it trusts; NULL: not known */
	char *cert_issuer; /* cert_info.authority_key_id of its own certificate; NULL: not known */
	char *key_id;      /* of the cluster key that it has, "none"; NULL: not known */
};
void server_row_deinit(struct server_row *r);
/* Those not removed, by id. */
enum err store_server_list(struct store_tx *tx, struct server_row **rows, size_t *n) MUST_CHECK;
/* Inserts or takes over the row of this msid with a new run id; state by SERVER_EVENT_START; id is filled in. */
enum err store_server_register(struct store_tx *tx, struct server_row *row) MUST_CHECK;
/*
 * ERR_CONFLICT: another run of this server has taken the row (we must stop). Writes no change row, but when it brings a
 * server back that was Down or removed.
 */
enum err store_server_heartbeat(struct store_tx *tx, int64_t msid, int64_t run_id) MUST_CHECK;
/* What it trusts and shows; both may be NULL. */
enum err store_server_ca(struct store_tx *tx, int64_t msid, const char *ca_known, const char *cert_issuer) MUST_CHECK;
/* Which cluster key it has (ca/sealed.h); "none". */
enum err store_server_key(struct store_tx *tx, int64_t msid, const char *key_id) MUST_CHECK;
enum err store_server_event(struct store_tx *tx, int64_t msid, enum server_event event, enum server_state *to)
	MUST_CHECK;
/* ERR_STATE while it is Up. */
enum err store_server_remove(struct store_tx *tx, int64_t msid) MUST_CHECK;
struct peer_view {
	int64_t owner, peer; /* msids */
	char *view;          /* member_view_name() */
	int64_t at_ms;
};
enum err store_peer_view_set(struct store_tx *tx, int64_t owner, int64_t peer, const char *view) MUST_CHECK;
enum err store_peer_view_list(struct store_tx *tx, struct peer_view **rows, size_t *n) MUST_CHECK;
void peer_view_deinit(struct peer_view *v);

/* ---- placement ---- */

/*
 * The entries that lists are made of. Which ones are in use follows from the setting `host` or, when it isn't set, from
 * the registered servers, in the same transaction in which that changes; so does, under the algorithm balanced, the
 * place of every host (core/balanced.h). The one who holds the store's write lock is the one writer.
 */
struct list_server_row {
	int64_t id;
	char *entry;    /* as spelled */
	int64_t weight; /* 0 to BALANCED_WEIGHT_MAX */
	char *zone;     /* name; NULL: none */
	bool resting;   /* counts as weight 0 while it is restarted */
	bool in_use;
};
void list_server_row_deinit(struct list_server_row *r);
enum err store_placement_version(struct store_tx *tx, int64_t *version) MUST_CHECK;
/* All, by id. *version: of the placement. */
enum err store_list_server_list(struct store_tx *tx, struct list_server_row **rows, size_t *n, int64_t *version)
	MUST_CHECK;
/*
 * Weight and zone of an entry, which need not be in use. weight -1, zone NULL: as it is; zone "": none. *moves: hosts
 * that now prefer another server. ERR_INVALID, ERR_NOT_FOUND (no such zone), with a sentence.
 */
enum err store_list_server_set(struct store_tx *tx, const char *entry, int64_t weight, const char *zone, size_t *moves)
	MUST_CHECK;
/*
 * From one turn to the next of a rolling restart: `rests` is the one entry that rests from now on; NULL: none. Its
 * hosts go to the one that rested before, if there was one, and nobody else moves.
 */
enum err store_list_server_rest(struct store_tx *tx, const char *rests, size_t *moves) MUST_CHECK;
/* The entry that a host must have first, in use; NULL: any. */
enum err store_host_pin(struct store_tx *tx, int64_t host_id, const char *entry, size_t *moves) MUST_CHECK;
/* balanced_settle(); nothing to do when another algorithm is in force. *n: lists changed. */
enum err store_placement_settle(struct store_tx *tx, size_t max_lists, size_t *n) MUST_CHECK;
/* balanced_redesign(): on an operator's demand only. */
enum err store_placement_redesign(struct store_tx *tx, size_t *moves) MUST_CHECK;
struct host_place {
	int64_t host_id;
	int64_t placed_first, placed_second, placed_third, placed_away; /* as in struct host_row */
};
enum err store_placement_get(struct store_tx *tx, int64_t host_id, struct host_place *out) MUST_CHECK; /* zeros: none */
enum err store_placement_list(struct store_tx *tx, struct host_place **rows, size_t *n) MUST_CHECK;    /* by host */

/* What was asked of a server that prepares for maintenance, and how far it is. */
struct drain_row {
	int64_t msid;
	int64_t per_s;      /* agents asked per second; 0: the default */
	int64_t timeout_ms; /* 0: the setting */
	bool forced;        /* Maintenance at the time-out whoever is still there */
	char *algorithm;    /* NULL: the one in force */
	char *asked_by;
	int64_t asked_ms;
	char *report; /* JSON object text by the server itself; NULL: none yet */
	int64_t reported_ms;
};
void drain_row_deinit(struct drain_row *r);
/* Replaces what was asked before, and its report. */
enum err store_drain_ask(struct store_tx *tx, const struct drain_row *row) MUST_CHECK;
enum err store_drain_get(struct store_tx *tx, int64_t msid, struct drain_row *out) MUST_CHECK; /* ERR_NOT_FOUND */
enum err store_drain_list(struct store_tx *tx, struct drain_row **rows, size_t *n) MUST_CHECK; /* by msid */
/* No change row: who shows it reads it. ERR_NOT_FOUND: nothing was asked of this server. */
enum err store_drain_report(struct store_tx *tx, int64_t msid, const char *report) MUST_CHECK;

/* ---- CA, certificates, tokens ---- */

/* Named blobs: "ca.certificate", "ca.sealed_key" ... */
enum err store_secret_get(struct store_tx *tx, const char *name, char **value) MUST_CHECK; /* ERR_NOT_FOUND */
/* There may be none. */
enum err store_secret_remove(struct store_tx *tx, const char *name) MUST_CHECK;
/* The names of all of them, in order. */
enum err store_secret_names(struct store_tx *tx, struct str_list *names) MUST_CHECK;
enum err store_secret_set(struct store_tx *tx, const char *name, const char *value) MUST_CHECK;

struct cert_row {
	char *serial;
	char *common_name;
	char *role; /* agent, server, other */
	char *subject_id;
	int64_t not_before_s, not_after_s;
	int64_t revoked_ms; /* 0: not */
	char *pem;
	char *issuer; /* cert_info.authority_key_id; NULL: from before that was kept */
};
void cert_row_deinit(struct cert_row *r);
enum err store_cert_add(struct store_tx *tx, const struct cert_row *row) MUST_CHECK;
enum err store_cert_list(struct store_tx *tx, struct cert_row **rows, size_t *n) MUST_CHECK;
enum err store_cert_get(struct store_tx *tx, const char *serial, struct cert_row *out) MUST_CHECK; /* ERR_NOT_FOUND */
/* Was it issued here for that host (by guid)? */
enum err store_cert_is_for(struct store_tx *tx, const char *serial, const char *guid, bool *is) MUST_CHECK;
/* Also for serials that were never issued here. A host that has no other one is not known to trust anybody any more. */
enum err store_cert_revoke(struct store_tx *tx, const char *serial, const char *common_name) MUST_CHECK;
/* The same, with who wants it and why (both may be NULL). */
enum err store_cert_revoke_by(struct store_tx *tx, const char *serial, const char *common_name, const char *by,
			      const char *reason) MUST_CHECK;
enum err store_revoked_list(struct store_tx *tx, struct str_list *serials) MUST_CHECK;
/*
 * The serials that were revoked after the one numbered `after` (0: all), in that order. *last: number of the newest,
 * *total: how many there are. A total that doesn't fit what was known means another copy of the store: begin anew.
 */
enum err store_revoked_since(struct store_tx *tx, int64_t after, struct str_list *serials, int64_t *last,
			     int64_t *total) MUST_CHECK;
enum err store_is_revoked(struct store_tx *tx, const char *serial, bool *is) MUST_CHECK;
/* Revokes what was issued for this role and id. */
enum err store_cert_revoke_subject(struct store_tx *tx, const char *role, const char *subject_id, size_t *n) MUST_CHECK;
enum err store_cert_revoke_subject_by(struct store_tx *tx, const char *role, const char *subject_id, const char *by,
				      const char *reason, size_t *n) MUST_CHECK;

/* What a signed revocation list names. */
struct revoked_row {
	char *serial;
	int64_t revoked_ms;
};
void revoked_row_deinit(struct revoked_row *r);
/*
 * All that are revoked, but for those known to be another CA's (issuer: cert_info.subject_key_id of this one; NULL:
 * any) and those that ended before that time anyway. In a new array, in order of revocation.
 */
enum err store_revoked_rows(struct store_tx *tx, const char *issuer, int64_t ended_before_s, struct revoked_row **rows,
			    size_t *n, int64_t *last) MUST_CHECK;

/* ---- what is known of certificates, for listing ---- */

enum cert_state {
	CERT_IN_USE,     /* a host's on its current link, or one of a server's as the asker knows */
	CERT_VALID,      /* nothing is in its way */
	CERT_SUPERSEDED, /* a newer one was issued for the same host or server */
	CERT_EXPIRED,
	CERT_REVOKED,
	CERT_STATES
};
struct cert_view {
	char *serial;
	char *common_name;
	char *role; /* agent, server, other; NULL: not known */
	char *subject_id;
	int64_t not_before_s, not_after_s; /* 0: not known */
	char *issuer;
	char *pem; /* NULL: not ours */
	int64_t revoked_ms;
	char *revoked_by, *reason;
	int64_t host_id; /* 0: none that is there */
	int64_t state;   /* enum cert_state */
};
void cert_view_deinit(struct cert_view *v);
struct cert_question {
	const char *serial, *role; /* NULL: any, as in the next three */
	const char *subject_id;    /* guid of a host, id of a server */
	const char *keyword;       /* part of serial, common name, subject or name of the host, in any case */
	unsigned states;           /* bits 1 << enum cert_state */
	int64_t ends_before_s;     /* 0: whenever */
	int64_t now_s;
	const char *in_use; /* of servers: ",serial,serial," */
	size_t first, room; /* page */
};
/* How far a question is: begins as {0}. */
struct cert_cursor {
	bool is_over;
	size_t count; /* that fit, so far; in the end: on all pages */
	/* private */
	unsigned kind;
	int64_t below;
	size_t given;
};
/*
 * Certificates that were issued, serials that were revoked without that, and what hosts have that was never recorded;
 * the newest of each first. Judging all of a large table takes seconds: this looks at some of it, and is called again,
 * in a transaction of its own, until the cursor is over. What it finds for the page follows on what it found before.
 * With an error the cursor is as it was.
 */
enum err store_cert_views_some(struct store_tx *tx, const struct cert_question *q, struct cert_cursor *cursor,
			       struct cert_view **views, size_t *n) MUST_CHECK;
/* All at once: for one serial or one subject. */
enum err store_cert_views(struct store_tx *tx, const struct cert_question *q, struct cert_view **views, size_t *n,
			  size_t *count) MUST_CHECK;

struct token_row {
	char *id;
	char *hash;
	char *role;
	int64_t created_ms, expires_ms;
	int64_t uses_left; /* how often it may still be used */
	int64_t uses;      /* how often it was */
	bool revoked;
	char *bound_name, *bound_guid; /* NULL: any */
	int64_t host_id;               /* reserved host (addHost), 0: none */
	char *bound_zone;              /* name of a zone; NULL: any */
	bool keeps_certificates;       /* what the host has already stays good when it joins again */
};
void token_row_deinit(struct token_row *r);
enum err store_token_add(struct store_tx *tx, const struct token_row *row) MUST_CHECK;
enum err store_token_get(struct store_tx *tx, const char *id, struct token_row *out) MUST_CHECK;
enum err store_token_list(struct store_tx *tx, struct token_row **rows, size_t *n) MUST_CHECK;
enum err store_token_use(struct store_tx *tx, const char *id)
	MUST_CHECK; /* uses_left - 1; ERR_REFUSED at 0, ERR_EXPIRED, ERR_REVOKED */
enum err store_token_revoke(struct store_tx *tx, const char *id) MUST_CHECK; /* ERR_NOT_FOUND */
/* Forgets those that expired before that time. */
enum err store_tokens_trim(struct store_tx *tx, int64_t before_ms) MUST_CHECK;

/* ---- accounts, jobs, events ---- */

struct account_row {
	char *name;
	char *uuid;
	char *role; /* admin */
	char *api_key;
	char *secret_key;
	int64_t created_ms;
};
void account_row_deinit(struct account_row *r);
enum err store_account_add(struct store_tx *tx, const struct account_row *row) MUST_CHECK; /* ERR_EXISTS */
enum err store_account_by_key(struct store_tx *tx, const char *api_key, struct account_row *out) MUST_CHECK;
enum err store_account_list(struct store_tx *tx, struct account_row **rows, size_t *n) MUST_CHECK;
enum err store_account_remove(struct store_tx *tx, const char *name) MUST_CHECK;

struct job_row {
	int64_t id;
	char uuid[UUID_TEXT];
	char *command; /* reconnectHost */
	char *account;
	int64_t msid;   /* who runs it */
	int64_t status; /* 0 running, 1 done, 2 failed */
	int64_t result_code;
	char *result; /* JSON object text, NULL while running */
	char *instance_type, *instance_id;
	int64_t created_ms, completed_ms;
};
void job_row_deinit(struct job_row *r);
enum err store_job_add(struct store_tx *tx, struct job_row *row) MUST_CHECK; /* id is filled in */
enum err store_job_finish(struct store_tx *tx, const char *uuid, int64_t status, int64_t code, const char *result)
	MUST_CHECK;
enum err store_job_get(struct store_tx *tx, const char *uuid, struct job_row *out) MUST_CHECK;
/* Jobs still running at a server that died or restarted end as failed with this result. */
enum err store_jobs_fail_of(struct store_tx *tx, int64_t msid, const char *result, size_t *n) MUST_CHECK;
enum err store_jobs_running(struct store_tx *tx, int64_t msid, size_t *n) MUST_CHECK;
/* Those whose result begins so, running ones aside. */
enum err store_job_results(struct store_tx *tx, const char *begins, struct job_row **rows, size_t *n) MUST_CHECK;
/* The same result in another form: no change row. */
enum err store_job_result_set(struct store_tx *tx, int64_t id, const char *result) MUST_CHECK;
enum err store_jobs_trim(struct store_tx *tx, int64_t before_ms) MUST_CHECK;

struct event_row {
	int64_t id;
	char uuid[UUID_TEXT];
	char *type;  /* HOST.RECONNECT, AGENT.UP ... */
	char *level; /* INFO, WARN, ERROR */
	char *description;
	char *account;
	int64_t host_id; /* 0: none */
	int64_t msid;
	int64_t created_ms;
};
void event_row_deinit(struct event_row *r);
enum err store_event_add(struct store_tx *tx, const struct event_row *row) MUST_CHECK;
/* Newest first, at most `limit`. */
enum err store_event_list(struct store_tx *tx, size_t limit, struct event_row **rows, size_t *n) MUST_CHECK;
enum err store_events_trim(struct store_tx *tx, size_t keep) MUST_CHECK;
