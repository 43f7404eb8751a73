/*
 * A whole management server in a test: the real world (libuv, threads), a store in memory, a folder that is removed.
 * Nothing sleeps: bench_until() turns the loop until a condition holds.
 */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "net/world_uv.h"
#include "server/internal.h"

struct bench {
	struct world *world;
	struct store *store;
	struct server *server;
	struct log log;
	char dir[64];
	char store_name[64];
	/* of the last answer */
	int status;
	json_t *body;
	char *text; /* the same, compact */
};

/* cmocka set-up and tear-down: *state is the struct bench. */
int bench_up(void **state);
int bench_down(void **state);

/* Turns the loop; fails the test after 20 s. */
void bench_until(struct bench *b, bool (*holds)(struct bench *b, void *arg), void *arg);

/* "command=listHosts&page=1", %XX is decoded; as root over the local socket. Returns the status. */
int bench_ask(struct bench *b, const char *query);
/* The same over the network, as it is. */
int bench_ask_from(struct bench *b, const char *address, const char *query);
/* The same, with apiKey and signature put at the end. */
int bench_ask_signed(struct bench *b, const char *address, const char *key, const char *secret, const char *query);

/* The text at "getmusterstatusresponse/musterstatus/servers/0/name" of the last answer; numbers and bools as text.
 * NULL: not there. */
const char *bench_at(struct bench *b, const char *path);

/* Runs a function in the store and waits until this server's memory has what it changed. */
void bench_store(struct bench *b, enum err (*run)(struct store_tx *tx, void *arg), void *arg);
/* A host as its startup would make it; status by events. Returns its id. */
int64_t bench_host(struct bench *b, const char *name, int64_t owner, enum host_status status, const char *list);
