/*
 * Whatever stands in an agent's folder: a start finds a set that fits or says what is wrong with it, and never keeps
 * half a replacement; what isn't the agent's own it leaves alone. The input is ten texts with a zero byte between them;
 * an empty one is a file that is not there.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/certificate_words.h"
#include "agent/identity.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

#define DIR_NAME "/a"
#define WALL_S INT64_C(2000000000)
#define N_TEXTS 10
#define N_FILES 13

static const char *const names[N_FILES] = {
	"cloud.key",         "cloud.crt",         "cloud.ca.crt",   "cloud.key.new",    "cloud.crt.new",
	"cloud.ca.crt.new",  "cloud.key.old",     "cloud.crt.old",  "cloud.ca.crt.old", "cloud.ours",
	"cloud.crt.new.tmp", "cloud.crt.old.tmp", "cloud.ours.tmp",
};

struct folder {
	char *texts[N_FILES]; /* NULL: not there */
};

static char **text_at(const struct fs *fs, const char *path)
{
	struct folder *f = fs->user;

	MUST(str_starts(path, DIR_NAME "/"));
	for (size_t i = 0; i < N_FILES; i++)
		if (strcmp(path + strlen(DIR_NAME) + 1, names[i]) == 0)
			return &f->texts[i];
	abort();
}

static enum err op_read(const struct fs *fs, const char *path, size_t limit, struct buf *out, struct why *why)
{
	char **text = text_at(fs, path);

	if (!*text) {
		why_set(why, "%s is not there", path);
		return ERR_NOT_FOUND;
	}
	if (strlen(*text) > limit) {
		why_set(why, "%s is too large", path);
		return ERR_TOO_BIG;
	}
	return buf_put_str(out, *text);
}

static enum err op_write(const struct fs *fs, const char *path, const char *as, unsigned mode, const void *data,
			 size_t n, struct why *why)
{
	char **text = text_at(fs, path);

	MUST(mode == 0600);
	mem_free(*text);
	*text = mem_strndup(data, n);
	return *text ? ERR_OK : ERR_NOMEM;
}

static enum err op_rename(const struct fs *fs, const char *from, const char *to, struct why *why)
{
	char **a = text_at(fs, from), **b = text_at(fs, to);

	MUST(*a);
	mem_free(*b);
	*b = *a;
	*a = NULL;
	return ERR_OK;
}

static enum err op_remove(const struct fs *fs, const char *path, struct why *why)
{
	*text_at(fs, path) = mem_free(*text_at(fs, path));
	return ERR_OK;
}

static enum err op_sync(const struct fs *fs, const char *dir, struct why *why)
{
	return ERR_OK;
}

static enum err op_real(const struct fs *fs, const char *path, char **out, struct why *why)
{
	*out = mem_strdup(path);
	return *out ? ERR_OK : ERR_NOMEM;
}

static bool op_exists(const struct fs *fs, const char *path)
{
	return strcmp(path, DIR_NAME) == 0 || *text_at(fs, path);
}

static void fill(struct folder *f, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < N_TEXTS; i++) {
		const uint8_t *end = size ? memchr(data, 0, size) : NULL;
		size_t n = end ? (size_t)(end - data) : size;

		f->texts[i] = n ? mem_strndup((const char *)data, n) : NULL;
		data += n + (end != NULL);
		size -= n + (end != NULL);
	}
}

static void judge(const struct identity *i)
{
	CLEAN(buf_deinit) struct buf words = {0};
	struct cert_info info = {0};
	struct why why = WHY_NONE;
	enum err e = identity_check(i, "g", WALL_S, &why);

	MUST(!e || why.text[0]);
	why = WHY_NONE;
	e = identity_check_ca(i->ca, WALL_S, &why);
	MUST(!e || why.text[0]);
	if (cert_info_parse(&info, i->cert, NULL) == ERR_OK) {
		MUST(certificate_words(&words, &info, WALL_S) == ERR_OK);
		for (size_t k = 0; k < words.len; k++)
			MUST(words.data[k] >= 0x20 && words.data[k] != 0x7f);
		MUST(!e || !identity_ca_has("", info.fingerprint));
	}
	cert_info_deinit(&info);
}

/* Loads it; what fits not is refused with a sentence. */
static enum err look(struct identity *out,
		     enum err (*load)(struct identity *, const struct fs *, const char *, struct why *),
		     const struct fs *fs)
{
	struct why why = WHY_NONE;
	enum err e = load(out, fs, DIR_NAME, &why);

	MUST(!e || (why.text[0] && !out->key));
	if (!e && out->key) {
		MUST(out->cert && out->ca && key_matches_cert(out->key, out->cert, NULL) == ERR_OK);
		judge(out);
	}
	return e;
}

/* What is in place, byte by byte. */
static void mark(char out[FINGERPRINT_TEXT], const struct folder *f)
{
	const struct identity i = {.key = f->texts[0], .cert = f->texts[1], .ca = f->texts[2]};

	identity_digest(out, &i);
}

static void go_back(struct folder *f, const struct fs *fs, const struct identity *old)
{
	struct identity back = {0};
	char marks[2][FINGERPRINT_TEXT];
	struct why why = WHY_NONE;
	enum err e;

	mark(marks[0], f);
	e = identity_go_back(fs, DIR_NAME, &why);
	mark(marks[1], f);
	if (e == ERR_CONFLICT) {
		MUST(why.text[0] && strcmp(marks[0], marks[1]) == 0);
	} else {
		MUST(e == ERR_OK);
		MUST(look(&back, identity_load, fs) == ERR_OK && strcmp(back.cert, old->cert) == 0);
	}
	identity_deinit(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct folder f = {0};
	const struct fs fs = {.read = op_read,
			      .write_synced = op_write,
			      .rename = op_rename,
			      .remove = op_remove,
			      .sync_dir = op_sync,
			      .real_path = op_real,
			      .exists = op_exists,
			      .user = &f};
	struct identity before = {0}, after = {0}, old = {0};
	char marks[2][FINGERPRINT_TEXT];
	struct why why = WHY_NONE;
	enum err was, e;

	fill(&f, data, size);
	mark(marks[0], &f);
	was = look(&before, identity_load, &fs);
	e = identity_recover(&fs, DIR_NAME, &why);
	MUST(!e || why.text[0]);
	mark(marks[1], &f);
	MUST(e != ERR_CONFLICT || strcmp(marks[0], marks[1]) == 0);
	if (!e) {
		MUST(!identity_is_interrupted(&fs, DIR_NAME));
		/* A set that fits is never turned into one that doesn't. */
		e = look(&after, identity_load, &fs);
		MUST(was || !before.key || !e || e == ERR_NOT_FOUND);
		MUST(look(&old, identity_load_old, &fs) == ERR_OK);
		if (old.key)
			go_back(&f, &fs, &old);
	}
	identity_deinit(&before);
	identity_deinit(&after);
	identity_deinit(&old);
	for (size_t i = 0; i < N_FILES; i++)
		mem_free(f.texts[i]);
	return 0;
}
