/*
 * Certificates in the simulation, where `certificates` says so: agents join with a token (joins.c), have real
 * certificates of the cluster's CA, keep them in files on their disk, and answer SetupKeyStore and SetupCertificate
 * with the real program's code (agent/credentials.c and what it stands on). Only TLS stays simulated.
 *
 * Keys and signatures are not made from the seed. What they are decides nothing: nothing is timed, ordered or drawn by
 * their bytes or their length (sim_tls.c sends numbers for texts, sim_fs.c cuts files by parts), so that a seed is the
 * same history every time.
 *
 * This file does what operators do: it has certificates renewed, revokes and issues them, and leads a rotation of the
 * CA. What must hold is cert_rules.c.
 */
#include <stdio.h>
#include <string.h>

#include "agent/daemon.h"
#include "agent/identity.h"
#include "base/mem.h"
#include "sim/invariants.h"
#include "sim/private.h"

#define DIR_AGENT "/etc/muster-agent"
#define REVOKE_AGAIN_US (2 * SECOND_US)
#define ROTATE_AGAIN_US SECOND_US
#define CERTS_OF_ONE 64

/* ---- the agent's program ---- */

static const struct settings_voice silent = {0};

enum err certs_agent_begin(struct sim_agent *a, struct world *w, struct why *why)
{
	const struct log *log = sim_node_log(a->node);
	struct daemon *d = mem_zalloc(sizeof(*d));
	enum err e;

	if (!d)
		return ERR_NOMEM;
	a->daemon = d;
	list_init(&d->pings);
	d->dir = DIR_AGENT;
	d->fs = w->fs;
	d->world = w;
	d->file = a->file;
	if (log)
		d->log = *log;
	e = agent_settings_load(&d->settings, agent_file_props(a->file), agent_file_path(a->file), &silent);
	if (!e && !d->settings.name && !(d->settings.name = mem_strdup(a->name)))
		e = ERR_NOMEM;
	if (!e)
		e = credentials_load(d, why);
	if (!e && !d->creds) {
		why_set(why, "its certificate is gone");
		e = ERR_NOT_FOUND;
	}
	return e;
}

void certs_agent_end(struct sim_agent *a)
{
	struct daemon *d = a->daemon;

	if (!d)
		return;
	credentials_deinit(d);
	agent_settings_deinit(&d->settings);
	str_list_deinit(&d->params);
	a->daemon = mem_free(d);
}

bool certs_agent_command(struct sim_agent *a, struct agent_command *command)
{
	if (!a->daemon)
		return false;
	switch (command->element->type) {
	case MSG_SETUP_KEYSTORE:
		cert_rules_key_asked(a, command->mgmt_id);
		a->renewals++;
		do_setup_keystore(a->daemon, command);
		return true;
	case MSG_SETUP_CERTIFICATE:
		do_setup_certificate(a->daemon, command);
		return true;
	default:
		return false;
	}
}

void certs_agent_judged(struct sim_agent *a, bool new_stays, const char *sentence)
{
	if (!new_stays)
		cert_rules_given_up(a, &a->daemon->cert, sentence);
	credentials_judged(a->daemon, new_stays, sentence);
}

bool certs_may_stop(struct sim_agent *a)
{
	if (cert_rules_is_lost(a))
		return true;
	if (a->daemon && certs_is_revoked(a->cluster, a->daemon->cert.serial))
		a->is_banned = true;
	return a->is_banned;
}

/* ---- what the store has of certificates ---- */

struct certs_question {
	const char *serial, *guid;
	int64_t now_s;
	struct str_list *serials; /* that aren't revoked; NULL: not asked for */
	size_t n;                 /* that were issued here: what hosts have shown is listed as well */
	bool is_revoked;
};

static enum err certs_read(struct store_tx *tx, void *arg, struct why *why)
{
	struct certs_question *a = arg;
	struct cert_question q = {.serial = a->serial,
				  .subject_id = a->guid,
				  .states = (1u << CERT_STATES) - 1,
				  .now_s = a->now_s,
				  .room = CERTS_OF_ONE};
	struct cert_view *views = NULL;
	size_t n = 0, all;
	enum err e = store_cert_views(tx, &q, &views, &n, &all);

	for (size_t i = 0; i < n; i++) {
		a->is_revoked |= views[i].revoked_ms != 0;
		a->n += views[i].pem != NULL;
		if (!e && a->serials && !views[i].revoked_ms)
			e = str_list_add(a->serials, views[i].serial);
		cert_view_deinit(&views[i]);
	}
	mem_free(views);
	return e;
}

static enum err certs_ask(struct cluster *c, struct certs_question *q)
{
	struct store_call call = {.run = certs_read, .arg = q, .read_only = true};
	struct store_call *calls[] = {&call};
	enum err e = store_run(c->store, calls, 1, NULL);

	return e ? e : call.result;
}

enum err certs_of_host(struct cluster *c, const struct sim_agent *a, struct str_list *serials)
{
	struct certs_question q = {.guid = a->guid, .serials = serials};

	return certs_ask(c, &q);
}

bool certs_are_recorded(struct cluster *c, const char *serial)
{
	struct certs_question q = {.serial = serial};

	return certs_ask(c, &q) == ERR_OK && q.n > 0;
}

bool certs_is_revoked(struct cluster *c, const char *serial)
{
	struct certs_question q = {.serial = serial};

	return certs_ask(c, &q) == ERR_OK && q.is_revoked;
}

/* ---- operators ---- */

bool cluster_provision(struct cluster *c, const struct sim_agent *a)
{
	char uuid[UUID_TEXT];
	struct api_param params[] = {{"command", "provisionCertificate"}, {"hostid", uuid}};

	if (a->is_banned || !cluster_uuid_of(c, a, uuid) || !cluster_ask(c, params, 2, a->name, NULL, NULL))
		return false;
	((struct sim_agent *)(uintptr_t)a)->provision_us = sim_now_us(c->sim) + 1;
	return true;
}

void cluster_revoke(struct cluster *c, struct sim_agent *a)
{
	if (a->wish || a->removal != STAYS)
		return;
	cluster_troubled(c, a->node);
	a->is_banned = true;
	a->is_revoking = true;
	a->banned_us = 0;
	a->revoke_next_us = 0;
}

/* What it has, one certificate after the other; until there is none, whatever was asked for in vain. */
static void revoke_all(struct cluster *c, struct sim_agent *a)
{
	CLEAN(str_list_deinit) struct str_list serials = {0};
	int64_t now = sim_now_us(c->sim);

	if (now < a->revoke_next_us)
		return;
	a->revoke_next_us = now + REVOKE_AGAIN_US;
	if (certs_of_host(c, a, &serials) != ERR_OK)
		abort();
	if (!serials.n) {
		a->is_revoking = false;
		a->banned_us = now + 1;
		sim_note(c->sim, a->node, "--- everything that it has is revoked");
	}
	for (size_t i = 0; i < serials.n; i++) {
		struct api_param params[] = {{"command", "revokeCertificate"}, {"serial", serials.items[i]}};

		cluster_ask(c, params, 2, a->name, NULL, NULL);
	}
}

void certs_look(struct cluster *c)
{
	list_for (a, &c->agents, struct sim_agent, in_agents)
		if (a->is_revoking)
			revoke_all(c, a);
}

bool cluster_issue(struct cluster *c)
{
	struct api_param params[] = {{"command", "issueCertificate"}, {"csr", NULL}, {"domain", "www.example"}};

	if (!c->csr) {
		char *key = NULL;
		struct csr_params p = {.common_name = "www.example"};

		if (key_new(&key, KEY_EC_P256, NULL))
			abort();
		p.key_pem = key;
		if (csr_new(&c->csr, &p, NULL))
			abort();
		key_free(key);
	}
	params[1].value = c->csr;
	return cluster_ask(c, params, 3, "www.example", NULL, NULL);
}

/* What it said; "" when it did what it was asked for. */
static void rotated(struct cluster *c, struct sim_agent *a, int status, json_t *body)
{
	const json_t *first = body ? json_object_iter_value(json_object_iter(body)) : NULL;
	const char *said = json_string_value(json_object_get(first, "errortext"));

	str_copy(c->rotation_said, sizeof(c->rotation_said), status == 200 ? "" : said ? said : "no answer");
}

bool cluster_rotate(struct cluster *c, const char *step)
{
	struct api_param params[] = {
		{"command", str_equal(step, "back") ? "revertCaRotation" : "advanceCaRotation"},
	};

	return cluster_ask(c, params, 1, "", NULL, rotated);
}

/* ---- the end ---- */

static void end_rotation(struct cluster *c)
{
	int64_t now = sim_now_us(c->sim);

	if (cert_rules_phase(c) == ROTATION_NONE || now < c->rotation_next_us)
		return;
	c->rotation_next_us = now + ROTATE_AGAIN_US;
	if (!c->rotation_way)
		c->rotation_way = rng_below(sim_rng(c->sim), 3) ? 1 : -1;
	cluster_rotate(c, c->rotation_way > 0 ? "next" : "back");
}

void certs_bring_to_an_end(struct cluster *c)
{
	if (str_equal(cluster_setting(c, "ca.framework.cert.renewal.rate"), "0"))
		cluster_set(c, NULL, "ca.framework.cert.renewal.rate", NULL);
	list_for (a, &c->agents, struct sim_agent, in_agents)
		if (cert_rules_is_lost(a))
			cluster_rejoin(c, a, false);
	if (!c->frozen_us)
		end_rotation(c);
}

void certs_free(struct cluster *c)
{
	cert_rules_free(c);
	mem_free(c->csr);
}
