/*
 * What the engine's tests share: real servers on the fake world (virtual time, streams and files in memory) with one
 * store in memory, and scripted agents that do what a test tells them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fake_world.h"
#include "server/internal.h"

#define A_IP "10.0.0.1"
#define B_IP "10.0.0.2"
#define C_IP "10.0.0.3"

struct engine_bench;

/* One management server. */
struct node {
	struct engine_bench *bench;
	struct store *store;
	struct server *server;
	bool store_fails;
	bool fails_while_making; /* the same, while it has a certificate of its own under way */
	bool drops_claims;       /* links end while their claim is on its way */
	struct later drop;
	bool was_started, was_gone;
	unsigned n_stop_asked;
	enum err start_result;
};

struct engine_bench {
	struct fake_world *f;
	struct world *world;
	char store_name[64];
	struct node a, b;
	bool without_cluster_key; /* for the nodes made from now on */
	bool with_rsa;            /* the same */
	const char *server_name;  /* the same; NULL: its address */
	struct list agents;
};

void engine_up(struct engine_bench *e);    /* with server a, started */
void engine_down(struct engine_bench *e);  /* frees everything that is left */
void engine_world(struct engine_bench *e); /* the world alone */
void node_make(struct engine_bench *e, struct node *n, const char *ip);
void node_start(struct node *n);
void node_add(struct engine_bench *e, struct node *n, const char *ip); /* made, started, running */
void node_kill(struct node *n);                                        /* server_free(), as in a crash */
void engine_run(struct engine_bench *e, int64_t ms);
/* A setting, as an operator would set it through some server. */
void engine_config(struct engine_bench *e, const char *name, const char *value);
/* Something else in the store. */
void engine_store(struct engine_bench *e, enum err (*run)(struct store_tx *tx, void *arg, struct why *why), void *arg);
void engine_delete_host(struct engine_bench *e, int64_t id);
/* As if a certificate with that serial had been issued for the host. */
void engine_issued(struct engine_bench *e, const char *serial, const char *guid);
bool engine_is_issued(struct engine_bench *e, const char *pem); /* that very certificate, says the store */
/* How many events of that type there are, of those whose text has the part (NULL: any). */
size_t engine_count_events(struct engine_bench *e, const char *type, const char *part);
void engine_allow_weaker(struct engine_bench *e, int64_t id);
void engine_revoke(struct engine_bench *e, const char *serial);
/* The state of a server as another one or an operator changes it; a drain with what is asked of it (but for msid). */
void engine_server_event(struct engine_bench *e, struct node *n, enum server_event event);
void engine_ask_drain(struct engine_bench *e, struct node *n, const struct drain_row *ask);
struct drain_row engine_drain(struct engine_bench *e, int64_t msid); /* drain_row_deinit() it */
void engine_resource_state(struct engine_bench *e, int64_t id, enum resource_event event);
struct host_row engine_row(struct engine_bench *e, int64_t id); /* host_row_deinit() it */

/* A command of the query API, as over the local socket; the answer as compact JSON, mem_free() it. */
char *engine_ask(struct engine_bench *e, struct node *on, const struct api_param *params, size_t n, int *status);

/* ---- scripted agents ---- */

enum identity { ID_URI, ID_SAN, ID_NONE, ID_SERVER };

struct agent_script {
	const char *guid;
	const char *ip;
	enum identity identity;
	bool is_muster;
	const char *boot;    /* muster */
	const char *list;    /* reported; NULL: none */
	int64_t boot_number; /* 0: none */
	bool was_sent;       /* by another server */
	const char *zone;    /* NULL: default */
	const char *key;     /* of its certificate; NULL: one of its own */
	const char *type;    /* NULL: as the message has it, none */
	const char *public_ip, *private_ip;
	const char *name; /* NULL: the guid */
	/* Of its certificate; 0: long lives. */
	int64_t not_before_s, not_after_s;
};

struct script {
	struct engine_bench *bench;
	struct list in_agents;
	struct agent_script as;
	struct tls_creds *creds;
	struct link *link; /* NULL: closed */
	struct list old_links;
	int64_t link_number;
	int64_t seq;
	/* of the next startup: */
	const char *purpose; /* NULL: none */
	int64_t put_off;
	bool silent_ready; /* does not answer ReadyCommand */
	bool refuses_lists;
	bool silent;           /* answers nothing at all */
	bool no_startup;       /* says nothing when the link is up */
	const char *explained; /* JSON that it answers ExplainCommand with; NULL: it doesn't */
	bool explains_nothing; /* it doesn't know that command */
	struct fake_message messages[400];
	size_t n;
	size_t n_closed;
};

struct script *script_new(struct engine_bench *e, const struct agent_script *as);
struct script *script_free(struct script *a);
/* Dials and, once up, sends a startup with the next link number. Keeps an older link. */
void script_dial(struct script *a, struct node *n);
void script_startup(struct script *a);        /* on the newest link, with the next link number */
void script_hang_up(struct script *a);        /* the newest link */
void script_hang_up_oldest(struct script *a); /* another one */
void script_back_to_oldest(struct script *a); /* after a hang-up: that one is the newest now */
bool script_is_open(const struct script *a);
int64_t script_send(struct script *a, enum msg_type type, void (*fill)(void *fields));
void script_answer(struct script *a, const struct fake_message *request, enum msg_type type, bool result);
/* With fields of its own, on the newest link; fill() sets `result`, too. */
void script_answer_with(struct script *a, const struct fake_message *request, enum msg_type type,
			void (*fill)(void *fields, const void *arg), const void *arg);
/* The certificate that it shows on links from now on. */
void script_certificate(struct script *a, const struct cert_info *cert);
const struct fake_message *script_got(const struct script *a, enum msg_type type, size_t n);
size_t script_count(const struct script *a, enum msg_type type);
void script_forget(struct script *a); /* what came so far */

struct host *host_of(struct node *n, const char *guid);
enum host_status status_in_store(struct engine_bench *e, int64_t id);
