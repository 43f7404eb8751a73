#include "agent/identity.h"

#include <string.h>

#include "base/mem.h"

#define KEY "cloud.key"
#define CERT "cloud.crt"
#define CA "cloud.ca.crt"
#define NEW ".new"
#define FILE_LIMIT (256 * 1024)
#define FILE_MODE 0600
#define PEM_BEGIN "-----BEGIN CERTIFICATE-----"

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

static void secret_deinit(struct buf *b)
{
	if (b->data)
		mem_wipe(b->data, b->cap);
	buf_deinit(b);
}

/* A missing file is ERR_OK and NULL. */
static enum err read_text(char **out, const struct fs *fs, const char *dir, const char *name, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(dir, name);
	CLEAN(secret_deinit) struct buf text = {0};
	enum err e;

	*out = NULL;
	if (!path || buf_reserve(&text, FILE_LIMIT))
		return ERR_NOMEM;
	e = file_read(fs, path, FILE_LIMIT - 1, &text, why);
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

/* What could not be read again would keep the agent from starting. */
static enum err check_sizes(const struct identity *i, struct why *why)
{
	const char *const texts[] = {i->key, i->cert, i->ca};

	for (size_t k = 0; k < ARRAY_SIZE(texts); k++) {
		if (strlen(texts[k]) >= FILE_LIMIT) {
			why_set(why, "key, certificate or CA has more than %d bytes", FILE_LIMIT - 1);
			return ERR_TOO_BIG;
		}
	}
	return ERR_OK;
}

enum err identity_install(const struct fs *fs, const char *dir, const struct identity *i, struct why *why)
{
	enum err e = check_sizes(i, why);

	/* One from before must not be taken for the sign that these are complete. */
	if (!e)
		e = remove_file(fs, dir, CERT NEW, why);
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

bool identity_is_interrupted(const struct fs *fs, const char *dir)
{
	return is_there(fs, dir, CERT NEW);
}

enum err identity_recover(const struct fs *fs, const char *dir, struct why *why)
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

/* ---- reading ---- */

static enum err read_all(struct identity *i, const struct fs *fs, const char *dir, struct why *why)
{
	static const char *const names[] = {KEY, CERT, CA};
	char **const texts[] = {&i->key, &i->cert, &i->ca};
	enum err e = ERR_OK;
	size_t n = 0;

	for (size_t k = 0; !e && k < ARRAY_SIZE(names); k++) {
		e = read_text(texts[k], fs, dir, names[k], why);
		n += *texts[k] != NULL;
	}
	if (e || n == 0 || n == ARRAY_SIZE(names))
		return e;
	for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
		if (!*texts[k]) {
			why_set(why,
				"%s is missing in %s, though others of the agent's certificate are there: bring it back, or join again",
				names[k], dir);
			break;
		}
	}
	return ERR_NOT_FOUND;
}

enum err identity_load(struct identity *out, const struct fs *fs, const char *dir, struct why *why)
{
	struct identity i = {0};
	enum err e = read_all(&i, fs, dir, why);

	if (!e && i.key) {
		e = key_matches_cert(i.key, i.cert, why);
		if (e)
			why_add(why, "%s/" KEY " and " CERT, dir);
	}
	if (e) {
		identity_deinit(&i);
		return e;
	}
	*out = i;
	return ERR_OK;
}

/* ---- a key that waits ---- */

enum err identity_keep_key(const struct fs *fs, const char *dir, const char *key_pem, struct why *why)
{
	enum err e = write_text(fs, dir, KEY NEW, key_pem, why);

	return e ? e : fs->sync_dir(fs, dir, why);
}

enum err identity_waiting_key(char **out, const struct fs *fs, const char *dir, struct why *why)
{
	return read_text(out, fs, dir, KEY NEW, why);
}

/* ---- judging ---- */

static enum err check_whose(const char *cert, const char *guid, struct why *why)
{
	struct cert_info info = {0};
	enum err e = cert_info_parse(&info, cert, why);

	if (!e && info.role == CERT_ROLE_SERVER) {
		why_set(why, "it is a management server's");
		e = ERR_INVALID;
	} else if (!e && info.role == CERT_ROLE_AGENT && !str_equal(info.id, guid)) {
		why_set(why, "it is for the host with guid %s, this one is %s", info.id, guid);
		e = ERR_INVALID;
	} else if (!e && !info.eku_client) {
		why_set(why, "it is not for clients");
		e = ERR_INVALID;
	}
	cert_info_deinit(&info);
	return e;
}

enum err identity_check(const struct identity *i, const char *guid, int64_t wall_s, struct why *why)
{
	enum err e = check_whose(i->cert, guid, why);

	if (!e)
		e = key_matches_cert(i->key, i->cert, why);
	if (!e)
		e = cert_verify(i->cert, i->ca, wall_s, why);
	if (e)
		why_add(why, "the certificate can't be used");
	return e;
}

bool identity_ca_has(const char *ca_pem, const char *fingerprint)
{
	for (const char *at = strstr(ca_pem, PEM_BEGIN); at; at = strstr(at + 1, PEM_BEGIN)) {
		struct cert_info info = {0};
		bool is_it =
			cert_info_parse(&info, at, NULL) == ERR_OK && str_equal_nocase(info.fingerprint, fingerprint);

		cert_info_deinit(&info);
		if (is_it)
			return true;
	}
	return false;
}
