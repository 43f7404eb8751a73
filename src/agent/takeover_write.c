/*
 * What a takeover leaves in muster's folder.
 *
 * In place only what is missing is made, and a copy of agent.properties is kept, because from then on muster-agent
 * changes lines in it. In a folder of its own everything is muster's; an agent that has been there before, with this
 * guid, keeps what it has learned since.
 */
#include "agent/takeover.h"

#include <string.h>

#include "base/mem.h"

#define FILE_NAME "agent.properties"
#define FILE_LIMIT (1024 * 1024)
#define FILE_MODE 0600

CLEAN_DEFINE(struct props, props_free)

static enum err say(struct takeover *t, const char *before, const char *dir, const char *name, const char *after)
{
	CLEAN(mem_freep) char *path = path_join(dir, name);
	CLEAN(mem_freep) char *sentence = path ? mem_printf("%s%s%s", before, path, after) : NULL;

	return sentence ? str_list_add(&t->done, sentence) : ERR_NOMEM;
}

/* ---- in place ---- */

struct part {
	const char *name;
	char **text;   /* in the identity */
	bool is_there; /* as a file */
};

/* What is there stays and has to fit; `text` becomes the file's. */
static enum err use_file(struct part *p, const struct fs *fs, const char *dir, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(dir, p->name);
	CLEAN(buf_wipe) struct buf text = {0};
	enum err e;

	if (!path || buf_reserve(&text, FILE_LIMIT))
		return ERR_NOMEM;
	p->is_there = fs->exists(fs, path);
	if (!p->is_there)
		return ERR_OK;
	e = file_read(fs, path, FILE_LIMIT - 1, &text, why);
	if (e)
		return e;
	key_free(*p->text);
	*p->text = mem_strndup(text.data ? (const char *)text.data : "", text.len);
	return *p->text ? ERR_OK : ERR_NOMEM;
}

static enum err write_missing(struct takeover *t, struct part *p, const struct fs *fs, const char *dir, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(dir, p->name);
	enum err e;

	if (!path)
		return ERR_NOMEM;
	if (p->is_there)
		return say(t, "used as it is: ", dir, p->name, "");
	e = file_replace(fs, path, FILE_MODE, *p->text, strlen(*p->text), why);
	return e ? e : say(t, "written: ", dir, p->name, "");
}

/* The files that are there and what comes from the store: are they one identity, the one that was judged? */
static enum err check_together(const struct takeover *t, int64_t wall_s, struct why *why)
{
	struct cert_info info = {0};
	enum err e = identity_check(&t->identity, t->settings.guid, wall_s, why);

	if (!e)
		e = cert_info_parse(&info, t->identity.cert, why);
	if (!e && strcmp(info.fingerprint, t->cert.fingerprint) != 0) {
		why_set(why, "cloud.crt is another certificate");
		e = ERR_CONFLICT;
	}
	cert_info_deinit(&info);
	if (e && e != ERR_NOMEM)
		why_add(why,
			"the files beside %s don't go with it, and are not replaced (--dir names a folder of its own)",
			t->source);
	return e;
}

static enum err complete_identity(struct takeover *t, const struct fs *fs, const char *dir, int64_t wall_s,
				  struct why *why)
{
	/* The certificate last: as long as it isn't there, a later run finds half a set and begins again. */
	struct part parts[] = {
		{.name = "cloud.ca.crt", .text = &t->identity.ca},
		{.name = "cloud.key", .text = &t->identity.key},
		{.name = "cloud.crt", .text = &t->identity.cert},
	};
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < ARRAY_SIZE(parts); i++)
		e = use_file(&parts[i], fs, dir, why);
	if (!e)
		e = check_together(t, wall_s, why);
	for (size_t i = 0; !e && i < ARRAY_SIZE(parts); i++)
		e = write_missing(t, &parts[i], fs, dir, why);
	return e;
}

static enum err keep_copy(struct takeover *t, const struct fs *fs, const char *dir, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(dir, TAKEOVER_COPY);
	CLEAN(buf_wipe) struct buf text = {0};
	enum err e;

	if (!path || buf_reserve(&text, FILE_LIMIT))
		return ERR_NOMEM;
	/* From the first time: by now muster-agent may have changed the other one. */
	if (fs->exists(fs, path))
		return say(t, "kept: ", dir, TAKEOVER_COPY, ", " FILE_NAME " as it was before the first time");
	e = props_write(t->props, &text);
	if (!e)
		e = file_replace(fs, path, FILE_MODE, text.data, text.len, why);
	return e ? e : say(t, "written: ", dir, TAKEOVER_COPY, ", a copy of " FILE_NAME " for the way back");
}

static enum err write_in_place(struct takeover *t, const struct fs *fs, const char *dir, int64_t wall_s,
			       struct why *why)
{
	enum err e = complete_identity(t, fs, dir, wall_s, why);

	if (!e)
		e = keep_copy(t, fs, dir, why);
	return e ? e : say(t, "used as it is: ", dir, FILE_NAME, "");
}

/* ---- in a folder of its own ---- */

/* NULL: there is none. */
static enum err open_old(struct props **out, const struct fs *fs, const char *path, struct why *why)
{
	CLEAN(buf_wipe) struct buf text = {0};
	enum err e;

	if (!fs->exists(fs, path))
		return ERR_OK;
	e = buf_reserve(&text, FILE_LIMIT + 1);
	if (!e)
		e = file_read(fs, path, FILE_LIMIT, &text, why);
	if (!e)
		e = props_parse(out, text.data, text.len, why);
	if (e)
		why_add(why, "%s", path);
	return e;
}

/* Whose folder is it? Another agent's is left alone. */
static enum err check_owner(const struct takeover *t, const struct fs *fs, const char *dir, const struct props *old,
			    struct why *why)
{
	const char *guid = old ? props_get(old, "guid") : NULL;

	if (old ? str_equal(guid, t->settings.guid) : !identity_exists(fs, dir))
		return ERR_OK;
	why_set(why, "%s is another agent's already (guid %s), this one has guid %s: use another folder", dir,
		str_is_blank(guid) ? "not set" : guid, t->settings.guid);
	return ERR_EXISTS;
}

/* A certificate that the agent has got here since is better than the one it came with. */
static bool has_better(const struct takeover *t, const struct fs *fs, const char *dir, int64_t wall_s)
{
	struct identity i = {0};
	struct cert_info info = {0};
	bool is_better = identity_load(&i, fs, dir, NULL) == ERR_OK && i.key &&
			 identity_check(&i, t->settings.guid, wall_s, NULL) == ERR_OK &&
			 cert_info_parse(&info, i.cert, NULL) == ERR_OK && info.not_after_s >= t->cert.not_after_s;

	cert_info_deinit(&info);
	identity_deinit(&i);
	return is_better;
}

static enum err put_identity(struct takeover *t, const struct fs *fs, const char *dir, int64_t wall_s, struct why *why)
{
	enum err e;

	if (has_better(t, fs, dir, wall_s))
		return say(t, "kept: ", dir, "cloud.crt", ", which is valid at least as long, with its key and CA");
	e = identity_install(fs, dir, &t->identity, why);
	if (!e)
		e = say(t, "written: ", dir, "cloud.key", "");
	if (!e)
		e = say(t, "written: ", dir, "cloud.crt", "");
	return e ? e : say(t, "written: ", dir, "cloud.ca.crt", "");
}

static enum err put_props(struct takeover *t, const struct fs *fs, const char *dir, const char *path,
			  const struct props *old, struct why *why)
{
	CLEAN(buf_wipe) struct buf text = {0};
	enum err e;

	if (old)
		return say(t, "kept: ", dir, FILE_NAME, ", it is this agent's already");
	/* It opens the store, and that stays where it is. */
	props_remove(t->props, "keystore.passphrase", NULL);
	e = props_write(t->props, &text);
	if (!e)
		e = file_replace(fs, path, FILE_MODE, text.data, text.len, why);
	return e ? e : say(t, "written: ", dir, FILE_NAME, ", with all its lines but keystore.passphrase");
}

static enum err write_apart(struct takeover *t, const struct fs *fs, const char *dir, int64_t wall_s, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(dir, FILE_NAME);
	CLEAN(props_freep) struct props *old = NULL;
	enum err e = path ? open_old(&old, fs, path, why) : ERR_NOMEM;

	if (!e)
		e = check_owner(t, fs, dir, old, why);
	if (!e)
		e = put_identity(t, fs, dir, wall_s, why);
	return e ? e : put_props(t, fs, dir, path, old, why);
}

/* ---- the door ---- */

enum err takeover_write(struct takeover *t, const struct fs *fs, const struct takeover_options *o, int64_t wall_s,
			struct why *why)
{
	return o->in_place ? write_in_place(t, fs, o->dir, wall_s, why) : write_apart(t, fs, o->dir, wall_s, why);
}
