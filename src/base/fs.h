/*
 * Files as the world gives them: a small table of operations, so that the simulation can stop a process between
 * any two of them, and file_replace(), which leaves the old or the new content whatever happens.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct fs {
	/* The whole file; ERR_NOT_FOUND, ERR_TOO_BIG above `limit`, ERR_INVALID: a folder, a pipe, a device; ERR_IO. */
	enum err (*read)(const struct fs *fs, const char *path, size_t limit, struct buf *out, struct why *why);
	/* Makes or empties `path` with that mode, writes all, fsyncs. Like `as` (may be NULL): owner, mode and label of
	 * that file. */
	enum err (*write_synced)(const struct fs *fs, const char *path, const char *as, unsigned mode, const void *data,
				 size_t n, struct why *why);
	enum err (*rename)(const struct fs *fs, const char *from, const char *to, struct why *why);
	enum err (*remove)(const struct fs *fs, const char *path, struct why *why); /* a missing file is ERR_OK */
	enum err (*sync_dir)(const struct fs *fs, const char *dir, struct why *why);
	enum err (*make_dir)(const struct fs *fs, const char *path, unsigned mode,
			     struct why *why); /* exists: ERR_OK */
	/* Where a chain of symbolic links ends; the path itself when it is none. New string. */
	enum err (*real_path)(const struct fs *fs, const char *path, char **out, struct why *why);
	bool (*exists)(const struct fs *fs, const char *path);
	/*
	 * Can another file be renamed over this one, as far as can be known beforehand? What isn't there can.
	 * ERR_INVALID: no file, or one that is mounted by itself. The function may be NULL: everything can.
	 */
	enum err (*can_replace)(const struct fs *fs, const char *path, struct why *why);
	void *user;
};

/* The machine's files. */
extern const struct fs fs_posix;

/*
 * Replaces a file so that a kill or power loss at any point leaves the old or the new content: temporary file beside
 * the target, fsync, rename, fsync of the folder. Follows a symbolic link to its target, keeps owner, mode and label
 * of a file that exists; a new one gets `mode`.
 */
enum err file_replace(const struct fs *fs, const char *path, unsigned mode, const void *data, size_t n, struct why *why)
	MUST_CHECK;
enum err file_read(const struct fs *fs, const char *path, size_t limit, struct buf *out, struct why *why) MUST_CHECK;
/*
 * For what somebody names at a command line, who can end it: also a pipe, a device or standard input. Everything else
 * is read with file_read(), which waits for nobody.
 */
enum err file_read_any(const char *path, size_t limit, struct buf *out, struct why *why) MUST_CHECK;
/* "dir/name" in a new string; NULL when out of memory. */
char *path_join(const char *dir, const char *name);
/* The part before the last slash ("." when there is none), new string. */
char *path_dir(const char *path);
