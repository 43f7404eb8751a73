/*
 * What must hold of certificates in the simulated cluster, where agents have real ones (certs.c).
 *
 * Always:
 *  11. a certificate that is revoked has no link on any server that is up and has its store, 5 s after it was; and who
 *      has only revoked ones gets no new one without joining again
 *  12. each certificate that anybody shows is in the store
 *  13. nobody gives up a new certificate that is good while nothing has befallen it
 *  14. a server asks for new keys no faster than ca.framework.cert.renewal.rate allows
 *      (that nobody loses its link for a renewal, a rotation or somebody else's revocation is what moves.c looks at)
 * Calm:
 *  15. no rotation is under way: each of its phases has come to its end
 *  16. every agent whose certificate isn't revoked has one of the CA in force, trusts that CA and no other, has none on
 *      trial, and its files are one set that fits together; who is revoked is not connected
 *  17. every server shows a certificate of the CA in force, and has the newest list of revocations in its folder
 */
#include <stdlib.h>
#include <string.h>

#include "agent/daemon.h"
#include "agent/identity.h"
#include "server/rotation.h"
#include "sim/invariants.h"
#include "sim/private.h"

#define DIR_AGENT "/etc/muster-agent"
#define CRL_FILE "/var/lib/muster-server/crl.pem"
#define CRL_SECRET "ca.crl"
#define CUT_US (5 * SECOND_US)
#define STEP_US (60 * SECOND_US) /* so long something may still happen because of a step of a rotation */
#define ASKED_US (120 * SECOND_US)
#define UNEVEN_US SECOND_US /* keys that are asked for evenly are asked for unevenly */

struct revoked {
	int64_t at_us; /* seen in the store */
};

/* What the store says of CAs. */
struct ca_truth {
	struct rotation_row row;
	char *text; /* of that row; NULL: there never was one */
	char *issuing;
	char *crl;
	char issuing_id[FINGERPRINT_TEXT], trusted[FINGERPRINT_TEXT];
};

static struct ca_truth *ca_truth_free(struct ca_truth *t)
{
	if (!t)
		return NULL;
	mem_free(t->text);
	mem_free(t->issuing);
	mem_free(t->crl);
	return mem_free(t);
}

void cert_rules_free(struct cluster *c)
{
	struct revoked *r;
	size_t cursor = 0;

	while ((r = map_next(&c->revoked, &cursor)))
		mem_free(r);
	map_deinit(&c->revoked);
	map_deinit(&c->recorded);
	c->ca = ca_truth_free(c->ca);
}

/* ---- reading ---- */

struct reading {
	struct ca_truth *ca;
	struct str_list revoked; /* new ones */
	int64_t after, last, total;
};

static enum err read_all(struct store_tx *tx, void *arg, struct why *why)
{
	struct reading *r = arg;
	struct ca_records records = {0};
	enum err e = ca_records_read(tx, &records);

	if (e == ERR_NOT_FOUND)
		e = ERR_OK;
	r->ca->issuing = STEAL(records.issuing.certificate);
	r->ca->text = STEAL(records.rotation);
	ca_records_deinit(&records);
	if (!e && (e = store_secret_get(tx, CRL_SECRET, &r->ca->crl)) == ERR_NOT_FOUND)
		e = ERR_OK;
	return e ? e : store_revoked_since(tx, r->after, &r->revoked, &r->last, &r->total);
}

static void take_revoked(struct cluster *c, const struct reading *r)
{
	for (size_t i = 0; i < r->revoked.n; i++) {
		struct revoked *v = map_get(&c->revoked, r->revoked.items[i]) ? NULL : mem_zalloc(sizeof(*v));

		if (!v)
			continue;
		v->at_us = sim_now_us(c->sim);
		if (map_put(&c->revoked, r->revoked.items[i], v))
			abort();
	}
	c->revoked_last = r->last;
}

static void take_ca(struct cluster *c, struct ca_truth *now)
{
	struct ca_truth *old = c->ca;

	rotation_row_read(&now->row, now->text);
	if (old && str_equal(old->issuing, now->issuing) && str_equal(old->text, now->text)) {
		str_copy(now->issuing_id, sizeof(now->issuing_id), old->issuing_id);
		str_copy(now->trusted, sizeof(now->trusted), old->trusted);
	} else if (now->issuing) {
		struct cert_info info = {0};

		if (cert_info_parse(&info, now->issuing, NULL))
			abort();
		str_copy(now->issuing_id, sizeof(now->issuing_id), info.subject_key_id);
		cert_info_deinit(&info);
		sha256_hex(now->trusted, now->issuing, strlen(now->issuing));
		c->step_us = sim_now_us(c->sim);
	}
	ca_truth_free(old);
	c->ca = now;
}

/* Again only when somebody has written. */
static const struct ca_truth *ca_now(struct cluster *c)
{
	struct reading r = {.after = c->revoked_last};
	struct store_call call = {.run = read_all, .arg = &r, .read_only = true};
	struct store_call *calls[] = {&call};

	if (c->ca && c->certs_seen == c->truths)
		return c->ca;
	c->certs_seen = c->truths;
	r.ca = mem_zalloc(sizeof(*r.ca));
	if (!r.ca)
		abort();
	if (store_run(c->store, calls, 1, NULL) || call.result)
		sim_fail(c->sim, "the simulation can't read certificates from the store: %s", call.why.text);
	take_revoked(c, &r);
	take_ca(c, r.ca);
	str_list_deinit(&r.revoked);
	return c->ca;
}

enum rotation_phase cert_rules_phase(struct cluster *c)
{
	return ca_now(c)->row.phase;
}

/* ---- 11. and 12.: what is shown ---- */

static bool has_been_well(const struct sim_server *m, int64_t us)
{
	int64_t now = sim_now_us(m->cluster->sim);

	return m->state == PROGRAM_UP && server_is_well(m) && !sim_lane_is_slow(m->node, WORK_STORE) &&
	       now - m->troubled_us > us && now - m->up_since_us > us;
}

/* Who has shown a certificate is judged when it says who it is, or has to go after a while. */
static bool is_in(const struct session *x)
{
	return x->state != SESSION_ANONYMOUS || mono_ms_between(x->since, world_now(x->server->world)) * 1000 > CUT_US;
}

static void look_at_shown(struct cluster *c, const struct sim_server *m, const struct session *x, const char *serial)
{
	const struct revoked *r = map_get(&c->revoked, serial);
	int64_t now = sim_now_us(c->sim);

	if (r && is_in(x) && now - r->at_us > CUT_US && has_been_well(m, CUT_US))
		sim_fail(c->sim, "revocation: %s has a link at server %s with certificate %s, revoked %lld s ago",
			 x->ip, m->name, serial, (long long)((now - r->at_us) / SECOND_US));
	if (map_get(&c->recorded, serial))
		return;
	if (!certs_are_recorded(c, serial))
		sim_fail(c->sim, "record: %s shows certificate %s at server %s, and the store has never heard of it",
			 x->ip, serial, m->name);
	if (map_put(&c->recorded, serial, c))
		abort();
}

static void look_at_links(struct cluster *c)
{
	for (size_t i = 0; i < c->n_servers; i++) {
		struct sim_server *m = c->servers[i];

		if (!m->server || !sim_node_is_alive(m->node))
			continue;
		list_for (x, &m->server->sessions, struct session, in_sessions) {
			const struct tls_peer *peer = x->link && x->state != SESSION_TLS ? link_peer(x->link) : NULL;

			if (peer && peer->has_cert)
				look_at_shown(c, m, x, peer->cert.serial);
		}
	}
}

/* Who is out stays out. */
static void look_at_banned(struct cluster *c)
{
	list_for (a, &c->agents, struct sim_agent, in_agents) {
		CLEAN(str_list_deinit) struct str_list serials = {0};

		if (!a->banned_us || !a->is_banned || a->wish)
			continue;
		if (certs_of_host(c, a, &serials) == ERR_OK && serials.n)
			sim_fail(c->sim,
				 "revocation: everything that %s has was revoked %lld s ago, and it was given %s",
				 a->name, (long long)((sim_now_us(c->sim) - a->banned_us) / SECOND_US),
				 serials.items[0]);
	}
}

void cert_rules_look(struct cluster *c)
{
	bool is_news = c->certs_seen != c->truths;

	ca_now(c);
	look_at_links(c);
	if (is_news)
		look_at_banned(c);
}

/* Expired for so long that nobody lets it in: it has to join again. An hour or two, as clocks differ. */
bool cert_rules_is_lost(const struct sim_agent *a)
{
	return a->daemon &&
	       world_wall_ms(&a->node->world) / 1000 > a->daemon->cert.not_after_s + ADMIT_EXPIRED_LIMIT_S - 2 * 3600;
}

/* ---- 13. ---- */

static bool is_trusted(const struct ca_truth *t, const struct cert_info *cert)
{
	return str_equal(cert->authority_key_id, t->issuing_id);
}

void cert_rules_given_up(struct sim_agent *a, const struct cert_info *fresh, const char *sentence)
{
	struct cluster *c = a->cluster;
	const struct ca_truth *t = ca_now(c);

	if (!agent_is_quiet(a) || !network_is_quiet(c) || sim_now_us(c->sim) - c->step_us < STEP_US ||
	    !is_trusted(t, fresh) || map_get(&c->revoked, fresh->serial))
		return;
	for (size_t i = 0; i < c->n_servers; i++)
		if (!has_been_well(c->servers[i], CUT_US))
			return;
	sim_fail(c->sim, "trial: %s gives certificate %s up, which is good: %s", a->name, fresh->serial, sentence);
}

/* ---- 14. ---- */

void cert_rules_key_asked(struct sim_agent *a, int64_t msid)
{
	struct cluster *c = a->cluster;
	struct sim_server *m = cluster_server_of_msid(c, msid);
	int64_t now = sim_now_us(c->sim), rate;

	if (!m || !m->server)
		return;
	/* An operator's wish is nobody's pace. */
	if (a->provision_us && now - a->provision_us < ASKED_US) {
		a->provision_us = 0;
		return;
	}
	rate = config_number(m->server, "ca.framework.cert.renewal.rate", 0);
	if (m->keys.run_us != m->up_since_us || m->keys.rate != rate)
		m->keys.level = 0;
	m->keys.run_us = m->up_since_us;
	m->keys.rate = rate;
	m->keys.level -= (double)rate * (double)(now - m->keys.at_us) / (double)SECOND_US;
	if (m->keys.level < 0)
		m->keys.level = 0;
	m->keys.at_us = now;
	/* What is late for another reason may come all at once. */
	if (!agent_is_quiet(a) || !network_is_quiet(c) || !server_is_quiet(m))
		return;
	m->keys.level += 1;
	if (m->keys.level > (double)(rate > 0 ? rate : 1) + (double)rate * (double)UNEVEN_US / (double)SECOND_US + 1)
		sim_fail(c->sim, "renewal: server %s has asked for %.0f keys more than its rate of %lld at once",
			 m->name, m->keys.level, (long long)rate);
}

/* ---- calm ---- */

static bool files_are_good(const struct ca_truth *t, struct sim_agent *a, struct why *why)
{
	struct identity i = {0}, old = {0};
	const struct fs *fs = &a->node->fs;
	struct why said = WHY_NONE;
	bool ok = identity_load(&i, fs, DIR_AGENT, &said) == ERR_OK && i.key &&
		  identity_load_old(&old, fs, DIR_AGENT, &said) == ERR_OK;

	if (!ok) {
		why_set(why, "the files of %s don't fit: %s", a->name, said.text);
	} else if (old.key || identity_is_interrupted(fs, DIR_AGENT)) {
		why_set(why, "%s has files of a renewal that is over", a->name);
		ok = false;
	} else if (!str_equal(i.ca, t->issuing)) {
		why_set(why, "%s trusts other CAs than the one in force", a->name);
		ok = false;
	} else {
		enum err e = identity_check(&i, a->guid, world_wall_ms(&a->node->world) / 1000, &said);

		/* Whoever looks for it may do so in an hour, or never. */
		ok = !e || e == ERR_EXPIRED;
		if (!ok)
			why_set(why, "%s: %s", a->name, said.text);
	}
	identity_deinit(&i);
	identity_deinit(&old);
	return ok;
}

static bool agent_is_good(struct cluster *c, const struct ca_truth *t, struct sim_agent *a, bool long_calm,
			  struct why *why)
{
	const struct host *h = NULL;
	struct agent_view v = {0};

	if (a->wish || a->is_revoking) {
		why_set(why, "%s is still to %s", a->name, a->wish ? "join" : "be revoked");
		return false;
	}
	if (a->removal == REMOVED)
		return true;
	if (a->agent)
		agent_look(a->agent, &v);
	if (a->is_banned) {
		if (a->agent && v.state == AGENT_UP)
			why_set(why, "%s is revoked, and connected", a->name);
		return !a->agent || v.state != AGENT_UP;
	}
	for (size_t i = 0; i < c->n_servers && !h; i++)
		if (c->servers[i]->server)
			h = roster_by_guid(c->servers[i]->server, a->guid);
	if (!a->daemon || !h || v.trial != CERT_TRIAL_NONE || a->daemon->old_creds) {
		why_set(why, "%s has a certificate on trial, or none", a->name);
		return false;
	}
	if (!is_trusted(t, &a->daemon->cert) || (t->text && !str_equal(h->row.ca_known, t->trusted))) {
		why_set(why, "%s has a certificate of a CA that is gone, or still trusts that one", a->name);
		return false;
	}
	return !long_calm || files_are_good(t, a, why);
}

/* The store has a line above the list, a server's folder hasn't. */
static bool server_has_list(const struct ca_truth *t, const struct sim_server *m, struct why *why)
{
	const char *pem = t->crl ? strchr(t->crl, '\n') : NULL;
	struct buf file = {0};
	bool same;

	if (!pem)
		return true;
	same = sim_file_get(m->node, CRL_FILE, &file) == ERR_OK && file.len == strlen(pem + 1) &&
	       memcmp(file.data, pem + 1, file.len) == 0;
	buf_deinit(&file);
	if (!same)
		why_set(why, "server %s has another list of revocations in its folder than the store", m->name);
	return same;
}

static bool server_is_good(const struct ca_truth *t, const struct sim_server *m, struct why *why)
{
	struct cert_info own = {0};
	bool ok = m->server && m->server->own[OWN_CERT_EC].cert &&
		  cert_info_parse(&own, m->server->own[OWN_CERT_EC].cert, NULL) == ERR_OK && is_trusted(t, &own);

	cert_info_deinit(&own);
	if (!ok)
		why_set(why, "server %s shows a certificate of a CA that is gone", m->name);
	return ok && server_has_list(t, m, why);
}

bool cert_rules_are_calm(struct cluster *c, bool long_calm, struct why *why)
{
	const struct ca_truth *t = ca_now(c);

	if (t->row.phase != ROTATION_NONE) {
		why_set(why, "the rotation of the CA is in phase %s: %s", rotation_phase_name(t->row.phase),
			c->rotation_said);
		return false;
	}
	list_for (a, &c->agents, struct sim_agent, in_agents)
		if (!agent_is_good(c, t, a, long_calm, why))
			return false;
	for (size_t i = 0; i < c->n_servers && long_calm; i++)
		if (!server_is_good(t, c->servers[i], why))
			return false;
	return true;
}
