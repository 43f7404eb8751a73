/*
 * A whole cluster in the simulated world: S servers on one store, N agents,
 * each on a machine of its own, and what an operator and bad luck do to them.
 *
 * It also remembers what must be true: which settings were acknowledged, since
 * when an agent could have had a link. invariants.c compares that with the
 * engines and the store.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/list.h"
#include "base/map.h"
#include "base/str.h"
#include "client/agent.h"
#include "server/server.h"
#include "sim/sim.h"
#include "store/store.h"

#define SECOND_US 1000000LL
#define SERVERS_MAX 16

struct cluster;

enum program_state { PROGRAM_OFF, PROGRAM_STARTING, PROGRAM_UP, PROGRAM_STOPPING };

struct sim_server {
	struct cluster *cluster;
	struct sim_node *node;
	char name[32];
	struct store *store;   /* its own connection; NULL while off */
	struct server *server; /* NULL while off */
	enum program_state state;
	bool wanted;         /* comes back by itself after it failed to start or its disk has
				killed it */
	bool store_fails;    /* the store does not answer it */
	int64_t up_since_us; /* valid while PROGRAM_UP */
	/* invariants.c: since when its state in the store shuts its door and another server could take its agents; 0:
	 * not */
	int64_t shut_since_us;
	int64_t shut_asked_ms; /* of the drain that it is shut for */
	int64_t troubled_us;   /* when something befell it last, or was over */
	/* moves.c: how many have come home, less what the pace lets in; since when that counts */
	struct {
		double level;
		int64_t at_us, from_us, rate, burst, run_us;
	} arrived;
	/* cert_rules.c: keys that it has asked agents for, less what its pace allows */
	struct {
		double level;
		int64_t at_us, rate, run_us;
	} keys;
	struct sim_event again;
};

struct sim_agent {
	struct cluster *cluster;
	struct sim_node *node;
	struct list in_agents;
	char name[32];
	char guid[UUID_TEXT];
	char *certificate; /* PEM or the simulation's line */
	char *key;
	unsigned renewals;       /* of the certificate, begun */
	unsigned renewed;        /* of those, taken by a server */
	struct agent_file *file; /* NULL while off */
	struct agent *agent;     /* NULL while off */
	/* certs.c and joins.c, in a cluster with real certificates */
	struct daemon *daemon;       /* owned; the real program's, around its files; NULL while off */
	struct sim_joining *joining; /* owned; what runs on its machine is the join; NULL: it isn't */
	enum { WISH_NONE, WISH_JOIN, WISH_REJOIN, WISH_REJOIN_KEEP } wish; /* what comes before its next start */
	char *token;                                                       /* owned; for that; NULL: none yet */
	bool token_asked;                                                  /* the answer isn't there */
	bool is_banned;         /* an operator has revoked what it has, or is about to */
	bool is_revoking;       /* not all of it yet */
	int64_t revoke_next_us; /* then the next attempt */
	int64_t banned_us;      /* all of it was revoked then; 0: not yet */
	int64_t provision_us;   /* an operator asked for a new certificate then; 0: that one was made */
	bool wanted;
	bool stopping; /* was told to */
	/* flights.c: of this process */
	struct list errands; /* commands that it works on */
	struct map ran;      /* numbers of those that it ever began */
	/* MAYBE: asked for, the answer isn't there or wasn't yes. It may be told to
	 * stay away at any moment. */
	enum { STAYS, MAYBE_REMOVED, REMOVED } removal;
	int64_t boots_until_us; /* after a power loss */
	struct sim_event again;
	/* invariants.c */
	int64_t alone_since_us; /* without a link while one of its servers could be
				   reached; 0: not */
	char boot[UUID_TEXT];   /* of the newest link that the store has seen */
	int64_t link_number;
	int64_t usable_since_us[SERVERS_MAX]; /* a server of its list that it could be on; 0: it couldn't */
	int64_t troubled_us;
	/* moves.c */
	struct sim_server *was_on; /* Ready there when it was looked at last; NULL: nowhere */
	bool was_muster;           /* ... on a link of muster's kind, from which moves are made before the break */
	struct sim_server *home;   /* where it should be by now, and how long it has been able to go there */
	int64_t home_interval_s, home_us, home_looked_us;
};

/* A setting: what was acknowledged last, and what may have been written since
 * by calls that got no answer. */
struct told_setting {
	struct list in_settings;
	char *name;
	char *acked; /* NULL: never set */
	struct str_list maybe;
	unsigned under_way;
};

struct cluster_params {
	uint64_t seed;
	bool real_tls;
	bool certificates; /* agents join, and have real certificates: certs.c */
	void (*print)(void *user, const char *line);
	void *user;
	enum log_level level;
	int64_t look_us; /* how often invariants are looked at; 0: by the size */
};

struct cluster {
	struct cluster_params p;
	struct sim *sim;
	char *where;         /* of the store */
	struct store *store; /* our own connection: keeps the data while all servers
				are dead, and looks */
	uint8_t key[32];     /* of the cluster */
	struct sim_server *servers[SERVERS_MAX];
	size_t n_servers;
	struct list agents; /* struct sim_agent */
	size_t n_agents;
	struct list settings; /* struct told_setting */
	unsigned calls;       /* API calls without an answer */
	bool is_calmed;       /* servers that are in maintenance, or were shut down, are brought back */
	size_t n_moves;       /* moves.c: from a link that worked to another server's, since they are counted */
	int64_t frozen_us;    /* moves.c: since when the store says that moves are frozen; 0: they are not */
	bool steady;          /* a scenario says that from now on no agent may be without a link for a moment */
	int64_t clock_ms;     /* all clocks were put on by so much: machines that come have it too */
	int64_t troubled_us;  /* the network: when it was not well last */
	struct list flights;  /* flights.c: commands to agents */
	size_t flights_answered;
	struct sim_event send; /* the next command, every so often; 0: none */
	int64_t send_every_us;
	/* cert_rules.c */
	struct map recorded;  /* serials that are known to be in the store */
	struct map revoked;   /* serial -> struct revoked */
	int64_t revoked_last; /* number of the newest that is known */
	struct ca_truth *ca;  /* owned; NULL: not read yet */
	uint64_t certs_seen;  /* `truths` at the last look */
	int64_t step_us;      /* the CA, or what is trusted, was changed then */
	/* certs.c */
	char *csr;                /* owned; what issueCertificate is asked with */
	char rotation_said[200];  /* why the last step wasn't taken */
	int rotation_way;         /* where it is led to when the world is calm: 1 forward, -1 back; 0: not drawn yet */
	int64_t rotation_next_us; /* then the next attempt */
	struct sim_event look;
	struct truth *truth; /* invariants.c: what the store said last */
	uint64_t truths;     /* so many times it has said something */
};

enum err cluster_new(struct cluster **out, const struct cluster_params *p, struct why *why) MUST_CHECK;
struct cluster *cluster_free(struct cluster *c); /* kills what lives */

enum err cluster_add_server(struct cluster *c, const char *name, struct why *why) MUST_CHECK; /* and starts it */
/* Agents H<n+1> ...; they start within `spread_us`. */
enum err cluster_add_agents(struct cluster *c, size_t n, int64_t spread_us, struct why *why) MUST_CHECK;

void sim_server_start(struct sim_server *s);
void sim_server_stop(struct sim_server *s); /* SIGTERM; agents get 10 s to move */
void sim_server_kill(struct sim_server *s, enum sim_death how);
void sim_agent_start(struct sim_agent *a);
void sim_agent_stop(struct sim_agent *a);
/* A new certificate, as a server sends one; the old one is gone back to if it isn't taken, which is a failure here. */
void sim_agent_renew(struct sim_agent *a);
void sim_agent_kill(struct sim_agent *a, enum sim_death how);

struct sim_server *cluster_server(struct cluster *c, const char *name); /* NULL: none */
struct sim_agent *cluster_agent(struct cluster *c, const char *name);
struct sim_node *cluster_node(struct cluster *c, const char *name);
struct sim_server *cluster_server_of_msid(struct cluster *c, int64_t msid);
/* One that is Up and not frozen, from `from` on; NULL: none. */
struct sim_server *cluster_any_server(struct cluster *c, size_t from);

/* As an operator does, on that server; NULL: any. false: nobody to ask. `value`
 * NULL: the default again. */
bool cluster_set(struct cluster *c, struct sim_server *on, const char *name, const char *value);
bool cluster_remove_host(struct cluster *c, struct sim_server *on, struct sim_agent *a);

/* prepareForMaintenance, cancelMaintenance, triggerShutdown ... of that server, asked of any; `extra`: name=value
 * texts. */
bool cluster_maintain(struct cluster *c, const char *command, const struct sim_server *s, char *const *extra, size_t n);

/* setListServer of that server, with weight=N or zone=Z; pinHost to it, or unpinHost with NULL; asked of any. */
bool cluster_weigh(struct cluster *c, const struct sim_server *s, const char *what);
bool cluster_pin(struct cluster *c, const struct sim_agent *a, const struct sim_server *s);
/* That server rests, as in a rolling restart; NULL: none does. false: it is in no list by its address. */
bool cluster_rest(struct cluster *c, const struct sim_server *s);
/*
 * Any command, asked of any server. `answered` (NULL: nobody waits) is called when there is an answer, with the agent;
 * a server that dies has none. false: nobody to ask.
 */
struct api_param;
bool cluster_ask(struct cluster *c, const struct api_param *params, size_t n, const char *note, struct sim_agent *a,
		 void (*answered)(struct cluster *c, struct sim_agent *a, int status, json_t *body));
/* The uuid of its host; false: it is not in the store, or on its way out. */
bool cluster_uuid_of(struct cluster *c, const struct sim_agent *a, char out[UUID_TEXT]);

/* A command without parameters, asked of any server. */
bool cluster_call(struct cluster *c, const char *command);

/* Something befalls that machine (NULL: all of them), or is over. */
void cluster_troubled(struct cluster *c, const struct sim_node *n);

/* One command after the other to hosts; 0: no more. */
void cluster_commands(struct cluster *c, int64_t every_us);

/* Everything is mended: cuts, stores, frozen and dead processes. */
void cluster_calm(struct cluster *c);
/* Runs until all is as it should be, then looks that it stays so; fails when it
 * isn't after `most_us`. */
bool cluster_settle(struct cluster *c, int64_t most_us);

/* ---- certs.c: what operators do with certificates; false: nobody to ask ---- */

bool cluster_provision(struct cluster *c, const struct sim_agent *a);
/* All that its host has is revoked, one after the other, for as long as it takes. */
void cluster_revoke(struct cluster *c, struct sim_agent *a);
bool cluster_issue(struct cluster *c);
/* A step of the rotation of the CA: "next" or "back". */
bool cluster_rotate(struct cluster *c, const char *step);
/* Once it is calm: whatever is under way is brought to its end. */
void certs_bring_to_an_end(struct cluster *c);
void certs_look(struct cluster *c); /* who is to be revoked is */
void certs_free(struct cluster *c);
/* The program around the engine: made from its files before, freed after it. */
enum err certs_agent_begin(struct sim_agent *a, struct world *w, struct why *why) MUST_CHECK;
void certs_agent_end(struct sim_agent *a);
void certs_agent_judged(struct sim_agent *a, bool new_stays, const char *sentence);
/* A command about certificates is answered by the real program; false: it is another one. */
bool certs_agent_command(struct sim_agent *a, struct agent_command *command);
/* May it stop itself? Its server has told it that it is revoked. */
bool certs_may_stop(struct sim_agent *a);
/* All certificates of its host that aren't revoked yet. */
enum err certs_of_host(struct cluster *c, const struct sim_agent *a, struct str_list *serials) MUST_CHECK;
bool certs_is_revoked(struct cluster *c, const char *serial);
bool certs_are_recorded(struct cluster *c, const char *serial);

/* ---- joins.c ---- */

/* What runs on this machine is to be a join first; false: there is nothing to join for. Called instead of a start. */
bool joins_first(struct sim_agent *a);
void joins_end(struct sim_agent *a); /* the process has ended */
/* As `muster host rejoin` and the operator of that machine. */
void cluster_rejoin(struct cluster *c, struct sim_agent *a, bool keeps_certificates);

/* ---- flights.c ---- */

/* A command to a host through a server, both drawn. false: there is no way now. */
bool cluster_command(struct cluster *c);
void flights_free(struct cluster *c);
/* An agent is made, its process is asked to run something, and ends. */
void flights_begin(struct sim_agent *a);
void flights_run(struct sim_agent *a, struct agent_command *command);
void flights_end(struct sim_agent *a);

/* ---- invariants.c ---- */

/* What must always hold. Calls sim_fail(). */
void invariants_look(struct cluster *c);
/* What must hold once the world is calm; false with a sentence: not yet. */
bool invariants_are_calm(struct cluster *c, bool long_calm, struct why *why);
/* The agent says that something has changed. */
void moves_changed(struct sim_agent *a);
/* Agents that are not on the first of their list that runs; the spread of the servers that run. */
size_t moves_behind(struct cluster *c);
size_t moves_spread(struct cluster *c);
void invariants_forget(struct cluster *c);
bool cluster_has_host(struct cluster *c, const struct sim_agent *a); /* in the store */
/* Agents with a Ready link on this server, outdated ones, hosts in the store
 * with that status. */
size_t sim_server_ready(const struct sim_server *s);
size_t cluster_outdated(struct cluster *c);
size_t cluster_resumed(struct cluster *c); /* TLS handshakes with a ticket, by those that run */
size_t cluster_put_off(struct cluster *c); /* agents that were asked to come back later, by those that run */
const char *cluster_setting(struct cluster *c, const char *name); /* as the store has it; NULL: unset */
size_t cluster_with_status(struct cluster *c, enum host_status status);
/* What the store says of a server; SERVER_DOWN also when it has never registered. */
enum server_state cluster_state_of(struct cluster *c, const struct sim_server *s);
