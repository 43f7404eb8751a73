/*
 * What the files of the query API share.
 *
 * A request is a struct api_call from server_api() to its one answer. It is authenticated (api_auth.c), its parameters
 * are converted as its route says (api_params.c), its handler answers with one of api_answer..() or api_fail(), at once
 * or after the store has been asked. Routes are tables of the api_*.c files, each with the right it needs; what
 * listApis says comes from them.
 */
#pragma once

#include "server/api_params.h"
#include "server/internal.h"

struct api_call;

enum api_right {
	RIGHT_ANY,   /* any account */
	RIGHT_ADMIN, /* an account of role admin, or the local socket */
};

struct api_field { /* of a response, for listApis */
	const char *name, *type, *description;
};

struct api_route {
	const char *name; /* case-sensitive */
	void (*handle)(struct api_call *c);
	enum api_right right;
	bool is_async;
	bool is_list;
	bool is_read; /* GET; otherwise it changes something */
	const char *description;
	const struct api_param_spec *params;
	size_t n_params;
	const struct api_field *fields;
	size_t n_fields;
	int64_t page_most; /* lists: overrides default.page.size; 0: not */
};
#define ROUTE_PARAMS(a) .params = (a), .n_params = ARRAY_SIZE(a)
#define ROUTE_FIELDS(a) .fields = (a), .n_fields = ARRAY_SIZE(a)
/* clang-format off */
#define API_LIST_PARAMS                                                                                    \
	{"keyword", API_STRING, false, "Part of what is looked for", ENTITY_NONE, 0, false},                \
	{"page", API_INTEGER, false, "Number of the page, from 1", ENTITY_NONE, 0, false},                  \
	{"pagesize", API_INTEGER, false, "Items on a page; -1: all", ENTITY_NONE, 0, false}
#define API_ASYNC_PARAMS                                                                                   \
	{"customjobid", API_UUID, false, "Id for the job", ENTITY_NONE, 0, true}
/* clang-format on */

struct api_routes {
	const struct api_route *routes;
	size_t n;
};
extern const struct api_routes api_hosts_routes, api_host_change_routes, api_host_jobs_routes, api_servers_routes,
	api_config_routes, api_jobs_routes, api_tokens_routes, api_accounts_routes, api_events_routes,
	api_discovery_routes, api_status_routes, api_places_routes, api_maintenance_routes, api_placement_routes,
	api_freeze_routes, api_list_servers_routes, api_explain_routes, api_rolling_routes, api_ca_routes,
	api_provision_routes, api_rotation_routes, api_certs_routes, api_cert_change_routes;
/* All routes, in a fixed order; NULL at the end. */
const struct api_route *api_route_at(size_t i);
const struct api_route *api_route_find(const char *name);

struct api_call {
	struct server *server;
	struct list in_calls;
	const struct api_route *route; /* NULL: none of ours */
	struct api_param *params;      /* owned, texts too */
	size_t n_params;
	struct api_value values[API_PARAMS_MAX];
	struct api_paging paging; /* of lists */
	bool is_local;
	char address[64];
	char *account; /* who asks; "local" on the local socket */
	void *state;   /* the handler's; freed with the call */
	void (*state_free)(void *state);
	/* One question to the store at a time. */
	struct entry entry;
	enum err (*run)(struct store_tx *tx, struct api_call *c, struct why *why);
	void (*then)(struct api_call *c, enum err result, const char *sentence);
	bool is_write;
	struct follow_wait wait;                            /* until memory has what was written */
	void (*done)(void *user, int status, json_t *body); /* NULL: nobody waits any more */
	void *user;
};

/* What hangs off struct server. */
struct api {
	struct list calls;
	struct list jobs;     /* api_jobs.c: running here */
	struct strays strays; /* api_auth.c: whose requests failed lately */
};
struct api *api_of(struct server *s); /* NULL: out of memory */

/* ---- parameters; the name must be one of the route's ---- */

const char *api_text(const struct api_call *c, const char *name); /* NULL: absent */
bool api_has(const struct api_call *c, const char *name);
bool api_flag(const struct api_call *c, const char *name); /* absent: false */
int64_t api_number(const struct api_call *c, const char *name, int64_t fallback);

/* ---- answers: each frees the call ---- */

void api_answer(struct api_call *c, json_t *take_inner);
void api_answer_object(struct api_call *c, const char *name, json_t *take_object);
void api_answer_success(struct api_call *c);
/* A page of a list; `count` is the number of matches on all pages. */
void api_answer_list(struct api_call *c, const char *name, json_t *take_page, size_t count);
void api_fail(struct api_call *c, int status, int code, const char *format, ...) __attribute__((format(printf, 4, 5)));
/* An error of the store or of a rule as the API tells it. */
void api_fail_err(struct api_call *c, enum err why, const char *sentence);
/* Items of `count` that are on the page: first .. end - 1. */
void api_page(const struct api_call *c, size_t count, size_t *first, size_t *end);
/* The call is authenticated: converts its parameters and runs its handler. */
void api_go(struct api_call *c);

/* ---- the store ---- */

typedef enum err api_run_fn(struct store_tx *tx, struct api_call *c, struct why *why);
typedef void api_then_fn(struct api_call *c, enum err result, const char *sentence);
/*
 * run() in a transaction on the store lane (perhaps more than once), then() on the loop. It may read c->state and
 * c->values, nothing of the server.
 */
void api_read(struct api_call *c, api_run_fn *run, api_then_fn *then);
/* The same for changes: others hear of them, and then() comes when this server's memory has them too. */
void api_write(struct api_call *c, api_run_fn *run, api_then_fn *then);
/* ---- putting JSON together; NULL and 0 dates are left out ---- */

void api_put_text(json_t *o, const char *name, const char *text);
void api_put_number(json_t *o, const char *name, int64_t n);
void api_put_flag(json_t *o, const char *name, bool flag);
void api_put_date(json_t *o, const char *name, int64_t unix_ms);
void api_put_texts(json_t *o, const char *name, const struct str_list *l);
/* Any text as JSON, also one that is not UTF-8. */
json_t *api_json_text(const char *text);
/* Does text have `part` in it, in any case? A NULL part is in everything. */
bool api_contains(const char *text, const char *part);
/* No filter (NULL), or equal in any case. */
bool api_matches(const char *text, const char *filter);

/* ---- api_auth.c ---- */

/* Ends in api_go() or in an answer. */
void api_authenticate(struct api_call *c);

/* ---- api_host_object.c ---- */

enum host_detail { DETAIL_MIN = 0, DETAIL_PLACE = 1, DETAIL_CAPACITY = 2, DETAIL_EVENTS = 4, DETAIL_ALL = 15 };
/* What a host's list says about where it is. */
struct host_view {
	const char *list; /* reported or confirmed; NULL: never */
	int64_t interval;
	char preferred[SERVER_HOST_MAX + 9]; /* first of the list; "": none */
	const struct member_server *owner;   /* NULL: none */
	/* The first of the list that takes agents, if that one stands before the owner and isn't the preferred one: a
	 * muster agent goes there meanwhile. NULL: none. */
	const struct member_server *better;
	bool is_up, is_outdated, is_off_preferred; /* the last two of hosts that are up */
	bool reconnecting;
	bool suspect;     /* attached here and silent */
	const char *link; /* "up", "suspect", "reconnecting"; NULL: it has none */
};
/* `row` is the newest that is known of the host; it may be the roster's own. */
void host_view_make(struct host_view *v, struct server *s, const struct host_row *row);
/* Does an entry of the host's list mean that server? */
bool host_entry_is(const struct server *s, const struct host_row *row, const char *entry,
		   const struct server_row *server);
/* details: bits of enum host_detail. NULL: out of memory. */
json_t *host_object(struct server *s, const struct host_row *row, unsigned details);
/* The answer's row is newer than what a roster knows of hosts that are elsewhere: list and interval are taken over. */
void host_learn(struct server *s, const struct host_row *row);
/* Its members, for listApis. */
#define HOST_N_FIELDS 59
extern const struct api_field host_fields[HOST_N_FIELDS];
const struct place_row *api_place(const struct server *s, enum place_kind kind, int64_t id);

/* ---- api_host_pages.c ---- */

struct host_pages {
	bool (*is_wanted)(struct api_call *c, const struct host_row *row);
	json_t *(*object)(struct server *s, const struct host_row *row, unsigned details);
	void (*answer)(struct api_call *c, json_t *take_page, size_t count); /* count: on all pages */
	unsigned details;
};
/* Answers with the page that was asked for; may take several turns. */
void api_answer_host_pages(struct api_call *c, const struct host_pages *p);

/* ---- api_placement.c, api_list_servers.c ---- */

/* An entry of the lists with what operators have said of it and the server that it means. */
json_t *api_list_server_object(struct server *s, const char *entry, const struct list_server_row *said);
/* The first entry of the lists that means this server; NULL: none. */
const char *api_list_entry(const struct server *s, const struct server_row *row);

/* ---- api_freeze.c ---- */

/* Would it go to its preferred server now, if moves were not frozen? */
bool api_freeze_keeps(struct server *s, const struct host_row *row, const struct host_view *v);
json_t *api_freeze_object(struct server *s);
/* "Moves are frozen since ... by ...: ..." */
void api_freeze_sentence(struct why *why, const struct freeze *f);

/* ---- api_rolling.c ---- */

json_t *api_rolling_object(struct server *s);

/* ---- api_maintenance.c ---- */

/* Every agent of every server looks for its preferred server. */
void api_rebalance_all(struct server *s);
/* What was asked of a drain and how far it is. */
json_t *api_drain_object(const struct drain_row *row, enum server_state state);
struct drain_rows {
	struct drain_row *rows;
	size_t n;
};
/* In a transaction; replaces what was there. */
enum err drain_rows_read(struct drain_rows *d, struct store_tx *tx) MUST_CHECK;
void drain_rows_deinit(struct drain_rows *d);
const struct drain_row *drain_rows_find(const struct drain_rows *d, int64_t msid); /* NULL: none */

/* ---- api_host_jobs.c ---- */

/* Has its agent connect again, wherever it is. ERR_STATE: it is not connected; ERR_UNREACHABLE: its server isn't. */
enum err host_reconnect(struct server *s, struct host *h) MUST_CHECK;

/* ---- api_jobs.c ---- */

struct api_job {
	struct server *server;
	struct list in_jobs;
	struct entry entry;
	struct job_row row;
	int64_t trim_before_ms; /* finished jobs older than this are dropped when it begins */
	struct timer again;
	int64_t host_id;
	bool is_secret;                   /* its result */
	char key_id[CLUSTER_KEY_ID_TEXT]; /* of the cluster key that it is sealed under; "": it isn't */
	json_t *object;                   /* of the handler; freed with the job */
	void *state;                      /* the same */
	void (*state_free)(void *state);
	void (*work)(struct api_job *j);
};
/*
 * Stores a job about a host (NULL: about none), answers with its id, then work(), which must end it with one of
 * api_job_...(). The object is taken over, may be NULL.
 */
void api_job_begin(struct api_call *c, const struct host *h, json_t *take_object, void (*work)(struct api_job *j));
void api_job_succeed(struct api_job *j, json_t *take_result);
/* The same for a result with a private key in it: sealed in the store, shown to who asked for it and on local sockets.
 * Needs the cluster key. */
void api_job_succeed_secret(struct api_job *j, json_t *take_result);
void api_job_fail(struct api_job *j, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
void api_jobs_deinit(struct api *a);

/* ---- api_tokens.c ---- */

struct api_token { /* a token on its way into the store; what is shown once */
	struct token_row row;
	char *text;
};
void api_token_free(struct api_token *t);
struct api_token_wish {
	const char *role;               /* agent or server */
	int64_t lifetime_s;             /* 0: the setting */
	int64_t uses;                   /* 0: one */
	const char *name, *guid, *zone; /* that it is for; NULL: any */
	int64_t host_id;                /* 0: none, or it is set later, in the transaction */
	bool keeps_certificates;
};
enum err api_token_make(struct api_token *out, struct server *s, const struct api_token_wish *w) MUST_CHECK;
