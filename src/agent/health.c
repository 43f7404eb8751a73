#include "agent/health.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

/* One run; it outlives its health when that is freed meanwhile. */
struct run {
	struct work work;
	struct health *health; /* NULL: nobody waits any more; the loop's */
	char *script;          /* owned */
	int64_t limit_s;
	int cancel; /* eventfd: readable when it has to end now */
	/* out */
	enum health_result result;
	struct why sentence;
};

struct health {
	struct world *world;
	const struct log *log;
	char *script; /* owned */
	int64_t limit_s;
	struct run *run; /* NULL: none */
	struct list waiters;
	enum health_result last;
};

const char *health_result_name(enum health_result r)
{
	static const char *const names[] = {
		[HEALTH_UNKNOWN] = "unknown",
		[HEALTH_GOOD] = "good",
		[HEALTH_BAD] = "bad",
	};

	return names[r];
}

/* ---- on the work thread ---- */

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A group of its own, no signals blocked or ignored, nothing of ours open. */
static int start(pid_t *pid, const char *script)
{
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char *const env[] = {path, NULL};
	CLEAN(mem_freep) char *name = mem_strdup(script);
	char *const argv[] = {name, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int problem;

	if (!name || posix_spawn_file_actions_init(&files))
		return ENOMEM;
	if (posix_spawnattr_init(&attr)) {
		posix_spawn_file_actions_destroy(&files);
		return ENOMEM;
	}
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	problem = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	if (!problem)
		problem = posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
	if (!problem)
		problem = posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
	if (!problem)
		problem = posix_spawn(pid, script, &files, &attr, argv, env);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return problem;
}

/* True when it has ended by itself. */
static bool wait_for(int pidfd, int cancel, int64_t until)
{
	for (;;) {
		struct pollfd fds[] = {{.fd = pidfd, .events = POLLIN}, {.fd = cancel, .events = POLLIN}};
		int64_t left = until - now_ms();
		int n = poll(fds, ARRAY_SIZE(fds), left > 0 ? (int)left : 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (fds[0].revents)
			return true;
		if (n <= 0 || fds[1].revents)
			return false;
	}
}

static void judge(struct run *r, int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		r->result = HEALTH_GOOD;
		why_set(&r->sentence, "the health script says yes");
	} else if (WIFEXITED(status) && WEXITSTATUS(status) == 1) {
		r->result = HEALTH_BAD;
		why_set(&r->sentence, "the health script says no");
	} else if (WIFEXITED(status)) {
		why_set(&r->sentence, "the health script ended with exit code %d, which means nothing",
			WEXITSTATUS(status));
	} else {
		why_set(&r->sentence, "the health script was ended by signal %d", WTERMSIG(status));
	}
}

static void run_run(struct work *work)
{
	struct run *r = container_of(work, struct run, work);
	int64_t until = now_ms() + r->limit_s * 1000;
	int status = 0, pidfd, problem;
	bool ended;
	pid_t pid;

	r->result = HEALTH_UNKNOWN;
	problem = start(&pid, r->script);
	if (problem) {
		why_set(&r->sentence, "%s can't be started: %s", r->script, strerror(problem));
		return;
	}
	pidfd = pidfd_open(pid, 0);
	ended = pidfd >= 0 && wait_for(pidfd, r->cancel, until);
	/* Until it is waited for, its number can't be anybody else's. */
	if (!ended)
		kill(-pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pidfd >= 0)
		close(pidfd);
	if (ended)
		judge(r, status);
	else
		why_set(&r->sentence, "the health script took longer than %lld s and was killed",
			(long long)r->limit_s);
}

/* ---- on the loop ---- */

static void run_free(struct run *r)
{
	if (r->health)
		r->health->run = NULL;
	if (r->cancel >= 0)
		close(r->cancel);
	mem_free(r->script);
	mem_free(r);
}

static void run_dropped(struct work *work)
{
	run_free(container_of(work, struct run, work));
}

static void tell(struct health *h, enum health_result result, const char *sentence)
{
	struct list due;

	/* Who asks from inside done() waits for the next run. */
	list_init(&due);
	list_for (w, &h->waiters, struct health_waiter, queued) {
		list_remove(&w->queued);
		list_append(&due, &w->queued);
	}
	while (!list_is_empty(&due)) {
		struct health_waiter *w = list_first(&due, struct health_waiter, queued);

		list_remove(&w->queued);
		w->done(w, result, sentence);
	}
}

static void run_done(struct work *work)
{
	struct run *r = container_of(work, struct run, work);
	struct health *h = r->health;
	struct why sentence = r->sentence;
	enum health_result result = r->result;

	run_free(r);
	if (!h)
		return;
	if (result != h->last)
		log_at(h->log, result == HEALTH_GOOD ? LOG_INFO : LOG_WARN, "health changed",
		       KV_S("from", health_result_name(h->last)), KV_S("to", health_result_name(result)),
		       KV_S("reason", sentence.text));
	h->last = result;
	tell(h, result, sentence.text);
}

void health_ask(struct health *h, struct health_waiter *waiter)
{
	struct run *r = NULL;

	if (waiter)
		list_append(&h->waiters, &waiter->queued);
	if (h->run)
		return;
	r = mem_zalloc(sizeof(*r));
	if (r) {
		r->cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		r->script = mem_strdup(h->script);
		r->limit_s = h->limit_s;
	}
	if (!r || r->cancel < 0 || !r->script) {
		if (r)
			run_free(r);
		tell(h, HEALTH_UNKNOWN, "the health script can't be started: no room");
		return;
	}
	r->health = h;
	h->run = r;
	r->work = (struct work){.run = run_run, .done = run_done, .dropped = run_dropped};
	world_work(h->world, WORK_FILE, &r->work);
}

enum health_result health_last(const struct health *h)
{
	return h->last;
}

enum err health_new(struct health **out, struct world *w, const struct log *log, const char *script, int64_t limit_s)
{
	struct health *h = mem_zalloc(sizeof(*h));

	if (!h || !(h->script = mem_strdup(script))) {
		mem_free(h);
		return ERR_NOMEM;
	}
	h->world = w;
	h->log = log;
	h->limit_s = limit_s;
	list_init(&h->waiters);
	*out = h;
	return ERR_OK;
}

struct health *health_free(struct health *h)
{
	if (!h)
		return NULL;
	if (h->run) {
		uint64_t one = 1;

		/* It can't fail: nobody else has written there. */
		if (write(h->run->cancel, &one, sizeof(one)) != (ssize_t)sizeof(one))
			log_warn(h->log, "the health script may still be running");
		h->run->health = NULL;
		h->run = NULL;
	}
	tell(h, HEALTH_UNKNOWN, "the health script was stopped");
	mem_free(h->script);
	return mem_free(h);
}
