/*
 * Listening sockets.
 *
 * The socket is watched, not handed to uv_listen(): libuv accepts first and asks afterwards, and would hold the one
 * connection that nobody takes. Here a paused listener leaves every connection in the kernel's backlog.
 *
 * When no descriptor is left, nothing is accepted for a moment: the connections wait as well.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/uv_private.h"

#define RETRY_MS 100
#define ACCEPTS_PER_TURN 32

struct uv_listener {
	struct listener listener;
	uv_poll_t poll;
	int fd; /* owned */
	struct timer retry;
	uint16_t port;
	bool paused;
	bool freed; /* waits for libuv's close callback */
	void (*accepted)(void *user, struct stream *s);
	void *user;
};

static struct uv_listener *listener_of(struct listener *l)
{
	return container_of(l, struct uv_listener, listener);
}

static void on_readable(uv_poll_t *p, int status, int events);

static void watch(struct uv_listener *l)
{
	if (l->freed)
		return;
	if (l->paused || timer_is_set(&l->retry))
		uv_poll_stop(&l->poll);
	else
		uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

static void on_retry(struct timer *t)
{
	watch(container_of(t, struct uv_listener, retry));
}

static bool is_out_of_room(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* False: nothing more to accept now. */
static bool accept_one(struct uv_listener *l)
{
	struct uv_world *w = uv_world_of(l->listener.world);
	struct sockaddr_storage peer = {0};
	socklen_t n = sizeof(peer);
	struct stream *s;
	int fd = accept4(l->fd, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		if (is_out_of_room(errno)) {
			timer_set_in(&w->world, &l->retry, RETRY_MS);
			watch(l);
			return false;
		}
		/* Others are errors of that one connection: it was gone before we came. */
		return errno != EAGAIN && errno != EWOULDBLOCK;
	}
	if (uv_stream_from_socket(w, &s, fd, &peer) != ERR_OK)
		return true;
	l->accepted(l->user, s);
	uv_stream_accepted(s);
	return true;
}

static void on_readable(uv_poll_t *p, int status, int events)
{
	struct uv_listener *l = container_of(p, struct uv_listener, poll);

	for (int i = 0; i < ACCEPTS_PER_TURN && !l->freed && !l->paused; i++)
		if (!accept_one(l))
			return;
}

/* ---- making one ---- */

static int bind_and_listen(int fd, const struct sockaddr_storage *a, int backlog)
{
	int on = 1, off = 0;

	/* A killed process's port can be taken again only with this. */
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a->ss_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, (const struct sockaddr *)a, address_size(a)) || listen(fd, backlog > 0 ? backlog : SOMAXCONN))
		return -errno;
	return 0;
}

static int open_at(const char *ip, const struct listen_params *p, int *out)
{
	struct sockaddr_storage a;
	int fd, status;

	if (!address_parse(&a, ip, p->port))
		return UV_EINVAL;
	fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	status = bind_and_listen(fd, &a, p->backlog);
	if (status) {
		close(fd);
		return status;
	}
	*out = fd;
	return 0;
}

static int open_listening(const struct listen_params *p, int *out)
{
	bool all = !p->ip || p->ip[0] == '\0' || str_equal(p->ip, "::");
	int status = open_at(all ? "::" : p->ip, p, out);

	/* A machine without IPv6 still has all of IPv4. */
	if (all && (status == UV_EAFNOSUPPORT || status == UV_EADDRNOTAVAIL))
		status = open_at("0.0.0.0", p, out);
	return status;
}

static uint16_t port_of(int fd)
{
	struct sockaddr_storage a = {0};
	socklen_t n = sizeof(a);
	char ip[IP_TEXT];
	uint16_t port = 0;

	if (getsockname(fd, (struct sockaddr *)&a, &n) == 0)
		address_text(&a, ip, &port);
	return port;
}

enum err uv_listener_new(struct world *world, struct listener **out, const struct listen_params *p, struct why *why)
{
	struct uv_listener *l;
	const char *sentence;
	int fd = -1, status;

	status = open_listening(p, &fd);
	if (status) {
		enum err e = uv_err(status, &sentence);

		why_set(why, "listen on %s port %u: %s", p->ip && p->ip[0] ? p->ip : "all addresses", p->port,
			sentence);
		return e;
	}
	l = mem_zalloc(sizeof(*l));
	if (!l) {
		close(fd);
		return ERR_NOMEM;
	}
	status = uv_poll_init(&uv_world_of(world)->loop, &l->poll, fd);
	if (status) {
		why_set(why, "listen: %s", uv_strerror(status));
		close(fd);
		mem_free(l);
		return ERR_IO;
	}
	l->listener.world = world;
	l->fd = fd;
	l->port = port_of(fd);
	l->accepted = p->accepted;
	l->user = p->user;
	timer_init(&l->retry, on_retry);
	watch(l);
	*out = &l->listener;
	return ERR_OK;
}

void uv_listener_pause(struct listener *listener, bool paused)
{
	struct uv_listener *l = listener_of(listener);

	l->paused = paused;
	watch(l);
}

uint16_t uv_listener_port(const struct listener *listener)
{
	return container_of(listener, struct uv_listener, listener)->port;
}

/* ---- the end ---- */

static void on_closed(uv_handle_t *h)
{
	struct uv_listener *l = container_of((uv_poll_t *)h, struct uv_listener, poll);

	mem_free(l);
}

struct listener *uv_listener_free(struct listener *listener)
{
	struct uv_listener *l = listener_of(listener);

	l->freed = true;
	timer_stop(l->listener.world, &l->retry);
	uv_poll_stop(&l->poll);
	close(l->fd); /* at once: the port is free for the next */
	uv_close((uv_handle_t *)&l->poll, on_closed);
	return NULL;
}

bool uv_listener_owns(const uv_handle_t *h)
{
	return h->type == UV_POLL;
}

void uv_listener_abandon(uv_handle_t *h)
{
	uv_listener_free(&container_of((uv_poll_t *)h, struct uv_listener, poll)->listener);
}
