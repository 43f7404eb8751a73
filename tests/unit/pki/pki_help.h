/*
 * What the tests of pki and ca share: a small CA, data from tests/golden/pki, the openssl program as the other opinion.
 */
#pragma once

#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "pki/cert.h"

#define WALL_S INT64_C(1750000000) /* the data is valid from 2024 to 2074 */
#define DAY_S INT64_C(86400)

static inline void text_freep(char **p)
{
	*p = key_free(*p);
}

/* A file of tests/golden/pki. */
static inline char *golden(const char *name)
{
	CLEAN(buf_deinit) struct buf b = {0};
	CLEAN(mem_freep) char *path = path_join(GOLDEN, name);
	struct why why = WHY_NONE;
	char *text;

	if (file_read(&fs_posix, path, 1u << 20, &b, &why))
		fail_msg("%s", why.text);
	text = buf_take_str(&b);
	assert_non_null(text);
	return text;
}

static inline void put_file(const char *dir, const char *name, const char *text)
{
	CLEAN(mem_freep) char *path = path_join(dir, name);

	assert_int_equal(file_replace(&fs_posix, path, 0600, text, strlen(text), NULL), ERR_OK);
}

/* A list of the texts up to the first NULL, to be freed. */
static inline struct str_list list_of(const char *const *texts)
{
	struct str_list l = {0};

	while (*texts)
		assert_int_equal(str_list_add(&l, *texts++), ERR_OK);
	return l;
}
#define LIST_OF(...) list_of((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

/* A folder that is gone after the test; skips the test where there is no openssl program. */
static inline char *openssl_folder(void)
{
	const char *base = getenv("TMPDIR");
	char *dir = path_join(base ? base : "/tmp", "muster-pki-XXXXXX");

	if (system("openssl version >/dev/null 2>&1") != 0) {
		mem_free(dir);
		skip();
	}
	assert_non_null(mkdtemp(dir));
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

/* Runs openssl in a folder; its output goes to the file `out` there. */
static inline bool openssl(const char *dir, const char *arguments)
{
	char command[1024];

	snprintf(command, sizeof(command), "cd '%s' && openssl %s >out 2>&1", dir, arguments);
	return system(command) == 0;
}

static inline bool openssl_said(const char *dir, const char *text)
{
	CLEAN(buf_deinit) struct buf b = {0};
	CLEAN(mem_freep) char *path = path_join(dir, "out");
	const char *said;

	assert_int_equal(file_read(&fs_posix, path, 1u << 20, &b, NULL), ERR_OK);
	said = buf_str(&b);
	if (said && strstr(said, text))
		return true;
	print_message("openssl said:\n%s\n", said);
	return false;
}

struct test_ca {
	char *key;
	char *cert;
};

static inline void test_ca_make(struct test_ca *ca, const char *name, int64_t from_s, int64_t to_s)
{
	struct why why = WHY_NONE;
	struct cert_params p = {
		.common_name = name,
		.is_ca = true,
		.not_before_s = from_s,
		.not_after_s = to_s,
		.serial = {0xff, 1},
	};

	assert_int_equal(key_new(&ca->key, KEY_EC_P256, NULL), ERR_OK);
	p.key_pem = ca->key;
	if (cert_new(&ca->cert, &p, &why))
		fail_msg("%s", why.text);
}

static inline void test_ca_deinit(struct test_ca *ca)
{
	ca->key = key_free(ca->key);
	ca->cert = mem_free(ca->cert);
}
