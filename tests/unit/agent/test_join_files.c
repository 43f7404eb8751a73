#include "agent/join.h"

#include "agent_help.h"
#include "client/agent_file.h"

/* ---- files that stop ---- */

/* The machine's files, until operation number `stop_at`: that one and all later ones fail, as for a killed process. */
struct stopping {
	struct fs fs;
	size_t n, stop_at;
};

static struct stopping *self(const struct fs *fs)
{
	return fs->user;
}

static bool stops(const struct fs *fs, struct why *why)
{
	if (self(fs)->n++ < self(fs)->stop_at)
		return false;
	why_set(why, "killed");
	return true;
}

static enum err stop_read(const struct fs *fs, const char *path, size_t limit, struct buf *out, struct why *why)
{
	return fs_posix.read(&fs_posix, path, limit, out, why);
}

/* What is cut off leaves half of its bytes. */
static enum err stop_write(const struct fs *fs, const char *path, const char *as, unsigned mode, const void *data,
			   size_t n, struct why *why)
{
	bool is_last = self(fs)->n == self(fs)->stop_at;

	if (!stops(fs, why))
		return fs_posix.write_synced(&fs_posix, path, as, mode, data, n, why);
	if (is_last && fs_posix.write_synced(&fs_posix, path, as, mode, data, n / 2, NULL))
		fail_msg("%s can't be written", path);
	return ERR_IO;
}

static enum err stop_rename(const struct fs *fs, const char *from, const char *to, struct why *why)
{
	return stops(fs, why) ? ERR_IO : fs_posix.rename(&fs_posix, from, to, why);
}

static enum err stop_remove(const struct fs *fs, const char *path, struct why *why)
{
	return stops(fs, why) ? ERR_IO : fs_posix.remove(&fs_posix, path, why);
}

static enum err stop_sync(const struct fs *fs, const char *dir, struct why *why)
{
	return stops(fs, why) ? ERR_IO : fs_posix.sync_dir(&fs_posix, dir, why);
}

static enum err stop_make(const struct fs *fs, const char *path, unsigned mode, struct why *why)
{
	return fs_posix.make_dir(&fs_posix, path, mode, why);
}

static enum err stop_real(const struct fs *fs, const char *path, char **out, struct why *why)
{
	return fs_posix.real_path(&fs_posix, path, out, why);
}

static bool stop_exists(const struct fs *fs, const char *path)
{
	return fs_posix.exists(&fs_posix, path);
}

static void stopping_init(struct stopping *s, size_t stop_at)
{
	*s = (struct stopping){.fs = {.read = stop_read,
				      .write_synced = stop_write,
				      .rename = stop_rename,
				      .remove = stop_remove,
				      .sync_dir = stop_sync,
				      .make_dir = stop_make,
				      .real_path = stop_real,
				      .exists = stop_exists,
				      .user = s},
			       .stop_at = stop_at};
}

/* ---- what a server has answered ---- */

struct answer {
	struct batch batch;
	struct msg_join_answer *m;
	struct str_list asked;
};

static void answer_make(struct answer *a, const char *guid, const char *list, const char *algorithm, int64_t interval)
{
	*a = (struct answer){0};
	a->m = batch_add(&a->batch, MSG_JOIN_ANSWER);
	check_there(a->m);
	assert_int_equal(msg_set_text(&a->m->guid, guid), ERR_OK);
	assert_int_equal(msg_set_text(&a->m->hostUuid, "u-1"), ERR_OK);
	msg_set_i64(&a->m->hostId, 7);
	msg_set_i64(&a->m->port, 8250);
	msg_set_i64(&a->m->lbCheckInterval, interval);
	if (list) {
		a->m->msHostList.has = true;
		assert_int_equal(str_list_split(&a->m->msHostList.list, list, ','), ERR_OK);
		assert_int_equal(msg_set_text(&a->m->lbAlgorithm, algorithm), ERR_OK);
	}
	assert_int_equal(str_list_split(&a->asked, "10.0.0.1:8250,m9:9000", ','), ERR_OK);
}

static void answer_deinit(struct answer *a)
{
	batch_deinit(&a->batch);
	str_list_deinit(&a->asked);
}

struct world_of_files {
	char *dir;
	char *ca_key, *ca;
	struct identity old, fresh;
};

static void files_make(struct world_of_files *w)
{
	*w = (struct world_of_files){.dir = folder_new()};
	ca_make(&w->ca_key, &w->ca, WALL_S);
	w->old = identity_make(w->ca_key, w->ca, CERT_ROLE_AGENT, "g", NULL, WALL_S);
	w->fresh = identity_make(w->ca_key, w->ca, CERT_ROLE_AGENT, "g", NULL, WALL_S);
}

static void files_deinit(struct world_of_files *w)
{
	folder_freep(&w->dir);
	key_free(w->ca_key);
	mem_free(w->ca);
	identity_deinit(&w->old);
	identity_deinit(&w->fresh);
}

/* ---- agent.properties ---- */

static void what_a_join_writes(void **state)
{
#define HEAD                                                                                                           \
	"# muster-agent: what this host knows of its servers. `muster-agent --settings` explains each line;\n"         \
	"# the agent changes single lines and leaves yours alone.\n"
#define TAIL                                                                                                           \
	"muster.servers.known=10.0.0.1\\:8250,m9\\:9000,10.0.0.1\n"                                                    \
	"LibvirtComputingResource.id=7\nLibvirtComputingResource.uuid=u-1\n"
	static const struct {
		const char *what, *before; /* NULL: no file */
		struct join_options options;
		const char *list;
		int64_t interval;
		const char *after;
	} rows[] = {
		{"a new agent",
		 NULL,
		 {0},
		 "10.0.0.2,10.0.0.1",
		 0,
		 HEAD "guid=g\nport=8250\nhost=10.0.0.2,10.0.0.1@roundrobin\n"
		      "muster.host.bootstrap=10.0.0.1\\:8250,m9\\:9000,10.0.0.2\n" TAIL},
		{"with all that an operator may say",
		 NULL,
		 {.name = "h1", .source_ip = "10.1.1.1", .zone = "z", .pod = "p", .cluster = "c"},
		 "10.0.0.2,10.0.0.1",
		 60,
		 HEAD
		 "guid=g\nmuster.name=h1\nmuster.source.ip=10.1.1.1\nzone=z\npod=p\ncluster=c\nport=8250\n"
		 "host=10.0.0.2,10.0.0.1@roundrobin\nhost.lb.check.interval=60\nmuster.lb.check.interval.received=60\n"
		 "muster.host.bootstrap=10.0.0.1\\:8250,m9\\:9000,10.0.0.2\n" TAIL},
		{"a file that an operator has prepared",
		 "# mine\nzone=z\nhost=old\nhost.lb.check.interval=5\nguest.cpu.mode=x\n",
		 {0},
		 "10.0.0.2,10.0.0.1",
		 60,
		 "# mine\nzone=z\nhost=10.0.0.2,10.0.0.1@roundrobin\nhost.lb.check.interval=5\nguest.cpu.mode=x\nguid=g\n"
		 "port=8250\nmuster.host.bootstrap=10.0.0.1\\:8250,m9\\:9000,10.0.0.2\n" TAIL},
		{"the file of an agent that joins again",
		 "guid=other\nhost=x\nhost.lb.check.interval=60\nmuster.lb.check.interval.received=60\n"
		 "LibvirtComputingResource.id=3\nLibvirtComputingResource.uuid=u-9\n",
		 {0},
		 "10.0.0.2,10.0.0.1",
		 0,
		 "guid=g\nhost=10.0.0.2,10.0.0.1@roundrobin\nport=8250\n"
		 "muster.host.bootstrap=10.0.0.1\\:8250,m9\\:9000,10.0.0.2\n" TAIL},
		{"a server that says nothing about lists",
		 NULL,
		 {0},
		 NULL,
		 0,
		 HEAD
		 "guid=g\nport=8250\nhost=10.0.0.1\\:8250,m9\\:9000\nmuster.host.bootstrap=10.0.0.1\\:8250,m9\\:9000\n"
		 "muster.servers.known=10.0.0.1\\:8250,m9\\:9000\nLibvirtComputingResource.id=7\n"
		 "LibvirtComputingResource.uuid=u-1\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(files_deinit) struct world_of_files w;
		CLEAN(answer_deinit) struct answer a;
		CLEAN(mem_freep) char *after = NULL;
		struct join_options o = rows[i].options;
		struct why why = WHY_NONE;

		files_make(&w);
		answer_make(&a, "g", rows[i].list, "roundrobin", rows[i].interval);
		o.dir = w.dir;
		if (rows[i].before)
			folder_put(w.dir, "agent.properties", rows[i].before, 0640);
		if (join_write(&fs_posix, &o, &w.fresh, a.m, &a.asked, &why))
			fail_msg("%s: %s", rows[i].what, why.text);
		after = folder_get(w.dir, "agent.properties");
		if (!str_equal(after, rows[i].after))
			fail_msg("%s:\n%s", rows[i].what, after);
		check_row(&rows[i], folder_mode(w.dir, "agent.properties") == (rows[i].before ? 0640 : 0600));
		check_row(&rows[i], folder_mode(w.dir, "cloud.key") == 0600 && folder_mode(w.dir, "cloud.crt") == 0600);
		check_row(&rows[i], folder_mode(w.dir, "cloud.ca.crt") == 0600 && !folder_mode(w.dir, "cloud.crt.new"));
	}
}

static void a_file_with_mistakes_is_not_touched(void **state)
{
	static const char *const texts[] = {"port=x\n", "muster.colour=red\n", "a=\\u00zz\n"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		CLEAN(files_deinit) struct world_of_files w;
		CLEAN(answer_deinit) struct answer a;
		CLEAN(mem_freep) char *after = NULL;
		struct join_options o = {0};
		struct why why = WHY_NONE;

		files_make(&w);
		answer_make(&a, "g", "10.0.0.2", "static", 0);
		o.dir = w.dir;
		folder_put(w.dir, "agent.properties", texts[i], 0600);
		assert_int_not_equal(join_write(&fs_posix, &o, &w.fresh, a.m, &a.asked, &why), ERR_OK);
		assert_non_null(strstr(why.text, "agent.properties"));
		after = folder_get(w.dir, "agent.properties");
		assert_string_equal(after, texts[i]);
		assert_false(identity_exists(&fs_posix, w.dir));
	}
}

/* Whatever the moment: the identity is the old one or the new one, and joining again works. */
static void a_join_can_be_killed_anywhere(void **state)
{
	CLEAN(files_deinit) struct world_of_files w;
	CLEAN(answer_deinit) struct answer a;
	bool seen_old = false, seen_new = false;
	size_t stop_at;

	files_make(&w);
	answer_make(&a, "g", "10.0.0.2", "static", 0);
	for (stop_at = 0;; stop_at++) {
		struct join_options o = {.dir = w.dir};
		struct identity found = {0};
		struct stopping s;
		struct why why = WHY_NONE;
		enum err e;

		assert_int_equal(identity_install(&fs_posix, w.dir, &w.old, NULL), ERR_OK);
		folder_put(w.dir, "agent.properties", "guid=g\nhost=old\n", 0600);
		stopping_init(&s, stop_at);
		e = join_write(&s.fs, &o, &w.fresh, a.m, &a.asked, &why);

		/* The next start of whoever. */
		if (identity_recover(&fs_posix, w.dir, &why) || identity_load(&found, &fs_posix, w.dir, &why))
			fail_msg("stopped at %zu: %s", stop_at, why.text);
		seen_old |= str_equal(found.cert, w.old.cert);
		seen_new |= str_equal(found.cert, w.fresh.cert);
		assert_true(str_equal(found.cert, w.old.cert) || str_equal(found.cert, w.fresh.cert));
		assert_int_equal(identity_check(&found, "g", WALL_S, &why), ERR_OK);
		identity_deinit(&found);
		assert_int_equal(join_write(&fs_posix, &o, &w.fresh, a.m, &a.asked, &why), ERR_OK);
		if (!e)
			break;
	}
	assert_true(seen_old && seen_new);
	assert_true(stop_at > 10);
}

/* Which guid agent.properties has, and whether it is that of the identity. */
static bool fits(const struct world_of_files *w, const char **which)
{
	CLEAN(mem_freep) char *text = folder_get(w->dir, "agent.properties");
	bool is_new = strstr(text, "guid=g\n"), is_old = strstr(text, "guid=g-old\n");
	struct identity found = {0};
	bool fits;

	assert_true(is_new != is_old);
	*which = is_new ? "g" : "g-old";
	fits = identity_load(&found, &fs_posix, w->dir, NULL) == ERR_OK && found.key &&
	       identity_check(&found, *which, WALL_S, NULL) == ERR_OK;
	identity_deinit(&found);
	return fits;
}

/*
 * The machine becomes another host (--force), and is killed: the token is used up, so a join that got as far as the
 * identity is finished without it, whenever that is; also when that is killed.
 */
static void a_join_as_another_host_is_finished_later(void **state)
{
	CLEAN(files_deinit) struct world_of_files w;
	CLEAN(answer_deinit) struct answer a;
	struct identity other;
	bool seen_done = false, seen_forgotten = false;
	enum err e = ERR_IO;

	files_make(&w);
	other = identity_make(w.ca_key, w.ca, CERT_ROLE_AGENT, "g-old", NULL, WALL_S);
	answer_make(&a, "g", "10.0.0.2", "static", 0);
	for (size_t stop_at = 0; e; stop_at++) {
		enum err again = ERR_IO;

		for (size_t again_at = 0; again; again_at++) {
			const struct join_options o = {.dir = w.dir, .force = true};
			const char *which = NULL;
			struct stopping s;
			bool done = false;

			assert_int_equal(identity_install(&fs_posix, w.dir, &other, NULL), ERR_OK);
			folder_put(w.dir, "agent.properties", "guid=g-old\nhost=old\n", 0600);
			folder_put(w.dir, JOIN_PENDING, "# join - -\nguid=nobody\n", 0600);
			stopping_init(&s, stop_at);
			e = join_write(&s.fs, &o, &w.fresh, a.m, &a.asked, NULL);
			stopping_init(&s, again_at);
			again = identity_recover(&s.fs, w.dir, NULL);
			if (!again)
				again = join_finish(&done, &s.fs, w.dir, NULL);
			/* And the start after that. */
			assert_int_equal(identity_recover(&fs_posix, w.dir, NULL), ERR_OK);
			assert_int_equal(join_finish(&done, &fs_posix, w.dir, NULL), ERR_OK);
			if (!fits(&w, &which))
				fail_msg("stopped at %zu, again at %zu: guid %s with another's certificate", stop_at,
					 again_at, which);
			assert_false(join_is_cut_off(&fs_posix, w.dir));
			seen_done |= e && str_equal(which, "g");
			seen_forgotten |= str_equal(which, "g-old");
		}
	}
	assert_true(seen_done && seen_forgotten);
	identity_deinit(&other);
}

static void a_cut_off_join_leaves_what_was_changed_since(void **state)
{
	CLEAN(files_deinit) struct world_of_files w;
	CLEAN(answer_deinit) struct answer a;
	CLEAN(mem_freep) char *after = NULL;
	struct join_options o = {0};
	struct why why = WHY_NONE;
	struct stopping s;
	bool done = true, was_cut_off = false;

	files_make(&w);
	answer_make(&a, "g", "10.0.0.2", "static", 0);
	o.dir = w.dir;
	/* The last moment before agent.properties is replaced. */
	for (size_t stop_at = 0; !was_cut_off; stop_at++) {
		struct identity found = {0};

		folder_put(w.dir, "agent.properties", "guid=g-old\n", 0600);
		stopping_init(&s, stop_at);
		assert_int_not_equal(join_write(&s.fs, &o, &w.fresh, a.m, &a.asked, NULL), ERR_OK);
		was_cut_off = identity_load(&found, &fs_posix, w.dir, NULL) == ERR_OK && found.key;
		identity_deinit(&found);
	}
	folder_put(w.dir, "agent.properties", "guid=g-old\nhost=mine\n", 0600);
	assert_int_equal(identity_recover(&fs_posix, w.dir, NULL), ERR_OK);
	assert_int_equal(join_finish(&done, &fs_posix, w.dir, &why), ERR_CONFLICT);
	assert_false(done);
	assert_non_null(strstr(why.text, JOIN_PENDING));
	after = folder_get(w.dir, "agent.properties");
	assert_string_equal(after, "guid=g-old\nhost=mine\n");
	assert_true(join_is_cut_off(&fs_posix, w.dir));
	/* Another join takes its place. */
	assert_int_equal(join_write(&fs_posix, &o, &w.fresh, a.m, &a.asked, NULL), ERR_OK);
	assert_false(join_is_cut_off(&fs_posix, w.dir));
}

static void the_first_join_can_be_killed_anywhere(void **state)
{
	CLEAN(answer_deinit) struct answer a;
	enum err e;

	answer_make(&a, "g", "10.0.0.2", "static", 0);
	for (size_t stop_at = 0;; stop_at++) {
		CLEAN(files_deinit) struct world_of_files w;
		struct join_options o = {0};
		struct identity found = {0};
		struct stopping s;

		files_make(&w);
		o.dir = w.dir;
		stopping_init(&s, stop_at);
		e = join_write(&s.fs, &o, &w.fresh, a.m, &a.asked, NULL);
		assert_int_equal(identity_recover(&fs_posix, w.dir, NULL), ERR_OK);
		assert_int_equal(identity_load(&found, &fs_posix, w.dir, NULL), ERR_OK);
		assert_true(!found.cert || str_equal(found.cert, w.fresh.cert));
		/* An agent's folder it is only when all of it is there. */
		assert_true(!fs_posix.exists(&fs_posix, w.dir) || !folder_mode(w.dir, "agent.properties") ||
			    found.cert);
		identity_deinit(&found);
		if (!e)
			break;
	}
}

/* ---- the identity ---- */

/* An operator keeps the key on another file system, and the certificate elsewhere on this one. */
static void links_are_followed_to_other_file_systems(void **state)
{
	CLEAN(files_deinit) struct world_of_files w;
	char elsewhere[] = "/dev/shm/muster-identity-XXXXXX";
	CLEAN(mem_freep) char *key = NULL;
	CLEAN(mem_freep) char *link = NULL;
	CLEAN(mem_freep) char *text = NULL;
	struct identity found = {0};
	struct why why = WHY_NONE;
	struct stat here, there;

	files_make(&w);
	if (!mkdtemp(elsewhere) || stat(elsewhere, &there) || stat(w.dir, &here) || here.st_dev == there.st_dev) {
		print_message("  SKIPPED: there is no other file system at /dev/shm\n");
		(void)rmdir(elsewhere);
		return;
	}
	assert_int_equal(identity_install(&fs_posix, w.dir, &w.old, NULL), ERR_OK);
	folder_put(elsewhere, "host.pem", w.old.key, 0600);
	key = path_join(elsewhere, "host.pem");
	link = path_join(w.dir, "cloud.key");
	assert_int_equal(unlink(link), 0);
	assert_int_equal(symlink(key, link), 0);
	for (int goes_back = 0; goes_back < 2; goes_back++) {
		const struct identity *stays = goes_back ? &w.old : &w.fresh;

		if (identity_renew(&fs_posix, w.dir, &w.fresh, &why) != ERR_OK)
			fail_msg("%s", why.text);
		if (goes_back)
			assert_int_equal(identity_go_back(&fs_posix, w.dir, &why), ERR_OK);
		else
			assert_int_equal(identity_proven(&fs_posix, w.dir, &why), ERR_OK);
		assert_int_equal(identity_load(&found, &fs_posix, w.dir, &why), ERR_OK);
		assert_string_equal(found.cert, stays->cert);
		identity_deinit(&found);
		text = mem_free(text);
		text = folder_get(elsewhere, "host.pem");
		assert_string_equal(text, stays->key);
		assert_int_equal(lstat(link, &here), 0);
		assert_true(S_ISLNK(here.st_mode));
		assert_int_equal(identity_install(&fs_posix, w.dir, &w.old, NULL), ERR_OK);
	}
	assert_int_equal(unlink(key), 0);
	/* Nothing else is left there. */
	assert_int_equal(rmdir(elsewhere), 0);
}

static void parts_that_are_missing_are_named(void **state)
{
	static const char *const names[] = {"cloud.key", "cloud.crt", "cloud.ca.crt"};
	CLEAN(files_deinit) struct world_of_files w;
	struct identity found = {0};
	struct why why = WHY_NONE;

	files_make(&w);
	assert_int_equal(identity_load(&found, &fs_posix, w.dir, &why), ERR_OK);
	assert_null(found.key);
	assert_false(identity_exists(&fs_posix, w.dir));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		CLEAN(mem_freep) char *path = path_join(w.dir, names[i]);

		assert_int_equal(identity_install(&fs_posix, w.dir, &w.old, NULL), ERR_OK);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(identity_load(&found, &fs_posix, w.dir, &why), ERR_NOT_FOUND);
		assert_non_null(strstr(why.text, names[i]));
		assert_null(found.key);
	}
	assert_int_equal(identity_install(&fs_posix, w.dir, &w.old, NULL), ERR_OK);
	folder_put(w.dir, "cloud.key", w.fresh.key, 0600);
	assert_int_not_equal(identity_load(&found, &fs_posix, w.dir, &why), ERR_OK);
	assert_non_null(strstr(why.text, "cloud.key and cloud.crt"));
}

static void certificates_are_judged(void **state)
{
	CLEAN(files_deinit) struct world_of_files w;
	char *other_key, *other_ca;
	struct identity i;
	struct why why = WHY_NONE;

	files_make(&w);
	ca_make(&other_key, &other_ca, WALL_S);
	assert_int_equal(identity_check(&w.old, "g", WALL_S, &why), ERR_OK);
	assert_int_equal(identity_check(&w.old, "other", WALL_S, &why), ERR_INVALID);
	assert_non_null(strstr(why.text, "host with guid g"));
	assert_int_not_equal(identity_check(&w.old, "g", WALL_S + 5000, &why), ERR_OK);

	i = (struct identity){w.fresh.key, w.old.cert, w.ca};
	assert_int_not_equal(identity_check(&i, "g", WALL_S, &why), ERR_OK);
	i = (struct identity){w.old.key, w.old.cert, other_ca};
	assert_int_not_equal(identity_check(&i, "g", WALL_S, &why), ERR_OK);

	i = identity_make(w.ca_key, w.ca, CERT_ROLE_SERVER, "g", NULL, WALL_S);
	assert_int_equal(identity_check(&i, "g", WALL_S, &why), ERR_INVALID);
	assert_non_null(strstr(why.text, "management server"));
	identity_deinit(&i);
	i = identity_make(w.ca_key, w.ca, CERT_ROLE_NONE, NULL, NULL, WALL_S);
	assert_int_equal(identity_check(&i, "g", WALL_S, &why), ERR_OK); /* CloudStack's */
	identity_deinit(&i);
	key_free(other_key);
	mem_free(other_ca);
}

static void a_ca_is_found_among_several(void **state)
{
	CLEAN(files_deinit) struct world_of_files w;
	CLEAN(mem_freep) char *both = NULL;
	char *other_key, *other_ca;
	struct cert_info info = {0};

	files_make(&w);
	ca_make(&other_key, &other_ca, WALL_S);
	both = mem_printf("%s\n%s", other_ca, w.ca);
	assert_int_equal(cert_info_parse(&info, w.ca, NULL), ERR_OK);
	assert_true(identity_ca_has(both, info.fingerprint));
	assert_false(identity_ca_has(other_ca, info.fingerprint));
	assert_false(identity_ca_has("", info.fingerprint));
	cert_info_deinit(&info);
	key_free(other_key);
	mem_free(other_ca);
}

/* ---- the token ---- */

static void tokens_come_from_several_places(void **state)
{
	CLEAN(folder_freep) char *dir = folder_new();
	CLEAN(mem_freep) char *at = mem_printf("@%s/token", dir);
	CLEAN(mem_freep) char *text = NULL;
	struct why why = WHY_NONE;

	assert_int_equal(join_token_text(&text, "muster1.a", &why), ERR_OK);
	assert_string_equal(text, "muster1.a");
	text = mem_free(text);

	assert_int_equal(join_token_text(&text, at, &why), ERR_NOT_FOUND);
	folder_put(dir, "token", "muster1.b\n", 0600);
	assert_int_equal(join_token_text(&text, at, &why), ERR_OK);
	assert_string_equal(text, "muster1.b\n");
	text = mem_free(text);

	unsetenv("MUSTER_TOKEN");
	assert_int_equal(join_token_text(&text, NULL, &why), ERR_NOT_FOUND);
	assert_non_null(strstr(why.text, "muster token create"));
	setenv("MUSTER_TOKEN", "muster1.c", 1);
	assert_int_equal(join_token_text(&text, NULL, &why), ERR_OK);
	assert_string_equal(text, "muster1.c");
}

/* What could not be read again would keep the agent from starting. */
static void what_is_too_large_to_read_is_not_joined(void **state)
{
	CLEAN(files_deinit) struct world_of_files w;
	CLEAN(answer_deinit) struct answer a;
	CLEAN(mem_freep) char *large = mem_zalloc(1024 * 1024 + 1);
	struct join_options o = {0};
	struct why why = WHY_NONE;

	files_make(&w);
	o.dir = w.dir;
	memset(large, 'u', 1024 * 1024);
	answer_make(&a, "g", NULL, NULL, 0);
	assert_int_equal(msg_set_text(&a.m->hostUuid, large), ERR_OK);
	assert_int_equal(join_write(&fs_posix, &o, &w.fresh, a.m, &a.asked, &why), ERR_TOO_BIG);
	assert_false(identity_exists(&fs_posix, w.dir));
}

static void what_is_too_large_to_read_is_not_installed(void **state)
{
	CLEAN(folder_freep) char *dir = folder_new();
	CLEAN(mem_freep) char *large = mem_zalloc(IDENTITY_TEXT_MAX + 2);
	char text[] = "-";
	const struct identity i = {.key = text, .cert = text, .ca = large};
	struct why why = WHY_NONE;

	memset(large, '\n', IDENTITY_TEXT_MAX + 1);
	assert_int_equal(identity_install(&fs_posix, dir, &i, &why), ERR_TOO_BIG);
	assert_false(identity_exists(&fs_posix, dir));
	large[IDENTITY_TEXT_MAX] = '\0';
	assert_int_equal(identity_install(&fs_posix, dir, &i, &why), ERR_OK);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_join_writes),
		cmocka_unit_test(a_file_with_mistakes_is_not_touched),
		cmocka_unit_test(a_join_can_be_killed_anywhere),
		cmocka_unit_test(the_first_join_can_be_killed_anywhere),
		cmocka_unit_test(a_join_as_another_host_is_finished_later),
		cmocka_unit_test(a_cut_off_join_leaves_what_was_changed_since),
		cmocka_unit_test(links_are_followed_to_other_file_systems),
		cmocka_unit_test(parts_that_are_missing_are_named),
		cmocka_unit_test(certificates_are_judged),
		cmocka_unit_test(a_ca_is_found_among_several),
		cmocka_unit_test(tokens_come_from_several_places),
		cmocka_unit_test(what_is_too_large_to_read_is_not_joined),
		cmocka_unit_test(what_is_too_large_to_read_is_not_installed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
