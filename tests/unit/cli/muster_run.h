/*
 * Runs the program itself, against a server that answers from a table, and compares what it prints with golden files.
 *
 * The program finds no settings of ours in its environment, prints dates in UTC, and its stdin is empty unless said.
 * MUSTER_GOLDEN_UPDATE=1 writes the golden files anew instead of comparing; look at the difference before committing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* What is in `request`, for which command, is answered with this status and body. The last row has no command. */
struct fake_answer {
	const char *command;
	const char *with; /* a text that must stand in the decoded "name=value" lines; NULL: any */
	int status;       /* 0: 200 */
	const char *body;
};

struct fake_server;

struct fake_server *fake_server_start(const struct fake_answer *answers);
struct fake_server *fake_server_stop(struct fake_server *s);
const char *fake_server_socket(const struct fake_server *s);
/* "http://127.0.0.1:PORT": the same answers over TCP. */
const char *fake_server_url(const struct fake_server *s);
/* All requests so far, each as lines "name=value" sorted by name and then an empty line. */
const char *fake_server_requests(struct fake_server *s);
void fake_server_forget(struct fake_server *s);

struct ran {
	int exit_code; /* -1: ended by a signal */
	struct buf out, err;
};

struct run {
	const struct fake_server *server; /* NULL: none; its socket is named with --socket */
	const char *input;                /* stdin */
	const char *const *environment;   /* "NAME=value" in addition, ends with NULL */
	unsigned terminal_width;          /* stdout is a terminal as wide as that; 0: a file */
	const char *typed;                /* stdin is that terminal too, and somebody types this; NULL: nobody */
};

/* `words` are separated by single blanks; what follows a '\'' up to the next is one word. */
void muster_run(struct ran *out, const struct run *how, const char *words);
void ran_deinit(struct ran *r);
/* Compares with tests/golden/cli/<name>.ok, byte for byte. */
void golden_check(const char *name, const struct buf *text);
