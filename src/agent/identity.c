#include "agent/identity.h"

#include <string.h>

#include "base/mem.h"

#define KEY "cloud.key"
#define CERT "cloud.crt"
#define CA "cloud.ca.crt"
#define NEW ".new"
#define OLD ".old"
#define FILE_MODE 0600

void identity_deinit(struct identity *i)
{
	i->key = key_free(i->key);
	i->cert = mem_free(i->cert);
	i->ca = mem_free(i->ca);
}

void identity_digest(char out[FINGERPRINT_TEXT], const struct identity *i)
{
	const char *const parts[] = {i->key, i->cert, i->ca};
	char hashes[ARRAY_SIZE(parts)][FINGERPRINT_TEXT];

	for (size_t k = 0; k < ARRAY_SIZE(parts); k++)
		sha256_hex(hashes[k], parts[k] ? parts[k] : "", parts[k] ? strlen(parts[k]) : 0);
	sha256_hex(out, hashes, sizeof(hashes));
}

/* ---- files ---- */

/* A missing file is ERR_OK and NULL. */
static enum err read_text(char **out, const struct fs *fs, const char *dir, const char *name, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(dir, name);
	CLEAN(buf_wipe) struct buf text = {0};
	enum err e;

	*out = NULL;
	if (!path || buf_reserve(&text, IDENTITY_TEXT_MAX + 1))
		return ERR_NOMEM;
	e = file_read(fs, path, IDENTITY_TEXT_MAX, &text, why);
	if (e == ERR_NOT_FOUND && fs->exists(fs, dir))
		return ERR_OK;
	if (e)
		return e;
	*out = mem_strndup(text.data ? (const char *)text.data : "", text.len);
	return *out ? ERR_OK : ERR_NOMEM;
}

static enum err write_text(const struct fs *fs, const char *dir, const char *name, const char *text, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(dir, name);

	return path ? fs->write_synced(fs, path, NULL, FILE_MODE, text, strlen(text), why) : ERR_NOMEM;
}

static enum err rename_into_place(const struct fs *fs, const char *dir, const char *from, const char *to,
				  struct why *why)
{
	CLEAN(mem_freep) char *a = path_join(dir, from);
	CLEAN(mem_freep) char *link = path_join(dir, to);
	CLEAN(mem_freep) char *b = NULL;
	enum err e;

	if (!a || !link)
		return ERR_NOMEM;
	if (!fs->exists(fs, a))
		return ERR_OK;
	/* A link leads to where an operator wants the file to be. */
	e = fs->exists(fs, link) ? fs->real_path(fs, link, &b, why) : ERR_OK;
	return e ? e : fs->rename(fs, a, b ? b : link, why);
}

static enum err remove_file(const struct fs *fs, const char *dir, const char *name, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(dir, name);

	return path ? fs->remove(fs, path, why) : ERR_NOMEM;
}

static bool is_there(const struct fs *fs, const char *dir, const char *name)
{
	CLEAN(mem_freep) char *path = path_join(dir, name);

	return path && fs->exists(fs, path);
}

bool identity_exists(const struct fs *fs, const char *dir)
{
	return is_there(fs, dir, KEY) || is_there(fs, dir, CERT) || is_there(fs, dir, CERT NEW);
}

/* ---- reading ---- */

enum { N_PARTS = 3 };
static const char *const names_in_use[N_PARTS] = {KEY, CERT, CA};
static const char *const names_old[N_PARTS] = {KEY OLD, CERT OLD, CA OLD};

/* Nothing there is ERR_OK; one of several missing is ERR_NOT_FOUND. */
static enum err read_all(struct identity *i, const char *const names[N_PARTS], const struct fs *fs, const char *dir,
			 struct why *why)
{
	char **const texts[N_PARTS] = {&i->key, &i->cert, &i->ca};
	enum err e = ERR_OK;
	size_t n = 0;

	for (size_t k = 0; !e && k < N_PARTS; k++) {
		e = read_text(texts[k], fs, dir, names[k], why);
		n += *texts[k] != NULL;
	}
	if (e || n == 0 || n == N_PARTS)
		return e;
	for (size_t k = 0; k < N_PARTS; k++) {
		if (!*texts[k]) {
			why_set(why,
				"%s is missing in %s, though others of the agent's certificate are there: bring it back, or join again",
				names[k], dir);
			break;
		}
	}
	return ERR_NOT_FOUND;
}

static enum err load(struct identity *out, const char *const names[N_PARTS], const struct fs *fs, const char *dir,
		     struct why *why)
{
	struct identity i = {0};
	enum err e = read_all(&i, names, fs, dir, why);

	if (!e && i.key) {
		e = key_matches_cert(i.key, i.cert, why);
		if (e)
			why_add(why, "%s/%s and %s", dir, names[0], names[1]);
	}
	if (e) {
		identity_deinit(&i);
		return e;
	}
	*out = i;
	return ERR_OK;
}

enum err identity_load(struct identity *out, const struct fs *fs, const char *dir, struct why *why)
{
	return load(out, names_in_use, fs, dir, why);
}

enum err identity_load_old(struct identity *out, const struct fs *fs, const char *dir, struct why *why)
{
	/* 2. The certificate says that the others are there. */
	if (!is_there(fs, dir, CERT OLD)) {
		*out = (struct identity){0};
		return ERR_OK;
	}
	return load(out, names_old, fs, dir, why);
}

/* ---- replacing ---- */

static enum err swap(const struct fs *fs, const char *dir, struct why *why)
{
	enum err e = rename_into_place(fs, dir, CA NEW, CA, why);

	if (!e)
		e = rename_into_place(fs, dir, KEY NEW, KEY, why);
	if (!e)
		e = rename_into_place(fs, dir, CERT NEW, CERT, why);
	return e ? e : fs->sync_dir(fs, dir, why);
}

bool identity_is_interrupted(const struct fs *fs, const char *dir)
{
	return is_there(fs, dir, CERT NEW);
}

/* 1. What was interrupted, by a crash or by a disk that was full for a while, has to be whole before anything else is
 * begun. */
static enum err finish(const struct fs *fs, const char *dir, struct why *why)
{
	CLEAN(mem_freep) char *cert = NULL;
	char *key = NULL;
	enum err e;

	if (!identity_is_interrupted(fs, dir))
		return ERR_OK;
	/* Its key is beside it, or in place already; if neither, it was cut off while it was written. */
	e = read_text(&cert, fs, dir, CERT NEW, why);
	if (!e)
		e = read_text(&key, fs, dir, is_there(fs, dir, KEY NEW) ? KEY NEW : KEY, why);
	if (!e) {
		bool fits = cert && key && key_matches_cert(key, cert, NULL) == ERR_OK;

		e = fits ? swap(fs, dir, why) : remove_file(fs, dir, CERT NEW, why);
	}
	key_free(key);
	return e;
}

/* What could not be read again would keep the agent from starting. */
static enum err check_sizes(const struct identity *i, struct why *why)
{
	const char *const texts[] = {i->key, i->cert, i->ca};

	for (size_t k = 0; k < ARRAY_SIZE(texts); k++) {
		if (texts[k] && strlen(texts[k]) > IDENTITY_TEXT_MAX) {
			why_set(why, "key, certificate or CA has more than %u bytes", IDENTITY_TEXT_MAX);
			return ERR_TOO_BIG;
		}
	}
	return ERR_OK;
}

/* 1. */
static enum err replace(const struct fs *fs, const char *dir, const struct identity *i, struct why *why)
{
	enum err e = check_sizes(i, why);

	/* One from before must not be taken for the sign that these are complete. */
	if (!e)
		e = finish(fs, dir, why);
	if (!e)
		e = write_text(fs, dir, KEY NEW, i->key, why);
	if (!e)
		e = write_text(fs, dir, CA NEW, i->ca, why);
	/* The other two must be in the folder before the one that says that they are. */
	if (!e)
		e = fs->sync_dir(fs, dir, why);
	if (!e)
		e = write_text(fs, dir, CERT NEW, i->cert, why);
	if (!e)
		e = fs->sync_dir(fs, dir, why);
	return e ? e : swap(fs, dir, why);
}

/* 4. The certificate first, for good: what is left without it is tidied away at the next start. */
static enum err drop_old(const struct fs *fs, const char *dir, struct why *why)
{
	enum err e;

	if (!is_there(fs, dir, CERT OLD) && !is_there(fs, dir, KEY OLD) && !is_there(fs, dir, CA OLD))
		return ERR_OK;
	e = remove_file(fs, dir, CERT OLD, why);
	if (!e)
		e = fs->sync_dir(fs, dir, why);
	if (!e)
		e = remove_file(fs, dir, KEY OLD, why);
	if (!e)
		e = remove_file(fs, dir, CA OLD, why);
	return e ? e : fs->sync_dir(fs, dir, why);
}

/* 2. */
static enum err keep_old(const struct fs *fs, const char *dir, struct why *why)
{
	struct identity i = {0};
	enum err e = identity_load_old(&i, fs, dir, why);

	/* 3. */
	if (!e && i.key) {
		identity_deinit(&i);
		return ERR_OK;
	}
	identity_deinit(&i);
	/* One that doesn't fit could not be gone back to anyway. */
	e = drop_old(fs, dir, why);
	if (!e)
		e = identity_load(&i, fs, dir, why);
	if (!e && i.key) {
		e = write_text(fs, dir, KEY OLD, i.key, why);
		if (!e)
			e = write_text(fs, dir, CA OLD, i.ca, why);
		if (!e)
			e = fs->sync_dir(fs, dir, why);
		if (!e)
			e = write_text(fs, dir, CERT OLD, i.cert, why);
		if (!e)
			e = fs->sync_dir(fs, dir, why);
	}
	identity_deinit(&i);
	return e;
}

enum err identity_install(const struct fs *fs, const char *dir, const struct identity *i, struct why *why)
{
	enum err e = replace(fs, dir, i, why);

	/* 7. */
	return e ? e : drop_old(fs, dir, why);
}

enum err identity_renew(const struct fs *fs, const char *dir, const struct identity *i, struct why *why)
{
	enum err e = check_sizes(i, why);

	if (!e)
		e = finish(fs, dir, why);
	if (!e)
		e = keep_old(fs, dir, why);
	return e ? e : replace(fs, dir, i, why);
}

enum err identity_proven(const struct fs *fs, const char *dir, struct why *why)
{
	return drop_old(fs, dir, why);
}

enum err identity_go_back(const struct fs *fs, const char *dir, struct why *why)
{
	struct identity old = {0};
	enum err e = identity_load_old(&old, fs, dir, why);

	if (!e && !old.key) {
		why_set(why, "there is no older certificate in %s", dir);
		e = ERR_NOT_FOUND;
	}
	/* 5. */
	if (!e)
		e = replace(fs, dir, &old, why);
	identity_deinit(&old);
	return e ? e : drop_old(fs, dir, why);
}

/* 6. */
static enum err tidy_old(const struct fs *fs, const char *dir, struct why *why)
{
	struct identity i = {0}, old = {0};
	char digests[2][FINGERPRINT_TEXT];
	bool is_good = identity_load_old(&old, fs, dir, NULL) == ERR_OK && old.key;
	/* What is wrong with the one in use is for whoever loads it to say: nothing that might be needed is removed. */
	bool is_needed = is_good && identity_load(&i, fs, dir, NULL) != ERR_OK;

	identity_digest(digests[0], &i);
	identity_digest(digests[1], &old);
	is_needed |= is_good && strcmp(digests[0], digests[1]) != 0;
	identity_deinit(&i);
	identity_deinit(&old);
	return is_needed ? ERR_OK : drop_old(fs, dir, why);
}

enum err identity_recover(const struct fs *fs, const char *dir, struct why *why)
{
	enum err e = finish(fs, dir, why);

	return e ? e : tidy_old(fs, dir, why);
}

/* ---- a key that waits ---- */

enum err identity_keep_key(const struct fs *fs, const char *dir, const char *key_pem, struct why *why)
{
	enum err e = finish(fs, dir, why);

	if (!e)
		e = write_text(fs, dir, KEY NEW, key_pem, why);
	return e ? e : fs->sync_dir(fs, dir, why);
}

enum err identity_waiting_key(char **out, const struct fs *fs, const char *dir, struct why *why)
{
	return read_text(out, fs, dir, KEY NEW, why);
}
