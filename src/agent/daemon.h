/*
 * What the files of muster-agent share: one running agent, and its commands.
 *
 *   main.c         table of contents, command line, signals
 *   settings.c     agent.properties
 *   identity.c     key, certificate and CA in the agent's folder; identity_judge.c: are they good?
 *   credentials.c  from there to the engine, and what a renewal does
 *   store_sync.c   a cloud.jks beside them is kept in step
 *   facts.c        what the machine is and does
 *   health.c       the operator's health script
 *   commands.c     which function answers which command; do_<command>.c are those functions
 *   explain.c      what it is doing, for people and programs
 *   door.c         the local socket that is asked for it
 *   join.c         what joining writes; join_main.c and explain_main.c are the subcommands
 */
#pragma once

#include <stdbool.h>

#include "agent/door.h"
#include "agent/facts.h"
#include "agent/health.h"
#include "agent/settings.h"
#include "base/fs.h"
#include "base/list.h"
#include "base/log.h"
#include "client/agent.h"
#include "net/world.h"
#include "pki/cert.h"

struct daemon {
	const char *dir;
	const struct fs *fs;
	struct world *world;
	struct log log;
	struct agent_settings settings;
	char resource_name[128];
	struct agent_file *file;     /* owned */
	struct tls_creds *creds;     /* referenced; NULL: no certificate */
	struct tls_creds *old_creds; /* referenced; while `creds` are on trial: what is gone back to. NULL: nothing */
	char identity[FINGERPRINT_TEXT]; /* identity_digest() of what `creds` were made from */
	struct cert_info cert;           /* of the same; valid while `creds` is set */
	char given_up[200];              /* why the last renewal was given up; "": it was not */
	struct agent *agent;             /* owned */

	struct facts_roots roots;
	struct facts facts;     /* as of the last startup */
	struct facts_cpu cpu;   /* as of the last GetHostStats */
	struct health *health;  /* owned; NULL: no script */
	struct door *door;      /* owned */
	struct str_list params; /* SetHostParams: "key=value" */
	struct list pings;      /* of do_ping_test.c */

	int exit_code;
	bool is_stopping;
};

/* Gives every command its function; what has none is answered as unsupported. */
void commands_run(struct daemon *d, struct agent_command *c);

/* Each answers its command exactly once, now or later. */
void do_check_health(struct daemon *d, struct agent_command *c);
void do_get_host_stats(struct daemon *d, struct agent_command *c);
void do_ping_test(struct daemon *d, struct agent_command *c);
void do_set_host_params(struct daemon *d, struct agent_command *c);
void do_check_network(struct daemon *d, struct agent_command *c);
void do_cleanup_rules(struct daemon *d, struct agent_command *c);
void do_modify_ssh_keys(struct daemon *d, struct agent_command *c);
void do_setup_keystore(struct daemon *d, struct agent_command *c);
void do_setup_certificate(struct daemon *d, struct agent_command *c);
void do_explain(struct daemon *d, struct agent_command *c);

/* ---- credentials.c ---- */

struct identity;
enum err credentials_load(struct daemon *d, struct why *why) MUST_CHECK;   /* at the start */
enum err credentials_reload(struct daemon *d, struct why *why) MUST_CHECK; /* SIGHUP */
/* Judges a new set and puts it in place; on an error nothing has changed. */
enum err credentials_renew(struct daemon *d, const struct identity *fresh, struct why *why) MUST_CHECK;
/* The engine moves to a link with it. */
void credentials_try(struct daemon *d);
/* The engine says which one stays. */
void credentials_judged(struct daemon *d, bool new_stays, const char *sentence);
void credentials_deinit(struct daemon *d);

/* A cloud.jks that is in the folder gets the certificate that is in use there (store_sync.c). */
void store_sync(struct daemon *d);

/* What the agent does and why, as one line of JSON: what the local socket is answered with. */
enum err daemon_explain(const struct daemon *d, struct buf *out) MUST_CHECK;

/* Those that are under way are dropped: their commands end with the agent. */
void pings_stop(struct daemon *d);

/* Answers with one element whose class is `type`: result and details where that class has them. NULL: out of memory. */
void *answer_add(struct batch *b, enum msg_type type, bool result, const char *details);
