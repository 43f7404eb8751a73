/*
 * GetHostStats: processors, load, network and memory as /proc says now, in the units of agent-protocol 3.8.
 */
#include "agent/daemon.h"

#include "base/mem.h"

static json_t *stats_json(const struct msg_get_host_stats *m, const struct facts_stats *s)
{
	return json_pack("{s:I,s:s,s:f,s:f,s:f,s:f,s:f,s:f}", "hostId", (json_int_t)m->hostId.value, "entityType",
			 "host", "cpuUtilization", s->cpu_percent, "averageLoad", s->load, "networkReadKBs", s->rx_kib,
			 "networkWriteKBs", s->tx_kib, "totalMemoryKBs", s->total_kib, "freeMemoryKBs", s->free_kib);
}

void do_get_host_stats(struct daemon *d, struct agent_command *c)
{
	struct facts_stats stats = {0};
	struct why why = WHY_NONE;
	struct batch b = {0};
	struct msg_get_host_stats_answer *a;
	enum err e = facts_measure(&stats, &d->cpu, &d->roots, &d->facts, &d->settings, &why);

	a = answer_add(&b, MSG_GET_HOST_STATS_ANSWER, !e, e ? why_text(&why, e) : NULL);
	if (a && !e)
		a->hostStats = stats_json(c->element->fields, &stats);
	if (!a || (!e && !a->hostStats)) {
		batch_deinit(&b);
		agent_answer_plain(c, false, err_text(ERR_NOMEM));
		return;
	}
	agent_answer(c, &b);
}
