/*
 * Key, certificate and CA on a disk that can stop at any step: killed there, or without power. Whatever the moment,
 * the next start finds a set that fits, and as long as that has not been used, the one that has.
 */
#include "agent_help.h"

#include "agent/certificate_words.h"

#define DIR_NAME "/a"
#define OTHER_DIR "/b" /* on another file system */
#define MOST_FILES 24
#define MOST_CHANGES 64

/* ---- a disk ---- */

/* What is on the disk by now, and what a name would lead to after a power loss. */
struct inode {
	char *text;
};

struct file {
	const char *name; /* of the list below, or a copy that the disk owns */
	struct inode *now, *after;
};

struct change {
	size_t file;
	struct inode *inode; /* NULL: removed */
};

struct disk {
	struct fs fs;
	struct file files[MOST_FILES];
	size_t n_files;
	struct change changes[MOST_CHANGES]; /* of names, since the folder was last synced */
	size_t n_changes;
	struct inode *inodes[512];
	size_t n_inodes;
	size_t n, stop_at;
	bool has_links; /* key and CA are elsewhere, as an operator has it */
};

static struct disk *disk_of(const struct fs *fs)
{
	return fs->user;
}

static bool stops(const struct fs *fs, struct why *why)
{
	if (disk_of(fs)->n++ < disk_of(fs)->stop_at)
		return false;
	why_set(why, "stopped");
	return true;
}

static size_t file_at(struct disk *d, const char *path)
{
	for (size_t i = 0; i < d->n_files; i++)
		if (str_equal(d->files[i].name, path))
			return i;
	assert_true(d->n_files < MOST_FILES);
	d->files[d->n_files] = (struct file){.name = mem_strdup(path)};
	return d->n_files++;
}

static struct inode *inode_new(struct disk *d)
{
	struct inode *i = mem_zalloc(sizeof(*i));

	check_there(i);
	assert_true(d->n_inodes < ARRAY_SIZE(d->inodes));
	d->inodes[d->n_inodes++] = i;
	return i;
}

static void name_set(struct disk *d, size_t file, struct inode *i)
{
	assert_true(d->n_changes < MOST_CHANGES);
	d->files[file].now = i;
	d->changes[d->n_changes++] = (struct change){.file = file, .inode = i};
}

static bool is_in(const char *path, const char *dir)
{
	return str_starts(path, dir) && path[strlen(dir)] == '/';
}

/* Key and CA are together, and the certificate stays at home. */
static const char *const links[][2] = {{DIR_NAME "/cloud.key", OTHER_DIR "/host.pem"},
				       {DIR_NAME "/cloud.ca.crt", OTHER_DIR "/ca.pem"}};

static bool is_link(const struct disk *d, const char *path)
{
	for (size_t i = 0; d->has_links && i < ARRAY_SIZE(links); i++) {
		if (str_equal(path, links[i][0]))
			return true;
	}
	return false;
}

static const char *target_of(const struct disk *d, const char *path)
{
	for (size_t i = 0; d->has_links && i < ARRAY_SIZE(links); i++) {
		if (str_equal(path, links[i][0]))
			return links[i][1];
	}
	return path;
}

static enum err disk_read(const struct fs *fs, const char *path, size_t limit, struct buf *out, struct why *why)
{
	struct inode *i = disk_of(fs)->files[file_at(disk_of(fs), target_of(disk_of(fs), path))].now;

	if (!i) {
		why_set(why, "there is no %s", path);
		return ERR_NOT_FOUND;
	}
	return buf_put_str(out, i->text);
}

/* What of it is there when the machine dies: a chain is cut off where it is hardest to see. */
static size_t half(const char *text, size_t n)
{
	static const char end[] = "-----END CERTIFICATE-----\n";
	const char *at = strstr(text, end);
	size_t first = at ? (size_t)(at - text) + sizeof(end) - 1 : n;

	return first < n ? first : n / 2;
}

static enum err disk_write(const struct fs *fs, const char *path, const char *as, unsigned mode, const void *data,
			   size_t n, struct why *why)
{
	struct disk *d = disk_of(fs);
	bool is_last = d->n == d->stop_at;
	bool dies = stops(fs, why);
	size_t file = file_at(d, path);

	assert_int_equal(mode, 0600);
	if (dies && !is_last)
		return ERR_IO;
	/* A file that is there is emptied and written where it is. */
	if (!d->files[file].now)
		name_set(d, file, inode_new(d));
	mem_free(d->files[file].now->text);
	d->files[file].now->text = mem_strndup(data, dies ? half(data, n) : n);
	return dies ? ERR_IO : ERR_OK;
}

static enum err disk_rename(const struct fs *fs, const char *from, const char *to, struct why *why)
{
	struct disk *d = disk_of(fs);
	struct inode *i = d->files[file_at(d, from)].now;

	if (stops(fs, why))
		return ERR_IO;
	check_there(i);
	assert_int_equal(is_in(from, OTHER_DIR), is_in(to, OTHER_DIR));
	assert_int_not_equal(is_link(d, to), 1);
	name_set(d, file_at(d, to), i);
	name_set(d, file_at(d, from), NULL);
	return ERR_OK;
}

static enum err disk_remove(const struct fs *fs, const char *path, struct why *why)
{
	struct disk *d = disk_of(fs);

	if (stops(fs, why))
		return ERR_IO;
	if (d->files[file_at(d, path)].now)
		name_set(d, file_at(d, path), NULL);
	return ERR_OK;
}

static enum err disk_sync(const struct fs *fs, const char *dir, struct why *why)
{
	struct disk *d = disk_of(fs);
	size_t n = 0;

	if (stops(fs, why))
		return ERR_IO;
	/* What is in another folder is not on the disk for that. */
	for (size_t i = 0; i < d->n_changes; i++) {
		if (is_in(d->files[d->changes[i].file].name, dir))
			d->files[d->changes[i].file].after = d->changes[i].inode;
		else
			d->changes[n++] = d->changes[i];
	}
	d->n_changes = n;
	return ERR_OK;
}

static enum err disk_make_dir(const struct fs *fs, const char *path, unsigned mode, struct why *why)
{
	return ERR_OK;
}

static enum err disk_real(const struct fs *fs, const char *path, char **out, struct why *why)
{
	*out = mem_strdup(target_of(disk_of(fs), path));
	return ERR_OK;
}

static bool disk_exists(const struct fs *fs, const char *path)
{
	struct disk *d = disk_of(fs);

	return str_equal(path, DIR_NAME) || d->files[file_at(d, target_of(d, path))].now;
}

static void disk_init(struct disk *d)
{
	*d = (struct disk){.fs = {.read = disk_read,
				  .write_synced = disk_write,
				  .rename = disk_rename,
				  .remove = disk_remove,
				  .sync_dir = disk_sync,
				  .make_dir = disk_make_dir,
				  .real_path = disk_real,
				  .exists = disk_exists,
				  .user = d},
			   .stop_at = SIZE_MAX};
}

static void disk_deinit(struct disk *d)
{
	for (size_t i = 0; i < d->n_inodes; i++) {
		mem_free(d->inodes[i]->text);
		mem_free(d->inodes[i]);
	}
	for (size_t i = 0; i < d->n_files; i++)
		mem_free((void *)(uintptr_t)d->files[i].name);
}

/*
 * The machine is on again. `lost`: how many of the last changes of names a power loss has undone; of a kill: none.
 * `keeps`: a file system that has lost none of its own; NULL: both have.
 */
static void disk_revive_as(struct disk *d, size_t lost, const char *keeps)
{
	assert_true(lost <= d->n_changes);
	for (size_t i = 0; i < d->n_changes; i++) {
		struct file *f = &d->files[d->changes[i].file];

		if (i < d->n_changes - lost || (keeps && is_in(f->name, keeps)))
			f->after = d->changes[i].inode;
	}
	for (size_t i = 0; i < d->n_files; i++)
		d->files[i].now = d->files[i].after;
	d->n_changes = 0;
	d->stop_at = SIZE_MAX;
}

static void disk_revive(struct disk *d, size_t lost)
{
	disk_revive_as(d, lost, NULL);
}

static void disk_stop_at(struct disk *d, size_t n)
{
	d->n = 0;
	d->stop_at = n;
}

/* ---- the sets ---- */

static struct {
	char *ca_key, *ca;
	struct identity old, fresh, fresher, others;
} all;

static int make_all(void **state)
{
	char *whole;

	ca_make(&all.ca_key, &all.ca, WALL_S);
	all.old = identity_make(all.ca_key, all.ca, CERT_ROLE_AGENT, "g", NULL, WALL_S);
	all.fresh = identity_make(all.ca_key, all.ca, CERT_ROLE_AGENT, "g", NULL, WALL_S);
	/* With its chain. */
	whole = mem_printf("%s%s", all.fresh.cert, all.ca);
	mem_free(all.fresh.cert);
	all.fresh.cert = whole;
	/* A certificate that is renewed alone. */
	all.fresher = identity_make(all.ca_key, all.ca, CERT_ROLE_AGENT, "g", all.fresh.key, WALL_S);
	all.others = identity_make(all.ca_key, all.ca, CERT_ROLE_AGENT, "g", NULL, WALL_S);
	assert_int_equal(identity_check(&all.old, "g", WALL_S, NULL), ERR_OK);
	assert_int_equal(identity_check(&all.fresh, "g", WALL_S, NULL), ERR_OK);
	assert_int_equal(identity_check(&all.fresher, "g", WALL_S, NULL), ERR_OK);
	return 0;
}

static int free_all(void **state)
{
	key_free(all.ca_key);
	mem_free(all.ca);
	identity_deinit(&all.old);
	identity_deinit(&all.fresh);
	identity_deinit(&all.fresher);
	identity_deinit(&all.others);
	return 0;
}

static bool is(const struct identity *a, const struct identity *b)
{
	return str_equal(a->cert, b->cert) && str_equal(a->key, b->key) && str_equal(a->ca, b->ca);
}

/* ---- operations ---- */

static enum err renew_fresh(const struct fs *fs, struct why *why)
{
	return identity_renew(fs, DIR_NAME, &all.fresh, why);
}

static enum err renew_fresher(const struct fs *fs, struct why *why)
{
	return identity_renew(fs, DIR_NAME, &all.fresher, why);
}

static enum err install_fresher(const struct fs *fs, struct why *why)
{
	return identity_install(fs, DIR_NAME, &all.fresher, why);
}

static enum err proven(const struct fs *fs, struct why *why)
{
	return identity_proven(fs, DIR_NAME, why);
}

static enum err keep_key(const struct fs *fs, struct why *why)
{
	return identity_keep_key(fs, DIR_NAME, all.old.key, why);
}

static enum err go_back(const struct fs *fs, struct why *why)
{
	enum err e = identity_go_back(fs, DIR_NAME, why);

	return e == ERR_NOT_FOUND ? ERR_OK : e; /* done already */
}

static const struct operation {
	const char *what;
	bool on_trial; /* the fresh one was put in place before */
	enum err (*run)(const struct fs *fs, struct why *why);
	const struct identity *may_be[3], *ends_as;
	bool ends_with_old;
	bool may_be_alone; /* an unproven one without the old one beside it: it is for good */
} operations[] = {
	{"a renewal", false, renew_fresh, {&all.old, &all.fresh}, &all.fresh, true, false},
	{"another before the first was used",
	 true,
	 renew_fresher,
	 {&all.fresh, &all.fresher},
	 &all.fresher,
	 true,
	 false},
	{"the first was used", true, proven, {&all.fresh}, &all.fresh, false, true},
	{"going back", true, go_back, {&all.old, &all.fresh}, &all.old, false, false},
	{"a join during a trial", true, install_fresher, {&all.fresh, &all.fresher}, &all.fresher, false, true},
	{"a key that waits", true, keep_key, {&all.fresh}, &all.fresh, true, false},
	{"a join", false, install_fresher, {&all.old, &all.fresher}, &all.fresher, false, true},
};

static void prepare(struct disk *d, const struct operation *o, bool has_links)
{
	disk_init(d);
	d->has_links = has_links;
	assert_int_equal(identity_install(&d->fs, DIR_NAME, &all.old, NULL), ERR_OK);
	if (o->on_trial)
		assert_int_equal(identity_renew(&d->fs, DIR_NAME, &all.fresh, NULL), ERR_OK);
}

/* A start: one set, whole, that fits, and the old one beside it if it may be needed. */
static void start(struct disk *d, const struct operation *o, size_t stop_at, size_t lost)
{
	CLEAN(identity_deinit) struct identity found = {0};
	CLEAN(identity_deinit) struct identity old = {0};
	struct why why = WHY_NONE;
	bool is_one = false;

	/* The sets are good, so one that is the same as one of them is too. */
	if (identity_recover(&d->fs, DIR_NAME, &why) || identity_load(&found, &d->fs, DIR_NAME, &why) ||
	    identity_load_old(&old, &d->fs, DIR_NAME, &why))
		fail_msg("%s, stopped at %zu, %zu lost: %s", o->what, stop_at, lost, why.text);
	for (size_t i = 0; i < ARRAY_SIZE(o->may_be) && o->may_be[i]; i++)
		is_one |= is(&found, o->may_be[i]);
	if (!is_one)
		fail_msg("%s, stopped at %zu, %zu lost: another set", o->what, stop_at, lost);
	if (old.key && !is(&old, &all.old))
		fail_msg("%s, stopped at %zu, %zu lost: the old one is another", o->what, stop_at, lost);
	if (old.key && is(&found, &all.old))
		fail_msg("%s, stopped at %zu, %zu lost: on trial against itself", o->what, stop_at, lost);
	if (!old.key && !is(&found, &all.old) && !o->may_be_alone)
		fail_msg("%s, stopped at %zu, %zu lost: not used yet, and the old one is gone", o->what, stop_at, lost);
	assert_false(disk_exists(&d->fs, DIR_NAME "/cloud.crt.new"));
	assert_true(old.key || !disk_exists(&d->fs, DIR_NAME "/cloud.key.old"));
	assert_true(old.key || !disk_exists(&d->fs, DIR_NAME "/cloud.ours"));
	assert_false(disk_exists(&d->fs, DIR_NAME "/cloud.crt.new.tmp"));
	assert_false(disk_exists(&d->fs, DIR_NAME "/cloud.crt.old.tmp"));
	assert_false(disk_exists(&d->fs, DIR_NAME "/cloud.ours.tmp"));
}

static void check_end(struct disk *d, const struct operation *o)
{
	CLEAN(identity_deinit) struct identity found = {0};
	CLEAN(identity_deinit) struct identity old = {0};

	assert_int_equal(identity_recover(&d->fs, DIR_NAME, NULL), ERR_OK);
	assert_int_equal(identity_load(&found, &d->fs, DIR_NAME, NULL), ERR_OK);
	assert_int_equal(identity_load_old(&old, &d->fs, DIR_NAME, NULL), ERR_OK);
	check_row(o, is(&found, o->ends_as));
	check_row(o, (old.key != NULL) == o->ends_with_old);
}

/* A disk, and what is left of it. */
static const struct variant {
	const char *what;
	bool has_links;
	const char *keeps;
} variants[] = {
	{"one folder", false, NULL},
	{"links, and power is lost", true, NULL},
	{"links, and the agent's folder loses the most", true, OTHER_DIR},
	{"links, and the other folder loses the most", true, DIR_NAME},
};

/* Returns whether the operation was through before that. */
static bool stop_once(const struct operation *o, const struct variant *v, size_t stop_at, size_t lost, bool *is_past)
{
	CLEAN(disk_deinit) struct disk d;
	bool is_done;

	prepare(&d, o, v->has_links);
	disk_stop_at(&d, stop_at);
	is_done = o->run(&d.fs, NULL) == ERR_OK;
	*is_past = lost > d.n_changes;
	if (*is_past)
		return is_done;
	disk_revive_as(&d, lost, v->keeps);
	start(&d, o, stop_at, lost);
	/* And what was asked for can be had. */
	if (o->run(&d.fs, NULL))
		fail_msg("%s, stopped at %zu, %zu lost: not possible any more", o->what, stop_at, lost);
	check_end(&d, o);
	return is_done;
}

static void it_can_stop_at_any_step(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(operations) * ARRAY_SIZE(variants); i++) {
		const struct variant *v = &variants[i % ARRAY_SIZE(variants)];
		size_t k = i / ARRAY_SIZE(variants), stop_at;
		bool is_done = false;

		for (stop_at = 0; !is_done; stop_at++) {
			bool is_past = false;

			for (size_t lost = 0; !is_past; lost++)
				is_done = stop_once(&operations[k], v, stop_at, lost, &is_past);
		}
		check_row(&operations[k], stop_at > 2);
	}
}

/* The start that puts it right stops too. */
static void a_start_can_stop_at_any_step(void **state)
{
	for (size_t k = 0; k < ARRAY_SIZE(operations); k++) {
		const struct operation *o = &operations[k];
		bool is_done = false;

		for (size_t stop_at = 0; !is_done; stop_at++) {
			bool is_recovered = false;

			for (size_t again_at = 0; !is_recovered; again_at++) {
				CLEAN(disk_deinit) struct disk d;

				prepare(&d, o, again_at % 2);
				disk_stop_at(&d, stop_at);
				is_done = o->run(&d.fs, NULL) == ERR_OK;
				disk_revive(&d, 0);
				disk_stop_at(&d, again_at);
				is_recovered = identity_recover(&d.fs, DIR_NAME, NULL) == ERR_OK;
				disk_revive(&d, d.n_changes);
				start(&d, o, stop_at, again_at);
			}
		}
	}
}

/* The disk is full for a while: one that failed is followed by another in the same process, which stops too. */
static void after_one_that_failed_another_can_stop_at_any_step(void **state)
{
	for (size_t k = 0; k < ARRAY_SIZE(operations); k++) {
		const struct operation *o = &operations[k];
		bool is_done = false;

		/* Every second step, and every third of the other one, keep it short; the other test has them all. */
		for (size_t stop_at = 0; !is_done; stop_at += 1 + (stop_at < 8)) {
			size_t stride = (size_t)test_rounds(3, 1);
			bool is_again = false;

			for (size_t again_at = stop_at % stride; !is_again; again_at += stride) {
				CLEAN(disk_deinit) struct disk d;

				prepare(&d, o, again_at % 2);
				disk_stop_at(&d, stop_at);
				is_done = o->run(&d.fs, NULL) == ERR_OK;
				disk_stop_at(&d, again_at);
				/* A server asks for a key first. */
				is_again = identity_keep_key(&d.fs, DIR_NAME, all.old.key, NULL) == ERR_OK &&
					   o->run(&d.fs, NULL) == ERR_OK;
				disk_revive(&d, 0);
				start(&d, o, stop_at, again_at);
			}
		}
	}
}

/* ---- somebody else's files ---- */

static void put(struct disk *d, const char *name, const char *text)
{
	CLEAN(mem_freep) char *path = path_join(DIR_NAME, name);

	disk_stop_at(d, SIZE_MAX);
	assert_int_equal(disk_write(&d->fs, target_of(d, path), NULL, 0600, text, strlen(text), NULL), ERR_OK);
}

static void put_set(struct disk *d, const struct identity *i)
{
	put(d, "cloud.key", i->key);
	put(d, "cloud.crt", i->cert);
	put(d, "cloud.ca.crt", i->ca);
}

static bool holds(struct disk *d, const char *name, const char *text)
{
	CLEAN(mem_freep) char *path = path_join(DIR_NAME, name);
	const struct inode *i = d->files[file_at(d, target_of(d, path))].now;

	return i && str_equal(i->text, text);
}

static enum err recover(const struct fs *fs, struct why *why)
{
	return identity_recover(fs, DIR_NAME, why);
}

static enum err renew_from_old(const struct fs *fs, struct why *why)
{
	bool is_others;
	char digest[FINGERPRINT_TEXT];

	identity_digest(digest, &all.old);
	assert_int_equal(identity_is_others(&is_others, fs, DIR_NAME, digest, why), ERR_OK);
	return is_others ? ERR_CONFLICT : ERR_OK;
}

static void what_somebody_else_puts_there_stays(void **state)
{
	static const struct {
		const char *what;
		bool on_trial;
		size_t cut_off_at; /* the renewal before it; 0: it was not */
		bool is_half;      /* only the key is there yet */
		bool has_links;
		enum err (*run)(const struct fs *fs, struct why *why);
		bool old_stays;
	} rows[] = {
		{"going back during a trial", true, 0, false, false, go_back, false},
		{"going back, with links", true, 0, false, true, go_back, false},
		{"a restart during a trial", true, 0, false, false, recover, false},
		{"a restart, with links", true, 0, false, true, recover, false},
		{"going back over half a set", true, 0, true, false, go_back, true},
		{"a restart with half a set", true, 0, true, false, recover, true},
		{"a restart after a renewal that was cut off", true, 10, false, false, recover, false},
		{"a renewal without a trial", false, 0, false, false, renew_from_old, false},
		{"a renewal over half a set", false, 0, true, false, renew_from_old, false},
		{"a renewal during a trial", true, 0, false, false, renew_from_old, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct operation o = {.on_trial = rows[i].on_trial};
		CLEAN(disk_deinit) struct disk d;
		struct why why = WHY_NONE;
		enum err e;

		prepare(&d, &o, rows[i].has_links);
		if (rows[i].cut_off_at) {
			disk_stop_at(&d, rows[i].cut_off_at);
			check_row(&rows[i], renew_fresher(&d.fs, NULL) != ERR_OK);
			disk_stop_at(&d, SIZE_MAX);
			check_row(&rows[i], identity_is_interrupted(&d.fs, DIR_NAME));
		}
		put(&d, "cloud.key", all.others.key);
		if (!rows[i].is_half)
			put_set(&d, &all.others);
		e = rows[i].run(&d.fs, &why);
		/* Half of a set is for whoever loads it to say. */
		check_row(&rows[i], e == ERR_CONFLICT || (rows[i].is_half && rows[i].run == recover && e == ERR_OK));
		check_row(&rows[i], holds(&d, "cloud.key", all.others.key));
		check_row(&rows[i], rows[i].is_half || holds(&d, "cloud.crt", all.others.cert));
		check_row(&rows[i], disk_exists(&d.fs, DIR_NAME "/cloud.crt.old") == rows[i].old_stays);
		check_row(&rows[i], !identity_is_interrupted(&d.fs, DIR_NAME));
		if (rows[i].run == renew_from_old)
			continue;
		/* Once it is whole it is for good. */
		put_set(&d, &all.others);
		e = identity_recover(&d.fs, DIR_NAME, &why);
		check_row(&rows[i], e == (rows[i].old_stays ? ERR_CONFLICT : ERR_OK));
		check_row(&rows[i], holds(&d, "cloud.key", all.others.key) && holds(&d, "cloud.ca.crt", all.others.ca));
		check_row(&rows[i], !disk_exists(&d.fs, DIR_NAME "/cloud.crt.old"));
		check_row(&rows[i], !disk_exists(&d.fs, DIR_NAME "/cloud.ours"));
	}
}

/* A trial that a program began which kept no list: from its first start on, this one knows what is ours. */
static void a_trial_from_before_the_list(void **state)
{
	const struct operation o = {.on_trial = true};
	CLEAN(disk_deinit) struct disk d;
	struct why why = WHY_NONE;

	prepare(&d, &o, false);
	assert_int_equal(d.fs.remove(&d.fs, DIR_NAME "/cloud.ours", NULL), ERR_OK);
	assert_int_equal(identity_recover(&d.fs, DIR_NAME, NULL), ERR_OK);
	assert_true(disk_exists(&d.fs, DIR_NAME "/cloud.ours"));
	put_set(&d, &all.others);
	assert_int_equal(identity_go_back(&d.fs, DIR_NAME, &why), ERR_CONFLICT);
	assert_true(holds(&d, "cloud.key", all.others.key));
}

/* What the agent itself has put there is not somebody else's, and neither is what isn't there. */
static void a_renewal_goes_over_its_own(void **state)
{
	const struct operation o = {.on_trial = true};
	char digest[FINGERPRINT_TEXT];
	CLEAN(disk_deinit) struct disk d;
	bool is_others = true;

	prepare(&d, &o, false);
	identity_digest(digest, &all.fresh);
	assert_int_equal(identity_is_others(&is_others, &d.fs, DIR_NAME, digest, NULL), ERR_OK);
	assert_false(is_others);
	/* One that was cut off has mixed the two. */
	disk_stop_at(&d, 10);
	assert_int_not_equal(renew_fresher(&d.fs, NULL), ERR_OK);
	disk_stop_at(&d, SIZE_MAX);
	assert_true(identity_is_interrupted(&d.fs, DIR_NAME));
	assert_int_equal(identity_is_others(&is_others, &d.fs, DIR_NAME, digest, NULL), ERR_OK);
	assert_false(is_others);
	assert_int_equal(renew_fresher(&d.fs, NULL), ERR_OK);
}

static enum err refuse(const struct fs *fs, const char *path, struct why *why)
{
	if (!str_equal(path, DIR_NAME "/cloud.crt"))
		return ERR_OK;
	why_set(why, "%s is mounted by itself", path);
	return ERR_INVALID;
}

static void what_cannot_be_replaced_is_refused_before_anything_is(void **state)
{
	const struct operation o = {.on_trial = false};
	CLEAN(disk_deinit) struct disk d;
	struct why why = WHY_NONE;

	prepare(&d, &o, false);
	d.fs.can_replace = refuse;
	assert_int_equal(renew_fresh(&d.fs, &why), ERR_INVALID);
	assert_string_equal(why.text, DIR_NAME "/cloud.crt is mounted by itself");
	assert_int_equal(install_fresher(&d.fs, &why), ERR_INVALID);
	assert_true(holds(&d, "cloud.key", all.old.key) && holds(&d, "cloud.crt", all.old.cert));
	assert_false(identity_is_interrupted(&d.fs, DIR_NAME));
	assert_false(disk_exists(&d.fs, DIR_NAME "/cloud.key.new"));
	assert_false(disk_exists(&d.fs, DIR_NAME "/cloud.key.old"));
}

static void an_old_set_that_does_not_fit_is_none(void **state)
{
	CLEAN(disk_deinit) struct disk d;
	CLEAN(identity_deinit) struct identity old = {0};

	disk_init(&d);
	assert_int_equal(identity_install(&d.fs, DIR_NAME, &all.old, NULL), ERR_OK);
	assert_int_equal(identity_renew(&d.fs, DIR_NAME, &all.fresh, NULL), ERR_OK);
	assert_int_equal(
		disk_write(&d.fs, DIR_NAME "/cloud.key.old", NULL, 0600, all.fresh.key, strlen(all.fresh.key), NULL),
		ERR_OK);
	assert_int_not_equal(identity_load_old(&old, &d.fs, DIR_NAME, NULL), ERR_OK);
	assert_int_not_equal(identity_go_back(&d.fs, DIR_NAME, NULL), ERR_OK);
	assert_int_equal(identity_recover(&d.fs, DIR_NAME, NULL), ERR_OK);
	assert_int_equal(identity_load_old(&old, &d.fs, DIR_NAME, NULL), ERR_OK);
	assert_null(old.key);
}

/* ---- judging ---- */

static char *cert_of(const char *key, bool is_ca, int64_t from_s, int64_t to_s)
{
	struct cert_params p = {.key_pem = key,
				.common_name = "x",
				.is_ca = is_ca,
				.not_before_s = from_s,
				.not_after_s = to_s,
				.serial = {3}};
	char *pem = NULL;

	assert_int_equal(cert_new(&pem, &p, NULL), ERR_OK);
	return pem;
}

static void cas_that_would_lock_the_agent_out_are_refused(void **state)
{
	CLEAN(mem_freep) char *valid = cert_of(all.ca_key, true, WALL_S - 10, WALL_S + 10);
	CLEAN(mem_freep) char *expired = cert_of(all.ca_key, true, WALL_S - 100, WALL_S - 10);
	CLEAN(mem_freep) char *early = cert_of(all.ca_key, true, WALL_S + 10, WALL_S + 100);
	CLEAN(mem_freep) char *both = mem_printf("%s%s", expired, valid);
	CLEAN(mem_freep) char *with_leaf = mem_printf("%s%s", valid, all.old.cert);
	CLEAN(mem_freep) char *dead = mem_printf("%s%s", expired, early);
	CLEAN(buf_deinit) struct buf many = {0};
	CLEAN(buf_deinit) struct buf sixteen = {0};
	CLEAN(mem_freep) char *long_one = mem_zalloc(IDENTITY_TEXT_MAX + 2);

	for (int i = 0; i < IDENTITY_CAS_MAX + 1; i++) {
		assert_int_equal(buf_put_str(&many, valid), ERR_OK);
		if (i)
			assert_int_equal(buf_put_str(&sixteen, valid), ERR_OK);
	}
	memset(long_one, 'x', IDENTITY_TEXT_MAX + 1);
	{
		const struct {
			const char *what, *ca;
			enum err e;
			const char *sentence;
		} rows[] = {
			{"one", valid, ERR_OK, NULL},
			{"one that is valid and one that was: a rotation", both, ERR_OK, NULL},
			{"sixteen", buf_str(&sixteen), ERR_OK, NULL},
			{"seventeen", buf_str(&many), ERR_TOO_BIG, "17 of them"},
			{"all expired", expired, ERR_EXPIRED, "none of them is valid now"},
			{"expired and not yet valid", dead, ERR_EXPIRED, "none of them is valid now"},
			{"an agent's certificate among them", with_leaf, ERR_INVALID, "no CA's"},
			{"an agent's certificate alone", all.old.cert, ERR_INVALID, "no CA's"},
			{"no certificate", "nonsense", ERR_MALFORMED, "can't be used"},
			{"too long", long_one, ERR_TOO_BIG, "bytes"},
		};

		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			struct why why = WHY_NONE;
			enum err e = identity_check_ca(rows[i].ca, WALL_S, &why);

			if (rows[i].e == ERR_MALFORMED ? e == ERR_OK : e != rows[i].e)
				fail_msg("%s: %s (%s)", rows[i].what, err_name(e), why.text);
			check_row(&rows[i], !rows[i].sentence || strstr(why.text, rows[i].sentence));
		}
	}
}

static void an_expired_certificate_is_told_from_a_bad_one(void **state)
{
	struct why why = WHY_NONE;

	/* Its CA is valid longer than it is. */
	assert_int_equal(identity_check(&all.old, "g", WALL_S + 90000, &why), ERR_EXPIRED);
	assert_non_null(strstr(why.text, "the certificate expired on 2025-06-15"));
	assert_int_equal(identity_check(&all.old, "other", WALL_S + 90000, &why), ERR_INVALID);
}

static void age_is_said_in_words(void **state)
{
	static const struct {
		const char *what;
		int64_t lives_s, left_s;
		enum certificate_age age;
		const char *words;
	} rows[] = {
		{"a year", 365 * 86400, 312 * 86400, CERTIFICATE_FINE, "expires in 312 days"},
		{"the last two weeks", 365 * 86400, 14 * 86400, CERTIFICATE_EXPIRES_SOON, "EXPIRES SOON, in 14 days"},
		{"short lives have short ends", 3600, 1000, CERTIFICATE_FINE, "expires in 16 min"},
		{"and they come", 3600, 800, CERTIFICATE_EXPIRES_SOON, "EXPIRES SOON, in 13 min"},
		{"expired", 86400, -5 * 3600, CERTIFICATE_EXPIRED, "EXPIRED 5 h ago"},
		{"not yet", 3600, 3600 + 120, CERTIFICATE_NOT_YET, "NOT VALID before 2 min from now"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(buf_deinit) struct buf words = {0};
		CLEAN(mem_freep) char *text = NULL;
		struct cert_info info = {.serial = "4f1c",
					 .common_name = "host\033[31m", /* whoever has issued it has chosen it */
					 .not_before_s = WALL_S + rows[i].left_s - rows[i].lives_s,
					 .not_after_s = WALL_S + rows[i].left_s};

		check_row(&rows[i], certificate_age(&info, WALL_S) == rows[i].age);
		assert_int_equal(certificate_words(&words, &info, WALL_S), ERR_OK);
		text = buf_take_str(&words);
		if (!strstr(text, rows[i].words) || !str_starts(text, "of host?[31m, "))
			fail_msg("%s: %s", rows[i].what, text);
		check_row(&rows[i], !strchr(text, '\033'));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_can_stop_at_any_step),
		cmocka_unit_test(a_start_can_stop_at_any_step),
		cmocka_unit_test(after_one_that_failed_another_can_stop_at_any_step),
		cmocka_unit_test(what_somebody_else_puts_there_stays),
		cmocka_unit_test(a_trial_from_before_the_list),
		cmocka_unit_test(a_renewal_goes_over_its_own),
		cmocka_unit_test(what_cannot_be_replaced_is_refused_before_anything_is),
		cmocka_unit_test(an_old_set_that_does_not_fit_is_none),
		cmocka_unit_test(cas_that_would_lock_the_agent_out_are_refused),
		cmocka_unit_test(an_expired_certificate_is_told_from_a_bad_one),
		cmocka_unit_test(age_is_said_in_words),
	};

	return cmocka_run_group_tests(tests, make_all, free_all);
}
