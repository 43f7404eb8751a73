/*
 * ModifySshKeys: the key pair with which a host reaches its system VMs. Kept in the agent's folder (CloudStack's
 * agent keeps it in root's .ssh), readable for its owner only.
 */
#include "agent/daemon.h"

#include <string.h>

#include "base/mem.h"

#define PRIVATE "id_rsa.cloud"
#define PUBLIC "id_rsa.cloud.pub"
#define KEY_MAX (64 * 1024)

static enum err write_key(struct daemon *d, const char *name, const char *key, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(d->dir, name);
	CLEAN(mem_freep) char *text = NULL;
	enum err e;

	if (str_is_blank(key) || strlen(key) > KEY_MAX) {
		why_set(why, "%s: there is no key, or it is too long", name);
		return ERR_INVALID;
	}
	/* ssh wants the line to end. */
	text = mem_printf("%s%s", key, str_ends(key, "\n") ? "" : "\n");
	if (!path || !text)
		return ERR_NOMEM;
	e = file_replace(d->fs, path, 0600, text, strlen(text), why);
	mem_wipe(text, strlen(text));
	return e;
}

void do_modify_ssh_keys(struct daemon *d, struct agent_command *c)
{
	const struct msg_modify_ssh_keys *m = c->element->fields;
	struct why why = WHY_NONE;
	enum err e = write_key(d, PUBLIC, m->_pubKey, &why);

	if (!e)
		e = write_key(d, PRIVATE, m->_prvKey, &why);
	if (e)
		log_warn(&d->log, "ssh keys are not stored", KV_S("reason", why_text(&why, e)));
	agent_answer_plain(c, !e, e ? why_text(&why, e) : NULL);
}
