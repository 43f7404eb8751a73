/*
 * Joining in the simulation: an agent's machine gets its first certificate with a token, or another one with a token of
 * `muster host rejoin`, by the protocol and with the files of the real `muster-agent join` (client/join.c,
 * agent/join.c). Who can't join tries again: with the same token while nobody has said no to it, then with another one.
 *
 * The join is a process of its own on the machine: it can be killed, frozen and cut off like an agent, and its disk can
 * stop in the middle of what it writes.
 */
#include <string.h>

#include "agent/join.h"
#include "base/mem.h"
#include "client/join.h"
#include "pki/token.h"
#include "sim/cluster.h"
#include "sim/private.h"

#define DIR_AGENT "/etc/muster-agent"
#define AGAIN_US (2 * SECOND_US)

struct sim_joining {
	struct sim_agent *agent;
	struct join *join;
	struct token token;
	struct identity identity;
	char *csr;
};

void joins_end(struct sim_agent *a)
{
	struct sim_joining *j = a->joining;

	if (!j)
		return;
	join_free(j->join);
	token_deinit(&j->token);
	identity_deinit(&j->identity);
	mem_free(j->csr);
	a->joining = mem_free(j);
}

/* ---- the token ---- */

static void token_came(struct cluster *c, struct sim_agent *a, int status, json_t *body)
{
	const json_t *first = body ? json_object_iter_value(json_object_iter(body)) : NULL;
	const char *text = json_string_value(json_object_get(json_object_get(first, "jointoken"), "token"));

	a->token_asked = false;
	if (status == 200 && text && a->wish && !a->token)
		a->token = mem_strdup(text);
}

static void ask_for_token(struct sim_agent *a)
{
	struct cluster *c = a->cluster;
	char uuid[UUID_TEXT];
	bool is_known = cluster_uuid_of(c, a, uuid);
	struct api_param params[] = {
		{"command", is_known ? "createRejoinToken" : "createJoinToken"},
		{"hostid", uuid},
		{"keepcertificate", a->wish == WISH_REJOIN_KEEP ? "true" : "false"},
	};

	/* It was let in, and hasn't heard of it. */
	if (is_known && a->wish == WISH_JOIN)
		a->wish = WISH_REJOIN;
	if (a->token_asked)
		return;
	a->token_asked = true; /* the answer may come at once */
	if (!cluster_ask(c, params, is_known ? 3 : 1, a->name, a, token_came))
		a->token_asked = false;
}

/* ---- the join ---- */

static enum err check(struct sim_joining *j, const struct msg_join_answer *m, struct why *why)
{
	struct sim_agent *a = j->agent;

	if (!identity_ca_has(m->caCertificates, j->token.fingerprint)) {
		why_set(why, "the CA that came with the certificate is not the token's");
		return ERR_UNTRUSTED;
	}
	j->identity.cert = mem_strdup(m->certificate);
	j->identity.ca = mem_strdup(m->caCertificates);
	if (!j->identity.cert || !j->identity.ca)
		return ERR_NOMEM;
	return identity_check(&j->identity, a->guid, world_wall_ms(sim_node_world(a->node)) / 1000, why);
}

/* What happens to links says nothing about the token. */
static bool is_no(enum err e)
{
	return e != ERR_TIMEOUT && e != ERR_CLOSED && e != ERR_UNREACHABLE && e != ERR_NO_NAME && e != ERR_TLS;
}

static void joined(void *user, enum err result, const char *sentence, const struct msg_join_answer *m)
{
	struct sim_joining *j = user;
	struct sim_agent *a = j->agent;
	const struct join_options o = {.dir = DIR_AGENT, .name = a->name};
	struct why why = WHY_NONE;

	why_set(&why, "%s", sentence);
	if (!result)
		result = check(j, m, &why);
	if (!result)
		result = join_write(sim_node_world(a->node)->fs, &o, &j->identity, m, &j->token.servers, &why);
	sim_note(a->cluster->sim, a->node, "--- %s: %s", result ? "has not joined" : "has joined",
		 why_text(&why, result));
	if (!sim_node_is_alive(a->node))
		return;
	if (!result || is_no(result))
		a->token = mem_free(a->token);
	if (!result) {
		a->wish = WISH_NONE;
		a->is_banned = false;
		a->banned_us = 0;
	}
	sim_node_kill_soon(a->node, SIM_KILLED);
}

static enum err make_key(struct sim_joining *j, struct why *why)
{
	struct csr_params p = {.common_name = j->agent->name, .role = CERT_ROLE_AGENT, .id = j->agent->guid};
	enum err e = key_new(&j->identity.key, KEY_EC_P256, why);

	p.key_pem = j->identity.key;
	return e ? e : csr_new(&j->csr, &p, why);
}

static enum err send_request(struct sim_joining *j, struct world *w, struct why *why)
{
	struct sim_agent *a = j->agent;
	CLEAN(mem_freep) char *servers = str_list_join(&j->token.servers, ",");
	CLEAN(batch_deinit) struct batch b = {0};
	struct msg_join *m = batch_add(&b, MSG_JOIN);
	const struct join_params p = {
		.world = w, .log = sim_node_log(a->node), .servers = servers, .fingerprint = j->token.fingerprint};

	if (!servers || !m || msg_set_text(&m->tokenId, j->token.id) ||
	    msg_set_text(&m->tokenSecret, j->token.secret) || msg_set_text(&m->role, "agent") ||
	    msg_set_text(&m->csr, j->csr) || msg_set_text(&m->guid, a->guid) || msg_set_text(&m->name, a->name) ||
	    msg_set_text(&m->resourceName, "LibvirtComputingResource"))
		return ERR_NOMEM;
	msg_set_bool(&m->guidIsFixed, true);
	msg_set_bool(&m->rejoins, a->wish != WISH_JOIN);
	m->addresses.has = true;
	return join_start(&j->join, &p, m, joined, j, why);
}

static enum err begin(struct sim_agent *a, struct world *w, struct why *why)
{
	struct sim_joining *j = mem_zalloc(sizeof(*j));
	enum err e;

	if (!j)
		return ERR_NOMEM;
	j->agent = a;
	a->joining = j;
	e = identity_recover(w->fs, DIR_AGENT, why);
	if (!e)
		e = token_parse(&j->token, a->token, why);
	if (!e)
		e = make_key(j, why);
	return e ? e : send_request(j, w, why);
}

bool joins_first(struct sim_agent *a)
{
	struct sim *s = a->cluster->sim;
	struct why why = WHY_NONE;
	struct world *w;
	enum err e;

	if (!a->wish)
		return false;
	if (!a->token) {
		ask_for_token(a);
		sim_event_set(s, &a->again, s->now_us + AGAIN_US);
		return true;
	}
	w = sim_node_start(a->node);
	sim_note(s, a->node, "--- joins");
	sim_enter(a->node);
	e = begin(a, w, &why);
	sim_leave(a->node);
	if (!e || !sim_node_is_alive(a->node))
		return true;
	sim_fail(s, "agent %s can't begin to join: %s", a->name, why_text(&why, e));
	sim_node_kill(a->node, SIM_KILLED);
	return true;
}

void cluster_rejoin(struct cluster *c, struct sim_agent *a, bool keeps_certificates)
{
	char uuid[UUID_TEXT];

	if (a->wish || a->is_revoking || !cluster_uuid_of(c, a, uuid))
		return;
	cluster_troubled(c, a->node);
	sim_agent_kill(a, SIM_KILLED);
	a->wish = keeps_certificates ? WISH_REJOIN_KEEP : WISH_REJOIN;
	a->token = mem_free(a->token);
	sim_agent_start(a);
}
