/*
 * A request is collected (query string, form body), handed to server_api(), and suspended until the answer is there.
 * The daemon's descriptor is watched by the loop; its time-outs are a timer.
 *
 * Limits: a body of 1 MiB and 5000 parameters (query-api 1.1), 1000 connections, 60 s without a byte.
 *
 * Beside the API there are pages, for everybody who reaches the port: health, metrics, the revocation list.
 */
#include "server/http.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <microhttpd.h>
#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
#include "net/world_uv.h"

#define BODY_MAX (1024 * 1024)
#define PARAMS_MAX 5000
#define CONNECTIONS_MAX 1000
#define IDLE_S 60
#define STOPPING "this management server is stopping"

struct door { /* one listening socket */
	struct http *http;
	struct MHD_Daemon *daemon;
	int fd;
	bool is_local;
	bool running_again;
	uv_poll_t poll;
	bool polling;
	struct timer timer;
};

struct http {
	struct world *world;
	const struct log *log;
	struct server *server;
	char *socket_path;
	struct door *doors[2];
	size_t n_doors;
	struct list requests;
	size_t closing;
	bool ending;
	/* The revocation list: one copy, whoever asks for it. */
	struct MHD_Response *crl_pem, *crl_der; /* NULL: nobody has asked for this version */
	uint64_t crl_version;
	/* The same of metrics. */
	struct MHD_Response *metrics; /* NULL: out of memory, or nobody has asked */
	uint64_t metrics_version;
	bool is_watched; /* from the API port, too */
};

struct param {
	char *name, *value;
};

struct request {
	struct list in_requests;
	struct door *door;
	struct MHD_Connection *connection;
	struct MHD_PostProcessor *post;
	size_t body;
	struct param *params;
	size_t n, cap;
	size_t n_body; /* the first ones are from the body */
	enum err error;
	bool asked, suspended, answered;
	bool for_metrics; /* asked for them, not for the API */
	int status;
	json_t *answer; /* owned */
	char address[64];
};

/* ---- one request ---- */

/* The one text of an answer that is a secret and nobody else's (api_cert_change.c). */
static void wipe_key(const json_t *answer)
{
	const json_t *v = json_object_get(answer, "queryasyncjobresultresponse");

	v = json_object_get(json_object_get(json_object_get(v, "jobresult"), "certificates"), "privatekey");
	if (json_is_string(v))
		mem_wipe((void *)(uintptr_t)json_string_value(v), json_string_length(v));
}

static void request_free(struct request *r)
{
	wipe_key(r->answer);
	if (r->post)
		MHD_destroy_post_processor(r->post);
	for (size_t i = 0; i < r->n; i++) {
		mem_free(r->params[i].name);
		mem_free(r->params[i].value);
	}
	mem_free(r->params);
	json_decref(r->answer);
	list_remove(&r->in_requests);
	mem_free(r);
}

static enum err add_param(struct request *r, const char *name, const char *value, size_t n)
{
	struct param *p;

	if (r->n >= PARAMS_MAX)
		return ERR_TOO_BIG;
	if (r->n == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 16;
		void *grown = mem_grow_array(r->params, cap, sizeof(*r->params));

		if (!grown)
			return ERR_NOMEM;
		r->params = grown;
		r->cap = cap;
	}
	p = &r->params[r->n];
	p->name = mem_strdup(name);
	p->value = mem_strndup(value ? value : "", n);
	if (!p->name || !p->value) {
		mem_free(p->name);
		mem_free(p->value);
		return ERR_NOMEM;
	}
	r->n++;
	return ERR_OK;
}

static struct param *find_param(struct request *r, const char *name, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (strcmp(r->params[i].name, name) == 0)
			return &r->params[i];
	return NULL;
}

/* A form body comes in pieces; the first of equal names wins, and pieces of one value follow each other. */
static enum MHD_Result on_post(void *user, enum MHD_ValueKind kind, const char *key, const char *filename,
			       const char *content_type, const char *encoding, const char *data, uint64_t offset,
			       size_t size)
{
	struct request *r = user;
	struct param *p;
	char *longer;
	size_t had;

	if (offset == 0) {
		if (!find_param(r, key, 0, r->n))
			r->error = add_param(r, key, data, size);
		return r->error ? MHD_NO : MHD_YES;
	}
	p = find_param(r, key, 0, r->n);
	had = p ? strlen(p->value) : 0;
	if (!p || had != offset)
		return MHD_YES; /* more of a repeated name */
	longer = mem_grow_array(p->value, had + size + 1, 1);
	if (!longer) {
		r->error = ERR_NOMEM;
		return MHD_NO;
	}
	memcpy(longer + had, data, size);
	longer[had + size] = 0;
	p->value = longer;
	return MHD_YES;
}

/* The query string overrides the body; of equal names in it the last wins (query-api 1.2). */
static enum MHD_Result on_query(void *user, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct request *r = user;
	struct param *old = find_param(r, key, 0, r->n);

	if (old) {
		char *copy = mem_strdup(value ? value : "");

		if (!copy) {
			r->error = ERR_NOMEM;
			return MHD_NO;
		}
		mem_free(old->value);
		old->value = copy;
		return MHD_YES;
	}
	r->error = add_param(r, key, value, value ? strlen(value) : 0);
	return r->error ? MHD_NO : MHD_YES;
}

static void text_free(void *text)
{
	mem_wipe(text, strlen(text));
	free(text);
}

/* Answers may hold a private key: the text is wiped when it is sent. */
static enum MHD_Result send_answer_text(struct MHD_Connection *c, unsigned status, char *take_text)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer_with_free_callback(strlen(take_text), take_text, text_free);
	enum MHD_Result result;

	if (!response) {
		text_free(take_text);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json; charset=UTF-8");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	result = MHD_queue_response(c, status, response);
	MHD_destroy_response(response);
	return result;
}

#define TEXT_TYPE "text/plain; charset=UTF-8"

/* `allow`: the methods there are, of an answer that says so; NULL: none such. */
static enum MHD_Result send_text_allow(struct MHD_Connection *c, unsigned status, const char *text, const char *allow)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, TEXT_TYPE);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (allow)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
	result = MHD_queue_response(c, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result send_text(struct MHD_Connection *c, unsigned status, const char *text)
{
	return send_text_allow(c, status, text, NULL);
}

static enum MHD_Result send_answer(struct request *r)
{
	char *text = json_dumps(r->answer, JSON_COMPACT);

	return text ? send_answer_text(r->connection, (unsigned)r->status, text) : MHD_NO;
}

static void door_run(struct door *d);

static void have_answer(struct request *r)
{
	r->answered = true;
	if (r->suspended) {
		r->suspended = false;
		MHD_resume_connection(r->connection);
		/* The daemon notices resumed connections on its next run. */
		timer_set_in(r->door->http->world, &r->door->timer, 0);
	}
}

static void on_answer(void *user, int status, json_t *body)
{
	struct request *r = user;

	r->status = status;
	r->answer = json_incref(body);
	have_answer(r);
}

static void ask(struct request *r)
{
	struct api_caller caller = {.is_local = r->door->is_local, .address = r->address};
	struct api_param *params = mem_zalloc_array(r->n ? r->n : 1, sizeof(*params));

	r->asked = true;
	if (!params) {
		json_t *body = json_pack("{s:{s:[],s:i,s:s}}", "errorresponse", "uuidList", "errorcode", 530,
					 "errortext", "out of memory");

		on_answer(r, 530, body);
		json_decref(body);
		return;
	}
	for (size_t i = 0; i < r->n; i++)
		params[i] = (struct api_param){.name = r->params[i].name, .value = r->params[i].value};
	server_api(r->door->http->server, &caller, params, r->n, on_answer, r);
	mem_free(params);
}

/* ---- the revocation list ---- */

static void crl_forget(struct http *h)
{
	if (h->crl_pem)
		MHD_destroy_response(h->crl_pem);
	if (h->crl_der)
		MHD_destroy_response(h->crl_der);
	h->crl_pem = h->crl_der = NULL;
}

static struct MHD_Response *crl_response(const void *data, size_t n, const char *type)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(n, (void *)(uintptr_t)data, MHD_RESPMEM_MUST_COPY);

	if (!r)
		return NULL;
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "max-age=60");
	MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
	return r;
}

static enum MHD_Result send_crl(struct request *r, bool as_pem)
{
	struct http *h = r->door->http;
	struct MHD_Response **response = as_pem ? &h->crl_pem : &h->crl_der;
	struct server_crl crl;
	char text[160];

	if (!server_crl(h->server, &crl) || (!as_pem && !crl.parts[0].signs)) {
		snprintf(text, sizeof(text), "%s\n", crl.why_none);
		return send_text(r->connection, MHD_HTTP_NOT_FOUND, text);
	}
	if (crl.version != h->crl_version)
		crl_forget(h);
	h->crl_version = crl.version;
	/*
	 * In DER there is room for one: that of the CA that signs. The types' own names: RFC 5280 has DER in mind; what
	 * is text should open as one.
	 */
	if (!*response)
		*response = as_pem ? crl_response(crl.pem, strlen(crl.pem), "application/x-pem-file")
				   : crl_response(crl.parts[0].der.data, crl.parts[0].der.len, "application/pkix-crl");
	return *response ? MHD_queue_response(r->connection, MHD_HTTP_OK, *response) : MHD_NO;
}

static enum MHD_Result send_crl_pem(struct request *r)
{
	return send_crl(r, true);
}

static enum MHD_Result send_crl_der(struct request *r)
{
	return send_crl(r, false);
}

/* ---- metrics ---- */

static void metrics_forget(struct http *h)
{
	if (h->metrics)
		MHD_destroy_response(h->metrics);
	h->metrics = NULL;
}

/* One response for whoever gets this text: it may be asked for as often as anybody likes. */
static void metrics_keep(struct http *h, const struct server_metrics *m)
{
	struct MHD_Response *r;

	if (m->text && h->metrics && h->metrics_version == m->version)
		return;
	metrics_forget(h);
	if (!m->text)
		return;
	r = MHD_create_response_from_buffer(m->n, (void *)(uintptr_t)m->text, MHD_RESPMEM_MUST_COPY);
	if (!r)
		return;
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
	MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
	h->metrics = r;
	h->metrics_version = m->version;
}

static void on_metrics(void *user, const struct server_metrics *m)
{
	struct request *r = user;

	metrics_keep(r->door->http, m);
	have_answer(r);
}

static enum MHD_Result send_metrics(struct request *r)
{
	struct http *h = r->door->http;

	if (h->metrics)
		return MHD_queue_response(r->connection, MHD_HTTP_OK, h->metrics);
	return send_text(r->connection, MHD_HTTP_SERVICE_UNAVAILABLE, h->ending ? STOPPING "\n" : "out of memory\n");
}

static enum MHD_Result ask_for_metrics(struct request *r)
{
	r->asked = r->for_metrics = true;
	server_metrics(r->door->http->server, on_metrics, r);
	if (r->answered)
		return send_metrics(r);
	r->suspended = true;
	MHD_suspend_connection(r->connection);
	return MHD_YES;
}

/* ---- health ---- */

static enum MHD_Result send_health(struct request *r)
{
	struct server_health health;

	server_health(r->door->http->server, &health);
	return send_text(r->connection, health.serves ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, health.text);
}

/* That the loop answers is all that is said: for whoever would kill a process that doesn't. */
static enum MHD_Result send_alive(struct request *r)
{
	return send_text(r->connection, MHD_HTTP_OK, "ok\n");
}

/* ---- pages: whatever is not the API; GET and HEAD ---- */

static enum MHD_Result send_start(struct request *r)
{
	return send_text(r->connection, MHD_HTTP_OK, "muster: the query API is at /client/api\n");
}

static const struct page {
	const char *path;
	enum MHD_Result (*send)(struct request *r);
	bool is_watch; /* setting api.metrics says whether the API port has it */
} pages[] = {
	/* clang-format off */
	{"/",        send_start,      false},
	{"/livez",   send_alive,      true},
	{"/healthz", send_health,     true},
	{"/metrics", ask_for_metrics, true},
	{"/crl.pem", send_crl_pem,    false},
	{"/crl.der", send_crl_der,    false},
	/* clang-format on */
};

static const struct page *page_at(const struct door *d, const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		if (strcmp(pages[i].path, path) == 0)
			return !pages[i].is_watch || d->is_local || d->http->is_watched ? &pages[i] : NULL;
	return NULL;
}

static enum MHD_Result send_page(struct request *r, const struct page *page, const char *method)
{
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return send_text_allow(r->connection, MHD_HTTP_METHOD_NOT_ALLOWED, "use GET or HEAD\n", "GET, HEAD");
	return page->send(r);
}

/* ---- taking requests ---- */

static bool path_is_api(const char *url)
{
	return strcmp(url, "/client/api") == 0 || strncmp(url, "/client/api/", 12) == 0;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url, const char *method,
				  const char *version, const char *data, size_t *size, void **context)
{
	struct door *d = user;
	struct request *r = *context;
	const struct page *page;
	bool is_post = strcmp(method, MHD_HTTP_METHOD_POST) == 0;

	if (!r) {
		const union MHD_ConnectionInfo *info =
			MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

		r = mem_zalloc(sizeof(*r));
		if (!r)
			return MHD_NO;
		r->door = d;
		r->connection = connection;
		list_append(&d->http->requests, &r->in_requests);
		if (d->is_local || !info || !info->client_addr ||
		    getnameinfo(info->client_addr,
				info->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
									 : sizeof(struct sockaddr_in),
				r->address, sizeof(r->address), NULL, 0, NI_NUMERICHOST))
			strcpy(r->address, d->is_local ? "local" : "?");
		*context = r;
		if (is_post) /* NULL when the body is no form: then only the query counts */
			r->post = MHD_create_post_processor(connection, 4096, on_post, r);
		return MHD_YES;
	}
	if (*size) {
		r->body += *size;
		if (r->body > BODY_MAX && !r->error)
			r->error = ERR_TOO_BIG;
		if (r->post && !r->error)
			MHD_post_process(r->post, data, *size);
		*size = 0;
		return MHD_YES;
	}
	if (r->answered)
		return r->for_metrics ? send_metrics(r) : send_answer(r);
	if (r->asked)
		return MHD_YES;

	/* Nothing is begun any more that a daemon which stops would have to wait for. */
	if (d->http->ending)
		return send_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, STOPPING "\n");
	page = page_at(d, url);
	if (page)
		return send_page(r, page, method);
	if (!path_is_api(url))
		return send_text(connection, MHD_HTTP_NOT_FOUND, "not found; the query API is at /client/api\n");
	if (!is_post && strcmp(method, MHD_HTTP_METHOD_GET) != 0)
		return send_text_allow(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "use GET or POST\n", "GET, POST");
	MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, on_query, r);
	if (r->error)
		return send_text(connection, r->error == ERR_TOO_BIG ? MHD_HTTP_CONTENT_TOO_LARGE : 530,
				 "request too large\n");
	ask(r);
	if (r->answered)
		return send_answer(r);
	r->suspended = true;
	MHD_suspend_connection(connection);
	return MHD_YES;
}

/*
 * The connection is done with. One that is still waited for can't come here: it is suspended, and ends only when it is
 * resumed or when the daemon stops, which http_free() does after every answer is in or forgotten.
 */
static void on_completed(void *user, struct MHD_Connection *connection, void **context,
			 enum MHD_RequestTerminationCode code)
{
	struct request *r = *context;

	*context = NULL;
	if (r)
		request_free(r);
}

/* ---- the loop ---- */

static void door_run(struct door *d)
{
	MHD_UNSIGNED_LONG_LONG ms;

	MHD_run(d->daemon);
	if (MHD_get_timeout(d->daemon, &ms) == MHD_YES)
		timer_set_in(d->http->world, &d->timer, (int64_t)(ms > 60000 ? 60000 : ms));
	else
		timer_stop(d->http->world, &d->timer);
}

static void on_timer(struct timer *t)
{
	door_run(container_of(t, struct door, timer));
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	door_run(container_of(poll, struct door, poll));
}

static void on_log(void *user, const char *format, va_list ap)
{
	const struct log *log = user;
	char text[512];

	vsnprintf(text, sizeof(text), format, ap);
	text[strcspn(text, "\n")] = 0;
	log_debug(log, "http", KV_S("message", text));
}

static int listen_tcp(const char *ip, uint16_t port, struct why *why)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *list = NULL;
	char service[8];
	int on = 1, fd;

	snprintf(service, sizeof(service), "%u", port);
	if (getaddrinfo(*ip ? ip : NULL, service, &hints, &list)) {
		why_set(why, "api.listen: \"%s\" is not an address", ip);
		return -1;
	}
	fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, list->ai_addr, list->ai_addrlen) || listen(fd, 128)) {
		why_set(why, "query API on %s port %u: %s", ip, port, strerror(errno));
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	freeaddrinfo(list);
	return fd;
}

/* 0600: the file's owner and root. A socket that a killed server left behind is taken over; a live one is not. */
static int listen_local(const char *path, struct why *why)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	mode_t old;
	int fd;

	if (strlen(path) >= sizeof(a.sun_path)) {
		why_set(why, "socket: the path %s is longer than %zu characters", path, sizeof(a.sun_path) - 1);
		return -1;
	}
	strcpy(a.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0) {
		why_set(why, "socket %s: another server answers there", path);
		close(fd);
		return -1;
	}
	unlink(path);
	old = umask(0177);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 128)) {
		why_set(why, "socket %s: %s", path, strerror(errno));
		close(fd);
		fd = -1;
	}
	umask(old);
	return fd;
}

static enum err door_new(struct http *h, int fd, bool is_local)
{
	struct door *d = mem_zalloc(sizeof(*d));

	if (!d) {
		close(fd);
		return ERR_NOMEM;
	}
	d->http = h;
	d->fd = fd;
	d->is_local = is_local;
	timer_init(&d->timer, on_timer);
	h->doors[h->n_doors++] = d;
	return ERR_OK;
}

static enum err door_serve(struct door *d, struct why *why)
{
	struct http *h = d->http;
	const union MHD_DaemonInfo *info;

	d->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
				     on_request, d, MHD_OPTION_EXTERNAL_LOGGER, on_log, h->log,
				     MHD_OPTION_LISTEN_SOCKET, d->fd, MHD_OPTION_CONNECTION_LIMIT,
				     (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
				     MHD_OPTION_NOTIFY_COMPLETED, on_completed, d, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				     (size_t)(64 * 1024), MHD_OPTION_END);
	info = d->daemon ? MHD_get_daemon_info(d->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info || uv_poll_init(world_uv_loop(h->world), &d->poll, info->epoll_fd)) {
		why_set(why, "the HTTP library could not be started");
		return ERR_IO; /* http_free() tidies up */
	}
	uv_poll_start(&d->poll, UV_READABLE, on_poll);
	d->polling = true;
	door_run(d);
	return ERR_OK;
}

enum err http_serve(struct http *h, struct why *why)
{
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < h->n_doors; i++)
		e = door_serve(h->doors[i], why);
	return e;
}

enum err http_new(struct http **out, const struct http_params *p, struct why *why)
{
	struct http *h = mem_zalloc(sizeof(*h));
	enum err e = ERR_OK;
	int fd;

	if (!h)
		return ERR_NOMEM;
	h->world = p->world;
	h->log = p->log;
	h->server = p->server;
	h->is_watched = p->is_watched;
	list_init(&h->requests);
	if (p->socket_path) {
		fd = listen_local(p->socket_path, why);
		e = fd < 0 ? ERR_IO : door_new(h, fd, true);
		/* Only now is the path ours to remove: one where another server answers is not. */
		if (!e && !(h->socket_path = mem_strdup(p->socket_path)))
			e = ERR_NOMEM;
	}
	if (!e && p->listen_ip) {
		fd = listen_tcp(p->listen_ip, p->port, why);
		e = fd < 0 ? ERR_IO : door_new(h, fd, false);
	}
	if (e)
		http_free(h);
	else
		*out = h;
	return e;
}

uint16_t http_port(const struct http *h)
{
	for (size_t i = 0; i < h->n_doors; i++) {
		union {
			struct sockaddr any;
			struct sockaddr_in v4;
			struct sockaddr_in6 v6;
		} a = {.v6 = {.sin6_port = 0}};
		socklen_t n = sizeof(a);

		if (h->doors[i]->is_local || getsockname(h->doors[i]->fd, &a.any, &n))
			continue;
		return ntohs(a.any.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
	}
	return 0;
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct door *d = container_of((uv_poll_t *)handle, struct door, poll);

	d->http->closing--;
	mem_free(d);
}

struct http *http_free(struct http *h)
{
	if (!h)
		return NULL;
	h->ending = true;
	metrics_forget(h);
	/* Requests still waiting get an answer, so that nothing is suspended when the daemons stop. */
	list_for (r, &h->requests, struct request, in_requests) {
		if (r->for_metrics && !r->answered) {
			server_metrics_forget(h->server, r);
			have_answer(r);
		} else if (r->asked && !r->answered) {
			json_t *body = json_pack("{s:{s:[],s:i,s:s}}", "errorresponse", "uuidList", "errorcode", 503,
						 "errortext", STOPPING);

			server_api_forget(h->server, r);
			on_answer(r, 503, body);
			json_decref(body);
		}
	}
	for (size_t i = 0; i < h->n_doors; i++) {
		struct door *d = h->doors[i];

		timer_stop(h->world, &d->timer);
		if (!d->polling) {
			if (d->daemon)
				MHD_stop_daemon(d->daemon);
			else
				close(d->fd);
			mem_free(d);
			continue;
		}
		MHD_run(d->daemon);
		MHD_run(d->daemon);
		uv_poll_stop(&d->poll);
		MHD_stop_daemon(d->daemon);
		h->closing++;
		uv_close((uv_handle_t *)&d->poll, on_poll_closed);
	}
	while (h->closing)
		uv_run(world_uv_loop(h->world), UV_RUN_NOWAIT);
	crl_forget(h);
	if (h->socket_path)
		unlink(h->socket_path);
	mem_free(h->socket_path);
	mem_free(h);
	return NULL;
}
