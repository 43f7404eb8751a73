/* Where the cluster key is, and who may read it there. Real files: rights are the machine's. */
#include "server/cluster_key.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "ca/root.h"
#include "check.h"

#define KEY "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n"

struct place {
	char dir[40], credentials[60];
};

static int up(void **state)
{
	struct place *p = mem_zalloc(sizeof(*p));

	check_there(p);
	strcpy(p->dir, "/tmp/muster-key-XXXXXX");
	check_there(mkdtemp(p->dir));
	snprintf(p->credentials, sizeof(p->credentials), "%s/credentials", p->dir);
	assert_int_equal(mkdir(p->credentials, 0700), 0);
	*state = p;
	return 0;
}

static int down(void **state)
{
	struct place *p = *state;
	char command[80];

	snprintf(command, sizeof(command), "rm -rf %s", p->dir);
	assert_int_equal(system(command), 0);
	mem_free(p);
	return 0;
}

static void put(const struct place *p, const char *name, unsigned mode)
{
	CLEAN(mem_freep) char *path = path_join(p->dir, name);

	assert_int_equal(file_replace(&fs_posix, path, mode, KEY, strlen(KEY), NULL), ERR_OK);
	assert_int_equal(chmod(path, mode), 0);
}

static void take_away(const struct place *p, const char *name)
{
	CLEAN(mem_freep) char *path = path_join(p->dir, name);

	assert_int_equal(remove(path), 0);
}

static void the_key_is_found(void **state)
{
	static const struct {
		const char *what;
		const char *setting;
		bool has_folder, has_credential, has_file;
		const char *path; /* below the folder; NULL: an error */
		bool is_credential;
		const char *why;
	} rows[] = {
		{"a file in the folder", "cluster.key", false, false, true, "cluster.key", false, NULL},
		{"a file that is to be made", "cluster.key", false, false, false, "cluster.key", false, NULL},
		{"a credential where there is no file", "cluster.key", true, true, false, "credentials/cluster.key",
		 true, NULL},
		{"a file is preferred to a credential that nobody asked for", "cluster.key", true, true, true,
		 "cluster.key", false, NULL},
		{"a credential that was asked for is preferred to a file", "$CREDENTIALS_DIRECTORY/cluster.key", true,
		 true, true, "credentials/cluster.key", true, NULL},
		{"credentials of other things", "cluster.key", true, false, false, "cluster.key", false, NULL},
		{"a credential of another name", "$CREDENTIALS_DIRECTORY/other", true, true, true, "credentials/other",
		 true, NULL},
		{"a credential where systemd gives none", "$CREDENTIALS_DIRECTORY/cluster.key", false, false, true,
		 NULL, false, "LoadCredential=cluster.key:PATH"},
		{"a credential without a name", "$CREDENTIALS_DIRECTORY/", true, true, true, NULL, false, "no name"},
		{"a way out of the credentials", "$CREDENTIALS_DIRECTORY/../cluster.key", true, true, true, NULL, false,
		 "no name"},
	};
	const struct place *p = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(cluster_key_place_deinit) struct cluster_key_place found = {0};
		CLEAN(mem_freep) char *expected = rows[i].path ? path_join(p->dir, rows[i].path) : NULL;
		struct why why = WHY_NONE;
		enum err e;

		put(p, "cluster.key", 0600);
		put(p, "credentials/cluster.key", 0400);
		if (!rows[i].has_file)
			take_away(p, "cluster.key");
		if (!rows[i].has_credential)
			take_away(p, "credentials/cluster.key");
		e = cluster_key_find(&found, p->dir, rows[i].setting, rows[i].has_folder ? p->credentials : NULL, &why);
		if (!expected) {
			check_row(&rows[i], e == ERR_INVALID && strstr(why.text, rows[i].why) && !found.path);
			continue;
		}
		check_row(&rows[i], e == ERR_OK && str_equal(found.path, expected));
		check_row(&rows[i], found.is_credential == rows[i].is_credential);
	}
}

static void secrets_are_private(void **state)
{
	static const struct {
		const char *what;
		unsigned mode;
		bool by_link, is_credential;
		uid_t owner; /* 0: stays */
		enum err e;
		const char *why;
	} rows[] = {
		{"only ours", 0600, false, false, 0, ERR_OK, NULL},
		{"only ours to read", 0400, false, false, 0, ERR_OK, NULL},
		{"a link to one", 0600, true, false, 0, ERR_OK, NULL},
		{"everybody reads it", 0644, false, false, 0, ERR_REFUSED, "chmod 600"},
		{"everybody reads what a link leads to", 0644, true, false, 0, ERR_REFUSED, "(mode 0644): chmod 600"},
		{"the group reads it", 0640, false, false, 0, ERR_REFUSED, "chmod 600"},
		{"the group writes it", 0620, false, false, 0, ERR_REFUSED, "chmod 600"},
		{"others may only write it", 0602, false, false, 0, ERR_REFUSED, "chmod 600"},
		{"a credential's group is its one user", 0440, false, true, 0, ERR_OK, NULL},
		{"a credential for everybody", 0444, false, true, 0, ERR_REFUSED, "others may read"},
		{"another user's", 0600, false, false, 12345, ERR_REFUSED, "belongs to another user (uid 12345)"},
		{"another user's credential", 0600, false, true, 12345, ERR_REFUSED, "belongs to another user"},
	};
	const struct place *p = *state;
	CLEAN(mem_freep) char *path = path_join(p->dir, "secret");
	CLEAN(mem_freep) char *link = path_join(p->dir, "link");

	assert_int_equal(symlink("secret", link), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct why why = WHY_NONE;
		enum err e;

		put(p, "secret", rows[i].mode);
		if (rows[i].owner && chown(path, rows[i].owner, (gid_t)-1)) {
			print_message("%s: not tried, only root can give files away\n", rows[i].what);
			continue;
		}
		e = secret_file_check(rows[i].by_link ? link : path, rows[i].is_credential, &why);
		check_row(&rows[i], e == rows[i].e && !e == !why.text[0]);
		check_row(&rows[i], !rows[i].why || strstr(why.text, rows[i].why));
		assert_int_equal(remove(path), 0);
	}
	assert_int_equal(secret_file_check(path, false, NULL), ERR_NOT_FOUND);
	assert_int_equal(secret_file_check(link, false, NULL), ERR_NOT_FOUND);
	assert_int_equal(secret_file_check(p->credentials, false, NULL), ERR_REFUSED);
}

/* What we make ourselves passes. */
static void what_is_made_is_private(void **state)
{
	static const uint8_t random[CLUSTER_KEY_SIZE] = {7};
	const struct place *p = *state;
	CLEAN(mem_freep) char *path = path_join(p->dir, "made");
	uint8_t key[CLUSTER_KEY_SIZE];
	mode_t before = umask(0);

	assert_int_equal(cluster_key_create(key, &fs_posix, path, random, NULL), ERR_OK);
	umask(before);
	assert_int_equal(secret_file_check(path, false, NULL), ERR_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_key_is_found, up, down),
		cmocka_unit_test_setup_teardown(secrets_are_private, up, down),
		cmocka_unit_test_setup_teardown(what_is_made_is_private, up, down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
