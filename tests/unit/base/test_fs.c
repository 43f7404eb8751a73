#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "check.h"
#include "failing_alloc.h"

/* -- names -- */

static void paths_are_joined_and_taken_apart(void **state)
{
	static const struct {
		const char *what;
		const char *path, *dir;
	} rows[] = {
		{"a file in a folder", "/etc/muster/agent.properties", "/etc/muster"},
		{"a file in the root", "/vmlinuz", "/"},
		{"the root itself", "/", "/"},
		{"a bare name", "agent.properties", "."},
		{"a relative path", "a/b", "a"},
		{"several slashes", "a//b", "a"},
		{"several slashes at the root", "//b", "/"},
		{"nothing", "", "."},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(mem_freep) char *dir = path_dir(rows[i].path);

		check_row(&rows[i], str_equal(dir, rows[i].dir));
	}
	{
		CLEAN(mem_freep) char *a = path_join("/etc", "x");
		CLEAN(mem_freep) char *b = path_join("/", "x");
		CLEAN(mem_freep) char *c = path_join("", "x");

		assert_string_equal(a, "/etc/x");
		assert_string_equal(b, "/x");
		assert_string_equal(c, "x");
	}
}

/* -- a world of files that stops -- */

enum stop { STOP_NEVER, STOP_FAILS, STOP_KILLED };

/*
 * At most four files, in memory. At operation number `stop_at` it stops: STOP_FAILS fails this one, STOP_KILLED this
 * one and all later ones, as for a process that is gone. A write that is stopped leaves half of its bytes.
 */
struct fake {
	struct fake_file {
		char name[64];
		char content[64];
		char like[64];
		unsigned mode;
		bool is_there;
		bool is_synced;
	} files[4];
	enum stop stop;
	size_t stop_at;
	size_t n_operations;
	bool is_dir_synced;
	char trace[256];
};

static struct fake_file *fake_find(struct fake *f, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(f->files); i++) {
		if (f->files[i].is_there && strcmp(f->files[i].name, name) == 0)
			return &f->files[i];
	}
	return NULL;
}

static struct fake_file *fake_make(struct fake *f, const char *name)
{
	struct fake_file *file = fake_find(f, name);

	for (size_t i = 0; !file && i < ARRAY_SIZE(f->files); i++) {
		if (!f->files[i].is_there)
			file = &f->files[i];
	}
	check_there(file);
	*file = (struct fake_file){.is_there = true};
	assert_true(str_copy(file->name, sizeof(file->name), name));
	return file;
}

static bool fake_stops(const struct fs *fs, const char *operation, struct why *why)
{
	struct fake *f = fs->user;
	size_t n = f->n_operations++;

	strcat(strcat(f->trace, " "), operation);
	if (f->stop == STOP_NEVER || (f->stop == STOP_FAILS ? n != f->stop_at : n < f->stop_at))
		return false;
	why_set(why, "%s was stopped", operation);
	return true;
}

static enum err fake_write_synced(const struct fs *fs, const char *path, const char *as, unsigned mode,
				  const void *data, size_t n, struct why *why)
{
	struct fake *f = fs->user;
	bool stops = fake_stops(fs, "write", why);
	struct fake_file *file;

	/* Killed before: nothing happens at all. */
	if (stops && f->n_operations - 1 > f->stop_at)
		return ERR_IO;
	file = fake_make(f, path);
	assert_true(n < sizeof(file->content));
	memcpy(file->content, data, stops ? n / 2 : n);
	assert_true(str_copy(file->like, sizeof(file->like), as ? as : ""));
	file->mode = mode;
	file->is_synced = !stops;
	return stops ? ERR_IO : ERR_OK;
}

static enum err fake_rename(const struct fs *fs, const char *from, const char *to, struct why *why)
{
	struct fake *f = fs->user;
	struct fake_file *file, *old;

	if (fake_stops(fs, "rename", why))
		return ERR_IO;
	file = fake_find(f, from);
	check_there(file);
	/* After a power loss the new name might lead to bytes that never reached the disk. */
	assert_true(file->is_synced);
	old = fake_find(f, to);
	if (old)
		old->is_there = false;
	assert_true(str_copy(file->name, sizeof(file->name), to));
	return ERR_OK;
}

static enum err fake_remove(const struct fs *fs, const char *path, struct why *why)
{
	struct fake_file *file;

	if (fake_stops(fs, "remove", why))
		return ERR_IO;
	file = fake_find(fs->user, path);
	if (file)
		file->is_there = false;
	return ERR_OK;
}

static enum err fake_sync_dir(const struct fs *fs, const char *dir, struct why *why)
{
	struct fake *f = fs->user;

	if (fake_stops(fs, "sync_dir", why))
		return ERR_IO;
	assert_string_equal(dir, "/real");
	f->is_dir_synced = true;
	return ERR_OK;
}

/* "/link" leads to "/real/file". */
static enum err fake_real_path(const struct fs *fs, const char *path, char **out, struct why *why)
{
	if (fake_stops(fs, "real_path", why))
		return ERR_IO;
	*out = mem_strdup(strcmp(path, "/link") == 0 ? "/real/file" : path);
	return *out ? ERR_OK : ERR_NOMEM;
}

static bool fake_exists(const struct fs *fs, const char *path)
{
	return fake_find(fs->user, path) != NULL;
}

static struct fs fake_fs(struct fake *f)
{
	return (struct fs){
		.write_synced = fake_write_synced,
		.rename = fake_rename,
		.remove = fake_remove,
		.sync_dir = fake_sync_dir,
		.real_path = fake_real_path,
		.exists = fake_exists,
		.user = f,
	};
}

static size_t fake_count(const struct fake *f)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(f->files); i++)
		n += f->files[i].is_there;
	return n;
}

static void fake_put_old(struct fake *f)
{
	struct fake_file *file = fake_make(f, "/real/file");

	assert_true(str_copy(file->content, sizeof(file->content), "old content"));
	file->is_synced = true;
}

static void replacing_goes_step_by_step(void **state)
{
	struct fake f = {0};
	struct fs fs = fake_fs(&f);
	const struct fake_file *file;

	/* A new file gets the mode. */
	assert_int_equal(file_replace(&fs, "/real/file", 0640, "first", 5, NULL), ERR_OK);
	assert_string_equal(f.trace, " real_path write rename sync_dir");
	file = fake_find(&f, "/real/file");
	check_there(file);
	assert_string_equal(file->content, "first");
	assert_string_equal(file->like, "");
	assert_int_equal(file->mode, 0640);
	assert_true(f.is_dir_synced);

	/* One that exists is the model for its successor, found through the link. */
	assert_int_equal(file_replace(&fs, "/link", 0600, "second", 6, NULL), ERR_OK);
	file = fake_find(&f, "/real/file");
	check_there(file);
	assert_string_equal(file->content, "second");
	assert_string_equal(file->like, "/real/file");
	assert_int_equal(fake_count(&f), 1);
}

static void a_stop_anywhere_leaves_old_or_new(void **state)
{
	static const enum stop kinds[] = {STOP_FAILS, STOP_KILLED};

	for (size_t kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		for (size_t at = 0; at < 4; at++) {
			struct fake f = {.stop = kinds[kind], .stop_at = at};
			struct fs fs = fake_fs(&f);
			const struct fake_file *file;
			struct why why = WHY_NONE;

			fake_put_old(&f);
			assert_int_equal(file_replace(&fs, "/link", 0600, "new content", 11, &why), ERR_IO);
			/* The reason is the first that failed, also when cleaning up failed too. */
			assert_true(str_ends(why.text, "was stopped"));
			assert_false(str_starts(why.text, "remove"));
			file = fake_find(&f, "/real/file");
			check_there(file);
			assert_string_equal(file->content, at < 3 ? "old content" : "new content");
			/* Who lives on cleans up behind itself. */
			if (kinds[kind] == STOP_FAILS)
				assert_int_equal(fake_count(&f), 1);
		}
	}
}

static void a_stop_leaves_no_half_of_a_new_file(void **state)
{
	for (size_t at = 0; at < 4; at++) {
		struct fake f = {.stop = STOP_KILLED, .stop_at = at};
		struct fs fs = fake_fs(&f);
		const struct fake_file *file;

		assert_int_equal(file_replace(&fs, "/real/file", 0600, "new content", 11, NULL), ERR_IO);
		file = fake_find(&f, "/real/file");
		if (at < 3)
			assert_null(file);
		else
			assert_string_equal(file ? file->content : "missing", "new content");
	}
}

static enum err replace_step(void *user)
{
	struct fake f = {0};
	struct fs fs = fake_fs(&f);
	const struct fake_file *file;
	enum err e;

	fake_put_old(&f);
	e = file_replace(&fs, "/link", 0600, "new content", 11, NULL);
	file = fake_find(&f, "/real/file");
	check_there(file);
	assert_string_equal(file->content, e ? "old content" : "new content");
	return e;
}

static void every_allocation_may_fail(void **state)
{
	assert_true(failing_alloc_each(replace_step, NULL) >= 3);
}

/* -- the machine's files -- */

struct world {
	char dir[PATH_MAX];
	char path[6][PATH_MAX + 16];
};

/* A folder of its own with a few names in it. */
static int world_open(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	const char *tmp = getenv("TMPDIR");

	snprintf(w->dir, sizeof(w->dir), "%s/muster-test-fs-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(w->dir))
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(w->path); i++)
		snprintf(w->path[i], sizeof(w->path[i]), "%s/%c", w->dir, (char)('a' + i));
	*state = w;
	return 0;
}

static int world_close(void **state)
{
	struct world *w = *state;
	int result;

	/* Whatever isn't named here was left behind by the code under test: then rmdir fails. */
	for (size_t i = 0; i < ARRAY_SIZE(w->path); i++) {
		if (unlink(w->path[i]) < 0)
			rmdir(w->path[i]);
	}
	result = rmdir(w->dir);
	free(w);
	return result;
}

static void must_hold(const char *path, const char *expected)
{
	CLEAN(buf_deinit) struct buf out = {0};
	struct why why = WHY_NONE;

	if (file_read(&fs_posix, path, 1000000, &out, &why))
		fail_msg("%s", why.text);
	assert_int_equal(out.len, strlen(expected));
	assert_string_equal(buf_str(&out), expected);
}

static void must_have_mode(const char *path, unsigned mode)
{
	struct stat st;

	assert_return_code(stat(path, &st), errno);
	assert_int_equal(st.st_mode & 07777, mode);
}

static void must_say(const struct why *why, const char *path, int number)
{
	if (!strstr(why->text, path) || !str_ends(why->text, strerror(number)))
		fail_msg("\"%s\" doesn't name %s and \"%s\"", why->text, path, strerror(number));
}

/* A new file with a hole. */
static int truncate_new(const char *path, off_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	int result = fd < 0 ? -1 : ftruncate(fd, size);

	close(fd);
	return result;
}

static void files_are_read_up_to_a_limit(void **state)
{
	struct world *w = *state;
	CLEAN(buf_deinit) struct buf out = {0};
	struct why why = WHY_NONE;

	assert_int_equal(fs_posix.write_synced(&fs_posix, w->path[0], NULL, 0600, "hello", 5, &why), ERR_OK);
	assert_int_equal(buf_put_str(&out, "x"), ERR_OK);
	assert_int_equal(file_read(&fs_posix, w->path[0], 5, &out, &why), ERR_OK);
	assert_string_equal(buf_str(&out), "xhello");
	assert_int_equal(file_read(&fs_posix, w->path[0], 4, &out, &why), ERR_TOO_BIG);
	assert_non_null(strstr(why.text, "is larger than 4 bytes"));
	assert_string_equal(buf_str(&out), "xhello");
	assert_int_equal(file_read(&fs_posix, w->path[0], 0, &out, &why), ERR_TOO_BIG);
	assert_int_equal(file_read(&fs_posix, w->path[0], SIZE_MAX, &out, &why), ERR_OK);
	assert_string_equal(buf_str(&out), "xhellohello");

	/* A file that says it is empty but isn't. */
	buf_clear(&out);
	assert_int_equal(file_read(&fs_posix, "/proc/self/stat", 100000, &out, &why), ERR_OK);
	assert_true(out.len > 10);
	assert_int_equal(file_read(&fs_posix, "/proc/self/stat", 3, &out, &why), ERR_TOO_BIG);
}

/* Nobody waits for a pipe that nobody writes, or reads a device to an end that it doesn't have. */
static void what_is_no_file_is_refused_by_name(void **state)
{
	struct world *w = *state;
	CLEAN(mem_freep) char *link = path_join(w->dir, "to-pipe");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	CLEAN(mem_freep) char *socket_path = path_join(w->dir, "socket");
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(s >= 0 && str_copy(address.sun_path, sizeof(address.sun_path), socket_path));
	assert_int_equal(bind(s, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(mkfifo(w->path[0], 0600), 0);
	assert_int_equal(symlink(w->path[0], link), 0);
	assert_int_equal(truncate_new(w->path[1], (off_t)1 << 40), 0);
	{
		const struct {
			const char *path;
			enum err e;
			const char *says;
		} rows[] = {
			{w->path[0], ERR_INVALID, "is a named pipe, not a file"},
			{link, ERR_INVALID, "is a named pipe, not a file"},
			{"/dev/zero", ERR_INVALID, "is a device, not a file"},
			{w->dir, ERR_INVALID, "is a folder, not a file"},
			{socket_path, ERR_INVALID, "not a file"},
			{w->path[1], ERR_TOO_BIG, "is larger than 1000000 bytes"},
		};

		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			CLEAN(buf_deinit) struct buf out = {0};
			struct why why = WHY_NONE;
			enum err e = file_read(&fs_posix, rows[i].path, 1000000, &out, &why);

			if (e != rows[i].e || !strstr(why.text, rows[i].says) || !strstr(why.text, rows[i].path))
				fail_msg("%s: %s (%s)", rows[i].path, err_name(e), why.text);
			assert_int_equal(out.len, 0);
		}
		/* Nor is one written, or replaced. */
		assert_int_equal(file_replace(&fs_posix, link, 0600, "x", 1, NULL), ERR_INVALID);
		for (size_t i = 0; i < ARRAY_SIZE(rows) - 1; i++) {
			struct why why = WHY_NONE;

			if (rows[i].path == link || rows[i].path == w->dir)
				continue;
			if (fs_posix.write_synced(&fs_posix, rows[i].path, NULL, 0600, "x", 1, &why) != ERR_INVALID ||
			    !strstr(why.text, "not a file"))
				fail_msg("%s: %s", rows[i].path, why.text);
		}
	}
	close(s);
	assert_int_equal(unlink(link), 0);
	assert_int_equal(unlink(socket_path), 0);
}

/* A command line may name a pipe, and who wrote it can end it. */
static void a_command_line_may_name_a_pipe(void **state)
{
	CLEAN(mem_freep) char *path = NULL;
	CLEAN(buf_deinit) struct buf out = {0};
	struct why why = WHY_NONE;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(write(ends[1], "hello", 5), 5);
	close(ends[1]);
	path = mem_printf("/dev/fd/%d", ends[0]);
	assert_int_equal(file_read(&fs_posix, path, 100, &out, &why), ERR_INVALID);
	assert_int_equal(file_read_any(path, 100, &out, &why), ERR_OK);
	assert_string_equal(buf_str(&out), "hello");
	close(ends[0]);
	/* One without an end. */
	assert_int_equal(file_read_any("/dev/zero", 100000, &out, &why), ERR_TOO_BIG);
	assert_int_equal(file_read_any("/nowhere", 100000, &out, &why), ERR_NOT_FOUND);
}

static void large_files_are_read_whole(void **state)
{
	struct world *w = *state;
	CLEAN(buf_deinit) struct buf out = {0};
	size_t n = 300000;
	CLEAN(mem_freep) char *data = mem_zalloc(n);

	for (size_t i = 0; i < n; i++)
		data[i] = (char)(i * 7);
	assert_int_equal(fs_posix.write_synced(&fs_posix, w->path[0], NULL, 0600, data, n, NULL), ERR_OK);
	assert_int_equal(file_read(&fs_posix, w->path[0], n - 1, &out, NULL), ERR_TOO_BIG);
	assert_int_equal(out.len, 0);
	assert_int_equal(file_read(&fs_posix, w->path[0], n, &out, NULL), ERR_OK);
	assert_int_equal(out.len, n);
	assert_memory_equal(out.data, data, n);
}

static void errors_name_path_and_reason(void **state)
{
	struct world *w = *state;
	CLEAN(buf_deinit) struct buf out = {0};
	CLEAN(mem_freep) char *beyond = path_join(w->path[0], "x");
	struct why why = WHY_NONE;
	void (*old_handler)(int);
	struct rlimit limit;
	enum err e;

	assert_int_equal(file_read(&fs_posix, w->path[0], 10, &out, &why), ERR_NOT_FOUND);
	must_say(&why, w->path[0], ENOENT);
	assert_int_equal(file_read(&fs_posix, w->path[0], 10, &out, NULL), ERR_NOT_FOUND);

	assert_int_equal(fs_posix.write_synced(&fs_posix, beyond, NULL, 0600, "x", 1, &why), ERR_NOT_FOUND);
	must_say(&why, beyond, ENOENT);
	assert_int_equal(fs_posix.write_synced(&fs_posix, w->path[1], w->path[0], 0600, "x", 1, &why), ERR_NOT_FOUND);
	must_say(&why, w->path[0], ENOENT);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	old_handler = signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max}), 0);
	e = fs_posix.write_synced(&fs_posix, w->path[0], NULL, 0600, "x", 1, &why);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	signal(SIGXFSZ, old_handler);
	assert_int_equal(e, ERR_IO);
	must_say(&why, w->path[0], EFBIG);
	assert_int_equal(unlink(w->path[0]), 0);
	assert_int_equal(fs_posix.rename(&fs_posix, w->path[0], w->path[2], &why), ERR_NOT_FOUND);
	must_say(&why, w->path[2], ENOENT);
	assert_int_equal(fs_posix.sync_dir(&fs_posix, w->path[0], &why), ERR_NOT_FOUND);
	must_say(&why, w->path[0], ENOENT);
	assert_int_equal(fs_posix.remove(&fs_posix, w->dir, &why), ERR_IO);
	assert_non_null(strstr(why.text, w->dir));
	assert_int_equal(fs_posix.make_dir(&fs_posix, beyond, 0700, &why), ERR_NOT_FOUND);
	must_say(&why, beyond, ENOENT);
}

static void written_files_have_their_mode_whatever_the_umask(void **state)
{
	struct world *w = *state;
	mode_t old = umask(0077);

	assert_int_equal(fs_posix.write_synced(&fs_posix, w->path[0], NULL, 0644, "a", 1, NULL), ERR_OK);
	umask(old);
	must_have_mode(w->path[0], 0644);
	/* A file that exists is emptied and gets the mode. */
	assert_int_equal(fs_posix.write_synced(&fs_posix, w->path[0], NULL, 0600, "", 0, NULL), ERR_OK);
	must_have_mode(w->path[0], 0600);
	must_hold(w->path[0], "");
	/* Like another one. */
	assert_return_code(chmod(w->path[0], 0640), errno);
	assert_int_equal(fs_posix.write_synced(&fs_posix, w->path[1], w->path[0], 0600, "b", 1, NULL), ERR_OK);
	must_have_mode(w->path[1], 0640);
}

static void nothing_is_written_through_a_link_left_behind(void **state)
{
	struct world *w = *state;
	struct why why = WHY_NONE;

	assert_int_equal(fs_posix.write_synced(&fs_posix, w->path[0], NULL, 0600, "safe", 4, NULL), ERR_OK);
	assert_return_code(symlink(w->path[0], w->path[1]), errno);
	assert_int_equal(fs_posix.write_synced(&fs_posix, w->path[1], NULL, 0600, "bad", 3, &why), ERR_IO);
	must_say(&why, w->path[1], ELOOP);
	must_hold(w->path[0], "safe");
}

static void owners_are_kept(void **state)
{
	struct world *w = *state;
	struct stat st;

	assert_int_equal(file_replace(&fs_posix, w->path[0], 0600, "a", 1, NULL), ERR_OK);
	/* Only root can give files away. */
	if (chown(w->path[0], 12345, 12346) < 0)
		skip();
	assert_return_code(chmod(w->path[0], 0640), errno);
	assert_int_equal(file_replace(&fs_posix, w->path[0], 0600, "b", 1, NULL), ERR_OK);
	assert_return_code(stat(w->path[0], &st), errno);
	assert_int_equal(st.st_uid, 12345);
	assert_int_equal(st.st_gid, 12346);
	assert_int_equal(st.st_mode & 07777, 0640);
	must_hold(w->path[0], "b");
}

static void removing_what_is_missing_is_fine(void **state)
{
	struct world *w = *state;

	assert_int_equal(fs_posix.remove(&fs_posix, w->path[0], NULL), ERR_OK);
	assert_int_equal(fs_posix.write_synced(&fs_posix, w->path[0], NULL, 0600, "a", 1, NULL), ERR_OK);
	assert_true(fs_posix.exists(&fs_posix, w->path[0]));
	assert_int_equal(fs_posix.remove(&fs_posix, w->path[0], NULL), ERR_OK);
	assert_false(fs_posix.exists(&fs_posix, w->path[0]));
}

static void folders_are_made_once(void **state)
{
	struct world *w = *state;
	struct why why = WHY_NONE;

	assert_int_equal(fs_posix.make_dir(&fs_posix, w->path[0], 0700, &why), ERR_OK);
	must_have_mode(w->path[0], 0700);
	assert_int_equal(fs_posix.make_dir(&fs_posix, w->path[0], 0755, &why), ERR_OK);
	must_have_mode(w->path[0], 0700);
	assert_int_equal(fs_posix.sync_dir(&fs_posix, w->path[0], &why), ERR_OK);
	/* A file of that name is not a folder. */
	assert_int_equal(fs_posix.write_synced(&fs_posix, w->path[1], NULL, 0600, "", 0, NULL), ERR_OK);
	assert_int_equal(fs_posix.make_dir(&fs_posix, w->path[1], 0700, &why), ERR_IO);
	must_say(&why, w->path[1], EEXIST);
}

static void chains_of_links_are_followed(void **state)
{
	struct world *w = *state;
	CLEAN(mem_freep) char *plain = NULL;
	CLEAN(mem_freep) char *end = NULL;
	CLEAN(mem_freep) char *loop = NULL;
	struct why why = WHY_NONE;

	assert_int_equal(fs_posix.real_path(&fs_posix, w->path[0], &plain, &why), ERR_OK);
	assert_string_equal(plain, w->path[0]);
	/* c -> b, absolute; b -> a, relative to its folder; a does not exist yet. */
	assert_return_code(symlink("a", w->path[1]), errno);
	assert_return_code(symlink(w->path[1], w->path[2]), errno);
	assert_int_equal(fs_posix.real_path(&fs_posix, w->path[2], &end, &why), ERR_OK);
	assert_string_equal(end, w->path[0]);
	assert_return_code(symlink("d", w->path[3]), errno);
	assert_int_equal(fs_posix.real_path(&fs_posix, w->path[3], &loop, &why), ERR_IO);
	must_say(&why, w->path[3], ELOOP);
	assert_null(loop);
}

static void replacing_keeps_link_and_mode(void **state)
{
	struct world *w = *state;
	struct stat st;
	struct why why = WHY_NONE;

	assert_return_code(symlink("a", w->path[1]), errno);
	assert_int_equal(file_replace(&fs_posix, w->path[1], 0604, "first", 5, &why), ERR_OK);
	must_hold(w->path[0], "first");
	must_have_mode(w->path[0], 0604);
	assert_return_code(chmod(w->path[0], 0640), errno);
	assert_int_equal(file_replace(&fs_posix, w->path[1], 0604, "second", 6, &why), ERR_OK);
	must_hold(w->path[0], "second");
	must_have_mode(w->path[0], 0640);
	assert_return_code(lstat(w->path[1], &st), errno);
	assert_true(S_ISLNK(st.st_mode));
}

/* In a child with mounts of its own; false: that is not possible here. */
static bool mounted_by_itself_is_seen(const char *file, const char *other)
{
	pid_t child = fork();
	int status = 0;

	if (child == 0) {
		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount(other, file, NULL, MS_BIND, NULL))
			_exit(77);
		_exit(fs_posix.can_replace(&fs_posix, file, NULL) == ERR_INVALID &&
				      fs_posix.can_replace(&fs_posix, other, NULL) == ERR_OK
			      ? 0
			      : 1);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77));
	return WEXITSTATUS(status) == 0;
}

static void what_can_be_replaced_is_known_beforehand(void **state)
{
	struct world *w = *state;
	struct why why = WHY_NONE;

	assert_int_equal(fs_posix.can_replace(&fs_posix, w->path[0], &why), ERR_OK);
	assert_int_equal(fs_posix.write_synced(&fs_posix, w->path[0], NULL, 0600, "a", 1, NULL), ERR_OK);
	assert_int_equal(fs_posix.write_synced(&fs_posix, w->path[1], NULL, 0600, "b", 1, NULL), ERR_OK);
	assert_int_equal(fs_posix.can_replace(&fs_posix, w->path[0], &why), ERR_OK);
	assert_int_equal(fs_posix.can_replace(&fs_posix, w->dir, &why), ERR_INVALID);
	assert_non_null(strstr(why.text, "is a folder, not a file"));
	assert_int_equal(fs_posix.can_replace(&fs_posix, "/dev/null", &why), ERR_INVALID);
	assert_non_null(strstr(why.text, "is a device, not a file"));
	if (!mounted_by_itself_is_seen(w->path[0], w->path[1]))
		print_message("  SKIPPED: nothing can be mounted here\n");
}

static void a_failed_replace_leaves_nothing_behind(void **state)
{
	struct world *w = *state;
	struct why why = WHY_NONE;

	/* A folder can't be replaced by a file; world_close() finds a temporary file that stayed. */
	assert_return_code(mkdir(w->path[0], 0700), errno);
	assert_int_equal(file_replace(&fs_posix, w->path[0], 0600, "x", 1, &why), ERR_INVALID);
	assert_non_null(strstr(why.text, "is a folder, not a file"));
}

static void names_of_full_length_can_be_replaced(void **state)
{
	struct world *w = *state;
	char name[NAME_MAX + 1];
	CLEAN(mem_freep) char *path = NULL;

	memset(name, 'n', NAME_MAX);
	name[NAME_MAX] = '\0';
	path = path_join(w->dir, name);
	assert_int_equal(file_replace(&fs_posix, path, 0600, "x", 1, NULL), ERR_OK);
	must_hold(path, "x");
	assert_int_equal(fs_posix.remove(&fs_posix, path, NULL), ERR_OK);
}

static enum err posix_step(void *user)
{
	struct world *w = user;
	CLEAN(buf_deinit) struct buf out = {0};
	enum err e = file_replace(&fs_posix, w->path[1], 0600, "content", 7, NULL);

	return e ? e : file_read(&fs_posix, w->path[1], 100, &out, NULL);
}

static void every_allocation_of_the_real_one_may_fail(void **state)
{
	struct world *w = *state;

	assert_return_code(symlink("a", w->path[1]), errno);
	assert_true(failing_alloc_each(posix_step, w) > 5);
	must_hold(w->path[0], "content");
}

#define on_disk(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_are_joined_and_taken_apart),
		cmocka_unit_test(replacing_goes_step_by_step),
		cmocka_unit_test(a_stop_anywhere_leaves_old_or_new),
		cmocka_unit_test(a_stop_leaves_no_half_of_a_new_file),
		cmocka_unit_test(every_allocation_may_fail),
		on_disk(files_are_read_up_to_a_limit),
		on_disk(what_is_no_file_is_refused_by_name),
		on_disk(what_can_be_replaced_is_known_beforehand),
		cmocka_unit_test(a_command_line_may_name_a_pipe),
		on_disk(large_files_are_read_whole),
		on_disk(errors_name_path_and_reason),
		on_disk(written_files_have_their_mode_whatever_the_umask),
		on_disk(nothing_is_written_through_a_link_left_behind),
		on_disk(owners_are_kept),
		on_disk(removing_what_is_missing_is_fine),
		on_disk(folders_are_made_once),
		on_disk(chains_of_links_are_followed),
		on_disk(replacing_keeps_link_and_mode),
		on_disk(a_failed_replace_leaves_nothing_behind),
		on_disk(names_of_full_length_can_be_replaced),
		on_disk(every_allocation_of_the_real_one_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
