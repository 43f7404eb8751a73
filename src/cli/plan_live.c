#include "cli/plan_live.h"

#include "base/str.h"
#include "cli/api.h"
#include "cli/format.h"
#include "cli/plan_json.h"

void plan_live_deinit(struct plan_live *l)
{
	json_decref(l->servers);
	json_decref(l->hosts);
	*l = (struct plan_live){0};
}

static enum err take(struct plan *p, const struct plan_live *l, struct why *why)
{
	json_t *in = or_die(json_pack("{s:O,s:O}", "servers", l->servers, "hosts", l->hosts));
	bool has_algorithm;
	enum err e = plan_read_json(p, &has_algorithm, in, why);

	json_decref(in);
	p->algorithm = l->in_force;
	p->same_algorithm = true;
	p->knows_on = true;
	return e ? e : plan_servers_are(p);
}

int plan_read_live(struct cli *c, struct plan *p, struct plan_live *out)
{
	json_t *first = NULL, *hosts = cli_list_with(c, "listPlacement", "hosts", NULL, &first);
	struct why why = WHY_NONE;
	const char *algorithm;
	enum err e;

	if (!hosts)
		return CLI_FAILED;
	algorithm = json_text(first, "algorithm", "");
	*out = (struct plan_live){
		.pace = {.interval_s = json_number(first, "interval", 0),
			 .per_s = json_number(first, "rate", 0),
			 .burst = json_number(first, "burst", 0)},
		.is_frozen = json_flag(first, "frozen", false),
		.servers = json_incref(json_object_get(first, "servers")),
		.hosts = hosts,
	};
	if (!out->servers)
		out->servers = or_die(json_array());
	if (!algorithm_from_text(algorithm, &out->in_force)) {
		cli_fail(c, "the cluster's algorithm \"%s\" is not known to this program", algorithm);
		json_decref(first);
		return CLI_FAILED;
	}
	json_decref(first);
	e = take(p, out, &why);
	return e ? cli_fail(c, "the cluster's servers and hosts make no plan: %s", why_text(&why, e)) : CLI_OK;
}
