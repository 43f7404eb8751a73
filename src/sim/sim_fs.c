/*
 * Files of a simulated machine. What a program sees and what a power loss
 * leaves are two things:
 *
 *   - content is durable once write_synced() has returned; before that a power
 * loss leaves any beginning of it;
 *   - names (new files, renames, removals) are durable once their folder was
 * synced; before that a power loss leaves any number of the changes made since,
 * in their order.
 *
 * A kill leaves what the program had done. Every operation is made of steps,
 * and the machine can be told to die at any one of them: from there on nothing
 * has an effect, and the process is gone at the end of the event.
 */
#include <stdlib.h>
#include <string.h>

#include "sim/private.h"

struct inode {
	struct buf data;
	size_t durable; /* bytes of it that a power loss leaves */
	unsigned refs;
};

struct name {
	struct list in_names;
	char *path;
	struct inode *now;   /* NULL: not there */
	struct inode *after; /* a power loss; NULL: not there */
};

/* A change of names that isn't durable yet. */
struct change {
	struct list in_changes;
	struct name *name;
	struct inode *inode; /* NULL: removed */
};

struct disk {
	struct list names;
	struct list changes;
	int64_t dies_in; /* steps; -1: does not */
	enum sim_death how;
	uint64_t steps;
	bool full;
};

/* ---- inodes and names ---- */

static void inode_set(struct inode **slot, struct inode *i)
{
	struct inode *old = *slot;

	if (i)
		i->refs++;
	*slot = i;
	if (old && --old->refs == 0) {
		buf_deinit(&old->data);
		mem_free(old);
	}
}

static struct name *name_find(struct disk *d, const char *path)
{
	list_for (m, &d->names, struct name, in_names)
		if (str_equal(m->path, path))
			return m;
	return NULL;
}

static struct name *name_get(struct disk *d, const char *path)
{
	struct name *m = name_find(d, path);

	if (m)
		return m;
	m = mem_zalloc(sizeof(*m));
	if (!m || !(m->path = mem_strdup(path)))
		abort();
	list_append(&d->names, &m->in_names);
	return m;
}

static void change_free(struct change *c)
{
	list_remove(&c->in_changes);
	inode_set(&c->inode, NULL);
	mem_free(c);
}

static void name_set(struct disk *d, struct name *m, struct inode *i)
{
	struct change *c = mem_zalloc(sizeof(*c));

	if (!c)
		abort();
	c->name = m;
	inode_set(&c->inode, i);
	inode_set(&m->now, i);
	list_append(&d->changes, &c->in_changes);
}

static void name_free(struct name *m)
{
	list_remove(&m->in_names);
	inode_set(&m->now, NULL);
	inode_set(&m->after, NULL);
	mem_free(m->path);
	mem_free(m);
}

/* Temporary names come and go: those that nothing leads to any more are
 * forgotten. */
static void names_tidy(struct disk *d)
{
	if (!list_is_empty(&d->changes))
		return;
	list_for (m, &d->names, struct name, in_names)
		if (!m->now && !m->after)
			name_free(m);
}

struct disk *disk_new(void)
{
	struct disk *d = mem_zalloc(sizeof(*d));

	if (!d)
		return NULL;
	list_init(&d->names);
	list_init(&d->changes);
	d->dies_in = -1;
	return d;
}

struct disk *disk_free(struct disk *d)
{
	list_for (c, &d->changes, struct change, in_changes)
		change_free(c);
	list_for (m, &d->names, struct name, in_names)
		name_free(m);
	return mem_free(d);
}

/*
 * How much of so many bytes: a few sixteenths, all but the last one, or (`whole`) all. By parts, not by bytes: keys and
 * signatures are not made from the seed, and the same draw must mean the same for a text that is a byte shorter.
 */
static size_t part_of(struct sim *s, size_t n, bool whole)
{
	uint64_t draw = rng_below(&s->rng, whole ? 18 : 17);

	if (draw == 16)
		return n ? n - 1 : 0;
	return draw == 17 ? n : n / 16 * (size_t)draw;
}

void disk_power_lost(struct sim_node *n)
{
	struct disk *d = n->disk;
	size_t count = 0;

	list_for (c, &d->changes, struct change, in_changes)
		count++;
	count = (size_t)rng_below(&n->sim->rng, count + 1);
	list_for (c, &d->changes, struct change, in_changes) {
		if (count > 0) {
			inode_set(&c->name->after, c->inode);
			count--;
		}
		change_free(c);
	}
	list_for (m, &d->names, struct name, in_names) {
		inode_set(&m->now, m->after);
		if (m->now && m->now->durable < m->now->data.len) {
			size_t kept = m->now->durable + part_of(n->sim, m->now->data.len - m->now->durable, true);

			m->now->data.len = kept;
			m->now->durable = kept;
		}
	}
	names_tidy(d);
}

/* ---- steps ---- */

static struct sim_node *node_of_fs(const struct fs *fs)
{
	return fs->user;
}

/* false: the machine has died, here or before. */
static bool step(struct sim_node *n)
{
	struct disk *d = n->disk;

	if (node_is_mute(n))
		return false;
	d->steps++;
	if (d->dies_in < 0 || d->dies_in-- > 0)
		return true;
	sim_note(n->sim, n, "--- its disk stops");
	sim_node_kill_soon(n, d->how);
	return false;
}

static enum err dead(struct why *why)
{
	why_set(why, "the machine has died");
	return ERR_IO;
}

void sim_disk_dies_at(struct sim_node *n, int64_t steps, enum sim_death how)
{
	n->disk->dies_in = steps;
	n->disk->how = how;
}

void sim_disk_full(struct sim_node *n, bool full)
{
	n->disk->full = full;
}

uint64_t sim_disk_steps(const struct sim_node *n)
{
	return n->disk->steps;
}

/* ---- the table ---- */

static enum err op_read(const struct fs *fs, const char *path, size_t limit, struct buf *out, struct why *why)
{
	struct name *m = name_find(node_of_fs(fs)->disk, path);

	if (node_is_mute(node_of_fs(fs)))
		return dead(why);
	if (!m || !m->now) {
		why_set(why, "cannot open %s: No such file or directory", path);
		return ERR_NOT_FOUND;
	}
	if (m->now->data.len > limit) {
		why_set(why, "%s is larger than %zu bytes", path, limit);
		return ERR_TOO_BIG;
	}
	return m->now->data.len ? buf_put(out, m->now->data.data, m->now->data.len) : ERR_OK;
}

static enum err op_write_synced(const struct fs *fs, const char *path, const char *as, unsigned mode, const void *data,
				size_t n, struct why *why)
{
	struct sim_node *node = node_of_fs(fs);
	struct disk *d = node->disk;
	struct name *m = name_get(d, path);
	size_t half = part_of(node->sim, n, false);
	struct inode *i;

	if (!step(node))
		return dead(why);
	if (!m->now) {
		i = mem_zalloc(sizeof(*i));
		if (!i)
			return ERR_NOMEM;
		name_set(d, m, i);
	}
	i = m->now;
	buf_clear(&i->data);
	i->durable = 0;
	if (!step(node))
		return dead(why);
	if (d->full) {
		why_set(why, "cannot write %s: No space left on device", path);
		return ERR_IO;
	}
	if (half && buf_put(&i->data, data, half))
		return ERR_NOMEM;
	if (!step(node))
		return dead(why);
	if (n > half && buf_put(&i->data, (const uint8_t *)data + half, n - half))
		return ERR_NOMEM;
	if (!step(node))
		return dead(why);
	i->durable = n;
	return ERR_OK;
}

static enum err op_rename(const struct fs *fs, const char *from, const char *to, struct why *why)
{
	struct sim_node *node = node_of_fs(fs);
	struct name *a = name_find(node->disk, from), *b = name_get(node->disk, to);

	if (!step(node))
		return dead(why);
	if (!a || !a->now) {
		why_set(why, "cannot rename %s to %s: No such file or directory", from, to);
		return ERR_NOT_FOUND;
	}
	/* One change in a real journal: both or none. The new name first leaves
	 * nothing lost in between. */
	name_set(node->disk, b, a->now);
	name_set(node->disk, a, NULL);
	return ERR_OK;
}

static enum err op_remove(const struct fs *fs, const char *path, struct why *why)
{
	struct sim_node *node = node_of_fs(fs);
	struct name *m = name_find(node->disk, path);

	if (!step(node))
		return dead(why);
	if (m && m->now)
		name_set(node->disk, m, NULL);
	return ERR_OK;
}

static enum err op_sync_dir(const struct fs *fs, const char *dir, struct why *why)
{
	struct sim_node *node = node_of_fs(fs);

	if (!step(node))
		return dead(why);
	list_for (c, &node->disk->changes, struct change, in_changes) {
		CLEAN(mem_freep) char *in = path_dir(c->name->path);

		if (!str_equal(in, dir))
			continue;
		inode_set(&c->name->after, c->inode);
		change_free(c);
	}
	names_tidy(node->disk);
	return ERR_OK;
}

static enum err op_make_dir(const struct fs *fs, const char *path, unsigned mode, struct why *why)
{
	return step(node_of_fs(fs)) ? ERR_OK : dead(why);
}

static enum err op_real_path(const struct fs *fs, const char *path, char **out, struct why *why)
{
	*out = mem_strdup(path);
	return *out ? ERR_OK : ERR_NOMEM;
}

/* A folder is there while something is in it. */
static bool is_folder(const struct disk *d, const char *path)
{
	size_t n = strlen(path);

	list_for (m, (struct list *)(uintptr_t)&d->names, struct name, in_names)
		if (m->now && str_starts(m->path, path) && m->path[n] == '/')
			return true;
	return false;
}

static bool op_exists(const struct fs *fs, const char *path)
{
	struct name *m = name_find(node_of_fs(fs)->disk, path);

	return m ? m->now != NULL : is_folder(node_of_fs(fs)->disk, path);
}

const struct fs sim_fs = {
	.read = op_read,
	.write_synced = op_write_synced,
	.rename = op_rename,
	.remove = op_remove,
	.sync_dir = op_sync_dir,
	.make_dir = op_make_dir,
	.real_path = op_real_path,
	.exists = op_exists,
};

/* ---- from outside ---- */

enum err sim_file_put(struct sim_node *n, const char *path, const char *text)
{
	struct name *m = name_get(n->disk, path);
	struct inode *i = mem_zalloc(sizeof(*i));
	enum err e;

	if (!i)
		return ERR_NOMEM;
	e = buf_put_str(&i->data, text);
	i->durable = i->data.len;
	inode_set(&m->now, i);
	inode_set(&m->after, i);
	return e;
}

enum err sim_file_get(struct sim_node *n, const char *path, struct buf *out)
{
	struct name *m = name_find(n->disk, path);

	if (!m || !m->now)
		return ERR_NOT_FOUND;
	return m->now->data.len ? buf_put(out, m->now->data.data, m->now->data.len) : ERR_OK;
}
