#include "agent/identity.h"

#include <string.h>

#include "base/mem.h"

#define KEY "cloud.key"
#define CERT "cloud.crt"
#define CA "cloud.ca.crt"
#define NEW ".new"
#define OLD ".old"
#define TEMPORARY ".tmp"
#define OURS "cloud.ours"
#define FILE_MODE 0600
#define READ_ROOM (96u * 1024) /* no key is read into less, and growing would leave copies of it behind */

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

static enum err read_at(char **out, const struct fs *fs, const char *path, struct why *why)
{
	CLEAN(buf_wipe) struct buf text = {0};
	enum err e;

	*out = NULL;
	if (buf_reserve(&text, READ_ROOM))
		return ERR_NOMEM;
	e = file_read(fs, path, IDENTITY_TEXT_MAX, &text, why);
	if (e)
		return e;
	*out = mem_strndup(text.data ? (const char *)text.data : "", text.len);
	return *out ? ERR_OK : ERR_NOMEM;
}

/* A missing file is ERR_OK and NULL. */
static enum err read_text(char **out, const struct fs *fs, const char *dir, const char *name, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(dir, name);
	enum err e = path ? read_at(out, fs, path, why) : ERR_NOMEM;

	return e == ERR_NOT_FOUND && fs->exists(fs, dir) ? ERR_OK : e;
}

static enum err write_text(const struct fs *fs, const char *dir, const char *name, const char *text, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(dir, name);

	return path ? fs->write_synced(fs, path, NULL, FILE_MODE, text, strlen(text), why) : ERR_NOMEM;
}

static enum err sync_folder_of(const struct fs *fs, const char *path, struct why *why)
{
	CLEAN(mem_freep) char *dir = path_dir(path);

	return dir ? fs->sync_dir(fs, dir, why) : ERR_NOMEM;
}

/* For what says by being there that it is whole, and others with it: its name comes when it is on the disk. */
static enum err write_sign_at(const struct fs *fs, const char *path, const char *text, struct why *why)
{
	CLEAN(mem_freep) char *temporary = mem_printf("%s" TEMPORARY, path);
	enum err e = temporary ? fs->write_synced(fs, temporary, NULL, FILE_MODE, text, strlen(text), why) : ERR_NOMEM;

	if (!e)
		e = fs->rename(fs, temporary, path, why);
	return e ? e : sync_folder_of(fs, path, why);
}

static enum err write_sign(const struct fs *fs, const char *dir, const char *name, const char *text, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(dir, name);

	return path ? write_sign_at(fs, path, text, why) : ERR_NOMEM;
}

static enum err remove_at(const struct fs *fs, const char *path, struct why *why)
{
	return fs->exists(fs, path) ? fs->remove(fs, path, why) : ERR_OK;
}

static enum err remove_file(const struct fs *fs, const char *dir, const char *name, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(dir, name);

	return path ? remove_at(fs, path, why) : ERR_NOMEM;
}

static bool is_there(const struct fs *fs, const char *dir, const char *name)
{
	CLEAN(mem_freep) char *path = path_join(dir, name);

	return path && fs->exists(fs, path);
}

/* ---- where the three are, and what is to take their place ---- */

enum part { PART_KEY, PART_CERT, PART_CA, N_PARTS };
static const char *const names_in_use[N_PARTS] = {KEY, CERT, CA};
static const char *const names_old[N_PARTS] = {KEY OLD, CERT OLD, CA OLD};

struct places {
	char *real[N_PARTS];  /* where an operator's links lead to, if there are any */
	char *fresh[N_PARTS]; /* beside that, because a file is only renamed inside a file system */
};

static void places_deinit(struct places *p)
{
	for (size_t k = 0; k < N_PARTS; k++) {
		p->real[k] = mem_free(p->real[k]);
		p->fresh[k] = mem_free(p->fresh[k]);
	}
}

static enum err places_init(struct places *p, const struct fs *fs, const char *dir, struct why *why)
{
	*p = (struct places){0};
	for (size_t k = 0; k < N_PARTS; k++) {
		CLEAN(mem_freep) char *path = path_join(dir, names_in_use[k]);
		enum err e = path ? fs->real_path(fs, path, &p->real[k], why) : ERR_NOMEM;

		if (!e && !(p->fresh[k] = mem_printf("%s" NEW, p->real[k])))
			e = ERR_NOMEM;
		if (e) {
			places_deinit(p);
			return e;
		}
	}
	return ERR_OK;
}

/* What can't be replaced has to be known before anything is: half of a set is worse than the old one. */
static enum err check_places(const struct places *p, const struct fs *fs, struct why *why)
{
	enum err e = ERR_OK;

	for (size_t k = 0; !e && fs->can_replace && k < N_PARTS; k++)
		e = fs->can_replace(fs, p->real[k], why);
	return e;
}

bool identity_is_interrupted(const struct fs *fs, const char *dir)
{
	struct places p;
	bool is;

	if (places_init(&p, fs, dir, NULL))
		return false;
	is = fs->exists(fs, p.fresh[PART_CERT]);
	places_deinit(&p);
	return is;
}

bool identity_exists(const struct fs *fs, const char *dir)
{
	return is_there(fs, dir, KEY) || is_there(fs, dir, CERT) || identity_is_interrupted(fs, dir);
}

/* ---- reading ---- */

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

/* ---- what is ours ---- */

static void part_hash(char out[FINGERPRINT_TEXT], const char *text)
{
	sha256_hex(out, text, strlen(text));
}

static enum err put_hash(struct buf *b, const char *text)
{
	char hash[FINGERPRINT_TEXT];

	if (!text)
		return ERR_OK;
	part_hash(hash, text);
	return buf_printf(b, "%s\n", hash);
}

/* NULL: there is none. `is_ours` is false when it is nothing that we could have put there. */
static enum err read_part(char **out, bool *is_ours, const struct fs *fs, const char *dir, enum part k, struct why *why)
{
	enum err e = read_text(out, fs, dir, names_in_use[k], why);

	*is_ours = e != ERR_TOO_BIG && e != ERR_INVALID;
	return *is_ours ? e : ERR_OK;
}

/* 8. Those in place, and those that are to come. */
static enum err write_ours(const struct fs *fs, const char *dir, const struct identity *coming, struct why *why)
{
	const char *const fresh[N_PARTS] = {coming->key, coming->cert, coming->ca};
	CLEAN(buf_deinit) struct buf b = {0};
	enum err e = buf_put_str(&b, "# The SHA-256 of what muster-agent itself has put into cloud.key, cloud.crt and "
				     "cloud.ca.crt, or is about to,\n# as long as a new certificate is on trial. What "
				     "somebody else puts there meanwhile is not overwritten.\n");

	for (size_t k = 0; !e && k < N_PARTS; k++) {
		char *part = NULL;
		bool can_be;

		e = read_part(&part, &can_be, fs, dir, k, why);
		if (!e)
			e = put_hash(&b, part);
		if (!e)
			e = put_hash(&b, fresh[k]);
		key_free(part);
	}
	if (e)
		return e;
	return buf_str(&b) ? write_sign(fs, dir, OURS, buf_str(&b), why) : ERR_NOMEM;
}

/* Nothing to look it up in: from before there was such a list, so nobody can say that it isn't. */
static bool is_listed(const char *list, const char *text)
{
	char hash[FINGERPRINT_TEXT];

	if (!list || !text)
		return true;
	part_hash(hash, text);
	return strstr(list, hash) != NULL;
}

/* 8. Is everything that is in place ours? */
static enum err are_ours(bool *out, const struct fs *fs, const char *dir, struct why *why)
{
	CLEAN(mem_freep) char *list = NULL;
	enum err e = read_text(&list, fs, dir, OURS, why);

	*out = true;
	for (size_t k = 0; !e && k < N_PARTS; k++) {
		char *part = NULL;
		bool can_be;

		e = read_part(&part, &can_be, fs, dir, k, why);
		*out = *out && can_be && is_listed(list, part);
		key_free(part);
	}
	return e;
}

enum err identity_is_others(bool *out, const struct fs *fs, const char *dir, const char *in_use, struct why *why)
{
	struct identity i = {0};
	char digest[FINGERPRINT_TEXT];
	bool is_known = !in_use || identity_load(&i, fs, dir, NULL) == ERR_OK, ours = true;
	enum err e = ERR_OK;

	identity_digest(digest, &i);
	if (in_use)
		is_known = is_known && (!i.key || strcmp(digest, in_use) == 0);
	identity_deinit(&i);
	if ((!in_use || !is_known) && is_there(fs, dir, OURS))
		e = are_ours(&ours, fs, dir, why);
	else
		ours = is_known;
	*out = !ours;
	return e;
}

/* Is what is in place a set that an agent could start with? */
static bool is_whole(const struct fs *fs, const char *dir)
{
	struct identity i = {0};
	bool is = identity_load(&i, fs, dir, NULL) == ERR_OK && i.key;

	identity_deinit(&i);
	return is;
}

/* ---- replacing ---- */

static enum err put_in_place(const struct fs *fs, const struct places *p, enum part k, struct why *why)
{
	return fs->exists(fs, p->fresh[k]) ? fs->rename(fs, p->fresh[k], p->real[k], why) : ERR_OK;
}

/* Where links lead to other folders, nothing else keeps the order of what is renamed there. */
static enum err sync_others(const struct fs *fs, const struct places *p, struct why *why)
{
	CLEAN(mem_freep) char *last = path_dir(p->real[PART_CERT]);
	enum err e = last ? ERR_OK : ERR_NOMEM;

	for (size_t k = 0; !e && k < N_PARTS; k++) {
		CLEAN(mem_freep) char *dir = path_dir(p->real[k]);

		if (!dir)
			return ERR_NOMEM;
		if (strcmp(dir, last) != 0)
			e = fs->sync_dir(fs, dir, why);
	}
	return e;
}

static enum err swap(const struct fs *fs, const struct places *p, struct why *why)
{
	enum err e = put_in_place(fs, p, PART_CA, why);

	if (!e)
		e = put_in_place(fs, p, PART_KEY, why);
	if (!e)
		e = sync_others(fs, p, why);
	if (!e)
		e = put_in_place(fs, p, PART_CERT, why);
	return e ? e : sync_folder_of(fs, p->real[PART_CERT], why);
}

/* What will be in place when it is finished. */
static enum err read_coming(char **out, const struct fs *fs, const struct places *p, enum part k, struct why *why)
{
	enum err e = read_at(out, fs, fs->exists(fs, p->fresh[k]) ? p->fresh[k] : p->real[k], why);

	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

/* 1. Its key is beside it, or in place already; if neither, or if it isn't what was meant, it was cut off. */
static enum err can_finish(bool *out, const struct fs *fs, const char *dir, const struct places *p, struct why *why)
{
	CLEAN(mem_freep) char *list = NULL;
	char *parts[N_PARTS] = {0};
	enum err e = read_text(&list, fs, dir, OURS, why);

	for (size_t k = 0; !e && k < N_PARTS; k++)
		e = read_coming(&parts[k], fs, p, k, why);
	*out = !e && parts[PART_CERT] && parts[PART_KEY] &&
	       key_matches_cert(parts[PART_KEY], parts[PART_CERT], NULL) == ERR_OK;
	for (size_t k = 0; k < N_PARTS; k++)
		*out = *out && is_listed(list, parts[k]);
	for (size_t k = 0; k < N_PARTS; k++)
		key_free(parts[k]);
	return e;
}

static enum err drop_new(const struct fs *fs, const struct places *p, struct why *why)
{
	enum err e = remove_at(fs, p->fresh[PART_CERT], why);

	if (!e)
		e = sync_folder_of(fs, p->fresh[PART_CERT], why);
	if (!e)
		e = remove_at(fs, p->fresh[PART_KEY], why);
	return e ? e : remove_at(fs, p->fresh[PART_CA], why);
}

static enum err finish_at(bool *is_others, const struct fs *fs, const char *dir, const struct places *p,
			  struct why *why)
{
	bool ours = true, can = false;
	enum err e = are_ours(&ours, fs, dir, why);

	if (e)
		return e;
	/* 8. */
	*is_others = !ours;
	if (!ours)
		return is_whole(fs, dir) ? drop_new(fs, p, why) : ERR_OK;
	e = can_finish(&can, fs, dir, p, why);
	if (e)
		return e;
	return can ? swap(fs, p, why) : remove_at(fs, p->fresh[PART_CERT], why);
}

/* 1. What was interrupted, by a crash or by a disk that was full for a while, has to be whole before anything else is
 * begun. */
static enum err finish(bool *is_others, const struct fs *fs, const char *dir, struct why *why)
{
	struct places p;
	enum err e = places_init(&p, fs, dir, why);

	*is_others = false;
	if (e)
		return e;
	if (fs->exists(fs, p.fresh[PART_CERT]))
		e = finish_at(is_others, fs, dir, &p, why);
	places_deinit(&p);
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

static enum err write_fresh(const struct fs *fs, const struct places *p, const struct identity *i, struct why *why)
{
	enum err e = fs->write_synced(fs, p->fresh[PART_KEY], NULL, FILE_MODE, i->key, strlen(i->key), why);

	if (!e)
		e = fs->write_synced(fs, p->fresh[PART_CA], NULL, FILE_MODE, i->ca, strlen(i->ca), why);
	/* The other two must be in their folders before the one that says that they are. */
	if (!e)
		e = sync_others(fs, p, why);
	if (!e)
		e = sync_folder_of(fs, p->fresh[PART_CERT], why);
	return e ? e : write_sign_at(fs, p->fresh[PART_CERT], i->cert, why);
}

/* 1. */
static enum err replace(const struct fs *fs, const char *dir, const struct identity *i, struct why *why)
{
	struct places p;
	bool is_others;
	enum err e = check_sizes(i, why);

	if (!e)
		e = finish(&is_others, fs, dir, why);
	if (!e)
		e = places_init(&p, fs, dir, why);
	if (e)
		return e;
	e = check_places(&p, fs, why);
	/* One from before must not be taken for the sign that these are complete. */
	if (!e)
		e = remove_at(fs, p.fresh[PART_CERT], why);
	if (!e)
		e = write_ours(fs, dir, i, why);
	if (!e)
		e = write_fresh(fs, &p, i, why);
	if (!e)
		e = swap(fs, &p, why);
	places_deinit(&p);
	return e;
}

/* What a crash has left behind, and the list when nothing is under way any more. */
static enum err drop_rest(const struct fs *fs, const char *dir, struct why *why)
{
	static const char *const temporaries[] = {CERT OLD TEMPORARY, OURS TEMPORARY};
	enum err e = ERR_OK;
	struct places p;

	for (size_t i = 0; !e && i < ARRAY_SIZE(temporaries); i++)
		e = remove_file(fs, dir, temporaries[i], why);
	if (!e && !is_there(fs, dir, CERT OLD) && !identity_is_interrupted(fs, dir))
		e = remove_file(fs, dir, OURS, why);
	if (!e && !(e = places_init(&p, fs, dir, why))) {
		CLEAN(mem_freep) char *temporary = mem_printf("%s" TEMPORARY, p.fresh[PART_CERT]);

		e = temporary ? remove_at(fs, temporary, why) : ERR_NOMEM;
		places_deinit(&p);
	}
	return e;
}

/* 4. The certificate first, for good: what is left without it is tidied away at the next start. */
static enum err drop_old(const struct fs *fs, const char *dir, struct why *why)
{
	enum err e;

	if (!is_there(fs, dir, CERT OLD) && !is_there(fs, dir, KEY OLD) && !is_there(fs, dir, CA OLD))
		return drop_rest(fs, dir, why);
	e = remove_file(fs, dir, CERT OLD, why);
	if (!e)
		e = fs->sync_dir(fs, dir, why);
	if (!e)
		e = remove_file(fs, dir, KEY OLD, why);
	if (!e)
		e = remove_file(fs, dir, CA OLD, why);
	if (!e)
		e = fs->sync_dir(fs, dir, why);
	return e ? e : drop_rest(fs, dir, why);
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
			e = write_sign(fs, dir, CERT OLD, i.cert, why);
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

enum err identity_can_replace(const struct fs *fs, const char *dir, struct why *why)
{
	struct places p;
	enum err e = places_init(&p, fs, dir, why);

	if (e)
		return e;
	e = check_places(&p, fs, why);
	places_deinit(&p);
	return e;
}

enum err identity_renew(const struct fs *fs, const char *dir, const struct identity *i, struct why *why)
{
	bool is_others;
	enum err e = check_sizes(i, why);

	if (!e)
		e = identity_can_replace(fs, dir, why);
	if (!e)
		e = finish(&is_others, fs, dir, why);
	if (!e)
		e = keep_old(fs, dir, why);
	return e ? e : replace(fs, dir, i, why);
}

enum err identity_proven(const struct fs *fs, const char *dir, struct why *why)
{
	return drop_old(fs, dir, why);
}

/* 8. */
static enum err others_stay(const struct fs *fs, const char *dir, struct why *why)
{
	enum err e = is_whole(fs, dir) ? drop_old(fs, dir, why) : ERR_OK;

	if (e)
		return e;
	why_set(why,
		"cloud.key, cloud.crt or cloud.ca.crt in %s is not what this agent has put there: what somebody else "
		"puts there stays",
		dir);
	return ERR_CONFLICT;
}

enum err identity_go_back(const struct fs *fs, const char *dir, struct why *why)
{
	struct identity old = {0};
	bool ours = true;
	enum err e = identity_load_old(&old, fs, dir, why);

	if (!e && !old.key) {
		why_set(why, "there is no older certificate in %s", dir);
		e = ERR_NOT_FOUND;
	}
	if (!e)
		e = are_ours(&ours, fs, dir, why);
	/* 5. */
	if (!e && ours)
		e = replace(fs, dir, &old, why);
	identity_deinit(&old);
	if (e)
		return e;
	return ours ? drop_old(fs, dir, why) : others_stay(fs, dir, why);
}

/* 6. */
static enum err tidy_old(bool *is_others, const struct fs *fs, const char *dir, struct why *why)
{
	struct identity i = {0}, old = {0};
	char digests[2][FINGERPRINT_TEXT];
	bool is_good = identity_load_old(&old, fs, dir, NULL) == ERR_OK && old.key;
	/* What is wrong with the one in use is for whoever loads it to say: nothing that might be needed is removed. */
	bool is_needed = is_good && (identity_load(&i, fs, dir, NULL) != ERR_OK || !i.key), ours = true;
	enum err e = ERR_OK;

	identity_digest(digests[0], &i);
	identity_digest(digests[1], &old);
	identity_deinit(&i);
	identity_deinit(&old);
	if (is_good && !is_needed && strcmp(digests[0], digests[1]) != 0) {
		e = are_ours(&ours, fs, dir, why);
		is_needed = ours;
		*is_others |= !ours;
	}
	if (e)
		return e;
	return is_needed ? drop_rest(fs, dir, why) : drop_old(fs, dir, why);
}

enum err identity_recover(const struct fs *fs, const char *dir, struct why *why)
{
	bool is_others;
	enum err e = finish(&is_others, fs, dir, why);

	if (!e)
		e = tidy_old(&is_others, fs, dir, why);
	/* A trial that an older program began: from here on it is known what is ours. */
	if (!e && !is_others && is_there(fs, dir, CERT OLD) && !is_there(fs, dir, OURS))
		e = write_ours(fs, dir, &(struct identity){0}, why);
	return e || !is_others ? e : others_stay(fs, dir, why);
}

/* ---- a key that waits ---- */

enum err identity_keep_key(const struct fs *fs, const char *dir, const char *key_pem, struct why *why)
{
	struct places p;
	bool is_others;
	enum err e = finish(&is_others, fs, dir, why);

	if (!e)
		e = places_init(&p, fs, dir, why);
	if (e)
		return e;
	/* Without its key it is nothing, and this one isn't. */
	e = remove_at(fs, p.fresh[PART_CERT], why);
	if (!e)
		e = fs->write_synced(fs, p.fresh[PART_KEY], NULL, FILE_MODE, key_pem, strlen(key_pem), why);
	if (!e)
		e = sync_folder_of(fs, p.fresh[PART_KEY], why);
	places_deinit(&p);
	return e;
}

enum err identity_waiting_key(char **out, const struct fs *fs, const char *dir, struct why *why)
{
	struct places p;
	enum err e = places_init(&p, fs, dir, why);

	*out = NULL;
	if (e)
		return e;
	e = read_at(out, fs, p.fresh[PART_KEY], why);
	places_deinit(&p);
	return e == ERR_NOT_FOUND && fs->exists(fs, dir) ? ERR_OK : e;
}
