#include "sim/jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

struct job {
	pid_t pid; /* -1: could not be started */
	FILE *out; /* what it prints */
};

static void job_start(struct job *j, int (*run)(void *user, size_t i, size_t n), void *user, size_t i, size_t n)
{
	j->pid = -1;
	j->out = tmpfile();
	if (!j->out)
		return;
	j->pid = fork();
	if (j->pid)
		return;
	/* A failing seed prints hundreds of lines, which nobody could read among those of others. */
	if (dup2(fileno(j->out), STDOUT_FILENO) < 0)
		_exit(2);
	exit(run(user, i, n));
}

static int job_end(struct job *j)
{
	char text[4096];
	int status = 0;
	size_t n;

	if (j->pid < 0)
		perror("muster-sim: a process could not be started");
	else if (waitpid(j->pid, &status, 0) != j->pid)
		j->pid = -1;
	if (j->out) {
		rewind(j->out);
		while ((n = fread(text, 1, sizeof(text), j->out)) > 0)
			fwrite(text, 1, n, stdout);
		fclose(j->out);
	}
	return j->pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

int jobs_run(size_t n, int (*run)(void *user, size_t i, size_t n), void *user)
{
	struct job *jobs;
	int worst = 0;

	if (n <= 1)
		return run(user, 0, 1);
	jobs = mem_zalloc_array(n, sizeof(*jobs));
	if (!jobs)
		return 2;
	fflush(stdout);
	for (size_t i = 0; i < n; i++)
		job_start(&jobs[i], run, user, i, n);
	for (size_t i = 0; i < n; i++) {
		int code = job_end(&jobs[i]);

		worst = code > worst ? code : worst;
	}
	mem_free(jobs);
	return worst;
}
