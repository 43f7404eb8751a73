/*
 * Scripted agents that take new certificates: what test_provision.c and test_renewal.c share. Keys, requests and
 * certificates are real, only TLS isn't.
 */
#pragma once

#include "engine_bench.h"

struct keeper {
	struct script *script;
	struct node *at;        /* where it connects with a new certificate */
	size_t n_keys, n_certs; /* commands answered so far */
	/* What it does: */
	const char *csr; /* its request; NULL: one of its own */
	bool refuses_key, refuses_cert;
	bool is_mute;    /* takes its certificate and says nothing */
	bool never_uses; /* takes it and goes on with the old one */
	/* What it has: */
	char *key;             /* owned */
	struct cert_info cert; /* the newest that it was sent */
	char *pem, *trusted;   /* owned; the same as text, and the CA certificates */
};

void keeper_init(struct keeper *k, struct engine_bench *e, struct node *at, const struct agent_script *as);
void keeper_deinit(struct keeper *k); /* before engine_down() */
/* Connected, and ready. */
void keeper_connect(struct keeper *k);
/* Answers what has come since; true: something had. */
bool keeper_step(struct keeper *k);
/* Lets time pass, and all of them answer. */
void keepers_run(struct keeper *k, size_t n, int64_t ms);

/* A certificate request of this agent, new string; role and id as it likes. */
char *keeper_request(struct keeper *k, enum cert_role role, const char *id);
/* Has another link with the certificate that it was sent; a muster agent leaves the old one then. */
void keeper_use(struct keeper *k);

/* Begins provisionCertificate on that server; the job's id. */
void provision_ask(struct engine_bench *e, struct node *on, const char *guid, char job[UUID_TEXT]);
/* How it stands: the answer of queryAsyncJobResult, mem_free() it. */
char *provision_job(struct engine_bench *e, struct node *on, const char *job);
/* Events of that type as JSON, mem_free() it. */
char *events_of(struct engine_bench *e, struct node *on, const char *type);
size_t count_of(const char *text, const char *part);
/* Certificates that were issued for this guid, as the store has them. */
size_t issued_for(struct engine_bench *e, const char *guid);
