#include "agent/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

#define LOCK_FILE "agent.lock"

static void say_who(int fd, const char *dir, struct why *why)
{
	char pid[24] = "";
	ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

	pid[n > 0 ? strspn(pid, "0123456789") : 0] = '\0';
	why_set(why, "another muster-agent is at work in %s%s%s", dir, pid[0] ? ", process " : "", pid);
}

enum err lock_take(int *fd, const char *dir, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(dir, LOCK_FILE);
	char pid[24];
	int file, n;

	if (!path)
		return ERR_NOMEM;
	file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (file < 0) {
		why_set(why, "can't open %s: %s", path, strerror(errno));
		return errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
	}
	if (flock(file, LOCK_EX | LOCK_NB)) {
		enum err e = errno == EWOULDBLOCK ? ERR_BUSY : ERR_IO;

		if (e == ERR_BUSY)
			say_who(file, dir, why);
		else
			why_set(why, "can't lock %s: %s", path, strerror(errno));
		close(file);
		return e;
	}
	/* For the message above only. */
	n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(file, 0) || pwrite(file, pid, (size_t)n, 0) != n) {
		why_set(why, "can't write %s: %s", path, strerror(errno));
		close(file);
		return ERR_IO;
	}
	*fd = file;
	return ERR_OK;
}

void lock_release(int fd)
{
	if (fd >= 0)
		close(fd);
}
