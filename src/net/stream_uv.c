/*
 * Byte streams on TCP.
 *
 * What is written goes to the system at once; what it does not take is copied and waits in `chunks`, so uv_write()
 * is used only towards a slow reader. Events never come from inside stream_write() or stream_close(): an error met
 * there is reported at the end of the turn.
 *
 * The kernel notices a dead peer as well: net/tcp_timers.h.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/uv_private.h"

/* Written but not yet taken by the system. */
struct chunk {
	uv_write_t request;
	struct list queued;
	struct uv_stream *stream;
	size_t n;
	uint8_t data[];
};

struct uv_stream {
	struct stream stream;
	uv_tcp_t tcp;
	uv_connect_t *connect; /* owned; while dialling */
	struct list chunks;
	struct later failed; /* reports `failure` */
	int failure;         /* as libuv gives it; 0: none */
	bool connected;
	bool paused;
	bool closed; /* no event any more; freed by libuv's close callback */
};

static struct uv_stream *stream_of(struct stream *s)
{
	return container_of(s, struct uv_stream, stream);
}

static struct uv_stream *stream_of_handle(uv_handle_t *h)
{
	return container_of((uv_tcp_t *)h, struct uv_stream, tcp);
}

/* ---- addresses ---- */

bool address_parse(struct sockaddr_storage *out, const char *ip, uint16_t port)
{
	*out = (struct sockaddr_storage){0};
	if (strchr(ip, ':'))
		return uv_ip6_addr(ip, port, (struct sockaddr_in6 *)out) == 0;
	return uv_ip4_addr(ip, port, (struct sockaddr_in *)out) == 0;
}

socklen_t address_size(const struct sockaddr_storage *a)
{
	return a->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static void address_text_6(const struct sockaddr_in6 *a, char ip[IP_TEXT])
{
	char scope[IF_NAMESIZE];
	size_t n;

	if (IN6_IS_ADDR_V4MAPPED(&a->sin6_addr)) {
		inet_ntop(AF_INET, &a->sin6_addr.s6_addr[12], ip, IP_TEXT);
		return;
	}
	inet_ntop(AF_INET6, &a->sin6_addr, ip, IP_TEXT);
	/* A link-local address means nothing without its interface. */
	if (IN6_IS_ADDR_LINKLOCAL(&a->sin6_addr) && a->sin6_scope_id && if_indextoname(a->sin6_scope_id, scope)) {
		n = strlen(ip);
		snprintf(ip + n, IP_TEXT - n, "%%%s", scope);
	}
}

void address_text(const struct sockaddr_storage *a, char ip[IP_TEXT], uint16_t *port)
{
	ip[0] = '\0';
	*port = 0;
	if (a->ss_family == AF_INET6) {
		const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)a;

		address_text_6(six, ip);
		*port = ntohs(six->sin6_port);
	} else if (a->ss_family == AF_INET) {
		const struct sockaddr_in *four = (const struct sockaddr_in *)a;

		inet_ntop(AF_INET, &four->sin_addr, ip, IP_TEXT);
		*port = ntohs(four->sin_port);
	}
}

/* ---- making one ---- */

static void set_option(int fd, int level, int name, int value)
{
	/* They make a connection better, none is needed for it to work. */
	(void)setsockopt(fd, level, name, &value, sizeof(value));
}

static void set_options(int fd, const struct tcp_timers *t)
{
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, t->idle_s > 0);
	if (t->idle_s > 0) {
		set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)t->idle_s);
		set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, (int)t->interval_s);
		set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, (int)t->count);
	}
	set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)(t->user_timeout_s * 1000));
}

static int fd_of(struct uv_stream *s)
{
	uv_os_fd_t fd = -1;

	if (uv_fileno((uv_handle_t *)&s->tcp, &fd))
		return -1;
	return fd;
}

static void learn_local(struct uv_stream *s)
{
	struct sockaddr_storage local = {0};
	int n = sizeof(local);

	if (uv_tcp_getsockname(&s->tcp, (struct sockaddr *)&local, &n) == 0)
		address_text(&local, s->stream.local_ip, &s->stream.local_port);
}

static void on_closed(uv_handle_t *h)
{
	struct uv_stream *s = stream_of_handle(h);

	/* libuv has cancelled the requests before it calls this. */
	assert(list_is_empty(&s->chunks) && !s->connect);
	mem_free(s);
}

static void dispose(struct uv_stream *s)
{
	s->closed = true;
	world_later_cancel(&s->failed);
	uv_close((uv_handle_t *)&s->tcp, on_closed);
}

/* The stream has ended by itself. Not inlined: gcc 12 then takes the sentence for a dangling pointer. */
__attribute__((noinline)) static void end(struct uv_stream *s, int status)
{
	const char *sentence;
	enum err e = uv_err(status, &sentence);

	if (s->closed)
		return;
	s->closed = true; /* stream_close() from inside the event has nothing left to do */
	if (s->stream.events)
		s->stream.events->ended(s->stream.user, e, sentence);
	dispose(s);
}

static void report_failure(struct later *l)
{
	struct uv_stream *s = container_of(l, struct uv_stream, failed);

	end(s, s->failure);
}

/* Ends it, but not from inside the caller's function. */
static void fail_later(struct uv_stream *s, int status)
{
	s->failure = status;
	uv_read_stop((uv_stream_t *)&s->tcp);
	world_later(s->stream.world, &s->failed);
}

static struct uv_stream *uv_stream_new(struct uv_world *w)
{
	struct uv_stream *s = mem_zalloc(sizeof(*s));

	if (!s)
		return NULL;
	s->stream.world = &w->world;
	list_init(&s->chunks);
	list_init(&s->failed.queued);
	s->failed.call = report_failure;
	uv_tcp_init(&w->loop, &s->tcp);
	return s;
}

/* ---- reading ---- */

static void give_buffer(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct uv_world *w = uv_world_of(stream_of_handle(h)->stream.world);

	*buf = uv_buf_init(w->read_buffer, sizeof(w->read_buffer));
}

static void on_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *buf)
{
	struct uv_stream *s = stream_of_handle((uv_handle_t *)tcp);

	if (s->closed || n == 0)
		return;
	if (n < 0)
		end(s, (int)n);
	else
		s->stream.events->data(s->stream.user, (const uint8_t *)buf->base, (size_t)n);
}

static void read_or_not(struct uv_stream *s)
{
	if (s->closed || !s->connected || s->failure)
		return;
	if (s->paused) {
		uv_read_stop((uv_stream_t *)&s->tcp);
	} else {
		int status = uv_read_start((uv_stream_t *)&s->tcp, give_buffer, on_read);

		if (status && status != UV_EALREADY)
			fail_later(s, status);
	}
}

void uv_stream_pause(struct stream *stream, bool paused)
{
	struct uv_stream *s = stream_of(stream);

	if (s->paused == paused)
		return;
	s->paused = paused;
	read_or_not(s);
}

/* ---- dialling ---- */

static void on_connect(uv_connect_t *request, int status)
{
	struct uv_stream *s = request->data;

	s->connect = mem_free(s->connect);
	if (s->closed)
		return;
	if (status) {
		end(s, status);
		return;
	}
	s->connected = true;
	set_options(fd_of(s), &uv_world_of(s->stream.world)->tcp);
	learn_local(s);
	read_or_not(s);
	if (s->stream.events->connected)
		s->stream.events->connected(s->stream.user);
}

/* An own socket, because an address to come from has to be set before libuv sees it. */
static int open_socket(const struct sockaddr_storage *to, const char *source_ip, int *out)
{
	struct sockaddr_storage from;
	int fd = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (source_ip) {
		/* The port is chosen at connect(), for this destination only: more connections than ports. */
		set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
		set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
		if (!address_parse(&from, source_ip, 0)) {
			close(fd);
			return UV_EINVAL;
		}
		if (bind(fd, (struct sockaddr *)&from, address_size(&from))) {
			int status = -errno;

			close(fd);
			return status;
		}
	}
	*out = fd;
	return 0;
}

static int start_connect(struct uv_stream *s, const struct sockaddr_storage *to, const char *source_ip)
{
	int fd = -1, status = open_socket(to, source_ip, &fd);

	if (status)
		return status;
	status = uv_tcp_open(&s->tcp, fd);
	if (status) {
		close(fd);
		return status;
	}
	s->connect = mem_zalloc(sizeof(*s->connect));
	if (!s->connect)
		return UV_ENOMEM;
	s->connect->data = s;
	status = uv_tcp_connect(s->connect, &s->tcp, (const struct sockaddr *)to, on_connect);
	if (status)
		s->connect = mem_free(s->connect);
	return status;
}

enum err uv_stream_connect(struct world *world, struct stream **out, const char *ip, uint16_t port,
			   const char *source_ip, const struct stream_events *events, void *user, struct why *why)
{
	struct sockaddr_storage to;
	struct uv_stream *s;
	const char *sentence;
	int status;
	enum err e;

	if (!address_parse(&to, ip, port)) {
		why_set(why, "%s is not an address", ip);
		return ERR_INVALID;
	}
	s = uv_stream_new(uv_world_of(world));
	if (!s)
		return ERR_NOMEM;
	stream_take(&s->stream, events, user);
	address_text(&to, s->stream.peer_ip, &s->stream.peer_port);

	status = start_connect(s, &to, source_ip);
	if (status) {
		dispose(s);
		e = uv_err(status, &sentence);
		why_set(why, "%s", sentence);
		return e;
	}
	*out = &s->stream;
	return ERR_OK;
}

/* ---- accepting ---- */

enum err uv_stream_from_socket(struct uv_world *w, struct stream **out, int take_fd,
			       const struct sockaddr_storage *peer)
{
	struct uv_stream *s = uv_stream_new(w);
	int status;

	if (!s) {
		close(take_fd);
		return ERR_NOMEM;
	}
	set_options(take_fd, &w->tcp);
	status = uv_tcp_open(&s->tcp, take_fd);
	if (status) {
		close(take_fd);
		dispose(s);
		return ERR_IO;
	}
	s->connected = true;
	address_text(peer, s->stream.peer_ip, &s->stream.peer_port);
	learn_local(s);
	*out = &s->stream;
	return ERR_OK;
}

void uv_stream_accepted(struct stream *stream)
{
	struct uv_stream *s = stream_of(stream);

	if (!s->stream.events)
		uv_stream_close(stream);
	else
		read_or_not(s);
}

/* ---- writing ---- */

static void on_written(uv_write_t *request, int status)
{
	struct chunk *c = container_of(request, struct chunk, request);
	struct uv_stream *s = c->stream;

	list_remove(&c->queued);
	mem_free(c);
	if (s->closed || s->failure)
		return;
	if (status)
		end(s, status);
	else if (list_is_empty(&s->chunks) && s->stream.events->drained)
		s->stream.events->drained(s->stream.user);
}

/* Copies what the system did not take. */
static int queue(struct uv_stream *s, const uint8_t *data, size_t n)
{
	struct chunk *c = malloc(sizeof(*c) + n);
	uv_buf_t buf;
	int status;

	if (!c)
		return UV_ENOMEM;
	c->stream = s;
	c->n = n;
	memcpy(c->data, data, n);
	buf = uv_buf_init((char *)c->data, (unsigned)n);
	status = uv_write(&c->request, (uv_stream_t *)&s->tcp, &buf, 1, on_written);
	if (status) {
		mem_free(c);
		return status;
	}
	list_append(&s->chunks, &c->queued);
	return 0;
}

static int write_some(struct uv_stream *s, const uint8_t *data, size_t n)
{
	if (list_is_empty(&s->chunks)) {
		uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)n);
		int sent = uv_try_write((uv_stream_t *)&s->tcp, &buf, 1);

		if (sent < 0 && sent != UV_EAGAIN)
			return sent;
		if (sent > 0) {
			data += sent;
			n -= (size_t)sent;
		}
	}
	return n > 0 ? queue(s, data, n) : 0;
}

enum err uv_stream_write(struct stream *stream, const void *data, size_t n)
{
	struct uv_stream *s = stream_of(stream);
	const char *sentence;
	int status;

	assert(s->connected && n <= INT32_MAX);
	if (s->closed || s->failure)
		return ERR_CLOSED;
	if (n == 0)
		return ERR_OK;
	status = write_some(s, data, n);
	if (status == 0)
		return ERR_OK;
	/* Half a message may have left: nothing can follow it. */
	fail_later(s, status);
	return uv_err(status, &sentence);
}

size_t uv_stream_queued(const struct stream *stream)
{
	const struct uv_stream *s = container_of(stream, struct uv_stream, stream);

	return uv_stream_get_write_queue_size((const uv_stream_t *)&s->tcp);
}

/* ---- closing ---- */

/*
 * What waits is offered to the system a last time. libuv doesn't say how much of a chunk has left, but how much is
 * left in all: that is the tail of what the chunks hold together.
 */
static void offer_rest(struct uv_stream *s, int fd)
{
	size_t rest = uv_stream_queued(&s->stream), held = 0;

	list_for (c, &s->chunks, struct chunk, queued)
		held += c->n;
	assert(rest <= held);
	held -= rest; /* the head, which has left already */
	list_for (c, &s->chunks, struct chunk, queued) {
		size_t skip = held < c->n ? held : c->n;
		ssize_t sent;

		held -= skip;
		if (skip == c->n)
			continue;
		sent = send(fd, c->data + skip, c->n - skip, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent != (ssize_t)(c->n - skip))
			return;
	}
}

/*
 * Closing a socket with unread bytes makes the kernel send a reset, and that may overtake what we said last. So they
 * are thrown away first. MSG_TRUNC on TCP: nothing is written to the buffer, which somebody may be reading.
 */
static void discard_unread(struct uv_stream *s, int fd)
{
	struct uv_world *w = uv_world_of(s->stream.world);

	for (int i = 0; i < 16; i++)
		if (recv(fd, w->read_buffer, sizeof(w->read_buffer), MSG_DONTWAIT | MSG_TRUNC) <= 0)
			return;
}

void uv_stream_close(struct stream *stream)
{
	struct uv_stream *s = stream_of(stream);

	if (s->closed)
		return;
	if (s->connected && !s->failure) {
		int fd = fd_of(s);

		offer_rest(s, fd);
		discard_unread(s, fd);
	}
	dispose(s);
}

bool uv_stream_owns(const uv_handle_t *h)
{
	return h->type == UV_TCP;
}

void uv_stream_abandon(uv_handle_t *h)
{
	dispose(stream_of_handle(h));
}
