/*
 * What a request says, taken apart and judged without a server: parameters by a route's specification, paging, dates,
 * the text that a signature is made of. Rules as in query-api 1.2, 1.4 and 1.12. Pure; nothing here takes memory from
 * what a caller sends without a bound.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "server/server.h"

/* HTTP statuses of the API (query-api 1.9). */
enum {
	API_OK = 200,
	API_UNAUTHORIZED = 401,
	API_LIMITED = 429,
	API_BAD_SYNTAX = 430,
	API_BAD_PARAM = 431,
	API_UNSUPPORTED = 432,
	API_UNAVAILABLE = 503,
	API_FAILED = 530,
	API_NO_AGENT = 534,
};
/* cserrorcode (query-api 1.10). */
enum {
	CS_NONE = 0, /* not sent */
	CS_RUNTIME = 4250,
	CS_VALUE = 4350,
	CS_LIMIT = 4545,
	CS_API = 9999,
};

struct api_error {
	int status;
	int code;
	struct why why;
};

enum api_type { API_UUID, API_STRING, API_BOOLEAN, API_INTEGER, API_LONG, API_DATE, API_LIST };
const char *api_type_name(enum api_type t); /* "uuid", as listApis says it */

/* What a uuid parameter names. Hosts and servers may also be named by their number or their name. */
enum api_entity { ENTITY_NONE, ENTITY_HOST, ENTITY_SERVER, ENTITY_ZONE, ENTITY_POD, ENTITY_CLUSTER };

#define API_TEXT_MAX 255
#define API_PARAMS_MAX 24

struct api_param_spec {
	const char *name; /* lower case */
	enum api_type type;
	bool required;
	const char *description;
	enum api_entity entity; /* API_UUID */
	size_t length;          /* 0: API_TEXT_MAX */
	bool hidden;            /* not in listApis */
};
struct api_value {
	bool has;
	const char *text; /* as received; belongs to the request */
	int64_t number;   /* integer, long; date: Unix ms; uuid of an entity: its id in the roster */
	bool flag;
};

/* The last parameter of that name, in any case; NULL: none. */
const char *api_param_find(const struct api_param *params, size_t n, const char *name);
/* The same, but the name has to be spelled exactly so (`command`). */
const char *api_param_exact(const struct api_param *params, size_t n, const char *name);

/* Fills one value for each spec. false: *error says why. Entities are only copied as text. */
bool api_convert(struct api_value *out, const struct api_param_spec *specs, size_t n_specs,
		 const struct api_param *params, size_t n, struct api_error *error);

struct api_paging {
	size_t first; /* index of the first item of the page */
	size_t room;  /* items on it at most */
};
/* NULL: absent. `most`: the largest and the default page, -1: unlimited. */
bool api_paging(struct api_paging *out, const int64_t *page, const int64_t *page_size, int64_t most,
		struct api_error *error);

/* 2026-01-15T08:00:02+0000, always UTC. */
#define API_DATE_TEXT 32
void api_date_format(char out[API_DATE_TEXT], int64_t unix_ms);
/* The forms of query-api 1.2; without an offset: UTC. */
bool api_date_parse(const char *text, int64_t *unix_ms, bool *has_offset);

/* The text to sign: sorted, encoded, lower case. `~` stays as it is, or becomes %7e as the reference has it. */
enum err api_signing_text(struct buf *out, const struct api_param *params, size_t n, bool encode_tilde) MUST_CHECK;
