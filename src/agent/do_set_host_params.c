/*
 * SetHostParams: what the servers want their agents to know (time-outs of routers, how long a migration may wait ...).
 * Kept while the agent runs and shown by `muster-agent explain`; nothing here depends on any of it yet. The servers
 * send it again with each connection.
 */
#include "agent/daemon.h"

#include <string.h>

#include "base/mem.h"

#define PARAMS_MAX 256
#define PARAM_MAX 4096 /* characters of one */

static enum err put(struct str_list *list, const char *key, const char *value)
{
	CLEAN(mem_freep) char *pair = mem_printf("%s=%s", key, value ? value : "");
	size_t n = strlen(key) + 1;

	if (!pair)
		return ERR_NOMEM;
	if (strlen(pair) > PARAM_MAX)
		return ERR_TOO_BIG;
	for (size_t i = 0; i < list->n; i++) {
		if (strncmp(list->items[i], pair, n) == 0) {
			mem_free(list->items[i]);
			list->items[i] = STEAL(pair);
			return ERR_OK;
		}
	}
	return list->n < PARAMS_MAX ? str_list_add(list, pair) : ERR_FULL;
}

void do_set_host_params(struct daemon *d, struct agent_command *c)
{
	const struct msg_set_host_params *m = c->element->fields;
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < m->params.n; i++)
		e = put(&d->params, m->params.pairs[i].key, m->params.pairs[i].value);
	agent_answer_plain(c, !e, e ? err_text(e) : NULL);
}
