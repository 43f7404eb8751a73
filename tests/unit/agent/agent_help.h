/*
 * What the tests of the agent daemon share: a folder of their own, a small CA with an agent's certificate.
 */
#pragma once

#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/identity.h"
#include "base/fs.h"
#include "base/mem.h"
#include "pki/cert.h"

#define WALL_S INT64_C(1750000000)

/* ---- a folder that is gone after the test ---- */

static inline char *folder_new(void)
{
	const char *base = getenv("TMPDIR");
	char *dir = path_join(base ? base : P_tmpdir, "muster-agent-XXXXXX");

	check_there(dir);
	check_there(mkdtemp(dir));
	return dir;
}

static inline void folder_freep(char **dir)
{
	char command[512];

	snprintf(command, sizeof(command), "rm -rf '%s'", *dir);
	if (*dir && system(command) != 0)
		fprintf(stderr, "%s is left behind\n", *dir);
	*dir = mem_free(*dir);
}

static inline void folder_put(const char *dir, const char *name, const char *text, unsigned mode)
{
	CLEAN(mem_freep) char *path = path_join(dir, name);

	assert_int_equal(file_replace(&fs_posix, path, mode, text, strlen(text), NULL), ERR_OK);
}

/* NULL: there is no such file. */
static inline char *folder_get(const char *dir, const char *name)
{
	CLEAN(mem_freep) char *path = path_join(dir, name);
	CLEAN(buf_deinit) struct buf text = {0};

	if (file_read(&fs_posix, path, 1u << 20, &text, NULL))
		return NULL;
	return buf_take_str(&text);
}

static inline unsigned folder_mode(const char *dir, const char *name)
{
	CLEAN(mem_freep) char *path = path_join(dir, name);
	struct stat st;

	return stat(path, &st) ? 0 : st.st_mode & 0777u;
}

/* ---- certificates ---- */

static inline void ca_make(char **key, char **cert, int64_t wall_s)
{
	struct cert_params p = {
		.common_name = "ca",
		.is_ca = true,
		.not_before_s = wall_s - 1000,
		.not_after_s = wall_s + 1000000,
		.serial = {1},
	};

	assert_int_equal(key_new(key, KEY_EC_P256, NULL), ERR_OK);
	p.key_pem = *key;
	assert_int_equal(cert_new(cert, &p, NULL), ERR_OK);
}

/* An identity of `role` for `id`, signed by that CA, good for 1000 s around that time; `key` NULL: a new one. */
static inline struct identity identity_make(const char *ca_key, const char *ca_cert, enum cert_role role,
					    const char *id, const char *key, int64_t wall_s)
{
	struct identity i = {0};
	struct cert_params p = {
		.ca_cert_pem = ca_cert,
		.ca_key_pem = ca_key,
		.common_name = "h",
		.role = role,
		.id = id,
		.not_before_s = wall_s - 1000,
		.not_after_s = wall_s + 1000,
		.serial = {2},
	};

	if (key)
		i.key = mem_strdup(key);
	else
		assert_int_equal(key_new(&i.key, KEY_EC_P256, NULL), ERR_OK);
	p.key_pem = i.key;
	assert_int_equal(cert_new(&i.cert, &p, NULL), ERR_OK);
	i.ca = mem_strdup(ca_cert);
	return i;
}
