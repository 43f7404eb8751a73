/*
 * A command of the operator's: start, feed, listen, end.
 *
 * Standard input is a file in memory: it needs no feeding, a command that doesn't read it can't hold us up, and
 * /dev/stdin can be opened. The command leads a process group, and until it is waited for its number can't be anybody
 * else's, so the whole group is killed safely before.
 */
#include "ca/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

#define WORDS_MAX 64
#define LINE_MAX_BYTES 4096
#define SAID_MAX 4096 /* of standard error: its end */
#define SHOWN_MAX 200 /* of its last line */
#define PATH_OF_COMMANDS "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* ---- the command line ---- */

/* One word from *at on, which is not at a blank. */
static enum err word_take(struct buf *word, const char **at, struct why *why)
{
	const char *c = *at;
	enum err e = ERR_OK;

	if (*c != '"') {
		for (; !e && *c && *c != ' ' && *c != '\t' && *c != '"'; c++)
			e = buf_put_u8(word, (uint8_t)*c);
	} else {
		for (c++; !e && *c && *c != '"'; c++) {
			if (*c == '\\' && (c[1] == '"' || c[1] == '\\'))
				c++;
			e = buf_put_u8(word, (uint8_t)*c);
		}
		if (!e && *c != '"') {
			why_set(why, "a double quote is not closed");
			return ERR_INVALID;
		}
		c++;
	}
	if (!e && *c && *c != ' ' && *c != '\t') {
		why_set(why, "a double quote in the middle of a word: put the whole word in quotes");
		return ERR_INVALID;
	}
	*at = c;
	return e;
}

enum err command_split(struct str_list *words, const char *line, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list all = {0};
	enum err e = ERR_OK;

	if (strlen(line) > LINE_MAX_BYTES) {
		why_set(why, "longer than %d characters", LINE_MAX_BYTES);
		return ERR_TOO_BIG;
	}
	for (const char *c = line + strspn(line, " \t"); !e && *c; c += strspn(c, " \t")) {
		CLEAN(buf_deinit) struct buf word = {0};
		const char *text;

		e = word_take(&word, &c, why);
		text = e ? NULL : buf_str(&word);
		if (!e)
			e = text ? str_list_add(&all, text) : ERR_NOMEM;
	}
	if (e)
		return e;
	if (all.n == 0 || all.n > WORDS_MAX) {
		why_set(why, all.n ? "more than %d words" : "there is no command", WORDS_MAX);
		return ERR_INVALID;
	}
	str_list_move(words, &all);
	return ERR_OK;
}

enum err command_check(const char *program, struct why *why)
{
	struct stat st;

	if (program[0] != '/')
		why_set(why, "%s: the path of the command must begin with a slash", program);
	else if (stat(program, &st))
		why_set(why, "%s: %s", program, strerror(errno));
	else if (!S_ISREG(st.st_mode) || access(program, X_OK))
		why_set(why, "%s: not a file that can be executed", program);
	else if (st.st_uid != 0 && st.st_uid != geteuid())
		why_set(why, "%s: it belongs to somebody else than root and the user of this server", program);
	else if (st.st_mode & (S_IWGRP | S_IWOTH))
		why_set(why, "%s: others than its owner may change it (chmod go-w)", program);
	else
		return ERR_OK;
	return ERR_INVALID;
}

/* ---- running ---- */

struct run {
	pid_t pid;
	int pidfd;
	int out, err; /* our ends; -1: at their end */
	struct buf *output;
	char said[SAID_MAX];
	size_t n_said;
	bool too_big;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int input_of(const char *text)
{
	size_t n = strlen(text), done = 0;
	int fd = memfd_create("csr", MFD_CLOEXEC);

	while (fd >= 0 && done < n) {
		ssize_t k = write(fd, text + done, n - done);

		if (k < 0 && errno != EINTR) {
			close(fd);
			return -1;
		}
		done += k > 0 ? (size_t)k : 0;
	}
	if (fd >= 0)
		lseek(fd, 0, SEEK_SET);
	return fd;
}

/* Our end must not block; the command's has to, as it expects. */
static bool pipe_new(int ends[2])
{
	if (pipe2(ends, O_CLOEXEC))
		return false;
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	return true;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int spawn_with(pid_t *pid, char *const argv[], char *const env[], const int fds[3],
		      posix_spawn_file_actions_t *files, posix_spawnattr_t *attr)
{
	sigset_t none, all;
	int problem = posix_spawn_file_actions_addchdir_np(files, "/");

	for (int i = 0; !problem && i < 3; i++)
		problem = posix_spawn_file_actions_adddup2(files, fds[i], i);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(attr, &none);
	posix_spawnattr_setsigdefault(attr, &all);
	posix_spawnattr_setpgroup(attr, 0);
	posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	return problem ? problem : posix_spawn(pid, argv[0], files, attr, argv, env);
}

static int spawn(pid_t *pid, const struct command *c, const int fds[3])
{
	CLEAN(mem_freep) char **argv = mem_zalloc_array(c->words->n + 1, sizeof(*argv));
	CLEAN(mem_freep) char **env = mem_zalloc_array(c->env->n + 2, sizeof(*env));
	static char path[] = PATH_OF_COMMANDS;
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	int problem;

	if (!argv || !env || posix_spawn_file_actions_init(&files))
		return ENOMEM;
	if (posix_spawnattr_init(&attr)) {
		posix_spawn_file_actions_destroy(&files);
		return ENOMEM;
	}
	for (size_t i = 0; i < c->words->n; i++)
		argv[i] = c->words->items[i];
	env[0] = path;
	for (size_t i = 0; i < c->env->n; i++)
		env[i + 1] = c->env->items[i];
	problem = spawn_with(pid, argv, env, fds, &files, &attr);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return problem;
}

static enum err start(struct run *r, const struct command *c, struct why *why)
{
	int out[2] = {-1, -1}, err[2] = {-1, -1}, in = input_of(c->input), problem = EMFILE;

	if (in >= 0 && pipe_new(out) && pipe_new(err))
		problem = spawn(&r->pid, c, (const int[3]){in, out[1], err[1]});
	close_fd(&in);
	close_fd(&out[1]);
	close_fd(&err[1]);
	r->out = out[0];
	r->err = err[0];
	if (!problem)
		return ERR_OK;
	why_set(why, "%s can't be started: %s", c->words->items[0], strerror(problem));
	return problem == ENOMEM ? ERR_NOMEM : ERR_IO;
}

/* Of standard error only the end is kept, however much it says. */
static void hear(struct run *r, const uint8_t *data, size_t n)
{
	size_t keep, room;

	if (n > SAID_MAX) {
		data += n - SAID_MAX;
		n = SAID_MAX;
	}
	room = SAID_MAX - n;
	keep = r->n_said < room ? r->n_said : room;
	memmove(r->said, r->said + (r->n_said - keep), keep);
	memcpy(r->said + keep, data, n);
	r->n_said = keep + n;
}

/* Takes one piece. false: nothing there at the moment, or the end. */
static bool take(struct run *r, int *fd, enum err *e)
{
	uint8_t piece[4096];
	ssize_t n = *fd < 0 ? 0 : read(*fd, piece, sizeof(piece));

	if (n < 0 && errno == EINTR)
		return true;
	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			close_fd(fd);
		return false;
	}
	if (fd == &r->err)
		hear(r, piece, (size_t)n);
	else if (r->output->len + (size_t)n > COMMAND_OUTPUT_MAX)
		r->too_big = true;
	else
		*e = buf_put(r->output, piece, (size_t)n);
	return !r->too_big && !*e;
}

/* Until it has ended, or must be. true: it has ended by itself. */
static bool listen_to(struct run *r, int64_t until, enum err *e)
{
	for (;;) {
		struct pollfd fds[] = {{.fd = r->pidfd, .events = POLLIN},
				       {.fd = r->out, .events = POLLIN},
				       {.fd = r->err, .events = POLLIN}};
		int64_t left = until - now_ms();
		int n = left > 0 ? poll(fds, ARRAY_SIZE(fds), (int)left) : 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		/* One piece each and a look at the clock: a command that never stops talking has no more time than
		 * another. */
		if (fds[1].revents)
			take(r, &r->out, e);
		if (fds[2].revents)
			take(r, &r->err, e);
		if (*e || r->too_big)
			return false;
		if (fds[0].revents && !fds[1].revents && !fds[2].revents)
			return true;
		/* It has ended, and what it started holds its output open: what is there now counts. */
		if (fds[0].revents) {
			while (take(r, &r->out, e))
				;
			for (int i = 0; i < 64 && take(r, &r->err, e); i++)
				;
			return !*e && !r->too_big;
		}
	}
}

/* The last line that says anything. */
static void last_line(struct run *r, char out[SHOWN_MAX + 1])
{
	size_t end = r->n_said, begin;

	while (end && strchr(" \t\r\n", r->said[end - 1]))
		end--;
	for (begin = end; begin && r->said[begin - 1] != '\n'; begin--)
		;
	if (end - begin > SHOWN_MAX)
		end = begin + SHOWN_MAX;
	memcpy(out, r->said + begin, end - begin);
	out[end - begin] = '\0';
	str_make_printable(out);
}

static enum err judge(struct run *r, const struct command *c, int status, struct why *why)
{
	const char *name = c->words->items[0];
	char said[SHOWN_MAX + 1];

	last_line(r, said);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return ERR_OK;
	if (WIFEXITED(status))
		why_set(why, "%s ended with exit code %d%s%s", name, WEXITSTATUS(status), said[0] ? ": " : "", said);
	else
		why_set(why, "%s was ended by signal %d%s%s", name, WTERMSIG(status), said[0] ? ": " : "", said);
	return ERR_REFUSED;
}

enum err command_run(struct buf *out, struct command *c, struct why *why)
{
	struct run r = {.pidfd = -1, .output = out};
	int64_t began = now_ms(), until = began + c->limit_ms;
	enum err e = start(&r, c, why);
	bool ended = false;
	int status = 0;

	if (!e) {
		r.pidfd = pidfd_open(r.pid, 0);
		ended = r.pidfd >= 0 && listen_to(&r, until, &e);
		kill(-r.pid, SIGKILL);
		while (waitpid(r.pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	if (!e && r.too_big) {
		why_set(why, "%s wrote more than %u bytes", c->words->items[0], COMMAND_OUTPUT_MAX);
		e = ERR_TOO_BIG;
	} else if (!e && !ended) {
		why_set(why, "%s did not end within %lld s and was killed", c->words->items[0],
			(long long)((c->limit_ms + 999) / 1000));
		e = ERR_TIMEOUT;
	} else if (!e) {
		e = judge(&r, c, status, why);
	}
	close_fd(&r.pidfd);
	close_fd(&r.out);
	close_fd(&r.err);
	c->took_ms = now_ms() - began;
	return e;
}
