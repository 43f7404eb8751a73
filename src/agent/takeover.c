/*
 * What is in the folder of a CloudStack agent (agent-protocol 7.6)?
 *
 * The three PEM files come first: they are what libvirt uses, and a renewal writes them too. The key store comes next,
 * cloud.p12 before cloud.jks, because an operator has made it from that. Half a set of files counts as none when there
 * is a store: one that held all of it is worth more than a guess about what is missing.
 */
#include "agent/takeover.h"

#include <string.h>

#include "base/mem.h"
#include "pki/pkcs12.h"

#define FILE_NAME "agent.properties"
#define FILE_LIMIT (1024 * 1024)
#define STORE_CONVERTED "cloud.p12"
#define STORE "cloud.jks"
#define STORE_ALIAS "cloud"
#define PASSPHRASE_DEFAULT "vmops.com" /* what CloudStack's agent takes when none is set */

static const char *const pem_files[] = {"cloud.key", "cloud.crt", "cloud.ca.crt"};

void takeover_deinit(struct takeover *t)
{
	t->props = props_free(t->props);
	agent_settings_deinit(&t->settings);
	identity_deinit(&t->identity);
	cert_info_deinit(&t->cert);
	str_list_deinit(&t->done);
}

static bool is_there(const struct fs *fs, const char *dir, const char *name)
{
	CLEAN(mem_freep) char *path = path_join(dir, name);

	return path && fs->exists(fs, path);
}

static size_t count_pem(const struct fs *fs, const char *dir)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(pem_files); i++)
		n += is_there(fs, dir, pem_files[i]);
	return n;
}

static const char *find_store(const struct fs *fs, const char *dir)
{
	return is_there(fs, dir, STORE_CONVERTED) ? STORE_CONVERTED : is_there(fs, dir, STORE) ? STORE : NULL;
}

/* ---- agent.properties ---- */

static enum err open_props(struct takeover *t, const struct fs *fs, const char *dir, const char *path, struct why *why)
{
	CLEAN(buf_deinit) struct buf text = {0};
	enum err e = file_read(fs, path, FILE_LIMIT, &text, why);

	if (e == ERR_NOT_FOUND)
		why_set(why, "there is no " FILE_NAME " in %s: it is not the folder of an agent", dir);
	if (e)
		return e;
	e = props_parse(&t->props, text.data, text.len, why);
	if (text.data)
		mem_wipe(text.data, text.cap);
	if (e)
		why_add(why, "%s", path);
	return e;
}

/* The first mistake is the reason. */
static void keep_mistake(void *user, const char *sentence)
{
	struct why *why = user;

	if (!why->text[0])
		why_set(why, "%s", sentence);
}

static enum err check_settings(const struct agent_settings *s, struct why *why)
{
	if (!s->guid) {
		why_set(why, "there is no guid: no server could tell which host this is");
		return ERR_INVALID;
	}
	return agent_settings_check(s, why);
}

static enum err read_settings(struct takeover *t, const struct fs *fs, const char *dir, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(dir, FILE_NAME);
	struct why mistake = WHY_NONE;
	const struct settings_voice voice = {.mistake = keep_mistake, .user = &mistake};
	enum err e = path ? open_props(t, fs, dir, path, why) : ERR_NOMEM;

	if (e)
		return e;
	e = agent_settings_load(&t->settings, t->props, path, &voice);
	if (e) {
		why_set(why, "%s", why_text(&mistake, e));
		return e;
	}
	e = check_settings(&t->settings, why);
	if (e)
		why_add(why, "%s", path);
	return e;
}

/* ---- the identity ---- */

static void say_how_to_convert(struct why *why, const char *format, const char *dir)
{
	CLEAN(mem_freep) char *from = path_join(dir, STORE);
	CLEAN(mem_freep) char *to = path_join(dir, STORE_CONVERTED);

	why_set(why,
		"%s is a %s store, which only Java reads. Convert it, with keystore.passphrase for both passwords: "
		"keytool -importkeystore -srckeystore %s -srcstoretype %s -destkeystore %s -deststoretype PKCS12",
		STORE, format, from ? from : STORE, format, to ? to : STORE_CONVERTED);
}

static enum err open_store(struct identity *out, const struct buf *content, const struct props *p, struct why *why)
{
	const char *set = props_get(p, "keystore.passphrase");
	bool is_set = !str_is_blank(set);
	struct pkcs12 store = {0};
	enum err e =
		pkcs12_open(&store, content->data, content->len, is_set ? set : PASSPHRASE_DEFAULT, STORE_ALIAS, why);

	if (e == ERR_UNTRUSTED && !is_set)
		why_add(why, "keystore.passphrase is not set, so CloudStack's default was tried");
	if (e)
		return e;
	/* Theirs to free and to wipe from here on. */
	*out = (struct identity){.key = store.key, .cert = store.cert, .ca = store.ca};
	return ERR_OK;
}

static enum err read_store(struct takeover *t, const struct fs *fs, const char *dir, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(dir, t->store);
	CLEAN(buf_deinit) struct buf content = {0};
	const char *other;
	enum err e = path ? file_read(fs, path, PKCS12_SIZE_MAX, &content, why) : ERR_NOMEM;

	if (e)
		return e;
	other = pkcs12_other_format(content.data, content.len);
	if (other && strcmp(t->store, STORE) == 0) {
		say_how_to_convert(why, other, dir);
		return ERR_UNSUPPORTED;
	}
	e = open_store(&t->identity, &content, t->props, why);
	if (e)
		why_add(why, "%s", path);
	t->source = t->store;
	return e;
}

static enum err read_pem(struct takeover *t, const struct fs *fs, const char *dir, struct why *why)
{
	enum err e = identity_load(&t->identity, fs, dir, why);

	t->source = "cloud.key, cloud.crt and cloud.ca.crt";
	if (e && t->store)
		why_add(why, "the files are not good (--store takes %s instead)", t->store);
	return e;
}

static enum err nothing_there(const struct fs *fs, const struct takeover_options *o, size_t n_pem, struct why *why)
{
	if (o->store) {
		why_set(why, "there is no " STORE " in %s", o->from);
		return ERR_NOT_FOUND;
	}
	for (size_t i = 0; n_pem && i < ARRAY_SIZE(pem_files); i++) {
		if (!is_there(fs, o->from, pem_files[i])) {
			why_set(why, "%s is missing in %s, and there is no " STORE " to take it from", pem_files[i],
				o->from);
			return ERR_NOT_FOUND;
		}
	}
	why_set(why,
		"there is no certificate in %s, neither cloud.key, cloud.crt and cloud.ca.crt nor " STORE
		": get one with a token (muster-agent join)",
		o->from);
	return ERR_NOT_FOUND;
}

static enum err read_identity(struct takeover *t, const struct fs *fs, const struct takeover_options *o,
			      struct why *why)
{
	size_t n_pem = count_pem(fs, o->from);

	t->store = find_store(fs, o->from);
	if (n_pem == ARRAY_SIZE(pem_files) && !o->store)
		return read_pem(t, fs, o->from, why);
	return t->store ? read_store(t, fs, o->from, why) : nothing_there(fs, o, n_pem, why);
}

static enum err judge(struct takeover *t, int64_t wall_s, struct why *why)
{
	enum err e = identity_check(&t->identity, t->settings.guid, wall_s, why);

	if (!e)
		e = cert_info_parse(&t->cert, t->identity.cert, why);
	if (e)
		why_add(why, "%s", t->source);
	if (e == ERR_EXPIRED)
		why_add(why,
			"get a new one first, from CloudStack (provisionCertificate) or with a token (muster-agent "
			"join)");
	return e;
}

enum err takeover_read(struct takeover *out, const struct fs *fs, const struct takeover_options *o, int64_t wall_s,
		       struct why *why)
{
	struct takeover t = {0};
	enum err e = read_settings(&t, fs, o->from, why);

	if (!e)
		e = read_identity(&t, fs, o, why);
	if (!e)
		e = judge(&t, wall_s, why);
	if (e) {
		takeover_deinit(&t);
		return e;
	}
	*out = t;
	return ERR_OK;
}

enum err takeover_is_due(const struct fs *fs, const char *dir, struct why *why)
{
	const char *store = identity_exists(fs, dir) ? NULL : find_store(fs, dir);

	if (!store)
		return ERR_OK;
	why_set(why,
		"the certificate of this agent is in %s, where CloudStack's agent keeps it: muster-agent takeover %s "
		"takes it out (without it every server would be trusted)",
		store, dir);
	return ERR_STATE;
}
