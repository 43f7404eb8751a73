#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

#define READ_STEP (64 * 1024)
#define LINKS_MAX 40 /* as many as the kernel follows */
#define LABEL "security.selinux"

/* Says "cannot <what> <path>: <reason>"; errno values that callers tell apart get a number of their own. */
static enum err failed(struct why *why, const char *what, const char *path, int number)
{
	why_set(why, "cannot %s %s: %s", what, path, strerror(number));
	if (number == ENOENT || number == ENOTDIR)
		return ERR_NOT_FOUND;
	return number == ENOMEM ? ERR_NOMEM : ERR_IO;
}

static int open_retry(const char *path, int flags, unsigned mode)
{
	int fd;

	do
		fd = open(path, flags | O_CLOEXEC | O_NOCTTY, (mode_t)mode);
	while (fd < 0 && errno == EINTR);
	return fd;
}

static int fsync_retry(int fd)
{
	int result;

	do
		result = fsync(fd);
	while (result < 0 && errno == EINTR);
	return result;
}

static void fd_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static enum err read_all(int fd, const char *path, size_t limit, struct buf *out, struct why *why)
{
	size_t total = 0;

	for (;;) {
		ssize_t n;
		enum err e;

		/* One byte over the limit tells "exactly as much" from "more", also where there is no size to ask. */
		size_t step = limit - total < READ_STEP ? limit - total + 1 : READ_STEP;

		e = buf_reserve(out, step);
		if (e)
			return e;
		n = read(fd, out->data + out->len, step);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return failed(why, "read", path, errno);
		if (n == 0)
			return ERR_OK;
		if ((size_t)n > limit - total) {
			why_set(why, "%s is larger than %zu bytes", path, limit);
			return ERR_TOO_BIG;
		}
		out->len += (size_t)n;
		total += (size_t)n;
	}
}

static const char *kind_name(mode_t mode)
{
	return S_ISDIR(mode)                    ? "a folder"
	       : S_ISFIFO(mode)                 ? "a named pipe"
	       : S_ISCHR(mode) || S_ISBLK(mode) ? "a device"
	       : S_ISSOCK(mode)                 ? "a socket"
						: "no ordinary file";
}

/* What is none may have no end, or let us wait for ever. */
static enum err is_file(const char *path, const struct stat *st, struct why *why)
{
	if (S_ISREG(st->st_mode))
		return ERR_OK;
	why_set(why, "%s is %s, not a file", path, kind_name(st->st_mode));
	return ERR_INVALID;
}

static enum err need_file(int fd, const char *path, struct stat *st, struct why *why)
{
	return fstat(fd, st) < 0 ? failed(why, "look at", path, errno) : is_file(path, st, why);
}

/* A socket, and a named pipe that is to be written and that nobody reads, can't even be opened. */
static enum err not_opened(struct why *why, const char *what, const char *path, int number)
{
	if (number != ENXIO)
		return failed(why, what, path, number);
	why_set(why, "%s is a named pipe, a socket or a device, not a file", path);
	return ERR_INVALID;
}

static enum err read_from(int fd, const char *path, size_t limit, struct buf *out, struct why *why)
{
	size_t old_len = out->len;
	enum err e = read_all(fd, path, limit, out, why);

	if (e)
		out->len = old_len;
	return e;
}

static enum err posix_read(const struct fs *fs, const char *path, size_t limit, struct buf *out, struct why *why)
{
	/* To open a named pipe would be to wait for who writes it. */
	CLEAN(fd_closep) int fd = open_retry(path, O_RDONLY | O_NONBLOCK, 0);
	struct stat st;
	enum err e;

	if (fd < 0)
		return not_opened(why, "open", path, errno);
	e = need_file(fd, path, &st, why);
	if (e)
		return e;
	if (st.st_size > 0 && (uintmax_t)st.st_size > limit) {
		why_set(why, "%s is larger than %zu bytes", path, limit);
		return ERR_TOO_BIG;
	}
	return read_from(fd, path, limit, out, why);
}

enum err file_read_any(const char *path, size_t limit, struct buf *out, struct why *why)
{
	CLEAN(fd_closep) int fd = open_retry(path, O_RDONLY, 0);

	return fd < 0 ? not_opened(why, "open", path, errno) : read_from(fd, path, limit, out, why);
}

/* Owner first: a change of owner takes the set-user-id bits away. Only then may anybody else read it. */
static enum err make_like(int fd, const char *path, const char *as, unsigned mode, struct why *why)
{
	struct stat like, now;
	char label[512];
	ssize_t n_label;
	enum err e;

	if (fstat(fd, &now) < 0)
		return failed(why, "look at", path, errno);
	if (as) {
		if (stat(as, &like) < 0)
			return failed(why, "look at", as, errno);
		e = is_file(as, &like, why);
		if (e)
			return e;
		mode = like.st_mode & 07777;
		if ((like.st_uid != now.st_uid || like.st_gid != now.st_gid) &&
		    fchown(fd, like.st_uid, like.st_gid) < 0)
			return failed(why, "keep the owner on", path, errno);
		/* Best effort: without SELinux there is no label, and a policy may forbid setting it. */
		n_label = getxattr(as, LABEL, label, sizeof(label));
		if (n_label > 0)
			(void)!fsetxattr(fd, LABEL, label, (size_t)n_label, 0);
	}
	if (fchmod(fd, (mode_t)mode) < 0)
		return failed(why, "set the mode of", path, errno);
	return ERR_OK;
}

static enum err write_all(int fd, const char *path, const char *data, size_t n, struct why *why)
{
	while (n) {
		ssize_t done = write(fd, data, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return failed(why, "write", path, errno);
		data += done;
		n -= (size_t)done;
	}
	return ERR_OK;
}

static enum err posix_write_synced(const struct fs *fs, const char *path, const char *as, unsigned mode,
				   const void *data, size_t n, struct why *why)
{
	/* Private until owner and mode are right; through a link that someone left here we don't write. */
	CLEAN(fd_closep) int fd = open_retry(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK, 0600);
	struct stat st;
	enum err e;
	int result;

	if (fd < 0)
		return not_opened(why, "make", path, errno);
	e = need_file(fd, path, &st, why);
	if (!e)
		e = make_like(fd, path, as, mode, why);
	if (!e)
		e = write_all(fd, path, data, n, why);
	if (!e && fsync_retry(fd) < 0)
		e = failed(why, "sync", path, errno);
	if (e)
		return e;
	/* A network file system may report a failed write only here. close() is never repeated. */
	result = close(fd);
	fd = -1; /* NOLINT(clang-analyzer-deadcode.DeadStores): its clean-up reads it */
	return result < 0 && errno != EINTR ? failed(why, "close", path, errno) : ERR_OK;
}

static enum err posix_rename(const struct fs *fs, const char *from, const char *to, struct why *why)
{
	int number;

	if (rename(from, to) == 0)
		return ERR_OK;
	number = errno;
	why_set(why, "cannot rename %s to %s: %s", from, to, strerror(number));
	return number == ENOENT || number == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
}

static enum err posix_remove(const struct fs *fs, const char *path, struct why *why)
{
	if (unlink(path) == 0 || errno == ENOENT)
		return ERR_OK;
	return failed(why, "remove", path, errno);
}

static enum err posix_sync_dir(const struct fs *fs, const char *dir, struct why *why)
{
	CLEAN(fd_closep) int fd = open_retry(dir, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return failed(why, "open", dir, errno);
	/* Some file systems can't sync a folder and say so with EINVAL; they have nothing better to offer. */
	if (fsync_retry(fd) < 0 && errno != EINVAL)
		return failed(why, "sync", dir, errno);
	return ERR_OK;
}

static enum err posix_make_dir(const struct fs *fs, const char *path, unsigned mode, struct why *why)
{
	struct stat st;
	int number;

	if (mkdir(path, (mode_t)mode) == 0)
		return ERR_OK;
	number = errno;
	if (number == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return ERR_OK;
	return failed(why, "make the folder", path, number);
}

/* readlink(2) into a new string; *out is NULL when the path is no link, which includes that nothing is there. */
static enum err link_target(const char *path, char **out, struct why *why)
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target));

	*out = NULL;
	if (n < 0)
		return errno == EINVAL || errno == ENOENT ? ERR_OK : failed(why, "follow", path, errno);
	if ((size_t)n == sizeof(target))
		return failed(why, "follow", path, ENAMETOOLONG);
	*out = mem_strndup(target, (size_t)n);
	return *out ? ERR_OK : ERR_NOMEM;
}

static enum err posix_real_path(const struct fs *fs, const char *path, char **out, struct why *why)
{
	CLEAN(mem_freep) char *at = mem_strdup(path);

	if (!at)
		return ERR_NOMEM;
	for (int i = 0; i < LINKS_MAX; i++) {
		CLEAN(mem_freep) char *target = NULL;
		CLEAN(mem_freep) char *dir = NULL;
		enum err e = link_target(at, &target, why);

		if (e)
			return e;
		if (!target) {
			*out = STEAL(at);
			return ERR_OK;
		}
		if (target[0] != '/') {
			char *next;

			/* Relative to the folder that the link is in. */
			dir = path_dir(at);
			next = dir ? path_join(dir, target) : NULL;
			if (!next)
				return ERR_NOMEM;
			mem_free(target);
			target = next;
		}
		mem_free(at);
		at = STEAL(target);
	}
	return failed(why, "follow", path, ELOOP);
}

static bool posix_exists(const struct fs *fs, const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

static enum err posix_can_replace(const struct fs *fs, const char *path, struct why *why)
{
	struct statx st;

	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &st) < 0)
		return errno == ENOENT ? ERR_OK : failed(why, "look at", path, errno);
	if (!S_ISREG(st.stx_mode) && !S_ISLNK(st.stx_mode)) {
		why_set(why, "%s is %s, not a file", path, kind_name(st.stx_mode));
		return ERR_INVALID;
	}
	/* A kernel before 5.8 doesn't say; there the rename fails. */
	if (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) {
		why_set(why, "%s is mounted by itself, so it can't be replaced: mount the folder that it is in", path);
		return ERR_INVALID;
	}
	return ERR_OK;
}

const struct fs fs_posix = {
	.read = posix_read,
	.write_synced = posix_write_synced,
	.rename = posix_rename,
	.remove = posix_remove,
	.sync_dir = posix_sync_dir,
	.make_dir = posix_make_dir,
	.real_path = posix_real_path,
	.exists = posix_exists,
	.can_replace = posix_can_replace,
};

/* ".<name>.<random>.tmp" beside the target: hidden, says what it was meant for, and nobody else's. */
static char *temporary_name(const char *dir, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	CLEAN(mem_freep) char *temporary = NULL;
	uint64_t random;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random)) {
		struct timespec now = {0};

		/* Early in the boot. Process and time are enough: the name has to be new, not secret. */
		clock_gettime(CLOCK_REALTIME, &now);
		random = (uint64_t)getpid() << 40 ^ (uint64_t)now.tv_sec << 30 ^ (uint64_t)now.tv_nsec;
	}
	/* A long name is cut: with our additions it would be over the 255 bytes that file systems take. */
	temporary = mem_printf(".%.200s.%016" PRIx64 ".tmp", name, random);
	return temporary ? path_join(dir, temporary) : NULL;
}

enum err file_replace(const struct fs *fs, const char *path, unsigned mode, const void *data, size_t n, struct why *why)
{
	CLEAN(mem_freep) char *target = NULL;
	CLEAN(mem_freep) char *dir = NULL;
	CLEAN(mem_freep) char *temporary = NULL;
	enum err e;

	e = fs->real_path(fs, path, &target, why);
	if (e)
		return e;
	dir = path_dir(target);
	temporary = dir ? temporary_name(dir, target) : NULL;
	if (!temporary)
		return ERR_NOMEM;

	/* Synced before it gets its name: after a power loss the name must not lead to an empty file. */
	e = fs->write_synced(fs, temporary, fs->exists(fs, target) ? target : NULL, mode, data, n, why);
	if (!e)
		e = fs->rename(fs, temporary, target, why);
	if (e) {
		/* The reason is what failed first; that the rest can't be removed either adds nothing. */
		(void)fs->remove(fs, temporary, NULL);
		return e;
	}
	return fs->sync_dir(fs, dir, why);
}

enum err file_read(const struct fs *fs, const char *path, size_t limit, struct buf *out, struct why *why)
{
	return fs->read(fs, path, limit, out, why);
}

char *path_join(const char *dir, const char *name)
{
	size_t n = strlen(dir);

	return mem_printf("%s%s%s", dir, n && dir[n - 1] != '/' ? "/" : "", name);
}

char *path_dir(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return mem_strdup(".");
	/* The root is its own folder; several slashes are one. */
	while (slash > path && slash[-1] == '/')
		slash--;
	return slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));
}
