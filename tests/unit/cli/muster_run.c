#include "muster_run.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <microhttpd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "check.h"

#define WORDS_MAX 64
#define PARAMS_MAX 64

/* ---- the server ---- */

struct fake_server {
	const struct fake_answer *answers;
	struct MHD_Daemon *doors[2]; /* local, TCP */
	char dir[64];
	char socket[96];
	char url[64];
	pthread_mutex_t lock; /* of what follows: the library has threads of its own */
	struct buf requests;
	char *copy; /* what fake_server_requests() gave out last */
};

struct fake_request {
	struct MHD_PostProcessor *post;
	char *params[PARAMS_MAX]; /* "name=value" */
	size_t n;
};

static enum MHD_Result on_param(void *user, enum MHD_ValueKind kind, const char *key, const char *filename,
				const char *type, const char *encoding, const char *data, uint64_t offset, size_t size)
{
	struct fake_request *r = user;

	assert_true(r->n < PARAMS_MAX);
	if (offset) { /* more of the last one */
		char *longer = mem_printf("%s%.*s", r->params[r->n - 1], (int)size, data);

		mem_free(r->params[r->n - 1]);
		r->params[r->n - 1] = longer;
	} else {
		r->params[r->n++] = mem_printf("%s=%.*s", key, (int)size, data ? data : "");
	}
	return MHD_YES;
}

static int text_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static const struct fake_answer *find_answer(const struct fake_server *s, const char *command, const char *lines)
{
	for (const struct fake_answer *a = s->answers; a && a->command; a++) {
		if (str_equal(a->command, command) && (!a->with || strstr(lines, a->with)))
			return a;
	}
	return NULL;
}

static enum MHD_Result reply(struct MHD_Connection *c, int status, const char *body)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(body), (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result;

	MHD_add_response_header(response, "Content-Type", "application/json; charset=UTF-8");
	result = MHD_queue_response(c, (unsigned)status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result answer(struct fake_server *s, struct MHD_Connection *c, struct fake_request *r)
{
	CLEAN(buf_deinit) struct buf lines = {0};
	const struct fake_answer *a;
	const char *command = "";

	qsort(r->params, r->n, sizeof(r->params[0]), text_compare);
	for (size_t i = 0; i < r->n; i++) {
		if (str_starts(r->params[i], "command="))
			command = r->params[i] + strlen("command=");
		assert_int_equal(buf_printf(&lines, "%s\n", r->params[i]), ERR_OK);
	}
	pthread_mutex_lock(&s->lock);
	assert_int_equal(buf_put(&s->requests, lines.data, lines.len), ERR_OK);
	assert_int_equal(buf_put_str(&s->requests, "\n"), ERR_OK);
	pthread_mutex_unlock(&s->lock);
	a = find_answer(s, command, buf_str(&lines));
	if (!a)
		return reply(c, 432,
			     "{\"errorresponse\":{\"uuidList\":[],\"errorcode\":432,\"cserrorcode\":9999,"
			     "\"errortext\":\"The given command does not exist\"}}");
	return reply(c, a->status ? a->status : 200, a->body);
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *c, const char *url, const char *method,
				  const char *version, const char *data, size_t *size, void **context)
{
	struct fake_request *r = *context;

	if (!r) {
		r = mem_zalloc(sizeof(*r));
		r->post = MHD_create_post_processor(c, 4096, on_param, r);
		*context = r;
		return MHD_YES;
	}
	if (*size) {
		MHD_post_process(r->post, data, *size);
		*size = 0;
		return MHD_YES;
	}
	if (!str_equal(url, "/client/api"))
		return reply(c, 404, "not here");
	return answer(user, c, r);
}

static void on_completed(void *user, struct MHD_Connection *c, void **context, enum MHD_RequestTerminationCode code)
{
	struct fake_request *r = *context;

	if (!r)
		return;
	MHD_destroy_post_processor(r->post);
	for (size_t i = 0; i < r->n; i++)
		mem_free(r->params[i]);
	*context = mem_free(r);
}

static struct MHD_Daemon *door_open(struct fake_server *s, int fd)
{
	struct MHD_Daemon *d;

	assert_int_equal(listen(fd, 16), 0);
	d = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, on_request, s, MHD_OPTION_LISTEN_SOCKET,
			     fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_END);
	check_there(d);
	return d;
}

struct fake_server *fake_server_start(const struct fake_answer *answers)
{
	struct fake_server *s = mem_zalloc(sizeof(*s));
	struct sockaddr_un local = {.sun_family = AF_UNIX};
	struct sockaddr_in tcp = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(tcp);
	const char *tmp = getenv("TMPDIR");
	int fd;

	s->answers = answers;
	pthread_mutex_init(&s->lock, NULL);
	snprintf(s->dir, sizeof(s->dir), "%.40s/muster-cli.XXXXXX", tmp ? tmp : "/tmp");
	check_there(mkdtemp(s->dir));
	snprintf(s->socket, sizeof(s->socket), "%s/muster.sock", s->dir);
	str_copy(local.sun_path, sizeof(local.sun_path), s->socket);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&local, sizeof(local)), 0);
	s->doors[0] = door_open(s, fd);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&tcp, sizeof(tcp)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&tcp, &len), 0);
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u", ntohs(tcp.sin_port));
	s->doors[1] = door_open(s, fd);
	return s;
}

struct fake_server *fake_server_stop(struct fake_server *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(s->doors); i++)
		MHD_stop_daemon(s->doors[i]);
	unlink(s->socket);
	rmdir(s->dir);
	buf_deinit(&s->requests);
	pthread_mutex_destroy(&s->lock);
	mem_free(s->copy);
	return mem_free(s);
}

const char *fake_server_socket(const struct fake_server *s)
{
	return s->socket;
}

const char *fake_server_url(const struct fake_server *s)
{
	return s->url;
}

const char *fake_server_requests(struct fake_server *s)
{
	pthread_mutex_lock(&s->lock);
	mem_free(s->copy);
	s->copy = mem_strdup(buf_str(&s->requests));
	pthread_mutex_unlock(&s->lock);
	check_there(s->copy);
	return s->copy;
}

void fake_server_forget(struct fake_server *s)
{
	pthread_mutex_lock(&s->lock);
	buf_clear(&s->requests);
	pthread_mutex_unlock(&s->lock);
}

/* ---- the program ---- */

/* Points into `text`, which is changed. */
static void split_words(char *argv[WORDS_MAX], size_t n, char *text)
{
	while (*text) {
		char end = *text == '\'' ? '\'' : ' ';

		assert_true(n + 1 < WORDS_MAX);
		if (end == '\'')
			text++;
		argv[n++] = text;
		text += strcspn(text, end == '\'' ? "'" : " ");
		if (*text)
			*text++ = '\0';
		if (end == '\'' && *text == ' ')
			text++;
	}
	argv[n] = NULL;
}

static void set_environment(const struct run *how)
{
	static const char *const ours[] = {
		"MUSTER_SOCKET",     "MUSTER_URL",          "MUSTER_API_KEY",
		"MUSTER_SECRET_KEY", "MUSTER_API_KEY_FILE", "CLOUDSTACK_ENDPOINT",
		"CLOUDSTACK_KEY",    "CLOUDSTACK_SECRET",   "NO_COLOR",
		"http_proxy",        "HTTP_PROXY",
	};

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		unsetenv(ours[i]);
	setenv("TZ", "UTC", 1);
	setenv("LC_ALL", "C.UTF-8", 1);
	setenv("TERM", "xterm", 1);
	for (const char *const *e = how->environment; e && *e; e++)
		putenv((char *)(uintptr_t)*e);
}

static void read_all(struct buf *out, int fd)
{
	char block[4096];
	ssize_t n;

	/* A terminal whose other side is closed reads as an error: that is its end. */
	while ((n = read(fd, block, sizeof(block))) > 0)
		assert_int_equal(buf_put(out, block, (size_t)n), ERR_OK);
}

static void read_file(struct buf *out, FILE *f)
{
	rewind(f);
	read_all(out, fileno(f));
	fclose(f);
}

static FILE *input_file(const char *text)
{
	FILE *f = tmpfile();

	check_there(f);
	if (text)
		fputs(text, f);
	rewind(f);
	return f;
}

void muster_run(struct ran *out, const struct run *how, const char *words)
{
	static const struct run plain = {0};
	char program[] = PROGRAM, socket_option[] = "--socket", socket_path[128] = "";
	char *argv[WORDS_MAX] = {program}, *text = mem_strdup(words);
	FILE *in = input_file(how ? how->input : NULL), *files[2] = {tmpfile(), tmpfile()};
	struct winsize size = {.ws_row = 25};
	int terminal = -1, other_side = -1, status;
	size_t n = 1;
	pid_t pid;

	how = how ? how : &plain;
	if (how->server) {
		argv[n++] = socket_option;
		str_copy(socket_path, sizeof(socket_path), how->server->socket);
		argv[n++] = socket_path;
	}
	split_words(argv, n, text);
	if (how->terminal_width) {
		size.ws_col = (unsigned short)how->terminal_width;
		assert_int_equal(openpty(&terminal, &other_side, NULL, NULL, &size), 0);
	}
	*out = (struct ran){.exit_code = -1};
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		set_environment(how);
		dup2(how->typed ? other_side : fileno(in), STDIN_FILENO);
		dup2(other_side >= 0 ? other_side : fileno(files[0]), STDOUT_FILENO);
		dup2(fileno(files[1]), STDERR_FILENO);
		execv(argv[0], argv);
		_exit(127);
	}
	if (terminal >= 0) {
		close(other_side);
		if (how->typed)
			assert_int_equal(write(terminal, how->typed, strlen(how->typed)), strlen(how->typed));
		read_all(&out->out, terminal);
		close(terminal);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		out->exit_code = WEXITSTATUS(status);
	fclose(in);
	if (terminal >= 0)
		fclose(files[0]);
	else
		read_file(&out->out, files[0]);
	read_file(&out->err, files[1]);
	mem_free(text);
}

void ran_deinit(struct ran *r)
{
	buf_deinit(&r->out);
	buf_deinit(&r->err);
}

/* ---- golden files ---- */

void golden_check(const char *name, const struct buf *text)
{
	CLEAN(buf_deinit) struct buf expected = {0};
	char path[512];

	snprintf(path, sizeof(path), "%s/%s.ok", GOLDEN, name);
	if (getenv("MUSTER_GOLDEN_UPDATE")) {
		assert_int_equal(file_replace(&fs_posix, path, 0644, text->data, text->len, NULL), ERR_OK);
		return;
	}
	if (file_read(&fs_posix, path, 1024 * 1024, &expected, NULL))
		fail_msg("%s can't be read", path);
	if (expected.len != text->len || (text->len && memcmp(expected.data, text->data, text->len) != 0))
		fail_msg("%s differs; this is what was printed:\n%.*s", path, (int)text->len, (const char *)text->data);
}
