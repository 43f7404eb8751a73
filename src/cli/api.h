/*
 * Asking a management server: its query API over the local socket, or over HTTP with signed requests.
 *
 * An answer is what stands inside the one top-level member; errors come back as a sentence that says what to do.
 */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "base/err.h"
#include "cli/cli.h"

#define API_SOCKET_DEFAULT "/run/muster/muster.sock"

struct api;

struct api_door {
	const char *socket; /* either this */
	const char *url;    /* or this, with keys */
	const char *api_key;
	const char *secret_key;
	long timeout_s; /* for one request; 0: 60 */
	bool is_terse;  /* refusals without the numbers of HTTP and CloudStack, which tell people nothing */
};

struct api_arg {
	const char *name;
	const char *value; /* NULL: not sent */
};
#define API_ARGS(...) ((const struct api_arg[]){__VA_ARGS__, {NULL, NULL}})

enum err api_open(struct api **out, const struct api_door *door, struct why *why) MUST_CHECK;
struct api *api_free(struct api *a);
/*
 * ERR_OK: *out is a new reference to the object inside the wrapper. ERR_REFUSED: the server said why. ERR_UNREACHABLE,
 * ERR_TIMEOUT, ERR_MALFORMED: no answer, or none that can be understood.
 */
enum err api_ask(struct api *a, json_t **out, const char *command, const struct api_arg *args, struct why *why)
	MUST_CHECK;

/* For commands: the door that options and environment name; NULL after a sentence on stderr. */
struct api *cli_api(struct cli *c);
/* NULL after a sentence on stderr. New references. */
json_t *cli_ask(struct cli *c, const char *command, const struct api_arg *args);
/* The same; what the server says of a parameter the user reads as the option that sent it. */
json_t *cli_ask_as(struct cli *c, const char *command, const struct api_arg *args, const char *parameter,
		   const char *option);
/* All pages of a list: a new array. */
json_t *cli_list(struct cli *c, const char *command, const char *key, const struct api_arg *args);
/* The same for answers that say more than the list: *first is the whole first one, without it; a new reference. */
json_t *cli_list_with(struct cli *c, const char *command, const char *key, const struct api_arg *args, json_t **first);
/* An asynchronous command and the result of its job; with `wait` false the answer that holds the job's id. */
json_t *cli_job(struct cli *c, const char *command, const struct api_arg *args, bool wait);

/* Members, with what to use when they are absent or of another type. */
const char *json_text(const json_t *object, const char *key, const char *fallback);
int64_t json_number(const json_t *object, const char *key, int64_t fallback);
bool json_flag(const json_t *object, const char *key, bool fallback);
/* {"count":n,"<key>":[...]} of an array, whose reference is taken. */
json_t *json_listing(const char *key, json_t *take_array);
/* "a,b,c" of an array of texts, a new string. */
char *json_joined(const json_t *array, const char *separator);
