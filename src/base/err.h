/*
 * Why something could not be done.
 *
 * Numbers never change: they travel in answers and are what an operator searches the manual for.
 * For people there is a sentence beside the number, struct why, wrapped on the way up:
 * `why_add(why, "enrol %s", name)` turns "certificate is for host-8" into
 * "enrol host-7: certificate is for host-8".
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* clang-format off */
#define ERR_LIST(X)                                                     \
	X(ERR_OK,           0, "ok")                                    \
	X(ERR_NOMEM,        1, "out of memory")                         \
	X(ERR_MALFORMED,    2, "not well formed")                       \
	X(ERR_TOO_BIG,      3, "over the agreed limit")                 \
	X(ERR_REFUSED,      4, "refused by policy")                     \
	X(ERR_CONFLICT,     5, "changed by someone else in between")    \
	X(ERR_NOT_FOUND,    6, "not found")                             \
	X(ERR_EXISTS,       7, "exists already")                        \
	X(ERR_INVALID,      8, "value is not allowed")                  \
	X(ERR_UNSUPPORTED,  9, "not supported")                         \
	X(ERR_TIMEOUT,     10, "took too long")                         \
	X(ERR_CLOSED,      11, "closed by the other side")              \
	X(ERR_UNREACHABLE, 12, "not reachable")                         \
	X(ERR_NO_NAME,     13, "name does not resolve")                 \
	X(ERR_TLS,         14, "TLS failed")                            \
	X(ERR_UNTRUSTED,   15, "certificate not trusted")               \
	X(ERR_EXPIRED,     16, "expired")                               \
	X(ERR_REVOKED,     17, "revoked")                               \
	X(ERR_IO,          18, "input or output failed")                \
	X(ERR_STORE,       19, "the store failed")                      \
	X(ERR_BUSY,        20, "busy")                                  \
	X(ERR_FULL,        21, "no room")                               \
	X(ERR_STOPPED,     22, "stopping")                              \
	X(ERR_DUPLICATE,   23, "there twice")                           \
	X(ERR_DAMAGED,     24, "damaged")                               \
	X(ERR_NEWER,       25, "made by a newer program")               \
	X(ERR_STATE,       26, "not possible in this state")
/* clang-format on */

enum err {
#define X(name, number, text) name = number,
	ERR_LIST(X)
#undef X
};
/* How many there are: the numbers go on without a hole. */
#define X(name, number, text) +1
enum { ERR_COUNT = ERR_LIST(X) };
#undef X

#define MUST_CHECK __attribute__((warn_unused_result))

/* The name as people search for it ("ERR_MALFORMED" is "malformed") and the general sentence. Never NULL. */
const char *err_name(enum err e);
const char *err_text(enum err e);

/* A sentence for people. It lives on the stack of whoever handles the error; too long text is cut. */
struct why {
	char text[384];
};

#define WHY_NONE ((struct why){.text = ""})

/* Sets the sentence. `why` may be NULL everywhere: then nothing is said. */
void why_set(struct why *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts "format: " before what is there. */
void why_add(struct why *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The sentence or, when nothing was said, the general text of `e`. */
const char *why_text(const struct why *why, enum err e);
