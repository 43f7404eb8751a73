/*
 * HTTP for the query API: one libmicrohttpd daemon a socket, driven by the server's own loop. Thin: it takes requests
 * apart and hands them to server_api(); nothing is decided here.
 */
#pragma once

#include "base/err.h"
#include "base/log.h"
#include "server/server.h"

struct http;

struct http_params {
	struct world *world; /* the real one */
	const struct log *log;
	struct server *server;
	const char *listen_ip; /* NULL: no TCP */
	uint16_t port;
	const char *socket_path; /* NULL: no local socket */
	bool is_watched;         /* /metrics, /healthz and /livez on TCP, too; the local socket always has them */
};

/*
 * Takes the sockets: whatever can fail fails here, before the server has told anybody that it is up. Connections wait
 * until http_serve().
 */
enum err http_new(struct http **out, const struct http_params *p, struct why *why) MUST_CHECK;
enum err http_serve(struct http *h, struct why *why) MUST_CHECK;
/* The TCP port, when it was 0. */
uint16_t http_port(const struct http *h);
/* Ends all connections. Call it before the server is freed. NULL is fine. */
struct http *http_free(struct http *h);
