/*
 * CheckNetwork: are the networks that the servers expect there? A host without one of them is of no use for virtual
 * machines in that network, but it is still a host: what is missing is said, in the answer and the log, and the link
 * stays (CloudStack would disconnect it for a refusal).
 */
#include "agent/daemon.h"

#include <string.h>

#include "base/mem.h"

#define DEVICE_MAX 64
#define MISSING_MAX 64 /* named in the answer */

static bool has_device(const struct daemon *d, const char *name)
{
	CLEAN(mem_freep) char *path = NULL;

	/* A name, not a way through the file system. */
	if (strlen(name) > DEVICE_MAX || strchr(name, '/') || name[0] == '.')
		return false;
	path = mem_printf("%s/class/net/%s", d->roots.sys, name);
	return path && d->fs->exists(d->fs, path);
}

static enum err look_at(const struct daemon *d, const json_t *network, struct str_list *missing)
{
	static const char *const keys[] = {"privateNetworkName", "publicNetworkName", "guestNetworkName",
					   "storageNetworkName"};
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < ARRAY_SIZE(keys); i++) {
		const char *name = json_string_value(json_object_get(network, keys[i]));

		if (!str_is_blank(name) && !has_device(d, name) && !str_list_has(missing, name))
			e = str_list_add(missing, name);
	}
	return e;
}

void do_check_network(struct daemon *d, struct agent_command *c)
{
	const struct msg_check_network *m = c->element->fields;
	CLEAN(str_list_deinit) struct str_list missing = {0};
	CLEAN(mem_freep) char *names = NULL;
	CLEAN(mem_freep) char *details = NULL;
	struct msg_check_network_answer *a;
	struct batch b = {0};
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < json_array_size(m->networkInfoList) && missing.n < MISSING_MAX; i++)
		e = look_at(d, json_array_get(m->networkInfoList, i), &missing);
	if (!e && missing.n) {
		names = str_list_join(&missing, ", ");
		details = names ? mem_printf("not on this host: %s", names) : NULL;
		log_warn(&d->log, "networks are missing", KV_S("names", names ? names : "?"));
	}
	a = e ? NULL : answer_add(&b, MSG_CHECK_NETWORK_ANSWER, true, details);
	if (!a) {
		batch_deinit(&b);
		agent_answer_plain(c, false, err_text(ERR_NOMEM));
		return;
	}
	msg_set_bool(&a->_reconnect, false);
	agent_answer(c, &b);
}
