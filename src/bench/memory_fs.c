/*
 * Files that stay in memory: ten thousand agents on one disk would measure that disk's fsync, and no fleet has its
 * agents on one disk. What is not in memory yet is read from the disk; memory_fs_save() writes back what changed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/map.h"
#include "base/mem.h"
#include "bench/bench.h"

struct memory_fs {
	struct fs table;
	struct map files; /* path -> struct file, owned */
};

struct file {
	char *path; /* owned */
	struct buf data;
};

static struct memory_fs *memory_of(const struct fs *fs)
{
	return fs->user;
}

static struct file *file_free(struct file *f)
{
	if (!f)
		return NULL;
	mem_free(f->path);
	buf_deinit(&f->data);
	return mem_free(f);
}

static enum err put(struct memory_fs *m, const char *path, struct file *take_f)
{
	struct file *old = map_get(&m->files, path);
	char *copy = mem_strdup(path);
	enum err e = copy ? map_put(&m->files, path, take_f) : ERR_NOMEM;

	if (e) {
		mem_free(copy);
		file_free(take_f);
		return e;
	}
	file_free(old);
	mem_free(take_f->path);
	take_f->path = copy;
	return ERR_OK;
}

/* ---- the table ---- */

static enum err op_read(const struct fs *fs, const char *path, size_t limit, struct buf *out, struct why *why)
{
	const struct file *f = map_get(&memory_of(fs)->files, path);

	if (!f)
		return fs_posix.read(&fs_posix, path, limit, out, why);
	if (f->data.len <= limit)
		return buf_put(out, f->data.data, f->data.len);
	why_set(why, "%s is larger than %zu bytes", path, limit);
	return ERR_TOO_BIG;
}

static enum err op_write(const struct fs *fs, const char *path, const char *as, unsigned mode, const void *data,
			 size_t n, struct why *why)
{
	struct file *f = mem_zalloc(sizeof(*f));

	if (!f || buf_put(&f->data, data, n)) {
		file_free(f);
		return ERR_NOMEM;
	}
	return put(memory_of(fs), path, f);
}

static enum err op_rename(const struct fs *fs, const char *from, const char *to, struct why *why)
{
	struct memory_fs *m = memory_of(fs);
	struct file *f = map_remove(&m->files, from);

	if (f)
		return put(m, to, f);
	why_set(why, "cannot rename %s: it is not in memory", from);
	return ERR_NOT_FOUND;
}

static enum err op_remove(const struct fs *fs, const char *path, struct why *why)
{
	file_free(map_remove(&memory_of(fs)->files, path));
	return ERR_OK;
}

static enum err op_sync_dir(const struct fs *fs, const char *dir, struct why *why)
{
	return ERR_OK;
}

static enum err op_make_dir(const struct fs *fs, const char *path, unsigned mode, struct why *why)
{
	return fs_posix.make_dir(&fs_posix, path, mode, why);
}

static enum err op_real_path(const struct fs *fs, const char *path, char **out, struct why *why)
{
	*out = mem_strdup(path);
	return *out ? ERR_OK : ERR_NOMEM;
}

static bool op_exists(const struct fs *fs, const char *path)
{
	return map_get(&memory_of(fs)->files, path) || fs_posix.exists(&fs_posix, path);
}

/* ---- made, saved, freed ---- */

enum err memory_fs_new(struct memory_fs **out)
{
	struct memory_fs *m = mem_zalloc(sizeof(*m));

	if (!m)
		return ERR_NOMEM;
	map_init_text(&m->files, 0);
	m->table = (struct fs){
		.read = op_read,
		.write_synced = op_write,
		.rename = op_rename,
		.remove = op_remove,
		.sync_dir = op_sync_dir,
		.make_dir = op_make_dir,
		.real_path = op_real_path,
		.exists = op_exists,
		.user = m,
	};
	*out = m;
	return ERR_OK;
}

struct memory_fs *memory_fs_free(struct memory_fs *m)
{
	size_t cursor = 0;

	if (!m)
		return NULL;
	for (struct file *f = map_next(&m->files, &cursor); f; f = map_next(&m->files, &cursor))
		file_free(f);
	map_deinit(&m->files);
	return mem_free(m);
}

const struct fs *memory_fs_table(struct memory_fs *m)
{
	return &m->table;
}

static enum err failed(struct why *why, const char *path)
{
	why_set(why, "cannot write %s: %s", path, strerror(errno));
	return ERR_IO;
}

enum err file_put(const char *path, const void *data, size_t n, struct why *why)
{
	CLEAN(mem_freep) char *fresh = mem_printf("%s.fresh", path);
	int fd = fresh ? open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
	bool ok;

	if (!fresh)
		return ERR_NOMEM;
	if (fd < 0)
		return failed(why, fresh);
	/* Regular files take all of it or fail. */
	ok = write(fd, data, n) == (ssize_t)n;
	ok &= close(fd) == 0;
	return ok && rename(fresh, path) == 0 ? ERR_OK : failed(why, path);
}

enum err memory_fs_save(struct memory_fs *m, struct why *why)
{
	size_t cursor = 0;
	enum err e = ERR_OK;

	for (struct file *f = map_next(&m->files, &cursor); f && !e; f = map_next(&m->files, &cursor))
		e = file_put(f->path, f->data.data, f->data.len, why);
	return e;
}
