#include "agent/door.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/mem.h"
#include "net/world_uv.h"

#define BACKLOG 16
#define SEND_ROOM (1024 * 1024)
#define LINE_MAX_BYTES (16u * 1024 * 1024)
#define ANSWERS_A_TURN 16

struct door {
	uv_poll_t poll;
	int fd;
	char *path; /* owned */
	enum err (*line)(void *user, struct buf *out);
	void *user;
};

static enum err address_of(struct sockaddr_un *a, const char *path, struct why *why)
{
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(a->sun_path)) {
		why_set(why, "the path of the socket, %s, is longer than %zu characters: set muster.socket", path,
			sizeof(a->sun_path) - 1);
		return ERR_TOO_BIG;
	}
	memcpy(a->sun_path, path, strlen(path) + 1);
	return ERR_OK;
}

/*
 * All or nothing, and never waiting: the system takes a line of this size at once. Who doesn't read it in full sees
 * it cut off and asks again.
 */
static void answer(struct door *d, int fd)
{
	CLEAN(buf_deinit) struct buf text = {0};
	int room = SEND_ROOM;

	if (d->line(d->user, &text) || buf_put_u8(&text, '\n'))
		return;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	while (text.len) {
		ssize_t n = send(fd, text.data, text.len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		buf_consume(&text, (size_t)n);
	}
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct door *d = container_of(poll, struct door, poll);

	for (size_t i = 0; i < ANSWERS_A_TURN; i++) {
		int fd = accept4(d->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return;
		answer(d, fd);
		close(fd);
	}
}

/* Whoever holds the folder's lock may take over what a killed agent left behind. Closed to others before it is open to
 * anybody. */
static int listen_on(const char *path, struct why *why)
{
	struct sockaddr_un a;
	int fd;

	if (address_of(&a, path, why))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	unlink(path);
	if (fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof(a)) && !chmod(path, 0600) && !listen(fd, BACKLOG))
		return fd;
	why_set(why, "socket %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

enum err door_open(struct door **out, struct world *w, const char *path, enum err (*line)(void *user, struct buf *out),
		   void *user, struct why *why)
{
	struct door *d = mem_zalloc(sizeof(*d));

	if (!d || !(d->path = mem_strdup(path))) {
		mem_free(d);
		return ERR_NOMEM;
	}
	d->line = line;
	d->user = user;
	d->fd = listen_on(path, why);
	if (d->fd < 0 || uv_poll_init(world_uv_loop(w), &d->poll, d->fd)) {
		if (d->fd >= 0)
			close(d->fd);
		mem_free(d->path);
		mem_free(d);
		return ERR_IO;
	}
	uv_poll_start(&d->poll, UV_READABLE, on_readable);
	*out = d;
	return ERR_OK;
}

static void on_closed(uv_handle_t *h)
{
	struct door *d = container_of((uv_poll_t *)(void *)h, struct door, poll);

	mem_free(d->path);
	mem_free(d);
}

struct door *door_close(struct door *d)
{
	if (!d)
		return NULL;
	uv_poll_stop(&d->poll);
	unlink(d->path);
	close(d->fd);
	uv_close((uv_handle_t *)&d->poll, on_closed);
	return NULL;
}

/* ---- the other side ---- */

static enum err read_all(struct buf *out, int fd, int64_t limit_ms, struct why *why)
{
	char part[4096];
	ssize_t n;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int ready = poll(&p, 1, (int)limit_ms);

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0) {
			why_set(why, "the agent does not answer");
			return ERR_TIMEOUT;
		}
		n = recv(fd, part, sizeof(part), 0);
		if (n == 0)
			return ERR_OK;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || out->len + (size_t)n > LINE_MAX_BYTES || buf_put(out, part, (size_t)n)) {
			why_set(why, "what the agent says can't be read: %s", n < 0 ? strerror(errno) : "too much");
			return ERR_IO;
		}
	}
}

enum err door_ask(char **line, const char *path, int64_t limit_ms, struct why *why)
{
	CLEAN(buf_deinit) struct buf text = {0};
	struct sockaddr_un a;
	enum err e = address_of(&a, path, why);
	int fd;

	if (e)
		return e;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		int problem = errno;

		if (fd >= 0)
			close(fd);
		if (problem == ENOENT || problem == ECONNREFUSED)
			why_set(why, "no agent is running here (nobody answers on %s)", path);
		else
			why_set(why, "%s: %s", path, strerror(problem));
		return problem == ENOENT || problem == ECONNREFUSED ? ERR_NOT_FOUND : ERR_IO;
	}
	e = read_all(&text, fd, limit_ms, why);
	close(fd);
	if (!e && (!text.len || text.data[text.len - 1] != '\n')) {
		why_set(why, "what the agent says is cut off");
		e = ERR_IO;
	}
	if (e)
		return e;
	text.data[text.len - 1] = '\0';
	*line = buf_take_str(&text);
	return *line ? ERR_OK : ERR_NOMEM;
}
