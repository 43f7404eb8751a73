#include "cli/demo.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"

#define EXIT_NO_PROGRAM 127
#define LOG_READ_MAX (64UL * 1024 * 1024)
#define WAIT_STEP_MS 10

struct mono clock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (struct mono){.us = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000};
}

double seconds_since(struct mono start)
{
	return (double)mono_ms_between(start, clock_now()) / 1000.0;
}

static void signals_of_interest(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGQUIT);
}

enum err signals_open(struct demo *d, struct why *why)
{
	sigset_t set;

	signals_of_interest(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (d->signals < 0) {
		why_set(why, "signals: %s", strerror(errno));
		return ERR_IO;
	}
	return ERR_OK;
}

bool demo_sleep(struct demo *d, int ms)
{
	struct pollfd p = {.fd = d->signals, .events = POLLIN};
	struct signalfd_siginfo info;

	if (poll(&p, 1, ms) > 0 && read(d->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		d->is_stopping = true;
	return !d->is_stopping;
}

/* ---- in the child ---- */

static void child_say(const char *what)
{
	const char *reason = strerror(errno);

	/* Nothing can be done about a log that can't be written. */
	if (write(STDERR_FILENO, what, strlen(what)) < 0 || write(STDERR_FILENO, ": ", 2) < 0 ||
	    write(STDERR_FILENO, reason, strlen(reason)) < 0 || write(STDERR_FILENO, "\n", 1) < 0)
		_exit(EXIT_NO_PROGRAM);
}

static void __attribute__((noreturn)) become(const char *log_path, char *const argv[], int input, pid_t parent)
{
	int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int from = input >= 0 ? input : open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;

	/* A Ctrl-C is for the demo, which ends its children in order; if it can't, the kernel does. */
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_NO_PROGRAM);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (log < 0 || from < 0 || dup2(from, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 ||
	    dup2(log, STDERR_FILENO) < 0)
		_exit(EXIT_NO_PROGRAM);
	execv(argv[0], argv);
	child_say(argv[0]);
	_exit(EXIT_NO_PROGRAM);
}

/* ---- in the demo ---- */

static enum err feed(int fd, const char *input, struct why *why)
{
	size_t n = strlen(input);
	ssize_t written = write(fd, input, n); /* a token: always fits into a pipe */

	close(fd);
	if (written == (ssize_t)n)
		return ERR_OK;
	why_set(why, "the token could not be handed over: %s", strerror(errno));
	return ERR_IO;
}

enum err child_start(struct child *child, char *const argv[], const char *input, struct why *why)
{
	int ends[2] = {-1, -1};
	pid_t parent = getpid(), pid;

	if (input && pipe2(ends, O_CLOEXEC)) {
		why_set(why, "a pipe: %s", strerror(errno));
		return ERR_IO;
	}
	fflush(stdout);
	fflush(stderr);
	pid = fork();
	if (pid == 0)
		become(child->log_path, argv, ends[0], parent);
	if (ends[0] >= 0)
		close(ends[0]);
	if (pid < 0) {
		why_set(why, "no process could be made for %s: %s", child->name, strerror(errno));
		if (ends[1] >= 0)
			close(ends[1]);
		return ERR_IO;
	}
	child->pid = pid;
	child->status = 0;
	child->was_killed = false;
	return input ? feed(ends[1], input, why) : ERR_OK;
}

bool child_is_alive(struct child *child)
{
	int status;

	if (!child->pid)
		return false;
	if (waitpid(child->pid, &status, WNOHANG) != child->pid)
		return true;
	child->pid = 0;
	child->status = status;
	return false;
}

void child_signal(const struct child *child, int signal)
{
	if (child->pid)
		kill(child->pid, signal);
}

bool child_wait(struct child *child, int ms)
{
	struct mono deadline = mono_add_ms(clock_now(), ms);
	struct timespec step = {.tv_nsec = WAIT_STEP_MS * 1000000L};

	while (child_is_alive(child)) {
		if (mono_reached(clock_now(), deadline))
			return false;
		nanosleep(&step, NULL);
	}
	return true;
}

void child_describe_end(char *out, size_t size, const struct child *child)
{
	if (WIFSIGNALED(child->status))
		snprintf(out, size, "was ended by signal %d (%s)", WTERMSIG(child->status),
			 strsignal(WTERMSIG(child->status)));
	else
		snprintf(out, size, "ended with exit code %d", WEXITSTATUS(child->status));
}

void child_print_log(FILE *to, const struct child *child, size_t n_lines)
{
	CLEAN(buf_deinit) struct buf text = {0};
	size_t start, seen = 0;

	if (!child->log_path || file_read(&fs_posix, child->log_path, LOG_READ_MAX, &text, NULL))
		return;
	for (start = text.len; start; start--) {
		if (text.data[start - 1] == '\n' && start < text.len && ++seen == n_lines)
			break;
	}
	fprintf(to, "---- %s, the end of %s\n%.*s%s", child->name, child->log_path, (int)(text.len - start),
		(const char *)text.data + start, text.len && text.data[text.len - 1] == '\n' ? "" : "\n");
}

void child_deinit(struct child *child)
{
	child->dir = mem_free(child->dir);
	child->log_path = mem_free(child->log_path);
}
